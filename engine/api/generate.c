// generate.c - POST /v1/chat/completions and /v1/completions: from the request to a job under way.
//
// The order of refusals: not loaded yet (503), not understood (400), another model than the one
// loaded (404), too many waiting (503 with Retry-After). When the client leaves, the job is
// cancelled; the running stays until its last event came.
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool model_is_ready(const struct api *api, struct refusal *refusal)
{
    const struct sched_status *status = sched_status(api->options.sched);
    if (status->state == SCHED_LOADING)
        return refuse(refusal, 503, "loading", NULL,
                      "The model is being loaded; try again in a few seconds.");
    if (status->state == SCHED_FAILED)
        return refuse(refusal, 503, "failed", NULL, "No model is loaded: %s", status->err.text);
    return true;
}

static bool model_is_ours(const struct api *api, const struct form *form, struct refusal *refusal)
{
    const char *id = sched_status(api->options.sched)->model.id;
    if (form->model.n == 0 || bytes_equal_text(form->model, id))
        return true;
    return refuse(refusal, 404, "model_not_found", "model",
                  "There is no model '%.*s' here; the one loaded is '%s'.",
                  (int)(form->model.n < 100 ? form->model.n : 100), (const char *)form->model.p,
                  id);
}

// The client vanished.
static void gone(void *arg, struct exchange *exchange)
{
    struct running *running = arg;
    if (running->exchange != exchange)
        return;
    running->exchange = NULL;
    log_debug("%s: the client is gone", running->name);
    sched_cancel(running->api->options.sched, running->id);
}

static void name_make(struct running *running)
{
    uint8_t random[12];
    char text[2 * sizeof(random) + 1];
    random_bytes(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(text + 2 * i, 3, "%02x", random[i]);
    snprintf(running->name, sizeof(running->name), "%s-%s", running->chat ? "chatcmpl" : "cmpl",
             text);
}

static struct running *running_open(struct api *api, const struct form *form,
                                    struct exchange *exchange)
{
    struct running *running = mem_alloc(sizeof(*running));
    running->api = api;
    running->exchange = exchange;
    running->id = ++api->last_id;
    running->chat = form->chat;
    running->stream = form->stream;
    running->include_usage = form->include_usage;
    running->created = clock_unix_s();
    running->written_ms = clock_ms();
    buf_init(&running->text, 3 * (size_t)ANSWER_BYTES_MOST);
    if (form->echo && buf_add(&running->text, form->prompt.p, form->prompt.n) != OK)
        log_warn("a prompt is too long to be echoed");
    name_make(running);
    return running;
}

static bool submit(struct api *api, struct exchange *exchange, struct job *job,
                   const struct form *form, struct refusal *refusal)
{
    struct sched *sched = api->options.sched;
    struct running *running = running_open(api, form, exchange);
    job->id = running->id;
    job->ask.model = form->model;
    if (sched_submit(sched, job) != OK) {
        buf_free(&running->text);
        free(running);
        return refuse(
            refusal, 503, "busy", NULL,
            "%zu requests are being answered or waiting, which is the most; try again soon.",
            sched_n_open(sched));
    }
    running->next = api->running;
    api->running = running;
    exchange_owner(exchange, gone, running);
    return true;
}

static void generate(struct api *api, struct exchange *exchange, const struct request *request,
                     bool chat)
{
    struct refusal refusal;
    struct form form;
    struct job *job = job_open();
    if (model_is_ready(api, &refusal) && openai_read(request->body, chat, job, &form, &refusal) &&
        model_is_ours(api, &form, &refusal) && submit(api, exchange, job, &form, &refusal))
        return;
    job_close(job);
    refusal_reply(exchange, &refusal);
}

void chat_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    generate(api, exchange, request, true);
}

void completions_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    generate(api, exchange, request, false);
}
