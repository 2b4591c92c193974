// reduce.glsl - sums over a workgroup of LANES invocations, whatever the subgroup's size.
//
// To be included after LANES, the specialisation constant of the workgroup's size. LANE numbers the
// invocations so that a subgroup holds neighbours. Every invocation must take part; the result is
// the same in all of them.
#ifndef LANE
#define LANE (gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID)
#endif

shared float reduce_s[LANES / 4 + 1]; // a subgroup has 4 invocations at least

float workgroup_sum(float v)
{
    v = subgroupAdd(v);
    if (gl_NumSubgroups == 1)
        return v;
    if (subgroupElect())
        reduce_s[gl_SubgroupID] = v;
    barrier();
    v = 0;
    for (uint i = 0; i < gl_NumSubgroups; i++)
        v += reduce_s[i];
    barrier();
    return v;
}
