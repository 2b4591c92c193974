// elementwise.c - rms_norm and glu: what is done to each row by itself. The arithmetic is in
// float_body.h.
#include "cpu.h"

static void run_rms_norm(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)thread;
    cpu->flt->rms_norm(span_row(task->norm.out, t), span_row(task->norm.x, t), task->norm.weight,
                       task->norm.x.n_cols, task->norm.eps);
}

void cpu_rms_norm(struct compute *compute, const struct tensor *out, const struct tensor *x,
                  const struct tensor *weight, float eps)
{
    struct task *task = cpu_task((struct cpu *)compute, run_rms_norm, x->n_rows);
    task->norm.out = cpu_span(out);
    task->norm.x = cpu_span(x);
    task->norm.weight = span_row(cpu_span(weight), 0);
    task->norm.eps = eps;
}

enum { GLU_COLUMNS = 2048 }; // in one chunk

static void run_glu(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    (void)thread;
    int64_t n_cols = task->glu.out.n_cols, per_row = (n_cols + GLU_COLUMNS - 1) / GLU_COLUMNS;
    int64_t t = chunk / per_row, at = chunk % per_row * GLU_COLUMNS;
    int64_t n = n_cols - at < GLU_COLUMNS ? n_cols - at : GLU_COLUMNS;
    cpu->flt->glu(span_row(task->glu.out, t) + at, span_row(task->glu.gate, t) + at,
                  span_row(task->glu.up, t) + at, n, task->glu.activation);
}

void cpu_glu(struct compute *compute, const struct tensor *out, const struct tensor *gate,
             const struct tensor *up, enum activation activation)
{
    int64_t per_row = (out->n_cols + GLU_COLUMNS - 1) / GLU_COLUMNS;
    struct task *task = cpu_task((struct cpu *)compute, run_glu, out->n_rows * per_row);
    task->glu = (struct args_glu){cpu_span(out), cpu_span(gate), cpu_span(up), activation};
}
