// norm.comp - out[t] = y, or residual[t] + scale * y, with y = x[t] / sqrt(mean(x[t]^2) + eps) *
// weight + bias, of which the last two may be missing; CENTRED: x less its mean in place of x.
//
// One workgroup makes one row, or one of N_GROUP parts of it, n_cols wide, each with its part of
// weight and bias; any n_cols. Grid: (1, n_tokens * N_GROUP). Matches op_rms_norm, op_norm_add,
// op_layer_norm.
//   LANES    invocations: 8 .. 1024
//   FOUR     1: addresses and row distances are multiples of 16, so that four columns travel at once
//   CENTRED  0 or 1
//   N_GROUP  parts of a row
// Decoding has one row, so that one workgroup's latency is all of the time: as many lanes as give
// each about four loads (norm.c chooses). x is read twice; the second time it is in the cache.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 256;
layout(constant_id = 1) const uint FOUR = 1;
layout(constant_id = 2) const uint CENTRED = 0;
layout(constant_id = 3) const uint N_GROUP = 1;
layout(push_constant, scalar) uniform Push { push_norm p; };
#include "reduce.glsl"

uint64_t x, to, residual, weight, bias;

float mean_of(uint lane)
{
    float sum = 0;
    for (uint c = lane; c < p.n_cols; c += LANES)
        sum += load_f(x, c * 4);
    return workgroup_sum(sum) / float(p.n_cols);
}

vec4 finished4(uint c, vec4 y)
{
    if (p.weight != 0)
        y *= load_f4(weight, c * 16);
    if (p.bias != 0)
        y += load_f4(bias, c * 16);
    return p.residual != 0 ? load_f4(residual, c * 16) + p.scale * y : y;
}

float finished(uint c, float y)
{
    if (p.weight != 0)
        y *= load_f(weight, c * 4);
    if (p.bias != 0)
        y += load_f(bias, c * 4);
    return p.residual != 0 ? load_f(residual, c * 4) + p.scale * y : y;
}

void main()
{
    const uint lane = LANE, t = gl_WorkGroupID.y / N_GROUP, at = gl_WorkGroupID.y % N_GROUP * p.n_cols * 4;
    x = p.x + uint64_t(t) * p.x_row + at;
    to = p.to + uint64_t(t) * p.to_row + at;
    residual = p.residual + uint64_t(t) * p.residual_row + at;
    weight = p.weight + at;
    bias = p.bias + at;
    const float mean = CENTRED != 0 ? mean_of(lane) : 0;
    const uint n4 = FOUR != 0 ? p.n_cols / 4 : 0;
    float sum = 0;
    for (uint c = lane; c < n4; c += LANES) {
        const vec4 v = load_f4(x, c * 16) - mean;
        sum += dot(v, v);
    }
    for (uint c = n4 * 4 + lane; c < p.n_cols; c += LANES) {
        const float v = load_f(x, c * 4) - mean;
        sum += v * v;
    }
    const float factor = inversesqrt(workgroup_sum(sum) / float(p.n_cols) + p.eps);
    for (uint c = lane; c < n4; c += LANES)
        store_f4(to, c * 16, finished4(c, (load_f4(x, c * 16) - mean) * factor));
    for (uint c = n4 * 4 + lane; c < p.n_cols; c += LANES)
        store_f(to, c * 4, finished(c, (load_f(x, c * 4) - mean) * factor));
}
