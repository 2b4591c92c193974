// anthropic_models.c - GET /v1/models and /v1/models/ID as Anthropic's clients list them: the
// models that there are, that of the start first.
//
// created_at is its file's time; max_input_tokens is the context, prompt and answer together: the
// one that is loaded, else what the model was trained for.
#include "inside.h"

#include <time.h>

static void model_write(struct json *json, const struct api *api, const struct store_model *model)
{
    const struct sched_model *loaded = model_loaded(api, bytes_of(model->path));
    const bool ready = loaded && loaded->state == SCHED_READY;
    const int32_t n_ctx = ready ? loaded->info.n_ctx : model->about.n_ctx_train;
    const char *name = ready ? loaded->info.name : model->about.name;
    const time_t at = model->modified_s ? model->modified_s : api->began_s;
    struct tm utc;
    char text[32];
    gmtime_r(&at, &utc);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
    json_object(json, NULL);
    json_string(json, "type", "model");
    json_string(json, "id", model->name);
    json_string(json, "display_name", name[0] ? name : model->name);
    json_string(json, "created_at", text);
    json_whole(json, "max_input_tokens", n_ctx);
    json_whole(json, "max_tokens", n_ctx);
    json_null(json, "capabilities");
    json_string(json, "lifecycle", "active");
    json_null(json, "deprecated_at");
    json_null(json, "retires_at");
    json_null(json, "line");
    json_end(json);
}

// The whole list is one page.
void anthropic_models_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)request;
    const struct store *store = api->options.store;
    const char *first = NULL, *last = NULL;
    struct json json;
    json_init(&json, 4 << 20);
    json_object(&json, NULL);
    json_array(&json, "data");
    for (int main = 1; main >= 0; main--)
        for (size_t i = 0; i < store_n_models(store); i++) {
            const struct store_model *model = store_model(store, i);
            if (main != model_is_of_start(api, model))
                continue;
            model_write(&json, api, model);
            first = first ? first : model->name;
            last = model->name;
        }
    json_end(&json);
    json_bool(&json, "has_more", false);
    json_string(&json, "first_id", first);
    json_string(&json, "last_id", last);
    json_end(&json);
    json_reply(exchange, 200, &json);
}

void anthropic_model_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    const struct bytes id = path_behind(request, "/v1/models/");
    const struct store_model *model;
    struct refusal refusal;
    struct json json;
    if (!model_find(api, id, &model, &refusal)) {
        refusal.shape = ERRORS_ANTHROPIC;
        refusal_reply(exchange, &refusal);
        return;
    }
    json_init(&json, 16384);
    model_write(&json, api, model);
    json_reply(exchange, 200, &json);
}
