// top_k.comp - the k largest of each row, falling; of equal ones the lower column first.
//
// One workgroup looks through SLICE numbers of one row. Grid: (slices, rows). Matches op_top_k.
//   LANES  invocations, a power of two that divides SLICE / 16
//   SLICE  numbers; their keys lie in shared memory
//   FIRST  1: reads x; 0: reads what the slices before found, pairs (key, column)
//   LAST   1: writes id, value and total; 0: writes pairs
// Each invocation knows the largest of its numbers; k times the largest of all is taken out, and
// only the invocation that had it looks again, through 16 numbers and the largest of its other
// sixteens. So k = 1, the greedy choice, costs one look. Pairs are in an order that keeps the rule for
// equal ones: slices rise, and within a slice the lower column comes first.
//
// A vocabulary of 152064 is 38 slices of 4096 on a GPU, one a compute unit of gfx1151, with 256
// invocations of 16 numbers; the second dispatch has 38 k pairs. A round takes a few hundred cycles:
// k = 40 costs 10 us a dispatch, next to 600 KB of logits read back.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 256;
layout(constant_id = 1) const uint SLICE = 4096;
layout(constant_id = 2) const uint FIRST = 1;
layout(constant_id = 3) const uint LAST = 1;
layout(push_constant, scalar) uniform Push { push_top_k p; };
#include "select.glsl"
#include "reduce.glsl"

const uint SIXTEENS = SLICE / LANES / 16; // of an invocation

shared uint key_s[SLICE];                                         // 0: taken, or none
shared found best_s[SIXTEENS > 1 ? SIXTEENS * LANES : 1]; // of each sixteen

// The first of sixteen c of this invocation.
found best_of(uint lane, uint c)
{
    found best = found(0, 0);
    for (uint i = 0; i < 16; i++) {
        const uint at = (c * 16 + i) * LANES + lane;
        best = first_of(best, found(key_s[at], at));
    }
    return best;
}

found best_of_all(uint lane)
{
    found best = best_s[lane];
    for (uint c = 1; c < SIXTEENS; c++)
        best = first_of(best, best_s[c * LANES + lane]);
    return best;
}

// Of this slice of x, whose largest is `most`: the sum of e^(x - most).
float sum_of(uint64_t x, uint n, float most)
{
    float sum = 0;
    for (uint at = LANE; at < n; at += LANES)
        sum += exp(load_f(x, at * 4) - most);
    return workgroup_sum(sum);
}

// log(sum of e^x) of a whole row, of which the slices left their largest and their sums.
float total_of(uint64_t sums)
{
    float most = load_f(sums, 0), sum = 0;
    for (uint i = 1; i < p.n_sums; i++)
        most = max(most, load_f(sums, i * 8));
    for (uint i = 0; i < p.n_sums; i++)
        sum += exp(load_f(sums, i * 8) - most) * load_f(sums, i * 8 + 4);
    return most + log(sum);
}

void main()
{
    const uint lane = LANE, row = gl_WorkGroupID.y, base = gl_WorkGroupID.x * SLICE;
    const uint n = min(p.n - base, SLICE);
    const uint64_t x = p.x + uint64_t(row) * p.x_row, from = p.from + uint64_t(row) * p.n * 8;
    found mine = found(0, 0);
    for (uint c = 0; c < SIXTEENS; c++) {
        for (uint i = 0; i < 16; i++) {
            const uint at = (c * 16 + i) * LANES + lane;
            uint key = 0;
            if (at < n)
                key = FIRST != 0 ? key_of(load_f(x, (base + at) * 4))
                                 : load_u(from, (base + at) * 8);
            key_s[at] = key;
        }
        const found best = best_of(lane, c);
        if (SIXTEENS > 1)
            best_s[c * LANES + lane] = best;
        mine = first_of(mine, best);
    }
    if (FIRST == 0 && LAST != 0 && p.total != 0 && lane == 0)
        store_f(p.total, row * p.total_row, total_of(p.sums + row * p.n_sums * 8));
    for (uint i = 0; i < p.k; i++) {
        const found top = workgroup_first(mine, i % 2);
        if (i == 0 && FIRST != 0 && p.total != 0) {
            const float most = load_f(x, (base + top.at) * 4);
            const float sum = sum_of(x + base * 4, n, most);
            const uint64_t sums = p.sums + (row * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 8;
            if (lane == 0 && LAST == 0)
                store_u2(sums, 0, floatBitsToUint(vec2(most, sum)));
            if (lane == 0 && LAST != 0)
                store_f(p.total, row * p.total_row, most + log(sum));
        }
        if (lane == 0) {
            uint id = base + top.at;
            if (FIRST == 0)
                id = load_u(from, id * 8 + 4);
            if (LAST != 0) {
                store_u(p.id, row * p.id_row + i * 4, id);
                store_f(p.value, row * p.value_row + i * 4, load_f(x, id * 4));
            } else
                store_u2(p.to, ((row * gl_NumWorkGroups.x + gl_WorkGroupID.x) * p.k + i) * 8,
                         uvec2(top.key, id));
        }
        if (i + 1 < p.k && top.key != 0 && top.at % LANES == lane) {
            key_s[top.at] = 0;
            mine = best_of(lane, top.at / LANES / 16);
            if (SIXTEENS > 1) {
                best_s[top.at / LANES / 16 * LANES + lane] = mine;
                mine = best_of_all(lane);
            }
        }
    }
}
