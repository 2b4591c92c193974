/* net_say.c - what a person at the screen is told about the network: addresses, and why nobody can
 * reach this box (reach.c has the sentences). The same is not said twice.
 */
#include "container.h"
#include "nic.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define SETTLE_MS 8000 // after the last driver: cards need a moment to see their cable

static char unreachable[300]; // why nobody can reach us, as it was last said

const char *addr_text(uint32_t addr, char out[16])
{
    return inet_ntop(AF_INET, &addr, out, INET_ADDRSTRLEN);
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

void say_lease(const struct nic *n)
{
    const struct dhcp_lease *l = &n->applied;
    char addr[16], router[16], server[16], lease[48];
    uint32_t gateway = 0;

    for (int i = 0; i < l->n_routes; i++)
        gateway = l->route[i].mask ? gateway : l->route[i].gateway;
    addr_text(l->addr, addr);
    snprintf(router, sizeof(router), "none");
    if (gateway)
        addr_text(gateway, router);
    if (n->fixed) {
        say("net", "%s has %s as the settings say, router %s", n->name, addr, router);
        return;
    }
    lease_text(lease, l->lease_s);
    say("net", "%s has %s from %s %s, router %s", n->name, addr, addr_text(l->server, server),
        lease, router);
}

void say_reachable(void)
{
    unreachable[0] = 0;
}

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
        r.has_ip4 = r.has_ip4 || n->has_lease || n->has_ll4;
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
    char addr[16];

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
        if (n->has_lease || n->has_ll4) {
            say(step,
                "open https://%s/ in a browser (https://%s.local/ where your network knows "
                "that name)",
                addr_text(n->has_lease ? n->applied.addr : n->ll4.addr, addr), mdns_name());
        } else if (n->ip6.n) {
            say(step, "open https://[%s]/ in a browser", n->ip6.text[0]);
        }
    }
    struct reach r = reach_now(now_ms());
    if (reach_news(&r))
        complain(step, "nobody can reach this box yet: %s", unreachable);
}

/* Ten seconds without an answer: said once, and not where IPv6 alone is enough. */
void say_silence(struct nic *n, int64_t now)
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
    ll4_begin(n);
}

/* No cable, no card, no driver: said once, when every driver has had its time. */
int64_t say_no_link(int64_t now)
{
    static bool told;
    static int64_t settled_ms; // since when no driver is being loaded

    if (told)
        return INT64_MAX;
    if (!settled_ms || module_drivers_ready() == WAIT)
        settled_ms = now;
    if (now - settled_ms < SETTLE_MS)
        return settled_ms + SETTLE_MS;
    told = true;
    struct reach r = reach_now(now);
    if (reach_news(&r))
        complain("net", "%s", unreachable);
    return INT64_MAX;
}
