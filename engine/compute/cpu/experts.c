// experts.c - products with the few matrices that each token chose (op_matmul_experts,
// op_experts_glu, op_experts_down), and their sum.
//
// Who chose what is known only when the operation runs. A first task sorts the rows of `out` by
// expert, a second gathers what each reads (as integers where the row kernels take the format), a
// third multiplies one expert's rows with a chunk of its matrix, so that weights are read once
// whatever the number of tokens, and a fourth puts the results where they belong. Between them:
//
//   struct by_expert's integers | packed x | packed out
#include "cpu.h"
#include "quant.h"

#include <string.h>

enum { CHUNK_BYTES = 128 << 10, SUM_COLUMNS = 2048 };

struct by_expert {         // views into the scratch `experts`; n: rows of out
    int32_t *n_groups;     // how many experts were chosen
    int32_t *group_expert; // [n_groups]
    int32_t *group_start;  // [n_groups + 1]: in `order`
    int32_t *next;         // [n_expert]: where an expert's next row goes, while sorting
    int32_t *order;        // [n]: rows of out, those of one expert together
    uint8_t *x;            // [n][x_bytes], in that order
    float *out;            // [n][n_out], likewise
    size_t x_bytes;
};

static size_t n_experts(const struct args_experts *a)
{
    return (size_t)(a->w.n_rows / a->expert_rows);
}

static bool as_integers(const struct cpu *cpu, enum dtype type)
{
    return cpu->rows && cpu_has_integer_kernel(type);
}

static int64_t padded(int64_t n_in)
{
    return (n_in + ROW_BLOCK - 1) / ROW_BLOCK * ROW_BLOCK;
}

static size_t aligned(size_t n_bytes)
{
    return (n_bytes + CPU_LINE - 1) / CPU_LINE * CPU_LINE;
}

static size_t x_bytes_of(const struct cpu *cpu, const struct args_experts *a)
{
    return as_integers(cpu, a->w.type) ? row_x_token_bytes(padded(a->x.n_cols))
                                       : aligned((size_t)a->x.n_cols * sizeof(float));
}

static size_t scratch_bytes(const struct cpu *cpu, const struct args_experts *a)
{
    size_t n = (size_t)a->out.n_rows;
    return aligned((3 * n_experts(a) + n + 2) * sizeof(int32_t)) +
           n * (x_bytes_of(cpu, a) + (size_t)a->out.n_cols * sizeof(float));
}

static struct by_expert sorted_of(const struct cpu *cpu, const struct args_experts *a)
{
    size_t n = (size_t)a->out.n_rows, n_expert = n_experts(a);
    struct by_expert s;
    s.n_groups = (int32_t *)(void *)cpu->experts.p;
    s.group_expert = s.n_groups + 1;
    s.group_start = s.group_expert + n_expert;
    s.next = s.group_start + n_expert + 1;
    s.order = s.next + n_expert;
    s.x = cpu->experts.p + aligned((3 * n_expert + n + 2) * sizeof(int32_t));
    s.x_bytes = x_bytes_of(cpu, a);
    s.out = (float *)(void *)(s.x + n * s.x_bytes);
    return s;
}

// ---- the four tasks -----------------------------------------------------------------------------

static int32_t expert_of(const struct args_experts *a, int32_t i, int32_t n_expert)
{
    int32_t n_used = (int32_t)a->id.n_cols,
            id = ((const int32_t *)(const void *)span_row(a->id, i / n_used))[i % n_used];
    if (id < 0 || id >= n_expert)
        die("expert %d of %d", id, n_expert);
    return id;
}

// One chunk: counts, where each expert's rows begin, and then each row to its place.
static void run_sort(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    (void)chunk, (void)thread;
    const struct args_experts *a = &task->experts;
    struct by_expert s = sorted_of(cpu, a);
    int32_t n = (int32_t)a->out.n_rows, n_expert = (int32_t)n_experts(a), n_groups = 0, start = 0;
    memset(s.next, 0, (size_t)n_expert * sizeof(*s.next));
    for (int32_t i = 0; i < n; i++)
        s.next[expert_of(a, i, n_expert)]++;
    for (int32_t expert = 0; expert < n_expert; expert++) {
        int32_t n_rows = s.next[expert];
        s.next[expert] = start;
        if (n_rows > 0) {
            s.group_expert[n_groups] = expert;
            s.group_start[n_groups++] = start;
        }
        start += n_rows;
    }
    s.group_start[n_groups] = n;
    *s.n_groups = n_groups;
    for (int32_t i = 0; i < n; i++)
        s.order[s.next[expert_of(a, i, n_expert)]++] = i;
}

static struct row_x row_x_at(const struct args_experts *a, const struct by_expert *s, int32_t at,
                             int32_t n)
{
    return (struct row_x){s->x + (size_t)at * s->x_bytes, s->x_bytes, a->x.n_cols,
                          padded(a->x.n_cols), n};
}

static void run_gather(struct cpu *cpu, const struct task *task, int32_t at, int32_t thread)
{
    (void)thread;
    const struct args_experts *a = &task->experts;
    struct by_expert s = sorted_of(cpu, a);
    const struct span from = a->normed ? cpu_normed_span(cpu, a->x) : a->x;
    const float *x = span_row(from, s.order[at] / a->x_share);
    if (as_integers(cpu, a->w.type)) {
        struct row_x to = row_x_at(a, &s, at, 1);
        cpu->rows->quantise(&to, 0, x);
    } else {
        memcpy(s.x + (size_t)at * s.x_bytes, x, (size_t)a->x.n_cols * sizeof(*x));
    }
}

static void run_multiply(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    const struct args_experts *a = &task->experts;
    struct by_expert s = sorted_of(cpu, a);
    int32_t group = chunk / a->chunks_per_group;
    if (group >= *s.n_groups)
        return;
    int64_t n_out = a->out.n_cols,
            row0 = (int64_t)(chunk % a->chunks_per_group) * a->rows_per_chunk,
            row1 = row0 + a->rows_per_chunk < n_out ? row0 + a->rows_per_chunk : n_out;
    int32_t at = s.group_start[group], n = s.group_start[group + 1] - at;
    struct args_product product = {.out = {(uint8_t *)(s.out + (int64_t)at * n_out),
                                           (size_t)n_out * sizeof(float), n, n_out, DTYPE_F32},
                                   .w = a->w,
                                   .scale = 1};
    product.w.p += (size_t)s.group_expert[group] * (size_t)a->expert_rows * a->w.row_bytes;
    product.w.n_rows = n_out;
    if (a->bias.p)
        product.bias = span_row(a->bias, s.group_expert[group]);
    if (as_integers(cpu, a->w.type)) {
        struct row_x x = row_x_at(a, &s, at, n);
        cpu->rows->multiply(&product, &x, row0, row1);
    } else {
        struct span x = {s.x + (size_t)at * s.x_bytes, s.x_bytes, n, a->x.n_cols, DTYPE_F32};
        cpu->flt->matmul(&product, x, row0, row1, cpu->thread_scratch[thread].p);
    }
}

static void run_scatter(struct cpu *cpu, const struct task *task, int32_t at, int32_t thread)
{
    (void)thread;
    const struct args_experts *a = &task->experts;
    struct by_expert s = sorted_of(cpu, a);
    memcpy(span_row(a->out, s.order[at]), s.out + (int64_t)at * a->out.n_cols,
           (size_t)a->out.n_cols * sizeof(float));
}

static void record(struct cpu *cpu, struct args_experts a)
{
    int64_t n = a.out.n_rows, n_out = a.out.n_cols, n_expert = (int64_t)n_experts(&a);
    a.most_groups = (int32_t)(n < n_expert ? n : n_expert);
    // Few groups are cut finely, so that every thread has work; 64 rows at most, as a product of
    // floats keeps the decoded ones in the second-level cache.
    int64_t rows = CHUNK_BYTES / (int64_t)a.w.row_bytes,
            fair = n_out * a.most_groups / (8 * cpu->n_threads);
    rows = rows < fair ? rows : fair;
    a.rows_per_chunk = (int32_t)(rows < 4 ? 4 : rows > 64 ? 64 : rows / 4 * 4);
    a.chunks_per_group = (int32_t)((n_out + a.rows_per_chunk - 1) / a.rows_per_chunk);
    want_bytes(&cpu->experts_bytes, scratch_bytes(cpu, &a));
    want_bytes(&cpu->thread_bytes, float_matmul_scratch_bytes(a.rows_per_chunk));
    cpu_task(cpu, run_sort, 1)->experts = a;
    cpu_task(cpu, run_gather, n)->experts = a;
    cpu_task(cpu, run_multiply, (int64_t)a.most_groups * a.chunks_per_group)->experts = a;
    cpu_task(cpu, run_scatter, n)->experts = a;
}

void cpu_matmul_experts(struct compute *compute, const struct matmul_experts *args)
{
    struct args_experts a = {.out = cpu_span(args->out),
                             .w = cpu_span(args->w),
                             .x = cpu_span(args->x),
                             .id = cpu_span(args->id),
                             .x_share = args->x_share,
                             .expert_rows = (int32_t)args->out->n_cols};
    if (args->bias)
        a.bias = cpu_span(args->bias);
    if (args->out->n_rows > 0)
        record((struct cpu *)compute, a);
}

// ---- layers of experts --------------------------------------------------------------------------

// One of the matrices that x meets: its rows from row0 on, of each expert.
static void record_one(struct cpu *cpu, const struct tensor *out, const struct tensor *w,
                       int64_t expert_rows, int64_t row0, const struct tensor *bias,
                       const struct experts_glu *glu, const struct matmul_x *x)
{
    struct args_experts a = {.out = cpu_span(out),
                             .w = cpu_span(w),
                             .x = cpu_span(x->x),
                             .id = cpu_span(glu->id),
                             .normed = x->norm,
                             .x_share = (int32_t)glu->id->n_cols,
                             .expert_rows = (int32_t)expert_rows};
    a.w.p += (size_t)row0 * a.w.row_bytes;
    if (bias)
        a.bias = cpu_span(bias);
    record(cpu, a);
}

void cpu_experts_glu(struct compute *compute, const struct experts_glu *args,
                     const struct matmul_x *x)
{
    struct cpu *cpu = (struct cpu *)compute;
    const int64_t n_ff = args->out->n_cols;
    const bool fused = args->w_gate_up, gate = fused || args->w_gate;
    const struct tensor *up = gate ? args->scratch : args->out;
    if (args->out->n_rows == 0)
        return;
    (void)cpu_normed(cpu, x);
    if (fused) {
        record_one(cpu, args->out, args->w_gate_up, 2 * n_ff, 0, args->bias_gate, args, x);
        record_one(cpu, up, args->w_gate_up, 2 * n_ff, n_ff, args->bias_up, args, x);
    } else {
        if (gate)
            record_one(cpu, args->out, args->w_gate, n_ff, 0, args->bias_gate, args, x);
        record_one(cpu, up, args->w_up, n_ff, 0, args->bias_up, args, x);
    }
    cpu_elementwise(compute, &(struct elementwise){.kind = ELEMENTWISE_GLU,
                                                   .out = args->out,
                                                   .x = args->out,
                                                   .y = gate ? args->scratch : NULL,
                                                   .activation = args->activation});
}

void cpu_experts_down(struct compute *compute, const struct experts_down *args)
{
    cpu_matmul_experts(compute, &(struct matmul_experts){.out = args->scratch,
                                                         .w = args->w,
                                                         .bias = args->bias,
                                                         .x = args->y,
                                                         .id = args->id,
                                                         .x_share = 1});
    cpu_experts_sum(compute, args->out, args->residual, args->scratch, args->weight);
}

// ---- and their results together -----------------------------------------------------------------

static void run_sum(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    (void)cpu, (void)thread;
    const struct args_experts_sum *a = &task->experts_sum;
    int64_t n_cols = a->out.n_cols, per_row = (n_cols + SUM_COLUMNS - 1) / SUM_COLUMNS,
            n_used = a->weight.n_cols, t = chunk / per_row, from = chunk % per_row * SUM_COLUMNS,
            to = from + SUM_COLUMNS < n_cols ? from + SUM_COLUMNS : n_cols;
    float *out = span_row(a->out, t);
    const float *weight = span_row(a->weight, t);
    if (a->residual.p)
        memmove(out + from, span_row(a->residual, t) + from, (size_t)(to - from) * sizeof(*out));
    else
        memset(out + from, 0, (size_t)(to - from) * sizeof(*out));
    for (int64_t slot = 0; slot < n_used; slot++) {
        const float *y = span_row(a->y, t * n_used + slot);
        for (int64_t i = from; i < to; i++)
            out[i] += weight[slot] * y[i];
    }
}

void cpu_experts_sum(struct compute *compute, const struct tensor *out,
                     const struct tensor *residual, const struct tensor *y,
                     const struct tensor *weight)
{
    int64_t per_row = (out->n_cols + SUM_COLUMNS - 1) / SUM_COLUMNS;
    cpu_task((struct cpu *)compute, run_sum, out->n_rows * per_row)->experts_sum =
        (struct args_experts_sum){cpu_span(out), residual ? cpu_span(residual) : (struct span){0},
                                  cpu_span(y), cpu_span(weight)};
}
