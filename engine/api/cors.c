// cors.c - pages of other origins: a browser lets one use this server only when an answer names its
// origin (https://fetch.spec.whatwg.org/#http-cors-protocol).
//
// The setting `cors` lists the origins, separated by commas; "*" is all of them; it is empty unless
// the owner fills it. What guards the server is the key, which such a page has to have and send;
// cookies are not used. A preflight (OPTIONS) asks without a key what may be sent: it is answered
// from its head, and tells nothing but whether its origin is in the list.
#include "inside.h"

#include <stdio.h>
#include <string.h>

enum { ORIGIN_BYTES = 256, FIELD_BYTES = 1024 };

static size_t next_origin(const char **at)
{
    *at += strspn(*at, ", \t");
    return strcspn(*at, ", \t");
}

// "*", or scheme://host[:port] as browsers write it: small letters, no path.
static bool origin_is_good(const char *text, size_t n)
{
    if (n == 1 && text[0] == '*')
        return true;
    const char *host = memmem(text, n, "://", 3);
    if (!host || host == text || n >= ORIGIN_BYTES)
        return false;
    host += 3;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        bool mark = c && strchr(text + i < host ? "+.-:/" : ".-_:[]", c);
        if (!letter && !mark)
            return false;
    }
    return host < text + n;
}

enum status cors_check(const char *setting, struct err *err)
{
    size_t n;
    for (const char *at = setting; (n = next_origin(&at)) > 0; at += n)
        if (!origin_is_good(at, n))
            return err_set(err, BAD_INPUT,
                           "cors: \"%.*s\" is not an origin, such as https://chat.example or "
                           "http://localhost:3000 (small letters, no path, no slash at the end), "
                           "or * for all",
                           (int)(n < 80 ? n : 80), at);
    return OK;
}

static bool origin_is_allowed(const char *setting, struct bytes origin)
{
    size_t n;
    for (const char *at = setting; (n = next_origin(&at)) > 0; at += n)
        if ((n == 1 && at[0] == '*') || bytes_equal(origin, (struct bytes){(const uint8_t *)at, n}))
            return true;
    return false;
}

// Adds a field whose value came from the client; one that is too long is left out.
static void add_field(struct exchange *exchange, const char *name, struct bytes value)
{
    char text[FIELD_BYTES];
    if (value.n == 0 || value.n >= sizeof(text))
        return;
    snprintf(text, sizeof(text), "%.*s", (int)value.n, (const char *)value.p);
    exchange_reply_header(exchange, name, text);
}

static void refuse_origin(const struct api *api, struct exchange *exchange, struct bytes origin)
{
    struct refusal refusal;
    (void)refuse(&refusal, 403, "origin_not_allowed", NULL,
                 "Pages of %.*s may not use this server%s: to allow it, add it to the setting cors "
                 "in tawny.conf.",
                 (int)(origin.n < 200 ? origin.n : 200), (const char *)origin.p,
                 api->cors[0] ? "" : ", nor those of any other origin");
    refusal_reply(exchange, &refusal);
}

bool cors_answer(const struct api *api, struct exchange *exchange, const struct request *request)
{
    struct bytes origin = request->origin;
    struct bytes method = request_header(request, "access-control-request-method");
    bool preflight = bytes_equal_text(request->method, "OPTIONS") && origin.n > 0 && method.n > 0;
    bool allowed = origin.n > 0 && origin.n < ORIGIN_BYTES && origin_is_allowed(api->cors, origin);
    if (allowed) {
        add_field(exchange, "Access-Control-Allow-Origin", origin);
        exchange_reply_header(exchange, "Vary", "Origin");
        exchange_reply_header(
            exchange, "Access-Control-Expose-Headers",
            "Retry-After, x-request-id, x-ratelimit-limit-requests, "
            "x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, "
            "x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, Location, Tus-Resumable, "
            "Tus-Version, Tus-Extension, Upload-Offset, Upload-Length");
    }
    if (!preflight)
        return false;
    if (!allowed) {
        refuse_origin(api, exchange, origin);
        return true;
    }
    add_field(exchange, "Access-Control-Allow-Methods", method);
    add_field(exchange, "Access-Control-Allow-Headers",
              request_header(request, "access-control-request-headers"));
    if (request_header(request, "access-control-request-private-network").n > 0)
        exchange_reply_header(exchange, "Access-Control-Allow-Private-Network", "true");
    exchange_reply_header(exchange, "Access-Control-Max-Age", "7200");
    exchange_reply(exchange, 204, "text/plain", (struct bytes){NULL, 0});
    return true;
}
