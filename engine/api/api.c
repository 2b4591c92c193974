// api.c - the API as a whole: its key, the requests under way, and the events that answer them.
//
// Everything happens on the net thread: a handler makes a reply, events of the engine thread find
// it again by its job's number, and its last event ends it. A reply outlives its exchange when the
// client leaves: the job is cancelled, and the event that says so comes later.
#include "../base/sensors.h"
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>

enum status api_open(struct api **out, const struct api_options *options, struct err *err)
{
    struct api *api = mem_alloc(sizeof(*api));
    api->options = *options;
    api->began_s = clock_unix_s();
    snprintf(api->state, sizeof(api->state), "%s", options->state);
    snprintf(api->version, sizeof(api->version), "%s", options->version);
    snprintf(api->hostname, sizeof(api->hostname), "%s", options->hostname);
    snprintf(api->cors, sizeof(api->cors), "%s", options->cors ? options->cors : "");
    enum status status = cors_check(api->cors, err);
    if (status == OK)
        status = key_open(api->key, &api->key_is_new, api->state, err);
    if (status != OK) {
        free(api);
        return status;
    }
    keys_open(&api->keys, api->state, api->key);
    defaults_open(api);
    audit_open(&api->audit, api->state);
    scribe_open(&api->scribe);
    sensors_open(&api->sensors);
    api->kept = kept_open();
    keys_tell(api);
    *out = api;
    return OK;
}

void reply_close(struct reply *reply)
{
    reply_clear(reply);
    free(reply->vectors);
    free(reply->documents);
    free(reply);
}

// After net_close: no exchange lives any more.
void api_close(struct api *api)
{
    if (!api)
        return;
    while (api->replies) {
        struct reply *reply = api->replies;
        api->replies = reply->next;
        reply_close(reply);
    }
    chores_close(api);
    pulls_close(api);
    keys_end(api);
    scribe_close(api->scribe);
    scribe_waits_close(api);
    defaults_close(api);
    buf_free(&api->settings_text);
    keys_close(&api->keys);
    audit_close(&api->audit);
    handovers_tick(api, UINT64_MAX);
    sensors_close(api->sensors);
    kept_close(api->kept);
    free(api);
}

static struct reply **reply_find(struct api *api, uint64_t id)
{
    struct reply **at = &api->replies;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

// Whatever the event, its client may be gone.
static void measure(struct api *api, struct reply *reply, const struct event *event)
{
    const uint64_t after_ms = clock_ms() - reply->asked_ms;
    if (event_is_last(event)) {
        metrics_end(&api->metrics, event, after_ms);
    } else if (!reply->spoken && (event->kind == EVENT_CHANCE || event->kind == EVENT_TEXT)) {
        metrics_first(&api->metrics, after_ms);
        reply->spoken = true;
    }
}

// A job has ended: what it took is its key's, which may be revoked by now.
static void used(struct api *api, const struct reply *reply, const struct event *event)
{
    const struct usage *usage = &event->usage;
    struct key *key = keys_who(&api->keys, reply->who);
    if (!key)
        return;
    key->n_open -= reply->id == event->job_id; // else it goes on with another
    if (usage->prompt_us == 0)                 // refused, or counted and no more
        return;
    key->n_prompt += (uint64_t)usage->n_prompt;
    key->n_generated += (uint64_t)usage->n_generated;
    limit_charge(key, clock_ms(), (int64_t)usage->n_prompt + usage->n_generated);
}

static void events_ready(void *arg, int fd)
{
    (void)fd;
    struct api *api = arg;
    struct event *event;
    while ((event = sched_take_event(api->options.sched)) != NULL) {
        if (event->kind == EVENT_STATE) {
            if (api->changed)
                api->changed(api->changed_arg);
            event_close(event);
            continue;
        }
        struct reply **at = reply_find(api, event->job_id), *reply = *at;
        if (reply) {
            measure(api, reply, event);
            struct event told = {
                .job_id = event->job_id, .kind = event->kind, .usage = event->usage};
            if (reply->n_tried > 0) // another answer to a prompt that was counted already
                told.usage.n_prompt = 0;
            reply_event(reply, event);
            if (event_is_last(&told))
                used(api, reply, &told);
            if (event_is_last(&told) && reply->id == told.job_id) {
                *at = reply->next;
                reply_close(reply);
            }
        } else {
            chores_job_event(api, event);
        }
        event_close(event);
    }
}

static void store_ready(void *arg, int fd)
{
    (void)fd;
    chores_store_event(arg);
}

static void tick(void *arg)
{
    struct api *api = arg;
    uint64_t now_ms = clock_ms();
    for (struct reply *reply = api->replies; reply; reply = reply->next)
        reply_tick(reply, now_ms);
    keys_tick(api, now_ms);
    handovers_tick(api, now_ms);
}

// The server is asked to stop: what only waits is refused at once, what runs may go on for a while.
static void stop_begins(void *arg)
{
    struct api *api = arg;
    api->stopping = true;
    pulls_stop(api);
    sched_stop(api->options.sched, UINT32_MAX); // until stop_ends says when
    for (struct reply *reply = api->replies; reply; reply = reply->next)
        if (!reply->begun)
            reply_stop(reply);
}

static void stop_ends(void *arg)
{
    struct api *api = arg;
    sched_stop(api->options.sched, 0);
    for (struct reply *reply = api->replies; reply; reply = reply->next)
        reply_stop(reply);
}

// Of those without a key nothing is kept but a count: they fill no log.
static void answered(void *arg, const struct request *request, const struct answered *answered)
{
    struct api *api = arg;
    const struct key *key = keys_who(&api->keys, request->who);
    const int method = (int)(request->method.n < 20 ? request->method.n : 20),
              path = (int)(request->path.n < 120 ? request->path.n : 120);
    const unsigned long long ms = answered->took_ms;
    char end[40];
    api->metrics.n_answers[(unsigned)answered->code / 100 % 6]++;
    if (request->who == 0)
        return;
    if (answered->code)
        snprintf(end, sizeof(end), "%d after", answered->code);
    else
        snprintf(end, sizeof(end), "the client left after");
    log_note("%s: %.*s %.*s: %s %llu ms, %s", request->id, method, (const char *)request->method.p,
             path, (const char *)request->path.p, end, ms, key ? key->id : "a key that is revoked");
    if (route_is_audited(request))
        audit_add(api, key, request, answered);
}

void api_attach(struct api *api, struct net *net, void (*changed)(void *), void *arg)
{
    api->net = net;
    api->changed = changed;
    api->changed_arg = arg;
    net_watch(net, sched_event_fd(api->options.sched), events_ready, api);
    net_watch(net, scribe_fd(api->scribe), scribe_waits_tell, api);
    net_watch(net, store_fd(api->options.store), store_ready, api);
    net_every(net, 1000, tick, api);
    net_every(net, 250, pulls_tick, api);
    net_on_answer(net, answered, api);
    net_on_refuse(net, api_refused, api);
    uploads_begin(api);
    net_on_stop(net, stop_begins, stop_ends, api);
}

const char *api_key(const struct api *api)
{
    return api->key;
}

void api_on_key(struct api *api, void (*changed)(void *), void *arg)
{
    api->key_changed = changed;
    api->key_changed_arg = arg;
}

bool api_key_is_new(const struct api *api)
{
    return api->key_is_new;
}
