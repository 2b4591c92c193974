// experts_tiles.comp - cuts each expert's rows into tiles: what the workgroups of a grouped product
// take (matmat_*.comp with EXPERTS).
//
// In: first I32 [n_expert + 1] of experts_sort.comp. Out: tile (struct expert_tile) [n_tiles], at most
// `rows` rows each, by rising expert, then empty ones (n = 0): the host, which does not see the
// counts, dispatches as many as there can be. One workgroup, which is one subgroup; a lane takes a
// run of experts. Constants: 0 = LANES (the subgroup's size, asked for). Grid: 1.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { push_experts_tiles p; };
void main()
{
    uint lane = gl_SubgroupInvocationID, per_lane = (p.n_expert + gl_SubgroupSize - 1) / gl_SubgroupSize;
    uint from = min(lane * per_lane, p.n_expert), end = min(from + per_lane, p.n_expert);
    uint n = 0;
    for (uint e = from; e < end; e++)
        n += (load_u(p.first, e * 4 + 4) - load_u(p.first, e * 4) + p.rows - 1) / p.rows;
    uint at = subgroupExclusiveAdd(n), total = subgroupAdd(n);
    for (uint e = from; e < end; e++) {
        uint last = load_u(p.first, e * 4 + 4);
        for (uint i = load_u(p.first, e * 4); i < last; i += p.rows)
            store_u4(p.tile, at++ * 16, uvec4(e, i, min(last - i, p.rows), 0));
    }
    for (uint i = total + lane; i < p.n_tiles; i += gl_SubgroupSize)
        store_u4(p.tile, i * 16, uvec4(0));
}
