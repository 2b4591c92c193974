// ollama_store.c - what Ollama's clients ask to be done with models: push, create, copy, delete.
//
// Pulls are in pull_route.c. A copy is a second name of the file; of a model in a folder that is
// only read it is an alias, which is then listed and deleted as a model is. Create makes a copy
// too, or a model of blobs (ollama_blobs.c): it has nothing of its own but what its file says, so
// whatever would change that is refused with what to do instead.
#include "chores.h"
#include "ollama.h"

#include <string.h>

// ---- the body that names a model ------------------------------------------------------------

// A member that must be the name of a model.
static bool name_of(yyjson_val *root, const char *field, struct bytes *out, struct refusal *refusal)
{
    if (yyjson_obj_get(root, field) && !text_field(root, field, out, refusal))
        return false;
    if (yyjson_get_len(yyjson_obj_get(root, field)) == 0)
        return refuse(refusal, 400, "missing_required_parameter", field,
                      "'%s' is missing; it must be the name of a model.", field);
    return true;
}

bool ollama_named_open(struct ollama_named *named, struct bytes body, const char *field,
                       struct refusal *refusal)
{
    *named = (struct ollama_named){.stream = true};
    if (!body_open(&named->body, body, refusal))
        return false;
    named->is_open = true;
    yyjson_val *root = yyjson_doc_get_root(named->body.doc);
    if (strcmp(field, "model") == 0 && !yyjson_obj_get(root, field) && yyjson_obj_get(root, "name"))
        field = "name"; // what it was called at first
    if (!name_of(root, field, &named->name, refusal))
        return false;
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

void ollama_refuse(struct exchange *exchange, struct refusal *refusal)
{
    refusal->shape = ERRORS_OLLAMA;
    refusal_reply(exchange, refusal);
}

void ollama_success(struct exchange *exchange)
{
    struct json json;
    json_init(&json, 256);
    json_object(&json, NULL);
    json_string(&json, "status", "success");
    json_end(&json);
    json_reply(exchange, 200, &json);
}

static void success_told(struct api *api, const struct chore *chore)
{
    (void)api;
    ollama_success(chore->exchange);
}

static void nothing_told(struct api *api, const struct chore *chore)
{
    (void)api;
    exchange_reply(chore->exchange, 200, "text/plain; charset=utf-8", bytes_of(""));
}

static const struct chore_teller success_teller = {ERRORS_OLLAMA, success_told},
                                 nothing_teller = {ERRORS_OLLAMA, nothing_told};

// ---- push -----------------------------------------------------------------------------------

void ollama_push_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)api, (void)request;
    struct refusal refusal;
    (void)refuse(&refusal, 501, "not_implemented", NULL,
                 "This box gives its models to nobody: there is no push.");
    ollama_refuse(exchange, &refusal);
}

// ---- create, copy, delete -------------------------------------------------------------------

static bool is_empty(yyjson_val *value)
{
    return !value || yyjson_is_null(value) ||
           (yyjson_is_str(value) && yyjson_get_len(value) == 0) ||
           (yyjson_is_ctn(value) && yyjson_get_len(value) == 0);
}

// What would make of the copy another model.
static bool only_copies(yyjson_val *root, struct refusal *refusal)
{
    static const struct {
        const char *field, *instead;
    } others[] = {
        {"adapters", "models are taken as their files are; put a GGUF file with the adapter merged "
                     "into it into models/ on the data partition"},
        {"quantize", "put the GGUF file that is quantised so into models/ on the data partition"},
        {"modelfile", "send 'from' with the name of a model that is here"},
        {"template", "the chat template is the file's own; to write whole prompts yourself, send "
                     "them to /api/generate with \"raw\": true"},
        {"system", "a copy answers as its model does; send it with each request, as 'system' or "
                   "as the first message"},
        {"parameters", "a copy answers as its model does; send them with each request, as "
                       "'options'"},
        {"messages", "a copy answers as its model does; send them with each request"},
        {"renderer", "the chat template is the file's own"},
        {"parser", "the chat template is the file's own"},
        {"license", "a copy has its file's own"},
    };
    for (size_t i = 0; i < COUNT_OF(others); i++)
        if (!is_empty(yyjson_obj_get(root, others[i].field)))
            return refuse(refusal, 400, "unsupported_value", others[i].field,
                          "'%s' is not supported: %s.", others[i].field, others[i].instead);
    return true;
}

// {"model": NAME, "from": NAME} or {"model": NAME, "files": {FILE: DIGEST}}
void ollama_create_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    const struct store_model *model;
    struct ollama_named named;
    struct refusal refusal;
    struct bytes from;
    bool good = ollama_named_open(&named, request->body, "model", &refusal) &&
                only_copies(yyjson_doc_get_root(named.body.doc), &refusal);
    yyjson_val *root = good ? yyjson_doc_get_root(named.body.doc) : NULL;
    yyjson_val *files = yyjson_obj_get(root, "files");
    const struct bytes name = good ? model_name_meant(named.name) : (struct bytes){NULL, 0};
    if (good && !is_empty(files) && !is_empty(yyjson_obj_get(root, "from")))
        good = refuse(&refusal, 400, "unsupported_value", "from",
                      "'from' and 'files' are both there: a model is made of another one, or of "
                      "files.");
    else if (good && !is_empty(files))
        good = ollama_create_files(api, exchange, name, files, &refusal);
    else if (good && name_of(root, "from", &from, &refusal) &&
             model_find(api, from, &model, &refusal))
        chore_copy(api, exchange, model, name, &success_teller);
    else
        good = false;
    if (!good)
        ollama_refuse(exchange, &refusal);
    ollama_named_close(&named);
}

// {"source": NAME, "destination": NAME}
void ollama_copy_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    const struct store_model *model;
    struct ollama_named named;
    struct refusal refusal;
    struct bytes to;
    if (ollama_named_open(&named, request->body, "source", &refusal) &&
        name_of(yyjson_doc_get_root(named.body.doc), "destination", &to, &refusal) &&
        model_find(api, named.name, &model, &refusal))
        chore_copy(api, exchange, model, model_name_meant(to), &nothing_teller);
    else
        ollama_refuse(exchange, &refusal);
    ollama_named_close(&named);
}

bool ollama_is_alias(const struct store *store, struct bytes name)
{
    for (size_t i = 0; i < store_n_aliases(store); i++)
        if (bytes_equal_text(name, store_alias(store, i)->name))
            return true;
    return false;
}

// By its own name, or an alias by that: never the model that an alias means. True: it is under way.
static bool delete_named(struct api *api, struct exchange *exchange, uint64_t who,
                         struct bytes name, struct refusal *refusal)
{
    const struct store *store = api->options.store;
    const struct store_model *file = store_find_file(store, name), *other;
    char shown[SHOWN_TEXT];
    if (file && !file->is_ours)
        return refuse(refusal, 409, "not_allowed", "model",
                      "The model '%s' lies where nothing can be deleted.", file->name);
    if (file)
        chore_delete(api, exchange, who, file, &nothing_teller);
    else if (ollama_is_alias(store, name))
        chore_name(api, exchange, name, (struct bytes){NULL, 0}, &nothing_teller);
    else
        return model_find(api, name, &other, refusal)
                   ? refuse(refusal, 404, "model_not_found", "model",
                            "model '%s' not found: the alias '*' has '%s' answer for it.",
                            shown_text(shown, name), other->name)
                   : false;
    return true;
}

void ollama_delete(struct api *api, struct exchange *exchange, const struct request *request)
{
    const struct store *store = api->options.store;
    struct ollama_named named;
    struct refusal refusal;
    bool good = ollama_named_open(&named, request->body, "model", &refusal);
    if (good && !store_find_file(store, named.name) && !ollama_is_alias(store, named.name))
        named.name = model_name_meant(named.name);
    if (!good || !delete_named(api, exchange, request->who, named.name, &refusal))
        ollama_refuse(exchange, &refusal);
    ollama_named_close(&named);
}
