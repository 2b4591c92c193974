// compute.h - floor 1: memory of a device and the operations a forward pass is made of.
//
// One header, two implementations behind it: compute/vulkan/ (the product) and compute/cpu/ (the
// oracle, and the explicit choice `device = cpu`). Tensors have no names and no meaning here: a
// tensor is a row-major matrix somewhere in the device's memory. All calls come from the engine
// thread.
//
// Use: between compute_begin() and compute_finish() operations are recorded, in order, each seeing
// the results of those before it; results may be read after compute_finish(). An implementation may
// run an operation at once or all of them at the end: a caller must not write a tensor or free
// anything between the two. Shapes and types are the caller's duty (checked, die() on a mismatch: a
// programming error; a file's shapes are checked in model/weights.c before they get here).
#pragma once

#include "../base/base.h"

// ---- storage formats: the numbers are GGUF's tensor type ids ----------------------------------

enum dtype {
    DTYPE_F32 = 0,
    DTYPE_F16 = 1,
    DTYPE_Q4_0 = 2,
    DTYPE_Q4_1 = 3,
    DTYPE_Q5_0 = 6,
    DTYPE_Q5_1 = 7,
    DTYPE_Q8_0 = 8,
    DTYPE_Q4_K = 12,
    DTYPE_Q5_K = 13,
    DTYPE_Q6_K = 14,
    DTYPE_I32 = 26,
    DTYPE_BF16 = 30,
};

const char *dtype_name(enum dtype type);        // "Q4_K"; "?" for an unknown number
bool dtype_known(uint32_t type);                // readable as a weight by this build
uint32_t dtype_block_elements(enum dtype type); // 1, 32 or 256
uint32_t dtype_block_bytes(enum dtype type);
size_t dtype_row_bytes(enum dtype type, int64_t n_cols); // n_cols: a multiple of the block
// Decodes n elements (a multiple of the block) to float: the definition of the format (GGUF
// specification; ggml block layouts).
void dtype_decode(enum dtype type, float *out, const void *in, int64_t n);

// ---- device and memory ------------------------------------------------------------------------

struct compute; // an opened device
struct buffer;  // a piece of its memory

struct tensor { // a view: [n_rows][n_cols], row-major, rows row_bytes apart
    struct buffer *buffer;
    size_t offset; // bytes from the start of the buffer
    size_t row_bytes;
    int64_t n_rows, n_cols;
    enum dtype type;
};

struct compute_options {
    const char *device; // "auto", "cpu" or a device's name
    int32_t n_threads;  // CPU threads; 0 = one a core this process may run on
};

struct compute_info {
    char device[96];  // as a person should read it: "CPU: AMD EPYC ... (2 threads, AVX-512 VNNI)"
    char backend[16]; // "cpu" or "vulkan"
    char reason[320]; // why this device and not a GPU; one sentence
    int32_t n_threads;
    uint64_t memory_bytes, memory_usable_bytes;
};

MUST_USE enum status compute_open(struct compute **out, const struct compute_options *options,
                                  struct err *err);
void compute_close(struct compute *compute);
const struct compute_info *compute_info(const struct compute *compute);

// Zero-filled device memory that lives until compute_close or tensor_free. NO_ROOM names the size.
MUST_USE enum status compute_tensor(struct compute *compute, struct tensor *out, enum dtype type,
                                    int64_t n_rows, int64_t n_cols, struct err *err);
// Weights: `data` (dtype_row_bytes(type, n_cols) * n_rows bytes, 32-aligned at least, in a mapped
// file) must outlive the tensor: the CPU borrows it, a GPU copies it into its own memory.
MUST_USE enum status compute_weight(struct compute *compute, struct tensor *out, enum dtype type,
                                    int64_t n_rows, int64_t n_cols, const void *data,
                                    struct err *err);
void tensor_free(struct compute *compute, struct tensor *tensor);
struct tensor tensor_rows(const struct tensor *tensor, int64_t row0,
                          int64_t n_rows); // a view of some rows
void tensor_write(struct compute *compute, const struct tensor *to, const void *from,
                  size_t n_bytes);
void tensor_read(struct compute *compute, void *to, const struct tensor *from, size_t n_bytes);

// ---- the operations ---------------------------------------------------------------------------
// Activations are F32. n_tokens is the number of rows of the activation. Names are those of
// model/forward.c.

void compute_begin(struct compute *compute);
MUST_USE enum status compute_finish(struct compute *compute,
                                    struct err *err); // DEVICE_ERROR: the device is lost

// out[t] = decode(token_embd[token[t]]); token: I32 [1][n_tokens]
void op_embed(struct compute *compute, const struct tensor *out, const struct tensor *token_embd,
              const struct tensor *token);

// out[t] = x[t] / sqrt(mean(x[t]^2) + eps) * weight   (Zhang & Sennrich 2019)
void op_rms_norm(struct compute *compute, const struct tensor *out, const struct tensor *x,
                 const struct tensor *weight, float eps);

// out[t][r] = dot(w[r], x[t]) + bias[r] + residual[t][r]. w: [n_out][n_in] of any format; x:
// [n_tokens][n_in]; bias (F32 [1][n_out]) and residual (F32 [n_tokens][n_out], may be `out` itself)
// may be NULL.
struct matmul {
    const struct tensor *out, *w, *bias, *residual;
};
// Several products of one x (q, k, v; gate, up), so that x is read, and quantised, once. n <= 4.
void op_matmul(struct compute *compute, const struct matmul *products, int n,
               const struct tensor *x);

enum rope_pairs {
    ROPE_NORM, // rotates (x[2i], x[2i+1])             - GGUF `llama`
    ROPE_NEOX, // rotates (x[i], x[i + n_rot/2])       - GGUF `qwen2`
};
struct rope {
    enum rope_pairs pairs;
    int32_t n_rot;             // leading dimensions of each head that are rotated (even)
    float freq_base;           // theta
    float freq_scale;          // positions are multiplied by it (linear scaling); 1 = none
    const float *freq_factors; // [n_rot/2] divides each frequency (Llama 3 scaling,
                               // rope_freqs.weight); NULL = none
};
// In place on x [n_tokens][n_head * head_dim]; pos: I32 [1][n_tokens]  (Su et al. 2021)
void op_rope(struct compute *compute, const struct tensor *x, const struct tensor *pos,
             int32_t head_dim, const struct rope *rope);

// cache[row[t]] = x[t], converted to the cache's format (F16). row: I32 [1][n_tokens].
void op_kv_store(struct compute *compute, const struct tensor *cache, const struct tensor *x,
                 const struct tensor *row);

// Causal grouped-query attention over a cache of rows. Token t attends to cache rows first[t] ..
// first[t] + count[t] - 1. q, out: [n_tokens][n_head * head_dim]; k, v: F16 [rows][n_head_kv *
// head_dim]; first, count: I32 [1][n_tokens]. out[t][h] = softmax(q[t][h] . k[.][h / (n_head /
// n_head_kv)] * scale) v, in one pass with a running maximum.
struct attention {
    int32_t n_head, n_head_kv, head_dim;
    float scale; // 1 / sqrt(head_dim)
};
void op_attention(struct compute *compute, const struct tensor *out, const struct tensor *q,
                  const struct tensor *k, const struct tensor *v, const struct tensor *first,
                  const struct tensor *count, const struct attention *attention);

// out = silu(gate) * up  (Shazeer 2020); out may be gate.
void op_swiglu(struct compute *compute, const struct tensor *out, const struct tensor *gate,
               const struct tensor *up);

// out[i] = x[row[i]]; row: I32 [1][n]. Picks the positions whose logits are wanted.
void op_rows(struct compute *compute, const struct tensor *out, const struct tensor *x,
             const struct tensor *row);
