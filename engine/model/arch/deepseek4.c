// deepseek4.c - DeepSeek-V4 (DeepSeek 2026): attention to the last positions and to rows that stand
// for 4 or for 128 earlier ones, of which the finer are chosen by an index; several residual
// streams that are mixed by balanced matrices; experts everywhere, which in the first layers the
// token tells.
#include "rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// clang-format off
#define HYPER_RULES(name, PLACE, field, n, scales) \
    {name "_fn.weight", PLACE(field.fn), MATRIX, N_STREAMS, n}, \
    {name "_scale.weight", PLACE(field.scale), VECTOR, scales}, \
    {name "_base.weight", PLACE(field.base), VECTOR, n}
#define COMPRESS_RULES(name, field, width, dim, when) \
    {name "_kv.weight", LAYER(field.kv), MATRIX, N_EMBD, width, .parts = when}, \
    {name "_gate.weight", LAYER(field.gate), MATRIX, N_EMBD, width, .parts = when}, \
    {name "_ape.weight", LAYER(field.ape), VECTOR, width, FAR_RATIO, .parts = when}, \
    {name "_norm.weight", LAYER(field.norm), VECTOR, dim, .parts = when}

static const struct rule rules[] = {
    {"token_embd.weight", MODEL(token_embd), MATRIX, N_EMBD, N_VOCAB},
    {"output_norm.weight", MODEL(output_norm), VECTOR, N_EMBD},
    {"output.weight", MODEL(output), MATRIX, N_EMBD, N_VOCAB},
    HYPER_RULES("output_hc", MODEL, output_hyper, N_STREAM, ONE),
    HYPER_RULES("hc_attn", LAYER, hyper, N_STREAMS_MIX, N_SCALES),
    {"attn_norm.weight", LAYER(attn_norm), VECTOR, N_EMBD},
    {"attn_q_a.weight", LAYER(attn_q_a), MATRIX, N_EMBD, N_LORA_Q},
    {"attn_q_a_norm.weight", LAYER(attn_q_a_norm), VECTOR, N_LORA_Q},
    {"attn_q_b.weight", LAYER(attn_q_b), MATRIX, N_LORA_Q, N_Q},
    {"attn_kv.weight", LAYER(attn_kv), MATRIX, N_EMBD, HEAD_DIM},
    {"attn_kv_a_norm.weight", LAYER(attn_kv_norm), VECTOR, HEAD_DIM},
    {"attn_sinks.weight", LAYER(attn_sinks), VECTOR, N_HEAD},
    {"attn_output_a.weight", LAYER(attn_output_a), MATRIX, N_OUT_HEADS, N_LORA_OUT},
    {"attn_output_b.weight", LAYER(attn_output_b), MATRIX, N_LORA_OUT, N_EMBD},
    COMPRESS_RULES("attn_compressor", compress, N_COMPRESS, HEAD_DIM, PART_FAR),
    {"indexer.proj.weight", LAYER(index_weight),
     MATRIX, N_EMBD, N_INDEX_HEAD, .parts = PART_CHOSEN},
    {"indexer.attn_q_b.weight", LAYER(index_q), MATRIX, N_LORA_Q, N_INDEX_Q, .parts = PART_CHOSEN},
    COMPRESS_RULES("indexer_compressor", index_compress, N_INDEX_COMPRESS, INDEX_DIM, PART_CHOSEN),
    HYPER_RULES("hc_ffn", LAYER, ffn_hyper, N_STREAMS_MIX, N_SCALES),
    FFN_NORM_RULE, EXPERT_RULES, EXPERT_BIAS_RULE(PART_ROUTED),
    {"ffn_gate_tid2eid.weight", LAYER(ffn_gate_tid2eid),
     EXPERTS, N_USED, N_VOCAB, .parts = PART_HASHED},
    SHARED_RULES,
};
// clang-format on

// What a number a layer is, which must be the same in all of them.
static float read_limit(struct reader *r, const char *name, float fallback)
{
    const struct gguf_value *value = gguf_find(r->gguf, reader_key(r, name));
    float limit, other;
    if (!value || r->status != OK)
        return fallback;
    if (value->type != GGUF_ARRAY)
        return reader_float(r, name, 0, 1e6, 0);
    if (value->item_type != GGUF_F32 || value->n_items < (uint64_t)r->n_layer) {
        reader_refuse(r, BAD_INPUT,
                      "key '%s': %llu items of type %u; expected a number of type %d "
                      "for each of %d layers",
                      r->key, (unsigned long long)value->n_items, value->item_type, GGUF_F32,
                      r->n_layer);
        return fallback;
    }
    memcpy(&limit, value->p, sizeof(limit));
    for (int32_t i = 1; i < r->n_layer; i++) {
        memcpy(&other, value->p + 4 * (size_t)i, sizeof(other));
        if (!(other == limit))
            reader_refuse(r, UNSUPPORTED,
                          "key '%s' is %g in layer %d, %g before; this build knows one for all",
                          r->key, (double)other, i, (double)limit);
    }
    return limit;
}

static void read_activation(struct reader *r, struct hyper *h)
{
    const float limit = read_limit(r, "swiglu_clamp_exp", 0),
                shared = read_limit(r, "swiglu_clamp_shexp", limit);
    if (r->status == OK && (limit != shared || (limit != 0 && limit != 10)))
        reader_refuse(r, UNSUPPORTED,
                      "keys '%s.swiglu_clamp_exp' and 'swiglu_clamp_shexp' are %g and %g; this "
                      "build knows 10, or 0 for none, in both",
                      r->arch->name, (double)limit, (double)shared);
    h->activation = limit == 0 ? ACTIVATION_SILU : ACTIVATION_SWIGLU_10;
}

// Layers of rows that stand for many positions turn with a base of their own and stretched, with
// cosines and sines as they are; the others plainly.
static void read_ropes(struct reader *r, struct hyper *h)
{
    struct rope_hyper *far = &h->ropes[ROPE_WINDOW];
    *far = h->ropes[ROPE_MAIN];
    far->scaling.freq_base = reader_float(r, "attention.compress_rope_freq_base", 1, 1e12, NAN);
    far->scaling.attn_factor =
        far->scaling.yarn ? 1 / (1 + 0.1f * logf(1 / far->scaling.freq_scale)) : 1;
    h->ropes[ROPE_MAIN].scaling =
        (struct rope_scaling){.freq_base = h->ropes[ROPE_MAIN].scaling.freq_base, .freq_scale = 1};
}

static void read_layers(struct reader *r, struct hyper *h)
{
    int32_t *ratios = mem_array((size_t)h->n_layer, sizeof(*ratios));
    const int32_t window = reader_int(r, "attention.sliding_window", 1, MAX_CTX, REQUIRED),
                  n_hashed = reader_int(r, "hash_layer_count", 0, MAX_LAYER, 0);
    reader_ints(r, "attention.compress_ratios", 0, COMPRESS_MOST, REQUIRED, ratios);
    for (int32_t i = 0; i < h->n_layer && r->status == OK; i++) {
        struct layer_hyper *layer = &h->layers[i];
        layer->window = window;
        layer->parts |= i < n_hashed ? PART_HASHED : PART_ROUTED;
        if (layer->n_head_kv != 1)
            reader_refuse(r, UNSUPPORTED,
                          "key '%s.attention.head_count_kv' is %d in layer %d; one head's keys are "
                          "the values of all",
                          r->arch->name, layer->n_head_kv, i);
        if (!(layer->parts & PART_EXPERTS) || !(layer->parts & PART_SHARED))
            reader_refuse(r, UNSUPPORTED,
                          "keys '%s.leading_dense_block_count' and 'expert_shared_count': layer %d "
                          "without experts, or without a shared one; all layers of this "
                          "architecture have them",
                          r->arch->name, i);
        if (ratios[i] == 0)
            continue;
        if (ratios[i] != far_ratios[FAR_FEW] && ratios[i] != far_ratios[FAR_MANY])
            reader_refuse(r, UNSUPPORTED,
                          "key '%s.attention.compress_ratios' is %d in layer %d; "
                          "this build knows 0, %d and %d",
                          r->arch->name, ratios[i], i, far_ratios[FAR_FEW], far_ratios[FAR_MANY]);
        layer->ratio = ratios[i];
        layer->rope = ROPE_WINDOW;
        layer->parts |= PART_FAR | (uint32_t)(far_overlaps(layer) ? PART_CHOSEN : 0);
    }
    free(ratios);
}

static void read_index(struct reader *r, struct hyper *h)
{
    const int32_t n_rot = h->ropes[ROPE_MAIN].n_rot;
    h->n_index_head = reader_int(r, "attention.indexer.head_count", 1, INDEX_HEADS_MOST, REQUIRED);
    h->index_dim = reader_int(r, "attention.indexer.key_length", 8, INDEX_DIM_MOST, REQUIRED);
    h->index_most = reader_int(r, "attention.indexer.top_k", 1, MAX_CTX, REQUIRED);
    h->index_block = far_ratios[FAR_FEW];
    if (r->status == OK && (h->index_dim % 8 != 0 || n_rot > h->index_dim))
        reader_refuse(r, UNSUPPORTED,
                      "key '%s.attention.indexer.key_length' is %d, of which %d turn; it must be a "
                      "multiple of 8 that holds them",
                      r->arch->name, h->index_dim, n_rot);
    if (h->n_ctx_train > INDEX_WORDS_MOST * 32 * h->index_block)
        h->n_ctx_train = INDEX_WORDS_MOST * 32 * h->index_block;
}

static void read(struct reader *r, struct hyper *h)
{
    enum { ROUNDS_MOST = 1000 };
    h->route = (struct route){
        .score = ROUTE_SOFTPLUS, .normalise = true, .scale = 1, .sum_least = 0x1p-14f};
    reader_experts(r, h, true);
    read_activation(r, h);
    read_ropes(r, h);
    read_layers(r, h);
    read_index(r, h);
    h->values_are_keys = true;
    h->n_lora_q = reader_int(r, "attention.q_lora_rank", 1, MAX_EMBD, REQUIRED);
    h->n_lora_out = reader_int(r, "attention.output_lora_rank", 1, MAX_EMBD, REQUIRED);
    h->n_out_group = reader_int(r, "attention.output_group_count", 1, MAX_HEAD, REQUIRED);
    h->n_stream = reader_int(r, "hyper_connection.count", 2, STREAMS_READ_MOST, REQUIRED);
    h->n_round = reader_int(r, "hyper_connection.sinkhorn_iterations", 1, ROUNDS_MOST, REQUIRED);
    h->stream_eps = reader_float(r, "hyper_connection.epsilon", 0, 1, NAN);
    for (int32_t i = 0; i < h->n_layer && r->status == OK; i++)
        if (h->layers[i].n_head % h->n_out_group != 0)
            reader_refuse(
                r, BAD_INPUT,
                "key '%s.attention.output_group_count': %d heads of layer %d in %d groups",
                r->arch->name, h->layers[i].n_head, i, h->n_out_group);
    if (r->status == OK && ((int64_t)h->n_stream * h->n_embd > MAX_EMBD ||
                            (int64_t)h->n_out_group * h->n_lora_out > MAX_EMBD))
        reader_refuse(r, UNSUPPORTED,
                      "%d streams of %d numbers, %d groups of %d; at most %d together", h->n_stream,
                      h->n_embd, h->n_out_group, h->n_lora_out, MAX_EMBD);
}

static void forward(const struct pass *p)
{
    streams_embed(p);
    for (int32_t i = 0; i < p->h->n_layer; i++) {
        const struct layer *w = &p->w->layers[i];
        streams_read(p, &w->hyper);
        far_block(p, i);
        streams_blend(p);
        streams_read(p, &w->ffn_hyper);
        experts_block(p, i);
        streams_blend(p);
    }
    streams_read(p, &p->w->output_hyper);
}

const struct arch arch_deepseek4 = {"deepseek4", RULES(rules), read, forward, .says_mtp = true};
