/* ll4.c - an IPv4 address of one's own where nobody gives any out (RFC 3927): 169.254.x.y; ARP asks
 * whether somebody has it; it is announced, defended, given up. Pure.
 *
 * ARP, big endian: 0 htype 1, 2 ptype 0x0800, 4 hlen 6, 5 plen 4, 6 op (1 request, 2 reply),
 * 8 sender's MAC, 14 sender's address, 18 target's MAC, 24 target's address. A probe is a request
 * whose sender has no address yet.
 */
#include "init.h"

#include <string.h>

#define PROBES 3
#define ANNOUNCEMENTS 2
#define MOST_CONFLICTS 10 // then one attempt a minute
#define DEFEND_MS 10000   // a second conflict within: the address is given up

static const uint8_t head[6] = {0, 1, 8, 0, 6, 4};

enum status arp_parse(struct arp *a, const uint8_t *p, size_t len)
{
    if (len < ARP_BYTES || memcmp(p, head, sizeof(head)) != 0 || p[6] || p[7] < 1 || p[7] > 2)
        return BAD_INPUT;
    memcpy(a->from_mac, p + 8, 6);
    memcpy(&a->from, p + 14, 4);
    memcpy(&a->target, p + 24, 4);
    return OK;
}

void ll4_build(const struct ll4 *l, uint8_t out[ARP_BYTES])
{
    memset(out, 0, ARP_BYTES);
    memcpy(out, head, sizeof(head));
    out[7] = 1;
    memcpy(out + 8, l->mac, 6);
    if (l->state != LL4_PROBING)
        memcpy(out + 14, &l->addr, 4);
    memcpy(out + 24, &l->addr, 4);
}

static uint32_t draw(struct ll4 *l)
{
    l->rng ^= l->rng << 13;
    l->rng ^= l->rng >> 17;
    l->rng ^= l->rng << 5;
    return l->rng;
}

/* 169.254.1.0 to 169.254.254.255: the rest is reserved. */
static void choose(struct ll4 *l, int64_t now)
{
    uint32_t n = draw(l) % (254u * 256u);
    uint8_t b[4] = {169, 254, (uint8_t)(1 + n / 256), (uint8_t)n};

    memcpy(&l->addr, b, 4);
    l->state = LL4_PROBING;
    l->attempt = 0;
    l->next_ms = now + (l->n_conflicts > MOST_CONFLICTS ? 60000 : draw(l) % 1000);
}

void ll4_start(struct ll4 *l, const uint8_t mac[6], int64_t now)
{
    *l = (struct ll4){.defended_ms = INT64_MIN};
    memcpy(l->mac, mac, 6);
    for (int i = 0; i < 6; i++) // the same card chooses the same each time
        l->rng = (l->rng ^ mac[i]) * 16777619u + 1;
    l->rng = l->rng ? l->rng : 1;
    choose(l, now);
}

enum ll4_act ll4_tick(struct ll4 *l, int64_t now)
{
    if (l->state == LL4_OFF || now < l->next_ms)
        return LL4_NOTHING;
    if (l->state == LL4_PROBING && l->attempt < PROBES) {
        l->attempt++;
        l->next_ms = now + (l->attempt < PROBES ? 1000 + draw(l) % 1000 : 2000);
        return LL4_SEND;
    }
    if (l->state == LL4_PROBING) {
        l->state = LL4_BOUND;
        l->attempt = 1;
        l->next_ms = now + 2000;
        return LL4_SET;
    }
    l->attempt++;
    l->next_ms = l->attempt < ANNOUNCEMENTS ? now + 2000 : INT64_MAX;
    return LL4_SEND;
}

enum ll4_act ll4_receive(struct ll4 *l, const struct arp *a, int64_t now)
{
    bool ours = memcmp(a->from_mac, l->mac, 6) == 0;

    if (l->state == LL4_OFF || ours)
        return LL4_NOTHING;
    if (l->state == LL4_PROBING && (a->from == l->addr || (!a->from && a->target == l->addr))) {
        l->n_conflicts++;
        choose(l, now);
        return LL4_NOTHING;
    }
    if (l->state != LL4_BOUND || a->from != l->addr)
        return LL4_NOTHING;
    if (l->defended_ms == INT64_MIN || now - l->defended_ms > DEFEND_MS) {
        l->defended_ms = now;
        return LL4_SEND;
    }
    l->n_conflicts++;
    l->defended_ms = INT64_MIN;
    choose(l, now);
    return LL4_DROP;
}
