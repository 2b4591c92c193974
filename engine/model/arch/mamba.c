// mamba.c - hybrids of Mamba-2 and attention: Granite 4 (IBM 2025), where a network follows each of
// them, and Nemotron-H (NVIDIA 2025), where a layer is one of the three; which, is told by the
// numbers of key heads and of the network's width, 0 in the layers without.
#include "rules.h"

// clang-format off
#define MIXER_RULES \
    {"attn_q.weight", LAYER(attn_q), MATRIX, N_EMBD, N_Q, .parts = PART_ATTENTION}, \
    {"attn_k.weight", LAYER(attn_k), MATRIX, N_EMBD, N_K, .parts = PART_ATTENTION}, \
    {"attn_v.weight", LAYER(attn_v), MATRIX, N_EMBD, N_V, .parts = PART_ATTENTION}, \
    {"attn_output.weight", LAYER(attn_output), MATRIX, N_ATT, N_EMBD, .parts = PART_ATTENTION}, \
    {"ssm_in.weight", LAYER(ssm_in), MATRIX, N_EMBD, N_MAMBA_IN, .parts = PART_MAMBA}, \
    {"ssm_conv1d.weight", LAYER(ssm_conv1d), \
     VECTOR, N_CONV, N_CONV_CHANNELS, .parts = PART_MAMBA}, \
    {"ssm_conv1d.bias", LAYER(ssm_conv1d_bias), \
     VECTOR, N_CONV_CHANNELS, .parts = PART_MAMBA | OPTIONAL}, \
    {"ssm_dt.bias", LAYER(ssm_dt), VECTOR, N_STATE_HEAD, .parts = PART_MAMBA}, \
    {"ssm_a", LAYER(ssm_a), VECTOR, ONE, N_STATE_HEAD, .parts = PART_MAMBA}, \
    {"ssm_d", LAYER(ssm_d), VECTOR, ONE, N_STATE_HEAD, .parts = PART_MAMBA}, \
    {"ssm_norm.weight", LAYER(ssm_norm), VECTOR, D_GROUP, N_GROUP, .parts = PART_MAMBA}, \
    {"ssm_out.weight", LAYER(ssm_out), MATRIX, D_INNER, N_EMBD, .parts = PART_MAMBA}

static const struct rule granite_rules[] = {
    EMBEDDING_RULES,
    {"attn_norm.weight", LAYER(attn_norm), VECTOR, N_EMBD},
    MIXER_RULES,
    FFN_NORM_RULE, FFN_RULES, EXPERT_RULES, SHARED_RULES,
};
static const struct rule nemotron_rules[] = {
    EMBEDDING_RULES,
    {"attn_norm.weight", LAYER(attn_norm), VECTOR, N_EMBD, .parts = PART_ATTENTION},
    {"attn_norm.weight", LAYER(attn_norm), VECTOR, N_EMBD, .parts = PART_MAMBA},
    {"attn_norm.weight", LAYER(ffn_norm), VECTOR, N_EMBD, .parts = PART_DENSE},
    {"attn_norm.weight", LAYER(ffn_norm), VECTOR, N_EMBD, .parts = PART_EXPERTS},
    MIXER_RULES,
    {"ffn_up.weight", LAYER(ffn_up), MATRIX, N_EMBD, N_FF, .parts = PART_DENSE},
    {"ffn_down.weight", LAYER(ffn_down), MATRIX, N_FF, N_EMBD, .parts = PART_DENSE},
    {"ffn_gate_inp.weight", LAYER(ffn_gate_inp), MATRIX, N_EMBD, N_EXPERT, .parts = PART_EXPERTS},
    EXPERT_BIAS_RULE(OPTIONAL),
    {"ffn_up_exps.weight", LAYER(ffn_up_exps), MATRIX, N_EMBD, N_FF_EXP, N_EXPERT, PART_EXPERTS},
    {"ffn_down_exps.weight", LAYER(ffn_down_exps),
     MATRIX, N_FF_EXP, N_EMBD, N_EXPERT, PART_EXPERTS},
    {"ffn_up_shexp.weight", LAYER(ffn_up_shexp), MATRIX, N_EMBD, N_FF_SHARED, .parts = PART_SHARED},
    {"ffn_down_shexp.weight", LAYER(ffn_down_shexp),
     MATRIX, N_FF_SHARED, N_EMBD, .parts = PART_SHARED},
};
// clang-format on

static void read_granite(struct reader *r, struct hyper *h)
{
    granite_read(r, h);
    reader_recurrent(r, h);
    const bool rotates = reader_bool(r, "rope.scaling.finetuned", true);
    for (int32_t i = 0; i < h->n_layer; i++) {
        h->layers[i].rope = rotates ? ROPE_MAIN : NO_ROPE;
        if (h->layers[i].n_head_kv == 0)
            layer_recurs(&h->layers[i], PART_MAMBA);
    }
}

static void read_nemotron(struct reader *r, struct hyper *h)
{
    h->activation = ACTIVATION_RELU_SQUARE;
    reader_key(r, "attention.layer_norm_epsilon"); // the same as that of the rms norm
    h->route = (struct route){.score = ROUTE_SIGMOID};
    reader_experts(r, h, false);
    reader_recurrent(r, h);
    for (int32_t i = 0; i < h->n_layer; i++) {
        struct layer_hyper *layer = &h->layers[i];
        const uint32_t network = layer->parts & (PART_DENSE | PART_EXPERTS | PART_SHARED);
        layer->rope = NO_ROPE;
        if (layer->n_ff > 0)
            layer->parts = network;
        else
            layer->parts = PART_ATTENTION | PART_KEYS;
        if (layer->n_ff == 0 && layer->n_head_kv == 0)
            layer_recurs(layer, PART_MAMBA);
    }
}

const struct arch arch_granitehybrid = {"granitehybrid", RULES(granite_rules), read_granite,
                                        decoder_forward};
const struct arch arch_nemotron_h = {"nemotron_h", RULES(nemotron_rules), read_nemotron,
                                     decoder_forward};
const struct arch arch_nemotron_h_moe = {"nemotron_h_moe", RULES(nemotron_rules), read_nemotron,
                                         decoder_forward};
