// elementwise.c - what is done to each number by itself (kernels/elementwise.comp).
//
// Rows without gaps between them are one long row where the device takes as many workgroups: short
// rows (a head's columns) would leave most invocations idle.
#include "vulkan.h"

enum { LANES = 64, GROUPS_MOST = 65535 }; // of one dimension, what every device takes

struct operands { // those that are there; rows of any distance
    struct range to, x, y, gate;
    uint64_t all; // bits of every address and distance
    bool dense;
};

static void add(struct operands *o, struct range *to, const struct tensor *tensor)
{
    if (!tensor)
        return;
    *to = vk_range(tensor);
    o->all |= to->address | tensor->row_bytes;
    o->dense &= tensor->row_bytes == (size_t)tensor->n_cols * sizeof(float);
}

static void rows_dispatch(struct vulkan *vk, const struct elementwise *e, const struct operands *o,
                          struct push_elementwise push, int64_t n_rows)
{
    const uint32_t four = o->all % 16 == 0 && push.n_cols % 4 == 0 ? 4 : 1;
    const double n = (double)n_rows * push.n_cols;
    vk_dispatch(vk, &(struct dispatch){
                        .kernel = "elementwise",
                        .spec = {e->kind, e->activation, four},
                        .n_spec = 3,
                        .push = &push,
                        .push_bytes = sizeof(push),
                        .groups = {(push.n_cols / four + LANES - 1) / LANES, (uint32_t)n_rows, 1},
                        .read = {o->x, o->y, o->gate},
                        .write = {o->to},
                        .bytes = 12.0 * n,
                        .flops = 10.0 * n,
                    });
}

void vk_elementwise(struct compute *compute, const struct elementwise *e)
{
    struct vulkan *vk = vk_of(compute);
    struct operands o = {.dense = true};
    add(&o, &o.to, e->out);
    add(&o, &o.x, e->x);
    add(&o, &o.y, e->y);
    add(&o, &o.gate, e->gate);
    const int64_t n = e->out->n_rows * e->out->n_cols;
    struct push_elementwise push = {
        .to = o.to.address,
        .x = o.x.address,
        .y = o.y.address,
        .gate = o.gate.address,
        .to_row = (uint32_t)e->out->row_bytes,
        .x_row = (uint32_t)e->x->row_bytes,
        .y_row = e->y ? (uint32_t)e->y->row_bytes : 0,
        .gate_row = e->gate ? (uint32_t)e->gate->row_bytes : 0,
        .n_cols = (uint32_t)e->out->n_cols,
        .per_gate = e->gate ? (uint32_t)(e->out->n_cols / e->gate->n_cols) : 1,
        .a = e->a,
        .b = e->b,
    };
    if (o.dense && n <= (int64_t)GROUPS_MOST * LANES) {
        push.n_cols = (uint32_t)n;
        rows_dispatch(vk, e, &o, push, n > 0);
        return;
    }
    for (int64_t t = 0; t < e->out->n_rows; t += GROUPS_MOST) {
        const int64_t left = e->out->n_rows - t;
        rows_dispatch(vk, e, &o, push, left < GROUPS_MOST ? left : GROUPS_MOST);
        push.to += (uint64_t)GROUPS_MOST * push.to_row;
        push.x += (uint64_t)GROUPS_MOST * push.x_row;
        push.y += push.y ? (uint64_t)GROUPS_MOST * push.y_row : 0;
        push.gate += push.gate ? (uint64_t)GROUPS_MOST * push.gate_row : 0;
    }
}

void vk_put_rows(struct vulkan *vk, const struct tensor *out, struct range from,
                 const struct tensor *residual)
{
    const struct elementwise e = {.kind = ELEMENTWISE_ADD};
    const uint32_t from_row = (uint32_t)(out->n_cols * (int64_t)sizeof(float));
    struct operands o = {.x = from, .all = from.address | from_row};
    add(&o, &o.to, out);
    add(&o, &o.y, residual);
    const struct push_elementwise push = {
        .to = o.to.address,
        .x = from.address,
        .y = o.y.address,
        .to_row = (uint32_t)out->row_bytes,
        .x_row = from_row,
        .y_row = residual ? (uint32_t)residual->row_bytes : 0,
        .n_cols = (uint32_t)out->n_cols,
        .per_gate = 1,
        .a = 1,
        .b = 1,
    };
    rows_dispatch(vk, &e, &o, push, out->n_rows);
}

void vk_glu_of(struct vulkan *vk, const struct tensor *out, const struct tensor *up,
               enum activation activation)
{
    vk_elementwise(
        (struct compute *)(void *)vk,
        &(struct elementwise){
            .kind = ELEMENTWISE_GLU, .out = out, .x = out, .y = up, .activation = activation});
}
