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
// The encoder has two products behind its vector, where the file has them.
static const struct rule embedding_rules[] = {
    EMBEDDING_RULES,
    LAYER_RULES, HEAD_NORM_RULES(0),
    {"dense_2.weight", MODEL(dense_2), MATRIX, N_EMBD, N_DENSE_2, .parts = OPTIONAL},
    {"dense_3.weight", MODEL(dense_3), MATRIX, N_DENSE_3, N_EMBD, .parts = OPTIONAL},
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

// EmbeddingGemma (2025): Gemma 3 whose tokens see what follows them.
static void read_embedding(struct reader *r, struct hyper *h)
{
    const bool dense_2 = gguf_find_tensor(r->gguf, "dense_2.weight"),
               dense_3 = gguf_find_tensor(r->gguf, "dense_3.weight");
    read_gemma3(r, h);
    h->n_dense_2 = reader_int(r, "dense_2_feat_out", 1, MAX_EMBD, dense_2 ? REQUIRED : 0);
    h->n_dense_3 = reader_int(r, "dense_3_feat_in", 1, MAX_EMBD, dense_3 ? REQUIRED : 0);
    reader_key(r, "dense_2_feat_in");
    reader_key(r, "dense_3_feat_out");
    if (!h->sees_all)
        reader_refuse(r, UNSUPPORTED, "key '%s.attention.causal' must be false", r->arch->name);
    if (dense_2 != dense_3 || (dense_2 && h->n_dense_2 != h->n_dense_3))
        reader_refuse(r, BAD_INPUT,
                      "tensors 'dense_2.weight' and 'dense_3.weight' belong together: the first "
                      "gives %d numbers, the second takes %d",
                      h->n_dense_2, h->n_dense_3);
    if (!dense_2)
        h->n_dense_2 = h->n_dense_3 = 0;
}

const struct arch arch_gemma_embedding = {"gemma-embedding", RULES(embedding_rules), read_embedding,
                                          decoder_forward, .both_ways = true};
const struct arch arch_gemma2 = {"gemma2", RULES(gemma2_rules), read_gemma2, decoder_forward};
const struct arch arch_gemma3 = {"gemma3", RULES(gemma3_rules), read_gemma3, decoder_forward};
