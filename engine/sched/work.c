// work.c - a job's way through the engine thread: arrival, its prompt as ids, a sequence, tokens,
// its end.
//
// A prompt is tokenized when it arrives, so that one that does not fit is refused at once, with the
// numbers, and not after waiting; one far too long by its bytes alone, before that. Every way out
// passes work_end, which sends the one final event and gives the sequence back; the sequence keeps
// what it holds for prefix.c. A work whose text is still with the encoder may end: the encoding
// comes back to nobody and is dropped.
#include "inside.h"

#include <stdlib.h>
#include <string.h>

// ---- lines ----------------------------------------------------------------------------------

void line_init(struct line *line)
{
    *line = (struct line){.end = &line->first};
}

// at: where the line points to the work that is to come behind it.
static void line_insert(struct line *line, struct work **at, struct work *work)
{
    work->next = *at;
    *at = work;
    if (!work->next)
        line->end = &work->next;
    line->n++;
}

static void line_add(struct line *line, struct work *work)
{
    line_insert(line, line->end, work);
}

// at: where the line points to the work.
static struct work *line_remove(struct line *line, struct work **at)
{
    struct work *work = *at;
    *at = work->next;
    if (!*at)
        line->end = at;
    line->n--;
    work->next = NULL;
    return work;
}

static struct work **line_find(struct line *line, uint64_t id)
{
    struct work **at = &line->first;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

// ---- the end --------------------------------------------------------------------------------

static void work_close(struct work *work)
{
    if (work->sampler)
        sampler_close(work->sampler);
    work_speak_close(work);
    guess_close(work);
    free(work->prompt);
    free(work->n_each);
    free(work->vectors);
    job_close(work->job);
    free(work);
}

struct usage work_usage(const struct work *work)
{
    const uint64_t now = clock_us();
    struct usage usage = work->usage;
    usage.n_generated = work->n_generated;
    usage.queue_us = (work->started_us ? work->started_us : now) - work->arrived_us;
    if (work->started_us)
        usage.prompt_us = (work->first_us ? work->first_us : now) - work->started_us;
    if (work->first_us)
        usage.generate_us = now - work->first_us;
    return usage;
}

// seq: NULL, the work has none yet.
static void work_end(struct loaded *loaded, struct seq *seq, struct work *work, struct event *last)
{
    struct usage *usage = &last->usage;
    *usage = work_usage(work);
    log_debug("job %llu: %s, %d prompt tokens (%d cached), %d generated",
              (unsigned long long)work->id, last->kind == EVENT_FAILED ? last->err.text : "done",
              (int)usage->n_prompt, (int)usage->n_prompt_cached, (int)usage->n_generated);
    engine_tell(loaded->engine, last);
    owner_drop(loaded, work->owner);
    work_close(work);
    loaded->n_users--;
    if (seq) {
        seq->state = SEQ_FREE;
        seq->work = NULL;
        keep_used(loaded, seq);
    }
}

static void end_done(struct loaded *loaded, struct seq *seq, struct work *work, enum finish finish)
{
    struct event *event = text_event(EVENT_DONE, work, work_stop(work));
    event->finish = finish;
    event->context_full = work->context_full;
    event->n_done = work->n_unsaid;
    work_end(loaded, seq, work, event);
}

static void end_failed(struct loaded *loaded, struct seq *seq, struct work *work,
                       const struct err *err)
{
    struct event *event = event_open(EVENT_FAILED, work);
    event->err = *err;
    event->n_done = loaded->n_ctx;
    work_end(loaded, seq, work, event);
}

void work_fail(struct loaded *loaded, struct seq *seq, const struct err *err)
{
    end_failed(loaded, seq, seq->work, err);
}

void loaded_fail_lines(struct loaded *loaded, const struct err *err)
{
    struct line *const lines[] = {&loaded->arriving, &loaded->fetching, &loaded->waiting};
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        while (lines[i]->first)
            end_failed(loaded, NULL, line_remove(lines[i], &lines[i]->first), err);
}

void work_fail_waiting(struct loaded *loaded, struct work *work, const struct err *err)
{
    struct work **at = line_find(&loaded->waiting, work->id);
    end_failed(loaded, NULL, line_remove(&loaded->waiting, at), err);
}

void work_done(struct loaded *loaded, struct work *work)
{
    struct event *event = event_open(EVENT_DONE, work);
    event->finish = FINISH_STOP;
    event->vectors = work->vectors;
    event->n_vectors = work->n_texts;
    event->n_vector = loaded->n_vector;
    work->vectors = NULL;
    line_remove(&loaded->waiting, line_find(&loaded->waiting, work->id));
    work_end(loaded, NULL, work, event);
}

// ---- arrival --------------------------------------------------------------------------------

void job_refuse(struct engine *engine, const struct job *job, const struct err *why)
{
    struct event *event = event_open(EVENT_FAILED, NULL);
    event->job_id = job->id;
    event->owner = job->ask.owner;
    event->err = *why;
    engine_tell(engine, event);
}

static const struct err *shutting_down(void)
{
    static const struct err err = {.status = CANCELLED, .text = "the server is shutting down"};
    return &err;
}

// Its text goes to the encoder. False: it was refused, and is gone.
static bool work_encode(struct loaded *loaded, struct work **at)
{
    struct work *work = *at;
    if (work->job->kind == JOB_LOAD) { // the model is there: that was all
        end_done(loaded, NULL, line_remove(&loaded->arriving, at), FINISH_STOP);
        return false;
    }
    struct encoding *encoding = mem_alloc(sizeof(*encoding));
    *encoding = (struct encoding){.job = work->job,
                                  .loaded = loaded,
                                  .tokenizer = loaded->tokenizer,
                                  .family = loaded->family,
                                  .template = loaded->template,
                                  .n_ctx = loaded->n_ctx,
                                  .n_ctx_train = loaded->n_ctx_train,
                                  .rank_format = model_rank_format(loaded->model),
                                  .chat_template = model_chat_template(loaded->model)};
    if (job_suits(work->job, model_info(loaded->model), &encoding->err) != OK ||
        encoding_check(encoding, &encoding->err) != OK) {
        work->usage.n_prompt = encoding->n;
        end_failed(loaded, NULL, line_remove(&loaded->arriving, at), &encoding->err);
        free(encoding);
        return false;
    }
    work->job = NULL;
    loaded->n_encoding++;
    encoder_send(loaded->engine->encoder, encoding);
    return true;
}

void loaded_encode_all(struct loaded *loaded)
{
    for (struct work **at = &loaded->arriving.first; *at;) {
        const struct ask *ask = &(*at)->job->ask;
        struct err err = {0};
        if (loaded_find(loaded->engine, ask) != loaded) { // it named one before ours was known
            (void)err_set(&err, NOT_FOUND, "there is no model '%.*s' here",
                          (int)(ask->model.n < 100 ? ask->model.n : 100),
                          (const char *)ask->model.p);
            end_failed(loaded, NULL, line_remove(&loaded->arriving, at), &err);
        } else if (work_encode(loaded, at)) {
            at = &(*at)->next;
        }
    }
}

void engine_accept(struct engine *engine, struct job *job)
{
    struct err err = {0};
    struct loaded *loaded = engine->stopping ? NULL : loaded_for(engine, &job->ask, &err);
    if (!loaded) {
        job_refuse(engine, job, engine->stopping ? shutting_down() : &err);
        job_close(job);
        return;
    }
    loaded->used_at = ++engine->n_steps;
    loaded->keep_s =
        job->ask.keep_s == KEEP_AS_SET ? engine->sched->settings.keep_s : job->ask.keep_s;
    struct work *work = mem_alloc(sizeof(*work));
    work->job = job;
    work->id = job->id;
    work->owner = owner_take(loaded, job->ask.owner);
    work->arrived_us = clock_us();
    struct work **at = loaded->arriving.end;
    line_add(&loaded->arriving, work);
    loaded->n_users++;
    if (loaded->state == SCHED_READY)
        (void)work_encode(loaded, at);
}

void engine_encoded(struct engine *engine, struct encoding *encoding)
{
    struct loaded *loaded = encoding->loaded;
    struct work **at = line_find(&loaded->arriving, encoding->job->id);
    loaded->n_encoding--;
    if (*at) {
        struct work *work = line_remove(&loaded->arriving, at);
        work->job = encoding->job;
        work->prompt = encoding->ids;
        work->n_prompt = work->usage.n_prompt = encoding->n;
        work->grammar = encoding->grammar;
        work->predicted = encoding->predicted;
        work->n_predicted = encoding->n_predicted;
        encoding->predicted = NULL;
        work->n_each = encoding->n_each;
        work->n_texts = encoding->n_each ? encoding->job->ask.n_texts : 0;
        encoding->n_each = NULL;
        encoding->job = NULL;
        encoding->ids = NULL;
        encoding->grammar = NULL;
        work->matcher = encoding->matcher;
        encoding->matcher = NULL;
        if (encoding->err.status != OK) {
            end_failed(loaded, NULL, work, &encoding->err);
        } else if (work->job->ask.only_prompt || ask_only_tells(&work->job->ask)) {
            const struct bytes prompt = {encoding->text.p, encoding->text.n},
                               text =
                                   work->job->ask.only_prompt ? prompt : buf_view(&encoding->told);
            engine_tell(engine, text_event(EVENT_TEXT, work, text));
            end_done(loaded, NULL, work, FINISH_STOP);
        } else if (work->job->ask.only_count) {
            end_done(loaded, NULL, work, FINISH_STOP);
        } else {
            struct event *event = text_event(EVENT_STARTED, work, bytes_of(encoding->notes.text));
            event->usage = work->usage;
            engine_tell(engine, event);
            if (keep_wants(loaded))
                line_add(&loaded->fetching, work);
            else
                line_insert(&loaded->waiting,
                            loaded->embeds ? turn_place(loaded, work->owner) : loaded->waiting.end,
                            work);
        }
    } // else: it was cancelled meanwhile
    encoding_close(encoding);
}

void loaded_expire(struct loaded *loaded)
{
    struct line *const lines[] = {&loaded->arriving, &loaded->fetching, &loaded->waiting};
    const uint64_t now_us = clock_us();
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        for (struct work **at = &lines[i]->first; *at;) {
            const struct work *work = *at;
            const uint32_t within_ms =
                work->job && !work->started_us ? work->job->ask.within_ms : 0;
            struct err err = {0};
            if (within_ms == 0 || now_us - work->arrived_us < within_ms * 1000ull) {
                at = &(*at)->next;
                continue;
            }
            (void)err_set(&err, NO_ROOM,
                          "it could not begin within the %.1f s that the request gives it",
                          within_ms / 1e3);
            end_failed(loaded, NULL, line_remove(lines[i], at), &err);
        }
}

void work_fetched(struct loaded *loaded, struct work *work)
{
    line_add(&loaded->waiting,
             line_remove(&loaded->fetching, line_find(&loaded->fetching, work->id)));
}

// What a work needs besides its prompt; a suspended one has it.
static void work_open(struct loaded *loaded, struct work *work, int32_t n_reused)
{
    sampler_open(&work->sampler, &work->job->ask.sampling, loaded->n_vocab);
    sampler_speaks(work->sampler, loaded->tokenizer);
    work_speak_begin(loaded, work);
    for (int32_t i = 0; i < work->n_prompt; i++)
        sampler_see(work->sampler, work->prompt[i], false);
    guess_begin(loaded, work);
    work->started_us = clock_us();
    work->usage.n_prompt_cached = n_reused;
    work->usage.n_prompt_read = n_reused < work->n_fetched ? n_reused : work->n_fetched;
    if (work->job->ask.echoes)
        work_echo_begin(loaded, work);
    loaded->engine->gauges.prefix_asked += (uint64_t)work->n_prompt;
    loaded->engine->gauges.prefix_found += (uint64_t)n_reused;
}

static void work_begin(struct loaded *loaded, struct seq *seq, struct work *work)
{
    if (!work->sampler)
        work_open(loaded, work, seq->n_cached);
    prefix_marks(loaded, work);
    turn_begins(work, seq->n_cached);
    seq->state = SEQ_PREFILL;
    seq->owner = work->owner->id;
    seq->work = work;
    seq->used_at = loaded->engine->n_steps;
}

// The work leaves its sequence, ready to wait.
static struct work *work_leave(struct loaded *loaded, struct seq *seq)
{
    struct work *work = seq->work;
    if (seq->state == SEQ_DECODE) {
        work->n_prompt = seq->n_cached + 1;
        work->n_read = work->n_generated;
        work->prompt = mem_resize(work->prompt, (size_t)work->n_prompt * sizeof(*work->prompt));
        memcpy(work->prompt, seq->token, (size_t)seq->n_cached * sizeof(*work->prompt));
        work->prompt[seq->n_cached] = work->picked;
    }
    loaded->engine->gauges.n_suspended++;
    seq->state = SEQ_FREE;
    seq->work = NULL;
    return work;
}

void work_suspend(struct loaded *loaded, struct seq *seq)
{
    if (loaded->engine->stopping) { // nobody waits any more
        work_fail(loaded, seq, shutting_down());
        return;
    }
    log_debug("job %llu waits: memory is short", (unsigned long long)seq->work->id);
    line_insert(&loaded->waiting, &loaded->waiting.first, work_leave(loaded, seq));
}

// It waits again, behind all others: it has had its turn.
static void work_yield(struct loaded *loaded, struct seq *seq)
{
    log_debug("job %llu waits: it has had its turn", (unsigned long long)seq->work->id);
    line_add(&loaded->waiting, work_leave(loaded, seq));
}

// Pages of the memory that n tokens want beyond those of n_cached.
static int64_t pages_wanted(int32_t n, int32_t n_cached)
{
    return (n + PAGE_ROWS - 1) / PAGE_ROWS - (n_cached + PAGE_ROWS - 1) / PAGE_ROWS;
}

// Whether there is room for a work's prompt beside what those that run have still to read, with a
// page for each to go on. What nobody works on is given up for it. Alone it has all there is.
static bool has_room(struct loaded *loaded, const struct seq *seq, const struct work *work)
{
    int64_t wanted = pages_wanted(work->n_prompt + 1, seq->n_cached);
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        const struct seq *other = &loaded->seqs[i];
        if (other->state == SEQ_PREFILL)
            wanted += pages_wanted(other->work->n_prompt + 1, other->n_cached);
        wanted += other->state != SEQ_FREE;
    }
    while (model_room(loaded->model) < wanted * PAGE_ROWS)
        if (!prefix_evict(loaded, seq) && !keep_give_up(loaded))
            return loaded_running(loaded) == 0;
    return true;
}

// at: where the line points to it. False: there is no room for it.
static bool assign(struct loaded *loaded, struct work **at)
{
    struct seq *seq = prefix_take(loaded, *at);
    if (!has_room(loaded, seq, *at))
        return false;
    work_begin(loaded, seq, line_remove(&loaded->waiting, at));
    return true;
}

void loaded_assign(struct loaded *loaded)
{
    while (loaded->waiting.first) {
        struct seq *gives;
        if (loaded_running(loaded) < loaded->n_together && assign(loaded, turn_next(loaded)))
            continue;
        struct work **at = turn_over(loaded, &gives);
        if (!at)
            return;
        work_yield(loaded, gives);
        if (!assign(loaded, at))
            return;
    }
}

// ---- tokens ---------------------------------------------------------------------------------

// Of the tokens up to `last`, at which the answer ended: those whose text a stop string took away
// whole. The token of an end has no log-probability that could be taken back.
static int32_t tokens_unsaid(const struct loaded *loaded, const struct seq *seq, int32_t last)
{
    size_t left = work_unsaid(seq->work);
    int32_t n = 0;
    for (int32_t back = 0; left > 0 && back < seq->n_cached; back++) {
        const int32_t id = back == 0 ? last : seq->token[seq->n_cached - back];
        const size_t n_bytes = tokenizer_decode(loaded->tokenizer, id).n;
        if (n_bytes > left)
            break;
        left -= n_bytes;
        n += !tokenizer_is_end(loaded->tokenizer, id);
    }
    return n;
}

void loaded_read(struct loaded *loaded, struct seq *seq)
{
    seq->work->first_us = clock_us();
    end_done(loaded, seq, seq->work, FINISH_LENGTH);
}

static void finish(struct loaded *loaded, struct seq *seq, int32_t last, enum finish why)
{
    seq->work->n_unsaid = tokens_unsaid(loaded, seq, last);
    end_done(loaded, seq, seq->work, why);
}

void loaded_token(struct loaded *loaded, struct seq *seq, int32_t id)
{
    struct work *work = seq->work;
    if (!work->first_us)
        work->first_us = clock_us();
    if (tokenizer_is_end(loaded->tokenizer, id)) {
        work_speak_end(loaded, work);
        finish(loaded, seq, id, FINISH_STOP);
        return;
    }
    if (work->obeys && !matcher_accept(work->matcher, id)) {
        struct err err = {0};
        if (matcher_gave_up(work->matcher, &err) == OK)
            die("token %d was picked against the grammar", (int)id);
        (void)err_prefix(&err, "%s", ask_obeys(&work->job->ask));
        work_fail(loaded, seq, &err);
        return;
    }
    work->n_generated++;
    loaded->engine->gauges.n_tokens++;
    sampler_see(work->sampler, id, true);
    guess_saw(loaded, work, id);
    if (work_speak(loaded, work, id)) {
        finish(loaded, seq, id, FINISH_STOP);
        return;
    }
    if (work->obeys && matcher_must_end(work->matcher)) { // nothing may follow
        work_speak_end(loaded, work);
        finish(loaded, seq, id, FINISH_STOP);
        return;
    }
    bool enough = work->job->ask.max_tokens > 0 && work->n_generated >= work->job->ask.max_tokens;
    if (enough || seq->n_cached + 1 >= loaded->n_ctx) {
        work->context_full = !enough;
        work_speak_end(loaded, work);
        finish(loaded, seq, id, FINISH_LENGTH);
        return;
    }
    work->picked = id;
    seq->state = SEQ_DECODE;
}

// ---- cancelling and stopping ----------------------------------------------------------------

static bool loaded_cancel(struct loaded *loaded, uint64_t job_id)
{
    struct line *const lines[] = {&loaded->arriving, &loaded->fetching, &loaded->waiting};
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        struct seq *seq = &loaded->seqs[i];
        if (seq->work && seq->work->id == job_id) {
            end_done(loaded, seq, seq->work, FINISH_CANCELLED);
            return true;
        }
    }
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        struct work **at = line_find(lines[i], job_id);
        if (*at) {
            end_done(loaded, NULL, line_remove(lines[i], at), FINISH_CANCELLED);
            return true;
        }
    }
    return false;
}

void engine_cancel(struct engine *engine, uint64_t job_id)
{
    for (int32_t i = 0; i < engine->n_loaded; i++)
        if (loaded_cancel(engine->loaded[i], job_id))
            return;
}

void engine_stop(struct engine *engine, uint64_t grace_ms)
{
    uint64_t at_ms = clock_ms() + grace_ms;
    if (!engine->stopping || at_ms < engine->stop_at_ms)
        engine->stop_at_ms = at_ms;
    if (engine->stopping)
        return;
    engine->stopping = true;
    engine_tell_state(engine, SCHED_STOPPING, shutting_down());
    for (int32_t i = 0; i < engine->n_loaded; i++) {
        struct loaded *loaded = engine->loaded[i];
        loaded_fail_lines(loaded, shutting_down());
        if (loaded->state == SCHED_LOADING) { // given up as it is
            loaded->state = SCHED_FAILED;
            loaded->err = *shutting_down();
        }
    }
}

static void fail_running(struct loaded *loaded, const struct err *err)
{
    for (int32_t k = 0; k < loaded->n_seq; k++)
        if (loaded->seqs[k].work)
            work_fail(loaded, &loaded->seqs[k], err);
}

void engine_cut_off(struct engine *engine)
{
    engine->stop_at_ms = 0;
    for (int32_t i = 0; i < engine->n_loaded; i++)
        fail_running(engine->loaded[i], shutting_down());
}

void engine_fail_all(struct engine *engine, const struct err *err)
{
    for (int32_t i = 0; i < engine->n_loaded; i++) {
        loaded_fail_lines(engine->loaded[i], err);
        fail_running(engine->loaded[i], err);
    }
}
