// kv.c - the rows of keys and values of past tokens, F16 or Q8_0, for every layer.
//
// A sequence owns n_ctx consecutive rows: (seq, pos) lives in row seq * n_ctx + pos, so that the
// rows a token attends to are one run. Invariant: rows 0 .. n_filled[seq]-1 of a sequence were
// computed for the text it has now; a token at pos may only come when pos <= n_filled[seq] (an
// earlier pos cuts the text back to it). So nothing stale or of another client is ever read.

#include "parts.h"

#include <stdlib.h>

enum status kv_open(struct kv *out, struct compute *compute, const struct hyper *hyper,
                    int32_t n_ctx, const struct model_options *options, struct err *err)
{
    const enum dtype type = options->kv_q8_0 ? DTYPE_Q8_0 : DTYPE_F16;
    const int32_t n_seq = options->n_seq;
    int64_t n_rows = (int64_t)n_ctx * n_seq, n_cols = (int64_t)hyper->n_head_kv * hyper->head_dim;
    if (n_rows > INT32_MAX)
        return err_set(err, TOO_LARGE, "%d sequences of %d tokens: more than %d in all", n_seq,
                       n_ctx, INT32_MAX);
    if (n_cols % dtype_block_elements(type) != 0)
        return err_set(err, UNSUPPORTED,
                       "kv-type q8_0: this model's keys have %d x %d numbers, not a multiple of 32",
                       hyper->n_head_kv, hyper->head_dim);
    struct kv kv = {
        .k = mem_array((size_t)hyper->n_layer, sizeof(*kv.k)),
        .v = mem_array((size_t)hyper->n_layer, sizeof(*kv.v)),
        .n_filled = mem_array((size_t)n_seq, sizeof(*kv.n_filled)),
        .n_layer = hyper->n_layer,
        .n_ctx = n_ctx,
        .n_seq = n_seq,
        .n_bytes = (uint64_t)n_rows * dtype_row_bytes(type, n_cols) * 2 * (uint64_t)hyper->n_layer,
    };
    enum status status = OK;
    for (int32_t i = 0; i < hyper->n_layer && status == OK; i++) {
        status = compute_cache(compute, &kv.k[i], type, n_rows, n_cols, err);
        if (status == OK)
            status = compute_cache(compute, &kv.v[i], type, n_rows, n_cols, err);
    }
    if (status != OK) {
        kv_close(&kv, compute);
        return !err ? status
                    : err_prefix(
                          err,
                          "memory for %d sequences of %d tokens (%llu MB; lower ctx or parallel)",
                          n_seq, n_ctx, (unsigned long long)(kv.n_bytes >> 20));
    }
    *out = kv;
    return OK;
}

void kv_close(struct kv *kv, struct compute *compute)
{
    for (int32_t i = 0; i < kv->n_layer; i++) {
        if (kv->k && kv->k[i].buffer)
            tensor_free(compute, &kv->k[i]);
        if (kv->v && kv->v[i].buffer)
            tensor_free(compute, &kv->v[i]);
    }
    free(kv->k);
    free(kv->v);
    free(kv->n_filled);
    kv->k = kv->v = NULL;
    kv->n_filled = NULL;
    kv->n_layer = 0;
}
