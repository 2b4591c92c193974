// olmo2.c - OLMo 2 and 3 (Allen Institute for AI 2024, 2025): no norms before the blocks but behind
// them, and norms over all heads of q and of k. Layers with a window (OLMo 3) turn without YaRN.
#include "rules.h"

// clang-format off
static const struct rule rules[] = {
    EMBEDDING_RULES,
    PROJECTION_RULES,
    {"attn_q_norm.weight", LAYER(attn_q_norm), VECTOR, N_Q},
    {"attn_k_norm.weight", LAYER(attn_k_norm), VECTOR, N_K},
    {"post_attention_norm.weight", LAYER(attn_post_norm), VECTOR, N_EMBD},
    FFN_RULES,
    {"post_ffw_norm.weight", LAYER(ffn_post_norm), VECTOR, N_EMBD},
};
// clang-format on

static void read(struct reader *r, struct hyper *h)
{
    struct rope_hyper *rope = h->ropes;
    rope[ROPE_MAIN].pairs = ROPE_NEOX;
    rope[ROPE_WINDOW] = rope[ROPE_MAIN];
    rope[ROPE_WINDOW].scaling =
        (struct rope_scaling){.freq_base = rope[ROPE_MAIN].scaling.freq_base, .freq_scale = 1};
    reader_window(r, h, 4);
}

const struct arch arch_olmo2 = {"olmo2", RULES(rules), read, decoder_forward};
