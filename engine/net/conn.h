// conn.h - floor 2, inside net/: what loop.c, budget.c, conn.c, request.c, exchange.c and sse.c
// share: a client, its connections, an exchange on each.
//
// A connection's life:
//
//   HANDSHAKE -> IDLE -> HEAD -> ANSWERING -> FLUSHING -> IDLE ...
//                           \-> BODY --/     any of them -> CLOSING -> LINGER -> freed
//
// At the end of HEAD the handler is called, in state ANSWERING; it may go to BODY and come back. A
// connection of a plain port begins at HEAD, answers one request and closes.
//
// Nothing is freed while events are being handled: whoever changes a connection marks it
// (conn_mark), and at the end of the turn conn_settle sends what is to be sent, tells owners of
// exchanges that are gone, and frees what is dead.
#pragma once

#include "address.h"
#include "http.h"
#include "identity.h"
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

enum { N_TIMERS = 12 };

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

enum budget { BODIES, OPEN_BODIES, ANSWERS, OPEN_ANSWERS, N_BUDGETS };

struct client { // one address (IPv6: one /64), and what its connections hold together
    struct client *next;
    uint8_t key[16];
    size_t n_conns, n_keyed; // connections; those that have shown the key
    size_t n_held[N_BUDGETS];
    uint64_t work_us; // when all the work done for it unkeyed will be paid off
    uint64_t key_ms;  // when one of its connections last showed the key; 0: none has
    uint64_t key_who; // which one
    size_t n_leaving; // of its open answers, what ends with this turn (makes_room)
};

struct net {
    int epoll, stop_fd, address_fd; // address_fd: -1 when there is none
    struct source stop_source, address_source;
    net_handler *handler;
    void *handler_arg;
    net_tick *changed, *stop_begins, *stop_ends;
    net_answered *answered;
    net_refuser *refuser;
    void *changed_arg, *stop_arg, *answered_arg, *refuser_arg;
    char hostname[64], state[1024];
    char asked_hostname[64]; // of the settings; `hostname` is what others in the network call us
    int64_t clock_gap_s;     // the wall clock less the monotonic one: it jumps when that is set
    struct listener listeners[LIMIT_LISTENERS];
    size_t n_listeners;
    uint64_t handed_taken; // net_handed_taken
    struct watch *watches;
    struct timer timers[N_TIMERS];
    size_t n_timers;
    struct conn *conns; // doubly linked
    size_t n_conns;
    struct conn *marked; // to be settled at the end of this turn
    struct client *clients;
    struct conn *waiting, **waiting_end; // open ones with work to be done, in order of arrival
    uint64_t now_ms;                     // of this turn
    uint64_t expire_ms;                  // no connection's deadline is before this
    uint64_t stop_ms;         // 0: running; else when answers under way get their last words
    uint64_t cut_ms;          // 0, or when they are cut off
    uint64_t accept_at_ms;    // 0: accepting; else when it begins again
    uint64_t readdress_ms;    // 0, or when to look at the addresses
    uint64_t work_us;         // when the work done for all of them will be paid off
    uint64_t work_at_ms;      // when the line of those waiting for work is gone through again
    size_t n_held[N_BUDGETS]; // bytes of bodies and unsent answers, of all connections
    struct tls_server *tls;
    struct cert ca, server;
    struct keeper *keeper; // writes server; NULL until there is one
    struct fetcher *fetcher;
    struct buf ca_pem;
};

enum conn_state { HANDSHAKE, IDLE, HEAD, BODY, ANSWERING, FLUSHING, CLOSING, LINGER };

struct conn {
    struct source source;
    struct net *net;
    struct client *client;
    struct conn *next, *prev, *next_marked, *next_waiting;
    int fd;
    enum conn_state state;
    uint32_t interest; // what epoll watches for
    bool on_tls_port, marked, dead, eof, shut;
    bool keyed;         // it has shown the key
    uint64_t who;       // which one, last; 0: none
    bool waits, worked; // in net->waiting; its handshake or request was paid for
    bool unread;        // the body of its last request is still to come
    struct tls *tls;    // NULL: plain
    struct exchange *exchange;
    struct buf out;       // plain bytes of answers
    size_t out_at;        // of which so many are sent
    uint64_t since_ms;    // in this state
    uint64_t deadline_ms; // of the state; 0: none
    uint64_t body_end_ms; // BODY: the deadline of the whole
    uint64_t
        stall_ms; // 0: nothing waits to be sent; else when its standing still ends the connection
    size_t n_window;            // BODY: bytes since the window began; LINGER: bytes thrown away
    size_t n_received;          // from the socket
    size_t n_read, n_sent;      // from it and to it, as work counts them
    size_t n_paid;              // units of work in the second from paid_ms, while it was open
    uint64_t paid_ms, waits_ms; // waits_ms: since when it waits for work
    char peer[64];
};

enum { NOTE_BYTES = 200 };

struct exchange {
    struct conn *conn;
    struct http http;
    struct request request;
    char id[REQUEST_ID], note[NOTE_BYTES];
    int code;           // of its answer
    uint64_t began_ms;  // when its head was complete
    bool told;          // net->answered was called
    net_handler *whole; // for the body; NULL: nobody asked for it
    net_sink *sink;     // NULL: it is collected
    void *body_arg;
    bool held; // the sink takes nothing for now
    struct buf body;
    enum budget reserved_from;
    size_t n_reserved; // of that budget
    struct buf fields; // header lines that the handler added
    bool streaming, chunked, head_only;
    bool last; // what a stream gets now is its end: as much may wait as of a whole answer
    bool done; // the answer is complete
    bool gone; // the client is: on_gone is due, unless done
    net_gone *on_gone;
    void *owner;
};

// budget.c
// The client of an address, with one more connection to it; NULL: there is no place for that.
struct client *client_take(struct net *net, const uint8_t key[16], const char *peer);
void client_drop(struct net *net, struct client *client);
// One connection gives up its place at the end of the turn; false: none can.
bool place_free(struct net *net);
// False: nothing was taken, since all clients together, or this one, would hold too much.
bool budget_take(struct conn *conn, enum budget budget, size_t n);
void budget_force(struct conn *conn, enum budget budget, size_t n); // taken over the budget
void budget_give(struct conn *conn, enum budget budget, size_t n);
const char *budget_full(const struct conn *conn, enum budget budget, char out[96]); // why not
// False: this client, or all of them, have had their share; later.
bool work_take(struct conn *conn, uint32_t n);
// So many bytes more came, or were sent (`in` false), which cost an open client work. *n_before:
// those before them.
void work_bytes(struct conn *conn, size_t *n_before, size_t n, bool in);
void work_charge(struct conn *conn, uint32_t n); // it is done already, whatever is owed
void work_give_back(struct conn *conn);  // it has shown the key: what it took just now is none
bool work_owed(const struct conn *conn); // it is open, and has to wait until work is paid off
// What became of a connection, for the log: of an open one only where the log tells all (debug), so
// that whoever has no key does not push out of it what its owner looks for.
void conn_tell(const struct conn *conn, const char *format, ...) PRINTF_LIKE(2, 3);

// loop.c
void net_upkeep(struct net *net); // renews the certificate when it does not fit any more

// conn.c
void conn_open(struct net *net, const struct listener *listener, int fd,
               const struct sockaddr_storage *from);
void conn_mark(struct conn *conn);
void conn_settle(struct conn *conn);             // may free it
void conn_expire(struct conn *conn);             // its deadline may have passed
uint64_t conn_deadline(const struct conn *conn); // 0: none
void conn_enter(struct conn *conn, enum conn_state state, uint64_t within_ms);
void conn_kill(struct conn *conn);   // at the end of the turn, without ceremony
void conn_finish(struct conn *conn); // says goodbye once what is unsent has gone
void conn_keyed(struct conn *conn);
enum budget conn_answers(const struct conn *conn);      // the budget of its answers
bool conn_write(struct conn *conn, struct bytes bytes); // false: over a cap; nothing was taken
void conn_wait(struct conn *conn);                      // for its share of work
void conn_work(struct net *net);                        // does some of what waits

// request.c
// Gives plain bytes to the request that is being read; how many it took: 0 when none is being read.
size_t request_feed(struct conn *conn, struct bytes in);
bool request_expire(struct conn *conn); // false: there is none being read
bool request_is_held(const struct conn *conn);

// client.c
void fetcher_open(struct net *net, const struct client_options *options);
void fetcher_close(struct net *net);
void fetcher_run(struct net *net);              // what is ready or due, at the end of a turn
uint64_t fetcher_due_ms(const struct net *net); // when it has to run again; UINT64_MAX: never

// exchange.c
struct exchange *exchange_open(struct conn *conn);
void exchange_close(struct exchange *exchange); // tells the owner when it is gone but not done
void exchange_free_body(struct exchange *exchange);
void exchange_refuse(struct conn *conn, int code,
                     const char *why); // an error answer; the connection closes
enum status exchange_write_parts(struct exchange *exchange, const struct bytes *parts, size_t n);
