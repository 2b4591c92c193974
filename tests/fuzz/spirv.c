// spirv.c - fuzz target: any bytes as a SPIR-V module (engine/compute/vulkan/spirv.c). What is read
// must be what the embedded kernels may say, or refused with a reason.
//
// Kept inputs: spirv/ (small kernels of ours, and what fuzzing found).
#include "compute/vulkan/core.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct spirv spirv;
    const char *wrong = NULL;
    uint32_t *code = malloc(size ? size : 1); // aligned, and not a byte longer than the input
    if (!code)
        abort();
    memcpy(code, data, size);
    bool good = spirv_read(&spirv, code, size, &wrong);
    if (good != !wrong)
        abort();
    if (good && (spirv.local[0] == 0 || spirv.local[1] == 0 || spirv.local[2] == 0))
        abort();
    free(code);
    return 0;
}
