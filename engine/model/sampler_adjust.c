// sampler_adjust.c - what changes a row of logits before anything is chosen: tokens that may not be
// picked, bias, penalties, DRY.
//
// DRY (p-e-w 2024) looks at how the text ends: where the same tokens stood before, what followed
// them there loses, the more the longer they are. All such places are found in one pass over the
// history: matches[i] is how many tokens that end i tokens before the end are the same as those at
// the end (the Z function of the text read backwards). A breaker in the history is a token that
// equals none, so no match runs over it.
#include "sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HISTORY_MOST = 1 << 20 };
#define LOST_MOST 1e6 // far below every other logit, and finite

bool adjust_is_needed(const struct sampling *p)
{
    return p->repeat_penalty != 1 || p->presence_penalty != 0 || p->frequency_penalty != 0 ||
           p->dry_multiplier > 0 || p->n_biases > 0;
}

// ---- what may not be picked ---------------------------------------------------------------------

bool adjust_bans_ends(const struct sampler *s)
{
    return s->tokenizer && (s->sampling.ignore_eos || s->n_generated_all < s->sampling.min_tokens);
}

bool adjust_allows(struct sampler *s, int32_t id)
{
    if (adjust_bans_ends(s) && tokenizer_is_end(s->tokenizer, id))
        return false;
    return !s->matcher || matcher_allows(s->matcher, id);
}

static void apply_bans(const struct sampler *s, float *logits)
{
    for (int32_t id = 0; adjust_bans_ends(s) && id < s->n_vocab; id++)
        if (tokenizer_is_end(s->tokenizer, id) && !isnan(logits[id]))
            logits[id] = -INFINITY;
}

enum status adjust_mask(struct sampler *sampler, float *logits, struct err *err)
{
    if (!sampler->matcher)
        return OK;
    enum status status = matcher_mask(sampler->matcher, sampler->allowed, err);
    for (int32_t id = 0; id < sampler->n_vocab && status == OK; id++)
        if (!(sampler->allowed[id / 32] >> (id % 32) & 1) && !isnan(logits[id]))
            logits[id] = -INFINITY;
    return status;
}

static void apply_biases(const struct sampler *s, float *logits)
{
    for (size_t i = 0; i < s->sampling.n_biases; i++) {
        const struct token_bias *b = &s->sampling.biases[i];
        if (b->id >= 0 && b->id < s->n_vocab && logits[b->id] > -INFINITY)
            logits[b->id] += b->bias;
    }
}

// ---- penalties ----------------------------------------------------------------------------------

static void apply_penalties(struct sampler *s, float *logits)
{
    const struct sampling *p = &s->sampling;
    if (p->repeat_penalty != 1) {
        for (int32_t i = 0; i < s->n_recent; i++) { // each token once, however often it is there
            int32_t id = s->recent[i];
            if (s->penalised[id])
                continue;
            s->penalised[id] = 1;
            logits[id] =
                logits[id] > 0 ? logits[id] / p->repeat_penalty : logits[id] * p->repeat_penalty;
        }
        for (int32_t i = 0; i < s->n_recent; i++)
            s->penalised[s->recent[i]] = 0;
    }
    if (p->presence_penalty == 0 && p->frequency_penalty == 0)
        return;
    for (int32_t id = 0; id < s->n_vocab; id++)
        if (s->n_generated[id] > 0)
            logits[id] -= p->presence_penalty + (float)s->n_generated[id] * p->frequency_penalty;
}

// ---- DRY ----------------------------------------------------------------------------------------

static bool is_breaker(const struct sampler *s, int32_t id)
{
    static const struct bytes usual[] = {{(const uint8_t *)"\n", 1},
                                         {(const uint8_t *)":", 1},
                                         {(const uint8_t *)"\"", 1},
                                         {(const uint8_t *)"*", 1}};
    const struct bytes *breakers = s->sampling.dry_breakers;
    size_t n = s->sampling.n_dry_breakers;
    if (!s->tokenizer)
        return false;
    if (!breakers) {
        breakers = usual;
        n = COUNT_OF(usual);
    }
    const struct bytes text = tokenizer_decode(s->tokenizer, id);
    for (size_t i = 0; i < n; i++)
        if (breakers[i].n && text.n && memmem(text.p, text.n, breakers[i].p, breakers[i].n))
            return true;
    return false;
}

void adjust_see(struct sampler *s, int32_t id)
{
    if (s->n_history == HISTORY_MOST)
        return;
    if (s->n_history == s->history_allocated) {
        s->history_allocated = s->history_allocated ? 2 * s->history_allocated : 1024;
        const size_t n = (size_t)s->history_allocated;
        s->history = mem_resize(s->history, n * sizeof(*s->history));
        s->matches = mem_resize(s->matches, n * sizeof(*s->matches));
    }
    s->history[s->n_history++] = is_breaker(s, id) ? -1 : id;
}

// The token i before the end.
static int32_t back(const struct sampler *s, int32_t i)
{
    return s->history[s->n_history - 1 - i];
}

// matches[1 .. n), the last n tokens read backwards.
static void find_matches(struct sampler *s, int32_t n)
{
    int32_t *z = s->matches, left = 0,
            right = 0; // [left, right) is the match that reaches furthest
    for (int32_t i = 1; i < n; i++) {
        int32_t known = i < right ? z[i - left] : 0;
        known = known < right - i ? known : (i < right ? right - i : 0);
        while (i + known < n && back(s, known) >= 0 && back(s, known) == back(s, i + known))
            known++;
        z[i] = known;
        if (i + known > right) {
            left = i;
            right = i + known;
        }
    }
}

static void apply_dry(struct sampler *s, float *logits)
{
    const struct sampling *p = &s->sampling;
    int32_t n = p->dry_last_n < 0 || p->dry_last_n > s->n_history ? s->n_history : p->dry_last_n;
    if (p->dry_multiplier <= 0 || n < 2)
        return;
    find_matches(s, n);
    for (int32_t i = 1; i < n; i++) { // the longest match before each token that followed one
        const int32_t next = back(s, i - 1), length = s->matches[i];
        if (next >= 0 && length > s->longest[next])
            s->longest[next] = length;
    }
    for (int32_t i = 1; i < n; i++) {
        const int32_t next = back(s, i - 1), length = next < 0 ? 0 : s->longest[next];
        if (length == 0)
            continue;
        s->longest[next] = 0;
        if (length < p->dry_allowed_length)
            continue;
        const double lost =
            (double)p->dry_multiplier * pow((double)p->dry_base, length - p->dry_allowed_length);
        logits[next] -= (float)fmin(lost, LOST_MOST);
    }
}

void adjust_logits(struct sampler *sampler, float *logits)
{
    apply_bans(sampler, logits);
    apply_biases(sampler, logits);
    apply_penalties(sampler, logits);
    apply_dry(sampler, logits);
}
