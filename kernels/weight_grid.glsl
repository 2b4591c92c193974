// weight_grid.glsl - the formats whose weights are entries of a codebook (IQ1, IQ2, IQ3): the part
// of weight.glsl that they have of their own, with the same functions.
//
// A run of eight weights is one entry (IQ3: two of four), with a sign a weight (IQ1: one shift a
// run). Cell l of a super has the runs e = 0 .. 3 at the columns 64 e + 8 l; its groups 2 e and
// 2 e + 1 are their halves. So run e of cell l is run i = l % 4 of the sub-block 2 e + p, p = l / 4:
// what a sub-block of 32 has in common belongs to four neighbouring cells (Scales).
//
// The codebook comes by its address and lies in shared memory: 512 bytes (IQ2_XXS) to 4 KiB (IQ1),
// as kernels/grids.h says, for a constant array would be read from memory for every weight, and
// takes llvmpipe's compiler 12 s a kernel. That of IQ2_XXS is spread to a byte a weight there, 2 KiB:
// of the larger ones that would cost waves or tiles. Values are kept as bytes, four to a word, to the end:
// signs and codes are worked on four at a time, and the byte q of weight d (q - 128) has 128 added.
#if defined WEIGHT_iq1_s || defined WEIGHT_iq1_m
#define WEIGHT_TRITS
const uint GRID_WORDS = 1024;
#elif defined WEIGHT_iq2_xxs
const uint GRID_WORDS = 128;
#elif defined WEIGHT_iq2_xs || defined WEIGHT_iq3_xxs
const uint GRID_WORDS = 256;
#else // IQ2_S, IQ3_S
const uint GRID_WORDS = 512;
#endif
#if defined WEIGHT_iq3_xxs || defined WEIGHT_iq3_s
#define WEIGHT_FOURS
#endif

// Codes 0 .. 2 of IQ2, a byte each: 8, 25, 43.
uint grid_values(uint q) { return q * 16 + q + (q >> 1 & 0x01010101) + 0x08080808; }

#if defined WEIGHT_iq2_xxs
shared uvec2 weight_grid[2 * GRID_WORDS];
void weight_begin(uint64_t grid)
{
    for (uint i = gl_LocalInvocationIndex; i < 2 * GRID_WORDS; i += gl_WorkGroupSize.x) {
        uint word = load_u(grid, i / 2 * 4) >> i % 2 * 4;
        weight_grid[i] = uvec2(grid_values(word & 0x03030303), grid_values(word >> 2 & 0x03030303));
    }
    barrier();
}
#else
shared uint weight_grid[GRID_WORDS];
void weight_begin(uint64_t grid)
{
    for (uint i = gl_LocalInvocationIndex; i < GRID_WORDS; i += gl_WorkGroupSize.x)
        weight_grid[i] = load_u(grid, i * 4);
    barrier();
}
#endif

// Bytes of the planes of a super, in their order.
#if defined WEIGHT_iq1_s
const uint Q_BYTES = 32, H_BYTES = 16, SIGN_BYTES = 0, SCALE_BYTES = 0;
#elif defined WEIGHT_iq1_m
const uint Q_BYTES = 32, H_BYTES = 16, SIGN_BYTES = 0, SCALE_BYTES = 8;
#elif defined WEIGHT_iq2_xxs
const uint Q_BYTES = 32, H_BYTES = 0, SIGN_BYTES = 32, SCALE_BYTES = 0;
#elif defined WEIGHT_iq2_xs
const uint Q_BYTES = 64, H_BYTES = 0, SIGN_BYTES = 0, SCALE_BYTES = 8;
#elif defined WEIGHT_iq2_s
const uint Q_BYTES = 64, H_BYTES = 8, SIGN_BYTES = 0, SCALE_BYTES = 8;
#elif defined WEIGHT_iq3_xxs
const uint Q_BYTES = 64, H_BYTES = 0, SIGN_BYTES = 32, SCALE_BYTES = 0;
#elif defined WEIGHT_iq3_s
const uint Q_BYTES = 64, H_BYTES = 8, SIGN_BYTES = 32, SCALE_BYTES = 4;
#endif
uint h_at(uint n_in) { return weight_plane(n_in, Q_BYTES); }
uint signs_at(uint n_in) { return h_at(n_in) + weight_plane(n_in, H_BYTES); }
uint scales_at(uint n_in) { return signs_at(n_in) + weight_plane(n_in, SIGN_BYTES); }
uint d_at(uint n_in) { return scales_at(n_in) + weight_plane(n_in, SCALE_BYTES); }

struct Scales { // of the cells 4 p .. 4 p + 3 of a super
    uint s;     // scales; IQ1_S: with the shifts
    uvec2 h;    // upper bits of their indices; IQ1_M: with the shifts
    float d;
};
struct Cell {
    uvec2 q;
    uint signs, i; // i: which of the four
    Scales scales;
};

// The top four bits of four words.
uint top_nibbles(uvec4 v)
{
    return v.x >> 28 | v.y >> 24 & 0xf0 | v.z >> 20 & 0xf00 | v.w >> 16 & 0xf000;
}

Scales scales_of(uint64_t base, uint row, uint n_in, uint super, uint p)
{
    Scales v;
    v.s = 0, v.h = uvec2(0);
#if defined WEIGHT_TRITS
    v.h = load_u2(base, row + h_at(n_in) + super * 16 + p * 8);
#elif defined WEIGHT_iq2_s || defined WEIGHT_iq3_s
    v.h.x = load_u(base, row + h_at(n_in) + super * 8 + p * 4);
#endif
#if defined WEIGHT_iq1_m
    uvec2 s = load_u2(base, row + scales_at(n_in) + super * 8);
    v.d = unpackHalf2x16(s.x >> 12 & 15 | s.x >> 24 & 0xf0 | s.y >> 4 & 0xf00 | s.y >> 16 & 0xf000).x;
    s >>= p * 6; // of the sub-blocks 2 e + p: two of three bits
    v.s = s.x & 63 | s.x >> 8 & 0x3f00 | (s.y & 63) << 16 | s.y << 8 & 0x3f000000;
#else
    v.d = load_h(base, row + d_at(n_in) + super * 2);
#endif
#if defined WEIGHT_iq1_s
    v.s = v.h.x >> 12 & 15 | v.h.x >> 24 & 0xf0 | v.h.y >> 4 & 0xf00 | v.h.y >> 16 & 0xf000;
#elif defined WEIGHT_iq2_xxs || defined WEIGHT_iq3_xxs
    v.s = top_nibbles(load_u4(base, row + signs_at(n_in) + super * 32 + p * 16));
#elif defined WEIGHT_iq2_xs || defined WEIGHT_iq2_s
    v.s = load_u(base, row + scales_at(n_in) + super * 8 + p * 4);
#elif defined WEIGHT_iq3_s
    v.s = load_s(base, row + scales_at(n_in) + super * 4 + p * 2);
#endif
    return v;
}

Scales weight_scales(uint64_t row, uint n_in, uint cell)
{
    return scales_of(row, 0, n_in, cell / 8, cell % 8 / 4);
}

Cell cell_of(uint64_t base, uint row, uint n_in, uint cell, Scales scales)
{
    Cell c;
    c.q = uvec2(0), c.signs = 0, c.i = cell % 4, c.scales = scales;
#if defined WEIGHT_TRITS || defined WEIGHT_iq2_xxs
    c.q.x = load_u(base, row + cell * 4);
#else
    c.q = load_u2(base, row + cell * 8);
#endif
#if defined WEIGHT_iq2_xxs || defined WEIGHT_iq3_xxs || defined WEIGHT_iq3_s
    c.signs = load_u(base, row + signs_at(n_in) + cell * 4);
#endif
    return c;
}

Cell weight_cell(uint64_t row, uint n_in, uint cell, Scales scales)
{
    return cell_of(row, 0, n_in, cell, scales);
}

Cell weight_cell(uint64_t row, uint n_in, uint cell)
{
    return weight_cell(row, n_in, cell, weight_scales(row, n_in, cell));
}

// The bits that cell i has of its own in a word of four cells' 16 (or 8) bits.
uint own_16(Cell c) { return (c.i < 2 ? c.scales.h.x : c.scales.h.y) >> c.i % 2 * 16; }
uint own_8(Cell c) { return c.scales.h.x >> c.i * 8; }

// The scale of run e, (2 s + 1) d, and what the format divides by.
float run_scale(Cell c, uint e)
{
#if defined WEIGHT_iq1_s
    return c.scales.d * float(2 * (c.scales.s >> e * 4 & 7) + 1);
#elif defined WEIGHT_iq1_m
    return c.scales.d * float(2 * (c.scales.s >> e * 8 + c.i / 2 * 3 & 7) + 1);
#elif defined WEIGHT_iq2_xs || defined WEIGHT_iq2_s
    return c.scales.d * 0.125 * float(2 * (c.scales.s >> e * 8 + c.i / 2 * 4 & 15) + 1);
#else
    const float part =
#if defined WEIGHT_iq2_xxs
        0.125;
#elif defined WEIGHT_iq3_xxs
        0.25;
#else
        1;
#endif
    return c.scales.d * part * float(2 * (c.scales.s >> e * 4 & 15) + 1);
#endif
}

// Signs of the eight weights of run e, a bit each; where seven are stored the eighth makes their
// number even.
uint run_signs(Cell c, uint e)
{
#if defined WEIGHT_iq2_xxs || defined WEIGHT_iq3_xxs
    uint seven = c.signs >> e * 7 & 127;
    return seven | (bitCount(seven) & 1) << 7;
#elif defined WEIGHT_iq2_xs
    uint seven = (e < 2 ? c.q.x : c.q.y) >> e % 2 * 16 + 9 & 127;
    return seven | (bitCount(seven) & 1) << 7;
#elif defined WEIGHT_iq2_s
    return c.q.y >> e * 8 & 255;
#elif defined WEIGHT_iq3_s
    return c.signs >> e * 8 & 255;
#else
    return 0;
#endif
}

// The four bytes of one half of run e: values, of IQ1 codes 0 .. 2.
uint run_bytes(Cell c, uint e, uint upper)
{
#if defined WEIGHT_FOURS
    uint index = (upper == 0 ? c.q.x : c.q.y) >> e * 8 & 255;
#if defined WEIGHT_iq3_s
    index |= (own_8(c) >> 2 * e + upper & 1) << 8;
#endif
    return weight_grid[index];
#elif defined WEIGHT_iq2_xxs
    uvec2 both = weight_grid[c.q.x >> e * 8 & 255];
    return upper == 0 ? both.x : both.y;
#else
#if defined WEIGHT_iq1_s
    uint index = c.q.x >> e * 8 & 255 | (own_16(c) >> e * 3 & 7) << 8;
#elif defined WEIGHT_iq1_m
    uint index = c.q.x >> e * 8 & 255 | (own_16(c) >> e * 4 & 7) << 8;
#elif defined WEIGHT_iq2_xs
    uint index = (e < 2 ? c.q.x : c.q.y) >> e % 2 * 16 & 511;
#else
    uint index = c.q.x >> e * 8 & 255 | (own_8(c) >> e * 2 & 3) << 8;
#endif
    uint codes = weight_grid[index / 2] >> index % 2 * 4 + upper * 2 & 0x03030303;
#if defined WEIGHT_TRITS
    return codes;
#else
    return grid_values(codes);
#endif
#endif
}

vec4 half_run(Cell c, uint e, uint upper)
{
    uint q = run_bytes(c, e, upper);
    float d = run_scale(c, e);
#if defined WEIGHT_TRITS
#if defined WEIGHT_iq1_s
    bool minus = (c.scales.s >> e * 4 + 3 & 1) != 0;
#else
    bool minus = (own_16(c) >> e * 4 + 3 & 1) != 0;
#endif
    float m = d * (minus ? -1.125 : -0.875);
#else
    uint four = run_signs(c, e) >> upper * 4 & 15;
    uint minus = four * 0x00204081 & 0x01010101; // below 2^24 each: at full rate
    q = ((q ^ (minus << 8) - minus) + minus) ^ 0x80808080; // a byte is 128 + or - its value
    float m = -128 * d;
#endif
    return fma(vec4(q & 255, q >> 8 & 255, q >> 16 & 255, q >> 24), vec4(d), vec4(m));
}

vec4 weight_four(Cell c, uint s) { return half_run(c, s / 2, s % 2); }

struct Run { Cell c[2]; };

Run weight_run_load(uint64_t base, uint row, uint n_in, uint k, uint upper)
{
    Run run;
    uint super = k / 256, p = k / 32 % 2, cell = super * 8 + p * 4 + upper * 2;
    Scales scales = scales_of(base, row, n_in, super, p);
    [[unroll]] for (uint i = 0; i < 2; i++)
        run.c[i] = cell_of(base, row, n_in, cell + i, scales);
    return run;
}

void weight_run_decode(Run run, uint k, uint upper, out vec4 w[4])
{
    [[unroll]] for (uint i = 0; i < 4; i++)
        w[i] = half_run(run.c[i / 2], k / 64 % 4, i % 2);
}
