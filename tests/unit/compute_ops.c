// compute_ops.c - the operations on rows (embed, rows, top_k, rms_norm, glu) against double, and
// that operations recorded together see each other's results in order.
//
// Tolerances: one F32 rounding an operation, a handful of operations: 1e-6 of the value's size;
// glu's e^x adds 2e-7. A GPU's e^x and square root are a little coarser: 1e-5.
#include "compute_check.h"

static void check_gather(struct compute *compute)
{
    enum { N = 512, ROWS = 9, TOKENS = 4 };
    static const int32_t ids[TOKENS] = {8, 0, 3, 3};
    static float out[TOKENS * N], x[TOKENS * N], want[N];
    struct tensor index = tensor_of(compute, DTYPE_I32, 1, TOKENS, ids),
                  to = tensor_of(compute, DTYPE_F32, TOKENS, N, NULL);
    for (size_t i = 0; i < COUNT_OF(weight_types); i++) {
        uint8_t *w = random_weights(weight_types[i], ROWS, N);
        struct tensor embd;
        CHECK(compute_weight(compute, &embd, weight_types[i], ROWS, N, w, NULL) == OK);
        run_begin(compute);
        op_embed(compute, &to, &embd, &index, 1);
        run_end(compute);
        tensor_read(compute, out, &to, sizeof(out));
        for (int t = 0; t < TOKENS; t++) {
            int wrong = 0;
            dtype_decode(weight_types[i], want,
                         w + (size_t)ids[t] * dtype_row_bytes(weight_types[i], N), N);
            for (int j = 0; j < N; j++) // the decode is the same code on the CPU
                wrong += !(fabs(want[j] - out[t * N + j]) <= (is_cpu(compute) ? 0 : 0x1p-22));
            CHECK(wrong == 0);
        }
        tensor_free(compute, &embd);
        free(w);
    }
    random_floats(x, TOKENS * N);
    static const int32_t picked[2] = {2, 0};
    struct tensor tx = tensor_of(compute, DTYPE_F32, TOKENS, N, x),
                  pick = tensor_of(compute, DTYPE_I32, 1, 2, picked),
                  two = tensor_of(compute, DTYPE_F32, 2, N, NULL);
    run_begin(compute);
    op_rows(compute, &two, &tx, &pick);
    run_end(compute);
    tensor_read(compute, out, &two, 2 * N * sizeof(*out));
    CHECK(memcmp(out, x + 2 * N, N * sizeof(*x)) == 0 && memcmp(out + N, x, N * sizeof(*x)) == 0);
    tensor_free(compute, &index), tensor_free(compute, &to), tensor_free(compute, &tx);
    tensor_free(compute, &pick), tensor_free(compute, &two);
}

// Rows in the middle of both, an odd number of the kernel's workgroups and of the CPU's pieces;
// nothing around them changes.
static void check_copy(struct compute *compute)
{
    enum { COLS = 1028, ROWS = 50, FROM = 3, TO = 7, N = 41 };
    static float x[ROWS * COLS], out[ROWS * COLS];
    random_floats(x, ROWS * COLS);
    struct tensor from = tensor_of(compute, DTYPE_F32, ROWS, COLS, x),
                  to = tensor_of(compute, DTYPE_F32, ROWS, COLS, NULL),
                  some = tensor_rows(&from, FROM, N), there = tensor_rows(&to, TO, N);
    run_begin(compute);
    op_copy(compute, &there, &some);
    run_end(compute);
    tensor_read(compute, out, &to, sizeof(out));
    CHECK(memcmp(out + TO * COLS, x + FROM * COLS, sizeof(float) * N * COLS) == 0);
    int wrong = 0;
    for (int i = 0; i < ROWS * COLS; i++)
        wrong += (i < TO * COLS || i >= (TO + N) * COLS) && out[i] != 0;
    CHECK(wrong == 0);
    tensor_free(compute, &from), tensor_free(compute, &to);
}

static double activated(double x, enum activation activation)
{
    if (activation == ACTIVATION_SILU)
        return x / (1 + exp(-x));
    return x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}

static void check_norm_and_glu(struct compute *compute, int64_t n, enum activation activation)
{
    enum { TOKENS = 3, MOST = 5000 };
    static float x[TOKENS * MOST], up[TOKENS * MOST], weight[MOST], norm[TOKENS * MOST],
        gated[TOKENS * MOST];
    random_floats(x, TOKENS * n);
    random_floats(up, TOKENS * n);
    random_floats(weight, n);
    const double loose = is_cpu(compute) ? 1 : 10;
    x[0] = 90, x[n - 1] = -90; // where e^x is held
    struct tensor tx = tensor_of(compute, DTYPE_F32, TOKENS, n, x),
                  tu = tensor_of(compute, DTYPE_F32, TOKENS, n, up);
    struct tensor tw = tensor_of(compute, DTYPE_F32, 1, n, weight),
                  tn = tensor_of(compute, DTYPE_F32, TOKENS, n, NULL);
    run_begin(compute);
    op_rms_norm(compute, &tn, &tx, &tw, 1e-5f);
    op_glu(compute, &tx, &tx, &tu, activation);
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
                   act = activated((double)x[i], activation) * up[i];
            wrong += !(fabs(norm[i] - normed) <= 1e-6 * loose * fabs(normed) + 1e-9);
            // GELU far on the left: e^2u is small and its relative error that of u, 2^-23 u.
            double slack = activation == ACTIVATION_GELU ? 3e-6 : 1e-6;
            wrong += !(fabs(gated[i] - act) <= slack * loose * fabs(act) + 1e-9);
        }
    }
    CHECK(wrong == 0);
    tensor_free(compute, &tx), tensor_free(compute, &tu), tensor_free(compute, &tw),
        tensor_free(compute, &tn);
}

// ---- top_k --------------------------------------------------------------------------------------

// A small number of different values, so that there are many equal ones; NaN now and then.
static void check_top_k(struct compute *compute, int64_t n_cols, int32_t k, bool nans)
{
    enum { ROWS = 3, MOST = 3000 };
    static float x[ROWS * MOST], value[ROWS * TOP_K_MOST], total[ROWS];
    static int32_t id[ROWS * TOP_K_MOST];
    bool taken[MOST];
    int wrong = 0;
    for (int64_t i = 0; i < ROWS * n_cols; i++)
        x[i] = nans && random_u32() % 50 == 0 ? NAN : (float)(random_u32() % 40) - 20;
    struct tensor tx = tensor_of(compute, DTYPE_F32, ROWS, n_cols, x),
                  ti = tensor_of(compute, DTYPE_I32, ROWS, k, NULL),
                  tv = tensor_of(compute, DTYPE_F32, ROWS, k, NULL),
                  ts = tensor_of(compute, DTYPE_F32, ROWS, 1, NULL);
    run_begin(compute);
    op_top_k(compute, &ti, &tv, &ts, &tx);
    run_end(compute);
    tensor_read(compute, id, &ti, (size_t)(ROWS * k) * sizeof(*id));
    tensor_read(compute, value, &tv, (size_t)(ROWS * k) * sizeof(*value));
    tensor_read(compute, total, &ts, sizeof(total));
    for (int t = 0; t < ROWS; t++) {
        double sum = 0;
        for (int64_t i = 0; i < n_cols; i++)
            sum += exp((double)x[t * n_cols + i]);
        wrong += isnan(sum) ? !isnan(total[t]) : fabs(log(sum) - (double)total[t]) > 1e-5;
        memset(taken, 0, sizeof(taken));
        for (int j = 0; j < k; j++) { // the first of the greatest that are left
            int64_t best = -1;
            for (int64_t i = 0; i < n_cols; i++) {
                float a = x[t * n_cols + i], b = best < 0 ? 0 : x[t * n_cols + best];
                if (!taken[i] && (best < 0 || (isnan(a) ? !isnan(b) : a > b)))
                    best = i;
            }
            taken[best] = true;
            wrong += id[t * k + j] != best ||
                     memcmp(&value[t * k + j], &x[t * n_cols + best], sizeof(*x)) != 0;
        }
    }
    CHECK(wrong == 0);
    tensor_free(compute, &tx), tensor_free(compute, &ti), tensor_free(compute, &tv),
        tensor_free(compute, &ts);
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
        tensor_write(compute, &tx, x, sizeof(x));
        run_begin(compute);
        for (int i = 0; i < TIMES; i++) { // y = x; x = x + y
            op_matmul(compute, &copy, 1, &(struct matmul_x){.x = &tx});
            op_matmul(compute, &add, 1, &(struct matmul_x){.x = &ty});
        }
        run_end(compute);
        tensor_read(compute, out, &tx, sizeof(out));
        int wrong = 0;
        for (int i = 0; i < N; i++)
            wrong += out[i] != ldexpf(x[i], TIMES); // exact: doubling only moves the exponent
        CHECK(wrong == 0);
    }
    tensor_free(compute, &tx), tensor_free(compute, &tw), tensor_free(compute, &ty);
}

static void check_all(struct compute *compute)
{
    check_gather(compute);
    check_copy(compute);
    for (int64_t n = 1; n <= 5000; n = n * 3 + 2) {
        check_norm_and_glu(compute, n, ACTIVATION_SILU);
        check_norm_and_glu(compute, n, ACTIVATION_GELU);
    }
    for (int nans = 0; nans < 2; nans++) {
        check_top_k(compute, 1, 1, nans);
        check_top_k(compute, 64, 64, nans);
        check_top_k(compute, 2999, 40, nans);
    }
    check_order(compute);
}

int main(void)
{
    on_devices(3, check_all);
    struct compute *none = NULL;
    struct err err = {0};
    struct compute_options gpu = {.device = "nonesuch"}, cpu = {.device = "cpu"};
    CHECK(compute_open(&none, &gpu, &err) == NOT_FOUND && strstr(err.text, "nonesuch"));
    setenv("TAWNY_CPU", "mmx", 1);
    CHECK(compute_open(&none, &cpu, &err) == BAD_INPUT && strstr(err.text, "mmx"));
    return check_done("compute_ops");
}
