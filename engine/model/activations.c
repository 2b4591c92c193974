// activations.c - the memory of a forward pass: one tensor for each purpose, as wide as the widest
// layer needs it. A block takes views of as many rows and columns as it has. What no layer needs is
// not made.
#include "arch.h"

#include <stdlib.h>

enum { OUT_LEAST = 16 };

static const struct {
    uint16_t slot;
    uint8_t type;
    uint8_t cols; // enum dim; of none of the layers: not made
} ROWS[] = {
    {offsetof(struct activations, x), DTYPE_F32, N_EMBD},
    {offsetof(struct activations, q), DTYPE_F32, N_Q_GATED},
    {offsetof(struct activations, att), DTYPE_F32, N_ATT},
    {offsetof(struct activations, k), DTYPE_F32, N_K},
    {offsetof(struct activations, v), DTYPE_F32, N_V},
    {offsetof(struct activations, qkv), DTYPE_F32, N_QKV_ACT},
    {offsetof(struct activations, gate_up), DTYPE_F32, N_FF_2_ACT},
    {offsetof(struct activations, gate), DTYPE_F32, N_FF_ACT},
    {offsetof(struct activations, up), DTYPE_F32, N_FF_ACT},
    {offsetof(struct activations, added), DTYPE_F32, N_EMBD},
    {offsetof(struct activations, attn_gate), DTYPE_F32, N_GATE_ACT},
    {offsetof(struct activations, lora_q), DTYPE_F32, N_LORA_Q},
    {offsetof(struct activations, q_mla), DTYPE_F32, N_Q_MLA},
    {offsetof(struct activations, att_mla), DTYPE_F32, N_V_MLA},
    {offsetof(struct activations, nope), DTYPE_F32, N_NOPE_ACT},
    {offsetof(struct activations, absorbed), DTYPE_F32, N_ABSORBED_ACT},
    {offsetof(struct activations, kv), DTYPE_F32, N_KV_MLA},
    {offsetof(struct activations, head_id), DTYPE_I32, N_HEAD_ACT},
    {offsetof(struct activations, per_layer), DTYPE_F32, N_EMBD_LAYERS},
    {offsetof(struct activations, per_layer_x), DTYPE_F32, N_EMBD_LAYERS},
    {offsetof(struct activations, layer_x), DTYPE_F32, N_EMBD_LAYER},
    {offsetof(struct activations, recurrent_in), DTYPE_F32, N_RECURRENT_ACT},
    {offsetof(struct activations, conv), DTYPE_F32, N_RECURRENT_ACT},
    {offsetof(struct activations, z), DTYPE_F32, D_INNER},
    {offsetof(struct activations, mixed), DTYPE_F32, D_INNER},
    {offsetof(struct activations, beta), DTYPE_F32, N_BETA_ACT},
    {offsetof(struct activations, alpha), DTYPE_F32, N_BETA_ACT},
    {offsetof(struct activations, added2), DTYPE_F32, N_ADDED2_ACT},
    {offsetof(struct activations, router), DTYPE_F32, N_EXPERT},
    {offsetof(struct activations, expert_id), DTYPE_I32, N_USED},
    {offsetof(struct activations, expert_weight), DTYPE_F32, N_USED},
    {offsetof(struct activations, expert_gate), DTYPE_F32, N_USED_FF_EXP},
    {offsetof(struct activations, expert_up), DTYPE_F32, N_USED_FF_EXP},
    {offsetof(struct activations, expert_out), DTYPE_F32, N_USED_EMBD},
    {offsetof(struct activations, shared_gate), DTYPE_F32, ONE},
    {offsetof(struct activations, pair), DTYPE_F32, N_PAIR_ACT},
    {offsetof(struct activations, streams), DTYPE_F32, N_STREAMS},
    {offsetof(struct activations, streams_normed), DTYPE_F32, N_STREAMS},
    {offsetof(struct activations, streams_mix), DTYPE_F32, N_STREAMS_MIX},
    {offsetof(struct activations, streams_weight), DTYPE_F32, N_STREAMS_WEIGHT},
    {offsetof(struct activations, compress_x), DTYPE_F32, N_COMPRESS_ACT},
    {offsetof(struct activations, compress_score), DTYPE_F32, N_COMPRESS_ACT},
    {offsetof(struct activations, pooled), DTYPE_F32, N_POOLED_ACT},
    {offsetof(struct activations, index_weight), DTYPE_F32, N_INDEX_HEAD},
    {offsetof(struct activations, group_out), DTYPE_F32, N_LORA_OUT},
    {offsetof(struct activations, streams_gate), DTYPE_F32, N_STREAMS_GATED},
    {offsetof(struct activations, streams_added), DTYPE_F32, N_STREAMS_GATED},
    {offsetof(struct activations, stream_low), DTYPE_F32, STREAM_LOW},
    {offsetof(struct activations, stream_weight), DTYPE_F32, N_STREAM},
    {offsetof(struct activations, index_q), DTYPE_F32, N_INDEX_Q_ACT},
    {offsetof(struct activations, index_k), DTYPE_F32, INDEX_DIM_ACT},
    {offsetof(struct activations, ngram), DTYPE_F32, N_NGRAM_ACT},
};

static struct tensor *slot_of(struct activations *act, size_t i)
{
    return (struct tensor *)(void *)((char *)act + ROWS[i].slot);
}

static void number_heads(const struct activations *act, struct compute *compute)
{
    const int64_t n = act->head_id.n_rows * act->head_id.n_cols;
    int32_t *ids = mem_array((size_t)n, sizeof(*ids));
    for (int64_t i = 0; i < n; i++)
        ids[i] = (int32_t)(i % act->head_id.n_cols);
    tensor_write(compute, &act->head_id, ids, (size_t)n * sizeof(*ids));
    free(ids);
}

// A row of logits for every sequence at once, so that the output matrix is read once a pass.
static int32_t n_out_of(const struct model_options *options)
{
    int32_t n = options->n_seq < OUT_LEAST ? OUT_LEAST : options->n_seq;
    return options->n_batch < n ? options->n_batch : n;
}

// Who sees all of a text writes none.
static uint64_t n_logits(const struct hyper *h)
{
    return h->sees_all ? 0 : (uint64_t)h->n_vocab;
}

uint64_t activations_bytes(const struct hyper *h, const struct model_options *options)
{
    const uint64_t n_batch = (uint64_t)options->n_batch, n_out = (uint64_t)n_out_of(options);
    uint64_t n = (6 + PLAN_POOLS_MOST) * n_batch +
                 n_out * (2 + 2 * TOP_K_MOST + (uint64_t)h->n_embd + n_logits(h) +
                          (uint64_t)(h->n_dense_2 + h->n_cls + h->n_cls_out));
    if (h->n_draft > 0)
        n += n_batch * (2 * (uint64_t)h->n_embd + 1);
    for (size_t i = 0; i < COUNT_OF(ROWS); i++)
        n += n_batch * (uint64_t)hyper_most(h, ROWS[i].cols);
    return n * sizeof(float);
}

enum status activations_open(struct activations *act, struct compute *compute,
                             const struct hyper *h, const struct model_options *options,
                             struct err *err)
{
    const int32_t n_batch = options->n_batch;
    const bool embeds = h->pooling != POOLING_NONE;
    const int64_t head = h->n_dense_2 > 0 ? h->n_dense_2 : h->n_cls,
                  after = h->n_dense_2 > 0 ? h->n_embd : h->n_cls_out;
    act->n_batch = n_batch;
    act->n_out = n_out_of(options);
    const struct {
        struct tensor *tensor;
        enum dtype type;
        int64_t n_rows, n_cols;
    } others[] = {
        {&act->token, DTYPE_I32, 1, n_batch},
        {&act->pos, DTYPE_I32, 1, n_batch},
        {&act->table, DTYPE_I32, 1, n_batch},
        {&act->count, DTYPE_I32, 1, n_batch},
        {&act->slot_in, DTYPE_I32, 1, n_batch},
        {&act->slot_out, DTYPE_I32, 1, n_batch},
        {&act->out_row, DTYPE_I32, 1, act->n_out},
        {&act->out_x, DTYPE_F32, act->n_out, h->n_embd},
        {&act->logits, DTYPE_F32, act->n_out, (int64_t)n_logits(h)},
        {&act->top_id, DTYPE_I32, 1, (int64_t)act->n_out * TOP_K_MOST},
        {&act->top_value, DTYPE_F32, 1, (int64_t)act->n_out * TOP_K_MOST},
        {&act->top_total, DTYPE_F32, act->n_out, 1},
        {&act->type, DTYPE_I32, 1, h->n_token_types > 0 ? n_batch : 0},
        {&act->near, DTYPE_I32, 1, h->sees_all ? n_batch : 0},
        {&act->cls, DTYPE_F32, act->n_out, embeds ? head : 0},
        {&act->cls_out, DTYPE_F32, act->n_out, embeds ? after : 0},
        {&act->hidden, DTYPE_F32, 2 * (int64_t)n_batch, h->n_draft > 0 ? h->n_embd : 0},
        {&act->hidden_row, DTYPE_I32, 1, h->n_draft > 0 ? n_batch : 0},
    };
    enum status status = OK;
    for (size_t i = 0; i < COUNT_OF(ROWS) && status == OK; i++) {
        int64_t n_cols = hyper_most(h, ROWS[i].cols);
        if (n_cols > 0)
            status = compute_tensor(compute, slot_of(act, i), ROWS[i].type, n_batch, n_cols, err);
    }
    if (status == OK && act->head_id.buffer)
        number_heads(act, compute);
    for (size_t i = 0; i < COUNT_OF(others) && status == OK; i++)
        if (others[i].n_cols > 0)
            status = compute_tensor(compute, others[i].tensor, others[i].type, others[i].n_rows,
                                    others[i].n_cols, err);
    return status;
}

void activations_close(struct activations *act, struct compute *compute)
{
    struct tensor *others[] = {&act->slot_in, &act->slot_out,  &act->token,     &act->pos,
                               &act->table,   &act->count,     &act->out_row,   &act->out_x,
                               &act->logits,  &act->top_id,    &act->top_value, &act->top_total,
                               &act->type,    &act->cls,       &act->cls_out,   &act->near,
                               &act->hidden,  &act->hidden_row};
    for (size_t i = 0; i < COUNT_OF(ROWS); i++)
        if (slot_of(act, i)->buffer)
            tensor_free(compute, slot_of(act, i));
    for (size_t i = 0; i < COUNT_OF(others); i++)
        if (others[i]->buffer)
            tensor_free(compute, others[i]);
}
