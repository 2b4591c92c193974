/* init_mdns.c - names of the DNS, and the responder of NAME.local against a made-up clock and
 * neighbours. What it sends is taken apart here by a reader of its own, written after RFC 1035.
 */
#include "../../init/init.h"
#include "check.h"

#include <stdlib.h>

/* ---- an independent reader: names as dotted text ---- */

static size_t text_name(const uint8_t *msg, size_t len, size_t at, char *out)
{
    size_t end = 0, n = 0;

    for (int hops = 0; hops < 100 && at < len; hops++) {
        if (msg[at] >= 192) {
            end = end ? end : at + 2;
            at = (size_t)(msg[at] - 192) * 256 + msg[at + 1];
        } else if (msg[at] == 0) {
            out[n ? n - 1 : 0] = 0;
            return end ? end : at + 1;
        } else {
            memcpy(out + n, msg + at + 1, msg[at]);
            n += msg[at];
            out[n++] = '.';
            at += 1u + msg[at];
        }
    }
    CHECK(!"a name that does not end");
    out[0] = 0;
    return len;
}

struct shown { // what was sent, as lines
    char text[8192];
    int n_messages;
    int ifindex;
    bool alone;
};
static struct shown shown;

static void line(const char *format, ...) PRINTF(1, 2);
#include <stdarg.h>
static void line(const char *format, ...)
{
    size_t n = strlen(shown.text);
    va_list args;

    va_start(args, format);
    vsnprintf(shown.text + n, sizeof(shown.text) - n, format, args);
    va_end(args);
}

static unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] * 256 + p[1];
}

static void show(void *ctx, int ifindex, const struct mdns_from *to, const uint8_t *msg, size_t len)
{
    static const char *const sections[] = {"answer", "authority", "more"};
    char name[300], target[300];
    size_t at = 12;
    (void)ctx;

    shown.n_messages++;
    shown.ifindex = ifindex;
    shown.alone = to != NULL;
    line("%s %04x %u\n", get16(msg + 2) & 0x8000 ? "ANSWER" : "QUESTION", get16(msg + 2),
         get16(msg));
    for (unsigned i = 0; i < get16(msg + 4); i++) {
        at = text_name(msg, len, at, name);
        line("asks %s %u %04x\n", name, get16(msg + at), get16(msg + at + 2));
        at += 4;
    }
    for (int s = 0; s < 3; s++) {
        for (unsigned i = 0; i < get16(msg + 6 + 2 * s); i++) {
            at = text_name(msg, len, at, name);
            const uint8_t *p = msg + at;
            unsigned type = get16(p), n = get16(p + 8);
            line("%s %s %u %04x %u ", sections[s], name, type, get16(p + 2),
                 get16(p + 4) * 65536 + get16(p + 6));
            if (type == 12 || type == 33) {
                if (type == 33)
                    line("%u ", get16(p + 14));
                CHECK(text_name(msg, len, at + 10 + (type == 33 ? 6 : 0), target) == at + 10 + n);
                line("%s\n", target);
            } else {
                for (unsigned k = 0; k < n; k++)
                    line("%02x", p[10 + k]);
                line("\n");
            }
            at += 10 + n;
            CHECK(at <= len);
        }
    }
    CHECK(at == len);
}

/* ---- messages of others ---- */

static struct dns_writer w;
static struct mdns_from from = {.ifindex = 2, .four = 0x0900000a, .port = 5353}; // 10.0.0.9

static void begin(uint16_t id, uint16_t flags)
{
    dns_begin(&w, id, flags);
}

static void asks(const char *name, uint16_t type, uint16_t class)
{
    struct dns_name n;

    dns_name_of(&n, name);
    dns_put_question(&w, &n, type, class);
}

static void has(int section, const char *name, uint16_t type, uint32_t ttl, const void *data,
                size_t n_data)
{
    struct dns_name n;

    dns_name_of(&n, name);
    CHECK(dns_put(&w, section, &n, type, DNS_IN, ttl, data, n_data, NULL));
}

static struct mdns m;
static int64_t now;

static void hears(void)
{
    uint8_t *exact = malloc(w.n);

    memcpy(exact, w.msg, w.n);
    mdns_receive(&m, &from, exact, w.n, now);
    free(exact);
}

static const char *after(int64_t ms)
{
    memset(&shown, 0, sizeof(shown));
    for (int64_t end = now + ms;;) {
        int64_t due = mdns_tick(&m, now);
        if (due > end) {
            now = end;
            return shown.text;
        }
        now = due > now ? due : now + 1;
    }
}

static struct mdns_table one_link(void)
{
    struct mdns_table t = {.n = 1, .hostname = "tawny", .https = 443, .ollama = 11434};

    t.link[0] = (struct mdns_link){.ifindex = 2, .n_six = 1};
    memcpy(&t.link[0].four, "\x0a\0\0\x05", 4);
    memcpy(&t.link[0].mask, "\xff\xff\xff\0", 4);
    memcpy(t.link[0].six[0], "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05", 16);
    return t;
}

static void start(void)
{
    struct mdns_table t = one_link();

    now = 100000;
    mdns_start(&m, 7);
    m.send = show;
    mdns_set(&m, &t, now);
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, what)); p++)
        n++;
    return n;
}

static void probes_and_announces(void)
{
    const char *text;

    start();
    text = after(740);
    CHECK(count(text, "QUESTION 0000 0\n") == 3 && shown.n_messages == 3);
    CHECK(count(text, "asks tawny.local 255 8001\n") == 3);
    CHECK(count(text, "asks tawny._https._tcp.local 255 8001\n") == 3);
    CHECK(count(text, "authority tawny.local 1 0001 120 0a000005\n") == 3);
    CHECK(!mdns_is_up(&m));
    text = after(4000);
    CHECK(mdns_is_up(&m) && shown.n_messages == 2 && count(text, "ANSWER 8400 0\n") == 2);
    CHECK(count(text, "answer tawny.local 1 8001 120 0a000005\n") == 2);
    CHECK(count(text, "answer tawny.local 28 8001 120 fd000000000000000000000000000005\n") == 2);
    CHECK(count(text, "answer _services._dns-sd._udp.local 12 0001 4500 _https._tcp.local\n") == 2);
    CHECK(count(text, "answer _https._tcp.local 12 0001 4500 tawny._https._tcp.local\n") == 2);
    CHECK(count(text, "answer tawny._https._tcp.local 33 8001 120 443 tawny.local\n") == 2);
    CHECK(count(text, "answer tawny._ollama._tcp.local 33 8001 120 11434 tawny.local\n") == 2);
    CHECK(count(text, "answer tawny._ollama._tcp.local 16 8001 4500 ") == 2);
    CHECK_TEXT(after(100000), ""); // and then says nothing unasked
}

static void answers(void)
{
    const char *text;

    begin(0, 0);
    asks("TAWNY.local", DNS_A, DNS_IN);
    hears();
    text = after(10);
    CHECK(shown.n_messages == 1 && !shown.alone && shown.ifindex == 2);
    CHECK(count(text, "answer tawny.local 1 8001 120 0a000005\n") == 1);
    CHECK(count(text, "more tawny.local 28 ") == 1 && count(text, "more tawny.local 47 ") == 1);
    hears(); // at once again: no storm
    CHECK_TEXT(after(500), "");
    after(1000);
    begin(0, 0);
    asks("_ollama._tcp.local", DNS_PTR, DNS_IN);
    hears();
    CHECK_TEXT(after(15), ""); // others may answer too
    text = after(200);
    CHECK(count(text, "answer _ollama._tcp.local 12 0001 4500 tawny._ollama._tcp.local\n") == 1);
    CHECK(count(text, "more tawny._ollama._tcp.local 33 8001 120 11434 tawny.local\n") == 1);
    CHECK(count(text, "more tawny.local 1 8001 120 0a000005\n") == 1);
    CHECK(count(text, "answer _services") == 0);

    after(2000); // what the one who asks knows is not said
    struct dns_name kind, instance;
    begin(0, 0);
    asks("_ollama._tcp.local", DNS_PTR, DNS_IN);
    dns_name_of(&kind, "_ollama._tcp.local");
    dns_name_of(&instance, "tawny._ollama._tcp.local");
    CHECK(dns_put(&w, 0, &kind, DNS_PTR, DNS_IN, 4000, NULL, 0, &instance));
    hears();
    CHECK_TEXT(after(500), "");

    begin(0, 0); // a name that is not ours
    asks("other.local", DNS_A, DNS_IN);
    asks("tawny.local", DNS_SRV, DNS_IN);
    asks("tawny", DNS_A, DNS_IN);
    hears();
    CHECK_TEXT(after(500), "");
}

static void answers_one(void)
{
    const char *text;

    after(60000);
    begin(0, 0); // by unicast where that is wanted, and was multicast a moment ago
    asks("tawny.local", DNS_A, DNS_IN);
    hears();
    after(2000);
    begin(0, 0);
    asks("tawny.local", DNS_A, DNS_IN | DNS_TOP);
    memset(&shown, 0, sizeof(shown));
    hears();
    CHECK(shown.n_messages == 1 && shown.alone);
    after(2000);

    from.port = 40000; // a resolver that knows nothing of all this
    begin(77, 0x0100);
    asks("tawny.local", DNS_A, DNS_IN);
    memset(&shown, 0, sizeof(shown));
    hears();
    text = shown.text;
    CHECK(shown.alone && strncmp(text, "ANSWER 8400 77\nasks tawny.local 1 0001\n", 39) == 0);
    CHECK(count(text, "answer tawny.local 1 0001 10 0a000005\n") == 1);
    from.unicast = true;
    from.four = 0x09010101; // from beyond the link
    memset(&shown, 0, sizeof(shown));
    hears();
    CHECK_TEXT(shown.text, "");
    from = (struct mdns_from){.ifindex = 2, .four = 0x0900000a, .port = 5353};
    from.ifindex = 3; // a link that is not ours
    hears();
    CHECK_TEXT(after(500), "");
    from.ifindex = 2;

    struct mdns_table t = one_link(); // without IPv6: said so, nobody need wait
    t.link[0].n_six = 0;
    mdns_set(&m, &t, now);
    CHECK(count(after(5000), "ANSWER") == 2); // told, since it has changed
    begin(0, 0);
    asks("tawny.local", DNS_AAAA, DNS_IN);
    hears();
    text = after(100);
    CHECK(count(text, "answer tawny.local 47 8001 120 05") == 1 && count(text, "40000000\n") == 1);
}

static void gives_way(void)
{
    start(); // somebody has the name already
    after(300);
    begin(0, 0x8400);
    has(0, "tawny.local", DNS_A, 120, "\x0a\0\0\x09", 4);
    hears();
    CHECK_TEXT(m.name, "tawny-2");
    CHECK(count(after(5000), "asks tawny-2.local 255 8001\n") == 3 && mdns_is_up(&m));

    hears(); // about the name that we do not have
    CHECK(mdns_is_up(&m));
    begin(0, 0x8400); // claimed after we had it: asked for anew, and kept when nobody answers
    has(0, "tawny-2.local", DNS_A, 120, "\x0a\0\0\x09", 4);
    hears();
    CHECK(!mdns_is_up(&m));
    after(5000);
    CHECK(mdns_is_up(&m) && strcmp(m.name, "tawny-2") == 0);
    hears();
    hears();
    CHECK_TEXT(m.name, "tawny-3");
    after(5000);

    begin(0, 0x8400); // ours, heard back; and somebody's goodbye
    has(0, "tawny-3.local", DNS_A, 120, "\x0a\0\0\x05", 4);
    has(0, "tawny-3.local", DNS_A, 0, "\x0a\0\0\x09", 4);
    hears();
    CHECK(mdns_is_up(&m));

    for (int i = 0; i < 40; i++) { // somebody takes every name: no storm
        char name[80];
        snprintf(name, sizeof(name), "%s.local", m.name);
        begin(0, 0x8400);
        has(0, name, DNS_A, 120, "\x0a\0\0\x09", 4);
        hears();
    }
    CHECK_TEXT(after(50000), "");
    CHECK(strlen(m.name) <= 63 && count(after(70000), "asks tawny-") >= 3);
}

static void settles_ties(void)
{
    start();
    after(300);
    begin(0, 0); // a probe with smaller addresses: ours goes on
    asks("tawny.local", DNS_ANY, DNS_IN | DNS_TOP);
    has(1, "tawny.local", DNS_A, 120, "\x0a\0\0\x04", 4);
    hears();
    CHECK(count(after(3000), "ANSWER") == 2 && strcmp(m.name, "tawny") == 0);

    start();
    after(300);
    begin(0, 0); // with greater ones: it is theirs, unless they never answer
    asks("tawny.local", DNS_ANY, DNS_IN | DNS_TOP);
    has(1, "tawny.local", DNS_A, 120, "\x0a\0\0\x06", 4);
    hears();
    CHECK_TEXT(after(990), "");
    CHECK(count(after(600), "QUESTION") == 3);

    start();
    after(300);
    begin(0, 0); // the same records: ourselves, on another card
    asks("tawny.local", DNS_ANY, DNS_IN | DNS_TOP);
    has(1, "tawny.local", DNS_AAAA, 120, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05", 16);
    has(1, "tawny.local", DNS_A, 120, "\x0a\0\0\x05", 4);
    hears();
    CHECK(count(after(3000), "ANSWER") == 2);
}

static void says_goodbye(void)
{
    start();
    after(5000);
    memset(&shown, 0, sizeof(shown));
    mdns_goodbye(&m);
    CHECK(count(shown.text, "answer tawny.local 1 8001 0 0a000005\n") == 1);
    CHECK(count(shown.text, "answer _https._tcp.local 12 0001 0 ") == 1);
}

static void survives_anything(void)
{
    uint8_t *exact;

    start();
    after(5000);
    begin(0, 0x8400);
    has(0, "tawny.local", DNS_A, 120, "\x0a\0\0\x05", 4);
    has(0, "tawny._https._tcp.local", DNS_TXT, 120, "\x01x", 2);
    has(2, "_https._tcp.local", DNS_PTR, 120, "\x01x\0", 3);
    for (size_t cut = 0; cut <= w.n; cut++) {
        for (int flags = 0; flags < 2; flags++) {
            exact = malloc(cut ? cut : 1);
            memcpy(exact, w.msg, cut);
            if (cut > 2)
                exact[2] = flags ? 0x84 : 0;
            mdns_receive(&m, &from, exact, cut, now);
            free(exact);
        }
    }
    for (size_t i = 0; i < w.n; i++) {
        uint8_t was = w.msg[i];
        for (int v = 0; v < 256; v++) {
            w.msg[i] = (uint8_t)v;
            hears();
        }
        w.msg[i] = was;
        (void)after(5);
    }
    /* pointers to themselves, to each other, forwards */
    static const uint8_t loops[][4] = {
        {0xc0, 12}, {0xc0, 14, 0xc0, 12}, {0xc0, 40}, {1, 'a', 0xc0, 12}};
    for (size_t i = 0; i < 4; i++) {
        struct dns_name name;
        uint8_t msg[40] = {0};
        size_t at = 12;
        memcpy(msg + 12, loops[i], 4);
        CHECK(!dns_name(&name, msg, sizeof(msg), &at));
    }
    struct mdns_table t = one_link(); // the longest name, all that a link may have: one packet
    memset(t.hostname, 'a', 63);
    t.link[0].n_six = MDNS_SIX;
    for (int i = 0; i < MDNS_SIX; i++)
        memset(t.link[0].six[i], 0xf0 + i, 16);
    mdns_set(&m, &t, now);
    const char *text = after(5000);
    CHECK(mdns_is_up(&m) && count(text, "answer ") == 2 * 14);
}

int main(void)
{
    probes_and_announces();
    answers();
    answers_one();
    gives_way();
    settles_ties();
    says_goodbye();
    survives_anything();
    return check_done("init_mdns");
}
