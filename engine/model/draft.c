// draft.c - the block behind the trunk that predicts one token further (multi-token prediction,
// DeepSeek-AI 2024, section 2.2): what is drafted cheaply the trunk may then check, many tokens in
// one pass.
//
// x = eh_proj [rms(embed(token)) * enorm, rms(h) * hnorm], then one layer like the trunk's with
// attention, a norm, and the output matrix. It is layers[n_layer] of the model, with keys and
// values of its own in the pages of the trunk's. Its row at position p is made of the tokens 0 .. p
// and of the trunk's states before, as the trunk's own rows are: what sequences share stays shared.
//
// A reader may take h for the state at p: it is that of p - 1, and the token at p was chosen from
// its logits.
#include "arch.h"

#include <stdlib.h>

// ---- what there is ------------------------------------------------------------------------------

static bool has_rules(const struct arch *arch)
{
    for (size_t i = 0; i < arch->n_rules; i++)
        if (arch->rules[i].of_layer && (arch->rules[i].parts & PART_NEXTN))
            return true;
    return false;
}

void draft_read(struct hyper *h)
{
    int32_t like = h->n_layer - 1;
    while (like >= 0 && !(h->layers[like].parts & PART_ATTENTION))
        like--;
    if (h->n_mtp == 0 || like < 0 || !has_rules(h->arch))
        return;
    struct layer_hyper *layer = &h->layers[h->n_layer];
    *layer = h->layers[like];
    layer->parts |= (uint32_t)(PART_KEYS | PART_NEXTN);
    layer->window = 0;
    layer->kv_layer = h->n_layer;
    h->n_draft = 1;
}

// ---- the pass -----------------------------------------------------------------------------------

static const struct layer *layer_of(const struct pass *p)
{
    return &p->w->layers[p->h->n_layer];
}

const struct tensor *draft_norm(const struct pass *p)
{
    return p->drafts && layer_of(p)->nextn_norm.buffer ? &layer_of(p)->nextn_norm
                                                       : &p->w->output_norm;
}

const struct tensor *draft_output(const struct pass *p)
{
    return p->drafts && layer_of(p)->nextn_output.buffer ? &layer_of(p)->nextn_output
                                                         : &p->w->output;
}

void draft_forward(const struct pass *p)
{
    const int64_t n_embd = p->h->n_embd;
    const struct layer *w = layer_of(p);
    struct tensor pair = pass_view(p, &p->act->pair, 2 * n_embd),
                  token = tensor_columns(&pair, 0, n_embd),
                  state = tensor_columns(&pair, n_embd, n_embd);

    op_embed(p->compute, &p->x, w->nextn_embd.buffer ? &w->nextn_embd : &p->w->token_embd,
             &p->token, p->h->embed_scale);
    op_rms_norm(p->compute, &token, &p->x, &w->nextn_enorm, p->h->eps);
    op_rows(p->compute, &p->x, &p->act->hidden, &p->hidden_row);
    op_rms_norm(p->compute, &state, &p->x, &w->nextn_hnorm, p->h->eps);
    op_matmul(p->compute, &(struct matmul){.out = &p->x, .w = &w->nextn_eh_proj}, 1,
              &(struct matmul_x){.x = &pair});
    decoder_layer(p, p->h->n_layer);
}

// ---- states -------------------------------------------------------------------------------------

// Row t of those behind the last pass's.
static void give(struct model *m, int32_t t, const float *state)
{
    const struct tensor row = tensor_rows(&m->act.hidden, (int64_t)m->act.n_batch + t, 1);
    tensor_write(m->compute, &row, state, (size_t)m->hyper.n_embd * sizeof(*state));
}

static enum status check_from(const struct model *m, const struct batch *b, const int32_t *from,
                              struct err *err)
{
    for (int32_t t = 0; t < b->n_tokens; t++) {
        if (b->pos[t] == 0)
            continue;
        if (from[t] < -1 || from[t] >= m->n_hidden)
            return err_set(err, BAD_INPUT, "the state of row %d of the pass before, which kept %d",
                           from[t], m->n_hidden);
    }
    return OK;
}

// Where each row finds its state.
static void place_states(struct model *m, const struct batch *b, const int32_t *from,
                         const float *hidden)
{
    const size_t n_embd = (size_t)m->hyper.n_embd;
    float *zeros = mem_array(n_embd, sizeof(*zeros));
    int32_t *rows = m->scratch;
    for (int32_t t = 0; t < b->n_tokens; t++) {
        const bool begins = b->pos[t] == 0;
        rows[t] = begins || from[t] < 0 ? m->act.n_batch + t : from[t];
        if (rows[t] >= m->act.n_batch)
            give(m, t, begins || !hidden ? zeros : hidden + (size_t)t * n_embd);
    }
    struct tensor to = m->act.hidden_row;
    to.n_cols = b->n_tokens;
    tensor_write(m->compute, &to, rows, (size_t)b->n_tokens * sizeof(*rows));
    free(zeros);
}

enum status model_draft(struct model *m, const struct batch *b, const int32_t *from,
                        const float *hidden, struct logits logits, struct err *err)
{
    if (m->hyper.n_draft == 0)
        return err_set(err, UNSUPPORTED,
                       "the model %s was opened without a block that predicts further tokens",
                       m->info.id);
    enum status status = forward_check(m, b, true, err);
    if (status == OK && b->n_tokens > m->act.n_batch)
        status = err_set(err, TOO_LARGE, "%d rows to be drafted; a pass holds %d", b->n_tokens,
                         m->act.n_batch);
    if (status == OK)
        status = check_from(m, b, from, err);
    m->n_hidden = 0;
    if (status == OK && b->n_tokens > 0) {
        place_states(m, b, from, hidden);
        status = forward_chunk(m, b, 0, b->n_tokens, true, &logits, err);
    }
    if (status == OK)
        status = forward_file(m, err);
    if (status != OK)
        forward_forget(m);
    else
        m->n_hidden = b->n_tokens;
    return status;
}

int32_t model_drafted(const struct model *m, int32_t seq)
{
    return past_drafted(m->kv.past, seq);
}
