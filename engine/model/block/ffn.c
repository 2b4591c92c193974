// ffn.c - the feed-forward network of a layer: gated (Shazeer 2020) or not, added to the residual
// stream. Gate and up may lie in one tensor, gate first.
#include "../arch.h"

static struct tensor inner(const struct pass *p, int32_t i)
{
    const struct hyper *h = p->h;
    const struct layer *w = &p->w->layers[i];
    const int64_t n_ff = h->layers[i].n_ff;
    struct tensor room;
    const struct matmul_x x = normed_x(p, &w->ffn_norm, &room);
    struct tensor gate = pass_view(p, &p->act->gate, n_ff), up = pass_view(p, &p->act->up, n_ff);

    if (h->fused_ffn) {
        struct tensor both = pass_view(p, &p->act->gate_up, 2 * n_ff);
        struct tensor g = tensor_columns(&both, 0, n_ff), u = tensor_columns(&both, n_ff, n_ff);
        op_matmul(p->compute, &(struct matmul){.out = &both, .w = &w->ffn_up}, 1, &x);
        op_glu(p->compute, &gate, &g, &u, h->activation);
    } else {
        op_matmul_glu(p->compute,
                      &(struct matmul_glu){.out = &gate,
                                           .w_gate = present(&w->ffn_gate),
                                           .w_up = &w->ffn_up,
                                           .scratch = w->ffn_gate.buffer ? &up : NULL,
                                           .activation = h->activation,
                                           .bias_gate = present(&w->ffn_gate_bias),
                                           .bias_up = present(&w->ffn_up_bias)},
                      &x);
    }
    return gate;
}

void ffn_block(const struct pass *p, int32_t i)
{
    const struct layer *w = &p->w->layers[i];
    struct tensor y = inner(p, i);
    add_product(p, &y, &w->ffn_down, present(&w->ffn_down_bias), present(&w->ffn_post_norm));
}

void ffn_into(const struct pass *p, int32_t i, const struct tensor *to)
{
    struct tensor y = inner(p, i);
    op_matmul(p->compute, &(struct matmul){.out = to, .w = &p->w->layers[i].ffn_down}, 1,
              &(struct matmul_x){.x = &y});
}
