// blocks.h - how the quantised formats lie in a GGUF file (ggml's block layouts), and the two
// 16-bit float formats.
//
// Every format cuts a row into blocks of 32 or 256 weights that share their scales; a block is a
// packed little-endian struct and rows are whole blocks. `d`, `dmin` and `m` are IEEE half floats
// kept as bits. What one weight is worth:
//   Q8_0  d * q[i]                               i in 0..31, q signed
//   Q4_0  d * (nibble - 8)                       byte i: low nibble = weight i, high nibble =
//   weight i + 16 Q4_K  d * sc[s] * nibble - dmin * m[s]       8 sub-blocks s of 32; bytes
//   32j..32j+31: low nibbles = sub-block 2j, high = 2j+1 Q5_K  the same with a fifth bit: bit s of
//   qh[i] for weight i of sub-block s Q6_K  d * sc[g] * (q - 32)                   16 groups g of
//   16, sc signed; see q6_k below
// Q4_K and Q5_K keep eight 6-bit scales and eight 6-bit mins in 12 bytes: k_scale_min() takes them
// out.
#pragma once

#include <stdint.h>
#include <string.h>

struct block_q8_0 { // 34 bytes, 32 weights
    uint16_t d;
    int8_t q[32];
};

struct block_q4_0 { // 18 bytes, 32 weights
    uint16_t d;
    uint8_t q[16];
};

struct block_q4_1 { // 20 bytes, 32 weights
    uint16_t d, m;
    uint8_t q[16];
};

struct block_q5_0 { // 22 bytes, 32 weights
    uint16_t d;
    uint8_t qh[4]; // bit i % 8 of byte i / 8
    uint8_t q[16];
};

struct block_q5_1 { // 24 bytes, 32 weights
    uint16_t d, m;
    uint8_t qh[4];
    uint8_t q[16];
};

struct block_q4_k { // 144 bytes, 256 weights
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t q[128];
};

struct block_q5_k { // 176 bytes, 256 weights
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t q[128];
};

// Two halves of 128 weights; in half h (ql += 64 h, qh += 32 h, sc += 8 h), for i in 0..31:
//   weight i      low nibble of ql[i],       bits 0-1 of qh[i] above it
//   weight i + 32 low nibble of ql[i + 32],  bits 2-3
//   weight i + 64 high nibble of ql[i],      bits 4-5
//   weight i + 96 high nibble of ql[i + 32], bits 6-7
struct block_q6_k { // 210 bytes, 256 weights
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint16_t d;
};

_Static_assert(sizeof(struct block_q8_0) == 34, "Q8_0 block");
_Static_assert(sizeof(struct block_q4_0) == 18, "Q4_0 block");
_Static_assert(sizeof(struct block_q4_1) == 20, "Q4_1 block");
_Static_assert(sizeof(struct block_q5_0) == 22, "Q5_0 block");
_Static_assert(sizeof(struct block_q5_1) == 24, "Q5_1 block");
_Static_assert(sizeof(struct block_q4_k) == 144, "Q4_K block");
_Static_assert(sizeof(struct block_q5_k) == 176, "Q5_K block");
_Static_assert(sizeof(struct block_q6_k) == 210, "Q6_K block");

// Scale and min of sub-block s (0..7): the first four have their 6 bits in bytes s and s + 4; the
// last four have 4 bits in byte s + 4 (low nibble scale, high nibble min) and their top two bits in
// the top of bytes s - 4 and s.
static inline void k_scale_min(const uint8_t scales[12], int s, uint8_t *scale, uint8_t *min)
{
    if (s < 4) {
        *scale = scales[s] & 63;
        *min = scales[s + 4] & 63;
    } else {
        *scale = (uint8_t)((scales[s + 4] & 15) | (scales[s - 4] >> 6) << 4);
        *min = (uint8_t)((scales[s + 4] >> 4) | (scales[s] >> 6) << 4);
    }
}

static inline float float_from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t float_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float float_from_bf16(uint16_t h)
{
    return float_from_bits((uint32_t)h << 16);
}

// IEEE binary16 to binary32, exactly; subnormals are scaled up by a multiplication.
static inline float float_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff);
    if (rest >= 0x7c00) // infinity, NaN
        return float_from_bits(sign | 0x7f800000 | (rest & 0x3ff) << 13);
    if (rest < 0x400) // zero, subnormal: rest * 2^-24
        return float_from_bits(sign | float_bits((float)rest * 0x1p-24f));
    return float_from_bits(sign | ((rest << 13) + (112u << 23)));
}

// binary32 to binary16, rounded to nearest even; too large becomes infinity, NaN stays NaN.
static inline uint16_t f16_from_float(float f)
{
    uint32_t bits = float_bits(f), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    if (rest > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (rest >= 0x477ff000) // rounds to 65536 or more
        return (uint16_t)(sign | 0x7c00);
    if (rest < 0x38800000) { // subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the
                             // low mantissa bits
        float shifted = float_from_bits(rest) + 0.5f;
        return (uint16_t)(sign | (float_bits(shifted) - float_bits(0.5f)));
    }
    uint32_t rounded = rest + 0xfff + (rest >> 13 & 1) - (112u << 23);
    return (uint16_t)(sign | rounded >> 13);
}
