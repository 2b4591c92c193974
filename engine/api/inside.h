// inside.h - what the files of api/ share: refusals, dialects, a reply under way, and JSON in.
//
// Functions that read a request return true, or false with *refusal filled: the sentence is
// written where the fact is known, and sent by whoever holds the exchange.
#pragma once

#include "api.h"
#include "audit.h"
#include "keys.h"
#include "metrics.h"
#include "scribe.h"

#include <string.h>
#include <yyjson.h>

enum {
    BODY_DEPTH = 64, // nesting a request may have; the deepest field we know is at 5
    // Of one request: a long conversation is 1 MB; leaves room for images in base64 later.
    BODY_BYTES_MOST = 8 << 20,
    // What the tree of one body may take. yyjson holds a copy of the text and 16 bytes a value, 13
    // times the body at worst ([1,1,...): bodies up to 3.6 MB cannot reach this, nor can one of
    // 8 MB that is mostly text.
    BODY_TREE_BYTES = 48 << 20,
    KEY_BODY_BYTES = 16384,                // of a request that makes or changes a key
    RESTORE_BODY_BYTES = (6 << 20) + 8192, // a backup in hexadecimal, and what stands around it
    MESSAGES_MOST = 4096,
    PROMPTS_MOST = 64,        // of one request
    CHOICES_MOST = 16,        // answers to one prompt (n, best_of)
    PROMPTS_BYTES = 64 << 20, // a body is read once for each answer: no more than this in all
    ASKS_BYTES = 256 << 20,   // and what was read takes no more
    TOOLS_MOST = 1024,        // OpenAI allows 128
    STOPS_MOST = 16,          // OpenAI allows 4
    STOP_BYTES_MOST = 512,
    ANSWER_BYTES_MOST = 4 << 20, // text of one answer; 4 MB is a million tokens
    HEAD_MS = 1000,              // a stream has its head after so long, whatever it waits for
    HEARTBEAT_MS = 5000,         // a stream is never silent for longer
};

// ---- refusals (refusal.c) -------------------------------------------------------------------

// How a dialect writes an error.
enum error_shape {
    ERRORS_OPENAI,    // {"error": {"message", "type", "param", "code"}}
    ERRORS_OLLAMA,    // {"error": text}
    ERRORS_ANTHROPIC, // {"type": "error", "error": {"type", "message"}, "request_id"}
};

struct refusal {
    int http;         // status code
    const char *code; // error.code; NULL = null
    char param[96];   // error.param; "" = null
    char text[480];
    char request[REQUEST_ID]; // its id, for Anthropic's shape
    int32_t n_prompt, n_most; // of a prompt that is too long; n_most 0: not told
    enum error_shape shape;   // refuse() leaves OpenAI's: set by whoever knows route or dialect
    int32_t retry_after_s;    // when to try again; 0: as the status code says
};
#define THREAD_UNSUPPORTED "thread_unsupported_request" // a code that Anthropic's clients look for
// Fills *refusal and returns false, so that `return refuse(...)` reads well. param may be NULL.
bool refuse(struct refusal *refusal, int http, const char *code, const char *param,
            const char *format, ...) PRINTF_LIKE(5, 6);
// The same for what a floor below said. input: the field that holds the prompt.
bool refuse_err(struct refusal *refusal, const struct err *err, const char *input);
void refusal_write(struct json *json, const struct refusal *refusal);
// What clients sent as a name, for a sentence: at most 100 bytes of it, without control characters.
enum { SHOWN_TEXT = 104 };
const char *shown_text(char out[SHOWN_TEXT], struct bytes text);
void refusal_reply(struct exchange *exchange, struct refusal *refusal);
// Writes what is JSON already: a value; where name is NULL, also several with commas between them
// (in an object: members). Not empty.
void json_splice(struct json *json, const char *name, struct bytes text);
void timings_write(struct json *json, const struct usage *usage); // openai.c: llama-server's object
// Answers with the JSON, and frees it.
void json_reply(struct exchange *exchange, int http, struct json *json);

// ---- dialects: a table of fields and one writer ---------------------------------------------

struct api;
struct dialect;
struct reading; // fields.h
struct field;

struct vectors_form { // how vectors or scores are written
    bool base64, documents, raw;
    int32_t n_dims, top_n; // 0: all
};

enum thoughts { THOUGHTS_TOLD, THOUGHTS_EMPTY, THOUGHTS_LEFT_OUT }; // EMPTY: that there is one

struct form { // of a request what is not the engine's business: how its answer is written
    const struct dialect *dialect;
    bool stream, include_usage, echo;
    size_t n_prompts, prompt_at; // how many there are, and which of them was read
    size_t n_choices, n_tries;   // answers told to each, the best of so many; 0: not said
    struct bytes model;          // as asked for; empty = not given
    const char *constraint;      // the field that says what the answer must be; NULL: none
    bool logprobs;
    int32_t top_logprobs;
    struct vectors_form vectors;
    enum said thinks;    // whether the model is to think
    struct bytes effort; // and how much; n == 0: not said
    void *asked;         // what the dialect's readers keep, on the job's arena
    void *of_dialect;    // what becomes the reply's; dialect->forget frees it
    void *of_arena;      // what the dialect keeps while it reads, on the job's arena
    enum thoughts thoughts;
    struct bytes note; // what of the request is left out, for a header; n == 0: nothing
};

struct reply_call {  // a tool call of an answer that is not streamed
    struct buf text; // its id, its name, its arguments
    size_t n_id, n_name;
};

struct reply { // an answer on its way: from sched_submit to the job's last event
    struct reply *next;
    struct api *api;
    struct exchange *exchange; // NULL: answered, or the client is gone
    char model[256];           // its name; empty: that of the start
    const struct dialect *dialect;
    uint64_t id;  // the job's
    uint64_t who; // of the key that asked
    bool stream, include_usage, echo;
    bool started;  // the stream's head is out
    bool begun;    // the engine works on it; until then it waits
    char name[48]; // chatcmpl-...
    int64_t created;
    const char *constraint; // the field that says what the answer must be; NULL: none
    char notes[400];        // on it
    char note[200];         // what of the request was left out
    enum thoughts thoughts;
    struct buf text;          // the answer so far, when it is not streamed; before that the echo
    struct buf thinking;      // the same of the thoughts
    struct reply_call *calls; // [n_calls], filled when it is not streamed
    size_t n_calls, calls_allocated;
    size_t n_bytes; // of all these
    // Several answers are given one after the other, to each prompt n_tries:
    struct job **later;        // [n_later]: those that are not begun yet; ours
    size_t n_later;            // what is left of them
    size_t index;              // of the present answer, or of the next that is told
    size_t n_choices, n_tries; // as in struct form; 0: one
    size_t n_tried;            // answers that the present prompt has already
    struct buf choices;        // those that are done, as JSON with commas between them
    struct best *best;         // of the present prompt, where the best are told (choices.c): ours
    struct usage before;       // what all took
    bool logprobs;             // they are asked for
    struct buf chances;        // what came of them and is not written yet (logprobs.c)
    size_t chances_at;         // characters of the answer before their text
    bool echoes;               // the engine tells the prompt first: its text has not come yet
    size_t chances_from;       // bytes of `chances` that are the prompt's
    uint64_t asked_ms;         // when it was submitted
    bool spoken;               // its first token has come
    uint64_t written_ms;       // when a stream last got something
    int32_t n_prompt,
        n_read;        // tokens of the prompt, and of these computed so far; 0: not known yet
    void *of_dialect;  // what the dialect's writer keeps from begin to end: ours
    struct bytes stop; // when it ends: the stop string that ended it; n == 0: none did
    bool context_full; // when it ends: the context did that, not max_tokens
    int32_t n_ctx;     // of a prompt that is too long: what the context holds
    struct vectors_form form;
    float *vectors; // [n_vectors][n_vector]: ours
    size_t n_vectors;
    int32_t n_vector;
    struct bytes *documents; // [n_vectors], in one piece with their texts, or NULL: ours
};
void reply_close(struct reply *reply);

struct writer {
    bool gathers; // `text` is called for whole answers too, and keeps what `whole` writes
    // A stream, by reply_data or reply_named: its first words, a piece of text, a sign of life, its
    // last words (the end of the exchange is reply.c's).
    void (*begin)(struct reply *reply);
    void (*text)(struct reply *reply, const struct event *event); // EVENT_TEXT
    void (*alive)(struct reply *reply);
    void (*end)(struct reply *reply, enum finish finish, const struct usage *usage);
    void (*fail)(struct reply *reply, const struct refusal *refusal);
    // One of several answers has ended, and it is not the last; or the best of them are told.
    void (*part)(struct reply *reply, enum finish finish);
    // A whole answer, into *json (which it inits).
    void (*whole)(const struct reply *reply, struct json *json, enum finish finish,
                  const struct usage *usage);
};

enum framing { FRAMES_SSE, FRAMES_NDJSON }; // of a stream: server-sent events, or a JSON a line

struct dialect {
    enum job_kind kind;
    enum framing framing;
    enum error_shape errors;
    const char *id_prefix;             // with what separates it: "chatcmpl-"
    const char *input;                 // the field that holds the prompt
    const struct field *fields[7];     // tables, the last pointer NULL
    bool (*begin)(struct reading *r);  // before any field; NULL: nothing to do
    bool (*finish)(struct reading *r); // when every field was read: is all there that must be?
    // Then, in a server: what the request refers to that is kept there. NULL: nothing to do.
    bool (*settle)(struct api *api, struct reading *r);
    // With the model at hand, before the engine is asked: true when the exchange is answered, or
    // refused in *refusal (whose http is then not 0). NULL: nothing to do.
    bool (*instead)(struct api *api, struct exchange *exchange, const struct job *job,
                    struct form *form, struct refusal *refusal);
    const struct writer *writer;
    void (*forget)(void *of_dialect); // NULL: free()
};
void dialect_forget(const struct dialect *dialect, void *of_dialect);
extern const struct dialect openai_chat, openai_completions, openai_prompt; // openai.c
extern const struct dialect llama_infill;                                   // infill.c
extern const struct dialect openai_responses;                               // responses.c
extern const struct dialect llama_completion, llama_tokenize, llama_detokenize;
// embeddings.c
extern const struct dialect ollama_chat, ollama_generate; // ollama.c
extern const struct dialect openai_embeddings, ollama_embed, ollama_embeddings, jina_rerank;
extern const struct dialect model_defaults;                      // defaults.c
extern const struct dialect anthropic_messages, anthropic_count; // anthropic.c
// Whether the vectors that are asked for can be had, and be one answer.
bool vectors_fit(const struct model_info *model, const struct job *job, const struct form *form,
                 struct refusal *refusal);
struct bytes *documents_copy(const struct ask *ask);

// fields.c: the body of a request. On true job->ask is filled (the job stays the caller's) and
// *form views the job's arena.
bool ask_read(const struct dialect *dialect, struct bytes body, struct job *job, struct form *form,
              struct refusal *refusal);
// The same, of several prompts the one of that number.
bool ask_read_of(const struct dialect *dialect, struct bytes body, size_t prompt_at,
                 struct job *job, struct form *form, struct refusal *refusal);

// The same, with what is kept of the model before it (defaults.c). NULL: nothing is.
bool ask_read_for(const struct api *api, const struct dialect *dialect, struct bytes body,
                  size_t prompt_at, struct job *job, struct form *form, struct refusal *refusal);

// reply.c: events into answers
void reply_event(struct reply *reply, struct event *event); // not for EVENT_STATE
void reply_tick(struct reply *reply, uint64_t now_ms);
void reply_clear(struct reply *reply);    // frees what it holds
void reply_too_long(struct reply *reply); // ends it: more than may be held of it
void reply_stop(struct reply *reply);     // the server stops: its last words
// One event of a stream, in the dialect's framing; frees the JSON. reply_named: with a name, which
// only server-sent events have.
void reply_data(struct reply *reply, struct json *json);
void reply_named(struct reply *reply, const char *name, struct json *json);
bool event_is_last(const struct event *event);

// logprobs.c
MUST_USE enum status logprobs_keep(struct reply *reply, const struct event *event);
void logprobs_drop(struct reply *reply, int32_t n); // of those not written yet the last n
double logprobs_mean(const struct reply *reply);    // of the answer's tokens; none: CHANCE_LEAST
// Of what is kept: how many tokens there are of the next one, itself and the likeliest; then each.
struct chance {
    double log;
    struct bytes text;
    int32_t id;
};
uint8_t chance_count(struct bytes *from);
struct chance chance_take(struct bytes *from);
void logprobs_write(struct json *json, const struct reply *reply); // null when there are none
// As Ollama writes them: a list, left out when there are none.
void logprobs_array(struct json *json, const struct reply *reply);
size_t logprobs_characters(struct bytes chances);
void logprobs_items(struct json *json, struct bytes chances); // an array, as chats have it

// choices.c: the answers of one request that are done, where there are several
bool choices_pick(const struct reply *reply); // of those to a prompt only the best are told
// One more, an object without its index; `choices` gets it, or those it is the last of.
// TOO_LARGE: they are more than may be held.
MUST_USE enum status choices_add(struct reply *reply, struct bytes choice);
void choices_free(struct reply *reply);

// ---- the whole ------------------------------------------------------------------------------

enum { TOLD_BYTES = 2047, TOLD_VALUE = 400 }; // told.c

struct crashes_seen {   // what /health says of them
    uint64_t looked_ms; // 0: not yet
    size_t n;
    int64_t at_s; // of the last one
    char reason[240];
};

struct api {
    struct api_options options;
    struct net *net;
    char state[512], version[64], hostname[64], key[API_KEY_BYTES + 1];
    struct keys keys;
    struct handover { // handover.c; until_ms 0: a free place
        uint64_t who, until_ms;
        uint8_t hash[SHA256_BYTES]; // of the code
        char secret[API_KEY_BYTES + 1];
    } handovers[16];
    struct scribe *scribe;
    struct scribe_wait *waits;      // answers that wait for it (scribe_waits.c)
    uint64_t last_writing;          // of those that are waited for
    struct model_default *defaults; // by model
    struct buf settings_text;       // what is, or was, written last; p NULL: what the file says
    struct vault *vault;            // a backup or a restore that is under way
    bool restore_waits;             // one is laid down for the next start
    bool settings_changed;          // since the start,
    bool settings_box;              // and of these some that need the box restarted
    char cors[API_CORS_BYTES];
    bool key_is_new;
    void (*key_changed)(void *);
    void *key_changed_arg;
    struct metrics metrics;
    struct audit audit;
    struct sensors *sensors;
    struct crashes_seen crashes;
    int64_t began_s;       // when this was opened: unix time
    struct reply *replies; // under way
    struct kept *kept;     // responses.h
    struct chore *chores;  // the same of what the store does
    uint64_t last_id;
    struct pull *pulls; // pull.h; those under way, and the last that are over
    uint64_t last_pull;
    // pulls that the last stop of the engine cut: their arrivals' ids, and which is next
    char (*cut)[INCOMING_ID_BYTES];
    size_t n_cut, at_cut;
    // update.c: what stood in PID 1's file when it was told of an update, and when that was
    char update_before[TOLD_BYTES + 1];
    uint64_t update_told_ms; // 0: it has answered, or was not told
    bool stopping;           // whatever arrives now is refused
    void (*changed)(void *);
    void *changed_arg;
};

// generate.c: what every handler of a dialect does: the body becomes a job, which the engine
// answers.
void dialect_post(struct api *api, struct exchange *exchange, const struct request *request,
                  const struct dialect *dialect);

// the routes
typedef void route_handler(struct api *api, struct exchange *exchange,
                           const struct request *request);
// route.c: the table of them.
struct endpoint {
    const char *method, *path; // a path that ends in '/' (but the first) takes everything below it
    bool open;                 // needs no key
    uint32_t body_bytes;       // most that a body may have; 0: none is read
    route_handler *handler;
    uint32_t scopes; // a key needs one of these; 0: SCOPE_CHAT, and its limits count
};
bool route_at(size_t i, struct endpoint *out); // false: there are fewer
route_handler reference_get;                   // reference.c
route_handler box_get;                         // box.c
// handover.c
route_handler handover_post, handover_take_post;
void handovers_tick(struct api *api, uint64_t now_ms); // forgets those whose time is over
struct bytes key_given(const struct request *request); // route.c: as it was shown; n 0: none was
// What stands in the path behind the folder by which the request's route was found.
static inline struct bytes path_behind(const struct request *request, const char *folder)
{
    const size_t n = strlen(folder);
    return (struct bytes){request->path.p + n, request->path.n - n};
}
// page.c: the host as the visitor typed it, with its port; else the box's own name.
void host_typed(const struct api *api, const struct request *request, char *host, size_t size);
// defaults.c, defaults_set.c (defaults_open, defaults_forget), defaults_route.c
enum { DEFAULTS_MOST = 256, DEFAULTS_BYTES = 4000 }; // models that have some, and those of one
enum { DEFAULTS_FILE_BYTES = DEFAULTS_MOST * (DEFAULTS_BYTES + 6 * STORE_NAME_BYTES + 8) };
route_handler model_defaults_post;
void defaults_open(struct api *api);
void defaults_close(struct api *api);
void defaults_write(struct json *json, const struct api *api, const char *model); // if it has any
int32_t defaults_context(const struct api *api, const char *model);               // 0: none
void defaults_forget(struct api *api, const char *model);                         // it was deleted
route_handler page_get;                                                           // page.c
// page_files.c: a file of engine/page/ or of its libraries, which must be there.
struct bytes page_file(const char *name);
route_handler page_file_get;
route_handler health_get, ca_get, notices_get; // health.c
route_handler doctor_get;                      // doctor.c
// settings_route.c
route_handler settings_get, settings_put;
// settings_check.c. changed: what is set, in settings_describe's order; next: as it is then.
enum { SETTING_WARNINGS = 8 };
struct setting_warnings {
    size_t n;
    char text[SETTING_WARNINGS][400];
};
void settings_warn(const struct api *api, const struct settings *next, const bool *changed,
                   struct setting_warnings *out);
// told.c. The text of one of PID 1's files; "": there is none (path NULL, too).
void told_read(const char *path, char out[TOLD_BYTES + 1]);
// False: it has no such key, or that is empty.
bool told_value(char out[TOLD_VALUE], const char *text, const char *key);
// What is the matter with the box, for /health: anybody reads it.
void told_write(const struct api *api, struct json *json);
// What settings that are not in force wait for, as GET /v1/settings has it; NULL: all of them are.
// told: the text of options.told.
const char *settings_wait(const struct api *api, const char *told);

// settings_route.c. whole: with what stands there, for an administrator; else which settings and
// lines, for whoever asks.
void settings_faults_write(struct json *json, const struct settings_report *report, bool whole);
route_handler backup_post, restore_post, reset_post; // backup.c
// Whether what is changed now would be lost to a restore: false, with *refusal filled.
bool vault_lets(const struct api *api, struct refusal *refusal);
// models.c, which calls Anthropic's (anthropic_models.c) by a header
route_handler models_get, model_get, anthropic_models_get, anthropic_model_get;
route_handler model_delete, model_load_post, model_unload_post, model_copy_post, model_alias_post;
route_handler model_put, uploads_get, uploads_post, uploads_options, upload_get, upload_patch,
    upload_post, upload_delete;        // uploads.c
route_handler update_get, update_post; // update.c
void uploads_begin(struct api *api);   // at the start: what came in one piece and was cut goes
// generate.c, but for what responses_get.c does
route_handler chat_post, apply_template_post, completions_post, messages_post, count_tokens_post;
route_handler embeddings_post, rerank_post, ollama_embed_post, ollama_embeddings_post;
route_handler infill_post, responses_post, responses_get, responses_delete;
// llama_server.c, llama_props.c
void llama_stop_write(struct json *json, const struct reply *reply, enum finish finish);
void llama_settings(struct json *json, const struct sampling *s, int32_t n_predict, bool stream);
route_handler completion_post, tokenize_post, detokenize_post, props_get, slots_get;
route_handler ollama_chat_post, ollama_generate_post;
route_handler ollama_version_get, ollama_tags_get, ollama_ps_get,
    ollama_show_post; // ollama_models.c
route_handler ollama_pull_post, model_pull_post, downloads_get, download_get,
    download_delete; // pull_route.c
route_handler ollama_push_post, ollama_create_post, ollama_copy_post,
    ollama_delete;                               // ollama_store.c
route_handler ollama_blob_get, ollama_blob_post; // ollama_blobs.c
// Whether GET / comes from a program that looks for Ollama, not from a browser; and its answer.
bool ollama_is_looked_for(const struct request *request);
void ollama_is_here(struct exchange *exchange);
// NAME:latest is NAME: Ollama's clients write the tag that is meant when there is none, in whatever
// dialect they then speak.
struct bytes model_name_meant(struct bytes name); // fields.c
// route.c: whose errors a client expects that asks for this, also where there is nothing.
enum error_shape errors_for(const struct request *request);

// pick.c
// The model of that name, or by an alias; false (and refused, with those there are): there is none.
bool model_find(const struct api *api, struct bytes name, const struct store_model **out,
                struct refusal *refusal);
// False (and refused) where none can be had: there is no device, or the first one has no file.
bool model_is_ready(const struct api *api, struct refusal *refusal);
const struct store_model *model_of_start(const struct api *api); // NULL: it has no file
bool model_is_of_start(const struct api *api, const struct store_model *model);
// job->ask.model and .model_path become the model of that name; empty: that of the start.
bool model_pick(const struct api *api, struct bytes name, struct job *job, struct refusal *refusal);
// What is known of it now: all when it is loaded, else what its file says. False: nothing.
bool model_known(const struct api *api, const struct ask *ask, struct model_info *out);
// NULL: it is not loaded. path.n == 0: that of the start.
const struct sched_model *model_loaded(const struct api *api, struct bytes path);
const char *reply_model(const struct reply *reply); // as answers name it
bool load_failed(const struct reply *reply, const struct err *err, struct refusal *refusal);

// chores.c
void chores_job_event(struct api *api, const struct event *event); // of a job without a reply
void chores_store_event(struct api *api);                          // what the store has to tell
void chores_close(struct api *api);

// pulls.c
void pulls_tick(void *api);
void pulls_stop(struct api *api);
void pulls_close(struct api *api);

// models.c
// The state of one that is loaded, as members of an object; NULL: it is not.
void loaded_write(struct json *json, const struct sched_model *loaded);
// A member of a request that must be a string.
bool text_field(yyjson_val *root, const char *name, struct bytes *out, struct refusal *refusal);

// responses_kept.c
struct kept *kept_open(void);
void kept_close(struct kept *kept); // when no reply is under way

// cors.c: pages of other origins
// Adds to the answer what lets a page of an allowed origin read it. True: the request was a
// preflight, and has been answered.
bool cors_answer(const struct api *api, struct exchange *exchange, const struct request *request);

// route.c: what net/ refuses itself, in the dialect of the path (a net_refuser)
void api_refused(void *api, struct exchange *exchange, const struct request *request, int code,
                 const char *why);
// route.c: whether the request, if it is let in, may change the box
bool route_is_audited(const struct request *request);

route_handler metrics_get, logs_get, audit_get;         // metrics.c, logs.c, audit.c
route_handler crashes_get;                              // crashes.c
void crashes_write(struct api *api, struct json *json); // into /health; nothing where there is none

// keys_route.c
route_handler keys_get, keys_post, key_get, key_post, key_delete;
void keys_tell(struct api *api);                  // the engine: whose texts it may keep
void keys_tick(struct api *api, uint64_t now_ms); // when keys were used is written now and then
void keys_end(struct api *api);                   // the same, at the end

// ---- JSON in (body.c) -----------------------------------------------------------------------

struct body { // the tree of a request's JSON; stays where it was opened until body_close
    yyjson_doc *doc;
    size_t n_bytes; // taken for it
};
// Parses strict JSON (RFC 8259) whose root is an object, whose depth is at most BODY_DEPTH, whose
// tree takes at most BODY_TREE_BYTES, and in which no object has a key twice.
bool body_open(struct body *body, struct bytes text, struct refusal *refusal);
void body_close(struct body *body);
// The text of a string, which is the document's; n 0: it is none.
static inline struct bytes string_of(yyjson_val *value)
{
    return (struct bytes){(const uint8_t *)yyjson_get_str(value),
                          yyjson_is_str(value) ? yyjson_get_len(value) : 0};
}
