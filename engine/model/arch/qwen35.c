// qwen35.c - Qwen3.5, Qwen3.6 and Qwen3-Next (Qwen 2025, 2026): three of four layers are gated
// delta nets, the fourth attention whose result is gated; dense networks, or experts with a shared
// one that has a gate of its own. Of a head a part is rotated; its sections are one for text.
#include "rules.h"

#include <stdlib.h>

// clang-format off
#define OUTER_RULES \
    EMBEDDING_RULES, \
    {"attn_norm.weight", LAYER(attn_norm), VECTOR, N_EMBD}, \
    HYBRID_RULES, \
    {"post_attention_norm.weight", LAYER(ffn_norm), VECTOR, N_EMBD}, \
    FFN_RULES, EXPERT_RULES, SHARED_RULES, \
    {"ffn_gate_inp_shexp.weight", LAYER(ffn_gate_inp_shexp), \
     MATRIX, N_EMBD, .parts = PART_SHARED}, \
    NEXTN_RULES

static const struct rule qwen35_rules[] = {
    OUTER_RULES,
    {"ssm_beta.weight", LAYER(ssm_beta), MATRIX, N_EMBD, N_STATE_HEAD, .parts = PART_DELTA},
    {"ssm_alpha.weight", LAYER(ssm_alpha), MATRIX, N_EMBD, N_STATE_HEAD, .parts = PART_DELTA},
};
static const struct rule qwen3next_rules[] = {
    OUTER_RULES,
    {"ssm_ba.weight", LAYER(ssm_ba), MATRIX, N_EMBD, N_STATE_HEAD_2, .parts = PART_DELTA},
};
// clang-format on

void qwen35_read(struct reader *r, struct hyper *h)
{
    h->ropes[ROPE_MAIN].pairs = ROPE_NEOX;
    h->gate_in_q = true;
    reader_key(r, "rope.dimension_sections");
    reader_recurrent(r, h);
    if (r->status == OK && h->d_inner != h->n_state_head * h->d_state)
        reader_refuse(r, UNSUPPORTED,
                      "key '%s.ssm.inner_size': %d heads of %d numbers are not %d; keys and values "
                      "differ",
                      r->arch->name, h->n_state_head, h->d_state, h->d_inner);
    const int32_t interval = reader_int(r, "full_attention_interval", 1, MAX_LAYER, 4);
    int32_t *recurrent = mem_array((size_t)h->n_layer, sizeof(*recurrent));
    if (!reader_ints(r, "attention.recurrent_layers", 0, 1, 0, recurrent))
        for (int32_t i = 0; i < h->n_layer; i++)
            recurrent[i] = (i + 1) % interval != 0;
    for (int32_t i = 0; i < h->n_layer; i++)
        if (recurrent[i])
            layer_recurs(&h->layers[i], PART_DELTA);
    free(recurrent);
}

static void read_moe(struct reader *r, struct hyper *h)
{
    qwen35_read(r, h);
    h->route = (struct route){.score = ROUTE_SOFTMAX, .normalise = true};
    reader_experts(r, h, true);
}

// The first converters, until early 2026, left q, k, values and gates of a key head together.
static void read_next(struct reader *r, struct hyper *h)
{
    if (r->status == OK && gguf_find_tensor(r->gguf, "blk.0.ssm_in.weight"))
        reader_refuse(r, UNSUPPORTED,
                      "tensor 'blk.0.ssm_in.weight': this file was converted in the first way "
                      "there was for '%s', whose layers pack what later files have as attn_qkv and "
                      "attn_gate; take a later file of the model",
                      r->arch->name);
    read_moe(r, h);
    h->delta_grouped = true;
}

const struct arch arch_qwen35 = {"qwen35", RULES(qwen35_rules), qwen35_read, decoder_forward};
const struct arch arch_qwen35moe = {"qwen35moe", RULES(qwen35_rules), read_moe, decoder_forward};
const struct arch arch_qwen3next = {"qwen3next", RULES(qwen3next_rules), read_next,
                                    decoder_forward};
