// blocks.h - how the quantised formats lie in a GGUF file (ggml's block layouts), and the two
// 16-bit float formats.
//
// Every format cuts a row into blocks of 32 or 256 weights that share their scales; a block is a
// packed little-endian struct and rows are whole blocks. `d`, `dmin` and `m` are IEEE half floats
// kept as bits. What weight i of a block is worth, with nibble(i) the low half of byte i for the
// first 16 of 32 weights and the high half of byte i - 16 for the others:
//   Q8_0    d * q[i], q signed
//   Q4_0    d * (nibble - 8)              Q4_1  d * nibble + m
//   Q5_0    d * (q - 16), q with a fifth bit, bit i of qh             Q5_1  d * q + m
//   IQ4_NL  d * codebook_iq4[nibble]      MXFP4  2^(e - 128) * codebook_fp4[nibble]
// In blocks of 256:
//   Q2_K    d * sc[g] * q - dmin * m[g]   16 groups g of 16; q below
//   Q3_K    d * sc[g] * (q - 4)           16 groups; q and sc below
//   Q4_K    d * sc[s] * nibble - dmin * m[s]   8 sub-blocks s of 32; bytes 32j..32j+31: low nibbles
//           are sub-block 2j, high ones 2j+1
//   Q5_K    the same with a fifth bit: bit s of qh[i] for weight i of sub-block s
//   Q6_K    d * sc[g] * (q - 32)          16 groups, sc signed; q below
//   IQ4_XS  d * (sc[s] - 32) * codebook_iq4[nibble]   8 sub-blocks of 32, 16 bytes each
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

struct block_iq4_nl { // 18 bytes, 32 weights
    uint16_t d;
    uint8_t q[16];
};

struct block_mxfp4 { // 17 bytes, 32 weights (OCP Microscaling Formats 1.0)
    uint8_t e;       // E8M0: a power of two, with a bias of 127; half of it here, see codebook_fp4
    uint8_t q[16];
};

// Weight i of half h (128 weights), i = 32 p + l: bits 2p, 2p+1 of q[32 h + l].
struct block_q2_k {     // 84 bytes, 256 weights
    uint8_t scales[16]; // of a group: scale in the low nibble, min in the high one
    uint8_t q[64];
    uint16_t d, dmin;
};

// The low two bits of a weight as in Q2_K; its third bit is bit 4 h + p of high[l]. Scale of group
// g, 0 .. 63, 32 less in use: low nibbles of bytes 0-7 for g < 8, high ones for the others; above
// them bits 2 (g / 4), + 1 of byte 8 + g % 4.
struct block_q3_k { // 110 bytes, 256 weights
    uint8_t high[32];
    uint8_t q[64];
    uint8_t scales[12];
    uint16_t d;
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

// Scale of sub-block s, 0 .. 63: low four bits in a nibble of scales_l[s / 2], the upper two are
// bits 2 s, 2 s + 1 of scales_h.
struct block_iq4_xs { // 136 bytes, 256 weights
    uint16_t d, scales_h;
    uint8_t scales_l[4];
    uint8_t q[128];
};

// What a weight of the formats with codebooks and of the ternary ones is worth:
//   IQ1_S   d * (2 sc[s] + 1) * (grid + delta[s])     8 sub-blocks, four runs of eight weights each
//   IQ1_M   d * (2 sc[g] + 1) * (grid + delta[r])     16 groups of 16, 32 runs of eight
//   IQ2_XXS d * (2 sc[s] + 1) / 8 * grid * sign       8 sub-blocks
//   IQ2_XS, IQ2_S  d * (2 sc[g] + 1) / 8 * grid * sign     16 groups
//   IQ3_XXS d * (2 sc[s] + 1) / 4 * grid * sign       8 sub-blocks
//   IQ3_S   d * (2 sc[s] + 1) * grid * sign           8 sub-blocks
//   TQ1_0   d * (trit - 1)                            five trits in a byte
//   TQ2_0   d * (q - 1)                               q as in Q2_K
// grid: what an index stands for in the format's codebook (kernels/grids.h): a run of eight
// weights, in IQ3 of four. Signs: a bit a weight, set for minus; where a run has seven bits, the
// eighth makes their number even. delta: 1/8, or -1/8 where its bit is set.

struct block_iq1_s { // 50 bytes, 256 weights
    uint16_t d;
    uint8_t q[32];  // of run r: the low 8 bits of the index
    uint16_t qh[8]; // of a sub-block: bits 3 i .. 3 i + 2 the upper ones of run i, 12-14 scale, 15
                    // delta
};

struct block_iq1_m {    // 56 bytes, 256 weights
    uint8_t q[32];      // as IQ1_S
    uint8_t qh[16];     // of run r, nibble r % 2 of byte r / 2: upper 3 bits of the index, delta
    uint16_t scales[4]; // of group g: bits 3 (g % 4), + 1, + 2 of g / 4; the top four are d's
};

struct block_iq2_xxs { // 66 bytes, 256 weights
    uint16_t d;
    struct {
        uint8_t q[4];       // indices of the runs
        uint8_t signs_s[4]; // bits 7 i .. 7 i + 6: signs of run i; 28-31: scale
    } sub[8];
};

struct block_iq2_xs { // 74 bytes, 256 weights
    uint16_t d;
    uint16_t q[32];    // of a run: index in 9 bits, signs in 7
    uint8_t scales[8]; // of group g: nibble g % 2 of byte g / 2
};

struct block_iq2_s { // 82 bytes, 256 weights
    uint16_t d;
    uint8_t q[32];     // of a run: the low 8 bits of the index
    uint8_t signs[32]; // of a run
    uint8_t qh[8];     // bits 2 (r % 4), + 1 of byte r / 4: the upper ones of run r
    uint8_t scales[8]; // as IQ2_XS
};

struct block_iq3_xxs { // 98 bytes, 256 weights
    uint16_t d;
    uint8_t q[64];         // indices
    uint8_t signs_s[8][4]; // of a sub-block, as IQ2_XXS
};

struct block_iq3_s { // 110 bytes, 256 weights
    uint16_t d;
    uint8_t q[64];     // the low 8 bits of the indices
    uint8_t qh[8];     // bit r % 8 of byte r / 8: the ninth
    uint8_t signs[32]; // of eight weights
    uint8_t scales[4]; // of sub-block s: nibble s % 2 of byte s / 2
};

// Trit t of a byte v is v * 3^t % 256 * 3 / 256. In turn: trits 0-4 of the bytes 0-31 (trit 0 of
// all of them, then trit 1 ...), trits 0-4 of the bytes 32-47, trits 0-3 of qh.
struct block_tq1_0 { // 54 bytes, 256 weights
    uint8_t q[48];
    uint8_t qh[4];
    uint16_t d;
};

struct block_tq2_0 { // 66 bytes, 256 weights
    uint8_t q[64];
    uint16_t d;
};

// The codebooks (kernels/grids.h, which says how they lie).
extern const uint32_t grid_iq1[1024], grid_iq2_xxs[128], grid_iq2_xs[256], grid_iq2_s[512],
    grid_iq3_xxs[256], grid_iq3_s[512];

// What the 16 codes stand for: quantiles of the weights of trained models; and the numbers of one
// sign, two exponent and one mantissa bit, doubled so that they are whole (the scale is halved).
static const int8_t codebook_iq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                        1,    13,   25,  38,  53,  69,  89,  113};
static const int8_t codebook_fp4[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

_Static_assert(sizeof(struct block_q8_0) == 34, "Q8_0 block");
_Static_assert(sizeof(struct block_q4_0) == 18, "Q4_0 block");
_Static_assert(sizeof(struct block_q4_1) == 20, "Q4_1 block");
_Static_assert(sizeof(struct block_q5_0) == 22, "Q5_0 block");
_Static_assert(sizeof(struct block_q5_1) == 24, "Q5_1 block");
_Static_assert(sizeof(struct block_q4_k) == 144, "Q4_K block");
_Static_assert(sizeof(struct block_q5_k) == 176, "Q5_K block");
_Static_assert(sizeof(struct block_q6_k) == 210, "Q6_K block");
_Static_assert(sizeof(struct block_q2_k) == 84, "Q2_K block");
_Static_assert(sizeof(struct block_q3_k) == 110, "Q3_K block");
_Static_assert(sizeof(struct block_iq4_nl) == 18, "IQ4_NL block");
_Static_assert(sizeof(struct block_iq4_xs) == 136, "IQ4_XS block");
_Static_assert(sizeof(struct block_mxfp4) == 17, "MXFP4 block");
_Static_assert(sizeof(struct block_iq1_s) == 50, "IQ1_S block");
_Static_assert(sizeof(struct block_iq1_m) == 56, "IQ1_M block");
_Static_assert(sizeof(struct block_iq2_xxs) == 66, "IQ2_XXS block");
_Static_assert(sizeof(struct block_iq2_xs) == 74, "IQ2_XS block");
_Static_assert(sizeof(struct block_iq2_s) == 82, "IQ2_S block");
_Static_assert(sizeof(struct block_iq3_xxs) == 98, "IQ3_XXS block");
_Static_assert(sizeof(struct block_iq3_s) == 110, "IQ3_S block");
_Static_assert(sizeof(struct block_tq1_0) == 54, "TQ1_0 block");
_Static_assert(sizeof(struct block_tq2_0) == 66, "TQ2_0 block");

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

// Scale of group g (0..15) of a Q3_K block, -32 .. 31.
static inline int q3_k_scale(const uint8_t scales[12], int g)
{
    return ((scales[g % 8] >> 4 * (g / 8) & 15) | (scales[8 + g % 4] >> 2 * (g / 4) & 3) << 4) - 32;
}

// Scale of sub-block s (0..7) of an IQ4_XS block, -32 .. 31.
static inline int iq4_xs_scale(const struct block_iq4_xs *block, int s)
{
    return ((block->scales_l[s / 2] >> 4 * (s % 2) & 15) | (block->scales_h >> 2 * s & 3) << 4) -
           32;
}

// Eight signs of seven bits: the eighth makes their number even.
static inline uint32_t eight_signs(uint32_t seven)
{
    return seven | (uint32_t)__builtin_parity(seven) << 7;
}

// The bits of an IQ1_M block's d.
static inline uint16_t iq1_m_d(const struct block_iq1_m *block)
{
    const uint16_t *s = block->scales;
    return (uint16_t)(s[0] >> 12 | (s[1] >> 12) << 4 | (s[2] >> 12) << 8 | (s[3] >> 12) << 12);
}

static inline float float_from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

static inline uint32_t float_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return bits;
}

static inline float float_from_bf16(uint16_t h)
{
    return float_from_bits((uint32_t)h << 16);
}

// 2^(e - 128): half of what an E8M0 scale stands for, for codebook_fp4.
static inline float half_of_e8m0(uint8_t e)
{
    return float_from_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
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
