// matmat.c - products with more rows of x than MATVEC_MOST: which kernel, which tiles.
//
// x is prepared once an operation (matmat_x.comp: normalised, half floats for cooperative
// matrices), then each matrix is one dispatch of matmat_coop.comp or, on devices without
// cooperative matrices, of matmat_tile.comp. Decoding a tile's weights costs the same whatever
// number of tokens they meet, so tiles are as long in tokens as still leaves every compute unit
// one; a product too small even for small tiles splits its columns and is summed afterwards
// (matmat_sum.comp). Dispatches that would keep the device busy for long are cut into ranges of
// rows of w.
//
// TAWNY_MATRICES (small, all) has llvmpipe use cooperative matrices too, for tests; all: in the
// shapes that GPUs use.
#include "matmat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    TILE_COLUMNS = 32,    // of w at a step (BK of matmat_coop.comp)
    SPLIT_LEAST = 256,    // columns that are worth a part of their own
    SPLIT_MOST = 16,      // parts
    CHANNEL_BYTES = 2048, // rows a multiple of it apart fall on few memory channels
    GPU_X_THREADS = 256,  // of matmat_x
};

static const struct tile_shape matrix_shapes[] = {
    {256, 128, 64, 64},
    {128, 128, 64, 32},
    {64, 128, 32, 64},
    {32, 128, 32, 32},
};
// llvmpipe compiles the large ones for a minute: they are for tests, TAWNY_MATRICES=all.
static const struct tile_shape software_shape = {16, 32, 16, 16};

static uint32_t at_most(uint64_t n, uint32_t most)
{
    return n < most ? (uint32_t)n : most;
}

static uint32_t ceil_div(uint64_t n, uint64_t by)
{
    return (uint32_t)((n + by - 1) / by);
}

// Whether products use cooperative matrices (matmat_coop.comp, x in F16) or not (matmat_tile.comp).
// matmat_coop.comp wants a subgroup to load runs of the same UNIT rows of w. On a processor
// cooperative matrices are slower than matmat_tile.comp, and used by tests only.
static bool matmat_matrices(const struct features *features)
{
    return features->matrix_unit > 0 && vk_subgroup(features) <= 2 * features->matrix_unit &&
           (!features->software || getenv("TAWNY_MATRICES"));
}

// ---- shapes -------------------------------------------------------------------------------------

static uint32_t shared_of(const struct tile_shape *s) // bytes; 80 for a row of 32 columns
{
    return 2 * (s->tokens + s->rows) * 80 + s->tokens * 4;
}

static uint32_t threads_of(const struct features *features, const struct tile_shape *s)
{
    return s->tokens / s->wave_tokens * (s->rows / s->wave_rows) * vk_subgroup(features);
}

// Time of a product, in tokens x rows that one pair of compute units (which share their local
// memory) makes: a tile costs its products and, as much as 30 tokens, decoding its weights.
static double cost(const struct features *features, const struct tile_shape *s, double n_groups,
                   double n_tokens, int64_t n_rows)
{
    const uint32_t units = vk_units(features);
    double tiles =
        n_groups == 1 ? ceil(n_tokens / s->tokens) : n_groups * (n_tokens / s->tokens + 0.5);
    tiles *= (double)ceil_div((uint64_t)n_rows, s->rows);
    return ceil(tiles / (units > 1 ? units / 2 : 1)) * (s->tokens + 30) * s->rows;
}

struct tile_shape matmat_shape(const struct features *features, double n_groups, double n_tokens,
                               int64_t n_rows, uint32_t shared_bytes)
{
    if (!matmat_matrices(features)) {
        uint32_t lanes = vk_subgroup(features), tokens = lanes < 16 ? 16 : lanes > 32 ? 32 : lanes;
        return (struct tile_shape){.tokens = tokens, .rows = 2 * lanes};
    }
    const char *test = features->software ? getenv("TAWNY_MATRICES") : NULL;
    if (test && strcmp(test, "all") != 0)
        return software_shape;
    const struct tile_shape *best = NULL;
    for (size_t i = 0; i < COUNT_OF(matrix_shapes); i++) {
        const struct tile_shape *s = &matrix_shapes[i];
        if (shared_of(s) + shared_bytes > features->shared_bytes ||
            threads_of(features, s) > features->workgroup_most)
            continue;
        if (!best || cost(features, s, n_groups, n_tokens, n_rows) <
                         cost(features, best, n_groups, n_tokens, n_rows))
            best = s;
    }
    return best ? *best : matrix_shapes[COUNT_OF(matrix_shapes) - 1];
}

// How many ways the columns of a product are split so that every pair of compute units has two
// tiles.
static uint32_t split_of(const struct features *features, const struct tile_shape *s,
                         const struct push_matmat *push)
{
    const uint32_t units = vk_units(features);
    uint32_t tiles = ceil_div(push->n_tokens, s->tokens) * ceil_div(push->n_out, s->rows);
    if (s->wave_tokens == 0 || tiles * 2 > units)
        return 1;
    uint32_t parts = at_most(units / tiles, SPLIT_MOST);
    return at_most(parts, ceil_div(push->n_in, SPLIT_LEAST));
}

// ---- x ------------------------------------------------------------------------------------------

void matmat_x(struct vulkan *vk, struct product *product, const struct tensor *x,
              const struct tensor *norm, float eps)
{
    const struct features *features = vk_features(vk);
    const bool half = matmat_matrices(features);
    struct push_matmat *push = &product->push;
    push->n_in = (uint32_t)x->n_cols;
    push->split = ceil_div(push->n_in, TILE_COLUMNS) * TILE_COLUMNS; // whole steps
    push->x_share = 1;
    push->factor = 1;
    if (!half && !norm && x->n_cols % 16 == 0) {
        product->read[0] = vk_range(x);
        push->x = product->read[0].address;
        push->x_row = (uint32_t)x->row_bytes;
        return;
    }
    const uint32_t step = half ? TILE_COLUMNS : 16, n_to = ceil_div(push->n_in, step) * step;
    push->x_row = n_to * (half ? 2 : 4);
    push->x_row += push->x_row % CHANNEL_BYTES == 0 ? 128 : 0;
    product->read[0] = vk_scratch(vk, (uint64_t)x->n_rows * push->x_row);
    product->read[1] = half ? vk_scratch(vk, (uint64_t)x->n_rows * 4) : (struct range){0};
    push->x = product->read[0].address;
    push->scale = product->read[1].address;
    const struct push_matmat_x make = {
        .to = push->x,
        .scale = push->scale,
        .x = vk_range(x).address,
        .norm = norm ? vk_range(norm).address : 0,
        .to_row = push->x_row,
        .x_row = (uint32_t)x->row_bytes,
        .n_in = push->n_in,
        .n_to = n_to,
        .eps = eps,
    };
    vk_dispatch(vk, &(struct dispatch){
                        .kernel = half ? "matmat_x-f16" : "matmat_x-f32",
                        .spec = {features->software ? vk_subgroup(features) : GPU_X_THREADS},
                        .n_spec = 1,
                        .push = &make,
                        .push_bytes = sizeof(make),
                        .groups = {(uint32_t)x->n_rows, 1, 1},
                        .read = {vk_range(x), norm ? vk_range(norm) : (struct range){0}},
                        .write = {product->read[0], product->read[1]},
                        .bytes = (double)x->n_rows * (8.0 * (double)x->n_cols + push->x_row),
                        .flops = 6.0 * (double)x->n_rows * (double)x->n_cols,
                    });
}

// ---- one product --------------------------------------------------------------------------------

static void one_dispatch(struct vulkan *vk, const struct product *product,
                         const struct tile_shape *shape, const struct push_matmat *push,
                         uint32_t parts)
{
    const struct features *features = vk_features(vk);
    const uint32_t lanes = vk_subgroup(features), n_w = product->glu ? 2 : 1;
    char name[48];
    struct dispatch d = {
        .subgroup = lanes,
        .push = push,
        .push_bytes = sizeof(*push),
        .groups = {product->expert_tiles ? product->expert_tiles
                                         : ceil_div(push->n_tokens, shape->tokens),
                   ceil_div((uint64_t)push->n_out * n_w, shape->rows), parts},
        .write = {product->write},
        .flops = 2.0 * push->n_tokens * push->n_out * n_w * push->n_in,
        .bytes = (double)push->n_out * n_w * push->w_row +
                 (double)push->n_tokens * (push->x_row + 4.0 * push->n_out * parts),
    };
    memcpy(d.read, product->read, sizeof(d.read));
    if (shape->wave_tokens == 0) {
        const uint32_t waves = features->software ? 1 : 4;
        const uint32_t spec[] = {
            waves * lanes, lanes, shape->tokens, shape->rows / lanes, product->expert_tiles > 0,
            product->table};
        d.kernel = vk_kernel_name(name, "matmat_tile", product->type);
        d.groups[1] = ceil_div(push->n_out, (uint64_t)shape->rows * waves);
        d.n_spec = COUNT_OF(spec);
        memcpy(d.spec, spec, sizeof(spec));
    } else {
        const uint32_t spec[] = {threads_of(features, shape),
                                 features->matrix_unit,
                                 shape->tokens,
                                 shape->rows,
                                 shape->wave_tokens,
                                 shape->wave_rows,
                                 product->glu,
                                 product->expert_tiles > 0,
                                 product->table};
        d.kernel = vk_kernel_name(name, "matmat_coop", product->type);
        d.n_spec = COUNT_OF(spec);
        memcpy(d.spec, spec, sizeof(spec));
    }
    vk_dispatch(vk, &d);
}

// Rows of w that are not thought to take more than a tenth of a second, whole tiles of them.
static uint32_t rows_at_once(const struct vulkan *vk, const struct product *product)
{
    static const double GPU_FLOPS = 200e9, SOFTWARE_FLOPS = 10e9;
    double most = vk_features(vk)->software ? SOFTWARE_FLOPS : GPU_FLOPS;
    double a_row = 2.0 * product->push.n_tokens * product->push.n_in * (product->glu ? 2 : 1);
    double rows = most / a_row / 256;
    return rows >= product->push.n_out / 256.0 ? product->push.n_out
                                               : (rows < 1 ? 1 : (uint32_t)rows) * 256;
}

void matmat_dispatch(struct vulkan *vk, const struct product *product,
                     const struct tile_shape *shape, uint32_t parts)
{
    const uint32_t rows = rows_at_once(vk, product);
    for (uint32_t r = 0; r < product->push.n_out; r += rows) {
        struct push_matmat push = product->push;
        push.grid = vk_codebook(vk, product->type);
        push.to += 4 * (uint64_t)r;
        if (product->table)
            push.w_at += r * push.w_row;
        else
            push.w += (uint64_t)r * push.w_row;
        push.w_up += (uint64_t)r * push.w_row;
        push.bias += push.bias ? 4 * (uint64_t)r : 0;
        push.residual += push.residual ? 4 * (uint64_t)r : 0;
        push.n_out = at_most(push.n_out - r, rows);
        one_dispatch(vk, product, shape, &push, parts);
    }
}

// ---- op_matmul ----------------------------------------------------------------------------------

struct split { // one product whose columns are split: its partial results
    uint32_t parts;
    struct range range;
};

// What is left of a split product: the sum of its parts, bias and residual.
static void sum_parts(struct vulkan *vk, const struct matmul *m, const struct split *split)
{
    const uint32_t n_tokens = (uint32_t)m->out->n_rows, n_out = (uint32_t)m->out->n_cols;
    struct dispatch d = {.read = {split->range}, .write = {vk_range(m->out)}};
    struct push_matmat_sum push = {
        .to = d.write[0].address,
        .part = split->range.address,
        .to_row = (uint32_t)m->out->row_bytes,
        .part_row = n_out * 4,
        .n_out = n_out,
        .n_tokens = n_tokens,
        .n_parts = split->parts,
        .factor = m->scale != 0 ? m->scale : 1,
    };
    if (m->bias)
        push.bias = vk_range(m->bias).address;
    if (m->residual) {
        d.read[1] = vk_range(m->residual);
        push.residual = d.read[1].address;
        push.residual_row = (uint32_t)m->residual->row_bytes;
    }
    d.kernel = "matmat_sum";
    d.push = &push;
    d.push_bytes = sizeof(push);
    d.groups[0] = ceil_div(n_out, 64);
    d.groups[1] = n_tokens;
    d.groups[2] = 1;
    d.bytes = 4.0 * n_tokens * n_out * (split->parts + 2);
    vk_dispatch(vk, &d);
}

static struct split one_product(struct vulkan *vk, const struct product *x, const struct matmul *m)
{
    const struct features *features = vk_features(vk);
    struct product product = *x;
    struct push_matmat *push = &product.push;
    product.type = m->w->type;
    push->w = vk_range(m->w).address;
    push->w_row = (uint32_t)m->w->row_bytes;
    push->n_out = (uint32_t)m->out->n_cols;
    push->n_tokens = (uint32_t)m->out->n_rows;
    const struct tile_shape shape =
        matmat_shape(features, 1, push->n_tokens, push->n_out, codebook_bytes(product.type));
    struct split split = {.parts = split_of(features, &shape, push)};
    if (split.parts > 1) {
        uint32_t steps = ceil_div(ceil_div(push->n_in, split.parts), SPLIT_LEAST);
        push->split = steps * SPLIT_LEAST;
        split.parts = ceil_div(push->n_in, push->split);
    }
    if (split.parts > 1) {
        split.range = vk_scratch(vk, 4ull * split.parts * push->n_tokens * push->n_out);
        product.write = split.range;
        push->to = split.range.address;
        push->to_row = push->n_out * 4;
    } else {
        product.write = vk_range(m->out);
        push->to = product.write.address;
        push->to_row = (uint32_t)m->out->row_bytes;
        push->bias = m->bias ? vk_range(m->bias).address : 0;
        push->factor = m->scale != 0 ? m->scale : 1;
        if (m->residual) {
            product.read[2] = vk_range(m->residual);
            push->residual = product.read[2].address;
            push->residual_row = (uint32_t)m->residual->row_bytes;
        }
    }
    matmat_dispatch(vk, &product, &shape, split.parts);
    return split;
}

void vk_matmat(struct vulkan *vk, const struct matmul *products, int n, const struct matmul_x *x)
{
    struct product base = {0};
    struct split split[4] = {{0}};
    matmat_x(vk, &base, x->x, x->norm, x->eps);
    for (int i = 0; i < n; i++)
        split[i] = one_product(vk, &base, &products[i]);
    for (int i = 0; i < n; i++)
        if (split[i].parts > 1)
            sum_parts(vk, &products[i], &split[i]);
}

// ---- op_matmul_glu ------------------------------------------------------------------------------

void vk_matmat_glu(struct vulkan *vk, const struct matmul_glu *glu, const struct matmul_x *x)
{
    const struct features *features = vk_features(vk);
    if (!matmat_matrices(features) || glu->w_gate->type != glu->w_up->type) {
        const struct matmul products[] = {{.out = glu->out, .w = glu->w_gate},
                                          {.out = glu->scratch, .w = glu->w_up}};
        vk_matmat(vk, products, 2, x);
        vk_glu_of(vk, glu->out, glu->scratch, glu->activation);
        return;
    }
    struct product product = {.type = glu->w_gate->type,
                              .glu = 1 + (uint32_t)glu->activation,
                              .write = vk_range(glu->out)};
    struct push_matmat *push = &product.push;
    matmat_x(vk, &product, x->x, x->norm, x->eps);
    push->to = product.write.address;
    push->to_row = (uint32_t)glu->out->row_bytes;
    push->w = vk_range(glu->w_gate).address;
    push->w_up = vk_range(glu->w_up).address;
    push->w_row = (uint32_t)glu->w_gate->row_bytes;
    push->n_out = (uint32_t)glu->out->n_cols;
    push->n_tokens = (uint32_t)glu->out->n_rows;
    const struct tile_shape shape = matmat_shape(
        features, 1, push->n_tokens, 2 * (int64_t)push->n_out, codebook_bytes(product.type));
    matmat_dispatch(vk, &product, &shape, 1);
}
