// streams.c - several residual streams in a row: mixed into one, added to, gated by how alike two
// of them are. A chunk is a row, and reads nothing of another; what is added to may be written over
// where it is read.
#include "cpu.h"

#include <math.h>

static float logistic(float x)
{
    return 1 / (1 + expf(-x));
}

// The mean of n_stream streams, each times the sigmoid of its gate.
static void mix(struct cpu *cpu, const struct args_streams *a, int32_t t)
{
    const int64_t n = a->out.n_cols;
    float *out = span_row(a->out, t);
    const float *x = span_row(a->x, t), *gate = span_row(a->gate, t), part = 1 / (float)a->n_stream;
    for (int32_t s = 0; s < a->n_stream; s++)
        cpu->flt->gate_add(out, s > 0 ? out : NULL, x + s * n, gate + s * n, false, n);
    for (int64_t i = 0; i < n; i++)
        out[i] *= part;
}

static void add(const struct args_streams *a, int32_t t)
{
    const int64_t n = a->y.n_cols;
    const float *y = span_row(a->y, t), *weight = span_row(a->gate, t);
    for (int32_t s = 0; s < a->n_stream; s++) {
        float *out = span_row(a->out, t) + s * n;
        const float *x = span_row(a->x, t) + s * n, times = 2 * logistic(weight[s]);
        for (int64_t i = 0; i < n; i++)
            out[i] = x[i] + y[i] * times;
    }
}

static void gate(const struct args_streams *a, int32_t t)
{
    const int64_t n = a->y.n_cols;
    const float *y = span_row(a->y, t);
    for (int32_t s = 0; s < a->n_stream; s++) {
        float *out = span_row(a->out, t) + s * n;
        const float *x = span_row(a->x, t) + s * n, *z = span_row(a->gate, t) + s * n;
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += (double)x[i] * z[i];
        const float d = (float)(sum / sqrt((double)n)),
                    times = logistic(copysignf(sqrtf(fmaxf(fabsf(d), 1e-6f)), d) + d * 0);
        for (int64_t i = 0; i < n; i++)
            out[i] = y[i] * times;
    }
}

static void run_streams(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)thread;
    const struct args_streams *a = &task->streams;
    switch (a->kind) {
    case STREAMS_MIX:
        mix(cpu, a, t);
        return;
    case STREAMS_ADD:
        add(a, t);
        return;
    case STREAMS_GATE:
        gate(a, t);
        return;
    }
}

void cpu_streams(struct compute *compute, const struct streams *args)
{
    struct task *task = cpu_task((struct cpu *)compute, run_streams, args->out->n_rows);
    task->streams = (struct args_streams){.out = cpu_span(args->out),
                                          .x = cpu_span(args->x),
                                          .gate = cpu_span(args->gate),
                                          .kind = args->kind,
                                          .n_stream = args->n_stream};
    if (args->y)
        task->streams.y = cpu_span(args->y);
}
