// messages.c - the messages of a conversation, as OpenAI's chat dialect and Ollama's send them,
// read strictly into the one form that templates take (struct conversation).
//
// What clients really send is taken: "developer" for system, contents as text or as an array of
// text parts (joined by newlines), an assistant's content that is null or missing, arguments as
// JSON in a string or as an object, the older function_call. Neighbours of one role become one
// turn, with all their calls, since most templates insist that turns alternate; what a tool
// answered stays by itself.
// When the last message is the assistant's, the answer goes on where it ends.
#include "fields.h"

#include <stdio.h>
#include <string.h>

// Longer ones stay a text: their tree would take 16 times as much.
enum { ARGUMENTS_READ = 1 << 20 };

struct joined { // a text made of pieces, on the arena
    uint8_t *p;
    size_t n;
};

static void join(struct joined *text, const char *between, struct bytes piece)
{
    if (text->n && piece.n) {
        memcpy(text->p + text->n, between, strlen(between));
        text->n += strlen(between);
    }
    if (piece.n)
        memcpy(text->p + text->n, piece.p, piece.n);
    text->n += piece.n;
}

// ---- one content ----------------------------------------------------------------------------

// What parts of text are called, in chats and in the Responses dialect, and where their text is.
static const char *text_of_part(yyjson_val *type)
{
    static const struct {
        const char *type, *member;
    } parts[] = {{"text", "text"},        {"refusal", "refusal"},     {"input_text", "text"},
                 {"output_text", "text"}, {"reasoning_text", "text"}, {"summary_text", "text"}};
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (yyjson_equals_str(type, parts[i].type))
            return parts[i].member;
    return NULL;
}

// The text of a part: {"type":"text","text":"..."} or {"type":"refusal","refusal":"..."}.
static bool part_text(struct reading *r, const char *name, size_t at, yyjson_val *part,
                      struct bytes *out)
{
    char path[96];
    yyjson_val *type = yyjson_obj_get(part, "type");
    snprintf(path, sizeof(path), "%s[%zu]", name, at);
    if (!yyjson_is_obj(part))
        return wrong_kind(r, path, "an object", part);
    snprintf(path, sizeof(path), "%s[%zu].type", name, at);
    if (!yyjson_is_str(type))
        return wrong_kind(r, path, "a string", type);
    const char *member = text_of_part(type);
    if (!member)
        return refuse(r->refusal, 400, "unsupported_value", path,
                      "'%s' is \"%.40s\"; this model reads text only.", path, yyjson_get_str(type));
    yyjson_val *text = yyjson_obj_get(part, member);
    snprintf(path, sizeof(path), "%s[%zu].%s", name, at, member);
    if (!yyjson_is_str(text))
        return wrong_kind(r, path, "a string", text);
    *out = string_of(text);
    return true;
}

// An array of text parts: joined by newlines, as peers do.
static bool parts_text(struct reading *r, const char *name, yyjson_val *parts, struct bytes *out)
{
    size_t i, n_parts, n = 1;
    struct bytes piece;
    yyjson_val *part;
    yyjson_arr_foreach(parts, i, n_parts, part)
    {
        if (!part_text(r, name, i, part, &piece))
            return false;
        n += piece.n + 1;
    }
    struct joined text = {arena_take(r->arena, n), 0};
    if (!text.p)
        return no_room(r);
    yyjson_arr_foreach(parts, i, n_parts, part)
    {
        if (part_text(r, name, i, part, &piece))
            join(&text, "\n", piece);
    }
    *out = (struct bytes){text.p, text.n};
    return true;
}

bool take_content(struct reading *r, const char *path, yyjson_val *content, bool may_miss,
                  struct bytes *out)
{
    *out = bytes_of("");
    if (may_miss && (!content || yyjson_is_null(content)))
        return true;
    if (yyjson_is_arr(content))
        return parts_text(r, path, content, out);
    if (!yyjson_is_str(content))
        return wrong_kind(r, path, "a string or an array of text parts", content);
    return take_text(r, content, out);
}

// ---- values ---------------------------------------------------------------------------------

struct value text_value(struct bytes text)
{
    return (struct value){.kind = VALUE_TEXT, .text = text};
}

struct member text_member(const char *name, struct bytes text)
{
    return (struct member){bytes_of(name), text_value(text)};
}

struct value dict_of(struct arena *arena, const struct member *members, size_t n)
{
    struct member *copy = arena_take(arena, (n + 1) * sizeof(*copy));
    if (copy && n > 0)
        memcpy(copy, members, n * sizeof(*copy));
    return (struct value){.kind = VALUE_DICT, .dict = {copy, n}};
}

bool take_value(struct reading *r, const char *name, yyjson_val *json, struct value *out)
{
    struct err err;
    enum status status = value_copy(out, r->arena, json, &err);
    if (status == NO_ROOM)
        return no_room(r);
    if (status != OK)
        return refuse(r->refusal, 400, "invalid_value", name, "'%s': %s.", name, err.text);
    return true;
}

// ---- tool calls -----------------------------------------------------------------------------

bool take_arguments(struct reading *r, const char *path, yyjson_val *arguments, struct value *out)
{
    if (!arguments || yyjson_is_null(arguments))
        *out = dict_of(r->arena, NULL, 0);
    else if (yyjson_is_obj(arguments))
        return take_value(r, path, arguments, out);
    else if (!yyjson_is_str(arguments))
        return wrong_kind(r, path, "a string or an object", arguments);
    else {
        struct bytes text;
        if (!take_text(r, arguments, &text))
            return false;
        *out = dict_of(r->arena, NULL, 0);
        if (text.n > 0 && text.n <= ARGUMENTS_READ &&
            (value_read(out, r->arena, text, NULL) != OK || out->kind != VALUE_DICT))
            *out = text_value(text);
    }
    return out->kind != VALUE_DICT || out->dict.members ? true : no_room(r);
}

bool make_call(struct reading *r, struct bytes id, struct bytes name, struct value arguments,
               struct value *out)
{
    const struct member inner[] = {text_member("name", name), {bytes_of("arguments"), arguments}};
    struct value call = dict_of(r->arena, inner, COUNT_OF(inner));
    const struct member outer[] = {{bytes_of("function"), call},
                                   text_member("type", bytes_of("function")),
                                   text_member("id", id)};
    *out = dict_of(r->arena, outer, id.p ? 3 : 2);
    return call.dict.members && out->dict.members ? true : no_room(r);
}

// {"name", "arguments"} at `path`, as {"id", "type", "function": {...}}.
static bool read_function(struct reading *r, const char *path, yyjson_val *function,
                          struct bytes id, struct value *out)
{
    char at[128];
    struct bytes name;
    struct value arguments;
    if (!yyjson_is_obj(function))
        return wrong_kind(r, path, "an object", function);
    snprintf(at, sizeof(at), "%s.name", path);
    yyjson_val *said = yyjson_obj_get(function, "name");
    if (!yyjson_is_str(said))
        return wrong_kind(r, at, "a string", said);
    if (!take_text(r, said, &name))
        return false;
    snprintf(at, sizeof(at), "%s.arguments", path);
    return take_arguments(r, at, yyjson_obj_get(function, "arguments"), &arguments) &&
           make_call(r, id, name, arguments, out);
}

static bool read_optional_text(struct reading *r, const char *path, yyjson_val *value,
                               struct bytes *out)
{
    if (!value || yyjson_is_null(value))
        return true;
    if (!yyjson_is_str(value))
        return wrong_kind(r, path, "a string", value);
    return take_text(r, value, out);
}

static bool read_call(struct reading *r, const char *path, yyjson_val *call, struct value *out)
{
    char at[112];
    struct bytes id = {NULL, 0};
    if (!yyjson_is_obj(call))
        return wrong_kind(r, path, "an object", call);
    snprintf(at, sizeof(at), "%s.type", path);
    yyjson_val *type = yyjson_obj_get(call, "type");
    if (type && !yyjson_is_null(type) && !yyjson_equals_str(type, "function"))
        return refuse(r->refusal, 400, "unsupported_value", at, "'%s' must be \"function\".", at);
    snprintf(at, sizeof(at), "%s.id", path);
    if (!read_optional_text(r, at, yyjson_obj_get(call, "id"), &id))
        return false;
    snprintf(at, sizeof(at), "%s.function", path);
    return read_function(r, at, yyjson_obj_get(call, "function"), id, out);
}

static bool read_calls(struct reading *r, const char *path, yyjson_val *calls,
                       struct message *message)
{
    char at[96];
    size_t n = yyjson_arr_size(calls), i, n_all;
    yyjson_val *call;
    if (!yyjson_is_arr(calls))
        return wrong_kind(r, path, "an array", calls);
    if (n == 0)
        return true;
    struct value *list = arena_take(r->arena, sizeof(*list)),
                 *items = arena_take(r->arena, n * sizeof(*items));
    if (!list || !items)
        return no_room(r);
    yyjson_arr_foreach(calls, i, n_all, call)
    {
        snprintf(at, sizeof(at), "%s[%zu]", path, i);
        if (!read_call(r, at, call, &items[i]))
            return false;
    }
    *list = (struct value){.kind = VALUE_LIST, .list = {items, n}};
    message->calls = list;
    return true;
}

// {"name", "arguments"}: what tool_calls were before there could be several.
static bool read_old_call(struct reading *r, const char *path, yyjson_val *call,
                          struct message *message)
{
    struct value *list = arena_take(r->arena, sizeof(*list)),
                 *item = arena_take(r->arena, sizeof(*item));
    if (!list || !item)
        return no_room(r);
    if (!read_function(r, path, call, (struct bytes){NULL, 0}, item))
        return false;
    *list = (struct value){.kind = VALUE_LIST, .list = {item, 1}};
    message->calls = list;
    return true;
}

// ---- one message ----------------------------------------------------------------------------

#define ROLES                                                                                      \
    "\"system\", \"developer\", \"user\", \"assistant\" or \"tool\" (or \"function\", its older "  \
    "name)"

bool take_role(struct reading *r, const char *path, yyjson_val *role, struct bytes *out)
{
    static const struct {
        const char *theirs, *ours;
    } roles[] = {{"system", "system"}, {"developer", "system"}, // OpenAI's newer name for it
                 {"user", "user"},     {"assistant", "assistant"},
                 {"tool", "tool"},     {"function", "tool"}}; // and its older name for that
    if (!yyjson_is_str(role))
        return wrong_kind(r, path, ROLES, role);
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        if (yyjson_equals_str(role, roles[i].theirs)) {
            *out = bytes_of(roles[i].ours);
            return true;
        }
    }
    return refuse(r->refusal, 400, "unsupported_value", path,
                  "'%s' is \"%.40s\"; it must be " ROLES ".", path, yyjson_get_str(role));
}

static bool is_ollama(const struct reading *r)
{
    return r->form->dialect->errors == ERRORS_OLLAMA;
}

static bool read_extras(struct reading *r, size_t at, yyjson_val *object, struct message *message)
{
    const struct {
        const char *name;
        struct bytes *out;
    } texts[] = {{"reasoning_content", &message->reasoning},
                 {"reasoning", &message->reasoning},
                 {"name", &message->name},
                 {"tool_call_id", &message->call_id},
                 {"thinking", &message->reasoning}, // these are Ollama's
                 {"tool_name", &message->name}};
    const size_t n_texts = COUNT_OF(texts) - (is_ollama(r) ? 0 : 2);
    char path[64];
    snprintf(path, sizeof(path), "messages[%zu].images", at);
    if (is_ollama(r) && yyjson_get_len(yyjson_obj_get(object, "images")) > 0)
        return not_supported(r, path, "this model reads text only");
    for (size_t i = 0; i < n_texts; i++) {
        snprintf(path, sizeof(path), "messages[%zu].%s", at, texts[i].name);
        if (!texts[i].out->p &&
            !read_optional_text(r, path, yyjson_obj_get(object, texts[i].name), texts[i].out))
            return false;
    }
    if (!bytes_equal_text(message->role, "assistant"))
        return true;
    yyjson_val *calls = yyjson_obj_get(object, "tool_calls"),
               *old = yyjson_obj_get(object, "function_call");
    snprintf(path, sizeof(path), "messages[%zu].tool_calls", at);
    if (calls && !yyjson_is_null(calls))
        return read_calls(r, path, calls, message);
    snprintf(path, sizeof(path), "messages[%zu].function_call", at);
    return !old || yyjson_is_null(old) || read_old_call(r, path, old, message);
}

static bool read_message(struct reading *r, size_t at, yyjson_val *object, struct message *message)
{
    char path[64];
    snprintf(path, sizeof(path), "messages[%zu]", at);
    if (!yyjson_is_obj(object))
        return wrong_kind(r, path, "an object", object);
    snprintf(path, sizeof(path), "messages[%zu].role", at);
    if (!take_role(r, path, yyjson_obj_get(object, "role"), &message->role))
        return false;
    snprintf(path, sizeof(path), "messages[%zu].content", at);
    bool may_miss = is_ollama(r) || bytes_equal_text(message->role, "assistant") ||
                    bytes_equal_text(message->role, "tool");
    return take_content(r, path, yyjson_obj_get(object, "content"), may_miss, &message->content) &&
           read_extras(r, at, object, message);
}

// ---- the conversation -----------------------------------------------------------------------

// What was called stays behind what was said: calls go on with more calls alone.
static bool one_turn(const struct message *a, const struct message *b)
{
    bool same_name = (!a->name.p && !b->name.p) || bytes_equal(a->name, b->name);
    return bytes_equal(a->role, b->role) && same_name && !bytes_equal_text(a->role, "tool") &&
           (!a->calls || (b->calls && b->content.n == 0));
}

// The last gets the calls of all.
static bool merge_calls(struct reading *r, struct message *messages, size_t n)
{
    size_t n_calls = 0;
    for (size_t i = 0; i < n; i++)
        n_calls += messages[i].calls ? messages[i].calls->list.n : 0;
    if (n_calls == 0)
        return true;
    struct value *list = arena_take(r->arena, sizeof(*list)),
                 *items = arena_take(r->arena, n_calls * sizeof(*items));
    if (!list || !items)
        return no_room(r);
    n_calls = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; messages[i].calls && k < messages[i].calls->list.n; k++)
            items[n_calls++] = messages[i].calls->list.items[k];
    *list = (struct value){.kind = VALUE_LIST, .list = {items, n_calls}};
    messages[n - 1].calls = list;
    return true;
}

// Of `n` messages that are one turn, the last becomes all of them. Some clients send a thought, a
// sentence and each call as messages of their own.
static bool merge(struct reading *r, struct message *messages, size_t n)
{
    struct message *last = &messages[n - 1];
    size_t n_bytes = 1, n_thoughts = 1;
    for (size_t i = 0; i < n; i++) {
        n_bytes += messages[i].content.n + 2;
        n_thoughts += messages[i].reasoning.n + 2;
    }
    struct joined text = {arena_take(r->arena, n_bytes), 0},
                  thoughts = {arena_take(r->arena, n_thoughts), 0};
    if (!text.p || !thoughts.p)
        return no_room(r);
    for (size_t i = 0; i < n; i++) {
        join(&text, "\n\n", messages[i].content);
        join(&thoughts, "\n\n", messages[i].reasoning);
    }
    last->content = (struct bytes){text.p, text.n};
    if (thoughts.n > 0)
        last->reasoning = (struct bytes){thoughts.p, thoughts.n};
    return merge_calls(r, messages, n);
}

static bool merge_all(struct reading *r, struct message *messages, size_t *n_messages)
{
    size_t n_kept = 0;
    for (size_t i = 0, n; i < *n_messages; i += n) {
        for (n = 1; i + n < *n_messages; n++)
            if (!one_turn(&messages[i + n - 1], &messages[i + n]))
                break;
        if (n > 1 && !merge(r, messages + i, n))
            return false;
        messages[n_kept++] = messages[i + n - 1];
    }
    *n_messages = n_kept;
    return true;
}

static struct value message_value(struct arena *arena, const struct message *message)
{
    struct member members[6] = {text_member("role", message->role),
                                text_member("content", message->content)};
    size_t n = 2;
    if (message->reasoning.p)
        members[n++] = text_member("reasoning_content", message->reasoning);
    if (message->calls)
        members[n++] = (struct member){bytes_of("tool_calls"), *message->calls};
    if (message->name.p)
        members[n++] = text_member("name", message->name);
    if (message->call_id.p)
        members[n++] = text_member("tool_call_id", message->call_id);
    return dict_of(arena, members, n);
}

bool take_messages(struct reading *r, struct message *messages, size_t n)
{
    if (!merge_all(r, messages, &n))
        return false;
    struct value *list = arena_take(r->arena, sizeof(*list)),
                 *items = arena_take(r->arena, n * sizeof(*items));
    if (!list || !items)
        return no_room(r);
    for (size_t i = 0; i < n; i++) {
        items[i] = message_value(r->arena, &messages[i]);
        if (!items[i].dict.members)
            return no_room(r);
    }
    *list = (struct value){.kind = VALUE_LIST, .list = {items, n}};
    r->ask->conversation.messages = list;
    return true;
}

bool read_messages(struct reading *r, const char *name, yyjson_val *value)
{
    size_t n = yyjson_arr_size(value), i, n_all;
    if (!yyjson_is_arr(value))
        return wrong_kind(r, name, "an array", value);
    if (n == 0 || n > MESSAGES_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' has %zu entries; it must have 1 to %d.", name, n, MESSAGES_MOST);
    struct message *messages = arena_take(r->arena, n * sizeof(*messages));
    if (!messages)
        return no_room(r);
    yyjson_val *entry;
    yyjson_arr_foreach(value, i, n_all, entry)
    {
        if (!read_message(r, i, entry, &messages[i]))
            return false;
    }
    return take_messages(r, messages, n);
}
