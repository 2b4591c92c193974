// matcher.c - follows a grammar byte by byte.
//
// A step: 1. the byte's edges give new pairs; 2. edges that read nothing are followed, and ends
// return into the stacks below; 3. calls, in the order of their rules' ranks: all callers of a rule
// at this place become one stack, so that ambiguity costs no more than it has rules. A call whose
// rule may be empty is also stepped over; so rules that have read nothing never return. A call
// behind which only the end follows puts the caller's own stack below (a tail call), so lists that
// are written with recursion to the right do not grow it.
#include "matcher.h"
#include "inside.h"

#include <stdlib.h>
#include <string.h>

// ---- one step -----------------------------------------------------------------------------------

struct caller { // a caller of a rule that is not entered yet
    struct pair back;
    uint32_t next; // another of the same rule, + 1
};

struct closing { // the pairs of a place while it is made
    struct pair *pairs;
    uint32_t n_pairs, pairs_allocated;
    uint32_t *slots; // which pairs are there: index + 1
    uint32_t n_slots;
    struct caller *waiting;
    uint32_t n_waiting, waiting_allocated;
    uint32_t *first;   // [n_rules]: waiting + 1
    uint32_t *touched; // [n_rules]: rules with waiting
    uint32_t n_touched;
    struct pair *sorted;
    uint32_t sorted_allocated;
    bool may_end;
};

// Pays for what is looked at; the question is given up when there is not enough left.
static bool spend(struct matcher *m, uint64_t n)
{
    if (m->work < n)
        m->overworked = true;
    m->work -= m->work < n ? m->work : n;
    return !m->overworked;
}

// Sorting takes that many comparisons.
static bool spend_sorting(struct matcher *m, uint32_t n)
{
    uint64_t n_bits = 1;
    while (n >> n_bits)
        n_bits++;
    return spend(m, n * n_bits);
}

static struct closing *closing_open(uint32_t n_rules)
{
    struct closing *c = mem_alloc(sizeof(*c));
    c->n_slots = 256;
    c->slots = mem_array(c->n_slots, sizeof(*c->slots));
    c->first = mem_array(n_rules, sizeof(*c->first));
    c->touched = mem_array(n_rules, sizeof(*c->touched));
    return c;
}

static void closing_close(struct closing *c)
{
    free(c->pairs);
    free(c->slots);
    free(c->waiting);
    free(c->first);
    free(c->touched);
    free(c->sorted);
    free(c);
}

static uint32_t *pair_slot(const struct closing *c, struct pair pair)
{
    uint32_t at = (uint32_t)sets_hash(&pair, 1) & (c->n_slots - 1);
    while (c->slots[at] && (c->pairs[c->slots[at] - 1].state != pair.state ||
                            c->pairs[c->slots[at] - 1].stack != pair.stack))
        at = (at + 1) & (c->n_slots - 1);
    return &c->slots[at];
}

static void add_pair(struct matcher *m, struct pair pair)
{
    struct closing *c = m->closing;
    if (!spend(m, 1))
        return;
    uint32_t *slot = pair_slot(c, pair);
    if (*slot)
        return;
    if (c->n_pairs == PLACE_PAIRS_MOST) {
        m->overworked = m->too_wide = true;
        return;
    }
    if (c->n_pairs == c->pairs_allocated) {
        c->pairs_allocated = c->pairs_allocated ? 2 * c->pairs_allocated : 128;
        c->pairs = mem_resize(c->pairs, c->pairs_allocated * sizeof(*c->pairs));
    }
    c->pairs[c->n_pairs++] = pair;
    *slot = c->n_pairs;
    if (2 * c->n_pairs < c->n_slots)
        return;
    free(c->slots);
    c->n_slots *= 2;
    c->slots = mem_array(c->n_slots, sizeof(*c->slots));
    for (uint32_t i = 0; i < c->n_pairs; i++)
        *pair_slot(c, c->pairs[i]) = i + 1;
}

static void add_waiting(struct matcher *m, uint32_t rule, struct pair back)
{
    struct closing *c = m->closing;
    if (!spend(m, 1))
        return;
    if (c->n_waiting == c->waiting_allocated) {
        c->waiting_allocated = c->waiting_allocated ? 2 * c->waiting_allocated : 128;
        c->waiting = mem_resize(c->waiting, c->waiting_allocated * sizeof(*c->waiting));
    }
    if (!c->first[rule])
        c->touched[c->n_touched++] = rule;
    c->waiting[c->n_waiting] = (struct caller){back, c->first[rule]};
    c->first[rule] = ++c->n_waiting;
}

static void call(struct matcher *m, const struct grammar_edge *edge, uint32_t stack)
{
    const struct grammar *g = m->grammar;
    if (g->flags[edge->to] & STATE_TAIL) {
        const struct pair_span below = m->stacks.sets[stack];
        for (uint32_t i = 0; i < below.n && !m->overworked; i++)
            add_waiting(m, edge->what, m->stacks.pairs[below.first + i]);
    } else {
        add_waiting(m, edge->what, (struct pair){edge->to, stack});
    }
    if (g->rules[edge->what].may_be_empty)
        add_pair(m, (struct pair){edge->to, stack});
}

// A rule that stands on this stack has ended.
static void give_back(struct matcher *m, uint32_t stack)
{
    const struct pair_span below = m->stacks.sets[stack];
    for (uint32_t i = 0; i < below.n && !m->overworked; i++) {
        const struct pair pair = m->stacks.pairs[below.first + i];
        if (pair.state == BOTTOM)
            m->closing->may_end = true;
        else
            add_pair(m, pair);
    }
}

// Follows what reads nothing from the pairs that are not done yet. returns: ends go back into the
// stacks below.
static uint32_t close_pairs(struct matcher *m, uint32_t done, bool returns)
{
    struct closing *c = m->closing;
    const struct grammar *g = m->grammar;
    for (; done < c->n_pairs && !m->overworked; done++) {
        const struct pair pair = c->pairs[done];
        if (!spend(m, g->first[pair.state + 1] - g->first[pair.state]))
            break;
        if (g->flags[pair.state] & STATE_END && returns)
            give_back(m, pair.stack);
        for (uint32_t i = g->first[pair.state]; i < g->first[pair.state + 1]; i++) {
            const struct grammar_edge *edge = &g->edges[i];
            if (edge->kind == EDGE_EMPTY)
                add_pair(m, (struct pair){edge->to, pair.stack});
            else if (edge->kind == EDGE_CALL)
                call(m, edge, pair.stack);
        }
    }
    return done;
}

static int by_pair(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->state != y->state)
        return x->state < y->state ? -1 : 1;
    return (x->stack > y->stack) - (x->stack < y->stack);
}

static struct pair *sorted_room(struct closing *c, uint32_t n)
{
    if (n > c->sorted_allocated) {
        c->sorted_allocated = 2 * n;
        c->sorted = mem_resize(c->sorted, c->sorted_allocated * sizeof(*c->sorted));
    }
    return c->sorted;
}

static void put_sorted(struct closing *c, uint32_t at, struct pair pair)
{
    sorted_room(c, at + 1)[at] = pair;
}

// Sorts, and leaves each once.
static uint32_t sort_pairs(struct pair *pairs, uint32_t n)
{
    uint32_t kept = 0;
    if (n > 1)
        qsort(pairs, n, sizeof(*pairs), by_pair);
    for (uint32_t i = 0; i < n; i++)
        if (kept == 0 || by_pair(&pairs[kept - 1], &pairs[i]) != 0)
            pairs[kept++] = pairs[i];
    return kept;
}

// The touched rule of the lowest rank, taken out.
static uint32_t first_rule(struct matcher *m)
{
    struct closing *c = m->closing;
    uint32_t best = 0;
    for (uint32_t i = 1; i < c->n_touched; i++)
        if (m->grammar->rules[c->touched[i]].rank < m->grammar->rules[c->touched[best]].rank)
            best = i;
    (void)spend(m, c->n_touched);
    uint32_t rule = c->touched[best];
    c->touched[best] = c->touched[--c->n_touched];
    return rule;
}

static void enter_rules(struct matcher *m, uint32_t done)
{
    struct closing *c = m->closing;
    while (c->n_touched > 0) {
        uint32_t rule = first_rule(m), n = 0;
        for (uint32_t w = c->first[rule]; w; w = c->waiting[w - 1].next)
            put_sorted(c, n++, c->waiting[w - 1].back);
        c->first[rule] = 0;
        if (!spend_sorting(m, n))
            continue; // what is waiting is dropped
        bool is_new;
        n = sort_pairs(c->sorted, n);
        uint32_t stack = sets_find(&m->stacks, c->sorted, n, &is_new);
        add_pair(m, (struct pair){m->grammar->rules[rule].start, stack});
        done = close_pairs(m, done, false);
    }
}

static bool reads(const struct grammar *g, uint32_t state)
{
    for (uint32_t i = g->first[state]; i < g->first[state + 1]; i++)
        if (g->edges[i].kind == EDGE_BYTES)
            return true;
    return false;
}

static void place_room(struct matcher *m, uint32_t n)
{
    if (n < m->next_allocated)
        return;
    uint32_t old = m->next_allocated, kinds = m->grammar->n_kinds;
    m->next_allocated = old ? 2 * old : 64;
    m->next = mem_resize(m->next, (size_t)m->next_allocated * kinds * sizeof(*m->next));
    memset(m->next + (size_t)old * kinds, 0,
           (size_t)(m->next_allocated - old) * kinds * sizeof(*m->next));
    m->place = mem_resize(m->place, m->next_allocated * sizeof(*m->place));
}

// The place of the pairs in m->closing, closed; PLACE_DEAD when nothing can follow and the text is
// not whole. returns: the pairs have read something; else it is where the text begins.
static uint32_t close_place(struct matcher *m, bool returns)
{
    struct closing *c = m->closing;
    const struct grammar *g = m->grammar;
    c->may_end = !returns && g->rules[g->root].may_be_empty;
    enter_rules(m, close_pairs(m, 0, returns));
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n_pairs && !m->overworked; i++)
        if (reads(g, c->pairs[i].state))
            put_sorted(c, n++, c->pairs[i]);
    (void)(spend_sorting(m, n) && spend(m, c->n_slots / 64)); // and clearing them
    c->n_pairs = c->n_waiting = 0;
    memset(c->slots, 0, c->n_slots * sizeof(*c->slots));
    if (m->overworked || (n == 0 && !c->may_end))
        return PLACE_DEAD;
    // the end of the text counts as a pair, so that it tells places apart
    if (c->may_end)
        put_sorted(c, n++, (struct pair){BOTTOM, 0});
    bool is_new;
    n = sort_pairs(c->sorted, n);
    uint32_t place = sets_find(&m->places, c->sorted, n, &is_new);
    if (is_new) {
        place_room(m, place);
        m->place[place] = (struct match_place){c->may_end, c->may_end && n == 1};
    }
    return place;
}

uint32_t matcher_step(struct matcher *m, uint32_t place, uint8_t byte)
{
    const struct grammar *g = m->grammar;
    size_t at = (size_t)place * g->n_kinds + g->kind[byte];
    if (m->next[at])
        return m->next[at] - 1;
    const struct pair_span set = m->places.sets[place];
    for (uint32_t k = 0; k < set.n && !m->overworked; k++) {
        const struct pair pair = m->places.pairs[set.first + k];
        if (pair.state == BOTTOM)
            continue;
        if (!spend(m, 1 + g->first[pair.state + 1] - g->first[pair.state]))
            break;
        for (uint32_t i = g->first[pair.state]; i < g->first[pair.state + 1]; i++) {
            const struct grammar_edge *edge = &g->edges[i];
            if (edge->kind == EDGE_BYTES && byte >= (edge->what & 255) && byte <= edge->what >> 8)
                add_pair(m, (struct pair){edge->to, pair.stack});
        }
    }
    uint32_t to = PLACE_DEAD;
    if (m->closing->n_pairs) // given up or not: it leaves nothing behind
        to = close_place(m, true);
    if (!m->overworked) // else it is not known
        m->next[at] = to + 1;
    return to;
}

// ---- forgetting ---------------------------------------------------------------------------------

bool matcher_full(const struct matcher *m)
{
    return m->places.n_sets > PLACES_MOST || m->places.n_pairs + m->stacks.n_pairs > PAIRS_MOST;
}

static void begin_sets(struct matcher *m)
{
    bool is_new;
    sets_init(&m->stacks);
    sets_init(&m->places);
    sets_find(&m->stacks, &(struct pair){BOTTOM, 0}, 1, &is_new);
    sets_find(&m->places, NULL, 0, &is_new); // PLACE_DEAD
    place_room(m, PLACE_DEAD);
    memset(m->next, 0, (size_t)m->next_allocated * m->grammar->n_kinds * sizeof(*m->next));
    m->place[PLACE_DEAD] = (struct match_place){0};
}

// Stacks refer to lower ones only: those in use are made again from the bottom.
static void move_stacks(struct matcher *m, const struct pair_sets *old, uint32_t *moved)
{
    moved[0] = 0;
    for (uint32_t s = 1; s < old->n_sets; s++) {
        if (!moved[s])
            continue;
        bool is_new;
        const struct pair_span set = old->sets[s];
        struct pair *pairs = sorted_room(m->closing, set.n);
        for (uint32_t i = 0; i < set.n; i++) {
            pairs[i] = old->pairs[set.first + i];
            pairs[i].stack = moved[pairs[i].stack];
        }
        moved[s] = sets_find(&m->stacks, pairs, sort_pairs(pairs, set.n), &is_new);
    }
}

static uint32_t move_place(struct matcher *m, const struct pair_sets *old, uint32_t place,
                           struct match_place what, const uint32_t *moved)
{
    const struct pair_span set = old->sets[place];
    struct pair *pairs = sorted_room(m->closing, set.n + 1);
    bool is_new;
    if (place == PLACE_DEAD)
        return PLACE_DEAD;
    for (uint32_t i = 0; i < set.n; i++) {
        pairs[i] = old->pairs[set.first + i];
        pairs[i].stack = moved[pairs[i].stack];
    }
    uint32_t to = sets_find(&m->places, pairs, sort_pairs(pairs, set.n), &is_new);
    place_room(m, to);
    m->place[to] = what;
    return to;
}

// Finds the stacks that are in use, from the top down. True: they are too much to be made again.
static bool too_deep(const struct matcher *m, uint32_t *moved)
{
    const struct pair_sets *s = &m->stacks;
    uint64_t n = 0;
    for (uint32_t k = s->n_sets; k-- > 1;)
        for (uint32_t i = 0; moved[k] && i < s->sets[k].n; i++, n++)
            moved[s->pairs[s->sets[k].first + i].stack] = 1;
    return n > KEPT_PAIRS_MOST;
}

void matcher_forget(struct matcher *m, uint32_t *keep, uint32_t n_keep)
{
    struct pair_sets stacks = m->stacks, places = m->places;
    uint32_t *moved = mem_array(stacks.n_sets, sizeof(*moved)), n = 0;
    uint32_t **kept = mem_array(n_keep + 1, sizeof(*kept));
    struct match_place *what = mem_array(n_keep + 1, sizeof(*what));
    for (uint32_t i = 0; i < n_keep; i++)
        kept[n++] = &keep[i];
    kept[n++] = &m->at;
    for (uint32_t k = 0; k < n; k++) {
        const struct pair_span set = places.sets[*kept[k]];
        what[k] = m->place[*kept[k]];
        for (uint32_t i = 0; i < set.n; i++)
            moved[places.pairs[set.first + i].stack] = 1;
    }
    m->lost = m->lost || too_deep(m, moved);
    if (m->lost) {
        m->overworked = true;
    } else {
        begin_sets(m);
        move_stacks(m, &stacks, moved);
        for (uint32_t k = 0; k < n; k++)
            *kept[k] = move_place(m, &places, *kept[k], what[k], moved);
        for (size_t i = 0; i < MASKS_KEPT; i++)
            m->masks[i].place = PLACE_DEAD;
        (void)spend(m, WORK_MOVING * ((uint64_t)m->stacks.n_pairs + m->places.n_pairs));
        sets_free(&stacks);
        sets_free(&places);
    }
    free(moved);
    free(kept);
    free(what);
}

// ---- life, and whole tokens ---------------------------------------------------------------------

void matcher_open(struct matcher **out, const struct grammar *grammar,
                  const struct tokenizer *tokenizer)
{
    struct matcher *m = mem_alloc(sizeof(*m));
    m->grammar = grammar;
    m->tokenizer = tokenizer;
    m->closing = closing_open(grammar->n_rules);
    m->purse = WORK_BURST;
    m->work = m->granted = WORK_TOKEN;
    begin_sets(m);
    add_pair(m, (struct pair){grammar->rules[grammar->root].start, 0});
    m->at = close_place(m, false);
    m->lost = m->overworked;
    *out = m;
}

void matcher_close(struct matcher *matcher)
{
    if (!matcher)
        return;
    sets_free(&matcher->stacks);
    sets_free(&matcher->places);
    closing_close(matcher->closing);
    free(matcher->place);
    free(matcher->next);
    for (size_t i = 0; i < MASKS_KEPT; i++)
        free(matcher->masks[i].bits);
    free(matcher);
}

static uint32_t walk(struct matcher *m, struct bytes text)
{
    uint32_t at = m->at;
    for (size_t i = 0; i < text.n && at != PLACE_DEAD; i++)
        at = matcher_step(m, at, text.p[i]);
    return at;
}

void matcher_ask(struct matcher *m)
{
    m->overworked = m->lost;
    m->too_wide = m->too_wide && m->lost;
    if (matcher_full(m) && !m->lost)
        matcher_forget(m, NULL, 0);
}

enum status matcher_gave_up(const struct matcher *m, struct err *err)
{
    if (!m->overworked)
        return OK;
    if (m->too_wide)
        return err_set(err, BAD_INPUT,
                       "the text may go on in more than %d ways at once; make it narrower",
                       PLACE_PAIRS_MOST);
    return err_set(err, BAD_INPUT,
                   "it allows a text in too many ways to be followed (a token may take %d steps, "
                   "and an answer %d and %d more for each token); simplify it",
                   WORK_TOKEN, WORK_BURST, WORK_EACH);
}

bool matcher_allows(struct matcher *matcher, int32_t id)
{
    uint8_t code[MARK_BYTES];
    if (tokenizer_is_end(matcher->tokenizer, id))
        return matcher_may_end(matcher);
    const struct bytes text = token_reads(matcher->tokenizer, id, code);
    if (text.n == 0)
        return false;
    matcher_ask(matcher);
    return walk(matcher, text) != PLACE_DEAD;
}

// What was paid leaves the purse, and the next token is granted what it may cost.
static void begin_token(struct matcher *m, uint64_t paid)
{
    m->purse = (m->purse > paid ? m->purse - paid : 0) + WORK_EACH;
    m->purse = m->purse < WORK_BURST ? m->purse : WORK_BURST;
    m->granted = m->purse < WORK_TOKEN ? m->purse : WORK_TOKEN;
    m->work = m->granted;
}

// A token that was found to be allowed is followed whatever is left: mostly it is known where it
// leads, and nothing is forgotten before. Where that was forgotten while a mask was made, finding
// it again may cost what an answer may.
bool matcher_accept_bytes(struct matcher *matcher, struct bytes text)
{
    const uint64_t paid = matcher->granted - matcher->work;
    matcher->overworked = false;
    matcher->work = WORK_BURST;
    uint32_t to = walk(matcher, text);
    if (to == PLACE_DEAD) {
        matcher->work = matcher->granted - paid;
        return false;
    }
    matcher->at = to;
    if (matcher_full(matcher) && !matcher->lost)
        matcher_forget(matcher, NULL, 0);
    begin_token(matcher, paid + WORK_BURST - matcher->work);
    return true;
}

bool matcher_accept(struct matcher *matcher, int32_t id)
{
    if (tokenizer_is_end(matcher->tokenizer, id))
        return matcher_may_end(matcher);
    uint8_t code[MARK_BYTES];
    const struct bytes text = token_reads(matcher->tokenizer, id, code);
    return text.n > 0 && matcher_accept_bytes(matcher, text);
}

bool matcher_may_end(const struct matcher *matcher)
{
    return matcher->place[matcher->at].may_end;
}

bool matcher_must_end(const struct matcher *matcher)
{
    return matcher->place[matcher->at].must_end;
}
