/* supervise.c - the engine: started as an ordinary user, watched, restarted.
 *
 * It gets uid and gid 1000, the groups video and render and no other, no new privileges, no core
 * dumps, an empty environment but for what is listed here, and the ends of two pipes: its output
 * (which init forwards line by line to the consoles), and the heartbeat. On the heartbeat it writes
 * lines:
 *   beat              at least every 5 s while its network thread is alive
 *   ready             once, when it serves
 *   reboot, poweroff  what its administrator asked for
 * An engine silent for 60 s is killed; when even that does not end it, the machine is restarted.
 * One that ends is started again after 1, 2, 4 ... 30 s; a minute of health forgets earlier
 * failures. init never gives up: the box has nothing else to do.
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SILENT_MS 60000
#define HEALTHY_MS 60000
#define UNKILLABLE_MS 60000 // after SIGKILL; nothing but a new start of the kernel helps then
#define BEAT_FD 3
#define MOST_READS 1024 // in one turn, of at most 400 bytes each: more than a pipe holds

struct lines { // what arrived behind the last newline
    int fd;    // -1: closed
    size_t n;
    char text[400];
};

static struct {
    char state[64], conf[64];
    pid_t pid; // 0: not running
    bool ready, stopping, killed_silent;
    int n_failures; // in a row
    int64_t started_ms, beat_ms, restart_ms, ticked_ms;
    long n_oom; // oom_kill of /proc/vmstat at the start
    struct lines out, beat;
    char last[200]; // the last line it said
} engine = {.out.fd = -1, .beat.fd = -1};

int backoff_s(int n)
{
    return n < 1 ? 1 : n > 5 ? 30 : 1 << (n - 1);
}

static const struct {
    int number;
    const char *name, *meaning;
} signals[] = {
    {SIGSEGV, "SIGSEGV", "it touched memory that is not its own: a mistake in the program"},
    {SIGBUS, "SIGBUS", "a file it reads became shorter, or the disk could not be read"},
    {SIGILL, "SIGILL", "an instruction this processor does not have"},
    {SIGFPE, "SIGFPE", "a division by zero: a mistake in the program"},
    {SIGABRT, "SIGABRT", "it gave up by itself"},
    {SIGTRAP, "SIGTRAP", "it gave up by itself"},
    {SIGSYS, "SIGSYS", "a system call that is not allowed"},
    {SIGKILL, "SIGKILL", "somebody killed it"},
    {SIGTERM, "SIGTERM", "somebody asked it to end"},
    {SIGINT, "SIGINT", "somebody asked it to end"},
    {SIGPIPE, "SIGPIPE", "it wrote to a closed connection: a mistake in the program"},
};

void exit_reason(char *out, size_t cap, int wait_status, bool oom)
{
    if (!WIFSIGNALED(wait_status)) {
        int code = WEXITSTATUS(wait_status);
        snprintf(out, cap, "it ended with exit code %d%s", code,
                 code == 0 ? " (it was not asked to)" : "");
        return;
    }
    int number = WTERMSIG(wait_status);
    if (number == SIGKILL && oom) {
        snprintf(out, cap,
                 "the kernel ended it because the memory was full: use a smaller model or a "
                 "smaller ctx in tawny.conf, or give the machine more memory");
        return;
    }
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
        if (signals[i].number == number) {
            snprintf(out, cap, "%s (%s)", signals[i].name, signals[i].meaning);
            return;
        }
    }
    snprintf(out, cap, "signal %d (%s)", number, strsignal(number));
}

static long oom_kills(void)
{
    char text[16384];
    const char *at = NULL;

    if (read_file("/proc/vmstat", text, sizeof(text)) > 0)
        at = strstr(text, "\noom_kill ");
    return at ? strtol(at + strlen("\noom_kill "), NULL, 10) : 0;
}

/* ---- the child ---- */

static void limit(int what, rlim_t value)
{
    struct rlimit r = {value, value};
    setrlimit(what, &r);
}

static _Noreturn void give_up(const char *what)
{
    dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
    _exit(126);
}

static _Noreturn void become_engine(int out_fd, int beat_fd)
{
    static const gid_t groups[] = {GROUP_VIDEO, GROUP_RENDER};
    char *const argv[] = {ENGINE_PATH, "serve",      "--config", engine.conf,
                          "--state",   engine.state, NULL};
    char home[80], beat[40];
    struct err err;
    char *const env[] = {"PATH=/usr/bin", home, "XDG_RUNTIME_DIR=" RUNTIME_DIR, beat,
                         "LANG=C.UTF-8",  NULL};

    snprintf(home, sizeof(home), "HOME=%s", engine.state);
    snprintf(beat, sizeof(beat), "TAWNY_HEARTBEAT_FD=%d", BEAT_FD);
    child_signals();
    setsid();
    int null = open("/dev/null", O_RDONLY);
    int high_out = fcntl(out_fd, F_DUPFD, 16), high_beat = fcntl(beat_fd, F_DUPFD, 16);
    if (null < 0 || high_out < 0 || high_beat < 0 || dup2(null, 0) < 0 || dup2(high_out, 1) < 0 ||
        dup2(high_out, 2) < 0 || dup2(high_beat, BEAT_FD) < 0) {
        _exit(126);
    }
    syscall(SYS_close_range, BEAT_FD + 1, ~0u, 0);
    (void)write_file("/proc/self/oom_score_adj", "500", &err); // rather it than anything else
    limit(RLIMIT_NOFILE, 65536);
    limit(RLIMIT_MEMLOCK, RLIM_INFINITY);
    limit(RLIMIT_CORE, 0);
    umask(077);
    if (chdir(engine.state))
        give_up(engine.state);
    if (setgroups(sizeof(groups) / sizeof(*groups), groups) ||
        setresgid(ENGINE_GID, ENGINE_GID, ENGINE_GID) ||
        setresuid(ENGINE_UID, ENGINE_UID, ENGINE_UID)) {
        give_up("the engine's user could not be taken on");
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        give_up("no_new_privs");
    execve(ENGINE_PATH, argv, env);
    give_up(ENGINE_PATH " could not be started");
}

/* ---- its pipes ---- */

static void output_line(const char *line, size_t len)
{
    if (len) {
        say_raw("engine", line, len);
        snprintf(engine.last, sizeof(engine.last), "%.*s", (int)len, line);
    }
}

static bool is(const char *line, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(line, word, len) == 0;
}

static void beat_line(const char *line, size_t len)
{
    engine.beat_ms = now_ms();
    if (is(line, len, "ready") && !engine.ready) {
        engine.ready = true;
        say("engine", "serves, %lld ms after its start", (long long)(now_ms() - engine.started_ms));
        net_say_urls();
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

static void failed(void)
{
    int s = backoff_s(++engine.n_failures);
    engine.restart_ms = now_ms() + s * 1000ll;
    complain("engine", "starts again in %d s%s", s,
             engine.n_failures == 5
                 ? "; it keeps failing: put back the last change to tawny.conf or "
                   "the model (the ESP can be edited on any PC)"
                 : "");
}

static void spawn(void)
{
    int out[2], beat[2];

    engine.restart_ms = 0;
    if (pipe2(out, O_CLOEXEC)) {
        complain("engine", "no pipe for its output: %s", strerror(errno));
        failed();
        return;
    }
    if (pipe2(beat, O_CLOEXEC)) {
        complain("engine", "no pipe for its heartbeat: %s", strerror(errno));
        close(out[0]);
        close(out[1]);
        failed();
        return;
    }
    pid_t pid = fork();
    if (pid == 0)
        become_engine(out[1], beat[1]);
    close(out[1]);
    close(beat[1]);
    if (pid < 0) {
        complain("engine", "no process could be made for it: %s", strerror(errno));
        close(out[0]);
        close(beat[0]);
        failed();
        return;
    }
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(beat[0], F_SETFL, O_NONBLOCK);
    engine.out = (struct lines){.fd = out[0]};
    engine.beat = (struct lines){.fd = beat[0]};
    loop_add(out[0], output_arrived, NULL);
    loop_add(beat[0], beat_arrived, NULL);
    engine.pid = pid;
    engine.ready = engine.killed_silent = false;
    engine.last[0] = 0;
    engine.n_oom = oom_kills();
    engine.started_ms = engine.beat_ms = engine.ticked_ms = now_ms();
}

void engine_start(const char *state_dir, const char *conf_path)
{
    snprintf(engine.state, sizeof(engine.state), "%s", state_dir);
    snprintf(engine.conf, sizeof(engine.conf), "%s", conf_path);
    spawn();
    if (engine.pid) {
        say("engine", "started as user %d with the groups %d and %d, settings %s, state %s",
            ENGINE_UID, GROUP_VIDEO, GROUP_RENDER, conf_path, state_dir);
    }
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
    if (engine.killed_silent)
        snprintf(why, sizeof(why), "it was silent for %d s and was killed", SILENT_MS / 1000);
    else
        exit_reason(why, sizeof(why), wait_status, oom_kills() > engine.n_oom);
    complain("engine", "ended: %s. Its last words: %s", why,
             engine.last[0] ? engine.last : "(none)");
    failed();
    return true;
}

bool engine_ready(void)
{
    return engine.pid && engine.ready;
}

bool engine_running(void)
{
    return engine.pid != 0;
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
    if (engine.n_failures && now - engine.started_ms > HEALTHY_MS)
        engine.n_failures = 0;
    if (now - engine.beat_ms > SILENT_MS && !engine.killed_silent) {
        engine.killed_silent = true;
        kill(engine.pid, SIGKILL);
    } else if (now - engine.beat_ms > SILENT_MS + UNKILLABLE_MS && engine.killed_silent) {
        power_request(POWER_REBOOT, "the engine was killed and does not end: a driver hangs");
    }
    return now + 5000;
}
