// automaton.c - a grammar while it is built, and what is checked when it is whole.
//
// Edges are collected in any order and sorted once, at the end. Then: what can never reach an end
// is cut off, so that a matcher never walks into a place where nothing is allowed; rules that may
// be empty are marked (their callers may step over them); a rule that may begin with itself is
// refused, for the ranks that matcher.c goes by do not exist then.
#include "automaton.h"
#include "inside.h"

#include <stdlib.h>
#include <string.h>

// ---- building -----------------------------------------------------------------------------------

void automaton_open(struct grammar **out)
{
    struct grammar *g = mem_alloc(sizeof(*g));
    automaton_rule(g);
    *out = g;
}

uint32_t automaton_state(struct grammar *g)
{
    if (g->n_states >= GRAMMAR_STATES_MOST) {
        g->full = true;
        return 0;
    }
    return g->n_states++;
}

uint32_t automaton_rule_of(struct grammar *g, uint32_t start, uint32_t end)
{
    if (g->n_rules >= GRAMMAR_RULES_MOST) {
        g->full = true;
        return 0;
    }
    if (g->n_rules == g->rules_allocated) {
        g->rules_allocated = g->rules_allocated ? 2 * g->rules_allocated : 64;
        g->rules = mem_resize(g->rules, g->rules_allocated * sizeof(*g->rules));
    }
    g->rules[g->n_rules] = (struct grammar_rule){.start = start, .end = end};
    return g->n_rules++;
}

uint32_t automaton_rule(struct grammar *g)
{
    const uint32_t start = automaton_state(g);
    return automaton_rule_of(g, start, automaton_state(g));
}

static void add_edge(struct grammar *g, struct grammar_edge edge)
{
    if (g->n_edges >= GRAMMAR_EDGES_MOST)
        g->full = true;
    if (g->full)
        return;
    if (g->n_edges == g->edges_allocated) {
        g->edges_allocated = g->edges_allocated ? 2 * g->edges_allocated : 256;
        g->edges = mem_resize(g->edges, g->edges_allocated * sizeof(*g->edges));
    }
    g->edges[g->n_edges++] = edge;
}

void automaton_bytes(struct grammar *g, uint32_t from, uint8_t lo, uint8_t hi, uint32_t to)
{
    add_edge(g, (struct grammar_edge){from, to, EDGE_BYTES, lo | (uint32_t)hi << 8});
}

void automaton_call(struct grammar *g, uint32_t from, uint32_t rule, uint32_t to)
{
    add_edge(g, (struct grammar_edge){from, to, EDGE_CALL, rule});
}

void automaton_skip(struct grammar *g, uint32_t from, uint32_t to)
{
    add_edge(g, (struct grammar_edge){from, to, EDGE_EMPTY, 0});
}

void automaton_text(struct grammar *g, uint32_t from, struct bytes text, uint32_t to)
{
    for (size_t i = 0; i < text.n; i++) {
        uint32_t next = i + 1 == text.n ? to : automaton_state(g);
        automaton_bytes(g, from, text.p[i], text.p[i], next);
        from = next;
    }
    if (text.n == 0)
        automaton_skip(g, from, to);
}

// What the bytes behind the first run over: those that follow in UTF-8, or the digits of an id.
struct run {
    uint8_t lowest[3], highest[3];
};

// All texts of n bytes between lo and hi, byte by byte, where every byte after the first differing
// one runs over all that may follow.
static void range_of_length(struct grammar *g, uint32_t from, const uint8_t *lo, const uint8_t *hi,
                            size_t n, const struct run *run, uint32_t to)
{
    if (n == 1 || g->full) {
        automaton_bytes(g, from, lo[0], hi[0], to);
        return;
    }
    if (lo[0] == hi[0]) {
        uint32_t next = automaton_state(g);
        automaton_bytes(g, from, lo[0], lo[0], next);
        range_of_length(g, next, lo + 1, hi + 1, n - 1, run, to);
        return;
    }
    uint8_t first = lo[0], last = hi[0];
    if (memcmp(lo + 1, run->lowest, n - 1) != 0) {
        uint32_t next = automaton_state(g);
        automaton_bytes(g, from, first, first, next);
        range_of_length(g, next, lo + 1, run->highest, n - 1, run, to);
        first++;
    }
    if (memcmp(hi + 1, run->highest, n - 1) != 0) {
        uint32_t next = automaton_state(g);
        automaton_bytes(g, from, last, last, next);
        range_of_length(g, next, run->lowest, hi + 1, n - 1, run, to);
        last--;
    }
    if (first <= last) {
        uint32_t next = automaton_state(g);
        automaton_bytes(g, from, first, last, next);
        range_of_length(g, next, run->lowest, run->highest, n - 1, run, to);
    }
}

void automaton_digits(struct grammar *g, uint32_t from, const uint8_t *lo, const uint8_t *hi,
                      size_t n, uint32_t to)
{
    static const struct run digits = {{0, 0, 0}, {0x7f, 0x7f, 0x7f}};
    range_of_length(g, from, lo, hi, n, &digits, to);
}

void automaton_range(struct grammar *g, uint32_t from, uint32_t lo, uint32_t hi, uint32_t to)
{
    // where the length of UTF-8 changes, and where surrogates would be
    static const struct run follows = {{0x80, 0x80, 0x80}, {0xbf, 0xbf, 0xbf}};
    static const uint32_t parts[][2] = {
        {0, 0x7f}, {0x80, 0x7ff}, {0x800, 0xd7ff}, {0xe000, 0xffff}, {0x10000, 0x10ffff}};
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        uint8_t first[4], last[4];
        uint32_t a = lo > parts[i][0] ? lo : parts[i][0], b = hi < parts[i][1] ? hi : parts[i][1];
        if (a > b)
            continue;
        size_t n = unicode_encode(first, a);
        unicode_encode(last, b);
        range_of_length(g, from, first, last, n, &follows, to);
    }
}

static int by_bytes(const void *a, const void *b)
{
    const struct bytes *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n ? memcmp(x->p, y->p, n) : 0;
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

void automaton_any_of(struct grammar *g, uint32_t from, struct bytes *texts, size_t n, uint32_t to)
{
    size_t longest = 0, shared;
    for (size_t i = 0; i < n; i++)
        longest = texts[i].n > longest ? texts[i].n : longest;
    uint32_t *path = mem_array(longest + 1, sizeof(*path)); // states of the text before
    qsort(texts, n, sizeof(*texts), by_bytes);
    path[0] = from;
    for (size_t i = 0; i < n; i++) {
        const struct bytes text = texts[i], before = i ? texts[i - 1] : (struct bytes){text.p, 0};
        for (shared = 0; shared < text.n && shared < before.n; shared++)
            if (text.p[shared] != before.p[shared])
                break;
        for (size_t k = shared; k < text.n; k++) {
            path[k + 1] = automaton_state(g);
            automaton_bytes(g, path[k], text.p[k], text.p[k], path[k + 1]);
        }
        automaton_skip(g, path[text.n], to);
    }
    free(path);
}

uint32_t automaton_spaced(struct grammar *g, uint32_t rule)
{
    const uint32_t spaced = automaton_rule(g), space = plain_space(g), first = automaton_state(g);
    automaton_call(g, g->rules[spaced].start, space, first);
    automaton_call(g, first, rule, g->rules[spaced].end);
    return spaced;
}

// ---- the end: sorting ---------------------------------------------------------------------------

// By `from`, keeping the order: a counting sort.
static void sort_edges(struct grammar *g)
{
    struct grammar_edge *sorted = mem_array(g->n_edges + 1, sizeof(*sorted));
    free(g->first);
    g->first = mem_array(g->n_states + 2, sizeof(*g->first));
    for (uint32_t i = 0; i < g->n_edges; i++)
        g->first[g->edges[i].from + 2]++;
    for (uint32_t s = 0; s < g->n_states; s++)
        g->first[s + 2] += g->first[s + 1];
    for (uint32_t i = 0; i < g->n_edges; i++)
        sorted[g->first[g->edges[i].from + 1]++] = g->edges[i];
    free(g->edges);
    g->edges = sorted;
    g->edges_allocated = g->n_edges + 1;
}

// ---- which states reach an end ------------------------------------------------------------------

struct reaching { // edges by where they lead, and those that call a rule by the rule
    uint32_t *by_to, *first_to, *by_rule, *first_rule;
    uint32_t *todo, n_todo;
    uint8_t *good; // [n_states]
};

static void group(uint32_t **by, uint32_t **first, const struct grammar *g, uint32_t n, bool calls)
{
    *by = mem_array(g->n_edges + 1, sizeof(**by));
    *first = mem_array(n + 2, sizeof(**first));
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < g->n_edges; i++) {
            const struct grammar_edge *edge = &g->edges[i];
            if (calls && edge->kind != EDGE_CALL)
                continue;
            uint32_t key = calls ? edge->what : edge->to;
            if (round == 0)
                (*first)[key + 2]++;
            else
                (*by)[(*first)[key + 1]++] = i;
        }
        for (uint32_t k = 0; k < n && round == 0; k++)
            (*first)[k + 2] += (*first)[k + 1];
    }
}

static void reach(struct reaching *r, uint32_t state)
{
    if (!r->good[state]) {
        r->good[state] = 1;
        r->todo[r->n_todo++] = state;
    }
}

// Marks the states from which an end is reached by edges that count: all of them (empty == false),
// or only those that read nothing.
static uint8_t *states_reaching(struct grammar *g, uint32_t *rule_of_start, bool empty)
{
    struct reaching r = {.good = mem_array(g->n_states + 1, 1),
                         .todo = mem_array(g->n_states + 1, sizeof(uint32_t))};
    group(&r.by_to, &r.first_to, g, g->n_states, false);
    group(&r.by_rule, &r.first_rule, g, g->n_rules, true);
    for (uint32_t i = 1; i < g->n_rules; i++)
        reach(&r, g->rules[i].end);
    while (r.n_todo > 0) {
        uint32_t state = r.todo[--r.n_todo];
        for (uint32_t i = r.first_to[state]; i < r.first_to[state + 1]; i++) {
            const struct grammar_edge *edge = &g->edges[r.by_to[i]];
            if (edge->kind == EDGE_EMPTY || (edge->kind == EDGE_BYTES && !empty) ||
                (edge->kind == EDGE_CALL && r.good[g->rules[edge->what].start]))
                reach(&r, edge->from);
        }
        uint32_t rule = rule_of_start[state];
        for (uint32_t i = r.first_rule[rule]; rule && i < r.first_rule[rule + 1]; i++)
            if (r.good[g->edges[r.by_rule[i]].to])
                reach(&r, g->edges[r.by_rule[i]].from);
    }
    free(r.by_to);
    free(r.first_to);
    free(r.by_rule);
    free(r.first_rule);
    free(r.todo);
    return r.good;
}

static void cut_dead_ends(struct grammar *g, uint32_t *rule_of_start)
{
    uint8_t *good = states_reaching(g, rule_of_start, false);
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n_rules; i++)
        g->rules[i].fails = i == 0 || !good[g->rules[i].start];
    for (uint32_t i = 0; i < g->n_edges; i++) {
        const struct grammar_edge edge = g->edges[i];
        if (good[edge.to] && !(edge.kind == EDGE_CALL && g->rules[edge.what].fails))
            g->edges[n++] = edge;
    }
    g->n_edges = n;
    sort_edges(g);
    free(good);
}

static void mark_empty(struct grammar *g, uint32_t *rule_of_start)
{
    uint8_t *good = states_reaching(g, rule_of_start, true);
    for (uint32_t i = 1; i < g->n_rules; i++)
        g->rules[i].may_be_empty = good[g->rules[i].start];
    free(good);
}

static void mark_tails(struct grammar *g)
{
    g->flags = mem_array(g->n_states + 1, 1);
    for (uint32_t i = 1; i < g->n_rules; i++)
        g->flags[g->rules[i].end] = STATE_END | STATE_TAIL;
    bool more = true;
    for (int round = 0; more && round < 8; round++) { // a chain of 8 is more than is made
        more = false;
        for (uint32_t s = 0; s < g->n_states; s++) {
            bool tail = !g->flags[s] && g->first[s] < g->first[s + 1];
            for (uint32_t i = g->first[s]; tail && i < g->first[s + 1]; i++)
                tail = g->edges[i].kind == EDGE_EMPTY && g->flags[g->edges[i].to] & STATE_TAIL;
            if (tail) {
                g->flags[s] = STATE_TAIL;
                more = true;
            }
        }
    }
}

// ---- ranks --------------------------------------------------------------------------------------

struct ranking {
    struct grammar *g;
    uint8_t *colour;   // [n_rules]: 0 new, 1 open, 2 done
    uint32_t *seen;    // [n_states]: rule + 1 that saw it last
    uint32_t *states;  // [n_states]: scratch
    uint32_t *callees; // of the open rules, one behind the other
    uint32_t n_callees, callees_allocated, next_rank;
    uint32_t loops;
};

// Appends the rules that `rule` may call before it has read anything.
static void first_calls(struct ranking *r, uint32_t rule)
{
    struct grammar *g = r->g;
    uint32_t n = 0;
    r->states[n++] = g->rules[rule].start;
    r->seen[g->rules[rule].start] = rule + 1;
    while (n > 0) {
        uint32_t state = r->states[--n];
        for (uint32_t i = g->first[state]; i < g->first[state + 1]; i++) {
            const struct grammar_edge *edge = &g->edges[i];
            if (edge->kind == EDGE_BYTES)
                continue;
            if (edge->kind == EDGE_CALL) {
                if (r->n_callees == r->callees_allocated) {
                    r->callees_allocated = r->callees_allocated ? 2 * r->callees_allocated : 256;
                    r->callees = mem_resize(r->callees, r->callees_allocated * sizeof(*r->callees));
                }
                r->callees[r->n_callees++] = edge->what;
                if (!g->rules[edge->what].may_be_empty)
                    continue;
            }
            if (r->seen[edge->to] != rule + 1) {
                r->seen[edge->to] = rule + 1;
                r->states[n++] = edge->to;
            }
        }
    }
}

// Ranks by falling order of leaving a walk in depth; a rule met while it is open begins with
// itself. The walk keeps its own stack: grammars may be deep.
static void rank_from(struct ranking *r, uint32_t rule, uint32_t *stack, uint32_t *base)
{
    uint32_t depth = 0;
    stack[0] = rule;
    base[0] = r->n_callees;
    r->colour[rule] = 1;
    first_calls(r, rule);
    for (;;) {
        if (r->n_callees == base[depth]) { // all that it calls is done
            r->colour[stack[depth]] = 2;
            r->g->rules[stack[depth]].rank = --r->next_rank;
            if (depth-- == 0)
                return;
            continue;
        }
        uint32_t next = r->callees[--r->n_callees];
        if (r->colour[next] == 1)
            r->loops = next;
        if (r->colour[next])
            continue;
        stack[++depth] = next;
        base[depth] = r->n_callees;
        r->colour[next] = 1;
        first_calls(r, next);
    }
}

static uint32_t rank_all(struct grammar *g)
{
    struct ranking r = {.g = g,
                        .colour = mem_array(g->n_rules, 1),
                        .seen = mem_array(g->n_states + 1, sizeof(uint32_t)),
                        .states = mem_array(g->n_states + 1, sizeof(uint32_t)),
                        .next_rank = g->n_rules};
    uint32_t *stack = mem_array(g->n_rules + 1, sizeof(*stack)),
             *base = mem_array(g->n_rules + 1, sizeof(*base));
    for (uint32_t i = 1; i < g->n_rules; i++)
        if (!r.colour[i])
            rank_from(&r, i, stack, base);
    free(stack);
    free(base);
    free(r.colour);
    free(r.seen);
    free(r.states);
    free(r.callees);
    return r.loops;
}

// ---- bytes that no edge tells apart -------------------------------------------------------------

static void sort_bytes(struct grammar *g)
{
    bool cut[257] = {true}; // a kind begins here
    for (uint32_t i = 0; i < g->n_edges; i++) {
        if (g->edges[i].kind != EDGE_BYTES)
            continue;
        cut[g->edges[i].what & 255] = true;
        cut[(g->edges[i].what >> 8) + 1] = true;
    }
    for (int byte = 0; byte < 256; byte++) {
        g->n_kinds += cut[byte];
        g->kind[byte] = (uint8_t)(g->n_kinds - 1);
    }
}

// ---- places that are too wide -------------------------------------------------------------------

enum { FORK = 1000 }; // edges of a state from which its place is measured: few states have so many

// How many states a text may be in that has come to this one.
static uint32_t place_ways(const struct grammar *g, uint32_t from, uint32_t *seen, uint32_t *todo)
{
    uint32_t n = 0, n_ways = 0;
    todo[n++] = from;
    seen[from] = from + 1;
    while (n > 0 && n_ways <= PLACE_WAYS_MOST) {
        const uint32_t state = todo[--n];
        n_ways++;
        for (uint32_t i = g->first[state]; i < g->first[state + 1]; i++) {
            const struct grammar_edge *edge = &g->edges[i];
            const bool calls = edge->kind == EDGE_CALL;
            const uint32_t next[] = {calls ? g->rules[edge->what].start : edge->to, edge->to};
            const bool twice = calls && g->rules[edge->what].may_be_empty;
            for (size_t k = 0; k < 1 + (size_t)twice && edge->kind != EDGE_BYTES; k++)
                if (seen[next[k]] != from + 1) {
                    seen[next[k]] = from + 1;
                    todo[n++] = next[k];
                }
        }
    }
    return n_ways;
}

// Whether a matcher would have to give up where a grammar forks into very many ways.
static bool too_wide(const struct grammar *g)
{
    uint32_t *seen = mem_array(g->n_states + 1, sizeof(*seen)),
             *todo = mem_array(g->n_states + 1, sizeof(*todo));
    bool wide = false;
    for (uint32_t s = 0; s < g->n_states && !wide; s++)
        wide =
            g->first[s + 1] - g->first[s] >= FORK && place_ways(g, s, seen, todo) > PLACE_WAYS_MOST;
    free(seen);
    free(todo);
    return wide;
}

enum status automaton_finish(struct grammar *g, uint32_t root, uint32_t *loops, struct err *err)
{
    *loops = 0;
    if (g->full)
        return err_set(err, TOO_LARGE,
                       "it is too large: it takes more than %d states, %d edges or %d rules",
                       GRAMMAR_STATES_MOST, GRAMMAR_EDGES_MOST, GRAMMAR_RULES_MOST);
    uint32_t *rule_of_start = mem_array(g->n_states + 1, sizeof(*rule_of_start));
    for (uint32_t i = 1; i < g->n_rules; i++)
        rule_of_start[g->rules[i].start] = i;
    cut_dead_ends(g, rule_of_start);
    mark_empty(g, rule_of_start);
    mark_tails(g);
    free(rule_of_start);
    sort_bytes(g);
    g->root = root;
    if (g->rules[root].fails)
        return err_set(err, BAD_INPUT, "no text can satisfy it");
    *loops = rank_all(g);
    if (*loops)
        return err_set(err, BAD_INPUT, "a rule begins with itself");
    return too_wide(g) ? err_set(err, TOO_LARGE,
                                 "it is too wide: at one place it can go on in more than %d ways "
                                 "(alternatives that are a text and no more count as one)",
                                 PLACE_WAYS_MOST)
                       : OK;
}
