// kv.c - the rows of keys and values of past tokens, F16 or Q8_0, for every layer.
//
// A sequence owns the n_pages consecutive pages from seq * n_pages on, as many as n_ctx rows want:
// (seq, pos) lives in row seq * n_pages * PAGE_ROWS + pos. Invariant: rows 0 .. n_filled[seq]-1 of
// a sequence were computed for the text it has now; a token at pos may only come when pos <=
// n_filled[seq] (an earlier pos cuts the text back to it). So nothing stale or of another client is
// ever read.

#include "arch.h"

#include <stdlib.h>

// Numbers that a layer keeps of a token: as keys (k 0) and as values (k 1). Latent attention's
// values are part of its keys, and some layers read what an earlier one keeps.
static int64_t kept(const struct hyper *hyper, int32_t i, int k)
{
    const struct layer_hyper *layer = &hyper->layers[i];
    if (layer->parts & PART_MLA)
        return k == 0 ? hyper_dim(hyper, layer, N_KV_MLA) : 0;
    // Some read what another layer keeps; or, in one pass of a whole text, write over it.
    const bool keeps = layer->parts & PART_KEYS && layer->kv_layer == i;
    return keeps ? hyper_dim(hyper, layer, k == 0 ? N_K : N_V) : 0;
}

// One cache of a layer, when the layer has one.
static enum status open_cache(struct kv *kv, struct compute *compute, struct tensor *out,
                              enum dtype type, int64_t n_cols, struct err *err)
{
    const int64_t n_rows = (int64_t)kv->n_pages * PAGE_ROWS * kv->n_seq;
    if (n_cols == 0)
        return OK;
    if (n_cols % dtype_block_elements(type) != 0)
        return err_set(
            err, UNSUPPORTED,
            "kv-type q8_0: this model's keys or values have %lld numbers in a row, not a "
            "multiple of 32",
            (long long)n_cols);
    kv->n_bytes += (uint64_t)n_rows * dtype_row_bytes(type, n_cols);
    enum status status = compute_cache(compute, out, type, n_rows, n_cols, err);
    return status == OK || !err
               ? status
               : err_prefix(err, "memory for %d sequences of %d tokens (lower ctx or parallel)",
                            kv->n_seq, kv->n_ctx);
}

// A slot of state for every sequence, where the layer is recurrent.
static enum status open_state(struct kv *kv, struct compute *compute, const struct hyper *hyper,
                              int32_t i, struct err *err)
{
    struct tensor *tensors[] = {&kv->conv[i], &kv->state[i]};
    const enum dim dims[] = {N_CONV_STATE, N_STATE};
    enum status status = OK;
    for (int k = 0; k < 2 && status == OK; k++) {
        const int64_t n_cols = hyper_dim(hyper, &hyper->layers[i], dims[k]);
        if (n_cols == 0)
            continue;
        status = compute_tensor(compute, tensors[k], DTYPE_F32, kv->n_seq, n_cols, err);
        kv->n_bytes += (uint64_t)kv->n_seq * (uint64_t)n_cols * sizeof(float);
    }
    return status;
}

uint64_t kv_row_bytes(const struct compute *compute, const struct hyper *hyper, bool q8_0,
                      uint64_t *widest)
{
    const enum dtype type = q8_0 ? DTYPE_Q8_0 : DTYPE_F16;
    uint64_t n_bytes = 0;
    *widest = 0;
    for (int32_t i = 0; i < hyper->n_layer; i++)
        for (int k = 0; k < 2; k++) {
            const int64_t n_cols = kept(hyper, i, k);
            if (n_cols % dtype_block_elements(type) != 0)
                return UINT64_MAX;
            uint64_t row = n_cols > 0 ? compute_bytes(compute, USE_CACHE, type, 1, n_cols) : 0;
            *widest = row > *widest ? row : *widest;
            n_bytes += row;
        }
    return n_bytes;
}

// Table of sequence s: its own pages, one after another.
static enum status open_pages(struct kv *kv, struct compute *compute, struct err *err)
{
    enum status status =
        compute_tensor(compute, &kv->pages, DTYPE_I32, kv->n_seq, kv->n_pages, err);
    if (status != OK)
        return status;
    const size_t n = (size_t)kv->n_seq * (size_t)kv->n_pages;
    int32_t *pages = mem_array(n, sizeof(*pages));
    for (size_t i = 0; i < n; i++)
        pages[i] = (int32_t)i;
    tensor_write(compute, &kv->pages, pages, n * sizeof(*pages));
    free(pages);
    return OK;
}

enum status kv_open(struct kv *out, struct compute *compute, const struct hyper *hyper,
                    const struct model_options *options, struct err *err)
{
    const enum dtype type = options->kv_q8_0 ? DTYPE_Q8_0 : DTYPE_F16;
    const int32_t n_seq = options->n_seq;
    const int32_t n_pages = (hyper->n_ctx + PAGE_ROWS - 1) / PAGE_ROWS;
    if ((int64_t)n_pages * PAGE_ROWS * n_seq > INT32_MAX)
        return err_set(err, TOO_LARGE, "%d sequences of %d tokens: more than %d in all", n_seq,
                       hyper->n_ctx, INT32_MAX);
    struct kv kv = {
        .conv = mem_array((size_t)hyper->n_layer, sizeof(*kv.conv)),
        .state = mem_array((size_t)hyper->n_layer, sizeof(*kv.state)),
        .k = mem_array((size_t)hyper->n_layer, sizeof(*kv.k)),
        .v = mem_array((size_t)hyper->n_layer, sizeof(*kv.v)),
        .n_filled = mem_array((size_t)n_seq, sizeof(*kv.n_filled)),
        .n_layer = hyper->n_layer,
        .n_ctx = hyper->n_ctx,
        .n_seq = n_seq,
        .n_pages = n_pages,
    };
    enum status status = open_pages(&kv, compute, err);
    for (int32_t i = 0; i < hyper->n_layer && status == OK; i++) {
        status = open_state(&kv, compute, hyper, i, err);
        if (status == OK)
            status = open_cache(&kv, compute, &kv.k[i], type, kept(hyper, i, 0), err);
        if (status == OK)
            status = open_cache(&kv, compute, &kv.v[i], type, kept(hyper, i, 1), err);
    }
    if (status != OK)
        kv_close(&kv, compute);
    else
        *out = kv;
    return status;
}

void kv_close(struct kv *kv, struct compute *compute)
{
    for (int32_t i = 0; i < kv->n_layer; i++) {
        if (kv->k && kv->k[i].buffer)
            tensor_free(compute, &kv->k[i]);
        if (kv->v && kv->v[i].buffer)
            tensor_free(compute, &kv->v[i]);
        if (kv->conv && kv->conv[i].buffer)
            tensor_free(compute, &kv->conv[i]);
        if (kv->state && kv->state[i].buffer)
            tensor_free(compute, &kv->state[i]);
    }
    if (kv->pages.buffer)
        tensor_free(compute, &kv->pages);
    free(kv->k);
    free(kv->v);
    free(kv->n_filled);
    free(kv->conv);
    free(kv->state);
    kv->k = kv->v = kv->conv = kv->state = NULL;
    kv->n_filled = NULL;
    kv->n_layer = 0;
}
