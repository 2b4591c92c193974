// attention.c - softmax attention (Vaswani et al. 2017) with grouped heads (Ainslie et al. 2023)
// and rotary positions (Su et al. 2021): norm, projections, rotation and storing of keys and
// values, attention over the sequence's rows, output projection, added to the residual stream.
//
// The keys and values of all rows of the pass are stored before attention reads them: a token sees
// exactly the rows 0 .. pos of its own sequence.
#include "../arch.h"

static struct rope rope_of(const struct pass *p, const struct layer_hyper *l)
{
    if (l->rope == NO_ROPE)
        return (struct rope){.n_rot = 0};
    const struct rope_hyper *rope = &p->h->ropes[l->rope];
    const struct rope_weights *w = &p->w->ropes[l->rope];
    return (struct rope){rope->pairs, rope->n_rot, &w->turns, w->magnitude};
}

void attention_block(const struct pass *p, int32_t i)
{
    const struct hyper *h = p->h;
    const struct layer_hyper *l = &h->layers[i];
    const struct layer *w = &p->w->layers[i];
    const struct tensor *cache_k = &p->kv->k[i], *cache_v = &p->kv->v[i];
    const int64_t n_k = (int64_t)l->n_head_kv * l->head_dim;
    struct tensor q = pass_view(p, &p->act->q, (int64_t)l->n_head * l->head_dim),
                  k = pass_view(p, &p->act->k, n_k), v = pass_view(p, &p->act->v, n_k),
                  att = pass_view(p, &p->act->att, q.n_cols);

    const struct matmul qkv[] = {
        {.out = &q, .w = &w->attn_q, .bias = present(&w->attn_q_bias)},
        {.out = &k, .w = &w->attn_k, .bias = present(&w->attn_k_bias)},
        {.out = &v, .w = &w->attn_v, .bias = present(&w->attn_v_bias)},
    };
    op_matmul(p->compute, qkv, 3, &(struct matmul_x){&p->x, &w->attn_norm, h->eps});
    op_rope_kv(p->compute, &(struct rope_kv){.q = &q,
                                             .k = &k,
                                             .v = &v,
                                             .pos = &p->pos,
                                             .row = &p->row,
                                             .cache_k = cache_k,
                                             .cache_v = cache_v,
                                             .head_dim = l->head_dim,
                                             .rope = rope_of(p, l)});
    op_attention(p->compute, &att, &q, cache_k, cache_v, &p->first, &p->count,
                 &(struct attention){.n_head = l->n_head,
                                     .n_head_kv = l->n_head_kv,
                                     .head_dim = l->head_dim,
                                     .scale = h->attention_scale,
                                     .softcap = h->softcap,
                                     .window = l->window});
    op_matmul(p->compute,
              &(struct matmul){.out = &p->x,
                               .w = &w->attn_output,
                               .bias = present(&w->attn_output_bias),
                               .residual = &p->x},
              1, &(struct matmul_x){.x = &att});
}
