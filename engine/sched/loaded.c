// loaded.c - which models are loaded: opened when a job names one, closed when nobody has used it
// for as long as it is kept, or when another needs the memory.
//
// A model is in use while it has works, or while the encoder reads its tokenizer (the prompt of a
// job that was cancelled may still be there). One in use or pinned is never closed. A model that
// failed stays in the list with its reason, takes nothing, and is tried again by a job that comes
// RETRY_MS later: its file may be another now. One whose file was taken away is closed as soon as
// nobody uses it, and opened anew by the next job.
#include "keep.h"

#include <stdlib.h>
#include <string.h>

enum { RETRY_MS = 2000, FAILED_SHOWN_MS = 600000, LOOK_MS = 50, HOUR_MS = 3600000 };

// ---- finding and opening ------------------------------------------------------------------------

// Whether the setting `pin` has the name: a list with commas.
static bool pin_has(const char *pinned, const char *name)
{
    const size_t n_name = strlen(name);
    for (const char *at = pinned + strspn(pinned, ", \t"); *at; at += strspn(at, ", \t")) {
        size_t n = strcspn(at, ","), all = n;
        while (n > 0 && (at[n - 1] == ' ' || at[n - 1] == '\t'))
            n--;
        if (n == n_name && memcmp(at, name, n) == 0)
            return true;
        at += all;
    }
    return false;
}

bool loaded_pins(const struct loaded *loaded)
{
    const char *pinned = loaded->engine->sched->settings.pinned;
    return pin_has(pinned, loaded->name) ||
           (loaded->model && pin_has(pinned, model_info(loaded->model)->id));
}

static bool is_main(const struct engine *engine, const struct ask *ask)
{
    return ask->model_path.n == 0 ? ask->model.n == 0
                                  : bytes_equal_text(ask->model_path, engine->sched->model_path);
}

// By its file, where one is given; by its name else. One whose name is not known yet may be it.
static bool is_meant(const struct loaded *loaded, const struct ask *ask)
{
    if (ask->model_path.n > 0)
        return bytes_equal_text(ask->model_path, loaded->path);
    if (ask->model.n == 0)
        return loaded->is_main;
    return !loaded->name[0] || bytes_equal_text(ask->model, loaded->name) ||
           (loaded->model && bytes_equal_text(ask->model, model_info(loaded->model)->id));
}

struct loaded *loaded_find(struct engine *engine, const struct ask *ask)
{
    for (int32_t i = 0; i < engine->n_loaded; i++)
        if (is_meant(engine->loaded[i], ask))
            return engine->loaded[i];
    return NULL;
}

static void begin(struct loaded *loaded)
{
    loaded->state = SCHED_LOADING;
    loaded->err = (struct err){.status = OK};
    loaded->waits = true;
    loaded->began_ms = clock_ms();
    loaded->next_try_ms = loaded->told_ms = 0;
}

struct loaded *loaded_open(struct engine *engine, struct bytes name, const char *path)
{
    struct loaded *loaded = mem_alloc(sizeof(*loaded));
    const size_t n = strlen(path);
    *loaded = (struct loaded){.engine = engine, .chunk = {CHUNK_FIRST, CHUNK_FIRST_SHARED}};
    if (n >= sizeof(loaded->path))
        die("the path of a model has %zu bytes", n);
    memcpy(loaded->path, path, n + 1);
    if (name.n > 0)
        memcpy(loaded->name, name.p,
               name.n < sizeof(loaded->name) ? name.n : sizeof(loaded->name) - 1);
    loaded->is_pinned = loaded_pins(loaded);
    loaded->is_main = strcmp(path, engine->sched->model_path) == 0;
    loaded->keep_s = engine->sched->settings.keep_s;
    line_init(&loaded->arriving);
    line_init(&loaded->fetching);
    line_init(&loaded->waiting);
    begin(loaded);
    engine->loaded[engine->n_loaded++] = loaded;
    return loaded;
}

// A place in the list, if need be that of one that failed.
static bool has_place(struct engine *engine)
{
    for (int32_t i = 0; i < engine->n_loaded && engine->n_loaded == LISTED_MOST; i++)
        if (engine->loaded[i]->state == SCHED_FAILED && loaded_is_idle(engine->loaded[i]))
            loaded_close(engine, engine->loaded[i]);
    return engine->n_loaded < LISTED_MOST;
}

static struct loaded *open_for(struct engine *engine, const struct ask *ask, struct err *err)
{
    char path[sizeof(engine->loaded[0]->path)];
    if (!is_main(engine, ask) && ask->model_path.n == 0) {
        (void)err_set(err, NOT_FOUND, "there is no model '%.*s' here",
                      (int)(ask->model.n < 100 ? ask->model.n : 100), (const char *)ask->model.p);
        return NULL;
    }
    if (ask->model_path.n >= sizeof(path)) {
        (void)err_set(err, TOO_LARGE, "the path of the model has %zu bytes", ask->model_path.n);
        return NULL;
    }
    if (!has_place(engine)) {
        (void)err_set(err, NO_ROOM, "%d models are loaded or waited for, which is the most",
                      LISTED_MOST);
        return NULL;
    }
    memset(path, 0, sizeof(path));
    if (ask->model_path.n > 0)
        memcpy(path, ask->model_path.p, ask->model_path.n);
    struct loaded *loaded =
        loaded_open(engine, ask->model, ask->model_path.n > 0 ? path : engine->sched->model_path);
    loaded->n_ctx_asked = ask->n_ctx;
    engine_tell_models(engine);
    return loaded;
}

struct loaded *loaded_for(struct engine *engine, const struct ask *ask, struct err *err)
{
    *err = engine->refused;
    if (err->status == OK && is_main(engine, ask))
        *err = engine->sched->refused;
    if (err->status != OK)
        return NULL;
    struct loaded *loaded = loaded_find(engine, ask);
    if (!loaded)
        return open_for(engine, ask, err);
    if (loaded->is_lost ||
        (loaded->state == SCHED_FAILED && clock_ms() - loaded->failed_ms < RETRY_MS)) {
        *err = loaded->err;
        return NULL;
    }
    if (loaded->state == SCHED_FAILED)
        begin(loaded);
    return loaded;
}

// ---- closing ------------------------------------------------------------------------------------

void loaded_lost(struct loaded *loaded, const struct err *err)
{
    log_error("%s", err->text);
    loaded->is_lost = true;
    loaded->err = *err;
    loaded->err.status = NOT_FOUND;
    (void)keep_give_up(loaded);
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        loaded->seqs[i].n_cached = 0; // zeros may have gone into it
        if (loaded->seqs[i].work)
            work_fail(loaded, &loaded->seqs[i], &loaded->err);
    }
    loaded_fail_lines(loaded, &loaded->err);
}

bool loaded_is_idle(const struct loaded *loaded)
{
    return loaded->n_users == 0 && loaded->n_encoding == 0;
}

void loaded_counted(struct loaded *loaded)
{
    if (loaded->counted)
        deaths_end(loaded->engine, loaded->path);
    loaded->counted = false;
}

static void loaded_free(struct loaded *loaded)
{
    loaded_counted(loaded);
    keep_close_model(loaded);
    for (int32_t i = 0; i < loaded->n_seq; i++)
        free(loaded->seqs[i].token);
    free(loaded->seqs);
    free(loaded->n_rows);
    free(loaded->logits);
    free(loaded->row);
    free(loaded->raw);
    free(loaded->total);
    free(loaded->top);
    ahead_close(loaded);
    model_close(loaded->model);
    free(loaded);
}

void loaded_close(struct engine *engine, struct loaded *loaded)
{
    int32_t i = 0;
    engine_step_begins(engine, true);
    keep_rest(loaded, KEEP_UNLOAD_MS);
    engine_step_begins(engine, false);
    while (engine->loaded[i] != loaded)
        i++;
    if (loaded->state == SCHED_READY)
        log_info("model %s: unloaded", loaded->name);
    memmove(&engine->loaded[i], &engine->loaded[i + 1],
            (size_t)(engine->n_loaded - i - 1) * sizeof(struct loaded *));
    engine->n_loaded--;
    engine_step_begins(engine, true);
    loaded_free(loaded);
    engine_step_begins(engine, false);
}

// What another model may take the place of, now or when its works are done.
static bool may_go(const struct loaded *loaded, const struct loaded *wants)
{
    return loaded != wants && loaded->state == SCHED_READY && !loaded->is_pinned;
}

bool engine_may_evict(const struct engine *engine, const struct loaded *wants)
{
    for (int32_t i = 0; i < engine->n_loaded; i++)
        if (may_go(engine->loaded[i], wants))
            return true;
    return false;
}

bool engine_evict(struct engine *engine, const struct loaded *wants)
{
    struct loaded *oldest = NULL;
    for (int32_t i = 0; i < engine->n_loaded; i++) {
        struct loaded *loaded = engine->loaded[i];
        if (may_go(loaded, wants) && loaded_is_idle(loaded) &&
            (!oldest || loaded->used_at < oldest->used_at))
            oldest = loaded;
    }
    if (!oldest)
        return false;
    loaded_close(engine, oldest);
    engine_tell_models(engine);
    return true;
}

static enum status unload(struct engine *engine, const struct ask *ask, struct err *err)
{
    struct loaded *loaded = loaded_find(engine, ask);
    if (!loaded || loaded->state == SCHED_FAILED)
        return err_set(err, NOT_FOUND, "the model '%.*s' is not loaded",
                       (int)(ask->model.n < 100 ? ask->model.n : 100), (const char *)ask->model.p);
    if (loaded->is_pinned)
        return err_set(err, DENIED, "the model '%s' is pinned: it stays loaded", loaded->name);
    if (loaded->n_users > 0)
        return err_set(err, NO_ROOM, "the model '%s' is in use, by %d request(s)", loaded->name,
                       (int)loaded->n_users);
    if (loaded->n_encoding > 0) { // of a prompt that was cancelled: it goes when that is back
        loaded->keep_s = 0;
        return OK;
    }
    loaded_close(engine, loaded);
    if (engine->state == SCHED_LOADING) // it was the first: others can be asked for
        engine->state = SCHED_READY;
    engine_tell_models(engine);
    return OK;
}

void engine_unload_job(struct engine *engine, const struct job *job)
{
    struct err err = engine->refused; // a lost device may still use what would be freed
    if (err.status != OK || unload(engine, &job->ask, &err) != OK) {
        job_refuse(engine, job, &err);
        return;
    }
    struct event *event = event_open(EVENT_DONE, NULL);
    event->job_id = job->id;
    event->owner = job->ask.owner;
    engine_tell(engine, event);
}

// ---- how long -----------------------------------------------------------------------------------

static uint64_t goes_at_ms(const struct loaded *loaded) // UINT64_MAX: not by itself
{
    if (loaded->is_lost && loaded_is_idle(loaded))
        return 0;
    if (loaded->state == SCHED_FAILED && !loaded->is_main && loaded_is_idle(loaded))
        return loaded->failed_ms + FAILED_SHOWN_MS;
    return loaded->idle_ms && loaded->keep_s >= 0 && !loaded->is_pinned
               ? loaded->idle_ms + (uint64_t)loaded->keep_s * 1000
               : UINT64_MAX;
}

void engine_unload_old(struct engine *engine)
{
    const uint64_t now_ms = clock_ms();
    bool changed = false;
    for (int32_t i = engine->n_loaded - 1; i >= 0; i--) {
        struct loaded *loaded = engine->loaded[i];
        const bool idle = loaded->state == SCHED_READY && loaded_is_idle(loaded);
        if (idle != (loaded->idle_ms > 0)) {
            loaded->idle_ms = idle ? now_ms : 0;
            changed |= idle;
        }
        if (now_ms < goes_at_ms(loaded))
            continue;
        loaded_close(engine, loaded);
        changed = true;
    }
    if (changed)
        engine_tell_models(engine);
}

int engine_patience_ms(const struct engine *engine)
{
    const uint64_t now_ms = clock_ms();
    uint64_t until_ms = UINT64_MAX;
    for (int32_t i = 0; i < engine->n_loaded; i++) {
        const struct loaded *loaded = engine->loaded[i];
        uint64_t at_ms = goes_at_ms(loaded);
        if (loaded->state == SCHED_LOADING) // it waits: for memory, or behind another
            at_ms = loaded->next_try_ms > now_ms ? loaded->next_try_ms : now_ms + LOOK_MS;
        const uint64_t look_ms = keep_look_ms(loaded);
        at_ms = look_ms < at_ms ? look_ms : at_ms;
        until_ms = at_ms < until_ms ? at_ms : until_ms;
    }
    if (until_ms == UINT64_MAX)
        return -1;
    if (until_ms <= now_ms)
        return 1;
    return until_ms - now_ms < HOUR_MS ? (int)(until_ms - now_ms) : HOUR_MS;
}

void engine_unload(struct engine *engine)
{
    for (int32_t i = 0; i < engine->n_loaded; i++)
        loaded_free(engine->loaded[i]);
    engine->n_loaded = 0;
    deaths_close(engine);
    if (!engine->compute)
        return;
    const struct compute_info device = *compute_info(engine->compute);
    if (!compute_close(engine->compute))
        log_error("%s is not idle: it hangs, and is left as it is", device.device);
    else if (strcmp(device.backend, "vulkan") == 0)
        log_info("%s is idle and given back", device.device);
}
