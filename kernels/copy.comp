// copy.comp - to[i] = from[i] for n vectors of 16 bytes: what the device's memory allows at most.
//
// READ = 1: nothing is copied; each subgroup stores the sum of the words it read at its number, so
// that reading alone is measured. One workgroup of 256 handles 2048 vectors, 8 an invocation, a
// workgroup's width apart: the loads of a subgroup are consecutive and 8 are in flight. Grid:
// ceil(n / 2048). What op_copy is, and what bandwidth.c measures with, where the sums are checked.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint READ = 0;
layout(push_constant, scalar) uniform Push { push_copy p; };
void main()
{
    uint first = gl_WorkGroupID.x * 2048 + gl_LocalInvocationID.x;
    uvec4 v[8];
    [[unroll]] for (uint i = 0; i < 8; i++)
        v[i] = first + i * 256 < p.n ? load_u4(p.from, (first + i * 256) * 16) : uvec4(0);
    if (READ == 0) {
        [[unroll]] for (uint i = 0; i < 8; i++)
            if (first + i * 256 < p.n)
                store_u4(p.to, (first + i * 256) * 16, v[i]);
        return;
    }
    uvec4 sum = uvec4(0);
    [[unroll]] for (uint i = 0; i < 8; i++)
        sum += v[i];
    uint all = subgroupAdd(sum.x + sum.y + sum.z + sum.w);
    if (subgroupElect())
        store_u(p.to, (gl_WorkGroupID.x * gl_NumSubgroups + gl_SubgroupID) * 4, all);
}
