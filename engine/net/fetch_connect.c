// fetch_connect.c - from the addresses of a host to one connection: each address is tried a moment
// after the one before (RFC 8305, without its refinements), and the first that answers is taken.
// One that is refused brings the next one on at once.
#include "fetch.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static void attempt_ready(struct source *source, uint32_t events)
{
    struct attempt *attempt = (struct attempt *)(void *)source; // its first member
    (void)events;
    attempt->ready = attempt->fetch->poked = true;
}

static void attempt_close(struct attempt *attempt)
{
    if (attempt->fd >= 0)
        close(attempt->fd); // epoll forgets it too
    attempt->fd = -1;
    attempt->ready = false;
}

void fetch_disconnect(struct fetch *fetch)
{
    for (size_t i = 0; i < LIMIT_ATTEMPTS; i++)
        attempt_close(&fetch->attempts[i]);
    if (fetch->fd >= 0)
        close(fetch->fd);
    fetch->fd = -1;
    if (fetch->tls)
        tls_close(fetch->tls);
    fetch->tls = NULL;
    free(fetch->resolved);
    fetch->resolved = NULL;
    buf_free(&fetch->out);
    fetch->out_at = 0;
}

static bool watch(struct fetch *fetch, struct attempt *attempt)
{
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = &attempt->source};
    return epoll_ctl(fetch->fetcher->net->epoll, EPOLL_CTL_ADD, attempt->fd, &event) == 0;
}

// Begins to connect to the next address, where there is one and a place for it.
static void attempt_begin(struct fetch *fetch)
{
    const struct resolved *resolved = fetch->resolved;
    struct attempt *attempt = NULL;
    const int yes = 1;
    for (size_t i = 0; i < LIMIT_ATTEMPTS && !attempt; i++)
        attempt = fetch->attempts[i].fd < 0 ? &fetch->attempts[i] : NULL;
    if (!attempt || fetch->n_tried == resolved->n)
        return;
    const struct sockaddr_storage *at = &resolved->at[fetch->n_tried];
    const socklen_t n_at = resolved->n_at[fetch->n_tried++];
    fetch->next_attempt_ms = fetch->fetcher->net->now_ms + LIMIT_ATTEMPT_MS;
    *attempt = (struct attempt){
        .source.ready = attempt_ready,
        .fetch = fetch,
        .fd = socket(at->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (attempt->fd >= 0) {
        setsockopt(attempt->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        if ((connect(attempt->fd, (const struct sockaddr *)(const void *)at, n_at) == 0 ||
             errno == EINPROGRESS) &&
            watch(fetch, attempt))
            return;
    }
    fetch->attempt_errno = errno;
    attempt_close(attempt);
    fetch->next_attempt_ms = fetch->fetcher->net->now_ms; // the next at once
}

// The first connection that is made becomes the fetch's. False: none is yet.
static bool take_first(struct fetch *fetch)
{
    for (size_t i = 0; i < LIMIT_ATTEMPTS; i++) {
        struct attempt *attempt = &fetch->attempts[i];
        int code = 0;
        socklen_t n_code = sizeof(code);
        if (attempt->fd < 0 || !attempt->ready)
            continue;
        attempt->ready = false;
        if (getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &code, &n_code) != 0)
            code = errno;
        if (code != 0) {
            fetch->attempt_errno = code;
            attempt_close(attempt);
            fetch->next_attempt_ms = fetch->fetcher->net->now_ms;
            continue;
        }
        fetch->fd = attempt->fd;
        attempt->fd = -1;
        return true;
    }
    return false;
}

static bool any_attempt(const struct fetch *fetch)
{
    for (size_t i = 0; i < LIMIT_ATTEMPTS; i++)
        if (fetch->attempts[i].fd >= 0)
            return true;
    return false;
}

void fetch_connect(struct fetch *fetch)
{
    char host[URL_HOST_BYTES + 16];
    if (take_first(fetch)) {
        for (size_t i = 0; i < LIMIT_ATTEMPTS; i++)
            attempt_close(&fetch->attempts[i]);
        fetch_connected(fetch);
        return;
    }
    while (fetch->n_tried < fetch->resolved->n &&
           fetch->fetcher->net->now_ms >= fetch->next_attempt_ms) {
        const size_t before = fetch->n_tried;
        attempt_begin(fetch);
        if (fetch->n_tried == before)
            return; // no place: the next when one has failed
    }
    if (!any_attempt(fetch) && fetch->n_tried == fetch->resolved->n)
        fetch_fail(fetch, IO_ERROR, "%s cannot be reached: %s", fetch_host(fetch, host),
                   strerror(fetch->attempt_errno));
}

uint64_t fetch_connect_due_ms(const struct fetch *fetch)
{
    bool place = false;
    for (size_t i = 0; i < LIMIT_ATTEMPTS; i++)
        place |= fetch->attempts[i].fd < 0;
    return place && fetch->n_tried < fetch->resolved->n ? fetch->next_attempt_ms : UINT64_MAX;
}
