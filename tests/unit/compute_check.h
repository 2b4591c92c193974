// compute_check.h - what the compute_*.c tests share: opening a device with a forced instruction
// set, tensors on it. Random data and the weight formats: formats.h.
#pragma once

#include "../../engine/compute/compute.h"

#include "check.h"
#include "formats.h"

// ---- devices ----------------------------------------------------------------------------------

static const char *const isas[] = {"portable", "avx2", "avx512"};

// Opens the CPU with an instruction set forced, or says why that is skipped and returns NULL.
static inline struct compute *open_cpu(const char *isa, int32_t n_threads)
{
    struct compute *compute = NULL;
    struct compute_options options = {.device = "cpu", .n_threads = n_threads};
    struct err err = {0};
    setenv("TAWNY_CPU", isa, 1);
    enum status status = compute_open(&compute, &options, &err);
    unsetenv("TAWNY_CPU");
    if (status == UNSUPPORTED)
        check_skip(isa, err.text);
    else if (!CHECK(status == OK))
        fprintf(stderr, "    %s\n", err.text);
    return status == OK ? compute : NULL;
}

static inline struct tensor tensor_of(struct compute *compute, enum dtype type, int64_t n_rows,
                                      int64_t n_cols, const void *data)
{
    struct tensor tensor = {0};
    CHECK(compute_tensor(compute, &tensor, type, n_rows, n_cols, NULL) == OK);
    if (data)
        tensor_write(compute, &tensor, data, tensor.row_bytes * (size_t)n_rows);
    return tensor;
}
