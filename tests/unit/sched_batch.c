// sched_batch.c - the engine thread, from a job to its end: batches, chunks, prefixes, stop
// strings, cancelling, and models and devices that are refused.
#include "sched_fixture.h"

// ---- the tests ------------------------------------------------------------------------------

static void test_one(void)
{
    struct answer answer;
    char text[N_CTX + 2];
    CHECK(submit(&answer, "hello", 20, NULL) == OK);
    wait_for(&answer, 1);
    check_answer(&answer, "hello", 20);
    fill(text, N_CTX - 1, 5); // one token can still be said
    CHECK(submit(&answer, text, 0, NULL) == OK);
    wait_for(&answer, 1);
    check_answer(&answer, text, 0);
    CHECK(answer.n_text == 1 && answer.n_progress > 0);
    fill(text, N_CTX, 5); // none can
    CHECK(submit(&answer, text, 0, NULL) == OK);
    wait_for(&answer, 1);
    CHECK(answer.last.kind == EVENT_FAILED && answer.last.err.status == TOO_LARGE &&
          !answer.started);
    CHECK(strstr(answer.last.err.text, "holds 600") && strstr(answer.last.err.text, "has 600"));
    char vast[READ_MOST + 2];
    for (size_t n = READ_MOST; n < sizeof(vast); n++) { // the last one read, the first unread
        fill(vast, n, 5);
        CHECK(submit(&answer, vast, 0, NULL) == OK);
        wait_for(&answer, 1);
        CHECK(answer.last.kind == EVENT_FAILED && answer.last.err.status == TOO_LARGE);
        const char *want =
            n > READ_MOST ? "answer; the prompt has at least 600." : "answer; the prompt has 2396.";
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
    CHECK(answer.last.n_text == 2); // it is told which one it was
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
    struct job *job = job_for(&answers[N], "nothing");      // what makes room needs none
    job->kind = JOB_UNLOAD;
    CHECK(sched_submit(sched, job) == OK);
    for (unsigned i = 0; i < N; i++) // running and waiting ones, from both ends
        sched_cancel(sched, answers[i % 2 ? i : N - 1 - i].id);
    sched_cancel(sched, 123456789); // nobody's
    wait_for(answers, N + 1);
    CHECK(answers[N].last.kind == EVENT_FAILED && answers[N].last.err.status == NOT_FOUND);
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
    CHECK(most_prefill_beside_decode >= CHUNK_LEAST_SHARED &&
          most_prefill_beside_decode <= 200); // about 150 ms
    CHECK(most_rows <= BATCH_TOKENS && answers[1].n_progress >= 2);
    pass_us = 0;
}

// The bound on what a stream waits for between two tokens, by the clock that the scheduler has: a
// pass's rows of a long prompt take the time that they may, or are the fewest there are. Also when
// the speed is known from prompts that were read alone, from the first pass on.
static void test_gaps(void)
{
    static const int us[] = {500, 2000, 6000, 50000};
    static struct answer answers[2];
    char text[N_CTX + 1], want[N_CTX + 1];
    unsigned seed = 50;
    for (size_t i = 0; i < COUNT_OF(us); i++) {
        const int n_long = us[i] > 30000 ? 40 : us[i] > 3000 ? 200 : 580;
        open_sched();
        pass_us = us[i];
        fill(text, 2 * CHUNK_LEAST, 90 + (unsigned)i); // alone
        CHECK(submit(&answers[0], text, 1, NULL) == OK);
        wait_for(answers, 1);
        do
            fill(text, 5, seed++);
        while (!(expected(text, 40, want), strlen(want) == 40));
        CHECK(submit(&answers[0], text, 40, NULL) == OK);
        wait_for_text(answers, 1, 0, 2);
        most_prefill_beside_decode = 0;
        fill(text, (size_t)n_long, 30 + (unsigned)i);
        CHECK(submit(&answers[1], text, 1, NULL) == OK);
        wait_for(answers, 2);
        const int most = STEP_SHARED_US / us[i];
        if (!CHECK(most_prefill_beside_decode >= CHUNK_LEAST_SHARED &&
                   most_prefill_beside_decode <=
                       (most > CHUNK_LEAST_SHARED ? most : CHUNK_LEAST_SHARED)))
            fprintf(stderr, "    %d us a row: %d rows\n", us[i], most_prefill_beside_decode);
        pass_us = 0;
        sched_close(sched);
    }
}

// A request that must begin within some time does, or is refused then; one that has begun goes on.
static void test_within(void)
{
    static struct answer answers[SEQS + 2];
    char text[SEQS][16], want[N_CTX + 1];
    unsigned seed = 500;
    open_sched();
    pass_us = 2000;
    for (int i = 0; i < SEQS; i++) {
        do
            fill(text[i], 12, seed++);
        while (!(expected(text[i], 60, want), strlen(want) == 60));
        struct job *job = job_for(&answers[i], "");
        job->ask.prompt = bytes_copy(&job->arena, bytes_of(text[i]));
        job->ask.sampling.temperature = 0;
        job->ask.max_tokens = 60;
        job->ask.within_ms = 100;
        CHECK(sched_submit(sched, job) == OK);
    }
    wait_for_text(answers, COUNT_OF(answers), SEQS - 1, 2);
    struct job *job = job_for(&answers[SEQS], "");
    job->ask.prompt = bytes_copy(&job->arena, bytes_of("toolate"));
    job->ask.within_ms = 30;
    CHECK(sched_submit(sched, job) == OK);
    CHECK(submit(&answers[SEQS + 1], "late", 5, NULL) == OK);
    wait_for(answers, COUNT_OF(answers));
    for (int i = 0; i < SEQS; i++)
        check_answer(&answers[i], text[i], 60);
    check_answer(&answers[SEQS + 1], "late", 5);
    CHECK(answers[SEQS].last.kind == EVENT_FAILED && answers[SEQS].last.err.status == NO_ROOM &&
          answers[SEQS].nth < answers[0].nth);
    CHECK(strstr(answers[SEQS].last.err.text, "could not begin within the "));
    pass_us = 0;
    sched_close(sched);
}

// What a text that is too long is told: to raise ctx only where that would help.
static void test_too_long(void)
{
    struct answer answer;
    char text[N_CTX + 2];
    fill(text, N_CTX + 1, 5);
    for (int could_be_raised = 0; could_be_raised < 2; could_be_raised++) {
        n_ctx_train = could_be_raised ? 4 * N_CTX : N_CTX;
        open_sched();
        CHECK(submit(&answer, text, 0, NULL) == OK);
        wait_for(&answer, 1);
        CHECK(answer.last.err.status == TOO_LARGE);
        CHECK((strstr(answer.last.err.text, "raise ctx") != NULL) == could_be_raised);
        CHECK(strstr(answer.last.err.text, could_be_raised ? "trained for 2400" : "trained for"));
        sched_close(sched);
    }
}

// A job names its model; one that is not here fails, whether it came before loading was over or
// after.
static void test_named(void)
{
    struct answer answers[4];
    n_load_slices = 5;
    load_slice_us = 10000;
    begin_sched("stand-in.gguf");
    for (int i = 0; i < 4; i++) {
        if (i == 2)
            wait_for(answers, 2);
        CHECK(submit_to(&answers[i], i % 2 ? "another" : "stand-in", "hello", 20, NULL) == OK);
    }
    wait_for(answers + 2, 2);
    for (int i = 0; i < 4; i++)
        if (i % 2 == 0)
            check_answer(&answers[i], "hello", 20);
        else
            CHECK(answers[i].last.kind == EVENT_FAILED && answers[i].last.err.status == NOT_FOUND &&
                  strstr(answers[i].last.err.text, "another"));
    sched_close(sched);
    load_slice_us = 0;
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
    n_ctx_train = 2 * N_CTX;
    open_sched();
    test_chunks(); // first: what the others teach the scheduler about speed is not true here
    test_one();
    test_together();
    test_prefix();
    test_stop_string();
    test_cancel();
    static struct answer answer;
    pass_us = 1000;
    CHECK(submit(&answer, "running while it is closed", 0, NULL) == OK);
    usleep(20000);
    sched_close(sched);
    pass_us = 0;
    test_gaps();
    test_within();
    test_too_long();
    test_named();
    test_refused();
    return check_done("sched_batch");
}
