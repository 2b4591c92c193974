// base_ring.c - the ring under two threads: every pointer arrives, once, in order, and a sleeping
// consumer is always woken.
#include "../../engine/base/base.h"
#include "check.h"

#include <poll.h>
#include <pthread.h>

enum { N_ITEMS = 100000 };
static int items[N_ITEMS];

static void *produce(void *arg)
{
    struct ring *ring = arg;
    for (int i = 0; i < N_ITEMS; i++) {
        while (ring_push(ring, &items[i]) != OK) {
            struct pollfd nothing = {.fd = -1};
            (void)poll(&nothing, 0, 1);
        }
    }
    return NULL;
}

int main(void)
{
    struct ring *ring;
    ring_open(&ring, 4);
    CHECK(!ring_pop(ring));
    for (int i = 0; i < 4; i++)
        CHECK(ring_push(ring, &items[i]) == OK);
    CHECK(ring_push(ring, &items[4]) == NO_ROOM);
    struct pollfd poll_fd = {.fd = ring_fd(ring), .events = POLLIN};
    CHECK(poll(&poll_fd, 1, 0) == 1);
    for (int i = 0; i < 4; i++)
        CHECK(ring_pop(ring) == &items[i]);
    CHECK(!ring_pop(ring));
    CHECK(poll(&poll_fd, 1, 0) == 0); // cleared when it was found empty
    ring_close(ring);

    ring_open(&ring, 64);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, produce, ring) == 0);
    int n = 0, n_wrong = 0;
    while (n < N_ITEMS) {
        ring_wait(ring);
        int *item;
        while ((item = ring_pop(ring)) != NULL)
            n_wrong += item != &items[n++];
    }
    pthread_join(thread, NULL);
    CHECK(n == N_ITEMS && n_wrong == 0 && !ring_pop(ring));
    ring_close(ring);
    uint64_t before = clock_ms();
    struct pollfd nothing = {.fd = -1};
    (void)poll(&nothing, 0, 20);
    CHECK(clock_ms() >= before + 15 && clock_us() / 1000 >= before);
    CHECK(clock_unix_s() > 0);
    return check_done("base_ring");
}
