/* init_ntp.c - ntp.c over a kernel's clock and a child that are played here: which error the kernel
 * is told, when a clock is trusted and kept, and what a child may write.
 *
 * The functions __wrap_* stand in for those of the C library and of init (Makefile, UNIT_WRAP_ntp).
 */
#include "../../init/init.h"
#include "check.h"

#include <sys/ioctl.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static struct timex told; // the last status and error
static int64_t floor_s;
static int n_kept, child_fd = -1; // the child's end of its pipe
static void (*child_done)(void *ctx, int code);

int __wrap_adjtimex(struct timex *t);
int __wrap_clock_settime(clockid_t clock, const struct timespec *t);
bool __wrap_child_start(const char *name, int (*run)(void *ctx), void (*done)(void *ctx, int code),
                        void *ctx);
int64_t __wrap_clock_floor_s(void);
bool __wrap_clock_was_absurd(void);
bool __wrap_disk_mounted(void);
bool __wrap_net_has_address(void);
enum status __wrap_replace_file(const char *path, const char *text, size_t len, mode_t mode,
                                struct err *err);

int __wrap_adjtimex(struct timex *t)
{
    if (t->modes & ADJ_STATUS)
        told = *t;
    return 0;
}

int __wrap_clock_settime(clockid_t clock, const struct timespec *t)
{
    (void)clock, (void)t;
    return 0;
}

bool __wrap_child_start(const char *name, int (*run)(void *ctx), void (*done)(void *ctx, int code),
                        void *ctx)
{
    (void)name;
    if (!done)
        return run(ctx) == 0;
    child_fd = dup(*(int *)ctx);
    child_done = done;
    return child_fd >= 0;
}

int64_t __wrap_clock_floor_s(void)
{
    return floor_s;
}

bool __wrap_clock_was_absurd(void)
{
    return false;
}

bool __wrap_disk_mounted(void)
{
    return true;
}

bool __wrap_net_has_address(void)
{
    return true;
}

enum status __wrap_replace_file(const char *path, const char *text, size_t len, mode_t mode,
                                struct err *err)
{
    (void)text, (void)len, (void)mode, (void)err;
    CHECK_TEXT(path, "/data/clock");
    n_kept++;
    return OK;
}

/* One round: three servers say that the clock is off by that much. */
static void round_of(int64_t *now, int64_t offset_ms)
{
    const struct ntp_sample s = {offset_ms, 10};

    CHECK(ntp_tick(*now) == INT64_MAX && child_fd >= 0);
    for (int i = 0; i < 3 && child_fd >= 0; i++)
        CHECK(write(child_fd, &s, sizeof(s)) == sizeof(s));
    close(child_fd);
    child_done(NULL, 0);
    *now = now_ms() + 3000000;
}

static bool trusted(void)
{
    return !(told.status & STA_UNSYNC);
}

static void tells_the_error(void)
{
    struct ntp_setting setting = {.n = 1, .server = {{"here", 123}}};
    int64_t now = 1000;

    ntp_begin(&setting);
    CHECK(!trusted());
    now = ntp_tick(now);
    round_of(&now, 100); // 10 ms there and back, 100 ms that are being slewed: 105 ms
    CHECK(trusted() && told.maxerror >= 105000 && told.maxerror <= 106000 && n_kept == 1);
    round_of(&now, -9000);
    CHECK(trusted() && told.maxerror >= 9005000 && told.maxerror <= 9006000);
    round_of(&now, -59000); // the kernel trusts no clock from 16 s on
    CHECK(trusted() && told.maxerror >= 13000000 && told.maxerror < 15000000 && n_kept == 3);
    round_of(&now, 5 * 3600000); // which is set at once
    CHECK(trusted() && told.maxerror <= 6000 && n_kept == 3);
    round_of(&now, -5 * 3600000); // not back again
    CHECK(!trusted() && n_kept == 3);
}

/* A child that has been taken over writes without end. */
static void reads_within_bounds(void)
{
    static const struct ntp_sample s[64];
    int64_t now = now_ms() + 9000000;

    CHECK(ntp_tick(now) == INT64_MAX);
    for (int i = 0; i < 4; i++)
        CHECK(write(child_fd, s, sizeof(s)) == sizeof(s));
    loop_once(now_ms() + 1000);
    int left = 0;
    CHECK(ioctl(child_fd, FIONREAD, &left) == 0);
    CHECK(left == (int)(4 * sizeof(s) - 2 * NTP_MOST * sizeof(*s)));
    close(child_fd);
    child_done(NULL, 0);
}

static void off_and_decades_ahead(void)
{
    struct ntp_setting off = {.off = true};

    ntp_begin(&off);
    CHECK(trusted());
    floor_s = time(NULL) - (NTP_YEARS + 1) * 31622400ll;
    ntp_begin(&off);
    CHECK(!trusted());
    CHECK(ntp_tick(now_ms()) == INT64_MAX);
}

int main(void)
{
    floor_s = time(NULL) - 86400 * 30;
    tells_the_error();
    reads_within_bounds();
    off_and_decades_ahead();
    return check_done("init_ntp");
}
