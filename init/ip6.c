/* ip6.c - the IPv6 addresses of a link that others can reach, from what rtnetlink says. Pure.
 *
 * An address counts when its scope is wider than the link: global and unique local ones, and the
 * old site-local ones, which some routers and virtual networks still announce. One that is still
 * being checked for duplicates, failed that check or is about to go does not count. A router's
 * announcement repeats every address: only what changes the list is news.
 */
#include "init.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
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
