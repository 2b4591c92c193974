/* power.c - off and restart, cleanly.
 *
 * Requests come from the power button (KEY_POWER of any input device), signals to PID 1 (SIGTERM:
 * off, SIGINT, which Ctrl-Alt-Del sends: restart) and the engine. Then: SIGTERM to the engine, at
 * most 10 s, SIGKILL, everything else killed, seed saved, /data unmounted, off. A second press of
 * the button skips the 10 s. PID 1 never returns from here.
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/input.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <unistd.h>

#define PATIENCE_MS 10000

static bool requested;
static enum power how;
static int64_t requested_ms;

static void key_arrived(int fd, void *ctx)
{
    struct input_event e;
    ssize_t n;
    (void)ctx;

    while ((n = read(fd, &e, sizeof(e))) == (ssize_t)sizeof(e))
        if (e.type == EV_KEY && e.code == KEY_POWER && e.value == 1)
            power_request(POWER_OFF, "the power button was pressed");
    if (n < 0 && errno == ENODEV) { // unplugged
        loop_remove(fd);
        close(fd);
    }
}

void power_added(const struct uevent *u)
{
    static char open_already[24][24];
    static size_t n_open;
    unsigned long keys[KEY_CNT / (8 * sizeof(long)) + 1] = {0};
    char path[64];

    if (strncmp(u->devname, "input/event", 11) != 0 || strlen(u->devname) >= 24)
        return;
    for (size_t i = 0; i < n_open; i++)
        if (strcmp(open_already[i], u->devname) == 0)
            return;
    snprintf(path, sizeof(path), "/dev/%s", u->devname);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return;
    size_t word = KEY_POWER / (8 * sizeof(long)), bit = KEY_POWER % (8 * sizeof(long));
    if (ioctl(fd, EVIOCGBIT(EV_KEY, sizeof(keys)), keys) < 0 || !(keys[word] >> bit & 1)) {
        close(fd);
        return;
    }
    if (n_open < sizeof(open_already) / sizeof(*open_already))
        snprintf(open_already[n_open++], sizeof(open_already[0]), "%.23s", u->devname);
    loop_add(fd, key_arrived, NULL);
}

void power_request(enum power what, const char *why)
{
    if (requested) {
        if (now_ms() - requested_ms > 500)
            engine_stop(true); // asked twice: at once
        return;
    }
    requested = true;
    how = what;
    requested_ms = now_ms();
    say("power", "%s: %s", why, what == POWER_OFF ? "switching off" : "restarting");
    engine_stop(false);
}

static _Noreturn void finish(void)
{
    if (disk_data() == OK)
        seed_save(DATA_DIR);
    kill(-1, SIGKILL);
    unmount_all();
    if (how == POWER_OFF)
        watchdog_release(); // else it would switch the machine on again
    say("power", "all is written, %s", how == POWER_OFF ? "off" : "restarting");
    log_drain();
    reboot(how == POWER_OFF ? RB_POWER_OFF : RB_AUTOBOOT);
    complain("power", "the machine did not switch itself off (%s): it is safe to do it by hand",
             strerror(errno));
    for (;;) {
        log_drain();
        poll(NULL, 0, 1000);
    }
}

int64_t power_tick(int64_t now)
{
    int64_t waited = now - requested_ms;

    if (!requested)
        return INT64_MAX;
    if (!engine_running() || waited > PATIENCE_MS + 2000)
        finish();
    if (waited > PATIENCE_MS) {
        engine_stop(true);
        return now + 200;
    }
    return requested_ms + PATIENCE_MS + 1;
}
