// sampler.h - the sampler from the inside: sampler.c (the pick), sampler_adjust.c (what changes
// logits before it), sampler_chain.c (steps that choose among the candidates, in any order).
#pragma once

#include "parts.h"

struct scored {
    float logit;
    int32_t id;
};

struct sampler {
    struct sampling sampling;
    int32_t n_vocab;
    uint64_t random[4];
    uint32_t *n_generated; // [n_vocab]: how often each token was generated
    int32_t n_generated_all;
    int32_t *recent; // ring of the last repeat_last_n tokens; of all of them when that is < 0
    size_t recent_allocated;
    int32_t n_recent, at_recent;
    struct scored *heap;               // [n_vocab]: the candidates
    uint8_t *penalised;                // [n_vocab]: scratch, all 0 between calls
    const struct tokenizer *tokenizer; // NULL: none was given
    struct matcher *matcher;           // NULL: every token is allowed
    uint32_t *allowed;                 // [(n_vocab + 31) / 32]: scratch, with a matcher
    double *share;                     // [n_vocab]: scratch of the chain
    double surprise;                   // Mirostat's bound on it, in bits
    int32_t *history;                  // DRY: the text so far; a breaker is -1
    int32_t *matches;                  // [n_history]: scratch
    int32_t *longest;                  // [n_vocab]: scratch, all 0 between calls; with DRY
    int32_t n_history, history_allocated;
};

double sampler_random(struct sampler *sampler); // [0, 1)
bool scored_above(const struct scored *a, const struct scored *b);

// ---- sampler_adjust.c ---------------------------------------------------------------------------

bool adjust_is_needed(const struct sampling *sampling); // a logit may change
bool adjust_bans_ends(const struct sampler *sampler);
bool adjust_allows(struct sampler *sampler, int32_t id); // may it be picked now?
void adjust_see(struct sampler *sampler, int32_t id);    // DRY's history
// Ends that may not be picked become -infinity, then bias, penalties, DRY.
void adjust_logits(struct sampler *sampler, float *logits);
// What the grammar does not allow becomes -infinity.
MUST_USE enum status adjust_mask(struct sampler *sampler, float *logits, struct err *err);

// ---- sampler_chain.c ----------------------------------------------------------------------------

bool chain_is_needed(const struct sampling *sampling);
// Nothing before its top-k leaves out or moves a candidate, and there is one.
bool chain_begins_with_top_k(const struct sampling *sampling);
// Picks among heap[0 .. n), all finite, in any order.
int32_t chain_pick(struct sampler *sampler, int32_t n);
