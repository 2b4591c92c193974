// turns.c - two turns of a conversation through the scheduler, a tool of the golden tier.
//
//   turns MODEL.gguf DEVICE CTX PROMPT MORE MAX    asks PROMPT, then PROMPT, what was answered and
//                                                  MORE; then the same again where nothing is held
//
// For each of the three a line: prompt tokens, of these taken from memory, microseconds to the
// first token, and the answer as hexadecimal digits. Greedy; MAX tokens of an answer.
#include "sched/sched.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sched *sched;

static void open_with(const char *model, const char *device, int32_t n_ctx)
{
    struct settings settings;
    settings_default(&settings);
    settings.n_ctx = n_ctx;
    snprintf(settings.device, sizeof(settings.device), "%s", device);
    log_level_set(LOG_ERROR);
    sched_open(&sched, &settings, model, NULL);
}

static struct event *next_event(void)
{
    struct event *event;
    while ((event = sched_take_event(sched)) == NULL) {
        struct pollfd fd = {.fd = sched_event_fd(sched), .events = POLLIN};
        (void)poll(&fd, 1, 1000);
    }
    return event;
}

// Appends the answer to *answer.
static void ask(struct bytes prompt, int32_t max_tokens, struct buf *answer)
{
    static uint64_t last_id;
    struct job *job = job_open();
    job->id = ++last_id;
    job->ask.prompt = bytes_copy(&job->arena, prompt);
    job->ask.sampling.temperature = 0;
    job->ask.max_tokens = max_tokens;
    if (sched_submit(sched, job) != OK)
        die("the job was not taken");
    const size_t before = answer->n;
    for (bool ended = false; !ended;) {
        struct event *event = next_event();
        if (event->kind == EVENT_FAILED)
            die("%s", event->err.text);
        if (event->kind == EVENT_TEXT && buf_add(answer, event->text, event->n_text) != OK)
            die("a long answer");
        if (event->kind == EVENT_DONE) {
            printf("%" PRId32 " %" PRId32 " %" PRIu64 " ", event->usage.n_prompt,
                   event->usage.n_prompt_cached, event->usage.prompt_us);
            ended = true;
        }
        event_close(event);
    }
    for (size_t i = before; i < answer->n; i++)
        printf("%02x", answer->p[i]);
    printf("\n");
}

int main(int argc, char **argv)
{
    struct buf text, last;
    if (argc != 7)
        return 2;
    const int32_t n_ctx = (int32_t)strtol(argv[3], NULL, 10),
                  max_tokens = (int32_t)strtol(argv[6], NULL, 10);
    buf_init(&text, 1 << 24);
    buf_init(&last, 1 << 24);
    open_with(argv[1], argv[2], n_ctx);
    ask(bytes_of("warm"), 4, &last); // what is made once is made
    if (buf_add(&text, argv[4], strlen(argv[4])) != OK)
        die("a long prompt");
    ask(buf_view(&text), max_tokens, &text);
    if (buf_add(&text, argv[5], strlen(argv[5])) != OK)
        die("a long prompt");
    ask(buf_view(&text), max_tokens, &last);
    sched_close(sched);
    open_with(argv[1], argv[2], n_ctx);
    ask(buf_view(&text), max_tokens, &last);
    sched_close(sched);
    buf_free(&text);
    buf_free(&last);
    return 0;
}
