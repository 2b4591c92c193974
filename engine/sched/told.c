// told.c - what the encoder's thread finds out of a model without computing anything: the ids of a
// text, the text of ids, the model's chat template. And prompts in pieces, texts and ids mixed.
//
// Ids are told as they are found: an int32_t, the id; a uint16_t, the bytes of its text; the text.
#include "inside.h"

#include <stdlib.h>
#include <string.h>

static enum status add_ids(const struct encoding *e, const struct text_ask *piece, size_t at,
                           int32_t *ids, size_t cap, size_t *n, struct err *err)
{
    const int32_t n_vocab = tokenizer_n_vocab(e->tokenizer);
    if (piece->n_ids > cap - *n)
        return err_set(err, TOO_LARGE, "the text has more than %zu tokens", cap);
    for (size_t i = 0; i < piece->n_ids; i++)
        if (piece->ids[i] < 0 || piece->ids[i] >= n_vocab)
            return err_set(err, BAD_INPUT,
                           "token %zu has the id %d; this model's vocabulary has %d, counted from "
                           "0",
                           at + i, (int)piece->ids[i], (int)n_vocab);
    memcpy(ids + *n, piece->ids, piece->n_ids * sizeof(*ids));
    *n += piece->n_ids;
    return OK;
}

size_t pieces_bytes(const struct ask *ask)
{
    size_t n = 0;
    for (size_t i = 0; i < ask->n_texts; i++)
        n += ask->texts[i].text.n + ask->texts[i].n_ids;
    return n;
}

enum status pieces_encode(const struct encoding *e, int32_t *ids, size_t cap, size_t *n,
                          struct err *err)
{
    const struct ask *ask = &e->job->ask;
    enum status status = OK;
    *n = 0;
    for (size_t i = 0; i < ask->n_texts && status == OK; i++) {
        const struct text_ask *piece = &ask->texts[i];
        if (piece->ids)
            status = add_ids(e, piece, *n, ids, cap, n, err);
        else if (i == 0 && !ask->without_bos)
            status = tokenizer_encode(e->tokenizer, piece->text, !ask->plain, ids, cap, n, err);
        else
            status = tokenizer_append(e->tokenizer, piece->text, !ask->plain, ids, cap, n, err);
    }
    return status;
}

bool ask_only_tells(const struct ask *ask)
{
    return ask->only_ids || ask->only_text || ask->only_template;
}

static enum status add(struct encoding *e, const void *p, size_t n, struct err *err)
{
    return n == 0 || buf_add(&e->told, p, n) == OK
               ? OK
               : err_set(err, TOO_LARGE, "what would be told has more than %d bytes",
                         TOLD_BYTES_MOST);
}

static enum status tell_token(struct encoding *e, int32_t id, struct err *err)
{
    const struct bytes mark = tokenizer_mark(e->tokenizer, id);
    const uint16_t n = (uint16_t)(mark.n < UINT16_MAX ? mark.n : UINT16_MAX);
    enum status status = add(e, &id, sizeof(id), err);
    if (status == OK)
        status = add(e, &n, sizeof(n), err);
    return status == OK ? add(e, mark.p, n, err) : status;
}

enum status told_encode(struct encoding *e, struct err *err)
{
    const struct ask *ask = &e->job->ask;
    const size_t cap = pieces_bytes(ask) + 64;
    size_t n = 0;
    buf_init(&e->told, TOLD_BYTES_MOST);
    if (ask->only_template)
        return add(e, e->chat_template.p, e->chat_template.n, err);
    int32_t *ids = mem_array(cap, sizeof(*ids));
    enum status status = pieces_encode(e, ids, cap, &n, err);
    for (size_t i = 0; i < n && status == OK; i++) {
        const struct bytes mark = tokenizer_mark(e->tokenizer, ids[i]);
        status = ask->only_ids ? tell_token(e, ids[i], err) : add(e, mark.p, mark.n, err);
    }
    e->n = (int32_t)n;
    free(ids);
    return status;
}
