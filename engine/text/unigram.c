// unigram.c - the most likely cut of a text into tokens (Kudo 2018): SentencePiece's unigram models
// (T5, XLM-R) and PLaMo's, which differ in normalizing, in the direction of the search and in what
// they do with what no token covers.
//
// SentencePiece's normalizer is a table in the file, "precompiled_charsmap": u32 bytes of a double
// array, the array (u32 each), then replacement texts ended by NUL. An entry of the array: bits 0-7
// the byte that leads to it (with bit 31: its check), bit 8: a text ends here, bits 10-30 its base
// (times 256 when bit 9 is set); the entry at the base of one where a text ends holds the offset of
// its replacement. Nothing of it is trusted: what leads outside matches nothing.

#include "inside.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- the normalizer -----------------------------------------------------------------------------

static uint32_t entry(const struct tokenizer *t, uint32_t index)
{
    uint32_t value, n_bytes;
    memcpy(&n_bytes, t->charsmap, 4);
    if ((uint64_t)index * 4 + 4 > n_bytes)
        return 1u << 31; // checks against no byte
    memcpy(&value, t->charsmap + 4 + (size_t)index * 4, 4);
    return value;
}

static uint32_t base(uint32_t value)
{
    return (value >> 10) << ((value & 1u << 9) >> 6);
}

// How many bytes of p[0 .. n) the longest entry covers, and what replaces them. 0: none does.
static size_t replace(const struct tokenizer *t, struct bytes text, struct bytes *by)
{
    uint32_t n_bytes, index = 0;
    size_t longest = 0, offset = 0;
    if (t->n_charsmap < 4)
        return 0;
    memcpy(&n_bytes, t->charsmap, 4);
    if (n_bytes > t->n_charsmap - 4)
        return 0;
    index = base(entry(t, 0));
    for (size_t i = 0; i < text.n && text.p[i] != 0; i++) {
        index ^= text.p[i];
        uint32_t value = entry(t, index);
        if ((value & (1u << 31 | 0xff)) != text.p[i])
            break;
        index ^= base(value);
        if ((value >> 8 & 1) != 0) {
            longest = i + 1;
            offset = entry(t, index) & ~(1u << 31);
        }
    }
    const uint8_t *texts = t->charsmap + 4 + n_bytes;
    size_t n_texts = t->n_charsmap - 4 - n_bytes;
    if (longest == 0 || offset >= n_texts)
        return 0;
    const uint8_t *end = memchr(texts + offset, 0, n_texts - offset);
    if (!end)
        return 0;
    *by = (struct bytes){texts + offset, (size_t)(end - texts) - offset};
    return longest;
}

struct spacing { // what was written last
    bool in_word, prefixed;
};

static void add_normal(const struct tokenizer *t, struct spacing *spacing, struct buf *out,
                       struct bytes text)
{
    enum status status = OK;
    for (size_t i = 0; i < text.n && status == OK; i++) {
        bool space = text.p[i] == ' ';
        bool begins = !space && !spacing->in_word;
        spacing->in_word = !space;
        if (space ? !t->merge_spaces
                  : begins && ((t->add_space && !spacing->prefixed) || t->merge_spaces)) {
            status = buf_add(out, "\xe2\x96\x81", 3);
            spacing->prefixed = spacing->prefixed || !space;
        }
        if (!space && status == OK)
            status = buf_add(out, text.p + i, 1);
    }
    if (status != OK)
        die("out of memory");
}

static void normalize(const struct tokenizer *t, struct bytes text, struct buf *out)
{
    struct spacing spacing = {false, false};
    for (size_t i = 0; i < text.n;) {
        struct bytes rest = {text.p + i, text.n - i}, by = {NULL, 0};
        size_t n = replace(t, rest, &by);
        if (n == 0) {
            uint32_t point;
            n = unicode_decode(rest.p, rest.n, &point);
            by = n > 0 ? (struct bytes){rest.p, n} : bytes_of("\xef\xbf\xbd");
        }
        add_normal(t, &spacing, out, by);
        i += n > 0 ? n : 1;
    }
}

// ---- unigram ------------------------------------------------------------------------------------

struct best {
    double score;
    int32_t id;
    uint32_t from; // where the token that ends here begins
};

static void offer(struct best *best, double score, int32_t id, size_t from)
{
    if (score > best->score)
        *best = (struct best){score, id, (uint32_t)from};
}

static void find_best(const struct tokenizer *t, struct bytes text, struct best *best)
{
    for (size_t i = 0; i <= text.n; i++)
        best[i] = (struct best){i == 0 ? 0 : -INFINITY, t->unknown, 0};
    for (size_t from = 0; from < text.n;) {
        size_t length = unicode_length(text.p[from]);
        if (length > text.n - from)
            length = text.n - from;
        bool covered = false;
        int32_t node = 0;
        for (size_t i = from; i < text.n; i++) {
            node = trie_step(&t->trie, node, text.p[i]);
            if (node == 0)
                break;
            int32_t id = t->trie.value[node];
            if (id < 0)
                continue;
            covered = covered || i + 1 - from == length;
            double score = t->type[id] == TYPE_USER ? 0 : t->score[id];
            offer(&best[i + 1], best[from].score + score, id, from);
        }
        if (!covered)
            offer(&best[from + length], best[from].score + t->unknown_score, t->unknown, from);
        from += length;
    }
}

void unigram_spell(const struct tokenizer *t, struct speller *s, struct bytes text)
{
    s->text.n = 0;
    normalize(t, text, &s->text);
    size_t n = s->text.n, n_ids = 0;
    if (n == 0)
        return;
    struct best *best = mem_array(n + 1, sizeof(*best));
    int32_t *ids = mem_array(n, sizeof(*ids));
    find_best(t, buf_view(&s->text), best);
    bool unknown_before = false;
    for (size_t at = n; at > 0; at = best[at].from) {
        bool unknown = best[at].id == t->unknown; // several in a row count as one
        if (!unknown || !unknown_before)
            ids[n_ids++] = best[at].id;
        unknown_before = unknown;
    }
    while (n_ids > 0 && !s->full) {
        int32_t id = ids[--n_ids];
        if (id >= 0)
            speller_emit(s, id);
    }
    free(best);
    free(ids);
}

// ---- PLaMo --------------------------------------------------------------------------------------

enum { UNKNOWN_COST = 10000000, INVALID_SCORE = -20000000 };

struct cheapest { // the way from here to the end
    int64_t cost;
    int32_t id;      // -1: the bytes of the character
    uint32_t length; // in bytes
};

static void find_cheapest(const struct tokenizer *t, struct bytes text, struct cheapest *way)
{
    way[text.n] = (struct cheapest){0, -1, 0};
    for (size_t from = text.n; from-- > 0;) {
        size_t length = unicode_length(text.p[from]);
        if ((text.p[from] & 0xc0) == 0x80)
            continue; // inside a character
        struct cheapest best = {way[from + length].cost + UNKNOWN_COST, -1, (uint32_t)length};
        int32_t node = 0;
        for (size_t i = from; i < text.n; i++) { // at equal cost the longest counts
            node = trie_step(&t->trie, node, text.p[i]);
            if (node == 0)
                break;
            int32_t id = t->trie.value[node];
            double score = id >= 0 ? round((double)(t->score[id] * 1e4f)) : INVALID_SCORE;
            if (!(score > INVALID_SCORE) || score > 1e9 ||
                (i + 1 < text.n && (text.p[i + 1] & 0xc0) == 0x80))
                continue;
            int64_t cost = way[i + 1].cost - (int64_t)score;
            if (cost <= best.cost)
                best = (struct cheapest){cost, id, (uint32_t)(i + 1 - from)};
        }
        way[from] = best;
    }
}

static void spell_segment(const struct tokenizer *t, struct speller *s, struct bytes text)
{
    struct cheapest *way = mem_array(text.n + 1, sizeof(*way));
    find_cheapest(t, text, way);
    for (size_t at = 0; at < text.n && !s->full; at += way[at].length) {
        if (way[at].id >= 0)
            speller_emit(s, way[at].id);
        for (size_t i = 0; way[at].id < 0 && i < way[at].length; i++)
            if (t->byte_id[text.p[at + i]] >= 0)
                speller_emit(s, t->byte_id[text.p[at + i]]);
    }
    free(way);
}

// "<|plamo:" and at most 64 characters without white space and bars, "|>": its length; 0: no.
static size_t plamo_mark(struct bytes text)
{
    static const char head[] = "<|plamo:";
    size_t at = sizeof(head) - 1, n = 0;
    if (text.n < at || memcmp(text.p, head, at) != 0)
        return 0;
    while (at < text.n && n < 64 && text.p[at] != '|') {
        uint32_t point = 0;
        size_t length = unicode_decode(text.p + at, text.n - at, &point);
        if (length == 0 || (point >= 0x1c && point <= 0x1f) || unicode_category(point) == SPACE)
            return 0;
        at += length;
        n++;
    }
    return at + 1 < text.n && text.p[at] == '|' && text.p[at + 1] == '>' ? at + 2 : 0;
}

// PLaMo 3 cuts first: around marks, around four equal characters and more or two spaces and more;
// at U+EE00, which is left out.
static void spell_cut(const struct tokenizer *t, struct speller *s, struct bytes text)
{
    uint8_t *cut = mem_alloc(text.n + 1);
    for (size_t i = 0; i < text.n;) {
        size_t n = text.p[i] == '<' ? plamo_mark((struct bytes){text.p + i, text.n - i}) : 0;
        if (n > 0)
            cut[i] = cut[i + n] = 1;
        i += n > 0 ? n : 1;
    }
    for (size_t i = 0; i < text.n;) {
        size_t length = unicode_length(text.p[i]), run = 1, end = i + length;
        while (end + length <= text.n && !cut[end] &&
               memcmp(text.p + i, text.p + end, length) == 0) {
            end += length;
            run++;
        }
        if ((text.p[i] != '\n' && run >= 4) || (text.p[i] == ' ' && run >= 2))
            cut[i] = cut[end] = 1;
        i = end;
    }
    size_t start = 0;
    for (size_t end = 0; end <= text.n && !s->full; end++) {
        bool bar = end + 3 <= text.n && memcmp(text.p + end, "\xee\xb8\x80", 3) == 0;
        if (end < text.n && !cut[end] && !bar)
            continue;
        if (start < end)
            spell_segment(t, s, (struct bytes){text.p + start, end - start});
        start = bar ? end + 3 : end;
    }
    free(cut);
}

void plamo_spell(const struct tokenizer *t, struct speller *s, struct bytes text)
{
    struct clean_text clean;
    clean_text_make(&clean, text);
    struct bytes whole = {clean.text, clean.n};
    if (t->plamo3) {
        spell_cut(t, s, whole);
    } else if (whole.n > 0) {
        size_t skip = whole.n >= 3 && memcmp(whole.p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        spell_segment(t, s, (struct bytes){whole.p + skip, whole.n - skip});
    }
    clean_text_free(&clean);
}
