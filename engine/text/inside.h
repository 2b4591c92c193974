// inside.h - what the files of text/ share: the tables behind a tokenizer, which vocabulary.c fills
// and tokenizer.c uses, and the cutting of text into words. Read-only once filled.
//
// Symbols: 0 .. n_vocab-1 are the tokens; above them are texts that only merges speak of.
#pragma once

#include "text.h"

enum { MAX_END = 16 };

struct special { // a token that is found by its text, before words are cut
    struct bytes text;
    int32_t id;
    bool control;
};

struct merge {
    int32_t left, right; // symbols; left < 0: free slot
    int32_t rank, result;
};

struct tokenizer {
    struct pretokenizer *pretokenizer;
    uint8_t *bytes; // the texts of all symbols, one after the other
    size_t n_bytes, bytes_allocated;
    size_t *start; // [n_symbols + 1] into bytes
    int32_t n_vocab, n_symbols, symbols_allocated;
    uint8_t *hidden;  // [n_vocab]: 1 = decodes to nothing (control, unused)
    int32_t *by_text; // hash table of symbols, -1 free; only those BPE may produce
    size_t by_text_mask;
    struct merge *merges; // hash table
    size_t merges_mask;
    uint64_t hash_seed; // so that a file cannot aim at collisions
    int32_t byte_symbol[256];
    struct special *specials;  // [n_specials], longest first
    int32_t *specials_by_text; // [n_specials], indices in order of text
    int32_t n_specials;
    uint8_t *special_texts; // what they view
    size_t longest;         // bytes of the longest symbol or special text
    int32_t bos, end[MAX_END];
    int n_end;
    bool add_bos;
};

// ---- vocabulary.c -------------------------------------------------------------------------------

// Fills the tables and keeps nothing of the source.
MUST_USE enum status vocabulary_fill(struct tokenizer *t, const struct vocabulary_source *source,
                                     struct err *err);
void vocabulary_free(struct tokenizer *t);
struct bytes vocabulary_text(const struct tokenizer *t, int32_t symbol);
int32_t vocabulary_find(const struct tokenizer *t, struct bytes text); // -1: no such symbol
// The slot of a pair of symbols; its left < 0: the two do not merge.
struct merge *vocabulary_merge(const struct tokenizer *t, int32_t left, int32_t right);

// ---- pretokenizer.c -----------------------------------------------------------------------------

struct pretokenizer; // compiled expressions; read-only

struct words { // a text cut into words: word i is bytes end[i - 1] .. end[i]
    size_t *end;
    size_t n, allocated;
};

// `name`: tokenizer.ggml.pre; n == 0 means `default`. UNSUPPORTED names what is known.
MUST_USE enum status pretokenizer_open(struct pretokenizer **out, struct bytes name,
                                       struct err *err);
void pretokenizer_close(struct pretokenizer *pretokenizer);
// A word that is a token is taken before any merge.
bool pretokenizer_whole_words(const struct pretokenizer *pretokenizer);
// BOS is put in front when the file does not say.
bool pretokenizer_adds_bos(const struct pretokenizer *pretokenizer);

// Text as the tokenizer sees it. `text` has what is invalid replaced by U+FFFD; `shape` is the same
// length and valid UTF-8 (lone surrogates, which `text` keeps as llama.cpp does, are
// U+FFFD there): the expressions run on it.
struct clean_text {
    uint8_t *text, *shape; // shape == text when there is no surrogate
    size_t n;
};
void clean_text_make(struct clean_text *out, struct bytes text);
void clean_text_free(struct clean_text *clean);
MUST_USE enum status pretokenizer_split(const struct pretokenizer *pretokenizer,
                                        const struct clean_text *clean, struct words *words,
                                        struct err *err);
void words_free(struct words *words);
