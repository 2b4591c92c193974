// work.c - a job's way through the engine thread: arrival, a sequence, tokens, its end.
//
// A prompt is tokenized when it arrives, so that one that does not fit is refused at once, with the
// numbers, and not after waiting; one far too long by its bytes alone, before that. Every way out
// passes work_end, which sends the one final event and gives the sequence back; the sequence keeps
// its KV for prefix.c.
#include "inside.h"

#include <stdlib.h>
#include <string.h>

static void work_close(struct work *work)
{
    if (work->sampler)
        sampler_close(work->sampler);
    if (work->stopper)
        stopper_close(work->stopper);
    free(work->prompt);
    job_close(work->job);
    free(work);
}

static void tell_text(struct engine *engine, const struct work *work, struct bytes text)
{
    if (text.n == 0)
        return;
    struct event *event = mem_alloc(sizeof(*event) + text.n);
    event->kind = EVENT_TEXT;
    event->job_id = work->job->id;
    event->n_text = text.n;
    memcpy(event->text, text.p, text.n);
    engine_tell(engine, event);
}

static void work_end(struct engine *engine, struct seq *seq, struct work *work, struct event *last)
{
    uint64_t now = clock_us();
    struct usage *usage = &last->usage;
    *usage = work->usage;
    usage->n_generated = work->n_generated;
    usage->queue_us = (work->started_us ? work->started_us : now) - work->arrived_us;
    if (work->started_us)
        usage->prompt_us = (work->first_us ? work->first_us : now) - work->started_us;
    if (work->first_us)
        usage->generate_us = now - work->first_us;
    log_debug("job %llu: %s, %d prompt tokens (%d cached), %d generated",
              (unsigned long long)work->job->id,
              last->kind == EVENT_FAILED ? last->err.text : "done", (int)usage->n_prompt,
              (int)usage->n_prompt_cached, (int)usage->n_generated);
    engine_tell(engine, last);
    work_close(work);
    if (seq) {
        seq->state = SEQ_FREE;
        seq->work = NULL;
    }
}

void work_finish(struct engine *engine, struct seq *seq, enum finish finish)
{
    struct event *event = event_open(EVENT_DONE, seq->work);
    event->finish = finish;
    work_end(engine, seq, seq->work, event);
}

void work_fail(struct engine *engine, struct seq *seq, const struct err *err)
{
    struct event *event = event_open(EVENT_FAILED, seq->work);
    event->err = *err;
    work_end(engine, seq, seq->work, event);
}

// ---- arrival --------------------------------------------------------------------------------

static enum status too_long(const struct engine *engine, const char *at_least, size_t n,
                            struct err *err)
{
    return err_set(err, TOO_LARGE,
                   "this model's context holds %d tokens; the prompt has %s%zu. Shorten it, or "
                   "raise ctx in tawny.conf",
                   (int)engine->n_ctx, at_least, n);
}

static enum status work_tokenize(struct engine *engine, struct work *work, struct err *err)
{
    const struct job *job = work->job;
    uint64_t n_bytes = job->ask.prompt.n;
    for (size_t i = 0; i < job->ask.n_messages; i++)
        n_bytes += job->ask.messages[i].role.n + job->ask.messages[i].content.n;
    // What cannot fit even in the longest tokens is not tokenized: that would be seconds of work.
    size_t n_longest = tokenizer_longest(engine->tokenizer);
    uint64_t n_least = (n_bytes + n_longest - 1) / n_longest;
    if (n_least > (uint64_t)engine->n_ctx)
        return too_long(engine, "at least ", (size_t)n_least, err);
    // no token is shorter than a byte; control tokens and BOS come on top
    uint64_t cap = n_bytes + 64 + 64 * (uint64_t)job->ask.n_messages;
    if (cap > INT32_MAX / 8)
        return err_set(err, TOO_LARGE,
                       "the prompt has %llu bytes; that is over what is read at all",
                       (unsigned long long)cap);
    int32_t *ids = mem_array(cap, sizeof(*ids));
    size_t n = 0;
    enum status status = job->ask.chat ? template_encode(engine->tokenizer, job->ask.messages,
                                                         job->ask.n_messages, ids, cap, &n, err)
                                       : tokenizer_encode(engine->tokenizer, job->ask.prompt, true,
                                                          ids, cap, &n, err);
    if (status == OK && n == 0)
        status = err_set(err, BAD_INPUT, "the prompt is empty");
    if (status == OK && n > (size_t)engine->n_ctx)
        status = too_long(engine, "", n, err);
    if (status != OK) {
        free(ids);
        return status;
    }
    work->prompt = mem_resize(ids, n * sizeof(*ids));
    work->n_prompt = (int32_t)n;
    work->usage.n_prompt = (int32_t)n;
    return OK;
}

void engine_accept(struct engine *engine, struct job *job)
{
    struct work *work = mem_alloc(sizeof(*work));
    struct err err = {0};
    work->job = job;
    work->arrived_us = clock_us();
    enum status status = work_tokenize(engine, work, &err);
    if (status != OK) {
        struct event *event = event_open(EVENT_FAILED, work);
        event->err = err;
        work_end(engine, NULL, work, event);
        return;
    }
    engine_tell(engine, event_open(EVENT_STARTED, work));
    *engine->waiting_end = work;
    engine->waiting_end = &work->next;
    engine->n_waiting++;
}

static void work_begin(struct engine *engine, struct seq *seq, struct work *work, int32_t n_reused)
{
    sampler_open(&work->sampler, &work->job->ask.sampling, engine->n_vocab);
    stopper_open(&work->stopper, work->job->ask.stops, work->job->ask.n_stops);
    for (int32_t i = 0; i < work->n_prompt; i++)
        sampler_see(work->sampler, work->prompt[i], false);
    work->started_us = clock_us();
    work->usage.n_prompt_cached = n_reused;
    seq->n_cached = n_reused;
    seq->state = SEQ_PREFILL;
    seq->work = work;
    seq->used_at = engine->n_steps;
}

void engine_assign(struct engine *engine)
{
    while (engine->waiting) {
        struct work *work = engine->waiting;
        int32_t n_reused = 0;
        struct seq *seq =
            prefix_choose(engine->seqs, engine->n_seq, work->prompt, work->n_prompt, &n_reused);
        if (!seq)
            return;
        engine->waiting = work->next;
        if (!engine->waiting)
            engine->waiting_end = &engine->waiting;
        engine->n_waiting--;
        work->next = NULL;
        work_begin(engine, seq, work, n_reused);
    }
}

// ---- tokens and the end ---------------------------------------------------------------------

void engine_token(struct engine *engine, struct seq *seq, int32_t id)
{
    struct work *work = seq->work;
    if (!work->first_us)
        work->first_us = clock_us();
    if (tokenizer_is_end(engine->tokenizer, id)) {
        tell_text(engine, work, stopper_flush(work->stopper));
        work_finish(engine, seq, FINISH_STOP);
        return;
    }
    work->n_generated++;
    sampler_see(work->sampler, id, true);
    struct bytes text;
    bool stopped = stopper_feed(work->stopper, tokenizer_decode(engine->tokenizer, id), &text);
    tell_text(engine, work, text);
    if (stopped) {
        work_finish(engine, seq, FINISH_STOP);
        return;
    }
    bool enough = work->job->ask.max_tokens > 0 && work->n_generated >= work->job->ask.max_tokens;
    if (enough || seq->n_cached >= engine->n_ctx) { // no place for its row
        tell_text(engine, work, stopper_flush(work->stopper));
        work_finish(engine, seq, FINISH_LENGTH);
        return;
    }
    work->picked = id;
    seq->state = SEQ_DECODE;
}

static void waiting_cancelled(struct engine *engine, struct work *work)
{
    struct event *event = event_open(EVENT_DONE, work);
    event->finish = FINISH_CANCELLED;
    work_end(engine, NULL, work, event);
}

void engine_cancel(struct engine *engine, uint64_t job_id)
{
    for (int32_t i = 0; i < engine->n_seq; i++) {
        struct seq *seq = &engine->seqs[i];
        if (seq->work && seq->work->job->id == job_id) {
            work_finish(engine, seq, FINISH_CANCELLED);
            return;
        }
    }
    for (struct work **at = &engine->waiting; *at; at = &(*at)->next) {
        struct work *work = *at;
        if (work->job->id != job_id)
            continue;
        *at = work->next;
        if (!*at)
            engine->waiting_end = at;
        engine->n_waiting--;
        waiting_cancelled(engine, work);
        return;
    }
}

void engine_drop_all(struct engine *engine)
{
    for (int32_t i = 0; i < engine->n_seq; i++)
        if (engine->seqs[i].work)
            work_finish(engine, &engine->seqs[i], FINISH_CANCELLED);
    while (engine->waiting) {
        struct work *work = engine->waiting;
        engine->waiting = work->next;
        waiting_cancelled(engine, work);
    }
    engine->waiting_end = &engine->waiting;
    engine->n_waiting = 0;
}
