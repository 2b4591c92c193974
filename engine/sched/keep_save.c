// keep_save.c - a text goes from a model's memory to a file, a piece at a time; and which text is
// next: that of which most is new, when nobody has used it for a while. A text that changes
// meanwhile is a fork of its own: what is written stays what it was.
#include "keep.h"

#include <string.h>

// Where a file of the sequence can be gone on from: its end, the last two ends of messages before,
// the first one; of a model that goes back anywhere its end.
static void choose_stands(const struct loaded *loaded, const struct seq *seq, struct saved *kept)
{
    int32_t at[MODEL_SNAPSHOTS_MOST], n_ends = 0;
    kept->stands[0] = kept->n;
    kept->n_stands = 1;
    if (!loaded->needs_snapshots)
        return;
    const int32_t n = model_snapshots(loaded->model, seq->index, at);
    for (int32_t i = 0; i < n; i++)
        if (at[i] < kept->n && tokenizer_is_end(loaded->tokenizer, seq->token[at[i] - 1]))
            at[n_ends++] = at[i];
    if (n_ends == 0 && n > 0 && at[n - 1] < kept->n) // of a text without messages its last
        at[n_ends++] = at[n - 1];
    for (int32_t i = n_ends - 1; i >= 0; i--)
        if (i >= n_ends - 2 || i == 0)
            kept->stands[kept->n_stands++] = at[i];
}

static void save_begin(struct loaded *loaded, const struct seq *seq)
{
    struct keep *keep = loaded->engine->keep;
    struct transfer *t = loaded->transfer;
    struct saved *kept = mem_alloc(sizeof(*kept));
    *kept = (struct saved){.owner = seq->owner,
                           .model = loaded->identity,
                           .number = ++keep->last_number,
                           .n = seq->n_cached,
                           .us_per_token = (float)loaded->prompt_us,
                           .used_s = clock_unix_s()};
    kept->token = mem_array((size_t)kept->n, sizeof(*kept->token));
    memcpy(kept->token, seq->token, (size_t)kept->n * sizeof(*kept->token));
    choose_stands(loaded, seq, kept);
    kept->n_bytes = keep_whole_bytes(loaded, kept);
    if (keep_read_us(keep, kept->n_bytes) >= (double)kept->n * loaded->prompt_us ||
        !saved_make_room(keep, kept->n_bytes) ||
        model_fork(loaded->model, seq->index, keep_spare(loaded), kept->n) != kept->n) {
        (void)model_cut(loaded->model, keep_spare(loaded), 0);
        saved_free(kept);
        return;
    }
    *t = (struct transfer){.kind = TRANSFER_SAVE,
                           .id = ++keep->last_transfer,
                           .kept = kept,
                           .seq = seq->index,
                           .n_pieces = model_pieces(kept->n) - 1 + kept->n_stands};
}

static void save_failed(struct loaded *loaded, const struct err *err)
{
    struct keep *keep = loaded->engine->keep;
    log_warn("what was computed of a text is not kept: %s", err->text);
    keep->pause_until_ms = clock_ms() + KEEP_PAUSE_MS;
    loaded->transfer->is_ending = false;
    (void)keep_give_up(loaded);
}

void keep_save_some(struct loaded *loaded)
{
    struct transfer *t = loaded->transfer;
    struct saved *kept = t->kept;
    struct err err = {0};
    const int32_t n_pages = model_pieces(kept->n) - 1, stand = t->n_sent - n_pages;
    struct errand *errand;
    if (t->n_sent == t->n_pieces) {
        errand = keep_errand(loaded, ERRAND_END, t->n_sent);
        errand->n = saved_head_bytes(kept->n, kept->n_stands);
        errand->bytes = mem_alloc(errand->n);
        saved_head_write(kept, errand->bytes);
        t->is_ending = true;
        keep_send(loaded->engine->keep, errand);
        return;
    }
    errand = keep_errand(loaded, ERRAND_WRITE, t->n_sent);
    errand->offset = keep_place(loaded, kept, t->n_sent, &errand->n);
    errand->whole_bytes = t->n_sent == 0 ? kept->n_bytes : 0;
    errand->bytes = mem_alloc(errand->n + HASH_BYTES);
    if (stand > 0 &&
        model_cut(loaded->model, keep_spare(loaded), kept->stands[stand]) != kept->stands[stand])
        (void)err_set(&err, BROKEN, "position %d cannot be gone back to", kept->stands[stand]);
    else if (model_piece_take(loaded->model, keep_spare(loaded),
                              stand < 0 ? t->n_sent : model_pieces(kept->stands[stand]) - 1,
                              errand->bytes, &err) == OK) {
        t->n_sent++;
        keep_send(loaded->engine->keep, errand);
        return;
    }
    errand_close(errand);
    save_failed(loaded, &err);
}

void keep_save_came(struct loaded *loaded, const struct errand *errand)
{
    struct transfer *t = loaded->transfer;
    struct engine *engine = loaded->engine;
    if (errand->err.status != OK) {
        save_failed(loaded, &errand->err);
        return;
    }
    t->n_done++;
    if (errand->kind != ERRAND_END)
        return;
    struct saved *kept = t->kept;
    log_debug("kept: %d tokens of %s in %llu MB", (int)kept->n, loaded->name,
              (unsigned long long)(kept->n_bytes >> 20));
    engine->gauges.kept_written += kept->n_bytes;
    keep_transfer_end(loaded);
    if (keep_knows(engine->keep, kept->owner)) {
        saved_add(loaded, kept);
        return;
    }
    saved_add(loaded, kept); // revoked meanwhile
    saved_remove(engine->keep, kept);
}

// ---- which text is next -------------------------------------------------------------------------

// Tokens of a free sequence that no file has; 0: not worth one, or not now.
static int32_t worth(const struct loaded *loaded, const struct seq *seq, bool all)
{
    double us;
    if (seq->state != SEQ_FREE || seq->n_cached < KEEP_LEAST ||
        !keep_knows(loaded->engine->keep, seq->owner))
        return 0;
    const int32_t covered = saved_covered(loaded, seq, &us), more = seq->n_cached - covered;
    if (more < KEEP_LEAST && covered > 0)
        return 0;
    return all || more >= covered / KEEP_GROWTH ? more : 0;
}

void keep_save_look(struct loaded *loaded, bool all)
{
    const uint64_t now_ms = clock_ms();
    const struct seq *best = NULL;
    int32_t most = 0;
    loaded->keep_look_ms = 0;
    if (loaded->prompt_us <= 0 || now_ms < loaded->engine->keep->pause_until_ms)
        return;
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        const struct seq *seq = &loaded->seqs[i];
        const uint64_t due_ms = seq->used_ms + KEEP_AFTER_MS;
        const int32_t n = seq->is_settled ? 0 : worth(loaded, seq, all);
        if (n == 0)
            continue;
        if (!all && due_ms > now_ms) {
            if (!loaded->keep_look_ms || due_ms < loaded->keep_look_ms)
                loaded->keep_look_ms = due_ms;
        } else if (n > most) {
            best = seq;
            most = n;
        }
    }
    if (!best)
        return;
    loaded->seqs[best->index].is_settled = true; // until it is used again
    loaded->keep_look_ms = now_ms + 1;           // there may be another
    save_begin(loaded, best);
}
