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

static void want_recording(const struct compute *compute, const char *op)
{
    want(compute->recording, op, "outside compute_begin and compute_finish");
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

void op_matmul(struct compute *compute, const struct matmul *products, int n,
               const struct tensor *x)
{
    want_recording(compute, "op_matmul");
    want(n >= 1 && n <= 4 && x->type == DTYPE_F32, "op_matmul", "number of products or type of x");
    for (int i = 0; i < n; i++) {
        const struct matmul *p = &products[i];
        want(dtype_known((uint32_t)p->w->type) && p->out->type == DTYPE_F32, "op_matmul", "types");
        want(p->w->n_cols == x->n_cols && p->out->n_cols == p->w->n_rows &&
                 p->out->n_rows == x->n_rows,
             "op_matmul", "shapes");
        want(!p->bias || is_vector(p->bias, DTYPE_F32, p->out->n_cols), "op_matmul", "bias");
        want(!p->residual || (p->residual->type == DTYPE_F32 && same_shape(p->residual, p->out)),
             "op_matmul", "residual");
    }
    compute->backend->matmul(compute, products, n, x);
}

void op_rope(struct compute *compute, const struct tensor *x, const struct tensor *pos,
             int32_t head_dim, const struct rope *rope)
{
    want_recording(compute, "op_rope");
    want(x->type == DTYPE_F32 && is_vector(pos, DTYPE_I32, x->n_rows), "op_rope",
         "types or shapes");
    want(head_dim > 0 && x->n_cols % head_dim == 0, "op_rope", "head_dim");
    want(rope->n_rot >= 0 && rope->n_rot <= head_dim && rope->n_rot % 2 == 0, "op_rope", "n_rot");
    compute->backend->rope(compute, x, pos, head_dim, rope);
}

void op_kv_store(struct compute *compute, const struct tensor *cache, const struct tensor *x,
                 const struct tensor *row)
{
    want_recording(compute, "op_kv_store");
    want(cache->type == DTYPE_F16 && x->type == DTYPE_F32, "op_kv_store", "types");
    want(cache->n_cols == x->n_cols && is_vector(row, DTYPE_I32, x->n_rows), "op_kv_store",
         "shapes");
    compute->backend->kv_store(compute, cache, x, row);
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
    want(out->type == DTYPE_F32 && q->type == DTYPE_F32 && k->type == DTYPE_F16 &&
             v->type == DTYPE_F16,
         "op_attention", "types");
    want(q->n_cols == n_head * head_dim && same_shape(out, q) &&
             k->n_cols == n_head_kv * head_dim && same_shape(k, v),
         "op_attention", "shapes");
    want(is_vector(first, DTYPE_I32, q->n_rows) && is_vector(count, DTYPE_I32, q->n_rows),
         "op_attention", "first or count");
    compute->backend->attention(compute, out, q, k, v, first, count, attention);
}

void op_swiglu(struct compute *compute, const struct tensor *out, const struct tensor *gate,
               const struct tensor *up)
{
    want_recording(compute, "op_swiglu");
    want(out->type == DTYPE_F32 && gate->type == DTYPE_F32 && up->type == DTYPE_F32, "op_swiglu",
         "types");
    want(same_shape(out, gate) && same_shape(out, up), "op_swiglu", "shapes");
    compute->backend->swiglu(compute, out, gate, up);
}

void op_rows(struct compute *compute, const struct tensor *out, const struct tensor *x,
             const struct tensor *row)
{
    want_recording(compute, "op_rows");
    want(out->type == DTYPE_F32 && x->type == DTYPE_F32, "op_rows", "types");
    want(out->n_cols == x->n_cols && is_vector(row, DTYPE_I32, out->n_rows), "op_rows", "shapes");
    compute->backend->rows(compute, out, x, row);
}
