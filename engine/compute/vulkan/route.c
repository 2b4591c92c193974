// route.c - mixture of experts outside of its products: op_route picks the experts of each token
// (kernels/route.comp), op_experts_sum adds up what they made (kernels/experts_sum.comp).
//
// Both are small and one dispatch each; experts are picked by one subgroup a token.
#include "vulkan.h"

void vk_route(struct compute *compute, const struct tensor *id, const struct tensor *weight,
              const struct tensor *logits, const struct route *route)
{
    struct vulkan *vk = vk_of(compute);
    const struct features *features = vk_features(vk);
    const struct range to_id = vk_range(id), to_weight = vk_range(weight), from = vk_range(logits),
                       hashed = route->hashed ? vk_range(route->hashed) : (struct range){0},
                       token = route->hashed ? vk_range(route->token) : (struct range){0};
    const struct push_route push = {
        .id = to_id.address,
        .weight = to_weight.address,
        .logits = from.address,
        .bias = route->bias ? vk_range(route->bias).address : 0,
        .hashed = hashed.address,
        .token = token.address,
        .hashed_row = route->hashed ? (uint32_t)route->hashed->row_bytes : 0,
        .id_row = (uint32_t)id->row_bytes,
        .weight_row = (uint32_t)weight->row_bytes,
        .logits_row = (uint32_t)logits->row_bytes,
        .n_expert = (uint32_t)logits->n_cols,
        .n_used = (uint32_t)id->n_cols,
        .score = (uint32_t)route->score,
        .normalise = route->normalise,
        .n_group = (uint32_t)route->n_group,
        .n_group_used = (uint32_t)route->n_group_used,
        .scale = route->scale,
        .sum_least = route->sum_least,
    };
    const struct dispatch dispatch = {
        .kernel = "route",
        .spec = {features->software ? features->subgroup_default : 32,
                 route->bias || route->n_group > 0},
        .n_spec = 2,
        .subgroup = vk_subgroup_asked(features),
        .push = &push,
        .push_bytes = sizeof(push),
        .groups = {1, (uint32_t)logits->n_rows, 1},
        .read = {from, hashed, token},
        .write = {to_id, to_weight},
        .bytes = (double)from.n_bytes,
        .flops = 1e2 * (double)from.n_bytes,
    };
    if (logits->n_rows > 0)
        vk_dispatch(vk, &dispatch);
}

void vk_experts_sum(struct compute *compute, const struct tensor *out,
                    const struct tensor *residual, const struct tensor *y,
                    const struct tensor *weight)
{
    struct vulkan *vk = vk_of(compute);
    const struct range to = vk_range(out), of = vk_range(y), by = vk_range(weight),
                       from = residual ? vk_range(residual) : (struct range){0};
    const struct push_experts_sum push = {
        .to = to.address,
        .residual = from.address,
        .y = of.address,
        .weight = by.address,
        .to_row = (uint32_t)out->row_bytes,
        .residual_row = residual ? (uint32_t)residual->row_bytes : 0,
        .y_row = (uint32_t)y->row_bytes,
        .weight_row = (uint32_t)weight->row_bytes,
        .n_cols = (uint32_t)out->n_cols,
        .n_used = (uint32_t)weight->n_cols,
    };
    const uint64_t all = push.to | push.residual | push.y | push.to_row | push.residual_row |
                         push.y_row | push.n_cols * 4;
    const uint32_t four = all % 16 == 0 ? 4 : 1, lanes = 64;
    const struct dispatch dispatch = {
        .kernel = "experts_sum",
        .spec = {lanes, four},
        .n_spec = 2,
        .push = &push,
        .push_bytes = sizeof(push),
        .groups = {(push.n_cols / four + lanes - 1) / lanes, (uint32_t)out->n_rows, 1},
        .read = {from, of, by},
        .write = {to},
        .bytes = (double)(of.n_bytes + 2 * to.n_bytes),
        .flops = 2.0 * (double)of.n_bytes / 4,
    };
    if (out->n_rows > 0)
        vk_dispatch(vk, &dispatch);
}
