// messages.c - the messages of a conversation, as chat dialects send them, in the one form that
// every model's template takes: roles system, user and assistant, each content one text, no two
// neighbours of one role.
//
// What clients really send is taken: "developer" for system, contents as text or as an array of
// text parts, an assistant's content that is null or missing. Neighbours of one role become one
// turn, since most templates insist that turns alternate. When the last message is the assistant's,
// the answer goes on where it ends.
#include "fields.h"

#include <stdio.h>
#include <string.h>

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
    if (!yyjson_equals_str(type, "text") && !yyjson_equals_str(type, "refusal"))
        return refuse(r->refusal, 400, "unsupported_value", path,
                      "'%s' is \"%.40s\"; this model reads \"text\" only.", path,
                      yyjson_get_str(type));
    yyjson_val *text = yyjson_obj_get(part, yyjson_get_str(type));
    snprintf(path, sizeof(path), "%s[%zu].%s", name, at, yyjson_get_str(type));
    if (!yyjson_is_str(text))
        return wrong_kind(r, path, "a string", text);
    *out = (struct bytes){(const uint8_t *)yyjson_get_str(text), yyjson_get_len(text)};
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

static bool read_content(struct reading *r, const char *path, yyjson_val *content, bool may_miss,
                         struct bytes *out)
{
    *out = (struct bytes){NULL, 0};
    if (may_miss && (!content || yyjson_is_null(content)))
        return true;
    if (yyjson_is_arr(content))
        return parts_text(r, path, content, out);
    if (!yyjson_is_str(content))
        return wrong_kind(r, path, "a string or an array of text parts", content);
    return take_text(r, content, out);
}

// ---- one message ----------------------------------------------------------------------------

static bool read_role(struct reading *r, const char *path, yyjson_val *role, struct bytes *out)
{
    static const struct {
        const char *theirs, *ours;
    } roles[] = {{"system", "system"},
                 {"developer", "system"}, // OpenAI's newer name for it
                 {"user", "user"},
                 {"assistant", "assistant"}};
    if (!yyjson_is_str(role))
        return wrong_kind(r, path, "\"system\", \"user\" or \"assistant\"", role);
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        if (yyjson_equals_str(role, roles[i].theirs)) {
            *out = bytes_of(roles[i].ours);
            return true;
        }
    }
    return refuse(r->refusal, 400, "unsupported_value", path,
                  "'%s' is \"%.40s\"; it must be \"system\", \"user\" or \"assistant\".", path,
                  yyjson_get_str(role));
}

static bool read_message(struct reading *r, size_t at, yyjson_val *object, struct message *message)
{
    static const char *const calls[] = {"tool_calls", "function_call"};
    char path[64];
    snprintf(path, sizeof(path), "messages[%zu]", at);
    if (!yyjson_is_obj(object))
        return wrong_kind(r, path, "an object", object);
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        yyjson_val *call = yyjson_obj_get(object, calls[i]);
        snprintf(path, sizeof(path), "messages[%zu].%s", at, calls[i]);
        if (call && !yyjson_is_null(call) && yyjson_get_len(call) > 0)
            return not_supported(r, path, "tools cannot be called yet");
    }
    snprintf(path, sizeof(path), "messages[%zu].role", at);
    if (!read_role(r, path, yyjson_obj_get(object, "role"), &message->role))
        return false;
    snprintf(path, sizeof(path), "messages[%zu].content", at);
    bool may_miss = bytes_equal_text(message->role, "assistant");
    return read_content(r, path, yyjson_obj_get(object, "content"), may_miss, &message->content);
}

// ---- the conversation -----------------------------------------------------------------------

// Of `n` messages of one role, the first becomes all of them.
static bool merge(struct reading *r, struct message *messages, size_t n)
{
    size_t n_bytes = 1;
    for (size_t i = 0; i < n; i++)
        n_bytes += messages[i].content.n + 2;
    struct joined text = {arena_take(r->arena, n_bytes), 0};
    if (!text.p)
        return no_room(r);
    for (size_t i = 0; i < n; i++)
        join(&text, "\n\n", messages[i].content);
    messages[0].content = (struct bytes){text.p, text.n};
    return true;
}

static bool merge_all(struct reading *r, struct message *messages, size_t *n_messages)
{
    size_t n_kept = 0;
    for (size_t i = 0, n; i < *n_messages; i += n) {
        for (n = 1; i + n < *n_messages; n++)
            if (!bytes_equal(messages[i + n].role, messages[i].role))
                break;
        if (n > 1 && !merge(r, messages + i, n))
            return false;
        messages[n_kept++] = messages[i];
    }
    *n_messages = n_kept;
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
    if (!merge_all(r, messages, &n))
        return false;
    r->ask->messages = messages;
    r->ask->n_messages = n;
    return true;
}
