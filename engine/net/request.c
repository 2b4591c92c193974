// request.c - one request: its head, the question to the handler, and its body if that wants it.
//
// The handler is asked when the head is complete: exchange_read and exchange_sink reserve what the
// body may take before a byte of it is read, and only then is 100 Continue said. A body that nobody
// asked for marks the connection `unread`: it closes after the answer, since nobody knows where the
// next request begins. A whole body belongs to its handler only while that runs.
#include "conn.h"

#include <string.h>

static void head_done(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    const struct http *http = &exchange->http;
    struct request *request = &exchange->request;
    *request = (struct request){
        .method = http->method,
        .path = http->path,
        .query = http->query,
        .host = http->host,
        .authorization = http_field(http, "authorization"),
        .api_key = http_field(http, "x-api-key"),
        .content_type = http_field(http, "content-type"),
        .origin = http_field(http, "origin"),
        .accept = http_field(http, "accept"),
        .has_body = http->has_body,
        .body_told = http->body_told,
        .body_bytes = http->length,
        .tls = conn->on_tls_port,
        .http = http,
    };
    memcpy(request->peer, conn->peer, sizeof(request->peer));
    memcpy(request->id, exchange->id, sizeof(request->id));
    exchange->began_ms = conn->net->now_ms;
    exchange->head_only = bytes_equal_text(http->method, "HEAD");
    conn->unread = http->has_body;
    conn_enter(conn, ANSWERING, 0);
    conn->net->handler(conn->net->handler_arg, exchange, request);
}

static size_t feed_head(struct conn *conn, struct bytes in)
{
    size_t n_used = 0;
    enum status status = http_head_feed(&conn->exchange->http, in, &n_used);
    if (status == OK)
        head_done(conn);
    else if (status != AGAIN)
        exchange_refuse(conn, conn->exchange->http.fault.code, conn->exchange->http.fault.why);
    return n_used;
}

// ---- the body ----------------------------------------------------------------------------------

static void body_done(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    conn->unread = false;
    exchange->request.body = buf_view(&exchange->body);
    conn_enter(conn, ANSWERING, 0);
    exchange->whole(exchange->body_arg, exchange, &exchange->request);
    exchange_free_body(exchange);
}

// A chunked body tells its length only as it comes.
static bool reserve_more(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    if (exchange->body.n <= exchange->n_reserved)
        return true;
    size_t more = exchange->body.n - exchange->n_reserved;
    if (!budget_take(conn, exchange->reserved_from, more))
        return false;
    exchange->n_reserved += more;
    return true;
}

static size_t feed_body(struct conn *conn, struct bytes in)
{
    struct exchange *exchange = conn->exchange;
    size_t n_used = 0;
    enum status status = http_body_feed(&exchange->http, in, &n_used, &exchange->body);
    conn->n_window += n_used;
    if (status != OK && status != AGAIN) {
        exchange_refuse(conn, exchange->http.fault.code, exchange->http.fault.why);
        return n_used;
    }
    if (exchange->sink && exchange->body.n > 0) {
        exchange->held = !exchange->sink(exchange->body_arg, exchange, buf_view(&exchange->body));
        exchange->body.n = 0;
    } else if (!reserve_more(conn)) {
        conn_tell(conn, "its request is refused with 503: too many bodies are being read");
        exchange_refuse(conn, 503, "too much is being sent to this server at once: try again soon");
    }
    if (status == OK && conn->state == BODY)
        body_done(conn);
    return n_used;
}

static enum status refuse_length(const struct http *http, uint64_t cap_bytes, struct err *err)
{
    return err_set(err, TOO_LARGE, "The request body has %llu bytes; at most %llu are read here.",
                   (unsigned long long)http->length, (unsigned long long)cap_bytes);
}

static enum status reserve(struct conn *conn, bool collect, struct err *err)
{
    struct exchange *exchange = conn->exchange;
    enum budget budget = conn->keyed ? BODIES : OPEN_BODIES;
    size_t n = collect ? (size_t)exchange->http.length : LIMIT_TLS_IN;
    char why[96];
    if (!budget_take(conn, budget, n)) {
        budget_full(conn, budget, why);
        conn_tell(conn, "its request is refused with 503: %s", why);
        return err_set(err, NO_ROOM, "Too much is being sent at once: %s; try again soon.", why);
    }
    exchange->reserved_from = budget;
    exchange->n_reserved = n;
    return OK;
}

static enum status body_begin(struct exchange *exchange, uint64_t cap_bytes, net_sink *sink,
                              net_handler *whole, void *arg, struct err *err)
{
    struct conn *conn = exchange->conn;
    struct http *http = &exchange->http;
    if (conn->state != ANSWERING || exchange->whole)
        return err_set(err, CLOSED, "the body of an answered request cannot be read");
    if (!conn->on_tls_port)
        return err_set(err, UNSUPPORTED, "a request body is read over TLS only");
    if (!http->has_body) {
        whole(arg, exchange, &exchange->request);
        return OK;
    }
    if (http->length > cap_bytes)
        return refuse_length(http, cap_bytes, err);
    enum status status = reserve(conn, !sink, err);
    if (status != OK)
        return status;
    if (http_body_cap(http, cap_bytes) != OK)
        return refuse_length(http, cap_bytes, err);
    if (http->expects_continue && !conn_write(conn, bytes_of("HTTP/1.1 100 Continue\r\n\r\n")))
        return err_set(err, NO_ROOM, "no more can be said to this client");
    exchange->whole = whole;
    exchange->sink = sink;
    exchange->body_arg = arg;
    buf_init(&exchange->body, sink               ? LIMIT_TLS_IN
                              : http->length > 0 ? (size_t)http->length
                                                 : (size_t)cap_bytes);
    conn->n_window = 0;
    conn->body_end_ms = sink ? UINT64_MAX : conn->net->now_ms + LIMIT_BODY_MS;
    conn_enter(conn, BODY, LIMIT_BODY_WINDOW_MS);
    conn_mark(conn); // to send the 100
    return OK;
}

enum status exchange_read(struct exchange *exchange, uint64_t cap_bytes, net_handler *whole,
                          void *arg, struct err *err)
{
    return body_begin(exchange, cap_bytes, NULL, whole, arg, err);
}

enum status exchange_sink(struct exchange *exchange, uint64_t cap_bytes, net_sink *sink,
                          net_handler *whole, void *arg, struct err *err)
{
    return body_begin(exchange, cap_bytes, sink, whole, arg, err);
}

void exchange_go_on(struct exchange *exchange)
{
    struct conn *conn = exchange->conn;
    if (!exchange->held || conn->state != BODY)
        return;
    exchange->held = false;
    conn->n_window = 0;
    conn_enter(conn, BODY, LIMIT_BODY_WINDOW_MS);
    conn_mark(conn); // what came meanwhile is fed when it is settled
}

bool request_is_held(const struct conn *conn)
{
    return conn->state == BODY && conn->exchange->held;
}

// ---- feeding, time -----------------------------------------------------------------------------

size_t request_feed(struct conn *conn, struct bytes in)
{
    if (conn->dead || in.n == 0 || request_is_held(conn))
        return 0;
    if (conn->state == IDLE) {
        if (!conn->keyed && !conn->worked) {
            conn_wait(conn);
            return 0;
        }
        conn->exchange = exchange_open(conn);
        conn_enter(conn, HEAD, LIMIT_HEAD_MS);
    }
    return conn->state == HEAD   ? feed_head(conn, in)
           : conn->state == BODY ? feed_body(conn, in)
                                 : 0;
}

bool request_expire(struct conn *conn)
{
    uint64_t now = conn->net->now_ms;
    if (conn->state == HEAD) {
        const struct http *http = &conn->exchange->http;
        if (conn->net->stop_ms != 0 || (http->n == 0 && http->n_lines == 0 && conn->tls))
            conn_finish(conn); // nothing was asked: an empty line at most
        else
            exchange_refuse(conn, 408, "the request head did not arrive within 10 seconds");
        return true;
    }
    if (conn->state != BODY)
        return false;
    if (request_is_held(conn)) {
        conn_enter(conn, BODY, LIMIT_BODY_WINDOW_MS); // it is we who are slow
    } else if (now < conn->body_end_ms && conn->n_window >= LIMIT_BODY_WINDOW) {
        conn->n_window = 0; // enough came: the next window
        uint64_t left = conn->body_end_ms - now;
        conn_enter(conn, BODY, left < LIMIT_BODY_WINDOW_MS ? left : LIMIT_BODY_WINDOW_MS);
    } else {
        conn_tell(conn, "its request body arrives too slowly: refused");
        exchange_refuse(conn, 408, "the request body arrives too slowly");
    }
    return true;
}
