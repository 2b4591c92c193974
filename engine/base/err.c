// err.c - status names and the one-sentence error.
//
// An err is filled once, on the floor where the fact is known ("tensor blk.0.attn_q.weight: 5
// dimensions, at most 4 are allowed"); floors above may put their own fact in front of it
// (err_prefix), but never replace it by a vaguer sentence. Invariant: err->text always ends in NUL
// and is one line; a text that does not fit is cut at a whole UTF-8 sequence.
#include "base.h"

#include <stdio.h>
#include <string.h>

const char *status_name(enum status status)
{
    static const char *const names[] = {
        [OK] = "ok",
        [AGAIN] = "again",
        [CLOSED] = "closed",
        [BAD_INPUT] = "bad input",
        [TOO_LARGE] = "too large",
        [NO_ROOM] = "no room",
        [NOT_FOUND] = "not found",
        [UNSUPPORTED] = "unsupported",
        [DENIED] = "denied",
        [IO_ERROR] = "input/output error",
        [DEVICE_ERROR] = "device error",
        [CANCELLED] = "cancelled",
        [BROKEN] = "broken",
    };
    if ((size_t)status >= COUNT_OF(names) || !names[status])
        return "unknown status";
    return names[status];
}

// Makes `text` one line of whole UTF-8: what is in it may come from a file or a client.
static void tidy(char *text)
{
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    text[utf8_whole(bytes_of(text))] = 0;
}

enum status err_set(struct err *err, enum status status, const char *format, ...)
{
    if (!err)
        return status;
    char text[sizeof(err->text)]; // the arguments may point into err->text
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    tidy(text);
    err->status = status;
    memcpy(err->text, text, sizeof(text));
    return status;
}

enum status err_prefix(struct err *err, const char *format, ...)
{
    if (!err)
        return OK;
    char text[sizeof(err->text)];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (n >= 0 && (size_t)n + 3 < sizeof(text))
        snprintf(text + n, sizeof(text) - (size_t)n, ": %.*s", (int)(sizeof(text) - (size_t)n - 3),
                 err->text);
    tidy(text);
    memcpy(err->text, text, sizeof(text));
    return err->status;
}

void err_hide_folder(struct err *err, const char *path)
{
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    if (path[0] != '/' || n < 2) // the root itself tells nothing
        return;
    for (char *at = err->text; *at; at++)
        while (strncmp(at, path, n) == 0)
            memmove(at, at + n, strlen(at + n) + 1);
}
