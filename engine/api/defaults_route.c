// defaults_route.c - POST /v1/models/defaults:
//
//   {"model": "qwen3", "temperature": 0.6, "top_k": 20, "stop": null, "ctx": 16384}
//
// sets what is named, null takes it back, and the rest stays. It counts at once, and is answered
// when it is on the disk.
#include "defaults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct defaults_put {        // one that is being written
    struct scribe_wait wait; // the first
    char name[STORE_NAME_BYTES];
};

static void put_reply(const struct api *api, const struct defaults_put *put, const struct err *err)
{
    struct refusal refusal;
    struct json json;
    if (err->status != OK) {
        (void)refuse(&refusal, 500, "not_kept", NULL,
                     "The defaults count, but only until a restart: %s.", err->text);
        refusal_reply(put->wait.exchange, &refusal);
        return;
    }
    json_init(&json, 16384);
    json_object(&json, NULL);
    json_string(&json, "model", put->name);
    if (defaults_find(api, put->name)) {
        defaults_write(&json, api, put->name);
    } else {
        json_object(&json, "defaults");
        json_end(&json);
    }
    json_end(&json);
    json_reply(put->wait.exchange, 200, &json);
}

static void put_drop(struct scribe_wait *wait)
{
    free(wait);
}

static void put_ended(struct api *api, struct scribe_wait *wait, const struct err *err)
{
    if (wait->exchange)
        put_reply(api, (const struct defaults_put *)wait, err);
    put_drop(wait);
}

static void put_begin(struct api *api, struct exchange *exchange, const char *name)
{
    struct refusal refusal;
    struct defaults_put *put = mem_alloc(sizeof(*put));
    const uint64_t id = scribe_waits_id(api);
    put->wait = (struct scribe_wait){.ended = put_ended, .drop = put_drop};
    snprintf(put->name, sizeof(put->name), "%s", name);
    if (!defaults_save(api, id)) {
        free(put);
        (void)refuse(&refusal, 500, "not_kept", NULL,
                     "The defaults count, but only until a restart: the disk is too slow.");
        refusal_reply(exchange, &refusal);
        return;
    }
    exchange_note(exchange, "defaults of %s", name);
    scribe_waits_add(api, &put->wait, id, exchange);
}

static bool context_good(const struct api *api, const struct store_model *model, yyjson_val *root,
                         struct refusal *refusal)
{
    const bool given = yyjson_is_num(yyjson_obj_get(root, "ctx"));
    return !given || !model_is_of_start(api, model) ||
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
    if (!defaults_find(api, gone))
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
    if (defaults_good(root, &refusal) && text_field(root, "model", &name, &refusal) &&
        name_take(api, name, root, found, &refusal) &&
        (n < DEFAULTS_MOST || defaults_find(api, found) ||
         refuse(&refusal, 409, "too_many", "model", "%d models have defaults, which is the most.",
                DEFAULTS_MOST)))
        doc = defaults_merged(api, found, root, &refusal);
    body_close(&body);
    if (!doc) {
        refusal_reply(exchange, &refusal);
        return;
    }
    defaults_keep(api, found, doc);
    put_begin(api, exchange, found);
}
