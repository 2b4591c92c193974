// select.c - the largest few of a row: op_top_k.
//
// One chunk is one row, looked through once beside a sorted list of the best so far. The order is
// total, so that every implementation picks the same: NaN above all numbers, then by value, and the
// lower column first of equal ones (all NaNs are equal, as are 0 and -0).
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
