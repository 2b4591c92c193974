// clock_trust.c - the kernel keeps a mark (STA_UNSYNC) that whoever sets the clock by time servers
// takes off, and that comes back by itself when nobody has set it for hours.
#include "clock_trust.h"

#include <sys/timex.h>

#ifndef TAWNY_BUILD_EPOCH // seconds since 1970 of the commit; the Makefile gives it
#define TAWNY_BUILD_EPOCH 0
#endif

enum clock_trust clock_trust(void)
{
    struct timex asked = {.modes = 0};
    const int state = adjtimex(&asked);
    if (state < 0)
        return CLOCK_UNKNOWN;
    return state == TIME_ERROR || (asked.status & STA_UNSYNC) ? CLOCK_NOT_TRUSTED : CLOCK_TRUSTED;
}

int64_t clock_floor_s(void)
{
    return TAWNY_BUILD_EPOCH;
}
