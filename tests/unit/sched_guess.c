// sched_guess.c - speculation: what is said is what is said without it, whatever is guessed, and
// passes are saved where guesses come true and rows cost little; the lookup against a plain search.
#include "sched_fixture.h"

// ---- the lookup -------------------------------------------------------------------------------

static int32_t guess_of(const int32_t *token, int32_t n, int32_t *out, int32_t n_most,
                        int32_t *n_matched)
{
    struct lookup *lookup;
    lookup_open(&lookup, n);
    for (int32_t i = 0; i < n; i++)
        lookup_add(lookup, token[i]);
    const int32_t n_out = lookup_guess(lookup, out, n_most, n_matched);
    lookup_close(lookup);
    return n_out;
}

static void test_lookup_cases(void)
{
    int32_t out[8], matched;
    const int32_t none[] = {1, 2, 3, 4}, twice[] = {1, 2, 3, 4, 5, 1, 2, 3},
                  circle[] = {7, 8, 9, 7, 8, 9, 7, 8}, broken[] = {1, 2, 3, LOOKUP_BREAK, 9, 1, 2},
                  one[] = {5};
    CHECK(guess_of(none, 4, out, 8, &matched) == 0 && matched == 0);
    CHECK(guess_of(none, 0, out, 8, &matched) == 0 && guess_of(one, 1, out, 8, &matched) == 0);
    CHECK(guess_of(twice, 8, out, 3, &matched) == 3 && matched == 3);
    CHECK(out[0] == 4 && out[1] == 5 && out[2] == 1);
    CHECK(guess_of(circle, 8, out, 8, &matched) == 8 && matched == 5);
    for (int32_t i = 0; i < 8; i++) // it goes on past the end
        CHECK(out[i] == 7 + (8 + i) % 3);
    CHECK(guess_of(broken, 7, out, 8, &matched) == 1 && matched == 2 && out[0] == 3);
}

// The longest match of at least two tokens, as a plain search finds it.
static int32_t longest_match(const int32_t *token, int32_t n)
{
    int32_t best = 0;
    for (int32_t end = n - 2; end >= 1; end--) {
        int32_t m = 0;
        while (m < LOOKUP_MATCH_MOST && m <= end && token[end - m] == token[n - 1 - m])
            m++;
        best = m >= LOOKUP_MATCH_LEAST && m > best ? m : best;
    }
    return best;
}

static void test_lookup_search(void)
{
    enum { N = 400 };
    int32_t token[N], out[8], matched;
    unsigned seed = 1;
    for (int round = 0; round < 200; round++) {
        int32_t n = 2 + (int32_t)(seed % (N - 2));
        for (int32_t i = 0; i < N; i++) { // of 200 tokens, with stretches that come again
            seed = seed * 1103515245u + 12345u;
            token[i] = i > 40 && (seed >> 20) % 8 ? token[i - 37] : (int32_t)((seed >> 16) % 200);
        }
        const int32_t n_out = guess_of(token, n, out, 8, &matched);
        CHECK(matched == longest_match(token, n)); // fewer places than are looked at
        CHECK((n_out > 0) == (matched > 0));
    }
}

// ---- the scheduler ----------------------------------------------------------------------------

struct asked {
    float temperature, repeat_penalty;
    int32_t max_tokens, n_chances;
    const char *prediction;
};

static void submit_asked(struct answer *answer, const char *prompt, const struct asked *asked)
{
    static uint64_t last_id = 1000000;
    struct job *job = job_open();
    *answer = (struct answer){.id = ++last_id};
    job->id = answer->id;
    job->ask.prompt = bytes_copy(&job->arena, bytes_of(prompt));
    job->ask.sampling.temperature = asked->temperature;
    job->ask.sampling.repeat_penalty = asked->repeat_penalty;
    job->ask.sampling.seed = 7;
    job->ask.max_tokens = asked->max_tokens;
    job->ask.n_chances = asked->n_chances;
    if (asked->prediction)
        job->ask.prediction = bytes_copy(&job->arena, bytes_of(asked->prediction));
    CHECK(sched_submit(sched, job) == OK);
}

struct total {
    int n_passes, n_generated, n_drafted, n_kept;
};

// Answers to some prompts, one after another or all at once, each as it must be.
static struct total answer_all(unsigned seed, int n, bool together)
{
    static struct answer answers[12];
    static char prompts[12][N_CTX + 1];
    struct total total = {.n_passes = -n_passes};
    for (int i = 0; i < n; i++) {
        fill(prompts[i], 20 + 10 * (size_t)i, seed + (unsigned)i);
        CHECK(submit(&answers[i], prompts[i], 200, NULL) == OK);
        if (!together)
            wait_for(&answers[i], 1);
    }
    wait_for(answers, (size_t)n);
    for (int i = 0; i < n; i++) {
        const struct usage *usage = &answers[i].last.usage;
        check_answer(&answers[i], prompts[i], 200);
        total.n_generated += usage->n_generated;
        total.n_drafted += usage->n_drafted;
        total.n_kept += usage->n_draft_kept;
        CHECK(usage->n_draft_kept <= usage->n_drafted && usage->n_draft_kept >= 0);
    }
    total.n_passes += n_passes;
    return total;
}

static void test_saves_passes(void)
{
    struct total total;
    repeats = 7;
    pass_fixed_us = 1000;
    total = answer_all(1, 8, false); // learns
    total = answer_all(100, 8, false);
    CHECK(total.n_generated > 100 && total.n_kept > total.n_generated / 3);
    CHECK(total.n_passes < total.n_generated * 2 / 3);
    total = answer_all(200, 12, true);
    CHECK(total.n_kept > 0);
    repeats = 0; // nothing comes again but by chance
    total = answer_all(300, 12, false);
    CHECK(total.n_passes <= total.n_generated + 12 * 2);
    pass_fixed_us = 0;
}

// ---- what is worth a row ------------------------------------------------------------------------

enum { STREAMS = 8 };
static struct work works[STREAMS];
static struct seq seqs[STREAMS];
static struct engine an_engine;
static struct loaded a_model;

// A model with n streams, whose texts so far come again or do not.
static void streams_open(int n, bool again)
{
    static struct sched a_sched;
    static struct job jobs[STREAMS];
    a_sched.settings.speculation = true;
    an_engine.sched = &a_sched;
    struct model *stand_in = &stand_ins[COUNT_OF(stand_ins) - 1]; // no scheduler opens it here
    stand_in->is_open = true;
    a_model = (struct loaded){
        .engine = &an_engine, .model = stand_in, .n_ctx = N_CTX, .n_seq = n, .seqs = seqs};
    guess_open(&a_model);
    for (int i = 0; i < n; i++) {
        int32_t *prompt = mem_array(40, sizeof(*prompt));
        for (int32_t k = 0; k < 40; k++)
            prompt[k] = again ? k % 10 : k;
        works[i] = (struct work){.job = &jobs[i], .prompt = prompt, .n_prompt = 40};
        seqs[i] = (struct seq){.state = SEQ_DECODE, .index = i, .work = &works[i]};
        guess_begin(&a_model, &works[i]);
    }
}

static void streams_close(void)
{
    for (int i = 0; i < a_model.n_seq; i++) {
        guess_close(&works[i]);
        free(works[i].prompt);
    }
}

// Rows that are added where passes of 1, 2, 4 and 8 rows take so long.
static int rows_at(const uint64_t us[GUESS_PACES])
{
    int n = 0;
    for (int pace = 0; pace < GUESS_PACES; pace++)
        for (int k = 0; k < 8; k++) // some are held up by other work
            guess_learn(&a_model, 1 << pace, us[pace] * (k % 3 == 1 ? 20 : 1));
    guess_plan(&a_model);
    for (int i = 0; i < a_model.n_seq; i++)
        n += works[i].guess.n_rows;
    return n;
}

static void test_worth(void)
{
    static const uint64_t flat[] = {1000, 1010, 1030, 1080}, linear[] = {1000, 2000, 4000, 8000},
                          between[] = {1000, 1150, 1500, 3000};
    streams_open(1, true);
    guess_plan(&a_model);
    CHECK(works[0].guess.n == GUESS_MOST && works[0].guess.n_rows == 0); // nothing is measured yet
    CHECK(rows_at(flat) == GUESS_MOST);
    streams_close();
    streams_open(1, true);
    CHECK(rows_at(linear) == 0);
    streams_close();
    streams_open(1, true);
    CHECK(rows_at(between) == 3);
    for (int i = 0; i < 40; i++) { // what was guessed did not come
        guess_plan(&a_model);
        guess_saw(&a_model, &works[0], i % 2 ? 100 + i : i % 10);
    }
    for (int kind = 0; kind < GUESS_KINDS; kind++)
        CHECK(works[0].guess.rate[kind] <= 1 && works[0].guess.rate[kind] >= 0);
    streams_close();
    streams_open(1, false); // nothing comes again
    CHECK(rows_at(flat) == 0);
    streams_close();
    streams_open(3, true); // three and one more cost what three do
    CHECK(rows_at(linear) == 1);
    streams_close();
    streams_open(STREAMS, true); // the pass is full
    CHECK(rows_at(flat) == 0);
    streams_close();
    streams_open(2, true);
    seqs[1].state = SEQ_PREFILL;
    CHECK(rows_at(flat) == 0);
    seqs[1].state = SEQ_DECODE;
    works[0].job->ask.max_tokens = 3;
    works[1].job->ask.max_tokens = 1;
    CHECK(rows_at(flat) == 2); // what an answer may still have, less the one of the pass itself
    works[0].job->ask.max_tokens = works[1].job->ask.max_tokens = 0;
    streams_close();
}

static void test_prediction(void)
{
    char prompt[N_CTX + 1], want[N_CTX + 1], spoilt[N_CTX + 1];
    struct answer answer;
    unsigned seed = 1;
    pass_fixed_us = 1000;
    do
        fill(prompt, 30, seed++);
    while (!(expected(prompt, 100, want), strlen(want) == 100));
    memcpy(spoilt, want, sizeof(spoilt));
    for (size_t i = 9; i < 100; i += 10)
        spoilt[i] = spoilt[i] == 'a' ? 'b' : 'a';
    for (int is_spoilt = 0; is_spoilt < 2; is_spoilt++) {
        const int before = n_passes;
        submit_asked(&answer, prompt,
                     &(struct asked){.repeat_penalty = 1,
                                     .max_tokens = 100,
                                     .n_chances = -1,
                                     .prediction = is_spoilt ? spoilt : want});
        wait_for(&answer, 1);
        check_answer(&answer, prompt, 100);
        CHECK(answer.last.usage.n_draft_kept > (is_spoilt ? 30 : 60));
        CHECK(n_passes - before < (is_spoilt ? 75 : 40));
    }
    pass_fixed_us = 0;
}

// Drawn, penalised and told with log-probabilities: the same draws of the same rows.
static void test_sampled(void)
{
    enum { N = 9 };
    static struct answer answers[2][N];
    char prompt[64];
    pass_fixed_us = 500;
    repeats = 7;
    for (int with = 0; with < 2; with++) {
        speculation = with;
        open_sched();
        for (unsigned i = 0; i < N; i++) {
            fill(prompt, 30, 40 + i);
            submit_asked(&answers[with][i], prompt,
                         &(struct asked){.temperature = i % 3 == 0 ? 2.5f : 1,
                                         .repeat_penalty = i % 3 == 1 ? 1.05f : 1,
                                         .max_tokens = 150,
                                         .n_chances = i % 3 == 2 ? 3 : -1});
            wait_for(&answers[with][i], 1);
        }
        sched_close(sched);
    }
    int n_kept = 0;
    for (int i = 0; i < N; i++) {
        CHECK_TEXT(answers[1][i].text, answers[0][i].text);
        CHECK(answers[0][i].last.usage.n_drafted == 0);
        n_kept += answers[1][i].last.usage.n_draft_kept;
    }
    CHECK(n_kept > 50);
    pass_fixed_us = repeats = 0;
}

static void test_stops(void)
{
    struct answer answers[2];
    char prompt[16], want[N_CTX + 1], stop[4] = "";
    unsigned seed = 1;
    repeats = 7;
    pass_fixed_us = 1000;
    do
        fill(prompt, 8, seed++);
    while (!(expected(prompt, 60, want), strlen(want) == 60));
    memcpy(stop, want + 40, 3);
    CHECK(submit(&answers[0], prompt, 60, stop) == OK);
    wait_for(answers, 1);
    *strstr(want, stop) = 0;
    CHECK_TEXT(answers[0].text, want);
    CHECK(answers[0].last.finish == FINISH_STOP);
    CHECK(submit(&answers[0], prompt, 0, NULL) == OK); // up to its end, or the context's
    CHECK(submit(&answers[1], "cancelled", 0, NULL) == OK);
    wait_for_text(answers, 2, 1, 40);
    sched_cancel(sched, answers[1].id);
    wait_for(answers, 2);
    check_answer(&answers[0], prompt, 0);
    CHECK(submit(&answers[0], prompt, 60, NULL) == OK); // and what it left is sound
    wait_for(answers, 1);
    check_answer(&answers[0], prompt, 60);
    fails_at = n_passes + 20;
    CHECK(submit(&answers[0], "failing", 0, NULL) == OK);
    wait_for(answers, 1);
    CHECK(answers[0].last.kind == EVENT_FAILED || n_passes < fails_at);
    fails_at = -1;
    CHECK(submit(&answers[0], "afterwards", 60, NULL) == OK);
    wait_for(answers, 1);
    check_answer(&answers[0], "afterwards", 60);
    pass_fixed_us = repeats = 0;
}

// With too little memory for all, with memory that earlier texts fill, and with states that cannot
// be taken back.
static void test_memories(void)
{
    repeats = 7;
    pass_fixed_us = 300;
    n_pages = 5;
    open_sched();
    (void)answer_all(500, 12, true);
    (void)answer_all(520, 12, false);
    CHECK(past_room(past) <= PAGE_ROWS);
    CHECK(answer_all(540, 12, false).n_kept > 30);
    sched_close(sched);
    n_pages = PAGES_MOST;
    n_slots = SLOTS_MOST;
    open_sched();
    CHECK(answer_all(600, 6, true).n_kept > 0);
    CHECK(answer_all(620, 9, false).n_kept > 30);
    sched_close(sched);
    n_slots = 12; // those of earlier texts, of snapshots and of guesses are more
    open_sched();
    (void)answer_all(640, 9, false);
    CHECK(answer_all(660, 12, true).n_kept > 0);
    sched_close(sched);
    n_slots = pass_fixed_us = repeats = 0;
}

// ---- guesses that are computed ------------------------------------------------------------------

static void converse(unsigned seed, bool boldly)
{
    char prompt[N_CTX + 1], want[N_CTX + 1];
    struct answer answers[2];
    guess_boldly = boldly;
    for (int i = 0; i < 6; i++) { // a text, what was said to it, and more
        fill(prompt, 40, seed + (unsigned)i);
        CHECK(submit(&answers[0], prompt, 60, NULL) == OK);
        wait_for(answers, 1);
        check_answer(&answers[0], prompt, 60);
        (void)expected(prompt, 60, want);
        memcpy(prompt + 40, want, strlen(want) + 1);
        fill(prompt + strlen(prompt), 30, seed + 50 + (unsigned)i);
        CHECK(submit(&answers[0], prompt, 60, NULL) == OK);
        CHECK(submit(&answers[1], "stopped in the middle", 0, NULL) == OK);
        wait_for_text(answers, 2, 1, (size_t)(7 * i));
        sched_cancel(sched, answers[1].id);
        wait_for(answers, 2);
        check_answer(&answers[0], prompt, 60);
    }
    guess_boldly = false;
}

// By whom: what is said is the same, and passes are saved, alone and together, with states, with
// little memory, and with guesses whatever they cost.
static void test_ahead(bool block)
{
    struct total total;
    has_block = block;
    draft = block ? "" : "draft.gguf";
    pass_fixed_us = 1000;
    for (int way = 0; way < 3; way++) {
        n_slots = way == 1 && block ? SLOTS_MOST : 0;
        n_pages = way == 2 ? 6 : PAGES_MOST;
        open_sched();
        (void)answer_all(700, 8, false); // learns
        total = answer_all(720, 8, false);
        CHECK(block ? total.n_kept > total.n_generated / 3 : total.n_drafted > 0);
        CHECK(!block || total.n_passes < total.n_generated * 3 / 4);
        total = answer_all(740, 12, true);
        guess_boldly = true;
        total = answer_all(760, 8, false);
        CHECK(total.n_kept > total.n_generated / 2);
        (void)answer_all(780, 12, true);
        converse(900, true);
        converse(1000, false);
        fails_at = n_passes + 20;
        total.n_drafted = 0;
        struct answer answer;
        CHECK(submit(&answer, "failing", 0, NULL) == OK);
        wait_for(&answer, 1);
        fails_at = -1;
        (void)answer_all(800, 3, true);
        sched_close(sched);
    }
    n_slots = pass_fixed_us = 0;
    n_pages = PAGES_MOST;
    has_block = false;
    draft = "";
}

int main(void)
{
    test_lookup_cases();
    test_lookup_search();
    test_worth();
    speculation = true;
    open_sched();
    test_saves_passes();
    test_prediction();
    test_stops();
    sched_close(sched);
    test_sampled();
    speculation = true;
    test_memories();
    test_ahead(true);
    test_ahead(false);
    return check_done("sched_guess");
}
