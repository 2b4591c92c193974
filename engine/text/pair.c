// pair.c - what a reranker reads: a query and a document as one text of ids.
//
// Where the file has a format for it (Qwen3's rerankers: a conversation with {query} and {document}
// in it), that is filled and tokenized as one text, since words may span a border. Without one:
//
//   [BOS] query END [SEP] document END
//
// END is the file's EOS, or BERT's separator; the second separator stands only where both are told
// apart: <s> query </s></s> document </s> for XLM-RoBERTa, [CLS] query [SEP] document [SEP] for
// BERT (as both were trained).
//
// What a client sends never becomes a control token: where filling the format would make one, its
// parts are tokenized apart.
#include "inside.h"

#include <stdlib.h>
#include <string.h>

struct slot { // of a format: a piece of it, then what is filled in
    struct bytes before, value;
};

// The slot that begins at *at; *at moves behind it. The last one has no value.
static struct slot next_slot(struct bytes format, size_t *at, struct bytes query,
                             struct bytes document)
{
    static const char QUERY[] = "{query}", DOCUMENT[] = "{document}";
    const size_t from = *at;
    for (; *at < format.n; ++*at) {
        const uint8_t *p = format.p + *at;
        const size_t left = format.n - *at, n = *at - from;
        const bool is_query = left >= sizeof(QUERY) - 1 && memcmp(p, QUERY, sizeof(QUERY) - 1) == 0;
        if (!is_query &&
            !(left >= sizeof(DOCUMENT) - 1 && memcmp(p, DOCUMENT, sizeof(DOCUMENT) - 1) == 0))
            continue;
        *at += is_query ? sizeof(QUERY) - 1 : sizeof(DOCUMENT) - 1;
        return (struct slot){{format.p + from, n}, is_query ? query : document};
    }
    return (struct slot){{format.p + from, format.n - from}, {NULL, 0}};
}

static size_t n_added(const struct tokenizer *t, struct bytes text, bool special)
{
    struct pieces pieces = {NULL, 0, 0};
    size_t n = 0;
    added_cut(&t->added, text, special, &pieces);
    for (size_t i = 0; i < pieces.n; i++)
        n += pieces.p[i].id >= 0;
    free(pieces.p);
    return n;
}

static enum status fill(const struct tokenizer *t, struct bytes format, struct bytes query,
                        struct bytes document, int32_t *ids, size_t cap, size_t *n, struct err *err)
{
    struct buf text;
    size_t n_apart = 0;
    enum status status = OK;
    buf_init(&text, SIZE_MAX);
    for (size_t at = 0; at < format.n && status == OK;) {
        const struct slot slot = next_slot(format, &at, query, document);
        n_apart += n_added(t, slot.before, true) + n_added(t, slot.value, false);
        status = buf_add(&text, slot.before.p, slot.before.n);
        if (status == OK && slot.value.n > 0)
            status = buf_add(&text, slot.value.p, slot.value.n);
    }
    const bool whole = status == OK && n_added(t, buf_view(&text), true) == n_apart;
    if (whole)
        status = tokenizer_append(t, buf_view(&text), true, ids, cap, n, err);
    for (size_t at = 0; at < format.n && status == OK && !whole;) {
        const struct slot slot = next_slot(format, &at, query, document);
        status = tokenizer_append(t, slot.before, true, ids, cap, n, err);
        if (status == OK)
            status = tokenizer_append(t, slot.value, false, ids, cap, n, err);
    }
    buf_free(&text);
    return status;
}

enum status pair_encode(const struct tokenizer *t, struct bytes format, struct bytes query,
                        struct bytes document, int32_t *ids, size_t cap, size_t *n, struct err *err)
{
    size_t count = 0;
    struct speller around = {.ids = ids, .cap = cap, .n = &count};
    const bool ends = t->add_eos || t->add_sep;
    const int32_t end = t->add_eos ? t->eos : t->sep;
    if (t->add_bos)
        speller_emit(&around, t->bos);
    enum status status = OK;
    if (format.n > 0) {
        status = fill(t, format, query, document, ids, cap, &count, err);
    } else {
        status = tokenizer_append(t, query, false, ids, cap, &count, err);
        if (ends)
            speller_emit(&around, end);
        if (t->add_eos && t->sep >= 0)
            speller_emit(&around, t->sep);
        if (status == OK)
            status = tokenizer_append(t, document, false, ids, cap, &count, err);
        if (ends)
            speller_emit(&around, end);
    }
    if (status == OK && around.full)
        status = err_set(err, TOO_LARGE, "query and document are more than the %zu tokens that fit",
                         cap);
    if (status == OK)
        *n = count;
    return status;
}
