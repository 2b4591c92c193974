// model_sampler.c - the sampler: what each setting keeps, the shares of what is drawn, penalties,
// damaged logits.
#include "check.h"
#include "model_fixture.h"

#include <math.h>

enum { N = 1000, DRAWS = 20000 };

static int32_t pick(struct sampler *s, const float *logits, int32_t n)
{
    float copy[N];
    int32_t id = -1;
    struct err err;
    memcpy(copy, logits, (size_t)n * sizeof(*copy));
    CHECK(sampler_pick(s, copy, &id, &err) == OK);
    return id;
}

static struct sampling plain(void)
{
    struct sampling p;
    sampling_default(&p);
    p.temperature = 1;
    p.top_k = 0;
    p.top_p = 1;
    p.min_p = 0;
    p.seed = 42;
    return p;
}

static void count_draws(const struct sampling *sampling, const float *logits, int32_t n,
                        int32_t *counts)
{
    struct sampler *s;
    sampler_open(&s, sampling, n);
    memset(counts, 0, (size_t)n * sizeof(*counts));
    for (int i = 0; i < DRAWS; i++)
        counts[pick(s, logits, n)]++;
    sampler_close(s);
}

// Every share within 5 standard deviations of softmax(logits / temperature) over the kept ids.
static void check_shares(const float *logits, int32_t n, float temperature, const bool *kept,
                         const int32_t *counts)
{
    double sum = 0;
    for (int32_t i = 0; i < n; i++)
        sum += kept[i] ? exp((double)logits[i] / (double)temperature) : 0;
    for (int32_t i = 0; i < n; i++) {
        double p = kept[i] ? exp((double)logits[i] / (double)temperature) / sum : 0;
        double off = fabs(counts[i] - p * DRAWS), limit = 5 * sqrt(p * (1 - p) * DRAWS);
        if (!CHECK(off <= limit))
            fprintf(stderr, "    id %d: %d draws, expected %.0f +- %.0f\n", i, counts[i], p * DRAWS,
                    limit);
    }
}

static void test_shares(void)
{
    // probabilities before temperature: 0.5 0.25 0.125 0.0625 0.03125 0.03125
    const float logits[] = {-1.3862944f, -0.6931472f, -2.7725887f,
                            -2.0794415f, -3.4657359f, -3.4657359f};
    int32_t counts[6];
    struct sampling p = plain();
    count_draws(&p, logits, 6, counts);
    check_shares(logits, 6, 1, (bool[]){1, 1, 1, 1, 1, 1}, counts);
    p.temperature = 2;
    count_draws(&p, logits, 6, counts);
    check_shares(logits, 6, 2, (bool[]){1, 1, 1, 1, 1, 1}, counts);
    p.top_k = 3;
    count_draws(&p, logits, 6, counts);
    check_shares(logits, 6, 2, (bool[]){1, 1, 0, 1, 0, 0}, counts);
    p.top_k = 0;
    p.top_p = 0.76f; // 0.5 + 0.25 is less: a third is needed
    count_draws(&p, logits, 6, counts);
    check_shares(logits, 6, 2, (bool[]){1, 1, 0, 1, 0, 0}, counts);
    p.top_p = 0.4f;
    count_draws(&p, logits, 6, counts);
    check_shares(logits, 6, 2, (bool[]){0, 1, 0, 0, 0, 0}, counts);
    p.top_p = 1;
    p.min_p = 0.2f; // of 0.5: 0.1
    count_draws(&p, logits, 6, counts);
    check_shares(logits, 6, 2, (bool[]){1, 1, 0, 1, 0, 0}, counts);
    p.top_k = 2;
    p.top_p = 0.5f; // of the two kept: 2/3 and 1/3
    p.min_p = 0;
    count_draws(&p, logits, 6, counts);
    check_shares(logits, 6, 2, (bool[]){0, 1, 0, 0, 0, 0}, counts);
}

// The heap against a plain sort: top-k of many random rows keeps exactly the k best.
static void test_top_k(void)
{
    struct sampling p = plain();
    float logits[N];
    uint32_t state = 7;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < N; i++) {
            state = state * 1664525u + 1013904223u;
            logits[i] = (float)(state >> 20) / 1024; // many ties
        }
        p.top_k = 1 + round * 3;
        p.temperature = 100; // nearly uniform over what is kept
        struct sampler *s;
        sampler_open(&s, &p, N);
        for (int draw = 0; draw < 200; draw++) {
            int32_t id = pick(s, logits, N), n_better = 0;
            for (int i = 0; i < N; i++)
                n_better += logits[i] > logits[id] || (logits[i] == logits[id] && i < id);
            CHECK(n_better < p.top_k);
        }
        sampler_close(s);
    }
}

static void test_seed(void)
{
    const float logits[] = {0, 0, 0, 0, 0, 0, 0, 0};
    int32_t a[64], b[64], c[64];
    for (int run = 0; run < 3; run++) {
        struct sampling p = plain();
        struct sampler *s;
        p.seed = run == 2 ? 43 : 42;
        sampler_open(&s, &p, 8);
        for (int i = 0; i < 64; i++)
            (run == 0 ? a : run == 1 ? b : c)[i] = pick(s, logits, 8);
        sampler_close(s);
    }
    CHECK(memcmp(a, b, sizeof(a)) == 0);
    CHECK(memcmp(a, c, sizeof(a)) != 0);
}

static void test_greedy_and_penalties(void)
{
    struct sampling p = plain();
    struct sampler *s;
    p.temperature = 0;
    const float logits[] = {1, 3, 2, -1};
    sampler_open(&s, &p, 4);
    CHECK(pick(s, logits, 4) == 1);
    sampler_see(s, 1, true);
    CHECK(pick(s, logits, 4) == 1);
    sampler_close(s);

    p.repeat_penalty = 2;
    p.repeat_last_n = 2;
    sampler_open(&s, &p, 4);
    sampler_see(s, 1, false); // a prompt token counts too
    CHECK(pick(s, logits, 4) == 2);
    sampler_see(s, 2, true);
    CHECK(pick(s, logits, 4) == 1); // 1.5 against 1 and 1
    sampler_see(s, 0, true);        // now only 2 and 0 are recent
    CHECK(pick(s, logits, 4) == 1);
    sampler_see(s, -5, true);
    sampler_see(s, 4, true); // out of range: ignored
    sampler_close(s);

    p.repeat_last_n = -1; // all of the text, however long
    sampler_open(&s, &p, 4);
    sampler_see(s, 1, false);
    for (int i = 0; i < 5000; i++)
        sampler_see(s, 3, true);
    CHECK(pick(s, logits, 4) == 2);
    sampler_see(s, 2, true);
    CHECK(pick(s, logits, 4) == 1);
    sampler_close(s);

    p.repeat_penalty = 1;
    p.presence_penalty = 0.6f;
    p.frequency_penalty = 0.5f;
    sampler_open(&s, &p, 4);
    sampler_see(s, 1, false);
    CHECK(pick(s, logits, 4) == 1); // prompt tokens are not generated
    sampler_see(s, 1, true);
    CHECK(pick(s, logits, 4) == 2); // 3 - 1.1 < 2
    sampler_see(s, 2, true);
    sampler_see(s, 2, true);
    CHECK(pick(s, logits, 4) == 1); // 1.9 against 2 - 1.6
    sampler_close(s);
}

static void test_damaged(void)
{
    struct sampling p = plain();
    struct sampler *s;
    struct err err;
    int32_t id = 77;
    sampler_open(&s, &p, 3);
    CHECK(sampler_pick(s, (float[]){0, NAN, 1}, &id, &err) == BROKEN &&
          strstr(err.text, "token 1") && id == 77);
    CHECK(sampler_pick(s, (float[]){0, INFINITY, 1}, &id, &err) == BROKEN);
    CHECK(sampler_pick(s, (float[]){-INFINITY, -INFINITY, -INFINITY}, &id, &err) == BROKEN);
    CHECK(sampler_pick(s, (float[]){-INFINITY, -1e30f, -INFINITY}, &id, &err) == OK && id == 1);
    sampler_close(s);
}

// What the device finds: the n largest, falling, the smaller id first among equals.
static void largest(const float *logits, int32_t n_all, int32_t *ids, float *values, int32_t n)
{
    bool taken[N] = {false};
    for (int32_t k = 0; k < n; k++) {
        int32_t best = -1;
        for (int32_t i = 0; i < n_all; i++)
            if (!taken[i] && (best < 0 || logits[i] > logits[best]))
                best = i;
        taken[best] = true;
        ids[k] = best;
        values[k] = logits[best];
    }
}

// From the largest alone the same tokens are drawn as from all.
static void test_pick_top(void)
{
    float logits[N], values[TOP_K_MOST];
    int32_t ids[TOP_K_MOST], n_same = 0;
    struct err err;
    for (int32_t i = 0; i < N; i++)
        logits[i] = (float)((i * 7919) % 331) * 0.03f;
    logits[3] = -INFINITY;
    for (int32_t top_k = 0; top_k <= 70; top_k += 7) {
        struct sampling p = plain();
        struct sampler *all, *top;
        p.top_k = top_k;
        p.top_p = 0.9f;
        p.temperature = top_k == 7 ? 0 : 0.7f;
        sampler_open(&all, &p, N);
        sampler_open(&top, &p, N);
        int32_t wants = sampler_wants(top);
        CHECK(wants == (p.temperature <= 0 ? 1 : top_k <= TOP_K_MOST ? top_k : 0));
        for (int draw = 0; draw < 200 && wants > 0; draw++) {
            int32_t id = -1;
            largest(logits, N, ids, values, TOP_K_MOST);
            CHECK(sampler_pick_top(top, ids, values, TOP_K_MOST, &id, &err) == OK);
            n_same += CHECK(id == pick(all, logits, N));
            logits[draw] += 0.01f;
        }
        sampler_close(all);
        sampler_close(top);
    }
    CHECK(n_same == 9 * 200);
    struct sampling p = plain();
    struct sampler *s;
    int32_t id;
    p.top_k = 5;
    p.presence_penalty = 0.5f;
    sampler_open(&s, &p, N);
    CHECK(sampler_wants(s) == 0);
    CHECK(sampler_pick_top(s, ids, (float[]){NAN, 1}, 2, &id, &err) == BROKEN);
    CHECK(sampler_pick_top(s, ids, (float[]){-INFINITY, -INFINITY}, 2, &id, &err) == BROKEN);
    sampler_close(s);
}

int main(void)
{
    test_shares();
    test_top_k();
    test_seed();
    test_greedy_and_penalties();
    test_damaged();
    test_pick_top();
    return check_done("model_sampler");
}
