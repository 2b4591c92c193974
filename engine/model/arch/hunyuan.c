// hunyuan.c - Hunyuan (Tencent 2024, 2025), dense and with experts: the heads of q and k are normed
// after they were rotated.
#include "rules.h"

// clang-format off
static const struct rule dense_rules[] = {
    EMBEDDING_RULES,
    ATTENTION_RULES, HEAD_NORM_RULES(0),
    FFN_NORM_RULE, FFN_RULES,
};
static const struct rule moe_rules[] = {
    EMBEDDING_RULES,
    ATTENTION_RULES, HEAD_NORM_RULES(0),
    FFN_NORM_RULE, EXPERT_RULES, SHARED_RULES,
};
// clang-format on

static void read_dense(struct reader *r, struct hyper *h)
{
    (void)r;
    h->ropes[ROPE_MAIN].pairs = ROPE_NEOX;
    h->norm_after_rope = true;
}

static void read_moe(struct reader *r, struct hyper *h)
{
    read_dense(r, h);
    h->route = (struct route){.score = ROUTE_SOFTMAX, .normalise = true};
    reader_experts(r, h, true);
}

const struct arch arch_hunyuan_dense = {"hunyuan-dense", RULES(dense_rules), read_dense,
                                        decoder_forward};
const struct arch arch_hunyuan_moe = {"hunyuan-moe", RULES(moe_rules), read_moe, decoder_forward};
