// log.c - one line a fact on stderr, and the end of the process.
//
// Every line is one write(2), so that lines of the two threads never mix, and control characters
// are replaced: part of a line may come from a client. Times are UTC. The rule of the house: log
// once, on the floor that decides what to do about it. The last lines are kept in a ring for
// whoever asks, and the last warnings and errors in one of their own, so that no crowd of requests
// pushes them out; what a line says of a request is its name, and never its text.
#include "relay.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_CAP = 1200 };

static _Atomic int least_level = LOG_INFO;
static const char *const level_names[] = {"debug", "info", "warn", "error"};

static pthread_mutex_t kept_mutex = PTHREAD_MUTEX_INITIALIZER; // of what follows
static struct log_line kept[LOG_KEPT];                         // by number % LOG_KEPT
static uint64_t last_number;
static struct log_line grave[LOG_KEPT_GRAVE]; // warnings and errors by n_grave % LOG_KEPT_GRAVE
static uint64_t n_grave;

const char *log_level_name(enum log_level level)
{
    return level_names[level & 3];
}

// ---- the ring -------------------------------------------------------------------------------

static void keep(enum log_level level, const char *text, size_t n)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    pthread_mutex_lock(&kept_mutex);
    struct log_line *line = &kept[++last_number % LOG_KEPT];
    line->number = last_number;
    line->at_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    line->level = level;
    const size_t most = sizeof(line->text) - 1, n_kept = n < most ? n : most;
    memcpy(line->text, text, n_kept);
    line->text[n_kept] = 0;
    if (n > most)
        memcpy(line->text + most - 3, "...", 3);
    if (level >= LOG_WARN)
        grave[n_grave++ % LOG_KEPT_GRAVE] = *line;
    pthread_mutex_unlock(&kept_mutex);
}

// The next line behind number `since` that is kept and of that level; NULL: there is none.
static const struct log_line *next_kept(uint64_t since, enum log_level least)
{
    const uint64_t first = last_number > LOG_KEPT ? last_number - LOG_KEPT : 0;
    for (uint64_t i = n_grave > LOG_KEPT_GRAVE ? n_grave - LOG_KEPT_GRAVE : 0;
         since < first && i < n_grave; i++) {
        const struct log_line *line = &grave[i % LOG_KEPT_GRAVE];
        if (line->number > since && line->number <= first && line->level >= least)
            return line;
    }
    for (uint64_t i = (since > first ? since : first) + 1; i <= last_number; i++)
        if (kept[i % LOG_KEPT].level >= least)
            return &kept[i % LOG_KEPT];
    return NULL;
}

size_t log_read(struct log_line *out, size_t most, uint64_t since, enum log_level least, bool last)
{
    size_t n_fit = 0, n = 0;
    const struct log_line *line;
    pthread_mutex_lock(&kept_mutex);
    since = since < last_number ? since : last_number;
    for (uint64_t at = since; last && (line = next_kept(at, least)); at = line->number)
        n_fit++;
    size_t skip = n_fit > most ? n_fit - most : 0;
    for (uint64_t at = since; n < most && (line = next_kept(at, least)); at = line->number)
        if (skip > 0)
            skip--;
        else
            out[n++] = *line;
    pthread_mutex_unlock(&kept_mutex);
    return n;
}

uint64_t log_last(void)
{
    pthread_mutex_lock(&kept_mutex);
    const uint64_t last = last_number;
    pthread_mutex_unlock(&kept_mutex);
    return last;
}

void log_relay(enum log_level level, const char *text, size_t n)
{
    char line[LINE_CAP];
    n = n < sizeof(line) ? n : sizeof(line);
    for (size_t i = 0; i < n; i++)
        line[i] = (char)((unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i]);
    keep(level, line, n);
}

// ---- lines ----------------------------------------------------------------------------------

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

// level: its name; kept_as: how it is kept; shown: on stderr too.
static void line_write(const char *level, enum log_level kept_as, bool shown, const char *format,
                       va_list args)
{
    char line[LINE_CAP];
    const size_t n_head = line_head(line, sizeof(line) - 1, level);
    size_t n = n_head;
    int m = vsnprintf(line + n, sizeof(line) - 1 - n, format, args);
    if (m > 0)
        n = n + (size_t)m < sizeof(line) - 1 ? n + (size_t)m : sizeof(line) - 2;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = ' ';
    keep(kept_as, line + n_head, n - n_head);
    line[n++] = '\n';
    if (!shown)
        return;
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
    if ((int)level < atomic_load_explicit(&least_level, memory_order_relaxed))
        return;
    int saved_errno = errno;
    va_list args;
    va_start(args, format);
    line_write(log_level_name(level), level, true, format, args);
    va_end(args);
    errno = saved_errno;
}

void log_note(const char *format, ...)
{
    int saved_errno = errno;
    va_list args;
    va_start(args, format);
    line_write("info", LOG_INFO,
               atomic_load_explicit(&least_level, memory_order_relaxed) == LOG_DEBUG, format, args);
    va_end(args);
    errno = saved_errno;
}

static _Atomic(void (*)(void)) first_act;

void die_first(void (*act)(void))
{
    atomic_store(&first_act, act);
}

void die(const char *format, ...)
{
    va_list args;
    void (*first)(void) = atomic_exchange(&first_act, NULL); // once, should it come here itself
    if (first)
        first();
    va_start(args, format);
    line_write("fatal", LOG_ERROR, true, format, args);
    va_end(args);
    _exit(70); // EX_SOFTWARE: PID 1 reads it and starts the engine again
}
