/* copies.h - what PID 1 reads of disks, by way of memory (copies.c). */
#ifndef INIT_COPIES_H
#define INIT_COPIES_H

#include "init.h"

#define COPIES "/run/init"
#define COPY_OF_CONF COPIES "/tawny.conf"
#define COPY_OF_SETTINGS COPIES "/settings.conf"
#define COPY_OF_CLOCK COPIES "/clock" // the last moment that time servers agreed with

/* A file from `from` to `to`, when it is a regular one of at most `most` bytes; what is not there
 * is none of it. False: it is there and was not copied. */
bool copy_file(const char *from, const char *to, size_t most, struct err *err);
/* In a child, once: tawny.conf, STATE/settings.conf and /data/clock. OK: it is over; WAIT. */
enum status copies_ready(const char *conf_path, const char *state);
/* Once more; `done` is called in PID 1 when it is over, unless one is under way. */
void copies_again(void (*done)(void));

#endif
