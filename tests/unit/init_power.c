/* init_power.c - which input devices are listened to for the power button (init/power.c): each
 * once, and again when it was unplugged and another one has its name.
 */
#include "../../init/init.h"
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool has_key = true;
static int n_open, n_closed, n_removed;
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
    errno = ENODEV;
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
    added[0].ready(FIRST, added[0].ctx); // it is unplugged
    CHECK(n_removed == 1 && n_closed == 2);
    appears("input/event0");
    CHECK(n_open == 3 && added[2].ready);
    for (int i = 2; i < 40; i++) { // more than are watched
        snprintf(name, sizeof(name), "input/event%d", i);
        appears(name);
    }
    CHECK(n_open == 26 && n_closed == 2); // 24 of them at a time
    added[3].ready(FIRST + 3, added[3].ctx);
    appears("input/event40");
    CHECK(n_open == 27 && added[26].ctx == added[3].ctx);
    return check_done("init_power");
}
