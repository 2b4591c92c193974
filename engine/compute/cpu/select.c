// select.c - the largest few of a row: op_top_k, and op_route, which gives each token its experts.
//
// One chunk is one row, looked through once beside a sorted list of the best so far. The order is
// total, so that every implementation picks the same: NaN above all numbers, then by value, and the
// lower column first of equal ones (all NaNs are equal, as are 0 and -0). Experts are picked by
// their logits: softmax and sigmoid keep the order, but round some different ones to the same. Only
// where something is added to the scores, or groups are compared, these count themselves.
#include "cpu.h"

#include <math.h>
#include <string.h>

// Whether a value in a later column goes before b.
static bool before(float a, float b)
{
    return a > b || (isnan(a) && !isnan(b));
}

// The k largest of x [n], falling, with their columns.
static void largest(int32_t *id, float *value, int32_t k, const float *x, int64_t n)
{
    int32_t have = 0;
    for (int64_t i = 0; i < n; i++) {
        if (have == k && !before(x[i], value[k - 1]))
            continue;
        int32_t at = have < k ? have++ : k - 1;
        for (; at > 0 && before(x[i], value[at - 1]); at--) {
            value[at] = value[at - 1];
            id[at] = id[at - 1];
        }
        value[at] = x[i];
        id[at] = (int32_t)i;
    }
}

// e^(logit - most), summed up.
static float sum_of_exp(const float *logits, int64_t n, float most)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)expf(logits[i] - most);
    return (float)sum;
}

static void run_top_k(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)cpu, (void)thread;
    const struct args_top_k *a = &task->top_k;
    const float *x = span_row(a->x, t);
    float *value = span_row(a->value, t);
    largest((int32_t *)(void *)span_row(a->id, t), value, (int32_t)a->id.n_cols, x, a->x.n_cols);
    if (a->summed)
        *span_row(a->total, t) = value[0] + logf(sum_of_exp(x, a->x.n_cols, value[0]));
}

void cpu_top_k(struct compute *compute, const struct tensor *id, const struct tensor *value,
               const struct tensor *total, const struct tensor *x)
{
    cpu_task((struct cpu *)compute, run_top_k, x->n_rows)->top_k = (struct args_top_k){
        cpu_span(id), cpu_span(value), cpu_span(total ? total : value), cpu_span(x), total != NULL};
}

// ---- experts ------------------------------------------------------------------------------------

static float sqrt_softplus(float x)
{
    return sqrtf(x > 20 ? x : log1pf(expf(x)));
}

// The scores of all experts, which softmax makes of their logits, or sigmoid, or which these are.
static void scores_of(float *scores, const float *logits, int32_t n, enum route_score score)
{
    float most = -INFINITY;
    for (int32_t i = 0; i < n; i++)
        most = before(logits[i], most) ? logits[i] : most;
    float all = score == ROUTE_SOFTMAX ? sum_of_exp(logits, n, most) : 1;
    for (int32_t i = 0; i < n; i++)
        scores[i] = score == ROUTE_SOFTMAX    ? expf(logits[i] - most) / all
                    : score == ROUTE_SIGMOID  ? 1 / (1 + expf(-logits[i]))
                    : score == ROUTE_SOFTPLUS ? sqrt_softplus(logits[i])
                                              : logits[i];
}

// Takes the experts of all but the best groups out of the choice.
static void keep_groups(float *choice, int32_t n, const struct route *route)
{
    float worth[EXPERTS_MOST], best[2], value[EXPERTS_MOST];
    int32_t each = n / route->n_group, id[EXPERTS_MOST], two[2];
    bool kept[EXPERTS_MOST] = {false};
    for (int32_t g = 0; g < route->n_group; g++) {
        largest(two, best, 2, choice + g * each, each);
        worth[g] = best[0] + best[1];
    }
    largest(id, value, route->n_group_used, worth, route->n_group);
    for (int32_t g = 0; g < route->n_group_used; g++)
        kept[id[g]] = true;
    for (int32_t i = 0; i < n; i++)
        choice[i] = kept[i / each] ? choice[i] : -INFINITY;
}

// The experts of one token, and for each its logit.
static void choose(int32_t *id, float *logit, int32_t n_used, const float *logits, int32_t n,
                   const struct args_route *a)
{
    float choice[EXPERTS_MOST];
    if (!a->bias && a->route.n_group == 0) {
        largest(id, logit, n_used, logits, n);
        return;
    }
    scores_of(choice, logits, n, a->route.score);
    for (int32_t i = 0; i < n && a->bias; i++)
        choice[i] += a->bias[i];
    if (a->route.n_group > 0)
        keep_groups(choice, n, &a->route);
    largest(id, logit, n_used, choice, n);
    for (int32_t i = 0; i < n_used; i++)
        logit[i] = logits[id[i]];
}

// The experts that stand in the token's row, and for each its logit.
static void look_up(int32_t *id, float *logit, int32_t n_used, const float *logits, int32_t n,
                    const struct args_route *a, int32_t token)
{
    if (token < 0 || token >= a->hashed.n_rows)
        die("op_route: token %d of %lld", token, (long long)a->hashed.n_rows);
    const int32_t *row = (const int32_t *)(const void *)span_row(a->hashed, token);
    for (int32_t i = 0; i < n_used; i++) {
        if (row[i] < 0 || row[i] >= n)
            die("op_route: expert %d of %d for token %d", row[i], n, token);
        id[i] = row[i];
        logit[i] = logits[row[i]];
    }
}

static float most_of(const float *x, int32_t n)
{
    float most = x[0];
    for (int32_t i = 1; i < n; i++)
        most = before(x[i], most) ? x[i] : most;
    return most;
}

static void run_route(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)cpu, (void)thread;
    const struct args_route *a = &task->route;
    const float *logits = span_row(a->logits, t);
    float *weight = span_row(a->weight, t), all = 1, sum = 0, factor = a->route.scale;
    int32_t n_used = (int32_t)a->id.n_cols, n = (int32_t)a->logits.n_cols;
    if (a->hashed.p)
        look_up((int32_t *)(void *)span_row(a->id, t), weight, n_used, logits, n, a, a->token[t]);
    else
        choose((int32_t *)(void *)span_row(a->id, t), weight, n_used, logits, n, a);
    const bool top = a->route.score == ROUTE_TOP_SOFTMAX;
    const float most = top ? most_of(weight, n_used) : most_of(logits, n);
    if (a->route.score <= ROUTE_TOP_SOFTMAX)
        all = top ? sum_of_exp(weight, n_used, most) : sum_of_exp(logits, n, most);
    for (int32_t i = 0; i < n_used; i++) {
        weight[i] = a->route.score == ROUTE_SIGMOID    ? 1 / (1 + expf(-weight[i]))
                    : a->route.score == ROUTE_SOFTPLUS ? sqrt_softplus(weight[i])
                                                       : expf(weight[i] - most) / all;
        sum += weight[i];
    }
    if (a->route.normalise)
        factor /= sum > a->route.sum_least || isnan(sum) ? sum : a->route.sum_least;
    for (int32_t i = 0; i < n_used; i++)
        weight[i] *= factor;
}

void cpu_route(struct compute *compute, const struct tensor *id, const struct tensor *weight,
               const struct tensor *logits, const struct route *route)
{
    struct args_route a = {.id = cpu_span(id),
                           .weight = cpu_span(weight),
                           .logits = cpu_span(logits),
                           .bias = route->bias ? span_row(cpu_span(route->bias), 0) : NULL,
                           .route = *route};
    if (route->hashed) {
        a.hashed = cpu_span(route->hashed);
        a.token = cpu_ints(route->token);
    }
    cpu_task((struct cpu *)compute, run_route, logits->n_rows)->route = a;
}
