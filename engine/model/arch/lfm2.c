// lfm2.c - LFM2 (Liquid AI 2025): most layers are short convolutions with gates, some attention
// with normed heads (told by the number of key heads, 0 in the others), each followed by a network
// or by experts chosen as DeepSeek-V3's are.
#include "rules.h"

// clang-format off
static const struct rule rules[] = {
    {"token_embd.weight", MODEL(token_embd), MATRIX, N_EMBD, N_VOCAB},
    {"token_embd_norm.weight", MODEL(output_norm), VECTOR, N_EMBD},
    {"output.weight", MODEL(output), MATRIX, N_EMBD, N_VOCAB, .parts = OPTIONAL},
    {"attn_norm.weight", LAYER(attn_norm), VECTOR, N_EMBD},
    {"attn_q.weight", LAYER(attn_q), MATRIX, N_EMBD, N_Q, .parts = PART_ATTENTION},
    {"attn_k.weight", LAYER(attn_k), MATRIX, N_EMBD, N_K, .parts = PART_ATTENTION},
    {"attn_v.weight", LAYER(attn_v), MATRIX, N_EMBD, N_V, .parts = PART_ATTENTION},
    {"attn_output.weight", LAYER(attn_output), MATRIX, N_ATT, N_EMBD, .parts = PART_ATTENTION},
    HEAD_NORM_RULES(PART_ATTENTION),
    {"shortconv.conv.weight", LAYER(shortconv_conv), VECTOR, N_CONV, N_EMBD, .parts = PART_CONV},
    {"shortconv.in_proj.weight", LAYER(shortconv_in_proj),
     MATRIX, N_EMBD, N_EMBD_3, .parts = PART_CONV},
    {"shortconv.out_proj.weight", LAYER(shortconv_out_proj),
     MATRIX, N_EMBD, N_EMBD, .parts = PART_CONV},
    FFN_NORM_RULE, FFN_RULES, EXPERT_RULES, EXPERT_BIAS_RULE(OPTIONAL),
};
// clang-format on

static void read(struct reader *r, struct hyper *h)
{
    h->ropes[ROPE_MAIN].pairs = ROPE_NEOX;
    h->n_conv = reader_int(r, "shortconv.l_cache", 2, CONV_MOST, REQUIRED);
    h->route = (struct route){.score = ROUTE_SOFTMAX, .normalise = true};
    reader_experts(r, h, false);
    for (int32_t i = 0; i < h->n_layer; i++)
        if (h->layers[i].n_head_kv == 0)
            layer_recurs(&h->layers[i], PART_CONV);
}

const struct arch arch_lfm2 = {"lfm2", RULES(rules), read, decoder_forward};
const struct arch arch_lfm2moe = {"lfm2moe", RULES(rules), read, decoder_forward};
