// sched_echo.c - prompts that are told: the log-probability of each token given those before it,
// against the stand-in's own arithmetic, alone and beside others, whatever is held of the text;
// then the text, then the answer or, where only reading is asked for, nothing. And what is told of
// a chat template that cannot be used.
#include "sched_fixture.h"

enum { SAID = 8, JOBS_MOST = 4 };

struct echo {
    uint64_t id;
    const char *prompt;
    bool only_reads, as_ids;
    int n_chances, n_none; // of the prompt
    char text[2 * N_CTX];
    size_t n_text;
    bool ended;
    struct event last;
};

static void ask(struct echo *echo)
{
    struct job *job = job_open();
    const size_t n = strlen(echo->prompt);
    job->id = echo->id;
    job->ask.prompt = bytes_copy(&job->arena, bytes_of(echo->prompt));
    if (echo->as_ids) {
        int32_t *ids = arena_take(&job->arena, n * sizeof(*ids));
        for (size_t i = 0; i < n; i++)
            ids[i] = echo->prompt[i] - 'a';
        job->ask.prompt = (struct bytes){NULL, 0};
        job->ask.prompt_ids = ids;
        job->ask.n_prompt_ids = n;
    }
    job->ask.sampling.temperature = 0;
    job->ask.max_tokens = SAID;
    job->ask.n_chances = 2;
    job->ask.echoes = true;
    job->ask.only_reads = echo->only_reads;
    CHECK(sched_submit(sched, job) == OK);
}

// The stand-in's row has one logit of 10, that of the token its hash says, and 25 of 0.
static void check_chance(struct echo *echo, const struct event *event)
{
    int32_t ids[N_CTX];
    const int32_t at = echo->n_none + echo->n_chances;
    float log_share;
    CHECK(echo->n_text == 0 && at < (int32_t)strlen(echo->prompt));
    memcpy(&log_share, event->text, sizeof(log_share));
    CHECK(event->text[sizeof(float) + sizeof(uint16_t)] == (uint8_t)echo->prompt[at]);
    if (at == 0) {
        CHECK(isnan(log_share) && event->n_done == 0);
        echo->n_none++;
        return;
    }
    for (int32_t i = 0; i < at; i++)
        ids[i] = echo->prompt[i] - 'a';
    const bool likely = next_of(ids, at) == echo->prompt[at] - 'a';
    const double want = (likely ? 10 : 0) - log(exp(10) + VOCAB - 1);
    if (!CHECK(fabs((double)log_share - want) < 1e-5 && event->n_done == 2))
        fprintf(stderr, "    token %d: %g, expected %g\n", (int)at, (double)log_share, want);
    echo->n_chances++;
}

static void take_event(struct echo *echo, const struct event *event)
{
    if (event->kind == EVENT_CHANCE && echo->n_text == 0) {
        check_chance(echo, event);
    } else if (event->kind == EVENT_TEXT) {
        memcpy(echo->text + echo->n_text, event->text, event->n_text);
        echo->n_text += event->n_text;
    } else if (event->kind == EVENT_DONE || event->kind == EVENT_FAILED) {
        CHECK(!echo->ended);
        echo->ended = true;
        echo->last = *event;
    }
}

static void follow(struct echo *echoes, size_t n)
{
    size_t n_ended = 0;
    for (uint64_t until_ms = clock_ms() + 20000; n_ended < n && clock_ms() < until_ms;) {
        struct pollfd poll_fd = {.fd = sched_event_fd(sched), .events = POLLIN};
        (void)poll(&poll_fd, 1, 100);
        for (struct event *event; (event = sched_take_event(sched)) != NULL; event_close(event))
            for (size_t i = 0; i < n; i++)
                if (echoes[i].id == event->job_id)
                    take_event(&echoes[i], event);
        n_ended = 0;
        for (size_t i = 0; i < n; i++)
            n_ended += echoes[i].ended;
    }
    for (size_t i = 0; i < n; i++) {
        const struct echo *echo = &echoes[i];
        char want[2 * N_CTX], answer[N_CTX + 1] = "";
        if (!echo->only_reads)
            expected(echo->prompt, SAID, answer);
        snprintf(want, sizeof(want), "%s%s", echo->prompt, answer);
        CHECK(echo->ended && echo->n_none == 1 && echo->n_chances == (int)strlen(echo->prompt) - 1);
        CHECK_TEXT(echo->text, want);
        CHECK(echo->last.kind == EVENT_DONE && echo->last.usage.n_prompt_cached == 0);
        CHECK(!echo->only_reads ||
              (echo->last.finish == FINISH_LENGTH && echo->last.usage.n_generated == 0));
    }
}

int main(void)
{
    static char prompts[JOBS_MOST][200];
    static const size_t lengths[JOBS_MOST] = {1, 40, 150, 90};
    open_sched();
    for (unsigned round = 0; round < 3; round++) { // the texts of the first are held in the others
        struct echo echoes[JOBS_MOST] = {0};
        for (size_t i = 0; i < JOBS_MOST; i++) {
            fill(prompts[i], lengths[i], (unsigned)(i + 1));
            echoes[i] = (struct echo){.id = round * JOBS_MOST + i + 1,
                                      .prompt = prompts[i],
                                      .only_reads = (i + round) % 2 == 1,
                                      .as_ids = round == 2};
            ask(&echoes[i]);
            if (round == 0) // one by one
                follow(&echoes[i], 1);
        }
        if (round > 0)
            follow(echoes, JOBS_MOST);
    }
    sched_close(sched);
    // a template that is of no use is told with the state
    (void)err_set(&chat_fault, BAD_INPUT, "the chat template: line 3: a tag is not closed");
    open_sched();
    CHECK_TEXT(sched_status(sched)->template_fault.text, chat_fault.text);
    sched_close(sched);
    return check_done("sched_echo");
}
