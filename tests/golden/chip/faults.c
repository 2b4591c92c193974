// faults.c - see faults.h.
#include "faults.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libdrm/amdgpu_drm.h>

enum kind { NONE, HANG, LOST, PAGE, MEMORY };
static enum kind kind;
static uint64_t value;
static bool is_read, happened;

static void read_it(void)
{
    static const char *const names[] = {"", "hang", "lost", "page", "memory"};
    const char *text = getenv("CHIP_FAULT"), *is = text ? strchr(text, '=') : NULL;
    if (is_read)
        return;
    is_read = true;
    for (int k = HANG; is && k <= MEMORY; k++)
        if (strlen(names[k]) == (size_t)(is - text) &&
            strncmp(text, names[k], (size_t)(is - text)) == 0)
            kind = (enum kind)k;
    if (text && kind == NONE) {
        fprintf(stderr,
                "chip: CHIP_FAULT takes hang, lost, page or memory = a number, not \"%s\"\n", text);
        exit(2);
    }
    value = is ? strtoull(is + 1, NULL, 10) : 0;
}

static bool now(enum kind which, uint64_t submission)
{
    read_it();
    if (kind == which && submission >= value)
        happened = true;
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

bool fault_no_room(uint64_t n_bytes)
{
    read_it();
    return kind == MEMORY && n_bytes > value << 20;
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
