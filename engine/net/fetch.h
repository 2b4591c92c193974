// fetch.h - floor 2, inside net/: what client.c, fetch_connect.c and fetch_talk.c share: one fetch,
// its connection, and the fetcher that holds them all.
//
// A fetch's life, and back to LOOKUP for a redirect:
//
//   LOOKUP -> CONNECT (-> TUNNEL, through a proxy) -> TLS -> HEAD -> BODY -> freed
//
// epoll only notes what is ready (fetch->poked); all work is done by fetcher_run at the end of a
// turn, and a fetch is freed there alone, so that the callbacks may open and close fetches.
#pragma once

#include "conn.h"
#include "resolve.h"
#include "response.h"
#include "url.h"

enum { FETCH_TOKEN_BYTES = 8192, FETCH_TEXT_BYTES = 256 };

struct fetcher {
    struct net *net;
    char *plain, *tokens, *ca, *proxy; // the settings: ours
    struct trust *trust;               // NULL: not read yet
    struct resolver *resolver;
    struct source source; // the resolver's
    struct fetch *fetches;
    size_t n_fetches;
    uint64_t last_id;
};

enum fetch_state { FETCH_LOOKUP, FETCH_CONNECT, FETCH_TUNNEL, FETCH_TLS, FETCH_HEAD, FETCH_BODY };

struct attempt { // a connection that is being made
    struct source source;
    struct fetch *fetch;
    int fd; // -1: none
    bool ready;
};

struct fetch {
    struct source source; // of the connection
    struct fetcher *fetcher;
    struct fetch *next;
    const struct fetch_calls *calls;
    void *arg;
    bool dead; // it is freed at the end of the turn; nothing is called any more
    bool poked;
    bool begins; // its address is one; else `bad` says what is wrong with it
    struct err bad;
    // what is asked for
    struct url url, first; // now; and before any redirect
    struct url proxy;      // host[0] == 0: none
    bool head_only;
    uint64_t from;
    char accept[FETCH_TEXT_BYTES], if_range[FETCH_TEXT_BYTES], token[FETCH_TOKEN_BYTES];
    uint32_t n_redirects;
    char linked_etag[FETCH_TEXT_BYTES], linked_size[32];
    // where it stands
    enum fetch_state state;
    uint64_t id;          // of the lookup
    uint64_t deadline_ms; // of the state; 0: none
    struct resolved *resolved;
    size_t n_tried; // of its addresses
    uint64_t next_attempt_ms;
    struct attempt attempts[LIMIT_ATTEMPTS];
    int attempt_errno;
    int fd; // -1: no connection
    uint32_t interest;
    struct tls *tls; // NULL: plain, or in the proxy's tunnel yet
    struct buf out;
    size_t out_at;
    struct response *response;
    bool eof, broken;   // broken: not by a proper end
    bool held, goes_on; // body() wants no more; fetch_go_on was called
    uint64_t n_body, n_window, window_ms, heard_ms;
};

// client.c
void fetch_enter(struct fetch *fetch, enum fetch_state state, uint64_t within_ms);
// Ends it with this; the sentence is written by the caller in fetch_fail's way.
void fetch_end(struct fetch *fetch, const struct err *err);
void fetch_fail(struct fetch *fetch, enum status status, const char *format, ...) PRINTF_LIKE(3, 4);
const char *fetch_host(const struct fetch *fetch, char out[URL_HOST_BYTES + 16]);
struct bytes fetch_token(const struct fetch *fetch); // for the present host; n == 0: none
const struct trust *fetcher_trust(struct fetcher *fetcher, struct err *err); // NULL: err says why
void fetch_answered(struct fetch *fetch); // the head is there, and it is the host's own

// fetch_connect.c
void fetch_connect(struct fetch *fetch); // its addresses are known, or some attempt is ready
uint64_t fetch_connect_due_ms(const struct fetch *fetch);
void fetch_disconnect(struct fetch *fetch);

// fetch_talk.c
void fetch_connected(struct fetch *fetch); // fetch->fd is a connection
void fetch_talk(struct fetch *fetch);      // sends, reads, and hands on what came
