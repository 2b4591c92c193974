// thread.c - the store's thread: it sleeps until there is something to do, or a folder changes.
//
// A change is looked at when none has come for SETTLE_MS, but at least every SETTLE_MOST_MS: a copy
// of a large file is a stream of changes. Heads that are not known yet are read one by one, what
// has arrived is hashed slice by slice, and what is to be done comes between two of these. When
// there is nothing else, files are hashed whose digest is not known.
#include "base/confine.h"
#include "inside.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SETTLE_MS = 200, SETTLE_MOST_MS = 2000, TOLD_MS = 500, EXPIRE_MS = 3600 * 1000 };

void answer_push(struct store *store, struct store_answer *answer)
{
    while (ring_push(store->answers, answer) != OK) {
        struct timespec moment = {.tv_nsec = 5000000};
        if (atomic_load(&store->ends)) { // nobody takes them any more
            list_close(answer->list);
            free(answer->landed);
            free(answer);
            return;
        }
        nanosleep(&moment, NULL);
    }
}

static void answer_send(struct store *store, uint64_t id, const struct err *err)
{
    struct store_answer *answer = mem_alloc(sizeof(*answer));
    answer->id = id;
    answer->err = *err;
    answer->list = list_copy(store);
    answer_push(store, answer);
}

void rescan(struct store *store)
{
    struct store_list *list = scan(store);
    list_close(store->last);
    store->last = list;
}

// One head that is not known. False: all are.
static bool describe_one(struct store *store)
{
    for (size_t i = 0; i < store->last->n_models; i++) {
        struct store_model *model = &store->last->models[i];
        if (model->is_described)
            continue;
        model->is_described = true;
        if (store->describe(&model->about, model->path, &model->fault) == OK)
            model->fault.status = OK;
        else
            log_info("model %s: %s", model->name, model->fault.text);
        err_hide_folder(&model->fault, model->path);
        return true;
    }
    return false;
}

// Takes what is to be done. False: the end.
static bool take_tasks(struct store *store)
{
    struct store_task *task;
    bool go_on = true;
    while ((task = ring_pop(store->tasks)) != NULL) {
        go_on = go_on && task->kind != TASK_END;
        if (go_on && task->kind >= TASK_MAKE) {
            landing_do(store, task);
        } else if (go_on) {
            struct err err = {0};
            if (task_do(store, task, &err) != OK)
                log_info("store: %s", err.text);
            rescan(store);
            answer_send(store, task->id, &err);
        }
        task_free(task);
    }
    return go_on;
}

// Empties what the kernel tells; what it was does not matter. True: there was something.
static bool folders_changed(const struct store *store)
{
    char events[4096];
    bool any = false;
    while (store->watch_fd >= 0 && read(store->watch_fd, events, sizeof(events)) > 0)
        any = true;
    return any;
}

static void sleep_on(const struct store *store, int wait_ms)
{
    struct pollfd fds[] = {{.fd = ring_fd(store->tasks), .events = POLLIN},
                           {.fd = store->watch_fd, .events = POLLIN}};
    if (poll(fds, store->watch_fd >= 0 ? 2 : 1, wait_ms) < 0 && errno != EINTR)
        die("poll in the store's thread: %s", strerror(errno));
}

// What is done between tasks, a piece of it. False: there is nothing.
static bool work(struct store *store, bool *news)
{
    if (landing_step(store))
        return true;
    const bool described = describe_one(store);
    *news |= described;
    return described;
}

void *store_main(void *arg)
{
    struct store *store = arg;
    struct err none = {0};
    thread_begin("store", THREAD_FILES);
    uint64_t changed_ms = 0, settled_ms = 0, told_ms = clock_ms(); // 0: nothing is changed
    uint64_t expire_ms = 0;
    bool news = false;
    while (take_tasks(store)) {
        const uint64_t now_ms = clock_ms();
        int rest_ms = EXPIRE_MS;
        if (now_ms >= expire_ms) {
            landings_expire(store);
            expire_ms = now_ms + EXPIRE_MS;
        }
        if (folders_changed(store)) {
            settled_ms = now_ms + SETTLE_MS;
            changed_ms = changed_ms ? changed_ms : now_ms;
        }
        if (changed_ms && (now_ms >= settled_ms || now_ms >= changed_ms + SETTLE_MOST_MS)) {
            changed_ms = 0;
            rescan(store);
            news = true;
        }
        const bool busy = work(store, &news);
        if (!busy && !changed_ms)
            rest_ms = digests_step(store, &news);
        if (news && (!busy || now_ms >= told_ms + TOLD_MS)) {
            answer_send(store, 0, &none);
            told_ms = now_ms;
            news = false;
        }
        if (!busy)
            sleep_on(store, changed_ms ? SETTLE_MS / 2 : rest_ms >= 0 ? rest_ms : EXPIRE_MS);
    }
    return NULL;
}
