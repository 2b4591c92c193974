// value.c - JSON into a tree on an arena, and back.
//
// yyjson parses; the tree is a copy, so that it may outlive the parsed text. Nesting is bounded on
// the way in (VALUE_DEPTH), which bounds every walk over a tree afterwards. A whole number that
// does not fit 64 signed bits becomes a real one.
#include "value.h"

#include <yyjson.h>

static enum status full(struct err *err)
{
    return err_set(err, NO_ROOM, "the JSON is larger than there is room for");
}

static enum status copy(struct value *out, struct arena *arena, yyjson_val *json, int depth,
                        struct err *err);

static enum status copy_text(struct bytes *out, struct arena *arena, yyjson_val *json,
                             struct err *err)
{
    *out = bytes_copy(arena,
                      (struct bytes){(const uint8_t *)yyjson_get_str(json), yyjson_get_len(json)});
    return out->p ? OK : full(err);
}

static enum status copy_list(struct value *out, struct arena *arena, yyjson_val *json, int depth,
                             struct err *err)
{
    const size_t n = yyjson_arr_size(json);
    struct value *items = arena_take(arena, (n + 1) * sizeof(*items));
    if (!items)
        return full(err);
    yyjson_val *item;
    size_t i, most;
    yyjson_arr_foreach(json, i, most, item)
    {
        enum status status = copy(&items[i], arena, item, depth + 1, err);
        if (status != OK)
            return status;
    }
    *out = (struct value){.kind = VALUE_LIST, .list = {items, n}};
    return OK;
}

static enum status copy_dict(struct value *out, struct arena *arena, yyjson_val *json, int depth,
                             struct err *err)
{
    const size_t n = yyjson_obj_size(json);
    struct member *members = arena_take(arena, (n + 1) * sizeof(*members));
    if (!members)
        return full(err);
    yyjson_val *name, *item;
    size_t i, most;
    yyjson_obj_foreach(json, i, most, name, item)
    {
        enum status status = copy_text(&members[i].name, arena, name, err);
        if (status == OK)
            status = copy(&members[i].value, arena, item, depth + 1, err);
        if (status != OK)
            return status;
    }
    *out = (struct value){.kind = VALUE_DICT, .dict = {members, n}};
    return OK;
}

static enum status copy(struct value *out, struct arena *arena, yyjson_val *json, int depth,
                        struct err *err)
{
    if (depth > VALUE_DEPTH)
        return err_set(err, TOO_LARGE, "the JSON is nested deeper than %d", VALUE_DEPTH);
    if (yyjson_is_arr(json))
        return copy_list(out, arena, json, depth, err);
    if (yyjson_is_obj(json))
        return copy_dict(out, arena, json, depth, err);
    struct value value = {.kind = VALUE_NULL};
    if (yyjson_is_bool(json))
        value = (struct value){.kind = VALUE_BOOL, .yes = yyjson_get_bool(json)};
    else if (yyjson_is_uint(json) && yyjson_get_uint(json) > INT64_MAX)
        value = (struct value){.kind = VALUE_REAL, .real = yyjson_get_num(json)};
    else if (yyjson_is_int(json))
        value = (struct value){.kind = VALUE_WHOLE, .whole = yyjson_get_sint(json)};
    else if (yyjson_is_real(json))
        value = (struct value){.kind = VALUE_REAL, .real = yyjson_get_real(json)};
    else if (yyjson_is_str(json)) {
        value.kind = VALUE_TEXT;
        enum status status = copy_text(&value.text, arena, json, err);
        if (status != OK)
            return status;
    }
    *out = value;
    return OK;
}

enum status value_copy(struct value *out, struct arena *arena, struct yyjson_val *json,
                       struct err *err)
{
    return copy(out, arena, json, 0, err);
}

enum status value_read(struct value *out, struct arena *arena, struct bytes json, struct err *err)
{
    yyjson_read_err wrong;
    yyjson_doc *doc =
        yyjson_read_opts((char *)(uintptr_t)json.p, json.n, YYJSON_READ_NOFLAG, NULL, &wrong);
    if (!doc)
        return err_set(err, BAD_INPUT, "not JSON: %s at byte %zu", wrong.msg, wrong.pos);
    enum status status = value_copy(out, arena, yyjson_doc_get_root(doc), err);
    yyjson_doc_free(doc);
    return status;
}

const struct value *value_get(const struct value *dict, const char *name)
{
    if (!dict || dict->kind != VALUE_DICT)
        return NULL;
    for (size_t i = dict->dict.n; i > 0; i--)
        if (bytes_equal_text(dict->dict.members[i - 1].name, name))
            return &dict->dict.members[i - 1].value;
    return NULL;
}

void value_write(struct json *json, const char *name, const struct value *value)
{
    switch (value->kind) {
    case VALUE_NULL:
        json_null(json, name);
        break;
    case VALUE_BOOL:
        json_bool(json, name, value->yes);
        break;
    case VALUE_WHOLE:
        json_whole(json, name, value->whole);
        break;
    case VALUE_REAL:
        json_exact(json, name, value->real);
        break;
    case VALUE_TEXT:
        json_text(json, name, value->text);
        break;
    case VALUE_LIST:
        json_array(json, name);
        for (size_t i = 0; i < value->list.n; i++)
            value_write(json, NULL, &value->list.items[i]);
        json_end(json);
        break;
    case VALUE_DICT:
        json_object(json, name);
        for (size_t i = 0; i < value->dict.n; i++) // a NUL follows a name
            value_write(json, (const char *)value->dict.members[i].name.p,
                        &value->dict.members[i].value);
        json_end(json);
        break;
    }
}

const char *value_kind_name(enum value_kind kind)
{
    static const char *const names[] = {"null",     "true or false", "a whole number", "a number",
                                        "a string", "an array",      "an object"};
    return names[kind];
}
