// net_http.c - the HTTP request reader (engine/net/http.c): what it takes, what it refuses and with
// which code.
//
// Every request is fed at every split into two pieces, byte by byte, and whole, each piece ending
// at an unreadable page (so that a byte read behind the input ends the program); the outcome must
// be the same. Every good request is also cut off at every length: it must ask for more, never
// answer early. After the request follow the bytes of a next one: none of them may be used.
#include "../../engine/net/http.h"
#include "../../engine/net/net.h"
#include "check.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define AFTER "GET /next HTTP/1.1\r\n" // what a pipelining client sends behind it

enum { BODY_BYTES = 8 << 20 };

static uint8_t *guard_end; // the first unreadable byte

static void guard_open(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *p = mmap(NULL, 33 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + 32 * page, page, PROT_NONE) != 0) {
        perror("guard page");
        exit(1);
    }
    guard_end = p + 32 * page;
}

struct outcome {
    enum status status;
    int code;
    size_t n_used;
    struct buf content;
    struct http *http;
};

// Feeds text in pieces that end at cuts[0 .. n_cuts) and at n.
static void feed(struct outcome *out, const char *text, size_t n, const size_t *cuts, size_t n_cuts)
{
    struct http *http = malloc(sizeof(*http));
    http_init(http);
    buf_init(&out->content, BODY_BYTES);
    enum status status = AGAIN;
    size_t at = 0, piece = 0;
    bool head = true;
    while (status == AGAIN && at < n) {
        size_t end = piece < n_cuts ? cuts[piece] : n;
        piece++;
        while (at < end && status == AGAIN) {
            struct bytes in = {guard_end - (end - at), end - at};
            memcpy(guard_end - in.n, text + at, in.n);
            size_t n_used = 0;
            if (head) {
                status = http_head_feed(http, in, &n_used);
                if (status == OK && http->has_body) {
                    head = false;
                    status = http_body_cap(http, BODY_BYTES) == OK ? AGAIN : BAD_INPUT;
                }
            } else {
                status = http_body_feed(http, in, &n_used, &out->content);
            }
            at += n_used;
            if (n_used == 0 && status == AGAIN) {
                CHECK(n_used > 0); // progress
                status = BAD_INPUT;
            }
        }
    }
    out->status = status;
    out->code = http->fault.code;
    out->n_used = at;
    out->http = http;
    CHECK((status == BAD_INPUT) == (http->fault.code != 0));
}

static void outcome_free(struct outcome *out)
{
    free(out->http);
    buf_free(&out->content);
}

// A good request: its parts, its body. `text` is NUL-terminated; no part may hold NUL.
static void good(const char *text, const char *path, const char *query, const char *host,
                 const char *content)
{
    size_t n = strlen(text), n_all = n + strlen(AFTER);
    char *all = malloc(n_all + 1);
    memcpy(all, text, n);
    memcpy(all + n, AFTER, strlen(AFTER) + 1);
    for (size_t cut = 0; cut <= n_all + 1; cut++) { // n_all: whole; n_all + 1: byte by byte
        size_t *cuts = malloc((n_all + 1) * sizeof(*cuts)), n_cuts = 1;
        cuts[0] = cut;
        if (cut > n_all)
            for (n_cuts = 0; n_cuts < n_all; n_cuts++)
                cuts[n_cuts] = n_cuts + 1;
        struct outcome out;
        feed(&out, all, n_all, cuts, n_cuts);
        bool same = out.status == OK && out.n_used == n && bytes_equal_text(out.http->path, path) &&
                    bytes_equal_text(out.http->query, query) &&
                    bytes_equal_text(out.http->host, host) &&
                    bytes_equal_text(buf_view(&out.content), content);
        if (!CHECK(same)) {
            fprintf(stderr, "    cut %zu of %zu, status %s, code %d (%s), used %zu\n    %s\n", cut,
                    n, status_name(out.status), out.code, out.code ? out.http->fault.why : "",
                    out.n_used, text);
            cut = n_all + 1;
        }
        outcome_free(&out);
        free(cuts);
    }
    for (size_t cut = 0; cut < n; cut++) {
        struct outcome out;
        feed(&out, text, cut, NULL, 0);
        if (!CHECK(out.status == AGAIN))
            fprintf(stderr, "    cut off at %zu: %s\n", cut, text);
        outcome_free(&out);
    }
    free(all);
}

static void bad_bytes(const char *text, size_t n, int code)
{
    for (size_t cut = 0; cut <= n; cut++) {
        struct outcome out;
        feed(&out, text, n, &cut, 1);
        if (!CHECK(out.status == BAD_INPUT && out.code == code)) {
            fprintf(stderr, "    cut %zu: status %s, code %d instead of %d: %.*s\n", cut,
                    status_name(out.status), out.code, code, (int)n, text);
            cut = n;
        }
        CHECK(out.code == 0 || (out.http->fault.why && out.http->fault.why[0] != 0));
        outcome_free(&out);
    }
}

static void bad(const char *text, int code)
{
    bad_bytes(text, strlen(text), code);
}

static void test_good(void)
{
    good("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "/", "", "a", "");
    good("\r\n\r\n\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\n\r\n", "/y", "", "a", "");
    good("\r\nGET /x HTTP/1.1\r\nhOST:\t a:443 \t\r\n\r\n", "/x", "", "a:443", "");
    good("GET /a%20b/%C3%A4?q=%zz&&? HTTP/1.1\r\nHost: [::1]:11434\r\n\r\n", "/a b/\xc3\xa4",
         "q=%zz&&?", "[::1]:11434", "");
    good("GET https://tawny.local/v1/models?x HTTP/1.1\r\nHost: other\r\n\r\n", "/v1/models", "x",
         "tawny.local", "");
    good("GET http://tawny.local HTTP/1.1\r\nHost: other\r\n\r\n", "/", "", "tawny.local", "");
    good("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*", "", "a", "");
    good("GET / HTTP/1.0\r\n\r\n", "/", "", "", "");
    good("POST /v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "/v1", "", "a", "hello");
    good("POST /v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "/v1", "", "a", "");
    good("POST /v1 HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", "/v1", "", "", "hi");
    good("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
         "chunked\r\n\r\n5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\n\r\n",
         "/", "", "a", "hello world");
    good("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
         "CHUNKED\r\n\r\n00a\r\n0123456789\r\n000\r\nTrail: er\r\n\r\n",
         "/", "", "a", "0123456789");
    good("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "/", "", "a",
         "");
    good("GET / HTTP/1.1\r\nHost: a\r\nX: \xff\xfe obs-text\r\nEmpty:\r\n\r\n", "/", "", "a", "");
    good("DELETE /api/delete HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n{}\n", "/api/delete",
         "", "a", "{}\n");
}

static void test_meaning(void)
{
    static const char text[] =
        "POST /v1 HTTP/1.1\r\nHost: a\r\nAuthorization:  Bearer k e y \r\nExpect: 100-Continue\r\n"
        "CONNECTION: x, Close\r\nContent-Length: 2\r\n\r\n";
    struct outcome out;
    feed(&out, text, strlen(text), NULL, 0);
    CHECK(out.status == AGAIN && out.http->has_body && out.http->head_done);
    CHECK(out.http->expects_continue && !out.http->keep_alive && out.http->length == 2 &&
          out.http->minor == 1);
    CHECK(bytes_equal_text(http_field(out.http, "authorization"), "Bearer k e y"));
    CHECK(bytes_equal_text(out.http->method, "POST") && bytes_equal_text(out.http->target, "/v1"));
    CHECK(!http_field(out.http, "absent").p);
    outcome_free(&out);
    feed(&out, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 42, NULL, 0);
    CHECK(out.status == OK && !out.http->keep_alive &&
          !out.http->has_body); // 1.0 always closes here
    outcome_free(&out);
    feed(&out, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27, NULL, 0);
    CHECK(out.status == OK && out.http->keep_alive && !out.http->expects_continue);
    outcome_free(&out);
    CHECK(bytes_equal_text(host_without_port(bytes_of("[::1]:80")), "[::1]"));
    CHECK(bytes_equal_text(host_without_port(bytes_of("a.b:80")), "a.b"));
    CHECK_TEXT(code_reason(431), "Request Header Fields Too Large");
}

static void test_bad_lines(void)
{
    bad("GET / HTTP/1.1\nHost: a\r\n\r\n", 400);
    bad("GET / HTTP/1.1\r\nHost: a\n\r\n", 400);
    bad("GET / HTTP/1.1\r\nHost: a\r\n\n", 400);
    bad("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400);
    bad("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400);
    bad("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    bad("\nGET / HTTP/1.1\r\n", 400);
    bad(" GET / HTTP/1.1\r\n", 400);
    bad("GET  / HTTP/1.1\r\n", 400);
    bad("GET /  HTTP/1.1\r\n", 400);
    bad("GET / HTTP/1.1 \r\n", 505); // "1.1 " is no version
    bad("GET /\r\n", 400);           // HTTP/0.9
    bad("GET\r\n", 400);
    bad("G@T / HTTP/1.1\r\n", 400);
    bad("FOO / HTTP/1.1\r\n", 400);
    bad("get / HTTP/1.1\r\n", 400);
    bad("GET / HTTP/2.0\r\n", 505);
    bad("GET / HTTP/1.2\r\n", 505);
    bad("GET / HTTP/0.9\r\n", 505);
    bad("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    bad("GET / http/1.1\r\n", 400);
    bad("GET / ICY/1.1\r\n", 400);
    bad("CONNECT a:443 HTTP/1.1\r\n", 400);
    bad("GET * HTTP/1.1\r\n", 400);
    bad("GET x HTTP/1.1\r\n", 400);
    bad("GET ftp://a/ HTTP/1.1\r\n", 400);
    bad("GET http:///x HTTP/1.1\r\n", 400);
    bad("GET http://u@a/x HTTP/1.1\r\n", 400);
    bad("GET /#x HTTP/1.1\r\n", 400);
    bad("GET /% HTTP/1.1\r\n", 400);
    bad("GET /%4 HTTP/1.1\r\n", 400);
    bad("GET /%g0 HTTP/1.1\r\n", 400);
    bad("GET /%00 HTTP/1.1\r\n", 400);
    bad("GET /%0d%0aX:y HTTP/1.1\r\n", 400);
    bad("GET /%ff HTTP/1.1\r\n", 400);
    bad("GET /\xc3\xa4 HTTP/1.1\r\n", 400);
    bad("GET /../etc/passwd HTTP/1.1\r\n", 400);
    bad("GET /%2e%2e%2fetc HTTP/1.1\r\n", 400);
    bad("GET /a/./b HTTP/1.1\r\n", 400);
    bad("\x16\x03\x01\x02", 400);
    bad_bytes("GET /\0 HTTP/1.1\r\n", 17, 400);
}

static void test_bad_fields(void)
{
#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
    bad("GET / HTTP/1.1\r\n\r\n", 400); // no Host
    bad(GET "Host: a\r\n\r\n", 400);
    bad("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400);
    bad("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400);
    bad("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400);
    bad("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400);
    bad("GET / HTTP/1.1\r\nHost: a:1234567\r\n\r\n", 400);
    bad("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400);
    bad("GET / HTTP/1.1\r\nHost: [x]\r\n\r\n", 400);
    bad("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400);
    bad(GET " folded: x\r\n\r\n", 400);
    bad(GET "X: a\r\n b\r\n\r\n", 400);
    bad(GET "X : a\r\n\r\n", 400);
    bad(GET "X\r\n\r\n", 400);
    bad(GET ": a\r\n\r\n", 400);
    bad(GET "X\xc3: a\r\n\r\n", 400);
    bad(GET "(X): a\r\n\r\n", 400);
    bad(GET "X: a\x01\r\n\r\n", 400);
    bad(GET "X: a\x7f\r\n\r\n", 400);
    bad_bytes(GET "X: a\0b\r\n\r\n", strlen(GET) + 10, 400);
    bad(GET "Authorization: a\r\nAuthorization: b\r\n\r\n", 400);
    bad(GET "Origin: a\r\nOrigin: b\r\n\r\n", 400);
    bad(GET "Expect: 200-maybe\r\nContent-Length: 1\r\n\r\n", 417);
}

static void test_bad_framing(void)
{
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
    bad(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400);
    bad(POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400);
    bad(POST "Content-Length: 5, 5\r\n\r\n", 400);
    bad(POST "Content-Length: +5\r\n\r\n", 400);
    bad(POST "Content-Length: -5\r\n\r\n", 400);
    bad(POST "Content-Length: 0x5\r\n\r\n", 400);
    bad(POST "Content-Length: 5 5\r\n\r\n", 400);
    bad(POST "Content-Length:\r\n\r\n", 400);
    bad(POST "Content-Length: 8388609\r\n\r\n", 413);
    bad(POST "Content-Length: 1844674407370955161\r\n\r\n", 413);
    bad(POST "Content-Length: 18446744073709551621\r\n\r\n", 400);
    bad(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    bad(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400);
    bad("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    bad(POST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400);
    bad(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    bad(CHUNKED "x\r\n", 400);
    bad(CHUNKED "-1\r\n", 400);
    bad(CHUNKED "\r\n", 400);
    bad(CHUNKED " 5\r\nhello\r\n", 400);
    bad(CHUNKED "5 \r\nhello\r\n", 400);
    bad(CHUNKED "5\nhello\r\n", 400);
    bad(CHUNKED "5\r\nhelloo\r\n", 400);
    bad(CHUNKED "5\r\nhello\n0\r\n\r\n", 400);
    bad(CHUNKED "5\r\nhello0\r\n\r\n", 400);
    bad(CHUNKED "800001\r\n", 413);
    bad(CHUNKED "1\r\nx\r\n800000\r\n", 413);
    bad(CHUNKED "fffffffffffffffff\r\n", 400);
    bad(CHUNKED "5;a=\x01\r\nhello\r\n", 400);
    bad(CHUNKED "5;a=b\nhello\r\n", 400);
    bad(CHUNKED "0\r\n bad: x\r\n\r\n", 400);
    bad(CHUNKED "0\r\nbad\r\n\r\n", 400);
    bad(CHUNKED "0\r\nX: a\n\r\n", 400);
    bad(CHUNKED "0\r\n\n", 400);
}

// Whatever the coding is called, it must be refused, by us or by llhttp.
static void test_codings(void)
{
    static const char *const codings[] = {"gzip",     "gzip, chunked", "identity", "chunked;q=1",
                                          "xchunked", "chunked\v",     ""};
    for (size_t i = 0; i < COUNT_OF(codings); i++) {
        char text[200];
        int n = snprintf(text, sizeof(text), POST "Transfer-Encoding: %s\r\n\r\n", codings[i]);
        struct outcome out;
        feed(&out, text, (size_t)n, NULL, 0);
        if (!CHECK(out.status == BAD_INPUT && (out.code == 400 || out.code == 501)))
            fprintf(stderr, "    \"%s\": %s %d\n", codings[i], status_name(out.status), out.code);
        outcome_free(&out);
    }
}

// prefix, then `byte` n times, then suffix: the answer, and that nothing is read much past the cap.
static void expect_cap(const char *prefix, const char *unit, size_t n_units, const char *suffix,
                       int code)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    enum status status = buf_add(&text, prefix, strlen(prefix));
    for (size_t i = 0; i < n_units && status == OK; i++)
        status = buf_add(&text, unit, strlen(unit));
    CHECK(status == OK && buf_add(&text, suffix, strlen(suffix)) == OK);
    struct outcome out;
    for (size_t step = 100; step <= 10000; step *= 10) {
        size_t cuts[2000], n_cuts = 0;
        for (size_t at = step; at < text.n; at += step)
            cuts[n_cuts++] = at;
        feed(&out, (const char *)text.p, text.n, cuts, n_cuts);
        if (!CHECK(code == 0 ? out.status == OK : out.status == BAD_INPUT && out.code == code)) {
            fprintf(stderr, "    cap: %zu of \"%s\": %s %d instead of %d\n", n_units, unit,
                    status_name(out.status), out.code, code);
        }
        outcome_free(&out);
    }
    buf_free(&text);
}

static void test_caps(void)
{
    const char *end = " HTTP/1.1\r\nHost: a\r\n\r\n";
    expect_cap("GET /", "x", LIMIT_TARGET - 1, end, 0);
    expect_cap("GET /", "x", LIMIT_TARGET, end, 414);
    expect_cap("GET /", "x", 60000, "", 414);
    expect_cap("", "A", 60000, "", 414);
    expect_cap(GET, "a: b\r\n", LIMIT_FIELDS - 1, "\r\n", 0);
    expect_cap(GET, "a: b\r\n", LIMIT_FIELDS, "\r\n", 431);
    expect_cap(GET "X: ", "x", LIMIT_HEAD - strlen(GET "X: ") - 4, "\r\n\r\n", 0);
    expect_cap(GET "X: ", "x", LIMIT_HEAD - strlen(GET "X: ") - 3, "\r\n\r\n", 431);
    expect_cap(GET, "x", 60000, "", 431);
    expect_cap(CHUNKED "5;", "x", 60000, "\r\nhello\r\n0\r\n\r\n", 431);
    expect_cap(CHUNKED "0\r\n", "a: b\r\n", 10000, "\r\n", 431);
    expect_cap(CHUNKED, "1\r\nx\r\n", 10000, "0\r\n\r\n", 0);
    expect_cap(CHUNKED, "0", 60000, "", 431);
}

int main(void)
{
    guard_open();
    test_good();
    test_meaning();
    test_bad_lines();
    test_bad_fields();
    test_bad_framing();
    test_codings();
    test_caps();
    return check_done("net_http");
}
