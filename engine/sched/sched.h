// sched.h - floor 4: the engine thread. It owns the device, the model, the KV cache and every sequence; it takes jobs from one
// ring and answers with events on another. Nobody waits for a client here: the net thread buffers, or cancels.
#pragma once

#include "../base/base.h"
#include "../model/model.h"

enum sched_state { SCHED_LOADING, SCHED_READY, SCHED_FAILED };

enum job_kind { JOB_GENERATE, JOB_CANCEL, JOB_STOP };

struct job { // made by api/ on its arena, pushed with sched_submit: then it belongs to the engine thread, which frees it
    struct arena arena; // everything below points into it
    enum job_kind kind;
    uint64_t id;        // chosen by the caller, unique
    bool chat;          // messages, else prompt
    const struct message *messages;
    size_t n_messages;
    struct bytes prompt;
    struct sampling sampling;
    int32_t max_tokens; // 0 = up to the context's end
    const struct bytes *stops;
    size_t n_stops;
};
struct job *job_open(void); // an empty job with its arena
void job_close(struct job *job);

enum finish { FINISH_STOP, FINISH_LENGTH, FINISH_CANCELLED };

struct usage {
    int32_t n_prompt, n_prompt_cached, n_generated;
    uint64_t queue_us, prompt_us, generate_us;
};

enum event_kind {
    EVENT_STARTED,  // prompt was accepted; usage.n_prompt is known
    EVENT_PROGRESS, // prefill is going on: heartbeat for streams (usage.n_prompt_done in n_done)
    EVENT_TEXT,     // text: whole UTF-8
    EVENT_DONE,     // finish, usage
    EVENT_FAILED,   // err (BAD_INPUT: the prompt does not fit, ...)
    EVENT_STATE,    // loading -> ready | failed: see struct sched_status
};

struct event { // one malloc; event_close frees it
    enum event_kind kind;
    uint64_t job_id;
    enum finish finish;
    struct usage usage;
    int32_t n_done;
    struct err err;
    size_t n_text;
    uint8_t text[];
};
void event_close(struct event *event);

struct sched_status { // written by the engine thread before EVENT_STATE is pushed, read-only afterwards
    enum sched_state state;
    struct err err; // when failed
    struct compute_info device;
    struct model_info model;
};

struct sched;
// Starts the engine thread; loading goes on in it. jobs/events are the two rings.
void sched_open(struct sched **out, const struct settings *settings, const char *model_path);
void sched_close(struct sched *sched); // stops the thread; running jobs end as FINISH_CANCELLED
MUST_USE enum status sched_submit(struct sched *sched, struct job *job); // NO_ROOM: too many waiting; the job stays yours
struct event *sched_take_event(struct sched *sched); // NULL when there is none; yours
int sched_event_fd(const struct sched *sched);
const struct sched_status *sched_status(const struct sched *sched);
