// anthropic_turns.c - the messages of Anthropic's dialect, whose contents are blocks, as turns of a
// conversation.
//
// A message becomes several: what a tool answered stands in a message of the user's, and is one of
// the tool's here. Texts of one message are joined: the user's by line breaks; the assistant's by
// nothing, since an answer with quotations comes cut in pieces. Blocks of tools that ran elsewhere
// (web_search ...) are passed over. An image cannot be read: in a message of the user's that is a
// 400; in what a tool answered a line says that there was one, since an agent cannot help what its
// tools give.
//
// Claude Code's system prompt begins with a line that is another in each request. It is left out:
// with it no prompt would begin as an earlier one did.
#include "anthropic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BILLING "x-anthropic-billing-header:"

enum { TEXT_BYTES_MOST = 16 << 20 }; // of one message, tags around documents included
enum { USER = 1, ASSISTANT = 2, SYSTEM = 4 };

struct turns { // while the messages are read
    struct reading *r;
    struct anthropic_ask *ask;
    struct message *out; // [n_most]
    size_t n, n_most;
    struct buf text;   // of the present message, not in `out` yet
    struct buf result; // of the present answer of a tool
    struct bytes role;
    const char *between; // two of its texts
};

typedef bool block_reader(struct turns *t, const char *path, yyjson_val *block);

static bool add(struct turns *t, struct buf *to, const char *text, size_t n)
{
    return buf_add(to, text, n) == OK ? true : no_room(t->r);
}

static bool add_between(struct turns *t, struct buf *to, const char *between)
{
    return to->n == 0 || add(t, to, between, strlen(between));
}

static bool add_string(struct turns *t, struct buf *to, yyjson_val *text)
{
    return add(t, to, yyjson_get_str(text), yyjson_get_len(text));
}

static bool put(struct turns *t, struct message message)
{
    if (t->n == t->n_most)
        return no_room(t->r);
    t->out[t->n++] = message;
    return true;
}

// The text so far becomes a message.
static bool flush(struct turns *t)
{
    if (t->text.n == 0)
        return true;
    struct bytes content = bytes_copy(t->r->arena, buf_view(&t->text));
    t->text.n = 0;
    return content.p ? put(t, (struct message){.role = t->role, .content = content})
                     : no_room(t->r);
}

// A member that must be a text.
static bool member_text(struct turns *t, const char *path, yyjson_val *block, const char *name,
                        yyjson_val **out)
{
    char at[160];
    snprintf(at, sizeof(at), "%s.%s", path, name);
    *out = yyjson_obj_get(block, name);
    return yyjson_is_str(*out) ? true : wrong_kind(t->r, at, "a string", *out);
}

static bool optional_text(struct turns *t, const char *path, yyjson_val *block, const char *name,
                          yyjson_val **out)
{
    *out = yyjson_obj_get(block, name);
    if (*out && !yyjson_is_null(*out))
        return member_text(t, path, block, name, out);
    *out = NULL;
    return true;
}

// ---- what is text ---------------------------------------------------------------------------

static bool add_text(struct turns *t, struct buf *to, const char *between, const char *path,
                     yyjson_val *block)
{
    yyjson_val *text;
    return member_text(t, path, block, "text", &text) && add_between(t, to, between) &&
           add_string(t, to, text);
}

// A text, or an array of text blocks.
static bool add_texts(struct turns *t, struct buf *to, const char *path, yyjson_val *content)
{
    char at[160];
    size_t i, n;
    yyjson_val *block;
    if (yyjson_is_str(content))
        return add_string(t, to, content);
    if (!yyjson_is_arr(content))
        return wrong_kind(t->r, path, "a string or an array of text blocks", content);
    yyjson_arr_foreach(content, i, n, block)
    {
        snprintf(at, sizeof(at), "%s[%zu]", path, i);
        if (!yyjson_equals_str(yyjson_obj_get(block, "type"), "text"))
            return refuse(t->r->refusal, 400, "unsupported_value", at,
                          "'%s' must be a block of type \"text\".", at);
        if (!add_text(t, to, i > 0 ? "\n" : "", at, block))
            return false;
    }
    return true;
}

// <tag name="..." name="...">
static bool open_tag(struct turns *t, struct buf *to, const char *path, yyjson_val *block,
                     const char *tag, const char *const names[2])
{
    bool good = add_between(t, to, "\n") && add(t, to, "<", 1) && add(t, to, tag, strlen(tag));
    for (size_t i = 0; i < 2 && good; i++) {
        yyjson_val *text;
        char head[32];
        good = optional_text(t, path, block, names[i], &text);
        if (good && text) {
            snprintf(head, sizeof(head), " %s=\"", names[i]);
            good = add(t, to, head, strlen(head)) && add_string(t, to, text) && add(t, to, "\"", 1);
        }
    }
    return good && add(t, to, ">\n", 2);
}

static bool close_tag(struct turns *t, struct buf *to, const char *tag)
{
    char text[32];
    snprintf(text, sizeof(text), "\n</%s>", tag);
    return add(t, to, text, strlen(text));
}

static bool add_search_result(struct turns *t, struct buf *to, const char *path, yyjson_val *block)
{
    static const char tag[] = "search_result", *const names[] = {"source", "title"};
    char at[160];
    snprintf(at, sizeof(at), "%s.content", path);
    return open_tag(t, to, path, block, tag, names) &&
           add_texts(t, to, at, yyjson_obj_get(block, "content")) && close_tag(t, to, tag);
}

// False: its source is one that holds text, or none that is known.
static bool is_file(yyjson_val *block)
{
    yyjson_val *type = yyjson_obj_get(yyjson_obj_get(block, "source"), "type");
    return yyjson_equals_str(type, "base64") || yyjson_equals_str(type, "url") ||
           yyjson_equals_str(type, "file");
}

// {"source": {"type": "text", "data"} or {"type": "content", "content"}, "title", "context"}
static bool add_document(struct turns *t, struct buf *to, const char *path, yyjson_val *block)
{
    static const char tag[] = "document", *const names[] = {"title", "context"};
    char at[160];
    yyjson_val *source = yyjson_obj_get(block, "source"), *type = yyjson_obj_get(source, "type");
    const bool plain = yyjson_equals_str(type, "text");
    snprintf(at, sizeof(at), "%s.source", path);
    if (!yyjson_is_obj(source))
        return wrong_kind(t->r, at, "an object", source);
    if (!plain && !yyjson_equals_str(type, "content"))
        return refuse(t->r->refusal, 400, "unsupported_value", at,
                      "'%s' must be of type \"text\" or \"content\": this model reads documents "
                      "that are sent as text only.",
                      at);
    snprintf(at, sizeof(at), "%s.source.%s", path, plain ? "data" : "content");
    return open_tag(t, to, path, block, tag, names) &&
           add_texts(t, to, at, yyjson_obj_get(source, plain ? "data" : "content")) &&
           close_tag(t, to, tag);
}

static bool left_out(struct turns *t, struct buf *to, const char *what)
{
    char text[120];
    snprintf(text, sizeof(text), "[%s was left out here: this model reads text only]", what);
    return add_between(t, to, "\n") && add(t, to, text, strlen(text));
}

// A tool that a message brings in, by its name.
static bool call_in(struct turns *t, yyjson_val *name)
{
    struct anthropic_ask *ask = t->ask;
    if (ask->n_called == TOOLS_MOST)
        return true;
    if (!ask->called)
        ask->called = arena_take(t->r->arena, TOOLS_MOST * sizeof(*ask->called));
    return ask->called ? take_text(t->r, name, &ask->called[ask->n_called++]) : no_room(t->r);
}

static bool add_reference(struct turns *t, struct buf *to, const char *path, yyjson_val *block)
{
    yyjson_val *name;
    return member_text(t, path, block, "tool_name", &name) && call_in(t, name) &&
           add_between(t, to, "\n") && add(t, to, "Tool found: ", 12) && add_string(t, to, name);
}

// ---- blocks ---------------------------------------------------------------------------------

static bool text_block(struct turns *t, const char *path, yyjson_val *block)
{
    return add_text(t, &t->text, t->between, path, block);
}

static bool image_block(struct turns *t, const char *path, yyjson_val *block)
{
    (void)block;
    return refuse(t->r->refusal, 400, "unsupported_value", path,
                  "'%s' is an image; this model reads text only.", path);
}

static bool document_block(struct turns *t, const char *path, yyjson_val *block)
{
    return add_document(t, &t->text, path, block);
}

static bool search_result_block(struct turns *t, const char *path, yyjson_val *block)
{
    return add_search_result(t, &t->text, path, block);
}

static bool skip_block(struct turns *t, const char *path, yyjson_val *block)
{
    (void)t, (void)path, (void)block;
    return true;
}

static bool thinking_block(struct turns *t, const char *path, yyjson_val *block)
{
    yyjson_val *thought, *signature;
    struct bytes text;
    if (!member_text(t, path, block, "thinking", &thought) ||
        !optional_text(t, path, block, "signature", &signature) || !flush(t) ||
        !take_text(t->r, thought, &text))
        return false;
    if (text.n == 0 && signature)
        text = signature_read(t->r->arena, string_of(signature));
    if (!text.p)
        return no_room(t->r);
    return text.n == 0 ||
           put(t, (struct message){.role = t->role, .content = bytes_of(""), .reasoning = text});
}

static bool tool_use_block(struct turns *t, const char *path, yyjson_val *block)
{
    char at[160];
    struct bytes id, name;
    struct value arguments;
    yyjson_val *said_id, *said_name, *input = yyjson_obj_get(block, "input");
    struct value *list = arena_take(t->r->arena, sizeof(*list)),
                 *item = arena_take(t->r->arena, sizeof(*item));
    snprintf(at, sizeof(at), "%s.input", path);
    if (!member_text(t, path, block, "id", &said_id) ||
        !member_text(t, path, block, "name", &said_name))
        return false;
    if (!yyjson_is_obj(input))
        return wrong_kind(t->r, at, "an object", input);
    if (!list || !item)
        return no_room(t->r);
    if (!flush(t) || !take_text(t->r, said_id, &id) || !take_text(t->r, said_name, &name) ||
        !take_value(t->r, at, input, &arguments) || !make_call(t->r, id, name, arguments, item))
        return false;
    *list = (struct value){.kind = VALUE_LIST, .list = {item, 1}};
    return put(t, (struct message){.role = t->role, .content = bytes_of(""), .calls = list});
}

static bool add_result(struct turns *t, const char *path, yyjson_val *block)
{
    yyjson_val *type = yyjson_obj_get(block, "type");
    struct buf *to = &t->result;
    if (!yyjson_is_obj(block))
        return wrong_kind(t->r, path, "an object", block);
    if (yyjson_equals_str(type, "text"))
        return add_text(t, to, "\n", path, block);
    if (yyjson_equals_str(type, "image"))
        return left_out(t, to, "an image");
    if (yyjson_equals_str(type, "document") && is_file(block))
        return left_out(t, to, "a document");
    if (yyjson_equals_str(type, "document"))
        return add_document(t, to, path, block);
    if (yyjson_equals_str(type, "search_result"))
        return add_search_result(t, to, path, block);
    if (yyjson_equals_str(type, "tool_reference"))
        return add_reference(t, to, path, block);
    if (!yyjson_is_str(type))
        return wrong_kind(t->r, path, "a block with a type", type);
    return left_out(t, to, "a block of a type that is not known");
}

static bool tool_result_block(struct turns *t, const char *path, yyjson_val *block)
{
    char at[160];
    struct bytes id;
    yyjson_val *said_id, *content = yyjson_obj_get(block, "content"), *piece;
    size_t i, n;
    t->result.n = 0;
    if (!member_text(t, path, block, "tool_use_id", &said_id) || !flush(t) ||
        !take_text(t->r, said_id, &id))
        return false;
    if (yyjson_is_true(yyjson_obj_get(block, "is_error")) && !add(t, &t->result, "Error:", 6))
        return false;
    snprintf(at, sizeof(at), "%s.content", path);
    if (yyjson_is_str(content)) {
        if (!add_between(t, &t->result, "\n") || !add_string(t, &t->result, content))
            return false;
    } else if (content && !yyjson_is_null(content) && !yyjson_is_arr(content)) {
        return wrong_kind(t->r, at, "a string or an array of blocks", content);
    }
    yyjson_arr_foreach(content, i, n, piece)
    {
        snprintf(at, sizeof(at), "%s.content[%zu]", path, i);
        if (!add_result(t, at, piece))
            return false;
    }
    struct bytes text = bytes_copy(t->r->arena, buf_view(&t->result));
    return text.p
               ? put(t, (struct message){.role = bytes_of("tool"), .content = text, .call_id = id})
               : no_room(t->r);
}

// A tool that may be called from here on; its definition may stand here alone, then it is no tool.
static bool addition_block(struct turns *t, const char *path, yyjson_val *block)
{
    yyjson_val *tool = yyjson_obj_get(block, "tool"), *name = yyjson_obj_get(tool, "tool_name");
    (void)path;
    name = name ? name : yyjson_obj_get(tool, "name");
    return !yyjson_is_str(name) || call_in(t, name);
}

static bool compaction_block(struct turns *t, const char *path, yyjson_val *block)
{
    yyjson_val *content;
    return optional_text(t, path, block, "content", &content) &&
           (!content || (add_between(t, &t->text, "\n") && add_string(t, &t->text, content)));
}

static const struct {
    const char *type;
    int who; // may say it
    block_reader *read;
} blocks[] = {
    {"text", USER | ASSISTANT | SYSTEM, text_block},
    {"image", USER, image_block},
    {"document", USER, document_block},
    {"search_result", USER, search_result_block},
    {"tool_result", USER, tool_result_block},
    {"thinking", ASSISTANT, thinking_block},
    {"redacted_thinking", ASSISTANT, skip_block},
    {"tool_use", ASSISTANT, tool_use_block},
    {"server_tool_use", ASSISTANT, skip_block},
    {"mcp_tool_use", ASSISTANT, skip_block},
    {"mcp_tool_listing", ASSISTANT | USER, skip_block},
    {"fallback", ASSISTANT, skip_block},
    {"compaction", ASSISTANT | USER, compaction_block},
    {"tool_addition", SYSTEM | USER, addition_block},
    {"tool_removal", SYSTEM | USER, skip_block},
};

// What a tool answered that ran elsewhere: web_search_tool_result, mcp_tool_result ...
static bool ran_elsewhere(yyjson_val *type)
{
    static const char end[] = "_tool_result";
    const size_t n = yyjson_get_len(type), n_end = sizeof(end) - 1;
    return n > n_end && memcmp(yyjson_get_str(type) + n - n_end, end, n_end) == 0;
}

static bool read_block(struct turns *t, int who, const char *path, yyjson_val *block)
{
    char at[160];
    yyjson_val *type = yyjson_obj_get(block, "type");
    snprintf(at, sizeof(at), "%s.type", path);
    if (!yyjson_is_obj(block))
        return wrong_kind(t->r, path, "an object", block);
    if (!yyjson_is_str(type))
        return wrong_kind(t->r, at, "a string", type);
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        if (!yyjson_equals_str(type, blocks[i].type))
            continue;
        if (blocks[i].who & who)
            return blocks[i].read(t, path, block);
        return refuse(t->r->refusal, 400, "invalid_value", at,
                      "'%s' is \"%s\", which a message of role \"%.*s\" cannot have.", at,
                      blocks[i].type, (int)t->role.n, (const char *)t->role.p);
    }
    if (ran_elsewhere(type))
        return true;
    return refuse(t->r->refusal, 400, "unsupported_value", at,
                  "'%s' is \"%.40s\"; this server takes text, document, search_result, tool_use, "
                  "tool_result and thinking.",
                  at, yyjson_get_str(type));
}

// ---- messages -------------------------------------------------------------------------------

static int who_is(yyjson_val *role)
{
    if (yyjson_equals_str(role, "user"))
        return USER;
    if (yyjson_equals_str(role, "assistant"))
        return ASSISTANT;
    return yyjson_equals_str(role, "system") ? SYSTEM : 0;
}

static bool read_content(struct turns *t, int who, const char *path, yyjson_val *content)
{
    char at[96];
    size_t i, n;
    yyjson_val *block;
    if (yyjson_is_str(content))
        return add_string(t, &t->text, content);
    if (who == SYSTEM && (!content || yyjson_is_null(content)))
        return true;
    if (!yyjson_is_arr(content))
        return wrong_kind(t->r, path, "a string or an array of blocks", content);
    yyjson_arr_foreach(content, i, n, block)
    {
        snprintf(at, sizeof(at), "%s[%zu]", path, i);
        if (!read_block(t, who, at, block))
            return false;
    }
    return true;
}

static bool read_one(struct turns *t, size_t at, yyjson_val *message)
{
    static const char *const names[] = {
        [USER] = "user", [ASSISTANT] = "assistant", [SYSTEM] = "system"};
    char path[64];
    yyjson_val *role = yyjson_obj_get(message, "role");
    snprintf(path, sizeof(path), "messages[%zu]", at);
    if (!yyjson_is_obj(message))
        return wrong_kind(t->r, path, "an object", message);
    snprintf(path, sizeof(path), "messages[%zu].role", at);
    const int who = who_is(role);
    if (!who && yyjson_is_str(role))
        return refuse(t->r->refusal, 400, "invalid_value", path,
                      "'%s' is \"%.40s\"; it must be \"user\", \"assistant\" or \"system\".", path,
                      yyjson_get_str(role));
    if (!who)
        return wrong_kind(t->r, path, "\"user\", \"assistant\" or \"system\"", role);
    t->role = bytes_of(names[who]);
    t->between = who == ASSISTANT ? "" : who == USER ? "\n" : "\n\n";
    const size_t before = t->n;
    snprintf(path, sizeof(path), "messages[%zu].content", at);
    if (!read_content(t, who, path, yyjson_obj_get(message, "content")) || !flush(t))
        return false;
    if (t->n > before || who == SYSTEM)
        return true;
    return put(t, (struct message){.role = t->role, .content = bytes_of("")});
}

// How many messages they are at most: a block is two at most, a text and what follows it.
static size_t most_of(yyjson_val *messages)
{
    size_t i, n, n_most = 1;
    yyjson_val *message;
    yyjson_arr_foreach(messages, i, n, message) n_most +=
        1 + yyjson_arr_size(yyjson_obj_get(message, "content"));
    return n_most;
}

bool read_anthropic_messages(struct reading *r, const char *name, yyjson_val *value)
{
    struct turns t = {.r = r, .ask = r->of_dialect};
    size_t n = yyjson_arr_size(value), i, n_all;
    yyjson_val *message;
    if (!yyjson_is_arr(value))
        return wrong_kind(r, name, "an array", value);
    if (n == 0 || n > MESSAGES_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' has %zu entries; it must have 1 to %d.", name, n, MESSAGES_MOST);
    t.n_most = most_of(value);
    t.ask->messages = arena_take(r->arena, (1 + t.n_most) * sizeof(*t.out));
    if (!t.ask->messages)
        return no_room(r);
    t.out = t.ask->messages + 1;
    buf_init(&t.text, TEXT_BYTES_MOST);
    buf_init(&t.result, TEXT_BYTES_MOST);
    bool good = true;
    yyjson_arr_foreach(value, i, n_all, message) good = good && read_one(&t, i, message);
    buf_free(&t.text);
    buf_free(&t.result);
    t.ask->n_messages = t.n;
    t.ask->has_messages = good;
    return good;
}

// ---- the system prompt ----------------------------------------------------------------------

// What of a text is behind Claude Code's line for its bill.
static struct bytes without_billing(struct bytes text)
{
    const size_t n = sizeof(BILLING) - 1;
    if (text.n < n || memcmp(text.p, BILLING, n) != 0)
        return text;
    const uint8_t *end = memchr(text.p, '\n', text.n);
    const size_t n_line = end ? (size_t)(end - text.p) + 1 : text.n;
    return (struct bytes){text.p + n_line, text.n - n_line};
}

static bool add_system(struct turns *t, const char *path, yyjson_val *said)
{
    yyjson_val *text = said;
    if (!yyjson_is_str(said)) {
        if (!yyjson_equals_str(yyjson_obj_get(said, "type"), "text"))
            return refuse(t->r->refusal, 400, "unsupported_value", path,
                          "'%s' must be a block of type \"text\".", path);
        if (!member_text(t, path, said, "text", &text))
            return false;
    }
    const struct bytes rest = without_billing(string_of(text));
    return rest.n == 0 ||
           (add_between(t, &t->text, "\n\n") && add(t, &t->text, (const char *)rest.p, rest.n));
}

bool read_anthropic_system(struct reading *r, const char *name, yyjson_val *value)
{
    struct turns t = {.r = r, .ask = r->of_dialect};
    char path[64];
    size_t i, n;
    yyjson_val *block;
    if (!yyjson_is_str(value) && !yyjson_is_arr(value))
        return wrong_kind(r, name, "a string or an array of text blocks", value);
    buf_init(&t.text, TEXT_BYTES_MOST);
    bool good = !yyjson_is_str(value) || add_system(&t, name, value);
    yyjson_arr_foreach(value, i, n, block)
    {
        snprintf(path, sizeof(path), "%s[%zu]", name, i);
        good = good && add_system(&t, path, block);
    }
    t.ask->system = good ? bytes_copy(r->arena, buf_view(&t.text)) : bytes_of("");
    buf_free(&t.text);
    return good && !t.ask->system.p ? no_room(r) : good;
}
