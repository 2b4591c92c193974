// elementwise.comp - what is done to each number by itself, F32; `to` may be an input. Matches
// op_glu, op_add, op_multiply, op_gate_add, op_softcap.
//
// One invocation makes four neighbouring columns, or one. Grid: (n_cols / FOUR / 64, rows).
//   KIND        enum elementwise_kind (backend.h)
//   ACTIVATION  enum activation, of KIND 0
//   FOUR        4: addresses and row distances are multiples of 16 and n_cols of 4; 1: any
// 12 bytes a number and a dozen instructions: memory is the limit.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "activation.glsl"
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint KIND = 0;
layout(constant_id = 1) const uint ACTIVATION = 0;
layout(constant_id = 2) const uint FOUR = 4;
layout(push_constant, scalar) uniform Push { push_elementwise p; };
const uint GLU = 0, ADD = 1, MULTIPLY = 2, GATE_ADD = 3, SOFTCAP = 4;

vec4 load(uint64_t row, uint c) { return FOUR == 4 ? load_f4(row, c * 4) : vec4(load_f(row, c * 4)); }

float made(float x, float y, float gate)
{
    switch (KIND) {
    case GLU:
        return p.y != 0 ? glu(x, y, ACTIVATION) : activation(x, ACTIVATION);
    case ADD:
        return p.y != 0 ? p.a * x + p.b * y : p.a * x;
    case MULTIPLY:
        return x * y;
    case GATE_ADD:
        return y + x * sigmoid(gate);
    default:
        return p.a * (1 - 2 / (1 + exp(2 * x / p.a)));
    }
}

void main()
{
    const uint c = gl_GlobalInvocationID.x * FOUR, t = gl_WorkGroupID.y;
    if (c >= p.n_cols)
        return;
    const uint64_t gate = p.gate + uint64_t(t) * p.gate_row, to = p.to + uint64_t(t) * p.to_row;
    const vec4 x = load(p.x + uint64_t(t) * p.x_row, c);
    const vec4 y = p.y != 0 ? load(p.y + uint64_t(t) * p.y_row, c) : vec4(0);
    vec4 v;
    [[unroll]] for (uint i = 0; i < FOUR; i++)
        v[i] = made(x[i], y[i], KIND == GATE_ADD ? load_f(gate, (c + i) / p.per_gate * 4) : 0);
    if (FOUR == 4)
        store_f4(to, c * 4, v);
    else
        store_f(to, c * 4, v.x);
}
