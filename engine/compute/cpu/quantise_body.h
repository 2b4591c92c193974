// quantise_body.h - cuts one token's activations into the row form of quant.h, over the `vf` of a
// simd_*.h; and what else the row kernels start from.
//
// The scale of 256 columns is their largest size / (127 * 128), so the integers use all of their
// range and a block of zeros has scale 0. Rounding is to nearest even, by adding 1.5 * 2^23.
#include "quant.h"

#define FORCE_INLINE static inline __attribute__((always_inline))

enum {
    MOST_TOKENS = 4, // that a row is multiplied with at once
    AHEAD = 5120,    // bytes between what is asked for and what is used
};

// Asks the second-level cache for what the stream of weights brings AHEAD bytes on (past the last
// row, that is harmless). The hardware's own prefetch stops at every page.
FORCE_INLINE void prefetch(const uint8_t *p, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i += CPU_LINE)
        _mm_prefetch((const char *)p + AHEAD + i, _MM_HINT_T1);
}

// The largest size of 256 columns; NaN when one of them is not finite.
static float largest_of(const float *x)
{
    vf most = vf_set(0), spoilt = vf_set(0); // 0 * x is NaN for infinity and NaN
    for (int i = 0; i < ROW_BLOCK; i += VF_LANES) {
        vf v = vf_load(x + i);
        most = vf_max(most, vf_max(v, -v));
        spoilt = vf_fma(v, vf_set(0), spoilt);
    }
    float lanes[VF_LANES], result = 0;
    vf_store(lanes, most);
    for (int i = 0; i < VF_LANES; i++)
        result = lanes[i] > result ? lanes[i] : result;
    return result + vf_sum(spoilt);
}

// Integers of 256 columns.
static void integers_of(int32_t *a, const float *x, float inverse)
{
    if (inverse == 0) {
        memset(a, 0, ROW_BLOCK * sizeof(*a));
        return;
    }
    const vf shift = vf_set(0x1.8p23f);
    for (int i = 0; i < ROW_BLOCK; i += VF_LANES) {
        vi rounded = (vi)vf_fma(vf_load(x + i), vf_set(inverse), shift) - (vi)shift;
        memcpy(a + i, &rounded, sizeof(rounded));
    }
}

static void quantise_block(struct row_x_token to, int64_t at, const float *x)
{
    int32_t a[ROW_BLOCK];
    float largest = largest_of(x), scale = largest / (127 * 128);
    integers_of(a, x, quantise_inverse(largest));
    for (int i = 0; i < ROW_BLOCK; i++) {
        int32_t hi = (a[i] + 64) >> 7;
        to.hi[at + i] = (int8_t)hi;
        to.lo[at + i] = (int8_t)(a[i] - 128 * hi);
    }
    static const int order[4] = {0, 64, 32, 96};
    for (int i = 0; i < ROW_BLOCK; i += 32) {
        int64_t from = at + i / 128 * 128 + order[i % 128 / 32];
        memcpy(to.hi_k + at + i, to.hi + from, 32);
        memcpy(to.lo_k + at + i, to.lo + from, 32);
    }
    to.scale[at / ROW_BLOCK] = scale;
    for (int i = 0; i < ROW_BLOCK / 16; i++) {
        int32_t sum = 0;
        for (int j = 0; j < 16; j++)
            sum += a[16 * i + j];
        to.sum16[at / 16 + i] = scale * (float)sum;
    }
    for (int i = 0; i < ROW_BLOCK / 32; i++)
        to.sum32[at / 32 + i] = to.sum16[at / 16 + 2 * i] + to.sum16[at / 16 + 2 * i + 1];
}

static void rows_quantise(const struct row_x *to, int64_t t, const float *x)
{
    struct row_x_token token = row_x_token(to, t);
    int64_t at = 0;
    for (; at + ROW_BLOCK <= to->n_in; at += ROW_BLOCK)
        quantise_block(token, at, x + at);
    if (at < to->n_in) {
        float rest[ROW_BLOCK] = {0};
        memcpy(rest, x + at, (size_t)(to->n_in - at) * sizeof(*rest));
        quantise_block(token, at, rest);
    }
}
