// decode.h - the decode of every storage format to float: the definition of each one in this
// engine.
//
// Short, without intrinsics. dtype.c compiles it as dtype_decode(), which every test takes; the
// CPU's float kernels (cpu/float_body.h) compile it once more for each instruction set: the inner
// loops are written so that a compiler can make vectors of them (16 or 32 weights that share their
// scale, no branch). The fast kernels (cpu/*_avx2.c, cpu/*_avx512.c) and those of a GPU must agree
// with it. Layouts: blocks.h.
#pragma once

#include "blocks.h"
#include "compute.h"

// Before a loop over weights that share a scale: it is small enough to be unrolled before vectors
// are made of it, and much of it would stay single operations.
#define VECTORS _Pragma("clang loop unroll(disable)")

static inline void decode_f16(float *restrict out, const uint16_t *restrict in, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = float_from_f16(in[i]);
}

static inline void decode_bf16(float *restrict out, const uint16_t *restrict in, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = float_from_bf16(in[i]);
}

// ---- blocks of 32 -------------------------------------------------------------------------------

static inline void decode_q8_0(float *restrict out, const struct block_q8_0 *restrict block,
                               int64_t n)
{
    for (; n > 0; n -= 32, block++, out += 32) {
        float d = float_from_f16(block->d);
        VECTORS
        for (int i = 0; i < 32; i++)
            out[i] = d * (float)block->q[i];
    }
}

static inline void decode_q4_0(float *restrict out, const struct block_q4_0 *restrict block,
                               int64_t n)
{
    for (; n > 0; n -= 32, block++, out += 32) {
        float d = float_from_f16(block->d);
        VECTORS
        for (int i = 0; i < 16; i++) {
            out[i] = d * (float)((block->q[i] & 15) - 8);
            out[i + 16] = d * (float)((block->q[i] >> 4) - 8);
        }
    }
}

static inline void decode_q4_1(float *restrict out, const struct block_q4_1 *restrict block,
                               int64_t n)
{
    for (; n > 0; n -= 32, block++, out += 32) {
        float d = float_from_f16(block->d), m = float_from_f16(block->m);
        VECTORS
        for (int i = 0; i < 16; i++) {
            out[i] = d * (float)(block->q[i] & 15) + m;
            out[i + 16] = d * (float)(block->q[i] >> 4) + m;
        }
    }
}

// 32 integers of 5 bits, 0 .. 31: out = d * (integer - middle) + m.
static inline void decode_five_bits(float *restrict out, float d, int middle, float m,
                                    const uint8_t qh[restrict 4], const uint8_t q[restrict 16])
{
    uint32_t high;
    memcpy(&high, qh, sizeof(high));
    VECTORS
    for (int i = 0; i < 16; i++) {
        int low = q[i] & 15, up = q[i] >> 4;
        out[i] = d * (float)((low | (int)(high >> i & 1) << 4) - middle) + m;
        out[i + 16] = d * (float)((up | (int)(high >> (i + 16) & 1) << 4) - middle) + m;
    }
}

static inline void decode_q5_0(float *restrict out, const struct block_q5_0 *restrict block,
                               int64_t n)
{
    for (; n > 0; n -= 32, block++, out += 32)
        decode_five_bits(out, float_from_f16(block->d), 16, 0, block->qh, block->q);
}

static inline void decode_q5_1(float *restrict out, const struct block_q5_1 *restrict block,
                               int64_t n)
{
    for (; n > 0; n -= 32, block++, out += 32)
        decode_five_bits(out, float_from_f16(block->d), 0, float_from_f16(block->m), block->qh,
                         block->q);
}

// 32 codes of 4 bits in 16 bytes.
static inline void decode_codes(float *restrict out, float scale,
                                const int8_t codebook[restrict 16], const uint8_t q[restrict 16])
{
    for (int i = 0; i < 16; i++) {
        out[i] = scale * (float)codebook[q[i] & 15];
        out[i + 16] = scale * (float)codebook[q[i] >> 4];
    }
}

static inline void decode_iq4_nl(float *restrict out, const struct block_iq4_nl *restrict block,
                                 int64_t n)
{
    for (; n > 0; n -= 32, block++, out += 32)
        decode_codes(out, float_from_f16(block->d), codebook_iq4, block->q);
}

static inline void decode_mxfp4(float *restrict out, const struct block_mxfp4 *restrict block,
                                int64_t n)
{
    for (; n > 0; n -= 32, block++, out += 32)
        decode_codes(out, half_of_e8m0(block->e), codebook_fp4, block->q);
}

// ---- blocks of 256 ------------------------------------------------------------------------------

static inline void decode_q2_k(float *restrict out, const struct block_q2_k *restrict block,
                               int64_t n)
{
    for (; n > 0; n -= 256, block++) {
        float d = float_from_f16(block->d), dmin = float_from_f16(block->dmin);
        for (int g = 0; g < 16; g++, out += 16) {
            const uint8_t *restrict q = block->q + 32 * (g / 8) + 16 * (g % 2);
            float scale = d * (float)(block->scales[g] & 15),
                  min = dmin * (float)(block->scales[g] >> 4);
            int shift = 2 * (g % 8 / 2);
            VECTORS
            for (int i = 0; i < 16; i++)
                out[i] = scale * (float)(q[i] >> shift & 3) - min;
        }
    }
}

static inline void decode_q3_k(float *restrict out, const struct block_q3_k *restrict block,
                               int64_t n)
{
    for (; n > 0; n -= 256, block++) {
        float d = float_from_f16(block->d);
        for (int g = 0; g < 16; g++, out += 16) {
            const uint8_t *restrict q = block->q + 32 * (g / 8) + 16 * (g % 2), *restrict high =
                                                                                    block->high +
                                                                                    16 * (g % 2);
            float scale = d * (float)q3_k_scale(block->scales, g);
            int shift = 2 * (g % 8 / 2), bit = g / 2;
            VECTORS
            for (int i = 0; i < 16; i++)
                out[i] = scale * (float)(((q[i] >> shift & 3) | (high[i] >> bit & 1) << 2) - 4);
        }
    }
}

static inline void decode_q4_k(float *restrict out, const struct block_q4_k *restrict block,
                               int64_t n)
{
    for (; n > 0; n -= 256, block++) {
        float d = float_from_f16(block->d), dmin = float_from_f16(block->dmin);
        for (int s = 0; s < 8; s++, out += 32) {
            const uint8_t *restrict q = block->q + 32 * (s / 2);
            uint8_t scale, min;
            k_scale_min(block->scales, s, &scale, &min);
            float by = d * scale, less = dmin * min;
            int shift = 4 * (s % 2);
            VECTORS
            for (int i = 0; i < 32; i++)
                out[i] = by * (float)(q[i] >> shift & 15) - less;
        }
    }
}

static inline void decode_q5_k(float *restrict out, const struct block_q5_k *restrict block,
                               int64_t n)
{
    for (; n > 0; n -= 256, block++) {
        float d = float_from_f16(block->d), dmin = float_from_f16(block->dmin);
        for (int s = 0; s < 8; s++, out += 32) {
            const uint8_t *restrict q = block->q + 32 * (s / 2), *restrict qh = block->qh;
            uint8_t scale, min;
            k_scale_min(block->scales, s, &scale, &min);
            float by = d * scale, less = dmin * min;
            int shift = 4 * (s % 2);
            VECTORS
            for (int i = 0; i < 32; i++)
                out[i] = by * (float)((q[i] >> shift & 15) | (qh[i] >> s & 1) << 4) - less;
        }
    }
}

static inline void decode_q6_k(float *restrict out, const struct block_q6_k *restrict block,
                               int64_t n)
{
    for (; n > 0; n -= 256, block++) {
        float d = float_from_f16(block->d);
        for (int g = 0; g < 16; g++, out += 16) { // quarter s % 4 of half s / 4, in two groups
            int s = g / 2, low = 4 * (s % 4 / 2), high = 2 * (s % 4), at = 16 * (g % 2);
            const uint8_t *restrict ql = block->ql + 64 * (s / 4) + 32 * (s % 2) + at,
                                    *restrict qh = block->qh + 32 * (s / 4) + at;
            float scale = d * block->scales[g];
            VECTORS
            for (int i = 0; i < 16; i++)
                out[i] = scale * (float)(((ql[i] >> low & 15) | (qh[i] >> high & 3) << 4) - 32);
        }
    }
}

static inline void decode_iq4_xs(float *restrict out, const struct block_iq4_xs *restrict block,
                                 int64_t n)
{
    for (; n > 0; n -= 256, block++)
        for (int s = 0; s < 8; s++, out += 32)
            decode_codes(out, float_from_f16(block->d) * (float)iq4_xs_scale(block, s),
                         codebook_iq4, block->q + 16 * s);
}

// ---- blocks of 256 with codebooks: runs of eight weights ----------------------------------------

// Entry `index` of a grid of eight columns: bits 8 (i % 4) + 2 (i / 4) are column i's code.
static inline uint32_t grid_codes(const uint32_t *grid, uint32_t index)
{
    return grid[index / 2] >> 4 * (index % 2);
}

// Values 8, 25, 43.
static inline void decode_run(float *restrict out, float scale, uint32_t codes, uint32_t signs)
{
    VECTORS
    for (int i = 0; i < 8; i++) {
        int code = (int)(codes >> (8 * (i % 4) + 2 * (i / 4)) & 3), minus = -(int)(signs >> i & 1);
        out[i] = scale * (float)(((8 + 17 * code + code / 2) ^ minus) - minus);
    }
}

// Two entries of a grid of four columns.
static inline void decode_two_runs(float *restrict out, float scale, uint32_t first,
                                   uint32_t second, uint32_t signs)
{
    VECTORS
    for (int i = 0; i < 4; i++) {
        int minus = -(int)(signs >> i & 1), minus2 = -(int)(signs >> (i + 4) & 1);
        out[i] = scale * (float)(((int)(first >> 8 * i & 255) ^ minus) - minus);
        out[i + 4] = scale * (float)(((int)(second >> 8 * i & 255) ^ minus2) - minus2);
    }
}

// IQ1: codes 0 .. 2 are -1 .. 1.
static inline void decode_run_of_trits(float *restrict out, float scale, uint32_t index, bool minus)
{
    const uint32_t codes = grid_codes(grid_iq1, index);
    const float delta = minus ? -1.125f : -0.875f;
    VECTORS
    for (int i = 0; i < 8; i++)
        out[i] = scale * ((float)(int)(codes >> (8 * (i % 4) + 2 * (i / 4)) & 3) + delta);
}

static inline void decode_iq1_s(float *restrict out, const struct block_iq1_s *restrict block,
                                int64_t n)
{
    for (; n > 0; n -= 256, block++) {
        float d = float_from_f16(block->d);
        for (int r = 0; r < 32; r++, out += 8) {
            uint32_t qh = block->qh[r / 4], upper = qh >> 3 * (r % 4) & 7;
            decode_run_of_trits(out, d * (float)(2 * (qh >> 12 & 7) + 1), block->q[r] | upper << 8,
                                qh >> 15);
        }
    }
}

static inline void decode_iq1_m(float *restrict out, const struct block_iq1_m *restrict block,
                                int64_t n)
{
    for (; n > 0; n -= 256, block++) {
        float d = float_from_f16(iq1_m_d(block));
        for (int r = 0; r < 32; r++, out += 8) {
            uint32_t qh = block->qh[r / 2] >> 4 * (r % 2);
            uint32_t scale = block->scales[r / 8] >> 3 * (r / 2 % 4) & 7;
            decode_run_of_trits(out, d * (float)(2 * scale + 1), block->q[r] | (qh & 7) << 8,
                                qh >> 3 & 1);
        }
    }
}

static inline void decode_iq2_xxs(float *restrict out, const struct block_iq2_xxs *restrict block,
                                  int64_t n)
{
    for (; n > 0; n -= 256, block++) {
        float d = float_from_f16(block->d) * 0.125f;
        for (int s = 0; s < 8; s++) {
            uint32_t bits;
            memcpy(&bits, block->sub[s].signs_s, sizeof(bits));
            float scale = d * (float)(2 * (bits >> 28) + 1);
            for (int r = 0; r < 4; r++, out += 8)
                decode_run(out, scale, grid_codes(grid_iq2_xxs, block->sub[s].q[r]),
                           eight_signs(bits >> 7 * r & 127));
        }
    }
}

// Of group g: nibble g % 2 of byte g / 2.
static inline float iq2_scale(const uint8_t scales[8], int g)
{
    return (float)(2 * (scales[g / 2] >> 4 * (g % 2) & 15) + 1);
}

static inline void decode_iq2_xs(float *restrict out, const struct block_iq2_xs *restrict block,
                                 int64_t n)
{
    for (; n > 0; n -= 256, block++) {
        float d = float_from_f16(block->d) * 0.125f;
        for (int r = 0; r < 32; r++, out += 8)
            decode_run(out, d * iq2_scale(block->scales, r / 2),
                       grid_codes(grid_iq2_xs, block->q[r] & 511), eight_signs(block->q[r] >> 9));
    }
}

static inline void decode_iq2_s(float *restrict out, const struct block_iq2_s *restrict block,
                                int64_t n)
{
    for (; n > 0; n -= 256, block++) {
        float d = float_from_f16(block->d) * 0.125f;
        for (int r = 0; r < 32; r++, out += 8) {
            uint32_t upper = block->qh[r / 4] >> 2 * (r % 4) & 3;
            decode_run(out, d * iq2_scale(block->scales, r / 2),
                       grid_codes(grid_iq2_s, block->q[r] | upper << 8), block->signs[r]);
        }
    }
}

static inline void decode_iq3_xxs(float *restrict out, const struct block_iq3_xxs *restrict block,
                                  int64_t n)
{
    for (; n > 0; n -= 256, block++) {
        float d = float_from_f16(block->d) * 0.25f;
        for (int s = 0; s < 8; s++) {
            uint32_t bits;
            memcpy(&bits, block->signs_s[s], sizeof(bits));
            float scale = d * (float)(2 * (bits >> 28) + 1);
            const uint8_t *q = block->q + 8 * s;
            for (int r = 0; r < 4; r++, out += 8, q += 2)
                decode_two_runs(out, scale, grid_iq3_xxs[q[0]], grid_iq3_xxs[q[1]],
                                eight_signs(bits >> 7 * r & 127));
        }
    }
}

static inline void decode_iq3_s(float *restrict out, const struct block_iq3_s *restrict block,
                                int64_t n)
{
    for (; n > 0; n -= 256, block++) {
        float d = float_from_f16(block->d);
        for (int r = 0; r < 32; r++, out += 8) {
            int scale = block->scales[r / 8] >> 4 * (r / 4 % 2) & 15;
            uint32_t ninth = block->qh[r / 4] >> 2 * (r % 4);
            decode_two_runs(
                out, d * (float)(2 * scale + 1), grid_iq3_s[block->q[2 * r] | (ninth & 1) << 8],
                grid_iq3_s[block->q[2 * r + 1] | (ninth >> 1 & 1) << 8], block->signs[r]);
        }
    }
}

// ---- ternary ------------------------------------------------------------------------------------

// Trits `trit` of n bytes.
static inline void decode_trits(float *restrict out, float d, const uint8_t *restrict q, int trit,
                                int n)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    VECTORS
    for (int i = 0; i < n; i++)
        out[i] = d * (float)(((q[i] * power[trit] & 255) * 3 >> 8) - 1);
}

static inline void decode_tq1_0(float *restrict out, const struct block_tq1_0 *restrict block,
                                int64_t n)
{
    for (; n > 0; n -= 256, block++) {
        float d = float_from_f16(block->d);
        for (int t = 0; t < 5; t++, out += 32)
            decode_trits(out, d, block->q, t, 32);
        for (int t = 0; t < 5; t++, out += 16)
            decode_trits(out, d, block->q + 32, t, 16);
        for (int t = 0; t < 4; t++, out += 4)
            decode_trits(out, d, block->qh, t, 4);
    }
}

static inline void decode_tq2_0(float *restrict out, const struct block_tq2_0 *restrict block,
                                int64_t n)
{
    for (; n > 0; n -= 256, block++) {
        float d = float_from_f16(block->d);
        for (int s = 0; s < 8; s++, out += 32) {
            const uint8_t *restrict q = block->q + 32 * (s / 4);
            int shift = 2 * (s % 4);
            VECTORS
            for (int i = 0; i < 32; i++)
                out[i] = d * (float)((q[i] >> shift & 3) - 1);
        }
    }
}

// Those with codebooks and the ternary ones.
static inline void decode_small(enum dtype type, float *out, const void *restrict in, int64_t n)
{
    switch (type) {
    case DTYPE_IQ1_S:
        decode_iq1_s(out, in, n);
        return;
    case DTYPE_IQ1_M:
        decode_iq1_m(out, in, n);
        return;
    case DTYPE_IQ2_XXS:
        decode_iq2_xxs(out, in, n);
        return;
    case DTYPE_IQ2_XS:
        decode_iq2_xs(out, in, n);
        return;
    case DTYPE_IQ2_S:
        decode_iq2_s(out, in, n);
        return;
    case DTYPE_IQ3_XXS:
        decode_iq3_xxs(out, in, n);
        return;
    case DTYPE_IQ3_S:
        decode_iq3_s(out, in, n);
        return;
    case DTYPE_TQ1_0:
        decode_tq1_0(out, in, n);
        return;
    case DTYPE_TQ2_0:
        decode_tq2_0(out, in, n);
        return;
    default:
        break;
    }
    die("tensor type %s cannot be decoded to float", dtype_name(type));
}

// n elements, a multiple of the format's block.
static inline void decode_row(enum dtype type, float *out, const void *restrict in, int64_t n)
{
    switch (type) {
    case DTYPE_F32:
        memcpy(out, in, (size_t)n * sizeof(*out));
        return;
    case DTYPE_F16:
        decode_f16(out, in, n);
        return;
    case DTYPE_BF16:
        decode_bf16(out, in, n);
        return;
    case DTYPE_Q8_0:
        decode_q8_0(out, in, n);
        return;
    case DTYPE_Q4_0:
        decode_q4_0(out, in, n);
        return;
    case DTYPE_Q4_1:
        decode_q4_1(out, in, n);
        return;
    case DTYPE_Q5_0:
        decode_q5_0(out, in, n);
        return;
    case DTYPE_Q5_1:
        decode_q5_1(out, in, n);
        return;
    case DTYPE_Q2_K:
        decode_q2_k(out, in, n);
        return;
    case DTYPE_Q3_K:
        decode_q3_k(out, in, n);
        return;
    case DTYPE_Q4_K:
        decode_q4_k(out, in, n);
        return;
    case DTYPE_Q5_K:
        decode_q5_k(out, in, n);
        return;
    case DTYPE_Q6_K:
        decode_q6_k(out, in, n);
        return;
    case DTYPE_IQ4_NL:
        decode_iq4_nl(out, in, n);
        return;
    case DTYPE_IQ4_XS:
        decode_iq4_xs(out, in, n);
        return;
    case DTYPE_MXFP4:
        decode_mxfp4(out, in, n);
        return;
    default:
        decode_small(type, out, in, n);
    }
}
