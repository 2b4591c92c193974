/* dns.c - messages of the DNS (RFC 1035) taken apart and put together: names, questions, records.
 * Pure; mdns.c is its user.
 *
 * Message, big endian: 0 id, 2 flags (0x8000 answer, 0x0200 more follows), 4 questions, 6 answers,
 * 8 authority, 10 additional; then name, type[2], class[2] for each question, and name, type[2],
 * class[2], ttl[4], length[2], contents for each record. A name is labels (length, bytes), ended by
 * an empty one, or by a pointer (two bytes from 0xc0 on) to where the rest was written before.
 *
 * Here a name is its labels in lower case without pointers. A pointer must lead backwards, so that
 * reading ends.
 */
#include "init.h"

#include <string.h>

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

bool dns_name(struct dns_name *out, const uint8_t *msg, size_t len, size_t *at)
{
    size_t i = *at, before = i;
    bool jumped = false;

    out->n = 0;
    for (;;) {
        if (i >= len)
            return false;
        uint8_t n = msg[i];
        if (n >= 0xc0) {
            if (len - i < 2)
                return false;
            size_t to = (size_t)(n & 0x3f) << 8 | msg[i + 1];
            if (!jumped)
                *at = i + 2;
            jumped = true;
            if (to >= before)
                return false; // forwards, or in a circle
            i = before = to;
            continue;
        }
        if (n > 63 || len - i < 1u + n || out->n + 1u + n > DNS_NAME)
            return false;
        out->bytes[out->n++] = n;
        for (size_t k = 1; k <= n; k++)
            out->bytes[out->n++] = lower(msg[i + k]);
        i += 1u + n;
        if (n == 0) {
            if (!jumped)
                *at = i;
            return true;
        }
    }
}

void dns_name_of(struct dns_name *out, const char *dotted)
{
    size_t at = 0;

    out->n = 0;
    while (dotted[at]) {
        size_t n = strcspn(dotted + at, ".");
        if (n > 63 || n == 0 || out->n + n + 2 > DNS_NAME)
            break;
        out->bytes[out->n++] = (uint8_t)n;
        for (size_t k = 0; k < n; k++)
            out->bytes[out->n++] = lower((uint8_t)dotted[at + k]);
        at += n + (dotted[at + n] == '.');
    }
    out->bytes[out->n++] = 0;
}

bool dns_same(const struct dns_name *a, const struct dns_name *b)
{
    return a->n == b->n && memcmp(a->bytes, b->bytes, a->n) == 0;
}

enum status dns_open(struct dns_reader *r, const uint8_t *msg, size_t len)
{
    if (len < 12 || len > DNS_MESSAGE_MAX)
        return BAD_INPUT;
    *r = (struct dns_reader){.msg = msg, .len = len, .at = 12};
    r->id = (uint16_t)be_get(msg, 2);
    r->flags = (uint16_t)be_get(msg + 2, 2);
    r->n_questions = (int)be_get(msg + 4, 2);
    for (int i = 0; i < 3; i++)
        r->n_records[i] = (int)be_get(msg + 6 + 2 * i, 2);
    return OK;
}

bool dns_question(struct dns_reader *r, struct dns_record *q)
{
    *q = (struct dns_record){.type = 0};
    if (r->n_questions == 0 || !dns_name(&q->name, r->msg, r->len, &r->at) || r->len - r->at < 4) {
        r->bad = r->bad || r->n_questions > 0;
        return false;
    }
    r->n_questions--;
    q->type = (uint16_t)be_get(r->msg + r->at, 2);
    q->class = (uint16_t)be_get(r->msg + r->at + 2, 2);
    r->at += 4;
    return true;
}

bool dns_next(struct dns_reader *r, struct dns_record *out)
{
    *out = (struct dns_record){.type = 0};
    if (r->bad || r->n_questions > 0)
        return false;
    while (r->section < 3 && r->n_records[r->section] == 0)
        r->section++;
    if (r->section == 3)
        return false;
    r->n_records[r->section]--;
    out->section = r->section;
    r->bad = true; // until it has been read whole
    if (!dns_name(&out->name, r->msg, r->len, &r->at) || r->len - r->at < 10)
        return false;
    const uint8_t *p = r->msg + r->at;
    out->type = (uint16_t)be_get(p, 2);
    out->class = (uint16_t)be_get(p + 2, 2);
    out->ttl = (uint32_t)be_get(p + 4, 4);
    out->n_data = (size_t)be_get(p + 8, 2);
    r->at += 10;
    if (r->len - r->at < out->n_data)
        return false;
    out->data_at = r->at;
    out->data = r->msg + r->at;
    r->at += out->n_data;
    r->bad = false;
    return true;
}

/* ---- writing ---- */

void dns_begin(struct dns_writer *w, uint16_t id, uint16_t flags)
{
    w->n = 12;
    w->n_known = 0;
    w->full = false;
    memset(w->msg, 0, 12);
    be_put(w->msg, 2, id);
    be_put(w->msg + 2, 2, flags);
}

static void put(struct dns_writer *w, const void *bytes, size_t n)
{
    if (w->full || n > sizeof(w->msg) - w->n) {
        w->full = true;
        return;
    }
    if (n)
        memcpy(w->msg + w->n, bytes, n);
    w->n += n;
}

static void put_number(struct dns_writer *w, int n_bytes, uint64_t v)
{
    uint8_t b[8];

    be_put(b, n_bytes, v);
    put(w, b, (size_t)n_bytes);
}

/* Where the labels from `from` on were written before, or 0. */
static size_t written(const struct dns_writer *w, const struct dns_name *name, size_t from)
{
    struct dns_name rest = {.n = name->n - from}, there;

    memcpy(rest.bytes, name->bytes + from, rest.n);
    for (int i = 0; i < w->n_known; i++) {
        size_t at = w->known[i];
        if (dns_name(&there, w->msg, w->n, &at) && dns_same(&there, &rest))
            return w->known[i];
    }
    return 0;
}

static void put_name(struct dns_writer *w, const struct dns_name *name)
{
    for (size_t at = 0; at < name->n && name->bytes[at]; at += 1u + name->bytes[at]) {
        size_t to = written(w, name, at);
        if (to) {
            put_number(w, 2, 0xc000 | to);
            return;
        }
        if (w->n_known < DNS_KNOWN && w->n < 0x3fff)
            w->known[w->n_known++] = (uint16_t)w->n;
        put(w, name->bytes + at, 1u + name->bytes[at]);
    }
    put(w, "", 1);
}

static void count(struct dns_writer *w, int field)
{
    be_put(w->msg + 4 + 2 * field, 2, be_get(w->msg + 4 + 2 * field, 2) + 1);
}

void dns_put_question(struct dns_writer *w, const struct dns_name *name, uint16_t type,
                      uint16_t class)
{
    put_name(w, name);
    put_number(w, 2, type);
    put_number(w, 2, class);
    if (!w->full)
        count(w, 0);
}

bool dns_put(struct dns_writer *w, int section, const struct dns_name *name, uint16_t type,
             uint16_t class, uint32_t ttl, const uint8_t *data, size_t n_data,
             const struct dns_name *target)
{
    size_t n = w->n, length_at;
    int n_known = w->n_known;
    bool full = w->full;

    put_name(w, name);
    put_number(w, 2, type);
    put_number(w, 2, class);
    put_number(w, 4, ttl);
    length_at = w->n;
    put_number(w, 2, 0);
    put(w, data, n_data);
    if (target)
        put_name(w, target);
    if (w->full) { // it did not fit: as if it had never been
        w->n = n;
        w->n_known = n_known;
        w->full = full;
        return false;
    }
    be_put(w->msg + length_at, 2, w->n - length_at - 2);
    count(w, 1 + section);
    return true;
}
