// ollama_store.c - what Ollama's clients ask to be done with models: pull, push, create, copy,
// delete, and the blobs that create is made of.
//
// A pull of a model that is here has nothing to do, and says so. Everything else is refused with
// what to do instead.
#include "ollama.h"

#include <string.h>

// ---- the body that names a model ------------------------------------------------------------

bool ollama_named_open(struct ollama_named *named, struct bytes body, const char *field,
                       struct refusal *refusal)
{
    *named = (struct ollama_named){.stream = true};
    if (!body_open(&named->body, body, refusal))
        return false;
    named->is_open = true;
    yyjson_val *root = yyjson_doc_get_root(named->body.doc), *name = yyjson_obj_get(root, field);
    if (!name && strcmp(field, "model") == 0)
        name = yyjson_obj_get(root, "name"); // what it was called at first
    if (!yyjson_is_str(name) || yyjson_get_len(name) == 0)
        return refuse(refusal, 400, "missing_required_parameter", field,
                      "'%s' is missing; it must be the name of a model.", field);
    named->name = model_name_meant(
        (struct bytes){(const uint8_t *)yyjson_get_str(name), yyjson_get_len(name)});
    named->verbose = yyjson_is_true(yyjson_obj_get(root, "verbose"));
    named->stream = !yyjson_is_false(yyjson_obj_get(root, "stream"));
    return true;
}

void ollama_named_close(struct ollama_named *named)
{
    if (named->is_open)
        body_close(&named->body);
}

// ---- answers --------------------------------------------------------------------------------

static void refuse_now(struct exchange *exchange, struct refusal *refusal)
{
    refusal->shape = ERRORS_OLLAMA;
    refusal_reply(exchange, refusal);
}

static const char ADD[] =
    "put the GGUF file into models/ on the data partition, or name it in the setting model, and "
    "restart the box";

void ollama_pull_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct ollama_named named;
    struct refusal refusal;
    struct json json;
    bool good = ollama_named_open(&named, request->body, "model", &refusal) &&
                model_is_ready(api, &refusal);
    if (good && model_is_ours(api, named.name, &refusal)) {
        json_init(&json, 256);
        json_object(&json, NULL);
        json_string(&json, "status", "success"); // it is here already
        json_end(&json);
        json_reply(exchange, 200, &json);
    } else {
        if (good)
            (void)refuse(&refusal, 501, "not_implemented", "model",
                         "Models cannot be pulled yet: %s.", ADD);
        refuse_now(exchange, &refusal);
    }
    ollama_named_close(&named);
}

void ollama_push_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)api, (void)request;
    struct refusal refusal;
    (void)refuse(&refusal, 501, "not_implemented", NULL,
                 "This box gives its models to nobody: there is no push.");
    refuse_now(exchange, &refusal);
}

static void refuse_change(struct exchange *exchange, const char *what)
{
    struct refusal refusal;
    (void)refuse(&refusal, 501, "not_implemented", NULL,
                 "Models cannot be %s through the API yet: %s.", what, ADD);
    refuse_now(exchange, &refusal);
}

void ollama_create_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)api, (void)request;
    refuse_change(exchange, "created");
}

void ollama_copy_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)api, (void)request;
    refuse_change(exchange, "copied");
}

void ollama_delete(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)api, (void)request;
    refuse_change(exchange, "deleted");
}

void ollama_blob_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)api, (void)request;
    struct refusal refusal;
    (void)refuse(&refusal, 404, "blob_not_found", NULL, "There is no such blob.");
    refuse_now(exchange, &refusal);
}

void ollama_blob_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)api, (void)request;
    refuse_change(exchange, "uploaded");
}
