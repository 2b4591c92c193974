// tokenizer.c - byte-level BPE (Sennrich et al. 2016; Radford et al. 2019): text to ids and ids to
// bytes.
//
// Encoding: 1. tokens with special texts are cut out, longest text first over the whole input (as
// llama.cpp does); 2. what is between is cleaned and cut into words (pretokenizer.c);
// 3. each word is merged: the merge of the lowest rank goes first, at equal rank the leftmost. A
// priority queue and a linked list make that n log n in the length of a word, so that one long word
// costs no more than many short ones.
// Control tokens are never the result of 2 and 3: a client's content cannot forge them.

#include "inside.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT_BYTES = 64 << 20 };

// ---- life ---------------------------------------------------------------------------------------

enum status tokenizer_open(struct tokenizer **out, const struct vocabulary_source *source,
                           struct err *err)
{
    char text[NAME_TEXT];
    if (source->model.n == 0)
        return err_set(err, BAD_INPUT,
                       "key 'tokenizer.ggml.model' is missing: the file has no tokenizer");
    if (!bytes_equal_text(source->model, "gpt2"))
        return err_set(
            err, UNSUPPORTED,
            "key 'tokenizer.ggml.model' is '%s'; this build knows 'gpt2' (byte-level BPE)",
            name_text(text, source->model));
    struct tokenizer *t = mem_alloc(sizeof(*t));
    enum status status = pretokenizer_open(&t->pretokenizer, source->pre, err);
    if (status == OK)
        status = vocabulary_fill(t, source, err);
    if (status != OK)
        tokenizer_close(t);
    else
        *out = t;
    return status;
}

void tokenizer_close(struct tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    pretokenizer_close(tokenizer->pretokenizer);
    vocabulary_free(tokenizer);
    free(tokenizer);
}

// ---- ids to bytes -------------------------------------------------------------------------------

struct bytes tokenizer_decode(const struct tokenizer *tokenizer, int32_t id)
{
    if (id < 0 || id >= tokenizer->n_vocab || tokenizer->hidden[id])
        return (struct bytes){tokenizer->bytes, 0};
    return vocabulary_text(tokenizer, id);
}

bool tokenizer_is_end(const struct tokenizer *tokenizer, int32_t id)
{
    for (int i = 0; i < tokenizer->n_end; i++)
        if (tokenizer->end[i] == id)
            return true;
    return false;
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
    for (int32_t i = 0; i < tokenizer->n_specials; i++)
        if (bytes_equal_text(tokenizer->specials[i].text, text))
            return tokenizer->specials[i].id;
    return -1;
}

// ---- one word -----------------------------------------------------------------------------------

struct node {       // a symbol of the word, in a linked list
    int32_t symbol; // -1: merged into its left neighbour
    int32_t prev, next;
};

struct pair {                    // a merge that may be done
    int32_t rank, at;            // at: the left node
    int32_t left, right, result; // the symbols it was made for; stale when they have changed
};

struct speller { // scratch of one encode call
    struct node *nodes;
    struct pair *heap; // smallest (rank, at) first
    size_t n_heap, nodes_allocated, heap_allocated;
    int32_t *ids;
    size_t cap, *n;
    bool full;
};

static bool pair_before(const struct pair *a, const struct pair *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(struct speller *s, struct pair pair)
{
    if (s->n_heap == s->heap_allocated) {
        s->heap_allocated = s->heap_allocated != 0 ? s->heap_allocated * 2 : 256;
        s->heap = mem_resize(s->heap, s->heap_allocated * sizeof(*s->heap));
    }
    size_t i = s->n_heap++;
    for (; i > 0 && pair_before(&pair, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = pair;
}

static struct pair heap_pop(struct speller *s)
{
    struct pair first = s->heap[0], last = s->heap[--s->n_heap];
    size_t i = 0;
    for (size_t child = 1; child < s->n_heap; child = 2 * i + 1) {
        if (child + 1 < s->n_heap && pair_before(&s->heap[child + 1], &s->heap[child]))
            child++;
        if (!pair_before(&s->heap[child], &last))
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return first;
}

static void consider(const struct tokenizer *t, struct speller *s, int32_t left, int32_t right)
{
    if (left < 0 || right < 0)
        return;
    const struct merge *merge = vocabulary_merge(t, s->nodes[left].symbol, s->nodes[right].symbol);
    if (merge->left >= 0)
        heap_push(s, (struct pair){merge->rank, left, merge->left, merge->right, merge->result});
}

static void emit(struct speller *s, int32_t id)
{
    if (*s->n < s->cap)
        s->ids[(*s->n)++] = id;
    else
        s->full = true;
}

// A text that only merges speak of has no id: like llama.cpp, those of its bytes that
// the vocabulary spells with one ASCII character come out alone and the others are lost. No real
// vocabulary gets here.
static void emit_bytes(const struct tokenizer *t, struct speller *s, struct bytes text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] > 32 && text.p[i] < 127 && t->byte_symbol[text.p[i]] < t->n_vocab)
            emit(s, t->byte_symbol[text.p[i]]);
}

static void spell_word(const struct tokenizer *t, struct speller *s, struct bytes word)
{
    if (pretokenizer_whole_words(t->pretokenizer)) {
        int32_t id = vocabulary_find(t, word);
        if (id >= 0 && id < t->n_vocab) {
            emit(s, id);
            return;
        }
    }
    if (word.n > s->nodes_allocated) {
        s->nodes_allocated = word.n * 2;
        s->nodes = mem_resize(s->nodes, s->nodes_allocated * sizeof(*s->nodes));
    }
    int32_t n = (int32_t)word.n;
    for (int32_t i = 0; i < n; i++)
        s->nodes[i] = (struct node){t->byte_symbol[word.p[i]], i - 1, i + 1 < n ? i + 1 : -1};
    s->n_heap = 0;
    for (int32_t i = 0; i + 1 < n; i++)
        consider(t, s, i, i + 1);
    while (s->n_heap > 0) {
        struct pair pair = heap_pop(s);
        struct node *left = &s->nodes[pair.at];
        if (left->symbol != pair.left || left->next < 0 ||
            s->nodes[left->next].symbol != pair.right)
            continue;
        struct node *right = &s->nodes[left->next];
        left->symbol = pair.result;
        right->symbol = -1;
        left->next = right->next;
        if (right->next >= 0)
            s->nodes[right->next].prev = pair.at;
        consider(t, s, left->prev, pair.at);
        consider(t, s, pair.at, left->next);
    }
    for (int32_t i = 0; i >= 0; i = s->nodes[i].next)
        if (s->nodes[i].symbol < t->n_vocab)
            emit(s, s->nodes[i].symbol);
        else
            emit_bytes(t, s, vocabulary_text(t, s->nodes[i].symbol));
}

static enum status spell_text(const struct tokenizer *t, struct speller *s, struct bytes text,
                              struct err *err)
{
    struct clean_text clean;
    struct words words = {NULL, 0, 0};
    clean_text_make(&clean, text);
    enum status status = pretokenizer_split(t->pretokenizer, &clean, &words, err);
    size_t start = 0;
    for (size_t i = 0; i < words.n && status == OK && !s->full; i++) {
        spell_word(t, s, (struct bytes){clean.text + start, words.end[i] - start});
        start = words.end[i];
    }
    words_free(&words);
    clean_text_free(&clean);
    return status;
}

// ---- special texts ------------------------------------------------------------------------------

// Of specials_by_text[*low .. *high), which agree with some text on `depth` bytes, keeps those
// whose next byte is `byte`.
static void narrow(const struct tokenizer *t, int32_t *low, int32_t *high, size_t depth,
                   uint8_t byte)
{
    int32_t from = *low, to = *high;
    while (from < to) { // first whose next byte is >= byte; a text that ends here counts as smaller
        int32_t middle = from + (to - from) / 2;
        struct bytes name = t->specials[t->specials_by_text[middle]].text;
        if (name.n <= depth || name.p[depth] < byte)
            from = middle + 1;
        else
            to = middle;
    }
    *low = from;
    to = *high;
    while (from < to) { // first whose next byte is > byte
        int32_t middle = from + (to - from) / 2;
        if (t->specials[t->specials_by_text[middle]].text.p[depth] <= byte)
            from = middle + 1;
        else
            to = middle;
    }
    *high = from;
}

// Marks the specials that occur anywhere in the text: most do not, and only those that do need a
// pass over it.
static bool mark_present(const struct tokenizer *t, struct bytes text, bool special,
                         uint8_t *present)
{
    bool any = false, first_byte[256] = {false};
    for (int32_t i = 0; i < t->n_specials; i++)
        if (special || !t->specials[i].control)
            first_byte[t->specials[i].text.p[0]] = true;
    for (size_t at = 0; at < text.n; at++) {
        if (!first_byte[text.p[at]])
            continue;
        int32_t low = 0, high = t->n_specials;
        for (size_t depth = 0; low < high && at + depth < text.n; depth++) {
            narrow(t, &low, &high, depth, text.p[at + depth]);
            int32_t found = low < high ? t->specials_by_text[low] : -1;
            if (found < 0 || t->specials[found].text.n != depth + 1 ||
                (!special && t->specials[found].control))
                continue;
            present[found] = 1;
            any = true;
        }
    }
    return any;
}

struct piece { // of the input: a found special, or text to be spelled
    struct bytes text;
    int32_t id; // -1: text
};

struct pieces {
    struct piece *p;
    size_t n, allocated;
};

static void add_piece(struct pieces *pieces, struct bytes text, int32_t id)
{
    if (text.n == 0)
        return;
    if (pieces->n == pieces->allocated) {
        pieces->allocated = pieces->allocated != 0 ? pieces->allocated * 2 : 64;
        pieces->p = mem_resize(pieces->p, pieces->allocated * sizeof(*pieces->p));
    }
    pieces->p[pieces->n++] = (struct piece){text, id};
}

static void cut_special(struct pieces *out, const struct piece *piece,
                        const struct special *special)
{
    struct bytes rest = piece->text;
    while (piece->id < 0 && rest.n >= special->text.n) {
        const uint8_t *found = memmem(rest.p, rest.n, special->text.p, special->text.n);
        if (!found)
            break;
        add_piece(out, (struct bytes){rest.p, (size_t)(found - rest.p)}, -1);
        add_piece(out, (struct bytes){found, special->text.n}, special->id);
        rest.n -= (size_t)(found - rest.p) + special->text.n;
        rest.p = found + special->text.n;
    }
    add_piece(out, rest, piece->id);
}

static void cut_specials(const struct tokenizer *t, struct bytes text, bool special,
                         struct pieces *pieces)
{
    uint8_t *present = mem_alloc((size_t)t->n_specials + 1);
    add_piece(pieces, text, -1);
    if (mark_present(t, text, special, present)) {
        struct pieces other = {NULL, 0, 0};
        for (int32_t i = 0; i < t->n_specials; i++) {
            if (!present[i])
                continue;
            other.n = 0;
            for (size_t k = 0; k < pieces->n; k++)
                cut_special(&other, &pieces->p[k], &t->specials[i]);
            struct pieces swap = *pieces;
            *pieces = other;
            other = swap;
        }
        free(other.p);
    }
    free(present);
}

// ---- text to ids --------------------------------------------------------------------------------

enum status tokenizer_append(const struct tokenizer *tokenizer, struct bytes text, bool special,
                             int32_t *ids, size_t cap, size_t *n, struct err *err)
{
    if (text.n > MAX_TEXT_BYTES)
        return err_set(err, TOO_LARGE, "text of %zu bytes; at most %d are tokenized", text.n,
                       MAX_TEXT_BYTES);
    struct pieces pieces = {NULL, 0, 0};
    struct speller speller = {.ids = ids, .cap = cap, .n = n};
    enum status status = OK;
    size_t n_before = *n;
    cut_specials(tokenizer, text, special, &pieces);
    for (size_t i = 0; i < pieces.n && status == OK && !speller.full; i++)
        if (pieces.p[i].id >= 0)
            emit(&speller, pieces.p[i].id);
        else
            status = spell_text(tokenizer, &speller, pieces.p[i].text, err);
    free(pieces.p);
    free(speller.nodes);
    free(speller.heap);
    if (status == OK && speller.full)
        status = err_set(err, TOO_LARGE, "text of %zu bytes is more than the %zu tokens that fit",
                         text.n, cap);
    if (status != OK)
        *n = n_before;
    return status;
}

enum status tokenizer_encode(const struct tokenizer *tokenizer, struct bytes text, bool special,
                             int32_t *ids, size_t cap, size_t *n, struct err *err)
{
    size_t count = 0;
    if (tokenizer->add_bos) {
        if (cap == 0)
            return err_set(err, TOO_LARGE, "no room for a token");
        ids[count++] = tokenizer->bos;
    }
    enum status status = tokenizer_append(tokenizer, text, special, ids, cap, &count, err);
    if (status == OK)
        *n = count;
    return status;
}
