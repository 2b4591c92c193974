// thread.c - the engine thread's loop: take what came, give waiting jobs a sequence, one slice of
// loading, one forward pass; with nothing to do it sleeps on its inboxes.
//
// Everything in a turn is bounded: a pass by chunk_learn(), loading by its slice, and prompts are
// tokenized elsewhere. So a job, a cancellation and a stop are seen within a turn.
#include "base/confine.h"
#include "keep.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

// Takes what came on the ring. False: the thread is to end.
static bool take_jobs(struct engine *engine)
{
    struct job *job;
    bool go_on = true;
    while ((job = ring_pop(engine->sched->jobs)) != NULL) {
        switch (job->kind) {
        case JOB_GENERATE:
        case JOB_EMBED:
        case JOB_LOAD:
            engine_accept(engine, job);
            continue; // it is not ours any more
        case JOB_UNLOAD:
            engine_unload_job(engine, job);
            break;
        case JOB_CANCEL:
            engine_cancel(engine, job->id);
            break;
        case JOB_KEEP:
            keep_tell(engine, job);
            break;
        case JOB_STOP:
            engine_stop(engine, job->id);
            break;
        case JOB_QUIT:
            engine_stop(engine, 0);
            go_on = false;
            break;
        }
        job_close(job);
    }
    return go_on;
}

void engine_lost(struct engine *engine, const struct err *err)
{
    enum { TOLD_MS = 500, TURN_MS = 5 }; // for the net thread to write to every client
    const uint64_t until_ms = clock_ms() + TOLD_MS;
    struct err *refused = &engine->refused; // of jobs that come now; who asks again is served
    (void)err_set(refused, CANCELLED, "the device failed: %.200s; the engine starts again",
                  err->text);
    engine_fail_all(engine, refused);
    do {
        engine_tell_late(engine);
        nap(TURN_MS);
    } while (take_jobs(engine) && clock_ms() < until_ms);
    die("the device failed: %s", err->text);
}

static void take_encoded(struct engine *engine)
{
    struct encoding *encoding;
    while ((encoding = encoder_take(engine->encoder)) != NULL)
        engine_encoded(engine, encoding);
}

static void sleep_on_inboxes(struct engine *engine)
{
    struct pollfd fds[] = {
        {.fd = ring_fd(engine->sched->jobs), .events = POLLIN},
        {.fd = encoder_fd(engine->encoder), .events = POLLIN},
        {.fd = engine->keep ? errands_fd(engine->keep->errands) : -1, .events = POLLIN}};
    int patience_ms = engine_patience_ms(engine);
    if (patience_ms < 0 || patience_ms > SCHED_TURN_MS)
        patience_ms = SCHED_TURN_MS;
    if (engine->sched->late && patience_ms > 5)
        patience_ms = 5;
    if (poll(fds, COUNT_OF(fds), patience_ms) < 0 && errno != EINTR)
        die("poll on the engine's rings: %s", strerror(errno));
}

// One turn of one model. False: there was nothing to do.
static bool loaded_turn(struct loaded *loaded)
{
    if (loaded->state == SCHED_LOADING) {
        if (!loaded_may_load(loaded))
            return false;
        loaded_load_some(loaded);
        return loaded->state != SCHED_LOADING || loaded->model; // else it waits for memory
    }
    if (loaded->state != SCHED_READY)
        return false;
    if (loaded->embeds)
        return loaded_embed(loaded);
    const bool keeps = keep_turn(loaded);
    loaded_assign(loaded);
    if (loaded_running(loaded) == 0)
        return keeps;
    loaded_step(loaded);
    loaded_assign(loaded);
    return true;
}

static void engine_run(struct engine *engine)
{
    while (take_jobs(engine)) {
        bool busy = false;
        engine_turns(engine);
        engine_tell_late(engine);
        take_encoded(engine);
        keep_take(engine);
        if (engine->stop_at_ms && clock_ms() >= engine->stop_at_ms)
            engine_cut_off(engine);
        for (int32_t i = 0; i < engine->n_loaded; i++)
            loaded_expire(engine->loaded[i]);
        for (int32_t i = 0; i < engine->n_loaded; i++) // which one may make fewer
            busy |= loaded_turn(engine->loaded[i]);
        engine_unload_old(engine);
        engine_check(engine);
        engine_tell_gauges(engine);
        if (!busy)
            sleep_on_inboxes(engine);
    }
}

void *engine_main(void *arg)
{
    struct sched *sched = arg;
    thread_begin("engine", THREAD_ENGINE);
    struct engine engine = {.sched = sched, .encoder = sched->encoder};
    engine.layers = mem_alloc(sizeof(*engine.layers));
    engine.token = mem_array(BATCH_TOKENS, sizeof(int32_t));
    engine.pos = mem_array(BATCH_TOKENS, sizeof(int32_t));
    engine.seq = mem_array(BATCH_TOKENS, sizeof(int32_t));
    engine.wanted = mem_array(BATCH_TOKENS, 1);
    engine_load(&engine);
    engine_run(&engine);
    engine_cut_off(&engine);
    engine_tell_late(&engine);
    keep_stop(&engine);
    encoder_stop(engine.encoder);
    engine_unload(&engine);
    keep_close(&engine);
    free(engine.token);
    free(engine.pos);
    free(engine.seq);
    free(engine.wanted);
    free(engine.layers);
    return NULL;
}
