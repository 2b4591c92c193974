// rope.c - op_rope_kv: one dispatch turns q and fills the caches (kernels/rope_kv.comp).
//
// How many heads share a workgroup, and with it their sines: one when few tokens are there (all
// heads at once), several in a prompt, all of them on a processor, where a workgroup costs more
// than it computes. A group of Q8_0 columns ends where a block of 32 does.
#include "vulkan.h"

enum { HEADS_IN_PROMPT = 8 };

static uint32_t heads_a_group(const struct features *features, const struct rope_kv *args)
{
    const uint32_t head_dim = (uint32_t)args->head_dim,
                   n_head = (uint32_t)(args->q->n_cols) / head_dim;
    uint32_t n = features->software ? n_head : args->q->n_rows <= MATVEC_MOST ? 1 : HEADS_IN_PROMPT;
    if (args->cache_k->type == DTYPE_Q8_0)
        while (n * head_dim % 32 != 0)
            n++;
    return n;
}

static struct push_rope_kv push_of(const struct rope_kv *args, uint32_t per_group)
{
    const struct rope *rope = &args->rope;
    return (struct push_rope_kv){
        .q = vk_range(args->q).address,
        .k = vk_range(args->k).address,
        .v = vk_range(args->v).address,
        .pos = vk_range(args->pos).address,
        .row = vk_range(args->row).address,
        .turns = rope->n_rot > 0 ? vk_range(rope->turns).address : 0,
        .cache_k = vk_range(args->cache_k).address,
        .cache_v = vk_range(args->cache_v).address,
        .q_row = (uint32_t)args->q->row_bytes,
        .k_row = (uint32_t)args->k->row_bytes,
        .v_row = (uint32_t)args->v->row_bytes,
        .cache_k_row = (uint32_t)args->cache_k->row_bytes,
        .cache_v_row = (uint32_t)args->cache_v->row_bytes,
        .n_head = (uint32_t)(args->q->n_cols / args->head_dim),
        .n_head_kv = (uint32_t)(args->k->n_cols / args->head_dim),
        .n_rows = (uint32_t)args->cache_k->n_rows,
        .n_rot = (uint32_t)rope->n_rot,
        .neox = rope->pairs == ROPE_NEOX,
        .per_group = per_group,
        .magnitude = rope->magnitude,
    };
}

void vk_rope_kv(struct compute *compute, const struct rope_kv *args)
{
    struct vulkan *vk = vk_of(compute);
    const struct features *features = vk_features(vk);
    if (args->q->n_rows == 0)
        return;
    if (args->head_dim % 2 != 0)
        die("op_rope_kv: heads of %d columns", args->head_dim);
    const uint32_t per_group = heads_a_group(features, args);
    const struct push_rope_kv push = push_of(args, per_group);
    const uint32_t n_q = push.n_rot > 0 ? (push.n_head + per_group - 1) / per_group : 0,
                   n_kv = (push.n_head_kv + per_group - 1) / per_group;
    char kernel[48];
    struct dispatch dispatch = {
        .kernel = vk_kernel_name(kernel, "rope_kv", args->cache_k->type),
        .spec = {features->software    ? features->subgroup_default
                 : args->head_dim > 64 ? 64
                                       : 32,
                 (uint32_t)args->head_dim},
        .n_spec = 2,
        .push = &push,
        .push_bytes = sizeof(push),
        .groups = {n_q + 2 * n_kv, (uint32_t)args->q->n_rows, 1},
        .read = {vk_range(args->q), vk_range(args->k), vk_range(args->v), vk_range(args->pos),
                 vk_range(args->row)},
        .write = {vk_range(args->q), vk_range(args->cache_k), vk_range(args->cache_v)},
        .bytes = 2.0 * (double)vk_range(args->q).n_bytes + 3.0 * (double)vk_range(args->k).n_bytes,
        .flops = 8.0 * (double)(args->q->n_rows * (args->q->n_cols + 2 * args->k->n_cols)),
    };
    if (push.n_rot > 0)
        dispatch.read[5] = vk_range(args->rope.turns);
    vk_dispatch(vk, &dispatch);
}
