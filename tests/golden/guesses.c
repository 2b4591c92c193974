// guesses.c - speculation: a tool of the golden tier.
//
//   guesses DEVICE N HOW [MODEL [DRAFT]] < QUESTIONS
//                                    each of N prompts answered greedily without and with it, by
//                                    turns; prints for prompts that repeat themselves, for
//                                    questions (one a line), and for questions that a conversation
//                                    has answered before: how many, how many answers were the
//                                    same, tokens, the time to generate them without and with,
//                                    guessed rows, those that came, and whose they were (bits of
//                                    enum guesser)
//
// HOW: measured: as a server guesses, where it is faster; boldly: all that can be guessed is.
// MODEL: a file, the built-in one without; DRAFT: a second model that guesses. Exit status 1 where
// an answer differs.
#include "sched/inside.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_BYTES = 65536, LINES_MOST = 4096, TOKENS = 96, WORDS = 12 };
enum { PLAIN, GUESSING, SIDES };
enum { REPEATING, QUESTIONS, ASKED_AGAIN, KINDS };

struct sums {
    int n, n_same;
    long n_tokens, n_drafted, n_kept;
    uint64_t us[SIDES];
    uint32_t by;
};

struct told {
    char text[ANSWER_BYTES];
    size_t n;
    struct usage usage;
};

static struct sched *sides[SIDES];

static void open_side(int side, const char *device, const char *model, const char *draft)
{
    struct settings settings;
    settings_default(&settings);
    snprintf(settings.device, sizeof(settings.device), "%s", device);
    settings.n_ctx = 1024;
    settings.n_parallel = 1;
    settings.speculation = side == GUESSING;
    snprintf(settings.draft, sizeof(settings.draft), "%s", draft);
    sched_open(&sides[side], &settings, model, NULL);
    while (sched_status(sides[side])->state == SCHED_LOADING) {
        struct pollfd fd = {.fd = sched_event_fd(sides[side]), .events = POLLIN};
        (void)poll(&fd, 1, 1000);
        event_close(sched_take_event(sides[side]));
    }
    if (sched_status(sides[side])->state != SCHED_READY) {
        fprintf(stderr, "guesses: %s\n", sched_status(sides[side])->err.text);
        exit(1);
    }
}

// Takes what came. True: the last of it.
static bool take(struct sched *sched, struct told *out)
{
    bool last = false;
    struct event *event;
    while (!last && (event = sched_take_event(sched)) != NULL) {
        last = event->kind == EVENT_DONE || event->kind == EVENT_FAILED;
        if (event->kind == EVENT_TEXT && out->n + event->n_text < sizeof(out->text)) {
            memcpy(out->text + out->n, event->text, event->n_text);
            out->n += event->n_text;
        }
        if (event->kind == EVENT_FAILED) {
            fprintf(stderr, "guesses: %s\n", event->err.text);
            exit(1);
        }
        out->usage = event->usage;
        event_close(event);
    }
    return last;
}

static void answer(int side, const char *prompt, bool on, struct told *out)
{
    static uint64_t last_id;
    struct job *job = job_open();
    job->id = ++last_id;
    job->ask.prompt = bytes_copy(&job->arena, bytes_of(prompt));
    job->ask.sampling.temperature = 0;
    job->ask.max_tokens = TOKENS;
    job->ask.sampling.ignore_eos = on;
    out->n = 0;
    if (sched_submit(sides[side], job) != OK)
        exit(1);
    while (!take(sides[side], out)) {
        struct pollfd fd = {.fd = sched_event_fd(sides[side]), .events = POLLIN};
        (void)poll(&fd, 1, 1000);
    }
}

// A few lines over and over, each line of words of the questions.
static void repeat_lines(char *out, size_t size, char *const *lines, int n_lines, int seed)
{
    size_t n = 0;
    for (int i = 0; i < WORDS; i++)
        n += (size_t)snprintf(out + n, size - n, "%.60s\n", lines[(seed + i % 3) % n_lines]);
}

// What a person says, and where the model's answer begins.
static int turn_of(char *out, size_t size, const char *question)
{
    return snprintf(out, size, "<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n", question);
}

// The question, its answer, and the question again.
static void ask_again(char *out, size_t size, const char *question)
{
    static struct told said;
    size_t n = (size_t)turn_of(out, size, question);
    answer(PLAIN, out, false, &said);
    n += (size_t)snprintf(out + n, size - n, "%.*s<|im_end|>\n", (int)said.n, said.text);
    (void)turn_of(out + n, size - n, question);
}

// on: also where the model would end.
static void run(struct sums *sums, const char *prompt, bool on, int turn)
{
    static struct told said[SIDES];
    for (int i = 0; i < SIDES; i++) {
        const int side = (turn + i) % SIDES; // each is first every other time
        answer(side, prompt, on, &said[side]);
        sums->us[side] += said[side].usage.generate_us;
    }
    sums->n++;
    sums->n_same += said[PLAIN].n == said[GUESSING].n &&
                    memcmp(said[PLAIN].text, said[GUESSING].text, said[PLAIN].n) == 0;
    sums->n_tokens += said[GUESSING].usage.n_generated;
    sums->n_drafted += said[GUESSING].usage.n_drafted;
    sums->n_kept += said[GUESSING].usage.n_draft_kept;
    sums->by |= said[GUESSING].usage.drafted_by;
}

int main(int argc, char **argv)
{
    static char *lines[LINES_MOST], line[1024], prompt[4096];
    static const char *const names[KINDS] = {"repeating", "questions", "again"};
    struct sums sums[KINDS] = {0};
    int n_lines = 0, n_bad = 0;
    if (argc < 4 || argc > 6)
        return 2;
    guess_boldly = strcmp(argv[3], "boldly") == 0;
    while (n_lines < LINES_MOST && fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = 0;
        lines[n_lines++] = strdup(line);
    }
    if (n_lines == 0)
        return 2;
    for (int side = 0; side < SIDES; side++)
        open_side(side, argv[1], argc > 4 ? argv[4] : MODEL_BUILTIN, argc > 5 ? argv[5] : "");
    const long n_prompts = strtol(argv[2], NULL, 10);
    for (int i = 0; i < n_prompts; i++) {
        const int kind = i % KINDS;
        if (kind == REPEATING)
            repeat_lines(prompt, sizeof(prompt), lines, n_lines, i);
        else if (kind == QUESTIONS)
            (void)turn_of(prompt, sizeof(prompt), lines[i % n_lines]);
        else
            ask_again(prompt, sizeof(prompt), lines[i % n_lines]);
        run(&sums[kind], prompt, kind == REPEATING, i / KINDS);
    }
    for (int k = 0; k < KINDS; k++) {
        printf("%s %d %d %ld %llu %llu %ld %ld %u\n", names[k], sums[k].n, sums[k].n_same,
               sums[k].n_tokens, (unsigned long long)sums[k].us[PLAIN],
               (unsigned long long)sums[k].us[GUESSING], sums[k].n_drafted, sums[k].n_kept,
               sums[k].by);
        n_bad += sums[k].n - sums[k].n_same;
    }
    for (int side = 0; side < SIDES; side++)
        sched_close(sides[side]);
    for (int i = 0; i < n_lines; i++)
        free(lines[i]);
    return n_bad > 0;
}
