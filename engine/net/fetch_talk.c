// fetch_talk.c - a connection of a fetch: the proxy's tunnel, TLS, the request out, the answer in.
//
// Reading stops while the owner takes no more (held): TCP then holds the rest with the server. Each
// turn reads a bounded number of bytes.
#include "fetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

// ---- out ----------------------------------------------------------------------------------------

static enum status write_request(struct fetch *fetch)
{
    char host[URL_HOST_BYTES + 16];
    struct buf *out = &fetch->out;
    const struct bytes token = fetch_token(fetch);
    enum status status =
        buf_format(out,
                   "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: tawny\r\nAccept: %s\r\n"
                   "Accept-Encoding: identity\r\nConnection: close\r\n",
                   fetch->head_only ? "HEAD" : "GET", fetch->url.target,
                   url_host_text(&fetch->url, host), fetch->accept[0] ? fetch->accept : "*/*");
    if (status == OK && token.n > 0)
        status =
            buf_format(out, "Authorization: Bearer %.*s\r\n", (int)token.n, (const char *)token.p);
    if (status == OK && fetch->from > 0)
        status = buf_format(out, "Range: bytes=%llu-\r\n", (unsigned long long)fetch->from);
    if (status == OK && fetch->from > 0 && fetch->if_range[0])
        status = buf_format(out, "If-Range: %s\r\n", fetch->if_range);
    return status == OK ? buf_format(out, "\r\n") : status;
}

static void expect_answer(struct fetch *fetch, bool head_only)
{
    if (fetch->response)
        response_free(fetch->response);
    else
        fetch->response = mem_alloc(sizeof(*fetch->response));
    response_init(fetch->response, head_only);
}

// The request itself, once nothing stands between us and the host.
static void ask(struct fetch *fetch)
{
    expect_answer(fetch, fetch->head_only);
    fetch_enter(fetch, FETCH_HEAD, LIMIT_FETCH_HEAD_MS);
    if (write_request(fetch) != OK)
        fetch_fail(fetch, TOO_LARGE, "the request is too long");
}

static void begin_tls(struct fetch *fetch)
{
    struct err err = {0};
    const struct trust *trust = fetcher_trust(fetch->fetcher, &err);
    if (!trust) {
        fetch_end(fetch, &err);
        return;
    }
    fetch->out.n = fetch->out_at = 0; // what the proxy was asked
    fetch->tls = tls_client_open(trust, fetch->url.host);
    fetch_enter(fetch, FETCH_TLS, LIMIT_FETCH_TLS_MS);
}

void fetch_connected(struct fetch *fetch)
{
    char host[URL_HOST_BYTES + 16];
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &fetch->source};
    if (epoll_ctl(fetch->fetcher->net->epoll, EPOLL_CTL_MOD, fetch->fd, &event) != 0)
        die("epoll refuses a connection: %s", strerror(errno));
    fetch->interest = EPOLLIN;
    fetch->eof = fetch->broken = fetch->held = false;
    buf_init(&fetch->out, FETCH_TOKEN_BYTES + URL_TARGET_BYTES + 2048);
    if (fetch->proxy.host[0]) {
        struct url whole = fetch->url;
        whole.tls = false; // so that its port is written in any case but 80
        expect_answer(fetch, true);
        fetch_enter(fetch, FETCH_TUNNEL, LIMIT_FETCH_TLS_MS);
        url_host_text(&whole, host);
        if (buf_format(&fetch->out, "CONNECT %s%s HTTP/1.1\r\nHost: %s\r\n\r\n", host,
                       fetch->url.port == 80 ? ":80" : "", host) != OK)
            fetch_fail(fetch, TOO_LARGE, "the request is too long");
    } else if (fetch->url.tls) {
        begin_tls(fetch);
    } else {
        ask(fetch);
    }
    fetch->poked = !fetch->dead;
}

static struct bytes next_to_send(struct fetch *fetch)
{
    struct bytes out = {fetch->out.p, fetch->out.n - fetch->out_at};
    if (out.n > 0)
        out.p += fetch->out_at;
    if (!fetch->tls)
        return out;
    struct space room = tls_plain_room(fetch->tls);
    if (fetch->state != FETCH_TLS && out.n > 0 && room.n > 0) {
        const size_t n = out.n < room.n ? out.n : room.n;
        memcpy(room.p, out.p, n);
        tls_plain_put(fetch->tls, n);
        fetch->out_at += n;
        tls_flush(fetch->tls);
    }
    return tls_wire_view(fetch->tls);
}

// True: something still waits to be sent.
static bool send_some(struct fetch *fetch)
{
    struct bytes next;
    while ((next = next_to_send(fetch)).n > 0) {
        ssize_t n = send(fetch->fd, next.p, next.n, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        if (n < 0) // what the host says about it may still be read
            return false;
        if (fetch->tls)
            tls_wire_drop(fetch->tls, (size_t)n);
        else
            fetch->out_at += (size_t)n;
    }
    return false;
}

// ---- in -----------------------------------------------------------------------------------------

static void broke_off(struct fetch *fetch)
{
    char host[URL_HOST_BYTES + 16];
    const struct response *response = fetch->response;
    fetch_host(fetch, host);
    if (fetch->state == FETCH_BODY && response->has_length)
        fetch_fail(fetch, CLOSED, "%s broke the connection off after %llu of %llu bytes", host,
                   (unsigned long long)fetch->n_body, (unsigned long long)response->length);
    else
        fetch_fail(fetch, CLOSED, "%s broke the connection off %s", host,
                   fetch->state == FETCH_BODY     ? "in the middle of its answer"
                   : fetch->state == FETCH_TLS    ? "while TLS began"
                   : fetch->state == FETCH_TUNNEL ? "before the proxy had answered"
                                                  : "without an answer");
}

static void tls_failed(struct fetch *fetch, int number)
{
    char host[URL_HOST_BYTES + 16], why[TLS_WHY_BYTES];
    const enum status status = tls_client_why(number, why);
    fetch_fail(fetch, status, "%s %s", fetch_host(fetch, host), why);
}

// The answer's content goes to the owner.
static void hand_on(struct fetch *fetch)
{
    struct response *response = fetch->response;
    if (response->content.n == 0)
        return;
    const struct bytes piece = buf_view(&response->content);
    response->content.n = 0;
    fetch->n_body += piece.n;
    fetch->held = !fetch->calls->body(fetch->arg, piece);
}

static void after_tunnel(struct fetch *fetch)
{
    char host[URL_HOST_BYTES + 16];
    const int code = fetch->response->code;
    if (code / 100 != 2)
        fetch_fail(fetch, IO_ERROR, "the proxy %s does not lead to %s: it answers %d",
                   fetch->proxy.host, fetch_host(fetch, host), code);
    else
        begin_tls(fetch);
}

// What stands in the response after bytes were fed: its head, content, its end.
static void notice(struct fetch *fetch)
{
    struct response *response = fetch->response;
    if (fetch->state == FETCH_TUNNEL) {
        if (response->head_done)
            after_tunnel(fetch);
        return;
    }
    if (fetch->state == FETCH_HEAD && response->head_done) {
        fetch_answered(fetch);
        if (fetch->dead || fetch->state != FETCH_BODY)
            return; // closed, or on to where it leads
    }
    hand_on(fetch);
    if (!fetch->dead && response->done) {
        const struct err good = {.status = OK};
        fetch_end(fetch, &good);
    }
}

static void feed(struct fetch *fetch, struct bytes in)
{
    char host[URL_HOST_BYTES + 16];
    fetch->heard_ms = fetch->fetcher->net->now_ms;
    fetch->n_window += in.n;
    if (response_feed(fetch->response, in) == BAD_INPUT)
        fetch_fail(fetch, BAD_INPUT, "the answer of %s %s", fetch_host(fetch, host),
                   fetch->response->fault);
    else
        notice(fetch);
}

static bool may_read(const struct fetch *fetch)
{
    return !fetch->dead && fetch->fd >= 0 && !fetch->held;
}

// What TLS holds decrypted goes to the response.
static void feed_from_tls(struct fetch *fetch)
{
    if (fetch->state == FETCH_TLS && tls_ready(fetch->tls))
        ask(fetch);
    while (may_read(fetch) && fetch->tls && fetch->state >= FETCH_HEAD) {
        struct bytes plain = tls_plain_view(fetch->tls);
        if (plain.n == 0)
            return;
        // The response has taken all before anything that it leads to can close the connection.
        struct tls *tls = fetch->tls;
        uint8_t copy[16384];
        const size_t n = plain.n < sizeof(copy) ? plain.n : sizeof(copy);
        memcpy(copy, plain.p, n);
        tls_plain_drop(tls, n);
        feed(fetch, (struct bytes){copy, n});
    }
}

static void read_some(struct fetch *fetch)
{
    uint8_t buffer[16384];
    size_t n_turn = 0;
    if (fetch->tls)
        feed_from_tls(fetch);
    while (may_read(fetch) && !fetch->eof && n_turn < LIMIT_READ_PER_TURN) {
        struct space room =
            fetch->tls ? tls_wire_room(fetch->tls) : (struct space){buffer, sizeof(buffer)};
        if (room.n == 0)
            return;
        ssize_t n = recv(fetch->fd, room.p, room.n, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n <= 0) {
            fetch->eof = true;
            fetch->broken = n < 0 || fetch->tls;
            return;
        }
        n_turn += (size_t)n;
        if (fetch->tls) {
            tls_wire_put(fetch->tls, (size_t)n);
            feed_from_tls(fetch);
            if (fetch->state == FETCH_TLS)
                (void)send_some(fetch); // its turn in the handshake
        } else {
            feed(fetch, (struct bytes){buffer, (size_t)n});
            if (fetch->state == FETCH_TLS)
                return; // the tunnel is there
        }
    }
}

// The end of the connection, or of TLS: is the answer whole by it?
static void notice_end(struct fetch *fetch)
{
    enum status status;
    int number = 0;
    const char *why;
    if (!may_read(fetch))
        return;
    if (fetch->tls && tls_stopped(fetch->tls, &status, &number, &why)) {
        if (status != OK) {
            tls_failed(fetch, number);
            return;
        }
        fetch->eof = true;
        fetch->broken = false;
    }
    if (!fetch->eof)
        return;
    if (fetch->state >= FETCH_HEAD && !fetch->broken && response_ended(fetch->response))
        notice(fetch);
    else
        broke_off(fetch);
}

// One that is held is not watched at all: epoll would tell of its end without end.
static void set_interest(struct fetch *fetch, bool sends)
{
    const int epoll = fetch->fetcher->net->epoll;
    const uint32_t interest =
        fetch->held ? 0U : (fetch->eof ? 0U : EPOLLIN) | (sends ? EPOLLOUT : 0U);
    struct epoll_event event = {.events = interest, .data.ptr = &fetch->source};
    if (interest == fetch->interest)
        return;
    if (epoll_ctl(epoll,
                  interest == 0          ? EPOLL_CTL_DEL
                  : fetch->interest == 0 ? EPOLL_CTL_ADD
                                         : EPOLL_CTL_MOD,
                  fetch->fd, &event) != 0)
        die("epoll refuses a connection: %s", strerror(errno));
    fetch->interest = interest;
}

void fetch_talk(struct fetch *fetch)
{
    if (fetch->held && !fetch->goes_on)
        return;
    if (fetch->held) {
        fetch->held = fetch->goes_on = false;
        fetch->heard_ms = fetch->window_ms = fetch->fetcher->net->now_ms;
        fetch->n_window = 0;
    }
    (void)send_some(fetch);
    read_some(fetch);
    notice_end(fetch);
    if (!fetch->dead && fetch->fd >= 0) {
        const bool sends = send_some(fetch);
        set_interest(fetch, sends);
    }
}
