// tools.c - what a chat may call, and what it tells the template: the fields tools, tool_choice,
// parallel_tool_calls and chat_template_kwargs.
//
// A tool's parameters are a schema that others read; here it must only be an object. With
// tool_choice "none" the tools are checked and left out of the conversation.
#include "fields.h"

#include <stdio.h>

static bool tool_good(struct reading *r, const char *name, size_t at, yyjson_val *tool)
{
    char path[64];
    snprintf(path, sizeof(path), "%s[%zu]", name, at);
    if (!yyjson_is_obj(tool))
        return wrong_kind(r, path, "an object", tool);
    yyjson_val *type = yyjson_obj_get(tool, "type"), *function = yyjson_obj_get(tool, "function");
    snprintf(path, sizeof(path), "%s[%zu].type", name, at);
    if (!yyjson_is_str(type))
        return wrong_kind(r, path, "\"function\"", type);
    if (!yyjson_equals_str(type, "function"))
        return refuse(r->refusal, 400, "unsupported_value", path,
                      "'%s' is \"%.40s\"; it must be \"function\".", path, yyjson_get_str(type));
    snprintf(path, sizeof(path), "%s[%zu].function", name, at);
    if (!yyjson_is_obj(function))
        return wrong_kind(r, path, "an object", function);
    const struct {
        const char *name, *kind;
        bool must, text;
    } members[] = {{"name", "a string", true, true},
                   {"description", "a string", false, true},
                   {"parameters", "an object", false, false}};
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        yyjson_val *member = yyjson_obj_get(function, members[i].name);
        if (!members[i].must && (!member || yyjson_is_null(member)))
            continue;
        snprintf(path, sizeof(path), "%s[%zu].function.%s", name, at, members[i].name);
        if (members[i].text ? !yyjson_is_str(member) : !yyjson_is_obj(member))
            return wrong_kind(r, path, members[i].kind, member);
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
    return take_value(r, name, value, tools);
}

// "none", "auto", "required" ("any" is Mistral's word for it), or the name of a function.
bool read_tool_choice(struct reading *r, const char *name, yyjson_val *value)
{
    static const char *const words[] = {"none", "auto", "required", "any"};
    struct value *choice = arena_take(r->arena, sizeof(*choice));
    yyjson_val *function = yyjson_obj_get(value, "function");
    bool good = yyjson_is_str(yyjson_obj_get(function ? function : value, "name")) &&
                yyjson_equals_str(yyjson_obj_get(value, "type"), "function");
    for (size_t i = 0; i < COUNT_OF(words); i++)
        good = good || yyjson_equals_str(value, words[i]);
    if (!good)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' must be \"none\", \"auto\", \"required\" or {\"type\": \"function\", "
                      "\"function\": {\"name\": ...}}.",
                      name);
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

static struct bytes name_of(const struct value *tool)
{
    const struct value *function = value_get(tool, "function"),
                       *name = value_get(function ? function : tool, "name");
    return name && name->kind == VALUE_TEXT ? name->text : (struct bytes){NULL, 0};
}

static bool must_call(struct reading *r, struct bytes name)
{
    const struct value *tools = r->ask->conversation.tools;
    if (!tools)
        return refuse(r->refusal, 400, "invalid_value", "tool_choice",
                      "'tool_choice' asks for a call, but there are no 'tools'.");
    bool known = name.n == 0;
    for (size_t i = 0; i < tools->list.n; i++)
        known = known || bytes_equal(name_of(&tools->list.items[i]), name);
    if (!known)
        return refuse(r->refusal, 400, "invalid_value", "tool_choice",
                      "'tool_choice' names '%.*s', which is not one of the tools.",
                      (int)(name.n < 100 ? name.n : 100), (const char *)name.p);
    r->ask->must_call = true;
    r->ask->one_call = r->ask->one_call || name.n > 0;
    r->ask->must_call_tool = name.n == 0 && tools->list.n == 1 ? name_of(tools->list.items) : name;
    return true;
}

bool finish_tools(struct reading *r)
{
    const struct value *choice = r->ask->tool_choice;
    if (choice && choice->kind == VALUE_DICT)
        return must_call(r, name_of(choice));
    if (!choice || bytes_equal_text(choice->text, "auto"))
        return true;
    if (!bytes_equal_text(choice->text, "none"))
        return must_call(r, (struct bytes){NULL, 0});
    r->ask->conversation.tools = NULL;
    return true;
}
