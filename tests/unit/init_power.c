/* init_power.c - which input devices are listened to for the power button (init/power.c): each
 * once, and again when it was unplugged and another one has its name, whichever is heard first.
 */
#include "../../init/init.h"
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool has_key = true, unplugged;
static int n_open, n_closed, n_removed, n_complaints;
static struct {
    void (*ready)(int fd, void *ctx);
    void *ctx;
} added[64]; // by descriptor, from FIRST on
enum { FIRST = 500 };

int __wrap_open(const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
ssize_t __wrap_read(int fd, void *to, size_t n);
ssize_t __real_read(int fd, void *to, size_t n);
int __wrap_close(int fd);
int __real_close(int fd);
void __wrap_loop_add(int fd, void (*ready)(int fd, void *ctx), void *ctx);
void __wrap_loop_remove(int fd);
void __wrap_complain(const char *step, const char *format, ...);

int __wrap_open(const char *path, int flags, ...)
{
    return strncmp(path, "/dev/input/", 11) == 0 ? FIRST + n_open++ : __real_open(path, flags);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list args;

    (void)fd;
    va_start(args, request);
    unsigned long *keys = va_arg(args, unsigned long *);
    va_end(args);
    if (has_key)
        keys[KEY_POWER / (8 * sizeof(long))] = 1ul << KEY_POWER % (8 * sizeof(long));
    return 0;
}

ssize_t __wrap_read(int fd, void *to, size_t n)
{
    if (fd < FIRST)
        return __real_read(fd, to, n);
    errno = unplugged ? ENODEV : EAGAIN;
    return -1;
}

int __wrap_close(int fd)
{
    if (fd < FIRST)
        return __real_close(fd);
    n_closed++;
    return 0;
}

void __wrap_loop_add(int fd, void (*ready)(int fd, void *ctx), void *ctx)
{
    added[fd - FIRST].ready = ready;
    added[fd - FIRST].ctx = ctx;
}

void __wrap_loop_remove(int fd)
{
    (void)fd;
    n_removed++;
}

void __wrap_complain(const char *step, const char *format, ...)
{
    (void)step;
    (void)format;
    n_complaints++;
}

static void appears(const char *name)
{
    struct uevent u = {"add", "input", name, "", "", ""};
    power_added(&u);
}

int main(void)
{
    char name[32];

    appears("input/event0");
    appears("input/event0"); // the walk and the announcement both name it
    appears("input/mouse0");
    CHECK(n_open == 1 && added[0].ready);
    has_key = false;
    appears("input/event1");
    CHECK(n_open == 2 && n_closed == 1 && !added[1].ready);
    has_key = true;
    unplugged = true;
    added[0].ready(FIRST, added[0].ctx);
    CHECK(n_removed == 1 && n_closed == 2);
    appears("input/event0");
    CHECK(n_open == 3 && added[2].ready);
    appears("input/event0"); // it is unplugged, and another one heard of before its end
    CHECK(n_removed == 2 && n_closed == 3 && n_open == 4 && added[3].ready);
    unplugged = false;
    for (int i = 2; i < 25; i++) {
        snprintf(name, sizeof(name), "input/event%d", i);
        appears(name);
    }
    CHECK(n_open == 27 && n_closed == 3 && !n_complaints); // 24 of them at a time
    appears("input/event30");
    appears("input/event31");
    CHECK(n_open == 29 && n_closed == 5 && n_complaints == 1); // said once
    unplugged = true;
    added[3].ready(FIRST + 3, added[3].ctx);
    unplugged = false;
    appears("input/event40");
    CHECK(n_open == 30 && added[29].ctx == added[3].ctx && n_complaints == 1);
    return check_done("init_power");
}
