// select.glsl - finds the largest of many numbers in a total order: NaN first, then by value, of
// equal ones (0 and -0 are) the one that stands first. The order of cpu/select.c.
//
// To be included after LANES, a power of two, the specialisation constant of the workgroup's size.
#ifndef LANE
#define LANE (gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID)
#endif

struct found { // key 0: nothing
    uint key, at;
};
shared found found_s[2 * (LANES / 4 + 1)]; // a subgroup has 4 invocations at least

// A larger number for what comes earlier in the order; never 0.
uint key_of(float f)
{
    const uint bits = floatBitsToUint(f);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return 0xffffffffu;
    if (bits == 0x80000000u)
        return 0x80000000u;
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

found first_of(found a, found b)
{
    return b.key > a.key || (b.key == a.key && b.at < a.at) ? b : a;
}

// The first of all invocations'. `turn` alternates between 0 and 1 from call to call.
found workgroup_first(found mine, uint turn)
{
    for (uint apart = 1; apart < min(gl_SubgroupSize, LANES); apart *= 2)
        mine = first_of(mine, found(subgroupShuffleXor(mine.key, apart),
                                    subgroupShuffleXor(mine.at, apart)));
    if (gl_NumSubgroups == 1)
        return mine;
    const uint side = turn * (LANES / 4 + 1);
    if (subgroupElect())
        found_s[side + gl_SubgroupID] = mine;
    barrier();
    for (uint i = 0; i < gl_NumSubgroups; i++)
        mine = first_of(mine, found_s[side + i]);
    return mine;
}
