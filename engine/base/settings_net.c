// settings_net.c - the settings about the network that PID 1 of the appliance acts on: checked here
// as init/static.c checks them, so that a wrong line is told wherever the file is read.
//
//   address   [CARD] ADDRESS/BITS, ...      gateway   [CARD] ADDRESS, ...
//   dns       ADDRESS, ...                  ntp       auto, off, or HOST, HOST:PORT, ...
//
// Both readers are tested with the same list of lines (tests/unit/static_lines.h).
#include "settings_net.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 8 }; // entries of a list

struct words { // of one entry
    char first[64], second[64];
};

static bool blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

// Cuts the next entry off the list. false: it is empty, too long or of more than two words.
static bool next_entry(struct words *words, struct bytes *list)
{
    const uint8_t *comma = memchr(list->p, ',', list->n), *s = list->p;
    size_t n = comma ? (size_t)(comma - s) : list->n, n_words = 0;
    char *const into[] = {words->first, words->second};
    *list = (struct bytes){list->p + n + (comma ? 1 : 0), list->n - n - (comma ? 1 : 0)};
    *words = (struct words){"", ""};
    for (size_t i = 0; i < n;) {
        size_t from = i;
        while (i < n && !blank(s[i]))
            i++;
        if (i == from) {
            i++;
            continue;
        }
        if (n_words == 2 || i - from >= sizeof(words->first))
            return false;
        memcpy(into[n_words++], s + from, i - from);
    }
    return n_words > 0;
}

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// A MAC address, or the name of a network card.
static bool card_is_good(const char *text)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    bool mac = strlen(text) == 17;
    for (size_t i = 0; mac && i < 17; i++)
        mac = i % 3 == 2 ? text[i] == ':' : strchr(digits, text[i]) != NULL;
    return mac || (letter(text[0]) && strlen(text) < 16 &&
                   strspn(text, "0123456789-_.abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(text));
}

static bool number(const char *text, uint32_t least, uint32_t most)
{
    size_t n = strspn(text, "0123456789");
    uint32_t value = 0;
    if (n < 1 || n > 5 || text[n])
        return false;
    for (size_t i = 0; i < n; i++)
        value = value * 10 + (uint32_t)(text[i] - '0');
    return value >= least && value <= most;
}

static uint32_t number4(const uint8_t a[4])
{
    return (uint32_t)a[0] << 24 | (uint32_t)a[1] << 16 | (uint32_t)a[2] << 8 | a[3];
}

static uint32_t bits_of(const char *text)
{
    uint32_t bits = 0;
    for (; *text >= '0' && *text <= '9' && bits <= 128; text++)
        bits = bits * 10 + (uint32_t)(*text - '0');
    return bits;
}

// The network's own address or the one of all in it (RFC 1122, 3.2.1.3): no machine's.
static bool is_whole_net(const uint8_t a[4], const char *bits)
{
    const uint32_t n = bits_of(bits), host = n < 31 ? UINT32_MAX >> n : 0;
    return host != 0 && ((number4(a) & host) == 0 || (number4(a) & host) == host);
}

static bool address_is_good(char *text, bool with_bits)
{
    static const uint8_t mapped[12] = {[10] = 255, [11] = 255}, zeros[15];
    char *slash = strchr(text, '/');
    uint8_t a[16];
    if (!slash == with_bits)
        return false;
    if (slash)
        *slash = 0;
    bool six = strchr(text, ':') != NULL;
    if (inet_pton(six ? AF_INET6 : AF_INET, text, a) != 1 ||
        (slash && (strlen(slash + 1) > 3 || !number(slash + 1, 1, six ? 128 : 32))))
        return false;
    if (!six)
        return a[0] != 0 && a[0] != 127 && a[0] < 224 && !(slash && is_whole_net(a, slash + 1));
    return a[0] != 255 && memcmp(a, mapped, 12) != 0 && (memcmp(a, zeros, 15) != 0 || a[15] > 1);
}

static bool server_is_good(char *text)
{
    uint8_t a[16];
    char *host = text, *port = NULL, *end;
    if (*text == '[' && (end = strchr(text, ']'))) {
        *end = 0;
        host++;
        if (inet_pton(AF_INET6, host, a) != 1 || (end[1] && end[1] != ':'))
            return false;
        port = end[1] ? end + 2 : NULL;
    } else if (inet_pton(AF_INET6, text, a) != 1) {
        if ((end = strchr(text, ':'))) {
            *end = 0;
            port = end + 1;
        }
        for (const char *c = host; *c; c++)
            if (!letter(*c) && !(*c >= '0' && *c <= '9') && (c == host || (*c != '-' && *c != '.')))
                return false;
    }
    return *host && (!port || number(port, 1, 65535));
}

static const struct {
    const char *name, *wanted;
} kinds[] = {
    {"address",
     "a machine's address with its prefix (192.168.1.50/24 or fd00::50/64), perhaps behind a "
     "card's name or MAC address (eth1 10.0.0.5/24)"},
    {"gateway", "a gateway's address (192.168.1.1 or fe80::1), perhaps behind a card's name or MAC "
                "address"},
    {"dns", "the address of a name server (192.168.1.1 or 2001:db8::53)"},
    {"ntp", "a time server (a name, an address, or one of them with :PORT), and neither auto nor "
            "off"},
};

static bool entry_is_good(size_t kind, struct words *words)
{
    if (kind == 3)
        return !words->second[0] && server_is_good(words->first);
    if (words->second[0])
        return kind < 2 && card_is_good(words->first) && address_is_good(words->second, kind == 0);
    return address_is_good(words->first, kind == 0);
}

enum status settings_net_check(const char *name, struct bytes value, struct err *err)
{
    size_t kind = 0;
    while (kind < COUNT_OF(kinds) && strcmp(name, kinds[kind].name) != 0)
        kind++;
    if (kind == COUNT_OF(kinds) ||
        (kind == 3 && (bytes_equal_text(value, "auto") || bytes_equal_text(value, "off"))))
        return OK;
    if (kind == 3 && value.n == 0)
        return err_set(err, BAD_INPUT, "ntp: it is empty: auto, off or time servers were expected");
    for (int n = 0; value.n > 0; n++) {
        struct bytes from = value;
        struct words words;
        if (n == MOST)
            return err_set(err, BAD_INPUT, "%s: more than %d entries", name, MOST);
        if (!next_entry(&words, &value) || !entry_is_good(kind, &words)) {
            const uint8_t *comma = memchr(from.p, ',', from.n);
            int shown = comma ? (int)(comma - from.p) : (int)from.n;
            for (; shown > 0 && blank(*from.p); shown--)
                from.p++;
            return err_set(err, BAD_INPUT, "%s: \"%.*s\" is not %s", name, shown < 60 ? shown : 60,
                           (const char *)from.p, kinds[kind].wanted);
        }
    }
    return OK;
}

// 1: the gateway is in a network of the list; 0: in none; -1: that cannot be said.
static int gateway_fits(const uint8_t gateway[4], struct bytes addresses)
{
    int fits = -1;
    while (addresses.n > 0) {
        struct words words;
        uint8_t a[4];
        if (!next_entry(&words, &addresses))
            return -1;
        char *text = words.second[0] ? words.second : words.first, *slash = strchr(text, '/');
        const uint32_t bits = slash ? bits_of(slash + 1) : 0;
        if (slash)
            *slash = 0;
        if (inet_pton(AF_INET, text, a) != 1)
            continue;
        if (bits < 1 || bits > 30) // a hoster's: what is beside it nobody knows
            return -1;
        if ((number4(a) ^ number4(gateway)) >> (32 - bits) == 0)
            return 1;
        fits = 0;
    }
    return fits;
}

enum status settings_gateways_good(const struct settings *settings, struct err *err)
{
    struct bytes list = bytes_of(settings->gateway);
    while (list.n > 0) {
        struct words words;
        uint8_t gateway[4];
        if (!next_entry(&words, &list))
            return OK; // settings_net_check's
        const char *text = words.second[0] ? words.second : words.first;
        if (inet_pton(AF_INET, text, gateway) == 1 &&
            gateway_fits(gateway, bytes_of(settings->address)) == 0)
            return err_set(err, BAD_INPUT,
                           "gateway: %s is in no network of 'address' (%.200s): it could not be "
                           "reached",
                           text, settings->address);
    }
    return OK;
}
