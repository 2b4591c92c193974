// net_budget.c - what clients may hold and cost (engine/net/budget.c): caps of one and of all, work
// that is paid off by time, and who goes when places run out.
#include "../../engine/net/conn.h"
#include "check.h"

#include <stdlib.h>

static struct net net;

static struct conn *join(uint8_t address, bool keyed, enum conn_state state, uint64_t since_ms)
{
    const uint8_t key[16] = {address};
    struct client *client = client_take(&net, key, "somebody");
    if (!client)
        return NULL;
    struct conn *conn = mem_alloc(sizeof(*conn));
    *conn = (struct conn){
        .net = &net, .client = client, .state = state, .since_ms = since_ms, .next = net.conns};
    if (net.conns)
        net.conns->prev = conn;
    net.conns = conn;
    net.n_conns++;
    if (keyed)
        conn_keyed(conn);
    return conn;
}

static void leave(struct conn *conn)
{
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        net.conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    net.n_conns--;
    conn->client->n_keyed -= conn->keyed;
    client_drop(&net, conn->client);
    free(conn);
}

static void leave_all(void)
{
    net.marked = NULL;
    while (net.conns)
        leave(net.conns);
    net.now_ms += 10000;
    leave(join(99, false, IDLE, 0)); // whoever owed work has paid it off by now
    CHECK(!net.clients && net.n_conns == 0);
}

static void test_bytes(void)
{
    struct conn *a = join(1, true, IDLE, 0), *same = join(1, true, IDLE, 0);
    struct conn *b = join(2, true, IDLE, 0), *c = join(3, true, IDLE, 0);
    char why[96];
    CHECK(budget_take(a, BODIES, LIMIT_BODIES_CLIENT - 10));
    CHECK(!budget_take(same, BODIES, 11) && budget_take(same, BODIES, 10));
    CHECK(strstr(budget_full(a, BODIES, why), "of this address hold 24576 KiB"));
    CHECK(budget_take(b, BODIES, LIMIT_BODIES - LIMIT_BODIES_CLIENT) && !budget_take(c, BODIES, 1));
    CHECK(strstr(budget_full(c, BODIES, why), "of all clients hold 49152 KiB"));
    CHECK(budget_take(c, ANSWERS, 1) && budget_take(c, OPEN_BODIES, 1)); // apart
    budget_give(a, BODIES, LIMIT_BODIES_CLIENT - 10);
    CHECK(budget_take(c, BODIES, 100));
    budget_give(same, BODIES, 10);
    budget_give(b, BODIES, LIMIT_BODIES - LIMIT_BODIES_CLIENT);
    budget_give(c, BODIES, 100);
    budget_give(c, ANSWERS, 1);
    budget_give(c, OPEN_BODIES, 1);
    for (size_t i = 0; i < N_BUDGETS; i++)
        CHECK(net.n_held[i] == 0 && a->client->n_held[i] == 0 && b->client->n_held[i] == 0);
    leave_all();
}

static void test_work(void)
{
    net.now_ms = 5000;
    struct conn *busy = join(1, false, IDLE, 0), *other = join(2, false, IDLE, 0);
    for (int i = 0; i < LIMIT_OPEN_WORK / 5; i++)
        CHECK(work_take(busy, 5));
    CHECK(!work_take(busy, 1) && work_take(other, 1)); // a second's worth, and nobody else pays
    net.now_ms += 10;
    for (int i = 0; i < LIMIT_OPEN_WORK / 100; i++)
        CHECK(work_take(busy, 1));
    CHECK(!work_take(busy, 1));
    leave(busy); // to leave and come back pays nothing off
    busy = join(1, false, IDLE, 0);
    CHECK(!work_take(busy, 1));
    net.now_ms += 60000; // nor does waiting buy more than a second's worth
    for (int i = 0; i < LIMIT_OPEN_WORK; i++)
        CHECK(work_take(busy, 1));
    CHECK(!work_take(busy, 1));
    leave_all();
}

static void test_places(void)
{
    struct conn *first = NULL, *keyed = NULL, *answered = NULL;
    for (int i = 0; i < LIMIT_PER_CLIENT; i++) {
        struct conn *conn = join(1, i == 0, i == 1 ? ANSWERING : IDLE, (uint64_t)i);
        keyed = i == 0 ? conn : keyed;
        answered = i == 1 ? conn : answered;
        first = i == 2 ? conn : first;
    }
    CHECK(join(1, false, HANDSHAKE, 400)); // the longest open one that is not being answered goes
    CHECK(first->dead && !keyed->dead && !answered->dead);
    struct conn *quiet = join(2, false, IDLE, 0); // longer than any of client 1 that may go
    while (net.n_conns < LIMIT_CONNECTIONS)
        join((uint8_t)(3 + net.n_conns % 100), false, FLUSHING, 1);
    CHECK(join(2, false, HANDSHAKE, 500) && !quiet->dead); // it has few; client 1 has most
    size_t n_dead = 0;
    for (struct conn *conn = net.conns; conn; conn = conn->next)
        n_dead += conn->dead && conn->client == keyed->client;
    CHECK(n_dead == 2);
    leave_all();
    for (int i = 0; i < LIMIT_PER_CLIENT; i++)
        join(1, true, ANSWERING, 0);
    CHECK(!join(1, false, HANDSHAKE, 1)); // all of them have shown the key
    CHECK(join(2, false, HANDSHAKE, 1));
    leave_all();
    for (int i = 0; i < LIMIT_CONNECTIONS; i++)
        keyed = join((uint8_t)(i % 100), true, i == 7 ? IDLE : ANSWERING, 0);
    CHECK(join(200, false, HANDSHAKE, 1)); // the idle one goes
    CHECK(join(201, false, IDLE, 2));      // in the place of the one that has just come
    CHECK(net.n_conns == LIMIT_CONNECTIONS + 2);
    leave_all();
}

int main(void)
{
    log_level_set(LOG_ERROR + 1);
    net.waiting_end = &net.waiting;
    test_bytes();
    test_work();
    test_places();
    return check_done("net_budget");
}
