// simd_portable.h - vectors of 4 floats in the compiler's own vector extension, with the x86-64
// baseline alone: what float_body.h is written in.
//
// simd_avx2.h and simd_avx512.h give the same names; nothing else may differ between them. Loads
// and stores need no alignment. BLOCK_ROWS x BLOCK_TOKENS sums and what feeds them must fit the
// registers there are.
#pragma once

#include "../blocks.h"

#define VF_LANES 4
#define BLOCK_ROWS 2   // weight rows and
#define BLOCK_TOKENS 4 // tokens multiplied at once, all sums in registers

typedef float vf __attribute__((vector_size(4 * VF_LANES)));
typedef int32_t vi __attribute__((vector_size(4 * VF_LANES)));

static inline vf vf_set(float x)
{
    return (vf){x, x, x, x};
}

static inline vf vf_load(const float *p)
{
    vf v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline void vf_store(float *p, vf v)
{
    memcpy(p, &v, sizeof(v));
}

static inline vf vf_fma(vf a, vf b, vf c)
{
    return a * b + c;
}

static inline vf vf_max(vf a, vf b)
{
    vi take = a > b;
    return (vf)(((vi)a & take) | ((vi)b & ~take));
}

static inline vf vf_load_f16(const uint16_t *p)
{
    return (vf){float_from_f16(p[0]), float_from_f16(p[1]), float_from_f16(p[2]),
                float_from_f16(p[3])};
}

static inline vf vf_load_bf16(const uint16_t *p)
{
    return (vf){float_from_bf16(p[0]), float_from_bf16(p[1]), float_from_bf16(p[2]),
                float_from_bf16(p[3])};
}

static inline void vf_store_f16(uint16_t *p, vf v)
{
    for (int i = 0; i < VF_LANES; i++)
        p[i] = f16_from_float(v[i]);
}

static inline float vf_sum(vf v)
{
    return (v[0] + v[2]) + (v[1] + v[3]);
}
