// sched_stop.c - stopping: who waits is told at once, who is answered has a grace, and a model that
// is being loaded is given up; how loading is told; and a lost device, which everybody is told of.
#include "sched_fixture.h"

#include <sys/wait.h>

enum { GRACE_MS = 400 };

static void check_stopped(const struct answer *answer)
{
    CHECK(answer->last.kind == EVENT_FAILED && answer->last.err.status == CANCELLED);
    CHECK_TEXT(answer->last.err.text, "the server is shutting down");
}

// Three run (one of them only for a moment), two wait, one is with the encoder, one comes too late.
static void test_running_and_waiting(void)
{
    enum { N = 7 };
    static struct answer answers[N];
    static char texts[N][2101];
    pass_us = 5000;
    open_sched();
    for (unsigned i = 0; i < N; i++) {
        unsigned seed = 300 * i;
        char want[N_CTX + 1];
        int32_t n = i == 0 ? 8 : 200; // the first is done within the grace, the others are not
        do
            fill(texts[i], 4, seed++);
        while (!(expected(texts[i], n, want), strlen(want) == (size_t)n));
        if (i == N - 2)
            fill(texts[i], 2100, seed); // takes the encoder TEXT_MS
        CHECK(submit(&answers[i], texts[i], n, NULL) == OK);
    }
    wait_for_text(answers, N - 1, 2, 1);
    uint64_t from_ms = clock_ms();
    sched_stop(sched, UINT32_MAX);
    sched_stop(sched, GRACE_MS); // the earliest end counts
    sched_stop(sched, 1000000);
    CHECK(submit(&answers[N - 1], "late", 5, NULL) == OK);
    wait_for(answers, N);
    check_answer(&answers[0], texts[0], 8);
    for (int i = 1; i < N; i++) {
        uint64_t took_ms = answers[i].ended_ms - from_ms;
        check_stopped(&answers[i]);
        if (i < SEQS)
            CHECK(took_ms >= GRACE_MS - 2 && took_ms < GRACE_MS + 150 && answers[i].n_text > 10);
        else
            CHECK(took_ms < 100 && answers[i].n_text == 0);
    }
    CHECK(sched_status(sched)->state == SCHED_STOPPING && sched_n_open(sched) == 0);
    sched_close(sched);
    pass_us = 0;
}

// Who stops without a grace, or closes without a stop, still tells everybody.
static void test_no_grace(void)
{
    static struct answer answers[SEQS + 2];
    pass_us = 2000;
    open_sched();
    for (int i = 0; i < SEQS + 2; i++)
        CHECK(submit(&answers[i], "on and on", 0, NULL) == OK);
    wait_for_text(answers, SEQS + 2, 0, 1);
    sched_stop(sched, 0);
    wait_for(answers, SEQS + 2);
    for (int i = 0; i < SEQS + 2; i++)
        if (answers[i].last.kind == EVENT_FAILED) // one may have said all it had to
            check_stopped(&answers[i]);
    CHECK(answers[SEQS].last.kind == EVENT_FAILED && answers[SEQS + 1].last.kind == EVENT_FAILED);
    sched_close(sched);
    pass_us = 0;
}

static const struct sched_status *wait_for_state(enum sched_state state, uint64_t within_ms)
{
    uint64_t until_ms = clock_ms() + within_ms;
    while (sched_status(sched)->state != state && clock_ms() < until_ms) {
        struct pollfd poll_fd = {.fd = sched_event_fd(sched), .events = POLLIN};
        (void)poll(&poll_fd, 1, 10);
        event_close(sched_take_event(sched));
    }
    return sched_status(sched);
}

// A model that takes for ever: how far it is is told, a job waits for it, and a stop ends both.
static void test_loading(void)
{
    struct answer answer;
    n_load_slices = -1;
    load_slice_us = 20000;
    begin_sched("stand-in.gguf");
    CHECK(submit(&answer, "hello", 5, NULL) == OK);
    uint64_t until_ms = clock_ms() + 3000;
    while (clock_ms() < until_ms && sched_status(sched)->loading.left_ms == 0) {
        struct pollfd poll_fd = {.fd = sched_event_fd(sched), .events = POLLIN};
        (void)poll(&poll_fd, 1, 100);
        take_all(&answer, 1);
    }
    const struct sched_status *now = sched_status(sched);
    CHECK(now->state == SCHED_LOADING && now->loading.at.done_bytes == 1 << 20 &&
          now->loading.at.total_bytes == 4 << 20);
    CHECK(now->loading.left_ms >= 3000 && now->loading.left_ms < 20000); // 3 times what it took
    CHECK_TEXT(now->model.id, "stand-in");
    CHECK(!answer.ended && sched_step_ms(sched) < 500);
    uint64_t from_ms = clock_ms();
    sched_stop(sched, 100000);
    wait_for(&answer, 1);
    check_stopped(&answer);
    sched_close(sched);
    CHECK(clock_ms() - from_ms < 1000 && !model_is_open);
    // the same when it is closed at once, and a cancellation while it is loaded
    begin_sched("stand-in.gguf");
    CHECK(submit(&answer, "hello", 5, NULL) == OK);
    usleep(50000);
    sched_cancel(sched, answer.id);
    wait_for(&answer, 1);
    CHECK(answer.last.kind == EVENT_DONE && answer.last.finish == FINISH_CANCELLED);
    from_ms = clock_ms();
    sched_close(sched);
    CHECK(clock_ms() - from_ms < 1000 && !model_is_open);
    n_load_slices = load_slice_us = 0;
}

// What is said of a start that does not get on is what it is at: /health tells nobody that a driver
// hangs while a self-test is only slow.
static void test_slow_device(void)
{
    static const struct {
        int step;
        uint64_t for_ms;
        const char *told; // NULL: nothing
    } cases[] = {
        {DEVICE_OPENS, SCHED_DEVICE_MS - 5000, NULL},
        {DEVICE_OPENS, SCHED_DEVICE_MS + 1, "has not come up"},
        {DEVICE_IS_TESTED, SCHED_DEVICE_MS - 5000, NULL},
        {DEVICE_IS_TESTED, SCHED_DEVICE_MS + 1, "self-test has run for more than a minute"},
        {DEVICE_WORKS, SCHED_DEVICE_MS + 1, NULL}, // a model's first pages from a slow disk
    };
    open_sched();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        atomic_store(&sched->device_step, cases[i].step);
        atomic_store(&sched->step_began_ms, clock_ms() - cases[i].for_ms);
        const char *told = sched_hangs(sched);
        CHECK(cases[i].told ? told && strstr(told, cases[i].told) : !told);
    }
    atomic_store(&sched->device_step, DEVICE_WORKS);
    atomic_store(&sched->step_began_ms, 0);
    sched_close(sched);
}

static void test_does_not_fit(void)
{
    struct answer answer;
    begin_sched("vast.gguf");
    CHECK_TEXT(wait_for_state(SCHED_FAILED, 3000)->err.text, "9 GiB wanted, 1 GiB free");
    CHECK(submit(&answer, "hello", 5, NULL) == OK);
    wait_for(&answer, 1);
    CHECK(answer.last.kind == EVENT_FAILED && answer.last.err.status == NO_ROOM);
    sched_close(sched);
}

// In a process of its own, which the lost device ends: says on a pipe of how many jobs it was told.
// The first three run, two wait; then two come when the device is lost: one that asks, and one that
// wants the model out, whose memory the device may still use.
static void lose_device(int to)
{
    enum { N = 5, LATE = 2 };
    static struct answer answers[N + LATE];
    static char texts[N][2101];
    uint8_t n_told = 0;
    pass_us = 5000;
    fails_with = DEVICE_ERROR;
    open_sched();
    for (unsigned i = 0; i < N; i++) {
        unsigned seed = 300 * i;
        char want[N_CTX + 1];
        do
            fill(texts[i], 4, seed++);
        while (!(expected(texts[i], 200, want), strlen(want) == 200));
        CHECK(submit(&answers[i], texts[i], 200, NULL) == OK);
    }
    wait_for_text(answers, N, 2, 1);
    fails_at = n_passes + 5;
    wait_for(answers, N);
    CHECK(submit(&answers[N], "late", 5, NULL) == OK);
    struct job *unload = job_for(&answers[N + 1], "");
    unload->kind = JOB_UNLOAD;
    CHECK(sched_submit(sched, unload) == OK);
    wait_for(answers, N + LATE);
    for (int i = 0; i < N + LATE; i++)
        n_told += answers[i].last.kind == EVENT_FAILED && answers[i].last.err.status == CANCELLED &&
                  strcmp(answers[i].last.err.text, "the device failed: the stand-in was told to "
                                                   "fail; the engine starts again") == 0;
    if (write(to, &n_told, 1) == 1)
        pause();
    _exit(1);
}

static void test_lost(void)
{
    int ends[2], status = 0;
    uint8_t n_told = 0;
    CHECK(pipe(ends) == 0);
    const pid_t child = fork();
    if (child == 0)
        lose_device(ends[1]);
    close(ends[1]);
    CHECK(read(ends[0], &n_told, 1) == 1 && n_told == 7);
    close(ends[0]);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 70);
}

int main(void)
{
    test_lost(); // first: before any thread
    test_running_and_waiting();
    test_no_grace();
    test_loading();
    test_slow_device();
    test_does_not_fit();
    return check_done("sched_stop");
}
