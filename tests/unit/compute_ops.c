// compute_ops.c - the other operations (embed, rows, kv_store, rms_norm, rope, swiglu) against
// double, on every instruction set, and that operations recorded together see each other's results
// in order.
//
// Tolerances: one F32 rounding an operation, a handful of operations: 1e-6 of the value's size;
// swiglu's e^x adds 2e-7.
#include "compute_check.h"

#include "../../engine/compute/blocks.h"

static void run_end(struct compute *compute)
{
    CHECK(compute_finish(compute, NULL) == OK);
}

static void check_gather(struct compute *compute)
{
    enum { N = 512, ROWS = 9, TOKENS = 4 };
    static const int32_t ids[TOKENS] = {8, 0, 3, 3};
    static float out[TOKENS * N], x[TOKENS * N], want[N];
    static uint16_t cache[ROWS * N];
    struct tensor index = tensor_of(compute, DTYPE_I32, 1, TOKENS, ids),
                  to = tensor_of(compute, DTYPE_F32, TOKENS, N, NULL);
    for (size_t i = 0; i < COUNT_OF(weight_types); i++) {
        uint8_t *w = random_weights(weight_types[i], ROWS, N);
        struct tensor embd;
        CHECK(compute_weight(compute, &embd, weight_types[i], ROWS, N, w, NULL) == OK);
        compute_begin(compute);
        op_embed(compute, &to, &embd, &index);
        run_end(compute);
        tensor_read(compute, out, &to, sizeof out);
        for (int t = 0; t < TOKENS; t++) {
            dtype_decode(weight_types[i], want,
                         w + (size_t)ids[t] * dtype_row_bytes(weight_types[i], N), N);
            CHECK(memcmp(want, out + t * N, sizeof want) == 0);
        }
        tensor_free(compute, &embd);
        free(w);
    }
    random_floats(x, TOKENS * N);
    static const int32_t places[TOKENS] = {7, 2, 1, 8}, picked[2] = {2, 0};
    struct tensor tx = tensor_of(compute, DTYPE_F32, TOKENS, N, x),
                  kv = tensor_of(compute, DTYPE_F16, ROWS, N, NULL);
    struct tensor row = tensor_of(compute, DTYPE_I32, 1, TOKENS, places),
                  pick = tensor_of(compute, DTYPE_I32, 1, 2, picked);
    struct tensor two = tensor_of(compute, DTYPE_F32, 2, N, NULL);
    compute_begin(compute);
    op_kv_store(compute, &kv, &tx, &row);
    op_rows(compute, &two, &tx, &pick);
    run_end(compute);
    tensor_read(compute, cache, &kv, sizeof cache);
    tensor_read(compute, out, &two, 2 * N * sizeof *out);
    int wrong = 0;
    for (int t = 0; t < TOKENS; t++)
        for (int i = 0; i < N; i++)
            wrong += cache[places[t] * N + i] != f16_from_float(x[t * N + i]);
    for (int i = 0; i < N; i++)
        wrong += cache[i] != 0; // row 0 was not written
    CHECK(wrong == 0);
    CHECK(memcmp(out, x + 2 * N, N * sizeof *x) == 0 && memcmp(out + N, x, N * sizeof *x) == 0);
    tensor_free(compute, &index), tensor_free(compute, &to), tensor_free(compute, &tx),
        tensor_free(compute, &kv);
    tensor_free(compute, &row), tensor_free(compute, &pick), tensor_free(compute, &two);
}

static void check_norm_and_swiglu(struct compute *compute, int64_t n)
{
    enum { TOKENS = 3, MOST = 5000 };
    static float x[TOKENS * MOST], up[TOKENS * MOST], weight[MOST], norm[TOKENS * MOST],
        gated[TOKENS * MOST];
    random_floats(x, TOKENS * n);
    random_floats(up, TOKENS * n);
    random_floats(weight, n);
    x[0] = 90, x[n - 1] = -90; // where e^x is held
    struct tensor tx = tensor_of(compute, DTYPE_F32, TOKENS, n, x),
                  tu = tensor_of(compute, DTYPE_F32, TOKENS, n, up);
    struct tensor tw = tensor_of(compute, DTYPE_F32, 1, n, weight),
                  tn = tensor_of(compute, DTYPE_F32, TOKENS, n, NULL);
    compute_begin(compute);
    op_rms_norm(compute, &tn, &tx, &tw, 1e-5f);
    op_swiglu(compute, &tx, &tx, &tu);
    run_end(compute);
    tensor_read(compute, norm, &tn, (size_t)(TOKENS * n) * 4);
    tensor_read(compute, gated, &tx, (size_t)(TOKENS * n) * 4);
    int wrong = 0;
    for (int64_t t = 0; t < TOKENS; t++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += (double)x[t * n + i] * x[t * n + i];
        double scale = 1 / sqrt(sum / (double)n + 1e-5);
        for (int64_t i = t * n; i < t * n + n; i++) {
            double normed = x[i] * scale * weight[i - t * n],
                   swish = x[i] / (1 + exp(-(double)x[i])) * up[i];
            wrong += !(fabs(norm[i] - normed) <= 1e-6 * fabs(normed) + 1e-9);
            wrong += !(fabs(gated[i] - swish) <= 1e-6 * fabs(swish) + 1e-9);
        }
    }
    CHECK(wrong == 0);
    tensor_free(compute, &tx), tensor_free(compute, &tu), tensor_free(compute, &tw),
        tensor_free(compute, &tn);
}

static void check_rope(struct compute *compute, enum rope_pairs pairs, int32_t head_dim,
                       int32_t n_rot, bool factors)
{
    enum { TOKENS = 4, HEADS = 3, MOST = 128 };
    static const int32_t positions[TOKENS] = {0, 1, 777, 32767};
    static float x[TOKENS * HEADS * MOST], out[TOKENS * HEADS * MOST], factor[MOST / 2];
    int32_t n = HEADS * head_dim, wrong = 0;
    random_floats(x, TOKENS * n);
    for (int i = 0; i < n_rot / 2; i++)
        factor[i] = 1 + (float)i / 4;
    struct rope rope = {pairs, n_rot, 10000, 0.5f, factors ? factor : NULL};
    struct tensor tx = tensor_of(compute, DTYPE_F32, TOKENS, n, x),
                  tp = tensor_of(compute, DTYPE_I32, 1, TOKENS, positions);
    compute_begin(compute);
    op_rope(compute, &tx, &tp, head_dim, &rope);
    run_end(compute);
    tensor_read(compute, out, &tx, (size_t)(TOKENS * n) * 4);
    for (int at = 0; at < TOKENS * n; at += head_dim)
        for (int d = 0; d < head_dim; d++) {
            double want = x[at + d];
            if (d < n_rot) {
                bool second = pairs == ROPE_NORM ? d % 2 : d >= n_rot / 2;
                int i = pairs == ROPE_NORM ? d / 2 : d % (n_rot / 2),
                    other = pairs == ROPE_NORM ? d ^ 1 : (d + n_rot / 2) % n_rot;
                double angle = positions[at / n] * 0.5 * pow(10000, -2.0 * i / n_rot) /
                               (factors ? factor[i] : 1);
                want = x[at + d] * cos(angle) + (second ? 1 : -1) * x[at + other] * sin(angle);
            }
            wrong += !(fabs(out[at + d] - want) <= 1e-5);
        }
    CHECK(wrong == 0);
    tensor_free(compute, &tx), tensor_free(compute, &tp);
}

// 200 dependent operations in one recording (y = x, x = x + y), small enough to go wrong if order
// were lost.
static void check_order(struct compute *compute)
{
    enum { N = 64, TIMES = 100 };
    static float x[N], identity[N * N], out[N];
    for (int i = 0; i < N; i++)
        x[i] = (float)i / N, identity[i * N + i] = 1;
    struct tensor tx = tensor_of(compute, DTYPE_F32, 1, N, x),
                  tw = tensor_of(compute, DTYPE_F32, N, N, identity);
    struct tensor ty = tensor_of(compute, DTYPE_F32, 1, N, NULL);
    struct matmul copy = {.out = &ty, .w = &tw}, add = {.out = &tx, .w = &tw, .residual = &tx};
    for (int pass = 0; pass < 20; pass++) {
        tensor_write(compute, &tx, x, sizeof x);
        compute_begin(compute);
        for (int i = 0; i < TIMES; i++) { // y = x; x = x + y
            op_matmul(compute, &copy, 1, &tx);
            op_matmul(compute, &add, 1, &ty);
        }
        run_end(compute);
        tensor_read(compute, out, &tx, sizeof out);
        int wrong = 0;
        for (int i = 0; i < N; i++)
            wrong += out[i] != ldexpf(x[i], TIMES); // exact: doubling only moves the exponent
        CHECK(wrong == 0);
    }
    tensor_free(compute, &tx), tensor_free(compute, &tw), tensor_free(compute, &ty);
}

int main(void)
{
    for (size_t i = 0; i < COUNT_OF(isas); i++) {
        struct compute *compute = open_cpu(isas[i], 3);
        if (!compute)
            continue;
        check_gather(compute);
        for (int64_t n = 1; n <= 5000; n = n * 3 + 2)
            check_norm_and_swiglu(compute, n);
        for (int factors = 0; factors < 2; factors++) {
            check_rope(compute, ROPE_NORM, 64, 64, factors);
            check_rope(compute, ROPE_NEOX, 128, 128, factors);
            check_rope(compute, ROPE_NEOX, 80, 32, factors);
            check_rope(compute, ROPE_NORM, 10, 6, factors);
        }
        check_order(compute);
        compute_close(compute);
    }
    struct compute *none = NULL;
    struct err err = {0};
    struct compute_options gpu = {.device = "nonesuch"}, cpu = {.device = "cpu"};
    CHECK(compute_open(&none, &gpu, &err) == NOT_FOUND && strstr(err.text, "nonesuch"));
    setenv("TAWNY_CPU", "mmx", 1);
    CHECK(compute_open(&none, &cpu, &err) == BAD_INPUT && strstr(err.text, "mmx"));
    return check_done("compute_ops");
}
