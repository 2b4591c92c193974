// inside.h - what the files of sched/ share: sequences, jobs under way, and the engine thread's
// state.
//
// Invariants (engine_check walks them after every step):
//   FREE     work == NULL; token[0 .. n_cached) is what the KV cache holds, kept for a later
//            prompt that begins the same way
//   PREFILL  n_cached < n_prompt and token[0 .. n_cached) == prompt[0 .. n_cached)
//   DECODE   n_cached == n_prompt + n_generated - 1: the token picked last is not in the cache
//            yet; it is the next row
//   waiting  works without a sequence, in order of arrival; none while a sequence is FREE
#pragma once

#include "sched.h"

enum {
    BATCH_TOKENS = 512, // most rows in one forward pass
    CHUNK_LEAST = 16,   // rows of a prompt in one pass, at least
    WAITING_MOST = 32,  // jobs that may wait for a sequence
    // a pass with prompt rows is sized to take so long:
    STEP_ALONE_US = 1000000, // when nobody else waits for a token
    STEP_SHARED_US = 150000, // when others do; on a slow machine STEP_SHARED_TIMES their own pass
    STEP_SHARED_TIMES = 3,
};

// A job from its arrival to its end.
struct work {
    struct work *next; // in the waiting line
    struct job *job;
    int32_t *prompt; // [n_prompt]
    int32_t n_prompt;
    int32_t n_generated, picked; // picked: the token that is the next row
    struct sampler *sampler;
    struct stopper *stopper;
    struct usage usage;
    uint64_t arrived_us, started_us, first_us; // came; got a sequence; first token
};

enum seq_state { SEQ_FREE, SEQ_PREFILL, SEQ_DECODE };

struct seq {
    enum seq_state state;
    int32_t index;    // its number in the KV cache
    int32_t *token;   // [n_ctx]
    int32_t n_cached; // positions whose KV is computed
    uint64_t used_at; // engine->n_steps when it was last used
    struct work *work;
};

struct engine { // all of it belongs to the engine thread
    struct sched *sched;
    struct compute *compute;
    struct doctor_device *layers; // of the device, for whoever asks why
    struct model *model;
    const struct tokenizer *tokenizer;
    int32_t n_ctx, n_vocab, n_seq;
    struct seq *seqs; // [n_seq]
    struct work *waiting, **waiting_end;
    int32_t n_waiting;
    uint64_t n_steps;
    double chunk[2];            // prompt rows in a pass, alone and beside others: see chunk_learn()
    double decode_us;           // a pass without prompt rows, running mean
    int32_t *token, *pos, *seq; // [BATCH_TOKENS] rows of the batch
    uint8_t *wanted;            // [BATCH_TOKENS]
    float *logits;              // [n_seq][n_vocab], or the largest: [n_seq][n_top]
    int32_t *top;               // [n_seq][TOP_K_MOST]: whose they are
};

// sched.c: to the net thread
void engine_tell(struct engine *engine, struct event *event);
struct event *event_open(enum event_kind kind, const struct work *work);
// Around what may take long: sched_step_ms() counts from here.
void engine_step_begins(struct engine *engine, bool begins);

// work.c
// Takes the job: queued, or refused with its event.
void engine_accept(struct engine *engine, struct job *job);
void engine_cancel(struct engine *engine, uint64_t job_id);
void engine_assign(struct engine *engine); // gives free sequences to waiting works
void engine_token(struct engine *engine, struct seq *seq, int32_t id);
void work_finish(struct engine *engine, struct seq *seq, enum finish finish);
void work_fail(struct engine *engine, struct seq *seq, const struct err *err);
void engine_drop_all(struct engine *engine); // every work ends as cancelled

// step.c
bool engine_busy(const struct engine *engine);
void engine_step(struct engine *engine); // one forward pass
void engine_check(const struct engine *engine);

// prefix.c
int32_t prefix_common(const int32_t *a, int32_t n_a, const int32_t *b, int32_t n_b);
struct seq *prefix_choose(struct seq *seqs, int32_t n_seq, const int32_t *prompt, int32_t n_prompt,
                          int32_t *n_reused);
