// scribe.h - inside api/: the thread that writes the API's files, since the net thread never waits
// for fsync (scribe.c), and the answers that wait for what it does (scribe_waits.c).
//
// Everything here is called by the net thread.
#pragma once

#include "../base/base.h"

struct api;
struct exchange;

struct scribe;
struct scribed { // what became of a writing
    uint64_t id;
    struct err err; // status OK: it is on the disk
};
void scribe_open(struct scribe **out);
void scribe_close(struct scribe *scribe); // when all is written
// Replaces the file, atomically; id: of the struct scribed that tells the outcome; 0: nobody asks.
// Takes the content (buf_free). False: too much waits to be written, nothing was done.
bool scribe_write(struct scribe *scribe, uint64_t id, const char *path, struct buf *content);
// Adds to the file. One that has passed cap_bytes becomes PATH.1 first.
bool scribe_append(struct scribe *scribe, const char *path, struct buf *content, size_t cap_bytes);
// Has the deed done there, behind what was given before; arg is the thread's until its outcome.
bool scribe_do(struct scribe *scribe, uint64_t id, enum status (*deed)(void *arg, struct err *err),
               void *arg);
int scribe_fd(const struct scribe *scribe); // readable: there are outcomes
bool scribe_take(struct scribe *scribe, struct scribed *out);

// An answer that waits for the end of a writing: the first member of what else is to be known then.
struct scribe_wait {
    struct scribe_wait *next;
    uint64_t id;               // of the writing
    struct exchange *exchange; // NULL: the client is gone
    // The writing has ended: answers where there is an exchange, and frees it or has it wait again.
    void (*ended)(struct api *api, struct scribe_wait *wait, const struct err *err);
    void (*drop)(struct scribe_wait *wait); // the server ends: frees it
};
uint64_t scribe_waits_id(struct api *api); // for the next writing that is waited for
// From now on `wait`, whose ended and drop are set, is kept for that writing; until the client
// leaves the exchange is its own.
void scribe_waits_add(struct api *api, struct scribe_wait *wait, uint64_t id,
                      struct exchange *exchange);
// Of the writings behind the wait's that others of its kind (the same `ended`) wait for, the next;
// 0: there is none.
uint64_t scribe_waits_behind(const struct api *api, const struct scribe_wait *wait);
void scribe_waits_tell(void *api, int fd); // a net_ready: what the scribe has done
void scribe_waits_close(struct api *api);  // after scribe_close
