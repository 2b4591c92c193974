// sets.c - sets of pairs that are found by their contents, so that equal ones are one: the stacks
// and the places of a matcher. A set keeps its number, and is never taken out alone: a matcher
// forgets all of them at once.
#include "matcher.h"
#include "inside.h"

#include <stdlib.h>
#include <string.h>

uint64_t sets_hash(const struct pair *pairs, uint32_t n)
{
    uint64_t hash = 0x9e3779b97f4a7c15ull ^ n;
    for (uint32_t i = 0; i < n; i++) {
        hash ^= (uint64_t)pairs[i].state << 32 | pairs[i].stack;
        hash *= 0xff51afd7ed558ccdull;
        hash ^= hash >> 32;
    }
    return hash;
}

void sets_init(struct pair_sets *s)
{
    *s = (struct pair_sets){.n_slots = 1024};
    s->slots = mem_array(s->n_slots, sizeof(*s->slots));
}

void sets_free(struct pair_sets *s)
{
    free(s->pairs);
    free(s->sets);
    free(s->slots);
}

static uint32_t *sets_slot(const struct pair_sets *s, const struct pair *pairs, uint32_t n)
{
    uint32_t at = (uint32_t)sets_hash(pairs, n) & (s->n_slots - 1);
    for (; s->slots[at]; at = (at + 1) & (s->n_slots - 1)) {
        const struct pair_span *set = &s->sets[s->slots[at] - 1];
        if (set->n == n &&
            (n == 0 || memcmp(s->pairs + set->first, pairs, n * sizeof(*pairs)) == 0))
            break;
    }
    return &s->slots[at];
}

static void sets_grow(struct pair_sets *s, uint32_t n)
{
    while (s->n_pairs + n > s->pairs_allocated) {
        s->pairs_allocated = s->pairs_allocated ? 2 * s->pairs_allocated : 1024;
        s->pairs = mem_resize(s->pairs, s->pairs_allocated * sizeof(*s->pairs));
    }
    if (s->n_sets == s->sets_allocated) {
        s->sets_allocated = s->sets_allocated ? 2 * s->sets_allocated : 256;
        s->sets = mem_resize(s->sets, s->sets_allocated * sizeof(*s->sets));
    }
    if (2 * s->n_sets < s->n_slots)
        return;
    free(s->slots);
    s->n_slots *= 2;
    s->slots = mem_array(s->n_slots, sizeof(*s->slots));
    for (uint32_t i = 0; i < s->n_sets; i++)
        *sets_slot(s, s->pairs + s->sets[i].first, s->sets[i].n) = i + 1;
}

uint32_t sets_find(struct pair_sets *s, const struct pair *pairs, uint32_t n, bool *is_new)
{
    uint32_t *slot = sets_slot(s, pairs, n);
    *is_new = !*slot;
    if (*slot)
        return *slot - 1;
    sets_grow(s, n);
    slot = sets_slot(s, pairs, n);
    if (n)
        memcpy(s->pairs + s->n_pairs, pairs, n * sizeof(*pairs));
    s->sets[s->n_sets] = (struct pair_span){s->n_pairs, n};
    s->n_pairs += n;
    *slot = ++s->n_sets;
    return s->n_sets - 1;
}
