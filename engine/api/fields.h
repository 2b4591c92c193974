// fields.h - how the fields of a request are read, for every dialect.
//
// A dialect is a table of fields and one writer. As in OpenAI's API an unknown field is ignored and
// null means "not given"; but a field we know with a value we cannot honour is a 400 that names it:
// silence would look like obedience. Strings are copied to the job's arena: the parsed body does
// not outlive the reading.
#pragma once

#include "inside.h"

struct reading { // one request being read
    struct ask *ask;
    struct arena *arena; // the job's
    struct form *form;
    struct refusal *refusal;
    bool max_seen;    // a limit was given
    void *of_dialect; // what the dialect keeps until every field was read: on the arena
};

typedef bool field_reader(struct reading *r, const char *name, yyjson_val *value);

struct field {
    const char *name;
    field_reader *read;
};

// Those whose name and meaning all dialects share, and what reads the others; a table ends with a
// field without a name.
extern const struct field shared_fields[];
field_reader *field_reader_of(const struct dialect *dialect, const char *name); // NULL: none
// defaults.c: what is kept of the model (a string; else that of the start) as if it had been said.
bool defaults_read(const struct api *api, yyjson_val *model, struct reading *r);
field_reader read_model, read_keep_alive, read_max_tokens, read_stop, read_stream, read_messages,
    read_tools, read_tool_choice, read_template_options, read_parallel_calls;
// messages.c, for dialects whose conversations are written in another form than OpenAI's chats.
struct message { // a text whose p is NULL was not given
    struct bytes role, content, reasoning, name, call_id;
    const struct value *calls; // a VALUE_LIST of what make_call makes; NULL: none
};
// A role as templates know it: "developer" is "system".
bool take_role(struct reading *r, const char *path, yyjson_val *role, struct bytes *out);
// A text, or an array of parts of text, joined by newlines.
bool take_content(struct reading *r, const char *path, yyjson_val *content, bool may_miss,
                  struct bytes *out);
// A call's arguments (a text, an object, or nothing): an object where they are one, which is what
// templates are written for; a text that is no JSON object stays a text.
bool take_arguments(struct reading *r, const char *path, yyjson_val *arguments, struct value *out);
// A call as templates read it; id.p == NULL: it has none.
bool make_call(struct reading *r, struct bytes id, struct bytes name, struct value arguments,
               struct value *out);
// The conversation is these messages, at least one: neighbours of one role become one turn (which
// changes the array).
bool take_messages(struct reading *r, struct message *messages, size_t n);
// tools.c: {"name", "description", "parameters"} at `path`.
bool function_good(struct reading *r, const char *path, yyjson_val *function);
struct value text_value(struct bytes text);
struct member text_member(const char *name, struct bytes text);
// An object of these; dict.members == NULL: no room.
struct value dict_of(struct arena *arena, const struct member *members, size_t n);
// When every field was read: which tool must be called; "none" leaves the tools out.
bool finish_tools(struct reading *r);
// tools.c, for dialects that write tools another way: the parts of one, and whether the names of
// all (as OpenAI's chats have them) differ. member: where in a tool of the request its name stands.
bool tool_name_good(struct reading *r, const char *path, yyjson_val *name);
bool parameters_good(struct reading *r, const char *path, yyjson_val *parameters);
bool names_differ(struct reading *r, const char *field, const char *member,
                  const struct value *tools);
// thinking.c: whether, how much and how long the model thinks, in each of its spellings.
field_reader read_effort, read_reasoning, read_thinking, read_enable_thinking, read_thinking_budget;
bool finish_thinking(struct reading *r); // what of it templates read becomes their options

// constraint.c: what the answer must be, in each of its spellings; only one may be given.
extern const struct field constraint_fields[], ollama_format_fields[];
field_reader read_text_format;
field_reader read_output_format; // Anthropic's: {"type": "json_schema", "schema": ...}
// logprobs.c; finish_logprobs: when every field of a chat was read.
extern const struct field chat_logprobs_fields[], completions_logprobs_fields[];
bool finish_logprobs(struct reading *r);
extern const struct field sampling_fields[]; // sampling.c: how tokens are drawn

// Every reader returns true, or false with r->refusal filled.
bool wrong_kind(struct reading *r, const char *name, const char *expected, yyjson_val *value);
bool field_missing(struct reading *r, const char *name);
bool not_supported(struct reading *r, const char *name, const char *what);
bool no_room(struct reading *r);
// The whole of it, copied.
bool take_value(struct reading *r, const char *name, yyjson_val *json, struct value *out);
bool take_text(struct reading *r, yyjson_val *value, struct bytes *out);
bool take_ids(struct reading *r, const char *name, yyjson_val *array, struct text_ask *out);
bool take_float(struct reading *r, const char *name, yyjson_val *value, double least, double most,
                float *out);
bool take_whole(struct reading *r, const char *name, yyjson_val *value, int64_t least, int64_t most,
                int64_t *out);
bool take_flag(struct reading *r, const char *name, yyjson_val *value, bool *out);
