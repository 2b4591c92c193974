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
              const struct tensor *token)
{
    want_recording(compute, "op_embed");
    want(out->type == DTYPE_F32 && dtype_known((uint32_t)token_embd->type), "op_embed", "types");
    want(out->n_cols == token_embd->n_cols && is_vector(token, DTYPE_I32, out->n_rows), "op_embed",
         "shapes");
    compute->backend->embed(compute, out, token_embd, token);
}

void op_rms_norm(struct compute *compute, const struct tensor *out, const struct tensor *x,
                 const struct tensor *weight, float eps)
{
    want_recording(compute, "op_rms_norm");
    want(out->type == DTYPE_F32 && x->type == DTYPE_F32, "op_rms_norm", "types");
    want(same_shape(out, x) && is_vector(weight, DTYPE_F32, x->n_cols), "op_rms_norm", "shapes");
    compute->backend->rms_norm(compute, out, x, weight, eps);
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

void op_matmul_glu(struct compute *compute, const struct matmul_glu *glu, const struct matmul_x *x)
{
    want_recording(compute, "op_matmul_glu");
    want_matmul_x(x, "op_matmul_glu");
    want_product(glu->out, glu->w_gate, x->x, "op_matmul_glu");
    want_product(glu->out, glu->w_up, x->x, "op_matmul_glu");
    want(glu->scratch->type == DTYPE_F32 && same_shape(glu->scratch, glu->out), "op_matmul_glu",
         "scratch");
    compute->backend->matmul_glu(compute, glu, x);
}

static bool is_cache(const struct tensor *a)
{
    return a->type == DTYPE_F16 || a->type == DTYPE_Q8_0;
}

void op_rope_kv(struct compute *compute, const struct rope_kv *a)
{
    const int32_t head_dim = a->head_dim, n_rot = a->rope.n_rot;
    want_recording(compute, "op_rope_kv");
    want(a->q->type == DTYPE_F32 && a->k->type == DTYPE_F32 && a->v->type == DTYPE_F32 &&
             is_cache(a->cache_k) && is_cache(a->cache_v),
         "op_rope_kv", "types");
    want(head_dim > 0 && a->q->n_cols % head_dim == 0 && a->k->n_cols % head_dim == 0 &&
             a->q->n_rows == a->k->n_rows && same_shape(a->k, a->v) &&
             a->cache_k->n_cols == a->k->n_cols && same_shape(a->cache_k, a->cache_v),
         "op_rope_kv", "shapes");
    want(is_vector(a->pos, DTYPE_I32, a->q->n_rows) && is_vector(a->row, DTYPE_I32, a->q->n_rows),
         "op_rope_kv", "pos or row");
    want(n_rot >= 0 && n_rot <= head_dim && n_rot % 2 == 0 &&
             (n_rot == 0 || is_vector(a->rope.turns, DTYPE_I32, n_rot)),
         "op_rope_kv", "rope");
    compute->backend->rope_kv(compute, a);
}

void op_attention(struct compute *compute, const struct tensor *out, const struct tensor *q,
                  const struct tensor *k, const struct tensor *v, const struct tensor *first,
                  const struct tensor *count, const struct attention *attention)
{
    const int64_t n_head = attention->n_head, n_head_kv = attention->n_head_kv,
                  head_dim = attention->head_dim;
    want_recording(compute, "op_attention");
    want(n_head > 0 && n_head_kv > 0 && head_dim > 0 && n_head % n_head_kv == 0, "op_attention",
         "heads");
    want(out->type == DTYPE_F32 && q->type == DTYPE_F32 && is_cache(k) && v->type == k->type,
         "op_attention", "types");
    want(q->n_cols == n_head * head_dim && same_shape(out, q) &&
             k->n_cols == n_head_kv * head_dim && same_shape(k, v),
         "op_attention", "shapes");
    want(is_vector(first, DTYPE_I32, q->n_rows) && is_vector(count, DTYPE_I32, q->n_rows),
         "op_attention", "first or count");
    want(!attention->sinks || is_vector(attention->sinks, DTYPE_F32, n_head), "op_attention",
         "sinks");
    want(attention->window >= 0 && attention->softcap >= 0, "op_attention", "window or softcap");
    compute->backend->attention(compute, out, q, k, v, first, count, attention);
}

void op_rows(struct compute *compute, const struct tensor *out, const struct tensor *x,
             const struct tensor *row)
{
    want_recording(compute, "op_rows");
    want(out->type == DTYPE_F32 && x->type == DTYPE_F32, "op_rows", "types");
    want(out->n_cols == x->n_cols && is_vector(row, DTYPE_I32, out->n_rows), "op_rows", "shapes");
    compute->backend->rows(compute, out, x, row);
}

void op_top_k(struct compute *compute, const struct tensor *id, const struct tensor *value,
              const struct tensor *x)
{
    want_recording(compute, "op_top_k");
    want(id->type == DTYPE_I32 && value->type == DTYPE_F32 && x->type == DTYPE_F32, "op_top_k",
         "types");
    want(same_shape(id, value) && id->n_rows == x->n_rows && id->n_cols >= 1 &&
             id->n_cols <= TOP_K_MOST && id->n_cols <= x->n_cols,
         "op_top_k", "shapes");
    compute->backend->top_k(compute, id, value, x);
}

// ---- mixture of experts -------------------------------------------------------------------------

void op_route(struct compute *compute, const struct tensor *id, const struct tensor *weight,
              const struct tensor *logits, const struct route *route)
{
    want_recording(compute, "op_route");
    want(id->type == DTYPE_I32 && weight->type == DTYPE_F32 && logits->type == DTYPE_F32,
         "op_route", "types");
    want(same_shape(id, weight) && id->n_rows == logits->n_rows && id->n_cols >= 1 &&
             id->n_cols <= 16 && id->n_cols <= logits->n_cols && logits->n_cols <= 512,
         "op_route", "shapes");
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

void op_glu(struct compute *compute, const struct tensor *out, const struct tensor *gate,
            const struct tensor *up, enum activation activation)
{
    want_recording(compute, "op_glu");
    want(out->type == DTYPE_F32 && gate->type == DTYPE_F32 && up->type == DTYPE_F32, "op_glu",
         "types");
    want(same_shape(out, gate) && same_shape(out, up), "op_glu", "shapes");
    compute->backend->glu(compute, out, gate, up, activation);
}

void op_experts_sum(struct compute *compute, const struct tensor *out,
                    const struct tensor *residual, const struct tensor *y,
                    const struct tensor *weight)
{
    want_recording(compute, "op_experts_sum");
    want(out->type == DTYPE_F32 && residual->type == DTYPE_F32 && y->type == DTYPE_F32 &&
             weight->type == DTYPE_F32,
         "op_experts_sum", "types");
    want(same_shape(out, residual) && y->n_cols == out->n_cols && weight->n_rows == out->n_rows &&
             y->n_rows == out->n_rows * weight->n_cols,
         "op_experts_sum", "shapes");
    compute->backend->experts_sum(compute, out, residual, y, weight);
}
