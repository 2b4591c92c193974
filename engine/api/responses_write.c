// responses_write.c - the answer in OpenAI's Responses dialect: items, as events and whole.
//
// What the engine tells comes in order, and an item ends where the next begins: a thought, a
// message, a call. A stream tells each item as it is made and whole where it ends, and all of them
// once more in its last event, response.completed (or .incomplete, .failed), which is the object
// that a whole answer is. Nothing comes behind it: this dialect has no [DONE]. A sign of life is
// response.in_progress again. A failure is an event `error`, which clients raise, and
// response.failed, at which the others stop.
#include "responses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *prefix, *type, *delta, *done, *text;
} items[] = {
    [ITEM_REASONING] = {"rs", "reasoning", "response.reasoning_text.delta",
                        "response.reasoning_text.done", "text"},
    [ITEM_MESSAGE] = {"msg", "message", "response.output_text.delta", "response.output_text.done",
                      "text"},
    [ITEM_CALL] = {"fc", "function_call", "response.function_call_arguments.delta",
                   "response.function_call_arguments.done", "arguments"},
    [ITEM_CUSTOM] = {"ctc", "custom_tool_call", "response.custom_tool_call_input.delta",
                     "response.custom_tool_call_input.done", "input"},
};

static void keep(struct buf *buf, struct bytes text)
{
    if (buf_add(buf, text.p, text.n) != OK)
        die("out of memory");
}

// ---- objects --------------------------------------------------------------------------------

static void item_id(struct json *json, const char *name, const struct reply *reply)
{
    const struct response *response = reply->of_dialect;
    char id[RESPONSE_ID_BYTES + 24];
    snprintf(id, sizeof(id), "%s_%s_%u", items[response->open].prefix, strchr(reply->name, '_') + 1,
             (unsigned)(response->n_input + response->n_output));
    json_string(json, name, id);
}

static void part_write(struct json *json, const char *name, const struct response *response,
                       struct bytes text)
{
    const bool message = response->open == ITEM_MESSAGE;
    json_object(json, name);
    json_string(json, "type",
                message             ? "output_text"
                : response->summary ? "summary_text"
                                    : "reasoning_text");
    json_text(json, "text", text);
    if (message) {
        json_array(json, "annotations");
        json_end(json);
        json_array(json, "logprobs");
        if (text.n > 0 && response->chances.n > 0)
            json_splice(json, NULL, buf_view(&response->chances));
        json_end(json);
    }
    json_end(json);
}

// A list of the one part there is; none where the item only begins.
static void parts_write(struct json *json, const char *name, const struct response *response,
                        bool whole)
{
    json_array(json, name);
    if (whole)
        part_write(json, NULL, response, buf_view(&response->text));
    json_end(json);
}

static void thought_write(struct json *json, const struct response *response, bool whole)
{
    parts_write(json, "summary", response, whole && response->summary);
    parts_write(json, "content", response, whole && !response->summary);
    if (response->encrypted && whole) {
        struct buf sealed;
        buf_init(&sealed, SIZE_MAX);
        keep(&sealed, bytes_of(RESPONSE_THOUGHT));
        keep(&sealed, buf_view(&response->text));
        json_text(json, "encrypted_content", buf_view(&sealed));
        buf_free(&sealed);
    }
}

// The item that is open; whole: with its text, where it ends.
static void item_write(struct json *json, const char *name, const struct reply *reply,
                       const char *status, bool whole)
{
    const struct response *response = reply->of_dialect;
    const struct bytes call = buf_view(&response->call);
    json_object(json, name);
    item_id(json, "id", reply);
    json_string(json, "type", items[response->open].type);
    json_string(json, "status", status);
    if (response->open == ITEM_REASONING) {
        thought_write(json, response, whole);
    } else if (response->open == ITEM_MESSAGE) {
        json_string(json, "role", "assistant");
        parts_write(json, "content", response, whole);
    } else {
        const size_t n = response->n_call_id;
        json_text(json, "call_id", (struct bytes){call.p, n});
        json_text(json, "name", (struct bytes){call.p + n, call.n - n});
        json_text(json, items[response->open].text,
                  whole ? buf_view(&response->text) : bytes_of(""));
    }
    json_end(json);
}

static void usage_write(struct json *json, const struct usage *usage)
{
    if (!usage) {
        json_null(json, "usage");
        return;
    }
    json_object(json, "usage");
    json_whole(json, "input_tokens", usage->n_prompt);
    json_object(json, "input_tokens_details");
    json_whole(json, "cached_tokens", usage->n_prompt_cached);
    json_end(json);
    json_whole(json, "output_tokens", usage->n_generated);
    json_object(json, "output_tokens_details");
    json_whole(json, "reasoning_tokens", usage->n_thinking);
    json_end(json);
    json_whole(json, "total_tokens", usage->n_prompt + usage->n_generated);
    json_end(json);
}

static void error_write(struct json *json, const struct refusal *refusal)
{
    if (!refusal) {
        json_null(json, "error");
        return;
    }
    json_object(json, "error");
    json_string(json, "code", refusal->code ? refusal->code : "server_error");
    json_text(json, "message", bytes_of(refusal->text));
    json_end(json);
}

static void response_write(struct json *json, const char *name, const struct reply *reply,
                           const char *status, const struct usage *usage,
                           const struct refusal *refusal)
{
    const struct response *response = reply->of_dialect;
    json_object(json, name);
    json_string(json, "id", reply->name);
    json_string(json, "object", "response");
    json_whole(json, "created_at", reply->created);
    json_string(json, "status", status);
    json_bool(json, "background", false);
    error_write(json, refusal);
    if (strcmp(status, "incomplete") == 0) {
        json_object(json, "incomplete_details");
        json_string(json, "reason", "max_output_tokens");
        json_end(json);
    } else {
        json_null(json, "incomplete_details");
    }
    json_string(json, "model", reply_model(reply));
    json_array(json, "output");
    if (response->output.n > 0)
        json_splice(json, NULL, buf_view(&response->output));
    json_end(json);
    if (response->head.n > 0)
        json_splice(json, NULL, buf_view(&response->head));
    usage_write(json, usage);
    json_end(json);
}

// ---- events ---------------------------------------------------------------------------------

static void event_open(struct json *json, struct reply *reply, const char *type)
{
    struct response *response = reply->of_dialect;
    json_init(json, 8 * (size_t)RESPONSE_BYTES_MOST);
    json_object(json, NULL);
    json_string(json, "type", type);
    json_whole(json, "sequence_number", response->sequence++);
}

static void event_send(struct json *json, struct reply *reply, const char *type)
{
    json_end(json);
    reply_named(reply, type, json);
}

static void event_of_response(struct reply *reply, const char *type, const char *status)
{
    struct json json;
    event_open(&json, reply, type);
    response_write(&json, "response", reply, status, NULL, NULL);
    event_send(&json, reply, type);
}

static void event_of_item(struct reply *reply, const char *type, const char *status, bool whole)
{
    const struct response *response = reply->of_dialect;
    struct json json;
    event_open(&json, reply, type);
    json_whole(&json, "output_index", response->n_output);
    item_write(&json, "item", reply, status, whole);
    event_send(&json, reply, type);
}

// Of the item that is open, with the place of its part where it has parts.
static void event_in_item(struct json *json, struct reply *reply, const char *type)
{
    const struct response *response = reply->of_dialect;
    event_open(json, reply, type);
    item_id(json, "item_id", reply);
    json_whole(json, "output_index", response->n_output);
    if (response->open == ITEM_REASONING && response->summary)
        json_whole(json, "summary_index", 0);
    else if (response->open == ITEM_REASONING || response->open == ITEM_MESSAGE)
        json_whole(json, "content_index", 0);
}

static bool in_summary(const struct response *response)
{
    return response->open == ITEM_REASONING && response->summary;
}

static const char *name_of_delta(const struct response *response)
{
    return in_summary(response) ? "response.reasoning_summary_text.delta"
                                : items[response->open].delta;
}

static const char *name_of_done(const struct response *response)
{
    return in_summary(response) ? "response.reasoning_summary_text.done"
                                : items[response->open].done;
}

static void event_of_part(struct reply *reply, bool whole)
{
    const struct response *response = reply->of_dialect;
    const char *type = whole ? "response.content_part.done" : "response.content_part.added";
    struct json json;
    if (response->open == ITEM_CALL || response->open == ITEM_CUSTOM)
        return;
    if (in_summary(response))
        type = whole ? "response.reasoning_summary_part.done"
                     : "response.reasoning_summary_part.added";
    event_in_item(&json, reply, type);
    part_write(&json, "part", response, whole ? buf_view(&response->text) : bytes_of(""));
    event_send(&json, reply, type);
}

// ---- items ----------------------------------------------------------------------------------

// Arguments that end in the middle of their last text, ended: without the part of an escape or of a
// character that they may end with. NULL: that makes no JSON of them.
static yyjson_doc *read_cut(struct bytes text)
{
    enum { PART_MOST = 12 }; // two \\uXXXX, but for a digit
    yyjson_doc *doc = NULL;
    for (size_t part = 0; part < PART_MOST && part < text.n && !doc; part++) {
        struct buf whole;
        buf_init(&whole, SIZE_MAX);
        keep(&whole, (struct bytes){text.p, text.n - part});
        keep(&whole, bytes_of("\"}"));
        doc = yyjson_read((const char *)whole.p, whole.n, YYJSON_READ_NOFLAG);
        buf_free(&whole);
    }
    return doc;
}

// The input of a tool that takes a text, out of the arguments that the model wrote; they may have
// been cut off.
static void unwrap(struct response *response)
{
    const struct bytes text = buf_view(&response->text);
    yyjson_doc *doc = text.n ? yyjson_read((const char *)text.p, text.n, YYJSON_READ_NOFLAG) : NULL;
    if (!doc)
        doc = read_cut(text);
    yyjson_val *input = yyjson_obj_get(yyjson_doc_get_root(doc), "input");
    if (yyjson_is_str(input) || !doc) {
        response->text.n = 0; // no longer than what holds it
        keep(&response->text, string_of(input));
    }
    yyjson_doc_free(doc);
}

static void delta(struct reply *reply, struct bytes text, struct bytes chances)
{
    const struct response *response = reply->of_dialect;
    const char *type = name_of_delta(response);
    struct json json;
    event_in_item(&json, reply, type);
    json_text(&json, "delta", text);
    if (response->open == ITEM_MESSAGE) {
        json_array(&json, "logprobs");
        if (chances.n > 0)
            json_splice(&json, NULL, chances);
        json_end(&json);
    }
    event_send(&json, reply, type);
}

static void item_open(struct reply *reply, enum response_item kind, const struct event *event)
{
    struct response *response = reply->of_dialect;
    response->open = kind;
    response->text.n = response->chances.n = response->call.n = 0;
    if (kind == ITEM_CALL || kind == ITEM_CUSTOM) {
        keep(&response->call, (struct bytes){event->text, event->n_text});
        response->n_call_id = event->n_id;
    }
    if (!reply->stream)
        return;
    event_of_item(reply, "response.output_item.added", "in_progress", false);
    event_of_part(reply, false);
}

static void item_done(struct reply *reply)
{
    const struct response *response = reply->of_dialect;
    const char *type = name_of_done(response);
    struct json json;
    if (response->open == ITEM_CUSTOM)
        delta(reply, buf_view(&response->text), bytes_of(""));
    event_in_item(&json, reply, type);
    json_text(&json, items[response->open].text, buf_view(&response->text));
    if (response->open == ITEM_CALL) {
        const size_t n = response->n_call_id;
        json_text(&json, "name", (struct bytes){response->call.p + n, response->call.n - n});
    }
    if (response->open == ITEM_MESSAGE) {
        json_array(&json, "logprobs");
        if (response->chances.n > 0)
            json_splice(&json, NULL, buf_view(&response->chances));
        json_end(&json);
    }
    event_send(&json, reply, type);
    event_of_part(reply, true);
}

// The open item is done, and told no more: it joins the others.
static void item_keep(const struct reply *reply, const char *status)
{
    struct response *response = reply->of_dialect;
    struct json json;
    json_init(&json, SIZE_MAX);
    item_write(&json, NULL, reply, status, true);
    if (response->n_output > 0)
        keep(&response->output, bytes_of(","));
    if (json_done(&json) == OK)
        keep(&response->output, buf_view(&json.text));
    json_free(&json);
    response->n_output++;
    response->open = ITEM_NONE;
}

static void item_close(struct reply *reply, const char *status)
{
    struct response *response = reply->of_dialect;
    if (response->open == ITEM_NONE)
        return;
    if (response->open == ITEM_CUSTOM)
        unwrap(response);
    if (reply->stream) {
        item_done(reply);
        event_of_item(reply, "response.output_item.done", status, true);
    }
    item_keep(reply, status);
}

static bool takes_text(const struct response *response, struct bytes name)
{
    char line[160];
    const int n = snprintf(line, sizeof(line), "\n%.*s\n", (int)(name.n < 150 ? name.n : 150),
                           (const char *)name.p);
    for (size_t i = 0; i + (size_t)n <= response->custom.n; i++)
        if (memcmp(response->custom.p + i, line, (size_t)n) == 0)
            return true;
    return false;
}

static enum response_item kind_of(const struct response *response, const struct event *event)
{
    const struct bytes name = {event->text + event->n_id, event->n_text - event->n_id};
    switch (event->channel) {
    case ANSWER_THINKING:
        return ITEM_REASONING;
    case ANSWER_TOOL_NAME:
        return takes_text(response, name) ? ITEM_CUSTOM : ITEM_CALL;
    case ANSWER_TOOL_ARGUMENTS:
        return response->open;
    default:
        return ITEM_MESSAGE;
    }
}

// ---- the writer -----------------------------------------------------------------------------

static void response_begin(struct reply *reply)
{
    event_of_response(reply, "response.created", "in_progress");
    event_of_response(reply, "response.in_progress", "in_progress");
}

static void response_alive(struct reply *reply)
{
    event_of_response(reply, "response.in_progress", "in_progress");
}

// Log-probabilities of what comes now, as JSON; kept for where the item is told whole.
static void take_chances(struct reply *reply, struct buf *out)
{
    struct response *response = reply->of_dialect;
    struct json json;
    if (!response->logprobs || response->open != ITEM_MESSAGE || reply->chances.n == 0)
        return;
    json_init(&json, SIZE_MAX);
    logprobs_items(&json, buf_view(&reply->chances));
    if (json_done(&json) == OK) { // an array: what is in it
        keep(out, (struct bytes){json.text.p + 1, json.text.n - 2});
        if (response->chances.n > 0)
            keep(&response->chances, bytes_of(","));
        keep(&response->chances, buf_view(out));
    }
    json_free(&json);
    reply->chances.n = 0;
}

static void response_text(struct reply *reply, const struct event *event)
{
    struct response *response = reply->of_dialect;
    const enum response_item kind = kind_of(response, event);
    const struct bytes text = {event->text, event->n_text};
    struct buf chances;
    if (kind == ITEM_NONE || (text.n == 0 && event->channel != ANSWER_TOOL_NAME))
        return;
    if (response->output.n + response->text.n + response->chances.n + text.n >
        RESPONSE_BYTES_MOST) {
        reply_too_long(reply);
        return;
    }
    if (kind != response->open || event->channel == ANSWER_TOOL_NAME) {
        item_close(reply, "completed");
        item_open(reply, kind, event);
    }
    if (event->channel == ANSWER_TOOL_NAME)
        return;
    buf_init(&chances, SIZE_MAX);
    keep(&response->text, text);
    take_chances(reply, &chances);
    if (reply->stream && kind != ITEM_CUSTOM)
        delta(reply, text, buf_view(&chances));
    buf_free(&chances);
}

// The whole, as it is told and kept.
static void response_whole(const struct reply *reply, struct json *json, enum finish finish,
                           const struct usage *usage)
{
    struct response *response = reply->of_dialect;
    const char *status = finish == FINISH_LENGTH ? "incomplete" : "completed";
    json_init(json, 8 * (size_t)RESPONSE_BYTES_MOST);
    response_write(json, NULL, reply, status, usage, NULL);
    if (!response->items || json_done(json) != OK)
        return;
    struct buf object;
    buf_init(&object, SIZE_MAX);
    keep(&object, buf_view(&json->text));
    struct kept_items *all = kept_items_make(response->kept, response->items,
                                             buf_view(&response->output), response->n_output);
    response->items = NULL;
    kept_add(response->kept, response->owner, reply->name, all, object);
}

static void response_end(struct reply *reply, enum finish finish, const struct usage *usage)
{
    const bool cut = finish == FINISH_LENGTH;
    const char *type = cut ? "response.incomplete" : "response.completed";
    struct json json, object;
    exchange_last(reply->exchange);
    item_close(reply, cut ? "incomplete" : "completed");
    response_whole(reply, &object, finish, usage);
    event_open(&json, reply, type);
    if (json_done(&object) == OK)
        json_splice(&json, "response", buf_view(&object.text));
    json_free(&object);
    event_send(&json, reply, type);
}

static void response_fail(struct reply *reply, const struct refusal *refusal)
{
    struct json json;
    exchange_last(reply->exchange);
    event_open(&json, reply, "error");
    json_string(&json, "code", refusal->code);
    json_text(&json, "message", bytes_of(refusal->text));
    json_string(&json, "param", refusal->param);
    event_send(&json, reply, "error");
    event_open(&json, reply, "response.failed");
    response_write(&json, "response", reply, "failed", NULL, refusal);
    event_send(&json, reply, "response.failed");
}

static void response_gathered(const struct reply *reply, struct json *json, enum finish finish,
                              const struct usage *usage)
{
    struct response *response = reply->of_dialect;
    if (response->open == ITEM_CUSTOM)
        unwrap(response);
    if (response->open != ITEM_NONE)
        item_keep(reply, finish == FINISH_LENGTH ? "incomplete" : "completed");
    response_whole(reply, json, finish, usage);
}

const struct writer response_writer = {
    .gathers = true,
    .begin = response_begin,
    .text = response_text,
    .alive = response_alive,
    .end = response_end,
    .fail = response_fail,
    .whole = response_gathered,
};
