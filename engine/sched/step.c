// step.c - one forward pass: whose rows go into it, and what is done with its logits.
//
// Every sequence that is generating contributes one row, and rows of guessed tokens behind it where
// that pays (guess.c); what room is left goes to prompts, oldest first, in chunks; but up to half
// of it to the one that has least left to be read, so that a short question does not wait for a
// long text. A chunk is sized by time, not only by BATCH_TOKENS: while others generate, a pass must
// not take so long that their streams stall, and even alone it must not be so long that cancelling
// or a heartbeat waits for it. The size is learnt as we go.
//
// So between two tokens of a stream there is one pass (and one of each other model that computes),
// whose prompt rows take STEP_SHARED_US, or STEP_SHARED_TIMES what the streams' own rows take where
// that is more, or are CHUNK_LEAST_SHARED, which a slow machine does at least; and beside it a
// slice of loading (LOAD_SLICE_MS) or of what is kept (keep.c: a page of rows) where there is one.
// While nothing was measured the rows are CHUNK_FIRST_SHARED.
#include "inside.h"

#include <string.h>

static int32_t count_state(const struct loaded *loaded, enum seq_state state)
{
    int32_t n = 0;
    for (int32_t i = 0; i < loaded->n_seq; i++)
        n += loaded->seqs[i].state == state;
    return n;
}

int32_t loaded_running(const struct loaded *loaded)
{
    return loaded->n_seq - count_state(loaded, SEQ_FREE);
}

bool loaded_beside_streams(const struct loaded *loaded)
{
    const struct engine *engine = loaded->engine;
    bool any = false;
    for (int32_t i = 0; i < engine->n_loaded && !any; i++)
        any = engine->loaded[i] != loaded && engine->loaded[i]->state == SCHED_READY &&
              count_state(engine->loaded[i], SEQ_DECODE) > 0;
    return any;
}

// How long a pass with prompt rows should take.
static double target_us(const struct loaded *loaded, bool shared)
{
    double most = STEP_SHARED_TIMES * loaded->decode_us;
    if (!shared)
        return STEP_ALONE_US;
    return most > STEP_SHARED_US ? most : STEP_SHARED_US;
}

static int32_t least_rows(bool shared)
{
    return shared ? CHUNK_LEAST_SHARED : CHUNK_LEAST;
}

// Prompt rows that may go into this pass: beside others never more than passes that had only such
// rows say that fit the time.
static int32_t chunk_rows(const struct loaded *loaded, int32_t n_decode)
{
    // the block computes a row more of a text that it begins
    const bool shared = n_decode > 0 || loaded_beside_streams(loaded);
    int32_t room = BATCH_TOKENS - n_decode - (loaded->ahead.model ? loaded_running(loaded) : 0),
            rows = (int32_t)loaded->chunk[shared];
    if (shared && rows * loaded->prompt_us > target_us(loaded, true))
        rows = (int32_t)(target_us(loaded, true) / loaded->prompt_us);
    if (rows < least_rows(shared))
        rows = least_rows(shared);
    return rows < room ? rows : room;
}

// Moves the chunk towards the size that takes as long as it should: at most halved or doubled by
// one pass, so that one that was held up by something else does not count for much. A pass that had
// fewer rows than it could says only when even they were too many.
static void chunk_learn(struct loaded *loaded, int32_t n_prompt, int32_t n_decode, uint64_t took_us)
{
    const bool shared = n_decode > 0 || loaded_beside_streams(loaded);
    if (n_prompt == 0) {
        double us = (double)took_us;
        loaded->decode_us = loaded->decode_us > 0 ? 0.9 * loaded->decode_us + 0.1 * us : us;
        return;
    }
    if (!shared && n_prompt >= CHUNK_LEAST) {
        const double us = (double)took_us / n_prompt;
        loaded->prompt_us = loaded->prompt_us > 0 ? 0.8 * loaded->prompt_us + 0.2 * us : us;
    }
    double change = target_us(loaded, shared) / (double)(took_us ? took_us : 1);
    double from = loaded->chunk[shared];
    if (n_prompt < chunk_rows(loaded, n_decode)) {
        if (change > 1)
            return;
        from = n_prompt;
    }
    change = change < 0.5 ? 0.5 : change > 2 ? 2 : change;
    double rows = from * change;
    loaded->chunk[shared] = rows < least_rows(shared) ? least_rows(shared)
                            : rows > BATCH_TOKENS     ? BATCH_TOKENS
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

// Of the sequences in that state that have no rows in this pass yet the one whose work came first.
static struct seq *oldest(const struct loaded *loaded, enum seq_state state)
{
    struct seq *oldest = NULL;
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        struct seq *seq = &loaded->seqs[i];
        if (seq->state == state && !loaded->n_rows[i] &&
            (!oldest || seq->work->arrived_us < oldest->work->arrived_us))
            oldest = seq;
    }
    return oldest;
}

static int32_t rows_left(const struct seq *seq)
{
    return seq->work->n_prompt - seq->n_cached;
}

// The prompt that has least left to be read, of several the one that came first; NULL: there is
// none.
static struct seq *shortest(const struct loaded *loaded)
{
    struct seq *shortest = NULL;
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        struct seq *seq = &loaded->seqs[i];
        if (seq->state != SEQ_PREFILL)
            continue;
        const int32_t more = shortest ? rows_left(seq) - rows_left(shortest) : -1;
        if (more < 0 || (more == 0 && seq->work->arrived_us < shortest->work->arrived_us))
            shortest = seq;
    }
    return shortest;
}

// Of those that run and have no rows yet the one whose work came last.
static struct seq *youngest(const struct loaded *loaded)
{
    struct seq *youngest = NULL;
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        struct seq *seq = &loaded->seqs[i];
        if (seq->state != SEQ_FREE && !loaded->n_rows[i] &&
            (!youngest || seq->work->arrived_us > youngest->work->arrived_us))
            youngest = seq;
    }
    return youngest;
}

// Room for n more positions, at the cost of whoever came later. False: the sequence has no work any
// more: it waits, or, when nobody else is in the way, has failed.
static bool make_room(struct loaded *loaded, struct seq *seq, int32_t n)
{
    while (!prefix_reserve(loaded, seq, n)) {
        struct seq *last = youngest(loaded);
        if (last == seq && loaded_running(loaded) == 1) {
            struct err err = {0};
            (void)err_set(&err, NO_ROOM, "the model's memory has no room for %d more tokens",
                          (int)n);
            work_fail(loaded, seq, &err);
            return false;
        }
        work_suspend(loaded, last);
        if (last == seq)
            return false;
    }
    return true;
}

// Rows of the prompts, oldest first, until the pass is as long as it should be. What reads a prompt
// sends nobody back to wait, unless there would be no pass at all.
static int32_t fill_prompts(struct loaded *loaded, int32_t n)
{
    int32_t budget = chunk_rows(loaded, n);
    // rows of logits there are beyond one each; nothing is guessed beside prompts
    int32_t spare = (loaded->n_together > GUESS_ROWS ? loaded->n_together : GUESS_ROWS) -
                    loaded_running(loaded);
    struct seq *seq, *first = shortest(loaded);
    for (; budget > 0 && (seq = oldest(loaded, SEQ_PREFILL)) != NULL; first = NULL) {
        const int32_t most = first && first != seq ? (budget + 1) / 2 : budget;
        seq = first ? first : seq;
        const struct work *work = seq->work;
        int32_t left = prefix_next_mark(loaded, work, seq->n_cached) - seq->n_cached,
                take = left < most ? left : most;
        if (work->echoes) // the logits of each row are wanted
            take = take < 1 + spare ? take : 1 + spare;
        if (n > 0 && !prefix_reserve(loaded, seq, take))
            break;
        if (n == 0 && !make_room(loaded, seq, take))
            continue;
        for (int32_t k = 0; k < take; k++) {
            int32_t pos = seq->n_cached + k;
            add_row(loaded->engine, &n, seq, work->prompt[pos], pos,
                    work->echoes || pos == work->n_prompt - 1);
        }
        spare -= work->echoes ? take - 1 : 0;
        loaded->n_rows[seq->index] = take;
        budget -= take;
    }
    return n;
}

// The row of the token picked last, for which there is room, and those of tokens guessed behind it.
// Room for these is taken from texts that nobody works on, never from who runs.
static int32_t fill_decode(struct loaded *loaded, int32_t n, struct seq *seq, int32_t *n_states)
{
    static const uint32_t by[] = {GUESSED_BY_LOOKUP, GUESSED_BY_BLOCK, GUESSED_BY_DRAFT};
    const struct guess *guess = &seq->work->guess;
    int32_t n_guessed = loaded->guessing.on ? guess->n_rows : 0;
    if (n_guessed > 0 && (!prefix_reserve(loaded, seq, 1 + n_guessed) ||
                          !prefix_states(loaded, *n_states + n_guessed)))
        n_guessed = 0;
    *n_states += n_guessed;
    if (n_guessed > 0)
        seq->work->usage.drafted_by |= by[guess->kind != KIND_AHEAD ? 0
                                          : loaded->ahead.second    ? 2
                                                                    : 1];
    add_row(loaded->engine, &n, seq, seq->work->picked, seq->n_cached, true);
    for (int32_t k = 0; k < n_guessed; k++)
        add_row(loaded->engine, &n, seq, guess->token[k], seq->n_cached + 1 + k, true);
    loaded->n_rows[seq->index] = 1 + n_guessed;
    seq->work->usage.n_drafted += n_guessed;
    return n;
}

// Fills the batch and n_rows. Returns the number of rows. Those that generate come first, and the
// oldest of them has room first, so that whoever is sent back to wait has no row yet; what is
// guessed has what all of them leave.
static int32_t batch_fill(struct loaded *loaded)
{
    int32_t n = 0, n_states = 0;
    struct seq *seq;
    memset(loaded->n_rows, 0, (size_t)loaded->n_seq * sizeof(*loaded->n_rows));
    guess_plan(loaded);
    while ((seq = oldest(loaded, SEQ_DECODE)) != NULL)
        loaded->n_rows[seq->index] = make_room(loaded, seq, 1) ? 1 : 0;
    for (int32_t i = 0; i < loaded->n_seq; i++)
        if (loaded->n_rows[i] > 0)
            n = fill_decode(loaded, n, &loaded->seqs[i], &n_states);
    return fill_prompts(loaded, n);
}

// A failed pass: the model's memory holds nothing any more, so nobody may build on it. Works that
// were in the pass fail; a prompt that was not is read again from its beginning.
static void batch_failed(struct loaded *loaded, struct err *err)
{
    if (err->status == DEVICE_ERROR)
        engine_lost(loaded->engine, err);
    if (err->status == IO_ERROR) {
        loaded_lost(loaded, err);
        return;
    }
    log_error("a forward pass failed: %s", err->text);
    // Whatever the model says against a batch, the client did not make it.
    if (err->status != NO_ROOM)
        err->status = BROKEN;
    (void)keep_give_up(loaded);
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        struct seq *seq = &loaded->seqs[i];
        seq->n_cached = 0;
        if (loaded->n_rows[i])
            work_fail(loaded, seq, err);
        else if (seq->work)
            seq->work->usage.n_prompt_cached = 0;
    }
}

// How many of the largest logits every sequence with a wanted row of this pass is content with; 0:
// one wants them all. Two sizes, since a device may keep what it recorded for each.
static int32_t batch_top(const struct loaded *loaded, int32_t n)
{
    const struct engine *engine = loaded->engine;
    int32_t most = 0, n_wanted = 0;
    bool any = false; // what a grammar does not refuse, or a prompt has, may be any of them
    for (int32_t row = 0; row < n; row++) {
        if (!engine->wanted[row])
            continue;
        int32_t wants = sampler_wants(loaded->seqs[engine->seq[row]].work->sampler);
        if (wants == 0)
            return 0;
        most = wants > most ? wants : most;
        if (loaded->seqs[engine->seq[row]].work->job->ask.n_chances >= 0)
            most = TOP_K_MOST;
        n_wanted++;
        any = any || loaded->seqs[engine->seq[row]].work->matcher ||
              loaded->seqs[engine->seq[row]].work->echoes;
    }
    if (any && !model_keeps_logits(loaded->model, n_wanted))
        return 0;
    if (most <= 1)
        return most;
    return loaded->n_vocab < TOP_K_MOST ? loaded->n_vocab : TOP_K_MOST;
}

void loaded_logits(struct loaded *loaded, int32_t wanted, float *out)
{
    struct err err = {0};
    if (model_read_logits(loaded->model, wanted, out, &err) != OK)
        engine_lost(loaded->engine, &err);
}

// wanted: which of the pass's wanted rows it is.
static enum status pick(struct loaded *loaded, struct seq *seq, struct logits logits, int32_t n_top,
                        int32_t wanted, int32_t *id, struct err *err)
{
    struct sampler *sampler = seq->work->sampler;
    chance_begin(loaded, seq->work, logits, n_top);
    if (n_top == 0)
        return sampler_pick(sampler, logits.value, id, err);
    enum status status = sampler_pick_top(sampler, logits.token, logits.value, n_top, id, err);
    if (status != AGAIN)
        return status;
    loaded_logits(loaded, wanted, loaded->row);
    return sampler_pick(sampler, loaded->row, id, err);
}

struct wanted { // the next wanted row of a pass, in row order
    struct logits logits;
    int32_t n_top, at; // at: so many were before it
};

static void wanted_next(const struct loaded *loaded, struct wanted *wanted, int32_t n)
{
    const int32_t n_wide = wanted->n_top > 0 ? wanted->n_top : loaded->n_vocab;
    wanted->logits.value += (ptrdiff_t)n * n_wide;
    wanted->logits.token += (ptrdiff_t)n * wanted->n_top;
    wanted->logits.total += n;
    wanted->at += n;
}

// The token that follows the row which the sequence has come to.
static void take_token(struct loaded *loaded, struct seq *seq, const struct wanted *wanted)
{
    struct err err = {0};
    int32_t id;
    if (seq->work->job->ask.only_reads) {
        loaded_read(loaded, seq);
    } else if (pick(loaded, seq, wanted->logits, wanted->n_top, wanted->at, &id, &err) == OK) {
        id = work_counts(loaded, seq->work, id);
        chance_tell(loaded, seq->work, wanted->at, id);
        loaded_token(loaded, seq, id);
    } else if (err.status == BAD_INPUT) { // what the answer must be cannot be followed
        (void)err_prefix(&err, "%s: after %d tokens of the answer", ask_obeys(&seq->work->job->ask),
                         (int)seq->work->n_generated);
        log_info("job %llu: %s", (unsigned long long)seq->work->id, err.text);
        work_fail(loaded, seq, &err);
    } else {
        (void)err_prefix(&err, "model %s, after %d tokens", model_info(loaded->model)->id,
                         (int)seq->n_cached);
        log_error("job %llu: %s", (unsigned long long)seq->work->id, err.text);
        prefix_forget(loaded, seq);
        work_fail(loaded, seq, &err);
    }
}

// Tells of a prompt that is echoed the tokens behind the rows of this pass, the last one's but for
// the prompt's end.
static void tell_prompt(struct loaded *loaded, const struct seq *seq, struct wanted *wanted)
{
    struct work *work = seq->work;
    for (int32_t k = 0; k < loaded->n_rows[seq->index]; k++) {
        const int32_t next = seq->n_cached + k + 1; // the token behind it
        if (next == work->n_prompt) {
            work_echo_end(loaded, work);
            return;
        }
        chance_begin(loaded, work, wanted->logits, wanted->n_top);
        if (next >= work->n_chanced) {
            chance_of_prompt(loaded, work, wanted->at, work->prompt[next]);
            work->n_chanced = next + 1;
        }
        wanted_next(loaded, wanted, 1);
    }
}

// The rows of a prompt, whose end alone is wanted, or all of one that is echoed.
static void advance_prompt(struct loaded *loaded, struct seq *seq, struct wanted *wanted)
{
    if (seq->work->echoes)
        tell_prompt(loaded, seq, wanted);
    seq->n_cached += loaded->n_rows[seq->index];
    turn_count(seq->work, seq->n_cached, false);
    prefix_snapshot(loaded, seq);
    if (seq->n_cached == seq->work->n_prompt) {
        take_token(loaded, seq, wanted);
        wanted_next(loaded, wanted, 1);
        return;
    }
    struct event *event = event_open(EVENT_PROGRESS, seq->work);
    event->n_done = seq->n_cached;
    engine_tell(loaded->engine, event);
}

// The row of a token that counts, then those of guessed ones, [n_rows]: each counts when it is what
// was taken before it. The others are cut off.
static void advance_answer(struct loaded *loaded, struct seq *seq, const int32_t *token,
                           struct wanted *wanted)
{
    const int32_t n_rows = loaded->n_rows[seq->index];
    int32_t n = 0;
    for (bool goes_on = true; goes_on;) {
        seq->n_cached++;
        turn_count(seq->work, seq->n_cached, true);
        take_token(loaded, seq, wanted);
        wanted_next(loaded, wanted, 1);
        n++;
        goes_on = n < n_rows && seq->state == SEQ_DECODE && seq->work->picked == token[n];
        if (goes_on)
            seq->work->usage.n_draft_kept++;
    }
    wanted_next(loaded, wanted, n_rows - n);
    if (n_rows > 1 && model_cut(loaded->model, seq->index, seq->n_cached) != seq->n_cached)
        die("sequence %d cannot take back %d rows", (int)seq->index, (int)(n_rows - n));
}

static void batch_done(struct loaded *loaded, int32_t n, int32_t n_top)
{
    struct engine *engine = loaded->engine;
    struct wanted wanted = {{loaded->logits, loaded->top, loaded->total}, n_top, 0};
    for (int32_t row = 0; row < n;) {
        struct seq *seq = &loaded->seqs[engine->seq[row]];
        const int32_t n_rows = loaded->n_rows[seq->index];
        if (seq->state == SEQ_PREFILL)
            advance_prompt(loaded, seq, &wanted);
        else
            advance_answer(loaded, seq, engine->token + row, &wanted);
        row += n_rows;
    }
}

static bool tells_chances(const struct loaded *loaded)
{
    for (int32_t i = 0; i < loaded->n_seq; i++)
        if (loaded->seqs[i].work && loaded->seqs[i].work->job->ask.n_chances >= 0)
            return true;
    return false;
}

void loaded_step(struct loaded *loaded)
{
    struct engine *engine = loaded->engine;
    struct err err = {0};
    int32_t n = batch_fill(loaded), n_decode = 0, n_prompt = 0;
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        n_decode += loaded->seqs[i].state == SEQ_DECODE && loaded->n_rows[i] > 0;
        n_prompt += loaded->seqs[i].state == SEQ_PREFILL ? loaded->n_rows[i] : 0;
    }
    if (n == 0) // those that had room have failed
        return;
    struct batch batch = {.n_tokens = n,
                          .token = engine->token,
                          .pos = engine->pos,
                          .seq = engine->seq,
                          .wanted = engine->wanted,
                          .n_top = batch_top(loaded, n),
                          .keeps_rows = n_prompt == 0};
    const struct logits logits = {loaded->logits, loaded->top,
                                  tells_chances(loaded) ? loaded->total : NULL};
    engine_step_begins(engine, true);
    uint64_t from_us = clock_us();
    enum status status = model_forward(loaded->model, &batch, logits, &err);
    const uint64_t took_us = clock_us() - from_us;
    chunk_learn(loaded, n_prompt, n_decode, took_us);
    if (n_prompt == 0)
        guess_learn(loaded, n, took_us);
    engine_step_begins(engine, false);
    loaded->used_at = ++engine->n_steps;
    engine->gauges.n_passes++;
    engine->gauges.n_rows += (uint64_t)n;
    engine->gauges.answers_us += n_decode > 0 ? took_us : 0;
    for (int32_t i = 0; i < loaded->n_seq; i++)
        engine->gauges.n_pass_works += loaded->n_rows[i] > 0;
    if (status != OK) {
        batch_failed(loaded, &err);
        return;
    }
    batch_done(loaded, n, batch.n_top);
    ahead_follow(loaded, n);
}

// ---- invariants -----------------------------------------------------------------------------

static void check_seq(const struct loaded *loaded, const struct seq *seq)
{
    const struct work *work = seq->work;
    if ((seq->state == SEQ_FREE) != (!work) || seq->n_cached < 0 || seq->n_cached > loaded->n_ctx)
        die("sequence %d: state %d, %d cached", (int)seq->index, (int)seq->state,
            (int)seq->n_cached);
    if (!loaded->embeds && seq->n_cached != model_held(loaded->model, seq->index))
        die("sequence %d: %d cached, but the model's memory holds %d of it", (int)seq->index,
            (int)seq->n_cached, (int)model_held(loaded->model, seq->index));
    if (seq->state == SEQ_PREFILL &&
        (seq->n_cached >= work->n_prompt ||
         memcmp(seq->token, work->prompt, (size_t)seq->n_cached * sizeof(*seq->token)) != 0))
        die("sequence %d: its cache is not its prompt", (int)seq->index);
    if (seq->state == SEQ_DECODE &&
        (seq->n_cached != work->n_prompt + work->n_generated - work->n_read - 1 ||
         seq->n_cached >= loaded->n_ctx))
        die("sequence %d: %d cached, %d + %d tokens", (int)seq->index, (int)seq->n_cached,
            (int)work->n_prompt, (int)work->n_generated);
}

static void check_line(const struct line *line, const char *name)
{
    int32_t n = 0;
    const struct work *const *at = (const struct work *const *)&line->first;
    for (; *at; at = (const struct work *const *)&(*at)->next)
        n++;
    if (n != line->n || (const void *)at != (const void *)line->end)
        die("%s: %d works are counted, %d are there", name, (int)line->n, (int)n);
}

static void check_loaded(const struct loaded *loaded)
{
    int32_t n_free = count_state(loaded, SEQ_FREE);
    for (int32_t i = 0; i < loaded->n_seq; i++)
        check_seq(loaded, &loaded->seqs[i]);
    check_line(&loaded->arriving, "arriving");
    check_line(&loaded->fetching, "fetching");
    check_line(&loaded->waiting, "waiting");
    if (loaded->waiting.first && n_free == loaded->n_seq && !loaded->embeds)
        die("a job waits although none runs");
    if (loaded->n_seq - n_free > loaded->n_together)
        die("%d works run; %d may", (int)(loaded->n_seq - n_free), (int)loaded->n_together);
    if (loaded->n_users !=
        loaded->arriving.n + loaded->fetching.n + loaded->waiting.n + loaded->n_seq - n_free)
        die("%d users: %d arrive, %d fetch, %d wait, %d of %d sequences are free",
            (int)loaded->n_users, (int)loaded->arriving.n, (int)loaded->fetching.n,
            (int)loaded->waiting.n, (int)n_free, (int)loaded->n_seq);
    if (loaded->state == SCHED_READY && loaded->engine->n_steps % MEMORY_CHECK_STEPS == 0)
        model_check(loaded->model);
    if (loaded->state != SCHED_READY && (loaded->waiting.first || n_free < loaded->n_seq) &&
        !loaded->engine->stopping)
        die("a model that is not ready has works");
}

void engine_check(const struct engine *engine)
{
    for (int32_t i = 0; i < engine->n_loaded; i++)
        check_loaded(engine->loaded[i]);
    if (engine->stopping)
        for (int32_t i = 0; i < engine->n_loaded; i++)
            if (engine->loaded[i]->arriving.first || engine->loaded[i]->waiting.first)
                die("jobs wait although the engine is stopping");
}
