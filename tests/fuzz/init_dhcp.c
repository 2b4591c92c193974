/* init_dhcp.c - fuzz target: DHCP packets from anybody in the network (init/dhcp.c), one after the
 * other, while time goes by.
 *
 * Input: steps of one byte and what it asks for.
 *   0..3    time goes on by 2^(4 * byte) seconds, twice for odd bytes
 *   4..5    an IPv4 packet: two bytes of length, the packet
 *   else    a message, as it lies in a datagram: the same, its transaction and address made ours
 * Whatever comes, a lease that is applied names a host, and times never run backwards.
 * Kept inputs: init_dhcp/.
 */
#include "../../init/init.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};

static void lease_is_good(const struct dhcp_lease *l)
{
    uint8_t b[4];
    memcpy(b, &l->addr, 4);
    if (b[0] == 0 || b[0] == 127 || b[0] >= 224 || !l->mask)
        abort();
    if (l->n_routes < 0 || l->n_routes > DHCP_MAX_ROUTES || l->n_dns < 0 ||
        l->n_dns > DHCP_MAX_DNS || !memchr(l->domain, 0, sizeof(l->domain)))
        abort();
    if (l->t1_s > l->t2_s || l->t2_s > l->lease_s)
        abort();
    for (const char *p = l->domain; *p; p++)
        if (*p <= ' ' || *p > '~')
            abort();
}

static void tick(struct dhcp *d, int64_t now)
{
    uint8_t out[DHCP_MESSAGE_MAX], packet[28 + DHCP_MESSAGE_MAX];
    for (int i = 0; i < 64; i++) {
        enum dhcp_act act = dhcp_tick(d, now);
        if (act == DHCP_NOTHING)
            break;
        size_t n = dhcp_build(d, out, now);
        const uint8_t *msg;
        size_t len;
        if (n < 300 || n > DHCP_MESSAGE_MAX || dhcp_wrap(packet, out, n) != 28 + n)
            abort();
        (void)dhcp_unwrap(packet, 28 + n, &msg, &len);
        if (i == 63)
            abort(); // it asks without end
    }
    if (d->state != DHCP_OFF && d->next_ms <= now)
        abort();
}

static void receive(struct dhcp *d, const uint8_t *msg, size_t len, bool ours, int64_t now)
{
    struct dhcp_reply r;
    uint8_t *exact = malloc(len ? len : 1);
    if (!exact)
        abort();
    memcpy(exact, msg, len);
    if (ours && len >= 240) {
        for (int i = 0; i < 4; i++)
            exact[4 + i] = (uint8_t)(d->xid >> (24 - 8 * i));
        memcpy(exact + 28, mac, 6);
        memcpy(exact + 236, "\x63\x82\x53\x63", 4);
    }
    if (dhcp_parse(&r, exact, len, d->xid, mac) == OK) {
        if (r.type != DHCP_NAK)
            lease_is_good(&r.lease);
        if (dhcp_receive(d, &r, now) == DHCP_APPLY)
            lease_is_good(&d->lease);
    }
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dhcp d = {0};
    int64_t now = 1000;
    dhcp_start(&d, mac, "tawny", 7, now);
    tick(&d, now);
    for (size_t at = 0; at < size;) {
        uint8_t op = data[at++] % 8;
        if (op < 4) {
            now += 1000ll << (4 * op);
        } else {
            if (size - at < 2)
                break;
            size_t len = data[at] | (size_t)data[at + 1] << 8;
            at += 2;
            len = len > size - at ? size - at : len;
            const uint8_t *msg = data + at;
            at += len;
            if (op >= 6 || dhcp_unwrap(msg, len, &msg, &len) == OK)
                receive(&d, msg, len, op >= 6, now);
        }
        tick(&d, now);
    }
    return 0;
}
