// attention.c - cuts an attention operation into chunks, and joins the parts of one that was split
// over the cache's length.
//
// A unit is: up to ATTENTION_TOKENS neighbouring tokens of one sequence (equal `table`), all query
// heads of one KV head, and a range of positions: those that one of the tokens sees, so a window
// costs what it shows. With few units and a long cache (decoding), the range is split so that every
// thread has work; each part leaves maximum, sum and unnormalised output, and a second task joins
// them. Ranges begin at multiples of ATTENTION_KV, so that the rows converted together lie in one
// page. pages, table and count are read when the operation is recorded.
//
// Of up to VEC_TOKENS tokens each is added up in the order in which it would be alone: how its
// positions are split follows from their number, and parts begin at multiples of their size. So
// rows that are computed together because they were guessed give the bits of single ones.
#include "cpu.h"

#include <math.h>

enum { SPLIT_ROWS = 128 }; // fewest cache rows worth a part of their own
_Static_assert(PAGE_ROWS % ATTENTION_KV == 0, "rows converted together lie in one page");

static size_t attention_scratch_floats(const struct attention *shape)
{
    size_t both = (size_t)(attention_padded(shape->head_dim) + attention_padded(shape->head_dim_v)),
           n = ATTENTION_TOKENS * (size_t)(shape->n_head / shape->n_head_kv);
    return ATTENTION_KV * both + n * (both + 14); // 14 floats: a struct query (float_body.h)
}

static size_t partial_floats(const struct attention *shape)
{
    return ATTENTION_TOKENS * (size_t)(shape->n_head / shape->n_head_kv) *
           (2 + (size_t)shape->head_dim_v);
}

static void run_unit(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    const struct attention_unit *unit = &task->attention.unit[chunk];
    struct attention_call call = {
        .args = &task->attention,
        .scratch = (float *)(void *)cpu->thread_scratch[thread].p,
    };
    if (unit->n_split > 1)
        call.partial = (float *)(void *)cpu->partial.p +
                       (size_t)chunk * partial_floats(&task->attention.shape);
    cpu->flt->attention(&call, unit);
}

// One chunk joins the n_split parts of one unit: weights e^(maximum - greatest maximum).
static void run_join(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    (void)thread;
    const struct attention *shape = &task->attention.shape;
    int32_t n_split = task->attention.n_split, group = shape->n_head / shape->n_head_kv,
            head_dim_v = shape->head_dim_v;
    const struct attention_unit *unit = &task->attention.unit[(int64_t)chunk * n_split];
    const float *parts =
        (float *)(void *)cpu->partial.p + (size_t)chunk * (size_t)n_split * partial_floats(shape);
    for (int32_t i = 0; i < unit->n_tokens * group; i++) {
        const float *part = parts + (int64_t)i * (2 + head_dim_v);
        const int32_t head = unit->head_kv * group + i % group, token = unit->token + i / group;
        float *out = span_row(task->attention.out, token) + (int64_t)head * head_dim_v;
        const float *sinks = task->attention.sinks;
        const struct span gate = task->attention.gate;
        float maximum = -INFINITY, sum = 0;
        for (int32_t s = 0; s < n_split; s++)
            maximum = fmaxf(maximum, part[(size_t)s * partial_floats(shape)]);
        if (sinks)
            sum = expf(sinks[head] - maximum);
        for (int32_t d = 0; d < head_dim_v; d++)
            out[d] = 0;
        for (int32_t s = 0; s < n_split; s++) {
            const float *p = part + (size_t)s * partial_floats(shape);
            float weight = p[1] != 0 ? expf(p[0] - maximum) : 0;
            sum += weight * p[1];
            for (int32_t d = 0; d < head_dim_v; d++)
                out[d] += weight * p[2 + d];
        }
        for (int32_t d = 0; d < head_dim_v; d++)
            out[d] = sum != 0 ? out[d] / sum : 0; // NaN stays
        if (gate.p)
            cpu->flt->gate_add(out, NULL, out, span_row(gate, token) + head * shape->gate_stride,
                               shape->gate_heads, head_dim_v);
    }
}

struct seen { // positions, from a multiple of ATTENTION_KV on, end exclusive
    int32_t from, end;
    int32_t part; // of few tokens: where parts begin, at multiples of it; 0: not said
};

// Positions that make a part of what one of few tokens sees: all of them, or a power of two.
static int32_t part_of(const struct args_attention *a, int32_t t)
{
    const int32_t n = a->count[t] - attention_start(a, t);
    int32_t n_split = 1, octave = SPLIT_ROWS;
    while (n_split < a->n_parts_wanted && n >= 2 * n_split * SPLIT_ROWS)
        n_split *= 2;
    while (octave <= n / 2)
        octave *= 2;
    return n_split > 1 ? octave / n_split : 1 << 30;
}

static int32_t n_parts(const struct seen *seen)
{
    return (seen->end - 1) / seen->part - seen->from / seen->part + 1;
}

// How many tokens from t on make a unit, and the positions that they see.
static int32_t group_of(const struct args_attention *a, int32_t t, int32_t n_tokens,
                        struct seen *seen)
{
    int32_t next = t;
    *seen = (struct seen){INT32_MAX, 0, n_tokens <= VEC_TOKENS ? part_of(a, t) : 0};
    for (; next < n_tokens && next < t + ATTENTION_TOKENS && a->table[next] == a->table[t];
         next++) {
        if (seen->part && part_of(a, next) != seen->part)
            break;
        const int32_t start = attention_start(a, next), end = a->count[next];
        seen->from = start < seen->from ? start : seen->from;
        seen->end = end > seen->end ? end : seen->end;
    }
    seen->from = seen->from / ATTENTION_KV * ATTENTION_KV;
    return next - t;
}

static const int32_t *table_of(const struct args_attention *a, int32_t table)
{
    return (const int32_t *)(const void *)(a->pages.p + (size_t)table * a->pages.row_bytes);
}

// Part s of n_split.
static struct seen part_at(struct seen all, int32_t s, int32_t n_split)
{
    int32_t part = ((all.end - all.from + n_split - 1) / n_split + ATTENTION_KV - 1) /
                   ATTENTION_KV * ATTENTION_KV,
            from = all.from + s * part, to = from + part;
    if (all.part) {
        const int64_t begin = ((int64_t)all.from / all.part + s) * all.part, end = begin + all.part;
        from = begin < all.from ? all.from : begin < all.end ? (int32_t)begin : all.end;
        to = end < all.end ? (int32_t)end : all.end;
    }
    return (struct seen){from < all.end ? from : all.end, to < all.end ? to : all.end, 0};
}

// Cuts the tokens into units; fills them (when not NULL) and returns how many there are.
static int64_t cut(struct attention_unit *units, const struct args_attention *a, int32_t n_tokens,
                   int32_t n_split)
{
    int64_t n = 0;
    struct seen seen;
    for (int32_t t = 0, n_group; t < n_tokens; t += n_group) {
        n_group = group_of(a, t, n_tokens, &seen);
        for (int32_t head_kv = 0; head_kv < a->shape.n_head_kv; head_kv++)
            for (int32_t s = 0; s < n_split; s++, n++)
                if (units) {
                    const struct seen part = part_at(seen, s, n_split);
                    units[n] = (struct attention_unit){
                        t,        n_group, head_kv, part.from,
                        part.end, s,       n_split, table_of(a, a->table[t])};
                }
    }
    return n;
}

// That all a unit reads is there.
static void check_pages(const struct args_attention *a, int32_t t, struct seen seen, int64_t n_rows)
{
    const int32_t *pages = table_of(a, a->table[t]);
    for (int32_t i = seen.from / PAGE_ROWS; i * PAGE_ROWS < seen.end; i++) {
        const int32_t left = seen.end - i * PAGE_ROWS, n = left < PAGE_ROWS ? left : PAGE_ROWS;
        if (pages[i] < 0 || (int64_t)pages[i] * PAGE_ROWS + n > n_rows)
            die("attention over page %d of a cache of %lld rows", pages[i], (long long)n_rows);
    }
}

static void check(const struct args_attention *a, const struct tensor *pages, int32_t n_tokens,
                  int64_t n_rows)
{
    struct seen seen;
    for (int32_t t = 0; t < n_tokens; t++)
        if (a->table[t] < 0 || a->table[t] >= pages->n_rows || a->count[t] < 1 ||
            a->count[t] > pages->n_cols * PAGE_ROWS)
            die("attention to %d positions of table %d; there are %lld tables of %lld pages",
                a->count[t], a->table[t], (long long)pages->n_rows, (long long)pages->n_cols);
    for (int32_t t = 0; t < n_tokens;) {
        const int32_t n = group_of(a, t, n_tokens, &seen);
        check_pages(a, t, seen, n_rows);
        t += n;
    }
}

// How many parts the units have: enough for every thread to have work.
static int32_t splits_of(const struct cpu *cpu, const struct args_attention *a, int32_t n_tokens)
{
    int32_t longest = 0, n_split = 1;
    struct seen seen;
    if (n_tokens <= VEC_TOKENS) { // as each wants it
        for (int32_t t = 0, n; t < n_tokens; t += n) {
            n = group_of(a, t, n_tokens, &seen);
            n_split = n_parts(&seen) > n_split ? n_parts(&seen) : n_split;
        }
        return n_split;
    }
    for (int32_t t = 0; t < n_tokens; t++) {
        const int32_t n = a->count[t] - attention_start(a, t);
        longest = n > longest ? n : longest;
    }
    const int64_t n_whole = cut(NULL, a, n_tokens, 1);
    while (n_whole * n_split < 4 * cpu->n_threads && longest >= 2 * n_split * SPLIT_ROWS)
        n_split *= 2;
    return n_split;
}

void cpu_attention(struct compute *compute, const struct tensor *out, const struct tensor *q,
                   const struct tensor *k, const struct tensor *v, const struct tensor *pages,
                   const struct tensor *table, const struct tensor *count,
                   const struct attention *shape)
{
    struct cpu *cpu = (struct cpu *)compute;
    const int32_t n_tokens = (int32_t)q->n_rows;
    struct args_attention args = {.out = cpu_span(out),
                                  .q = cpu_span(q),
                                  .k = cpu_span(k),
                                  .pages = cpu_span(pages),
                                  .table = cpu_ints(table),
                                  .count = cpu_ints(count),
                                  .shape = *shape,
                                  .n_parts_wanted = (4 * cpu->n_threads + shape->n_head_kv - 1) /
                                                    shape->n_head_kv};
    if (v)
        args.v = cpu_span(v);
    if (shape->gate)
        args.gate = cpu_span(shape->gate);
    if (shape->sinks)
        args.sinks = span_row(cpu_span(shape->sinks), 0);
    if (shape->alibi)
        args.alibi = span_row(cpu_span(shape->alibi), 0);
    if (shape->pos)
        args.pos = cpu_ints(shape->pos);
    if (shape->chosen)
        args.chosen = cpu_span(shape->chosen);
    check(&args, pages, n_tokens, k->n_rows);
    const int32_t n_split = splits_of(cpu, &args, n_tokens);
    const int64_t n_whole = cut(NULL, &args, n_tokens, 1);
    struct attention_unit *units = cpu_take(cpu, (size_t)(n_whole * n_split) * sizeof(*units));
    cut(units, &args, n_tokens, n_split);
    args.unit = units;
    args.n_split = n_split;
    cpu_task(cpu, run_unit, n_whole * n_split)->attention = args;
    want_bytes(&cpu->thread_bytes, attention_scratch_floats(shape) * sizeof(float));
    if (n_split > 1) {
        cpu_task(cpu, run_join, n_whole)->attention = args;
        want_bytes(&cpu->partial_bytes,
                   (size_t)(n_whole * n_split) * partial_floats(shape) * sizeof(float));
    }
}
