// matmat.h - what matmat.c and experts.c share: one product of many rows, dense or by experts.
#pragma once

#include "vulkan.h"

struct tile_shape {                  // of results that a workgroup makes
    uint32_t tokens, rows;           // rows of x; rows of w (of both with GLU)
    uint32_t wave_tokens, wave_rows; // the part of one subgroup; 0: matmat_tile
};

struct product {
    enum dtype type;
    struct push_matmat push;
    uint32_t glu;          // 1 + enum activation, or 0
    uint32_t expert_tiles; // workgroups along the tokens; 0: no experts
    uint32_t table;        // push.w is a table of the experts' addresses (vk_experts)
    struct range read[RANGES_MOST], write;
};

// The shape by which n_groups times n_tokens rows of x (experts: n_groups of them) meet n_rows rows
// of w soonest; shared_bytes: what the format's codebook takes of shared memory.
struct tile_shape matmat_shape(const struct features *features, double n_groups, double n_tokens,
                               int64_t n_rows, uint32_t shared_bytes);
// x as the kernels read it: push.x, x_row, scale, n_in, and what is read. norm may be NULL.
void matmat_x(struct vulkan *vk, struct product *product, const struct tensor *x,
              const struct tensor *norm, float eps);
// Records it, in parts when it is long. parts > 1: the columns are split among as many (split-k).
void matmat_dispatch(struct vulkan *vk, const struct product *product,
                     const struct tile_shape *shape, uint32_t parts);
