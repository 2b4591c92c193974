// recurrent.c - the layers that carry a state from row to row (kernels/conv.comp, delta_net.comp,
// mamba2.comp).
//
// A workgroup takes its part of the state through a whole run, so that nothing but the run's first
// and last rows touches the slots. Which rows begin a run is known to the device alone (a recording
// is submitted again with other slots): there is a workgroup for every row, and those in the middle
// of a run end at once.
#include "vulkan.h"

enum { LANES_MOST = 512, CONV_LANES = 64, CONV_STEPS_MOST = 8, ROWS_MOST = 65535 };
enum conv_mode { CONV_ROWS, CONV_STATES, CONV_BOTH }; // conv.comp

static struct range range_of(const struct tensor *tensor) // NULL: none
{
    return tensor ? vk_range(tensor) : (struct range){0};
}

static uint32_t row_of(const struct tensor *tensor)
{
    return tensor ? (uint32_t)tensor->row_bytes : 0;
}

static uint32_t rows_of(const struct tensor *tensor, const char *op)
{
    if (tensor->n_rows > ROWS_MOST)
        die("%s: %lld rows at once, at most %d", op, (long long)tensor->n_rows, ROWS_MOST);
    return (uint32_t)tensor->n_rows;
}

// ---- convolution --------------------------------------------------------------------------------

static void conv_dispatch(struct vulkan *vk, const struct conv *a, enum conv_mode mode)
{
    const struct range x = vk_range(a->x), state = vk_range(a->state), to = vk_range(a->out);
    const struct push_conv push = {
        .to = to.address,
        .x = x.address,
        .before = range_of(a->before).address,
        .after = range_of(a->after).address,
        .weight = vk_range(a->weight).address,
        .bias = range_of(a->bias).address,
        .state = state.address,
        .slot_in = vk_range(a->slots.in).address,
        .slot_out = vk_range(a->slots.out).address,
        .to_row = row_of(a->out),
        .x_row = row_of(a->x),
        .before_row = row_of(a->before),
        .after_row = row_of(a->after),
        .weight_row = row_of(a->weight),
        .state_row = row_of(a->state),
        .n_channels = (uint32_t)a->x->n_cols,
        .n_tokens = rows_of(a->x, "op_conv"),
        .n_slots = (uint32_t)a->state->n_rows,
        .silu = a->silu,
    };
    const double n = (double)(a->x->n_rows * a->x->n_cols);
    struct dispatch dispatch = {
        .kernel = a->dilation > 1 ? "conv-apart" : "conv",
        .spec = {CONV_LANES, (uint32_t)a->weight->n_cols, mode, (uint32_t)a->dilation},
        .n_spec = a->dilation > 1 ? 4 : 3,
        .push = &push,
        .push_bytes = sizeof(push),
        .groups = {(push.n_channels + CONV_LANES - 1) / CONV_LANES, push.n_tokens, 1},
        .read = {x, range_of(a->before), range_of(a->after), state},
        .bytes = 8 * n,
        .flops = 2.0 * (double)a->weight->n_cols * n,
    };
    if (mode != CONV_STATES)
        dispatch.write[0] = to;
    if (mode != CONV_ROWS)
        dispatch.write[1] = state;
    vk_dispatch(vk, &dispatch);
}

// Many rows at once are made apart from the slots, which only a run's end writes.
void vk_conv(struct compute *compute, const struct conv *args)
{
    struct vulkan *vk = vk_of(compute);
    if (args->x->n_rows == 0)
        return;
    if (args->x->n_rows <= CONV_STEPS_MOST) {
        conv_dispatch(vk, args, CONV_BOTH);
        return;
    }
    conv_dispatch(vk, args, CONV_ROWS);
    conv_dispatch(vk, args, CONV_STATES);
}

// ---- delta rule, Mamba-2 ------------------------------------------------------------------------

// Invocations that share a column of the state: with wide ones eight, to hold less of it each.
static uint32_t parts_of(const struct features *features, int32_t width)
{
    return width > 128 && width % 32 == 0 && features->subgroup_min >= 8 ? 8 : 4;
}

static bool aligned(const struct tensor *a, const struct tensor *b)
{
    return (vk_range(a).address | vk_range(b).address | a->row_bytes | b->row_bytes) % 16 == 0;
}

static struct push_delta_net delta_push(const struct delta_net *a)
{
    return (struct push_delta_net){
        .to = vk_range(a->out).address,
        .q = vk_range(a->q).address,
        .k = vk_range(a->k).address,
        .v = vk_range(a->v).address,
        .alpha = vk_range(a->alpha).address,
        .beta = vk_range(a->beta).address,
        .a = vk_range(a->a).address,
        .dt_bias = vk_range(a->dt_bias).address,
        .z = range_of(a->z).address,
        .norm = range_of(a->norm).address,
        .state = vk_range(a->state).address,
        .slot_in = vk_range(a->slots.in).address,
        .slot_out = vk_range(a->slots.out).address,
        .to_row = row_of(a->out),
        .state_row = row_of(a->state),
        .n_tokens = rows_of(a->q, "op_delta_net"),
        .n_slots = (uint32_t)a->state->n_rows,
        .eps_length = a->eps_length,
        .eps = a->eps,
    };
}

void vk_delta_net(struct compute *compute, const struct delta_net *a)
{
    struct vulkan *vk = vk_of(compute);
    const struct features *features = vk_features(vk);
    if (a->q->n_rows == 0)
        return;
    const uint32_t parts = parts_of(features, a->d_k);
    uint32_t lanes = (uint32_t)a->d_v * parts;
    while (lanes > LANES_MOST || lanes > features->workgroup_most)
        lanes /= 2; // d_v is a multiple of 16: no column is left over
    const struct push_delta_net push = delta_push(a);
    const double n_state = (double)a->n_head * a->d_v * a->d_k;
    vk_dispatch(vk,
                &(struct dispatch){
                    .kernel = a->z_sigmoid ? "delta_net-sigmoid" : "delta_net",
                    .spec = {lanes, (uint32_t)a->d_k, (uint32_t)a->d_v, parts, (uint32_t)a->n_head,
                             (uint32_t)a->n_head_k, a->grouped, (uint32_t)a->pair_heads,
                             row_of(a->q), row_of(a->k), row_of(a->v), row_of(a->z),
                             row_of(a->alpha), row_of(a->beta), aligned(a->q, a->k)},
                    .n_spec = 15,
                    .push = &push,
                    .push_bytes = sizeof(push),
                    .groups = {(uint32_t)a->n_head, push.n_tokens, 1},
                    .read = {vk_range(a->q), vk_range(a->k), vk_range(a->v), vk_range(a->alpha),
                             vk_range(a->beta), range_of(a->z), vk_range(a->state)},
                    .write = {vk_range(a->out), vk_range(a->state)},
                    .bytes = 8 * n_state,
                    .flops = 8 * n_state * push.n_tokens,
                });
}

static void scan_dispatch(struct vulkan *vk, const struct mamba2 *a)
{
    const uint32_t parts = parts_of(vk_features(vk), a->d_state);
    const struct push_mamba2 push = {
        .to = vk_range(a->out).address,
        .x = vk_range(a->x).address,
        .b = vk_range(a->b).address,
        .c = vk_range(a->c).address,
        .dt = vk_range(a->dt).address,
        .z = range_of(a->z).address,
        .a = vk_range(a->a).address,
        .d = vk_range(a->d).address,
        .dt_bias = vk_range(a->dt_bias).address,
        .state = vk_range(a->state).address,
        .slot_in = vk_range(a->slots.in).address,
        .slot_out = vk_range(a->slots.out).address,
        .to_row = row_of(a->out),
        .x_row = row_of(a->x),
        .b_row = row_of(a->b),
        .dt_row = row_of(a->dt),
        .z_row = row_of(a->z),
        .state_row = row_of(a->state),
        .n_tokens = rows_of(a->x, "op_mamba2"),
        .n_slots = (uint32_t)a->state->n_rows,
    };
    const double n_state = (double)a->n_head * a->head_dim * a->d_state;
    vk_dispatch(vk,
                &(struct dispatch){
                    .kernel = "mamba2",
                    .spec = {16 * parts, (uint32_t)a->d_state, (uint32_t)a->head_dim, parts,
                             (uint32_t)(a->n_head / a->n_group), row_of(a->c), aligned(a->b, a->c)},
                    .n_spec = 7,
                    .push = &push,
                    .push_bytes = sizeof(push),
                    .groups = {(uint32_t)a->n_head, push.n_tokens, (uint32_t)a->head_dim / 16},
                    .read = {vk_range(a->x), vk_range(a->b), vk_range(a->c), vk_range(a->dt),
                             range_of(a->z), vk_range(a->state)},
                    .write = {vk_range(a->out), vk_range(a->state)},
                    .bytes = 8 * n_state,
                    .flops = 6 * n_state * push.n_tokens,
                });
}

void vk_mamba2(struct compute *compute, const struct mamba2 *a)
{
    if (a->x->n_rows == 0)
        return;
    scan_dispatch(vk_of(compute), a);
    if (a->norm)
        vk_norm(compute, &(struct norm){.out = a->out,
                                        .x = a->out,
                                        .weight = a->norm,
                                        .eps = a->eps,
                                        .scale = 1,
                                        .n_group = a->n_group});
}
