// api_waits.c - answers that wait for the scribe (engine/api/scribe_waits.c): each is told the
// outcome of its own writing, also when its client has left; one that failed may wait for the next
// of its kind; and what still waits at the end is dropped.
#include "../../engine/api/inside.h"
#include "check.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

struct exchange { // stands in for net's
    net_gone *gone;
    void *owner;
};

struct thing {
    struct scribe_wait wait;
    int n_ended, n_dropped;
    bool again; // waits for the next one when it failed
    enum status status;
    struct exchange *answered;
};

static struct api api;
static const char *state = "build/test/api_waits";
static int n_ended;

void exchange_owner(struct exchange *exchange, net_gone *on_gone, void *arg)
{
    exchange->gone = on_gone;
    exchange->owner = arg;
}

static void drop(struct scribe_wait *wait)
{
    ((struct thing *)wait)->n_dropped++;
}

static void ended(struct api *of, struct scribe_wait *wait, const struct err *err)
{
    struct thing *thing = (struct thing *)wait;
    const uint64_t next = err->status != OK && thing->again ? scribe_waits_behind(of, wait) : 0;
    n_ended++;
    if (next) {
        scribe_waits_add(of, wait, next, wait->exchange);
        return;
    }
    thing->n_ended++;
    thing->status = err->status;
    thing->answered = wait->exchange;
}

static void ended_too(struct api *of, struct scribe_wait *wait, const struct err *err)
{
    ended(of, wait, err);
}

static uint64_t write_to(const char *name)
{
    char path[200];
    struct buf content;
    const uint64_t id = scribe_waits_id(&api);
    snprintf(path, sizeof(path), "%s/%s", state, name);
    buf_init(&content, 10);
    CHECK(buf_add(&content, "x", 1) == OK && scribe_write(api.scribe, id, path, &content));
    return id;
}

static void tell_until(int n)
{
    struct pollfd fd = {.fd = scribe_fd(api.scribe), .events = POLLIN};
    while (n_ended < n && CHECK(poll(&fd, 1, 10000) == 1))
        scribe_waits_tell(&api, fd.fd);
    CHECK(n_ended == n);
}

static struct thing thing_of(bool other_kind)
{
    return (struct thing){.wait = {.ended = other_kind ? ended_too : ended, .drop = drop}};
}

int main(void)
{
    struct err err = {0};
    struct exchange first = {0}, second = {0}, left = {0};
    struct thing one = thing_of(false), same = thing_of(true), bad = thing_of(false),
                 later = thing_of(false), other = thing_of(true), never = thing_of(false);
    log_level_set(LOG_ERROR + 1);
    CHECK(file_make_dir("build/test", 0755, &err) == OK && file_make_dir(state, 0700, &err) == OK);
    scribe_open(&api.scribe);

    const uint64_t id = write_to("a");
    scribe_waits_add(&api, &one.wait, id, &first);
    scribe_waits_add(&api, &same.wait, id, &left);
    CHECK(first.owner == &one && left.owner == &same && left.gone);
    left.gone(left.owner, &left);
    tell_until(2);
    CHECK(one.n_ended == 1 && one.status == OK && one.answered == &first);
    CHECK(same.n_ended == 1 && same.status == OK && !same.answered);

    bad.again = true; // for `later`, not for `other`, whose writing is between them
    scribe_waits_add(&api, &bad.wait, write_to("nowhere/b"), &second);
    scribe_waits_add(&api, &other.wait, write_to("nowhere/c"), NULL);
    scribe_waits_add(&api, &later.wait, write_to("d"), NULL);
    CHECK(scribe_waits_behind(&api, &bad.wait) == later.wait.id);
    CHECK(scribe_waits_behind(&api, &later.wait) == 0);
    tell_until(6);
    CHECK(bad.n_ended == 1 && bad.status == OK && bad.answered == &second);
    CHECK(later.n_ended == 1 && later.status == OK);
    CHECK(other.n_ended == 1 && other.status != OK);

    scribe_waits_add(&api, &never.wait, write_to("e"), NULL);
    scribe_close(api.scribe);
    scribe_waits_close(&api);
    CHECK(never.n_dropped == 1 && never.n_ended == 0 && one.n_dropped == 0 && !api.waits);
    for (const char *name = "ade"; *name; name++) {
        char path[200];
        snprintf(path, sizeof(path), "%s/%c", state, *name);
        CHECK(unlink(path) == 0); // all that was given was written
    }
    return check_done("api_waits");
}
