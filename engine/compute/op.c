// op.c - the operations of compute.h: each one's shapes and types checked, then handed to the
// implementation.
//
// A mismatch is a programming error (die): shapes that come from a file are checked in
// model/weights.c long before. The checks cost nanoseconds an operation and keep every kernel below
// free of them. Values inside I32 tensors (tokens, rows, counts) are checked by the implementation
// where it reads them.
#include "backend.h"

static void want(bool holds, const char *op, const char *what)
{
    if (!holds)
        die("%s: %s", op, what);
}

static void want_recording(struct compute *compute, const char *op)
{
    want(compute->recording, op, "outside compute_begin and compute_finish");
    compute->n_ops++;
}

static bool same_shape(const struct tensor *a, const struct tensor *b)
{
    return a->n_rows == b->n_rows && a->n_cols == b->n_cols;
}

static bool is_vector(const struct tensor *a, enum dtype type, int64_t n)
{
    return a->type == type && a->n_rows == 1 && a->n_cols >= n;
}

void op_embed(struct compute *compute, const struct tensor *out, const struct tensor *token_embd,
              const struct tensor *token, float scale)
{
    want_recording(compute, "op_embed");
    want(out->type == DTYPE_F32 && dtype_known((uint32_t)token_embd->type), "op_embed", "types");
    want(out->n_cols == token_embd->n_cols && is_vector(token, DTYPE_I32, out->n_rows), "op_embed",
         "shapes");
    compute->backend->embed(compute, out, token_embd, token, scale);
}

static bool is_optional_vector(const struct tensor *a, int64_t n)
{
    return !a || is_vector(a, DTYPE_F32, n);
}

static bool is_floats(const struct tensor *a)
{
    return !a || a->type == DTYPE_F32;
}

static void norm(struct compute *compute, const struct norm *norm, const char *op)
{
    want_recording(compute, op);
    want(is_floats(norm->out) && is_floats(norm->x) && is_floats(norm->residual), op, "types");
    want(same_shape(norm->out, norm->x) &&
             (!norm->residual || same_shape(norm->out, norm->residual)) &&
             is_optional_vector(norm->weight, norm->x->n_cols) &&
             is_optional_vector(norm->bias, norm->x->n_cols),
         op, "shapes");
    compute->backend->norm(compute, norm);
}

void op_rms_norm(struct compute *compute, const struct tensor *out, const struct tensor *x,
                 const struct tensor *weight, float eps)
{
    norm(compute, &(struct norm){.out = out, .x = x, .weight = weight, .eps = eps, .scale = 1},
         "op_rms_norm");
}

void op_group_norm(struct compute *compute, const struct tensor *out, const struct tensor *x,
                   const struct tensor *weight, int32_t n_group, float eps)
{
    want(n_group > 0 && x->n_cols % n_group == 0, "op_group_norm", "groups");
    norm(compute,
         &(struct norm){
             .out = out, .x = x, .weight = weight, .eps = eps, .scale = 1, .n_group = n_group},
         "op_group_norm");
}

void op_norm_add(struct compute *compute, const struct norm_add *a)
{
    want(a->residual, "op_norm_add", "residual");
    norm(compute,
         &(struct norm){.out = a->out,
                        .x = a->x,
                        .weight = a->weight,
                        .residual = a->residual,
                        .eps = a->eps,
                        .scale = a->scale},
         "op_norm_add");
}

void op_layer_norm(struct compute *compute, const struct tensor *out, const struct tensor *x,
                   const struct tensor *weight, const struct tensor *bias, float eps)
{
    norm(compute,
         &(struct norm){.out = out,
                        .x = x,
                        .weight = weight,
                        .bias = bias,
                        .eps = eps,
                        .scale = 1,
                        .centred = true},
         "op_layer_norm");
}

static void want_matmul_x(const struct matmul_x *x, const char *op)
{
    want(x->x->type == DTYPE_F32, op, "type of x");
    want(!x->norm || is_vector(x->norm, DTYPE_F32, x->x->n_cols), op, "norm");
}

static void want_product(const struct tensor *out, const struct tensor *w, const struct tensor *x,
                         const char *op)
{
    want(dtype_known((uint32_t)w->type) && out->type == DTYPE_F32, op, "types");
    want(w->n_cols == x->n_cols && out->n_cols == w->n_rows && out->n_rows == x->n_rows, op,
         "shapes");
}

void op_matmul(struct compute *compute, const struct matmul *products, int n,
               const struct matmul_x *x)
{
    want_recording(compute, "op_matmul");
    want(n >= 1 && n <= 4, "op_matmul", "number of products");
    want_matmul_x(x, "op_matmul");
    for (int i = 0; i < n; i++) {
        const struct matmul *p = &products[i];
        want_product(p->out, p->w, x->x, "op_matmul");
        want(!p->bias || is_vector(p->bias, DTYPE_F32, p->out->n_cols), "op_matmul", "bias");
        want(!p->residual || (p->residual->type == DTYPE_F32 && same_shape(p->residual, p->out)),
             "op_matmul", "residual");
    }
    compute->backend->matmul(compute, products, n, x);
}

static void want_activation(enum activation activation, bool gate, const char *op)
{
    want(activation >= 0 && activation < N_ACTIVATIONS, op, "activation");
    want(gate || activation < ACTIVATION_SWIGLU_OAI, op, "this activation wants a gate");
}

void op_matmul_glu(struct compute *compute, const struct matmul_glu *glu, const struct matmul_x *x)
{
    want_recording(compute, "op_matmul_glu");
    want_matmul_x(x, "op_matmul_glu");
    want_activation(glu->activation, glu->w_gate, "op_matmul_glu");
    want_product(glu->out, glu->w_up, x->x, "op_matmul_glu");
    if (glu->w_gate) {
        want_product(glu->out, glu->w_gate, x->x, "op_matmul_glu");
        want(glu->scratch && glu->scratch->type == DTYPE_F32 && same_shape(glu->scratch, glu->out),
             "op_matmul_glu", "scratch");
    }
    want(is_optional_vector(glu->bias_up, glu->out->n_cols) &&
             is_optional_vector(glu->bias_gate, glu->out->n_cols) &&
             (glu->w_gate || !glu->bias_gate),
         "op_matmul_glu", "biases");
    compute->backend->matmul_glu(compute, glu, x);
}

static bool is_cache(const struct tensor *a)
{
    return a->type == DTYPE_F16 || a->type == DTYPE_Q8_0;
}

// Heads of `width` columns, `stride` numbers apart, in rows of n_cols.
static bool holds_heads(int64_t n_cols, int64_t n_head, int64_t stride, int64_t width)
{
    return n_head > 0 && stride >= width && (n_head - 1) * stride + width <= n_cols;
}

static void want_kept(const struct rope_kv *a)
{
    const int64_t n_head_kv = a->k->n_cols / a->head_dim,
                  n_tokens = a->q ? a->q->n_rows : a->k->n_rows;
    want(is_floats(a->k) && is_cache(a->cache_k), "op_rope_kv", "types of k");
    want(a->k->n_cols % a->head_dim == 0 && a->k->n_rows == n_tokens &&
             a->cache_k->n_cols == a->k->n_cols,
         "op_rope_kv", "shapes of k");
    want(a->row && is_vector(a->row, DTYPE_I32, n_tokens), "op_rope_kv", "row");
    if (!a->v) {
        want(!a->cache_v && !a->v_norm, "op_rope_kv", "a cache or a norm without v");
        return;
    }
    want(is_floats(a->v) && a->cache_v && a->cache_v->type == a->cache_k->type, "op_rope_kv",
         "types of v");
    want(a->v->n_cols == n_head_kv * a->head_dim_v && a->v->n_rows == n_tokens &&
             a->cache_v->n_cols == a->v->n_cols && a->cache_v->n_rows == a->cache_k->n_rows,
         "op_rope_kv", "shapes of v");
}

void op_rope_kv(struct compute *compute, const struct rope_kv *args)
{
    struct rope_kv a = *args;
    const int32_t head_dim = a.head_dim, n_rot = a.rope.n_rot;
    a.q_stride = a.q_stride ? a.q_stride : head_dim;
    a.head_dim_v = a.head_dim_v ? a.head_dim_v : head_dim;
    want_recording(compute, "op_rope_kv");
    want(head_dim > 0 && a.q_stride > 0 && is_floats(a.q) && (a.q || (a.k && !a.q_norm)),
         "op_rope_kv", "q");
    if (a.q) {
        a.n_head = a.n_head ? a.n_head : (int32_t)(a.q->n_cols / a.q_stride);
        want(holds_heads(a.q->n_cols, a.n_head, a.q_stride, head_dim), "op_rope_kv", "heads of q");
    }
    want(is_optional_vector(a.q_norm, head_dim) && is_optional_vector(a.k_norm, head_dim) &&
             (a.k || !a.k_norm),
         "op_rope_kv", "norms");
    want(a.k || (!a.v && !a.cache_k && !a.cache_v), "op_rope_kv", "values without keys");
    if (a.k)
        want_kept(&a);
    want(is_vector(a.pos, DTYPE_I32, a.q ? a.q->n_rows : a.k->n_rows), "op_rope_kv", "pos");
    want(n_rot >= 0 && n_rot % 2 == 0 && a.rope.first >= 0 && a.rope.first % 2 == 0 &&
             a.rope.first + n_rot <= head_dim &&
             (n_rot == 0 || is_vector(a.rope.turns, DTYPE_I32, n_rot)),
         "op_rope_kv", "rope");
    want(a.temperature == 0 || a.temperature_length > 0, "op_rope_kv", "temperature");
    compute->backend->rope_kv(compute, &a);
}

static void want_alibi(const struct attention *a, int64_t n_tokens)
{
    want(is_vector(a->alibi, DTYPE_F32, a->n_head) && a->pos &&
             is_vector(a->pos, DTYPE_I32, n_tokens),
         "op_attention", "alibi or pos");
    want(!a->sinks && !a->gate, "op_attention", "alibi beside sinks or a gate");
}

static void want_gate(const struct tensor *gate, const struct tensor *out,
                      const struct attention *a)
{
    want(
        gate->type == DTYPE_F32 && gate->n_rows == out->n_rows &&
            holds_heads(gate->n_cols, a->n_head, a->gate_stride, a->gate_heads ? 1 : a->head_dim_v),
        "op_attention", "gate");
}

static bool is_block(int32_t block)
{
    return block == 2 || block == 4 || block == 8;
}

// Bits for every block that a table of pages has.
static bool is_chosen(const struct tensor *chosen, int64_t n_tokens, const struct tensor *pages,
                      int32_t block)
{
    return is_block(block) && chosen->n_cols <= INDEX_WORDS_MOST && chosen->type == DTYPE_I32 &&
           chosen->n_rows == n_tokens && chosen->n_cols == pages->n_cols * PAGE_ROWS / block / 32 &&
           chosen->row_bytes == (size_t)chosen->n_cols * sizeof(int32_t);
}

static void want_chosen(const struct attention *a, int64_t n_tokens, const struct tensor *pages)
{
    want(is_chosen(a->chosen, n_tokens, pages, a->block), "op_attention", "chosen");
    want(!a->sinks && !a->alibi && !a->pos && a->window == 0, "op_attention", "beside chosen");
}

void op_attention(struct compute *compute, const struct tensor *out, const struct tensor *q,
                  const struct tensor *k, const struct tensor *v, const struct tensor *pages,
                  const struct tensor *table, const struct tensor *count,
                  const struct attention *attention)
{
    struct attention a = *attention;
    a.head_dim_v = a.head_dim_v ? a.head_dim_v : a.head_dim;
    a.q_stride = a.q_stride ? a.q_stride : a.head_dim;
    a.gate_stride = a.gate_heads ? 1 : a.gate_stride ? a.gate_stride : a.head_dim_v;
    want_recording(compute, "op_attention");
    want(a.n_head > 0 && a.n_head_kv > 0 && a.head_dim > 0 && a.n_head % a.n_head_kv == 0,
         "op_attention", "heads");
    want(out->type == DTYPE_F32 && q->type == DTYPE_F32 && is_cache(k) &&
             (!v || v->type == k->type),
         "op_attention", "types");
    want(holds_heads(q->n_cols, a.n_head, a.q_stride, a.head_dim) && out->n_rows == q->n_rows &&
             out->n_cols == (int64_t)a.n_head * a.head_dim_v &&
             k->n_cols == (int64_t)a.n_head_kv * a.head_dim,
         "op_attention", "shapes");
    want(v ? v->n_rows == k->n_rows && v->n_cols == (int64_t)a.n_head_kv * a.head_dim_v
           : a.head_dim_v <= a.head_dim,
         "op_attention", "values");
    want(pages->type == DTYPE_I32 && pages->n_rows >= 1 && pages->n_cols >= 1 &&
             is_vector(table, DTYPE_I32, q->n_rows) && is_vector(count, DTYPE_I32, q->n_rows),
         "op_attention", "pages, table or count");
    want(is_optional_vector(a.sinks, a.n_head), "op_attention", "sinks");
    want(a.window >= 0 && a.softcap >= 0, "op_attention", "window or softcap");
    if (a.gate)
        want_gate(a.gate, out, &a);
    if (a.chosen)
        want_chosen(&a, q->n_rows, pages);
    if (a.alibi)
        want_alibi(&a, q->n_rows);
    else if (a.pos)
        want(is_vector(a.pos, DTYPE_I32, q->n_rows) && a.window > 0 && !a.sinks, "op_attention",
             "pos");
    compute->backend->attention(compute, out, q, k, v, pages, table, count, &a);
}

static bool is_index(const struct tensor *keys, int64_t dim)
{
    return keys->type == DTYPE_F16 && keys->n_cols == dim && dim % 8 == 0 && dim <= INDEX_DIM_MOST;
}

void op_index_keys(struct compute *compute, const struct index_keys *a)
{
    const int64_t n_tokens = a->x->n_rows, dim = a->x->n_cols;
    want_recording(compute, "op_index_keys");
    want(is_floats(a->x) && is_index(a->raw, dim) && is_index(a->keys, dim) && is_block(a->block) &&
             a->raw->n_rows == a->keys->n_rows * a->block,
         "op_index_keys", "shapes");
    want(is_vector(a->norm, DTYPE_F32, dim) && is_vector(a->pos, DTYPE_I32, n_tokens) &&
             is_vector(a->row, DTYPE_I32, n_tokens),
         "op_index_keys", "norm, pos or row");
    want(a->rope.n_rot > 0 && a->rope.n_rot % 2 == 0 && a->rope.n_rot <= dim &&
             a->rope.first == 0 && is_vector(a->rope.turns, DTYPE_I32, a->rope.n_rot),
         "op_index_keys", "rope");
    compute->backend->index_keys(compute, a);
}

void op_index_choose(struct compute *compute, const struct index_choose *a)
{
    const int64_t n_tokens = a->q->n_rows, dim = a->keys->n_cols;
    want_recording(compute, "op_index_choose");
    want(is_floats(a->q) && is_index(a->keys, dim) && a->n_head > 0 &&
             a->n_head <= INDEX_HEADS_MOST && a->q->n_cols == a->n_head * dim && a->n_most > 0,
         "op_index_choose", "shapes");
    want(!a->weight || (is_floats(a->weight) && a->weight->n_rows == n_tokens &&
                        a->weight->n_cols == a->n_head),
         "op_index_choose", "weight");
    want(a->pages->type == DTYPE_I32 && a->pages->n_rows >= 1 &&
             is_vector(a->table, DTYPE_I32, n_tokens) && is_vector(a->count, DTYPE_I32, n_tokens) &&
             is_chosen(a->chosen, n_tokens, a->pages, a->block),
         "op_index_choose", "pages, table, count or chosen");
    compute->backend->index_choose(compute, a);
}

static bool is_pages(const struct tensor *pages)
{
    return pages->type == DTYPE_I32 && pages->n_rows >= 1 && pages->n_cols >= 1;
}

void op_compress(struct compute *compute, const struct compress *a)
{
    const int64_t n_tokens = a->x->n_rows, dim = a->out->n_cols, wide = a->overlap ? 2 * dim : dim;
    const struct tensor *const rows[] = {a->x, a->score}, *const raw[] = {a->raw_x, a->raw_score};
    want_recording(compute, "op_compress");
    want(is_floats(a->out) && a->out->n_rows == n_tokens && a->ratio >= 2 &&
             a->ratio <= COMPRESS_MOST,
         "op_compress", "out or ratio");
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        want(is_floats(rows[i]) && rows[i]->n_rows == n_tokens && rows[i]->n_cols == wide &&
                 raw[i]->type == DTYPE_F16 && raw[i]->n_cols == wide &&
                 raw[i]->n_rows == a->raw_x->n_rows,
             "op_compress", "shapes");
    want(a->place->type == DTYPE_F32 && a->place->n_rows == a->ratio && a->place->n_cols == wide,
         "op_compress", "place");
    want(is_pages(a->pages) && is_vector(a->table, DTYPE_I32, n_tokens) &&
             is_vector(a->pos, DTYPE_I32, n_tokens) && is_vector(a->row, DTYPE_I32, n_tokens),
         "op_compress", "pages, table, pos or row");
    compute->backend->compress(compute, a);
}

void op_attention_far(struct compute *compute, const struct attention_far *a)
{
    const int64_t n_tokens = a->q->n_rows, dim = a->near->n_cols;
    want_recording(compute, "op_attention_far");
    want(is_floats(a->q) && is_floats(a->out) && same_shape(a->q, a->out) && a->n_head > 0 &&
             a->q->n_cols == a->n_head * dim,
         "op_attention_far", "shapes");
    want(is_cache(a->near) && a->far->type == a->near->type && a->far->n_cols == dim &&
             a->ratio >= 2 && PAGE_ROWS % a->ratio == 0 && a->window > 0,
         "op_attention_far", "caches");
    want(is_pages(a->near_pages) && is_pages(a->far_pages) &&
             is_vector(a->table, DTYPE_I32, n_tokens) && is_vector(a->count, DTYPE_I32, n_tokens),
         "op_attention_far", "pages, table or count");
    want(is_optional_vector(a->sinks, a->n_head), "op_attention_far", "sinks");
    want(!a->chosen || (is_chosen(a->chosen, n_tokens, a->far_pages, a->ratio) && a->n_most >= 1),
         "op_attention_far", "chosen");
    compute->backend->attention_far(compute, a);
}

void op_rows(struct compute *compute, const struct tensor *out, const struct tensor *x,
             const struct tensor *row)
{
    want_recording(compute, "op_rows");
    want(out->type == DTYPE_F32 && x->type == DTYPE_F32, "op_rows", "types");
    want(out->n_cols == x->n_cols && is_vector(row, DTYPE_I32, out->n_rows), "op_rows", "shapes");
    compute->backend->rows(compute, out, x, row);
}

void op_copy(struct compute *compute, const struct tensor *to, const struct tensor *from)
{
    const size_t n_bytes = tensor_span(from);
    want_recording(compute, "op_copy");
    want(n_bytes == from->row_bytes * (size_t)from->n_rows && n_bytes == tensor_span(to) &&
             n_bytes == to->row_bytes * (size_t)to->n_rows,
         "op_copy", "gaps, or not as many bytes");
    want(n_bytes % 4 == 0 && n_bytes < (size_t)1 << 31, "op_copy", "bytes");
    if (n_bytes > 0)
        compute->backend->copy(compute, to, from, n_bytes);
}

void op_top_k(struct compute *compute, const struct tensor *id, const struct tensor *value,
              const struct tensor *total, const struct tensor *x)
{
    want_recording(compute, "op_top_k");
    want(id->type == DTYPE_I32 && value->type == DTYPE_F32 && x->type == DTYPE_F32, "op_top_k",
         "types");
    want(same_shape(id, value) && id->n_rows == x->n_rows && id->n_cols >= 1 &&
             id->n_cols <= TOP_K_MOST && id->n_cols <= x->n_cols,
         "op_top_k", "shapes");
    want(!total || (total->type == DTYPE_F32 && total->n_rows == x->n_rows && total->n_cols == 1),
         "op_top_k", "total");
    compute->backend->top_k(compute, id, value, total, x);
}

// ---- element by element -------------------------------------------------------------------------

static void elementwise(struct compute *compute, const struct elementwise *e, const char *op)
{
    const struct tensor *in[] = {e->x, e->y};
    want_recording(compute, op);
    want(is_floats(e->out) && is_floats(e->gate), op, "types");
    for (size_t i = 0; i < COUNT_OF(in); i++)
        want(!in[i] || (is_floats(in[i]) && same_shape(in[i], e->out)), op, "shapes");
    want(!e->gate || (e->gate->n_rows == e->out->n_rows && e->gate->n_cols > 0 &&
                      e->out->n_cols % e->gate->n_cols == 0),
         op, "gate");
    compute->backend->elementwise(compute, e);
}

void op_glu(struct compute *compute, const struct tensor *out, const struct tensor *gate,
            const struct tensor *up, enum activation activation)
{
    want_activation(activation, up, "op_glu");
    elementwise(compute, &(struct elementwise){ELEMENTWISE_GLU, out, gate, up, NULL, activation},
                "op_glu");
}

void op_add(struct compute *compute, const struct tensor *out, float a, const struct tensor *x,
            float b, const struct tensor *y)
{
    elementwise(compute, &(struct elementwise){ELEMENTWISE_ADD, out, x, y, .a = a, .b = b},
                "op_add");
}

void op_multiply(struct compute *compute, const struct tensor *out, const struct tensor *x,
                 const struct tensor *y)
{
    want(y, "op_multiply", "y");
    elementwise(compute, &(struct elementwise){ELEMENTWISE_MULTIPLY, out, x, y}, "op_multiply");
}

void op_gate_add(struct compute *compute, const struct tensor *out, const struct tensor *residual,
                 const struct tensor *x, const struct tensor *gate)
{
    want(gate, "op_gate_add", "gate");
    elementwise(compute, &(struct elementwise){ELEMENTWISE_GATE_ADD, out, x, residual, gate},
                "op_gate_add");
}

void op_softcap(struct compute *compute, const struct tensor *out, const struct tensor *x,
                float cap)
{
    want(cap > 0, "op_softcap", "cap");
    elementwise(compute, &(struct elementwise){ELEMENTWISE_SOFTCAP, out, x, .a = cap},
                "op_softcap");
}

// ---- several residual streams -------------------------------------------------------------------

static bool is_streams(const struct tensor *a, int64_t n_tokens, int64_t n, int64_t n_stream)
{
    return a->type == DTYPE_F32 && a->n_rows == n_tokens && n_stream > 0 &&
           a->n_cols == n * n_stream;
}

void op_streams_mix(struct compute *compute, const struct tensor *out, const struct tensor *x,
                    const struct tensor *gate, int32_t n_stream)
{
    want_recording(compute, "op_streams_mix");
    want(is_floats(out) && is_streams(x, out->n_rows, out->n_cols, n_stream) &&
             is_streams(gate, out->n_rows, out->n_cols, n_stream),
         "op_streams_mix", "shapes");
    compute->backend->streams(compute,
                              &(struct streams){STREAMS_MIX, out, x, NULL, gate, n_stream});
}

void op_streams_add(struct compute *compute, const struct tensor *out, const struct tensor *x,
                    const struct tensor *y, const struct tensor *weight)
{
    const int64_t n_stream = weight->n_cols;
    want_recording(compute, "op_streams_add");
    want(is_floats(y) && is_streams(x, y->n_rows, y->n_cols, n_stream) &&
             is_streams(out, y->n_rows, y->n_cols, n_stream) &&
             is_streams(weight, y->n_rows, 1, n_stream),
         "op_streams_add", "shapes");
    compute->backend->streams(compute,
                              &(struct streams){STREAMS_ADD, out, x, y, weight, (int32_t)n_stream});
}

void op_streams_gate(struct compute *compute, const struct tensor *out, const struct tensor *y,
                     const struct tensor *x, const struct tensor *z)
{
    const int64_t n_stream = y->n_cols > 0 ? out->n_cols / y->n_cols : 0;
    want_recording(compute, "op_streams_gate");
    want(is_floats(y) && is_streams(out, y->n_rows, y->n_cols, n_stream) &&
             is_streams(x, y->n_rows, y->n_cols, n_stream) &&
             is_streams(z, y->n_rows, y->n_cols, n_stream),
         "op_streams_gate", "shapes");
    compute->backend->streams(compute,
                              &(struct streams){STREAMS_GATE, out, x, y, z, (int32_t)n_stream});
}

void op_streams_read(struct compute *compute, const struct streams_read *a)
{
    const int64_t n = a->n_stream, n_tokens = a->out->n_rows, wide = a->weight ? n * (2 + n) : n;
    want_recording(compute, "op_streams_read");
    want(n >= 1 && n <= STREAMS_READ_MOST && is_floats(a->out) && a->n_round >= 1 &&
             is_streams(a->x, n_tokens, a->out->n_cols, n) && is_streams(a->mix, n_tokens, 1, wide),
         "op_streams_read", "shapes");
    want(is_vector(a->base, DTYPE_F32, wide) && is_vector(a->scale, DTYPE_F32, a->weight ? 3 : 1),
         "op_streams_read", "base or scale");
    want(!a->weight || is_streams(a->weight, n_tokens, 1, n + n * n), "op_streams_read", "weight");
    compute->backend->streams_read(compute, a);
}

void op_streams_blend(struct compute *compute, const struct tensor *x, const struct tensor *y,
                      const struct tensor *weight, int32_t n_stream)
{
    want_recording(compute, "op_streams_blend");
    want(n_stream >= 1 && n_stream <= STREAMS_READ_MOST && is_floats(y) &&
             is_streams(x, y->n_rows, y->n_cols, n_stream) &&
             is_streams(weight, y->n_rows, 1, n_stream + n_stream * n_stream),
         "op_streams_blend", "shapes");
    compute->backend->streams(compute, &(struct streams){STREAMS_BLEND, x, x, y, weight, n_stream});
}

// ---- mixture of experts -------------------------------------------------------------------------

static void want_groups(const struct route *route, int64_t n_expert, int64_t n_used)
{
    const int64_t n = route->n_group;
    want(n <= n_expert && n_expert % n == 0 && n_expert / n >= 2 && route->n_group_used >= 1 &&
             route->n_group_used <= n && n_used <= route->n_group_used * (n_expert / n),
         "op_route", "groups");
}

void op_route(struct compute *compute, const struct tensor *id, const struct tensor *weight,
              const struct tensor *logits, const struct route *route)
{
    want_recording(compute, "op_route");
    want(id->type == DTYPE_I32 && weight->type == DTYPE_F32 && logits->type == DTYPE_F32,
         "op_route", "types");
    want(same_shape(id, weight) && id->n_rows == logits->n_rows && id->n_cols >= 1 &&
             id->n_cols <= EXPERTS_USED_MOST && id->n_cols <= logits->n_cols &&
             logits->n_cols <= EXPERTS_MOST,
         "op_route", "shapes");
    want(is_optional_vector(route->bias, logits->n_cols), "op_route", "bias");
    want(!route->hashed ||
             (route->hashed->type == DTYPE_I32 && route->hashed->n_cols == id->n_cols &&
              route->token && is_vector(route->token, DTYPE_I32, id->n_rows)),
         "op_route", "hashed or token");
    if (route->n_group > 0)
        want_groups(route, logits->n_cols, id->n_cols);
    compute->backend->route(compute, id, weight, logits, route);
}

void op_matmul_experts(struct compute *compute, const struct matmul_experts *a)
{
    const int64_t n_expert = a->out->n_cols > 0 ? a->w->n_rows / a->out->n_cols : 0;
    want_recording(compute, "op_matmul_experts");
    want(dtype_known((uint32_t)a->w->type) && a->out->type == DTYPE_F32 &&
             a->x->type == DTYPE_F32 && a->id->type == DTYPE_I32,
         "op_matmul_experts", "types");
    want(n_expert >= 1 && a->w->n_rows == n_expert * a->out->n_cols &&
             a->w->n_cols == a->x->n_cols && a->x_share >= 1 &&
             a->x->n_rows * a->x_share == a->out->n_rows &&
             a->id->n_rows * a->id->n_cols == a->out->n_rows,
         "op_matmul_experts", "shapes");
    want(a->x_share == 1 || a->x_share == a->id->n_cols, "op_matmul_experts", "x_share");
    want(!a->bias || (a->bias->type == DTYPE_F32 && a->bias->n_rows == n_expert &&
                      a->bias->n_cols == a->out->n_cols),
         "op_matmul_experts", "bias");
    compute->backend->matmul_experts(compute, a);
}

void op_experts_sum(struct compute *compute, const struct tensor *out,
                    const struct tensor *residual, const struct tensor *y,
                    const struct tensor *weight)
{
    want_recording(compute, "op_experts_sum");
    want(is_floats(out) && is_floats(residual) && is_floats(y) && is_floats(weight),
         "op_experts_sum", "types");
    want((!residual || same_shape(out, residual)) && y->n_cols == out->n_cols &&
             weight->n_rows == out->n_rows && y->n_rows == out->n_rows * weight->n_cols,
         "op_experts_sum", "shapes");
    compute->backend->experts_sum(compute, out, residual, y, weight);
}

// The number of experts whose matrices [rows_each][n_cols] w holds; 0: it holds something else.
static int64_t experts_in(const struct tensor *w, int64_t rows_each, int64_t n_cols)
{
    const bool whole = rows_each > 0 && w->n_rows % rows_each == 0 && w->n_cols == n_cols;
    return dtype_known((uint32_t)w->type) && whole ? w->n_rows / rows_each : 0;
}

static bool is_expert_bias(const struct tensor *bias, int64_t n_expert, int64_t n_cols)
{
    return !bias || (bias->type == DTYPE_F32 && bias->n_rows == n_expert && bias->n_cols == n_cols);
}

void op_experts_glu(struct compute *compute, const struct experts_glu *a, const struct matmul_x *x)
{
    const int64_t n_ff = a->out->n_cols, n_in = x->x->n_cols;
    const bool fused = a->w_gate_up, gate = fused || a->w_gate;
    want_recording(compute, "op_experts_glu");
    want_matmul_x(x, "op_experts_glu");
    want_activation(a->activation, gate, "op_experts_glu");
    want(fused ? !a->w_gate && !a->w_up : a->w_up != NULL, "op_experts_glu", "matrices");
    const int64_t n_expert =
        fused ? experts_in(a->w_gate_up, 2 * n_ff, n_in) : experts_in(a->w_up, n_ff, n_in);
    want(n_expert >= 1 && (!a->w_gate || experts_in(a->w_gate, n_ff, n_in) == n_expert),
         "op_experts_glu", "shapes of the matrices");
    want(is_expert_bias(a->bias_up, n_expert, n_ff) &&
             is_expert_bias(a->bias_gate, n_expert, n_ff) && (gate || !a->bias_gate),
         "op_experts_glu", "biases");
    want(is_floats(a->out) && a->id->type == DTYPE_I32 && a->id->n_rows == x->x->n_rows &&
             a->out->n_rows == a->id->n_rows * a->id->n_cols,
         "op_experts_glu", "shapes");
    want(!gate || (a->scratch && is_floats(a->scratch) && same_shape(a->scratch, a->out)),
         "op_experts_glu", "scratch");
    compute->backend->experts_glu(compute, a, x);
}

void op_experts_down(struct compute *compute, const struct experts_down *a)
{
    want_recording(compute, "op_experts_down");
    const int64_t n_expert = experts_in(a->w, a->out->n_cols, a->y->n_cols),
                  n = a->id->n_rows * a->id->n_cols;
    want(n_expert >= 1 && is_expert_bias(a->bias, n_expert, a->out->n_cols), "op_experts_down",
         "matrices");
    want(is_floats(a->out) && is_floats(a->residual) && is_floats(a->y) && is_floats(a->weight) &&
             is_floats(a->scratch) && a->id->type == DTYPE_I32,
         "op_experts_down", "types");
    want(a->out->n_rows == a->id->n_rows && same_shape(a->weight, a->id) && a->y->n_rows == n &&
             (!a->residual || same_shape(a->residual, a->out)),
         "op_experts_down", "shapes");
    want(a->scratch && a->scratch->n_rows == n && a->scratch->n_cols == a->out->n_cols,
         "op_experts_down", "scratch");
    compute->backend->experts_down(compute, a);
}

// ---- recurrent layers ---------------------------------------------------------------------------

bool compute_has_recurrent(const struct compute *compute)
{
    const struct backend *b = compute->backend;
    return b->conv && b->delta_net && b->mamba2;
}

static void want_recurrent(struct compute *compute, const struct tensor *state,
                           const struct slots *slots, int64_t n_tokens, int64_t n_state,
                           const char *op)
{
    want_recording(compute, op);
    if (!compute_has_recurrent(compute))
        die("%s: %s has no recurrent layers: ask compute_has_recurrent first", op,
            compute->info.device);
    want(is_vector(slots->in, DTYPE_I32, n_tokens) && is_vector(slots->out, DTYPE_I32, n_tokens),
         op, "slots");
    want(is_floats(state) && state->n_cols == n_state, op, "state");
}

static bool is_rows(const struct tensor *a, int64_t n_tokens, int64_t n_cols)
{
    return a->type == DTYPE_F32 && a->n_rows == n_tokens && a->n_cols == n_cols;
}

void op_conv(struct compute *compute, const struct conv *args)
{
    struct conv conv = *args;
    const struct conv *a = &conv;
    const int64_t n_tokens = a->x->n_rows, n_channels = a->x->n_cols, n_conv = a->weight->n_cols;
    conv.dilation = conv.dilation ? conv.dilation : 1;
    want(conv.dilation > 0 && (n_conv - 1) * conv.dilation < CONV_ROWS_MOST, "op_conv", "dilation");
    want(n_conv >= 2 && n_conv <= CONV_MOST && is_rows(a->weight, n_channels, n_conv) &&
             is_optional_vector(a->bias, n_channels),
         "op_conv", "weight or bias");
    want_recurrent(compute, a->state, &a->slots, n_tokens,
                   (n_conv - 1) * conv.dilation * n_channels, "op_conv");
    want(is_rows(a->x, n_tokens, n_channels) && is_rows(a->out, n_tokens, n_channels) &&
             (!a->before || is_rows(a->before, n_tokens, n_channels)) &&
             (!a->after || is_rows(a->after, n_tokens, n_channels)),
         "op_conv", "shapes");
    compute->backend->conv(compute, a);
}

static bool is_width(int64_t n, int64_t most) // of a head's state
{
    return n > 0 && n <= most && n % 16 == 0;
}

void op_delta_net(struct compute *compute, const struct delta_net *args)
{
    const struct delta_net a = *args;
    const int64_t n_tokens = a.q->n_rows, n_k = (int64_t)a.n_head_k * a.d_k,
                  n_v = (int64_t)a.n_head * a.d_v;
    want(is_width(a.d_k, DELTA_MOST) && is_width(a.d_v, DELTA_MOST) && a.n_head_k > 0 &&
             a.n_head > 0 && a.n_head % a.n_head_k == 0,
         "op_delta_net", "heads");
    want_recurrent(compute, a.state, &a.slots, n_tokens, n_v * a.d_k, "op_delta_net");
    want(is_rows(a.q, n_tokens, n_k) && is_rows(a.k, n_tokens, n_k) &&
             is_rows(a.v, n_tokens, n_v) && is_rows(a.out, n_tokens, n_v),
         "op_delta_net", "shapes");
    const int64_t last = a.n_head - 1, pair = a.pair_heads;
    const int64_t n_gates = pair > 0 ? last / pair * 2 * pair + last % pair + 1 : a.n_head;
    want(pair >= 0 && is_floats(a.alpha) && a.alpha->n_rows == n_tokens &&
             a.alpha->n_cols >= n_gates && is_floats(a.beta) && a.beta->n_rows == n_tokens &&
             a.beta->n_cols >= n_gates && is_vector(a.a, DTYPE_F32, a.n_head) &&
             is_vector(a.dt_bias, DTYPE_F32, a.n_head),
         "op_delta_net", "alpha, beta, a or dt_bias");
    want(!a.z == !a.norm &&
             (!a.z || (is_rows(a.z, n_tokens, n_v) && is_vector(a.norm, DTYPE_F32, a.d_v))),
         "op_delta_net", "z or norm");
    compute->backend->delta_net(compute, &a);
}

void op_mamba2(struct compute *compute, const struct mamba2 *a)
{
    const int64_t n_tokens = a->x->n_rows, n = (int64_t)a->n_head * a->head_dim,
                  n_b = (int64_t)a->n_group * a->d_state;
    want(is_width(a->d_state, MAMBA_MOST) && is_width(a->head_dim, INT16_MAX) && a->n_group > 0 &&
             a->n_head > 0 && a->n_head % a->n_group == 0,
         "op_mamba2", "heads");
    want_recurrent(compute, a->state, &a->slots, n_tokens, n * a->d_state, "op_mamba2");
    want(is_rows(a->x, n_tokens, n) && is_rows(a->out, n_tokens, n) &&
             is_rows(a->b, n_tokens, n_b) && is_rows(a->c, n_tokens, n_b) &&
             is_rows(a->dt, n_tokens, a->n_head) && (!a->z || is_rows(a->z, n_tokens, n)),
         "op_mamba2", "shapes");
    want(is_vector(a->a, DTYPE_F32, a->n_head) && is_vector(a->d, DTYPE_F32, a->n_head) &&
             is_vector(a->dt_bias, DTYPE_F32, a->n_head) && is_optional_vector(a->norm, n),
         "op_mamba2", "a, d, dt_bias or norm");
    compute->backend->mamba2(compute, a);
}
