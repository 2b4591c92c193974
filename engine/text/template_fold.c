// template_fold.c - a conversation in the shape that a template takes: what it has no place for is
// put where the model will see it.
//
//   a system message             in front of the first message of the user's
//   one behind other turns       a message of the user's
//   tools                        described in the system message (answer_tools_text)
//   calls                        JSON between <tool_call> marks, in the assistant's words
//   what a tool answered         between <tool_response> marks, in the user's
//   several calls at once        one message each, with its answer behind it
//
// Then neighbours of one role are one turn. Everything made here lies on the caller's arena.
#include "template_inside.h"

#include <stdio.h>
#include <string.h>

struct fold {
    struct arena *arena;
    const struct format *format;
    struct abilities can;
    const struct value *messages; // [n]
    size_t n, at;
    struct value *out;
    size_t n_out, n_most;
    struct bytes pending; // a system text that waits for a message of the user's
    bool full;
};

static struct bytes text_of(const struct value *message, const char *name)
{
    const struct value *text = value_get(message, name);
    return text && text->kind == VALUE_TEXT ? text->text : bytes_of("");
}

static bool role_is(const struct value *message, const char *role)
{
    return bytes_equal_text(text_of(message, "role"), role);
}

static struct bytes joined(struct fold *f, struct bytes a, const char *between, struct bytes b)
{
    if (a.n == 0 || b.n == 0)
        return a.n == 0 ? b : a;
    size_t n = strlen(between);
    uint8_t *text = arena_take(f->arena, a.n + n + b.n + 1);
    if (!text) {
        f->full = true;
        return a;
    }
    memcpy(text, a.p, a.n);
    if (n > 0)
        memcpy(text + a.n, between, n);
    memcpy(text + a.n + n, b.p, b.n);
    return (struct bytes){text, a.n + n + b.n};
}

static struct value text_value(struct bytes text)
{
    return (struct value){.kind = VALUE_TEXT, .text = text};
}

// The message with this member instead of what it has of that name; NULL: without it.
static struct value with(struct fold *f, struct value message, const char *name,
                         const struct value *value)
{
    struct member *members = arena_take(f->arena, (message.dict.n + 2) * sizeof(*members));
    size_t n = 0;
    if (!members) {
        f->full = true;
        return message;
    }
    for (size_t i = 0; i < message.dict.n; i++)
        if (!bytes_equal_text(message.dict.members[i].name, name))
            members[n++] = message.dict.members[i];
    if (value)
        members[n++] = (struct member){bytes_of(name), *value};
    return (struct value){.kind = VALUE_DICT, .dict = {members, n}};
}

static struct value with_text(struct fold *f, struct value message, const char *name,
                              struct bytes text)
{
    const struct value value = text_value(text);
    return with(f, message, name, &value);
}

static struct value message_of(struct fold *f, const char *role, struct bytes content)
{
    struct value empty = {.kind = VALUE_DICT, .dict = {NULL, 0}};
    return with_text(f, with_text(f, empty, "role", bytes_of(role)), "content", content);
}

// ---- out ----------------------------------------------------------------------------------------

static void put(struct fold *f, struct value message)
{
    const struct value *last = f->n_out > 0 ? &f->out[f->n_out - 1] : NULL;
    bool user = role_is(&message, "user");
    if (user && f->pending.n > 0) {
        message = with_text(f, message, "content",
                            joined(f, f->pending, "\n\n", text_of(&message, "content")));
        f->pending.n = 0;
    }
    // neighbours that folding made
    bool same = last && bytes_equal(text_of(last, "role"), text_of(&message, "role")) &&
                (user || (role_is(&message, "assistant") && !value_get(last, "tool_calls") &&
                          !value_get(last, "reasoning_content")));
    if (same && f->n_out < f->n_most) {
        message =
            with_text(f, message, "content",
                      joined(f, text_of(last, "content"), "\n\n", text_of(&message, "content")));
        f->n_out--;
    }
    if (f->n_out == f->n_most) {
        size_t n = f->n_most ? 2 * f->n_most : f->n + 8;
        struct value *out = arena_take(f->arena, n * sizeof(*out));
        if (!out) {
            f->full = true;
            return;
        }
        if (f->n_out > 0)
            memcpy(out, f->out, f->n_out * sizeof(*out));
        f->out = out;
        f->n_most = n;
    }
    f->out[f->n_out++] = message;
}

// ---- system -------------------------------------------------------------------------------------

static void fold_system(struct fold *f, struct value message)
{
    bool late = f->n_out > 0;
    struct bytes text = text_of(&message, "content");
    if (late ? f->can.late_system : f->can.system)
        put(f, message);
    else if (late)
        put(f, message_of(f, "user", text));
    else
        f->pending = joined(f, f->pending, "\n\n", text);
}

// ---- calls --------------------------------------------------------------------------------------

static struct bytes json_of(struct fold *f, const struct value *value)
{
    struct json json;
    struct bytes text = bytes_of("");
    json_init(&json, f->arena->cap_bytes);
    value_write(&json, NULL, value);
    if (json_done(&json) == OK)
        text = bytes_copy(f->arena, buf_view(&json.text));
    json_free(&json);
    f->full = f->full || !text.p;
    return text.p ? text : bytes_of("");
}

// 9 letters and digits made of any id, the same for the same.
static struct bytes short_id(struct fold *f, struct bytes id)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    uint64_t hash = 14695981039346656037u;
    bool good = id.n == 9;
    uint8_t text[9];
    for (size_t i = 0; i < id.n; i++) {
        hash = (hash ^ id.p[i]) * 1099511628211u;
        good = good && ((id.p[i] | 32) - 'a' < 26u || id.p[i] - '0' < 10u);
    }
    for (size_t i = 0; i < sizeof(text); i++, hash /= 36)
        text[i] = (uint8_t)digits[hash % 36];
    struct bytes copy = good ? id : bytes_copy(f->arena, (struct bytes){text, sizeof(text)});
    f->full = f->full || !copy.p;
    return copy;
}

static struct value call_value(struct fold *f, struct value call)
{
    const struct value *function = value_get(&call, "function"),
                       *arguments = value_get(function, "arguments");
    if (f->can.text_arguments && arguments && arguments->kind != VALUE_TEXT) {
        struct value said = with_text(f, *function, "arguments", json_of(f, arguments));
        call = with(f, call, "function", &said);
    }
    if (f->can.short_ids)
        call = with_text(f, call, "id", short_id(f, text_of(&call, "id")));
    return call;
}

static struct value calls_value(struct fold *f, const struct value *calls, size_t from, size_t n)
{
    struct value *items = arena_take(f->arena, (n + 1) * sizeof(*items));
    if (!items) {
        f->full = true;
        return *calls;
    }
    for (size_t i = 0; i < n; i++)
        items[i] = call_value(f, calls->list.items[from + i]);
    return (struct value){.kind = VALUE_LIST, .list = {items, n}};
}

// The calls as words, behind what the assistant says.
static struct bytes calls_text(struct fold *f, struct bytes text, const struct value *calls)
{
    for (size_t i = 0; i < calls->list.n && !f->full; i++) {
        const struct value *function = value_get(&calls->list.items[i], "function");
        text = joined(f, text, "\n", bytes_of("<tool_call>\n"));
        text = joined(f, text, "", json_of(f, function));
        text = joined(f, text, "", bytes_of("\n</tool_call>"));
    }
    return text;
}

// The name of the tool whose call has this id, among the calls before.
static struct bytes called_name(const struct fold *f, struct bytes id)
{
    for (size_t i = f->at; i-- > 0 && id.n > 0;) {
        const struct value *calls = value_get(&f->messages[i], "tool_calls");
        for (size_t k = 0; calls && k < calls->list.n; k++)
            if (bytes_equal(text_of(&calls->list.items[k], "id"), id))
                return text_of(value_get(&calls->list.items[k], "function"), "name");
    }
    return bytes_of("");
}

static void put_result(struct fold *f, struct value message)
{
    struct bytes id = text_of(&message, "tool_call_id"), name = called_name(f, id);
    if (!f->can.results) {
        struct bytes text =
            joined(f, bytes_of("<tool_response>\n"), "", text_of(&message, "content"));
        put(f, message_of(f, "user", joined(f, text, "", bytes_of("\n</tool_response>"))));
        return;
    }
    if (name.n > 0 && !value_get(&message, "name"))
        message = with_text(f, message, "name", name);
    if (f->can.short_ids)
        message = with_text(f, message, "tool_call_id", short_id(f, id));
    put(f, message);
}

// Each call by itself, its answer behind it: by its id, or else by its place.
static void put_one_by_one(struct fold *f, struct value message, const struct value *calls)
{
    size_t n_results = 0;
    while (f->at + 1 + n_results < f->n && role_is(&f->messages[f->at + 1 + n_results], "tool"))
        n_results++;
    for (size_t i = 0; i < calls->list.n && !f->full; i++) {
        struct value one = calls_value(f, calls, i, 1);
        struct bytes id = text_of(&calls->list.items[i], "id");
        size_t which = i;
        for (size_t k = 0; k < n_results && id.n > 0; k++)
            if (bytes_equal(text_of(&f->messages[f->at + 1 + k], "tool_call_id"), id))
                which = k;
        put(f, with(f, i == 0 ? message : with_text(f, message, "content", bytes_of("")),
                    "tool_calls", &one));
        f->at++; // for called_name
        if (which < n_results)
            put_result(f, f->messages[f->at + which]);
        f->at--;
    }
    f->at += n_results;
}

static void fold_assistant(struct fold *f, struct value message)
{
    const struct value *calls = value_get(&message, "tool_calls"),
                       *thought = value_get(&message, "reasoning_content");
    if (thought && f->can.thinking)
        message = with(f, message, "thinking", thought);
    if (calls && !f->can.calls) {
        message =
            with_text(f, message, "content", calls_text(f, text_of(&message, "content"), calls));
        put(f, with(f, message, "tool_calls", NULL));
    } else if (calls && calls->list.n > 1 && !f->can.parallel)
        put_one_by_one(f, message, calls);
    else if (calls) {
        struct value all = calls_value(f, calls, 0, calls->list.n);
        put(f, with(f, message, "tool_calls", &all));
    } else
        put(f, message);
}

// ---- the whole ----------------------------------------------------------------------------------

// The content as a list of one part.
static void type_contents(struct fold *f)
{
    for (size_t i = 0; i < f->n_out && !f->full; i++) {
        struct value *part = arena_take(f->arena, sizeof(*part));
        struct value empty = {.kind = VALUE_DICT, .dict = {NULL, 0}};
        if (!part) {
            f->full = true;
            return;
        }
        *part = with_text(f, with_text(f, empty, "type", bytes_of("text")), "text",
                          text_of(&f->out[i], "content"));
        const struct value list = {.kind = VALUE_LIST, .list = {part, 1}};
        f->out[i] = with(f, f->out[i], "content", &list);
    }
}

static struct bytes tools_text(struct fold *f, const struct value *tools)
{
    struct buf text;
    struct bytes copy = {NULL, 0};
    buf_init(&text, f->arena->cap_bytes);
    if (answer_tools_text(&text, &f->format->family, tools) == OK)
        copy = bytes_copy(f->arena, buf_view(&text));
    buf_free(&text);
    f->full = f->full || !copy.p;
    return copy.p ? copy : bytes_of("");
}

// A first system message that tells of the tools too.
static void put_tools(struct fold *f, const struct value *tools)
{
    bool first = f->n > 0 && role_is(&f->messages[0], "system");
    struct bytes text = tools_text(f, tools);
    if (first)
        text = joined(f, text_of(&f->messages[0], "content"), "\n\n", text);
    fold_system(f, message_of(f, "system", text));
    f->at = first;
}

enum status template_fold(struct value *out, const struct value **tools, struct arena *arena,
                          const struct format *format, const struct conversation *conversation,
                          bool all, struct err *err)
{
    struct fold f = {.arena = arena,
                     .format = format,
                     .can = format->can,
                     .messages = conversation->messages->list.items,
                     .n = conversation->messages->list.n};
    if (all)
        f.can = (struct abilities){.typed = format->can.typed};
    *tools = conversation->tools;
    if (*tools && !f.can.tools) {
        put_tools(&f, *tools);
        *tools = NULL;
    }
    for (; f.at < f.n && !f.full; f.at++) {
        const struct value *message = &f.messages[f.at];
        if (role_is(message, "system"))
            fold_system(&f, *message);
        else if (role_is(message, "tool"))
            put_result(&f, *message);
        else if (role_is(message, "assistant"))
            fold_assistant(&f, *message);
        else
            put(&f, *message);
    }
    if (f.pending.n > 0 || f.n_out == 0) // nobody's message followed, or there is none at all
        put(&f, message_of(&f, "user", bytes_of("")));
    if (f.can.typed)
        type_contents(&f);
    if (f.full)
        return err_set(err, NO_ROOM, "the conversation is larger than there is room for");
    *out = (struct value){.kind = VALUE_LIST, .list = {f.out, f.n_out}};
    return OK;
}
