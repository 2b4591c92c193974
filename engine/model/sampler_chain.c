// sampler_chain.c - the steps that choose among the candidates, one after the other, in the order a
// request asks for; and Mirostat, which takes the place of all of them.
//
// Candidates are sorted when a step first needs it, largest logit first. Each step sees what the
// one before left, with the shares (softmax) of these alone. The temperature changes the logits
// themselves, so what comes behind it sees the flatter or steeper shares. What is left is drawn
// from by its shares.
#include "sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct chain {
    struct sampler *s;
    struct scored *c; // [n] candidates
    double *share;    // [n]: of the last shares()
    int32_t n;
    bool sorted;
};

static const uint8_t usual[SAMPLER_STEPS] = {
    STEP_TOP_N_SIGMA, STEP_TOP_K, STEP_TYPICAL, STEP_TOP_P, STEP_MIN_P, STEP_XTC, STEP_TEMPERATURE};

static bool is_active(const struct sampling *p, enum sampler_step step)
{
    switch (step) {
    case STEP_TOP_N_SIGMA:
        return p->top_n_sigma > 0;
    case STEP_TOP_K:
        return p->top_k > 0;
    case STEP_TYPICAL:
        return p->typical_p < 1;
    case STEP_TOP_P:
        return p->top_p < 1;
    case STEP_MIN_P:
        return p->min_p > 0;
    case STEP_XTC:
        return p->xtc_probability > 0 && p->xtc_threshold <= 0.5f;
    case STEP_TEMPERATURE:
        return true;
    case SAMPLER_STEPS:
        break;
    }
    return false;
}

bool chain_is_needed(const struct sampling *p)
{
    return p->n_order > 0 || p->mirostat || p->dynatemp_range > 0 ||
           is_active(p, STEP_TOP_N_SIGMA) || is_active(p, STEP_TYPICAL) || is_active(p, STEP_XTC);
}

static int32_t order_of(const struct sampling *p, const uint8_t **order)
{
    *order = p->n_order ? p->order : usual;
    return p->n_order ? p->n_order : SAMPLER_STEPS;
}

bool chain_begins_with_top_k(const struct sampling *p)
{
    const uint8_t *order;
    const int32_t n = order_of(p, &order);
    for (int32_t i = 0; i < n && !p->mirostat; i++) {
        if (order[i] == STEP_TOP_K)
            return is_active(p, STEP_TOP_K);
        if (is_active(p, order[i]) && (order[i] != STEP_TEMPERATURE || p->dynatemp_range > 0))
            return false;
    }
    return false;
}

// ---- what steps need ----------------------------------------------------------------------------

static int by_logit(const void *a, const void *b)
{
    return scored_above(a, b) ? -1 : 1; // no two are equal
}

static void sort(struct chain *chain)
{
    if (!chain->sorted)
        qsort(chain->c, (size_t)chain->n, sizeof(*chain->c), by_logit);
    chain->sorted = true;
}

static void shares(struct chain *chain)
{
    double sum = 0, best = -INFINITY;
    for (int32_t i = 0; i < chain->n; i++)
        best = fmax(best, (double)chain->c[i].logit);
    for (int32_t i = 0; i < chain->n; i++)
        sum += chain->share[i] = exp((double)chain->c[i].logit - best);
    for (int32_t i = 0; i < chain->n; i++)
        chain->share[i] /= sum;
}

static double entropy(const struct chain *chain)
{
    double sum = 0;
    for (int32_t i = 0; i < chain->n; i++)
        if (chain->share[i] > 0)
            sum -= chain->share[i] * log(chain->share[i]);
    return sum;
}

// ---- the steps ----------------------------------------------------------------------------------

static void top_n_sigma(struct chain *chain, double n_sigma)
{
    double best = -INFINITY, mean = 0, square = 0;
    int32_t n = 0;
    for (int32_t i = 0; i < chain->n; i++) {
        best = fmax(best, (double)chain->c[i].logit);
        mean += (double)chain->c[i].logit / chain->n;
    }
    for (int32_t i = 0; i < chain->n; i++)
        square += pow((double)chain->c[i].logit - mean, 2) / chain->n;
    for (int32_t i = 0; i < chain->n; i++)
        if ((double)chain->c[i].logit >= best - n_sigma * sqrt(square))
            chain->c[n++] = chain->c[i];
    chain->n = n;
}

static void top_k(struct chain *chain, int32_t k)
{
    sort(chain);
    chain->n = chain->n < k ? chain->n : k;
}

static void top_p(struct chain *chain, double p)
{
    double passed = 0;
    int32_t n = 0;
    sort(chain);
    shares(chain);
    while (n < chain->n && (n == 0 || passed < p))
        passed += chain->share[n++];
    chain->n = n;
}

static void min_p(struct chain *chain, double p)
{
    int32_t n = 1;
    sort(chain);
    shares(chain);
    while (n < chain->n && chain->share[n] >= p * chain->share[0])
        n++;
    chain->n = n;
}

struct unusual { // a candidate by how far its surprise is from what is to be expected
    struct scored c;
    double far, share;
};

static int by_far(const void *a, const void *b)
{
    const struct unusual *x = a, *y = b;
    if (x->far != y->far)
        return x->far < y->far ? -1 : 1;
    return by_logit(&x->c, &y->c);
}

static void typical(struct chain *chain, double p)
{
    shares(chain);
    const double expected = entropy(chain);
    struct unusual *all = mem_array((size_t)chain->n, sizeof(*all));
    double passed = 0;
    int32_t n = 0;
    for (int32_t i = 0; i < chain->n; i++) // a share of 0 is infinitely far
        all[i] =
            (struct unusual){chain->c[i], fabs(-log(chain->share[i]) - expected), chain->share[i]};
    qsort(all, (size_t)chain->n, sizeof(*all), by_far);
    while (n < chain->n && (n == 0 || passed <= p)) {
        chain->c[n] = all[n].c;
        passed += all[n++].share;
    }
    free(all);
    chain->n = n;
    chain->sorted = false;
}

static void exclude_top(struct chain *chain, const struct sampling *p)
{
    int32_t n_over = 0;
    if (sampler_random(chain->s) >= (double)p->xtc_probability)
        return;
    sort(chain);
    shares(chain);
    while (n_over < chain->n && chain->share[n_over] >= (double)p->xtc_threshold)
        n_over++;
    if (n_over < 2)
        return;
    chain->n -= n_over - 1;
    memmove(chain->c, chain->c + n_over - 1, (size_t)chain->n * sizeof(*chain->c));
}

static void temperature(struct chain *chain, const struct sampling *p)
{
    double t = (double)p->temperature;
    if (p->dynatemp_range > 0 && chain->n > 1) {
        const double range = (double)p->dynatemp_range, least = fmax(0, t - range);
        shares(chain);
        const double part = entropy(chain) / log(chain->n);
        t = least + (t + range - least) * pow(part, (double)p->dynatemp_exponent);
    }
    const double best = (double)chain->c[0].logit;
    t = fmax(t, 1e-6); // as good as greedy, and finite
    for (int32_t i = 0; i < chain->n; i++)
        chain->c[i].logit = (float)(((double)chain->c[i].logit - best) / t);
}

static int32_t draw(struct chain *chain)
{
    double passed = 0;
    sort(chain);
    shares(chain);
    const double target = sampler_random(chain->s);
    for (int32_t i = 0; i < chain->n - 1; i++) {
        passed += chain->share[i];
        if (passed > target)
            return i;
    }
    return chain->n - 1;
}

// ---- Mirostat -----------------------------------------------------------------------------------

enum { MIROSTAT_M = 100 }; // candidates that Zipf's exponent is estimated from

// Version 1: how many candidates give the surprise aimed at, if their shares fall as Zipf says.
static int32_t zipf_top_k(const struct chain *chain, double surprise)
{
    const int32_t m = chain->n < MIROSTAT_M ? chain->n : MIROSTAT_M;
    double tb = 0, tt = 0;
    for (int32_t i = 0; i + 1 < m && chain->share[i + 1] > 0; i++) {
        const double t = log((i + 2.0) / (i + 1.0)), b = log(chain->share[i] / chain->share[i + 1]);
        tb += t * b;
        tt += t * t;
    }
    if (tt == 0)
        return 1;
    const double s = tb / tt, epsilon = s - 1,
                 k = pow(epsilon * pow(2, surprise) / (1 - pow(chain->s->n_vocab, -epsilon)),
                         1 / s);
    return !(k >= 1) ? 1 : k < chain->n ? (int32_t)k : chain->n;
}

static int32_t mirostat(struct chain *chain, const struct sampling *p)
{
    int32_t n = 1;
    temperature(chain, p);
    sort(chain);
    shares(chain);
    if (p->mirostat == 1)
        n = zipf_top_k(chain, chain->s->surprise);
    else
        while (n < chain->n && -log2(chain->share[n]) <= chain->s->surprise)
            n++;
    chain->n = n;
    const int32_t at = draw(chain);
    chain->s->surprise -=
        (double)p->mirostat_eta * (-log2(chain->share[at]) - (double)p->mirostat_tau);
    return chain->c[at].id;
}

int32_t chain_pick(struct sampler *sampler, int32_t n)
{
    const struct sampling *p = &sampler->sampling;
    if (!sampler->share)
        sampler->share = mem_array((size_t)sampler->n_vocab, sizeof(*sampler->share));
    struct chain chain = {.s = sampler, .c = sampler->heap, .share = sampler->share, .n = n};
    const uint8_t *order;
    const int32_t n_steps = order_of(p, &order);
    if (p->mirostat)
        return mirostat(&chain, p);
    for (int32_t i = 0; i < n_steps; i++) {
        if (!is_active(p, order[i]))
            continue;
        if (order[i] == STEP_TOP_N_SIGMA)
            top_n_sigma(&chain, (double)p->top_n_sigma);
        else if (order[i] == STEP_TOP_K)
            top_k(&chain, p->top_k);
        else if (order[i] == STEP_TYPICAL)
            typical(&chain, (double)p->typical_p);
        else if (order[i] == STEP_TOP_P)
            top_p(&chain, (double)p->top_p);
        else if (order[i] == STEP_MIN_P)
            min_p(&chain, (double)p->min_p);
        else if (order[i] == STEP_XTC)
            exclude_top(&chain, p);
        else
            temperature(&chain, p);
    }
    return chain.c[draw(&chain)].id;
}
