// anthropic_write.c - how answers of Anthropic's dialect are written: a message, or its events.
//
//   message_start
//   for each block: content_block_start, content_block_delta ..., content_block_stop
//   message_delta (stop_reason and usage), message_stop
//
// An error is an event `error`, behind which nothing comes.
//
// A ping is what keeps a silent stream alive; it also comes first where the stream's head had to go
// out before the prompt was counted, since message_start tells the count. How much of the prompt
// was there already is known later: message_delta has it. What is reused nobody has to mark or to
// pay for, so that nothing counts as written to a cache.
// Blocks are of one kind each: a text behind a thought begins a new one.
#include "anthropic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum block { BLOCK_NONE, BLOCK_TEXT, BLOCK_THINKING, BLOCK_CALL };

struct told { // of a stream
    bool started;
    int32_t n_blocks;
    enum block open;
};

enum { ARGUMENTS_BYTES = 64 << 20 }; // of the tree of a call's arguments

// ---- parts of both --------------------------------------------------------------------------

static void usage_write(struct json *json, const struct usage *usage)
{
    json_object(json, "usage");
    json_whole(json, "input_tokens", usage->n_prompt - usage->n_prompt_cached);
    json_whole(json, "cache_creation_input_tokens", 0);
    json_whole(json, "cache_read_input_tokens", usage->n_prompt_cached);
    json_whole(json, "output_tokens", usage->n_generated);
    json_object(json, "output_tokens_details");
    json_whole(json, "thinking_tokens", usage->n_thinking);
    json_end(json);
    json_string(json, "service_tier", "standard");
    json_end(json);
}

static const char *reason_of(const struct reply *reply, enum finish finish)
{
    if (reply->stop.n > 0)
        return "stop_sequence";
    if (finish == FINISH_LENGTH)
        return reply->context_full ? "model_context_window_exceeded" : "max_tokens";
    return reply->n_calls > 0 ? "tool_use" : "end_turn";
}

// NULL: it has not ended yet.
static void reason_write(struct json *json, const struct reply *reply, const char *reason)
{
    json_string(json, "stop_reason", reason);
    if (reason && reply->stop.n > 0)
        json_text(json, "stop_sequence", reply->stop);
    else
        json_null(json, "stop_sequence");
}

static void message_head(struct json *json, const struct reply *reply)
{
    json_string(json, "id", reply->name);
    json_string(json, "type", "message");
    json_string(json, "role", "assistant");
    json_string(json, "model", reply_model(reply));
}

static void signature(struct json *json, const struct reply *reply)
{
    struct buf text;
    buf_init(&text, 2 * (size_t)ANSWER_BYTES_MOST);
    struct bytes thought = buf_view(&reply->thinking);
    if (reply->thoughts != THOUGHTS_EMPTY)
        thought.n = 0;
    if (signature_write(&text, thought) != OK)
        text.n = 0;
    json_text(json, "signature", buf_view(&text));
    buf_free(&text);
}

// ---- streams --------------------------------------------------------------------------------

static void begin_event(struct json *json, const char *type)
{
    json_init(json, 8 * (size_t)ANSWER_BYTES_MOST);
    json_object(json, NULL);
    json_string(json, "type", type);
}

static void send_event(struct reply *reply, const char *type, struct json *json)
{
    json_end(json);
    reply_named(reply, type, json);
}

static void ping(struct reply *reply)
{
    struct json json;
    begin_event(&json, "ping");
    send_event(reply, "ping", &json);
}

static void message_start(struct reply *reply)
{
    const struct usage usage = {.n_prompt = reply->n_prompt};
    struct told *told = reply->of_dialect;
    struct json json;
    if (told->started)
        return;
    told->started = true;
    begin_event(&json, "message_start");
    json_object(&json, "message");
    message_head(&json, reply);
    json_array(&json, "content");
    json_end(&json);
    reason_write(&json, reply, NULL);
    usage_write(&json, &usage);
    json_end(&json);
    send_event(reply, "message_start", &json);
}

static void stream_alive(struct reply *reply)
{
    if (reply->n_prompt > 0)
        message_start(reply);
    ping(reply);
}

static void stream_begin(struct reply *reply)
{
    reply->of_dialect = mem_alloc(sizeof(struct told));
    if (reply->n_prompt > 0)
        message_start(reply);
    else
        ping(reply);
}

// A delta of the open block: its type, and its one text.
static void begin_delta(struct json *json, const struct told *told, const char *type)
{
    begin_event(json, "content_block_delta");
    json_whole(json, "index", told->n_blocks - 1);
    json_object(json, "delta");
    json_string(json, "type", type);
}

static void end_delta(struct reply *reply, struct json *json)
{
    json_end(json);
    send_event(reply, "content_block_delta", json);
}

static void block_stop(struct reply *reply)
{
    struct told *told = reply->of_dialect;
    struct json json;
    if (told->open == BLOCK_NONE)
        return;
    if (told->open == BLOCK_THINKING) {
        begin_delta(&json, told, "signature_delta");
        signature(&json, reply);
        end_delta(reply, &json);
        reply->thinking.n = 0;
    }
    begin_event(&json, "content_block_stop");
    json_whole(&json, "index", told->n_blocks - 1);
    send_event(reply, "content_block_stop", &json);
    told->open = BLOCK_NONE;
}

// event: of a call, that with its name.
static void block_start(struct reply *reply, enum block kind, const struct event *event)
{
    struct told *told = reply->of_dialect;
    struct json json;
    block_stop(reply);
    begin_event(&json, "content_block_start");
    json_whole(&json, "index", told->n_blocks);
    json_object(&json, "content_block");
    if (kind == BLOCK_TEXT) {
        json_string(&json, "type", "text");
        json_text(&json, "text", bytes_of(""));
    } else if (kind == BLOCK_THINKING) {
        json_string(&json, "type", "thinking");
        json_text(&json, "thinking", bytes_of(""));
        json_text(&json, "signature", bytes_of(""));
    } else {
        json_string(&json, "type", "tool_use");
        json_text(&json, "id", (struct bytes){event->text, event->n_id});
        json_text(&json, "name",
                  (struct bytes){event->text + event->n_id, event->n_text - event->n_id});
        json_object(&json, "input");
        json_end(&json);
    }
    json_end(&json);
    send_event(reply, "content_block_start", &json);
    told->open = kind;
    told->n_blocks++;
}

// A thought that is not told is kept, for its signature; one that is too long for that is lost.
static void keep_thought(struct reply *reply, struct bytes text)
{
    if (buf_add(&reply->thinking, text.p, text.n) != OK)
        log_debug("%s: a thought is too long to be kept", reply->name);
}

static void stream_text(struct reply *reply, const struct event *event)
{
    static const struct {
        enum block block;
        const char *delta, *member;
    } kinds[] = {
        [ANSWER_CONTENT] = {BLOCK_TEXT, "text_delta", "text"},
        [ANSWER_THINKING] = {BLOCK_THINKING, "thinking_delta", "thinking"},
        [ANSWER_TOOL_NAME] = {BLOCK_CALL, NULL, NULL},
        [ANSWER_TOOL_ARGUMENTS] = {BLOCK_CALL, "input_json_delta", "partial_json"},
    };
    const enum answer_channel channel = event->channel;
    const struct bytes text = {event->text, event->n_text};
    const struct told *told = reply->of_dialect;
    struct json json;
    if (channel == ANSWER_THINKING && reply->thoughts == THOUGHTS_LEFT_OUT)
        return;
    message_start(reply);
    if (kinds[channel].block != told->open || channel == ANSWER_TOOL_NAME)
        block_start(reply, kinds[channel].block, event);
    if (channel == ANSWER_THINKING && reply->thoughts == THOUGHTS_EMPTY) {
        keep_thought(reply, text);
        return;
    }
    if (channel == ANSWER_TOOL_NAME || text.n == 0)
        return;
    begin_delta(&json, told, kinds[channel].delta);
    json_text(&json, kinds[channel].member, text);
    end_delta(reply, &json);
}

static void stream_end(struct reply *reply, enum finish finish, const struct usage *usage)
{
    struct json json;
    reply->n_prompt = usage->n_prompt;
    message_start(reply);
    block_stop(reply);
    begin_event(&json, "message_delta");
    json_object(&json, "delta");
    reason_write(&json, reply, reason_of(reply, finish));
    json_end(&json);
    usage_write(&json, usage);
    send_event(reply, "message_delta", &json);
    begin_event(&json, "message_stop");
    send_event(reply, "message_stop", &json);
}

static void stream_fail(struct reply *reply, const struct refusal *refusal)
{
    struct json json;
    json_init(&json, 16384);
    refusal_write(&json, refusal);
    reply_named(reply, "error", &json);
}

// ---- whole answers --------------------------------------------------------------------------

// A call that was cut off has arguments that are no JSON: they go under a name that says so.
static void input_write(struct json *json, struct bytes arguments)
{
    struct arena arena;
    struct value input;
    struct err err;
    arena_init(&arena, ARGUMENTS_BYTES);
    const bool good = arguments.n > 0 && value_read(&input, &arena, arguments, &err) == OK &&
                      input.kind == VALUE_DICT;
    if (good) {
        value_write(json, "input", &input);
    } else {
        json_object(json, "input");
        if (arguments.n > 0)
            json_text(json, "INVALID_JSON", arguments);
        json_end(json);
    }
    arena_free(&arena);
}

static void thinking_write(struct json *json, const struct reply *reply)
{
    if (reply->thinking.n == 0 || reply->thoughts == THOUGHTS_LEFT_OUT)
        return;
    json_object(json, NULL);
    json_string(json, "type", "thinking");
    json_text(json, "thinking",
              reply->thoughts == THOUGHTS_TOLD ? buf_view(&reply->thinking) : bytes_of(""));
    signature(json, reply);
    json_end(json);
}

static void call_write(struct json *json, const struct reply_call *call)
{
    const struct bytes text = buf_view(&call->text);
    const size_t n = call->n_id + call->n_name;
    json_object(json, NULL);
    json_string(json, "type", "tool_use");
    json_text(json, "id", (struct bytes){text.p, call->n_id});
    json_text(json, "name", (struct bytes){text.p + call->n_id, call->n_name});
    input_write(json, (struct bytes){text.p + n, text.n - n});
    json_end(json);
}

static void whole(const struct reply *reply, struct json *json, enum finish finish,
                  const struct usage *usage)
{
    json_init(json, 8 * (size_t)ANSWER_BYTES_MOST);
    json_object(json, NULL);
    message_head(json, reply);
    json_array(json, "content");
    thinking_write(json, reply);
    if (reply->text.n > 0) {
        json_object(json, NULL);
        json_string(json, "type", "text");
        json_text(json, "text", buf_view(&reply->text));
        json_end(json);
    }
    for (size_t i = 0; i < reply->n_calls; i++)
        call_write(json, &reply->calls[i]);
    json_end(json);
    reason_write(json, reply, reason_of(reply, finish));
    usage_write(json, usage);
    json_end(json);
}

const struct writer anthropic_writer = {
    .begin = stream_begin,
    .text = stream_text,
    .alive = stream_alive,
    .end = stream_end,
    .fail = stream_fail,
    .whole = whole,
};

// ---- a count --------------------------------------------------------------------------------

static void count_whole(const struct reply *reply, struct json *json, enum finish finish,
                        const struct usage *usage)
{
    (void)reply, (void)finish;
    json_init(json, 256);
    json_object(json, NULL);
    json_whole(json, "input_tokens", usage->n_prompt);
    json_end(json);
}

const struct writer anthropic_count_writer = {.whole = count_whole}; // it is never streamed
