// pull_route.c - asking for pulls, and telling how they go: Ollama's /api/pull (a line of JSON for
// each step), POST /v1/models/pull, /v1/downloads.
//
// Who asks for a model that is being pulled already follows that pull. A client that leaves ends
// nothing: DELETE /v1/downloads/ID does.
#include "ollama.h"
#include "pull.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MS = 4000 }; // a stream says something at least so often

// ---- followers ----------------------------------------------------------------------------------

static void follower_close(struct follower *follower)
{
    struct follower **at = &follower->pull->followers;
    while (*at != follower)
        at = &(*at)->next;
    *at = follower->next;
    free(follower);
}

static void client_gone(void *arg, struct exchange *exchange)
{
    (void)exchange;
    follower_close(arg);
}

static void line_begin(struct json *json, const char *status)
{
    json_init(json, 4096);
    json_object(json, NULL);
    json_string(json, "status", status);
}

// CLOSED: the client is too slow or gone, and client_gone follows.
static void line_end(struct follower *follower, struct json *json)
{
    json_end(json);
    if (json_done(json) == OK && ndjson_data(follower->exchange, buf_view(&json->text)) == OK)
        follower->told_ms = clock_ms();
    json_free(json);
}

static void say(struct follower *follower, const char *status)
{
    struct json json;
    line_begin(&json, status);
    line_end(follower, &json);
}

// Of the file of that number; all of it when it is done.
static void say_progress(struct follower *follower, size_t at)
{
    const struct pull *pull = follower->pull;
    const struct source_file *file = &pull->files[at];
    char status[64], digest[80];
    struct json json;
    const uint64_t completed = at < pull->at ? file->n_bytes : pull_bytes(pull) - pull->done_bytes;
    if (follower->file_told == at + 1 && follower->bytes_told == completed &&
        clock_ms() < follower->told_ms + LINE_MS)
        return;
    if (file->sha256[0])
        snprintf(status, sizeof(status), "pulling %.12s", file->sha256);
    else
        snprintf(status, sizeof(status), "pulling %.50s", file->name);
    snprintf(digest, sizeof(digest), "sha256:%s", file->sha256);
    line_begin(&json, status);
    if (file->sha256[0])
        json_string(&json, "digest", digest);
    if (file->n_bytes > 0)
        json_whole(&json, "total", (int64_t)file->n_bytes);
    json_whole(&json, "completed", (int64_t)completed);
    line_end(follower, &json);
    follower->file_told = at + 1;
    follower->bytes_told = completed;
}

static void tell_files(struct follower *follower)
{
    const struct pull *pull = follower->pull;
    for (size_t i = follower->file_told ? follower->file_told - 1 : 0; i < pull->at; i++) {
        say_progress(follower, i);
        if (!follower->check_told)
            say(follower, "verifying sha256 digest");
        follower->check_told = false;
        follower->file_told = i + 2;
        follower->bytes_told = UINT64_MAX;
    }
    if (pull->at < pull->n_files && pull->is_listed)
        say_progress(follower, pull->at);
    if (pull->state == PULL_CHECKS && !follower->check_told) {
        follower->check_told = true;
        say(follower, "verifying sha256 digest");
    }
}

static void refusal_of(struct refusal *refusal, const struct err *err)
{
    const int http = err->status == NOT_FOUND ? 404
                     : err->status == NO_ROOM ? 507
                     : err->status == DENIED  ? 409
                                              : 502;
    (void)refuse(refusal, http, err->status == NOT_FOUND ? "model_not_found" : "pull_failed",
                 "model", "%s", err->text);
    refusal->shape = ERRORS_OLLAMA;
}

// The last words; the exchange is then no longer ours.
static void last_words(struct follower *follower, const struct err *err)
{
    struct exchange *exchange = follower->exchange;
    struct refusal refusal;
    struct json json;
    refusal_of(&refusal, err);
    if (!follower->stream && err->status == OK) {
        ollama_success(exchange);
    } else if (!follower->stream) {
        refusal_reply(exchange, &refusal);
    } else {
        exchange_last(exchange);
        if (err->status == OK) {
            say(follower, "writing manifest");
            say(follower, "success");
        } else {
            json_init(&json, 4096);
            refusal_write(&json, &refusal);
            if (json_done(&json) == OK)
                (void)ndjson_data(exchange, buf_view(&json.text));
            json_free(&json);
        }
        exchange_end(exchange);
    }
    follower_close(follower);
}

void pull_tell(struct pull *pull)
{
    for (struct follower *follower = pull->followers, *next; follower; follower = next) {
        next = follower->next;
        if (follower->stream && !follower->manifest_told) {
            follower->manifest_told = true;
            say(follower, "pulling manifest");
        }
        if (follower->stream)
            tell_files(follower);
        if (pull_is_over(pull)) {
            struct err err = pull->err;
            err.status = pull->state == PULL_DONE ? OK : err.status == OK ? IO_ERROR : err.status;
            last_words(follower, &err);
        } else if (follower->stream && clock_ms() >= follower->told_ms + LINE_MS) {
            say(follower, pull->state == PULL_WAITS ? pull->err.text : "pulling manifest");
        }
    }
}

void pull_leave(struct pull *pull, const char *why)
{
    struct err err = {.status = CANCELLED};
    snprintf(err.text, sizeof(err.text), "%s", why);
    while (pull->followers)
        last_words(pull->followers, &err);
}

// ---- beginning ----------------------------------------------------------------------------------

// The pull of that source, begun or under way; NULL and refused.
static struct pull *pull_wanted(struct api *api, struct bytes text, struct bytes name,
                                struct refusal *refusal)
{
    struct source source;
    struct err err = {0};
    if (source_read(&source, text, api->options.registry, api->options.hub, &err) != OK) {
        (void)refuse(refusal, 400, "invalid_value", "source", "%s", err.text);
        return NULL;
    }
    if (name.n > 0 && !store_name_good(name)) {
        (void)refuse(refusal, 400, "invalid_value", "name",
                     "'name' must be 1 to 200 bytes without slashes and control characters, and "
                     "not with a dot in front.");
        return NULL;
    }
    if (name.n > 0)
        snprintf(source.name, sizeof(source.name), "%.*s", (int)name.n, (const char *)name.p);
    struct pull *pull = pull_find_name(api, source.name);
    if (pull && !bytes_equal_text(text, pull->text)) {
        (void)refuse(refusal, 409, "not_allowed", "name",
                     "The model '%.100s' is being pulled from elsewhere: wait for it, or give "
                     "another name.",
                     source.name);
        return NULL;
    }
    if (!pull)
        pull = pull_open(api, &source, text, &err);
    if (!pull)
        (void)refuse(refusal, 503, "busy", NULL, "%s.", err.text);
    return pull;
}

static bool follow(struct pull *pull, struct exchange *exchange, bool stream,
                   struct refusal *refusal)
{
    size_t n = 0;
    for (const struct follower *one = pull->followers; one; one = one->next)
        n++;
    if (n >= PULL_FOLLOWERS_MOST)
        return refuse(refusal, 503, "busy", NULL, "Too many clients wait for this pull.");
    struct follower *follower = mem_alloc(sizeof(*follower));
    *follower = (struct follower){pull->followers, pull, exchange, stream};
    pull->followers = follower;
    exchange_owner(exchange, client_gone, follower);
    if (stream) {
        exchange_reply_header(exchange, "Cache-Control", "no-cache");
        exchange_reply_header(exchange, "X-Accel-Buffering", "no");
        exchange_stream(exchange, 200, "application/x-ndjson");
    }
    pull_tell(pull);
    return true;
}

// By its own name or an alias that is its own; a model that answers for every name is not meant.
static bool is_here(const struct api *api, struct bytes name)
{
    const struct store *store = api->options.store;
    name = store_find_file(store, name) ? name : model_name_meant(name);
    return store_find_file(store, name) || ollama_is_alias(store, name);
}

// Ollama's: {"model": NAME, "stream": true}
void ollama_pull_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct ollama_named named;
    struct refusal refusal;
    struct pull *pull = NULL;
    bool good = ollama_named_open(&named, request->body, "model", &refusal);
    const bool here = good && is_here(api, named.name);
    if (here && named.stream) {
        exchange_stream(exchange, 200, "application/x-ndjson");
        if (ndjson_data(exchange, bytes_of("{\"status\":\"success\"}")) == OK)
            exchange_end(exchange);
    } else if (here) {
        ollama_success(exchange);
    } else if (good) {
        pull = pull_wanted(api, named.name, (struct bytes){NULL, 0}, &refusal);
        good = pull && follow(pull, exchange, named.stream, &refusal);
    }
    if (!good)
        ollama_refuse(exchange, &refusal);
    ollama_named_close(&named);
}

// ---- /v1/downloads ------------------------------------------------------------------------------

static void download_write(struct json *json, const struct pull *pull)
{
    static const char *const states[] = {"listing", "fetching", "fetching", "checking",
                                         "waiting", "done",     "failed",   "cancelled"};
    const uint64_t bytes = pull_bytes(pull), total = pull_of_bytes(pull);
    char id[24];
    snprintf(id, sizeof(id), "%llu", (unsigned long long)pull->number);
    json_object(json, NULL);
    json_string(json, "id", id);
    json_string(json, "object", "download");
    json_string(json, "source", pull->shown);
    json_string(json, "name", pull->source.name);
    json_string(json, "status", states[pull->state]);
    if (pull->err.text[0])
        json_string(json, "error", pull->err.text);
    json_whole(json, "bytes", (int64_t)bytes);
    if (total > 0)
        json_whole(json, "of_bytes", (int64_t)total);
    json_whole(json, "files", (int64_t)pull->n_files);
    json_whole(json, "began", pull->began_s);
    if (pull_is_over(pull))
        json_whole(json, "ended", pull->ended_s);
    if (pull->state == PULL_FETCHES && pull->rate >= 1) {
        json_whole(json, "bytes_per_second", (int64_t)pull->rate);
        if (total > bytes)
            json_whole(json, "seconds_left", (int64_t)((double)(total - bytes) / pull->rate) + 1);
    }
    json_end(json);
}

static void download_reply(struct exchange *exchange, int http, const struct pull *pull)
{
    struct json json;
    json_init(&json, 16384);
    download_write(&json, pull);
    json_reply(exchange, http, &json);
}

// {"source": SOURCE, "name": NAME or nothing}
void model_pull_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct body body;
    struct bytes source, name = {NULL, 0};
    struct pull *pull = NULL;
    if (body_open(&body, request->body, &refusal)) {
        yyjson_val *root = yyjson_doc_get_root(body.doc), *named = yyjson_obj_get(root, "name");
        if (text_field(root, "source", &source, &refusal) &&
            (!named || yyjson_is_null(named) || text_field(root, "name", &name, &refusal)))
            pull = pull_wanted(api, source, name, &refusal);
        body_close(&body);
    }
    if (pull)
        download_reply(exchange, 202, pull);
    else
        refusal_reply(exchange, &refusal);
}

void downloads_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)request;
    struct json json;
    json_init(&json, 256 << 10);
    json_object(&json, NULL);
    json_string(&json, "object", "list");
    json_array(&json, "data"); // the last one first
    for (const struct pull *pull = api->pulls; pull; pull = pull->next)
        download_write(&json, pull);
    json_end(&json);
    json_end(&json);
    json_reply(exchange, 200, &json);
}

static struct pull *pull_in_path(struct api *api, const struct request *request,
                                 struct refusal *refusal)
{
    const struct bytes id = path_behind(request, "/v1/downloads/");
    uint64_t number = 0;
    for (size_t i = 0; i < id.n && number < UINT64_MAX / 100; i++)
        number = id.p[i] >= '0' && id.p[i] <= '9' ? number * 10 + (uint64_t)(id.p[i] - '0')
                                                  : UINT64_MAX / 10;
    struct pull *pull = pull_find(api, number);
    if (!pull)
        (void)refuse(refusal, 404, "not_found", NULL,
                     "There is no such download; GET /v1/downloads lists them.");
    return pull;
}

void download_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct pull *pull = pull_in_path(api, request, &refusal);
    if (pull)
        download_reply(exchange, 200, pull);
    else
        refusal_reply(exchange, &refusal);
}

void download_delete(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct pull *pull = pull_in_path(api, request, &refusal);
    if (!pull) {
        refusal_reply(exchange, &refusal);
        return;
    }
    pull_cancel(pull);
    download_reply(exchange, 200, pull);
}
