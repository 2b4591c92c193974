// handed.c - listening sockets that whoever started us has opened: PID 1 of the box, systemd.
//
// A port below 1024 then needs no right of ours. They are descriptors first .. first + n - 1, as
// sd_listen_fds(3) has it; an entry of `listen` or `listen-http` takes the one that stands at its
// address and port. Entries without one are opened as ever. One that no entry names is left
// to who handed it over, with a line in the log: nobody answers there. What is taken is a
// duplicate, so that all of them can be read once more when an address could not be had.
#include "address.h"
#include "net.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

static bool at_of_socket(int fd, struct sockaddr_storage *at)
{
    int listens = 0, kind = 0;
    socklen_t n = sizeof(*at), n_int = sizeof(int), n_kind = sizeof(int);
    memset(at, 0, sizeof(*at));
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n_int) == 0 && listens &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &n_kind) == 0 && kind == SOCK_STREAM &&
           getsockname(fd, (struct sockaddr *)(void *)at, &n) == 0 &&
           (at->ss_family == AF_INET || at->ss_family == AF_INET6);
}

void handed_read(struct handed *handed, int first, size_t n)
{
    handed->n = 0;
    for (size_t i = 0; i < n; i++) {
        int fd = first + (int)i;
        bool room = handed->n < COUNT_OF(handed->one);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        if (room && at_of_socket(fd, &handed->one[handed->n].at)) {
            fcntl(fd, F_SETFL, O_NONBLOCK);
            handed->one[handed->n].number = (int)i;
            handed->one[handed->n].taken = false;
            handed->one[handed->n++].fd = fd;
        } else {
            log_warn("descriptor %d was handed over, and is no listening TCP socket%s: closed", fd,
                     room ? "" : " that there is room for");
            close(fd);
        }
    }
}

static bool same_place(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *left = (const void *)a, *right = (const void *)b;
        return left->sin_port == right->sin_port && left->sin_addr.s_addr == right->sin_addr.s_addr;
    }
    const struct sockaddr_in6 *left = (const void *)a, *right = (const void *)b;
    return left->sin6_port == right->sin6_port &&
           memcmp(&left->sin6_addr, &right->sin6_addr, sizeof(left->sin6_addr)) == 0;
}

// [::] means both kinds, and 0.0.0.0 is what it becomes where there is no IPv6.
static bool stands_for(const struct listen_at *wanted, const struct sockaddr_storage *found)
{
    const struct sockaddr_in *four = (const void *)found;
    return wanted->any && wanted->at.ss_family == AF_INET6 && found->ss_family == AF_INET &&
           four->sin_addr.s_addr == 0 && ntohs(four->sin_port) == wanted->port;
}

int handed_take(struct handed *handed, struct listen_at *at)
{
    for (size_t i = 0; i < handed->n; i++) {
        struct handed_socket *one = &handed->one[i];
        if (one->taken || !(same_place(&one->at, &at->at) || stands_for(at, &one->at)))
            continue;
        int fd = fcntl(one->fd, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return -1;
        at->at = one->at;
        at->n =
            one->at.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        one->taken = true;
        return fd;
    }
    return -1;
}

// ADDR:PORT behind the others, where it has room.
static void list_add(char *list, size_t size, const struct sockaddr_storage *at)
{
    char text[64];
    uint8_t key[16];
    const struct sockaddr_in6 *six = (const void *)at;
    const size_t n = strlen(list);
    address_peer(at, text, key);
    if (at->ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr))
        snprintf(text, sizeof(text), "[::]:%u", ntohs(six->sin6_port));
    if (n + strlen(text) + 2 <= size)
        snprintf(list + n, size - n, "%s%s", n ? "," : "", text);
}

size_t net_handed_lists(int first, size_t n, char *listen, char *listen_http, size_t size)
{
    size_t n_https = 0;
    listen[0] = listen_http[0] = 0;
    for (size_t i = 0; i < n; i++) {
        struct sockaddr_storage at;
        if (!at_of_socket(first + (int)i, &at))
            continue;
        const bool plain = ntohs(((const struct sockaddr_in *)(const void *)&at)->sin_port) == 80;
        n_https += !plain; // the port stands at the same place in both families
        list_add(plain ? listen_http : listen, size, &at);
    }
    return n_https;
}

uint64_t handed_taken(const struct handed *handed)
{
    uint64_t taken = 0;
    for (size_t i = 0; i < handed->n; i++)
        taken |= (uint64_t)handed->one[i].taken << handed->one[i].number;
    return taken;
}

void handed_close(struct handed *handed)
{
    for (size_t i = 0; i < handed->n; i++) {
        char text[64];
        uint8_t key[16];
        close(handed->one[i].fd);
        if (handed->one[i].taken)
            continue;
        address_peer(&handed->one[i].at, text, key);
        log_warn("a socket for %s was handed over, and neither listen nor listen-http names it: "
                 "nobody answers there",
                 text);
    }
    handed->n = 0;
}
