// rope.c - rotary position embedding: pairs of dimensions of each head are turned by position *
// frequency.
//
// The angle of pair i is pos * freq_scale * freq_base^(-2i / n_rot) / freq_factors[i], taken in
// double so that long contexts keep their precision. Sines and cosines depend on the position
// alone: a table [n_tokens][n_rot / 2][cos, sin] is made once a recording and used by every layer's
// q and k.
#include "cpu.h"

#include <math.h>

struct rope_table {
    struct rope_table *next;
    const int32_t *pos;
    int64_t n_tokens;
    struct rope rope;
    float *cos_sin;
};

static void run_table(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)cpu, (void)thread;
    int32_t n_pairs = task->rope.n_rot / 2;
    float *cos_sin = task->rope.table + (size_t)t * (size_t)n_pairs * 2;
    for (int32_t i = 0; i < n_pairs; i++) {
        double angle = (double)task->rope.pos[t] * task->rope.freq[i];
        cos_sin[2 * i] = (float)cos(angle);
        cos_sin[2 * i + 1] = (float)sin(angle);
    }
}

static void run_rope(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)cpu, (void)thread;
    int32_t n_pairs = task->rope.n_rot / 2, head_dim = task->rope.head_dim;
    const float *cos_sin = task->rope.table + (size_t)t * (size_t)n_pairs * 2;
    // Pair i is (x[i * step], x[i * step + apart]).
    int32_t step = task->rope.pairs == ROPE_NORM ? 2 : 1,
            apart = task->rope.pairs == ROPE_NORM ? 1 : n_pairs;
    float *x = span_row(task->rope.x, t), *end = x + task->rope.x.n_cols;
    for (; x < end; x += head_dim)
        for (int32_t i = 0; i < n_pairs; i++) {
            float a = x[i * step], b = x[i * step + apart], c = cos_sin[2 * i],
                  s = cos_sin[2 * i + 1];
            x[i * step] = a * c - b * s;
            x[i * step + apart] = a * s + b * c;
        }
}

static bool same_rope(const struct rope *a, const struct rope *b)
{
    return a->n_rot == b->n_rot && a->freq_base == b->freq_base && a->freq_scale == b->freq_scale &&
           a->freq_factors == b->freq_factors;
}

// Finds this recording's table, or records a task that makes it.
static float *rope_table(struct cpu *cpu, const int32_t *pos, int64_t n_tokens,
                         const struct rope *rope)
{
    for (struct rope_table *table = cpu->rope_tables; table; table = table->next)
        if (table->pos == pos && table->n_tokens == n_tokens && same_rope(&table->rope, rope))
            return table->cos_sin;
    size_t n_pairs = (size_t)rope->n_rot / 2;
    struct rope_table *table = cpu_take(cpu, sizeof *table);
    *table = (struct rope_table){cpu->rope_tables, pos, n_tokens, *rope,
                                 cpu_take(cpu, (size_t)n_tokens * n_pairs * 2 * sizeof(float))};
    cpu->rope_tables = table;
    double *freq = cpu_take(cpu, n_pairs * sizeof *freq);
    for (size_t i = 0; i < n_pairs; i++) {
        freq[i] = (double)rope->freq_scale * pow(rope->freq_base, -2.0 * (double)i / rope->n_rot);
        if (rope->freq_factors)
            freq[i] /= rope->freq_factors[i];
    }
    struct task *task = cpu_task(cpu, run_table, n_tokens);
    task->rope.pos = pos;
    task->rope.n_rot = rope->n_rot;
    task->rope.table = table->cos_sin;
    task->rope.freq = freq;
    return table->cos_sin;
}

void cpu_rope(struct compute *compute, const struct tensor *x, const struct tensor *pos,
              int32_t head_dim, const struct rope *rope)
{
    struct cpu *cpu = (struct cpu *)compute;
    if (rope->n_rot == 0 || x->n_rows == 0)
        return;
    float *table = rope_table(cpu, (const int32_t *)(const void *)cpu_span(pos).p, x->n_rows, rope);
    struct task *task = cpu_task(cpu, run_rope, x->n_rows);
    task->rope.x = cpu_span(x);
    task->rope.head_dim = head_dim;
    task->rope.n_rot = rope->n_rot;
    task->rope.table = table;
    task->rope.pairs = rope->pairs;
}
