// ring.c - pointers from one thread to one other thread, with an eventfd to sleep on.
//
// One producer, one consumer: each writes one index and reads the other's, so acquire/release is
// all the ordering needed. Invariant: head - tail is the number of items, 0 .. n_slots (indices
// wrap around SIZE_MAX; n_slots is a power of two). What one would get wrong: the eventfd may be
// readable while the ring is empty (a wake-up that was answered already), but it is never quiet
// while the ring is full of unseen items: ring_pop clears it first and looks again afterwards. A
// consumer therefore pops until NULL before it sleeps.
#include "base.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct ring {
    _Alignas(64) _Atomic size_t head; // next slot to write; the producer's
    _Alignas(64) _Atomic size_t tail; // next slot to read; the consumer's
    _Alignas(64) size_t n_slots;
    int fd;
    void *slots[];
};

void ring_open(struct ring **out, size_t n_slots)
{
    if (n_slots == 0 || (n_slots & (n_slots - 1)) || n_slots > SIZE_MAX / 64)
        die("ring_open: %zu slots; a power of two is needed", n_slots);
    size_t n_bytes = (sizeof(struct ring) + n_slots * sizeof(void *) + 63) & ~(size_t)63;
    struct ring *ring = aligned_alloc(64, n_bytes);
    if (!ring)
        die("out of memory: a ring of %zu slots", n_slots);
    memset(ring, 0, n_bytes);
    ring->n_slots = n_slots;
    ring->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ring->fd < 0)
        die("eventfd: %s", strerror(errno));
    *out = ring;
}

void ring_close(struct ring *ring)
{
    if (!ring)
        return;
    if (atomic_load(&ring->head) != atomic_load(&ring->tail))
        die("ring_close: the ring is not empty");
    close(ring->fd);
    free(ring);
}

enum status ring_push(struct ring *ring, void *item)
{
    size_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    size_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    if (head - tail == ring->n_slots)
        return NO_ROOM;
    ring->slots[head & (ring->n_slots - 1)] = item;
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    uint64_t one = 1;
    while (write(ring->fd, &one, sizeof(one)) < 0 && errno == EINTR)
        continue; // EAGAIN: the counter is at its limit, so the consumer is awake anyway
    return OK;
}

static void *take(struct ring *ring)
{
    size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    size_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    if (head == tail)
        return NULL;
    void *item = ring->slots[tail & (ring->n_slots - 1)];
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return item;
}

void *ring_pop(struct ring *ring)
{
    void *item = take(ring);
    if (item)
        return item;
    uint64_t count;
    while (read(ring->fd, &count, sizeof(count)) < 0 && errno == EINTR)
        continue;
    return take(ring);
}

int ring_fd(const struct ring *ring)
{
    return ring->fd;
}

void ring_wait(struct ring *ring)
{
    for (;;) {
        size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
        if (atomic_load_explicit(&ring->head, memory_order_acquire) != tail)
            return;
        struct pollfd poll_fd = {.fd = ring->fd, .events = POLLIN};
        if (poll(&poll_fd, 1, -1) < 0 && errno != EINTR)
            die("poll on a ring: %s", strerror(errno));
        if (atomic_load_explicit(&ring->head, memory_order_acquire) ==
            tail) { // an answered wake-up: clear it
            uint64_t count;
            while (read(ring->fd, &count, sizeof(count)) < 0 && errno == EINTR)
                continue;
        }
    }
}
