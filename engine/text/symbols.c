// symbols.c - the texts that BPE computes with: their bytes one after another, found by a hash, and
// the merges of two of them.
//
// Symbols 0 .. n_vocab - 1 are the tokens; behind them come those that only merges name. Both
// tables are open addressed, at most two thirds full, and grow; hashes are seeded for each
// tokenizer, so that no file can make them slow. A view of a symbol's text is good until the next
// symbol is added.
#include "inside.h"

#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * 0x9e3779b97f4a7c15ull;
    return h ^ h >> 29;
}

static uint64_t hash_bytes(uint64_t seed, struct bytes text)
{
    uint64_t h = mix(seed, text.n), word = 0;
    size_t i = 0;
    for (; i + 8 <= text.n; i += 8) {
        memcpy(&word, text.p + i, 8);
        h = mix(h, word);
    }
    word = 0;
    for (size_t k = 0; i + k < text.n; k++)
        word |= (uint64_t)text.p[i + k] << 8 * k;
    return mix(mix(h, word), seed);
}

struct bytes symbols_text(const struct tokenizer *t, int32_t symbol)
{
    return (struct bytes){t->bytes + t->start[symbol], t->start[symbol + 1] - t->start[symbol]};
}

int32_t symbols_find(const struct tokenizer *t, struct bytes text)
{
    for (size_t slot = hash_bytes(t->hash_seed, text) & t->by_text_mask;;
         slot = (slot + 1) & t->by_text_mask) {
        int32_t symbol = t->by_text[slot];
        if (symbol < 0 || bytes_equal(symbols_text(t, symbol), text))
            return symbol;
    }
}

// At most two thirds full.
static size_t table_mask(uint64_t n)
{
    size_t size = 64;
    while (size < n + n / 2)
        size *= 2;
    return size - 1;
}

static void index_symbol(struct tokenizer *t, int32_t symbol)
{
    size_t slot = hash_bytes(t->hash_seed, symbols_text(t, symbol)) & t->by_text_mask;
    while (t->by_text[slot] >= 0)
        slot = (slot + 1) & t->by_text_mask;
    t->by_text[slot] = symbol;
}

void symbols_reserve(struct tokenizer *t, size_t n)
{
    int32_t *old = t->by_text;
    size_t n_old = old ? t->by_text_mask + 1 : 0;
    t->by_text_mask = table_mask(n);
    t->by_text = mem_array(t->by_text_mask + 1, sizeof(*t->by_text));
    memset(t->by_text, 0xff, (t->by_text_mask + 1) * sizeof(*t->by_text));
    for (size_t i = 0; i < n_old; i++)
        if (old[i] >= 0)
            index_symbol(t, old[i]);
    free(old);
}

void symbols_index(struct tokenizer *t, int32_t symbol)
{
    if ((++t->n_indexed) * 3 / 2 > t->by_text_mask)
        symbols_reserve(t, t->n_indexed * 2);
    index_symbol(t, symbol);
}

int32_t symbols_add(struct tokenizer *t, struct bytes text)
{
    if (t->n_symbols == t->symbols_allocated) {
        t->symbols_allocated = t->symbols_allocated < 1024 ? 1024 : t->symbols_allocated * 2;
        t->start = mem_resize(t->start, ((size_t)t->symbols_allocated + 1) * sizeof(*t->start));
    }
    if (t->n_bytes + text.n > t->bytes_allocated) {
        t->bytes_allocated = (t->n_bytes + text.n) * 2 + 4096;
        t->bytes = mem_resize(t->bytes, t->bytes_allocated);
    }
    if (text.n > 0)
        memcpy(t->bytes + t->n_bytes, text.p, text.n);
    t->start[t->n_symbols] = t->n_bytes;
    t->n_bytes += text.n;
    t->start[t->n_symbols + 1] = t->n_bytes;
    if (text.n > t->longest)
        t->longest = text.n;
    return t->n_symbols++;
}

int32_t symbols_need(struct tokenizer *t, struct bytes text)
{
    int32_t symbol = symbols_find(t, text);
    if (symbol < 0) {
        symbol = symbols_add(t, text);
        symbols_index(t, symbol);
    }
    return symbol;
}

struct merge *symbols_merge(const struct tokenizer *t, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t slot = mix(mix(t->hash_seed, pair), pair >> 17) & t->merges_mask;
    while (t->merges[slot].left >= 0 &&
           (t->merges[slot].left != left || t->merges[slot].right != right))
        slot = (slot + 1) & t->merges_mask;
    return &t->merges[slot];
}

void symbols_reserve_merges(struct tokenizer *t, size_t n)
{
    struct merge *old = t->merges;
    size_t n_old = old ? t->merges_mask + 1 : 0;
    t->merges_mask = table_mask(n);
    t->merges = mem_array(t->merges_mask + 1, sizeof(*t->merges));
    for (size_t i = 0; i <= t->merges_mask; i++)
        t->merges[i].left = -1;
    for (size_t i = 0; i < n_old; i++)
        if (old[i].left >= 0)
            *symbols_merge(t, old[i].left, old[i].right) = old[i];
    free(old);
}

void symbols_add_merge(struct tokenizer *t, const struct merge *merge)
{
    if ((t->n_merges + 1) * 3 / 2 > t->merges_mask)
        symbols_reserve_merges(t, t->n_merges * 2 + 64);
    struct merge *slot = symbols_merge(t, merge->left, merge->right);
    if (slot->left < 0) { // a pair named twice keeps its first rank
        *slot = *merge;
        t->n_merges++;
    }
}
