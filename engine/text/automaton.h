// automaton.h - a grammar from the inside: rules made of states, edges that read bytes or call a
// rule, and how the files that make grammars build it.
//
//   automaton.c  building, and the checks that end it    letters.c  automata over characters
//   matcher.c    following it, byte by byte              regex.c    expressions into letters
//   mask.c       which tokens may come next              gbnf.c     GBNF into rules
//   plain.c      what all JSON shares                    schema*.c  JSON schemas into rules
//   grammar.c    choices, JSON                           sets.c     a matcher's stacks and places
//   marks.c      control tokens among the bytes          answer_grammar.c  answers with calls
//
// A rule is a start and an end state; what lies between belongs to no other rule. An end state has
// no edges. States may be joined by edges that read nothing: nothing is made deterministic here,
// the matcher does that as it goes.
#pragma once

#include "grammar.h"

enum {
    GRAMMAR_STATES_MOST = 400000, // 3 MB of them, and 12 MB of edges while it is built
    GRAMMAR_EDGES_MOST = 1000000,
    GRAMMAR_RULES_MOST = 50000,
    PLACE_WAYS_MOST = 20000, // states that a text may be in at once
};

enum { EDGE_BYTES = 0, EDGE_CALL = 1, EDGE_EMPTY = 2 };

enum {
    PLAIN_STRING,
    PLAIN_CHARACTER,
    PLAIN_LETTER,
    PLAIN_CONTROL,
    PLAIN_BEYOND_ASCII,
    PLAIN_SPACE,
    PLAIN_NUMBER,
    PLAIN_INTEGER,
    PLAIN_OBJECT,
    PLAIN_ANY,
    PLAIN_RULES
};

struct grammar_edge {
    uint32_t from, to;
    uint32_t kind; // EDGE_BYTES, ...
    uint32_t what; // bytes: lowest | highest << 8; call: the rule
};

struct grammar_rule {
    uint32_t start, end;
    uint32_t rank;     // a rule's rank is below those of the rules it may call first
    bool may_be_empty; // it matches the empty text
    bool fails;        // it matches nothing at all
};

struct grammar {
    struct grammar_rule *rules;
    struct grammar_edge *edges; // sorted by `from` once it is finished
    uint32_t *first;            // [n_states + 1]: edges of a state
    uint8_t *flags;             // [n_states]: STATE_END, STATE_TAIL
    uint32_t n_rules, n_edges, n_states, rules_allocated, edges_allocated;
    uint32_t root;     // rule
    uint8_t kind[256]; // of each byte: those that no edge tells apart
    uint32_t n_kinds;
    bool full;                   // over a cap: what was made is not whole
    uint32_t plain[PLAIN_RULES]; // of plain.c; 0: not made yet
};

enum {
    STATE_END = 1,  // a rule's end
    STATE_TAIL = 2, // nothing but the end follows
};

void automaton_open(struct grammar **out); // rule 0 is reserved: it fails
uint32_t automaton_rule(struct grammar *g);
uint32_t automaton_state(struct grammar *g);
// Makes a rule of two states that nothing else uses.
uint32_t automaton_rule_of(struct grammar *g, uint32_t start, uint32_t end);
void automaton_bytes(struct grammar *g, uint32_t from, uint8_t lo, uint8_t hi, uint32_t to);
void automaton_call(struct grammar *g, uint32_t from, uint32_t rule, uint32_t to);
void automaton_skip(struct grammar *g, uint32_t from, uint32_t to);
void automaton_text(struct grammar *g, uint32_t from, struct bytes text, uint32_t to);
// Characters of a range as UTF-8; surrogates are left out.
void automaton_range(struct grammar *g, uint32_t from, uint32_t lo, uint32_t hi, uint32_t to);
// Texts of n <= 4 bytes below 0x80, from lo to hi.
void automaton_digits(struct grammar *g, uint32_t from, const uint8_t *lo, const uint8_t *hi,
                      size_t n, uint32_t to);
// Any of the texts, which it sorts.
void automaton_any_of(struct grammar *g, uint32_t from, struct bytes *texts, size_t n, uint32_t to);
uint32_t automaton_spaced(struct grammar *g, uint32_t rule); // with white space in front of it
// Ends the building. TOO_LARGE: over a cap. BAD_INPUT: a rule begins with itself; *loops is it.
MUST_USE enum status automaton_finish(struct grammar *g, uint32_t root, uint32_t *loops,
                                      struct err *err);

// ---- marks.c: control tokens --------------------------------------------------------------------

enum { MARK_BYTES = 4 };
// What a matcher reads of a token: its text, or the code of a control token. n == 0: it is never
// allowed.
struct bytes token_reads(const struct tokenizer *t, int32_t id, uint8_t code[MARK_BYTES]);
// A text in which control tokens stand as such, or spelled out; tokenizer NULL: there are none.
void automaton_mark(struct grammar *g, uint32_t from, struct bytes text,
                    const struct tokenizer *tokenizer, uint32_t to);
// The control token that a text begins with, and the text up to the next one; -1: with none.
int32_t mark_leads(const struct tokenizer *tokenizer, struct bytes text, struct bytes *behind);
// Any control token but these, and but those that end a text.
void automaton_other_marks(struct grammar *g, uint32_t from, const int32_t *but, size_t n,
                           uint32_t to);

// ---- plain.c: what all JSON shares; each makes its rule once ------------------------------------

uint32_t plain_string(struct grammar *g);
uint32_t plain_character(struct grammar *g);    // one inside a string, in any spelling
uint32_t plain_letter(struct grammar *g);       // the same in one spelling
uint32_t plain_control(struct grammar *g);      // of these the control characters
uint32_t plain_beyond_ascii(struct grammar *g); // of these what is not ASCII
uint32_t plain_space(struct grammar *g);        // nothing, a blank, or a new line and its indent
uint32_t plain_number(struct grammar *g);
uint32_t plain_integer(struct grammar *g);
uint32_t plain_object(struct grammar *g); // any object
uint32_t plain_any(struct grammar *g);    // any value
enum { PLAIN_ESCAPE = 8 };
struct bytes plain_escape(uint32_t point, char spelled[PLAIN_ESCAPE]); // of what needs one

// ---- letters.c: automata over characters --------------------------------------------------------

enum {
    LETTER_LAST = 0x10ffff,
    LETTER_BEGIN = 0x110000, // the text's beginning, as if it were a character
    LETTER_END = 0x110001,
    LETTER_NONE = 0x110002, // reads nothing
    LETTERS_STATES_MOST = 60000,
    LETTERS_EDGES_MOST = 400000,
};
struct letters_edge {
    uint32_t from, to, lo, hi;
};
struct letters {
    struct letters_edge *edges;
    uint32_t *first; // [n_states + 1], when sorted
    uint32_t n_states, n_edges, edges_allocated;
    uint32_t start, end; // the end has no edges
    bool full;
};
void letters_init(struct letters *l);
void letters_free(struct letters *l);
uint32_t letters_state(struct letters *l);
void letters_add(struct letters *l, uint32_t from, uint32_t lo, uint32_t hi, uint32_t to);
void letters_skip(struct letters *l, uint32_t from, uint32_t to);
void letters_text(struct letters *l, uint32_t from, struct bytes utf8, uint32_t to);
// out: texts that both match. Neither may be `out`; both are sorted by it.
void letters_both(struct letters *out, struct letters *a, struct letters *b);
// out: texts of min to max characters; max < 0: no limit.
void letters_count(struct letters *out, int64_t min, int64_t max);
// out: texts that it does not match.
void letters_not(struct letters *out, struct letters *in);
bool letters_match(struct letters *l, struct bytes utf8);
// Into a grammar's edges between two states, as UTF-8 or as the inside of a JSON string (one
// spelling a character).
void letters_write(struct letters *l, struct grammar *g, uint32_t from, uint32_t to, bool json);

// ---- gbnf.c -------------------------------------------------------------------------------------

// The rule of a whole text of rules, within a larger grammar.
MUST_USE enum status gbnf_rule(struct grammar *g, struct bytes text, uint32_t *rule,
                               struct err *err);

// ---- regex.c ------------------------------------------------------------------------------------

// whole: the expression must match all of the text, else some of it. UNSUPPORTED names what.
MUST_USE enum status regex_read(struct letters *out, struct bytes expression, bool whole,
                                struct err *err);
