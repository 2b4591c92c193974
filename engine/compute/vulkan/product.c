// product.c - which of the two ways a product takes: few rows of x are memory-bound and take the
// vector kernels (matvec.c), more are tiled (matmat.c).
//
// What the kernels of neither take in one dispatch is put together here from those that there are.
#include "vulkan.h"

// Columns of a result that a part of the weights makes; one row has no gaps then.
static struct tensor columns_of(const struct tensor *tensor, int64_t column0, int64_t n)
{
    struct tensor view = tensor_columns(tensor, column0, n);
    if (view.n_rows == 1)
        view.row_bytes = (size_t)n * sizeof(float);
    return view;
}

// Products with few rows of x, or with many.
static void whole_products(struct vulkan *vk, const struct matmul *products, int n,
                           const struct matmul_x *x)
{
    if (x->x->n_rows <= MATVEC_MOST)
        vk_matvec(vk, products, n, x);
    else
        vk_matmat(vk, products, n, x);
}

// A part of a product with two to eight rows: the vector kernels leave no gaps between rows of
// results, so that these are put where they belong behind it.
static void few_rows(struct vulkan *vk, const struct matmul *part, const struct matmul_x *x)
{
    const struct matmul alone = {.w = part->w, .bias = part->bias, .scale = part->scale};
    const struct range made =
        vk_scratch(vk, (uint64_t)part->out->n_rows * (uint64_t)part->out->n_cols * sizeof(float));
    vk_matvec_into(vk, made, &alone, x);
    vk_put_rows(vk, part->out, made, part->residual);
}

// One product whose weights are split, a part after another.
static void split_product(struct vulkan *vk, const struct matmul *m, const struct matmul_x *x)
{
    const int64_t n_parts = vk_n_parts(m->w);
    for (int64_t i = 0; i < n_parts; i++) {
        int64_t row0;
        struct tensor w = vk_part(m->w, i, &row0), out = columns_of(m->out, row0, w.n_rows), bias,
                      residual;
        struct matmul part = {.out = &out, .w = &w, .scale = m->scale};
        if (m->bias) {
            bias = columns_of(m->bias, row0, w.n_rows);
            part.bias = &bias;
        }
        if (m->residual) {
            residual = columns_of(m->residual, row0, w.n_rows);
            part.residual = &residual;
        }
        if (n_parts > 1 && x->x->n_rows > 1 && x->x->n_rows <= MATVEC_MOST)
            few_rows(vk, &part, x);
        else
            whole_products(vk, &part, 1, x);
    }
}

static bool is_split(const struct tensor *weight)
{
    return weight && vk_n_parts(weight) > 1;
}

void vk_matmul(struct compute *compute, const struct matmul *products, int n,
               const struct matmul_x *x)
{
    struct vulkan *vk = vk_of(compute);
    bool split = false;
    for (int i = 0; i < n; i++)
        split |= is_split(products[i].w);
    if (split && x->x->n_rows > 0)
        for (int i = 0; i < n; i++)
            split_product(vk, &products[i], x);
    else
        whole_products(vk, products, n, x);
}

void vk_matmul_glu(struct compute *compute, const struct matmul_glu *glu, const struct matmul_x *x)
{
    struct vulkan *vk = vk_of(compute);
    const bool split = is_split(glu->w_gate) || is_split(glu->w_up);
    if (x->x->n_rows <= MATVEC_MOST && !split) {
        vk_matvec_glu(vk, glu, x);
    } else if (!glu->w_gate || glu->bias_gate || glu->bias_up || split) {
        const struct tensor *up = glu->w_gate ? glu->scratch : glu->out;
        const struct matmul both[] = {{up, glu->w_up, glu->bias_up, NULL},
                                      {glu->out, glu->w_gate, glu->bias_gate, NULL}};
        vk_matmul(compute, both, glu->w_gate ? 2 : 1, x);
        vk_glu_of(vk, glu->out, glu->w_gate ? up : NULL, glu->activation);
    } else {
        vk_matmat_glu(vk, glu, x);
    }
}

void vk_matmul_experts(struct compute *compute, const struct matmul_experts *args)
{
    struct vulkan *vk = vk_of(compute);
    if (args->id->n_rows <= MATVEC_MOST)
        vk_matvec_experts(vk, args);
    else
        vk_matmat_experts(vk, args);
}

static struct expert_matrices matrices_of(const struct experts_glu *args)
{
    const uint32_t n_ff = (uint32_t)args->out->n_cols;
    if (args->w_gate_up)
        return (struct expert_matrices){.n = 2,
                                        .w = {args->w_gate_up, args->w_gate_up},
                                        .bias = {args->bias_gate, args->bias_up},
                                        .row0 = {0, n_ff},
                                        .expert_rows = 2 * n_ff};
    if (args->w_gate)
        return (struct expert_matrices){.n = 2,
                                        .w = {args->w_gate, args->w_up},
                                        .bias = {args->bias_gate, args->bias_up},
                                        .expert_rows = n_ff};
    return (struct expert_matrices){
        .n = 1, .w = {args->w_up}, .bias = {args->bias_up}, .expert_rows = n_ff};
}

void vk_experts_glu(struct compute *compute, const struct experts_glu *args,
                    const struct matmul_x *x)
{
    struct vulkan *vk = vk_of(compute);
    const struct expert_matrices m = matrices_of(args);
    const struct tensor *const to[2] = {args->out, args->scratch};
    if (args->out->n_rows == 0)
        return;
    if (x->x->n_rows <= MATVEC_MOST && (m.n == 1 || m.w[0]->type == m.w[1]->type)) {
        vk_matvec_experts_glu(vk, &m, args, x);
        return;
    }
    vk_matmat_experts_of(vk, to, &m, args->id, x, (int32_t)args->id->n_cols);
    vk_glu_of(vk, args->out, m.n == 2 ? args->scratch : NULL, args->activation);
}

void vk_experts_down(struct compute *compute, const struct experts_down *args)
{
    if (args->out->n_rows <= MATVEC_MOST) {
        vk_matvec_experts_down(vk_of(compute), args);
        return;
    }
    vk_matmat_experts(vk_of(compute), &(struct matmul_experts){.out = args->scratch,
                                                               .w = args->w,
                                                               .bias = args->bias,
                                                               .x = args->y,
                                                               .id = args->id,
                                                               .x_share = 1});
    vk_experts_sum(compute, args->out, args->residual, args->scratch, args->weight);
}
