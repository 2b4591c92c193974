// muse_glimmer.c - Muse Glimmer: embeddings normed, norms before and behind both blocks, a gate on
// what attention gives; three of four layers have a window and know positions, the fourth neither.
#include "rules.h"

#include <math.h>

// clang-format off
static const struct rule rules[] = {
    EMBEDDING_RULES,
    ATTENTION_RULES, HEAD_NORM_RULES(0),
    {"attn_gate.weight", LAYER(attn_gate), MATRIX, N_EMBD, N_ATT},
    {"post_attention_norm.weight", LAYER(attn_post_norm), VECTOR, N_EMBD},
    FFN_NORM_RULE, FFN_RULES,
    {"post_ffw_norm.weight", LAYER(ffn_post_norm), VECTOR, N_EMBD},
};
// clang-format on

static void forward(const struct pass *p)
{
    embed_block(p);
    op_rms_norm(p->compute, &p->x, &p->x, NULL, p->h->eps);
    for (int32_t i = 0; i < p->h->n_layer; i++) {
        attention_block(p, i);
        ffn_block(p, i);
    }
}

static void read(struct reader *r, struct hyper *h)
{
    struct rope_hyper *rope = h->ropes;
    rope[ROPE_MAIN].pairs = ROPE_NORM;
    rope[ROPE_WINDOW] = rope[ROPE_MAIN];
    rope[ROPE_WINDOW].scaling.freq_base =
        reader_float(r, "rope.freq_base_swa", 1, 1e12, rope[ROPE_MAIN].scaling.freq_base);
    h->attention_gate = true;
    h->post_eps = 1e-8f;
    h->logit_scale = reader_float(r, "logit_scale", 0, 1e6, NAN);
    h->final_softcap = reader_float(r, "final_logit_softcapping", 0, 1e6, 0);
    for (int32_t i = 0; i < h->n_layer; i++)
        h->layers[i].rope = NO_ROPE;
    reader_window(r, h, 4);
}

const struct arch arch_muse_glimmer = {"muse-glimmer", RULES(rules), read, forward};
