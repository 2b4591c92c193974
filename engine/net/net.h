// net.h - floor 2: sockets, TLS, HTTP/1.1 and server-sent events. One epoll thread drives every
// connection.
//
// Admission at the head: the floor above hands in one handler, and every request is passed to it as
// an exchange as soon as its head is complete, before a byte of its body is read (or asked for: 100
// Continue). The handler answers at once, or later, in one piece or as a stream; or it has the body
// read (exchange_read, exchange_sink) and answers then. A body that nobody asked for is not read:
// the answer is sent, what still comes is thrown away for a moment, and the connection closes.
// exchange_keyed tells that the client has shown a key: bodies, answers and connections of those
// who have not can take nothing from those who have. A client too slow for its capped output
// buffer, or gone, ends the exchange: `on_gone` tells the owner, once. Caps and deadlines:
// limits.h.
//
// Every answer has a name of its own (x-request-id), also those that this floor gives alone.
//
// Everything here belongs to the thread that runs net_run, but for net_stop. The plain port answers
// one request a connection. HEAD is answered like GET: the body given is counted and not sent. DNS
// rebinding gets nowhere: our certificate never covers the foreign name.
#pragma once

#include "../base/base.h"

struct net;
struct http;
struct exchange; // one request and its answer

enum { REQUEST_ID = 32 }; // "req_", 24 digits and a NUL

struct request {         // views, valid until the exchange ends
    struct bytes method; // "GET"
    struct bytes path;   // decoded, without the query; begins with '/' (or is "*"); valid UTF-8, no
                         // control characters
    struct bytes query;  // raw, without '?'
    struct bytes
        host; // a valid name or address, perhaps with a port; empty in HTTP/1.0 without one
    struct bytes authorization, api_key, content_type, origin, accept; // empty when absent
    struct bytes body;   // of exchange_read: until its handler returns; else empty
    bool has_body;       // one comes, or is announced
    bool body_told;      // Content-Length or chunked; false: there is no body, and nobody said so
    uint64_t body_bytes; // Content-Length; 0: none, or chunked
    bool tls;            // false: the plain port
    char peer[64];       // client's address and port, for the log
    char id[REQUEST_ID]; // x-request-id of the answer
    uint64_t who;        // what exchange_keyed was told; 0: no key was shown
    const struct http *http; // for request_header
};

typedef void net_handler(void *arg, struct exchange *exchange, const struct request *request);
// A piece of a body, borrowed. False: no more for now, until exchange_go_on.
typedef bool net_sink(void *arg, struct exchange *exchange, struct bytes piece);
typedef void net_gone(void *arg, struct exchange *exchange);
typedef void net_ready(void *arg, int fd);
typedef void net_tick(void *arg);

struct answered {
    int code;         // 0: the client left before the answer was complete
    uint64_t took_ms; // from the end of the request's head
    const char *note; // of exchange_note; "": none
};
// Answers, by exchange_reply and at once, what net/ refuses itself: a request that breaks its
// format, comes too slowly or is too much. Of a head that is not whole the request has what could
// be read: method.n is then 0, path.n perhaps.
typedef void net_refuser(void *arg, struct exchange *exchange, const struct request *request,
                         int code, const char *why);
typedef void net_answered(void *arg, const struct request *request,
                          const struct answered *answered);

struct client_options { // for what this box fetches; "" or NULL everywhere: the usual
    const char *ca; // files of PEM certificates that are trusted beside the system's: "FILE, FILE"
    const char *plain;  // hosts that may be asked by http://: "HOST:PORT, HOST"
    const char *tokens; // "HOST TOKEN, HOST TOKEN": sent to that host (and port) alone
    const char *proxy;  // "HOST:PORT": https goes through its CONNECT
};

struct net_options {
    const char *listen;      // comma separated ADDR:PORT, TLS
    const char *listen_http; // comma separated, plain; "" = none
    const char *state;       // directory with tls/
    const char *hostname;
    struct client_options client; // copied
    int handed;                   // the first of n_handed listening sockets, taken over: those that
    size_t n_handed;              // listen and listen_http name are used, the others are left
};

// Which of them are listened on: bit i for descriptor handed + i.
uint64_t net_handed_taken(const struct net *net);
// handed.c: what `listen` and `listen-http` would be for just the sockets that were handed over
// (port 80 is plain HTTP's), each of `size` bytes. Returns how many are for HTTPS.
size_t net_handed_lists(int first, size_t n, char *listen, char *listen_http, size_t size);
// Whether this machine has any of the addresses that such a text names, or will have it by what the
// setting `address` says (coming); [::] and 0.0.0.0 are all. loopback: what nobody else reaches
// counts too.
bool net_listen_here(const char *text, const char *coming, bool loopback);
// Whether `text` is what listen or listen_http may say; BAD_INPUT names `key` and the entry.
// Nothing is opened.
MUST_USE enum status net_listen_good(const char *key, const char *text, struct err *err);
// Opens the listeners, and makes or loads the CA and the server's certificate (re-issued when it
// does not name a present address).
MUST_USE enum status net_open(struct net **out, const struct net_options *options,
                              net_handler *handler, void *arg, struct err *err);
void net_close(struct net *net); // calls on_gone for every open exchange
void net_watch(struct net *net, int fd, net_ready *ready,
               void *arg); // calls ready when fd is readable
void net_every(struct net *net, uint32_t period_ms, net_tick *tick, void *arg);
// Calls answered at the end of every exchange whose head could be read.
void net_on_answer(struct net *net, net_answered *answered, void *arg);
void net_on_refuse(struct net *net, net_refuser *refuser, void *arg); // else it is plain JSON
// Calls changed when the certificate was made anew while running: the addresses (and so net_url)
// may be others now.
void net_on_change(struct net *net, net_tick *changed, void *arg);
MUST_USE enum status net_run(struct net *net, struct err *err); // until net_stop()
// Async-signal-safe, from any thread. Answers under way have LIMIT_STOP_MS to end; requests that
// arrive meanwhile are still passed on, so that they can be refused. Then the listeners close, and
// LIMIT_STOP_LAST_MS are left.
void net_stop(struct net *net);
// begins: the stop has begun, what is not under way yet should be refused. ends: the time for
// answers under way is over, each should be ended now: what is still open then is cut off.
void net_on_stop(struct net *net, net_tick *begins, net_tick *ends, void *arg);
struct bytes net_ca_pem(const struct net *net);
void net_ca_fingerprint(const struct net *net, char out[96]); // SHA-256, "AA:BB:..."
// Addresses and ports being listened on as a person would type them, e.g. "https://192.0.2.7/"; n =
// 0.. ; false after the last.
bool net_url(const struct net *net, size_t n, char out[128]);
// Port of the first TLS listener, the real one where `listen` says 0: to there the plain port sends
// people.
int net_https_port(const struct net *net);

// Port of the plain listener at the address by which this client came in; 0: there is none.
int exchange_plain_port(const struct exchange *exchange);

// Any header field by its lower-case name; .p is NULL when absent.
struct bytes request_header(const struct request *request, const char *lower_case_name);
// request->host without its port: a name, an IPv4 address, or [an IPv6 address].
struct bytes request_host_name(const struct request *request);

// The client has shown a key, `who` of them (not 0): from here on its bodies and answers count
// among those of keyed clients, and its connection is not closed to make room for others.
void exchange_keyed(struct exchange *exchange, uint64_t who);
// That key counts no more, or its secret is another: connections that have shown it last, and
// addresses that are known by it, are open ones again. What is being answered goes on.
void net_key_over(struct net *net, uint64_t who);
// Has the request's body read: once, from the handler of its head. When it is whole, `whole` is
// called with it, and the body is freed when that returns; before that nothing can be answered.
// Without a body, `whole` is called at once. TOO_LARGE: it is longer than cap_bytes; NO_ROOM: too
// many bodies are being read: the caller answers then.
MUST_USE enum status exchange_read(struct exchange *exchange, uint64_t cap_bytes,
                                   net_handler *whole, void *arg, struct err *err);
// The same, but the body goes to `sink` piece by piece as it comes, and `whole` is called without
// it. An answer given while the body comes in ends the reading. A body that breaks its format, or
// comes too slowly, is refused here: the owner's on_gone is called.
MUST_USE enum status exchange_sink(struct exchange *exchange, uint64_t cap_bytes, net_sink *sink,
                                   net_handler *whole, void *arg, struct err *err);
void exchange_go_on(struct exchange *exchange); // the sink takes more

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
// What is written from here on is the end of the stream, and may be as long as a whole answer: no
// slowness of the client's.
void exchange_last(struct exchange *exchange);
void exchange_end(struct exchange *exchange);
const char *exchange_id(const struct exchange *exchange); // its request's id, while it lives
// What was done, in a few words, for whoever keeps account of it (net_on_answer).
void exchange_note(struct exchange *exchange, const char *format, ...) PRINTF_LIKE(2, 3);

// Server-sent events (sse.c): one `data: ...\n\n`, with a name (sse_event; NULL: none) or without.
// ndjson_data: the line alone (https://github.com/ndjson/ndjson-spec). The JSON must be one line.
// CLOSED: the client is too slow or gone (on_gone will be called, unless exchange_end is called
// first); nothing more need be written.
MUST_USE enum status ndjson_data(struct exchange *exchange, struct bytes json);
MUST_USE enum status sse_data(struct exchange *exchange, struct bytes json);
MUST_USE enum status sse_event(struct exchange *exchange, const char *name, struct bytes json);

// ---- fetching (client.c) --------------------------------------------------------------------
//
// One GET or HEAD over HTTPS, on the same epoll thread: TLS 1.2, the server's certificate checked
// against the system's authorities and those of the setting, by name and by this machine's clock.
// Redirects are followed, 5 at most, never from https to http; no token goes to another host or
// port than it is for. Plain http is spoken to hosts that a setting names, and to no other. Nothing
// waits: names are looked up on threads of their own.
//
// A fetch lives until `end` was called, or fetch_close. All three are called from the loop, never
// from inside these functions.

struct fetch;
struct fetch_request {    // copied
    const char *url;      // https://HOST[:PORT]/...
    bool head;            // HEAD, else GET
    const char *accept;   // "": anything
    const char *token;    // Bearer, for the host of url; "": that of the setting, if there is one
    uint64_t from;        // not 0: Range: bytes=FROM-
    const char *if_range; // with it: the ETag that the bytes before belong to; "": none
};
struct fetched { // the head of the answer that is not a redirect; views, while `head` runs
    int code;
    bool has_length;
    uint64_t length;      // of the body that comes
    uint64_t from, total; // of a 206: where it begins, and how long the whole is (0: not told)
    struct bytes etag, modified, type, challenge; // challenge: WWW-Authenticate
    struct bytes linked_etag, linked_size;        // X-Linked-*, also of a redirect on the way
    char host[300];                               // that gave it, for sentences
};
struct fetch_calls {
    void (*head)(void *arg, const struct fetched *fetched);
    // A piece of the body, borrowed. False: it is taken, but no more until fetch_go_on.
    bool (*body)(void *arg, struct bytes piece);
    // OK: it is whole. IO_ERROR, CLOSED: trying again may help; DENIED: the host is not trusted;
    // NOT_FOUND: there is no such name; BAD_INPUT, TOO_LARGE, UNSUPPORTED: it makes no sense.
    void (*end)(void *arg, const struct err *err);
};
struct fetch *fetch_open(struct net *net, const struct fetch_request *request,
                         const struct fetch_calls *calls, void *arg);
void fetch_go_on(struct fetch *fetch);
void fetch_close(struct fetch *fetch); // it ends, and nothing more is called
// BAD_INPUT: the settings of the client are not what they should be; names the setting. Files are
// not opened.
MUST_USE enum status net_client_good(const struct client_options *options, struct err *err);
bool net_host_good(struct bytes text); // a name or an address, perhaps with a port
// Opens the files of the setting now that fetches will trust; why none can be made.
MUST_USE enum status net_client_check(struct net *net, struct err *err);
// "http" for HOST or HOST:PORT that the setting names as plain, else "https".
const char *net_scheme(const struct net *net, const char *host);
// Whether an address can be fetched at all: BAD_INPUT says what is wrong with it.
MUST_USE enum status net_url_good(const char *url, struct err *err);

// identity.c: whether a certificate and its key, as PEM files, are ones that a start takes: both,
// and of each other, or neither (n 0). name: "ca", "server".
MUST_USE enum status net_pair_check(const char *name, struct bytes crt, struct bytes key,
                                    struct err *err);

// ---- seal.c: bytes under a password -----------------------------------------------------------

enum {
    SEAL_SALT = 16,
    SEAL_NONCE = 12,
    SEAL_TAG = 16,
    SEAL_ITERATIONS = 600000, // of new ones: half a second or so
    SEAL_ITERATIONS_LEAST = 100000,
    SEAL_ITERATIONS_MOST = 1000000,
};
struct seal { // what is told in plain beside the sealed bytes
    uint32_t iterations;
    uint8_t salt[SEAL_SALT], nonce[SEAL_NONCE];
};
// Both work in place and take as long as the iterations: not on the net thread. `beside` is told in
// plain too, and must be the same when it is opened.
// Fills *seal. NO_ROOM: there is none for the SEAL_TAG bytes more.
MUST_USE enum status seal_close(struct buf *text, struct seal *seal, struct bytes password,
                                struct bytes beside);
// False: it is another password, or something was changed; text is of no use then.
MUST_USE bool seal_open(struct buf *text, const struct seal *seal, struct bytes password,
                        struct bytes beside);
