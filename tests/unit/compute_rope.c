// compute_rope.c - op_rope_kv against sines and cosines in double, what it leaves in the caches,
// and rope_turns with every scaling scheme.
//
// Tolerances: one F32 product and sum of values below 20 with a sine and cosine of 2^-24: 1e-5, of
// a GPU 1e-4; in the caches also the last place of F16, or half a step of Q8_0 (and what the
// rounding of the step itself makes of 127 of them).
#include "compute_check.h"

struct how {
    enum rope_pairs pairs;
    int32_t head_dim, n_rot;
    enum dtype cache;
    bool factors, yarn;
};

enum { TOKENS = 4, HEADS = 3, KV_HEADS = 4, ROWS = 9, MOST = 128, BASE = 10000, N_CTX_ORIG = 4096 };
static const int32_t positions[TOKENS] = {0, 1, 777, 32767};
static const int32_t places[TOKENS] = {7, 2, 1, 8}; // rows of the cache; 0 is not written
static const double factor_of_yarn = 8, attn_factor = 0.75;

// ---- how fast pairs turn, from the papers -------------------------------------------------------

static double factor_of(int32_t i)
{
    return 0.0625 + i / 4.0; // the first ones make more than a revolution a position
}

// Radians a position of pair i; positions count half (linear scaling) without YaRN.
static double speed_of(const struct how *h, int32_t i)
{
    double speed = pow(BASE, -2.0 * i / h->n_rot);
    if (h->factors)
        speed /= factor_of(i);
    if (!h->yarn)
        return speed / 2;
    // Peng et al. 2023, 3.2: kept where a pair turns 32 times and more in the original context,
    // slowed down by the factor where it turns once or less. The bounds are whole pairs.
    double per_e = h->n_rot / (2 * log(BASE)), turns = N_CTX_ORIG / (2 * acos(-1));
    double low = floor(per_e * log(turns / 32)), high = ceil(per_e * log(turns));
    low = low < 0 ? 0 : low;
    high = high > h->n_rot - 1 ? h->n_rot - 1 : high;
    double slowed = high > low ? (i - low) / (high - low) : i > low;
    slowed = slowed < 0 ? 0 : slowed > 1 ? 1 : slowed;
    return speed * (1 - slowed) + speed / factor_of_yarn * slowed;
}

static double magnitude_of(const struct how *h)
{
    return h->yarn ? attn_factor * (0.1 * log(factor_of_yarn) + 1) : 1;
}

static struct rope rope_of(const struct how *h, int32_t *turns)
{
    static float factors[MOST / 2];
    struct rope rope = {.pairs = h->pairs, .n_rot = h->n_rot};
    struct rope_scaling scaling = {.freq_base = BASE, .freq_scale = 0.5f};
    for (int32_t i = 0; i < h->n_rot / 2; i++)
        factors[i] = (float)factor_of(i);
    if (h->factors)
        scaling.freq_factors = factors;
    if (h->yarn) {
        scaling.freq_scale = 1 / (float)factor_of_yarn;
        scaling.yarn = true;
        scaling.n_ctx_orig = N_CTX_ORIG;
        scaling.beta_fast = 32, scaling.beta_slow = 1;
        scaling.attn_factor = (float)attn_factor;
    }
    rope_turns(turns, &rope.magnitude, h->n_rot, &scaling);
    return rope;
}

static void check_turns(const struct how *h)
{
    int32_t turns[MOST], wrong = 0;
    struct rope rope = rope_of(h, turns);
    for (int32_t i = 0; i < h->n_rot / 2; i++) {
        double got = ldexp((uint32_t)turns[2 * i], -32) + ldexp((uint32_t)turns[2 * i + 1], -64);
        double want = speed_of(h, i) / (2 * acos(-1)), off = fabs(got - (want - floor(want)));
        wrong += !(off <= 0x1p-48 || off >= 1 - 0x1p-48);
    }
    CHECK(wrong == 0);
    CHECK(fabs(rope.magnitude - magnitude_of(h)) <= 1e-6);
}

// ---- the operation ------------------------------------------------------------------------------

// x turned: out [TOKENS][n_head * head_dim].
static void turned(double *out, const float *x, const struct how *h, int32_t n_head)
{
    for (int32_t at = 0; at < TOKENS * n_head * h->head_dim; at++) {
        int32_t d = at % h->head_dim, half = h->n_rot / 2;
        out[at] = x[at];
        if (d >= h->n_rot)
            continue;
        bool norm = h->pairs == ROPE_NORM, second = norm ? d % 2 : d >= half;
        int32_t i = norm ? d / 2 : d % half,
                other = at - d + (norm ? d ^ 1 : (d + half) % h->n_rot);
        double angle = positions[at / (n_head * h->head_dim)] * speed_of(h, i);
        out[at] =
            magnitude_of(h) * (x[at] * cos(angle) + (second ? 1 : -1) * x[other] * sin(angle));
    }
}

static int count_wrong(const double *want, const float *got, int32_t n, enum dtype type,
                       double limit)
{
    int wrong = 0;
    double most = 0;
    for (int32_t i = 0; i < n; i++) {
        double slack = limit;
        if (i % 32 == 0)
            most = 0;
        for (int32_t j = i; type == DTYPE_Q8_0 && i % 32 == 0 && j < i + 32; j++)
            most = fmax(most, fabs(want[j]));
        if (type == DTYPE_Q8_0)
            slack += most * (0.5 / 127 + 0x1p-11);
        if (type == DTYPE_F16)
            slack += fabs(want[i]) * 0x1p-11;
        wrong += !(fabs(got[i] - want[i]) <= slack);
    }
    return wrong;
}

// Rows of a cache of one page: attention over one row gives that row of v, whatever the scores.
static void read_cache(struct compute *compute, float *out, const struct tensor *cache,
                       const int32_t *row, int32_t n, int32_t head_dim)
{
    int32_t counts[TOKENS];
    for (int32_t t = 0; t < n; t++)
        counts[t] = row[t] + 1;
    struct tensor q = tensor_of(compute, DTYPE_F32, n, KV_HEADS * head_dim, NULL),
                  to = tensor_of(compute, DTYPE_F32, n, KV_HEADS * head_dim, NULL),
                  pages = tensor_of(compute, DTYPE_I32, 1, 1, NULL),
                  table = tensor_of(compute, DTYPE_I32, 1, n, NULL),
                  count = tensor_of(compute, DTYPE_I32, 1, n, counts);
    struct attention attention = {KV_HEADS, KV_HEADS, head_dim, 1.0f, .window = 1};
    run_begin(compute);
    op_attention(compute, &to, &q, cache, cache, &pages, &table, &count, &attention);
    run_end(compute);
    tensor_read(compute, out, &to, (size_t)(n * KV_HEADS * head_dim) * sizeof(*out));
    FREE_ALL(compute, &q, &to, &pages, &table, &count);
}

static void check_rope(struct compute *compute, const struct how *h)
{
    enum { N = TOKENS * KV_HEADS * MOST };
    static const int32_t untouched[1] = {0};
    static float q[N], k[N], v[N], out[N];
    static double want[N];
    int32_t turns[MOST], n_q = HEADS * h->head_dim, n_kv = KV_HEADS * h->head_dim;
    struct rope rope = rope_of(h, turns);
    random_floats(q, TOKENS * n_q);
    random_floats(k, TOKENS * n_kv);
    random_floats(v, TOKENS * n_kv);
    struct tensor tq = tensor_of(compute, DTYPE_F32, TOKENS, n_q, q),
                  tk = tensor_of(compute, DTYPE_F32, TOKENS, n_kv, k),
                  tv = tensor_of(compute, DTYPE_F32, TOKENS, n_kv, v),
                  pos = tensor_of(compute, DTYPE_I32, 1, TOKENS, positions),
                  row = tensor_of(compute, DTYPE_I32, 1, TOKENS, places),
                  tt = tensor_of(compute, DTYPE_I32, 1, h->n_rot, turns),
                  ck = cache_of(compute, h->cache, ROWS, n_kv),
                  cv = cache_of(compute, h->cache, ROWS, n_kv);
    double limit = is_cpu(compute) ? 1e-5 : 1e-4;
    rope.turns = &tt;
    run_begin(compute);
    op_rope_kv(compute, &(struct rope_kv){&tq, &tk, &tv, &pos, &row, &ck, &cv, h->head_dim, rope});
    run_end(compute);
    tensor_read(compute, out, &tq, (size_t)(TOKENS * n_q) * sizeof(*out));
    turned(want, q, h, HEADS);
    int wrong = count_wrong(want, out, TOKENS * n_q, DTYPE_F32, limit);
    read_cache(compute, out, &ck, places, TOKENS, h->head_dim);
    turned(want, k, h, KV_HEADS);
    wrong += count_wrong(want, out, TOKENS * n_kv, h->cache, limit);
    read_cache(compute, out, &cv, places, TOKENS, h->head_dim);
    for (int i = 0; i < TOKENS * n_kv; i++)
        want[i] = v[i];
    wrong += count_wrong(want, out, TOKENS * n_kv, h->cache, 1e-7);
    read_cache(compute, out, &ck, untouched, 1, h->head_dim);
    for (int i = 0; i < n_kv; i++)
        wrong += out[i] != 0;
    if (!CHECK(wrong == 0))
        fprintf(stderr, "    %s: pairs %d, %d of %d, %s%s%s: %d wrong\n",
                compute_info(compute)->device, h->pairs, h->n_rot, h->head_dim,
                dtype_name(h->cache), h->factors ? ", factors" : "", h->yarn ? ", yarn" : "",
                wrong);
    FREE_ALL(compute, &tq, &tk, &tv, &pos, &row, &tt, &ck, &cv);
}

// A key that is not finite stays visible in the cache.
static void check_not_finite(struct compute *compute, enum dtype type)
{
    enum { N = 64 };
    float x[N] = {0}, out[KV_HEADS * N];
    int32_t zero[1] = {0};
    x[5] = NAN, x[40] = INFINITY;
    struct tensor q = tensor_of(compute, DTYPE_F32, 1, N, NULL),
                  k = tensor_of(compute, DTYPE_F32, 1, N, x),
                  v = tensor_of(compute, DTYPE_F32, 1, N, x),
                  ints = tensor_of(compute, DTYPE_I32, 1, 1, zero),
                  ck = cache_of(compute, type, 1, N), cv = cache_of(compute, type, 1, N);
    run_begin(compute);
    op_rope_kv(compute, &(struct rope_kv){&q, &k, &v, &ints, &ints, &ck, &cv, N, {.n_rot = 0}});
    run_end(compute);
    read_cache(compute, out, &cv, zero, 1, N / KV_HEADS);
    CHECK(!isfinite(out[5]) && !isfinite(out[40]));
    FREE_ALL(compute, &q, &k, &v, &ints, &ck, &cv);
}

static const struct how hows[] = {
    {ROPE_NORM, 64, 64, DTYPE_F16, false, false}, {ROPE_NEOX, 128, 128, DTYPE_F16, false, false},
    {ROPE_NEOX, 80, 32, DTYPE_F16, false, false}, {ROPE_NORM, 10, 6, DTYPE_F16, false, false},
    {ROPE_NORM, 64, 64, DTYPE_F16, true, false},  {ROPE_NEOX, 128, 128, DTYPE_F16, true, false},
    {ROPE_NORM, 64, 64, DTYPE_F16, false, true},  {ROPE_NEOX, 128, 128, DTYPE_Q8_0, false, true},
    {ROPE_NEOX, 80, 32, DTYPE_Q8_0, true, true},  {ROPE_NORM, 96, 96, DTYPE_Q8_0, false, false},
    {ROPE_NORM, 8, 2, DTYPE_Q8_0, false, true},
};

static void check_all(struct compute *compute)
{
    for (size_t i = 0; i < COUNT_OF(hows); i++)
        if (is_cpu(compute) || hows[i].head_dim % 8 == 0) // what any device must have
            check_rope(compute, &hows[i]);
    if (is_cpu(compute))
        check_not_finite(compute, DTYPE_F16), check_not_finite(compute, DTYPE_Q8_0);
}

int main(void)
{
    for (size_t i = 0; i < COUNT_OF(hows); i++)
        check_turns(&hows[i]);
    on_devices(3, check_all);
    return check_done("compute_rope");
}
