// api_reply.c - events of the engine become answers: streams, whole answers, failures before and
// inside a stream, heartbeats.
//
// net's and sched's functions are stand-ins that write down what was sent; every JSON sent is
// parsed again here.
#include "../../engine/api/chores.h"
#include "../../engine/api/ollama.h"
#include "check.h"

#include <stdlib.h>

// ---- the stand-ins
// ---------------------------------------------------------------------------------------

static struct {
    int http, n_ends, n_cancels;
    char type[64], fields[400]; // header fields: "name: value\n"
    struct buf data[64];        // each event's, or the one reply
    const char *name[64];       // of each event; NULL: it has none
    size_t n_data;
    bool closed; // the client is too slow
} sent;

static struct api api;
static struct reply reply;
static struct sched_status state = {.state = SCHED_READY, .model = {.id = "m\"1"}};

static void keep(struct bytes text)
{
    if (CHECK(sent.n_data < COUNT_OF(sent.data))) {
        buf_init(&sent.data[sent.n_data], 64 << 20);
        CHECK(buf_add(&sent.data[sent.n_data], text.p, text.n) == OK);
        sent.n_data++;
    }
}

void exchange_reply_header(struct exchange *exchange, const char *name, const char *value)
{
    (void)exchange;
    size_t n = strlen(sent.fields);
    snprintf(sent.fields + n, sizeof(sent.fields) - n, "%s: %s\n", name, value);
}

void exchange_stream(struct exchange *exchange, int code, const char *content_type)
{
    (void)exchange;
    CHECK(sent.http == 0);
    sent.http = code;
    snprintf(sent.type, sizeof(sent.type), "%s", content_type);
}

void exchange_reply(struct exchange *exchange, int code, const char *content_type,
                    struct bytes body)
{
    exchange_stream(exchange, code, content_type);
    keep(body);
    sent.n_ends++;
}

const char *exchange_id(const struct exchange *exchange)
{
    CHECK(exchange);
    return "req_1a";
}

void exchange_end(struct exchange *exchange)
{
    (void)exchange;
    sent.n_ends++;
}

enum status sse_event(struct exchange *exchange, const char *name, struct bytes json)
{
    CHECK(exchange && sent.n_ends == 0);
    if (sent.closed)
        return CLOSED;
    sent.name[sent.n_data] = name;
    keep(json);
    return OK;
}

enum status sse_data(struct exchange *exchange, struct bytes json)
{
    return sse_event(exchange, NULL, json);
}

enum status ndjson_data(struct exchange *exchange, struct bytes json)
{
    return sse_event(exchange, NULL, json);
}

const struct sched_status *sched_status(const struct sched *sched)
{
    (void)sched;
    return &state;
}

void sched_cancel(struct sched *sched, uint64_t job_id)
{
    (void)sched;
    CHECK(job_id == reply.id);
    sent.n_cancels++;
}

static size_t n_submitted;

enum status sched_submit(struct sched *sched, struct job *job)
{
    (void)sched;
    CHECK(job->id == api.last_id);
    n_submitted++;
    free(job);
    return OK;
}

void job_close(struct job *job)
{
    free(job);
}

void chore_job(struct api *of, struct exchange *exchange, enum chore_kind kind,
               const struct ask *ask, const struct chore_teller *teller, struct bytes said)
{
    (void)of, (void)exchange, (void)kind, (void)ask, (void)teller, (void)said;
}

// ---- events -------------------------------------------------------------------------------------

static void begin_as(const struct dialect *dialect, const char *name, bool stream,
                     bool include_usage)
{
    static int exchange;
    while (sent.n_data > 0)
        buf_free(&sent.data[--sent.n_data]);
    memset(&sent, 0, sizeof(sent));
    snprintf(api.version, sizeof(api.version), "0");
    reply_clear(&reply);
    reply = (struct reply){.api = &api,
                           .exchange = (struct exchange *)&exchange,
                           .id = 9,
                           .dialect = dialect,
                           .stream = stream,
                           .include_usage = include_usage,
                           .asked_ms = clock_ms(),
                           .written_ms = clock_ms()};
    snprintf(reply.name, sizeof(reply.name), "%s", name);
    buf_init(&reply.text, 3 * (size_t)ANSWER_BYTES_MOST);
    buf_init(&reply.thinking, ANSWER_BYTES_MOST);
}

static void begin(bool chat, bool stream, bool include_usage)
{
    begin_as(chat ? &openai_chat : &openai_completions, "chatcmpl-1", stream, include_usage);
}

static struct event *event_make(enum event_kind kind, struct bytes text)
{
    struct event *event = mem_alloc(sizeof(*event) + text.n + 1);
    event->kind = kind;
    event->job_id = 9;
    event->n_text = text.n;
    event->usage = (struct usage){
        .n_prompt = 10, .n_prompt_cached = 4, .n_generated = 3, .prompt_us = 5, .generate_us = 7};
    event->n_done = 6;
    if (text.n)
        memcpy(event->text, text.p, text.n);
    return event;
}

static void happens(enum event_kind kind, const char *text)
{
    struct event *event = event_make(kind, bytes_of(text));
    reply_event(&reply, event);
    free(event);
}

static void fails(enum status status, const char *text)
{
    struct event *event = event_make(EVENT_FAILED, (struct bytes){NULL, 0});
    err_set(&event->err, status, "%s", text);
    reply_event(&reply, event);
    free(event);
}

static void ends(enum finish finish, const char *stop, bool context_full)
{
    struct event *event = event_make(EVENT_DONE, bytes_of(stop));
    event->finish = finish;
    event->n_done = 0;
    event->context_full = context_full;
    reply_event(&reply, event);
    free(event);
}

// A member of the n-th JSON sent, by a JSON pointer (RFC 6901), as text; "?" when it is not there.
static const char *sent_at(size_t n, const char *pointer)
{
    static char text[200];
    yyjson_doc *doc =
        n < sent.n_data ? yyjson_read((char *)sent.data[n].p, sent.data[n].n, 0) : NULL;
    yyjson_val *value = doc ? yyjson_doc_ptr_get(doc, pointer) : NULL;
    if (!value)
        snprintf(text, sizeof(text), "?");
    else if (yyjson_is_str(value))
        snprintf(text, sizeof(text), "%s", yyjson_get_str(value));
    else if (yyjson_is_null(value))
        snprintf(text, sizeof(text), "null");
    else
        snprintf(text, sizeof(text), "%lld", (long long)yyjson_get_num(value));
    yyjson_doc_free(doc);
    return text;
}

// ---- the tests ----------------------------------------------------------------------------------

static void test_stream(void)
{
    begin(true, true, true);
    happens(EVENT_STARTED, "");
    CHECK(sent.http == 200 && sent.n_data == 1);
    CHECK_TEXT(sent.type, "text/event-stream");
    CHECK_TEXT(sent_at(0, "/choices/0/delta/role"), "assistant");
    CHECK_TEXT(sent_at(0, "/model"), "m\"1");
    CHECK_TEXT(sent_at(0, "/usage"), "null");
    happens(EVENT_TEXT, "a \"b\"\n\x01");
    CHECK_TEXT(sent_at(1, "/choices/0/delta/content"), "a \"b\"\n\x01");
    CHECK_TEXT(sent_at(1, "/choices/0/finish_reason"), "null");
    happens(EVENT_DONE, "");
    CHECK(sent.n_data == 5 && sent.n_ends == 1 && !reply.exchange);
    CHECK_TEXT(sent_at(2, "/choices/0/finish_reason"), "stop");
    CHECK_TEXT(sent_at(2, "/choices/0/delta/content"), "?");
    CHECK_TEXT(sent_at(3, "/usage/total_tokens"), "13");
    CHECK_TEXT(sent_at(3, "/usage/prompt_tokens_details/cached_tokens"), "4");
    CHECK_TEXT(sent_at(3, "/choices/0"), "?");
    CHECK(bytes_equal_text(buf_view(&sent.data[4]), "[DONE]"));
    happens(EVENT_TEXT, "late"); // dropped
    CHECK(sent.n_data == 5);
}

static void test_completions(void)
{
    begin(false, true, false);
    CHECK(buf_add(&reply.text, "echo", 4) == OK);
    happens(EVENT_STARTED, "");
    happens(EVENT_TEXT, "x");
    ends(FINISH_LENGTH, "", false);
    CHECK(sent.n_data == 4);
    CHECK_TEXT(sent_at(0, "/choices/0/text"), "echo");
    CHECK_TEXT(sent_at(1, "/choices/0/text"), "x");
    CHECK_TEXT(sent_at(1, "/usage"), "?");
    CHECK_TEXT(sent_at(2, "/choices/0/text"), "");
    CHECK_TEXT(sent_at(2, "/choices/0/finish_reason"), "length");
    CHECK_TEXT(sent_at(2, "/object"), "text_completion");
}

// Several answers: n told to each prompt, of so many written.
static void begin_choices(bool chat, bool stream, size_t n_later, size_t n_choices, size_t n_tries)
{
    begin(chat, stream, true);
    n_submitted = 0;
    reply.n_choices = n_choices;
    reply.n_tries = n_tries;
    reply.later = mem_array(n_later, sizeof(struct job *));
    for (reply.n_later = 0; reply.n_later < n_later; reply.n_later++)
        reply.later[reply.n_later] = mem_alloc(sizeof(struct job));
    buf_init(&reply.choices, 1 << 20);
    buf_init(&reply.chances, SIZE_MAX);
}

// Three prompts: each has its index, and the usage is that of all.
#define begin_parts(stream) begin_choices(false, stream, 2, 1, 1)
static void test_parts(void)
{
    begin_parts(true);
    happens(EVENT_STARTED, "");
    for (int i = 0; i < 3; i++) {
        CHECK(n_submitted == (size_t)i && sent.n_data == 2 * (size_t)i && reply.exchange);
        happens(EVENT_TEXT, "x");
        happens(EVENT_DONE, "");
        CHECK(sent_at(2 * (size_t)i, "/choices/0/index")[0] == '0' + i);
        CHECK(sent_at(2 * (size_t)i + 1, "/choices/0/index")[0] == '0' + i);
        CHECK_TEXT(sent_at(2 * (size_t)i + 1, "/choices/0/finish_reason"), "stop");
    }
    CHECK(sent.n_data == 8 && sent.n_ends == 1 && !reply.exchange);
    CHECK_TEXT(sent_at(6, "/usage/prompt_tokens"), "30");
    CHECK_TEXT(sent_at(6, "/usage/completion_tokens"), "9");
    begin_parts(false);
    happens(EVENT_TEXT, "one");
    happens(EVENT_DONE, "");
    happens(EVENT_TEXT, "two");
    happens(EVENT_DONE, "");
    happens(EVENT_DONE, "");
    CHECK(sent.n_data == 1 && sent.n_ends == 1);
    CHECK_TEXT(sent_at(0, "/choices/0/text"), "one");
    CHECK_TEXT(sent_at(0, "/choices/1/text"), "two");
    CHECK_TEXT(sent_at(0, "/choices/1/index"), "1");
    CHECK_TEXT(sent_at(0, "/choices/2/text"), "");
    CHECK_TEXT(sent_at(0, "/choices/2/index"), "2");
    CHECK_TEXT(sent_at(0, "/usage/total_tokens"), "39");
    // one that fails ends all
    begin_parts(false);
    happens(EVENT_DONE, "");
    fails(BAD_INPUT, "the prompt is empty");
    CHECK(sent.http == 400 && n_submitted == 1 && reply.n_later == 1);
    CHECK_TEXT(sent_at(0, "/error/param"), "prompt");
}

static void says(enum answer_channel channel, int32_t call, const char *id, const char *text)
{
    char both[100];
    snprintf(both, sizeof(both), "%s%s", id, text);
    struct event *event = event_make(EVENT_TEXT, bytes_of(both));
    event->channel = channel;
    event->call = call;
    event->n_id = strlen(id);
    reply_event(&reply, event);
    free(event);
}

// A token of this log-probability, and its text.
static void token(float log, const char *text)
{
    uint8_t chance[64];
    const uint16_t n = (uint16_t)strlen(text);
    const int32_t id = 5;
    memcpy(chance, &log, 4);
    memcpy(chance + 4, &n, 2);
    memcpy(chance + 6, text, n);
    memcpy(chance + 6 + n, &id, 4);
    struct event *event = event_make(EVENT_CHANCE, (struct bytes){chance, 10 + (size_t)n});
    event->n_done = 0;
    reply_event(&reply, event);
    free(event);
    happens(EVENT_TEXT, text);
}

static void test_choices(void)
{
    // calls and thoughts of one answer are not the next one's
    begin_choices(true, false, 2, 3, 3);
    happens(EVENT_STARTED, "");
    says(ANSWER_THINKING, 0, "", "hm");
    says(ANSWER_TOOL_NAME, 0, "call_1", "f");
    says(ANSWER_TOOL_ARGUMENTS, 0, "", "{}");
    ends(FINISH_STOP, "", false);
    happens(EVENT_TEXT, "two");
    ends(FINISH_LENGTH, "", false);
    says(ANSWER_TOOL_NAME, 0, "call_2", "g");
    ends(FINISH_STOP, "", false);
    CHECK(sent.n_data == 1 && n_submitted == 2);
    CHECK_TEXT(sent_at(0, "/choices/0/message/tool_calls/0/id"), "call_1");
    CHECK_TEXT(sent_at(0, "/choices/0/finish_reason"), "tool_calls");
    CHECK_TEXT(sent_at(0, "/choices/1/index"), "1");
    CHECK_TEXT(sent_at(0, "/choices/1/message/content"), "two");
    CHECK_TEXT(sent_at(0, "/choices/1/message/reasoning_content"), "?");
    CHECK_TEXT(sent_at(0, "/choices/1/message/tool_calls"), "?");
    CHECK_TEXT(sent_at(0, "/choices/1/finish_reason"), "length");
    CHECK_TEXT(sent_at(0, "/choices/2/index"), "2");
    CHECK_TEXT(sent_at(0, "/choices/2/message/tool_calls/0/function/name"), "g");
    CHECK_TEXT(sent_at(0, "/choices/3"), "?");
    // the prompt is counted once
    CHECK_TEXT(sent_at(0, "/usage/prompt_tokens"), "10");
    CHECK_TEXT(sent_at(0, "/usage/prompt_tokens_details/cached_tokens"), "4");
    CHECK_TEXT(sent_at(0, "/usage/completion_tokens"), "9");
    CHECK_TEXT(sent_at(0, "/timings/prompt_n"), "6");
}

static void test_choices_stream(void)
{
    begin_choices(true, true, 1, 2, 2);
    happens(EVENT_STARTED, "");
    says(ANSWER_TOOL_NAME, 0, "call_1", "f");
    ends(FINISH_STOP, "", false);
    happens(EVENT_TEXT, "two");
    ends(FINISH_STOP, "", false);
    CHECK(sent.n_data == 8 && sent.n_ends == 1);
    for (size_t i = 0; i < 6; i++)
        CHECK(sent_at(i, "/choices/0/index")[0] == (i < 3 ? '0' : '1'));
    CHECK_TEXT(sent_at(2, "/choices/0/finish_reason"), "tool_calls");
    CHECK_TEXT(sent_at(3, "/choices/0/delta/role"), "assistant");
    CHECK_TEXT(sent_at(4, "/choices/0/delta/content"), "two");
    CHECK_TEXT(sent_at(5, "/choices/0/finish_reason"), "stop");
    CHECK_TEXT(sent_at(6, "/usage/total_tokens"), "16");
}

// Two prompts, the two best of three answers to each: by the mean, not the sum.
static void test_best(void)
{
    begin_choices(false, false, 5, 2, 3);
    happens(EVENT_STARTED, "");
    token(-2, "a");
    ends(FINISH_STOP, "", false);
    token(-1.5F, "b"), token(-1.5F, "b");
    ends(FINISH_LENGTH, "", false);
    token(-3, "c");
    ends(FINISH_STOP, "", false);
    reply.echoes = true; // the tokens of a prompt do not count
    token(-9, "p");
    token(-1, "d");
    ends(FINISH_STOP, "", false);
    token(-2, "e");
    ends(FINISH_STOP, "", false);
    CHECK(sent.n_data == 0);
    token(-0.5F, "f");
    ends(FINISH_STOP, "", false);
    CHECK(sent.n_data == 1 && n_submitted == 5 && !reply.exchange);
    static const char *const texts[] = {"bb", "a", "f", "pd"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        char path[40];
        snprintf(path, sizeof(path), "/choices/%zu/text", i);
        CHECK_TEXT(sent_at(0, path), texts[i]);
        snprintf(path, sizeof(path), "/choices/%zu/index", i);
        CHECK(sent_at(0, path)[0] == '0' + (char)i);
        snprintf(path, sizeof(path), "/choices/%zu/logprobs", i);
        CHECK_TEXT(sent_at(0, path), "null");
    }
    CHECK_TEXT(sent_at(0, "/choices/0/finish_reason"), "length");
    CHECK_TEXT(sent_at(0, "/choices/4"), "?");
    CHECK_TEXT(sent_at(0, "/usage/prompt_tokens"), "20");
    CHECK_TEXT(sent_at(0, "/usage/completion_tokens"), "18");
    // more than may be held of them is refused, also by the last
    for (int last = 0; last < 2; last++) {
        begin_choices(false, false, 1, 1, 2);
        reply.choices.cap_bytes = last ? 20 : 1 << 20;
        token(-1, "a"), ends(FINISH_STOP, "", false);
        token(-1, "b"), ends(FINISH_STOP, "", false);
        CHECK(sent.http == (last ? 500 : 200) && sent.n_data == 1 && !reply.exchange);
    }
    // one that ends before all are written leaves nothing behind
    begin_choices(false, false, 2, 1, 3);
    token(-1, "a"), ends(FINISH_STOP, "", false);
    fails(BAD_INPUT, "the prompt is empty");
    CHECK(sent.http == 400 && reply.n_later == 1);
}

static void test_whole(void)
{
    begin(true, false, false);
    happens(EVENT_STARTED, "");
    happens(EVENT_TEXT, "one ");
    happens(EVENT_PROGRESS, "");
    happens(EVENT_TEXT, "two");
    CHECK(sent.n_data == 0 && sent.http == 0);
    happens(EVENT_DONE, "");
    CHECK(sent.http == 200 && sent.n_ends == 1 && !reply.exchange);
    CHECK_TEXT(sent.type, "application/json");
    CHECK_TEXT(sent_at(0, "/choices/0/message/content"), "one two");
    CHECK_TEXT(sent_at(0, "/usage/completion_tokens"), "3");
    CHECK_TEXT(sent_at(0, "/object"), "chat.completion");
}

static void two_calls(void)
{
    happens(EVENT_STARTED, "");
    says(ANSWER_THINKING, 0, "", "hm");
    says(ANSWER_TOOL_NAME, 0, "call_1", "f");
    says(ANSWER_TOOL_ARGUMENTS, 0, "", "{\"a\":");
    says(ANSWER_TOOL_ARGUMENTS, 0, "", " 1}");
    says(ANSWER_TOOL_NAME, 1, "call_2", "g");
    says(ANSWER_TOOL_ARGUMENTS, 1, "", "{}");
    happens(EVENT_DONE, "");
}

// As the openai client's helper wants them.
static void test_call_stream(void)
{
    begin(true, true, false);
    two_calls();
    CHECK(sent.n_data == 9);
    CHECK_TEXT(sent_at(1, "/choices/0/delta/reasoning_content"), "hm");
    CHECK_TEXT(sent_at(1, "/choices/0/delta/content"), "?");
    CHECK_TEXT(sent_at(2, "/choices/0/delta/tool_calls/0/index"), "0");
    CHECK_TEXT(sent_at(2, "/choices/0/delta/tool_calls/0/id"), "call_1");
    CHECK_TEXT(sent_at(2, "/choices/0/delta/tool_calls/0/type"), "function");
    CHECK_TEXT(sent_at(2, "/choices/0/delta/tool_calls/0/function/name"), "f");
    CHECK_TEXT(sent_at(2, "/choices/0/delta/tool_calls/0/function/arguments"), "");
    CHECK_TEXT(sent_at(3, "/choices/0/delta/tool_calls/0/function/arguments"), "{\"a\":");
    CHECK_TEXT(sent_at(3, "/choices/0/delta/tool_calls/0/function/name"), "?");
    CHECK_TEXT(sent_at(3, "/choices/0/delta/tool_calls/0/id"), "?");
    CHECK_TEXT(sent_at(5, "/choices/0/delta/tool_calls/0/index"), "1");
    CHECK_TEXT(sent_at(5, "/choices/0/delta/tool_calls/0/id"), "call_2");
    CHECK_TEXT(sent_at(7, "/choices/0/finish_reason"), "tool_calls");
}

static void test_call_whole(void)
{
    begin(true, false, false);
    two_calls();
    CHECK_TEXT(sent_at(0, "/choices/0/message/content"), "null");
    CHECK_TEXT(sent_at(0, "/choices/0/message/reasoning_content"), "hm");
    CHECK_TEXT(sent_at(0, "/choices/0/message/tool_calls/0/id"), "call_1");
    CHECK_TEXT(sent_at(0, "/choices/0/message/tool_calls/0/index"), "?");
    CHECK_TEXT(sent_at(0, "/choices/0/message/tool_calls/0/function/arguments"), "{\"a\": 1}");
    CHECK_TEXT(sent_at(0, "/choices/0/message/tool_calls/1/function/name"), "g");
    CHECK_TEXT(sent_at(0, "/choices/0/message/tool_calls/1/function/arguments"), "{}");
    CHECK_TEXT(sent_at(0, "/choices/0/finish_reason"), "tool_calls");
}

// ---- Ollama's lines -------------------------------------------------------------------------

static void begin_ollama(bool generate, bool stream)
{
    struct ollama_ask asked = {.model = bytes_of("m:latest"), .generate = generate};
    const struct form form = {.asked = &asked};
    begin(true, stream, false);
    reply.dialect = generate ? &ollama_generate : &ollama_chat;
    reply.of_dialect = ollama_keep(&form);
}

static void test_ollama_stream(void)
{
    begin_ollama(false, true);
    two_calls();
    CHECK(sent.n_data == 4 && sent.n_ends == 1); // a thought, two calls, the end
    CHECK_TEXT(sent.type, "application/x-ndjson");
    CHECK_TEXT(sent_at(0, "/model"), "m:latest");
    CHECK_TEXT(sent_at(0, "/message/role"), "assistant");
    CHECK_TEXT(sent_at(0, "/message/thinking"), "hm");
    CHECK_TEXT(sent_at(0, "/message/content"), "");
    CHECK_TEXT(sent_at(1, "/message/tool_calls/0/id"), "call_1");
    CHECK_TEXT(sent_at(1, "/message/tool_calls/0/function/name"), "f");
    CHECK_TEXT(sent_at(1, "/message/tool_calls/0/function/arguments/a"), "1");
    CHECK_TEXT(sent_at(1, "/message/tool_calls/1"), "?");
    CHECK_TEXT(sent_at(2, "/message/tool_calls/0/function/index"), "1");
    CHECK_TEXT(sent_at(2, "/message/tool_calls/0/function/name"), "g");
    CHECK_TEXT(sent_at(3, "/done_reason"), "stop");
    CHECK_TEXT(sent_at(3, "/prompt_eval_count"), "10");
    CHECK_TEXT(sent_at(3, "/eval_duration"), "7000");
    CHECK_TEXT(sent_at(3, "/context/0"), "?");
    begin_ollama(true, true);
    happens(EVENT_TEXT, "a");
    CHECK_TEXT(sent_at(0, "/response"), "a");
    CHECK_TEXT(sent_at(0, "/message"), "?");
    reply_tick(&reply, clock_ms() + HEARTBEAT_MS + 1000);
    CHECK_TEXT(sent_at(1, "/response"), ""); // a sign of life
    CHECK_TEXT(sent_at(1, "/done_reason"), "?");
    fails(BROKEN, "why");
    CHECK_TEXT(sent_at(2, "/error"), "why");
    CHECK(sent.n_data == 3 && sent.n_ends == 1);
    begin_ollama(true, true);
    happens(EVENT_TEXT, "abc");
    happens(EVENT_DONE, "");
    CHECK_TEXT(sent_at(1, "/context/1"), "8"); // a head of five bytes and the answer
}

static void test_ollama_whole(void)
{
    begin_ollama(false, false);
    two_calls();
    CHECK_TEXT(sent.type, "application/json");
    CHECK_TEXT(sent_at(0, "/message/content"), "");
    CHECK_TEXT(sent_at(0, "/message/thinking"), "hm");
    CHECK_TEXT(sent_at(0, "/message/tool_calls/0/function/arguments/a"), "1");
    CHECK_TEXT(sent_at(0, "/message/tool_calls/1/function/name"), "g");
    CHECK_TEXT(sent_at(0, "/done_reason"), "stop");
    begin_ollama(false, false); // refused before anything was sent
    fails(TOO_LARGE, "7 tokens, 8 wanted");
    CHECK(sent.http == 400);
    CHECK_TEXT(sent_at(0, "/error"), "7 tokens, 8 wanted");
}

// Arguments that are cut off are no call: they come as content, so that nothing is executed.
static void test_ollama_cut(void)
{
    for (int stream = 0; stream < 2; stream++) {
        begin_ollama(false, stream);
        says(ANSWER_TOOL_NAME, 0, "call_1", "f");
        says(ANSWER_TOOL_ARGUMENTS, 0, "", "{\"a\":");
        happens(EVENT_DONE, "");
        CHECK_TEXT(sent_at(0, "/message/tool_calls"), "?");
        CHECK_TEXT(sent_at(0, "/message/content"), "f{\"a\":");
        begin_ollama(false, stream); // behind the name: who knows what its arguments were to be
        says(ANSWER_TOOL_NAME, 0, "call_1", "f");
        struct event *event = event_make(EVENT_DONE, bytes_of(""));
        event->finish = FINISH_LENGTH;
        reply_event(&reply, event);
        free(event);
        CHECK_TEXT(sent_at(0, "/message/tool_calls"), "?");
        CHECK_TEXT(sent_at(stream, "/done_reason"), "length");
    }
}

static void test_failures(void)
{
    begin(true, true, false); // before the stream began: a plain refusal
    fails(TOO_LARGE, "7 tokens, 8 wanted");
    CHECK(sent.http == 400 && sent.n_ends == 1 && !reply.exchange);
    CHECK_TEXT(sent_at(0, "/error/code"), "context_length_exceeded");
    CHECK_TEXT(sent_at(0, "/error/param"), "messages");
    begin(false, false, false);
    fails(BAD_INPUT, "the prompt is empty");
    CHECK(sent.http == 400);
    CHECK_TEXT(sent_at(0, "/error/type"), "invalid_request_error");
    CHECK_TEXT(sent_at(0, "/error/param"), "prompt");
    begin(true, false, false); // what the answer must be
    reply.constraint = "grammar";
    fails(BAD_INPUT, "grammar: after 7 tokens of the answer: too much");
    CHECK_TEXT(sent_at(0, "/error/param"), "grammar");
    begin(true, false, false);
    fails(BAD_INPUT, "tools[1].function.parameters.x: nothing satisfies it");
    CHECK_TEXT(sent_at(0, "/error/param"), "tools");
    begin(true, true, false); // inside: an error event, and a proper end
    happens(EVENT_STARTED, "");
    fails(NO_ROOM, "no room \xff for it");
    CHECK(sent.http == 200 && sent.n_data == 4 && sent.n_ends == 1);
    CHECK_TEXT(sent_at(1, "/error/type"), "server_error");
    CHECK_TEXT(sent_at(1, "/error/message"), "no room \xef\xbf\xbd for it");
    CHECK_TEXT(sent_at(2, "/choices/0/finish_reason"), "length");
    CHECK(bytes_equal_text(buf_view(&sent.data[3]), "[DONE]"));
    begin(true, true, false); // the server stops
    happens(EVENT_STARTED, "");
    struct event *event = event_make(EVENT_DONE, (struct bytes){NULL, 0});
    event->finish = FINISH_CANCELLED;
    reply_event(&reply, event);
    free(event);
    CHECK_TEXT(sent_at(1, "/error/message"), "The server is stopping.");
    CHECK_TEXT(sent_at(1, "/error/code"), "stopping");
    CHECK(!reply.exchange && sent.n_ends == 1);
    begin(true, true, false); // it stops at once: the job is cancelled, and its words come last
    happens(EVENT_STARTED, "");
    reply_stop(&reply);
    CHECK_TEXT(sent_at(1, "/error/type"), "server_error");
    CHECK_TEXT(sent_at(2, "/choices/0/finish_reason"), "length");
    CHECK(bytes_equal_text(buf_view(&sent.data[3]), "[DONE]"));
    CHECK(!reply.exchange && sent.n_data == 4 && sent.n_ends == 1 && sent.n_cancels == 1);
    begin(false, true, false); // before it began: a plain refusal
    reply_stop(&reply);
    CHECK(!reply.exchange && sent.http == 503 && sent.n_ends == 1 && sent.n_cancels == 1);
}

// Each status' code, and whether it invites to try again.
static void test_outcomes(void)
{
    static const struct {
        enum status status;
        int http;
        const char *code, *field;
    } vectors[] = {
        {TOO_LARGE, 400, "context_length_exceeded", ""},
        {BAD_INPUT, 400, "invalid_value", ""},
        {UNSUPPORTED, 400, "unsupported_value", ""},
        {NOT_FOUND, 404, "model_not_found", ""},
        {NO_ROOM, 503, "busy", "Retry-After: 3\n"},
        {CANCELLED, 503, "stopping", "Retry-After: 3\n"},
        {BROKEN, 500, "model_broken", "x-should-retry: false\n"}, // the next try is as wrong
        {DEVICE_ERROR, 500, "device_failed", "x-should-retry: false\n"},
        {IO_ERROR, 500, "internal_error", "x-should-retry: false\n"},
    };
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        begin(true, false, false);
        fails(vectors[i].status, "why");
        CHECK(sent.http == vectors[i].http);
        CHECK_TEXT(sent_at(0, "/error/code"), vectors[i].code);
        CHECK_TEXT(sent.fields, vectors[i].field);
    }
}

static void test_heartbeats(void)
{
    begin(true, true, false);
    reply_tick(&reply, clock_ms() + HEAD_MS / 2);
    CHECK(sent.http == 0); // a refusal is still possible
    reply_tick(&reply, clock_ms() + HEAD_MS);
    CHECK(sent.http == 200 && sent.n_data == 1); // it waits, with a head
    happens(EVENT_STARTED, "");
    CHECK(sent.n_data == 1); // once
    happens(EVENT_PROGRESS, "");
    CHECK(sent.n_data == 1); // something was just sent
    reply.written_ms -= HEARTBEAT_MS + 500;
    happens(EVENT_PROGRESS, "");
    CHECK(sent.n_data == 2); // a chunk like all others, that says nothing
    CHECK_TEXT(sent_at(1, "/object"), "chat.completion.chunk");
    CHECK_TEXT(sent_at(1, "/choices/0/finish_reason"), "null");
    CHECK_TEXT(sent_at(1, "/choices/0/delta/content"), "?");
    reply_tick(&reply, clock_ms() + HEARTBEAT_MS - 1000);
    CHECK(sent.n_data == 2);
    reply_tick(&reply, clock_ms() + HEARTBEAT_MS + 1000);
    CHECK(sent.n_data == 3);
    sent.closed = true; // too slow: nothing breaks, net will say so
    happens(EVENT_TEXT, "x");
    happens(EVENT_DONE, "");
    CHECK(!reply.exchange && sent.n_ends == 1);
    begin(true, false, false); // a whole answer has no heartbeat
    reply_tick(&reply, clock_ms() + 100000);
    CHECK(sent.n_data == 0 && sent.http == 0);
    begin(true, true, false); // refused after its head was out
    reply_tick(&reply, clock_ms() + HEAD_MS);
    fails(TOO_LARGE, "too long");
    CHECK_TEXT(sent_at(1, "/error/code"), "context_length_exceeded");
    CHECK(sent.n_data == 4 && sent.n_ends == 1);
}

static void test_too_long(void)
{
    begin(true, false, false);
    happens(EVENT_STARTED, "");
    size_t n = ANSWER_BYTES_MOST - 5;
    uint8_t *many = mem_alloc(n);
    memset(many, 1, n); // escaped, each is six bytes
    struct event *event = event_make(EVENT_TEXT, (struct bytes){many, n});
    reply_event(&reply, event);
    free(event);
    happens(EVENT_TEXT, "12345");
    CHECK(reply.exchange);
    happens(EVENT_TEXT, "6");
    CHECK(sent.n_cancels == 1 && sent.http == 500 && !reply.exchange);
    begin(true, false, false); // right at the cap it is sent
    event = event_make(EVENT_TEXT, (struct bytes){many, n});
    reply_event(&reply, event);
    free(event);
    happens(EVENT_DONE, "");
    CHECK(sent.http == 200 && sent.data[0].n > 6 * n);
    free(many);
}

// ---- Anthropic's dialect ------------------------------------------------------------------------

// The names of all events sent so far, and for a delta its type: "message_start,ping".
static const char *names_sent(void)
{
    static char text[1000];
    size_t n = 0;
    text[0] = 0;
    for (size_t i = 0; i < sent.n_data; i++) {
        const char *name = sent.name[i] ? sent.name[i] : "-";
        CHECK_TEXT(sent_at(i, "/type"), name);
        if (strcmp(name, "content_block_delta") == 0)
            name = sent_at(i, "/delta/type");
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i > 0 ? "," : "", name);
    }
    return text;
}

static void test_anthropic_stream(void)
{
    begin_as(&anthropic_messages, "msg_1a", true, false);
    two_calls();
    CHECK_TEXT(
        names_sent(),
        "message_start,content_block_start,thinking_delta,signature_delta,content_block_stop,"
        "content_block_start,input_json_delta,input_json_delta,content_block_stop,"
        "content_block_start,input_json_delta,content_block_stop,message_delta,message_stop");
    CHECK_TEXT(sent.fields, "Cache-Control: no-cache\nX-Accel-Buffering: no\nrequest-id: req_1a\n");
    CHECK_TEXT(sent_at(0, "/message/id"), "msg_1a");
    CHECK_TEXT(sent_at(0, "/message/role"), "assistant");
    CHECK_TEXT(sent_at(0, "/message/model"), "m\"1");
    CHECK_TEXT(sent_at(0, "/message/stop_reason"), "null");
    CHECK_TEXT(sent_at(0, "/message/usage/input_tokens"), "10");
    CHECK_TEXT(sent_at(1, "/content_block/type"), "thinking");
    CHECK_TEXT(sent_at(2, "/delta/thinking"), "hm");
    CHECK_TEXT(sent_at(3, "/delta/signature"), "tawny-");
    CHECK_TEXT(sent_at(5, "/index"), "1");
    CHECK_TEXT(sent_at(5, "/content_block/id"), "call_1");
    CHECK_TEXT(sent_at(5, "/content_block/name"), "f");
    CHECK_TEXT(sent_at(6, "/delta/partial_json"), "{\"a\":");
    CHECK_TEXT(sent_at(9, "/index"), "2");
    CHECK_TEXT(sent_at(12, "/delta/stop_reason"), "tool_use");
    CHECK_TEXT(sent_at(12, "/delta/stop_sequence"), "null");
    CHECK_TEXT(sent_at(12, "/usage/input_tokens"), "6"); // what was read anew
    CHECK_TEXT(sent_at(12, "/usage/cache_read_input_tokens"), "4");
    CHECK_TEXT(sent_at(12, "/usage/cache_creation_input_tokens"), "0");
    CHECK_TEXT(sent_at(12, "/usage/output_tokens"), "3");
    CHECK(sent.n_ends == 1);
}

static void test_anthropic_thoughts(void)
{
    begin_as(&anthropic_messages, "msg_1", true, false);
    reply.thoughts = THOUGHTS_EMPTY; // it comes back in its signature
    happens(EVENT_STARTED, "");
    says(ANSWER_THINKING, 0, "", "It");
    says(ANSWER_THINKING, 0, "", " is");
    says(ANSWER_CONTENT, 0, "", "a");
    says(ANSWER_CONTENT, 0, "", "b");
    happens(EVENT_DONE, "");
    CHECK_TEXT(names_sent(), "message_start,content_block_start,signature_delta,content_block_stop,"
                             "content_block_start,text_delta,text_delta,content_block_stop,"
                             "message_delta,message_stop");
    CHECK_TEXT(sent_at(2, "/delta/signature"), "tawny-SXQgaXM=");
    CHECK_TEXT(sent_at(6, "/delta/text"), "b");
    begin_as(&anthropic_messages, "msg_1", true, false);
    reply.thoughts = THOUGHTS_LEFT_OUT;
    happens(EVENT_STARTED, "");
    says(ANSWER_THINKING, 0, "", "It");
    happens(EVENT_DONE, "");
    CHECK_TEXT(names_sent(), "message_start,message_delta,message_stop");
    CHECK_TEXT(sent_at(1, "/delta/stop_reason"), "end_turn");
}

static void test_anthropic_whole(void)
{
    begin_as(&anthropic_messages, "msg_1", false, false);
    two_calls();
    CHECK(sent.n_data == 1 && sent.http == 200);
    CHECK_TEXT(sent.fields, "request-id: req_1a\n");
    CHECK_TEXT(sent_at(0, "/content/0/thinking"), "hm");
    CHECK_TEXT(sent_at(0, "/content/0/signature"), "tawny-");
    CHECK_TEXT(sent_at(0, "/content/1/type"), "tool_use");
    CHECK_TEXT(sent_at(0, "/content/1/id"), "call_1");
    CHECK_TEXT(sent_at(0, "/content/1/input/a"), "1");
    CHECK_TEXT(sent_at(0, "/content/2/name"), "g");
    CHECK_TEXT(sent_at(0, "/stop_reason"), "tool_use");
    CHECK_TEXT(sent_at(0, "/usage/cache_read_input_tokens"), "4");
    static const struct {
        enum finish finish;
        const char *stop, *reason, *sequence;
        bool context_full;
    } outcomes[] = {{FINISH_STOP, "", "end_turn", "null", false},
                    {FINISH_STOP, "END", "stop_sequence", "END", false},
                    {FINISH_LENGTH, "", "max_tokens", "null", false},
                    {FINISH_LENGTH, "", "model_context_window_exceeded", "null", true}};
    for (size_t i = 0; i < COUNT_OF(outcomes); i++) {
        begin_as(&anthropic_messages, "msg_1", false, false);
        happens(EVENT_STARTED, "");
        happens(EVENT_TEXT, "x");
        ends(outcomes[i].finish, outcomes[i].stop, outcomes[i].context_full);
        CHECK_TEXT(sent_at(0, "/content/0/text"), "x");
        CHECK_TEXT(sent_at(0, "/stop_reason"), outcomes[i].reason);
        CHECK_TEXT(sent_at(0, "/stop_sequence"), outcomes[i].sequence);
    }
    begin_as(&anthropic_messages, "msg_1", false, false); // a call that was cut off
    says(ANSWER_TOOL_NAME, 0, "call_1", "f");
    says(ANSWER_TOOL_ARGUMENTS, 0, "", "{\"a\":");
    ends(FINISH_LENGTH, "", false);
    CHECK_TEXT(sent_at(0, "/content/0/input/INVALID_JSON"), "{\"a\":");
    begin_as(&anthropic_count, "count_1", false, false);
    happens(EVENT_DONE, "");
    CHECK(bytes_equal_text(buf_view(&sent.data[0]), "{\"input_tokens\":10}"));
}

static void test_anthropic_failures(void)
{
    begin_as(&anthropic_messages, "msg_1", true, false); // before the head: n_prompt is 10
    fails(TOO_LARGE, "this model's context holds 9 tokens");
    CHECK(sent.http == 400 && sent.n_data == 1);
    CHECK_TEXT(sent_at(0, "/type"), "error");
    CHECK_TEXT(sent_at(0, "/error/type"), "invalid_request_error");
    CHECK_TEXT(sent_at(0, "/error/message"), "prompt is too long: 10 tokens > 5 maximum");
    CHECK_TEXT(sent_at(0, "/request_id"), "req_1a");
    begin_as(&anthropic_messages, "msg_1", true, false); // behind it
    happens(EVENT_STARTED, "");
    happens(EVENT_TEXT, "x");
    fails(NO_ROOM, "no room");
    CHECK_TEXT(names_sent(), "message_start,content_block_start,text_delta,error");
    CHECK_TEXT(sent_at(3, "/error/type"), "overloaded_error");
    CHECK_TEXT(sent_at(3, "/error/message"), "no room");
    CHECK(sent.n_ends == 1);
}

static void test_anthropic_heartbeats(void)
{
    begin_as(&anthropic_messages, "msg_1", true, false); // it waits: its prompt is not counted yet
    reply_tick(&reply, reply.asked_ms + HEAD_MS);
    CHECK_TEXT(names_sent(), "ping");
    happens(EVENT_STARTED, "");
    reply_tick(&reply, reply.written_ms + HEARTBEAT_MS);
    CHECK_TEXT(names_sent(), "ping,message_start,ping");
    CHECK_TEXT(sent_at(1, "/message/usage/input_tokens"), "10");
    begin_as(&anthropic_messages, "msg_1", true, false);
    reply_tick(&reply, reply.asked_ms + HEAD_MS);
    happens(EVENT_DONE, "");
    CHECK_TEXT(names_sent(), "ping,message_start,message_delta,message_stop");
}

int main(void)
{
    test_anthropic_stream();
    test_anthropic_thoughts();
    test_anthropic_whole();
    test_anthropic_failures();
    test_anthropic_heartbeats();
    test_stream();
    test_completions();
    test_parts();
    test_choices();
    test_choices_stream();
    test_best();
    test_whole();
    test_failures();
    test_outcomes();
    test_heartbeats();
    test_too_long();
    test_call_stream();
    test_call_whole();
    test_ollama_stream();
    test_ollama_whole();
    test_ollama_cut();
    begin(true, true, true);
    reply_clear(&reply);
    return check_done("api_reply");
}
