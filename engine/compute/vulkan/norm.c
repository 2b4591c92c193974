// norm.c - all norms of a row: one workgroup a row (kernels/norm.comp).
//
// Invocations: about four loads of four columns for each, since with one row a workgroup's latency
// is all there is to save; on a processor one subgroup, which needs no barriers.
#include "vulkan.h"

enum { LANES_LEAST = 32, LANES_MOST = 512, COLUMNS_A_LANE = 16, GROUPS_MOST = 65535 };

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

static struct range range_of(const struct tensor *tensor) // NULL: none
{
    return tensor ? vk_range(tensor) : (struct range){0};
}

// Into `to`, which for norms into scratch is no tensor.
static void norm_dispatch(struct vulkan *vk, struct range to, size_t to_row, const struct norm *n)
{
    const uint32_t n_group = n->n_group ? (uint32_t)n->n_group : 1;
    const int64_t most = GROUPS_MOST / n_group, n_cols = n->x->n_cols / n_group;
    const struct range from = vk_range(n->x), weight = range_of(n->weight),
                       bias = range_of(n->bias), residual = range_of(n->residual);
    struct push_norm push = {
        .to = to.address,
        .x = from.address,
        .weight = weight.address,
        .bias = bias.address,
        .residual = residual.address,
        .to_row = (uint32_t)to_row,
        .x_row = (uint32_t)n->x->row_bytes,
        .residual_row = n->residual ? (uint32_t)n->residual->row_bytes : 0,
        .n_cols = (uint32_t)n_cols,
        .eps = n->eps,
        .scale = n->scale,
    };
    const uint64_t all = push.to | push.x | push.weight | push.bias | push.residual | push.to_row |
                         push.x_row | push.residual_row | (n_group > 1 ? 4 * (uint64_t)n_cols : 0);
    for (int64_t t = 0; t < n->x->n_rows; t += most) { // heads of a long prompt are many
        const int64_t left = n->x->n_rows - t;
        const uint32_t rows = (uint32_t)(left < most ? left : most);
        vk_dispatch(vk, &(struct dispatch){
                            .kernel = "norm",
                            .spec = {lanes_for(vk_features(vk), n_cols), all % 16 == 0, n->centred,
                                     n_group},
                            .n_spec = 4,
                            .push = &push,
                            .push_bytes = sizeof(push),
                            .groups = {1, rows * n_group, 1},
                            .read = {from, weight, bias, residual},
                            .write = {to},
                            .bytes = 2.0 * (double)from.n_bytes,
                            .flops = 4.0 * (double)(n->x->n_rows * n->x->n_cols),
                        });
        push.to += (uint64_t)most * push.to_row;
        push.x += (uint64_t)most * push.x_row;
        push.residual += push.residual ? (uint64_t)most * push.residual_row : 0;
    }
}

void vk_norm(struct compute *compute, const struct norm *args)
{
    norm_dispatch(vk_of(compute), vk_range(args->out), args->out->row_bytes, args);
}

struct range vk_normed(struct vulkan *vk, const struct matmul_x *x)
{
    const size_t row_bytes = (size_t)x->x->n_cols * sizeof(float);
    const struct range to = vk_scratch(vk, row_bytes * (uint64_t)x->x->n_rows);
    norm_dispatch(vk, to, row_bytes,
                  &(struct norm){.x = x->x, .weight = x->norm, .eps = x->eps, .scale = 1});
    return to;
}
