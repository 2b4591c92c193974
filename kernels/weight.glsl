// weight.glsl - weights of one storage format (-DWEIGHT_q4_k ...), decoded as dtype_decode() does.
//
// How rows lie in memory is said in compute/vulkan/layout.c: supers of WEIGHT_COLS columns, each
// cut into WEIGHT_LANES cells; a cell is WEIGHT_GROUPS groups of four neighbouring columns, the
// group s beginning at weight_col(cell, s). IQ1, IQ2 and IQ3 have weight_grid.glsl.
// What a kernel calls:
//   weight_begin(grid)               once, first thing in main, by every invocation (has a barrier);
//                                    grid: the address of the format's codebook, where it has one
//   weight_cell(row, n_in, cell)     loads a cell of the row at that address, cell <
//                                    weight_cells(n_in)
//   weight_cell(row, n_in, cell, scales)  the same, with scales = weight_scales(row, n_in, cell),
//                                    which are those of cells 4 i .. 4 i + 3
//   weight_four(c, s)                the four weights of its group s; s constant after unrolling
//   weight_run(row, n_in, at, w)     16 weights from column `at`, a multiple of 16
//   weight_run_load(base, row, n_in, k, upper), weight_run_decode(run, k, upper, w)
//                                    its halves, for kernels that load long before they use: row is
//                                    an offset from base, k uniform and a multiple of 32, upper 1 for
//                                    the run at k + 16
// Columns between n_in and the end of the last super decode to finite values of no meaning:
// multiply them by 0. Every weight is d * q + m, one fused operation; all products in it are exact
// in float32, so the value is that of the CPU to the last bit. q are unsigned bytes, four to a
// word, since AMD converts any byte of a register in one instruction.
#if defined WEIGHT_f32
#define WEIGHT_FLOAT
const uint WEIGHT_LANES = 1, WEIGHT_GROUPS = 1;
#elif defined WEIGHT_f16 || defined WEIGHT_bf16
#define WEIGHT_FLOAT
const uint WEIGHT_LANES = 1, WEIGHT_GROUPS = 2;
#elif defined WEIGHT_q8_0
const uint WEIGHT_LANES = 4, WEIGHT_GROUPS = 4;
#elif defined WEIGHT_iq1_s || defined WEIGHT_iq1_m || defined WEIGHT_iq2_xxs || \
    defined WEIGHT_iq2_xs || defined WEIGHT_iq2_s || defined WEIGHT_iq3_xxs || defined WEIGHT_iq3_s
#define WEIGHT_GRID
const uint WEIGHT_LANES = 8, WEIGHT_GROUPS = 8;
#elif defined WEIGHT_tq2_0 || defined WEIGHT_q2_k || defined WEIGHT_q3_k || \
    defined WEIGHT_q4_k || defined WEIGHT_q5_k || defined WEIGHT_q6_k
const uint WEIGHT_LANES = 8, WEIGHT_GROUPS = 8;
#else
const uint WEIGHT_LANES = 4, WEIGHT_GROUPS = 8;
#endif
const uint WEIGHT_COLS = 4 * WEIGHT_LANES * WEIGHT_GROUPS;

uint weight_cells(uint n_in) { return (n_in + WEIGHT_COLS - 1) / WEIGHT_COLS * WEIGHT_LANES; }
uint weight_col(uint cell, uint s)
{
#if defined WEIGHT_GRID
    return cell / 8 * 256 + s / 2 * 64 + cell % 8 * 8 + s % 2 * 4;
#else
    return cell / WEIGHT_LANES * WEIGHT_COLS + s * (4 * WEIGHT_LANES) + cell % WEIGHT_LANES * 4;
#endif
}

// Bytes of a plane with n bytes a super.
uint weight_plane(uint n_in, uint n)
{
    return ((n_in + WEIGHT_COLS - 1) / WEIGHT_COLS * n + 15) & ~15u;
}

#if defined WEIGHT_iq4_nl || defined WEIGHT_iq4_xs || defined WEIGHT_mxfp4
// A nibble is an index: the table lies in shared memory, a bank an entry, so that lookups never
// collide.
#define WEIGHT_CODEBOOK
shared float weight_value[16];
#if defined WEIGHT_mxfp4
const float weight_values[16] = float[](0, 1, 2, 3, 4, 6, 8, 12, -0., -1, -2, -3, -4, -6, -8, -12);
#else
const float weight_values[16] = float[](-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53,
                                        69, 89, 113);
#endif
void weight_begin(uint64_t grid)
{
    for (uint i = gl_LocalInvocationIndex; i < 16; i += gl_WorkGroupSize.x)
        weight_value[i] = weight_values[i];
    barrier();
}
#elif !defined WEIGHT_GRID
void weight_begin(uint64_t grid) {}
#endif

#if defined WEIGHT_FLOAT
// ---- F32, F16, BF16: cells of 16 bytes ----------------------------------------------------------

struct Scales { uint none; };
struct Cell { uvec4 q; };

Scales weight_scales(uint64_t row, uint n_in, uint cell) { return Scales(0); }
Cell weight_cell(uint64_t row, uint n_in, uint cell, Scales scales)
{
    return Cell(load_u4(row, cell * 16));
}
Cell weight_cell(uint64_t row, uint n_in, uint cell) { return Cell(load_u4(row, cell * 16)); }

vec4 weight_four(Cell c, uint s)
{
#if defined WEIGHT_f32
    return uintBitsToFloat(c.q);
#else
    uvec2 q = s == 0 ? c.q.xy : c.q.zw;
#if defined WEIGHT_f16
    return vec4(unpackHalf2x16(q.x), unpackHalf2x16(q.y));
#else
    return uintBitsToFloat(uvec4(q.x << 16, q.x & 0xffff0000, q.y << 16, q.y & 0xffff0000));
#endif
#endif
}

struct Run { uvec4 q[4 / WEIGHT_GROUPS]; };

Run weight_run_load(uint64_t base, uint row, uint n_in, uint k, uint upper)
{
    Run run;
    [[unroll]] for (uint i = 0; i < 4 / WEIGHT_GROUPS; i++) {
        uint at = k + upper * 16 + i * WEIGHT_COLS; // beyond n_in any value of the row serves
        run.q[i] = load_u4(base, row + (at < n_in ? at / WEIGHT_COLS : 0) * 16);
    }
    return run;
}

void weight_run_decode(Run run, uint k, uint upper, out vec4 w[4])
{
    [[unroll]] for (uint i = 0; i < 4; i++)
        w[i] = weight_four(Cell(run.q[i / WEIGHT_GROUPS]), i % WEIGHT_GROUPS);
}

#elif defined WEIGHT_GRID
#include "weight_grid.glsl"
#else
// ---- quantised ----------------------------------------------------------------------------------
// Each format: where its planes are, which words of a cell hold group s (weight_q_word), how four
// quants come out of them (weight_quad), and d and m of group s (weight_scale).

#if defined WEIGHT_q8_0
#define WEIGHT_Q_WORDS 4
uint weight_q_word(uint s) { return s; }
uint weight_quad(uint q, uint h, uint s) { return q ^ 0x80808080; } // + 128
#elif defined WEIGHT_q6_k
#define WEIGHT_Q_WORDS 4
#define WEIGHT_H_WORDS 2
uint weight_q_word(uint s) { return s / 4 * 2 + s % 2; }
uint weight_quad(uint q, uint h, uint s)
{
    uint high = s % 4 < 3 ? h << (4 - 2 * (s % 4)) : h >> 2;
    return q >> s / 2 % 2 * 4 & 0x0f0f0f0f | high & 0x30303030;
}
#elif defined WEIGHT_q2_k || defined WEIGHT_q3_k || defined WEIGHT_tq2_0
#define WEIGHT_Q_WORDS 2
uint weight_q_word(uint s) { return s / 4; }
uint weight_quad(uint q, uint h, uint s)
{
#if defined WEIGHT_q2_k || defined WEIGHT_tq2_0
    return q >> s % 4 * 2 & 0x03030303;
#else
    uint high = s < 2 ? h << (2 - s) : h >> (s - 2);
    return q >> s % 4 * 2 & 0x03030303 | high & 0x04040404;
#endif
}
#if defined WEIGHT_q3_k
#define WEIGHT_H_WORDS 1
#endif
#else
#define WEIGHT_Q_WORDS 4
uint weight_q_word(uint s) { return s / 2; }
uint weight_quad(uint q, uint h, uint s)
{
#if defined WEIGHT_q5_0 || defined WEIGHT_q5_1 || defined WEIGHT_q5_k
    uint high = s < 4 ? h << (4 - s) : h >> (s - 4);
    return q >> s % 2 * 4 & 0x0f0f0f0f | high & 0x10101010;
#else
    return q >> s % 2 * 4 & 0x0f0f0f0f;
#endif
}
#if defined WEIGHT_q5_0 || defined WEIGHT_q5_1 || defined WEIGHT_q5_k
#define WEIGHT_H_WORDS 1
#endif
#endif

const uint WEIGHT_Q_BYTES = WEIGHT_LANES * WEIGHT_Q_WORDS * 4; // of a super
#if defined WEIGHT_H_WORDS
const uint WEIGHT_H_BYTES = WEIGHT_LANES * WEIGHT_H_WORDS * 4;
#else
#define WEIGHT_H_WORDS 0
const uint WEIGHT_H_BYTES = 0;
#endif
uint weight_h_at(uint n_in) { return weight_plane(n_in, WEIGHT_Q_BYTES); }
uint weight_scales_at(uint n_in) { return weight_h_at(n_in) + weight_plane(n_in, WEIGHT_H_BYTES); }

uint byte_of(uvec2 v, uint i) { return (i < 4 ? v.x : v.y) >> i % 4 * 8 & 255; }
float half_of(uint v, uint i) { return i == 0 ? unpackHalf2x16(v).x : unpackHalf2x16(v).y; }

// The scales of a super, of which weight_scale(v, s) is (d, m) of group s. Those of 16 weights lie
// by halves: p is 1 for the cells whose columns are the upper 16 of 32.
#if defined WEIGHT_q8_0
struct Scales { uint d; };
Scales scales_of(uint64_t row, uint at, uint n_in, uint super, uint p)
{
    return Scales(load_u(row, at + super * 4));
}
vec2 weight_scale(Scales v, uint s)
{
    float d = half_of(v.d, s / 2);
    return vec2(d, -128 * d);
}
#elif defined WEIGHT_q4_0 || defined WEIGHT_q5_0 || defined WEIGHT_iq4_nl
struct Scales { uvec2 d; };
Scales scales_of(uint64_t row, uint at, uint n_in, uint super, uint p)
{
    return Scales(load_u2(row, at + super * 8));
}
vec2 weight_scale(Scales v, uint s)
{
    float d = half_of(s < 4 ? v.d.x : v.d.y, s / 2 % 2);
#if defined WEIGHT_q4_0
    return vec2(d, -8 * d);
#elif defined WEIGHT_q5_0
    return vec2(d, -16 * d);
#else
    return vec2(d, 0);
#endif
}
#elif defined WEIGHT_q4_1 || defined WEIGHT_q5_1
struct Scales { uvec4 d_m; };
Scales scales_of(uint64_t row, uint at, uint n_in, uint super, uint p)
{
    return Scales(load_u4(row, at + super * 16));
}
vec2 weight_scale(Scales v, uint s)
{
    return unpackHalf2x16(s < 4 ? (s < 2 ? v.d_m.x : v.d_m.y) : (s < 6 ? v.d_m.z : v.d_m.w));
}
#elif defined WEIGHT_mxfp4
struct Scales { uint e; };
Scales scales_of(uint64_t row, uint at, uint n_in, uint super, uint p)
{
    return Scales(load_u(row, at + super * 4));
}
vec2 weight_scale(Scales v, uint s) // 2^(e - 128), as the values are doubled
{
    uint e = v.e >> s / 2 * 8 & 255;
    return vec2(uintBitsToFloat(e < 2 ? 0x00200000 << e : (e - 1) << 23), 0);
}
#elif defined WEIGHT_iq4_xs
struct Scales { float d; uint low, high; }; // of the four sub-blocks of this half
Scales scales_of(uint64_t row, uint at, uint n_in, uint super, uint p)
{
    uvec2 v = load_u2(row, at + super / 2 * 8);
    return Scales(unpackHalf2x16(v.x).x, v.y >> super % 2 * 16, v.x >> (16 + super % 2 * 8));
}
vec2 weight_scale(Scales v, uint s)
{
    uint six = v.low >> s / 2 * 4 & 15 | (v.high >> s / 2 * 2 & 3) << 4;
    return vec2(v.d * (float(six) - 32), 0);
}
#elif defined WEIGHT_tq2_0
struct Scales { float d; };
Scales scales_of(uint64_t row, uint at, uint n_in, uint super, uint p)
{
    return Scales(load_h(row, at + super * 2));
}
vec2 weight_scale(Scales v, uint s) { return vec2(v.d, -v.d); }
#elif defined WEIGHT_q2_k
struct Scales { uvec2 v; vec2 d; };
Scales scales_of(uint64_t row, uint at, uint n_in, uint super, uint p)
{
    return Scales(load_u2(row, at + super * 16 + p * 8),
                  unpackHalf2x16(load_u(row, at + weight_plane(n_in, 16) + super * 4)));
}
vec2 weight_scale(Scales v, uint s)
{
    uint both = byte_of(v.v, s);
    return vec2(v.d.x * float(both & 15), -(v.d.y * float(both >> 4)));
}
#elif defined WEIGHT_q3_k
struct Scales { uint low, high; float d; };
Scales scales_of(uint64_t row, uint at, uint n_in, uint super, uint p)
{
    return Scales(load_u(row, at + super * 12 + p * 4), load_u(row, at + super * 12 + 8) >> p * 16,
                  load_h(row, at + weight_plane(n_in, 12) + super * 2));
}
vec2 weight_scale(Scales v, uint s)
{
    uint six = v.low >> s * 4 & 15 | (v.high >> s * 2 & 3) << 4;
    float d = v.d * (float(six) - 32);
    return vec2(d, -4 * d);
}
#elif defined WEIGHT_q4_k || defined WEIGHT_q5_k
struct Scales { uvec4 v; }; // d, dmin, then the 12 bytes
Scales scales_of(uint64_t row, uint at, uint n_in, uint super, uint p)
{
    return Scales(load_u4(row, at + super * 16));
}
vec2 weight_scale(Scales v, uint s)
{
    vec2 d = unpackHalf2x16(v.v.x);
    uint scale = s < 4 ? v.v.y & 0x3f3f3f3f : v.v.w & 0x0f0f0f0f | v.v.y >> 2 & 0x30303030;
    uint least = s < 4 ? v.v.z & 0x3f3f3f3f : v.v.w >> 4 & 0x0f0f0f0f | v.v.z >> 2 & 0x30303030;
    return vec2(d.x * float(scale >> s % 4 * 8 & 255), -(d.y * float(least >> s % 4 * 8 & 255)));
}
#elif defined WEIGHT_q6_k
struct Scales { uvec2 v; float d; };
Scales scales_of(uint64_t row, uint at, uint n_in, uint super, uint p)
{
    return Scales(load_u2(row, at + super * 16 + p * 8),
                  load_h(row, at + weight_plane(n_in, 16) + super * 2));
}
vec2 weight_scale(Scales v, uint s)
{
    float d = v.d * float(bitfieldExtract(int(s < 4 ? v.v.x : v.v.y), int(s % 4 * 8), 8));
    return vec2(d, -32 * d);
}
#endif

vec4 weight_decode(uint quad, vec2 d)
{
    uvec4 q = uvec4(quad & 255, quad >> 8 & 255, quad >> 16 & 255, quad >> 24);
#if defined WEIGHT_CODEBOOK
    return vec4(weight_value[q.x], weight_value[q.y], weight_value[q.z], weight_value[q.w]) * d.x;
#else
    return fma(vec4(q), vec4(d.x), vec4(d.y));
#endif
}

struct Cell {
    uint q[WEIGHT_Q_WORDS];
    uvec2 h;
    Scales scales;
};

Scales weight_scales(uint64_t row, uint n_in, uint cell)
{
    return scales_of(row, weight_scales_at(n_in), n_in, cell / WEIGHT_LANES,
                     cell % WEIGHT_LANES / 4);
}

Cell weight_cell(uint64_t row, uint n_in, uint cell, Scales scales)
{
    Cell c;
#if WEIGHT_Q_WORDS == 4
    uvec4 q = load_u4(row, cell * 16);
    c.q[0] = q.x, c.q[1] = q.y, c.q[2] = q.z, c.q[3] = q.w;
#else
    uvec2 q = load_u2(row, cell * 8);
    c.q[0] = q.x, c.q[1] = q.y;
#endif
#if WEIGHT_H_WORDS == 2
    c.h = load_u2(row, weight_h_at(n_in) + cell * 8);
#elif WEIGHT_H_WORDS == 1
    c.h = uvec2(load_u(row, weight_h_at(n_in) + cell * 4));
#else
    c.h = uvec2(0);
#endif
    c.scales = scales;
    return c;
}

Cell weight_cell(uint64_t row, uint n_in, uint cell)
{
    return weight_cell(row, n_in, cell, weight_scales(row, n_in, cell));
}

vec4 weight_four(Cell c, uint s)
{
    uint h = WEIGHT_H_WORDS == 2 && s >= 4 ? c.h.y : c.h.x;
    return weight_decode(weight_quad(c.q[weight_q_word(s)], h, s), weight_scale(c.scales, s));
}

struct Run {
    uint q[4], h[4];
    Scales scales;
};

// The group that a run is part of, and its first cell within the super: for eight lanes s is as
// uniform as k is.
uint weight_run_group(uint k, uint upper)
{
    return k % WEIGHT_COLS / (4 * WEIGHT_LANES) + (WEIGHT_LANES == 4 ? upper : 0);
}

Run weight_run_load(uint64_t base, uint row, uint n_in, uint k, uint upper)
{
    Run run;
    uint super = k / WEIGHT_COLS, s = weight_run_group(k, upper);
    uint l = WEIGHT_LANES == 8 ? upper * 4 : 0, cell = super * WEIGHT_LANES;
    run.scales = scales_of(base, row + weight_scales_at(n_in), n_in, super, l / 4);
    [[unroll]] for (uint i = 0; i < 4; i++) {
        run.q[i] = load_u(base, row + l * (WEIGHT_Q_WORDS * 4) +
                                    ((cell + i) * WEIGHT_Q_WORDS + weight_q_word(s)) * 4);
        if (WEIGHT_H_WORDS > 0)
            run.h[i] = load_u(base, row + l * (WEIGHT_H_WORDS * 4) + weight_h_at(n_in) +
                                        ((cell + i) * WEIGHT_H_WORDS +
                                         (WEIGHT_H_WORDS == 2 ? s / 4 : 0)) * 4);
        else
            run.h[i] = 0;
    }
    return run;
}

void weight_run_decode(Run run, uint k, uint upper, out vec4 w[4])
{
    uint s = weight_run_group(k, upper);
    vec2 d = weight_scale(run.scales, s);
    [[unroll]] for (uint i = 0; i < 4; i++)
        w[i] = weight_decode(weight_quad(run.q[i], run.h[i], s), d);
}
#endif

void weight_run(uint64_t row, uint n_in, uint at, out vec4 w[4])
{
    uint k = at & ~31u, upper = at >> 4 & 1;
    weight_run_decode(weight_run_load(row, 0, n_in, k, upper), k, upper, w);
}
