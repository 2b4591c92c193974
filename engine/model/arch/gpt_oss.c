// gpt_oss.c - gpt-oss (OpenAI 2025): biases everywhere, one learned sink a head in the softmax of
// attention, a window in every second layer, experts chosen by their logits before the softmax and
// a clamped SwiGLU.
#include "rules.h"

// clang-format off
static const struct rule rules[] = {
    EMBEDDING_RULES,
    ATTENTION_RULES, QKV_BIAS_RULES(0),
    {"attn_output.bias", LAYER(attn_output_bias), VECTOR, N_EMBD},
    {"attn_sinks.weight", LAYER(attn_sinks), VECTOR, N_HEAD},
    {"post_attention_norm.weight", LAYER(ffn_norm), VECTOR, N_EMBD},
    EXPERT_RULES,
    {"ffn_gate_inp.bias", LAYER(ffn_gate_inp_bias), VECTOR, N_EXPERT},
    {"ffn_gate_exps.bias", LAYER(ffn_gate_exps_bias), VECTOR, N_FF_EXP, N_EXPERT},
    {"ffn_up_exps.bias", LAYER(ffn_up_exps_bias), VECTOR, N_FF_EXP, N_EXPERT},
    {"ffn_down_exps.bias", LAYER(ffn_down_exps_bias), VECTOR, N_EMBD, N_EXPERT},
};
// clang-format on

static void read(struct reader *r, struct hyper *h)
{
    h->ropes[ROPE_MAIN].pairs = ROPE_NEOX;
    h->activation = ACTIVATION_SWIGLU_OAI;
    h->route = (struct route){.score = ROUTE_TOP_SOFTMAX};
    reader_experts(r, h, true);
    reader_window(r, h, 2);
}

const struct arch arch_gpt_oss = {"gpt-oss", RULES(rules), read, decoder_forward};
