// inside.h - what the files of sched/ share: models, sequences, jobs under way, and the engine
// thread's state.
//
//   sched.c    the caller's side: rings, events, status      thread.c  the engine thread's loop
//   load.c     the device, and models in slices              work.c    a job's way to its end
//   loaded.c   which models are loaded, and how long         deaths.c  which ended the engine
//   encode.c   the thread that turns prompts into ids        prefix.c  which sequence it gets
//   step.c     one forward pass            embed.c   and one of a model that embeds
//   speak.c    from tokens to what is told turn.c    whose turn it is
//   guess.c    rows of tokens that are likely to come      lookup.c  which these are, found
//   ahead.c    and computed, by a block or a second model  status.c  what is said of a model
//   keep.h     what is kept of texts on the disk: keep.c, saved.c, errands.c
//
// Invariants (engine_check walks them after every step):
//   FREE      work == NULL; token[0 .. n_cached) is what the model's memory holds, kept for a
//             later prompt that begins the same way, until memory is short
//   PREFILL   n_cached < n_prompt and token[0 .. n_cached) == prompt[0 .. n_cached)
//   DECODE    n_cached == n_prompt + n_generated - n_read - 1: the token picked last is not in the
//             memory yet; it is the next row, before those of guessed tokens
//   arriving  works whose prompt is not tokenized yet: job == NULL while the encoder has it
//   fetching  works for whose prompt a file may be read before they wait
//   waiting   works without a sequence, in order of arrival or of their return; while fewer than
//             n_together run only because memory is short, which those that run will give back
// Every sequence says that it holds what the model's memory has of it (model_held). A work that had
// a sequence may be sent back to wait (work_suspend): memory was short, and others came before it.
#pragma once

#include "sched.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    BATCH_TOKENS = 512,     // most rows in one forward pass
    CHUNK_LEAST = 16,       // rows of a prompt in one pass, at least: alone,
    CHUNK_LEAST_SHARED = 4, // and beside a stream: of a 3B model on two cores some 0.3 s
    CHUNK_FIRST = 64,       // while nothing was measured: alone,
    CHUNK_FIRST_SHARED = 8, // and beside a stream
    WAITING_MOST = 32,      // jobs that may wait for a sequence
    PLACES_OWN = 4,         // so many jobs each owner may have open, whatever others have
    TURN_UNITS = 4096,      // 512 tokens of an answer, or so many of a prompt
    ANSWER_UNITS = 8,       // of each token of an answer
    JOB_SLOTS = 1024,       // of the rings that jobs travel on; far above what is open at once
    LOADED_MOST = SCHED_MODELS_MOST,
    LISTED_MOST = 4 * LOADED_MOST, // with those that wait to be loaded, or could not be
    WORK_MARKS = 3,                // ends of messages in a prompt that may be gone back to
    HELD_MOST = 32,                // earlier texts that are kept beside those that are worked on
    LOAD_SLICE_MS = 20,            // of loading, between two passes
    MEMORY_CHECK_STEPS = 64, // the model's memory is walked after one in so many: it has pages
    // a pass with prompt rows is sized to take so long:
    STEP_ALONE_US = 1000000, // when nobody else waits for a token
    STEP_SHARED_US = 150000, // when others do; on a slow machine STEP_SHARED_TIMES their own pass
    STEP_SHARED_TIMES = 3,
    // Rows of a pass whose numbers are the same however many they are: what is guessed stays in it.
    GUESS_ROWS = FEW_ROWS,
    GUESS_MOST = GUESS_ROWS - 1,  // tokens guessed at once
    GUESS_KINDS = 8,              // by how much of the text before was found again; and
    KIND_AHEAD = GUESS_KINDS - 2, // what was computed ahead,
    KIND_SURE = GUESS_KINDS - 1,  // what is forced
    GUESS_PACES = 4,              // passes of 1, 2, 4 and 8 rows
    PACE_TIMES = 11,              // that are kept of each
};

struct encoder;
struct lookup;
struct keep;
struct errands;
struct transfer;

struct guess {                          // of a work: what may come next
    struct lookup *lookup;              // its text; NULL: nothing is guessed
    int32_t token[GUESS_MOST], n, at;   // [n], of which `at` have come
    int32_t n_rows;                     // so many of them are rows of the next pass
    int32_t kind;                       // of GUESS_KINDS
    float rate[GUESS_KINDS];            // how often such a token came, running mean
    int32_t ahead[GUESS_MOST], n_ahead; // computed for where the text ended then
};

struct pace {                // of passes of so many rows
    double us;               // that one takes: the median of the last
    float times[PACE_TIMES]; // [n - 1 at most]: these
    uint64_t at;             // guessing.n_passes when it was last measured
    int32_t n;               // times since it was forgotten
};
struct guessing { // of a model
    bool on;
    struct pace paces[GUESS_PACES];
    float rate[GUESS_KINDS];
    uint64_t n_passes;
};

struct ahead_seq {    // of a sequence
    bool wants, room; // of the present pass: guesses; and there is room for what is behind it
    int32_t sure;     // positions of the text that the second model's memory holds,
    int32_t fed[GUESS_MOST]; // and the guesses that may lie behind
};
struct ahead {            // what computes guesses: ahead.c
    struct model *model;  // that does: the second one, or by its block the model itself; NULL: none
    struct model *second; // NULL: there is none
    bool tried;           // to open it
    struct ahead_seq *seqs;            // [n_seq]
    int32_t *token, *pos, *seq, *from; // [n] rows of a pass of it, BATCH_TOKENS at most
    uint8_t *wanted;                   // [n]
    int32_t n;
    int32_t asks[GUESS_ROWS], n_asks; // sequences with a wanted row
    float value[GUESS_ROWS];          // and what it says of each
    int32_t top[GUESS_ROWS];
    struct pace follow, step; // a pass of what counts with the first guess; one guess more
    uint64_t sleeps_until;    // guessing.n_passes
    int32_t n_poor;           // times in a row that no guess was worth its time
};

// A prompt on its way through the encoder: it belongs to whoever holds it.
struct encoding {
    struct job *job;       // its text; NULL: the encoder is to end
    struct loaded *loaded; // whose n_encoding counts it
    const struct tokenizer *tokenizer;
    struct answer_family family;
    const struct template *template;
    struct jinja_text text;     // of ask.only_prompt: the prompt
    struct bytes chat_template; // the model's; a view that outlives this
    struct buf told;            // where ask_only_tells
    int32_t n_ctx, n_ctx_train; // of the model; what the prompt must fit
    struct bytes rank_format;   // of a reranker's file; a view that outlives this
    int32_t *n_each;            // [ask.n_texts] of JOB_EMBED: ids of each text, one behind another
    int32_t *ids;               // [n]; NULL when it was refused
    int32_t n;                  // of a prompt that is too long: so many, or more
    int32_t *predicted, n_predicted; // ids of ask.prediction; NULL: none
    struct grammar *grammar;         // NULL: the answer is free
    struct matcher *matcher;         // at its beginning
    struct notes notes;              // on it
    struct err err;                  // status != OK: refused
};

// A job from its arrival to its end.
struct work {
    struct work *next; // in the line of those that arrive or wait
    uint64_t id;
    struct owner *owner;
    int64_t turn_units; // of progress since it got its sequence
    int32_t n_reached;  // most positions that were computed for it
    int32_t n_fetched;  // of its prompt that were read from the disk for it
    struct job *job;    // NULL while its text is with the encoder
    int32_t *prompt; // [n_prompt]: what is to be read; of a suspended work with what it generated
    int32_t n_prompt;
    int32_t n_read;                        // of n_generated these are part of the prompt
    int32_t marks[WORK_MARKS], mark_every; // where snapshots are taken: prefix_marks
    int32_t n_generated, picked;           // picked: the token that is the next row
    int32_t *n_each;                       // [n_texts] of JOB_EMBED: ids of each text in prompt
    size_t n_texts, at_text;               // at_text: the one that is next
    int32_t at_token;                      // of it, the first that is not in the memory
    int32_t at_prompt;                     // and where that is in prompt
    float *vectors;                        // [n_texts][n_vector]: those before at_text are there
    int32_t *predicted, n_predicted;       // what the client thinks the answer will be
    struct guess guess;
    struct sampler *sampler;
    struct grammar *grammar; // NULL: the answer is free
    struct matcher *matcher; // how far it is in the grammar
    struct stopper *stopper;
    struct answer_parser *answer; // NULL: its text is told as it is
    bool obeys;                   // the matcher counts from here
    bool thought_cut, call_begun; // what was to be forced has been
    bool context_full;            // which ended it
    int32_t *forced;              // [n_forced] tokens that count instead of those picked
    int32_t n_forced, at_forced;
    bool echoes;       // its prompt is still to be told, from this token's log-probability on:
    int32_t n_chanced; // those before have theirs
    int32_t n_unsaid;  // the last tokens, whose text a stop string took away
    struct usage usage;
    uint64_t arrived_us, started_us, first_us; // came; got a sequence; first token
};

struct owner { // of works that are there
    struct owner *next;
    uint64_t id; // ask.owner
    int32_t n_works;
    uint64_t served; // units
};

enum seq_state { SEQ_FREE, SEQ_PREFILL, SEQ_DECODE };

struct seq {
    enum seq_state state;
    int32_t index;    // its number in the model's memory
    int32_t *token;   // [n_ctx]
    int32_t n_cached; // positions that are computed
    uint64_t owner;   // whose text it is
    uint64_t used_at; // engine->n_steps when it was last used
    uint64_t used_ms; // when its last work ended
    bool is_settled;  // whether it is worth a file was looked at since
    struct work *work;
};

struct line { // works one behind the other
    struct work *first, **end;
    int32_t n;
};

struct chance_row { // the present row as the model gave it, where log-probabilities are asked for
    int32_t id[CHANCES_MOST]; // [n] the largest, falling
    float logit[CHANCES_MOST];
    int32_t n, n_top;
    struct logits top; // [n_top] of the row
    const float *all;  // [n_vocab]; NULL: not read yet
    double total;      // log(sum of e^logit)
};

// A model and all that belongs to it.
struct loaded {
    struct engine *engine;
    enum sched_state state; // LOADING, READY or FAILED
    struct err err;         // when FAILED or is_lost
    char name[256];         // as it was asked for; empty: not known before it is opened
    char path[2200];
    bool is_main, is_pinned;
    bool waits;           // LOADING: it is not begun
    bool counted;         // deaths_begin has its file
    int32_t n_ctx_asked;  // by what had it loaded; 0: the setting counts
    bool is_lost;         // its file cannot be read any more, says err: it takes no job
    int64_t keep_s;       // as last asked for
    uint64_t idle_ms;     // since when nobody uses it; 0: somebody does, or it is not READY
    uint64_t failed_ms;   // when it did
    uint64_t next_try_ms; // of waiting for memory
    uint64_t n_bytes;     // that it takes; 0: nothing yet
    int64_t loaded_s;     // unix time
    int32_t n_encoding;   // prompts with the encoder, which reads its tokenizer
    struct model *model;  // NULL: its file is not opened yet
    const struct tokenizer *tokenizer;
    const struct template *template;
    struct answer_family family; // how it marks its thoughts and calls
    int32_t n_ctx, n_ctx_train, n_vocab;
    int32_t n_together, n_seq; // works at once; sequences: HELD_MOST more
    bool needs_snapshots;      // the model cannot go back anywhere
    struct seq *seqs;          // [n_seq]
    struct line arriving, fetching, waiting;
    struct owner *owners;
    int32_t n_users;            // works in all: of the lines and of the sequences
    uint64_t used_at;           // engine->n_steps of its last pass
    uint64_t began_ms, told_ms; // loading: since when, and when it was last told
    double chunk[2];            // prompt rows in a pass, alone and beside others: chunk_learn()
    double decode_us;           // a pass without prompt rows, running mean
    double prompt_us;  // a token of a prompt that is read alone, running mean; 0: not known
    uint64_t identity; // of the model and the build, in the names of files: keep.h
    struct transfer *transfer;
    uint64_t keep_look_ms; // when texts are to be looked at that may be worth a file; 0: none are
    bool fetch_gave_up;    // reading took too long for the first work that waits for it
    struct guessing guessing;
    struct ahead ahead;
    bool embeds;       // it has no sequences with works: embed.c
    int32_t n_vector;  // of a text's vector
    int32_t first_seq; // that has the text which is next, or begins it
    int32_t *n_rows;   // [n_seq] rows of each sequence in the present pass
    float *logits;     // [n_wanted_most][n_vocab], or the largest: [..][n_top]
    float *row;        // [n_vocab]: all logits of one of these
    float *raw;        // [n_vocab]: the same, which nothing changes
    float *total;      // [n_wanted_most]: log(sum of e^logit) of each wanted row
    struct chance_row chance;
    int32_t *top; // [n_wanted_most][TOP_K_MOST]: whose they are
};

struct engine { // all of it belongs to the engine thread
    struct sched *sched;
    struct encoder *encoder;
    struct keep *keep; // NULL: nothing is kept
    struct compute *compute;
    struct doctor_device *layers; // of the device, for whoever asks why
    struct loaded *loaded[LISTED_MOST];
    int32_t n_loaded;
    struct death *deaths;   // deaths.c: lines
    struct err refused;     // status != OK: no model can be had; every job fails with it
    enum sched_state state; // what is told of the whole, and why
    struct err why;
    uint64_t memory_bytes; // free before any model was loaded; 0: the device does not tell
    uint64_t n_steps;
    struct sched_gauges gauges; // its counts; the rest is worked out when they are told
    bool stopping;
    uint64_t stop_at_ms;        // when running works are cut off; 0: they have been
    int32_t *token, *pos, *seq; // [BATCH_TOKENS] rows of the batch
    uint8_t *wanted;            // [BATCH_TOKENS]
};

struct sched {
    struct ring *jobs, *events;
    pthread_t thread;
    struct encoder *encoder;
    struct settings settings;
    char model_path[2200];
    struct err refused;                        // status != OK: there is no model to open
    struct sched_status *status;               // the caller's thread
    size_t n_open;                             // the caller's thread
    struct place *places;                      // the same: of whom these are
    _Atomic uint64_t step_began_ms, turned_ms; // 0: at no step; when it last came round
    _Atomic int device_step;                   // enum device_step: what the step is
    _Atomic uint64_t gauges[sizeof(struct sched_gauges) / sizeof(uint64_t)];
    struct event *late, **late_end; // the engine thread: events that found the ring full
};

enum device_step { DEVICE_WORKS, DEVICE_OPENS, DEVICE_IS_TESTED }; // WORKS: any step behind these

// sched.c: to the net thread
void engine_tell(struct engine *engine, struct event *event);
void engine_tell_late(struct engine *engine); // what found the ring full
struct event *event_open(enum event_kind kind, const struct work *work);
void engine_tell_gauges(struct engine *engine);
// Around what may take long: sched_step_ms() counts from here.
void engine_step_begins(struct engine *engine, bool begins);
void engine_turns(struct engine *engine); // a sign of life: sched_beats()
void nap(int n_ms);

// thread.c
void *engine_main(void *sched); // the thread's whole life
// The device is lost. Everybody who waits is told, for a moment also whoever comes, and the process
// ends: PID 1 starts the engine again, with a fresh device.
_Noreturn void engine_lost(struct engine *engine, const struct err *err);

// load.c
void engine_load(struct engine *engine);           // the device; the model of the start is begun
void loaded_load_some(struct loaded *loaded);      // a slice; READY or FAILED in the end
bool loaded_may_load(const struct loaded *loaded); // none before it is being loaded
void engine_tell_state(struct engine *engine, enum sched_state state, const struct err *err);
void engine_tell_models(struct engine *engine); // the state is as it was

// deaths.c: what is remembered of models beyond the process's end.
void deaths_open(struct engine *engine); // what earlier engines left
void deaths_close(struct engine *engine);
// A model is to be loaded. UNSUPPORTED: that has ended the engine too often; else it is written
// down until deaths_end.
MUST_USE enum status deaths_begin(struct engine *engine, const char *path, struct err *err);
void deaths_end(struct engine *engine, const char *path); // whatever has come of it

// loaded.c
// The model a job names, which is to be loaded now if it is not; NULL: *err says why not.
struct loaded *loaded_for(struct engine *engine, const struct ask *ask, struct err *err);
// Of those that are there; NULL: none is it.
struct loaded *loaded_find(struct engine *engine, const struct ask *ask);
struct loaded *loaded_open(struct engine *engine, struct bytes name, const char *path);
// Nobody uses it. What is worth it is kept on the disk first: KEEP_UNLOAD_MS at most.
void loaded_close(struct engine *engine, struct loaded *loaded);
void loaded_counted(struct loaded *loaded);    // its load has ended
bool loaded_pins(const struct loaded *loaded); // the setting `pin` names it
bool loaded_is_idle(const struct loaded *loaded);
// Its file can no longer be read (err): all its works fail, and it is closed when it is idle.
void loaded_lost(struct loaded *loaded, const struct err *err);
// Unloads the model that is unused for longest, for `wants`. False: none may go.
bool engine_evict(struct engine *engine, const struct loaded *wants);
bool engine_may_evict(const struct engine *engine, const struct loaded *wants); // later
void engine_unload_job(struct engine *engine, const struct job *job);           // of JOB_UNLOAD
void engine_unload_old(struct engine *engine);                                  // by keep_s
int engine_patience_ms(const struct engine *engine); // until then it may sleep; -1: for ever
void engine_unload(struct engine *engine);           // all, and the device

// encode.c
void encoder_open(struct encoder **out);
// Waits for the prompt it is at and drops the others; before any tokenizer is closed.
void encoder_stop(struct encoder *encoder);
void encoder_close(struct encoder *encoder); // after encoder_stop
void encoder_send(struct encoder *encoder, struct encoding *encoding);
struct encoding *encoder_take(struct encoder *encoder); // NULL: nothing is ready; yours
int encoder_fd(const struct encoder *encoder);
uint64_t encoder_began_ms(const struct encoder *encoder); // of the present prompt; 0: none
void encoding_close(struct encoding *encoding);
// The field of the request that says what the answer must be, as sentences call it.
const char *ask_obeys(const struct ask *ask);
// Whether the text is too long by its bytes alone.
MUST_USE enum status encoding_check(struct encoding *encoding, struct err *err);

// told.c
enum { TOLD_BYTES_MOST = 4 << 20 };
bool ask_only_tells(const struct ask *ask);
MUST_USE enum status told_encode(struct encoding *encoding, struct err *err);
size_t pieces_bytes(const struct ask *ask); // of a prompt in pieces, and its ids
MUST_USE enum status pieces_encode(const struct encoding *encoding, int32_t *ids, size_t cap,
                                   size_t *n, struct err *err);

// work.c
void line_init(struct line *line);
// Takes the job: under way, or refused with its event.
void engine_accept(struct engine *engine, struct job *job);
void engine_encoded(struct engine *engine, struct encoding *encoding); // takes it
void engine_cancel(struct engine *engine, uint64_t job_id);
void engine_stop(struct engine *engine, uint64_t grace_ms);
void engine_cut_off(struct engine *engine); // running works fail: the grace has ended
void engine_fail_all(struct engine *engine, const struct err *err); // all works, of every model
void loaded_encode_all(struct loaded *loaded); // READY: those that came while it was loaded
void loaded_fail_lines(struct loaded *loaded, const struct err *err); // arriving and waiting
void job_refuse(struct engine *engine, const struct job *job, const struct err *why);
void work_fetched(struct loaded *loaded, struct work *work); // of the line `fetching`: it waits now
void loaded_expire(struct loaded *loaded); // ends works that were to have begun by now
void loaded_assign(struct loaded *loaded); // gives free sequences to waiting works
void loaded_token(struct loaded *loaded, struct seq *seq, int32_t id);
void loaded_read(struct loaded *loaded, struct seq *seq); // of ask.only_reads: the prompt is read
void work_fail(struct loaded *loaded, struct seq *seq, const struct err *err);
struct usage work_usage(const struct work *work); // so far
// It waits again, before all others; what its sequence holds is kept as long as may be.
void work_suspend(struct loaded *loaded, struct seq *seq);

// turn.c
extern int32_t turn_length;                                   // TURN_UNITS; a test shortens it
struct owner *owner_take(struct loaded *loaded, uint64_t id); // with one more work
void owner_drop(struct loaded *loaded, struct owner *owner);  // with one less
// Where in the waiting line of a model that embeds a new work of the owner stands: they take turns.
struct work **turn_place(struct loaded *loaded, const struct owner *owner);
// Where the waiting line points to the work that gets the next sequence. One waits.
struct work **turn_next(struct loaded *loaded);
// The same when none is free, or no memory, and the sequence whose work gives way to it; NULL: none
// does.
struct work **turn_over(struct loaded *loaded, struct seq **gives);
void turn_begins(struct work *work, int32_t n_cached);
void turn_count(struct work *work, int32_t n_cached, bool answers); // its sequence holds so much

// speak.c
struct event *text_event(enum event_kind kind, const struct work *work, struct bytes text);
void work_speak_begin(const struct loaded *loaded, struct work *work); // it has a sampler
// The token that counts where `id` was picked.
int32_t work_counts(const struct loaded *loaded, struct work *work, int32_t id);
// Tells what the token says. True: the answer ends here, and nothing is left to be told.
bool work_speak(struct loaded *loaded, struct work *work, int32_t id);
void work_speak_end(struct loaded *loaded, struct work *work); // tells what was held back
// Tells the first token of a prompt that is echoed, and when all others are, its text.
void work_echo_begin(struct loaded *loaded, struct work *work);
void work_echo_end(struct loaded *loaded, struct work *work);
size_t work_unsaid(const struct work *work);     // bytes that a stop string took away; 0: none did
struct bytes work_stop(const struct work *work); // the one that ended it; n == 0: none did
void work_speak_close(struct work *work);

// chance.c: for a work that asks for log-probabilities, before its row is picked from, and when it
// is known which token counts. wanted: which of the pass's wanted rows it is.
void chance_begin(struct loaded *loaded, const struct work *work, struct logits logits,
                  int32_t n_top);
void chance_tell(struct loaded *loaded, const struct work *work, int32_t wanted, int32_t id);
// Of a prompt's token that follows the row; of its first one, which follows none.
void chance_of_prompt(struct loaded *loaded, const struct work *work, int32_t wanted, int32_t id);
void chance_of_none(struct loaded *loaded, const struct work *work, int32_t id);

// guess.c
extern bool guess_boldly;               // a test: all that can be guessed is, whatever it costs
void guess_open(struct loaded *loaded); // the model is ready
void guess_begin(struct loaded *loaded, struct work *work);
void guess_saw(struct loaded *loaded, struct work *work, int32_t id); // a token that counts
// Before a pass: how many rows of guessed tokens each sequence that generates should have in it.
void guess_plan(struct loaded *loaded);
void guess_learn(struct loaded *loaded, int32_t n_rows, uint64_t took_us); // a pass of such rows
void guess_close(struct work *work);
void pace_add(struct pace *pace, uint64_t took_us); // one more time
// Whether guesses should be computed for it: it may have some, and none that is likelier is found.
bool guess_wants(const struct loaded *loaded, const struct seq *seq);
// How many for each of n_wants sequences; 0: not now; -1: no number of them is worth its time.
int32_t guess_depth(const struct loaded *loaded, int32_t n_wants);

// ahead.c
// What a second model will take beside this one with such options; 0: there is none.
uint64_t ahead_bytes(const struct loaded *loaded, const struct model_options *options);
// Loads it, when the model is there. AGAIN: there is more. It never fails: the model goes without.
MUST_USE enum status ahead_load_some(struct loaded *loaded, uint32_t budget_ms);
void ahead_open(struct loaded *loaded); // after guess_open
void ahead_close(struct loaded *loaded);
// After a pass of n_pass rows: these are computed too, and the guesses for the next one.
void ahead_follow(struct loaded *loaded, int32_t n_pass);
// The sequence stands at n, or became a fork of another that is cut there.
void ahead_cut(struct loaded *loaded, const struct seq *seq, int32_t n);
void ahead_fork(struct loaded *loaded, const struct seq *from, const struct seq *to, int32_t n);

// lookup.c
enum { LOOKUP_BREAK = -1, LOOKUP_MATCH_LEAST = 2, LOOKUP_MATCH_MOST = 32 };
void lookup_open(struct lookup **out, int32_t n_expected); // tokens
void lookup_close(struct lookup *lookup);                  // NULL: nothing
// A token of the text, or LOOKUP_BREAK, over which nothing is found.
void lookup_add(struct lookup *lookup, int32_t token);
// What may follow: at most n_most tokens; returns how many. *n_matched: so many of the last tokens
// stand before where they were found; 0: nothing was.
int32_t lookup_guess(const struct lookup *lookup, int32_t *out, int32_t n_most, int32_t *n_matched);

// step.c
int32_t loaded_running(const struct loaded *loaded); // sequences with works: a pass has work to do
// Whether a text of another model waits for its next token: a pass must not take long then.
bool loaded_beside_streams(const struct loaded *loaded);
void loaded_step(struct loaded *loaded); // one forward pass
// Of the wanted rows of the last pass one whole, [n_vocab]; where the device is lost, engine_lost.
void loaded_logits(struct loaded *loaded, int32_t wanted, float *out);
void engine_check(const struct engine *engine);

// embed.c
MUST_USE enum status embed_encode(struct encoding *encoding, struct err *err); // of JOB_EMBED
bool loaded_embed(struct loaded *loaded); // one pass over texts that wait; false: none does
void work_done(struct loaded *loaded, struct work *work); // work.c: of JOB_EMBED, waiting
void work_fail_waiting(struct loaded *loaded, struct work *work, const struct err *err);

// prefix.c
int32_t prefix_common(const int32_t *a, int32_t n_a, const int32_t *b, int32_t n_b);
// A free sequence that holds as much of the work's prompt as can be had: n_cached of it. There must
// be two free ones.
struct seq *prefix_take(struct loaded *loaded, const struct work *work);
int32_t prefix_held(const struct loaded *loaded, const struct work *work); // that it would hold
int32_t prefix_most(const struct work *work); // of its prompt's tokens that need not be computed
void prefix_forget(struct loaded *loaded, struct seq *seq); // it holds nothing
// The free sequence to overwrite: an empty one, else the cheapest. There is one.
struct seq *prefix_oldest(const struct loaded *loaded, const struct seq *but);
// Forgets the free sequence whose text is cheapest to have again. False: there is none.
bool prefix_evict(struct loaded *loaded, const struct seq *but);
// Room for n more positions, if need be at the cost of what nobody works on.
bool prefix_reserve(struct loaded *loaded, const struct seq *seq, int32_t n);
// The same for a sequence that is to be placed at n: it is.
bool prefix_place(struct loaded *loaded, int32_t index, int32_t n);
void prefix_marks(const struct loaded *loaded, struct work *work);
// Where a pass over its prompt must end that begins at n.
int32_t prefix_next_mark(const struct loaded *loaded, const struct work *work, int32_t n);
void prefix_snapshot(struct loaded *loaded, const struct seq *seq); // where it is to be taken
// Room for n states, if need be at the cost of what nobody works on. False: there is none.
bool prefix_states(struct loaded *loaded, int32_t n);

// keep.c
void keep_tell(struct engine *engine, const struct job *job); // of JOB_KEEP
void keep_take(struct engine *engine);                        // what came back from the disk
void keep_open_model(struct loaded *loaded);                  // it is ready
bool keep_wants(struct loaded *loaded);                       // new works stand in `fetching` first
bool keep_turn(struct loaded *loaded); // a slice of writing or reading; false: nothing to do
void keep_used(struct loaded *loaded, struct seq *seq); // a work has left it
uint64_t keep_look_ms(const struct loaded *loaded);     // when it has to do; UINT64_MAX: never
// Memory is short, or all in it is lost: a transfer under way gives its part back. False: none is.
bool keep_give_up(struct loaded *loaded);
void keep_rest(struct loaded *loaded, uint64_t most_ms); // writes what is worth it, now
void keep_close_model(struct loaded *loaded);
void keep_stop(struct engine *engine);  // keep_rest of all models, KEEP_STOP_MS at most
void keep_close(struct engine *engine); // behind all models
double keep_again_us(const struct loaded *loaded, const struct seq *seq); // saved.c: see there
