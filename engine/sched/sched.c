// sched.c - the caller's side: jobs go out on one ring, events come in on another, and what the
// caller may know of the engine between two events.
//
// The two sides share the rings, and `step_began_ms` (here and in the encoder), by which a watchdog
// sees a device that hangs. What one would get wrong: the events ring may be full (a net thread
// that is busy), so the engine keeps what does not fit in a list and never waits.
#include "inside.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOB_ARENA_BYTES = 64 << 20, EVENT_SLOTS = 4096 };

// ---- jobs and events ------------------------------------------------------------------------

struct job *job_open(void)
{
    struct job *job = mem_alloc(sizeof(*job));
    arena_init(&job->arena, JOB_ARENA_BYTES);
    sampling_default(&job->ask.sampling);
    job->ask.n_chances = -1;
    job->ask.think_most = -1;
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
        event->job_id = work->id;
        event->usage = work->usage;
    }
    return event;
}

void event_close(struct event *event)
{
    if (!event)
        return;
    free(event->status);
    free(event->vectors);
    free(event);
}

void engine_tell_late(struct engine *engine)
{
    struct sched *sched = engine->sched;
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
    engine_tell_late(engine);
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

// ---- opening and closing --------------------------------------------------------------------

void nap(int n_ms)
{
    struct pollfd nothing = {.fd = -1};
    (void)poll(&nothing, 0, n_ms);
}

void sched_open(struct sched **out, const struct settings *settings, const char *model_path,
                const struct err *refused)
{
    struct sched *sched = mem_alloc(sizeof(*sched));
    sigset_t all, before;
    ring_open(&sched->jobs, JOB_SLOTS);
    ring_open(&sched->events, EVENT_SLOTS);
    sched->settings = *settings;
    snprintf(sched->model_path, sizeof(sched->model_path), "%s", model_path);
    if (refused)
        sched->refused = *refused;
    sched->status = mem_alloc(sizeof(*sched->status));
    snprintf(sched->status->layers.setting, sizeof(sched->status->layers.setting), "%s",
             settings->device);
    sched->late_end = &sched->late;
    sigfillset(&all); // signals are the main thread's
    pthread_sigmask(SIG_SETMASK, &all, &before);
    encoder_open(&sched->encoder);
    int code = pthread_create(&sched->thread, NULL, engine_main, sched);
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

void sched_stop(struct sched *sched, uint32_t grace_ms)
{
    send_message(sched, JOB_STOP, grace_ms);
}

void sched_close(struct sched *sched)
{
    if (!sched)
        return;
    send_message(sched, JOB_QUIT, 0);
    pthread_join(sched->thread, NULL);
    encoder_close(sched->encoder);
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

// ---- asking and being told ------------------------------------------------------------------

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
    uint64_t step_ms = atomic_load_explicit(&sched->step_began_ms, memory_order_relaxed),
             text_ms = encoder_began_ms(sched->encoder), now_ms = clock_ms();
    uint64_t began_ms = !step_ms || (text_ms && text_ms < step_ms) ? text_ms : step_ms;
    return began_ms && now_ms > began_ms ? now_ms - began_ms : 0;
}
