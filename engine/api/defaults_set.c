// defaults_set.c - what a model's defaults become, and the file that keeps them,
// STATE/model-defaults.json:
//
//   {"qwen3": {"temperature": 0.6, "top_k": 20, "ctx": 16384}, ...}
//
// What stands there is read as what a client sets: what would be refused is left out, and said so
// in the log.
#include "defaults.h"

#include <stdio.h>
#include <string.h>

bool defaults_good(yyjson_val *root, struct refusal *refusal)
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

yyjson_doc *defaults_merged(const struct api *api, const char *name, yyjson_val *said,
                            struct refusal *refusal)
{
    const struct model_default *old = defaults_find(api, name);
    struct json json;
    json_init(&json, DEFAULTS_BYTES);
    json_object(&json, NULL);
    defaults_members(&json, old ? yyjson_doc_get_root(old->doc) : NULL, said);
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

// ---- the file -------------------------------------------------------------------------------

bool defaults_save(struct api *api, uint64_t id)
{
    struct json json;
    char path[600];
    snprintf(path, sizeof(path), "%s/model-defaults.json", api->state);
    json_init(&json, DEFAULTS_FILE_BYTES);
    json_object(&json, NULL);
    for (const struct model_default *one = api->defaults; one; one = one->next) {
        json_object(&json, one->name);
        defaults_members(&json, yyjson_doc_get_root(one->doc), NULL);
        json_end(&json);
    }
    json_end(&json);
    if (json_done(&json) == OK)
        return scribe_write(api->scribe, id, path, &json.text);
    json_free(&json);
    return false;
}

// What cannot be written now is logged, and counts until a restart.
void defaults_forget(struct api *api, const char *model)
{
    if (!defaults_find(api, model))
        return;
    defaults_drop(api, model);
    (void)defaults_save(api, 0);
}

static void one_open(struct api *api, yyjson_val *name, yyjson_val *value, const char *path)
{
    struct refusal refusal = {0};
    if (yyjson_get_len(name) >= STORE_NAME_BYTES || !yyjson_is_obj(value))
        (void)refuse(&refusal, 400, NULL, NULL, "it is no object");
    else if (defaults_good(value, &refusal)) {
        yyjson_doc *doc = defaults_merged(api, yyjson_get_str(name), value, &refusal);
        if (doc)
            defaults_keep(api, yyjson_get_str(name), doc);
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
