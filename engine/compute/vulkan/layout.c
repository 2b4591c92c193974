// layout.c - how rows of weights lie in device memory.
//
// A row is its planes one after another, each padded to 16 bytes; the float formats are one plane,
// as in the file. Quantised rows are cut into supers of `cols` weights, padded with zeros to a
// whole super, and a super into `lanes` cells of 32 weights (Q8_0: of 16). A cell is what one lane
// of a product loads at once: 8 groups (Q8_0: 4) of four neighbouring columns,
//   column of weight k of group s of cell l of super b = b * cols + s * 4 * lanes + 4 * l + k
// so that for every s neighbouring lanes read neighbouring columns of x: whole cache lines. GGUF's
// blocks hold such cells already, scattered: packing moves 32-bit words and never changes a weight.
// kernels/weight.glsl reads what is written here. Bytes of each plane in a super:
//   Q8_0         64 cols, 4 lanes   q 64 (word s of cell l: group s)         d 4
//   Q4_0, IQ4_NL 128 cols, 4 lanes  q 64 (word s/2 of cell l, nibbles s%2)   d 8
//   Q4_1         the same           q 64                                     d,m 16 (pairs)
//   Q5_0, Q5_1   the same           q 64   h 16 (word l: bit 8k+s)           d 8 / d,m 16
//   MXFP4        the same           q 64                                     e 4
//   IQ4_XS       the same           q 64                  d,scales 8 for every two supers
//   Q4_K         256 cols, 8 lanes  q 128 (word s/2, nibbles s%2)            d,dmin,scales 16
//   Q5_K         the same           q 128  h 32 (word l: bit 8k+s)           d,dmin,scales 16
//   Q6_K         the same           q 128 (word 2(s/4)+s%2, nibbles s/2%2)
//                                   h 64 (word s/4 of cell l, bits 2(s%4))   scales 16   d 2
//   Q2_K         the same           q 64 (word s/4 of cell l, bits 2(s%4))   scales 16   d,dmin 4
//   Q3_K         the same           q 64   h 32 (word l: bit 8k+s)           scales 12   d 2
//   TQ2_0, TQ1_0 the same           q 64 as Q2_K (TQ1_0: its trits in two bits each)      d 2
// IQ1, IQ2 and IQ3 cut their supers in another way, which is told where they are packed.
#include "../blocks.h"
#include "vulkan.h"

#include <string.h>

enum { PLANES_MOST = 5 };

// One super; plane: where each plane continues; n: blocks there are (the last super of a row of
// 32-weight blocks may have fewer).
typedef void pack_super(uint8_t *const plane[], const uint8_t *block, int n);

static uint32_t word_get(const uint8_t *from)
{
    uint32_t v;
    memcpy(&v, from, sizeof(v));
    return v;
}

static void word_put(uint8_t *to, int word, uint32_t v)
{
    memcpy(to + (size_t)word * 4, &v, sizeof(v));
}

// ---- blocks of 32 -------------------------------------------------------------------------------

// to: [4 cells][4 words], word b of every cell from block b's 16 bytes.
static void cells_of_nibbles(uint8_t *to, const uint8_t *q, int n, size_t block_bytes)
{
    for (int b = 0; b < n; b++)
        for (int l = 0; l < 4; l++)
            word_put(to, l * 4 + b, word_get(q + (size_t)b * block_bytes + (size_t)l * 4));
}

// Word l: bit 8k + 2b + h from bit 16h + 4l + k of block b.
static void cells_of_fifth_bits(uint8_t *to, const uint8_t *qh, int n, size_t block_bytes)
{
    uint32_t word[4] = {0};
    for (int b = 0; b < n; b++) {
        uint32_t bits = word_get(qh + (size_t)b * block_bytes);
        for (int h = 0; h < 2; h++)
            for (int l = 0; l < 4; l++) {
                uint32_t four = bits >> (16 * h + 4 * l) & 15;
                word[l] |= (four * 0x00204081u & 0x01010101u) << (2 * b + h);
            }
    }
    memcpy(to, word, sizeof(word));
}

static void pack_q8_0(uint8_t *const plane[], const uint8_t *block, int n)
{
    for (int b = 0; b < n; b++, block += 34) {
        for (int i = 0; i < 8; i++)
            word_put(plane[0], i % 4 * 4 + 2 * b + i / 4, word_get(block + 2 + i * 4));
        memcpy(plane[1] + b * 2, block, 2);
    }
}

static void pack_q4_0(uint8_t *const plane[], const uint8_t *block, int n)
{
    cells_of_nibbles(plane[0], block + 2, n, 18);
    for (int b = 0; b < n; b++)
        memcpy(plane[1] + b * 2, block + b * 18, 2);
}

static void pack_q4_1(uint8_t *const plane[], const uint8_t *block, int n)
{
    cells_of_nibbles(plane[0], block + 4, n, 20);
    for (int b = 0; b < n; b++)
        memcpy(plane[1] + b * 4, block + b * 20, 4);
}

static void pack_q5_0(uint8_t *const plane[], const uint8_t *block, int n)
{
    cells_of_nibbles(plane[0], block + 6, n, 22);
    cells_of_fifth_bits(plane[1], block + 2, n, 22);
    for (int b = 0; b < n; b++)
        memcpy(plane[2] + b * 2, block + b * 22, 2);
}

static void pack_q5_1(uint8_t *const plane[], const uint8_t *block, int n)
{
    cells_of_nibbles(plane[0], block + 8, n, 24);
    cells_of_fifth_bits(plane[1], block + 4, n, 24);
    for (int b = 0; b < n; b++)
        memcpy(plane[2] + b * 4, block + b * 24, 4);
}

static void pack_mxfp4(uint8_t *const plane[], const uint8_t *block, int n)
{
    cells_of_nibbles(plane[0], block + 1, n, 17);
    for (int b = 0; b < n; b++)
        plane[1][b] = block[b * 17];
}

// ---- blocks of 256 ------------------------------------------------------------------------------

// from: n words of every one of the 8 cells, [n][8]; to: [8][n]
static void cells_of_words(uint8_t *to, const uint8_t *from, int n)
{
    for (int l = 0; l < 8; l++)
        for (int i = 0; i < n; i++)
            word_put(to, l * n + i, word_get(from + (i * 8 + l) * 4));
}

// Bytes 2s + p, group s of the cells l with l / 4 == p, to p * 8 + s.
static void scales_by_half(uint8_t *to, const uint8_t *scales)
{
    for (int i = 0; i < 16; i++)
        to[i % 2 * 8 + i / 2] = scales[i];
}

// 16 scales of 6 bits, the file's order (low nibbles of bytes 0-7: 0-7; high: 8-15; two upper bits
// of 4t+j at 2t of byte 8+j), to: word p: low nibbles of groups s at 4s; word 2: bits at 16p + 2s.
static void six_bits_by_half(uint8_t *to, const uint8_t *scales)
{
    uint32_t word[3] = {0};
    for (int i = 0; i < 16; i++) {
        uint32_t low = scales[i % 8] >> 4 * (i / 8) & 15,
                 high = scales[8 + i % 4] >> 2 * (i / 4) & 3;
        word[i % 2] |= low << 4 * (i / 2);
        word[2] |= high << (16 * (i % 2) + 2 * (i / 2));
    }
    memcpy(to, word, sizeof(word));
}

static void pack_q2_k(uint8_t *const plane[], const uint8_t *block, int n)
{
    (void)n;
    cells_of_words(plane[0], block + 16, 2);
    scales_by_half(plane[1], block);
    memcpy(plane[2], block + 80, 4);
}

static void pack_q3_k(uint8_t *const plane[], const uint8_t *block, int n)
{
    (void)n;
    cells_of_words(plane[0], block + 32, 2);
    memcpy(plane[1], block, 32);
    six_bits_by_half(plane[2], block + 96);
    memcpy(plane[3], block + 108, 2);
}

static void pack_q4_k(uint8_t *const plane[], const uint8_t *block, int n)
{
    (void)n;
    cells_of_words(plane[0], block + 16, 4);
    memcpy(plane[1], block, 16);
}

static void pack_q5_k(uint8_t *const plane[], const uint8_t *block, int n)
{
    (void)n;
    cells_of_words(plane[0], block + 48, 4);
    memcpy(plane[1], block + 16, 32);
    memcpy(plane[2], block, 16);
}

static void pack_q6_k(uint8_t *const plane[], const uint8_t *block, int n)
{
    (void)n;
    cells_of_words(plane[0], block, 4);
    cells_of_words(plane[1], block + 128, 2);
    scales_by_half(plane[2], block + 192);
    memcpy(plane[3], block + 208, 2);
}

static void pack_iq4_xs(uint8_t *const plane[], const uint8_t *block, int n)
{
    (void)n;
    cells_of_nibbles(plane[0], block + 8, 4, 16);
    cells_of_nibbles(plane[0] + 64, block + 72, 4, 16);
    memcpy(plane[1], block, 8);
}

// ---- with codebooks -----------------------------------------------------------------------------
// IQ1, IQ2, IQ3 (256 cols, 8 lanes) have runs of eight weights that are one entry of a codebook.
// Run e (0 .. 3) of cell l has the columns 64 e + 8 l on, and is run l % 4 of the sub-block
// 2 e + l / 4; the group 2 e + k is its half k. u: upper bits of an index; 3e: they begin there.
//   IQ1_S    q 32 (byte e: index)  h 16 (u16 of a cell: u 3e, above them bits 12-15 of sub-block
//            2 (l % 4) + l / 4: scale, shift)   d 2
//   IQ1_M    q 32                  h 16 (u16 of a cell: nibble e: u, shift)   scales 8 (the file's)
//   IQ2_XXS  q 32                  signs 32 (word of a cell: 7 bits e, scale as IQ1_S at 28)   d 2
//   IQ2_XS   q 64 (u16 e: index, signs)   scales 8 (byte 4 (l / 4) + e: both halves')   d 2
//   IQ2_S    q 64 (word 0: index, 1: signs)   h 8 (byte of a cell: u 2e)   scales 8   d 2
//   IQ3_XXS  q 64 (word k: indices of the halves k)   signs 32 as IQ2_XXS   d 2
//   IQ3_S    q 64                  h 8 (bit 2e + k)   signs 32 (byte e)   scales 4 (u16 l / 4)  d 2

// The run of the file that is run e of cell l.
static int run_of(int l, int e)
{
    return 8 * e + l;
}

// Four bits that a sub-block has: the four cells of one half (l / 4) have those of four sub-blocks,
// one each.
static uint32_t shared_nibble(const uint32_t of_sub[8], int l)
{
    return of_sub[2 * (l % 4) + l / 4] & 15;
}

static void half_put(uint8_t *to, int i, uint32_t v)
{
    const uint16_t half = (uint16_t)v;
    memcpy(to + (size_t)i * 2, &half, sizeof(half));
}

static void pack_iq1_s(uint8_t *const plane[], const uint8_t *from, int n)
{
    struct block_iq1_s block;
    uint32_t shared[8];
    (void)n;
    memcpy(&block, from, sizeof(block));
    for (int s = 0; s < 8; s++)
        shared[s] = block.qh[s] >> 12;
    for (int l = 0; l < 8; l++) {
        uint32_t upper = 0;
        for (int e = 0; e < 4; e++) {
            const int run = run_of(l, e);
            plane[0][4 * l + e] = block.q[run];
            upper |= (uint32_t)(block.qh[run / 4] >> 3 * (run % 4) & 7) << 3 * e;
        }
        half_put(plane[1], l, upper | shared_nibble(shared, l) << 12);
    }
    memcpy(plane[2], &block.d, 2);
}

static void pack_iq1_m(uint8_t *const plane[], const uint8_t *from, int n)
{
    struct block_iq1_m block;
    (void)n;
    memcpy(&block, from, sizeof(block));
    for (int l = 0; l < 8; l++) {
        uint32_t upper = 0;
        for (int e = 0; e < 4; e++) {
            const int run = run_of(l, e);
            plane[0][4 * l + e] = block.q[run];
            upper |= (uint32_t)(block.qh[run / 2] >> 4 * (run % 2) & 15) << 4 * e;
        }
        half_put(plane[1], l, upper);
    }
    memcpy(plane[2], block.scales, 8);
}

// Seven signs a run, and a scale of four bits a sub-block: the words of the cells from those of the
// sub-blocks.
static void cells_of_signs(uint8_t *to, const uint32_t word[8])
{
    uint32_t shared[8];
    for (int s = 0; s < 8; s++)
        shared[s] = word[s] >> 28;
    for (int l = 0; l < 8; l++) {
        uint32_t signs = 0;
        for (int e = 0; e < 4; e++) {
            const int run = run_of(l, e);
            signs |= (word[run / 4] >> 7 * (run % 4) & 127) << 7 * e;
        }
        word_put(to, l, signs | shared_nibble(shared, l) << 28);
    }
}

static void pack_iq2_xxs(uint8_t *const plane[], const uint8_t *from, int n)
{
    struct block_iq2_xxs block;
    uint32_t word[8];
    (void)n;
    memcpy(&block, from, sizeof(block));
    for (int s = 0; s < 8; s++)
        word[s] = word_get(block.sub[s].signs_s);
    for (int run = 0; run < 32; run++)
        plane[0][4 * (run % 8) + run / 8] = block.sub[run / 4].q[run % 4];
    cells_of_signs(plane[1], word);
    memcpy(plane[2], &block.d, 2);
}

static void pack_iq2_xs(uint8_t *const plane[], const uint8_t *from, int n)
{
    struct block_iq2_xs block;
    (void)n;
    memcpy(&block, from, sizeof(block));
    for (int run = 0; run < 32; run++)
        half_put(plane[0], 4 * (run % 8) + run / 8, block.q[run]);
    for (int s = 0; s < 8; s++)
        plane[1][4 * (s % 2) + s / 2] = block.scales[s];
    memcpy(plane[2], &block.d, 2);
}

static void pack_iq2_s(uint8_t *const plane[], const uint8_t *from, int n)
{
    struct block_iq2_s block;
    (void)n;
    memcpy(&block, from, sizeof(block));
    for (int run = 0; run < 32; run++) {
        const int l = run % 8, e = run / 8;
        plane[0][8 * l + e] = block.q[run];
        plane[0][8 * l + 4 + e] = block.signs[run];
        plane[1][l] |= (uint8_t)((block.qh[run / 4] >> 2 * (run % 4) & 3) << 2 * e);
    }
    for (int s = 0; s < 8; s++)
        plane[2][4 * (s % 2) + s / 2] = block.scales[s];
    memcpy(plane[3], &block.d, 2);
}

static void pack_iq3_xxs(uint8_t *const plane[], const uint8_t *from, int n)
{
    struct block_iq3_xxs block;
    uint32_t word[8];
    (void)n;
    memcpy(&block, from, sizeof(block));
    for (int s = 0; s < 8; s++)
        word[s] = word_get(block.signs_s[s]);
    for (int i = 0; i < 64; i++)
        plane[0][8 * (i / 2 % 8) + 4 * (i % 2) + i / 16] = block.q[i];
    cells_of_signs(plane[1], word);
    memcpy(plane[2], &block.d, 2);
}

static void pack_iq3_s(uint8_t *const plane[], const uint8_t *from, int n)
{
    struct block_iq3_s block;
    uint32_t scales[2] = {0, 0};
    (void)n;
    memcpy(&block, from, sizeof(block));
    for (int run = 0; run < 32; run++) {
        const int l = run % 8, e = run / 8;
        plane[0][8 * l + e] = block.q[2 * run];
        plane[0][8 * l + 4 + e] = block.q[2 * run + 1];
        plane[1][l] |= (uint8_t)((block.qh[run / 4] >> 2 * (run % 4) & 3) << 2 * e);
        plane[2][4 * l + e] = block.signs[run];
    }
    for (int s = 0; s < 8; s++)
        scales[s % 2] |= (uint32_t)(block.scales[s / 2] >> 4 * (s % 2) & 15) << 4 * (s / 2);
    half_put(plane[3], 0, scales[0]);
    half_put(plane[3], 1, scales[1]);
    memcpy(plane[4], &block.d, 2);
}

// ---- ternary ------------------------------------------------------------------------------------

static void pack_tq2_0(uint8_t *const plane[], const uint8_t *block, int n)
{
    (void)n;
    cells_of_words(plane[0], block, 2);
    memcpy(plane[1], block + 64, 2);
}

static void pack_tq1_0(uint8_t *const plane[], const uint8_t *from, int n)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    struct block_tq1_0 block;
    memcpy(&block, from, sizeof(block));
    uint8_t two_bits[66] = {0};
    for (int i = 0; i < 256; i++) {
        const int trit = i < 160 ? i / 32 : i < 240 ? (i - 160) / 16 : (i - 240) / 4;
        const uint8_t v = i < 160   ? block.q[i % 32]
                          : i < 240 ? block.q[32 + i % 16]
                                    : block.qh[i % 4];
        const int q = (v * power[trit] & 255) * 3 >> 8;
        two_bits[i / 128 * 32 + i % 32] |= (uint8_t)(q << i % 128 / 32 * 2);
    }
    memcpy(two_bits + 64, &block.d, 2);
    pack_tq2_0(plane, two_bits, n);
}

// ---- the table ----------------------------------------------------------------------------------

struct layout {
    enum dtype type;
    uint8_t blocks;             // of a super; 0: one plane, as in the file
    uint8_t plane[PLANES_MOST]; // bytes of each plane in a super
    pack_super *pack;
};

static const struct layout table[] = {
    {DTYPE_F32, 0, {0}, NULL},
    {DTYPE_F16, 0, {0}, NULL},
    {DTYPE_BF16, 0, {0}, NULL},
    {DTYPE_I32, 0, {0}, NULL},
    {DTYPE_Q8_0, 2, {64, 4}, pack_q8_0},
    {DTYPE_Q4_0, 4, {64, 8}, pack_q4_0},
    {DTYPE_Q4_1, 4, {64, 16}, pack_q4_1},
    {DTYPE_Q5_0, 4, {64, 16, 8}, pack_q5_0},
    {DTYPE_Q5_1, 4, {64, 16, 16}, pack_q5_1},
    {DTYPE_IQ4_NL, 4, {64, 8}, pack_q4_0},
    {DTYPE_MXFP4, 4, {64, 4}, pack_mxfp4},
    {DTYPE_Q2_K, 1, {64, 16, 4}, pack_q2_k},
    {DTYPE_Q3_K, 1, {64, 32, 12, 2}, pack_q3_k},
    {DTYPE_Q4_K, 1, {128, 16}, pack_q4_k},
    {DTYPE_Q5_K, 1, {128, 32, 16}, pack_q5_k},
    {DTYPE_Q6_K, 1, {128, 64, 16, 2}, pack_q6_k},
    {DTYPE_IQ4_XS, 1, {128, 8}, pack_iq4_xs},
    {DTYPE_TQ1_0, 1, {64, 2}, pack_tq1_0},
    {DTYPE_TQ2_0, 1, {64, 2}, pack_tq2_0},
    {DTYPE_IQ1_S, 1, {32, 16, 2}, pack_iq1_s},
    {DTYPE_IQ1_M, 1, {32, 16, 8}, pack_iq1_m},
    {DTYPE_IQ2_XXS, 1, {32, 32, 2}, pack_iq2_xxs},
    {DTYPE_IQ2_XS, 1, {64, 8, 2}, pack_iq2_xs},
    {DTYPE_IQ2_S, 1, {64, 8, 8, 2}, pack_iq2_s},
    {DTYPE_IQ3_XXS, 1, {64, 32, 2}, pack_iq3_xxs},
    {DTYPE_IQ3_S, 1, {64, 8, 32, 4, 2}, pack_iq3_s},
};

static const struct layout *layout_find(enum dtype type)
{
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (table[i].type == type)
            return &table[i];
    return NULL;
}

bool layout_known(enum dtype type)
{
    return layout_find(type);
}

static const struct layout *layout_of(enum dtype type)
{
    const struct layout *layout = layout_find(type);
    if (layout)
        return layout;
    die("rows of %s have no layout in device memory", dtype_name(type));
}

static size_t padded(size_t n_bytes)
{
    return (n_bytes + 15) / 16 * 16;
}

static int64_t supers_of(const struct layout *layout, int64_t n_blocks)
{
    return (n_blocks + layout->blocks - 1) / layout->blocks;
}

size_t layout_row_bytes(enum dtype type, int64_t n_cols)
{
    const struct layout *layout = layout_of(type);
    if (layout->blocks == 0)
        return padded(dtype_row_bytes(type, n_cols));
    const int64_t n_super = supers_of(layout, n_cols / dtype_block_elements(type));
    size_t n_bytes = 0;
    for (int i = 0; i < PLANES_MOST; i++)
        n_bytes += padded((size_t)n_super * layout->plane[i]);
    return n_bytes;
}

static void pack_row(const struct layout *layout, uint8_t *out, const uint8_t *row,
                     size_t block_bytes, int64_t n_blocks)
{
    const int64_t n_super = supers_of(layout, n_blocks);
    uint8_t *plane[PLANES_MOST];
    for (int i = 0; i < PLANES_MOST; i++) {
        plane[i] = out;
        out += padded((size_t)n_super * layout->plane[i]);
    }
    for (int64_t at = 0; at < n_blocks; at += layout->blocks) {
        const int64_t n = n_blocks - at < layout->blocks ? n_blocks - at : layout->blocks;
        layout->pack(plane, row + (size_t)at * block_bytes, (int)n);
        for (int i = 0; i < PLANES_MOST; i++)
            plane[i] += layout->plane[i];
    }
}

void layout_pack(enum dtype type, void *out, const void *rows, int64_t n_rows, int64_t n_cols)
{
    const struct layout *layout = layout_of(type);
    const size_t from_row = dtype_row_bytes(type, n_cols), to_row = layout_row_bytes(type, n_cols);
    const size_t block_bytes = dtype_block_bytes(type);
    const int64_t n_blocks = n_cols / dtype_block_elements(type);
    for (int64_t r = 0; r < n_rows; r++) {
        uint8_t *to = (uint8_t *)out + (size_t)r * to_row;
        const uint8_t *from = (const uint8_t *)rows + (size_t)r * from_row;
        if (layout->blocks == 0) {
            memcpy(to, from, from_row);
            memset(to + from_row, 0, to_row - from_row);
        } else {
            memset(to, 0, to_row);
            pack_row(layout, to, from, block_bytes, n_blocks);
        }
    }
}
