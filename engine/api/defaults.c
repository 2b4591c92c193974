// defaults.c - POST /v1/models/defaults: how a model draws its tokens where a request says nothing
// about it, and with what context a request loads it:
//
//   {"model": "qwen3", "temperature": 0.6, "top_k": 20, "stop": null, "ctx": 16384}
//
// sets what is named, null takes it back, and the rest stays. The fields are read by the readers of
// the dialects themselves, at once and again for each request, before its own: so nothing is kept
// here that a request could not say, and what it says counts. What there is stands in /v1/models
// (`defaults`), and in STATE/model-defaults.json:
//
//   {"qwen3": {"temperature": 0.6, ...}, ...}
#include "fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct model_default {
    struct model_default *next;
    char name[STORE_NAME_BYTES];
    yyjson_doc *doc; // an object of default_fields
};

struct defaults_put { // one that is being written
    struct defaults_put *next;
    struct exchange *exchange; // NULL: the client is gone
    uint64_t id;
    char name[STORE_NAME_BYTES];
};

// ---- the fields -----------------------------------------------------------------------------

static bool read_as_chats_do(struct reading *r, const char *name, yyjson_val *value)
{
    return field_reader_of(&openai_chat, name)(r, name, value);
}

static bool read_ctx(struct reading *r, const char *name, yyjson_val *value)
{
    int64_t n_ctx;
    if (!take_whole(r, name, value, 256, 1 << 20, &n_ctx))
        return false;
    r->ask->n_ctx = (int32_t)n_ctx;
    return true;
}

static const struct field default_fields[] = {
    {"model", read_model},
    {"ctx", read_ctx},
    {"keep_alive", read_as_chats_do},
    {"temperature", read_as_chats_do},
    {"top_p", read_as_chats_do},
    {"top_k", read_as_chats_do},
    {"min_p", read_as_chats_do},
    {"typical_p", read_as_chats_do},
    {"top_n_sigma", read_as_chats_do},
    {"repeat_penalty", read_as_chats_do},
    {"repeat_last_n", read_as_chats_do},
    {"presence_penalty", read_as_chats_do},
    {"frequency_penalty", read_as_chats_do},
    {"xtc_probability", read_as_chats_do},
    {"xtc_threshold", read_as_chats_do},
    {"dry_multiplier", read_as_chats_do},
    {"dry_base", read_as_chats_do},
    {"dry_allowed_length", read_as_chats_do},
    {"dry_penalty_last_n", read_as_chats_do},
    {"max_tokens", read_as_chats_do},
    {"stop", read_as_chats_do},
    {NULL, NULL},
};

static bool finish(struct reading *r)
{
    (void)r;
    return true;
}

const struct dialect model_defaults = {.fields = {default_fields}, .finish = finish};

// ---- what is kept ---------------------------------------------------------------------------

static const struct model_default *find(const struct api *api, const char *name)
{
    for (const struct model_default *one = api->defaults; one; one = one->next)
        if (strcmp(one->name, name) == 0)
            return one;
    return NULL;
}

static void member_write(struct json *json, const char *name, yyjson_val *value)
{
    size_t i, n;
    yyjson_val *item;
    if (yyjson_is_num(value))
        json_exact(json, name, yyjson_get_num(value));
    else if (yyjson_is_str(value))
        json_text(json, name,
                  (struct bytes){(const uint8_t *)yyjson_get_str(value), yyjson_get_len(value)});
    if (!yyjson_is_arr(value))
        return;
    json_array(json, name);
    yyjson_arr_foreach(value, i, n, item)
    {
        member_write(json, NULL, item);
    }
    json_end(json);
}

// The members of `old`, with those of `said` in their place; null is none.
static void members_write(struct json *json, yyjson_val *old, yyjson_val *said)
{
    for (const struct field *field = default_fields + 1; field->name; field++) {
        yyjson_val *value = yyjson_obj_get(said, field->name);
        if (!value)
            value = yyjson_obj_get(old, field->name);
        member_write(json, field->name, value);
    }
}

void defaults_write(struct json *json, const struct api *api, const char *model)
{
    const struct model_default *one = find(api, model);
    if (!one)
        return;
    json_object(json, "defaults");
    members_write(json, yyjson_doc_get_root(one->doc), NULL);
    json_end(json);
}

// All that says how a text is asked for, before the request's own fields are read.
bool defaults_read(const struct api *api, yyjson_val *model, struct reading *r)
{
    const struct bytes name = {(const uint8_t *)yyjson_get_str(model), yyjson_get_len(model)};
    const struct store_model *found = NULL;
    const struct model_default *one = NULL;
    struct refusal none;
    size_t i, n;
    yyjson_val *key, *value;
    if (!api->defaults)
        return true;
    if (name.p && name.n > 0)
        (void)model_find(api, name, &found, &none);
    else
        found = model_of_start(api);
    one = found ? find(api, found->name) : NULL;
    if (!one)
        return true;
    yyjson_obj_foreach(yyjson_doc_get_root(one->doc), i, n, key, value)
    {
        const char *field = yyjson_get_str(key);
        if (strcmp(field, "ctx") != 0 && !read_as_chats_do(r, field, value))
            return false;
    }
    r->max_seen = false;
    return true;
}

int32_t defaults_context(const struct api *api, const char *model)
{
    const struct model_default *one = find(api, model);
    return one ? (int32_t)yyjson_get_int(yyjson_obj_get(yyjson_doc_get_root(one->doc), "ctx")) : 0;
}

static void forget(struct api *api, const char *name)
{
    for (struct model_default **at = &api->defaults; *at; at = &(*at)->next) {
        struct model_default *one = *at;
        if (strcmp(one->name, name) != 0)
            continue;
        *at = one->next;
        yyjson_doc_free(one->doc);
        free(one);
        return;
    }
}

static void keep(struct api *api, const char *name, yyjson_doc *doc)
{
    forget(api, name);
    if (yyjson_obj_size(yyjson_doc_get_root(doc)) == 0) {
        yyjson_doc_free(doc);
        return;
    }
    struct model_default *one = mem_alloc(sizeof(*one));
    snprintf(one->name, sizeof(one->name), "%s", name);
    one->doc = doc;
    one->next = api->defaults;
    api->defaults = one;
}

// ---- reading what is to be ------------------------------------------------------------------

// Whether every member is a field, and its reader takes it.
static bool members_good(yyjson_val *root, struct refusal *refusal)
{
    struct job *job = job_open();
    struct form form = {.dialect = &openai_chat, .n_prompts = 1};
    struct reading r = {.ask = &job->ask, .arena = &job->arena, .form = &form, .refusal = refusal};
    size_t i, n;
    yyjson_val *key, *value;
    bool good = true;
    yyjson_obj_foreach(root, i, n, key, value)
    {
        const char *name = yyjson_get_str(key);
        field_reader *read = field_reader_of(&model_defaults, name);
        if (!read)
            good = refuse(refusal, 400, "unknown_parameter", name,
                          "A model has no default '%.60s'; GET /v1/reference lists those it has.",
                          name);
        else if (!yyjson_is_null(value))
            good = read(&r, name, value);
        if (!good)
            break;
    }
    job_close(job);
    return good;
}

// What the model's defaults are to become; NULL: refused.
static yyjson_doc *merged(struct api *api, const char *name, yyjson_val *said,
                          struct refusal *refusal)
{
    const struct model_default *old = find(api, name);
    struct json json;
    json_init(&json, DEFAULTS_BYTES);
    json_object(&json, NULL);
    members_write(&json, old ? yyjson_doc_get_root(old->doc) : NULL, said);
    json_end(&json);
    const enum status status = json_done(&json);
    yyjson_doc *doc = status == OK
                          ? yyjson_read((const char *)json.text.p, json.text.n, YYJSON_READ_NOFLAG)
                          : NULL;
    json_free(&json);
    if (!doc)
        (void)refuse(refusal, 413, "request_too_large", "stop",
                     "The defaults of a model may take %d bytes.", DEFAULTS_BYTES);
    return doc;
}

static bool file_write_out(struct api *api, uint64_t id)
{
    struct json json;
    char path[600];
    snprintf(path, sizeof(path), "%s/model-defaults.json", api->state);
    json_init(&json, DEFAULTS_FILE_BYTES);
    json_object(&json, NULL);
    for (const struct model_default *one = api->defaults; one; one = one->next) {
        json_object(&json, one->name);
        members_write(&json, yyjson_doc_get_root(one->doc), NULL);
        json_end(&json);
    }
    json_end(&json);
    if (json_done(&json) == OK)
        return scribe_write(api->scribe, id, path, &json.text);
    json_free(&json);
    return false;
}

static void one_open(struct api *api, yyjson_val *name, yyjson_val *value, const char *path)
{
    struct refusal refusal = {0};
    if (yyjson_get_len(name) >= STORE_NAME_BYTES || !yyjson_is_obj(value))
        (void)refuse(&refusal, 400, NULL, NULL, "it is no object");
    else if (members_good(value, &refusal)) {
        yyjson_doc *doc = merged(api, yyjson_get_str(name), value, &refusal);
        if (doc)
            keep(api, yyjson_get_str(name), doc);
    }
    if (refusal.http)
        log_warn("%s: the defaults of '%.100s' are left out: %s", path, yyjson_get_str(name),
                 refusal.text);
}

void defaults_open(struct api *api)
{
    struct buf file;
    struct body body;
    struct err err = {0};
    struct refusal refusal;
    char path[600];
    size_t i, n;
    yyjson_val *key, *value;
    snprintf(path, sizeof(path), "%s/model-defaults.json", api->state);
    const enum status status = file_read(&file, path, DEFAULTS_FILE_BYTES, &err);
    if (status != OK) {
        if (status != NOT_FOUND)
            log_warn("models have no defaults: %s", err.text);
        return;
    }
    if (body_open(&body, buf_view(&file), &refusal)) {
        yyjson_obj_foreach(yyjson_doc_get_root(body.doc), i, n, key, value)
        {
            if (i < DEFAULTS_MOST)
                one_open(api, key, value, path);
        }
        body_close(&body);
    } else {
        log_warn("models have no defaults: %s cannot be used: %s", path, refusal.text);
    }
    buf_free(&file);
}

// ---- the route ------------------------------------------------------------------------------

static void put_gone(void *arg, struct exchange *exchange)
{
    struct defaults_put *put = arg;
    if (put->exchange == exchange)
        put->exchange = NULL;
}

static void put_begin(struct api *api, struct exchange *exchange, const char *name)
{
    struct refusal refusal;
    struct defaults_put *put = mem_alloc(sizeof(*put));
    put->exchange = exchange;
    put->id = ++api->last_keeping;
    snprintf(put->name, sizeof(put->name), "%s", name);
    if (!file_write_out(api, put->id)) {
        free(put);
        (void)refuse(&refusal, 500, "not_kept", NULL,
                     "The defaults count, but only until a restart: the disk is too slow.");
        refusal_reply(exchange, &refusal);
        return;
    }
    exchange_note(exchange, "defaults of %s", name);
    exchange_owner(exchange, put_gone, put);
    put->next = api->defaults_puts;
    api->defaults_puts = put;
}

static bool context_good(const struct api *api, const struct store_model *model, yyjson_val *root,
                         struct refusal *refusal)
{
    const bool given = yyjson_is_num(yyjson_obj_get(root, "ctx"));
    return !given || model != model_of_start(api) ||
           refuse(refusal, 400, "unsupported_value", "ctx",
                  "'%s' is the model of the start: its context is the setting 'ctx'.", model->name);
}

// By a name of its own or of a model that is gone, of which all may be taken back. False: refused.
static bool name_take(struct api *api, struct bytes name, yyjson_val *root,
                      char out[STORE_NAME_BYTES], struct refusal *refusal)
{
    const struct store_model *model;
    char gone[STORE_NAME_BYTES];
    size_t i, n;
    yyjson_val *key, *value;
    if (model_find(api, name, &model, refusal)) {
        snprintf(out, STORE_NAME_BYTES, "%s", model->name);
        return context_good(api, model, root, refusal);
    }
    snprintf(gone, sizeof(gone), "%.*s", (int)(name.n < sizeof(gone) ? name.n : 0),
             (const char *)name.p);
    if (!find(api, gone))
        return false;
    yyjson_obj_foreach(root, i, n, key, value)
    {
        if (!yyjson_is_null(value) && !yyjson_equals_str(key, "model"))
            return false;
    }
    snprintf(out, STORE_NAME_BYTES, "%s", gone);
    return true;
}

void model_defaults_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct body body;
    struct bytes name;
    yyjson_doc *doc = NULL;
    char found[STORE_NAME_BYTES] = "";
    size_t n = 0;
    if (!body_open(&body, request->body, &refusal)) {
        refusal_reply(exchange, &refusal);
        return;
    }
    yyjson_val *root = yyjson_doc_get_root(body.doc);
    for (const struct model_default *one = api->defaults; one; one = one->next)
        n++;
    if (members_good(root, &refusal) && text_field(root, "model", &name, &refusal) &&
        name_take(api, name, root, found, &refusal) &&
        (n < DEFAULTS_MOST || find(api, found) ||
         refuse(&refusal, 409, "too_many", "model", "%d models have defaults, which is the most.",
                DEFAULTS_MOST)))
        doc = merged(api, found, root, &refusal);
    body_close(&body);
    if (!doc) {
        refusal_reply(exchange, &refusal);
        return;
    }
    keep(api, found, doc);
    put_begin(api, exchange, found);
}

static void put_reply(struct api *api, const struct defaults_put *put, const struct err *err)
{
    struct refusal refusal;
    struct json json;
    if (err->status != OK) {
        (void)refuse(&refusal, 500, "not_kept", NULL,
                     "The defaults count, but only until a restart: %s.", err->text);
        refusal_reply(put->exchange, &refusal);
        return;
    }
    json_init(&json, 16384);
    json_object(&json, NULL);
    json_string(&json, "model", put->name);
    if (find(api, put->name)) {
        defaults_write(&json, api, put->name);
    } else {
        json_object(&json, "defaults");
        json_end(&json);
    }
    json_end(&json);
    json_reply(put->exchange, 200, &json);
}

// What cannot be written now is logged, and counts until a restart.
void defaults_forget(struct api *api, const char *model)
{
    if (!find(api, model))
        return;
    forget(api, model);
    (void)file_write_out(api, 0);
}

bool defaults_kept(struct api *api, const struct scribed *outcome)
{
    for (struct defaults_put **at = &api->defaults_puts; *at; at = &(*at)->next) {
        struct defaults_put *put = *at;
        if (put->id != outcome->id)
            continue;
        *at = put->next;
        if (put->exchange)
            put_reply(api, put, &outcome->err);
        free(put);
        return true;
    }
    return false;
}

void defaults_close(struct api *api)
{
    while (api->defaults_puts) {
        struct defaults_put *put = api->defaults_puts;
        api->defaults_puts = put->next;
        free(put);
    }
    while (api->defaults)
        forget(api, api->defaults->name);
}
