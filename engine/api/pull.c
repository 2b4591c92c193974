// pull.c - a pull's steps: the listing is asked for (with a token where the registry wants one),
// then each file is made in the store and fetched into it from where it stopped, checked and named.
//
// Everything is an event: an answer's head, a piece, its end, or what the store tells. A connection
// that breaks is made again after a moment, RETRIES times in a row without a byte; what would not
// be better then ends the pull, and what has come stays for the next one. A file of the same digest
// (or, where that is not known, of the same address, ETag and length) is gone on with.
#include "pull.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RETRIES = 5, WAIT_MOST_MS = 30000, SYNC_BYTES = 64 << 20, NAME_WAIT_MS = 300 };

static void make_file(struct pull *pull);
static void ask_list(struct pull *pull);

bool pull_is_over(const struct pull *pull)
{
    return pull->state >= PULL_DONE;
}

uint64_t pull_bytes(const struct pull *pull)
{
    uint64_t n = pull->done_bytes;
    if (pull->incoming)
        n += incoming_at(pull->incoming)->n_taken;
    return n;
}

uint64_t pull_of_bytes(const struct pull *pull)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < pull->n_files; i++)
        if (pull->files[i].n_bytes == 0 || add_overflows(sum, pull->files[i].n_bytes, &sum))
            return 0;
    return sum;
}

// ---- ends ---------------------------------------------------------------------------------------

static void stop_fetch(struct pull *pull)
{
    if (pull->fetch)
        fetch_close(pull->fetch);
    pull->fetch = NULL;
}

static void let_go(struct pull *pull)
{
    struct incoming *incoming = pull->incoming;
    pull->incoming = NULL;
    if (incoming)
        incoming_let_go(incoming);
}

static void end(struct pull *pull, enum pull_state state, const struct err *err)
{
    stop_fetch(pull);
    let_go(pull);
    pull->state = state;
    pull->err = *err;
    pull->ended_s = clock_unix_s();
    buf_free(&pull->body);
    explicit_bzero(pull->token, sizeof(pull->token));
    if (state == PULL_DONE)
        log_info("pull of %s: the model %s is there", pull->shown, pull->source.name);
    else
        log_warn("pull of %s: %s", pull->shown, err->text);
    pull_tell(pull);
}

static void fail(struct pull *pull, const struct err *err)
{
    end(pull, PULL_FAILED, err);
}

static void fail_with(struct pull *pull, enum status status, const char *format, ...)
    PRINTF_LIKE(3, 4);
static void fail_with(struct pull *pull, enum status status, const char *format, ...)
{
    struct err err = {.status = status};
    va_list list;
    va_start(list, format);
    vsnprintf(err.text, sizeof(err.text), format, list);
    va_end(list);
    fail(pull, &err);
}

void pull_cancel(struct pull *pull)
{
    const struct err err = {.status = CANCELLED, .text = "the pull was cancelled"};
    struct incoming *incoming = pull->incoming;
    pull->state = PULL_CANCELLED; // what the store tells of it from here on is no news
    pull->incoming = NULL;
    if (incoming)
        incoming_delete(incoming);
    for (size_t i = 0; i < store_n_incoming(pull->api->options.store);) {
        struct incoming *one = store_incoming(pull->api->options.store, i);
        const struct arrival *at = incoming_at(one);
        unsigned no, count;
        const size_t n = split_stem(at->name, strlen(at->name), &no, &count);
        const struct bytes name = {(const uint8_t *)at->name, n ? n : strlen(at->name)};
        const bool ours = strncmp(at->id, "pull-", 5) == 0 && !at->is_held &&
                          at->phase != INCOMING_DONE && at->phase != INCOMING_FAILED &&
                          bytes_equal_text(name, pull->source.name);
        if (ours)
            incoming_delete(one); // it is seen no more
        i += !ours;
    }
    end(pull, PULL_CANCELLED, &err);
}

static void wait_a_moment(struct pull *pull, const char *why)
{
    pull->state = PULL_WAITS;
    pull->err = (struct err){.status = AGAIN};
    snprintf(pull->err.text, sizeof(pull->err.text), "%s", why);
    pull->wait_until_ms = clock_ms() + NAME_WAIT_MS;
}

// Again in a moment, where that may help; else the end.
static void again(struct pull *pull, const struct err *err)
{
    const bool helps = err->status == IO_ERROR || err->status == CLOSED || err->status == NO_ROOM ||
                       (err->status == NOT_FOUND && pull->is_patient);
    const bool listing = pull->asks != ASKS_FILE && !pull->is_listed && !pull->is_patient;
    stop_fetch(pull);
    if (!helps || listing || pull->n_tries >= RETRIES) {
        fail(pull, err);
        return;
    }
    const uint64_t wait_ms = 1000ULL << pull->n_tries++;
    log_info("pull of %s: %s; again in a moment", pull->shown, err->text);
    if (pull->incoming)
        incoming_sync(pull->incoming);
    pull->state = PULL_WAITS;
    pull->err = *err;
    pull->wait_until_ms = clock_ms() + (wait_ms < WAIT_MOST_MS ? wait_ms : WAIT_MOST_MS);
}

// ---- a file's bytes -----------------------------------------------------------------------------

static void next_file(struct pull *pull)
{
    pull->done_bytes += pull->files[pull->at].n_bytes;
    pull->at++;
    pull->n_tries = 0;
    pull->furthest = 0;
    if (pull->at < pull->n_files) {
        make_file(pull);
    } else {
        const struct err good = {.status = OK};
        end(pull, PULL_DONE, &good);
    }
}

static void finish_file(struct pull *pull)
{
    pull->state = PULL_CHECKS;
    incoming_finish(pull->incoming);
    pull_tell(pull);
}

static void ask(struct pull *pull, const char *url, int asks, const char *accept, uint64_t from);

static void ask_file(struct pull *pull)
{
    const struct source_file *file = &pull->files[pull->at];
    const struct arrival *at = incoming_at(pull->incoming);
    char url[SOURCE_TEXT_BYTES + 16];
    if (file->n_bytes > 0 && at->n_taken == file->n_bytes) {
        finish_file(pull);
        return;
    }
    if (at->n_taken > 0 && !file->sha256[0] && !file->etag[0]) {
        struct incoming *incoming = pull->incoming; // nothing tells whether the rest belongs to it
        let_go(pull);
        incoming_delete(incoming);
        wait_a_moment(pull, "it begins anew, since its server does not tell its states apart");
        return;
    }
    if (pull->source.kind == SOURCE_URL)
        snprintf(url, sizeof(url), "%s", file->url);
    else
        snprintf(url, sizeof(url), "%s://%s", net_scheme(pull->api->net, pull->source.host),
                 file->url);
    pull->state = PULL_FETCHES;
    pull->synced = at->n_taken;
    pull->rate_at_ms = 0;
    ask(pull, url, ASKS_FILE, "", at->n_taken);
}

static void arrival_told(void *arg, struct incoming *incoming, bool is_lost)
{
    struct pull *pull = arg;
    const struct arrival *at = incoming_at(incoming);
    const struct err fault = at->fault;
    if (pull_is_over(pull))
        return;
    if (is_lost) {
        pull->incoming = NULL;
        fail_with(pull, CANCELLED, "what had come of it was deleted, or is sent by somebody else");
    } else if (at->phase == INCOMING_DONE || at->phase == INCOMING_KEPT) {
        pull->incoming = NULL;
        if (pull->files[pull->at].n_bytes == 0)
            pull->files[pull->at].n_bytes = at->n_taken;
        next_file(pull);
    } else if (at->phase == INCOMING_FAILED) {
        pull->incoming = NULL;
        fail(pull, &fault);
    } else if (fault.status != OK) {
        fail(pull, &fault);
    } else if (pull->state == PULL_MAKES && at->is_settled) {
        ask_file(pull);
    } else if (pull->full && incoming_has_room(incoming)) {
        pull->full = false;
        if (pull->fetch)
            fetch_go_on(pull->fetch);
    }
}

static void id_of(char out[INCOMING_ID_BYTES], const struct source_file *file)
{
    struct sha256 hash;
    uint8_t digest[SHA256_BYTES];
    char size[24], hex[2 * SHA256_BYTES + 1];
    snprintf(size, sizeof(size), "%llu", (unsigned long long)file->n_bytes);
    const char *parts[] = {file->name, file->sha256, size, file->sha256[0] ? "" : file->url,
                           file->sha256[0] ? "" : file->etag};
    sha256_init(&hash);
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        sha256_add(&hash, (struct bytes){(const uint8_t *)parts[i], strlen(parts[i]) + 1});
    sha256_done(&hash, digest);
    hex_write(hex, digest, 16);
    snprintf(out, INCOMING_ID_BYTES, "pull-%s", hex);
}

// What came of another file under this name, of which nobody gives more, makes way.
static void drop_others(struct store *store, const char *name, const char *id)
{
    for (size_t i = 0; i < store_n_incoming(store);) {
        struct incoming *one = store_incoming(store, i);
        const struct arrival *at = incoming_at(one);
        const bool drops = strcmp(at->name, name) == 0 && strcmp(at->id, id) != 0 &&
                           strncmp(at->id, "pull-", 5) == 0 && !at->is_held &&
                           at->phase != INCOMING_ENDS && at->phase != INCOMING_DONE &&
                           at->phase != INCOMING_FAILED;
        if (drops)
            incoming_delete(one); // it is seen no more
        i += !drops;
    }
}

// All of its files have their place before a byte of the first is fetched.
static enum status make_all(struct pull *pull, struct err *err)
{
    struct store *store = pull->api->options.store;
    char id[INCOMING_ID_BYTES], source[INCOMING_SOURCE_BYTES];
    enum status status = OK;
    snprintf(source, sizeof(source), "%.700s as %s", pull->text, pull->source.name);
    for (size_t i = pull->at; i < pull->n_files && status == OK; i++) {
        const struct source_file *file = &pull->files[i];
        id_of(id, file);
        drop_others(store, file->name, id);
        struct incoming *incoming = store_incoming_find(store, bytes_of(id));
        if (incoming && incoming_at(incoming)->phase < INCOMING_DONE)
            continue;
        const struct incoming_wish wish = {.id = bytes_of(id),
                                           .name = bytes_of(file->name),
                                           .source = bytes_of(source),
                                           .n_bytes = file->n_bytes,
                                           .sha256 = bytes_of(file->sha256)};
        status = incoming_make(store, &wish, &incoming, err);
    }
    return status;
}

static enum status hold(struct pull *pull, struct incoming *incoming, struct err *err)
{
    if (!incoming)
        return err_set(err, CLOSED, "what had come of it is gone");
    if (incoming_at(incoming)->is_held)
        return err_set(err, DENIED, "it is being pulled already");
    pull->incoming = incoming;
    enum status status = incoming_hold(incoming, arrival_told, pull, err);
    if (status != OK)
        pull->incoming = NULL;
    return status;
}

static void make_file(struct pull *pull)
{
    char id[INCOMING_ID_BYTES];
    struct err err = {0};
    pull->state = PULL_MAKES;
    pull->full = false;
    if (make_all(pull, &err) != OK) {
        fail(pull, &err);
        return;
    }
    id_of(id, &pull->files[pull->at]);
    struct incoming *incoming = store_incoming_find(pull->api->options.store, bytes_of(id));
    if (incoming && incoming_at(incoming)->phase == INCOMING_KEPT) // a part that is whole
        next_file(pull);
    else if (incoming && incoming_at(incoming)->phase == INCOMING_ENDS)
        wait_a_moment(pull, "it is being checked");
    else if (hold(pull, incoming, &err) != OK)
        fail(pull, &err);
    else if (incoming_at(pull->incoming)->is_settled)
        ask_file(pull);
}

// ---- what is listed -----------------------------------------------------------------------------

// The whole of it must have room before anything of it is fetched.
static enum status check_here(struct pull *pull, struct err *err)
{
    const struct store *store = pull->api->options.store;
    const struct store_model *model = store_find_file(store, bytes_of(pull->source.name));
    const uint64_t total = pull_of_bytes(pull);
    if (!model)
        return OK;
    const bool digest_differs = pull->n_files == 1 && model->sha256[0] &&
                                pull->files[0].sha256[0] &&
                                strcmp(model->sha256, pull->files[0].sha256) != 0;
    if (total > 0 && model->file_bytes == total && !digest_differs)
        return AGAIN; // it is the same, and here
    return err_set(err, DENIED,
                   "there is a model '%.100s' already, and it is another file: delete it first, or "
                   "pull under another name",
                   pull->source.name);
}

static void listed(struct pull *pull)
{
    struct err err = {0};
    const bool first = !pull->is_listed;
    pull->is_listed = true;
    enum status status = first ? check_here(pull, &err) : OK;
    if (status == AGAIN) {
        pull->at = pull->n_files;
        pull->done_bytes = pull_of_bytes(pull);
        const struct err good = {.status = OK};
        end(pull, PULL_DONE, &good);
    } else if (status != OK) {
        fail(pull, &err);
    } else if (pull->incoming) {
        ask_file(pull); // it was listed again, for another token
    } else {
        make_file(pull);
    }
}

static void list_came(struct pull *pull)
{
    struct err err = {0};
    const struct bytes body = buf_view(&pull->body);
    struct source_file *files = mem_array(SOURCE_FILES_MOST, sizeof(*files));
    size_t n = 0;
    enum status status = pull->source.kind == SOURCE_HUB
                             ? source_read_tree(&pull->source, body, files, &n, &err)
                             : source_read_manifest(&pull->source, body, files, &n, &err);
    if (status == OK && pull->is_listed &&
        (n != pull->n_files || strcmp(files[pull->at].sha256, pull->files[pull->at].sha256) != 0))
        status = err_set(&err, BAD_INPUT, "the model has changed while it was pulled: pull again");
    if (status == OK) {
        memcpy(pull->files, files, sizeof(pull->files));
        pull->n_files = n;
        listed(pull);
    } else {
        fail(pull, &err);
    }
    free(files);
}

// A single file by its address: HEAD has said how long it is, or that it will not say.
static void address_came(struct pull *pull)
{
    struct source_file *file = &pull->files[0];
    snprintf(file->name, sizeof(file->name), "%s", pull->source.name);
    snprintf(file->url, sizeof(file->url), "%s", pull->source.url);
    if (pull->source.sha256[0])
        snprintf(file->sha256, sizeof(file->sha256), "%s", pull->source.sha256);
    pull->n_files = 1;
    listed(pull);
}

static void token_came(struct pull *pull)
{
    struct err err = {0};
    if (source_read_token(pull->token, sizeof(pull->token), buf_view(&pull->body), &err) == OK)
        ask_list(pull);
    else
        fail_with(pull, err.status, "%s gives no token: %s", pull->host, err.text);
}

static void ask_list(struct pull *pull)
{
    static const char MANIFESTS[] = "application/vnd.docker.distribution.manifest.v2+json, "
                                    "application/vnd.oci.image.manifest.v1+json";
    const struct source *source = &pull->source;
    const char *scheme = net_scheme(pull->api->net, source->host);
    char url[SOURCE_TEXT_BYTES];
    pull->state = PULL_LISTS;
    if (source->kind == SOURCE_REGISTRY) {
        snprintf(url, sizeof(url), "%s://%s/v2/%s/manifests/%s", scheme, source->host, source->path,
                 source->tag);
        ask(pull, url, ASKS_LIST, MANIFESTS, 0);
    } else if (source->kind == SOURCE_HUB) {
        snprintf(url, sizeof(url), "%s://%s/api/models/%s/tree/%s?recursive=true", scheme,
                 source->host, source->path, source->revision);
        ask(pull, url, ASKS_LIST, "application/json", 0);
    } else {
        ask(pull, source->url, ASKS_HEAD, "", 0);
    }
}

// ---- answers ------------------------------------------------------------------------------------

static void keep(char *out, size_t size, struct bytes text)
{
    if (text.n > 0 && text.n < size)
        snprintf(out, size, "%.*s", (int)text.n, (const char *)text.p);
}

// A strong ETag tells one state of a file from all others; a hub's is its SHA-256.
static void keep_head(struct pull *pull, const struct fetched *fetched)
{
    struct source_file *file = &pull->files[0];
    struct bytes hex = fetched->linked_etag;
    memset(file, 0, sizeof(*file));
    if (fetched->etag.n > 1 && fetched->etag.p[0] == '"')
        keep(file->etag, sizeof(file->etag), fetched->etag);
    else
        keep(file->etag, sizeof(file->etag), fetched->modified);
    if (hex.n == 66 && hex.p[0] == '"')
        hex = (struct bytes){hex.p + 1, 64};
    bool digits = hex.n == 64;
    for (size_t i = 0; i < hex.n && digits; i++)
        digits = strchr("0123456789abcdef", hex.p[i]) && hex.p[i];
    if (digits)
        keep(file->sha256, sizeof(file->sha256), hex);
    if (fetched->has_length && fetched->code == 200)
        file->n_bytes = fetched->length;
}

static void on_head(void *arg, const struct fetched *fetched)
{
    struct pull *pull = arg;
    pull->code = fetched->code;
    snprintf(pull->host, sizeof(pull->host), "%s", fetched->host);
    pull->challenge[0] = 0;
    keep(pull->challenge, sizeof(pull->challenge), fetched->challenge);
    if (pull->asks == ASKS_HEAD)
        keep_head(pull, fetched);
    if (pull->asks != ASKS_FILE || fetched->code / 100 != 2)
        return;
    struct source_file *file = &pull->files[pull->at];
    const uint64_t n_taken = incoming_at(pull->incoming)->n_taken;
    const uint64_t from = fetched->code == 206 ? fetched->from : 0;
    const uint64_t total = fetched->code == 206  ? fetched->total
                           : fetched->has_length ? fetched->length
                                                 : 0;
    pull->skip = n_taken - from; // a server without ranges sends all of it again
    if (from > n_taken)
        fail_with(pull, BAD_INPUT,
                  "%s was asked for the bytes from %llu, and sends those from "
                  "%llu",
                  pull->host, (unsigned long long)n_taken, (unsigned long long)from);
    else if (file->n_bytes > 0 && total > 0 && total != file->n_bytes)
        fail_with(pull, BAD_INPUT, "%s has a file of %llu bytes there, and %llu were listed",
                  pull->host, (unsigned long long)total, (unsigned long long)file->n_bytes);
    pull_tell(pull);
}

static bool on_body(void *arg, struct bytes piece)
{
    struct pull *pull = arg;
    if (pull->asks != ASKS_FILE || pull->code / 100 != 2) {
        if (pull->code / 100 != 2) // a page about the error: nobody reads it
            return true;
        if (buf_add(&pull->body, piece.p, piece.n) != OK)
            fail_with(pull, TOO_LARGE, "the list of %s is longer than %d MiB", pull->host,
                      SOURCE_LISTING_BYTES >> 20);
        return true;
    }
    const size_t skip = pull->skip < piece.n ? (size_t)pull->skip : piece.n;
    pull->skip -= skip;
    piece = (struct bytes){piece.p + skip, piece.n - skip};
    if (piece.n == 0)
        return true;
    enum status status = incoming_add(pull->incoming, piece);
    const struct arrival *at = incoming_at(pull->incoming);
    if (at->n_taken > pull->furthest) { // and not the same bytes again
        pull->furthest = at->n_taken;
        pull->n_tries = 0;
        pull->token_asked = pull->listed_again = false; // one that is too old is asked for anew
    }
    if (status == TOO_LARGE) {
        fail_with(pull, BAD_INPUT, "%s sends more than the %llu bytes that were listed", pull->host,
                  (unsigned long long)at->n_bytes);
        return true;
    }
    if (status != OK && status != AGAIN) {
        const struct err fault = at->fault;
        fail(pull, &fault);
        return true;
    }
    if (at->n_taken >= pull->synced + SYNC_BYTES) {
        pull->synced = at->n_taken;
        incoming_sync(pull->incoming);
    }
    pull->full = status == AGAIN;
    return status == OK;
}

// 401 of a registry that tells where tokens are given.
static bool want_token(struct pull *pull)
{
    char url[SOURCE_TEXT_BYTES];
    struct err err = {0};
    const bool file = pull->asks == ASKS_FILE;
    if (pull->source.kind != SOURCE_REGISTRY || (file ? pull->listed_again : pull->token_asked) ||
        source_read_challenge(url, bytes_of(pull->challenge), &err) != OK)
        return false;
    pull->token_asked = true;
    pull->listed_again |= file;
    pull->token[0] = 0;
    pull->state = PULL_LISTS;
    ask(pull, url, ASKS_TOKEN, "application/json", 0);
    return true;
}

static void answered_badly(struct pull *pull)
{
    const int code = pull->code;
    struct err err;
    if (code == 401 && want_token(pull))
        return;
    if (pull->asks == ASKS_HEAD && (code == 403 || code == 405 || code == 501)) {
        address_came(pull); // it may answer GET all the same
        return;
    }
    const char *what = code == 401 || code == 403
                           ? "it is not given to everybody: name a token for that host in the "
                             "setting tokens"
                       : code == 404 || code == 410 ? "there is no such model"
                       : code == 429                ? "it is asked too often"
                       : code >= 500                ? "it has a fault of its own"
                                                    : "that is no answer that is understood here";
    const enum status status = code == 404 || code == 410   ? NOT_FOUND
                               : code == 401 || code == 403 ? DENIED
                               : code == 429 || code >= 500 ? IO_ERROR
                                                            : BAD_INPUT;
    (void)err_set(&err, status, "%.120s answers %d for %.100s: %s", pull->host, code, pull->shown,
                  what);
    again(pull, &err);
}

static void on_end(void *arg, const struct err *err)
{
    struct pull *pull = arg;
    pull->fetch = NULL;
    if (pull_is_over(pull))
        return;
    if (err->status != OK)
        again(pull, err);
    else if (pull->code / 100 != 2)
        answered_badly(pull);
    else if (pull->asks == ASKS_LIST)
        list_came(pull);
    else if (pull->asks == ASKS_TOKEN)
        token_came(pull);
    else if (pull->asks == ASKS_HEAD)
        address_came(pull);
    else if (pull->state == PULL_FETCHES)
        finish_file(pull);
}

static const struct fetch_calls calls = {on_head, on_body, on_end};

static void ask(struct pull *pull, const char *url, int asks, const char *accept, uint64_t from)
{
    const struct source_file *file = &pull->files[pull->at];
    const bool bearer = asks == ASKS_LIST || asks == ASKS_FILE;
    stop_fetch(pull);
    pull->asks = asks;
    pull->code = 0;
    pull->body.n = 0;
    pull->skip = 0;
    pull->fetch = fetch_open(pull->api->net,
                             &(struct fetch_request){.url = url,
                                                     .head = asks == ASKS_HEAD,
                                                     .accept = accept,
                                                     .token = bearer ? pull->token : "",
                                                     .from = from,
                                                     .if_range = file->etag},
                             &calls, pull);
}

// ---- opening, time, closing ---------------------------------------------------------------------

struct pull *pull_find(const struct api *api, uint64_t number)
{
    struct pull *pull = api->pulls;
    while (pull && pull->number != number)
        pull = pull->next;
    return pull;
}

struct pull *pull_find_name(const struct api *api, const char *name)
{
    struct pull *pull = api->pulls;
    while (pull && (pull_is_over(pull) || strcmp(pull->source.name, name) != 0))
        pull = pull->next;
    return pull;
}

// Room for one more; of those that are over the oldest is forgotten.
static bool make_place(struct api *api)
{
    size_t n = 0, n_open = 0;
    struct pull **oldest = NULL;
    for (struct pull **at = &api->pulls; *at; at = &(*at)->next) {
        n++;
        n_open += !pull_is_over(*at);
        if (pull_is_over(*at) && !(*at)->followers)
            oldest = at;
    }
    if (n >= PULLS_KEPT && oldest) {
        struct pull *pull = *oldest;
        *oldest = pull->next;
        free(pull);
    }
    return n_open < PULLS_MOST;
}

struct pull *pull_open(struct api *api, const struct source *source, struct bytes text,
                       struct err *err)
{
    if (!make_place(api)) {
        (void)err_set(err, NO_ROOM,
                      "%d models are being pulled, which is the most: try again when "
                      "one is there",
                      PULLS_MOST);
        return NULL;
    }
    struct pull *pull = mem_alloc(sizeof(*pull));
    pull->api = api;
    pull->number = ++api->last_pull;
    pull->source = *source;
    snprintf(pull->text, sizeof(pull->text), "%.*s", (int)text.n, (const char *)text.p);
    snprintf(pull->shown, sizeof(pull->shown), "%.*s", (int)strcspn(pull->text, "?#"), pull->text);
    pull->began_s = clock_unix_s();
    buf_init(&pull->body, SOURCE_LISTING_BYTES);
    pull->next = api->pulls;
    api->pulls = pull;
    log_info("pull of %s begins, as %s", pull->shown, source->name);
    ask_list(pull);
    return pull;
}

static void measure(struct pull *pull, uint64_t now_ms)
{
    const uint64_t bytes = pull_bytes(pull);
    if (pull->state != PULL_FETCHES)
        return;
    if (pull->rate_at_ms == 0) {
        pull->rate_at_ms = now_ms;
        pull->rate_bytes = bytes;
    } else if (now_ms >= pull->rate_at_ms + 1000) {
        const double rate =
            (double)(bytes - pull->rate_bytes) * 1000 / (double)(now_ms - pull->rate_at_ms);
        pull->rate = pull->rate > 0 ? 0.7 * pull->rate + 0.3 * rate : rate;
        pull->rate_at_ms = now_ms;
        pull->rate_bytes = bytes;
    }
}

// Goes on with an arrival: "SOURCE as NAME" stands in it. NO_ROOM: not now; others: not at all.
static enum status go_on(struct api *api, const struct arrival *at)
{
    struct source source;
    struct err err = {0};
    const char *as = NULL;
    for (const char *p = strstr(at->source, " as "); p; p = strstr(p + 1, " as "))
        as = p;
    if (at->phase != INCOMING_ARRIVES || at->is_held || !as)
        return CLOSED;
    const struct bytes text = {(const uint8_t *)at->source, (size_t)(as - at->source)};
    if (source_read(&source, text, api->options.registry, api->options.hub, &err) != OK)
        return err.status;
    snprintf(source.name, sizeof(source.name), "%s", as + 4);
    if (pull_find_name(api, source.name))
        return CLOSED;
    struct pull *pull = pull_open(api, &source, text, &err);
    if (!pull)
        return err.status;
    pull->is_patient = true;
    return OK;
}

static int newer_first(const void *a, const void *b)
{
    const int64_t x = incoming_at(*(struct incoming *const *)a)->moved_s,
                  y = incoming_at(*(struct incoming *const *)b)->moved_s;
    return (x < y) - (x > y);
}

// What a stop of the engine has cut: pulls are to go on, those first that moved last, as many at
// once as may be; what came in one piece cannot.
static void find_cut(struct api *api)
{
    const struct store *store = api->options.store;
    const size_t n = store_n_incoming(store);
    struct incoming **cut = mem_array(n + 1, sizeof(struct incoming *));
    size_t n_cut = 0;
    for (size_t i = n; i-- > 0;) { // from behind: what is deleted is not counted any more
        struct incoming *incoming = store_incoming(store, i);
        const struct arrival *at = incoming_at(incoming);
        if (at->phase == INCOMING_ARRIVES && !at->is_held && strncmp(at->id, "pull-", 5) == 0)
            cut[n_cut++] = incoming;
        else if (at->phase == INCOMING_ARRIVES && !at->is_held && strncmp(at->id, "put-", 4) == 0)
            incoming_delete(incoming);
    }
    qsort(cut, n_cut, sizeof(struct incoming *), newer_first);
    api->cut = mem_array(n_cut + 1, sizeof(*api->cut));
    for (size_t i = 0; i < n_cut; i++)
        snprintf(api->cut[i], sizeof(api->cut[i]), "%s", incoming_at(cut[i])->id);
    api->n_cut = n_cut;
    free(cut);
}

static void resume(struct api *api)
{
    if (!api->cut)
        find_cut(api);
    for (; api->at_cut < api->n_cut; api->at_cut++) {
        const struct incoming *incoming =
            store_incoming_find(api->options.store, bytes_of(api->cut[api->at_cut]));
        if (incoming && go_on(api, incoming_at(incoming)) == NO_ROOM)
            return;
    }
}

void pulls_tick(void *arg)
{
    struct api *api = arg;
    const uint64_t now_ms = clock_ms();
    resume(api);
    for (struct pull *pull = api->pulls; pull; pull = pull->next) {
        measure(pull, now_ms);
        if (pull->state == PULL_WAITS && now_ms >= pull->wait_until_ms && !api->stopping) {
            if (!pull->is_listed)
                ask_list(pull);
            else if (pull->incoming)
                ask_file(pull);
            else
                make_file(pull);
        }
        if (!pull_is_over(pull))
            pull_tell(pull);
    }
}

// After net_close: no fetch and no follower lives any more.
void pulls_close(struct api *api)
{
    free(api->cut);
    while (api->pulls) {
        struct pull *pull = api->pulls;
        api->pulls = pull->next;
        let_go(pull);
        buf_free(&pull->body);
        explicit_bzero(pull->token, sizeof(pull->token));
        free(pull);
    }
}

// The server stops: who follows is told; the pulls go on with the next start.
void pulls_stop(struct api *api)
{
    for (struct pull *pull = api->pulls; pull; pull = pull->next)
        pull_leave(pull, "The server is stopping; the pull goes on when it runs again.");
}
