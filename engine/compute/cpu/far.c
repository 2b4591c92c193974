// far.c - rows that stand for many positions: op_compress makes them, op_attention_far reads them
// beside the last positions.
//
// A chunk of the first is a token: all rows of a pass are kept before any block is made of them. A
// chunk of the second is a token and a few of its heads; rows are decoded once for these, and the
// softmax runs along with its maximum, so that one row is all the room it takes.
#include "../blocks.h"
#include "cpu.h"

#include <math.h>

enum { HEADS = 8 };

// The row of position pos, where a row is for `each` of them.
static int64_t row_of(struct span pages, int32_t table, int32_t pos, int32_t each)
{
    if (table < 0 || table >= pages.n_rows || pos < 0 || pos / PAGE_ROWS >= pages.n_cols)
        die("position %d of table %d", pos, table);
    const int32_t *page = (const int32_t *)(const void *)span_row(pages, table);
    return ((int64_t)page[pos / PAGE_ROWS] * PAGE_ROWS + pos % PAGE_ROWS) / each;
}

static const uint8_t *cached(struct span cache, int64_t row)
{
    if (row < 0 || row >= cache.n_rows)
        die("row %lld of a cache of %lld rows", (long long)row, (long long)cache.n_rows);
    return cache.p + (size_t)row * cache.row_bytes;
}

// ---- blocks -------------------------------------------------------------------------------------

static void run_raw(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)thread;
    const struct args_compress *a = &task->compress;
    const int64_t row = a->row[t];
    cpu->flt->to_f16((void *)(uintptr_t)cached(a->raw_x, row), span_row(a->x, t), a->x.n_cols);
    cpu->flt->to_f16((void *)(uintptr_t)cached(a->raw_score, row), span_row(a->score, t),
                     a->score.n_cols);
}

// One column of a block: x of its rows, weighted by the softmax of their scores.
static float column(const float *score, const float *x, int32_t n)
{
    float most = -INFINITY, sum = 0, all = 0;
    for (int32_t j = 0; j < n; j++)
        most = fmaxf(most, score[j]);
    for (int32_t j = 0; j < n; j++) {
        const float e = expf(score[j] - most);
        sum += e;
        all += e * x[j];
    }
    return all / sum;
}

static void run_block(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)cpu, (void)thread;
    const struct args_compress *a = &task->compress;
    const int32_t pos = a->pos[t], n = a->overlap ? 2 * a->ratio : a->ratio,
                  none = pos + 1 < n ? n - pos - 1 : 0; // rows before the first position
    const uint16_t *x[2 * COMPRESS_MOST], *score[2 * COMPRESS_MOST];
    float xs[2 * COMPRESS_MOST], scores[2 * COMPRESS_MOST], *out = span_row(a->out, t);
    if (pos % a->ratio != a->ratio - 1)
        return;
    for (int32_t j = none; j < n; j++) {
        const int64_t row = row_of(a->pages, a->table[t], pos + 1 - n + j, 1);
        x[j] = (const uint16_t *)(const void *)cached(a->raw_x, row);
        score[j] = (const uint16_t *)(const void *)cached(a->raw_score, row);
    }
    for (int64_t c = 0; c < a->out.n_cols; c++) {
        for (int32_t j = none; j < n; j++) {
            const int64_t at = a->overlap && j >= a->ratio ? a->out.n_cols + c : c;
            xs[j] = float_from_f16(x[j][at]);
            scores[j] = float_from_f16(score[j][at]) + span_row(a->place, j % a->ratio)[at];
        }
        out[c] = column(scores + none, xs + none, n - none);
    }
}

void cpu_compress(struct compute *compute, const struct compress *args)
{
    struct cpu *cpu = (struct cpu *)compute;
    const struct args_compress a = {
        .out = cpu_span(args->out),
        .x = cpu_span(args->x),
        .score = cpu_span(args->score),
        .raw_x = cpu_span(args->raw_x),
        .raw_score = cpu_span(args->raw_score),
        .place = cpu_span(args->place),
        .pages = cpu_span(args->pages),
        .pos = cpu_ints(args->pos),
        .row = cpu_ints(args->row),
        .table = cpu_ints(args->table),
        .ratio = args->ratio,
        .overlap = args->overlap,
    };
    cpu_task(cpu, run_raw, args->x->n_rows)->compress = a;
    cpu_task(cpu, run_block, args->x->n_rows)->compress = a;
}

// ---- attention ----------------------------------------------------------------------------------

struct heads { // of one token
    const float *q;
    float *out; // not divided by sum yet
    int32_t n;
    float most[HEADS], sum[HEADS];
};

static float dot_of(const float *a, const float *b, int64_t n)
{
    float part[8] = {0};
    for (int64_t i = 0; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++)
            part[j] += a[i + j] * b[i + j];
    for (int64_t i = n / 8 * 8; i < n; i++)
        part[0] += a[i] * b[i];
    return (part[0] + part[4]) + (part[1] + part[5]) + (part[2] + part[6]) + (part[3] + part[7]);
}

static void see(struct heads *heads, const float *row, int64_t dim, float scale)
{
    for (int32_t h = 0; h < heads->n; h++) {
        const float s = dot_of(heads->q + h * dim, row, dim) * scale;
        float *out = heads->out + h * dim;
        if (!(s <= heads->most[h])) { // NaN goes on
            const float times = expf(heads->most[h] - s);
            heads->most[h] = s;
            heads->sum[h] *= times;
            for (int64_t i = 0; i < dim; i++)
                out[i] *= times;
        }
        const float e = expf(s - heads->most[h]);
        heads->sum[h] += e;
        for (int64_t i = 0; i < dim; i++)
            out[i] += e * row[i];
    }
}

static void see_row(struct heads *heads, struct span cache, int64_t row, float scale, float *room)
{
    dtype_decode(cache.type, room, cached(cache, row), cache.n_cols);
    see(heads, room, cache.n_cols, scale);
}

static void run_far(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    const struct args_far *a = &task->far;
    const int32_t groups = (a->n_head + HEADS - 1) / HEADS, t = chunk / groups,
                  head = chunk % groups * HEADS, count = a->count[t], table = a->table[t];
    const int64_t dim = a->near.n_cols;
    const uint32_t *bits = a->chosen.p ? (const uint32_t *)(void *)span_row(a->chosen, t) : NULL;
    float *room = (float *)(void *)cpu->thread_scratch[thread].p;
    struct heads heads = {.q = span_row(a->q, t) + head * dim,
                          .out = span_row(a->out, t) + head * dim,
                          .n = a->n_head - head < HEADS ? a->n_head - head : HEADS};
    for (int32_t h = 0; h < heads.n; h++) {
        heads.most[h] = a->sinks ? a->sinks[head + h] : -INFINITY;
        heads.sum[h] = a->sinks ? 1 : 0;
    }
    for (int64_t i = 0; i < heads.n * dim; i++)
        heads.out[i] = 0;
    for (int32_t pos = count > a->window ? count - a->window : 0; pos < count; pos++)
        see_row(&heads, a->near, row_of(a->near_pages, table, pos, 1), a->scale, room);
    for (int32_t b = 0; b < count / a->ratio; b++)
        if (!bits || bits[b / 32] >> b % 32 & 1)
            see_row(&heads, a->far, row_of(a->far_pages, table, b * a->ratio, a->ratio), a->scale,
                    room);
    for (int32_t h = 0; h < heads.n; h++)
        for (int64_t i = 0; i < dim; i++)
            heads.out[h * dim + i] /= heads.sum[h];
}

void cpu_attention_far(struct compute *compute, const struct attention_far *args)
{
    struct cpu *cpu = (struct cpu *)compute;
    struct args_far a = {
        .out = cpu_span(args->out),
        .q = cpu_span(args->q),
        .near = cpu_span(args->near),
        .far = cpu_span(args->far),
        .near_pages = cpu_span(args->near_pages),
        .far_pages = cpu_span(args->far_pages),
        .table = cpu_ints(args->table),
        .count = cpu_ints(args->count),
        .n_head = args->n_head,
        .window = args->window,
        .ratio = args->ratio,
        .scale = args->scale,
    };
    if (args->sinks)
        a.sinks = span_row(cpu_span(args->sinks), 0);
    if (args->chosen)
        a.chosen = cpu_span(args->chosen);
    want_bytes(&cpu->thread_bytes, (size_t)a.near.n_cols * sizeof(float));
    cpu_task(cpu, run_far, args->q->n_rows * ((args->n_head + HEADS - 1) / HEADS))->far = a;
}
