// dtype.c - the storage formats: their table, and dtype_decode().
//
// A format is in the table with its name and the size of a block, in blocks.h with its layout, in
// decode.h with what it stands for. Its number is GGUF's.
#include "decode.h"

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
    {DTYPE_IQ1_S, "IQ1_S", 256, sizeof(struct block_iq1_s), true},
    {DTYPE_IQ1_M, "IQ1_M", 256, sizeof(struct block_iq1_m), true},
    {DTYPE_IQ2_XXS, "IQ2_XXS", 256, sizeof(struct block_iq2_xxs), true},
    {DTYPE_IQ2_XS, "IQ2_XS", 256, sizeof(struct block_iq2_xs), true},
    {DTYPE_IQ2_S, "IQ2_S", 256, sizeof(struct block_iq2_s), true},
    {DTYPE_IQ3_XXS, "IQ3_XXS", 256, sizeof(struct block_iq3_xxs), true},
    {DTYPE_IQ3_S, "IQ3_S", 256, sizeof(struct block_iq3_s), true},
    {DTYPE_TQ1_0, "TQ1_0", 256, sizeof(struct block_tq1_0), true},
    {DTYPE_TQ2_0, "TQ2_0", 256, sizeof(struct block_tq2_0), true},
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

void dtype_decode(enum dtype type, float *out, const void *in, int64_t n)
{
    decode_row(type, out, in, n);
}
