// cert.c - fuzz target: any bytes as a certificate (engine/net/cert.c) and as DER
// (engine/net/der.c). Every view lies in the input, and the signature of what was read can be
// checked.
//
// Kept inputs: cert/ (certificates as we issue them, and what fuzzing found).
#include "net/cert.h"
#include "net/der.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MOST = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void lies_in(struct bytes part, struct bytes whole)
{
    if (part.n && (part.p < whole.p || part.p + part.n > whole.p + whole.n))
        abort();
}

static void walk(struct bytes in, int depth)
{
    while (in.n && depth < DEPTH_MOST) {
        struct bytes before = in, content, whole;
        unsigned tag;
        int64_t unix_s;
        struct bytes time = in;
        if (der_read_time(&time, &unix_s) == OK)
            lies_in(time, before);
        if (der_read(&in, &tag, &content, &whole) != OK)
            return;
        lies_in(whole, before);
        lies_in(content, whole);
        if (in.n >= before.n || whole.n + in.n != before.n)
            abort();
        if (tag & 0x20) // constructed
            walk(content, depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cert_view view;
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    memcpy(copy, data, size);
    struct bytes all = {copy, size};
    walk(all, 0);
    if (cert_read(all, &view) == OK) {
        if (view.point.n != CERT_POINT)
            abort();
        lies_in(view.tbs, all);
        lies_in(view.issuer, all);
        lies_in(view.subject, all);
        lies_in(view.point, all);
        lies_in(view.san, all);
        lies_in(view.signature, all);
        (void)cert_signed_by(&view, &view);
    }
    free(copy);
    return 0;
}
