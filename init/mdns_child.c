/* mdns_child.c - the process that answers for NAME.local, and PID 1's side of it.
 *
 * What anybody in the network sends is read by a fork of PID 1 that has given up all rights
 * (confine.c): it has two UDP sockets and a socket to PID 1, on which come the addresses of each
 * link (struct mdns_table), and go the name that it got (64 bytes). When that socket ends it says
 * goodbye to the network and ends. PID 1 starts another when it ends otherwise.
 */
#include "nic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT 5353
#define CTL 3 // in the child: the socket to PID 1
#define RESTART_MS 30000

#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29
#endif

/* ---- the child ---- */

static struct {
    int four, six; // sockets; -1: this kernel has none
    struct mdns mdns;
    struct mdns_table table;
} child;

static const uint8_t group_six[16] = {0xff, 0x02, [15] = 0xfb};

static void option(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof(value));
}

/* A UDP socket with those options, at `here`; -1: this kernel has none of that family. */
static int open_socket(int family, void (*options)(int fd), const void *here, socklen_t n)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    options(fd);
    if (bind(fd, here, n)) {
        close(fd);
        return -1;
    }
    return fd;
}

static void options_four(int fd)
{
    option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    option(fd, IPPROTO_IP, IP_TTL, 255);
    option(fd, IPPROTO_IP, IP_MULTICAST_TTL, 255);
    option(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 0);
    option(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
}

static void options_six(int fd)
{
    option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 255);
    option(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 255);
    option(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0);
    option(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
}

static void join(int ifindex)
{
    struct ip_mreqn four = {.imr_ifindex = ifindex};
    struct ipv6_mreq six = {.ipv6mr_interface = (unsigned)ifindex};

    four.imr_multiaddr.s_addr = inet_addr("224.0.0.251");
    memcpy(&six.ipv6mr_multiaddr, group_six, 16);
    (void)setsockopt(child.four, IPPROTO_IP, IP_ADD_MEMBERSHIP, &four, sizeof(four));
    (void)setsockopt(child.six, IPPROTO_IPV6, IPV6_JOIN_GROUP, &six, sizeof(six));
}

struct packet { // what sendmsg and recvmsg need
    struct sockaddr_in6 at;
    struct iovec part;
    _Alignas(struct cmsghdr) char control[64];
    struct msghdr head;
};

static void prepare(struct packet *p, void *bytes, size_t n)
{
    memset(p, 0, sizeof(*p));
    p->part = (struct iovec){bytes, n};
    p->head = (struct msghdr){.msg_name = &p->at,
                              .msg_namelen = sizeof(p->at),
                              .msg_iov = &p->part,
                              .msg_iovlen = 1,
                              .msg_control = p->control,
                              .msg_controllen = sizeof(p->control)};
}

static void put_info(struct packet *p, int level, int type, const void *info, size_t n)
{
    p->head.msg_controllen = (socklen_t)CMSG_SPACE(n);
    struct cmsghdr *c = CMSG_FIRSTHDR(&p->head);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = (socklen_t)CMSG_LEN(n);
    memcpy(CMSG_DATA(c), info, n);
}

static void send_four(int ifindex, uint32_t to, uint16_t port, const uint8_t *msg, size_t len)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = to};
    struct in_pktinfo info = {.ipi_ifindex = ifindex};
    struct packet p;

    prepare(&p, (void *)(uintptr_t)msg, len);
    p.head.msg_name = &at;
    p.head.msg_namelen = sizeof(at);
    put_info(&p, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    (void)!sendmsg(child.four, &p.head, 0);
}

static void send_six(int ifindex, const uint8_t to[16], uint16_t port, const uint8_t *msg,
                     size_t len)
{
    struct in6_pktinfo info = {.ipi6_ifindex = (unsigned)ifindex};
    struct packet p;

    prepare(&p, (void *)(uintptr_t)msg, len);
    p.at.sin6_family = AF_INET6;
    p.at.sin6_port = htons(port);
    p.at.sin6_scope_id = (unsigned)ifindex;
    memcpy(&p.at.sin6_addr, to, 16);
    put_info(&p, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    (void)!sendmsg(child.six, &p.head, 0);
}

static uint8_t asker[16]; // the IPv6 address that the message being answered came from

static void send_out(void *ctx, int ifindex, const struct mdns_from *to, const uint8_t *msg,
                     size_t len)
{
    (void)ctx;
    if (!to) {
        send_four(ifindex, inet_addr("224.0.0.251"), PORT, msg, len);
        send_six(ifindex, group_six, PORT, msg, len);
    } else if (to->six) {
        send_six(ifindex, asker, to->port, msg, len);
    } else {
        send_four(ifindex, to->four, to->port, msg, len);
    }
}

static void from_four(struct mdns_from *from, const struct packet *p, const struct cmsghdr *c)
{
    struct sockaddr_in at;
    struct in_pktinfo info;

    memcpy(&at, &p->at, sizeof(at));
    memcpy(&info, CMSG_DATA(c), sizeof(info));
    from->ifindex = info.ipi_ifindex;
    from->four = at.sin_addr.s_addr;
    from->port = ntohs(at.sin_port);
    from->unicast = (ntohl(info.ipi_addr.s_addr) >> 28) != 14;
}

static void from_six(struct mdns_from *from, const struct packet *p, const struct cmsghdr *c)
{
    struct in6_pktinfo info;

    memcpy(&info, CMSG_DATA(c), sizeof(info));
    memcpy(asker, &p->at.sin6_addr, 16);
    from->six = true;
    from->ifindex = (int)info.ipi6_ifindex;
    from->port = ntohs(p->at.sin6_port);
    from->near = asker[0] == 0xfe && (asker[1] & 0xc0) == 0x80;
    from->unicast = info.ipi6_addr.s6_addr[0] != 0xff;
}

static void read_socket(int fd, bool six)
{
    uint8_t msg[DNS_MESSAGE_MAX + 1];

    for (int i = 0; i < 32; i++) { // and then the clock again
        struct packet p;
        struct mdns_from from = {.ifindex = 0};
        prepare(&p, msg, sizeof(msg));
        ssize_t n = recvmsg(fd, &p.head, 0);
        if (n < 0)
            return;
        const struct cmsghdr *c = CMSG_FIRSTHDR(&p.head); // the one that was asked for
        if (c && !six && c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
            from_four(&from, &p, c);
        if (c && six && c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
            from_six(&from, &p, c);
        if (from.ifindex)
            mdns_receive(&child.mdns, &from, msg, (size_t)n, now_ms());
    }
}

static void read_table(void)
{
    ssize_t n = recv(CTL, &child.table, sizeof(child.table), MSG_DONTWAIT);

    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        mdns_goodbye(&child.mdns);
        _exit(0);
    }
    if (n != (ssize_t)sizeof(child.table))
        return;
    for (int i = 0; i < child.table.n; i++)
        join(child.table.link[i].ifindex);
    mdns_set(&child.mdns, &child.table, now_ms());
}

static int run(void *ctx)
{
    static char told[64];
    uint32_t random = 0;

    signal(SIGTERM, SIG_IGN); // the end of the socket says when
    (void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
    if (!confine(*(int *)ctx, true))
        _exit(1);
    const struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    const struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
    child.four = open_socket(AF_INET, options_four, &four, sizeof(four));
    child.six = open_socket(AF_INET6, options_six, &six, sizeof(six));
    mdns_start(&child.mdns, random ^ (uint32_t)now_ms());
    child.mdns.send = send_out;
    for (;;) {
        struct pollfd fds[] = {{CTL, POLLIN, 0}, {child.four, POLLIN, 0}, {child.six, POLLIN, 0}};
        int64_t now = now_ms(), due = mdns_tick(&child.mdns, now);
        if (mdns_is_up(&child.mdns) && strcmp(told, child.mdns.name) != 0) {
            snprintf(told, sizeof(told), "%s", child.mdns.name);
            (void)!send(CTL, told, sizeof(told), MSG_NOSIGNAL);
        }
        (void)!poll(fds, 3, due <= now ? 0 : due - now < 60000 ? (int)(due - now) : 60000);
        if (fds[0].revents)
            read_table();
        if (fds[1].revents)
            read_socket(child.four, false);
        if (fds[2].revents)
            read_socket(child.six, true);
    }
}

/* ---- PID 1's side ---- */

static struct {
    int fd; // -1: no child
    bool wanted;
    int64_t restart_ms; // 0: not due
    uint16_t https, ollama;
    char name[64]; // the one that is used now
} side = {.fd = -1};

const char *mdns_name(void)
{
    return side.name[0] ? side.name : net_hostname;
}

static void name_arrived(int fd, void *ctx)
{
    char text[64], name[64];
    ssize_t n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
    (void)ctx;

    if (n == 0) { // its end comes by SIGCHLD
        loop_remove(fd);
        return;
    }
    if (n != (ssize_t)sizeof(text) || !conf_hostname(text, strnlen(text, sizeof(text)), name) ||
        strcmp(name, mdns_name()) == 0) {
        return;
    }
    if (strcmp(name, net_hostname) != 0) {
        complain("net",
                 "another machine in this network is called %s.local: this one is %s.local "
                 "(hostname in tawny.conf gives it a name of its own)",
                 net_hostname, name);
    }
    snprintf(side.name, sizeof(side.name), "%s", name);
    if (sethostname(name, strlen(name))) // where the engine looks for its name
        complain("net", "the kernel refused the host name %s", name);
    net_say_urls();
}

void mdns_tell(void)
{
    struct mdns_table t;

    if (side.fd < 0)
        return;
    memset(&t, 0, sizeof(t));
    snprintf(t.hostname, sizeof(t.hostname), "%s", net_hostname);
    t.https = side.https;
    t.ollama = side.ollama;
    for (int i = 0; i < MAX_NICS && t.n < MDNS_LINKS; i++) {
        const struct nic *n = &nics[i];
        struct mdns_link *l = &t.link[t.n];
        if (!n->ifindex || !n->carrier || (!n->has_lease && !n->has_ll4 && !n->ip6.n))
            continue;
        l->ifindex = n->ifindex;
        l->four = n->has_lease ? n->applied.addr : n->has_ll4 ? n->ll4.addr : 0;
        l->mask = n->has_lease ? n->applied.mask : htonl(0xffff0000);
        for (int k = 0; k < n->ip6.n && l->n_six < MDNS_SIX; k++)
            l->n_six += inet_pton(AF_INET6, n->ip6.text[k], l->six[l->n_six]) == 1;
        t.n++;
    }
    (void)!send(side.fd, &t, sizeof(t), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void ended(void *ctx, int code)
{
    (void)ctx;
    nic_close(&side.fd);
    if (!side.wanted)
        return;
    complain("net",
             "what answers for %s.local has ended (%d); it is started again in %d s, and the box "
             "is reached by its addresses meanwhile",
             mdns_name(), code, RESTART_MS / 1000);
    side.restart_ms = now_ms() + RESTART_MS;
}

static void start(void)
{
    int pair[2];

    side.restart_ms = 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
        side.restart_ms = now_ms() + RESTART_MS;
        return;
    }
    if (child_start("", run, ended, &pair[1])) {
        side.fd = pair[0];
        loop_add(pair[0], name_arrived, NULL);
    } else {
        close(pair[0]);
        side.restart_ms = now_ms() + RESTART_MS;
    }
    close(pair[1]);
    mdns_tell();
}

void mdns_begin(uint16_t https, uint16_t ollama)
{
    side.https = https;
    side.ollama = ollama;
    side.wanted = true;
    start();
}

void mdns_stop(void)
{
    side.wanted = false;
    nic_close(&side.fd);
}

int64_t mdns_due(int64_t now)
{
    if (side.wanted && side.restart_ms && now >= side.restart_ms)
        start();
    return side.restart_ms ? side.restart_ms : INT64_MAX;
}
