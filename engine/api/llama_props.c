// llama_props.c - llama-server's GET /props and /slots: what the model is, what is taken of it by
// default, and how many conversations are worked on.
//
// The chat template is the model's, whom only the engine's thread may ask: /props is a job that
// tells it. Paths of files and other people's prompts are nobody's business here.
#include "fields.h"

#include <string.h>

static bool props_finish(struct reading *r)
{
    r->ask->only_template = true;
    return true;
}

static void write_defaults(struct json *json, const struct model_info *model)
{
    struct sampling sampling;
    sampling_default(&sampling);
    json_object(json, "default_generation_settings");
    json_whole(json, "n_ctx", model->n_ctx);
    json_object(json, "params");
    llama_settings(json, &sampling, -1, true);
    json_end(json);
    json_end(json);
}

static const struct model_info *model_of(const struct reply *reply)
{
    const struct sched_status *now = sched_status(reply->api->options.sched);
    for (int32_t i = 0; i < now->n_models; i++)
        if (strcmp(now->models[i].name, reply_model(reply)) == 0)
            return &now->models[i].info;
    return &now->model;
}

static void props_whole(const struct reply *reply, struct json *json, enum finish finish,
                        const struct usage *usage)
{
    const struct sched *sched = reply->api->options.sched;
    const struct model_info *model = model_of(reply);
    (void)finish, (void)usage;
    json_init(json, 8 * (size_t)ANSWER_BYTES_MOST);
    json_object(json, NULL);
    write_defaults(json, model);
    json_whole(json, "total_slots", (int64_t)sched_n_together(sched));
    json_string(json, "model_alias", model->id);
    json_string(json, "model_path", model->id); // its name: where the file lies is not told
    json_object(json, "modalities");
    json_bool(json, "vision", false);
    json_bool(json, "audio", false);
    json_end(json);
    json_text(json, "chat_template", buf_view(&reply->text));
    json_bool(json, "is_sleeping", false);
    json_string(json, "build_info", reply->api->version);
    json_end(json);
}

static const struct writer props_writer = {.whole = props_whole};
static const struct field props_fields[] = {{"model", read_model}, {NULL, NULL}};

static const struct dialect llama_props = {
    .id_prefix = "props-",
    .input = "model",
    .fields = {props_fields},
    .finish = props_finish,
    .writer = &props_writer,
};

void props_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct request empty = *request;
    empty.body = bytes_of("{}");
    dialect_post(api, exchange, &empty, &llama_props);
}

void slots_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    const struct sched *sched = api->options.sched;
    const size_t n = sched_n_together(sched), n_open = sched_n_open(sched);
    struct refusal refusal;
    struct json json;
    (void)request;
    if (!model_is_ready(api, &refusal)) {
        refusal_reply(exchange, &refusal);
        return;
    }
    json_init(&json, 65536);
    json_array(&json, NULL);
    for (size_t i = 0; i < n; i++) {
        json_object(&json, NULL);
        json_whole(&json, "id", (int64_t)i);
        json_whole(&json, "n_ctx", sched_status(sched)->model.n_ctx);
        json_bool(&json, "is_processing", i < n_open);
        json_end(&json);
    }
    json_end(&json);
    json_reply(exchange, 200, &json);
}
