// streams_gate.comp - one row in each of several streams, times a gate that is told by how alike the
// streams of two others are.
//
// x, gate, to: F32 [n_tokens][n_stream * n]; y: [n_tokens][n]. Matches op_streams_gate, whose z is
// `gate`. Grid: (n_stream, n_tokens); a workgroup makes a stream.
//   LANES  invocations
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "activation.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;
layout(push_constant, scalar) uniform Push { push_streams p; };
#include "reduce.glsl"

void main()
{
    const uint t = gl_WorkGroupID.y, at = gl_WorkGroupID.x * p.n * 4, lane = LANE;
    const uint64_t x = p.x + uint64_t(t) * p.x_row + at, z = p.gate + uint64_t(t) * p.gate_row + at,
                   y = p.y + uint64_t(t) * p.y_row, to = p.to + uint64_t(t) * p.to_row + at;
    float sum = 0;
    for (uint c = lane; c < p.n; c += LANES)
        sum += load_f(x, c * 4) * load_f(z, c * 4);
    const float d = workgroup_sum(sum) / sqrt(float(p.n)), size = sqrt(max(abs(d), 1e-6));
    const float times = sigmoid((d < 0 ? -size : size) + d * 0); // NaN stays
    for (uint c = lane; c < p.n; c += LANES)
        store_f(to, c * 4, load_f(y, c * 4) * times);
}
