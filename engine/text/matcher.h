// matcher.h - a matcher from the inside, shared by matcher.c (following a grammar) and mask.c (the
// vocabulary against it).
//
// Stacks are shared: a stack is a set of (state to return to, stack below), found by its contents,
// so that equal ones are one. A place is everything the text so far may be in the middle of: a set
// of (state, stack), found by its contents too, with what each byte leads to filled in when it is
// first asked for. So a grammar is made deterministic as it is used, and only where it is used.
#pragma once

#include "automaton.h"

enum {
    PLACES_MOST = 4096,        // kept before they are forgotten
    PAIRS_MOST = 1 << 20,      // of all of them: 8 MB
    KEPT_PAIRS_MOST = 1 << 17, // of the stacks, over forgetting: a tenth of a second
    PLACE_PAIRS_MOST = PLACE_WAYS_MOST,
    MASKS_KEPT = 16,
};

// What following a grammar may cost, in pairs and edges looked at (3 ns each on the processor this
// was measured on): so much for a token, and so much for a generation, which gains WORK_EACH with
// every token it makes. So a grammar holds up those that share the engine by 30 ms at once, by a
// fifth of a second in all, and then by half a millisecond a token.
enum {
    WORK_TOKEN = 1 << 23,
    WORK_BURST = 1 << 26,
    WORK_EACH = 1 << 17,
    WORK_MOVING = 16, // of a pair that is kept when others are forgotten
};

struct pair {
    uint32_t state, stack;
};
struct pair_span { // of pairs
    uint32_t first, n;
};

// Sets of pairs, each once.
struct pair_sets {
    struct pair *pairs;
    struct pair_span *sets;
    uint32_t *slots; // hash table: set + 1; 0: free
    uint32_t n_pairs, n_sets, pairs_allocated, sets_allocated, n_slots;
};

// sets.c
void sets_init(struct pair_sets *s);
void sets_free(struct pair_sets *s);
uint64_t sets_hash(const struct pair *pairs, uint32_t n);
// The set of these pairs, sorted and each once; *is_new when it was not there.
uint32_t sets_find(struct pair_sets *s, const struct pair *pairs, uint32_t n, bool *is_new);

#define BOTTOM UINT32_MAX // as the state of a pair: the text ends here
enum { PLACE_DEAD = 0 };

struct match_place {
    bool may_end, must_end;
};

struct token_mask {
    uint32_t place; // 0: none
    uint32_t *bits;
};

struct matcher {
    const struct grammar *grammar;
    const struct tokenizer *tokenizer;
    struct pair_sets stacks;   // 0: the lowest, {BOTTOM}
    struct pair_sets places;   // sets of pairs whose states read bytes, or BOTTOM
    struct match_place *place; // [places.sets_allocated]
    uint32_t *next;            // [places.sets_allocated][grammar->n_kinds]: place + 1; 0: not known
    uint32_t next_allocated;
    uint32_t at;             // the place it stands at
    struct closing *closing; // scratch
    uint64_t work;           // left for the token that comes next
    uint64_t purse;          // left for the generation when that token began
    uint64_t granted;        // of it for that token
    bool overworked;         // the present question was given up
    bool too_wide;           // since a place has too many pairs
    bool lost;               // it is given up for good
    struct token_mask masks[MASKS_KEPT];
    uint32_t at_mask;
};

// Where a byte leads from a place; PLACE_DEAD: nowhere.
uint32_t matcher_step(struct matcher *m, uint32_t place, uint8_t byte);
// Forgets all places but the present one and those given, which get new numbers.
void matcher_forget(struct matcher *m, uint32_t *keep, uint32_t n_keep);
bool matcher_full(const struct matcher *m); // it is time to forget
void matcher_ask(struct matcher *m);        // before a question: what comes next
