// reply.c - the events of a job become its answer: one JSON object at the end, or a stream of
// server-sent events or lines of JSON as they come. How each is written is the dialect's.
//
// A stream's head goes out when the prompt was accepted (EVENT_STARTED): until then a refusal is
// still a plain 4xx. But a client is not left without a head for longer than HEAD_MS, however long
// the queue: a refusal is then an error event. Silence is never longer than HEARTBEAT_MS.
// Invariant: reply->exchange is NULL once the answer is complete or the client is gone; events
// still come, and are dropped.
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool event_is_last(const struct event *event)
{
    return event->kind == EVENT_DONE || event->kind == EVENT_FAILED;
}

void dialect_forget(const struct dialect *dialect, void *of_dialect)
{
    if (of_dialect)
        (dialect->forget ? dialect->forget : free)(of_dialect);
}

static void answered(struct reply *reply)
{
    reply->exchange = NULL;
}

// ---- streams --------------------------------------------------------------------------------

static enum status frame(struct reply *reply, const char *name, struct bytes json)
{
    if (reply->dialect->framing == FRAMES_SSE)
        return sse_event(reply->exchange, name, json);
    return ndjson_data(reply->exchange, json);
}

void reply_named(struct reply *reply, const char *name, struct json *json)
{
    // CLOSED: the client is too slow or gone; net calls gone() from its loop, which cancels the job
    if (json_done(json) == OK && frame(reply, name, buf_view(&json->text)) == OK)
        reply->written_ms = clock_ms();
    json_free(json);
}

void reply_data(struct reply *reply, struct json *json)
{
    reply_named(reply, NULL, json);
}

// What a schema asks for and is not enforced.
static void notes_came(struct reply *reply, struct bytes notes)
{
    size_t n = notes.n < sizeof(reply->notes) ? notes.n : sizeof(reply->notes) - 1;
    memcpy(reply->notes, notes.p, n);
    for (size_t i = 0; i < n; i++) // a header is printable ASCII
        if (reply->notes[i] < ' ' || reply->notes[i] > '~')
            reply->notes[i] = '?';
    reply->notes[n] = 0;
}

static void headers(struct reply *reply)
{
    if (reply->dialect->errors == ERRORS_ANTHROPIC)
        exchange_reply_header(reply->exchange, "request-id", exchange_id(reply->exchange));
    if (reply->notes[0])
        exchange_reply_header(reply->exchange, "x-tawny-schema-notes", reply->notes);
    if (reply->note[0])
        exchange_reply_header(reply->exchange, "x-tawny-notes", reply->note);
}

static void stream_begin(struct reply *reply)
{
    if (reply->started)
        return;
    reply->started = true;
    exchange_reply_header(reply->exchange, "Cache-Control", "no-cache");
    exchange_reply_header(reply->exchange, "X-Accel-Buffering", "no"); // proxies: do not collect it
    headers(reply);
    exchange_stream(reply->exchange, 200,
                    reply->dialect->framing == FRAMES_SSE ? "text/event-stream"
                                                          : "application/x-ndjson");
    reply->dialect->writer->begin(reply);
}

static void stream_alive(struct reply *reply, uint64_t now_ms)
{
    if (now_ms - reply->written_ms >= HEARTBEAT_MS)
        reply->dialect->writer->alive(reply);
}

// ---- ends -----------------------------------------------------------------------------------

// again: the same prompt as before, whose tokens and time are counted once.
static void usage_add(struct usage *sum, const struct usage *usage, bool again)
{
    sum->n_prompt += again ? 0 : usage->n_prompt;
    sum->n_prompt_cached += again ? 0 : usage->n_prompt_cached;
    sum->n_prompt_read += again ? 0 : usage->n_prompt_read;
    sum->prompt_us += again ? 0 : usage->prompt_us;
    sum->n_generated += usage->n_generated;
    sum->n_thinking += usage->n_thinking;
    sum->n_drafted += usage->n_drafted;
    sum->n_draft_kept += usage->n_draft_kept;
    sum->drafted_by |= usage->drafted_by;
    sum->queue_us += usage->queue_us;
    sum->generate_us += usage->generate_us;
}

static void fail(struct reply *reply, const struct err *err);

static void answer_forget(struct reply *reply)
{
    reply->text.n = reply->thinking.n = reply->chances.n = 0;
    reply->chances_at = reply->chances_from = 0;
    for (size_t i = 0; i < reply->n_calls && reply->calls; i++)
        buf_free(&reply->calls[i].text);
    reply->n_calls = 0;
}

// The next of several answers: its job has another number, by which its events find the reply.
static void go_on(struct reply *reply, const struct event *event)
{
    struct api *api = reply->api;
    reply->dialect->writer->part(reply, event->finish);
    if (!reply->exchange) // it was too long
        return;
    answer_forget(reply);
    reply->n_tried = reply->n_tried + 1 < reply->n_tries ? reply->n_tried + 1 : 0;
    reply->index += !choices_pick(reply);
    struct job *job = reply->later[0]; // the engine thread's once it is submitted
    const uint64_t id = ++api->last_id;
    job->id = id;
    reply->echoes = job->ask.echoes;
    if (reply->echo && buf_add(&reply->text, job->ask.prompt.p, job->ask.prompt.n) != OK)
        log_warn("a prompt is too long to be echoed");
    if (sched_submit(api->options.sched, job) != OK) {
        fail(reply, &(struct err){.status = NO_ROOM,
                                  .text = "too many requests are waiting; try again soon"});
        return;
    }
    reply->id = id;
    memmove(reply->later, reply->later + 1, --reply->n_later * sizeof(struct job *));
    if (reply->stream)
        reply->dialect->writer->begin(reply);
}

static void done(struct reply *reply, struct event *event)
{
    logprobs_drop(reply, event->n_done);
    usage_add(&reply->before, &event->usage, reply->n_tried > 0);
    if (reply->n_later > 0) {
        if (reply->stream)
            stream_begin(reply);
        go_on(reply, event);
        return;
    }
    if (choices_pick(reply)) {
        reply->dialect->writer->part(reply, event->finish);
        if (!reply->exchange)
            return;
    }
    event->usage = reply->before;
    reply->stop = (struct bytes){event->text, event->n_text};
    reply->context_full = event->context_full;
    if (reply->stream) {
        stream_begin(reply);
        reply->dialect->writer->end(reply, event->finish, &event->usage);
        exchange_end(reply->exchange);
    } else {
        struct json json;
        headers(reply);
        reply->dialect->writer->whole(reply, &json, event->finish, &event->usage);
        json_reply(reply->exchange, 200, &json);
    }
    answered(reply);
}

static void fail(struct reply *reply, const struct err *err)
{
    struct refusal refusal;
    // sentences on what the answer must be begin with the field that says it
    const char *const fields[] = {reply->constraint, "tools", "suffix", "input_suffix"};
    const char *field = reply->dialect->input;
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        if (fields[i] && strncmp(err->text, fields[i], strlen(fields[i])) == 0)
            field = fields[i];
    if (reply->begun || !load_failed(reply, err, &refusal))
        (void)refuse_err(&refusal, err, field);
    refusal.shape = reply->dialect->errors;
    snprintf(refusal.request, sizeof(refusal.request), "%s", exchange_id(reply->exchange));
    if (err->status == TOO_LARGE) {
        refusal.n_prompt = reply->n_prompt;
        refusal.n_most = reply->n_ctx - 1; // an answer has one
    }
    if (reply->started) {
        reply->dialect->writer->fail(reply, &refusal);
        exchange_end(reply->exchange);
    } else {
        refusal_reply(reply->exchange, &refusal);
    }
    answered(reply);
}

void reply_stop(struct reply *reply)
{
    if (!reply->exchange)
        return;
    sched_cancel(reply->api->options.sched, reply->id);
    fail(reply, &(struct err){.status = CANCELLED, .text = "The server is stopping."});
}

static void take_vectors(struct reply *reply, struct event *event)
{
    reply->vectors = event->vectors;
    reply->n_vectors = event->n_vectors;
    reply->n_vector = event->n_vector;
    event->vectors = NULL;
}

// ---- events ---------------------------------------------------------------------------------

static struct reply_call *call_open(struct reply *reply)
{
    if (reply->n_calls == reply->calls_allocated) {
        reply->calls_allocated = reply->calls_allocated ? 2 * reply->calls_allocated : 4;
        reply->calls = mem_resize(reply->calls, reply->calls_allocated * sizeof(*reply->calls));
    }
    struct reply_call *call = &reply->calls[reply->n_calls];
    *call = (struct reply_call){0};
    buf_init(&call->text, ANSWER_BYTES_MOST);
    return call;
}

// Where the text of an answer that is not streamed goes.
static struct buf *place_of(struct reply *reply, const struct event *event)
{
    switch (event->channel) {
    case ANSWER_THINKING:
        return &reply->thinking;
    case ANSWER_TOOL_NAME: {
        struct reply_call *call = call_open(reply);
        call->n_id = event->n_id;
        call->n_name = event->n_text - event->n_id;
        return &call->text;
    }
    case ANSWER_TOOL_ARGUMENTS:
        return &reply->calls[reply->n_calls - 1].text;
    default:
        return &reply->text;
    }
}

void reply_too_long(struct reply *reply)
{
    static const struct err again = {IO_ERROR,
                                     "the answer is too long to be told again at its end"},
                            whole = {IO_ERROR,
                                     "the answer is too long to be sent whole; stream it"};
    sched_cancel(reply->api->options.sched, reply->id);
    fail(reply, reply->stream ? &again : &whole);
}

static void text_came(struct reply *reply, const struct event *event)
{
    const struct writer *writer = reply->dialect->writer;
    if (reply->echoes) // this is the prompt's text, behind its tokens
        reply->chances_from = reply->chances.n;
    reply->echoes = false;
    if (reply->stream || writer->gathers) {
        if (reply->stream)
            stream_begin(reply);
        writer->text(reply, event);
        reply->n_calls += event->channel == ANSWER_TOOL_NAME;
        return;
    }
    struct buf *place = place_of(reply, event);
    reply->n_calls += event->channel == ANSWER_TOOL_NAME;
    if (event->n_text > ANSWER_BYTES_MOST || reply->n_bytes > ANSWER_BYTES_MOST - event->n_text ||
        buf_add(place, event->text, event->n_text) != OK)
        reply_too_long(reply);
    reply->n_bytes += event->n_text;
}

static void chance_came(struct reply *reply, const struct event *event)
{
    if (logprobs_keep(reply, event) == OK)
        return;
    sched_cancel(reply->api->options.sched, reply->id);
    fail(reply, &(struct err){.status = IO_ERROR,
                              .text = "the log-probabilities are too many to be sent whole; "
                                      "stream them"});
}

void reply_clear(struct reply *reply)
{
    answer_forget(reply);
    free(reply->calls);
    while (reply->n_later > 0)
        job_close(reply->later[--reply->n_later]);
    free(reply->later);
    buf_free(&reply->choices);
    choices_free(reply);
    buf_free(&reply->text);
    buf_free(&reply->thinking);
    buf_free(&reply->chances);
    dialect_forget(reply->dialect, reply->of_dialect);
}

void reply_event(struct reply *reply, struct event *event)
{
    reply->begun = reply->begun || event->kind == EVENT_PROGRESS || event->kind == EVENT_TEXT;
    if (!reply->exchange)
        return;
    switch (event->kind) {
    case EVENT_STARTED:
        reply->n_prompt = event->usage.n_prompt;
        notes_came(reply, (struct bytes){event->text, event->n_text});
        if (reply->stream)
            stream_begin(reply);
        break;
    case EVENT_PROGRESS:
        reply->n_read = event->n_done;
        if (reply->started)
            stream_alive(reply, clock_ms());
        break;
    case EVENT_CHANCE:
        chance_came(reply, event);
        break;
    case EVENT_TEXT:
        text_came(reply, event);
        break;
    case EVENT_DONE:
        take_vectors(reply, event);
        if (event->finish == FINISH_CANCELLED)
            fail(reply, &(struct err){.status = CANCELLED, .text = "The server is stopping."});
        else
            done(reply, event);
        break;
    case EVENT_FAILED:
        reply->n_prompt = event->usage.n_prompt;
        reply->n_ctx = event->n_done;
        fail(reply, &event->err);
        break;
    case EVENT_STATE:
        break;
    }
}

void reply_tick(struct reply *reply, uint64_t now_ms)
{
    if (!reply->exchange || !reply->stream)
        return;
    if (reply->started)
        stream_alive(reply, now_ms);
    else if (now_ms - reply->asked_ms >= HEAD_MS)
        stream_begin(reply);
}
