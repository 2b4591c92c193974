// shape.c - the plan of a model that is not here, from what is published of it: its length and what
// a token leaves in memory. The same choosing as of a file's head (plan.c); what is not known is
// counted as most models have it.
#include "arch.h"

#define PASS_BYTES                                                                                 \
    (256ull << 20) // of a pass of 512 tokens: 100 to 270 MB in the files that are known

// Of Q8_0 34 bytes are 32 numbers.
static struct model_plan_pool pool_of(int32_t window, uint32_t numbers)
{
    return (struct model_plan_pool){.window = window,
                                    .token_bytes = {2ull * numbers, numbers * 34ull / 32},
                                    .rows_most = {INT64_MAX, INT64_MAX}};
}

void model_shape_plan(struct model_plan *out, const struct model_shape *shape,
                      const struct model_options *options)
{
    struct model_plan plan = {.n_ctx_asked = options->n_ctx,
                              .n_ctx_train = shape->n_ctx_train,
                              .n_seq = options->n_seq,
                              .n_held = options->n_held,
                              .n_batch = options->n_batch,
                              .kv_q8_0 = options->kv_q8_0,
                              .weight_bytes = shape->weight_bytes,
                              .slot_bytes = shape->state_bytes,
                              .pass_bytes = PASS_BYTES};
    plan_free(&plan, options->memory_bytes);
    plan.pools[plan.n_pools++] = pool_of(0, shape->numbers);
    if (shape->window > 0)
        plan.pools[plan.n_pools++] = pool_of(shape->window, shape->window_numbers);
    for (int32_t k = 0; k < plan.n_pools; k++)
        for (int q8_0 = 0; q8_0 < 2; q8_0++)
            plan.token_bytes[q8_0] += plan.pools[k].token_bytes[q8_0];
    plan_settle(&plan);
    *out = plan;
}
