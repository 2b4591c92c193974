/* shutdown.c - the order of a shutdown, and when it stands still. Pure; power.c acts on it.
 *
 * The engine gets SIGTERM and 10 s, then SIGKILL and 2 s more; then everything is written out by a
 * child of PID 1, which may take long on a slow disk: gigabytes to a USB stick are minutes. So it
 * has no deadline. What counts is that the disks go on completing requests: while they do, the
 * hardware watchdog is fed; when none was completed for 90 s, the disk hangs, nobody feeds any
 * more, and the machine is reset (its journal brings the files back). 90 s: the kernel itself waits
 * 60 s until it gives up one flush of a SCSI or USB disk.
 */
#include "init.h"

#include <string.h>

#define PATIENCE_MS 10000
#define KILLED_MS 2000 // a process that a driver holds does not end
#define STUCK_MS 90000
#define TELL_MS 10000

void shutdown_begin(struct shutdown *s, int64_t now)
{
    *s = (struct shutdown){.phase = SHUTDOWN_STOPPING, .begun_ms = now, .moved_ms = now};
}

bool shutdown_moves(const struct shutdown *s, int64_t now)
{
    return s->phase != SHUTDOWN_WRITING || now - s->moved_ms < STUCK_MS;
}

static enum shutdown_act stopping(struct shutdown *s, int64_t now, bool engine_runs)
{
    int64_t waited = now - s->begun_ms;

    if (!engine_runs || waited >= PATIENCE_MS + KILLED_MS) {
        s->phase = SHUTDOWN_WRITING;
        s->moved_ms = s->told_ms = now;
        return SHUTDOWN_WRITE;
    }
    if (waited >= PATIENCE_MS && !s->killed) {
        s->killed = true;
        return SHUTDOWN_KILL;
    }
    return SHUTDOWN_WAIT;
}

enum shutdown_act shutdown_step(struct shutdown *s, int64_t now, bool engine_runs, bool written,
                                uint64_t n_requests)
{
    if (s->phase == SHUTDOWN_STOPPING)
        return stopping(s, now, engine_runs);
    if (s->phase != SHUTDOWN_WRITING)
        return SHUTDOWN_WAIT;
    if (written) {
        s->phase = SHUTDOWN_OVER;
        return SHUTDOWN_END;
    }
    if (n_requests != s->n_requests)
        s->moved_ms = now;
    s->n_requests = n_requests;
    if (!shutdown_moves(s, now))
        return SHUTDOWN_RESET;
    if (now - s->told_ms >= TELL_MS) {
        s->told_ms = now;
        return SHUTDOWN_TELL;
    }
    return SHUTDOWN_WAIT;
}

/* The number at *at, and *at behind it; 0 at the end of the line. */
static uint64_t number(const char **at)
{
    uint64_t n = 0;

    *at += strspn(*at, " ");
    for (; **at >= '0' && **at <= '9'; ++*at)
        n = n * 10 + (uint64_t)(**at - '0');
    return n;
}

/* A line: major, minor, name, then numbers; the 1st, 5th, 12th and 16th of them are completed
 * reads, writes, discards and flushes (Documentation/admin-guide/iostats.rst). */
uint64_t shutdown_requests(const char *diskstats)
{
    uint64_t sum = 0;

    for (const char *at = diskstats; *at;) {
        (void)number(&at);
        (void)number(&at);
        at += strspn(at, " ");
        at += strcspn(at, " \n");
        for (int field = 1; *at && *at != '\n'; field++) {
            uint64_t n = number(&at);
            if (field == 1 || field == 5 || field == 12 || field == 16)
                sum += n;
            if (*at && *at != ' ' && *at != '\n')
                at += strcspn(at, " \n"); // no number: not ours to understand
        }
        at += *at == '\n';
    }
    return sum;
}

static uint64_t kilobytes(const char *meminfo, const char *key)
{
    size_t n = strlen(key);

    for (const char *at = meminfo; at && *at; at = strchr(at, '\n'), at += at ? 1 : 0) {
        if (strncmp(at, key, n) == 0) {
            at += n;
            return number(&at);
        }
    }
    return 0;
}

uint64_t shutdown_kilobytes_left(const char *meminfo)
{
    return kilobytes(meminfo, "Dirty:") + kilobytes(meminfo, "Writeback:");
}
