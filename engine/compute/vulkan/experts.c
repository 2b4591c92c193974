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

void vk_matmat_experts_of(struct vulkan *vk, const struct tensor *const to[2],
                          const struct expert_matrices *m, const struct tensor *id,
                          const struct matmul_x *x, int32_t x_share)
{
    const uint32_t n = (uint32_t)to[0]->n_rows, n_out = (uint32_t)to[0]->n_cols,
                   n_expert = (uint32_t)(m->w[0]->n_rows / m->expert_rows),
                   busy = n_expert < n ? n_expert : n;
    struct product product = {0};
    struct push_matmat *push = &product.push;
    matmat_x(vk, &product, x->x, x->norm, x->eps);
    uint32_t codebook = codebook_bytes(m->w[0]->type);
    if (m->n == 2 && codebook_bytes(m->w[1]->type) > codebook)
        codebook = codebook_bytes(m->w[1]->type);
    const struct tile_shape shape =
        matmat_shape(vk_features(vk), busy, (double)n / (double)busy, n_out, codebook);
    struct sorted sorted = {.n_tiles = n / shape.tokens + busy};
    sorted.slot = vk_scratch(vk, 4ull * n);
    sorted.first = vk_scratch(vk, 4ull * (n_expert + 1));
    sorted.tile = vk_scratch(vk, sizeof(struct expert_tile) * sorted.n_tiles);
    sort(vk, id, n_expert, &sorted);
    cut(vk, n_expert, shape.tokens, &sorted);

    product.expert_tiles = sorted.n_tiles;
    product.read[2] = sorted.slot;
    product.read[3] = sorted.tile;
    push->expert_rows = m->expert_rows;
    push->tile = sorted.tile.address;
    push->slot = sorted.slot.address;
    push->n_out = n_out;
    push->n_tokens = n;
    push->x_share = (uint32_t)x_share;
    push->factor = 1;
    for (int i = 0; i < m->n; i++) {
        product.type = m->w[i]->type;
        product.write = vk_range(to[i]);
        push->to = product.write.address;
        push->to_row = (uint32_t)to[i]->row_bytes;
        push->w_row = (uint32_t)m->w[i]->row_bytes;
        const struct expert_place place = vk_experts(m->w[i], m->expert_rows);
        const uint64_t first = (uint64_t)m->row0[i] * push->w_row;
        product.table = place.table;
        push->w = place.address + (place.table ? 0 : first);
        push->w_at = place.table ? (uint32_t)first : 0;
        push->bias = m->bias[i] ? vk_range(m->bias[i]).address : 0;
        push->bias_row = m->bias[i] ? (uint32_t)m->bias[i]->row_bytes : 0;
        matmat_dispatch(vk, &product, &shape, 1);
    }
}

void vk_matmat_experts(struct vulkan *vk, const struct matmul_experts *a)
{
    const struct expert_matrices m = {
        .n = 1, .w = {a->w}, .bias = {a->bias}, .expert_rows = (uint32_t)a->out->n_cols};
    const struct tensor *const to[2] = {a->out};
    vk_matmat_experts_of(vk, to, &m, a->id, &(struct matmul_x){.x = a->x}, a->x_share);
}
