// template_inside.h - what the files of the chat format share.
//
//   template.c          a model's templates: opening them, rendering, ids
//   template_probe.c    what a template has a place for, found out by asking it
//   template_fold.c     a conversation in the shape that a template takes
#pragma once

#include "answer.h"
#include "jinja.h"
#include "text.h"

// What a template shows of a conversation. What it does not show is folded in elsewhere.
struct abilities {
    bool system;         // a system message, first
    bool late_system;    // one behind other turns
    bool tools;          // their descriptions
    bool calls;          // an assistant's calls
    bool results;        // messages of the role tool
    bool parallel;       // several calls of one message
    bool typed;          // contents are lists of parts
    bool text_arguments; // a call's arguments are JSON in a text
    bool short_ids;      // a call's id has 9 letters and digits
    bool thinking;       // reasoning_content is called thinking
};

struct format { // a template
    struct jinja *jinja;
    struct abilities can;
    struct answer_family family;
    struct bytes source; // owned
};

struct template
{
    struct format plain, tools;     // tools.jinja NULL: the plain one, with tools too
    struct err fault;               // status != OK: no conversation can be written
    struct bytes bos, eos, unknown; // texts, owned
};

// One rendering of messages in OpenAI's shape as they are. tools may be NULL.
MUST_USE enum status template_run(struct jinja_text *out, const struct template *template,
                                  const struct format *format, const struct value *messages,
                                  const struct conversation *conversation, struct err *err);
void template_probe(const struct template *template, struct format *format);

// *out: the messages as the format takes them, on the arena. *tools: NULL when the messages tell of
// them. all: nothing is left to the template but turns of user and assistant. NO_ROOM: the arena is
// full.
MUST_USE enum status template_fold(struct value *out, const struct value **tools,
                                   struct arena *arena, const struct format *format,
                                   const struct conversation *conversation, bool all,
                                   struct err *err);
