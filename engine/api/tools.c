// tools.c - what a chat may call, and what it tells the template: the fields tools, tool_choice and
// chat_template_kwargs.
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

bool read_tool_choice(struct reading *r, const char *name, yyjson_val *value)
{
    if (!yyjson_equals_str(value, "none") && !yyjson_equals_str(value, "auto"))
        return not_supported(r, name, "\"none\" and \"auto\" are accepted");
    struct value *choice = arena_take(r->arena, sizeof(*choice));
    if (!choice)
        return no_room(r);
    r->ask->tool_choice = choice;
    return take_value(r, name, value, choice);
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

void finish_tools(struct reading *r)
{
    const struct value *choice = r->ask->tool_choice;
    if (choice && choice->kind == VALUE_TEXT && bytes_equal_text(choice->text, "none"))
        r->ask->conversation.tools = NULL;
}
