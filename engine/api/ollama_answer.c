// ollama_answer.c - how Ollama's dialect writes an answer: lines of JSON, or one object.
//
//   {"model","created_at","message":{"role","content"},"done":false}       /api/chat
//   {"model","created_at","response":"...","done":false}                   /api/generate
//
// A thought stands in `thinking` beside an empty content. Tool calls come whole, their arguments as
// an object: in a stream one is kept until what follows it shows that it is complete. Arguments
// that are no object (cut off, or badly written) cannot be sent as a call: they come as content, so
// that nothing is executed and nothing is lost. The last line has `done`, why, and the times in
// nanoseconds. A sign of life is a piece without text, which every client takes. An error inside a
// stream is a line {"error": text}, and the last one.
#include "ollama.h"

#include <stdlib.h>
#include <string.h>

enum { JSON_BYTES_MOST = 8 * ANSWER_BYTES_MOST, ARGUMENTS_ARENA = 64 << 20 };

struct kept { // a reply's of_dialect; the texts lie behind it
    bool generate, raw;
    struct bytes model, said;
    // Of a stream: the call under way, whose id, name and arguments are in reply->thinking.
    bool in_call;
    size_t n_id, n_name;
    int32_t call;
};

static struct kept *kept_of(const struct reply *reply)
{
    return reply->of_dialect;
}

void *ollama_keep(const struct form *form)
{
    const struct ollama_ask *asked = form->asked;
    const struct bytes texts[] = {asked->model, asked->said};
    struct kept *kept = mem_alloc(sizeof(*kept) + texts[0].n + texts[1].n + 1);
    struct bytes *views[] = {&kept->model, &kept->said};
    uint8_t *to = (uint8_t *)(kept + 1);
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        *views[i] = (struct bytes){to, texts[i].n};
        if (texts[i].n > 0)
            memcpy(to, texts[i].p, texts[i].n);
        to += texts[i].n;
    }
    kept->generate = asked->generate;
    kept->raw = asked->raw || asked->suffix.n > 0; // no conversation to go on with
    return kept;
}

// ---- what all objects share -----------------------------------------------------------------

static void head(struct json *json, struct bytes model)
{
    char now[OLLAMA_TIME];
    json_init(json, JSON_BYTES_MOST);
    json_object(json, NULL);
    json_text(json, "model", model);
    json_string(json, "created_at", ollama_time(now, clock_unix_ns()));
}

static void reply_head(struct json *json, const struct reply *reply)
{
    const struct bytes asked = kept_of(reply)->model;
    head(json, asked.n > 0 ? asked : bytes_of(reply_model(reply)));
}

static void call_write(struct json *json, int32_t index, struct bytes id, struct bytes name,
                       const struct value *arguments)
{
    json_object(json, NULL);
    if (id.n > 0)
        json_text(json, "id", id);
    json_object(json, "function");
    json_whole(json, "index", index);
    json_text(json, "name", name);
    value_write(json, "arguments", arguments);
    json_end(json);
    json_end(json);
}

// A call's arguments as an object, on *arena (which is inited); false: they are none. Nothing at
// all is an empty one, unless the answer was cut off there.
static bool arguments_read(struct bytes text, bool is_cut, struct arena *arena, struct value *out)
{
    arena_init(arena, ARGUMENTS_ARENA);
    *out = (struct value){.kind = VALUE_DICT};
    if (text.n == 0)
        return !is_cut;
    return value_read(out, arena, text, NULL) == OK && out->kind == VALUE_DICT;
}

static void times_write(struct json *json, const struct usage *usage)
{
    const uint64_t total_us = usage->queue_us + usage->prompt_us + usage->generate_us;
    json_whole(json, "total_duration", (int64_t)total_us * 1000);
    json_whole(json, "load_duration", 0);
    json_whole(json, "prompt_eval_count", usage->n_prompt);
    json_whole(json, "prompt_eval_duration", (int64_t)usage->prompt_us * 1000);
    json_whole(json, "eval_count", usage->n_generated);
    json_whole(json, "eval_duration", (int64_t)usage->generate_us * 1000);
}

static void end_write(struct json *json, const struct reply *reply, enum finish finish,
                      const struct usage *usage)
{
    const struct kept *kept = kept_of(reply);
    json_bool(json, "done", true);
    json_string(json, "done_reason", finish == FINISH_LENGTH ? "length" : "stop");
    if (kept->generate && !kept->raw)
        ollama_context_write(json, kept->said, buf_view(&reply->text));
    times_write(json, usage);
    json_end(json);
}

// ---- streams --------------------------------------------------------------------------------

// The text of a piece, as content or as a thought; the message stays open.
static void piece_begin(struct json *json, const struct reply *reply, struct bytes content,
                        struct bytes thinking)
{
    reply_head(json, reply);
    if (!kept_of(reply)->generate) {
        json_object(json, "message");
        json_string(json, "role", "assistant");
    }
    json_text(json, kept_of(reply)->generate ? "response" : "content", content);
    if (thinking.n > 0)
        json_text(json, "thinking", thinking);
}

static void message_end(struct json *json, const struct reply *reply)
{
    if (!kept_of(reply)->generate)
        json_end(json);
}

static void piece_end(struct json *json, struct reply *reply)
{
    message_end(json, reply);
    logprobs_array(json, reply);
    reply->chances.n = 0;
    json_bool(json, "done", false);
    json_end(json);
    reply_data(reply, json);
}

static void piece(struct reply *reply, struct bytes content, struct bytes thinking)
{
    struct json json;
    piece_begin(&json, reply, content, thinking);
    piece_end(&json, reply);
}

// Nothing more comes of the call under way; is_cut: nor of the answer, which was cut off.
static void call_ends(struct reply *reply, bool is_cut)
{
    struct kept *kept = kept_of(reply);
    const struct bytes all = buf_view(&reply->thinking), none = {NULL, 0};
    if (!kept->in_call)
        return;
    kept->in_call = false;
    const size_t n_head = kept->n_id + kept->n_name;
    const struct bytes id = {all.p, kept->n_id}, name = {all.p + kept->n_id, kept->n_name},
                       text = {all.p + n_head, all.n - n_head};
    struct arena arena;
    struct value arguments;
    struct json json;
    if (arguments_read(text, is_cut, &arena, &arguments)) {
        piece_begin(&json, reply, none, none);
        json_array(&json, "tool_calls");
        call_write(&json, kept->call++, id, name, &arguments);
        json_end(&json);
        piece_end(&json, reply);
    } else {
        piece(reply, (struct bytes){name.p, all.n - kept->n_id}, none);
    }
    arena_free(&arena);
    reply->thinking.n = 0;
}

static void stream_begin(struct reply *reply)
{
    (void)reply; // the first piece is the first word
}

static void keep(struct buf *buf, struct bytes text)
{
    if (buf_add(buf, text.p, text.n) != OK)
        log_debug("an answer is too long to be kept whole");
}

static void stream_text(struct reply *reply, const struct event *event)
{
    struct kept *kept = kept_of(reply);
    const struct bytes text = {event->text, event->n_text}, none = {NULL, 0};
    if (event->channel != ANSWER_TOOL_ARGUMENTS)
        call_ends(reply, false);
    switch (event->channel) {
    case ANSWER_CONTENT:
        if (kept->generate && !kept->raw)
            keep(&reply->text, text);
        piece(reply, text, none);
        break;
    case ANSWER_THINKING:
        piece(reply, none, text);
        break;
    case ANSWER_TOOL_NAME:
        kept->in_call = true;
        kept->n_id = event->n_id;
        kept->n_name = event->n_text - event->n_id;
        keep(&reply->thinking, text);
        break;
    case ANSWER_TOOL_ARGUMENTS:
        keep(&reply->thinking, text);
        break;
    }
}

static void stream_alive(struct reply *reply)
{
    piece(reply, (struct bytes){NULL, 0}, (struct bytes){NULL, 0});
}

static void stream_end(struct reply *reply, enum finish finish, const struct usage *usage)
{
    const struct bytes none = {NULL, 0};
    struct json json;
    call_ends(reply, finish == FINISH_LENGTH);
    piece_begin(&json, reply, none, none);
    message_end(&json, reply);
    logprobs_array(&json, reply);
    end_write(&json, reply, finish, usage);
    reply_data(reply, &json);
}

static void stream_fail(struct reply *reply, const struct refusal *refusal)
{
    struct json json;
    json_init(&json, 16384);
    refusal_write(&json, refusal);
    reply_data(reply, &json);
}

// ---- whole answers --------------------------------------------------------------------------

// As arguments_read, of call i.
static bool arguments_of(const struct reply *reply, size_t i, enum finish finish,
                         struct arena *arena, struct value *out)
{
    const struct reply_call *call = &reply->calls[i];
    const size_t n = call->n_id + call->n_name;
    const struct bytes text = {call->text.p + n, call->text.n - n};
    return arguments_read(text, finish == FINISH_LENGTH && i == reply->n_calls - 1, arena, out);
}

// The content, and behind it the calls that are none.
static void content_write(struct json *json, const struct reply *reply, enum finish finish)
{
    struct buf content;
    buf_init(&content, SIZE_MAX);
    keep(&content, buf_view(&reply->text));
    for (size_t i = 0; i < reply->n_calls; i++) {
        const struct reply_call *call = &reply->calls[i];
        struct arena arena;
        struct value arguments;
        if (!arguments_of(reply, i, finish, &arena, &arguments))
            keep(&content, (struct bytes){call->text.p + call->n_id, call->text.n - call->n_id});
        arena_free(&arena);
    }
    json_text(json, kept_of(reply)->generate ? "response" : "content", buf_view(&content));
    buf_free(&content);
}

static void calls_write(struct json *json, const struct reply *reply, enum finish finish)
{
    int32_t n = 0;
    for (size_t i = 0; i < reply->n_calls; i++) {
        const struct reply_call *call = &reply->calls[i];
        const struct bytes id = {call->text.p, call->n_id},
                           name = {call->text.p + call->n_id, call->n_name};
        struct arena arena;
        struct value arguments;
        if (arguments_of(reply, i, finish, &arena, &arguments)) {
            if (n == 0)
                json_array(json, "tool_calls");
            call_write(json, n++, id, name, &arguments);
        }
        arena_free(&arena);
    }
    if (n > 0)
        json_end(json);
}

static void whole(const struct reply *reply, struct json *json, enum finish finish,
                  const struct usage *usage)
{
    reply_head(json, reply);
    if (!kept_of(reply)->generate) {
        json_object(json, "message");
        json_string(json, "role", "assistant");
    }
    content_write(json, reply, finish);
    if (reply->thinking.n > 0)
        json_text(json, "thinking", buf_view(&reply->thinking));
    calls_write(json, reply, finish);
    message_end(json, reply);
    logprobs_array(json, reply);
    end_write(json, reply, finish, usage);
}

void ollama_nothing(struct exchange *exchange, struct bytes model, bool generate,
                    const char *reason)
{
    struct json json;
    head(&json, model);
    if (!generate) {
        json_object(&json, "message");
        json_string(&json, "role", "assistant");
    }
    json_text(&json, generate ? "response" : "content", bytes_of(""));
    if (!generate)
        json_end(&json);
    json_bool(&json, "done", true);
    json_string(&json, "done_reason", reason);
    json_end(&json);
    json_reply(exchange, 200, &json);
}

const struct writer ollama_lines = {
    .begin = stream_begin,
    .text = stream_text,
    .alive = stream_alive,
    .end = stream_end,
    .fail = stream_fail,
    .whole = whole,
};
