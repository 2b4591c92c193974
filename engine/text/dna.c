// dna.c - what Carbon's tokenizer (tokenizer.ggml.model: hybriddna) makes of DNA: between <dna> and
// </dna> every six letters are a token, whatever their case; the last ones are filled up with A.
// Six bytes that hold another letter, or that the file has no token for, are <oov>. An end that is
// missing is the end of the text. All other text is spelled by merges (bpe.c).
//
// The file marks the tokens of six letters with a U+E000 behind them, since merges make some of the
// same texts; it is not given out.

#include "inside.h"

#include <stdlib.h>
#include <string.h>

enum { LETTERS = 6, KMERS = 1 << 2 * LETTERS };
#define OPEN "<dna>"
#define CLOSE "</dna>"
#define MARK "\xee\x80\x80" // U+E000

struct dna {
    int32_t open, close, oov, kmer[KMERS]; // ids; -1: none
};

struct dna *dna_new(void)
{
    struct dna *dna = mem_alloc(sizeof(*dna));
    dna->open = dna->close = dna->oov = -1;
    for (int32_t i = 0; i < KMERS; i++)
        dna->kmer[i] = -1;
    return dna;
}

// The place of six bytes in .kmer; -1: one of them is no base.
static int32_t place_of(const uint8_t *letters)
{
    int32_t place = 0;
    for (int i = 0; i < LETTERS; i++) {
        const char *base = letters[i] ? strchr("AaCcGgTt", letters[i]) : NULL;
        if (!base)
            return -1;
        place = place * 4 + (int32_t)(base - "AaCcGgTt") / 2;
    }
    return place;
}

bool dna_take(struct dna *dna, struct bytes text, int32_t id)
{
    if (bytes_equal_text(text, OPEN))
        dna->open = id;
    if (bytes_equal_text(text, CLOSE))
        dna->close = id;
    if (bytes_equal_text(text, "<oov>"))
        dna->oov = id;
    const size_t n_mark = strlen(MARK);
    if (text.n != LETTERS + n_mark || memcmp(text.p + LETTERS, MARK, n_mark) != 0)
        return false;
    for (int i = 0; i < LETTERS; i++)
        if (!strchr("ACGT", text.p[i]))
            return false;
    const int32_t place = place_of(text.p);
    if (place < 0)
        return false;
    dna->kmer[place] = id;
    return true;
}

enum status dna_check(const struct dna *dna, struct err *err)
{
    if (dna->open >= 0 && dna->close >= 0 && dna->oov >= 0)
        return OK;
    return err_set(err, BAD_INPUT,
                   "key 'tokenizer.ggml.tokens' has no '%s'; a vocabulary of DNA needs it",
                   dna->open < 0    ? OPEN
                   : dna->close < 0 ? CLOSE
                                    : "<oov>");
}

static void spell_letters(const struct dna *dna, struct speller *s, struct bytes text)
{
    for (size_t at = 0; at < text.n && !s->full; at += LETTERS) {
        uint8_t letters[LETTERS];
        memset(letters, 'A', LETTERS);
        memcpy(letters, text.p + at, text.n - at < LETTERS ? text.n - at : LETTERS);
        const int32_t place = place_of(letters), id = place >= 0 ? dna->kmer[place] : -1;
        speller_emit(s, id >= 0 ? id : dna->oov);
    }
}

// Where `mark` stands in the text; its length: nowhere.
static size_t find(struct bytes text, const char *mark)
{
    const uint8_t *at = text.n > 0 ? memmem(text.p, text.n, mark, strlen(mark)) : NULL;
    return at ? (size_t)(at - text.p) : text.n;
}

static struct bytes behind(struct bytes text, size_t n)
{
    n = n < text.n ? n : text.n;
    return (struct bytes){text.p + n, text.n - n};
}

enum status dna_spell(const struct tokenizer *t, struct speller *s, struct bytes text,
                      struct err *err)
{
    enum status status = OK;
    while (text.n > 0 && status == OK && !s->full) {
        const size_t start = find(text, OPEN);
        if (start > 0)
            status = bpe_spell(t, s, (struct bytes){text.p, start}, err);
        if (start == text.n || status != OK)
            break;
        speller_emit(s, t->dna->open);
        text = behind(text, start + strlen(OPEN));
        const size_t end = find(text, CLOSE);
        spell_letters(t->dna, s, (struct bytes){text.p, end});
        if (end < text.n)
            speller_emit(s, t->dna->close);
        text = behind(text, end + strlen(CLOSE));
    }
    return status;
}
