/* engine.h - what the supervisor is made of: what an end of the engine means, which of its threads
 * live, what is kept of a crash, and its start.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include "ports.h"

/* ---- crash.c: what the engine's ends mean, pure ---- */

enum memory_kill { MEMORY_UNKNOWN, MEMORY_NOT_FULL, MEMORY_FULL };

struct crash {
    int n_failures;     // ends in a row, without a minute of service between
    int n_model_deaths; // of these, while a model was being loaded
    bool loading;       // so the running one is
    int64_t ready_ms;   // since when it serves; INT64_MAX: it does not
    long n_oom;         // the kernel's count of processes killed for memory; -1: not told
    int64_t oom_ms;     // when that last moved; INT64_MIN: not in this engine's life
    char skip[400];     // why it is started without its model; "": with it
};

void crash_started(struct crash *c, long n_oom);
/* What it said on the heartbeat. */
void crash_loading(struct crash *c);
void crash_refused(struct crash *c);
void crash_ready(struct crash *c, int64_t now);
/* Every few seconds, and when it has ended. */
void crash_tick(struct crash *c, int64_t now, long n_oom);
enum memory_kill crash_memory(const struct crash *c, int64_t now);
/* It ended for the reason `why`: the seconds to wait until it is started again. */
int crash_ended(struct crash *c, const char *why);
/* Why a process ended, as a person would say it. */
void exit_reason(char *out, size_t cap, int wait_status, enum memory_kill memory);
/* Seconds to wait before the n-th start in a row (n = 1..) : 1 2 4 8 16 30 30 ... */
int backoff_s(int n);
/* oom_kill in the text of /proc/vmstat; -1: it is not there. */
long oom_kills(const char *vmstat);

/* ---- pulse.c: which of the engine's threads live, pure ---- */

#define PULSES 2
#define PULSE_SILENT_MS 60000

struct pulse {
    int64_t heard_ms[PULSES]; // of its network thread, of the one that computes
};

void pulse_start(struct pulse *p, int64_t now); // it has just been started, or we slept ourselves
void pulse_line(struct pulse *p, const char *line, size_t len, int64_t now); // of the heartbeat
/* The thread that was silent for too long: "network", "compute"; NULL: none. */
const char *pulse_silent(const struct pulse *p, int64_t now);

/* ---- report.c: what is kept of the engine's crashes ---- */

#define REPORT_LINES 40
#define REPORT_LINE 240

struct report {
    char line[REPORT_LINES][REPORT_LINE]; // a ring: the last ones it said
    unsigned n_lines;                     // so far
    char state[64], reason[240];
    char dump[48]; // the GPU's, a name; "": none
    int64_t unix_s, ran_ms;
    int number; // of this run of the machine
};

void report_line(struct report *r, const char *line, size_t len);
/* The file's text, pure; returns its length, less than cap. */
size_t report_text(const struct report *r, char *out, size_t cap);
/* Removes all but the newest `kept` of the files TIME-N and `ending` in the folder. */
void report_prune(const char *folder, const char *ending, int kept);
/* In a child: the report and what the GPU's driver left, in the state's crashes/. */
void report_keep(struct report *r, const char *state_dir, const char *reason, int64_t ran_ms);

/* ---- become.c ---- */

struct engine_start {
    char state[64], conf[64], hostname[64];
    char skip_model[400];              // why its model is left out; "": it is not
    int socket[PORTS_MOST], n_sockets; // that it is to listen on: of ports_open
};

/* In a fork of PID 1: takes on the engine's user and starts its program. log_fd: of relay_open. */
_Noreturn void engine_become(const struct engine_start *start, int out_fd, int beat_fd, int log_fd);

#endif
