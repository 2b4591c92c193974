// sched_share.c - what texts have in common is computed once, and memory that is short: prefixes
// shared by forking, models that cannot go back but to snapshots, what is given up first, and works
// that are sent back to wait.
#include "sched_fixture.h"

static struct answer ask(const char *prompt, int32_t max_tokens)
{
    struct answer answer;
    CHECK(submit(&answer, prompt, max_tokens, NULL) == OK);
    wait_for(&answer, 1);
    check_answer(&answer, prompt, max_tokens);
    return answer;
}

// A text that begins with `n` letters of one seed and goes on with `more` of another.
static void text_of(char *text, size_t n, unsigned seed, size_t more, unsigned other)
{
    fill(text, n, seed);
    fill(text + n, more, other);
}

static int32_t pages_used(void) // between jobs: the engine thread sleeps
{
    return n_pages - past_pages_free(past, 0);
}

// Two conversations with one system prompt: it is computed and kept once, and neither destroys the
// other.
static void test_shared(void)
{
    char a[N_CTX + 1], b[N_CTX + 1];
    text_of(a, 520, 1, 20, 2);
    text_of(b, 520, 1, 20, 3);
    open_sched();
    CHECK(ask(a, 10).last.usage.n_prompt_cached == 0);
    const int32_t one = pages_used();
    CHECK(one == 3);
    CHECK(ask(b, 10).last.usage.n_prompt_cached == 520);
    CHECK(pages_used() == one + 1); // of its own it has the last, partly filled page
    const int before = n_computed;
    CHECK(ask(a, 10).last.usage.n_prompt_cached == 539 &&
          ask(b, 10).last.usage.n_prompt_cached == 539);
    CHECK(n_computed - before <= 2 * 11);
    sched_close(sched);
}

// The same, one of another owner: nothing is shared, neither with a text that is held nor with one
// that runs, unless the setting says so; what each has alone is there for its own next turn.
static void test_owners(void)
{
    static struct answer answers[2];
    char a[N_CTX + 1], b[N_CTX + 1], want[N_CTX + 1];
    text_of(a, 520, 1, 20, 2);
    text_of(b, 520, 1, 20, 3);
    for (int shares = 0; shares < 2; shares++) {
        share_prefixes = shares;
        open_sched();
        owner = 1;
        CHECK(ask(a, 10).last.usage.n_prompt_cached == 0);
        owner = 2;
        int before = n_computed;
        CHECK(ask(a, 10).last.usage.n_prompt_cached == (shares ? 539 : 0));
        CHECK(shares ? n_computed - before <= 11 : n_computed - before >= 540);
        CHECK(ask(b, 10).last.usage.n_prompt_cached == 520);
        owner = 1;
        before = n_computed;
        CHECK(ask(a, 10).last.usage.n_prompt_cached == 539);
        CHECK(n_computed - before <= 11);
        const int32_t n_cached = ask(b, 10).last.usage.n_prompt_cached;
        CHECK(shares ? n_cached >= 539 : n_cached == 520);
        unsigned seed = 900;
        do // that is answered at length
            text_of(a, 520, 50, 20, seed++);
        while (!(expected(a, 30, want), strlen(want) == 30));
        text_of(b, 520, 50, 30, 77);
        pass_us = 300;
        CHECK(submit(&answers[0], a, 30, NULL) == OK);
        wait_for_text(answers, 2, 0, 1);
        owner = 2;
        CHECK(submit(&answers[1], b, 10, NULL) == OK);
        wait_for(answers, 2);
        pass_us = 0;
        check_answer(&answers[1], b, 10);
        CHECK(shares ? answers[1].last.usage.n_prompt_cached >= 520
                     : answers[1].last.usage.n_prompt_cached == 0);
        sched_close(sched);
    }
    owner = 0;
    share_prefixes = false;
}

// Side by side, one of them while the other runs.
static void test_shared_while_running(void)
{
    static struct answer answers[2];
    char texts[2][N_CTX + 1], want[N_CTX + 1];
    unsigned seed = 1;
    open_sched();
    do // that is answered at length
        text_of(texts[0], 520, 1, 20, seed++);
    while (!(expected(texts[0], 30, want), strlen(want) == 30));
    text_of(texts[1], 520, 1, 30, 77);
    pass_us = 300;
    CHECK(submit(&answers[0], texts[0], 30, NULL) == OK);
    wait_for_text(answers, 2, 0, 1);
    CHECK(submit(&answers[1], texts[1], 10, NULL) == OK);
    wait_for(answers, 2);
    pass_us = 0;
    check_answer(&answers[0], texts[0], 30);
    check_answer(&answers[1], texts[1], 10);
    int32_t n_common = 0;
    while (texts[0][n_common] == texts[1][n_common])
        n_common++;
    CHECK(n_common >= 520 && answers[1].last.usage.n_prompt_cached == n_common);
    sched_close(sched);
}

// Held texts make room for new ones, those unused for longest first.
static void test_evicted(void)
{
    char texts[4][N_CTX + 1];
    n_pages = 6; // two texts of 3 pages
    open_sched();
    for (unsigned i = 0; i < 4; i++)
        fill(texts[i], 530, 10 + i);
    (void)ask(texts[0], 3);
    (void)ask(texts[1], 3);
    CHECK(ask(texts[0], 3).last.usage.n_prompt_cached == 529); // used again
    (void)ask(texts[2], 3);                                    // in the place of the second
    CHECK(ask(texts[0], 3).last.usage.n_prompt_cached == 529);
    CHECK(ask(texts[1], 3).last.usage.n_prompt_cached == 0);
    sched_close(sched);
    n_pages = PAGES_MOST;
}

// More is generated at once than memory has pages for: whoever came last waits, and goes on where
// it was; every answer is whole.
static void test_suspended(void)
{
    enum { N = 5 };
    static struct answer answers[N];
    static char texts[N][N_CTX + 1], want[N_CTX + 1];
    n_slots = 0;
    for (int with_states = 0; with_states < 2; with_states++) {
        unsigned seed = 300;
        n_pages = 5; // 3 at once begin with a page each, and would grow to 2
        n_slots = with_states ? SEQS + 4 : 0;
        open_sched();
        int n_least = 0;
        n_together = 0;
        pass_us = 200; // all have come before the first is half done
        const int before = n_computed;
        for (unsigned i = 0; i < N; i++) {
            do
                fill(texts[i], 200 + i, seed++);
            while (!(expected(texts[i], 100, want), strlen(want) == 100));
            CHECK(submit(&answers[i], texts[i], 100, NULL) == OK);
            n_least += 200 + (int)i + 99;
        }
        wait_for(answers, N);
        for (unsigned i = 0; i < N; i++)
            check_answer(&answers[i], texts[i], 100);
        CHECK(n_together == SEQS); // at the end they would have 6 pages
        printf("sched_share: %d rows, of which %d are needed\n", n_computed - before, n_least);
        sched_close(sched);
    }
    pass_us = 0;
    n_pages = PAGES_MOST;
    n_slots = 0;
}

// A model with recurrent layers: the next turn computes what is new, the same turn again what
// follows its last message, and another conversation what follows the system prompt.
static void test_recurrent(void)
{
    char text[N_CTX + 1], other[N_CTX + 1];
    n_slots = SEQS + 16;
    open_sched();
    fill(text, 100, 1);
    text[99] = 'z'; // the end of a message
    fill(text + 100, 150, 2);
    text[240] = 'z';
    struct answer answer = ask(text, 10);
    memcpy(other, text, sizeof(text));
    size_t n = strlen(text);
    memcpy(text + n, answer.text, answer.n_text);
    fill(text + n + answer.n_text, 50, 3);
    int before = n_computed;
    struct answer next = ask(text, 5);
    CHECK(next.last.usage.n_prompt_cached >= (int32_t)(n + answer.n_text) - 1);
    CHECK(n_computed - before <= 50 + 1 + 5);
    CHECK(ask(other, 10).last.usage.n_prompt_cached == 241);
    memcpy(other + 170, "z", 1); // three messages: the last in other words
    (void)ask(other, 10);
    fill(other + 171, 60, 8);
    CHECK(ask(other, 10).last.usage.n_prompt_cached == 171);
    fill(other + 100, 120, 9);
    CHECK(ask(other, 10).last.usage.n_prompt_cached == 100);
    CHECK(ask(text, 5).last.usage.n_prompt_cached >= 241); // still there
    // a long prompt that is told to differ at its 590th letter goes back to the 512th
    fill(text, 595, 20);
    (void)ask(text, 2);
    text[589] = text[589] == 'a' ? 'b' : 'a';
    CHECK(ask(text, 2).last.usage.n_prompt_cached == 512);
    sched_close(sched);
    n_slots = 0;
}

// Few slots: snapshots and held texts give way, and every answer is right.
static void test_few_slots(void)
{
    char text[N_CTX + 1];
    n_slots = SEQS + 2;
    open_sched();
    for (unsigned i = 0; i < 30; i++) {
        static struct answer answers[SEQS];
        static char texts[SEQS][N_CTX + 1];
        for (unsigned k = 0; k < SEQS; k++) {
            text_of(texts[k], 40 + 7 * (i % 5), i % 3, 100 + 10 * k, 50 * i + k);
            texts[k][39] = texts[k][90] = 'z';
            CHECK(submit(&answers[k], texts[k], 20, NULL) == OK);
        }
        wait_for(answers, SEQS);
        for (unsigned k = 0; k < SEQS; k++)
            check_answer(&answers[k], texts[k], 20);
    }
    fill(text, 200, 99);
    (void)ask(text, 5);
    sched_close(sched);
    n_slots = 0;
}

// Texts that branch off each other at random places, several at once, some cancelled, in memory of
// every size that holds one text: every answer is that of the text alone.
static void test_many(void)
{
    enum { TEXTS = 12, AT_ONCE = 6, ROUNDS = 40 };
    static char texts[TEXTS][N_CTX + 1];
    static char copies[AT_ONCE][N_CTX + 1]; // as they were asked
    static struct answer answers[AT_ONCE];
    uint32_t random = 1;
    for (int world = 0; world < 8; world++) {
        n_pages = 3 + world;
        n_slots = world % 2 ? 2 + 2 * world : 0;
        for (unsigned i = 0; i < TEXTS; i++)
            fill(texts[i], 20, 7 * i);
        open_sched();
        for (int round = 0; round < ROUNDS; round++) {
            for (int k = 0; k < AT_ONCE; k++) {
                random = random * 1664525u + 1013904223u;
                char *text = texts[(random >> 8) % TEXTS];
                const char *from = texts[(random >> 12) % TEXTS];
                size_t keep = (random >> 4) % (strlen(from) + 1), more = 1 + (random >> 6) % 150;
                keep = keep < N_CTX - 200 ? keep : N_CTX - 200;
                memmove(text, from, keep);
                fill(text + keep, more, random);
                text[keep + (more - 1) / 3] = 'z'; // the end of a message
                memcpy(copies[k], text, sizeof(copies[k]));
                CHECK(submit(&answers[k], text, 1 + round % 30, NULL) == OK);
                if (random % 11 == 0)
                    sched_cancel(sched, answers[k].id);
            }
            wait_for(answers, AT_ONCE);
            for (int k = 0; k < AT_ONCE; k++)
                if (answers[k].last.finish != FINISH_CANCELLED)
                    check_answer(&answers[k], copies[k], 1 + round % 30);
        }
        sched_close(sched);
    }
    n_pages = PAGES_MOST;
    n_slots = 0;
}

int main(void)
{
    test_shared();
    test_shared_while_running();
    test_owners();
    test_evicted();
    test_suspended();
    test_recurrent();
    test_few_slots();
    test_many();
    return check_done("sched_share");
}
