// mask.c - which tokens of a vocabulary a matcher allows, all at once.
//
// The vocabulary is a lexicon: its texts (and the codes of control tokens) sorted, as a tree of
// bytes in the order of a walk in depth, each node with where its subtree ends. A byte that leads
// nowhere skips the subtree. A lexicon is made when a tokenizer's first grammar is, and read-only
// afterwards. The masks of the places asked for last are kept.
#include "matcher.h"
#include "inside.h"

#include <stdlib.h>
#include <string.h>

struct lexicon_node {
    uint32_t end;         // the node behind its subtree
    uint32_t first_token; // into ids; those of the next node are the end
    uint16_t depth;       // from 1
    uint8_t byte;
};

struct lexicon {
    struct lexicon_node *nodes; // [n_nodes + 1]
    int32_t *ids;
    uint32_t n_nodes, n_ids, deepest;
};

enum { DEEPEST = UINT16_MAX - 1 }; // tokens of more bytes are never allowed

struct word_of { // a token while it is sorted
    struct bytes text;
    int32_t id;
};

static int by_text(const void *a, const void *b)
{
    const struct word_of *x = a, *y = b;
    size_t n = x->text.n < y->text.n ? x->text.n : y->text.n;
    int order = memcmp(x->text.p, y->text.p, n);
    if (order)
        return order;
    if (x->text.n != y->text.n)
        return x->text.n < y->text.n ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static struct lexicon *lexicon_make(const struct tokenizer *t)
{
    struct lexicon *l = mem_alloc(sizeof(*l));
    struct word_of *words = mem_array((size_t)t->n_vocab + 1, sizeof(*words));
    uint8_t(*codes)[MARK_BYTES] = mem_array((size_t)t->n_vocab + 1, sizeof(*codes));
    uint64_t n_bytes = 1;
    for (int32_t id = 0; id < t->n_vocab; id++) {
        const struct bytes text = token_reads(t, id, codes[id]);
        if (text.n == 0 || text.n > DEEPEST)
            continue;
        words[l->n_ids++] = (struct word_of){text, id};
        n_bytes += text.n;
        l->deepest = text.n > l->deepest ? (uint32_t)text.n : l->deepest;
    }
    qsort(words, l->n_ids, sizeof(*words), by_text);
    l->ids = mem_array(l->n_ids + 1, sizeof(*l->ids));
    l->nodes = mem_array(n_bytes + 1, sizeof(*l->nodes));
    uint32_t *path = mem_array(l->deepest + 1, sizeof(*path)), n_path = 0;
    for (uint32_t i = 0; i < l->n_ids; i++) {
        const struct bytes text = words[i].text;
        uint32_t shared = 0;
        while (shared < n_path && shared < text.n && l->nodes[path[shared]].byte == text.p[shared])
            shared++;
        for (; n_path > shared; n_path--)
            l->nodes[path[n_path - 1]].end = l->n_nodes;
        for (; n_path < text.n; n_path++) {
            path[n_path] = l->n_nodes;
            l->nodes[l->n_nodes++] = (struct lexicon_node){
                .first_token = i, .depth = (uint16_t)(n_path + 1), .byte = text.p[n_path]};
        }
        l->ids[i] = words[i].id;
    }
    for (; n_path > 0; n_path--)
        l->nodes[path[n_path - 1]].end = l->n_nodes;
    l->nodes[l->n_nodes].first_token = l->n_ids;
    l->nodes = mem_resize(l->nodes, (l->n_nodes + 1) * sizeof(*l->nodes));
    free(words);
    free(codes);
    free(path);
    return l;
}

void lexicon_close(struct lexicon *lexicon)
{
    if (!lexicon)
        return;
    free(lexicon->nodes);
    free(lexicon->ids);
    free(lexicon);
}

// Made when it is first asked for, from any thread.
static const struct lexicon *tokenizer_lexicon(const struct tokenizer *tokenizer)
{
    _Atomic(struct lexicon *) *at = (_Atomic(struct lexicon *) *)(uintptr_t)&tokenizer->lexicon;
    struct lexicon *there = atomic_load(at);
    if (there)
        return there;
    struct lexicon *made = lexicon_make(tokenizer);
    if (atomic_compare_exchange_strong(at, &there, made))
        return made;
    lexicon_close(made); // another thread was faster
    return there;
}

void matcher_prepare(const struct tokenizer *tokenizer)
{
    (void)tokenizer_lexicon(tokenizer);
}

static void allow(uint32_t *bits, int32_t id)
{
    bits[id / 32] |= 1u << (id % 32);
}

static void walk_lexicon(struct matcher *m, const struct lexicon *l, uint32_t *bits)
{
    uint32_t *path = mem_array(l->deepest + 1, sizeof(*path));
    path[0] = m->at;
    for (uint32_t i = 0; i < l->n_nodes && !m->overworked;) {
        const struct lexicon_node *node = &l->nodes[i];
        if (matcher_full(m))
            matcher_forget(m, path, node->depth);
        uint32_t place = matcher_step(m, path[node->depth - 1], node->byte);
        if (place == PLACE_DEAD) {
            i = node->end;
            continue;
        }
        path[node->depth] = place;
        // the ids from here to the next node are of this text: deeper ones come with their nodes
        for (uint32_t k = node->first_token; k < l->nodes[i + 1].first_token; k++)
            allow(bits, l->ids[k]);
        i++;
    }
    free(path);
}

static struct token_mask *kept_mask(struct matcher *m)
{
    for (size_t i = 0; i < MASKS_KEPT; i++)
        if (m->masks[i].bits && m->masks[i].place == m->at)
            return &m->masks[i];
    return NULL;
}

enum status matcher_mask(struct matcher *matcher, uint32_t *bits, struct err *err)
{
    const struct tokenizer *t = matcher->tokenizer;
    const size_t n_words = ((size_t)t->n_vocab + 31) / 32;
    matcher_ask(matcher);
    struct token_mask *kept = kept_mask(matcher);
    if (!kept) {
        memset(bits, 0, n_words * sizeof(*bits));
        walk_lexicon(matcher, tokenizer_lexicon(t), bits);
        if (matcher->overworked)
            return matcher_gave_up(matcher, err);
        for (int i = 0; i < t->n_end; i++)
            if (matcher_may_end(matcher) && t->end[i] >= 0 && t->end[i] < t->n_vocab)
                allow(bits, t->end[i]);
        kept = &matcher->masks[matcher->at_mask++ % MASKS_KEPT];
        if (!kept->bits)
            kept->bits = mem_array(n_words, sizeof(*bits));
        memcpy(kept->bits, bits, n_words * sizeof(*bits));
        kept->place = matcher->at;
    }
    memcpy(bits, kept->bits, n_words * sizeof(*bits));
    for (size_t i = 0; i < n_words; i++)
        if (bits[i])
            return OK;
    return err_set(err, BAD_INPUT, "no token of the model's vocabulary can follow in the grammar");
}
