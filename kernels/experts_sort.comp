// experts_sort.comp - the rows of a mixture of experts, sorted by expert; equal ones keep their order.
//
// In: id I32 [n], each < n_expert. Out: slot I32 [n], the indices of id by rising expert; first I32
// [n_expert + 1], where each expert's begin in slot, and n. One workgroup, which is one subgroup,
// takes one expert: it counts the ids below its own, which is where its rows begin, then writes them.
// Constants: 0 = LANES (the subgroup's size, asked for). Grid: (n_expert).
// Every expert reads all ids: n * n_expert loads, of which a lane does four at once.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { push_experts_sort p; };

uvec4 ids(uint i)
{
    if (i + 4 <= p.n)
        return load_u4(p.id, i * 4);
    uvec4 v = uvec4(0xffffffff); // belongs to none
    for (uint k = 0; k < 3; k++)
        if (i + k < p.n)
            v[k] = load_u(p.id, (i + k) * 4);
    return v;
}

void main()
{
    uint expert = gl_WorkGroupID.x, lane = gl_SubgroupInvocationID, step = 4 * gl_SubgroupSize;
    uint below = 0;
    for (uint i = 0; i < p.n; i += step) {
        uvec4 less = uvec4(lessThan(ids(i + lane * 4), uvec4(expert)));
        below += less.x + less.y + less.z + less.w;
    }
    uint at = subgroupAdd(below);
    if (subgroupElect()) {
        store_u(p.first, expert * 4, at);
        if (expert + 1 == gl_NumWorkGroups.x)
            store_u(p.first, expert * 4 + 4, p.n);
    }
    for (uint i = 0; i < p.n; i += step) {
        uvec4 mine = uvec4(equal(ids(i + lane * 4), uvec4(expert)));
        uint n = mine.x + mine.y + mine.z + mine.w;
        uint to = at + subgroupExclusiveAdd(n);
        [[unroll]] for (uint k = 0; k < 4; k++)
            if (mine[k] != 0)
                store_u(p.slot, to++ * 4, i + lane * 4 + k);
        at += subgroupAdd(n);
    }
}
