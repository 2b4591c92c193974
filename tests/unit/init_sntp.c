/* init_sntp.c - answers of time servers, honest, broken and lying, and what is made of them.
 *
 * Packets are laid out by hand from RFC 5905, figure 8.
 */
#include "../../init/init.h"
#include "check.h"

#include <stdlib.h>

#define BUILT 1790000000ll // 2026-09-21: the floor
#define NOW (BUILT + 86400)
#define COOKIE 0x1122334455667788ull

static uint8_t packet[SNTP_BYTES];

/* 2208988800 s lie between 1900 and 1970 (RFC 5905, figure 4). */
static void put_time(uint8_t *p, int64_t unix_ms)
{
    be_put(p, 4, (uint64_t)(unix_ms / 1000 + 2208988800ll));
    be_put(p + 4, 4, (uint64_t)(unix_ms % 1000) * 4294967 + 1);
}

static void answer(int64_t came_ms, int64_t went_ms)
{
    memset(packet, 0, sizeof(packet));
    packet[0] = 0x24; // no leap second, version 4, server
    packet[1] = 2;
    be_put(packet + 24, 8, COOKIE);
    put_time(packet + 32, came_ms);
    put_time(packet + 40, went_ms);
}

static int64_t received_after_ms = 100;

static enum status read_it(struct ntp_sample *s, size_t n)
{
    uint8_t *exact = malloc(n ? n : 1);

    memcpy(exact, packet, n);
    enum status status =
        sntp_read(s, exact, n, COOKIE, NOW * 1000, NOW * 1000 + received_after_ms, BUILT);
    free(exact);
    return status;
}

static void reads_answers(void)
{
    struct ntp_sample s = {0, 0};

    answer(NOW * 1000 + 5040, NOW * 1000 + 5060); // 40 ms there and back, 5 s ahead of us
    CHECK(read_it(&s, 48) == OK && s.delay_ms >= 79 && s.delay_ms <= 81);
    CHECK(s.offset_ms >= 4999 && s.offset_ms <= 5001);
    for (size_t cut = 0; cut < 48; cut++)
        CHECK(read_it(&s, cut) == BAD_INPUT);
    static const struct {
        size_t at;
        uint8_t byte;
    } bad[] = {
        {0, 0x23}, {0, 0x25},  {0, 0xe4}, {0, 0x14}, {0, 0x2c}, // mode, no clock, version
        {1, 0},    {1, 16},    {4, 1},    {8, 1},               // a kiss of death; too far away
        {24, 0},   {31, 0x89},                                  // not what we asked
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        uint8_t was = packet[bad[i].at];
        packet[bad[i].at] = bad[i].byte;
        CHECK(read_it(&s, 48) == BAD_INPUT);
        packet[bad[i].at] = was;
    }
    CHECK(read_it(&s, 48) == OK);
    memset(packet + 40, 0, 8); // it does not say when
    CHECK(read_it(&s, 48) == BAD_INPUT);
    answer(NOW * 1000 + 5060, NOW * 1000 + 5040); // sent before it came
    CHECK(read_it(&s, 48) == BAD_INPUT);
    answer(NOW * 1000 + 5040, NOW * 1000 + 5060);
    received_after_ms = 3900; // slow, and one that lay about before it was read
    CHECK(read_it(&s, 48) == OK && s.delay_ms > 3800);
    received_after_ms = 5000;
    CHECK(read_it(&s, 48) == BAD_INPUT);
    received_after_ms = 100;
    answer(2085978500000, 2085978500000); // 2036-02-07 06:28:20: the seconds have begun anew
    CHECK(read_it(&s, 48) == OK);
    CHECK(s.offset_ms / 1000 == 2085978500 - NOW || s.offset_ms / 1000 == 2085978500 - NOW - 1);
}

static struct ntp_verdict judge(struct ntp_clock c, int n, int64_t a, int64_t b, int64_t d)
{
    struct ntp_sample s[3] = {{a, 20}, {b, 10}, {d, 30}};

    c.floor_s = BUILT;
    return sntp_judge(&c, s, n, NOW * 1000);
}

static void judges(void)
{
    static const struct ntp_clock fresh = {.good = false}, good = {.good = true},
                                  absurd = {.absurd = true}, one = {.one_is_enough = true};
    const int64_t year = 31622400000ll, hour = 3600000;
    struct ntp_verdict v = judge(fresh, 0, 0, 0, 0);

    CHECK(v.act == NTP_SILENCE && !v.trusted);
    v = judge(fresh, 3, hour, hour + 300, hour + 20);
    CHECK(v.act == NTP_STEP && v.trusted && v.n_agree == 3 && v.offset_ms == hour + 300);
    v = judge(fresh, 3, hour, hour + 300, 9 * hour); // one lies
    CHECK(v.act == NTP_STEP && v.trusted && v.n_agree == 2);
    v = judge(fresh, 3, hour, 5 * hour, 9 * hour);
    CHECK(v.act == NTP_DISAGREE && !v.trusted);
    v = judge(fresh, 2, hour, 9 * hour, 0); // one of two
    CHECK(v.act == NTP_DISAGREE && !v.trusted);

    /* never back where it is good; slowed down where it is a little */
    v = judge(fresh, 3, 100, 120, 80);
    CHECK(v.act == NTP_SLEW && v.trusted);
    v = judge(fresh, 3, -30000, -30000, -30000);
    CHECK(v.act == NTP_SLEW && v.trusted);
    v = judge(good, 3, -30000, -30000, -30000);
    CHECK(v.act == NTP_SLEW && v.trusted);
    v = judge(fresh, 2, -hour, -hour, 0); // the hardware's clock, which nobody has checked
    CHECK(v.act == NTP_STEP && v.trusted);
    v = judge(good, 3, -hour, -hour, -hour);
    CHECK(v.act == NTP_REFUSED && !v.trusted);
    v = judge(good, 3, hour, hour, hour); // a machine that was asleep
    CHECK(v.act == NTP_STEP && v.trusted);
    v = judge(good, 3, 2 * year, 2 * year, 2 * year);
    CHECK(v.act == NTP_REFUSED && !v.trusted);
    v = judge(fresh, 3, 15 * year, 15 * year, 15 * year); // one that could be right
    CHECK(v.act == NTP_REFUSED && !v.trusted);
    v = judge(fresh, 2, year, year, 0);
    CHECK(v.act == NTP_STEP && v.trusted);
    v = judge(absurd, 3, 15 * year, 15 * year, 15 * year); // one that cannot: an old image
    CHECK(v.act == NTP_STEP && v.trusted);

    /* what cannot be */
    v = judge(fresh, 3, -2 * 86400000ll, -2 * 86400000ll, -2 * 86400000ll);
    CHECK(v.act == NTP_IMPOSSIBLE && !v.trusted);
    v = judge(fresh, 3, 30 * year, 30 * year, 30 * year);
    CHECK(v.act == NTP_IMPOSSIBLE && !v.trusted);
    struct ntp_sample ahead[2] = {{-14 * year, 5}, {-14 * year + 9, 5}}; // a clock of 2040
    struct ntp_clock c = {.floor_s = BUILT};
    v = sntp_judge(&c, ahead, 2, NOW * 1000 + 14 * year);
    CHECK(v.act == NTP_STEP && v.trusted);

    /* one alone */
    v = judge(fresh, 1, hour, 0, 0);
    CHECK(v.act == NTP_STEP && !v.trusted);
    v = judge(fresh, 1, 48 * hour, 0, 0);
    CHECK(v.act == NTP_REFUSED && !v.trusted);
    v = judge(absurd, 1, 48 * hour, 0, 0); // better than a date of the past
    CHECK(v.act == NTP_STEP && !v.trusted);
    v = judge(good, 1, hour, 0, 0);
    CHECK(v.act == NTP_REFUSED && !v.trusted);
    v = judge(one, 1, 48 * hour, 0, 0); // whom the owner named
    CHECK(v.act == NTP_STEP && v.trusted);
    v = judge(one, 1, -2 * 86400000ll, 0, 0);
    CHECK(v.act == NTP_IMPOSSIBLE && !v.trusted);
}

/* What is kept is a floor for good: a time that came from nowhere must have held for a day. */
static void keeps(void)
{
    const int64_t hour = 3600000, day = 24 * hour;
    struct ntp_verdict near = {NTP_SLEW, 3, 200, true}, far = {NTP_STEP, 3, 300 * day, true},
                       back = {NTP_STEP, 3, -300 * day, true}, no = {NTP_REFUSED, 3, -day, false},
                       silence = {.act = NTP_SILENCE};
    struct ntp_clock c = {.good = false};

    CHECK(sntp_keeps(&c, &near, 5000) && sntp_keeps(&c, &back, 6000));
    CHECK(!sntp_keeps(&c, &silence, 7000) && sntp_keeps(&c, &near, 8000));
    CHECK(!sntp_keeps(&c, &far, 10000) && !sntp_keeps(&c, &near, 10000 + day - 1));
    CHECK(sntp_keeps(&c, &near, 10000 + day));
    CHECK(!sntp_keeps(&c, &no, 2 * day) && !sntp_keeps(&c, &near, 3 * day - 1)); // honest ones
    CHECK(sntp_keeps(&c, &near, 3 * day));

    struct ntp_clock absurd = {.absurd = true};
    CHECK(!sntp_keeps(&absurd, &near, 5000)); // the floor itself, set on by nothing
    absurd.absurd = false;
    CHECK(!sntp_keeps(&absurd, &near, day) && sntp_keeps(&absurd, &near, day + 5000));
}

int main(void)
{
    reads_answers();
    judges();
    keeps();
    return check_done("init_sntp");
}
