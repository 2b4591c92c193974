// budget.c - what clients may hold and cost: places, bytes of bodies and answers, work.
//
// A client is an address (IPv6: one /64). Each budget has a cap for all clients together and one
// for each, so that no address alone uses it up; those who have shown the key and those who have
// not ("open") have budgets of their own. Two things are promised beyond that: a connection may
// always have LIMIT_ANSWER_ALWAYS unsent bytes, so that a stream that is read, /health and error
// answers never depend on others; and when places run out, it is an open connection that goes, the
// longest in its state, of the client that has most of them; of several, of any of these.
//
// Work is what costs processor time before a key is shown: handshakes, requests, bytes. It is paid
// for from a bucket of each client that fills with time, and from one of all clients that have
// shown no key lately; a client whose bucket is empty waits. Room for answers to open clients is
// taken, when there is none, from who holds more and reads nothing.
#include "conn.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    size_t all, client;
    const char *what;
} caps[N_BUDGETS] = {
    [BODIES] = {LIMIT_BODIES, LIMIT_BODIES_CLIENT, "request bodies"},
    [OPEN_BODIES] = {LIMIT_OPEN_BODIES, LIMIT_OPEN_BODIES_CLIENT, "request bodies without a key"},
    [ANSWERS] = {LIMIT_ANSWERS, LIMIT_ANSWERS_CLIENT, "unsent answers"},
    [OPEN_ANSWERS] = {LIMIT_OPEN_ANSWERS, LIMIT_OPEN_ANSWERS_CLIENT,
                      "unsent answers without a key"},
};

// ---- bytes -------------------------------------------------------------------------------------

static bool fits(const struct conn *conn, enum budget budget, size_t n)
{
    size_t all = conn->net->n_held[budget], own = conn->client->n_held[budget];
    return all + n <= caps[budget].all && own + n <= caps[budget].client;
}

void budget_force(struct conn *conn, enum budget budget, size_t n)
{
    conn->net->n_held[budget] += n;
    conn->client->n_held[budget] += n;
}

// Open answers of those whose connections end with this turn: of each client, and of all.
static size_t count_leaving(struct net *net)
{
    size_t n = 0;
    for (struct client *client = net->clients; client; client = client->next)
        client->n_leaving = 0;
    for (struct conn *conn = net->conns; conn; conn = conn->next) {
        if (!conn->dead || conn->keyed)
            continue;
        conn->client->n_leaving += conn->out.n;
        n += conn->out.n;
    }
    return n;
}

static size_t n_staying(const struct client *client)
{
    return client->n_held[OPEN_ANSWERS] - client->n_leaving;
}

// It waits to be read, and nothing of it has been for a while.
static bool stands_still(const struct conn *conn)
{
    return !conn->keyed && !conn->dead && conn->stall_ms != 0 &&
           conn->stall_ms + LIMIT_OPEN_STALL_MS <= conn->net->now_ms + LIMIT_STALL_MS;
}

// Of the answers that stand still the largest of a client that holds more than `own`.
static struct conn *largest_still(const struct net *net, size_t own)
{
    struct conn *largest = NULL;
    for (struct conn *conn = net->conns; conn; conn = conn->next)
        if (stands_still(conn) && n_staying(conn->client) > own &&
            (!largest || conn->out.n > largest->out.n))
            largest = conn;
    return largest;
}

// Whether there will be room for n bytes more at the end of this turn, as far as answers that stand
// still, of clients that hold more than this one will then, are given up for it.
static bool makes_room(struct conn *conn, size_t n)
{
    struct net *net = conn->net;
    for (;;) {
        const size_t n_leaving = count_leaving(net), own = n_staying(conn->client) + n;
        if (own > caps[OPEN_ANSWERS].client)
            return false;
        if (net->n_held[OPEN_ANSWERS] - n_leaving + n <= caps[OPEN_ANSWERS].all)
            return true;
        struct conn *largest = largest_still(net, own);
        if (!largest)
            return false;
        log_debug("%s gives up an answer that it does not read: it has shown no key, and there is "
                  "no room for the answers to others",
                  largest->peer);
        conn_kill(largest);
    }
}

bool budget_take(struct conn *conn, enum budget budget, size_t n)
{
    if (!fits(conn, budget, n) && !(budget == OPEN_ANSWERS && makes_room(conn, n)))
        return false;
    budget_force(conn, budget, n);
    return true;
}

void budget_give(struct conn *conn, enum budget budget, size_t n)
{
    if (n > conn->client->n_held[budget] || n > conn->net->n_held[budget])
        die("%zu bytes of %s are given back, more than are held", n, caps[budget].what);
    conn->net->n_held[budget] -= n;
    conn->client->n_held[budget] -= n;
}

const char *budget_full(const struct conn *conn, enum budget budget, char out[96])
{
    size_t own = conn->client->n_held[budget], half = caps[budget].client / 2;
    bool is_own = own > half && conn->net->n_held[budget] < caps[budget].all - half;
    snprintf(out, 96, "the %s of %s hold %zu KiB already", caps[budget].what,
             is_own ? "this address" : "all clients",
             (is_own ? own : conn->net->n_held[budget]) >> 10);
    return out;
}

// ---- work --------------------------------------------------------------------------------------

// A bucket is a point in time: work_us - now is the work that is not paid off yet, at so many units
// a second; a second's worth may be owed.
enum { SECOND_US = 1000000 };

static bool is_owed(uint64_t work_us, uint64_t now_us)
{
    return work_us >= now_us + SECOND_US;
}

static void add_work(uint64_t *work_us, uint64_t now_us, uint64_t n, uint64_t a_second)
{
    *work_us = (*work_us > now_us ? *work_us : now_us) + n * SECOND_US / a_second;
}

// Its address is that of somebody who has the key: no crowd of others holds it up.
static bool has_key(const struct client *client, uint64_t now_ms)
{
    return client->n_keyed > 0 ||
           (client->key_ms != 0 && now_ms - client->key_ms < LIMIT_KEY_SEEN_MS);
}

static void work_do(struct conn *conn, size_t n)
{
    const uint64_t now_ms = conn->net->now_ms, now_us = now_ms * 1000;
    if (now_ms - conn->paid_ms >= 1000) {
        conn->n_paid = 0;
        conn->paid_ms = now_ms;
    }
    conn->n_paid += n;
    add_work(&conn->client->work_us, now_us, n, LIMIT_OPEN_WORK);
    if (!has_key(conn->client, now_ms))
        add_work(&conn->net->work_us, now_us, n, LIMIT_OPEN_WORK_ALL);
}

bool work_owed(const struct conn *conn)
{
    const uint64_t now_ms = conn->net->now_ms;
    return !conn->keyed &&
           (is_owed(conn->client->work_us, now_ms * 1000) ||
            (!has_key(conn->client, now_ms) && is_owed(conn->net->work_us, now_ms * 1000)));
}

// No bucket is fuller than full.
static void take_back(uint64_t *work_us, uint64_t n, uint64_t a_second)
{
    const uint64_t us = n * SECOND_US / a_second;
    *work_us -= us < *work_us ? us : *work_us;
}

void work_give_back(struct conn *conn)
{
    struct client *client = conn->client;
    const uint64_t now_ms = conn->net->now_ms;
    const size_t n = now_ms - conn->paid_ms < 1000 ? conn->n_paid : 0;
    take_back(&client->work_us, n, LIMIT_OPEN_WORK);
    if (!has_key(client, now_ms)) // else all of them paid nothing
        take_back(&conn->net->work_us, n, LIMIT_OPEN_WORK_ALL);
    conn->n_paid = 0;
    client->key_ms = now_ms ? now_ms : 1;
    client->key_who = conn->who;
}

void work_charge(struct conn *conn, uint32_t n)
{
    if (!conn->keyed)
        work_do(conn, n);
}

bool work_take(struct conn *conn, uint32_t n)
{
    if (work_owed(conn))
        return false;
    work_do(conn, n);
    return true;
}

void work_bytes(struct conn *conn, size_t *n_before, size_t n, bool in)
{
    const size_t unit = in ? LIMIT_WORK_IN : LIMIT_WORK_OUT, before = *n_before / unit;
    *n_before += n;
    if (!conn->keyed)
        work_do(conn, *n_before / unit - before);
}

// ---- places ------------------------------------------------------------------------------------

void conn_tell(const struct conn *conn, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (conn->keyed)
        log_info("%s: %s", conn->peer, text);
    else
        log_debug("%s: %s", conn->peer, text);
}

// An open connection that may go; one that is being answered stays.
static bool can_go(const struct conn *conn)
{
    return !conn->dead && !conn->keyed && conn->state != ANSWERING;
}

static size_t n_open(const struct client *client)
{
    return client->n_conns - client->n_keyed;
}

// Of that client; NULL: of those that have so many open ones.
static bool close_oldest_open(struct net *net, const struct client *client, size_t n)
{
    struct conn *oldest = NULL;
    for (struct conn *conn = net->conns; conn; conn = conn->next)
        if ((client ? conn->client == client : n_open(conn->client) == n) && can_go(conn) &&
            (!oldest || conn->since_ms < oldest->since_ms))
            oldest = conn;
    if (!oldest)
        return false;
    log_debug("%s gives up its place: it has shown no key, and there are too many connections",
              oldest->peer);
    conn_kill(oldest);
    return true;
}

static bool close_idle(struct net *net)
{
    struct conn *idle = NULL;
    for (struct conn *conn = net->conns; conn; conn = conn->next)
        if (conn->state == IDLE && !conn->dead && (!idle || conn->since_ms < idle->since_ms))
            idle = conn;
    if (idle)
        conn_kill(idle);
    return idle;
}

bool place_free(struct net *net)
{
    size_t most = 0;
    for (struct client *client = net->clients; client; client = client->next)
        most = n_open(client) > most ? n_open(client) : most;
    return (most > 0 && close_oldest_open(net, NULL, most)) || close_idle(net);
}

static struct client *client_find(struct net *net, const uint8_t key[16])
{
    struct client *client = net->clients;
    while (client && memcmp(client->key, key, sizeof(client->key)) != 0)
        client = client->next;
    return client;
}

struct client *client_take(struct net *net, const uint8_t key[16], const char *peer)
{
    struct client *client = client_find(net, key);
    if (client && client->n_conns >= LIMIT_PER_CLIENT && !close_oldest_open(net, client, 0)) {
        log_debug("%s has %zu connections with the key already: refused", peer, client->n_conns);
        return NULL;
    }
    if (net->n_conns >= LIMIT_CONNECTIONS && !place_free(net)) {
        log_debug("%s: all %d connections are in use: refused", peer, LIMIT_CONNECTIONS);
        return NULL;
    }
    if (!client) {
        client = mem_alloc(sizeof(*client));
        memcpy(client->key, key, sizeof(client->key));
        client->next = net->clients;
        net->clients = client;
    }
    client->n_conns++;
    return client;
}

// A client without connections is kept while it owes work: to come back does not pay it off; and
// while it is known to have the key.
static bool can_be_forgotten(const struct net *net, const struct client *client)
{
    return client->n_conns == 0 && client->work_us <= net->now_ms * 1000 &&
           !has_key(client, net->now_ms);
}

void client_drop(struct net *net, struct client *client)
{
    client->n_conns--;
    for (struct client **at = &net->clients; *at;) {
        struct client *one = *at;
        if (!can_be_forgotten(net, one)) {
            at = &one->next;
            continue;
        }
        *at = one->next;
        free(one);
    }
}
