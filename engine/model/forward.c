// forward.c - the forward pass of a decoder-only transformer (Vaswani et al. 2017; Touvron et al.
// 2023; Qwen2 2024), as a straight line of operations.
//
// The rows of a batch may belong to different sequences; only attention and the KV cache know. A
// batch is computed in chunks of at most n_batch rows. In each layer the keys and values of the
// whole chunk are stored before attention reads them: a token sees exactly the rows 0 .. pos of its
// own sequence.

#include "parts.h"

#include <math.h>
#include <string.h>

enum { KEPT_ROWS = 8 };

// The first n columns of a one-row tensor of inputs.
static struct tensor columns(const struct tensor *tensor, int32_t n)
{
    struct tensor view = *tensor;
    view.n_cols = n;
    return view;
}

static const struct tensor *present(const struct tensor *tensor)
{
    return tensor->buffer ? tensor : NULL;
}

struct chunk { // views of n rows
    struct tensor x, q, att, k, v, gate, up, token, pos, row, first, count;
};

static struct chunk chunk_views(const struct activations *act, int32_t n)
{
    return (struct chunk){
        .x = tensor_rows(&act->x, 0, n),
        .q = tensor_rows(&act->q, 0, n),
        .att = tensor_rows(&act->att, 0, n),
        .k = tensor_rows(&act->k, 0, n),
        .v = tensor_rows(&act->v, 0, n),
        .gate = tensor_rows(&act->gate, 0, n),
        .up = tensor_rows(&act->up, 0, n),
        .token = columns(&act->token, n),
        .pos = columns(&act->pos, n),
        .row = columns(&act->row, n),
        .first = columns(&act->first, n),
        .count = columns(&act->count, n),
    };
}

// ---- the pass -----------------------------------------------------------------------------------

static void forward_layers(struct model *m, const struct chunk *c)
{
    struct compute *compute = m->compute;
    const struct hyper *h = &m->hyper;
    const struct rope rope = {h->rope_pairs, h->n_rot, &m->weights.rope_turns,
                              m->weights.rope_magnitude};
    const struct attention attention = {.n_head = h->n_head,
                                        .n_head_kv = h->n_head_kv,
                                        .head_dim = h->head_dim,
                                        .scale = 1.0f / sqrtf((float)h->head_dim)};

    op_embed(compute, &c->x, &m->weights.token_embd, &c->token);
    for (int32_t i = 0; i < h->n_layer; i++) {
        const struct layer *w = &m->weights.layers[i];
        const struct tensor *cache_k = &m->kv.k[i], *cache_v = &m->kv.v[i];

        const struct matmul qkv[] = {
            {&c->q, &w->attn_q, present(&w->attn_q_bias), NULL},
            {&c->k, &w->attn_k, present(&w->attn_k_bias), NULL},
            {&c->v, &w->attn_v, present(&w->attn_v_bias), NULL},
        };
        op_matmul(compute, qkv, 3, &(struct matmul_x){&c->x, &w->attn_norm, h->rms_eps});
        op_rope_kv(compute, &(struct rope_kv){&c->q, &c->k, &c->v, &c->pos, &c->row, cache_k,
                                              cache_v, h->head_dim, rope});
        op_attention(compute, &c->att, &c->q, cache_k, cache_v, &c->first, &c->count, &attention);
        op_matmul(compute,
                  &(struct matmul){&c->x, &w->attn_output, present(&w->attn_output_bias), &c->x}, 1,
                  &(struct matmul_x){.x = &c->att});

        op_matmul_glu(
            compute,
            &(struct matmul_glu){&c->gate, &w->ffn_gate, &w->ffn_up, &c->up, ACTIVATION_SILU},
            &(struct matmul_x){&c->x, &w->ffn_norm, h->rms_eps});
        op_matmul(compute, &(struct matmul){&c->x, &w->ffn_down, NULL, &c->x}, 1,
                  &(struct matmul_x){.x = &c->gate});
    }
}

// The n_top largest logits of n_out rows: [n_out][n_top], one row after another.
static struct tensor top_view(const struct tensor *tensor, int32_t n_out, int32_t n_top)
{
    struct tensor view = *tensor;
    view.n_rows = n_out;
    view.n_cols = n_top;
    view.row_bytes = (size_t)n_top * sizeof(int32_t);
    return view;
}

static void forward_output(struct model *m, const struct chunk *c, int32_t n_out, int32_t n_top)
{
    const struct activations *act = &m->act;
    struct tensor out_row = columns(&act->out_row, n_out), x = tensor_rows(&act->out_x, 0, n_out),
                  logits = tensor_rows(&act->logits, 0, n_out);
    op_rows(m->compute, &x, &c->x, &out_row);
    op_matmul(m->compute, &(struct matmul){&logits, &m->weights.output, NULL, NULL}, 1,
              &(struct matmul_x){&x, &m->weights.output_norm, m->hyper.rms_eps});
    if (n_top > 0) {
        struct tensor id = top_view(&act->top_id, n_out, n_top),
                      value = top_view(&act->top_value, n_out, n_top);
        op_top_k(m->compute, &id, &value, &logits);
    }
}

// ---- chunks -------------------------------------------------------------------------------------

// Which rows of the chunk are wanted next, from *at on: at most n_out.
static int32_t collect_wanted(const struct activations *act, const uint8_t *wanted, int32_t n,
                              int32_t *at, int32_t *rows)
{
    int32_t n_out = 0;
    for (; *at < n && n_out < act->n_out; (*at)++)
        if (wanted[*at])
            rows[n_out++] = *at;
    return n_out;
}

static void write_ints(struct model *m, const struct tensor *to, const int32_t *from, int32_t n)
{
    struct tensor view = columns(to, n);
    tensor_write(m->compute, &view, from, (size_t)n * sizeof(*from));
}

static void write_inputs(struct model *m, const struct batch *b, int32_t start, int32_t n)
{
    int32_t n_batch = m->act.n_batch, *row = m->scratch, *first = row + n_batch,
            *count = first + n_batch;
    for (int32_t t = 0; t < n; t++) {
        int32_t seq = b->seq[start + t], pos = b->pos[start + t];
        first[t] = seq * m->kv.n_ctx;
        row[t] = first[t] + pos;
        count[t] = pos + 1;
    }
    write_ints(m, &m->act.token, b->token + start, n);
    write_ints(m, &m->act.pos, b->pos + start, n);
    write_ints(m, &m->act.row, row, n);
    write_ints(m, &m->act.first, first, n);
    write_ints(m, &m->act.count, count, n);
}

// The recording of a small chunk comes again with every token that is decoded: n rows (at most
// KEPT_ROWS), n_out of them wanted, of this model. Larger ones are recorded anew.
static uint64_t recording_key(const struct model *m, int32_t n, int32_t n_out, int32_t n_top)
{
    _Static_assert(KEPT_ROWS < 16 && TOP_K_MOST < 128, "the bits below; 48 hold an address");
    if (n > KEPT_ROWS || n_out > KEPT_ROWS)
        return 0;
    return (uint64_t)(uintptr_t)m << 15 | (uint64_t)n << 11 | (uint64_t)n_out << 7 |
           (uint64_t)n_top;
}

// Appends what was computed for n_out wanted rows.
static void read_output(struct model *m, int32_t n_out, int32_t n_top, struct logits *logits)
{
    struct tensor value = tensor_rows(&m->act.logits, 0, n_out);
    size_t n = (size_t)n_out * (size_t)(n_top > 0 ? n_top : m->hyper.n_vocab);
    if (n_top > 0) {
        struct tensor id = top_view(&m->act.top_id, n_out, n_top);
        value = top_view(&m->act.top_value, n_out, n_top);
        tensor_read(m->compute, logits->token, &id, n * sizeof(*logits->token));
        logits->token += n;
    }
    tensor_read(m->compute, logits->value, &value, n * sizeof(*logits->value));
    logits->value += n;
}

// One chunk of n rows from `start`; appends its wanted logits.
static enum status forward_chunk(struct model *m, const struct batch *b, int32_t start, int32_t n,
                                 struct logits *logits, struct err *err)
{
    struct chunk c = chunk_views(&m->act, n);
    int32_t *rows = m->scratch + 3 * (size_t)m->act.n_batch, at = 0, n_top = b->n_top;
    write_inputs(m, b, start, n);
    int32_t n_out = collect_wanted(&m->act, b->wanted + start, n, &at, rows);
    write_ints(m, &m->act.out_row, rows, n_out > 0 ? n_out : 1);
    if (compute_begin(m->compute, recording_key(m, n, n_out, n_top))) {
        forward_layers(m, &c);
        if (n_out > 0)
            forward_output(m, &c, n_out, n_top);
    }
    enum status status = compute_finish(m->compute, err);
    while (status == OK && n_out > 0) {
        read_output(m, n_out, n_top, logits);
        n_out = collect_wanted(&m->act, b->wanted + start, n, &at, rows);
        if (n_out == 0)
            break;
        write_ints(m, &m->act.out_row, rows, n_out);
        if (compute_begin(m->compute, 0))
            forward_output(m, &c, n_out, n_top);
        status = compute_finish(m->compute, err);
    }
    return status;
}

// Every number in range, and no row that would read what its sequence never computed.
static enum status check_batch(struct model *m, const struct batch *b, struct err *err)
{
    int32_t most = m->hyper.n_vocab < TOP_K_MOST ? m->hyper.n_vocab : TOP_K_MOST;
    if (b->n_top < 0 || b->n_top > most)
        return err_set(err, BAD_INPUT, "the %d largest logits were asked for; at most %d", b->n_top,
                       most);
    for (int32_t t = 0; t < b->n_tokens; t++) {
        if (b->token[t] < 0 || b->token[t] >= m->hyper.n_vocab)
            return err_set(err, BAD_INPUT, "token id %d; the vocabulary has %d", b->token[t],
                           m->hyper.n_vocab);
        if (b->seq[t] < 0 || b->seq[t] >= m->kv.n_seq)
            return err_set(err, BAD_INPUT, "sequence %d of %d", b->seq[t], m->kv.n_seq);
        if (b->pos[t] < 0 || b->pos[t] >= m->kv.n_ctx)
            return err_set(err, TOO_LARGE, "position %d; a sequence holds %d tokens", b->pos[t],
                           m->kv.n_ctx);
        int32_t *n_filled = &m->kv.n_filled[b->seq[t]];
        if (b->pos[t] > *n_filled)
            return err_set(
                err, BAD_INPUT,
                "position %d of sequence %d, but only %d positions before it were computed",
                b->pos[t], b->seq[t], *n_filled);
        *n_filled = b->pos[t] + 1;
    }
    return OK;
}

enum status model_forward(struct model *model, const struct batch *batch, struct logits logits,
                          struct err *err)
{
    enum status status = check_batch(model, batch, err);
    for (int32_t start = 0; start < batch->n_tokens && status == OK; start += model->act.n_batch) {
        int32_t left = batch->n_tokens - start;
        status = forward_chunk(model, batch, start,
                               left < model->act.n_batch ? left : model->act.n_batch, &logits, err);
    }
    if (status != OK) // what is in the cache is not known any more
        memset(model->kv.n_filled, 0, (size_t)model->kv.n_seq * sizeof(*model->kv.n_filled));
    return status;
}

// ---- rehearsal ----------------------------------------------------------------------------------

static enum status rehearse_rows(struct model *m, int32_t n, bool *goes_on, struct err *err)
{
    const int32_t top = m->hyper.n_vocab < TOP_K_MOST ? m->hyper.n_vocab : TOP_K_MOST;
    struct chunk c = chunk_views(&m->act, n);
    int32_t n_out = n < m->act.n_out ? n : m->act.n_out;
    *goes_on = compute_rehearse(m->compute);
    if (!*goes_on)
        return OK;
    forward_layers(m, &c);
    forward_output(m, &c, n_out, 1);
    forward_output(m, &c, 1, top); // a prompt's end wants one row, whatever n is
    forward_output(m, &c, n_out, top);
    return compute_finish(m->compute, err);
}

enum status model_rehearse(struct model *model, struct err *err)
{
    enum status status = OK;
    bool goes_on = true;
    for (int32_t t = 0; t < model->act.n_batch; t++) // each row is the first of a sequence
        model->scratch[t] = 1;
    write_ints(model, &model->act.count, model->scratch, model->act.n_batch);
    for (int32_t n = 1; n <= model->act.n_batch && goes_on && status == OK;
         n = n < KEPT_ROWS ? n + 1 : 2 * n)
        status = rehearse_rows(model, n, &goes_on, err);
    return status;
}
