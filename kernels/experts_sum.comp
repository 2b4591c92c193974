// experts_sum.comp - out[t] = residual[t] (or 0) + sum over slots of weight[t][slot] * y[t * n_used + slot].
//
// One invocation makes four columns, or one where rows are not aligned for that. Grid: (columns /
// FOUR / LANES, n_tokens). Matches op_experts_sum.
//   LANES  invocations
//   FOUR   4: addresses and row distances are multiples of 16 and n_cols of 4; 1: any
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;
layout(constant_id = 1) const uint FOUR = 4;
layout(push_constant, scalar) uniform Push { push_experts_sum p; };

void main()
{
    const uint c = gl_GlobalInvocationID.x * FOUR, t = gl_WorkGroupID.y;
    if (c >= p.n_cols)
        return;
    const uint64_t y = p.y + uint64_t(t) * p.n_used * p.y_row,
                   residual = p.residual + uint64_t(t) * p.residual_row,
                   to = p.to + uint64_t(t) * p.to_row;
    vec4 sum = vec4(0);
    if (p.residual != 0)
        sum = FOUR == 4 ? load_f4(residual, c * 4) : vec4(load_f(residual, c * 4));
    for (uint slot = 0; slot < p.n_used; slot++) {
        const uint at = slot * p.y_row + c * 4;
        const float weight = load_f(p.weight, t * p.weight_row + slot * 4);
        sum += weight * (FOUR == 4 ? load_f4(y, at) : vec4(load_f(y, at)));
    }
    if (FOUR == 4)
        store_f4(to, c * 4, sum);
    else
        store_f(to, c * 4, sum.x);
}
