/* net.c - the wired links: up, carrier, DHCP, addresses, routes, resolv.conf.
 *
 * Every wired network card is used, those plugged in later too. A link asks for an address as soon
 * as it has carrier and the host name is known (net_start_dhcp); an address stays while its lease
 * runs, also through a pulled cable. IPv6 is the kernel's: link-local and router advertisements.
 *
 * The sockets of DHCP (dhcp_socket.c) are closed while a lease is at rest.
 */
#include "init.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_NICS 8
#define SILENT_MS 10000  // of asking, and it is said
#define SETTLE_MS 8000   // after the last driver: cards need a moment to see their cable
#define LOWER_UP 0x10000 // IFF_LOWER_UP: there is a partner at the other end of the cable

struct nic {
    int ifindex; // 0: free
    char name[IFNAMSIZ];
    uint8_t mac[6];
    bool up, carrier;
    bool has_lease;        // `applied` is set on the link
    bool told;             // that nobody answers
    bool refused;          // the kernel did not take the last address
    int packet_fd, udp_fd; // -1: closed
    int64_t asking_ms;     // since when it has been without an address, asking
    struct dhcp dhcp;
    struct dhcp_lease applied;
    struct ip6_list ip6;
};

static struct nic nics[MAX_NICS];
static char unreachable[300]; // why nobody can reach us, as it was last said
static char hostname[64];     // "": DHCP has not begun
static int64_t settled_ms;    // since when no driver is being loaded

static const char *text_of(uint32_t addr, char out[INET_ADDRSTRLEN])
{
    return inet_ntop(AF_INET, &addr, out, INET_ADDRSTRLEN);
}

/* ---- sockets ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        loop_remove(*fd);
        close(*fd);
        *fd = -1;
    }
}

static void run_dhcp(struct nic *n);
static void apply_lease(struct nic *n);
static void lose_lease(struct nic *n);

static void message(struct nic *n, const uint8_t *msg, size_t len)
{
    struct dhcp_reply reply;

    if (dhcp_parse(&reply, msg, len, n->dhcp.xid, n->mac) != OK)
        return;
    switch (dhcp_receive(&n->dhcp, &reply, now_ms())) {
    case DHCP_APPLY:
        close_fd(&n->packet_fd);
        close_fd(&n->udp_fd);
        apply_lease(n);
        break;
    case DHCP_DROP:
        lose_lease(n);
        break;
    default:
        break;
    }
    run_dhcp(n);
}

static void packet_arrived(int fd, void *ctx)
{
    uint8_t packet[1600];
    const uint8_t *msg;
    size_t len;
    ssize_t r = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);

    if (r > 0 && dhcp_unwrap(packet, (size_t)r, &msg, &len) == OK)
        message(ctx, msg, len);
}

static void datagram_arrived(int fd, void *ctx)
{
    uint8_t msg[1600];
    ssize_t r = recv(fd, msg, sizeof(msg), MSG_DONTWAIT);

    if (r > 0)
        message(ctx, msg, (size_t)r);
}

static void send_packet(struct nic *n)
{
    if (n->packet_fd < 0) {
        n->packet_fd = dhcp_packet_open(n->ifindex);
        if (n->packet_fd < 0) {
            complain("net", "%s: no packet socket (%s); there will be no address", n->name,
                     strerror(errno));
            return;
        }
        loop_add(n->packet_fd, packet_arrived, n);
    }
    dhcp_packet_send(n->packet_fd, n->ifindex, &n->dhcp);
}

static void send_datagram(struct nic *n, uint32_t to_addr)
{
    if (n->udp_fd < 0) {
        n->udp_fd = dhcp_udp_open(n->name, n->applied.addr);
        if (n->udp_fd < 0)
            return;
        loop_add(n->udp_fd, datagram_arrived, n);
    }
    dhcp_udp_send(n->udp_fd, to_addr, &n->dhcp);
}

/* ---- leases ---- */

static void write_resolv_conf(void)
{
    char text[1024] = "";
    size_t len = 0;
    struct err err;

    for (int i = 0; i < MAX_NICS; i++) {
        const struct nic *n = &nics[i];
        char addr[INET_ADDRSTRLEN];
        for (int k = 0; n->ifindex && n->has_lease && k < n->applied.n_dns; k++) {
            len += (size_t)snprintf(text + len, sizeof(text) - len, "nameserver %s\n",
                                    text_of(n->applied.dns[k], addr));
        }
    }
    for (int i = 0; i < MAX_NICS; i++) {
        if (nics[i].ifindex && nics[i].has_lease && nics[i].applied.domain[0]) {
            len += (size_t)snprintf(text + len, sizeof(text) - len, "search %s\n",
                                    nics[i].applied.domain);
            break;
        }
    }
    if (replace_file("/etc/resolv.conf", text, len, 0644, &err) != OK)
        complain("net", "%s", err.text);
}

static void set_routes(struct nic *n, bool add)
{
    const struct dhcp_lease *l = &n->applied;

    for (int i = 0; i < l->n_routes; i++) {
        const struct dhcp_route *r = &l->route[i];
        bool on_link = r->gateway && ((r->gateway ^ l->addr) & l->mask);
        if (nl_route(add, n->ifindex, r, on_link) != OK && add) {
            char gateway[INET_ADDRSTRLEN];
            complain("net", "%s: the route through %s was refused: %s", n->name,
                     text_of(r->gateway, gateway), strerror(errno));
        }
    }
}

static void drop_lease(struct nic *n)
{
    if (n->has_lease) {
        set_routes(n, false);
        (void)nl_address(false, n->ifindex, n->applied.addr, n->applied.mask, 0);
        n->has_lease = false;
        write_resolv_conf();
    }
}

static void lease_text(char out[48], uint32_t seconds)
{
    if (seconds == UINT32_MAX)
        snprintf(out, 48, "for ever");
    else if (seconds < 7200)
        snprintf(out, 48, "for %u min", seconds / 60);
    else
        snprintf(out, 48, "for %u h", seconds / 3600);
}

/* The kernel does not take the address: it is given back, and another is asked for. */
static void refuse_lease(struct nic *n)
{
    char addr[INET_ADDRSTRLEN], server[INET_ADDRSTRLEN];
    const char *why = strerror(errno);
    uint32_t refused = n->dhcp.lease.addr;

    drop_lease(n);
    n->refused = true;
    n->asking_ms = now_ms();
    int pause_s = dhcp_refuse(&n->dhcp, now_ms());
    complain("net",
             "%s: the kernel refused the address %s from %s: %s; it is given back, and another is "
             "asked for in %d s",
             n->name, text_of(refused, addr), text_of(n->dhcp.lease.server, server), why, pause_s);
}

static void apply_lease(struct nic *n)
{
    const struct dhcp_lease *l = &n->dhcp.lease;
    bool same = n->has_lease && n->applied.addr == l->addr && n->applied.mask == l->mask;
    char addr[INET_ADDRSTRLEN], router[INET_ADDRSTRLEN], server[INET_ADDRSTRLEN], lease[48];

    if (!same)
        drop_lease(n);
    else if (memcmp(n->applied.route, l->route, sizeof(l->route)) != 0)
        set_routes(n, false);
    if (nl_address(true, n->ifindex, l->addr, l->mask, l->lease_s) != OK) {
        refuse_lease(n);
        return;
    }
    n->applied = *l;
    n->has_lease = true;
    n->asking_ms = 0;
    n->told = n->refused = false;
    unreachable[0] = 0; // if it is lost again, that is news again
    set_routes(n, true);
    write_resolv_conf();
    if (!same) {
        uint32_t gateway = 0;
        for (int i = 0; i < l->n_routes; i++)
            gateway = l->route[i].mask ? gateway : l->route[i].gateway;
        lease_text(lease, l->lease_s);
        say("net", "%s has %s from %s %s, router %s", n->name, text_of(l->addr, addr),
            text_of(l->server, server), lease, gateway ? text_of(gateway, router) : "none");
        net_say_urls();
    }
}

static void lose_lease(struct nic *n)
{
    complain("net", "%s: the lease has ended; asking for a new address", n->name);
    close_fd(&n->udp_fd);
    drop_lease(n);
    n->asking_ms = now_ms();
}

/* Lets the state machine run until it has nothing more to do now. */
static void run_dhcp(struct nic *n)
{
    for (;;) {
        switch (dhcp_tick(&n->dhcp, now_ms())) {
        case DHCP_BROADCAST:
            if (n->dhcp.state == DHCP_REBINDING)
                send_datagram(n, INADDR_BROADCAST);
            else
                send_packet(n);
            break;
        case DHCP_UNICAST:
            send_datagram(n, n->applied.server);
            break;
        case DHCP_DROP:
            lose_lease(n);
            break;
        default:
            return;
        }
    }
}

static void begin_dhcp(struct nic *n)
{
    uint32_t random = 0;

    (void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
    random ^= (uint32_t)now_ms() ^ (uint32_t)n->mac[5] << 24 ^ (uint32_t)n->mac[4] << 16;
    close_fd(&n->packet_fd);
    close_fd(&n->udp_fd);
    n->asking_ms = n->has_lease ? 0 : now_ms();
    dhcp_start(&n->dhcp, n->mac, hostname, random, now_ms());
    run_dhcp(n);
}

/* ---- links ---- */

static struct nic *find(int ifindex)
{
    for (int i = 0; i < MAX_NICS; i++)
        if (nics[i].ifindex == ifindex)
            return &nics[i];
    return NULL;
}

static struct nic *nic_new(int ifindex, const char *name, const uint8_t mac[6])
{
    struct nic *n = find(0);

    if (!n || !nl_is_wired(name))
        return NULL;
    *n = (struct nic){.ifindex = ifindex, .packet_fd = -1, .udp_fd = -1};
    snprintf(n->name, sizeof(n->name), "%s", name);
    memcpy(n->mac, mac, 6);
    if (nl_link_up(ifindex) != OK)
        complain("net", "%s could not be switched on: %s", name, strerror(errno));
    return n;
}

static void nic_gone(struct nic *n)
{
    complain("net", "%s was removed", n->name);
    close_fd(&n->packet_fd);
    close_fd(&n->udp_fd);
    n->has_lease = false;
    n->ifindex = 0;
    write_resolv_conf();
}

static void carrier_changed(struct nic *n, bool carrier)
{
    n->carrier = carrier;
    say("net", "%s (%02x:%02x:%02x:%02x:%02x:%02x): %s", n->name, n->mac[0], n->mac[1], n->mac[2],
        n->mac[3], n->mac[4], n->mac[5], carrier ? "the link is up" : "the cable is unplugged");
    if (carrier && hostname[0]) {
        begin_dhcp(n);
    } else if (!carrier) {
        close_fd(&n->packet_fd);
        n->asking_ms = 0;
        if (!n->has_lease)
            n->dhcp.state = DHCP_OFF;
    }
}

static void link_event(const struct nlmsghdr *head, const char *body)
{
    struct ifinfomsg m;
    char name[IFNAMSIZ] = "";
    uint8_t mac[6] = {0};

    memcpy(&m, body, sizeof(m));
    int left = (int)(head->nlmsg_len - NLMSG_LENGTH(sizeof(m)));
    for (const struct rtattr *a = (const void *)(body + NLMSG_ALIGN(sizeof(m))); RTA_OK(a, left);
         a = RTA_NEXT(a, left)) {
        if (a->rta_type == IFLA_IFNAME)
            snprintf(name, sizeof(name), "%.*s", (int)RTA_PAYLOAD(a), (const char *)RTA_DATA(a));
        else if (a->rta_type == IFLA_ADDRESS && RTA_PAYLOAD(a) == 6)
            memcpy(mac, RTA_DATA(a), 6);
    }
    struct nic *n = find(m.ifi_index);
    if (head->nlmsg_type == RTM_DELLINK) {
        if (n)
            nic_gone(n);
        return;
    }
    if (!n && m.ifi_type == ARPHRD_ETHER && name[0])
        n = nic_new(m.ifi_index, name, mac);
    if (n) {
        bool carrier = (m.ifi_flags & IFF_UP) && (m.ifi_flags & LOWER_UP);
        if (carrier != n->carrier)
            carrier_changed(n, carrier);
    }
}

static void address_event(const void *msg, size_t len)
{
    int ifindex;
    char text[INET6_ADDRSTRLEN];
    bool came;

    if (!ip6_read(msg, len, &ifindex, text, &came))
        return;
    struct nic *n = find(ifindex);
    if (!n || !(came ? ip6_add(&n->ip6, text) : ip6_remove(&n->ip6, text)))
        return;
    if (came)
        say("net", "%s has %s (IPv6, from the router)", n->name, text);
    else
        complain("net", "%s has lost %s (IPv6)", n->name, text);
    net_say_urls();
}

static void event(const void *msg, size_t len)
{
    const struct nlmsghdr *head = msg; // aligned by netlink.c
    const char *body = (const char *)msg + NLMSG_HDRLEN;

    if ((head->nlmsg_type == RTM_NEWLINK || head->nlmsg_type == RTM_DELLINK) &&
        len >= NLMSG_LENGTH(sizeof(struct ifinfomsg))) {
        link_event(head, body);
    } else if ((head->nlmsg_type == RTM_NEWADDR || head->nlmsg_type == RTM_DELADDR) &&
               len >= NLMSG_LENGTH(sizeof(struct ifaddrmsg))) {
        address_event(msg, len);
    }
}

enum status net_open(struct err *err)
{
    for (int i = 0; i < MAX_NICS; i++)
        nics[i].packet_fd = nics[i].udp_fd = -1;
    settled_ms = now_ms();
    enum status s = nl_open(event, err);
    if (s == OK && nl_link_up(1) != OK) {
        s = err_set(err, IO_ERROR, "the loopback interface could not be switched on: %s",
                    strerror(errno));
    }
    return s;
}

void net_start_dhcp(const char *name)
{
    snprintf(hostname, sizeof(hostname), "%s", name);
    for (int i = 0; i < MAX_NICS; i++)
        if (nics[i].ifindex && nics[i].carrier)
            begin_dhcp(&nics[i]);
}

/* ---- for people ---- */

static struct reach reach_now(int64_t now)
{
    struct reach r = {.drivers_busy = module_drivers_ready() == WAIT};

    for (int i = 0; i < MAX_NICS; i++) {
        const struct nic *n = &nics[i];
        if (!n->ifindex)
            continue;
        r.n_nics++;
        if (r.n_carriers == 0 || n->carrier) // the one the advice is about
            snprintf(r.nic, sizeof(r.nic), "%s", n->name);
        r.n_carriers += n->carrier;
        r.silent = r.silent || (n->carrier && n->asking_ms && now - n->asking_ms > SILENT_MS);
        r.refused = r.refused || n->refused;
        r.has_ip4 = r.has_ip4 || n->has_lease;
        r.has_ip6 = r.has_ip6 || n->ip6.n > 0;
    }
    if (!r.n_carriers)
        r.n_unclaimed = unclaimed_nics("", r.unclaimed, REACH_UNCLAIMED);
    return r;
}

/* True: there is something to say that has not been said already. */
static bool reach_news(const struct reach *r)
{
    char text[sizeof(unreachable)];

    if (!reach_text(text, sizeof(text), r) || strcmp(text, unreachable) == 0)
        return false;
    snprintf(unreachable, sizeof(unreachable), "%s", text);
    return true;
}

void net_say_urls(void)
{
    const char *step = engine_ready() ? "ready" : "failed";
    char addr[INET_ADDRSTRLEN];

    if (!engine_answers())
        return;
    if (container_network_given()) {
        container_say_urls();
        return;
    }
    for (int i = 0; i < MAX_NICS; i++) {
        const struct nic *n = &nics[i];
        if (!n->ifindex)
            continue;
        if (n->has_lease) {
            say(step,
                "open https://%s/ in a browser (https://%s.local/ where your network knows "
                "that name)",
                text_of(n->applied.addr, addr), hostname);
        } else if (n->ip6.n) {
            say(step, "open https://[%s]/ in a browser", n->ip6.text[0]);
        }
    }
    struct reach r = reach_now(now_ms());
    if (reach_news(&r))
        complain(step, "nobody can reach this box yet: %s", unreachable);
}

/* Ten seconds without an answer: said once, and not where IPv6 alone is enough. */
static void tell_silence(struct nic *n, int64_t now)
{
    if (!n->asking_ms || n->told || now - n->asking_ms <= SILENT_MS)
        return;
    n->told = true;
    if (n->ip6.n) {
        say("net", "%s: no DHCP server answers; IPv6 alone is in use ([%s])", n->name,
            n->ip6.text[0]);
        return;
    }
    struct reach r = {.n_nics = 1, .n_carriers = 1, .silent = true, .refused = n->refused};
    snprintf(r.nic, sizeof(r.nic), "%s", n->name);
    if (reach_news(&r))
        complain("net", "%s", unreachable);
}

/* No cable, no card, no driver: said once, when every driver has had its time. */
static int64_t tell_no_link(int64_t now)
{
    static bool told;

    if (told)
        return INT64_MAX;
    if (module_drivers_ready() == WAIT)
        settled_ms = now;
    if (now - settled_ms < SETTLE_MS)
        return settled_ms + SETTLE_MS;
    told = true;
    struct reach r = reach_now(now);
    if (reach_news(&r))
        complain("net", "%s", unreachable);
    return INT64_MAX;
}

int64_t net_tick(int64_t now)
{
    int64_t next = INT64_MAX;
    bool any_carrier = false;

    if (container_network_given())
        return INT64_MAX;

    for (int i = 0; i < MAX_NICS; i++) {
        struct nic *n = &nics[i];
        if (!n->ifindex)
            continue;
        any_carrier = any_carrier || n->carrier;
        if (n->carrier && n->dhcp.state != DHCP_OFF) {
            if (now >= n->dhcp.next_ms)
                run_dhcp(n);
            tell_silence(n, now);
            next = n->dhcp.next_ms < next ? n->dhcp.next_ms : next;
        }
    }
    if (!any_carrier) {
        int64_t due = tell_no_link(now);
        next = due < next ? due : next;
    }
    return next;
}
