// resolve.c - getaddrinfo on a thread for each lookup, which answers through a pipe of pointers.
//
// The resolver outlives its closing until the last lookup has seen it: nobody can stop one, and
// nobody waits for one. localhost and names below it are this machine (RFC 6761), whatever a name
// server would say.
#include "base/confine.h"
#include "resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct resolver {
    pthread_mutex_t lock;
    int fds[2]; // the pipe
    size_t n_lookups;
    bool closed;
};

struct lookup {
    struct resolver *resolver;
    struct resolved *resolved;
};

void resolver_open(struct resolver **out)
{
    struct resolver *resolver = mem_alloc(sizeof(*resolver));
    if (pipe2(resolver->fds, O_NONBLOCK | O_CLOEXEC) != 0)
        die("no pipe for name lookups: %s", strerror(errno));
    pthread_mutex_init(&resolver->lock, NULL);
    *out = resolver;
}

static void destroy(struct resolver *resolver)
{
    struct resolved *resolved;
    while ((resolved = resolver_take(resolver)) != NULL)
        free(resolved);
    close(resolver->fds[0]);
    close(resolver->fds[1]);
    pthread_mutex_destroy(&resolver->lock);
    free(resolver);
}

void resolver_close(struct resolver *resolver)
{
    if (!resolver)
        return;
    pthread_mutex_lock(&resolver->lock);
    resolver->closed = true;
    const bool last = resolver->n_lookups == 0;
    pthread_mutex_unlock(&resolver->lock);
    if (last)
        destroy(resolver);
}

int resolver_fd(const struct resolver *resolver)
{
    return resolver->fds[0];
}

struct resolved *resolver_take(struct resolver *resolver)
{
    struct resolved *resolved;
    return read(resolver->fds[0], &resolved, sizeof(resolved)) == sizeof(resolved) ? resolved
                                                                                   : NULL;
}

static bool is_localhost(const char *host)
{
    const size_t n = strlen(host), n_suffix = strlen(".localhost");
    return strcmp(host, "localhost") == 0 ||
           (n > n_suffix && strcmp(host + n - n_suffix, ".localhost") == 0);
}

static void add(struct resolved *out, const struct addrinfo *info, uint16_t port)
{
    struct sockaddr_storage *at = &out->at[out->n];
    if (out->n == RESOLVE_ADDRESSES || info->ai_addrlen > sizeof(*at))
        return;
    memcpy(at, info->ai_addr, info->ai_addrlen);
    if (at->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)at)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)(void *)at)->sin_port = htons(port);
    out->n_at[out->n++] = info->ai_addrlen;
}

// The system's order, but the families by turns: one that is broken then costs one attempt.
static void add_by_turns(struct resolved *out, const struct addrinfo *list)
{
    const struct addrinfo *next[2] = {list, list};
    const int first = list ? list->ai_family : AF_INET6;
    for (bool any = true; any;) {
        any = false;
        for (int i = 0; i < 2; i++) {
            while (next[i] && (next[i]->ai_family == first) != (i == 0))
                next[i] = next[i]->ai_next;
            if (!next[i])
                continue;
            add(out, next[i], out->port);
            next[i] = next[i]->ai_next;
            any = true;
        }
    }
}

static void look_up(struct resolved *out)
{
    struct addrinfo *list = NULL;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    const bool local = is_localhost(out->host);
    int code;
    hints.ai_flags = local ? AI_NUMERICHOST : 0;
    code = getaddrinfo(local ? "127.0.0.1" : out->host, NULL, &hints, &list);
    if (code == 0) {
        add_by_turns(out, list);
        freeaddrinfo(list);
    }
    if (local && getaddrinfo("::1", NULL, &hints, &list) == 0) {
        add_by_turns(out, list);
        freeaddrinfo(list);
    }
    if (out->n == 0)
        (void)err_set(&out->err, code == EAI_AGAIN ? IO_ERROR : NOT_FOUND,
                      "the name %.200s is not found: %s", out->host,
                      code == EAI_AGAIN ? "no name server answers"
                      : code == 0       ? "it has no address"
                                        : gai_strerror(code));
}

static void *lookup_main(void *arg)
{
    struct lookup *lookup = arg;
    thread_begin("lookup", THREAD_NET);
    struct resolver *resolver = lookup->resolver;
    struct resolved *resolved = lookup->resolved;
    free(lookup);
    look_up(resolved);
    pthread_mutex_lock(&resolver->lock);
    resolver->n_lookups--;
    const bool last = resolver->closed && resolver->n_lookups == 0;
    // RESOLVE_MOST pointers always fit a pipe
    if (resolver->closed ||
        write(resolver->fds[1], &resolved, sizeof(resolved)) != sizeof(resolved))
        free(resolved);
    pthread_mutex_unlock(&resolver->lock);
    if (last)
        destroy(resolver);
    return NULL;
}

enum status resolver_ask(struct resolver *resolver, uint64_t id, const char *host, uint16_t port,
                         struct err *err)
{
    pthread_mutex_lock(&resolver->lock);
    const bool full = resolver->n_lookups >= RESOLVE_MOST;
    resolver->n_lookups += !full;
    pthread_mutex_unlock(&resolver->lock);
    if (full)
        return err_set(err, NO_ROOM, "%d names are being looked up: try again soon", RESOLVE_MOST);
    struct lookup *lookup = mem_alloc(sizeof(*lookup));
    struct resolved *resolved = mem_alloc(sizeof(*resolved));
    *lookup = (struct lookup){resolver, resolved};
    resolved->id = id;
    resolved->port = port;
    snprintf(resolved->host, sizeof(resolved->host), "%s", host);
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all); // signals are the main thread's
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int code = pthread_create(&thread, NULL, lookup_main, lookup);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code)
        die("a thread for a name lookup cannot be started: %s", strerror(code));
    pthread_detach(thread);
    return OK;
}
