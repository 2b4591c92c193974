// sampler.c - picks the next token from a row of logits.
//
// Order: what may not be picked (a grammar, tokens that end a text too soon), bias, penalties and
// DRY (sampler_adjust.c), greedy when temperature is 0, top-k, top-p, min-p, temperature, one draw.
// top-p and min-p look at the probabilities before temperature is applied, among what top-k left.
// Candidates come off a binary heap in falling order, so only as many are sorted as are kept; with
// every cut off nothing is sorted at all. Any other step, or another order, is sampler_chain.c's.
//
// Random numbers: xoshiro256** (Blackman & Vigna 2018), its state filled by splitmix64 from the
// seed; a draw is the top 53 bits over 2^53. The same seed, logits and parameters give the same
// token on every machine of this build.

#include "sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void sampling_default(struct sampling *sampling)
{
    *sampling = (struct sampling){
        .temperature = 0.8f,
        .top_k = 40,
        .top_p = 0.95f,
        .min_p = 0.05f,
        .repeat_penalty = 1,
        .repeat_last_n = 64,
        .typical_p = 1,
        .xtc_threshold = 0.1f,
        .dynatemp_exponent = 1,
        .mirostat_tau = 5,
        .mirostat_eta = 0.1f,
        .dry_base = 1.75f,
        .dry_allowed_length = 2,
        .dry_last_n = -1,
    };
}

// ---- random numbers -----------------------------------------------------------------------------

static uint64_t rotate(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

static uint64_t random_next(uint64_t s[4])
{
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

static void random_seed(uint64_t s[4], uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15ull;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ z >> 27) * 0x94d049bb133111ebull;
        s[i] = z ^ z >> 31;
    }
}

// [0, 1).
double sampler_random(struct sampler *sampler)
{
    return (double)(random_next(sampler->random) >> 11) * 0x1p-53;
}

enum { RECENT_FIRST = 1024 }; // tokens of a text that is kept whole; it grows

// ---- life ---------------------------------------------------------------------------------------

void sampler_open(struct sampler **out, const struct sampling *sampling, int32_t n_vocab)
{
    struct sampler *s = mem_alloc(sizeof(*s));
    s->sampling = *sampling;
    s->n_vocab = n_vocab;
    s->n_generated = mem_array((size_t)n_vocab, sizeof(*s->n_generated));
    s->heap = mem_array((size_t)n_vocab, sizeof(*s->heap));
    s->penalised = mem_array((size_t)n_vocab, 1);
    s->recent_allocated =
        sampling->repeat_last_n < 0 ? RECENT_FIRST : (size_t)sampling->repeat_last_n;
    if (s->recent_allocated > 0)
        s->recent = mem_array(s->recent_allocated, sizeof(*s->recent));
    random_seed(s->random, sampling->seed);
    if (sampling->dry_multiplier > 0)
        s->longest = mem_array((size_t)n_vocab, sizeof(*s->longest));
    s->surprise = 2 * (double)sampling->mirostat_tau;
    *out = s;
}

void sampler_close(struct sampler *sampler)
{
    if (!sampler)
        return;
    free(sampler->n_generated);
    free(sampler->recent);
    free(sampler->heap);
    free(sampler->penalised);
    free(sampler->allowed);
    free(sampler->share);
    free(sampler->history);
    free(sampler->matches);
    free(sampler->longest);
    free(sampler);
}

void sampler_obey(struct sampler *sampler, struct matcher *matcher)
{
    sampler->matcher = matcher;
    if (matcher && !sampler->allowed)
        sampler->allowed =
            mem_array(((size_t)sampler->n_vocab + 31) / 32, sizeof(*sampler->allowed));
}

void sampler_speaks(struct sampler *sampler, const struct tokenizer *tokenizer)
{
    sampler->tokenizer = tokenizer;
}

void sampler_see(struct sampler *sampler, int32_t id, bool generated)
{
    if (id < 0 || id >= sampler->n_vocab)
        return;
    if (generated && sampler->n_generated[id] < UINT32_MAX)
        sampler->n_generated[id]++;
    sampler->n_generated_all += generated;
    if (sampler->sampling.dry_multiplier > 0)
        adjust_see(sampler, id);
    if (!sampler->recent)
        return;
    if (sampler->sampling.repeat_last_n < 0 &&
        (size_t)sampler->n_recent == sampler->recent_allocated) {
        sampler->recent_allocated *= 2;
        sampler->recent =
            mem_resize(sampler->recent, sampler->recent_allocated * sizeof(*sampler->recent));
        sampler->at_recent = sampler->n_recent;
    }
    const int32_t n = (int32_t)sampler->recent_allocated;
    sampler->recent[sampler->at_recent] = id;
    sampler->at_recent = (sampler->at_recent + 1) % n;
    if (sampler->n_recent < n)
        sampler->n_recent++;
}

// ---- candidates in falling order ----------------------------------------------------------------

// At equal logits the smaller id, for determinism.
bool scored_above(const struct scored *a, const struct scored *b)
{
    return a->logit != b->logit ? a->logit > b->logit : a->id < b->id;
}

static void sift_down(struct scored *heap, int32_t n, int32_t i)
{
    struct scored moved = heap[i];
    for (int64_t child = 2 * (int64_t)i + 1; child < n; child = 2 * (int64_t)i + 1) {
        if (child + 1 < n && scored_above(&heap[child + 1], &heap[child]))
            child++;
        if (!scored_above(&heap[child], &moved))
            break;
        heap[i] = heap[child];
        i = (int32_t)child;
    }
    heap[i] = moved;
}

// Moves the best of heap[0 .. n) to heap[n - 1]: after k calls with falling n the k best lie at the
// end, best last.
static void take_best(struct scored *heap, int32_t n)
{
    struct scored best = heap[0];
    heap[0] = heap[n - 1];
    sift_down(heap, n - 1, 0);
    heap[n - 1] = best;
}

// ---- the draw -----------------------------------------------------------------------------------

static int32_t draw(struct sampler *s, const struct scored *kept, int32_t n, float best)
{
    double sum = 0, temperature = (double)s->sampling.temperature;
    for (int32_t i = 0; i < n; i++)
        sum += exp(((double)kept[i].logit - (double)best) / temperature);
    double target = sampler_random(s) * sum, passed = 0;
    for (int32_t i = n - 1; i > 0; i--) { // best first
        passed += exp(((double)kept[i].logit - (double)best) / temperature);
        if (passed > target)
            return kept[i].id;
    }
    return kept[0].id;
}

// Picks among heap[0 .. n), in any order.
static int32_t sample(struct sampler *s, int32_t n, float best)
{
    const struct sampling *p = &s->sampling;
    int32_t limit = p->top_k > 0 && p->top_k < n ? p->top_k : n;
    bool by_share = p->top_p < 1, by_best = p->min_p > 0;
    if (limit == n && p->top_k == 0 && !by_share && !by_best)
        return draw(s, s->heap, n, best);
    for (int32_t i = n / 2 - 1; i >= 0; i--)
        sift_down(s->heap, n, i);
    double sum = 0, share = 0;
    if (p->top_k == 0)
        for (int32_t i = 0; i < n; i++)
            sum += exp((double)s->heap[i].logit - (double)best);
    int32_t n_kept = 0;
    for (int32_t k = 0; p->top_k > 0 && k < limit; k++) { // sum over what top-k leaves
        take_best(s->heap, n - k);
        sum += exp((double)s->heap[n - 1 - k].logit - (double)best);
    }
    for (; n_kept < limit; n_kept++) {
        if (p->top_k == 0)
            take_best(s->heap, n - n_kept);
        double weight = exp((double)s->heap[n - 1 - n_kept].logit - (double)best);
        if (n_kept > 0 && ((by_share && share >= (double)p->top_p * sum) ||
                           (by_best && weight < (double)p->min_p)))
            break;
        share += weight;
    }
    return draw(s, s->heap + n - n_kept, n_kept, best);
}

static enum status damaged(struct err *err, int32_t id, float logit)
{
    return err_set(err, BROKEN,
                   "the model's logit of token %d is %s: the weights or the device are damaged", id,
                   isnan(logit) ? "not a number" : "infinite");
}

// ---- the pick -----------------------------------------------------------------------------------

static int32_t choose(struct sampler *s, int32_t n, float best)
{
    return chain_is_needed(&s->sampling) ? chain_pick(s, n) : sample(s, n, best);
}

static enum status pick_of(struct sampler *s, const float *logits, int32_t *id, struct err *err)
{
    int32_t best = -1, n = 0;
    for (int32_t i = 0; i < s->n_vocab; i++) {
        if (isnan(logits[i]) || logits[i] == INFINITY)
            return damaged(err, i, logits[i]);
        if (logits[i] > -INFINITY && (best < 0 || logits[i] > logits[best]))
            best = i;
    }
    if (best < 0)
        return err_set(err, BROKEN, "none of the model's %d logits is finite", s->n_vocab);
    if (s->sampling.temperature > 0) {
        for (int32_t i = 0; i < s->n_vocab; i++)
            if (logits[i] > -INFINITY)
                s->heap[n++] = (struct scored){logits[i], i};
        best = choose(s, n, logits[best]);
    }
    *id = best;
    return OK;
}

// With a grammar first as if there were none: where it allows much, what is picked so is nearly
// always allowed, and a mask of the whole vocabulary would cost milliseconds; where it allows
// little, a mask costs little.
enum status sampler_pick(struct sampler *sampler, float *logits, int32_t *id, struct err *err)
{
    const double surprise = sampler->surprise;
    int32_t picked = -1;
    adjust_logits(sampler, logits);
    enum status status = pick_of(sampler, logits, &picked, err);
    if (status == OK && !adjust_allows(sampler, picked)) {
        sampler->surprise = surprise;
        status = adjust_mask(sampler, logits, err);
        if (status == OK)
            status = pick_of(sampler, logits, &picked, err);
    }
    if (status == OK)
        *id = picked;
    return status;
}

int32_t sampler_wants(const struct sampler *sampler)
{
    const struct sampling *p = &sampler->sampling;
    if (adjust_is_needed(p))
        return 0;            // any logit may change its place
    if (p->temperature <= 0) // the best that may be picked
        return sampler->matcher || adjust_bans_ends(sampler) ? TOP_K_MOST : 1;
    if (chain_is_needed(p) && !chain_begins_with_top_k(p))
        return 0;
    return p->top_k <= TOP_K_MOST ? p->top_k : 0;
}

enum status sampler_pick_top(struct sampler *sampler, const int32_t *ids, const float *logits,
                             int32_t n, int32_t *id, struct err *err)
{
    int32_t n_finite = 0, n_kept = 0;
    if (isnan(logits[0]) || logits[0] == INFINITY) // the largest come first, and NaN before them
        return damaged(err, ids[0], logits[0]);
    for (; n_finite < n && logits[n_finite] > -INFINITY; n_finite++)
        if (adjust_allows(sampler, ids[n_finite]))
            sampler->heap[n_kept++] = (struct scored){logits[n_finite], ids[n_finite]};
    if (n_finite == 0)
        return err_set(err, BROKEN, "none of the model's %d logits is finite", sampler->n_vocab);
    if (n_kept == 0)
        return AGAIN;
    const struct scored best = sampler->heap[0];
    *id = sampler->sampling.temperature > 0 ? choose(sampler, n_kept, best.logit) : best.id;
    return OK;
}
