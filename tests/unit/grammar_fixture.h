// grammar_fixture.h - vocabularies for tests of grammars, and whether a grammar takes a text.
#pragma once

#include "../../engine/text/inside.h"
#include "check.h"

#include <stdlib.h>

// A vocabulary of plain texts; the last token is a control token that ends a text.
static inline struct tokenizer *vocabulary(const char *const *texts, int32_t n)
{
    struct tokenizer *t = mem_alloc(sizeof(*t));
    size_t n_bytes = 0;
    for (int32_t i = 0; i < n; i++)
        n_bytes += strlen(texts[i]);
    t->kind = GREEDY;
    t->n_vocab = n + 1;
    t->pieces = mem_alloc(n_bytes + 1);
    t->piece_start = mem_array((size_t)n + 2, sizeof(*t->piece_start));
    t->type = mem_alloc((size_t)n + 1);
    n_bytes = 0;
    for (int32_t i = 0; i < n; i++) {
        t->piece_start[i] = n_bytes;
        t->type[i] = TYPE_NORMAL;
        memcpy(t->pieces + n_bytes, texts[i], strlen(texts[i]));
        n_bytes += strlen(texts[i]);
    }
    t->piece_start[n] = t->piece_start[n + 1] = n_bytes;
    t->type[n] = TYPE_CONTROL;
    t->end[t->n_end++] = n;
    return t;
}

static inline void vocabulary_close(struct tokenizer *t)
{
    lexicon_close(t->lexicon);
    free(t->pieces);
    free(t->piece_start);
    free(t->type);
    free(t);
}

static struct tokenizer *bytes_only; // each byte but NUL is a token

static inline void open_bytes(void)
{
    static char texts[255][2];
    const char *views[255];
    for (int i = 0; i < 255; i++) {
        texts[i][0] = (char)(i + 1);
        views[i] = texts[i];
    }
    bytes_only = vocabulary(views, 255);
}

enum outcome { WRONG, PART, WHOLE }; // refused; may go on; may end

static inline enum outcome try_text(const struct grammar *g, const char *text)
{
    struct matcher *m;
    matcher_open(&m, g, bytes_only);
    enum outcome outcome = PART;
    for (const char *p = text; *p && outcome != WRONG; p++)
        outcome = matcher_accept_bytes(m, (struct bytes){(const uint8_t *)p, 1}) ? PART : WRONG;
    if (outcome == PART && matcher_may_end(m))
        outcome = WHOLE;
    matcher_close(m);
    return outcome;
}

static inline void check_texts(struct grammar *g, const char *const *whole,
                               const char *const *wrong)
{
    for (; g && *whole; whole++)
        if (!CHECK(try_text(g, *whole) == WHOLE))
            fprintf(stderr, "    whole: %s\n", *whole);
    for (; g && *wrong; wrong++)
        if (!CHECK(try_text(g, *wrong) != WHOLE))
            fprintf(stderr, "    wrong: %s\n", *wrong);
    grammar_close(g);
}

#define TEXTS(...) ((const char *const[]){__VA_ARGS__, NULL})
