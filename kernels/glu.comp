// glu.comp - to[i] = activation(gate[i]) * up[i], F32, `to` may be gate. Matches op_glu.
//
// One invocation makes four values; n of any size. Constants: 0 = activation (enum activation).
// Grid: (n / 4 / 64).
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "activation.glsl"
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint ACTIVATION = 0;
layout(push_constant, scalar) uniform Push { push_glu p; };
void main()
{
    uint i = gl_GlobalInvocationID.x * 4;
    if (i + 4 <= p.n) {
        vec4 gate = load_f4(p.gate, i * 4), up = load_f4(p.up, i * 4);
        [[unroll]] for (int k = 0; k < 4; k++)
            up[k] *= activation(gate[k], ACTIVATION);
        store_f4(p.to, i * 4, up);
        return;
    }
    for (; i < p.n; i++)
        store_f(p.to, i * 4, activation(load_f(p.gate, i * 4), ACTIVATION) * load_f(p.up, i * 4));
}
