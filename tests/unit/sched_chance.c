// sched_chance.c - log-probabilities: one event before the text of each token, the same numbers
// whether the largest logits or the whole row came, and none where none were asked for.
#include "sched_fixture.h"

enum { SAID = 12 };

static void ask(uint64_t id, const char *prompt, int32_t n_chances, float penalty, const char *stop)
{
    struct job *job = job_open();
    job->id = id;
    job->ask.prompt = bytes_copy(&job->arena, bytes_of(prompt));
    job->ask.sampling.temperature = 0;
    job->ask.sampling.repeat_penalty = penalty;
    job->ask.max_tokens = SAID;
    job->ask.n_chances = n_chances;
    struct bytes *stops = arena_take(&job->arena, sizeof(*stops));
    *stops = bytes_copy(&job->arena, bytes_of(stop));
    job->ask.stops = stops;
    job->ask.n_stops = stop[0] != 0;
    CHECK(sched_submit(sched, job) == OK);
}

// The stand-in's row has one logit of 10, which is taken, and 25 of 0.
static void check_chance(const struct event *event, uint8_t *letter)
{
    const double total = log(exp(10) + VOCAB - 1);
    const uint8_t *at = event->text;
    for (int32_t i = 0; i <= event->n_done; i++) {
        float log_share;
        uint16_t n;
        memcpy(&log_share, at, sizeof(log_share));
        memcpy(&n, at + sizeof(log_share), sizeof(n));
        const double want = (i < 2 ? 10 : 0) - total;
        if (!CHECK(fabs((double)log_share - want) < 1e-5))
            fprintf(stderr, "    token %d: %g, expected %g\n", (int)i, (double)log_share, want);
        CHECK(n == 1);
        at += sizeof(log_share) + sizeof(n);
        if (i == 0)
            *letter = at[0];
        else
            CHECK(i > 1 || at[0] == *letter);
        int32_t id;
        memcpy(&id, at + n, sizeof(id));
        CHECK(id == at[0] - 'a');
        at += n + sizeof(id);
    }
    CHECK(at == event->text + event->n_text);
}

// n_unsaid: tokens at the end whose text is not told
static void follow(uint64_t id, int32_t n_chances, int32_t n_unsaid)
{
    char told[64] = "", said[64] = "";
    size_t n_told = 0, n_said = 0;
    bool ended = false;
    for (uint64_t until_ms = clock_ms() + 20000; !ended && clock_ms() < until_ms;) {
        struct pollfd poll_fd = {.fd = sched_event_fd(sched), .events = POLLIN};
        (void)poll(&poll_fd, 1, 100);
        for (struct event *event; (event = sched_take_event(sched)) != NULL;) {
            uint8_t letter = 0;
            if (event->job_id == id && event->kind == EVENT_CHANCE) {
                CHECK(event->n_done == n_chances);
                check_chance(event, &letter);
                told[n_told++] = (char)letter;
            } else if (event->job_id == id && event->kind == EVENT_TEXT) {
                memcpy(said + n_said, event->text, event->n_text);
                n_said += event->n_text;
                CHECK(n_chances < 0 || n_told >= n_said); // a token comes before its text
            }
            if (event->job_id == id && event->kind == EVENT_DONE) {
                CHECK(event->n_done == n_unsaid);
                n_told -= n_told >= (size_t)event->n_done ? (size_t)event->n_done : 0;
                told[n_told] = 0;
            }
            ended = ended || (event->job_id == id &&
                              (event->kind == EVENT_DONE || event->kind == EVENT_FAILED));
            event_close(event);
        }
    }
    CHECK(ended && n_said > 0);
    CHECK_TEXT(told, n_chances < 0 ? "" : said);
}

int main(void)
{
    char begin[6], want[N_CTX + 1];
    unsigned seed = 1;
    open_sched();
    do // a prompt that is answered at length
        fill(begin, 5, seed++);
    while (!(expected(begin, SAID, want), strlen(want) == SAID));
    ask(1, begin, 3, 1, ""); // from the largest
    follow(1, 3, 0);
    ask(2, begin, 0, 1, "");
    follow(2, 0, 0);
    ask(3, begin, CHANCES_MOST, 1.0001f, ""); // a penalty: the whole row
    follow(3, CHANCES_MOST, 0);
    ask(4, begin, -1, 1, "");
    follow(4, -1, 0);
    char stop[4] = {want[7], want[8], want[9]}; // unless it is there before
    ask(5, begin, 1, 1, stop);
    follow(5, 1, 3);
    sched_close(sched);
    return check_done("sched_chance");
}
