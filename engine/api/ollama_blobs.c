// ollama_blobs.c - files that Ollama's clients send by their SHA-256 (/api/blobs/sha256:HEX), and
// models that are created of them.
//
// A blob is an arrival without a name (incoming.h) whose id is its digest; create gives it one, and
// with it a place among the models. A digest that a model's file has already is a blob that is
// here: what is created of it is a copy of that model. A blob that is sent again begins anew.
#include "chores.h"
#include "ollama.h"
#include "taking.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS_MOST = 24 }; // as many changes of models may be under way at once

// The 64 digits of "sha256:HEX" ("sha256-HEX" is an older way to write it). False: it is none.
static bool read_digest(char out[SHA256_TEXT], struct bytes text)
{
    return text.n > 7 && memcmp(text.p, "sha256", 6) == 0 &&
           (text.p[6] == ':' || text.p[6] == '-') &&
           sha256_read(out, (struct bytes){text.p + 7, text.n - 7});
}

static const char *blob_id(char out[INCOMING_ID_BYTES], const char *digest)
{
    snprintf(out, INCOMING_ID_BYTES, "sha256-%s", digest);
    return out;
}

static struct incoming *blob_find(const struct api *api, const char *digest)
{
    char id[INCOMING_ID_BYTES];
    return store_incoming_find(api->options.store, bytes_of(blob_id(id, digest)));
}

static bool is_whole(const struct incoming *blob)
{
    return blob && incoming_at(blob)->phase == INCOMING_KEPT;
}

// Whole, here, and without a name; or the file of a model.
static bool blob_is_here(const struct api *api, const char *digest)
{
    return is_whole(blob_find(api, digest)) ||
           store_find_digest(api->options.store, bytes_of(digest));
}

static bool digest_in_path(const struct request *request, char out[SHA256_TEXT],
                           struct refusal *refusal)
{
    return read_digest(out, path_behind(request, "/api/blobs/")) ||
           refuse(refusal, 400, "invalid_value", NULL,
                  "A blob is called sha256: and 64 hexadecimal digits.");
}

void ollama_blob_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    char digest[SHA256_TEXT];
    struct refusal refusal;
    bool good = digest_in_path(request, digest, &refusal);
    if (good && !blob_is_here(api, digest))
        good = refuse(&refusal, 404, "blob_not_found", NULL, "There is no such blob.");
    if (good)
        exchange_reply(exchange, 200, "text/plain; charset=utf-8", (struct bytes){NULL, 0});
    else
        ollama_refuse(exchange, &refusal);
}

static void blob_told(struct api *api, struct exchange *exchange, const struct arrival *at)
{
    (void)api;
    exchange_note(exchange, "%llu bytes", (unsigned long long)at->n_bytes);
    exchange_reply(exchange, 201, "text/plain; charset=utf-8", (struct bytes){NULL, 0});
}

static bool blob_make(struct api *api, const struct request *request, const char *digest,
                      struct taking_plan *plan, struct refusal *refusal)
{
    char id[INCOMING_ID_BYTES];
    struct err err = {0};
    struct incoming *before = blob_find(api, digest);
    if (!request->has_body)
        return refuse(refusal, 400, "invalid_value", NULL, "The body is the blob; it is missing.");
    if (before && incoming_at(before)->phase == INCOMING_ENDS)
        return refuse(refusal, 409, "upload_checked", NULL,
                      "The blob is here, and is being checked.");
    if (before)
        incoming_delete(before);
    const struct incoming_wish wish = {.id = bytes_of(blob_id(id, digest)),
                                       .n_bytes = request->body_bytes,
                                       .sha256 = bytes_of(digest)};
    if (incoming_make(api->options.store, &wish, &plan->incoming, &err) != OK)
        return refuse_arrival(refusal, &err);
    plan->cap_bytes = request->body_bytes > 0 ? request->body_bytes : BODY_FILE_BYTES_MOST;
    return true;
}

void ollama_blob_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct taking_plan plan = {
        .finishes = true, .one_shot = true, .errors = ERRORS_OLLAMA, .done = blob_told};
    char digest[SHA256_TEXT];
    struct refusal refusal;
    if (!digest_in_path(request, digest, &refusal))
        ollama_refuse(exchange, &refusal);
    else if (blob_is_here(api, digest))
        exchange_reply(exchange, 200, "text/plain; charset=utf-8", (struct bytes){NULL, 0});
    else if (blob_make(api, request, digest, &plan, &refusal))
        taking_begin(api, exchange, &plan);
    else
        ollama_refuse(exchange, &refusal);
}

// ---- models of blobs ----------------------------------------------------------------------------

static void created_told(struct api *api, const struct chore *chore)
{
    struct refusal refusal;
    if (store_find_file(api->options.store, bytes_of(chore->name))) {
        ollama_success(chore->exchange);
        return;
    }
    (void)refuse(&refusal, 400, "invalid_value", "files",
                 "The files are parts of a model, and not all of its parts are here.");
    ollama_refuse(chore->exchange, &refusal);
}

static const struct chore_teller created_teller = {ERRORS_OLLAMA, created_told};

// Of a part's file the model's own name with the same ending: NAME-00001-of-00003.
static struct bytes part_name(char out[STORE_NAME_BYTES], struct bytes name, struct bytes file)
{
    const size_t n_ending = sizeof("-00001-of-00003.gguf") - 1;
    if (file.n <= n_ending)
        return name;
    snprintf(out, STORE_NAME_BYTES, "%.*s%.*s", (int)(name.n < 200 ? name.n : 200),
             (const char *)name.p, (int)n_ending - 5, (const char *)file.p + file.n - n_ending);
    return bytes_of(out);
}

struct blobs { // of one model
    struct incoming *incoming[PARTS_MOST];
    struct bytes file[PARTS_MOST];
    size_t n;
    const struct store_model *model; // whose file it is already
};

static bool blobs_read(const struct api *api, yyjson_val *files, struct blobs *out,
                       struct refusal *refusal)
{
    size_t i, n;
    yyjson_val *key, *value;
    *out = (struct blobs){.n = 0};
    if (!yyjson_is_obj(files) || yyjson_obj_size(files) > PARTS_MOST)
        return refuse(refusal, 400, "invalid_value", "files",
                      "'files' must be an object of at most %d files: {\"model.gguf\": "
                      "\"sha256:...\"}.",
                      PARTS_MOST);
    yyjson_obj_foreach(files, i, n, key, value)
    {
        const struct bytes file = string_of(key);
        char digest[SHA256_TEXT];
        if (!read_digest(digest, string_of(value)))
            return refuse(refusal, 400, "invalid_value", "files",
                          "'files' must name each file's digest: sha256: and 64 hexadecimal "
                          "digits.");
        if (!blob_is_here(api, digest))
            return refuse(refusal, 400, "blob_not_found", "files",
                          "There is no blob sha256:%s: send it to /api/blobs first.", digest);
        struct incoming *blob = blob_find(api, digest);
        if (!is_whole(blob))
            out->model = store_find_digest(api->options.store, bytes_of(digest));
        out->incoming[out->n] = blob;
        out->file[out->n++] = file;
    }
    return !out->model || out->n == 1 ||
           refuse(refusal, 400, "unsupported_value", "files",
                  "One of the files is the model '%s' already.", out->model->name);
}

bool ollama_create_files(struct api *api, struct exchange *exchange, struct bytes name,
                         yyjson_val *files, struct refusal *refusal)
{
    struct blobs *blobs = mem_alloc(sizeof(*blobs));
    char text[STORE_NAME_BYTES];
    struct err err = {0};
    bool good = blobs_read(api, files, blobs, refusal);
    if (good && blobs->model) {
        chore_copy(api, exchange, blobs->model, name, &created_teller);
    } else if (good) {
        for (size_t i = 0; i + 1 < blobs->n && good; i++) {
            const struct bytes part = part_name(text, name, blobs->file[i]);
            good = incoming_name(blobs->incoming[i], ++api->last_id, part, &err) == OK ||
                   refuse_arrival(refusal, &err);
        }
        if (good)
            chore_incoming(api, exchange, blobs->incoming[blobs->n - 1],
                           blobs->n > 1 ? part_name(text, name, blobs->file[blobs->n - 1]) : name,
                           name, &created_teller);
    }
    free(blobs);
    return good;
}
