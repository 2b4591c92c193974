// inside.h - what the files of api/ share: a request in progress, a refusal, and JSON in and out.
//
// Functions that read a request return true, or false with *refusal filled: the sentence is
// written where the fact is known, and sent by whoever holds the exchange.
#pragma once

#include "api.h"

#include <yyjson.h>

enum {
    JSON_DEPTH = 64, // nesting a request may have; the deepest field we know is at 5
    // Of one request: a long conversation is 1 MB; leaves room for images in base64 later.
    BODY_BYTES_MOST = 8 << 20,
    // What the tree of one body may take. yyjson holds a copy of the text and 16 bytes a value, 13
    // times the body at worst ([1,1,...): bodies up to 3.6 MB cannot reach this, nor can one of
    // 8 MB that is mostly text.
    JSON_BYTES = 48 << 20,
    MESSAGES_MOST = 4096,
    STOPS_MOST = 16, // OpenAI allows 4
    STOP_BYTES_MOST = 512,
    ANSWER_BYTES_MOST = 4 << 20, // text of one answer; 4 MB is a million tokens
    HEARTBEAT_MS = 5000,         // a stream is never silent for longer
};

// ---- refusals: OpenAI's error object --------------------------------------------------------

struct refusal {
    int http;         // status code
    const char *type; // NULL: by the status code
    const char *code; // error.code; NULL = null
    char param[96];   // error.param; "" = null
    char text[480];
};
// Fills *refusal and returns false, so that `return refuse(...)` reads well. param may be NULL.
bool refuse(struct refusal *refusal, int http, const char *code, const char *param,
            const char *format, ...) PRINTF_LIKE(5, 6);
void refusal_reply(struct exchange *exchange, const struct refusal *refusal);
MUST_USE enum status refusal_json(struct buf *out, const struct refusal *refusal);

// ---- a generation under way -----------------------------------------------------------------

struct form { // what of a request is not the engine's business
    bool chat, stream, include_usage, echo;
    struct bytes model;  // as asked for; empty = not given
    struct bytes prompt; // of /v1/completions, for echo
};

struct running { // from sched_submit to the job's last event
    struct running *next;
    struct api *api;
    struct exchange *exchange; // NULL: answered, or the client is gone
    uint64_t id;               // the job's
    bool chat, stream, include_usage;
    bool started;  // the stream's head is out
    bool begun;    // the engine works on it; until then it waits
    char name[48]; // chatcmpl-...
    int64_t created;
    struct buf text;     // the answer so far, when it is not streamed; before that the echo
    uint64_t written_ms; // when a stream last got something
};

struct api {
    struct api_options options;
    struct net *net;
    char state[512], version[64], hostname[64], key[API_KEY_BYTES + 1];
    char cors[API_CORS_BYTES];
    bool key_is_new;
    struct running *running;
    uint64_t last_id;
    bool stopping; // whatever arrives now is refused
    void (*changed)(void *);
    void *changed_arg;
};

// openai.c: the body of POST /v1/chat/completions and /v1/completions. On true *job is filled (it
// stays the caller's) and *form views the job's arena.
bool openai_read(struct bytes body, bool chat, struct job *job, struct form *form,
                 struct refusal *refusal);

// reply.c: events into answers
void running_event(struct running *running, const struct event *event); // not for EVENT_STATE
void running_tick(struct running *running, uint64_t now_ms);
void running_stop(struct running *running); // the server stops: its last words
bool event_is_last(const struct event *event);

// the routes
typedef void route_handler(struct api *api, struct exchange *exchange,
                           const struct request *request);
void page_get(struct api *api, struct exchange *exchange, const struct request *request);
void notices_get(struct api *api, struct exchange *exchange, const struct request *request);
void ca_get(struct api *api, struct exchange *exchange, const struct request *request);
void health_get(struct api *api, struct exchange *exchange, const struct request *request);
void doctor_get(struct api *api, struct exchange *exchange, const struct request *request);
void models_get(struct api *api, struct exchange *exchange, const struct request *request);
void model_get(struct api *api, struct exchange *exchange, const struct request *request);
void chat_post(struct api *api, struct exchange *exchange, const struct request *request);
void completions_post(struct api *api, struct exchange *exchange, const struct request *request);
// False (and refused) unless the model is loaded and the device answers.
bool model_is_ready(const struct api *api, struct refusal *refusal);

// cors.c: pages of other origins
MUST_USE enum status cors_check(const char *setting, struct err *err);
// Adds to the answer what lets a page of an allowed origin read it. True: the request was a
// preflight, and has been answered.
bool cors_answer(const struct api *api, struct exchange *exchange, const struct request *request);

// key.c
MUST_USE enum status key_open(char key[API_KEY_BYTES + 1], bool *is_new, const char *state,
                              struct err *err);

// ---- JSON (json.c) --------------------------------------------------------------------------

struct json { // a body's tree; stays where it was opened until json_close
    yyjson_doc *doc;
    size_t n_bytes; // taken for it
};
// Parses strict JSON (RFC 8259) whose root is an object, whose depth is at most JSON_DEPTH and
// whose tree takes at most JSON_BYTES.
bool json_open(struct json *json, struct bytes text, struct refusal *refusal);
void json_close(struct json *json);
// A reply with the JSON in *body (freed here); `status` is the outcome of writing it.
void json_reply(struct exchange *exchange, int http, struct buf *body, enum status status);
