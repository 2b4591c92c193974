/* netlink.c - links, addresses and routes through rtnetlink.
 *
 * Two sockets: one hears of links, IPv6 addresses and what IPv6 routers advertise (nl_open hands
 * each message to its caller), the other carries our requests, each answered by the kernel before
 * nl_* returns. A message is a header, a fixed structure and attributes, all in host byte order and
 * padded to 4 bytes.
 */
#include "container.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct nl_request {
    struct nlmsghdr head;
    char body[256];
};

static int request_fd = -1;
static void (*on_event)(const void *msg, size_t len);

static void attribute(struct nl_request *r, unsigned short type, const void *bytes, size_t len)
{
    struct rtattr *a = (struct rtattr *)(void *)((char *)r + NLMSG_ALIGN(r->head.nlmsg_len));
    a->rta_type = type;
    a->rta_len = (unsigned short)RTA_LENGTH(len);
    memcpy(RTA_DATA(a), bytes, len);
    r->head.nlmsg_len = (uint32_t)(NLMSG_ALIGN(r->head.nlmsg_len) + RTA_ALIGN(a->rta_len));
}

/* Sends and waits for the kernel's verdict: 0 or an errno. */
static int transact(struct nl_request *r)
{
    static uint32_t sequence;
    struct {
        struct nlmsghdr head;
        struct nlmsgerr error;
        char rest[512];
    } answer;

    r->head.nlmsg_seq = ++sequence;
    r->head.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
    if (send(request_fd, r, r->head.nlmsg_len, 0) < 0)
        return errno;
    for (;;) {
        ssize_t n = recv(request_fd, &answer, sizeof(answer), 0);
        if (n < (ssize_t)NLMSG_LENGTH(sizeof(answer.error)))
            return n < 0 ? errno : EPROTO;
        if (answer.head.nlmsg_seq == sequence && answer.head.nlmsg_type == NLMSG_ERROR)
            return -answer.error.error;
    }
}

static enum status verdict(int error)
{
    errno = error;
    return error ? IO_ERROR : OK;
}

bool nl_is_wired(const char *nic)
{
    char path[96];

    if (in_container())
        return true; // the end of a cable that the host holds
    snprintf(path, sizeof(path), "/sys/class/net/%s/device", nic);
    if (access(path, F_OK))
        return false; // a bridge, a tunnel: nothing one can plug a cable into
    snprintf(path, sizeof(path), "/sys/class/net/%s/phy80211", nic);
    return access(path, F_OK) != 0;
}

enum status nl_link_up(int ifindex)
{
    struct nl_request r = {.head = {.nlmsg_type = RTM_NEWLINK}};
    struct ifinfomsg m = {.ifi_index = ifindex, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};

    memcpy(r.body, &m, sizeof(m));
    r.head.nlmsg_len = NLMSG_LENGTH(sizeof(m));
    return verdict(transact(&r));
}

static unsigned char bits_of(uint32_t mask)
{
    unsigned char n = 0;
    for (; mask; mask &= mask - 1)
        n++;
    return n;
}

enum status nl_address(bool add, int ifindex, uint32_t addr, uint32_t mask, uint32_t lease_s)
{
    struct nl_request r = {.head = {.nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR}};
    struct ifaddrmsg m = {
        .ifa_family = AF_INET, .ifa_prefixlen = bits_of(mask), .ifa_index = (unsigned)ifindex};
    struct ifa_cacheinfo life = {.ifa_prefered = lease_s, .ifa_valid = lease_s};
    uint32_t broadcast = addr | ~mask;

    r.head.nlmsg_flags = add ? NLM_F_CREATE | NLM_F_REPLACE : 0;
    memcpy(r.body, &m, sizeof(m));
    r.head.nlmsg_len = NLMSG_LENGTH(sizeof(m));
    attribute(&r, IFA_LOCAL, &addr, 4);
    attribute(&r, IFA_ADDRESS, &addr, 4);
    if (add) {
        if (m.ifa_prefixlen < 31)
            attribute(&r, IFA_BROADCAST, &broadcast, 4);
        attribute(&r, IFA_CACHEINFO, &life, sizeof(life)); // the kernel drops it when we cannot
    }
    return verdict(transact(&r));
}

enum status nl_route(bool add, int ifindex, const struct dhcp_route *route, bool on_link)
{
    struct nl_request r = {.head = {.nlmsg_type = add ? RTM_NEWROUTE : RTM_DELROUTE}};
    struct rtmsg m = {.rtm_family = AF_INET,
                      .rtm_dst_len = bits_of(route->mask),
                      .rtm_table = RT_TABLE_MAIN,
                      .rtm_protocol = RTPROT_DHCP,
                      .rtm_scope = route->gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
                      .rtm_type = RTN_UNICAST,
                      .rtm_flags = on_link ? RTNH_F_ONLINK : 0};
    uint32_t metric = 100 + (uint32_t)ifindex; // several links: the first one wins

    r.head.nlmsg_flags = add ? NLM_F_CREATE | NLM_F_REPLACE : 0;
    memcpy(r.body, &m, sizeof(m));
    r.head.nlmsg_len = NLMSG_LENGTH(sizeof(m));
    if (m.rtm_dst_len)
        attribute(&r, RTA_DST, &route->dest, 4);
    if (route->gateway)
        attribute(&r, RTA_GATEWAY, &route->gateway, 4);
    attribute(&r, RTA_OIF, &ifindex, sizeof(ifindex));
    attribute(&r, RTA_PRIORITY, &metric, sizeof(metric));
    return verdict(transact(&r));
}

enum status nl_address6(bool add, int ifindex, const uint8_t addr[16], uint8_t bits)
{
    struct nl_request r = {.head = {.nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR}};
    struct ifaddrmsg m = {
        .ifa_family = AF_INET6, .ifa_prefixlen = bits, .ifa_index = (unsigned)ifindex};

    r.head.nlmsg_flags = add ? NLM_F_CREATE | NLM_F_REPLACE : 0;
    memcpy(r.body, &m, sizeof(m));
    r.head.nlmsg_len = NLMSG_LENGTH(sizeof(m));
    attribute(&r, IFA_LOCAL, addr, 16);
    attribute(&r, IFA_ADDRESS, addr, 16);
    return verdict(transact(&r));
}

enum status nl_route6(bool add, int ifindex, const uint8_t gateway[16])
{
    struct nl_request r = {.head = {.nlmsg_type = add ? RTM_NEWROUTE : RTM_DELROUTE}};
    struct rtmsg m = {.rtm_family = AF_INET6,
                      .rtm_table = RT_TABLE_MAIN,
                      .rtm_protocol = RTPROT_STATIC,
                      .rtm_scope = RT_SCOPE_UNIVERSE,
                      .rtm_type = RTN_UNICAST,
                      .rtm_flags = RTNH_F_ONLINK};
    uint32_t metric = 100 + (uint32_t)ifindex;

    r.head.nlmsg_flags = add ? NLM_F_CREATE | NLM_F_REPLACE : 0;
    memcpy(r.body, &m, sizeof(m));
    r.head.nlmsg_len = NLMSG_LENGTH(sizeof(m));
    attribute(&r, RTA_GATEWAY, gateway, 16);
    attribute(&r, RTA_OIF, &ifindex, sizeof(ifindex));
    attribute(&r, RTA_PRIORITY, &metric, sizeof(metric));
    return verdict(transact(&r));
}

static void ask_for_all(int fd, unsigned short type, unsigned char family)
{
    struct {
        struct nlmsghdr head;
        struct rtgenmsg gen;
    } dump = {.head = {.nlmsg_len = NLMSG_LENGTH(sizeof(dump.gen)),
                       .nlmsg_type = type,
                       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
              .gen = {.rtgen_family = family}};
    (void)!send(fd, &dump, dump.head.nlmsg_len, 0);
}

static void arrived(int fd, void *ctx)
{
    static char buf[32768] __attribute__((aligned(8)));
    ssize_t n;
    (void)ctx;

    while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
        size_t left = (size_t)n;
        const char *p = buf;
        while (left >= sizeof(struct nlmsghdr)) {
            struct nlmsghdr head;
            memcpy(&head, p, sizeof(head));
            if (head.nlmsg_len < sizeof(head) || head.nlmsg_len > left)
                break;
            on_event(p, head.nlmsg_len);
            size_t step = NLMSG_ALIGN(head.nlmsg_len) < left ? NLMSG_ALIGN(head.nlmsg_len) : left;
            p += step;
            left -= step;
        }
    }
    if (n < 0 && errno == ENOBUFS)
        ask_for_all(fd, RTM_GETLINK, AF_UNSPEC); // something was lost: look again
}

enum status nl_open(void (*event)(const void *msg, size_t len), struct err *err)
{
    struct sockaddr_nl here = {.nl_family = AF_NETLINK,
                               .nl_groups = RTMGRP_LINK | RTMGRP_IPV6_IFADDR |
                                            1u << (RTNLGRP_ND_USEROPT - 1)};
    int type = SOCK_RAW | SOCK_CLOEXEC;
    int fd = socket(AF_NETLINK, type, NETLINK_ROUTE);

    request_fd = socket(AF_NETLINK, type, NETLINK_ROUTE);
    if (fd < 0 || request_fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof(here))) {
        return err_set(err, IO_ERROR, "this kernel has no rtnetlink (%s): there will be no network",
                       strerror(errno));
    }
    on_event = event;
    loop_add(fd, arrived, NULL);
    ask_for_all(fd, RTM_GETLINK, AF_UNSPEC);
    return OK;
}
