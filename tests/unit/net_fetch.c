// net_fetch.c - fetching: addresses and responses taken apart at every split, and then the whole
// client against a server of the same loop, over real TLS: redirects, tokens, ranges, what is not
// trusted, bodies that wait and bodies that end too early.
#include "../../engine/net/conn.h"
#include "../../engine/net/response.h"
#include "../../engine/net/url.h"
#include "check.h"
#include "net_state.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

// ---- addresses ----------------------------------------------------------------------------------

static const char *read_back(const char *text)
{
    static char out[8192];
    struct url url;
    struct err err = {0};
    char host[URL_HOST_BYTES + 16];
    if (url_read(&url, bytes_of(text), &err) != OK)
        return "refused";
    snprintf(out, sizeof(out), "%s|%s|%s", url.tls ? "tls" : "plain", url_host_text(&url, host),
             url.target);
    return out;
}

static const char *follow(const char *from, const char *location)
{
    static char out[8192];
    struct url url, to;
    struct err err = {0};
    char host[URL_HOST_BYTES + 16];
    if (url_read(&url, bytes_of(from), &err) != OK ||
        url_follow(&to, &url, bytes_of(location), &err) != OK)
        return "refused";
    snprintf(out, sizeof(out), "%s://%s%s", to.tls ? "https" : "http", url_host_text(&to, host),
             to.target);
    return out;
}

static void addresses(void)
{
    CHECK_TEXT(read_back("https://Example.COM"), "tls|example.com|/");
    CHECK_TEXT(read_back("HTTPS://a.b:443/x?y=z#w"), "tls|a.b|/x?y=z");
    CHECK_TEXT(read_back("https://a.b:8443?q"), "tls|a.b:8443|/?q");
    CHECK_TEXT(read_back("http://[::1]:80/"), "plain|[::1]|/");
    static const char *const bad[] = {"",
                                      "ftp://a/",
                                      "https://",
                                      "https:///",
                                      "https://a b/",
                                      "https://user@a/",
                                      "a.b/c",
                                      "https://a:0/",
                                      "https://a:65536/",
                                      "https://[",
                                      "https://a/b\r\n",
                                      "https://a/\xc3\xa4",
                                      "https://a\\b/"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK_TEXT(read_back(bad[i]), "refused");
    CHECK_TEXT(follow("https://a/b/c?d", "https://e:1/f"), "https://e:1/f");
    CHECK_TEXT(follow("https://a:7/b/c?d", "/f?g"), "https://a:7/f?g");
    CHECK_TEXT(follow("https://a/b/c?d=/x/y", "f"), "https://a/b/f");
    CHECK_TEXT(follow("https://a/b/c", "//e/f"), "https://e/f");
    CHECK_TEXT(follow("https://a/b", "http://a/b"), "http://a/b"); // whether is the client's
    CHECK_TEXT(follow("https://a/b", "//user@e/f"), "refused");
    struct url a, b;
    struct err err;
    CHECK(url_read(&a, bytes_of("https://a/x"), &err) == OK &&
          url_read(&b, bytes_of("https://a:443/y"), &err) == OK && url_same_host(&a, &b));
    CHECK(url_read(&b, bytes_of("https://a:444/y"), &err) == OK && !url_same_host(&a, &b));
    CHECK(url_host_is(&a, bytes_of("a")) && url_host_is(&a, bytes_of("A:443")) &&
          !url_host_is(&a, bytes_of("a:444")) && !url_host_is(&b, bytes_of("a")) &&
          !url_host_is(&a, bytes_of("aa")) && !url_host_is(&a, bytes_of("")));
}

// ---- responses ----------------------------------------------------------------------------------

// Feeds `text` in two pieces, split at `at`. What came: "CODE BODY", or the fault.
static const char *response_of(const char *text, size_t at, bool head_only, bool ends)
{
    static char out[2048];
    static struct response response;
    const size_t n = strlen(text);
    enum status status = AGAIN;
    struct buf body;
    buf_init(&body, 1024);
    response_init(&response, head_only);
    for (int i = 0; i < 2 && status == AGAIN; i++) {
        // of the heap, with nothing behind it
        const size_t from = i ? at : 0, n_piece = i ? n - at : at;
        uint8_t *piece = malloc(n_piece + !n_piece);
        memcpy(piece, text + from, n_piece);
        status = response_feed(&response, (struct bytes){piece, n_piece});
        CHECK(buf_add(&body, response.content.p, response.content.n) == OK);
        response.content.n = 0;
        free(piece);
    }
    if (status == BAD_INPUT)
        snprintf(out, sizeof(out), "fault: %s", response.fault);
    else if (status == OK || (ends && response_ended(&response)))
        snprintf(out, sizeof(out), "%d %.*s", response.code, (int)body.n, (const char *)body.p);
    else
        snprintf(out, sizeof(out), "not whole");
    buf_free(&body);
    response_free(&response);
    return out;
}

static void responses(void)
{
#define HEAD "HTTP/1.1 200 OK\r\n"
    static const struct {
        const char *text, *want;
        bool head_only, ends;
    } cases[] = {
        {HEAD "Content-Length: 5\r\n\r\nhello", "200 hello", false, false},
        {HEAD "Content-Length: 5\r\n\r\nhell", "not whole", false, true},
        {HEAD "Content-Length: 5\r\n\r\nhello, and more", "200 hello", false, false},
        {HEAD "Content-Length: 5\r\ncontent-length: 5\r\n\r\nhello", "fault", false, false},
        {HEAD "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "fault", false, false},
        {HEAD "Content-Length: -1\r\n\r\n", "fault", false, false},
        {HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "200 hello", false,
         false},
        {HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "not whole", false, true},
        {HEAD "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n", "fault",
         false, false},
        {HEAD "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", "fault", false, false},
        {HEAD "Content-Length: 5\r\n\r\n", "200 ", true, false},
        {HEAD "\r\nuntil the end", "200 until the end", false, true},
        {HEAD "\r\nuntil the end", "not whole", false, false},
        {"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" HEAD "Content-Length: 2\r\n\r\nhi", "200 hi",
         false, false},
        {"HTTP/1.1 204 No Content\r\n\r\n", "204 ", false, false},
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "fault",
         false, false},
        {"SSH-2.0-OpenSSH\r\n", "fault", false, false},
        {"HTTP/1.1 200 OK\r\nA b\r\n\r\n", "fault", false, false},
        {"HTTP/1.1 ", "not whole", false, true},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t at = 0; at <= strlen(cases[i].text); at++) {
            const char *got = response_of(cases[i].text, at, cases[i].head_only, cases[i].ends);
            const bool fault = strcmp(cases[i].want, "fault") == 0;
            if (!CHECK(fault ? strncmp(got, "fault: ", 7) == 0 : strcmp(got, cases[i].want) == 0))
                fprintf(stderr, "    case %zu split at %zu: %s\n", i, at, got);
        }
    // the caps
    static char text[RESPONSE_HEAD_BYTES + 4096];
    size_t n = (size_t)snprintf(text, sizeof(text), HEAD);
    while (n < RESPONSE_HEAD_BYTES + 2048)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "A: %0*d\r\n", 2000, 1);
    snprintf(text + n, sizeof(text) - n, "\r\n");
    CHECK_TEXT(response_of(text, 100, false, false), "fault: has a head of more than 32 KiB");
    n = (size_t)snprintf(text, sizeof(text), HEAD);
    for (int i = 0; i <= RESPONSE_FIELDS; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "A: 1\r\n");
    CHECK_TEXT(response_of(text, 100, false, false), "fault: has more than 96 header fields");
}

// ---- the whole client ---------------------------------------------------------------------------

static struct net *net;
static int tls_port, plain_port, raw_fd, raw_port;
static char big[300000];

static void handler(void *arg, struct exchange *exchange, const struct request *request)
{
    (void)arg;
    char path[64], to[256], seen[600];
    const struct bytes token = request->authorization, range = request_header(request, "range");
    snprintf(path, sizeof(path), "%.*s", (int)request->path.n, (const char *)request->path.p);
    exchange_keyed(exchange, 1);
    const char *other = strcmp(path, "/port") == 0   ? "https://localhost:%d/seen"
                        : strcmp(path, "/name") == 0 ? "https://tawny.localhost:%d/seen"
                        : strcmp(path, "/down") == 0 ? "http://localhost:%d/seen"
                        : strcmp(path, "/here") == 0 ? "/seen"
                        : strcmp(path, "/loop") == 0 ? "/loop"
                                                     : NULL;
    if (other) {
        snprintf(to, sizeof(to), other, strcmp(path, "/down") == 0 ? plain_port : tls_port);
        exchange_reply_header(exchange, "Location", to);
        exchange_reply_header(exchange, "X-Linked-Etag", "\"linked\"");
        exchange_reply(exchange, 302, "text/plain", bytes_of("on"));
    } else if (strcmp(path, "/big") == 0) {
        exchange_reply(exchange, 200, "text/plain", (struct bytes){(uint8_t *)big, sizeof(big)});
    } else {
        snprintf(seen, sizeof(seen), "%s token '%.*s' range '%.*s' %s", path, (int)token.n,
                 (const char *)token.p, (int)range.n, (const char *)range.p,
                 request->tls ? "tls" : "plain");
        exchange_reply(exchange, strcmp(path, "/missing") == 0 ? 404 : 200, "text/plain",
                       bytes_of(seen));
    }
}

// The cases are run one after the other: the end of one begins the next.
static const struct step {
    const char *path, *token;
    int kind;           // 0: our TLS port, 1: the plain one, 2: the raw one, 3: nobody
    const char *host;   // NULL: localhost
    enum status status; // of the end
    const char *text;   // of the body or of the sentence: it must begin so
    int code;
    uint64_t from;
} steps[] = {
    {"/seen", "", 0, NULL, OK, "/seen token 'Bearer of-setting' range '' tls", 200, 0},
    {"/seen", "own", 0, NULL, OK, "/seen token 'Bearer own'", 200, 0},
    {"/seen", "own", 0, NULL, OK, "/seen token 'Bearer own' range 'bytes=7-'", 200, 7},
    {"/missing", "", 0, NULL, OK, "/missing", 404, 0},
    {"/here", "own", 0, NULL, OK, "/seen token 'Bearer own'", 200, 0},
    // to another name at the same port, and from it back: neither's token goes along
    {"/port", "own", 0, "tawny.localhost", OK, "/seen token 'Bearer of-setting'", 200, 0},
    {"/name", "own", 0, NULL, OK, "/seen token ''", 200, 0},
    {"/down", "", 0, NULL, DENIED, "localhost", 0, 0},
    {"/loop", "", 0, NULL, BAD_INPUT, "localhost", 0, 0},
    {"/big", "", 0, NULL, OK, "big", 200, 0},
    {"/seen", "own", 1, NULL, OK, "/seen token 'Bearer own' range '' plain", 200, 0},
    {"/seen", "", 1, "tawny.localhost", DENIED, "http://tawny.localhost", 0, 0},
    {"/seen", "", 0, "127.0.0.1", UNSUPPORTED, "https://127.0.0.1", 0, 0},
    {"/seen", "", 0, "other.localhost", DENIED, "other.localhost", 0, 0},
    {"/cut", "", 2, NULL, CLOSED, "localhost", 200, 0},
    {"/none", "", 2, NULL, CLOSED, "localhost", 0, 0},
    {"/noise", "", 2, NULL, BAD_INPUT, "the answer of localhost", 0, 0},
    {"/seen", "", 3, NULL, IO_ERROR, "localhost", 0, 0},
    {"/seen", "", 0, "nowhere.invalid", NOT_FOUND, "the name nowhere.invalid", 0, 0},
};
static size_t step_at;
static struct buf got;
static int code_got;
static bool pause_next;
static struct fetch *fetch;
static void next_step(void);

static void head(void *arg, const struct fetched *fetched)
{
    CHECK(arg == &steps[step_at]);
    code_got = fetched->code;
    if (strcmp(steps[step_at].path, "/here") == 0)
        CHECK(bytes_equal_text(fetched->linked_etag, "\"linked\""));
}

static bool body(void *arg, struct bytes piece)
{
    CHECK(arg == &steps[step_at]);
    CHECK(!pause_next || strcmp(steps[step_at].path, "/big") != 0 || fetch);
    CHECK(buf_add(&got, piece.p, piece.n) == OK);
    pause_next = strcmp(steps[step_at].path, "/big") == 0;
    return !pause_next; // a tick lets it go on
}

static void end(void *arg, const struct err *err)
{
    const struct step *step = arg;
    char text[400];
    const bool is_big = strcmp(step->path, "/big") == 0;
    const char *shown = err->status == OK ? (is_big ? "big" : text) : err->text;
    snprintf(text, sizeof(text), "%.*s", (int)(got.n < 399 ? got.n : 399), (const char *)got.p);
    if (!CHECK(err->status == step->status) || !CHECK(code_got == step->code) ||
        !CHECK(strncmp(shown, step->text, strlen(step->text)) == 0))
        fprintf(stderr, "    step %zu %s: status %s, %d: %s\n", step_at, step->path,
                status_name(err->status), code_got, shown);
    if (is_big)
        CHECK(got.n == sizeof(big) && memcmp(got.p, big, sizeof(big)) == 0);
    fetch = NULL;
    step_at++;
    next_step();
}

static const struct fetch_calls calls = {head, body, end};

static void next_step(void)
{
    char url[256];
    if (step_at == COUNT_OF(steps)) {
        net_stop(net);
        return;
    }
    const struct step *step = &steps[step_at];
    const int ports[] = {tls_port, plain_port, raw_port, 1};
    snprintf(url, sizeof(url), "http%s://%s:%d%s", step->kind == 0 || step->kind == 3 ? "s" : "",
             step->host ? step->host : "localhost", ports[step->kind], step->path);
    got.n = 0;
    code_got = 0;
    pause_next = false;
    fetch = fetch_open(net,
                       &(struct fetch_request){
                           .url = url, .token = step->token, .from = step->from, .if_range = ""},
                       &calls, (void *)step);
}

static void tick(void *arg)
{
    (void)arg;
    if (fetch && pause_next) {
        pause_next = false;
        fetch_go_on(fetch);
    }
}

// A server that does not keep to the rules, on a thread of its own.
static void *raw_main(void *arg)
{
    (void)arg;
    int client;
    while ((client = accept(raw_fd, NULL, NULL)) >= 0) {
        char text[2048] = "";
        for (size_t n = 0; !strstr(text, "\r\n\r\n");) {
            ssize_t more = recv(client, text + n, sizeof(text) - 1 - n, 0);
            if (more <= 0)
                break;
            n += (size_t)more;
        }
        const char *answer = strstr(text, "/cut")
                                 ? "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"
                             : strstr(text, "/noise") ? "220 ready for mail\r\n"
                                                      : "";
        if (send(client, answer, strlen(answer), MSG_NOSIGNAL) != (ssize_t)strlen(answer))
            perror("send");
        close(client);
    }
    return NULL;
}

static int listener(int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(fd, (struct sockaddr *)&at, n) == 0 && listen(fd, 8) == 0 &&
          getsockname(fd, (struct sockaddr *)&at, &n) == 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static void too_long(void *arg)
{
    (void)arg;
    static int n;
    if (++n == 60) {
        CHECK(step_at == COUNT_OF(steps));
        net_stop(net);
    }
}

static void whole(void)
{
    char state[] = "/tmp/net_fetch.XXXXXX", listen_tls[32], listen_plain[32], ca[64], plain[128],
         tokens[128];
    struct err err = {0};
    if (!CHECK(mkdtemp(state) != NULL))
        return;
    close(listener(&tls_port));
    close(listener(&plain_port));
    raw_fd = listener(&raw_port);
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (char)(i * 31 + i / 997);
    snprintf(listen_tls, sizeof(listen_tls), "127.0.0.1:%d", tls_port);
    snprintf(listen_plain, sizeof(listen_plain), "127.0.0.1:%d", plain_port);
    snprintf(ca, sizeof(ca), "%s/tls/ca.crt", state);
    snprintf(plain, sizeof(plain), "localhost:%d, localhost:%d", plain_port, raw_port);
    snprintf(tokens, sizeof(tokens), "example.org other , localhost:%d of-setting", tls_port);
    const struct net_options options = {.listen = listen_tls,
                                        .listen_http = listen_plain,
                                        .state = state,
                                        .hostname = "tawny.localhost",
                                        .client = {.ca = ca, .plain = plain, .tokens = tokens}};
    if (!CHECK(net_client_good(&options.client, &err) == OK) ||
        !CHECK(net_open(&net, &options, handler, NULL, &err) == OK)) {
        fprintf(stderr, "    %s\n", err.text);
        return;
    }
    buf_init(&got, 1 << 20);
    pthread_t raw;
    CHECK(pthread_create(&raw, NULL, raw_main, NULL) == 0);
    net_every(net, 5, tick, NULL);
    net_every(net, 1000, too_long, NULL);
    next_step();
    CHECK(net_run(net, &err) == OK);
    CHECK(step_at == COUNT_OF(steps));
    net_close(net);
    shutdown(raw_fd, SHUT_RDWR);
    pthread_join(raw, NULL);
    close(raw_fd);
    buf_free(&got);
    remove_state(state);
}

static void settings(void)
{
    struct err err;
    static const struct client_options bad[] = {{.plain = "a b"},
                                                {.plain = "http://a"},
                                                {.tokens = "host"},
                                                {.tokens = "host to ken"},
                                                {.tokens = "h t,"
                                                           ", x"},
                                                {.ca = "file.pem"},
                                                {.proxy = "http://p:1"}};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK(net_client_good(&bad[i], &err) == BAD_INPUT);
    CHECK(net_client_good(&(struct client_options){.tokens = "host s3cret, other"}, &err) ==
              BAD_INPUT &&
          !strstr(err.text, "s3cret"));
    CHECK(net_client_good(&(struct client_options){.tokens = "a:1 b , c\td", .proxy = "p:1"},
                          &err) == OK);
}

int main(void)
{
    addresses();
    responses();
    settings();
    whole();
    return check_done("net_fetch");
}
