// attention_join.comp - joins the parts that a split attention left.
//
// out[t][h] = sum of e^(maximum[s] - m) o[s] / sum of e^(maximum[s] - m) sum[s] (powers of two, in
// fact), m the largest maximum; a sink is one more sum of 1. One workgroup makes one head of one
// token. Grid: (n_head, n_tokens). Matches the second half of op_attention.
//   LANES  invocations; each takes four columns at a time
// Parts without rows have sum 0 and are not read. It reads n_split * head_dim floats a head: small
// next to the cache rows that a split is worth.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 32;
layout(push_constant, scalar) uniform Push { push_attention_join p; };

void main()
{
    const uint head = gl_WorkGroupID.x, t = gl_WorkGroupID.y, at = t * p.n_head + head;
    const uint64_t sums = p.sums + uint64_t(at) * p.n_split * 8;
    const uint64_t outputs = p.outputs + uint64_t(at) * p.n_split * p.head_dim * 4;
    float most = -1e38, total = 0;
    for (uint s = 0; s < p.n_split; s++)
        if (load_f(sums, s * 8 + 4) > 0)
            most = max(most, load_f(sums, s * 8));
    if (p.sinks != 0) {
        const float sink = load_f(p.sinks, head * 4) * 1.4426950408889634;
        most = max(most, sink);
        total = exp2(sink - most);
    }
    for (uint s = 0; s < p.n_split; s++)
        if (load_f(sums, s * 8 + 4) > 0)
            total += load_f(sums, s * 8 + 4) * exp2(load_f(sums, s * 8) - most);
    const float scale = total > 0 ? 1 / total : 0;
    for (uint c = gl_LocalInvocationID.x * 4; c < p.head_dim; c += LANES * 4) {
        vec4 v = vec4(0);
        for (uint s = 0; s < p.n_split; s++)
            if (load_f(sums, s * 8 + 4) > 0)
                v += load_f4(outputs, (s * p.head_dim + c) * 4) *
                     (exp2(load_f(sums, s * 8) - most) * scale);
        store_f4(p.to + uint64_t(t) * p.to_row, (head * p.head_dim + c) * 4, v);
    }
}
