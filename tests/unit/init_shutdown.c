/* init_shutdown.c - a shutdown in time: a slow disk is waited for and the watchdog fed, a hung one
 * ends in a reset.
 */
#include "../../init/init.h"
#include "check.h"

#include <stdlib.h>

static void stops_the_engine_first(void)
{
    struct shutdown s = {0};

    CHECK(shutdown_step(&s, 100, true, false, 0) == SHUTDOWN_WAIT && shutdown_moves(&s, 1 << 30));
    shutdown_begin(&s, 1000);
    CHECK(shutdown_step(&s, 1000, true, false, 0) == SHUTDOWN_WAIT);
    CHECK(shutdown_step(&s, 4000, false, false, 0) == SHUTDOWN_WRITE); // it ended in time

    shutdown_begin(&s, 1000);
    int n_kills = 0;
    for (int64_t now = 1000; now < 12999; now += 250) {
        enum shutdown_act act = shutdown_step(&s, now, true, false, 0);
        CHECK(act == SHUTDOWN_WAIT || (act == SHUTDOWN_KILL && now >= 11000));
        CHECK(shutdown_moves(&s, now));
        n_kills += act == SHUTDOWN_KILL;
    }
    CHECK(n_kills == 1);
    CHECK(shutdown_step(&s, 13000, true, false, 0) == SHUTDOWN_WRITE); // a driver holds it
    CHECK(shutdown_step(&s, 13001, true, true, 0) == SHUTDOWN_END);
    CHECK(s.phase == SHUTDOWN_OVER);
    CHECK(shutdown_step(&s, 99999999, true, true, 0) == SHUTDOWN_WAIT);
}

/* One request completed every 80 s, for half an hour. */
static void waits_for_a_slow_disk(void)
{
    struct shutdown s;
    int n_told = 0;
    int64_t now;

    shutdown_begin(&s, 0);
    CHECK(shutdown_step(&s, 0, false, false, 0) == SHUTDOWN_WRITE);
    for (now = 250; now < 1800000; now += 250) {
        enum shutdown_act act = shutdown_step(&s, now, false, false, 500 + (uint64_t)(now / 80000));
        CHECK(act == SHUTDOWN_WAIT || act == SHUTDOWN_TELL);
        CHECK(shutdown_moves(&s, now));
        n_told += act == SHUTDOWN_TELL;
    }
    CHECK(n_told == 179); // every ten seconds
    CHECK(shutdown_step(&s, now, false, true, 0) == SHUTDOWN_END);
}

static void resets_when_a_disk_hangs(void)
{
    struct shutdown s;
    int64_t now;

    shutdown_begin(&s, 0);
    CHECK(shutdown_step(&s, 1000, false, false, 0) == SHUTDOWN_WRITE);
    CHECK(shutdown_step(&s, 5000, false, false, 77) == SHUTDOWN_WAIT); // its last request
    for (now = 5250; now < 95000; now += 250) {
        CHECK(shutdown_step(&s, now, false, false, 77) != SHUTDOWN_RESET);
        CHECK(shutdown_moves(&s, now));
    }
    CHECK(!shutdown_moves(&s, now)); // nobody feeds the watchdog from here on
    CHECK(shutdown_step(&s, now, false, false, 77) == SHUTDOWN_RESET);
    CHECK(shutdown_step(&s, now + 1, false, false, 77) == SHUTDOWN_RESET);
}

static void counts_requests(void)
{
    /* a line of Linux 7, one of 4.18 (no flushes), one of before (no discards), one cut off */
    static const char text[] = "   8       0 sda 5 1 2 3 11 4 5 6 0 7 8 100 9 10 11 1000 12\n"
                               "   8       1 sda1 1 0 0 0 2 0 0 0 0 0 0 4 0 0 0\n"
                               " 259       0 nvme0n1 10 0 0 0 20 0 0 0 0 0 0\n"
                               "   7       0 loop0 3";
    CHECK(shutdown_requests(text) == 5 + 11 + 100 + 1000 + 1 + 2 + 4 + 10 + 20 + 3);
    CHECK(shutdown_requests("") == 0 && shutdown_requests("\n\n") == 0);
    CHECK(shutdown_requests("8 0 sda x 1 2 3 7\n") == 7); // what is no number counts as none
    for (size_t cut = 0; cut < sizeof(text); cut++) {
        char *part = strndup(text, cut);
        CHECK(shutdown_requests(part) <= shutdown_requests(text)); // ASan watches its end
        free(part);
    }
    CHECK(shutdown_kilobytes_left("MemFree: 5 kB\nDirty:   120 kB\nWriteback: 30 kB\n") == 150);
    CHECK(shutdown_kilobytes_left("WritebackTmp: 5 kB\n") == 0 && shutdown_kilobytes_left("") == 0);
}

int main(void)
{
    stops_the_engine_first();
    waits_for_a_slow_disk();
    resets_when_a_disk_hangs();
    counts_requests();
    return check_done("init_shutdown");
}
