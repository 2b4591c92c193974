// bpe.c - spelling by merges (Sennrich et al. 2016): the symbols of a word are merged pair by pair,
// the pair of the lowest rank first, at equal rank the leftmost.
//
// Two kinds: BPE cuts text into words and merges by the file's list; SCORED (SentencePiece's BPE)
// merges over the whole text by the scores of what comes out. A priority queue and a linked list
// make both n log n in the length of a word, so that one long word costs no more than many short
// ones. Symbols are bytes, or characters where the family's tokens are spelled as they are.

#include "inside.h"

#include <stdlib.h>
#include <string.h>

#define SPACE_MARK "\xe2\x96\x81" // U+2581 stands for a space

struct node {       // a symbol of the word, in a linked list
    int32_t symbol; // -1: merged into its left neighbour; UNNAMED
    int32_t prev, next;
    uint32_t start, n; // of its text in the word
};

enum { UNNAMED = -2 }; // a character that neither tokens nor merges speak of

// ---- merging ------------------------------------------------------------------------------------

// Merges that may be done wait in a heap of four branches, the smallest first: rank << 32 | left
// node. Whether a merge is still the one that was meant shows when it is taken: its rank must be
// that of the pair that stands there then.
static void heap_push(struct speller *s, uint64_t key)
{
    if (s->n_heap == s->heap_allocated) {
        s->heap_allocated = s->heap_allocated != 0 ? s->heap_allocated * 2 : 256;
        s->heap = mem_resize(s->heap, s->heap_allocated * sizeof(*s->heap));
    }
    size_t i = s->n_heap++;
    for (; i > 0 && key < s->heap[(i - 1) / 4]; i = (i - 1) / 4)
        s->heap[i] = s->heap[(i - 1) / 4];
    s->heap[i] = key;
}

static uint64_t heap_pop(struct speller *s)
{
    uint64_t first = s->heap[0], last = s->heap[--s->n_heap];
    size_t i = 0;
    for (size_t child = 1; child < s->n_heap; child = 4 * i + 1) {
        size_t end = child + 4 < s->n_heap ? child + 4 : s->n_heap;
        for (size_t other = child + 1; other < end; other++)
            if (s->heap[other] < s->heap[child])
                child = other;
        if (s->heap[child] >= last)
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return first;
}

// The merge of a node with the one behind it; NULL: the two do not merge.
static const struct merge *merge_at(const struct tokenizer *t, const struct speller *s, int32_t at)
{
    const struct node *left = &s->nodes[at];
    if (left->symbol < 0 || left->next < 0 || s->nodes[left->next].symbol < 0)
        return NULL;
    const struct merge *merge = symbols_merge(t, left->symbol, s->nodes[left->next].symbol);
    return merge->left >= 0 ? merge : NULL;
}

static void consider(const struct tokenizer *t, struct speller *s, int32_t at)
{
    const struct merge *merge = at >= 0 ? merge_at(t, s, at) : NULL;
    if (merge)
        heap_push(s, (uint64_t)(uint32_t)merge->rank << 32 | (uint32_t)at);
}

static void merge_all(const struct tokenizer *t, struct speller *s, int32_t n)
{
    s->n_heap = 0;
    for (int32_t i = 0; i + 1 < n; i++)
        consider(t, s, i);
    while (s->n_heap > 0) {
        uint64_t key = heap_pop(s);
        int32_t at = (int32_t)(key & 0xffffffff);
        const struct merge *merge = merge_at(t, s, at);
        if (!merge || (uint32_t)merge->rank != key >> 32)
            continue;
        struct node *left = &s->nodes[at], *right = &s->nodes[left->next];
        left->symbol = merge->result;
        left->n += right->n;
        right->symbol = -1;
        left->next = right->next;
        if (right->next >= 0)
            s->nodes[right->next].prev = at;
        consider(t, s, left->prev);
        consider(t, s, at);
    }
}

static void need_nodes(struct speller *s, size_t n)
{
    if (n <= s->nodes_allocated)
        return;
    s->nodes_allocated = n + n / 4 + 64;
    s->nodes = mem_resize(s->nodes, s->nodes_allocated * sizeof(*s->nodes));
}

static size_t count_characters(struct bytes word)
{
    size_t n = 0;
    for (size_t at = 0; at < word.n; n++)
        at += unicode_length(word.p[at]);
    return n;
}

static int32_t bytes_as_nodes(const struct tokenizer *t, struct speller *s, struct bytes word)
{
    int32_t n = (int32_t)word.n;
    need_nodes(s, word.n);
    for (int32_t i = 0; i < n; i++)
        s->nodes[i] =
            (struct node){t->byte_symbol[word.p[i]], i - 1, i + 1 < n ? i + 1 : -1, (uint32_t)i, 1};
    return n;
}

static int32_t characters_as_nodes(const struct tokenizer *t, struct speller *s, struct bytes word)
{
    int32_t n = 0;
    need_nodes(s, count_characters(word));
    for (size_t at = 0; at < word.n; n++) {
        size_t length = unicode_length(word.p[at]);
        if (length > word.n - at)
            length = word.n - at;
        int32_t symbol = symbols_find(t, (struct bytes){word.p + at, length});
        s->nodes[n] = (struct node){symbol >= 0 ? symbol : UNNAMED, n - 1, n + 1, (uint32_t)at,
                                    (uint32_t)length};
        at += length;
    }
    if (n > 0)
        s->nodes[n - 1].next = -1;
    return n;
}

// ---- BPE ----------------------------------------------------------------------------------------

// A text that only merges speak of has no id: like llama.cpp, those of its bytes that the
// vocabulary spells with one ASCII character come out alone and the others are lost. No real
// vocabulary gets here.
static void emit_spelled_bytes(const struct tokenizer *t, struct speller *s, struct bytes text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] > 32 && text.p[i] < 127 && t->byte_symbol[text.p[i]] < t->n_vocab)
            speller_emit(s, t->byte_symbol[text.p[i]]);
}

// <0xNN>, and where there is no such token the unknown one, once.
static void emit_byte_tokens(const struct tokenizer *t, struct speller *s, struct bytes text,
                             int32_t unknown)
{
    bool missing = false;
    for (size_t i = 0; i < text.n; i++)
        if (t->byte_id[text.p[i]] >= 0)
            speller_emit(s, t->byte_id[text.p[i]]);
        else
            missing = true;
    if (missing && unknown >= 0)
        speller_emit(s, unknown);
}

static bool only_newlines(struct bytes word)
{
    for (size_t i = 0; i < word.n; i++)
        if (word.p[i] != '\n')
            return false;
    return true;
}

static void spell_word(const struct tokenizer *t, struct speller *s, const struct family *family,
                       struct bytes word)
{
    if (family->whole_words || (family->whole_newlines && only_newlines(word))) {
        int32_t id = symbols_find(t, word);
        if (id >= 0 && id < t->n_vocab) {
            speller_emit(s, id);
            return;
        }
    }
    int32_t n = family->raw ? characters_as_nodes(t, s, word) : bytes_as_nodes(t, s, word);
    merge_all(t, s, n);
    for (int32_t i = n > 0 ? 0 : -1; i >= 0; i = s->nodes[i].next) {
        const struct node *node = &s->nodes[i];
        struct bytes text = {word.p + node->start, node->n};
        if (node->symbol >= 0 && node->symbol < t->n_vocab)
            speller_emit(s, node->symbol);
        else if (family->raw)
            emit_byte_tokens(t, s, text, -1);
        else
            emit_spelled_bytes(t, s, text);
    }
}

// Every U+2581 begins a word, and so does what does not begin with one, behind a U+2581 of its own.
static void spell_space_words(const struct tokenizer *t, struct speller *s,
                              const struct family *family, struct bytes word)
{
    if (only_newlines(word)) {
        spell_word(t, s, family, word);
        return;
    }
    struct buf *line = &s->composed;
    line->n = 0;
    bool begins = word.n >= 3 && memcmp(word.p, SPACE_MARK, 3) == 0;
    if ((!begins && buf_add(line, SPACE_MARK, 3) != OK) || buf_add(line, word.p, word.n) != OK)
        die("out of memory");
    for (size_t start = 0; start < line->n && !s->full;) {
        size_t from = start + 3 < line->n ? start + 3 : line->n;
        const uint8_t *next = memmem(line->p + from, line->n - from, SPACE_MARK, 3);
        size_t end = next ? (size_t)(next - line->p) : line->n;
        spell_word(t, s, family, (struct bytes){line->p + start, end - start});
        start = end;
    }
}

static void escape_spaces(struct buf *out, struct bytes text)
{
    enum status status = OK;
    size_t start = 0;
    for (size_t i = 0; i < text.n && status == OK; i++) {
        if (text.p[i] != ' ')
            continue;
        status = buf_add(out, text.p + start, i - start);
        if (status == OK)
            status = buf_add(out, SPACE_MARK, 3);
        start = i + 1;
    }
    if (status == OK)
        status = buf_add(out, text.p + start, text.n - start);
    if (status != OK)
        die("out of memory");
}

static enum status spell_words(const struct tokenizer *t, struct speller *s, struct bytes text,
                               struct err *err)
{
    const struct family *family = pretokenizer_family(t->pretokenizer);
    struct clean_text clean;
    struct words words = {NULL, 0, 0};
    clean_text_make(&clean, text);
    enum status status = pretokenizer_split(t->pretokenizer, &clean, &words, err);
    size_t start = 0;
    for (size_t i = 0; i < words.n && status == OK && !s->full; i++) {
        struct bytes word = {clean.text + start, words.end[i] - start};
        if (family->space_words)
            spell_space_words(t, s, family, word);
        else
            spell_word(t, s, family, word);
        start = words.end[i];
    }
    words_free(&words);
    clean_text_free(&clean);
    return status;
}

// The text without its white space, in lower case where the file wants that; every stretch alone.
static enum status spell_stretches(const struct tokenizer *t, struct speller *s, struct bytes text,
                                   struct err *err)
{
    struct buf *stretch = &s->text;
    enum status status = OK;
    stretch->n = 0;
    for (size_t i = 0; i <= text.n && status == OK && !s->full;) {
        uint32_t point = 0xfffd;
        size_t length = i < text.n ? unicode_decode(text.p + i, text.n - i, &point) : 1;
        if (length == 0)
            point = 0xfffd;
        if (i == text.n || unicode_category(point) == SPACE) {
            if (stretch->n > 0)
                status = spell_words(t, s, buf_view(stretch), err);
            stretch->n = 0;
        } else {
            uint8_t out[4];
            size_t n = unicode_encode(out, t->lowercase ? unicode_lower(point) : point);
            if (buf_add(stretch, out, n) != OK)
                die("out of memory");
        }
        i += length != 0 ? length : 1;
    }
    return status;
}

enum status bpe_spell(const struct tokenizer *t, struct speller *s, struct bytes text,
                      struct err *err)
{
    if (t->drops_spaces)
        return spell_stretches(t, s, text, err);
    if (t->nfc) {
        s->composed.n = 0;
        unicode_nfc(&s->composed, text);
        text = buf_view(&s->composed);
    }
    if (pretokenizer_family(t->pretokenizer)->escapes) {
        s->text.n = 0;
        escape_spaces(&s->text, text);
        text = buf_view(&s->text);
    }
    return spell_words(t, s, text, err);
}

// ---- SCORED -------------------------------------------------------------------------------------

void scored_spell(const struct tokenizer *t, struct speller *s, struct bytes text)
{
    s->text.n = 0;
    if (t->add_space && s->after_special && buf_add(&s->text, SPACE_MARK, 3) != OK)
        die("out of memory");
    escape_spaces(&s->text, text);
    int32_t n = characters_as_nodes(t, s, buf_view(&s->text));
    merge_all(t, s, n);
    for (int32_t i = n > 0 ? 0 : -1; i >= 0 && !s->full; i = s->nodes[i].next) {
        const struct node *node = &s->nodes[i];
        if (node->symbol >= 0 && node->symbol < t->n_vocab)
            speller_emit(s, node->symbol);
        else
            emit_byte_tokens(t, s, (struct bytes){s->text.p + node->start, node->n}, t->unknown);
    }
}
