// rope_kv.comp - turns q in place, puts turned k and v into their rows of the caches; before that
// heads may be normalised, each by itself.
//
// q: F32 [n_tokens][n_head heads, Q_STRIDE apart]; k: F32 [n_tokens][n_head_kv * HEAD_DIM]; v:
// [n_tokens][n_head_kv * HEAD_DIM_V]; k and v are only read, and may be missing. caches: -DCACHE_f16,
// or -DCACHE_q8_0 whose rows are two planes: integers [n_cols], then scales F16 [n_cols / 32], each
// padded to 16 bytes. Matches op_rope_kv.
// Grid: (groups of q + groups of k + groups of v, n_tokens); a group is PER_GROUP heads.
//   LANES       invocations: 8 .. 256
//   HEAD_DIM    even, as HEAD_DIM_V; Q8_0: PER_GROUP heads of both are whole blocks of 32
//   FIRST       where the N_ROT columns that turn begin in a head, even
//   NEOX        1: pairs are (i, i + N_ROT / 2), 0: (2i, 2i + 1)
//   FLAGS       bits: 1 q, 2 k, 4 v is normalised (v without weights); 8 q is multiplied by what
//               grows with the position; 16 all turn back
//
// One invocation turns pair i of all heads of its group, so that a prompt
// computes few sines; decoding takes one head a group, so that all heads turn at once. A norm reads
// its head once more, the second time out of the cache.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;
layout(constant_id = 1) const uint HEAD_DIM = 128;
layout(constant_id = 2) const uint HEAD_DIM_V = 128;
layout(constant_id = 3) const uint Q_STRIDE = 128;
layout(constant_id = 4) const uint FIRST = 0;
layout(constant_id = 5) const uint N_ROT = 128;
layout(constant_id = 6) const uint NEOX = 0;
layout(constant_id = 7) const uint PER_GROUP = 1;
layout(constant_id = 8) const uint FLAGS = 0;
layout(push_constant, scalar) uniform Push { push_rope_kv p; };
#include "half.glsl"
#include "reduce.glsl"
#include "turn.glsl"

const bool Q_NORM = (FLAGS & 1) != 0, K_NORM = (FLAGS & 2) != 0, V_NORM = (FLAGS & 4) != 0;
const bool TEMPERED = (FLAGS & 8) != 0, WHOLE_Q = Q_NORM || TEMPERED, BACK = (FLAGS & 16) != 0;
shared float factor_s[PER_GROUP]; // 1 / the size of each head

// Measures the group's heads of `width` columns, `stride` apart; all invocations together.
void measure(uint64_t x, uint head0, uint end, uint stride, uint width)
{
    for (uint head = head0; head < end; head++) {
        float sum = 0;
        for (uint c = gl_LocalInvocationID.x; c < width; c += LANES) {
            const float v = load_f(x, (head * stride + c) * 4);
            sum += v * v;
        }
        sum = workgroup_sum(sum);
        if (gl_LocalInvocationID.x == 0)
            factor_s[head - head0] = inversesqrt(sum / float(width) + p.eps);
    }
    barrier();
}

// The two columns of pair i within a head; pairs past N_ROT / 2 are the columns that do not turn.
uvec2 columns_of(uint i)
{
    if (i * 2 < N_ROT)
        return FIRST + (NEOX != 0 ? uvec2(i, i + N_ROT / 2) : uvec2(i * 2, i * 2 + 1));
    const uint c = i * 2 - N_ROT, at = c < FIRST ? c : c + N_ROT;
    return uvec2(at, at + 1);
}

vec2 turned(vec2 x, vec2 cs)
{
    if (BACK)
        cs.y = -cs.y;
    return vec2(x.x * cs.x - x.y * cs.y, x.x * cs.y + x.y * cs.x);
}

// Columns c of a head that starts at column `at` of x, normalised.
vec2 load_pair(uint64_t x, uint at, uvec2 c, bool normalise, uint64_t norm, uint head)
{
    vec2 v = vec2(load_f(x, (at + c.x) * 4), load_f(x, (at + c.y) * 4));
    if (normalise)
        v *= factor_s[head] * vec2(load_f(norm, c.x * 4), load_f(norm, c.y * 4));
    return v;
}

void turn_q(uint64_t q, uint pos, uint head0)
{
    const uint end = min(head0 + PER_GROUP, p.n_head);
    if (Q_NORM)
        measure(q, head0, end, Q_STRIDE, HEAD_DIM);
    const float scale =
        TEMPERED ? 1 + p.temperature * log(float(pos / p.temperature_length + 1)) : 1;
    for (uint i = gl_LocalInvocationID.x; i * 2 < (WHOLE_Q ? HEAD_DIM : N_ROT); i += LANES) {
        const vec2 cs = turn_of(pos, i) * scale;
        const uvec2 c = columns_of(i);
        for (uint head = head0; head < end; head++) {
            const uint at = head * Q_STRIDE;
            const vec2 y = turned(load_pair(q, at, c, Q_NORM, p.q_norm, head - head0), cs);
            store_f(q, (at + c.x) * 4, y.x);
            store_f(q, (at + c.y) * 4, y.y);
        }
    }
}

#ifdef CACHE_f16
void store_k(uint64_t to, uint64_t k, uint pos, uint head0, uint end)
{
    for (uint i = gl_LocalInvocationID.x; i < HEAD_DIM / 2; i += LANES) {
        const vec2 cs = turn_of(pos, i);
        const uvec2 c = columns_of(i);
        for (uint head = head0; head < end; head++) {
            const uint at = head * HEAD_DIM;
            const vec2 y = turned(load_pair(k, at, c, K_NORM, p.k_norm, head - head0), cs);
            store_s(to, (at + c.x) * 2, half_bits(y.x));
            store_s(to, (at + c.y) * 2, half_bits(y.y));
        }
    }
}

void store_v(uint64_t to, uint64_t v, uint head0, uint end)
{
    for (uint c = head0 * HEAD_DIM_V + gl_LocalInvocationID.x * 2; c < end * HEAD_DIM_V;
         c += LANES * 2) {
        const float factor = V_NORM ? factor_s[c / HEAD_DIM_V - head0] : 1;
        store_u(to, c * 2,
                half_bits(load_f(v, c * 4) * factor) |
                    half_bits(load_f(v, c * 4 + 4) * factor) << 16);
    }
}
#endif

#ifdef CACHE_q8_0
// Column c of the row, turned; head0 is the group's first.
float turned_column(uint64_t k, uint pos, uint c, uint head0)
{
    const uint head = c / HEAD_DIM, at = head * HEAD_DIM, d = c - at, n_pairs = N_ROT / 2;
    if (d < FIRST || d >= FIRST + N_ROT)
        return load_pair(k, at, uvec2(d), K_NORM, p.k_norm, head - head0).x;
    const uint r = d - FIRST; // among those that turn
    const bool second = NEOX != 0 ? r >= n_pairs : (r & 1) != 0;
    const uint i = NEOX != 0 ? (second ? r - n_pairs : r) : r / 2;
    const vec2 y = turned(load_pair(k, at, columns_of(i), K_NORM, p.k_norm, head - head0),
                          turn_of(pos, i));
    return second ? y.y : y.x;
}

float column_of(uint64_t x, bool keys, uint pos, uint c, uint head0)
{
    if (keys)
        return turned_column(x, pos, c, head0);
    return load_f(x, c * 4) * (V_NORM ? factor_s[c / HEAD_DIM_V - head0] : 1);
}

// Four neighbouring invocations convert a block of 32 columns, 8 each.
void store_blocks(uint64_t to, uint64_t x, bool keys, uint pos, uint head0, uint end, uint width)
{
    const uint n_cols = p.n_head_kv * width;
    const uint lane = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    for (uint at = head0 * width; at < end * width; at += LANES * 8) {
        const uint c = at + lane * 8;
        const bool mine = c < end * width;
        float y[8], most = 0;
        for (uint j = 0; j < 8; j++) {
            y[j] = mine ? column_of(x, keys, pos, c + j, head0) : 0;
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
void store_k(uint64_t to, uint64_t k, uint pos, uint head0, uint end)
{
    store_blocks(to, k, true, pos, head0, end, HEAD_DIM);
}
void store_v(uint64_t to, uint64_t v, uint head0, uint end)
{
    store_blocks(to, v, false, 0, head0, end, HEAD_DIM_V);
}
#endif

void main()
{
    const uint t = gl_WorkGroupID.y, pos = load_u(p.pos, t * 4);
    const uint n_q = N_ROT > 0 || WHOLE_Q ? (p.n_head + PER_GROUP - 1) / PER_GROUP : 0;
    const uint n_k = p.k != 0 ? (p.n_head_kv + PER_GROUP - 1) / PER_GROUP : 0;
    if (gl_WorkGroupID.x < n_q) {
        turn_q(p.q + uint64_t(t) * p.q_row, pos, gl_WorkGroupID.x * PER_GROUP);
        return;
    }
    const uint row = load_u(p.row, t * 4);
    if (row >= p.n_rows) // -1: nothing is kept; a caller's mistake must not write elsewhere
        return;
    const uint group = gl_WorkGroupID.x - n_q, head0 = group % n_k * PER_GROUP;
    const uint end = min(head0 + PER_GROUP, p.n_head_kv);
    if (group < n_k) {
        const uint64_t k = p.k + uint64_t(t) * p.k_row;
        if (K_NORM)
            measure(k, head0, end, HEAD_DIM, HEAD_DIM);
        store_k(p.cache_k + uint64_t(row) * p.cache_k_row, k, pos, head0, end);
    } else {
        const uint64_t v = p.v + uint64_t(t) * p.v_row;
        if (V_NORM)
            measure(v, head0, end, HEAD_DIM_V, HEAD_DIM_V);
        store_v(p.cache_v + uint64_t(row) * p.cache_v_row, v, head0, end);
    }
}
