// net.h - floor 2: sockets, TLS, HTTP/1.1 and server-sent events. One epoll thread drives every
// connection.
//
// The floor above hands in one handler; a request that is whole and within its caps is passed to it
// as an exchange. The handler answers at once or later, in one piece or as a stream. A client too
// slow for its capped output buffer, or gone, ends the exchange: `on_gone` tells the owner, once.
// Caps and deadlines: limits.h.
//
// Everything here belongs to the thread that runs net_run, but for net_stop. A request on the plain
// port is passed on at its last header (a body is not read), and the connection closes after the
// answer. HEAD is answered like GET: the body given is counted and not sent. DNS rebinding gets
// nowhere: our certificate never covers the foreign name.
#pragma once

#include "../base/base.h"

struct net;
struct http;
struct exchange; // one request and its answer

struct request {         // views, valid until the exchange ends
    struct bytes method; // "GET"
    struct bytes path;   // decoded, without the query; begins with '/' (or is "*"); valid UTF-8, no
                         // control characters
    struct bytes query;  // raw, without '?'
    struct bytes
        host; // a valid name or address, perhaps with a port; empty in HTTP/1.0 without one
    struct bytes authorization, api_key, content_type, origin, accept; // empty when absent
    struct bytes body;
    bool tls;                // false: the plain port
    char peer[64];           // client's address and port, for the log
    const struct http *http; // for request_header
};

typedef void net_handler(void *arg, struct exchange *exchange, const struct request *request);
typedef void net_gone(void *arg, struct exchange *exchange);
typedef void net_ready(void *arg, int fd);
typedef void net_tick(void *arg);

struct net_options {
    const char *listen;      // comma separated ADDR:PORT, TLS
    const char *listen_http; // comma separated, plain; "" = none
    const char *state;       // directory with tls/
    const char *hostname;
};

// Opens the listeners, and makes or loads the CA and the server's certificate (re-issued when it
// does not name a present address).
MUST_USE enum status net_open(struct net **out, const struct net_options *options,
                              net_handler *handler, void *arg, struct err *err);
void net_close(struct net *net); // calls on_gone for every open exchange
void net_watch(struct net *net, int fd, net_ready *ready,
               void *arg); // calls ready when fd is readable
void net_every(struct net *net, uint32_t period_ms, net_tick *tick, void *arg);
// Calls changed when the certificate was made anew while running: the addresses (and so net_url)
// may be others now.
void net_on_change(struct net *net, net_tick *changed, void *arg);
MUST_USE enum status net_run(struct net *net, struct err *err); // until net_stop()
// Async-signal-safe, from any thread. Listeners close at once, answers under way have LIMIT_STOP_MS
// to end.
void net_stop(struct net *net);
struct bytes net_ca_pem(const struct net *net);
void net_ca_fingerprint(const struct net *net, char out[96]); // SHA-256, "AA:BB:..."
// Addresses and ports being listened on as a person would type them, e.g. "https://192.0.2.7/"; n =
// 0.. ; false after the last.
bool net_url(const struct net *net, size_t n, char out[128]);
// Port of the first TLS listener, the real one where `listen` says 0: to there the plain port sends
// people.
int net_https_port(const struct net *net);

// Any header field by its lower-case name; .p is NULL when absent.
struct bytes request_header(const struct request *request, const char *lower_case_name);

// Answering. All copy what they are given. An exchange lives until its answer is complete
// (exchange_reply, exchange_end) or on_gone was called; after a complete answer on_gone is not
// called. `owner` gets on_gone when the client vanishes before the answer is complete: later, from
// the loop, never from inside one of these calls.
void exchange_owner(struct exchange *exchange, net_gone *on_gone, void *arg);
void exchange_reply(struct exchange *exchange, int code, const char *content_type,
                    struct bytes body);
void exchange_reply_header(struct exchange *exchange, const char *name,
                           const char *value); // before reply/stream
void exchange_stream(struct exchange *exchange, int code, const char *content_type); // chunked
// CLOSED: the client is too slow or gone (on_gone will be called, unless exchange_end is called
// first); nothing more need be written.
MUST_USE enum status exchange_write(struct exchange *exchange, struct bytes piece);
void exchange_end(struct exchange *exchange);
int status_http_code(enum status status); // the one table

// Server-sent events (sse.c): one `data: ...\n\n`, or a comment line that keeps the connection
// alive. The JSON must be one line.
MUST_USE enum status sse_data(struct exchange *exchange, struct bytes json);
MUST_USE enum status sse_comment(struct exchange *exchange, const char *text);
