// value.h - JSON as a small tree on an arena: messages, tools and schemas, as clients send them and
// as templates and grammars read them.
//
// Nothing in a tree is owned: it lives as long as its arena, and is never changed once it is made.
#pragma once

#include "../base/base.h"

enum value_kind {
    VALUE_NULL,
    VALUE_BOOL,
    VALUE_WHOLE, // an integer that fits
    VALUE_REAL,
    VALUE_TEXT,
    VALUE_LIST,
    VALUE_DICT,
};

struct value {
    enum value_kind kind;
    union {
        bool yes;
        int64_t whole;
        double real;
        struct bytes text; // UTF-8, a NUL follows
        struct {
            const struct value *items;
            size_t n;
        } list;
        struct {
            const struct member *members; // in the order they were written
            size_t n;
        } dict;
    };
};
struct member {
    struct bytes name;
    struct value value;
};

enum { VALUE_DEPTH = 128 }; // nesting that is read

// Reads strict JSON (RFC 8259). BAD_INPUT says where; TOO_LARGE: nested too deep; NO_ROOM: the
// arena is full.
MUST_USE enum status value_read(struct value *out, struct arena *arena, struct bytes json,
                                struct err *err);
// The same of a tree of yyjson's, which may go away afterwards.
struct yyjson_val;
MUST_USE enum status value_copy(struct value *out, struct arena *arena, struct yyjson_val *json,
                                struct err *err);
// The member of that name, of several the last; NULL when there is none or `dict` is no VALUE_DICT.
const struct value *value_get(const struct value *dict, const char *name);
// Writes it as JSON; `name` as in json_text.
void value_write(struct json *json, const char *name, const struct value *value);
const char *value_kind_name(enum value_kind kind); // as JSON calls it: "an object", "null"
