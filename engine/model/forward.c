// forward.c - a batch becomes passes: chunks of at most n_batch rows, their inputs, the straight
// line of the architecture (arch/), and from its last state the logits that are wanted.
//
// The rows of a batch may belong to different sequences; only attention and the KV cache know.

#include "arch.h"

#include <stdlib.h>

enum {
    KEPT_ROWS = 64, // the most rows of a recording that is kept
};

// The first n columns of a one-row tensor of inputs.
static struct tensor columns(const struct tensor *tensor, int32_t n)
{
    struct tensor view = *tensor;
    view.n_cols = n;
    return view;
}

struct tensor pass_view(const struct pass *p, const struct tensor *activation, int64_t n_cols)
{
    if (!activation->buffer) // no layer needs it
        return *activation;
    struct tensor view = tensor_rows(activation, 0, p->n);
    view.n_cols = n_cols;
    view.row_bytes = (size_t)n_cols * sizeof(float);
    return view;
}

struct tensor pieces_view(const struct tensor *rows, int64_t piece)
{
    struct tensor view = *rows;
    view.n_rows = rows->n_rows * (rows->n_cols / piece);
    view.n_cols = piece;
    view.row_bytes = (size_t)piece * sizeof(float);
    return view;
}

const struct tensor *present(const struct tensor *tensor)
{
    return tensor->buffer ? tensor : NULL;
}

struct pass pass_of(const struct model *m, int32_t n)
{
    const struct activations *act = &m->act;
    struct pass p = {
        .compute = m->compute,
        .h = &m->hyper,
        .w = &m->weights,
        .kv = &m->kv,
        .act = act,
        .n = n,
        .x = tensor_rows(&act->x, 0, n),
        .token = columns(&act->token, n),
        .pos = columns(&act->pos, n),
        .table = columns(&act->table, n),
        .count = columns(&act->count, n),
        .slot_in = columns(&act->slot_in, n),
        .slot_out = columns(&act->slot_out, n),
        .type = columns(&act->type, n), // unused without types, and so on
        .near = columns(&act->near, n),
        .hidden_row = columns(&act->hidden_row, n),
    };
    if (act->hidden.buffer)
        p.hidden = tensor_rows(&act->hidden, 0, n);
    for (int32_t k = 0; k < m->kv.shape.n_pools; k++)
        p.row[k] = columns(&m->kv.row[k], n);
    return p;
}

// ---- the pass -----------------------------------------------------------------------------------

void norm_rows(const struct pass *p, const struct tensor *out, const struct tensor *x,
               const struct tensor *norm)
{
    if (p->h->arch->layer_norm)
        op_layer_norm(p->compute, out, x, norm, NULL, p->h->eps);
    else
        op_rms_norm(p->compute, out, x, norm, p->h->eps);
}

struct matmul_x normed_x(const struct pass *p, const struct tensor *norm, struct tensor *room)
{
    if (!norm->buffer || !p->h->arch->layer_norm) // on the way
        return (struct matmul_x){&p->x, present(norm), p->h->eps};
    *room = pass_view(p, &p->act->added, p->h->n_embd);
    norm_rows(p, room, &p->x, norm);
    return (struct matmul_x){.x = room};
}

void embed_block(const struct pass *p)
{
    op_embed(p->compute, &p->x, &p->w->token_embd, &p->token, p->h->embed_scale);
}

void add_product(const struct pass *p, const struct tensor *y, const struct tensor *w,
                 const struct tensor *bias, const struct tensor *norm)
{
    const struct hyper *h = p->h;
    const struct matmul_x in = {.x = y};
    if (h->n_stream > 0) { // they are added to later
        struct tensor added = pass_view(p, &p->act->added, h->n_embd);
        op_matmul(p->compute, &(struct matmul){.out = &added, .w = w, .bias = bias}, 1, &in);
        return;
    }
    if (!norm) {
        op_matmul(
            p->compute,
            &(struct matmul){
                .out = &p->x, .w = w, .bias = bias, .residual = &p->x, .scale = h->residual_scale},
            1, &in);
        return;
    }
    struct tensor added = pass_view(p, &p->act->added, h->n_embd);
    op_matmul(p->compute, &(struct matmul){.out = &added, .w = w, .bias = bias}, 1, &in);
    op_norm_add(p->compute, &(struct norm_add){.out = &p->x,
                                               .x = &added,
                                               .weight = norm,
                                               .residual = &p->x,
                                               .eps = h->post_eps,
                                               .scale = h->residual_scale});
}

void decoder_layer(const struct pass *p, int32_t i)
{
    const uint32_t parts = p->h->layers[i].parts;
    if (parts & PART_ATTENTION)
        attention_block(p, i);
    else if (parts & PART_DELTA)
        delta_block(p, i);
    else if (parts & PART_MAMBA)
        mamba_block(p, i);
    else if (parts & PART_CONV)
        conv_block(p, i);
    if (parts & PART_EXPERTS)
        experts_block(p, i);
    else if (parts & PART_DENSE)
        ffn_block(p, i);
}

void decoder_forward(const struct pass *p)
{
    embed_block(p);
    for (int32_t i = 0; i < p->h->n_layer; i++)
        decoder_layer(p, i);
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

void forward_rows(const struct pass *p, int32_t n_out)
{
    struct tensor out_row = columns(&p->act->out_row, n_out),
                  x = tensor_rows(&p->act->out_x, 0, n_out);
    op_rows(p->compute, &x, &p->x, &out_row);
    if (p->w->output_norm.buffer)
        norm_rows(p, &x, &x, &p->w->output_norm);
}

// All but the logits: the trunk, or the layer behind it.
static void forward_states(const struct pass *p)
{
    if (p->drafts)
        draft_forward(p);
    else
        p->h->arch->forward(p);
    if (p->hidden.buffer)
        norm_rows(p, &p->hidden, &p->x, draft_norm(p));
}

static void forward_output(const struct pass *p, int32_t n_out, int32_t n_top)
{
    const struct activations *act = p->act;
    struct tensor out_row = columns(&act->out_row, n_out), x = tensor_rows(&act->out_x, 0, n_out),
                  logits = tensor_rows(&act->logits, 0, n_out);
    op_rows(p->compute, &x, &p->x, &out_row);
    op_matmul(p->compute,
              &(struct matmul){.out = &logits, .w = draft_output(p), .scale = p->h->logit_scale}, 1,
              &(struct matmul_x){&x, present(draft_norm(p)), p->h->eps});
    if (p->h->final_softcap > 0)
        op_softcap(p->compute, &logits, &logits, p->h->final_softcap);
    if (n_top > 0) {
        struct tensor id = top_view(&act->top_id, n_out, n_top),
                      value = top_view(&act->top_value, n_out, n_top);
        struct tensor total = tensor_rows(&act->top_total, 0, n_out);
        op_top_k(p->compute, &id, &value, &total, &logits);
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

// The one window of a model that sees both ways: half of it before a token, half behind.
static int32_t reach_behind(const struct hyper *h)
{
    for (int32_t i = 0; i < h->n_layer; i++)
        if (h->layers[i].window > 0)
            return h->layers[i].window / 2;
    return h->n_ctx;
}

// Where tokens see all of their text each sees as many rows as its last token, or as many as its
// window reaches behind it.
static void see_all(struct model *m, const struct batch *b, int32_t start, int32_t n,
                    int32_t *count, int32_t *near)
{
    const int32_t behind = reach_behind(&m->hyper);
    for (int32_t t = n - 1; t >= 0; t--) {
        const int32_t end = b->pos[start + t] + behind + 1;
        if (t + 1 < n && b->seq[start + t] == b->seq[start + t + 1])
            count[t] = count[t + 1];
        near[t] = end < count[t] ? end : count[t];
    }
    write_ints(m, &m->act.near, near, n);
}

enum status forward_inputs(struct model *m, const struct batch *b, int32_t start, int32_t n,
                           bool drafts, struct err *err)
{
    const size_t n_batch = (size_t)m->act.n_batch;
    int32_t *count = m->scratch;
    struct kv_inputs kv = {count + n_batch, count + 2 * n_batch, count + 3 * n_batch};
    enum status status = drafts ? kv_draft(&m->kv, m->compute, b, kv.row, err)
                                : kv_enter(&m->kv, m->compute, b, start, n, &kv, err);
    if (status != OK)
        return status;
    for (int32_t t = 0; t < n; t++)
        count[t] = b->pos[start + t] + 1;
    if (m->weights.ngram_table && !drafts)
        ngram_inputs(m, b, start, n);
    if (m->hyper.sees_all)
        see_all(m, b, start, n, count, count + 4 * n_batch);
    write_ints(m, &m->act.token, b->token + start, n);
    write_ints(m, &m->act.pos, b->pos + start, n);
    write_ints(m, &m->act.table, b->seq + start, n);
    write_ints(m, &m->act.count, count, n);
    if (m->kv.shape.n_slots > 0 && !drafts) {
        write_ints(m, &m->act.slot_in, kv.slot_in, n);
        write_ints(m, &m->act.slot_out, kv.slot_out, n);
    }
    return OK;
}

// Whether each of n rows is another sequence's: none of them is a prompt.
static bool only_decodes(const int32_t *seq, int32_t n)
{
    for (int32_t t = 1; t < n; t++)
        for (int32_t earlier = 0; earlier < t; earlier++)
            if (seq[earlier] == seq[t])
                return false;
    return true;
}

// What attention makes of the largest of n positions, as a power of two.
static uint32_t reach_of(const int32_t *pos, int32_t n)
{
    int32_t most = 0;
    uint32_t reach = 0;
    for (int32_t t = 0; t < n; t++)
        most = pos[t] > most ? pos[t] : most;
    for (int64_t rows = attention_rows((int64_t)most + 1); rows > 1; rows /= 2)
        reach++;
    return reach;
}

// The recording of a small chunk comes again with every token that is decoded: n rows from `start`,
// n_out of them wanted, of this model. A few rows are all alike; of up to KEPT_ROWS those are that
// only decode and reach about as far back. Others are recorded anew, and chunks whose states are
// kept behind those of chunks before.
static uint64_t recording_key(const struct model *m, const struct batch *b, int32_t start,
                              int32_t n, int32_t n_out, bool drafts)
{
    _Static_assert(KEPT_ROWS < 128 && TOP_K_MOST < 128, "the bits below");
    uint32_t reach = 0;
    if (start > 0 && m->hyper.n_draft > 0)
        return 0;
    if (n > FEW_ROWS) {
        if (n > KEPT_ROWS || !only_decodes(b->seq + start, n))
            return 0;
        reach = reach_of(b->pos + start, n);
    }
    return (uint64_t)m->number << 32 | (uint64_t)drafts << 28 | (uint64_t)n << 21 |
           (uint64_t)n_out << 14 | (uint64_t)b->n_top << 7 | reach;
}

// Appends what was computed for n_out wanted rows.
static enum status read_output(struct model *m, int32_t n_out, int32_t n_top, struct logits *logits,
                               struct err *err)
{
    struct tensor value = tensor_rows(&m->act.logits, 0, n_out);
    size_t n = (size_t)n_out * (size_t)(n_top > 0 ? n_top : m->hyper.n_vocab);
    if (n_top > 0) {
        struct tensor id = top_view(&m->act.top_id, n_out, n_top);
        value = top_view(&m->act.top_value, n_out, n_top);
        tensor_read(m->compute, logits->token, &id, n * sizeof(*logits->token));
        logits->token += n;
    }
    if (n_top > 0 && logits->total) {
        struct tensor total = tensor_rows(&m->act.top_total, 0, n_out);
        tensor_read(m->compute, logits->total, &total, (size_t)n_out * sizeof(*logits->total));
        logits->total += n_out;
    }
    tensor_read(m->compute, logits->value, &value, n * sizeof(*logits->value));
    logits->value += n;
    return compute_check(m->compute, err);
}

enum status forward_chunk(struct model *m, const struct batch *b, int32_t start, int32_t n,
                          bool drafts, struct logits *logits, struct err *err)
{
    struct pass p = pass_of(m, n);
    p.drafts = drafts;
    if (p.hidden.buffer && b->n_tokens <= m->act.n_batch)
        p.hidden = tensor_rows(&m->act.hidden, start, n);
    int32_t *rows = m->scratch + 4 * (size_t)m->act.n_batch, at = 0, n_top = b->n_top;
    enum status status = forward_inputs(m, b, start, n, drafts, err);
    if (status != OK)
        return status;
    int32_t n_out = collect_wanted(&m->act, b->wanted + start, n, &at, rows);
    write_ints(m, &m->act.out_row, rows, n_out > 0 ? n_out : 1);
    if (compute_begin(m->compute, recording_key(m, b, start, n, n_out, drafts))) {
        forward_states(&p);
        if (n_out > 0)
            forward_output(&p, n_out, n_top);
    }
    status = compute_finish(m->compute, err);
    while (status == OK && n_out > 0) {
        status = read_output(m, n_out, n_top, logits, err);
        n_out = collect_wanted(&m->act, b->wanted + start, n, &at, rows);
        if (status != OK || n_out == 0)
            break;
        write_ints(m, &m->act.out_row, rows, n_out);
        if (compute_begin(m->compute, 0))
            forward_output(&p, n_out, n_top);
        status = compute_finish(m->compute, err);
    }
    return status;
}

// A row at pos of a sequence that will hold n positions then; is_old: as its memory does now.
static enum status check_position(const struct model *m, int32_t seq, int32_t pos, int32_t n,
                                  bool is_old, struct err *err)
{
    if (pos > n)
        return err_set(err, BAD_INPUT,
                       "position %d of sequence %d, but only %d positions before it were computed",
                       pos, seq, n);
    const int32_t stands = is_old ? past_keeps(m->kv.past, seq, pos) : pos;
    if (stands != pos)
        return err_set(err, BAD_INPUT,
                       "position %d of sequence %d, which has %d and cannot go back but to %d", pos,
                       seq, n, stands);
    return OK;
}

// end: behind the sequence's row before in this batch; 0: it is the first.
static enum status check_drafted(const struct model *m, int32_t seq, int32_t pos, int32_t end,
                                 struct err *err)
{
    const int32_t n = end > 0 ? end : past_drafted(m->kv.past, seq);
    if (pos > n || (end > 0 && pos != end))
        return err_set(err, BAD_INPUT,
                       "position %d of sequence %d is to be drafted behind %d that are", pos, seq,
                       n);
    return OK;
}

// Every number in range, and no row that would read what its sequence never computed.
enum status forward_check(struct model *m, const struct batch *b, bool drafts, struct err *err)
{
    const int32_t most = m->hyper.n_vocab < TOP_K_MOST ? m->hyper.n_vocab : TOP_K_MOST,
                  n_seq = m->kv.shape.n_seq, n_ctx = m->kv.shape.n_ctx;
    if (b->n_top < 0 || b->n_top > most)
        return err_set(err, BAD_INPUT, "the %d largest logits were asked for; at most %d", b->n_top,
                       most);
    int32_t *end = mem_array((size_t)n_seq, sizeof(*end)); // behind the last row; 0: none yet
    enum status status = OK;
    for (int32_t t = 0; t < b->n_tokens && status == OK; t++) {
        const int32_t seq = b->seq[t], pos = b->pos[t];
        if (b->token[t] < 0 || b->token[t] >= m->hyper.n_vocab) {
            status = err_set(err, BAD_INPUT, "token id %d; the vocabulary has %d", b->token[t],
                             m->hyper.n_vocab);
        } else if (seq < 0 || seq >= n_seq) {
            status = err_set(err, BAD_INPUT, "sequence %d of %d", seq, n_seq);
        } else if (pos < 0 || pos >= n_ctx) {
            status = err_set(err, TOO_LARGE, "position %d; a sequence holds %d tokens", pos, n_ctx);
        } else {
            const bool is_old = end[seq] == 0;
            status =
                drafts ? check_drafted(m, seq, pos, end[seq], err)
                       : check_position(m, seq, pos, is_old ? past_held(m->kv.past, seq) : end[seq],
                                        is_old, err);
            end[seq] = pos + 1;
        }
    }
    free(end);
    return status;
}

// Rows from `start` that make one pass: at most n_batch, those of a sequence one behind the other,
// and with recurrent layers no sequence in two places.
static int32_t chunk_rows(const struct model *m, const struct batch *b, int32_t start)
{
    const int32_t left = b->n_tokens - start, most = left < m->act.n_batch ? left : m->act.n_batch;
    for (int32_t n = 1; n < most; n++) {
        int32_t before = n - 1; // of the same sequence
        while (before >= 0 && b->seq[start + before] != b->seq[start + n])
            before--;
        if (before >= 0 && (b->pos[start + n] != b->pos[start + before] + 1 ||
                            (before < n - 1 && hyper_recurrent(&m->hyper))))
            return n;
    }
    return most;
}

enum status forward_file(const struct model *model, struct err *err)
{
    if (!gguf_lost(model->gguf))
        return OK;
    return err_set(err, IO_ERROR,
                   "the file of the model %s can no longer be read: it was cut short, or its disk "
                   "was pulled",
                   model->info.id);
}

enum status model_forward(struct model *model, const struct batch *batch, struct logits logits,
                          struct err *err)
{
    if (model->hyper.sees_all)
        return err_set(err, UNSUPPORTED, "the architecture '%s' has no logits: it embeds texts",
                       model->hyper.arch->name);
    enum status status = forward_check(model, batch, false, err);
    model->n_hidden = 0;
    for (int32_t start = 0, n; start < batch->n_tokens && status == OK; start += n) {
        n = chunk_rows(model, batch, start);
        status = forward_chunk(model, batch, start, n, false, &logits, err);
    }
    if (status == OK)
        status = forward_file(model, err);
    if (status != OK)
        forward_forget(model);
    else if (model->hyper.n_draft > 0 && batch->n_tokens <= model->act.n_batch)
        model->n_hidden = batch->n_tokens;
    return status;
}

void forward_forget(struct model *model)
{
    past_clear(model->kv.past);
}

// All rows of a chunk are there, unless they were too many to be computed together; recurrent
// layers may make several chunks of a batch.
bool model_keeps_logits(const struct model *model, int32_t n_wanted)
{
    return n_wanted <= model->act.n_out && !hyper_recurrent(&model->hyper);
}

enum status model_read_logits(struct model *model, int32_t wanted, float *out, struct err *err)
{
    struct tensor row = tensor_rows(&model->act.logits, wanted, 1);
    tensor_read(model->compute, out, &row, (size_t)model->hyper.n_vocab * sizeof(*out));
    return compute_check(model->compute, err);
}

// ---- rehearsal ----------------------------------------------------------------------------------

static enum status rehearse_rows(struct model *m, int32_t n, struct err *err)
{
    const int32_t top = m->hyper.n_vocab < TOP_K_MOST ? m->hyper.n_vocab : TOP_K_MOST;
    struct pass p = pass_of(m, n);
    int32_t n_out = n < m->act.n_out ? n : m->act.n_out;
    if (!compute_rehearse(m->compute)) {
        m->rehearsed = m->act.n_batch;
        return OK;
    }
    forward_states(&p);
    if (m->hyper.pooling != POOLING_NONE) {
        embed_rehearse(&p);
        return compute_finish(m->compute, err);
    }
    forward_output(&p, n_out, 1);
    forward_output(&p, 1, top); // a prompt's end wants one row, whatever n is
    forward_output(&p, n_out, top);
    p.drafts = m->hyper.n_draft > 0;
    if (p.drafts) {
        forward_states(&p);
        forward_output(&p, n_out, top);
    }
    return compute_finish(m->compute, err);
}

enum status forward_rehearse(struct model *model, struct err *err)
{
    int32_t n = model->rehearsed < FEW_ROWS ? model->rehearsed + 1 : 2 * model->rehearsed;
    if (n > model->act.n_batch)
        return OK;
    if (n == 1) { // each row is the first of a sequence
        for (int32_t t = 0; t < model->act.n_batch; t++)
            model->scratch[t] = 1;
        write_ints(model, &model->act.count, model->scratch, model->act.n_batch);
        if (model->hyper.sees_all)
            write_ints(model, &model->act.near, model->scratch, model->act.n_batch);
    }
    model->rehearsed = n;
    enum status status = rehearse_rows(model, n, err);
    return status == OK && model->rehearsed < model->act.n_batch ? AGAIN : status;
}
