// product.c - which of the two ways a product takes: few rows of x are memory-bound and take the
// vector kernels (matvec.c), more are tiled (matmat.c).
//
// What the kernels of neither take in one dispatch is put together here from those that there are.
#include "vulkan.h"

void vk_matmul(struct compute *compute, const struct matmul *products, int n,
               const struct matmul_x *x)
{
    struct vulkan *vk = vk_of(compute);
    for (int i = 0; i < n; i++)
        if (products[i].scale != 0 && products[i].scale != 1)
            die("op_matmul: scale");
    if (x->x->n_rows <= MATVEC_MOST)
        vk_matvec(vk, products, n, x);
    else
        vk_matmat(vk, products, n, x);
}

void vk_matmul_glu(struct compute *compute, const struct matmul_glu *glu, const struct matmul_x *x)
{
    struct vulkan *vk = vk_of(compute);
    if (!glu->w_gate || glu->bias_gate || glu->bias_up) {
        const struct tensor *up = glu->w_gate ? glu->scratch : glu->out;
        const struct matmul both[] = {{up, glu->w_up, glu->bias_up, NULL},
                                      {glu->out, glu->w_gate, glu->bias_gate, NULL}};
        vk_matmul(compute, both, glu->w_gate ? 2 : 1, x);
        vk_glu_of(vk, glu->out, glu->w_gate ? up : NULL, glu->activation);
        return;
    }
    if (x->x->n_rows <= MATVEC_MOST)
        vk_matvec_glu(vk, glu, x);
    else
        vk_matmat_glu(vk, glu, x);
}

void vk_matmul_experts(struct compute *compute, const struct matmul_experts *args)
{
    struct vulkan *vk = vk_of(compute);
    if (args->id->n_rows <= MATVEC_MOST)
        vk_matvec_experts(vk, args);
    else
        vk_matmat_experts(vk, args);
}

void vk_experts_glu(struct compute *compute, const struct experts_glu *args,
                    const struct matmul_x *x)
{
    (void)compute, (void)args, (void)x;
    die("op_experts_glu");
}

void vk_experts_down(struct compute *compute, const struct experts_down *args)
{
    vk_matmul_experts(compute, &(struct matmul_experts){.out = args->scratch,
                                                        .w = args->w,
                                                        .bias = args->bias,
                                                        .x = args->y,
                                                        .id = args->id,
                                                        .x_share = 1});
    vk_experts_sum(compute, args->out, args->residual, args->scratch, args->weight);
}
