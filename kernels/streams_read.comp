// streams_read.comp - a mixture of residual streams, and the numbers by which they are added to and
// mixed with each other, all of it from the few numbers that the streams gave.
//
// x: F32 [n_tokens][n_stream * n], n_stream at most 4; mix, base: [n_tokens], [1][n_stream * (2 +
// n_stream)], scale [3]; weight: [n_tokens][n_stream * (1 + n_stream)]; without weight mix and base
// are n_stream wide. Matches op_streams_read. Grid: (n / 64, n_tokens): an invocation makes a
// column; the first workgroup of a token makes the weights, an invocation a number, since rounds of
// balancing wait for each other: some 40 of four additions and a division.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "activation.glsl"
layout(local_size_x = 64) in;
layout(push_constant, scalar) uniform Push { push_streams_read p; };

const uint MOST = 4;
shared float m_s[MOST * MOST];

float z_of(uint64_t mix, uint i, uint part)
{
    return load_f(mix, i * 4) * load_f(p.scale, part * 4) + load_f(p.base, i * 4);
}

// The sum of row s (over d), or of column d, of the matrix.
float row_sum(uint s)
{
    float sum = 0;
    for (uint d = 0; d < p.n_stream; d++)
        sum += m_s[s * p.n_stream + d];
    return sum;
}
float column_sum(uint d)
{
    float sum = 0;
    for (uint s = 0; s < p.n_stream; s++)
        sum += m_s[s * p.n_stream + d];
    return sum;
}

// Number `lane` of the matrix; all invocations come here.
float balanced(uint64_t mix, uint lane)
{
    const uint n = p.n_stream, s = lane / n, d = lane % n;
    const bool mine = lane < n * n;
    float most = -1.0 / 0.0, m = 0;
    if (mine) {
        for (uint i = 0; i < n; i++)
            most = max(most, z_of(mix, 2 * n + s * n + i, 2));
        m_s[lane] = m = exp(z_of(mix, 2 * n + lane, 2) - most);
    }
    barrier();
    if (mine)
        m = m / row_sum(s) + p.eps;
    for (uint k = 0; k < 2 * p.n_round - 1; k++) {
        barrier();
        if (mine)
            m_s[lane] = m;
        barrier();
        if (mine)
            m /= (k % 2 == 0 ? column_sum(d) : row_sum(s)) + p.eps;
    }
    return m;
}

void main()
{
    const uint c = gl_GlobalInvocationID.x, t = gl_WorkGroupID.y, lane = gl_LocalInvocationID.x;
    const uint64_t mix = p.mix + uint64_t(t) * p.mix_row, x = p.x + uint64_t(t) * p.x_row;
    if (c < p.n) {
        float sum = 0;
        for (uint s = 0; s < p.n_stream; s++)
            sum += load_f(x, (s * p.n + c) * 4) * (sigmoid(z_of(mix, s, 0)) + p.eps);
        store_f(p.to + uint64_t(t) * p.to_row, c * 4, sum);
    }
    if (gl_WorkGroupID.x != 0 || p.weight == 0)
        return;
    const uint64_t weight = p.weight + uint64_t(t) * p.weight_row;
    const float m = balanced(mix, lane);
    if (lane < p.n_stream)
        store_f(weight, lane * 4, 2 * sigmoid(z_of(mix, p.n_stream + lane, 1)));
    if (lane < p.n_stream * p.n_stream)
        store_f(weight, (p.n_stream + lane) * 4, m);
}
