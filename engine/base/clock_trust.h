// clock_trust.h - floor 0: whether the wall clock is to be believed.
#pragma once

#include "base.h"

enum clock_trust { CLOCK_UNKNOWN, CLOCK_TRUSTED, CLOCK_NOT_TRUSTED };

// What the kernel says of it: a clock that time servers have set is trusted (on the appliance by
// PID 1, elsewhere by whatever keeps the machine's time). UNKNOWN: it may not be asked.
enum clock_trust clock_trust(void);
// When this program was built, in seconds since 1970: no time is before it.
int64_t clock_floor_s(void);
