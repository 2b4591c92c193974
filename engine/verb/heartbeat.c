// heartbeat.c - the pipe to PID 1, line by line (init/supervise.c reads it), and the one from it.
//
// Both never make us wait: a line that finds the pipe full is lost, and what PID 1 says is read as
// it comes. The QR code is made here and not in PID 1, which is the one process whose end
// is the machine's, and that is to draw no more than it has to: it gets a square of bits to draw.
#include "heartbeat.h"
#include "api/api.h"
#include "base/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { QR_MOST = 29 }; // modules of a side that a screen of 25 rows has room for

static int fd_named(const char *name)
{
    const char *text = getenv(name);
    char *end;
    if (!text || !text[0])
        return -1;
    long fd = strtol(text, &end, 10);
    if (*end || fd < 3 || fd > 1023 || fcntl((int)fd, F_GETFD) < 0) {
        log_warn("%s is \"%.20s\", which is not an open file", name, text);
        return -1;
    }
    fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    fcntl((int)fd, F_SETFL, O_NONBLOCK);
    return (int)fd;
}

void heartbeat_open(struct heartbeat *h)
{
    *h = (struct heartbeat){.fd = fd_named("TAWNY_HEARTBEAT_FD"),
                            .log_fd = fd_named("TAWNY_LOG_FD")};
}

void heartbeat_say(struct heartbeat *h, const char *line)
{
    if (h->fd < 0)
        return;
    if (write(h->fd, line, strlen(line)) < 0 && errno != EAGAIN && errno != EINTR) {
        log_warn("the heartbeat pipe is closed");
        close(h->fd);
        h->fd = -1;
    }
}

static void tell_speed(struct heartbeat *h, const struct sched *sched)
{
    struct sched_gauges gauges;
    char line[40];
    sched_gauges(sched, &gauges);
    const uint64_t n = gauges.n_tokens - h->tokens, us = gauges.answers_us - h->answers_us;
    if (n > 0 && us > 0) {
        snprintf(line, sizeof(line), "speed %.1f\n", (double)n * 1e6 / (double)us);
        heartbeat_say(h, line);
    }
    h->tokens = gauges.n_tokens;
    h->answers_us = gauges.answers_us;
}

void heartbeat_beat(struct heartbeat *h, const struct sched *sched)
{
    const char *hangs = sched_hangs(sched);
    if (hangs && !h->hung_told)
        log_error("%s", hangs);
    h->hung_told = hangs;
    heartbeat_say(h, "beat net\n");
    if (sched_beats(sched))
        heartbeat_say(h, "beat compute\n");
    tell_speed(h, sched);
}

void heartbeat_serves(struct heartbeat *h, uint64_t taken)
{
    char line[HEARTBEAT_LINE] = "serves ";
    size_t n = strlen(line);
    for (int i = 0; i < 64; i++)
        if (taken >> i & 1)
            n += (size_t)snprintf(line + n, sizeof(line) - n, "%d ", i);
    line[n - 1] = '\n';
    heartbeat_say(h, line);
}

// "https://HOST:PORT/": to "http://HOST/".
static void plain_url(char *out, size_t cap, const char *url)
{
    const char *host = url + strlen("https://");
    const size_t n = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");
    snprintf(out, cap, "http://%.*s/", (int)n, host);
}

void heartbeat_start_page(struct heartbeat *h, const char *url, bool plain)
{
    char text[128], line[HEARTBEAT_LINE];
    if (h->fd < 0)
        return;
    if (url && plain)
        plain_url(text, sizeof(text), url);
    else
        snprintf(text, sizeof(text), "%s", url ? url : "");
    int side = 0;
    uint8_t *squares = url ? qr_squares(text, false, &side) : NULL;
    if (!squares || side > QR_MOST) {
        heartbeat_say(h, "qr 0\n");
        free(squares);
        return;
    }
    const int n_modules = side * side;
    int n = snprintf(line, sizeof(line), "qr %d ", side);
    for (int at = 0; at < n_modules || at % 8; at += 4) {
        int digit = 0;
        for (int i = at; i < at + 4; i++)
            digit = 2 * digit + (i < n_modules ? squares[i] : 0);
        line[n++] = "0123456789abcdef"[digit];
    }
    line[n++] = '\n';
    line[n] = 0;
    free(squares);
    heartbeat_say(h, line);
}

// Its lines: 4 or 6, the level as the kernel counts them, then the text.
static void relay(const char *line, size_t n)
{
    if (n > 1 && (line[0] == '4' || line[0] == '6'))
        log_relay(line[0] == '4' ? LOG_WARN : LOG_INFO, line + 1, n - 1);
}

static void lines_arrived(void *arg, int fd)
{
    struct heartbeat *h = arg;
    const ssize_t got = read(fd, h->line + h->n, sizeof(h->line) - h->n);
    char *end;
    if (got <= 0)
        return; // PID 1 keeps an end of its own open: this pipe does not end before we do
    h->n += (size_t)got;
    while ((end = memchr(h->line, '\n', h->n)) != NULL) {
        const size_t n = (size_t)(end - h->line);
        relay(h->line, n);
        h->n -= n + 1;
        memmove(h->line, end + 1, h->n);
    }
    if (h->n == sizeof(h->line))
        h->n = 0; // no line of PID 1's is as long
}

void heartbeat_listen(struct heartbeat *h, struct net *net)
{
    if (h->log_fd >= 0)
        net_watch(net, h->log_fd, lines_arrived, h);
}
