// chores.c - requests about a model that the engine or the store must do something for first: their
// exchanges are answered when the last event of it comes.
//
// A model is deleted when the engine has let it go: one in use is not. A client that leaves stops
// nothing: what is under way is done, and nobody is told.
#include "chores.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void client_gone(void *arg, struct exchange *exchange)
{
    (void)exchange;
    struct chore *chore = arg;
    chore->exchange = NULL;
}

static struct chore *chore_open(struct api *api, struct exchange *exchange, enum chore_kind kind,
                                const struct chore_teller *teller, struct bytes name,
                                struct bytes said)
{
    struct chore *chore = mem_alloc(sizeof(*chore));
    chore->kind = kind;
    chore->id = ++api->last_id;
    chore->exchange = exchange;
    chore->teller = teller;
    if (name.n > 0)
        memcpy(chore->name, name.p,
               name.n < sizeof(chore->name) ? name.n : sizeof(chore->name) - 1);
    chore->said = mem_alloc(said.n + 1);
    if (said.n > 0)
        memcpy(chore->said, said.p, said.n);
    chore->next = api->chores;
    api->chores = chore;
    exchange_owner(exchange, client_gone, chore);
    return chore;
}

static void chore_close(struct api *api, struct chore *chore)
{
    struct chore **at = &api->chores;
    while (*at != chore)
        at = &(*at)->next;
    *at = chore->next;
    free(chore->said);
    free(chore);
}

void chores_close(struct api *api)
{
    while (api->chores)
        chore_close(api, api->chores);
}

static struct chore *chore_find(const struct api *api, uint64_t id)
{
    struct chore *chore = api->chores;
    while (chore && chore->id != id)
        chore = chore->next;
    return chore;
}

// ---- their ends -----------------------------------------------------------------------------

// Answers and closes.
static void chore_end(struct api *api, struct chore *chore, struct refusal *refusal)
{
    refusal->shape = chore->teller->errors;
    if (chore->exchange)
        refusal_reply(chore->exchange, refusal);
    chore_close(api, chore);
}

static void chore_refuse(struct api *api, struct chore *chore, const struct err *err)
{
    static const struct {
        enum status status;
        int http;
        const char *code;
    } outcomes[] = {{NO_ROOM, 409, "model_in_use"},
                    {DENIED, 409, "not_allowed"},
                    {NOT_FOUND, 404, "model_not_loaded"}};
    struct refusal refusal;
    size_t i = 0;
    while (i < COUNT_OF(outcomes) && outcomes[i].status != err->status)
        i++;
    if (chore->kind == CHORE_LOAD && err->status != CANCELLED)
        (void)refuse(&refusal, err->status == NO_ROOM ? 503 : 500, "model_failed", NULL,
                     "The model '%.200s' cannot be loaded: %s", chore->name, err->text);
    else if (i < COUNT_OF(outcomes))
        (void)refuse(&refusal, outcomes[i].http, outcomes[i].code, "model", "%s", err->text);
    else
        (void)refuse_err(&refusal, err, "model");
    chore_end(api, chore, &refusal);
}

static void chore_done(struct api *api, struct chore *chore)
{
    if (chore->exchange)
        chore->teller->done(api, chore);
    chore_close(api, chore);
}

// The engine has let the model go, or never had it: now its file.
static void delete_now(struct api *api, struct chore *chore)
{
    const struct store_model *model = store_find_file(api->options.store, bytes_of(chore->name));
    struct err err = {0};
    chore->kind = CHORE_STORE;
    chore->deletes = true;
    if (!model)
        (void)err_set(&err, NOT_FOUND, "The model '%.200s' is gone.", chore->name);
    else if (store_delete(api->options.store, chore->id, model, &err) == OK)
        return;
    chore_refuse(api, chore, &err);
}

void chores_job_event(struct api *api, const struct event *event)
{
    struct chore *chore = chore_find(api, event->job_id);
    if (!chore || !event_is_last(event))
        return;
    const bool failed = event->kind == EVENT_FAILED;
    if (chore->kind == CHORE_DELETE && (!failed || event->err.status == NOT_FOUND))
        delete_now(api, chore);
    else if (failed)
        chore_refuse(api, chore, &event->err);
    else
        chore_done(api, chore);
}

void chores_store_event(struct api *api)
{
    struct store_done done;
    while (store_take(api->options.store, &done)) {
        struct chore *chore = done.id ? chore_find(api, done.id) : NULL;
        if (!chore)
            continue;
        if (done.err.status == OK && chore->deletes)
            defaults_forget(api, chore->name);
        if (done.err.status != OK)
            chore_refuse(api, chore, &done.err);
        else
            chore_done(api, chore);
    }
}

// ---- their beginnings -----------------------------------------------------------------------

// A job without a text, about a model.
void chore_job(struct api *api, struct exchange *exchange, enum chore_kind kind,
               const struct ask *ask, const struct chore_teller *teller, struct bytes said)
{
    struct refusal refusal;
    struct chore *chore = chore_open(api, exchange, kind, teller, ask->model, said);
    struct job *job = job_open();
    job->kind = kind == CHORE_LOAD ? JOB_LOAD : JOB_UNLOAD;
    job->id = chore->id;
    job->ask.owner = ask->owner;
    job->ask.keep_s = ask->keep_s;
    job->ask.n_ctx = ask->n_ctx;
    job->ask.model = bytes_copy(&job->arena, ask->model);
    job->ask.model_path = bytes_copy(&job->arena, ask->model_path);
    if (sched_submit(api->options.sched, job) == OK)
        return;
    job_close(job);
    (void)refuse(&refusal, 503, "busy", NULL, "Too many requests are waiting; try again soon.");
    chore_end(api, chore, &refusal);
}

void chore_delete(struct api *api, struct exchange *exchange, uint64_t who,
                  const struct store_model *model, const struct chore_teller *teller)
{
    const struct bytes name = bytes_of(model->name);
    const struct ask ask = {.owner = who, .model = name, .model_path = bytes_of(model->path)};
    chore_job(api, exchange, CHORE_DELETE, &ask, teller, name);
}

// What the store refused at once has no event.
static void store_began(struct api *api, struct chore *chore, enum status status,
                        const struct err *err)
{
    struct refusal refusal;
    if (status == OK)
        return;
    (void)refuse(&refusal,
                 status == DENIED      ? 409
                 : status == NO_ROOM   ? 503
                 : status == NOT_FOUND ? 404
                                       : 400,
                 status == DENIED ? "not_allowed" : "invalid_value", "model", "%s", err->text);
    chore_end(api, chore, &refusal);
}

void chore_copy(struct api *api, struct exchange *exchange, const struct store_model *model,
                struct bytes to, const struct chore_teller *teller)
{
    struct err err = {0};
    struct chore *chore = chore_open(api, exchange, CHORE_STORE, teller,
                                     model->is_ours ? to : bytes_of(model->name), to);
    enum status status = store_copy(api->options.store, chore->id, model, to, &err);
    store_began(api, chore, status, &err);
}

void chore_name(struct api *api, struct exchange *exchange, struct bytes alias, struct bytes model,
                const struct chore_teller *teller)
{
    struct err err = {0};
    struct chore *chore = chore_open(api, exchange, CHORE_STORE, teller, model, alias);
    enum status status = store_name(api->options.store, chore->id, alias, model, &err);
    store_began(api, chore, status, &err);
}

void chore_incoming(struct api *api, struct exchange *exchange, struct incoming *incoming,
                    struct bytes name, struct bytes said, const struct chore_teller *teller)
{
    struct err err = {0};
    struct chore *chore = chore_open(api, exchange, CHORE_STORE, teller, said, said);
    enum status status = incoming_name(incoming, chore->id, name, &err);
    store_began(api, chore, status, &err);
}
