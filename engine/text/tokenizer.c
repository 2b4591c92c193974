// tokenizer.c - text to ids and ids to bytes, whatever the kind of the tokenizer.
//
// Encoding: 1. tokens that are known by their texts are cut out (added.c); 2. what is between is
// spelled by the kind's own file (bpe.c, unigram.c, wordpiece.c); 3. the whole gets the BOS, EOS or
// separator that the file wants. Control tokens are never the result of 2, and of 1 only where the
// caller says so: a client's content cannot forge them.

#include "inside.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT_BYTES = 64 << 20 };

// ---- life ---------------------------------------------------------------------------------------

static const struct model {
    const char *name; // tokenizer.ggml.model
    enum kind kind;
    const char *pre; // counts instead of the file's
} models[] = {
    {"gpt2", BPE, NULL},      {"gemma4", BPE, "gemma4"}, {"whitespace", BPE, NULL},
    {"llama", SCORED, NULL},  {"t5", UNIGRAM, NULL},     {"bert", WORDPIECE, NULL},
    {"rwkv", GREEDY, NULL},   {"plamo2", PLAMO, NULL},   {"plamo3", PLAMO, NULL},
    {"hybriddna", BPE, NULL},
};

static const struct model *find_model(struct bytes name)
{
    for (size_t i = 0; i < COUNT_OF(models); i++)
        if (bytes_equal_text(name, models[i].name))
            return &models[i];
    return NULL;
}

// Where text may vanish or shrink, no number of bytes says how many tokens there must be.
static void bound_longest(struct tokenizer *t)
{
    bool whole = t->kind == BPE && !t->drops_spaces;
    if (whole && pretokenizer_family(t->pretokenizer)->raw)
        for (int byte = 0; byte < 256; byte++)
            whole = whole && t->byte_id[byte] >= 0;
    if (t->kind == SCORED)
        whole = true;
    if (!whole)
        t->longest = SIZE_MAX;
    else if (t->nfc && t->longest < SIZE_MAX / 4)
        t->longest *= 4;
}

enum status tokenizer_open(struct tokenizer **out, const struct vocabulary_source *source,
                           struct err *err)
{
    char text[NAME_TEXT];
    if (source->model.n == 0)
        return err_set(err, BAD_INPUT,
                       "key 'tokenizer.ggml.model' is missing: the file has no tokenizer");
    const struct model *model = find_model(source->model);
    if (!model)
        return err_set(err, UNSUPPORTED,
                       "key 'tokenizer.ggml.model' is '%s'; this build knows gpt2, llama, t5, "
                       "bert, rwkv, gemma4, whitespace, plamo2, plamo3 and hybriddna",
                       name_text(text, source->model));
    struct tokenizer *t = mem_alloc(sizeof(*t));
    t->kind = model->kind;
    t->drops_spaces = strcmp(model->name, "whitespace") == 0;
    t->plamo3 = strcmp(model->name, "plamo3") == 0;
    t->dna = strcmp(model->name, "hybriddna") == 0 ? dna_new() : NULL;
    enum status status = OK;
    if (t->kind == BPE)
        status = pretokenizer_open(&t->pretokenizer,
                                   model->pre ? bytes_of(model->pre) : source->pre, err);
    if (status == OK)
        status = vocabulary_fill(t, source, err);
    if (status != OK) {
        tokenizer_close(t);
        return status;
    }
    bound_longest(t);
    *out = t;
    return OK;
}

void tokenizer_close(struct tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    pretokenizer_close(tokenizer->pretokenizer);
    vocabulary_free(tokenizer);
    lexicon_close(tokenizer->lexicon);
    free(tokenizer);
}

// ---- ids to bytes -------------------------------------------------------------------------------

struct bytes tokenizer_decode(const struct tokenizer *tokenizer, int32_t id)
{
    if (id < 0 || id >= tokenizer->n_vocab)
        return (struct bytes){tokenizer->pieces, 0};
    size_t start = tokenizer->piece_start[id];
    return (struct bytes){tokenizer->pieces + start, tokenizer->piece_start[id + 1] - start};
}

struct bytes tokenizer_mark(const struct tokenizer *tokenizer, int32_t id)
{
    const struct bytes piece = tokenizer_decode(tokenizer, id);
    const bool is_control = id >= 0 && id < tokenizer->n_vocab && piece.n == 0;
    return is_control ? symbols_text(tokenizer, id) : piece;
}

bool tokenizer_is_end(const struct tokenizer *tokenizer, int32_t id)
{
    for (int i = 0; i < tokenizer->n_end; i++)
        if (tokenizer->end[i] == id)
            return true;
    return false;
}

bool tokenizer_is_text(const struct tokenizer *tokenizer, int32_t id)
{
    if (id < 0 || id >= tokenizer->n_vocab)
        return false;
    const uint8_t type = tokenizer->type[id];
    return type == TYPE_NORMAL || type == TYPE_USER || type == TYPE_BYTE;
}

bool tokenizer_add_bos(const struct tokenizer *tokenizer)
{
    return tokenizer->add_bos;
}

int32_t tokenizer_bos(const struct tokenizer *tokenizer)
{
    return tokenizer->bos;
}

int32_t tokenizer_n_vocab(const struct tokenizer *tokenizer)
{
    return tokenizer->n_vocab;
}

size_t tokenizer_longest(const struct tokenizer *tokenizer)
{
    return tokenizer->longest;
}

int32_t tokenizer_find_special(const struct tokenizer *tokenizer, const char *text)
{
    for (int32_t i = 0; i < tokenizer->added.n; i++)
        if (bytes_equal_text(tokenizer->added.list[i].text, text))
            return tokenizer->added.list[i].id;
    return -1;
}

// ---- text to ids --------------------------------------------------------------------------------

void speller_emit(struct speller *s, int32_t id)
{
    if (*s->n < s->cap)
        s->ids[(*s->n)++] = id;
    else
        s->full = true;
}

static enum status spell(const struct tokenizer *t, struct speller *s, struct bytes text,
                         struct err *err)
{
    switch (t->kind) {
    case BPE:
        return t->dna ? dna_spell(t, s, text, err) : bpe_spell(t, s, text, err);
    case SCORED:
        scored_spell(t, s, text);
        return OK;
    case UNIGRAM:
        unigram_spell(t, s, text);
        return OK;
    case WORDPIECE:
        wordpiece_spell(t, s, text);
        return OK;
    case GREEDY:
        greedy_spell(t, s, text);
        return OK;
    case PLAMO:
        plamo_spell(t, s, text);
        return OK;
    }
    die("tokenizer kind %d", t->kind);
}

// client: NULL, or who wrote what; then `special` does not count.
static enum status append(const struct tokenizer *tokenizer, struct bytes text, bool special,
                          const uint8_t *client, int32_t *ids, size_t cap, size_t *n,
                          struct err *err)
{
    if (text.n > MAX_TEXT_BYTES)
        return err_set(err, TOO_LARGE, "text of %zu bytes; at most %d are tokenized", text.n,
                       MAX_TEXT_BYTES);
    struct pieces pieces = {NULL, 0, 0};
    struct speller speller = {.ids = ids, .cap = cap, .n = n, .after_special = true};
    enum status status = OK;
    size_t n_before = *n;
    buf_init(&speller.text, SIZE_MAX);
    buf_init(&speller.composed, SIZE_MAX);
    if (client)
        added_cut_written(&tokenizer->added, text, client, &pieces);
    else
        added_cut(&tokenizer->added, text, special, &pieces);
    for (size_t i = 0; i < pieces.n && status == OK && !speller.full; i++) {
        if (pieces.p[i].id >= 0)
            speller_emit(&speller, pieces.p[i].id);
        else
            status = spell(tokenizer, &speller, pieces.p[i].text, err);
        speller.after_special = pieces.p[i].id >= 0;
    }
    free(pieces.p);
    free(speller.nodes);
    free(speller.heap);
    buf_free(&speller.text);
    buf_free(&speller.composed);
    if (status == OK && speller.full)
        status = err_set(err, TOO_LARGE, "text of %zu bytes is more than the %zu tokens that fit",
                         text.n, cap);
    if (status != OK)
        *n = n_before;
    return status;
}

enum status tokenizer_append(const struct tokenizer *tokenizer, struct bytes text, bool special,
                             int32_t *ids, size_t cap, size_t *n, struct err *err)
{
    return append(tokenizer, text, special, NULL, ids, cap, n, err);
}

enum status tokenizer_append_written(const struct tokenizer *tokenizer, struct bytes text,
                                     const uint8_t *client, int32_t *ids, size_t cap, size_t *n,
                                     struct err *err)
{
    return append(tokenizer, text, true, client, ids, cap, n, err);
}

enum status tokenizer_encode(const struct tokenizer *tokenizer, struct bytes text, bool special,
                             int32_t *ids, size_t cap, size_t *n, struct err *err)
{
    size_t count = 0;
    struct speller around = {.ids = ids, .cap = cap, .n = &count};
    if (tokenizer->add_bos)
        speller_emit(&around, tokenizer->bos);
    enum status status = tokenizer_append(tokenizer, text, special, ids, cap, &count, err);
    if (status != OK)
        return status;
    if (tokenizer->add_eos)
        speller_emit(&around, tokenizer->eos);
    if (tokenizer->add_sep)
        speller_emit(&around, tokenizer->sep);
    if (around.full)
        return err_set(err, TOO_LARGE, "text of %zu bytes is more than the %zu tokens that fit",
                       text.n, cap);
    *n = count;
    return OK;
}
