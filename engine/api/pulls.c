// pulls.c - all pulls: those under way and the last that are over, and which of them go on after a
// restart of the engine.
//
// What a pull does step by step is in pull.c, who asks for it and is told in pull_route.c. A pull
// that was cut is found by its arrival in the store, whose `source` says what was asked for.
#include "pull.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pull *pull_find(const struct api *api, uint64_t number)
{
    struct pull *pull = api->pulls;
    while (pull && pull->number != number)
        pull = pull->next;
    return pull;
}

struct pull *pull_find_name(const struct api *api, const char *name)
{
    struct pull *pull = api->pulls;
    while (pull && (pull_is_over(pull) || strcmp(pull->source.name, name) != 0))
        pull = pull->next;
    return pull;
}

// Room for one more; of those that are over the oldest is forgotten.
static bool make_place(struct api *api)
{
    size_t n = 0, n_open = 0;
    struct pull **oldest = NULL;
    for (struct pull **at = &api->pulls; *at; at = &(*at)->next) {
        n++;
        n_open += !pull_is_over(*at);
        if (pull_is_over(*at) && !(*at)->followers)
            oldest = at;
    }
    if (n >= PULLS_KEPT && oldest) {
        struct pull *pull = *oldest;
        *oldest = pull->next;
        free(pull);
    }
    return n_open < PULLS_MOST;
}

struct pull *pull_open(struct api *api, const struct source *source, struct bytes text,
                       struct err *err)
{
    if (!make_place(api)) {
        (void)err_set(err, NO_ROOM,
                      "%d models are being pulled, which is the most: try again when "
                      "one is there",
                      PULLS_MOST);
        return NULL;
    }
    struct pull *pull = mem_alloc(sizeof(*pull));
    pull->api = api;
    pull->number = ++api->last_pull;
    pull->source = *source;
    snprintf(pull->text, sizeof(pull->text), "%.*s", (int)text.n, (const char *)text.p);
    snprintf(pull->shown, sizeof(pull->shown), "%.*s", (int)strcspn(pull->text, "?#"), pull->text);
    pull->began_s = clock_unix_s();
    buf_init(&pull->body, SOURCE_LISTING_BYTES);
    pull->next = api->pulls;
    api->pulls = pull;
    log_info("pull of %s begins, as %s", pull->shown, source->name);
    pull_list(pull);
    return pull;
}

static void measure(struct pull *pull, uint64_t now_ms)
{
    const uint64_t bytes = pull_bytes(pull);
    if (pull->state != PULL_FETCHES)
        return;
    if (pull->rate_at_ms == 0) {
        pull->rate_at_ms = now_ms;
        pull->rate_bytes = bytes;
    } else if (now_ms >= pull->rate_at_ms + 1000) {
        const double rate =
            (double)(bytes - pull->rate_bytes) * 1000 / (double)(now_ms - pull->rate_at_ms);
        pull->rate = pull->rate > 0 ? 0.7 * pull->rate + 0.3 * rate : rate;
        pull->rate_at_ms = now_ms;
        pull->rate_bytes = bytes;
    }
}

// Goes on with an arrival: "SOURCE as NAME" stands in it. NO_ROOM: not now; others: not at all.
static enum status go_on(struct api *api, const struct arrival *at)
{
    struct source source;
    struct err err = {0};
    const char *as = NULL;
    for (const char *p = strstr(at->source, " as "); p; p = strstr(p + 1, " as "))
        as = p;
    if (at->phase != INCOMING_ARRIVES || at->is_held || !as)
        return CLOSED;
    const struct bytes text = {(const uint8_t *)at->source, (size_t)(as - at->source)};
    if (source_read(&source, text, api->options.registry, api->options.hub, &err) != OK)
        return err.status;
    snprintf(source.name, sizeof(source.name), "%s", as + 4);
    if (pull_find_name(api, source.name))
        return CLOSED;
    struct pull *pull = pull_open(api, &source, text, &err);
    if (!pull)
        return err.status;
    pull->is_patient = true;
    return OK;
}

static int newer_first(const void *a, const void *b)
{
    const int64_t x = incoming_at(*(struct incoming *const *)a)->moved_s,
                  y = incoming_at(*(struct incoming *const *)b)->moved_s;
    return (x < y) - (x > y);
}

// What a stop of the engine has cut, those first that moved last: as many at once as may be go on.
static void find_cut(struct api *api)
{
    const struct store *store = api->options.store;
    const size_t n = store_n_incoming(store);
    struct incoming **cut = mem_array(n + 1, sizeof(struct incoming *));
    size_t n_cut = 0;
    for (size_t i = 0; i < n; i++) {
        const struct arrival *at = incoming_at(store_incoming(store, i));
        if (at->phase == INCOMING_ARRIVES && !at->is_held && strncmp(at->id, "pull-", 5) == 0)
            cut[n_cut++] = store_incoming(store, i);
    }
    qsort(cut, n_cut, sizeof(struct incoming *), newer_first);
    api->cut = mem_array(n_cut + 1, sizeof(*api->cut));
    for (size_t i = 0; i < n_cut; i++)
        snprintf(api->cut[i], sizeof(api->cut[i]), "%s", incoming_at(cut[i])->id);
    api->n_cut = n_cut;
    free(cut);
}

static void resume(struct api *api)
{
    if (!api->cut)
        find_cut(api);
    for (; api->at_cut < api->n_cut; api->at_cut++) {
        const struct incoming *incoming =
            store_incoming_find(api->options.store, bytes_of(api->cut[api->at_cut]));
        if (incoming && go_on(api, incoming_at(incoming)) == NO_ROOM)
            return;
    }
}

void pulls_tick(void *arg)
{
    struct api *api = arg;
    const uint64_t now_ms = clock_ms();
    resume(api);
    for (struct pull *pull = api->pulls; pull; pull = pull->next) {
        measure(pull, now_ms);
        if (pull->state == PULL_WAITS && now_ms >= pull->wait_until_ms && !api->stopping)
            pull_go_on(pull);
        if (!pull_is_over(pull))
            pull_tell(pull);
    }
}

// After net_close: no fetch and no follower lives any more.
void pulls_close(struct api *api)
{
    free(api->cut);
    while (api->pulls) {
        struct pull *pull = api->pulls;
        api->pulls = pull->next;
        pull_let_go(pull);
        buf_free(&pull->body);
        explicit_bzero(pull->token, sizeof(pull->token));
        free(pull);
    }
}

// The server stops: who follows is told; the pulls go on with the next start.
void pulls_stop(struct api *api)
{
    for (struct pull *pull = api->pulls; pull; pull = pull->next)
        pull_leave(pull, "The server is stopping; the pull goes on when it runs again.");
}
