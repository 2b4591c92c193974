// jinja.h - templates in the language of Jinja2, as chat templates are written in it.
//
// What they may do is what transformers lets them do: Jinja2 3.1 with trim_blocks, lstrip_blocks,
// loop controls, the tag `generation`, and the functions raise_exception and strftime_now; no
// include, import or extends. The result is Jinja2's, byte for byte, with Python's way to print
// values. Lists and dicts can be added to, which transformers' sandbox refuses.
//
// A template is trusted in nothing: a rendering has bounds for steps, depth, memory and output, and
// ends with a sentence when it reaches one. Steps count work, so that the bound is also one of
// time.
#pragma once

#include "../base/base.h"
#include "value.h"

struct jinja; // a parsed template; read-only, so that any thread may render it

enum { JINJA_SOURCE_MOST = 192 << 10 }; // bytes; the longest published ones have 30 KB

// Parses it. On failure the sentence names the line and what stands there: BAD_INPUT, or
// UNSUPPORTED for a construct of Jinja2's that is not here, TOO_LARGE for a bound.
MUST_USE enum status jinja_open(struct jinja **out, struct bytes source, struct err *err);
void jinja_close(struct jinja *jinja); // NULL: nothing

struct jinja_variable {
    const char *name;
    const struct value *value;
    bool ours;  // its texts may spell control tokens; else they came from a client
    bool roles; // a list of messages: what is called "role" in each is ours
};

// What came out. Of every byte it is known who wrote it.
struct jinja_text {
    uint8_t *p;
    uint8_t *client; // [n]: 1: from a client's variable, 0: the template's own
    size_t n;
};
void jinja_text_free(struct jinja_text *text);

// now_s: unix time for strftime_now, shown in the box's time zone. BAD_INPUT: the template refuses
// (raise_exception: err is its own words) or does what cannot be done; TOO_LARGE: a bound.
MUST_USE enum status jinja_render(struct jinja_text *out, const struct jinja *jinja,
                                  const struct jinja_variable *variables, size_t n_variables,
                                  int64_t now_s, struct err *err);
