// pages.c - counted pages, and the tables they stand in.
//
// Invariants (pages_check walks them): a page's count is the number of tables and snapshots it
// stands in; it is on the free stack when that is 0. Of a sequence of n positions a table has the
// pages first .. end - 1: first is the page of the first position that position n sees, or an
// earlier one; end is behind the page of n - 1, or, where room was made for more, later. All other
// entries are -1. A page's owner has it in its table.
//
// Who may write a row of a page: its owner, from row n_kept on, or a sequence that is alone with
// it. So a conversation goes on in its last page though snapshots and forks hold that too, and
// whoever goes on from such a fork gets a copy of the rows it has in common.
#include "pages.h"

#include <stdlib.h>
#include <string.h>

enum { NOBODY = -1 };

int32_t pages_of(int32_t n)
{
    return n / PAGE_ROWS + (n % PAGE_ROWS != 0);
}

int32_t pages_first(int32_t window, int32_t n)
{
    return window > 0 && n >= window ? (n + 1 - window) / PAGE_ROWS : 0;
}

int32_t *pages_table(const struct pages *pool, int32_t seq)
{
    return pool->table + (size_t)seq * (size_t)pool->n_table;
}

void pages_open(struct pages *out, int32_t window, int32_t n_pages, int32_t n_seq, int32_t n_table)
{
    const size_t n_entries = (size_t)n_seq * (size_t)n_table;
    *out = (struct pages){
        .window = window,
        .n_pages = n_pages,
        .n_free = n_pages,
        .n_seq = n_seq,
        .n_table = n_table,
        .free = mem_array((size_t)n_pages, sizeof(*out->free)),
        .pages = mem_array((size_t)n_pages, sizeof(*out->pages)),
        .table = mem_array(n_entries, sizeof(*out->table)),
        .first = mem_array((size_t)n_seq, sizeof(*out->first)),
        .end = mem_array((size_t)n_seq, sizeof(*out->end)),
        .changed = mem_array((size_t)n_seq, sizeof(*out->changed)),
    };
    for (size_t i = 0; i < n_entries; i++)
        out->table[i] = -1;
    for (int32_t i = 0; i < n_seq; i++)
        out->changed[i] = true;
    for (int32_t i = 0; i < n_pages; i++) {
        out->free[i] = n_pages - 1 - i; // page 0 is taken first
        out->pages[i].owner = NOBODY;
    }
}

void pages_close(struct pages *pool)
{
    free(pool->free);
    free(pool->pages);
    free(pool->table);
    free(pool->first);
    free(pool->end);
    free(pool->changed);
}

// ---- one page -----------------------------------------------------------------------------------

static int32_t take(struct pages *pool, int32_t owner)
{
    if (pool->n_free == 0)
        die("a page is taken where none is free");
    const int32_t page = pool->free[--pool->n_free];
    pool->pages[page] = (struct page){.n_refs = 1, .owner = owner};
    return page;
}

// seq: who lets go of it, or NOBODY for a snapshot.
static void drop(struct pages *pool, int32_t page, int32_t seq)
{
    struct page *p = &pool->pages[page];
    if (p->owner == seq)
        p->owner = NOBODY;
    if (--p->n_refs == 0)
        pool->free[pool->n_free++] = page;
}

// One more holder, who sees n rows of it.
static void share(struct pages *pool, int32_t page, int32_t n)
{
    struct page *p = &pool->pages[page];
    p->n_refs++;
    p->n_kept = n > p->n_kept ? n : p->n_kept;
}

// Rows of page i that n positions fill.
static int32_t rows_of(int32_t i, int32_t n)
{
    const int32_t rows = n - i * PAGE_ROWS;
    return rows < 0 ? 0 : rows < PAGE_ROWS ? rows : PAGE_ROWS;
}

static bool may_write(const struct page *page, int32_t seq, int32_t row)
{
    return page->n_refs == 1 || (page->owner == seq && row >= page->n_kept);
}

// ---- tables -------------------------------------------------------------------------------------

void pages_keep(struct pages *pool, int32_t seq, int32_t first, int32_t end)
{
    int32_t *table = pages_table(pool, seq);
    for (int32_t i = pool->first[seq]; i < pool->end[seq]; i++) {
        if (i >= first && i < end)
            continue;
        drop(pool, table[i], seq);
        table[i] = -1;
        pool->changed[seq] = true;
    }
    if (end == 0)
        first = 0;
    else if (first < pool->first[seq])
        first = pool->first[seq];
    end = end < pool->end[seq] ? end : pool->end[seq];
    pool->first[seq] = first;
    pool->end[seq] = end > first ? end : first;
}

// The last page of n positions, when it is partly filled and must be copied before it is written.
static bool must_copy(const struct pages *pool, int32_t seq, int32_t n)
{
    if (n % PAGE_ROWS == 0)
        return false;
    const int32_t page = pages_table(pool, seq)[n / PAGE_ROWS];
    return page >= 0 && !may_write(&pool->pages[page], seq, n % PAGE_ROWS);
}

bool pages_may_write(const struct pages *pool, int32_t seq, int32_t n)
{
    const int32_t i = n / PAGE_ROWS;
    return i >= pool->first[seq] && i < pool->end[seq] &&
           may_write(&pool->pages[pages_table(pool, seq)[i]], seq, n % PAGE_ROWS);
}

int32_t pages_wants(const struct pages *pool, int32_t seq, int32_t n, int32_t n_more)
{
    const int32_t end = pages_of(n + n_more), has = pool->end[seq];
    return (end > has ? end - has : 0) + (n_more > 0 && must_copy(pool, seq, n));
}

bool pages_grow(struct pages *pool, int32_t seq, int32_t n, int32_t n_more, int32_t *from,
                int32_t *to)
{
    const int32_t end = pages_of(n + n_more), last = n / PAGE_ROWS;
    int32_t *table = pages_table(pool, seq);
    const bool copies = n_more > 0 && must_copy(pool, seq, n);
    if (copies) {
        *from = table[last];
        *to = take(pool, seq);
        drop(pool, *from, seq);
        table[last] = *to;
        pool->changed[seq] = true;
    } else if (n_more > 0 && n % PAGE_ROWS != 0 && table[last] >= 0 &&
               pool->pages[table[last]].n_refs == 1) {
        pool->pages[table[last]].owner = seq;
        pool->pages[table[last]].n_kept = 0;
    }
    for (int32_t i = pool->end[seq]; i < end; i++) {
        table[i] = take(pool, seq);
        pool->end[seq] = i + 1;
        pool->changed[seq] = true;
    }
    return copies;
}

void pages_fork(struct pages *pool, int32_t from, int32_t to, int32_t n)
{
    const int32_t first = pool->first[from], filled = pages_of(n),
                  end = pool->end[from] < filled ? pool->end[from] : filled;
    for (int32_t i = first; i < end; i++) {
        const int32_t page = pages_table(pool, from)[i];
        share(pool, page, rows_of(i, n));
        pages_table(pool, to)[i] = page;
    }
    pool->first[to] = first;
    pool->end[to] = end > first ? end : first;
    pool->changed[to] = true;
}

// ---- what snapshots hold ------------------------------------------------------------------------

int32_t pages_held_most(int32_t window)
{
    return window / PAGE_ROWS + 2;
}

int32_t pages_hold(struct pages *pool, int32_t seq, int32_t n, int32_t *out)
{
    int32_t n_held = 0;
    for (int32_t i = pages_first(pool->window, n); i < pages_of(n); i++) {
        out[n_held] = pages_table(pool, seq)[i];
        share(pool, out[n_held++], rows_of(i, n));
    }
    return n_held;
}

void pages_let_go(struct pages *pool, const int32_t *held, int32_t n_held)
{
    for (int32_t i = 0; i < n_held; i++)
        drop(pool, held[i], NOBODY);
}

void pages_restore(struct pages *pool, int32_t seq, int32_t n, const int32_t *held, int32_t n_held)
{
    const int32_t first = pages_first(pool->window, n);
    for (int32_t i = 0; i < n_held; i++)
        share(pool, held[i], rows_of(first + i, n));
    pages_keep(pool, seq, 0, 0);
    memcpy(pages_table(pool, seq) + first, held, (size_t)n_held * sizeof(*held));
    pool->first[seq] = first;
    pool->end[seq] = first + n_held;
    pool->changed[seq] = true;
}

// ---- invariants ---------------------------------------------------------------------------------

static void check_table(const struct pages *pool, int32_t seq, int32_t n, int32_t *counted,
                        bool *owned)
{
    const int32_t *table = pages_table(pool, seq), first = pool->first[seq], end = pool->end[seq];
    if (first > pages_first(pool->window, n) || end < pages_of(n) || end < first)
        die("sequence %d of %d positions has the pages %d to %d of window %d", (int)seq, (int)n,
            (int)first, (int)end, (int)pool->window);
    for (int32_t i = 0; i < pool->n_table; i++) {
        const bool inside = i >= first && i < end;
        if (inside ? table[i] < 0 || table[i] >= pool->n_pages : table[i] != -1)
            die("page %d of sequence %d is %d", (int)i, (int)seq, (int)table[i]);
        if (!inside)
            continue;
        counted[table[i]]++;
        owned[table[i]] |= pool->pages[table[i]].owner == seq;
    }
}

void pages_check(const struct pages *pool, const int32_t *n, const int32_t *held)
{
    int32_t *counted = mem_array((size_t)pool->n_pages, sizeof(*counted)), n_free = 0;
    bool *owned = mem_array((size_t)pool->n_pages, sizeof(*owned)); // by one that has it
    for (int32_t seq = 0; seq < pool->n_seq; seq++)
        check_table(pool, seq, n[seq], counted, owned);
    for (int32_t i = 0; i < pool->n_pages; i++) {
        const struct page *page = &pool->pages[i];
        if (page->n_refs != counted[i] + held[i])
            die("page %d is counted %d times and stands in %d tables and %d snapshots", (int)i,
                (int)page->n_refs, (int)counted[i], (int)held[i]);
        if (page->n_refs > 0 && page->owner != NOBODY && !owned[i])
            die("page %d belongs to sequence %d, which has not got it", (int)i, (int)page->owner);
        n_free += page->n_refs == 0;
    }
    if (n_free != pool->n_free)
        die("%d pages are free, %d are on the stack", (int)n_free, (int)pool->n_free);
    for (int32_t i = 0; i < pool->n_free; i++)
        if (pool->pages[pool->free[i]].n_refs != 0 || counted[pool->free[i]]++ != 0)
            die("page %d is on the stack, but not free, or twice", (int)pool->free[i]);
    free(counted);
    free(owned);
}
