// ollama.h - what the files of Ollama's dialect share: ollama.c (the fields of /api/chat and
// /api/generate), ollama_options.c, ollama_messages.c, ollama_context.c, ollama_answer.c (the
// writer), ollama_models.c (what models there are), ollama_store.c (what changes them) and
// ollama_blobs.c (files that are sent).
#pragma once

#include "fields.h"

// The version of Ollama whose API this is. Clients turn features on by it: /v1/responses from
// 0.13.3, /v1/messages from 0.14.0, log-probabilities from 0.12.11.
#define OLLAMA_VERSION "0.20.0"

// ---- times (ollama.c) -----------------------------------------------------------------------

enum { OLLAMA_TIME = 40 };
// RFC 3339 in UTC, with nanoseconds.
const char *ollama_time(char out[OLLAMA_TIME], int64_t unix_ns);

// ---- a request ------------------------------------------------------------------------------

struct ollama_ask {        // what is read beside the ask; on the job's arena
    struct bytes model;    // as it was sent
    bool generate;         // /api/generate, else /api/chat
    bool raw;              // the prompt is taken as it is
    bool nothing;          // there is nothing to answer: the model is to be loaded, or unloaded
    int32_t n_ctx;         // options.num_ctx; 0: not given
    struct bytes system;   // of /api/generate; p == NULL: not given
    struct bytes prompt;   // likewise
    struct bytes suffix;   // likewise; n > 0: what stands behind the gap that is to be filled in
    const int32_t *before; // [n_before]: context, as the last answer gave it; NULL: none
    size_t n_before;
    struct bytes said; // the conversation that the answer goes on from (ollama_context.c)
};
struct ollama_ask *ollama_asked(const struct reading *r);

field_reader ollama_read_options; // ollama_options.c
// Every call gets an id, and what a tool answered the id of its call (ollama_messages.c).
bool ollama_match_results(struct reading *r);

// ---- context (ollama_context.c) -------------------------------------------------------------

// The conversation of /api/generate, from `before`, `system` and `prompt`: into the ask, and as
// text for the next context into asked->said.
bool ollama_converse(struct reading *r);
// Writes the member `context`: what was said, and the answer; left out when they are too long.
void ollama_context_write(struct json *json, struct bytes said, struct bytes answer);

// ---- answers (ollama_answer.c) --------------------------------------------------------------

extern const struct writer ollama_lines;
void *ollama_keep(const struct form *form); // a reply's of_dialect
// The answer to who asked for nothing: the model is there ("load"), or is gone ("unload"). model:
// as it was sent.
void ollama_nothing(struct exchange *exchange, struct bytes model, bool generate,
                    const char *reason);

// ---- requests that only name a model (ollama_store.c) ---------------------------------------

struct ollama_named {
    struct body body;
    struct bytes name; // as it was sent; of the body
    bool verbose, stream, is_open;
};
// field: "model" (or its older name `name`), "source" ...; ollama_named_close() in any case.
bool ollama_named_open(struct ollama_named *named, struct bytes body, const char *field,
                       struct refusal *refusal);
void ollama_named_close(struct ollama_named *named);
void ollama_success(struct exchange *exchange);                         // {"status": "success"}
void ollama_refuse(struct exchange *exchange, struct refusal *refusal); // in Ollama's shape
bool ollama_is_alias(const struct store *store, struct bytes name);     // by that name, "*" too

// ---- blobs (ollama_blobs.c) -------------------------------------------------------------------

// A model of files that were sent as blobs: {"x.gguf": "sha256:..."}. True: it is under way, or
// answered; else refused.
bool ollama_create_files(struct api *api, struct exchange *exchange, struct bytes name,
                         yyjson_val *files, struct refusal *refusal);
