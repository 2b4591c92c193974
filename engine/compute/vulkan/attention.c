// attention.c - op_attention: which kernel, how many workgroups, how the cache's length is split.
//
// A workgroup holds some rows of queries (heads of one KV head; in a prompt, times tokens) and goes
// over cache rows. Decoding has few of them, so the length is split over enough workgroups to keep
// the memory busy, and a second dispatch joins the parts. A kept recording is submitted again with
// other counts: how many parts it has follows from the cache's size and the device alone, and each
// part finds its rows when it runs. Counts as they stand are only used to say how much work it is.
#include "vulkan.h"

#include <string.h>

enum {
    HEADS_MOST = 8,         // of one KV head in a workgroup
    ROWS_IN_PROMPT = 8,     // of queries in a workgroup
    ROWS_ON_PROCESSOR = 16, // the same, where registers spill into a near cache
    SPLIT_MOST = 64,
    GROUPS_A_UNIT = 4,  // workgroups a compute unit should have
    UNITS_UNKNOWN = 16, // compute units of a device that does not say
};
static const double DISPATCH_FLOPS = 50e9; // most of one dispatch: 50 ms of a slow device
static const float LOG2_E = 1.4426950408889634f;

struct plan { // the specialisation constants of attention.comp
    uint32_t lanes, head_dim, m, heads, r, lpr, sub, split;
};

struct call {
    struct vulkan *vk;
    const struct features *features;
    const struct tensor *out, *q, *k, *v, *first, *count;
    const struct attention *shape;
    struct plan plan;
    uint32_t n_groups; // workgroups for one row of z: n_head_kv * groups of heads
    uint32_t n_split;
};

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t power_of_two_up_to(uint32_t n)
{
    uint32_t p = 1;
    while (p * 2 <= n)
        p *= 2;
    return p;
}

// As many heads of a KV head as fit, in groups of equal size.
static uint32_t heads_a_group(uint32_t group)
{
    const uint32_t n = (group + HEADS_MOST - 1) / HEADS_MOST;
    return (group + n - 1) / n;
}

static void make_plan(struct call *call, bool prompt)
{
    const struct features *features = call->features;
    const struct attention *shape = call->shape;
    struct plan *plan = &call->plan;
    const uint32_t group = (uint32_t)(shape->n_head / shape->n_head_kv);
    plan->head_dim = (uint32_t)shape->head_dim;
    plan->heads = heads_a_group(group);
    const uint32_t rows = features->software ? ROWS_ON_PROCESSOR : ROWS_IN_PROMPT;
    plan->m = prompt ? rows / plan->heads * plan->heads : plan->heads;
    plan->r = 4;
    plan->lanes = features->software ? features->subgroup_default : 128;
    plan->lpr = features->software ? 1 : least(8, features->subgroup_min);
    while (plan->head_dim / 8 % plan->lpr != 0)
        plan->lpr /= 2;
    plan->sub = least(features->subgroup_min, power_of_two_up_to(plan->lanes / plan->m));
    call->n_groups = (uint32_t)shape->n_head_kv * ((group + plan->heads - 1) / plan->heads);
}

static uint32_t tile_rows(const struct plan *plan)
{
    return plan->r * plan->lanes / plan->lpr;
}

// Parts for n workgroups that would go over up to n_rows cache rows each.
static uint32_t split_for(const struct call *call, uint64_t n, int64_t n_rows)
{
    if (call->features->software) // few processors, and they have work
        return 1;
    const uint32_t n_units =
        call->features->n_compute_units > 0 ? call->features->n_compute_units : UNITS_UNKNOWN;
    const uint64_t wanted = (n_units * GROUPS_A_UNIT + n - 1) / n,
                   tiles = ((uint64_t)n_rows + tile_rows(&call->plan) - 1) / tile_rows(&call->plan);
    const uint64_t n_split = wanted < tiles ? wanted : tiles;
    return n_split > SPLIT_MOST ? SPLIT_MOST : n_split > 1 ? (uint32_t)n_split : 1;
}

static struct push_attention push_of(const struct call *call)
{
    const struct attention *shape = call->shape;
    const float scale = shape->softcap > 0 ? shape->scale / shape->softcap : shape->scale * LOG2_E;
    return (struct push_attention){
        .to = vk_range(call->out).address,
        .q = vk_range(call->q).address,
        .k = vk_range(call->k).address,
        .v = vk_range(call->v).address,
        .first = vk_range(call->first).address,
        .count = vk_range(call->count).address,
        .sinks = shape->sinks ? vk_range(shape->sinks).address : 0,
        .to_row = (uint32_t)call->out->row_bytes,
        .q_row = (uint32_t)call->q->row_bytes,
        .k_row = (uint32_t)call->k->row_bytes,
        .v_row = (uint32_t)call->v->row_bytes,
        .n_head = (uint32_t)shape->n_head,
        .n_head_kv = (uint32_t)shape->n_head_kv,
        .n_rows = (uint32_t)call->k->n_rows,
        .window = (uint32_t)shape->window,
        .q_scale = scale,
        .cap = shape->softcap * LOG2_E,
    };
}

// Cache rows that tokens from .. to - 1 see, added up, as the counts stand now; where the host
// cannot read them, all rows there are.
static double rows_seen(const struct call *call, int64_t from, int64_t to)
{
    const int32_t *count = vk_ints(call->count);
    double n = 0;
    for (int64_t t = from; t < to; t++) {
        int64_t rows = count ? count[t] : call->k->n_rows;
        n += (double)(call->shape->window > 0 && call->shape->window < rows ? call->shape->window
                                                                            : rows);
    }
    return n;
}

// The most cache rows one token sees now; where the host cannot read that, 1: nothing to split.
static int64_t longest(const struct call *call)
{
    const int32_t *count = vk_ints(call->count);
    int64_t most = 1;
    for (int64_t t = 0; count && t < call->q->n_rows; t++)
        most = count[t] > most ? count[t] : most;
    const int64_t window = call->shape->window;
    return window > 0 && window < most ? window : most;
}

static double flops_of(const struct call *call, double rows)
{
    return 4.0 * rows * (double)call->q->n_cols;
}

// Tokens from `from` on that one dispatch may take: whole groups, DISPATCH_FLOPS at most.
static int64_t tokens_in_dispatch(const struct call *call, int64_t from)
{
    const int64_t step = call->plan.m / call->plan.heads, n_tokens = call->q->n_rows;
    int64_t to = from;
    double flops = 0;
    while (to < n_tokens) {
        const int64_t end = to + step < n_tokens ? to + step : n_tokens;
        flops += flops_of(call, rows_seen(call, to, end));
        if (to > from && flops > DISPATCH_FLOPS)
            break;
        to = end;
    }
    return to;
}

static void attend(const struct call *call, struct push_attention push, struct range parts)
{
    const uint32_t step = call->plan.m / call->plan.heads;
    const struct range none = {0};
    char kernel[48];
    struct dispatch dispatch = {
        .kernel = vk_kernel_name(kernel, "attention", call->k->type),
        .n_spec = sizeof call->plan / sizeof(uint32_t),
        .push = &push,
        .push_bytes = sizeof push,
        .read = {vk_range(call->q), vk_range(call->k), vk_range(call->v), vk_range(call->first),
                 vk_range(call->count), call->shape->sinks ? vk_range(call->shape->sinks) : none},
        .write = {call->n_split > 1 ? parts : vk_range(call->out)},
    };
    memcpy(dispatch.spec, &call->plan, sizeof call->plan);
    for (int64_t from = 0, to; from < call->q->n_rows; from = to) {
        to = tokens_in_dispatch(call, from);
        const double rows = rows_seen(call, from, to);
        push.token0 = (uint32_t)from;
        push.n_tokens = (uint32_t)to;
        dispatch.groups[0] = call->n_split;
        dispatch.groups[1] = call->n_groups;
        dispatch.groups[2] = ((uint32_t)(to - from) + step - 1) / step;
        dispatch.flops = flops_of(call, rows);
        dispatch.bytes = rows / step * (double)(call->k->row_bytes + call->v->row_bytes);
        vk_dispatch(call->vk, &dispatch);
    }
}

static void join(const struct call *call, const struct push_attention *from, struct range parts)
{
    const struct push_attention_join push = {
        .to = from->to,
        .sinks = from->sinks,
        .sums = from->sums,
        .outputs = from->outputs,
        .to_row = from->to_row,
        .n_head = from->n_head,
        .n_split = call->n_split,
        .head_dim = (uint32_t)call->shape->head_dim,
    };
    struct dispatch dispatch = {
        .kernel = "attention_join",
        .spec = {32},
        .n_spec = 1,
        .push = &push,
        .push_bytes = sizeof push,
        .groups = {push.n_head, (uint32_t)call->q->n_rows, 1},
        .read = {parts},
        .write = {vk_range(call->out)},
        .bytes = (double)parts.n_bytes,
    };
    if (call->shape->sinks)
        dispatch.read[1] = vk_range(call->shape->sinks);
    vk_dispatch(call->vk, &dispatch);
}

static void check(const struct call *call)
{
    const int32_t head_dim = call->shape->head_dim;
    const uint64_t all = vk_range(call->out).address | vk_range(call->q).address |
                         vk_range(call->k).address | vk_range(call->v).address |
                         call->out->row_bytes | call->q->row_bytes | call->k->row_bytes |
                         call->v->row_bytes;
    if (head_dim % 8 != 0 || head_dim > 256)
        die("op_attention: heads of %d columns; a multiple of 8 up to 256 is possible", head_dim);
    if (all % 16 != 0)
        die("op_attention: a row that does not start at a multiple of 16 bytes");
}

void vk_attention(struct compute *compute, const struct tensor *out, const struct tensor *q,
                  const struct tensor *k, const struct tensor *v, const struct tensor *first,
                  const struct tensor *count, const struct attention *attention)
{
    struct vulkan *vk = (struct vulkan *)(void *)compute;
    struct call call = {vk, vk_features(vk), out, q, k, v, first, count, attention};
    struct range parts = {0};
    if (q->n_rows == 0)
        return;
    check(&call);
    const bool prompt = q->n_rows > MATVEC_MOST;
    make_plan(&call, prompt);
    const uint32_t step = call.plan.m / call.plan.heads;
    const uint64_t groups = call.n_groups * (((uint64_t)q->n_rows + step - 1) / step);
    call.n_split = split_for(&call, groups, prompt ? longest(&call) : k->n_rows);
    call.plan.split = call.n_split > 1;
    struct push_attention push = push_of(&call);
    if (call.n_split > 1) {
        const uint64_t n = (uint64_t)(q->n_rows * attention->n_head) * call.n_split,
                       sums_bytes = (n * 8 + 15) / 16 * 16;
        parts = vk_scratch(vk, sums_bytes + n * (uint64_t)attention->head_dim * 4);
        push.sums = parts.address;
        push.outputs = parts.address + sums_bytes;
    }
    attend(&call, push, parts);
    if (call.n_split > 1)
        join(&call, &push, parts);
}
