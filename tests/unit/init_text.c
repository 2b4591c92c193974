/* init_text.c - the small readers of init: tawny.conf, uevents, numbers at any address. */
#include "../../init/init.h"
#include "check.h"

#include <stdlib.h>

static int bad_lines[16], n_bad;

static void bad(void *ctx, int line, const char *what)
{
    (void)ctx;
    CHECK(what && *what);
    if (n_bad < 16)
        bad_lines[n_bad++] = line;
}

static const char *host(const char *text)
{
    static struct conf c;
    size_t len = strlen(text);
    char *exact = malloc(len ? len : 1);

    memcpy(exact, text, len);
    n_bad = 0;
    conf_defaults(&c);
    conf_parse(&c, exact, len, bad, NULL);
    free(exact);
    return c.hostname;
}

static const char *changed_at(enum conf_place where, const char *before, const char *after)
{
    static char out[CONF_CHANGED];
    struct conf a, b;

    conf_defaults(&a);
    conf_defaults(&b);
    conf_parse(&a, before, strlen(before), bad, NULL);
    conf_parse(&b, after, strlen(after), bad, NULL);
    conf_changed(&a, &b, where, out);
    return out;
}

static const char *changed(const char *before, const char *after)
{
    return changed_at(CONF_MACHINE, before, after);
}

/* What is only written otherwise is the same; an engine's setting is none of ours. */
static void sees_changes(void)
{
    static const char all[] = "hostname = a\naddress = eth0 192.0.2.7/24, 2001:db8::7/64\n"
                              "gateway = 192.0.2.1\ndns = 192.0.2.2\nntp = time.example\n"
                              "listen = [::]:8443\nhot-plug = no\n";
    static const char *const others[] = {
        "hostname = A # the same\naddress = \"eth0 192.0.2.7/24,2001:db8::7/64\"\n"
        "gateway = 192.0.2.1\ndns = 192.0.2.2\nntp = time.example:123\nlisten = *:8443\n"
        "hot-plug = no\nctx = 5\nlisten-http = \"\"\n",
        "hostname = a\naddress = eth0 192.0.2.7/24, 2001:db8::8/64\ngateway = 192.0.2.1\n"
        "dns = 192.0.2.2\nntp = time.example\nlisten = [::]:8443\nhot-plug = no\n",
        "hostname = a\naddress = eth1 192.0.2.7/24, 2001:db8::7/64\ngateway = 192.0.2.1\n"
        "dns = 192.0.2.2\nntp = time.example, b.example\nlisten = [::]:8443\nhot-plug = yes\n"};

    n_bad = 0;
    CHECK_TEXT(changed("", ""), "");
    CHECK_TEXT(changed("", all), "hostname, address, gateway, dns, ntp, listen, hot-plug");
    CHECK_TEXT(changed(all, ""), "hostname, address, gateway, dns, ntp, listen, hot-plug");
    CHECK_TEXT(changed(all, all), "");
    CHECK_TEXT(changed(all, others[0]), "");
    CHECK_TEXT(changed(all, others[1]), "address");
    CHECK_TEXT(changed(all, others[2]), "address, ntp, hot-plug");
    CHECK_TEXT(changed("ntp = no\n", ""), "ntp");
    CHECK_TEXT(changed("listen = [::]:443\n", ""), "listen"); // Ollama's port is announced too
    // a container has no clock to set, no drivers, no announcement; often not its own network
    CHECK_TEXT(changed_at(CONF_CONTAINER, "", all), "hostname, address, gateway, dns");
    CHECK_TEXT(changed_at(CONF_CONTAINER_WITH_NET, "", all), "hostname");
    CHECK(n_bad == 0);
}

/* The way out for who has sent a wrong address, and what the console says of it. */
static void the_file_alone(void)
{
    static const char sent[] =
        "listen = \"127.0.0.1:1\"\ndns = 192.0.2.2\naddress = 192.0.2.7/24\n",
                      none[] = "hostname = a\nctx = 5\n", no[] = "api-settings = no # for now\n",
                      yes[] = "api-settings = \"yes\"\n";
    struct conf c;
    char names[CONF_CHANGED];

    conf_defaults(&c);
    CHECK(c.api_settings);
    conf_parse(&c, no, strlen(no), bad, NULL);
    CHECK(!c.api_settings && c.hot_plug);
    conf_parse(&c, yes, strlen(yes), bad, NULL);
    CHECK(c.api_settings);
    conf_parse(&c, sent, strlen(sent), bad, NULL);
    conf_reach(&c, names);
    CHECK_TEXT(names, "address, listen");
    conf_parse(&c, none, strlen(none), bad, NULL);
    conf_reach(&c, names);
    CHECK_TEXT(names, "");
}

static void reads_settings(void)
{
    CHECK_TEXT(host(""), "tawny");
    CHECK_TEXT(host("hostname = Box-7\n"), "box-7");
    CHECK_TEXT(host("hostname=a"), "a");
    CHECK_TEXT(host("\xef\xbb\xbf\thostname =\tkitchen \r\nctx = 4096\r\n"), "kitchen");
    CHECK(n_bad == 0);
    CHECK_TEXT(host("# hostname = no\n\n  \nmodel = x = y\nhostname2 = z\n"), "tawny");
    CHECK(n_bad == 0);
    CHECK_TEXT(host("hostname = a\nrubbish\nhostname = b c\n= 3\nhostname = -x\nhostname =\n"),
               "a");
    CHECK(n_bad == 5 && bad_lines[0] == 2 && bad_lines[1] == 3 && bad_lines[2] == 4);
    CHECK(bad_lines[3] == 5 && bad_lines[4] == 6);
    CHECK_TEXT(host("hostname = -\nhostname = b\nhostname = c\n"), "b"); // the first that may be
    CHECK(n_bad == 1 && bad_lines[0] == 1);
    CHECK_TEXT(host("hostname = "
                    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"),
               "tawny");
    CHECK(n_bad == 1);
    CHECK_TEXT(host("hostname = a.b\n"), "tawny"); // a name, not a domain
    CHECK_TEXT(host("hostname = 123\nhostname = LOCALHOST\n"), "tawny");
    CHECK_TEXT(host("hostname = 1-2\nctx = 1\n"), "1-2");

    // as the engine reads it: a comment behind a blank, quotes
    CHECK_TEXT(host("hostname = box # in the kitchen\n"), "box");
    CHECK_TEXT(host("hostname = \"box\"\t# x\r\n"), "box");
    CHECK_TEXT(host("hostname = \"b\""), "b");
    CHECK(n_bad == 0);
    CHECK_TEXT(host("hostname = \"box\nhostname = \"box\" x\nhostname = # box\nhostname = b#c\n"
                    "hostname = \"\"\nhostname = \""),
               "tawny");
    CHECK(n_bad == 6);

    const char all[] = "hostname = \"kitchen\" # y\r\n# x\nmodel = builtin\nbad\n";
    for (size_t cut = 0; cut < sizeof(all); cut++) {
        char *part = strndup(all, cut);
        (void)host(part); // ASan watches the block behind it
        free(part);
    }
}

static void reads_uevents(void)
{
    static const char msg[] = "add@/devices/pci0000:00/0000:00:04.0\0ACTION=add\0"
                              "SUBSYSTEM=block\0DEVNAME=sda3\0DEVTYPE=partition\0MODALIAS=pci:v1\0"
                              "DISK_MEDIA_CHANGE=1\0";
    struct uevent u;

    CHECK(uevent_parse(&u, msg, sizeof(msg) - 1) == OK);
    CHECK_TEXT(u.action, "add");
    CHECK_TEXT(u.subsystem, "block");
    CHECK_TEXT(u.devname, "sda3");
    CHECK_TEXT(u.devtype, "partition");
    CHECK_TEXT(u.modalias, "pci:v1");
    CHECK_TEXT(u.media, "1");
    for (size_t cut = 0; cut < sizeof(msg) - 1; cut++) {
        char *part = malloc(cut ? cut : 1);
        memcpy(part, msg, cut);
        enum status s = uevent_parse(&u, part, cut);
        CHECK(s == OK || s == BAD_INPUT);
        if (cut && part[cut - 1] != 0)
            CHECK(s == BAD_INPUT); // a string that does not end
        free(part);
    }
    CHECK(uevent_parse(&u, "libudev\0\0", 9) == BAD_INPUT); // no ACTION
}

static void reads_numbers(void)
{
    uint8_t bytes[10] = {9, 1, 2, 3, 4, 5, 6, 7, 8, 9};

    CHECK(le_get(bytes + 1, 1) == 1 && le_get(bytes + 1, 3) == 0x030201);
    CHECK(le_get(bytes + 1, 8) == 0x0807060504030201 && be_get(bytes + 1, 8) == 0x0102030405060708);
    CHECK(be_get(bytes + 1, 2) == 0x0102 && be_get(bytes + 3, 4) == 0x03040506);
    for (int n = 1; n <= 8; n++) {
        uint64_t v = 0xf1e2d3c4b5a69788 >> (64 - 8 * n);
        memset(bytes, 9, sizeof(bytes));
        le_put(bytes + 1, n, v);
        CHECK(le_get(bytes + 1, n) == v && bytes[0] == 9 && bytes[n + 1] == 9);
        be_put(bytes + 1, n, v);
        CHECK(be_get(bytes + 1, n) == v && bytes[0] == 9 && bytes[n + 1] == 9);
        CHECK(bytes[1] == v >> (8 * n - 8));
    }
}

int main(void)
{
    reads_settings();
    sees_changes();
    the_file_alone();
    reads_uevents();
    reads_numbers();
    return check_done("init_text");
}
