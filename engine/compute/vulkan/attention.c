// attention.c - op_attention: which kernel, how many workgroups, how the cache's length is split.
//
// Decoding: a workgroup has the heads of one KV head of one token. Prompts: of several tokens, on
// cooperative matrices where there are any. Where workgroups are few, the cache's length is split
// over more of them and a second dispatch joins the parts.
//
// A kept recording is submitted again with other counts: each part finds its rows when it runs, and
// nothing else may follow from a single count. Up to MATVEC_MOST tokens all decode, in a number of
// parts that follows from how long a sequence may be and the device alone. More are cut into
// prompts and tokens that decode by what table[] says now; of those that decode, attention_rows of
// the largest count stands for every count. Prompts are recorded anew each time.
#include "vulkan.h"

#include <string.h>

enum {
    ROWS_MOST = 8,          // of queries in a workgroup of attention.comp
    HEADS_MOST_MATRIX = 16, // of one KV head in a workgroup of attention_matrix.comp
    PROMPT_LEAST = 5,       // neighbouring tokens of one sequence that are a prompt
    MATRIX_TILE = 32,       // cache rows
    MATRIX_HEAD_MOST = 256, // columns of a head, whose matrices stay in registers
    HEAD_MOST = 576,        // columns of a head
    SPLIT_MOST = 64,        // also in attention_join.comp
};
static const float LOG2_E = 1.4426950408889634f;

struct call { // tokens `from` .. `to` - 1 of an operation, one way
    struct vulkan *vk;
    const struct features *features;
    const struct tensor *out, *q, *k, *v, *pages, *table, *count; // v: k where values are in it
    const struct attention *shape;
    int64_t from, to;
    bool prompt;

    const char *kernel; // without the cache's format
    uint32_t spec[SPEC_MOST], n_spec, subgroup;
    uint32_t *split_spec;    // the one that says whether it is split
    uint32_t step;           // tokens of a workgroup
    uint32_t n_groups;       // workgroups for `step` tokens
    uint32_t tile;           // cache rows of a tile
    uint32_t groups_a_unit;  // workgroups that a compute unit should have
    uint32_t tiles_at_least; // of one part
    uint32_t n_split;
    uint32_t v_stride;  // columns from one head of v to the next
    struct range parts; // of a split one
    uint64_t outputs;   // where these begin within it: struct push_attention_join
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
static uint32_t heads_for(const struct call *call, uint32_t most)
{
    const uint32_t group = (uint32_t)(call->shape->n_head / call->shape->n_head_kv),
                   n = (group + most - 1) / most;
    return (group + n - 1) / n;
}

static uint32_t groups_for(const struct call *call, uint32_t heads)
{
    const uint32_t n_head_kv = (uint32_t)call->shape->n_head_kv;
    return n_head_kv * (((uint32_t)call->shape->n_head / n_head_kv + heads - 1) / heads);
}

// The constants that every kernel of attention ends with.
enum { N_SHAPE = 7 };
static void shape_spec(const struct call *call, uint32_t *spec)
{
    const struct attention *shape = call->shape;
    spec[0] = (uint32_t)shape->head_dim_v;
    spec[1] = (uint32_t)shape->q_stride;
    spec[2] = call->v_stride;
    spec[3] = !shape->gate ? 0 : shape->gate_heads ? 2 : 1;
    spec[4] = shape->gate ? (uint32_t)shape->gate_stride : 0;
    spec[5] = (uint32_t)(shape->n_head / shape->n_head_kv);
    spec[6] = shape->alibi ? 1 : shape->pos ? 2 : 0;
    if (shape->chosen) // attention.glsl, CHOSEN
        spec[6] = shape->block == 2 ? 5 : shape->block == 4 ? 6 : 7;
}

static void use_any_device(struct call *call)
{
    const struct features *features = call->features;
    const uint32_t head_dim = (uint32_t)call->shape->head_dim, heads = heads_for(call, ROWS_MOST);
    const uint32_t m = call->prompt ? ROWS_MOST / heads * heads : heads,
                   lanes = features->software ? features->subgroup_default : 128;
    uint32_t lpr = features->software ? 1 : least(8, features->subgroup_min);
    while (head_dim / 8 % lpr != 0)
        lpr /= 2;
    const uint32_t r = least(4, PAGE_ROWS * lpr / lanes); // a tile lies in one page
    const uint32_t sub = least(features->subgroup_min, power_of_two_up_to(lanes / m));
    const uint32_t spec[] = {lanes, head_dim, m, heads, r, lpr, sub, 0};
    call->kernel = "attention";
    memcpy(call->spec, spec, sizeof(spec));
    shape_spec(call, &call->spec[8]);
    call->n_spec = 8 + N_SHAPE;
    call->split_spec = &call->spec[7];
    call->subgroup = features->software ? 0 : vk_subgroup_asked(features);
    call->step = m / heads;
    call->n_groups = groups_for(call, heads);
    call->tile = r * lanes / lpr;
    call->groups_a_unit = 2;
    call->tiles_at_least = 1;
}

// false: the device, or this size of heads, has no such matrices; on a processor they save nothing.
static bool use_matrices(struct call *call)
{
    const struct features *features = call->features;
    const uint32_t head_dim = (uint32_t)call->shape->head_dim,
                   head_dim_v = (uint32_t)call->shape->head_dim_v, unit = features->matrix_unit,
                   parts = head_dim > 128 || head_dim_v > 128 ? 2 : 1, m = 4 * unit,
                   heads = heads_for(call, HEADS_MOST_MATRIX), subgroup = vk_subgroup(features);
    if (unit == 0 || !features->half || features->software || head_dim % (unit * parts) != 0 ||
        head_dim_v % (unit * parts) != 0 || head_dim < 32 || head_dim > MATRIX_HEAD_MOST ||
        head_dim_v > MATRIX_HEAD_MOST)
        return false;
    const uint32_t lanes = 4 * parts * subgroup,
                   shared =
                       16 * (MATRIX_TILE * (head_dim / 8 + 1) + head_dim_v * (MATRIX_TILE / 8 + 1) +
                             parts * m * (MATRIX_TILE / 4 + 1) + m / 4);
    if (shared > features->shared_bytes || lanes > features->workgroup_most)
        return false;
    const uint32_t spec[] = {lanes, head_dim, heads, subgroup, parts, 0, call->shape->softcap > 0,
                             unit};
    call->kernel = "attention_matrix";
    memcpy(call->spec, spec, sizeof(spec));
    shape_spec(call, &call->spec[8]);
    call->n_spec = 8 + N_SHAPE;
    call->split_spec = &call->spec[5];
    call->subgroup = vk_subgroup_asked(features);
    call->step = m / heads;
    call->n_groups = groups_for(call, heads);
    call->tile = MATRIX_TILE;
    call->groups_a_unit = 2;
    call->tiles_at_least = 8;
    return true;
}

// ---- how much there is to do --------------------------------------------------------------------

static int64_t in_window(const struct call *call, int64_t n_rows)
{
    const struct attention *shape = call->shape;
    const int64_t window = shape->pos && !shape->alibi ? 2 * (int64_t)shape->window + 1 // both ways
                                                       : shape->window;
    return window > 0 && window < n_rows ? window : n_rows;
}

// The most positions one token sees: of what may be submitted again, what its key allows.
static int64_t longest(const struct call *call)
{
    const int32_t *count = vk_ints(call->count);
    const int64_t limit = call->pages->n_cols * PAGE_ROWS;
    int64_t most = 1;
    if (!call->prompt && call->q->n_rows <= MATVEC_MOST)
        return in_window(call, limit);
    for (int64_t t = call->from; count && t < call->to; t++)
        most = count[t] > most ? count[t] : most;
    if (!call->prompt)
        most = attention_rows(most) < limit ? attention_rows(most) : limit;
    return in_window(call, most);
}

// Positions that tokens from .. to - 1 see, added up, as the counts stand now; where the host
// cannot read them, the most there may be.
static double rows_seen(const struct call *call, int64_t from, int64_t to)
{
    const int32_t *count = vk_ints(call->count);
    double n = 0;
    if (count && !call->prompt && call->q->n_rows > MATVEC_MOST)
        return (double)(to - from) * (double)longest(call);
    for (int64_t t = from; t < to; t++)
        n += (double)in_window(call, count ? count[t] : call->pages->n_cols * PAGE_ROWS);
    return n;
}

static double flops_of(const struct call *call, double rows)
{
    return 2.0 * rows * call->shape->n_head *
           (double)(call->shape->head_dim + call->shape->head_dim_v);
}

static uint32_t split_for(const struct call *call)
{
    const uint64_t n_units = vk_units(call->features),
                   n = call->n_groups *
                       (((uint64_t)(call->to - call->from) + call->step - 1) / call->step),
                   wanted = (n_units * call->groups_a_unit + n - 1) / n,
                   tiles = ((uint64_t)longest(call) + call->tile - 1) / call->tile,
                   parts = tiles / call->tiles_at_least;
    if (call->features->software) // few processors, and they have work
        return 1;
    const uint64_t n_split = wanted < parts ? wanted : parts;
    return n_split > SPLIT_MOST ? SPLIT_MOST : n_split > 1 ? (uint32_t)n_split : 1;
}

// Tokens from `from` on that one dispatch may take: whole groups, DISPATCH_FLOPS at most.
static int64_t tokens_in_dispatch(const struct call *call, int64_t from)
{
    int64_t to = from;
    double flops = 0;
    while (to < call->to) {
        const int64_t end = to + call->step < call->to ? to + call->step : call->to;
        flops += flops_of(call, rows_seen(call, to, end));
        if (to > from && flops > DISPATCH_FLOPS)
            break;
        to = end;
    }
    return to;
}

// ---- dispatches ---------------------------------------------------------------------------------

static uint64_t ints_from(const struct tensor *ints, uint64_t from)
{
    return vk_range(ints).address + from * sizeof(int32_t);
}

// Token `from` is the kernel's first.
static struct push_attention push_of(const struct call *call)
{
    const struct attention *shape = call->shape;
    const uint64_t from = (uint64_t)call->from;
    uint64_t sinks = shape->sinks ? vk_range(shape->sinks).address : 0,
             gate = shape->gate ? vk_range(shape->gate).address + from * shape->gate->row_bytes : 0;
    if (shape->pos)
        sinks = ints_from(shape->pos, from);
    if (shape->chosen)
        sinks = vk_range(shape->chosen).address + from * shape->chosen->row_bytes;
    if (shape->alibi)
        gate = vk_range(shape->alibi).address;
    return (struct push_attention){
        .to = vk_range(call->out).address + from * call->out->row_bytes,
        .q = vk_range(call->q).address + from * call->q->row_bytes,
        .k = vk_range(call->k).address,
        .v = vk_range(call->v).address,
        .pages = vk_range(call->pages).address,
        .table = ints_from(call->table, from),
        .count = ints_from(call->count, from),
        .sinks = sinks,
        .gate = gate,
        .parts = call->outputs,
        .to_row = (uint32_t)call->out->row_bytes,
        .q_row = (uint32_t)call->q->row_bytes,
        .k_row = (uint32_t)call->k->row_bytes,
        .v_row = (uint32_t)call->v->row_bytes,
        .gate_row = shape->gate ? (uint32_t)shape->gate->row_bytes : 0,
        .pages_row = (uint32_t)call->pages->row_bytes,
        .window = (uint32_t)(shape->chosen ? shape->chosen->row_bytes : (size_t)shape->window),
        .q_scale = shape->softcap > 0 ? shape->scale / shape->softcap : shape->scale * LOG2_E,
        .cap = shape->softcap * LOG2_E,
    };
}

static struct range rows_of(const struct tensor *tensor, int64_t from, int64_t to)
{
    const struct tensor view = tensor_rows(tensor, from, to - from);
    return vk_range(&view);
}

static void attend(const struct call *call)
{
    struct push_attention push = push_of(call);
    char kernel[48];
    for (int64_t from = call->from, to; from < call->to; from = to) {
        to = tokens_in_dispatch(call, from);
        const double rows = rows_seen(call, from, to);
        struct dispatch dispatch = {
            .kernel = vk_kernel_name(kernel, call->kernel, call->k->type),
            .n_spec = call->n_spec,
            .subgroup = call->subgroup,
            .push = &push,
            .push_bytes = sizeof(push),
            .groups = {call->n_split, call->n_groups,
                       ((uint32_t)(to - from) + call->step - 1) / call->step},
            .read = {rows_of(call->q, from, to), vk_range(call->k), vk_range(call->v),
                     vk_range(call->pages), vk_range(call->table), vk_range(call->count)},
            .write = {rows_of(call->out, from, to)},
            .flops = flops_of(call, rows),
            .bytes = rows / call->step * (double)(call->k->row_bytes + call->v->row_bytes),
        };
        memcpy(dispatch.spec, call->spec, sizeof(dispatch.spec));
        const struct tensor *place = call->shape->chosen ? call->shape->chosen
                                     : call->shape->pos  ? call->shape->pos
                                                         : call->shape->sinks;
        if (place)
            dispatch.read[6] = vk_range(place);
        if (call->shape->alibi)
            dispatch.read[7] = vk_range(call->shape->alibi);
        if (call->n_split > 1)
            dispatch.write[0] = call->parts;
        else if (call->shape->gate)
            dispatch.read[7] = vk_range(call->shape->gate);
        push.token0 = (uint32_t)(from - call->from);
        push.n_tokens = (uint32_t)(to - call->from);
        vk_dispatch(call->vk, &dispatch);
    }
}

static void join(const struct call *call)
{
    const struct push_attention from = push_of(call);
    const struct push_attention_join push = {
        .to = from.to,
        .sinks = call->shape->sinks ? from.sinks : 0,
        .gate = from.gate,
        .parts = from.parts,
        .to_row = from.to_row,
        .gate_row = from.gate_row,
        .n_head = (uint32_t)call->shape->n_head,
        .n_split = call->n_split,
    };
    struct dispatch dispatch = {
        .kernel = "attention_join",
        .spec = {128},
        .n_spec = 4,
        .subgroup = vk_subgroup_asked(call->features),
        .push = &push,
        .push_bytes = sizeof(push),
        .groups = {push.n_head, (uint32_t)(call->to - call->from), 1},
        .read = {call->parts},
        .write = {rows_of(call->out, call->from, call->to)},
        .bytes = (double)call->parts.n_bytes,
    };
    uint32_t shape[N_SHAPE];
    shape_spec(call, shape);
    dispatch.spec[1] = shape[0], dispatch.spec[2] = shape[3], dispatch.spec[3] = shape[4];
    if (call->shape->gate)
        dispatch.read[1] = vk_range(call->shape->gate);
    if (call->shape->sinks)
        dispatch.read[2] = vk_range(call->shape->sinks);
    vk_dispatch(call->vk, &dispatch);
}

static void run(struct call call, int64_t from, int64_t to, bool prompt)
{
    call.from = from;
    call.to = to;
    call.prompt = prompt;
    if (!prompt || !use_matrices(&call))
        use_any_device(&call);
    call.n_split = split_for(&call);
    if (call.n_split > 1) {
        const uint64_t n = (uint64_t)(to - from) * (uint64_t)call.shape->n_head * call.n_split;
        *call.split_spec = 1;
        const uint64_t sums = (n * 8 + 15) / 16 * 16;
        call.parts = vk_scratch(call.vk, sums + n * (uint64_t)call.shape->head_dim_v * 4);
        call.outputs = call.parts.address + sums;
    }
    attend(&call);
    if (call.n_split > 1)
        join(&call);
}

// Cuts the tokens where the sequence changes: long runs are prompts, what is between them decodes.
static void run_pieces(const struct call *call, const int32_t *table, int64_t n_tokens)
{
    int64_t waiting = 0; // tokens from there to t decode
    for (int64_t t = 0, next; t < n_tokens; t = next) {
        for (next = t + 1; next < n_tokens && table[next] == table[t];)
            next++;
        if (next - t < PROMPT_LEAST)
            continue;
        if (t > waiting)
            run(*call, waiting, t, false);
        run(*call, t, next, true);
        waiting = next;
    }
    if (n_tokens > waiting)
        run(*call, waiting, n_tokens, false);
}

static void check(const struct call *call)
{
    const struct attention *shape = call->shape;
    const uint64_t all = vk_range(call->out).address | vk_range(call->q).address |
                         vk_range(call->k).address | vk_range(call->v).address |
                         call->out->row_bytes | call->q->row_bytes | call->k->row_bytes |
                         call->v->row_bytes | (uint64_t)shape->q_stride * sizeof(float);
    if (shape->head_dim % 8 != 0 || shape->head_dim > HEAD_MOST || shape->head_dim_v % 8 != 0 ||
        shape->head_dim_v > HEAD_MOST)
        die("op_attention: heads of %d and %d columns; a multiple of 8 up to %d is possible",
            shape->head_dim, shape->head_dim_v, HEAD_MOST);
    if (all % 16 != 0)
        die("op_attention: a row or a head that does not start at a multiple of 16 bytes");
}

void vk_attention(struct compute *compute, const struct tensor *out, const struct tensor *q,
                  const struct tensor *k, const struct tensor *v, const struct tensor *pages,
                  const struct tensor *table, const struct tensor *count,
                  const struct attention *attention)
{
    struct vulkan *vk = vk_of(compute);
    const struct call call = {.vk = vk,
                              .features = vk_features(vk),
                              .out = out,
                              .q = q,
                              .k = k,
                              .v = v ? v : k,
                              .pages = pages,
                              .table = table,
                              .count = count,
                              .shape = attention,
                              .v_stride =
                                  (uint32_t)(v ? attention->head_dim_v : attention->head_dim)};
    const int32_t *tables = vk_ints(table);
    if (q->n_rows == 0)
        return;
    check(&call);
    if (q->n_rows <= MATVEC_MOST)
        run(call, 0, q->n_rows, false);
    else if (tables)
        run_pieces(&call, tables, q->n_rows);
    else
        run(call, 0, q->n_rows, true);
}
