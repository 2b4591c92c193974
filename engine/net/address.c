// address.c - the addresses of this machine, where to listen, and word of changes (rtnetlink).
//
// The list is sorted so that the same addresses always make the same certificate. IPv4 addresses
// that arrive at an IPv6 socket ("::ffff:192.0.2.7") are shown and counted as IPv4.
#include "address.h"
#include "limits.h"
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int compare(const void *a, const void *b)
{
    const struct address *x = a, *y = b;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    return memcmp(x->p, y->p, x->n);
}

static bool from_sockaddr(struct address *out, const struct sockaddr *from)
{
    *out = (struct address){0};
    if (from->sa_family == AF_INET) {
        out->n = 4;
        memcpy(out->p, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
        out->loopback = out->p[0] == 127;
        out->link_local = out->p[0] == 169 && out->p[1] == 254;
        return true;
    }
    if (from->sa_family == AF_INET6) {
        out->n = 16;
        memcpy(out->p, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, 16);
        out->loopback = IN6_IS_ADDR_LOOPBACK((const struct in6_addr *)(const void *)out->p);
        out->link_local = out->p[0] == 0xFE && (out->p[1] & 0xC0) == 0x80;
        return true;
    }
    return false;
}

static void add(struct address *list, size_t *n, size_t room, const struct address *one)
{
    for (size_t i = 0; i < *n; i++)
        if (compare(&list[i], one) == 0)
            return;
    if (*n < room)
        list[(*n)++] = *one;
}

size_t address_list(struct address *out, size_t room)
{
    static const struct address always[] = {
        {.p = {127, 0, 0, 1}, .n = 4, .loopback = true},
        {.p = {[15] = 1}, .n = 16, .loopback = true},
    };
    size_t n = 0;
    for (size_t i = 0; i < COUNT_OF(always); i++)
        add(out, &n, room, &always[i]);
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0) {
        log_warn("the addresses of this machine cannot be listed (%s): the certificate will name "
                 "only its loopback "
                 "addresses",
                 strerror(errno));
        all = NULL;
    }
    for (struct ifaddrs *one = all; one; one = one->ifa_next) {
        struct address address;
        if (one->ifa_addr && (one->ifa_flags & IFF_UP) != 0 &&
            from_sockaddr(&address, one->ifa_addr)) {
            add(out, &n, room, &address);
        }
    }
    if (all)
        freeifaddrs(all);
    qsort(out, n, sizeof(*out), compare);
    return n;
}

void address_text(const struct address *address, char out[48])
{
    if (!inet_ntop(address->n == 4 ? AF_INET : AF_INET6, address->p, out, 48))
        out[0] = 0;
}

void address_peer(const struct sockaddr_storage *from, char text[64], uint8_t key[16])
{
    struct address address;
    char shown[48] = "?";
    unsigned port = 0;
    memset(key, 0, 16);
    if (from_sockaddr(&address, (const struct sockaddr *)(const void *)from)) {
        port = ntohs(from->ss_family == AF_INET
                         ? ((const struct sockaddr_in *)(const void *)from)->sin_port
                         : ((const struct sockaddr_in6 *)(const void *)from)->sin6_port);
        static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
        if (address.n == 16 && memcmp(address.p, mapped, 12) == 0) {
            memmove(address.p, address.p + 12, 4);
            address.n = 4;
        }
        address_text(&address, shown);
        memcpy(key, address.p, address.n == 4 ? 4 : 8);
        key[15] = (uint8_t)address.n;
    }
    snprintf(text, 64, address.n == 16 ? "[%s]:%u" : "%s:%u", shown, port);
}

// ---- listening ---------------------------------------------------------------------------------

static bool parse_port(const char *text, uint16_t *port)
{
    unsigned long value = 0;
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (unsigned long)(text[i] - '0');
    }
    *port = (uint16_t)value;
    return n > 0 && n <= 5 && value <= 65535;
}

static bool parse_host(struct listen_at *out, const char *host)
{
    struct sockaddr_in *four = (void *)&out->at;
    struct sockaddr_in6 *six = (void *)&out->at;
    memset(&out->at, 0, sizeof(out->at));
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(out->port);
        out->n = sizeof(*four);
        out->any = four->sin_addr.s_addr == 0;
        return true;
    }
    char inside[64];
    size_t n = strlen(host);
    if (strcmp(host, "*") == 0)
        snprintf(inside, sizeof(inside), "::");
    else if (n > 2 && n < sizeof(inside) && host[0] == '[' && host[n - 1] == ']')
        snprintf(inside, sizeof(inside), "%.*s", (int)n - 2, host + 1);
    else
        return false;
    if (inet_pton(AF_INET6, inside, &six->sin6_addr) != 1)
        return false;
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(out->port);
    out->n = sizeof(*six);
    out->any = IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr);
    return true;
}

static bool parse_one(struct listen_at *out, char *entry)
{
    char *colon = strrchr(entry, ':');
    if (!colon || !parse_port(colon + 1, &out->port))
        return false;
    *colon = 0;
    bool good = parse_host(out, entry);
    *colon = ':';
    return good;
}

enum status listen_parse(struct listen_at *out, size_t room, size_t *n, const char *key,
                         const char *text, struct err *err)
{
    size_t found = 0;
    for (const char *at = text; *at != 0;) {
        size_t n_entry = strcspn(at, ", \t");
        char entry[80];
        if (n_entry > 0) {
            snprintf(entry, sizeof(entry), "%.*s", (int)(n_entry < 79 ? n_entry : 79), at);
            struct listen_at one = {0};
            if (n_entry > 79 || !parse_one(&one, entry)) {
                return err_set(
                    err, BAD_INPUT,
                    "%s: \"%s\" is not ADDRESS:PORT, such as 192.0.2.7:443, [::]:443 or *:443", key,
                    entry);
            }
            if (found == room)
                return err_set(err, BAD_INPUT, "%s: more than %zu entries", key, room);
            out[found++] = one;
        }
        at += n_entry;
        at += strspn(at, ", \t");
    }
    if (found == 0 && *text) {
        return err_set(err, BAD_INPUT,
                       "%s: \"%s\" names no address; ADDRESS:PORT is expected, or nothing", key,
                       text);
    }
    *n = found;
    return OK;
}

static int open_socket(const struct listen_at *at)
{
    int fd = socket(at->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int on = 1, off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (at->at.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, at->any ? &off : &on, sizeof(off));
    if (bind(fd, (const struct sockaddr *)(const void *)&at->at, at->n) != 0 ||
        listen(fd, 256) != 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

enum status listen_open(int *fd, struct listen_at *at, struct err *err)
{
    int got = open_socket(at);
    if (got < 0 && at->any && at->at.ss_family == AF_INET6 &&
        (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
        parse_host(at, "0.0.0.0"); // no IPv6 in this kernel
        got = open_socket(at);
    }
    if (got < 0) {
        char text[64];
        uint8_t key[16];
        int why = errno;
        address_peer(&at->at, text, key);
        return err_set(
            err, IO_ERROR, "cannot listen on %s: %s%s", text, strerror(why),
            why == EACCES ? " (ports below 1024 are for root, unless "
                            "net.ipv4.ip_unprivileged_port_start says otherwise)"
            : why == EADDRINUSE
                ? " (is another server running? stop it, or change listen and listen-http)"
                : "");
    }
    socklen_t n = sizeof(at->at);
    if (getsockname(got, (struct sockaddr *)(void *)&at->at, &n) ==
        0) { // port 0: the kernel chose one
        at->port = ntohs(at->at.ss_family == AF_INET
                             ? ((struct sockaddr_in *)(void *)&at->at)->sin_port
                             : ((struct sockaddr_in6 *)(void *)&at->at)->sin6_port);
    }
    *fd = got;
    return OK;
}

// ---- changes -----------------------------------------------------------------------------------

int address_watch(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    struct sockaddr_nl here = {.nl_family = AF_NETLINK,
                               .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
    if (fd < 0 || bind(fd, (const struct sockaddr *)(const void *)&here, sizeof(here)) != 0) {
        log_warn("changes of this machine's addresses cannot be watched (%s): they are looked at "
                 "every hour",
                 strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

void address_watch_drain(int fd)
{
    uint8_t ignored[8192]; // what changed does not matter: the whole list is read again
    ssize_t n;
    do {
        n = recv(fd, ignored, sizeof(ignored), 0);
    } while (n > 0 || (n < 0 && (errno == EINTR || errno == ENOBUFS)));
}

// IPv4 as IPv6 writes it, ::ffff:a.b.c.d.
static void sixteen_bytes(const struct sockaddr_storage *at, uint8_t out[16])
{
    static const uint8_t four_in_six[12] = {[10] = 0xff, [11] = 0xff};
    if (at->ss_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *)(const void *)at)->sin6_addr, 16);
        return;
    }
    memcpy(out, four_in_six, 12);
    memcpy(out + 12, &((const struct sockaddr_in *)(const void *)at)->sin_addr, 4);
}

bool listen_covers(const struct listen_at *at, int fd)
{
    struct sockaddr_storage local;
    socklen_t n = sizeof(local);
    uint8_t ours[16], theirs[16];
    if (getsockname(fd, (struct sockaddr *)&local, &n) != 0)
        return false;
    sixteen_bytes(&at->at, ours);
    sixteen_bytes(&local, theirs);
    if (at->any) // [::] takes both
        return at->at.ss_family == AF_INET6 || (theirs[10] == 0xff && theirs[11] == 0xff);
    return memcmp(ours, theirs, 16) == 0;
}

static bool is_loopback(const uint8_t a[16])
{
    static const uint8_t one[16] = {[15] = 1}, four[13] = {[10] = 0xff, [11] = 0xff, [12] = 127};
    return memcmp(a, one, sizeof(one)) == 0 || memcmp(a, four, sizeof(four)) == 0;
}

static bool is_here(const struct listen_at *at, const struct address *list, size_t n, bool loopback)
{
    uint8_t wanted[16];
    bool found = at->any;
    sixteen_bytes(&at->at, wanted);
    if (!found && !loopback && is_loopback(wanted))
        return false;
    for (size_t i = 0; i < n && !found; i++)
        found = list[i].n == (at->at.ss_family == AF_INET ? 4U : 16U) &&
                memcmp(list[i].p, wanted + 16 - list[i].n, list[i].n) == 0;
    return found;
}

// Those of the setting `address`: "eth1 10.0.0.5/24, fd00::50/64".
static size_t coming_list(struct address *list, size_t n, const char *text)
{
    char word[64];
    while (*(text += strspn(text, " \t,/")) && n < LIMIT_ADDRESSES) {
        const size_t len = strcspn(text, " \t,/");
        snprintf(word, sizeof(word), "%.*s", (int)len, text);
        text += len;
        if (inet_pton(AF_INET, word, list[n].p) == 1)
            list[n++].n = 4;
        else if (inet_pton(AF_INET6, word, list[n].p) == 1)
            list[n++].n = 16;
    }
    return n;
}

bool net_listen_here(const char *text, const char *coming, bool loopback)
{
    struct address list[LIMIT_ADDRESSES];
    struct listen_at at[LIMIT_LISTENERS];
    struct err err;
    const size_t n_own = coming_list(list, address_list(list, COUNT_OF(list)), coming);
    size_t n = 0;
    bool found = false;
    if (listen_parse(at, LIMIT_LISTENERS, &n, "listen", text, &err) != OK)
        return false;
    for (size_t i = 0; i < n && !found; i++)
        found = is_here(&at[i], list, n_own, loopback);
    return found;
}
