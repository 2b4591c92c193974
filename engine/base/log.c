// log.c - one line a fact on stderr, and the end of the process.
//
// Every line is one write(2), so that lines of the two threads never mix, and control characters
// are replaced: part of a line may come from a client. Times are UTC. The rule of the house: log
// once, on the floor that decides what to do about it.
#include "base.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LINE_CAP = 1200 };

static _Atomic int least_level = LOG_INFO;

void log_level_set(enum log_level level)
{
    atomic_store_explicit(&least_level, (int)level, memory_order_relaxed);
}

static size_t line_head(char *line, size_t cap, const char *level)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    int n = snprintf(line, cap, "%02d:%02d:%02d.%03d %-5s ", tm.tm_hour, tm.tm_min, tm.tm_sec,
                     (int)(now.tv_nsec / 1000000), level);
    return n > 0 ? (size_t)n : 0;
}

static void line_write(const char *level, const char *format, va_list args)
{
    char line[LINE_CAP];
    size_t n = line_head(line, sizeof(line) - 1, level);
    int m = vsnprintf(line + n, sizeof(line) - 1 - n, format, args);
    if (m > 0)
        n = n + (size_t)m < sizeof(line) - 1 ? n + (size_t)m : sizeof(line) - 2;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = ' ';
    line[n++] = '\n';
    size_t done = 0;
    while (done < n) {
        ssize_t w = write(STDERR_FILENO, line + done, n - done);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return; // nobody to tell
        done += (size_t)w;
    }
}

void log_write(enum log_level level, const char *format, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if ((int)level < atomic_load_explicit(&least_level, memory_order_relaxed))
        return;
    int saved_errno = errno;
    va_list args;
    va_start(args, format);
    line_write(names[level & 3], format, args);
    va_end(args);
    errno = saved_errno;
}

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    line_write("fatal", format, args);
    va_end(args);
    _exit(70); // EX_SOFTWARE: PID 1 reads it and starts the engine again
}
