/* watchdog.c - a hardware watchdog, where there is one, fed by PID 1.
 *
 * Nobody feeds it any more, and the machine restarts after a minute, when the kernel or PID 1
 * hangs, when a shutdown stands still (shutdown.c), and when the engine was silent and neither
 * killing it nor the restart that was asked for then has helped (supervise.c). A virtual machine
 * has none unless one is added (Proxmox: `qm set ID --watchdog model=i6300esb`).
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/watchdog.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TIMEOUT_S 60
#define FEED_MS 15000

static int watchdog_fd = -1;
static int64_t fed_ms;

void watchdog_added(const struct uevent *u)
{
    struct watchdog_info info = {0};
    int seconds = TIMEOUT_S;

    if (watchdog_fd >= 0 || strcmp(u->devname, "watchdog0") != 0)
        return;
    watchdog_fd = open("/dev/watchdog0", O_WRONLY | O_CLOEXEC);
    if (watchdog_fd < 0) {
        complain("watchdog",
                 "/dev/watchdog0 cannot be opened (%s): the machine does not restart "
                 "by itself when it hangs",
                 strerror(errno));
        return;
    }
    ioctl(watchdog_fd, WDIOC_GETSUPPORT, &info);
    if (ioctl(watchdog_fd, WDIOC_SETTIMEOUT, &seconds) &&
        ioctl(watchdog_fd, WDIOC_GETTIMEOUT, &seconds)) {
        seconds = 0;
    }
    if (seconds && seconds * 1000 <= FEED_MS) {
        complain("watchdog", "it wants to be fed every %d s, which is too often; not used",
                 seconds);
        watchdog_release();
        return;
    }
    say("watchdog", "%.32s restarts the machine when it hangs for %d s",
        (const char *)info.identity, seconds);
}

int64_t watchdog_tick(int64_t now)
{
    if (watchdog_fd < 0 || !power_moves(now) || engine_lost(now))
        return INT64_MAX;
    if (now - fed_ms >= FEED_MS) {
        ioctl(watchdog_fd, WDIOC_KEEPALIVE, 0);
        fed_ms = now;
    }
    return fed_ms + FEED_MS;
}

void watchdog_release(void)
{
    if (watchdog_fd >= 0) {
        (void)!write(watchdog_fd, "V", 1); // "I mean it"
        close(watchdog_fd);
        watchdog_fd = -1;
    }
}
