// gemma.c - Gemma 2 and 3 (Google 2024, 2025): embeddings times sqrt(n_embd), norms before and
// behind both blocks, GeGLU, a window in some layers. Gemma 2 caps scores and logits by tanh; Gemma
// 3 norms the heads of q and k instead, and its windowed layers turn by another base.
#include "rules.h"

#include <math.h>

// clang-format off
#define LAYER_RULES \
    ATTENTION_RULES, \
    {"post_attention_norm.weight", LAYER(attn_post_norm), VECTOR, N_EMBD}, \
    FFN_NORM_RULE, FFN_RULES, \
    {"post_ffw_norm.weight", LAYER(ffn_post_norm), VECTOR, N_EMBD}

static const struct rule gemma2_rules[] = {
    EMBEDDING_RULES,
    LAYER_RULES,
};
static const struct rule gemma3_rules[] = {
    EMBEDDING_RULES,
    LAYER_RULES, HEAD_NORM_RULES(0),
};
// clang-format on

static void read_gemma(struct reader *r, struct hyper *h, int32_t n_layer_27b)
{
    h->ropes[ROPE_MAIN].pairs = ROPE_NEOX;
    h->activation = ACTIVATION_GELU;
    h->embed_scale = sqrtf((float)h->n_embd);
    h->final_softcap = reader_float(r, "final_logit_softcapping", 0, 1e6, 0);
    if (h->n_layer == n_layer_27b) // the one size whose scale is not that of its heads
        h->attention_scale = 1 / sqrtf((float)h->n_embd / (float)h->layers[0].n_head);
    h->attention_scale = reader_float(r, "attention.scale", 0, 1e6, h->attention_scale);
}

static void read_gemma2(struct reader *r, struct hyper *h)
{
    read_gemma(r, h, 46);
    h->softcap = reader_float(r, "attn_logit_softcapping", 0, 1e6, 50);
    h->final_softcap = reader_float(r, "final_logit_softcapping", 0, 1e6, 30);
    reader_window(r, h, 2);
}

static void read_gemma3(struct reader *r, struct hyper *h)
{
    read_gemma(r, h, 62);
    h->ropes[ROPE_WINDOW] = h->ropes[ROPE_MAIN];
    h->ropes[ROPE_WINDOW].scaling = (struct rope_scaling){
        .freq_base = reader_float(r, "rope.freq_base_swa", 1, 1e12, 10000), .freq_scale = 1};
    reader_window(r, h, 6);
}

const struct arch arch_gemma2 = {"gemma2", RULES(gemma2_rules), read_gemma2, decoder_forward};
const struct arch arch_gemma3 = {"gemma3", RULES(gemma3_rules), read_gemma3, decoder_forward};
