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

static void blend(const struct args_streams *a, int32_t t)
{
    const int64_t n = a->y.n_cols;
    const float *y = span_row(a->y, t), *weight = span_row(a->gate, t);
    float *x = span_row(a->out, t);
    for (int64_t i = 0; i < n; i++) {
        float sum[STREAMS_READ_MOST];
        for (int32_t d = 0; d < a->n_stream; d++) {
            sum[d] = y[i] * weight[d];
            for (int32_t s = 0; s < a->n_stream; s++)
                sum[d] += weight[(1 + s) * a->n_stream + d] * x[s * n + i];
        }
        for (int32_t d = 0; d < a->n_stream; d++)
            x[d * n + i] = sum[d];
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
    case STREAMS_BLEND:
        blend(a, t);
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

// ---- read with numbers that the streams give ----------------------------------------------------

// The rows, then the columns of m [n][n], divided by their sums; the columns alone at first.
static void balance(float *m, int32_t n, int32_t n_round, float eps)
{
    for (int32_t k = 0; k < 2 * n_round - 1; k++)
        for (int32_t i = 0; i < n; i++) {
            const int32_t first = k % 2 == 0 ? i : i * n, step = k % 2 == 0 ? n : 1;
            float sum = eps;
            for (int32_t j = 0; j < n; j++)
                sum += m[first + j * step];
            for (int32_t j = 0; j < n; j++)
                m[first + j * step] /= sum;
        }
}

// What each stream gets, and the matrix by which they are mixed, from z [n][n].
static void weigh(float *m, const float *z, int32_t n, int32_t n_round, float eps)
{
    for (int32_t s = 0; s < n; s++) {
        float most = z[s * n], sum = 0;
        for (int32_t d = 1; d < n; d++)
            most = fmaxf(most, z[s * n + d]);
        for (int32_t d = 0; d < n; d++)
            sum += m[s * n + d] = expf(z[s * n + d] - most);
        for (int32_t d = 0; d < n; d++)
            m[s * n + d] = m[s * n + d] / sum + eps;
    }
    balance(m, n, n_round, eps);
}

static void run_read(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)cpu, (void)thread;
    enum { MOST = STREAMS_READ_MOST * (2 + STREAMS_READ_MOST) };
    const struct args_streams_read *a = &task->streams_read;
    const int32_t n = a->n_stream;
    const int64_t width = a->out.n_cols;
    const float *mix = span_row(a->mix, t), *x = span_row(a->x, t);
    float *out = span_row(a->out, t), z[MOST];
    for (int32_t i = 0; i < (int32_t)a->mix.n_cols; i++)
        z[i] = mix[i] * a->scale[i < n ? 0 : i < 2 * n ? 1 : 2] + a->base[i];
    for (int64_t i = 0; i < width; i++)
        out[i] = 0;
    for (int32_t s = 0; s < n; s++) {
        const float times = logistic(z[s]) + a->eps;
        for (int64_t i = 0; i < width; i++)
            out[i] += x[s * width + i] * times;
    }
    if (!a->weight.p)
        return;
    float *weight = span_row(a->weight, t);
    for (int32_t d = 0; d < n; d++)
        weight[d] = 2 * logistic(z[n + d]);
    weigh(weight + n, z + 2 * n, n, a->n_round, a->eps);
}

void cpu_streams_read(struct compute *compute, const struct streams_read *args)
{
    struct task *task = cpu_task((struct cpu *)compute, run_read, args->out->n_rows);
    task->streams_read = (struct args_streams_read){.out = cpu_span(args->out),
                                                    .x = cpu_span(args->x),
                                                    .mix = cpu_span(args->mix),
                                                    .scale = span_row(cpu_span(args->scale), 0),
                                                    .base = span_row(cpu_span(args->base), 0),
                                                    .n_stream = args->n_stream,
                                                    .n_round = args->n_round,
                                                    .eps = args->eps};
    if (args->weight)
        task->streams_read.weight = cpu_span(args->weight);
}
