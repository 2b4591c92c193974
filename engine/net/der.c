// der.c - the DER writer and reader behind der.h.
//
// An element is tag, length, content. A length under 128 is one byte; else 0x80 + k and then k
// bytes, big-endian, without leading zeros. This writer uses at most 2 of them (65535 bytes): a
// certificate is under 4 KB.
#include "der.h"

#include <string.h>
#include <time.h>

void der_init(struct der *der, uint8_t *p, size_t room)
{
    *der = (struct der){.p = p, .room = room};
}

struct bytes der_view(const struct der *der)
{
    return (struct bytes){der->p, der->n};
}

void der_raw(struct der *der, struct bytes encoded)
{
    if (der->full || encoded.n > der->room - der->n) {
        der->full = true;
        return;
    }
    if (encoded.n > 0)
        memcpy(der->p + der->n, encoded.p, encoded.n);
    der->n += encoded.n;
}

static void put_byte(struct der *der, unsigned byte)
{
    uint8_t b = (uint8_t)byte;
    der_raw(der, (struct bytes){&b, 1});
}

size_t der_open(struct der *der, unsigned tag)
{
    put_byte(der, tag);
    return der->n;
}

void der_close(struct der *der, size_t opened)
{
    if (der->full)
        return;
    size_t n = der->n - opened;
    uint8_t length[3];
    size_t n_length = 1;
    if (n < 0x80) {
        length[0] = (uint8_t)n;
    } else if (n < 0x100) {
        length[0] = 0x81;
        length[1] = (uint8_t)n;
        n_length = 2;
    } else {
        length[0] = 0x82;
        length[1] = (uint8_t)(n >> 8);
        length[2] = (uint8_t)n;
        n_length = 3;
    }
    if (n > 0xFFFF || n_length > der->room - der->n) {
        der->full = true;
        return;
    }
    memmove(der->p + opened + n_length, der->p + opened, n);
    memcpy(der->p + opened, length, n_length);
    der->n += n_length;
}

void der_put(struct der *der, unsigned tag, struct bytes content)
{
    size_t opened = der_open(der, tag);
    der_raw(der, content);
    der_close(der, opened);
}

void der_integer(struct der *der, struct bytes magnitude)
{
    while (magnitude.n > 1 && magnitude.p[0] == 0) {
        magnitude.p++;
        magnitude.n--;
    }
    size_t opened = der_open(der, DER_INTEGER);
    if (magnitude.p[0] >= 0x80)
        put_byte(der, 0); // else it would read as negative
    der_raw(der, magnitude);
    der_close(der, opened);
}

void der_bits(struct der *der, struct bytes bits)
{
    size_t opened = der_open(der, DER_BIT_STRING);
    put_byte(der, 0); // unused bits in the last byte
    der_raw(der, bits);
    der_close(der, opened);
}

void der_time(struct der *der, int64_t unix_s)
{
    time_t at = (time_t)unix_s;
    struct tm tm;
    char text[32];
    if (!gmtime_r(&at, &tm) || tm.tm_year < 50 || tm.tm_year > 8099) {
        der->full = true; // outside 1950 .. 9999
        return;
    }
    bool general = tm.tm_year >= 150;
    size_t n = strftime(text, sizeof(text), general ? "%Y%m%d%H%M%SZ" : "%y%m%d%H%M%SZ", &tm);
    der_put(der, general ? DER_GENERAL_TIME : DER_UTC_TIME,
            (struct bytes){(const uint8_t *)text, n});
}

enum status der_read(struct bytes *in, unsigned *tag, struct bytes *content, struct bytes *whole)
{
    if (in->n < 2 || (in->p[0] & 0x1F) == 0x1F)
        return BAD_INPUT;
    size_t n = in->p[1], head = 2;
    if (n >= 0x80) {
        size_t n_length = n & 0x7F;
        if (n_length < 1 || n_length > 3 || in->n < 2 + n_length)
            return BAD_INPUT;
        n = 0;
        for (size_t i = 0; i < n_length; i++)
            n = n << 8 | in->p[2 + i];
        head += n_length;
        if (n < 0x80 || (n_length > 1 && n >> 8 * (n_length - 1) == 0))
            return BAD_INPUT; // not the shortest form
    }
    if (n > in->n - head)
        return BAD_INPUT;
    *tag = in->p[0];
    *content = (struct bytes){in->p + head, n};
    if (whole)
        *whole = (struct bytes){in->p, head + n};
    *in = (struct bytes){in->p + head + n, in->n - head - n};
    return OK;
}

enum status der_expect(struct bytes *in, unsigned tag, struct bytes *content)
{
    struct bytes rest = *in, found;
    unsigned found_tag;
    if (der_read(&rest, &found_tag, &found, NULL) != OK || found_tag != tag)
        return BAD_INPUT;
    *in = rest;
    *content = found;
    return OK;
}

// Days from 1970-01-01 to a date of the Gregorian calendar (year >= 1).
static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = year / 400, year_of_era = year % 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

enum status der_read_time(struct bytes *in, int64_t *unix_s)
{
    struct bytes rest = *in, text;
    unsigned tag;
    if (der_read(&rest, &tag, &text, NULL) != OK)
        return BAD_INPUT;
    size_t n_year = tag == DER_UTC_TIME ? 2 : 4;
    if ((tag != DER_UTC_TIME && tag != DER_GENERAL_TIME) || text.n != n_year + 11 ||
        text.p[text.n - 1] != 'Z') {
        return BAD_INPUT;
    }
    for (size_t i = 0; i < text.n - 1; i++)
        if (text.p[i] < '0' || text.p[i] > '9')
            return BAD_INPUT;
    int64_t year = 0, part[5];
    for (size_t i = 0; i < n_year; i++)
        year = year * 10 + (text.p[i] - '0');
    if (n_year == 2)
        year += year < 50 ? 2000 : 1900;
    for (size_t i = 0; i < 5; i++) {
        const uint8_t *digits = text.p + n_year + 2 * i;
        part[i] = (digits[0] - '0') * 10 + (digits[1] - '0');
    }
    if (year < 1 || part[0] < 1 || part[0] > 12 || part[1] < 1 || part[1] > 31 || part[2] > 23 ||
        part[3] > 59 || part[4] > 59) {
        return BAD_INPUT;
    }
    *unix_s =
        ((days_from_civil(year, part[0], part[1]) * 24 + part[2]) * 60 + part[3]) * 60 + part[4];
    *in = rest;
    return OK;
}
