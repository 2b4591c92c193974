// pages.h - the pages of cache rows that layers of one kind share, counted, and the page table that
// each sequence has of them. The lower half of past.h, which is what other files use.
#pragma once

#include "../compute/compute.h"

struct page {
    int32_t n_refs; // tables and snapshots that it stands in; 0: it is free
    int32_t owner;  // the sequence that may write rows from n_kept on, or NOBODY
    int32_t n_kept; // rows that were shared with others
};

struct pages {
    int32_t window; // rows that a token sees; 0: all before it
    int32_t n_pages, n_free, n_seq, n_table;
    int32_t *free;        // [n_pages], a stack of n_free
    struct page *pages;   // [n_pages]
    int32_t *table;       // [n_seq][n_table] pages, -1 outside of first .. end - 1
    int32_t *first, *end; // [n_seq]
    bool *changed;        // [n_seq]: the table, since it was last asked for
};

void pages_open(struct pages *out, int32_t window, int32_t n_pages, int32_t n_seq, int32_t n_table);
void pages_close(struct pages *pool);

int32_t pages_of(int32_t n); // that n positions fill
// The first page that position n sees through a window.
int32_t pages_first(int32_t window, int32_t n);
int32_t *pages_table(const struct pages *pool, int32_t seq);

// Only the pages first .. end - 1 of a table stay.
void pages_keep(struct pages *pool, int32_t seq, int32_t first, int32_t end);
// Pages that must be taken so that a sequence of n positions can have n_more: new ones, and one for
// a copy of the last, where others have that too.
int32_t pages_wants(const struct pages *pool, int32_t seq, int32_t n, int32_t n_more);
// Takes them; there must be so many. True: before anything is written, the first n % PAGE_ROWS rows
// of page *from must be copied to page *to.
bool pages_grow(struct pages *pool, int32_t seq, int32_t n, int32_t n_more, int32_t *from,
                int32_t *to);
// Whether the row of position n is there and nobody else's.
bool pages_may_write(const struct pages *pool, int32_t seq, int32_t n);
// `to`, which is empty, gets the table of `from`; they have n positions in common.
void pages_fork(struct pages *pool, int32_t from, int32_t to, int32_t n);

// A snapshot of n positions holds what their next one sees: out: room for pages_held_most pages.
int32_t pages_held_most(int32_t window);
int32_t pages_hold(struct pages *pool, int32_t seq, int32_t n, int32_t *out); // how many
void pages_let_go(struct pages *pool, const int32_t *held, int32_t n_held);
// The pages that were held at n positions become the sequence's.
void pages_restore(struct pages *pool, int32_t seq, int32_t n, const int32_t *held, int32_t n_held);
// Dies unless the pages' counts are what tables and `held` (a count for each page) say, and each
// table of n[seq] positions has what it must.
void pages_check(const struct pages *pool, const int32_t *n, const int32_t *held);
