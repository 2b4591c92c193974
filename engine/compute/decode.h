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
    case DTYPE_I32:
        break;
    }
    die("tensor type %s cannot be decoded to float", dtype_name(type));
}
