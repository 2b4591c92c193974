// mla.c - multi-head latent attention (DeepSeek-V2 2024), absorbed: what is kept of a token is one
// row [c | k_pe], a compressed vector and the rotated part that all heads share. A head's query is
// taken into the space of c by attn_k_b, attention runs with that row as the key of all heads and c
// as their value, and attn_v_b takes the result back to the head's values.
//
// The products of each head by a matrix of its own are those of experts, with the head's number in
// the place of the expert's.
#include "../arch.h"

static void copy(const struct pass *p, const struct tensor *to, const struct tensor *from)
{
    op_add(p->compute, to, 1, from, 0, NULL);
}

static struct tensor by_heads(const struct pass *p, const struct tensor *x, int64_t n_head,
                              int64_t width, int64_t column, int64_t n_cols)
{
    struct tensor all = pass_view(p, x, n_head * width), each = pieces_view(&all, width);
    return tensor_columns(&each, column, n_cols);
}

static void project_q(const struct pass *p, const struct layer *w, const struct tensor *q)
{
    const struct matmul_x x = {&p->x, &w->attn_norm, p->h->eps};
    if (!w->attn_q_a.buffer) {
        op_matmul(p->compute, &(struct matmul){.out = q, .w = &w->attn_q}, 1, &x);
        return;
    }
    struct tensor low = pass_view(p, &p->act->lora_q, p->h->n_lora_q);
    op_matmul(p->compute, &(struct matmul){.out = &low, .w = &w->attn_q_a}, 1, &x);
    op_matmul(p->compute, &(struct matmul){.out = q, .w = &w->attn_q_b}, 1,
              &(struct matmul_x){&low, &w->attn_q_a_norm, p->h->eps});
}

// q of each head: [q_nope | q_pe], becomes [attn_k_b q_nope | q_pe]
static struct tensor absorb(const struct pass *p, const struct layer *w, int32_t n_head,
                            const struct tensor *id)
{
    const struct hyper *h = p->h;
    const struct activations *act = p->act;
    const int64_t n_rot = h->ropes[ROPE_MAIN].n_rot, n_nope = h->head_dim_mla - n_rot,
                  wide = h->n_lora_kv + n_rot;
    struct tensor nope = by_heads(p, &act->nope, n_head, n_nope, 0, n_nope),
                  c = by_heads(p, &act->absorbed, n_head, h->n_lora_kv, 0, h->n_lora_kv),
                  from_nope = by_heads(p, &act->q_mla, n_head, h->head_dim_mla, 0, n_nope),
                  from_pe = by_heads(p, &act->q_mla, n_head, h->head_dim_mla, n_nope, n_rot),
                  to_c = by_heads(p, &act->q, n_head, wide, 0, h->n_lora_kv),
                  to_pe = by_heads(p, &act->q, n_head, wide, h->n_lora_kv, n_rot);
    copy(p, &nope, &from_nope);
    op_matmul_experts(
        p->compute,
        &(struct matmul_experts){.out = &c, .w = &w->attn_k_b, .x = &nope, .id = id, .x_share = 1});
    copy(p, &to_c, &c);
    copy(p, &to_pe, &from_pe);
    return pass_view(p, &act->q, n_head * wide);
}

void mla_block(const struct pass *p, int32_t i)
{
    const struct hyper *h = p->h;
    const struct layer *w = &p->w->layers[i];
    const struct rope_hyper *rope = &h->ropes[ROPE_MAIN];
    const int32_t n_head = h->layers[i].n_head, wide = h->n_lora_kv + rope->n_rot;
    struct tensor q = pass_view(p, &p->act->q_mla, (int64_t)n_head * h->head_dim_mla),
                  kv = pass_view(p, &p->act->kv, wide), c = tensor_columns(&kv, 0, h->n_lora_kv),
                  id = pass_view(p, &p->act->head_id, n_head),
                  latent = pass_view(p, &p->act->absorbed, (int64_t)n_head * h->n_lora_kv),
                  latent_heads = pieces_view(&latent, h->n_lora_kv),
                  att = pass_view(p, &p->act->att_mla, (int64_t)n_head * h->head_dim_v_mla),
                  att_heads = pieces_view(&att, h->head_dim_v_mla);

    project_q(p, w, &q);
    op_matmul(p->compute, &(struct matmul){.out = &kv, .w = &w->attn_kv_a_mqa}, 1,
              &(struct matmul_x){&p->x, &w->attn_norm, h->eps});
    op_rms_norm(p->compute, &c, &c, &w->attn_kv_a_norm, h->eps);
    q = absorb(p, w, n_head, &id);
    op_rope_kv(p->compute, &(struct rope_kv){.q = &q,
                                             .k = &kv,
                                             .pos = &p->pos,
                                             .row = &p->row[p->kv->pool[i]],
                                             .cache_k = &p->kv->k[i],
                                             .head_dim = wide,
                                             .temperature = h->temperature,
                                             .temperature_length = h->temperature_length,
                                             .rope = {.pairs = rope->pairs,
                                                      .n_rot = rope->n_rot,
                                                      .turns = &p->w->ropes[ROPE_MAIN].turns,
                                                      .magnitude = p->w->ropes[ROPE_MAIN].magnitude,
                                                      .first = h->n_lora_kv}});
    op_attention(p->compute, &latent, &q, &p->kv->k[i], NULL, &p->kv->pages[p->kv->pool[i]],
                 &p->table, &p->count,
                 &(struct attention){.n_head = n_head,
                                     .n_head_kv = 1,
                                     .head_dim = wide,
                                     .head_dim_v = h->n_lora_kv,
                                     .scale = h->attention_scale});
    op_matmul_experts(
        p->compute,
        &(struct matmul_experts){
            .out = &att_heads, .w = &w->attn_v_b, .x = &latent_heads, .id = &id, .x_share = 1});
    add_product(p, &att, &w->attn_output, NULL, NULL);
}
