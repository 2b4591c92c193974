// scribe_waits.c - answers that wait until what was changed is on the disk.
//
// Each writing that is waited for has a number of its own; its outcome names it, and whoever waits
// for that number is told. A client that leaves meanwhile takes nothing back: what it asked for is
// written, and only its answer is left out.
#include "inside.h"

uint64_t scribe_waits_id(struct api *api)
{
    return ++api->last_writing;
}

static void gone(void *arg, struct exchange *exchange)
{
    struct scribe_wait *wait = arg;
    if (wait->exchange == exchange)
        wait->exchange = NULL;
}

void scribe_waits_add(struct api *api, struct scribe_wait *wait, uint64_t id,
                      struct exchange *exchange)
{
    wait->id = id;
    wait->exchange = exchange;
    if (exchange)
        exchange_owner(exchange, gone, wait);
    wait->next = api->waits;
    api->waits = wait;
}

uint64_t scribe_waits_behind(const struct api *api, const struct scribe_wait *wait)
{
    uint64_t next = 0;
    for (const struct scribe_wait *one = api->waits; one; one = one->next)
        if (one->ended == wait->ended && one->id > wait->id && (!next || one->id < next))
            next = one->id;
    return next;
}

// Those that wait for that writing, which wait no longer.
static struct scribe_wait *take_out(struct api *api, uint64_t id)
{
    struct scribe_wait *out = NULL, **end = &out;
    for (struct scribe_wait **at = &api->waits; *at;) {
        struct scribe_wait *wait = *at;
        if (wait->id != id) {
            at = &wait->next;
            continue;
        }
        *at = wait->next;
        wait->next = NULL;
        *end = wait;
        end = &wait->next;
    }
    return out;
}

void scribe_waits_tell(void *arg, int fd)
{
    (void)fd;
    struct api *api = arg;
    struct scribed outcome;
    while (scribe_take(api->scribe, &outcome)) {
        struct scribe_wait *next = take_out(api, outcome.id);
        while (next) {
            struct scribe_wait *wait = next;
            next = wait->next;
            wait->ended(api, wait, &outcome.err);
        }
    }
}

void scribe_waits_close(struct api *api)
{
    while (api->waits) {
        struct scribe_wait *wait = api->waits;
        api->waits = wait->next;
        wait->drop(wait);
    }
}
