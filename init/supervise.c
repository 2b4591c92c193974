/* supervise.c - the engine: started (become.c), watched, started again.
 *
 * Two pipes come from it: its output, which is forwarded line by line to the consoles, and the
 * heartbeat, on which it writes lines:
 *   beat              at least every 5 s while its network thread is alive
 *   loading           a model is being loaded from here on
 *   ready             it serves
 *   failed            it runs, but without a model: that one was refused
 *   update ID         an update has arrived as that file; update-older ID: an older version may be
 *   restart           it ends now, to be started again: its administrator asked for that
 *   reboot, poweroff  what its administrator asked for of the machine
 * An engine silent for 60 s is killed; when even that does not end it, the machine is restarted.
 * One that ends is started again after 1, 2, 4 ... 30 s (crash.c says how long, and whether without
 * its model). init never gives up: the box has nothing else to do.
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SILENT_MS 60000
#define ASKED_MS 1000       // until it starts again when that was asked for
#define UNKILLABLE_MS 60000 // after SIGKILL; nothing but a new start of the kernel helps then
#define MOST_READS 1024     // in one turn, of at most 400 bytes each: more than a pipe holds

struct lines { // what arrived behind the last newline
    int fd;    // -1: closed
    size_t n;
    char text[400];
};

static struct {
    struct engine_start start;
    struct crash crash;
    pid_t pid;           // 0: not running
    bool ready, refused; // it said that it serves; that it has no model
    bool stopping, killed_silent;
    bool asked; // to start again: it says so before it ends
    int64_t started_ms, beat_ms, restart_ms, ticked_ms;
    struct lines out, beat;
    char last[200]; // the last line it said
    struct report report;
} engine = {.out.fd = -1, .beat.fd = -1};

static long oom_kills_now(void)
{
    char text[16384];

    return read_file("/proc/vmstat", text, sizeof(text)) > 0 ? oom_kills(text) : -1;
}

/* ---- its pipes ---- */

static void output_line(const char *line, size_t len)
{
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

static void beat_line(const char *line, size_t len)
{
    engine.beat_ms = now_ms();
    if (is(line, len, "ready") && !engine.ready) {
        engine.ready = true;
        crash_ready(&engine.crash, engine.beat_ms);
        say("engine", "serves, %lld ms after its start", (long long)(now_ms() - engine.started_ms));
        net_say_urls();
        if (!in_container())
            say_ports();
    } else if (is(line, len, "loading")) {
        crash_loading(&engine.crash);
    } else if (is(line, len, "failed")) {
        engine.refused = true;
        crash_refused(&engine.crash);
        net_say_urls();
    } else if (after(&line, &len, "update ")) {
        update_asked(line, len, false);
    } else if (after(&line, &len, "update-older ")) {
        update_asked(line, len, true);
    } else if (is(line, len, "restart")) {
        engine.asked = true;
    } else if (is(line, len, "reboot")) {
        power_request(POWER_REBOOT, "the engine was asked to restart the machine");
    } else if (is(line, len, "poweroff")) {
        power_request(POWER_OFF, "the engine was asked to switch the machine off");
    }
}

/* Reads what is there, but not for ever, and hands over whole lines, and a full buffer as if it
 * were one. A pipe that has ended is watched no more: it would be ready again and again until its
 * process is gone, which a hanging driver can delay. */
static void read_lines(struct lines *l, void (*each)(const char *line, size_t len))
{
    for (int turn = 0; l->fd >= 0 && turn < MOST_READS; turn++) {
        ssize_t r = read(l->fd, l->text + l->n, sizeof(l->text) - l->n);
        char *newline;
        if (r == 0)
            loop_remove(l->fd);
        if (r <= 0)
            return;
        l->n += (size_t)r;
        while ((newline = memchr(l->text, '\n', l->n))) {
            size_t len = (size_t)(newline - l->text);
            each(l->text, len);
            l->n -= len + 1;
            memmove(l->text, newline + 1, l->n);
        }
        if (l->n == sizeof(l->text)) {
            each(l->text, l->n);
            l->n = 0;
        }
    }
}

static void lines_close(struct lines *l)
{
    if (l->fd >= 0) {
        loop_remove(l->fd);
        close(l->fd);
        l->fd = -1;
        l->n = 0;
    }
}

static void output_arrived(int fd, void *ctx)
{
    (void)fd;
    (void)ctx;
    read_lines(&engine.out, output_line);
}

static void beat_arrived(int fd, void *ctx)
{
    (void)fd;
    (void)ctx;
    read_lines(&engine.out, output_line); // what it said before comes first on the screen
    read_lines(&engine.beat, beat_line);
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
    pid_t pid = fork();
    if (pid == 0)
        engine_become(&engine.start, out[1], beat[1]);
    int e = errno;
    close(out[1]);
    close(beat[1]);
    if (pid < 0) {
        errno = e;
        not_started("no process could be made for it");
        close(out[0]);
        close(beat[0]);
        return;
    }
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(beat[0], F_SETFL, O_NONBLOCK);
    engine.out = (struct lines){.fd = out[0]};
    engine.beat = (struct lines){.fd = beat[0]};
    loop_add(out[0], output_arrived, NULL);
    loop_add(beat[0], beat_arrived, NULL);
    engine.pid = pid;
    engine.ready = engine.refused = engine.killed_silent = engine.asked = false;
    engine.last[0] = 0;
    crash_started(&engine.crash, oom_kills_now());
    engine.started_ms = engine.beat_ms = engine.ticked_ms = now_ms();
}

void engine_start(const char *state_dir, const char *conf_path)
{
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
    if (engine.killed_silent)
        snprintf(why, cap, "it was silent for %d s and was killed", SILENT_MS / 1000);
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
    read_lines(&engine.out, output_line);
    if (engine.out.n)
        output_line(engine.out.text, engine.out.n);
    read_lines(&engine.beat, beat_line);
    lines_close(&engine.out);
    lines_close(&engine.beat);
    engine.pid = 0;
    engine.ready = false;
    if (engine.stopping) {
        say("engine", "stopped");
        return true;
    }
    if (engine.asked && !engine.killed_silent) {
        say("engine", "starts again, as its administrator asked");
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
    return engine.pid && engine.killed_silent &&
           now - engine.beat_ms > SILENT_MS + 2 * UNKILLABLE_MS;
}

void engine_stop(bool now)
{
    engine.stopping = true;
    if (engine.pid)
        kill(engine.pid, now ? SIGKILL : SIGTERM);
}

int64_t engine_tick(int64_t now)
{
    if (engine.stopping)
        return INT64_MAX;
    if (!engine.pid) {
        if (engine.restart_ms && now >= engine.restart_ms)
            spawn();
        return engine.pid || !engine.restart_ms ? INT64_MAX : engine.restart_ms;
    }
    if (now - engine.ticked_ms > 15000)
        engine.beat_ms = now; // we slept ourselves (a paused VM): nobody was silent
    engine.ticked_ms = now;
    crash_tick(&engine.crash, now, oom_kills_now());
    if (now - engine.beat_ms > SILENT_MS && !engine.killed_silent) {
        engine.killed_silent = true;
        kill(engine.pid, SIGKILL);
    } else if (now - engine.beat_ms > SILENT_MS + UNKILLABLE_MS && engine.killed_silent) {
        power_request(POWER_REBOOT, "the engine was killed and does not end: a driver hangs");
    }
    return now + 5000;
}
