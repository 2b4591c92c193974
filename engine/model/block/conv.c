// conv.c - a layer that only looks back a few tokens (LFM2, Liquid AI 2025): one product gives b, c
// and x; y = c * conv(b * x), projected back.
#include "../arch.h"

void conv_block(const struct pass *p, int32_t i)
{
    const struct hyper *h = p->h;
    const struct layer *w = &p->w->layers[i];
    const int64_t n = h->n_embd;
    struct tensor bcx = pass_view(p, &p->act->recurrent_in, 3 * n), b = tensor_columns(&bcx, 0, n),
                  c = tensor_columns(&bcx, n, n), x = tensor_columns(&bcx, 2 * n, n),
                  y = pass_view(p, &p->act->conv, n);

    op_matmul(p->compute, &(struct matmul){.out = &bcx, .w = &w->shortconv_in_proj}, 1,
              &(struct matmul_x){&p->x, &w->attn_norm, h->eps});
    op_conv(p->compute, &(struct conv){.out = &y,
                                       .x = &x,
                                       .before = &b,
                                       .after = &c,
                                       .weight = &w->shortconv_conv,
                                       .state = &p->kv->conv[i],
                                       .slots = {&p->slot_in, &p->slot_out}});
    add_product(p, &y, &w->shortconv_out_proj, NULL, NULL);
}
