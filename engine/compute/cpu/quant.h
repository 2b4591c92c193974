// quant.h - products of quantised weights and activations as integers: the activations' two forms,
// and the kernels' table.
//
// An activation is cut into 15-bit integers a = 128 * hi + lo that share a float scale: two int8
// planes, so that the 8-bit multipliers can be used and the rounding is still 100 times finer than
// the usual single plane's. |a| <= 127 * 128.
//
// Both forms have one scale in 256 columns.
// Row form (struct row_x), for few tokens: the weights are read once in place, row by row, and
// memory is the limit.
//   hi in -127 .. 127, lo in -64 .. 63; sums for the formats whose weights have an offset.
// Panel form (struct panel_x), for many tokens: 12 tokens side by side, so that each weight
// register meets 12 tokens.
//   hi in 0 .. 255 (128 added, so that it is the unsigned operand), lo in 0 .. 127.
#pragma once

#include "cpu.h"

enum { ROW_BLOCK = 256, PANEL_BLOCK = 32, PANEL_TOKENS = 12 };

// What values are multiplied with to become integers, from the largest size among them. 0 makes all
// integers 0: where all are zero (or next to nothing), and where one is not finite: there
// `largest`, so the scale, is NaN, and so is every result.
static inline float quantise_inverse(float largest)
{
    return largest > 1e-30f ? 127 * 128 / largest : 0;
}

struct row_x {
    uint8_t *p; // [n_tokens][token_bytes]
    size_t token_bytes;
    int64_t n_in, n_padded; // n_padded: the next multiple of ROW_BLOCK; the rest is zero
    int64_t n_tokens;
};

struct row_x_token {     // one token's parts; a value is scale[i / 256] * (128 * hi[i] + lo[i])
    int8_t *hi, *lo;     // [n_padded]
    int8_t *hi_k, *lo_k; // [n_padded] again, each 128 in the order 0-31, 64-95, 32-63, 96-127: that
                         // of Q4_K's nibbles
    float *scale;        // [n_padded / 256]
    float *sum32;        // [n_padded / 32]: sums of values
    float *sum16;        // [n_padded / 16]
};

static inline size_t row_x_token_bytes(int64_t n_padded)
{
    size_t n = (size_t)n_padded;
    return (n * 4 + n / 64 + n / 8 + n / 4 + CPU_LINE - 1) / CPU_LINE * CPU_LINE;
}

static inline struct row_x_token row_x_token(const struct row_x *x, int64_t t)
{
    size_t n = (size_t)x->n_padded;
    uint8_t *p = x->p + (size_t)t * x->token_bytes;
    float *scale = (float *)(void *)(p + 4 * n);
    int8_t *planes = (int8_t *)p;
    return (struct row_x_token){
        planes, planes + n,    planes + 2 * n, planes + 3 * n, scale + n / 32 + n / 16,
        scale,  scale + n / 32};
}

struct panel_block { // 32 columns of 12 tokens
    uint8_t hi[PANEL_BLOCK / 4][PANEL_TOKENS][4];
    uint8_t lo[PANEL_BLOCK / 4][PANEL_TOKENS][4];
    float scale[PANEL_TOKENS]; // the same in all blocks of 256 columns
    float sum[PANEL_TOKENS];   // of the 32 integers
};

struct panel_x {
    struct panel_block *blocks; // [panels][n_in / 32]; tokens past n_tokens are zero
    int64_t n_in, n_tokens;
};

struct row_kernels {
    // x [n_in] of token t into its place.
    void (*quantise)(const struct row_x *to, int64_t t, const float *x);
    // out[t][row0..row1) for all tokens of x.
    void (*multiply)(const struct args_product *product, const struct row_x *x, int64_t row0,
                     int64_t row1);
};

struct panel_kernels {
    void (*quantise)(const struct panel_x *to, int64_t panel, struct span x); // its 12 tokens
    void (*multiply)(const struct args_product *product, const struct panel_x *x, int64_t row0,
                     int64_t row1, void *scratch);
    size_t (*scratch_bytes)(int64_t n_rows, int64_t n_in);
};

extern const struct row_kernels row_avx2, row_avx512;
extern const struct panel_kernels
    panel_avx512; // AVX2 has none: floats are as quick as its 8-bit products on two planes
