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

void pull_let_go(struct pull *pull)
{
    struct incoming *incoming = pull->incoming;
    pull->incoming = NULL;
    if (incoming)
        incoming_let_go(incoming);
}

static void end(struct pull *pull, enum pull_state state, const struct err *err)
{
    stop_fetch(pull);
    pull_let_go(pull);
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
    if (pull->state == PULL_FAILED && !pull_find_name(pull->api, pull->source.name))
        pull_delete_come(pull);
    if (pull_is_over(pull))
        return;
    pull->state = PULL_CANCELLED; // what the store tells of it from here on is no news
    pull->incoming = NULL;
    if (incoming)
        incoming_delete(incoming);
    pull_delete_come(pull);
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
        pull_let_go(pull);
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
    if (pull_make_all(pull, &err) != OK) {
        fail(pull, &err);
        return;
    }
    pull_file_id(id, &pull->files[pull->at]);
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

static void listed(struct pull *pull)
{
    struct err err = {0};
    const bool first = !pull->is_listed;
    pull->is_listed = true;
    enum status status = first ? pull_check_here(pull, &err) : OK;
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
        pull_list(pull);
    else
        fail_with(pull, err.status, "%s gives no token: %s", pull->host, err.text);
}

void pull_list(struct pull *pull)
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
    (void)sha256_read(file->sha256, hex); // else it is not known
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

void pull_go_on(struct pull *pull)
{
    if (!pull->is_listed)
        pull_list(pull);
    else if (pull->incoming)
        ask_file(pull);
    else
        make_file(pull);
}
