// load.c - the device, and a model from its file to its first job, in slices between passes.
//
// Opening the device is one step, a second at most where drivers are sound. A model is begun (file,
// tokenizer, memory: refused here when it cannot fit) and then loaded slice by slice, so that a
// stop is obeyed and, with several models, the streams of the others go on. Whoever asks is told
// how far it is twice a second.
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>

enum { TELL_MS = 500, SPEED_KNOWN_MS = 1000 };

// ---- what is told ---------------------------------------------------------------------------

static void tell_progress(const struct loaded *loaded, struct sched_loading *out)
{
    uint64_t took_ms = clock_ms() - loaded->began_ms;
    model_progress(loaded->model, &out->at);
    if (took_ms >= SPEED_KNOWN_MS && out->at.done_bytes > 0)
        out->left_ms = (uint64_t)((double)took_ms / (double)out->at.done_bytes *
                                  (double)(out->at.total_bytes - out->at.done_bytes));
}

void engine_tell_state(struct engine *engine, enum sched_state state, const struct err *err)
{
    struct event *event = event_open(EVENT_STATE, NULL);
    struct sched_status *status = mem_alloc(sizeof(*status));
    const struct loaded *loaded = engine->n_loaded > 0 ? engine->loaded[0] : NULL;
    status->state = state;
    if (err)
        status->err = *err;
    if (engine->compute)
        status->device = *compute_info(engine->compute);
    if (loaded && loaded->model)
        status->model = *model_info(loaded->model);
    if (loaded && loaded->state == SCHED_READY && !loaded->embeds) {
        const struct err *fault = template_fault(loaded->template);
        status->template_fault = fault ? *fault : status->template_fault;
    }
    if (loaded && loaded->model && state == SCHED_LOADING)
        tell_progress(loaded, &status->loading);
    status->layers = *engine->layers;
    event->status = status;
    engine_tell(engine, event);
}

// ---- the device -----------------------------------------------------------------------------

static enum status device_open(struct engine *engine, struct err *err)
{
    const struct settings *settings = &engine->sched->settings;
    struct compute_options device = {
        .device = settings->device, .n_threads = settings->n_threads, .cache_dir = settings->state};
    engine_step_begins(engine, true);
    doctor_survey(engine->layers, settings->device, false);
    enum status status = compute_open(&engine->compute, &device, err);
    engine->compute = status == OK ? engine->compute : NULL;
    doctor_device(engine->layers, engine->compute, err);
    engine_step_begins(engine, false);
    return status == OK && doctor_wrong(engine->layers, err) ? err->status : status;
}

static struct loaded *loaded_open(struct engine *engine, const char *path)
{
    struct loaded *loaded = mem_alloc(sizeof(*loaded));
    *loaded = (struct loaded){.engine = engine, .state = SCHED_LOADING, .chunk = {64, 32}};
    snprintf(loaded->path, sizeof(loaded->path), "%s", path);
    line_init(&loaded->arriving);
    line_init(&loaded->waiting);
    loaded->began_ms = clock_ms();
    engine->loaded[engine->n_loaded++] = loaded;
    return loaded;
}

void engine_load(struct engine *engine)
{
    struct err *err = &engine->refused;
    if (device_open(engine, err) == OK) {
        *err = engine->sched->refused;
        engine_tell_state(engine, SCHED_LOADING, NULL);
    }
    if (err->status == OK)
        (void)loaded_open(engine, engine->sched->model_path);
    else
        engine_tell_state(engine, SCHED_FAILED, err);
}

// ---- the model ------------------------------------------------------------------------------

struct model_options sched_model_options(const struct settings *settings)
{
    return (struct model_options){
        .n_ctx = settings->n_ctx,
        .n_seq = settings->n_parallel,
        .n_held = HELD_MOST,
        .n_batch = BATCH_TOKENS,
        .kv_q8_0 = settings->kv_q8_0,
    };
}

static enum status loaded_begin(struct loaded *loaded, struct err *err)
{
    const struct model_options options = sched_model_options(&loaded->engine->sched->settings);
    enum status status =
        model_begin(&loaded->model, loaded->engine->compute, loaded->path, &options, err);
    if (status != OK)
        loaded->model = NULL;
    return status;
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
    loaded->n_vector = info->n_vector;
    loaded->embeds = info->n_vector > 0;
    loaded->state = SCHED_READY;
    engine_tell_state(loaded->engine, SCHED_READY, NULL);
    loaded_encode_all(loaded);
}

static void loaded_fail(struct loaded *loaded, const struct err *err)
{
    loaded->state = SCHED_FAILED;
    loaded->err = *err;
    engine_tell_state(loaded->engine, SCHED_FAILED, err);
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
        status = status == OK ? AGAIN : status;
        loaded->told_ms = 0;
    } else {
        status = model_load_some(loaded->model, LOAD_SLICE_MS, &err);
    }
    engine_step_begins(engine, false);
    if (status == OK)
        loaded_ready(loaded);
    else if (status != AGAIN)
        loaded_fail(loaded, &err);
    else if (clock_ms() - loaded->told_ms >= TELL_MS) {
        engine_tell_state(engine, SCHED_LOADING, NULL);
        loaded->told_ms = clock_ms();
    }
}

static bool is_named(const struct loaded *loaded, struct bytes name)
{
    return name.n == 0 || !loaded->model || bytes_equal_text(name, model_info(loaded->model)->id);
}

struct loaded *loaded_find(struct engine *engine, const struct job *job, struct err *err)
{
    for (int32_t i = 0; i < engine->n_loaded; i++) {
        struct loaded *loaded = engine->loaded[i];
        if (!is_named(loaded, job->ask.model))
            continue;
        if (loaded->state != SCHED_FAILED)
            return loaded;
        *err = loaded->err;
        return NULL;
    }
    if (engine->refused.status != OK)
        *err = engine->refused;
    else
        (void)err_set(err, NOT_FOUND, "there is no model '%.*s' here",
                      (int)(job->ask.model.n < 100 ? job->ask.model.n : 100),
                      (const char *)job->ask.model.p);
    return NULL;
}

// ---- the end --------------------------------------------------------------------------------

static void loaded_close(struct loaded *loaded)
{
    for (int32_t i = 0; i < loaded->n_seq; i++)
        free(loaded->seqs[i].token);
    free(loaded->seqs);
    free(loaded->n_rows);
    free(loaded->logits);
    free(loaded->row);
    free(loaded->raw);
    free(loaded->total);
    free(loaded->top);
    model_close(loaded->model);
    free(loaded);
}

void engine_unload(struct engine *engine)
{
    for (int32_t i = 0; i < engine->n_loaded; i++)
        loaded_close(engine->loaded[i]);
    if (engine->compute)
        compute_close(engine->compute);
}
