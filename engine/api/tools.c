// tools.c - what a chat may call, and what it tells the template: the fields tools, tool_choice,
// parallel_tool_calls and chat_template_kwargs.
//
// A tool's parameters are a schema that others read; here it must only say that it describes an
// object. With tool_choice "none" the tools are checked and left out of the conversation, and of
// allowed_tools those that are not named.
#include "fields.h"

#include <stdio.h>
#include <string.h>

enum { TOOL_NAME_MOST = 128 }; // as MCP has it; OpenAI: 64

#define CHOICES "\"none\", \"auto\", \"required\" or a function's name"
#define TYPES "\"function\", \"custom\" or \"allowed_tools\""

// What OpenAI takes and, for the tools of MCP servers, '.', ':' and '/'. Anything else could be
// taken for a mark where a model writes it.
bool tool_name_good(struct reading *r, const char *path, yyjson_val *name)
{
    static const char others[] = "0123456789_-.:/";
    const char *text = yyjson_get_str(name);
    const size_t n = yyjson_get_len(name);
    bool good = n > 0 && n <= TOOL_NAME_MOST;
    for (size_t i = 0; i < n; i++)
        good = good && (((text[i] | 0x20) >= 'a' && (text[i] | 0x20) <= 'z') ||
                        memchr(others, text[i], 15));
    return good ? true
                : refuse(r->refusal, 400, "invalid_value", path,
                         "'%s' is \"%.80s\"; it must be 1 to %d of the letters a to z and A to Z, "
                         "digits, '_', '-', '.', ':' and '/'.",
                         path, text, TOOL_NAME_MOST);
}

bool parameters_good(struct reading *r, const char *path, yyjson_val *parameters)
{
    yyjson_val *type = yyjson_obj_get(parameters, "type");
    if (!type || yyjson_equals_str(type, "object"))
        return true;
    return refuse(r->refusal, 400, "invalid_value", path,
                  "'%s.type' must be \"object\"%s%.40s%s: a function has its arguments by name.",
                  path, yyjson_is_str(type) ? ", not \"" : "",
                  yyjson_is_str(type) ? yyjson_get_str(type) : "", yyjson_is_str(type) ? "\"" : "");
}

bool function_good(struct reading *r, const char *path, yyjson_val *function)
{
    const struct {
        const char *name, *kind;
        bool must, text;
        bool (*good)(struct reading *r, const char *path, yyjson_val *value);
    } members[] = {{"name", "a string", true, true, tool_name_good},
                   {"description", "a string", false, true, NULL},
                   {"parameters", "an object", false, false, parameters_good}};
    char at[96];
    if (!yyjson_is_obj(function))
        return wrong_kind(r, path, "an object", function);
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        yyjson_val *member = yyjson_obj_get(function, members[i].name);
        if (!members[i].must && (!member || yyjson_is_null(member)))
            continue;
        snprintf(at, sizeof(at), "%.60s.%s", path, members[i].name);
        if (members[i].text ? !yyjson_is_str(member) : !yyjson_is_obj(member))
            return wrong_kind(r, at, members[i].kind, member);
        if (members[i].good && !members[i].good(r, at, member))
            return false;
    }
    return true;
}

static bool tool_good(struct reading *r, const char *name, size_t at, yyjson_val *tool)
{
    char path[64];
    snprintf(path, sizeof(path), "%s[%zu]", name, at);
    if (!yyjson_is_obj(tool))
        return wrong_kind(r, path, "an object", tool);
    yyjson_val *type = yyjson_obj_get(tool, "type");
    snprintf(path, sizeof(path), "%s[%zu].type", name, at);
    if (!yyjson_is_str(type))
        return wrong_kind(r, path, "\"function\"", type);
    if (!yyjson_equals_str(type, "function"))
        return refuse(r->refusal, 400, "unsupported_value", path,
                      "'%s' is \"%.40s\"; it must be \"function\".", path, yyjson_get_str(type));
    snprintf(path, sizeof(path), "%s[%zu].function", name, at);
    return function_good(r, path, yyjson_obj_get(tool, "function"));
}

static struct bytes name_of(const struct value *tool)
{
    static const char *const kinds[] = {"function", "custom"};
    const struct value *inner = NULL;
    for (size_t i = 0; i < COUNT_OF(kinds) && !inner; i++)
        inner = value_get(tool, kinds[i]);
    const struct value *name = value_get(inner ? inner : tool, "name");
    return name && name->kind == VALUE_TEXT ? name->text : (struct bytes){NULL, 0};
}

bool names_differ(struct reading *r, const char *field, const char *member,
                  const struct value *tools)
{
    for (size_t i = 0; i < tools->list.n; i++) {
        const struct bytes name = name_of(&tools->list.items[i]);
        char path[64];
        for (size_t j = 0; j < i; j++) {
            if (!bytes_equal(name_of(&tools->list.items[j]), name))
                continue;
            snprintf(path, sizeof(path), "%s[%zu].%s", field, i, member);
            return refuse(r->refusal, 400, "invalid_value", path,
                          "'%s' is \"%.*s\", as that of %s[%zu] is; each function needs a name of "
                          "its own.",
                          path, (int)name.n, (const char *)name.p, field, j);
        }
    }
    return true;
}

bool read_tools(struct reading *r, const char *name, yyjson_val *value)
{
    size_t n = yyjson_arr_size(value), i, n_all;
    yyjson_val *tool;
    if (!yyjson_is_arr(value))
        return wrong_kind(r, name, "an array", value);
    if (n > TOOLS_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' has %zu entries; at most %d are allowed.", name, n, TOOLS_MOST);
    yyjson_arr_foreach(value, i, n_all, tool)
    {
        if (!tool_good(r, name, i, tool))
            return false;
    }
    struct value *tools = arena_take(r->arena, sizeof(*tools));
    if (!tools)
        return no_room(r);
    if (n > 0)
        r->ask->conversation.tools = tools;
    return take_value(r, name, value, tools) && names_differ(r, name, "function.name", tools);
}

// {"mode": "auto" or "required", "tools": [{"type": "function", "function": {"name": ...}}]}
static bool allowed_good(struct reading *r, yyjson_val *allowed)
{
    yyjson_val *mode = yyjson_obj_get(allowed, "mode"), *list = yyjson_obj_get(allowed, "tools"),
               *tool;
    size_t i, n;
    if (!yyjson_equals_str(mode, "auto") && !yyjson_equals_str(mode, "required"))
        return refuse(r->refusal, 400, "invalid_value", "tool_choice.allowed_tools.mode",
                      "'tool_choice.allowed_tools.mode' must be \"auto\" or \"required\".");
    if (!yyjson_is_arr(list))
        return wrong_kind(r, "tool_choice.allowed_tools.tools", "an array", list);
    yyjson_arr_foreach(list, i, n, tool)
    {
        yyjson_val *function = yyjson_obj_get(tool, "function");
        char path[64];
        snprintf(path, sizeof(path), "tool_choice.allowed_tools.tools[%zu].function.name", i);
        if (!yyjson_is_str(yyjson_obj_get(function ? function : tool, "name")))
            return wrong_kind(r, path, "a string",
                              yyjson_obj_get(function ? function : tool, "name"));
    }
    return true;
}

static bool choice_good(struct reading *r, const char *name, yyjson_val *value)
{
    yyjson_val *type = yyjson_obj_get(value, "type"), *inner;
    if (yyjson_is_str(value))
        return true;
    if (!yyjson_is_obj(value))
        return wrong_kind(r, name, CHOICES ", or an object", value);
    if (!yyjson_is_str(type))
        return wrong_kind(r, "tool_choice.type", TYPES, type);
    if (yyjson_equals_str(type, "allowed_tools")) {
        inner = yyjson_obj_get(value, "allowed_tools");
        return allowed_good(r, inner ? inner : value);
    }
    const bool custom = yyjson_equals_str(type, "custom");
    if (!custom && !yyjson_equals_str(type, "function"))
        return refuse(r->refusal, 400, "unsupported_value", "tool_choice.type",
                      "'tool_choice.type' is \"%.40s\"; it must be " TYPES ".",
                      yyjson_get_str(type));
    inner = yyjson_obj_get(value, custom ? "custom" : "function");
    inner = yyjson_obj_get(inner ? inner : value, "name");
    return yyjson_is_str(inner)
               ? true
               : wrong_kind(r, custom ? "tool_choice.custom.name" : "tool_choice.function.name",
                            "a string", inner);
}

// "none", "auto", "required" ("any" is Mistral's word for it), the name of a function, alone or in
// {"type": "function", "function": {"name": ...}} (the inner object may be left out; of a custom
// tool "custom" stands for "function"), or {"type": "allowed_tools", "allowed_tools": {...}}.
bool read_tool_choice(struct reading *r, const char *name, yyjson_val *value)
{
    struct value *choice = arena_take(r->arena, sizeof(*choice));
    if (!choice_good(r, name, value))
        return false;
    if (!choice)
        return no_room(r);
    r->ask->tool_choice = choice;
    return take_value(r, name, value, choice);
}

bool read_parallel_calls(struct reading *r, const char *name, yyjson_val *value)
{
    bool several;
    if (!take_flag(r, name, value, &several))
        return false;
    r->ask->one_call = !several;
    return true;
}

bool read_template_options(struct reading *r, const char *name, yyjson_val *value)
{
    struct value *options = arena_take(r->arena, sizeof(*options));
    if (!yyjson_is_obj(value))
        return wrong_kind(r, name, "an object", value);
    if (!options)
        return no_room(r);
    r->ask->conversation.options = options;
    return take_value(r, name, value, options);
}

static bool is_tool(const struct value *tools, struct bytes name)
{
    for (size_t i = 0; tools && i < tools->list.n; i++)
        if (bytes_equal(name_of(&tools->list.items[i]), name))
            return true;
    return false;
}

static bool no_such_tool(struct reading *r, struct bytes name)
{
    const struct value *tools = r->ask->conversation.tools;
    char known[320] = "";
    size_t n = 0;
    for (size_t i = 0; tools && i < tools->list.n && n + TOOL_NAME_MOST + 8 < sizeof(known); i++) {
        const struct bytes tool = name_of(&tools->list.items[i]);
        n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%.*s", n > 0 ? ", " : "",
                              (int)tool.n, (const char *)tool.p);
    }
    return refuse(r->refusal, 400, "invalid_value", "tool_choice",
                  "'tool_choice' names \"%.*s\", which is not one of the tools%s%s%s.",
                  (int)(name.n < 100 ? name.n : 100), (const char *)name.p,
                  n > 0 ? ": there are " : "; there are none", known,
                  r->ask->tool_choice->kind == VALUE_TEXT ? "; it must be " CHOICES : "");
}

static bool must_call(struct reading *r, struct bytes name)
{
    const struct value *tools = r->ask->conversation.tools;
    if (name.n > 0 && !is_tool(tools, name))
        return no_such_tool(r, name);
    if (!tools)
        return refuse(r->refusal, 400, "invalid_value", "tool_choice",
                      "'tool_choice' asks for a call, but there are no 'tools'.");
    if (r->form->constraint)
        return refuse(
            r->refusal, 400, "invalid_value", r->form->constraint,
            "'%s' says what the answer must be, and 'tool_choice' that it must be a call; "
            "send one of them.",
            r->form->constraint);
    r->ask->must_call = true;
    r->ask->one_call = r->ask->one_call || name.n > 0;
    r->ask->must_call_tool = name.n == 0 && tools->list.n == 1 ? name_of(tools->list.items) : name;
    return true;
}

// Of the tools those that are named, in the order of `tools`.
static bool allow_tools(struct reading *r, const struct value *allowed)
{
    const struct value *tools = r->ask->conversation.tools, *list = value_get(allowed, "tools");
    for (size_t i = 0; i < list->list.n; i++)
        if (!is_tool(tools, name_of(&list->list.items[i])))
            return no_such_tool(r, name_of(&list->list.items[i]));
    struct value *kept = arena_take(r->arena, sizeof(*kept)),
                 *items = arena_take(r->arena, (list->list.n + 1) * sizeof(*items));
    size_t n = 0;
    if (!kept || !items)
        return no_room(r);
    for (size_t i = 0; tools && i < tools->list.n && n < list->list.n; i++)
        if (is_tool(list, name_of(&tools->list.items[i])))
            items[n++] = tools->list.items[i];
    *kept = (struct value){.kind = VALUE_LIST, .list = {items, n}};
    r->ask->conversation.tools = n > 0 ? kept : NULL;
    if (bytes_equal_text(value_get(allowed, "mode")->text, "auto"))
        return true;
    return must_call(r, (struct bytes){NULL, 0});
}

bool finish_tools(struct reading *r)
{
    const struct value *choice = r->ask->tool_choice;
    const struct bytes none = {NULL, 0};
    if (choice && choice->kind == VALUE_DICT) {
        const struct value *inner = value_get(choice, "allowed_tools");
        if (bytes_equal_text(value_get(choice, "type")->text, "allowed_tools"))
            return allow_tools(r, inner ? inner : choice);
        return must_call(r, name_of(choice));
    }
    if (!choice || bytes_equal_text(choice->text, "auto"))
        return true;
    if (bytes_equal_text(choice->text, "required") || bytes_equal_text(choice->text, "any"))
        return must_call(r, none);
    if (!bytes_equal_text(choice->text, "none"))
        return choice->text.n > 0 ? must_call(r, choice->text) : no_such_tool(r, none);
    r->ask->conversation.tools = NULL;
    return true;
}
