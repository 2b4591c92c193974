// streams.comp - several residual streams in a row: their mean with a gate a column, or what is added
// to each of them with a weight a stream; or that, and they are mixed with each other.
//
// x: F32 [n_tokens][n_stream * n]; MIX: gate as x, to [n_tokens][n]; ADD: y [n_tokens][n], gate
// [n_tokens][n_stream], to as x; BLEND: as ADD, gate [n_tokens][n_stream * (1 + n_stream)], n_stream
// at most 4. Matches op_streams_mix, op_streams_add, op_streams_blend. Grid: (n / 64, n_tokens); an
// invocation makes one column, of ADD and BLEND in every stream; to may be x.
//   ADD  0: MIX, 1: ADD, 2: BLEND
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "activation.glsl"
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint ADD = 0;
layout(push_constant, scalar) uniform Push { push_streams p; };

void blend(uint64_t to, uint64_t x, uint64_t weight, float y, uint c)
{
    float was[4];
    [[unroll]] for (uint s = 0; s < 4; s++)
        was[s] = s < p.n_stream ? load_f(x, (s * p.n + c) * 4) : 0;
    for (uint d = 0; d < p.n_stream; d++) {
        float sum = y * load_f(weight, d * 4);
        [[unroll]] for (uint s = 0; s < 4; s++)
            if (s < p.n_stream)
                sum += load_f(weight, ((1 + s) * p.n_stream + d) * 4) * was[s];
        store_f(to, (d * p.n + c) * 4, sum);
    }
}

void main()
{
    const uint c = gl_GlobalInvocationID.x, t = gl_WorkGroupID.y;
    if (c >= p.n)
        return;
    const uint64_t x = p.x + uint64_t(t) * p.x_row, gate = p.gate + uint64_t(t) * p.gate_row,
                   to = p.to + uint64_t(t) * p.to_row;
    if (ADD == 2) {
        blend(to, x, gate, load_f(p.y + uint64_t(t) * p.y_row, c * 4), c);
        return;
    }
    if (ADD != 0) {
        const float y = load_f(p.y + uint64_t(t) * p.y_row, c * 4);
        for (uint s = 0; s < p.n_stream; s++) {
            const uint at = (s * p.n + c) * 4;
            store_f(to, at, load_f(x, at) + y * 2 * sigmoid(load_f(gate, s * 4)));
        }
        return;
    }
    float sum = 0;
    for (uint s = 0; s < p.n_stream; s++) {
        const uint at = (s * p.n + c) * 4;
        sum += load_f(x, at) * sigmoid(load_f(gate, at));
    }
    store_f(to, c * 4, sum / float(p.n_stream));
}
