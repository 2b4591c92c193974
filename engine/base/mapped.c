// mapped.c - files in memory that may be taken away while they are read.
//
// A page of a mapped file that cannot be read (the file was cut short, its disk was pulled) is a
// SIGBUS, which would end the process. Here it ends the file: the handler notes that it is lost and
// lays zeros over all of its mapping, and whoever reads goes on with zeros until it asks
// file_lost(). What is not ours, or cannot be mended, goes to whoever had the signal before
// (crash.c).
//
// The table is read in a handler, in any thread, while others add to it and take away: a place
// belongs to whoever changed its beginning from 0; `n` counts only while the beginning stays.
#include "confine.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAPS_MOST = 2048, TAKEN = 1 };

static struct map {
    _Atomic uintptr_t begin; // 0: free; TAKEN: being filled in
    _Atomic size_t n;        // bytes, whole pages
    _Atomic bool lost;
} maps[MAPS_MOST];

static struct sigaction before;
static pthread_once_t once = PTHREAD_ONCE_INIT;

// Where it is in *whole, as it was when it was found.
static struct map *map_of(uintptr_t address, struct bytes *whole)
{
    for (size_t i = 0; i < MAPS_MOST; i++) {
        const uintptr_t begin = atomic_load(&maps[i].begin);
        const size_t n = atomic_load(&maps[i].n);
        if (begin > TAKEN && address >= begin && address - begin < n &&
            atomic_load(&maps[i].begin) == begin) {
            *whole = (struct bytes){(const uint8_t *)begin, n};
            return &maps[i];
        }
    }
    return NULL;
}

static void on_bus(int number, siginfo_t *info, void *context)
{
    const int kept = errno;
    const bool by_kernel = info->si_code > 0;
    struct bytes whole;
    struct map *map = by_kernel ? map_of((uintptr_t)info->si_addr, &whole) : NULL;
    (void)context;
    if (map) {
        void *begin = (void *)(uintptr_t)whole.p;
        atomic_store(&map->lost, true); // before anybody can read a zero
        if (mmap(begin, whole.n, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
            begin) {
            errno = kept;
            return;
        }
    }
    sigaction(SIGBUS, &before, NULL); // the read is tried again, and ends as it would have
    if (!by_kernel)
        (void)raise(number);
}

static void watch(void)
{
    struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = (int)(SA_SIGINFO | SA_ONSTACK)};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &before);
}

// A place in the table; NULL: there is none left.
static struct map *take_place(void)
{
    for (size_t i = 0; i < MAPS_MOST; i++) {
        uintptr_t none = 0;
        if (atomic_compare_exchange_strong(&maps[i].begin, &none, TAKEN))
            return &maps[i];
    }
    return NULL;
}

enum status file_map(struct bytes *out, int fd, size_t n_bytes, struct err *err)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    pthread_once(&once, watch);
    struct map *map = take_place();
    if (!map)
        return err_set(err, NO_ROOM, "%d files are mapped, which is the most", MAPS_MOST);
    void *p = mmap(NULL, n_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) {
        atomic_store(&map->begin, 0);
        return err_set(err, IO_ERROR, "cannot be mapped: %s", strerror(errno));
    }
    atomic_store(&map->n, (n_bytes + page - 1) / page * page);
    atomic_store(&map->lost, false);
    atomic_store(&map->begin, (uintptr_t)p);
    *out = (struct bytes){p, n_bytes};
    return OK;
}

void file_unmap(struct bytes file)
{
    struct bytes whole;
    struct map *map = map_of((uintptr_t)file.p, &whole);
    if (!map)
        die("a file at %p was not mapped", (const void *)file.p);
    atomic_store(&map->begin, 0); // first: the address may be given out again at once
    munmap((void *)(uintptr_t)file.p, file.n);
}

bool file_lost(struct bytes file)
{
    struct bytes whole;
    const struct map *map = map_of((uintptr_t)file.p, &whole);
    return map && atomic_load(&map->lost);
}
