// marks.c - control tokens in a grammar: a mark of structure stands there as bytes that no text
// has, so that a string that may hold any character cannot hold it.
//
// Where a mark may stand its text may, too, spelled by other tokens: answers are read by texts.
//
// A control token is read as 0xff and its id in three bytes below 0x80. 0xff is in no UTF-8, and
// tokens of text that hold it are never allowed.
#include "automaton.h"
#include "inside.h"

#include <stdlib.h>
#include <string.h>

enum { LEAD = 0xff, DIGIT = 0x7f, ID_MOST = 1 << 21 };

static struct bytes code_of(int32_t id, uint8_t code[MARK_BYTES])
{
    code[0] = LEAD;
    for (int i = 1; i < MARK_BYTES; i++)
        code[i] = (uint8_t)(id >> 7 * (MARK_BYTES - 1 - i) & DIGIT);
    return (struct bytes){code, MARK_BYTES};
}

static bool is_mark(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n_vocab && id < ID_MOST &&
           (t->type[id] == TYPE_CONTROL || t->type[id] == TYPE_MARK) && !tokenizer_is_end(t, id);
}

struct bytes token_reads(const struct tokenizer *t, int32_t id, uint8_t code[MARK_BYTES])
{
    if (is_mark(t, id))
        return code_of(id, code);
    const struct bytes text = tokenizer_decode(t, id), none = {NULL, 0};
    if (!tokenizer_is_text(t, id) || tokenizer_is_end(t, id) || text.n == 0)
        return none;
    return memchr(text.p, LEAD, text.n) ? none : text;
}

// Cuts a text where control tokens stand in it. False: there is nothing to cut.
static bool cut(const struct tokenizer *t, struct bytes text, struct pieces *pieces)
{
    if (!t || t->added.n == 0 || text.n == 0)
        return false;
    added_cut(&t->added, text, true, pieces);
    return true;
}

void automaton_mark(struct grammar *g, uint32_t from, struct bytes text,
                    const struct tokenizer *tokenizer, uint32_t to)
{
    struct pieces pieces = {0};
    uint8_t code[MARK_BYTES];
    if (!cut(tokenizer, text, &pieces)) {
        automaton_text(g, from, text, to);
        return;
    }
    for (size_t i = 0; i < pieces.n; i++) {
        const struct piece *piece = &pieces.p[i];
        const uint32_t next = i + 1 == pieces.n ? to : automaton_state(g);
        if (piece->id >= 0 && is_mark(tokenizer, piece->id))
            automaton_text(g, from, code_of(piece->id, code), next);
        automaton_text(g, from, piece->text, next); // it is read so too
        from = next;
    }
    free(pieces.p);
}

int32_t mark_leads(const struct tokenizer *tokenizer, struct bytes text, struct bytes *behind)
{
    struct pieces pieces = {0};
    int32_t id = -1;
    *behind = (struct bytes){NULL, 0};
    if (!cut(tokenizer, text, &pieces))
        return -1;
    if (pieces.n > 0 && pieces.p[0].id >= 0 && is_mark(tokenizer, pieces.p[0].id))
        id = pieces.p[0].id;
    if (id >= 0 && pieces.n > 1 && pieces.p[1].id < 0)
        *behind = pieces.p[1].text;
    free(pieces.p);
    return id;
}

void automaton_other_marks(struct grammar *g, uint32_t from, const int32_t *but, size_t n,
                           uint32_t to)
{
    const uint32_t lead = automaton_state(g);
    int32_t least = 0;
    automaton_bytes(g, from, LEAD, LEAD, lead);
    while (least < ID_MOST) {
        int32_t next = ID_MOST; // of those that are left out
        uint8_t lo[MARK_BYTES], hi[MARK_BYTES];
        for (size_t i = 0; i < n; i++)
            if (but[i] >= least && but[i] < next)
                next = but[i];
        if (next > least) {
            (void)code_of(least, lo);
            (void)code_of(next - 1, hi);
            automaton_digits(g, lead, lo + 1, hi + 1, MARK_BYTES - 1, to);
        }
        least = next + 1;
    }
}
