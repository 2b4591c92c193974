/* log.c - one sentence per step, to every console and to the kernel's log.
 *
 * Why not /dev/console: it is only the LAST console= of the kernel command line. With
 * "console=tty0 console=ttyS0" the owner in front of the monitor would see nothing. So every
 * console of /sys/class/tty/console/active is opened and written to. A second copy goes to
 * /dev/kmsg at level info; the kernel's own console level is lowered to 4 (errors and worse), so
 * that a line appears once.
 *
 * Invariant: writing never blocks. A serial line takes 4 KiB and then says EAGAIN; the rest waits
 * in a buffer per console that log_tick writes out; what does not fit is dropped and counted.
 *
 * A child's lines come here over a pipe, so that they are on the monitor's page too.
 */
#include "container.h"
#include "screen.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONSOLES 4
#define LINE_MAX_BYTES 512
#define NULL_DEVICE makedev(1, 3)

struct console {
    int fd;
    size_t n_waiting;
    unsigned n_dropped; // lines
    bool monitor;       // a tty of the machine's own screen
    char waiting[16384];
};

static struct console consoles[MAX_CONSOLES];
static int n_consoles;
static bool page_shown; // monitors show the page of screen.c, not lines
static int kmsg_fd = -1;

enum status err_set(struct err *err, enum status s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    return s;
}

int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void console_flush(struct console *c)
{
    while (c->n_waiting) {
        ssize_t n = write(c->fd, c->waiting, c->n_waiting);
        if (n <= 0) {
            if (n < 0 && errno != EAGAIN && errno != EINTR)
                c->n_waiting = 0; // unplugged or hung up: nobody reads this
            return;
        }
        c->n_waiting -= (size_t)n;
        memmove(c->waiting, c->waiting + n, c->n_waiting);
    }
}

static void console_write(struct console *c, const char *text, size_t len)
{
    char note[80];
    console_flush(c);
    if (c->n_waiting + len + sizeof(note) > sizeof(c->waiting)) {
        c->n_dropped++;
        return;
    }
    if (c->n_dropped) {
        int n = snprintf(note, sizeof(note), "(%u lines dropped: this console is too slow)\n",
                         c->n_dropped);
        memcpy(c->waiting + c->n_waiting, note, (size_t)n);
        c->n_waiting += (size_t)n;
        c->n_dropped = 0;
    }
    memcpy(c->waiting + c->n_waiting, text, len);
    c->n_waiting += len;
    console_flush(c);
}

/* `line` ends with a newline. */
static void emit(const char *line, size_t len)
{
    if (!n_consoles)
        (void)!write(STDERR_FILENO, line, len);
    for (int i = 0; i < n_consoles; i++)
        if (!consoles[i].monitor || !page_shown)
            console_write(&consoles[i], line, len);
}

bool log_screen(bool page)
{
    bool any = false;

    for (int i = 0; i < n_consoles; i++)
        any |= consoles[i].monitor;
    if (any && page_shown != page) {
        page_shown = page;
        log_screen_write(page ? "\033[2J\033[?25l" : "\033[2J\033[H\033[?25h", page ? 10 : 13);
    }
    return any;
}

void log_screen_write(const char *text, size_t len)
{
    for (int i = 0; i < n_consoles; i++)
        if (consoles[i].monitor)
            console_write(&consoles[i], text, len);
}

/* ---- what children say ---- */

/* Their lines: the level, a digit, then the step, a tab, the text. */
static struct lines children = {.fd = -1};
static int to_parent = -1;
static bool is_child;

static void to_the_parent(int level, const char *step, const char *text)
{
    char line[sizeof(children.text)];
    int n = snprintf(line, sizeof(line), "%d%.20s\t%.399s", level, step, text);

    for (char *at = line; (at = strchr(at, '\n'));)
        *at = ' ';
    line[n++] = '\n';
    (void)!write(to_parent, line, (size_t)n); // whole, or not at all
}

static void log_text(int level, const char *step, const char *text)
{
    char line[LINE_MAX_BYTES];
    int64_t t = now_ms();

    if (is_child && to_parent >= 0) {
        to_the_parent(level, step, text);
        return;
    }
    int n = snprintf(line, sizeof(line), "[%5lld.%03lld] %s: %s\n", (long long)(t / 1000),
                     (long long)(t % 1000), step, text);
    if (n < 0)
        return;
    if ((size_t)n >= sizeof(line)) {
        n = (int)sizeof(line) - 1;
        line[n - 1] = '\n';
    }
    emit(line, (size_t)n);
    screen_said(step, text, strlen(text), level <= 4);
    relay_line(level, step, text);
    if (kmsg_fd >= 0) {
        n = snprintf(line, sizeof(line), "<%d>tawny: %s: %s\n", level, step, text);
        (void)!write(kmsg_fd, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
    }
}

/* A child that went wrong may have written anything. */
static void child_line(void *ctx, const char *line, size_t len)
{
    char step[21], text[400];
    const char *tab = memchr(line, '\t', len);
    size_t n_step = tab ? (size_t)(tab - line) : 0, n = 0;

    (void)ctx;
    if (n_step < 2 || n_step > sizeof(step) || (line[0] != '4' && line[0] != '6'))
        return;
    snprintf(step, sizeof(step), "%.*s", (int)n_step - 1, line + 1);
    for (const char *at = tab + 1; at < line + len && n < sizeof(text) - 1; at++) {
        unsigned char c = (unsigned char)*at;
        text[n++] = c >= 0x20 && c != 0x7f ? (char)c : ' ';
    }
    text[n] = 0;
    log_text(line[0] - '0', step, text);
}

static void children_arrived(int fd, void *ctx)
{
    (void)fd;
    (void)ctx;
    log_from_children();
}

void log_from_children(void)
{
    lines_read(&children, child_line, NULL);
}

/* Its end for writing is high: what a child gives up (confine.c) closes it, and takes no low number
 * for it. */
void log_before_fork(void)
{
    int ends[2];

    if (to_parent >= 0 || pipe2(ends, O_CLOEXEC | O_NONBLOCK))
        return;
    to_parent = fcntl(ends[1], F_DUPFD_CLOEXEC, 100);
    close(ends[1]);
    if (to_parent < 0) {
        close(ends[0]);
        return;
    }
    children.fd = ends[0];
    loop_add(ends[0], children_arrived, NULL);
}

static void log_line(int level, const char *step, const char *format, va_list args)
{
    char text[400];

    vsnprintf(text, sizeof(text), format, args);
    log_text(level, step, text);
}

void say(const char *step, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_line(6, step, format, args);
    va_end(args);
}

void complain(const char *step, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_line(4, step, format, args);
    va_end(args);
}

void say_raw(const char *step, const char *text, size_t len)
{
    char line[LINE_MAX_BYTES];
    int64_t t = now_ms();
    int head = snprintf(line, sizeof(line), "[%5lld.%03lld] %s: ", (long long)(t / 1000),
                        (long long)(t % 1000), step);
    size_t n = (size_t)head;

    for (size_t i = 0; i < len && n < sizeof(line) - 1; i++) {
        unsigned char c = (unsigned char)text[i];
        line[n++] = c == '\t' || (c >= 0x20 && c != 0x7f) ? (char)c : '?';
    }
    line[n++] = '\n';
    emit(line, n);
    screen_said(step, text, len, false);
}

static void open_consoles(void)
{
    char names[200];
    char *rest = names;

    if (read_file("/sys/class/tty/console/active", names, sizeof(names)) <= 0)
        snprintf(names, sizeof(names), "console");
    while (n_consoles < MAX_CONSOLES) {
        char path[64];
        rest += strspn(rest, " \n");
        size_t len = strcspn(rest, " \n");
        if (!len)
            break;
        snprintf(path, sizeof(path), "/dev/%.*s", (int)len, rest);
        rest += len;
        int fd = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
            continue;
        consoles[n_consoles].monitor =
            strncmp(path, "/dev/tty", 8) == 0 && path[8] >= '0' && path[8] <= '9';
        consoles[n_consoles++].fd = fd;
    }
}

/* In a container: what its manager reads, our standard error, or, where that leads nowhere (LXC in
 * the background), the container's console. */
static void open_container_log(void)
{
    struct stat st;
    bool nowhere = fstat(STDERR_FILENO, &st) || (S_ISCHR(st.st_mode) && st.st_rdev == NULL_DEVICE);
    int fd = nowhere ? open("/dev/console", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
                     : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

    if (fd >= 0) {
        fcntl(fd, F_SETFL, O_NONBLOCK);
        consoles[n_consoles++].fd = fd;
    }
}

enum status log_open(struct err *err)
{
    char cmdline[2048];

    if (in_container()) {
        open_container_log();
        return OK;
    }

    kmsg_fd = open("/dev/kmsg", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (read_file("/proc/cmdline", cmdline, sizeof(cmdline)) < 0 ||
        (!strstr(cmdline, "ignore_loglevel") && !strstr(cmdline, "debug"))) {
        klogctl(8, NULL, 4); // SYSLOG_ACTION_CONSOLE_LEVEL
    }
    open_consoles();
    if (!n_consoles) {
        return err_set(err, NOT_FOUND,
                       "no console could be opened; add console=tty0 to the "
                       "kernel command line to see messages");
    }
    return OK;
}

int64_t log_tick(int64_t now)
{
    int64_t next = INT64_MAX;
    for (int i = 0; i < n_consoles; i++) {
        console_flush(&consoles[i]);
        if (consoles[i].n_waiting)
            next = now + 20;
    }
    return next;
}

/* What a serial line's driver has taken and not sent: a reset would lose it. */
static bool consoles_sending(void)
{
    int n_bytes;

    for (int i = 0; i < n_consoles; i++)
        if (ioctl(consoles[i].fd, TIOCOUTQ, &n_bytes) == 0 && n_bytes > 0)
            return true;
    return false;
}

void log_drain(void)
{
    if (is_child && to_parent >= 0)
        return; // PID 1 has it, and does not end
    for (int turn = 0; turn < 25 && (log_tick(0) != INT64_MAX || consoles_sending()); turn++)
        poll(NULL, 0, 20);
}

void log_after_fork(void)
{
    is_child = true;
    for (int i = 0; i < n_consoles; i++) {
        consoles[i].n_waiting = 0;
        consoles[i].n_dropped = 0;
    }
}
