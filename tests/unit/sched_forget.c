// sched_forget.c - what the engine thread believes its model's memory to hold, after passes that
// failed and logits that are not numbers: nobody may build on what is not there.
#include "sched_fixture.h"

// A conversation is kept, then another's pass fails: the model holds nothing any more, and the
// conversation's next turn must be read from its beginning, beside whoever else is answered.
static void test_kept_is_forgotten(void)
{
    struct answer kept[2], failing, after[3];
    char texts[3][200];
    for (unsigned i = 0; i < 3; i++)
        fill(texts[i], 100, 40 + i);
    for (int i = 0; i < 2; i++) {
        CHECK(submit(&kept[i], texts[i], 5, NULL) == OK);
        wait_for(&kept[i], 1);
        check_answer(&kept[i], texts[i], 5);
    }
    fails_at = n_passes;
    CHECK(submit(&failing, texts[2], 20, NULL) == OK);
    wait_for(&failing, 1);
    CHECK(failing.last.kind == EVENT_FAILED && strstr(failing.last.err.text, "told to fail"));
    for (int i = 0; i < 3; i++)
        CHECK(submit(&after[i], texts[i], 20, NULL) == OK);
    wait_for(after, 3);
    for (int i = 0; i < 3; i++) {
        check_answer(&after[i], texts[i], 20);
        CHECK(after[i].last.usage.n_prompt_cached == 0);
    }
    CHECK(submit(&after[0], texts[0], 20, NULL) == OK); // and prefixes are kept again
    wait_for(after, 1);
    check_answer(&after[0], texts[0], 20);
    CHECK(after[0].last.usage.n_prompt_cached > 90);
}

// A prompt that was half read, but not part of the pass that failed, is read again and answered.
static void test_half_read(void)
{
    struct answer answers[3];
    static char texts[3][N_CTX + 1];
    pass_us = 1000;
    for (unsigned i = 0; i < 3; i++) {
        fill(texts[i], 580, 400 + i);
        CHECK(submit(&answers[i], texts[i], 3, NULL) == OK);
    }
    usleep(50000);
    fails_at = n_passes + 1;
    wait_for(answers, 3);
    int n_failed = 0;
    for (int i = 0; i < 3; i++) {
        n_failed += answers[i].last.kind == EVENT_FAILED;
        if (answers[i].last.kind == EVENT_DONE)
            check_answer(&answers[i], texts[i], 3);
    }
    CHECK(n_failed >= 1 && n_failed < 3);
    pass_us = 0;
}

// Whatever the model says against a pass, the client did not make the batch: not its fault.
static void test_whose_fault(void)
{
    static const struct {
        enum status model, told;
    } cases[] = {{NO_ROOM, NO_ROOM},
                 {BAD_INPUT, BROKEN},
                 {TOO_LARGE, BROKEN},
                 {UNSUPPORTED, BROKEN},
                 {NOT_FOUND, BROKEN}};
    struct answer answer;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fails_with = cases[i].model;
        fails_at = n_passes;
        CHECK(submit(&answer, "hello", 20, NULL) == OK);
        wait_for(&answer, 1);
        CHECK(answer.last.kind == EVENT_FAILED && answer.last.err.status == cases[i].told);
    }
}

// Logits that are not numbers: an outcome of its own that names the model; others are not touched.
static void test_not_numbers(void)
{
    struct answer answers[2];
    nan_after = 'q' - 'a';
    CHECK(submit(&answers[0], "hello there", 30, NULL) == OK);
    CHECK(submit(&answers[1], "quiet", 30, NULL) == OK);
    wait_for(answers, 2);
    check_answer(&answers[0], "hello there", 30);
    CHECK(answers[1].last.kind == EVENT_FAILED && answers[1].last.err.status == BROKEN);
    CHECK(strstr(answers[1].last.err.text, "model stand-in, after 5 tokens"));
    CHECK(strstr(answers[1].last.err.text, "not a number"));
    nan_after = -1;
    CHECK(submit(&answers[1], "quiet", 30, NULL) == OK); // its sequence is not built on
    wait_for(answers + 1, 1);
    check_answer(&answers[1], "quiet", 30);
    CHECK(answers[1].last.usage.n_prompt_cached == 0);
}

int main(void)
{
    open_sched();
    test_kept_is_forgotten();
    test_half_read();
    test_whose_fault();
    test_not_numbers();
    sched_close(sched);
    return check_done("sched_forget");
}
