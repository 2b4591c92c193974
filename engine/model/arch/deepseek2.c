// deepseek2.c - DeepSeek-V2 and V3 (2024), GLM-4.7-Flash, and Mistral Small 4: latent attention, a
// few dense layers, then experts of which one is taken by every token; files whose attn_kv_b is
// split into attn_k_b and attn_v_b.
#include "rules.h"

#include <math.h>

// clang-format off
static const struct rule rules[] = {
    EMBEDDING_RULES,
    {"attn_norm.weight", LAYER(attn_norm), VECTOR, N_EMBD},
    {"attn_q.weight", LAYER(attn_q), MATRIX, N_EMBD, N_Q_MLA, .parts = OPTIONAL}, // or these three
    {"attn_q_a.weight", LAYER(attn_q_a), MATRIX, N_EMBD, N_LORA_Q, .parts = OPTIONAL},
    {"attn_q_a_norm.weight", LAYER(attn_q_a_norm), VECTOR, N_LORA_Q, .parts = OPTIONAL},
    {"attn_q_b.weight", LAYER(attn_q_b), MATRIX, N_LORA_Q, N_Q_MLA, .parts = OPTIONAL},
    {"attn_kv_a_mqa.weight", LAYER(attn_kv_a_mqa), MATRIX, N_EMBD, N_KV_MLA},
    {"attn_kv_a_norm.weight", LAYER(attn_kv_a_norm), VECTOR, N_LORA_KV},
    {"attn_k_b.weight", LAYER(attn_k_b), MATRIX, HEAD_NOPE, N_LORA_KV, N_HEAD},
    {"attn_v_b.weight", LAYER(attn_v_b), MATRIX, N_LORA_KV, HEAD_V_MLA, N_HEAD},
    {"attn_output.weight", LAYER(attn_output), MATRIX, N_V_MLA, N_EMBD},
    FFN_NORM_RULE, FFN_RULES, EXPERT_RULES, EXPERT_BIAS_RULE(OPTIONAL), SHARED_RULES,
};
// clang-format on

static void forward(const struct pass *p)
{
    embed_block(p);
    for (int32_t i = 0; i < p->h->n_layer; i++) {
        mla_block(p, i);
        if (p->h->layers[i].parts & PART_EXPERTS)
            experts_block(p, i);
        else
            ffn_block(p, i);
    }
}

// The log of YaRN's factor enters the scale of scores in place of the rotation's magnitude.
static void read_scale(struct hyper *h)
{
    struct rope_scaling *rope = &h->ropes[ROPE_MAIN].scaling;
    const float log_factor = rope->yarn ? logf(1 / rope->freq_scale) : 0;
    // in the file: a tenth of the paper's number
    float mscale = 1 + h->yarn_log_multiplier * log_factor;
    if (h->yarn_log_multiplier !=
        0) { // read_yarn took it out once: undone, and all of it taken out
        rope->attn_factor *= 1 + 0.1f * h->yarn_log_multiplier * log_factor;
        rope->attn_factor /= 1 + 0.1f * log_factor;
    } else {
        mscale = rope->yarn ? 1 + 0.1f * log_factor : 1;
    }
    h->attention_scale = mscale * mscale / sqrtf((float)h->head_dim_mla);
}

static void read(struct reader *r, struct hyper *h)
{
    if (!reader_has(r, "attention.key_length_mla"))
        reader_refuse(r, UNSUPPORTED,
                      "key '%s.attention.key_length_mla' is missing: the file holds the keys and "
                      "values of a head in one tensor, attn_kv_b, as converters wrote them before "
                      "April 2025; this build reads files that were converted since",
                      r->arch->name);
    h->ropes[ROPE_MAIN].pairs = ROPE_NORM;
    h->n_lora_kv = reader_int(r, "attention.kv_lora_rank", 1, MAX_EMBD, REQUIRED);
    h->n_lora_q = reader_int(r, "attention.q_lora_rank", 0, MAX_EMBD, 0);
    h->head_dim_mla = reader_int(r, "attention.key_length_mla", 2, MAX_HEAD_DIM, REQUIRED);
    h->head_dim_v_mla = reader_int(r, "attention.value_length_mla", 1, MAX_HEAD_DIM, REQUIRED);
    h->ropes[ROPE_MAIN].n_rot = reader_int(r, "rope.dimension_count", 2, MAX_HEAD_DIM, REQUIRED);
    if (h->head_dim_mla <= h->ropes[ROPE_MAIN].n_rot)
        reader_refuse(r, BAD_INPUT,
                      "key '%s.rope.dimension_count': heads of %d dimensions, of which %d are "
                      "rotated",
                      r->arch->name, h->head_dim_mla, h->ropes[ROPE_MAIN].n_rot);
    h->route = (struct route){.score = ROUTE_SOFTMAX};
    reader_experts(r, h, false);
    for (int32_t i = 0; i < h->n_layer; i++) {
        struct layer_hyper *layer = &h->layers[i];
        layer->parts = (layer->parts & ~(uint32_t)(PART_ATTENTION | PART_KEYS)) | PART_MLA;
        layer->n_head_kv = 1;
        layer->head_dim = layer->head_dim_v = h->n_lora_kv + h->ropes[ROPE_MAIN].n_rot;
    }
    reader_temperature(r, h, "attention.temperature_length");
    if (r->status == OK)
        read_scale(h);
}

const struct arch arch_deepseek2 = {"deepseek2", RULES(rules), read, forward};
const struct arch arch_mistral4 = {"mistral4", RULES(rules), read, forward};
