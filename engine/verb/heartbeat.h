// heartbeat.h - what PID 1 is told over a pipe, and what it tells.
#pragma once

#include "base/base.h"
#include "net/net.h"
#include "sched/sched.h"

enum { HEARTBEAT_LINE = 440 };

struct heartbeat {
    int fd;              // TAWNY_HEARTBEAT_FD; -1: nobody listens
    bool hung_told;      // in the log
    uint64_t tokens;     // of answers, when the speed was last worked out
    uint64_t answers_us; // and the time of their passes
    int log_fd;          // TAWNY_LOG_FD: lines of PID 1's; -1: none come
    size_t n;            // bytes of a line whose end has not come
    char line[HEARTBEAT_LINE];
};

void heartbeat_open(struct heartbeat *h);
void heartbeat_say(struct heartbeat *h, const char *line); // "ready\n"; never waits
// Each thread's sign of life, and the speed since the last call where anything was said.
void heartbeat_beat(struct heartbeat *h, const struct sched *sched);
// Which of the sockets that were handed over are listened on (net_handed_taken).
void heartbeat_serves(struct heartbeat *h, uint64_t taken);
// The start page as a QR code for the monitor. url: as net_url gives it, NULL: there is none.
// plain: there is a page at http://, port 80, too, which says what a browser must be told first.
void heartbeat_start_page(struct heartbeat *h, const char *url, bool plain);
// From now on PID 1's lines are kept in our log.
void heartbeat_listen(struct heartbeat *h, struct net *net);
