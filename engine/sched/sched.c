// sched.c - the caller's side: jobs go out on one ring, events come in on another, and what the
// caller may know of the engine between two events.
//
// The two sides share the rings, and `step_began_ms` (here and in the encoder) and `turned_ms`, by
// which a watchdog sees a device or a thread that hangs. What one would get wrong: the events ring
// may be full (a net thread that is busy), so the engine keeps what does not fit in a list and
// never waits.
#include "keep.h"

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
    job->ask.keep_s = KEEP_AS_SET;
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
        event->owner = work->owner->id;
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

// ---- numbers --------------------------------------------------------------------------------

// Pages that several works share are counted for each, up to what is taken in all.
static void loaded_gauges(const struct loaded *loaded, struct sched_gauges *gauges)
{
    const int32_t n_running = loaded_running(loaded);
    uint64_t used = 0, room, all;
    gauges->n_running += (uint64_t)n_running;
    gauges->n_waiting += (uint64_t)(loaded->n_users - n_running);
    if (loaded->state != SCHED_READY)
        return;
    for (int32_t i = 0; i < loaded->n_seq; i++)
        if (loaded->seqs[i].state != SEQ_FREE)
            used += (uint64_t)(loaded->seqs[i].n_cached + PAGE_ROWS - 1) / PAGE_ROWS * PAGE_ROWS;
    all = (uint64_t)model_info(loaded->model)->plan.pool_tokens;
    room = loaded->embeds ? all : (uint64_t)model_room(loaded->model);
    const uint64_t taken = all > room ? all - room : 0;
    used = used < taken ? used : taken;
    gauges->cache_tokens += all;
    gauges->cache_used += used;
    gauges->cache_held += taken - used;
}

void engine_tell_gauges(struct engine *engine)
{
    struct sched_gauges gauges = engine->gauges;
    if (engine->keep) {
        gauges.kept_files = (uint64_t)engine->keep->n_files;
        gauges.kept_bytes = engine->keep->n_bytes;
    }
    uint64_t each[COUNT_OF(engine->sched->gauges)];
    for (int32_t i = 0; i < engine->n_loaded; i++)
        loaded_gauges(engine->loaded[i], &gauges);
    memcpy(each, &gauges, sizeof(each));
    for (size_t i = 0; i < COUNT_OF(each); i++)
        atomic_store_explicit(&engine->sched->gauges[i], each[i], memory_order_relaxed);
}

void sched_gauges(const struct sched *sched, struct sched_gauges *out)
{
    uint64_t each[COUNT_OF(sched->gauges)];
    for (size_t i = 0; i < COUNT_OF(each); i++)
        each[i] = atomic_load_explicit(&sched->gauges[i], memory_order_relaxed);
    memcpy(out, each, sizeof(*out));
}

void engine_turns(struct engine *engine)
{
    atomic_store_explicit(&engine->sched->turned_ms, clock_ms(), memory_order_relaxed);
}

void engine_step_begins(struct engine *engine, bool begins)
{
    engine_turns(engine);
    atomic_store_explicit(&engine->sched->step_began_ms, begins ? clock_ms() : 0,
                          memory_order_relaxed);
}

// ---- places: whose jobs are open ------------------------------------------------------------

struct place { // how many jobs of an owner are open
    struct place *next;
    uint64_t owner;
    size_t n;
};

static struct place **place_find(struct sched *sched, uint64_t owner)
{
    struct place **at = &sched->places;
    while (*at && (*at)->owner != owner)
        at = &(*at)->next;
    return at;
}

static void place_take(struct sched *sched, uint64_t owner)
{
    struct place **at = place_find(sched, owner);
    if (!*at) {
        *at = mem_alloc(sizeof(**at));
        (*at)->owner = owner;
    }
    (*at)->n++;
    sched->n_open++;
}

static void place_give(struct sched *sched, uint64_t owner)
{
    struct place **at = place_find(sched, owner), *place = *at;
    sched->n_open--;
    if (--place->n > 0)
        return;
    *at = place->next;
    free(place);
}

size_t sched_n_open_of(const struct sched *sched, uint64_t owner)
{
    const struct place *place = sched->places;
    while (place && place->owner != owner)
        place = place->next;
    return place ? place->n : 0;
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
    sched->turned_ms = clock_ms();
    sigfillset(&all); // signals are the main thread's
    pthread_sigmask(SIG_SETMASK, &all, &before);
    encoder_open(&sched->encoder);
    int code = pthread_create(&sched->thread, NULL, engine_main, sched);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code)
        die("the engine thread cannot be started: %s", strerror(code));
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
    while (sched->places) {
        struct place *place = sched->places;
        sched->places = place->next;
        free(place);
    }
    free(sched->status);
    free(sched);
}

// ---- asking and being told ------------------------------------------------------------------

enum status sched_submit(struct sched *sched, struct job *job)
{
    const uint64_t owner = job->ask.owner;
    const bool is_full = job->kind != JOB_UNLOAD && // it waits for nothing, and makes room
                         sched->n_open >= sched_n_together(sched) + WAITING_MOST;
    if ((is_full && sched_n_open_of(sched, owner) >= PLACES_OWN) ||
        sched->n_open >= JOB_SLOTS / 2 || ring_push(sched->jobs, job) != OK)
        return NO_ROOM;
    place_take(sched, owner);
    return OK;
}

void sched_keeps(struct sched *sched, const char *version, const uint64_t *owners, size_t n)
{
    struct job *message = job_open();
    uint64_t *copy = arena_take(&message->arena, (n + 1) * sizeof(*copy));
    memcpy(copy, owners, n * sizeof(*copy));
    message->kind = JOB_KEEP;
    message->ask.prompt = bytes_copy(&message->arena, bytes_of(version));
    message->owners = copy;
    message->n_owners = n;
    while (ring_push(sched->jobs, message) != OK)
        nap(1); // as in send_message
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
        place_give(sched, event->owner);
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

// A GPU's models are where it computes: the long reads from a disk are a processor's.
static uint64_t patience_ms(const struct sched *sched)
{
    const char *kind = sched->status->device.kind;
    const bool gpu = kind[0] && strcmp(kind, "cpu") != 0 && strcmp(kind, "software") != 0;
    return gpu && sched->status->state == SCHED_READY ? SCHED_HUNG_GPU_MS : SCHED_HUNG_MS;
}

bool sched_beats(const struct sched *sched)
{
    const uint64_t step_ms = sched_step_ms(sched), most_ms = patience_ms(sched),
                   now_ms = clock_ms(),
                   turned_ms = atomic_load_explicit(&sched->turned_ms, memory_order_relaxed);
    return step_ms ? step_ms <= most_ms : turned_ms + most_ms >= now_ms;
}

const char *sched_hangs(const struct sched *sched)
{
    const int step = atomic_load_explicit(&sched->device_step, memory_order_relaxed);
    if (step != DEVICE_WORKS && sched_step_ms(sched) > SCHED_DEVICE_MS)
        return step == DEVICE_OPENS
                   ? "the device has not come up within a minute of being opened: its driver "
                     "hangs, "
                     "or is very slow"
                   : "the device's self-test has run for more than a minute: the device or its "
                     "driver is very slow, or hangs";
    if (sched_beats(sched))
        return NULL;
    return patience_ms(sched) == SCHED_HUNG_MS
               ? "the engine has been at one step for more than five minutes: it hangs"
               : "the engine has been at one step on the GPU for more than two minutes: its driver "
                 "hangs";
}
