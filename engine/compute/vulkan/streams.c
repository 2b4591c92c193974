// streams.c - several residual streams in a row: mixed with gates, added to, gated
// (kernels/streams.comp, streams_gate.comp), and those whose mixture is balanced
// (kernels/streams_read.comp). Rows know nothing of each other.
#include "vulkan.h"

enum { LANES = 64, ROWS_MOST = 65535 };

static struct push_streams push_of(const struct streams *a)
{
    return (struct push_streams){
        .to = vk_range(a->out).address,
        .x = vk_range(a->x).address,
        .y = a->y ? vk_range(a->y).address : 0,
        .gate = vk_range(a->gate).address,
        .to_row = (uint32_t)a->out->row_bytes,
        .x_row = (uint32_t)a->x->row_bytes,
        .y_row = a->y ? (uint32_t)a->y->row_bytes : 0,
        .gate_row = (uint32_t)a->gate->row_bytes,
        .n = (uint32_t)(a->x->n_cols / a->n_stream),
        .n_stream = (uint32_t)a->n_stream,
    };
}

void vk_streams(struct compute *compute, const struct streams *a)
{
    struct vulkan *vk = vk_of(compute);
    const struct features *features = vk_features(vk);
    const struct push_streams push = push_of(a);
    const bool gate = a->kind == STREAMS_GATE;
    const double n = (double)a->x->n_rows * (double)a->x->n_cols;
    if (a->x->n_rows == 0)
        return;
    if (a->x->n_rows > ROWS_MOST)
        die("op_streams: %lld rows at once, at most %d", (long long)a->x->n_rows, ROWS_MOST);
    vk_dispatch(vk, &(struct dispatch){
                        .kernel = gate ? "streams_gate" : "streams",
                        .spec = {!gate ? a->kind == STREAMS_BLEND ? 2 : a->kind == STREAMS_ADD
                                 : features->software ? features->subgroup_default
                                                      : LANES},
                        .n_spec = 1,
                        .push = &push,
                        .push_bytes = sizeof(push),
                        .groups = {gate ? push.n_stream : (push.n + LANES - 1) / LANES,
                                   (uint32_t)a->x->n_rows, 1},
                        .read = {vk_range(a->x), a->y ? vk_range(a->y) : (struct range){0},
                                 vk_range(a->gate)},
                        .write = {vk_range(a->out)},
                        .bytes = 12 * n,
                        .flops = 10 * n,
                    });
}

void vk_streams_read(struct compute *compute, const struct streams_read *a)
{
    struct vulkan *vk = vk_of(compute);
    const int64_t n_tokens = a->out->n_rows, n = a->out->n_cols;
    const struct range weight = a->weight ? vk_range(a->weight) : (struct range){0};
    const struct push_streams_read push = {
        .to = vk_range(a->out).address,
        .x = vk_range(a->x).address,
        .mix = vk_range(a->mix).address,
        .scale = vk_range(a->scale).address,
        .base = vk_range(a->base).address,
        .weight = weight.address,
        .to_row = (uint32_t)a->out->row_bytes,
        .x_row = (uint32_t)a->x->row_bytes,
        .mix_row = (uint32_t)a->mix->row_bytes,
        .weight_row = a->weight ? (uint32_t)a->weight->row_bytes : 0,
        .n = (uint32_t)n,
        .n_stream = (uint32_t)a->n_stream,
        .n_round = (uint32_t)a->n_round,
        .eps = a->eps,
    };
    if (n_tokens == 0)
        return;
    if (n_tokens > ROWS_MOST)
        die("op_streams_read: %lld rows at once, at most %d", (long long)n_tokens, ROWS_MOST);
    vk_dispatch(
        vk, &(struct dispatch){
                .kernel = "streams_read",
                .push = &push,
                .push_bytes = sizeof(push),
                .groups = {(push.n + LANES - 1) / LANES, (uint32_t)n_tokens, 1},
                .read = {vk_range(a->x), vk_range(a->mix), vk_range(a->scale), vk_range(a->base)},
                .write = {vk_range(a->out), weight},
                .bytes = 4.0 * (double)n_tokens * (double)n * (1 + a->n_stream),
                .flops = 2.0 * (double)n_tokens * (double)n * a->n_stream,
            });
}
