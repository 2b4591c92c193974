/* clock.c - a clock that is not absurd, and the random seed.
 *
 * Certificates carry dates, so a machine whose battery is dead must not believe in 1970: the clock
 * is moved on to the build date, and then to the last moment that the data partition remembers (the
 * modification time of random-seed). It is never moved back, and a clock that was not absurd is not
 * touched: had it once been years ahead, the data partition would hold on to that for ever.
 *
 * random-seed is 512 bytes written by the last run (at its end, and when it had started). It is
 * replaced on disk BEFORE it is credited, so that no two boots ever start from the same one.
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SEED_BYTES 512

#ifndef GRND_INSECURE
#define GRND_INSECURE 4
#endif

#ifndef TAWNY_BUILD_EPOCH // seconds since 1970 of the commit; the Makefile gives it
#define TAWNY_BUILD_EPOCH 0
#endif

static bool was_absurd; // the hardware clock showed a time before the image was built

static bool move_clock_to(time_t t)
{
    struct timespec want = {.tv_sec = t};
    return time(NULL) < t && clock_settime(CLOCK_REALTIME, &want) == 0;
}

static void date_of(time_t t, char out[32])
{
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(out, 32, "%Y-%m-%d %H:%M UTC", &tm);
}

int64_t clock_floor_s(void)
{
    struct stat st;
    time_t built = (time_t)TAWNY_BUILD_EPOCH;

    return stat("/init", &st) == 0 && st.st_mtime > built ? st.st_mtime : built;
}

bool clock_was_absurd(void)
{
    return was_absurd;
}

enum status clock_check(struct err *err)
{
    time_t built = (time_t)clock_floor_s();
    char was[32], is[32];

    date_of(time(NULL), was);
    if (move_clock_to(built)) {
        was_absurd = true;
        date_of(built, is);
        return err_set(err, BAD_INPUT,
                       "the hardware clock says %s, which is before this image was "
                       "built: set to %s; set the clock in the firmware setup (or "
                       "replace its battery)",
                       was, is);
    }
    return OK;
}

/* `flags` of getrandom: 0 waits until the kernel has real randomness, GRND_INSECURE takes what it
 * has. */
static bool fresh_seed(const char *path, unsigned flags)
{
    char bytes[SEED_BYTES];
    struct err err;

    return getrandom(bytes, sizeof(bytes), flags) == (ssize_t)sizeof(bytes) &&
           replace_file(path, bytes, sizeof(bytes), 0600, &err) == OK;
}

/* A child that waits makes the kernel gather randomness from timing at once, instead of when the
 * engine first needs some. A second's work on a slow processor without RDRAND and without a seed.
 */
static int wait_for_randomness(void *ctx)
{
    char byte;
    (void)ctx;
    nice(19); // drivers first
    return getrandom(&byte, 1, 0) != 1;
}

void randomness_begin(void)
{
    char byte;
    if (getrandom(&byte, 1, GRND_NONBLOCK) != 1)
        (void)child_start("gathering randomness", wait_for_randomness, NULL, NULL);
}

void seed_load(const char *dir)
{
    char path[64];
    struct stat st;
    _Alignas(struct rand_pool_info) char raw[sizeof(struct rand_pool_info) + SEED_BYTES];
    struct rand_pool_info *pool = (struct rand_pool_info *)(void *)raw; // its bytes follow it

    snprintf(path, sizeof(path), "%s/random-seed", dir);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = -1;
    if (fd >= 0) {
        n = fstat(fd, &st) ? -1 : read(fd, pool->buf, SEED_BYTES);
        close(fd);
    }
    int urandom = open("/dev/urandom", O_RDWR | O_CLOEXEC);
    if (n == SEED_BYTES && urandom >= 0) {
        char is[32];
        if (was_absurd && move_clock_to(st.st_mtime)) {
            date_of(st.st_mtime, is);
            say("clock", "moved on to %s, when this machine was last in use", is);
        }
        (void)!write(urandom, pool->buf, SEED_BYTES);
        if (fresh_seed(path, GRND_INSECURE)) { // old seed and all the kernel gathered, mixed
            pool->entropy_count = 256;         // bits: what the kernel wants before it answers
            pool->buf_size = SEED_BYTES;
            ioctl(urandom, RNDADDENTROPY, pool);
        }
    }
    if (urandom >= 0)
        close(urandom);
    explicit_bzero(raw, sizeof(raw));
}

void seed_save(const char *dir, bool wait)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/random-seed", dir);
    (void)fresh_seed(path, wait ? 0 : GRND_NONBLOCK); // without randomness the old one stays
}
