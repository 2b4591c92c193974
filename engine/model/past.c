// past.c - sequences: their positions, their states' slots, their snapshots; pages.c has the
// pages.
//
// A snapshot is a position, the slot of the state there and the pages that windows see from there.
// It lies in the lists of one or more sequences (a fork shares it) and is gone with the last.
// Pages of layers without a window are held by the sequences alone, which are never shorter than
// their snapshots.
//
// Invariants (past_check walks them): a slot's count is the number of sequences and snapshots
// that have it; a sequence has one exactly when it holds positions and the model is recurrent; its
// next slot is either of its own or none, and so are those of the rows it computed last.
#include "past.h"

#include <stdlib.h>
#include <string.h>

enum { NONE = -1 };

struct sequence {
    int32_t n;                                           // positions
    int32_t n_drafted;                                   // see past_drafted
    int32_t slot, next_slot;                             // see past_next_slot
    int32_t snapshots[PAST_SNAPSHOTS_MOST], n_snapshots; // rising by position
    int32_t row_slots[FEW_ROWS - 1], n_row_slots;        // states after the positions behind
    int32_t row_from;                                    // this one, up to the last but one
};

struct snapshot {
    int32_t n_refs, pos, slot;
    int32_t *held[PAST_POOLS_MOST], n_held[PAST_POOLS_MOST]; // pages of pools with a window
};

struct past {
    struct past_shape shape;
    struct pages pools[PAST_POOLS_MOST];
    struct sequence *seqs;      // [n_seq]
    struct snapshot *snapshots; // [n_snapshots]
    int32_t *slot_refs;         // [n_slots]
    int32_t *free_slots, n_free_slots;
    struct past_copy *copies; // [n_copies], carried out up to next_copy
    int32_t n_copies, next_copy, n_copies_allocated;
};

int32_t past_pages_most(int32_t window, int32_t n_ctx, int32_t n_batch)
{
    const int32_t whole = pages_of(n_ctx);
    if (window == 0 || window >= n_ctx)
        return whole;
    // the rows seen before a pass and those of it, wherever pages cut them
    const int64_t most = ((int64_t)window + n_batch) / PAGE_ROWS + 2;
    return most < whole ? (int32_t)most : whole;
}

static void snapshots_open(struct past *m)
{
    const struct past_shape *shape = &m->shape;
    m->snapshots = mem_array((size_t)shape->n_snapshots, sizeof(*m->snapshots));
    for (int32_t i = 0; i < shape->n_snapshots; i++)
        for (int32_t k = 0; k < shape->n_pools; k++)
            if (shape->pools[k].window > 0)
                m->snapshots[i].held[k] =
                    mem_array((size_t)pages_held_most(shape->pools[k].window), sizeof(int32_t));
}

void past_open(struct past **out, const struct past_shape *shape)
{
    if (shape->n_pools < 0 || shape->n_pools > PAST_POOLS_MOST || shape->n_seq < 1)
        die("a memory of %d sequences and %d pools", (int)shape->n_seq, (int)shape->n_pools);
    struct past *m = mem_alloc(sizeof(*m));
    m->shape = *shape;
    for (int32_t k = 0; k < shape->n_pools; k++)
        pages_open(&m->pools[k], shape->pools[k].window, shape->pools[k].n_pages, shape->n_seq,
                   pages_of(shape->n_ctx));
    m->seqs = mem_array((size_t)shape->n_seq, sizeof(*m->seqs));
    for (int32_t i = 0; i < shape->n_seq; i++)
        m->seqs[i].slot = m->seqs[i].next_slot = NONE;
    snapshots_open(m);
    m->slot_refs = mem_array((size_t)shape->n_slots, sizeof(*m->slot_refs));
    m->free_slots = mem_array((size_t)shape->n_slots, sizeof(*m->free_slots));
    m->n_free_slots = shape->n_slots;
    for (int32_t i = 0; i < shape->n_slots; i++)
        m->free_slots[i] = shape->n_slots - 1 - i; // slot 0 is taken first
    *out = m;
}

void past_close(struct past *m)
{
    if (!m)
        return;
    for (int32_t k = 0; k < m->shape.n_pools; k++)
        pages_close(&m->pools[k]);
    for (int32_t i = 0; i < m->shape.n_snapshots; i++)
        for (int32_t k = 0; k < m->shape.n_pools; k++)
            free(m->snapshots[i].held[k]);
    free(m->seqs);
    free(m->snapshots);
    free(m->slot_refs);
    free(m->free_slots);
    free(m->copies);
    free(m);
}

static struct sequence *seq_of(const struct past *m, int32_t seq)
{
    if (seq < 0 || seq >= m->shape.n_seq)
        die("sequence %d of %d", (int)seq, (int)m->shape.n_seq);
    return &m->seqs[seq];
}

// ---- slots --------------------------------------------------------------------------------------

static int32_t slot_take(struct past *m)
{
    if (m->n_free_slots == 0)
        die("a slot is taken where none is free");
    const int32_t slot = m->free_slots[--m->n_free_slots];
    m->slot_refs[slot] = 1;
    return slot;
}

static int32_t slot_share(struct past *m, int32_t slot)
{
    if (slot != NONE)
        m->slot_refs[slot]++;
    return slot;
}

static void slot_drop(struct past *m, int32_t *slot)
{
    if (*slot != NONE && --m->slot_refs[*slot] == 0)
        m->free_slots[m->n_free_slots++] = *slot;
    *slot = NONE;
}

// Whether the state after the next pass needs a slot that is not taken yet.
static bool wants_slot(const struct past *m, const struct sequence *s)
{
    return m->shape.n_slots > 0 && s->next_slot == NONE &&
           (s->slot == NONE || m->slot_refs[s->slot] > 1);
}

int32_t past_slot(const struct past *m, int32_t seq)
{
    return seq_of(m, seq)->slot;
}

int32_t past_next_slot(const struct past *m, int32_t seq)
{
    const struct sequence *s = seq_of(m, seq);
    return s->next_slot != NONE ? s->next_slot : s->slot;
}

// ---- the rows of the last pass ------------------------------------------------------------------

static void rows_drop(struct past *m, struct sequence *s)
{
    while (s->n_row_slots > 0)
        slot_drop(m, &s->row_slots[--s->n_row_slots]);
}

// Whether the state after n positions is that of a row which is kept.
static bool is_row(const struct sequence *s, int32_t n)
{
    return n > s->row_from && n - s->row_from <= s->n_row_slots && n < s->n;
}

enum status past_keep_rows(struct past *m, int32_t seq, int32_t n)
{
    struct sequence *s = seq_of(m, seq);
    if (n > FEW_ROWS)
        die("%d rows of sequence %d are to be kept, at most %d", (int)n, (int)seq, FEW_ROWS);
    rows_drop(m, s);
    if (m->shape.n_slots == 0)
        return OK;
    if (n - 1 > m->n_free_slots)
        return NO_ROOM;
    s->row_from = s->n;
    while (s->n_row_slots < n - 1)
        s->row_slots[s->n_row_slots++] = slot_take(m);
    return OK;
}

int32_t past_row_slot(const struct past *m, int32_t seq, int32_t i)
{
    const struct sequence *s = seq_of(m, seq);
    if (i < 0 || i >= s->n_row_slots)
        die("row %d of sequence %d, which keeps %d", (int)i, (int)seq, (int)s->n_row_slots);
    return s->row_slots[i];
}

// ---- snapshots ----------------------------------------------------------------------------------

static void snapshot_drop(struct past *m, int32_t number)
{
    struct snapshot *snapshot = &m->snapshots[number];
    if (--snapshot->n_refs > 0)
        return;
    slot_drop(m, &snapshot->slot);
    for (int32_t k = 0; k < m->shape.n_pools; k++)
        pages_let_go(&m->pools[k], snapshot->held[k], snapshot->n_held[k]);
}

// Those of a sequence that lie behind n.
static void snapshots_cut(struct past *m, struct sequence *s, int32_t n)
{
    while (s->n_snapshots > 0 && m->snapshots[s->snapshots[s->n_snapshots - 1]].pos > n)
        snapshot_drop(m, s->snapshots[--s->n_snapshots]);
}

// Whether a sequence of this model cannot be cut anywhere.
static bool needs_snapshots(const struct past *m)
{
    bool needs = m->shape.n_slots > 0;
    for (int32_t k = 0; k < m->shape.n_pools; k++)
        needs |= m->pools[k].window > 0;
    return needs;
}

enum status past_snapshot(struct past *m, int32_t seq)
{
    struct sequence *s = seq_of(m, seq);
    int32_t free = 0;
    const int32_t last = s->n_snapshots > 0 ? s->snapshots[s->n_snapshots - 1] : NONE;
    if (s->n == 0 || !needs_snapshots(m) || (last != NONE && m->snapshots[last].pos == s->n))
        return OK;
    while (free < m->shape.n_snapshots && m->snapshots[free].n_refs > 0)
        free++;
    if (free == m->shape.n_snapshots || s->n_snapshots == PAST_SNAPSHOTS_MOST)
        return NO_ROOM;
    struct snapshot *snapshot = &m->snapshots[free];
    snapshot->n_refs = 1;
    snapshot->pos = s->n;
    snapshot->slot = slot_share(m, s->slot);
    for (int32_t k = 0; k < m->shape.n_pools; k++)
        if (m->pools[k].window > 0)
            snapshot->n_held[k] = pages_hold(&m->pools[k], seq, s->n, snapshot->held[k]);
    s->snapshots[s->n_snapshots++] = free;
    return OK;
}

int32_t past_snapshots(const struct past *m, int32_t seq, int32_t out[PAST_SNAPSHOTS_MOST])
{
    const struct sequence *s = seq_of(m, seq);
    for (int32_t i = 0; i < s->n_snapshots; i++)
        out[i] = m->snapshots[s->snapshots[i]].pos;
    return s->n_snapshots;
}

void past_drop(struct past *m, int32_t seq, int32_t pos)
{
    struct sequence *s = seq_of(m, seq);
    int32_t i = 0;
    while (i < s->n_snapshots && m->snapshots[s->snapshots[i]].pos != pos)
        i++;
    if (i == s->n_snapshots)
        return;
    snapshot_drop(m, s->snapshots[i]);
    s->n_snapshots--;
    memmove(&s->snapshots[i], &s->snapshots[i + 1],
            (size_t)(s->n_snapshots - i) * sizeof(s->snapshots[0]));
}

// The last snapshot that is not behind n; NULL: there is none.
static const struct snapshot *snapshot_before(const struct past *m, const struct sequence *s,
                                              int32_t n)
{
    for (int32_t i = s->n_snapshots; i-- > 0;)
        if (m->snapshots[s->snapshots[i]].pos <= n)
            return &m->snapshots[s->snapshots[i]];
    return NULL;
}

// ---- cutting and forking ------------------------------------------------------------------------

int32_t past_held(const struct past *m, int32_t seq)
{
    return seq_of(m, seq)->n;
}

// Whether all that position n reads is there without a snapshot.
static bool stands(const struct past *m, int32_t seq, int32_t n)
{
    if (n == m->seqs[seq].n)
        return true;
    for (int32_t k = 0; k < m->shape.n_pools; k++)
        if (pages_first(m->pools[k].window, n) < m->pools[k].first[seq])
            return false;
    return m->shape.n_slots == 0 || is_row(&m->seqs[seq], n);
}

int32_t past_keeps(const struct past *m, int32_t seq, int32_t n)
{
    const struct sequence *s = seq_of(m, seq);
    if (n >= s->n)
        return s->n;
    if (n <= 0)
        return 0;
    const struct snapshot *snapshot = snapshot_before(m, s, n);
    return stands(m, seq, n) ? n : snapshot ? snapshot->pos : 0;
}

static void snapshot_restore(struct past *m, int32_t seq, const struct snapshot *snapshot)
{
    const int32_t slot = slot_share(m, snapshot->slot);
    slot_drop(m, &m->seqs[seq].slot);
    m->seqs[seq].slot = slot;
    for (int32_t k = 0; k < m->shape.n_pools; k++)
        if (m->pools[k].window > 0)
            pages_restore(&m->pools[k], seq, snapshot->pos, snapshot->held[k], snapshot->n_held[k]);
}

int32_t past_cut(struct past *m, int32_t seq, int32_t n)
{
    struct sequence *s = seq_of(m, seq);
    const int32_t kept = past_keeps(m, seq, n);
    slot_drop(m, &s->next_slot);
    if (kept == 0)
        slot_drop(m, &s->slot);
    else if (!stands(m, seq, kept))
        snapshot_restore(m, seq, snapshot_before(m, s, kept));
    else if (is_row(s, kept)) {
        int32_t *row = &s->row_slots[kept - s->row_from - 1];
        slot_drop(m, &s->slot);
        s->slot = *row;
        *row = NONE;
    }
    rows_drop(m, s);
    for (int32_t k = 0; k < m->shape.n_pools; k++)
        pages_keep(&m->pools[k], seq, 0, pages_of(kept));
    snapshots_cut(m, s, kept > 0 ? kept : NONE);
    s->n = kept;
    s->n_drafted = s->n_drafted < kept ? s->n_drafted : kept;
    return kept;
}

void past_clear(struct past *m)
{
    for (int32_t seq = 0; seq < m->shape.n_seq; seq++)
        (void)past_cut(m, seq, 0);
    m->n_copies = m->next_copy = 0;
}

int32_t past_fork(struct past *m, int32_t from, int32_t to, int32_t n)
{
    const struct sequence *a = seq_of(m, from);
    struct sequence *b = seq_of(m, to);
    if (from == to)
        die("sequence %d is forked into itself", (int)from);
    (void)past_cut(m, to, 0);
    for (int32_t k = 0; k < m->shape.n_pools; k++)
        pages_fork(&m->pools[k], from, to, a->n);
    b->n = a->n;
    b->n_drafted = a->n_drafted;
    b->slot = slot_share(m, a->slot);
    b->n_snapshots = a->n_snapshots;
    for (int32_t i = 0; i < a->n_snapshots; i++) {
        b->snapshots[i] = a->snapshots[i];
        m->snapshots[a->snapshots[i]].n_refs++;
    }
    return past_cut(m, to, n);
}

// ---- growing ------------------------------------------------------------------------------------

static void copy_later(struct past *m, struct past_copy copy)
{
    if (m->n_copies == m->n_copies_allocated) {
        m->n_copies_allocated = m->n_copies_allocated ? 2 * m->n_copies_allocated : 16;
        m->copies = mem_resize(m->copies, (size_t)m->n_copies_allocated * sizeof(*m->copies));
    }
    m->copies[m->n_copies++] = copy;
}

bool past_take_copy(struct past *m, struct past_copy *out)
{
    if (m->next_copy == m->n_copies) {
        m->next_copy = m->n_copies = 0;
        return false;
    }
    *out = m->copies[m->next_copy++];
    return true;
}

enum status past_reserve(struct past *m, int32_t seq, int32_t n)
{
    struct sequence *s = seq_of(m, seq);
    if (n < 0 || n > m->shape.n_ctx - s->n)
        die("%d more positions behind %d of %d", (int)n, (int)s->n, (int)m->shape.n_ctx);
    rows_drop(m, s);
    for (int32_t k = 0; k < m->shape.n_pools; k++) {
        struct pages *pool = &m->pools[k];
        pages_keep(pool, seq, pages_first(pool->window, s->n), INT32_MAX);
    }
    for (int32_t k = 0; k < m->shape.n_pools; k++)
        if (pages_wants(&m->pools[k], seq, s->n, n) > m->pools[k].n_free)
            return NO_ROOM;
    if (wants_slot(m, s)) {
        if (m->n_free_slots == 0)
            return NO_ROOM;
        s->next_slot = slot_take(m);
    }
    for (int32_t k = 0; k < m->shape.n_pools; k++) {
        struct past_copy copy = {.pool = k, .n_rows = s->n % PAGE_ROWS};
        if (pages_grow(&m->pools[k], seq, s->n, n, &copy.from, &copy.to))
            copy_later(m, copy);
    }
    return OK;
}

void past_append(struct past *m, int32_t seq, int32_t n)
{
    struct sequence *s = seq_of(m, seq);
    for (int32_t k = 0; k < m->shape.n_pools; k++)
        if (pages_wants(&m->pools[k], seq, s->n, n) > 0)
            die("positions are appended to sequence %d that were not reserved", (int)seq);
    if (wants_slot(m, s))
        die("the next state of sequence %d has no slot", (int)seq);
    if (s->next_slot != NONE) {
        slot_drop(m, &s->slot);
        s->slot = s->next_slot;
        s->next_slot = NONE;
    }
    s->n += n;
}

enum status past_place(struct past *m, int32_t seq, int32_t n)
{
    struct sequence *s = seq_of(m, seq);
    if (s->n != 0 || n < 1 || n > m->shape.n_ctx)
        die("%d positions are placed into sequence %d, which has %d", (int)n, (int)seq, (int)s->n);
    (void)past_cut(m, seq, 0);
    if (m->shape.n_slots > 0 && m->n_free_slots == 0)
        return NO_ROOM;
    for (int32_t k = 0; k < m->shape.n_pools; k++)
        if (pages_of(n) - pages_first(m->pools[k].window, n) > m->pools[k].n_free)
            return NO_ROOM;
    for (int32_t k = 0; k < m->shape.n_pools; k++) {
        struct pages *pool = &m->pools[k];
        pool->first[seq] = pool->end[seq] = pages_first(pool->window, n);
        (void)pages_grow(pool, seq, 0, n, &(int32_t){0}, &(int32_t){0});
    }
    s->slot = m->shape.n_slots > 0 ? slot_take(m) : NONE;
    s->n = n;
    return OK;
}

int32_t past_drafted(const struct past *m, int32_t seq)
{
    return seq_of(m, seq)->n_drafted;
}

void past_draft(struct past *m, int32_t seq, int32_t n)
{
    seq_of(m, seq)->n_drafted = n;
}

bool past_may_write(const struct past *m, int32_t pool, int32_t seq, int32_t pos)
{
    (void)seq_of(m, seq);
    return pages_may_write(&m->pools[pool], seq, pos);
}

// ---- for the pass, and counts -------------------------------------------------------------------

int32_t past_row(const struct past *m, int32_t pool, int32_t seq, int32_t pos)
{
    const struct sequence *s = seq_of(m, seq);
    const int32_t i = pos / PAGE_ROWS;
    if (pos < 0 || i < m->pools[pool].first[seq] || i >= m->pools[pool].end[seq])
        die("position %d of sequence %d, which has %d, is in no page", (int)pos, (int)seq,
            (int)s->n);
    return pages_table(&m->pools[pool], seq)[i] * PAGE_ROWS + pos % PAGE_ROWS;
}

const int32_t *past_table(struct past *m, int32_t pool, int32_t seq, bool *changed)
{
    (void)seq_of(m, seq);
    *changed = m->pools[pool].changed[seq];
    m->pools[pool].changed[seq] = false;
    return pages_table(&m->pools[pool], seq);
}

int32_t past_table_pages(const struct past *m)
{
    return pages_of(m->shape.n_ctx);
}

int64_t past_room(const struct past *m)
{
    int64_t least = INT32_MAX;
    for (int32_t k = 0; k < m->shape.n_pools; k++)
        if (m->pools[k].window == 0 && (int64_t)m->pools[k].n_free * PAGE_ROWS < least)
            least = (int64_t)m->pools[k].n_free * PAGE_ROWS;
    return least;
}

int32_t past_pages_free(const struct past *m, int32_t pool)
{
    return m->pools[pool].n_free;
}

int32_t past_slots_free(const struct past *m)
{
    return m->n_free_slots;
}

// ---- invariants ---------------------------------------------------------------------------------

// The sequences' lists; refs counts how often each snapshot is in one.
static void check_sequences(const struct past *m, int32_t *refs, int32_t *slots)
{
    for (int32_t i = 0; i < m->shape.n_seq; i++) {
        const struct sequence *s = &m->seqs[i];
        int32_t pos = 0;
        if (s->n < 0 || s->n > m->shape.n_ctx ||
            (s->slot != NONE) != (s->n > 0 && m->shape.n_slots > 0))
            die("sequence %d: %d positions, slot %d", (int)i, (int)s->n, (int)s->slot);
        if (s->slot != NONE)
            slots[s->slot]++;
        if (s->next_slot != NONE && slots[s->next_slot]++ + m->slot_refs[s->next_slot] != 1)
            die("sequence %d shares the slot of its next state", (int)i);
        for (int32_t k = 0; k < s->n_row_slots; k++)
            if (s->row_slots[k] == NONE || slots[s->row_slots[k]]++ > 0 ||
                m->slot_refs[s->row_slots[k]] != 1)
                die("sequence %d shares the slot of a row", (int)i);
        for (int32_t k = 0; k < s->n_snapshots; k++) {
            const struct snapshot *snapshot = &m->snapshots[s->snapshots[k]];
            if (snapshot->pos <= pos || snapshot->pos > s->n)
                die("sequence %d of %d positions has snapshots at %d and %d", (int)i, (int)s->n,
                    (int)pos, (int)snapshot->pos);
            pos = snapshot->pos;
            refs[s->snapshots[k]]++;
        }
    }
}

// What is drafted lies in pages that are the sequence's.
static void check_drafted(const struct past *m, int32_t seq)
{
    const int32_t n = m->seqs[seq].n_drafted;
    for (int32_t k = 0; k < m->shape.n_pools; k++)
        if (m->pools[k].window == 0 && pages_of(n) > m->pools[k].end[seq])
            die("sequence %d has drafted %d positions, and pages for fewer", (int)seq, (int)n);
}

static void check_pool(const struct past *m, const struct pages *pool, int32_t k)
{
    int32_t *held = mem_array((size_t)pool->n_pages, sizeof(*held)),
            *n = mem_array((size_t)m->shape.n_seq, sizeof(*n));
    for (int32_t i = 0; i < m->shape.n_seq; i++)
        n[i] = m->seqs[i].n;
    for (int32_t i = 0; i < m->shape.n_snapshots; i++)
        for (int32_t j = 0; j < m->snapshots[i].n_held[k] && m->snapshots[i].n_refs > 0; j++)
            held[m->snapshots[i].held[k][j]]++;
    pages_check(pool, n, held);
    free(held);
    free(n);
}

void past_check(const struct past *m)
{
    int32_t *refs = mem_array((size_t)m->shape.n_snapshots, sizeof(*refs)),
            *slots = mem_array((size_t)m->shape.n_slots, sizeof(*slots)), n_free = 0;
    check_sequences(m, refs, slots);
    for (int32_t i = 0; i < m->shape.n_seq; i++)
        check_drafted(m, i);
    for (int32_t i = 0; i < m->shape.n_snapshots; i++) {
        const struct snapshot *snapshot = &m->snapshots[i];
        if (snapshot->n_refs != refs[i])
            die("snapshot %d is counted %d times and in %d lists", (int)i, (int)snapshot->n_refs,
                (int)refs[i]);
        if (snapshot->n_refs > 0 && snapshot->slot != NONE)
            slots[snapshot->slot]++;
    }
    for (int32_t i = 0; i < m->shape.n_slots; i++) {
        if (m->slot_refs[i] != slots[i])
            die("slot %d is counted %d times and had %d times", (int)i, (int)m->slot_refs[i],
                (int)slots[i]);
        n_free += slots[i] == 0;
    }
    if (n_free != m->n_free_slots)
        die("%d slots are free, %d are on the stack", (int)n_free, (int)m->n_free_slots);
    for (int32_t k = 0; k < m->shape.n_pools; k++)
        check_pool(m, &m->pools[k], k);
    free(refs);
    free(slots);
}
