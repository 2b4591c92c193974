/* init_ll4.c - addresses of one's own (RFC 3927) against a made-up clock and neighbours. */
#include "../../init/init.h"
#include "check.h"

#include <stdlib.h>

static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3}, other[6] = {0x52, 0x54, 0, 9, 9, 9};
static int64_t now;
static int n_sent, n_set;

/* Runs until nothing is due before `until`. */
static void run(struct ll4 *l, int64_t until)
{
    for (; now <= until; now = l->next_ms > now ? l->next_ms : now + 1) {
        enum ll4_act act = ll4_tick(l, now);
        n_sent += act == LL4_SEND || act == LL4_SET;
        n_set += act == LL4_SET;
        if (l->next_ms > until)
            break;
    }
    now = until;
}

static void claims_what_nobody_has(void)
{
    struct ll4 l, again;
    uint8_t b[4], packet[ARP_BYTES];
    struct arp a;

    now = 1000;
    ll4_start(&l, mac, now);
    memcpy(b, &l.addr, 4);
    CHECK(b[0] == 169 && b[1] == 254 && b[2] >= 1 && b[2] <= 254);
    ll4_start(&again, mac, now);
    CHECK(again.addr == l.addr); // the same card, the same address
    ll4_build(&l, packet);
    CHECK(arp_parse(&a, packet, sizeof(packet)) == OK && a.from == 0 && a.target == l.addr);
    run(&l, 1000 + 1000 + 2 * 2000 + 2000); // the longest that three probes take
    CHECK(n_sent == 4 && n_set == 1 && l.state == LL4_BOUND);
    ll4_build(&l, packet);
    CHECK(arp_parse(&a, packet, sizeof(packet)) == OK && a.from == l.addr && a.target == l.addr);
    run(&l, now + 60000);
    CHECK(n_sent == 5 && l.next_ms == INT64_MAX); // two announcements, then silence
}

static void gives_way_and_defends(void)
{
    struct ll4 l;
    struct arp a = {.from = 0};

    now = 1000;
    ll4_start(&l, mac, now);
    uint32_t first = l.addr;
    memcpy(a.from_mac, other, 6);
    a.from = first;
    CHECK(ll4_receive(&l, &a, now) == LL4_NOTHING && l.addr != first && l.n_conflicts == 1);
    first = l.addr;
    a.from = 0;
    a.target = first; // somebody else seeks the same
    CHECK(ll4_receive(&l, &a, now) == LL4_NOTHING && l.addr != first);
    memcpy(a.from_mac, mac, 6);
    a.target = first = l.addr;
    CHECK(ll4_receive(&l, &a, now) == LL4_NOTHING && l.addr == first); // our own probe, heard

    n_set = 0;
    run(&l, now + 20000);
    CHECK(l.state == LL4_BOUND && n_set == 1);
    memcpy(a.from_mac, other, 6);
    a.from = 0; // a probe for what is ours: the kernel answers it
    CHECK(ll4_receive(&l, &a, now) == LL4_NOTHING && l.state == LL4_BOUND);
    a.from = l.addr;
    CHECK(ll4_receive(&l, &a, now) == LL4_SEND && l.state == LL4_BOUND); // once
    CHECK(ll4_receive(&l, &a, now + 10001) == LL4_SEND);                 // a while later
    CHECK(ll4_receive(&l, &a, now + 10500) == LL4_DROP && l.addr != a.from);
    CHECK(l.state == LL4_PROBING);

    for (int i = 0; i < 12; i++) { // somebody claims whatever we seek: no storm
        a.from = l.addr;
        (void)ll4_receive(&l, &a, now);
    }
    CHECK(l.next_ms >= now + 60000);
}

static void reads_whole_packets(void)
{
    struct ll4 l;
    struct arp a;
    uint8_t packet[ARP_BYTES], *exact;

    ll4_start(&l, mac, 0);
    ll4_build(&l, packet);
    for (size_t cut = 0; cut <= sizeof(packet); cut++) {
        exact = malloc(cut ? cut : 1);
        memcpy(exact, packet, cut);
        CHECK(arp_parse(&a, exact, cut) == (cut == sizeof(packet) ? OK : BAD_INPUT));
        free(exact);
    }
    for (size_t i = 0; i < 8; i++) { // another hardware, protocol, length, operation
        packet[i] ^= 8;
        CHECK(arp_parse(&a, packet, sizeof(packet)) == BAD_INPUT);
        packet[i] ^= 8;
    }
}

int main(void)
{
    claims_what_nobody_has();
    gives_way_and_defends();
    reads_whole_packets();
    return check_done("init_ll4");
}
