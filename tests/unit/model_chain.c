// model_chain.c - the sampler's further steps, each against a formula in float64 written out here:
// which candidates are left, with what shares; DRY's losses against a search by comparing; Mirostat
// against its recurrence; bans, biases, the same seed twice.
#include "check.h"
#include "grammar_fixture.h"
#include "model_fixture.h"

#include <math.h>

enum { N = 40, DRAWS = 20000 };

static struct sampling plain(void)
{
    struct sampling p;
    sampling_default(&p);
    p.temperature = 1;
    p.top_k = 0;
    p.top_p = 1;
    p.min_p = 0;
    p.seed = 7;
    return p;
}

static int32_t pick(struct sampler *s, const float *logits)
{
    float copy[N];
    int32_t id = -1;
    struct err err;
    memcpy(copy, logits, sizeof(copy));
    CHECK(sampler_pick(s, copy, &id, &err) == OK);
    return id;
}

static uint32_t random_state = 1;

static double uniform(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) / 16777216.0;
}

static void make_logits(float *logits, double spread)
{
    for (int i = 0; i < N; i++)
        logits[i] = (float)(spread * (uniform() + uniform() + uniform() - 1.5));
}

// ---- the reference: shares of what is left, 0 for the rest --------------------------------------

static void normalise(double *share)
{
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += share[i];
    for (int i = 0; i < N; i++)
        share[i] /= sum;
}

static void softmax(const float *logits, const double *keep, double t, double *share)
{
    for (int i = 0; i < N; i++)
        share[i] = keep[i] > 0 ? exp((double)logits[i] / t) : 0;
    normalise(share);
}

static double entropy(const double *share)
{
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum -= share[i] > 0 ? share[i] * log(share[i]) : 0;
    return sum;
}

// The i-th in falling order of share, of those left.
static int ranked(const double *share, int rank)
{
    for (int i = 0; i < N; i++) {
        int above = 0;
        for (int k = 0; k < N; k++)
            above += share[k] > share[i];
        if (share[i] > 0 && above == rank)
            return i;
    }
    return -1;
}

// Draws again and again: every share within 5 standard deviations.
static void check_draws(const struct sampling *p, const float *logits, const double *share,
                        const char *what)
{
    struct sampler *s;
    int counts[N] = {0};
    sampler_open(&s, p, N);
    for (int i = 0; i < DRAWS; i++)
        counts[pick(s, logits)]++;
    sampler_close(s);
    for (int i = 0; i < N; i++) {
        double off = fabs(counts[i] - share[i] * DRAWS),
               limit = 5 * sqrt(share[i] * (1 - share[i]) * DRAWS) + 1e-6;
        if (!CHECK(off <= limit))
            fprintf(stderr, "    %s: id %d: %d draws, expected %.1f +- %.1f\n", what, i, counts[i],
                    share[i] * DRAWS, limit);
    }
}

static void all(double *keep)
{
    for (int i = 0; i < N; i++)
        keep[i] = 1;
}

static void test_typical(void)
{
    float logits[N];
    double keep[N], share[N], left[N] = {0}, passed = 0;
    make_logits(logits, 4);
    all(keep);
    softmax(logits, keep, 1, share);
    const double expected = entropy(share);
    while (passed <= 0.6) {
        int best = -1;
        for (int i = 0; i < N; i++)
            if (left[i] == 0 &&
                (best < 0 || fabs(-log(share[i]) - expected) < fabs(-log(share[best]) - expected)))
                best = i;
        left[best] = 1;
        passed += share[best];
    }
    softmax(logits, left, 1.5, share);
    struct sampling p = plain();
    p.typical_p = 0.6f;
    p.temperature = 1.5f;
    check_draws(&p, logits, share, "typical");
}

static void test_sigma(void)
{
    float logits[N];
    double keep[N], share[N], mean = 0, square = 0, best = -1e9;
    make_logits(logits, 4);
    for (int i = 0; i < N; i++) {
        mean += (double)logits[i] / N;
        best = fmax(best, (double)logits[i]);
    }
    for (int i = 0; i < N; i++)
        square += pow((double)logits[i] - mean, 2) / N;
    for (int i = 0; i < N; i++)
        keep[i] = (double)logits[i] >= best - 1.25 * sqrt(square);
    softmax(logits, keep, 1, share);
    struct sampling p = plain();
    p.top_n_sigma = 1.25f;
    check_draws(&p, logits, share, "top_n_sigma");
}

static void test_xtc(void)
{
    float logits[N];
    double keep[N], share[N], without[N];
    make_logits(logits, 6);
    all(keep);
    softmax(logits, keep, 1, share);
    int n_over = 0;
    for (int i = 0; i < N; i++)
        n_over += share[i] >= 0.08;
    CHECK(n_over >= 2);
    for (int rank = 0; rank < n_over - 1; rank++)
        keep[ranked(share, rank)] = 0;
    softmax(logits, keep, 1, without);
    for (int i = 0; i < N; i++)
        share[i] = 0.4 * without[i] + 0.6 * share[i];
    struct sampling p = plain();
    p.xtc_probability = 0.4f;
    p.xtc_threshold = 0.08f;
    check_draws(&p, logits, share, "xtc");
}

static void test_dynatemp(void)
{
    float logits[N];
    double keep[N], share[N];
    make_logits(logits, 3);
    all(keep);
    softmax(logits, keep, 1, share);
    const double part = entropy(share) / log(N), t = 0.3 + (1.7 - 0.3) * pow(part, 1.5);
    softmax(logits, keep, t, share);
    struct sampling p = plain();
    p.temperature = 1;
    p.dynatemp_range = 0.7f;
    p.dynatemp_exponent = 1.5f;
    check_draws(&p, logits, share, "dynamic temperature");
}

// min-p behind the temperature leaves other candidates than before it.
static void test_order(void)
{
    float logits[N];
    double keep[N], share[N];
    make_logits(logits, 5);
    all(keep);
    softmax(logits, keep, 3, share);
    const double best = share[ranked(share, 0)];
    for (int i = 0; i < N; i++)
        keep[i] = share[i] >= 0.3 * best;
    softmax(logits, keep, 3, share);
    struct sampling p = plain();
    p.temperature = 3;
    p.min_p = 0.3f;
    p.top_k = 2; // is not in the order, and so not taken
    p.order[0] = STEP_TEMPERATURE;
    p.order[1] = STEP_MIN_P;
    p.n_order = 2;
    check_draws(&p, logits, share, "order");
    p.order[0] = STEP_TOP_K;
    p.order[1] = STEP_TEMPERATURE;
    all(keep);
    softmax(logits, keep, 1, share);
    for (int i = 0; i < N; i++)
        keep[i] = i == ranked(share, 0) || i == ranked(share, 1);
    softmax(logits, keep, 3, share);
    check_draws(&p, logits, share, "top-k alone");
}

// The chain in the default order is the sampler's own short cut.
static void test_same_as_short(void)
{
    float logits[N];
    double keep[N], share[N], passed = 0;
    make_logits(logits, 5);
    all(keep);
    softmax(logits, keep, 1, share);
    double left[N] = {0};
    for (int rank = 0; rank < 9; rank++) // top-k 9
        left[ranked(share, rank)] = 1;
    softmax(logits, left, 1, share);
    memset(left, 0, sizeof(left));
    for (int rank = 0; rank < 9 && passed < 0.85; rank++) {
        left[ranked(share, rank)] = 1;
        passed += share[ranked(share, rank)];
    }
    softmax(logits, left, 0.8, share);
    struct sampling p = plain();
    p.temperature = 0.8f;
    p.top_k = 9;
    p.top_p = 0.85f;
    check_draws(&p, logits, share, "short cut");
    p.xtc_probability = 1e-9f; // never, but the chain is taken
    check_draws(&p, logits, share, "chain");
}

static void test_mirostat(void)
{
    for (int version = 1; version <= 2; version++) {
        struct sampling p = plain();
        struct sampler *s;
        float logits[N];
        double keep[N], share[N], mu = 2 * 1.5, mean = 0;
        p.mirostat = version;
        p.mirostat_tau = 1.5f;
        p.mirostat_eta = 0.2f;
        p.temperature = 1.2f;
        sampler_open(&s, &p, N);
        int n_wrong = 0;
        for (int round = 0; round < 2000; round++) {
            make_logits(logits, 6);
            all(keep);
            softmax(logits, keep, (double)p.temperature, share);
            int n = 1;
            if (version == 2) {
                while (n < N && -log2(share[ranked(share, n)]) <= mu)
                    n++;
            } else {
                double tb = 0, tt = 0;
                for (int i = 0; i + 1 < N; i++) {
                    double t = log((i + 2.0) / (i + 1)),
                           b = log(share[ranked(share, i)] / share[ranked(share, i + 1)]);
                    tb += t * b;
                    tt += t * t;
                }
                double zipf = tb / tt, e = zipf - 1,
                       k = pow(e * pow(2, mu) / (1 - pow(N, -e)), 1 / zipf);
                n = k >= 1 ? (int)fmin(k, N) : 1;
            }
            double left[N] = {0};
            for (int i = 0; i < n; i++)
                left[ranked(share, i)] = 1;
            softmax(logits, left, (double)p.temperature, share);
            int32_t id = pick(s, logits);
            n_wrong += left[id] == 0;
            mean += -log2(share[id] > 0 ? share[id] : 1) / 2000;
            mu -= (double)p.mirostat_eta * (-log2(share[id] > 0 ? share[id] : 1) - 1.5);
        }
        CHECK(n_wrong <= 2); // at a bound the last bit of a float may decide
        if (version == 2 && !CHECK(fabs(mean - 1.5) < 0.1))
            fprintf(stderr, "    a surprise of %.3f bits\n", mean);
        sampler_close(s);
    }
}

static void test_dry(void)
{
    for (int round = 0; round < 50; round++) {
        struct sampling p = plain();
        struct sampler *s;
        struct err err;
        float logits[N] = {0};
        int32_t history[60], n = 2 + (int32_t)(uniform() * 58), id;
        p.temperature = 0;
        p.dry_multiplier = 0.8f;
        p.dry_base = 1.75f;
        p.dry_allowed_length = 1 + round % 3;
        sampler_open(&s, &p, N);
        for (int i = 0; i < n; i++) {
            history[i] = (int32_t)(uniform() * 3);
            sampler_see(s, history[i], i > n / 2);
        }
        CHECK(sampler_wants(s) == 0 && sampler_pick(s, logits, &id, &err) == OK);
        int n_wrong = 0;
        for (int token = 0; token < N; token++) {
            int longest = 0;
            for (int at = 1; at < n; at++) { // history[at] followed a match that ends at at - 1
                int length = 0;
                while (length < at && history[at - 1 - length] == history[n - 1 - length])
                    length++;
                if (history[at] == token && length > longest)
                    longest = length;
            }
            double lost = longest >= p.dry_allowed_length && longest > 0
                              ? 0.8 * pow(1.75, longest - p.dry_allowed_length)
                              : 0;
            n_wrong += fabs((double)logits[token] + fmin(lost, 1e6)) > 1e-5 * (1 + fmin(lost, 1e6));
        }
        CHECK(n_wrong == 0);
        sampler_close(s);
    }
}

static void test_bias_and_seed(void)
{
    struct sampling p = plain();
    struct sampler *s, *again;
    float logits[N];
    make_logits(logits, 2);
    const struct token_bias biases[] = {{3, 50}, {5, -INFINITY}, {N + 7, 1}, {-1, 1}};
    p.biases = biases;
    p.n_biases = COUNT_OF(biases);
    sampler_open(&s, &p, N);
    CHECK(sampler_wants(s) == 0 && pick(s, logits) == 3);
    sampler_close(s);
    p = plain();
    p.typical_p = 0.9f;
    p.xtc_probability = 0.5f;
    p.xtc_threshold = 0.05f;
    sampler_open(&s, &p, N);
    sampler_open(&again, &p, N);
    for (int i = 0; i < 200; i++)
        CHECK(pick(s, logits) == pick(again, logits));
    CHECK(sampler_wants(s) == 0);
    sampler_close(s);
    sampler_close(again);
    p.top_k = 20; // now the largest are enough
    sampler_open(&s, &p, N);
    CHECK(sampler_wants(s) == 20);
    sampler_close(s);
    p.top_n_sigma = 1; // before top-k: all of them count
    sampler_open(&s, &p, N);
    CHECK(sampler_wants(s) == 0);
    sampler_close(s);
}

// Picks obey a grammar, from the whole row and from the largest, and texts do not end too soon.
static void test_obeys(void)
{
    static const char *const texts[] = {"a", "b", "c", "bc", "d"};
    struct tokenizer *t = vocabulary(texts, COUNT_OF(texts)); // token 5 ends the text
    enum { N_TOKENS = COUNT_OF(texts) + 1 };
    struct grammar *g = NULL;
    struct err err = {0};
    CHECK(grammar_compile_gbnf(&g, bytes_of("root ::= \"b\" \"c\"*"), &err) == OK);
    for (int greedy = 0; greedy < 2; greedy++) {
        struct sampling p = plain();
        struct sampler *s;
        struct matcher *m;
        int32_t id, counts[N_TOKENS] = {0};
        p.temperature = greedy ? 0 : 1;
        sampler_open(&s, &p, N_TOKENS);
        sampler_speaks(s, t);
        matcher_open(&m, g, t);
        sampler_obey(s, m);
        CHECK(!greedy || sampler_wants(s) > 1);
        for (int i = 0; i < 2000; i++) {
            float logits[N_TOKENS] = {5, 1, 4, 2, 0, 3};
            CHECK(sampler_pick(s, logits, &id, &err) == OK);
            counts[id]++;
        }
        CHECK(counts[1] + counts[3] == 2000 && counts[3] > counts[1]); // e to 1
        CHECK(greedy ? counts[1] == 0 : fabs(counts[1] - 2000 / (1 + exp(1))) < 100);
        const int32_t ids[] = {0, 2, 5, 3};
        const float top[] = {5, 4, 3, 2};
        CHECK(sampler_pick_top(s, ids, top, 3, &id, &err) == AGAIN);
        CHECK(sampler_pick_top(s, ids, top, 4, &id, &err) == OK && id == 3);
        CHECK(matcher_accept(m, 1)); // now c, or the end
        CHECK(sampler_pick_top(s, ids, top, 3, &id, &err) == OK && (id == 2 || id == 5));
        sampler_close(s);
        p.min_tokens = 2;
        sampler_open(&s, &p, N_TOKENS);
        sampler_speaks(s, t);
        sampler_obey(s, m);
        for (int round = 0; round < 3; round++) {
            float logits[N_TOKENS] = {0, 0, -4, 0, 0, 90};
            CHECK(sampler_pick(s, logits, &id, &err) == OK && id == (round < 2 ? 2 : 5));
            CHECK(sampler_pick_top(s, (int32_t[]){5, 2}, (float[]){90, -4}, 2, &id, &err) == OK &&
                  id == (round < 2 ? 2 : 5));
            sampler_see(s, 2, true);
        }
        sampler_close(s);
        matcher_close(m);
    }
    grammar_close(g);
    vocabulary_close(t);
}

int main(void)
{
    test_typical();
    test_sigma();
    test_xtc();
    test_dynatemp();
    test_order();
    test_same_as_short();
    test_mirostat();
    test_dry();
    test_bias_and_seed();
    test_obeys();
    return check_done("model_chain");
}
