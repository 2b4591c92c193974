/* ip6.c - the IPv6 addresses of a link that others can reach, from what rtnetlink says. Pure.
 *
 * An address counts when its scope is wider than the link: global and unique local ones, and the
 * old site-local ones, which some routers and virtual networks still announce. One that is still
 * being checked for duplicates, failed that check or is about to go does not count. A router's
 * announcement repeats every address: only what changes the list is news.
 *
 * Name servers: the kernel hands on the options of router advertisements that it has no use for.
 * Behind the head (family, length of the options, interface) the options of RFC 4861: type, length
 * in units of 8 bytes, contents; 25 is RDNSS: 2 bytes reserved, lifetime in seconds[4],
 * addresses[16].
 */
#include "init.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

bool ip6_read(const void *msg, size_t len, int *ifindex, char text[IP6_TEXT], bool *came)
{
    struct nlmsghdr head;
    struct ifaddrmsg m;
    bool found = false;

    if (len < NLMSG_LENGTH(sizeof(m)))
        return false;
    memcpy(&head, msg, sizeof(head));
    memcpy(&m, (const char *)msg + NLMSG_HDRLEN, sizeof(m));
    if (m.ifa_family != AF_INET6 || m.ifa_scope >= RT_SCOPE_LINK ||
        (head.nlmsg_type != RTM_NEWADDR && head.nlmsg_type != RTM_DELADDR)) {
        return false;
    }
    for (size_t at = NLMSG_LENGTH(sizeof(m)); len >= at && len - at >= sizeof(struct rtattr);) {
        struct rtattr a;
        memcpy(&a, (const char *)msg + at, sizeof(a));
        if (a.rta_len < sizeof(a) || a.rta_len > len - at)
            break;
        if (a.rta_type == IFA_ADDRESS && a.rta_len == RTA_LENGTH(16)) {
            uint8_t addr[16];
            memcpy(addr, (const char *)msg + at + RTA_LENGTH(0), sizeof(addr));
            found = inet_ntop(AF_INET6, addr, text, IP6_TEXT) != NULL;
        }
        at += RTA_ALIGN(a.rta_len);
    }
    *ifindex = (int)m.ifa_index;
    *came = head.nlmsg_type == RTM_NEWADDR &&
            !(m.ifa_flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED));
    return found;
}

static int place_of(const struct ip6_list *l, const char *text)
{
    for (int i = 0; i < l->n; i++)
        if (strcmp(l->text[i], text) == 0)
            return i;
    return -1;
}

bool ip6_add(struct ip6_list *l, const char *text)
{
    if (l->n == IP6_MOST || place_of(l, text) >= 0)
        return false;
    snprintf(l->text[l->n++], IP6_TEXT, "%s", text);
    return true;
}

bool ip6_remove(struct ip6_list *l, const char *text)
{
    int i = place_of(l, text);

    if (i < 0)
        return false;
    l->n--;
    memmove(l->text[i], l->text[i + 1], (size_t)(l->n - i) * IP6_TEXT);
    return true;
}

/* ---- name servers ---- */

enum { OPTION_RDNSS = 25 };

int ip6_dns_ifindex(const void *msg, size_t len)
{
    struct nlmsghdr head;
    struct nduseroptmsg m;

    if (len < NLMSG_LENGTH(sizeof(m)))
        return 0;
    memcpy(&head, msg, sizeof(head));
    memcpy(&m, (const char *)msg + NLMSG_HDRLEN, sizeof(m));
    return head.nlmsg_type == RTM_NEWNDUSEROPT && m.nduseropt_family == AF_INET6 &&
                   m.nduseropt_icmp_type == 134 // a router advertisement
               ? m.nduseropt_ifindex
               : 0;
}

static void forget(struct ip6_dns *d, int i)
{
    d->n--;
    memmove(d->addr[i], d->addr[i + 1], (size_t)(d->n - i) * sizeof(d->addr[0]));
    memmove(&d->until_ms[i], &d->until_ms[i + 1], (size_t)(d->n - i) * sizeof(d->until_ms[0]));
}

/* One server and how long it is good for; 0: no longer. */
static bool server(struct ip6_dns *d, const uint8_t *addr, uint32_t lifetime_s, int64_t now)
{
    int64_t until = lifetime_s == UINT32_MAX ? INT64_MAX : now + lifetime_s * 1000ll;
    static const uint8_t any[16];

    for (int i = 0; i < d->n; i++) {
        if (memcmp(d->addr[i], addr, 16) == 0) {
            d->until_ms[i] = until;
            if (!lifetime_s)
                forget(d, i);
            return !lifetime_s;
        }
    }
    if (!lifetime_s || d->n == IP6_MAX_DNS || addr[0] == 255 || memcmp(addr, any, 16) == 0)
        return false;
    memcpy(d->addr[d->n], addr, 16);
    d->until_ms[d->n++] = until;
    return true;
}

bool ip6_dns_read(struct ip6_dns *d, const void *msg, size_t len, int64_t now)
{
    const uint8_t *p = (const uint8_t *)msg + NLMSG_LENGTH(sizeof(struct nduseroptmsg));
    struct nduseroptmsg m;
    bool changed = false;

    if (!ip6_dns_ifindex(msg, len))
        return false;
    memcpy(&m, (const char *)msg + NLMSG_HDRLEN, sizeof(m));
    len -= NLMSG_LENGTH(sizeof(m));
    len = m.nduseropt_opts_len < len ? m.nduseropt_opts_len : len;
    while (len >= 8 && p[1] && p[1] * 8u <= len) {
        size_t n = p[1] * 8u;
        if (p[0] == OPTION_RDNSS)
            for (size_t at = 8; n - at >= 16; at += 16)
                changed |= server(d, p + at, (uint32_t)be_get(p + 4, 4), now);
        p += n;
        len -= n;
    }
    return changed;
}

bool ip6_dns_expire(struct ip6_dns *d, int64_t now)
{
    int before = d->n;

    for (int i = d->n - 1; i >= 0; i--)
        if (d->until_ms[i] <= now)
            forget(d, i);
    return d->n != before;
}
