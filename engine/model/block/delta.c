// delta.c - a layer of the gated delta rule (Yang et al. 2024): one product gives q, k and v, which
// pass a short causal convolution; others a gate z and, for each head, how much is written (beta)
// and how fast is forgotten (alpha). The heads' results are normed, gated by z and projected back.
#include "../arch.h"

void delta_block(const struct pass *p, int32_t i)
{
    const struct hyper *h = p->h;
    const struct layer *w = &p->w->layers[i];
    const int64_t n_k = (int64_t)h->n_group * h->d_state, n_v = h->d_inner,
                  n_head = h->n_state_head;
    const bool packed = w->ssm_ba.buffer;
    struct tensor qkv = pass_view(p, &p->act->recurrent_in, 2 * n_k + n_v),
                  conv = pass_view(p, &p->act->conv, 2 * n_k + n_v),
                  z = pass_view(p, &p->act->z, n_v), mixed = pass_view(p, &p->act->mixed, n_v),
                  beta = pass_view(p, &p->act->beta, packed ? 2 * n_head : n_head),
                  alpha = pass_view(p, &p->act->alpha, n_head), q = tensor_columns(&conv, 0, n_k),
                  k = tensor_columns(&conv, n_k, n_k), v = tensor_columns(&conv, 2 * n_k, n_v);
    const struct matmul products[] = {
        {.out = &qkv, .w = &w->attn_qkv},
        {.out = &z, .w = &w->attn_gate},
        {.out = &beta, .w = packed ? &w->ssm_ba : &w->ssm_beta},
        {.out = &alpha, .w = &w->ssm_alpha},
    };
    const int32_t pair = packed ? h->n_state_head / h->n_group : 0; // of each k head: betas, alphas
    if (packed)
        alpha = tensor_columns(&beta, pair, beta.n_cols - pair);
    const struct slots slots = {&p->slot_in, &p->slot_out};

    op_matmul(p->compute, products, packed ? 3 : 4,
              &(struct matmul_x){&p->x, present(&w->attn_norm), h->eps});
    op_conv(p->compute, &(struct conv){.out = &conv,
                                       .x = &qkv,
                                       .weight = &w->ssm_conv1d,
                                       .state = &p->kv->conv[i],
                                       .slots = slots,
                                       .silu = true});
    op_delta_net(p->compute, &(struct delta_net){.out = &mixed,
                                                 .q = &q,
                                                 .k = &k,
                                                 .v = &v,
                                                 .alpha = &alpha,
                                                 .beta = &beta,
                                                 .a = &w->ssm_a,
                                                 .dt_bias = &w->ssm_dt,
                                                 .z = &z,
                                                 .norm = &w->ssm_norm,
                                                 .state = &p->kv->state[i],
                                                 .slots = slots,
                                                 .n_head = (int32_t)n_head,
                                                 .n_head_k = h->n_group,
                                                 .d_k = h->d_state,
                                                 .d_v = h->d_inner / h->n_state_head,
                                                 .pair_heads = pair,
                                                 .grouped = h->delta_grouped,
                                                 .z_sigmoid = h->delta_sigmoid,
                                                 .eps_length = h->eps,
                                                 .eps = h->eps});
    add_product(p, &mixed, &w->ssm_out, NULL, NULL);
}
