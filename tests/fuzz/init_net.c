/* init_net.c - fuzz target: what reaches PID 1's network floor (init/net.c, init/netlink.c):
 * messages of the kernel about links, addresses and what routers advertise, and packets of anybody
 * in the LAN.
 *
 * The sockets are stood in for (WRAP_init_net in the Makefile): a recv on any of ours gets the next
 * bytes of the input. Input: byte 0 says what the requests to the kernel answer, and whether
 * tawny.conf has addresses; then steps of one
 * byte:
 *   0..1  the clock goes on by 10 or 1000 s, timers run
 *   2..4  a message of the kernel: two bytes of length, and so many bytes
 *   5..7  a packet on each socket that a link has open: the same
 * What gets into resolv.conf is words and numbers. Kept inputs: init_net/.
 */
#include "../../init/init.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST_FD = 1000, MOST_FDS = 64, NICS = 9 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    bool open, netlink, bound;
    void (*ready)(int fd, void *ctx);
    void *ctx;
} fds[MOST_FDS];
static const uint8_t *next_message; // what the next recv gives, once
static size_t n_next;
static uint32_t sequence; // of the request that waits for the kernel's answer
static bool request_waits, refuse;
static int64_t clock_now = 1000;

static bool ours(int fd)
{
    return fd >= FIRST_FD && fd < FIRST_FD + MOST_FDS;
}

/* ---- in place of libc and of other files of init/ ---- */

int __wrap_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol)
{
    (void)type;
    (void)protocol;
    for (int i = 0; i < MOST_FDS; i++) {
        if (!fds[i].open) {
            memset(&fds[i], 0, sizeof(fds[i]));
            fds[i].open = true;
            fds[i].netlink = domain == AF_NETLINK;
            return FIRST_FD + i;
        }
    }
    abort(); // they are never closed
}

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    if (!ours(fd))
        return __real_close(fd);
    if (!fds[fd - FIRST_FD].open)
        abort(); // twice
    fds[fd - FIRST_FD].open = false;
    return 0;
}

int __wrap_bind(int fd, const struct sockaddr *at, socklen_t n);
int __wrap_bind(int fd, const struct sockaddr *at, socklen_t n)
{
    (void)at;
    (void)n;
    fds[fd - FIRST_FD].bound = true;
    return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t n);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t n)
{
    (void)level;
    (void)name;
    (void)value;
    (void)n;
    return ours(fd) ? 0 : -1;
}

ssize_t __wrap_send(int fd, const void *p, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *p, size_t n, int flags)
{
    struct nlmsghdr head;
    (void)flags;
    if (!ours(fd) || !fds[fd - FIRST_FD].netlink || n < sizeof(head))
        return (ssize_t)n;
    memcpy(&head, p, sizeof(head));
    if (head.nlmsg_flags & NLM_F_ACK) {
        sequence = head.nlmsg_seq;
        request_waits = true;
    }
    return (ssize_t)n;
}

ssize_t __wrap_sendto(int fd, const void *p, size_t n, int flags, const struct sockaddr *to,
                      socklen_t n_to);
ssize_t __wrap_sendto(int fd, const void *p, size_t n, int flags, const struct sockaddr *to,
                      socklen_t n_to)
{
    (void)to;
    (void)n_to;
    return __wrap_send(fd, p, n, flags);
}

ssize_t __wrap_recv(int fd, void *p, size_t n, int flags);
ssize_t __wrap_recv(int fd, void *p, size_t n, int flags)
{
    struct {
        struct nlmsghdr head;
        struct nlmsgerr error;
    } answer = {{0}, {0}};
    (void)flags;
    if (ours(fd) && fds[fd - FIRST_FD].netlink && request_waits && n >= sizeof(answer)) {
        answer.head = (struct nlmsghdr){
            .nlmsg_len = sizeof(answer), .nlmsg_type = NLMSG_ERROR, .nlmsg_seq = sequence};
        answer.error.error = refuse ? -EPERM : 0;
        request_waits = false;
        memcpy(p, &answer, sizeof(answer));
        return sizeof(answer);
    }
    if (!next_message) {
        errno = EAGAIN;
        return -1;
    }
    n = n < n_next ? n : n_next;
    memcpy(p, next_message, n);
    next_message = NULL;
    return (ssize_t)n;
}

int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode);
int __wrap_access(const char *path, int mode)
{
    if (strncmp(path, "/sys/class/net/", 15) != 0)
        return __real_access(path, mode);
    size_t n = strlen(path);
    return n > 7 && strcmp(path + n - 7, "/device") == 0 ? 0 : -1; // each a wired card
}

ssize_t __wrap_getrandom(void *p, size_t n, unsigned flags);
ssize_t __wrap_getrandom(void *p, size_t n, unsigned flags)
{
    (void)flags;
    memset(p, 7, n);
    return (ssize_t)n;
}

int64_t __wrap_now_ms(void);
int64_t __wrap_now_ms(void)
{
    return clock_now;
}

static void told(const char *format, va_list args)
{
    char text[2048];
    if (vsnprintf(text, sizeof(text), format, args) < 0)
        abort();
}

void __wrap_say(const char *step, const char *format, ...) PRINTF(2, 3);
void __wrap_say(const char *step, const char *format, ...)
{
    va_list args;
    (void)step;
    va_start(args, format);
    told(format, args);
    va_end(args);
}

void __wrap_complain(const char *step, const char *format, ...) PRINTF(2, 3);
void __wrap_complain(const char *step, const char *format, ...)
{
    va_list args;
    (void)step;
    va_start(args, format);
    told(format, args);
    va_end(args);
}

enum status __wrap_replace_file(const char *path, const char *text, size_t len, mode_t mode,
                                struct err *err);
enum status __wrap_replace_file(const char *path, const char *text, size_t len, mode_t mode,
                                struct err *err)
{
    (void)path;
    (void)mode;
    (void)err;
    for (size_t i = 0; i < len; i++) // resolv.conf: words and numbers, whatever a router says
        if (text[i] != '\n' && (text[i] < ' ' || text[i] > '~'))
            abort();
    return OK;
}

enum status __wrap_write_file(const char *path, const char *text, struct err *err);
enum status __wrap_write_file(const char *path, const char *text, struct err *err)
{
    (void)text;
    if (strncmp(path, "/proc/sys/net/", 14) != 0 || strstr(path, "/../"))
        abort();
    return err_set(err, NOT_FOUND, "not here");
}

/* loop.c is not linked in: these take its place. */
void loop_add(int fd, void (*ready)(int fd, void *ctx), void *ctx)
{
    if (!ours(fd))
        return;
    fds[fd - FIRST_FD].ready = ready;
    fds[fd - FIRST_FD].ctx = ctx;
}

void loop_remove(int fd)
{
    if (ours(fd))
        fds[fd - FIRST_FD].ready = NULL;
}

void loop_timer(int64_t (*tick)(int64_t now))
{
    (void)tick;
}

void loop_once(int64_t until_ms)
{
    (void)until_ms;
}

enum status loop_signals(struct err *err)
{
    (void)err;
    return OK;
}

/* ---- the input ---- */

static void arrives(bool netlink, const uint8_t *p, size_t n)
{
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact)
        abort();
    memcpy(exact, p, n);
    for (int i = 0; i < MOST_FDS; i++) {
        if (!fds[i].open || fds[i].netlink != netlink || !fds[i].ready)
            continue;
        next_message = exact;
        n_next = n;
        fds[i].ready(FIRST_FD + i, fds[i].ctx);
        next_message = NULL;
    }
    free(exact);
}

static void unplug_all(void)
{
    struct {
        struct nlmsghdr head;
        struct ifinfomsg info;
    } gone = {{.nlmsg_len = sizeof(gone), .nlmsg_type = RTM_DELLINK}, {0}};
    for (int i = 1; i <= NICS; i++) {
        gone.info.ifi_index = i;
        arrives(true, (const uint8_t *)&gone, sizeof(gone));
    }
}

/* Interface numbers are made small, so that messages meet the links that others made. */
static void small_index(uint8_t *p, size_t n)
{
    int index;
    if (n < sizeof(struct nlmsghdr) + 8)
        return;
    memcpy(&index, p + sizeof(struct nlmsghdr) + 4, sizeof(index));
    index = 1 + (int)((unsigned)index % NICS);
    memcpy(p + sizeof(struct nlmsghdr) + 4, &index, sizeof(index));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool opened;
    static const struct net_static none;
    static struct net_static fixed; // byte 0, bit 1: tawny.conf has addresses
    struct err err;
    uint8_t message[2048];
    if (size < 1)
        return 0;
    refuse = false;
    if (!opened && net_open(&err) != OK)
        abort();
    opened = true;
    refuse = data[0] & 1;
    fixed = none;
    static const char address[] = "10.0.0.5/8, fd00::5/64", gateway[] = "10.0.0.1, fe80::1";
    if ((data[0] & 2) &&
        (static_read(&fixed, STATIC_ADDRESS, address, sizeof(address) - 1, &err) != OK ||
         static_read(&fixed, STATIC_GATEWAY, gateway, sizeof(gateway) - 1, &err) != OK))
        abort();
    net_start("tawny", &fixed);
    for (size_t at = 1; at < size;) {
        uint8_t op = data[at++] % 8;
        if (op < 2) {
            clock_now += op ? 1000000 : 10000;
            (void)net_tick(clock_now);
            continue;
        }
        if (size - at < 2)
            break;
        size_t n = data[at] | (size_t)data[at + 1] << 8;
        at += 2;
        n = n > size - at ? size - at : n;
        n = n > sizeof(message) ? sizeof(message) : n;
        memcpy(message, data + at, n);
        at += n;
        if (op < 5)
            small_index(message, n);
        arrives(op < 5, message, n);
        net_say_urls();
    }
    refuse = false;
    unplug_all();
    return 0;
}
