/* net.c - the wired links: they come and go, get a cable and lose it.
 *
 * Every wired network card is used, those plugged in later too. A link is given an address as soon
 * as it has carrier and the settings are known (net_start): that of tawny.conf (net_lease.c), else
 * one of a DHCP server, else one of its own (net_dhcp.c). An address stays while its lease runs,
 * also through a pulled cable; routes of a link without carrier do not count (the kernel's
 * ignore_routes_with_linkdown), so that another link takes over. IPv6 is the kernel's: link-local
 * and router advertisements, whose name servers it hands on to us.
 */
#include "container.h"
#include "nic.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOWER_UP 0x10000 // IFF_LOWER_UP: there is a partner at the other end of the cable

struct nic nics[MAX_NICS];
char net_hostname[64];

void nic_close(int *fd)
{
    if (*fd >= 0) {
        loop_remove(*fd);
        close(*fd);
        *fd = -1;
    }
}

static struct nic *find(int ifindex)
{
    for (int i = 0; i < MAX_NICS; i++)
        if (nics[i].ifindex == ifindex)
            return &nics[i];
    return NULL;
}

/* What the kernel is to do on this link. A setting that it does not know is no error. */
static void set_kernel(const struct nic *n)
{
    static const struct {
        const char *path, *value; // NULL: the metric of netlink.c's routes
    } wanted[] = {
        {"ipv4/conf/%s/ignore_routes_with_linkdown", "1"}, // the next link takes over
        {"ipv6/conf/%s/ignore_routes_with_linkdown", "1"},
        {"ipv6/conf/%s/ra_defrtr_metric", NULL}, // the link that was first stays the first
        {"ipv4/conf/%s/arp_ignore", "1"},        // two cards in one network: each answers for its
        {"ipv4/conf/%s/arp_announce", "2"},      // own address, and shows no other
    };
    char path[128], name[96], metric[16];
    struct err err;

    if (strchr(n->name, '/') || n->name[0] == '.')
        return;
    snprintf(metric, sizeof(metric), "%d", 100 + n->ifindex);
    for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
        int at = (int)(strstr(wanted[i].path, "%s") - wanted[i].path);
        snprintf(name, sizeof(name), "%.*s%s%s", at, wanted[i].path, n->name,
                 wanted[i].path + at + 2);
        snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
        (void)write_file(path, wanted[i].value ? wanted[i].value : metric, &err);
    }
}

static struct nic *nic_new(int ifindex, const char *name, const uint8_t mac[6])
{
    static bool told; // each event of its link comes here again
    struct nic *n = find(0);

    if (!nl_is_wired(name))
        return NULL;
    if (!n) {
        if (!told)
            complain("net", "%s is not used: %d network cards are the most", name, MAX_NICS);
        told = true;
        return NULL;
    }
    *n = (struct nic){.ifindex = ifindex, .packet_fd = -1, .udp_fd = -1, .arp_fd = -1};
    snprintf(n->name, sizeof(n->name), "%s", name);
    memcpy(n->mac, mac, 6);
    set_kernel(n);
    if (nl_link_up(ifindex) != OK)
        complain("net", "%s could not be switched on: %s", name, strerror(errno));
    return n;
}

static void nic_gone(struct nic *n)
{
    complain("net", "%s was removed", n->name);
    dhcp_end(n);
    nic_close(&n->arp_fd);
    n->has_lease = n->has_ll4 = false;
    fixed_gone(n);
    n->ifindex = 0;
    resolv_conf_write();
    net_changed();
}

static void nic_begin(struct nic *n)
{
    if (fixed_apply(n)) {
        dhcp_end(n);
        ll4_end(n);
    } else {
        dhcp_begin(n);
    }
}

static void carrier_changed(struct nic *n, bool carrier)
{
    n->carrier = carrier;
    say("net", "%s (%02x:%02x:%02x:%02x:%02x:%02x): %s", n->name, n->mac[0], n->mac[1], n->mac[2],
        n->mac[3], n->mac[4], n->mac[5], carrier ? "the link is up" : "the cable is unplugged");
    if (carrier && net_hostname[0]) {
        nic_begin(n);
    } else if (!carrier) {
        ll4_end(n);
        nic_close(&n->packet_fd);
        n->asking_ms = 0;
        n->told = false;
        if (!n->has_lease)
            n->dhcp.state = DHCP_OFF;
    }
    net_changed();
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
    char text[IP6_TEXT];
    bool came;

    if (!ip6_read(msg, len, &ifindex, text, &came))
        return;
    struct nic *n = find(ifindex);
    if (!n || !(came ? ip6_add(&n->ip6, text) : ip6_remove(&n->ip6, text)))
        return;
    if (came)
        say("net", "%s has %s (IPv6)", n->name, text);
    else
        complain("net", "%s has lost %s (IPv6)", n->name, text);
    net_changed();
    net_say_urls();
}

static void dns_event(const void *msg, size_t len)
{
    int ifindex = ip6_dns_ifindex(msg, len);
    struct nic *n = ifindex ? find(ifindex) : NULL;

    if (n && ip6_dns_read(&n->dns6, msg, len, now_ms()))
        resolv_conf_write();
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
    } else if (head->nlmsg_type == RTM_NEWNDUSEROPT) {
        dns_event(msg, len);
    }
}

enum status net_open(struct err *err)
{
    for (int i = 0; i < MAX_NICS; i++)
        nics[i].packet_fd = nics[i].udp_fd = nics[i].arp_fd = -1;
    enum status s = nl_open(event, err);
    if (s == OK && nl_link_up(1) != OK) {
        s = err_set(err, IO_ERROR, "the loopback interface could not be switched on: %s",
                    strerror(errno));
    }
    return s;
}

void net_start(const char *name, const struct net_static *fixed)
{
    snprintf(net_hostname, sizeof(net_hostname), "%s", name);
    fixed_use(fixed);
    if (fixed->dns.n)
        resolv_conf_write();
    for (int i = 0; i < MAX_NICS; i++)
        if (nics[i].ifindex && nics[i].carrier)
            nic_begin(&nics[i]);
}

static bool changed; // what answers for our name is to be told

void net_changed(void)
{
    changed = true;
}

int net_ntp_servers(uint32_t out[], int most)
{
    int n = 0;

    for (int i = 0; i < MAX_NICS; i++)
        for (int k = 0; nics[i].ifindex && nics[i].has_lease && k < nics[i].applied.n_ntp; k++)
            if (n < most)
                out[n++] = nics[i].applied.ntp[k];
    return n;
}

bool net_has_address(void)
{
    bool any = false;

    for (int i = 0; i < MAX_NICS; i++)
        any = any || (nics[i].ifindex && nics[i].carrier && (nics[i].has_lease || nics[i].ip6.n));
    return any;
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
        if (n->carrier) {
            int64_t due = dhcp_due(n, now);
            next = due < next ? due : next;
        }
        if (ip6_dns_expire(&n->dns6, now))
            resolv_conf_write();
    }
    if (!any_carrier) {
        int64_t due = say_no_link(now);
        next = due < next ? due : next;
    }
    if (changed)
        mdns_tell();
    changed = false;
    int64_t due = mdns_due(now);
    return due < next ? due : next;
}
