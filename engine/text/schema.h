// schema.h - a JSON schema on its way to rules: what schema.c (which schemas a value must obey,
// and what alternatives it has), schema_spot.c (places, sentences), schema_value.c (fixed values,
// numbers), schema_string.c and schema_container.c (objects, arrays) share.
//
// A value obeys several schemas at once (allOf, a $ref beside other keywords, a property that is
// named by two): they are a set of facts, and a rule is made once for each set. Rules that are
// needed wait in a list, so nothing here calls itself however deep a schema is.
#pragma once

#include "automaton.h"

enum {
    FACTS_MOST = 64,     // schemas that one value must obey
    SETS_MOST = 20000,   // rules made of sets
    COUNT_MOST = 10000,  // of characters, items, members that are counted
    MADE_MS_MOST = 2000, // a schema takes milliseconds; others wait for the thread
    SHARED_MOST = 64,    // rules of strings and numbers that are found again by their bounds
};

struct spot { // where in the schema: the way back to the root
    const struct spot *up;
    struct bytes name; // of a member; NULL: an item
    size_t index;
    const char *root; // of the first: what the schema is called
};

struct fact {
    const struct value *schema;
    const struct spot *spot;
    uint16_t done;    // FACT_REF ...: keywords that became facts of their own
    uint16_t because; // index of the fact it came from, + 1
};
enum { FACT_REF = 1, FACT_ALL = 2, FACT_ANY = 4, FACT_ONE = 8 };

struct facts {
    struct fact fact[FACTS_MOST];
    size_t n;
    bool impossible; // one of them is `false`
};

enum {
    TYPE_NULL_BIT = 1,
    TYPE_BOOL_BIT = 2,
    TYPE_INTEGER_BIT = 4,
    TYPE_REAL_BIT = 8, // numbers that need not be whole
    TYPE_STRING_BIT = 16,
    TYPE_ARRAY_BIT = 32,
    TYPE_OBJECT_BIT = 64,
    TYPE_ANY_BITS = 127,
};

// Strings by their lengths, numbers by their bounds: made once.
struct shared_rule {
    char kind; // 's', 'i', 'n'
    double least, most;
    bool least_open, most_open;
    int64_t multiple;
    uint32_t rule;
};

struct bounds {
    double least, most; // infinite: none
    bool least_open, most_open;
    int64_t multiple; // 1: any
};

struct schema_maker {
    struct grammar *g;
    struct arena arena; // of spots and waiting sets
    const struct value *root;
    const struct spot *root_spot;
    struct pending *first, **end; // sets whose rule is not made yet
    struct pending **made;        // [2 * SETS_MOST] hash table of all sets
    size_t n_made;
    struct shared_rule shared[SHARED_MOST];
    size_t n_shared;
    uint64_t until_ms; // then it has taken too long
    bool lenient;
    struct notes *notes;
    struct err err;  // the first failure
    struct err dead; // the first thing that nothing can satisfy
};

void schema_maker_open(struct schema_maker **out, struct grammar *g, bool lenient,
                       struct notes *notes);
void schema_maker_close(struct schema_maker *maker);
// The rule of a whole schema.
MUST_USE enum status schema_rule(struct schema_maker *maker, const struct value *schema,
                                 const char *path, uint32_t *rule, struct err *err);

// What an answer must be, as a rule (not of CONSTRAINT_NONE). The sentence begins with the path.
MUST_USE enum status constraint_rule(struct schema_maker *maker,
                                     const struct constraint *constraint, uint32_t *rule,
                                     struct err *err);
// The rule of one of its properties alone.
MUST_USE enum status schema_property(struct schema_maker *maker, const struct value *schema,
                                     const struct member *property, const char *path,
                                     uint32_t *rule, struct err *err);

// ---- for the files that make rules --------------------------------------------------------------

// The first failure is kept, and nothing more is made.
void schema_fail(struct schema_maker *m, enum status status, const struct spot *spot,
                 const char *keyword, const char *format, ...) PRINTF_LIKE(5, 6);
void schema_note(struct schema_maker *m, const struct spot *spot, const char *keyword,
                 const char *what);
// A set whose rule was asked for.
struct pending {
    struct pending *next;
    uint32_t rule;
    size_t n;
    struct fact fact[];
};

// Why nothing satisfies the schema that schema_rule was given this path for, once the grammar is
// finished: what was said to be dead within it, or else the deepest schema of it that fails.
enum status schema_blame(const struct schema_maker *m, const char *path, struct err *err);
// Nothing can satisfy this: told when nothing satisfies the whole.
void schema_dead(struct schema_maker *m, const struct spot *spot, const char *keyword,
                 const char *what);
bool schema_failed(struct schema_maker *m); // or it has taken too long
const struct spot *spot_root(struct schema_maker *m, const char *name);
const struct spot *spot_name(struct schema_maker *m, const struct spot *up, struct bytes name);
const struct spot *spot_item(struct schema_maker *m, const struct spot *up, size_t index);
// The member, when it is there and not null.
const struct value *schema_get(const struct fact *fact, const char *keyword);
// A whole number from 0 on that a keyword gives; -1: it gives none.
int64_t schema_count(struct schema_maker *m, const struct fact *fact, const char *keyword);
void facts_add(struct schema_maker *m, struct facts *facts, const struct value *schema,
               const struct spot *spot, size_t because);
uint32_t facts_rule(struct schema_maker *m, const struct facts *facts); // it is made later
// What a schema's `type` names, or its other keywords imply.
int schema_types(struct schema_maker *m, const struct fact *fact);
bool value_same(const struct value *a, const struct value *b);

// The rule of these bounds of strings ('s') or numbers ('i', 'n'); *is_new: it is to be made.
uint32_t schema_shared(struct schema_maker *m, char kind, const struct bounds *b, bool *is_new);
// All patterns and formats of the facts, joined; false: there is none.
bool schema_patterns(struct schema_maker *m, const struct facts *facts, struct letters *all);

// Each adds to the edges between two states what the facts allow of its kind.
// enum and const; false: none of the facts has one.
bool schema_fixed(struct schema_maker *m, const struct facts *facts, int types, uint32_t from,
                  uint32_t to);
void schema_number(struct schema_maker *m, const struct facts *facts, bool whole, uint32_t from,
                   uint32_t to);
void schema_string(struct schema_maker *m, const struct facts *facts, uint32_t from, uint32_t to);
void schema_object(struct schema_maker *m, const struct facts *facts, uint32_t from, uint32_t to);
void schema_array(struct schema_maker *m, const struct facts *facts, uint32_t from, uint32_t to);
// A fact's pattern, or another expression that a keyword holds. False: it is noted, or failed.
bool schema_pattern(struct schema_maker *m, const struct spot *spot, const char *keyword,
                    struct bytes pattern, struct letters *out);
