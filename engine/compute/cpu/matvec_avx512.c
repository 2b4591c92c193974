// matvec_avx512.c - quantised weights times few tokens (1 to 8), with AVX-512 VNNI: weights are
// read once, in place.
//
// vpdpbusd multiplies 64 unsigned weights with 64 signed activation bytes and adds them in fours to
// 16 int32 sums; it is run for the hi and for the lo plane. A sum of four products fits 16 bits, so
// in the K formats the two planes' sums are packed side by side and vpdpwssd multiplies them with
// their sub-block's integer scale and adds them up: a 256-block needs one conversion to float a row
// and token. Bounds, for the worst format, Q6_K: 63 * 127 * 4 = 32004 < 2^15; two of these times a
// scale of 128, four vectors: 2^25.
//
// A thread reads its rows one after the other, so that its weights are one stream of addresses, for
// 1, 2 or 4 tokens at once.
#include "simd_avx512.h"

#include "quantise_body.h"

struct sums { // of one row and token
    __m512 dot;
    __m512 offset; // what the weights' mins and offsets add
};

FORCE_INLINE __m512i load(const void *p)
{
    return _mm512_loadu_si512(p);
}

FORCE_INLINE __m512i twice(const void *p) // 32 bytes in both halves
{
    return _mm512_broadcast_i64x4(_mm256_loadu_si256(p));
}

FORCE_INLINE __m512i halves(int low,
                            int high) // 16-bit lanes: a count for the lower half, one for the upper
{
    return _mm512_inserti64x4(_mm512_set1_epi16((short)low), _mm256_set1_epi16((short)high), 1);
}

// ---- one 256-block of the K formats: unpacked weights and integer scales ----------------------

struct k_block {
    __m512i
        weights[4]; // 64 each, unsigned; in order (Q6_K) or in that of hi_k and lo_k (Q4_K, Q5_K)
    __m512i scales[4]; // of the lane's four weights, in both 16-bit halves
    __m512
        offsets; // times the sums of the activations: 16 to be added (Q6_K), or 8 to be taken away
    __m128 d;    // [0]
};

// The 6-bit scales and mins of Q4_K and Q5_K, eight bytes each (blocks.h: k_scale_min); in general
// registers, which are idle.
FORCE_INLINE void scales_mins(const uint8_t packed[12], uint64_t *scales, uint64_t *mins)
{
    uint32_t a, b, c;
    memcpy(&a, packed, 4);
    memcpy(&b, packed + 4, 4);
    memcpy(&c, packed + 8, 4);
    *scales = (a & 0x3f3f3f3f) | (uint64_t)((c & 0x0f0f0f0f) | (a >> 2 & 0x30303030)) << 32;
    *mins = (b & 0x3f3f3f3f) | (uint64_t)((c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030)) << 32;
}

// What Q4_K and Q5_K share: d, dmin, scales, mins. The lower half of vector j is sub-block
// first[j], the upper one first[j] + 2.
FORCE_INLINE void k45_head(struct k_block *to, const uint8_t *block)
{
    static const int first[4] = {0, 1, 4, 5};
    uint64_t scales, mins;
    scales_mins(block + 4, &scales, &mins);
    const __m512i all = _mm512_set1_epi64((long long)scales);
    const __m512i lanes = _mm512_inserti64x4(_mm512_set1_epi32((int)0x80008000),
                                             _mm256_set1_epi32((int)0x80028002), 1);
    for (int j = 0; j < 4; j++)
        to->scales[j] = _mm512_shuffle_epi8(
            all, _mm512_add_epi32(lanes, _mm512_set1_epi32(0x00010001 * first[j])));
    to->d = _mm_cvtph_ps(_mm_loadu_si32(block)); // d, dmin
    __m256 factors = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)mins)));
    to->offsets = _mm512_castps256_ps512(
        _mm256_mul_ps(factors, _mm256_broadcastss_ps(_mm_movehdup_ps(to->d))));
}

// 128 bytes of nibbles.
FORCE_INLINE void nibbles(struct k_block *to, const uint8_t *q)
{
    const __m512i low4 = _mm512_set1_epi8(15);
    for (int h = 0; h < 2; h++) {
        __m512i both = load(q + 64 * h);
        to->weights[2 * h] = _mm512_and_si512(both, low4);
        to->weights[2 * h + 1] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low4);
    }
}

// The fifth bits: vector j has those of sub-blocks first[j] and first[j] + 2; each is turned to bit
// 4 of its byte.
FORCE_INLINE void fifth_bits(struct k_block *to, const uint8_t *qh)
{
    static const int first[4] = {0, 1, 4, 5};
    const __m512i high = twice(qh);
    for (int j = 0; j < 4; j++) {
        __m512i turn = _mm512_inserti64x4(_mm512_set1_epi32((36 - first[j]) % 32),
                                          _mm256_set1_epi32((34 - first[j]) % 32), 1);
        to->weights[j] = _mm512_ternarylogic_epi32(_mm512_rolv_epi32(high, turn),
                                                   _mm512_set1_epi8(16), to->weights[j], 0xea);
    } // 0xea: a & b | c
}

FORCE_INLINE void q6_k_block(struct k_block *to, const struct block_q6_k *from)
{
    const __m512i low4 = _mm512_set1_epi8(15), bits45 = _mm512_set1_epi8(0x30);
    for (int h = 0; h < 2; h++) {
        __m512i ql = load(from->ql + 64 * h), qh = twice(from->qh + 32 * h);
        __m512i first = _mm512_sllv_epi16(qh, halves(4, 2)),
                second = _mm512_srlv_epi16(qh, halves(0, 2));
        to->weights[2 * h] =
            _mm512_ternarylogic_epi32(first, bits45, _mm512_and_si512(ql, low4), 0xea);
        ql = _mm512_and_si512(_mm512_srli_epi16(ql, 4), low4);
        to->weights[2 * h + 1] = _mm512_ternarylogic_epi32(second, bits45, ql, 0xea);
    }
    // Scales are signed, one in 16 weights: lane l of vector j gets scale 4j + l / 4.
    __m128i scales = _mm_loadu_si128((const void *)from->scales);
    const __m512i words = _mm512_castsi256_si512(_mm256_cvtepi8_epi16(scales));
    const __m512i lanes =
        _mm512_set_epi64(0x0003000300030003, 0x0003000300030003, 0x0002000200020002,
                         0x0002000200020002, 0x0001000100010001, 0x0001000100010001, 0, 0);
    for (int j = 0; j < 4; j++)
        to->scales[j] = _mm512_permutexvar_epi16(
            _mm512_add_epi16(lanes, _mm512_set1_epi16((short)(4 * j))), words);
    to->d = _mm_cvtph_ps(_mm_loadu_si16(&from->d));
    __m512 minus = _mm512_broadcastss_ps(_mm_mul_ss(to->d, _mm_set_ss(-32)));
    to->offsets = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(scales)), minus);
}

FORCE_INLINE void k_block_of(enum dtype type, struct k_block *to, const uint8_t *block)
{
    if (type == DTYPE_Q6_K) {
        q6_k_block(to, (const struct block_q6_k *)(const void *)block);
        return;
    }
    k45_head(to, block);
    nibbles(to, block + (type == DTYPE_Q4_K ? 16 : 48));
    if (type == DTYPE_Q5_K)
        fifth_bits(to, block + 16);
}

// The dot product of a block with 256 columns: hi and lo sums of four weights side by side as 16
// bits, times their scale.
FORCE_INLINE __m512 k_dot(const struct k_block *block, const int8_t *x_hi, const int8_t *x_lo)
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i sum = zero;
    for (int j = 0; j < 4; j++) {
        __m512i hi = _mm512_dpbusd_epi32(zero, block->weights[j], load(x_hi + 64 * j));
        __m512i lo = _mm512_dpbusd_epi32(zero, block->weights[j], load(x_lo + 64 * j));
        sum = _mm512_dpwssd_epi32(sum, _mm512_packs_epi32(hi, lo), block->scales[j]);
    }
    return _mm512_cvtepi32_ps(sum); // of each four lanes two are hi, two lo
}

FORCE_INLINE void k_row(enum dtype type, int n_tokens, struct sums sums[MOST_TOKENS],
                        const uint8_t *row, const struct row_x_token *x, int64_t n_in)
{
    const size_t block_bytes = type == DTYPE_Q4_K ? 144 : type == DTYPE_Q5_K ? 176 : 210;
    const __m512 planes = // what a lane's sums are worth (k_dot)
        _mm512_set_ps(1, 1, 128, 128, 1, 1, 128, 128, 1, 1, 128, 128, 1, 1, 128, 128);
    for (int64_t b = 0; b < n_in / 256; b++, row += block_bytes) {
        struct k_block block;
        prefetch(row, block_bytes);
        k_block_of(type, &block, row);
        for (int t = 0; t < n_tokens; t++) {
            struct sums *s = &sums[t];
            bool in_order = type == DTYPE_Q6_K;
            __m512 dot = k_dot(&block, (in_order ? x[t].hi : x[t].hi_k) + 256 * b,
                               (in_order ? x[t].lo : x[t].lo_k) + 256 * b);
            __m512 factor = _mm512_broadcastss_ps(_mm_mul_ss(block.d, _mm_load_ss(&x[t].scale[b])));
            s->dot = _mm512_fmadd_ps(dot, factor, s->dot);
            if (type == DTYPE_Q6_K)
                s->offset =
                    _mm512_fmadd_ps(block.offsets, _mm512_loadu_ps(x[t].sum16 + 16 * b), s->offset);
            else
                s->offset = _mm512_zextps256_ps512(_mm256_fnmadd_ps(
                    _mm512_castps512_ps256(block.offsets), _mm256_loadu_ps(x[t].sum32 + 8 * b),
                    _mm512_castps512_ps256(s->offset)));
        }
    }
    for (int t = 0; t < n_tokens; t++)
        sums[t].dot = _mm512_mul_ps(sums[t].dot, planes);
}

// ---- Q8_0 and Q4_0: eight blocks of 32, two a vector ------------------------------------------

// Weights of two blocks, unsigned: + 128 (Q8_0) or + 8 (Q4_0).
FORCE_INLINE __m512i pair_of(enum dtype type, const uint8_t *p)
{
    if (type == DTYPE_Q8_0) {
        __m512i q = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)(p + 2)));
        q = _mm512_inserti64x4(q, _mm256_loadu_si256((const void *)(p + 34 + 2)), 1);
        return _mm512_xor_si512(q, _mm512_set1_epi8(-128));
    }
    __m512i q =
        _mm512_castsi256_si512(_mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)(p + 2))));
    q = _mm512_inserti64x4(
        q, _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)(p + 18 + 2))), 1);
    const __m512i shift = _mm512_set_epi64(0x0004000400040004, 0x0004000400040004, 0, 0,
                                           0x0004000400040004, 0x0004000400040004, 0, 0);
    return _mm512_and_si512(_mm512_srlv_epi16(q, shift), _mm512_set1_epi8(15));
}

// The half floats that start eight blocks; put together in general registers, which are idle.
FORCE_INLINE __m256 eight_scales(const uint8_t *p, size_t block_bytes)
{
    uint64_t four[2] = {0, 0};
    for (size_t i = 0; i < 8; i++) {
        uint16_t d;
        memcpy(&d, p + i * block_bytes, 2);
        four[i / 4] |= (uint64_t)d << 16 * (i % 4);
    }
    return _mm256_cvtph_ps(_mm_set_epi64x((long long)four[1], (long long)four[0]));
}

// 256 columns, group g of x.
FORCE_INLINE void small_group(enum dtype type, int n_tokens, struct sums sums[MOST_TOKENS],
                              const uint8_t *group, const struct row_x_token *x, int64_t g)
{
    const size_t block_bytes =
        type == DTYPE_Q8_0 ? sizeof(struct block_q8_0) : sizeof(struct block_q4_0);
    const __m512i spread = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256 d = eight_scales(group, block_bytes);
    const __m256 offsets = _mm256_mul_ps(d, _mm256_set1_ps(type == DTYPE_Q8_0 ? -128 : -8));
    __m512 part[MOST_TOKENS];
    for (int t = 0; t < n_tokens; t++)
        part[t] = _mm512_setzero_ps();
    for (int j = 0; j < 4; j++) {
        __m512i q = pair_of(type, group + 2 * (size_t)j * block_bytes);
        __m512 scale = _mm512_permutexvar_ps(_mm512_add_epi32(spread, _mm512_set1_epi32(2 * j)),
                                             _mm512_castps256_ps512(d));
        for (int t = 0; t < n_tokens; t++) {
            __m512i hi =
                _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, load(x[t].hi + 256 * g + 64 * j));
            __m512i all =
                _mm512_dpbusd_epi32(_mm512_slli_epi32(hi, 7), q, load(x[t].lo + 256 * g + 64 * j));
            part[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(all), scale, part[t]);
        }
    }
    for (int t = 0; t < n_tokens; t++) {
        __m256 totals = _mm256_mul_ps(offsets, _mm256_loadu_ps(x[t].sum32 + 8 * g));
        sums[t].dot = _mm512_fmadd_ps(part[t], _mm512_set1_ps(x[t].scale[g]), sums[t].dot);
        sums[t].offset = _mm512_add_ps(sums[t].offset, _mm512_zextps256_ps512(totals));
    }
}

FORCE_INLINE void small_row(enum dtype type, int n_tokens, struct sums sums[MOST_TOKENS],
                            const uint8_t *row, const struct row_x_token *x, int64_t n_in)
{
    const size_t block_bytes =
        type == DTYPE_Q8_0 ? sizeof(struct block_q8_0) : sizeof(struct block_q4_0);
    for (int64_t g = 0; g < n_in / 256; g++, row += 8 * block_bytes) {
        prefetch(row, 8 * block_bytes);
        small_group(type, n_tokens, sums, row, x, g);
    }
    if (n_in % 256) {
        uint8_t rest[8 * sizeof(struct block_q8_0)] = {
            0}; // the blocks past the row's end are zeros
        memcpy(rest, row, (size_t)(n_in % 256 / 32) * block_bytes);
        small_group(type, n_tokens, sums, rest, x, n_in / 256);
    }
}

// ---- one row ----------------------------------------------------------------------------------

FORCE_INLINE void row_dots(enum dtype type, int n_tokens, float dots[MOST_TOKENS],
                           const uint8_t *row, const struct row_x_token *x, int64_t n_in)
{
    struct sums sums[MOST_TOKENS];
    for (int t = 0; t < n_tokens; t++)
        sums[t].dot = sums[t].offset = _mm512_setzero_ps();
    if (type == DTYPE_Q8_0 || type == DTYPE_Q4_0)
        small_row(type, n_tokens, sums, row, x, n_in);
    else
        k_row(type, n_tokens, sums, row, x, n_in);
    for (int t = 0; t < n_tokens; t++)
        dots[t] = _mm512_reduce_add_ps(_mm512_add_ps(sums[t].dot, sums[t].offset));
}

#include "matvec_body.h"

const struct row_kernels row_avx512 = {rows_quantise, rows_multiply};
