/* init_dhcp.c - the DHCP client: hostile replies, and the states of RFC 2131 against a made-up
 * clock.
 *
 * Every reply is copied into a heap block of exactly its size, so that ASan sees any byte read
 * behind it. `typical` is laid out by hand from RFC 2132, with the options a home router sends.
 */
#include "../../init/init.h"
#include "check.h"

#include <arpa/inet.h>
#include <stdlib.h>

static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

/* A reply without options; returns the length so far. */
static size_t reply_head(uint8_t *m, uint32_t xid, const char *yiaddr)
{
    memset(m, 0, 1400);
    m[0] = 2;
    m[1] = 1;
    m[2] = 6;
    for (int i = 0; i < 4; i++)
        m[4 + i] = (uint8_t)(xid >> (24 - 8 * i));
    inet_pton(AF_INET, yiaddr, m + 16);
    memcpy(m + 28, mac, 6);
    memcpy(m + 236, "\x63\x82\x53\x63", 4);
    return 240;
}

static size_t opt(uint8_t *m, size_t at, uint8_t code, const void *bytes, size_t len)
{
    m[at] = code;
    m[at + 1] = (uint8_t)len;
    memcpy(m + at + 2, bytes, len);
    return at + 2 + len;
}

static size_t end(uint8_t *m, size_t at)
{
    m[at] = 255;
    return at + 1;
}

static size_t typical(uint8_t *m, uint32_t xid, uint8_t type)
{
    size_t n = reply_head(m, xid, "192.168.7.42");
    n = opt(m, n, 53, &type, 1);
    n = opt(m, n, 54, "\xc0\xa8\x07\x01", 4);
    n = opt(m, n, 51, "\0\0\x0e\x10", 4); // 3600
    n = opt(m, n, 58, "\0\0\x07\x08", 4); // 1800
    n = opt(m, n, 59, "\0\0\x0c\x4e", 4); // 3150
    n = opt(m, n, 1, "\xff\xff\xff\0", 4);
    n = opt(m, n, 28, "\xc0\xa8\x07\xff", 4);
    n = opt(m, n, 15, "lan", 3);
    n = opt(m, n, 6, "\xc0\xa8\x07\x01\x09\x09\x09\x09", 8);
    return opt(m, n, 3, "\xc0\xa8\x07\x01", 4);
}

static enum status parse(struct dhcp_reply *r, const uint8_t *m, size_t len)
{
    uint8_t *exact = malloc(len ? len : 1);
    memcpy(exact, m, len);
    enum status s = dhcp_parse(r, exact, len, 0x01020304, mac);
    free(exact);
    return s;
}

static uint32_t ip(const char *s)
{
    uint32_t v = 0;
    inet_pton(AF_INET, s, &v);
    return v;
}

static void reads_a_typical_ack(void)
{
    uint8_t m[1400];
    struct dhcp_reply r;
    size_t n = end(m, typical(m, 0x01020304, 5));

    CHECK(parse(&r, m, n) == OK && r.type == DHCP_ACK);
    CHECK(r.lease.addr == ip("192.168.7.42") && r.lease.mask == ip("255.255.255.0"));
    CHECK(r.lease.server == ip("192.168.7.1") && r.lease.lease_s == 3600);
    CHECK(r.lease.t1_s == 1800 && r.lease.t2_s == 3150);
    CHECK(r.lease.n_dns == 2 && r.lease.dns[1] == ip("9.9.9.9"));
    CHECK(r.lease.n_routes == 1 && r.lease.route[0].gateway == ip("192.168.7.1"));
    CHECK(r.lease.route[0].mask == 0);
    CHECK_TEXT(r.lease.domain, "lan");
    for (size_t cut = 0; cut < n; cut++)
        CHECK(parse(&r, m, cut) == BAD_INPUT);
    CHECK(dhcp_parse(&r, m, n, 0x01020305, mac) == BAD_INPUT); // somebody else's exchange
    m[28] ^= 1;
    CHECK(parse(&r, m, n) == BAD_INPUT); // somebody else's card
}

static void survives_every_byte(void)
{
    uint8_t m[1400];
    struct dhcp_reply r;
    size_t n = end(m, typical(m, 0x01020304, 5));

    for (size_t i = 0; i < n; i++) {
        uint8_t was = m[i];
        for (int v = 0; v < 256; v++) {
            m[i] = (uint8_t)v;
            if (parse(&r, m, n) == OK) { // whatever it says must be in bounds
                CHECK(r.lease.n_dns <= DHCP_MAX_DNS && r.lease.n_routes <= DHCP_MAX_ROUTES);
                CHECK(memchr(r.lease.domain, 0, sizeof(r.lease.domain)));
                CHECK(r.type == DHCP_NAK || r.lease.lease_s >= 60 || r.type == DHCP_OFFER);
            }
        }
        m[i] = was;
    }
}

/* One option of the typical ACK replaced or added in front of it (the first one counts). */
static enum status with(struct dhcp_reply *r, uint8_t code, const void *bytes, size_t len)
{
    uint8_t m[1400], t[1400];
    size_t n = end(t, typical(t, 0x01020304, 5));
    memcpy(m, t, 240);
    size_t at = opt(m, 240, code, bytes, len);
    memcpy(m + at, t + 240, n - 240);
    return parse(r, m, at + n - 240);
}

static void weighs_each_option(void)
{
    struct dhcp_reply r;
    uint8_t m[1400];
    char long_name[255];

    CHECK(with(&r, 1, "\xff\xff\0\xff", 4) == BAD_INPUT); // mask with a hole
    CHECK(with(&r, 1, "\xff\xff\xff", 3) == BAD_INPUT);
    CHECK(with(&r, 1, "\0\0\0\0", 4) == BAD_INPUT);
    CHECK(with(&r, 1, "\xff\xff\xff\xff", 4) == OK);
    CHECK(with(&r, 42, "\xc0\xa8\x07\x01\x7f\0\0\1\x0a\0\0\2", 12) == OK && r.lease.n_ntp == 2);
    CHECK(r.lease.ntp[1] == ip("10.0.0.2")); // 127.0.0.1 is nobody's time server
    CHECK(with(&r, 42, "\1\2\3", 3) == BAD_INPUT);
    CHECK(with(&r, 3, "\1\2\3", 3) == BAD_INPUT && with(&r, 6, "\1\2\3", 3) == BAD_INPUT);
    CHECK(with(&r, 51, "\0\0\0\0", 4) == OK && r.lease.lease_s == 60 && r.lease.t1_s < 60);
    CHECK(with(&r, 51, "\xff\xff\xff\xff", 4) == OK && r.lease.t1_s == UINT32_MAX);
    CHECK(with(&r, 51, "\0", 1) == BAD_INPUT && with(&r, 58, "\0", 1) == BAD_INPUT);
    CHECK(with(&r, 58, "\0\0\xff\xff", 4) == OK && r.lease.t1_s == 1800 && r.lease.t2_s == 3150);
    CHECK(with(&r, 53, "\5\5", 2) == BAD_INPUT && with(&r, 53, "\1", 1) == BAD_INPUT);
    CHECK(with(&r, 54, "\0\0\0\0", 4) == BAD_INPUT && with(&r, 54, "", 0) == BAD_INPUT);
    CHECK(with(&r, 15, "a\nnameserver 1.2.3.4", 20) == OK && !r.lease.domain[0]);
    CHECK(with(&r, 15, "corp.example\0", 13) == OK);
    CHECK_TEXT(r.lease.domain, "corp.example");
    memset(long_name, 'a', sizeof(long_name));
    CHECK(with(&r, 15, long_name, 255) == OK && !r.lease.domain[0]);
    CHECK(with(&r, 6, "\x7f\0\0\1\xe0\0\0\1\0\0\0\0\x08\x08\x08\x08", 16) == OK &&
          r.lease.n_dns == 1); // loopback, multicast and nothing are no servers
    CHECK(with(&r, 121, "\x18\x0a\1\2\xc0\xa8\7\2\0\xc0\xa8\7\xfe", 13) == OK &&
          r.lease.n_routes == 2);
    CHECK(r.lease.route[0].dest == ip("10.1.2.0") && r.lease.route[0].mask == ip("255.255.255.0"));
    CHECK(r.lease.route[1].gateway == ip("192.168.7.254") && r.lease.route[1].mask == 0);
    CHECK(with(&r, 121, "\x18\x0a\1\2\xc0\xa8\7", 7) == BAD_INPUT);
    CHECK(with(&r, 121, "\x21\1\2\3\4\5\xc0\xa8\7\1", 10) == BAD_INPUT);

    size_t n = reply_head(m, 0x01020304, "127.0.0.1"); // no host has that address
    n = end(m, opt(m, opt(m, opt(m, n, 53, "\5", 1), 54, "\1\1\1\1", 4), 51, "\0\0\1\0", 4));
    CHECK(parse(&r, m, n) == BAD_INPUT);
    n = reply_head(m, 0x01020304, "172.16.0.9"); // no mask: by class
    n = end(m, opt(m, opt(m, opt(m, n, 53, "\5", 1), 54, "\1\1\1\1", 4), 51, "\0\0\1\0", 4));
    CHECK(parse(&r, m, n) == OK && r.lease.mask == ip("255.255.0.0"));
}

static void reads_overloaded_fields(void)
{
    uint8_t m[1400];
    struct dhcp_reply r;
    size_t n = reply_head(m, 0x01020304, "10.0.0.5");

    n = opt(m, opt(m, n, 53, "\2", 1), 52, "\3", 1);
    n = end(m, n);
    end(m, opt(m, 108, 54, "\x0a\0\0\1", 4));
    end(m, opt(m, 44, 3, "\x0a\0\0\2", 4));
    CHECK(parse(&r, m, n) == OK && r.lease.server == ip("10.0.0.1"));
    CHECK(r.lease.n_routes == 1 && r.lease.route[0].gateway == ip("10.0.0.2"));
    m[44 + 1] = 200; // leaves sname
    CHECK(parse(&r, m, n) == BAD_INPUT);
    m[44 + 1] = 4;
    m[n - 2] = 4; // no such overload
    CHECK(parse(&r, m, n) == BAD_INPUT);
}

static void wraps_and_unwraps(void)
{
    struct dhcp d = {0};
    uint8_t msg[DHCP_MESSAGE_MAX], packet[28 + DHCP_MESSAGE_MAX];
    const uint8_t *body;
    size_t body_len;

    dhcp_start(&d, mac, "tawny-box", 7, 1000);
    size_t len = dhcp_build(&d, msg, 3500);
    CHECK(len >= 300 && msg[0] == 1 && msg[9] == 2 && msg[10] == 0x80);
    size_t total = dhcp_wrap(packet, msg, len);
    CHECK(total == len + 28);
    CHECK(dhcp_unwrap(packet, total, &body, &body_len) == BAD_INPUT); // to a server, not to us
    packet[21] = 67;
    packet[23] = 68;
    CHECK(dhcp_unwrap(packet, total, &body, &body_len) == OK && body_len == len);
    CHECK(memcmp(body, msg, len) == 0);
    for (size_t cut = 0; cut < total; cut++) {
        uint8_t *exact = malloc(cut ? cut : 1);
        memcpy(exact, packet, cut);
        CHECK(dhcp_unwrap(exact, cut, &body, &body_len) == BAD_INPUT);
        free(exact);
    }
    for (size_t i = 0; i < 28; i++) { // any length field: never outside the packet
        for (int v = 0; v < 256; v++) {
            uint8_t was = packet[i];
            packet[i] = (uint8_t)v;
            if (dhcp_unwrap(packet, total, &body, &body_len) == OK)
                CHECK(body >= packet && body_len <= total && body + body_len <= packet + total);
            packet[i] = was;
        }
    }
    /* the UDP checksum as sent: one's complement sum over pseudo header and all is 0xffff */
    total = dhcp_wrap(packet, msg, len);
    uint32_t sum = 0xffff + 0xffff + 17 + (uint32_t)(len + 8);
    for (size_t i = 20; i < total; i += 2)
        sum += (uint32_t)packet[i] << 8 | (i + 1 < total ? packet[i + 1] : 0);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    CHECK(sum == 0xffff);
}

/* The value of an option in a message that we built; NULL when missing. */
static const uint8_t *built(const uint8_t *m, uint8_t code)
{
    for (size_t i = 240; m[i] != 255; i += 2u + m[i + 1])
        if (m[i] == code)
            return m + i + 2;
    return NULL;
}

static enum dhcp_act answer(struct dhcp *d, uint8_t type, int64_t now)
{
    uint8_t m[1400];
    struct dhcp_reply r;
    size_t n = end(m, typical(m, d->xid, type));
    if (dhcp_parse(&r, m, n, d->xid, mac) != OK) {
        CHECK(!"our own reply was refused");
        return DHCP_NOTHING;
    }
    return dhcp_receive(d, &r, now);
}

static void bind_lease(struct dhcp *d, int64_t now)
{
    uint8_t m[DHCP_MESSAGE_MAX];

    dhcp_start(d, mac, "tawny-box", 99, now);
    CHECK(dhcp_tick(d, now) == DHCP_BROADCAST);
    dhcp_build(d, m, now);
    CHECK(*built(m, 53) == DHCP_DISCOVER && memcmp(built(m, 12), "tawny-box", 9) == 0);
    CHECK(dhcp_tick(d, now) == DHCP_NOTHING && answer(d, 5, now) == DHCP_NOTHING); // ACK unasked
    CHECK(answer(d, 2, now) == DHCP_NOTHING && d->state == DHCP_REQUESTING);
    CHECK(dhcp_tick(d, now) == DHCP_BROADCAST);
    dhcp_build(d, m, now);
    CHECK(*built(m, 53) == DHCP_REQUEST && memcmp(built(m, 50), "\xc0\xa8\x07\x2a", 4) == 0);
    CHECK(memcmp(built(m, 54), "\xc0\xa8\x07\x01", 4) == 0);
    CHECK(answer(d, 5, now + 40) == DHCP_APPLY && d->state == DHCP_BOUND);
}

static void renews_rebinds_expires(void)
{
    struct dhcp d = {0};
    uint8_t m[DHCP_MESSAGE_MAX];
    int64_t t = 5000;
    int n_unicast = 0, n_broadcast = 0;

    bind_lease(&d, t);
    CHECK(dhcp_tick(&d, t + 1799000) == DHCP_NOTHING);
    CHECK(dhcp_tick(&d, t + 1800000) == DHCP_UNICAST && d.state == DHCP_RENEWING);
    dhcp_build(&d, m, t + 1800000);
    CHECK(memcmp(m + 12, "\xc0\xa8\x07\x2a", 4) == 0 && m[10] == 0 && !built(m, 50) &&
          !built(m, 54));
    CHECK(answer(&d, 5, t + 1800050) == DHCP_APPLY && d.state == DHCP_BOUND);
    CHECK(d.next_ms == t + 3600000); // T1 counts from the renewal
    t += 1800000;
    for (int64_t now = t; now < t + 3700000; now += 500) { // the server is silent from here on
        enum dhcp_act act = dhcp_tick(&d, now);
        n_unicast += act == DHCP_UNICAST;
        n_broadcast += act == DHCP_BROADCAST && d.state == DHCP_REBINDING;
        CHECK(act != DHCP_UNICAST || (now >= t + 1800000 && now < t + 3150000));
        if (act == DHCP_DROP) {
            CHECK(now == t + 3600000 && d.state == DHCP_SELECTING);
            break;
        }
    }
    CHECK(n_unicast >= 3 && n_unicast <= 8 && n_broadcast >= 2 && n_broadcast <= 6);
    CHECK(dhcp_tick(&d, t + 3600000) == DHCP_BROADCAST);
    dhcp_build(&d, m, t + 3600000);
    CHECK(*built(m, 53) == DHCP_DISCOVER && built(m, 50)); // and asks for its old address
}

static void takes_no_for_an_answer(void)
{
    struct dhcp d = {0};

    bind_lease(&d, 0);
    CHECK(dhcp_tick(&d, 1800000) == DHCP_UNICAST);
    CHECK(answer(&d, 6, 1800010) == DHCP_DROP && d.state == DHCP_SELECTING && d.wanted == 0);

    dhcp_start(&d, mac, "", 3, 0);
    CHECK(dhcp_tick(&d, 0) == DHCP_BROADCAST && answer(&d, 2, 5) == DHCP_NOTHING);
    CHECK(dhcp_tick(&d, 5) == DHCP_BROADCAST && answer(&d, 6, 9) == DHCP_NOTHING);
    CHECK(d.state == DHCP_SELECTING && dhcp_tick(&d, 500) == DHCP_NOTHING); // not a storm
    CHECK(dhcp_tick(&d, 1100) == DHCP_BROADCAST);
}

/* The kernel does not take the address: the server is told, and after a while another is asked for,
 * later each time. */
static void gives_back_what_it_cannot_use(void)
{
    static const int pauses[] = {10, 20, 40, 80, 160, 320, 320};
    struct dhcp d = {0};
    uint8_t m[DHCP_MESSAGE_MAX];
    int64_t t = 1000;

    bind_lease(&d, t);
    for (int n = 0; n < 7; n++) {
        uint32_t xid = d.xid;
        CHECK(dhcp_refuse(&d, t) == pauses[n]);
        CHECK(dhcp_tick(&d, t) == DHCP_BROADCAST);
        size_t len = dhcp_build(&d, m, t);
        CHECK(len >= 300 && *built(m, 53) == DHCP_DECLINE && m[10] == 0 && !be_get(m + 12, 4));
        CHECK(memcmp(built(m, 50), "\xc0\xa8\x07\x2a", 4) == 0); // what is given back, to whom
        CHECK(memcmp(built(m, 54), "\xc0\xa8\x07\x01", 4) == 0);
        CHECK(!built(m, 55) && !built(m, 12) && !built(m, 57) && d.xid != xid);
        CHECK(answer(&d, 5, t) == DHCP_NOTHING && answer(&d, 6, t) == DHCP_NOTHING);
        CHECK(answer(&d, 2, t) == DHCP_NOTHING && d.state == DHCP_DECLINING);
        CHECK(dhcp_tick(&d, t + pauses[n] * 1000 - 1) == DHCP_NOTHING); // no storm
        t += pauses[n] * 1000;
        CHECK(dhcp_tick(&d, t) == DHCP_BROADCAST && d.state == DHCP_SELECTING);
        dhcp_build(&d, m, t);
        CHECK(*built(m, 53) == DHCP_DISCOVER && !built(m, 50)); // and not for that one
        CHECK(answer(&d, 2, t) == DHCP_NOTHING && dhcp_tick(&d, t) == DHCP_BROADCAST);
        CHECK(answer(&d, 5, t) == DHCP_APPLY);
    }
    CHECK(dhcp_tick(&d, t + 1800000) == DHCP_UNICAST); // one was kept: the past is forgotten
    CHECK(dhcp_refuse(&d, t + 1800000) == 10);
    dhcp_start(&d, mac, "", 3, t + 1800001); // a cable pulled meanwhile: not the same one again
    CHECK(dhcp_tick(&d, t + 1800001) == DHCP_BROADCAST);
    dhcp_build(&d, m, t + 1800001);
    CHECK(!built(m, 50));
}

static void backs_off(void)
{
    struct dhcp d = {0};
    int64_t last = -1, gap = 0;
    int n = 0;

    dhcp_start(&d, mac, "x", 12345, 0);
    for (int64_t now = 0; now < 120000; now += 10) {
        if (dhcp_tick(&d, now) == DHCP_BROADCAST) {
            gap = last < 0 ? 0 : now - last;
            CHECK(n == 0 || (gap >= 740 && gap <= 20010));
            last = now;
            n++;
        }
    }
    CHECK(n >= 9 && n <= 16 && gap >= 11990);
    CHECK(answer(&d, 2, 120000) == DHCP_NOTHING); // an offer, then silence: back to the beginning
    for (int64_t now = 120000; now < 160000; now += 10)
        (void)dhcp_tick(&d, now);
    CHECK(d.state == DHCP_SELECTING && d.wanted == 0);
}

int main(void)
{
    reads_a_typical_ack();
    survives_every_byte();
    weighs_each_option();
    reads_overloaded_fields();
    wraps_and_unwraps();
    renews_rebinds_expires();
    takes_no_for_an_answer();
    gives_back_what_it_cannot_use();
    backs_off();
    return check_done("init_dhcp");
}
