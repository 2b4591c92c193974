// matvec.comp - out[t][r] = (dot(w[r], x[t]) + bias[r]) * scale + residual[t][r] for 1 to 8 rows of
// x, up to three products of one x; or a GLU of two (compute.h). Matches op_matmul, op_matmul_glu.
// With -DEXPERTS the same of the expert that a slot chose, of one row of x a workgroup: a product, a
// GLU, or the sum over the slots. Matches op_matmul_experts, op_experts_glu, op_experts_down.
//
// A subgroup computes ROWS rows for all N rows of x: its lanes take cells (weight.glsl) in turn,
// each load of x serves ROWS rows, sums stay in registers and are folded over the lanes at the end,
// so that lane i finishes output i. SPLIT subgroups may share the columns of their rows. With
// BY_ROW an invocation has a row of its own, and the lanes of its subgroup load x together and
// broadcast it: for devices whose loads are gathers (llvmpipe). matvec.c chooses; constants and
// their values:
//   WORKGROUP a multiple of SUBGROUP * SPLIT     SUBGROUP 4 .. 64, the real size
//   SPLIT, ROWS, N powers of two, ROWS * N <= SUBGROUP unless BY_ROW (ROWS = 1)
// NORM: w * norm * x is summed beside x^2, and 1 / rms multiplies at the end: no dispatch of its
// own, no barrier. GLU: 1 + activation; UNARY: the activation has no gate. Grid: (workgroups of all
// products, one after another); with EXPERTS (workgroups, slots), with SUM (workgroups, tokens): the
// subgroups of SPLIT then take slots in turn, whole rows each, for rows of experts are short.
//
// Why float32. gfx1150 (16 CU, 120 GB/s) and gfx1151 (40 CU, 256 GB/s) at 2.9 GHz are brought 2.6
// and 2.2 bytes a cycle and CU by their memory: 4.6 and 3.9 weights of Q4_K. The two SIMDs of a CU
// issue 64 lanes a cycle. In ACO's ISA (Mesa 25.0.7) the loop of Q4_K takes 4.3 vector instructions
// a weight at N = 1, ROWS = 2 and 8.4 at N = 8, ROWS = 4 (most of its FMAs go in pairs: VOPD, which
// wants wave32): 15 and 7.6 weights a cycle and CU, 3.2 and 1.6 times what memory brings on
// gfx1150. Loads of x take 4 * N / ROWS bytes a weight from the vector cache: 9 and 37 of its 64 a
// cycle. So exact activations cost no time, and integer dot products on 8-bit ones would lose
// accuracy for nothing (the one format that falls short is Q2_K at N = 8: 0.9 on gfx1150). 64
// registers at N = 1 and 128 at N = 8, none spilled: 16 and 8 waves a SIMD of gfx1150; with its
// dozen 16-byte loads a lane each that is 1 MB of weights under way, where a latency of 0.8 us
// wants 0.1.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_ballot : require
#include "common.glsl"
layout(local_size_x_id = 0) in; // first: before it gl_WorkGroupSize is 1
#include "weight.glsl"
#include "activation.glsl"
layout(constant_id = 1) const uint SUBGROUP = 32; // its size
layout(constant_id = 2) const uint SPLIT = 1;     // subgroups that share the columns of their rows
layout(constant_id = 3) const uint ROWS = 1;      // of each of these
layout(constant_id = 4) const uint N = 1;         // rows of x
layout(constant_id = 5) const uint NORM = 0;
layout(constant_id = 6) const uint GLU = 0;       // 1 + activation
layout(constant_id = 7) const uint UNARY = 0;
layout(constant_id = 8) const uint TAIL = 0;      // n_in is not whole supers
layout(constant_id = 9) const uint BY_ROW = 0;    // a row an invocation
#ifdef EXPERTS
layout(constant_id = 10) const uint SUM = 0;
layout(constant_id = 11) const uint TABLE = 0; // w: addresses of experts
layout(push_constant, scalar) uniform Push { push_matvec_experts p; };
#else
const uint SUM = 0;
layout(push_constant, scalar) uniform Push { push_matvec p; };
#endif

const uint BASES = GLU != 0 && UNARY == 0 ? 2 : 1; // matrices read together
const uint V = ROWS * N;             // values of each
const bool WIDE = BASES * V <= 4;    // four sums a value, so that additions need not wait
// BY_ROW: cells whose x the lanes of a subgroup load together, and cells that share scales.
const uint CHUNK = BY_ROW != 0 && SUBGROUP > WEIGHT_GROUPS ? SUBGROUP / WEIGHT_GROUPS : 1;
const uint UNIT = BY_ROW != 0 && WEIGHT_LANES > 1 && CHUNK < 4 ? 4 : CHUNK;
const uint OWN = (CHUNK * WEIGHT_GROUPS + SUBGROUP - 1) / SUBGROUP;
shared float shared_sum[gl_WorkGroupSize.x];

// Sums v[0 .. n-1] over the subgroup; lane i ends with the sum of v[i % n]. n: a power of two.
#define FOLD(v, n, lane)                                                                           \
    [[unroll]] for (uint h = n / 2; h > 0; h >>= 1)                                                \
    {                                                                                              \
        bool upper = (lane & h) != 0;                                                              \
        [[unroll]] for (uint i = 0; i < h; i++) {                                                  \
            float keep = upper ? v[i + h] : v[i], give = upper ? v[i] : v[i + h];                  \
            v[i] = keep + subgroupShuffleXor(give, h);                                             \
        }                                                                                          \
    }                                                                                              \
    [[unroll]] for (uint h = n; h < SUBGROUP; h <<= 1)                                             \
        v[0] += subgroupShuffleXor(v[0], h);

// Adds the parts of the subgroups that split a row.
float gather(float v, uint part)
{
    if (SPLIT == 1)
        return v;
    shared_sum[gl_LocalInvocationIndex] = v;
    barrier();
    float sum = 0;
    for (uint i = 0; i < SPLIT; i++)
        sum += shared_sum[gl_LocalInvocationIndex + (i - part) * SUBGROUP];
    barrier();
    return sum;
}

struct Product { // w_up, bias_up: of a GLU with a gate
    uint64_t w, w_up, to, bias, bias_up, residual;
    uint n_out, n_x, group; // n_x: rows of x; group: of this product's workgroups
};
Product product;
uint64_t row[BASES * ROWS], x_row[N]; // addresses
vec4 acc[BASES * V];                  // [BASES][ROWS][N]
float squares[N];                     // of x, with NORM
Cell cells[BASES * ROWS];
vec4 own[N * OWN];                    // BY_ROW: this lane's share of x

// a + w x, in four sums or one.
vec4 add(vec4 a, vec4 w, vec4 x)
{
    if (WIDE)
        return fma(w, x, a);
    a.x = fma(w.x, x.x, fma(w.y, x.y, fma(w.z, x.z, fma(w.w, x.w, a.x))));
    return a;
}

// BY_ROW: x of the CHUNK cells from `at`, spread over the lanes, OWN groups of each token a lane.
void load_own(uint at)
{
    [[unroll]] for (uint j = 0; j < OWN; j++) {
        uint g = j * SUBGROUP + gl_SubgroupInvocationID;
        uint col = weight_col(at + g / WEIGHT_GROUPS, g % WEIGHT_GROUPS);
        bool inside = TAIL == 0 || col < p.n_in;
        [[unroll]] for (uint n = 0; n < N; n++) {
            vec4 v = load_f4(x_row[n], inside ? col * 4 : 0);
            own[n * OWN + j] = inside ? v : vec4(0);
        }
    }
}

// Group s of cell `at` + k, which is in cells[].
void add_group(uint at, uint k, uint s)
{
    uint col = weight_col(at + k, s), g = k * WEIGHT_GROUPS + s;
    bool inside = TAIL == 0 || col < p.n_in;
    vec4 x4[N];
    [[unroll]] for (uint n = 0; n < N; n++)
        if (BY_ROW != 0)
            x4[n] = subgroupBroadcast(own[n * OWN + g / SUBGROUP], g % SUBGROUP);
        else
            x4[n] = inside ? load_f4(x_row[n], col * 4) : vec4(0);
    if (NORM != 0) {
        vec4 norm = inside ? load_f4(p.norm, col * 4) : vec4(0);
        [[unroll]] for (uint n = 0; n < N; n++) {
            squares[n] += dot(x4[n], x4[n]);
            x4[n] *= norm;
        }
    }
    [[unroll]] for (uint r = 0; r < BASES * ROWS; r++) {
        vec4 w = weight_four(cells[r], s);
        [[unroll]] for (uint n = 0; n < N; n++)
            acc[r * N + n] = add(acc[r * N + n], w, x4[n]);
    }
}

// All cells of the rows from `first` in steps.
void add_cells(uint first, uint step)
{
    [[unroll]] for (uint i = 0; i < BASES * V; i++)
        acc[i] = vec4(0);
    [[unroll]] for (uint n = 0; n < N; n++)
        squares[n] = 0;
    uint n_cells = weight_cells(p.n_in);
    for (; first < n_cells; first += step) {
        Scales scales[BASES * ROWS];
        [[unroll]] for (uint r = 0; r < BASES * ROWS; r++)
            scales[r] = weight_scales(row[r], p.n_in, first);
        for (uint at = first; at < first + UNIT; at += CHUNK) {
            if (BY_ROW != 0)
                load_own(at);
            [[unroll]] for (uint k = 0; k < CHUNK; k++) {
                uint cell = TAIL * BY_ROW != 0 ? min(at + k, n_cells - 1) : at + k;
                [[unroll]] for (uint r = 0; r < BASES * ROWS; r++)
                    cells[r] = BY_ROW != 0 ? weight_cell(row[r], p.n_in, cell, scales[r])
                                           : weight_cell(row[r], p.n_in, cell);
                [[unroll]] for (uint s = 0; s < WEIGHT_GROUPS; s++)
                    add_group(at, k, s);
            }
        }
    }
}

#ifdef EXPERTS
// The product of a slot's expert.
void choose_product(uint slot)
{
    const uint64_t expert = load_u(p.id, slot * 4);
    const uint64_t biases = expert * p.bias_row;
    uint64_t w = p.w[0], up = p.w[1];
    if (TABLE != 0) {
        w = load_address(w, uint(expert) * 8);
        up = load_address(up, uint(expert) * 8) + p.up_at;
    } else {
        w += expert * p.expert_rows * p.w_row;
        up += expert * p.expert_rows * p.w_row;
    }
    const uint out_row = SUM != 0 ? gl_WorkGroupID.y : slot;
    product = Product(w, up, p.to + uint64_t(out_row) * p.to_row,
                      p.bias[0] != 0 ? p.bias[0] + biases : 0,
                      p.bias[1] != 0 ? p.bias[1] + biases : 0,
                      p.residual != 0 ? p.residual + uint64_t(out_row) * p.residual_row : 0, p.n_out,
                      1, gl_WorkGroupID.x);
    x_row[0] = p.x + uint64_t(slot / p.x_share) * p.x_row;
}
#else
// Which product this workgroup computes a part of.
void choose_product(uint per_group)
{
    product = Product(p.w[0], p.w[1], p.to[0], p.bias[0], p.bias[1], p.residual, p.n_out[0],
                      p.n_tokens, gl_WorkGroupID.x);
    [[unroll]] for (uint i = 1; i < 3 && GLU == 0; i++) {
        uint groups = (product.n_out + per_group - 1) / per_group;
        if (product.group < groups)
            break;
        product = Product(p.w[i], 0, p.to[i], p.bias[i], 0, 0, p.n_out[i], p.n_tokens,
                          product.group - groups);
    }
    [[unroll]] for (uint n = 0; n < N; n++)
        x_row[n] = p.x + uint64_t(min(n, p.n_tokens - 1)) * p.n_in * 4;
}
#endif

void choose_rows(uint row0)
{
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        uint64_t at = uint64_t(min(row0 + r, product.n_out - 1)) * p.w_row;
        row[r] = product.w + at;
        if (BASES == 2)
            row[ROWS + r] = product.w_up + at;
    }
}

// Row r of w with row n of x: v, and `up` beside it, are the sums of the products.
void finish(uint r, uint n, float v, float up, float squares)
{
    if (r >= product.n_out || n >= product.n_x)
        return;
    if (NORM != 0) {
        float scale = 1 / sqrt(squares / float(p.n_in) + p.eps);
        v *= scale, up *= scale;
    }
    if (product.bias != 0 && SUM == 0)
        v += load_f(product.bias, r * 4);
    if (BASES == 2 && product.bias_up != 0)
        up += load_f(product.bias_up, r * 4);
    if (GLU != 0)
        v = BASES == 2 ? glu(v, up, GLU - 1) : activation(v, GLU - 1);
#ifndef EXPERTS
    v *= p.scale;
#endif
    uint64_t at = uint64_t(n) * product.n_out * 4;
    if (product.residual != 0)
        v += load_f(product.residual + at, r * 4);
    store_f(product.to + at, r * 4, v);
}

float total(uint i) { return acc[i].x + acc[i].y + acc[i].z + acc[i].w; }

#ifdef EXPERTS
// Slots first, first + step ...: sum[r] += weight * (dot + bias) of row row0 + r, this lane's part.
void add_slots(uint first, uint step, uint row0, uint lane, inout float sum[V])
{
    for (uint s = first; s < p.n_used; s += step) {
        const uint slot = gl_WorkGroupID.y * p.n_used + s;
        const float weight = load_f(p.weight, slot * 4);
        choose_product(slot);
        choose_rows(row0);
        if (BY_ROW != 0)
            add_cells(0, UNIT);
        else
            add_cells(lane, SUBGROUP);
        [[unroll]] for (uint i = 0; i < V; i++) {
            float dot = total(i);
            if (product.bias != 0 && (BY_ROW != 0 || lane == 0) && row0 + i < p.n_out)
                dot += load_f(product.bias, (row0 + i) * 4);
            sum[i] += weight * dot;
        }
    }
}
#endif

void main()
{
    weight_begin(p.grid);
    const uint teams = gl_WorkGroupSize.x / SUBGROUP / SPLIT;
    const uint part = gl_SubgroupID % SPLIT, lane = gl_SubgroupInvocationID;
    const uint per_group = BY_ROW != 0 ? gl_WorkGroupSize.x : teams * ROWS;
#ifdef EXPERTS
    choose_product(SUM != 0 ? gl_WorkGroupID.y * p.n_used : gl_WorkGroupID.y);
#else
    choose_product(per_group);
#endif
    const uint row0 = product.group * per_group +
                      (BY_ROW != 0 ? gl_LocalInvocationIndex : gl_SubgroupID / SPLIT * ROWS);
    float sum[V], up[V];
    [[unroll]] for (uint i = 0; i < V; i++)
        sum[i] = up[i] = 0;
#ifdef EXPERTS
    if (SUM != 0)
        add_slots(part, SPLIT, row0, lane, sum);
#endif
    if (SUM == 0) {
        choose_rows(row0);
        if (BY_ROW != 0)
            add_cells(0, UNIT);
        else
            add_cells(part * SUBGROUP + lane, SUBGROUP * SPLIT);
        [[unroll]] for (uint i = 0; i < V; i++) {
            sum[i] = total(i);
            up[i] = BASES == 2 ? total(V + i) : 0;
        }
    }
    if (BY_ROW != 0) {
        [[unroll]] for (uint n = 0; n < N; n++)
            finish(row0, n, sum[n], up[n], squares[n]);
        return;
    }
    FOLD(sum, V, lane)
    sum[0] = gather(sum[0], part);
    if (BASES == 2) {
        FOLD(up, V, lane)
        up[0] = gather(up[0], part);
    }
    if (NORM != 0) {
        FOLD(squares, N, lane)
        squares[0] = gather(squares[0], part);
    }
    if (part == 0 && lane < V)
        finish(row0 + lane / N, lane % N, sum[0], up[0], squares[0]);
}
