// rope.c - op_rope_kv: one dispatch normalises heads, turns q and fills the caches
// (kernels/rope_kv.comp).
//
// How many heads share a workgroup, and with it their sines: one when few tokens are there (all
// heads at once), several in a prompt, all of them on a processor, where a workgroup costs more
// than it computes. A group of Q8_0 columns ends where a block of 32 does.
#include "vulkan.h"

enum { HEADS_IN_PROMPT = 8 };

static int64_t tokens_of(const struct rope_kv *args)
{
    return args->q ? args->q->n_rows : args->k->n_rows;
}

static uint32_t heads_a_group(const struct features *features, const struct rope_kv *args)
{
    const uint32_t head_dim = (uint32_t)args->head_dim, head_dim_v = (uint32_t)args->head_dim_v;
    uint32_t n = features->software               ? args->q ? (uint32_t)args->n_head : 1
                 : tokens_of(args) <= MATVEC_MOST ? 1
                                                  : HEADS_IN_PROMPT;
    if (args->k && args->cache_k->type == DTYPE_Q8_0)
        while (n * head_dim % 32 != 0 || (args->v && n * head_dim_v % 32 != 0))
            n++;
    return n;
}

static struct push_rope_kv push_of(const struct rope_kv *args)
{
    struct push_rope_kv push = {
        .q = args->q ? vk_range(args->q).address : 0,
        .pos = vk_range(args->pos).address,
        .turns = args->rope.n_rot > 0 ? vk_range(args->rope.turns).address : 0,
        .q_norm = args->q_norm ? vk_range(args->q_norm).address : 0,
        .k_norm = args->k_norm ? vk_range(args->k_norm).address : 0,
        .q_row = args->q ? (uint32_t)args->q->row_bytes : 0,
        .n_head = (uint32_t)args->n_head,
        .magnitude = args->rope.magnitude,
        .eps = args->eps,
        .temperature = args->temperature,
        .temperature_length = (uint32_t)args->temperature_length,
    };
    if (args->k) {
        push.k = vk_range(args->k).address;
        push.row = vk_range(args->row).address;
        push.cache_k = vk_range(args->cache_k).address;
        push.k_row = (uint32_t)args->k->row_bytes;
        push.cache_k_row = (uint32_t)args->cache_k->row_bytes;
        push.n_head_kv = (uint32_t)(args->k->n_cols / args->head_dim);
        push.n_rows = (uint32_t)args->cache_k->n_rows;
    }
    if (args->v) {
        push.v = vk_range(args->v).address;
        push.cache_v = vk_range(args->cache_v).address;
        push.v_row = (uint32_t)args->v->row_bytes;
        push.cache_v_row = (uint32_t)args->cache_v->row_bytes;
    }
    return push;
}

static struct range range_of(const struct tensor *tensor) // NULL: none
{
    return tensor ? vk_range(tensor) : (struct range){0};
}

void vk_rope_kv(struct compute *compute, const struct rope_kv *args)
{
    struct vulkan *vk = vk_of(compute);
    const struct features *features = vk_features(vk);
    const struct push_rope_kv push = push_of(args);
    const struct range q = range_of(args->q), k = range_of(args->k), v = range_of(args->v);
    if (tokens_of(args) == 0)
        return;
    if (args->head_dim % 2 != 0 || args->head_dim_v % 2 != 0)
        die("op_rope_kv: heads of %d and %d columns", args->head_dim, args->head_dim_v);
    const uint32_t per_group = heads_a_group(features, args), n_rot = (uint32_t)args->rope.n_rot,
                   flags = (args->q_norm ? 1 : 0) | (args->k_norm ? 2 : 0) |
                           (args->v_norm ? 4 : 0) | (args->temperature != 0 ? 8 : 0) |
                           (args->rope.back ? 16 : 0),
                   n_q = n_rot > 0 || (flags & 9) ? (push.n_head + per_group - 1) / per_group : 0,
                   n_kv = (push.n_head_kv + per_group - 1) / per_group;
    const uint32_t lanes = features->software    ? features->subgroup_default
                           : args->head_dim > 64 ? 64
                                                 : 32;
    char kernel[48];
    vk_dispatch(vk, &(struct dispatch){
                        .kernel = vk_kernel_name(kernel, "rope_kv",
                                                 args->k ? args->cache_k->type : DTYPE_F16),
                        .spec = {lanes, (uint32_t)args->head_dim, (uint32_t)args->head_dim_v,
                                 (uint32_t)args->q_stride, (uint32_t)args->rope.first, n_rot,
                                 args->rope.pairs == ROPE_NEOX, per_group, flags},
                        .n_spec = 9,
                        .push = &push,
                        .push_bytes = sizeof(push),
                        .groups = {n_q + (args->k ? n_kv : 0) + (args->v ? n_kv : 0),
                                   (uint32_t)tokens_of(args), 1},
                        .read = {q, k, v, vk_range(args->pos), range_of(args->row),
                                 n_rot > 0 ? vk_range(args->rope.turns) : (struct range){0}},
                        .write = {q, range_of(args->cache_k), range_of(args->cache_v)},
                        .bytes = 2.0 * (double)q.n_bytes + 1.5 * (double)(k.n_bytes + v.n_bytes),
                        .flops = 2.0 * (double)(q.n_bytes + k.n_bytes + v.n_bytes),
                    });
}
