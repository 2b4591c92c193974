// budget.c - what clients may hold and cost: places, bytes of bodies and answers, work.
//
// A client is an address (IPv6: one /64). Each budget has a cap for all clients together and one
// for each, so that no address alone uses it up; those who have shown the key and those who have
// not ("open") have budgets of their own. Two things are promised beyond that: a connection may
// always have LIMIT_ANSWER_ALWAYS unsent bytes, so that a stream that is read, /health and error
// answers never depend on others; and when places run out, it is an open connection that goes, the
// longest in its state, of the client that has most of them.
//
// Work is what costs processor time before a key is shown: handshakes and requests. It is paid for
// from a bucket of each client that fills with time; a client whose bucket is empty waits.
#include "conn.h"

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

bool budget_take(struct conn *conn, enum budget budget, size_t n)
{
    if (!fits(conn, budget, n))
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

// The bucket as a point in time: work_ms - now is the work that is not paid off yet, at
// LIMIT_OPEN_WORK units a second; a second's worth may be owed.
bool work_take(struct conn *conn, uint32_t n)
{
    struct client *client = conn->client;
    uint64_t now = conn->net->now_ms;
    if (client->work_ms < now)
        client->work_ms = now;
    if (client->work_ms - now >= 1000)
        return false;
    client->work_ms += ((uint64_t)n * 1000 + LIMIT_OPEN_WORK - 1) / LIMIT_OPEN_WORK;
    return true;
}

// ---- places ------------------------------------------------------------------------------------

// An open connection that may go; one that is being answered stays.
static bool can_go(const struct conn *conn)
{
    return !conn->dead && !conn->keyed && conn->state != ANSWERING;
}

static bool close_oldest_open(struct net *net, const struct client *client)
{
    struct conn *oldest = NULL;
    for (struct conn *conn = net->conns; conn; conn = conn->next)
        if (conn->client == client && can_go(conn) &&
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
    struct client *most = net->clients;
    for (struct client *client = net->clients; client; client = client->next)
        if (client->n_conns - client->n_keyed > most->n_conns - most->n_keyed)
            most = client;
    return (most && close_oldest_open(net, most)) || close_idle(net);
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
    if (client && client->n_conns >= LIMIT_PER_CLIENT && !close_oldest_open(net, client)) {
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

// A client without connections is kept while it owes work: to come back does not pay it off.
static bool can_be_forgotten(const struct net *net, const struct client *client)
{
    return client->n_conns == 0 && client->work_ms <= net->now_ms;
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
