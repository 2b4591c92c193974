// model_past.c - the book-keeping of sequence memory against a plain model: every sequence as the
// list of all its tokens, every cache row and every state as what was last written there.
//
// Random passes, cuts, forks, snapshots and drops; after them whatever a sequence's next position
// would read must be its own, wherever pages were shared, copied, let go and taken again.
#include "check.h"
#include "model/past.h"

#include <stdlib.h>

enum { SEQS = 7, CTX = 3400, OPS = 10000, TOGETHER = 3 };

struct plain { // one sequence
    int32_t n, token[CTX];
    int32_t snapshots[PAST_SNAPSHOTS_MOST], n_snapshots;
    int32_t low[PAST_POOLS_MOST]; // the first position whose row is still there
    int32_t n_drafted, drafted[CTX];
    int32_t row_from, n_rows; // states are kept behind so many positions from there on
};

struct world {
    struct past_shape shape;
    struct past *memory;
    struct plain *seqs;            // [SEQS]
    int32_t *row[PAST_POOLS_MOST]; // [n_pages * PAGE_ROWS]: the token it was computed for
    int32_t *drafted_row;          // the same in pool 0, for the layer behind the trunk
    uint64_t *state;               // [n_slots]: hash of all tokens up to there
    int32_t n_tokens, n_refused, n_copied, n_shared, n_kept;
    uint32_t random;
};

static uint32_t next_random(struct world *w, uint32_t n)
{
    w->random = w->random * 1664525u + 1013904223u;
    return (w->random >> 8) % n;
}

static uint64_t hash_of(const struct plain *s, int32_t n)
{
    uint64_t hash = 14695981039346656037ull;
    for (int32_t i = 0; i < n; i++)
        hash = (hash ^ (uint64_t)s->token[i]) * 1099511628211ull;
    return hash;
}

static int32_t low_of(int32_t window, int32_t n)
{
    return window > 0 && n >= window ? (n + 1 - window) / PAGE_ROWS * PAGE_ROWS : 0;
}

// What the next position of a sequence reads is there and its own.
static void check_seq(const struct world *w, int32_t i)
{
    const struct plain *s = &w->seqs[i];
    int32_t n_wrong = past_held(w->memory, i) != s->n;
    for (int32_t k = 0; k < w->shape.n_pools; k++) {
        const int32_t window = w->shape.pools[k].window;
        for (int32_t pos = window > 0 && s->n >= window ? s->n + 1 - window : 0; pos < s->n; pos++)
            n_wrong += w->row[k][past_row(w->memory, k, i, pos)] != s->token[pos];
    }
    n_wrong += past_drafted(w->memory, i) != s->n_drafted;
    for (int32_t pos = 0; pos < s->n_drafted; pos++)
        n_wrong += w->drafted_row[past_row(w->memory, 0, i, pos)] != s->drafted[pos];
    const int32_t slot = past_slot(w->memory, i);
    n_wrong += (slot >= 0) != (w->shape.n_slots > 0 && s->n > 0);
    n_wrong += slot >= 0 && w->state[slot] != hash_of(s, s->n);
    int32_t at[PAST_SNAPSHOTS_MOST];
    const int32_t n = past_snapshots(w->memory, i, at);
    n_wrong +=
        n != s->n_snapshots || (n > 0 && memcmp(at, s->snapshots, (size_t)n * sizeof(*at)) != 0);
    CHECK(n_wrong == 0);
}

static bool keeps_state(const struct world *w)
{
    bool keeps = w->shape.n_slots > 0;
    for (int32_t k = 0; k < w->shape.n_pools; k++)
        keeps |= w->shape.pools[k].window > 0;
    return keeps;
}

static bool is_row(const struct plain *s, int32_t n)
{
    return n > s->row_from && n <= s->row_from + s->n_rows;
}

// Where a sequence stands when it is cut back to n.
static int32_t cut_at(const struct world *w, const struct plain *s, int32_t n)
{
    bool exact = n <= 0 || w->shape.n_slots == 0 || is_row(s, n);
    int32_t best = 0;
    if (n >= s->n)
        return s->n;
    for (int32_t k = 0; k < w->shape.n_pools; k++)
        exact = exact && (n <= 0 || low_of(w->shape.pools[k].window, n) >= s->low[k]);
    for (int32_t i = 0; i < s->n_snapshots; i++)
        best = s->snapshots[i] <= n ? s->snapshots[i] : best;
    return exact ? (n > 0 ? n : 0) : best;
}

static void plain_cut(const struct world *w, struct plain *s, int32_t n)
{
    const int32_t kept = cut_at(w, s, n);
    bool restored = kept < s->n && w->shape.n_slots > 0 && !is_row(s, kept);
    for (int32_t k = 0; k < w->shape.n_pools; k++)
        restored |= low_of(w->shape.pools[k].window, kept) < s->low[k];
    for (int32_t k = 0; k < w->shape.n_pools; k++)
        if (kept == 0 || restored)
            s->low[k] = low_of(w->shape.pools[k].window, kept);
    while (s->n_snapshots > 0 && (s->snapshots[s->n_snapshots - 1] > kept || kept == 0))
        s->n_snapshots--;
    s->n = kept;
    s->n_rows = 0;
    s->n_drafted = s->n_drafted < kept ? s->n_drafted : kept;
}

static void cut(struct world *w, int32_t i, int32_t n)
{
    const int32_t want = cut_at(w, &w->seqs[i], n);
    CHECK(past_keeps(w->memory, i, n) == want);
    CHECK(past_cut(w->memory, i, n) == want);
    plain_cut(w, &w->seqs[i], n);
}

static void fork_it(struct world *w, int32_t from, int32_t to, int32_t n)
{
    w->seqs[to] = w->seqs[from];
    w->seqs[to].n_rows = 0;
    CHECK(past_fork(w->memory, from, to, n) == cut_at(w, &w->seqs[to], n));
    plain_cut(w, &w->seqs[to], n);
}

// What making room lets go of: rows that the next position does not see.
static void trim(struct world *w, int32_t i)
{
    w->seqs[i].n_rows = 0;
    for (int32_t k = 0; k < w->shape.n_pools; k++) {
        const int32_t low = low_of(w->shape.pools[k].window, w->seqs[i].n);
        w->seqs[i].low[k] = low > w->seqs[i].low[k] ? low : w->seqs[i].low[k];
    }
}

// Room for n positions: whoever is in the way is emptied.
static bool reserve(struct world *w, int32_t i, int32_t n, const int32_t *n_of)
{
    const int32_t start = (int32_t)next_random(w, SEQS);
    for (int32_t k = 0; k < SEQS; k++) {
        const int32_t other = (start + k) % SEQS;
        const bool done = past_reserve(w->memory, i, n) == OK;
        trim(w, i);
        if (done)
            return true;
        w->n_refused++;
        if (other != i && n_of[other] == 0)
            cut(w, other, 0);
    }
    return false;
}

static void carry_out_copies(struct world *w)
{
    struct past_copy copy;
    while (past_take_copy(w->memory, &copy)) {
        int32_t *const layers[] = {w->row[copy.pool], copy.pool == 0 ? w->drafted_row : NULL};
        for (int32_t r = 0; r < PAGE_ROWS; r++)
            for (size_t k = 0; k < COUNT_OF(layers) && layers[k]; k++)
                layers[k][copy.to * PAGE_ROWS + r] =
                    r < copy.n_rows ? layers[k][copy.from * PAGE_ROWS + r] : -1;
        w->n_copied++;
    }
}

static void compute(struct world *w, int32_t i, int32_t n)
{
    struct plain *s = &w->seqs[i];
    for (int32_t pos = s->n; pos < s->n + n; pos++) {
        s->token[pos] = w->n_tokens++;
        for (int32_t k = 0; k < w->shape.n_pools; k++)
            w->row[k][past_row(w->memory, k, i, pos)] = s->token[pos];
    }
    if (n > 1 && n <= FEW_ROWS && next_random(w, 2)) {
        const bool has_room = w->shape.n_slots == 0 || past_slots_free(w->memory) >= n - 1;
        CHECK(past_keep_rows(w->memory, i, n) == (has_room ? OK : NO_ROOM));
        s->row_from = s->n;
        s->n_rows = has_room && w->shape.n_slots > 0 ? n - 1 : 0;
        w->n_kept += s->n_rows;
    }
    for (int32_t k = 0; k < s->n_rows; k++)
        w->state[past_row_slot(w->memory, i, k)] = hash_of(s, s->n + k + 1);
    if (w->shape.n_slots > 0)
        w->state[past_next_slot(w->memory, i)] = hash_of(s, s->n + n);
    past_append(w->memory, i, n);
    s->n += n;
}

// Some sequences go on in one pass.
static void pass(struct world *w)
{
    int32_t n_of[SEQS] = {0};
    for (int32_t k = 0; k < TOGETHER; k++) {
        const int32_t i = (int32_t)next_random(w, SEQS), room = CTX - w->seqs[i].n,
                      n = 1 + (int32_t)next_random(w, next_random(w, 4) ? 3 : 500);
        if (n_of[i] || n > room)
            continue;
        if (reserve(w, i, n, n_of))
            n_of[i] = n;
        else
            CHECK(k > 0); // alone there is room
    }
    carry_out_copies(w);
    for (int32_t i = 0; i < SEQS; i++)
        if (n_of[i])
            compute(w, i, n_of[i]);
}

// Drafts from what is drafted on, or from a little before, also behind what the sequence holds.
static void draft(struct world *w, int32_t i)
{
    struct plain *s = &w->seqs[i];
    const int32_t back = (int32_t)next_random(w, 4), most = 1 + (int32_t)next_random(w, 600),
                  start = s->n_drafted > back ? s->n_drafted - back : 0,
                  ahead = s->n + 1 + (int32_t)next_random(w, 5);
    int32_t end = start + most < ahead ? start + most : ahead;
    end = end < CTX ? end : CTX;
    if (w->shape.n_pools == 0 || w->shape.pools[0].window > 0)
        return;
    const bool has_room = end <= s->n || past_reserve(w->memory, i, end - s->n) == OK;
    if (end > s->n)
        trim(w, i);
    carry_out_copies(w);
    for (int32_t pos = start; pos < end && has_room; pos++) {
        if (!past_may_write(w->memory, 0, i, pos)) {
            CHECK(pos < s->n);
            w->n_shared++;
            break;
        }
        s->drafted[pos] = w->n_tokens++;
        s->n_drafted = pos + 1;
        w->drafted_row[past_row(w->memory, 0, i, pos)] = s->drafted[pos];
        past_draft(w->memory, i, pos + 1);
    }
}

static void snapshot(struct world *w, int32_t i)
{
    struct plain *s = &w->seqs[i];
    const enum status status = past_snapshot(w->memory, i);
    const bool is_new = keeps_state(w) && s->n > 0 &&
                        (s->n_snapshots == 0 || s->snapshots[s->n_snapshots - 1] != s->n);
    CHECK(status == OK || (status == NO_ROOM && is_new));
    if (status == OK && is_new)
        s->snapshots[s->n_snapshots++] = s->n;
}

static void drop(struct world *w, int32_t i)
{
    struct plain *s = &w->seqs[i];
    if (s->n_snapshots == 0)
        return;
    const int32_t k = (int32_t)next_random(w, (uint32_t)s->n_snapshots);
    past_drop(w->memory, i, s->snapshots[k]);
    s->n_snapshots--;
    for (int32_t j = k; j < s->n_snapshots; j++)
        s->snapshots[j] = s->snapshots[j + 1];
}

static void step(struct world *w)
{
    const int32_t i = (int32_t)next_random(w, SEQS), other = (int32_t)next_random(w, SEQS),
                  n = (int32_t)next_random(w, (uint32_t)w->seqs[i].n + 20) - 5;
    switch (next_random(w, 12)) {
    case 0:
        cut(w, i, next_random(w, 2) ? n : w->seqs[i].n - (int32_t)next_random(w, 8));
        break;
    case 1:
        if (i != other)
            fork_it(w, i, other, next_random(w, 2) ? w->seqs[i].n : n);
        break;
    case 2:
    case 3:
        snapshot(w, i);
        break;
    case 4:
        drop(w, i);
        break;
    case 5:
        if (next_random(w, 4) == 0)
            cut(w, i, 0);
        break;
    case 6:
    case 7:
        draft(w, i);
        break;
    default:
        pass(w);
    }
}

static void world_open(struct world *w, const struct past_shape *shape)
{
    *w = (struct world){.shape = *shape, .random = 7};
    w->shape.n_seq = SEQS;
    w->shape.n_ctx = CTX;
    past_open(&w->memory, &w->shape);
    w->seqs = mem_array(SEQS, sizeof(*w->seqs));
    for (int32_t k = 0; k < shape->n_pools; k++)
        w->row[k] = mem_array((size_t)shape->pools[k].n_pages * PAGE_ROWS, sizeof(*w->row[k]));
    if (shape->n_pools > 0)
        w->drafted_row =
            mem_array((size_t)shape->pools[0].n_pages * PAGE_ROWS, sizeof(*w->drafted_row));
    w->state = mem_array((size_t)shape->n_slots, sizeof(*w->state));
}

static void world_close(struct world *w)
{
    for (int32_t i = 0; i < SEQS; i++)
        cut(w, i, 0);
    past_check(w->memory);
    for (int32_t k = 0; k < w->shape.n_pools; k++) {
        CHECK(past_pages_free(w->memory, k) == w->shape.pools[k].n_pages);
        free(w->row[k]);
    }
    CHECK(past_slots_free(w->memory) == w->shape.n_slots);
    past_close(w->memory);
    free(w->seqs);
    free(w->drafted_row);
    free(w->state);
}

// Room is short in all of them, so that much is refused and taken again.
static void test_random(void)
{
    static const struct past_shape shapes[] = {
        {.n_pools = 1, .pools = {{0, 20}}},
        {.n_pools = 3, .pools = {{0, 20}, {300, 16}, {64, 12}}, .n_snapshots = 12},
        {.n_slots = 10, .n_snapshots = 12},
        {.n_pools = 1, .pools = {{0, 24}}, .n_slots = 14, .n_snapshots = 9},
        {.n_pools = 2, .pools = {{0, 24}, {500, 14}}, .n_slots = 14, .n_snapshots = 20},
        {.n_pools = 1, .pools = {{1, 9}}, .n_snapshots = 9},
    };
    for (size_t k = 0; k < COUNT_OF(shapes); k++) {
        struct world w;
        world_open(&w, &shapes[k]);
        for (int32_t op = 0; op < OPS; op++) {
            step(&w);
            if (op % 8 != 0)
                continue;
            past_check(w.memory);
            for (int32_t i = 0; i < SEQS; i++)
                check_seq(&w, i);
        }
        CHECK(w.n_refused > 0 && (w.n_copied > 0 || w.shape.n_pools == 0));
        CHECK(w.n_kept > 0 || w.shape.n_slots == 0);
        CHECK(w.n_shared > 0 || w.shape.n_pools == 0 || w.shape.pools[0].window > 0);
        world_close(&w);
    }
}

static void go_on(struct world *w, int32_t i, int32_t n)
{
    for (int32_t most = 512; n > 0; n -= most) {
        most = n < most ? n : most;
        CHECK(past_reserve(w->memory, i, most) == OK);
        trim(w, i);
        carry_out_copies(w);
        compute(w, i, most);
    }
}

// 3000 tokens that two have in common are there once: 12 pages, of which the last, partly
// filled, is copied for one of them.
static void test_common(void)
{
    static const struct past_shape shape = {.n_pools = 1, .pools = {{0, 32}}};
    struct world w;
    world_open(&w, &shape);
    go_on(&w, 0, 3000);
    fork_it(&w, 0, 1, 3000);
    CHECK(past_pages_free(w.memory, 0) == 32 - 12);
    go_on(&w, 0, 20);
    CHECK(w.n_copied == 0); // whose page it is goes on in it
    go_on(&w, 1, 20);
    CHECK(w.n_copied == 1 && past_pages_free(w.memory, 0) == 32 - 13);
    check_seq(&w, 0);
    check_seq(&w, 1);
    cut(&w, 0, 0); // and neither needs the other
    go_on(&w, 1, 300);
    check_seq(&w, 1);
    CHECK(w.n_copied == 1 && past_pages_free(w.memory, 0) == 32 - 13);
    world_close(&w);
}

// A window keeps what it sees and no more; going back needs a snapshot.
static void test_window(void)
{
    static const struct past_shape shape = {
        .n_pools = 2, .pools = {{0, 32}, {256, 32}}, .n_snapshots = 2};
    struct world w;
    world_open(&w, &shape);
    go_on(&w, 0, 1000);
    snapshot(&w, 0);
    go_on(&w, 0, 512);
    go_on(&w, 0, 8);
    CHECK(past_pages_free(w.memory, 0) == 32 - 6);
    CHECK(past_pages_free(w.memory, 1) == 32 - 2 - 2); // and the snapshot's two
    CHECK(past_keeps(w.memory, 0, 1519) == 1519 && past_keeps(w.memory, 0, 1200) == 1000 &&
          past_keeps(w.memory, 0, 999) == 0);
    cut(&w, 0, 1200);
    CHECK(w.seqs[0].n == 1000);
    go_on(&w, 0, 600);
    check_seq(&w, 0);
    CHECK(past_pages_most(256, 100000, 512) == 5 && past_pages_most(0, 1000, 512) == 4);
    world_close(&w);
}

// What was brought from elsewhere.
static void test_place(void)
{
    static const struct past_shape shape = {
        .n_pools = 2, .pools = {{0, 8}, {300, 8}}, .n_slots = 2, .n_snapshots = 2};
    struct world w;
    world_open(&w, &shape);
    CHECK(past_place(w.memory, 2, 1100) == OK && past_held(w.memory, 2) == 1100);
    CHECK(past_pages_free(w.memory, 0) == 3 && past_pages_free(w.memory, 1) == 6);
    CHECK(past_row(w.memory, 1, 2, 801) >= 0 && past_slot(w.memory, 2) >= 0);
    past_check(w.memory);
    CHECK(past_place(w.memory, 3, 1100) == NO_ROOM && past_held(w.memory, 3) == 0);
    CHECK(past_cut(w.memory, 2, 0) == 0);
    world_close(&w);
}

int main(void)
{
    test_random();
    test_common();
    test_window();
    test_place();
    return check_done("model_past");
}
