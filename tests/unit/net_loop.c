// net_loop.c - the whole floor in one process: a server on free ports of 127.0.0.1 in a thread of
// its own, raw clients in this one. The plain port for what HTTP does, the TLS port (BearSSL's
// client) for streams, slow readers and pipelining.
#include "../../engine/net/limits.h"
#include "../../engine/net/net.h"
#include "check.h"
#include "net_state.h"

#include <arpa/inet.h>
#include <bearssl.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

// ---- the server --------------------------------------------------------------------------------

static struct net *net;
static int tls_port, plain_port, wake_fd;
static atomic_int n_gone, n_closed, n_woken, n_handled;
static struct exchange *later, *stream, *flood, *silent, *pouring, *last; // of the server's thread
static size_t n_poured;
static atomic_int stopping, n_swallowed;

static void on_gone(void *arg, struct exchange *exchange)
{
    struct exchange **slot = arg;
    if (*slot == exchange)
        *slot = NULL;
    n_gone++;
    exchange_end(exchange); // an owner may do this: nothing must come of it
}

static void keep(struct exchange **slot, struct exchange *exchange)
{
    *slot = exchange;
    exchange_owner(exchange, on_gone, slot);
}

static void echo(void *arg, struct exchange *exchange, const struct request *request)
{
    (void)arg;
    exchange_reply_header(exchange, "X-Seen",
                          request_header(request, "x-ask").n > 0 ? "yes" : "no");
    exchange_reply_header(exchange, "X-Bad", "a\r\nSet-Cookie: b"); // must not get through
    exchange_reply(exchange, 200, "text/plain",
                   request->body.n > 0 ? request->body : request->query);
}

static void swallow(void *arg, struct exchange *exchange, const struct request *request)
{
    CHECK(request->body.n == 1 << 20);
    keep(arg, exchange);
    n_swallowed++;
}

// Takes one piece at a time; the tick asks for more.
static bool pour(void *arg, struct exchange *exchange, struct bytes piece)
{
    CHECK(arg == &n_poured && piece.n > 0);
    n_poured += piece.n;
    pouring = exchange;
    return false;
}

static void poured(void *arg, struct exchange *exchange, const struct request *request)
{
    char text[32];
    CHECK(arg == &n_poured && request->body.n == 0);
    pouring = NULL;
    snprintf(text, sizeof(text), "poured %zu", n_poured);
    exchange_reply(exchange, 200, "text/plain", bytes_of(text));
}

static bool spill(void *arg, struct exchange *exchange, struct bytes piece)
{
    (void)arg;
    (void)piece;
    exchange_reply(exchange, 507, "text/plain", bytes_of("full"));
    return true;
}

static void read_or_say(struct exchange *exchange, const char *path)
{
    struct err err = {0};
    enum status status = OK;
    if (strcmp(path, "/echo") == 0)
        status = exchange_read(exchange, 1 << 20, echo, NULL, &err);
    else if (strcmp(path, "/swallow") == 0)
        status = exchange_read(exchange, 1 << 20, swallow, &silent, &err);
    else if (strcmp(path, "/pour") == 0)
        status = exchange_sink(exchange, 1ULL << 40, pour, poured, &n_poured, &err);
    else
        status = exchange_sink(exchange, 1ULL << 40, spill, poured, &n_poured, &err);
    if (status != OK)
        exchange_reply(exchange, status == TOO_LARGE ? 413 : 503, "text/plain", bytes_of(err.text));
}

static void handler(void *arg, struct exchange *exchange, const struct request *request)
{
    (void)arg;
    n_handled++;
    if (stopping) {
        exchange_reply(exchange, 503, "text/plain", bytes_of("stopping"));
        return;
    }
    if (request_header(request, "x-key").n > 0)
        exchange_keyed(exchange, 1);
    if (bytes_equal_text(request->path, "/echo")) {
        if (request->tls)
            read_or_say(exchange, "/echo");
        else
            echo(NULL, exchange, request);
    } else if (bytes_equal_text(request->path, "/swallow")) {
        read_or_say(exchange, "/swallow");
    } else if (bytes_equal_text(request->path, "/pour")) {
        read_or_say(exchange, "/pour");
    } else if (bytes_equal_text(request->path, "/spill")) {
        read_or_say(exchange, "/spill");
    } else if (bytes_equal_text(request->path, "/last")) {
        keep(&last, exchange);
        exchange_stream(exchange, 200, "text/event-stream");
        CHECK(sse_data(exchange, bytes_of("\"it begins\"")) == OK);
    } else if (bytes_equal_text(request->path, "/later")) {
        keep(&later, exchange); // answered by the tick
    } else if (bytes_equal_text(request->path, "/stream")) {
        keep(&stream, exchange);
        exchange_stream(exchange, 200, "text/event-stream");
    } else if (bytes_equal_text(request->path, "/flood")) {
        keep(&flood, exchange);
        exchange_stream(exchange, 200, "application/octet-stream");
    } else if (bytes_equal_text(request->path, "/silent")) {
        keep(&silent, exchange); // never answered
    } else if (bytes_equal_text(request->path, "/twice")) {
        exchange_reply(exchange, 200, "text/plain", bytes_of("once"));
        exchange_reply(exchange, 500, "text/plain", bytes_of("twice"));
        CHECK(ndjson_data(exchange, bytes_of("x")) == CLOSED);
    } else if (bytes_equal_text(request->path, "/empty")) {
        exchange_reply(exchange, 204, "text/plain", bytes_of(""));
    } else if (bytes_equal_text(request->path, "/large")) {
        static uint8_t large[700000];
        exchange_reply(exchange, 200, "text/plain", (struct bytes){large, sizeof(large)});
    } else if (bytes_equal_text(request->path, "/peer")) {
        exchange_reply(exchange, 200, "text/plain", bytes_of(request->peer));
    } else {
        exchange_reply(exchange, 404, "text/plain", bytes_of("nothing here"));
    }
}

static void stop_begins(void *arg)
{
    (void)arg;
    stopping = 1;
}

static void stop_ends(void *arg)
{
    CHECK(arg == &stopping);
    if (last) {
        CHECK(sse_data(last, bytes_of("{\"last\":1}")) == OK);
        exchange_end(last);
        last = NULL;
    }
}

static void tick(void *arg)
{
    static int n_sent;
    (void)arg;
    if (pouring)
        exchange_go_on(pouring);
    if (later) {
        exchange_reply(later, 200, "text/plain", bytes_of("later"));
        later = NULL;
    }
    if (flood) {
        static uint8_t block[100000];
        for (int i = 0; i < 4; i++) {
            if (ndjson_data(flood, (struct bytes){block, sizeof(block)}) == CLOSED) {
                n_closed++;
                flood = NULL;
                break;
            }
        }
    }
    if (stream) {
        CHECK(sse_data(stream, bytes_of("{\"n\":1}")) == OK || n_gone > 0);
        if (++n_sent % 4 == 0 && stream) {
            CHECK(sse_data(stream, bytes_of("{\"n\":2}")) == OK || n_gone > 0);
            exchange_end(stream);
            stream = NULL;
        }
    }
}

static void woken(void *arg, int fd)
{
    uint64_t n;
    (void)arg;
    if (read(fd, &n, sizeof(n)) == sizeof(n))
        n_woken++;
}

static void *serve(void *arg)
{
    struct err err = {0};
    (void)arg;
    CHECK(net_run(net, &err) == OK);
    return NULL;
}

static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)(void *)&at, n) != 0 ||
        getsockname(fd, (struct sockaddr *)(void *)&at, &n) != 0) {
        perror("a free port");
        exit(1);
    }
    close(fd);
    return ntohs(at.sin_port);
}

// ---- clients -----------------------------------------------------------------------------------

static int dial(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM, 0), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    if (connect(fd, (struct sockaddr *)(void *)&at, sizeof(at)) != 0) {
        perror("connect");
        exit(1);
    }
    return fd;
}

struct client {
    int fd;
    br_ssl_client_context ssl;
    br_x509_minimal_context x509;
    br_sslio_context io;
    uint8_t buffer[BR_SSL_BUFSIZE_BIDI];
};

static br_x509_trust_anchor anchor;
static uint8_t ca_name[256];
static size_t n_ca_name;

static void keep_name(void *arg, const void *p, size_t n)
{
    (void)arg;
    if (n <= sizeof(ca_name) - n_ca_name) {
        memcpy(ca_name + n_ca_name, p, n);
        n_ca_name += n;
    }
}

static void keep_der(void *arg, const void *p, size_t n)
{
    CHECK(buf_add(arg, p, n) == OK);
}

static void load_anchor(void)
{
    static br_x509_decoder_context decoder;
    br_pem_decoder_context pem;
    struct bytes text = net_ca_pem(net);
    struct buf der;
    buf_init(&der, 4096);
    br_pem_decoder_init(&pem);
    while (text.n > 0) {
        size_t n = br_pem_decoder_push(&pem, text.p, text.n);
        text = (struct bytes){text.p + n, text.n - n};
        if (br_pem_decoder_event(&pem) == BR_PEM_BEGIN_OBJ)
            br_pem_decoder_setdest(&pem, keep_der, &der);
    }
    br_x509_decoder_init(&decoder, keep_name, NULL);
    br_x509_decoder_push(&decoder, der.p, der.n);
    if (!CHECK(br_x509_decoder_get_pkey(&decoder)))
        exit(1);
    anchor = (br_x509_trust_anchor){
        {ca_name, n_ca_name}, BR_X509_TA_CA, *br_x509_decoder_get_pkey(&decoder)};
    buf_free(&der);
}

static int io_read(void *arg, unsigned char *p, size_t n)
{
    ssize_t got = recv(*(int *)arg, p, n, 0);
    return got > 0 ? (int)got : -1;
}

static int io_write(void *arg, const unsigned char *p, size_t n)
{
    ssize_t put = send(*(int *)arg, p, n, MSG_NOSIGNAL);
    return put > 0 ? (int)put : -1;
}

static struct client *tls_dial(void)
{
    struct client *client = calloc(1, sizeof(*client));
    client->fd = dial(tls_port);
    br_ssl_client_init_full(&client->ssl, &client->x509, &anchor, 1);
    br_ssl_engine_set_buffer(&client->ssl.eng, client->buffer, sizeof(client->buffer), 1);
    CHECK(br_ssl_client_reset(&client->ssl, "localhost", 0) == 1);
    br_sslio_init(&client->io, &client->ssl.eng, io_read, &client->fd, io_write, &client->fd);
    return client;
}

static void tls_hang_up(struct client *client)
{
    close(client->fd);
    free(client);
}

static bool tls_say(struct client *client, const char *text)
{
    return br_sslio_write_all(&client->io, text, strlen(text)) == 0 &&
           br_sslio_flush(&client->io) == 0;
}

// What comes until `until` was seen, or the end. NUL-terminated, the caller's to free.
static char *tls_hear(struct client *client, const char *until)
{
    size_t n = 0, room = 1 << 16;
    char *text = calloc(1, room);
    while (n + 1 < room && (!until || !strstr(text, until))) {
        int got = br_sslio_read(&client->io, text + n, room - n - 1);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    return text;
}

// Sends a whole request to the plain port and returns all that comes until the end.
static char *ask_plain(const char *text)
{
    size_t n = 0, room = 1 << 16;
    char *answer = calloc(1, room);
    int fd = dial(plain_port);
    CHECK(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
    for (ssize_t got; n + 1 < room && (got = recv(fd, answer + n, room - n - 1, 0)) > 0;)
        n += (size_t)got;
    close(fd);
    return answer;
}

static void wait_for(atomic_int *what, int value)
{
    for (int i = 0; i < 1000 && *what < value; i++)
        poll(NULL, 0, 20);
    if (!CHECK(*what >= value))
        fprintf(stderr, "    %d instead of %d\n", *what, value);
}

static void expect_texts(char *answer, const char *const *wanted, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!CHECK(strstr(answer, wanted[i])))
            fprintf(stderr, "    \"%s\" is not in:\n%s\n", wanted[i], answer);
    free(answer);
}

#define EXPECT(answer, ...)                                                                        \
    expect_texts(answer, (const char *const[]){__VA_ARGS__},                                       \
                 COUNT_OF(((const char *const[]){__VA_ARGS__})))

// ---- tests -------------------------------------------------------------------------------------

static void test_plain_port(void)
{
    EXPECT(ask_plain("GET /echo?hello HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 200 OK\r\n",
           "Connection: close\r\n", "Content-Length: 5\r\n", "X-Seen: no\r\n", "\r\n\r\nhello");
    EXPECT(ask_plain("GET /peer HTTP/1.0\r\nX-Ask: b\r\n\r\n"), "HTTP/1.1 200 OK\r\n",
           "127.0.0.1:");
    EXPECT(ask_plain("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\nGET /echo HTTP/1.1\r\n"), "404",
           "nothing here");
    EXPECT(ask_plain("GET /\nHost: a\r\n\r\n"), "HTTP/1.1 400 Bad Request\r\n", "application/json",
           "\r\n\r\n{\"error\":{\"message\":\"");
    EXPECT(ask_plain("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx"),
           "HTTP/1.1 200 OK\r\n");
    char *answer = ask_plain("GET /echo?x HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(strstr(answer, "Set-Cookie") == NULL && strstr(answer, "X-Bad") == NULL);
    free(answer);
}

static void test_keep_alive(void)
{
    struct client *client = tls_dial();
    for (int i = 0; i < 3; i++) {
        CHECK(tls_say(client, "GET /echo?again HTTP/1.1\r\nHost: a\r\nX-Ask: 1\r\n\r\n"));
        EXPECT(tls_hear(client, "again"), "HTTP/1.1 200 OK\r\n", "Keep-Alive: timeout=70\r\n",
               "X-Seen: yes\r\n");
    }
    CHECK(tls_say(client, "HEAD /echo?again HTTP/1.1\r\nHost: a\r\n\r\n"));
    char *answer = tls_hear(client, "\r\n\r\n");
    CHECK(strstr(answer, "Content-Length: 5\r\n") != NULL && strstr(answer, "again") == NULL);
    free(answer);
    CHECK(tls_say(client, "GET /empty HTTP/1.1\r\nHost: a\r\n\r\n"));
    answer = tls_hear(client, "\r\n\r\n");
    CHECK(strstr(answer, "204 No Content") != NULL && strstr(answer, "Content-Length") == NULL);
    free(answer);
    CHECK(tls_say(
        client,
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"));
    EXPECT(tls_hear(client, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    CHECK(tls_say(client, "body"));
    EXPECT(tls_hear(client, "\r\n\r\nbody"), "HTTP/1.1 200 OK\r\n");
    CHECK(tls_say(client, "GET /twice HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    answer = tls_hear(client, NULL);
    CHECK(strstr(answer, "\r\n\r\nonce") != NULL && strstr(answer, "twice") == NULL);
    CHECK(br_ssl_engine_last_error(&client->ssl.eng) == 0); // said goodbye with close_notify
    free(answer);
    tls_hang_up(client);
}

static void test_pipelining(void)
{
    struct client *client = tls_dial();
    CHECK(tls_say(
        client,
        "GET /later HTTP/1.1\r\nHost: a\r\n\r\nGET /echo?second HTTP/1.1\r\nHost: a\r\n\r\n"
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
        "chunked\r\n\r\n5\r\nthird\r\n0\r\n\r\n"
        "GET /later HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /echo?never HTTP/1.1\r\n"));
    char *answer = tls_hear(client, NULL);
    const char *first = strstr(answer, "\r\n\r\nlater"), *second = strstr(answer, "\r\n\r\nsecond");
    const char *third = strstr(answer, "\r\n\r\nthird"), *never = strstr(answer, "never");
    CHECK(first && second > first && third > second && strstr(third, "later") && !never);
    free(answer);
    tls_hang_up(client);
}

static void test_stream(void)
{
    struct client *client = tls_dial();
    CHECK(tls_say(client, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"));
    EXPECT(tls_hear(client, "\r\n0\r\n\r\n"), "Transfer-Encoding: chunked\r\n",
           "Content-Type: text/event-stream\r\n",
           "\r\n\r\nf\r\ndata: {\"n\":1}\n\n\r\nf\r\ndata: {\"n\":1}\n\n\r\n",
           "\r\nf\r\ndata: {\"n\":2}\n\n\r\n0\r\n\r\n");
    CHECK(tls_say(client, "GET /stream HTTP/1.0\r\n\r\n")); // without chunks: the end is the end
    char *answer = tls_hear(client, NULL);
    CHECK(!strstr(answer, "chunked") && strstr(answer, "\r\n\r\ndata: {\"n\":1}\n\n"));
    CHECK(strstr(answer, "data: {\"n\":2}\n\n") != NULL && strstr(answer, "\r\n0\r\n") == NULL);
    free(answer);
    tls_hang_up(client);
}

static struct client *ask_silent(const char *more)
{
    int handled = n_handled;
    struct client *client = tls_dial();
    CHECK(tls_say(client, "GET /silent HTTP/1.1\r\nHost: a\r\n\r\n") && tls_say(client, more));
    wait_for(&n_handled, handled + 1);
    return client;
}

static void test_leavers(void)
{
    int gone = n_gone;
    struct client *client = ask_silent("");
    br_sslio_close(&client->io); // politely, with close_notify
    wait_for(&n_gone, gone + 1);
    tls_hang_up(client);
    tls_hang_up(ask_silent("")); // without a word
    wait_for(&n_gone, gone + 2);
    tls_hang_up(
        ask_silent("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")); // with a request waiting behind
    wait_for(&n_gone, gone + 3);
    client = ask_silent("");
    struct linger reset = {.l_onoff = 1};
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    tls_hang_up(client);
    wait_for(&n_gone, gone + 4);
    CHECK(n_gone == gone + 4);
}

// A client that sends its end right behind its request still gets the answer.
static void test_half_closed(void)
{
    for (int i = 0; i < 20; i++) {
        struct client *client = tls_dial();
        if (i % 2) // not its first request
            CHECK(tls_say(client, "GET /echo?one HTTP/1.1\r\nHost: a\r\n\r\n"));
        if (i % 2)
            EXPECT(tls_hear(client, "one"), "200 OK");
        CHECK(tls_say(client, "GET /echo?half HTTP/1.1\r\nHost: a\r\n\r\n"));
        shutdown(client->fd, SHUT_WR);
        EXPECT(tls_hear(client, "half"), "200 OK");
        tls_hang_up(client);
    }
    int fd = dial(plain_port);
    char answer[1024] = "";
    const char *ask = "GET /echo?half HTTP/1.1\r\nHost: a\r\n\r\n";
    CHECK(send(fd, ask, strlen(ask), MSG_NOSIGNAL) == (ssize_t)strlen(ask));
    shutdown(fd, SHUT_WR);
    CHECK(recv(fd, answer, sizeof(answer) - 1, MSG_WAITALL) > 0 && strstr(answer, "half"));
    close(fd);
}

static void test_slow_reader(void)
{
    int closed = n_closed, gone = n_gone;
    struct client *client = tls_dial();
    CHECK(tls_say(client, "GET /flood HTTP/1.1\r\nHost: a\r\n\r\n"));
    wait_for(&n_closed, closed + 1); // over LIMIT_STREAM_OUT it is cancelled, and told so once
    wait_for(&n_gone, gone + 1);
    struct client *other = tls_dial(); // nobody else notices
    CHECK(tls_say(other, "GET /echo?fine HTTP/1.1\r\nHost: a\r\n\r\n"));
    EXPECT(tls_hear(other, "fine"), "200 OK");
    tls_hang_up(other);
    tls_hang_up(client);
    CHECK(n_gone == gone + 1);
}

// ---- admission at the head ---------------------------------------------------------------------

// Sends a head and hears all that comes until the end.
static char *ask_head(const char *head)
{
    struct client *client = tls_dial();
    CHECK(tls_say(client, head));
    char *answer = tls_hear(client, NULL);
    CHECK(br_ssl_engine_last_error(&client->ssl.eng) == 0); // ended with close_notify
    tls_hang_up(client);
    return answer;
}

#define POST_OF(path, length)                                                                      \
    "POST " path " HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: " length         \
    "\r\n\r\n"

// Nothing of these bodies is ever sent: what is heard was decided from the head.
static void test_refused_heads(void)
{
    static const struct {
        const char *head, *code, *why;
    } refused[] = {
        {POST_OF("/nothing", "5000000"), "HTTP/1.1 404 ", "nothing here"},
        {POST_OF("/echo", "1048577"), "HTTP/1.1 413 ", "1048577 bytes; at most 1048576"},
        {POST_OF("/echo", "99999999999999"), "HTTP/1.1 413 ", "at most 1048576"},
        {POST_OF("/echo", "9999999999999999999"), "HTTP/1.1 413 ", "beyond all bounds"},
        {POST_OF("/peer", "5"), "HTTP/1.1 200 ", "127.0.0.1"},
    };
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        char *answer = ask_head(refused[i].head);
        CHECK(strncmp(answer, refused[i].code, strlen(refused[i].code)) == 0);
        EXPECT(answer, "Connection: close\r\n", refused[i].why);
    }
}

static void send_zeros(struct client *client, size_t n)
{
    static uint8_t zeros[16384];
    for (size_t piece; n > 0; n -= piece) {
        piece = n < sizeof(zeros) ? n : sizeof(zeros);
        if (br_sslio_write_all(&client->io, zeros, piece) != 0)
            break;
    }
    (void)br_sslio_flush(&client->io);
}

// A client that sends all of its body before it reads still reads why it was refused.
static void test_drain(void)
{
    struct client *client = tls_dial();
    CHECK(tls_say(client, "POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n"));
    send_zeros(client, 4000000);
    EXPECT(tls_hear(client, "nothing here"), "HTTP/1.1 404 ", "Connection: close\r\n");
    tls_hang_up(client);
}

#define UPLOAD(path, more)                                                                         \
    "POST " path " HTTP/1.1\r\nHost: a\r\n" more "Expect: 100-continue\r\n"                        \
    "Content-Length: 1048576\r\n\r\n"

// What an address may have on the way is reserved at the head; those with the key have their own.
static void test_body_budgets(void)
{
    struct client *open = tls_dial(), *keyed = tls_dial();
    CHECK(LIMIT_OPEN_BODIES_CLIENT == 1 << 20);
    CHECK(tls_say(open, UPLOAD("/echo", "")));
    EXPECT(tls_hear(open, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n");
    EXPECT(ask_head(UPLOAD("/echo", "")), "HTTP/1.1 503 ", "without a key", "Connection: close");
    CHECK(tls_say(keyed, UPLOAD("/echo", "X-Key: 1\r\n")));
    EXPECT(tls_hear(keyed, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n");
    send_zeros(keyed, 1 << 20);
    EXPECT(tls_hear(keyed, "\r\n\r\n"), "HTTP/1.1 200 OK\r\n", "Content-Length: 1048576\r\n");
    tls_hang_up(keyed);
    tls_hang_up(open); // gives back what it reserved, though it sent nothing
    poll(NULL, 0, 100);
    // A body that was handed over is no longer held, though its request is not answered yet.
    int gone = n_gone;
    struct client *both[2];
    for (int i = 0; i < 2; i++) {
        int handled = n_handled;
        both[i] = tls_dial();
        CHECK(tls_say(both[i], UPLOAD("/swallow", "")));
        EXPECT(tls_hear(both[i], "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n");
        send_zeros(both[i], 1 << 20);
        wait_for(&n_swallowed, i + 1);
        CHECK(n_handled == handled + 1);
    }
    tls_hang_up(both[0]);
    tls_hang_up(both[1]);
    wait_for(&n_gone, gone + 2);
}

// Large answers that nobody reads: the budget of those without a key runs out, and they are told
// so; small answers, and those of a client with the key, are not touched by that.
static void test_answer_budgets(void)
{
    struct client *lazy[6], *keyed = tls_dial();
    int n_refused = 0;
    for (size_t i = 0; i < COUNT_OF(lazy); i++) {
        lazy[i] = tls_dial();
        CHECK(tls_say(lazy[i], "GET /large HTTP/1.1\r\nHost: a\r\n\r\n"));
        char *answer = tls_hear(lazy[i], "\r\n\r\n");
        n_refused += strstr(answer, "HTTP/1.1 503 ") && strstr(answer, "Retry-After: ");
        free(answer);
    }
    CHECK(n_refused >= 2);
    CHECK(tls_say(keyed, "GET /large HTTP/1.1\r\nHost: a\r\nX-Key: 1\r\n\r\n"));
    EXPECT(tls_hear(keyed, "\r\n\r\n"), "HTTP/1.1 200 OK\r\n", "Content-Length: 700000\r\n");
    struct client *open = tls_dial();
    CHECK(tls_say(open, "GET /echo?small HTTP/1.1\r\nHost: a\r\n\r\n"));
    EXPECT(tls_hear(open, "small"), "HTTP/1.1 200 OK\r\n");
    tls_hang_up(open);
    tls_hang_up(keyed);
    for (size_t i = 0; i < COUNT_OF(lazy); i++)
        tls_hang_up(lazy[i]);
}

static void test_sinks(void)
{
    struct client *client = tls_dial();
    CHECK(tls_say(client, "POST /pour HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n"));
    send_zeros(client, 300000);
    EXPECT(tls_hear(client, "poured"), "HTTP/1.1 200 OK\r\n", "\r\n\r\npoured 300000",
           "Keep-Alive");
    CHECK(tls_say(client, "GET /echo?still HTTP/1.1\r\nHost: a\r\n\r\n"));
    EXPECT(tls_hear(client, "still"), "HTTP/1.1 200 OK\r\n");
    tls_hang_up(client);
    client = tls_dial();
    CHECK(tls_say(client, "POST /spill HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n"));
    send_zeros(client, 300000);
    EXPECT(tls_hear(client, "full"), "HTTP/1.1 507 ", "Connection: close\r\n");
    tls_hang_up(client);
}

// More connections than one address may have: those that have shown no key make room, oldest
// first.
static void test_places(void)
{
    static int crowd[LIMIT_PER_CLIENT + 20];
    char byte;
    struct client *keyed = tls_dial();
    CHECK(tls_say(keyed, "GET /echo?mine HTTP/1.1\r\nHost: a\r\nX-Key: 1\r\n\r\n"));
    EXPECT(tls_hear(keyed, "mine"), "HTTP/1.1 200 OK\r\n");
    for (size_t i = 0; i < COUNT_OF(crowd); i++)
        crowd[i] = dial(tls_port);
    CHECK(recv(crowd[0], &byte, 1, 0) <= 0); // it had to go
    struct client *late = tls_dial();
    CHECK(tls_say(late, "GET /echo?late HTTP/1.1\r\nHost: a\r\n\r\n"));
    EXPECT(tls_hear(late, "late"), "HTTP/1.1 200 OK\r\n");
    CHECK(tls_say(keyed, "GET /echo?still HTTP/1.1\r\nHost: a\r\n\r\n"));
    EXPECT(tls_hear(keyed, "still"), "HTTP/1.1 200 OK\r\n");
    for (size_t i = 0; i < COUNT_OF(crowd); i++)
        close(crowd[i]);
    tls_hang_up(late);
    tls_hang_up(keyed);
}

static void test_wrong_protocol(void)
{
    int keep_port = plain_port;
    plain_port = tls_port;
    char *answer = ask_plain("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    const char *body = strstr(answer, "\r\n\r\n"), *length = strstr(answer, "Content-Length: ");
    CHECK(strncmp(answer, "HTTP/1.1 400 ", 13) == 0 && body && strstr(answer, "https://") != NULL);
    CHECK(length && body && strtoul(length + 16, NULL, 10) == strlen(body + 4));
    free(answer);
    plain_port = keep_port;
}

static void test_watch(void)
{
    uint64_t one = 1;
    for (int i = 1; i <= 3; i++) {
        CHECK(write(wake_fd, &one, sizeof(one)) == sizeof(one));
        wait_for(&n_woken, i);
    }
}

static void test_refused_settings(const char *state)
{
    static const struct {
        const char *listen, *hostname, *wanted;
    } bad[] = {{"443", "a", "listen: \"443\""},
               {"1.2.3:443", "a", "listen"},
               {"[::1:443", "a", "listen"},
               {"127.0.0.1:65536", "a", "listen"},
               {"127.0.0.1:", "a", "listen"},
               {"127.0.0.1:0", "a b", "hostname"},
               {"192.0.2.254:1", "a", "cannot listen"},
               {"127.0.0.1:0", "", "hostname"}};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct net *none = NULL;
        struct err err = {0};
        struct net_options options = {bad[i].listen, "", state, bad[i].hostname};
        CHECK(net_open(&none, &options, handler, NULL, &err) != OK && !none);
        if (!CHECK(strstr(err.text, bad[i].wanted)))
            fprintf(stderr, "    \"%s\": %s\n", bad[i].listen, err.text);
    }
}

// Stopping: who arrives is told so, idle connections get their goodbye, a stream that can end gets
// its last words, and one that never ends is cut off.
static void test_stop(pthread_t thread)
{
    int gone = n_gone;
    struct client *idle = tls_dial(), *open = tls_dial(), *ends = tls_dial();
    CHECK(tls_say(idle, "GET /echo?x HTTP/1.1\r\nHost: a\r\n\r\n"));
    free(tls_hear(idle, "\r\n\r\nx"));
    CHECK(tls_say(ends, "GET /last HTTP/1.1\r\nHost: a\r\n\r\n"));
    free(tls_hear(ends, "it begins"));
    CHECK(tls_say(open, "GET /flood HTTP/1.1\r\nHost: a\r\n\r\n"));
    free(tls_hear(open, "\r\n\r\n"));
    uint64_t began = clock_ms();
    net_stop(net);
    char *answer = tls_hear(idle, NULL);
    CHECK(answer[0] == 0 && br_ssl_engine_last_error(&idle->ssl.eng) == 0);
    free(answer);
    EXPECT(ask_head("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 503 ", "stopping",
           "Connection: close");
    CHECK(clock_ms() - began < 2000);
    answer = tls_hear(ends, NULL);
    CHECK(br_ssl_engine_last_error(&ends->ssl.eng) == 0); // said goodbye with close_notify
    EXPECT(answer, "data: {\"last\":1}\n\n\r\n0\r\n\r\n");
    CHECK(clock_ms() - began >= LIMIT_STOP_MS);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(clock_ms() - began < LIMIT_STOP_MS + LIMIT_STOP_LAST_MS + 2000);
    net_close(net);
    CHECK(n_gone == gone + 1); // the owner of the stream that was cut off was told
    tls_hang_up(idle);
    tls_hang_up(open);
    tls_hang_up(ends);
}

int main(void)
{
    char state[] = "/tmp/net_loop.XXXXXX", listen_http[64], url[128], want_url[64];
    struct err err = {0};
    pthread_t thread;
    log_level_set(LOG_ERROR + 1);
    plain_port = free_port();
    snprintf(listen_http, sizeof(listen_http), "127.0.0.1:%d", plain_port);
    struct net_options options = {"127.0.0.1:0", listen_http, mkdtemp(state), "tawny"};
    if (net_open(&net, &options, handler, NULL, &err) != OK) {
        fprintf(stderr, "net_open: %s\n", err.text);
        return 1;
    }
    tls_port = net_https_port(net); // the real one: every test below connects to it
    test_refused_settings(state);
    snprintf(want_url, sizeof(want_url), "https://127.0.0.1:%d/", tls_port);
    CHECK(tls_port > 0 && net_url(net, 0, url) && strcmp(url, want_url) == 0 &&
          !net_url(net, 1, url));
    wake_fd = eventfd(0, EFD_NONBLOCK);
    net_watch(net, wake_fd, woken, NULL);
    net_every(net, 30, tick, NULL);
    net_on_stop(net, stop_begins, stop_ends, &stopping);
    load_anchor();
    if (pthread_create(&thread, NULL, serve, NULL) != 0)
        return 1;
    test_plain_port();
    test_keep_alive();
    test_pipelining();
    test_stream();
    test_leavers();
    test_half_closed();
    test_slow_reader();
    test_refused_heads();
    test_drain();
    test_body_budgets();
    test_answer_budgets();
    test_sinks();
    test_places();
    test_wrong_protocol();
    test_watch();
    test_stop(thread);
    close(wake_fd);
    remove_state(state);
    return check_done("net_loop");
}
