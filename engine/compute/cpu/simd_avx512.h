// simd_avx512.h - vectors of 16 floats with AVX-512 for float_body.h.
//
// The names and their meaning are those of simd_portable.h; nothing may be here that is not there.
// Conversions to and from half floats are the hardware's and round to nearest even, as
// f16_from_float (blocks.h) does. Included by files that are compiled with the instruction set's
// flags only.
#pragma once

#include "../blocks.h"

#include <immintrin.h>

#define VF_LANES 16
#define BLOCK_ROWS 4
#define BLOCK_TOKENS 6

typedef float vf __attribute__((vector_size(4 * VF_LANES)));
typedef int32_t vi __attribute__((vector_size(4 * VF_LANES)));

static inline vf vf_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void vf_store(float *p, vf v)
{
    _mm512_storeu_ps(p, v);
}

static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}

static inline vf vf_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static inline vf vf_load_bf16(const uint16_t *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

static inline void vf_store_f16(uint16_t *p, vf v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

static inline float vf_sum(vf v)
{
    return _mm512_reduce_add_ps(v);
}
