// compute_check.h - what the compute_*.c tests share: the devices a check runs on, and tensors on
// them. Random data and the weight formats: formats.h.
//
// A check is a function of an opened device. It runs on the CPU with every instruction set this
// machine has or, when the environment names a device in TAWNY_TEST_DEVICE, on that one, whose
// arithmetic may be coarser (half floats, activations in 8 bits): is_cpu() and is_exact() tell a
// check what it may ask for.
#pragma once

#include "../../engine/compute/compute.h"

#include "check.h"
#include "formats.h"

static inline bool is_cpu(const struct compute *compute)
{
    return strcmp(compute_info(compute)->backend, "cpu") == 0;
}

static inline bool
is_exact(const struct compute *compute) // F32 everywhere: the CPU's portable path
{
    return is_cpu(compute) && strstr(compute_info(compute)->device, "no vector extensions");
}

// Opens a device, or says why that is skipped and returns NULL. isa: forces an instruction set of
// the CPU.
static inline struct compute *open_device(const char *device, const char *isa, int32_t n_threads)
{
    struct compute *compute = NULL;
    struct compute_options options = {.device = device, .n_threads = n_threads};
    struct err err = {0};
    if (isa)
        setenv("TAWNY_CPU", isa, 1);
    enum status status = compute_open(&compute, &options, &err);
    unsetenv("TAWNY_CPU");
    if (isa && status == UNSUPPORTED)
        check_skip(isa, err.text);
    else if (!CHECK(status == OK))
        fprintf(stderr, "    %s\n", err.text);
    return status == OK ? compute : NULL;
}

static inline void on_devices(int32_t n_threads, void (*check)(struct compute *compute))
{
    static const char *const isas[] = {"portable", "avx2", "avx512"};
    const char *device = getenv("TAWNY_TEST_DEVICE");
    for (size_t i = 0; i < (device ? 1 : COUNT_OF(isas)); i++) {
        struct compute *compute =
            device ? open_device(device, NULL, n_threads) : open_device("cpu", isas[i], n_threads);
        if (compute)
            check(compute);
        compute_close(compute);
    }
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

static inline struct tensor weight_of(struct compute *compute, enum dtype type, int64_t n_rows,
                                      int64_t n_cols, const void *data)
{
    struct tensor tensor = {0};
    CHECK(compute_weight(compute, &tensor, type, n_rows, n_cols, data, NULL) == OK);
    return tensor;
}

static inline struct tensor cache_of(struct compute *compute, enum dtype type, int64_t n_rows,
                                     int64_t n_cols)
{
    struct tensor tensor = {0};
    CHECK(compute_cache(compute, &tensor, type, n_rows, n_cols, NULL) == OK);
    return tensor;
}

static inline void free_all(struct compute *compute, struct tensor **tensors, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tensor_free(compute, tensors[i]);
}
#define FREE_ALL(compute, ...)                                                                     \
    free_all(compute, (struct tensor *[]){__VA_ARGS__},                                            \
             COUNT_OF(((struct tensor *[]){__VA_ARGS__})))

static inline void run_begin(struct compute *compute)
{
    CHECK(compute_begin(compute, 0));
}

static inline void run_end(struct compute *compute)
{
    CHECK(compute_finish(compute, NULL) == OK);
}
