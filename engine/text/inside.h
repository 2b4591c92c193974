// inside.h - what the files of text/ share: the tables behind a tokenizer, which vocabulary.c
// fills, the state of one encoding call, and what each kind of tokenizer offers. Tables are
// read-only once filled.
//
// Symbols: 0 .. n_vocab-1 are the tokens; above them are texts that only merges speak of.
#pragma once

#include "text.h"

#include <stdatomic.h>

enum { MAX_END = 32 };

enum kind {    // tokenizer.ggml.model
    BPE,       // gpt2, gemma4, whitespace, hybriddna: merges by rank inside words (bpe.c, dna.c)
    SCORED,    // llama: merges by score over the whole text (bpe.c)
    UNIGRAM,   // t5: the most likely cut (unigram.c)
    WORDPIECE, // bert: the longest token first, word by word (wordpiece.c)
    GREEDY,    // rwkv: the longest token first (wordpiece.c)
    PLAMO      // plamo2, plamo3: the most likely cut, from the end (unigram.c)
};

// ---- trie.c -------------------------------------------------------------------------------------

struct trie {
    int32_t root[256];       // children of node 0; 0: none
    uint64_t *edge_key;      // node << 8 | byte
    int32_t *edge_to;        // 0: free slot
    int32_t *value, *parent; // [n_nodes]; value -1: no text ends here
    uint8_t *byte;           // [n_nodes]: on the edge that leads here
    size_t edge_mask;
    int32_t n_nodes, nodes_allocated;
};
void trie_init(struct trie *trie);
void trie_free(struct trie *trie);
void trie_add(struct trie *trie, struct bytes text, int32_t value); // an empty text is ignored
void trie_add_reversed(struct trie *trie, struct bytes text, int32_t value);
int32_t trie_step(const struct trie *trie, int32_t node, uint8_t byte); // 0: no text goes on so

// ---- added.c: tokens that are found by their texts, before anything else ------------------------

struct special {
    struct bytes text;
    int32_t id;
    bool control;        // never found in what a client sends as content
    bool lstrip, rstrip; // takes the white space before, behind it along
};

struct added {
    struct special *list; // [n], longest text first, at equal length by id: their rank
    int32_t n;
    struct trie trie; // of the texts read backwards; value: rank
    int32_t *fail;    // [trie.n_nodes]: Aho-Corasick's
    // Two sets: [0] what is found in content, [1] all.
    int32_t *longest[2]; // [trie.n_nodes]: rank of the longest text that begins here; -1
    int32_t *shorter[2]; // [n]: the next longest that begins at the same place; -1
};

struct piece { // of the input: a found token, or text to be spelled
    struct bytes text;
    int32_t id; // -1: text
};
struct pieces {
    struct piece *p;
    size_t n, allocated;
};

// Sorts the list and makes the automaton; the texts must live as long.
void added_make(struct added *added);
void added_free(struct added *added);
// Longest text first over the whole input, at equal length the lower id, then from left to right:
// what llama.cpp does with a pass for each. One pass here.
void added_cut(const struct added *added, struct bytes text, bool special, struct pieces *out);
// All of them, but control tokens only where no byte is a client's (client [text.n]: 1).
void added_cut_written(const struct added *added, struct bytes text, const uint8_t *client,
                       struct pieces *out);

// ---- unicode.c ----------------------------------------------------------------------------------

enum category { OTHER, SPACE, CONTROL, MARK, PUNCTUATION, SYMBOL_SIGN };
// One code point of p[0 .. n): its length, or 0 when p[0] does not start one. Surrogates count.
size_t unicode_decode(const uint8_t *p, size_t n, uint32_t *point);
size_t unicode_encode(uint8_t *out, uint32_t point); // 1 to 4 bytes
enum category unicode_category(uint32_t point);
uint32_t unicode_lower(uint32_t point);
uint32_t unicode_base(uint32_t point); // the first of its canonical decomposition
// Appends text in normalization form C; invalid bytes beside characters become U+FFFD.
void unicode_nfc(struct buf *out, struct bytes text);
// How long a character is by its first byte alone: 1 for bytes that cannot be one.
size_t unicode_length(uint8_t first);

// ---- pretokenizer.c, families.c -----------------------------------------------------------------

enum how { CUT, THREES, THREES_ASCII };
struct step {
    const char *expression;
    enum how how; // CUT: matches and what lies between are pieces; THREES: runs of digits are cut
                  // into threes from their end, text before a run stays with its first group
};
enum { MAX_STEPS = 6 };
struct family {
    const char *names; // space separated values of tokenizer.ggml.pre
    struct step steps[MAX_STEPS];
    bool whole_words;    // a word that is a token is taken before any merge
    bool adds_bos;       // when the file does not say
    bool raw;            // tokens are spelled as they are, not byte by byte
    bool escapes;        // spaces become U+2581 before words are cut
    bool whole_newlines; // a word of newlines that is a token is taken before any merge
    bool space_words;    // each U+2581 begins a word, and every line begins with one
};
const struct family *family_find(struct bytes name); // NULL: unknown

struct pretokenizer; // compiled expressions; read-only

struct words { // a text cut into words: word i is bytes end[i - 1] .. end[i]
    size_t *end;
    size_t n, allocated;
};

// `name`: tokenizer.ggml.pre; n == 0 means `default`. UNSUPPORTED says what to do.
MUST_USE enum status pretokenizer_open(struct pretokenizer **out, struct bytes name,
                                       struct err *err);
void pretokenizer_close(struct pretokenizer *pretokenizer);
const struct family *pretokenizer_family(const struct pretokenizer *pretokenizer);

// Text as the tokenizer sees it. `text` has what is invalid replaced by U+FFFD; `shape` is the same
// length and valid UTF-8 (lone surrogates, which `text` keeps as llama.cpp does, are U+E000 there):
// the expressions run on it.
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

// ---- the tokenizer ------------------------------------------------------------------------------

struct merge {
    int32_t left, right; // symbols; left < 0: free slot
    int32_t rank, result;
};

struct tokenizer {
    enum kind kind;
    struct pretokenizer *pretokenizer; // BPE
    // texts as they are looked for
    uint8_t *bytes; // the texts of all symbols, one after the other
    size_t n_bytes, bytes_allocated;
    size_t *start; // [n_symbols + 1] into bytes
    int32_t n_vocab, n_symbols, symbols_allocated;
    int32_t *by_text; // hash table of symbols, -1 free; only those that text may become
    size_t by_text_mask, n_indexed;
    uint64_t hash_seed; // so that a file cannot aim at collisions
    // BPE, SCORED
    struct merge *merges; // hash table
    size_t merges_mask, n_merges;
    int32_t byte_symbol[256]; // BPE over bytes
    // the others
    struct trie trie; // of the tokens that text may become
    float *score;     // [n_vocab]
    float unknown_score;
    uint8_t *charsmap; // UNIGRAM: sentencepiece's precompiled normalizer
    size_t n_charsmap;
    // texts as they are given out
    uint8_t *pieces;
    size_t *piece_start;  // [n_vocab + 1] into pieces
    uint8_t *type;        // [n_vocab]: enum token_type
    int32_t byte_id[256]; // the token that stands for a byte; -1: none
    struct added added;
    uint8_t *added_texts; // what they view
    size_t longest;       // bytes of the longest symbol or added text
    int32_t bos, eos, sep, unknown, end[MAX_END];
    int n_end;
    bool add_bos, add_eos, add_sep, add_space, merge_spaces, lowercase, strip_accents, nfc;
    bool plamo3, drops_spaces;
    struct dna *dna;                   // NULL: it is no tokenizer of DNA
    _Atomic(struct lexicon *) lexicon; // mask.c: made when it is first asked for
};

// ---- vocabulary.c -------------------------------------------------------------------------------

enum token_type {
    TYPE_NORMAL = 1,
    TYPE_UNKNOWN = 2,
    TYPE_CONTROL = 3,
    TYPE_USER = 4,
    TYPE_UNUSED = 5,
    TYPE_BYTE = 6,
    TYPE_MARK = 7 // ours: control in what is read, text in what is given out
};

// Fills the tables and keeps nothing of the source.
MUST_USE enum status vocabulary_fill(struct tokenizer *t, const struct vocabulary_source *source,
                                     struct err *err);
void vocabulary_free(struct tokenizer *t);

// ---- symbols.c: the texts that BPE computes with, and their merges ------------------------------

struct bytes symbols_text(const struct tokenizer *t, int32_t symbol);
int32_t symbols_find(const struct tokenizer *t, struct bytes text); // -1: no such symbol
void symbols_reserve(struct tokenizer *t, size_t n);          // the index has room for n symbols
void symbols_index(struct tokenizer *t, int32_t symbol);      // it is found from now on
int32_t symbols_add(struct tokenizer *t, struct bytes text);  // a new one, not found yet
int32_t symbols_need(struct tokenizer *t, struct bytes text); // the one of this text
// The slot of a pair of symbols; its left < 0: the two do not merge.
struct merge *symbols_merge(const struct tokenizer *t, int32_t left, int32_t right);
void symbols_reserve_merges(struct tokenizer *t, size_t n);
void symbols_add_merge(struct tokenizer *t, const struct merge *merge);

// ---- special.c: what a file says, and does not say, of its special tokens -----------------------

// The type that counts for each token: some are control tokens by their text, whatever the file
// says.
void special_types(uint8_t *type, const struct vocabulary_source *source);
// Which tokens end a text (t->end), and the ids and flags of struct tokenizer.
MUST_USE enum status special_ids(struct tokenizer *t, const struct vocabulary_source *source,
                                 struct err *err);

// ---- mask.c -------------------------------------------------------------------------------------

struct lexicon; // the vocabulary as a tree of bytes
void lexicon_close(struct lexicon *lexicon);

// ---- one encoding call --------------------------------------------------------------------------

struct speller {
    int32_t *ids;
    size_t cap, *n;
    bool full;
    // scratch of bpe.c
    struct node *nodes;
    uint64_t *heap;
    size_t n_heap, nodes_allocated, heap_allocated;
    struct buf text, composed; // scratch: the text as it is spelled
    bool after_special;        // SCORED: a token found by its text, or nothing, came before
};
void speller_emit(struct speller *s, int32_t id);

MUST_USE enum status bpe_spell(const struct tokenizer *t, struct speller *s, struct bytes text,
                               struct err *err);
// dna.c: as bpe_spell, where the tokenizer has .dna.
MUST_USE enum status dna_spell(const struct tokenizer *t, struct speller *s, struct bytes text,
                               struct err *err);
struct dna *dna_new(void); // free() ends it
// A token of the file, as it stands there. true: six letters, which are given out without the mark
// behind them and come of DNA alone.
bool dna_take(struct dna *dna, struct bytes text, int32_t id);
MUST_USE enum status dna_check(const struct dna *dna, struct err *err); // its marks are there
void scored_spell(const struct tokenizer *t, struct speller *s, struct bytes text);
void unigram_spell(const struct tokenizer *t, struct speller *s, struct bytes text);
void plamo_spell(const struct tokenizer *t, struct speller *s, struct bytes text);
void wordpiece_spell(const struct tokenizer *t, struct speller *s, struct bytes text);
void greedy_spell(const struct tokenizer *t, struct speller *s, struct bytes text);
