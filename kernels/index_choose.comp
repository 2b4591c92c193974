// index_choose.comp - which blocks of positions a token's attention sees: those with the largest
// scores, and the one that is not whole yet.
//
// chosen: U32 [n_tokens][WORDS]; scores: F32 [n_tokens][WORDS * 32]; q: F32 [n_tokens][n_group *
// N_HEAD * DIM]; keys: F16 [rows / BLOCK][DIM]. Matches op_index_choose. Grid: (1, n_tokens): one
// workgroup chooses for one token.
//   LANES   invocations
//   DIM     a multiple of 8; N_HEAD * DIM at most 2048
//   N_HEAD  heads whose queries are held at once; of several such groups each adds its scores
//   BLOCK   positions of a block
//   WORDS   of bits that a token has
// While there are no more blocks than may be chosen nothing is read. Scores are put in order by
// their bits: the least that is chosen is found bit by bit, and of those that are
// equal to it the last that is, both by counting. An invocation counts the scores that it wrote
// itself; 52 rounds over them are less than the products. Keys are the work: DIM * 2 bytes a block.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 256;
layout(constant_id = 1) const uint DIM = 128;
layout(constant_id = 2) const uint N_HEAD = 4;
layout(constant_id = 3) const uint BLOCK = 4;
layout(constant_id = 4) const uint WORDS = 512;
layout(push_constant, scalar) uniform Push { push_index_choose p; };
#include "reduce.glsl"

const uint PAGE_ROWS = 256, PER_PAGE = PAGE_ROWS / BLOCK; // compute.h
shared vec4 q_s[N_HEAD * DIM / 4];
shared uint bits_s[WORDS];

uint lane;
uint64_t scores;

float score_of(uint64_t key, uint64_t weight)
{
    float dots[N_HEAD], sum = 0;
    [[unroll]] for (uint h = 0; h < N_HEAD; h++)
        dots[h] = 0;
    for (uint c = 0; c < DIM / 8; c++) {
        const uvec4 u = load_u4(key, c * 16);
        const vec4 a = vec4(unpackHalf2x16(u.x), unpackHalf2x16(u.y)),
                   b = vec4(unpackHalf2x16(u.z), unpackHalf2x16(u.w));
        [[unroll]] for (uint h = 0; h < N_HEAD; h++)
            dots[h] += dot(a, q_s[h * (DIM / 4) + c * 2]) + dot(b, q_s[h * (DIM / 4) + c * 2 + 1]);
    }
    [[unroll]] for (uint h = 0; h < N_HEAD; h++)
        sum += (dots[h] < 0 ? 0 : dots[h]) * (weight != 0 ? load_f(weight, h * 4) : 1); // NaN stays
    return sum;
}

void make_scores(uint n, uint64_t pages, uint64_t q, uint64_t weight)
{
    for (uint g = 0; g < p.n_group; g++) {
        barrier();
        for (uint i = lane; i < N_HEAD * DIM / 4; i += LANES)
            q_s[i] = load_f4(q, (g * (N_HEAD * DIM / 4) + i) * 16);
        barrier();
        const uint64_t of_group = weight != 0 ? weight + g * N_HEAD * 4 : uint64_t(0);
        for (uint b = lane; b < n; b += LANES) {
            const uint page = load_u(pages, b / PER_PAGE * 4);
            const float score = score_of(
                p.keys + uint64_t(page * PER_PAGE + b % PER_PAGE) * p.key_row, of_group);
            store_f(scores, b * 4, g == 0 ? score : load_f(scores, b * 4) + score);
        }
    }
}

// NaN is largest.
uint order_at(uint b)
{
    const uint bits = load_u(scores, b * 4);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return ~0u;
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

// How many of the n scores are at least `least`; or are `least`, of blocks below `end`.
uint count_from(uint n, uint least)
{
    uint count = 0;
    for (uint b = lane; b < n; b += LANES)
        count += order_at(b) >= least ? 1 : 0;
    return uint(workgroup_sum(float(count)));
}
uint count_equal(uint end, uint least)
{
    uint count = 0;
    for (uint b = lane; b < end; b += LANES)
        count += order_at(b) == least ? 1 : 0;
    return uint(workgroup_sum(float(count)));
}

void set_largest(uint n)
{
    uint least = 0, end = 0; // scores of `least` are chosen below block `end`
    for (uint bit = 1u << 31; bit > 0; bit >>= 1)
        if (count_from(n, least | bit) >= p.n_most)
            least |= bit;
    const uint equal = p.n_most - (least == ~0u ? 0 : count_from(n, least + 1));
    for (uint step = 1u << 20; step > 0; step >>= 1)
        if (end + step <= n && count_equal(end + step, least) < equal)
            end += step;
    for (uint b = lane; b < n; b += LANES) {
        const uint order = order_at(b);
        if (order > least || (order == least && b <= end))
            atomicOr(bits_s[b / 32], 1u << b % 32);
    }
}

void main()
{
    const uint t = gl_WorkGroupID.y;
    lane = LANE;
    const uint count = min(load_u(p.count, t * 4), WORDS * 32 * BLOCK), n = count / BLOCK;
    const uint n_words = min((n + 32) / 32, WORDS);
    const uint64_t chosen = p.chosen + uint64_t(t) * p.chosen_row;
    const bool all = n <= p.n_most;
    if (all) {
        for (uint w = lane; w < n_words; w += LANES)
            store_u(chosen, w * 4, 0xffffffffu);
        return;
    }
    scores = p.scores + uint64_t(t) * p.scores_row;
    for (uint w = lane; w < n_words; w += LANES)
        bits_s[w] = 0;
    make_scores(n, p.pages + uint64_t(load_u(p.table, t * 4)) * p.pages_row,
                p.q + uint64_t(t) * p.q_row,
                p.weight != 0 ? p.weight + uint64_t(t) * p.weight_row : uint64_t(0));
    set_largest(n);
    if (lane == 0 && n < WORDS * 32) // the block that is not whole
        atomicOr(bits_s[n / 32], 1u << n % 32);
    barrier();
    for (uint w = lane; w < n_words; w += LANES)
        store_u(chosen, w * 4, bits_s[w]);
}
