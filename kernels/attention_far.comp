// attention_far.comp - attention to the last positions, and beside them to rows that stand for many.
//
// q, to: F32 [n_tokens][n_head * HEAD_DIM]; near, far: -DCACHE_f16 or -DCACHE_q8_0 (cache.glsl), keys
// which are the values too. Matches op_attention_far. Grid: (n_head / HEADS, n_tokens): one workgroup
// takes HEADS heads of one token, which read each row together.
//   LANES     invocations
//   HEAD_DIM  a multiple of 8
//   HEADS     heads of a workgroup
// LANES rows at a time: an invocation makes the scores of one, then sums eight columns of all of
// them, or several times eight. Rows that are not chosen are not read; where none of LANES is,
// nothing else is done. The rows of the window come first, then those of blocks.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;
layout(constant_id = 1) const uint HEAD_DIM = 512;
layout(constant_id = 2) const uint HEADS = 4;
layout(push_constant, scalar) uniform Push { push_attention_far p; };
#include "cache.glsl"

const uint PAGE_ROWS = 256; // compute.h
const uint PIECES = HEAD_DIM / 8, EACH = (PIECES + LANES - 1) / LANES;
const float NONE = -1.0 / 0.0;

shared vec4 q_s[HEADS * HEAD_DIM / 4];
shared float score_s[HEADS * LANES];
shared uint row_s[LANES]; // of the cache that the tile is of
float most[HEADS], sum[HEADS];
eight acc[HEADS * EACH];

// Scores of this invocation's row, where it is seen.
void make_scores(uint64_t cache, uint stride, uint row, bool seen)
{
    const uint lane = gl_LocalInvocationID.x;
    float dots[HEADS];
    [[unroll]] for (uint h = 0; h < HEADS; h++)
        dots[h] = 0;
    if (seen)
        for (uint c = 0; c < PIECES; c++) {
            const eight k = load_eight(cache + uint64_t(row) * stride, 0, c * 8, HEAD_DIM);
            [[unroll]] for (uint h = 0; h < HEADS; h++)
                dots[h] += dot(k.a, q_s[(h * PIECES + c) * 2]) +
                           dot(k.b, q_s[(h * PIECES + c) * 2 + 1]);
        }
    [[unroll]] for (uint h = 0; h < HEADS; h++)
        score_s[h * LANES + lane] = seen ? dots[h] * p.scale : NONE;
    row_s[lane] = row;
}

// The weights of the tile's rows go in the place of their scores of head h; returns what the sums
// before are multiplied by.
float weigh(uint h)
{
    const uint lane = gl_LocalInvocationID.x;
    float now = most[h], of_tile = 0;
    for (uint i = 0; i < LANES; i++)
        now = max(now, score_s[h * LANES + i]);
    if (now == NONE)
        return 1;
    const float times = exp(most[h] - now), mine = exp(score_s[h * LANES + lane] - now);
    barrier();
    score_s[h * LANES + lane] = mine;
    barrier();
    for (uint i = 0; i < LANES; i++)
        of_tile += score_s[h * LANES + i];
    sum[h] = sum[h] * times + of_tile;
    most[h] = now;
    return times;
}

void add_rows(uint64_t cache, uint stride)
{
    for (uint i = 0; i < LANES; i++) {
        if (row_s[i] == ~0u)
            continue;
        [[unroll]] for (uint e = 0; e < EACH; e++) {
            const uint c = gl_LocalInvocationID.x + e * LANES;
            if (c >= PIECES)
                continue;
            const eight v = load_eight(cache + uint64_t(row_s[i]) * stride, 0, c * 8, HEAD_DIM);
            [[unroll]] for (uint h = 0; h < HEADS; h++) {
                const float w = score_s[h * LANES + i];
                acc[h * EACH + e].a += w * v.a;
                acc[h * EACH + e].b += w * v.b;
            }
        }
    }
}

// One tile: this invocation's row, ~0: none. All invocations come here together.
void see(uint64_t cache, uint stride, uint row)
{
    barrier(); // the tile before is done with
    make_scores(cache, stride, row, row != ~0u);
    barrier();
    bool any = false;
    for (uint i = 0; i < LANES; i++)
        any = any || row_s[i] != ~0u;
    if (!any)
        return;
    [[unroll]] for (uint h = 0; h < HEADS; h++) {
        const float times = weigh(h);
        [[unroll]] for (uint e = 0; e < EACH; e++) {
            acc[h * EACH + e].a *= times;
            acc[h * EACH + e].b *= times;
        }
    }
    add_rows(cache, stride);
}

void see_all(uint t)
{
    const uint lane = gl_LocalInvocationID.x, table = load_u(p.table, t * 4),
               count = load_u(p.count, t * 4), first = count > p.window ? count - p.window : 0,
               n_far = count / p.ratio, per_page = PAGE_ROWS / p.ratio;
    const uint64_t near_pages = p.near_pages + uint64_t(table) * p.near_pages_row,
                   far_pages = p.far_pages + uint64_t(table) * p.far_pages_row,
                   bits = p.chosen + uint64_t(t) * p.chosen_row;
    for (uint at = first; at < count; at += LANES) {
        const uint pos = at + lane;
        see(p.near, p.near_row,
            pos < count ? load_u(near_pages, pos / PAGE_ROWS * 4) * PAGE_ROWS + pos % PAGE_ROWS
                        : ~0u);
    }
    for (uint at = 0; at < n_far; at += LANES) {
        const uint b = at + lane;
        bool seen = b < n_far;
        if (seen && p.chosen != 0)
            seen = (load_u(bits, b / 32 * 4) >> b % 32 & 1) != 0;
        see(p.far, p.far_row,
            seen ? load_u(far_pages, b / per_page * 4) * per_page + b % per_page : ~0u);
    }
}

void main()
{
    const uint lane = gl_LocalInvocationID.x, head = gl_WorkGroupID.x * HEADS, t = gl_WorkGroupID.y;
    const uint64_t q = p.q + uint64_t(t) * p.q_row;
    for (uint i = lane; i < HEADS * HEAD_DIM / 4; i += LANES)
        q_s[i] = load_f4(q, (head * HEAD_DIM / 4 + i) * 16);
    [[unroll]] for (uint h = 0; h < HEADS; h++) {
        most[h] = p.sinks != 0 ? load_f(p.sinks, (head + h) * 4) : NONE;
        sum[h] = p.sinks != 0 ? 1 : 0;
    }
    [[unroll]] for (uint i = 0; i < HEADS * EACH; i++)
        acc[i] = eight(vec4(0), vec4(0));
    see_all(t);
    const uint64_t to = p.to + uint64_t(t) * p.to_row;
    [[unroll]] for (uint h = 0; h < HEADS; h++)
        [[unroll]] for (uint e = 0; e < EACH; e++) {
            const uint c = lane + e * LANES;
            if (c >= PIECES)
                continue;
            store_f4(to, ((head + h) * HEAD_DIM + c * 8) * 4, acc[h * EACH + e].a / sum[h]);
            store_f4(to, ((head + h) * HEAD_DIM + c * 8 + 4) * 4, acc[h * EACH + e].b / sum[h]);
        }
}
