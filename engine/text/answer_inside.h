// answer_inside.h - what the files of an answer share: the table of forms, and the state of taking
// one apart.
//
//   answer.c        bytes in, events out; text and thoughts; where calls begin
//   answer_forms.c  the families, as data
//   answer_family.c what follows from a family for prompts and for what is forced
//   answer_head.c   what stands before a call's arguments, for every form
//   answer_call.c   a call's arguments and its end
//   answer_json.c   a value, as models write it, into JSON
//   answer_harmony.c  gpt-oss: messages with a header
//   answer_grammar.c  what an answer may be, as a grammar: calls, thoughts, content
//   answer_arguments.c  a call's arguments in it
//
// Every step looks at `in` from `at` on and does one of three things: it takes bytes, it changes
// the state, or it waits. It waits exactly when more bytes could change what it does: so the events
// do not depend on how the bytes were cut.
#pragma once

#include "answer.h"

struct grammar;
struct schema_maker;
struct tokenizer;

// ---- forms --------------------------------------------------------------------------------------

enum answer_shape {
    SHAPE_OBJECTS,  // {"name": ..., "arguments": {...}}, one or more, or in a list
    SHAPE_NAMED,    // a name, a mark, a value
    SHAPE_TAGGED,   // a name, then each parameter between marks
    SHAPE_KEYWORDS, // name(a=1, b="x"), one or more, or in a list
    SHAPE_HARMONY,  // messages whose header names the recipient
};

enum { FORM_OPENS = 3, FORM_CLOSES = 2, FORM_ENDS = 3, FORM_DROPS = 4, FORM_SIGNS = 2 };

struct answer_form {
    const char *name;
    const char *signs[FORM_SIGNS]; // the template has all of these texts
    enum answer_shape shape;
    const char *open[FORM_OPENS];   // marks behind which calls stand
    const char *close[FORM_CLOSES]; // behind the last; may be left out by a model
    const char *call_open;          // in front of each call; NULL: nothing
    const char *call_close;
    const char *prefix[2];           // before a name, dropped
    const char *name_end[FORM_ENDS]; // the earliest counts; one that is '{' or a mark is not taken
    const char *skip_to; // when the name ended with name_end[1]: what comes before this is dropped
    const char *argument_open, *argument_name_end, *value_open, *argument_close;
    const char *quote;             // around strings, beside the usual ones
    const char *drops[FORM_DROPS]; // marks that mean nothing
    bool bare;                     // an answer may begin with a call, without any mark
    bool open_is_call;             // open[1] is a call_open whose mark was forgotten
    bool trims_line;   // the line breaks next to a parameter's marks are not part of its value
    bool says_string;  // argument_name_end is followed by whether it is a string, or by its type
    bool ends_thought; // open[0] ends a thought that was left open
    bool short_id;     // 9 letters and digits
    bool written_id;   // the name is written as functions.NAME:N, which is the id
    // How a call is written, for one that is forced and for the grammar of calls: %s is a name (the
    // tool's, or a parameter's), %v a value, %t its type, %0 and %1 a number, the first being that.
    // White space in it may be left out.
    const char *begins;    // before the arguments of the first call
    const char *parameter; // one of them; NULL: all are one JSON object
    const char *between;   // two parameters; NULL: nothing
    const char *done;      // behind the arguments
    const char *again;     // between two calls, up to the second one's name; NULL: there is one
    const char *ends;      // behind the last
    enum { AS_TEXT, AS_PYTHON, AS_QUOTED } values; // %v: strings bare, Python's, in `quote`
    const char *types[2];                          // %t of a string; of anything else, any of them
    const char *mark;    // tells in the midst of text that a call begins; NULL: open[0]
    const char *content; // what content that must be something begins with; NULL: nothing
};

struct answer_thought {
    const char *open, *close;
    const char *wrap_open, *wrap_close; // around the content that follows; NULL: nothing is
    const char *how;  // a template that makes these marks in pieces has this text; NULL: none does
    const char *next; // what must follow a thought; NULL: nothing
};

// ---- a value into JSON (answer_json.c) ----------------------------------------------------------

enum { JSON_DEPTH = 64 };
enum json_state { JSON_MORE, JSON_DONE, JSON_BAD };

struct answer_json {
    const char *quote; // of the form, or NULL
    enum json_state state;
    enum { WANTS_VALUE, WANTS_FIRST, WANTS_FIRST_KEY, WANTS_KEY, WANTS_COLON, WANTS_NEXT } wants;
    uint8_t string; // what closes the open string: '"', '\'', 'q' the form's quote; 0: none is open
    bool is_key;    // that string is one
    int n_open;
    uint8_t close[JSON_DEPTH];
};
void answer_json_init(struct answer_json *json, const char *quote);
// Appends to `out` (NULL: nowhere) the JSON of what it takes of `in`, and returns how much that is.
// final: nothing comes behind `in`.
size_t answer_json_feed(struct answer_json *json, struct bytes in, bool final, struct buf *out);
// Bytes of the value that `in` begins with; 0: there is none, *state says whether there may be.
size_t answer_json_skip(struct bytes in, const char *quote, bool final, enum json_state *state);
// Appends text as the inside of a JSON string.
void answer_json_escape(struct buf *out, struct bytes text);

// ---- an answer under way ------------------------------------------------------------------------

enum answer_state {
    IN_TEXT,
    IN_THOUGHT,
    BETWEEN_CALLS, // behind a call: another, the mark of the end, or text
    IN_VALUE,      // arguments as one value
    IN_STRING,     // arguments as JSON in a string
    IN_REST,       // the object around the arguments, behind them
    IN_PARAMETERS, // between two parameters
    IN_PARAMETER,
    IN_KEYWORDS, // between two keyword arguments
    IN_KEYWORD,
    IN_BROKEN, // arguments that are no JSON: passed on as they are
    IN_HEADER, // harmony
    IN_BODY,
};

enum types {
    IS_STRING = 1,
    IS_NUMBER = 2,
    IS_TRUTH = 4,
    IS_LIST = 8,
    IS_DICT = 16,
    IS_NOTHING = 32
};

struct answer_parser {
    const struct answer_form *form;
    const struct answer_thought *thought;
    struct answer_options options;
    struct buf in;
    size_t at;
    bool final, over;
    enum answer_state state;
    bool fresh;   // only white space since the beginning, a thought, a call
    bool behind;  // a thought or a call was last: white space belongs to it
    bool wrapped; // inside wrap_open
    bool forced;  // a call's beginning is forced, and what came since may be it
    // the call
    int32_t n_calls;
    bool listed;  // inside [ ]
    int n_levels; // objects open around the arguments
    struct answer_json json;
    const struct value *schema; // of the tool's parameters
    size_t n_parameters;        // begun
    bool is_string, begun;      // of the parameter
    size_t n_searched;          // bytes of it that do not hold its end
    unsigned types;
    enum answer_channel body; // of harmony's message
    size_t n_bodies[2];       // messages of CONTENT and THINKING
    // events
    struct buf text, part, scratch; // theirs; bytes of a character that is not whole; for a call
    struct note {
        enum answer_channel channel;
        int32_t call;
        size_t start, n, n_id; // in text: the id, then the text
    } *notes;
    size_t n_notes, notes_allocated, n_taken;
    enum answer_channel part_channel;
};

// answer.c
struct bytes answer_rest(const struct answer_parser *a);
void answer_tell(struct answer_parser *a, enum answer_channel channel, struct bytes text);
void answer_call(struct answer_parser *a, struct bytes name, struct bytes id); // a call begins
void answer_call_ends(struct answer_parser *a);
// What is waited for has an end: more white space than this belongs to no mark, and a head (a name,
// the rest of an object) that is longer is none.
enum { BLANK_MOST = 256, HEAD_MOST = 1 << 14, NAME_MOST = 200 };
size_t bytes_blank(struct bytes text);                     // of white space that it begins with
bool bytes_begin(struct bytes text, const char *with);     // false for NULL
bool bytes_may_begin(struct bytes text, const char *with); // is a part of it, and not all
// Bytes at the end of text that could be the beginning of `mark`.
size_t bytes_open_end(struct bytes text, const char *mark);
// Where `mark` is; text.n: nowhere.
size_t bytes_find(struct bytes text, const char *mark);
struct bytes bytes_from(struct bytes text, size_t from);

// ---- what stands before a call's arguments (answer_head.c) --------------------------------------

enum head_verdict { HEAD_MORE, HEAD_NOT, HEAD_CALL };

struct head {
    struct bytes name, id;
    size_t n; // bytes before what the state reads
    enum answer_state state;
    size_t from, to; // arguments that stood before the name; to == 0: none
    int n_levels;
    bool listed;
};
enum head_verdict answer_head(const struct answer_parser *a, struct bytes in, struct head *head);
const struct value *answer_tool(const struct answer_parser *a,
                                struct bytes name); // NULL: no such tool

// Of a list of tools the i-th: {"type": "function", "function": {...}}, or the inner object alone.
const struct value *answer_function(const struct value *tools, size_t i);

// ---- a call's arguments (answer_call.c) ---------------------------------------------------------

void answer_begin(struct answer_parser *a, struct bytes in, const struct head *head);
bool answer_call_step(struct answer_parser *a); // false: it waits
// The types that a schema allows; 0: any.
unsigned answer_types(const struct value *schema);

// ---- harmony (answer_harmony.c) -----------------------------------------------------------------

bool answer_harmony_step(struct answer_parser *a);

// ---- what an answer may be (answer_grammar.c, answer_arguments.c) -------------------------------

struct tool_rule { // a tool while its grammar is made
    const struct value *function;
    struct bytes name;
    char path[64];      // how sentences call its schema
    uint32_t arguments; // rule: they, and what stands behind them
};

struct answer_maker {
    struct grammar *g;
    struct schema_maker *schemas;
    const struct answer_form *form;
    const struct tokenizer *tokenizer; // NULL: all is text
    bool loose;                        // arguments need not obey their schemas
    uint32_t text_rule;                // a parameter's value as it stands; 0: not made yet
    uint32_t quoted_any, quoted_list, quoted_dict; // values with the form's quotes; 0
    uint32_t python_rule;                          // a string between '; 0
    uint32_t content_rule;                         // what content must be; 0: nothing is prescribed
    struct err err;                                // the first failure
};

struct slots { // what is put into a form's texts
    struct bytes name;
    uint32_t name_rule, value; // name_rule: instead of the name; 0: it counts
    const char *types;         // with blanks between
};
void maker_write(struct answer_maker *m, uint32_t from, const char *text, const struct slots *slots,
                 uint32_t to);
// Text that has none of the marks: what stands before the first of them, or all there is.
void maker_text_without(struct answer_maker *m, uint32_t from, const char *const *marks, size_t n,
                        bool other_marks, uint32_t to);
// Makes tool->arguments. False: *m says why not.
bool maker_arguments(struct answer_maker *m, struct tool_rule *tool);
