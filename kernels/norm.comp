// norm.comp - out[t] = x[t] / sqrt(mean(x[t]^2) + eps) * weight.
//
// One workgroup makes one row; any n_cols. Grid: (1, n_tokens). Matches op_rms_norm.
//   LANES  invocations: 8 .. 1024
//   FOUR   1: addresses and row distances are multiples of 16, so that four columns travel at once
// Decoding has one row, so that one workgroup's latency is all of the time: as many lanes as give
// each about four loads (norm.c chooses). x is read twice; the second time it is in the cache.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 256;
layout(constant_id = 1) const uint FOUR = 1;
layout(push_constant, scalar) uniform Push { push_norm p; };
#include "reduce.glsl"

void main()
{
    const uint lane = LANE, t = gl_WorkGroupID.y;
    const uint64_t x = p.x + uint64_t(t) * p.x_row, to = p.to + uint64_t(t) * p.to_row;
    const uint n4 = FOUR != 0 ? p.n_cols / 4 : 0;
    float sum = 0;
    for (uint c = lane; c < n4; c += LANES) {
        const vec4 v = load_f4(x, c * 16);
        sum += dot(v, v);
    }
    for (uint c = n4 * 4 + lane; c < p.n_cols; c += LANES) {
        const float v = load_f(x, c * 4);
        sum += v * v;
    }
    const float scale = inversesqrt(workgroup_sum(sum) / float(p.n_cols) + p.eps);
    for (uint c = lane; c < n4; c += LANES)
        store_f4(to, c * 16, load_f4(x, c * 16) * scale * load_f4(p.weight, c * 16));
    for (uint c = n4 * 4 + lane; c < p.n_cols; c += LANES)
        store_f(to, c * 4, load_f(x, c * 4) * scale * load_f(p.weight, c * 4));
}
