// letters.c - automata over characters: what patterns and lengths become before they are written as
// bytes.
//
// Characters are code points; a text's beginning and end count as characters of their own, so that
// anchors are edges like all others until regex.c takes them out. Nothing is deterministic but what
// letters_not makes. Over a cap, of its size or of the work to make it, an automaton is `full`, and
// what follows from it is refused.
#include "automaton.h"
#include "inside.h"

#include <stdlib.h>
#include <string.h>

enum { LETTERS_WORK_MOST = 1 << 26 }; // edges looked at for one automaton: a fifth of a second

void letters_init(struct letters *l)
{
    *l = (struct letters){0};
    l->start = letters_state(l);
    l->end = letters_state(l);
}

void letters_free(struct letters *l)
{
    free(l->edges);
    free(l->first);
    *l = (struct letters){0};
}

uint32_t letters_state(struct letters *l)
{
    if (l->n_states >= LETTERS_STATES_MOST) {
        l->full = true;
        return 0;
    }
    return l->n_states++;
}

void letters_add(struct letters *l, uint32_t from, uint32_t lo, uint32_t hi, uint32_t to)
{
    if (l->n_edges >= LETTERS_EDGES_MOST)
        l->full = true;
    if (l->full || lo > hi)
        return;
    if (l->n_edges == l->edges_allocated) {
        l->edges_allocated = l->edges_allocated ? 2 * l->edges_allocated : 64;
        l->edges = mem_resize(l->edges, l->edges_allocated * sizeof(*l->edges));
    }
    l->edges[l->n_edges++] = (struct letters_edge){from, to, lo, hi};
}

void letters_skip(struct letters *l, uint32_t from, uint32_t to)
{
    letters_add(l, from, LETTER_NONE, LETTER_NONE, to);
}

void letters_text(struct letters *l, uint32_t from, struct bytes utf8, uint32_t to)
{
    for (size_t i = 0; i < utf8.n;) {
        uint32_t point = 0, next = letters_state(l);
        size_t n = unicode_decode(utf8.p + i, utf8.n - i, &point);
        letters_add(l, from, point, point, next);
        from = next;
        i += n ? n : 1;
    }
    letters_skip(l, from, to);
}

static void sort_edges(struct letters *l)
{
    struct letters_edge *sorted = mem_array(l->n_edges + 1, sizeof(*sorted));
    free(l->first);
    l->first = mem_array(l->n_states + 2, sizeof(*l->first));
    for (uint32_t i = 0; i < l->n_edges; i++)
        l->first[l->edges[i].from + 2]++;
    for (uint32_t s = 0; s < l->n_states; s++)
        l->first[s + 2] += l->first[s + 1];
    for (uint32_t i = 0; i < l->n_edges; i++)
        sorted[l->first[l->edges[i].from + 1]++] = l->edges[i];
    free(l->edges);
    l->edges = sorted;
    l->edges_allocated = l->n_edges + 1;
}

// ---- both: pairs of states that are reached together --------------------------------------------

struct couples { // pair of states -> state of the product
    struct letters *out;
    uint64_t *keys; // by state of the product
    uint32_t *slots, n_slots, keys_allocated;
};

static uint32_t couple(struct couples *c, uint32_t a, uint32_t b)
{
    const uint64_t key = (uint64_t)a << 32 | b;
    uint32_t at = (uint32_t)((key * 0x9e3779b97f4a7c15ull) >> 40) & (c->n_slots - 1);
    for (; c->slots[at]; at = (at + 1) & (c->n_slots - 1))
        if (c->keys[c->slots[at] - 1] == key)
            return c->slots[at] - 1;
    uint32_t state = letters_state(c->out);
    if (!c->out->full) {
        c->keys[state] = key;
        c->slots[at] = state + 1;
    }
    return state;
}

void letters_both(struct letters *out, struct letters *a, struct letters *b)
{
    struct couples c = {.out = out, .n_slots = 2 * 65536};
    uint64_t work = 0;
    _Static_assert(LETTERS_STATES_MOST < 65536, "the table is never full");
    c.keys = mem_array(LETTERS_STATES_MOST, sizeof(*c.keys));
    c.slots = mem_array(c.n_slots, sizeof(*c.slots));
    sort_edges(a);
    sort_edges(b);
    letters_init(out);
    out->full = a->full || b->full;
    c.keys[0] = c.keys[1] = UINT64_MAX;
    letters_skip(out, out->start, couple(&c, a->start, b->start));
    for (uint32_t s = 2; s < out->n_states && !out->full; s++) {
        const uint32_t p = (uint32_t)(c.keys[s] >> 32), q = (uint32_t)c.keys[s];
        if (p == a->end && q == b->end)
            letters_skip(out, s, out->end);
        work += (uint64_t)(a->first[p + 1] - a->first[p] + 1) * (b->first[q + 1] - b->first[q] + 1);
        out->full = out->full || work > LETTERS_WORK_MOST;
        for (uint32_t j = b->first[q]; j < b->first[q + 1]; j++)
            if (b->edges[j].lo == LETTER_NONE)
                letters_skip(out, s, couple(&c, p, b->edges[j].to));
        for (uint32_t i = a->first[p]; i < a->first[p + 1] && !out->full; i++) {
            const struct letters_edge x = a->edges[i];
            if (x.lo == LETTER_NONE) {
                letters_skip(out, s, couple(&c, x.to, q));
                continue;
            }
            for (uint32_t j = b->first[q]; j < b->first[q + 1]; j++) {
                const struct letters_edge y = b->edges[j];
                uint32_t lo = x.lo > y.lo ? x.lo : y.lo, hi = x.hi < y.hi ? x.hi : y.hi;
                if (y.lo != LETTER_NONE && lo <= hi)
                    letters_add(out, s, lo, hi, couple(&c, x.to, y.to));
            }
        }
    }
    free(c.keys);
    free(c.slots);
}

void letters_count(struct letters *out, int64_t min, int64_t max)
{
    letters_init(out);
    uint32_t at = out->start;
    for (int64_t n = 0; !out->full; n++) {
        if (n >= min)
            letters_skip(out, at, out->end);
        if (n == max)
            return;
        if (max < 0 && n >= min) {
            letters_add(out, at, 0, LETTER_LAST, at);
            return;
        }
        uint32_t next = letters_state(out);
        letters_add(out, at, 0, LETTER_LAST, next);
        at = next;
    }
}

// ---- not: sets of states, made deterministic ----------------------------------------------------

enum { SETS_MOST = 4000 };

struct state_sets {
    struct letters *in;
    uint32_t *members; // all sets, one behind the other
    uint32_t *first;   // [SETS_MOST + 1]
    uint32_t n_sets, members_allocated;
    uint8_t *mark; // [in->n_states]
    uint64_t work; // edges looked at
    bool full;
};

static int by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

// The set of the marked states and what they reach without reading; clears the marks.
static uint32_t find_set(struct state_sets *s, uint32_t *todo, uint32_t n)
{
    struct letters *in = s->in;
    const uint32_t first = s->first[s->n_sets];
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = in->first[todo[i]]; k < in->first[todo[i] + 1]; k++, s->work++)
            if (in->edges[k].lo == LETTER_NONE && !s->mark[in->edges[k].to]) {
                s->mark[in->edges[k].to] = 1;
                todo[n++] = in->edges[k].to;
            }
    qsort(todo, n, sizeof(*todo), by_number);
    for (uint32_t i = 0; i < n; i++)
        s->mark[todo[i]] = 0;
    s->work += s->n_sets;
    for (uint32_t i = 0; i < s->n_sets; i++)
        if (s->first[i + 1] - s->first[i] == n &&
            memcmp(s->members + s->first[i], todo, n * sizeof(*todo)) == 0)
            return i;
    if (s->n_sets == SETS_MOST || first + n > 4000000 || s->work > LETTERS_WORK_MOST) {
        s->full = true;
        return 0;
    }
    if (first + n > s->members_allocated) {
        s->members_allocated = 2 * (first + n);
        s->members = mem_resize(s->members, s->members_allocated * sizeof(*s->members));
    }
    memcpy(s->members + first, todo, n * sizeof(*todo));
    s->first[++s->n_sets] = first + n;
    return s->n_sets - 1;
}

// Where the characters are cut by the edges of a set; returns how many begin somewhere.
static uint32_t cuts_of(const struct state_sets *s, uint32_t set, uint32_t *cuts)
{
    uint32_t n = 0, kept = 0;
    cuts[n++] = 0;
    for (uint32_t i = s->first[set]; i < s->first[set + 1]; i++) {
        const uint32_t state = s->members[i];
        for (uint32_t k = s->in->first[state]; k < s->in->first[state + 1]; k++) {
            const struct letters_edge *edge = &s->in->edges[k];
            if (edge->lo > LETTER_LAST)
                continue;
            cuts[n++] = edge->lo;
            if (edge->hi < LETTER_LAST)
                cuts[n++] = edge->hi + 1;
        }
    }
    qsort(cuts, n, sizeof(*cuts), by_number);
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || cuts[i] != cuts[i - 1])
            cuts[kept++] = cuts[i];
    return kept;
}

static uint32_t step_set(struct state_sets *s, uint32_t set, uint32_t point, uint32_t *todo)
{
    uint32_t n = 0;
    for (uint32_t i = s->first[set]; i < s->first[set + 1]; i++) {
        const uint32_t state = s->members[i];
        s->work += s->in->first[state + 1] - s->in->first[state] + 1;
        for (uint32_t k = s->in->first[state]; k < s->in->first[state + 1]; k++) {
            const struct letters_edge *edge = &s->in->edges[k];
            if (edge->lo <= point && point <= edge->hi && !s->mark[edge->to]) {
                s->mark[edge->to] = 1;
                todo[n++] = edge->to;
            }
        }
    }
    return find_set(s, todo, n);
}

static bool set_ends(const struct state_sets *s, uint32_t set)
{
    for (uint32_t i = s->first[set]; i < s->first[set + 1]; i++)
        if (s->members[i] == s->in->end)
            return true;
    return false;
}

void letters_not(struct letters *out, struct letters *in)
{
    sort_edges(in);
    struct state_sets s = {.in = in, .full = in->full};
    s.first = mem_array(SETS_MOST + 2, sizeof(*s.first));
    s.mark = mem_array(in->n_states + 1, 1);
    uint32_t *todo = mem_array(in->n_states + 1, sizeof(*todo)),
             *cuts = mem_array(2 * (size_t)in->n_edges + 2, sizeof(*cuts));
    letters_init(out);
    todo[0] = in->start;
    s.mark[in->start] = 1;
    find_set(&s, todo, 1);
    uint32_t base = letters_state(out); // of set 0; the others follow as they are found
    letters_skip(out, out->start, base);
    for (uint32_t set = 0; set < s.n_sets && !s.full && !out->full; set++) {
        if (!set_ends(&s, set))
            letters_skip(out, base + set, out->end);
        uint32_t n = cuts_of(&s, set, cuts);
        for (uint32_t i = 0; i < n && !s.full; i++) {
            uint32_t to = step_set(&s, set, cuts[i], todo);
            while (base + to >= out->n_states && !out->full)
                letters_state(out);
            letters_add(out, base + set, cuts[i], i + 1 < n ? cuts[i + 1] - 1 : LETTER_LAST,
                        base + to);
        }
    }
    out->full = out->full || s.full;
    free(todo);
    free(cuts);
    free(s.first);
    free(s.members);
    free(s.mark);
}

bool letters_match(struct letters *l, struct bytes utf8)
{
    struct state_sets s = {.in = l};
    sort_edges(l);
    s.first = mem_array(SETS_MOST + 2, sizeof(*s.first));
    s.mark = mem_array(l->n_states + 1, 1);
    uint32_t *todo = mem_array(l->n_states + 1, sizeof(*todo));
    todo[0] = l->start;
    s.mark[l->start] = 1;
    uint32_t set = find_set(&s, todo, 1);
    for (size_t i = 0; i < utf8.n && !s.full;) {
        uint32_t point = 0;
        size_t n = unicode_decode(utf8.p + i, utf8.n - i, &point);
        i += n ? n : 1;
        set = step_set(&s, set, point, todo);
        if (s.n_sets == SETS_MOST) { // only the present one is of use
            const uint32_t size = s.first[set + 1] - s.first[set];
            memmove(s.members, s.members + s.first[set], size * sizeof(*s.members));
            s.first[1] = size;
            s.n_sets = 1;
            set = 0;
        }
    }
    bool matches = !s.full && set_ends(&s, set);
    free(todo);
    free(s.first);
    free(s.members);
    free(s.mark);
    return matches;
}

// ---- into a grammar -----------------------------------------------------------------------------

// Inside a JSON string: quotation mark, backslash and control characters are escaped. What most
// patterns have in common (any character, any control character, all that is not ASCII) is a rule.
static void write_json_range(struct grammar *g, uint32_t from, uint32_t lo, uint32_t hi,
                             uint32_t to)
{
    static const uint32_t plain[][2] = {
        {0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, 0x7f}, {0x80, LETTER_LAST}};
    if (lo == 0 && hi == LETTER_LAST) {
        automaton_call(g, from, plain_letter(g), to);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(plain); i++) {
        uint32_t a = lo > plain[i][0] ? lo : plain[i][0], b = hi < plain[i][1] ? hi : plain[i][1];
        if (a == 0x80 && b == LETTER_LAST)
            automaton_call(g, from, plain_beyond_ascii(g), to);
        else if (a <= b)
            automaton_range(g, from, a, b, to);
    }
    if (lo == 0 && hi >= 0x1f)
        automaton_call(g, from, plain_control(g), to);
    char spelled[PLAIN_ESCAPE];
    for (uint32_t point = lo == 0 && hi >= 0x1f ? 0x20 : lo; point <= '\\' && point <= hi; point++)
        if (point < 0x20 || point == '"' || point == '\\')
            automaton_text(g, from, plain_escape(point, spelled), to);
}

// Marks what is reached from a state along the edges, or against them.
static uint8_t *reached(const struct letters *l, uint32_t state, bool against)
{
    uint32_t *first = mem_array(l->n_states + 2, sizeof(*first)),
             *to = mem_array(l->n_edges + 1, sizeof(*to)),
             *todo = mem_array(l->n_states + 1, sizeof(*todo)), n = 0;
    uint8_t *mark = mem_array(l->n_states + 1, 1);
    for (uint32_t i = 0; i < l->n_edges; i++)
        first[(against ? l->edges[i].to : l->edges[i].from) + 2]++;
    for (uint32_t s = 0; s < l->n_states; s++)
        first[s + 2] += first[s + 1];
    for (uint32_t i = 0; i < l->n_edges; i++)
        to[first[(against ? l->edges[i].to : l->edges[i].from) + 1]++] =
            against ? l->edges[i].from : l->edges[i].to;
    mark[state] = 1;
    todo[n++] = state;
    while (n > 0) {
        const uint32_t at = todo[--n];
        for (uint32_t i = first[at]; i < first[at + 1]; i++)
            if (!mark[to[i]]) {
                mark[to[i]] = 1;
                todo[n++] = to[i];
            }
    }
    free(first);
    free(to);
    free(todo);
    return mark;
}

void letters_write(struct letters *l, struct grammar *g, uint32_t from, uint32_t to, bool json)
{
    uint32_t *states = mem_array(l->n_states, sizeof(*states));
    uint8_t *begun = reached(l, l->start, false), *ends = reached(l, l->end, true);
    for (uint32_t s = 0; s < l->n_states; s++)
        if (begun[s] && ends[s])
            states[s] = s == l->end ? to : automaton_state(g);
    if (begun[l->end])
        automaton_skip(g, from, states[l->start]); // other edges may lead back to the start
    g->full = g->full || l->full;
    for (uint32_t i = 0; i < l->n_edges && !g->full; i++) {
        const struct letters_edge *edge = &l->edges[i];
        if (!begun[edge->from] || !ends[edge->to])
            continue; // on no way from the start to the end
        if (edge->lo == LETTER_NONE)
            automaton_skip(g, states[edge->from], states[edge->to]);
        else if (json)
            write_json_range(g, states[edge->from], edge->lo, edge->hi, states[edge->to]);
        else
            automaton_range(g, states[edge->from], edge->lo, edge->hi, states[edge->to]);
    }
    free(states);
    free(begun);
    free(ends);
}
