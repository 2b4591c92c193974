// llama.c - the decoder that most others vary (Touvron et al. 2023; Qwen2 2024): in each layer
// attention, then a gated feed-forward network, both normed at their input. What is written here
// differs by data alone: which biases there are, which pairs are rotated.
#include "../arch.h"

static void forward(const struct pass *p)
{
    embed_block(p);
    for (int32_t i = 0; i < p->h->n_layer; i++) {
        attention_block(p, i);
        ffn_block(p, i);
    }
}

// clang-format off
#define OUTER_RULES \
    {"token_embd.weight", MODEL(token_embd), MATRIX, N_EMBD, N_VOCAB}, \
    {"output_norm.weight", MODEL(output_norm), VECTOR, N_EMBD}, \
    {"output.weight", MODEL(output), MATRIX, N_EMBD, N_VOCAB, .parts = OPTIONAL} /* else tied */
#define LAYER_RULES \
    {"attn_norm.weight", LAYER(attn_norm), VECTOR, N_EMBD}, \
    {"attn_q.weight", LAYER(attn_q), MATRIX, N_EMBD, N_Q}, \
    {"attn_k.weight", LAYER(attn_k), MATRIX, N_EMBD, N_K}, \
    {"attn_v.weight", LAYER(attn_v), MATRIX, N_EMBD, N_V}, \
    {"attn_output.weight", LAYER(attn_output), MATRIX, N_ATT, N_EMBD}, \
    {"attn_output.bias", LAYER(attn_output_bias), VECTOR, N_EMBD, .parts = OPTIONAL}, \
    {"ffn_norm.weight", LAYER(ffn_norm), VECTOR, N_EMBD}, \
    {"ffn_gate.weight", LAYER(ffn_gate), MATRIX, N_EMBD, N_FF}, \
    {"ffn_up.weight", LAYER(ffn_up), MATRIX, N_EMBD, N_FF}, \
    {"ffn_down.weight", LAYER(ffn_down), MATRIX, N_FF, N_EMBD}

static const struct rule llama_rules[] = {
    OUTER_RULES,
    {"rope_freqs.weight", MODEL(rope_freqs), FACTORS, N_FREQS, .parts = OPTIONAL}, // Llama 3.1
    LAYER_RULES,
    {"attn_q.bias", LAYER(attn_q_bias), VECTOR, N_Q, .parts = OPTIONAL},
    {"attn_k.bias", LAYER(attn_k_bias), VECTOR, N_K, .parts = OPTIONAL},
    {"attn_v.bias", LAYER(attn_v_bias), VECTOR, N_V, .parts = OPTIONAL},
};
static const struct rule qwen2_rules[] = {
    OUTER_RULES,
    LAYER_RULES,
    {"attn_q.bias", LAYER(attn_q_bias), VECTOR, N_Q},
    {"attn_k.bias", LAYER(attn_k_bias), VECTOR, N_K},
    {"attn_v.bias", LAYER(attn_v_bias), VECTOR, N_V},
};
// clang-format on

static void read_llama(struct reader *r, struct hyper *h)
{
    (void)r;
    h->ropes[ROPE_MAIN].pairs = ROPE_NORM;
    h->ropes[ROPE_MAIN].factors = true;
}

static void read_qwen2(struct reader *r, struct hyper *h)
{
    (void)r;
    h->ropes[ROPE_MAIN].pairs = ROPE_NEOX;
}

const struct arch arch_llama = {"llama", RULES(llama_rules), read_llama, forward};
const struct arch arch_qwen2 = {"qwen2", RULES(qwen2_rules), read_qwen2, forward};
