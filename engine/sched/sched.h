// sched.h - floor 4: the engine thread. It owns the device, the model, the KV cache and every
// sequence; it takes jobs from one ring and answers with events on another. Nobody waits for a
// client here: the net thread buffers, or cancels.
//
// Every submitted job ends with exactly one EVENT_DONE or EVENT_FAILED, whatever happens to it. All
// functions here are called from one thread (the net thread, or the terminal of `tawny chat`).
#pragma once

#include "../base/base.h"
#include "../doctor/doctor.h"
#include "../model/model.h"

// The engine thread works on one thing (a forward pass, the tokenizing of one prompt) for so long:
// then it hangs. /health says so, and the heartbeat stops. The longest that is honest work is a
// model's first pass, which reads the weights from the disk: 8 GB from a USB stick at 30 MB/s are
// 270 s. To give up sooner would restart such a box for ever.
enum { SCHED_HUNG_MS = 300000 };
// While it loads, its one such thing is to open and test the device, which takes a second: after so
// long a driver hangs, and /health says so. (The heartbeat goes on: a restart would not mend it.)
enum { SCHED_DEVICE_MS = 60000 };

enum sched_state { SCHED_LOADING, SCHED_READY, SCHED_FAILED };

enum job_kind { JOB_GENERATE, JOB_CANCEL, JOB_STOP };

// What is asked, whatever dialect asked it: everything the engine must know to answer, and nothing
// about how the answer is written. What it points to lies on its job's arena.
struct ask {
    bool chat; // messages, else prompt
    const struct message *messages;
    size_t n_messages;
    struct bytes prompt; // raw: names of control tokens in it are control tokens
    struct sampling sampling;
    int32_t max_tokens; // 0 = up to the context's end
    const struct bytes *stops;
    size_t n_stops;
};

// A request becomes an ask (api/), the ask travels in a job (here), and the job becomes a work (on
// the engine thread). After sched_submit it belongs to the engine thread, which frees it.
struct job {
    struct arena arena;
    enum job_kind kind;
    uint64_t id; // chosen by the caller, unique
    struct ask ask;
};
struct job *job_open(void); // an empty job with its arena
void job_close(struct job *job);

enum finish { FINISH_STOP, FINISH_LENGTH, FINISH_CANCELLED };

struct usage {
    int32_t n_prompt, n_prompt_cached, n_generated; // n_generated: without the token that ended it
    uint64_t queue_us, prompt_us, generate_us;
};

enum event_kind {
    EVENT_STARTED,  // the prompt was accepted: usage.n_prompt is known
    EVENT_PROGRESS, // n_done of usage.n_prompt tokens are read: a heartbeat for streams
    EVENT_TEXT,     // text: whole UTF-8
    EVENT_DONE,     // finish, usage
    EVENT_FAILED,   // err (TOO_LARGE: the prompt does not fit, ...)
    EVENT_STATE,    // loading -> ready | failed: look at sched_status
};

struct event {          // one malloc; event_close frees it
    struct event *next; // the engine thread's, while the ring is full
    enum event_kind kind;
    uint64_t job_id;
    enum finish finish;
    struct usage usage;
    int32_t n_done;
    struct err err;
    struct sched_status *status; // EVENT_STATE; taken over by sched_take_event
    size_t n_text;
    uint8_t text[];
};
void event_close(struct event *event);

struct sched_status { // a snapshot, replaced when EVENT_STATE is taken
    enum sched_state state;
    struct err err;              // when failed
    struct compute_info device;  // device[0] == 0: not opened yet
    struct model_info model;     // id[0] == 0: not opened yet
    struct doctor_device layers; // of the device, looked at once before the model is opened
};

struct sched;
// Starts the engine thread; loading goes on in it. refused: NULL, or why there is no model_path:
// then the state becomes FAILED with this sentence, and the process can still say so to whoever
// asks.
void sched_open(struct sched **out, const struct settings *settings, const char *model_path,
                const struct err *refused);
void sched_close(struct sched *sched); // stops the thread; running jobs end as FINISH_CANCELLED
// NO_ROOM: too many jobs are waiting; the job stays yours.
MUST_USE enum status sched_submit(struct sched *sched, struct job *job);
void sched_cancel(
    struct sched *sched,
    uint64_t job_id); // it still ends with its event (FINISH_CANCELLED, or what came first)
struct event *sched_take_event(struct sched *sched); // NULL when there is none; yours
int sched_event_fd(const struct sched *sched);       // readable: take events until NULL
const struct sched_status *sched_status(const struct sched *sched);
size_t sched_n_open(const struct sched *sched);     // jobs submitted whose end was not taken yet
size_t sched_n_together(const struct sched *sched); // of these so many run at once
uint64_t
sched_step_ms(const struct sched *sched); // how long the present step (a forward pass, or the
                                          // tokenizing of a prompt) has been going on; 0 = none
