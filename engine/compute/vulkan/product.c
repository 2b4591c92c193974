// product.c - which of the two ways a product takes: few rows of x are memory-bound and take the
// vector kernels (matvec.c), more are tiled (matmat.c).
#include "vulkan.h"

void vk_matmul(struct compute *compute, const struct matmul *products, int n,
               const struct matmul_x *x)
{
    struct vulkan *vk = vk_of(compute);
    if (x->x->n_rows <= MATVEC_MOST)
        vk_matvec(vk, products, n, x);
    else
        vk_matmat(vk, products, n, x);
}

void vk_matmul_glu(struct compute *compute, const struct matmul_glu *glu, const struct matmul_x *x)
{
    struct vulkan *vk = vk_of(compute);
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
