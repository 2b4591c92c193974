// far.c - attention that sees the last positions as they are and all before them by rows that stand
// for many (DeepSeek-V4 2026). Queries come from a low rank, as in mla.c; one row of a token is its
// key and its value for all heads. Rows for a few positions each are chosen by a few heads of
// queries (as in index.c) over keys that are made as these rows are, only narrower.
//
// A key is turned by its position, and so, being a value, is what attention gives: that is turned
// back before groups of heads are projected, each by a matrix of its own.
#include "../arch.h"

// What a layer turns by, the last columns of a row of `width`.
static struct rope rope_of(const struct pass *p, int32_t i, int32_t width)
{
    const int32_t k = p->h->layers[i].rope;
    const struct rope_hyper *rope = &p->h->ropes[k];
    return (struct rope){.pairs = rope->pairs,
                         .n_rot = rope->n_rot,
                         .turns = &p->w->ropes[k].turns,
                         .magnitude = p->w->ropes[k].magnitude,
                         .first = width - rope->n_rot};
}

// Keeps what the tokens leave; where one is the last of its block, its row goes into `keys`.
static void make_rows(const struct pass *p, int32_t i, const struct compress_weights *w,
                      const struct tensor *raw_x, const struct tensor *raw_score,
                      const struct tensor *keys)
{
    const struct layer_hyper *l = &p->h->layers[i];
    const int32_t pool = p->kv->pool[i], kind = far_overlaps(l) ? FAR_FEW : FAR_MANY;
    const struct tensor x = pass_view(p, &p->act->compress_x, w->kv.n_rows),
                        score = pass_view(p, &p->act->compress_score, w->gate.n_rows),
                        row = pass_view(p, &p->act->pooled, keys->n_cols);
    op_compress(p->compute, &(struct compress){.out = &row,
                                               .x = &x,
                                               .score = &score,
                                               .raw_x = raw_x,
                                               .raw_score = raw_score,
                                               .place = &w->ape,
                                               .pos = &p->pos,
                                               .row = &p->row[pool],
                                               .pages = &p->kv->pages[pool],
                                               .table = &p->table,
                                               .ratio = l->ratio,
                                               .overlap = far_overlaps(l)});
    op_rope_kv(p->compute, &(struct rope_kv){.k = &row,
                                             .pos = &p->kv->far_pos[kind],
                                             .row = &p->kv->far_row[kind],
                                             .cache_k = keys,
                                             .head_dim = (int32_t)keys->n_cols,
                                             .rope = rope_of(p, i, (int32_t)keys->n_cols),
                                             .k_norm = &w->norm,
                                             .eps = p->h->eps});
}

// The bits of the rows that are seen.
static struct tensor choose(const struct pass *p, int32_t i, const struct matmul_x *x,
                            const struct tensor *q)
{
    const struct hyper *h = p->h;
    const struct layer *w = &p->w->layers[i];
    const struct tensor score = pass_view(p, &p->act->compress_score, w->index_compress.kv.n_rows),
                        left = pass_view(p, &p->act->compress_x, w->index_compress.kv.n_rows),
                        weight = pass_view(p, &p->act->index_weight, h->n_index_head),
                        chosen = tensor_rows(&p->kv->chosen, 0, p->n);
    const struct matmul products[] = {{.out = &left, .w = &w->index_compress.kv},
                                      {.out = &score, .w = &w->index_compress.gate},
                                      {.out = &weight, .w = &w->index_weight}};
    op_matmul(p->compute, products, 3, x);
    make_rows(p, i, &w->index_compress, &p->kv->raw[2][i], &p->kv->raw[3][i],
              &p->kv->index_keys[i]);
    op_rope_kv(p->compute, &(struct rope_kv){.q = q,
                                             .pos = &p->pos,
                                             .head_dim = h->index_dim,
                                             .rope = rope_of(p, i, h->index_dim)});
    op_index_choose(p->compute, &(struct index_choose){.chosen = &chosen,
                                                       .q = q,
                                                       .keys = &p->kv->index_keys[i],
                                                       .pages = &p->kv->pages[p->kv->far_pool[i]],
                                                       .table = &p->table,
                                                       .count = &p->count,
                                                       .weight = &weight,
                                                       .n_head = h->n_index_head,
                                                       .block = h->index_block,
                                                       .n_most = h->index_most});
    return chosen;
}

// The queries of attention and, where rows are chosen, of the choice; the tokens' own keys; what
// they leave for rows to come.
static void project(const struct pass *p, int32_t i, const struct matmul_x *x,
                    const struct tensor *q, const struct tensor *index_q)
{
    const struct hyper *h = p->h;
    const struct layer *w = &p->w->layers[i];
    const struct tensor low = pass_view(p, &p->act->lora_q, h->n_lora_q),
                        k = pass_view(p, &p->act->k, h->layers[i].head_dim),
                        left = pass_view(p, &p->act->compress_x, w->compress.kv.n_rows),
                        score = pass_view(p, &p->act->compress_score, w->compress.kv.n_rows),
                        heads = pieces_view(q, h->layers[i].head_dim);
    const struct matmul products[] = {{.out = &low, .w = &w->attn_q_a},
                                      {.out = &k, .w = &w->attn_kv},
                                      {.out = &left, .w = &w->compress.kv},
                                      {.out = &score, .w = &w->compress.gate}},
                        queries[] = {{.out = q, .w = &w->attn_q_b},
                                     {.out = index_q, .w = &w->index_q}};
    op_matmul(p->compute, products, w->compress.kv.buffer ? 4 : 2, x);
    op_matmul(p->compute, queries, w->index_q.buffer ? 2 : 1,
              &(struct matmul_x){&low, &w->attn_q_a_norm, h->eps});
    op_rms_norm(p->compute, &heads, &heads, NULL, h->eps);
    op_rope_kv(p->compute, &(struct rope_kv){.q = q,
                                             .k = &k,
                                             .pos = &p->pos,
                                             .row = &p->row[p->kv->pool[i]],
                                             .cache_k = &p->kv->k[i],
                                             .head_dim = h->layers[i].head_dim,
                                             .rope = rope_of(p, i, h->layers[i].head_dim),
                                             .k_norm = &w->attn_kv_norm,
                                             .eps = h->eps});
}

static void attend(const struct pass *p, int32_t i, const struct tensor *att,
                   const struct tensor *q, const struct tensor *chosen)
{
    const struct layer_hyper *l = &p->h->layers[i];
    const struct tensor *near = &p->kv->k[i], *pages = &p->kv->pages[p->kv->pool[i]],
                        *sinks = &p->w->layers[i].attn_sinks;
    if (l->parts & PART_FAR)
        op_attention_far(p->compute,
                         &(struct attention_far){.out = att,
                                                 .q = q,
                                                 .near = near,
                                                 .far = &p->kv->far[i],
                                                 .near_pages = pages,
                                                 .far_pages = &p->kv->pages[p->kv->far_pool[i]],
                                                 .table = &p->table,
                                                 .count = &p->count,
                                                 .sinks = sinks,
                                                 .chosen = chosen,
                                                 .n_head = l->n_head,
                                                 .window = l->window,
                                                 .ratio = l->ratio,
                                                 .n_most = p->h->index_most,
                                                 .scale = p->h->attention_scale});
    else
        op_attention(p->compute, att, q, near, NULL, pages, &p->table, &p->count,
                     &(struct attention){.n_head = l->n_head,
                                         .n_head_kv = 1,
                                         .head_dim = l->head_dim,
                                         .scale = p->h->attention_scale,
                                         .window = l->window,
                                         .sinks = sinks});
}

void far_block(const struct pass *p, int32_t i)
{
    const struct hyper *h = p->h;
    const struct layer_hyper *l = &h->layers[i];
    const struct layer *w = &p->w->layers[i];
    struct tensor room,
        q = pass_view(p, &p->act->q, (int64_t)l->n_head * l->head_dim),
        att = pass_view(p, &p->act->att, (int64_t)l->n_head * l->head_dim),
        index_q = pass_view(p, &p->act->index_q, (int64_t)h->n_index_head * h->index_dim),
        groups = pieces_view(&att, att.n_cols / h->n_out_group),
        made = pass_view(p, &p->act->group_out, w->attn_output_b.n_cols),
        made_groups = pieces_view(&made, h->n_lora_out), chosen,
        id = pass_view(p, &p->act->head_id, h->n_out_group);
    const struct matmul_x x = normed_x(p, &w->attn_norm, &room);
    struct rope back = rope_of(p, i, l->head_dim);
    back.back = true;

    project(p, i, &x, &q, &index_q);
    if (l->parts & PART_FAR)
        make_rows(p, i, &w->compress, &p->kv->raw[0][i], &p->kv->raw[1][i], &p->kv->far[i]);
    if (l->parts & PART_CHOSEN)
        chosen = choose(p, i, &x, &index_q);
    attend(p, i, &att, &q, l->parts & PART_CHOSEN ? &chosen : NULL);
    op_rope_kv(p->compute,
               &(struct rope_kv){.q = &att, .pos = &p->pos, .head_dim = l->head_dim, .rope = back});
    op_matmul_experts(
        p->compute,
        &(struct matmul_experts){
            .out = &made_groups, .w = &w->attn_output_a, .x = &groups, .id = &id, .x_share = 1});
    add_product(p, &made, &w->attn_output_b, NULL, NULL);
}
