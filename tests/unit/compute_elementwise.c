// compute_elementwise.c - the norms and what is done to each number by itself, against the papers'
// formulas in double; on tensors, on views with gaps between rows, and in place.
//
// Tolerances: a handful of F32 operations, 1e-6 of the sizes that were added; e^x adds 2e-7 of its
// own, and where it is far out the rounding of its exponent, 2^-23 of up to 40. A GPU's e^x, square
// root and division are a little coarser: ten times as much.
#include "compute_check.h"

enum { TOKENS = 5, MOST = 4200 };

struct rows { // a tensor of TOKENS rows, or columns of a wider one
    struct tensor whole, view;
    float x[TOKENS * MOST]; // its numbers [TOKENS][n]
};

static struct rows made_rows(struct compute *compute, int64_t n, bool gaps)
{
    static float wide[TOKENS * (MOST + 16)];
    const int64_t before = gaps ? 4 : 0, n_cols = n + (gaps ? 12 : 0);
    struct rows rows = {0};
    random_floats(wide, TOKENS * n_cols);
    rows.whole = tensor_of(compute, DTYPE_F32, TOKENS, n_cols, wide);
    rows.view = tensor_columns(&rows.whole, before, n);
    for (int64_t t = 0; t < TOKENS; t++)
        memcpy(rows.x + t * n, wide + t * n_cols + before, (size_t)n * sizeof(float));
    return rows;
}

// What is in the view now; and whether what lies beside it is still there.
static void read_rows(struct compute *compute, float *out, const struct rows *rows)
{
    static float wide[TOKENS * (MOST + 16)];
    const int64_t n = rows->view.n_cols, n_cols = rows->whole.n_cols,
                  before = (int64_t)(rows->view.offset / sizeof(float));
    tensor_read(compute, wide, &rows->whole, (size_t)(TOKENS * n_cols) * sizeof(*wide));
    for (int64_t t = 0; t < TOKENS; t++)
        memcpy(out + t * n, wide + t * n_cols + before, (size_t)n * sizeof(float));
}

// ---- norms --------------------------------------------------------------------------------------

struct norm_case {
    bool centred, weight, bias, add, in_place, gaps;
};

static int norm_wrong(const float *got, const struct norm_case *c, int64_t n, const float *x,
                      const float *weight, const float *bias, const float *residual, double loose)
{
    int wrong = 0;
    for (int64_t t = 0; t < TOKENS; t++) {
        double mean = 0, squares = 0;
        for (int64_t i = 0; i < n && c->centred; i++)
            mean += (double)x[t * n + i] / (double)n;
        for (int64_t i = 0; i < n; i++)
            squares += (x[t * n + i] - mean) * (x[t * n + i] - mean);
        const double factor = 1 / sqrt(squares / (double)n + 1e-5);
        for (int64_t i = 0; i < n; i++) {
            double y = (x[t * n + i] - mean) * factor * (c->weight ? (double)weight[i] : 1);
            double size = (fabs((double)x[t * n + i]) + fabs(mean)) * factor *
                          (c->weight ? fabs((double)weight[i]) : 1);
            if (c->centred) // the mean is rounded too, at the size of what was added up
                size += c->weight ? fabs((double)weight[i]) : 1;
            y += c->bias ? (double)bias[i] : 0;
            size += c->bias ? fabs((double)bias[i]) : 0;
            if (c->add) {
                y = (double)residual[t * n + i] + 0.375 * y;
                size += fabs((double)residual[t * n + i]);
            }
            wrong += !(fabs(got[t * n + i] - y) <= 1e-6 * loose * size + 1e-9);
        }
    }
    return wrong;
}

static void check_norm(struct compute *compute, int64_t n, struct norm_case c)
{
    static float weight[MOST], bias[MOST], got[TOKENS * MOST];
    struct rows x = made_rows(compute, n, c.gaps), residual = made_rows(compute, n, c.gaps),
                out = made_rows(compute, n, c.gaps);
    random_floats(weight, n);
    random_floats(bias, n);
    struct tensor tw = tensor_of(compute, DTYPE_F32, 1, n, weight),
                  tb = tensor_of(compute, DTYPE_F32, 1, n, bias);
    const struct tensor *w = c.weight ? &tw : NULL;
    struct rows *to = !c.in_place ? &out : c.add ? &residual : &x;
    run_begin(compute);
    if (c.centred)
        op_layer_norm(compute, &to->view, &x.view, w, c.bias ? &tb : NULL, 1e-5f);
    else if (c.add)
        op_norm_add(compute,
                    &(struct norm_add){&to->view, &x.view, w, &residual.view, 1e-5f, 0.375f});
    else
        op_rms_norm(compute, &to->view, &x.view, w, 1e-5f);
    run_end(compute);
    read_rows(compute, got, to);
    const int wrong =
        norm_wrong(got, &c, n, x.x, weight, bias, residual.x, is_cpu(compute) ? 1 : 10);
    if (!CHECK(wrong == 0))
        fprintf(stderr, "    %s: norm of %lld, centred %d, weight %d, bias %d, add %d: %d wrong\n",
                compute_info(compute)->device, (long long)n, c.centred, c.weight, c.bias, c.add,
                wrong);
    FREE_ALL(compute, &x.whole, &residual.whole, &out.whole, &tw, &tb);
}

// Heads of a row that are normalised each by itself are rows of another view.
static void check_groups(struct compute *compute)
{
    enum { GROUPS = 6, N = 24 };
    static float x[TOKENS * GROUPS * N], got[TOKENS * GROUPS * N];
    random_floats(x, TOKENS * GROUPS * N);
    struct tensor tx = tensor_of(compute, DTYPE_F32, TOKENS, GROUPS * N, x), groups = tx;
    groups.n_rows = TOKENS * GROUPS, groups.n_cols = N, groups.row_bytes = N * sizeof(float);
    run_begin(compute);
    op_rms_norm(compute, &groups, &groups, NULL, 1e-5f);
    run_end(compute);
    tensor_read(compute, got, &tx, sizeof(got));
    int wrong = 0;
    for (int g = 0; g < TOKENS * GROUPS; g++) {
        double squares = 0;
        for (int i = 0; i < N; i++)
            squares += (double)x[g * N + i] * x[g * N + i];
        for (int i = 0; i < N; i++) {
            double want = x[g * N + i] / sqrt(squares / N + 1e-5);
            wrong += !(fabs(got[g * N + i] - want) <= 1e-5 * fabs(want));
        }
    }
    CHECK(wrong == 0);
    tensor_free(compute, &tx);
}

// ---- activations --------------------------------------------------------------------------------

static double glu_of(enum activation activation, double g, double u)
{
    switch (activation) {
    case ACTIVATION_SILU:
        return g / (1 + exp(-g)) * u;
    case ACTIVATION_GELU:
        return g / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g))) * u;
    case ACTIVATION_GELU_ERF:
        return g / 2 * erfc(-g / sqrt(2)) * u;
    case ACTIVATION_RELU_SQUARE:
        return (g > 0 ? g * g : 0) * u;
    case ACTIVATION_SIGMOID:
        return u / (1 + exp(-g));
    case ACTIVATION_TANH:
        return tanh(g) * u;
    case ACTIVATION_SWIGLU_OAI:
        g = fmin(g, 7), u = fmin(fmax(u, -7), 7);
        return g / (1 + exp(-1.702 * g)) * (u + 1);
    case ACTIVATION_SWIGLU_10:
        g = fmin(g, 10), u = fmin(fmax(u, -10), 10);
        return g / (1 + exp(-g)) * u;
    case N_ACTIVATIONS:
        break;
    }
    return NAN;
}

static void check_glu(struct compute *compute, enum activation activation, int64_t n, bool up,
                      bool gaps)
{
    static float got[TOKENS * MOST];
    struct rows x = made_rows(compute, n, gaps), y = made_rows(compute, n, gaps),
                out = made_rows(compute, n, gaps);
    const bool in_place = gaps != up;
    const double loose = is_cpu(compute) ? 1 : 10;
    int wrong = 0;
    if (!gaps) {
        x.x[0] = 90, x.x[n - 1] = -90; // where e^x is held
        tensor_write(compute, &x.whole, x.x, (size_t)(TOKENS * n) * sizeof(float));
    }
    run_begin(compute);
    op_glu(compute, in_place ? &x.view : &out.view, &x.view, up ? &y.view : NULL, activation);
    run_end(compute);
    read_rows(compute, got, in_place ? &x : &out);
    for (int64_t i = 0; i < TOKENS * n; i++) {
        double want = glu_of(activation, x.x[i], up ? (double)y.x[i] : 1);
        double size = fabs(want) * 3, u = up ? fabs((double)y.x[i]) : 1;
        if (activation == ACTIVATION_TANH) // a difference to 1
            size += u;
        wrong += !(fabs(got[i] - want) <= 1e-6 * loose * size + 1e-9);
    }
    if (!CHECK(wrong == 0))
        fprintf(stderr, "    %s: activation %d of %lld, up %d, gaps %d: %d wrong\n",
                compute_info(compute)->device, activation, (long long)n, up, gaps, wrong);
    FREE_ALL(compute, &x.whole, &y.whole, &out.whole);
}

// ---- the rest -----------------------------------------------------------------------------------

enum kind { ADD, SCALE, MULTIPLY, SOFTCAP, N_KINDS };

static void check_kind(struct compute *compute, enum kind kind, int64_t n, bool gaps)
{
    static float got[TOKENS * MOST];
    struct rows x = made_rows(compute, n, gaps), y = made_rows(compute, n, gaps),
                out = made_rows(compute, n, gaps);
    int wrong = 0;
    run_begin(compute);
    if (kind == ADD)
        op_add(compute, &y.view, 1.5f, &x.view, -0.25f, &y.view);
    if (kind == SCALE)
        op_add(compute, &out.view, 0.125f, &x.view, 0, NULL);
    if (kind == MULTIPLY)
        op_multiply(compute, &x.view, &x.view, &y.view);
    if (kind == SOFTCAP)
        op_softcap(compute, &x.view, &x.view, 3);
    run_end(compute);
    read_rows(compute, got, kind == ADD ? &y : kind == SCALE ? &out : &x);
    for (int64_t i = 0; i < TOKENS * n; i++) {
        const double a = x.x[i], b = y.x[i];
        double want = kind == ADD        ? 1.5 * a - 0.25 * b
                      : kind == SCALE    ? 0.125 * a
                      : kind == MULTIPLY ? a * b
                                         : 3 * tanh(a / 3);
        double size = kind == ADD ? fabs(1.5 * a) + fabs(b) : kind == SOFTCAP ? 3 : fabs(want);
        wrong += !(fabs(got[i] - want) <= (is_cpu(compute) ? 1e-6 : 1e-5) * size + 1e-12);
    }
    if (!CHECK(wrong == 0))
        fprintf(stderr, "    %s: kind %d of %lld, gaps %d: %d wrong\n",
                compute_info(compute)->device, kind, (long long)n, gaps, wrong);
    FREE_ALL(compute, &x.whole, &y.whole, &out.whole);
}

static void check_gate(struct compute *compute, int64_t n, int64_t n_gate, bool residual, bool gaps)
{
    static float got[TOKENS * MOST];
    struct rows x = made_rows(compute, n, gaps), y = made_rows(compute, n, gaps),
                gate = made_rows(compute, n_gate, gaps);
    int wrong = 0;
    run_begin(compute);
    op_gate_add(compute, residual ? &y.view : &x.view, residual ? &y.view : NULL, &x.view,
                &gate.view);
    run_end(compute);
    read_rows(compute, got, residual ? &y : &x);
    for (int64_t t = 0; t < TOKENS; t++)
        for (int64_t i = 0; i < n; i++) {
            double g = gate.x[t * n_gate + i / (n / n_gate)], a = x.x[t * n + i] / (1 + exp(-g)),
                   r = residual ? (double)y.x[t * n + i] : 0;
            wrong += !(fabs(got[t * n + i] - (r + a)) <=
                       (is_cpu(compute) ? 1e-6 : 1e-5) * (fabs(r) + 3 * fabs(a)) + 1e-12);
        }
    if (!CHECK(wrong == 0))
        fprintf(stderr, "    %s: %lld gates of %lld, residual %d, gaps %d: %d wrong\n",
                compute_info(compute)->device, (long long)n_gate, (long long)n, residual, gaps,
                wrong);
    FREE_ALL(compute, &x.whole, &y.whole, &gate.whole);
}

// What is not finite must show in what comes of it, and nowhere else.
static void check_not_finite(struct compute *compute)
{
    enum { N = 40 };
    static const enum activation all[] = {
        ACTIVATION_SILU, ACTIVATION_GELU,        ACTIVATION_GELU_ERF,   ACTIVATION_SIGMOID,
        ACTIVATION_TANH, ACTIVATION_RELU_SQUARE, ACTIVATION_SWIGLU_OAI, ACTIVATION_SWIGLU_10};
    float x[N], one[N], got[N];
    for (int i = 0; i < N; i++)
        x[i] = one[i] = 1;
    x[3] = x[37] = NAN;
    struct tensor tx = tensor_of(compute, DTYPE_F32, 1, N, x),
                  to = tensor_of(compute, DTYPE_F32, 1, N, one),
                  ty = tensor_of(compute, DTYPE_F32, 1, N, NULL);
    for (size_t k = 0; k <= COUNT_OF(all); k++) {
        int wrong = 0;
        run_begin(compute);
        if (k < COUNT_OF(all))
            op_glu(compute, &ty, &tx, &to, all[k]);
        else
            op_gate_add(compute, &ty, NULL, &to, &tx);
        run_end(compute);
        tensor_read(compute, got, &ty, sizeof(got));
        for (int i = 0; i < N; i++)
            wrong += isfinite(got[i]) != isfinite(x[i]);
        CHECK(wrong == 0);
    }
    FREE_ALL(compute, &tx, &to, &ty);
}

static void check_all(struct compute *compute)
{
    static const int64_t sizes[] = {1, 7, 64, 131, 2048, 4099};
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (int gaps = 0; gaps < 2; gaps++) {
            const int64_t n = sizes[i];
            check_norm(compute, n, (struct norm_case){.weight = true, .gaps = gaps});
            check_norm(compute, n, (struct norm_case){.in_place = true, .gaps = gaps});
            check_norm(compute, n, (struct norm_case){.weight = true, .add = true, .gaps = gaps});
            check_norm(compute, n, (struct norm_case){.add = true, .in_place = true, .gaps = gaps});
            check_norm(compute, n, (struct norm_case){.centred = true, .in_place = gaps});
            check_norm(
                compute, n,
                (struct norm_case){.centred = true, .weight = true, .bias = true, .gaps = gaps});
            for (enum activation a = ACTIVATION_SILU; a < N_ACTIVATIONS; a++) {
                check_glu(compute, a, n, true, gaps);
                if (a < ACTIVATION_SWIGLU_OAI)
                    check_glu(compute, a, n, false, gaps);
            }
            for (enum kind kind = ADD; kind < N_KINDS; kind++)
                check_kind(compute, kind, n, gaps);
            check_gate(compute, n, n, true, gaps);
            check_gate(compute, n, 1, gaps, gaps);
        }
    check_gate(compute, 4096, 32, false, true);
    check_gate(compute, 4200, 8, true, false);
    check_groups(compute);
    check_not_finite(compute);
}

int main(void)
{
    on_devices(3, check_all);
    return check_done("compute_elementwise");
}
