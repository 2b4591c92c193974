// past.h - what sequences hold of their past: which pages of cache rows, which slots of recurrent
// state. Numbers only; the rows and states themselves are tensors of kv.c.
//
// A sequence holds positions 0 .. held - 1. Their keys and values lie in pages of PAGE_ROWS rows,
// in one pool for all layers that see everything and one for each distinct window; what is computed
// in a layer of a pool lies in the same page numbers in all its layers. A page may be shared by any
// number of sequences and snapshots: it is counted. A pool with a window keeps only the pages that
// the next position still sees. A recurrent layer's state is one slot, shared the same way.
//
// Who may write: a page's owner, behind the rows that others were given (page.n_kept), or whoever
// is alone with it. Anyone else gets a copy first, and that copy is on a list which must be carried
// out, in order, before the rows of the next pass are computed. A state is never written in place
// while it is shared: the pass reads one slot and writes another.
//
// What a reader would get wrong: a sequence that is cut back is not always where it was asked to
// be. A recurrent state cannot be turned back, and a window's early pages are gone; both exist only
// at snapshots. past_cut says where the sequence stands now.
#pragma once

#include "model.h"
#include "pages.h"

enum {
    PAST_POOLS_MOST = PLAN_POOLS_MOST,
    PAST_SNAPSHOTS_MOST = MODEL_SNAPSHOTS_MOST, // of one sequence
};

struct past_pool_shape {
    int32_t window; // rows that a token sees; 0: all before it
    int32_t n_pages;
};

struct past_shape {
    int32_t n_seq, n_ctx; // sequences, and positions of one at most
    int32_t n_pools;
    struct past_pool_shape pools[PAST_POOLS_MOST];
    int32_t n_slots;     // of recurrent state; 0: there is none
    int32_t n_snapshots; // of all sequences together
};

struct past;
void past_open(struct past **out, const struct past_shape *shape);
void past_close(struct past *past);                // NULL: nothing
void past_clear(struct past *past);                // every sequence is empty
int32_t past_table_pages(const struct past *past); // entries of one sequence's page table
// Pages that one sequence takes at most in a pool of that window, with passes of n_batch rows.
int32_t past_pages_most(int32_t window, int32_t n_ctx, int32_t n_batch);

// ---- a sequence ---------------------------------------------------------------------------------

int32_t past_held(const struct past *past, int32_t seq); // positions
// What would be left of a sequence that is cut back to n positions: n where its pages and its state
// are there, else the nearest snapshot before, else 0.
int32_t past_keeps(const struct past *past, int32_t seq, int32_t n);
// Cuts it back and answers past_keeps. 0 gives everything back.
int32_t past_cut(struct past *past, int32_t seq, int32_t n);
// `to`, whatever it held, becomes `from` cut back to n; nothing is copied. from is not changed.
int32_t past_fork(struct past *past, int32_t from, int32_t to, int32_t n);
// Room for n more positions, and for the state after them. NO_ROOM: some pool or the slots have too
// few left, and nothing was taken. Pages that lie before the window of the next position go back.
MUST_USE enum status past_reserve(struct past *past, int32_t seq, int32_t n);
// The state after each of the next n positions is to be kept, which are reserved and FEW_ROWS at
// most, so that the sequence can be cut back to any of them until more is reserved. NO_ROOM: there
// are fewer slots, and none was taken. OK where there is no state.
MUST_USE enum status past_keep_rows(struct past *past, int32_t seq, int32_t n);
// Where the state after the i-th of these goes, but for the last one's, which is past_next_slot.
int32_t past_row_slot(const struct past *past, int32_t seq, int32_t i);
// n reserved positions were computed, or are about to be: the sequence holds them.
void past_append(struct past *past, int32_t seq, int32_t n);
// Room for n positions as if they had been computed, of which the caller brings the rows and the
// state: each pool has the pages that position n sees. The sequence must be empty. NO_ROOM: as
// above.
MUST_USE enum status past_place(struct past *past, int32_t seq, int32_t n);

// Positions from 0 on whose rows in the layer behind the trunk are computed (draft.c). There may be
// more than the sequence holds; a cut leaves none of these, wherever it is. A fork has as many as
// its origin, what was placed none.
int32_t past_drafted(const struct past *past, int32_t seq);
void past_draft(struct past *past, int32_t seq, int32_t n); // they are n now; their pages are there
// Whether nobody else reads the row of that position.
bool past_may_write(const struct past *past, int32_t pool, int32_t seq, int32_t pos);

// ---- snapshots ----------------------------------------------------------------------------------

// Keeps the state and the windows' pages where the sequence stands, so that it can be cut back to
// here. OK where nothing need be kept, or it is. NO_ROOM: too many are kept already.
MUST_USE enum status past_snapshot(struct past *past, int32_t seq);
// The positions of a sequence's snapshots, rising; returns how many.
int32_t past_snapshots(const struct past *past, int32_t seq, int32_t out[PAST_SNAPSHOTS_MOST]);
void past_drop(struct past *past, int32_t seq, int32_t pos); // that snapshot, if it is there

// ---- for the pass -------------------------------------------------------------------------------

int32_t past_row(const struct past *past, int32_t pool, int32_t seq, int32_t pos);
// The page table of a sequence in a pool: [past_table_pages], -1: not there. *changed: since the
// last call for it.
const int32_t *past_table(struct past *past, int32_t pool, int32_t seq, bool *changed);
// The slot that holds the state of a sequence, -1 when it is empty; and, reserved, where the state
// after its next pass goes: the same one, or another.
int32_t past_slot(const struct past *past, int32_t seq);
int32_t past_next_slot(const struct past *past, int32_t seq);
struct past_copy { // the first n_rows rows of a page
    int32_t pool, from, to, n_rows;
};
// The next copy to be carried out; false: there is none left.
bool past_take_copy(struct past *past, struct past_copy *out);

// ---- counts -------------------------------------------------------------------------------------

int64_t past_room(const struct past *past); // positions, by the pool that has least
int32_t past_pages_free(const struct past *past, int32_t pool);
int32_t past_slots_free(const struct past *past);
// Walks every count, table and list; dies where one is wrong.
void past_check(const struct past *past);
