// embed.comp - out[t] = decode(token_embd[token[t]]) * scale.
//
// One invocation decodes 16 columns (n_cols % 4 == 0). Grid: (ceil(n_cols / 16 / 64), n_tokens).
// Tokens outside row0 .. row0 + n_rows - 1 are another dispatch's. Matches op_embed, exactly.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 64) in; // first: before it gl_WorkGroupSize is 1
#include "weight.glsl"
layout(push_constant, scalar) uniform Push { push_embed p; };
void main()
{
    weight_begin(p.grid);
    uint at = gl_GlobalInvocationID.x * 16, t = gl_WorkGroupID.y;
    if (at >= p.n_cols)
        return;
    uint at_row = load_u(p.token, t * 4) - p.row0;
    if (at_row >= p.n_rows)
        return;
    uint64_t row = p.w + uint64_t(at_row) * p.w_row;
    vec4 w[4];
    weight_run(row, p.n_cols, at, w);
    [[unroll]] for (uint i = 0; i < 4; i++)
        if (at + i * 4 < p.n_cols)
            store_f4(p.to, t * p.to_row + (at + i * 4) * 4, w[i] * p.scale);
}
