// loop.c - the one epoll thread: listeners, watched descriptors, timers, deadlines, graceful stop;
// and the upkeep of the certificate as addresses come and go.
//
// A turn: sleep until something is ready or due; let each source handle its events; call the timers
// that are due; look at connections whose deadline may have passed; settle every connection that
// was touched. Idle connections cost nothing in a turn: they are looked at only when expire_ms, a
// lower bound of all their deadlines, has come.
#include "conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FROM(type, member, pointer)                                                                \
    ((struct type *)(void *)((char *)(pointer) - offsetof(struct type, member)))

static void add_source(struct net *net, int fd, struct source *source)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    if (epoll_ctl(net->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll refuses descriptor %d: %s", fd, strerror(errno));
}

// ---- certificate -------------------------------------------------------------------------------

static void show_certificate(struct net *net, const char *why, size_t n_addresses)
{
    if (why)
        log_info("a server certificate was issued (%s): %s, %zu addresses", why, net->hostname,
                 n_addresses);
    tls_server_identity(net->tls, &net->server, &net->ca);
}

static enum status open_certificate(struct net *net, struct err *err)
{
    struct address addresses[LIMIT_ADDRESSES];
    struct cert_request request = {net->hostname, addresses,
                                   address_list(addresses, COUNT_OF(addresses))};
    const char *why = NULL;
    enum status status = identity_ca(&net->ca, net->state, err);
    if (status == OK)
        status = identity_server(&net->server, &net->ca, net->state, &request, &why, err);
    if (status != OK)
        return status;
    keeper_open(&net->keeper, net->state);
    show_certificate(net, why, request.n_addresses);
    return OK;
}

void net_upkeep(struct net *net)
{
    struct address addresses[LIMIT_ADDRESSES];
    struct cert_request request = {net->hostname, addresses,
                                   address_list(addresses, COUNT_OF(addresses))};
    struct err err = {0};
    const char *why = NULL;
    if (identity_renew(&net->server, &net->ca, &request, &why, &err) != OK) {
        log_warn("the server's certificate stays as it is: %s", err.text);
    } else if (why) {
        show_certificate(net, why, request.n_addresses);
        keeper_take(net->keeper, &net->server, &net->ca);
        if (net->changed)
            net->changed(net->changed_arg);
    }
}

static void upkeep_hourly(void *arg)
{
    net_upkeep(arg);
}

// On the appliance PID 1 finds out whether another machine in the network has the name already:
// then it is NAME-2, which it makes the kernel's host name. Elsewhere that is the machine's own
// affair.
static bool read_name(struct net *net)
{
    struct utsname system;
    const size_t n = strlen(net->asked_hostname);
    const char *name = net->asked_hostname;
    if (uname(&system) == 0 && strncmp(system.nodename, name, n) == 0 &&
        system.nodename[n] == '-' &&
        strspn(system.nodename + n + 1, "0123456789") == strlen(system.nodename + n + 1) &&
        strlen(system.nodename) < sizeof(net->hostname))
        name = system.nodename;
    if (strcmp(name, net->hostname) == 0)
        return false;
    snprintf(net->hostname, sizeof(net->hostname), "%s", name);
    return true;
}

// Nobody tells us of these two: our name in the network, and that the clock was set.
static void look_around(void *arg)
{
    struct net *net = arg;
    const int64_t gap_s = clock_unix_s() - (int64_t)(clock_ms() / 1000),
                  jump_s = gap_s - net->clock_gap_s;
    net->clock_gap_s = gap_s;
    if (read_name(net) || jump_s > LIMIT_CLOCK_JUMP_S || jump_s < -LIMIT_CLOCK_JUMP_S)
        net_upkeep(net);
}

static void forget_sessions(void *arg)
{
    tls_server_forget(((struct net *)arg)->tls);
}

static void addresses_ready(struct source *source, uint32_t events)
{
    struct net *net = FROM(net, address_source, source);
    (void)events;
    address_watch_drain(net->address_fd);
    net->readdress_ms = net->now_ms + LIMIT_DEBOUNCE_MS;
}

struct bytes net_ca_pem(const struct net *net)
{
    return buf_view(&net->ca_pem);
}

void net_ca_fingerprint(const struct net *net, char out[96])
{
    cert_fingerprint(&net->ca, out);
}

// ---- accepting ---------------------------------------------------------------------------------

static void pause_accepting(struct net *net, bool pause)
{
    for (size_t i = 0; i < net->n_listeners; i++) {
        struct epoll_event event = {.events = pause ? 0U : EPOLLIN,
                                    .data.ptr = &net->listeners[i].source};
        if (epoll_ctl(net->epoll, EPOLL_CTL_MOD, net->listeners[i].fd, &event) != 0)
            die("epoll refuses a listener: %s", strerror(errno));
    }
    net->accept_at_ms = pause ? net->now_ms + LIMIT_ACCEPT_PAUSE_MS : 0;
}

static void listener_ready(struct source *source, uint32_t events)
{
    struct listener *listener = FROM(listener, source, source);
    struct net *net = listener->net;
    (void)events;
    for (int i = 0; i < LIMIT_ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage from;
        socklen_t n_from = sizeof(from);
        int fd = accept4(listener->fd, (struct sockaddr *)(void *)&from, &n_from,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            conn_open(net, listener, fd, &from);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            int why = errno;
            if (!place_free(net)) {
                log_warn("cannot accept a connection: %s; trying again in a second", strerror(why));
                pause_accepting(net, true);
            }
            return;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } // else: that client has gone already, or a signal came
    }
}

static enum status open_listeners(struct net *net, struct handed *handed, const char *key,
                                  const char *text, bool tls, struct err *err)
{
    struct listen_at at[LIMIT_LISTENERS];
    size_t n = 0;
    enum status status = listen_parse(at, LIMIT_LISTENERS - net->n_listeners, &n, key, text, err);
    for (size_t i = 0; i < n && status == OK; i++) {
        struct listener *listener = &net->listeners[net->n_listeners];
        *listener =
            (struct listener){.source.ready = listener_ready, .net = net, .at = at[i], .tls = tls};
        listener->fd = handed_take(handed, &listener->at);
        if (listener->fd < 0)
            status = listen_open(&listener->fd, &listener->at, err);
        if (status == OK) {
            add_source(net, listener->fd, &listener->source);
            net->n_listeners++;
        } else {
            err_prefix(err, "%s", key);
        }
    }
    return status;
}

enum status net_listen_good(const char *key, const char *text, struct err *err)
{
    struct listen_at at[LIMIT_LISTENERS];
    size_t n;
    return listen_parse(at, LIMIT_LISTENERS, &n, key, text, err);
}

static enum status open_both(struct net *net, const struct net_options *options, struct err *err)
{
    struct handed handed;
    handed_read(&handed, options->handed, options->n_handed);
    enum status status = open_listeners(net, &handed, "listen", options->listen, true, err);
    if (status == OK)
        status = open_listeners(net, &handed, "listen-http", options->listen_http, false, err);
    net->handed_taken = handed_taken(&handed);
    if (status == OK)
        handed_close(&handed); // else they stay for another try
    return status;
}

uint64_t net_handed_taken(const struct net *net)
{
    return net->handed_taken;
}

static void close_listeners(struct net *net)
{
    for (size_t i = 0; i < net->n_listeners; i++) {
        // Whoever handed it over holds it too: closing alone would leave it in the set.
        (void)epoll_ctl(net->epoll, EPOLL_CTL_DEL, net->listeners[i].fd, NULL);
        close(net->listeners[i].fd);
    }
    net->n_listeners = 0;
}

// ---- where we are to be found ------------------------------------------------------------------

static void format_url(const struct listener *listener, const char *host, char out[128])
{
    char port[8] = "";
    if (listener->at.port != 443)
        snprintf(port, sizeof(port), ":%u", listener->at.port);
    snprintf(out, 128, "https://%s%s/", host, port);
}

// The n-th address at which `listener` is reached; false when it has fewer. *n is counted down past
// them.
static bool listener_url(const struct listener *listener, size_t *n, char out[128])
{
    struct address addresses[LIMIT_ADDRESSES];
    char text[64], host[64];
    uint8_t key[16];
    if (!listener->at.any) {
        address_peer(&listener->at.at, text, key);
        text[strlen(text) - strlen(strrchr(text, ':'))] = 0;
        format_url(listener, text, out);
        return (*n)-- == 0;
    }
    size_t n_addresses = address_list(addresses, COUNT_OF(addresses)), n_shown = 0;
    for (size_t i = 0; i < n_addresses; i++) {
        const struct address *one = &addresses[i];
        if (one->loopback || (one->link_local && one->n == 16) ||
            (one->n == 16 && listener->at.at.ss_family == AF_INET)) {
            continue;
        }
        n_shown++;
        address_text(one, text);
        snprintf(host, sizeof(host), one->n == 16 ? "[%.48s]" : "%.48s", text);
        format_url(listener, host, out);
        if ((*n)-- == 0)
            return true;
    }
    if (n_shown > 0)
        return false;
    format_url(listener, "localhost", out);
    return (*n)-- == 0;
}

bool net_url(const struct net *net, size_t n, char out[128])
{
    for (size_t i = 0; i < net->n_listeners; i++)
        if (net->listeners[i].tls && listener_url(&net->listeners[i], &n, out))
            return true;
    return false;
}

int net_https_port(const struct net *net)
{
    for (size_t i = 0; i < net->n_listeners; i++)
        if (net->listeners[i].tls)
            return net->listeners[i].at.port;
    return 443; // none is left, while closing
}

// ---- watches and timers ------------------------------------------------------------------------

static void watch_ready(struct source *source, uint32_t events)
{
    struct watch *watch = FROM(watch, source, source);
    (void)events;
    watch->ready(watch->arg, watch->fd);
}

void net_watch(struct net *net, int fd, net_ready *ready, void *arg)
{
    struct watch *watch = mem_alloc(sizeof(*watch));
    *watch = (struct watch){
        .source.ready = watch_ready, .next = net->watches, .ready = ready, .arg = arg, .fd = fd};
    net->watches = watch;
    add_source(net, fd, &watch->source);
}

void net_every(struct net *net, uint32_t period_ms, net_tick *tick, void *arg)
{
    if (net->n_timers == N_TIMERS)
        die("net_every: more than %d timers", N_TIMERS);
    net->timers[net->n_timers++] = (struct timer){period_ms, clock_ms() + period_ms, tick, arg};
}

void net_on_answer(struct net *net, net_answered *answered, void *arg)
{
    net->answered = answered;
    net->answered_arg = arg;
}

void net_on_change(struct net *net, net_tick *changed, void *arg)
{
    net->changed = changed;
    net->changed_arg = arg;
}

void net_on_refuse(struct net *net, net_refuser *refuser, void *arg)
{
    net->refuser = refuser;
    net->refuser_arg = arg;
}

void net_on_stop(struct net *net, net_tick *begins, net_tick *ends, void *arg)
{
    net->stop_begins = begins;
    net->stop_ends = ends;
    net->stop_arg = arg;
}

static void earlier(uint64_t *at, uint64_t candidate)
{
    if (candidate != 0 && candidate < *at)
        *at = candidate;
}

// How long the next epoll_wait may sleep, in ms; -1: for ever.
static int sleep_ms(const struct net *net)
{
    uint64_t at = net->expire_ms;
    if (net->marked || (net->waiting && net->work_at_ms == 0))
        return 0;
    if (net->waiting)
        earlier(&at, net->work_at_ms);
    earlier(&at, fetcher_due_ms(net));
    earlier(&at, net->cut_ms == 0 ? net->stop_ms : net->cut_ms);
    earlier(&at, net->accept_at_ms);
    earlier(&at, net->readdress_ms);
    for (size_t i = 0; i < net->n_timers; i++)
        earlier(&at, net->timers[i].next_ms);
    if (at == UINT64_MAX)
        return -1;
    uint64_t now = clock_ms();
    uint64_t left = at > now ? at - now : 0;
    return left > 3600000 ? 3600000 : (int)left;
}

static void run_timers(struct net *net)
{
    for (size_t i = 0; i < net->n_timers; i++) {
        struct timer *timer = &net->timers[i];
        if (net->now_ms >= timer->next_ms) {
            timer->next_ms = net->now_ms + timer->period_ms;
            timer->tick(timer->arg);
        }
    }
    if (net->readdress_ms != 0 && net->now_ms >= net->readdress_ms) {
        net->readdress_ms = 0;
        net_upkeep(net);
    }
    if (net->accept_at_ms != 0 && net->now_ms >= net->accept_at_ms)
        pause_accepting(net, false);
}

static void expire_connections(struct net *net)
{
    if (net->now_ms < net->expire_ms)
        return;
    net->expire_ms = UINT64_MAX;
    for (struct conn *conn = net->conns; conn; conn = conn->next) {
        conn_expire(conn);
        uint64_t at = conn_deadline(conn);
        earlier(&net->expire_ms,
                at > net->now_ms
                    ? at
                    : 0); // passed ones are marked: they change at the end of this turn
    }
}

static void settle_marked(struct net *net)
{
    struct conn *conn = net->marked;
    net->marked = NULL;
    while (conn) {
        struct conn *next = conn->next_marked;
        conn_settle(conn);
        conn = next;
    }
}

// ---- run, stop, open, close --------------------------------------------------------------------

static void stop_ready(struct source *source, uint32_t events)
{
    struct net *net = FROM(net, stop_source, source);
    uint64_t count;
    (void)events;
    if (read(net->stop_fd, &count, sizeof(count)) != sizeof(count) || net->stop_ms != 0)
        return;
    net->stop_ms = net->now_ms + LIMIT_STOP_MS;
    if (net->stop_begins)
        net->stop_begins(net->stop_arg);
    for (struct conn *conn = net->conns; conn; conn = conn->next)
        if (conn->state == BODY)
            exchange_refuse(conn, 503, "the server is stopping: try again soon");
        else if (conn->state == HANDSHAKE || conn->state == HEAD)
            conn_enter(conn, conn->state, LIMIT_STOP_ARRIVE_MS);
        else if (conn->state == IDLE)
            conn_finish(conn);
}

// The time for answers under way is over.
static void stop_last(struct net *net)
{
    if (net->stop_ms == 0 || net->now_ms < net->stop_ms || net->cut_ms != 0)
        return;
    net->cut_ms = net->now_ms + LIMIT_STOP_LAST_MS;
    close_listeners(net);
    if (net->stop_ends)
        net->stop_ends(net->stop_arg);
    for (struct conn *conn = net->conns; conn; conn = conn->next)
        if (conn->state == HANDSHAKE || conn->state == HEAD || conn->state == ANSWERING)
            conn_kill(conn);
}

void net_stop(struct net *net)
{
    uint64_t one = 1;
    if (write(net->stop_fd, &one, sizeof(one)) < 0)
        return; // the counter is full: it was asked to stop already
}

static bool stopped(const struct net *net)
{
    return net->stop_ms != 0 &&
           (net->n_conns == 0 || (net->cut_ms != 0 && net->now_ms >= net->cut_ms));
}

enum status net_run(struct net *net, struct err *err)
{
    struct epoll_event events[LIMIT_CONNECTIONS + 64]; // each turn sees all that is ready
    net->now_ms = clock_ms();
    while (!stopped(net)) {
        int n = epoll_wait(net->epoll, events, COUNT_OF(events), sleep_ms(net));
        net->now_ms = clock_ms();
        if (n < 0 && errno != EINTR)
            return err_set(err, IO_ERROR, "epoll_wait: %s", strerror(errno));
        for (int i = 0; i < n; i++) {
            struct source *source = events[i].data.ptr;
            source->ready(source, events[i].events);
        }
        run_timers(net);
        fetcher_run(net);
        stop_last(net);
        expire_connections(net);
        settle_marked(net); // tokens leave before work for open clients begins
        conn_work(net);
        settle_marked(net);
    }
    close_listeners(net);
    return OK;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    const rlim_t wanted = LIMIT_CONNECTIONS + 128;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted) {
            log_warn("only %lu files may be open at once: %lu are wanted for %d connections",
                     (unsigned long)limit.rlim_cur, (unsigned long)wanted, LIMIT_CONNECTIONS);
        }
    }
}

static enum status open_all(struct net *net, const struct net_options *options, struct err *err)
{
    net->epoll = epoll_create1(EPOLL_CLOEXEC);
    net->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (net->epoll < 0 || net->stop_fd < 0) {
        return err_set(err, IO_ERROR, "cannot make an epoll or eventfd descriptor: %s",
                       strerror(errno));
    }
    net->stop_source.ready = stop_ready;
    add_source(net, net->stop_fd, &net->stop_source);
    if (!cert_hostname_good(options->hostname)) {
        return err_set(
            err, BAD_INPUT,
            "hostname = \"%s\": letters, digits, hyphens and dots were expected, at most 63",
            options->hostname);
    }
    snprintf(net->asked_hostname, sizeof(net->asked_hostname), "%s", options->hostname);
    (void)read_name(net);
    net->clock_gap_s = clock_unix_s() - (int64_t)(clock_ms() / 1000);
    snprintf(net->state, sizeof(net->state), "%s", options->state);
    enum status status = file_make_dir(net->state, 0755, err);
    net->address_fd = address_watch(); // before the list is read, so that no change is missed
    if (status == OK)
        status = open_certificate(net, err);
    if (status == OK && cert_pem(&net->ca_pem, &net->ca) != OK)
        status = err_set(err, TOO_LARGE, "the CA's certificate does not fit its buffer");
    if (status == OK && net->address_fd >= 0) {
        net->address_source.ready = addresses_ready;
        add_source(net, net->address_fd, &net->address_source);
    }
    return status == OK ? open_both(net, options, err) : status;
}

enum status net_open(struct net **out, const struct net_options *options, net_handler *handler,
                     void *arg, struct err *err)
{
    struct net *net = mem_alloc(sizeof(*net));
    net->handler = handler;
    net->handler_arg = arg;
    net->epoll = net->stop_fd = net->address_fd = -1;
    net->expire_ms = UINT64_MAX;
    net->now_ms = clock_ms();
    net->waiting_end = &net->waiting;
    buf_init(&net->ca_pem, 2 * CERT_ROOM);
    tls_server_open(&net->tls);
    raise_descriptor_limit();
    enum status status = open_all(net, options, err);
    if (status != OK) {
        net_close(net);
        return status;
    }
    fetcher_open(net, &options->client);
    net_every(net, LIMIT_CERT_CHECK_MS, upkeep_hourly, net);
    net_every(net, LIMIT_LOOK_MS, look_around, net);
    net_every(net, LIMIT_SESSIONS_MS, forget_sessions, net);
    *out = net;
    return OK;
}

void net_close(struct net *net)
{
    fetcher_close(net);
    while (net->conns) {
        for (struct conn *conn = net->conns; conn; conn = conn->next)
            conn_kill(conn);
        settle_marked(net);
    }
    for (size_t i = 0; i < N_BUDGETS; i++)
        if (net->n_held[i] != 0)
            die("%zu bytes held belong to no connection", net->n_held[i]);
    while (net->clients) {
        struct client *client = net->clients;
        net->clients = client->next;
        free(client);
    }
    close_listeners(net);
    while (net->watches) {
        struct watch *watch = net->watches;
        net->watches = watch->next;
        free(watch);
    }
    const int fds[] = {net->epoll, net->stop_fd, net->address_fd};
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    tls_server_close(net->tls);
    keeper_close(net->keeper);
    explicit_bzero(&net->ca, sizeof(net->ca));
    explicit_bzero(&net->server, sizeof(net->server));
    buf_free(&net->ca_pem);
    free(net);
}
