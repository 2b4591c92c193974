// ops_heads.c - heads that differ from model to model (norms, gaps, parts that turn, widths, values
// within keys, gates), routers with biases and groups, layers of experts, and what is done to each
// number by itself.
#include "ops.h"

#include "../unit/formats.h"

#include <math.h>

// ---- op_rope_kv and op_attention ----------------------------------------------------------------

enum { ROWS = 300, PAGES = 2 };

struct heads {
    const char *name;
    int32_t n_head, n_head_kv, head_dim, head_dim_v, q_stride, first, n_rot;
    enum rope_pairs pairs;
    enum dtype cache;
    bool norms, v_norm;
    enum { V_OWN, V_OF_K, V_IS_K } v;
    enum { NO_GATE, GATE_COLUMNS, GATE_BESIDE_Q, GATE_HEADS } gate;
    float temperature;
};

// Tokens `at` .. at + n - 1 of one sequence: rows into the cache, and what they then see.
static void heads(struct heads h, int32_t at, int32_t n)
{
    static const int32_t own[PAGES] = {1, 0};
    int32_t pos[ROWS], row[ROWS], count[ROWS], turns[256];
    if (!case_open("heads %s, %s, %d at %d", h.name, dtype_name(h.cache), n, at))
        return;
    const int32_t total = at + n;
    for (int32_t t = 0; t < total; t++)
        pos[t] = 3 * t, row[t] = own[t / PAGE_ROWS] * PAGE_ROWS + t % PAGE_ROWS;
    for (int32_t t = 0; t < n; t++)
        count[t] = at + t + 1;
    struct rope rope = {.pairs = h.pairs, .n_rot = h.n_rot, .first = h.first};
    rope_turns(turns, &rope.magnitude, h.n_rot, &(struct rope_scaling){1e4f, 1});
    const int64_t q_cols = (int64_t)h.n_head * h.q_stride, k_cols = h.n_head_kv * h.head_dim,
                  v_cols = h.n_head_kv * h.head_dim_v, out_cols = h.n_head * h.head_dim_v;
    struct both *q = both_random(total, q_cols, 1), *k = both_random(total, k_cols, 1),
                *v = both_random(total, v_cols, 1), *qn = both_random(1, h.head_dim, 1),
                *kn = both_random(1, h.head_dim, 1), *tp = both_ints(pos, total),
                *tr = both_ints(row, total), *pages = both_ints(own, PAGES),
                *table = both_ints(NULL, n), *tc = both_ints(count, n),
                *tt = both_ints(turns, h.n_rot),
                *ck = both_cache(h.cache, PAGES * PAGE_ROWS, k_cols),
                *cv = both_cache(h.cache, PAGES * PAGE_ROWS, v_cols),
                *out = both_random(n, out_cols, 1),
                *gates = both_random(total, h.gate == GATE_HEADS ? h.n_head : out_cols, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        const struct tensor beside =
            h.gate == GATE_BESIDE_Q ? tensor_columns(&q->on[d], h.head_dim, q_cols - h.head_dim)
                                    : gates->on[d];
        const struct tensor q1 = tensor_rows(&q->on[d], at, n), gate1 = tensor_rows(&beside, at, n);
        rope.turns = &tt->on[d];
        record(d);
        op_rope_kv(ops_on[d], &(struct rope_kv){.q = &q->on[d],
                                                .k = &k->on[d],
                                                .v = h.v == V_OF_K   ? NULL
                                                     : h.v == V_IS_K ? &k->on[d]
                                                                     : &v->on[d],
                                                .pos = &tp->on[d],
                                                .row = &tr->on[d],
                                                .cache_k = &ck->on[d],
                                                .cache_v = h.v == V_OF_K ? NULL : &cv->on[d],
                                                .head_dim = h.head_dim,
                                                .rope = rope,
                                                .n_head = h.n_head,
                                                .q_stride = h.q_stride,
                                                .head_dim_v = h.head_dim_v,
                                                .q_norm = h.norms ? &qn->on[d] : NULL,
                                                .k_norm = h.norms ? &kn->on[d] : NULL,
                                                .v_norm = h.v_norm,
                                                .eps = 1e-6f,
                                                .temperature = h.temperature,
                                                .temperature_length = 70});
        op_attention(ops_on[d], &out->on[d], &q1, &ck->on[d], h.v == V_OF_K ? NULL : &cv->on[d],
                     &pages->on[d], &table->on[d], &tc->on[d],
                     &(struct attention){.n_head = h.n_head,
                                         .n_head_kv = h.n_head_kv,
                                         .head_dim = h.head_dim,
                                         .scale = 1 / sqrtf((float)h.head_dim),
                                         .head_dim_v = h.head_dim_v,
                                         .q_stride = h.q_stride,
                                         .gate = h.gate == NO_GATE ? NULL : &gate1,
                                         .gate_stride = h.gate == GATE_BESIDE_Q ? h.q_stride : 0,
                                         .gate_heads = h.gate == GATE_HEADS});
        submit(d);
    }
    compare(q, LIMIT_TRIGONOMETRY);
    compare(out, h.cache == DTYPE_F16 ? LIMIT_SOFTMAX_HALF : LIMIT_SOFTMAX_Q8_0);
    case_close();
}

static void heads_cases(void)
{
    enum { F16 = DTYPE_F16, Q8_0 = DTYPE_Q8_0 };
    static const struct heads cases[] = {
        {"qwen3", 8, 2, 128, 128, 128, 0, 128, ROPE_NEOX, F16, true, false, V_OWN, NO_GATE},
        {"qwen35", 4, 1, 256, 256, 512, 0, 64, ROPE_NEOX, F16, true, false, V_OWN, GATE_BESIDE_Q},
        {"gemma4", 4, 2, 64, 64, 64, 0, 64, ROPE_NEOX, F16, true, true, V_IS_K, NO_GATE},
        {"mla", 16, 1, 576, 512, 576, 512, 64, ROPE_NORM, F16, false, false, V_OF_K, NO_GATE},
        {"mla narrow", 4, 1, 96, 64, 96, 64, 32, ROPE_NORM, Q8_0, false, false, V_OF_K, NO_GATE},
        {"mla small", 4, 1, 80, 64, 80, 64, 16, ROPE_NORM, F16, false, false, V_OF_K, NO_GATE},
        {"wide keys", 4, 2, 192, 128, 192, 0, 64, ROPE_NEOX, F16, false, true, V_OWN, GATE_COLUMNS},
        {"mistral3", 8, 2, 128, 128, 128, 0, 128, ROPE_NORM, F16, false, false, V_OWN, NO_GATE,
         0.1f},
        {"mistral4", 8, 1, 192, 128, 192, 128, 64, ROPE_NORM, F16, false, false, V_OF_K, NO_GATE,
         0.1f},
        {"gated heads", 6, 3, 64, 64, 64, 0, 32, ROPE_NORM, Q8_0, true, true, V_OWN, GATE_HEADS},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        heads(cases[i], 0, 1), heads(cases[i], 290, 1), heads(cases[i], 60, 5);
        heads(cases[i], 0, 40), heads(cases[i], 100, 130);
    }
}

// ---- routers ------------------------------------------------------------------------------------

static void route(int64_t n_expert, int64_t n_used, int64_t n_tokens, struct route how, bool bias)
{
    if (!case_open("router %lld of %lld by %d, %lld tokens%s, %d of %d groups", (long long)n_used,
                   (long long)n_expert, how.score, (long long)n_tokens, bias ? ", bias" : "",
                   how.n_group_used, how.n_group))
        return;
    struct both *logits = both_random(n_tokens, n_expert, 2), *tb = both_random(1, n_expert, 0.2f),
                *id = both_tensor(DTYPE_I32, n_tokens, n_used, NULL),
                *weight = both_random(n_tokens, n_used, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        how.bias = bias ? &tb->on[d] : NULL;
        record(d);
        op_route(ops_on[d], &id->on[d], &weight->on[d], &logits->on[d], &how);
        submit(d);
    }
    compare_ints(id);
    compare(weight, LIMIT_SUMS);
    case_close();
}

// ---- layers of experts --------------------------------------------------------------------------

enum matrices { SEPARATE, FUSED, NO_GATE_AT_ALL };

static void layer(enum dtype type, int64_t n_tokens, enum matrices matrices,
                  enum activation activation, bool bias)
{
    enum { N_EXPERT = 12, N_USED = 4, N_IN = 512, N_FF = 256 };
    static const char *const names[] = {"gate and up", "fused", "no gate"};
    if (!case_open("layer of experts %s, %s, activation %d%s, %lld tokens", dtype_name(type),
                   names[matrices], activation, bias ? ", bias" : "", (long long)n_tokens))
        return;
    int32_t ids[600];
    const int64_t n = n_tokens * N_USED;
    for (int64_t i = 0; i < n; i++)
        ids[i] = (int32_t)((random_bits() % 3 + (uint32_t)(i % N_USED) * 3) % N_EXPERT);
    struct both *gate = both_experts(type, N_EXPERT, (matrices == FUSED ? 2 : 1) * N_FF, N_IN),
                *up = both_experts(type, N_EXPERT, N_FF, N_IN),
                *down = both_experts(type, N_EXPERT, N_IN, N_FF),
                *x = both_random(n_tokens, N_IN, 1), *norm = both_random(1, N_IN, 0.3f),
                *b = both_random(N_EXPERT, 2 * N_FF, 0.3f), *bd = both_random(N_EXPERT, N_IN, 0.3f),
                *id = both_tensor(DTYPE_I32, n_tokens, N_USED, ids),
                *weight = both_random(n_tokens, N_USED, 0.3f), *y = both_random(n, N_FF, 1),
                *other = both_random(n, N_FF, 1), *each = both_random(n, N_IN, 1),
                *out = both_random(n_tokens, N_IN, 1);
    const bool gated = matrices != NO_GATE_AT_ALL;
    for (int d = 0; d < N_DEVICES; d++) {
        const struct tensor bg = tensor_columns(&b->on[d], 0, N_FF),
                            bu = tensor_columns(&b->on[d], N_FF, N_FF);
        record(d);
        op_experts_glu(ops_on[d],
                       &(struct experts_glu){.out = &y->on[d],
                                             .w_gate = matrices == SEPARATE ? &gate->on[d] : NULL,
                                             .w_up = matrices == FUSED ? NULL : &up->on[d],
                                             .w_gate_up = matrices == FUSED ? &gate->on[d] : NULL,
                                             .bias_gate = bias && gated ? &bg : NULL,
                                             .bias_up = bias ? &bu : NULL,
                                             .id = &id->on[d],
                                             .scratch = gated ? &other->on[d] : NULL,
                                             .activation = activation},
                       &(struct matmul_x){&x->on[d], &norm->on[d], 1e-6f});
        op_experts_down(ops_on[d],
                        &(struct experts_down){&out->on[d], &out->on[d], &down->on[d],
                                               bias ? &bd->on[d] : NULL, &y->on[d], &id->on[d],
                                               &weight->on[d], &each->on[d]});
        submit(d);
    }
    const enum limit limit = block_size_of(type) > 1 ? LIMIT_BYTES
                             : n_tokens <= 8         ? LIMIT_SUMS
                                                     : LIMIT_HALF;
    compare(y, limit);
    compare(out, limit);
    case_close();
}

// ---- element by element -------------------------------------------------------------------------

static void elements(int64_t n_cols, int64_t n_rows, bool gaps)
{
    if (!case_open("element by element, %lld rows of %lld%s", (long long)n_rows, (long long)n_cols,
                   gaps ? " with gaps" : ""))
        return;
    const int64_t wide = n_cols + (gaps ? 8 : 0);
    struct both *x = both_random(n_rows, wide, 1), *y = both_random(n_rows, wide, 1),
                *w = both_random(1, n_cols, 1), *gate = both_random(n_rows, 2, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        struct compute *c = ops_on[d];
        const struct tensor a = tensor_columns(&x->on[d], gaps ? 4 : 0, n_cols),
                            b = tensor_columns(&y->on[d], gaps ? 4 : 0, n_cols);
        record(d);
        op_norm_add(c, &(struct norm_add){&a, &a, &w->on[d], &b, 1e-5f, 0.5f});
        op_layer_norm(c, &b, &b, &w->on[d], &w->on[d], 1e-5f);
        op_add(c, &a, 0.5f, &a, -2, &b);
        op_multiply(c, &b, &a, &b);
        op_gate_add(c, &a, &b, &a, &gate->on[d]);
        op_softcap(c, &b, &b, 4);
        op_rms_norm(c, &a, &a, NULL, 1e-5f);
        submit(d);
    }
    compare(x, LIMIT_SUMS);
    compare(y, LIMIT_SUMS);
    case_close();
}

void heads_and_layer_cases(void)
{
    heads_cases();
    for (enum route_score score = ROUTE_SOFTMAX; score <= ROUTE_SIGMOID; score++) {
        route(64, 6, 5, (struct route){score, true, 1}, true);
        route(512, 32, 3, (struct route){score, false, 2.5f}, true);
        route(256, 8, 40, (struct route){score, true, 1, .n_group = 8, .n_group_used = 4}, true);
        route(24, 4, 9, (struct route){score, true, 1, .n_group = 3, .n_group_used = 1}, false);
    }
    for (int64_t n = 1; n <= 100; n = n * 6 + 2) { // 1, 8, 50
        layer(DTYPE_Q4_K, n, SEPARATE, ACTIVATION_SILU, false);
        layer(DTYPE_Q4_K, n, FUSED, ACTIVATION_GELU, true);
        layer(DTYPE_MXFP4, n, SEPARATE, ACTIVATION_SWIGLU_OAI, true);
        layer(DTYPE_F16, n, NO_GATE_AT_ALL, ACTIVATION_RELU_SQUARE, false);
        layer(DTYPE_Q8_0, n, NO_GATE_AT_ALL, ACTIVATION_GELU_ERF, true);
    }
    elements(64, 3, true), elements(2880, 1, false), elements(130, 70, false);
    elements(1024, 9, true);
}

// Experts of 73 to 262 KB: one to four of them in 300 KiB.
void split_layers(void)
{
    for (int64_t n = 1; n <= 100; n = n * 6 + 2) {
        layer(DTYPE_Q4_K, n, SEPARATE, ACTIVATION_SILU, true);
        layer(DTYPE_Q4_K, n, FUSED, ACTIVATION_GELU, true);
        layer(DTYPE_F16, n, NO_GATE_AT_ALL, ACTIVATION_RELU_SQUARE, false);
    }
}
