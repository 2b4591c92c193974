/* power.c - off and restart, cleanly.
 *
 * Requests come from the power button (KEY_POWER of any input device), signals to PID 1 (SIGTERM:
 * off, SIGINT, which Ctrl-Alt-Del sends: restart) and the engine. shutdown.c says what happens
 * when: the engine is stopped (a second press of the button does not wait for it), everything else
 * is killed, and a child saves the seed and unmounts /data while PID 1 stays in its loop. PID 1
 * never returns from here.
 */
#include "container.h"

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

static struct shutdown state;
static enum power how;
static bool written;
static struct watched {
    char name[24]; // of a device with such a key, "input/event3"; "": free
    int fd;
} watched[24];

static void key_arrived(int fd, void *ctx)
{
    struct input_event e;
    ssize_t n;
    struct watched *device = ctx;

    while ((n = read(fd, &e, sizeof(e))) == (ssize_t)sizeof(e))
        if (e.type == EV_KEY && e.code == KEY_POWER && e.value == 1)
            power_request(POWER_OFF, "the power button was pressed");
    if (n < 0 && errno == ENODEV) { // unplugged; another may have its name
        loop_remove(fd);
        close(fd);
        device->name[0] = 0;
    }
}

void power_added(const struct uevent *u)
{
    static bool told;
    struct watched *place = NULL;
    unsigned long keys[KEY_CNT / (8 * sizeof(long)) + 1] = {0};
    char path[64];

    if (strncmp(u->devname, "input/event", 11) != 0 || strlen(u->devname) >= 24)
        return;
    for (size_t i = 0; i < sizeof(watched) / sizeof(*watched); i++) {
        struct watched *w = &watched[i];
        if (strcmp(w->name, u->devname) == 0) {
            key_arrived(w->fd, w); // this may be another one, announced before the end of that
            if (w->name[0])
                return;
        }
        place = !w->name[0] && !place ? w : place;
    }
    snprintf(path, sizeof(path), "/dev/%s", u->devname);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return;
    size_t word = KEY_POWER / (8 * sizeof(long)), bit = KEY_POWER % (8 * sizeof(long));
    if (ioctl(fd, EVIOCGBIT(EV_KEY, sizeof(keys)), keys) < 0 || !(keys[word] >> bit & 1)) {
        close(fd);
        return;
    }
    if (!place) {
        if (!told)
            complain("power", "the key of %s is not listened to: %zu devices with one are the most",
                     u->devname, sizeof(watched) / sizeof(*watched));
        told = true;
        close(fd);
        return;
    }
    snprintf(place->name, sizeof(place->name), "%.23s", u->devname);
    place->fd = fd;
    loop_add(fd, key_arrived, place);
}

void power_request(enum power what, const char *why)
{
    if (state.phase != SHUTDOWN_NOT) {
        if (now_ms() - state.begun_ms > 500)
            engine_stop(true); // asked twice: at once
        return;
    }
    shutdown_begin(&state, now_ms());
    how = what;
    say("power", "%s: %s", why, what == POWER_OFF ? "switching off" : "restarting");
    mdns_stop();
    engine_stop(false);
    disk_check_end(); // it has the engine's time to leave the file system as one can
}

/* ---- the end ---- */

/* In a child: PID 1 goes on meanwhile, above all with feeding the watchdog. */
static int write_out(void *ctx)
{
    if (*(bool *)ctx)
        seed_save(DATA_DIR, false);
    unmount_all();
    return 0;
}

static void write_out_done(void *ctx, int code)
{
    (void)ctx;
    written = true;
    if (code != 0) {
        complain("power", "writing everything out ended with signal %d: the kernel's log says why",
                 -code);
    }
}

static void begin_write_out(void)
{
    static bool has_data; // what the child reads

    has_data = disk_mounted();
    child_forget(); // their ends are no news any more
    kill(-1, SIGKILL);
    if (!child_start("", write_out, write_out_done, &has_data)) {
        (void)write_out(&has_data);
        written = true;
    }
}

static _Noreturn void wait_for_the_end(void)
{
    for (;;) {
        log_drain();
        poll(NULL, 0, 1000);
    }
}

static _Noreturn void finish(void)
{
    if (how == POWER_OFF)
        watchdog_release(); // else it would switch the machine on again
    say("power", "all is written, %s", how == POWER_OFF ? "off" : "restarting");
    log_drain();
    if (how == POWER_REBOOT && in_container() && !container_restarts())
        container_begin_anew(engine_running());
    reboot(how == POWER_OFF ? RB_POWER_OFF : RB_AUTOBOOT);
    if (in_container()) // which may not be ours to restart: its manager sees how we ended
        _exit(how == POWER_OFF ? 0 : 1);
    complain("power", "the machine did not switch itself off (%s): it is safe to do it by hand",
             strerror(errno));
    wait_for_the_end();
}

/* Without asking any driver: one of them hangs. A hardware watchdog, fed no more, stands behind. */
static _Noreturn void reset(void)
{
    struct err err;

    complain("power", "no disk has completed anything for 90 s: one of them hangs, and the "
                      "machine is reset. What was not written yet is lost; the file system's "
                      "journal keeps the rest whole");
    log_drain();
    if (in_container())
        _exit(1);
    (void)write_file("/proc/sysrq-trigger", "b", &err);
    poll(NULL, 0, 5000);
    reboot(RB_AUTOBOOT);
    wait_for_the_end();
}

static uint64_t requests_now(void)
{
    static char text[65536];

    return read_file("/proc/diskstats", text, sizeof(text)) > 0 ? shutdown_requests(text) : 0;
}

static void tell_what_is_left(void)
{
    char text[8192];
    uint64_t kilobytes = 0;

    if (read_file("/proc/meminfo", text, sizeof(text)) > 0)
        kilobytes = shutdown_kilobytes_left(text);
    if (kilobytes) {
        say("power", "still writing to the disk, %llu kB to go: leave the machine on",
            (unsigned long long)kilobytes);
    } else {
        say("power", "still writing to the disk, the last of it: leave the machine on");
    }
}

bool power_asked(void)
{
    return state.phase != SHUTDOWN_NOT;
}

bool power_moves(int64_t now)
{
    return shutdown_moves(&state, now);
}

int64_t power_tick(int64_t now)
{
    if (state.phase == SHUTDOWN_NOT)
        return INT64_MAX;
    uint64_t n_requests = state.phase == SHUTDOWN_WRITING ? requests_now() : 0;
    switch (
        shutdown_step(&state, now, engine_running() || disk_check_runs(), written, n_requests)) {
    case SHUTDOWN_KILL:
        engine_stop(true);
        break;
    case SHUTDOWN_WRITE:
        begin_write_out();
        break;
    case SHUTDOWN_TELL:
        tell_what_is_left();
        break;
    case SHUTDOWN_END:
        finish();
    case SHUTDOWN_RESET:
        reset();
    default:
        break;
    }
    return now + 250;
}
