/* supervise.c - the engine: started (become.c), watched, started again.
 *
 * Two pipes come from it: its output, which is forwarded line by line to the consoles, and the
 * heartbeat, on which it writes lines:
 *   beat net          every 5 s while its network thread is alive
 *   beat compute      the same while the one that computes is (pulse.c)
 *   loading           a model is being loaded from here on
 *   ready             it serves
 *   failed            it runs, but without a model: that one was refused
 *   qr N HEX, qr 0    the start page as a QR code, for the monitor; none
 *   speed N           tokens a second, for the monitor
 *   serves I ...      of its sockets, counted from 0, it listens on these; once (ports.c)
 *   update ID         an update has arrived as that file; update-older ID: an older version may be
 *   restart           it ends now, to be started again: its administrator asked for that
 *   reboot, poweroff  what its administrator asked for of the machine
 * An engine of which one thread was silent for 60 s is killed; when even that does not end it, the
 * machine is restarted. One that ends is started again after 1, 2, 4 ... 30 s (crash.c says how
 * long, and whether without its model). init never gives up: the box has nothing else to do.
 */
#include "container.h"
#include "engine.h"
#include "screen.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ASKED_MS 1000       // until it starts again when that was asked for
#define LOOK_MS 5000        // longer than that a disk is not waited for
#define UNKILLABLE_MS 60000 // after SIGKILL; nothing but a new start of the kernel helps then

static struct {
    struct engine_start start;
    struct crash crash;
    pid_t pid;           // 0: not running
    bool ready, refused; // it said that it serves; that it has no model
    bool stopping;
    const char *silent; // the thread for whose silence it was killed; NULL: it was not
    const char *again;  // why it is to start again, no failure; NULL: it is not
    int64_t started_ms, silent_ms, restart_ms, ticked_ms;
    struct pulse pulse;
    struct lines out, beat;
    char last[200]; // the last line it said
    struct report report;
} engine = {.out.fd = -1, .beat.fd = -1};

static void (*look_again)(void);
static bool (*looked)(void);

void engine_settings(void (*look)(void), bool (*done)(void))
{
    look_again = look;
    looked = done;
}

static long oom_kills_now(void)
{
    char text[16384];

    return read_file("/proc/vmstat", text, sizeof(text)) > 0 ? oom_kills(text) : -1;
}

/* ---- its pipes ---- */

static void output_line(void *ctx, const char *line, size_t len)
{
    (void)ctx;
    if (len) {
        say_raw("engine", line, len);
        snprintf(engine.last, sizeof(engine.last), "%.*s", (int)len, line);
        report_line(&engine.report, line, len);
    }
}

static bool is(const char *line, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(line, word, len) == 0;
}

static bool after(const char **line, size_t *len, const char *word)
{
    size_t n = strlen(word);

    if (*len < n || memcmp(*line, word, n) != 0)
        return false;
    *line += n;
    *len -= n;
    return true;
}

static void beat_line(void *ctx, const char *line, size_t len)
{
    int64_t now = now_ms();

    (void)ctx;
    pulse_line(&engine.pulse, line, len, now);
    if (is(line, len, "ready") && !engine.ready) {
        engine.ready = true;
        crash_ready(&engine.crash, now);
        say("engine", "serves, %lld ms after its start", (long long)(now - engine.started_ms));
        net_say_urls();
        if (!in_container())
            say_ports();
    } else if (is(line, len, "loading")) {
        crash_loading(&engine.crash);
    } else if (is(line, len, "failed")) {
        engine.refused = true;
        crash_refused(&engine.crash);
        net_say_urls();
    } else if (after(&line, &len, "qr ")) {
        screen_heard(true, line, len);
    } else if (after(&line, &len, "speed ")) {
        screen_heard(false, line, len);
    } else if (after(&line, &len, "serves")) {
        ports_served(line, len);
    } else if (after(&line, &len, "update ")) {
        update_asked(line, len, false);
    } else if (after(&line, &len, "update-older ")) {
        update_asked(line, len, true);
    } else if (is(line, len, "restart")) {
        engine.again = "as its administrator asked";
    } else if (is(line, len, "reboot")) {
        power_request(POWER_REBOOT, "the engine was asked to restart the machine");
    } else if (is(line, len, "poweroff")) {
        power_request(POWER_OFF, "the engine was asked to switch the machine off");
    }
}

static void output_arrived(int fd, void *ctx)
{
    (void)fd;
    (void)ctx;
    lines_read(&engine.out, output_line, NULL);
}

static void beat_arrived(int fd, void *ctx)
{
    (void)fd;
    (void)ctx;
    lines_read(&engine.out, output_line, NULL); // what it said before comes first on the screen
    lines_read(&engine.beat, beat_line, NULL);
}

/* ---- start, end ---- */

static void failed(const char *why)
{
    bool had_model = !engine.start.skip_model[0];
    int s = crash_ended(&engine.crash, why);

    snprintf(engine.start.skip_model, sizeof(engine.start.skip_model), "%s", engine.crash.skip);
    engine.restart_ms = now_ms() + s * 1000ll;
    complain("engine", "starts again in %d s%s%s", s,
             had_model && engine.start.skip_model[0] ? ", without its model" : "",
             engine.crash.n_failures == 5
                 ? "; it keeps failing: put back the last change to tawny.conf or "
                   "the model (the ESP can be edited on any PC)"
                 : "");
}

/* The process that could not even be made. */
static void not_started(const char *what)
{
    char why[160];

    snprintf(why, sizeof(why), "%s: %s", what, strerror(errno));
    complain("engine", "%s", why);
    failed(why);
}

static void spawn(void)
{
    int out[2], beat[2];

    engine.restart_ms = 0;
    if (pipe2(out, O_CLOEXEC)) {
        not_started("no pipe for its output");
        return;
    }
    if (pipe2(beat, O_CLOEXEC)) {
        not_started("no pipe for its heartbeat");
        close(out[0]);
        close(out[1]);
        return;
    }
    engine.start.n_sockets = ports_open(engine.start.socket);
    int log = relay_open();
    pid_t pid = fork();
    if (pid == 0)
        engine_become(&engine.start, out[1], beat[1], log);
    int e = errno;
    close(out[1]);
    close(beat[1]);
    if (pid < 0) {
        errno = e;
        not_started("no process could be made for it");
        close(out[0]);
        close(beat[0]);
        relay_close();
        return;
    }
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(beat[0], F_SETFL, O_NONBLOCK);
    engine.out = (struct lines){.fd = out[0]};
    engine.beat = (struct lines){.fd = beat[0]};
    loop_add(out[0], output_arrived, NULL);
    loop_add(beat[0], beat_arrived, NULL);
    engine.pid = pid;
    engine.ready = engine.refused = false;
    engine.silent = engine.again = NULL;
    engine.last[0] = 0;
    crash_started(&engine.crash, oom_kills_now());
    engine.started_ms = engine.ticked_ms = now_ms();
    pulse_start(&engine.pulse, engine.started_ms);
}

void engine_start(const char *state_dir, const char *conf_path, const char *hostname)
{
    snprintf(engine.start.hostname, sizeof(engine.start.hostname), "%s", hostname);
    snprintf(engine.start.state, sizeof(engine.start.state), "%s", state_dir);
    snprintf(engine.start.conf, sizeof(engine.start.conf), "%s", conf_path);
    spawn();
    if (engine.pid) {
        say("engine", "started as user %d with the groups %d and %d, settings %s, state %s",
            ENGINE_UID, GROUP_VIDEO, GROUP_RENDER, conf_path, state_dir);
    }
}

static void say_end(char *why, size_t cap, int wait_status)
{
    int64_t now = now_ms();

    crash_tick(&engine.crash, now, oom_kills_now());
    if (engine.silent)
        snprintf(why, cap, "its %s thread was silent for %d s and it was killed", engine.silent,
                 PULSE_SILENT_MS / 1000);
    else
        exit_reason(why, cap, wait_status, crash_memory(&engine.crash, now));
    complain("engine", "ended: %s. Its last words: %s", why,
             engine.last[0] ? engine.last : "(none)");
    report_keep(&engine.report, engine.start.state, why, now - engine.started_ms);
}

bool engine_reaped(pid_t pid, int wait_status)
{
    char why[200];

    if (!engine.pid || pid != engine.pid)
        return false;
    lines_read(&engine.out, output_line, NULL);
    if (engine.out.n)
        output_line(NULL, engine.out.text, engine.out.n);
    lines_read(&engine.beat, beat_line, NULL);
    lines_close(&engine.out);
    lines_close(&engine.beat);
    relay_close();
    engine.pid = 0;
    engine.ready = false;
    if (engine.stopping) {
        if (WIFSIGNALED(wait_status))
            complain("engine", "had to be killed: a GPU that was computing is left as it is");
        else
            say("engine", "stopped");
        return true;
    }
    if (look_again)
        look_again();
    if (engine.again && !engine.silent) {
        say("engine", "starts again, %s", engine.again);
        engine.restart_ms = now_ms() + ASKED_MS;
        return true;
    }
    say_end(why, sizeof(why), wait_status);
    failed(why);
    return true;
}

bool engine_ready(void)
{
    return engine.pid && engine.ready;
}

bool engine_answers(void)
{
    return engine.pid && (engine.ready || engine.refused);
}

int engine_failures(void)
{
    return engine.crash.n_failures;
}

bool engine_running(void)
{
    return engine.pid != 0;
}

bool engine_lost(int64_t now)
{
    return engine.pid && engine.silent && now - engine.silent_ms > 2 * UNKILLABLE_MS;
}

void engine_stop(bool now)
{
    engine.stopping = true;
    ports_close();
    if (engine.pid)
        kill(engine.pid, now ? SIGKILL : SIGTERM);
}

int64_t engine_tick(int64_t now)
{
    if (engine.stopping)
        return INT64_MAX;
    if (!engine.pid) {
        bool ready = !looked || looked() || now >= engine.restart_ms + LOOK_MS;
        if (engine.restart_ms && now >= engine.restart_ms && ready)
            spawn();
        return engine.pid || !engine.restart_ms ? INT64_MAX
               : now >= engine.restart_ms       ? now + 100
                                                : engine.restart_ms;
    }
    if (now - engine.ticked_ms > 15000) { // we slept ourselves (a paused VM): nobody was silent
        pulse_start(&engine.pulse, now);
        engine.silent_ms = now;
    }
    engine.ticked_ms = now;
    crash_tick(&engine.crash, now, oom_kills_now());
    if (ports_again() && !engine.again) {
        engine.again = "for nobody reaches it";
        kill(engine.pid, SIGTERM);
    }
    if (!engine.silent) {
        engine.silent = pulse_silent(&engine.pulse, now);
        engine.silent_ms = now;
        if (engine.silent)
            kill(engine.pid, SIGKILL);
    } else if (now - engine.silent_ms > UNKILLABLE_MS) {
        power_request(POWER_REBOOT, "the engine was killed and does not end: a driver hangs");
    }
    return now + 5000;
}
