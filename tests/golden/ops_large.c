// ops_large.c - weights of more than 2 GiB, whose places no signed 32-bit number holds, and of more
// than 4 GiB, which lie in several buffers of one device. Only with --large.
//
// Few rows of them hold numbers: those at the ends, at 2 GiB and where one buffer ends and the next
// begins. The others are never written and, but for the product of them all, never read, so that a
// device whose memory is given out by the page (the emulated chip's) has need of little.
#include "ops.h"

#include "../unit/formats.h"

enum { FAR_MOST = 8 };
static const uint64_t gib = (uint64_t)1 << 30;

// First rows of runs of n_each that hold numbers: the first and the last, those on both sides of 2
// GiB and of each row that is a multiple of `border`.
struct runs {
    int64_t first[FAR_MOST], n_each;
    int n;
};

static struct runs runs_of(int64_t n_rows, int64_t n_each, uint64_t row_bytes, int64_t border)
{
    const int64_t middle = (int64_t)(2 * gib / row_bytes) / n_each * n_each;
    struct runs runs = {{0, middle - n_each, middle, n_rows - n_each}, n_each, 4};
    for (int64_t row = border; row < n_rows && runs.n + 2 <= FAR_MOST; row += border) {
        runs.first[runs.n++] = row - n_each;
        runs.first[runs.n++] = row;
    }
    return runs;
}

// Rows of the first buffer of a device whose buffers hold 4 GiB less 256 bytes.
static int64_t border_of(uint64_t row_bytes, int64_t whole_rows)
{
    const int64_t n = (int64_t)((4 * gib - 4096 - 256) / row_bytes);
    return n / whole_rows * whole_rows;
}

static void embed_far(enum dtype type, int64_t n_cols, uint64_t n_gib)
{
    const uint64_t row_bytes = dtype_row_bytes(type, n_cols);
    const int64_t n_rows = (int64_t)(n_gib * gib / row_bytes);
    if (!case_open("embed %s of %lld GiB, far rows", dtype_name(type), (long long)n_gib))
        return;
    const struct runs runs = runs_of(n_rows, 1, row_bytes, border_of(row_bytes, 1));
    int32_t ids[FAR_MOST];
    for (int i = 0; i < runs.n; i++)
        ids[i] = (int32_t)runs.first[i];
    struct both *w = both_far(type, n_rows, n_cols, 1, runs.first, runs.n, 1, false),
                *id = both_ints(ids, runs.n), *out = both_random(runs.n, n_cols, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        record(d);
        op_embed(ops_on[d], &out->on[d], &w->on[d], &id->on[d], 1);
        submit(d);
    }
    compare(out, LIMIT_DECODE);
    case_close();
}

// Experts of 1024 x 4096 half floats, 8 MiB each.
static void experts_far(uint64_t n_gib, int64_t n_tokens)
{
    enum { ROWS = 1024, COLS = 4096, USED = 2 };
    const int64_t n_rows = (int64_t)(n_gib * gib / (2 * COLS));
    int32_t ids[64];
    if (!case_open("experts F16 of %lld GiB, far rows, %lld tokens", (long long)n_gib,
                   (long long)n_tokens))
        return;
    const struct runs runs = runs_of(n_rows, ROWS, 2 * COLS, border_of(2 * COLS, ROWS));
    const int64_t n = n_tokens * USED;
    for (int64_t i = 0; i < n; i++) // runs.n is even: not one twice for a token
        ids[i] = (int32_t)(runs.first[i % runs.n] / ROWS);
    struct both *w = both_far(DTYPE_F16, n_rows, COLS, ROWS, runs.first, runs.n, ROWS, false),
                *x = both_random(n_tokens, COLS, 1),
                *id = both_tensor(DTYPE_I32, n_tokens, USED, ids), *out = both_random(n, ROWS, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        const struct matmul_experts args = {&out->on[d], &w->on[d],  NULL,
                                            &x->on[d],   &id->on[d], USED};
        record(d);
        op_matmul_experts(ops_on[d], &args);
        submit(d);
    }
    compare_to(out, n_tokens <= 8 ? LIMIT_SUMS : LIMIT_HALF, w->rms * sqrt(COLS));
    case_close();
}

// Of a buffer of 3 GiB the last rows, as a view.
static void product_far(int64_t n_tokens)
{
    enum { ROWS = 64, COLS = 4096 };
    const int64_t n_rows = (int64_t)(3 * gib / (2 * COLS)), first = n_rows - ROWS;
    if (!case_open("matmul F16 of 3 GiB, far rows, %lld tokens", (long long)n_tokens))
        return;
    struct both *w = both_far(DTYPE_F16, n_rows, COLS, 1, &first, 1, ROWS, false),
                *x = both_random(n_tokens, COLS, 1), *out = both_random(n_tokens, ROWS, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        const struct tensor rows = tensor_rows(&w->on[d], first, ROWS);
        record(d);
        op_matmul(ops_on[d], &(struct matmul){.out = &out->on[d], .w = &rows}, 1,
                  &(struct matmul_x){.x = &x->on[d]});
        submit(d);
    }
    compare_to(out, n_tokens <= 8 ? LIMIT_SUMS : LIMIT_HALF, w->rms * sqrt(COLS));
    case_close();
}

// All rows of 9/4 GiB: each is read.
static void product_whole(void)
{
    enum { COLS = 16384 };
    const uint64_t row_bytes = 2 * COLS;
    const int64_t n_rows = (int64_t)(9 * gib / 4 / row_bytes);
    if (!case_open("matmul F16 of 9/4 GiB, whole, 1 token"))
        return;
    const struct runs runs = runs_of(n_rows, 1, row_bytes, n_rows);
    struct both *w = both_far(DTYPE_F16, n_rows, COLS, 1, runs.first, runs.n, 1, true),
                *x = both_random(1, COLS, 1), *out = both_random(1, n_rows, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        record(d);
        op_matmul(ops_on[d], &(struct matmul){.out = &out->on[d], .w = &w->on[d]}, 1,
                  &(struct matmul_x){.x = &x->on[d]});
        submit(d);
    }
    compare_to(out, LIMIT_SUMS, w->rms * sqrt(COLS));
    case_close();
}

void large_cases(void)
{
    for (uint64_t n_gib = 3; n_gib <= 9; n_gib += 3) { // one buffer, two, three
        embed_far(DTYPE_F32, 4096, n_gib);
        embed_far(DTYPE_Q6_K, 4096, n_gib);
        experts_far(n_gib, 3);
    }
    experts_far(3, 12);
    experts_far(6, 12);
    product_far(1);
    product_far(12);
    product_whole();
}
