// matvec.c - stand-in until the vector kernels land: the tiled products take any number of tokens.
#include "vulkan.h"

void vk_matvec(struct vulkan *vk, const struct matmul *products, int n, const struct matmul_x *x)
{
    vk_matmat(vk, products, n, x);
}

void vk_matvec_glu(struct vulkan *vk, const struct matmul_glu *glu, const struct matmul_x *x)
{
    vk_matmat_glu(vk, glu, x);
}

void vk_matvec_experts(struct vulkan *vk, const struct matmul_experts *args)
{
    vk_matmat_experts(vk, args);
}
