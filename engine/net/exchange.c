// exchange.c - answering: the head of an answer, whole answers, chunked streams, and the error
// answers of this floor.
//
// An answer becomes bytes in conn->out at once; conn_settle sends them at the end of the turn, so
// that several small writes leave as one TLS record. HTTP/1.0 has no chunks: a stream to it ends
// with the connection.
#include "conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void name_make(char id[REQUEST_ID])
{
    uint8_t random[12];
    random_bytes(random, sizeof(random));
    memcpy(id, "req_", 4);
    hex_write(id + 4, random, sizeof(random));
}

struct exchange *exchange_open(struct conn *conn)
{
    struct exchange *exchange = mem_alloc(sizeof(*exchange));
    exchange->conn = conn;
    http_init(&exchange->http);
    buf_init(&exchange->fields, LIMIT_REPLY_FIELDS);
    name_make(exchange->id);
    return exchange;
}

void exchange_free_body(struct exchange *exchange)
{
    struct conn *conn = exchange->conn;
    exchange->request.body = (struct bytes){NULL, 0};
    buf_free(&exchange->body);
    budget_give(conn, exchange->reserved_from, exchange->n_reserved);
    exchange->n_reserved = 0;
}

static void tell(struct exchange *exchange, int code)
{
    const struct net *net = exchange->conn->net;
    if (exchange->told || !net->answered || exchange->request.method.n == 0)
        return;
    exchange->told = true;
    net->answered(net->answered_arg, &exchange->request,
                  &(struct answered){code, clock_ms() - exchange->began_ms, exchange->note});
}

void exchange_note(struct exchange *exchange, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(exchange->note, sizeof(exchange->note), format, args);
    va_end(args);
    exchange->note[utf8_whole(bytes_of(exchange->note))] = 0;
}

void exchange_close(struct exchange *exchange)
{
    if (!exchange->done && exchange->on_gone)
        exchange->on_gone(exchange->owner, exchange);
    tell(exchange, 0);
    exchange_free_body(exchange);
    buf_free(&exchange->fields);
    explicit_bzero(exchange, sizeof(*exchange)); // the key was in it
    free(exchange);
}

struct bytes request_header(const struct request *request, const char *lower_case_name)
{
    return http_field(request->http, lower_case_name);
}

struct bytes request_host_name(const struct request *request)
{
    return host_without_port(request->host);
}

void exchange_keyed(struct exchange *exchange, uint64_t who)
{
    exchange->request.who = who;
    exchange->conn->who = who;
    conn_keyed(exchange->conn);
}

void exchange_owner(struct exchange *exchange, net_gone *on_gone, void *arg)
{
    exchange->on_gone = on_gone;
    exchange->owner = arg;
}

int exchange_plain_port(const struct exchange *exchange)
{
    const struct net *net = exchange->conn->net;
    for (size_t i = 0; i < net->n_listeners; i++)
        if (!net->listeners[i].tls && listen_covers(&net->listeners[i].at, exchange->conn->fd))
            return net->listeners[i].at.port;
    return 0;
}

const char *exchange_id(const struct exchange *exchange)
{
    return exchange->id;
}

void exchange_reply_header(struct exchange *exchange, const char *name, const char *value)
{
    bool good = http_is_token(bytes_of(name));
    for (const char *c = value; *c != 0 && good; c++)
        good = (uint8_t)*c >= 0x20 && *c != 0x7F;
    if (!good || buf_format(&exchange->fields, "%s: %s\r\n", name, value) != OK) {
        log_error("an answer's header field \"%s\" was left out: it does not fit, or would break "
                  "the answer's head",
                  name);
    }
}

static bool has_body(int code)
{
    return code >= 200 && code != 204 && code != 304;
}

// The head of an answer. n_body: its length, or SIZE_MAX: chunked, or until the end.
static bool write_head(struct exchange *exchange, int code, const char *content_type, size_t n_body)
{
    struct conn *conn = exchange->conn;
    bool keep =
        exchange->http.keep_alive && conn->on_tls_port && conn->net->stop_ms == 0 && !conn->unread;
    char date[40] = "", length[40] = "", kept[40] = "Connection: close";
    time_t now = (time_t)clock_unix_s();
    struct tm tm;
    if (gmtime_r(&now, &tm))
        strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (has_body(code) && n_body != SIZE_MAX)
        snprintf(length, sizeof(length), "Content-Length: %zu\r\n", n_body);
    else if (exchange->chunked)
        snprintf(length, sizeof(length), "Transfer-Encoding: chunked\r\n");
    if (keep)
        snprintf(kept, sizeof(kept), "Keep-Alive: timeout=%d", LIMIT_IDLE_TOLD_S);
    struct buf head;
    buf_init(&head, LIMIT_REPLY_FIELDS + 1024);
    enum status status = buf_format(
        &head,
        "HTTP/1.1 %d %s\r\nX-Content-Type-Options: nosniff\r\nx-request-id: %s\r\nDate: %s\r\n"
        "%s%s%s%s%.*s%s\r\n\r\n",
        code, code_reason(code), exchange->id, date, has_body(code) ? "Content-Type: " : "",
        has_body(code) ? content_type : "", has_body(code) ? "\r\n" : "", length,
        (int)exchange->fields.n, exchange->fields.n > 0 ? (const char *)exchange->fields.p : "",
        kept);
    exchange->http.keep_alive = keep;
    exchange->code = code;
    bool good = status == OK && conn_write(conn, buf_view(&head));
    buf_free(&head);
    return good;
}

// The answer is complete: the connection goes on or closes.
static void complete(struct exchange *exchange)
{
    struct conn *conn = exchange->conn;
    exchange->done = true;
    if (exchange->gone)
        return; // on_gone is being called: the connection is about to be freed
    tell(exchange, exchange->code);
    if (!conn->dead && conn->state == ANSWERING) {
        conn_enter(conn, FLUSHING, conn->keyed ? 0 : LIMIT_OPEN_FLUSH_MS);
        if (!exchange->http.keep_alive)
            conn_finish(conn);
    }
    conn_mark(conn);
}

static bool can_answer(const struct exchange *exchange)
{
    const struct conn *conn = exchange->conn;
    return !exchange->done && !exchange->gone && !conn->dead &&
           (conn->state == ANSWERING || conn->state == BODY);
}

// An answer in the middle of a body: the rest of that is not read.
static void begin_answer(struct exchange *exchange)
{
    if (exchange->conn->state == BODY)
        conn_enter(exchange->conn, ANSWERING, 0);
}

// Room for the whole of an answer is asked for before its head is written: without it, the answer
// is a short one that says so, for which there is always room.
static bool write_whole(struct exchange *exchange, int code, const char *content_type,
                        struct bytes body)
{
    struct conn *conn = exchange->conn;
    enum budget budget = conn_answers(conn);
    size_t n = has_body(code) && !exchange->head_only ? body.n : 0;
    if (n <= LIMIT_ANSWER_ALWAYS / 2)
        return write_head(exchange, code, content_type, body.n) &&
               conn_write(conn, (struct bytes){body.p, n});
    bool fits = n <= LIMIT_REPLY_OUT && budget_take(conn, budget, n + LIMIT_ANSWER_ALWAYS);
    if (fits) {
        budget_give(conn, budget, n + LIMIT_ANSWER_ALWAYS);
        return write_head(exchange, code, content_type, body.n) && conn_write(conn, body);
    }
    char why[96];
    if (n > LIMIT_REPLY_OUT)
        log_warn("%s: an answer of %zu bytes became a 500: it is over the cap", conn->peer, n);
    else
        conn_tell(conn, "an answer of %zu bytes became a 503: %s", n,
                  budget_full(conn, budget, why));
    exchange->fields.n = 0;
    if (n <= LIMIT_REPLY_OUT)
        exchange_reply_header(exchange, "Retry-After", "3");
    const struct bytes sorry = bytes_of(
        n > LIMIT_REPLY_OUT
            ? "{\"error\":{\"message\":\"The answer is too long to be sent.\",\"type\":"
              "\"server_error\",\"param\":null,\"code\":null}}\n"
            : "{\"error\":{\"message\":\"Too many answers wait to be read: try again soon.\","
              "\"type\":\"server_error\",\"param\":null,\"code\":\"busy\"}}\n");
    return write_head(exchange, n > LIMIT_REPLY_OUT ? 500 : 503, "application/json", sorry.n) &&
           conn_write(conn, sorry);
}

void exchange_reply(struct exchange *exchange, int code, const char *content_type,
                    struct bytes body)
{
    if (can_answer(exchange) && !exchange->streaming) {
        begin_answer(exchange);
        if (!write_whole(exchange, code, content_type, body))
            conn_kill(exchange->conn);
    }
    complete(exchange);
}

void exchange_stream(struct exchange *exchange, int code, const char *content_type)
{
    if (!can_answer(exchange) || exchange->streaming)
        return;
    begin_answer(exchange);
    exchange->streaming = true;
    exchange->chunked = exchange->http.minor == 1;
    if (!write_head(exchange, code, content_type, SIZE_MAX))
        conn_kill(exchange->conn);
}

enum status exchange_write_parts(struct exchange *exchange, const struct bytes *parts, size_t n)
{
    struct conn *conn = exchange->conn;
    if (!can_answer(exchange) || !exchange->streaming)
        return CLOSED;
    size_t n_all = 0;
    for (size_t i = 0; i < n; i++)
        n_all += parts[i].n;
    if (n_all == 0 || exchange->head_only)
        return OK; // a chunk of no bytes would be the end
    char size[24];
    int n_size = snprintf(size, sizeof(size), "%zx\r\n", n_all);
    const size_t most = exchange->last ? LIMIT_REPLY_OUT : LIMIT_STREAM_OUT;
    bool keeps_up = conn->out.n - conn->out_at + n_all <= most, good = keeps_up;
    if (exchange->chunked)
        good = good && conn_write(conn, (struct bytes){(const uint8_t *)size, (size_t)n_size});
    for (size_t i = 0; i < n && good; i++)
        good = conn_write(conn, parts[i]);
    if (exchange->chunked)
        good = good && conn_write(conn, bytes_of("\r\n"));
    if (good)
        return OK;
    char why[96];
    conn_tell(conn, "its stream is cancelled: %zu bytes of it are waiting, and %s",
              conn->out.n - conn->out_at,
              keeps_up ? budget_full(conn, conn_answers(conn), why)
                       : "it is read more slowly than it is made");
    conn_kill(conn);
    return CLOSED;
}

void exchange_last(struct exchange *exchange)
{
    exchange->last = true;
}

void exchange_end(struct exchange *exchange)
{
    if (!exchange->streaming) {
        log_error("an answer was ended without having begun: 500");
        exchange_reply(exchange, 500, "text/plain", bytes_of("No answer was made.\n"));
        return;
    }
    if (can_answer(exchange) && exchange->chunked && !exchange->head_only &&
        !conn_write(exchange->conn, bytes_of("0\r\n\r\n"))) {
        conn_kill(exchange->conn);
    }
    complete(exchange);
}

// `why` is a literal of ours: none holds a quote or a backslash.
static void refuse_plainly(struct exchange *exchange, int code, const char *why)
{
    char body[512];
    const int n = snprintf(body, sizeof(body), "{\"error\":{\"message\":\"%s\"}}\n", why);
    if (code == 503)
        exchange_reply_header(exchange, "Retry-After", "3");
    exchange_reply(exchange, code, "application/json",
                   (struct bytes){(const uint8_t *)body, (size_t)n});
}

void exchange_refuse(struct conn *conn, int code, const char *why)
{
    struct exchange *exchange = conn->exchange;
    const struct net *net = conn->net;
    struct request *request = &exchange->request;
    log_debug("%s: %d: %s", conn->peer, code, why);
    if (exchange->on_gone && !exchange->done) { // who takes its body gets no more of it
        net_gone *on_gone = exchange->on_gone;
        exchange->on_gone = NULL;
        on_gone(exchange->owner, exchange);
    }
    conn_enter(conn, ANSWERING, 0);
    exchange->http.keep_alive = false;
    exchange->fields.n = 0;
    if (!request->http) { // its head is not whole
        request->http = &exchange->http;
        request->path = exchange->http.path;
    }
    if (net->refuser)
        net->refuser(net->refuser_arg, exchange, request, code, why);
    else
        refuse_plainly(exchange, code, why);
}
