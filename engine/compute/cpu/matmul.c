// matmul.c - op_matmul cut into chunks of weight rows; which kernel takes them.
//
// A chunk is a number of neighbouring rows of one product with all tokens, so a weight is read from memory once, by one thread,
// and every output has one writer. Chunks are small enough (CHUNK_BYTES of weights) that threads finish together.
#include "cpu.h"

enum {
    CHUNK_BYTES = 64 << 10, // of weights
    CHUNK_ROWS = 64,        // at most, so that the decoded tile (CHUNK_ROWS x 1024 floats) fits the second-level cache
};

size_t float_matmul_scratch_bytes(int64_t n_rows)
{
    return ((size_t)n_rows + 3) / 4 * 4 * 1024 * sizeof(float);
}

static void run_float(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    const struct product *product = task->matmul.product;
    for (; chunk >= product->n_chunks; product++)
        chunk -= product->n_chunks;
    int64_t row0 = (int64_t)chunk * product->rows_per_chunk, row1 = row0 + product->rows_per_chunk;
    if (row1 > product->w.n_rows)
        row1 = product->w.n_rows;
    cpu->flt->matmul(product, task->matmul.x, row0, row1, cpu->thread_scratch[thread].p);
}

static struct product product_of(const struct matmul *matmul)
{
    struct product product = { .out = cpu_span(matmul->out), .w = cpu_span(matmul->w) };
    if (matmul->bias)
        product.bias = span_row(cpu_span(matmul->bias), 0);
    if (matmul->residual)
        product.residual = cpu_span(matmul->residual);
    return product;
}

static int32_t rows_per_chunk(const struct span *w, int32_t n_threads)
{
    int64_t rows = CHUNK_BYTES / (int64_t)w->row_bytes, fair = w->n_rows / (4 * n_threads);
    rows = rows < fair ? rows : fair;
    rows = rows / 4 * 4;
    return rows < 4 ? 4 : rows > CHUNK_ROWS ? CHUNK_ROWS : (int32_t)rows;
}

void cpu_matmul(struct compute *compute, const struct matmul *products, int n, const struct tensor *x)
{
    struct cpu *cpu = (struct cpu *)compute;
    struct args_matmul args = { .x = cpu_span(x), .n = n };
    int64_t n_chunks = 0;
    if (x->n_rows == 0)
        return;
    for (int i = 0; i < n; i++) {
        struct product *product = &args.product[i];
        *product = product_of(&products[i]);
        product->rows_per_chunk = rows_per_chunk(&product->w, cpu->n_threads);
        product->n_chunks = (int32_t)((product->w.n_rows + product->rows_per_chunk - 1) / product->rows_per_chunk);
        n_chunks += product->n_chunks;
        want_bytes(&cpu->thread_bytes, float_matmul_scratch_bytes(product->rows_per_chunk));
    }
    cpu_task(cpu, run_float, n_chunks)->matmul = args;
}
