/* ports.c - the engine's listening sockets: opened here, kept over its restarts.
 *
 * The engine has no right to ports below 1024, and whoever connects while it starts again waits in
 * the kernel's queue instead of being refused. Each engine gets them as systemd hands sockets over
 * (become.c); its own reading of `listen` and `listen-http` decides which it takes
 * (engine/net/handed.c), so what is read here must mean the same there (engine/net/address.c,
 * engine/verb/start.c), and says which it took: the others are closed until the next one starts.
 * An address that this machine has not (DHCP has not given it yet) is listened on all the same, and
 * answered at once it is there; until then it is told. Where the kernel refuses one, the engine
 * goes back to its defaults, and so do we: all of what is asked for, or that. A machine that has
 * none of the addresses of `listen` for ten minutes is reached by nobody who could set it right:
 * the engine starts once more, and from then on the kernel takes only addresses that are there.
 */
#include "container.h"
#include "ports.h"
#include "told.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ENTRY 79      // bytes of an entry
#define QUEUE 1024    // as boot/systemd/tawny.socket
#define LOOK_MS 10000 // how often it is looked whether the addresses are there
#define UNREACHED_MS (10 * 60000)

static struct port_list asked, plain; // of `listen`, of `listen-http`
static int64_t look_ms;               // the next time; 0: none is waited for
static int64_t unreached_ms;          // since when no address of `listen` is there; 0: one is
static bool only_here;                // what is not there is refused
static bool again;                    // the engine is to start once more
static bool heard;                    // this engine has said what it serves
static struct {
    struct port at;
    int fd;
} opened[PORTS_MOST];
static int n_opened;

/* ---- reading ---- */

static bool read_port(const char *text, uint16_t *port)
{
    size_t n = strspn(text, "0123456789");
    unsigned long value = 0;

    for (size_t i = 0; i < n && i < 6; i++)
        value = value * 10 + (unsigned long)(text[i] - '0');
    *port = (uint16_t)value;
    return n >= 1 && n <= 5 && !text[n] && value <= 65535;
}

static bool read_host(struct port *out, const char *host)
{
    char inside[ENTRY + 1];
    size_t n = strlen(host);

    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, out->addr) == 1)
        return true;
    out->six = true;
    if (strcmp(host, "*") == 0)
        return true;
    if (n < 3 || host[0] != '[' || host[n - 1] != ']')
        return false;
    snprintf(inside, sizeof(inside), "%.*s", (int)n - 2, host + 1);
    return inet_pton(AF_INET6, inside, out->addr) == 1;
}

static bool is_any(const struct port *p)
{
    static const uint8_t none[16];
    return memcmp(p->addr, none, p->six ? 16 : 4) == 0;
}

static bool same_host(const struct port *a, const struct port *b)
{
    return a->six == b->six && memcmp(a->addr, b->addr, sizeof(a->addr)) == 0;
}

static bool same(const struct port *a, const struct port *b)
{
    return same_host(a, b) && a->port == b->port;
}

bool ports_read(struct port_list *out, const char *text)
{
    struct port_list l = {0};

    for (const char *at = text; *at; at += strspn(at, ", \t")) {
        char entry[ENTRY + 1], *colon;
        struct port p = {0};
        size_t n = strcspn(at, ", \t");
        if (n > ENTRY || l.n == PORTS_MOST)
            return false;
        snprintf(entry, sizeof(entry), "%.*s", (int)n, at);
        at += n;
        if (!n)
            continue;
        colon = strrchr(entry, ':');
        if (!colon || !read_port(colon + 1, &p.port))
            return false;
        *colon = 0;
        if (!read_host(&p, entry))
            return false;
        l.one[l.n++] = p;
    }
    if (*text && !l.n)
        return false;
    *out = l;
    return true;
}

void ports_plain(struct port_list *out, const struct port_list *listen)
{
    out->n = 0;
    for (int i = 0; i < listen->n; i++) {
        struct port p = listen->one[i];
        bool alone = p.six && is_any(&p), known = p.port == 80;
        p.port = 80;
        if (alone)
            out->n = 0;
        for (int k = 0; k < out->n; k++)
            known = known || same_host(&out->one[k], &p);
        if (!known)
            out->one[out->n++] = p;
        if (alone)
            return;
    }
}

static void defaults(struct port_list *https, struct port_list *http)
{
    struct conf c;

    conf_defaults(&c);
    (void)ports_read(https, c.listen);
    ports_plain(http, https);
}

void ports_want(const struct conf *c)
{
    if (!ports_read(&asked, c->listen))
        defaults(&asked, &plain);
    if (strcmp(c->listen_http, "auto") == 0 || !ports_read(&plain, c->listen_http))
        ports_plain(&plain, &asked);
}

/* ---- opening ---- */

static bool in_list(const struct port_list *l, const struct port *p)
{
    for (int i = 0; i < l->n; i++)
        if (same(&l->one[i], p))
            return true;
    return false;
}

static bool is_open(const struct port *p)
{
    for (int i = 0; i < n_opened; i++)
        if (same(&opened[i].at, p))
            return true;
    return false;
}

static int listen_to(const struct port *p)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(p->port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(p->port)};
    int on = 1, only_six = !is_any(p);

    memcpy(&six.sin6_addr, p->addr, 16);
    memcpy(&four.sin_addr, p->addr, 4);
    int fd = socket(p->six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (p->six)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_six, sizeof(only_six));
    if (!only_here)
        setsockopt(fd, SOL_IP, IP_FREEBIND, &on, sizeof(on)); // of both families
    if ((p->six ? bind(fd, (const struct sockaddr *)(const void *)&six, sizeof(six))
                : bind(fd, (const struct sockaddr *)(const void *)&four, sizeof(four))) == 0 &&
        listen(fd, QUEUE) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

#define PORT_TEXT (INET6_ADDRSTRLEN + 10)

static const char *port_text(char out[PORT_TEXT], const struct port *p)
{
    char text[INET6_ADDRSTRLEN] = "?";

    inet_ntop(p->six ? AF_INET6 : AF_INET, p->addr, text, sizeof(text));
    snprintf(out, PORT_TEXT, "%s%s%s:%u", p->six ? "[" : "", text, p->six ? "]" : "", p->port);
    return out;
}

static void open_failed(const struct port *p, int why)
{
    char text[PORT_TEXT];

    complain("ports", "%s cannot be listened on: %s%s", port_text(text, p), strerror(why),
             why == EACCES && in_container()
                 ? " (Podman, Docker: --cap-add NET_BIND_SERVICE, --sysctl "
                   "net.ipv4.ip_unprivileged_port_start=0, or higher ports in `listen`)"
                 : "");
}

/* Port 0 is the kernel's to choose, for the engine alone. */
static bool open_one(const struct port *p)
{
    struct port four = {.port = p->port};

    if (p->port == 0 || is_open(p))
        return true;
    if (n_opened == PORTS_MOST) {
        open_failed(p, ENFILE);
        return false;
    }
    int fd = listen_to(p);
    if (fd < 0 && p->six && is_any(p) && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
        fd = listen_to(&four); // no IPv6 in this kernel
    if (fd < 0) {
        open_failed(p, errno);
        return false;
    }
    opened[n_opened].at = *p;
    opened[n_opened++].fd = fd;
    return true;
}

static bool open_all(const struct port_list *l)
{
    bool good = true;

    for (int i = 0; i < l->n; i++)
        good = open_one(&l->one[i]) && good;
    return good;
}

/* Whoever has a duplicate can end the listening for all. */
static bool listens(int fd)
{
    int yes = 0;
    socklen_t n = sizeof(yes);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &n) == 0 && yes;
}

/* All but those of the two lists that still listen; NULL: an empty list. */
static void close_but(const struct port_list *a, const struct port_list *b)
{
    int kept = 0;

    for (int i = 0; i < n_opened; i++)
        if (listens(opened[i].fd) &&
            ((a && in_list(a, &opened[i].at)) || (b && in_list(b, &opened[i].at))))
            opened[kept++] = opened[i];
        else
            close(opened[i].fd);
    n_opened = kept;
}

int ports_open(int fds[PORTS_MOST])
{
    struct port_list https, http;

    again = heard = false;
    close_but(&asked, &plain);
    if (!open_all(&asked)) {
        defaults(&https, &http);
        close_but(&https, &http);
        (void)open_all(&https);
        (void)open_all(&http);
    } else if (!open_all(&plain)) {
        close_but(&asked, NULL);
    }
    for (int i = 0; i < n_opened; i++) {
        fds[i] = opened[i].fd;
        if (!look_ms && !is_any(&opened[i].at))
            look_ms = now_ms() + LOOK_MS;
    }
    return n_opened;
}

static bool read_served(bool served[PORTS_MOST], const char *list, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t number = 0, from = ++i;
        for (; i < len && list[i] >= '0' && list[i] <= '9' && number < PORTS_MOST; i++)
            number = number * 10 + (size_t)(list[i] - '0');
        if (list[from - 1] != ' ' || i == from || number >= PORTS_MOST)
            return false;
        served[number] = true;
    }
    return true;
}

void ports_served(const char *list, size_t len)
{
    bool served[PORTS_MOST] = {false};
    char text[PORT_TEXT];
    int kept = 0;

    if (heard || !read_served(served, list, len))
        return;
    heard = true;
    for (int i = 0; i < n_opened; i++) {
        if (served[i]) {
            opened[kept++] = opened[i];
            continue;
        }
        complain("ports", "%s is closed: the engine does not listen there",
                 port_text(text, &opened[i].at));
        close(opened[i].fd);
    }
    n_opened = kept;
}

/* ---- addresses that are still to come ---- */

static bool is_here(const struct ifaddrs *all, const struct port *p)
{
    bool here = is_any(p) || (!p->six && p->addr[0] == 127); // all of that net is

    for (const struct ifaddrs *a = all; a && !here; a = a->ifa_next) {
        const struct sockaddr_in *four = (const void *)a->ifa_addr;
        const struct sockaddr_in6 *six = (const void *)a->ifa_addr;
        if (four && four->sin_family == (p->six ? AF_INET6 : AF_INET))
            here = p->six ? memcmp(&six->sin6_addr, p->addr, 16) == 0
                          : memcmp(&four->sin_addr, p->addr, 4) == 0;
    }
    return here;
}

/* Those that are not here, parted by ", "; false: nobody knows. */
static bool look_for(char *out, size_t cap, bool *reached)
{
    struct ifaddrs *all;
    char text[PORT_TEXT];
    size_t n = 0;
    int n_asked = 0, n_here = 0;

    if (getifaddrs(&all))
        return false;
    for (int i = 0; i < n_opened; i++) {
        bool here = is_here(all, &opened[i].at), is_asked = in_list(&asked, &opened[i].at);
        n_asked += is_asked;
        n_here += is_asked && here;
        if (!here && n < cap)
            n += (size_t)snprintf(out + n, cap - n, "%s%s", n ? ", " : "",
                                  port_text(text, &opened[i].at));
    }
    freeifaddrs(all);
    *reached = n_here || !n_asked;
    return true;
}

/* In a container the host's owner reads and writes the settings, whoever reaches it. */
static void unreached(int64_t now)
{
    if (!unreached_ms)
        unreached_ms = now;
    if (in_container() || now - unreached_ms < UNREACHED_MS)
        return;
    complain("ports", "for 10 minutes this machine has had none of the addresses that `listen` "
                      "names: the engine starts again, and listens as by default if none is here");
    unreached_ms = 0;
    only_here = again = true;
    ports_close(); // the engine's own end with it
}

static void tell_waits(const char *text, bool waits)
{
    static char before[400];

    if (strcmp(text, before) == 0)
        return;
    if (text[0])
        complain("ports", "nobody is answered at %s until this machine has that address", text);
    else if (waits)
        say("ports", "this machine has every address that `listen` names now");
    snprintf(before, sizeof(before), "%s", text);
    told_set(TOLD_LISTEN_WAITS, text);
}

int64_t ports_tick(int64_t now)
{
    char text[400] = "";
    bool waits = false, reached = true;

    if (!look_ms)
        return INT64_MAX;
    if (now < look_ms)
        return look_ms;
    for (int i = 0; i < n_opened; i++)
        waits = waits || !is_any(&opened[i].at);
    look_ms = waits ? now + LOOK_MS : 0;
    if (!waits || look_for(text, sizeof(text), &reached)) {
        tell_waits(text, waits);
        if (reached)
            unreached_ms = 0;
        else
            unreached(now);
    }
    return waits ? look_ms : INT64_MAX;
}

bool ports_again(void)
{
    return again;
}

void ports_close(void)
{
    close_but(NULL, NULL);
}
