// models.c - /v1/models: which models there are, in OpenAI's list with what their files say, and
// loading, unloading, deleting and naming them.
//
// `status` is "unloaded", "loading", "ready" or "failed"; `created` is the file's time. What the
// engine or the store must do first is a chore (chores.c): here stands how it is answered.
#include "chores.h"
#include "fields.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// ---- one model ----------------------------------------------------------------------------------

static const char *status_of(const struct sched_model *loaded)
{
    if (!loaded)
        return "unloaded";
    return loaded->state == SCHED_READY    ? "ready"
           : loaded->state == SCHED_FAILED ? "failed"
                                           : "loading";
}

static const char *capability(const struct model_info *model)
{
    if (model->n_vector == 0)
        return "completion";
    return model->pooling == POOLING_RANK ? "rerank" : "embedding";
}

static void loading_write(struct json *json, const struct sched_model *loaded)
{
    const struct model_progress *at = &loaded->loading.at;
    const uint64_t total = at->total_bytes;
    json_object(json, "loading");
    json_string(json, "step", loaded->waits ? "waiting" : at->compiling ? "kernels" : "weights");
    json_whole(json, "percent",
               total > 0 ? (int64_t)(100 * (double)at->done_bytes / (double)total) : 0);
    json_whole(json, "bytes", (int64_t)at->done_bytes);
    json_whole(json, "of_bytes", (int64_t)total);
    if (loaded->loading.left_ms > 0)
        json_whole(json, "seconds_left", (int64_t)(loaded->loading.left_ms + 999) / 1000);
    json_end(json);
}

void loaded_write(struct json *json, const struct sched_model *loaded)
{
    char layers[32];
    json_string(json, "status", status_of(loaded));
    if (loaded && loaded->state == SCHED_FAILED)
        json_string(json, "error", loaded->err.text);
    if (loaded && loaded->state == SCHED_LOADING)
        loading_write(json, loaded);
    if (!loaded || loaded->state != SCHED_READY)
        return;
    snprintf(layers, sizeof(layers), "%d/%d", (int)loaded->info.n_layer_on_device,
             (int)loaded->info.n_layer);
    json_string(json, "layers", layers);
    json_whole(json, "context", loaded->info.n_ctx);
    json_whole(json, "memory", (int64_t)loaded->memory_bytes);
    json_whole(json, "loaded", loaded->loaded_s);
    json_bool(json, "pinned", loaded->is_pinned);
    if (loaded->template_fault.status != OK) // chats are refused with this
        json_string(json, "chat_template_fault", loaded->template_fault.text);
    if (loaded->expires_s > 0)
        json_whole(json, "unloaded_at", loaded->expires_s);
}

// In llama-server's words.
static void meta_write(struct json *json, const struct model_info *model)
{
    json_object(json, "meta");
    json_whole(json, "n_vocab", model->n_vocab);
    json_whole(json, "n_ctx", model->n_ctx);
    json_whole(json, "n_ctx_train", model->n_ctx_train);
    json_whole(json, "n_embd", model->n_embd);
    json_whole(json, "n_params", model->n_params);
    json_whole(json, "size", (int64_t)model->file_bytes);
    json_end(json);
}

// Tokens a second that a device's memory allows at most, where each reads so many bytes of the
// weights and nothing else, at the share of a peak that was seen; 0: the device is none that we
// know.
static int32_t speed_most(const struct compute_info *device, uint64_t token_bytes)
{
    static const struct {
        const char *chip;
        double bytes_per_s;
    } chips[] = {{"gfx1150", 120e9}, {"gfx1151", 256e9}};
    static const double REACHED = 0.85;
    for (size_t i = 0; i < COUNT_OF(chips) && token_bytes > 0; i++)
        if (strcasestr(device->device, chips[i].chip) || strcasestr(device->driver, chips[i].chip))
            return (int32_t)fmin(1e6, chips[i].bytes_per_s * REACHED / (double)token_bytes);
    return 0;
}

// What its file says, and what is loaded of it.
static void model_write(struct json *json, const struct api *api, const struct store_model *model)
{
    const struct store_about *about = &model->about;
    const struct sched_model *loaded = model_loaded(api, bytes_of(model->path));
    const bool ready = loaded && loaded->state == SCHED_READY;
    const int32_t n_vector = ready ? loaded->info.n_vector : about->n_vector;
    const char *can = ready ? capability(&loaded->info) : about->capability;
    json_object(json, NULL);
    json_string(json, "id", model->name);
    json_string(json, "object", "model");
    json_whole(json, "created", model->modified_s ? model->modified_s : api->began_s);
    json_string(json, "owned_by", "tawny");
    json_string(json, "name", ready ? loaded->info.name : about->name);
    json_string(json, "architecture", ready ? loaded->info.arch : about->arch);
    json_string(json, "quantisation", ready ? loaded->info.quantisation : about->quantisation);
    json_whole(json, "n_params", ready ? loaded->info.n_params : about->n_params);
    json_whole(json, "bytes", (int64_t)(model->file_bytes ? model->file_bytes : about->file_bytes));
    json_whole(json, "context_trained", ready ? loaded->info.n_ctx_train : about->n_ctx_train);
    json_array(json, "capabilities"); // Ollama's words, and "rerank"
    if (can[0])
        json_string(json, NULL, can);
    json_end(json);
    if (n_vector > 0 && strcmp(can, "embedding") == 0)
        json_whole(json, "embedding_length", n_vector);
    const int32_t most = speed_most(&sched_status(api->options.sched)->device, about->token_bytes);
    if (most > 0 && n_vector == 0)
        json_whole(json, "tokens_per_second_most", most);
    json_bool(json, "read_only", !model->is_ours);
    json_bool(json, "of_start", model_is_of_start(api, model)); // its context is the setting `ctx`
    if (model->sha256[0])
        json_string(json, "sha256", model->sha256);
    if (model->fault.status != OK)
        json_string(json, "fault", model->fault.text);
    if (ready)
        meta_write(json, &loaded->info);
    defaults_write(json, api, model->name);
    loaded_write(json, loaded);
    json_end(json);
}

static void model_reply(const struct api *api, struct exchange *exchange, const char *name)
{
    const struct store_model *model = store_find_file(api->options.store, bytes_of(name));
    struct refusal refusal;
    struct json json;
    if (!model) {
        (void)refuse(&refusal, 404, "model_not_found", "model", "The model '%.200s' is gone.",
                     name);
        refusal_reply(exchange, &refusal);
        return;
    }
    json_init(&json, 16384);
    model_write(&json, api, model);
    json_reply(exchange, 200, &json);
}

// ---- GET ----------------------------------------------------------------------------------------

void models_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    if (errors_for(request) == ERRORS_ANTHROPIC) {
        anthropic_models_get(api, exchange, request);
        return;
    }
    const struct store *store = api->options.store;
    struct json json;
    json_init(&json, 4 << 20);
    json_object(&json, NULL);
    json_string(&json, "object", "list");
    json_array(&json, "data");
    for (int main = 1; main >= 0; main--) // the model of the start first: many clients take that
        for (size_t i = 0; i < store_n_models(store); i++)
            if (main == model_is_of_start(api, store_model(store, i)))
                model_write(&json, api, store_model(store, i));
    json_end(&json);
    json_object(&json, "aliases");
    for (size_t i = 0; i < store_n_aliases(store); i++)
        json_string(&json, store_alias(store, i)->name, store_alias(store, i)->model);
    json_end(&json);
    json_end(&json);
    json_reply(exchange, 200, &json);
}

static struct bytes name_in_path(const struct request *request)
{
    return path_behind(request, "/v1/models/");
}

void model_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    if (errors_for(request) == ERRORS_ANTHROPIC) {
        anthropic_model_get(api, exchange, request);
        return;
    }
    const struct store_model *model;
    struct refusal refusal;
    if (model_find(api, name_in_path(request), &model, &refusal))
        model_reply(api, exchange, model->name);
    else
        refusal_reply(exchange, &refusal);
}

// ---- what changes something ---------------------------------------------------------------------

static void model_told(struct api *api, const struct chore *chore)
{
    model_reply(api, chore->exchange, chore->name);
}

static void alias_told(struct api *api, const struct chore *chore)
{
    (void)api;
    struct json json;
    json_init(&json, 16384);
    json_object(&json, NULL);
    json_string(&json, "alias", chore->said);
    json_string(&json, "model", chore->name);
    json_end(&json);
    json_reply(chore->exchange, 200, &json);
}

static void deletion_told(struct api *api, const struct chore *chore)
{
    (void)api;
    struct json json;
    json_init(&json, 16384);
    json_object(&json, NULL);
    json_string(&json, "id", chore->name);
    json_string(&json, "object", "model");
    json_bool(&json, "deleted", true);
    json_end(&json);
    json_reply(chore->exchange, 200, &json);
}

const struct chore_teller model_teller = {ERRORS_OPENAI, model_told};
static const struct chore_teller alias_teller = {ERRORS_OPENAI, alias_told},
                                 deletion_teller = {ERRORS_OPENAI, deletion_told};

bool text_field(yyjson_val *root, const char *name, struct bytes *out, struct refusal *refusal)
{
    yyjson_val *value = yyjson_obj_get(root, name);
    if (!yyjson_is_str(value))
        return wrong_kind(&(struct reading){.refusal = refusal}, name, "a string", value);
    *out = string_of(value);
    return true;
}

// A model that is loaded though its file is gone by now can be unloaded by the name that it had.
static bool model_without_file(const struct api *api, struct bytes name, struct job *job)
{
    const struct sched_status *now = sched_status(api->options.sched);
    if (store_find(api->options.store, name))
        return false;
    for (int32_t i = 0; i < now->n_models; i++) {
        const struct sched_model *model = &now->models[i];
        if (!bytes_equal_text(name, model->name))
            continue;
        job->ask.model = bytes_copy(&job->arena, bytes_of(model->name));
        job->ask.model_path = bytes_copy(&job->arena, bytes_of(model->path));
        return job->ask.model.p && job->ask.model_path.p;
    }
    return false;
}

// {"model": NAME, "keep_alive": TIME}
static bool read_load(const struct api *api, struct bytes text, struct job *job,
                      struct refusal *refusal)
{
    struct body body;
    struct bytes name;
    struct reading reading = {.ask = &job->ask, .refusal = refusal};
    if (!body_open(&body, text, refusal))
        return false;
    yyjson_val *root = yyjson_doc_get_root(body.doc), *keep = yyjson_obj_get(root, "keep_alive");
    bool good = text_field(root, "model", &name, refusal) &&
                (model_without_file(api, name, job) || model_pick(api, name, job, refusal)) &&
                (!keep || yyjson_is_null(keep) || read_keep_alive(&reading, "keep_alive", keep));
    body_close(&body);
    return good;
}

static void load_or_unload(struct api *api, struct exchange *exchange,
                           const struct request *request, enum chore_kind kind)
{
    struct refusal refusal;
    struct job *job = job_open();
    job->ask.owner = request->who;
    if (read_load(api, request->body, job, &refusal))
        chore_job(api, exchange, kind, &job->ask, &model_teller, job->ask.model);
    else
        refusal_reply(exchange, &refusal);
    job_close(job);
}

void model_load_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    load_or_unload(api, exchange, request, CHORE_LOAD);
}

void model_unload_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    load_or_unload(api, exchange, request, CHORE_UNLOAD);
}

// By its own name: an alias is taken away, and not what it means.
void model_delete(struct api *api, struct exchange *exchange, const struct request *request)
{
    const struct store_model *model = store_find_file(api->options.store, name_in_path(request));
    struct refusal refusal;
    if (model && model->is_ours) {
        chore_delete(api, exchange, request->who, model, &deletion_teller);
        return;
    }
    if (model)
        (void)refuse(&refusal, 409, "not_allowed", "model",
                     "The model '%s' lies where nothing can be deleted.", model->name);
    else if (model_find(api, name_in_path(request), &model, &refusal))
        (void)refuse(&refusal, 404, "model_not_found", "model",
                     "That is an alias of '%s': POST /v1/models/alias with \"model\": null takes "
                     "it away.",
                     model->name);
    refusal_reply(exchange, &refusal);
}

// {"from": NAME, "to": NAME}
void model_copy_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct body body;
    struct bytes from, to;
    const struct store_model *model;
    if (!body_open(&body, request->body, &refusal)) {
        refusal_reply(exchange, &refusal);
        return;
    }
    yyjson_val *root = yyjson_doc_get_root(body.doc);
    if (text_field(root, "from", &from, &refusal) && text_field(root, "to", &to, &refusal) &&
        model_find(api, from, &model, &refusal)) {
        chore_copy(api, exchange, model, to, model->is_ours ? &model_teller : &alias_teller);
    } else {
        refusal_reply(exchange, &refusal);
    }
    body_close(&body);
}

// {"alias": NAME, "model": NAME or null}
void model_alias_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct body body;
    struct bytes alias, name = {NULL, 0};
    if (!body_open(&body, request->body, &refusal)) {
        refusal_reply(exchange, &refusal);
        return;
    }
    yyjson_val *root = yyjson_doc_get_root(body.doc);
    if (text_field(root, "alias", &alias, &refusal) &&
        (yyjson_is_null(yyjson_obj_get(root, "model")) ||
         text_field(root, "model", &name, &refusal))) {
        chore_name(api, exchange, alias, name, &alias_teller);
    } else {
        refusal_reply(exchange, &refusal);
    }
    body_close(&body);
}
