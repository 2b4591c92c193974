// added.c - finds the tokens that are known by their texts (control and user-defined ones) in a
// text, all of them in one pass.
//
// Which of several overlapping ones counts is llama.cpp's rule: the longest first, over the whole
// text; at equal length the one with the lower id; then from left to right. Their rank says so: a
// place in the list. An automaton (Aho and Corasick 1975) over the texts read backwards, fed with
// the text from its end, tells for each place the longest one that begins there; when its room is
// taken by a better one, the next longest that begins there gets its turn. So the cost grows with
// the text alone, however many tokens there are.

#include "inside.h"

#include <stdlib.h>
#include <string.h>

// ---- the automaton ------------------------------------------------------------------------------

static int by_rank(const void *a, const void *b)
{
    const struct special *x = a, *y = b;
    if (x->text.n != y->text.n)
        return x->text.n > y->text.n ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

// The nodes in order of depth, so that whatever fail leads to is done before.
static int32_t *by_depth(const struct trie *trie)
{
    size_t n = (size_t)trie->n_nodes;
    int32_t *depth = mem_array(n, sizeof(*depth)), *order = mem_array(n, sizeof(*order));
    int32_t deepest = 0;
    for (size_t i = 1; i < n; i++) { // a parent comes before its children
        depth[i] = depth[trie->parent[i]] + 1;
        deepest = depth[i] > deepest ? depth[i] : deepest;
    }
    int32_t *at = mem_array((size_t)deepest + 2, sizeof(*at));
    for (size_t i = 0; i < n; i++)
        at[depth[i] + 1]++;
    for (int32_t d = 0; d <= deepest; d++)
        at[d + 1] += at[d];
    for (size_t i = 0; i < n; i++)
        order[at[depth[i]]++] = (int32_t)i;
    free(depth);
    free(at);
    return order;
}

static int32_t fed(const struct added *added, int32_t node, uint8_t byte)
{
    int32_t next = trie_step(&added->trie, node, byte);
    while (next == 0 && node != 0) {
        node = added->fail[node];
        next = trie_step(&added->trie, node, byte);
    }
    return next;
}

static void make_automaton(struct added *added)
{
    const struct trie *trie = &added->trie;
    size_t n_nodes = (size_t)trie->n_nodes;
    int32_t *order = by_depth(trie);
    added->fail = mem_array(n_nodes, sizeof(*added->fail));
    for (int set = 0; set < 2; set++) {
        added->longest[set] = mem_array(n_nodes, sizeof(*added->longest[set]));
        added->shorter[set] = mem_array((size_t)added->n + 1, sizeof(*added->shorter[set]));
        added->longest[set][0] = -1;
    }
    for (size_t i = 1; i < n_nodes; i++) {
        int32_t node = order[i], parent = trie->parent[node], rank = trie->value[node];
        added->fail[node] = parent == 0 ? 0 : fed(added, added->fail[parent], trie->byte[node]);
        for (int set = 0; set < 2; set++) {
            int32_t next = added->longest[set][added->fail[node]];
            bool counts = rank >= 0 && (set == 1 || !added->list[rank].control);
            added->longest[set][node] = counts ? rank : next;
            if (rank >= 0)
                added->shorter[set][rank] = next;
        }
    }
    free(order);
}

void added_make(struct added *added)
{
    if (added->n > 0)
        qsort(added->list, (size_t)added->n, sizeof(*added->list), by_rank);
    trie_init(&added->trie);
    for (int32_t i = 0; i < added->n; i++)
        trie_add_reversed(&added->trie, added->list[i].text, i);
    make_automaton(added);
}

void added_free(struct added *added)
{
    free(added->list);
    free(added->fail);
    for (int set = 0; set < 2; set++) {
        free(added->longest[set]);
        free(added->shorter[set]);
    }
    trie_free(&added->trie);
}

// ---- cutting ------------------------------------------------------------------------------------

struct found { // a place where one begins
    size_t at;
    int32_t rank;   // of the one whose turn it is; -1: none any more
    int32_t chosen; // rank of the one that was taken here; -1
};

struct cutting {
    const struct added *added;
    struct bytes text;
    const uint8_t *client; // [text.n] 1: no part of a control token; NULL: the set says it all
    int set;
    struct found *found; // places fall
    size_t n_found, found_allocated;
    size_t *order; // [n_found]: by rank, at equal rank by place
    size_t *heap;  // those whose turn came again; smallest (rank, place) first
    size_t n_heap;
    uint64_t *taken; // one bit a byte of the text
};

static bool is_taken(const struct cutting *c, size_t at)
{
    return c->taken[at / 64] >> at % 64 & 1;
}

static void take(struct cutting *c, size_t at)
{
    c->taken[at / 64] |= (uint64_t)1 << at % 64;
}

// The rank itself, or of the next shorter ones the first that may count at this place; -1.
static int32_t first_allowed(const struct cutting *c, size_t at, int32_t rank)
{
    while (rank >= 0 && c->client && c->added->list[rank].control &&
           memchr(c->client + at, 1, c->added->list[rank].text.n))
        rank = c->added->shorter[c->set][rank];
    return rank;
}

static void find_all(struct cutting *c)
{
    int32_t node = 0;
    for (size_t at = c->text.n; at-- > 0;) {
        node = fed(c->added, node, c->text.p[at]);
        int32_t rank = first_allowed(c, at, c->added->longest[c->set][node]);
        if (rank < 0)
            continue;
        if (c->n_found == c->found_allocated) {
            c->found_allocated = c->found_allocated != 0 ? c->found_allocated * 2 : 64;
            c->found = mem_resize(c->found, c->found_allocated * sizeof(*c->found));
        }
        c->found[c->n_found++] = (struct found){at, rank, -1};
    }
}

// Counting sort: found in falling order of place, wanted in rising order for each rank.
static void sort_found(struct cutting *c)
{
    size_t n = (size_t)c->added->n;
    size_t *at = mem_array(n + 2, sizeof(*at));
    for (size_t i = 0; i < c->n_found; i++)
        at[c->found[i].rank + 1]++;
    for (size_t i = 0; i < n; i++)
        at[i + 1] += at[i];
    c->order = mem_array(c->n_found, sizeof(*c->order));
    for (size_t i = c->n_found; i-- > 0;)
        c->order[at[c->found[i].rank]++] = i;
    free(at);
}

// An index into found that is smaller stands for a later place.
static bool comes_before(const struct cutting *c, size_t a, size_t b)
{
    int32_t x = c->found[a].rank, y = c->found[b].rank;
    return x != y ? x < y : a > b;
}

static void heap_add(struct cutting *c, size_t item)
{
    if (!c->heap)
        c->heap = mem_array(c->n_found, sizeof(*c->heap));
    size_t i = c->n_heap++;
    for (; i > 0 && comes_before(c, item, c->heap[(i - 1) / 2]); i = (i - 1) / 2)
        c->heap[i] = c->heap[(i - 1) / 2];
    c->heap[i] = item;
}

static size_t heap_take(struct cutting *c)
{
    size_t first = c->heap[0], last = c->heap[--c->n_heap], i = 0;
    for (size_t child = 1; child < c->n_heap; child = 2 * i + 1) {
        if (child + 1 < c->n_heap && comes_before(c, c->heap[child + 1], c->heap[child]))
            child++;
        if (!comes_before(c, c->heap[child], last))
            break;
        c->heap[i] = c->heap[child];
        i = child;
    }
    c->heap[i] = last;
    return first;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static void choose(struct cutting *c, struct found *found, const struct special *special)
{
    size_t end = found->at + special->text.n;
    found->chosen = found->rank;
    for (size_t i = found->at; i < end; i++)
        take(c, i);
    if (special->lstrip)
        for (size_t i = found->at; i > 0 && is_blank(c->text.p[i - 1]) && !is_taken(c, i - 1); i--)
            take(c, i - 1);
    if (special->rstrip)
        for (size_t i = end; i < c->text.n && is_blank(c->text.p[i]) && !is_taken(c, i); i++)
            take(c, i);
}

// What is taken before is as long or longer, so that it shows at one of the ends.
static void decide(struct cutting *c, size_t index)
{
    struct found *found = &c->found[index];
    const struct special *special = &c->added->list[found->rank];
    if (is_taken(c, found->at))
        return;
    if (!is_taken(c, found->at + special->text.n - 1)) {
        choose(c, found, special);
        return;
    }
    found->rank = first_allowed(c, found->at, c->added->shorter[c->set][found->rank]);
    if (found->rank >= 0)
        heap_add(c, index);
}

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

// The text between two found ones, without what they stripped.
static void add_text(const struct cutting *c, struct pieces *out, size_t from, size_t to)
{
    while (from < to && is_taken(c, from))
        from++;
    while (to > from && is_taken(c, to - 1))
        to--;
    add_piece(out, (struct bytes){c->text.p + from, to - from}, -1);
}

static void cut_found(struct cutting *c, struct pieces *out)
{
    sort_found(c);
    c->taken = mem_array(c->text.n / 64 + 1, sizeof(*c->taken));
    for (size_t next = 0; next < c->n_found || c->n_heap > 0;) {
        bool again =
            c->n_heap > 0 && (next == c->n_found || comes_before(c, c->heap[0], c->order[next]));
        decide(c, again ? heap_take(c) : c->order[next++]);
    }
    size_t end = 0;
    for (size_t i = c->n_found; i-- > 0;) {
        const struct found *found = &c->found[i];
        if (found->chosen < 0)
            continue;
        const struct special *special = &c->added->list[found->chosen];
        add_text(c, out, end, found->at);
        end = found->at + special->text.n;
        add_piece(out, (struct bytes){c->text.p + found->at, special->text.n}, special->id);
    }
    add_text(c, out, end, c->text.n);
}

static void cut(struct cutting c, struct pieces *out)
{
    find_all(&c);
    if (c.n_found > 0)
        cut_found(&c, out);
    else
        add_piece(out, c.text, -1);
    free(c.found);
    free(c.order);
    free(c.heap);
    free(c.taken);
}

void added_cut(const struct added *added, struct bytes text, bool special, struct pieces *out)
{
    cut((struct cutting){.added = added, .text = text, .set = special}, out);
}

void added_cut_written(const struct added *added, struct bytes text, const uint8_t *client,
                       struct pieces *out)
{
    cut((struct cutting){.added = added, .text = text, .client = client, .set = 1}, out);
}
