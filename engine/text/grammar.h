// grammar.h - output that obeys: a JSON schema, a GBNF grammar, a regular expression or a list of
// choices becomes a grammar, and a matcher says which tokens may come next.
//
// A grammar is read-only once it is made: any number of matchers, on any thread, may follow it. A
// matcher belongs to one generation. What cannot be honoured is refused when the grammar is made,
// never later; what is relaxed (a keyword that is not enforced) stands in the notes. The cost of
// both is bounded whatever a client sends.
#pragma once

#include "value.h"

struct tokenizer;
struct grammar;

struct notes { // what a schema asks for and the grammar does not enforce, one line
    char text[400];
};

struct grammar_options {
    const char *path; // how sentences call the schema: "response_format.json_schema.schema"
    bool lenient;     // a pattern that cannot be followed is a note, not a refusal
};

// Any JSON object.
MUST_USE enum status grammar_compile_json(struct grammar **out, struct err *err);
// BAD_INPUT, UNSUPPORTED, TOO_LARGE: the sentence begins with the path of the keyword.
MUST_USE enum status grammar_compile_schema(struct grammar **out, const struct value *schema,
                                            const struct grammar_options *options,
                                            struct notes *notes, struct err *err);
// GBNF as llama.cpp's grammars/README.md describes it; the whole is the rule `root`.
MUST_USE enum status grammar_compile_gbnf(struct grammar **out, struct bytes text, struct err *err);
// The whole output matches the expression, anchored or not.
MUST_USE enum status grammar_compile_regex(struct grammar **out, struct bytes expression,
                                           struct err *err);
MUST_USE enum status grammar_compile_choices(struct grammar **out, const struct bytes *choices,
                                             size_t n, struct err *err);

// What an output must be, as a request says it, and the one of the above that makes a grammar of
// it. Nothing is copied: it lives as long as the job it came with.
enum constraint_kind {
    CONSTRAINT_NONE,
    CONSTRAINT_JSON,   // any object
    CONSTRAINT_SCHEMA, // schema
    CONSTRAINT_GBNF,   // text
    CONSTRAINT_REGEX,  // text
    CONSTRAINT_CHOICES,
};
struct constraint {
    enum constraint_kind kind;
    const char *path; // how sentences call it
    const struct value *schema;
    struct bytes text;
    const struct bytes *choices;
    size_t n_choices;
};
// BAD_INPUT: the sentence begins with the path.
MUST_USE enum status grammar_compile(struct grammar **out, const struct constraint *constraint,
                                     struct notes *notes, struct err *err);
void grammar_close(struct grammar *grammar); // NULL: nothing; after its matchers

// ---- one generation -----------------------------------------------------------------------------

struct matcher;

// Makes what all matchers over a tokenizer share, which takes a tenth of a second once: on any
// thread, so that the first of them need not.
void matcher_prepare(const struct tokenizer *tokenizer);
// The tokenizer and the grammar must live as long.
void matcher_open(struct matcher **out, const struct grammar *grammar,
                  const struct tokenizer *tokenizer);
void matcher_close(struct matcher *matcher); // NULL: nothing
// Control tokens are allowed only where the grammar has them (answer_grammar); tokens that end a
// text are when the grammar may end.
bool matcher_allows(struct matcher *matcher, int32_t id);
// All at once: bit id % 32 of bits[id / 32], (n_vocab + 31) / 32 words. BAD_INPUT: nothing is
// allowed, or following the grammar costs more than a token, or an answer so long, may cost.
MUST_USE enum status matcher_mask(struct matcher *matcher, uint32_t *bits, struct err *err);
// Follows a token. False: it is not allowed, or finding that out was given up, and the matcher
// stands where it stood.
bool matcher_accept(struct matcher *matcher, int32_t id);
bool matcher_accept_bytes(struct matcher *matcher, struct bytes text);
// OK: the last question was answered. BAD_INPUT: it was given up, and why.
MUST_USE enum status matcher_gave_up(const struct matcher *matcher, struct err *err);
bool matcher_may_end(const struct matcher *matcher);  // the text so far is whole
bool matcher_must_end(const struct matcher *matcher); // and nothing can follow it
