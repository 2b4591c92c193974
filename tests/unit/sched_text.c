// sched_text.c - long prompts arrive while an answer is being streamed: the stream goes on.
//
// The stand-in takes TEXT_MS for a long text, as a tokenizer does for 1 MB.
#include "sched_fixture.h"

static void test_stream_goes_on(void)
{
    enum { LONG = 8, SAID = 300 };
    static struct answer answers[1 + LONG + 1];
    static char text[2101], begin[6], want[N_CTX + 1];
    unsigned seed = 1;
    do // a prompt that is answered at length
        fill(begin, 5, seed++);
    while (!(expected(begin, SAID, want), strlen(want) == SAID));
    fill(text, 2100, 9);
    pass_us = 5000; // a pass of one row; 1.5 s in all
    CHECK(submit(&answers[0], begin, SAID, NULL) == OK);
    wait_for_text(answers, 1, 0, 5);
    answers[0].most_gap_ms = 0;
    for (int i = 1; i <= LONG; i++)
        CHECK(submit(&answers[i], text, 1, NULL) == OK);
    usleep(1000);
    CHECK(submit(&answers[1 + LONG], "short", 1, NULL) == OK);
    sched_cancel(sched, answers[LONG].id); // its text is still with the encoder
    wait_for(answers, 1 + LONG + 1);
    check_answer(&answers[0], begin, SAID);
    printf("sched_text: 8 prompts of %d ms each: the longest gap of a stream is %d ms\n", TEXT_MS,
           (int)answers[0].most_gap_ms);
    CHECK(answers[0].most_gap_ms < LONG * TEXT_MS / 2); // a busy machine; one by one: all of it
    for (int i = 1; i < LONG; i++)
        CHECK(answers[i].last.kind == EVENT_FAILED && answers[i].last.err.status == TOO_LARGE &&
              answers[i].last.usage.n_prompt == 2100);
    CHECK(answers[LONG].last.kind == EVENT_DONE && answers[LONG].last.finish == FINISH_CANCELLED);
    CHECK(answers[LONG].ended_ms < answers[2].ended_ms); // told at once
    check_answer(&answers[1 + LONG], "short", 1);
    pass_us = 0;
}

// Tokens are counted of what the context does not hold, and nothing is computed.
static void test_count(void)
{
    struct answer answer = {.id = 1 << 20};
    char text[2101];
    struct job *job = job_open();
    fill(text, 2100, 9);
    job->id = answer.id;
    job->ask.prompt = bytes_copy(&job->arena, bytes_of(text));
    job->ask.only_count = true;
    CHECK(sched_submit(sched, job) == OK);
    wait_for(&answer, 1);
    CHECK(answer.last.kind == EVENT_DONE && answer.last.usage.n_prompt == 2100);
    CHECK(answer.last.usage.n_generated == 0 && answer.n_text == 0);
}

// Closing does not wait for what the encoder still has to do, but for the text it is at.
static void test_close(void)
{
    struct answer answers[10];
    char text[2101];
    fill(text, 2100, 9);
    for (int i = 0; i < 10; i++)
        CHECK(submit(&answers[i], text, 1, NULL) == OK);
    usleep(20000);
    uint64_t from_ms = clock_ms();
    sched_close(sched);
    CHECK(clock_ms() - from_ms < 2 * TEXT_MS);
}

int main(void)
{
    open_sched();
    test_stream_goes_on();
    test_count();
    test_close();
    return check_done("sched_text");
}
