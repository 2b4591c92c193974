// wordpiece.c - the longest token first: BERT's WordPiece (Wu et al. 2016), inside words, and
// RWKV's vocabulary, over the whole text.
//
// The file spells a token that begins a word with U+2581 in front and one that goes on without
// anything (llama.cpp's conversion turns "##ing" into "ing"). Words are cut at white space and
// around every punctuation mark and every Chinese character; a word that cannot be spelled is one
// unknown token.

#include "inside.h"

#include <string.h>

static bool is_chinese(uint32_t point)
{
    return (point >= 0x4e00 && point <= 0x9fff) || (point >= 0x3400 && point <= 0x4dbf) ||
           (point >= 0x20000 && point <= 0x2a6df) || (point >= 0x2a700 && point <= 0x2b73f) ||
           (point >= 0x2b740 && point <= 0x2b81f) ||
           (point >= 0x2b920 && point <= 0x2ceaf) || // 0x2b820 is meant: as trained
           (point >= 0xf900 && point <= 0xfaff) || (point >= 0x2f800 && point <= 0x2fa1f);
}

// The longest token that text begins with: its length; 0: none.
static size_t longest_token(const struct tokenizer *t, struct bytes text, int32_t *id)
{
    size_t longest = 0;
    int32_t node = 0;
    for (size_t i = 0; i < text.n; i++) {
        node = trie_step(&t->trie, node, text.p[i]);
        if (node == 0)
            break;
        if (t->trie.value[node] < 0)
            continue;
        longest = i + 1;
        *id = t->trie.value[node];
    }
    return longest;
}

static void spell_word(const struct tokenizer *t, struct speller *s, struct bytes word)
{
    size_t n_before = *s->n;
    for (size_t at = 0; at < word.n && !s->full;) {
        int32_t id = -1;
        size_t n = longest_token(t, (struct bytes){word.p + at, word.n - at}, &id);
        if (n == 0) {
            *s->n = n_before;
            if (t->unknown >= 0)
                speller_emit(s, t->unknown);
            return;
        }
        speller_emit(s, id);
        at += n;
    }
}

static void begin_word(struct buf *word)
{
    word->n = 0;
    if (buf_add(word, "\xe2\x96\x81", 3) != OK)
        die("out of memory");
}

static void end_word(const struct tokenizer *t, struct speller *s, struct buf *word)
{
    if (word->n > 3)
        spell_word(t, s, buf_view(word));
    begin_word(word);
}

static void add_character(const struct tokenizer *t, struct speller *s, struct buf *word,
                          uint32_t point)
{
    if (t->strip_accents)
        point = unicode_base(point);
    enum category category = unicode_category(point);
    if (category == SPACE) {
        end_word(t, s, word);
        return;
    }
    if (point == 0 || point == 0xfffd || category == CONTROL ||
        (t->strip_accents && category == MARK))
        return;
    bool alone =
        category == PUNCTUATION || (point < 0x7f && category == SYMBOL_SIGN) || is_chinese(point);
    uint8_t out[4];
    size_t n = unicode_encode(out, t->lowercase ? unicode_lower(point) : point);
    if (alone)
        end_word(t, s, word);
    if (buf_add(word, out, n) != OK)
        die("out of memory");
    if (alone)
        end_word(t, s, word);
}

void wordpiece_spell(const struct tokenizer *t, struct speller *s, struct bytes text)
{
    struct buf *word = &s->text;
    begin_word(word);
    for (size_t i = 0; i < text.n && !s->full;) {
        uint32_t point = 0xfffd;
        size_t n = unicode_decode(text.p + i, text.n - i, &point);
        add_character(t, s, word, n > 0 ? point : 0xfffd);
        i += n > 0 ? n : 1;
    }
    end_word(t, s, word);
}

void greedy_spell(const struct tokenizer *t, struct speller *s, struct bytes text)
{
    for (size_t at = 0; at < text.n && !s->full;) {
        int32_t id = t->unknown;
        size_t n = longest_token(t, (struct bytes){text.p + at, text.n - at}, &id);
        if (id >= 0)
            speller_emit(s, id);
        at += n > 0 ? n : 1;
    }
}
