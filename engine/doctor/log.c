// log.c - what the kernel said of GPUs since it started, from its log (/dev/kmsg).
//
// A record is "priority,number,time,flags;text", then lines that begin with a blank and are not
// ours (Documentation/ABI/testing/dev-kmsg). Reading is allowed to root, and to everybody where
// kernel.dmesg_restrict is 0, as in the image. Only a few kinds of lines matter: firmware that was
// not found, a driver that gave up, a GPU that hung.
#include "inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RECORD_BYTES = 8192, BYTES_MOST = 16 << 20 };

static bool of_a_gpu(const char *line)
{
    return strstr(line, "amdgpu") || strstr(line, "[drm") || strstr(line, "i915") ||
           strstr(line, "virtio_gpu");
}

static void read_line(struct kernel_log *out, const char *line)
{
    static const char missing[] = "Direct firmware load for ";
    static const char *const failures[] = {"Fatal error during GPU init", "failed with error -",
                                           "nomodeset", "hw_init of IP block",
                                           "sw_init of IP block"};
    static const char *const hangs[] = {"GPU reset", "timeout, signaled", "GPU hang", "ring gfx"};
    const char *at = strstr(line, missing);
    if (at && strstr(at, "amdgpu/")) {
        at += sizeof(missing) - 1;
        if (!out->missing[0]) // the first is what the driver stumbled over
            snprintf(out->missing, sizeof(out->missing), "%.*s", (int)strcspn(at, " "), at);
        return;
    }
    if (!of_a_gpu(line))
        return;
    for (size_t i = 0; i < COUNT_OF(failures); i++) {
        if (strstr(line, failures[i])) {
            snprintf(out->failure, sizeof(out->failure), "%s", line);
            return;
        }
    }
    for (size_t i = 0; i < COUNT_OF(hangs); i++) {
        if (!strstr(line, hangs[i]))
            continue;
        out->n_resets += strstr(line, "GPU reset begin") != NULL;
        snprintf(out->reset, sizeof(out->reset), "%s", line);
        return;
    }
}

// Takes the whole lines of text[0 .. n) and returns what is left behind the last one.
static size_t take_lines(struct kernel_log *out, char *text, size_t n)
{
    char *at = text, *newline;
    while ((newline = memchr(at, '\n', n - (size_t)(at - text))) != NULL) {
        *newline = 0;
        char *semicolon = strchr(at, ';');
        if (at[0] != ' ' && semicolon)
            read_line(out, semicolon + 1);
        at = newline + 1;
    }
    size_t left = n - (size_t)(at - text);
    memmove(text, at, left);
    return left;
}

void kernel_log_read(struct kernel_log *out, const char *root)
{
    char path[400], text[2 * RECORD_BYTES];
    size_t n = 0, total = 0;
    *out = (struct kernel_log){0};
    snprintf(path, sizeof(path), "%s/dev/kmsg", root);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        out->error = errno;
        return;
    }
    while (total < BYTES_MOST) {
        ssize_t got = read(fd, text + n, RECORD_BYTES);
        if (got < 0 && (errno == EPIPE || errno == EINTR))
            continue; // records were overwritten while we read: the next one that is left
        if (got < 0 && errno != EAGAIN)
            out->error = errno;
        if (got <= 0)
            break;
        total += (size_t)got;
        n = take_lines(out, text, n + (size_t)got);
        if (n >= RECORD_BYTES)
            n = 0; // no line is so long
    }
    close(fd);
}
