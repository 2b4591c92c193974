// float_body.h - every F32 computation of the CPU, written once over the `vf` of a simd_*.h and
// compiled three times (float_portable.c, float_avx2.c, float_avx512.c). All of it is exact
// arithmetic in F32 but for the order of sums.
//
// Matrix products work on blocks of BLOCK_ROWS x BLOCK_TOKENS dot products held in registers. A
// chunk's weight rows are decoded to float BLOCK_K columns at a time, so that the decoded tile
// stays in the second-level cache while all tokens pass by. Attention converts ATTENTION_KV cache
// rows to float, lets every query of the unit see them, and goes on: running maximum and sum a
// query (Milakov & Gimelshein 2018; Dao et al. 2022).
#include "../decode.h"
#include "cpu.h"

#include <math.h>

#define FORCE_INLINE static inline __attribute__((always_inline))

// e^x, relative error below 2e-7 on [-87, 88]; x is held to that range, so e^-inf gives 1.6e-38,
// not 0.
FORCE_INLINE vf vf_exp(vf x)
{
    x = vf_max(x, vf_set(-87.0f));
    x = -vf_max(-x, vf_set(-88.0f));
    const vf shift =
        vf_set(0x1.8p23f); // adding it rounds to an integer, which is then in the low bits
    vf shifted = vf_fma(x, vf_set(0x1.715476p0f), shift);
    vf n = shifted - shift;
    vf r = vf_fma(n, vf_set(-0x1.62e4p-1f), x); // ln 2 in two parts
    r = vf_fma(n, vf_set(-0x1.7f7d1cp-20f), r);
    vf p = vf_set(1.0f / 720);
    p = vf_fma(p, r, vf_set(1.0f / 120));
    p = vf_fma(p, r, vf_set(1.0f / 24));
    p = vf_fma(p, r, vf_set(1.0f / 6));
    p = vf_fma(p, r, vf_set(0.5f));
    p = vf_fma(p, r, vf_set(1.0f));
    p = vf_fma(p, r, vf_set(1.0f));
    return (vf)((vi)p + ((vi)shifted << 23));
}

// ---- rows of activations ----------------------------------------------------------------------

// The sum of (x - mean)^2.
static float sum_of_squares(const float *x, float mean, int64_t n)
{
    vf sum = vf_set(0);
    int64_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES) {
        vf v = vf_load(x + i) - vf_set(mean);
        sum = vf_fma(v, v, sum);
    }
    float total = vf_sum(sum);
    for (; i < n; i++)
        total += (x[i] - mean) * (x[i] - mean);
    return total;
}

static float mean_of(const float *x, int64_t n)
{
    vf sum = vf_set(0);
    int64_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        sum += vf_load(x + i);
    float total = vf_sum(sum);
    for (; i < n; i++)
        total += x[i];
    return total / (float)n;
}

// out = (x - mean) * factor * weight + bias; what is NULL is left out.
FORCE_INLINE void norm_row(float *out, const float *x, const float *weight, const float *bias,
                           float mean, float factor, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES) {
        vf y = (vf_load(x + i) - vf_set(mean)) * vf_set(factor);
        y = weight ? y * vf_load(weight + i) : y;
        vf_store(out + i, bias ? y + vf_load(bias + i) : y);
    }
    for (; i < n; i++) {
        float y = (x[i] - mean) * factor;
        y = weight ? y * weight[i] : y;
        out[i] = bias ? y + bias[i] : y;
    }
}

static void norm(float *out, const float *x, const float *residual, const struct norm_by *by,
                 int64_t n)
{
    float mean = by->centred ? mean_of(x, n) : 0;
    float factor = 1.0f / sqrtf(sum_of_squares(x, mean, n) / (float)n + by->eps);
    if (residual) { // out may be residual
        for (int64_t i = 0; i < n; i++) {
            float y = (x[i] - mean) * factor;
            y = by->weight ? y * by->weight[i] : y;
            out[i] = residual[i] + by->scale * (by->bias ? y + by->bias[i] : y);
        }
        return;
    }
    if (by->bias)
        norm_row(out, x, by->weight, by->bias, mean, factor, n);
    else if (by->weight)
        norm_row(out, x, by->weight, NULL, mean, factor, n);
    else
        norm_row(out, x, NULL, NULL, mean, factor, n);
}

// What is not finite must show: e^x is held to a range, and 0 x is then what tells.
FORCE_INLINE vf sigmoid(vf x)
{
    return vf_set(1) / (vf_set(1) + vf_exp(-x) + x * vf_set(0));
}

FORCE_INLINE vf silu(vf x)
{
    return x / (vf_set(1) + vf_exp(-x));
}

// x times the logistic function of 2 u is x / 2 (1 + tanh u).
FORCE_INLINE vf gelu(vf x)
{
    vf u2 = x * vf_set(1.5957691f) * vf_fma(x * x, vf_set(0.044715f), vf_set(1)); // 2 sqrt(2 / pi)
    return x / (vf_set(1) + vf_exp(-u2));
}

FORCE_INLINE vf tanh_of(vf x)
{
    return vf_set(1) - vf_set(2) / (vf_set(1) + vf_exp(x + x)) + x * vf_set(0);
}

// x / 2 erfc(-x / sqrt(2)). erfc(z), z >= 0, is t e^(-z^2 + p(t)), t = 1 / (1 + z / 2), relative
// error below 1.2e-7 (Press et al., Numerical Recipes, 6.2).
FORCE_INLINE vf gelu_erf(vf x)
{
    static const float p[] = {0.17087277f,  -0.82215223f, 1.48851587f, -1.13520398f, 0.27886807f,
                              -0.18628806f, 0.09678418f,  0.37409196f, 1.00002368f,  -1.26551223f};
    vf z = vf_max(x, -x) * vf_set(0.70710678f), t = vf_set(1) / vf_fma(z, vf_set(0.5f), vf_set(1));
    vf sum = vf_set(p[0]);
    for (size_t i = 1; i < COUNT_OF(p); i++)
        sum = vf_fma(sum, t, vf_set(p[i]));
    vf tail = t * vf_exp(sum - z * z), whole = vf_set(2) - tail;
    vi left = x < vf_set(0);
    vf erfc = (vf)(((vi)tail & left) | ((vi)whole & ~left));
    return x * vf_set(0.5f) * erfc;
}

FORCE_INLINE vf relu_square(vf x)
{
    vf y = vf_max(vf_set(0), x); // in this order NaN stays
    return y * y;
}

FORCE_INLINE vf swiglu_oai(vf gate, vf up)
{
    vf g = -vf_max(vf_set(-7), -gate), u = -vf_max(vf_set(-7), -vf_max(vf_set(-7), up));
    return g / (vf_set(1) + vf_exp(g * vf_set(-1.702f))) * (u + vf_set(1));
}

FORCE_INLINE vf swiglu_10(vf gate, vf up)
{
    vf g = -vf_max(vf_set(-10), -gate), u = -vf_max(vf_set(-10), -vf_max(vf_set(-10), up));
    return silu(g) * u;
}

FORCE_INLINE vf activated(enum activation activation, vf x)
{
    switch (activation) {
    case ACTIVATION_GELU:
        return gelu(x);
    case ACTIVATION_GELU_ERF:
        return gelu_erf(x);
    case ACTIVATION_RELU_SQUARE:
        return relu_square(x);
    case ACTIVATION_SIGMOID:
        return sigmoid(x);
    case ACTIVATION_TANH:
        return tanh_of(x);
    default:
        return silu(x);
    }
}

FORCE_INLINE vf glu_of(enum activation activation, vf gate, vf up)
{
    return activation == ACTIVATION_SWIGLU_OAI  ? swiglu_oai(gate, up)
           : activation == ACTIVATION_SWIGLU_10 ? swiglu_10(gate, up)
                                                : activated(activation, gate) * up;
}

// activation is a constant where this is inlined.
FORCE_INLINE void glu_with(enum activation activation, float *out, const float *gate,
                           const float *up, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        vf_store(out + i, glu_of(activation, vf_load(gate + i), up ? vf_load(up + i) : vf_set(1)));
    if (i < n) {
        float g[VF_LANES] = {0}, u[VF_LANES] = {0};
        memcpy(g, gate + i, (size_t)(n - i) * sizeof(*g));
        if (up)
            memcpy(u, up + i, (size_t)(n - i) * sizeof(*u));
        vf_store(g, glu_of(activation, vf_load(g), up ? vf_load(u) : vf_set(1)));
        memcpy(out + i, g, (size_t)(n - i) * sizeof(*g));
    }
}

static void glu(float *out, const float *gate, const float *up, int64_t n,
                enum activation activation)
{
    switch (activation) {
    case ACTIVATION_SILU:
        glu_with(ACTIVATION_SILU, out, gate, up, n);
        return;
    case ACTIVATION_GELU:
        glu_with(ACTIVATION_GELU, out, gate, up, n);
        return;
    case ACTIVATION_GELU_ERF:
        glu_with(ACTIVATION_GELU_ERF, out, gate, up, n);
        return;
    case ACTIVATION_RELU_SQUARE:
        glu_with(ACTIVATION_RELU_SQUARE, out, gate, up, n);
        return;
    case ACTIVATION_SIGMOID:
        glu_with(ACTIVATION_SIGMOID, out, gate, up, n);
        return;
    case ACTIVATION_TANH:
        glu_with(ACTIVATION_TANH, out, gate, up, n);
        return;
    case ACTIVATION_SWIGLU_OAI:
        glu_with(ACTIVATION_SWIGLU_OAI, out, gate, up, n);
        return;
    case ACTIVATION_SWIGLU_10:
        glu_with(ACTIVATION_SWIGLU_10, out, gate, up, n);
        return;
    case N_ACTIVATIONS:
        return;
    }
}

static void gate_add(float *out, const float *residual, const float *x, const float *gate,
                     bool one_gate, int64_t n)
{
    int64_t i = 0;
    const vf all = sigmoid(vf_set(gate[0]));
    for (; i + VF_LANES <= n; i += VF_LANES) {
        vf y = vf_load(x + i) * (one_gate ? all : sigmoid(vf_load(gate + i)));
        vf_store(out + i, residual ? vf_load(residual + i) + y : y);
    }
    for (; i < n; i++) {
        float y = x[i] * (one_gate ? all[0] : sigmoid(vf_set(gate[i]))[0]);
        out[i] = residual ? residual[i] + y : y;
    }
}

static void softcap(float *out, const float *x, int64_t n, float cap)
{
    int64_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        vf_store(out + i, vf_set(cap) * tanh_of(vf_load(x + i) / vf_set(cap)));
    for (; i < n; i++)
        out[i] = cap * tanh_of(vf_set(x[i] / cap))[0];
}

// ---- rows of a cache --------------------------------------------------------------------------

static void to_f16(void *to, const float *x, int64_t n)
{
    uint16_t *out = to;
    int64_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        vf_store_f16(out + i, vf_load(x + i));
    for (; i < n; i++)
        out[i] = f16_from_float(x[i]);
}

static void from_f16(float *out, const uint16_t *in, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        vf_store(out + i, vf_load_f16(in + i));
    for (; i < n; i++)
        out[i] = float_from_f16(in[i]);
}

// A value that is not finite makes the scale of its block NaN: it must show.
static void to_q8_0(void *to, const float *x, int64_t n)
{
    struct block_q8_0 *block = to;
    const float shift = 0x1.8p23f; // adding it rounds to an integer, in the low bits
    for (; n > 0; n -= 32, x += 32, block++) {
        float most = 0, spoilt = 0;
        for (int i = 0; i < 32; i++) {
            float size = x[i] < 0 ? -x[i] : x[i];
            most = size > most ? size : most;
            spoilt += x[i] * 0.0f;
        }
        float inverse = most > 0 && spoilt == 0 ? 127.0f / most : 0;
        block->d = f16_from_float(most / 127.0f + spoilt);
        for (int i = 0; i < 32; i++)
            block->q[i] = (int8_t)(float_bits(x[i] * inverse + shift) - float_bits(shift));
    }
}

// Columns column .. column + n of a row.
static void from_q8_0(float *out, const struct block_q8_0 *row, int64_t column, int64_t n)
{
    for (int64_t i = column; i < column + n;) {
        const struct block_q8_0 *block = row + i / 32;
        float d = float_from_f16(block->d);
        int64_t end = i / 32 * 32 + 32 < column + n ? i / 32 * 32 + 32 : column + n;
        for (; i < end; i++)
            *out++ = d * (float)block->q[i % 32];
    }
}

// ---- matrix products --------------------------------------------------------------------------

enum { BLOCK_K = 1024 };

static void from_bf16(float *out, const uint16_t *in, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        vf_store(out + i, vf_load_bf16(in + i));
    for (; i < n; i++)
        out[i] = float_from_bf16(in[i]);
}

// sums[r][t] = w[r] . x[t] over n columns; w rows are w_stride floats apart.
FORCE_INLINE void dot_block(int n_tokens, float sums[BLOCK_ROWS][BLOCK_TOKENS], const float *w,
                            int64_t w_stride, const float *const *x, int64_t n)
{
    vf acc[BLOCK_ROWS][BLOCK_TOKENS];
    for (int r = 0; r < BLOCK_ROWS; r++)
        for (int t = 0; t < n_tokens; t++)
            acc[r][t] = vf_set(0);
    int64_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES) {
        vf row[BLOCK_ROWS];
        for (int r = 0; r < BLOCK_ROWS; r++)
            row[r] = vf_load(w + r * w_stride + i);
        for (int t = 0; t < n_tokens; t++) {
            vf xt = vf_load(x[t] + i);
            for (int r = 0; r < BLOCK_ROWS; r++)
                acc[r][t] = vf_fma(row[r], xt, acc[r][t]);
        }
    }
    for (int r = 0; r < BLOCK_ROWS; r++)
        for (int t = 0; t < n_tokens; t++) {
            sums[r][t] = vf_sum(acc[r][t]);
            for (int64_t j = i; j < n; j++)
                sums[r][t] += w[r * w_stride + j] * x[t][j];
        }
}

// Columns [k, k + n) of one weight row as floats; a pointer into the weights where they are floats
// already.
static void decode_columns(float *out, struct span w, int64_t row, int64_t k, int64_t n)
{
    const uint8_t *p = w.p + (size_t)row * w.row_bytes;
    if (w.type == DTYPE_F16)
        from_f16(out, (const uint16_t *)(const void *)p + k, n);
    else if (w.type == DTYPE_BF16)
        from_bf16(out, (const uint16_t *)(const void *)p + k, n);
    else
        decode_row(w.type, out, p + dtype_row_bytes(w.type, k), n);
}

// Rows row .. row + n_rows, decoded in `tile`, times tokens t .. t + n_tokens; the first part of
// the columns adds bias and residual (which may be `out` itself), the others add to what is there.
static void matmul_block(const struct args_product *product, struct span x, const float *tile,
                         int64_t row, int n_rows, int64_t t0, int n_tokens, int64_t k, int64_t n)
{
    const float *xs[BLOCK_TOKENS];
    float sums[BLOCK_ROWS][BLOCK_TOKENS];
    for (int t = 0; t < BLOCK_TOKENS; t++)
        xs[t] = span_row(x, t0 + (t < n_tokens ? t : n_tokens - 1)) + k;
    if (n_tokens == 1)
        dot_block(1, sums, tile, BLOCK_K, xs, n);
    else if (n_tokens == 2)
        dot_block(2, sums, tile, BLOCK_K, xs, n);
    else if (n_tokens <= 4)
        dot_block(4, sums, tile, BLOCK_K, xs, n);
    else
        dot_block(BLOCK_TOKENS, sums, tile, BLOCK_K, xs, n);
    for (int t = 0; t < n_tokens; t++) {
        float *out = span_row(product->out, t0 + t) + row;
        for (int r = 0; r < n_rows; r++) {
            float before = k ? out[r] : product->bias ? product->bias[row + r] * product->scale : 0;
            if (!k && product->residual.p)
                before += span_row(product->residual, t0 + t)[row + r];
            out[r] = before + sums[r][t] * product->scale;
        }
    }
}

static void matmul(const struct args_product *product, struct span x, int64_t row0, int64_t row1,
                   void *scratch)
{
    float *tile = scratch; // [row1 - row0, rounded up][BLOCK_K]
    for (int64_t k = 0; k < x.n_cols; k += BLOCK_K) {
        int64_t n = x.n_cols - k < BLOCK_K ? x.n_cols - k : BLOCK_K;
        for (int64_t row = row0; row < row1; row++)
            decode_columns(tile + (row - row0) * BLOCK_K, product->w, row, k, n);
        for (int64_t row = row1; (row - row0) % BLOCK_ROWS;
             row++) // a block's missing rows: computed, not kept
            memset(tile + (row - row0) * BLOCK_K, 0, (size_t)n * sizeof(*tile));
        for (int64_t t = 0; t < x.n_rows; t += BLOCK_TOKENS) {
            int n_tokens = x.n_rows - t < BLOCK_TOKENS ? (int)(x.n_rows - t) : BLOCK_TOKENS;
            for (int64_t row = row0; row < row1; row += BLOCK_ROWS) {
                int n_rows = row1 - row < BLOCK_ROWS ? (int)(row1 - row) : BLOCK_ROWS;
                matmul_block(product, x, tile + (row - row0) * BLOCK_K, row, n_rows, t, n_tokens, k,
                             n);
            }
        }
    }
}

// ---- attention --------------------------------------------------------------------------------

// Widths of a head, padded with zeros to whole vectors: of queries and keys, of values, and how far
// values in floats lie apart.
struct widths {
    int64_t dim, dim_v, v_stride;
};

// One query's state: maximum and sum of the weights so far, and the unnormalised output.
struct query {
    float *q, *out; // [dim], already scaled; [dim_v]
    float maximum, sum;
    int32_t from, end; // positions it may see
    float alibi;       // what one position of distance costs it
    int32_t pos;
    const uint32_t *chosen; // bits of blocks that it sees; NULL: all
    int32_t block;
};

// scores[j] = q . k[j] for ATTENTION_KV rows, four at a time.
FORCE_INLINE void scores_of(float scores[ATTENTION_KV], const float *q, const float *k, int64_t dim)
{
    for (int j = 0; j < ATTENTION_KV; j += 4) {
        const float *row = k + j * dim;
        vf a = vf_set(0), b = a, c = a, d = a;
        for (int64_t i = 0; i < dim; i += VF_LANES) {
            vf qi = vf_load(q + i);
            a = vf_fma(qi, vf_load(row + i), a);
            b = vf_fma(qi, vf_load(row + dim + i), b);
            c = vf_fma(qi, vf_load(row + 2 * dim + i), c);
            d = vf_fma(qi, vf_load(row + 3 * dim + i), d);
        }
        scores[j] = vf_sum(a);
        scores[j + 1] = vf_sum(b);
        scores[j + 2] = vf_sum(c);
        scores[j + 3] = vf_sum(d);
    }
}

// out = out * keep + sum over j of weights[j] * v[j], for one piece of n_vectors vectors.
FORCE_INLINE void add_values(int n_vectors, float *out, const float *weights, const float *v,
                             int64_t v_stride, float keep)
{
    vf acc[4];
    for (int i = 0; i < n_vectors; i++)
        acc[i] = vf_load(out + i * VF_LANES) * vf_set(keep);
    for (int j = 0; j < ATTENTION_KV; j++)
        for (int i = 0; i < n_vectors; i++)
            acc[i] = vf_fma(vf_set(weights[j]), vf_load(v + j * v_stride + i * VF_LANES), acc[i]);
    for (int i = 0; i < n_vectors; i++)
        vf_store(out + i * VF_LANES, acc[i]);
}

// What distance costs: of the score of each position at .. at + ATTENTION_KV.
static void less_by_distance(float scores[ATTENTION_KV], const struct query *query, int32_t at)
{
    for (int j = 0; j < ATTENTION_KV; j++)
        scores[j] -= query->alibi * fabsf((float)(query->pos - (at + j)));
}

// Scores of positions that are not chosen become those of weight 0; false: none is chosen.
static bool leave_chosen(float scores[ATTENTION_KV], const struct query *query, int32_t at)
{
    bool any = false;
    for (int j = 0; j < ATTENTION_KV; j++) {
        const int32_t b = (at + j) / query->block;
        if (query->chosen[b / 32] >> b % 32 & 1)
            any |= at + j < query->end;
        else
            scores[j] = -INFINITY;
    }
    return any;
}

// Lets one query see the converted positions at .. at + ATTENTION_KV.
static void query_see(struct query *query, const float *k, const float *v, struct widths widths,
                      int32_t at, float cap)
{
    float weights[ATTENTION_KV];
    int from = query->from > at ? query->from - at : 0;
    int to = query->end - at < ATTENTION_KV ? query->end - at : ATTENTION_KV;
    if (from >= to)
        return;
    scores_of(weights, query->q, k, widths.dim);
    if (cap > 0)
        softcap(weights, weights, ATTENTION_KV, cap);
    if (query->alibi != 0)
        less_by_distance(weights, query, at);
    if (query->chosen && !leave_chosen(weights, query, at))
        return;
    float maximum = query->maximum;
    for (int j = from; j < to; j++)
        maximum = weights[j] > maximum ? weights[j] : maximum;
    for (int j = 0; j < ATTENTION_KV; j += VF_LANES)
        vf_store(weights + j, vf_exp(vf_load(weights + j) - vf_set(maximum)));
    float sum = 0;
    for (int j = 0; j < ATTENTION_KV; j++) {
        if (j < from || j >= to)
            weights[j] = 0;
        sum += weights[j];
    }
    float keep = expf(query->maximum - maximum); // 0 at first: the maximum begins at -infinity
    query->maximum = maximum;
    query->sum = query->sum * keep + sum;
    int64_t i = 0;
    for (; i + 4 * VF_LANES <= widths.dim_v; i += 4 * VF_LANES)
        add_values(4, query->out + i, weights, v + i, widths.v_stride, keep);
    for (; i < widths.dim_v; i += VF_LANES)
        add_values(1, query->out + i, weights, v + i, widths.v_stride, keep);
}

// ATTENTION_KV rows of one head from cache row `row0` on, as floats, dim apart (head_dim padded
// with zeros); those from n on are zero.
static void convert_rows(float *out, struct span cache, int64_t row0, int32_t n, int64_t column,
                         int64_t head_dim, int64_t dim)
{
    for (int j = 0; j < ATTENTION_KV; j++, out += dim) {
        const uint8_t *row = cache.p + (size_t)(row0 + j) * cache.row_bytes;
        int64_t have = j < n ? head_dim : 0;
        if (have && cache.type == DTYPE_F16)
            from_f16(out, (const uint16_t *)(const void *)row + column, head_dim);
        else if (have)
            from_q8_0(out, (const struct block_q8_0 *)(const void *)row, column, head_dim);
        memset(out + have, 0, (size_t)(dim - have) * sizeof(*out));
    }
}

static void queries_begin(struct query *queries, float *scratch, const struct attention_call *call,
                          const struct attention_unit *unit, struct widths widths)
{
    const struct args_attention *a = call->args;
    int32_t group = a->shape.n_head / a->shape.n_head_kv, head_dim = a->shape.head_dim;
    int64_t n = widths.dim + widths.dim_v;
    for (int32_t i = 0; i < unit->n_tokens * group; i++, scratch += n) {
        int32_t token = unit->token + i / group, head = unit->head_kv * group + i % group;
        const float *q = span_row(a->q, token) + (int64_t)head * a->shape.q_stride;
        queries[i] = (struct query){.q = scratch,
                                    .out = scratch + widths.dim,
                                    .maximum = -INFINITY,
                                    .from = attention_start(a, token),
                                    .end = a->count[token],
                                    .alibi = a->alibi ? a->alibi[head] : 0,
                                    .pos = a->alibi ? a->pos[token] : 0,
                                    .block = a->shape.block};
        if (a->chosen.p)
            queries[i].chosen = (const uint32_t *)(const void *)span_row(a->chosen, token);
        memset(scratch, 0, (size_t)n * sizeof(*scratch));
        for (int32_t d = 0; d < head_dim; d++)
            scratch[d] = q[d] * a->shape.scale;
    }
}

// Writes each query's result: divided by its sum (to which a sink adds) to `out`, or with maximum
// and sum to the unit's partial results.
static void queries_end(const struct query *queries, const struct attention_call *call,
                        const struct attention_unit *unit)
{
    const struct args_attention *a = call->args;
    const struct attention *shape = &a->shape;
    int32_t group = shape->n_head / shape->n_head_kv, head_dim_v = shape->head_dim_v;
    for (int32_t i = 0; i < unit->n_tokens * group; i++) {
        const struct query *query = &queries[i];
        if (call->partial) {
            float *partial = call->partial + (int64_t)i * (2 + head_dim_v);
            partial[0] = query->maximum;
            partial[1] = query->sum;
            memcpy(partial + 2, query->out, (size_t)head_dim_v * sizeof(*partial));
            continue;
        }
        int32_t head = unit->head_kv * group + i % group, token = unit->token + i / group;
        float *out = span_row(a->out, token) + (int64_t)head * head_dim_v;
        float sum = query->sum;
        if (a->sinks)
            sum += expf(a->sinks[head] - query->maximum);
        for (int32_t d = 0; d < head_dim_v; d++)         // divided as where parts are joined
            out[d] = sum != 0 ? query->out[d] / sum : 0; // NaN stays
        if (a->gate.p)
            gate_add(out, NULL, out, span_row(a->gate, token) + head * shape->gate_stride,
                     shape->gate_heads, head_dim_v);
    }
}

static void attention(const struct attention_call *call, const struct attention_unit *unit)
{
    const struct args_attention *a = call->args;
    const struct attention *shape = &a->shape;
    struct widths widths = {attention_padded(shape->head_dim), attention_padded(shape->head_dim_v),
                            attention_padded(shape->head_dim_v)};
    int32_t n = unit->n_tokens * (shape->n_head / shape->n_head_kv);
    float *k = call->scratch, *v = k, *states = k + ATTENTION_KV * widths.dim;
    if (a->v.p) {
        v = states;
        states += ATTENTION_KV * widths.dim_v;
    } else {
        widths.v_stride = widths.dim;
    }
    struct query *queries = (struct query *)(void *)(states + (widths.dim + widths.dim_v) * n);
    queries_begin(queries, states, call, unit, widths);
    for (int32_t at = unit->from; at < unit->end; at += ATTENTION_KV) {
        const int64_t row0 = (int64_t)unit->pages[at / PAGE_ROWS] * PAGE_ROWS + at % PAGE_ROWS;
        convert_rows(k, a->k, row0, unit->end - at, (int64_t)unit->head_kv * shape->head_dim,
                     shape->head_dim, widths.dim);
        if (a->v.p)
            convert_rows(v, a->v, row0, unit->end - at, (int64_t)unit->head_kv * shape->head_dim_v,
                         shape->head_dim_v, widths.dim_v);
        for (int32_t i = 0; i < n; i++)
            query_see(&queries[i], k, v, widths, at, shape->softcap);
    }
    queries_end(queries, call, unit);
}
