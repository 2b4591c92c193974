// rope.c - op_rope_kv: heads are normalised, queries and keys turned by position, then keys and
// values go to their rows of the cache. Values go first: they may be the keys as they came.
//
// The angle of pair i is the fraction of a revolution pos * turns[i] modulo 2^64 (compute.h), taken
// as a signed number: half a revolution either way. Cosines and sines depend on the position alone:
// a table [n_tokens][n_rot / 2][cos, sin] is made once a recording and used by every layer. One
// chunk of the operation is one token.
#include "cpu.h"

#include <math.h>

struct rope_table {
    struct rope_table *next;
    const int32_t *pos, *turns;
    int64_t n_tokens;
    int32_t n_rot;
    float magnitude;
    float *cos_sin;
};

static void run_table(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)cpu, (void)thread;
    const struct args_rope *a = &task->rope;
    int32_t n_pairs = a->n_rot / 2;
    float *cos_sin = a->table + (size_t)t * (size_t)n_pairs * 2;
    for (int32_t i = 0; i < n_pairs; i++) {
        uint64_t turns = (uint64_t)(uint32_t)a->turns[2 * i] << 32 | (uint32_t)a->turns[2 * i + 1];
        uint64_t phase = (uint64_t)(int64_t)a->pos[t] * turns;
        double angle = (double)(int64_t)phase * (3.14159265358979323846 * 0x1p-63);
        cos_sin[2 * i] = (float)cos(angle) * a->magnitude;
        cos_sin[2 * i + 1] = (float)sin(angle) * a->magnitude;
    }
}

// Turns one head.
static void turn(const struct args_rope *a, float *x, int32_t t)
{
    int32_t n_pairs = a->n_rot / 2;
    if (n_pairs == 0)
        return;
    const float *cos_sin = a->table + (size_t)t * (size_t)n_pairs * 2;
    // Pair i is (x[i * step], x[i * step + apart]).
    int32_t step = a->pairs == ROPE_NORM ? 2 : 1, apart = a->pairs == ROPE_NORM ? 1 : n_pairs;
    x += a->first;
    for (int32_t i = 0; i < n_pairs; i++) {
        float u = x[i * step], v = x[i * step + apart], c = cos_sin[2 * i],
              s = a->back ? -cos_sin[2 * i + 1] : cos_sin[2 * i + 1];
        x[i * step] = u * c - v * s;
        x[i * step + apart] = u * s + v * c;
    }
}

static void store(struct cpu *cpu, struct span cache, int64_t row, const float *x)
{
    uint8_t *to = cache.p + (size_t)row * cache.row_bytes;
    if (cache.type == DTYPE_F16)
        cpu->flt->to_f16(to, x, cache.n_cols);
    else
        cpu->flt->to_q8_0(to, x, cache.n_cols);
}

static void store_v(struct cpu *cpu, const struct args_rope *a, int32_t t, int32_t thread)
{
    const float *v = span_row(a->v, t);
    if (a->normalise_v) {
        float *normed = (float *)(void *)cpu->thread_scratch[thread].p;
        for (int64_t i = 0; i < a->v.n_cols; i += a->head_dim_v)
            cpu->flt->norm(normed + i, v + i, NULL, &a->v_norm, a->head_dim_v);
        v = normed;
    }
    store(cpu, a->cache_v, a->row[t], v);
}

// Scores grow with the position of the token that attends.
static void temper(const struct args_rope *a, float *q, int32_t t)
{
    const float scale = 1 + a->temperature * logf((float)(a->pos[t] / a->temperature_length + 1));
    for (int32_t i = 0; i < a->head_dim; i++)
        q[i] *= scale;
}

static void run_rope_kv(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    const struct args_rope *a = &task->rope;
    float *q = a->q.p ? span_row(a->q, t) : NULL;
    for (int32_t head = 0; head < a->n_head; head++, q += a->q_stride) {
        if (a->normalise_q)
            cpu->flt->norm(q, q, NULL, &a->q_norm, a->head_dim);
        turn(a, q, t);
        if (a->temperature != 0)
            temper(a, q, t);
    }
    if (!a->k.p)
        return;
    int64_t row = a->row[t];
    if (row == -1) // nothing is kept of it
        return;
    if (row < 0 || row >= a->cache_k.n_rows)
        die("row %lld of a cache of %lld rows", (long long)row, (long long)a->cache_k.n_rows);
    if (a->v.p)
        store_v(cpu, a, t, thread);
    float *k = span_row(a->k, t);
    for (int64_t i = 0; i < a->k.n_cols; i += a->head_dim) {
        if (a->normalise_k)
            cpu->flt->norm(k + i, k + i, NULL, &a->k_norm, a->head_dim);
        turn(a, k + i, t);
    }
    store(cpu, a->cache_k, row, k);
}

// Finds this recording's table, or records a task that makes it.
static void want_table(struct cpu *cpu, struct args_rope *args, int64_t n_tokens)
{
    for (struct rope_table *table = cpu->rope_tables; table; table = table->next)
        if (table->pos == args->pos && table->turns == args->turns && table->n_tokens == n_tokens &&
            table->n_rot == args->n_rot && table->magnitude == args->magnitude) {
            args->table = table->cos_sin;
            return;
        }
    args->table = cpu_take(cpu, (size_t)n_tokens * (size_t)args->n_rot * sizeof(float));
    struct rope_table *table = cpu_take(cpu, sizeof(*table));
    *table = (struct rope_table){cpu->rope_tables, args->pos,       args->turns, n_tokens,
                                 args->n_rot,      args->magnitude, args->table};
    cpu->rope_tables = table;
    cpu_task(cpu, run_table, n_tokens)->rope = *args;
}

static struct norm_by head_norm(const struct tensor *weight, float eps)
{
    return (struct norm_by){
        .weight = weight ? span_row(cpu_span(weight), 0) : NULL, .eps = eps, .scale = 1};
}

void cpu_rope_kv(struct compute *compute, const struct rope_kv *args)
{
    struct cpu *cpu = (struct cpu *)compute;
    const int64_t n_tokens = args->q ? args->q->n_rows : args->k->n_rows;
    struct args_rope a = {
        .pos = cpu_ints(args->pos),
        .magnitude = args->rope.magnitude,
        .n_head = args->n_head,
        .q_stride = args->q_stride,
        .head_dim = args->head_dim,
        .head_dim_v = args->head_dim_v,
        .n_rot = args->rope.n_rot,
        .first = args->rope.first,
        .pairs = args->rope.pairs,
        .temperature = args->temperature,
        .temperature_length = args->temperature_length,
        .normalise_q = args->q_norm,
        .normalise_k = args->k_norm,
        .normalise_v = args->v_norm,
        .back = args->rope.back,
        .q_norm = head_norm(args->q_norm, args->eps),
        .k_norm = head_norm(args->k_norm, args->eps),
        .v_norm = head_norm(NULL, args->eps),
    };
    if (n_tokens == 0)
        return;
    if (args->q)
        a.q = cpu_span(args->q);
    if (args->k) {
        a.k = cpu_span(args->k);
        a.cache_k = cpu_span(args->cache_k);
        a.row = cpu_ints(args->row);
    }
    if (args->v) {
        a.v = cpu_span(args->v);
        a.cache_v = cpu_span(args->cache_v);
        want_bytes(&cpu->thread_bytes, (size_t)args->v->n_cols * sizeof(float));
    }
    if (a.n_rot > 0) {
        a.turns = cpu_ints(args->rope.turns);
        want_table(cpu, &a, n_tokens);
    }
    cpu_task(cpu, run_rope_kv, n_tokens)->rope = a;
}
