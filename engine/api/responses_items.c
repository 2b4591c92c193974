// responses_items.c - the items of the Responses dialect become the messages that templates read.
//
// An item is a message, a call, what a tool gave, or a thought; each becomes a message of its own,
// and neighbours of one role one turn (messages.c). A call of a tool that the client runs itself
// (a shell, a patch, a tool whose input is a text) is told as a call of a function of that name.
// Kinds that are not known, and those that only OpenAI's own tools write, are left out. What was
// thought stands in `content`, or in `summary`, or in what we gave as `encrypted_content`.
#include "responses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char THOUGHT[] = RESPONSE_THOUGHT;

struct kind { // of an item
    const char *type;
    bool (*read)(struct reading *r, const char *path, yyjson_val *item, const struct kind *kind,
                 struct response_input *out);
    const char *name;      // of a call's function; NULL: the item's own
    const char *arguments; // the member that holds a call's
};

static yyjson_val *member_of(yyjson_val *item, const char *path, const char *name, char at[96])
{
    snprintf(at, 96, "%.70s.%s", path, name);
    yyjson_val *value = yyjson_obj_get(item, name);
    return value && !yyjson_is_null(value) ? value : NULL;
}

// ---- each kind ------------------------------------------------------------------------------

static bool read_said(struct reading *r, const char *path, yyjson_val *item,
                      const struct kind *kind, struct response_input *out)
{
    char at[96];
    (void)kind;
    if (!take_role(r, at, member_of(item, path, "role", at), &out->message.role))
        return false;
    return take_content(r, at, member_of(item, path, "content", at),
                        bytes_equal_text(out->message.role, "assistant"), &out->message.content);
}

// What a call and what it gave have in common.
static bool read_call_id(struct reading *r, const char *path, yyjson_val *item, struct bytes *out)
{
    char at[96];
    yyjson_val *id = member_of(item, path, "call_id", at);
    if (!id) // of a local shell's it may be null
        id = yyjson_obj_get(item, "id");
    return yyjson_is_str(id) ? take_text(r, id, out) : wrong_kind(r, at, "a string", id);
}

// The input of a tool that takes a text: {"input": text}.
static bool text_arguments(struct reading *r, yyjson_val *text, struct value *out)
{
    struct member *input = arena_take(r->arena, sizeof(*input));
    if (!input)
        return no_room(r);
    *input = (struct member){bytes_of("input"), {.kind = VALUE_TEXT}};
    *out = (struct value){.kind = VALUE_DICT, .dict = {input, 1}};
    return take_text(r, text, &input->value.text);
}

static bool read_called(struct reading *r, const char *path, yyjson_val *item,
                        const struct kind *kind, struct response_input *out)
{
    char at[96];
    struct bytes id, name = bytes_of(kind->name ? kind->name : "");
    struct value arguments;
    yyjson_val *said = member_of(item, path, "name", at);
    if (!kind->name && !yyjson_is_str(said))
        return wrong_kind(r, at, "a string", said);
    if (!read_call_id(r, path, item, &id) || (!kind->name && !take_text(r, said, &name)))
        return false;
    yyjson_val *value = member_of(item, path, kind->arguments, at);
    const bool text = strcmp(kind->arguments, "input") == 0;
    if (text && !yyjson_is_str(value))
        return wrong_kind(r, at, "a string", value);
    if (!(text ? text_arguments(r, value, &arguments) : take_arguments(r, at, value, &arguments)))
        return false;
    struct value *list = arena_take(r->arena, sizeof(*list)),
                 *call = arena_take(r->arena, sizeof(*call));
    if (!list || !call)
        return no_room(r);
    *list = (struct value){.kind = VALUE_LIST, .list = {call, 1}};
    out->message =
        (struct message){.role = bytes_of("assistant"), .content = bytes_of(""), .calls = list};
    return make_call(r, id, name, arguments, call);
}

static bool take_json(struct reading *r, yyjson_val *value, struct bytes *out)
{
    size_t n = 0;
    char *text = yyjson_val_write(value, YYJSON_WRITE_NOFLAG, &n);
    if (!text)
        return no_room(r);
    *out = bytes_copy(r->arena, (struct bytes){(const uint8_t *)text, n});
    free(text);
    return out->p ? true : no_room(r);
}

// A text, parts of text, or (of a shell) whatever it is, as JSON.
static bool read_given(struct reading *r, const char *path, yyjson_val *item,
                       const struct kind *kind, struct response_input *out)
{
    char at[96];
    yyjson_val *output = member_of(item, path, "output", at);
    out->message = (struct message){.role = bytes_of("tool")};
    if (!read_call_id(r, path, item, &out->message.call_id))
        return false;
    if (strcmp(kind->type, "shell_call_output") == 0 && yyjson_is_ctn(output))
        return take_json(r, output, &out->message.content);
    return take_content(r, at, output, true, &out->message.content);
}

static bool read_thought(struct reading *r, const char *path, yyjson_val *item,
                         const struct kind *kind, struct response_input *out)
{
    static const char *const places[] = {"content", "summary"};
    char at[96];
    (void)kind;
    struct bytes text = {NULL, 0};
    for (size_t i = 0; i < COUNT_OF(places) && text.n == 0; i++) {
        yyjson_val *parts = member_of(item, path, places[i], at);
        if (parts && !take_content(r, at, parts, true, &text))
            return false;
    }
    yyjson_val *sealed = yyjson_obj_get(item, "encrypted_content");
    const size_t n = sizeof(THOUGHT) - 1;
    if (text.n == 0 && yyjson_is_str(sealed) && yyjson_get_len(sealed) > n &&
        memcmp(yyjson_get_str(sealed), THOUGHT, n) == 0) {
        if (!take_text(r, sealed, &text))
            return false;
        text = (struct bytes){text.p + n, text.n - n};
    }
    if (text.n > 0)
        out->message = (struct message){
            .role = bytes_of("assistant"), .content = bytes_of(""), .reasoning = text};
    return true;
}

static bool read_reference(struct reading *r, const char *path, yyjson_val *item,
                           const struct kind *kind, struct response_input *out)
{
    char at[96];
    yyjson_val *id = member_of(item, path, "id", at);
    (void)kind;
    return yyjson_is_str(id) ? take_text(r, id, &out->reference)
                             : wrong_kind(r, at, "a string", id);
}

static const struct kind kinds[] = {
    {"message", read_said, NULL, NULL},
    {"function_call", read_called, NULL, "arguments"},
    {"custom_tool_call", read_called, NULL, "input"},
    {"local_shell_call", read_called, "local_shell", "action"},
    {"shell_call", read_called, "shell", "action"},
    {"apply_patch_call", read_called, "apply_patch", "operation"},
    {"function_call_output", read_given, NULL, NULL},
    {"custom_tool_call_output", read_given, NULL, NULL},
    {"local_shell_call_output", read_given, NULL, NULL},
    {"shell_call_output", read_given, NULL, NULL},
    {"apply_patch_call_output", read_given, NULL, NULL},
    {"reasoning", read_thought, NULL, NULL},
    {"item_reference", read_reference, NULL, NULL},
};

static bool read_item(struct reading *r, const char *path, yyjson_val *item,
                      struct response_input *out)
{
    char at[96];
    yyjson_val *type = yyjson_is_obj(item) ? member_of(item, path, "type", at) : NULL;
    if (!yyjson_is_obj(item))
        return wrong_kind(r, path, "an object", item);
    if (!type && yyjson_obj_get(item, "role"))
        return read_said(r, path, item, NULL, out);
    if (!type && yyjson_obj_size(item) == 1 && yyjson_obj_get(item, "id"))
        return read_reference(r, path, item, NULL, out); // there, too, the type may be left out
    if (!yyjson_is_str(type))
        return wrong_kind(r, at, "a string", type);
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (yyjson_equals_str(type, kinds[i].type))
            return kinds[i].read(r, path, item, &kinds[i], out);
    return true;
}

// ---- the field ------------------------------------------------------------------------------

// A text is the message of a user.
static bool read_input_text(struct reading *r, yyjson_val *text, struct response_input *out)
{
    struct json json;
    out->message.role = bytes_of("user");
    if (!take_text(r, text, &out->message.content))
        return false;
    json_init(&json, 8 * (size_t)BODY_BYTES_MOST);
    json_object(&json, NULL);
    json_string(&json, "type", "message");
    json_string(&json, "role", "user");
    json_array(&json, "content");
    json_object(&json, NULL);
    json_string(&json, "type", "input_text");
    json_text(&json, "text", out->message.content);
    json_end(&json);
    json_end(&json);
    json_end(&json);
    if (json_done(&json) == OK)
        out->json = bytes_copy(r->arena, buf_view(&json.text));
    json_free(&json);
    return out->json.p ? true : no_room(r);
}

bool read_input(struct reading *r, const char *name, yyjson_val *value)
{
    struct response *response = r->form->of_dialect;
    const size_t n = yyjson_is_arr(value) ? yyjson_arr_size(value) : 1;
    char path[64];
    size_t i, n_all;
    yyjson_val *item;
    if (!yyjson_is_arr(value) && !yyjson_is_str(value))
        return wrong_kind(r, name, "a string or an array of items", value);
    if (n > MESSAGES_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' has %zu items; at most %d are allowed.", name, n, MESSAGES_MOST);
    response->input = arena_take(r->arena, (n + 1) * sizeof(*response->input));
    if (!response->input)
        return no_room(r);
    response->n_input = n;
    if (yyjson_is_str(value))
        return read_input_text(r, value, response->input);
    yyjson_arr_foreach(value, i, n_all, item)
    {
        snprintf(path, sizeof(path), "%s[%zu]", name, i);
        if (!read_item(r, path, item, &response->input[i]) ||
            !take_json(r, item, &response->input[i].json))
            return false;
    }
    return true;
}

// ---- the conversation -----------------------------------------------------------------------

// What an item stands for that names another one.
static bool resolve(struct response *response, struct reading *r, size_t at)
{
    struct response_input *input = &response->input[at];
    char path[64], text[NAME_TEXT];
    yyjson_val *item;
    if (!input->reference.p)
        return true;
    yyjson_doc *doc = kept_item(response->kept, response->owner, input->reference, &item);
    snprintf(path, sizeof(path), "input[%zu].id", at);
    if (!doc)
        return refuse(r->refusal, 404, NULL, path,
                      "'%s' is '%s', and there is no such item here: its response was not stored, "
                      "was deleted or gave way to newer ones.",
                      path, name_text(text, input->reference));
    response->n_looked_up += yyjson_doc_get_read_size(doc);
    const bool good =
        response->n_looked_up <= RESPONSE_LOOK_UPS
            ? read_item(r, path, item, input) && take_json(r, item, &input->json)
            : refuse(r->refusal, 400, "invalid_value", path,
                     "The references up to '%s' are to responses of more than %d MiB; "
                     "send the items, or 'previous_response_id'.",
                     path, RESPONSE_LOOK_UPS >> 20);
    yyjson_doc_free(doc);
    return good;
}

// The messages of items that are kept, those before them first; *n counts.
static bool read_kept(struct reading *r, const struct kept_items *items, struct message *messages,
                      size_t *n)
{
    size_t n_chain = 0, i, n_items;
    bool good = true;
    for (const struct kept_items *at = items; at; at = at->before)
        n_chain++;
    const struct kept_items **chain = mem_array(n_chain + 1, sizeof(struct kept_items *));
    for (size_t k = n_chain; items; items = items->before)
        chain[--k] = items;
    for (size_t k = 0; k < n_chain && good; k++) {
        yyjson_doc *doc = kept_items_read(chain[k]);
        yyjson_val *item;
        yyjson_arr_foreach(yyjson_doc_get_root(doc), i, n_items, item)
        {
            struct response_input input = {0};
            good = good && read_item(r, "previous_response_id", item, &input);
            if (good && input.message.role.p)
                messages[(*n)++] = input.message;
        }
        yyjson_doc_free(doc);
    }
    free(chain);
    return good;
}

// The items of this request, one behind the other.
static struct kept_items *own_items(struct response *response, struct kept_items *before)
{
    struct buf json;
    buf_init(&json, SIZE_MAX);
    for (size_t i = 0; i < response->n_input; i++) {
        const struct bytes item = response->input[i].json;
        if ((i > 0 && buf_add(&json, ",", 1) != OK) || buf_add(&json, item.p, item.n) != OK)
            die("out of memory");
    }
    struct kept_items *items =
        kept_items_make(response->kept, before, buf_view(&json), (uint32_t)response->n_input);
    buf_free(&json);
    return items;
}

static bool all_fits(const struct kept_items *before, const struct response *response,
                     struct reading *r)
{
    size_t n_bytes = before ? before->n_bytes_all : 0,
           n = response->n_input + (before ? before->n_all : 0);
    for (size_t i = 0; i < response->n_input; i++)
        n_bytes += response->input[i].json.n;
    if (n <= MESSAGES_MOST && n_bytes <= BODY_BYTES_MOST)
        return true;
    return refuse(r->refusal, 400, "invalid_value", before ? "previous_response_id" : "input",
                  "With what came before it the conversation has %zu items and %zu bytes; at most "
                  "%d and %d are allowed.",
                  n, n_bytes, MESSAGES_MOST, BODY_BYTES_MOST);
}

static bool gather(const struct kept_items *before, const struct response *response,
                   struct reading *r)
{
    const size_t n_before = before ? before->n_all : 0;
    size_t n = 0;
    struct message *messages =
        arena_take(r->arena, (1 + n_before + response->n_input) * sizeof(*messages));
    if (!messages)
        return no_room(r);
    if (response->instructions.n > 0)
        messages[n++] =
            (struct message){.role = bytes_of("system"), .content = response->instructions};
    if (!read_kept(r, before, messages, &n))
        return false;
    for (size_t i = 0; i < response->n_input; i++)
        if (response->input[i].message.role.p)
            messages[n++] = response->input[i].message;
    if (n == 0)
        return refuse(r->refusal, 400, "invalid_value", "input",
                      "'input' holds nothing to answer: it must be a text, or items of which one "
                      "at least is a message or what a tool gave.");
    return take_messages(r, messages, n);
}

bool response_conversation(struct response *response, struct reading *r)
{
    struct kept_items *before = NULL;
    for (size_t i = 0; i < response->n_input; i++)
        if (!resolve(response, r, i))
            return false;
    if (response->previous.n > 0) {
        const struct kept_response *previous =
            kept_find(response->kept, response->owner, response->previous);
        if (!previous)
            return kept_missing(r->refusal, response->previous, "previous_response_id");
        before = kept_items_hold(previous->items);
    }
    const bool good = all_fits(before, response, r) && gather(before, response, r);
    if (good && response->store)
        response->items = own_items(response, before);
    else
        kept_items_drop(response->kept, before);
    return good;
}
