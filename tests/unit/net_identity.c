// net_identity.c - the certificate's upkeep while the server runs (engine/net/loop.c, identity.c,
// keeper.c): it is renewed at once when the machine has another name or address, and the thread
// that serves never waits for the disk.
//
// This program's fsync stands in front of the C library's: it counts who calls.
#include "../../engine/net/conn.h"
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_t net_thread;
static atomic_int n_here, n_elsewhere;

int fsync(int fd)
{
    if (pthread_equal(pthread_self(), net_thread))
        n_here++;
    else
        n_elsewhere++;
    return (int)syscall(SYS_fsync, fd);
}

static void handler(void *arg, struct exchange *exchange, const struct request *request)
{
    (void)arg;
    (void)request;
    exchange_reply(exchange, 200, "text/plain", bytes_of("x"));
}

static int n_changes;

static void changed(void *arg)
{
    CHECK(arg == &n_changes);
    n_changes++;
}

static struct buf read_server(const char *state)
{
    char path[128];
    struct buf text;
    struct err err = {0};
    snprintf(path, sizeof(path), "%s/tls/server.crt", state);
    if (!CHECK(file_read(&text, path, 16384, &err) == OK))
        exit(1);
    return text;
}

static void test_upkeep(const char *state)
{
    struct net *net = NULL;
    struct err err = {0};
    struct net_options options = {"127.0.0.1:0", "", state, "tawny"};
    net_thread = pthread_self();
    if (!CHECK(net_open(&net, &options, handler, NULL, &err) == OK))
        exit(1);
    CHECK(n_here > 0 && n_elsewhere == 0); // nobody is served yet
    n_here = 0;
    net_on_change(net, changed, &n_changes);
    struct buf before = read_server(state);
    net_upkeep(net); // everything fits
    CHECK(n_changes == 0 && n_here == 0 && n_elsewhere == 0);
    for (int i = 1; i <= 5; i++) {
        snprintf(net->hostname, sizeof(net->hostname), "name%d", i);
        net_upkeep(net);
        CHECK(n_changes == i);
        net_upkeep(net); // the disk may still hold the old one: that is no reason for another
        CHECK(n_changes == i);
    }
    CHECK(n_here == 0);
    struct cert shown = net->server, ca = net->ca;
    net_close(net); // what was renewed is on the disk then
    CHECK(n_here == 0 && n_elsewhere >= 4);
    struct buf after = read_server(state);
    CHECK(!bytes_equal(buf_view(&before), buf_view(&after)));
    struct address addresses[LIMIT_ADDRESSES];
    struct cert_request request = {"name5", addresses, address_list(addresses, LIMIT_ADDRESSES)};
    struct cert loaded;
    const char *why = NULL;
    CHECK(identity_server(&loaded, &ca, state, &request, &why, &err) == OK && !why);
    CHECK(loaded.n == shown.n && memcmp(loaded.der, shown.der, shown.n) == 0);
    buf_free(&before);
    buf_free(&after);
}

// A disk that takes nothing: the certificate is used all the same.
static void test_unwritable(const char *state)
{
    struct net *net = NULL;
    struct err err = {0};
    struct net_options options = {"127.0.0.1:0", "", state, "tawny"};
    char path[128], away[128];
    CHECK(net_open(&net, &options, handler, NULL, &err) == OK);
    snprintf(path, sizeof(path), "%s/tls", state);
    snprintf(away, sizeof(away), "%s/away", state);
    CHECK(rename(path, away) == 0);
    snprintf(net->hostname, sizeof(net->hostname), "other");
    n_changes = 0;
    net_on_change(net, changed, &n_changes);
    net_upkeep(net);
    CHECK(n_changes == 1);
    net_close(net);
    CHECK(rename(away, path) == 0);
}

int main(void)
{
    char state[] = "/tmp/net_identity.XXXXXX";
    static const char *const files[] = {"tls/ca.crt",     "tls/ca.key", "tls/server.crt",
                                        "tls/server.key", "tls",        ""};
    log_level_set(LOG_ERROR + 1);
    if (!mkdtemp(state))
        return 1;
    test_upkeep(state);
    test_unwritable(state);
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        char file[200];
        snprintf(file, sizeof(file), "%s/%s", state, files[i]);
        CHECK(remove(file) == 0);
    }
    return check_done("net_identity");
}
