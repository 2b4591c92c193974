// ahead.c - guesses that are computed: by the block of a model that predicts further tokens (MTP),
// or by a second, smaller model with the same vocabulary (the setting `draft`).
//
// Either reads what its model reads, behind it: after a pass the rows that count go through it too,
// and where text is being generated it says the next token, then the one behind that, as many as
// are worth their time (guess_depth). Guesses are rows of the next pass like those that were looked
// up, which go first where they are likelier. While no number of them is worth it, nothing is
// computed ahead, for SLEEP_PASSES passes each time.
//
// What a reader would get wrong: the second model's memory of a sequence may hold tokens that were
// guessed and did not come. `sure` says up to where it is the text, `fed` what stands behind; both
// are compared with the text before anything is added. The block's rows lie in the model's own
// memory, and those of a text that was computed while it slept are missing: such a text is guessed
// by lookup alone.
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLEEP_PASSES = 1024,
    POOR_MOST = 16, // times one after the other that no number of guesses was worth its time
    VOCAB_SLACK = 128,
    SECOND_BYTES = 2200, // of its path
};

// ---- opening ------------------------------------------------------------------------------------

// The file of the second model: that of a line with this model's name, else of one without any.
// False: there is none.
static bool second_path(const struct loaded *loaded, char out[SECOND_BYTES])
{
    const struct settings *settings = &loaded->engine->sched->settings;
    bool own = false;
    out[0] = 0;
    for (const char *at = settings->draft; settings->speculation && *at && !own;) {
        const size_t n = strcspn(at, "\n"), n_name = strcspn(at, "\t\n");
        const bool named = n_name < n;
        const char *path = named ? at + n_name + 1 : at;
        own = named && strlen(loaded->name) == n_name && memcmp(at, loaded->name, n_name) == 0;
        if (own || (!named && !out[0]))
            snprintf(out, SECOND_BYTES, "%.*s", (int)(at + n - path), path);
        at += n + (at[n] == '\n');
    }
    return out[0] && strcmp(out, loaded->path) != 0;
}

// The second model keeps as many texts as long.
static struct model_options second_options(const struct loaded *loaded, int32_t n_ctx)
{
    struct model_options options = sched_model_options(&loaded->engine->sched->settings);
    options.n_ctx = n_ctx;
    options.draft = false;
    return options;
}

uint64_t ahead_bytes(const struct loaded *loaded, const struct model_options *options)
{
    char path[SECOND_BYTES];
    struct model_info *info = mem_alloc(sizeof(*info));
    struct compute *compute = loaded->engine->compute;
    struct err err = {0};
    uint64_t n_bytes = 0;
    if (second_path(loaded, path) && model_plan(info, compute, loaded->path, options, &err) == OK) {
        const struct model_options second = second_options(loaded, info->plan.n_ctx);
        if (model_plan(info, compute, path, &second, &err) == OK)
            n_bytes = model_plan_bytes(&info->plan);
    }
    free(info);
    return n_bytes;
}

// That ids mean the same in both: vocabularies may be filled up to different lengths.
static enum status check_vocabulary(const struct loaded *loaded, const struct model *second,
                                    struct err *err)
{
    const struct tokenizer *ours = model_tokenizer(loaded->model),
                           *theirs = model_tokenizer(second);
    const int32_t a = tokenizer_n_vocab(ours), b = tokenizer_n_vocab(theirs), n = a < b ? a : b;
    if (a - n > VOCAB_SLACK || b - n > VOCAB_SLACK)
        return err_set(err, UNSUPPORTED, "its vocabulary has %d tokens, that of %s has %d", (int)b,
                       loaded->name, (int)a);
    for (int32_t id = 0; id < n; id++)
        if (!bytes_equal(tokenizer_mark(ours, id), tokenizer_mark(theirs, id)))
            return err_set(err, UNSUPPORTED, "its token %d is another than that of %s", (int)id,
                           loaded->name);
    return OK;
}

static enum status check_second(const struct loaded *loaded, const struct model *second,
                                struct err *err)
{
    const struct model_info *info = model_info(second);
    if (info->n_vector > 0)
        return err_set(err, UNSUPPORTED, "it embeds, and writes no text");
    if (info->needs_snapshots)
        return err_set(err, UNSUPPORTED,
                       "with recurrent layers, or windows shorter than the context, it cannot take "
                       "back what it guessed");
    if (info->n_ctx < model_info(loaded->model)->n_ctx)
        return err_set(err, TOO_LARGE, "its context has %d tokens, that of %s has %d",
                       (int)info->n_ctx, loaded->name, (int)model_info(loaded->model)->n_ctx);
    return check_vocabulary(loaded, second, err);
}

static void second_refuse(struct loaded *loaded, const struct err *err)
{
    char path[SECOND_BYTES];
    (void)second_path(loaded, path);
    log_warn("model %s: without the draft model %s: %s", loaded->name, path, err->text);
    model_close(loaded->ahead.second);
    loaded->ahead.second = NULL;
}

enum status ahead_load_some(struct loaded *loaded, uint32_t budget_ms)
{
    struct ahead *a = &loaded->ahead;
    struct err err = {0};
    const bool begins = !a->tried;
    char path[SECOND_BYTES];
    enum status status = OK;
    a->tried = true;
    if (begins && second_path(loaded, path) && model_info(loaded->model)->n_vector == 0) {
        const struct model_options options =
            second_options(loaded, model_info(loaded->model)->n_ctx);
        status = model_begin(&a->second, loaded->engine->compute, path, &options, &err);
        if (status != OK)
            a->second = NULL;
        else
            status = check_second(loaded, a->second, &err);
        if (status == OK) {
            loaded->n_bytes += model_plan_bytes(&model_info(a->second)->plan);
            return AGAIN;
        }
    } else if (a->second) {
        status = model_load_some(a->second, budget_ms, &err);
    }
    if (status != OK && status != AGAIN) {
        second_refuse(loaded, &err);
        return OK;
    }
    return status;
}

void ahead_open(struct loaded *loaded)
{
    struct ahead *a = &loaded->ahead;
    const bool on = loaded->guessing.on;
    a->model = !on ? NULL : a->second ? a->second : NULL;
    if (on && !a->second && model_info(loaded->model)->drafts)
        a->model = loaded->model;
    if (!a->model)
        return;
    a->seqs = mem_array((size_t)loaded->n_seq, sizeof(*a->seqs));
    a->token = mem_array(4 * (size_t)BATCH_TOKENS, sizeof(*a->token));
    a->pos = a->token + BATCH_TOKENS;
    a->seq = a->pos + BATCH_TOKENS;
    a->from = a->seq + BATCH_TOKENS;
    a->wanted = mem_array(BATCH_TOKENS, 1);
    log_info("model %s: guesses come from %s too", loaded->name,
             a->second ? model_info(a->second)->id : "its block for further tokens");
}

void ahead_close(struct loaded *loaded)
{
    struct ahead *a = &loaded->ahead;
    free(a->seqs);
    free(a->token);
    free(a->wanted);
    model_close(a->second);
    *a = (struct ahead){.model = NULL};
}

// ---- in step with the model's memory ------------------------------------------------------------

void ahead_cut(struct loaded *loaded, const struct seq *seq, int32_t n)
{
    struct ahead *a = &loaded->ahead;
    if (!a->model)
        return;
    struct ahead_seq *its = &a->seqs[seq->index];
    if (!a->second) {
        if (model_held(loaded->model, seq->index) == n) // what was drafted behind it
            (void)model_cut(loaded->model, seq->index, n);
        return;
    }
    its->sure = its->sure < n ? its->sure : n;
    (void)model_cut(a->second, seq->index, its->sure);
}

void ahead_fork(struct loaded *loaded, const struct seq *from, const struct seq *to, int32_t n)
{
    struct ahead *a = &loaded->ahead;
    if (!a->second)
        return;
    const int32_t sure = a->seqs[from->index].sure;
    a->seqs[to->index].sure = model_fork(a->second, from->index, to->index, sure < n ? sure : n);
}

// Cuts the second model's memory back to where it is the text; returns how much that is.
static int32_t settle(struct loaded *loaded, const struct seq *seq)
{
    struct ahead *a = &loaded->ahead;
    struct ahead_seq *its = &a->seqs[seq->index];
    const int32_t held = model_held(a->second, seq->index);
    int32_t n = its->sure < held ? its->sure : held;
    for (int32_t k = 0; n < held && n < seq->n_cached && its->fed[k] == seq->token[n]; k++)
        n++;
    n = n < seq->n_cached ? n : seq->n_cached;
    its->sure = n < held ? model_cut(a->second, seq->index, n) : n;
    return its->sure;
}

// Room in the second model's memory, if need be of texts that nobody works on.
static bool second_reserve(struct loaded *loaded, const struct seq *seq, int32_t n)
{
    struct ahead *a = &loaded->ahead;
    while (model_reserve(a->second, seq->index, n) != OK) {
        const struct seq *oldest = NULL;
        for (int32_t i = 0; i < loaded->n_seq; i++) {
            const struct seq *other = &loaded->seqs[i];
            if (other->state == SEQ_FREE && model_held(a->second, i) > 0 &&
                (!oldest || other->used_at < oldest->used_at))
                oldest = other;
        }
        if (!oldest)
            return false;
        ahead_cut(loaded, oldest, 0);
    }
    return true;
}

// ---- rows ---------------------------------------------------------------------------------------

// The token behind those that are cached, where it is known.
static bool next_token(const struct seq *seq, int32_t *out)
{
    if (seq->state == SEQ_DECODE)
        *out = seq->work->picked;
    else if (seq->state == SEQ_PREFILL)
        *out = seq->work->prompt[seq->n_cached];
    return seq->state != SEQ_FREE;
}

static void add_row(struct ahead *a, const struct seq *seq, int32_t token, int32_t pos,
                    int32_t from, bool wanted)
{
    a->token[a->n] = token;
    a->pos[a->n] = pos;
    a->seq[a->n] = seq->index;
    a->from[a->n] = from;
    a->wanted[a->n] = wanted;
    if (wanted)
        a->asks[a->n_asks++] = seq->index;
    a->n++;
}

// Room for the rows of those that go on: before any row is added, since it may be taken from texts
// that have rows.
static void reserve_all(struct loaded *loaded, int32_t depth)
{
    struct ahead *a = &loaded->ahead;
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        const struct seq *seq = &loaded->seqs[i];
        struct ahead_seq *its = &a->seqs[i];
        const int32_t n = its->wants ? depth : 1;
        its->room = false;
        if (seq->state == SEQ_FREE || seq->n_cached + n > loaded->n_ctx)
            continue;
        if (a->second)
            its->room = second_reserve(loaded, seq, seq->n_cached + n - settle(loaded, seq));
        else
            its->room = loaded->n_rows[i] > 0 && prefix_reserve(loaded, seq, n);
    }
}

// The block's, of a sequence whose rows in the pass begin at `row`.
static void block_rows(struct loaded *loaded, const struct seq *seq, int32_t row, int32_t depth)
{
    struct ahead *a = &loaded->ahead;
    const struct ahead_seq *its = &a->seqs[seq->index];
    const int32_t first = loaded->engine->pos[row], n = seq->n_cached,
                  drafted = model_drafted(loaded->model, seq->index);
    const bool goes_on = its->room;
    int32_t next = 0;
    if (n <= first || drafted < first) // forgotten; or computed while the block slept
        return;
    const int32_t begin = drafted > first ? first + 1 : first,
                  end = goes_on && next_token(seq, &next) ? n + 1 : n;
    if (a->n + end - begin > BATCH_TOKENS)
        return;
    for (int32_t pos = begin; pos < end; pos++)
        add_row(a, seq, pos < n ? seq->token[pos] : next, pos,
                pos == first ? -1 : row + pos - 1 - first, pos == n && its->wants && depth > 0);
}

static void second_rows(struct loaded *loaded, const struct seq *seq, int32_t depth)
{
    struct ahead *a = &loaded->ahead;
    struct ahead_seq *its = &a->seqs[seq->index];
    int32_t next;
    if (!its->room || !next_token(seq, &next))
        return;
    const int32_t left = seq->n_cached + 1 - its->sure, most = BATCH_TOKENS - a->n,
                  n = left < most ? left : most;
    for (int32_t pos = its->sure; pos < its->sure + n; pos++)
        add_row(a, seq, pos < seq->n_cached ? seq->token[pos] : next, pos, -1,
                pos == seq->n_cached && its->wants && depth > 0);
    its->sure += n;
}

static void fill(struct loaded *loaded, int32_t n_pass, int32_t depth)
{
    struct ahead *a = &loaded->ahead;
    a->n = a->n_asks = 0;
    reserve_all(loaded, depth > 0 ? depth : 1);
    if (a->second) {
        for (int32_t i = 0; i < loaded->n_seq; i++)
            second_rows(loaded, &loaded->seqs[i], depth);
        return;
    }
    for (int32_t row = 0; row < n_pass;) {
        const struct seq *seq = &loaded->seqs[loaded->engine->seq[row]];
        block_rows(loaded, seq, row, depth);
        row += loaded->n_rows[seq->index];
    }
}

// ---- passes -------------------------------------------------------------------------------------

// The memory of the model itself is gone: whoever has a work reads it again.
static void start_over(struct loaded *loaded)
{
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        struct seq *seq = &loaded->seqs[i];
        if (seq->state == SEQ_DECODE)
            work_suspend(loaded, seq);
        seq->n_cached = 0;
    }
}

static enum status run(struct loaded *loaded)
{
    struct ahead *a = &loaded->ahead;
    struct err err = {0};
    const struct batch batch = {.n_tokens = a->n,
                                .token = a->token,
                                .pos = a->pos,
                                .seq = a->seq,
                                .wanted = a->wanted,
                                .n_top = 1};
    const struct logits logits = {a->value, a->top, NULL};
    engine_step_begins(loaded->engine, true);
    const enum status status =
        a->second ? model_forward(a->second, &batch, logits, &err)
                  : model_draft(loaded->model, &batch, a->from, NULL, logits, &err);
    engine_step_begins(loaded->engine, false);
    if (status == OK)
        return OK;
    if (status == DEVICE_ERROR)
        engine_lost(loaded->engine, &err);
    log_error("model %s: nothing is computed ahead any more: %s", loaded->name, err.text);
    if (!a->second)
        start_over(loaded);
    a->model = NULL;
    return status;
}

// What the pass said, [n_asks]: guess k of each that asked. The next batch: these tokens.
static void take_guesses(struct loaded *loaded, int32_t k, bool more)
{
    struct ahead *a = &loaded->ahead;
    const int32_t n = a->n_asks;
    int32_t row[GUESS_ROWS], asks[GUESS_ROWS], n_rows = 0;
    for (int32_t i = 0; i < a->n; i++)
        if (a->wanted[i])
            row[n_rows++] = i;
    memcpy(asks, a->asks, sizeof(asks));
    a->n = a->n_asks = 0;
    for (int32_t i = 0; i < n; i++) {
        const struct seq *seq = &loaded->seqs[asks[i]];
        struct guess *guess = &seq->work->guess;
        if (a->top[i] >= loaded->n_vocab) // only the second model's vocabulary has it
            continue;
        guess->ahead[k] = a->top[i];
        guess->n_ahead = k + 1;
        a->seqs[asks[i]].fed[k] = a->top[i];
        if (more)
            add_row(a, seq, a->top[i], seq->n_cached + 1 + k, row[i], true);
    }
}

// Who is to have guesses computed: returns how many.
static int32_t choose(struct loaded *loaded)
{
    struct ahead *a = &loaded->ahead;
    int32_t n = 0;
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        const struct seq *seq = &loaded->seqs[i];
        a->seqs[i].wants = seq->state == SEQ_DECODE && guess_wants(loaded, seq);
        if (seq->work)
            seq->work->guess.n_ahead = 0;
        n += a->seqs[i].wants;
    }
    return n;
}

void ahead_follow(struct loaded *loaded, int32_t n_pass)
{
    struct ahead *a = &loaded->ahead;
    if (!a->model || (loaded->guessing.n_passes < a->sleeps_until && !guess_boldly))
        return;
    const int32_t n_wants = choose(loaded);
    int32_t depth = n_wants > 0 ? guess_depth(loaded, n_wants) : 0;
    if (depth != 0)
        a->n_poor = depth < 0 ? a->n_poor + 1 : 0;
    if (a->n_poor == POOR_MOST) {
        a->sleeps_until = loaded->guessing.n_passes + SLEEP_PASSES;
        a->follow.n = a->step.n = a->n_poor = 0;
        return;
    }
    fill(loaded, n_pass, depth);
    const bool is_few = a->n <= GUESS_ROWS;
    for (int32_t k = 0; a->n > 0; k++) {
        const uint64_t from_us = clock_us();
        const bool asked = a->n_asks > 0;
        if (run(loaded) != OK)
            return;
        if (asked && (k > 0 || is_few))
            pace_add(k == 0 ? &a->follow : &a->step, clock_us() - from_us);
        take_guesses(loaded, k, k + 1 < depth);
    }
}
