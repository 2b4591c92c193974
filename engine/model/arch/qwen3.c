// qwen3.c - Qwen3 and Qwen2's mixture of experts (Qwen 2024, 2025): pairs half a head apart. Qwen3
// norms each head of q and k before it is rotated and has no biases; qwen2moe has biases, and a
// shared expert with a gate of its own.
#include "rules.h"

// clang-format off
static const struct rule qwen3_rules[] = {
    EMBEDDING_RULES,
    ATTENTION_RULES, HEAD_NORM_RULES(0),
    FFN_NORM_RULE, FFN_RULES,
    {"cls.output.weight", MODEL(cls_output), MATRIX, N_EMBD, N_CLS_OUT, .parts = OPTIONAL},
};
static const struct rule qwen3moe_rules[] = {
    EMBEDDING_RULES,
    ATTENTION_RULES, HEAD_NORM_RULES(0),
    FFN_NORM_RULE, EXPERT_RULES,
};
static const struct rule qwen2moe_rules[] = {
    EMBEDDING_RULES,
    ATTENTION_RULES, QKV_BIAS_RULES(0),
    FFN_NORM_RULE, EXPERT_RULES, SHARED_RULES,
    {"ffn_gate_inp_shexp.weight", LAYER(ffn_gate_inp_shexp), MATRIX, N_EMBD},
};
// clang-format on

static void read_qwen3(struct reader *r, struct hyper *h)
{
    (void)r;
    h->ropes[ROPE_MAIN].pairs = ROPE_NEOX;
    h->softmax_scores = true;
}

static void read_qwen3moe(struct reader *r, struct hyper *h)
{
    h->ropes[ROPE_MAIN].pairs = ROPE_NEOX;
    h->route = (struct route){.score = ROUTE_SOFTMAX, .normalise = true};
    reader_experts(r, h, true);
}

static void read_qwen2moe(struct reader *r, struct hyper *h)
{
    h->ropes[ROPE_MAIN].pairs = ROPE_NEOX;
    h->route = (struct route){.score = ROUTE_SOFTMAX};
    reader_experts(r, h, true);
    if (h->n_ff_shared == 0)
        reader_refuse(r, BAD_INPUT, "key '%s' is missing", r->key);
}

const struct arch arch_qwen3 = {"qwen3", RULES(qwen3_rules), read_qwen3, decoder_forward};
const struct arch arch_qwen3moe = {"qwen3moe", RULES(qwen3moe_rules), read_qwen3moe,
                                   decoder_forward};
const struct arch arch_qwen2moe = {"qwen2moe", RULES(qwen2moe_rules), read_qwen2moe,
                                   decoder_forward};
