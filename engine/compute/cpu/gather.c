// gather.c - the operations that move rows: by an index (embed, rows), where one chunk is one row,
// or as they are (copy).
//
// The indices are read when the chunk runs; one outside its tensor is a programming error of the
// floor above.
#include "cpu.h"

#include <string.h>

enum { COPY_BYTES = 64 << 10 }; // a chunk of a copy

static int64_t index_of(const struct task *task, int32_t i, int64_t n_rows)
{
    int64_t row = task->gather.index[i];
    if (row < 0 || row >= n_rows)
        die("row %lld of a tensor of %lld rows", (long long)row, (long long)n_rows);
    return row;
}

static void run_embed(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)cpu, (void)thread;
    struct span out = task->gather.out, from = task->gather.from;
    dtype_decode(from.type, span_row(out, t), span_row(from, index_of(task, t, from.n_rows)),
                 out.n_cols);
    float *x = span_row(out, t), scale = task->gather.scale;
    for (int64_t i = 0; i < out.n_cols && scale != 1; i++)
        x[i] *= scale;
}

static void run_rows(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)cpu, (void)thread;
    struct span out = task->gather.out, from = task->gather.from;
    memcpy(span_row(out, t), span_row(from, index_of(task, t, from.n_rows)),
           (size_t)out.n_cols * sizeof(float));
}

static void record(struct compute *compute, task_run *run, const struct tensor *out,
                   const struct tensor *from, const struct tensor *index, float scale)
{
    struct task *task = cpu_task((struct cpu *)compute, run, out->n_rows);
    task->gather.out = cpu_span(out);
    task->gather.from = cpu_span(from);
    task->gather.index = cpu_ints(index);
    task->gather.scale = scale;
}

void cpu_embed(struct compute *compute, const struct tensor *out, const struct tensor *token_embd,
               const struct tensor *token, float scale)
{
    record(compute, run_embed, out, token_embd, token, scale);
}

void cpu_rows(struct compute *compute, const struct tensor *out, const struct tensor *x,
              const struct tensor *row)
{
    record(compute, run_rows, out, x, row, 1);
}

static void run_copy(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    (void)cpu, (void)thread;
    const size_t at = (size_t)chunk * COPY_BYTES, left = task->copy.n_bytes - at;
    memcpy(task->copy.to + at, task->copy.from + at, left < COPY_BYTES ? left : COPY_BYTES);
}

void cpu_copy(struct compute *compute, const struct tensor *to, const struct tensor *from,
              size_t n_bytes)
{
    struct task *task = cpu_task((struct cpu *)compute, run_copy,
                                 (int64_t)((n_bytes + COPY_BYTES - 1) / COPY_BYTES));
    task->copy = (struct args_copy){cpu_span(from).p, cpu_span(to).p, n_bytes};
}
