// health.c - GET /health, /ca.crt, /notices: what this box is and in which state.
//
// /health is honest: 200 only when a request is answered: a model is loaded, or was unloaded and is
// loaded again by the next request, and the device answers; 503 while the model of the start is
// loading, after a failure (with the reason) and when the engine hangs. It needs no key: of what is
// wrong in the settings it names the lines and no values, which GET /v1/settings tells.
#include "inside.h"
#include "../base/clock_trust.h"

#include <stdio.h>

// Why there is no answer to be had from the model; NULL: there is.
static const char *fault(const struct api *api)
{
    const struct sched_status *now = sched_status(api->options.sched);
    if (now->state == SCHED_FAILED)
        return now->err.text;
    return now->state == SCHED_STOPPING ? NULL : sched_hangs(api->options.sched);
}

static void device_write(struct json *json, const struct compute_info *device)
{
    json_string(json, "device", device->device);
    json_string(json, "backend", device->backend);
    json_string(json, "kind", device->kind);
    json_string(json, "driver", device->driver);
    json_string(json, "why_this_device", device->reason);
}

// The context that was asked for, why it is what it is, and the memory it was chosen by, in bytes.
static void plan_write(struct json *json, const struct model_plan *plan)
{
    if (plan->n_ctx_asked == CTX_AUTO)
        json_string(json, "context_asked", "auto");
    else if (plan->n_ctx_asked > 0)
        json_whole(json, "context_asked", plan->n_ctx_asked);
    json_string(json, "context_why", plan->why);
    if (plan->is_short)
        json_string(json, "context_more", plan->advice);
    json_whole(json, "context_of_all", (int64_t)plan->pool_tokens);
    json_object(json, "memory");
    json_whole(json, "weights", (int64_t)plan->weight_bytes);
    json_whole(json, "keys_and_values", (int64_t)plan->cache_bytes);
    json_whole(json, "states", (int64_t)model_plan_states(plan));
    json_whole(json, "scratch", (int64_t)(plan->pass_bytes + plan->spare_bytes));
    json_whole(json, "free_before", (int64_t)plan->free_bytes);
    json_whole(json, "left_to_the_system", (int64_t)plan->system_bytes);
    json_end(json);
}

static void model_write(struct json *json, const struct model_info *model)
{
    char layers[32] = "";
    if (model->id[0])
        snprintf(layers, sizeof(layers), "%d/%d", (int)model->n_layer_on_device,
                 (int)model->n_layer);
    json_string(json, "layers", layers);
    json_string(json, "model", model->id);
    if (model->id[0]) {
        json_whole(json, "context", model->n_ctx);
        json_whole(json, "context_trained", model->n_ctx_train);
        plan_write(json, &model->plan);
    }
}

// How far loading is, in bytes of the weights; then kernels are compiled.
static void loading_write(struct json *json, const struct sched_loading *loading)
{
    const struct model_progress *at = &loading->at;
    if (at->total_bytes == 0)
        return;
    json_object(json, "loading");
    json_string(json, "step", at->compiling ? "kernels" : "weights");
    json_whole(json, "bytes", (int64_t)at->done_bytes);
    json_whole(json, "of_bytes", (int64_t)at->total_bytes);
    if (loading->left_ms > 0)
        json_whole(json, "seconds_left", (int64_t)(loading->left_ms + 999) / 1000);
    json_end(json);
}

// Every model that is loaded, or is to be, or could not be.
static void models_write(struct json *json, const struct sched_status *now)
{
    json_array(json, "models");
    for (int32_t i = 0; i < now->n_models; i++) {
        json_object(json, NULL);
        json_string(json, "model", now->models[i].name);
        loaded_write(json, &now->models[i]);
        json_string(json, "device", now->device.device);
        json_end(json);
    }
    json_end(json);
}

void health_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)request;
    const struct sched_status *now = sched_status(api->options.sched);
    const char *error = fault(api);
    bool ready = !error && now->state == SCHED_READY;
    size_t n_open = sched_n_open(api->options.sched),
           n_together = sched_n_together(api->options.sched);
    struct json json;
    json_init(&json, 256 << 10); // with as many models as may be listed
    json_object(&json, NULL);
    json_string(&json, "status",
                ready                          ? "ready"
                : error                        ? "failed"
                : now->state == SCHED_STOPPING ? "stopping"
                                               : "loading");
    if (error) {
        json_string(&json, "error", error);
        // with the key: what was wanted, what was found, what to do
        json_string(&json, "see", "/v1/doctor");
    }
    device_write(&json, &now->device);
    model_write(&json, &now->model);
    if (now->template_fault.status != OK)
        json_string(&json, "chat_template_fault", now->template_fault.text);
    if (now->state == SCHED_LOADING)
        loading_write(&json, &now->loading);
    told_write(api, &json);
    settings_faults_write(&json, api->options.report, false);
    models_write(&json, now);
    json_whole(&json, "running", (int64_t)(n_open < n_together ? n_open : n_together));
    json_whole(&json, "waiting", (int64_t)(n_open > n_together ? n_open - n_together : 0));
    crashes_write(api, &json);
    if (clock_trust() != CLOCK_UNKNOWN)
        json_string(&json, "clock",
                    clock_trust() == CLOCK_TRUSTED ? "trusted" : "time not trusted");
    json_string(&json, "version", api->version);
    json_end(&json);
    exchange_reply_header(exchange, "Cache-Control", "no-store");
    json_reply(exchange, ready ? 200 : 503, &json);
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
