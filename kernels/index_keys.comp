// index_keys.comp - the keys by which blocks of positions are chosen: what each position brings, and
// where a position is the last of its block the block's key.
//
// x: F32 [n_tokens][DIM]; raw: F16 [n_rows][DIM]; keys: F16 [n_rows / BLOCK][DIM]. Matches
// op_index_keys. Grid: (1, n_tokens): one workgroup makes one row.
//   LANES  invocations
//   DIM    even, at most 256; N_ROT of them turn, the first ones
//   NEOX   1: pairs are (i, i + N_ROT / 2), 0: (2i, 2i + 1)
//   BLOCK  positions of a block
//   KEYS   0: rows of raw; 1: keys, behind all rows of raw
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;
layout(constant_id = 1) const uint DIM = 128;
layout(constant_id = 2) const uint N_ROT = 64;
layout(constant_id = 3) const uint NEOX = 1;
layout(constant_id = 4) const uint BLOCK = 4;
layout(constant_id = 5) const uint KEYS = 0;
layout(push_constant, scalar) uniform Push { push_index_keys p; };
#include "half.glsl"
#include "reduce.glsl"
#include "turn.glsl"

const uint EACH = (DIM + LANES - 1) / LANES;
shared float y_s[DIM];

void store_raw(uint64_t x, uint64_t to)
{
    for (uint c = gl_LocalInvocationID.x; c < DIM; c += LANES)
        store_s(to, c * 2, half_bits(load_f(x, c * 4)));
}

// y_s = the normalised mean of the block whose last row is `row`.
void make_mean(uint row)
{
    const uint64_t first = p.raw + uint64_t(row - (BLOCK - 1)) * p.raw_row;
    float mean[EACH], sum = 0;
    [[unroll]] for (uint i = 0; i < EACH; i++) {
        const uint c = gl_LocalInvocationID.x + i * LANES;
        mean[i] = 0;
        if (c < DIM)
            for (uint j = 0; j < BLOCK; j++)
                mean[i] += unpackHalf2x16(load_s(first, j * p.raw_row + c * 2)).x;
        mean[i] /= float(BLOCK);
        sum += mean[i] * mean[i];
    }
    const float factor = inversesqrt(workgroup_sum(sum) / float(DIM) + p.eps);
    [[unroll]] for (uint i = 0; i < EACH; i++) {
        const uint c = gl_LocalInvocationID.x + i * LANES;
        if (c < DIM)
            y_s[c] = mean[i] * factor * load_f(p.norm, c * 4);
    }
    barrier();
}

void store_key(uint64_t to, uint pos)
{
    for (uint i = gl_LocalInvocationID.x; i < N_ROT / 2; i += LANES) {
        const uint a = NEOX != 0 ? i : i * 2, b = NEOX != 0 ? i + N_ROT / 2 : i * 2 + 1;
        const vec2 cs = turn_of(pos, i), x = vec2(y_s[a], y_s[b]);
        store_s(to, a * 2, half_bits(x.x * cs.x - x.y * cs.y));
        store_s(to, b * 2, half_bits(x.x * cs.y + x.y * cs.x));
    }
    for (uint c = N_ROT + gl_LocalInvocationID.x; c < DIM; c += LANES)
        store_s(to, c * 2, half_bits(y_s[c]));
}

void main()
{
    const uint t = gl_WorkGroupID.y, pos = load_u(p.pos, t * 4), row = load_u(p.row, t * 4);
    if (row >= p.n_rows) // a caller's mistake must not write elsewhere
        return;
    if (KEYS == 0) {
        store_raw(p.x + uint64_t(t) * p.x_row, p.raw + uint64_t(row) * p.raw_row);
        return;
    }
    if (pos % BLOCK != BLOCK - 1)
        return;
    make_mean(row);
    store_key(p.keys + uint64_t(row / BLOCK) * p.key_row, pos - (BLOCK - 1));
}
