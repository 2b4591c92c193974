// models.c - GET /v1/models and /v1/models/ID: the model that is loaded, as OpenAI's clients list
// it, with what the file says of itself.
//
// `created` is when it was loaded here: a GGUF file does not say when it was made. `context` is
// what is loaded, not what was trained.
#include "inside.h"

#include <stdio.h>

static const char *capability(const struct model_info *model)
{
    if (model->n_vector == 0)
        return "completion";
    return model->pooling == POOLING_RANK ? "rerank" : "embedding";
}

static void model_write(struct json *json, const struct api *api)
{
    const struct model_info *model = &sched_status(api->options.sched)->model;
    json_object(json, NULL);
    json_string(json, "id", model->id);
    json_string(json, "object", "model");
    json_whole(json, "created", api->loaded_s);
    json_string(json, "owned_by", "tawny");
    json_string(json, "name", model->name);
    json_string(json, "architecture", model->arch);
    json_string(json, "quantisation", model->quantisation);
    json_whole(json, "n_params", model->n_params);
    json_whole(json, "bytes", (int64_t)model->file_bytes);
    json_whole(json, "context", model->n_ctx);
    json_whole(json, "context_trained", model->n_ctx_train);
    const struct err *fault = &sched_status(api->options.sched)->template_fault;
    if (fault->status != OK) // chats are refused with this
        json_string(json, "chat_template_fault", fault->text);
    json_array(json, "capabilities"); // Ollama's words, and "rerank"
    json_string(json, NULL, capability(model));
    json_end(json);
    if (model->n_vector > 0 && model->pooling != POOLING_RANK)
        json_whole(json, "embedding_length", model->n_vector);
    json_end(json);
}

void models_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)request;
    struct refusal refusal;
    struct json json;
    if (!model_is_ready(api, &refusal)) {
        refusal_reply(exchange, &refusal);
        return;
    }
    json_init(&json, 16384);
    json_object(&json, NULL);
    json_string(&json, "object", "list");
    json_array(&json, "data");
    model_write(&json, api);
    json_end(&json);
    json_end(&json);
    json_reply(exchange, 200, &json);
}

void model_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct json json;
    size_t n = sizeof("/v1/models/") - 1;
    struct bytes id = {request->path.p + n, request->path.n - n};
    if (!model_is_ready(api, &refusal) || !model_is_ours(api, id, &refusal)) {
        refusal_reply(exchange, &refusal);
        return;
    }
    json_init(&json, 16384);
    model_write(&json, api);
    json_reply(exchange, 200, &json);
}
