// phi3.c - Phi-3 and Phi-4 (Microsoft 2024): q, k and v in one tensor, gate and up in one; contexts
// beyond the trained one by factors for each frequency (LongRoPE, Ding et al. 2024), one set for
// short contexts and one for long ones.
#include "rules.h"

// clang-format off
static const struct rule rules[] = {
    EMBEDDING_RULES,
    {"rope_factors_short.weight", MODEL(rope_short), FACTORS, N_FREQS, .parts = OPTIONAL},
    {"rope_factors_long.weight", MODEL(rope_long), FACTORS, N_FREQS, .parts = OPTIONAL},
    {"attn_norm.weight", LAYER(attn_norm), VECTOR, N_EMBD},
    {"attn_qkv.weight", LAYER(attn_qkv), MATRIX, N_EMBD, N_QKV},
    {"attn_qkv.bias", LAYER(attn_qkv_bias), VECTOR, N_QKV, .parts = OPTIONAL},
    {"attn_output.weight", LAYER(attn_output), MATRIX, N_ATT, N_EMBD},
    OUTPUT_BIAS_RULE,
    FFN_NORM_RULE,
    {"ffn_up.weight", LAYER(ffn_up), MATRIX, N_EMBD, N_FF_2}, // gate, then up
    {"ffn_down.weight", LAYER(ffn_down), MATRIX, N_FF, N_EMBD},
};
// clang-format on

static void read(struct reader *r, struct hyper *h)
{
    struct rope_hyper *rope = &h->ropes[ROPE_MAIN];
    rope->pairs = ROPE_NEOX;
    rope->factors = true;
    h->fused_qkv = h->fused_ffn = true;
    h->n_ctx_short =
        reader_int(r, "rope.scaling.original_context_length", 1, MAX_CTX, h->n_ctx_train);
    reader_key(r, "attention.sliding_window"); // llama.cpp leaves it out, as we do
}

const struct arch arch_phi3 = {"phi3", RULES(rules), read, decoder_forward};
