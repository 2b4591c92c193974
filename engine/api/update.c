// update.c - GET and POST /v1/update: the next version of the whole system.
//
// The file is an arrival of the store (incoming.h, "update-..."); when it is whole and on the disk,
// PID 1 is told of it by a line on the heartbeat pipe, checks it and writes it: this program has no
// right to. How that stands is in a small file of PID 1's in memory, `key=value` lines
// (init/update.c), which is read for every answer. What runs without PID 1 takes no updates.
#include "taking.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UPDATE_BYTES_MOST = 192 << 20, ANSWER_BYTES = 8192 };
enum { TOLD_MS = 10000 }; // until PID 1 has begun with it
static const char UPDATE[] = "update-", OLDER[] = "update-older-";

// The one that is being sent; NULL: none is.
static const struct arrival *arriving(const struct api *api)
{
    for (size_t i = 0; i < store_n_incoming(api->options.store); i++) {
        const struct arrival *at = incoming_at(store_incoming(api->options.store, i));
        if (incoming_is_update(at->id) && at->phase < INCOMING_KEPT)
            return at;
    }
    return NULL;
}

// Between the telling and the first that PID 1 says of it.
static bool is_told(struct api *api, const char *text)
{
    if (api->update_told_ms > 0 &&
        (strcmp(text, api->update_before) != 0 || clock_ms() - api->update_told_ms > TOLD_MS))
        api->update_told_ms = 0;
    return api->update_told_ms > 0;
}

static void system_write(struct json *json, const char *name, const char *text, const char *version,
                         const char *built)
{
    char value[TOLD_VALUE];
    if (!told_value(value, text, version))
        return;
    json_object(json, name);
    json_string(json, "version", value);
    (void)told_value(value, text, built);
    json_whole(json, "built", strtoll(value, NULL, 10));
    json_end(json);
}

static void status_reply(struct api *api, struct exchange *exchange, int http)
{
    char text[TOLD_BYTES + 1], value[TOLD_VALUE];
    struct json json;
    told_read(api->options.update_status, text);
    const struct arrival *at = arriving(api);
    const bool supported = told_value(value, text, "state");
    json_init(&json, ANSWER_BYTES);
    json_object(&json, NULL);
    json_string(&json, "object", "update");
    json_bool(&json, "supported", supported);
    json_string(&json, "state",
                at                   ? "receiving"
                : is_told(api, text) ? "checking"
                : supported          ? value
                                     : "none");
    if (at) {
        json_whole(&json, "bytes", (int64_t)at->n_bytes);
        json_whole(&json, "received", (int64_t)at->n_taken);
    } else {
        if (told_value(value, text, "version"))
            json_string(&json, "version", value);
        if (told_value(value, text, "why"))
            json_string(&json, "why", value);
    }
    system_write(&json, "running", text, "running", "running_built");
    system_write(&json, "other", text, "other", "other_built");
    json_end(&json);
    exchange_reply_header(exchange, "Cache-Control", "no-store");
    json_reply(exchange, http, &json);
}

void update_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)request;
    status_reply(api, exchange, 200);
}

// ---- taking one ---------------------------------------------------------------------------------

// All of it is on the disk: PID 1's turn.
static void arrived(struct api *api, struct exchange *exchange, const struct arrival *at)
{
    char line[INCOMING_ID_BYTES + 32];
    const bool older = strncmp(at->id, OLDER, sizeof(OLDER) - 1) == 0;
    snprintf(line, sizeof(line), "%s %s\n", older ? "update-older" : "update", at->id);
    told_read(api->options.update_status, api->update_before);
    api->update_told_ms = clock_ms();
    exchange_note(exchange, "an update, %llu bytes", (unsigned long long)at->n_bytes);
    api->options.tell_init(api->options.tell_init_arg, line);
    status_reply(api, exchange, 202);
}

static bool can_take(struct api *api, const struct request *request, struct refusal *refusal)
{
    char text[TOLD_BYTES + 1], state[TOLD_VALUE];
    told_read(api->options.update_status, text);
    if (!told_value(state, text, "state") || !api->options.tell_init)
        return refuse(refusal, 501, "unsupported_value", NULL,
                      "Nothing here takes updates: only the appliance does, from a disk that an "
                      "image with slots was written to. A container is replaced by one of the new "
                      "image (boot/containers.md), a program by hand.");
    if (request->query.n > 0 && !bytes_equal_text(request->query, "older=yes"))
        return refuse(refusal, 400, "invalid_value", NULL,
                      "What may follow the '?' is older=yes: then a version may be older than the "
                      "one that runs.");
    if (!request->has_body)
        return refuse(refusal, 411, "length_required", NULL,
                      "The update is the body: send the file with Content-Length.");
    if (request->body_bytes > UPDATE_BYTES_MOST)
        return refuse(refusal, 413, "too_large", NULL, "An update has at most %d MB.",
                      UPDATE_BYTES_MOST >> 20);
    if (is_told(api, text) || strcmp(state, "checking") == 0 || strcmp(state, "verified") == 0 ||
        strcmp(state, "trying") == 0)
        return refuse(refusal, 409, "update_under_way", NULL,
                      "An update is under way: GET /v1/update tells how it stands.");
    return true;
}

// Those that came before it and did not become anything.
static void forget_others(struct api *api)
{
    for (size_t i = 0; i < store_n_incoming(api->options.store);) {
        struct incoming *one = store_incoming(api->options.store, i);
        const struct arrival *at = incoming_at(one);
        if (incoming_is_update(at->id) && at->phase < INCOMING_DONE)
            incoming_delete(one); // it is not counted any more
        else
            i++;
    }
}

void update_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct err err = {0};
    char id[INCOMING_ID_BYTES];
    struct taking_plan plan = {
        .finishes = true, .one_shot = true, .errors = ERRORS_OPENAI, .done = arrived};
    if (!can_take(api, request, &refusal)) {
        refusal_reply(exchange, &refusal);
        return;
    }
    forget_others(api);
    upload_id(id, request->query.n > 0 ? OLDER : UPDATE);
    const struct incoming_wish wish = {.id = bytes_of(id), .n_bytes = request->body_bytes};
    plan.cap_bytes = request->body_bytes > 0 ? request->body_bytes : UPDATE_BYTES_MOST;
    if (incoming_make(api->options.store, &wish, &plan.incoming, &err) == OK) {
        taking_begin(api, exchange, &plan);
    } else {
        (void)refuse_arrival(&refusal, &err);
        refusal_reply(exchange, &refusal);
    }
}
