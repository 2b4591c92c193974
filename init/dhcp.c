/* dhcp.c - a DHCP client as a pure state machine (RFC 2131, options RFC 2132 and 3442).
 *
 * Time and packets come in as arguments, what to do comes out; net.c owns the sockets. A reply is
 * untrusted: everything is bounded by the packet's length, and a message that breaks the format
 * anywhere is refused as a whole.
 *
 * Message, big endian:
 *    0 op (1 request, 2 reply)   1 htype 1    2 hlen 6     3 hops       4 xid[4]
 *    8 secs[2]   10 flags[2]    12 ciaddr    16 yiaddr    20 siaddr    24 giaddr
 *   28 chaddr[16]               44 sname[64]              108 file[128]
 *  236 63 82 53 63             240 options: code, length, bytes; 0 pads, 255 ends
 * Option 52 says that `file` and/or `sname` carry options too.
 *
 * An address that the kernel does not take is given back (DHCPDECLINE), or its server would offer
 * it again and again. Left out on purpose: an ARP probe before an address is used, and splitting
 * one option over several (RFC 3396).
 */
#include "init.h"

#include <stdio.h>
#include <string.h>

#define AT_OPTIONS 240
#define FOREVER UINT32_MAX
#define MIN_LEASE_S 60 // a shorter one would be a storm of renewals

static const uint8_t magic[4] = {0x63, 0x82, 0x53, 0x63};

/* ---- reading ---- */

static uint32_t as_is(const uint8_t *p) // stays in network byte order
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

/* An address that a host or router can have. */
static bool host_address(uint32_t network_order)
{
    uint8_t b[4];
    memcpy(b, &network_order, 4);
    return b[0] != 0 && b[0] != 127 && b[0] < 224;
}

struct dhcp_option {
    const uint8_t *bytes;
    size_t len;
};

/* First occurrence of each option of one region. False when an option leaves it or no end comes. */
static bool collect(struct dhcp_option found[256], const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint8_t code = p[i++];
        if (code == 0)
            continue;
        if (code == 255)
            return true;
        if (i == len || p[i] > len - i - 1)
            return false;
        if (!found[code].bytes)
            found[code] = (struct dhcp_option){p + i + 1, p[i]};
        i += 1u + p[i];
    }
    return false;
}

static uint32_t mask_of_bits(unsigned bits)
{
    uint8_t b[4];

    be_put(b, 4, bits ? 0xffffffffu << (32 - bits) : 0);
    return as_is(b);
}

static bool read_mask(struct dhcp_lease *l, const struct dhcp_option *o)
{
    uint8_t addr[4];

    if (!o->bytes) { // by class, as the RFC has it
        memcpy(addr, &l->addr, 4);
        l->mask = mask_of_bits(addr[0] < 128 ? 8 : addr[0] < 192 ? 16 : 24);
        return true;
    }
    if (o->len != 4)
        return false;
    uint32_t inverse = ~(uint32_t)be_get(o->bytes, 4);
    l->mask = as_is(o->bytes);
    return l->mask && (inverse & (inverse + 1)) == 0; // ones, then zeros
}

/* Option 121: bits, as many bytes of the destination as they need, router. */
static bool classless_routes(struct dhcp_lease *l, const struct dhcp_option *o)
{
    for (size_t i = 0; i < o->len;) {
        unsigned bits = o->bytes[i++];
        size_t n = (bits + 7) / 8;
        uint8_t dest[4] = {0};
        if (bits > 32 || o->len - i < n + 4)
            return false;
        memcpy(dest, o->bytes + i, n);
        struct dhcp_route r = {as_is(dest), mask_of_bits(bits), as_is(o->bytes + i + n)};
        r.dest &= r.mask;
        i += n + 4;
        if (l->n_routes < DHCP_MAX_ROUTES && (!r.gateway || host_address(r.gateway)))
            l->route[l->n_routes++] = r;
    }
    return true;
}

static bool read_routes(struct dhcp_lease *l, const struct dhcp_option *routers,
                        const struct dhcp_option *classless)
{
    if (classless->bytes && classless->len >= 5)
        return classless_routes(l, classless); // RFC 3442: then the routers do not count
    if (!routers->bytes)
        return true;
    if (!routers->len || routers->len % 4)
        return false;
    if (host_address(as_is(routers->bytes)))
        l->route[l->n_routes++] = (struct dhcp_route){0, 0, as_is(routers->bytes)};
    return true;
}

static bool read_addresses(uint32_t *out, int *n, int most, const struct dhcp_option *o)
{
    if (o->len % 4)
        return false;
    for (size_t i = 0; i < o->len && *n < most; i += 4)
        if (host_address(as_is(o->bytes + i)))
            out[(*n)++] = as_is(o->bytes + i);
    return true;
}

/* Only letters, digits, '-' and '.' reach resolv.conf; another name is left out. */
static void read_domain(struct dhcp_lease *l, const struct dhcp_option *o)
{
    size_t n = o->len;

    while (n && o->bytes[n - 1] == 0)
        n--; // some servers count the NUL
    if (n >= sizeof(l->domain))
        return;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = o->bytes[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '-' && (c != '.' || i == 0)) {
            l->domain[0] = 0;
            return;
        }
        l->domain[i] = (char)c;
    }
    l->domain[n] = 0;
}

static bool read_seconds(uint32_t *out, const struct dhcp_option *o)
{
    if (o->bytes && o->len != 4)
        return false;
    *out = o->bytes ? (uint32_t)be_get(o->bytes, 4) : 0;
    return true;
}

static bool read_times(struct dhcp_lease *l, const struct dhcp_option found[256])
{
    if (!read_seconds(&l->lease_s, &found[51]) || !read_seconds(&l->t1_s, &found[58]) ||
        !read_seconds(&l->t2_s, &found[59])) {
        return false;
    }
    if (l->lease_s == FOREVER) {
        l->t1_s = l->t2_s = FOREVER;
        return true;
    }
    l->lease_s = l->lease_s < MIN_LEASE_S ? MIN_LEASE_S : l->lease_s;
    if (!l->t1_s || !l->t2_s || l->t1_s >= l->t2_s || l->t2_s >= l->lease_s) {
        l->t1_s = l->lease_s / 2;
        l->t2_s = (uint32_t)((uint64_t)l->lease_s * 7 / 8);
    }
    return true;
}

enum status dhcp_parse(struct dhcp_reply *r, const uint8_t *msg, size_t len, uint32_t xid,
                       const uint8_t mac[6])
{
    struct dhcp_option found[256] = {{0}};
    struct dhcp_reply reply = {0};
    struct dhcp_lease *l = &reply.lease;

    if (len < AT_OPTIONS || msg[0] != 2 || msg[1] != 1 || msg[2] != 6 ||
        be_get(msg + 4, 4) != xid || memcmp(msg + 28, mac, 6) != 0 ||
        memcmp(msg + 236, magic, 4) != 0 || !collect(found, msg + AT_OPTIONS, len - AT_OPTIONS)) {
        return BAD_INPUT;
    }
    if (found[52].bytes) {
        unsigned overload = found[52].len == 1 ? found[52].bytes[0] : 0;
        if (overload < 1 || overload > 3 || ((overload & 1) && !collect(found, msg + 108, 128)) ||
            ((overload & 2) && !collect(found, msg + 44, 64))) {
            return BAD_INPUT;
        }
    }
    if (found[53].len != 1 || found[54].len != 4)
        return BAD_INPUT;
    reply.type = (enum dhcp_type)found[53].bytes[0];
    l->server = as_is(found[54].bytes);
    if (reply.type == DHCP_NAK) {
        *r = reply;
        return OK;
    }
    l->addr = as_is(msg + 16);
    if ((reply.type != DHCP_OFFER && reply.type != DHCP_ACK) || !host_address(l->addr) ||
        !host_address(l->server) || (reply.type == DHCP_ACK && !found[51].bytes) ||
        !read_mask(l, &found[1]) || !read_routes(l, &found[3], &found[121]) ||
        !read_addresses(l->dns, &l->n_dns, DHCP_MAX_DNS, &found[6]) ||
        !read_addresses(l->ntp, &l->n_ntp, DHCP_MAX_NTP, &found[42]) || !read_times(l, found)) {
        return BAD_INPUT;
    }
    read_domain(l, &found[15]);
    *r = reply;
    return OK;
}

/* ---- writing ---- */

static uint8_t *option(uint8_t *p, uint8_t code, const void *bytes, size_t len)
{
    *p++ = code;
    *p++ = (uint8_t)len;
    memcpy(p, bytes, len);
    return p + len;
}

size_t dhcp_build(const struct dhcp *d, uint8_t out[DHCP_MESSAGE_MAX], int64_t now)
{
    static const uint8_t wanted[] = {121, 1, 3, 6, 15, 42, 51, 54, 58, 59};
    static const uint8_t max_size[] = {DHCP_MESSAGE_MAX >> 8, DHCP_MESSAGE_MAX & 255};
    bool renewing = d->state == DHCP_RENEWING || d->state == DHCP_REBINDING;
    bool declining = d->state == DHCP_DECLINING;
    uint8_t type = d->state == DHCP_SELECTING ? DHCP_DISCOVER
                   : declining                ? DHCP_DECLINE
                                              : DHCP_REQUEST;
    int64_t secs = (now - d->begun_ms) / 1000;
    uint8_t *p = out + AT_OPTIONS;

    secs = secs < 0 ? 0 : secs > 65535 ? 65535 : secs;
    memset(out, 0, DHCP_MESSAGE_MAX);
    out[0] = 1;
    out[1] = 1;
    out[2] = 6;
    be_put(out + 4, 4, d->xid);
    be_put(out + 8, 2, (uint64_t)secs);
    out[10] = renewing || declining ? 0 : 0x80; // answer by broadcast: we have no address yet
    if (renewing)
        memcpy(out + 12, &d->lease.addr, 4);
    memcpy(out + 28, d->mac, 6);
    memcpy(out + 236, magic, 4);
    p = option(p, 53, &type, 1);
    if (!renewing && d->wanted)
        p = option(p, 50, &d->wanted, 4);
    if (d->state == DHCP_REQUESTING || declining)
        p = option(p, 54, &d->lease.server, 4);
    if (!declining) { // which carries nothing else (RFC 2131, table 5)
        p = option(p, 57, max_size, sizeof(max_size));
        if (d->hostname[0])
            p = option(p, 12, d->hostname, strlen(d->hostname));
        p = option(p, 55, wanted, sizeof(wanted));
    }
    *p++ = 255;
    size_t len = (size_t)(p - out);
    return len < 300 ? 300 : len; // BOOTP relays drop shorter ones
}

static uint16_t checksum(const uint8_t *p, size_t len, uint32_t sum)
{
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += (uint32_t)be_get(p + i, 2);
    if (len & 1)
        sum += (uint32_t)p[len - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

size_t dhcp_wrap(uint8_t out[28 + DHCP_MESSAGE_MAX], const uint8_t *msg, size_t len)
{
    size_t total = 28 + len, udp = 8 + len;

    memset(out, 0, 28);
    out[0] = 0x45; // version 4, 20 bytes
    be_put(out + 2, 2, total);
    out[8] = 64; // TTL
    out[9] = 17; // UDP
    memset(out + 16, 255, 4);
    uint16_t sum = checksum(out, 20, 0);
    be_put(out + 10, 2, sum);
    out[21] = 68;
    out[23] = 67;
    be_put(out + 24, 2, udp);
    memcpy(out + 28, msg, len);
    /* pseudo header: source 0, destination all ones, protocol, length */
    sum = checksum(out + 20, udp, 0xffff + 0xffff + 17 + (uint32_t)udp);
    sum = sum ? sum : 0xffff;
    be_put(out + 26, 2, sum);
    return total;
}

enum status dhcp_unwrap(const uint8_t *p, size_t len, const uint8_t **msg, size_t *msg_len)
{
    if (len < 28 || p[0] >> 4 != 4 || (p[0] & 15) < 5)
        return BAD_INPUT;
    size_t head = (p[0] & 15u) * 4u, total = be_get(p + 2, 2);
    if (total > len || head + 8 > total || p[9] != 17 || (p[6] & 0x3f) || p[7] ||
        checksum(p, head, 0) != 0) {
        return BAD_INPUT; // not whole, not UDP, a fragment, or damaged
    }
    const uint8_t *udp = p + head;
    size_t udp_len = be_get(udp + 4, 2);
    if (udp[0] || udp[1] != 67 || udp[2] || udp[3] != 68 || udp_len < 8 || udp_len > total - head)
        return BAD_INPUT;
    /* The UDP checksum is not looked at: packets from a bridge on the same host (Proxmox) arrive
     * with it unfinished, since no wire was ever meant to carry them. */
    *msg = udp + 8;
    *msg_len = udp_len - 8;
    return OK;
}

/* ---- states ---- */

static uint32_t draw(struct dhcp *d) // xorshift32: jitter and transaction ids, nothing secret
{
    d->rng ^= d->rng << 13;
    d->rng ^= d->rng >> 17;
    d->rng ^= d->rng << 5;
    return d->rng;
}

static void enter(struct dhcp *d, enum dhcp_state state, int64_t when)
{
    d->state = state;
    d->attempt = 0;
    d->next_ms = when;
    d->begun_ms = when;
    if (state != DHCP_REQUESTING) // which answers an offer
        d->xid = draw(d);
}

void dhcp_start(struct dhcp *d, const uint8_t mac[6], const char *hostname, uint32_t random,
                int64_t now)
{
    uint32_t wanted = d->lease.addr; // the address of last time, if any: ask for it again
    *d = (struct dhcp){.rng = random ? random : 1, .wanted = wanted};
    memcpy(d->mac, mac, 6);
    snprintf(d->hostname, sizeof(d->hostname), "%s", hostname);
    enter(d, DHCP_SELECTING, now);
}

/* 1 2 4 8 16 16 ... seconds, a quarter up or down. */
static int64_t retry_ms(struct dhcp *d)
{
    int64_t base = 1000ll << (d->attempt > 5 ? 4 : d->attempt - 1);
    return base * 3 / 4 + (int64_t)(draw(d) % (uint32_t)(base / 2));
}

static int64_t due(const struct dhcp *d, uint32_t seconds)
{
    return seconds == FOREVER ? INT64_MAX : d->bound_ms + (int64_t)seconds * 1000;
}

/* Half of what is left until `limit`, at least a minute, not past it. */
static int64_t half_way(int64_t now, int64_t limit)
{
    int64_t half = (limit - now) / 2 < 60000 ? 60000 : (limit - now) / 2;
    return now + half < limit ? now + half : limit;
}

/* At least ten seconds (RFC 2131, 3.1), and longer each time. */
static int pause_s(const struct dhcp *d)
{
    return 10 << (d->n_refused > 5 ? 5 : d->n_refused - 1);
}

int dhcp_refuse(struct dhcp *d, int64_t now)
{
    d->n_refused++;
    d->wanted = d->lease.addr;
    d->lease.addr = 0; // not to be asked for again when the cable is plugged in anew
    enter(d, DHCP_DECLINING, now);
    return pause_s(d);
}

enum dhcp_act dhcp_tick(struct dhcp *d, int64_t now)
{
    int64_t t2 = due(d, d->lease.t2_s), end = due(d, d->lease.lease_s);

    if (d->state == DHCP_OFF || now < d->next_ms)
        return DHCP_NOTHING;
    if (d->state == DHCP_REQUESTING && d->attempt == 4) {
        d->wanted = 0; // the server that offered is silent
        enter(d, DHCP_SELECTING, now);
    }
    if (d->state == DHCP_DECLINING && d->attempt == 1) { // it is told; the pause is over
        d->wanted = 0;
        d->lease = (struct dhcp_lease){0};
        enter(d, DHCP_SELECTING, now);
    }
    if (d->state == DHCP_BOUND) {
        d->n_refused = 0;
        enter(d, DHCP_RENEWING, now);
    }
    if (d->state == DHCP_RENEWING && now >= t2)
        enter(d, DHCP_REBINDING, now);
    if (d->state == DHCP_REBINDING && now >= end) {
        d->wanted = d->lease.addr;
        enter(d, DHCP_SELECTING, now);
        return DHCP_DROP;
    }
    d->attempt++;
    if (d->state == DHCP_DECLINING) {
        d->next_ms = now + pause_s(d) * 1000ll;
        return DHCP_BROADCAST;
    }
    if (d->state == DHCP_RENEWING) {
        d->next_ms = half_way(now, t2);
        return DHCP_UNICAST;
    }
    d->next_ms = d->state == DHCP_REBINDING ? half_way(now, end) : now + retry_ms(d);
    return DHCP_BROADCAST;
}

enum dhcp_act dhcp_receive(struct dhcp *d, const struct dhcp_reply *r, int64_t now)
{
    bool renewing = d->state == DHCP_RENEWING || d->state == DHCP_REBINDING;
    bool asked = d->state == DHCP_REQUESTING && r->lease.server == d->lease.server;

    if (d->state == DHCP_SELECTING && r->type == DHCP_OFFER) {
        d->lease = r->lease;
        d->wanted = r->lease.addr;
        enter(d, DHCP_REQUESTING, now);
    } else if ((asked && r->lease.addr == d->wanted && r->type == DHCP_ACK) ||
               (renewing && r->type == DHCP_ACK)) {
        d->bound_ms = d->begun_ms;
        d->lease = r->lease;
        d->state = DHCP_BOUND;
        d->next_ms = due(d, d->lease.t1_s);
        return DHCP_APPLY;
    } else if (asked && r->type == DHCP_NAK) {
        d->wanted = 0;
        d->lease.addr = 0;
        enter(d, DHCP_SELECTING, now + 1000);
    } else if (renewing && r->type == DHCP_NAK) {
        d->wanted = 0;
        enter(d, DHCP_SELECTING, now);
        return DHCP_DROP;
    }
    return DHCP_NOTHING;
}
