// conn.c - one connection: bytes in, through TLS, to its request; answers out; deadlines; closing.
//
// Reading stops while an answer is under way and there is already something to read: a pipelining
// client waits its turn. It goes on otherwise, to notice a client that leaves. Closing is done so
// that the last answer arrives: close_notify, shutdown of our side, then reading on for a moment
// (LINGER), since closing over unread input would send a reset that can overtake the answer. Each
// turn reads and writes a bounded number of bytes, so no connection starves another.
#include "conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static void conn_ready(struct source *source, uint32_t events);

// ---- marks, deadlines --------------------------------------------------------------------------

void conn_mark(struct conn *conn)
{
    if (!conn->marked) {
        conn->marked = true;
        conn->next_marked = conn->net->marked;
        conn->net->marked = conn;
    }
}

void conn_kill(struct conn *conn)
{
    conn->dead = true;
    conn_mark(conn);
}

uint64_t conn_deadline(const struct conn *conn)
{
    if (conn->deadline_ms == 0 || conn->stall_ms == 0)
        return conn->deadline_ms + conn->stall_ms;
    return conn->deadline_ms < conn->stall_ms ? conn->deadline_ms : conn->stall_ms;
}

// The loop looks at all connections when expire_ms has come: it must never be later than the
// earliest deadline.
static void note_deadline(struct conn *conn)
{
    uint64_t at = conn_deadline(conn);
    if (at != 0 && at < conn->net->expire_ms)
        conn->net->expire_ms = at;
}

void conn_enter(struct conn *conn, enum conn_state state, uint64_t within_ms)
{
    conn->state = state;
    conn->since_ms = conn->net->now_ms;
    conn->deadline_ms = within_ms == 0 ? 0 : conn->net->now_ms + within_ms;
    note_deadline(conn);
}

void conn_finish(struct conn *conn)
{
    if (conn->state != CLOSING && conn->state != LINGER)
        conn_enter(conn, CLOSING, conn->keyed ? 0 : LIMIT_OPEN_FLUSH_MS);
    conn_mark(conn);
}

// It is we who do not read: no deadline runs.
static bool is_kept_waiting(const struct conn *conn)
{
    return conn->waits && conn->net->stop_ms == 0 &&
           (conn->state == HANDSHAKE || conn->state == IDLE || conn->state == HEAD ||
            conn->state == BODY);
}

void conn_expire(struct conn *conn)
{
    uint64_t now = conn->net->now_ms;
    if (conn->stall_ms != 0 && now >= conn->stall_ms) {
        conn_tell(conn, "it took nothing of %zu waiting bytes for %d s: closed",
                  conn->out.n - conn->out_at, LIMIT_STALL_MS / 1000);
        conn_kill(conn);
    } else if (conn->deadline_ms != 0 && now >= conn->deadline_ms && !is_kept_waiting(conn) &&
               !request_expire(conn)) {
        if (conn->state == IDLE)
            conn_finish(conn);
        else
            conn_kill(conn); // HANDSHAKE, LINGER; an open client that has not read its answer
    }
}

// ---- TLS ---------------------------------------------------------------------------------------

// The handshake ends with our last message in a full one, with the client's in a resumed one: so
// asked after both.
static void notice_tls_ready(struct conn *conn)
{
    if (conn->state == HANDSHAKE && tls_ready(conn->tls)) {
        log_debug("%s: TLS handshake complete%s", conn->peer,
                  tls_resumed(conn->tls) ? " (resumed)" : "");
        conn_enter(conn, IDLE, LIMIT_IDLE_MS);
        conn->worked = false; // what comes next is a request
    }
}

static void feed_from_tls(struct conn *conn)
{
    size_t n;
    notice_tls_ready(conn);
    do {
        n = request_feed(conn, tls_plain_view(conn->tls));
        if (n > 0)
            tls_plain_drop(conn->tls, n);
    } while (n > 0);
}

// ---- reading -----------------------------------------------------------------------------------

// The first bytes on the TLS port are letters: somebody typed http:// instead of https://.
static void answer_plain_http(struct conn *conn)
{
    static const char hint[] =
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 52\r\n"
        "Connection: close\r\n\r\n"
        "This port speaks HTTPS: begin the URL with https://\n";
    tls_close(conn->tls);
    conn->tls = NULL;
    if (!conn_write(conn, bytes_of(hint)))
        conn_kill(conn);
    conn_finish(conn);
}

// TLS may stop when bytes came, and when its last alert went.
static void notice_tls_end(struct conn *conn)
{
    enum status status;
    int number;
    const char *why;
    if (conn->tls && conn->state != CLOSING && conn->state != LINGER &&
        tls_stopped(conn->tls, &status, &number, &why)) {
        if (status != OK)
            log_debug("%s: TLS ended: %s (%d)", conn->peer, why, number);
        conn->out_at = conn->out.n; // nothing can be said any more
        conn_finish(conn);
    }
}

static void tls_received(struct conn *conn, size_t n)
{
    tls_wire_put(conn->tls, n);
    feed_from_tls(conn);
    notice_tls_end(conn);
}

// Its first bytes are work, for which it has to wait its turn; so are all when too many came.
static bool needs_work(const struct conn *conn)
{
    if (conn->state == HANDSHAKE || conn->state == HEAD)
        return !conn->keyed && (!conn->worked || work_owed(conn));
    return (conn->state == IDLE || conn->state == BODY) && work_owed(conn);
}

static bool wants_input(struct conn *conn)
{
    if (conn->dead || conn->eof || conn->waits || conn->state == FLUSHING ||
        conn->state == CLOSING || request_is_held(conn))
        return false;
    return conn->state == LINGER || !conn->tls || tls_takes(conn->tls);
}

static void received(struct conn *conn, struct space at, size_t n)
{
    bool first = conn->n_received == 0;
    conn->n_received += n;
    if (!conn->tls) {
        struct bytes in = {at.p, n};
        while (in.n > 0) {
            size_t n_used = request_feed(conn, in);
            if (n_used == 0)
                break; // the plain port answers one request: the rest is dropped
            in = (struct bytes){in.p + n_used, in.n - n_used};
        }
    } else if (first &&
               ((at.p[0] >= 'A' && at.p[0] <= 'Z') || (at.p[0] >= 'a' && at.p[0] <= 'z'))) {
        answer_plain_http(conn);
    } else {
        tls_received(conn, n);
    }
}

// Behind the last answer what comes is thrown away by the kernel, unseen (MSG_TRUNC).
static ssize_t receive(struct conn *conn, struct space room)
{
    if (conn->state != LINGER)
        return recv(conn->fd, room.p, room.n, 0);
    ssize_t n = recv(conn->fd, NULL, LIMIT_READ_PER_TURN, MSG_TRUNC);
    if (n > 0)
        conn->n_window += (size_t)n;
    if (conn->n_window > (conn->unread ? LIMIT_DRAIN : LIMIT_LINGER))
        conn_kill(conn);
    return n;
}

// paid: once at least, whatever is owed.
static void read_some(struct conn *conn, bool paid)
{
    uint8_t plain[4096];
    size_t n_turn = 0;
    for (; wants_input(conn) &&
           n_turn < (conn->keyed ? LIMIT_READ_PER_TURN : LIMIT_OPEN_READ_PER_TURN) &&
           (paid || conn->state == LINGER || !work_owed(conn));
         paid = false) {
        bool to_tls = conn->tls && conn->state != LINGER;
        struct space room =
            to_tls ? tls_wire_room(conn->tls) : (struct space){plain, sizeof(plain)};
        ssize_t n = receive(conn, room);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n <= 0) {
            conn->eof = true;
            return;
        }
        n_turn += (size_t)n + LIMIT_READ_COST;
        if (conn->state == LINGER)
            n /= LIMIT_WORK_DRAINED;
        else
            received(conn, room, (size_t)n); // which may have shown the key
        work_bytes(conn, &conn->n_read, (size_t)n + LIMIT_READ_COST, true);
    }
}

// The client has sent its end: an answer that is ready is still sent, anything else is in vain.
static void notice_end(struct conn *conn)
{
    if (conn->eof && !conn->waits && conn->state != FLUSHING && conn->state != CLOSING)
        conn_kill(conn);
}

static void conn_ready(struct source *source, uint32_t events)
{
    struct conn *conn = (struct conn *)(void *)source; // its first member
    conn_mark(conn);
    if ((events & EPOLLERR) != 0) {
        conn_kill(conn);
        return;
    }
    if (needs_work(conn) && (events & EPOLLHUP) == 0) {
        conn_wait(conn);
        return;
    }
    if ((events & EPOLLHUP) != 0)
        conn_kill(conn);
    else if ((events & (EPOLLIN | EPOLLRDHUP)) != 0) {
        read_some(conn, false);
        // it sent its end behind bytes that we will not read; behind a request that waits, the end
        // is seen later
        if ((events & EPOLLRDHUP) != 0 && !wants_input(conn) && !conn->waits)
            conn->eof = true;
        notice_end(conn);
    }
}

// ---- work that has to wait ---------------------------------------------------------------------

void conn_wait(struct conn *conn)
{
    struct net *net = conn->net;
    net->work_at_ms = 0;
    conn_mark(conn); // nothing is read meanwhile
    if (conn->waits)
        return;
    conn->waits = true;
    conn->waits_ms = net->now_ms;
    conn->next_waiting = NULL;
    *net->waiting_end = conn;
    net->waiting_end = &conn->next_waiting;
}

static void stop_waiting(struct conn *conn)
{
    struct conn **at = &conn->net->waiting;
    if (!conn->waits)
        return;
    while (*at != conn)
        at = &(*at)->next_waiting;
    *at = conn->next_waiting;
    if (conn->net->waiting_end == &conn->next_waiting)
        conn->net->waiting_end = at;
    conn->waits = false;
}

// Its turn has come: what it waited is added to its time.
static void end_waiting(struct conn *conn)
{
    const uint64_t waited_ms = conn->net->now_ms - conn->waits_ms;
    stop_waiting(conn);
    if (conn->deadline_ms != 0)
        conn->deadline_ms += waited_ms;
    if (conn->state == BODY && conn->body_end_ms != UINT64_MAX)
        conn->body_end_ms += waited_ms;
    note_deadline(conn);
}

// Goes through the line once. Handshakes and requests of open clients are done only here, so many
// in a turn, and each is paid for by its client.
void conn_work(struct net *net)
{
    uint32_t n_done = 0;
    struct conn *next;
    if (!net->waiting || net->work_at_ms > net->now_ms)
        return;
    for (struct conn *conn = net->waiting; conn && n_done < LIMIT_OPEN_WORK_PER_TURN; conn = next) {
        uint32_t n = conn->worked               ? 0 // it waits for more of what it paid for
                     : conn->state == HANDSHAKE ? LIMIT_WORK_HANDSHAKE
                                                : LIMIT_WORK_REQUEST;
        next = conn->next_waiting;
        if (conn->dead || !work_take(conn, n))
            continue;
        n_done += n > 0 ? n : 1;
        end_waiting(conn);
        conn->worked = true;
        conn_mark(conn);
        if (conn->state == IDLE && conn->tls)
            feed_from_tls(conn);
        if (conn->state != ANSWERING && conn->state != FLUSHING)
            read_some(conn, true);
        notice_end(conn);
    }
    net->work_at_ms = n_done < LIMIT_OPEN_WORK_PER_TURN ? net->now_ms + LIMIT_OPEN_WORK_NAP_MS : 0;
}

// ---- writing -----------------------------------------------------------------------------------

enum budget conn_answers(const struct conn *conn)
{
    return conn->keyed ? ANSWERS : OPEN_ANSWERS;
}

bool conn_write(struct conn *conn, struct bytes bytes)
{
    enum budget budget = conn_answers(conn);
    size_t n_unsent = conn->out.n - conn->out_at;
    if (n_unsent + bytes.n <= LIMIT_ANSWER_ALWAYS)
        budget_force(conn, budget, bytes.n);
    else if (!budget_take(conn, budget, bytes.n))
        return false;
    if (buf_add(&conn->out, bytes.p, bytes.n) != OK) {
        budget_give(conn, budget, bytes.n);
        return false;
    }
    conn_mark(conn);
    return true;
}

void conn_keyed(struct conn *conn)
{
    if (conn->keyed)
        return;
    budget_give(conn, conn_answers(conn), conn->out.n);
    conn->keyed = true;
    work_give_back(conn);
    conn->client->n_keyed++;
    budget_force(conn, conn_answers(conn), conn->out.n);
}

static void conn_unkeyed(struct conn *conn)
{
    budget_give(conn, conn_answers(conn), conn->out.n);
    conn->keyed = false;
    conn->client->n_keyed--;
    budget_force(conn, conn_answers(conn), conn->out.n);
    if (conn->state == FLUSHING || conn->state == CLOSING)
        conn_enter(conn, conn->state, LIMIT_OPEN_FLUSH_MS);
    conn_mark(conn);
}

void net_key_over(struct net *net, uint64_t who)
{
    for (struct conn *conn = net->conns; conn; conn = conn->next)
        if (conn->keyed && conn->who == who)
            conn_unkeyed(conn);
    for (struct client *client = net->clients; client; client = client->next)
        if (client->key_who == who)
            client->key_ms = 0;
}

// What is sent leaves the buffer: seldom, since the rest has to move.
static void forget_sent(struct conn *conn)
{
    if (conn->out_at > conn->out.n / 2 || conn->out_at == conn->out.n) {
        budget_give(conn, conn_answers(conn), conn->out_at);
        buf_drop_front(&conn->out, conn->out_at);
        conn->out_at = 0;
    }
}

static struct bytes next_to_send(struct conn *conn)
{
    struct bytes out = {NULL, conn->out.n - conn->out_at};
    if (out.n > 0)
        out.p = conn->out.p + conn->out_at;
    if (!conn->tls)
        return out;
    struct space room = out.n > 0 ? tls_plain_room(conn->tls) : (struct space){NULL, 0};
    while (out.n > 0 && room.n > 0) {
        size_t n = out.n < room.n ? out.n : room.n;
        memcpy(room.p, out.p, n);
        tls_plain_put(conn->tls, n);
        conn->out_at += n;
        out = (struct bytes){out.p + n, out.n - n};
        room = tls_plain_room(conn->tls);
    }
    if (out.n == 0)
        tls_flush(conn->tls);
    return tls_wire_view(conn->tls);
}

// Sends at most one turn's share. True: nothing waits any more.
static bool send_some(struct conn *conn)
{
    size_t n_turn = 0;
    struct bytes next = next_to_send(conn);
    while (next.n > 0 && n_turn < LIMIT_WRITE_PER_TURN) {
        ssize_t n = send(conn->fd, next.p, next.n, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                conn_kill(conn);
            break;
        }
        n_turn += (size_t)n;
        work_bytes(conn, &conn->n_sent, (size_t)n, false);
        if (conn->tls)
            tls_wire_drop(conn->tls, (size_t)n);
        else
            conn->out_at += (size_t)n;
        next = next_to_send(conn);
    }
    forget_sent(conn);
    bool empty = next.n == 0 && conn->out.n == conn->out_at;
    if (empty) {
        conn->stall_ms = 0;
    } else if (n_turn > 0 || conn->stall_ms == 0) {
        conn->stall_ms = conn->net->now_ms + LIMIT_STALL_MS;
        note_deadline(conn);
    }
    return empty;
}

// ---- the end of a turn -------------------------------------------------------------------------

static void set_interest(struct conn *conn, bool all_sent)
{
    uint32_t interest = (wants_input(conn) ? EPOLLIN : 0U) |
                        (conn->eof || conn->waits ? 0U : EPOLLRDHUP) | (all_sent ? 0U : EPOLLOUT);
    if (interest != conn->interest) {
        struct epoll_event event = {.events = interest, .data.ptr = &conn->source};
        if (epoll_ctl(conn->net->epoll, EPOLL_CTL_MOD, conn->fd, &event) != 0)
            die("epoll refuses a connection: %s", strerror(errno));
        conn->interest = interest;
    }
}

static void close_exchange(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    exchange->gone = true;
    exchange_close(exchange); // on_gone may write to other exchanges, and still looks at this one
    conn->exchange = NULL;
}

static void destroy(struct conn *conn)
{
    struct net *net = conn->net;
    if (conn->exchange)
        close_exchange(conn);
    close(conn->fd); // epoll forgets it too
    if (conn->tls)
        tls_close(conn->tls);
    stop_waiting(conn);
    budget_give(conn, conn_answers(conn), conn->out.n);
    buf_free(&conn->out);
    conn->client->n_keyed -= conn->keyed;
    client_drop(net, conn->client);
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        net->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    net->n_conns--;
    free(conn);
}

// All that is to be sent has gone: on to what the state waits for.
static bool after_sending(struct conn *conn)
{
    if (conn->state == FLUSHING && conn->eof) {
        conn_kill(conn);
    } else if (conn->state == FLUSHING && conn->net->stop_ms != 0) {
        conn_finish(conn);
    } else if (conn->state == FLUSHING) {
        buf_free(&conn->out); // an idle connection holds no buffer
        buf_init(&conn->out, LIMIT_REPLY_OUT);
        conn_enter(conn, IDLE, LIMIT_IDLE_MS);
        conn->worked = false;
        if (conn->tls)
            feed_from_tls(conn); // what a pipelining client has sent already
        return true;
    }
    if (conn->state == CLOSING && conn->tls && !conn->shut) {
        conn->shut = true;
        tls_finish(conn->tls);
        return send_some(conn);
    }
    return true;
}

void conn_settle(struct conn *conn)
{
    conn->marked = false;
    if (conn->exchange && (conn->exchange->done || conn->state == CLOSING || conn->state == LINGER))
        close_exchange(conn);
    bool all_sent = !conn->dead && conn->state != LINGER && send_some(conn);
    notice_tls_ready(conn);
    notice_tls_end(conn);
    if (conn->state == BODY && conn->tls && !conn->dead)
        feed_from_tls(conn); // what came while the sink took nothing
    if (all_sent && !conn->dead)
        all_sent = after_sending(conn);
    if (all_sent && !conn->dead && conn->state == CLOSING && (!conn->tls || conn->shut)) {
        if (conn->eof || shutdown(conn->fd, SHUT_WR) != 0) {
            conn_kill(conn);
        } else {
            conn->n_window = 0;
            conn_enter(conn, LINGER, conn->unread ? LIMIT_DRAIN_MS : LIMIT_LINGER_MS);
        }
    }
    if (conn->dead) {
        if (!conn->marked) // else the loop comes here again
            destroy(conn);
        return;
    }
    if (conn->state == IDLE && conn->tls)
        tls_rest(conn->tls);
    set_interest(conn, all_sent || conn->state == LINGER);
}

// ---- beginning ---------------------------------------------------------------------------------

static void set_socket_options(int fd)
{
    const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1}, // a token is sent when it is there
        {IPPROTO_TCP, TCP_NOTSENT_LOWAT,
         LIMIT_UNSENT}, // a slow reader's stream waits with us, where it is counted
        {IPPROTO_TCP, TCP_USER_TIMEOUT,
         LIMIT_STALL_MS},              // a client that vanished without a word ...
        {SOL_SOCKET, SO_KEEPALIVE, 1}, // ... is noticed while a long prompt is being read, too
        {IPPROTO_TCP, TCP_KEEPIDLE, 30},
        {IPPROTO_TCP, TCP_KEEPINTVL, 10},
        {IPPROTO_TCP, TCP_KEEPCNT, 3},
    };
    for (size_t i = 0; i < COUNT_OF(options); i++)
        if (setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int)) != 0)
            log_debug("socket option %d is not to be had: %s", options[i].name, strerror(errno));
}

void conn_open(struct net *net, const struct listener *listener, int fd,
               const struct sockaddr_storage *from)
{
    char peer[64];
    uint8_t key[16];
    address_peer(from, peer, key);
    struct client *client = client_take(net, key, peer);
    if (!client) {
        close(fd);
        return;
    }
    struct conn *conn = mem_alloc(sizeof(*conn));
    conn->client = client;
    conn->source.ready = conn_ready;
    conn->net = net;
    conn->fd = fd;
    conn->on_tls_port = listener->tls;
    memcpy(conn->peer, peer, sizeof(peer));
    buf_init(&conn->out, LIMIT_REPLY_OUT);
    if (listener->tls)
        conn->tls = tls_open(net->tls);
    set_socket_options(fd);
    conn->interest = EPOLLIN | EPOLLRDHUP;
    struct epoll_event event = {.events = conn->interest, .data.ptr = &conn->source};
    if (epoll_ctl(net->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll refuses a connection: %s", strerror(errno));
    conn->next = net->conns;
    if (net->conns)
        net->conns->prev = conn;
    net->conns = conn;
    net->n_conns++;
    work_charge(conn, LIMIT_WORK_ACCEPT);
    if (listener->tls) {
        conn_enter(conn, HANDSHAKE, net->stop_ms == 0 ? LIMIT_HANDSHAKE_MS : LIMIT_STOP_ARRIVE_MS);
    } else {
        conn_enter(conn, HEAD, LIMIT_HEAD_MS);
        conn->exchange = exchange_open(conn);
    }
}
