// index.c - which blocks of positions attention sees (kernels/index_keys.comp, index_choose.comp).
//
// Rows are stored before the keys of blocks are made of them: two dispatches. A choice keeps its
// scores in scratch memory, of so many tokens at once as SCORES_BYTES hold.
#include "vulkan.h"

enum { LANES_MOST = 256, SCORES_BYTES = 16 << 20, ROWS_MOST = 65535 };

static uint32_t lanes_for(const struct features *features, uint32_t most)
{
    return features->software ? features->subgroup_default : most;
}

static void keys_dispatch(struct vulkan *vk, const struct index_keys *a, bool keys)
{
    const struct push_index_keys push = {
        .x = vk_range(a->x).address,
        .raw = vk_range(a->raw).address,
        .keys = vk_range(a->keys).address,
        .norm = vk_range(a->norm).address,
        .pos = vk_range(a->pos).address,
        .row = vk_range(a->row).address,
        .turns = vk_range(a->rope.turns).address,
        .x_row = (uint32_t)a->x->row_bytes,
        .raw_row = (uint32_t)a->raw->row_bytes,
        .key_row = (uint32_t)a->keys->row_bytes,
        .n_rows = (uint32_t)a->raw->n_rows,
        .magnitude = a->rope.magnitude,
        .eps = a->eps,
    };
    const double n = (double)a->x->n_rows * (double)a->x->n_cols;
    vk_dispatch(
        vk,
        &(struct dispatch){
            .kernel = "index_keys",
            .spec = {lanes_for(vk_features(vk), 64), (uint32_t)a->x->n_cols,
                     (uint32_t)a->rope.n_rot, a->rope.pairs == ROPE_NEOX, (uint32_t)a->block, keys},
            .n_spec = 6,
            .push = &push,
            .push_bytes = sizeof(push),
            .groups = {1, (uint32_t)a->x->n_rows, 1},
            .read = {vk_range(keys ? a->raw : a->x), vk_range(a->pos), vk_range(a->row)},
            .write = {vk_range(keys ? a->keys : a->raw)},
            .bytes = 6 * n,
            .flops = 8 * n,
        });
}

void vk_index_keys(struct compute *compute, const struct index_keys *args)
{
    if (args->x->n_rows == 0)
        return;
    if (args->x->n_rows > ROWS_MOST)
        die("op_index_keys: %lld rows at once, at most %d", (long long)args->x->n_rows, ROWS_MOST);
    keys_dispatch(vk_of(compute), args, false);
    keys_dispatch(vk_of(compute), args, true);
}

// Whose queries are held together: so many that the groups are even.
static int32_t heads_at_once(const struct index_choose *a)
{
    int32_t n = 8;
    while (a->n_head % n != 0)
        n--;
    return n;
}

static struct push_index_choose push_of(const struct index_choose *a, struct range scores,
                                        size_t row_bytes)
{
    return (struct push_index_choose){
        .chosen = vk_range(a->chosen).address,
        .scores = scores.address,
        .q = vk_range(a->q).address,
        .keys = vk_range(a->keys).address,
        .pages = vk_range(a->pages).address,
        .table = vk_range(a->table).address,
        .count = vk_range(a->count).address,
        .chosen_row = (uint32_t)a->chosen->row_bytes,
        .scores_row = (uint32_t)row_bytes,
        .q_row = (uint32_t)a->q->row_bytes,
        .key_row = (uint32_t)a->keys->row_bytes,
        .pages_row = (uint32_t)a->pages->row_bytes,
        .n_most = (uint32_t)a->n_most,
        .weight = a->weight ? vk_range(a->weight).address : 0,
        .weight_row = a->weight ? (uint32_t)a->weight->row_bytes : 0,
        .n_group = (uint32_t)(a->n_head / heads_at_once(a)),
    };
}

void vk_index_choose(struct compute *compute, const struct index_choose *a)
{
    struct vulkan *vk = vk_of(compute);
    const int64_t words = a->chosen->n_cols, n = a->q->n_rows;
    const size_t row_bytes = (size_t)words * 32 * sizeof(float);
    const int64_t fit = SCORES_BYTES / (int64_t)row_bytes, most = fit > FEW_ROWS ? fit : FEW_ROWS;
    if (n == 0)
        return;
    const struct range scores = vk_scratch(vk, row_bytes * (uint64_t)(n < most ? n : most));
    struct push_index_choose push = push_of(a, scores, row_bytes);
    for (int64_t t = 0; t < n; t += most) {
        const uint32_t rows = (uint32_t)(n - t < most ? n - t : most);
        vk_dispatch(
            vk,
            &(struct dispatch){
                .kernel = "index_choose",
                .spec = {lanes_for(vk_features(vk), LANES_MOST), (uint32_t)a->keys->n_cols,
                         (uint32_t)heads_at_once(a), (uint32_t)a->block, (uint32_t)words},
                .n_spec = 5,
                .push = &push,
                .push_bytes = sizeof(push),
                .groups = {1, rows, 1},
                .read = {vk_range(a->q), vk_range(a->keys), vk_range(a->pages), vk_range(a->table),
                         vk_range(a->count), a->weight ? vk_range(a->weight) : (struct range){0}},
                .write = {vk_range(a->chosen), scores},
                .bytes = (double)rows * (double)words * 32 * 2 * (double)a->keys->n_cols,
                .flops = (double)rows * (double)words * 64 * (double)a->q->n_cols,
            });
        push.chosen += (uint64_t)most * push.chosen_row;
        push.q += (uint64_t)most * push.q_row;
        push.weight += (uint64_t)most * push.weight_row;
        push.table += (uint64_t)most * sizeof(int32_t);
        push.count += (uint64_t)most * sizeof(int32_t);
    }
}
