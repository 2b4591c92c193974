// gather.c - rows moved by an index, or as they are.
#include "vulkan.h"

void vk_rows(struct compute *compute, const struct tensor *out, const struct tensor *x,
             const struct tensor *row)
{
    const struct push_rows push = {
        .to = vk_range(out).address,
        .x = vk_range(x).address,
        .row = vk_range(row).address,
        .to_row = (uint32_t)out->row_bytes,
        .x_row = (uint32_t)x->row_bytes,
        .n_cols = (uint32_t)out->n_cols,
    };
    const uint64_t all = push.to | push.x | push.to_row | push.x_row;
    const uint32_t four = all % 16 == 0 && push.n_cols % 4 == 0 ? 4 : 1,
                   group = 64 * four; // columns of a workgroup of rows.comp
    const double n_bytes = 2.0 * 4 * (double)out->n_rows * (double)out->n_cols;
    vk_dispatch(vk_of(compute),
                &(struct dispatch){
                    .kernel = "rows",
                    .spec = {four},
                    .n_spec = 1,
                    .push = &push,
                    .push_bytes = sizeof(push),
                    .groups = {(push.n_cols + group - 1) / group, (uint32_t)out->n_rows, 1},
                    .read = {vk_range(x), vk_range(row)},
                    .write = {vk_range(out)},
                    .bytes = n_bytes,
                });
}

void vk_copy(struct compute *compute, const struct tensor *to, const struct tensor *from,
             size_t n_bytes)
{
    enum { GROUP_BYTES = 2048 * 16 }; // what a workgroup of copy.comp takes
    const struct push_copy push = {vk_range(to).address, vk_range(from).address,
                                   (uint32_t)(n_bytes / 16)};
    if (n_bytes % 16 != 0 || to->offset % 16 != 0 || from->offset % 16 != 0)
        die("op_copy: %zu bytes from %zu to %zu, not in pieces of 16", n_bytes, from->offset,
            to->offset);
    vk_dispatch(vk_of(compute),
                &(struct dispatch){
                    .kernel = "copy",
                    .spec = {0},
                    .n_spec = 1,
                    .subgroup = vk_features(vk_of(compute))->subgroup_default,
                    .push = &push,
                    .push_bytes = sizeof(push),
                    .groups = {(uint32_t)((n_bytes + GROUP_BYTES - 1) / GROUP_BYTES), 1, 1},
                    .read = {vk_range(from)},
                    .write = {vk_range(to)},
                    .bytes = 2 * (double)n_bytes,
                });
}
