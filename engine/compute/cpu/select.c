// select.c - the largest few of a row: op_top_k, and op_route, which gives each token its experts.
//
// One chunk is one row, looked through once beside a sorted list of the best so far. The order is
// total, so that every implementation picks the same: NaN above all numbers, then by value, and the
// lower column first of equal ones (all NaNs are equal, as are 0 and -0). Experts are picked by
// their logits: softmax and sigmoid keep the order, but round some different ones to the same.
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

static void run_top_k(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)cpu, (void)thread;
    const struct args_top_k *a = &task->top_k;
    largest((int32_t *)(void *)span_row(a->id, t), span_row(a->value, t), (int32_t)a->id.n_cols,
            span_row(a->x, t), a->x.n_cols);
}

void cpu_top_k(struct compute *compute, const struct tensor *id, const struct tensor *value,
               const struct tensor *x)
{
    cpu_task((struct cpu *)compute, run_top_k, x->n_rows)->top_k =
        (struct args_top_k){cpu_span(id), cpu_span(value), cpu_span(x)};
}

// ---- experts
// --------------------------------------------------------------------------------------

// weight [n]: the logits of the chosen; all [n_all]: those of all experts.
static void softmax(float *weight, int32_t n, const float *all, int64_t n_all)
{
    float most = weight[0], sum = 0;
    for (int64_t i = 0; i < n_all; i++)
        sum += expf(all[i] - most);
    for (int32_t i = 0; i < n; i++)
        weight[i] = expf(weight[i] - most) / sum;
}

static void run_route(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)cpu, (void)thread;
    const struct args_route *a = &task->route;
    const float *logits = span_row(a->logits, t);
    float *weight = span_row(a->weight, t), sum = 0, factor = a->route.scale;
    int32_t n = (int32_t)a->id.n_cols;
    largest((int32_t *)(void *)span_row(a->id, t), weight, n, logits, a->logits.n_cols);
    if (a->route.score == ROUTE_SOFTMAX)
        softmax(weight, n, logits, a->logits.n_cols);
    else if (a->route.score == ROUTE_TOP_SOFTMAX) {
        float chosen[16];
        memcpy(chosen, weight, (size_t)n * sizeof(*chosen));
        softmax(weight, n, chosen, n);
    } else
        for (int32_t i = 0; i < n; i++)
            weight[i] = 1 / (1 + expf(-weight[i]));
    for (int32_t i = 0; i < n; i++)
        sum += weight[i];
    if (a->route.normalise)
        factor /= sum;
    for (int32_t i = 0; i < n; i++)
        weight[i] *= factor;
}

void cpu_route(struct compute *compute, const struct tensor *id, const struct tensor *weight,
               const struct tensor *logits, const struct route *route)
{
    cpu_task((struct cpu *)compute, run_route, logits->n_rows)->route =
        (struct args_route){cpu_span(id), cpu_span(weight), cpu_span(logits), *route};
}
