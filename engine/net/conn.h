// conn.h - floor 2, inside net/: what loop.c, conn.c, exchange.c and sse.c share: a connection and
// its exchange.
//
// A connection's life:
//
//   HANDSHAKE -> IDLE -> HEAD -> BODY -> ANSWERING -> FLUSHING -> IDLE ...
//                                        any of them -> CLOSING -> LINGER -> freed
//
// A connection of a plain port begins at HEAD, answers one request and closes.
//
// Nothing is freed while events are being handled: whoever changes a connection marks it
// (conn_mark), and at the end of the turn conn_settle sends what is to be sent, tells owners of
// exchanges that are gone, and frees what is dead.
#pragma once

#include "address.h"
#include "http.h"
#include "limits.h"
#include "net.h"
#include "tls.h"

struct source { // what epoll points to; the first member of everything that is watched
    void (*ready)(struct source *source, uint32_t events);
};

struct listener {
    struct source source;
    struct net *net;
    struct listen_at at;
    int fd;
    bool tls;
};

enum { N_TIMERS = 8 };

struct timer {
    uint32_t period_ms;
    uint64_t next_ms;
    net_tick *tick;
    void *arg;
};

struct watch {
    struct source source;
    struct watch *next;
    net_ready *ready;
    void *arg;
    int fd;
};

struct net {
    int epoll, stop_fd, address_fd; // address_fd: -1 when there is none
    struct source stop_source, address_source;
    net_handler *handler;
    void *handler_arg;
    net_tick *changed;
    void *changed_arg;
    char hostname[64], state[1024];
    struct listener listeners[LIMIT_LISTENERS];
    size_t n_listeners;
    struct watch *watches;
    struct timer timers[N_TIMERS];
    size_t n_timers;
    struct conn *conns; // doubly linked
    size_t n_conns;
    struct conn *marked;   // to be settled at the end of this turn
    uint64_t now_ms;       // of this turn
    uint64_t expire_ms;    // no connection's deadline is before this
    uint64_t stop_ms;      // 0: running; else when the last answers are cut off
    uint64_t accept_at_ms; // 0: accepting; else when it begins again
    uint64_t readdress_ms; // 0, or when to look at the addresses
    size_t n_buffered;     // bytes of bodies and unsent answers, of all connections
    struct tls_server *tls;
    struct cert ca;
    struct buf ca_pem;
};

enum conn_state { HANDSHAKE, IDLE, HEAD, BODY, ANSWERING, FLUSHING, CLOSING, LINGER };

struct conn {
    struct source source;
    struct net *net;
    struct conn *next, *prev, *next_marked;
    int fd;
    enum conn_state state;
    uint32_t interest; // what epoll watches for
    bool on_tls_port, marked, dead, eof, shut;
    struct tls *tls; // NULL: plain
    struct exchange *exchange;
    struct buf out;       // plain bytes of answers
    size_t out_at;        // of which so many are sent
    uint64_t deadline_ms; // of the state; 0: none
    uint64_t body_end_ms; // BODY: the deadline of the whole
    uint64_t
        stall_ms; // 0: nothing waits to be sent; else when its standing still ends the connection
    size_t n_window;   // BODY: bytes since the window began; LINGER: bytes thrown away
    size_t n_received; // from the socket
    uint8_t key[16];   // of the client's address
    char peer[64];
};

struct exchange {
    struct conn *conn;
    struct http http;
    struct request request;
    struct buf body;
    struct buf fields; // header lines that the handler added
    bool streaming, chunked, head_only;
    bool done; // the answer is complete
    bool gone; // the client is: on_gone is due, unless done
    net_gone *on_gone;
    void *owner;
};

// conn.c
void conn_open(struct net *net, const struct listener *listener, int fd,
               const struct sockaddr_storage *from);
void conn_mark(struct conn *conn);
void conn_settle(struct conn *conn);             // may free it
void conn_expire(struct conn *conn);             // its deadline may have passed
uint64_t conn_deadline(const struct conn *conn); // 0: none
void conn_kill(struct conn *conn);               // at the end of the turn, without ceremony
void conn_finish(struct conn *conn);             // says goodbye once what is unsent has gone
// The connection that has been idle longest goes at the end of the turn; false: none is idle.
bool conn_evict(struct net *net);
bool conn_write(struct conn *conn, struct bytes bytes); // false: over a cap; nothing was taken

// exchange.c
struct exchange *exchange_open(struct conn *conn);
void exchange_close(struct exchange *exchange); // tells the owner when it is gone but not done
void exchange_refuse(struct conn *conn, int code,
                     const char *why); // an error answer; the connection closes
enum status exchange_write_parts(struct exchange *exchange, const struct bytes *parts, size_t n);
