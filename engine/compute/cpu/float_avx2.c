// float_avx2.c - the F32 kernels of float_body.h compiled for AVX2, FMA and F16C.
//
// Compiled with its instruction set's flags (Makefile), so nothing here may run before cpuid was
// asked (device.c). Its vectors are those of simd_avx2.h. The computations themselves, and what
// they promise, are in float_body.h.
#include "simd_avx2.h"

#include "float_body.h"
#include "float_recurrent.h"

const struct float_kernels float_avx2 = {
    .name = "avx2",
    .norm = norm,
    .glu = glu,
    .gate_add = gate_add,
    .softcap = softcap,
    .to_f16 = to_f16,
    .to_q8_0 = to_q8_0,
    .matmul = matmul,
    .attention = attention,
    .conv = conv,
    .unit_length = unit_length,
    .delta = delta,
    .scan = scan,
};
