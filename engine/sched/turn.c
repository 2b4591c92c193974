// turn.c - whose turn it is: among those that wait, and when one that runs has had its turn.
//
// Owners (keys of the API) take turns: a free sequence goes to the owner with the fewest, of these
// to the one that was served least, of its works to the first in line. What an owner was served is
// counted in units, one for a row of a prompt and ANSWER_UNITS for a token of an answer; one that
// comes anew begins with what the least served of those present has, so that nobody saves up turns
// by staying away, and nobody owes for those that were served to it alone.
//
// When all sequences are taken, or there is no memory for another, a work that has had its turn
// (TURN_UNITS of progress since it got its sequence) gives way: to a work of an owner with fewer
// sequences, or to one of its own owner that has not begun yet. So a short question waits for a
// turn at most and not for a long answer, and of long answers alone none is interrupted. It waits
// again behind those that wait, and what its sequence holds is kept as long as may be; what must be
// computed again does not count, so that every turn brings it further.
//
// A model that embeds has no sequences: there the line itself is kept in turns (turn_place).
#include "inside.h"

#include <stdlib.h>

int32_t turn_length = TURN_UNITS;

// ---- owners ---------------------------------------------------------------------------------

struct owner *owner_take(struct loaded *loaded, uint64_t id)
{
    struct owner *least = NULL;
    for (struct owner *owner = loaded->owners; owner; owner = owner->next) {
        if (owner->id == id) {
            owner->n_works++;
            return owner;
        }
        least = !least || owner->served < least->served ? owner : least;
    }
    struct owner *owner = mem_alloc(sizeof(*owner));
    *owner = (struct owner){
        .next = loaded->owners, .id = id, .n_works = 1, .served = least ? least->served : 0};
    loaded->owners = owner;
    return owner;
}

void owner_drop(struct loaded *loaded, struct owner *owner)
{
    struct owner **at = &loaded->owners;
    if (--owner->n_works > 0)
        return;
    while (*at != owner)
        at = &(*at)->next;
    *at = owner->next;
    free(owner);
}

static int32_t running_of(const struct loaded *loaded, const struct owner *owner)
{
    int32_t n = 0;
    for (int32_t i = 0; i < loaded->n_seq; i++)
        n += loaded->seqs[i].work && loaded->seqs[i].work->owner == owner;
    return n;
}

// Whether the works of a come before those of b.
static bool comes_before(const struct loaded *loaded, const struct owner *a, const struct owner *b)
{
    const int32_t n_a = running_of(loaded, a), n_b = running_of(loaded, b);
    return n_a < n_b || (n_a == n_b && a->served < b->served);
}

// ---- who is next ----------------------------------------------------------------------------

struct work **turn_next(struct loaded *loaded)
{
    struct work **best = &loaded->waiting.first;
    for (struct work **at = best; *at; at = &(*at)->next)
        if ((*at)->owner != (*best)->owner && comes_before(loaded, (*at)->owner, (*best)->owner))
            best = at;
    return best;
}

// The sequence whose work gives way to one that waits; NULL: none does. Of those that may the one
// whose owner has most, and which has gone furthest beyond its turn.
// A work whose text may be lost has a longer turn: what it takes to read that again.
static struct seq *gives_way(const struct loaded *loaded, const struct work *waits, bool is_full)
{
    const int32_t n_own = running_of(loaded, waits->owner);
    struct seq *best = NULL;
    int32_t n_best = 0;
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        struct seq *seq = &loaded->seqs[i];
        if (!seq->work || seq->work->turn_units < turn_length ||
            (!is_full && seq->work->turn_units < seq->n_cached))
            continue;
        const int32_t n = running_of(loaded, seq->work->owner);
        const bool own_new = seq->work->owner == waits->owner && !waits->started_us;
        if (n <= n_own && !own_new)
            continue;
        if (!best || n > n_best ||
            (n == n_best && seq->work->turn_units > best->work->turn_units)) {
            best = seq;
            n_best = n;
        }
    }
    return best;
}

struct work **turn_over(struct loaded *loaded, struct seq **gives)
{
    const bool is_full = loaded_running(loaded) == loaded->n_together; // else memory is
    struct work **best = NULL;
    *gives = NULL;
    for (struct work **at = &loaded->waiting.first; *at; at = &(*at)->next) {
        struct seq *seq = gives_way(loaded, *at, is_full);
        if (!seq || (best && !comes_before(loaded, (*at)->owner, (*best)->owner)))
            continue;
        best = at;
        *gives = seq;
    }
    return best;
}

// Behind as many works of each other owner as it has itself.
struct work **turn_place(struct loaded *loaded, const struct owner *owner)
{
    int32_t n_own = 0;
    struct work **at;
    for (const struct work *work = loaded->waiting.first; work; work = work->next)
        n_own += work->owner == owner;
    for (at = &loaded->waiting.first; *at; at = &(*at)->next) {
        int32_t n_before = 0;
        for (const struct work *work = loaded->waiting.first; work != *at; work = work->next)
            n_before += work->owner == (*at)->owner;
        if ((*at)->owner != owner && n_before > n_own)
            break;
    }
    return at;
}

// ---- what was done --------------------------------------------------------------------------

void turn_begins(struct work *work, int32_t n_cached)
{
    work->turn_units = 0;
    work->n_reached = n_cached > work->n_reached ? n_cached : work->n_reached;
}

void turn_count(struct work *work, int32_t n_cached, bool answers)
{
    const int32_t n_new = n_cached - work->n_reached;
    if (n_new <= 0) // it was there once
        return;
    const int32_t units = n_new * (answers ? ANSWER_UNITS : 1);
    work->n_reached = n_cached;
    work->turn_units += units;
    work->owner->served += (uint64_t)units;
}
