/* sntp.c - what time servers say (RFC 4330, 5905), and what to do with it. Pure; ntp.c asks them.
 *
 * Packet, 48 bytes, big endian: 0 leap[2 bits] version[3] mode[3], 1 stratum, 2 poll, 3 precision,
 * 4 root delay, 8 root dispersion, 12 reference, 16 reference time, 24 originate time (what we sent
 * as ours: here a number that only the one asked can know), 32 receive time, 40 transmit time. A
 * time is seconds since 1900 (of 32 bits: from February 2036 on they begin anew) and 2^-32 s.
 *
 * One server may lie or be wrong: most of those that answer must agree within a second, and two at
 * least, unless the owner named one alone. What they say must lie between the build of this image
 * (or the last moment that was agreed on) and 20 years later. A clock that was agreed on is never
 * stepped back, nor is one that is less than a minute ahead: it is slowed down. Only an absurd one
 * (it was before the floor) is set on by more than a year.
 */
#include "init.h"

#include <string.h>

#define SECONDS_1900 2208988800ll // to 1970
#define ERA (1ll << 32)
#define AGREE_MS 1000
#define SLEW_MS 500           // a smaller offset is always slewed
#define BACK_MS 60000         // so is one backwards that is smaller than this
#define ALONE_MS 86400000ll   // what one server alone may say of a clock that is not absurd
#define LEAP_MS 31622400000ll // a clock that is not absurd is not set on by more than a year
#define NEAR_MS 3600000       // a clock set on by more is kept only when HELD_MS have passed
#define HELD_MS 86400000ll
#define MAX_ROOT_MS 5000  // how far a server may be from its source
#define MAX_DELAY_MS 4000 // of an answer: half of it is how wrong a clock set by it may be

void sntp_request(uint8_t out[SNTP_BYTES], uint64_t cookie)
{
    memset(out, 0, SNTP_BYTES);
    out[0] = 4 << 3 | 3; // version 4, client
    be_put(out + 40, 8, cookie);
}

/* Milliseconds since 1970, of the era that makes it later than the floor. */
static int64_t unix_ms(const uint8_t *p, int64_t floor_s)
{
    int64_t s = (int64_t)be_get(p, 4) - SECONDS_1900;

    while (s < floor_s - ERA / 2)
        s += ERA;
    return s * 1000 + (int64_t)(be_get(p + 4, 4) * 1000 >> 32);
}

static int64_t short_ms(const uint8_t *p) // 16.16 seconds
{
    return (int64_t)(be_get(p, 4) * 1000 >> 16);
}

enum status sntp_read(struct ntp_sample *out, const uint8_t *p, size_t len, uint64_t cookie,
                      int64_t sent_ms, int64_t received_ms, int64_t floor_s)
{
    if (len < SNTP_BYTES || (p[0] & 7) != 4 || (p[0] >> 3 & 7) < 3 || (p[0] >> 3 & 7) > 4 ||
        p[0] >> 6 == 3 || p[1] < 1 || p[1] > 15 || be_get(p + 24, 8) != cookie ||
        be_get(p + 32, 8) == 0 || be_get(p + 40, 8) == 0 || short_ms(p + 4) > MAX_ROOT_MS ||
        short_ms(p + 8) > MAX_ROOT_MS || received_ms < sent_ms) {
        return BAD_INPUT; // not an answer, not to us, or of one that knows no time itself
    }
    int64_t came = unix_ms(p + 32, floor_s), went = unix_ms(p + 40, floor_s);
    int64_t delay = received_ms - sent_ms - (went - came);
    if (went < came || went - came > 10000 || delay > MAX_DELAY_MS)
        return BAD_INPUT;
    out->offset_ms = ((came - sent_ms) + (went - received_ms)) / 2;
    out->delay_ms = delay < 0 ? 0 : delay;
    return OK;
}

static int64_t distance(int64_t a, int64_t b)
{
    return a < b ? b - a : a - b;
}

static bool agree(const struct ntp_sample *a, const struct ntp_sample *b)
{
    return distance(a->offset_ms, b->offset_ms) <= AGREE_MS + (a->delay_ms + b->delay_ms) / 2;
}

/* How many agree with the one that most agree with; *best: of these, the one that was nearest. */
static int largest_group(const struct ntp_sample *s, int n, int *best)
{
    int most = 0, centre = 0;

    for (int i = 0; i < n; i++) {
        int size = 0;
        for (int k = 0; k < n; k++)
            size += agree(&s[i], &s[k]);
        if (size > most) {
            most = size;
            centre = i;
        }
    }
    *best = centre;
    for (int k = 0; k < n; k++)
        if (agree(&s[centre], &s[k]) && s[k].delay_ms < s[*best].delay_ms)
            *best = k;
    return most;
}

static enum ntp_act by_offset(const struct ntp_clock *c, int64_t offset)
{
    if (offset > LEAP_MS && !c->absurd)
        return NTP_REFUSED;
    if (distance(offset, 0) <= SLEW_MS || (offset < 0 && -offset <= BACK_MS))
        return NTP_SLEW;
    return offset < 0 && c->good ? NTP_REFUSED : NTP_STEP;
}

struct ntp_verdict sntp_judge(const struct ntp_clock *c, const struct ntp_sample *s, int n,
                              int64_t now_ms)
{
    struct ntp_verdict v = {.act = NTP_SILENCE};
    int best = 0;

    if (n == 0)
        return v;
    v.n_agree = largest_group(s, n, &best);
    v.offset_ms = s[best].offset_ms;
    int64_t then_s = (now_ms + v.offset_ms) / 1000;
    if (v.n_agree * 2 <= n) {
        v.act = NTP_DISAGREE;
    } else if (then_s < c->floor_s || then_s > c->floor_s + NTP_YEARS * 31622400ll) {
        v.act = NTP_IMPOSSIBLE;
    } else if (v.n_agree < 2 && !c->one_is_enough) {
        v.act = !c->good && (c->absurd || distance(v.offset_ms, 0) <= ALONE_MS)
                    ? by_offset(c, v.offset_ms)
                    : NTP_REFUSED;
    } else {
        v.act = by_offset(c, v.offset_ms);
        v.trusted = v.act == NTP_STEP || v.act == NTP_SLEW;
    }
    return v;
}

bool sntp_keeps(struct ntp_clock *c, const struct ntp_verdict *v, int64_t now)
{
    bool near = v->trusted && !c->absurd && v->offset_ms <= NEAR_MS;

    if (!near && v->act != NTP_SILENCE)
        c->keep_ms = now + HELD_MS;
    return near && now >= c->keep_ms;
}
