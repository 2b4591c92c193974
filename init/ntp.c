/* ntp.c - the clock is set by time servers: who is asked, when, and what is said about it.
 *
 * A fork of PID 1 without rights (confine.c) asks them and writes what they answered into a pipe;
 * sntp.c judges; only the setting of the clock is done here. Whether the clock is to be trusted is
 * told to everybody by the kernel (adjtimex, STA_UNSYNC): the engine shows it in /health, and the
 * kernel writes a trusted clock to the hardware's every eleven minutes. The last moment that was
 * agreed on is kept on the data partition: no clock and no server may be before it.
 */
#include "copies.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define KEPT DATA_DIR "/clock"
#define FIRST_MS 1000 // after an address came
#define RETRY_MS 8000 // doubled with each failure ...
#define RETRY_MOST_MS 300000
#define AGAIN_MS 2048000      // ... and after a success
#define ANSWER_MS 3000        // of time for all answers
#define TRUST_MS 2592000000ll // a month without a server: a crystal is off by a minute then
#define UNSURE_MS 28000       // twice the largest error told: from 16 s on the kernel trusts none
#define TELL_MS 20000         // without success, and "time not trusted" is said
#define OUT 3                 // in the child: the pipe

static const char *const public_servers[] = {"time.cloudflare.com", "time.google.com",
                                             "time.apple.com", "ptbtime1.ptb.de"};

static struct {
    struct ntp_setting setting;
    struct ntp_clock clock;
    bool begun, asking, told;
    int pipe_fd, failures;
    int64_t next_ms, begun_ms, agreed_ms; // agreed_ms: 0: never
    struct ntp_sample sample[NTP_MOST];
    int n_samples;
    struct ntp_server server[NTP_MOST]; // who is asked
    int n_servers;
} ntp = {.pipe_fd = -1};

static int64_t wall_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- the child ---- */

struct asked {
    struct sockaddr_storage at;
    socklen_t at_len; // 0: its name was not found
    uint64_t cookie;
    int64_t sent_ms;
    bool answered;
};

static void look_up(struct asked *a, const struct ntp_server *server)
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV}, *list;
    char port[8];

    snprintf(port, sizeof(port), "%u", server->port);
    if (getaddrinfo(server->host, port, &hints, &list))
        return;
    if (list && list->ai_addrlen <= sizeof(a->at)) {
        memcpy(&a->at, list->ai_addr, list->ai_addrlen);
        a->at_len = list->ai_addrlen;
    }
    freeaddrinfo(list);
}

/* Each server has a socket of its own, connected: nobody else's packets come in. */
static int ask(struct asked *a)
{
    uint8_t packet[SNTP_BYTES];
    int fd = a->at_len ? socket(a->at.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;

    if (fd < 0 || connect(fd, (struct sockaddr *)&a->at, a->at_len)) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    (void)!getrandom(&a->cookie, sizeof(a->cookie), GRND_NONBLOCK);
    sntp_request(packet, a->cookie);
    a->sent_ms = wall_ms();
    (void)!send(fd, packet, sizeof(packet), 0);
    return fd;
}

static int ask_all(void *ctx)
{
    static struct asked asked[NTP_MOST];
    struct pollfd fds[NTP_MOST];

    alarm(90);
    if (!confine(*(int *)ctx, false))
        _exit(1);
    for (int i = 0; i < ntp.n_servers; i++) // may take seconds: no answer is to wait for it
        look_up(&asked[i], &ntp.server[i]);
    for (int i = 0; i < ntp.n_servers; i++)
        fds[i] = (struct pollfd){ask(&asked[i]), POLLIN, 0};
    for (int64_t end = now_ms() + ANSWER_MS, left; (left = end - now_ms()) > 0;) {
        if (poll(fds, (nfds_t)ntp.n_servers, (int)left) <= 0)
            break;
        for (int i = 0; i < ntp.n_servers; i++) {
            uint8_t packet[512];
            struct ntp_sample s;
            ssize_t n = fds[i].revents ? recv(fds[i].fd, packet, sizeof(packet), 0) : 0;
            if (n > 0 && !asked[i].answered &&
                sntp_read(&s, packet, (size_t)n, asked[i].cookie, asked[i].sent_ms, wall_ms(),
                          ntp.clock.floor_s) == OK) {
                asked[i].answered = true;
                (void)!write(OUT, &s, sizeof(s));
                fds[i].fd = -1;
            } else if (n < 0 && errno != EAGAIN) {
                fds[i].fd = -1; // nobody is there
            }
        }
    }
    _exit(0);
}

/* ---- PID 1 ---- */

static void trust(bool yes, int64_t delay_ms)
{
    struct timex t = {.modes = ADJ_STATUS | ADJ_MAXERROR | ADJ_ESTERROR,
                      .status = yes ? 0 : STA_UNSYNC,
                      .maxerror = yes ? (long)(delay_ms + 1) * 500 : 16000000,
                      .esterror = yes ? (long)(delay_ms + 1) * 500 : 16000000};

    (void)adjtimex(&t);
}

static bool set_clock(enum ntp_act act, int64_t offset_ms)
{
    if (act == NTP_SLEW) {
        struct timex t = {.modes = ADJ_OFFSET_SINGLESHOT, .offset = (long)offset_ms * 1000};
        return adjtimex(&t) >= 0;
    }
    int64_t then = wall_ms() + offset_ms;
    struct timespec t = {.tv_sec = then / 1000, .tv_nsec = then % 1000 * 1000000};
    return clock_settime(CLOCK_REALTIME, &t) == 0;
}

static void duration(char out[48], int64_t ms)
{
    int64_t s = (ms < 0 ? -ms : ms) / 1000;

    if (s < 120)
        snprintf(out, 48, "%lld.%03d s", (long long)s, (int)((ms < 0 ? -ms : ms) % 1000));
    else if (s < 7200)
        snprintf(out, 48, "%lld min", (long long)(s / 60));
    else if (s < 172800)
        snprintf(out, 48, "%lld h", (long long)(s / 3600));
    else
        snprintf(out, 48, "%lld days", (long long)(s / 86400));
}

static int keep(void *ctx)
{
    char text[32];
    struct err err;
    int n = snprintf(text, sizeof(text), "%lld\n", (long long)(wall_ms() / 1000));
    (void)ctx;
    return replace_file(KEPT, text, (size_t)n, 0600, &err) != OK;
}

static void say_untrusted(const char *why)
{
    if (!ntp.told)
        complain("clock", "time not trusted: %s", why);
    ntp.told = true;
}

static void say_verdict(const struct ntp_verdict *v)
{
    char text[48];
    const char *direction = v->offset_ms < 0 ? "ahead" : "behind";

    duration(text, v->offset_ms);
    if (v->act == NTP_STEP) {
        say("clock", "was %s %s and is set by %d time server%s%s", text, direction, v->n_agree,
            v->n_agree == 1 ? "" : "s", v->trusted ? "" : " alone: time not trusted");
    } else if (v->act == NTP_SLEW && v->trusted && !ntp.agreed_ms) {
        say("clock", "%d time server%s agree%s with it (%s %s)", v->n_agree,
            v->n_agree == 1 ? "" : "s", v->n_agree == 1 ? "s" : "", text, direction);
    } else if (v->act == NTP_DISAGREE) {
        say_untrusted("the time servers do not agree with each other");
    } else if (v->act == NTP_IMPOSSIBLE) {
        say_untrusted("the time servers name a time that cannot be: it is before this image was "
                      "made or last agreed with them, or decades later. The clock is left alone");
    } else if (v->act == NTP_REFUSED) {
        char why[224];
        snprintf(why, sizeof(why),
                 "by %d time server%s the clock is %s %s, and is not believed: it is left alone%s",
                 v->n_agree, v->n_agree == 1 ? "" : "s", text, direction,
                 v->offset_ms > 0 && v->n_agree > 1
                     ? " (if they are right, set it in the firmware setup)"
                     : "");
        say_untrusted(why);
    }
}

static void act(const struct ntp_verdict *v, int64_t now)
{
    say_verdict(v);
    if (v->act == NTP_STEP || v->act == NTP_SLEW) {
        if (!set_clock(v->act, v->offset_ms))
            complain("clock", "the kernel does not let the clock be set: %s", strerror(errno));
    }
    bool keeps = sntp_keeps(&ntp.clock, v, now);
    if (v->trusted) {
        int64_t delay = 1000;
        for (int i = 0; i < ntp.n_samples; i++)
            delay = ntp.sample[i].delay_ms < delay ? ntp.sample[i].delay_ms : delay;
        if (v->act == NTP_SLEW) // it is off by that for now
            delay += 2 * (v->offset_ms < 0 ? -v->offset_ms : v->offset_ms);
        trust(true, delay < UNSURE_MS ? delay : UNSURE_MS);
        ntp.clock.good = true;
        ntp.clock.absurd = ntp.told = false;
        ntp.agreed_ms = now;
        ntp.failures = 0;
        if (keeps && disk_mounted())
            (void)child_start("", keep, NULL, NULL);
    } else if (v->act == NTP_SILENCE && ntp.agreed_ms && now - ntp.agreed_ms < TRUST_MS) {
        trust(true, (now - ntp.agreed_ms) / 20000); // 50 parts in a million
    } else if (v->act != NTP_SILENCE) {
        trust(false, 0);
    }
    int64_t wait = RETRY_MS << (ntp.failures < 6 ? ntp.failures : 6);
    if (!v->trusted)
        ntp.failures++;
    ntp.next_ms = now + (v->trusted ? AGAIN_MS : wait < RETRY_MOST_MS ? wait : RETRY_MOST_MS);
}

static void samples_arrived(int fd, void *ctx)
{
    struct ntp_sample s;
    ssize_t n;
    (void)ctx;

    for (int i = 0; i < 2 * NTP_MOST; i++) { // however much the child writes
        n = read(fd, &s, sizeof(s));
        if (n == 0)
            loop_remove(fd);
        if (n != (ssize_t)sizeof(s))
            break;
        if (ntp.n_samples < NTP_MOST)
            ntp.sample[ntp.n_samples++] = s;
    }
}

static void answered(void *ctx, int code)
{
    (void)ctx;
    (void)code; // one that was ended gave what it gave
    samples_arrived(ntp.pipe_fd, NULL);
    loop_remove(ntp.pipe_fd);
    close(ntp.pipe_fd);
    ntp.pipe_fd = -1;
    ntp.asking = false;
    struct ntp_verdict v = sntp_judge(&ntp.clock, ntp.sample, ntp.n_samples, wall_ms());
    act(&v, now_ms());
}

static void choose_servers(void)
{
    uint32_t dhcp[4];
    int n_dhcp = ntp.setting.n ? 0 : net_ntp_servers(dhcp, 4);

    ntp.n_servers = ntp.setting.n;
    memcpy(ntp.server, ntp.setting.server, sizeof(ntp.server));
    for (int i = 0; i < n_dhcp; i++) {
        struct ntp_server *s = &ntp.server[ntp.n_servers++];
        s->port = 123;
        inet_ntop(AF_INET, &dhcp[i], s->host, sizeof(s->host));
    }
    for (size_t i = 0; !ntp.setting.n && n_dhcp < 3 && i < 4; i++) {
        struct ntp_server *s = &ntp.server[ntp.n_servers++];
        s->port = 123;
        snprintf(s->host, sizeof(s->host), "%s", public_servers[i]);
    }
    ntp.clock.one_is_enough = ntp.setting.n == 1; // the owner's choice
}

static void begin_asking(int64_t now)
{
    int ends[2];

    ntp.next_ms = now + RETRY_MS;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
        return;
    choose_servers();
    ntp.n_samples = 0;
    if (child_start("", ask_all, answered, &ends[1])) {
        ntp.asking = true;
        ntp.pipe_fd = ends[0];
        loop_add(ends[0], samples_arrived, NULL);
    } else {
        close(ends[0]);
    }
    close(ends[1]);
}

/* The last moment that was agreed on: what is before it is wrong. */
static void read_kept(void)
{
    char text[32], *end;

    if (read_file(COPY_OF_CLOCK, text, sizeof(text)) <= 0)
        return;
    long long kept = strtoll(text, &end, 10);
    if (end == text || kept <= ntp.clock.floor_s ||
        kept > ntp.clock.floor_s + NTP_YEARS * 31622400ll) {
        return;
    }
    ntp.clock.floor_s = kept;
    if (wall_ms() / 1000 < kept) {
        struct timespec t = {.tv_sec = (time_t)kept};
        ntp.clock.absurd = true;
        if (clock_settime(CLOCK_REALTIME, &t) == 0)
            say("clock", "moved on to when this machine last agreed with its time servers");
    }
}

void ntp_begin(const struct ntp_setting *setting)
{
    ntp.setting = *setting;
    ntp.clock = (struct ntp_clock){.floor_s = clock_floor_s(), .absurd = clock_was_absurd()};
    read_kept();
    ntp.begun = true;
    if (wall_ms() / 1000 > ntp.clock.floor_s + NTP_YEARS * 31622400ll)
        ntp.clock.absurd = true;
    trust(setting->off && !ntp.clock.absurd, 0);
}

int64_t ntp_tick(int64_t now)
{
    if (!ntp.begun || ntp.setting.off)
        return INT64_MAX;
    if (!ntp.begun_ms) {
        if (!net_has_address())
            return now + 1000;
        ntp.begun_ms = now;
        ntp.next_ms = now + FIRST_MS;
    }
    if (!ntp.agreed_ms && now - ntp.begun_ms > TELL_MS)
        say_untrusted("no time server has answered so far; what has a date may be off (ntp in "
                      "tawny.conf names other servers)");
    if (ntp.asking)
        return INT64_MAX;
    if (now >= ntp.next_ms)
        begin_asking(now);
    return ntp.asking ? INT64_MAX : ntp.next_ms;
}
