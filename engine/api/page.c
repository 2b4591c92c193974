// page.c - GET /: what this box is, how to trust its certificate on every system, and how to talk
// to it.
//
// The page is engine/page/, embedded as the kernels are. index.html is made here: names in it are
// @MARKED@ and filled in, escaped, when it is sent. Its other files go as they are (page_files.c),
// and what they do is done by the API, with the visitor's key. Its Content-Security-Policy allows
// files of this box alone, no script or style within the HTML, and no text to become HTML but by
// the sanitiser's hand. It needs no key and shows none.
#include "inside.h"

#include <stdio.h>
#include <string.h>

enum { PAGE_BYTES_MOST = 1 << 18 };

static enum status html_text(struct buf *out, struct bytes text)
{
    enum status status = OK;
    for (size_t i = 0; i < text.n && status == OK; i++) {
        uint8_t c = text.p[i];
        if (c == '<' || c == '>' || c == '&' || c == '"' || c == '\'')
            status = buf_format(out, "&#%d;", c);
        else
            status = buf_add(out, &text.p[i], 1);
    }
    return status;
}

struct mark {
    const char *name;
    struct bytes text;
    bool raw; // our own, not escaped
};

static const struct mark *mark_find(const struct mark *marks, size_t n_marks, struct bytes name)
{
    for (size_t i = 0; i < n_marks; i++)
        if (bytes_equal_text(name, marks[i].name))
            return &marks[i];
    die("index.html: a mark @%.*s@ is not filled in", (int)name.n, (const char *)name.p);
}

// Copies `page` with every @NAME@ replaced.
static enum status fill(struct buf *out, struct bytes page, const struct mark *marks,
                        size_t n_marks)
{
    enum status status = OK;
    bool in_name = false;
    while (page.n && status == OK) {
        const uint8_t *at = memchr(page.p, '@', page.n);
        struct bytes piece = {page.p, at ? (size_t)(at - page.p) : page.n};
        if (!in_name) {
            status = buf_add(out, piece.p, piece.n);
        } else {
            const struct mark *mark = mark_find(marks, n_marks, piece);
            status =
                mark->raw ? buf_add(out, mark->text.p, mark->text.n) : html_text(out, mark->text);
        }
        in_name = !in_name;
        page.p += piece.n + (at ? 1 : 0);
        page.n -= piece.n + (at ? 1 : 0);
    }
    return status;
}

// The host as the visitor typed it (with its port), when it looks like one; else the box's own
// name.
static void host_of(const struct api *api, const struct request *request, char *host, size_t size,
                    char *name, size_t name_size)
{
    bool good = request->host.n > 0 && request->host.n < size;
    for (size_t i = 0; i < request->host.n && good; i++) {
        uint8_t c = request->host.p[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               (c && strchr("-._[]:", c));
    }
    const struct bytes bare = request_host_name(request);
    snprintf(host, size, "%s.local", api->hostname);
    snprintf(name, name_size, "%s", host);
    if (good) {
        snprintf(host, size, "%.*s", (int)request->host.n, (const char *)request->host.p);
        snprintf(name, name_size, "%.*s", (int)bare.n, (const char *)bare.p);
    }
}

void host_typed(const struct api *api, const struct request *request, char *host, size_t size)
{
    char name[256];
    host_of(api, request, host, size, name, sizeof(name));
}

static void state_of(const struct api *api, const char **class_name, char *text, size_t size)
{
    const struct sched_status *now = sched_status(api->options.sched);
    *class_name = now->state == SCHED_READY    ? "ready"
                  : now->state == SCHED_FAILED ? "failed"
                                               : "loading";
    if (now->state == SCHED_READY)
        snprintf(text, size, "ready");
    else if (now->state == SCHED_LOADING)
        snprintf(text, size, "loading the model");
    else if (now->state == SCHED_STOPPING)
        snprintf(text, size, "shutting down");
    else
        snprintf(text, size, "failed: %s. GET /v1/doctor (with the key) says what to do.",
                 now->err.text);
}

// "AMD Radeon 8060S Graphics (integrated, vulkan, radv 25.0.7), 36 of 36 layers on it"
static void device_of(const struct sched_status *now, char *text, size_t size)
{
    const struct compute_info *device = &now->device;
    snprintf(text, size, "%s",
             device->device[0]             ? device->device
             : now->state == SCHED_LOADING ? "not opened yet"
                                           : "none");
    if (device->driver[0])
        snprintf(text + strlen(text), size - strlen(text), " (%s, %s, %s)", device->kind,
                 device->backend, device->driver);
    if (now->model.id[0])
        snprintf(text + strlen(text), size - strlen(text), ", %d of %d layers on it",
                 (int)now->model.n_layer_on_device, (int)now->model.n_layer);
}

// Where the CA can be fetched before anything is trusted: the plain port, when there is one where
// this visitor came in; else here, past a warning.
struct ca_address {
    char url[300];
    const char *curl, *warning;
};

static void ca_address(struct ca_address *ca, const struct exchange *exchange, const char *host,
                       const char *name)
{
    int port = exchange_plain_port(exchange);
    *ca = (struct ca_address){.curl = "", .warning = ""};
    if (port == 80) {
        snprintf(ca->url, sizeof(ca->url), "http://%s/ca.crt", name);
    } else if (port) {
        snprintf(ca->url, sizeof(ca->url), "http://%s:%d/ca.crt", name, port);
    } else {
        snprintf(ca->url, sizeof(ca->url), "https://%s/ca.crt", host);
        ca->curl = "-k ";
        ca->warning = " It warns of a certificate that it does not know: that is this box's.";
    }
}

static void send_page(struct exchange *exchange, struct buf *page)
{
    exchange_reply_header(
        exchange, "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types dompurify");
    exchange_reply_header(exchange, "Referrer-Policy", "no-referrer");
    exchange_reply_header(exchange, "Cache-Control", "no-store");
    exchange_reply(exchange, 200, "text/html; charset=utf-8", buf_view(page));
}

void page_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    if (ollama_is_looked_for(request)) {
        ollama_is_here(exchange);
        return;
    }
    const struct sched_status *now = sched_status(api->options.sched);
    char host[256], name[256], state[480], fingerprint[96], device[320];
    const char *class_name;
    struct ca_address ca;
    host_of(api, request, host, sizeof(host), name, sizeof(name));
    state_of(api, &class_name, state, sizeof(state));
    const struct settings_report *report = api->options.report;
    if (report && report->n_faults) {
        const size_t n = strlen(state);
        snprintf(state + n, sizeof(state) - n, " %zu wrong in the settings: %s", report->n_faults,
                 report->place[0]);
        state[utf8_whole(bytes_of(state))] = 0;
    }
    net_ca_fingerprint(api->net, fingerprint);
    device_of(now, device, sizeof(device));
    ca_address(&ca, exchange, host, name);
    const struct mark marks[] = {
        {"NAME", bytes_of(name), false},
        {"CLASS", bytes_of(class_name), true},
        {"STATE", bytes_of(state), false},
        {"MODEL", bytes_of(now->model.id[0] ? now->model.id : "none"), false},
        {"DEVICE", bytes_of(device), false},
        {"REASON", bytes_of(now->device.reason[0] ? now->device.reason : "see the state"), false},
        {"HOST", bytes_of(host), false},
        {"CA", bytes_of(ca.url), false},
        {"CA_CURL", bytes_of(ca.curl), true},
        {"CA_WARNING", bytes_of(ca.warning), false},
        {"FINGERPRINT", bytes_of(fingerprint), false},
        {"VERSION", bytes_of(api->version), false},
    };
    struct buf body;
    buf_init(&body, PAGE_BYTES_MOST);
    if (fill(&body, page_file("index.html"), marks, COUNT_OF(marks)) == OK)
        send_page(exchange, &body);
    else
        exchange_reply(exchange, 500, "text/plain",
                       bytes_of("The page does not fit its buffer.\n"));
    buf_free(&body);
}
