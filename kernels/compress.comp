// compress.comp - rows that stand for `ratio` positions each: what each token leaves for them, and
// where a token is the last of its block the block's row.
//
// x, score: F32 [n_tokens][dim], or with overlap [n_tokens][2 dim]; raw_x, raw_score: F16
// [n_rows][the same]; place: F32 [ratio][the same]; to: F32 [n_tokens][dim]. Matches op_compress.
// Grid: (columns / 64, n_tokens): an invocation makes one column.
//   ROWS  0: what is left; 1: rows of blocks, behind all that is left
// The softmax of a column runs along with its maximum: 128 positions, or 2 * 4, are looked at once.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint ROWS = 0;
layout(push_constant, scalar) uniform Push { push_compress p; };
#include "half.glsl"

const uint PAGE_ROWS = 256; // compute.h

void keep(uint t, uint row, uint c)
{
    store_s(p.raw_x + uint64_t(row) * p.raw_x_row, c * 2,
            half_bits(load_f(p.x + uint64_t(t) * p.x_row, c * 4)));
    store_s(p.raw_score + uint64_t(row) * p.raw_score_row, c * 2,
            half_bits(load_f(p.score + uint64_t(t) * p.score_row, c * 4)));
}

float column_of(uint64_t pages, uint pos, uint c)
{
    const uint n = p.overlap != 0 ? 2 * p.ratio : p.ratio, none = pos + 1 < n ? n - pos - 1 : 0;
    float most = -1.0 / 0.0, sum = 0, total = 0;
    for (uint j = none; j < n; j++) {
        const uint at = pos + 1 + j - n, col = p.overlap != 0 && j >= p.ratio ? p.dim + c : c;
        const uint row = min(load_u(pages, at / PAGE_ROWS * 4) * PAGE_ROWS + at % PAGE_ROWS,
                             p.n_rows - 1);
        const float score = load_h(p.raw_score + uint64_t(row) * p.raw_score_row, col * 2) +
                            load_f(p.place + uint64_t(j % p.ratio) * p.place_row, col * 4);
        const float x = load_h(p.raw_x + uint64_t(row) * p.raw_x_row, col * 2);
        const float now = max(most, score), e = exp(score - now),
                    before = j > none ? exp(most - now) : 0;
        sum = sum * before + e;
        total = total * before + e * x;
        most = now;
    }
    return total / sum;
}

void main()
{
    const uint c = gl_GlobalInvocationID.x, t = gl_WorkGroupID.y, pos = load_u(p.pos, t * 4);
    if (ROWS == 0) {
        const uint row = load_u(p.row, t * 4);
        if (row < p.n_rows && c < (p.overlap != 0 ? 2 * p.dim : p.dim))
            keep(t, row, c);
        return;
    }
    if (pos % p.ratio != p.ratio - 1 || c >= p.dim)
        return;
    store_f(p.to + uint64_t(t) * p.to_row, c * 4,
            column_of(p.pages + uint64_t(load_u(p.table, t * 4)) * p.pages_row, pos, c));
}
