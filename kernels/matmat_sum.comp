// matmat_sum.comp - the partial results of a product whose columns were split (split-k) into one.
//
// In: part F32 [n_parts][n_tokens][n_out]; bias F32 [n_out] or none; residual F32 [n_tokens][n_out]
// or none. Out: to[t][r] = (sum of part[.][t][r] + bias[r]) * factor + residual[t][r]: the end
// of op_matmul.
// One invocation makes one value, in the order of the parts. Grid: (n_out / 64, n_tokens).
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 64) in;
layout(push_constant, scalar) uniform Push { push_matmat_sum p; };
void main()
{
    uint r = gl_GlobalInvocationID.x, t = gl_WorkGroupID.y;
    if (r >= p.n_out)
        return;
    float sum = p.bias != 0 ? load_f(p.bias, r * 4) : 0;
    for (uint i = 0; i < p.n_parts; i++)
        sum += load_f(p.part + uint64_t(i * p.n_tokens + t) * p.part_row, r * 4);
    sum *= p.factor;
    if (p.residual != 0)
        sum += load_f(p.residual + uint64_t(t) * p.residual_row, r * 4);
    store_f(p.to + uint64_t(t) * p.to_row, r * 4, sum);
}
