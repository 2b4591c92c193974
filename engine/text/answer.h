// answer.h - what a model writes, taken apart as it comes: content, thinking, and calls of tools.
//
// A family is how a model marks its thoughts and calls, told by its chat template. The bytes of its
// tokens go in (those of control tokens too, where the family knows them: answer_knows), events
// come out. What comes out does not depend on how the bytes were cut. Rules that hold for every
// family:
//   - a mark is one only where something that can be a call (a thought) follows; else it is content
//   - a thought opens at the beginning of an answer, or right behind a thought or a call
//   - white space around thoughts and calls belongs to nobody and is dropped
//   - a call begins for the reader when its name is known. Cut off before that, its text without
//     its mark is content, unless the call was forced; cut off later, it is a call whose arguments
//     are cut off
//   - arguments are JSON, whatever the form was: what is known to be meant is put right (Python's
//     literals, single quotes, commas at the end, line breaks in strings); the rest is passed on
#pragma once

#include "value.h"

enum answer_channel {
    ANSWER_CONTENT,
    ANSWER_THINKING,
    ANSWER_TOOL_NAME,      // one event, the whole name: the call begins
    ANSWER_TOOL_ARGUMENTS, // a piece of the call's JSON
};

struct answer_event {
    enum answer_channel channel;
    int32_t call;      // of TOOL_*: 0, 1, ...
    struct bytes text; // whole UTF-8
    struct bytes id;   // of TOOL_NAME: what the call is referred to by
};

struct answer_form;    // how calls are written (answer_forms.c)
struct answer_thought; // how thoughts are
struct answer_family {
    const struct answer_form *form;       // never NULL
    const struct answer_thought *thought; // NULL: it marks none
    bool told; // the template has no place for tools: answer_tools_text() goes into the prompt
};

// By the text of the chat template (n == 0: there is none), and where that says nothing by the
// marks among the tokens (NULL: these are not asked).
struct tokenizer;
struct answer_family answer_family_find(struct bytes chat_template,
                                        const struct tokenizer *tokenizer);
const char *answer_form_name(const struct answer_family *family); // "hermes", "harmony" ...
// Whether the text of a control token is (a part of) a mark, to be fed.
bool answer_knows(const struct answer_family *family, struct bytes token);
// Whether a prompt that ends so has opened a thought already.
bool answer_opens_thought(const struct answer_family *family, struct bytes end_of_prompt);
// What ends a thought, to be forced on a model that thinks for too long; n == 0: nothing does.
struct bytes answer_thought_end(const struct answer_family *family);
// Appends what begins a call of this tool (n == 0: of any), to be forced on a model that must call
// one.
void answer_call_begin(struct buf *out, const struct answer_family *family, struct bytes tool);

// What an answer may be, as a grammar of the text and control tokens that come when no thought is
// open. answer_grammar.c.
struct grammar;
struct notes;
struct constraint;
struct answer_rules {
    const struct value *tools; // NULL: none
    // A call must be made: the grammar is of what follows answer_call_begin(tool).
    bool must_call, several;
    struct bytes tool;                   // n == 0: any
    const struct constraint *constraint; // what content must be; NULL: it is free
    const struct tokenizer *tokenizer;   // whose control tokens marks are; NULL: there are none
};
// NULL: nothing is prescribed. Without must_call the arguments obey their schemas where content is
// prescribed or a tool says that it is strict. BAD_INPUT: the sentence begins with the constraint's
// path or "tools".
MUST_USE enum status answer_grammar(struct grammar **out, const struct answer_family *family,
                                    const struct answer_rules *rules, struct notes *notes,
                                    struct err *err);
// Appends what a system message must say of the tools, for a model whose template does not.
MUST_USE enum status answer_tools_text(struct buf *out, const struct answer_family *family,
                                       const struct value *tools);

struct answer_options {
    // As in OpenAI's requests; lives as long as the answer. NULL: calls are not looked for.
    const struct value *tools;
    bool in_thought; // the prompt has opened one
    bool one_call;   // the answer ends behind the first call
};

struct answer_parser;
void answer_open(struct answer_parser **out, const struct answer_family *family,
                 const struct answer_options *options);
void answer_close(struct answer_parser *answer);
// What is fed now begins with answer_call_begin(): where it ends before the call's name is known,
// none of it is content.
void answer_force(struct answer_parser *answer);
void answer_feed(struct answer_parser *answer, struct bytes piece);
void answer_finish(struct answer_parser *answer); // nothing more comes
// The next event; its views hold until the next answer_feed or answer_finish. False: none yet.
bool answer_take(struct answer_parser *answer, struct answer_event *event);
size_t answer_left(const struct answer_parser *answer);  // bytes that no event taken has told
bool answer_thinks(const struct answer_parser *answer);  // a thought is open
bool answer_is_over(const struct answer_parser *answer); // one_call, and it was made: feed no more
