/* conf.c - the settings of tawny.conf that init needs: host name, fixed addresses, time servers,
 * where the engine listens, whether drivers are loaded later on.
 *
 * The file is `key = value` lines; '#' starts a comment line, or a comment behind a blank; a value
 * may stand in double quotes (as engine/base/settings.c has it: both must see the same name). It is
 * edited by people on any PC, so a byte order mark and CR LF line ends are fine. A line that is no
 * `key = value`, or whose value is no host name, address or server, is reported with its number and
 * ignored; every other key belongs to the engine, which checks it.
 */
#include "init.h"

#include <stdio.h>
#include <string.h>

#define OLLAMA_PORT 11434

void conf_defaults(struct conf *c)
{
    *c = (struct conf){.hot_plug = true, .api_settings = true, .https = 443, .ollama = OLLAMA_PORT};
    snprintf(c->hostname, sizeof(c->hostname), "tawny");
    snprintf(c->listen, sizeof(c->listen), "[::]:443,[::]:11434"); // as engine/base/settings.c
    snprintf(c->listen_http, sizeof(c->listen_http), "auto");
}

bool conf_hostname(const char *in, size_t len, char out[64])
{
    if (len < 1 || len > 63 || in[0] == '-' || in[len - 1] == '-')
        return false;
    bool any = false; // of digits alone it is read as an address
    for (size_t i = 0; i < len; i++) {
        char c = in[i];
        any = any || !(c >= '0' && c <= '9');
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
        out[i] = c;
    }
    out[len] = 0;
    return any && strcmp(out, "localhost") != 0;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The value without its quotes or the comment behind it. What is not whole stays as it is, and is
 * then no host name. */
static void bare_value(const char **value, size_t *len)
{
    const char *s = *value;

    if (*len && *s == '"') {
        const char *end = memchr(s + 1, '"', *len - 1), *rest = end ? end + 1 : s;
        while (rest < s + *len && blank(*rest))
            rest++;
        if (end && (rest == s + *len || *rest == '#')) {
            *value = s + 1;
            *len = (size_t)(end - s) - 1;
        }
        return;
    }
    for (size_t i = 0; i < *len; i++)
        if (s[i] == '#' && (i == 0 || blank(s[i - 1])))
            *len = i;
    while (*len && blank(s[*len - 1]))
        --*len;
}

/* "[::]:443,[::]:11434", and the ports of it. */
static bool listen_at(struct conf *c, const char *text, size_t len)
{
    if (len == 0 || len >= sizeof(c->listen))
        return false; // the engine takes it for none
    snprintf(c->listen, sizeof(c->listen), "%.*s", (int)len, text);
    c->https = c->ollama = 0;
    while (len) {
        const char *comma = memchr(text, ',', len), *colon;
        size_t n = comma ? (size_t)(comma - text) : len;
        unsigned port = 0;
        colon = memrchr(text, ':', n);
        for (const char *d = colon ? colon + 1 : text + n; d < text + n && port < 65536; d++)
            port = *d >= '0' && *d <= '9' ? port * 10 + (unsigned)(*d - '0') : port;
        if (port == OLLAMA_PORT)
            c->ollama = OLLAMA_PORT;
        else if (port && port < 65536 && !c->https)
            c->https = (uint16_t)port;
        text += comma ? n + 1 : n;
        len -= comma ? n + 1 : n;
    }
    return true;
}

static const char *const names[] = {"hostname", "ntp",      "address",     "gateway",     "dns",
                                    "listen",   "hot-plug", "listen-http", "api-settings"};
enum { N_NAMES = sizeof(names) / sizeof(*names) };

static const char *conf_value(struct conf *c, const char *key, size_t key_len, const char *value,
                              size_t len)
{
    static struct err err; // conf_parse hands the sentence on before the next line
    struct conf second;
    char name[64];
    size_t k = 0;

    while (k < N_NAMES && (key_len != strlen(names[k]) || memcmp(key, names[k], key_len) != 0))
        k++;
    if (k == N_NAMES)
        return NULL;
    if (c->said & 1u << k) { // of two lines the first one counts, as the engine has it
        second = *c;
        c = &second;
    }
    if (k >= 5) { // of these the engine says what is wrong with them
        bool taken = k == 5   ? listen_at(c, value, len)
                     : k != 7 ? len == 2 || len == 3
                              : len < sizeof(c->listen_http);
        if (k == 6 || k == 8)
            *(k == 6 ? &c->hot_plug : &c->api_settings) =
                !(len == 2 && memcmp(value, "no", 2) == 0);
        else if (k == 7 && taken)
            snprintf(c->listen_http, sizeof(c->listen_http), "%.*s", (int)len, value);
        c->said |= taken ? 1u << k : 0;
        return NULL;
    }
    if (k == 0 && !conf_hostname(value, len, name)) {
        return "a hostname is 1 to 63 of the characters a-z, 0-9 and -, does not begin or end with "
               "-, and is neither of digits alone nor localhost";
    }
    if (k == 0)
        memcpy(c->hostname, name, sizeof(name));
    enum status s = k == 0   ? OK
                    : k == 1 ? ntp_read(&c->ntp, value, len, &err)
                             : static_read(&c->net, (enum static_key)(k - 2), value, len, &err);
    c->said |= s == OK ? 1u << k : 0;
    return s == OK ? NULL : err.text;
}

/* One line without its '\n'. Returns what is wrong with it, or NULL. */
static const char *conf_line(struct conf *c, const char *s, size_t len)
{
    while (len && blank(s[len - 1]))
        len--;
    while (len && blank(*s)) {
        s++;
        len--;
    }
    if (!len || *s == '#')
        return NULL;
    const char *eq = memchr(s, '=', len);
    if (!eq || eq == s)
        return "it is not of the form `key = value`";
    size_t key_len = (size_t)(eq - s), value_len = len - key_len - 1;
    const char *value = eq + 1;
    while (key_len && blank(s[key_len - 1]))
        key_len--;
    while (value_len && blank(*value)) {
        value++;
        value_len--;
    }
    bare_value(&value, &value_len);
    return conf_value(c, s, key_len, value, value_len);
}

void conf_parse(struct conf *c, const char *text, size_t len,
                void (*bad)(void *ctx, int line, const char *what), void *ctx)
{
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    c->said = 0;
    for (int line = 1; len; line++) {
        const char *end = memchr(text, '\n', len);
        size_t n = end ? (size_t)(end - text) : len;
        const char *what = conf_line(c, text, n);
        if (what)
            bad(ctx, line, what);
        n += end ? 1 : 0;
        text += n;
        len -= n;
    }
}

/* One more of the list "address, listen". */
static void add_name(char out[CONF_CHANGED], const char *name)
{
    size_t n = strlen(out);

    snprintf(out + n, CONF_CHANGED - n, "%s%s", n ? ", " : "", name);
}

void conf_reach(const struct conf *c, char out[CONF_CHANGED])
{
    static const size_t reach[] = {2, 3, 5}; // address, gateway, listen

    out[0] = 0;
    for (size_t i = 0; i < sizeof(reach) / sizeof(*reach); i++)
        if (c->said & 1u << reach[i])
            add_name(out, names[reach[i]]);
}

/* ---- what a start of our own waits for ---- */

static bool same_entries(const struct static_list *a, const struct static_list *b)
{
    bool same = a->n == b->n;

    for (int i = 0; same && i < a->n; i++) {
        const struct static_entry *x = &a->entry[i], *y = &b->entry[i];
        same = strcmp(x->card, y->card) == 0 && memcmp(x->mac, y->mac, sizeof(x->mac)) == 0 &&
               x->six == y->six && x->bits == y->bits &&
               memcmp(x->addr, y->addr, x->six ? 16 : 4) == 0;
    }
    return same;
}

static bool same_servers(const struct ntp_setting *a, const struct ntp_setting *b)
{
    bool same = a->off == b->off && a->n == b->n;

    for (int i = 0; same && i < a->n; i++)
        same = strcmp(a->server[i].host, b->server[i].host) == 0 &&
               a->server[i].port == b->server[i].port;
    return same;
}

void conf_changed(const struct conf *in_force, const struct conf *next, enum conf_place where,
                  char out[CONF_CHANGED])
{
    const struct conf *a = in_force, *b = next;
    bool machine = where == CONF_MACHINE, net = where != CONF_CONTAINER_WITH_NET;
    const struct {
        const char *name;
        bool used, same;
    } settings[] = {
        {"hostname", true, strcmp(a->hostname, b->hostname) == 0},
        {"address", net, same_entries(&a->net.address, &b->net.address)},
        {"gateway", net, same_entries(&a->net.gateway, &b->net.gateway)},
        {"dns", net, same_entries(&a->net.dns, &b->net.dns)},
        {"ntp", machine, same_servers(&a->ntp, &b->ntp)},
        {"listen", machine, a->https == b->https && a->ollama == b->ollama},
        {"hot-plug", machine, a->hot_plug == b->hot_plug},
    };

    out[0] = 0;
    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++)
        if (settings[i].used && !settings[i].same)
            add_name(out, settings[i].name);
}
