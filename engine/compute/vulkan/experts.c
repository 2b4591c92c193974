// experts.c - products of a mixture of experts with many tokens: every expert's rows side by side.
//
// The host never sees which expert a token went to. The device sorts the rows by expert and cuts
// them into tiles (experts_sort.comp, experts_tiles.comp), then one dispatch of the same kernels as
// in matmat.c takes all tiles of all experts; it is as large as the tiles can be many, and the
// workgroups that are left over return at once. Each result is computed by itself, so that it does
// not depend on which rows share its tile.
#include "matmat.h"

#include <string.h>

struct sorted {
    struct range slot, first, tile;
    uint32_t n_tiles;
};

static void sort(struct vulkan *vk, const struct tensor *id, uint32_t n_expert, struct sorted *s)
{
    const uint32_t n = (uint32_t)(id->n_rows * id->n_cols);
    const struct features *f = vk_features(vk);
    const uint32_t lanes = f->subgroup_max;
    const struct push_experts_sort push = {vk_range(id).address, s->slot.address, s->first.address,
                                           n};
    if (id->row_bytes != (size_t)id->n_cols * 4)
        die("experts: ids with gaps between rows");
    vk_dispatch(vk, &(struct dispatch){
                        .kernel = "experts_sort",
                        .spec = {lanes},
                        .n_spec = 1,
                        .subgroup = lanes,
                        .push = &push,
                        .push_bytes = sizeof(push),
                        .groups = {n_expert, 1, 1},
                        .read = {vk_range(id)},
                        .write = {s->slot, s->first},
                        .bytes = 8.0 * n * n_expert,
                    });
}

static void cut(struct vulkan *vk, uint32_t n_expert, uint32_t rows, const struct sorted *s)
{
    const uint32_t lanes = vk_features(vk)->subgroup_max;
    const struct push_experts_tiles push = {s->first.address, s->tile.address, n_expert, s->n_tiles,
                                            rows};
    vk_dispatch(vk, &(struct dispatch){
                        .kernel = "experts_tiles",
                        .spec = {lanes},
                        .n_spec = 1,
                        .subgroup = lanes,
                        .push = &push,
                        .push_bytes = sizeof(push),
                        .groups = {1, 1, 1},
                        .read = {s->first},
                        .write = {s->tile},
                        .bytes = 8.0 * n_expert + 16.0 * s->n_tiles,
                    });
}

void vk_matmat_experts(struct vulkan *vk, const struct matmul_experts *a)
{
    const uint32_t n = (uint32_t)a->out->n_rows, n_out = (uint32_t)a->out->n_cols;
    const uint32_t n_expert = (uint32_t)(a->w->n_rows / n_out), busy = n_expert < n ? n_expert : n;
    struct product product = {.type = a->w->type, .write = vk_range(a->out)};
    struct push_matmat *push = &product.push;
    matmat_x(vk, &product, a->x, NULL, 0);
    const struct tile_shape shape =
        matmat_shape(vk_features(vk), busy, (double)n / (double)busy, n_out);
    struct sorted sorted = {.n_tiles = n / shape.tokens + busy};
    sorted.slot = vk_scratch(vk, 4ull * n);
    sorted.first = vk_scratch(vk, 4ull * (n_expert + 1));
    sorted.tile = vk_scratch(vk, sizeof(struct expert_tile) * sorted.n_tiles);
    sort(vk, a->id, n_expert, &sorted);
    cut(vk, n_expert, shape.tokens, &sorted);

    product.expert_tiles = sorted.n_tiles;
    product.read[2] = sorted.slot;
    product.read[3] = sorted.tile;
    push->to = product.write.address;
    push->to_row = (uint32_t)a->out->row_bytes;
    push->w = vk_range(a->w).address;
    push->w_row = (uint32_t)a->w->row_bytes;
    push->bias = a->bias ? vk_range(a->bias).address : 0;
    push->bias_row = a->bias ? (uint32_t)a->bias->row_bytes : 0;
    push->tile = sorted.tile.address;
    push->slot = sorted.slot.address;
    push->n_out = push->expert_rows = n_out;
    push->n_tokens = n;
    push->x_share = (uint32_t)a->x_share;
    matmat_dispatch(vk, &product, &shape, 1);
}
