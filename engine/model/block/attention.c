// attention.c - softmax attention (Vaswani et al. 2017) with grouped heads (Ainslie et al. 2023)
// and rotary positions (Su et al. 2021): norm, projections, norms of the heads, rotation and
// storing of keys and values, attention over the sequence's rows, output projection, its norm,
// added to the residual stream.
//
// What a layer has of this is told by its weights (biases, norms, sinks) and its numbers (window,
// rotation). The keys and values of all rows of the pass are stored before attention reads them: a
// token sees exactly the rows 0 .. pos of its own sequence.
#include "../arch.h"

struct heads { // views of the pass's rows
    struct tensor q, k, v;
};

static struct rope rope_of(const struct pass *p, const struct layer_hyper *l)
{
    if (l->rope == NO_ROPE)
        return (struct rope){.n_rot = 0};
    const struct rope_hyper *rope = &p->h->ropes[l->rope];
    const struct rope_weights *w = &p->w->ropes[l->rope];
    return (struct rope){rope->pairs, rope->n_rot, &w->turns, w->magnitude};
}

static struct heads project(const struct pass *p, const struct layer_hyper *l,
                            const struct layer *w)
{
    const int64_t n_q = (int64_t)l->n_head * l->head_dim, n_k = (int64_t)l->n_head_kv * l->head_dim,
                  n_v = (int64_t)l->n_head_kv * l->head_dim_v;
    struct tensor room;
    const struct matmul_x x = normed_x(p, &w->attn_norm, &room);
    if (w->attn_qkv.buffer) {
        struct tensor qkv = pass_view(p, &p->act->qkv, n_q + n_k + n_v);
        op_matmul(
            p->compute,
            &(struct matmul){.out = &qkv, .w = &w->attn_qkv, .bias = present(&w->attn_qkv_bias)}, 1,
            &x);
        return (struct heads){tensor_columns(&qkv, 0, n_q), tensor_columns(&qkv, n_q, n_k),
                              tensor_columns(&qkv, n_q + n_k, n_v)};
    }
    struct heads heads = {pass_view(p, &p->act->q, p->h->gate_in_q ? 2 * n_q : n_q),
                          pass_view(p, &p->act->k, n_k), pass_view(p, &p->act->v, n_v)};
    struct tensor gate = pass_view(p, &p->act->attn_gate, (int64_t)l->n_head * l->head_dim_v);
    struct matmul products[4] = {
        {.out = &heads.q, .w = &w->attn_q, .bias = present(&w->attn_q_bias)}};
    int n = 1;
    if (w->attn_k.buffer)
        products[n++] =
            (struct matmul){.out = &heads.k, .w = &w->attn_k, .bias = present(&w->attn_k_bias)};
    if (w->attn_v.buffer)
        products[n++] =
            (struct matmul){.out = &heads.v, .w = &w->attn_v, .bias = present(&w->attn_v_bias)};
    else // values are the keys before their norm and rotation
        heads.v = heads.k;
    if (w->attn_gate.buffer)
        products[n++] = (struct matmul){.out = &gate, .w = &w->attn_gate};
    op_matmul(p->compute, products, n, &x);
    return heads;
}

// A norm as wide as all heads; one of each head is the rotation's work.
static void norm_all(const struct pass *p, const struct tensor *heads, int32_t head_dim,
                     const struct tensor *norm, const struct tensor *bias)
{
    if (norm->buffer && p->h->arch->layer_norm)
        op_layer_norm(p->compute, heads, heads, norm, present(bias), p->h->eps);
    else if (norm->buffer && norm->n_cols != head_dim)
        op_rms_norm(p->compute, heads, heads, norm, p->h->eps);
}

static const struct tensor *head_norm(const struct layer_hyper *l, const struct tensor *norm)
{
    return norm->buffer && norm->n_cols == l->head_dim ? norm : NULL;
}

static void rotate(const struct pass *p, const struct tensor *heads, const struct layer_hyper *l,
                   const struct tensor *norm)
{
    struct tensor each = pieces_view(heads, l->head_dim);
    op_rope_kv(p->compute,
               &(struct rope_kv){
                   .q = heads, .pos = &p->pos, .head_dim = l->head_dim, .rope = rope_of(p, l)});
    op_rms_norm(p->compute, &each, &each, norm, p->h->eps);
}

static void store(const struct pass *p, const struct heads *heads, int32_t i)
{
    const struct layer_hyper *l = &p->h->layers[i];
    const struct layer *w = &p->w->layers[i];
    const bool before = !p->h->norm_after_rope, keeps = l->parts & PART_KEYS;
    if (!before) {
        rotate(p, &heads->q, l, &w->attn_q_norm);
        rotate(p, &heads->k, l, &w->attn_k_norm);
    } else {
        norm_all(p, &heads->q, l->head_dim, &w->attn_q_norm, &w->attn_q_norm_bias);
        norm_all(p, &heads->k, l->head_dim, &w->attn_k_norm, &w->attn_k_norm_bias);
    }
    op_rope_kv(p->compute,
               &(struct rope_kv){.q = &heads->q,
                                 .k = keeps ? &heads->k : NULL,
                                 .v = keeps ? &heads->v : NULL,
                                 .pos = &p->pos,
                                 .row = &p->row[p->kv->pool[l->kv_layer]],
                                 .cache_k = keeps ? &p->kv->k[l->kv_layer] : NULL,
                                 .cache_v = keeps ? &p->kv->v[l->kv_layer] : NULL,
                                 .head_dim = l->head_dim,
                                 .head_dim_v = l->head_dim_v,
                                 .q_stride = p->h->gate_in_q ? 2 * l->head_dim : 0,
                                 .rope = before ? rope_of(p, l) : (struct rope){.n_rot = 0},
                                 .q_norm = before ? head_norm(l, &w->attn_q_norm) : NULL,
                                 .k_norm = before && keeps ? head_norm(l, &w->attn_k_norm) : NULL,
                                 .v_norm = keeps && p->h->norm_values,
                                 .eps = p->h->eps,
                                 .temperature = p->h->temperature,
                                 .temperature_length = p->h->temperature_length});
}

void attention_block(const struct pass *p, int32_t i)
{
    const struct hyper *h = p->h;
    const struct layer_hyper *l = &h->layers[i];
    const struct layer *w = &p->w->layers[i];
    struct tensor att = pass_view(p, &p->act->att, (int64_t)l->n_head * l->head_dim_v),
                  gate = pass_view(p, &p->act->attn_gate, att.n_cols);

    const bool both_ways = h->sees_all && l->window > 0;
    struct tensor chosen = p->kv->chosen;
    if (l->parts & PART_INDEX) {
        index_block(p, i);
        chosen = tensor_rows(&chosen, 0, p->n);
    }
    struct heads heads = project(p, l, w);
    store(p, &heads, i);
    if (h->gate_in_q) // behind each head's q
        gate = tensor_columns(&heads.q, l->head_dim, heads.q.n_cols - l->head_dim);
    op_attention(p->compute, &att, &heads.q, &p->kv->k[l->kv_layer], &p->kv->v[l->kv_layer],
                 &p->kv->pages[p->kv->pool[l->kv_layer]], &p->table,
                 both_ways ? &p->near : &p->count,
                 &(struct attention){.n_head = l->n_head,
                                     .n_head_kv = l->n_head_kv,
                                     .head_dim = l->head_dim,
                                     .head_dim_v = l->head_dim_v,
                                     .scale = h->attention_scale,
                                     .softcap = h->softcap,
                                     .window = both_ways ? l->window / 2 : l->window,
                                     .sinks = present(&w->attn_sinks),
                                     .gate = w->attn_gate.buffer || h->gate_in_q ? &gate : NULL,
                                     .q_stride = h->gate_in_q ? 2 * l->head_dim : 0,
                                     .gate_stride = h->gate_in_q ? 2 * l->head_dim : 0,
                                     .chosen = l->parts & PART_INDEX ? &chosen : NULL,
                                     .block = h->index_block,
                                     .alibi = present(&p->w->alibi),
                                     .pos = both_ways || p->w->alibi.buffer ? &p->pos : NULL});
    add_product(p, &att, &w->attn_output, present(&w->attn_output_bias),
                present(&w->attn_post_norm));
}
