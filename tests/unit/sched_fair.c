// sched_fair.c - who is worked on when more wait than can be: owners take turns, however many works
// each has; a short question does not wait for long answers or long prompts; nobody fills the queue
// for all; and what gives way goes on where it was.
#include "sched_fixture.h"

enum { SHORT_TURN = 400 }; // units: 50 tokens

// A text of n letters that is answered with at least `least` tokens before it ends.
static void text_answered(char *text, size_t n, int32_t least, unsigned *seed)
{
    char want[N_CTX + 1];
    do
        fill(text, n, (*seed)++);
    while (!(expected(text, least, want), (int32_t)strlen(want) == least));
}

static void submit_as(uint64_t who, struct answer *answer, const char *text, int32_t max_tokens)
{
    owner = who;
    CHECK(submit(answer, text, max_tokens, NULL) == OK);
}

static uint64_t n_suspended(void)
{
    struct sched_gauges gauges;
    sched_gauges(sched, &gauges);
    return gauges.n_suspended;
}

static void begin(int us_a_row)
{
    open_sched();
    n_answered = 0;
    pass_us = us_a_row;
}

static void end(void)
{
    struct sched_gauges gauges;
    pass_us = 0;
    for (int i = 0; i < 2000; i++) { // the engine thread tells them at the end of its turn
        sched_gauges(sched, &gauges);
        if (gauges.n_running + gauges.n_waiting + gauges.cache_used == 0)
            break;
        usleep(1000);
    }
    CHECK(gauges.n_running == 0 && gauges.n_waiting == 0 && gauges.cache_used == 0);
    CHECK(gauges.n_passes > 0 && gauges.n_rows >= gauges.n_passes &&
          gauges.prefix_asked >= gauges.prefix_found);
    sched_close(sched);
    owner = 0;
}

// One owner asks for much, another then for little: that is next.
static void test_two_owners(void)
{
    enum { MANY = 20 };
    static struct answer answers[MANY + 2];
    static char texts[MANY + 2][N_CTX + 1];
    unsigned seed = 1;
    begin(200);
    for (int i = 0; i < MANY + 2; i++) {
        text_answered(texts[i], 30, 20, &seed);
        submit_as(i < MANY ? 1 : 2, &answers[i], texts[i], 20);
    }
    CHECK(sched_n_open(sched) == MANY + 2 && sched_n_open_of(sched, 1) == MANY &&
          sched_n_open_of(sched, 2) == 2 && sched_n_open_of(sched, 3) == 0);
    wait_for(answers, MANY + 2);
    for (int i = 0; i < MANY + 2; i++)
        check_answer(&answers[i], texts[i], 20);
    // at most those that ran already ended before, and one that began with each
    CHECK(answers[MANY].nth <= SEQS + 2 && answers[MANY + 1].nth <= 2 * SEQS + 2);
    end();
}

// Many owners, each with as many works, in the worst order: when the k-th work of one has ended,
// those of no other lag behind by more than what runs.
static void test_many_owners(void)
{
    enum { OWNERS = 7, WORKS = 5, ALL = OWNERS * WORKS };
    static struct answer answers[ALL];
    static char texts[ALL][N_CTX + 1];
    int n_done[OWNERS] = {0};
    unsigned seed = 1000;
    begin(100);
    for (int i = 0; i < ALL; i++) { // first all of the first owner
        text_answered(texts[i], 25, 15, &seed);
        submit_as(10 + (uint64_t)(i / WORKS), &answers[i], texts[i], 15);
    }
    wait_for(answers, ALL);
    for (int nth = 0; nth < ALL; nth++) {
        int i = 0, least = WORKS, most = 0;
        while (answers[i].nth != nth)
            i++;
        n_done[i / WORKS]++;
        for (int k = 0; k < OWNERS; k++) {
            least = n_done[k] < least ? n_done[k] : least;
            most = n_done[k] > most ? n_done[k] : most;
        }
        // the first owner had all sequences before the others came
        CHECK(most - least <= SEQS + 1 || nth < SEQS + OWNERS);
        CHECK(nth < 2 * OWNERS + SEQS || most - least <= 2);
    }
    for (int i = 0; i < ALL; i++)
        check_answer(&answers[i], texts[i], 15);
    end();
}

// Long answers alone are not interrupted; a short question is answered before they end.
static void test_short_beside_long(void)
{
    static struct answer answers[SEQS + 2];
    static char texts[SEQS + 2][N_CTX + 1];
    unsigned seed = 5000;
    turn_length = SHORT_TURN;
    begin(200);
    for (int i = 0; i < SEQS; i++) {
        text_answered(texts[i], 30, 150, &seed);
        submit_as(1, &answers[i], texts[i], 150);
    }
    wait_for(answers, SEQS);
    CHECK(n_suspended() == 0);
    n_answered = 0;
    for (int i = 0; i < SEQS; i++) {
        text_answered(texts[i], 30, 150, &seed);
        submit_as(1, &answers[i], texts[i], 150);
    }
    wait_for_text(answers, SEQS, 0, 20);
    text_answered(texts[SEQS], 20, 5, &seed);
    text_answered(texts[SEQS + 1], 20, 150, &seed);
    submit_as(1, &answers[SEQS], texts[SEQS], 5);
    submit_as(1, &answers[SEQS + 1], texts[SEQS + 1], 150); // and one more that is long
    const int before = n_computed;
    wait_for(answers, SEQS + 2);
    for (int i = 0; i < SEQS + 2; i++)
        check_answer(&answers[i], texts[i], i == SEQS ? 5 : 150);
    CHECK(answers[SEQS].nth == 0);
    CHECK(n_suspended() >= 1 && n_suspended() <= 8);
    CHECK(n_computed - before < SEQS * 150 + 200 + 30); // nothing was computed again
    end();
    turn_length = TURN_UNITS;
}

// Long answers of one owner hold every sequence, and another owner comes with shorter ones, that
// are longer than a turn: it has its share before the first end, also where memory is so short that
// texts are given up for it.
static void test_long_of_two(void)
{
    enum { EACH = 4 };
    static struct answer answers[2 * EACH];
    static char texts[2 * EACH][N_CTX + 1];
    unsigned seed = 9000;
    turn_length = SHORT_TURN;
    for (int world = 0; world < 3; world++) {
        n_pages = world == 0 ? PAGES_MOST : 4;
        n_slots = world == 2 ? SEQS + 3 : 0;
        begin(200);
        for (int i = 0; i < 2 * EACH; i++)
            text_answered(texts[i], 30 + (size_t)i, i < EACH ? 150 : 60, &seed);
        for (int i = 0; i < EACH; i++)
            submit_as(1, &answers[i], texts[i], 150);
        wait_for_text(answers, EACH, 0, 10);
        for (int i = EACH; i < 2 * EACH; i++)
            submit_as(2, &answers[i], texts[i], 60);
        wait_for(answers, 2 * EACH);
        int last_of_one = 0, first_of_two = 2 * EACH;
        for (int i = 0; i < 2 * EACH; i++) {
            check_answer(&answers[i], texts[i], i < EACH ? 150 : 60);
            if (i < EACH && answers[i].nth > last_of_one)
                last_of_one = answers[i].nth;
            if (i >= EACH && answers[i].nth < first_of_two)
                first_of_two = answers[i].nth;
        }
        CHECK(first_of_two < last_of_one && n_suspended() > 0);
        end();
    }
    n_pages = PAGES_MOST;
    n_slots = 0;
    turn_length = TURN_UNITS;
}

// A short prompt is read beside a long one that came before.
static void test_short_prompt(void)
{
    static struct answer answers[2];
    static char texts[2][N_CTX + 1];
    unsigned seed = 20000;
    begin(300);
    fill(texts[0], 590, 1);
    text_answered(texts[1], 20, 3, &seed);
    submit_as(1, &answers[0], texts[0], 3);
    submit_as(1, &answers[1], texts[1], 3);
    wait_for(answers, 2);
    check_answer(&answers[0], texts[0], 3);
    check_answer(&answers[1], texts[1], 3);
    CHECK(answers[1].nth == 0);
    end();
}

// One fills the queue; others have places all the same.
static void test_places(void)
{
    enum { MOST = SEQS + WAITING_MOST, ALL = MOST + 2 * PLACES_OWN };
    static struct answer answers[ALL], refused;
    static char texts[ALL][N_CTX + 1];
    begin(300);
    for (int i = 0; i < ALL; i++) {
        fill(texts[i], 40, 30000 + (unsigned)i);
        submit_as(i < MOST ? 1 : i < MOST + PLACES_OWN ? 2 : 3, &answers[i], texts[i], 4);
        if (i + 1 == MOST || i + 1 == MOST + PLACES_OWN || i + 1 == ALL)
            CHECK(submit(&refused, "abc", 2, NULL) == NO_ROOM);
    }
    wait_for(answers, ALL);
    for (int i = 0; i < ALL; i++)
        check_answer(&answers[i], texts[i], 4);
    for (int i = MOST; i < ALL; i++)
        CHECK(answers[i].nth < MOST);
    CHECK(sched_n_open(sched) == 0 && sched_n_open_of(sched, 1) == 0);
    end();
}

// Cancelled and closed at any moment of it.
static void test_cancelled(void)
{
    enum { N = 12 };
    static struct answer answers[N];
    static char texts[N][N_CTX + 1];
    unsigned seed = 40000;
    turn_length = 80;
    begin(20);
    for (int round = 0; round < 15; round++) {
        for (int i = 0; i < N; i++) {
            text_answered(texts[i], 20, 40, &seed);
            submit_as(1 + (uint64_t)i % 4, &answers[i], texts[i], 40);
        }
        for (int i = 0; i < N; i += 1 + round % 3) {
            usleep((useconds_t)(seed % 5) * 300);
            sched_cancel(sched, answers[i].id);
        }
        wait_for(answers, N);
        for (int i = 0; i < N; i++)
            if (answers[i].last.finish != FINISH_CANCELLED)
                check_answer(&answers[i], texts[i], 40);
    }
    end();
    begin(100);
    for (int i = 0; i < N; i++)
        submit_as(1 + (uint64_t)i % 4, &answers[i], texts[i], 40);
    usleep(20000);
    pass_us = 0;
    sched_close(sched);
    turn_length = TURN_UNITS;
    owner = 0;
}

int main(void)
{
    test_two_owners();
    test_many_owners();
    test_short_beside_long();
    test_long_of_two();
    test_short_prompt();
    test_places();
    test_cancelled();
    return check_done("sched_fair");
}
