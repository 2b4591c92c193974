// step.c - one forward pass: whose rows go into it, and what is done with its logits.
//
// Every sequence that is generating contributes one row; what room is left goes to prompts, oldest
// first, in chunks. A chunk is sized by time, not only by BATCH_TOKENS: while others generate, a
// pass must not take so long that their streams stall, and even alone it must not be so long that
// cancelling or a heartbeat waits for it. The size is learnt as we go.
#include "inside.h"

#include <string.h>

bool engine_busy(const struct engine *engine)
{
    if (engine->waiting)
        return true;
    for (int32_t i = 0; i < engine->n_seq; i++)
        if (engine->seqs[i].state != SEQ_FREE)
            return true;
    return false;
}

static int32_t count_state(const struct engine *engine, enum seq_state state)
{
    int32_t n = 0;
    for (int32_t i = 0; i < engine->n_seq; i++)
        n += engine->seqs[i].state == state;
    return n;
}

// How long a pass with prompt rows should take.
static double target_us(const struct engine *engine, bool shared)
{
    double most = STEP_SHARED_TIMES * engine->decode_us;
    if (!shared)
        return STEP_ALONE_US;
    return most > STEP_SHARED_US ? most : STEP_SHARED_US;
}

// Prompt rows that may go into this pass.
static int32_t chunk_rows(const struct engine *engine, int32_t n_decode)
{
    int32_t room = BATCH_TOKENS - n_decode, rows = (int32_t)engine->chunk[n_decode > 0];
    if (rows < CHUNK_LEAST)
        rows = CHUNK_LEAST;
    return rows < room ? rows : room;
}

// Moves the chunk towards the size that takes as long as it should: at most halved or doubled by
// one pass, so that one that was held up by something else does not count for much. A pass that had
// fewer rows than it could says only when even they were too many.
static void chunk_learn(struct engine *engine, int32_t n_prompt, int32_t n_decode, uint64_t took_us)
{
    bool shared = n_decode > 0;
    if (n_prompt == 0) {
        double us = (double)took_us;
        engine->decode_us = engine->decode_us > 0 ? 0.9 * engine->decode_us + 0.1 * us : us;
        return;
    }
    double change = target_us(engine, shared) / (double)(took_us ? took_us : 1);
    double from = engine->chunk[shared];
    if (n_prompt < chunk_rows(engine, n_decode)) {
        if (change > 1)
            return;
        from = n_prompt;
    }
    change = change < 0.5 ? 0.5 : change > 2 ? 2 : change;
    double rows = from * change;
    engine->chunk[shared] = rows < CHUNK_LEAST    ? CHUNK_LEAST
                            : rows > BATCH_TOKENS ? BATCH_TOKENS
                                                  : rows;
}

static void add_row(struct engine *engine, int32_t *n, struct seq *seq, int32_t token, int32_t pos,
                    bool wanted)
{
    engine->token[*n] = token;
    engine->pos[*n] = pos;
    engine->seq[*n] = seq->index;
    engine->wanted[*n] = wanted;
    seq->token[pos] = token;
    seq->used_at = engine->n_steps;
    ++*n;
}

// The prefilling sequence that has waited longest, of those not yet in this pass (n_taken of it is
// 0).
static struct seq *oldest_prefill(struct engine *engine, const int32_t *n_taken)
{
    struct seq *oldest = NULL;
    for (int32_t i = 0; i < engine->n_seq; i++) {
        struct seq *seq = &engine->seqs[i];
        if (seq->state != SEQ_PREFILL || n_taken[i])
            continue;
        if (!oldest || seq->work->arrived_us < oldest->work->arrived_us)
            oldest = seq;
    }
    return oldest;
}

enum { SEQS_MOST = 64 };

// Fills the batch; n_rows[i]: rows of sequence i. Returns the number of rows.
static int32_t batch_fill(struct engine *engine, int32_t *n_rows)
{
    int32_t n = 0;
    for (int32_t i = 0; i < engine->n_seq; i++) {
        struct seq *seq = &engine->seqs[i];
        if (seq->state != SEQ_DECODE)
            continue;
        add_row(engine, &n, seq, seq->work->picked, seq->n_cached, true);
        n_rows[i] = 1;
    }
    int32_t budget = chunk_rows(engine, n);
    struct seq *seq;
    while (budget > 0 && (seq = oldest_prefill(engine, n_rows)) != NULL) {
        const struct work *work = seq->work;
        int32_t left = work->n_prompt - seq->n_cached, take = left < budget ? left : budget;
        for (int32_t k = 0; k < take; k++) {
            int32_t pos = seq->n_cached + k;
            add_row(engine, &n, seq, work->prompt[pos], pos, pos == work->n_prompt - 1);
        }
        n_rows[seq->index] = take;
        budget -= take;
    }
    return n;
}

// A failed pass: nobody in it can go on, and their KV is not to be trusted.
static void batch_failed(struct engine *engine, const int32_t *n_rows, const struct err *err)
{
    if (err->status == DEVICE_ERROR)
        die("the device failed: %s",
            err->text); // PID 1 starts the engine again, with a fresh device
    log_error("a forward pass failed: %s", err->text);
    for (int32_t i = 0; i < engine->n_seq; i++) {
        if (!n_rows[i])
            continue;
        engine->seqs[i].n_cached = 0;
        work_fail(engine, &engine->seqs[i], err);
    }
}

// How many of the largest logits every sequence with a wanted row of this pass is content with; 0:
// one wants them all. Two sizes, since a device may keep what it recorded for each.
static int32_t batch_top(const struct engine *engine, int32_t n)
{
    int32_t most = 0;
    for (int32_t row = 0; row < n; row++) {
        if (!engine->wanted[row])
            continue;
        int32_t wants = sampler_wants(engine->seqs[engine->seq[row]].work->sampler);
        if (wants == 0)
            return 0;
        most = wants > most ? wants : most;
    }
    if (most <= 1)
        return most;
    return engine->n_vocab < TOP_K_MOST ? engine->n_vocab : TOP_K_MOST;
}

static enum status pick(struct seq *seq, struct logits logits, int32_t n_top, int32_t *id,
                        struct err *err)
{
    if (n_top == 0)
        return sampler_pick(seq->work->sampler, logits.value, id, err);
    return sampler_pick_top(seq->work->sampler, logits.token, logits.value, n_top, id, err);
}

// logits: of this sequence's wanted row; .value NULL: none is wanted yet.
static void seq_advance(struct engine *engine, struct seq *seq, int32_t n_rows,
                        struct logits logits, int32_t n_top)
{
    struct err err = {0};
    int32_t id;
    seq->n_cached += n_rows;
    if (!logits.value) { // the prompt goes on
        struct event *event = event_open(EVENT_PROGRESS, seq->work);
        event->n_done = seq->n_cached;
        engine_tell(engine, event);
    } else if (pick(seq, logits, n_top, &id, &err) == OK) {
        engine_token(engine, seq, id);
    } else {
        log_error("job %llu: %s", (unsigned long long)seq->work->job->id, err.text);
        seq->n_cached = 0;
        work_fail(engine, seq, &err);
    }
}

void engine_step(struct engine *engine)
{
    int32_t n_rows[SEQS_MOST] = {0};
    struct err err = {0};
    int32_t n_decode = count_state(engine, SEQ_DECODE), n = batch_fill(engine, n_rows);
    if (n == 0)
        return;
    struct batch batch = {.n_tokens = n,
                          .token = engine->token,
                          .pos = engine->pos,
                          .seq = engine->seq,
                          .wanted = engine->wanted,
                          .n_top = batch_top(engine, n)};
    struct logits logits = {engine->logits, engine->top};
    engine_step_begins(engine, true);
    uint64_t from_us = clock_us();
    enum status status = model_forward(engine->model, &batch, logits, &err);
    chunk_learn(engine, n - n_decode, n_decode, clock_us() - from_us);
    engine_step_begins(engine, false);
    engine->n_steps++;
    if (status != OK) {
        batch_failed(engine, n_rows, &err);
        return;
    }
    size_t n_wide = (size_t)(batch.n_top > 0 ? batch.n_top : engine->n_vocab);
    for (int32_t row = 0; row < n;) { // logits come in row order
        struct seq *seq = &engine->seqs[engine->seq[row]];
        int32_t take = n_rows[seq->index];
        bool wanted = engine->wanted[row + take - 1];
        seq_advance(engine, seq, take, wanted ? logits : (struct logits){0}, batch.n_top);
        if (wanted) {
            logits.value += n_wide;
            logits.token += batch.n_top;
        }
        row += take;
    }
}

void engine_check(const struct engine *engine)
{
    bool any_free = false;
    for (int32_t i = 0; i < engine->n_seq; i++) {
        const struct seq *seq = &engine->seqs[i];
        const struct work *work = seq->work;
        if ((seq->state == SEQ_FREE) != (!work) || seq->n_cached < 0 ||
            seq->n_cached > engine->n_ctx)
            die("sequence %d: state %d, %d cached", (int)i, (int)seq->state, (int)seq->n_cached);
        any_free |= seq->state == SEQ_FREE;
        if (seq->state == SEQ_PREFILL &&
            (seq->n_cached >= work->n_prompt ||
             memcmp(seq->token, work->prompt, (size_t)seq->n_cached * sizeof(*seq->token)) != 0))
            die("sequence %d: its cache is not its prompt", (int)i);
        if (seq->state == SEQ_DECODE && (seq->n_cached != work->n_prompt + work->n_generated - 1 ||
                                         seq->n_cached >= engine->n_ctx))
            die("sequence %d: %d cached, %d + %d tokens", (int)i, (int)seq->n_cached,
                (int)work->n_prompt, (int)work->n_generated);
    }
    if (engine->waiting && any_free)
        die("a job waits although a sequence is free");
}
