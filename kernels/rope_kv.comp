// rope_kv.comp - turns q in place, puts turned k and v into their rows of the caches.
//
// q: F32 [n_tokens][n_head * head_dim]; k, v: F32 [n_tokens][n_head_kv * head_dim], only read;
// caches: -DCACHE_f16, or -DCACHE_q8_0 whose rows are two planes: integers [n_cols], then scales
// F16 [n_cols / 32], each padded to 16 bytes. Matches op_rope_kv.
// Grid: (groups of q + groups of k + groups of v, n_tokens); a group is per_group heads of q or k,
// or HEAD_DIM * per_group columns of v; for Q8_0 of k too.
//   LANES     invocations: 8 .. 256
//   HEAD_DIM  even
//
// The angle is the fraction of a revolution pos * turns[i] modulo 2^64, of which the upper 32 bits
// are kept: exact at any position, unlike pos * frequency in floating point. Its sine and cosine are
// two short polynomials around the nearest quarter turn: error below 1e-7 on every device, where
// sin() promises 2^-11. One invocation turns pair i of all heads of its group, so that a prompt
// computes few sines; decoding takes one head a group, so that all heads turn at once.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;
layout(constant_id = 1) const uint HEAD_DIM = 128;
layout(push_constant, scalar) uniform Push { push_rope_kv p; };
#include "half.glsl"

// Cosine and sine of pair i at this token's position.
vec2 turn_of(uint pos, uint i)
{
    if (i * 2 >= p.n_rot)
        return vec2(1, 0);
    const uvec2 turns = load_u2(p.turns, i * 8);
    uint high, low;
    umulExtended(pos, turns.y, high, low);
    const uint phase = high + pos * turns.x, quarter = (phase + 0x20000000u) >> 30;
    const float a = float(int(phase - (quarter << 30))) * 1.4629180792671596e-9; // 2 pi / 2^32
    const float a2 = a * a;
    const float s = a + a * a2 * (-0.16666650772094727 +
                                  a2 * (0.00833197869360447 + a2 * -0.00019495627202559263));
    const float c = 1 + a2 * (-0.5 + a2 * (0.04166664555668831 +
                                           a2 * (-0.001388736767694354 +
                                                 a2 * 2.4438442778773606e-05)));
    vec2 cs = (quarter & 1) != 0 ? vec2(-s, c) : vec2(c, s);
    if ((quarter & 2) != 0)
        cs = -cs;
    return cs * p.magnitude;
}

// The two columns of pair i within a head; pairs past n_rot / 2 are (2i, 2i + 1), not turned.
uvec2 columns_of(uint i)
{
    return p.neox != 0 && i * 2 < p.n_rot ? uvec2(i, i + p.n_rot / 2) : uvec2(i * 2, i * 2 + 1);
}

vec2 turned(vec2 x, vec2 cs)
{
    return vec2(x.x * cs.x - x.y * cs.y, x.x * cs.y + x.y * cs.x);
}

void turn_q(uint64_t q, uint pos, uint head0)
{
    const uint end = min(head0 + p.per_group, p.n_head);
    for (uint i = gl_LocalInvocationID.x; i * 2 < p.n_rot; i += LANES) {
        const vec2 cs = turn_of(pos, i);
        const uvec2 c = columns_of(i);
        for (uint head = head0; head < end; head++) {
            const uint at = head * HEAD_DIM * 4;
            const vec2 y = turned(vec2(load_f(q, at + c.x * 4), load_f(q, at + c.y * 4)), cs);
            store_f(q, at + c.x * 4, y.x);
            store_f(q, at + c.y * 4, y.y);
        }
    }
}

#ifdef CACHE_f16
void store_k(uint64_t to, uint64_t k, uint pos, uint group)
{
    const uint head0 = group * p.per_group, end = min(head0 + p.per_group, p.n_head_kv);
    for (uint i = gl_LocalInvocationID.x; i < HEAD_DIM / 2; i += LANES) {
        const vec2 cs = turn_of(pos, i);
        const uvec2 c = columns_of(i);
        for (uint head = head0; head < end; head++) {
            const uint at = head * HEAD_DIM;
            const vec2 y =
                turned(vec2(load_f(k, (at + c.x) * 4), load_f(k, (at + c.y) * 4)), cs);
            store_s(to, (at + c.x) * 2, half_bits(y.x));
            store_s(to, (at + c.y) * 2, half_bits(y.y));
        }
    }
}

void store_v(uint64_t to, uint64_t v, uint group)
{
    const uint end = min((group + 1) * p.per_group, p.n_head_kv) * HEAD_DIM;
    for (uint c = group * p.per_group * HEAD_DIM + gl_LocalInvocationID.x * 2; c < end;
         c += LANES * 2)
        store_u(to, c * 2,
                half_bits(load_f(v, c * 4)) | half_bits(load_f(v, c * 4 + 4)) << 16);
}
#endif

#ifdef CACHE_q8_0
// Column c of the row, turned.
float turned_column(uint64_t k, uint pos, uint c)
{
    const uint d = c % HEAD_DIM, n_pairs = p.n_rot / 2;
    if (d >= p.n_rot)
        return load_f(k, c * 4);
    const bool second = p.neox != 0 ? d >= n_pairs : (d & 1) != 0;
    const uint apart = p.neox != 0 ? n_pairs : 1;
    const uint c0 = second ? c - apart : c;
    const uint i = p.neox != 0 ? (second ? d - n_pairs : d) : d / 2;
    const vec2 y =
        turned(vec2(load_f(k, c0 * 4), load_f(k, (c0 + apart) * 4)), turn_of(pos, i));
    return second ? y.y : y.x;
}

// Four neighbouring invocations convert a block of 32 columns, 8 each.
void store_blocks(uint64_t to, uint64_t x, bool turn, uint pos, uint group)
{
    const uint n_cols = p.n_head_kv * HEAD_DIM, per_group = p.per_group * HEAD_DIM;
    const uint lane = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    for (uint at = 0; at < per_group; at += LANES * 8) {
        const uint c = group * per_group + at + lane * 8;
        const bool mine = at + lane * 8 < per_group && c < n_cols;
        float y[8], most = 0;
        for (uint j = 0; j < 8; j++) {
            y[j] = !mine ? 0 : turn ? turned_column(x, pos, c + j) : load_f(x, (c + j) * 4);
            most = max(most, abs(y[j]));
        }
        most = max(most, subgroupShuffleXor(most, 1));
        most = max(most, subgroupShuffleXor(most, 2));
        if (!mine)
            continue;
        const float inverse = most > 0 ? 127 / most : 0;
        uvec2 packed = uvec2(0);
        for (uint j = 0; j < 8; j++)
            packed[j / 4] |= (uint(int(roundEven(y[j] * inverse))) & 0xffu) << (j % 4 * 8);
        store_u2(to, c, packed);
        if (lane % 4 == 0)
            store_s(to, ((n_cols + 15) & ~15u) + c / 32 * 2, half_bits(most / 127));
    }
}
void store_k(uint64_t to, uint64_t k, uint pos, uint group)
{
    store_blocks(to, k, true, pos, group);
}
void store_v(uint64_t to, uint64_t v, uint group) { store_blocks(to, v, false, 0, group); }
#endif

void main()
{
    const uint t = gl_WorkGroupID.y;
    const uint n_q = p.n_rot > 0 ? (p.n_head + p.per_group - 1) / p.per_group : 0;
    const uint n_k = (p.n_head_kv + p.per_group - 1) / p.per_group;
    const uint group = gl_WorkGroupID.x, pos = load_u(p.pos, t * 4), row = load_u(p.row, t * 4);
    if (group < n_q)
        turn_q(p.q + uint64_t(t) * p.q_row, pos, group * p.per_group);
    else if (row >= p.n_rows) // a caller's mistake must not write elsewhere
        return;
    else if (group < n_q + n_k)
        store_k(p.cache_k + uint64_t(row) * p.cache_k_row, p.k + uint64_t(t) * p.k_row, pos,
                group - n_q);
    else
        store_v(p.cache_v + uint64_t(row) * p.cache_v_row, p.v + uint64_t(t) * p.v_row,
                group - n_q - n_k);
}
