// anthropic.c - Anthropic's dialect: what the fields of POST /v1/messages say, and of
// /v1/messages/count_tokens. Messages and the system prompt are read in anthropic_turns.c, answers
// written in anthropic_write.c.
//
// As in all dialects an unknown field is ignored, and one that is known and cannot be honoured is a
// 400 that names it. Tools that Anthropic's own servers run (web_search ...) or that have their
// schema there (bash ...) are left out, and the header x-tawny-notes says so: clients send them
// without being asked. A tool that is deferred is told to the model when a message refers to it.
// Thoughts are told to those alone who ask for them: others take the first block for the answer.
#include "anthropic.h"

#include <stdio.h>
#include <string.h>

enum { NOTE_BYTES = 190 };

static struct anthropic_ask *ask_of(struct reading *r)
{
    return r->of_dialect;
}

static bool begin(struct reading *r)
{
    r->of_dialect = arena_take(r->arena, sizeof(struct anthropic_ask));
    if (!r->of_dialect)
        return no_room(r);
    ask_of(r)->thinks = SAID_NO; // unless it is asked for
    r->form->thoughts = THOUGHTS_LEFT_OUT;
    return true;
}

// ---- tools ----------------------------------------------------------------------------------

static bool tool_good(struct reading *r, size_t at, yyjson_val *tool)
{
    char path[64];
    yyjson_val *name = yyjson_obj_get(tool, "name"),
               *description = yyjson_obj_get(tool, "description"),
               *schema = yyjson_obj_get(tool, "input_schema");
    snprintf(path, sizeof(path), "tools[%zu].name", at);
    if (!yyjson_is_str(name))
        return wrong_kind(r, path, "a string", name);
    if (!tool_name_good(r, path, name))
        return false;
    snprintf(path, sizeof(path), "tools[%zu].description", at);
    if (description && !yyjson_is_null(description) && !yyjson_is_str(description))
        return wrong_kind(r, path, "a string", description);
    snprintf(path, sizeof(path), "tools[%zu].input_schema", at);
    if (!yyjson_is_obj(schema))
        return wrong_kind(r, path, "an object", schema);
    return parameters_good(r, path, schema);
}

// {"name", "description", "input_schema"} as {"type": "function", "function": {...}}.
static bool take_tool(struct reading *r, size_t at, yyjson_val *tool, struct value *out)
{
    static const char *const names[][2] = {
        {"name", "name"}, {"description", "description"}, {"input_schema", "parameters"}};
    struct member inner[COUNT_OF(names)];
    char path[64];
    size_t n = 0;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        yyjson_val *member = yyjson_obj_get(tool, names[i][0]);
        if (!member || yyjson_is_null(member))
            continue;
        snprintf(path, sizeof(path), "tools[%zu].%s", at, names[i][0]);
        inner[n].name = bytes_of(names[i][1]);
        if (!take_value(r, path, member, &inner[n++].value))
            return false;
    }
    const struct value function = dict_of(r->arena, inner, n);
    const struct member outer[] = {text_member("type", bytes_of("function")),
                                   {bytes_of("function"), function}};
    *out = dict_of(r->arena, outer, COUNT_OF(outer));
    return function.dict.members && out->dict.members ? true : no_room(r);
}

static bool is_own(yyjson_val *tool)
{
    yyjson_val *type = yyjson_obj_get(tool, "type");
    return !type || yyjson_is_null(type) || yyjson_equals_str(type, "custom");
}

// What is left out, by its type. A client's words become a header: only printable ones of them.
static bool note_tool(struct reading *r, yyjson_val *tool)
{
    char name[NAME_TEXT], text[NOTE_BYTES];
    yyjson_val *type = yyjson_obj_get(tool, "type");
    struct bytes *note = &r->form->note;
    if (!yyjson_is_str(type))
        return wrong_kind(r, "tools[].type", "a string", type);
    name_text(name, string_of(type));
    if (note->n + strlen(name) + 2 >= sizeof(text))
        return true; // the first ones say enough
    snprintf(text, sizeof(text), "%.*s%s%s", (int)note->n, (const char *)note->p,
             note->n > 0 ? ", " : "tools left out, as they do not run here: ", name);
    *note = bytes_copy(r->arena, bytes_of(text));
    return note->p ? true : no_room(r);
}

static bool read_own_tools(struct reading *r, const char *name, yyjson_val *value)
{
    struct anthropic_ask *ask = ask_of(r);
    size_t n = yyjson_arr_size(value), i, n_all;
    char path[64];
    yyjson_val *tool;
    if (!yyjson_is_arr(value))
        return wrong_kind(r, name, "an array", value);
    if (n > TOOLS_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' has %zu entries; at most %d are allowed.", name, n, TOOLS_MOST);
    ask->tools = arena_take(r->arena, (n + 1) * sizeof(*ask->tools));
    ask->deferred = arena_take(r->arena, n + 1);
    if (!ask->tools || !ask->deferred)
        return no_room(r);
    yyjson_arr_foreach(value, i, n_all, tool)
    {
        snprintf(path, sizeof(path), "tools[%zu]", i);
        if (!yyjson_is_obj(tool))
            return wrong_kind(r, path, "an object", tool);
        if (!is_own(tool)) {
            if (!note_tool(r, tool))
                return false;
            continue;
        }
        ask->deferred[ask->n_tools] = yyjson_is_true(yyjson_obj_get(tool, "defer_loading"));
        if (!tool_good(r, i, tool) || !take_tool(r, i, tool, &ask->tools[ask->n_tools++]))
            return false;
    }
    const struct value all = {.kind = VALUE_LIST, .list = {ask->tools, ask->n_tools}};
    return names_differ(r, name, "name", &all);
}

static bool is_called(const struct anthropic_ask *ask, const struct value *tool)
{
    const struct value *name = value_get(value_get(tool, "function"), "name");
    for (size_t i = 0; i < ask->n_called; i++)
        if (bytes_equal(ask->called[i], name->text))
            return true;
    return false;
}

// The tools that the model is told of.
static bool finish_own_tools(struct reading *r)
{
    struct anthropic_ask *ask = ask_of(r);
    struct value *list = arena_take(r->arena, sizeof(*list));
    size_t n = 0;
    if (!list)
        return no_room(r);
    for (size_t i = 0; i < ask->n_tools; i++)
        if (!ask->deferred[i] || is_called(ask, &ask->tools[i]))
            ask->tools[n++] = ask->tools[i];
    *list = (struct value){.kind = VALUE_LIST, .list = {ask->tools, n}};
    if (n > 0)
        r->ask->conversation.tools = list;
    return finish_tools(r);
}

// {"type": "auto", "any", "tool" (with "name") or "none", "disable_parallel_tool_use"}, as OpenAI
// writes it.
static bool read_choice(struct reading *r, const char *name, yyjson_val *value)
{
    static const char *const words[][2] = {{"auto", "auto"}, {"any", "required"}, {"none", "none"}};
    yyjson_val *type = yyjson_obj_get(value, "type"), *tool = yyjson_obj_get(value, "name"),
               *one = yyjson_obj_get(value, "disable_parallel_tool_use");
    struct value *choice = arena_take(r->arena, sizeof(*choice));
    struct bytes called;
    if (!yyjson_is_obj(value))
        return wrong_kind(r, name, "an object", value);
    if (!yyjson_is_str(type))
        return wrong_kind(r, "tool_choice.type", "a string", type);
    if (one && !yyjson_is_null(one) &&
        !take_flag(r, "tool_choice.disable_parallel_tool_use", one, &r->ask->one_call))
        return false;
    if (!choice)
        return no_room(r);
    r->ask->tool_choice = choice;
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        *choice = text_value(bytes_of(words[i][1]));
        if (yyjson_equals_str(type, words[i][0]))
            return true;
    }
    if (!yyjson_equals_str(type, "tool"))
        return refuse(r->refusal, 400, "invalid_value", "tool_choice.type",
                      "'tool_choice.type' is \"%.40s\"; it must be \"auto\", \"any\", \"tool\" or "
                      "\"none\".",
                      yyjson_get_str(type));
    if (!yyjson_is_str(tool))
        return wrong_kind(r, "tool_choice.name", "a string", tool);
    if (!take_text(r, tool, &called))
        return false;
    const struct member members[] = {text_member("type", bytes_of("function")),
                                     text_member("name", called)};
    *choice = dict_of(r->arena, members, COUNT_OF(members));
    return choice->dict.members ? true : no_room(r);
}

// ---- thinking -------------------------------------------------------------------------------

static bool read_display(struct reading *r, yyjson_val *value)
{
    if (!value || yyjson_is_null(value) || yyjson_equals_str(value, "summarized"))
        return true; // a thought is told as it is
    if (!yyjson_equals_str(value, "omitted"))
        return refuse(r->refusal, 400, "invalid_value", "thinking.display",
                      "'thinking.display' must be \"summarized\" or \"omitted\".");
    r->form->thoughts = THOUGHTS_EMPTY;
    return true;
}

static bool read_own_thinking(struct reading *r, const char *name, yyjson_val *value)
{
    static const struct {
        const char *type;
        enum said thinks;
        enum thoughts thoughts;
    } types[] = {{"enabled", SAID_YES, THOUGHTS_TOLD},
                 {"disabled", SAID_NO, THOUGHTS_LEFT_OUT},
                 {"adaptive", UNSAID, THOUGHTS_TOLD},
                 {"between_tools", UNSAID, THOUGHTS_TOLD}};
    yyjson_val *type = yyjson_obj_get(value, "type"),
               *budget = yyjson_obj_get(value, "budget_tokens");
    if (!yyjson_is_obj(value))
        return wrong_kind(r, name, "an object", value);
    if (!yyjson_is_str(type))
        return wrong_kind(r, "thinking.type", "a string", type);
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (!yyjson_equals_str(type, types[i].type))
            continue;
        ask_of(r)->thinks = types[i].thinks;
        r->form->thoughts = types[i].thoughts;
        if (types[i].thinks == SAID_NO)
            return true;
        return read_display(r, yyjson_obj_get(value, "display")) &&
               (!budget || yyjson_is_null(budget) ||
                read_thinking_budget(r, "thinking.budget_tokens", budget));
    }
    return refuse(
        r->refusal, 400, "invalid_value", "thinking.type",
        "'thinking.type' is \"%.40s\"; it must be \"enabled\", \"disabled\", \"adaptive\" "
        "or \"between_tools\".",
        yyjson_get_str(type));
}

// An effort says how much a model thinks that does, not that it shall.
static bool finish_own_thinking(struct reading *r)
{
    const enum said thinks = ask_of(r)->thinks;
    r->form->thinks = thinks == UNSAID && r->form->effort.n > 0 ? SAID_YES : thinks;
    return finish_thinking(r);
}

// {"effort": ..., "format": {"type": "json_schema", "schema": ...}}
static bool read_output_config(struct reading *r, const char *name, yyjson_val *value)
{
    yyjson_val *effort = yyjson_obj_get(value, "effort"), *format = yyjson_obj_get(value, "format");
    if (!yyjson_is_obj(value))
        return wrong_kind(r, name, "an object", value);
    if (effort && !yyjson_is_null(effort) && !read_effort(r, "output_config.effort", effort))
        return false;
    return !format || yyjson_is_null(format) ||
           read_output_format(r, "output_config.format", format);
}

// ---- the others -----------------------------------------------------------------------------

static bool read_stops(struct reading *r, const char *name, yyjson_val *value)
{
    return yyjson_is_arr(value) ? read_stop(r, name, value)
                                : wrong_kind(r, name, "an array of strings", value);
}

// Servers that the model's host would have to call.
static bool only_none(struct reading *r, const char *name, yyjson_val *value)
{
    if (yyjson_is_arr(value) && yyjson_arr_size(value) == 0)
        return true;
    return not_supported(r, name, "this server calls no others; leave it away");
}

// A conversation that the server keeps, of which only what is new is sent. Anthropic's own client
// asks for that by itself, and sends everything when it reads this code.
static bool read_thread(struct reading *r, const char *name, yyjson_val *value)
{
    (void)value;
    return refuse(r->refusal, 400, THREAD_UNSUPPORTED, name,
                  "'%s' is not supported: this server keeps no conversations; send all messages.",
                  name);
}

static const struct field fields[] = {
    {"messages", read_anthropic_messages},
    {"system", read_anthropic_system},
    {"tools", read_own_tools},
    {"tool_choice", read_choice},
    {"thinking", read_own_thinking},
    {"stop_sequences", read_stops},
    {"output_config", read_output_config},
    {"output_format", read_output_format},
    {"mcp_servers", only_none},
    {"container", only_none},
    {"thread", read_thread},
    {NULL, NULL},
};

static bool missing(struct reading *r, const char *name, const char *kind)
{
    return wrong_kind(r, name, kind, NULL);
}

static bool finish(struct reading *r)
{
    struct anthropic_ask *ask = ask_of(r);
    r->ask->chat = true;
    if (!ask->has_messages)
        return missing(r, "messages", "an array");
    const bool system = ask->system.n > 0;
    if (ask->n_messages + system == 0)
        return refuse(r->refusal, 400, "invalid_value", "messages", "'messages' says nothing.");
    ask->messages[0] = (struct message){.role = bytes_of("system"), .content = ask->system};
    return finish_own_tools(r) && finish_own_thinking(r) &&
           take_messages(r, ask->messages + !system, ask->n_messages + system);
}

static bool messages_finish(struct reading *r)
{
    return r->max_seen ? finish(r) : missing(r, "max_tokens", "a whole number from 1");
}

static bool count_finish(struct reading *r)
{
    r->ask->only_count = true;
    r->form->stream = false;
    return finish(r);
}

const struct dialect anthropic_messages = {
    .errors = ERRORS_ANTHROPIC,
    .id_prefix = "msg_",
    .input = "messages",
    .fields = {fields, shared_fields},
    .begin = begin,
    .finish = messages_finish,
    .writer = &anthropic_writer,
};

const struct dialect anthropic_count = {
    .errors = ERRORS_ANTHROPIC,
    .id_prefix = "count_",
    .input = "messages",
    .fields = {fields, shared_fields},
    .begin = begin,
    .finish = count_finish,
    .writer = &anthropic_count_writer,
};
