/* net_lease.c - addresses, routes and name servers of a link: a lease's, tawny.conf's, its own.
 *
 * A fixed IPv4 address is kept as a lease that never ends. Fixed addresses without a card belong to
 * the first link that has a cable (first_card), until that one is gone or another gets a cable
 * while it has none. Of several links with a default route the one that was found first wins
 * (netlink.c: the metric), for as long as it has carrier.
 */
#include "nic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct net_static fixed;
static struct nic *first_card; // of addresses that name no card; NULL: nobody yet

/* ---- name servers ---- */

struct text {
    char at[1024];
    size_t n;
};

/* scope: the link of a link-local address, 0: none. By its number, since those who read it are
 * not allowed the socket that a name is looked up with. */
static void nameserver(struct text *t, int family, const void *addr, int scope)
{
    char shown[INET6_ADDRSTRLEN], number[16] = "";

    if (scope)
        snprintf(number, sizeof(number), "%%%d", scope);
    if (inet_ntop(family, addr, shown, sizeof(shown)) && t->n < sizeof(t->at) - 100)
        t->n += (size_t)snprintf(t->at + t->n, sizeof(t->at) - t->n, "nameserver %s%s\n", shown,
                                 number);
}

void resolv_conf_write(void)
{
    struct text t = {.n = 0};
    const struct nic *searches = NULL;
    struct err err;

    for (int i = 0; i < fixed.dns.n; i++)
        nameserver(&t, fixed.dns.entry[i].six ? AF_INET6 : AF_INET, fixed.dns.entry[i].addr, 0);
    for (int i = 0; i < MAX_NICS; i++) {
        const struct nic *n = &nics[i];
        for (int k = 0; n->ifindex && n->has_lease && k < n->applied.n_dns; k++)
            nameserver(&t, AF_INET, &n->applied.dns[k], 0);
        if (n->ifindex && n->has_lease && n->applied.domain[0] && !searches)
            searches = n;
    }
    for (int i = 0; i < MAX_NICS; i++) {
        for (int k = 0; nics[i].ifindex && k < nics[i].dns6.n; k++) {
            const uint8_t *a = nics[i].dns6.addr[k];
            bool link_local = a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
            nameserver(&t, AF_INET6, a, link_local ? nics[i].ifindex : 0);
        }
    }
    if (searches && t.n < sizeof(t.at) - sizeof(searches->applied.domain) - 10)
        t.n += (size_t)snprintf(t.at + t.n, sizeof(t.at) - t.n, "search %s\n",
                                searches->applied.domain);
    if (replace_file("/etc/resolv.conf", t.at, t.n, 0644, &err) != OK)
        complain("net", "%s", err.text);
}

/* ---- leases ---- */

static void set_routes(struct nic *n, bool add)
{
    const struct dhcp_lease *l = &n->applied;

    for (int i = 0; i < l->n_routes; i++) {
        const struct dhcp_route *r = &l->route[i];
        bool on_link = r->gateway && ((r->gateway ^ l->addr) & l->mask);
        if (nl_route(add, n->ifindex, r, on_link) != OK && add) {
            char gateway[16];
            complain("net", "%s: the route through %s was refused: %s", n->name,
                     addr_text(r->gateway, gateway), strerror(errno));
        }
    }
}

static void set_further(const struct nic *n, bool add);

void lease_drop(struct nic *n)
{
    if (n->has_lease) {
        set_routes(n, false);
        if (n->fixed)
            set_further(n, false);
        (void)nl_address(false, n->ifindex, n->applied.addr, n->applied.mask, 0);
        n->has_lease = n->fixed = false;
        resolv_conf_write();
        net_changed();
    }
}

/* The kernel does not take the address: it is given back, and another is asked for. */
static void refuse(struct nic *n)
{
    char addr[16], server[16];
    const char *why = strerror(errno);
    uint32_t refused = n->dhcp.lease.addr;

    lease_drop(n);
    n->refused = true;
    n->asking_ms = now_ms();
    int pause_s = dhcp_refuse(&n->dhcp, now_ms());
    complain("net",
             "%s: the kernel refused the address %s from %s: %s; it is given back, and another is "
             "asked for in %d s",
             n->name, addr_text(refused, addr), addr_text(n->dhcp.lease.server, server), why,
             pause_s);
}

void lease_apply(struct nic *n)
{
    const struct dhcp_lease *l = &n->dhcp.lease;
    bool same = n->has_lease && n->applied.addr == l->addr && n->applied.mask == l->mask;

    if (!same)
        lease_drop(n);
    else if (memcmp(n->applied.route, l->route, sizeof(l->route)) != 0)
        set_routes(n, false);
    if (nl_address(true, n->ifindex, l->addr, l->mask, l->lease_s) != OK) {
        refuse(n);
        return;
    }
    n->applied = *l;
    n->has_lease = true;
    n->lease_end_ms = l->lease_s == UINT32_MAX ? INT64_MAX : n->dhcp.bound_ms + l->lease_s * 1000ll;
    n->asking_ms = 0;
    n->told = n->refused = false;
    say_reachable();
    set_routes(n, true);
    resolv_conf_write();
    if (!same) {
        say_lease(n);
        net_changed();
        net_say_urls();
    }
}

/* ---- of its own ---- */

void ll4_set(struct nic *n, bool add)
{
    char addr[16];
    uint32_t mask = htonl(0xffff0000), a = add ? n->ll4.addr : n->ll4_addr;

    if (add == n->has_ll4)
        return;
    if (nl_address(add, n->ifindex, a, mask, UINT32_MAX) != OK && add)
        return;
    n->has_ll4 = add;
    n->ll4_addr = a;
    net_changed();
    if (!add) {
        complain("net", "%s: %s is given up", n->name, addr_text(a, addr));
        return;
    }
    say_reachable();
    say("net",
        "%s has given itself %s: a machine on this cable without an address from DHCP reaches it; "
        "still asking for one",
        n->name, addr_text(a, addr));
    net_say_urls();
}

/* ---- fixed in tawny.conf ---- */

void fixed_use(const struct net_static *s)
{
    fixed = *s;
}

static bool for_link(const struct static_entry *e, const struct nic *n)
{
    static const uint8_t none[6];

    if (e->card[0])
        return strcmp(e->card, n->name) == 0;
    if (memcmp(e->mac, none, 6) != 0)
        return memcmp(e->mac, n->mac, 6) == 0;
    return n == first_card;
}

static uint32_t first4(const struct static_entry *e)
{
    uint32_t v;

    memcpy(&v, e->addr, 4);
    return v;
}

static uint32_t mask4(const struct static_entry *e)
{
    return htonl(0xffffffffu << (32 - e->bits));
}

static bool names_no_card(const struct static_entry *e)
{
    static const uint8_t none[6];

    return !e->card[0] && memcmp(e->mac, none, 6) == 0;
}

/* A gateway without a card belongs to the link in whose network it is; a link-local one, or one
 * that is in nobody's, to the link of addresses without a card, else to whoever has an address. */
static bool gateway_for(const struct static_entry *g, const struct nic *n)
{
    bool elsewhere = false;

    if (!names_no_card(g))
        return for_link(g, n);
    for (int i = 0; i < fixed.address.n; i++) {
        const struct static_entry *a = &fixed.address.entry[i];
        bool inside = a->six == g->six;
        for (int bit = 0; inside && bit < a->bits; bit++)
            inside = !((a->addr[bit / 8] ^ g->addr[bit / 8]) >> (7 - bit % 8) & 1);
        if (inside && for_link(a, n))
            return true;
        elsewhere = elsewhere || inside;
    }
    return !elsewhere && (!first_card || n == first_card);
}

static void set_six(struct nic *n)
{
    bool any = false;

    for (int i = 0; i < fixed.address.n && !n->fixed6; i++) {
        const struct static_entry *a = &fixed.address.entry[i];
        if (!a->six || !for_link(a, n))
            continue;
        any = true;
        if (nl_address6(true, n->ifindex, a->addr, a->bits) != OK)
            complain("net", "%s: an IPv6 address of tawny.conf was refused: %s", n->name,
                     strerror(errno));
    }
    for (int i = 0; i < fixed.gateway.n && any; i++) {
        const struct static_entry *g = &fixed.gateway.entry[i];
        if (g->six && gateway_for(g, n) && nl_route6(true, n->ifindex, g->addr) != OK)
            complain("net", "%s: an IPv6 gateway of tawny.conf was refused: %s", n->name,
                     strerror(errno));
    }
    n->fixed6 = n->fixed6 || any;
}

static void unset_six(struct nic *n)
{
    for (int i = 0; n->fixed6 && i < fixed.address.n; i++) {
        const struct static_entry *a = &fixed.address.entry[i];
        if (a->six && for_link(a, n))
            (void)nl_address6(false, n->ifindex, a->addr, a->bits);
    }
    for (int i = 0; n->fixed6 && i < fixed.gateway.n; i++)
        if (fixed.gateway.entry[i].six && gateway_for(&fixed.gateway.entry[i], n))
            (void)nl_route6(false, n->ifindex, fixed.gateway.entry[i].addr);
    n->fixed6 = false;
}

static void choose_first(struct nic *n)
{
    if (first_card == n || (first_card && first_card->ifindex && first_card->carrier))
        return;
    struct nic *before = first_card;
    if (before && before->ifindex) {
        unset_six(before);
        if (before->fixed)
            lease_drop(before);
    }
    first_card = n;
}

/* The lease that the first fixed IPv4 address of the link is; false: it has none. */
static bool lease_of(const struct nic *n, struct dhcp_lease *l)
{
    *l = (struct dhcp_lease){.lease_s = UINT32_MAX, .t1_s = UINT32_MAX, .t2_s = UINT32_MAX};
    for (int i = 0; i < fixed.address.n && !l->addr; i++) {
        const struct static_entry *a = &fixed.address.entry[i];
        if (!a->six && for_link(a, n)) {
            l->addr = first4(a);
            l->mask = mask4(a);
        }
    }
    for (int i = 0; l->addr && i < fixed.gateway.n && l->n_routes < 1; i++) {
        const struct static_entry *g = &fixed.gateway.entry[i];
        if (!g->six && gateway_for(g, n))
            l->route[l->n_routes++] = (struct dhcp_route){0, 0, first4(g)};
    }
    return l->addr != 0;
}

/* Fixed IPv4 addresses of the link beside the one that its lease is. */
static void set_further(const struct nic *n, bool add)
{
    for (int i = 0; i < fixed.address.n; i++) {
        const struct static_entry *a = &fixed.address.entry[i];
        if (!a->six && for_link(a, n) && first4(a) != n->applied.addr)
            (void)nl_address(add, n->ifindex, first4(a), mask4(a), UINT32_MAX);
    }
}

bool fixed_apply(struct nic *n)
{
    struct dhcp_lease l;

    if (!fixed.address.n)
        return false;
    choose_first(n);
    set_six(n);
    if (!lease_of(n, &l))
        return false;
    if (n->fixed)
        return true;
    lease_drop(n);
    if (nl_address(true, n->ifindex, l.addr, l.mask, UINT32_MAX) != OK) {
        complain("net", "%s: the address of tawny.conf was refused (%s); DHCP is asked instead",
                 n->name, strerror(errno));
        return false;
    }
    n->applied = l;
    n->has_lease = n->fixed = true;
    set_further(n, true);
    set_routes(n, true);
    resolv_conf_write();
    say_reachable();
    say_lease(n);
    net_changed();
    net_say_urls();
    return true;
}

void fixed_gone(struct nic *n)
{
    if (first_card == n)
        first_card = NULL;
}
