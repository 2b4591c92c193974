// sched_speak.c - from tokens to what is told, and what is forced on a model: thoughts that took
// too long are ended, a call that must be made is begun, stop strings count in content alone, and a
// grammar holds from where nothing is forced any more. The engine thread is played: a work is fed
// the tokens that a model would have picked.
#include "../../engine/sched/inside.h"
#include "grammar_fixture.h"

#include <stdlib.h>

static const char *const marks[] = {"<tool_call>", "</tool_call>", "<think>", "</think>"};
static const char tools_json[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"now\",\"parameters\":{\"type\":\"object\","
    "\"properties\":{\"z\":{\"type\":\"integer\"}},\"required\":[\"z\"]}}}]";

static struct tokenizer *tokenizer; // letters, then the marks
static struct sched sched;
static struct engine engine = {.sched = &sched};
static struct loaded loaded = {.engine = &engine};
static char said[4096]; // events as C[..] T[..] N[..] A[..]

static int32_t id_of(const char *text)
{
    for (int32_t id = 0; id < tokenizer->n_vocab; id++)
        if (bytes_equal_text(tokenizer_decode(tokenizer, id), text))
            return id;
    return -1;
}

static void take_events(void)
{
    static const char letters[] = {'C', 'T', 'N', 'A'};
    for (struct event *event; (event = ring_pop(sched.events)) != NULL; event_close(event)) {
        const size_t n = strlen(said), n_text = event->n_text - event->n_id;
        if (event->kind == EVENT_TEXT)
            snprintf(said + n, sizeof(said) - n, "%c[%.*s]", letters[event->channel], (int)n_text,
                     (const char *)event->text + event->n_id);
    }
}

struct wish { // what the job asks
    bool must_call;
    int32_t think_most;
    const char *stop;
    bool in_thought;
};

static struct work *begin(const struct wish *wish, const struct value *tools)
{
    static struct owner nobody;
    struct work *work = mem_alloc(sizeof(*work));
    work->owner = &nobody;
    struct job *job = job_open();
    struct bytes *stops = arena_take(&job->arena, sizeof(*stops));
    work->job = job;
    job->ask.chat = true;
    job->ask.conversation.tools = tools;
    job->ask.must_call = wish->must_call;
    job->ask.must_call_tool = bytes_of(wish->must_call ? "now" : "");
    job->ask.think_most = wish->think_most;
    *stops = bytes_of(wish->stop ? wish->stop : "");
    job->ask.stops = stops;
    job->ask.n_stops = wish->stop != NULL;
    work->prompt = mem_array(1, sizeof(*work->prompt));
    work->prompt[0] = id_of(wish->in_thought ? "<think>" : "x");
    work->n_prompt = 1;
    if (wish->must_call) {
        const struct answer_rules rules = {
            .tools = tools, .must_call = true, .tool = bytes_of("now"), .tokenizer = tokenizer};
        struct notes notes = {""};
        struct err err = {0};
        CHECK(answer_grammar(&work->grammar, &loaded.family, &rules, &notes, &err) == OK);
        matcher_open(&work->matcher, work->grammar, tokenizer);
    }
    sampler_open(&work->sampler, &job->ask.sampling, tokenizer->n_vocab);
    said[0] = 0;
    work_speak_begin(&loaded, work);
    return work;
}

// The model picks letter by letter, marks whole; *n_forced: tokens that counted instead of its own,
// which it picks again. True: the answer ended by itself.
static bool write(struct work *work, const char *text, int *n_forced)
{
    bool over = false;
    for (const char *p = text; *p && !over;) {
        int32_t id = -1;
        for (size_t i = 0; i < COUNT_OF(marks); i++)
            if (strncmp(p, marks[i], strlen(marks[i])) == 0)
                id = id_of(marks[i]);
        const char one[] = {*p, 0};
        id = id < 0 ? id_of(one) : id;
        const int32_t at = work->at_forced, counts = work_counts(&loaded, work, id);
        const bool forced = work->at_forced > at;
        *n_forced += forced;
        p += forced ? 0 : tokenizer_decode(tokenizer, id).n;
        if (work->obeys)
            CHECK(matcher_accept(work->matcher, counts));
        over = work_speak(&loaded, work, counts);
        take_events();
        if (*n_forced > 200)
            return false;
    }
    return over;
}

static void end(struct work *work)
{
    work_speak_end(&loaded, work);
    take_events();
    sampler_close(work->sampler);
    work_speak_close(work);
    free(work->prompt);
    job_close(work->job);
    free(work);
}

// Pieces of one channel are told as they come: joined here.
static void check_said(const char *want)
{
    char joined[4096] = "";
    size_t n = 0;
    for (const char *p = said; *p; p++)
        if (p[0] == ']' && p[1] && n > 0 && p[2] == '[' && p[1] != 'N') {
            const char *open = p;
            while (open > said && !(open[0] == '[' && strchr("CTNA", open[-1])))
                open--;
            if (open > said && open[-1] == p[1]) {
                p += 2;
                continue;
            }
            joined[n++] = *p;
        } else {
            joined[n++] = *p;
        }
    joined[n] = 0;
    CHECK_TEXT(joined, want);
}

int main(void)
{
    static char letters[127][2];
    const char *texts[127 + COUNT_OF(marks)];
    struct value tools;
    struct arena arena;
    struct err err = {0};
    int n_forced = 0;
    arena_init(&arena, 1 << 20);
    CHECK(value_read(&tools, &arena, bytes_of(tools_json), &err) == OK);
    for (int i = 0; i < 127; i++) {
        letters[i][0] = (char)(i + 1);
        texts[i] = letters[i];
    }
    memcpy(texts + 127, marks, sizeof(marks));
    tokenizer = vocabulary(texts, COUNT_OF(texts));
    tokenizer->added.list = mem_array(COUNT_OF(marks), sizeof(*tokenizer->added.list));
    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        tokenizer->type[127 + i] = TYPE_MARK;
        tokenizer->added.list[tokenizer->added.n++] =
            (struct special){bytes_of(marks[i]), (int32_t)(127 + i), true, false, false};
    }
    added_make(&tokenizer->added);
    trie_init(&tokenizer->trie);
    for (int32_t i = 0; i < 127; i++)
        trie_add(&tokenizer->trie, bytes_of(texts[i]), i);
    ring_open(&sched.events, 1024);
    loaded.tokenizer = tokenizer;
    loaded.family = answer_family_find(bytes_of("tools <tool_call> </think>"), NULL);

    struct work *work = begin(&(struct wish){.think_most = -1, .stop = "END"}, &tools);
    CHECK(!write(work, "<think>an END here</think>\n\nIt is", &n_forced) && n_forced == 0);
    CHECK(work->usage.n_thinking > 0 && write(work, " so END and more", &n_forced));
    CHECK(work_unsaid(work) == 3);
    end(work);
    check_said("T[an END here]C[It is so ]");

    work = begin(&(struct wish){.think_most = 5, .in_thought = true}, &tools);
    CHECK(!write(work, "abcdef", &n_forced) && n_forced == 1); // </think> counts in place of f
    end(work);
    check_said("T[abcde]C[f]");

    n_forced = 0;
    work = begin(&(struct wish){.must_call = true, .think_most = -1}, &tools);
    CHECK(!work->obeys);
    (void)write(work, "{\"z\": 7}}\n</tool_call>", &n_forced);
    CHECK(n_forced > 10 && work->obeys && matcher_may_end(work->matcher));
    end(work);
    check_said("N[now]A[{\"z\": 7}]");

    ring_close(sched.events);
    trie_free(&tokenizer->trie);
    added_free(&tokenizer->added);
    vocabulary_close(tokenizer);
    arena_free(&arena);
    return check_done("sched_speak");
}
