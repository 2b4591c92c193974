// uploads.c - models that are sent to the box: resumable uploads at /v1/uploads, which speak the
// tus protocol (1.0.0, https://tus.io/protocols/resumable-upload: core, creation,
// creation-with-upload, termination), and PUT /v1/models/NAME for a file in one piece.
//
// An upload is an arrival of the store (incoming.h); its id is the arrival's. `Upload-Metadata` has
// `filename` (or `name`), which becomes the model's name, and may have `sha256`, in hexadecimal:
// then the file is kept only when it has that. HEAD tells from where to go on; it takes the upload
// from a request that still seems to send, since a client that asks has lost that connection. GET
// tells what is known, and takes nothing. A whole file whose name was taken meanwhile is kept: POST
// gives it another.
#include "chores.h"
#include "taking.h"

#include <stdio.h>
#include <string.h>

enum { ID_RANDOM_BYTES = 12, META_BYTES = 1024, LIST_BYTES_MOST = 1 << 20 };
static const char RESUMABLE[] = "upload-", ONE_PIECE[] = "put-", VERSION[] = "1.0.0",
                  EXTENSIONS[] = "creation,creation-with-upload,termination";

// ---- as JSON ------------------------------------------------------------------------------------

static void upload_write(struct json *json, const struct arrival *at)
{
    static const char *const phases[] = {[INCOMING_ARRIVES] = "arriving",
                                         [INCOMING_ENDS] = "checking",
                                         [INCOMING_KEPT] = "waiting",
                                         [INCOMING_DONE] = "done",
                                         [INCOMING_FAILED] = "failed"};
    json_object(json, NULL);
    json_string(json, "id", at->id);
    json_string(json, "object", "upload");
    json_string(json, "name", at->name);
    json_string(json, "status", phases[at->phase]);
    if (at->n_bytes > 0)
        json_whole(json, "bytes", (int64_t)at->n_bytes);
    json_whole(json, "received", (int64_t)at->n_taken);
    json_string(json, "sha256", at->sha256);
    json_string(json, "source", at->source);
    json_whole(json, "created", at->began_s);
    json_whole(json, "updated", at->moved_s);
    json_bool(json, "active", at->is_held);
    if (at->fault.status != OK)
        json_string(json, "error", at->fault.text);
    json_end(json);
}

// An arrival as JSON, as the body of an answer.
static void upload_reply(struct exchange *exchange, int http, const struct arrival *at)
{
    struct json json;
    json_init(&json, 16384);
    upload_write(&json, at);
    json_reply(exchange, http, &json);
}

void uploads_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    const struct store *store = api->options.store;
    struct json json;
    (void)request;
    json_init(&json, LIST_BYTES_MOST);
    json_object(&json, NULL);
    json_string(&json, "object", "list");
    json_array(&json, "data");
    for (size_t i = 0; i < store_n_incoming(store); i++) {
        const struct arrival *at = incoming_at(store_incoming(store, i));
        if (!incoming_is_update(at->id)) // that is an administrator's: /v1/update
            upload_write(&json, at);
    }
    json_end(&json);
    json_end(&json);
    json_reply(exchange, 200, &json);
}

void upload_id(char out[INCOMING_ID_BYTES], const char *prefix)
{
    uint8_t random[ID_RANDOM_BYTES];
    char hex[2 * ID_RANDOM_BYTES + 1];
    random_bytes(random, sizeof(random));
    hex_write(hex, random, sizeof(random));
    snprintf(out, INCOMING_ID_BYTES, "%s%s", prefix, hex);
}

// ---- what the protocol says ---------------------------------------------------------------------

static void tus_fields(struct exchange *exchange)
{
    exchange_reply_header(exchange, "Tus-Resumable", VERSION);
    exchange_reply_header(exchange, "Cache-Control", "no-store");
}

static void number_field(struct exchange *exchange, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    exchange_reply_header(exchange, name, text);
}

static void offset_fields(struct exchange *exchange, const struct arrival *at)
{
    number_field(exchange, "Upload-Offset", at->n_taken);
    if (at->n_bytes > 0)
        number_field(exchange, "Upload-Length", at->n_bytes);
}

static bool version_good(struct exchange *exchange, const struct request *request,
                         struct refusal *refusal)
{
    const struct bytes version = request_header(request, "tus-resumable");
    if (bytes_equal_text(version, VERSION))
        return true;
    exchange_reply_header(exchange, "Tus-Version", VERSION);
    if (version.n == 0)
        return refuse(refusal, 412, "missing_required_parameter", NULL,
                      "The header Tus-Resumable is missing: send Tus-Resumable: %s.", VERSION);
    return refuse(refusal, 412, "unsupported_value", NULL,
                  "This server speaks version %s of the tus protocol, not %.*s.", VERSION,
                  (int)(version.n < 20 ? version.n : 20), (const char *)version.p);
}

static bool number_read(const struct request *request, const char *field, const char *shown,
                        uint64_t *out, struct refusal *refusal)
{
    const struct bytes text = request_header(request, field);
    uint64_t n = 0;
    bool good = text.n > 0 && text.n <= 18;
    for (size_t i = 0; i < text.n && good; i++) {
        good = text.p[i] >= '0' && text.p[i] <= '9';
        n = n * 10 + (uint64_t)(text.p[i] - '0');
    }
    *out = n;
    return good || refuse(refusal, 400, "invalid_value", NULL,
                          "The header %s is %s: it must be a number of bytes.", shown,
                          text.n > 0 ? "not right" : "missing");
}

static int digit_of(uint8_t c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

// Base64 (RFC 4648) into out; SIZE_MAX: it is none, or too long.
static size_t base64_read(struct bytes text, uint8_t *out, size_t size)
{
    size_t n = 0;
    uint32_t bits = 0;
    int n_bits = 0;
    while (text.n > 0 && text.p[text.n - 1] == '=')
        text.n--;
    for (size_t i = 0; i < text.n; i++) {
        const int digit = digit_of(text.p[i]);
        if (digit < 0)
            return SIZE_MAX;
        bits = bits << 6 | (uint32_t)digit;
        n_bits += 6;
        if (n_bits < 8)
            continue;
        n_bits -= 8;
        if (n == size)
            return SIZE_MAX;
        out[n++] = (uint8_t)(bits >> n_bits);
    }
    return n;
}

struct meta { // of an upload
    uint8_t name[META_BYTES], sha256[80];
    size_t n_name, n_sha256; // SIZE_MAX: not readable
};

static void meta_pair(struct meta *meta, struct bytes pair)
{
    const uint8_t *gap = memchr(pair.p, ' ', pair.n);
    const size_t n_key = gap ? (size_t)(gap - pair.p) : pair.n;
    const struct bytes key = {pair.p, n_key},
                       value = {gap ? gap + 1 : pair.p, gap ? pair.n - n_key - 1 : 0};
    if (bytes_equal_text(key, "filename") || (bytes_equal_text(key, "name") && meta->n_name == 0))
        meta->n_name = base64_read(value, meta->name, sizeof(meta->name));
    else if (bytes_equal_text(key, "sha256"))
        meta->n_sha256 = base64_read(value, meta->sha256, sizeof(meta->sha256));
}

// "filename bW9kZWwuZ2d1Zg==, sha256 ..."
static bool meta_read(struct meta *meta, struct bytes text, struct refusal *refusal)
{
    meta->n_name = meta->n_sha256 = 0;
    while (text.n > 0) {
        const uint8_t *end = memchr(text.p, ',', text.n);
        const size_t n = end ? (size_t)(end - text.p) : text.n, step = end ? n + 1 : n;
        struct bytes pair = {text.p, n};
        while (pair.n > 0 && pair.p[0] == ' ')
            pair = (struct bytes){pair.p + 1, pair.n - 1};
        if (pair.n > 0)
            meta_pair(meta, pair);
        text = (struct bytes){text.p + step, text.n - step};
    }
    if (meta->n_name == SIZE_MAX || meta->n_sha256 == SIZE_MAX)
        return refuse(refusal, 400, "invalid_value", NULL,
                      "Upload-Metadata has a value that is too long, or not base64.");
    return meta->n_name > 0 ||
           refuse(refusal, 400, "missing_required_parameter", NULL,
                  "Upload-Metadata must have 'filename': the model's name, in base64.");
}

// A file's name as a model's: without .gguf.
static struct bytes model_of(struct bytes file)
{
    (void)bytes_cut_end(&file, ".gguf");
    return file;
}

// ---- making -------------------------------------------------------------------------------------

static void made_told(struct api *api, struct exchange *exchange, const struct arrival *at)
{
    (void)api;
    char path[INCOMING_ID_BYTES + 16];
    snprintf(path, sizeof(path), "/v1/uploads/%s", at->id);
    exchange_reply_header(exchange, "Location", path);
    offset_fields(exchange, at);
    exchange_note(exchange, "%s, %llu bytes", at->name, (unsigned long long)at->n_bytes);
    upload_reply(exchange, 201, at);
}

static bool upload_make(struct api *api, const struct request *request, struct taking_plan *plan,
                        struct refusal *refusal)
{
    struct meta meta;
    struct err err = {0};
    char id[INCOMING_ID_BYTES];
    uint64_t n_bytes;
    if (!number_read(request, "upload-length", "Upload-Length", &n_bytes, refusal) ||
        !meta_read(&meta, request_header(request, "upload-metadata"), refusal))
        return false;
    if (n_bytes == 0)
        return refuse(refusal, 400, "invalid_value", NULL, "An empty file is no model.");
    upload_id(id, RESUMABLE);
    const struct incoming_wish wish = {.id = bytes_of(id),
                                       .name = model_of((struct bytes){meta.name, meta.n_name}),
                                       .n_bytes = n_bytes,
                                       .sha256 = {meta.sha256, meta.n_sha256}};
    if (incoming_make(api->options.store, &wish, &plan->incoming, &err) != OK)
        return refuse_arrival(refusal, &err);
    plan->cap_bytes = request->has_body ? n_bytes : 0;
    return true;
}

void uploads_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct taking_plan plan = {.errors = ERRORS_OPENAI, .done = made_told};
    tus_fields(exchange);
    if (version_good(exchange, request, &refusal) && upload_make(api, request, &plan, &refusal))
        taking_begin(api, exchange, &plan);
    else
        refusal_reply(exchange, &refusal);
}

void uploads_options(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)api, (void)request;
    tus_fields(exchange);
    exchange_reply_header(exchange, "Tus-Version", VERSION);
    exchange_reply_header(exchange, "Tus-Extension", EXTENSIONS);
    exchange_reply(exchange, 204, "text/plain", (struct bytes){NULL, 0});
}

// ---- going on -----------------------------------------------------------------------------------

static bool upload_find(const struct api *api, const struct request *request, struct incoming **out,
                        struct refusal *refusal)
{
    const struct bytes id = path_behind(request, "/v1/uploads/");
    char text[NAME_TEXT];
    *out = store_incoming_find(api->options.store, id);
    if (*out && incoming_is_update(incoming_at(*out)->id))
        *out = NULL;
    return *out || refuse(refusal, 404, "upload_not_found", NULL,
                          "There is no upload '%s': it was never begun, is a model already, or "
                          "nothing came of it for %d days.",
                          name_text(text, id), INCOMING_DAYS);
}

// Those that were begun here; others (a file in one piece, a pull) are somebody's who goes on.
static bool is_resumable(const struct arrival *at)
{
    return strncmp(at->id, RESUMABLE, sizeof(RESUMABLE) - 1) == 0;
}

// Nothing can be added: it is being checked, or it has ended.
static bool upload_arrives(const struct arrival *at, struct refusal *refusal)
{
    if (at->phase == INCOMING_ENDS)
        return refuse(refusal, 423, "upload_checked", NULL,
                      "All of the file is here, and it is being checked; ask again soon.");
    if (at->phase == INCOMING_FAILED)
        return refuse(refusal, 410, "upload_ended", NULL, "%s", at->fault.text);
    if (at->phase == INCOMING_KEPT && !at->name[0] && is_resumable(at))
        return refuse(refusal, 409, "name_taken", NULL,
                      "All of the file is here, but its name was given to another (%s): POST "
                      "/v1/uploads/%s with {\"name\": NAME} gives it one that is free.",
                      at->fault.status != OK ? at->fault.text : "there is a model of that name",
                      at->id);
    return true;
}

static void head_told(struct api *api, struct exchange *exchange, const struct arrival *at)
{
    (void)api;
    offset_fields(exchange, at);
    upload_reply(exchange, 200, at);
}

static void patch_told(struct api *api, struct exchange *exchange, const struct arrival *at)
{
    (void)api;
    offset_fields(exchange, at);
    exchange_reply(exchange, 204, "text/plain", (struct bytes){NULL, 0});
}

void upload_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct taking_plan plan = {.errors = ERRORS_OPENAI, .done = head_told};
    const bool asks = bytes_equal_text(request->method, "HEAD"); // GET is no part of tus
    tus_fields(exchange);
    if ((asks && !version_good(exchange, request, &refusal)) ||
        !upload_find(api, request, &plan.incoming, &refusal) ||
        (asks && !upload_arrives(incoming_at(plan.incoming), &refusal))) {
        refusal_reply(exchange, &refusal);
    } else if (asks && incoming_at(plan.incoming)->phase == INCOMING_ARRIVES &&
               is_resumable(incoming_at(plan.incoming))) {
        taking_begin(api, exchange, &plan);
    } else {
        head_told(api, exchange, incoming_at(plan.incoming));
    }
}

static bool patch_read(const struct request *request, const struct arrival *at,
                       struct taking_plan *plan, struct refusal *refusal)
{
    if (!upload_arrives(at, refusal))
        return false;
    if (!is_resumable(at))
        return refuse(refusal, 409, "not_resumable", NULL,
                      "This file comes by another way: nothing can be added here.");
    if (!bytes_equal_text(request->content_type, "application/offset+octet-stream"))
        return refuse(refusal, 415, "unsupported_value", NULL,
                      "PATCH wants the Content-Type application/offset+octet-stream.");
    if (!number_read(request, "upload-offset", "Upload-Offset", &plan->offset, refusal))
        return false;
    if (plan->offset > at->n_bytes ||
        (at->phase != INCOMING_ARRIVES && plan->offset != at->n_bytes))
        return refuse(refusal, 409, "wrong_offset", NULL,
                      "The file goes on at byte %llu; this body begins at %llu.",
                      (unsigned long long)at->n_taken, (unsigned long long)plan->offset);
    plan->cap_bytes = request->has_body ? at->n_bytes - plan->offset : 0;
    return !request->has_body || plan->cap_bytes > 0 ||
           refuse(refusal, 413, "too_large", NULL, "The file is whole: nothing can be added.");
}

void upload_patch(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct taking_plan plan = {.errors = ERRORS_OPENAI, .follows = true, .done = patch_told};
    tus_fields(exchange);
    if (!version_good(exchange, request, &refusal) ||
        !upload_find(api, request, &plan.incoming, &refusal) ||
        !patch_read(request, incoming_at(plan.incoming), &plan, &refusal)) {
        refusal_reply(exchange, &refusal);
    } else if (incoming_at(plan.incoming)->phase == INCOMING_ARRIVES) {
        taking_begin(api, exchange, &plan);
    } else {
        patch_told(api, exchange, incoming_at(plan.incoming));
    }
}

void upload_delete(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct incoming *incoming;
    const bool speaks = request_header(request, "tus-resumable").n > 0; // the page and curl do not
    tus_fields(exchange);
    if ((speaks && !version_good(exchange, request, &refusal)) ||
        !upload_find(api, request, &incoming, &refusal)) {
        refusal_reply(exchange, &refusal);
    } else {
        incoming_delete(incoming);
        exchange_reply(exchange, 204, "text/plain", (struct bytes){NULL, 0});
    }
}

// {"name": NAME}: to a file that is whole and has none
void upload_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct incoming *incoming;
    struct body body;
    struct bytes name;
    bool good =
        upload_find(api, request, &incoming, &refusal) && body_open(&body, request->body, &refusal);
    if (good) {
        good = text_field(yyjson_doc_get_root(body.doc), "name", &name, &refusal);
        name = good ? model_of(name) : name;
        if (good)
            chore_incoming(api, exchange, incoming, name, name, &model_teller);
        body_close(&body);
    }
    if (!good)
        refusal_reply(exchange, &refusal);
}

// ---- in one piece -------------------------------------------------------------------------------

static void put_told(struct api *api, struct exchange *exchange, const struct arrival *at)
{
    (void)api;
    exchange_note(exchange, "%s, %llu bytes", at->name, (unsigned long long)at->n_bytes);
    upload_reply(exchange, at->phase == INCOMING_DONE ? 201 : 202, at);
}

static bool put_read(struct api *api, const struct request *request, struct taking_plan *plan,
                     struct refusal *refusal)
{
    static const char key[] = "sha256=";
    const size_t n_key = sizeof(key) - 1;
    struct bytes query = request->query;
    char id[INCOMING_ID_BYTES];
    struct err err = {0};
    if (!request->has_body)
        return refuse(refusal, 411, "length_required", NULL,
                      "The model's file is the body: send it with Content-Length, or chunked.");
    if (query.n > 0 && (query.n <= n_key || memcmp(query.p, key, n_key) != 0))
        return refuse(refusal, 400, "invalid_value", NULL,
                      "What may follow the '?' is sha256= with 64 hexadecimal digits.");
    if (query.n > 0)
        query = (struct bytes){query.p + n_key, query.n - n_key};
    upload_id(id, ONE_PIECE);
    const struct incoming_wish wish = {.id = bytes_of(id),
                                       .name = model_of(path_behind(request, "/v1/models/")),
                                       .n_bytes = request->body_bytes,
                                       .sha256 = query};
    if (incoming_make(api->options.store, &wish, &plan->incoming, &err) != OK)
        return refuse_arrival(refusal, &err);
    plan->cap_bytes = request->body_bytes > 0 ? request->body_bytes : BODY_FILE_BYTES_MOST;
    return true;
}

void model_put(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct taking_plan plan = {
        .finishes = true, .one_shot = true, .errors = ERRORS_OPENAI, .done = put_told};
    if (put_read(api, request, &plan, &refusal))
        taking_begin(api, exchange, &plan);
    else
        refusal_reply(exchange, &refusal);
}

void uploads_begin(struct api *api)
{
    const struct store *store = api->options.store;
    for (size_t i = store_n_incoming(store); i-- > 0;) { // what is deleted is counted no more
        struct incoming *incoming = store_incoming(store, i);
        if (incoming_at(incoming)->phase == INCOMING_ARRIVES &&
            strncmp(incoming_at(incoming)->id, ONE_PIECE, sizeof(ONE_PIECE) - 1) == 0)
            incoming_delete(incoming);
    }
}
