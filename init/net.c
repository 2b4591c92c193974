/* net.c - the wired links: up, carrier, DHCP, addresses, routes, resolv.conf.
 *
 * Every wired network card is used, those plugged in later too. A link asks for an address as soon
 * as it has carrier and the host name is known (net_start_dhcp); an address stays while its lease
 * runs, also through a pulled cable. IPv6 is the kernel's: link-local and router advertisements.
 *
 * Before it has an address a link talks through a packet socket (the kernel would pick the source
 * address of another card); a filter lets only UDP to port 68 through. To renew, an ordinary UDP
 * socket is used. Both are closed while the lease is at rest.
 */
#include "init.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/if_addr.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
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
#define LOWER_UP 0x10000 // IFF_LOWER_UP: there is a partner at the other end of the cable

struct nic {
    int ifindex; // 0: free
    char name[IFNAMSIZ];
    uint8_t mac[6];
    bool up, carrier;
    bool has_lease;        // `applied` is set on the link
    bool told;             // that nobody answers
    int packet_fd, udp_fd; // -1: closed
    int64_t asking_ms;     // since when it has been without an address, asking
    struct dhcp dhcp;
    struct dhcp_lease applied;
    char ip6[INET6_ADDRSTRLEN]; // global, or ""
};

static struct nic nics[MAX_NICS];
static char hostname[64];  // "": DHCP has not begun
static int64_t settled_ms; // since when no driver is being loaded

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

static bool packet_open(struct nic *n)
{
    /* IPv4 header first: UDP? not a later fragment? port 68 behind a header of any length? */
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 17, 0, 6),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 4, 0),
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
        BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 68, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 1600),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};
    struct sockaddr_ll here = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = n->ifindex};
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0); // protocol 0: deaf until bound

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ||
        bind(fd, (struct sockaddr *)&here, sizeof(here))) {
        complain("net", "%s: no packet socket (%s); there will be no address", n->name,
                 strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    n->packet_fd = fd;
    loop_add(fd, packet_arrived, n);
    return true;
}

static void send_packet(struct nic *n)
{
    uint8_t msg[DHCP_MESSAGE_MAX], packet[28 + DHCP_MESSAGE_MAX];
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_IP),
                             .sll_ifindex = n->ifindex,
                             .sll_halen = 6};

    memset(to.sll_addr, 255, 6);
    if (n->packet_fd >= 0 || packet_open(n)) {
        size_t len = dhcp_wrap(packet, msg, dhcp_build(&n->dhcp, msg, now_ms()));
        (void)!sendto(n->packet_fd, packet, len, 0, (struct sockaddr *)&to, sizeof(to));
    }
}

static bool udp_open(struct nic *n)
{
    struct sockaddr_in here = {
        .sin_family = AF_INET, .sin_port = htons(68), .sin_addr.s_addr = n->applied.addr};
    int one = 1, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, n->name, sizeof(n->name)) ||
        setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one)) ||
        bind(fd, (struct sockaddr *)&here, sizeof(here))) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    n->udp_fd = fd;
    loop_add(fd, datagram_arrived, n);
    return true;
}

static void send_datagram(struct nic *n, uint32_t to_addr)
{
    uint8_t msg[DHCP_MESSAGE_MAX];
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(67), .sin_addr.s_addr = to_addr};

    if (n->udp_fd >= 0 || udp_open(n)) {
        size_t len = dhcp_build(&n->dhcp, msg, now_ms());
        (void)!sendto(n->udp_fd, msg, len, 0, (struct sockaddr *)&to, sizeof(to));
    }
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
        complain("net", "%s: the address %s was refused: %s", n->name, text_of(l->addr, addr),
                 strerror(errno));
        return;
    }
    n->applied = *l;
    n->has_lease = true;
    n->asking_ms = 0;
    n->told = false;
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

static bool wired(const char *name)
{
    char path[96];

    snprintf(path, sizeof(path), "/sys/class/net/%s/device", name);
    if (access(path, F_OK))
        return false; // a bridge, a tunnel: nothing one can plug a cable into
    snprintf(path, sizeof(path), "/sys/class/net/%s/phy80211", name);
    return access(path, F_OK) != 0;
}

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

    if (!n || !wired(name))
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

static void address_event(const struct nlmsghdr *head, const char *body)
{
    struct ifaddrmsg m;

    memcpy(&m, body, sizeof(m));
    struct nic *n = find((int)m.ifa_index);
    if (!n || head->nlmsg_type != RTM_NEWADDR || m.ifa_family != AF_INET6 ||
        m.ifa_scope != RT_SCOPE_UNIVERSE || (m.ifa_flags & (IFA_F_TENTATIVE | IFA_F_DEPRECATED))) {
        return;
    }
    int left = (int)(head->nlmsg_len - NLMSG_LENGTH(sizeof(m)));
    for (const struct rtattr *a = (const void *)(body + NLMSG_ALIGN(sizeof(m))); RTA_OK(a, left);
         a = RTA_NEXT(a, left)) {
        char text[INET6_ADDRSTRLEN];
        if (a->rta_type == IFA_ADDRESS && RTA_PAYLOAD(a) == 16 &&
            inet_ntop(AF_INET6, RTA_DATA(a), text, sizeof(text)) && strcmp(text, n->ip6) != 0) {
            snprintf(n->ip6, sizeof(n->ip6), "%s", text);
            say("net", "%s has %s (IPv6, from the router)", n->name, text);
            net_say_urls();
        }
    }
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
        address_event(head, body);
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

void net_say_urls(void)
{
    char addr[INET_ADDRSTRLEN];
    bool any = false;

    if (!engine_ready())
        return;
    for (int i = 0; i < MAX_NICS; i++) {
        const struct nic *n = &nics[i];
        if (n->ifindex && n->has_lease) {
            say("ready",
                "open https://%s/ in a browser (https://%s.local/ where your network knows "
                "that name)",
                text_of(n->applied.addr, addr), hostname);
            any = true;
        } else if (n->ifindex && n->ip6[0]) {
            say("ready", "open https://[%s]/ in a browser", n->ip6);
            any = true;
        }
    }
    if (!any)
        say("ready", "the engine runs and waits for the network");
}

static void tell_silence(struct nic *n, int64_t now)
{
    if (n->asking_ms && !n->told && now - n->asking_ms > 10000) {
        n->told = true;
        complain("net",
                 "%s: no DHCP server has answered for 10 s; still asking. Is this the right "
                 "network, and does its router give out addresses?",
                 n->name);
    }
}

int64_t net_tick(int64_t now)
{
    static bool told_no_link;
    int64_t next = INT64_MAX;
    bool any_nic = false, any_carrier = false;

    for (int i = 0; i < MAX_NICS; i++) {
        struct nic *n = &nics[i];
        if (!n->ifindex)
            continue;
        any_nic = true;
        any_carrier = any_carrier || n->carrier;
        if (n->carrier && n->dhcp.state != DHCP_OFF) {
            if (now >= n->dhcp.next_ms)
                run_dhcp(n);
            tell_silence(n, now);
            next = n->dhcp.next_ms < next ? n->dhcp.next_ms : next;
        }
    }
    if (!any_carrier && !told_no_link) {
        if (module_drivers_ready() == WAIT)
            settled_ms = now;
        if (now - settled_ms < 8000)
            return settled_ms + 8000 < next ? settled_ms + 8000 : next;
        told_no_link = true;
        complain("net", "%s",
                 any_nic ? "no network cable is plugged in; plug one in, nothing else "
                           "is needed"
                         : "no wired network card was found; in a virtual machine, add "
                           "one of type VirtIO");
    }
    return next;
}
