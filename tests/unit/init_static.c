/* init_static.c - fixed addresses and time servers of tawny.conf, read by init. */
#include "../../init/init.h"
#include "check.h"
#include "static_lines.h"

#include <arpa/inet.h>
#include <stdlib.h>

static struct net_static s;
static struct ntp_setting ntp;
static struct err err;

static enum status read_value(const char *key, const char *value, size_t n)
{
    char *exact = malloc(n ? n : 1);
    enum status status;

    memcpy(exact, value, n);
    status = strcmp(key, "ntp") == 0 ? ntp_read(&ntp, exact, n, &err)
                                     : static_read(&s,
                                                   *key == 'a'   ? STATIC_ADDRESS
                                                   : *key == 'g' ? STATIC_GATEWAY
                                                                 : STATIC_DNS,
                                                   exact, n, &err);
    free(exact);
    return status;
}

static bool is(const struct static_entry *e, const char *addr, unsigned bits)
{
    uint8_t a[16];

    return inet_pton(e->six ? AF_INET6 : AF_INET, addr, a) == 1 && e->bits == bits &&
           memcmp(a, e->addr, e->six ? 16 : 4) == 0;
}

static void reads_lines(void)
{
    for (size_t i = 0; i < N_STATIC_LINES; i++) {
        const struct static_line *l = &static_lines[i];
        struct net_static before;
        struct ntp_setting ntp_before;

        s = (struct net_static){.address.n = 3};
        ntp = (struct ntp_setting){.off = true};
        before = s;
        ntp_before = ntp;
        err.text[0] = 0;
        enum status status = read_value(l->key, l->value, strlen(l->value));
        CHECK(status == (l->good ? OK : BAD_INPUT));
        if ((status == OK) != l->good)
            fprintf(stderr, "%s = %s: %s\n", l->key, l->value, err.text);
        if (status != OK) // and then nothing has changed, and it is told
            CHECK(memcmp(&s, &before, sizeof(s)) == 0 && err.text[0] &&
                  memcmp(&ntp, &ntp_before, sizeof(ntp)) == 0);
        for (size_t cut = 0; cut < strlen(l->value); cut++)
            (void)read_value(l->key, l->value, cut); // ASan watches the block behind it
    }
}

static void takes_apart(void)
{
    static const char text[] = "eth0 192.168.1.50/24, 52:54:00:12:34:aF fd00::50/64,10.0.0.1/8";
    struct conf c;

    CHECK(read_value("address", text, strlen(text)) == OK && s.address.n == 3);
    CHECK_TEXT(s.address.entry[0].card, "eth0");
    CHECK(!s.address.entry[0].six && is(&s.address.entry[0], "192.168.1.50", 24));
    CHECK(s.address.entry[1].six && is(&s.address.entry[1], "fd00::50", 64));
    CHECK(memcmp(s.address.entry[1].mac, "\x52\x54\x00\x12\x34\xaf", 6) == 0);
    CHECK(!s.address.entry[2].card[0] && is(&s.address.entry[2], "10.0.0.1", 8));
    CHECK(read_value("ntp", "[fd00::1]:9123, time.example", 28) == OK && ntp.n == 2 && !ntp.off);
    CHECK_TEXT(ntp.server[0].host, "fd00::1");
    CHECK_TEXT(ntp.server[1].host, "time.example");
    CHECK(ntp.server[0].port == 9123 && ntp.server[1].port == 123);

    static const char file[] = "address = \"10.0.0.5/8\" # fixed\ngateway = 10.0.0.1\n"
                               "dns=10.0.0.1,10.0.0.2\nntp = off\n";
    conf_defaults(&c);
    conf_parse(&c, file, strlen(file), NULL, NULL); // no line is bad
    CHECK(c.net.address.n == 1 && is(&c.net.address.entry[0], "10.0.0.5", 8));
    CHECK(c.net.gateway.n == 1 && c.net.dns.n == 2 && c.ntp.off);
}

int main(void)
{
    reads_lines();
    takes_apart();
    return check_done("init_static");
}
