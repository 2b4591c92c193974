// net_budget.c - what clients may hold and cost (engine/net/budget.c): caps of one and of all, work
// that is paid off by time, and who goes when places run out.
#include "../../engine/net/conn.h"
#include "check.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct net net;

static struct conn *join(uint16_t address, bool keyed, enum conn_state state, uint64_t since_ms)
{
    const uint8_t key[16] = {(uint8_t)address, (uint8_t)(address >> 8)};
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
    net.now_ms += LIMIT_KEY_SEEN_MS + 10000;
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

// Bytes are work too, by the piece; of one that has shown the key they are none.
static void test_work_of_bytes(void)
{
    net.now_ms += 10000;
    struct conn *busy = join(1, false, IDLE, 0), *keyed = join(2, true, IDLE, 0);
    size_t n = 0, n_out = 0, n_keyed = 0;
    work_bytes(busy, &n, LIMIT_WORK_IN - 1, true);
    CHECK(n == LIMIT_WORK_IN - 1 && busy->client->work_us == net.now_ms * 1000);
    work_bytes(busy, &n, 1, true);
    CHECK(busy->client->work_us == net.now_ms * 1000 + 1000000 / LIMIT_OPEN_WORK);
    work_bytes(busy, &n_out, 9 * LIMIT_WORK_OUT + 1, false);
    CHECK(busy->client->work_us == net.now_ms * 1000 + 10 * 1000000 / LIMIT_OPEN_WORK);
    CHECK(!work_owed(busy));
    work_bytes(busy, &n, (LIMIT_OPEN_WORK - 10) * LIMIT_WORK_IN, true);
    CHECK(work_owed(busy) && !work_take(busy, 1));
    for (int i = 0; i < 100; i++)
        work_bytes(keyed, &n_keyed, 1 << 20, true);
    CHECK(n_keyed == 100 << 20 && !work_owed(keyed));
    net.now_ms += 1;
    CHECK(!work_owed(busy));
    leave_all();
}

// What a connection took before it showed the key is given back, and no more than that.
static void test_work_given_back(void)
{
    net.now_ms += 10000;
    struct conn *late = join(1, false, IDLE, 0), *other = join(1, false, IDLE, 0);
    CHECK(work_take(late, LIMIT_OPEN_WORK / 2) && work_take(other, LIMIT_OPEN_WORK / 4));
    conn_keyed(late);
    CHECK(late->client->work_us == net.now_ms * 1000 + 250000);
    CHECK(net.work_us ==
          net.now_ms * 1000 + 250000 * (uint64_t)LIMIT_OPEN_WORK / LIMIT_OPEN_WORK_ALL);
    net.now_ms += 5000; // it is paid off by now
    conn_keyed(other);
    struct conn *fresh = join(1, false, IDLE, 0);
    for (int i = 0; i < LIMIT_OPEN_WORK; i++)
        CHECK(work_take(fresh, 1));
    CHECK(!work_take(fresh, 1));
    struct conn *slow = join(3, false, IDLE, 0), *greedy = join(3, false, IDLE, 0);
    CHECK(work_take(slow, LIMIT_OPEN_WORK / 2));
    net.now_ms += 1000; // that is paid off, and not to be given back
    CHECK(work_take(greedy, LIMIT_OPEN_WORK / 2));
    conn_keyed(slow);
    CHECK(slow->client->work_us == net.now_ms * 1000 + 500000);
    leave_all();
}

// One that has paid reads, even where the payment was the last that there was; and one that waits
// pays once, and loses no time.
static void test_waiting(void)
{
    int ends[2];
    if (!CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0))
        return;
    struct conn *conn = join(7, false, HEAD, 0), *other = join(7, false, IDLE, 0);
    conn->fd = ends[0];
    conn->exchange = exchange_open(conn);
    conn_enter(conn, HEAD, LIMIT_HEAD_MS);
    CHECK(work_take(other, LIMIT_OPEN_WORK - 1) && write(ends[1], "GET /a", 6) == 6);
    conn_wait(conn);
    conn_work(&net);
    CHECK(!conn->waits && conn->n_received == 6 && work_owed(conn));
    const uint64_t deadline_ms = conn->deadline_ms;
    CHECK(write(ends[1], "bcdefg", 6) == 6);
    conn_wait(conn);
    conn_work(&net);
    CHECK(conn->waits && conn->n_received == 6);
    CHECK(work_take(other, 0) == false);
    while (work_owed(conn)) { // others are ahead all the time
        net.now_ms += LIMIT_HEAD_MS;
        conn_expire(conn);
        CHECK(!conn->dead && conn->state == HEAD);
    }
    conn_wait(conn);
    conn_work(&net);
    CHECK(!conn->waits && conn->n_received == 12);
    CHECK(conn->client->work_us == net.now_ms * 1000); // nothing was paid
    CHECK(conn->deadline_ms == deadline_ms + LIMIT_HEAD_MS);
    exchange_close(conn->exchange);
    conn->exchange = NULL;
    close(ends[0]);
    close(ends[1]);
    leave_all();
}

// Many addresses have a share together that is less than the sum of theirs.
static void test_work_of_all(void)
{
    net.now_ms += 10000;
    int n = 0;
    for (uint16_t i = 0; i < 2 * LIMIT_OPEN_WORK_ALL / LIMIT_OPEN_WORK; i++) {
        struct conn *one = join(i, false, IDLE, 0);
        while (work_take(one, 1))
            n++;
    }
    CHECK(n == LIMIT_OPEN_WORK_ALL);
    struct conn *keyed = join(1000, true, IDLE, 0), *open = join(1001, false, IDLE, 0);
    struct conn *beside = join(1000, false, HANDSHAKE, 0); // of an address that has shown the key
    CHECK(!work_owed(keyed) && work_owed(open));
    CHECK(work_take(beside, LIMIT_WORK_HANDSHAKE));
    leave(keyed);
    CHECK(work_take(beside, LIMIT_WORK_HANDSHAKE)); // which was lately
    net.now_ms += 100;
    for (n = 0; work_take(open, 1);)
        n++;
    CHECK(n == LIMIT_OPEN_WORK_ALL / 10);
    leave_all();
}

// Answers that nobody reads make room for one that asks for less.
static void test_open_answers(void)
{
    const size_t half = LIMIT_OPEN_ANSWERS_CLIENT / 2;
    struct conn *greedy[2 * (LIMIT_OPEN_ANSWERS / LIMIT_OPEN_ANSWERS_CLIENT)];
    for (size_t i = 0; i < COUNT_OF(greedy); i++) {
        greedy[i] = join((uint16_t)(1 + i / 2), false, FLUSHING, i);
        CHECK(budget_take(greedy[i], OPEN_ANSWERS, half));
        greedy[i]->out.n = half;
        greedy[i]->stall_ms = net.now_ms + LIMIT_STALL_MS; // it reads
    }
    struct conn *small = join(50, false, ANSWERING, 0), *keyed = join(51, true, ANSWERING, 0);
    CHECK(!budget_take(greedy[0], OPEN_ANSWERS, 1)); // its own share is used up
    CHECK(!budget_take(small, OPEN_ANSWERS, 1000));  // all of them read
    for (size_t i = 0; i < COUNT_OF(greedy); i++)
        greedy[i]->stall_ms -= LIMIT_OPEN_STALL_MS;
    CHECK(budget_take(small, OPEN_ANSWERS, 1000));
    size_t n_dead = 0;
    for (size_t i = 0; i < COUNT_OF(greedy); i++)
        n_dead += greedy[i]->dead;
    CHECK(n_dead == 1 && !small->dead && !keyed->dead);
    small->out.n = 1000;
    CHECK(budget_take(small, OPEN_ANSWERS, 1000)); // the same one's room
    for (size_t i = n_dead = 0; i < COUNT_OF(greedy); i++)
        n_dead += greedy[i]->dead;
    CHECK(n_dead == 1);
    struct conn *large = join(52, false, ANSWERING, 0);
    CHECK(!budget_take(large, OPEN_ANSWERS, LIMIT_OPEN_ANSWERS_CLIENT)); // as much as theirs
    CHECK(budget_take(keyed, ANSWERS, LIMIT_ANSWERS_CLIENT));
    budget_give(keyed, ANSWERS, LIMIT_ANSWERS_CLIENT);
    budget_give(small, OPEN_ANSWERS, 2000);
    for (size_t i = 0; i < COUNT_OF(greedy); i++)
        budget_give(greedy[i], OPEN_ANSWERS, half);
    leave_all();
}

// One connection from each of many addresses: the newest are not those that go.
static void test_places_of_many(void)
{
    struct conn *first = NULL, *last;
    for (uint16_t i = 0; i < LIMIT_CONNECTIONS; i++) {
        last = join(i, false, HANDSHAKE, i);
        first = i == 0 ? last : first;
    }
    struct conn *fresh = join(5000, false, HANDSHAKE, 9000);
    CHECK(first->dead && !last->dead);
    for (uint16_t i = 0; i < 100; i++)
        CHECK(join((uint16_t)(6000 + i), false, HANDSHAKE, 9001));
    CHECK(!last->dead && !fresh->dead);
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
        join((uint16_t)(3 + net.n_conns % 100), false, FLUSHING, 1);
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
        keyed = join((uint16_t)(i % 100), true, i == 7 ? IDLE : ANSWERING, 0);
    CHECK(join(200, false, HANDSHAKE, 1)); // the idle one goes
    CHECK(join(201, false, IDLE, 2));      // in the place of the one that has just come
    CHECK(net.n_conns == LIMIT_CONNECTIONS + 2);
    leave_all();
}

// A key that is over makes those open again who showed it last, and nobody else.
static void test_key_over(void)
{
    net.now_ms += 10000;
    struct conn *mine = join(1, false, FLUSHING, 0), *other = join(2, false, IDLE, 0);
    mine->who = 5;
    conn_keyed(mine);
    other->who = 6;
    conn_keyed(other);
    mine->out.n = 1000;
    budget_force(mine, ANSWERS, 1000);
    work_charge(mine, LIMIT_OPEN_WORK);
    CHECK(!work_owed(mine) && mine->deadline_ms == 0);
    net_key_over(&net, 6);
    CHECK(mine->keyed && mine->client->n_keyed == 1 && mine->client->key_ms != 0);
    CHECK(!other->keyed && other->client->n_keyed == 0 && other->client->key_ms == 0);
    net_key_over(&net, 5);
    CHECK(!mine->keyed && mine->client->n_keyed == 0 && mine->client->key_ms == 0);
    CHECK(mine->deadline_ms == net.now_ms + LIMIT_OPEN_FLUSH_MS);
    CHECK(net.n_held[ANSWERS] == 0 && net.n_held[OPEN_ANSWERS] == 1000);
    work_charge(mine, LIMIT_OPEN_WORK);
    CHECK(work_owed(mine)); // what it does costs again
    budget_give(mine, OPEN_ANSWERS, 1000);
    mine->out.n = 0;
    net_key_over(&net, 5); // once more: nothing
    CHECK(mine->client->n_keyed == 0);
    leave_all();
}

int main(void)
{
    log_level_set(LOG_ERROR + 1);
    net.waiting_end = &net.waiting;
    test_bytes();
    test_work();
    test_work_of_bytes();
    test_work_given_back();
    test_waiting();
    test_work_of_all();
    test_open_answers();
    test_places_of_many();
    test_places();
    test_key_over();
    return check_done("net_budget");
}
