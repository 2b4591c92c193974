// load.c - the device, and a model from its file to its first job, in slices between passes.
//
// Opening the device is one step, a second at most where drivers are sound. A model is begun (file,
// tokenizer, memory: refused here when it cannot fit) and then loaded slice by slice, so that a
// stop is obeyed and the streams of other models go on. One is loaded at a time, so that what is
// free is known when the next is begun. Whoever asks is told how far it is twice a second.
//
// Where a model does not fit beside those that are loaded (LOADED_MOST at most), or with a short
// context alone, those that nobody uses make room, the one unused for longest first. When the rest
// is in use it waits, WAITS_MOST_MS at most. Those that came behind it are loaded meanwhile where
// they fit into what is free: nothing is unloaded for them, since that is for the first.
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TELL_MS = 500, SPEED_KNOWN_MS = 1000, TRY_MS = 200, WAITS_MOST_MS = 120000 };

// ---- what is told ---------------------------------------------------------------------------

static void tell_progress(const struct loaded *loaded, struct sched_loading *out)
{
    uint64_t took_ms = clock_ms() - loaded->began_ms;
    model_progress(loaded->model, &out->at);
    if (took_ms >= SPEED_KNOWN_MS && out->at.done_bytes > 0)
        out->left_ms = (uint64_t)((double)took_ms / (double)out->at.done_bytes *
                                  (double)(out->at.total_bytes - out->at.done_bytes));
}

static void tell_template(const struct loaded *loaded, struct err *out)
{
    const struct err *fault = NULL;
    if (loaded->state == SCHED_READY && !loaded->embeds) // a model that embeds talks to nobody
        fault = template_fault(loaded->template);
    *out = fault ? *fault : (struct err){.status = OK};
}

static void tell_model(const struct loaded *loaded, struct sched_model *out)
{
    *out = (struct sched_model){.state = loaded->state,
                                .err = loaded->err,
                                .waits = loaded->state == SCHED_LOADING && loaded->waits,
                                .is_main = loaded->is_main,
                                .is_pinned = loaded->is_pinned,
                                .n_users = loaded->n_users,
                                .keep_s = loaded->keep_s,
                                .loaded_s = loaded->loaded_s,
                                .memory_bytes = loaded->n_bytes};
    memcpy(out->name, loaded->name, sizeof(out->name));
    memcpy(out->path, loaded->path, sizeof(out->path));
    if (loaded->model)
        out->info = *model_info(loaded->model);
    tell_template(loaded, &out->template_fault);
    if (loaded->model && loaded->state == SCHED_LOADING)
        tell_progress(loaded, &out->loading);
    if (loaded->idle_ms && loaded->keep_s >= 0 && !loaded->is_pinned)
        out->expires_s =
            clock_unix_s() + loaded->keep_s - (int64_t)((clock_ms() - loaded->idle_ms) / 1000);
}

// The one that is told as `model`, where one is enough: that of the start, else one that is ready.
static const struct loaded *foremost(const struct engine *engine)
{
    const struct loaded *best = NULL;
    for (int32_t i = 0; i < engine->n_loaded; i++) {
        const struct loaded *loaded = engine->loaded[i];
        if (loaded->is_main && loaded->state != SCHED_FAILED)
            return loaded;
        if (loaded->state == SCHED_READY && (!best || loaded->used_at > best->used_at))
            best = loaded;
    }
    return best;
}

void engine_tell_models(struct engine *engine)
{
    struct event *event = event_open(EVENT_STATE, NULL);
    const size_t n = (size_t)engine->n_loaded;
    struct sched_status *status = mem_alloc(sizeof(*status) + n * sizeof(status->models[0]));
    const struct loaded *loaded = foremost(engine);
    status->state = engine->state;
    status->err = engine->why;
    if (engine->compute)
        status->device = *compute_info(engine->compute);
    if (loaded && loaded->model)
        status->model = *model_info(loaded->model);
    if (loaded)
        tell_template(loaded, &status->template_fault);
    if (loaded && loaded->model && loaded->state == SCHED_LOADING)
        tell_progress(loaded, &status->loading);
    status->layers = *engine->layers;
    status->n_models = engine->n_loaded;
    for (size_t i = 0; i < n; i++)
        tell_model(engine->loaded[i], &status->models[i]);
    event->status = status;
    engine_tell(engine, event);
}

void engine_tell_state(struct engine *engine, enum sched_state state, const struct err *err)
{
    engine->state = state;
    engine->why = err ? *err : (struct err){.status = OK};
    engine_tell_models(engine);
}

// ---- the device -----------------------------------------------------------------------------

static void device_step_begins(struct engine *engine, enum device_step step)
{
    atomic_store_explicit(&engine->sched->device_step, step, memory_order_relaxed);
    engine_step_begins(engine, step != DEVICE_WORKS);
}

static enum status device_open(struct engine *engine, struct err *err)
{
    const struct settings *settings = &engine->sched->settings;
    struct compute_options device = {
        .device = settings->device, .n_threads = settings->n_threads, .cache_dir = settings->state};
    device_step_begins(engine, DEVICE_OPENS);
    doctor_survey(engine->layers, settings->device, false);
    enum status status = compute_open(&engine->compute, &device, err);
    engine->compute = status == OK ? engine->compute : NULL;
    device_step_begins(engine, DEVICE_IS_TESTED);
    doctor_device(engine->layers, engine->compute, err);
    device_step_begins(engine, DEVICE_WORKS);
    return status == OK && doctor_wrong(engine->layers, err) ? err->status : status;
}

void engine_load(struct engine *engine)
{
    struct sched *sched = engine->sched;
    struct err *err = &engine->refused;
    if (device_open(engine, err) == OK)
        engine_tell_state(engine, SCHED_LOADING, NULL);
    else
        engine_tell_state(engine, SCHED_FAILED, err);
    if (err->status != OK)
        return;
    engine->memory_bytes = compute_info(engine->compute)->memory_usable_bytes;
    if (sched->refused.status != OK)
        engine_tell_state(engine, SCHED_FAILED, &sched->refused);
    else
        (void)loaded_open(engine, (struct bytes){NULL, 0}, sched->model_path);
    deaths_open(engine);
}

// ---- the model ------------------------------------------------------------------------------

struct model_options sched_model_options(const struct settings *settings)
{
    return (struct model_options){
        .n_ctx = settings->n_ctx,
        .n_seq = settings->n_parallel,
        .n_held = HELD_MOST + 1, // one is for what comes from the disk or goes there
        .n_batch = BATCH_TOKENS,
        .kv_q8_0 = settings->kv_q8_0,
        .draft = settings->speculation,
    };
}

// What is free for one more model; 0: the plan looks itself.
static uint64_t memory_left(const struct engine *engine)
{
    uint64_t taken = 0;
    for (int32_t i = 0; i < engine->n_loaded; i++)
        if (add_overflows(taken, engine->loaded[i]->n_bytes, &taken))
            taken = UINT64_MAX;
    if (taken == 0 || engine->memory_bytes == 0)
        return 0;
    const uint64_t now = compute_info(engine->compute)->memory_usable_bytes,
                   left = taken < engine->memory_bytes ? engine->memory_bytes - taken : 1;
    return left < now ? left : now; // a processor's is that of the start, a GPU's is looked at
}

// Loads that came before this one and wait, for memory or a place.
static int32_t n_before(const struct loaded *loaded)
{
    const struct engine *engine = loaded->engine;
    int32_t n = 0;
    for (int32_t i = 0; i < engine->n_loaded; i++) {
        const struct loaded *other = engine->loaded[i];
        n += other->state == SCHED_LOADING && !other->model && other->began_ms < loaded->began_ms;
    }
    return n;
}

static bool has_place(const struct engine *engine)
{
    int32_t n = 0;
    for (int32_t i = 0; i < engine->n_loaded; i++)
        n += engine->loaded[i]->model != NULL;
    return n < LOADED_MOST;
}

// The same without n_second bytes, where it is known.
static uint64_t beside(uint64_t left, uint64_t n_second, const struct engine *engine)
{
    const uint64_t all = left ? left : compute_info(engine->compute)->memory_usable_bytes;
    if (n_second == 0 || all == 0)
        return left;
    return all > n_second ? all - n_second : 1;
}

// Whether it would not fit if nothing else was loaded: then nothing is unloaded for it.
static bool never_fits(const struct loaded *loaded, const struct model_options *options)
{
    const struct engine *engine = loaded->engine;
    struct model_info *info = mem_alloc(sizeof(*info));
    struct model_options alone = *options;
    struct err err;
    alone.memory_bytes = engine->memory_bytes;
    alone.draft = false;
    const bool never = engine->memory_bytes > 0 &&
                       model_plan(info, engine->compute, loaded->path, &alone, &err) == OK &&
                       !info->plan.fits;
    free(info);
    return never;
}

// Unloads what stands in the way. AGAIN: it must wait for what is in use.
static enum status make_room(const struct loaded *loaded, struct model_options *options,
                             uint64_t n_second, struct err *err)
{
    struct engine *engine = loaded->engine;
    struct model_info *info = mem_alloc(sizeof(*info));
    const bool is_first = n_before(loaded) == 0, never = never_fits(loaded, options);
    const uint64_t waited_ms = clock_ms() - loaded->began_ms;
    enum status status;
    bool fits, well;
    for (;;) {
        options->memory_bytes = beside(memory_left(engine), n_second, engine);
        status = model_plan(info, engine->compute, loaded->path, options, err);
        fits = info->plan.fits && has_place(engine);
        well = fits && !info->plan.is_short;
        if (status != OK || well || never || !is_first || !engine_evict(engine, loaded))
            break;
    }
    if (status == OK && !never && !(is_first ? fits : well) && engine_may_evict(engine, loaded) &&
        waited_ms < WAITS_MOST_MS)
        status = AGAIN;
    else if (status == OK && !has_place(engine))
        status = err_set(err, NO_ROOM, "%d models are loaded and in use, which is the most",
                         LOADED_MOST);
    free(info);
    return status;
}

static enum status loaded_begin(struct loaded *loaded, struct err *err)
{
    struct engine *engine = loaded->engine;
    struct model_options options = sched_model_options(&engine->sched->settings);
    if (loaded->n_ctx_asked > 0)
        options.n_ctx = loaded->n_ctx_asked;
    const uint64_t n_second = ahead_bytes(loaded, &options);
    enum status status = OK;
    options.memory_bytes = beside(0, n_second, engine);
    if (engine->n_loaded > 1)
        status = make_room(loaded, &options, n_second, err);
    if (status == OK && !loaded->is_main) {
        status = deaths_begin(engine, loaded->path, err);
        loaded->counted = status == OK;
    }
    if (status == OK)
        status = model_begin(&loaded->model, engine->compute, loaded->path, &options, err);
    if (status == NO_ROOM) { // rather without what only guesses
        options.draft = false;
        options.memory_bytes = engine->n_loaded > 1 ? memory_left(engine) : 0;
        status = model_begin(&loaded->model, engine->compute, loaded->path, &options, err);
    }
    if (status != OK) {
        loaded->model = NULL;
        return status;
    }
    const struct model_info *info = model_info(loaded->model);
    loaded->n_bytes = model_plan_bytes(&info->plan);
    if (!loaded->name[0])
        memcpy(loaded->name, info->id, sizeof(loaded->name));
    loaded->is_pinned = loaded_pins(loaded);
    loaded->waits = false;
    return AGAIN;
}

// One at a time; of those that wait none is tried before the ones that came first have been.
bool loaded_may_load(const struct loaded *loaded)
{
    const struct engine *engine = loaded->engine;
    for (int32_t i = 0; i < engine->n_loaded; i++) {
        const struct loaded *other = engine->loaded[i];
        if (other != loaded && other->state == SCHED_LOADING &&
            (other->model ||
             (!loaded->model && other->began_ms < loaded->began_ms && other->next_try_ms == 0)))
            return false;
    }
    return loaded->model || clock_ms() >= loaded->next_try_ms;
}

static void loaded_ready(struct loaded *loaded)
{
    const struct model_info *info = model_info(loaded->model);
    const size_t n_together = (size_t)loaded->engine->sched->settings.n_parallel,
                 n_seq = n_together + HELD_MOST,
                 n_wanted_most = n_together > GUESS_ROWS ? n_together : GUESS_ROWS;
    loaded->tokenizer = model_tokenizer(loaded->model);
    loaded->template = model_template(loaded->model);
    const struct err *fault = template_fault(loaded->template);
    if (fault && !info->n_vector) // a model that embeds talks to nobody
        log_warn("%s: %s", info->id, fault->text);
    loaded->family = answer_family_find(model_chat_template(loaded->model), loaded->tokenizer);
    loaded->n_ctx = info->n_ctx;
    loaded->n_ctx_train = info->n_ctx_train;
    loaded->n_vocab = info->n_vocab;
    loaded->n_together = (int32_t)n_together;
    loaded->n_seq = (int32_t)n_seq;
    loaded->needs_snapshots = info->needs_snapshots;
    loaded->seqs = mem_array(n_seq, sizeof(*loaded->seqs));
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        loaded->seqs[i].index = i;
        loaded->seqs[i].token = mem_array((size_t)loaded->n_ctx, sizeof(int32_t));
    }
    loaded->n_rows = mem_array(n_seq, sizeof(*loaded->n_rows));
    loaded->logits = mem_array(n_wanted_most * (size_t)loaded->n_vocab, sizeof(float));
    loaded->row = mem_array((size_t)loaded->n_vocab, sizeof(float));
    loaded->raw = mem_array((size_t)loaded->n_vocab, sizeof(float));
    loaded->total = mem_array(n_wanted_most, sizeof(float));
    loaded->top = mem_array(n_wanted_most * TOP_K_MOST, sizeof(int32_t));
    guess_open(loaded);
    ahead_open(loaded);
    loaded->n_vector = info->n_vector;
    loaded->embeds = info->n_vector > 0;
    loaded->state = SCHED_READY;
    loaded_counted(loaded);
    keep_open_model(loaded);
    loaded->loaded_s = clock_unix_s();
    if (!loaded->is_main)
        log_info("model %s: loaded after %.1f s, context %d tokens", loaded->name,
                 (double)(clock_ms() - loaded->began_ms) / 1000, (int)loaded->n_ctx);
    if (!loaded->engine->stopping)
        engine_tell_state(loaded->engine, SCHED_READY, NULL);
    loaded_encode_all(loaded);
}

// What it took is given back at once. The state of the whole is the first model's, until another
// is ready.
static void loaded_fail(struct loaded *loaded, struct err *err)
{
    struct engine *engine = loaded->engine;
    loaded->state = SCHED_FAILED;
    log_debug("model %s, %s: %s", loaded->name, loaded->path, err->text);
    err_hide_folder(err, loaded->path);
    loaded->err = *err;
    loaded->failed_ms = clock_ms();
    loaded_counted(loaded);
    loaded->n_bytes = 0;
    ahead_close(loaded);
    model_close(loaded->model);
    loaded->model = NULL;
    if (loaded->is_main && engine->state == SCHED_LOADING) {
        engine_tell_state(engine, SCHED_FAILED, err);
    } else {
        log_error("model %s: %s", loaded->name, err->text);
        engine_tell_models(engine);
    }
    loaded_fail_lines(loaded, err);
}

void loaded_load_some(struct loaded *loaded)
{
    struct engine *engine = loaded->engine;
    struct err err = {0};
    enum status status;
    engine_step_begins(engine, true);
    if (!loaded->model) {
        status = loaded_begin(loaded, &err);
        loaded->next_try_ms = clock_ms() + TRY_MS * (uint64_t)(1 + n_before(loaded));
        loaded->told_ms = loaded->model ? 0 : loaded->told_ms;
    } else {
        status = model_load_some(loaded->model, LOAD_SLICE_MS, &err);
        if (status == OK)
            status = ahead_load_some(loaded, LOAD_SLICE_MS);
    }
    engine_step_begins(engine, false);
    if (status == OK)
        loaded_ready(loaded);
    else if (status == DEVICE_ERROR && engine->state == SCHED_READY)
        engine_lost(engine, &err); // the other models' too; one that comes first says why it failed
    else if (status != AGAIN)
        loaded_fail(loaded, &err);
    else if (clock_ms() - loaded->told_ms >= TELL_MS) {
        engine_tell_models(engine);
        loaded->told_ms = clock_ms();
    }
}
