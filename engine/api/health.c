// health.c - GET /health, /v1/models, /ca.crt, /notices: what this box is and in which state.
//
// /health is honest: 200 only when a model is loaded and the device answers; 503 while loading,
// after a failure (with the reason) and when the engine hangs. It needs no key and tells
// nothing secret.
#include "inside.h"

static enum status member(struct buf *out, const char *name, const char *text)
{
    enum status status = buf_format(out, ",\"%s\":", name);
    if (status != OK)
        return status;
    return text && text[0] ? buf_json(out, bytes_of(text)) : buf_format(out, "null");
}

// How far loading is, in bytes of the weights; then kernels are compiled.
static enum status loading_json(struct buf *out, const struct sched_loading *loading)
{
    const struct model_progress *at = &loading->at;
    if (at->total_bytes == 0)
        return OK;
    enum status status =
        buf_format(out, ",\"loading\":{\"step\":\"%s\",\"bytes\":%llu,\"of_bytes\":%llu",
                   at->compiling ? "kernels" : "weights", (unsigned long long)at->done_bytes,
                   (unsigned long long)at->total_bytes);
    if (status == OK && loading->left_ms > 0)
        status = buf_format(out, ",\"seconds_left\":%llu",
                            (unsigned long long)(loading->left_ms + 999) / 1000);
    return status == OK ? buf_format(out, "}") : status;
}

static enum status context_json(struct buf *out, const struct model_info *model)
{
    enum status status = buf_format(out, ",\"context\":%d,\"context_trained\":%d",
                                    (int)model->n_ctx, (int)model->n_ctx_train);
    if (status == OK && model->n_ctx_asked > model->n_ctx)
        status = buf_format(out, ",\"context_asked\":%d", (int)model->n_ctx_asked);
    return status;
}

static enum status health_json(struct buf *out, const struct api *api, const char *word,
                               const char *error)
{
    const struct sched_status *now = sched_status(api->options.sched);
    const struct model_info *model = &now->model;
    size_t n_open = sched_n_open(api->options.sched),
           n_together = sched_n_together(api->options.sched);
    enum status status = buf_format(out, "{\"status\":\"%s\"", word);
    if (status == OK && error)
        status = member(out, "error", error);
    if (status == OK && error) // with the key: what was wanted, what was found, what to do
        status = member(out, "see", "/v1/doctor");
    if (status == OK)
        status = member(out, "device", now->device.device);
    if (status == OK)
        status = member(out, "backend", now->device.backend);
    if (status == OK)
        status = member(out, "kind", now->device.kind);
    if (status == OK)
        status = member(out, "driver", now->device.driver);
    if (status == OK)
        status = member(out, "why_this_device", now->device.reason);
    if (status == OK && model->id[0])
        status = buf_format(out, ",\"layers\":\"%d/%d\"", (int)model->n_layer_on_device,
                            (int)model->n_layer);
    else if (status == OK)
        status = member(out, "layers", NULL);
    if (status == OK)
        status = member(out, "model", model->id);
    if (status == OK && model->id[0])
        status = context_json(out, model);
    if (status == OK && now->state == SCHED_LOADING)
        status = loading_json(out, &now->loading);
    if (status == OK)
        status = buf_format(out, ",\"running\":%zu,\"waiting\":%zu",
                            n_open < n_together ? n_open : n_together,
                            n_open > n_together ? n_open - n_together : 0);
    if (status == OK)
        status = member(out, "version", api->version);
    if (status == OK)
        status = buf_format(out, "}\n");
    return status;
}

void health_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)request;
    const struct sched_status *now = sched_status(api->options.sched);
    const char *word = "ready", *error = NULL;
    int http = 200;
    struct buf body;
    if (now->state == SCHED_LOADING && sched_step_ms(api->options.sched) > SCHED_DEVICE_MS) {
        word = "failed";
        error = "the device has not come up within a minute of being opened: its driver hangs";
        http = 503;
    } else if (now->state == SCHED_LOADING) {
        word = "loading";
        http = 503;
    } else if (now->state == SCHED_STOPPING) {
        word = "stopping";
        http = 503;
    } else if (now->state == SCHED_FAILED) {
        word = "failed";
        error = now->err.text;
        http = 503;
    } else if (sched_step_ms(api->options.sched) > SCHED_HUNG_MS) {
        word = "failed";
        error = "the engine has been at one step for more than five minutes: it hangs";
        http = 503;
    }
    buf_init(&body, 16384);
    exchange_reply_header(exchange, "Cache-Control", "no-store");
    json_reply(exchange, http, &body, health_json(&body, api, word, error));
}

static enum status model_json(struct buf *out, const struct api *api)
{
    const struct model_info *model = &sched_status(api->options.sched)->model;
    enum status status = buf_format(out, "{\"id\":");
    if (status == OK)
        status = buf_json(out, bytes_of(model->id));
    if (status == OK)
        status = buf_format(out, ",\"object\":\"model\",\"created\":0,\"owned_by\":\"tawny\"");
    if (status == OK)
        status = member(out, "name", model->name);
    if (status == OK)
        status = member(out, "architecture", model->arch);
    if (status == OK)
        status = member(out, "quantisation", model->quantisation);
    if (status == OK)
        status = buf_format(
            out, ",\"n_params\":%lld,\"bytes\":%llu,\"context\":%d,\"context_trained\":%d}",
            (long long)model->n_params, (unsigned long long)model->file_bytes, (int)model->n_ctx,
            (int)model->n_ctx_train);
    return status;
}

void models_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)request;
    struct refusal refusal;
    if (!model_is_ready(api, &refusal)) {
        refusal_reply(exchange, &refusal);
        return;
    }
    struct buf body;
    buf_init(&body, 16384);
    enum status status = buf_format(&body, "{\"object\":\"list\",\"data\":[");
    if (status == OK)
        status = model_json(&body, api);
    if (status == OK)
        status = buf_format(&body, "]}\n");
    json_reply(exchange, 200, &body, status);
}

void model_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct bytes id = {request->path.p + sizeof("/v1/models/") - 1,
                       request->path.n - (sizeof("/v1/models/") - 1)};
    if (model_is_ready(api, &refusal)) {
        const char *ours = sched_status(api->options.sched)->model.id;
        if (bytes_equal_text(id, ours)) {
            struct buf body;
            buf_init(&body, 16384);
            json_reply(exchange, 200, &body, model_json(&body, api));
            return;
        }
        (void)refuse(&refusal, 404, "model_not_found", "model",
                     "There is no model '%.*s' here; the one loaded is '%s'.",
                     (int)(id.n < 100 ? id.n : 100), (const char *)id.p, ours);
    }
    refusal_reply(exchange, &refusal);
}

void notices_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)request;
    exchange_reply(exchange, 200, "text/plain; charset=utf-8", api->options.notices);
}

void ca_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)request;
    // the type that makes phones and browsers offer to install it
    exchange_reply_header(exchange, "Content-Disposition", "attachment; filename=\"tawny-ca.crt\"");
    exchange_reply(exchange, 200, "application/x-x509-ca-cert", net_ca_pem(api->net));
}
