// index.c - which blocks of positions attention sees: op_index_keys, op_index_choose.
//
// A chunk is a token. Keys of blocks are made by whose token is the last of its block, when all
// rows of the batch are stored; scores live in the thread's scratch.
#include "../blocks.h"
#include "cpu.h"

#include <math.h>
#include <string.h>

static uint16_t *halves(struct span span, int64_t row)
{
    if (row < 0 || row >= span.n_rows)
        die("row %lld of an index of %lld rows", (long long)row, (long long)span.n_rows);
    return (uint16_t *)(void *)(span.p + (size_t)row * span.row_bytes);
}

// ---- keys ---------------------------------------------------------------------------------------

static void run_raw(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)thread;
    const struct args_index *a = &task->index;
    cpu->flt->to_f16(halves(a->raw, a->row[t]), span_row(a->x, t), a->x.n_cols);
}

static void turn(const struct args_index *a, float *x, int32_t pos)
{
    const int32_t n = a->n_rot / 2, step = a->pairs == ROPE_NORM ? 2 : 1,
                  apart = a->pairs == ROPE_NORM ? 1 : n;
    for (int32_t i = 0; i < n; i++) {
        const uint64_t turns =
            (uint64_t)(uint32_t)a->turns[2 * i] << 32 | (uint32_t)a->turns[2 * i + 1];
        const double angle =
            (double)(int64_t)((uint64_t)pos * turns) * (3.14159265358979323846 * 0x1p-63);
        const float c = (float)cos(angle) * a->magnitude, s = (float)sin(angle) * a->magnitude,
                    u = x[i * step], v = x[i * step + apart];
        x[i * step] = u * c - v * s;
        x[i * step + apart] = u * s + v * c;
    }
}

static void run_keys(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)thread;
    const struct args_index *a = &task->index;
    const int64_t dim = a->x.n_cols, row = a->row[t];
    float mean[INDEX_DIM_MOST] = {0};
    if (a->pos[t] % a->block != a->block - 1)
        return;
    for (int32_t j = a->block - 1; j >= 0; j--)
        for (int64_t i = 0; i < dim; i++)
            mean[i] += float_from_f16(halves(a->raw, row - j)[i]);
    for (int64_t i = 0; i < dim; i++)
        mean[i] /= (float)a->block;
    cpu->flt->norm(mean, mean, NULL, &a->norm, dim);
    turn(a, mean, a->pos[t] - (a->block - 1));
    cpu->flt->to_f16(halves(a->keys, row / a->block), mean, dim);
}

void cpu_index_keys(struct compute *compute, const struct index_keys *args)
{
    struct cpu *cpu = (struct cpu *)compute;
    const struct args_index a = {
        .x = cpu_span(args->x),
        .raw = cpu_span(args->raw),
        .keys = cpu_span(args->keys),
        .pos = cpu_ints(args->pos),
        .row = cpu_ints(args->row),
        .turns = cpu_ints(args->rope.turns),
        .norm = {.weight = span_row(cpu_span(args->norm), 0), .eps = args->eps, .scale = 1},
        .magnitude = args->rope.magnitude,
        .pairs = args->rope.pairs,
        .n_rot = args->rope.n_rot,
        .block = args->block,
    };
    cpu_task(cpu, run_raw, args->x->n_rows)->index = a;
    cpu_task(cpu, run_keys, args->x->n_rows)->index = a;
}

// ---- choice -------------------------------------------------------------------------------------

// weight: of each head, or NULL.
static float score_of(const struct args_index *a, const float *q, const float *weight,
                      const uint16_t *key)
{
    const int64_t dim = a->keys.n_cols;
    float k[INDEX_DIM_MOST], sum = 0;
    for (int64_t i = 0; i < dim; i++)
        k[i] = float_from_f16(key[i]);
    for (int32_t h = 0; h < a->n_head; h++, q += dim) {
        float part[8] = {0};
        for (int64_t i = 0; i < dim; i += 8)
            for (int j = 0; j < 8; j++)
                part[j] += q[i + j] * k[i + j];
        const float dot =
            (part[0] + part[4]) + (part[1] + part[5]) + (part[2] + part[6]) + (part[3] + part[7]);
        sum += (dot < 0 ? 0 : dot) * (weight ? weight[h] : 1); // NaN stays
    }
    return sum;
}

// Numbers in the order of scores. NaN is largest.
static uint32_t order_of(float score)
{
    uint32_t bits;
    memcpy(&bits, &score, sizeof(bits));
    if (isnan(score))
        return UINT32_MAX;
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static int32_t count_from(const float *scores, int32_t n, uint32_t least)
{
    int32_t count = 0;
    for (int32_t i = 0; i < n; i++)
        count += order_of(scores[i]) >= least;
    return count;
}

// Sets the bits of the n_most largest scores, 0 < n_most < n.
static void set_largest(uint32_t *bits, const float *scores, int32_t n, int32_t n_most)
{
    uint32_t least = 0; // the largest that n_most scores reach
    for (uint32_t bit = 1u << 31; bit > 0; bit >>= 1)
        if (count_from(scores, n, least | bit) >= n_most)
            least |= bit;
    // Of those that just reach it.
    int32_t equal = n_most - (least < UINT32_MAX ? count_from(scores, n, least + 1) : 0);
    for (int32_t i = 0; i < n; i++) {
        const uint32_t order = order_of(scores[i]);
        if (order > least || (order == least && equal-- > 0))
            bits[i / 32] |= 1u << i % 32;
    }
}

static void run_choose(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    const struct args_index *a = &task->index;
    const int32_t per_page = PAGE_ROWS / a->block, n = a->count[t] / a->block;
    if (a->count[t] < 1 || a->count[t] > a->pages.n_cols * PAGE_ROWS || a->table[t] < 0 ||
        a->table[t] >= a->pages.n_rows)
        die("a choice among %d positions of table %d", a->count[t], a->table[t]);
    const int32_t *pages = (const int32_t *)(const void *)span_row(a->pages, a->table[t]);
    uint32_t *bits = (uint32_t *)(void *)span_row(a->chosen, t);
    float *scores = (float *)(void *)cpu->thread_scratch[thread].p;
    const bool all = n <= a->n_most;
    for (int32_t w = 0; w < a->chosen.n_cols && w * 32 <= n; w++)
        bits[w] = all ? 0xffffffffu : 0;
    if (all)
        return;
    const float *weight = a->weight.p ? span_row(a->weight, t) : NULL;
    for (int32_t b = 0; b < n; b++)
        scores[b] =
            score_of(a, span_row(a->x, t), weight,
                     halves(a->keys, (int64_t)pages[b / per_page] * per_page + b % per_page));
    set_largest(bits, scores, n, a->n_most);
    if (n / 32 < a->chosen.n_cols) // the block that is not whole
        bits[n / 32] |= 1u << n % 32;
}

void cpu_index_choose(struct compute *compute, const struct index_choose *args)
{
    struct cpu *cpu = (struct cpu *)compute;
    cpu_task(cpu, run_choose, args->q->n_rows)->index = (struct args_index){
        .weight = args->weight ? cpu_span(args->weight) : (struct span){0},
        .x = cpu_span(args->q),
        .keys = cpu_span(args->keys),
        .chosen = cpu_span(args->chosen),
        .pages = cpu_span(args->pages),
        .table = cpu_ints(args->table),
        .count = cpu_ints(args->count),
        .block = args->block,
        .n_head = args->n_head,
        .n_most = args->n_most,
    };
    want_bytes(&cpu->thread_bytes,
               (size_t)(args->pages->n_cols * PAGE_ROWS / args->block) * sizeof(float));
}
