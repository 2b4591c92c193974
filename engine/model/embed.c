// embed.c - texts become vectors: the last states of a text's tokens, pooled as its file says, then
// what the file has behind that: a classification head, which makes scores, or two dense layers.
//
// The states come from the same pass that logits come from; here is only what follows it. A text
// may come in several passes where its tokens do not see what follows them: what is known of its
// vector waits in model->pooled, by its sequence. Means are taken by the host, in double: exact,
// and small beside the pass.
//
// What one would get wrong: the vector is not of length 1, whose caller asks for that.
#include "arch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- what the file says -------------------------------------------------------------------------

void embed_read(struct reader *r, struct hyper *h)
{
    const struct gguf_value *labels = gguf_find(r->gguf, reader_key(r, "classifier.output_labels"));
    h->sees_all = !reader_bool(r, "attention.causal", !r->arch->both_ways);
    h->pooling = (enum pooling)reader_int(r, "pooling_type", 0, POOLING_RANK, POOLING_NONE);
    h->n_cls = h->n_embd;
    h->cls_activation = ACTIVATION_TANH;
    h->n_cls_out =
        labels && labels->type == GGUF_ARRAY && labels->n_items > 0 && labels->n_items < MAX_EMBD
            ? (int32_t)labels->n_items
            : 1;
    // A text is one pass, so that nothing of it is kept for a later one: a layer writes over what
    // an earlier one of its shape kept.
    for (int32_t i = 0; i < h->n_layer && h->sees_all && r->status == OK; i++)
        for (int32_t k = i; k >= 0; k--)
            if (h->layers[k].n_head_kv == h->layers[i].n_head_kv)
                h->layers[i].kv_layer = k;
}

// Whether the file has the tensor of this slot; before anything is loaded too.
static bool has(const struct weights *w, const struct tensor *slot)
{
    for (size_t i = 0; i < w->n_placements; i++)
        if (w->placements[i].slot == slot)
            return true;
    return false;
}

enum status embed_check(const struct hyper *h, const struct weights *w, struct err *err)
{
    if (h->sees_all && h->pooling == POOLING_NONE)
        return err_set(err, BAD_INPUT,
                       "key '%s.pooling_type' is missing or 0; a model whose tokens see what "
                       "follows them gives a vector for each text, and its file must say how: 1 "
                       "mean, 2 first, 3 last, 4 rank",
                       h->arch->name);
    if (h->sees_all && hyper_recurrent(h))
        return err_set(err, UNSUPPORTED,
                       "key '%s.attention.causal' is false in a model with recurrent layers",
                       h->arch->name);
    if (h->pooling == POOLING_RANK && !has(w, &w->cls) && !has(w, &w->cls_output))
        return err_set(err, BAD_INPUT,
                       "key '%s.pooling_type' is 4, a reranker, but neither tensor 'cls.weight' "
                       "nor 'cls.output.weight' is there",
                       h->arch->name);
    return OK;
}

void embed_info(struct model *m)
{
    const struct hyper *h = &m->hyper;
    m->info.pooling = h->pooling;
    m->info.one_pass = h->sees_all;
    m->info.n_batch = m->options.n_batch;
    m->info.n_texts = m->options.n_seq;
    if (h->pooling == POOLING_RANK)
        m->info.n_vector = has(&m->weights, &m->weights.cls_output) ? h->n_cls_out : h->n_cls;
    else if (h->pooling != POOLING_NONE)
        m->info.n_vector = h->n_embd;
}

// ---- what stands behind the pooled vector -------------------------------------------------------

static bool has_head(const struct model *m)
{
    const struct weights *w = &m->weights;
    return m->hyper.pooling == POOLING_RANK ? true : w->dense_2.buffer != NULL;
}

// out = w x + bias
static void product(const struct pass *p, const struct tensor *out, const struct tensor *w,
                    const struct tensor *bias, const struct tensor *x)
{
    op_matmul(p->compute, &(struct matmul){.out = out, .w = w, .bias = present(bias)}, 1,
              &(struct matmul_x){.x = x});
}

// Of n vectors in out_x; the result.
static struct tensor head(const struct pass *p, int32_t n)
{
    const struct weights *w = p->w;
    struct tensor x = tensor_rows(&p->act->out_x, 0, n), a = tensor_rows(&p->act->cls, 0, n),
                  b = tensor_rows(&p->act->cls_out, 0, n);
    if (p->h->pooling != POOLING_RANK) {
        product(p, &a, &w->dense_2, &(struct tensor){0}, &x);
        product(p, &b, &w->dense_3, &(struct tensor){0}, &a);
        return b;
    }
    if (w->cls.buffer) {
        product(p, &a, &w->cls, &w->cls_bias, &x);
        op_glu(p->compute, &a, &a, NULL, p->h->cls_activation);
        if (w->cls_norm.buffer)
            norm_rows(p, &a, &a, &w->cls_norm);
        x = a;
    }
    if (!w->cls_output.buffer)
        return x;
    product(p, &b, &w->cls_output, &w->cls_output_bias, &x);
    return b;
}

static void softmax(float *scores, int32_t n)
{
    float most = scores[0];
    double sum = 0;
    for (int32_t i = 1; i < n; i++)
        most = fmaxf(most, scores[i]);
    for (int32_t i = 0; i < n; i++)
        sum += exp((double)scores[i] - most);
    for (int32_t i = 0; i < n; i++)
        scores[i] = (float)(exp((double)scores[i] - most) / sum);
}

// n pooled vectors, one behind the other, become what the model gives.
static enum status finish(struct model *m, const float *vectors, int32_t n, float *out,
                          struct err *err)
{
    const size_t n_vector = (size_t)m->info.n_vector;
    if (!has_head(m)) {
        memcpy(out, vectors, (size_t)n * n_vector * sizeof(*out));
        return OK;
    }
    const struct pass p = pass_of(m, 1);
    struct tensor x = tensor_rows(&m->act.out_x, 0, n), result = {0};
    tensor_write(m->compute, &x, vectors, (size_t)n * (size_t)m->hyper.n_embd * sizeof(*vectors));
    if (compute_begin(m->compute, 0))
        result = head(&p, n);
    enum status status = compute_finish(m->compute, err);
    if (status != OK)
        return status;
    tensor_read(m->compute, out, &result, (size_t)n * n_vector * sizeof(*out));
    status = compute_check(m->compute, err);
    for (int32_t i = 0; i < n && m->hyper.softmax_scores && m->hyper.pooling == POOLING_RANK; i++)
        softmax(out + (size_t)i * n_vector, m->info.n_vector);
    return status;
}

void embed_rehearse(const struct pass *p)
{
    const int32_t n = p->n < p->act->n_out ? p->n : p->act->n_out;
    forward_rows(p, n);
    if (p->h->pooling == POOLING_RANK || p->w->dense_2.buffer)
        (void)head(p, n);
}

// ---- pooling ------------------------------------------------------------------------------------

static bool takes_means(const struct hyper *h)
{
    return h->pooling == POOLING_MEAN || (h->pooling == POOLING_RANK && h->scores_of_mean);
}

// Whether the row is what its text's vector is made of, but for means, which are of all.
static bool is_pooled(const struct hyper *h, const struct batch *b, int32_t t)
{
    const bool first = h->pooling == POOLING_FIRST || (h->pooling == POOLING_RANK && h->sees_all);
    return first ? b->pos[t] == 0 : b->wanted[t];
}

// Rows that decide, from `start` on; they lie in out_x when the pass is done.
static int32_t collect(struct model *m, const struct batch *b, int32_t start, int32_t n)
{
    int32_t *rows = m->scratch, n_out = 0;
    for (int32_t t = 0; t < n; t++)
        if (is_pooled(&m->hyper, b, start + t))
            rows[n_out++] = t;
    struct tensor to = m->act.out_row;
    to.n_cols = n_out;
    if (n_out > 0)
        tensor_write(m->compute, &to, rows, (size_t)n_out * sizeof(*rows));
    return n_out;
}

static void pool_picked(struct model *m, const struct batch *b, int32_t start, int32_t n,
                        const float *states)
{
    const size_t n_embd = (size_t)m->hyper.n_embd;
    for (int32_t t = start; t < start + n; t++) {
        if (!is_pooled(&m->hyper, b, t))
            continue;
        double *pooled = m->pooled + (size_t)b->seq[t] * n_embd;
        for (size_t i = 0; i < n_embd; i++)
            pooled[i] = states[i];
        states += n_embd;
    }
}

static void pool_means(struct model *m, const struct batch *b, int32_t start, int32_t n,
                       const float *states)
{
    const size_t n_embd = (size_t)m->hyper.n_embd;
    for (int32_t t = start; t < start + n; t++, states += n_embd) {
        double *pooled = m->pooled + (size_t)b->seq[t] * n_embd;
        const double before = b->pos[t], count = before + 1;
        for (size_t i = 0; i < n_embd; i++)
            pooled[i] = ((before > 0 ? pooled[i] * before : 0) + states[i]) / count;
    }
}

// ---- passes -------------------------------------------------------------------------------------

// Rows start .. start + n - 1; appends the vectors of texts that end among them.
static enum status embed_chunk(struct model *m, const struct batch *b, int32_t start, int32_t n,
                               float **out, struct err *err)
{
    const struct pass p = pass_of(m, n);
    const bool means = takes_means(&m->hyper);
    const size_t n_embd = (size_t)m->hyper.n_embd;
    enum status status = forward_inputs(m, b, start, n, false, err);
    if (status != OK)
        return status;
    const int32_t n_states = means ? n : collect(m, b, start, n);
    if (compute_begin(m->compute, 0)) {
        m->hyper.arch->forward(&p);
        if (!means && n_states > 0)
            forward_rows(&p, n_states);
        else if (means && p.w->output_norm.buffer)
            norm_rows(&p, &p.x, &p.x, &p.w->output_norm);
    }
    status = compute_finish(m->compute, err);
    if (status != OK)
        return status;
    const struct tensor from = means ? p.x : tensor_rows(&m->act.out_x, 0, n_states);
    float *states = mem_array((size_t)n_states * n_embd + 1, sizeof(*states));
    if (n_states > 0)
        tensor_read(m->compute, states, &from, (size_t)n_states * n_embd * sizeof(*states));
    status = compute_check(m->compute, err);
    (means ? pool_means : pool_picked)(m, b, start, n, states);
    int32_t n_ended = 0;
    for (int32_t t = start; t < start + n; t++) {
        if (!b->wanted[t])
            continue;
        const double *pooled = m->pooled + (size_t)b->seq[t] * n_embd;
        for (size_t i = 0; i < n_embd; i++) // never more texts than rows were read or n
            m->ended[(size_t)n_ended * n_embd + i] = (float)pooled[i];
        n_ended++;
        (void)past_cut(m->kv.past, b->seq[t], 0); // nobody goes on from there
    }
    if (n_ended > 0 && status == OK)
        status = finish(m, m->ended, n_ended, *out, err);
    *out += (size_t)n_ended * (size_t)m->info.n_vector;
    free(states);
    return status;
}

// Rows of a sequence are neighbours; with one_pass they are a whole text.
static enum status check_texts(const struct model *m, const struct batch *b, struct err *err)
{
    uint8_t *seen = mem_array((size_t)m->kv.shape.n_seq, 1);
    enum status status = OK;
    for (int32_t t = 0; t < b->n_tokens && status == OK; t++) {
        const bool begins = t == 0 || b->seq[t] != b->seq[t - 1],
                   ends = t + 1 == b->n_tokens || b->seq[t + 1] != b->seq[t];
        if (begins && seen[b->seq[t]]++)
            status =
                err_set(err, BAD_INPUT, "sequence %d is in two places of one batch", b->seq[t]);
        else if (!begins && b->pos[t] != b->pos[t - 1] + 1)
            status = err_set(err, BAD_INPUT, "position %d behind %d", b->pos[t], b->pos[t - 1]);
        else if (b->wanted[t] && !ends)
            status = err_set(err, BAD_INPUT, "a text that goes on behind its last row");
        else if (m->hyper.sees_all && ((begins && b->pos[t] != 0) || (ends && !b->wanted[t])))
            status = err_set(err, BAD_INPUT, "a text of this model comes whole, in one pass");
    }
    free(seen);
    return status;
}

enum status model_embed(struct model *m, const struct batch *batch, float *out, struct err *err)
{
    struct batch b = *batch;
    b.n_top = 0;
    if (m->hyper.pooling == POOLING_NONE)
        return err_set(err, UNSUPPORTED,
                       "the model %s writes text: its file names no pooling_type, so that there "
                       "is no vector of a text",
                       m->info.id);
    if (m->hyper.sees_all && b.n_tokens > m->act.n_batch)
        return err_set(err, TOO_LARGE, "%d tokens of texts that must be one pass; it holds %d",
                       b.n_tokens, m->act.n_batch);
    enum status status = forward_check(m, &b, false, err);
    if (status == OK)
        status = check_texts(m, &b, err);
    for (int32_t start = 0, n; start < b.n_tokens && status == OK; start += n) {
        n = b.n_tokens - start < m->act.n_batch ? b.n_tokens - start : m->act.n_batch;
        status = embed_chunk(m, &b, start, n, &out, err);
    }
    if (status == OK)
        status = forward_file(m, err);
    if (status != OK)
        forward_forget(m);
    return status;
}

struct bytes model_rank_format(const struct model *m)
{
    struct bytes format = {NULL, 0};
    if (gguf_get_string(m->gguf, "tokenizer.chat_template.rerank", &format, NULL) != OK)
        return (struct bytes){NULL, 0};
    return format;
}

void vector_normalise(float *vector, int32_t n)
{
    double sum = 0;
    for (int32_t i = 0; i < n; i++)
        sum += (double)vector[i] * vector[i];
    const double scale = sum > 0 ? 1 / sqrt(sum) : 0;
    for (int32_t i = 0; i < n; i++)
        vector[i] = (float)(vector[i] * scale);
}
