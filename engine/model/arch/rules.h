// rules.h - lines that the tables of most architectures share: which tensors a layer has, by the
// names that files give them, and of what shape. A line holds for the layers that are made of all
// its .parts (arch.h); what is OPTIONAL may be missing there.
#pragma once

#include "../arch.h"

// clang-format off
#define EMBEDDING_RULES \
    {"token_embd.weight", MODEL(token_embd), MATRIX, N_EMBD, N_VOCAB}, \
    {"output_norm.weight", MODEL(output_norm), VECTOR, N_EMBD}, \
    {"output.weight", MODEL(output), MATRIX, N_EMBD, N_VOCAB, .parts = OPTIONAL} /* else tied */
#define ATTENTION_RULES \
    {"attn_norm.weight", LAYER(attn_norm), VECTOR, N_EMBD}, \
    PROJECTION_RULES
#define PROJECTION_RULES \
    {"attn_q.weight", LAYER(attn_q), MATRIX, N_EMBD, N_Q}, \
    {"attn_k.weight", LAYER(attn_k), MATRIX, N_EMBD, N_K}, \
    {"attn_v.weight", LAYER(attn_v), MATRIX, N_EMBD, N_V}, \
    {"attn_output.weight", LAYER(attn_output), MATRIX, N_ATT, N_EMBD}
#define QKV_BIAS_RULES(when) \
    {"attn_q.bias", LAYER(attn_q_bias), VECTOR, N_Q, .parts = when}, \
    {"attn_k.bias", LAYER(attn_k_bias), VECTOR, N_K, .parts = when}, \
    {"attn_v.bias", LAYER(attn_v_bias), VECTOR, N_V, .parts = when}
#define OUTPUT_BIAS_RULE \
    {"attn_output.bias", LAYER(attn_output_bias), VECTOR, N_EMBD, .parts = OPTIONAL}
#define HEAD_NORM_RULES(when) \
    {"attn_q_norm.weight", LAYER(attn_q_norm), VECTOR, HEAD_DIM, .parts = when}, \
    {"attn_k_norm.weight", LAYER(attn_k_norm), VECTOR, HEAD_DIM, .parts = when}
#define ROPE_FREQS_RULE \
    {"rope_freqs.weight", MODEL(rope_freqs), FACTORS, N_FREQS, .parts = OPTIONAL} /* Llama 3.1 */
#define FFN_NORM_RULE \
    {"ffn_norm.weight", LAYER(ffn_norm), VECTOR, N_EMBD}
#define FFN_RULES \
    {"ffn_gate.weight", LAYER(ffn_gate), MATRIX, N_EMBD, N_FF, .parts = PART_DENSE}, \
    {"ffn_up.weight", LAYER(ffn_up), MATRIX, N_EMBD, N_FF, .parts = PART_DENSE}, \
    {"ffn_down.weight", LAYER(ffn_down), MATRIX, N_FF, N_EMBD, .parts = PART_DENSE}
#define EXPERT_RULES \
    {"ffn_gate_inp.weight", LAYER(ffn_gate_inp), MATRIX, N_EMBD, N_EXPERT, .parts = PART_EXPERTS}, \
    {"ffn_gate_exps.weight", LAYER(ffn_gate_exps), \
     MATRIX, N_EMBD, N_FF_EXP, N_EXPERT, PART_EXPERTS}, \
    {"ffn_up_exps.weight", LAYER(ffn_up_exps), MATRIX, N_EMBD, N_FF_EXP, N_EXPERT, PART_EXPERTS}, \
    {"ffn_down_exps.weight", LAYER(ffn_down_exps), MATRIX, N_FF_EXP, N_EMBD, N_EXPERT, PART_EXPERTS}
#define EXPERT_BIAS_RULE(when) \
    {"exp_probs_b.bias", LAYER(exp_probs_b), VECTOR, N_EXPERT, .parts = PART_EXPERTS | when}
#define SHARED_RULES \
    {"ffn_gate_shexp.weight", LAYER(ffn_gate_shexp), \
     MATRIX, N_EMBD, N_FF_SHARED, .parts = PART_SHARED}, \
    {"ffn_up_shexp.weight", LAYER(ffn_up_shexp), \
     MATRIX, N_EMBD, N_FF_SHARED, .parts = PART_SHARED}, \
    {"ffn_down_shexp.weight", LAYER(ffn_down_shexp), \
     MATRIX, N_FF_SHARED, N_EMBD, .parts = PART_SHARED}
#define NEXTN_RULES \
    {"nextn.eh_proj.weight", LAYER(nextn_eh_proj), MATRIX, N_EMBD_2, N_EMBD, .parts = PART_NEXTN}, \
    {"nextn.enorm.weight", LAYER(nextn_enorm), VECTOR, N_EMBD, .parts = PART_NEXTN}, \
    {"nextn.hnorm.weight", LAYER(nextn_hnorm), VECTOR, N_EMBD, .parts = PART_NEXTN}, \
    {"nextn.shared_head_norm.weight", LAYER(nextn_norm), \
     VECTOR, N_EMBD, .parts = PART_NEXTN | OPTIONAL}, \
    {"nextn.embed_tokens.weight", LAYER(nextn_embd), \
     MATRIX, N_EMBD, N_VOCAB, .parts = PART_NEXTN | OPTIONAL}, \
    {"nextn.shared_head_head.weight", LAYER(nextn_output), \
     MATRIX, N_EMBD, N_VOCAB, .parts = PART_NEXTN | OPTIONAL}
// Qwen's hybrids: gated attention, or a gated delta net in its place.
#define HYBRID_RULES \
    {"attn_q.weight", LAYER(attn_q), MATRIX, N_EMBD, N_Q_GATED, .parts = PART_ATTENTION}, \
    {"attn_k.weight", LAYER(attn_k), MATRIX, N_EMBD, N_K, .parts = PART_ATTENTION}, \
    {"attn_v.weight", LAYER(attn_v), MATRIX, N_EMBD, N_V, .parts = PART_ATTENTION}, \
    {"attn_output.weight", LAYER(attn_output), MATRIX, N_ATT, N_EMBD, .parts = PART_ATTENTION}, \
    HEAD_NORM_RULES(PART_ATTENTION), \
    {"attn_qkv.weight", LAYER(attn_qkv), MATRIX, N_EMBD, N_CONV_CHANNELS, .parts = PART_DELTA}, \
    {"attn_gate.weight", LAYER(attn_gate), MATRIX, N_EMBD, D_INNER, .parts = PART_DELTA}, \
    {"ssm_conv1d.weight", LAYER(ssm_conv1d), \
     VECTOR, N_CONV, N_CONV_CHANNELS, .parts = PART_DELTA}, \
    {"ssm_dt.bias", LAYER(ssm_dt), \
     VECTOR, N_STATE_HEAD, .parts = PART_DELTA, .also = "ssm_dt"}, /* Ollama's files */ \
    {"ssm_a", LAYER(ssm_a), VECTOR, N_STATE_HEAD, .parts = PART_DELTA}, \
    {"ssm_norm.weight", LAYER(ssm_norm), VECTOR, D_STATE, .parts = PART_DELTA}, \
    {"ssm_out.weight", LAYER(ssm_out), MATRIX, D_INNER, N_EMBD, .parts = PART_DELTA}
// clang-format on

// qwen35.c: what its kinds and those after it have: which layers are delta nets, of what shape.
void qwen35_read(struct reader *r, struct hyper *h);
// granite.c: the scales and experts that all of Granite's kinds have.
void granite_read(struct reader *r, struct hyper *h);
