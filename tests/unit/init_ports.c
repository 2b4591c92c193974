/* init_ports.c - the engine's listening sockets: read as the engine reads them, opened once, kept
 * from one engine to the next. The kernel's answers to bind are this test's, except for 127.0.0.1.
 */
#include "../../init/ports.h"
#include "../../init/told.h"
#include "check.h"
#include "listen_lines.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *refused; // addresses that bind refuses
static char bound[400];     // what was asked for, in order

int __real_bind(int fd, const struct sockaddr *at, socklen_t n);
int __wrap_bind(int fd, const struct sockaddr *at, socklen_t n);
int __real_listen(int fd, int queue);
int __wrap_listen(int fd, int queue);
int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *n);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *n);
int __real_getifaddrs(struct ifaddrs **out);
int __wrap_getifaddrs(struct ifaddrs **out);
void __wrap_say(const char *step, const char *format, ...);
void __wrap_complain(const char *step, const char *format, ...);

int __wrap_bind(int fd, const struct sockaddr *at, socklen_t n)
{
    char text[64], whole[80];
    const struct sockaddr_in *four = (const void *)at;
    const struct sockaddr_in6 *six = (const void *)at;
    bool is_six = at->sa_family == AF_INET6;
    size_t used = strlen(bound);

    inet_ntop(at->sa_family, is_six ? (const void *)&six->sin6_addr : (const void *)&four->sin_addr,
              text, sizeof(text));
    snprintf(whole, sizeof(whole), "%s:%u", text, ntohs(is_six ? six->sin6_port : four->sin_port));
    snprintf(bound + used, sizeof(bound) - used, "%s%s", used ? " " : "", whole);
    if (refused && strstr(refused, whole)) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    bool real = strcmp(text, "127.0.0.1") == 0 || strcmp(text, "192.0.2.77") == 0;
    return real ? __real_bind(fd, at, n) : 0;
}

int __wrap_listen(int fd, int queue)
{
    struct sockaddr_in at = {0};
    socklen_t n = sizeof(at);

    if (getsockname(fd, (struct sockaddr *)(void *)&at, &n) == 0 && at.sin_family == AF_INET &&
        at.sin_port)
        return __real_listen(fd, queue);
    return 0;
}

/* Those that are not bound listen as well as those that are. */
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *n)
{
    struct sockaddr_in at = {0};
    socklen_t n_at = sizeof(at);

    if (getsockname(fd, (struct sockaddr *)(void *)&at, &n_at) == 0 &&
        (at.sin_family != AF_INET || !at.sin_port)) {
        *(int *)value = 1;
        return 0;
    }
    return __real_getsockopt(fd, level, name, value, n);
}

static bool nobody_knows; // which addresses this machine has

int __wrap_getifaddrs(struct ifaddrs **out)
{
    return nobody_knows ? -1 : __real_getifaddrs(out);
}

static int n_complaints, n_said;

void __wrap_say(const char *step, const char *format, ...)
{
    (void)step;
    (void)format;
    n_said++;
}

void __wrap_complain(const char *step, const char *format, ...)
{
    (void)step;
    (void)format;
    n_complaints++;
}

/* "4 7f000001 443": of each entry of the list the kind, the first four bytes, the port. */
static const char *shown(const struct port_list *l)
{
    static char out[600];
    size_t n = 0;

    out[0] = 0;
    for (int i = 0; i < l->n; i++)
        n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%d %02x%02x%02x%02x %u", i ? ", " : "",
                              l->one[i].six ? 6 : 4, l->one[i].addr[0], l->one[i].addr[1],
                              l->one[i].addr[2], l->one[i].addr[3], l->one[i].port);
    return out;
}

static void test_reading(void)
{
    for (size_t i = 0; i < LISTEN_LINES; i++) {
        struct port_list l = {.n = -1}, plain;
        bool good = ports_read(&l, listen_lines[i].listen);
        if (!CHECK(good == (listen_lines[i].read != NULL)))
            fprintf(stderr, "    of \"%s\"\n", listen_lines[i].listen);
        CHECK(good || l.n == -1);
        if (good && listen_lines[i].read) {
            CHECK_TEXT(shown(&l), listen_lines[i].read);
            ports_plain(&plain, &l);
            CHECK_TEXT(shown(&plain), listen_lines[i].plain);
        }
    }
}

static int want(const char *text, int fds[PORTS_MOST])
{
    struct conf c;

    conf_defaults(&c);
    conf_parse(&c, text, strlen(text), NULL, NULL);
    ports_want(&c);
    bound[0] = 0;
    n_complaints = 0;
    return ports_open(fds);
}

static void test_opening(void)
{
    int fds[PORTS_MOST], again[PORTS_MOST];

    CHECK(want("", fds) == 3 && n_complaints == 0);
    CHECK_TEXT(bound, ":::443 :::11434 :::80");
    bound[0] = 0;
    CHECK(ports_open(again) == 3 && memcmp(fds, again, 3 * sizeof(int)) == 0);
    CHECK_TEXT(bound, ""); // they are kept

    CHECK(want("listen = [::]:443\nlisten-http = \"\"\n", again) == 1 && again[0] == fds[0]);
    CHECK_TEXT(bound, "");
    CHECK(want("listen = rubbish\n", fds) == 3 && fds[0] == again[0]);
    CHECK_TEXT(bound, ":::11434 :::80");
    CHECK(want("listen = 192.0.2.9:0\nlisten-http = rubbish\n", fds) == 1);
    CHECK_TEXT(bound, "192.0.2.9:80"); // the port 0 is the engine's to open

    // an address that is not there: as the engine does, all as by default; once it is there, it
    refused = "192.0.2.7:443";
    CHECK(want("listen = 192.0.2.8:443, 192.0.2.7:443\n", fds) == 3 && n_complaints == 1);
    CHECK_TEXT(bound, "192.0.2.8:443 192.0.2.7:443 :::443 :::11434 :::80");
    refused = NULL;
    bound[0] = 0;
    CHECK(ports_open(fds) == 4);
    CHECK_TEXT(bound, "192.0.2.8:443 192.0.2.7:443 192.0.2.8:80 192.0.2.7:80");

    // of two lines the first one that may be so counts, as in the engine
    CHECK(want("listen =\nlisten = [::]:443\nlisten = 192.0.2.7:443\nlisten-http = \"\"\n"
               "listen-http = auto\n",
               fds) == 1);
    CHECK_TEXT(bound, ":::443");

    // an address may come later: the kernel itself takes it
    CHECK(want("listen = 192.0.2.77:20443\nlisten-http = \"\"\n", fds) == 1 && n_complaints == 0);

    // of plain HTTP alone: the others stay
    refused = "192.0.2.6:80";
    CHECK(want("listen = 192.0.2.6:443\n", fds) == 1 && n_complaints == 1);
    refused = ":::443 :::11434 :::80"; // no IPv6
    CHECK(want("", fds) == 3 && n_complaints == 0);
    CHECK_TEXT(bound, ":::443 0.0.0.0:443 :::11434 0.0.0.0:11434 :::80 0.0.0.0:80");
    refused = NULL;
    ports_close();
}

static const char *told(void)
{
    static char text[2000];

    (void)told_text(text, sizeof(text));
    return text;
}

/* Who says what it waits for: the console once, the file for /health as long as it does. */
static void test_addresses_to_come(void)
{
    int fds[PORTS_MOST];
    int64_t now = now_ms();

    CHECK(ports_tick(now + 60000) == INT64_MAX);
    CHECK_TEXT(told(), "");
    CHECK(want("listen = 192.0.2.77:20443, [2001:db8::7]:443, 127.0.0.1:20446\n"
               "listen-http = \"\"\n",
               fds) == 3);
    CHECK(ports_tick(now) > now && !told()[0]); // DHCP has its time first
    now = now_ms() + 11000;
    CHECK(ports_tick(now) == now + 10000 && n_complaints == 1);
    CHECK_TEXT(told(), "listen_waits=192.0.2.77:20443, [2001:db8::7]:443\n");
    nobody_knows = true;
    CHECK(ports_tick(now + 10000) == now + 20000 && n_complaints == 1 && told()[0]);
    nobody_knows = false;
    CHECK(want("listen = 127.0.0.1:20446\nlisten-http = \"\"\n", fds) == 1);
    CHECK(ports_tick(now + 20000) == now + 30000 && !told()[0] && n_complaints == 0);
    CHECK(n_said == 1 && want("", fds) == 3 && ports_tick(now + 30000) == INT64_MAX);
    CHECK(ports_tick(now + 3600000) == INT64_MAX && !ports_again());
}

/* Those that are waited for are closed: nobody has come. */
static void test_waits_no_more(void)
{
    int fds[PORTS_MOST];
    int64_t now;

    for (int closed = 0; closed < 2; closed++) {
        CHECK(want("listen = 192.0.2.77:20443, [::]:20444\nlisten-http = \"\"\n", fds) == 2);
        now = now_ms() + 11000;
        n_said = 0;
        CHECK(ports_tick(now) == now + 10000 && told()[0]);
        if (closed)
            ports_close();
        else
            ports_served(" 1", 2);
        nobody_knows = true; // where none is waited for it is not asked
        CHECK(ports_tick(now + 10000) == INT64_MAX && !told()[0] && n_said == 0);
        nobody_knows = false;
    }
}

/* One address of `listen` that is there is enough; with none the defaults are opened in the end. */
static void test_unreached(void)
{
    static const char two[] = "listen = 192.0.2.77:20443, 127.0.0.1:20446\n",
                      none[] = "listen = 192.0.2.77:20443, [2001:db8::7]:443\n"
                               "listen-http = 127.0.0.1:20447\n";
    int fds[PORTS_MOST];

    refused = "192.0.2.77:80 127.0.0.1:80";
    CHECK(want(two, fds) == 2);
    int64_t now = now_ms() + 11000;
    CHECK(ports_tick(now) == now + 10000 && ports_tick(now + 700000) == now + 710000);
    CHECK(!ports_again());
    refused = NULL;

    CHECK(want(none, fds) == 3);
    now += 710000;
    CHECK(ports_tick(now) == now + 10000 && !ports_again());
    CHECK(ports_tick(now + 590000) == now + 600000 && !ports_again());
    CHECK(want(two, fds) > 0); // one comes in between: it is counted anew
    CHECK(ports_tick(now + 600000) == now + 610000 && want(none, fds) == 3);
    now += 610000;
    CHECK(ports_tick(now) == now + 10000 && ports_tick(now + 599999) == now + 609999);
    CHECK(!ports_again() && n_complaints == 1); // that it waits
    CHECK(ports_tick(now + 609999) == now + 619999 && ports_again() && n_complaints == 2);
    CHECK(fcntl(fds[0], F_GETFD) == -1);
    CHECK(ports_tick(now + 619999) == INT64_MAX && !told()[0]);

    CHECK(want(none, fds) == 3 && !ports_again() && n_complaints == 1);
    CHECK_TEXT(bound, "192.0.2.77:20443 2001:db8::7:443 :::443 :::11434 :::80");
    CHECK(ports_tick(now + 2000000) == INT64_MAX && !told()[0] && !ports_again());
    CHECK(want("listen = 127.0.0.1:20446\nlisten-http = \"\"\n", fds) == 1); // that is there
    CHECK_TEXT(bound, "127.0.0.1:20446");
    ports_close();
}

/* What the engine does not listen on is refused, and opened anew for the next one. */
static void test_served(void)
{
    static const char *const none[] = {
        "0", " ", " 0 x", " 16", " 0  1", " 99999999999999999999", " -1", " 1\n"};
    int fds[PORTS_MOST], again[PORTS_MOST];

    CHECK(want("", fds) == 3);
    for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
        ports_served(none[i], strlen(none[i]));
    CHECK(n_complaints == 0 && ports_open(again) == 3 && memcmp(fds, again, 3 * sizeof(int)) == 0);
    ports_served(" 2 0", 4);
    CHECK(n_complaints == 1 && fcntl(fds[1], F_GETFD) == -1);
    CHECK(fcntl(fds[0], F_GETFD) >= 0 && fcntl(fds[2], F_GETFD) >= 0);
    ports_served(" 0", 2); // its numbers are those of its start: once
    CHECK(n_complaints == 1 && fcntl(fds[2], F_GETFD) >= 0);
    bound[0] = 0;
    CHECK(ports_open(again) == 3);
    CHECK_TEXT(bound, ":::11434");
    ports_served("", 0);
    CHECK(n_complaints == 4);
    bound[0] = 0;
    CHECK(ports_open(again) == 3);
    CHECK_TEXT(bound, ":::443 :::11434 :::80");
    ports_close();
}

/* Whoever connects between two engines is answered by the second. */
static void test_waiting(void)
{
    int fds[PORTS_MOST], n = 0;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    char text[80], got = 0;

    // a port that the kernel gives to nobody who asks for any
    for (int i = 0; i < 100 && (n != 1 || n_complaints); i++) {
        at.sin_port = htons((uint16_t)(20500 + (getpid() + i) % 5000));
        snprintf(text, sizeof(text), "listen = 127.0.0.1:%u\nlisten-http = \"\"\n",
                 ntohs(at.sin_port));
        n = want(text, fds);
    }
    CHECK(n == 1 && n_complaints == 0);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(client, (const struct sockaddr *)(const void *)&at, sizeof(at)) == 0);
    CHECK(ports_open(fds) == 1);
    struct pollfd wait = {fds[0], POLLIN, 0};
    CHECK(poll(&wait, 1, 5000) == 1);
    int server = accept(fds[0], NULL, NULL);
    CHECK(server >= 0 && write(server, "x", 1) == 1 && read(client, &got, 1) == 1 && got == 'x');
    close(server);
    close(client);

    // an engine has ended it for all: it is opened again
    CHECK(shutdown(fds[0], SHUT_RD) == 0);
    client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(client, (const struct sockaddr *)(const void *)&at, sizeof(at)) == -1);
    close(client);
    CHECK(ports_open(fds) == 1);
    client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(client, (const struct sockaddr *)(const void *)&at, sizeof(at)) == 0);
    close(client);
    ports_close();
    client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(client, (const struct sockaddr *)(const void *)&at, sizeof(at)) == -1 &&
          errno == ECONNREFUSED);
    close(client);
}

int main(void)
{
    test_reading();
    test_opening();
    test_addresses_to_come();
    test_served();
    test_waiting();
    test_waits_no_more();
    test_unreached(); // last: of this run the kernel refuses then what is not there
    return check_done("init_ports");
}
