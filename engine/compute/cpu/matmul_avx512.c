// matmul_avx512.c - quantised weights times many tokens, with AVX-512 VNNI: the panel form of
// quant.h.
//
// A chunk's weights are unpacked once, 16 rows side by side, into tiles that stay in the
// second-level cache while all tokens pass by. One step is: a register of 16 rows x 4 columns of
// signed weights, 12 broadcasts of 4 activation bytes of a token each (unsigned), 12 products into
// the int32 sums of 16 rows x 12 tokens. The hi plane of 32 columns goes first, the sums are
// shifted by 7 bits, and the lo plane is added; then they become floats times the scales of both
// sides. hi carries 128 too much a column, so the sums start at -128 * (sum of the weights) and
// nothing is left to correct. 255 * 128 * 32 columns < 2^20, shifted by 7 < 2^27: no overflow.
#include "quant.h"

#include "../blocks.h"

#include <immintrin.h>

#define FORCE_INLINE static inline __attribute__((always_inline))

struct tile_block { // 32 columns of 16 rows
    int8_t q[PANEL_BLOCK / 4][TILE_ROWS][4];
    int32_t start[2][TILE_ROWS]; // -128 * sum of the weights: of all 32 ([0] only), or of the two
                                 // halves
    float scale[2][TILE_ROWS];   // likewise
    float min[TILE_ROWS];        // Q4_K, Q5_K: times the activations' sum
};

enum { GROUP = 256, GROUP_BLOCKS = GROUP / PANEL_BLOCK }; // columns unpacked at a time

struct rows { // up to GROUP columns of 16 rows, row by row
    int8_t q[TILE_ROWS][GROUP];
    float scale[TILE_ROWS][GROUP / 16]; // one in 16 or 32 columns
    float min[TILE_ROWS][GROUP_BLOCKS];
};

static size_t panel_scratch_bytes(int64_t n_rows, int64_t n_in)
{
    size_t n_groups = (size_t)(n_rows + TILE_ROWS - 1) / TILE_ROWS;
    return n_groups * (size_t)(n_in / PANEL_BLOCK) * sizeof(struct tile_block) +
           sizeof(struct rows);
}

// ---- weights ----------------------------------------------------------------------------------

static void unpack_q8_0(struct rows *to, int r, const struct block_q8_0 *block, int n_blocks)
{
    for (int b = 0; b < n_blocks; b++, block++) {
        to->scale[r][b] = _cvtsh_ss(block->d);
        memcpy(to->q[r] + 32 * b, block->q, 32);
    }
}

static void unpack_q4_0(struct rows *to, int r, const struct block_q4_0 *block, int n_blocks)
{
    for (int b = 0; b < n_blocks; b++, block++) {
        to->scale[r][b] = _cvtsh_ss(block->d);
        for (int i = 0; i < 16; i++) {
            to->q[r][32 * b + i] = (int8_t)((block->q[i] & 15) - 8);
            to->q[r][32 * b + i + 16] = (int8_t)((block->q[i] >> 4) - 8);
        }
    }
}

static void unpack_scales(struct rows *to, int r, const uint8_t scales[12], float d, float dmin)
{
    for (int s = 0; s < 8; s++) {
        uint8_t scale, min;
        k_scale_min(scales, s, &scale, &min);
        to->scale[r][s] = d * scale;
        to->min[r][s] = -dmin * min;
    }
}

static void unpack_q4_k(struct rows *to, int r, const struct block_q4_k *block)
{
    unpack_scales(to, r, block->scales, _cvtsh_ss(block->d), _cvtsh_ss(block->dmin));
    for (int j = 0; j < 4; j++)
        for (int i = 0; i < 32; i++) {
            to->q[r][64 * j + i] = (int8_t)(block->q[32 * j + i] & 15);
            to->q[r][64 * j + 32 + i] = (int8_t)(block->q[32 * j + i] >> 4);
        }
}

static void unpack_q5_k(struct rows *to, int r, const struct block_q5_k *block)
{
    unpack_scales(to, r, block->scales, _cvtsh_ss(block->d), _cvtsh_ss(block->dmin));
    for (int j = 0; j < 4; j++)
        for (int i = 0; i < 32; i++) {
            int high = block->qh[i] >> 2 * j;
            to->q[r][64 * j + i] = (int8_t)((block->q[32 * j + i] & 15) | (high & 1) << 4);
            to->q[r][64 * j + 32 + i] = (int8_t)(block->q[32 * j + i] >> 4 | (high & 2) << 3);
        }
}

static void unpack_q6_k(struct rows *to, int r, const struct block_q6_k *block)
{
    float d = _cvtsh_ss(block->d);
    for (int g = 0; g < 16; g++)
        to->scale[r][g] = d * block->scales[g];
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < 32; i++) {
            int low = block->ql[64 * h + i], low2 = block->ql[64 * h + 32 + i],
                high = block->qh[32 * h + i];
            int8_t *q = to->q[r] + 128 * h + i;
            q[0] = (int8_t)(((low & 15) | (high & 3) << 4) - 32);
            q[32] = (int8_t)(((low2 & 15) | (high & 12) << 2) - 32);
            q[64] = (int8_t)((low >> 4 | (high & 48)) - 32);
            q[96] = (int8_t)((low2 >> 4 | (high & 192) >> 2) - 32);
        }
}

static void unpack_row(struct rows *to, int r, enum dtype type, const uint8_t *row, int64_t group,
                       int n_blocks)
{
    switch (type) {
    case DTYPE_Q8_0:
        unpack_q8_0(to, r, (const struct block_q8_0 *)(const void *)row + 8 * group, n_blocks);
        return;
    case DTYPE_Q4_0:
        unpack_q4_0(to, r, (const struct block_q4_0 *)(const void *)row + 8 * group, n_blocks);
        return;
    case DTYPE_Q4_K:
        unpack_q4_k(to, r, (const struct block_q4_k *)(const void *)row + group);
        return;
    case DTYPE_Q5_K:
        unpack_q5_k(to, r, (const struct block_q5_k *)(const void *)row + group);
        return;
    case DTYPE_Q6_K:
        unpack_q6_k(to, r, (const struct block_q6_k *)(const void *)row + group);
        return;
    default:
        die("no AVX-512 kernel for %s", dtype_name(type));
    }
}

// Block b of the rows, turned so that 16 rows lie side by side. n_scales: 1 or 2 a block.
static void turn(struct tile_block *to, const struct rows *rows, int b, int n_scales)
{
    for (int s = 0; s < PANEL_BLOCK / 4; s++)
        for (int r = 0; r < TILE_ROWS; r++)
            memcpy(to->q[s][r], rows->q[r] + PANEL_BLOCK * b + 4 * s, 4);
    for (int half = 0; half < n_scales; half++) {
        __m512i sum = _mm512_setzero_si512();
        for (int s = 0; s < PANEL_BLOCK / 4 / n_scales; s++)
            sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(1),
                                      _mm512_loadu_si512(to->q[half * PANEL_BLOCK / 8 + s]));
        _mm512_storeu_si512(to->start[half],
                            _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(sum, 7)));
        for (int r = 0; r < TILE_ROWS; r++)
            to->scale[half][r] = rows->scale[r][n_scales * b + half];
    }
    for (int r = 0; r < TILE_ROWS; r++)
        to->min[r] = rows->min[r][b];
}

// Unpacks 16 rows from `row` on (past row1: the last one again; those results are not kept).
static void unpack(struct tile_block *tile, struct rows *rows, struct span w, int64_t row,
                   int64_t row1)
{
    for (int64_t group = 0; group * GROUP < w.n_cols; group++) {
        int64_t left = w.n_cols - group * GROUP;
        int n_blocks = left < GROUP ? (int)(left / PANEL_BLOCK) : GROUP_BLOCKS;
        for (int r = 0; r < TILE_ROWS; r++)
            unpack_row(rows, r, w.type,
                       w.p + (size_t)(row + r < row1 ? row + r : row1 - 1) * w.row_bytes, group,
                       n_blocks);
        for (int b = 0; b < n_blocks; b++)
            turn(tile++, rows, b, w.type == DTYPE_Q6_K ? 2 : 1);
    }
}

// ---- activations ------------------------------------------------------------------------------

// One token's columns as integers: 256 of them, or fewer at a row's end, share a scale.
static void quantise_group(struct panel_block *to, int t, const float *x, int64_t n)
{
    __m512 most = _mm512_setzero_ps(), spoilt = most; // 0 * x is NaN for infinity and NaN
    for (int64_t i = 0; i < n; i += 16) {
        __m512 v = _mm512_loadu_ps(x + i);
        most = _mm512_max_ps(most, _mm512_abs_ps(v));
        spoilt = _mm512_fmadd_ps(v, _mm512_setzero_ps(), spoilt);
    }
    const float largest = _mm512_reduce_max_ps(most) + _mm512_reduce_add_ps(spoilt);
    const __m512 inverse = _mm512_set1_ps(quantise_inverse(largest));
    const __mmask16 keep = quantise_inverse(largest) > 0 ? 0xffff : 0;
    const __m512i bias = _mm512_set1_epi32(128), low = _mm512_set1_epi32(127);
    for (int64_t b = 0; b < n / PANEL_BLOCK; b++, to++) {
        uint8_t hi[PANEL_BLOCK], lo[PANEL_BLOCK];
        __m512i sum = _mm512_setzero_si512();
        for (int i = 0; i < PANEL_BLOCK; i += 16) {
            __m512i a = _mm512_maskz_cvtps_epi32(
                keep, _mm512_mul_ps(_mm512_loadu_ps(x + PANEL_BLOCK * b + i), inverse));
            sum = _mm512_add_epi32(sum, a);
            _mm_storeu_si128((void *)(hi + i),
                             _mm512_cvtepi32_epi8(_mm512_add_epi32(_mm512_srai_epi32(a, 7), bias)));
            _mm_storeu_si128((void *)(lo + i), _mm512_cvtepi32_epi8(_mm512_and_si512(a, low)));
        }
        for (int s = 0; s < PANEL_BLOCK / 4; s++) {
            memcpy(to->hi[s][t], hi + 4 * s, 4);
            memcpy(to->lo[s][t], lo + 4 * s, 4);
        }
        to->scale[t] = largest / (127 * 128);
        to->sum[t] = (float)_mm512_reduce_add_epi32(sum);
    }
}

static void panel_quantise(const struct panel_x *to, int64_t panel, struct span x)
{
    int64_t n_blocks = to->n_in / PANEL_BLOCK, first = panel * PANEL_TOKENS;
    struct panel_block *blocks = to->blocks + panel * n_blocks;
    int n_tokens = to->n_tokens - first < PANEL_TOKENS ? (int)(to->n_tokens - first) : PANEL_TOKENS;
    if (n_tokens < PANEL_TOKENS)
        memset(blocks, 0, (size_t)n_blocks * sizeof(*blocks));
    for (int t = 0; t < n_tokens; t++)
        for (int64_t at = 0; at < to->n_in; at += GROUP)
            quantise_group(blocks + at / PANEL_BLOCK, t, span_row(x, first + t) + at,
                           to->n_in - at < GROUP ? to->n_in - at : GROUP);
}

// ---- products ---------------------------------------------------------------------------------

FORCE_INLINE __m512i four_bytes(const uint8_t *p)
{
    int32_t four;
    memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
}

// Steps s0 .. s1 (four columns each) of one plane.
FORCE_INLINE void steps(__m512i sums[PANEL_TOKENS], const struct tile_block *tile,
                        const uint8_t (*plane)[PANEL_TOKENS][4], int s0, int s1)
{
    for (int s = s0; s < s1; s++) {
        __m512i w = _mm512_loadu_si512(tile->q[s]);
        for (int t = 0; t < PANEL_TOKENS; t++)
            sums[t] = _mm512_dpbusd_epi32(sums[t], four_bytes(plane[s][t]), w);
    }
}

// Adds 32 columns to 16 x 12 sums, in units of the activations' scales.
FORCE_INLINE void add_block(int n_scales, bool mins, __m512 parts[PANEL_TOKENS],
                            const struct tile_block *tile, const struct panel_block *x)
{
    enum { STEPS = PANEL_BLOCK / 4 };
    for (int half = 0; half < n_scales; half++) {
        __m512i sums[PANEL_TOKENS];
        int s0 = half * STEPS / 2, s1 = n_scales == 1 ? STEPS : s0 + STEPS / 2;
        for (int t = 0; t < PANEL_TOKENS; t++)
            sums[t] = _mm512_loadu_si512(tile->start[half]);
        steps(sums, tile, x->hi, s0, s1);
        for (int t = 0; t < PANEL_TOKENS; t++)
            sums[t] = _mm512_slli_epi32(sums[t], 7);
        steps(sums, tile, x->lo, s0, s1);
        __m512 scale = _mm512_loadu_ps(tile->scale[half]);
        for (int t = 0; t < PANEL_TOKENS; t++)
            parts[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[t]), scale, parts[t]);
    }
    if (mins) {
        __m512 min = _mm512_loadu_ps(tile->min);
        for (int t = 0; t < PANEL_TOKENS; t++)
            parts[t] = _mm512_fmadd_ps(min, _mm512_set1_ps(x->sum[t]), parts[t]);
    }
}

// One 16 x 12 tile of the output: all columns. n_scales: weight scales in 32 columns; mins: Q4_K
// and Q5_K.
FORCE_INLINE void tile_of(int n_scales, bool mins, __m512 out[PANEL_TOKENS],
                          const struct tile_block *tile, const struct panel_block *x,
                          int64_t n_blocks)
{
    for (int t = 0; t < PANEL_TOKENS; t++)
        out[t] = _mm512_setzero_ps();
    for (int64_t left = n_blocks; left > 0; left -= GROUP_BLOCKS) {
        __m512 parts[PANEL_TOKENS]; // in registers; `out` is in memory, and touched once a group
        for (int t = 0; t < PANEL_TOKENS; t++)
            parts[t] = _mm512_setzero_ps();
        const float *scale = x->scale;
        for (int64_t b = 0; b < left && b < GROUP_BLOCKS; b++)
            add_block(n_scales, mins, parts, tile++, x++);
        for (int t = 0; t < PANEL_TOKENS; t++)
            out[t] = _mm512_fmadd_ps(parts[t], _mm512_set1_ps(scale[t]), out[t]);
    }
}

static void tile_32(__m512 out[PANEL_TOKENS], const struct tile_block *tile,
                    const struct panel_block *x, int64_t n_blocks)
{
    tile_of(1, false, out, tile, x, n_blocks);
}

static void tile_32_mins(__m512 out[PANEL_TOKENS], const struct tile_block *tile,
                         const struct panel_block *x, int64_t n_blocks)
{
    tile_of(1, true, out, tile, x, n_blocks);
}

static void tile_16(__m512 out[PANEL_TOKENS], const struct tile_block *tile,
                    const struct panel_block *x, int64_t n_blocks)
{
    tile_of(2, false, out, tile, x, n_blocks);
}

// Adds bias and residual and writes what lies inside the output.
static void store(const struct args_product *product, const __m512 sums[PANEL_TOKENS], int64_t row,
                  int n_rows, int64_t token, int n_tokens)
{
    __mmask16 in = (__mmask16)((1u << n_rows) - 1);
    __m512 bias =
        product->bias ? _mm512_maskz_loadu_ps(in, product->bias + row) : _mm512_setzero_ps();
    for (int t = 0; t < n_tokens; t++) {
        __m512 value = _mm512_mul_ps(_mm512_add_ps(sums[t], bias), _mm512_set1_ps(product->scale));
        if (product->residual.p)
            value = _mm512_add_ps(
                value, _mm512_maskz_loadu_ps(in, span_row(product->residual, token + t) + row));
        _mm512_mask_storeu_ps(span_row(product->out, token + t) + row, in, value);
    }
}

static void panel_multiply(const struct args_product *product, const struct panel_x *x,
                           int64_t row0, int64_t row1, void *scratch)
{
    int64_t n_blocks = x->n_in / PANEL_BLOCK;
    struct rows *rows = scratch;
    struct tile_block *tiles = (struct tile_block *)(void *)(rows + 1);
    enum dtype type = product->w.type;
    void (*tile)(__m512 *, const struct tile_block *, const struct panel_block *, int64_t) =
        type == DTYPE_Q6_K                         ? tile_16
        : type == DTYPE_Q4_K || type == DTYPE_Q5_K ? tile_32_mins
                                                   : tile_32;
    for (int64_t row = row0; row < row1; row += TILE_ROWS)
        unpack(tiles + (row - row0) / TILE_ROWS * n_blocks, rows, product->w, row, row1);
    for (int64_t token = 0; token < x->n_tokens; token += PANEL_TOKENS) {
        const struct panel_block *panel = x->blocks + token / PANEL_TOKENS * n_blocks;
        int n_tokens =
            x->n_tokens - token < PANEL_TOKENS ? (int)(x->n_tokens - token) : PANEL_TOKENS;
        for (int64_t row = row0; row < row1; row += TILE_ROWS) {
            __m512 sums[PANEL_TOKENS];
            int n_rows = row1 - row < TILE_ROWS ? (int)(row1 - row) : TILE_ROWS;
            tile(sums, tiles + (row - row0) / TILE_ROWS * n_blocks, panel, n_blocks);
            store(product, sums, row, n_rows, token, n_tokens);
        }
    }
}

const struct panel_kernels panel_avx512 = {panel_quantise, panel_multiply, panel_scratch_bytes};
