// compute_ops.c - the other operations (embed, rows, top_k, rms_norm, rope_kv, glu) against double,
// on every instruction set, and that operations recorded together see each other's results in
// order.
//
// Tolerances: one F32 rounding an operation, a handful of operations: 1e-6 of the value's size;
// glu's e^x adds 2e-7.
#include "compute_check.h"

#include "../../engine/compute/blocks.h"

static void run_begin(struct compute *compute)
{
    CHECK(compute_begin(compute, 0));
}

static void run_end(struct compute *compute)
{
    CHECK(compute_finish(compute, NULL) == OK);
}

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
    static const int32_t picked[2] = {2, 0};
    struct tensor tx = tensor_of(compute, DTYPE_F32, TOKENS, N, x),
                  pick = tensor_of(compute, DTYPE_I32, 1, 2, picked),
                  two = tensor_of(compute, DTYPE_F32, 2, N, NULL);
    run_begin(compute);
    op_rows(compute, &two, &tx, &pick);
    run_end(compute);
    tensor_read(compute, out, &two, 2 * N * sizeof *out);
    CHECK(memcmp(out, x + 2 * N, N * sizeof *x) == 0 && memcmp(out + N, x, N * sizeof *x) == 0);
    tensor_free(compute, &index), tensor_free(compute, &to), tensor_free(compute, &tx);
    tensor_free(compute, &pick), tensor_free(compute, &two);
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
            wrong += !(fabs(norm[i] - normed) <= 1e-6 * fabs(normed) + 1e-9);
            // GELU far on the left: e^2u is small and its relative error that of u, 2^-23 u.
            double slack = activation == ACTIVATION_GELU ? 3e-6 : 1e-6;
            wrong += !(fabs(gated[i] - act) <= slack * fabs(act) + 1e-9);
        }
    }
    CHECK(wrong == 0);
    tensor_free(compute, &tx), tensor_free(compute, &tu), tensor_free(compute, &tw),
        tensor_free(compute, &tn);
}

// Where a token's keys and values go, and the rows read back: attention over one row gives the row
// of `v`, whatever the scores.
static void read_cache(struct compute *compute, float *out, const struct tensor *cache,
                       const int32_t *row, int32_t n, int32_t n_head, int32_t head_dim)
{
    int32_t ones[8];
    for (int32_t t = 0; t < n; t++)
        ones[t] = 1;
    struct tensor q = tensor_of(compute, DTYPE_F32, n, n_head * head_dim, NULL),
                  to = tensor_of(compute, DTYPE_F32, n, n_head * head_dim, NULL),
                  first = tensor_of(compute, DTYPE_I32, 1, n, row),
                  count = tensor_of(compute, DTYPE_I32, 1, n, ones);
    struct attention attention = {n_head, n_head, head_dim, 1.0f};
    run_begin(compute);
    op_attention(compute, &to, &q, cache, cache, &first, &count, &attention);
    run_end(compute);
    tensor_read(compute, out, &to, (size_t)n * (size_t)(n_head * head_dim) * sizeof *out);
    tensor_free(compute, &q), tensor_free(compute, &to);
    tensor_free(compute, &first), tensor_free(compute, &count);
}

struct rope_case {
    enum rope_pairs pairs;
    int32_t head_dim, n_rot;
    bool factors;
};

enum { ROPE_TOKENS = 4, ROPE_HEADS = 3, ROPE_MOST = 128 };
static const int32_t rope_positions[ROPE_TOKENS] = {0, 1, 777, 32767};

// How much of one turned row differs from double; `step`: half of it is the last place of the
// format.
static int rope_wrong(const struct rope_case *c, const float *factor, const float *x,
                      const float *out, int32_t n_head, double step)
{
    int wrong = 0;
    for (int at = 0; at < ROPE_TOKENS * n_head * c->head_dim; at += c->head_dim)
        for (int d = 0; d < c->head_dim; d++) {
            double want = x[at + d];
            if (d < c->n_rot) {
                bool norm = c->pairs == ROPE_NORM, second = norm ? d % 2 : d >= c->n_rot / 2;
                int i = norm ? d / 2 : d % (c->n_rot / 2),
                    other = norm ? d ^ 1 : (d + c->n_rot / 2) % c->n_rot;
                double angle = rope_positions[at / (n_head * c->head_dim)] * 0.5 *
                               pow(10000, -2.0 * i / c->n_rot) / (c->factors ? factor[i] : 1);
                want = x[at + d] * cos(angle) + (second ? 1 : -1) * x[at + other] * sin(angle);
            }
            wrong += !(fabs(out[at + d] - want) <= 1e-5 + step * fabs(want));
        }
    return wrong;
}

static void check_rope(struct compute *compute, struct rope_case c)
{
    enum { Q = ROPE_TOKENS * ROPE_HEADS * ROPE_MOST, KV_HEADS = 2, ROWS = 9 };
    static const int32_t places[ROPE_TOKENS] = {7, 2, 1, 8}, untouched[1] = {0};
    static float q[Q], k[Q], v[Q], out[Q], factor[ROPE_MOST / 2];
    int32_t turns[ROPE_MOST], n_q = ROPE_HEADS * c.head_dim, n_kv = KV_HEADS * c.head_dim;
    struct rope rope = {.pairs = c.pairs, .n_rot = c.n_rot};
    for (int i = 0; i < c.n_rot / 2; i++)
        factor[i] = 1 + (float)i / 4;
    rope_turns(turns, &rope.magnitude, c.n_rot,
               &(struct rope_scaling){10000, 0.5f, c.factors ? factor : NULL});
    random_floats(q, ROPE_TOKENS * n_q);
    random_floats(k, ROPE_TOKENS * n_kv);
    random_floats(v, ROPE_TOKENS * n_kv);
    struct tensor tq = tensor_of(compute, DTYPE_F32, ROPE_TOKENS, n_q, q),
                  tk = tensor_of(compute, DTYPE_F32, ROPE_TOKENS, n_kv, k),
                  tv = tensor_of(compute, DTYPE_F32, ROPE_TOKENS, n_kv, v),
                  pos = tensor_of(compute, DTYPE_I32, 1, ROPE_TOKENS, rope_positions),
                  row = tensor_of(compute, DTYPE_I32, 1, ROPE_TOKENS, places),
                  tt = tensor_of(compute, DTYPE_I32, 1, c.n_rot, turns), ck, cv;
    CHECK(compute_cache(compute, &ck, DTYPE_F16, ROWS, n_kv, NULL) == OK);
    CHECK(compute_cache(compute, &cv, DTYPE_F16, ROWS, n_kv, NULL) == OK);
    rope.turns = &tt;
    run_begin(compute);
    op_rope_kv(compute, &(struct rope_kv){&tq, &tk, &tv, &pos, &row, &ck, &cv, c.head_dim, rope});
    run_end(compute);
    tensor_read(compute, out, &tq, (size_t)(ROPE_TOKENS * n_q) * sizeof *out);
    int wrong = rope_wrong(&c, factor, q, out, ROPE_HEADS, 0);
    read_cache(compute, out, &ck, places, ROPE_TOKENS, KV_HEADS, c.head_dim);
    wrong += rope_wrong(&c, factor, k, out, KV_HEADS, 0x1p-11);
    read_cache(compute, out, &cv, places, ROPE_TOKENS, KV_HEADS, c.head_dim);
    for (int i = 0; i < ROPE_TOKENS * n_kv; i++)
        wrong += out[i] != float_from_f16(f16_from_float(v[i]));
    read_cache(compute, out, &ck, untouched, 1, KV_HEADS, c.head_dim);
    for (int i = 0; i < n_kv; i++)
        wrong += out[i] != 0;
    if (!CHECK(wrong == 0))
        fprintf(stderr, "    rope %d, %d of %d: %d wrong\n", c.pairs, c.n_rot, c.head_dim, wrong);
    tensor_free(compute, &tq), tensor_free(compute, &tk), tensor_free(compute, &tv);
    tensor_free(compute, &pos), tensor_free(compute, &row), tensor_free(compute, &tt);
    tensor_free(compute, &ck), tensor_free(compute, &cv);
}

// ---- top_k --------------------------------------------------------------------------------------

// A small number of different values, so that there are many equal ones; NaN now and then.
static void check_top_k(struct compute *compute, int64_t n_cols, int32_t k, bool nans)
{
    enum { ROWS = 3, MOST = 3000 };
    static float x[ROWS * MOST], value[ROWS * TOP_K_MOST];
    static int32_t id[ROWS * TOP_K_MOST];
    bool taken[MOST];
    int wrong = 0;
    for (int64_t i = 0; i < ROWS * n_cols; i++)
        x[i] = nans && random_u32() % 50 == 0 ? NAN : (float)(random_u32() % 40) - 20;
    struct tensor tx = tensor_of(compute, DTYPE_F32, ROWS, n_cols, x),
                  ti = tensor_of(compute, DTYPE_I32, ROWS, k, NULL),
                  tv = tensor_of(compute, DTYPE_F32, ROWS, k, NULL);
    run_begin(compute);
    op_top_k(compute, &ti, &tv, &tx);
    run_end(compute);
    tensor_read(compute, id, &ti, (size_t)(ROWS * k) * sizeof *id);
    tensor_read(compute, value, &tv, (size_t)(ROWS * k) * sizeof *value);
    for (int t = 0; t < ROWS; t++) {
        memset(taken, 0, sizeof taken);
        for (int j = 0; j < k; j++) { // the first of the greatest that are left
            int64_t best = -1;
            for (int64_t i = 0; i < n_cols; i++) {
                float a = x[t * n_cols + i], b = best < 0 ? 0 : x[t * n_cols + best];
                if (!taken[i] && (best < 0 || (isnan(a) ? !isnan(b) : a > b)))
                    best = i;
            }
            taken[best] = true;
            wrong += id[t * k + j] != best ||
                     memcmp(&value[t * k + j], &x[t * n_cols + best], sizeof *x) != 0;
        }
    }
    CHECK(wrong == 0);
    tensor_free(compute, &tx), tensor_free(compute, &ti), tensor_free(compute, &tv);
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
        run_begin(compute);
        for (int i = 0; i < TIMES; i++) { // y = x; x = x + y
            op_matmul(compute, &copy, 1, &(struct matmul_x){.x = &tx});
            op_matmul(compute, &add, 1, &(struct matmul_x){.x = &ty});
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
        for (int64_t n = 1; n <= 5000; n = n * 3 + 2) {
            check_norm_and_glu(compute, n, ACTIVATION_SILU);
            check_norm_and_glu(compute, n, ACTIVATION_GELU);
        }
        for (int factors = 0; factors < 2; factors++) {
            check_rope(compute, (struct rope_case){ROPE_NORM, 64, 64, factors});
            check_rope(compute, (struct rope_case){ROPE_NEOX, 128, 128, factors});
            check_rope(compute, (struct rope_case){ROPE_NEOX, 80, 32, factors});
            check_rope(compute, (struct rope_case){ROPE_NORM, 10, 6, factors});
        }
        for (int nans = 0; nans < 2; nans++) {
            check_top_k(compute, 1, 1, nans);
            check_top_k(compute, 64, 64, nans);
            check_top_k(compute, 2999, 40, nans);
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
