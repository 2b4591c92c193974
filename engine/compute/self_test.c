// self_test.c - proof that an opened device computes: a product of each kind, a normalisation and
// an attention, small enough to be checked here in double precision, and how fast its memory is.
//
// It goes through the same operations as a model, so it needs every layer to work: memory in both
// directions, kernels compiled for this device, submissions that come back. The inputs are small
// integers over a power of two: every format holds them exactly, and what is left is the rounding
// of sums (and of half-precision operands where a device multiplies those): ERROR_MOST.
#include "backend.h"
#include "blocks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_IN = 96, N_OUT = 40, MANY = 20, HEADS = 4, HEAD_DIM = 32, ROWS = 50 };
static const double ERROR_MOST = 2e-3; // of the largest result

static float value_at(int64_t i) // -1 .. 1 in steps of 1/8
{
    return (float)((i * 37 + i / 7 * 11) % 17 - 8) / 8;
}

struct part { // one tensor of the test and what is in it
    struct tensor tensor;
    float *value;
};

static enum status part_open(struct compute *compute, struct part *part, int64_t n_rows,
                             int64_t n_cols, int64_t start, struct err *err)
{
    enum status status = compute_tensor(compute, &part->tensor, DTYPE_F32, n_rows, n_cols, err);
    if (status != OK)
        return status;
    part->value = mem_array((size_t)(n_rows * n_cols), sizeof(*part->value));
    for (int64_t i = 0; i < n_rows * n_cols; i++)
        part->value[i] = value_at(start + i);
    tensor_write(compute, &part->tensor, part->value,
                 (size_t)(n_rows * n_cols) * sizeof(*part->value));
    return OK;
}

static void part_close(struct compute *compute, struct part *part)
{
    tensor_free(compute, &part->tensor);
    free(part->value);
}

// The device's result against `expected`; *worst grows to the largest error, as a share of the
// largest result.
static enum status compare(struct compute *compute, const struct part *out, const double *expected,
                           double *worst, struct err *err)
{
    size_t n = (size_t)(out->tensor.n_rows * out->tensor.n_cols);
    float *got = mem_array(n, sizeof(*got));
    double largest = 1e-30, error = 0;
    tensor_read(compute, got, &out->tensor, n * sizeof(*got));
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(expected[i]));
        error = isfinite(got[i]) ? fmax(error, fabs((double)got[i] - expected[i])) : INFINITY;
    }
    *worst = fmax(*worst, error / largest);
    free(got);
    return compute_check(compute, err);
}

// n_tokens rows of x times a Q8_0 matrix: few take the matrix-vector kernels, many the others.
static enum status test_product(struct compute *compute, int64_t n_tokens, double *worst,
                                struct err *err)
{
    struct block_q8_0 blocks[N_OUT * N_IN / 32];
    struct tensor w = {0};
    struct part x = {0}, out = {0};
    double expected[MANY * N_OUT];
    for (int64_t i = 0; i < N_OUT * N_IN; i++) {
        blocks[i / 32].d = 0x3000; // 1/8
        blocks[i / 32].q[i % 32] = (int8_t)(value_at(5 * i) * 8);
    }
    enum status status = compute_weight(compute, &w, DTYPE_Q8_0, N_OUT, N_IN, blocks, err);
    if (status == OK)
        status = part_open(compute, &x, n_tokens, N_IN, 3, err);
    if (status == OK)
        status = part_open(compute, &out, n_tokens, N_OUT, 0, err);
    if (status == OK && compute_begin(compute, 0))
        op_matmul(compute, &(struct matmul){.out = &out.tensor, .w = &w}, 1,
                  &(struct matmul_x){.x = &x.tensor});
    if (status == OK)
        status = compute_finish(compute, err);
    for (int64_t i = 0; i < n_tokens * N_OUT && status == OK; i++) {
        expected[i] = 0;
        for (int64_t k = 0; k < N_IN; k++)
            expected[i] += (double)x.value[i / N_OUT * N_IN + k] *
                           (double)value_at(5 * (i % N_OUT * N_IN + k));
    }
    if (status == OK)
        status = compare(compute, &out, expected, worst, err);
    tensor_free(compute, &w);
    part_close(compute, &x);
    part_close(compute, &out);
    return status;
}

static enum status test_norm(struct compute *compute, double *worst, struct err *err)
{
    struct part x = {0}, weight = {0}, out = {0};
    double expected[N_IN], squares = 0;
    enum status status = part_open(compute, &x, 1, N_IN, 1, err);
    if (status == OK)
        status = part_open(compute, &weight, 1, N_IN, 9, err);
    if (status == OK)
        status = part_open(compute, &out, 1, N_IN, 0, err);
    if (status == OK && compute_begin(compute, 0))
        op_rms_norm(compute, &out.tensor, &x.tensor, &weight.tensor, 1e-6f);
    if (status == OK)
        status = compute_finish(compute, err);
    for (int i = 0; i < N_IN && status == OK; i++)
        squares += (double)x.value[i] * (double)x.value[i];
    for (int i = 0; i < N_IN && status == OK; i++)
        expected[i] = (double)x.value[i] / sqrt(squares / N_IN + 1e-6) * (double)weight.value[i];
    if (status == OK)
        status = compare(compute, &out, expected, worst, err);
    part_close(compute, &x);
    part_close(compute, &weight);
    part_close(compute, &out);
    return status;
}

enum { Q, K, V, OUT, POS, ROW, PAGES, TABLE, COUNT, N_PARTS };

// What row `row` of head `head` should be: softmax(q k) v over ROWS rows, in double.
static void expected_attention(double *out, const struct part *parts, int head)
{
    double score[ROWS], sum = 0;
    const float *q = parts[Q].value + head * HEAD_DIM;
    for (int r = 0; r < ROWS; r++) {
        score[r] = 0;
        for (int d = 0; d < HEAD_DIM; d++)
            score[r] += (double)q[d] * (double)parts[K].value[r * HEAD_DIM + d];
        sum += score[r] = exp(score[r] / 4);
    }
    for (int d = 0; d < HEAD_DIM; d++) {
        out[d] = 0;
        for (int r = 0; r < ROWS; r++)
            out[d] += score[r] / sum * (double)parts[V].value[r * HEAD_DIM + d];
    }
}

// ROWS rows are written to a cache of one KV head without rotation; the last row's token attends.
static enum status attend(struct compute *compute, struct part *parts, struct tensor cache[2],
                          struct err *err)
{
    int32_t row[ROWS];
    for (int32_t i = 0; i < ROWS; i++)
        row[i] = i;
    tensor_write(compute, &parts[POS].tensor, row, sizeof(row));
    tensor_write(compute, &parts[ROW].tensor, row, sizeof(row));
    tensor_write(compute, &parts[PAGES].tensor, (int32_t[]){0}, sizeof(int32_t));
    tensor_write(compute, &parts[TABLE].tensor, (int32_t[]){0}, sizeof(int32_t));
    tensor_write(compute, &parts[COUNT].tensor, (int32_t[]){ROWS}, sizeof(int32_t));
    struct tensor q = tensor_rows(&parts[Q].tensor, 0, 1);
    const struct attention attention = {HEADS, 1, HEAD_DIM, 0.25f, 0, 0, NULL};
    if (compute_begin(compute, 0)) {
        op_rope_kv(compute, &(struct rope_kv){.q = &parts[Q].tensor,
                                              .k = &parts[K].tensor,
                                              .v = &parts[V].tensor,
                                              .pos = &parts[POS].tensor,
                                              .row = &parts[ROW].tensor,
                                              .cache_k = &cache[0],
                                              .cache_v = &cache[1],
                                              .head_dim = HEAD_DIM,
                                              .rope = {.magnitude = 1}});
        op_attention(compute, &parts[OUT].tensor, &q, &cache[0], &cache[1], &parts[PAGES].tensor,
                     &parts[TABLE].tensor, &parts[COUNT].tensor, &attention);
    }
    return compute_finish(compute, err);
}

static enum status test_attention(struct compute *compute, double *worst, struct err *err)
{
    static const struct {
        int64_t n_rows, n_cols;
        enum dtype type;
    } shapes[N_PARTS] = {
        [Q] = {ROWS, HEADS * HEAD_DIM, DTYPE_F32},
        [K] = {ROWS, HEAD_DIM, DTYPE_F32},
        [V] = {ROWS, HEAD_DIM, DTYPE_F32},
        [OUT] = {1, HEADS * HEAD_DIM, DTYPE_F32},
        [POS] = {1, ROWS, DTYPE_I32},
        [ROW] = {1, ROWS, DTYPE_I32},
        [PAGES] = {1, 1, DTYPE_I32},
        [TABLE] = {1, 1, DTYPE_I32},
        [COUNT] = {1, 1, DTYPE_I32},
    };
    struct part parts[N_PARTS] = {0};
    struct tensor cache[2] = {0};
    double expected[HEADS * HEAD_DIM];
    enum status status = OK;
    for (int i = 0; i < N_PARTS && status == OK; i++)
        status = shapes[i].type == DTYPE_F32
                     ? part_open(compute, &parts[i], shapes[i].n_rows, shapes[i].n_cols, i, err)
                     : compute_tensor(compute, &parts[i].tensor, shapes[i].type, shapes[i].n_rows,
                                      shapes[i].n_cols, err);
    for (int i = 0; i < 2 && status == OK; i++)
        status = compute_cache(compute, &cache[i], DTYPE_F16, ROWS, HEAD_DIM, err);
    if (status == OK)
        status = attend(compute, parts, cache, err);
    for (int head = 0; head < HEADS && status == OK; head++)
        expected_attention(expected + head * HEAD_DIM, parts, head);
    if (status == OK)
        status = compare(compute, &parts[OUT], expected, worst, err);
    for (int i = 0; i < N_PARTS; i++)
        part_close(compute, &parts[i]);
    for (int i = 0; i < 2; i++)
        tensor_free(compute, &cache[i]);
    return status;
}

enum status compute_self_test(struct compute *compute, struct self_test *out, struct err *err)
{
    double few = 0, many = 0, norm = 0, attention = 0;
    struct self_test test = {0};
    enum status status = test_product(compute, 3, &few, err);
    if (status == OK)
        status = test_product(compute, MANY, &many, err);
    if (status == OK)
        status = test_norm(compute, &norm, err);
    if (status == OK)
        status = test_attention(compute, &attention, err);
    if (status == OK)
        status = compute->backend->bandwidth(compute, &test.copy_bytes_per_s,
                                             &test.read_bytes_per_s, err);
    if (status != OK)
        return status;
    test.right = fmax(fmax(few, many), fmax(norm, attention)) <= ERROR_MOST;
    snprintf(test.said, sizeof(test.said),
             "self-test %s: largest error of a product of 3 tokens %.1e, of %d tokens %.1e, of a "
             "normalisation %.1e, of an attention %.1e (allowed %.0e)",
             test.right ? "passed" : "FAILED", few, MANY, many, norm, attention, ERROR_MOST);
    *out = test;
    return OK;
}
