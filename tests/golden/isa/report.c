// report.c - makes the backend compile what models of today ask of it, for the chip that
// RADV_FORCE_FAMILY names. capture.c writes the records; report.py makes tables of them.
//
// Nothing is listed here but shapes: every operation of compute.h is recorded for them as
// model/forward.c does, with every weight format and with the numbers of tokens that take other
// kernels, so what is compiled is what the backend would choose on that chip. Vocabularies and
// numbers of experts are smaller than the models': they steer no choice and cost memory.
//
// At the end one token is decoded with a 3B and an 8B model in Q4_K_M: "op NAME times N
// FORMAT=WEIGHTS
// ..." lines, each followed by the dispatches that it is made of.
#include "../../../engine/compute/compute.h"
#include "capture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shape {
    const char *name;
    int32_t n_embd, n_head, n_head_kv, head_dim, n_ff;
    int32_t n_expert, n_used; // 0: dense
    int32_t window;
    bool sinks, few_formats;
};
static const struct shape shapes[] = {
    {"3b", 2048, 16, 2, 128, 11008, 0, 0, 0, false, false},     // Qwen2.5-3B
    {"8b", 4096, 32, 8, 128, 14336, 0, 0, 0, false, true},      // Llama 3.1 8B
    {"30b-a3b", 2048, 32, 4, 128, 768, 32, 8, 0, false, true},  // Qwen3-30B-A3B
    {"20b-a4b", 2880, 64, 8, 64, 2880, 16, 4, 128, true, true}, // gpt-oss-20b
};
static const enum dtype formats[] = {
    DTYPE_F32,   DTYPE_F16,    DTYPE_BF16,    DTYPE_Q8_0,   DTYPE_Q4_0,  DTYPE_Q4_1,
    DTYPE_Q5_0,  DTYPE_Q5_1,   DTYPE_Q2_K,    DTYPE_Q3_K,   DTYPE_Q4_K,  DTYPE_Q5_K,
    DTYPE_Q6_K,  DTYPE_IQ4_NL, DTYPE_IQ4_XS,  DTYPE_MXFP4,
    DTYPE_TQ2_0, // TQ1_0 takes its kernels
    DTYPE_IQ1_S, DTYPE_IQ1_M,  DTYPE_IQ2_XXS, DTYPE_IQ2_XS, DTYPE_IQ2_S, DTYPE_IQ3_XXS,
    DTYPE_IQ3_S,
};
static const int32_t token_counts[] = {1, 2, 4, 8, 64, 512};
enum { TOKENS_MOST = 512, N_VOCAB = 16384, CACHE_ROWS = 8192, TENSORS_MOST = 64 };

static bool in_common_use(enum dtype type)
{
    return type == DTYPE_F16 || type == DTYPE_Q8_0 || type == DTYPE_Q4_K || type == DTYPE_Q6_K ||
           type == DTYPE_MXFP4;
}

static struct compute *compute;
static struct tensor held[TENSORS_MOST];
static int n_held;
static void *zeros; // what all weights are made of

static void must(enum status status, const struct err *err)
{
    if (status != OK)
        die("%s", err->text);
}

static const struct tensor *keep(struct tensor tensor)
{
    if (n_held == TENSORS_MOST)
        die("more than %d tensors", TENSORS_MOST);
    held[n_held] = tensor;
    return &held[n_held++];
}

static const struct tensor *rows(enum dtype type, int64_t n_rows, int64_t n_cols)
{
    struct tensor t;
    struct err err;
    must(compute_tensor(compute, &t, type, n_rows, n_cols, &err), &err);
    return keep(t);
}

static const struct tensor *weight(enum dtype type, int64_t n_rows, int64_t n_cols)
{
    struct tensor t;
    struct err err;
    must(compute_weight(compute, &t, type, n_rows, n_cols, zeros, &err), &err);
    return keep(t);
}

static const struct tensor *cache(enum dtype type, int64_t n_cols)
{
    struct tensor t;
    struct err err;
    must(compute_cache(compute, &t, type, CACHE_ROWS, n_cols, &err), &err);
    return keep(t);
}

static void free_to(int n)
{
    while (n_held > n)
        tensor_free(compute, &held[--n_held]);
}

static void begin(void)
{
    if (!compute_begin(compute, 0))
        die("a recording without a key was kept");
}

static void finish(void)
{
    struct err err;
    must(compute_finish(compute, &err), &err);
}

// One layer's matrices and the output's, made once a format.
struct weights {
    const struct tensor *q, *k, *o, *up, *down, *output;
};

static struct weights dense_weights(const struct shape *s, enum dtype type)
{
    int64_t n_q = (int64_t)s->n_head * s->head_dim, n_kv = (int64_t)s->n_head_kv * s->head_dim;
    return (struct weights){weight(type, n_q, s->n_embd),     weight(type, n_kv, s->n_embd),
                            weight(type, s->n_embd, n_q),     weight(type, s->n_ff, s->n_embd),
                            weight(type, s->n_embd, s->n_ff), weight(type, N_VOCAB, s->n_embd)};
}

static void dense(const struct shape *s, const struct weights *w, int32_t n)
{
    int64_t n_q = (int64_t)s->n_head * s->head_dim, n_kv = (int64_t)s->n_head_kv * s->head_dim;
    const struct tensor *x = rows(DTYPE_F32, n, s->n_embd), *q = rows(DTYPE_F32, n, n_q),
                        *k = rows(DTYPE_F32, n, n_kv), *v = rows(DTYPE_F32, n, n_kv),
                        *ff = rows(DTYPE_F32, n, s->n_ff), *other = rows(DTYPE_F32, n, s->n_ff),
                        *token = rows(DTYPE_I32, 1, n), *norm = rows(DTYPE_F32, 1, s->n_embd),
                        *bias = rows(DTYPE_F32, 1, n_q), *logits = rows(DTYPE_F32, n, N_VOCAB);
    const struct matmul qkv[] = {
        {q, w->q, bias, NULL}, {k, w->k, NULL, NULL}, {v, w->k, NULL, NULL}};
    const struct matmul_x normed = {x, norm, 1e-6f};
    begin();
    op_embed(compute, x, w->output, token, 1);
    op_matmul(compute, qkv, 3, &normed);
    op_matmul(compute, &(struct matmul){x, w->o, NULL, x}, 1, &(struct matmul_x){q, NULL, 0});
    for (enum activation a = ACTIVATION_SILU; a <= ACTIVATION_GELU; a++)
        op_matmul_glu(compute, &(struct matmul_glu){ff, w->up, w->up, other, a}, &normed);
    op_matmul(compute, &(struct matmul){x, w->down, NULL, x}, 1, &(struct matmul_x){ff, NULL, 0});
    op_matmul(compute, &(struct matmul){logits, w->output, NULL, NULL}, 1, &normed);
    finish();
}

static struct weights expert_weights(const struct shape *s, enum dtype type)
{
    return (struct weights){.up = weight(type, (int64_t)s->n_expert * s->n_ff, s->n_embd),
                            .down = weight(type, (int64_t)s->n_expert * s->n_embd, s->n_ff)};
}

static void experts(const struct shape *s, const struct weights *w, int32_t n)
{
    int64_t n_rows = (int64_t)n * s->n_used;
    const struct tensor *x = rows(DTYPE_F32, n, s->n_embd),
                        *gate = rows(DTYPE_F32, n_rows, s->n_ff),
                        *up = rows(DTYPE_F32, n_rows, s->n_ff),
                        *y = rows(DTYPE_F32, n_rows, s->n_embd),
                        *logits = rows(DTYPE_F32, n, s->n_expert),
                        *id = rows(DTYPE_I32, n, s->n_used), *share = rows(DTYPE_F32, n, s->n_used),
                        *bias = rows(DTYPE_F32, s->n_expert, s->n_ff),
                        *norm = rows(DTYPE_F32, 1, s->n_embd);
    begin();
    for (enum route_score score = ROUTE_SOFTMAX; score <= ROUTE_SIGMOID; score++)
        op_route(compute, id, share, logits, &(struct route){score, true, 1});
    op_matmul_experts(compute, &(struct matmul_experts){gate, w->up, bias, x, id, s->n_used});
    op_matmul_experts(compute, &(struct matmul_experts){up, w->up, NULL, x, id, s->n_used});
    op_glu(compute, gate, gate, up, ACTIVATION_SILU);
    op_matmul_experts(compute, &(struct matmul_experts){y, w->down, NULL, gate, id, 1});
    op_experts_sum(compute, x, x, y, share);
    const struct matmul_x normed = {x, norm, 1e-6f};
    op_experts_glu(compute,
                   &(struct experts_glu){.out = gate,
                                         .w_gate = w->up,
                                         .w_up = w->up,
                                         .bias_up = bias,
                                         .id = id,
                                         .scratch = up,
                                         .activation = ACTIVATION_SILU},
                   &normed);
    op_experts_glu(compute,
                   &(struct experts_glu){
                       .out = gate, .w_up = w->up, .id = id, .activation = ACTIVATION_RELU_SQUARE},
                   &normed);
    op_experts_down(compute, &(struct experts_down){x, x, w->down, NULL, gate, id, share, y});
    finish();
}

// What does not depend on the weights' format.
static void rest(const struct shape *s, enum dtype cache_type, int32_t n)
{
    int64_t n_q = (int64_t)s->n_head * s->head_dim, n_kv = (int64_t)s->n_head_kv * s->head_dim;
    int32_t counts[TOKENS_MOST];
    for (int32_t t = 0; t < n; t++)
        counts[t] = CACHE_ROWS / 2 + t;
    const struct tensor *x = rows(DTYPE_F32, n, s->n_embd), *q = rows(DTYPE_F32, n, n_q),
                        *k = rows(DTYPE_F32, n, n_kv), *v = rows(DTYPE_F32, n, n_kv),
                        *norm = rows(DTYPE_F32, 1, s->n_embd), *row = rows(DTYPE_I32, 1, n),
                        *pages = rows(DTYPE_I32, 1, CACHE_ROWS / PAGE_ROWS),
                        *table = rows(DTYPE_I32, 1, n), *count = rows(DTYPE_I32, 1, n),
                        *turns = rows(DTYPE_I32, 1, s->head_dim),
                        *sinks = rows(DTYPE_F32, 1, s->n_head),
                        *logits = rows(DTYPE_F32, n, N_VOCAB), *id = rows(DTYPE_I32, n, 40),
                        *value = rows(DTYPE_F32, n, 40), *cache_k = cache(cache_type, n_kv),
                        *cache_v = cache(cache_type, n_kv);
    tensor_write(compute, count, counts, (size_t)n * sizeof(*counts));
    const struct attention attention = {.n_head = s->n_head,
                                        .n_head_kv = s->n_head_kv,
                                        .head_dim = s->head_dim,
                                        .scale = 0.1f,
                                        .window = s->window,
                                        .sinks = s->sinks ? sinks : NULL};
    begin();
    for (enum rope_pairs pairs = ROPE_NORM; pairs <= ROPE_NEOX; pairs++)
        op_rope_kv(
            compute,
            &(struct rope_kv){
                q, k, v, row, row, cache_k, cache_v, s->head_dim, {pairs, s->head_dim, turns, 1}});
    op_attention(compute, q, q, cache_k, cache_v, pages, table, count, &attention);
    op_rms_norm(compute, x, x, norm, 1e-6f);
    op_layer_norm(compute, x, x, norm, norm, 1e-6f);
    op_add(compute, x, 1, x, 2, x);
    for (enum activation a = ACTIVATION_SILU; a < N_ACTIVATIONS; a++)
        op_glu(compute, x, x, x, a);
    op_gate_add(compute, x, x, x, x);
    op_softcap(compute, x, x, 30);
    op_rows(compute, x, x, row);
    op_top_k(compute, id, value, NULL, logits);
    finish();
    free_to(0);
}

// Heads of models whose keys and values are not alike, or stand under gates, or to whom their place
// matters.
struct heads {
    int32_t n_head, n_head_kv, head_dim, head_dim_v, q_stride, first, n_rot;
    bool norms, v_norm, in_keys, gate, alibi;
    int32_t around; // a window about the token
};
static const struct heads special[] = {
    {32, 4, 128, 128, 128, 0, 128, true, false, false, false},  // Qwen3
    {16, 2, 256, 256, 512, 0, 64, true, false, false, true},    // Qwen3.5: gates beside q
    {16, 8, 256, 256, 256, 0, 256, true, true, false, false},   // Gemma 4
    {20, 1, 576, 512, 576, 512, 64, false, false, true, false}, // GLM-4.7-Flash: MLA
    {16, 4, 192, 128, 192, 0, 64, false, false, false, false},
    {12, 12, 64, 64, 64, 0, 64, .alibi = true},   // jina-bert-v2
    {3, 1, 256, 256, 256, 0, 256, .around = 256}, // EmbeddingGemma
};

static void special_heads(const struct heads *h, enum dtype cache_type, int32_t n)
{
    const int64_t q_cols = (int64_t)h->n_head * h->q_stride, k_cols = h->n_head_kv * h->head_dim,
                  v_cols = h->n_head_kv * h->head_dim_v;
    int32_t counts[TOKENS_MOST];
    for (int32_t t = 0; t < n; t++)
        counts[t] = CACHE_ROWS / 2 + t;
    const struct tensor *q = rows(DTYPE_F32, n, q_cols), *k = rows(DTYPE_F32, n, k_cols),
                        *v = rows(DTYPE_F32, n, v_cols), *norm = rows(DTYPE_F32, 1, h->head_dim),
                        *row = rows(DTYPE_I32, 1, n),
                        *pages = rows(DTYPE_I32, 1, CACHE_ROWS / PAGE_ROWS),
                        *table = rows(DTYPE_I32, 1, n), *count = rows(DTYPE_I32, 1, n),
                        *turns = rows(DTYPE_I32, 1, h->n_rot),
                        *slopes = rows(DTYPE_F32, 1, h->n_head),
                        *out = rows(DTYPE_F32, n, (int64_t)h->n_head * h->head_dim_v),
                        *cache_k = cache(cache_type, k_cols),
                        *cache_v = h->in_keys ? NULL : cache(cache_type, v_cols);
    const struct tensor beside =
        tensor_columns(q, h->gate ? h->head_dim : 0, q_cols - (h->gate ? h->head_dim : 0));
    tensor_write(compute, count, counts, (size_t)n * sizeof(*counts));
    begin();
    op_rope_kv(compute, &(struct rope_kv){.q = q,
                                          .k = k,
                                          .v = h->in_keys ? NULL : v,
                                          .pos = row,
                                          .row = row,
                                          .cache_k = cache_k,
                                          .cache_v = cache_v,
                                          .head_dim = h->head_dim,
                                          .rope = {ROPE_NEOX, h->n_rot, turns, 1, h->first},
                                          .n_head = h->n_head,
                                          .q_stride = h->q_stride,
                                          .head_dim_v = h->head_dim_v,
                                          .q_norm = h->norms ? norm : NULL,
                                          .k_norm = h->norms ? norm : NULL,
                                          .v_norm = h->v_norm,
                                          .eps = 1e-6f});
    op_attention(compute, out, q, cache_k, cache_v, pages, table, count,
                 &(struct attention){.n_head = h->n_head,
                                     .n_head_kv = h->n_head_kv,
                                     .head_dim = h->head_dim,
                                     .scale = 0.1f,
                                     .head_dim_v = h->head_dim_v,
                                     .q_stride = h->q_stride,
                                     .gate = h->gate ? &beside : NULL,
                                     .gate_stride = h->q_stride,
                                     .alibi = h->alibi ? slopes : NULL,
                                     .pos = h->alibi || h->around > 0 ? row : NULL,
                                     .window = h->around});
    finish();
    free_to(0);
}

static void every(const struct shape *s)
{
    for (size_t f = 0; f < COUNT_OF(formats); f++) {
        int64_t block = dtype_block_elements(formats[f]);
        if (s->n_embd % block || s->n_ff % block || (s->few_formats && !in_common_use(formats[f])))
            continue;
        struct weights w = (s->n_expert ? expert_weights : dense_weights)(s, formats[f]);
        int mark = n_held;
        for (size_t i = 0; i < COUNT_OF(token_counts); i++) {
            (s->n_expert ? experts : dense)(s, &w, token_counts[i]);
            free_to(mark);
        }
        free_to(0);
    }
    for (size_t i = 0; i < COUNT_OF(token_counts); i++) {
        rest(s, DTYPE_F16, token_counts[i]);
        rest(s, DTYPE_Q8_0, token_counts[i]);
    }
}

// ---- recurrent layers ---------------------------------------------------------------------------

static void convolution(int64_t n_channels, int64_t n_conv, bool gates, const struct slots *slots,
                        int32_t n)
{
    const struct tensor *x = rows(DTYPE_F32, n, n_channels);
    op_conv(compute, &(struct conv){.out = rows(DTYPE_F32, n, n_channels),
                                    .x = x,
                                    .before = gates ? x : NULL,
                                    .after = gates ? x : NULL,
                                    .weight = rows(DTYPE_F32, n_channels, n_conv),
                                    .bias = gates ? NULL : rows(DTYPE_F32, 1, n_channels),
                                    .state = rows(DTYPE_F32, 2, (n_conv - 1) * n_channels),
                                    .slots = *slots,
                                    .silu = !gates});
}

// Qwen3.6-35B-A3B, Qwen3.6-27B; with a sigmoid as its gate Qwen3.8-Flash-Next
static void delta_rule(int32_t n_head, bool sigmoid, const struct slots *slots, int32_t n)
{
    enum { D = 128, N_HEAD_K = 16 };
    const struct tensor *k = rows(DTYPE_F32, n, N_HEAD_K * D),
                        *v = rows(DTYPE_F32, n, (int64_t)n_head * D),
                        *gates = rows(DTYPE_F32, n, n_head), *a = rows(DTYPE_F32, 1, n_head);
    op_delta_net(compute, &(struct delta_net){.out = rows(DTYPE_F32, n, (int64_t)n_head * D),
                                              .q = k,
                                              .k = k,
                                              .v = v,
                                              .alpha = gates,
                                              .beta = gates,
                                              .a = a,
                                              .dt_bias = a,
                                              .z = v,
                                              .norm = rows(DTYPE_F32, 1, D),
                                              .state = rows(DTYPE_F32, 2, (int64_t)n_head * D * D),
                                              .slots = *slots,
                                              .z_sigmoid = sigmoid,
                                              .n_head = n_head,
                                              .n_head_k = N_HEAD_K,
                                              .d_k = D,
                                              .d_v = D,
                                              .eps_length = 1e-6f,
                                              .eps = 1e-6f});
}

// Nemotron-3-Nano-30B-A3B, Granite 4.0 H
static void mamba(int32_t n_head, int32_t n_group, const struct slots *slots, int32_t n)
{
    enum { HEAD_DIM = 64, D_STATE = 128 };
    const int64_t n_x = (int64_t)n_head * HEAD_DIM;
    const struct tensor *x = rows(DTYPE_F32, n, n_x),
                        *b = rows(DTYPE_F32, n, (int64_t)n_group * D_STATE),
                        *dt = rows(DTYPE_F32, n, n_head), *a = rows(DTYPE_F32, 1, n_head);
    op_mamba2(compute, &(struct mamba2){.out = rows(DTYPE_F32, n, n_x),
                                        .x = x,
                                        .b = b,
                                        .c = b,
                                        .dt = dt,
                                        .a = a,
                                        .d = a,
                                        .dt_bias = a,
                                        .z = x,
                                        .norm = rows(DTYPE_F32, 1, n_x),
                                        .state = rows(DTYPE_F32, 2, n_x * D_STATE),
                                        .slots = *slots,
                                        .n_head = n_head,
                                        .n_group = n_group,
                                        .head_dim = HEAD_DIM,
                                        .d_state = D_STATE,
                                        .eps = 1e-5f});
}

static void recurrent(void)
{
    for (size_t i = 0; i < COUNT_OF(token_counts); i++) {
        const int32_t n = token_counts[i];
        const struct tensor *slot = rows(DTYPE_I32, 1, n);
        const struct slots slots = {slot, slot};
        begin();
        convolution(8192, 4, false, &slots, n);
        convolution(2048, 3, true, &slots, n); // LFM2
        delta_rule(32, false, &slots, n);
        delta_rule(48, false, &slots, n);
        mamba(64, 8, &slots, n);
        mamba(48, 1, &slots, n);
        finish();
        free_to(0);
    }
}

// Qwen3.8-Flash-Next: four streams, a table's block, attention to chosen blocks.
static void streams(int32_t n)
{
    enum { N = 2560, STREAMS = 4, ALL = STREAMS * N };
    const struct tensor *x = rows(DTYPE_F32, n, ALL), *y = rows(DTYPE_F32, n, N),
                        *slot = rows(DTYPE_I32, 1, n), *to = rows(DTYPE_F32, n, ALL);
    const struct slots slots = {slot, slot};
    op_group_norm(compute, to, x, rows(DTYPE_F32, 1, ALL), STREAMS, 1e-6f);
    op_streams_mix(compute, y, x, to, STREAMS);
    op_streams_add(compute, to, x, y, rows(DTYPE_F32, n, STREAMS));
    op_streams_gate(compute, to, y, x, x);
    delta_rule(48, true, &slots, n);
    op_conv(compute, &(struct conv){.out = to,
                                    .x = x,
                                    .weight = rows(DTYPE_F32, ALL, 4),
                                    .state = rows(DTYPE_F32, 2, 9 * ALL),
                                    .slots = slots,
                                    .silu = true,
                                    .dilation = 3});
}

static void chosen_blocks(enum dtype cache_type, int32_t n)
{
    enum { D = 256, N_HEAD = 24, N_HEAD_KV = 2, DIM = 128, HEADS = 4, BLOCK = 4, N_ROT = 64 };
    int32_t counts[TOKENS_MOST];
    for (int32_t t = 0; t < n; t++)
        counts[t] = CACHE_ROWS / 2 + t;
    const struct tensor *pages = rows(DTYPE_I32, 1, CACHE_ROWS / PAGE_ROWS),
                        *table = rows(DTYPE_I32, 1, n), *count = rows(DTYPE_I32, 1, n),
                        *chosen = rows(DTYPE_I32, n, CACHE_ROWS / BLOCK / 32),
                        *q = rows(DTYPE_F32, n, 2 * N_HEAD * D),
                        *out = rows(DTYPE_F32, n, N_HEAD * D),
                        *keys = rows(DTYPE_F16, CACHE_ROWS / BLOCK, DIM),
                        *k = cache(cache_type, N_HEAD_KV * D);
    const struct tensor gate = tensor_columns(q, D, (2 * N_HEAD - 1) * D);
    tensor_write(compute, count, counts, (size_t)n * sizeof(*counts));
    begin();
    op_index_keys(compute,
                  &(struct index_keys){.x = rows(DTYPE_F32, n, DIM),
                                       .raw = rows(DTYPE_F16, CACHE_ROWS, DIM),
                                       .keys = keys,
                                       .norm = rows(DTYPE_F32, 1, DIM),
                                       .pos = table,
                                       .row = table,
                                       .rope = {ROPE_NEOX, N_ROT, rows(DTYPE_I32, 1, N_ROT), 1},
                                       .block = BLOCK});
    op_index_choose(compute, &(struct index_choose){.chosen = chosen,
                                                    .q = rows(DTYPE_F32, n, HEADS * DIM),
                                                    .keys = keys,
                                                    .pages = pages,
                                                    .table = table,
                                                    .count = count,
                                                    .n_head = HEADS,
                                                    .block = BLOCK,
                                                    .n_most = 512});
    op_attention(compute, out, q, k, cache(cache_type, N_HEAD_KV * D), pages, table, count,
                 &(struct attention){.n_head = N_HEAD,
                                     .n_head_kv = N_HEAD_KV,
                                     .head_dim = D,
                                     .scale = 0.1f,
                                     .q_stride = 2 * D,
                                     .gate = &gate,
                                     .gate_stride = 2 * D,
                                     .chosen = chosen,
                                     .block = BLOCK});
    finish();
    free_to(0);
}

static void qwen4exp(void)
{
    for (size_t i = 0; i < COUNT_OF(token_counts); i++) {
        begin();
        streams(token_counts[i]);
        finish();
        free_to(0);
        chosen_blocks(DTYPE_F16, token_counts[i]);
        chosen_blocks(DTYPE_Q8_0, token_counts[i]);
    }
}

// DeepSeek-V4: four balanced streams, rows that stand for 4 and for 128 positions, of which those
// for 4 are chosen, attention to them, routing by the token.
static void balanced_streams(int32_t n)
{
    enum { N = 4096, STREAMS = 4, MIX = STREAMS * (2 + STREAMS), EXPERTS = 256, USED = 6 };
    const struct tensor *x = rows(DTYPE_F32, n, STREAMS * N), *y = rows(DTYPE_F32, n, N),
                        *weight = rows(DTYPE_F32, n, STREAMS * (1 + STREAMS)),
                        *id = rows(DTYPE_I32, n, USED), *w = rows(DTYPE_F32, n, USED),
                        *logits = rows(DTYPE_F32, n, EXPERTS);
    op_streams_read(compute, &(struct streams_read){.out = y,
                                                    .x = x,
                                                    .mix = rows(DTYPE_F32, n, MIX),
                                                    .scale = rows(DTYPE_F32, 1, 3),
                                                    .base = rows(DTYPE_F32, 1, MIX),
                                                    .weight = weight,
                                                    .n_stream = STREAMS,
                                                    .n_round = 20});
    op_streams_blend(compute, x, y, weight, STREAMS);
    op_route(compute, id, w, logits,
             &(struct route){.score = ROUTE_SOFTPLUS,
                             .scale = 1,
                             .hashed = rows(DTYPE_I32, 16, USED),
                             .token = rows(DTYPE_I32, 1, n)});
}

static void far_rows(enum dtype type, int32_t ratio, int32_t n)
{
    enum { D = 512, N_HEAD = 64, INDEX = 128, N_ROT = 64, FEW = 4 };
    const bool few = ratio == FEW;
    const int64_t wide = few ? 2 * D : D;
    int32_t counts[TOKENS_MOST];
    for (int32_t t = 0; t < n; t++)
        counts[t] = CACHE_ROWS / 2 + t;
    const struct tensor *pages = rows(DTYPE_I32, 1, CACHE_ROWS / PAGE_ROWS),
                        *table = rows(DTYPE_I32, 1, n), *count = rows(DTYPE_I32, 1, n),
                        *q = rows(DTYPE_F32, n, N_HEAD * D), *out = rows(DTYPE_F32, n, N_HEAD * D),
                        *pooled = rows(DTYPE_F32, n, D), *left = rows(DTYPE_F32, n, wide),
                        *raw = rows(DTYPE_F16, CACHE_ROWS, wide), *near = cache(type, D),
                        *far = cache(type, D), *chosen = rows(DTYPE_I32, n, CACHE_ROWS / FEW / 32);
    const struct rope rope = {ROPE_NORM, N_ROT, rows(DTYPE_I32, 1, N_ROT), 1, D - N_ROT, true};
    const struct tensor far_rows = tensor_rows(far, 0, CACHE_ROWS / ratio);
    tensor_write(compute, count, counts, (size_t)n * sizeof(*counts));
    begin();
    op_compress(compute,
                &(struct compress){pooled, left, left, raw, raw, rows(DTYPE_F32, ratio, wide),
                                   table, table, pages, table, ratio, few});
    op_rope_kv(compute, &(struct rope_kv){.k = pooled,
                                          .pos = table,
                                          .row = table,
                                          .cache_k = near,
                                          .head_dim = D,
                                          .rope = rope,
                                          .k_norm = rows(DTYPE_F32, 1, D)});
    op_rope_kv(compute, &(struct rope_kv){.q = out, .pos = table, .head_dim = D, .rope = rope});
    if (few)
        op_index_choose(compute,
                        &(struct index_choose){.chosen = chosen,
                                               .q = rows(DTYPE_F32, n, N_HEAD * INDEX),
                                               .keys = rows(DTYPE_F16, CACHE_ROWS / FEW, INDEX),
                                               .pages = pages,
                                               .table = table,
                                               .count = count,
                                               .weight = rows(DTYPE_F32, n, N_HEAD),
                                               .n_head = N_HEAD,
                                               .block = FEW,
                                               .n_most = 512});
    op_attention_far(compute,
                     &(struct attention_far){out, q, near, &far_rows, pages, pages, table, count,
                                             rows(DTYPE_F32, 1, N_HEAD), few ? chosen : NULL,
                                             N_HEAD, 128, ratio, 512, 0.05f});
    finish();
    free_to(0);
}

static void deepseek4(void)
{
    for (size_t i = 0; i < COUNT_OF(token_counts); i++) {
        begin();
        balanced_streams(token_counts[i]);
        finish();
        free_to(0);
        far_rows(DTYPE_F16, 4, token_counts[i]);
        far_rows(DTYPE_Q8_0, 128, token_counts[i]);
    }
}

// ---- one token of a Q4_K_M model ----------------------------------------------------------------

// Its rule for mixing formats: v and down in Q6_K in the first and the last eighth of the layers
// and in every third between, all else in Q4_K, the output in Q6_K.
static bool more_bits(int32_t layer, int32_t n_layer)
{
    return layer < n_layer / 8 || layer >= 7 * n_layer / 8 || (layer - n_layer / 8) % 3 == 2;
}

// times: of the layers are like this one. v_down: the format of the two mixed matrices.
static void decode_layer(const struct shape *s, enum dtype v_down, int32_t times)
{
    int64_t n_q = (int64_t)s->n_head * s->head_dim, n_kv = (int64_t)s->n_head_kv * s->head_dim;
    const struct tensor *x = rows(DTYPE_F32, 1, s->n_embd), *q = rows(DTYPE_F32, 1, n_q),
                        *k = rows(DTYPE_F32, 1, n_kv), *v = rows(DTYPE_F32, 1, n_kv),
                        *ff = rows(DTYPE_F32, 1, s->n_ff), *other = rows(DTYPE_F32, 1, s->n_ff),
                        *norm = rows(DTYPE_F32, 1, s->n_embd),
                        *w_q = weight(DTYPE_Q4_K, n_q, s->n_embd),
                        *w_k = weight(DTYPE_Q4_K, n_kv, s->n_embd),
                        *w_v = weight(v_down, n_kv, s->n_embd),
                        *w_o = weight(DTYPE_Q4_K, s->n_embd, n_q),
                        *up = weight(DTYPE_Q4_K, s->n_ff, s->n_embd),
                        *down = weight(v_down, s->n_embd, s->n_ff);
    const struct matmul qkv[] = {{q, w_q, NULL, NULL}, {k, w_k, NULL, NULL}, {v, w_v, NULL, NULL}};
    const struct matmul_x normed = {x, norm, 1e-6f};
    bool mixed = v_down != DTYPE_Q4_K;
    begin();
    printf("op qkv times %d q4_k=%lld q6_k=%lld\n", times,
           (long long)((n_q + (mixed ? 1 : 2) * n_kv) * s->n_embd),
           (long long)(mixed ? n_kv * s->n_embd : 0));
    op_matmul(compute, qkv, 3, &normed);
    printf("op out times %d q4_k=%lld\n", times, (long long)(n_q * s->n_embd));
    op_matmul(compute, &(struct matmul){x, w_o, NULL, x}, 1, &(struct matmul_x){q, NULL, 0});
    printf("op gate-up times %d q4_k=%lld\n", times, 2LL * s->n_ff * s->n_embd);
    op_matmul_glu(compute, &(struct matmul_glu){ff, up, up, other, ACTIVATION_SILU}, &normed);
    printf("op down times %d %s=%lld\n", times, mixed ? "q6_k" : "q4_k",
           (long long)s->n_ff * s->n_embd);
    op_matmul(compute, &(struct matmul){x, down, NULL, x}, 1, &(struct matmul_x){ff, NULL, 0});
    finish();
    free_to(0);
}

static void decode_attention(const struct shape *s, int32_t n_layer, int32_t n_seen)
{
    int64_t n_q = (int64_t)s->n_head * s->head_dim, n_kv = (int64_t)s->n_head_kv * s->head_dim;
    const struct tensor *q = rows(DTYPE_F32, 1, n_q), *k = rows(DTYPE_F32, 1, n_kv),
                        *v = rows(DTYPE_F32, 1, n_kv), *zero = rows(DTYPE_I32, 1, 1),
                        *pages = rows(DTYPE_I32, 1, CACHE_ROWS / PAGE_ROWS),
                        *count = rows(DTYPE_I32, 1, 1), *turns = rows(DTYPE_I32, 1, s->head_dim),
                        *cache_k = cache(DTYPE_F16, n_kv), *cache_v = cache(DTYPE_F16, n_kv);
    const struct attention attention = {
        .n_head = s->n_head, .n_head_kv = s->n_head_kv, .head_dim = s->head_dim, .scale = 0.1f};
    tensor_write(compute, count, &n_seen, sizeof(n_seen));
    begin();
    printf("op rope times %d\n", n_layer);
    op_rope_kv(compute, &(struct rope_kv){q,
                                          k,
                                          v,
                                          zero,
                                          zero,
                                          cache_k,
                                          cache_v,
                                          s->head_dim,
                                          {ROPE_NEOX, s->head_dim, turns, 1}});
    printf("op attention times %d f16=%lld\n", n_layer, (long long)(2 * n_kv * n_seen));
    op_attention(compute, q, q, cache_k, cache_v, pages, zero, count, &attention);
    finish();
    free_to(0);
}

static void decode(const struct shape *s, int32_t n_layer, int64_t n_vocab)
{
    int32_t n_more = 0;
    for (int32_t i = 0; i < n_layer; i++)
        n_more += more_bits(i, n_layer);
    printf("decode %s\n", s->name);
    capture_dispatches = true;
    decode_layer(s, DTYPE_Q4_K, n_layer - n_more);
    decode_layer(s, DTYPE_Q6_K, n_more);
    decode_attention(s, n_layer, 512);
    const struct tensor *x = rows(DTYPE_F32, 1, s->n_embd), *norm = rows(DTYPE_F32, 1, s->n_embd),
                        *logits = rows(DTYPE_F32, 1, N_VOCAB),
                        *output = weight(DTYPE_Q6_K, N_VOCAB, s->n_embd);
    begin();
    printf("op output times 1 q6_k=%lld\n", (long long)(n_vocab * s->n_embd));
    op_matmul(compute, &(struct matmul){logits, output, NULL, NULL}, 1,
              &(struct matmul_x){x, norm, 1e-6f});
    finish();
    free_to(0);
    capture_dispatches = false;
}

int main(int argc, char **argv)
{
    struct err err;
    const char *chip = getenv("RADV_FORCE_FAMILY");
    if (!chip)
        die("RADV_FORCE_FAMILY names the chip: gfx1150 or gfx1151");
    zeros = mem_array((size_t)N_VOCAB * 4096, 4);
    must(compute_open(&compute, &(struct compute_options){.device = "vulkan"}, &err), &err);
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        if (argc < 2 || strcmp(argv[1], shapes[i].name) == 0)
            every(&shapes[i]);
    for (size_t i = 0; i < COUNT_OF(special); i++)
        for (size_t n = 0; n < COUNT_OF(token_counts); n++) {
            special_heads(&special[i], DTYPE_F16, token_counts[n]);
            special_heads(&special[i], DTYPE_Q8_0, token_counts[n]);
        }
    if (argc < 2 || strcmp(argv[1], "recurrent") == 0)
        recurrent();
    if (argc < 2 || strcmp(argv[1], "qwen4exp") == 0)
        qwen4exp();
    if (argc < 2 || strcmp(argv[1], "deepseek4") == 0)
        deepseek4();
    decode(&shapes[0], 36, 151936);
    decode(&shapes[1], 32, 128256);
    compute_close(compute);
    return 0;
}
