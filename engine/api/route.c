// route.c - which path is whose, who may enter, and the plain port.
//
// The plain port (80) exists so that a person can fetch the CA certificate before anything is
// trusted, and to send everybody else to https; nothing secret ever passes it.
//
// A request comes here when its head is complete, before its body is read. Who has no key, or asks
// for what is not there, is answered from the head alone; only a handler that wants a body has it
// read, and is called when it is there. A path is taken as clients join it to a base URL: double
// slashes count as one, and a trailing one as none.
#include "pull.h"

#include <stdio.h>
#include <string.h>

enum {
    SMALL_BODY_BYTES = 64 << 10, // of a request that names a model
    HANDOVER_BYTES = 256,
};

static const struct endpoint routes[] = {
    {"GET", "/", true, 0, page_get},
    {"GET", "/page/", true, 0, page_file_get},
    {"GET", "/health", true, 0, health_get},
    {"GET", "/ca.crt", true, 0, ca_get},
    {"GET", "/notices", true, 0, notices_get},
    {"GET", "/v1/doctor", false, 0, doctor_get, SCOPE_ADMIN},
    {"GET", "/v1/models", false, 0, models_get, SCOPE_CHAT | SCOPE_MODELS},
    {"GET", "/v1/models/", false, 0, model_get, SCOPE_CHAT | SCOPE_MODELS},
    {"DELETE", "/v1/models/", false, 0, model_delete, SCOPE_MODELS},
    {"POST", "/v1/models/load", false, BODY_BYTES_MOST, model_load_post, SCOPE_MODELS},
    {"POST", "/v1/models/unload", false, BODY_BYTES_MOST, model_unload_post, SCOPE_MODELS},
    {"POST", "/v1/models/copy", false, BODY_BYTES_MOST, model_copy_post, SCOPE_MODELS},
    {"POST", "/v1/models/alias", false, BODY_BYTES_MOST, model_alias_post, SCOPE_MODELS},
    {"PUT", "/v1/models/", false, 0, model_put, SCOPE_MODELS},
    {"GET", "/v1/uploads", false, 0, uploads_get, SCOPE_MODELS},
    {"POST", "/v1/uploads", false, 0, uploads_post, SCOPE_MODELS},
    {"OPTIONS", "/v1/uploads", false, 0, uploads_options, SCOPE_MODELS},
    {"GET", "/v1/uploads/", false, 0, upload_get, SCOPE_MODELS},
    {"PATCH", "/v1/uploads/", false, 0, upload_patch, SCOPE_MODELS},
    {"POST", "/v1/uploads/", false, SMALL_BODY_BYTES, upload_post, SCOPE_MODELS},
    {"DELETE", "/v1/uploads/", false, 0, upload_delete, SCOPE_MODELS},
    {"POST", "/v1/models/pull", false, SMALL_BODY_BYTES, model_pull_post, SCOPE_MODELS},
    {"GET", "/v1/downloads", false, 0, downloads_get, SCOPE_MODELS},
    {"GET", "/v1/downloads/", false, 0, download_get, SCOPE_MODELS},
    {"DELETE", "/v1/downloads/", false, 0, download_delete, SCOPE_MODELS},
    {"GET", "/v1/catalogue", false, 0, catalogue_get, SCOPE_CHAT | SCOPE_MODELS},
    {"GET", "/v1/reference", false, 0, reference_get,
     SCOPE_CHAT | SCOPE_MODELS | SCOPE_ADMIN | SCOPE_METRICS},
    {"GET", "/metrics", false, 0, metrics_get, SCOPE_METRICS | SCOPE_ADMIN},
    {"GET", "/v1/logs", false, 0, logs_get, SCOPE_ADMIN},
    {"GET", "/v1/settings", false, 0, settings_get, SCOPE_ADMIN},
    {"PUT", "/v1/settings", false, KEY_BODY_BYTES, settings_put, SCOPE_ADMIN},
    {"POST", "/v1/backup", false, KEY_BODY_BYTES, backup_post, SCOPE_ADMIN},
    {"POST", "/v1/restore", false, RESTORE_BODY_BYTES, restore_post, SCOPE_ADMIN},
    {"POST", "/v1/reset", false, KEY_BODY_BYTES, reset_post, SCOPE_ADMIN},
    {"GET", "/v1/audit", false, 0, audit_get, SCOPE_ADMIN},
    {"GET", "/v1/crashes", false, 0, crashes_get, SCOPE_ADMIN},
    {"GET", "/v1/update", false, 0, update_get, SCOPE_ADMIN},
    {"POST", "/v1/update", false, 0, update_post, SCOPE_ADMIN},
    {"GET", "/v1/keys", false, 0, keys_get, SCOPE_ADMIN},
    {"POST", "/v1/keys", false, KEY_BODY_BYTES, keys_post, SCOPE_ADMIN},
    {"GET", "/v1/keys/", false, 0, key_get, SCOPE_ADMIN},
    {"POST", "/v1/keys/", false, KEY_BODY_BYTES, key_post, SCOPE_ADMIN},
    {"DELETE", "/v1/keys/", false, 0, key_delete, SCOPE_ADMIN},
    {"POST", "/v1/chat/completions", false, BODY_BYTES_MOST, chat_post},
    {"POST", "/apply-template", false, BODY_BYTES_MOST, apply_template_post},
    {"POST", "/v1/completions", false, BODY_BYTES_MOST, completions_post},
    {"POST", "/infill", false, BODY_BYTES_MOST, infill_post},
    {"POST", "/v1/responses", false, BODY_BYTES_MOST, responses_post},
    {"GET", "/v1/responses/", false, 0, responses_get},
    {"DELETE", "/v1/responses/", false, 0, responses_delete},
    {"POST", "/completion", false, BODY_BYTES_MOST, completion_post},
    {"POST", "/completions", false, BODY_BYTES_MOST, completion_post},
    {"POST", "/tokenize", false, BODY_BYTES_MOST, tokenize_post},
    {"POST", "/detokenize", false, BODY_BYTES_MOST, detokenize_post},
    {"GET", "/props", false, 0, props_get, SCOPE_CHAT | SCOPE_MODELS},
    {"GET", "/slots", false, 0, slots_get, SCOPE_CHAT | SCOPE_MODELS},
    {"POST", "/v1/messages", false, BODY_BYTES_MOST, messages_post},
    {"POST", "/v1/messages/count_tokens", false, BODY_BYTES_MOST, count_tokens_post},
    {"POST", "/v1/embeddings", false, BODY_BYTES_MOST, embeddings_post},
    {"POST", "/v1/rerank", false, BODY_BYTES_MOST, rerank_post},
    {"POST", "/v1/reranking", false, BODY_BYTES_MOST, rerank_post},
    {"GET", "/v1/box", false, 0, box_get, SCOPE_ADMIN},
    {"POST", "/v1/models/defaults", false, SMALL_BODY_BYTES, model_defaults_post, SCOPE_MODELS},
    {"POST", "/v1/handovers", false, HANDOVER_BYTES, handover_post, SCOPES_ALL},
    {"POST", "/v1/handovers/take", true, HANDOVER_BYTES, handover_take_post},
    {"POST", "/api/chat", false, BODY_BYTES_MOST, ollama_chat_post},
    {"POST", "/api/generate", false, BODY_BYTES_MOST, ollama_generate_post},
    {"GET", "/api/version", false, 0, ollama_version_get, SCOPE_CHAT | SCOPE_MODELS},
    {"GET", "/api/tags", false, 0, ollama_tags_get, SCOPE_CHAT | SCOPE_MODELS},
    {"GET", "/api/ps", false, 0, ollama_ps_get, SCOPE_CHAT | SCOPE_MODELS},
    {"POST", "/api/show", false, SMALL_BODY_BYTES, ollama_show_post, SCOPE_CHAT | SCOPE_MODELS},
    {"POST", "/api/pull", false, SMALL_BODY_BYTES, ollama_pull_post, SCOPE_MODELS},
    {"POST", "/api/push", false, SMALL_BODY_BYTES, ollama_push_post, SCOPE_MODELS},
    {"POST", "/api/create", false, BODY_BYTES_MOST, ollama_create_post, SCOPE_MODELS},
    {"POST", "/api/copy", false, SMALL_BODY_BYTES, ollama_copy_post, SCOPE_MODELS},
    {"DELETE", "/api/delete", false, SMALL_BODY_BYTES, ollama_delete, SCOPE_MODELS},
    {"GET", "/api/blobs/", false, 0, ollama_blob_get, SCOPE_MODELS},
    {"POST", "/api/blobs/", false, 0, ollama_blob_post, SCOPE_MODELS},
    {"POST", "/api/embed", false, BODY_BYTES_MOST, ollama_embed_post},
    {"POST", "/api/embeddings", false, BODY_BYTES_MOST, ollama_embeddings_post},
};

bool route_at(size_t i, struct endpoint *out)
{
    if (i >= COUNT_OF(routes))
        return false;
    *out = routes[i];
    return true;
}

enum { PATH_BYTES = 4096 }; // net takes none that is longer

// A request as its routes see it: with its path in plain form.
struct plain_request {
    struct request request;
    uint8_t path[PATH_BYTES];
};

static void plain_path(struct plain_request *out, const struct request *request)
{
    size_t n = 0;
    out->request = *request;
    for (size_t i = 0; i < request->path.n && n < PATH_BYTES; i++)
        if (request->path.p[i] != '/' || n == 0 || out->path[n - 1] != '/')
            out->path[n++] = request->path.p[i];
    while (n > 1 && out->path[n - 1] == '/')
        n--;
    out->request.path = (struct bytes){out->path, n};
}

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

enum error_shape errors_for(const struct request *request)
{
    struct bytes path = request->path;
    while (path.n > 1 && path.p[0] == '/' && path.p[1] == '/') // as clients join it to a base URL
        path = (struct bytes){path.p + 1, path.n - 1};
    static const struct {
        const char *prefix;
        enum error_shape shape;
    } shapes[] = {{"/api/", ERRORS_OLLAMA},
                  {"/v1/messages", ERRORS_ANTHROPIC},
                  {"/v1/v1/messages", ERRORS_ANTHROPIC}};
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        if (bytes_begins_with(path, shapes[i].prefix))
            return shapes[i].shape;
    return request_header(request, "anthropic-version").p ? ERRORS_ANTHROPIC : ERRORS_OPENAI;
}

struct bytes key_given(const struct request *request)
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

// NULL: refused.
static struct key *key_shown(struct api *api, const struct request *request,
                             struct refusal *refusal)
{
    struct bytes secret = key_given(request);
    struct key *key = keys_find(&api->keys, secret);
    if (!key && secret.n == 0)
        (void)refuse(refusal, 401, "missing_api_key", NULL,
                     "An API key is needed: send 'Authorization: Bearer KEY' or 'x-api-key: KEY'. "
                     "The box shows its key on its console.");
    else if (!key)
        (void)refuse(refusal, 401, "invalid_api_key", NULL,
                     "The API key is not right. The box shows its key on its console.");
    return key;
}

// ---- the plain port -------------------------------------------------------------------------

static void redirect(const struct api *api, struct exchange *exchange,
                     const struct request *request)
{
    struct bytes host = request_host_name(request);
    char port[16] = "", location[300];
    if (host.n == 0) {
        exchange_reply(exchange, 400, "text/plain",
                       bytes_of("The Host header is missing or bad.\n"));
        return;
    }
    int https_port = net_https_port(api->net);
    if (https_port != 443)
        snprintf(port, sizeof(port), ":%d", https_port);
    // To the start page: what was asked for here, in the clear, is not carried on.
    snprintf(location, sizeof(location), "https://%.*s%s/", (int)host.n, (const char *)host.p,
             port);
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

// The methods that a path takes, as Allow lists them.
static void methods_of(struct bytes path, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < COUNT_OF(routes); i++)
        if (path_matches(&routes[i], path) && n + 16 < size)
            n += (size_t)snprintf(out + n, size - n, "%s%s%s", n > 0 ? ", " : "", routes[i].method,
                                  strcmp(routes[i].method, "GET") == 0 ? ", HEAD" : "");
}

static void wrong_method(struct exchange *exchange, const struct endpoint *route,
                         const struct request *request)
{
    struct refusal refusal;
    char allowed[64];
    methods_of(request->path, allowed, sizeof(allowed));
    (void)refuse(&refusal, 405, "method_not_allowed", NULL, "%s wants %s, not %.*s.", route->path,
                 allowed, (int)(request->method.n < 20 ? request->method.n : 20),
                 (const char *)request->method.p);
    refusal.shape = errors_for(request);
    exchange_reply_header(exchange, "Allow", allowed);
    refusal_reply(exchange, &refusal);
}

// The route of the path that takes the method; where none does, one of the path's; NULL: there is
// nothing.
static const struct endpoint *find_route(const struct request *request)
{
    const struct endpoint *other = NULL;
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        if (!path_matches(&routes[i], request->path))
            continue;
        if (method_matches(&routes[i], request->method))
            return &routes[i];
        other = &routes[i];
    }
    return other;
}

// Whether it changes a file that a backup has (vault.c).
static bool is_of_backups(const struct endpoint *route)
{
    static route_handler *const handlers[] = {
        keys_post,       key_post,         key_delete,        settings_put,
        model_copy_post, ollama_copy_post, model_alias_post,  model_defaults_post,
        model_delete,    ollama_delete,    ollama_create_post};
    for (size_t i = 0; i < COUNT_OF(handlers); i++)
        if (route->handler == handlers[i])
            return true;
    return false;
}

static void handle(struct api *api, struct exchange *exchange, const struct endpoint *route,
                   const struct request *request)
{
    struct refusal refusal;
    if (!is_of_backups(route) || vault_lets(api, &refusal)) {
        route->handler(api, exchange, request);
        return;
    }
    refusal.shape = errors_for(request);
    refusal_reply(exchange, &refusal);
}

static void body_came(void *arg, struct exchange *exchange, const struct request *request)
{
    struct plain_request plain;
    plain_path(&plain, request);
    handle(arg, exchange, find_route(&plain.request), &plain.request);
}

static void read_body(struct api *api, struct exchange *exchange, const struct endpoint *route,
                      const struct request *request)
{
    struct refusal refusal;
    struct err err;
    const struct bytes coding = request_header(request, "content-encoding");
    if (coding.n > 0 && !bytes_equal_text(coding, "identity")) {
        (void)refuse(&refusal, 415, "unsupported_encoding", NULL,
                     "The body comes with Content-Encoding: %.*s; send it as it is, without one.",
                     (int)(coding.n < 40 ? coding.n : 40), (const char *)coding.p);
        refusal.shape = errors_for(request);
        refusal_reply(exchange, &refusal);
        return;
    }
    if (!request->body_told) {
        (void)refuse(&refusal, 411, "length_required", NULL,
                     "%s wants a body: send it with Content-Length, or chunked.", route->path);
        refusal.shape = errors_for(request);
        refusal_reply(exchange, &refusal);
        return;
    }
    enum status status = exchange_read(exchange, route->body_bytes, body_came, api, &err);
    if (status == OK)
        return;
    if (status == TOO_LARGE)
        (void)refuse(&refusal, 413, "request_too_large", NULL, "%s", err.text);
    else
        (void)refuse_err(&refusal, &err, NULL);
    refusal.shape = errors_for(request);
    refusal_reply(exchange, &refusal);
}

// Whether a path is listed for who asked for another: one of several methods, and with the same
// first part where the other's is one of ours.
static bool is_listed(size_t i, struct bytes first)
{
    const char *path = routes[i].path;
    if (routes[i].open || path[strlen(path) - 1] == '/' ||
        (first.n > 0 && strncmp(path, (const char *)first.p, first.n) != 0))
        return false;
    for (size_t k = 0; k < i; k++)
        if (strcmp(routes[k].path, path) == 0)
            return false;
    return true;
}

static bool unknown_url(const struct request *request, struct refusal *refusal)
{
    char known[320] = "";
    struct bytes first = {NULL, 0};
    size_t n = 0;
    static const char *const firsts[] = {"/v1/", "/api/"};
    for (size_t i = 0; i < COUNT_OF(firsts); i++)
        if (request->path.n > strlen(firsts[i]) &&
            memcmp(request->path.p, firsts[i], strlen(firsts[i])) == 0)
            first = bytes_of(firsts[i]);
    for (size_t i = 0; i < COUNT_OF(routes); i++)
        if (is_listed(i, first) && n + strlen(routes[i].path) + 7 < sizeof(known))
            n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", n > 0 ? ", " : "",
                                  routes[i].path);
    return refuse(refusal, 404, "unknown_url", NULL, "There is nothing at %.*s. There are: %s ...",
                  (int)(request->path.n < 80 ? request->path.n : 80), (const char *)request->path.p,
                  known);
}

static bool has_scope(const struct key *key, const struct endpoint *route, struct refusal *refusal)
{
    const uint32_t wanted = route->scopes ? route->scopes : SCOPE_CHAT;
    char wants[64], has[64];
    if (key->scopes & wanted)
        return true;
    const char *either = wanted & (wanted - 1) ? "one of the scopes" : "the scope";
    return refuse(refusal, 403, "missing_scope", NULL,
                  "%s wants a key with %s %s; this one, '%s', has %s.", route->path, either,
                  scopes_text(wanted, wants), key->name, scopes_text(key->scopes, has));
}

// Whether a path wants no key of anybody.
static bool is_open(const struct api *api, const struct endpoint *route)
{
    return route->open || (api->options.open_metrics && route->handler == metrics_get);
}

// The refusal of a head: true, or false with *refusal filled. Without a key nobody learns which
// paths exist. key: NULL, none was shown, as *refusal says.
static bool may_enter(const struct api *api, struct key *key, const struct endpoint *route,
                      const struct request *request, struct refusal *refusal)
{
    if (!key && !(route && is_open(api, route)))
        return false;
    if (api->stopping)
        return refuse(refusal, 503, "stopping", NULL, "The server is stopping.");
    if (!route)
        return unknown_url(request, refusal);
    return is_open(api, route) || has_scope(key, route, refusal);
}

// What the engine is asked for counts: true, or false with *refusal filled.
static bool within_limits(struct exchange *exchange, struct key *key, const struct endpoint *route,
                          struct refusal *refusal)
{
    if (route->scopes || route->body_bytes == 0)
        return true;
    bool good = limit_take(key, clock_ms(), refusal);
    limit_headers(key, clock_ms(), exchange);
    return good;
}

bool route_is_audited(const struct request *request)
{
    struct plain_request plain;
    plain_path(&plain, request);
    const struct endpoint *route = find_route(&plain.request);
    // an upload is one entry, not one for each of its pieces
    if (route && (route->handler == handover_post || route->handler == handover_take_post))
        return true;
    return route && !route->open && strcmp(route->method, "GET") != 0 &&
           strcmp(route->method, "PATCH") != 0 && strcmp(route->method, "OPTIONS") != 0 &&
           (route->scopes & (SCOPE_ADMIN | SCOPE_MODELS)) && !(route->scopes & SCOPE_CHAT);
}

void api_refused(void *arg, struct exchange *exchange, const struct request *request, int code,
                 const char *why)
{
    struct refusal refusal;
    (void)arg;
    (void)refuse(&refusal, code, NULL, NULL, "%s", why);
    refusal.shape = errors_for(request);
    refusal_reply(exchange, &refusal);
}

void api_handle(void *arg, struct exchange *exchange, const struct request *request)
{
    struct api *api = arg;
    struct refusal refusal;
    struct plain_request plain;
    if (!request->tls) {
        plain_handle(api, exchange, request);
        return;
    }
    if (cors_answer(api, exchange, request))
        return;
    struct key *key = key_shown(api, request, &refusal);
    if (key) {
        exchange_keyed(exchange, key->who);
        keys_used(&api->keys, key);
    }
    plain_path(&plain, request);
    const struct endpoint *route = find_route(&plain.request);
    if (!may_enter(api, key, route, &plain.request, &refusal) ||
        (method_matches(route, request->method) && !is_open(api, route) &&
         !within_limits(exchange, key, route, &refusal))) {
        refusal.shape = errors_for(&plain.request);
        refusal_reply(exchange, &refusal);
    } else if (!method_matches(route, request->method))
        wrong_method(exchange, route, &plain.request);
    else if (route->body_bytes > 0)
        read_body(api, exchange, route, &plain.request);
    else
        handle(api, exchange, route, &plain.request);
}
