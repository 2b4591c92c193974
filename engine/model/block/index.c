// index.c - which blocks of positions a layer's attention sees (Qwen 2026, after the lightning
// indexer of DeepSeek-V3.2): each token leaves a key, the mean of a block's keys is normed and
// turned to where it begins, and a few heads of queries score it. The blocks that score most are
// seen, and what is behind the last whole one.
#include "../arch.h"

void index_block(const struct pass *p, int32_t i)
{
    const struct hyper *h = p->h;
    const struct layer *w = &p->w->layers[i];
    const struct rope_hyper *rope = &h->ropes[ROPE_MAIN];
    const struct rope turned = {rope->pairs, rope->n_rot, &p->w->ropes[ROPE_MAIN].turns,
                                p->w->ropes[ROPE_MAIN].magnitude};
    const int32_t pool = p->kv->pool[i];
    const struct tensor q = pass_view(p, &p->act->index_q, (int64_t)h->n_index_head * h->index_dim),
                        k = pass_view(p, &p->act->index_k, h->index_dim),
                        chosen = tensor_rows(&p->kv->chosen, 0, p->n);
    const struct matmul products[] = {{.out = &q, .w = &w->index_q}, {.out = &k, .w = &w->index_k}};

    op_matmul(p->compute, products, 2, &(struct matmul_x){.x = &p->x});
    op_index_keys(p->compute, &(struct index_keys){.x = &k,
                                                   .raw = &p->kv->index[i],
                                                   .keys = &p->kv->index_keys[i],
                                                   .norm = &w->index_k_norm,
                                                   .pos = &p->pos,
                                                   .row = &p->row[pool],
                                                   .rope = turned,
                                                   .block = h->index_block,
                                                   .eps = h->eps});
    op_rope_kv(p->compute, &(struct rope_kv){.q = &q,
                                             .pos = &p->pos,
                                             .head_dim = h->index_dim,
                                             .rope = turned,
                                             .q_norm = &w->index_q_norm,
                                             .eps = h->eps});
    op_index_choose(p->compute, &(struct index_choose){.chosen = &chosen,
                                                       .q = &q,
                                                       .keys = &p->kv->index_keys[i],
                                                       .pages = &p->kv->pages[pool],
                                                       .table = &p->table,
                                                       .count = &p->count,
                                                       .n_head = h->n_index_head,
                                                       .block = h->index_block,
                                                       .n_most = h->index_most});
}
