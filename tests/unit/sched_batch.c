// sched_batch.c - the engine thread against a stand-in model whose every forward pass is checked.
//
// The stand-in keeps, for each sequence, the tokens that its KV cache would hold, and derives the
// next token from ALL of them: a wrong position, a row of another sequence, a stale prefix or a
// lost chunk changes what is generated. Expected answers are computed here, independently of
// batches. A token is one letter; 'z' ends. This file defines model_*, tokenizer_*, template_*,
// compute_open ...; the linker takes them before the library's.
#include "../../engine/sched/inside.h"
#include "check.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum { VOCAB = 26, N_CTX = 600, SEQS = 3, LONGEST = 4, SLOW_MS = 20 };

// ---- the stand-ins --------------------------------------------------------------------------

static int32_t cache[SEQS][N_CTX];
static int n_passes, most_rows, most_prefill_beside_decode, n_together, pass_us;
static bool pass_fails, model_is_open, device_is_open;
static int dummy;
static struct sched *sched;

enum status compute_open(struct compute **out, const struct compute_options *options,
                         struct err *err)
{
    if (strcmp(options->device, "none") == 0)
        return err_set(err, NOT_FOUND, "there is no device \"none\"");
    *out = (struct compute *)&dummy;
    device_is_open = true;
    return OK;
}

void compute_close(struct compute *compute)
{
    (void)compute;
    device_is_open = false;
}

const struct compute_info *compute_info(const struct compute *compute)
{
    static const struct compute_info info = {.device = "stand-in", .backend = "none"};
    (void)compute;
    return &info;
}

void doctor_survey(struct doctor_device *out, const char *setting, bool all)
{
    CHECK(!all && !model_is_open && !device_is_open);
    *out = (struct doctor_device){0};
    snprintf(out->setting, sizeof(out->setting), "%s", setting);
}

void doctor_device(struct doctor_device *out, struct compute *compute, const struct err *refused)
{
    CHECK(!model_is_open && device_is_open == (compute != NULL) &&
          (compute || refused->status != OK));
    out->looked = true;
    out->info.n_threads = strcmp(out->setting, "wrong") == 0 ? 7 : 1;
    if (!compute)
        out->opened = *refused;
}

bool doctor_wrong(const struct doctor_device *device, struct err *why)
{
    if (device->info.n_threads != 7) // as the test says it
        return false;
    (void)err_set(why, DEVICE_ERROR, "it computes wrongly");
    return true;
}

enum status model_open(struct model **out, struct compute *compute, const char *path,
                       const struct model_options *options, struct err *err)
{
    (void)compute, (void)err, (void)path;
    CHECK(options->n_ctx == N_CTX && options->n_seq == SEQS && options->n_batch == BATCH_TOKENS);
    *out = (struct model *)&dummy;
    model_is_open = true;
    return OK;
}

void model_close(struct model *model)
{
    (void)model;
    model_is_open = false;
}

const struct model_info *model_info(const struct model *model)
{
    static const struct model_info info = {.id = "stand-in", .n_vocab = VOCAB, .n_ctx = N_CTX};
    (void)model;
    return &info;
}

const struct tokenizer *model_tokenizer(const struct model *model)
{
    return (const struct tokenizer *)model;
}

enum status tokenizer_encode(const struct tokenizer *tokenizer, struct bytes text, bool special,
                             int32_t *ids, size_t cap, size_t *n, struct err *err)
{
    (void)tokenizer, (void)special, (void)err;
    CHECK(text.n <= cap);
    CHECK(text.n <= (size_t)LONGEST * N_CTX); // longer ones are refused unread
    if (text.n == 4 && memcmp(text.p, "slow", 4) == 0) {
        usleep(SLOW_MS * 1000); // as long as this takes, the watchdog sees it
        CHECK(sched_step_ms(sched) >= SLOW_MS - 1);
    }
    for (size_t i = 0; i < text.n; i++)
        ids[i] = text.p[i] - 'a';
    *n = text.n;
    return OK;
}

enum status template_encode(const struct tokenizer *tokenizer, const struct message *messages,
                            size_t n_messages, int32_t *ids, size_t cap, size_t *n, struct err *err)
{
    size_t total = 0;
    for (size_t i = 0; i < n_messages; i++) {
        size_t one;
        if (tokenizer_encode(tokenizer, messages[i].content, false, ids + total, cap - total, &one,
                             err) != OK)
            return BAD_INPUT;
        total += one;
    }
    *n = total;
    return OK;
}

struct bytes tokenizer_decode(const struct tokenizer *tokenizer, int32_t id)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    (void)tokenizer;
    return (struct bytes){(const uint8_t *)letters + id, 1};
}

size_t tokenizer_longest(const struct tokenizer *tokenizer)
{
    (void)tokenizer;
    return LONGEST;
}

bool tokenizer_is_end(const struct tokenizer *tokenizer, int32_t id)
{
    (void)tokenizer;
    return id == VOCAB - 1;
}

// The token that follows token[0 .. n): a hash of all of them.
static int32_t next_of(const int32_t *token, int32_t n)
{
    uint32_t hash = 2166136261u;
    for (int32_t i = 0; i < n; i++)
        hash = (hash ^ (uint32_t)token[i]) * 16777619u;
    hash ^= hash >> 15;
    return (int32_t)(hash % 40 == 0 ? VOCAB - 1 : hash % (VOCAB - 1));
}

enum status model_rehearse(struct model *model, struct err *err)
{
    (void)model, (void)err;
    return OK;
}

enum status model_forward(struct model *model, const struct batch *batch, struct logits logits,
                          struct err *err)
{
    int n_wanted = 0, n_decode = 0, n_prefill = 0, n_rows_of[SEQS] = {0};
    (void)model;
    n_passes++;
    if (pass_fails)
        return err_set(err, NO_ROOM, "the stand-in was told to fail");
    CHECK(batch->n_tokens > 0 && batch->n_tokens <= BATCH_TOKENS);
    for (int32_t i = 0; i < batch->n_tokens; i++) {
        int32_t seq = batch->seq[i], pos = batch->pos[i];
        CHECK(seq >= 0 && seq < SEQS && pos >= 0 && pos < N_CTX);
        cache[seq][pos] = batch->token[i];
        n_rows_of[seq]++;
        if (!batch->wanted[i])
            continue;
        int32_t id = next_of(cache[seq], pos + 1);
        if (batch->n_top == 0)
            for (int32_t k = 0; k < VOCAB; k++)
                logits.value[n_wanted * VOCAB + k] = k == id ? 10 : 0;
        for (int32_t k = 0; k < batch->n_top; k++) {
            logits.value[n_wanted * batch->n_top + k] = k == 0 ? 10 : 0;
            logits.token[n_wanted * batch->n_top + k] = k == 0 ? id : (id + k) % VOCAB;
        }
        n_wanted++;
    }
    for (int i = 0; i < SEQS; i++) {
        n_decode += n_rows_of[i] == 1;
        n_prefill += n_rows_of[i] > 1 ? n_rows_of[i] : 0;
    }
    if (n_decode + (n_prefill > 0) > n_together)
        n_together = n_decode + (n_prefill > 0);
    if (batch->n_tokens > most_rows)
        most_rows = batch->n_tokens;
    if (n_decode && n_prefill > most_prefill_beside_decode)
        most_prefill_beside_decode = n_prefill;
    if (pass_us)
        usleep((useconds_t)(pass_us * batch->n_tokens));
    return OK;
}

// ---- asking ---------------------------------------------------------------------------------

struct answer {
    uint64_t id;
    char text[N_CTX + 1];
    size_t n_text;
    bool started, ended;
    int n_progress;
    struct event last;
};

static void open_sched(void)
{
    struct settings settings;
    settings_default(&settings);
    settings.n_ctx = N_CTX;
    settings.n_parallel = SEQS;
    sched_open(&sched, &settings, "stand-in.gguf", NULL);
    while (sched_status(sched)->state == SCHED_LOADING) {
        struct pollfd poll_fd = {.fd = sched_event_fd(sched), .events = POLLIN};
        (void)poll(&poll_fd, 1, 1000);
        event_close(sched_take_event(sched));
    }
    CHECK(sched_status(sched)->state == SCHED_READY && sched_status(sched)->layers.looked);
    CHECK(sched_step_ms(sched) == 0);
    CHECK_TEXT(sched_status(sched)->device.device, "stand-in");
}

static enum status submit(struct answer *answer, const char *prompt, int32_t max_tokens,
                          const char *stop)
{
    static uint64_t last_id;
    struct job *job = job_open();
    *answer = (struct answer){.id = ++last_id};
    job->id = answer->id;
    job->ask.prompt = bytes_copy(&job->arena, bytes_of(prompt));
    job->ask.sampling.temperature = 0;
    job->ask.max_tokens = max_tokens;
    if (stop) {
        struct bytes *stops = arena_take(&job->arena, sizeof(*stops));
        *stops = bytes_copy(&job->arena, bytes_of(stop));
        job->ask.stops = stops;
        job->ask.n_stops = 1;
    }
    enum status status = sched_submit(sched, job);
    if (status != OK)
        job_close(job);
    return status;
}

static void take(struct answer *answers, size_t n, const struct event *event)
{
    for (size_t i = 0; i < n; i++) {
        struct answer *answer = &answers[i];
        if (answer->id != event->job_id)
            continue;
        CHECK(!answer->ended); // exactly one end
        if (event->kind == EVENT_STARTED)
            answer->started = true;
        if (event->kind == EVENT_PROGRESS)
            answer->n_progress++;
        if (event->kind == EVENT_TEXT && answer->n_text + event->n_text < sizeof(answer->text)) {
            CHECK(answer->started);
            memcpy(answer->text + answer->n_text, event->text, event->n_text);
            answer->n_text += event->n_text;
        }
        if (event->kind == EVENT_DONE || event->kind == EVENT_FAILED) {
            answer->ended = true;
            answer->last = *event;
        }
    }
}

static bool all_ended(const struct answer *answers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!answers[i].ended)
            return false;
    return true;
}

static void wait_for(struct answer *answers, size_t n)
{
    uint64_t until_ms = clock_ms() + 20000;
    while (!all_ended(answers, n) && clock_ms() < until_ms) {
        struct pollfd poll_fd = {.fd = sched_event_fd(sched), .events = POLLIN};
        (void)poll(&poll_fd, 1, 100);
        struct event *event;
        while ((event = sched_take_event(sched)) != NULL) {
            take(answers, n, event);
            event_close(event);
        }
    }
    CHECK(all_ended(answers, n));
}

// What the stand-in must say, worked out without batches. Returns true when it ends by itself.
static bool expected(const char *prompt, int32_t max_tokens, char out[N_CTX + 1])
{
    int32_t token[N_CTX + 1], n = 0, n_out = 0;
    for (; prompt[n]; n++)
        token[n] = prompt[n] - 'a';
    for (;;) {
        int32_t id = next_of(token, n);
        bool end = id == VOCAB - 1;
        if (!end)
            out[n_out++] = (char)('a' + id);
        out[n_out] = 0;
        if (end || (max_tokens && n_out == max_tokens) || n == N_CTX)
            return end;
        token[n++] = id;
    }
}

static void check_answer(const struct answer *answer, const char *prompt, int32_t max_tokens)
{
    char want[N_CTX + 1];
    bool ends = expected(prompt, max_tokens, want);
    CHECK(answer->last.kind == EVENT_DONE);
    CHECK_TEXT(answer->text, want);
    CHECK(answer->last.finish == (ends ? FINISH_STOP : FINISH_LENGTH));
    CHECK(answer->last.usage.n_prompt == (int32_t)strlen(prompt));
    CHECK(answer->last.usage.n_generated == (int32_t)strlen(want));
}

static void fill(char *text, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1103515245u + 12345u;
        text[i] = (char)('a' + (seed >> 16) % 25);
    }
    text[n] = 0;
}

// ---- the tests ------------------------------------------------------------------------------

static void test_one(void)
{
    struct answer answer;
    char text[N_CTX + 2];
    CHECK(submit(&answer, "hello", 20, NULL) == OK);
    wait_for(&answer, 1);
    check_answer(&answer, "hello", 20);
    fill(text, N_CTX, 5); // exactly full: one token can still be said
    CHECK(submit(&answer, text, 0, NULL) == OK);
    wait_for(&answer, 1);
    check_answer(&answer, text, 0);
    CHECK(answer.n_text == 1 && answer.n_progress > 0);
    fill(text, N_CTX + 1, 5);
    CHECK(submit(&answer, text, 0, NULL) == OK);
    wait_for(&answer, 1);
    CHECK(answer.last.kind == EVENT_FAILED && answer.last.err.status == TOO_LARGE &&
          !answer.started);
    CHECK(strstr(answer.last.err.text, "600") && strstr(answer.last.err.text, "601"));
    char vast[LONGEST * N_CTX + 2];
    for (size_t n = LONGEST * N_CTX; n < sizeof(vast); n++) { // the last one read, the first unread
        fill(vast, n, 5);
        CHECK(submit(&answer, vast, 0, NULL) == OK);
        wait_for(&answer, 1);
        CHECK(answer.last.kind == EVENT_FAILED && answer.last.err.status == TOO_LARGE);
        const char *want = n > LONGEST * N_CTX ? "600 tokens; the prompt has at least 601."
                                               : "600 tokens; the prompt has 2400.";
        CHECK(strstr(answer.last.err.text, want));
    }
    CHECK(submit(&answer, "slow", 20, NULL) == OK);
    wait_for(&answer, 1);
    check_answer(&answer, "slow", 20);
    CHECK(submit(&answer, "", 0, NULL) == OK);
    wait_for(&answer, 1);
    CHECK(answer.last.kind == EVENT_FAILED && answer.last.err.status == BAD_INPUT);
    fill(text, 590, 9); // runs into the end of the context
    CHECK(submit(&answer, text, 0, NULL) == OK);
    wait_for(&answer, 1);
    check_answer(&answer, text, 0);
}

static void test_together(void)
{
    enum { N = 12 };
    static struct answer answers[N];
    static char prompts[N][N_CTX + 1];
    n_together = 0;
    pass_us = 5;
    for (unsigned i = 0; i < N; i++) {
        fill(prompts[i], 3 + 47 * i, 100 + i);
        CHECK(submit(&answers[i], prompts[i], 30, NULL) == OK);
    }
    wait_for(answers, N);
    for (unsigned i = 0; i < N; i++)
        check_answer(&answers[i], prompts[i], 30);
    CHECK(n_together == SEQS);
    CHECK(sched_n_open(sched) == 0);
    pass_us = 0;
}

// A conversation that grows is not computed again; a different one in between does not disturb it.
static void test_prefix(void)
{
    char text[N_CTX + 1], other[200];
    struct answer answer;
    fill(text, 100, 77);
    for (int turn = 0; turn < 5; turn++) {
        CHECK(submit(&answer, text, 10, NULL) == OK);
        wait_for(&answer, 1);
        check_answer(&answer, text, 10);
        if (turn > 0)
            CHECK(answer.last.usage.n_prompt_cached >= 100 + 20 * (turn - 1));
        size_t n = strlen(text);
        memcpy(text + n, answer.text, answer.n_text);
        fill(text + n + answer.n_text, 20 - answer.n_text, (unsigned)turn);
        fill(other, 150, 1000u + (unsigned)turn);
        CHECK(submit(&answer, other, 5, NULL) == OK);
        wait_for(&answer, 1);
        check_answer(&answer, other, 5);
    }
    CHECK(submit(&answer, text, 3, NULL) == OK);
    wait_for(&answer, 1);
    CHECK(submit(&answer, text, 3, NULL) == OK); // the same again: all but the last token is there
    wait_for(&answer, 1);
    check_answer(&answer, text, 3);
    CHECK(answer.last.usage.n_prompt_cached == (int32_t)strlen(text) - 1);
}

static void test_stop_string(void)
{
    struct answer answer;
    char want[N_CTX + 1], stop[3] = "";
    expected("stopping", 30, want);
    memcpy(stop, want + 4, 2);
    CHECK(submit(&answer, "stopping", 30, stop) == OK);
    wait_for(&answer, 1);
    *strstr(want, stop) = 0;
    CHECK_TEXT(answer.text, want);
    CHECK(answer.last.finish == FINISH_STOP);
}

static void test_cancel(void)
{
    enum { N = SEQS + WAITING_MOST };
    static struct answer answers[N + 1];
    char text[501];
    pass_us = 100;
    for (unsigned i = 0; i < N; i++) {
        fill(text, 500, 5000 + i);
        CHECK(submit(&answers[i], text, 0, NULL) == OK);
    }
    CHECK(submit(&answers[N], "more", 1, NULL) == NO_ROOM); // the cap
    for (unsigned i = 0; i < N; i++) // running and waiting ones, from both ends
        sched_cancel(sched, answers[i % 2 ? i : N - 1 - i].id);
    sched_cancel(sched, 123456789); // nobody's
    wait_for(answers, N);
    for (unsigned i = 0; i < N; i++)
        CHECK(answers[i].last.kind == EVENT_DONE && answers[i].last.finish == FINISH_CANCELLED);
    pass_us = 0;
    CHECK(submit(&answers[0], "after", 10, NULL) == OK); // and it goes on
    wait_for(answers, 1);
    check_answer(&answers[0], "after", 10);
}

// While one generates, a long prompt comes in pieces small enough to not hold it up.
static void test_chunks(void)
{
    static struct answer answers[2];
    char text[N_CTX + 1], want[N_CTX + 1];
    unsigned seed = 1;
    do // a prompt that is answered at length
        fill(text, 5, seed++);
    while (!(expected(text, 80, want), strlen(want) == 80));
    pass_us = 1000; // 1 ms a token
    CHECK(submit(&answers[0], text, 80, NULL) == OK);
    usleep(30000);
    most_prefill_beside_decode = 0;
    fill(text, 550, 3);
    CHECK(submit(&answers[1], text, 3, NULL) == OK);
    wait_for(answers, 2);
    check_answer(&answers[1], text, 3);
    CHECK(most_prefill_beside_decode >= CHUNK_LEAST &&
          most_prefill_beside_decode <= 200); // about 150 ms
    CHECK(most_rows <= BATCH_TOKENS && answers[1].n_progress >= 2);
    pass_us = 0;
}

static void test_failures(void)
{
    struct answer answer;
    pass_fails = true;
    CHECK(submit(&answer, "hello", 20, NULL) == OK);
    wait_for(&answer, 1);
    CHECK(answer.last.kind == EVENT_FAILED && strstr(answer.last.err.text, "told to fail"));
    pass_fails = false;
    CHECK(submit(&answer, "hello", 20, NULL) == OK);
    wait_for(&answer, 1);
    check_answer(&answer, "hello", 20);
    CHECK(answer.last.usage.n_prompt_cached == 0); // what the failed pass left is not trusted
}

static void test_refused(void)
{
    struct settings settings;
    struct answer answer;
    struct err refused = {0};
    settings_default(&settings);
    (void)err_set(&refused, NOT_FOUND, "no such model");
    sched_open(&sched, &settings, "", &refused);
    CHECK(submit(&answer, "hello", 20, NULL) == OK);
    wait_for(&answer, 1);
    CHECK(answer.last.kind == EVENT_FAILED && sched_status(sched)->state == SCHED_FAILED);
    CHECK_TEXT(sched_status(sched)->err.text, "no such model");
    CHECK(sched_status(sched)->layers.looked && sched_status(sched)->layers.opened.status == OK);
    sched_close(sched);
    // A device that is refused: its layers are told all the same.
    snprintf(settings.device, sizeof(settings.device), "none");
    sched_open(&sched, &settings, "stand-in.gguf", NULL);
    CHECK_TEXT(sched_status(sched)->layers.setting, "none");
    CHECK(submit(&answer, "hello", 20, NULL) == OK);
    wait_for(&answer, 1);
    CHECK(answer.last.kind == EVENT_FAILED && sched_status(sched)->state == SCHED_FAILED);
    CHECK_TEXT(sched_status(sched)->err.text, "there is no device \"none\"");
    CHECK(sched_status(sched)->layers.looked &&
          sched_status(sched)->layers.opened.status == NOT_FOUND);
    sched_close(sched);
    // One that computes wrongly is not used.
    snprintf(settings.device, sizeof(settings.device), "wrong");
    sched_open(&sched, &settings, "stand-in.gguf", NULL);
    CHECK(submit(&answer, "hello", 20, NULL) == OK);
    wait_for(&answer, 1);
    CHECK(sched_status(sched)->state == SCHED_FAILED && !model_is_open);
    CHECK_TEXT(sched_status(sched)->err.text, "it computes wrongly");
    sched_close(sched);
}

int main(void)
{
    open_sched();
    test_chunks(); // first: what the others teach the scheduler about speed is not true here
    test_one();
    test_together();
    test_prefix();
    test_stop_string();
    test_cancel();
    test_failures();
    static struct answer answer;
    pass_us = 1000;
    CHECK(submit(&answer, "running while it is closed", 0, NULL) == OK);
    usleep(20000);
    sched_close(sched);
    pass_us = 0;
    test_refused();
    return check_done("sched_batch");
}
