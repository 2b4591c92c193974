// store.c - the caller's side of the store: what there is, and what is to be done.
//
// The two sides share two rings and nothing else: what is pushed belongs to the other. The first
// scan is made here, before the thread runs, so that names are known from the start.
#include "inside.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

// ---- opening and closing ------------------------------------------------------------------------

// As it is, where it is not there yet: links in it are not followed then.
static bool folder_add(struct store *store, const char *path, bool is_ours)
{
    char real[PATH_MAX];
    const char *found = realpath(path, real) ? real : path;
    struct folder *folder = &store->folders[store->n_folders];
    int n = snprintf(folder->path, sizeof(folder->path), "%s", found);
    if (n < 0 || (size_t)n >= sizeof(folder->path))
        return false;
    for (size_t i = 0; i < store->n_folders; i++)
        if (strcmp(store->folders[i].path, folder->path) == 0)
            return true;
    folder->is_ours = is_ours;
    store->n_folders++;
    return true;
}

static enum status read_folders(struct store *store, const char *text, struct err *err)
{
    for (const char *at = text + strspn(text, ", \t"); *at; at += strspn(at, ", \t")) {
        char path[STORE_PATH_BYTES];
        size_t n = strcspn(at, ",");
        const char *next = at + n;
        while (n > 0 && (at[n - 1] == ' ' || at[n - 1] == '\t'))
            n--;
        if (at[0] != '/' || n >= sizeof(path))
            return err_set(err, BAD_INPUT,
                           "models: \"%.*s\" is not a folder's path that begins with a slash",
                           (int)(n < 80 ? n : 80), at);
        if (store->n_folders == COUNT_OF(store->folders) - 1)
            return err_set(err, TOO_LARGE, "models: more than %d folders", STORE_FOLDERS_MOST);
        snprintf(path, sizeof(path), "%.*s", (int)n, at);
        if (!folder_add(store, path, false))
            return err_set(err, TOO_LARGE, "models: the path %.80s is too long", path);
        at = next;
    }
    return OK;
}

static enum status read_options(struct store *store, const struct store_options *options,
                                struct err *err)
{
    store->describe = options->describe;
    if (options->home[0] && !folder_add(store, options->home, true))
        return err_set(err, TOO_LARGE, "the path %.80s is too long", options->home);
    for (size_t i = 0; i < COUNT_OF(store->files); i++)
        if (options->files[i])
            snprintf(store->files[i], sizeof(store->files[i]), "%s", options->files[i]);
    snprintf(store->kept, sizeof(store->kept), "%s", options->kept);
    enum status status = read_folders(store, options->folders, err);
    if (status == OK && options->attached && options->attached[0])
        (void)folder_add(store, options->attached, false);
    if (status == OK)
        status = names_read_setting(&store->names, options->aliases, err);
    if (status == OK)
        names_read_kept(&store->names, store->kept);
    return status;
}

enum status store_settings_good(const char *folders, const char *aliases, struct err *err)
{
    struct store *scratch = mem_alloc(sizeof(*scratch));
    scratch->n_folders = 1; // the box's own
    enum status status = read_folders(scratch, folders, err);
    if (status == OK)
        status = names_read_setting(&scratch->names, aliases, err);
    free(scratch);
    return status;
}

enum status store_open(struct store **out, const struct store_options *options, struct err *err)
{
    struct store *store = mem_alloc(sizeof(*store));
    sigset_t all, before;
    enum status status = read_options(store, options, err);
    if (status != OK) {
        free(store);
        return status;
    }
    store->watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    ring_open(&store->tasks, RING_SLOTS);
    ring_open(&store->answers, RING_SLOTS);
    store->slice = mem_alloc(SLICE_BYTES);
    digests_read(&store->digests, options->digests);
    berths_read(store);
    incoming_begin(store);
    store->last = scan(store);
    store->list = list_copy(store);
    sigfillset(&all); // signals are the main thread's
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&store->thread, NULL, store_main, store);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code)
        die("the store's thread cannot be started: %s", strerror(code));
    *out = store;
    return OK;
}

void task_free(struct store_task *task)
{
    free(task->made);
    free(task->piece);
    free(task);
}

void task_push(struct store *store, struct store_task *task)
{
    while (ring_push(store->tasks, task) != OK) {
        struct timespec moment = {.tv_nsec = 5000000};
        nanosleep(&moment, NULL);
    }
}

void store_close(struct store *store)
{
    if (!store)
        return;
    struct store_task *end = mem_alloc(sizeof(*end));
    end->kind = TASK_END;
    atomic_store(&store->ends, true);
    task_push(store, end);
    pthread_join(store->thread, NULL);
    for (struct store_answer *answer; (answer = ring_pop(store->answers)) != NULL;) {
        list_close(answer->list);
        free(answer->landed);
        free(answer);
    }
    for (struct store_task *task; (task = ring_pop(store->tasks)) != NULL;)
        task_free(task);
    incoming_close(store);
    landings_close(store);
    digests_close(&store->digests);
    free(store->slice);
    ring_close(store->tasks);
    ring_close(store->answers);
    list_close(store->list);
    list_close(store->last);
    if (store->watch_fd >= 0)
        close(store->watch_fd);
    free(store);
}

// ---- what there is ------------------------------------------------------------------------------

size_t store_n_models(const struct store *store)
{
    return store->list->n_models;
}

const struct store_model *store_model(const struct store *store, size_t i)
{
    return &store->list->models[i];
}

size_t store_n_aliases(const struct store *store)
{
    return store->list->n_aliases;
}

const struct store_alias *store_alias(const struct store *store, size_t i)
{
    return &store->list->aliases[i];
}

const struct store_model *store_find_file(const struct store *store, struct bytes name)
{
    for (size_t i = 0; i < store->list->n_models; i++)
        if (bytes_equal_text(name, store->list->models[i].name))
            return &store->list->models[i];
    return NULL;
}

const struct store_model *store_find_digest(const struct store *store, struct bytes sha256)
{
    for (size_t i = 0; i < store->list->n_models && sha256.n > 0; i++)
        if (bytes_equal_text(sha256, store->list->models[i].sha256))
            return &store->list->models[i];
    return NULL;
}

static const struct store_model *by_alias(const struct store *store, struct bytes name)
{
    for (size_t i = 0; i < store->list->n_aliases; i++)
        if (bytes_equal_text(name, store->list->aliases[i].name))
            return store_find_file(store, bytes_of(store->list->aliases[i].model));
    return NULL;
}

const struct store_model *store_find(const struct store *store, struct bytes name)
{
    const struct store_model *model = store_find_file(store, name);
    if (!model)
        model = by_alias(store, name);
    return model ? model : by_alias(store, bytes_of("*"));
}

const char *store_names(const struct store *store, char *out, size_t size)
{
    enum { SHOWN_MOST = 20, REST = 24 };
    const size_t n_models = store->list->n_models;
    size_t n = 0, i = 0;
    out[0] = 0;
    for (; i < n_models && i < SHOWN_MOST; i++) {
        const char *name = store->list->models[i].name;
        if (n + strlen(name) + REST >= size)
            break;
        n += (size_t)snprintf(out + n, size - n, "%s%s", i > 0 ? ", " : "", name);
    }
    if (i < n_models)
        snprintf(out + n, size - n, " and %zu more", n_models - i);
    return out;
}

// ---- what may be done ---------------------------------------------------------------------------

static enum status send(struct store *store, enum store_task_kind kind, uint64_t id,
                        const char *path, struct bytes name, struct bytes model, struct err *err)
{
    if (store->n_open >= TASKS_MOST)
        return err_set(err, NO_ROOM, "%zu changes of models are under way; try again soon",
                       store->n_open);
    struct store_task *task = mem_alloc(sizeof(*task));
    task->kind = kind;
    task->id = id;
    snprintf(task->path, sizeof(task->path), "%s", path);
    if (name.n)
        memcpy(task->name, name.p, name.n < STORE_NAME_BYTES ? name.n : STORE_NAME_BYTES - 1);
    if (model.n)
        memcpy(task->model, model.p, model.n < STORE_NAME_BYTES ? model.n : STORE_NAME_BYTES - 1);
    store->n_open++;
    task_push(store, task);
    return OK;
}

static enum status name_check(const struct store *store, struct bytes name, struct err *err)
{
    char text[NAME_TEXT];
    if (!store_name_good(name))
        return err_set(err, BAD_INPUT,
                       "'%s' cannot be a model's name: 1 to 200 bytes without slashes and control "
                       "characters, and not with a dot in front",
                       name_text(text, name));
    if (store_find_file(store, name))
        return err_set(err, DENIED, "there is a model '%s' already", name_text(text, name));
    if (incoming_has_name(store, name))
        return err_set(err, DENIED, "a model '%s' is arriving", name_text(text, name));
    return OK;
}

enum status store_copy(struct store *store, uint64_t id, const struct store_model *from,
                       struct bytes to, struct err *err)
{
    enum status status = name_check(store, to, err);
    if (status != OK)
        return status;
    if (!from->is_ours && names_pair_good(to, bytes_of(from->name), err) != OK)
        return err->status;
    if (!from->is_ours)
        return send(store, TASK_NAME, id, "", to, bytes_of(from->name), err);
    return send(store, TASK_COPY, id, from->path, to, (struct bytes){NULL, 0}, err);
}

enum status store_name(struct store *store, uint64_t id, struct bytes name, struct bytes model,
                       struct err *err)
{
    char text[NAME_TEXT];
    enum status status = model.n > 0 ? name_check(store, name, err) : OK;
    if (status == OK && model.n > 0 && !store_find_file(store, model))
        status = err_set(err, NOT_FOUND, "there is no model '%s'", name_text(text, model));
    if (status == OK && model.n > 0)
        status = names_pair_good(name, model, err);
    return status == OK ? send(store, TASK_NAME, id, "", name, model, err) : status;
}

enum status store_delete(struct store *store, uint64_t id, const struct store_model *model,
                         struct err *err)
{
    if (!model->is_ours)
        return err_set(err, DENIED, "the model '%s' lies where nothing can be deleted (%s)",
                       model->name, model->path);
    return send(store, TASK_DELETE, id, model->path, (struct bytes){NULL, 0},
                (struct bytes){NULL, 0}, err);
}

int store_fd(const struct store *store)
{
    return ring_fd(store->answers);
}

bool store_take(struct store *store, struct store_done *out)
{
    struct store_answer *answer = ring_pop(store->answers);
    if (!answer)
        return false;
    *out = (struct store_done){.id = answer->id, .err = answer->err};
    if (answer->list) {
        list_close(store->list);
        store->list = answer->list;
    }
    if (answer->id)
        store->n_open--;
    if (answer->landed)
        incoming_take(store, answer->landed);
    free(answer);
    return true;
}
