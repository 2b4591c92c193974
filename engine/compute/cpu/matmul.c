// matmul.c - op_matmul and op_matmul_glu cut into chunks of weight rows; which kernel takes them.
//
// A chunk is a number of neighbouring rows of one product with all tokens, so a weight is read from
// memory once, by one thread, and every output has one writer. Chunks are small enough that threads
// finish together. Three ways, by weight and tokens:
//   floats   F32, F16, BF16 weights; and quantised ones where there is no integer kernel
//   (float_body.h); rows     quantised weights, up to VEC_TOKENS tokens (matvec_*.c); panels
//   quantised weights, more tokens (matmul_avx512.c).
// The last two want x as integers (quant.h): a task of its own before the product, shared by all
// products of the x. An x to be normalised is so, into scratch, by a task before all of these.
#include "cpu.h"
#include "quant.h"

#include <string.h>

enum {
    CHUNK_BYTES = 256 << 10, // of weights
    FLOAT_ROWS =
        64, // at most, so that the decoded tile (64 x 1024 floats) stays in the second-level cache
    TILE_BYTES = 320 << 10, // of unpacked weights in a panel chunk, likewise
};

enum way { WAY_FLOATS, WAY_ROWS, WAY_PANELS, N_WAYS };

size_t float_matmul_scratch_bytes(int64_t n_rows)
{
    return ((size_t)n_rows + 3) / 4 * 4 * 1024 * sizeof(float);
}

// x as the kernels read it. Scratch has its address only when the recording runs.
struct span cpu_normed_span(const struct cpu *cpu, struct span x)
{
    x.p = cpu->normed.p;
    x.row_bytes = (size_t)x.n_cols * sizeof(float);
    return x;
}

static struct span x_of(const struct cpu *cpu, const struct args_matmul *args)
{
    return args->normed ? cpu_normed_span(cpu, args->x) : args->x;
}

static struct row_x row_x_of(const struct cpu *cpu, struct span x)
{
    int64_t n_padded = (x.n_cols + ROW_BLOCK - 1) / ROW_BLOCK * ROW_BLOCK;
    return (struct row_x){cpu->activation.p, row_x_token_bytes(n_padded), x.n_cols, n_padded,
                          x.n_rows};
}

static struct panel_x panel_x_of(const struct cpu *cpu, struct span x)
{
    return (struct panel_x){(struct panel_block *)(void *)cpu->activation.p, x.n_cols, x.n_rows};
}

// ---- running ----------------------------------------------------------------------------------

static void run_norm(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)thread;
    const struct span x = task->norm.x;
    cpu->flt->norm(span_row(cpu_normed_span(cpu, x), t), span_row(x, t), NULL, &task->norm.by,
                   x.n_cols);
}

static void run_rows_quantise(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)thread;
    struct row_x to = row_x_of(cpu, task->matmul.x);
    cpu->rows->quantise(&to, t, span_row(x_of(cpu, &task->matmul), t));
}

static void run_panel_quantise(struct cpu *cpu, const struct task *task, int32_t panel,
                               int32_t thread)
{
    (void)thread;
    struct panel_x to = panel_x_of(cpu, task->matmul.x);
    cpu->panels->quantise(&to, panel, x_of(cpu, &task->matmul));
}

// The product a chunk belongs to, and the chunk's rows of it.
static const struct args_product *chunk_of(const struct task *task, int32_t chunk, int64_t *row0,
                                           int64_t *row1)
{
    const struct args_product *product = task->matmul.product;
    for (; chunk >= product->n_chunks; product++)
        chunk -= product->n_chunks;
    *row0 = (int64_t)chunk * product->rows_per_chunk;
    *row1 = *row0 + product->rows_per_chunk < product->w.n_rows ? *row0 + product->rows_per_chunk
                                                                : product->w.n_rows;
    return product;
}

static void run_floats(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    int64_t row0, row1;
    const struct args_product *product = chunk_of(task, chunk, &row0, &row1);
    cpu->flt->matmul(product, x_of(cpu, &task->matmul), row0, row1, cpu->thread_scratch[thread].p);
}

static void run_rows(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    (void)thread;
    int64_t row0, row1;
    const struct args_product *product = chunk_of(task, chunk, &row0, &row1);
    struct row_x x = row_x_of(cpu, task->matmul.x);
    cpu->rows->multiply(product, &x, row0, row1);
}

static void run_panels(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    int64_t row0, row1;
    const struct args_product *product = chunk_of(task, chunk, &row0, &row1);
    struct panel_x x = panel_x_of(cpu, task->matmul.x);
    cpu->panels->multiply(product, &x, row0, row1, cpu->thread_scratch[thread].p);
}

// ---- recording --------------------------------------------------------------------------------

// The formats that the row and panel kernels know; the others are decoded to float.
bool cpu_has_integer_kernel(enum dtype type)
{
    return type == DTYPE_Q8_0 || type == DTYPE_Q4_0 || type == DTYPE_Q4_K || type == DTYPE_Q5_K ||
           type == DTYPE_Q6_K;
}

static enum way way_of(const struct cpu *cpu, enum dtype type, int64_t n_tokens)
{
    if (!cpu_has_integer_kernel(type))
        return WAY_FLOATS;
    if (cpu->rows && n_tokens <= VEC_TOKENS)
        return WAY_ROWS;
    return cpu->panels ? WAY_PANELS : WAY_FLOATS;
}

static int64_t rows_per_chunk(const struct span *w, enum way way, int32_t n_threads)
{
    int64_t fair = w->n_rows / (4 * n_threads), unit = way == WAY_PANELS ? TILE_ROWS : 4;
    int64_t rows = way == WAY_PANELS ? TILE_BYTES / w->n_cols : CHUNK_BYTES / (int64_t)w->row_bytes;
    if (way == WAY_FLOATS && rows > FLOAT_ROWS)
        rows = FLOAT_ROWS;
    rows = (rows < fair ? rows : fair) / unit * unit;
    return rows < unit ? unit : rows;
}

static struct args_product product_of(const struct cpu *cpu, const struct matmul *matmul,
                                      enum way way)
{
    struct args_product product = {.out = cpu_span(matmul->out),
                                   .w = cpu_span(matmul->w),
                                   .scale = matmul->scale != 0 ? matmul->scale : 1};
    if (matmul->bias)
        product.bias = span_row(cpu_span(matmul->bias), 0);
    if (matmul->residual)
        product.residual = cpu_span(matmul->residual);
    int64_t rows = rows_per_chunk(&product.w, way, cpu->n_threads);
    product.rows_per_chunk = (int32_t)rows;
    product.n_chunks = (int32_t)((product.w.n_rows + rows - 1) / rows);
    return product;
}

// Scratch and integer x that a way wants; records the task that makes the latter.
static void prepare(struct cpu *cpu, enum way way, const struct args_matmul *args)
{
    struct span x = args->x;
    for (int32_t i = 0; i < args->n; i++) {
        const struct args_product *product = &args->product[i];
        if (way == WAY_FLOATS)
            want_bytes(&cpu->thread_bytes, float_matmul_scratch_bytes(product->rows_per_chunk));
        if (way == WAY_PANELS)
            want_bytes(&cpu->thread_bytes,
                       cpu->panels->scratch_bytes(product->rows_per_chunk, x.n_cols));
    }
    if (way == WAY_ROWS) {
        cpu_task(cpu, run_rows_quantise, x.n_rows)->matmul = *args;
        want_bytes(&cpu->activation_bytes, row_x_of(cpu, x).token_bytes * (size_t)x.n_rows);
    }
    if (way == WAY_PANELS) {
        int64_t n_panels = (x.n_rows + PANEL_TOKENS - 1) / PANEL_TOKENS;
        cpu_task(cpu, run_panel_quantise, n_panels)->matmul = *args;
        want_bytes(&cpu->activation_bytes,
                   (size_t)(n_panels * (x.n_cols / PANEL_BLOCK)) * sizeof(struct panel_block));
    }
}

bool cpu_normed(struct cpu *cpu, const struct matmul_x *x)
{
    const int64_t n_tokens = x->x->n_rows;
    if (!x->norm)
        return false;
    cpu_task(cpu, run_norm, n_tokens)->norm = (struct args_norm){
        .x = cpu_span(x->x),
        .by = {.weight = span_row(cpu_span(x->norm), 0), .eps = x->eps, .scale = 1}};
    want_bytes(&cpu->normed_bytes, (size_t)(n_tokens * x->x->n_cols) * sizeof(float));
    return true;
}

void cpu_matmul(struct compute *compute, const struct matmul *products, int n,
                const struct matmul_x *x)
{
    static task_run *const runs[N_WAYS] = {run_floats, run_rows, run_panels};
    struct cpu *cpu = (struct cpu *)compute;
    int64_t n_tokens = x->x->n_rows;
    if (n_tokens == 0)
        return;
    const bool normed = cpu_normed(cpu, x);
    for (int way = 0; way < N_WAYS; way++) {
        struct args_matmul args = {.x = cpu_span(x->x), .normed = normed};
        int64_t n_chunks = 0;
        for (int i = 0; i < n; i++)
            if ((int)way_of(cpu, products[i].w->type, n_tokens) == way) {
                args.product[args.n] = product_of(cpu, &products[i], (enum way)way);
                n_chunks += args.product[args.n++].n_chunks;
            }
        if (args.n == 0)
            continue;
        prepare(cpu, (enum way)way, &args);
        cpu_task(cpu, runs[way], n_chunks)->matmul = args;
    }
}

void cpu_matmul_glu(struct compute *compute, const struct matmul_glu *glu, const struct matmul_x *x)
{
    const struct matmul up = {glu->w_gate ? glu->scratch : glu->out, glu->w_up, glu->bias_up, NULL},
                        gate = {glu->out, glu->w_gate, glu->bias_gate, NULL};
    const struct matmul both[] = {up, gate};
    cpu_matmul(compute, both, glu->w_gate ? 2 : 1, x);
    cpu_elementwise(compute, &(struct elementwise){.kind = ELEMENTWISE_GLU,
                                                   .out = glu->out,
                                                   .x = glu->out,
                                                   .y = glu->w_gate ? glu->scratch : NULL,
                                                   .activation = glu->activation});
}
