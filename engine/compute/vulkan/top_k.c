// top_k.c - op_top_k: slices of each row, then what they found, until one slice is left
// (kernels/top_k.comp). At k = 64 a vocabulary of 262144 is two dispatches, one up to 4096 a single
// one; the pairs between them lie in scratch memory.
#include "vulkan.h"

enum { SLICE = 4096, LANES = 256 };

struct level {
    const struct tensor *id, *value, *total, *x;
    struct range from, to; // pairs; from: nothing on the first level
    struct range sums;     // of the first level's slices
    uint32_t n, n_sums;    // numbers in a row; slices of the first level
};

static void level(struct vulkan *vk, const struct level *l)
{
    const struct features *features = vk_features(vk);
    const uint32_t n_rows = (uint32_t)l->x->n_rows, n_slices = (l->n + SLICE - 1) / SLICE;
    const bool last = n_slices == 1;
    const struct push_top_k push = {
        .x = vk_range(l->x).address,
        .from = l->from.address,
        .to = l->to.address,
        .id = vk_range(l->id).address,
        .value = vk_range(l->value).address,
        .total = l->total ? vk_range(l->total).address : 0,
        .sums = l->sums.address,
        .x_row = (uint32_t)l->x->row_bytes,
        .id_row = (uint32_t)l->id->row_bytes,
        .value_row = (uint32_t)l->value->row_bytes,
        .total_row = l->total ? (uint32_t)l->total->row_bytes : 0,
        .n = l->n,
        .k = (uint32_t)l->id->n_cols,
        .n_sums = l->n_sums,
    };
    struct dispatch dispatch = {
        .kernel = "top_k",
        .spec = {features->software ? features->subgroup_default : LANES, SLICE,
                 l->from.n_bytes == 0, last},
        .n_spec = 4,
        .push = &push,
        .push_bytes = sizeof(push),
        .groups = {n_slices, n_rows, 1},
        .read = {l->from, vk_range(l->x)},
        .bytes = 4.0 * l->n * n_rows,
        .flops = 1e3 * push.k * n_slices * n_rows, // rounds are slow
    };
    dispatch.write[0] = last ? vk_range(l->id) : l->to;
    if (last)
        dispatch.write[1] = vk_range(l->value);
    if (l->total && last)
        dispatch.write[2] = vk_range(l->total);
    else if (l->total && l->from.n_bytes == 0)
        dispatch.write[1] = l->sums;
    if (l->total && last && l->from.n_bytes != 0)
        dispatch.read[2] = l->sums;
    vk_dispatch(vk, &dispatch);
}

void vk_top_k(struct compute *compute, const struct tensor *id, const struct tensor *value,
              const struct tensor *total, const struct tensor *x)
{
    struct vulkan *vk = vk_of(compute);
    const uint64_t n_rows = (uint64_t)x->n_rows, k = (uint64_t)id->n_cols;
    struct level l = {.id = id,
                      .value = value,
                      .total = total,
                      .x = x,
                      .n = (uint32_t)x->n_cols,
                      .n_sums = ((uint32_t)x->n_cols + SLICE - 1) / SLICE};
    if (n_rows == 0)
        return;
    if (total && l.n_sums > 1)
        l.sums = vk_scratch(vk, n_rows * l.n_sums * 8);
    while (l.n > SLICE) {
        const uint64_t n_pairs = (l.n + SLICE - 1) / SLICE * k;
        l.to = vk_scratch(vk, n_rows * n_pairs * 8);
        level(vk, &l);
        l.from = l.to;
        l.n = (uint32_t)n_pairs;
    }
    level(vk, &l);
}
