// sched_embed.c - texts become vectors on the engine thread: many works in one pass, one text in
// several, what is refused, cancelled and broken. Vectors are worked out here, without passes.
#include "sched_fixture.h"

enum { WORKS = 6 };

struct asked {
    uint64_t id;
    size_t n_texts;
    char text[4][N_CTX + 1];
    struct event *last;
    int n_progress;
};

static struct job *job_of(struct asked *a, size_t n_texts, bool rank, bool truncates)
{
    static uint64_t last_id = 1000;
    struct job *job = job_open();
    struct text_ask *texts = arena_take(&job->arena, n_texts * sizeof(*texts));
    job->kind = JOB_EMBED;
    a->id = job->id = ++last_id;
    a->n_texts = n_texts;
    a->last = NULL;
    a->n_progress = 0;
    for (size_t i = 0; i < n_texts; i++)
        texts[i] = (struct text_ask){bytes_copy(&job->arena, bytes_of(a->text[i])), NULL, 0};
    job->ask.texts = texts;
    job->ask.n_texts = n_texts;
    job->ask.rank = rank;
    job->ask.truncates = truncates;
    return job;
}

static void wait_all(struct asked *asked, size_t n)
{
    const uint64_t until_ms = clock_ms() + 20000;
    for (size_t n_ended = 0; n_ended < n && clock_ms() < until_ms;) {
        struct pollfd poll_fd = {.fd = sched_event_fd(sched), .events = POLLIN};
        (void)poll(&poll_fd, 1, 100);
        struct event *event = sched_take_event(sched);
        for (size_t i = 0; event && i < n; i++) {
            if (asked[i].id != event->job_id)
                continue;
            CHECK(!asked[i].last);
            asked[i].n_progress += event->kind == EVENT_PROGRESS;
            if (event->kind != EVENT_DONE && event->kind != EVENT_FAILED)
                continue;
            asked[i].last = event;
            n_ended++;
            event = NULL;
        }
        event_close(event);
    }
    for (size_t i = 0; i < n; i++)
        if (!CHECK(asked[i].last))
            die("a job did not end");
}

static bool is_right(const float *vector, const char *text, size_t n)
{
    int32_t token[N_CTX];
    float sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (float)(token[i] = text[i] - 'a');
    return vector[0] == (float)n && vector[1] == sum &&
           vector[2] == (float)next_of(token, (int32_t)n);
}

static void check_vectors(struct asked *a)
{
    size_t n = 0;
    CHECK(a->last->kind == EVENT_DONE && a->last->n_vectors == a->n_texts);
    for (size_t i = 0; i < a->n_texts; i++) {
        CHECK(a->last->vectors &&
              is_right(a->last->vectors + 3 * i, a->text[i], strlen(a->text[i])));
        n += strlen(a->text[i]);
    }
    CHECK(a->last->usage.n_prompt == (int32_t)n && a->last->usage.n_generated == 0);
    event_close(a->last);
}

static void open_embedder(int32_t n_batch, bool one_pass)
{
    embed_batch = n_batch;
    embed_one_pass = one_pass;
    open_sched();
}

static void test_vectors(int32_t n_batch, bool one_pass)
{
    static struct asked asked[WORKS];
    open_embedder(n_batch, one_pass);
    for (int round = 0; round < 3; round++) {
        for (unsigned w = 0; w < WORKS; w++) {
            const size_t n_texts = 1 + (w + (unsigned)round) % 4;
            for (unsigned i = 0; i < n_texts; i++)
                fill(asked[w].text[i], 1 + (w * 97 + i * 211) % (N_CTX - 1), w * 10 + i);
            CHECK(sched_submit(sched, job_of(&asked[w], n_texts, false, false)) == OK);
        }
        wait_all(asked, WORKS);
        for (unsigned w = 0; w < WORKS; w++)
            check_vectors(&asked[w]);
    }
    CHECK(most_rows <= n_batch);
    sched_close(sched);
}

static void expect_failed(struct asked *a, enum status status, const char *words)
{
    wait_all(a, 1);
    CHECK(a->last->kind == EVENT_FAILED && a->last->err.status == status);
    if (!CHECK(strstr(a->last->err.text, words)))
        fprintf(stderr, "    \"%s\"\n", a->last->err.text);
    event_close(a->last);
}

static void test_refusals(void)
{
    static struct asked a;
    struct answer answer;
    open_embedder(N_CTX, true);
    memset(a.text[0], 'b', N_CTX);
    CHECK(sched_submit(sched, job_of(&a, 1, false, false)) == OK); // all of the context
    wait_all(&a, 1);
    check_vectors(&a);
    CHECK(sched_submit(sched, job_of(&a, 1, true, false)) == OK);
    expect_failed(&a, UNSUPPORTED, "/v1/embeddings");
    a.text[1][0] = 0;
    CHECK(sched_submit(sched, job_of(&a, 2, false, false)) == OK);
    expect_failed(&a, BAD_INPUT, "text 1 is empty");
    struct job *job = job_of(&a, 1, false, false);
    const int32_t ids[] = {3, VOCAB};
    ((struct text_ask *)(uintptr_t)job->ask.texts)[0] = (struct text_ask){{NULL, 0}, ids, 2};
    CHECK(sched_submit(sched, job) == OK);
    expect_failed(&a, BAD_INPUT, "token id 26");
    CHECK(submit(&answer, "hello", 3, NULL) == OK);
    wait_for(&answer, 1);
    CHECK(answer.last.kind == EVENT_FAILED && strstr(answer.last.err.text, "/v1/embeddings"));
    nan_after = 1; // 'b'
    CHECK(sched_submit(sched, job_of(&a, 1, false, false)) == OK);
    expect_failed(&a, BROKEN, "not of numbers");
    nan_after = -1;
    fails_at = n_passes;
    CHECK(sched_submit(sched, job_of(&a, 1, false, false)) == OK);
    expect_failed(&a, NO_ROOM, "told to fail");
    sched_close(sched);
    open_embedder(0, false);
    CHECK(sched_submit(sched, job_of(&a, 1, false, false)) == OK);
    expect_failed(&a, UNSUPPORTED, "pooling_type");
    sched_close(sched);
}

// A text that is too long is cut where that is asked for, and its last token stays.
static void test_truncation(void)
{
    static struct asked a;
    static char longer[N_CTX + 50];
    open_embedder(N_CTX, true);
    struct job *job = job_of(&a, 1, false, true);
    memset(longer, 'c', sizeof(longer) - 2);
    longer[sizeof(longer) - 2] = 'd';
    ((struct text_ask *)(uintptr_t)job->ask.texts)[0].text =
        bytes_copy(&job->arena, bytes_of(longer));
    CHECK(sched_submit(sched, job) == OK);
    wait_all(&a, 1);
    longer[N_CTX - 1] = 'd';
    CHECK(a.last->kind == EVENT_DONE && is_right(a.last->vectors, longer, N_CTX));
    event_close(a.last);
    job = job_of(&a, 1, false, false);
    ((struct text_ask *)(uintptr_t)job->ask.texts)[0].text =
        bytes_copy(&job->arena, bytes_of(longer));
    CHECK(sched_submit(sched, job) == OK);
    expect_failed(&a, TOO_LARGE, "text 0 has 649 tokens");
    sched_close(sched);
}

// One is cancelled between its passes, others are answered; a stop ends what waits.
static void test_cancel(void)
{
    static struct asked asked[3];
    open_embedder(64, false);
    pass_us = 300; // 19 ms a pass, 10 passes a text
    for (unsigned w = 0; w < 3; w++) {
        fill(asked[w].text[0], N_CTX - 10, w);
        CHECK(sched_submit(sched, job_of(&asked[w], 1, false, false)) == OK);
    }
    usleep(60000);
    sched_cancel(sched, asked[0].id);
    wait_all(asked, 3);
    CHECK(asked[0].last->kind == EVENT_DONE && asked[0].last->finish == FINISH_CANCELLED);
    event_close(asked[0].last);
    check_vectors(&asked[1]);
    check_vectors(&asked[2]);
    CHECK(asked[2].n_progress >= 5);
    CHECK(sched_submit(sched, job_of(&asked[0], 1, false, false)) == OK);
    usleep(40000);
    sched_stop(sched, 1000);
    expect_failed(&asked[0], CANCELLED, "shutting down");
    sched_close(sched);
    pass_us = 0;
}

// One owner has many works, each of several passes; of another's few the first comes next.
static void test_turns(void)
{
    enum { MANY = 12, ALL = MANY + 3 };
    static struct asked asked[ALL];
    int order[ALL];
    open_embedder(64, false);
    pass_us = 100;
    for (unsigned w = 0; w < ALL; w++) {
        fill(asked[w].text[0], 400, 900 + w);
        struct job *job = job_of(&asked[w], 1, false, false);
        job->ask.owner = w < MANY ? 1 : w < MANY + 2 ? 2 : 3;
        CHECK(sched_submit(sched, job) == OK);
    }
    for (int nth = 0; nth < ALL;) {
        struct pollfd poll_fd = {.fd = sched_event_fd(sched), .events = POLLIN};
        if (!CHECK(poll(&poll_fd, 1, 20000) == 1))
            break;
        for (struct event *event; (event = sched_take_event(sched)) != NULL;) {
            int w = 0;
            while (w < ALL && asked[w].id != event->job_id)
                w++;
            if (w < ALL && event->kind == EVENT_DONE) {
                order[w] = nth++;
                CHECK(is_right(event->vectors, asked[w].text[0], 400));
            }
            event_close(event);
        }
    }
    pass_us = 0;
    for (int w = 1; w < ALL; w++) // each owner's in the order in which they came
        CHECK(order[w] > order[w - 1] || w == MANY || w == MANY + 2);
    CHECK(order[MANY] <= 4 && order[MANY + 2] <= 5 && order[MANY + 1] <= 7);
    sched_close(sched);
}

int main(void)
{
    test_vectors(64, false);
    test_vectors(512, false);
    test_vectors(N_CTX, true);
    test_refusals();
    test_truncation();
    test_cancel();
    test_turns();
    return check_done("sched_embed");
}
