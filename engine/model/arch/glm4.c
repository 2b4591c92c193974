// glm4.c - GLM-4 and GLM-4.5 (Zhipu 2024, 2025), and MiniMax-M2 (2025), whose experts are chosen
// alike: part of each head is rotated; experts by sigmoid scores, with a bias for the choice alone
// (DeepSeek-V3 2024).
#include "rules.h"

// clang-format off
static const struct rule glm4_rules[] = {
    EMBEDDING_RULES,
    ATTENTION_RULES, QKV_BIAS_RULES(OPTIONAL),
    {"post_attention_norm.weight", LAYER(attn_post_norm), VECTOR, N_EMBD},
    FFN_NORM_RULE,
    {"ffn_up.weight", LAYER(ffn_up), MATRIX, N_EMBD, N_FF_2}, // gate, then up
    {"ffn_down.weight", LAYER(ffn_down), MATRIX, N_FF, N_EMBD},
    {"post_ffw_norm.weight", LAYER(ffn_post_norm), VECTOR, N_EMBD},
};
static const struct rule glm4moe_rules[] = {
    EMBEDDING_RULES,
    ATTENTION_RULES, QKV_BIAS_RULES(OPTIONAL), HEAD_NORM_RULES(OPTIONAL),
    {"post_attention_norm.weight", LAYER(ffn_norm), VECTOR, N_EMBD},
    FFN_RULES, EXPERT_RULES, EXPERT_BIAS_RULE(0), SHARED_RULES, NEXTN_RULES,
};
static const struct rule minimax_rules[] = {
    EMBEDDING_RULES,
    ATTENTION_RULES,
    {"attn_q_norm.weight", LAYER(attn_q_norm), VECTOR, N_Q},
    {"attn_k_norm.weight", LAYER(attn_k_norm), VECTOR, N_K},
    FFN_NORM_RULE, EXPERT_RULES, EXPERT_BIAS_RULE(0),
};
// clang-format on

static void read_glm4(struct reader *r, struct hyper *h)
{
    (void)r;
    h->ropes[ROPE_MAIN].pairs = ROPE_NORM;
    h->fused_ffn = true;
}

static void read_glm4moe(struct reader *r, struct hyper *h)
{
    h->ropes[ROPE_MAIN].pairs = ROPE_NEOX;
    h->route = (struct route){.score = ROUTE_SIGMOID, .normalise = true};
    reader_experts(r, h, true);
}

const struct arch arch_glm4 = {"glm4", RULES(glm4_rules), read_glm4, decoder_forward};
const struct arch arch_glm4moe = {"glm4moe", RULES(glm4moe_rules), read_glm4moe, decoder_forward};
const struct arch arch_minimax_m2 = {"minimax-m2", RULES(minimax_rules), read_glm4moe,
                                     decoder_forward};
