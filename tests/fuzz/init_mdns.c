/* init_mdns.c - fuzz target: what anybody on the link sends to port 5353 (init/dns.c, mdns.c), one
 * message after the other, while time goes by.
 *
 * Input: steps of one byte and what it asks for.
 *   0..1  time goes by: 100 ms, 10 s
 *   2     the addresses change
 *   3     a message to us alone, from a resolver of the old kind: two bytes of length, the message
 *   else  a message to all: the same
 * Whatever comes, what is sent can be read, names stay names of hosts, and time never stands still.
 * Kept inputs: init_mdns/.
 */
#include "../../init/init.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void sent(void *ctx, int ifindex, const struct mdns_from *to, const uint8_t *msg, size_t len)
{
    struct dns_reader r;
    struct dns_record rec;
    (void)ctx;
    (void)to;
    if (ifindex != 2 && ifindex != 5)
        abort();
    if (dns_open(&r, msg, len) != OK)
        abort();
    while (dns_question(&r, &rec))
        continue;
    while (dns_next(&r, &rec))
        if (rec.n_data == 0)
            abort();
    if (r.bad || r.at != len)
        abort();
}

static void name_is_good(const struct mdns *m)
{
    char out[64];
    if (!conf_hostname(m->name, strnlen(m->name, sizeof(m->name)), out))
        abort();
}

static void run(struct mdns *m, int64_t *now, int64_t ms)
{
    int64_t end = *now + ms;
    for (int i = 0; i < 4096; i++) {
        int64_t due = mdns_tick(m, *now);
        if (due <= *now)
            abort(); // it asks to be called at once, again and again
        if (due > end) {
            *now = end;
            return;
        }
        *now = due;
    }
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mdns_table t = {.n = 2, .hostname = "tawny", .https = 443, .ollama = 11434};
    struct mdns *m = calloc(1, sizeof(*m));
    int64_t now = 100000;
    if (!m)
        abort();
    t.link[0] = (struct mdns_link){.ifindex = 2, .four = 0x0500000a, .mask = 0xffffff, .n_six = 2};
    t.link[1] = (struct mdns_link){.ifindex = 5, .n_six = 1};
    t.link[0].six[0][0] = t.link[0].six[1][1] = t.link[1].six[0][0] = 0xfd;
    mdns_start(m, 7);
    m->send = sent;
    mdns_set(m, &t, now);
    for (size_t at = 0; at < size;) {
        uint8_t op = data[at++] % 8;
        if (op < 2) {
            run(m, &now, op ? 10000 : 100);
            continue;
        }
        if (op == 2) {
            t.link[0].four += 0x01000000;
            mdns_set(m, &t, now);
            continue;
        }
        if (size - at < 2)
            break;
        size_t n = data[at] | (size_t)data[at + 1] << 8;
        at += 2;
        n = n > size - at ? size - at : n;
        uint8_t *exact = malloc(n ? n : 1);
        if (!exact)
            abort();
        if (n)
            memcpy(exact, data + at, n);
        at += n;
        struct mdns_from from = {.ifindex = op & 1 ? 2 : 5, .four = 0x0900000a, .port = 5353};
        from.six = op & 1;
        from.near = true;
        if (op == 3) {
            from.unicast = true;
            from.port = 40000;
        }
        mdns_receive(m, &from, exact, n, now);
        free(exact);
        name_is_good(m);
    }
    run(m, &now, 100000);
    mdns_goodbye(m);
    free(m);
    return 0;
}
