// norm.c - op_rms_norm: one workgroup a row (kernels/norm.comp).
//
// Invocations: about four loads of four columns for each, since with one row a workgroup's latency
// is all there is to save; on a processor one subgroup, which needs no barriers.
#include "vulkan.h"

enum { LANES_LEAST = 32, LANES_MOST = 512, COLUMNS_A_LANE = 16 };

static uint32_t lanes_for(const struct features *features, int64_t n_cols)
{
    if (features->software)
        return features->subgroup_default;
    uint32_t lanes = LANES_LEAST;
    while (lanes < LANES_MOST && lanes * 2 <= features->workgroup_most &&
           (int64_t)lanes * COLUMNS_A_LANE < n_cols)
        lanes *= 2;
    return lanes;
}

static void norm_dispatch(struct vulkan *vk, struct range to, size_t to_row, const struct tensor *x,
                          const struct tensor *weight, float eps)
{
    const struct range from = vk_range(x), w = vk_range(weight);
    const struct push_norm push = {
        .to = to.address,
        .x = from.address,
        .weight = w.address,
        .to_row = (uint32_t)to_row,
        .x_row = (uint32_t)x->row_bytes,
        .n_cols = (uint32_t)x->n_cols,
        .eps = eps,
    };
    if (x->n_rows == 0)
        return;
    const uint64_t all = push.to | push.x | push.weight | push.to_row | push.x_row;
    struct dispatch dispatch = {
        .kernel = "norm",
        .spec = {lanes_for(vk_features(vk), x->n_cols), all % 16 == 0},
        .n_spec = 2,
        .push = &push,
        .push_bytes = sizeof(push),
        .groups = {1, (uint32_t)x->n_rows, 1},
        .read = {from, w},
        .write = {to},
        .bytes = 2.0 * (double)from.n_bytes,
        .flops = 4.0 * (double)(x->n_rows * x->n_cols),
    };
    vk_dispatch(vk, &dispatch);
}

void vk_rms_norm(struct compute *compute, const struct tensor *out, const struct tensor *x,
                 const struct tensor *weight, float eps)
{
    struct vulkan *vk = vk_of(compute);
    norm_dispatch(vk, vk_range(out), out->row_bytes, x, weight, eps);
}

struct range vk_normed(struct vulkan *vk, const struct matmul_x *x)
{
    const size_t row_bytes = (size_t)x->x->n_cols * sizeof(float);
    const struct range to = vk_scratch(vk, row_bytes * (uint64_t)x->x->n_rows);
    norm_dispatch(vk, to, row_bytes, x->x, x->norm, x->eps);
    return to;
}
