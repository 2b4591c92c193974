// responses_tools.c - the tools of the Responses dialect: flat where OpenAI's chats nest them, and
// of more kinds.
//
// A tool of type "custom" takes a text: the model is told of a function with one argument, `input`,
// and what it calls is told as a custom_tool_call. Of any other type than these two (web_search,
// namespace ...) there is nothing that could be called here: they are left out.
#include "responses.h"

#include <stdio.h>
#include <string.h>

static bool text_parameters(struct reading *r, struct value *out)
{
    static const char schema[] = "{\"type\":\"object\",\"properties\":{\"input\":{\"type\":"
                                 "\"string\"}},\"required\":[\"input\"]}";
    return value_read(out, r->arena, bytes_of(schema), NULL) == OK ? true : no_room(r);
}

// What a text must be (a grammar) is told in the description.
static bool describe(struct reading *r, const struct value *tool, struct value *out)
{
    const struct value *description = value_get(tool, "description"),
                       *format = value_get(tool, "format"),
                       *definition = format ? value_get(format, "definition") : NULL;
    const struct bytes first = description ? description->text : bytes_of("");
    *out = (struct value){.kind = VALUE_TEXT, .text = first};
    if (!definition || definition->kind != VALUE_TEXT)
        return true;
    static const char between[] = "\nThe input must match this grammar:\n";
    const struct bytes second = definition->text;
    const size_t n_between = sizeof(between) - 1;
    uint8_t *text = arena_take(r->arena, first.n + n_between + second.n + 1);
    if (!text)
        return no_room(r);
    memcpy(text, first.p, first.n);
    memcpy(text + first.n, between, n_between);
    memcpy(text + first.n + n_between, second.p, second.n);
    out->text = (struct bytes){text, first.n + n_between + second.n};
    return true;
}

static bool remember(struct reading *r, struct bytes name)
{
    struct response *response = r->form->of_dialect;
    if (buf_add(&response->custom, "\n", response->custom.n ? 0 : 1) == OK &&
        buf_add(&response->custom, name.p, name.n) == OK &&
        buf_add(&response->custom, "\n", 1) == OK)
        return true;
    return no_room(r);
}

// As OpenAI's chats have it: {"type": "function", "function": {...}}.
static bool nest(struct reading *r, const struct value *tool, bool custom, struct value *out)
{
    static const char *const names[] = {"name", "description", "parameters", "strict"};
    struct member *inner = arena_take(r->arena, COUNT_OF(names) * sizeof(*inner)),
                  *outer = arena_take(r->arena, 2 * sizeof(*outer));
    size_t n = 0;
    if (!inner || !outer)
        return no_room(r);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct value *value = value_get(tool, names[i]);
        inner[n].name = bytes_of(names[i]);
        if (custom && i > 0) {
            if (i < 3 && !(i == 1 ? describe(r, tool, &inner[n++].value)
                                  : text_parameters(r, &inner[n++].value)))
                return false;
        } else if (value && value->kind != VALUE_NULL) {
            inner[n++].value = *value;
        }
    }
    outer[0] =
        (struct member){bytes_of("type"), {.kind = VALUE_TEXT, .text = bytes_of("function")}};
    outer[1] = (struct member){bytes_of("function"), {.kind = VALUE_DICT, .dict = {inner, n}}};
    *out = (struct value){.kind = VALUE_DICT, .dict = {outer, 2}};
    return !custom || remember(r, inner[0].value.text);
}

// *taken: whether it is one that can be called.
static bool read_tool(struct reading *r, size_t at, yyjson_val *tool, struct value *out,
                      bool *taken)
{
    char path[64];
    struct value value;
    yyjson_val *type = yyjson_obj_get(tool, "type");
    snprintf(path, sizeof(path), "tools[%zu]", at);
    if (!yyjson_is_obj(tool))
        return wrong_kind(r, path, "an object", tool);
    const bool custom = yyjson_equals_str(type, "custom");
    *taken = custom || yyjson_equals_str(type, "function");
    if (*taken && (!function_good(r, path, tool) || !take_value(r, path, tool, &value)))
        return false;
    snprintf(path, sizeof(path), "tools[%zu].type", at);
    if (!yyjson_is_str(type))
        return wrong_kind(r, path, "a string", type);
    return !*taken || nest(r, &value, custom, out);
}

bool read_response_tools(struct reading *r, const char *name, yyjson_val *value)
{
    struct response *response = r->form->of_dialect;
    const size_t n = yyjson_arr_size(value);
    size_t i, n_all, n_taken = 0;
    yyjson_val *tool;
    if (!yyjson_is_arr(value))
        return wrong_kind(r, name, "an array", value);
    if (n > TOOLS_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' has %zu entries; at most %d are allowed.", name, n, TOOLS_MOST);
    struct value *sent = arena_take(r->arena, sizeof(*sent)),
                 *tools = arena_take(r->arena, sizeof(*tools)),
                 *items = arena_take(r->arena, (n + 1) * sizeof(*items));
    if (!sent || !tools || !items)
        return no_room(r);
    yyjson_arr_foreach(value, i, n_all, tool)
    {
        bool taken;
        if (!read_tool(r, i, tool, &items[n_taken], &taken))
            return false;
        n_taken += taken;
    }
    *tools = (struct value){.kind = VALUE_LIST, .list = {items, n_taken}};
    if (n_taken > 0)
        r->ask->conversation.tools = tools;
    response->tools = sent;
    return take_value(r, name, value, sent) && names_differ(r, name, "name", tools);
}
