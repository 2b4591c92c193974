// response.c - fuzz target: any bytes as the response to a request of ours (engine/net/response.c).
// They are read whole, in two pieces and byte by byte; all must end alike: same outcome, same code
// and fields, same body. A body is as long as it was said to be; behind the end
// nothing is read.
//
// An input is: a byte that splits it, a byte of flags (1: it answers a HEAD, 2: the connection ends
// behind it), the bytes.
#include "net/response.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BODY_BYTES = 1 << 20, IS_HEAD = 1, ENDS = 2 };

struct outcome {
    enum status status;
    bool whole;
    struct response response;
    struct buf body;
};

static void take(struct outcome *out)
{
    struct response *response = &out->response;
    if (buf_add(&out->body, response->content.p, response->content.n) != OK)
        abort();
    response->content.n = 0;
}

// step: bytes of the second piece and of all behind it.
static struct outcome *read_response(struct bytes all, size_t first, size_t step, uint8_t flags)
{
    struct outcome *out = malloc(sizeof(*out));
    struct response *response = &out->response;
    size_t at = 0, n = first;
    out->status = AGAIN;
    buf_init(&out->body, BODY_BYTES);
    response_init(response, flags & IS_HEAD);
    for (; at < all.n && out->status == AGAIN; n = step) {
        n = n < all.n - at ? n : all.n - at;
        out->status = response_feed(response, (struct bytes){all.p + at, n});
        at += n;
        take(out);
    }
    if ((out->status == BAD_INPUT) != (response->fault != NULL) ||
        (out->status == OK) != response->done)
        abort();
    if (out->status == OK && (response_feed(response, all) != OK || response->content.n > 0))
        abort();
    out->whole =
        out->status == OK || (out->status == AGAIN && (flags & ENDS) && response_ended(response));
    take(out);
    if (out->whole && (response->code < 200 || response->code > 999 || !response->head_done))
        abort();
    if (out->whole && response->has_length && out->body.n > 0 && out->body.n != response->length)
        abort();
    if (response->has_length && out->body.n > response->length)
        abort();
    return out;
}

static void compare(const struct outcome *a, const struct outcome *b)
{
    const struct response *x = &a->response, *y = &b->response;
    if (a->status != b->status || a->whole != b->whole)
        abort();
    if (a->status == BAD_INPUT)
        return; // for the same reason, or for another one that is met first in another split
    if (x->code != y->code || x->n_fields != y->n_fields || x->length != y->length ||
        x->has_length != y->has_length || !bytes_equal(buf_view(&a->body), buf_view(&b->body)))
        abort();
    for (size_t i = 0; i < x->n_fields; i++)
        if (x->fields[i].n_name != y->fields[i].n_name ||
            x->fields[i].n_value != y->fields[i].n_value ||
            memcmp(x->text + x->fields[i].name, y->text + y->fields[i].name, x->fields[i].n_name) !=
                0 ||
            memcmp(x->text + x->fields[i].value, y->text + y->fields[i].value,
                   x->fields[i].n_value) != 0)
            abort();
}

static void drop(struct outcome *out)
{
    buf_free(&out->body);
    response_free(&out->response);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const struct bytes all = {data + 2, size - 2};
    struct outcome *whole = read_response(all, all.n, all.n, data[1]),
                   *split = read_response(all, data[0] * all.n / 256, all.n, data[1]),
                   *each = read_response(all, 1, 1, data[1]);
    compare(whole, split);
    compare(whole, each);
    drop(whole);
    drop(split);
    drop(each);
    return 0;
}
