// jinja_inside.h - what the files of the Jinja interpreter share.
//
//   jinja_lexer.c       text into tokens, with Jinja2's rules for white space
//   jinja_parser.c, jinja_expression.c, jinja_statement.c    tokens into a tree
//   jinja_run.c         statements; a rendering and its bounds
//   jinja_eval.c        expressions
//   jinja_data.c        values: truth, order, items
//   jinja_write.c       values as Python prints them, and as JSON
//   jinja_call.c        functions, macros, methods of lists and dicts
//   jinja_text.c, jinja_split.c, jinja_format.c              methods of texts
//   jinja_filter.c, jinja_sequence.c, jinja_test.c           filters, those over lists, tests
//
// Errors are latched: the first is kept in run->err, and from then on nothing is evaluated: every
// function returns what it has at hand. So only loops and what writes into memory must look.
#pragma once

#include "jinja.h"

#include <stdio.h>
#include <string.h>

// ---- values -------------------------------------------------------------------------------------

enum datum_kind {
    D_MISSING, // an argument that was not given, a name without a value: never seen by a template
    D_UNDEFINED,
    D_NONE,
    D_BOOL,
    D_WHOLE,
    D_REAL,
    D_TEXT,
    D_LIST, // all sequences but texts: see enum sequence
    D_DICT,
    D_NAMESPACE,
    D_MACRO,
    D_FUNCTION,
    D_METHOD,
    D_LOOP,
    D_CYCLER,
    D_JOINER,
};

enum sequence { LIST, TUPLE, GENERATOR, KEYS, VALUES, ITEMS, RANGE };

// Who wrote the bytes of a text: NULL the template, all_client a client, else a byte for each.
extern const uint8_t all_client[];

struct datum {
    enum datum_kind kind;
    bool safe; // of a text: marked as markup; + escapes what is added to it
    union {
        bool yes;
        int64_t whole;
        double real;
        struct {
            const uint8_t *p;
            size_t n;
            const uint8_t *client; // see above
        } text;
        struct { // UNDEFINED: what is asked for, and of what (NULL: a variable)
            const uint8_t *name;
            size_t n_name;
            const char *owner;
        };
        struct list *list;
        struct dict *dict; // DICT, NAMESPACE
        struct macro *macro;
        const struct function *function;
        struct method *method;
        struct loop *loop;
        struct cycler *cycler; // CYCLER, JOINER
    };
};

struct list {
    enum sequence sequence;
    struct datum *p;
    size_t n, allocated;
};
struct key_value {
    struct datum key, value;
};
struct dict {
    struct key_value *p; // in the order of insertion
    size_t n, allocated;
};
struct cycler { // of a joiner: items.n is 0, at: whether it was called
    struct list items;
    size_t at;
};

// ---- the tree -----------------------------------------------------------------------------------

enum node_kind {
    // expressions
    N_CONST,
    N_NAME,
    N_LIST,
    N_TUPLE,
    N_DICT, // a: key, value, key, value ...
    N_AND,
    N_OR,
    N_NOT,
    N_COMPARE, // a, then N_OPERAND in b
    N_OPERAND,
    N_BINARY,
    N_CONCAT, // a: the parts
    N_NEGATE,
    N_PLUS,
    N_TERNARY, // a if b else c (NULL: none)
    N_ATTRIBUTE,
    N_ITEM,
    N_SLICE, // a[b.a : b.b : b.c] has it as b
    N_CALL,  // a(b...)
    N_FILTER,
    N_TEST,
    N_NAMED,     // an argument name=a
    N_STAR,      // *a
    N_STAR_STAR, // **a
    N_MEMBER,    // what `set ns.x` assigns to
    // statements
    N_DATA,
    N_OUTPUT,
    N_IF,
    N_FOR,          // a in b: c else d, if e
    N_SET,          // a = b
    N_SET_BLOCK,    // a = c through the filters b
    N_MACRO,        // parameters a (N_NAMED, default a.a), body c
    N_CALL_BLOCK,   // a call, its macro b
    N_FILTER_BLOCK, // filters b over c
    N_WITH,         // a: N_NAMED, c
    N_SCOPE,        // c
    N_BREAK,
    N_CONTINUE,
};

enum operator{ ADD, SUB, MUL, DIV, FLOOR_DIV, MOD, POW, EQ, NE, LT, LE, GT, GE, IN, NOT_IN };

struct construct {
    enum node_kind kind;
    enum operator op;
    bool flag;    // N_FOR: recursive; N_MACRO: takes varargs
    bool kwargs;  // N_MACRO
    bool keeps;   // N_FOR: a macro in it may keep a round's scope
    int32_t line; // from 1
    int32_t name; // a symbol
    struct construct *a, *b, *c, *d, *e, *next;
    struct datum value;          // N_CONST, N_DATA; the name of N_ATTRIBUTE, N_NAMED, N_MACRO ...
    const struct filter *filter; // N_FILTER
    const struct tester *tester; // N_TEST
};

enum { JINJA_NESTED = 200 }; // expressions and statements within each other

enum { SYMBOL_BUCKETS = 256 };
struct symbol {
    struct bytes name;
    int32_t next;                    // of its bucket; 0: none, else a symbol and one
    const struct function *function; // the global of that name; NULL: none
};

struct jinja {
    struct arena arena;
    struct construct *body;
    struct symbol *symbols;
    int32_t n_symbols, symbols_allocated;
    int32_t bucket[SYMBOL_BUCKETS];        // by a hash of the name; 0: empty, else a symbol and one
    int32_t loop, caller, varargs, kwargs; // symbols
};

// ---- tokens (jinja_lexer.c) ---------------------------------------------------------------------

enum token_kind {
    T_END,
    T_DATA,
    T_OPEN_VARIABLE,
    T_CLOSE_VARIABLE,
    T_OPEN_BLOCK,
    T_CLOSE_BLOCK,
    T_NAME,
    T_TEXT,
    T_WHOLE,
    T_REAL,
    T_OPERATOR,
};
struct lexeme {
    enum token_kind kind;
    int32_t line;
    struct bytes text;
    int64_t whole;
    double real;
};
// [*n] tokens on the arena, the last T_END.
MUST_USE enum status jinja_lex(struct lexeme **out, size_t *n, struct arena *arena,
                               struct bytes source, struct err *err);
size_t jinja_space(struct bytes text, size_t at); // bytes of the white space at `at`; 0: none
struct bytes jinja_strip_end(struct bytes text);

// ---- the parser ---------------------------------------------------------------------------------

struct parser {
    struct jinja *jinja;
    const struct lexeme *token; // the present one
    int depth;
    bool failed; // *err is filled: nothing more is read
    struct err *err;
    bool in_macro, uses_varargs, uses_kwargs; // of the macro being read
    int n_macros;                             // read so far, and call blocks
    int loops;                                // for statements around, within the macro
};
void jinja_refuse(struct parser *p, enum status status, const char *what, ...) PRINTF_LIKE(3, 4);
void jinja_unexpected(struct parser *p, const char *wanted);
struct construct *jinja_node(struct parser *p, enum node_kind kind); // never NULL
bool jinja_is(const struct parser *p, const char *name);             // the present token: a name
bool jinja_is_operator(const struct parser *p, const char *text);
bool jinja_skip(struct parser *p, const char *name);
bool jinja_skip_operator(struct parser *p, const char *text);
void jinja_expect(struct parser *p, enum token_kind kind, const char *text);
void jinja_next(struct parser *p);
int32_t jinja_symbol(struct parser *p, struct bytes name);
int32_t jinja_symbol_find(const struct jinja *jinja, struct bytes name); // -1: none
bool jinja_enter(struct parser *p); // one level deeper; false: too deep. Then depth-- anyway
struct construct *jinja_expression(struct parser *p);
struct construct *jinja_tuple(struct parser *p,
                              bool ternary); // one expression, or several with commas
struct construct *jinja_filters(struct parser *p, struct construct *in,
                                bool begun);                    // in: NULL in a block
struct construct *jinja_target(struct parser *p, bool members); // what may be assigned to

// ---- a rendering --------------------------------------------------------------------------------

enum {
    RUN_DEPTH = 700,             // calls of eval and run within each other
    RUN_STEPS = 250000,          // about 15 ms
    RUN_STEPS_A_VALUE = 4000,    // more for each value in the variables
    RUN_BYTES = 8 << 20,         // of memory and of output
    RUN_STEPS_A_BYTE = 12,       // and for each byte: some templates look at every character
    RUN_BYTES_COUNTED = 8 << 20, // of them; no request has more
    RUN_BYTES_A_BYTE = 64,       // more for each byte of the variables
};

struct binding {
    int32_t name;
    struct datum value;
    struct binding *next;
};
struct scope {
    struct scope *outer;
    struct binding *first;
    struct datum *all; // of the outermost: [n_symbols]
};

struct macro {
    const struct construct *node;
    struct scope *scope; // where it was written
};
struct loop {
    struct datum *items;
    size_t n, at, depth;
    const struct construct *node;
    struct scope *scope;
    struct datum changed; // what loop.changed saw last
};

struct run {
    const struct jinja *jinja;
    struct arena arena;
    struct err *err;
    bool failed;
    int32_t line;
    int depth;
    int64_t steps; // left
    int64_t now_s;
    uint8_t *out, *out_client; // [n_out]: what is written; functions use its end as their scratch
    size_t n_out, out_allocated, out_cap;
    struct datum block; // what a filter block holds
    struct scope top;
};

struct args {
    struct datum *p;
    size_t n;
    struct key_value *named; // keys are texts
    size_t n_named;
};
enum { PARAMETERS_MOST = 8 };

// A filter, a method, a function: `parameters` are the names of those behind the value, of which
// the first n_least must be given; NULL: it reads them itself. `arg` has what was given, else
// D_MISSING.
struct calling {
    struct run *run;
    struct datum in; // the value filtered, the object of the method
    const struct datum *arg;
    const struct args *args;
};
struct filter {
    const char *name;
    struct datum (*work)(const struct calling *call);
    const char *parameters;
    int n_least;
};
struct tester {
    const char *name;
    bool (*work)(const struct calling *call);
    int n_args;
};
struct function { // a global, or a method of one kind of value
    const char *name;
    struct datum (*work)(const struct calling *call);
    const char *parameters;
    int n_least;
};
struct method {
    struct datum self;
    const struct function *function;
};

// jinja_run.c
void run_fail(struct run *run, enum status status, const char *what, ...) PRINTF_LIKE(3, 4);
bool run_charge(struct run *run, size_t n); // n steps; false: it failed, now or before
void *run_take(struct run *run, size_t n);  // zeroed; NULL: failed
void run_write(struct run *run, const void *p, size_t n, const uint8_t *client);
void run_body(struct run *run, const struct construct *body, struct scope *scope);
struct datum run_since(struct run *run, size_t n_out); // what was written since, taken back
void scope_set(struct run *run, struct scope *scope, int32_t name, struct datum value);
struct datum scope_get(struct run *run, const struct scope *scope, int32_t name); // MISSING
struct datum run_loop_again(struct run *run, const struct loop *loop, struct datum items);
void run_assign(struct run *run, const struct construct *target, struct datum value,
                struct scope *scope);

// jinja_eval.c
struct datum eval(struct run *run, const struct construct *node, struct scope *scope);
struct datum eval_binary(struct run *run, enum operator op, struct datum a, struct datum b);
struct datum eval_attribute(struct run *run, struct datum object, struct bytes name);
struct datum eval_item(struct run *run, struct datum object, struct datum key);
void eval_args(struct run *run, const struct construct *first, struct scope *scope,
               struct args *out);
struct datum eval_slice(struct run *run, struct datum object, const struct datum bound[3]);

// jinja_call.c
extern const struct function jinja_functions[];
struct datum call_any(struct run *run, struct datum callee, const struct args *args);
struct datum call_bound(struct run *run, const char *name, const char *parameters, int n_least,
                        struct datum (*work)(const struct calling *), struct datum in,
                        const struct args *args);
struct datum call_macro(struct run *run, const struct macro *macro, const struct args *args,
                        struct datum caller);
const struct function *method_find(struct datum object, struct bytes name); // NULL: none
struct datum filter_apply(struct run *run, const struct filter *filter, struct datum in,
                          const struct args *args);
bool test_apply(struct run *run, const struct tester *tester, struct datum in,
                const struct args *args);
const struct filter *filter_find(struct bytes name);
const struct tester *test_find(struct bytes name);
extern const struct filter jinja_filters_texts[], jinja_filters_lists[];
extern const struct function jinja_methods_text[];

// jinja_data.c
struct datum datum_of(enum datum_kind kind);
struct datum datum_bool(bool yes);
struct datum datum_whole(int64_t whole);
struct datum datum_real(double real);
struct datum datum_text(const char *text); // the template's own
struct datum datum_view(struct bytes text, const uint8_t *client);
struct datum datum_undefined(struct bytes name, const char *owner);
struct datum text_part(struct datum text, size_t from, size_t n);
struct bytes text_bytes_of(struct datum text);
bool datum_is(struct datum text, const char *what);
const char *datum_type(struct datum datum); // Python's name of its type
bool datum_true(struct datum datum);
bool datum_is_number(struct datum datum); // bool, int, float
double datum_number(struct datum datum);
bool datum_equal(struct run *run, struct datum a, struct datum b);
int datum_order(struct run *run, struct datum a, struct datum b, const char *sign); // <0, 0, >0
bool datum_contains(struct run *run, struct datum in, struct datum what);
bool datum_whole_of(struct run *run, struct datum datum, int64_t *out, const char *what);
void undefined_fail(struct run *run, struct datum undefined);
struct datum list_new(struct run *run, enum sequence sequence, size_t n); // n times MISSING
void list_add(struct run *run, struct list *list, struct datum item);
struct datum dict_new(struct run *run, enum datum_kind kind);
void dict_set(struct run *run, struct dict *dict, struct datum key, struct datum value);
struct datum *dict_get(struct run *run, const struct dict *dict, struct datum key); // NULL: none
struct datum *dict_get_text(struct run *run, const struct dict *dict, struct bytes key);
// Its items, one after the other; a generator is empty afterwards. False: failed.
bool datum_iterate(struct run *run, struct datum datum, struct list *out);
bool datum_length(struct run *run, struct datum datum, size_t *n);
size_t text_offset(struct bytes text, size_t n_points); // bytes of the first n_points
struct datum datum_from_value(struct run *run, const struct value *value, const uint8_t *client,
                              int depth);

// jinja_write.c
void write_text(struct run *run, struct datum text);
void write_string(struct run *run, const char *text);
void write_str(struct run *run, struct datum datum);  // as print does
void write_repr(struct run *run, struct datum datum); // as inside a list
struct datum datum_str(struct run *run, struct datum datum);
struct datum write_tojson(const struct calling *call);
struct datum datum_escape(struct run *run, struct datum text);

// jinja_text.c, jinja_split.c, jinja_format.c
struct datum text_strip(struct run *run, struct datum text, struct datum chars, bool start,
                        bool end);
struct datum text_case(struct run *run, struct datum text, char how); // 'u', 'l', 't', 'c', 's'
struct datum text_replace(struct run *run, struct datum text, struct datum from, struct datum to,
                          int64_t most);
size_t text_find(struct run *run, struct bytes in, struct bytes what, size_t from); // SIZE_MAX
struct bytes text_wanted(struct run *run, struct datum datum, const char *method);  // else failed
bool datum_given(struct datum datum); // neither left out nor none
struct datum method_split(const struct calling *call), method_rsplit(const struct calling *call),
    method_splitlines(const struct calling *call), method_partition(const struct calling *call),
    method_rpartition(const struct calling *call), method_find_text(const struct calling *call),
    method_rfind(const struct calling *call), method_index(const struct calling *call),
    method_rindex(const struct calling *call), method_count(const struct calling *call),
    method_startswith(const struct calling *call), method_endswith(const struct calling *call),
    method_removeprefix(const struct calling *call),
    method_removesuffix(const struct calling *call);
struct datum text_percent(struct run *run, struct datum format, const struct args *args);
struct datum text_format(const struct calling *call);
