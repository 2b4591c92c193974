// anthropic_signature.c - the signature of a thought, which clients keep and send back unread:
// "tawny-", then in base64 (RFC 4648, section 4) the thought itself where the client asked that it
// be left out. What comes back and is not ours, as from a conversation with another server, holds
// none.
#include "anthropic.h"

#include <string.h>

#define MARK "tawny-"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum status signature_write(struct buf *out, struct bytes thought)
{
    enum status status = buf_add(out, MARK, sizeof(MARK) - 1);
    for (size_t i = 0; i < thought.n && status == OK; i += 3) {
        const size_t n = thought.n - i < 3 ? thought.n - i : 3;
        uint32_t bits = 0;
        char four[4] = "====";
        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (k < n ? thought.p[i + k] : 0);
        for (size_t k = 0; k <= n; k++)
            four[k] = digits[bits >> (18 - 6 * k) & 63];
        status = buf_add(out, four, sizeof(four));
    }
    return status;
}

struct bytes signature_read(struct arena *arena, struct bytes signature)
{
    const size_t n_mark = sizeof(MARK) - 1;
    uint8_t *out = arena_take(arena, signature.n + 1);
    size_t n = 0, n_bits = 0;
    uint32_t bits = 0;
    if (!out || signature.n < n_mark || memcmp(signature.p, MARK, n_mark) != 0)
        return (struct bytes){out, 0};
    for (size_t i = n_mark; i < signature.n && signature.p[i] != '='; i++) {
        const char *digit = signature.p[i] ? strchr(digits, signature.p[i]) : NULL;
        if (!digit)
            return (struct bytes){out, 0};
        bits = bits << 6 | (uint32_t)(digit - digits);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[n++] = (uint8_t)(bits >> n_bits);
        }
    }
    return utf8_valid((struct bytes){out, n}) ? (struct bytes){out, n} : (struct bytes){out, 0};
}
