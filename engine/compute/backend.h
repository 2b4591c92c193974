// backend.h - the seam between compute.h and its implementations (cpu/, vulkan/): what one must
// provide.
//
// compute.c, tensor.c and op.c check every argument once, for all implementations; behind this
// table shapes and types are as compute.h promises. An implementation's state starts with a struct
// compute, its memory with whatever struct buffer it defines.
#pragma once

#include "compute.h"

struct backend {
    void (*close)(struct compute *compute);

    // borrowed == NULL: zero-filled memory; else the caller's bytes, to be borrowed or copied.
    enum status (*buffer_open)(struct compute *compute, struct buffer **out, size_t n_bytes,
                               const void *borrowed, struct err *err);
    void (*buffer_close)(struct compute *compute, struct buffer *buffer);
    size_t (*buffer_bytes)(const struct buffer *buffer);
    void (*write)(struct compute *compute, const struct tensor *to, const void *from,
                  size_t n_bytes);
    void (*read)(struct compute *compute, void *to, const struct tensor *from, size_t n_bytes);

    void (*begin)(struct compute *compute);
    enum status (*finish)(struct compute *compute, struct err *err);

    void (*embed)(struct compute *compute, const struct tensor *out,
                  const struct tensor *token_embd, const struct tensor *token);
    void (*rms_norm)(struct compute *compute, const struct tensor *out, const struct tensor *x,
                     const struct tensor *weight, float eps);
    void (*matmul)(struct compute *compute, const struct matmul *products, int n,
                   const struct tensor *x);
    void (*rope)(struct compute *compute, const struct tensor *x, const struct tensor *pos,
                 int32_t head_dim, const struct rope *rope);
    void (*kv_store)(struct compute *compute, const struct tensor *cache, const struct tensor *x,
                     const struct tensor *row);
    void (*attention)(struct compute *compute, const struct tensor *out, const struct tensor *q,
                      const struct tensor *k, const struct tensor *v, const struct tensor *first,
                      const struct tensor *count, const struct attention *attention);
    void (*swiglu)(struct compute *compute, const struct tensor *out, const struct tensor *gate,
                   const struct tensor *up);
    void (*rows)(struct compute *compute, const struct tensor *out, const struct tensor *x,
                 const struct tensor *row);
};

struct compute {
    const struct backend *backend;
    struct compute_info info;
    bool recording; // between compute_begin and compute_finish
};

enum status cpu_open(struct compute **out, const struct compute_options *options,
                     struct err *err); // cpu/device.c
