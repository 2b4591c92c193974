// dtype.c - the storage formats: their table, and the decode of each one to float.
//
// dtype_decode() is the definition of a format in this engine: short, without intrinsics, taken by
// the portable operations and by every test. The fast kernels (cpu/*_avx2.c, cpu/*_avx512.c) must
// agree with it. Layouts: blocks.h.
#include "blocks.h"
#include "compute.h"

struct dtype_row {
    enum dtype type;
    const char *name;
    uint32_t elements, bytes; // of one block
    bool weight;              // may be the type of a weight
};

static const struct dtype_row table[] = {
    {DTYPE_F32, "F32", 1, 4, true},
    {DTYPE_F16, "F16", 1, 2, true},
    {DTYPE_BF16, "BF16", 1, 2, true},
    {DTYPE_Q8_0, "Q8_0", 32, sizeof(struct block_q8_0), true},
    {DTYPE_Q4_0, "Q4_0", 32, sizeof(struct block_q4_0), true},
    {DTYPE_Q4_1, "Q4_1", 32, sizeof(struct block_q4_1), true},
    {DTYPE_Q5_0, "Q5_0", 32, sizeof(struct block_q5_0), true},
    {DTYPE_Q5_1, "Q5_1", 32, sizeof(struct block_q5_1), true},
    {DTYPE_Q2_K, "Q2_K", 256, sizeof(struct block_q2_k), true},
    {DTYPE_Q3_K, "Q3_K", 256, sizeof(struct block_q3_k), true},
    {DTYPE_Q4_K, "Q4_K", 256, sizeof(struct block_q4_k), true},
    {DTYPE_Q5_K, "Q5_K", 256, sizeof(struct block_q5_k), true},
    {DTYPE_Q6_K, "Q6_K", 256, sizeof(struct block_q6_k), true},
    {DTYPE_IQ4_NL, "IQ4_NL", 32, sizeof(struct block_iq4_nl), true},
    {DTYPE_IQ4_XS, "IQ4_XS", 256, sizeof(struct block_iq4_xs), true},
    {DTYPE_MXFP4, "MXFP4", 32, sizeof(struct block_mxfp4), true},
    {DTYPE_I32, "I32", 1, 4, false},
};

static const struct dtype_row *dtype_find(uint32_t type)
{
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if ((uint32_t)table[i].type == type)
            return &table[i];
    return NULL;
}

static const struct dtype_row *dtype_row(enum dtype type)
{
    const struct dtype_row *row = dtype_find((uint32_t)type);
    if (!row)
        die("tensor type %u is not one of this build's", (unsigned)type);
    return row;
}

const char *dtype_name(enum dtype type)
{
    const struct dtype_row *row = dtype_find((uint32_t)type);
    return row ? row->name : "?";
}

bool dtype_known(uint32_t type)
{
    const struct dtype_row *row = dtype_find(type);
    return row && row->weight;
}

uint32_t dtype_block_elements(enum dtype type)
{
    return dtype_row(type)->elements;
}

uint32_t dtype_block_bytes(enum dtype type)
{
    return dtype_row(type)->bytes;
}

size_t dtype_row_bytes(enum dtype type, int64_t n_cols)
{
    const struct dtype_row *row = dtype_row(type);
    if (n_cols < 0 || n_cols % row->elements != 0)
        die("a %s row of %lld weights: not a multiple of %u", row->name, (long long)n_cols,
            row->elements);
    return (size_t)n_cols / row->elements * row->bytes;
}

// ---- decode -----------------------------------------------------------------------------------

static void decode_f32(float *out, const float *in, int64_t n)
{
    memcpy(out, in, (size_t)n * sizeof *out);
}

static void decode_f16(float *out, const uint16_t *in, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = float_from_f16(in[i]);
}

static void decode_bf16(float *out, const uint16_t *in, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = float_from_bf16(in[i]);
}

static void decode_q8_0(float *out, const struct block_q8_0 *block, int64_t n)
{
    for (int64_t at = 0; at < n; at += 32, block++) {
        float d = float_from_f16(block->d);
        for (int i = 0; i < 32; i++)
            out[at + i] = d * (float)block->q[i];
    }
}

static void decode_q4_0(float *out, const struct block_q4_0 *block, int64_t n)
{
    for (int64_t at = 0; at < n; at += 32, block++) {
        float d = float_from_f16(block->d);
        for (int i = 0; i < 16; i++) {
            out[at + i] = d * (float)((block->q[i] & 15) - 8);
            out[at + i + 16] = d * (float)((block->q[i] >> 4) - 8);
        }
    }
}

static void decode_q4_1(float *out, const struct block_q4_1 *block, int64_t n)
{
    for (int64_t at = 0; at < n; at += 32, block++) {
        float d = float_from_f16(block->d), m = float_from_f16(block->m);
        for (int i = 0; i < 32; i++)
            out[at + i] = d * (float)(block->q[i % 16] >> 4 * (i / 16) & 15) + m;
    }
}

// Weight i of a Q5_0 or Q5_1 block as an integer, 0 .. 31.
static int five_bits(const uint8_t qh[4], const uint8_t q[16], int i)
{
    return (q[i % 16] >> 4 * (i / 16) & 15) | (qh[i / 8] >> i % 8 & 1) << 4;
}

static void decode_q5_0(float *out, const struct block_q5_0 *block, int64_t n)
{
    for (int64_t at = 0; at < n; at += 32, block++) {
        float d = float_from_f16(block->d);
        for (int i = 0; i < 32; i++)
            out[at + i] = d * (float)(five_bits(block->qh, block->q, i) - 16);
    }
}

static void decode_q5_1(float *out, const struct block_q5_1 *block, int64_t n)
{
    for (int64_t at = 0; at < n; at += 32, block++) {
        float d = float_from_f16(block->d), m = float_from_f16(block->m);
        for (int i = 0; i < 32; i++)
            out[at + i] = d * (float)five_bits(block->qh, block->q, i) + m;
    }
}

static void decode_q2_k(float *out, const struct block_q2_k *block, int64_t n)
{
    for (; n > 0; n -= 256, block++, out += 256) {
        float d = float_from_f16(block->d), dmin = float_from_f16(block->dmin);
        for (int i = 0; i < 256; i++) {
            int q = block->q[i / 128 * 32 + i % 32] >> 2 * (i % 128 / 32) & 3;
            int scale = block->scales[i / 16] & 15, min = block->scales[i / 16] >> 4;
            out[i] = d * (float)scale * (float)q - dmin * (float)min;
        }
    }
}

static void decode_q3_k(float *out, const struct block_q3_k *block, int64_t n)
{
    for (; n > 0; n -= 256, block++, out += 256) {
        float d = float_from_f16(block->d);
        for (int i = 0; i < 256; i++) {
            int low = block->q[i / 128 * 32 + i % 32] >> 2 * (i % 128 / 32) & 3;
            int high = block->high[i % 32] >> i / 32 & 1;
            float scale = d * (float)q3_k_scale(block->scales, i / 16);
            out[i] = scale * (float)((low | high << 2) - 4);
        }
    }
}

static void decode_q4_k(float *out, const struct block_q4_k *block, int64_t n)
{
    for (; n > 0; n -= 256, block++) {
        float d = float_from_f16(block->d), dmin = float_from_f16(block->dmin);
        for (int s = 0; s < 8; s++, out += 32) {
            const uint8_t *q = block->q + 32 * (s / 2);
            uint8_t scale, min;
            k_scale_min(block->scales, s, &scale, &min);
            for (int i = 0; i < 32; i++)
                out[i] = d * scale * (float)(q[i] >> 4 * (s % 2) & 15) - dmin * min;
        }
    }
}

static void decode_q5_k(float *out, const struct block_q5_k *block, int64_t n)
{
    for (; n > 0; n -= 256, block++) {
        float d = float_from_f16(block->d), dmin = float_from_f16(block->dmin);
        for (int s = 0; s < 8; s++, out += 32) {
            const uint8_t *q = block->q + 32 * (s / 2);
            uint8_t scale, min;
            k_scale_min(block->scales, s, &scale, &min);
            for (int i = 0; i < 32; i++) {
                int low = q[i] >> 4 * (s % 2) & 15, high = block->qh[i] >> s & 1;
                out[i] = d * scale * (float)(low | high << 4) - dmin * min;
            }
        }
    }
}

static void decode_q6_k(float *out, const struct block_q6_k *block, int64_t n)
{
    for (; n > 0; n -= 256, block++) {
        float d = float_from_f16(block->d);
        for (int s = 0; s < 8; s++, out += 32) { // 32 weights: quarter s % 4 of half s / 4
            const uint8_t *ql = block->ql + 64 * (s / 4) + 32 * (s % 2),
                          *qh = block->qh + 32 * (s / 4);
            for (int i = 0; i < 32; i++) {
                int low = ql[i] >> 4 * (s % 4 / 2) & 15, high = qh[i] >> 2 * (s % 4) & 3;
                out[i] = d * block->scales[2 * s + i / 16] * (float)((low | high << 4) - 32);
            }
        }
    }
}

// 32 codes of 4 bits in 16 bytes.
static void decode_codes(float *out, float scale, const int8_t codebook[16], const uint8_t q[16])
{
    for (int i = 0; i < 16; i++) {
        out[i] = scale * (float)codebook[q[i] & 15];
        out[i + 16] = scale * (float)codebook[q[i] >> 4];
    }
}

static void decode_iq4_nl(float *out, const struct block_iq4_nl *block, int64_t n)
{
    for (int64_t at = 0; at < n; at += 32, block++)
        decode_codes(out + at, float_from_f16(block->d), codebook_iq4, block->q);
}

static void decode_iq4_xs(float *out, const struct block_iq4_xs *block, int64_t n)
{
    for (; n > 0; n -= 256, block++)
        for (int s = 0; s < 8; s++, out += 32)
            decode_codes(out, float_from_f16(block->d) * (float)iq4_xs_scale(block, s),
                         codebook_iq4, block->q + 16 * s);
}

static void decode_mxfp4(float *out, const struct block_mxfp4 *block, int64_t n)
{
    for (int64_t at = 0; at < n; at += 32, block++)
        decode_codes(out + at, half_of_e8m0(block->e), codebook_fp4, block->q);
}

void dtype_decode(enum dtype type, float *out, const void *in, int64_t n)
{
    switch (type) {
    case DTYPE_F32:
        decode_f32(out, in, n);
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
    case DTYPE_Q4_K:
        decode_q4_k(out, in, n);
        return;
    case DTYPE_Q5_K:
        decode_q5_k(out, in, n);
        return;
    case DTYPE_Q6_K:
        decode_q6_k(out, in, n);
        return;
    case DTYPE_Q2_K:
        decode_q2_k(out, in, n);
        return;
    case DTYPE_Q3_K:
        decode_q3_k(out, in, n);
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
