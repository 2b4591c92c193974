// route.c - which path is whose, who may enter, and the plain port.
//
// The plain port (80) exists so that a person can fetch the CA certificate before anything is
// trusted, and to send everybody else to https; nothing secret ever passes it. There are no CORS
// headers: a page of another origin cannot read our answers.
#include "inside.h"

#include <stdio.h>
#include <string.h>

static const struct endpoint {
    const char *method, *path; // a path that ends in '/' (but the first) takes everything below it
    bool open;                 // needs no key
    route_handler *handler;
} routes[] = {
    {"GET", "/", true, page_get},
    {"GET", "/health", true, health_get},
    {"GET", "/ca.crt", true, ca_get},
    {"GET", "/notices", true, notices_get},
    {"GET", "/v1/doctor", false, doctor_get},
    {"GET", "/v1/models", false, models_get},
    {"GET", "/v1/models/", false, model_get},
    {"POST", "/v1/chat/completions", false, chat_post},
    {"POST", "/v1/completions", false, completions_post},
};

static bool path_matches(const struct endpoint *route, struct bytes path)
{
    size_t n = strlen(route->path);
    if (n > 1 && route->path[n - 1] == '/')
        return path.n > n && memcmp(path.p, route->path, n) == 0;
    return bytes_equal_text(path, route->path);
}

static bool method_matches(const struct endpoint *route, struct bytes method)
{
    if (bytes_equal_text(method, "HEAD")) // net/ leaves the body away
        return strcmp(route->method, "GET") == 0;
    return bytes_equal_text(method, route->method);
}

static struct bytes key_given(const struct request *request)
{
    struct bytes value = request->authorization;
    static const char scheme[] = "bearer ";
    size_t n = sizeof(scheme) - 1, i = 0;
    while (i < n && i < value.n && (value.p[i] | 0x20) == scheme[i])
        i++;
    if (i < n)
        return request_header(request, "x-api-key");
    value.p += n;
    value.n -= n;
    while (value.n && value.p[0] == ' ') {
        value.p++;
        value.n--;
    }
    return value;
}

static bool key_is_good(const struct api *api, const struct request *request,
                        struct refusal *refusal)
{
    struct bytes key = key_given(request);
    if (key.n && bytes_equal_secret(key, bytes_of(api->key)))
        return true;
    if (key.n == 0)
        return refuse(refusal, 401, "missing_api_key", NULL,
                      "An API key is needed: send 'Authorization: Bearer KEY'. The box shows its "
                      "key on its console.");
    return refuse(refusal, 401, "invalid_api_key", NULL,
                  "The API key is not right. The box shows its key on its console.");
}

// ---- the plain port -------------------------------------------------------------------------

// The host without its port, when it is one that may stand in a header.
static bool host_good(struct bytes host, char out[256])
{
    size_t n = 0;
    bool bracket = host.n && host.p[0] == '[';
    for (; n < host.n && n < 255; n++) {
        uint8_t c = host.p[n];
        if (c == ':' && !bracket)
            break;
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && !(c && strchr("-._[]:", c)))
            return false;
        out[n] = (char)c;
        if (c == ']') {
            n++;
            break;
        }
    }
    out[n] = 0;
    return n > 0;
}

static void redirect(const struct api *api, struct exchange *exchange,
                     const struct request *request)
{
    char host[256], port[16] = "", location[300];
    if (!host_good(request->host, host)) {
        exchange_reply(exchange, 400, "text/plain",
                       bytes_of("The Host header is missing or bad.\n"));
        return;
    }
    int https_port = net_https_port(api->net);
    if (https_port != 443)
        snprintf(port, sizeof(port), ":%d", https_port);
    // To the start page: what was asked for here, in the clear, is not carried on.
    snprintf(location, sizeof(location), "https://%s%s/", host, port);
    exchange_reply_header(exchange, "Location", location);
    exchange_reply(
        exchange, 308, "text/plain",
        bytes_of("Use https. The certificate to trust first is at /ca.crt on this port too.\n"));
}

static void plain_handle(struct api *api, struct exchange *exchange, const struct request *request)
{
    if (bytes_equal_text(request->path, "/ca.crt") && method_matches(&routes[0], request->method))
        ca_get(api, exchange, request);
    else
        redirect(api, exchange, request);
}

// ---- TLS ------------------------------------------------------------------------------------

static void wrong_method(struct exchange *exchange, const struct endpoint *route,
                         struct bytes method)
{
    struct refusal refusal;
    (void)refuse(&refusal, 405, "method_not_allowed", NULL, "%s wants %s, not %.*s.", route->path,
                 route->method, (int)(method.n < 20 ? method.n : 20), (const char *)method.p);
    exchange_reply_header(exchange, "Allow",
                          strcmp(route->method, "GET") == 0 ? "GET, HEAD" : route->method);
    refusal_reply(exchange, &refusal);
}

void api_handle(void *arg, struct exchange *exchange, const struct request *request)
{
    struct api *api = arg;
    struct refusal refusal;
    const struct endpoint *found = NULL;
    if (!request->tls) {
        plain_handle(api, exchange, request);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(routes) && !found; i++)
        if (path_matches(&routes[i], request->path))
            found = &routes[i];
    // Without a key nobody learns which paths exist.
    if (!(found && found->open) && !key_is_good(api, request, &refusal)) {
        refusal_reply(exchange, &refusal);
    } else if (!found) {
        (void)refuse(&refusal, 404, "unknown_url", NULL, "There is nothing at %.*s.",
                     (int)(request->path.n < 200 ? request->path.n : 200),
                     (const char *)request->path.p);
        refusal_reply(exchange, &refusal);
    } else if (!method_matches(found, request->method)) {
        wrong_method(exchange, found, request->method);
    } else {
        found->handler(api, exchange, request);
    }
}
