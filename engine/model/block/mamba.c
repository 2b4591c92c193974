// mamba.c - a Mamba-2 layer (Dao & Gu 2024): one product gives the gate z, what passes the short
// convolution (x, and b and c of each group), and the step dt of each head; the heads' results are
// gated by z, normed group by group and projected back.
#include "../arch.h"

// The file's column of numbers as one row.
static struct tensor as_row(const struct tensor *column)
{
    struct tensor row = *column;
    row.n_cols *= row.n_rows;
    row.n_rows = 1;
    return row;
}

void mamba_block(const struct pass *p, int32_t i)
{
    const struct hyper *h = p->h;
    const struct layer *w = &p->w->layers[i];
    const int64_t n = h->d_inner, n_bc = (int64_t)h->n_group * h->d_state;
    struct tensor in = pass_view(p, &p->act->recurrent_in, 2 * n + 2 * n_bc + h->n_state_head),
                  z = tensor_columns(&in, 0, n), xbc = tensor_columns(&in, n, n + 2 * n_bc),
                  dt = tensor_columns(&in, 2 * n + 2 * n_bc, h->n_state_head),
                  conv = pass_view(p, &p->act->conv, n + 2 * n_bc), x = tensor_columns(&conv, 0, n),
                  b = tensor_columns(&conv, n, n_bc), c = tensor_columns(&conv, n + n_bc, n_bc),
                  mixed = pass_view(p, &p->act->mixed, n), a = as_row(&w->ssm_a),
                  d = as_row(&w->ssm_d), norm = as_row(&w->ssm_norm);
    const struct slots slots = {&p->slot_in, &p->slot_out};

    op_matmul(p->compute, &(struct matmul){.out = &in, .w = &w->ssm_in}, 1,
              &(struct matmul_x){&p->x, &w->attn_norm, h->eps});
    op_conv(p->compute, &(struct conv){.out = &conv,
                                       .x = &xbc,
                                       .weight = &w->ssm_conv1d,
                                       .bias = present(&w->ssm_conv1d_bias),
                                       .state = &p->kv->conv[i],
                                       .slots = slots,
                                       .silu = true});
    op_mamba2(p->compute, &(struct mamba2){.out = &mixed,
                                           .x = &x,
                                           .b = &b,
                                           .c = &c,
                                           .dt = &dt,
                                           .a = &a,
                                           .d = &d,
                                           .dt_bias = &w->ssm_dt,
                                           .z = &z,
                                           .norm = w->ssm_norm.buffer ? &norm : NULL,
                                           .state = &p->kv->state[i],
                                           .slots = slots,
                                           .n_head = h->n_state_head,
                                           .n_group = h->n_group,
                                           .head_dim = h->d_inner / h->n_state_head,
                                           .d_state = h->d_state,
                                           .eps = h->eps});
    add_product(p, &mixed, &w->ssm_out, NULL, NULL);
}
