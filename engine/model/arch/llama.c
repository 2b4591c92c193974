// llama.c - the decoder that most others vary (Touvron et al. 2023): in each layer attention, then
// a gated feed-forward network or experts, both normed at their input. What is written here differs
// by data alone: which biases there are, which pairs are rotated and in which layers, which norm
// has which name.
#include "rules.h"

// clang-format off
static const struct rule llama_rules[] = {
    EMBEDDING_RULES, ROPE_FREQS_RULE,
    ATTENTION_RULES, QKV_BIAS_RULES(OPTIONAL), OUTPUT_BIAS_RULE,
    FFN_NORM_RULE, FFN_RULES, EXPERT_RULES,
};
static const struct rule qwen2_rules[] = {
    EMBEDDING_RULES,
    ATTENTION_RULES, QKV_BIAS_RULES(0), OUTPUT_BIAS_RULE,
    FFN_NORM_RULE, FFN_RULES,
};
static const struct rule smollm3_rules[] = {
    EMBEDDING_RULES,
    ATTENTION_RULES,
    FFN_NORM_RULE, FFN_RULES,
};
static const struct rule seed_oss_rules[] = {
    EMBEDDING_RULES,
    ATTENTION_RULES, QKV_BIAS_RULES(OPTIONAL), OUTPUT_BIAS_RULE,
    {"post_attention_norm.weight", LAYER(ffn_norm), VECTOR, N_EMBD},
    FFN_RULES,
};
static const struct rule ernie_rules[] = {
    EMBEDDING_RULES,
    ATTENTION_RULES, QKV_BIAS_RULES(OPTIONAL), OUTPUT_BIAS_RULE,
    FFN_NORM_RULE, FFN_RULES, EXPERT_RULES, EXPERT_BIAS_RULE(OPTIONAL), SHARED_RULES,
};
// clang-format on

static void read_llama(struct reader *r, struct hyper *h)
{
    h->ropes[ROPE_MAIN].pairs = ROPE_NORM;
    h->ropes[ROPE_MAIN].factors = true;
    h->route = (struct route){.score = ROUTE_SOFTMAX, .normalise = true}; // Mixtral's
    reader_experts(r, h, false);
}

// Mistral's later ways: a scale of its own, scores that grow with the position.
static void read_mistral3(struct reader *r, struct hyper *h)
{
    read_llama(r, h);
    h->attention_scale = reader_float(r, "attention.scale", 0, 1e6, 0);
    reader_temperature(r, h, "rope.scaling.original_context_length");
}

static void read_neox(struct reader *r, struct hyper *h)
{
    (void)r;
    h->ropes[ROPE_MAIN].pairs = ROPE_NEOX;
}

// Every fourth layer knows no positions.
static void read_smollm3(struct reader *r, struct hyper *h)
{
    (void)r;
    h->ropes[ROPE_MAIN].pairs = ROPE_NORM;
    for (int32_t i = 3; i < h->n_layer; i += 4)
        h->layers[i].rope = NO_ROPE;
}

static void read_ernie(struct reader *r, struct hyper *h)
{
    (void)r;
    h->ropes[ROPE_MAIN].pairs = ROPE_NORM;
}

static void read_ernie_moe(struct reader *r, struct hyper *h)
{
    h->ropes[ROPE_MAIN].pairs = ROPE_NORM;
    h->route = (struct route){.score = ROUTE_SOFTMAX, .normalise = true};
    reader_experts(r, h, true);
    const int32_t step = reader_int(r, "interleave_moe_layer_step", 1, MAX_LAYER, 1);
    for (int32_t i = 0; i < h->n_layer; i++)
        if ((i + 1) % step != 0)
            h->layers[i].parts = PART_ATTENTION | PART_DENSE;
}

const struct arch arch_llama = {"llama", RULES(llama_rules), read_llama, decoder_forward};
const struct arch arch_mistral3 = {"mistral3", RULES(llama_rules), read_mistral3, decoder_forward};
const struct arch arch_qwen2 = {"qwen2", RULES(qwen2_rules), read_neox, decoder_forward};
const struct arch arch_smollm3 = {"smollm3", RULES(smollm3_rules), read_smollm3, decoder_forward};
const struct arch arch_seed_oss = {"seed_oss", RULES(seed_oss_rules), read_neox, decoder_forward};
const struct arch arch_ernie4_5 = {"ernie4_5", RULES(ernie_rules), read_ernie, decoder_forward};
const struct arch arch_ernie4_5_moe = {"ernie4_5-moe", RULES(ernie_rules), read_ernie_moe,
                                       decoder_forward};
