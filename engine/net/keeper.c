// keeper.c - the thread that writes renewed certificates to the disk: the net thread never waits
// for fsync.
//
// It sleeps on its ring; what is pushed there is its own. Of several certificates the last one
// given is the last one written. The end is a work without a certificate.
#include "base/confine.h"
#include "identity.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SLOTS = 8 };

struct kept {
    struct cert server, ca; // server.n == 0: the end
};

struct keeper {
    struct ring *inbox;
    pthread_t thread;
    char state[1024];
};

static void kept_free(struct kept *kept)
{
    explicit_bzero(kept, sizeof(*kept)); // keys
    free(kept);
}

static void *thread_main(void *arg)
{
    struct keeper *keeper = arg;
    thread_begin("keeper", THREAD_FILES);
    bool go_on = true;
    while (go_on) {
        struct kept *kept;
        ring_wait(keeper->inbox);
        while ((kept = ring_pop(keeper->inbox)) != NULL) {
            struct err err = {0};
            go_on = go_on && kept->server.n > 0;
            if (go_on && identity_write(&kept->server, &kept->ca, keeper->state, &err) != OK)
                log_warn("the server's new certificate is used but could not be kept: %s",
                         err.text);
            kept_free(kept);
        }
    }
    return NULL;
}

void keeper_open(struct keeper **out, const char *state)
{
    struct keeper *keeper = mem_alloc(sizeof(*keeper));
    sigset_t all, before;
    snprintf(keeper->state, sizeof(keeper->state), "%s", state);
    ring_open(&keeper->inbox, SLOTS);
    sigfillset(&all); // signals are the main thread's
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&keeper->thread, NULL, thread_main, keeper);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code)
        die("the thread that writes certificates cannot be started: %s", strerror(code));
    *out = keeper;
}

void keeper_take(struct keeper *keeper, const struct cert *server, const struct cert *ca)
{
    struct kept *kept = mem_alloc(sizeof(*kept));
    kept->server = *server;
    kept->ca = *ca;
    explicit_bzero(kept->ca.key, sizeof(kept->ca.key)); // not needed here, so not kept here
    if (ring_push(keeper->inbox, kept) == OK)
        return;
    log_warn("the server's new certificate is used but was not kept: the disk is too slow");
    kept_free(kept);
}

void keeper_close(struct keeper *keeper)
{
    if (!keeper)
        return;
    struct kept *end = mem_alloc(sizeof(*end));
    while (ring_push(keeper->inbox, end) != OK) {
        struct timespec moment = {.tv_nsec = 10000000};
        nanosleep(&moment, NULL);
    }
    pthread_join(keeper->thread, NULL);
    ring_close(keeper->inbox);
    free(keeper);
}
