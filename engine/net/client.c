// client.c - what this box fetches: the settings of it, a fetch's states and deadlines, and where
// an answer's head leads (redirects, tokens).
//
// A token is looked up anew for every host that is asked, by host and port: so a redirect takes
// none along. What a caller gives is for the host of its own address alone.
#include "fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

// ---- settings -----------------------------------------------------------------------------------

// The next entry of a list with commas, without blanks around it. False: there is none.
static bool next_entry(const char **at, struct bytes *out)
{
    const char *from = *at + strspn(*at, ", \t");
    size_t n = strcspn(from, ",");
    *at = from + n;
    while (n > 0 && (from[n - 1] == ' ' || from[n - 1] == '\t'))
        n--;
    *out = (struct bytes){(const uint8_t *)from, n};
    return n > 0;
}

// HOST TOKEN
static bool split_token(struct bytes entry, struct bytes *host, struct bytes *token)
{
    size_t n = 0;
    while (n < entry.n && entry.p[n] != ' ' && entry.p[n] != '\t')
        n++;
    *host = (struct bytes){entry.p, n};
    while (n < entry.n && (entry.p[n] == ' ' || entry.p[n] == '\t'))
        n++;
    *token = (struct bytes){entry.p + n, entry.n - n};
    for (size_t i = 0; i < token->n; i++)
        if (token->p[i] <= 0x20 || token->p[i] >= 0x7f)
            return false;
    return host_is_good(*host) && token->n > 0 && token->n < FETCH_TOKEN_BYTES;
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

enum status net_client_good(const struct client_options *options, struct err *err)
{
    struct bytes entry, host, token;
    char shown[NAME_TEXT];
    for (const char *at = or_empty(options->plain); next_entry(&at, &entry);)
        if (!host_is_good(entry))
            return err_set(err, BAD_INPUT, "pull-plain: '%s' is not HOST or HOST:PORT",
                           name_text(shown, entry));
    int n = 1;
    for (const char *at = or_empty(options->tokens); next_entry(&at, &entry); n++)
        if (!split_token(entry, &host, &token))
            return err_set(err, BAD_INPUT,
                           "tokens: entry %d is not HOST TOKEN (a host, a blank, its token)", n);
    for (const char *at = or_empty(options->ca); next_entry(&at, &entry);)
        if (entry.p[0] != '/')
            return err_set(err, BAD_INPUT, "ca: '%s' is not a file's path that begins with a slash",
                           name_text(shown, entry));
    if (or_empty(options->proxy)[0] && !host_is_good(bytes_of(options->proxy)))
        return err_set(err, BAD_INPUT, "proxy: '%s' is not HOST:PORT",
                       name_text(shown, bytes_of(options->proxy)));
    return OK;
}

enum status net_url_good(const char *url, struct err *err)
{
    struct url read;
    return url_read(&read, bytes_of(url), err);
}

bool net_host_good(struct bytes text)
{
    return host_is_good(text);
}

enum status net_client_check(struct net *net, struct err *err)
{
    return fetcher_trust(net->fetcher, err) ? OK : err->status;
}

static bool listed(const char *list, const struct url *url)
{
    struct bytes entry;
    while (next_entry(&list, &entry))
        if (url_host_is(url, entry))
            return true;
    return false;
}

const char *net_scheme(const struct net *net, const char *host)
{
    struct url url;
    char text[URL_HOST_BYTES + 32];
    snprintf(text, sizeof(text), "http://%.270s", host);
    return url_read(&url, bytes_of(text), NULL) == OK && listed(net->fetcher->plain, &url)
               ? "http"
               : "https";
}

struct bytes fetch_token(const struct fetch *fetch)
{
    struct bytes entry, host, token;
    if (fetch->token[0] && url_same_host(&fetch->url, &fetch->first))
        return bytes_of(fetch->token);
    for (const char *at = fetch->fetcher->tokens; next_entry(&at, &entry);)
        if (split_token(entry, &host, &token) && url_host_is(&fetch->url, host))
            return token;
    return (struct bytes){NULL, 0};
}

// The system's authorities, and those of the setting; read when they are first needed.
const struct trust *fetcher_trust(struct fetcher *fetcher, struct err *err)
{
    static const char *const places[] = {"/etc/ssl/certs/ca-certificates.crt",
                                         "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};
    struct bytes entry;
    char path[1100];
    struct trust *trust;
    enum status status = OK;
    if (fetcher->trust)
        return fetcher->trust;
    trust_open(&trust);
    for (const char *at = fetcher->ca; status == OK && next_entry(&at, &entry);) {
        snprintf(path, sizeof(path), "%.*s", (int)entry.n, (const char *)entry.p);
        status = trust_read(trust, path, err);
        if (status != OK)
            (void)err_prefix(err, "ca");
    }
    const bool own = trust_n(trust) > 0;
    enum status system = NOT_FOUND;
    for (size_t i = 0; i < COUNT_OF(places) && status == OK && system != OK; i++)
        system = trust_read(trust, places[i], NULL);
    if (status == OK && system != OK && !own)
        status = err_set(err, NOT_FOUND,
                         "there are no certificates of authorities to trust: %s is "
                         "missing; name a file of them in the setting ca",
                         places[0]);
    if (status != OK) {
        trust_close(trust);
        return NULL;
    }
    log_info("fetching: %zu certificate authorities are trusted", trust_n(trust));
    return fetcher->trust = trust;
}

// ---- one fetch ----------------------------------------------------------------------------------

void fetch_enter(struct fetch *fetch, enum fetch_state state, uint64_t within_ms)
{
    fetch->state = state;
    fetch->deadline_ms = within_ms ? fetch->fetcher->net->now_ms + within_ms : 0;
}

const char *fetch_host(const struct fetch *fetch, char out[URL_HOST_BYTES + 16])
{
    const bool proxy = fetch->proxy.host[0] && fetch->state <= FETCH_CONNECT;
    return url_host_text(proxy ? &fetch->proxy : &fetch->url, out);
}

void fetch_end(struct fetch *fetch, const struct err *err)
{
    if (fetch->dead)
        return;
    fetch->dead = true;
    fetch->calls->end(fetch->arg, err);
}

void fetch_fail(struct fetch *fetch, enum status status, const char *format, ...)
{
    struct err err = {.status = status};
    va_list list;
    va_start(list, format);
    vsnprintf(err.text, sizeof(err.text), format, list);
    va_end(list);
    fetch_end(fetch, &err);
}

static void fetch_ready(struct source *source, uint32_t events)
{
    struct fetch *fetch = (struct fetch *)(void *)source; // its first member
    (void)events;
    fetch->poked = true;
}

static void begin(struct fetch *fetch)
{
    struct err err = {0};
    char host[URL_HOST_BYTES + 16];
    const struct fetcher *fetcher = fetch->fetcher;
    fetch->n_tried = 0;
    fetch->next_attempt_ms = 0;
    fetch_enter(fetch, FETCH_LOOKUP, LIMIT_LOOKUP_MS);
    if (!fetch->url.tls && !listed(fetcher->plain, &fetch->url)) {
        fetch_fail(fetch, DENIED,
                   "http://%s is not encrypted: only https is spoken, but to hosts that the "
                   "setting pull-plain names",
                   url_host_text(&fetch->url, host));
        return;
    }
    if (fetch->url.tls && url_host_is_address(&fetch->url)) {
        fetch_fail(fetch, UNSUPPORTED,
                   "https://%s has an address for a host, which no certificate can be checked for "
                   "here: give its name",
                   url_host_text(&fetch->url, host));
        return;
    }
    memset(&fetch->proxy, 0, sizeof(fetch->proxy));
    if (fetch->url.tls && fetcher->proxy[0]) {
        snprintf(host, sizeof(host), "http://%.250s", fetcher->proxy);
        if (url_read(&fetch->proxy, bytes_of(host), &err) != OK) {
            fetch_end(fetch, &err);
            return;
        }
    }
    const struct url *to = fetch->proxy.host[0] ? &fetch->proxy : &fetch->url;
    fetch->id = ++fetch->fetcher->last_id;
    if (resolver_ask(fetcher->resolver, fetch->id, to->host, to->port, &err) != OK)
        fetch_end(fetch, &err);
}

struct fetch *fetch_open(struct net *net, const struct fetch_request *request,
                         const struct fetch_calls *calls, void *arg)
{
    struct fetch *fetch = mem_alloc(sizeof(*fetch));
    fetch->source.ready = fetch_ready;
    fetch->fetcher = net->fetcher;
    fetch->calls = calls;
    fetch->arg = arg;
    fetch->head_only = request->head;
    fetch->from = request->from;
    fetch->fd = -1;
    for (size_t i = 0; i < LIMIT_ATTEMPTS; i++)
        fetch->attempts[i].fd = -1;
    snprintf(fetch->accept, sizeof(fetch->accept), "%s", or_empty(request->accept));
    snprintf(fetch->if_range, sizeof(fetch->if_range), "%s", or_empty(request->if_range));
    snprintf(fetch->token, sizeof(fetch->token), "%s", or_empty(request->token));
    struct err err = {0};
    fetch->begins = url_read(&fetch->url, bytes_of(request->url), &err) == OK;
    if (!fetch->begins)
        fetch->bad = err;
    fetch->first = fetch->url;
    fetch->poked = true;
    fetch->next = net->fetcher->fetches;
    net->fetcher->fetches = fetch;
    net->fetcher->n_fetches++;
    return fetch;
}

void fetch_go_on(struct fetch *fetch)
{
    fetch->goes_on = fetch->poked = true;
}

void fetch_close(struct fetch *fetch)
{
    fetch->dead = true;
}

// ---- the head of an answer ----------------------------------------------------------------------

static void keep_text(char *out, size_t size, struct bytes text)
{
    if (text.p && text.n < size)
        snprintf(out, size, "%.*s", (int)text.n, (const char *)text.p);
}

static void follow(struct fetch *fetch)
{
    struct url to;
    struct err err = {0};
    char host[URL_HOST_BYTES + 16];
    const struct bytes location = response_field(fetch->response, "location");
    fetch_host(fetch, host);
    if (++fetch->n_redirects > LIMIT_REDIRECTS) {
        fetch_fail(fetch, BAD_INPUT, "%s leads on and on: more than %d redirects", host,
                   LIMIT_REDIRECTS);
    } else if (url_follow(&to, &fetch->url, location, &err) != OK) {
        fetch_fail(fetch, err.status, "%s leads to where nothing can be fetched: %s", host,
                   err.text);
    } else if (fetch->url.tls && !to.tls) {
        fetch_fail(fetch, DENIED,
                   "%s leads from https to http, which is not encrypted: that is not followed",
                   host);
    } else {
        fetch_disconnect(fetch);
        fetch->url = to;
        begin(fetch);
    }
}

static bool digits(struct bytes *text, uint64_t *out)
{
    const size_t before = text->n;
    *out = 0;
    while (text->n > 0 && text->p[0] >= '0' && text->p[0] <= '9' && *out < 1ULL << 56) {
        *out = *out * 10 + (uint64_t)(text->p[0] - '0');
        text->p++;
        text->n--;
    }
    return text->n < before;
}

// Content-Range: bytes FROM-TO/TOTAL
static void read_range(struct fetched *fetched, struct bytes text)
{
    static const char unit[] = "bytes ";
    const size_t n = sizeof(unit) - 1;
    uint64_t to;
    if (text.n < n || memcmp(text.p, unit, n) != 0)
        return;
    text = (struct bytes){text.p + n, text.n - n};
    if (!digits(&text, &fetched->from) || text.n == 0 || text.p[0] != '-')
        return;
    text = (struct bytes){text.p + 1, text.n - 1};
    if (!digits(&text, &to) || text.n == 0 || text.p[0] != '/')
        return;
    text = (struct bytes){text.p + 1, text.n - 1};
    (void)digits(&text, &fetched->total);
}

void fetch_answered(struct fetch *fetch)
{
    const struct response *response = fetch->response;
    const int code = response->code;
    struct fetched fetched = {.code = code,
                              .has_length = response->has_length,
                              .length = response->length,
                              .etag = response_field(response, "etag"),
                              .modified = response_field(response, "last-modified"),
                              .type = response_field(response, "content-type"),
                              .challenge = response_field(response, "www-authenticate")};
    keep_text(fetch->linked_etag, sizeof(fetch->linked_etag),
              response_field(response, "x-linked-etag"));
    keep_text(fetch->linked_size, sizeof(fetch->linked_size),
              response_field(response, "x-linked-size"));
    if ((code == 301 || code == 302 || code == 303 || code == 307 || code == 308) &&
        response_field(response, "location").p) {
        follow(fetch);
        return;
    }
    fetched.linked_etag = bytes_of(fetch->linked_etag);
    fetched.linked_size = bytes_of(fetch->linked_size);
    url_host_text(&fetch->url, fetched.host);
    if (code == 206)
        read_range(&fetched, response_field(response, "content-range"));
    fetch_enter(fetch, FETCH_BODY, 0);
    fetch->window_ms = fetch->heard_ms = fetch->fetcher->net->now_ms;
    fetch->n_window = 0;
    fetch->calls->head(fetch->arg, &fetched);
}

// ---- deadlines ----------------------------------------------------------------------------------

static void expire(struct fetch *fetch)
{
    char host[URL_HOST_BYTES + 16];
    const uint64_t now = fetch->fetcher->net->now_ms;
    fetch_host(fetch, host);
    if (fetch->state == FETCH_BODY && !fetch->held) {
        if (now >= fetch->heard_ms + LIMIT_FETCH_IDLE_MS) {
            fetch_fail(fetch, IO_ERROR, "%s has sent nothing for %d s", host,
                       LIMIT_FETCH_IDLE_MS / 1000);
        } else if (now >= fetch->window_ms + LIMIT_FETCH_WINDOW_MS) {
            if (fetch->n_window < LIMIT_FETCH_WINDOW)
                fetch_fail(fetch, IO_ERROR, "%s is too slow: %llu bytes in %d s", host,
                           (unsigned long long)fetch->n_window, LIMIT_FETCH_WINDOW_MS / 1000);
            fetch->window_ms = now;
            fetch->n_window = 0;
        }
    } else if (fetch->deadline_ms != 0 && now >= fetch->deadline_ms) {
        static const struct {
            const char *what;
            int ms;
        } states[] = {{"is not found: no name server answers", LIMIT_LOOKUP_MS},
                      {"does not take a connection", LIMIT_CONNECT_MS},
                      {"(the proxy) does not answer", LIMIT_FETCH_TLS_MS},
                      {"does not finish the TLS handshake", LIMIT_FETCH_TLS_MS},
                      {"does not answer the request", LIMIT_FETCH_HEAD_MS}};
        if (fetch->state < COUNT_OF(states))
            fetch_fail(fetch, IO_ERROR, "%s %s within %d s", host, states[fetch->state].what,
                       states[fetch->state].ms / 1000);
    }
}

static uint64_t due_ms(const struct fetch *fetch)
{
    uint64_t at = fetch->deadline_ms ? fetch->deadline_ms : UINT64_MAX;
    if (fetch->poked || fetch->dead)
        return 1;
    if (fetch->state == FETCH_CONNECT) {
        const uint64_t next = fetch_connect_due_ms(fetch);
        at = next < at ? next : at;
    } else if (fetch->state == FETCH_BODY && !fetch->held) {
        const uint64_t idle = fetch->heard_ms + LIMIT_FETCH_IDLE_MS,
                       window = fetch->window_ms + LIMIT_FETCH_WINDOW_MS;
        at = idle < window ? idle : window;
    }
    return at ? at : 1;
}

uint64_t fetcher_due_ms(const struct net *net)
{
    uint64_t at = UINT64_MAX;
    for (const struct fetch *fetch = net->fetcher ? net->fetcher->fetches : NULL; fetch;
         fetch = fetch->next)
        at = due_ms(fetch) < at ? due_ms(fetch) : at;
    return at;
}

// ---- the loop's side ----------------------------------------------------------------------------

// Its addresses came, while the one that asked may be gone.
static void resolved(struct fetcher *fetcher, struct resolved *resolved)
{
    struct fetch *fetch = fetcher->fetches;
    while (fetch && (fetch->id != resolved->id || fetch->state != FETCH_LOOKUP || fetch->dead))
        fetch = fetch->next;
    if (!fetch) {
        free(resolved);
    } else if (resolved->n == 0) {
        const struct err err = resolved->err;
        free(resolved);
        fetch_end(fetch, &err);
    } else {
        fetch->resolved = resolved;
        fetch_enter(fetch, FETCH_CONNECT, LIMIT_CONNECT_MS);
        fetch->poked = true;
    }
}

static void resolver_ready(struct source *source, uint32_t events)
{
    struct fetcher *fetcher =
        (struct fetcher *)(void *)((char *)source - offsetof(struct fetcher, source));
    struct resolved *one;
    (void)events;
    while ((one = resolver_take(fetcher->resolver)) != NULL)
        resolved(fetcher, one);
}

static void work(struct fetch *fetch)
{
    fetch->poked = false;
    if (fetch->id == 0 && !fetch->begins)
        fetch_end(fetch, &fetch->bad);
    else if (fetch->id == 0)
        begin(fetch);
    else if (fetch->state == FETCH_CONNECT)
        fetch_connect(fetch);
    else if (fetch->state > FETCH_CONNECT)
        fetch_talk(fetch);
}

static void destroy(struct fetch *fetch)
{
    fetch_disconnect(fetch);
    if (fetch->response)
        response_free(fetch->response);
    free(fetch->response);
    explicit_bzero(fetch, sizeof(*fetch)); // tokens
    free(fetch);
}

static void sweep(struct fetcher *fetcher)
{
    struct fetch **at = &fetcher->fetches;
    while (*at) {
        struct fetch *fetch = *at;
        if (!fetch->dead) {
            at = &fetch->next;
            continue;
        }
        *at = fetch->next;
        fetcher->n_fetches--;
        destroy(fetch);
    }
}

void fetcher_run(struct net *net)
{
    struct fetcher *fetcher = net->fetcher;
    // New ones come to the front of the list: they have their turn after this one.
    for (struct fetch *fetch = fetcher->fetches; fetch; fetch = fetch->next) {
        if (!fetch->dead &&
            (fetch->poked || (fetch->state == FETCH_CONNECT && due_ms(fetch) <= net->now_ms)))
            work(fetch);
        if (!fetch->dead && fetch->id != 0)
            expire(fetch);
    }
    sweep(fetcher);
}

static char *copy_text(const char *text)
{
    const size_t n = strlen(or_empty(text));
    char *copy = mem_alloc(n + 1);
    memcpy(copy, or_empty(text), n);
    return copy;
}

void fetcher_open(struct net *net, const struct client_options *options)
{
    struct fetcher *fetcher = mem_alloc(sizeof(*fetcher));
    fetcher->net = net;
    fetcher->ca = copy_text(options->ca);
    fetcher->plain = copy_text(options->plain);
    fetcher->tokens = copy_text(options->tokens);
    fetcher->proxy = copy_text(options->proxy);
    resolver_open(&fetcher->resolver);
    fetcher->source.ready = resolver_ready;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &fetcher->source};
    if (epoll_ctl(net->epoll, EPOLL_CTL_ADD, resolver_fd(fetcher->resolver), &event) != 0)
        die("epoll refuses the pipe of name lookups");
    net->fetcher = fetcher;
}

void fetcher_close(struct net *net)
{
    struct fetcher *fetcher = net->fetcher;
    if (!fetcher)
        return;
    const struct err stops = {.status = CANCELLED, .text = "the server stops"};
    for (struct fetch *fetch = fetcher->fetches; fetch; fetch = fetch->next)
        fetch_end(fetch, &stops);
    sweep(fetcher);
    resolver_close(fetcher->resolver);
    trust_close(fetcher->trust);
    free(fetcher->ca);
    free(fetcher->plain);
    explicit_bzero(fetcher->tokens, strlen(fetcher->tokens));
    free(fetcher->tokens);
    free(fetcher->proxy);
    free(fetcher);
    net->fetcher = NULL;
}
