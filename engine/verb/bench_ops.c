// bench_ops.c - the speed of single operations: GB/s and TFLOP/s by kind, format and size.
//
// A case is recorded `n_times` in one recording, which is then submitted again and again; the best
// submission counts, so that neither recording nor the way to the device is in the figure. Weights
// rotate over ROTATE_BYTES of different tensors: a product that finds its weights in the last-level
// cache (32 MiB on Strix Halo) would look twice as fast as it is in a model. GB/s counts what must
// be read and written once (weights as stored, activations, cache rows), TFLOP/s two a
// multiplication; the last column is GB/s as a share of the copying measured beside it.
#include "bench_ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROTATE_BYTES = 256 << 20,
    WEIGHTS_MOST = 64,
    SUBMISSION_US = 30000, // what n_times aims at
    TIMES_MOST = 512,
    SUBMISSIONS = 4, // of which the best counts
    CACHE_ROWS = 32768,
};

struct bench_ops {
    struct compute *compute;
    const char *word;
    bool json;
    double copy_bytes_per_s; // 0: not known
    uint64_t key;
    uint8_t *bytes; // ROTATE_BYTES and more of file data for weights
    struct err *err;
};

struct op_case {
    char text[64];
    double bytes, flops;
    int n_tensors;
    struct tensor tensor[8];
    int n_weights;
    struct tensor weight[WEIGHTS_MOST];
    void (*record)(struct compute *compute, const struct op_case *c, int nth);
    struct attention attention;
    struct rope rope;
};

// ---- measuring --------------------------------------------------------------------------------

// Seconds of one submission of n_times the operation.
static enum status submit(struct bench_ops *b, const struct op_case *c, uint64_t key, int n_times,
                          double *seconds)
{
    if (compute_begin(b->compute, key))
        for (int i = 0; i < n_times; i++)
            c->record(b->compute, c, i);
    uint64_t from_us = clock_us();
    enum status status = compute_finish(b->compute, b->err);
    *seconds = (double)(clock_us() - from_us) / 1e6;
    return status;
}

static void report(const struct bench_ops *b, const struct op_case *c, double seconds)
{
    const double gb = c->bytes / seconds / 1e9, tflop = c->flops / seconds / 1e12;
    if (b->json) {
        printf("{\"op\":\"%s\",\"us\":%.2f,\"gb_per_s\":%.2f,\"tflop_per_s\":%.4f}\n", c->text,
               seconds * 1e6, gb, tflop);
        return;
    }
    printf("%-52s %11.2f %9.2f %9.3f", c->text, seconds * 1e6, gb, tflop);
    if (b->copy_bytes_per_s > 0)
        printf(" %7.0f %%", 100 * c->bytes / seconds / b->copy_bytes_per_s);
    printf("\n");
}

static enum status measure(struct bench_ops *b, const struct op_case *c)
{
    double seconds = 0, best = INFINITY;
    int n_times = 1;
    enum status status = submit(b, c, 0, 1, &seconds); // compiles the kernel
    if (status == OK)
        status = submit(b, c, 0, 1, &seconds);
    if (status == OK && seconds < SUBMISSION_US / 1e6)
        n_times = (int)fmin(TIMES_MOST, SUBMISSION_US / 1e6 / fmax(seconds, 1e-6));
    const uint64_t key = ++b->key;
    for (int i = 0; i <= SUBMISSIONS && status == OK; i++) {
        status = submit(b, c, key, n_times < 1 ? 1 : n_times, &seconds);
        if (i > 0) // the first one records
            best = fmin(best, seconds);
    }
    if (status == OK)
        report(b, c, best / (n_times < 1 ? 1 : n_times));
    return status;
}

// ---- what a case is made of -------------------------------------------------------------------

static enum status tensor(struct bench_ops *b, struct op_case *c, enum dtype type, int64_t n_rows,
                          int64_t n_cols)
{
    struct tensor *out = &c->tensor[c->n_tensors];
    enum status status = compute_tensor(b->compute, out, type, n_rows, n_cols, b->err);
    c->n_tensors += status == OK;
    return status;
}

// The same as ints: value, value + step, value + 2 step, ...
static enum status ints(struct bench_ops *b, struct op_case *c, int64_t n, int32_t value,
                        int32_t step)
{
    enum status status = tensor(b, c, DTYPE_I32, 1, n);
    if (status != OK)
        return status;
    int32_t *values = mem_array((size_t)n, sizeof(*values));
    for (int64_t i = 0; i < n; i++)
        values[i] = value + (int32_t)i * step;
    tensor_write(b->compute, &c->tensor[c->n_tensors - 1], values, (size_t)n * sizeof(*values));
    free(values);
    return OK;
}

// Enough different weights that none is in a cache when it comes again.
static enum status weights(struct bench_ops *b, struct op_case *c, enum dtype type, int64_t n_rows,
                           int64_t n_cols)
{
    size_t n_bytes = dtype_row_bytes(type, n_cols) * (size_t)n_rows,
           step = (n_bytes + 63) / 64 * 64;
    enum status status = OK;
    for (size_t at = 0; status == OK && c->n_weights < WEIGHTS_MOST &&
                        (c->n_weights == 0 || at + n_bytes <= ROTATE_BYTES);
         at += step) {
        status = compute_weight(b->compute, &c->weight[c->n_weights], type, n_rows, n_cols,
                                b->bytes + at, b->err);
        c->n_weights += status == OK;
    }
    return status;
}

static void case_free(struct bench_ops *b, struct op_case *c)
{
    for (int i = 0; i < c->n_tensors; i++)
        tensor_free(b->compute, &c->tensor[i]);
    for (int i = 0; i < c->n_weights; i++)
        tensor_free(b->compute, &c->weight[i]);
}

// ---- the cases --------------------------------------------------------------------------------

static void record_product(struct compute *compute, const struct op_case *c, int nth)
{
    op_matmul(compute, &(struct matmul){.out = &c->tensor[1], .w = &c->weight[nth % c->n_weights]},
              1, &(struct matmul_x){.x = &c->tensor[0]});
}

static void record_attention(struct compute *compute, const struct op_case *c, int nth)
{
    (void)nth;
    op_attention(compute, &c->tensor[1], &c->tensor[0], &c->tensor[2], &c->tensor[3], &c->tensor[4],
                 &c->tensor[5], &c->tensor[6], &c->attention);
}

static void record_norm(struct compute *compute, const struct op_case *c, int nth)
{
    (void)nth;
    op_rms_norm(compute, &c->tensor[1], &c->tensor[0], &c->tensor[2], 1e-6f);
}

static void record_top_k(struct compute *compute, const struct op_case *c, int nth)
{
    (void)nth;
    op_top_k(compute, &c->tensor[1], &c->tensor[2], NULL, &c->tensor[0]);
}

static bool wanted(const struct bench_ops *b, const struct op_case *c)
{
    return !b->word || strstr(c->text, b->word);
}

static enum status run(struct bench_ops *b, struct op_case *c, enum status status)
{
    if (status == OK)
        status = measure(b, c);
    case_free(b, c);
    return status;
}

static enum status product(struct bench_ops *b, enum dtype type, int64_t n_out, int64_t n_in,
                           int64_t n_tokens)
{
    struct op_case c = {.record = record_product};
    snprintf(c.text, sizeof(c.text), "matmul %s %lld x %lld, %lld token%s", dtype_name(type),
             (long long)n_out, (long long)n_in, (long long)n_tokens, n_tokens == 1 ? "" : "s");
    if (!wanted(b, &c))
        return OK;
    c.bytes = (double)dtype_row_bytes(type, n_in) * (double)n_out +
              4.0 * (double)n_tokens * (double)(n_in + n_out);
    c.flops = 2.0 * (double)n_out * (double)n_in * (double)n_tokens;
    enum status status = tensor(b, &c, DTYPE_F32, n_tokens, n_in);
    if (status == OK)
        status = tensor(b, &c, DTYPE_F32, n_tokens, n_out);
    if (status == OK)
        status = weights(b, &c, type, n_out, n_in);
    return run(b, &c, status);
}

static enum status attention(struct bench_ops *b, enum dtype cache, int64_t n_tokens, int32_t count)
{
    const int64_t n_head = 32, n_head_kv = 8, head_dim = 128; // Llama 3 8B
    struct op_case c = {.record = record_attention,
                        .attention = {(int32_t)n_head, (int32_t)n_head_kv, (int32_t)head_dim,
                                      1.0f / sqrtf((float)head_dim), 0, 0, NULL}};
    snprintf(c.text, sizeof(c.text), "attention 32/8 x 128, %s, %d rows, %lld token%s",
             dtype_name(cache), count, (long long)n_tokens, n_tokens == 1 ? "" : "s");
    if (!wanted(b, &c))
        return OK;
    c.bytes = 2.0 * (double)dtype_row_bytes(cache, n_head_kv * head_dim) * count;
    c.flops = 4.0 * (double)(n_head * head_dim) * count * (double)n_tokens;
    enum status status = tensor(b, &c, DTYPE_F32, n_tokens, n_head * head_dim);
    if (status == OK)
        status = tensor(b, &c, DTYPE_F32, n_tokens, n_head * head_dim);
    for (int i = 0; i < 2 && status == OK; i++) {
        status = compute_cache(b->compute, &c.tensor[c.n_tensors], cache, CACHE_ROWS,
                               n_head_kv * head_dim, b->err);
        c.n_tensors += status == OK;
    }
    if (status == OK)
        status = ints(b, &c, CACHE_ROWS / PAGE_ROWS, 0, 1);
    if (status == OK)
        status = ints(b, &c, n_tokens, 0, 0);
    if (status == OK)
        status = ints(b, &c, n_tokens, count, 0);
    return run(b, &c, status);
}

static enum status norm(struct bench_ops *b, int64_t n_tokens)
{
    struct op_case c = {.record = record_norm, .bytes = 8.0 * 4096 * (double)n_tokens};
    snprintf(c.text, sizeof(c.text), "rms_norm 4096, %lld token%s", (long long)n_tokens,
             n_tokens == 1 ? "" : "s");
    if (!wanted(b, &c))
        return OK;
    enum status status = tensor(b, &c, DTYPE_F32, n_tokens, 4096);
    if (status == OK)
        status = tensor(b, &c, DTYPE_F32, n_tokens, 4096);
    if (status == OK)
        status = tensor(b, &c, DTYPE_F32, 1, 4096);
    return run(b, &c, status);
}

static enum status top_k(struct bench_ops *b, int64_t k)
{
    struct op_case c = {.record = record_top_k, .bytes = 4.0 * 151936};
    snprintf(c.text, sizeof(c.text), "top_k %lld of 151936", (long long)k);
    if (!wanted(b, &c))
        return OK;
    enum status status = tensor(b, &c, DTYPE_F32, 1, 151936);
    if (status == OK)
        status = tensor(b, &c, DTYPE_I32, 1, k);
    if (status == OK)
        status = tensor(b, &c, DTYPE_F32, 1, k);
    return run(b, &c, status);
}

static enum status products(struct bench_ops *b)
{
    static const int64_t n_tokens[] = {1, 2, 4, 8, 64, 512};
    static const struct {
        int64_t n_out, n_in;
    } shapes[] = {{256, 2048}, {2048, 2048}, {11008, 2048}, {2048, 11008}, {14336, 4096}};
    enum status status = OK;
    for (uint32_t type = 0; type < 64 && status == OK; type++) // every format at one shape
        for (size_t t = 0; t < COUNT_OF(n_tokens) && dtype_known(type) && status == OK; t++)
            status = product(b, (enum dtype)type, 4096, 4096, n_tokens[t]);
    for (size_t s = 0; s < COUNT_OF(shapes) && status == OK; s++) // one format at every shape
        for (size_t t = 0; t < COUNT_OF(n_tokens) && status == OK; t++)
            status = product(b, DTYPE_Q4_K, shapes[s].n_out, shapes[s].n_in, n_tokens[t]);
    return status == OK ? product(b, DTYPE_Q6_K, 151936, 2048, 1) : status;
}

static enum status others(struct bench_ops *b)
{
    static const int32_t counts[] = {64, 1024, 8192, CACHE_ROWS};
    enum status status = OK;
    for (size_t i = 0; i < COUNT_OF(counts) && status == OK; i++) {
        status = attention(b, DTYPE_F16, 1, counts[i]);
        if (status == OK)
            status = attention(b, DTYPE_Q8_0, 1, counts[i]);
    }
    if (status == OK)
        status = attention(b, DTYPE_F16, 512, 1024);
    if (status == OK)
        status = norm(b, 1);
    if (status == OK)
        status = norm(b, 512);
    if (status == OK)
        status = top_k(b, 1);
    return status == OK ? top_k(b, 40) : status;
}

enum status bench_ops(struct compute *compute, const char *word, bool json, struct err *err)
{
    struct bench_ops b = {.compute = compute, .word = word, .json = json, .err = err};
    struct self_test test = {0};
    enum status status = compute_self_test(compute, &test, err);
    if (status != OK)
        return status;
    b.copy_bytes_per_s = test.copy_bytes_per_s;
    if (!json) {
        printf("%s\n%s\ncopying %.1f GB/s (read + written), reading %.1f GB/s\n\n",
               compute_info(compute)->device, test.said, test.copy_bytes_per_s / 1e9,
               test.read_bytes_per_s / 1e9);
        printf("%-52s %11s %9s %9s %9s\n", "operation", "us", "GB/s", "TFLOP/s", "of copy");
    }
    // One tensor may be larger than what is rotated over; 0x2c2c is 0.065 as a half float.
    size_t n_bytes = (size_t)ROTATE_BYTES + dtype_row_bytes(DTYPE_F32, 4096) * 14336;
    b.bytes = aligned_alloc(64, n_bytes);
    if (!b.bytes)
        return err_set(err, NO_ROOM, "%zu MiB of memory wanted for weights", n_bytes >> 20);
    memset(b.bytes, 0x2c, n_bytes);
    status = products(&b);
    if (status == OK)
        status = others(&b);
    free(b.bytes);
    return status;
}
