// rows.comp - out[i] = x[row[i]].
//
// One invocation copies FOUR columns. Grid: (n_cols / FOUR / 64, n). Matches op_rows.
//   FOUR  4: addresses and row distances are multiples of 16 and n_cols of 4; 1: any
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint FOUR = 4;
layout(push_constant, scalar) uniform Push { push_rows p; };
void main()
{
    uint at = gl_GlobalInvocationID.x * FOUR, i = gl_WorkGroupID.y;
    if (at >= p.n_cols)
        return;
    uint from = uint(load_i(p.row, i * 4));
    if (FOUR == 4)
        store_f4(p.to, i * p.to_row + at * 4, load_f4(p.x, from * p.x_row + at * 4));
    else
        store_f(p.to, i * p.to_row + at * 4, load_f(p.x, from * p.x_row + at * 4));
}
