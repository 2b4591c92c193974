// sched.c - the engine thread and the two rings to it.
//
// The thread opens the device and the model, then loops: take what came on the job ring, give
// waiting jobs a sequence, do one forward pass; with nothing to do it sleeps on the ring. The other
// side (one thread) only sees jobs go and events come. The two share the rings, and
// `step_began_ms`, by which a watchdog sees a device that hangs. What one would get wrong: the
// events ring may be full (a net thread that is busy), so the engine keeps what does not fit in a
// list and never waits.
#include "inside.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOB_ARENA_BYTES = 64 << 20, JOB_SLOTS = 1024, EVENT_SLOTS = 4096 };

struct sched {
    struct ring *jobs, *events;
    pthread_t thread;
    struct settings settings;
    char model_path[2200];
    struct err refused;          // status != OK: there is no model to open
    struct sched_status *status; // the caller's thread
    size_t n_open;               // the caller's thread
    _Atomic uint64_t step_began_ms;
    struct event *late, **late_end; // the engine thread: events that found the ring full
};

// ---- jobs and events ------------------------------------------------------------------------

struct job *job_open(void)
{
    struct job *job = mem_alloc(sizeof(*job));
    arena_init(&job->arena, JOB_ARENA_BYTES);
    sampling_default(&job->ask.sampling);
    return job;
}

void job_close(struct job *job)
{
    if (!job)
        return;
    arena_free(&job->arena);
    free(job);
}

struct event *event_open(enum event_kind kind, const struct work *work)
{
    struct event *event = mem_alloc(sizeof(*event));
    event->kind = kind;
    if (work) {
        event->job_id = work->job->id;
        event->usage = work->usage;
    }
    return event;
}

void event_close(struct event *event)
{
    if (!event)
        return;
    free(event->status);
    free(event);
}

static void send_late(struct sched *sched)
{
    while (sched->late) {
        struct event *event = sched->late, *next = event->next;
        if (ring_push(sched->events, event) !=
            OK) // pushed = the other thread's: do not touch it any more
            return;
        sched->late = next;
    }
    sched->late_end = &sched->late;
}

void engine_tell(struct engine *engine, struct event *event)
{
    struct sched *sched = engine->sched;
    send_late(sched);
    if (!sched->late && ring_push(sched->events, event) == OK)
        return;
    *sched->late_end = event;
    sched->late_end = &event->next;
}

void engine_step_begins(struct engine *engine, bool begins)
{
    atomic_store_explicit(&engine->sched->step_began_ms, begins ? clock_ms() : 0,
                          memory_order_relaxed);
}

// ---- the engine thread ----------------------------------------------------------------------

static void tell_state(struct engine *engine, enum sched_state state, const struct err *err)
{
    struct event *event = event_open(EVENT_STATE, NULL);
    struct sched_status *status = mem_alloc(sizeof(*status));
    status->state = state;
    if (err)
        status->err = *err;
    if (engine->compute)
        status->device = *compute_info(engine->compute);
    if (engine->model)
        status->model = *model_info(engine->model);
    status->layers = *engine->layers;
    event->status = status;
    engine_tell(engine, event);
}

static enum status engine_load(struct engine *engine, struct err *err)
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
    if (status == OK && doctor_wrong(engine->layers, err))
        status = err->status;
    if (status != OK)
        return status;
    tell_state(engine, SCHED_LOADING, NULL);
    if (engine->sched->refused.status != OK) {
        *err = engine->sched->refused;
        return err->status;
    }
    struct model_options options = {
        .n_ctx = settings->n_ctx,
        .n_seq = settings->n_parallel,
        .n_batch = BATCH_TOKENS,
        .kv_q8_0 = settings->kv_q8_0,
    };
    status = model_open(&engine->model, engine->compute, engine->sched->model_path, &options, err);
    if (status == OK)
        status = model_rehearse(engine->model, err);
    if (status != OK)
        return status;
    const struct model_info *info = model_info(engine->model);
    engine->tokenizer = model_tokenizer(engine->model);
    engine->n_ctx = info->n_ctx;
    engine->n_vocab = info->n_vocab;
    engine->n_seq = settings->n_parallel;
    engine->seqs = mem_array((size_t)engine->n_seq, sizeof(*engine->seqs));
    for (int32_t i = 0; i < engine->n_seq; i++) {
        engine->seqs[i].index = i;
        engine->seqs[i].token = mem_array((size_t)engine->n_ctx, sizeof(int32_t));
    }
    engine->token = mem_array(BATCH_TOKENS, sizeof(int32_t));
    engine->pos = mem_array(BATCH_TOKENS, sizeof(int32_t));
    engine->seq = mem_array(BATCH_TOKENS, sizeof(int32_t));
    engine->wanted = mem_array(BATCH_TOKENS, 1);
    engine->logits = mem_array((size_t)engine->n_seq * (size_t)engine->n_vocab, sizeof(float));
    engine->top = mem_array((size_t)engine->n_seq * TOP_K_MOST, sizeof(int32_t));
    return OK;
}

static void engine_unload(struct engine *engine)
{
    for (int32_t i = 0; i < engine->n_seq && engine->seqs; i++)
        free(engine->seqs[i].token);
    free(engine->seqs);
    free(engine->token);
    free(engine->pos);
    free(engine->seq);
    free(engine->wanted);
    free(engine->logits);
    free(engine->top);
    free(engine->layers);
    if (engine->model)
        model_close(engine->model);
    if (engine->compute)
        compute_close(engine->compute);
}

static void job_refuse(struct engine *engine, struct job *job, const struct err *why)
{
    struct event *event = event_open(EVENT_FAILED, NULL);
    event->job_id = job->id;
    event->err = *why;
    engine_tell(engine, event);
    job_close(job);
}

// Takes what came on the ring. False: the thread is to end.
static bool take_jobs(struct engine *engine, const struct err *failed)
{
    struct job *job;
    bool go_on = true;
    while ((job = ring_pop(engine->sched->jobs)) != NULL) {
        switch (job->kind) {
        case JOB_GENERATE:
            if (failed)
                job_refuse(engine, job, failed);
            else {
                engine_step_begins(engine, true);
                engine_accept(engine, job);
                engine_step_begins(engine, false);
            }
            break;
        case JOB_CANCEL:
            engine_cancel(engine, job->id);
            job_close(job);
            break;
        case JOB_STOP:
            job_close(job);
            go_on = false;
            break;
        }
    }
    return go_on;
}

static void nap(int n_ms)
{
    struct pollfd nothing = {.fd = -1};
    (void)poll(&nothing, 0, n_ms);
}

static void engine_run(struct engine *engine, const struct err *failed)
{
    struct sched *sched = engine->sched;
    while (take_jobs(engine, failed)) {
        send_late(sched);
        engine_assign(engine);
        if (engine_busy(engine)) {
            engine_step(engine);
            engine_assign(engine);
            engine_check(engine);
        } else if (sched->late) {
            nap(5);
        } else {
            ring_wait(sched->jobs);
        }
    }
}

static void *thread_main(void *arg)
{
    struct engine engine = {.sched = arg, .chunk = {64, 32}};
    struct err err = {0};
    engine.waiting_end = &engine.waiting;
    engine.layers = mem_alloc(sizeof(*engine.layers));
    bool good = engine_load(&engine, &err) == OK;
    tell_state(&engine, good ? SCHED_READY : SCHED_FAILED, &err);
    engine_run(&engine, good ? NULL : &err);
    engine_drop_all(&engine);
    send_late(engine.sched);
    engine_unload(&engine);
    return NULL;
}

// ---- the caller's side ----------------------------------------------------------------------

void sched_open(struct sched **out, const struct settings *settings, const char *model_path,
                const struct err *refused)
{
    struct sched *sched = mem_alloc(sizeof(*sched));
    sigset_t all, before;
    ring_open(&sched->jobs, JOB_SLOTS);
    ring_open(&sched->events, EVENT_SLOTS);
    sched->settings = *settings;
    if (sched->settings.n_parallel > 64)
        sched->settings.n_parallel = 64;
    snprintf(sched->model_path, sizeof(sched->model_path), "%s", model_path);
    if (refused)
        sched->refused = *refused;
    sched->status = mem_alloc(sizeof(*sched->status));
    snprintf(sched->status->layers.setting, sizeof(sched->status->layers.setting), "%s",
             settings->device);
    sched->late_end = &sched->late;
    sigfillset(&all); // signals are the main thread's
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&sched->thread, NULL, thread_main, sched);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code)
        die("the engine thread cannot be started: %s", strerror(code));
    pthread_setname_np(sched->thread, "engine");
    *out = sched;
}

static void send_message(struct sched *sched, enum job_kind kind, uint64_t id)
{
    struct job *message = job_open();
    message->kind = kind;
    message->id = id;
    while (ring_push(sched->jobs, message) != OK)
        nap(1); // at most two messages for each open job are under way, and JOB_SLOTS is far above
}

void sched_close(struct sched *sched)
{
    if (!sched)
        return;
    send_message(sched, JOB_STOP, 0);
    pthread_join(sched->thread, NULL);
    for (void *event; (event = ring_pop(sched->events)) != NULL;)
        event_close(event);
    while (sched->late) {
        struct event *event = sched->late;
        sched->late = event->next;
        event_close(event);
    }
    for (void *job; (job = ring_pop(sched->jobs)) != NULL;)
        job_close(job);
    ring_close(sched->jobs);
    ring_close(sched->events);
    free(sched->status);
    free(sched);
}

enum status sched_submit(struct sched *sched, struct job *job)
{
    if (sched->n_open >= sched_n_together(sched) + WAITING_MOST ||
        ring_push(sched->jobs, job) != OK)
        return NO_ROOM;
    sched->n_open++;
    return OK;
}

void sched_cancel(struct sched *sched, uint64_t job_id)
{
    send_message(sched, JOB_CANCEL, job_id);
}

struct event *sched_take_event(struct sched *sched)
{
    struct event *event = ring_pop(sched->events);
    if (!event)
        return NULL;
    if (event->kind == EVENT_DONE || event->kind == EVENT_FAILED)
        sched->n_open--;
    if (event->kind == EVENT_STATE) {
        free(sched->status);
        sched->status = event->status;
        event->status = NULL;
    }
    return event;
}

int sched_event_fd(const struct sched *sched)
{
    return ring_fd(sched->events);
}

const struct sched_status *sched_status(const struct sched *sched)
{
    return sched->status;
}

size_t sched_n_open(const struct sched *sched)
{
    return sched->n_open;
}

size_t sched_n_together(const struct sched *sched)
{
    return (size_t)sched->settings.n_parallel;
}

uint64_t sched_step_ms(const struct sched *sched)
{
    uint64_t began_ms = atomic_load_explicit(&sched->step_began_ms, memory_order_relaxed);
    uint64_t now_ms = clock_ms();
    return began_ms && now_ms > began_ms ? now_ms - began_ms : 0;
}
