// metrics.h - inside api/: what is counted of the requests, for GET /metrics.
#pragma once

#include "../base/base.h"
#include "../sched/sched.h"

enum { HISTOGRAM_MOST = 24, HISTOGRAMS = 6 };

struct histogram {
    uint64_t count[HISTOGRAM_MOST + 1]; // [bounds + 1] of each interval; the last has no bound
    uint64_t n;
    double sum;
};

enum timed { FIRST_TOKEN, OUTPUT_TOKEN, WHOLE, QUEUE, PROMPT, GENERATE }; // [HISTOGRAMS]

struct metrics {                              // since the start; the net thread's
    uint64_t n_prompt, n_cached, n_generated; // tokens
    uint64_t n_drafted, n_draft_kept;         // tokens that were guessed, and those that were right
    uint64_t n_stop, n_length, n_cancelled, n_failed; // requests that ended so
    uint64_t n_answers[6]; // of HTTP, by the first digit of their codes; [0]: the client left
    double prompt_s, generate_s;
    double work_s; // that the engine works on a request, running mean
    struct histogram timed[HISTOGRAMS];
};

void metrics_first(struct metrics *metrics, uint64_t after_ms); // an answer's first token
// A job has ended (EVENT_DONE, EVENT_FAILED), so long after it was asked for.
void metrics_end(struct metrics *metrics, const struct event *event, uint64_t after_ms);
