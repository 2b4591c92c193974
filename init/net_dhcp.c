/* net_dhcp.c - who gives a link its IPv4 address: a DHCP server, or nobody, and then itself.
 *
 * Runs the state machines of dhcp.c and ll4.c over their sockets. Those of DHCP are closed while a
 * lease is at rest; the one of ARP is open as long as an address of the link's own is sought or
 * used. A link that nobody answers goes on asking.
 */
#include "nic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

static void run(struct nic *n);

static void lost(struct nic *n)
{
    complain("net", "%s: the lease has ended; asking for a new address", n->name);
    nic_close(&n->udp_fd);
    lease_drop(n);
    n->asking_ms = now_ms();
    n->told = false;
}

static void message(struct nic *n, const uint8_t *msg, size_t len)
{
    struct dhcp_reply reply;

    if (dhcp_parse(&reply, msg, len, n->dhcp.xid, n->mac) != OK)
        return;
    switch (dhcp_receive(&n->dhcp, &reply, now_ms())) {
    case DHCP_APPLY:
        nic_close(&n->packet_fd);
        nic_close(&n->udp_fd);
        lease_apply(n);
        if (n->has_lease)
            ll4_end(n);
        break;
    case DHCP_DROP:
        lost(n);
        break;
    default:
        break;
    }
    run(n);
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

/* Lets the state machine run until it has nothing more to do now. */
static void run(struct nic *n)
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
            lost(n);
            break;
        default:
            return;
        }
    }
}

void dhcp_begin(struct nic *n)
{
    uint32_t random = 0;

    (void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
    random ^= (uint32_t)now_ms() ^ (uint32_t)n->mac[5] << 24 ^ (uint32_t)n->mac[4] << 16;
    nic_close(&n->packet_fd);
    nic_close(&n->udp_fd);
    if (n->has_lease && !n->fixed && now_ms() >= n->lease_end_ms)
        lease_drop(n);       // it ended while there was no cable
    n->asking_ms = now_ms(); // with a lease too: this may be another network
    dhcp_start(&n->dhcp, n->mac, net_hostname, random, now_ms());
    run(n);
}

void dhcp_end(struct nic *n)
{
    nic_close(&n->packet_fd);
    nic_close(&n->udp_fd);
    n->asking_ms = 0;
    n->told = false;
    n->dhcp.state = DHCP_OFF;
}

/* ---- an address of its own ---- */

static void ll4_act(struct nic *n, enum ll4_act act)
{
    if (act == LL4_SET)
        ll4_set(n, true);
    if (act == LL4_DROP)
        ll4_set(n, false);
    if (act == LL4_SET || act == LL4_SEND)
        arp_send(n->arp_fd, n->ifindex, &n->ll4);
}

static void arp_arrived(int fd, void *ctx)
{
    struct nic *n = ctx;
    uint8_t packet[128];
    struct arp a;
    ssize_t r = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);

    if (r > 0 && arp_parse(&a, packet, (size_t)r) == OK)
        ll4_act(n, ll4_receive(&n->ll4, &a, now_ms()));
}

void ll4_begin(struct nic *n)
{
    if (n->arp_fd >= 0)
        return;
    n->arp_fd = arp_open(n->ifindex);
    if (n->arp_fd < 0)
        return;
    loop_add(n->arp_fd, arp_arrived, n);
    ll4_start(&n->ll4, n->mac, now_ms());
}

void ll4_end(struct nic *n)
{
    ll4_set(n, false);
    nic_close(&n->arp_fd);
    n->ll4.state = LL4_OFF;
}

int64_t dhcp_due(struct nic *n, int64_t now)
{
    int64_t next = INT64_MAX;

    if (n->dhcp.state != DHCP_OFF) {
        if (now >= n->dhcp.next_ms)
            run(n);
        if (n->has_lease && !n->fixed && now >= n->lease_end_ms)
            lost(n); // of before the cable was pulled, and nobody has answered since
        say_silence(n, now);
        next = n->dhcp.next_ms;
        if (n->has_lease && !n->fixed && n->lease_end_ms < next)
            next = n->lease_end_ms;
        if (n->asking_ms && !n->told && n->asking_ms + SILENT_MS + 1 < next)
            next = n->asking_ms + SILENT_MS + 1;
    }
    if (n->ll4.state != LL4_OFF) {
        ll4_act(n, ll4_tick(&n->ll4, now));
        next = n->ll4.next_ms < next ? n->ll4.next_ms : next;
    }
    return next;
}
