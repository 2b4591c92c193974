// compute.c - an opened device: its memory and the bounds of a recording.
//
// Checks, then the implementation (backend.h). Which device is opened, and why, is open.c's.
#include "backend.h"

#include <stdio.h>
#include <string.h>

bool compute_close(struct compute *compute)
{
    return !compute || compute->backend->close(compute);
}

const struct compute_info *compute_info(const struct compute *compute)
{
    return &compute->info;
}

struct compute_counts compute_counts(const struct compute *compute)
{
    return compute->counts;
}

static enum status tensor_open(struct compute *compute, struct tensor *out, enum dtype type,
                               int64_t n_rows, int64_t n_cols, enum buffer_use use,
                               int64_t whole_rows, const void *data, struct err *err)
{
    uint64_t n_bytes;
    if (n_rows < 1 || n_cols < 1)
        die("a tensor of %lld x %lld", (long long)n_rows, (long long)n_cols);
    struct tensor tensor = {
        .row_bytes = compute->backend->row_bytes(compute, type, n_cols, use),
        .n_rows = n_rows,
        .n_cols = n_cols,
        .type = type,
    };
    if (mul_overflows(tensor.row_bytes, (uint64_t)n_rows, &n_bytes) || n_bytes > SIZE_MAX / 2)
        return err_set(err, NO_ROOM, "a %s tensor of %lld x %lld is larger than any memory",
                       dtype_name(type), (long long)n_rows, (long long)n_cols);
    enum status status =
        compute->backend->buffer_open(compute, &tensor.buffer, &tensor, use, whole_rows, data, err);
    if (status == OK)
        *out = tensor;
    return status;
}

enum status compute_tensor(struct compute *compute, struct tensor *out, enum dtype type,
                           int64_t n_rows, int64_t n_cols, struct err *err)
{
    return tensor_open(compute, out, type, n_rows, n_cols, USE_TENSOR, 1, NULL, err);
}

enum status compute_cache(struct compute *compute, struct tensor *out, enum dtype type,
                          int64_t n_rows, int64_t n_cols, struct err *err)
{
    if (type != DTYPE_F16 && type != DTYPE_Q8_0)
        die("a KV cache of %s", dtype_name(type));
    return tensor_open(compute, out, type, n_rows, n_cols, USE_CACHE, 1, NULL, err);
}

uint64_t compute_bytes(const struct compute *compute, enum buffer_use use, enum dtype type,
                       int64_t n_rows, int64_t n_cols)
{
    return compute->backend->row_bytes(compute, type, n_cols, use) * (uint64_t)n_rows;
}

bool compute_runs(const struct compute *compute, enum dtype type)
{
    return dtype_known((uint32_t)type) && (!compute->backend->runs || compute->backend->runs(type));
}

enum status compute_weight_begin(struct compute *compute, struct tensor *out, enum dtype type,
                                 int64_t n_rows, int64_t n_cols, int64_t whole_rows,
                                 const void *data, struct err *err)
{
    if (!data)
        die("a weight without data");
    if (whole_rows < 1 || n_rows % whole_rows != 0)
        die("weights of %lld rows, %lld of them together", (long long)n_rows,
            (long long)whole_rows);
    if (!compute_runs(compute, type))
        return err_set(err, UNSUPPORTED, "weights in %s: %s has no kernels for them",
                       dtype_name(type), compute_info(compute)->device);
    return tensor_open(compute, out, type, n_rows, n_cols, USE_WEIGHT, whole_rows, data, err);
}

enum status compute_weight_rows(struct compute *compute, const struct tensor *weight, int64_t row0,
                                int64_t n_rows, const void *data, struct err *err)
{
    if (row0 < 0 || n_rows < 0 || row0 > weight->n_rows || n_rows > weight->n_rows - row0)
        die("rows %lld .. %lld of weights of %lld rows", (long long)row0,
            (long long)(row0 + n_rows), (long long)weight->n_rows);
    return compute->backend->load_rows(compute, weight, row0, n_rows, data, err);
}

enum status compute_weight(struct compute *compute, struct tensor *out, enum dtype type,
                           int64_t n_rows, int64_t n_cols, const void *data, struct err *err)
{
    struct tensor weight;
    enum status status = compute_weight_begin(compute, &weight, type, n_rows, n_cols, 1, data, err);
    if (status != OK)
        return status;
    status = compute_weight_rows(compute, &weight, 0, n_rows, data, err);
    if (status == OK)
        *out = weight;
    else
        tensor_free(compute, &weight);
    return status;
}

void tensor_free(struct compute *compute, struct tensor *tensor)
{
    if (compute->recording)
        die("tensor_free between compute_begin and compute_finish");
    if (tensor->buffer)
        compute->backend->buffer_close(compute, tensor->buffer);
    tensor->buffer = NULL;
}

struct tensor tensor_rows(const struct tensor *tensor, int64_t row0, int64_t n_rows)
{
    if (row0 < 0 || n_rows < 0 || row0 > tensor->n_rows || n_rows > tensor->n_rows - row0)
        die("rows %lld .. %lld of a tensor of %lld rows", (long long)row0,
            (long long)(row0 + n_rows), (long long)tensor->n_rows);
    struct tensor view = *tensor;
    view.offset += (size_t)row0 * tensor->row_bytes;
    view.n_rows = n_rows;
    return view;
}

struct tensor tensor_columns(const struct tensor *tensor, int64_t column0, int64_t n_cols)
{
    if (tensor->type != DTYPE_F32 && tensor->type != DTYPE_I32)
        die("columns of a %s tensor", dtype_name(tensor->type));
    if (column0 < 0 || n_cols < 0 || column0 > tensor->n_cols || n_cols > tensor->n_cols - column0)
        die("columns %lld .. %lld of a tensor of %lld columns", (long long)column0,
            (long long)(column0 + n_cols), (long long)tensor->n_cols);
    struct tensor view = *tensor;
    view.offset += (size_t)column0 * sizeof(float);
    view.n_cols = n_cols;
    return view;
}

size_t tensor_span(const struct tensor *tensor)
{
    const bool gaps = tensor->type == DTYPE_F32 || tensor->type == DTYPE_I32;
    const size_t last = gaps ? (size_t)tensor->n_cols * sizeof(float) : tensor->row_bytes;
    return tensor->n_rows > 0 ? tensor->row_bytes * (size_t)(tensor->n_rows - 1) + last : 0;
}

static void check_transfer(const struct compute *compute, const struct tensor *tensor,
                           size_t n_bytes)
{
    if (compute->recording)
        die("a tensor is read or written between compute_begin and compute_finish");
    if (n_bytes > tensor->row_bytes * (size_t)tensor->n_rows)
        die("%zu bytes to or from a tensor of %zu", n_bytes,
            tensor->row_bytes * (size_t)tensor->n_rows);
}

void tensor_write(struct compute *compute, const struct tensor *to, const void *from,
                  size_t n_bytes)
{
    check_transfer(compute, to, n_bytes);
    compute->backend->write(compute, to, from, n_bytes);
}

void tensor_read(struct compute *compute, void *to, const struct tensor *from, size_t n_bytes)
{
    check_transfer(compute, from, n_bytes);
    compute->backend->read(compute, to, from, n_bytes);
}

enum status compute_check(const struct compute *compute, struct err *err)
{
    const struct err *lost = &compute->lost;
    return lost->status == OK ? OK : err_set(err, lost->status, "%s", lost->text);
}

bool compute_begin(struct compute *compute, uint64_t key)
{
    if (compute->recording)
        die("compute_begin twice");
    compute->recording = true;
    return compute->backend->begin(compute, key);
}

bool compute_rehearse(struct compute *compute)
{
    if (compute->recording)
        die("compute_rehearse within a recording");
    compute->recording = compute->backend->rehearse && compute->backend->rehearse(compute);
    return compute->recording;
}

enum status compute_finish(struct compute *compute, struct err *err)
{
    if (!compute->recording)
        die("compute_finish without compute_begin");
    enum status status = compute->backend->finish(compute, err);
    compute->recording = false;
    return status;
}

void compute_survey(struct survey *out)
{
    vulkan_survey(out);
}
