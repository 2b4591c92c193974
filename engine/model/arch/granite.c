// granite.c - Granite 3 and 4 without recurrence (IBM 2024, 2025): a Llama whose embeddings,
// scores, logits and what each block adds are scaled by numbers of the file; with or without
// experts.
#include "rules.h"

#include <math.h>

// clang-format off
static const struct rule rules[] = {
    EMBEDDING_RULES, ROPE_FREQS_RULE,
    ATTENTION_RULES, QKV_BIAS_RULES(OPTIONAL), OUTPUT_BIAS_RULE,
    FFN_NORM_RULE, FFN_RULES, EXPERT_RULES, SHARED_RULES,
};
// clang-format on

void granite_read(struct reader *r, struct hyper *h)
{
    h->ropes[ROPE_MAIN].pairs = ROPE_NORM;
    h->embed_scale = reader_float(r, "embedding_scale", 0, 1e6, 1);
    h->residual_scale = reader_float(r, "residual_scale", 0, 1e6, 1);
    h->attention_scale = reader_float(r, "attention.scale", 0, 1e6, 0);
    h->logit_scale = 1 / reader_float(r, "logit_scale", 1e-6, 1e6, NAN);
    h->route = (struct route){.score = ROUTE_SOFTMAX, .normalise = true};
    reader_experts(r, h, false);
}

static void read_granite(struct reader *r, struct hyper *h)
{
    h->ropes[ROPE_MAIN].factors = true;
    granite_read(r, h);
}

const struct arch arch_granite = {"granite", RULES(rules), read_granite, decoder_forward};
const struct arch arch_granitemoe = {"granitemoe", RULES(rules), read_granite, decoder_forward};
