// matmat_x.comp - what a matrix-matrix product reads: x, normalised, converted, padded.
//
// In: x F32 [n_tokens][n_in]; norm F32 [n_in] or none. Out: to [n_tokens][n_to], zeros from column
// n_in on, as F16 (-DHALF) or F32. With norm: x / sqrt(mean(x^2) + eps) * norm, as op_rms_norm.
// HALF: each row is multiplied by the power of two that brings its largest value into [2^13, 2^14),
// and scale[t] is what undoes it: half floats then neither overflow (activations of 10^6 are real)
// nor lose small values to subnormals, and the scale itself rounds nothing.
// One workgroup takes one row. n_in, n_to % 4 == 0. Constants: 0 = workgroup size.
// gfx115x: 256 invocations; reads each row twice, the second time from the cache.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(push_constant, scalar) uniform Push { push_matmat_x p; };

shared vec2 part[256];

// The sum and the largest of all invocations.
vec2 reduce(float sum, float most)
{
    sum = subgroupAdd(sum);
    most = subgroupMax(most);
    if (gl_NumSubgroups == 1)
        return vec2(sum, most);
    if (subgroupElect())
        part[gl_SubgroupID] = vec2(sum, most);
    barrier();
    vec2 all = part[0];
    for (uint i = 1; i < gl_NumSubgroups; i++)
        all = vec2(all.x + part[i].x, max(all.y, part[i].y));
    return all;
}

void main()
{
    uint t = gl_WorkGroupID.x, stride = 4 * gl_WorkGroupSize.x, from = 4 * gl_LocalInvocationIndex;
    uint64_t x = p.x + uint64_t(t) * p.x_row, to = p.to + uint64_t(t) * p.to_row;
    bool norm = p.norm != 0;
    float sum = 0, most = 0, factor = 1;
    for (uint i = from; i < p.n_in; i += stride) {
        vec4 v = load_f4(x, i * 4);
        sum += dot(v, v);
#if defined HALF
        vec4 size = abs(norm ? v * load_f4(p.norm, i * 4) : v);
        most = max(most, max(max(size.x, size.y), max(size.z, size.w)));
#endif
    }
#if !defined HALF
    if (norm)
#endif
    {
        vec2 all = reduce(sum, most);
        if (norm)
            factor = 1 / sqrt(all.x / float(p.n_in) + p.eps);
#if defined HALF
        // 13 less the exponent of the largest; none for zero, infinity and NaN.
        int e = 140 - int(floatBitsToUint(all.y * factor) >> 23 & 255);
        e = e == 140 || e == 140 - 255 ? 0 : min(e, 100);
        factor *= uintBitsToFloat(uint(127 + e) << 23);
        if (gl_LocalInvocationIndex == 0)
            store_f(p.scale, t * 4, uintBitsToFloat(uint(127 - e) << 23));
#endif
    }
    for (uint i = from; i < p.n_to; i += stride) {
        vec4 v = vec4(0);
        if (i < p.n_in) {
            v = load_f4(x, i * 4) * factor;
            if (norm)
                v *= load_f4(p.norm, i * 4);
        }
#if defined HALF
        store_h4(to, i * 2, f16vec4(v));
#else
        store_f4(to, i * 4, v);
#endif
    }
}
