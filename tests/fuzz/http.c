// http.c - fuzz target: any bytes as a request (engine/net/http.c). They are read whole and in two
// pieces, split where the first byte says; both must end alike: same outcome, same fields, same
// body, same number of bytes used. Certificates and host names from the same bytes are read too
// (cert_read, host_is_good).
//
// Kept inputs: http/ (requests of every kind, and what fuzzing found). Each begins with the byte
// that splits it.
#include "net/cert.h"
#include "net/http.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BODY_BYTES = 8 << 20 };

struct outcome {
    enum status status;
    size_t n_used;
    struct http *http;
    struct buf body;
};

static void read_request(struct outcome *out, struct bytes all, size_t cut)
{
    struct http *http = malloc(sizeof(*http));
    http_init(http);
    buf_init(&out->body, BODY_BYTES);
    enum status status = AGAIN;
    size_t at = 0, end = cut;
    bool body = false;
    while (status == AGAIN && at < all.n) {
        if (at == end)
            end = all.n;
        struct bytes in = {all.p + at, end - at};
        size_t n_used = 0;
        if (in.n == 0)
            continue;
        status = body ? http_body_feed(http, in, &n_used, &out->body)
                      : http_head_feed(http, in, &n_used);
        if (n_used > in.n || (n_used == 0 && status == AGAIN))
            abort();
        at += n_used;
        if (status == OK && !body && http->has_body) {
            body = true;
            status = http_body_cap(http, BODY_BYTES) == OK ? AGAIN : BAD_INPUT;
        }
    }
    if ((status == BAD_INPUT) != (http->fault.code != 0) ||
        (http->fault.code != 0 && http->fault.code < 400))
        abort();
    out->status = status;
    out->n_used = at;
    out->http = http;
}

static void compare(const struct outcome *a, const struct outcome *b)
{
    if (a->status != b->status || a->http->fault.code != b->http->fault.code)
        abort();
    if (a->status != OK)
        return;
    if (a->n_used != b->n_used || a->http->n_fields != b->http->n_fields ||
        !bytes_equal(a->http->path, b->http->path) || !bytes_equal(a->http->host, b->http->host) ||
        !bytes_equal(buf_view(&a->body), buf_view(&b->body)))
        abort();
    for (size_t i = 0; i < a->http->n_fields; i++)
        if (!bytes_equal(a->http->fields[i].name, b->http->fields[i].name) ||
            !bytes_equal(a->http->fields[i].value, b->http->fields[i].value))
            abort();
    if (a->http->path.n == 0 || (a->http->path.p[0] != '/' && a->http->path.p[0] != '*') ||
        !utf8_valid(a->http->path))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole, split;
    struct cert_view view;
    if (size < 1)
        return 0;
    struct bytes all = {data + 1, size - 1};
    read_request(&whole, all, all.n);
    read_request(&split, all, all.n == 0 ? 0 : data[0] * all.n / 256);
    compare(&whole, &split);
    free(whole.http);
    free(split.http);
    buf_free(&whole.body);
    buf_free(&split.body);
    if (cert_read(all, &view) == OK && view.point.n != CERT_POINT)
        abort();
    (void)host_is_good(all);
    return 0;
}
