// ffn.c - the feed-forward network of a layer: gated (Shazeer 2020), added to the residual stream.
#include "../arch.h"

void ffn_block(const struct pass *p, int32_t i)
{
    const struct hyper *h = p->h;
    const struct layer *w = &p->w->layers[i];
    const int64_t n_ff = h->layers[i].n_ff;
    struct tensor gate = pass_view(p, &p->act->gate, n_ff), up = pass_view(p, &p->act->up, n_ff);

    op_matmul_glu(p->compute,
                  &(struct matmul_glu){.out = &gate,
                                       .w_gate = &w->ffn_gate,
                                       .w_up = &w->ffn_up,
                                       .scratch = &up,
                                       .activation = h->activation},
                  &(struct matmul_x){&p->x, &w->ffn_norm, h->eps});
    op_matmul(p->compute, &(struct matmul){.out = &p->x, .w = &w->ffn_down, .residual = &p->x}, 1,
              &(struct matmul_x){.x = &gate});
}
