// sched.h - floor 5: the engine thread. It owns the device, the models, their sequence memory and
// every sequence; it takes jobs from one ring and answers with events on another. Prompts become
// token ids on a thread of their own, so that no stream waits for a long text. Nobody waits for a
// client here: the net thread buffers, or cancels.
//
// Every submitted job ends with exactly one EVENT_DONE or EVENT_FAILED, whatever happens to it. All
// functions here are called from one thread (the net thread, or the terminal of `tawny chat`).
//
// Several models may be loaded at once. One is named at the start (model_path) and is meant by who
// names none; any other is loaded when a job names it with its file (ask.model_path), while those
// that are there go on: loading is done in slices between passes, one model at a time. The job
// waits for it. A model that nobody asks is unloaded when its keep_s is over, or when another needs
// the memory, the one unused for longest first; one that is in use or pinned never is.
//
// Stopping: sched_stop ends what waits at once (EVENT_FAILED, CANCELLED), gives running jobs a
// grace and then ends them the same way; a model that is being loaded is given up within a slice.
#pragma once

#include "../base/base.h"
#include "../doctor/doctor.h"
#include "../model/model.h"

// The engine works on one thing (a forward pass, the tokenizing of one prompt) for so long: then it
// hangs. /health says so, and its heartbeat stops. The longest that is honest work is a first pass
// on a processor whose memory does not hold all weights: 8 GB from a USB stick at 30 MB/s are 270
// s. To give up sooner would restart such a box for ever. On a GPU the weights are where it
// computes, and what it was given has failed after half a minute: what takes longer is a call into
// its driver that does not return. The same holds for a thread that does not come back to its loop.
enum { SCHED_HUNG_MS = 300000, SCHED_HUNG_GPU_MS = 120000 };
enum { SCHED_TURN_MS = 5000 }; // so often it turns when it has nothing to do
// At the start it opens and tests the device, which takes a second: after so long with one of them
// /health says which. (The heartbeat goes on: a restart would not mend it.)
enum { SCHED_DEVICE_MS = 60000 };

// Of the whole: LOADING until the device is open and the first model is ready or has failed, FAILED
// while no model can be had, or the first one failed and no other has been ready since. READY does
// not mean that one is loaded just now: whoever asks has it loaded.
enum sched_state { SCHED_LOADING, SCHED_READY, SCHED_FAILED, SCHED_STOPPING };

// JOB_LOAD ends when the model is ready; JOB_UNLOAD when it is gone: NO_ROOM it is in use, DENIED
// it is pinned, NOT_FOUND it is not loaded.
enum job_kind {
    JOB_GENERATE,
    JOB_EMBED,
    JOB_LOAD,
    JOB_UNLOAD,
    JOB_CANCEL,
    JOB_KEEP,
    JOB_STOP,
    JOB_QUIT
};

enum { KEEP_AS_SET = -2 }; // ask.keep_s: the setting

// What is asked, whatever dialect asked it: everything the engine must know to answer, and nothing
// about how the answer is written. What it points to lies on its job's arena.
struct ask {
    uint64_t owner;          // whose it is: what one owner's asks leave in memory is not another's
    struct bytes model;      // its name; empty: the one of the start
    struct bytes model_path; // its file; empty: only what is loaded is meant
    uint32_t within_ms;      // it must have begun by then, or nobody reads it; 0: not said
    int32_t n_ctx;           // that the model gets if this has it loaded; 0: as the settings say
    int64_t keep_s;          // how long the model stays after the answer; KEEP_ALWAYS, KEEP_AS_SET
    bool chat;               // conversation, else prompt
    bool only_prompt;        // of a chat: its prompt is told as text, and nothing is computed
    // Of `texts`: their ids are told (told.c), or their text; or the model's chat template is.
    bool only_ids, only_text, only_template;
    bool without_bos, plain; // of texts: no BOS in front; names of control tokens are text
    bool only_count;         // of a chat: its end tells usage.n_prompt, and nothing is computed
    struct conversation conversation;
    const struct value *tool_choice; // as OpenAI writes it; NULL: "auto"
    struct bytes prompt;             // raw: names of control tokens in it are control tokens
    const int32_t *prompt_ids;       // [n_prompt_ids], instead of it; NULL: none
    size_t n_prompt_ids;
    const struct infill *infill; // instead of both: a gap; NULL: none
    struct sampling sampling;
    struct constraint constraint; // what the answer must be
    struct bytes prediction;      // what the client thinks it will be, mostly; n == 0: not said
    int32_t n_chances;            // likeliest tokens told with each; -1: no log-probabilities
    bool echoes;                  // of a raw prompt: it is told too, with those of its tokens
    bool only_reads;              // the answer is empty, whatever max_tokens says
    bool must_call, one_call;     // a tool; at most one
    struct bytes must_call_tool;  // which; n == 0: any
    int32_t think_most;           // tokens of thinking; -1: no limit
    int32_t max_tokens;           // 0 = up to the context's end
    const struct bytes *stops;
    size_t n_stops;
    // Of JOB_EMBED what becomes vectors, or the documents that are ranked for a query; of others a
    // prompt in pieces, one behind the other, instead of `prompt`.
    const struct text_ask *texts;
    size_t n_texts;
    bool rank;
    struct bytes query;
    bool truncates; // a text that is too long is cut, and not refused
};

struct text_ask { // a text, or its ids where ids is not NULL
    struct bytes text;
    const int32_t *ids;
    size_t n_ids;
};

// A request becomes an ask (api/), the ask travels in a job (here), and the job becomes a work (on
// the engine thread). After sched_submit it belongs to the engine thread, which frees it.
struct job {
    struct arena arena;
    enum job_kind kind;
    uint64_t id; // chosen by the caller, unique; of JOB_STOP: the grace in ms
    struct ask ask;
    const uint64_t *owners; // [n_owners] of JOB_KEEP: sched_keeps
    size_t n_owners;
};
struct job *job_open(void); // an empty job with its arena
void job_close(struct job *job);
// Whether a model does what the job wants: one that embeds writes no text, and the other way round.
// UNSUPPORTED: the sentence says which it is and what to do.
MUST_USE enum status job_suits(const struct job *job, const struct model_info *model,
                               struct err *err);

enum finish { FINISH_STOP, FINISH_LENGTH, FINISH_CANCELLED };

enum guesser { // who guessed tokens: what was said before, the model's own block, a second model
    GUESSED_BY_LOOKUP = 1,
    GUESSED_BY_BLOCK = 2,
    GUESSED_BY_DRAFT = 4,
};

struct usage {
    int32_t n_prompt, n_prompt_cached, n_generated; // n_generated: without the token that ended it
    int32_t n_prompt_read;                          // of n_prompt_cached: came from the disk
    int32_t n_thinking;                             // of n_generated
    int32_t n_drafted, n_draft_kept;           // tokens guessed ahead, and of these those that came
    uint32_t drafted_by;                       // bits of enum guesser: whose they were
    uint64_t queue_us, prompt_us, generate_us; // prompt_us 0: no work on the prompt was begun
};

enum event_kind {
    EVENT_STARTED,  // the prompt was accepted: usage.n_prompt is known; text: notes on the schema
    EVENT_PROGRESS, // n_done of usage.n_prompt tokens are read: a heartbeat for streams
    EVENT_CHANCE,   // log-probabilities of a token whose text follows: see below
    EVENT_TEXT,     // text: whole UTF-8, of a channel and call (text/answer.h); usage so far
    EVENT_DONE,     // finish, usage; n_done of the last EVENT_CHANCE are of a stop string's tokens,
                    // whose text is not told; text: the stop string that ended it; vectors of
                    // JOB_EMBED
    EVENT_FAILED,   // err: see below
    EVENT_STATE,    // loading -> ready | failed -> stopping, and how far loading is
};
// Why a job failed: TOO_LARGE the prompt does not fit (usage.n_prompt: it has so many tokens, or
// more, and the context holds n_done; 0: not known); BAD_INPUT, UNSUPPORTED the prompt is not one
// this model takes; NOT_FOUND no such model is loaded; NO_ROOM memory is short just now: it may be
// tried again; CANCELLED the server is shutting down, or the device is lost and the engine starts
// again; BROKEN the model computes what is not a number, or a pass failed in a way that trying
// again does not mend.

// Of a prompt that is told (ask.echoes) come the EVENT_CHANCE of all its tokens, without a BOS that
// was put in front, then its text; NAN stands for the logarithm of a token with nothing before it.
// An EVENT_CHANCE's text is 1 + n_done tokens one behind the other, the one that was taken first,
// then the likeliest in falling order: a float, the natural logarithm of its probability; a
// uint16_t, the bytes of its text; the text; an int32_t, its id.
enum { CHANCES_MOST = 20 };  // OpenAI's limit
#define CHANCE_LEAST -9999.0 // of what is as good as impossible

struct event {          // one malloc; event_close frees it
    struct event *next; // the engine thread's, while the ring is full
    enum event_kind kind;
    uint64_t job_id, owner;
    enum finish finish;
    bool context_full; // FINISH_LENGTH because of the context, not of max_tokens
    struct usage usage;
    int32_t n_done;
    struct err err;
    struct sched_status *status; // EVENT_STATE; taken over by sched_take_event
    float *vectors;              // [n_vectors][n_vector], or NULL; event_close frees it
    size_t n_vectors;
    int32_t n_vector;
    enum answer_channel channel;
    int32_t call;
    size_t n_id; // of ANSWER_TOOL_NAME: text begins with the call's id
    size_t n_text;
    uint8_t text[];
};
void event_close(struct event *event);

struct sched_loading { // how far the model is, while SCHED_LOADING
    struct model_progress at;
    uint64_t left_ms; // as long as it goes on at this speed; 0: not known yet
};

enum { SCHED_MODELS_MOST = 16 }; // loaded at once; others wait for a place
struct sched_model {             // one that is loaded, or is to be, or could not be
    char name[256], path[2200];  // the name of who asked for it first; of its file
    enum sched_state state;      // LOADING, READY or FAILED
    struct err err;              // when it is FAILED
    bool waits;                  // LOADING: for memory, or for the model before it
    bool is_main, is_pinned;     // the one of the start; never unloaded
    struct sched_loading loading;
    struct model_info info;      // id[0] == 0: not opened yet
    int32_t n_users;             // jobs under way
    int64_t keep_s;              // as last asked for
    int64_t loaded_s, expires_s; // unix time; 0: not READY; in use or kept always
    struct err template_fault;   // why its chat template is of no use; status OK: it is
    uint64_t memory_bytes;       // that it takes
};

struct sched_status { // a snapshot, replaced when EVENT_STATE is taken
    enum sched_state state;
    struct err err; // when failed
    struct sched_loading loading;
    struct compute_info device;  // device[0] == 0: not opened yet
    struct model_info model;     // of the start, else another; id[0] == 0: not opened yet
    struct err template_fault;   // why its chat template is of no use; status OK: it is
    struct doctor_device layers; // of the device, looked at once before the model is opened
    int32_t n_models;
    struct sched_model models[]; // [n_models]: none when all are unloaded
};

// Numbers of the engine, as of its last turn: sums over all models, counts since the start.
struct sched_gauges {
    uint64_t n_running, n_waiting;                 // works with and without a sequence
    uint64_t cache_tokens, cache_used, cache_held; // room of keys and values: all of it, that of
                                                   // works that run, that of texts that are kept
    uint64_t prefix_asked, prefix_found;           // tokens of prompts; of these in memory already
    uint64_t n_passes, n_pass_works, n_rows;       // forward passes, works and rows in all of them
    uint64_t n_tokens;                             // tokens of answers
    uint64_t answers_us;                           // time of the passes that went on with answers
    uint64_t n_suspended;                          // works that were sent back to wait
    uint64_t kept_files, kept_bytes;               // on the disk, of texts: now
    uint64_t kept_reads, kept_read_tokens;         // times that one was read, tokens of these
    uint64_t kept_read, kept_written;              // bytes
};

// How the settings have a model opened.
struct model_options sched_model_options(const struct settings *settings);

struct sched;
// Starts the engine thread; loading goes on in it. refused: NULL, or why there is no model_path:
// then the state becomes FAILED with this sentence, and the process can still say so to whoever
// asks, and load others. (A path that is given all the same is not loaded either.)
void sched_open(struct sched **out, const struct settings *settings, const char *model_path,
                const struct err *refused);
// What a model that is not here would get, with nothing else loaded (would.c). From the thread that
// takes the events.
struct sched_would {
    bool known; // how much memory is free; else the rest is 0
    bool fits;
    int32_t n_ctx;        // with which context; 0: it does not fit
    uint64_t needs_bytes; // with a context of 16384 tokens, or what it was trained for
};
void sched_would(const struct sched *sched, const struct model_shape *shape,
                 struct sched_would *out);
// Jobs that wait, and any that come later, end at once; running ones when they are done or when
// grace_ms have passed. Returns at once; more than one call: the earliest end counts.
void sched_stop(struct sched *sched, uint32_t grace_ms);
// Ends the threads; jobs that still run fail as in a stop without grace. Events not taken are lost.
void sched_close(struct sched *sched);
// NO_ROOM: too many jobs are waiting; the job stays yours. A few each owner may have open, whatever
// others have: nobody fills the queue for all.
MUST_USE enum status sched_submit(struct sched *sched, struct job *job);
// Whose texts may be kept on the disk, under the setting `state`, and the version that computes: a
// file of another version is not used. What was kept of others is deleted, in memory too. To be
// told again when an owner is gone or comes; before it is told nothing is kept.
void sched_keeps(struct sched *sched, const char *version, const uint64_t *owners, size_t n);
void sched_cancel(
    struct sched *sched,
    uint64_t job_id); // it still ends with its event (FINISH_CANCELLED, or what came first)
struct event *sched_take_event(struct sched *sched); // NULL when there is none; yours
int sched_event_fd(const struct sched *sched);       // readable: take events until NULL
const struct sched_status *sched_status(const struct sched *sched);
// Of a status by its file; path.n == 0: the model of the start. NULL: it is not loaded.
const struct sched_model *sched_model(const struct sched_status *status, struct bytes path);
size_t sched_n_open(const struct sched *sched); // jobs submitted whose end was not taken yet
size_t sched_n_open_of(const struct sched *sched, uint64_t owner); // of these so many are its own
size_t sched_n_together(const struct sched *sched);                // of these so many run at once
void sched_gauges(const struct sched *sched, struct sched_gauges *out);
// How long the present step (a forward pass, a slice of loading, the tokenizing of a prompt) has
// been going on; 0 = none.
uint64_t sched_step_ms(const struct sched *sched);
// Whether the engine thread has turned, or begun its present step, within the time it may take.
bool sched_beats(const struct sched *sched);
// What is to be told of an engine that hangs; NULL: it does not.
const char *sched_hangs(const struct sched *sched);
