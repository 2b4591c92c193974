// embed.c - rows of the embedding matrix, decoded (kernels/embed.comp).
#include "vulkan.h"

// Tokens whose rows are row0 .. of the matrix.
static void embed_part(struct compute *compute, const struct tensor *out,
                       const struct tensor *token_embd, int64_t row0, const struct tensor *token,
                       float scale)
{
    char name[48];
    const struct push_embed push = {
        .to = vk_range(out).address,
        .w = vk_range(token_embd).address,
        .token = vk_range(token).address,
        .grid = vk_codebook(vk_of(compute), token_embd->type),
        .to_row = (uint32_t)out->row_bytes,
        .w_row = (uint32_t)token_embd->row_bytes,
        .n_cols = (uint32_t)out->n_cols,
        .row0 = (uint32_t)row0,
        .n_rows = (uint32_t)token_embd->n_rows,
        .scale = scale,
    };
    const double n_tokens = (double)out->n_rows;
    if (push.n_cols % 4 != 0 || (push.to | push.to_row) % 16 != 0)
        die("op_embed: rows of %u columns, %u bytes apart; multiples of 4 and of 16 are possible",
            push.n_cols, push.to_row);
    vk_dispatch(vk_of(compute),
                &(struct dispatch){
                    .kernel = vk_kernel_name(name, "embed", token_embd->type),
                    .push = &push,
                    .push_bytes = sizeof(push),
                    .groups = {(push.n_cols + 1023) / 1024, (uint32_t)out->n_rows, 1},
                    .read = {vk_range(token_embd), vk_range(token)},
                    .write = {vk_range(out)},
                    .bytes = n_tokens * (double)(token_embd->row_bytes + out->row_bytes),
                    .flops = n_tokens * (double)out->n_cols,
                });
}

void vk_embed(struct compute *compute, const struct tensor *out, const struct tensor *token_embd,
              const struct tensor *token, float scale)
{
    for (int64_t i = 0; i < vk_n_parts(token_embd); i++) {
        int64_t row0;
        const struct tensor part = vk_part(token_embd, i, &row0);
        embed_part(compute, out, &part, row0, token, scale);
    }
}
