// formats.h - random data, and the second definition of every weight format; for the tests of
// floor 1 (unit and golden).
//
// weight_at() is written from the format's description, one weight at a time by bit position, and
// shares nothing with engine/compute/dtype.c or the kernels: it is what they are tested against.
#pragma once

#include "../../engine/compute/blocks.h"
#include "../../engine/compute/compute.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t random_state = 88172645463325252u;

static inline uint32_t random_u32(void) // xorshift64*
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)(random_state * 2685821657736338717u >> 32);
}

static inline float
random_float(void) // roughly normal, with a heavy value now and then as activations have
{
    float sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (float)random_u32() / 4294967296.0f - 0.5f;
    return random_u32() % 97 ? sum * 1.7f : sum * 20;
}

static inline void random_floats(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = random_float();
}

static inline double half_value(const uint8_t *p) // IEEE binary16, little endian
{
    unsigned bits = p[0] | (unsigned)p[1] << 8, exponent = bits >> 10 & 31, fraction = bits & 1023;
    double value = exponent ? ldexp(1024 + fraction, (int)exponent - 25) : ldexp(fraction, -24);
    return bits & 0x8000 ? -value : value;
}

static const enum dtype weight_types[] = {
    DTYPE_F32,     DTYPE_F16,   DTYPE_BF16,  DTYPE_Q8_0,  DTYPE_Q4_0,    DTYPE_Q4_1,   DTYPE_Q5_0,
    DTYPE_Q5_1,    DTYPE_Q2_K,  DTYPE_Q3_K,  DTYPE_Q4_K,  DTYPE_Q5_K,    DTYPE_Q6_K,   DTYPE_IQ4_NL,
    DTYPE_IQ4_XS,  DTYPE_MXFP4, DTYPE_IQ1_S, DTYPE_IQ1_M, DTYPE_IQ2_XXS, DTYPE_IQ2_XS, DTYPE_IQ2_S,
    DTYPE_IQ3_XXS, DTYPE_IQ3_S, DTYPE_TQ1_0, DTYPE_TQ2_0,
};

static inline size_t block_bytes_of(enum dtype type)
{
    switch (type) {
    case DTYPE_F32:
        return 4;
    case DTYPE_Q8_0:
        return 34;
    case DTYPE_Q4_0:
        return 18;
    case DTYPE_Q4_1:
        return 20;
    case DTYPE_Q5_0:
        return 22;
    case DTYPE_Q5_1:
        return 24;
    case DTYPE_Q2_K:
        return 84;
    case DTYPE_Q3_K:
        return 110;
    case DTYPE_IQ4_NL:
        return 18;
    case DTYPE_IQ4_XS:
        return 136;
    case DTYPE_MXFP4:
        return 17;
    case DTYPE_Q4_K:
        return 144;
    case DTYPE_Q5_K:
        return 176;
    case DTYPE_Q6_K:
        return 210;
    case DTYPE_IQ1_S:
        return 50;
    case DTYPE_IQ1_M:
        return 56;
    case DTYPE_IQ2_XXS:
        return 66;
    case DTYPE_IQ2_XS:
        return 74;
    case DTYPE_IQ2_S:
        return 82;
    case DTYPE_IQ3_XXS:
        return 98;
    case DTYPE_IQ3_S:
        return 110;
    case DTYPE_TQ1_0:
        return 54;
    case DTYPE_TQ2_0:
        return 66;
    default:
        return 2;
    }
}

static inline int block_size_of(enum dtype type)
{
    return block_bytes_of(type) <= 4 ? 1 : block_bytes_of(type) <= 34 ? 32 : 256;
}

// The eight pairs of 6-bit numbers of Q4_K and Q5_K: which = 0 scale, 1 min.
static inline int six_bits(const uint8_t *s, int sub, int which)
{
    if (sub < 4)
        return s[4 * which + sub] & 63;
    int low = which ? s[4 + sub] >> 4 : s[4 + sub] & 15;
    return low + 16 * (s[4 * which + sub - 4] >> 6);
}

// The 16 six-bit scales of Q3_K.
static inline int q3_scale(const uint8_t *s, int group)
{
    static const int byte_of_high[4] = {8, 9, 10, 11};
    int low = group < 8 ? s[group] % 16 : s[group - 8] / 16;
    return low + 16 * (s[byte_of_high[group % 4]] >> group / 4 * 2 & 3) - 32;
}

static inline double iq4_code(int code)
{
    static const int8_t values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};
    return values[code];
}

static inline double fp4_code(int code) // sign, two bits of exponent, one of mantissa
{
    int exponent = code >> 1 & 3, mantissa = code & 1;
    double value = exponent ? ldexp(2 + mantissa, exponent - 2) : mantissa / 2.0;
    return code & 8 ? -value : value;
}

// Entry `index`, column i of a codebook with eight columns.
static inline int grid_code(const uint32_t *grid, int index, int i)
{
    unsigned byte = grid[index >> 1] >> 8 * (i & 3) & 255;
    return byte >> ((index & 1 ? 4 : 0) + (i & 4 ? 2 : 0)) & 3;
}

static inline int sign_of(unsigned seven_bits, int i) // of eight weights, an even number minus
{
    int ones = 0;
    for (int b = 0; b < 7; b++)
        ones += seven_bits >> b & 1;
    return (i == 7 ? ones % 2 : (int)(seven_bits >> i & 1)) ? -1 : 1;
}

// Formats with codebooks: weight j of a block.
static inline double grid_weight(enum dtype type, const uint8_t *b, int j)
{
    static const int value[] = {8, 25, 43};
    int sub = j / 32, run = j / 8, i = j % 8, in_sub = run % 4;
    switch (type) {
    case DTYPE_IQ1_S: {
        int qh = b[34 + 2 * sub] | b[35 + 2 * sub] << 8;
        int code = grid_code(grid_iq1, b[2 + run] + 256 * (qh >> 3 * in_sub & 7), i) - 1;
        return half_value(b) * (2 * (qh >> 12 & 7) + 1) * (code + (qh & 0x8000 ? -0.125 : 0.125));
    }
    case DTYPE_IQ1_M: {
        int qh = run % 2 ? b[32 + run / 2] / 16 : b[32 + run / 2] % 16, group = j / 16;
        int scales = b[48 + group / 4 * 2] | b[49 + group / 4 * 2] << 8;
        uint8_t d[2] = {(uint8_t)(b[49] / 16 + b[51] / 16 * 16),
                        (uint8_t)(b[53] / 16 + b[55] / 16 * 16)};
        int code = grid_code(grid_iq1, b[run] + 256 * (qh & 7), i) - 1;
        return half_value(d) * (2 * (scales >> group % 4 * 3 & 7) + 1) *
               (code + (qh & 8 ? -0.125 : 0.125));
    }
    case DTYPE_IQ2_XXS: {
        const uint8_t *at = b + 2 + 8 * sub;
        unsigned signs = at[4] | at[5] << 8 | at[6] << 16 | (unsigned)at[7] << 24;
        return half_value(b) * ((signs >> 28) + 0.5) / 4 *
               value[grid_code(grid_iq2_xxs, at[in_sub], i)] *
               sign_of(signs >> 7 * in_sub & 127, i);
    }
    case DTYPE_IQ2_XS: {
        int q = b[2 + 2 * run] | b[3 + 2 * run] << 8;
        int scale = j % 32 < 16 ? b[66 + sub] % 16 : b[66 + sub] / 16;
        return half_value(b) * (scale + 0.5) / 4 * value[grid_code(grid_iq2_xs, q % 512, i)] *
               sign_of((unsigned)q / 512, i);
    }
    case DTYPE_IQ2_S: {
        int index = b[2 + run] + 256 * (b[66 + sub] >> 2 * in_sub & 3);
        int scale = j % 32 < 16 ? b[74 + sub] % 16 : b[74 + sub] / 16;
        return half_value(b) * (scale + 0.5) / 4 * value[grid_code(grid_iq2_s, index, i)] *
               (b[34 + run] >> i & 1 ? -1 : 1);
    }
    case DTYPE_IQ3_XXS: {
        const uint8_t *at = b + 66 + 4 * sub;
        unsigned signs = at[0] | at[1] << 8 | at[2] << 16 | (unsigned)at[3] << 24;
        int entry = (int)(grid_iq3_xxs[b[2 + j / 4]] >> 8 * (j % 4) & 255);
        return half_value(b) * ((signs >> 28) + 0.5) / 2 * entry *
               sign_of(signs >> 7 * in_sub & 127, i);
    }
    case DTYPE_IQ3_S: {
        int index = b[2 + j / 4] + (b[66 + sub] >> j / 4 % 8 & 1 ? 256 : 0);
        int scale = sub % 2 ? b[106 + sub / 2] / 16 : b[106 + sub / 2] % 16;
        return half_value(b) * (1 + 2 * scale) * (int)(grid_iq3_s[index] >> 8 * (j % 4) & 255) *
               (b[74 + run] >> i & 1 ? -1 : 1);
    }
    default:
        return NAN;
    }
}

static inline double ternary_weight(enum dtype type, const uint8_t *b, int j)
{
    static const int power[] = {1, 3, 9, 27, 81};
    if (type == DTYPE_TQ2_0)
        return half_value(b + 64) * ((b[j / 128 * 32 + j % 32] >> j % 128 / 32 * 2 & 3) - 1);
    int byte = j < 160 ? j % 32 : j < 240 ? 32 + j % 16 : 48 + j % 4;
    int trit = j < 160 ? j / 32 : j < 240 ? (j - 160) / 16 : (j - 240) / 4;
    return half_value(b + 52) * (b[byte] * power[trit] % 256 * 3 / 256 - 1);
}

static inline double weight_at(enum dtype type, const uint8_t *row, int64_t i)
{
    const uint8_t *b = row + (size_t)(i / block_size_of(type)) * block_bytes_of(type);
    int j = (int)(i % block_size_of(type)), sub = j / 32;
    float f;
    switch (type) {
    case DTYPE_F32:
        memcpy(&f, b, 4);
        return f;
    case DTYPE_F16:
        return half_value(b);
    case DTYPE_BF16: {
        uint8_t wide[4] = {0, 0, b[0], b[1]};
        memcpy(&f, wide, 4);
        return f;
    }
    case DTYPE_Q8_0:
        return half_value(b) * (b[2 + j] < 128 ? b[2 + j] : b[2 + j] - 256);
    case DTYPE_Q4_0:
        return half_value(b) * ((j < 16 ? b[2 + j] % 16 : b[2 + j - 16] / 16) - 8);
    case DTYPE_Q4_1:
        return half_value(b) * (j < 16 ? b[4 + j] % 16 : b[4 + j - 16] / 16) + half_value(b + 2);
    case DTYPE_Q5_0: {
        int q = j < 16 ? b[6 + j] % 16 : b[6 + j - 16] / 16;
        return half_value(b) * (q + (b[2 + j / 8] & 1 << j % 8 ? 16 : 0) - 16);
    }
    case DTYPE_Q5_1: {
        int q = j < 16 ? b[8 + j] % 16 : b[8 + j - 16] / 16;
        return half_value(b) * (q + (b[4 + j / 8] & 1 << j % 8 ? 16 : 0)) + half_value(b + 2);
    }
    case DTYPE_Q2_K: {
        int q = b[16 + j / 128 * 32 + j % 32] >> j % 128 / 32 * 2 & 3;
        return half_value(b + 80) * (b[j / 16] % 16) * q - half_value(b + 82) * (b[j / 16] / 16);
    }
    case DTYPE_Q3_K: {
        int q = b[32 + j / 128 * 32 + j % 32] >> j % 128 / 32 * 2 & 3;
        q += b[j % 32] & 1 << (j / 32) ? 4 : 0;
        return half_value(b + 108) * q3_scale(b + 96, j / 16) * (q - 4);
    }
    case DTYPE_IQ4_NL:
        return half_value(b) * iq4_code(j < 16 ? b[2 + j] % 16 : b[2 + j - 16] / 16);
    case DTYPE_IQ4_XS: {
        int byte = b[8 + 16 * sub + j % 16], code = j % 32 < 16 ? byte % 16 : byte / 16;
        int low = sub % 2 ? b[4 + sub / 2] / 16 : b[4 + sub / 2] % 16;
        int high = (b[2] + 256 * b[3]) >> 2 * sub & 3;
        return half_value(b) * (low + 16 * high - 32) * iq4_code(code);
    }
    case DTYPE_MXFP4:
        return ldexp(fp4_code(j < 16 ? b[1 + j] % 16 : b[1 + j - 16] / 16), b[0] - 127);
    case DTYPE_Q4_K: {
        int byte = b[16 + j / 64 * 32 + j % 32], q = j % 64 < 32 ? byte % 16 : byte / 16;
        return half_value(b) * six_bits(b + 4, sub, 0) * q -
               half_value(b + 2) * six_bits(b + 4, sub, 1);
    }
    case DTYPE_Q5_K: {
        int byte = b[48 + j / 64 * 32 + j % 32], q = j % 64 < 32 ? byte % 16 : byte / 16;
        q += b[16 + j % 32] & 1 << sub ? 16 : 0;
        return half_value(b) * six_bits(b + 4, sub, 0) * q -
               half_value(b + 2) * six_bits(b + 4, sub, 1);
    }
    case DTYPE_Q6_K: {
        int half = j / 128, quarter = j % 128 / 32, at = j % 32;
        int byte = b[64 * half + 32 * (quarter & 1) + at],
            low = quarter < 2 ? byte % 16 : byte / 16;
        int high = b[128 + 32 * half + at] >> 2 * quarter & 3, scale = b[192 + j / 16];
        return half_value(b + 208) * (scale < 128 ? scale : scale - 256) * (low + 16 * high - 32);
    }
    case DTYPE_TQ1_0:
    case DTYPE_TQ2_0:
        return ternary_weight(type, b, j);
    default:
        return grid_weight(type, b, j);
    }
}

// Random rows: every bit pattern of the packed numbers, scales of a sane size (half floats between
// 2^-9 and 2^-8, either sign).
static inline void sane_scales(enum dtype type, uint8_t *block)
{
    int d = type == DTYPE_Q6_K    ? 208
            : type == DTYPE_Q3_K  ? 108
            : type == DTYPE_Q2_K  ? 80
            : type == DTYPE_TQ1_0 ? 52
            : type == DTYPE_TQ2_0 ? 64
                                  : 0;
    float f = random_float();
    switch (type) {
    case DTYPE_F32:
        memcpy(block, &f, 4);
        return;
    case DTYPE_F16:
        block[1] = (uint8_t)((block[1] & 0x83) | 0x34);
        return;
    case DTYPE_BF16:
        block[1] = (uint8_t)((block[1] & 0x80) | 0x3e);
        return;
    case DTYPE_MXFP4:
        block[0] = (uint8_t)(120 + block[0] % 4);
        return;
    case DTYPE_IQ1_M: // the top nibbles of 53 and 55 are the upper byte of d
        block[53] = (uint8_t)((block[53] & 0x3f) | 0x80);
        block[55] = (uint8_t)((block[55] & 0x8f) | 0x10);
        return;
    default:
        block[d + 1] = (uint8_t)((block[d + 1] & 0x83) | 0x18);
    }
    if (type == DTYPE_Q2_K || type == DTYPE_Q4_K || type == DTYPE_Q5_K || type == DTYPE_Q4_1 ||
        type == DTYPE_Q5_1)
        block[d + 3] = (uint8_t)((block[d + 3] & 3) | 0x18);
}

static inline uint8_t *random_weights(enum dtype type, int64_t n_rows, int64_t n_cols)
{
    size_t block = block_bytes_of(type),
           n_bytes = (size_t)(n_rows * n_cols) / (size_t)block_size_of(type) * block;
    uint8_t *p = aligned_alloc(64, (n_bytes + 63) / 64 * 64);
    for (size_t i = 0; i < n_bytes; i++)
        p[i] = (uint8_t)random_u32();
    for (size_t at = 0; at < n_bytes; at += block)
        sane_scales(type, p + at);
    return p;
}

// Blocks that every build makes alike, for hashes recorded from an independent decoder
// (tests/golden/peer/formats.c, formats_recorded.h). FNV-1a over the bits of the floats.
enum { SAMPLE_BLOCKS = 2048 };

static inline uint8_t *sample_blocks(enum dtype type)
{
    random_state = 88172645463325252u + (uint64_t)type;
    return random_weights(type, SAMPLE_BLOCKS, 256);
}

static inline uint64_t sample_hash(const float *x, int64_t n)
{
    uint64_t hash = 14695981039346656037u;
    for (int64_t i = 0; i < n; i++)
        for (int shift = 0; shift < 32; shift += 8)
            hash = (hash ^ (float_bits(x[i]) >> shift & 255)) * 1099511628211u;
    return hash;
}
