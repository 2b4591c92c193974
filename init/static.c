/* static.c - fixed addresses as tawny.conf writes them. Pure.
 *
 *   address = 192.168.1.50/24, fd00::50/64, eth1 10.0.0.5/24, 52:54:00:12:34:56 10.1.0.5/16
 *   gateway = 192.168.1.1, eth1 fe80::1
 *   dns     = 192.168.1.1, 2001:db8::53
 *   ntp     = auto, off, or HOST, HOST:PORT, ...
 *
 * Entries are separated by commas; a card's name or MAC address may stand before an address. An
 * entry without one is for the first card that has a cable. The engine checks the same lines
 * (engine/base/settings_net.c): both are tested with the same list (tests/unit/static_lines.h).
 */
#include "init.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

struct words { // of one entry: "CARD ADDRESS" or "ADDRESS"
    char first[64], second[64];
};

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The next entry of a list, cut into its words. False: it is empty, too long or has three. */
static bool next_entry(struct words *w, const char **text, size_t *len)
{
    const char *comma = memchr(*text, ',', *len), *s = *text;
    size_t n = comma ? (size_t)(comma - s) : *len, n_words = 0;
    char *const into[] = {w->first, w->second};

    *text += comma ? n + 1 : n;
    *len -= comma ? n + 1 : n;
    *w = (struct words){"", ""};
    for (size_t i = 0; i < n;) {
        size_t from = i;
        while (i < n && !blank(s[i]))
            i++;
        if (i > from) {
            if (n_words == 2 || i - from >= sizeof(w->first) || memchr(s + from, 0, i - from))
                return false;
            memcpy(into[n_words++], s + from, i - from);
        } else {
            i++;
        }
    }
    return n_words > 0;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool read_mac(const char *text, uint8_t mac[6])
{
    if (strlen(text) != 17)
        return false;
    for (int i = 0; i < 6; i++) {
        int high = hex(text[3 * i]), low = hex(text[3 * i + 1]);
        if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':'))
            return false;
        mac[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool read_card(struct static_entry *e, const char *text)
{
    size_t n = strlen(text);

    if (read_mac(text, e->mac))
        return true;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.')))
            return false;
    }
    if (n >= sizeof(e->card))
        return false;
    memcpy(e->card, text, n + 1);
    return true;
}

/* One that a machine in a network can have: no loopback, no group, not "any". */
static bool usable(const struct static_entry *e)
{
    static const uint8_t mapped[12] = {[10] = 255, [11] = 255}, zeros[15];
    const uint8_t *a = e->addr;

    if (!e->six)
        return a[0] != 0 && a[0] != 127 && a[0] < 224;
    return a[0] != 255 && memcmp(a, mapped, 12) != 0 && (memcmp(a, zeros, 15) != 0 || a[15] > 1);
}

/* The IPv4 network's own address or the one of all in it (RFC 1122, 3.2.1.3): no machine's. */
static bool is_whole_net(const struct static_entry *e)
{
    const uint8_t *a = e->addr;
    uint32_t v = (uint32_t)a[0] << 24 | (uint32_t)a[1] << 16 | (uint32_t)a[2] << 8 | a[3];
    uint32_t host = e->bits < 31 ? UINT32_MAX >> e->bits : 0;

    return !e->six && host != 0 && ((v & host) == 0 || (v & host) == host);
}

/* ADDRESS, or ADDRESS/BITS when `bits` is wanted. */
static bool read_address(struct static_entry *e, char *text, bool bits)
{
    char *slash = strchr(text, '/');
    unsigned n = 0;

    if (!slash == bits)
        return false;
    if (slash) {
        *slash = 0;
        size_t digits = strspn(slash + 1, "0123456789");
        if (digits < 1 || digits > 3 || slash[1 + digits])
            return false;
        for (size_t i = 1; i <= digits; i++)
            n = n * 10 + (unsigned)(slash[i] - '0');
    }
    e->six = strchr(text, ':') != NULL;
    if (inet_pton(e->six ? AF_INET6 : AF_INET, text, e->addr) != 1)
        return false;
    e->bits = (uint8_t)n;
    return usable(e) && (!bits || (n >= 1 && n <= (e->six ? 128 : 32) && !is_whole_net(e)));
}

static enum status bad_entry(struct err *err, const char *text, size_t len, const char *wanted)
{
    const char *comma = memchr(text, ',', len);
    int n = comma ? (int)(comma - text) : (int)len;

    while (n && blank(*text)) {
        text++;
        n--;
    }
    return err_set(err, BAD_INPUT, "\"%.*s\" is not %s", n < 60 ? n : 60, text, wanted);
}

enum status static_read(struct net_static *s, enum static_key key, const char *text, size_t len,
                        struct err *err)
{
    static const char *const wanted[] = {
        ("a machine's address with its prefix (192.168.1.50/24 or fd00::50/64), perhaps behind a "
         "card's "
         "name or MAC address (eth1 10.0.0.5/24)"),
        "a gateway's address (192.168.1.1 or fe80::1), perhaps behind a card's name or MAC address",
        "the address of a name server (192.168.1.1 or 2001:db8::53)",
    };
    struct static_entry found[STATIC_MOST] = {0};
    int n = 0;

    while (len) {
        const char *from = text;
        size_t left = len;
        struct words w;
        struct static_entry e = {.card = ""};
        if (!next_entry(&w, &text, &len) ||
            (w.second[0] && (key == STATIC_DNS || !read_card(&e, w.first))) ||
            !read_address(&e, w.second[0] ? w.second : w.first, key == STATIC_ADDRESS)) {
            return bad_entry(err, from, left, wanted[key]);
        }
        if (n == STATIC_MOST)
            return err_set(err, BAD_INPUT, "more than %d entries", STATIC_MOST);
        found[n++] = e;
    }
    struct static_list *list = key == STATIC_ADDRESS   ? &s->address
                               : key == STATIC_GATEWAY ? &s->gateway
                                                       : &s->dns;
    memcpy(list->entry, found, sizeof(found));
    list->n = n;
    return OK;
}

static bool is(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(text, word, len) == 0;
}

/* A name or an address, perhaps with a port: NAME, 192.0.2.1, 192.0.2.1:123, [2001:db8::1]:123. */
static bool read_server(struct ntp_server *server, char *text)
{
    uint8_t addr[16];
    char *host = text, *port = NULL, *end;

    server->port = 123;
    if (*text == '[' && (end = strchr(text, ']'))) {
        *end = 0;
        host = text + 1;
        port = end[1] == ':' ? end + 2 : NULL;
        if (inet_pton(AF_INET6, host, addr) != 1 || (end[1] && !port))
            return false;
    } else if (inet_pton(AF_INET6, text, addr) != 1) {
        if ((end = strchr(text, ':'))) {
            *end = 0;
            port = end + 1;
        }
        for (const char *c = host; *c; c++)
            if (hex(*c) < 0 && !(*c >= 'g' && *c <= 'z') && !(*c >= 'G' && *c <= 'Z') &&
                (c == host || (*c != '-' && *c != '.')))
                return false;
    }
    if (port) {
        unsigned n = 0;
        for (const char *c = port; *c >= '0' && *c <= '9' && n < 100000; c++)
            n = n * 10 + (unsigned)(*c - '0');
        if (strspn(port, "0123456789") != strlen(port) || n < 1 || n > 65535)
            return false;
        server->port = (uint16_t)n;
    }
    return *host &&
           (size_t)snprintf(server->host, sizeof(server->host), "%s", host) < sizeof(server->host);
}

enum status ntp_read(struct ntp_setting *s, const char *text, size_t len, struct err *err)
{
    struct ntp_setting found = {.off = is(text, len, "off")};

    if (found.off || is(text, len, "auto")) {
        *s = found;
        return OK;
    }
    while (len) {
        const char *from = text;
        size_t left = len;
        struct words w;
        if (found.n == NTP_MOST)
            return err_set(err, BAD_INPUT, "more than %d time servers", NTP_MOST);
        if (!next_entry(&w, &text, &len) || w.second[0] ||
            !read_server(&found.server[found.n++], w.first)) {
            return bad_entry(err, from, left,
                             "a time server (a name, an address, or one of them with :PORT), and "
                             "neither auto nor off");
        }
    }
    if (!found.n)
        return err_set(err, BAD_INPUT, "it is empty: auto, off or time servers were expected");
    *s = found;
    return OK;
}
