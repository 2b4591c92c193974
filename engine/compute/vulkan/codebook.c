// codebook.c - the codebooks of IQ1, IQ2 and IQ3 in device memory (kernels/grids.h): one buffer of
// 11 KB, made when the first weights that need one are, kept until the device is closed. Kernels
// get the address of their format's (weight_grid.glsl).
#include "../blocks.h"
#include "core.h"

static const struct codebook {
    enum dtype type;
    const uint32_t *words;
    uint32_t n_words;
} codebooks[] = {
    {DTYPE_IQ1_S, grid_iq1, COUNT_OF(grid_iq1)},
    {DTYPE_IQ2_XXS, grid_iq2_xxs, COUNT_OF(grid_iq2_xxs)}, // spread by kernels
    {DTYPE_IQ2_XS, grid_iq2_xs, COUNT_OF(grid_iq2_xs)},
    {DTYPE_IQ2_S, grid_iq2_s, COUNT_OF(grid_iq2_s)},
    {DTYPE_IQ3_XXS, grid_iq3_xxs, COUNT_OF(grid_iq3_xxs)},
    {DTYPE_IQ3_S, grid_iq3_s, COUNT_OF(grid_iq3_s)},
};

// Where a format's begins in the buffer, in words; its length in *n_words: 0: it has none.
static uint32_t find(enum dtype type, uint32_t *n_words)
{
    uint32_t at = 0;
    const enum dtype wanted = type == DTYPE_IQ1_M ? DTYPE_IQ1_S : type;
    for (size_t i = 0; i < COUNT_OF(codebooks); i++) {
        *n_words = codebooks[i].n_words;
        if (codebooks[i].type == wanted)
            return at;
        at += codebooks[i].n_words;
    }
    *n_words = 0;
    return at;
}

uint32_t codebook_bytes(enum dtype type)
{
    uint32_t n_words;
    (void)find(type, &n_words);
    return (type == DTYPE_IQ2_XXS ? 16 : 4) * n_words;
}

enum status codebook_open(struct vulkan *vk, enum dtype type, struct err *err)
{
    uint32_t n_words, n_all = find(DTYPE_F32, &n_words); // behind the last
    if (vk->codebooks || codebook_bytes(type) == 0)
        return OK;
    enum status status =
        memory_take(vk, &vk->codebooks, MEMORY_MAIN, 4ull * n_all, "codebooks", err);
    struct tensor part = {
        .buffer = vk->codebooks, .row_bytes = 4, .n_rows = n_all, .n_cols = 1, .type = DTYPE_I32};
    for (size_t i = 0; i < COUNT_OF(codebooks) && status == OK; i++) {
        const size_t n_bytes = 4 * (size_t)codebooks[i].n_words;
        part.n_rows = codebooks[i].n_words;
        vk_write(&vk->compute, &part, codebooks[i].words, n_bytes);
        part.offset += n_bytes;
    }
    return status;
}

uint64_t vk_codebook(const struct vulkan *vk, enum dtype type)
{
    uint32_t n_words;
    const uint32_t at = find(type, &n_words);
    return n_words > 0 ? vk->codebooks->address + 4ull * at : 0;
}
