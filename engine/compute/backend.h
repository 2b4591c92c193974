// backend.h - the seam between compute.h and its implementations (cpu/, vulkan/): what one must
// provide.
//
// compute.c and op.c check every argument once, for all implementations; behind this table shapes
// and types are as compute.h promises, and strides, widths and numbers of heads that were left 0
// are filled in. An implementation's state starts with a struct
// compute, its memory with whatever struct buffer it defines.
#pragma once

#include "compute.h"
#include "survey.h"

// Bytes from the first of a view to the end of its last row: behind that one a view of columns has
// no gap.
size_t tensor_span(const struct tensor *tensor);

// All norms: out = residual + scale * (x [less its mean, when centred] / its size * weight + bias).
struct norm {
    const struct tensor *out, *x, *weight, *bias, *residual; // the last three may be NULL
    float eps, scale;
    bool centred;
    int32_t n_group; // parts of a row that are normalised each by itself; 0: 1
};

enum elementwise_kind {
    ELEMENTWISE_GLU,      // activation(x) * y, or activation(x)
    ELEMENTWISE_ADD,      // a x + b y, or a x
    ELEMENTWISE_MULTIPLY, // x y
    ELEMENTWISE_GATE_ADD, // y + x sigmoid(gate), or x sigmoid(gate)
    ELEMENTWISE_SOFTCAP,  // a tanh(x / a)
};
struct elementwise {
    enum elementwise_kind kind;
    const struct tensor *out, *x, *y, *gate; // y may be NULL; gate: as op_gate_add's
    enum activation activation;
    float a, b;
};

enum streams_kind { STREAMS_MIX, STREAMS_ADD, STREAMS_GATE, STREAMS_BLEND };
struct streams { // op_streams_*
    enum streams_kind kind;
    // MIX: x, gate; ADD: x, y, gate [n_tokens][n_stream]; GATE: y, x, gate (z); BLEND: x (out is
    // the same), y, gate (weight)
    const struct tensor *out, *x, *y, *gate;
    int32_t n_stream;
};

struct backend {
    bool (*close)(struct compute *compute); // compute_close

    bool (*runs)(enum dtype type); // weights of this format; NULL: all that dtype.c knows
    // Bytes between two rows: dtype_row_bytes, or more.
    size_t (*row_bytes)(const struct compute *compute, enum dtype type, int64_t n_cols,
                        enum buffer_use use);
    // Zero-filled, or, for USE_WEIGHT, to be filled by load_rows from `data` (file layout):
    // borrowed or copied. whole_rows: as in compute_weight_begin.
    enum status (*buffer_open)(struct compute *compute, struct buffer **out,
                               const struct tensor *shape, enum buffer_use use, int64_t whole_rows,
                               const void *data, struct err *err);
    // Rows row0 .. of a weight; data: of its first row.
    enum status (*load_rows)(struct compute *compute, const struct tensor *weight, int64_t row0,
                             int64_t n_rows, const void *data, struct err *err);
    void (*buffer_close)(struct compute *compute, struct buffer *buffer);
    void (*write)(struct compute *compute, const struct tensor *to, const void *from,
                  size_t n_bytes);
    void (*read)(struct compute *compute, void *to, const struct tensor *from, size_t n_bytes);

    bool (*begin)(struct compute *compute, uint64_t key); // false: it will submit key's recording
    bool (*rehearse)(struct compute *compute);            // NULL: never
    enum status (*finish)(struct compute *compute, struct err *err);
    // The best of a few passes over buffers far larger than the last-level cache; bytes read plus
    // bytes written, and bytes read, a second.
    enum status (*bandwidth)(struct compute *compute, double *copy_bytes_per_s,
                             double *read_bytes_per_s, struct err *err);

    void (*embed)(struct compute *compute, const struct tensor *out,
                  const struct tensor *token_embd, const struct tensor *token, float scale);
    void (*norm)(struct compute *compute, const struct norm *args);
    void (*matmul)(struct compute *compute, const struct matmul *products, int n,
                   const struct matmul_x *x);
    void (*matmul_glu)(struct compute *compute, const struct matmul_glu *glu,
                       const struct matmul_x *x);
    void (*rope_kv)(struct compute *compute, const struct rope_kv *args);
    void (*attention)(struct compute *compute, const struct tensor *out, const struct tensor *q,
                      const struct tensor *k, const struct tensor *v, const struct tensor *pages,
                      const struct tensor *table, const struct tensor *count,
                      const struct attention *attention);
    void (*rows)(struct compute *compute, const struct tensor *out, const struct tensor *x,
                 const struct tensor *row);
    void (*copy)(struct compute *compute, const struct tensor *to, const struct tensor *from,
                 size_t n_bytes);
    void (*top_k)(struct compute *compute, const struct tensor *id, const struct tensor *value,
                  const struct tensor *total, const struct tensor *x);
    void (*route)(struct compute *compute, const struct tensor *id, const struct tensor *weight,
                  const struct tensor *logits, const struct route *route);
    void (*matmul_experts)(struct compute *compute, const struct matmul_experts *args);
    void (*elementwise)(struct compute *compute, const struct elementwise *args);
    void (*streams)(struct compute *compute, const struct streams *args);
    void (*streams_read)(struct compute *compute, const struct streams_read *args);
    void (*compress)(struct compute *compute, const struct compress *args);
    void (*attention_far)(struct compute *compute, const struct attention_far *args);
    void (*index_keys)(struct compute *compute, const struct index_keys *args);
    void (*index_choose)(struct compute *compute, const struct index_choose *args);
    void (*experts_sum)(struct compute *compute, const struct tensor *out,
                        const struct tensor *residual, const struct tensor *y,
                        const struct tensor *weight);
    void (*experts_glu)(struct compute *compute, const struct experts_glu *args,
                        const struct matmul_x *x);
    void (*experts_down)(struct compute *compute, const struct experts_down *args);
    // All three, or NULL: compute_has_recurrent.
    void (*conv)(struct compute *compute, const struct conv *args);
    void (*delta_net)(struct compute *compute, const struct delta_net *args);
    void (*mamba2)(struct compute *compute, const struct mamba2 *args);
};

struct compute {
    const struct backend *backend;
    struct compute_info info;
    bool recording;               // between compute_begin and compute_finish
    uint32_t n_ops;               // operations recorded so far: a new number, a new operation
    struct compute_counts counts; // of the last finished recording; the implementation's to fill in
    struct err lost;              // a transfer found the device lost; the implementation's as well
};

enum status cpu_open(struct compute **out, const struct compute_options *options,
                     struct err *err); // cpu/device.c
// vulkan/device.c. `device`: "auto" and "vulkan": the best GPU; else a part of a device's name (a
// software device only so). NOT_FOUND: there is no such device; other statuses: there is one, and
// it cannot be used, with the reason.
enum status vulkan_open(struct compute **out, const struct compute_options *options,
                        struct err *err);
void vulkan_survey(struct survey *out);
