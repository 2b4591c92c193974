// pick.c - which model a request means, and what is known of it before the engine has it.
//
// The name is looked up among the files there are (store), by aliases too; the job gets the model's
// own name and its file, and the engine loads it when it is not loaded yet: the request waits for
// that, and its stream stays alive meanwhile. What the file's head says is enough to refuse early
// what it cannot do. Without a name the model of the start is meant.
#include "source.h"

#include <stdio.h>
#include <string.h>

const struct sched_model *model_loaded(const struct api *api, struct bytes path)
{
    return sched_model(sched_status(api->options.sched), path);
}

// Never to be had: there is no device, or the model of the start has no file or is left out.
static bool is_refused(const struct api *api, const struct store_model *found)
{
    const struct sched_status *now = sched_status(api->options.sched);
    if (now->state != SCHED_FAILED)
        return false;
    if (!now->device.device[0])
        return true;
    const char *path = api->options.model_path ? api->options.model_path : "";
    return (!found || strcmp(found->path, path) == 0) && !sched_model(now, (struct bytes){NULL, 0});
}

static bool unknown(const struct api *api, struct bytes name, struct refusal *refusal)
{
    char names[400], shown[SHOWN_TEXT];
    const bool claude = name.n >= 6 && memcmp(name.p, "claude", 6) == 0; // what its clients ask for
    return refuse(refusal, 404, "model_not_found", "model",
                  "model '%s' not found%s. There are: %s.", shown_text(shown, name),
                  claude ? " (Claude Code asks for the one that ANTHROPIC_MODEL names)" : "",
                  store_names(api->options.store, names, sizeof(names)));
}

bool model_find(const struct api *api, struct bytes name, const struct store_model **out,
                struct refusal *refusal)
{
    char here[STORE_NAME_BYTES];
    *out = store_find_file(api->options.store, name);
    if (!*out)
        *out = store_find_file(api->options.store, model_name_meant(name));
    if (!*out && source_name_here(here, name, api->options.registry, api->options.hub))
        *out = store_find_file(api->options.store, bytes_of(here)); // as it was pulled
    if (!*out)
        *out = store_find(api->options.store, model_name_meant(name));
    return *out || unknown(api, name, refusal);
}

bool model_is_ready(const struct api *api, struct refusal *refusal)
{
    if (!is_refused(api, NULL))
        return true;
    return refuse(refusal, 500, "model_failed", NULL, "No model is loaded: %s",
                  sched_status(api->options.sched)->err.text);
}

bool model_is_of_start(const struct api *api, const struct store_model *model)
{
    return api->options.model_path && strcmp(model->path, api->options.model_path) == 0;
}

const struct store_model *model_of_start(const struct api *api)
{
    const struct store *store = api->options.store;
    for (size_t i = 0; i < store_n_models(store); i++)
        if (model_is_of_start(api, store_model(store, i)))
            return store_model(store, i);
    return NULL;
}

bool model_pick(const struct api *api, struct bytes name, struct job *job, struct refusal *refusal)
{
    const struct store_model *found = NULL;
    if (name.n > 0 && !model_find(api, name, &found, refusal))
        return false;
    if (is_refused(api, found))
        return refuse(refusal, 500, "model_failed", NULL, "No model is loaded: %s",
                      sched_status(api->options.sched)->err.text);
    if (!found)
        return true;
    job->ask.model = bytes_copy(&job->arena, bytes_of(found->name));
    job->ask.model_path = bytes_copy(&job->arena, bytes_of(found->path));
    // that of the start: the setting, also where it had a default as another's
    job->ask.n_ctx = found == model_of_start(api) ? 0 : defaults_context(api, found->name);
    return (job->ask.model.p && job->ask.model_path.p) ||
           refuse(refusal, 400, "too_large", NULL, "The request is too large.");
}

// What its file says, where it has been read.
static bool from_store(const struct api *api, struct bytes path, struct model_info *out)
{
    for (size_t i = 0; i < store_n_models(api->options.store); i++) {
        const struct store_model *model = store_model(api->options.store, i);
        if (!bytes_equal_text(path, model->path) || !model->is_described ||
            model->fault.status != OK)
            continue;
        snprintf(out->id, sizeof(out->id), "%s", model->name);
        out->n_vector = model->about.n_vector;
        out->pooling =
            strcmp(model->about.capability, "embedding") == 0 ? POOLING_MEAN : POOLING_NONE;
        // how many scores a reranker has is known when it is loaded
        return strcmp(model->about.capability, "rerank") != 0;
    }
    return false;
}

bool model_known(const struct api *api, const struct ask *ask, struct model_info *out)
{
    const struct sched_model *loaded = model_loaded(api, ask->model_path);
    *out = (struct model_info){.n_layer = 0};
    if (!loaded || !loaded->info.id[0])
        return ask->model_path.n > 0 && from_store(api, ask->model_path, out);
    *out = loaded->info;
    return true;
}

const char *reply_model(const struct reply *reply)
{
    return reply->model[0] ? reply->model : sched_status(reply->api->options.sched)->model.id;
}

// Why the model that the reply waits for could not be loaded, where that is the reason of err.
bool load_failed(const struct reply *reply, const struct err *err, struct refusal *refusal)
{
    const struct sched_status *now = sched_status(reply->api->options.sched);
    const bool others = now->n_models > 1 || now->state == SCHED_READY;
    for (int32_t i = 0; i < now->n_models; i++) {
        const struct sched_model *model = &now->models[i];
        if (model->state != SCHED_FAILED || strcmp(model->err.text, err->text) != 0 ||
            (reply->model[0] ? strcmp(model->name, reply->model) != 0 : !model->is_main))
            continue;
        if (err->status == NO_ROOM && others) // memory, which others may give back
            (void)refuse(refusal, 503, "busy", NULL, "The model cannot be loaded now: %s",
                         err->text);
        else
            (void)refuse(refusal, 500, "model_failed", NULL, "The model cannot be loaded: %s",
                         err->text);
        return true;
    }
    return false;
}
