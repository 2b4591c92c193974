// rows.comp - out[i] = x[row[i]].
//
// One invocation copies four columns; n_cols % 4 == 0. Grid: (n_cols / 4 / 64, n). Matches op_rows.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 64) in;
layout(push_constant, scalar) uniform Push { push_rows p; };
void main()
{
    uint at = gl_GlobalInvocationID.x, i = gl_WorkGroupID.y;
    if (at * 4 >= p.n_cols)
        return;
    uint from = uint(load_i(p.row, i * 4));
    store_f4(p.to, i * p.to_row + at * 16, load_f4(p.x, from * p.x_row + at * 16));
}
