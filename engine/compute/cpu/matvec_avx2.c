// matvec_avx2.c - quantised weights times few tokens (1 to 8), with AVX2: weights are read once, in
// place.
//
// vpmaddubsw multiplies 32 unsigned weights with 32 signed activation bytes and adds them in pairs
// to 16 bits, with saturation, so every sum must stay below 2^15: 63 * 127 * 2 for Q6_K; Q8_0's
// weights are signed, so their sizes are multiplied with activations that take over their signs:
// 128 * 127 * 2 = 32512. No activation byte is -128 (quant.h), whose sign could not be turned.
// vpmaddwd then multiplies with the sub-block's integer scale (or 1) and adds to int32: per lane
// and 256-block at most 8 * 2 * 16002 * 128 < 2^25.
#include "simd_avx2.h"

#include "quantise_body.h"

FORCE_INLINE __m256i load(const void *p)
{
    return _mm256_loadu_si256(p);
}

// Adds one plane's 32 products, times the scales, to 8 sums.
FORCE_INLINE __m256i add_plane(__m256i sum, __m256i weights, const int8_t *plane, __m256i scales)
{
    return _mm256_add_epi32(sum,
                            _mm256_madd_epi16(_mm256_maddubs_epi16(weights, load(plane)), scales));
}

// ---- Q4_K, Q5_K, Q6_K -------------------------------------------------------------------------

// 32 weights, unsigned: sub-block s of 8.
FORCE_INLINE __m256i k_weights(enum dtype type, const uint8_t *block, int s)
{
    const __m256i low4 = _mm256_set1_epi8(15);
    if (type == DTYPE_Q6_K) { // quarter s % 4 of half s / 4
        const struct block_q6_k *b = (const struct block_q6_k *)(const void *)block;
        __m256i low = load(b->ql + 64 * (s / 4) + 32 * (s % 2)), high = load(b->qh + 32 * (s / 4));
        low = _mm256_and_si256(s % 4 < 2 ? low : _mm256_srli_epi16(low, 4), low4);
        high = _mm256_and_si256(_mm256_srli_epi16(high, 2 * (s % 4)), _mm256_set1_epi8(3));
        return _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
    }
    __m256i q = load(block + (type == DTYPE_Q4_K ? 16 : 48) + 32 * (s / 2));
    q = _mm256_and_si256(s % 2 ? _mm256_srli_epi16(q, 4) : q, low4);
    if (type == DTYPE_Q4_K)
        return q;
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(load(block + 16), s), _mm256_set1_epi8(1));
    return _mm256_or_si256(q, _mm256_slli_epi16(high, 4));
}

struct k_scales {
    int16_t scale[16];   // of 16 weights each
    float d, offset[16]; // offset: times the sums of 16 activations
};

FORCE_INLINE void k_scales_of(enum dtype type, struct k_scales *to, const uint8_t *block)
{
    if (type == DTYPE_Q6_K) {
        const struct block_q6_k *b = (const struct block_q6_k *)(const void *)block;
        to->d = _cvtsh_ss(b->d);
        for (int g = 0; g < 16; g++) {
            to->scale[g] = b->scales[g];
            to->offset[g] = -32 * to->d * b->scales[g];
        }
        return;
    }
    const struct block_q4_k *b =
        (const struct block_q4_k *)(const void *)block; // Q5_K starts alike
    float dmin = _cvtsh_ss(b->dmin);
    to->d = _cvtsh_ss(b->d);
    for (int s = 0; s < 8; s++) {
        uint8_t scale, min;
        k_scale_min(b->scales, s, &scale, &min);
        to->scale[2 * s] = to->scale[2 * s + 1] = scale;
        to->offset[2 * s] = to->offset[2 * s + 1] = -dmin * min;
    }
}

FORCE_INLINE void k_row(enum dtype type, int n_tokens, __m256 sums[MOST_TOKENS], const uint8_t *row,
                        const struct row_x_token *x, int64_t n_in)
{
    const size_t block_bytes = type == DTYPE_Q4_K ? 144 : type == DTYPE_Q5_K ? 176 : 210;
    for (int64_t b = 0; b < n_in / 256; b++, row += block_bytes) {
        struct k_scales k;
        __m256i hi[MOST_TOKENS], lo[MOST_TOKENS];
        prefetch(row, block_bytes);
        k_scales_of(type, &k, row);
        for (int t = 0; t < n_tokens; t++)
            hi[t] = lo[t] = _mm256_setzero_si256();
        for (int s = 0; s < 8; s++) {
            __m256i w = k_weights(type, row, s);
            __m256i scales = _mm256_set_m128i(_mm_set1_epi16(k.scale[2 * s + 1]),
                                              _mm_set1_epi16(k.scale[2 * s]));
            for (int t = 0; t < n_tokens; t++) {
                hi[t] = add_plane(hi[t], w, x[t].hi + 256 * b + 32 * s, scales);
                lo[t] = add_plane(lo[t], w, x[t].lo + 256 * b + 32 * s, scales);
            }
        }
        for (int t = 0; t < n_tokens; t++) {
            __m256 d = _mm256_set1_ps(k.d * x[t].scale[b]), hundred28 = _mm256_set1_ps(128);
            __m256 whole =
                _mm256_fmadd_ps(_mm256_cvtepi32_ps(hi[t]), hundred28, _mm256_cvtepi32_ps(lo[t]));
            sums[t] = _mm256_fmadd_ps(whole, d, sums[t]);
            for (int i = 0; i < 16; i += 8)
                sums[t] = _mm256_fmadd_ps(_mm256_loadu_ps(k.offset + i),
                                          _mm256_loadu_ps(x[t].sum16 + 16 * b + i), sums[t]);
        }
    }
}

// ---- Q8_0, Q4_0 -------------------------------------------------------------------------------

FORCE_INLINE void small_row(enum dtype type, int n_tokens, __m256 sums[MOST_TOKENS],
                            const uint8_t *row, const struct row_x_token *x, int64_t n_in)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const size_t block_bytes =
        type == DTYPE_Q8_0 ? sizeof(struct block_q8_0) : sizeof(struct block_q4_0);
    float offsets[MOST_TOKENS] = {0};
    for (int64_t b = 0; b < n_in / 32; b++, row += block_bytes) {
        uint16_t half;
        memcpy(&half, row, 2);
        const float d = _cvtsh_ss(half);
        __m256i q;
        prefetch(row, block_bytes);
        if (type == DTYPE_Q8_0) {
            q = load(row + 2);
        } else {
            __m128i both = _mm_loadu_si128((const void *)(row + 2));
            q = _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(both, 4), both),
                                 _mm256_set1_epi8(15));
        }
        for (int t = 0; t < n_tokens; t++) {
            __m256i a = load(x[t].hi + 32 * b), c = load(x[t].lo + 32 * b), w = q;
            if (type == DTYPE_Q8_0) {
                a = _mm256_sign_epi8(a, q);
                c = _mm256_sign_epi8(c, q);
                w = _mm256_abs_epi8(q);
            } else {
                offsets[t] += d * x[t].sum32[b];
            }
            a = _mm256_madd_epi16(_mm256_maddubs_epi16(w, a), ones);
            c = _mm256_madd_epi16(_mm256_maddubs_epi16(w, c), ones);
            __m256 whole = _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_slli_epi32(a, 7), c));
            sums[t] = _mm256_fmadd_ps(whole, _mm256_set1_ps(d * x[t].scale[b / 8]), sums[t]);
        }
    }
    for (int t = 0; t < n_tokens; t++) // -8 * offset in all, from 8 lanes
        sums[t] = _mm256_sub_ps(sums[t], _mm256_set1_ps(offsets[t]));
}

// ---- one row ----------------------------------------------------------------------------------

FORCE_INLINE void row_dots(enum dtype type, int n_tokens, float dots[MOST_TOKENS],
                           const uint8_t *row, const struct row_x_token *x, int64_t n_in)
{
    __m256 sums[MOST_TOKENS];
    for (int t = 0; t < n_tokens; t++)
        sums[t] = _mm256_setzero_ps();
    if (type == DTYPE_Q8_0 || type == DTYPE_Q4_0)
        small_row(type, n_tokens, sums, row, x, n_in);
    else
        k_row(type, n_tokens, sums, row, x, n_in);
    for (int t = 0; t < n_tokens; t++)
        dots[t] = vf_sum(sums[t]);
}

#include "matvec_body.h"

const struct row_kernels row_avx2 = {rows_quantise, rows_multiply};
