// reply.c - the events of a job become its answer: one JSON object at the end, or server-sent
// events as they come.
//
// A stream's head goes out when the prompt was accepted (EVENT_STARTED), not before: until then a
// refusal is still a plain 4xx. While a prompt is being read, comment lines (": ...") keep the
// stream alive; clients skip them. An error inside a stream is a `data: {"error":...}` event, as
// OpenAI's clients expect, and [DONE] follows it. Invariant: running->exchange is NULL once the
// answer is complete or the client is gone; events still come, and are dropped.
#include "inside.h"

#include <stdio.h>

bool event_is_last(const struct event *event)
{
    return event->kind == EVENT_DONE || event->kind == EVENT_FAILED;
}

static void answered(struct running *running)
{
    running->exchange = NULL;
}

// What every object of an answer begins with. `kind`: OpenAI's object name.
static enum status json_head(struct buf *out, const struct running *running, const char *kind)
{
    enum status status = buf_format(
        out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", running->name, kind,
        (long long)running->created);
    if (status == OK)
        status = buf_json(out, bytes_of(sched_status(running->api->options.sched)->model.id));
    if (status == OK)
        status = buf_format(out, ",\"system_fingerprint\":\"tawny-%s\"", running->api->version);
    return status;
}

static const char *finish_name(enum finish finish)
{
    return finish == FINISH_LENGTH ? "length" : "stop";
}

static double per_second(int32_t n, uint64_t us)
{
    return us ? n * 1e6 / (double)us : 0;
}

static enum status json_usage(struct buf *out, const struct usage *usage)
{
    int32_t n_read = usage->n_prompt - usage->n_prompt_cached;
    enum status status =
        buf_format(out,
                   "\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d,"
                   "\"prompt_tokens_details\":{\"cached_tokens\":%d}}",
                   (int)usage->n_prompt, (int)usage->n_generated,
                   (int)(usage->n_prompt + usage->n_generated), (int)usage->n_prompt_cached);
    if (status == OK) // an extension, named as peers do
        status = buf_format(
            out,
            ",\"timings\":{\"queue_ms\":%.1f,\"prompt_n\":%d,\"prompt_ms\":%.1f,\"prompt_per_"
            "second\":%.1f,"
            "\"predicted_n\":%d,\"predicted_ms\":%.1f,\"predicted_per_second\":%.1f}",
            (double)usage->queue_us / 1e3, (int)n_read, (double)usage->prompt_us / 1e3,
            per_second(n_read, usage->prompt_us), (int)usage->n_generated,
            (double)usage->generate_us / 1e3,
            per_second(usage->n_generated > 1 ? usage->n_generated - 1 : 0, usage->generate_us));
    return status;
}

// ---- streams --------------------------------------------------------------------------------

static void stream_json(struct running *running, struct buf *json, enum status status)
{
    // CLOSED: the client is too slow or gone; net calls gone() from its loop, which cancels the job
    if (status == OK && sse_data(running->exchange, buf_view(json)) == OK)
        running->written_ms = clock_ms();
    buf_free(json);
}

// One chunk. delta: what goes into the choice before finish_reason; NULL finish: null.
static void stream_chunk(struct running *running, bool role, struct bytes text, const char *finish)
{
    struct buf json;
    buf_init(&json, ANSWER_BYTES_MOST);
    enum status status =
        json_head(&json, running, running->chat ? "chat.completion.chunk" : "text_completion");
    if (status == OK)
        status = buf_format(&json, ",\"choices\":[{\"index\":0,%s",
                            running->chat ? "\"delta\":{" : "\"text\":");
    if (status == OK && role)
        status = buf_format(&json, "\"role\":\"assistant\",");
    if (status == OK && running->chat && (text.n || role))
        status = buf_format(&json, "\"content\":");
    if (status == OK && (text.n || role || !running->chat))
        status = buf_json(&json, text);
    if (status == OK)
        status =
            buf_format(&json, "%s,\"logprobs\":null,\"finish_reason\":", running->chat ? "}" : "");
    if (status == OK)
        status = finish ? buf_format(&json, "\"%s\"", finish) : buf_format(&json, "null");
    if (status == OK)
        status = buf_format(&json, "}]%s}", running->include_usage ? ",\"usage\":null" : "");
    stream_json(running, &json, status);
}

static void stream_begin(struct running *running)
{
    exchange_reply_header(running->exchange, "Cache-Control", "no-cache");
    exchange_reply_header(running->exchange, "X-Accel-Buffering",
                          "no"); // proxies: do not collect it
    exchange_stream(running->exchange, 200, "text/event-stream");
    running->started = true;
    if (running->chat)
        stream_chunk(running, true, (struct bytes){NULL, 0}, NULL);
    else if (running->text.n)
        stream_chunk(running, false, buf_view(&running->text), NULL); // the echo
}

static void stream_usage(struct running *running, const struct usage *usage)
{
    struct buf json;
    buf_init(&json, 4096);
    enum status status =
        json_head(&json, running, running->chat ? "chat.completion.chunk" : "text_completion");
    if (status == OK)
        status = buf_format(&json, ",\"choices\":[],");
    if (status == OK)
        status = json_usage(&json, usage);
    if (status == OK)
        status = buf_format(&json, "}");
    stream_json(running, &json, status);
}

static void stream_end(struct running *running, const struct event *event)
{
    stream_chunk(running, false, (struct bytes){NULL, 0}, finish_name(event->finish));
    if (running->include_usage)
        stream_usage(running, &event->usage);
    if (sse_data(running->exchange, bytes_of("[DONE]")) != OK)
        log_debug("%s: the client left before the end", running->name);
    exchange_end(running->exchange);
    answered(running);
}

// ---- whole answers --------------------------------------------------------------------------

static void whole_reply(struct running *running, const struct event *event)
{
    struct buf json;
    buf_init(&json, 8 * (size_t)ANSWER_BYTES_MOST);
    enum status status =
        json_head(&json, running, running->chat ? "chat.completion" : "text_completion");
    if (status == OK)
        status = buf_format(&json, ",\"choices\":[{\"index\":0,%s",
                            running->chat ? "\"message\":{\"role\":\"assistant\",\"content\":"
                                          : "\"text\":");
    if (status == OK)
        status = buf_json(&json, buf_view(&running->text));
    if (status == OK)
        status = buf_format(&json, "%s,\"logprobs\":null,\"finish_reason\":\"%s\"}],",
                            running->chat ? ",\"refusal\":null}" : "", finish_name(event->finish));
    if (status == OK)
        status = json_usage(&json, &event->usage);
    if (status == OK)
        status = buf_format(&json, "}");
    json_reply(running->exchange, 200, &json, status);
    answered(running);
}

// ---- failures -------------------------------------------------------------------------------

static void failed(struct running *running, const struct err *err)
{
    struct refusal refusal;
    const char *param = running->chat ? "messages" : "prompt";
    if (err->status == TOO_LARGE)
        (void)refuse(&refusal, 400, "context_length_exceeded", param, "%s", err->text);
    else if (err->status == BAD_INPUT || err->status == UNSUPPORTED)
        (void)refuse(&refusal, 400, NULL, param, "%s", err->text);
    else
        (void)refuse(&refusal, status_http_code(err->status), NULL, NULL, "%s", err->text);
    if (!running->started) {
        refusal_reply(running->exchange, &refusal);
    } else {
        struct buf json;
        buf_init(&json, 16384);
        stream_json(running, &json, refusal_json(&json, &refusal));
        if (sse_data(running->exchange, bytes_of("[DONE]")) != OK)
            log_debug("%s: the client left before the end", running->name);
        exchange_end(running->exchange);
    }
    answered(running);
}

void running_stop(struct running *running)
{
    if (!running->exchange)
        return;
    sched_cancel(running->api->options.sched, running->id);
    failed(running, &(struct err){.status = CANCELLED, .text = "The server is stopping."});
}

// ---- events ---------------------------------------------------------------------------------

static void text_came(struct running *running, struct bytes text)
{
    if (running->stream) {
        stream_chunk(running, false, text, NULL);
        return;
    }
    if (running->text.n > ANSWER_BYTES_MOST - text.n ||
        buf_add(&running->text, text.p, text.n) != OK) {
        sched_cancel(running->api->options.sched, running->id);
        failed(running,
               &(struct err){.status = IO_ERROR,
                             .text = "the answer is too long to be sent whole; stream it"});
    }
}

static void progress(struct running *running, const struct event *event)
{
    if (!running->started || clock_ms() - running->written_ms < 1000)
        return;
    char text[64];
    (void)snprintf(text, sizeof(text), "prompt %d of %d tokens", (int)event->n_done,
                   (int)event->usage.n_prompt);
    if (sse_comment(running->exchange, text) == OK)
        running->written_ms = clock_ms();
}

void running_event(struct running *running, const struct event *event)
{
    if (!running->exchange)
        return;
    running->begun = running->begun || event->kind == EVENT_PROGRESS || event->kind == EVENT_TEXT;
    switch (event->kind) {
    case EVENT_STARTED:
        if (running->stream)
            stream_begin(running);
        break;
    case EVENT_PROGRESS:
        progress(running, event);
        break;
    case EVENT_TEXT:
        text_came(running, (struct bytes){event->text, event->n_text});
        break;
    case EVENT_DONE:
        if (event->finish == FINISH_CANCELLED)
            failed(running, &(struct err){.status = CANCELLED, .text = "the server is stopping"});
        else if (running->stream)
            stream_end(running, event);
        else
            whole_reply(running, event);
        break;
    case EVENT_FAILED:
        failed(running, &event->err);
        break;
    case EVENT_STATE:
        break;
    }
}

void running_tick(struct running *running, uint64_t now_ms)
{
    if (running->exchange && running->started && now_ms - running->written_ms >= HEARTBEAT_MS &&
        sse_comment(running->exchange, "waiting") == OK)
        running->written_ms = now_ms;
}
