// faults.c - see faults.h.
#include "faults.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libdrm/amdgpu_drm.h>

enum kind { NONE, HANG, LOST, PAGE, MEMORY, BUFFER };
static enum kind kind;
static uint64_t value, n_buffers;
static bool is_read, happened;

static void take(const char *text)
{
    static const char *const names[] = {"", "hang", "lost", "page", "memory", "buffer"};
    const char *is = strchr(text, '=');
    kind = NONE, happened = false;
    for (int k = HANG; is && k <= BUFFER; k++)
        if (strlen(names[k]) == (size_t)(is - text) &&
            strncmp(text, names[k], (size_t)(is - text)) == 0)
            kind = (enum kind)k;
    if (kind == NONE) {
        fprintf(stderr,
                "chip: a fault is hang, lost, page, memory or buffer = a number, not \"%s\"\n",
                text);
        exit(2);
    }
    value = strtoull(is + 1, NULL, 10);
}

// submission: the one that comes next.
static void look(uint64_t submission)
{
    const char *text = getenv("CHIP_FAULT"), *path = getenv("CHIP_FAULT_FILE");
    char line[64];
    if (!is_read && text)
        take(text);
    is_read = true;
    FILE *f = path ? fopen(path, "r") : NULL;
    if (!f)
        return;
    const bool whole = fgets(line, sizeof(line), f) && strchr(line, '\n');
    fclose(f);
    if (!whole) // it is being written
        return;
    take(line);
    value += kind == BUFFER ? n_buffers : kind == MEMORY ? 0 : submission - 1;
    unlink(path);
}

static bool now(enum kind which, uint64_t submission)
{
    if (submission > 0)
        look(submission);
    if (kind == which && submission >= value) {
        if (!happened)
            fprintf(stderr, "chip: a fault is played at submission %llu\n",
                    (unsigned long long)submission);
        happened = true;
    }
    return kind == which && happened;
}

bool fault_hangs(uint64_t submission)
{
    return now(HANG, submission);
}

int fault_refuses(uint64_t submission)
{
    const bool faulted = happened && kind == PAGE;
    return now(LOST, submission) || faulted ? -ECANCELED : 0;
}

bool fault_skips(uint64_t submission)
{
    return now(PAGE, submission);
}

bool fault_no_room(uint64_t n_bytes, uint64_t all_bytes, uint64_t submission)
{
    look(submission);
    n_buffers++;
    if (kind != BUFFER || n_buffers != value)
        return kind == MEMORY && all_bytes > value << 20;
    fprintf(stderr, "chip: a fault is played: buffer %llu of %llu KiB is refused\n",
            (unsigned long long)n_buffers, (unsigned long long)(n_bytes >> 10));
    return true;
}

uint64_t fault_flags(void)
{
    if (!happened || kind == HANG)
        return 0;
    return AMDGPU_CTX_QUERY2_FLAGS_RESET | (kind == PAGE ? AMDGPU_CTX_QUERY2_FLAGS_GUILTY : 0);
}

bool fault_page(uint64_t *address)
{
    *address = FAULT_ADDRESS;
    return happened && kind == PAGE;
}

bool fault_wait_until(int64_t deadline)
{
    const int64_t longest = 600;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    if (deadline / 1000000000 - t.tv_sec > longest) // the kernel has reset the chip by then
        return false;
    const struct timespec until = {deadline / 1000000000, deadline % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
    return true;
}
