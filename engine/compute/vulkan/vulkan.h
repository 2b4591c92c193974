// vulkan.h - what the files of compute/vulkan/ share; no other folder includes it.
//
//   entry_*.c    how the Vulkan entry point is found (the link line chooses the file)
//   instance.c   instance and survey: what Vulkan enumerates, and why a device is refused
//   device.c     choice of the device, its features, queue, opening and closing
//   memory.c     heaps, buffers, how inputs get in and results get out
//   split.c      weights larger than one buffer
//   codebook.c   the codebooks of IQ1, IQ2 and IQ3
//   upload.c     weights from the file into device memory; layout.c: how their rows lie there
//   pipeline.c   embedded kernels, their checks (spirv.c), pipelines; pipeline_cache.c: on disk
//   record.c     recordings: dispatches, barriers, submissions, recordings kept under a key
//   core.h       what these share and the others, one file a family of operations, do not see
//
// Kernels reach memory by 64-bit addresses in their push constants (buffer device addresses, core
// in Vulkan 1.3): no descriptor sets, no range limit below that of an allocation, and a view of a
// tensor costs nothing. op.c has checked every shape before an address is made. A kernel is named
// as its line in the Makefile, "matvec-q4_k"; its push constants are a struct of kernels/params.h.
#pragma once

#include "../backend.h"

#include "kernels/params.h"

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

struct features {                        // what kernels are chosen by; filled by device.c
    uint32_t subgroup_min, subgroup_max; // sizes a kernel may ask for; equal where it cannot
    uint32_t subgroup_default;
    uint32_t shared_bytes;        // of one workgroup
    uint32_t workgroup_most;      // invocations
    uint32_t n_compute_units;     // 0 = unknown
    bool half;                    // 16-bit float arithmetic
    bool integer_dot;             // 4x8-bit packed, signed, accelerated
    bool cooperative_matrix;      // 16x16x16, f16 x f16 + f32, subgroup scope
    uint32_t matrix_unit;         // 16 where that is so, 8 where only 8x8x8 is (llvmpipe), or 0
    bool cooperative_matrix_int8; // 16x16x16, s8 x s8 + s32
    bool software;                // runs on the processor (llvmpipe)
};

struct vulkan; // begins with its struct compute (core.h)
static inline struct vulkan *vk_of(struct compute *compute)
{
    return (struct vulkan *)(void *)compute;
}
const struct features *vk_features(const struct vulkan *vk);

// The size of the subgroups that kernels are written for: 32 where a kernel may ask for it.
static inline uint32_t vk_subgroup_asked(const struct features *features) // 0: it may not
{
    return features->subgroup_min <= 32 && features->subgroup_max >= 32 ? 32 : 0;
}
static inline uint32_t vk_subgroup(const struct features *features)
{
    const uint32_t asked = vk_subgroup_asked(features);
    return asked > 0 ? asked : features->subgroup_default;
}
// Compute units; of a driver that does not tell, a guess at a middling GPU.
static inline uint32_t vk_units(const struct features *features)
{
    enum { UNKNOWN = 32 };
    return features->n_compute_units > 0 ? features->n_compute_units : UNKNOWN;
}

// ---- memory.c, layout.c -------------------------------------------------------------------------

struct range { // of device memory
    uint64_t address, n_bytes;
};
struct range vk_range(const struct tensor *tensor); // the view's first to last byte
// What the host last wrote into an I32 tensor [1][n], from a copy that is cheap to read; NULL: it
// is another kind of tensor.
const int32_t *vk_ints(const struct tensor *tensor);
// Undefined memory that an operation may use between its dispatches, 256-aligned; it is reused
// after the recording.
struct range vk_scratch(struct vulkan *vk, uint64_t n_bytes);

// Rows in device memory: the blocks of a row are taken apart into planes (all quants, then all
// scales ...), each plane padded to 16 bytes, so that every load is aligned. The planes of each
// format stand in layout.c; kernels/weight.glsl reads them. layout_pack writes 2 to 16 bytes at a
// time, here and there: `out` should be cached memory, not the device's write-combined one. It may
// run on several threads.
bool layout_known(enum dtype type);
size_t layout_row_bytes(enum dtype type, int64_t n_cols);
void layout_pack(enum dtype type, void *out, const void *rows, int64_t n_rows, int64_t n_cols);

// ---- split.c ------------------------------------------------------------------------------------

// Weights that are larger than one buffer lie in several, whole rows in each: 1 for all others.
int64_t vk_n_parts(const struct tensor *weight);
struct tensor vk_part(const struct tensor *weight, int64_t i, int64_t *row0); // a view of one
// Where kernels find experts of `rows` rows each: the first one's row, or (table = 1) a table of
// their addresses. Both are named in a recording by this call.
struct expert_place {
    uint64_t address;
    uint32_t table;
};
struct expert_place vk_experts(const struct tensor *weight, uint32_t rows);

// ---- codebook.c ---------------------------------------------------------------------------------

// Where a kernel finds the codebook of a format that weights were made in; 0: it has none. And the
// bytes of shared memory that the kernel takes for it.
uint64_t vk_codebook(const struct vulkan *vk, enum dtype type);
uint32_t codebook_bytes(enum dtype type);

// ---- record.c -----------------------------------------------------------------------------------

enum { SPEC_MOST = 16, RANGES_MOST = 8, PUSH_MOST = 136 }; // PUSH_MOST: bytes (params.h)

struct dispatch {
    const char *kernel;       // "matvec-q4_k"
    uint32_t spec[SPEC_MOST]; // specialisation constants by id, from 0
    uint32_t n_spec;
    uint32_t subgroup;                                  // size to ask for; 0 = the driver's choice
    const void *push;                                   // a struct of kernels/params.h
    size_t push_bytes;                                  // checked against the SPIR-V
    uint32_t groups[3];                                 // workgroups
    struct range read[RANGES_MOST], write[RANGES_MOST]; // for the barriers; unused: n_bytes 0
    double bytes, flops; // the work, by which submissions are bounded in time
};
// Appends it to the recording, with a barrier before it when it touches what an earlier dispatch
// since the last barrier wrote (or writes what one read).
void vk_dispatch(struct vulkan *vk, const struct dispatch *dispatch);

// "matvec" and DTYPE_Q4_K -> "matvec-q4_k"
const char *vk_kernel_name(char out[48], const char *family, enum dtype type);

// ---- the operations (one file a family) ---------------------------------------------------------

void vk_embed(struct compute *compute, const struct tensor *out, const struct tensor *token_embd,
              const struct tensor *token, float scale);
void vk_rows(struct compute *compute, const struct tensor *out, const struct tensor *x,
             const struct tensor *row);
void vk_copy(struct compute *compute, const struct tensor *to, const struct tensor *from,
             size_t n_bytes);
void vk_norm(struct compute *compute, const struct norm *args);
void vk_matmul(struct compute *compute, const struct matmul *products, int n,
               const struct matmul_x *x);
void vk_matmul_glu(struct compute *compute, const struct matmul_glu *glu, const struct matmul_x *x);
void vk_rope_kv(struct compute *compute, const struct rope_kv *args);
void vk_attention(struct compute *compute, const struct tensor *out, const struct tensor *q,
                  const struct tensor *k, const struct tensor *v, const struct tensor *pages,
                  const struct tensor *table, const struct tensor *count,
                  const struct attention *attention);
void vk_top_k(struct compute *compute, const struct tensor *id, const struct tensor *value,
              const struct tensor *total, const struct tensor *x);
void vk_route(struct compute *compute, const struct tensor *id, const struct tensor *weight,
              const struct tensor *logits, const struct route *route);
void vk_matmul_experts(struct compute *compute, const struct matmul_experts *args);
void vk_elementwise(struct compute *compute, const struct elementwise *args);
void vk_experts_glu(struct compute *compute, const struct experts_glu *args,
                    const struct matmul_x *x);
void vk_experts_down(struct compute *compute, const struct experts_down *args);
void vk_streams(struct compute *compute, const struct streams *args);
void vk_streams_read(struct compute *compute, const struct streams_read *args);
void vk_compress(struct compute *compute, const struct compress *args);
void vk_attention_far(struct compute *compute, const struct attention_far *args);
void vk_index_keys(struct compute *compute, const struct index_keys *args);
void vk_index_choose(struct compute *compute, const struct index_choose *args);
void vk_conv(struct compute *compute, const struct conv *args);
void vk_delta_net(struct compute *compute, const struct delta_net *args);
void vk_mamba2(struct compute *compute, const struct mamba2 *args);
void vk_experts_sum(struct compute *compute, const struct tensor *out,
                    const struct tensor *residual, const struct tensor *y,
                    const struct tensor *weight);

enum status vk_bandwidth(struct compute *compute, double *copy_bytes_per_s,
                         double *read_bytes_per_s, struct err *err);
// x normalised into scratch, rows n_cols * 4 bytes apart (norm.c): for products that do not do it
// themselves.
struct range vk_normed(struct vulkan *vk, const struct matmul_x *x);

// out = activation(out) * up, or without up activation(out): what a product leaves undone.
void vk_glu_of(struct vulkan *vk, const struct tensor *out, const struct tensor *up,
               enum activation activation);

// out = rows of scratch, close together, + residual (which may be NULL). Few rows.
void vk_put_rows(struct vulkan *vk, const struct tensor *out, struct range from,
                 const struct tensor *residual);

// ---- between the two ways of a product ----------------------------------------------------------

// The matrices that the x of a layer of experts meets: gate and up, or up alone.
struct expert_matrices {
    int n;
    const struct tensor *w[2], *bias[2]; // biases may be NULL
    int64_t row0[2];                     // where the first expert's rows begin
    uint32_t expert_rows;                // from one expert to the next
};

#define DISPATCH_FLOPS 50e9      // most of one dispatch of attention: 50 ms of a slow device
enum { MATVEC_MOST = FEW_ROWS }; // tokens; more are a matrix-matrix product
// matvec.c, matmul.c: the two halves of vk_matmul and vk_matmul_glu (dispatch by n_tokens is in
// product.c) and of vk_matmul_experts.
void vk_matvec(struct vulkan *vk, const struct matmul *products, int n, const struct matmul_x *x);
// One product with neither `out` nor residual: its rows go into scratch, close together.
void vk_matvec_into(struct vulkan *vk, struct range into, const struct matmul *product,
                    const struct matmul_x *x);
void vk_matvec_glu(struct vulkan *vk, const struct matmul_glu *glu, const struct matmul_x *x);
void vk_matvec_experts(struct vulkan *vk, const struct matmul_experts *args);
void vk_matvec_experts_glu(struct vulkan *vk, const struct expert_matrices *m,
                           const struct experts_glu *args, const struct matmul_x *x);
void vk_matvec_experts_down(struct vulkan *vk, const struct experts_down *args);
void vk_matmat(struct vulkan *vk, const struct matmul *products, int n, const struct matmul_x *x);
void vk_matmat_glu(struct vulkan *vk, const struct matmul_glu *glu, const struct matmul_x *x);
void vk_matmat_experts(struct vulkan *vk, const struct matmul_experts *args);
// Each matrix of m into one of `to`, with what x is and who goes where found once.
void vk_matmat_experts_of(struct vulkan *vk, const struct tensor *const to[2],
                          const struct expert_matrices *m, const struct tensor *id,
                          const struct matmul_x *x, int32_t x_share);
