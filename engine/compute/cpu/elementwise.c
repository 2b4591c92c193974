// elementwise.c - norms, and what is done to each number by itself. The arithmetic is in
// float_body.h.
//
// A norm's chunk is one row. Of the others it is COLUMNS neighbouring numbers of a row, so that one
// long row keeps all threads busy.
#include "cpu.h"

// ---- norms --------------------------------------------------------------------------------------

static const float *vector(const struct tensor *tensor) // NULL stays NULL
{
    return tensor ? span_row(cpu_span(tensor), 0) : NULL;
}

static void run_norm(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)thread;
    const struct args_norm *a = &task->norm;
    const int64_t n = a->x.n_cols / a->n_group;
    struct norm_by by = a->by;
    for (int64_t at = 0; at < a->x.n_cols; at += n) {
        by.weight = a->by.weight ? a->by.weight + at : NULL;
        by.bias = a->by.bias ? a->by.bias + at : NULL;
        cpu->flt->norm(span_row(a->out, t) + at, span_row(a->x, t) + at,
                       a->residual.p ? span_row(a->residual, t) + at : NULL, &by, n);
    }
}

void cpu_norm(struct compute *compute, const struct norm *args)
{
    struct task *task = cpu_task((struct cpu *)compute, run_norm, args->x->n_rows);
    task->norm = (struct args_norm){
        .out = cpu_span(args->out),
        .x = cpu_span(args->x),
        .by = {vector(args->weight), vector(args->bias), args->eps, args->scale, args->centred},
        .n_group = args->n_group ? args->n_group : 1,
    };
    if (args->residual)
        task->norm.residual = cpu_span(args->residual);
}

// ---- element by element -------------------------------------------------------------------------

enum { COLUMNS = 2048 }; // in one chunk

static void gate_add(struct cpu *cpu, const struct args_elementwise *a, int64_t t, int64_t at,
                     int64_t n)
{
    const int64_t per_gate = a->out.n_cols / a->gate.n_cols, end = at + n;
    float *out = span_row(a->out, t);
    const float *x = span_row(a->x, t), *gate = span_row(a->gate, t),
                *residual = a->y.p ? span_row(a->y, t) : NULL;
    if (per_gate == 1) {
        cpu->flt->gate_add(out + at, residual ? residual + at : NULL, x + at, gate + at, false, n);
        return;
    }
    for (int64_t i = at, next; i < end; i = next) {
        next = (i / per_gate + 1) * per_gate < end ? (i / per_gate + 1) * per_gate : end;
        cpu->flt->gate_add(out + i, residual ? residual + i : NULL, x + i, gate + i / per_gate,
                           true, next - i);
    }
}

static void run_elementwise(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    (void)thread;
    const struct args_elementwise *e = &task->elementwise;
    const int64_t n_cols = e->out.n_cols, per_row = (n_cols + COLUMNS - 1) / COLUMNS;
    const int64_t t = chunk / per_row, at = chunk % per_row * COLUMNS;
    const int64_t n = n_cols - at < COLUMNS ? n_cols - at : COLUMNS;
    float *out = span_row(e->out, t) + at;
    const float *x = span_row(e->x, t) + at, *y = e->y.p ? span_row(e->y, t) + at : NULL;
    switch (e->kind) {
    case ELEMENTWISE_GLU:
        cpu->flt->glu(out, x, y, n, e->activation);
        return;
    case ELEMENTWISE_ADD:
        for (int64_t i = 0; i < n; i++)
            out[i] = y ? e->a * x[i] + e->b * y[i] : e->a * x[i];
        return;
    case ELEMENTWISE_MULTIPLY:
        for (int64_t i = 0; i < n; i++)
            out[i] = x[i] * y[i];
        return;
    case ELEMENTWISE_GATE_ADD:
        gate_add(cpu, e, t, at, n);
        return;
    case ELEMENTWISE_SOFTCAP:
        cpu->flt->softcap(out, x, n, e->a);
        return;
    }
}

void cpu_elementwise(struct compute *compute, const struct elementwise *args)
{
    const int64_t per_row = (args->out->n_cols + COLUMNS - 1) / COLUMNS;
    struct task *task =
        cpu_task((struct cpu *)compute, run_elementwise, args->out->n_rows * per_row);
    task->elementwise = (struct args_elementwise){.out = cpu_span(args->out),
                                                  .x = cpu_span(args->x),
                                                  .kind = args->kind,
                                                  .activation = args->activation,
                                                  .a = args->a,
                                                  .b = args->b};
    if (args->y)
        task->elementwise.y = cpu_span(args->y);
    if (args->gate)
        task->elementwise.gate = cpu_span(args->gate);
}
