// keep.c - what texts left in a model's memory is written to files and read from them, in slices
// between passes: a page of rows, or what one position has beside rows.
//
// Each model has one sequence more than its works can have. A text that is written is forked into
// it, which copies nothing, so that its own sequence may go on or be given up meanwhile; a text
// that is read comes into being there and is then forked into one that works can have. One transfer
// is under way at a time; a prompt that waits for a file comes before texts that are to be written,
// and memory that is short before both.
//
// A work whose prompt a file has stands in the line `fetching` until the file is read, could not
// be, or took too long; then it waits like any other, and finds what is there.
#include "keep.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MOST_MS = 2000, FETCH_LEAST_MS = 1000 };
#define READ_RATE 200e6 // bytes a second, until one was read

uint64_t keep_mb = 1 << 20;

int32_t keep_spare(const struct loaded *loaded)
{
    return loaded->n_seq;
}

struct errand *keep_errand(struct loaded *loaded, enum errand_kind kind, int32_t piece)
{
    const struct transfer *t = loaded->transfer;
    struct errand *errand = mem_alloc(sizeof(*errand));
    *errand = (struct errand){.kind = kind,
                              .owner = t->kept->owner,
                              .model = t->kept->model,
                              .number = t->kept->number,
                              .transfer = t->id,
                              .piece = piece};
    return errand;
}

void keep_send(struct keep *keep, struct errand *errand)
{
    keep->out_bytes += errand->n;
    errands_send(keep->errands, errand);
}

// ---- opening ------------------------------------------------------------------------------------

static void forget_unknown(struct engine *engine)
{
    struct keep *keep = engine->keep;
    for (struct saved *kept = keep->files, *next; kept; kept = next) {
        next = kept->next;
        if (!keep_knows(keep, kept->owner) && !kept->is_read)
            saved_remove(keep, kept);
    }
    for (int32_t i = 0; i < engine->n_loaded; i++)
        for (int32_t k = 0; k < engine->loaded[i]->n_seq; k++) {
            struct seq *seq = &engine->loaded[i]->seqs[k];
            if (seq->state == SEQ_FREE && seq->n_cached > 0 && !keep_knows(keep, seq->owner))
                prefix_forget(engine->loaded[i], seq);
        }
}

void keep_tell(struct engine *engine, const struct job *job)
{
    const struct settings *settings = &engine->sched->settings;
    struct keep *keep = engine->keep;
    if (!keep && settings->state[0]) {
        keep = engine->keep = mem_alloc(sizeof(*keep));
        *keep = (struct keep){.opened_ms = clock_ms(),
                              .most_bytes = (uint64_t)settings->keep_prefixes_mb * keep_mb,
                              .read_rate = READ_RATE,
                              .build = hash_on(HASH_BEGIN, job->ask.prompt.p, job->ask.prompt.n)};
        random_bytes(&keep->last_number, sizeof(keep->last_number));
        snprintf(keep->folder, sizeof(keep->folder), "%s/prefixes", settings->state);
        errands_open(&keep->errands, keep->folder);
        struct errand *errand = mem_alloc(sizeof(*errand));
        errand->kind = ERRAND_LIST;
        errands_send(keep->errands, errand);
    }
    if (!keep)
        return;
    free(keep->owners);
    keep->n_owners = job->n_owners;
    keep->owners = mem_array(job->n_owners + 1, sizeof(*keep->owners));
    memcpy(keep->owners, job->owners, job->n_owners * sizeof(*keep->owners));
    forget_unknown(engine);
}

static void listed(struct engine *engine, struct errand *errand)
{
    struct keep *keep = engine->keep;
    keep->is_listed = true;
    if (errand->err.status != OK) {
        log_warn("what is computed of texts is not kept over restarts: %s", errand->err.text);
        keep->pause_until_ms = UINT64_MAX;
    }
    while (errand->kept) {
        struct saved *kept = errand->kept;
        errand->kept = kept->next;
        kept->next = keep->files;
        keep->files = kept;
        keep->n_files++;
        keep->n_bytes += kept->n_bytes;
    }
    forget_unknown(engine);
    (void)saved_make_room(keep, 0); // the setting may be another than it was
    if (keep->n_files > 0)
        log_info("kept texts: %d, of %llu MB", (int)keep->n_files,
                 (unsigned long long)(keep->n_bytes >> 20));
}

void keep_open_model(struct loaded *loaded)
{
    const struct keep *keep = loaded->engine->keep;
    if (!loaded->transfer)
        loaded->transfer = mem_alloc(sizeof(*loaded->transfer));
    if (keep && !loaded->embeds && !loaded->identity)
        loaded->identity = model_identity(loaded->model) ^ keep->build;
}

static bool is_on(struct loaded *loaded)
{
    const struct keep *keep = loaded->engine->keep;
    if (!keep || keep->most_bytes == 0 || loaded->embeds || loaded->state != SCHED_READY)
        return false;
    keep_open_model(loaded);
    return true;
}

// ---- where pieces lie ---------------------------------------------------------------------------

uint64_t keep_place(const struct loaded *loaded, const struct saved *kept, int32_t i,
                    size_t *n_bytes)
{
    const int32_t n_pages = model_pieces(kept->n) - 1;
    const size_t whole = model_piece_bytes(loaded->model, kept->n, 0) + HASH_BYTES,
                 last = model_piece_bytes(loaded->model, kept->n, n_pages - 1) + HASH_BYTES;
    uint64_t at = saved_head_bytes(kept->n, kept->n_stands);
    *n_bytes = 0;
    if (i < n_pages) {
        *n_bytes = (i == n_pages - 1 ? last : whole) - HASH_BYTES;
        return at + (uint64_t)i * whole;
    }
    at += (uint64_t)(n_pages - 1) * whole + last;
    for (int32_t k = 0; k <= i - n_pages && k < kept->n_stands; k++) {
        const int32_t n = kept->stands[k];
        if (k > 0)
            at += *n_bytes + HASH_BYTES;
        *n_bytes = model_piece_bytes(loaded->model, n, model_pieces(n) - 1);
    }
    return i < n_pages + kept->n_stands ? at : at + *n_bytes + HASH_BYTES;
}

uint64_t keep_whole_bytes(const struct loaded *loaded, const struct saved *kept)
{
    size_t n;
    return keep_place(loaded, kept, model_pieces(kept->n) - 1 + kept->n_stands, &n);
}

// ---- the end of a transfer ----------------------------------------------------------------------

void keep_transfer_end(struct loaded *loaded)
{
    struct transfer *t = loaded->transfer;
    if (t->kind == TRANSFER_FETCH)
        t->kept->is_read = false;
    for (size_t i = 0; i < COUNT_OF(t->queue); i++)
        errand_close(t->queue[i]);
    (void)model_cut(loaded->model, keep_spare(loaded), 0);
    *t = (struct transfer){.kind = TRANSFER_NONE};
}

bool keep_give_up(struct loaded *loaded)
{
    struct transfer *t = loaded->transfer;
    if (!t || t->kind == TRANSFER_NONE || t->is_ending)
        return false;
    struct saved *kept = t->kind == TRANSFER_SAVE ? t->kept : NULL;
    loaded->fetch_gave_up |= t->kind == TRANSFER_FETCH && loaded->fetching.first;
    if (kept) {
        keep_send(loaded->engine->keep, keep_errand(loaded, ERRAND_GIVE_UP, 0));
        loaded->seqs[t->seq].is_settled = false;
    }
    keep_transfer_end(loaded);
    saved_free(kept);
    loaded->keep_look_ms = clock_ms() + KEEP_AFTER_MS;
    return true;
}

// ---- reading ------------------------------------------------------------------------------------

static void fetch_begin(struct loaded *loaded, struct saved *kept, int32_t at, double saves_us)
{
    struct keep *keep = loaded->engine->keep;
    const int32_t n_pages = model_pieces(at) - 1;
    (void)model_cut(loaded->model, keep_spare(loaded), 0);
    if (!prefix_place(loaded, keep_spare(loaded), at))
        return;
    kept->is_read = true;
    kept->used_s = clock_unix_s();
    *loaded->transfer = (struct transfer){
        .kind = TRANSFER_FETCH,
        .id = ++keep->last_transfer,
        .kept = kept,
        .at = at,
        .n_pieces = n_pages + (loaded->needs_snapshots ? 1 : 0),
        .until_ms = clock_ms() + FETCH_LEAST_MS +
                    (uint64_t)(saves_us + keep_read_us(keep, kept->n_bytes)) / 1000};
}

// Which piece of the file the i-th is that is fetched.
static int32_t fetched_piece(const struct transfer *t, int32_t i)
{
    int32_t stand = 0;
    if (i < model_pieces(t->at) - 1)
        return i;
    while (t->kept->stands[stand] != t->at)
        stand++;
    return model_pieces(t->kept->n) - 1 + stand;
}

static void fetch_done(struct loaded *loaded)
{
    struct transfer *t = loaded->transfer;
    struct sched_gauges *gauges = &loaded->engine->gauges;
    struct seq *seq = prefix_oldest(loaded, NULL);
    const struct saved *kept = t->kept;
    struct work *work = loaded->fetching.first;
    seq->n_cached = model_fork(loaded->model, keep_spare(loaded), seq->index, t->at);
    ahead_cut(loaded, seq, 0); // a second model has not read it
    memcpy(seq->token, kept->token, (size_t)seq->n_cached * sizeof(*seq->token));
    seq->owner = kept->owner;
    seq->used_at = loaded->engine->n_steps;
    seq->used_ms = clock_ms();
    seq->is_settled = true;
    (void)model_snapshot(loaded->model, seq->index);
    if (work) // which may be another than it was read for
        work->n_fetched = prefix_common(seq->token, seq->n_cached, work->prompt, work->n_prompt);
    gauges->kept_reads++;
    gauges->kept_read_tokens += (uint64_t)t->at;
    log_debug("kept: %d tokens of %s were read", (int)t->at, loaded->name);
    keep_transfer_end(loaded);
}

static void fetch_failed(struct loaded *loaded, const struct err *err)
{
    struct saved *kept = loaded->transfer->kept;
    keep_transfer_end(loaded);
    log_warn("%s; it is deleted", err->text);
    saved_remove(loaded->engine->keep, kept);
}

static void piece_fetched(struct loaded *loaded, struct errand *errand)
{
    struct transfer *t = loaded->transfer;
    struct keep *keep = loaded->engine->keep;
    if (errand->err.status != OK) {
        fetch_failed(loaded, &errand->err);
        errand_close(errand);
        return;
    }
    loaded->engine->gauges.kept_read += errand->n;
    if (errand->n >= 1 << 16 && errand->took_us > 0)
        keep->read_rate =
            0.8 * keep->read_rate + 0.2 * (double)errand->n / (double)errand->took_us * 1e6;
    for (size_t i = 0; i < COUNT_OF(t->queue); i++)
        if (!t->queue[i]) {
            t->queue[i] = errand;
            return;
        }
    die("more pieces came than were asked for");
}

// Asks for pieces, and puts one that came. False: there was nothing to do.
static bool fetch_some(struct loaded *loaded)
{
    struct transfer *t = loaded->transfer;
    struct keep *keep = loaded->engine->keep;
    struct err err = {0};
    while (t->n_sent < t->n_pieces && t->n_sent - t->n_done < (int32_t)COUNT_OF(t->queue) &&
           (t->n_sent == t->n_done || keep->out_bytes < KEEP_OUT_BYTES)) {
        struct errand *errand = keep_errand(loaded, ERRAND_READ, fetched_piece(t, t->n_sent++));
        errand->offset = keep_place(loaded, t->kept, errand->piece, &errand->n);
        keep_send(keep, errand);
    }
    struct errand *came = t->queue[0];
    if (!came) {
        if (clock_ms() < t->until_ms)
            return false;
        log_debug("kept: reading takes longer than computing");
        keep->read_rate /= 2;
        keep_transfer_end(loaded);
        loaded->fetch_gave_up = true;
        return true;
    }
    memmove(t->queue, t->queue + 1, sizeof(t->queue) - sizeof(t->queue[0]));
    t->queue[COUNT_OF(t->queue) - 1] = NULL;
    const bool is_page = came->piece < model_pieces(t->kept->n) - 1;
    const enum status status =
        model_piece_put(loaded->model, keep_spare(loaded), is_page ? t->kept->n : t->at,
                        is_page ? came->piece : model_pieces(t->at) - 1, came->bytes, &err);
    errand_close(came);
    if (status != OK)
        fetch_failed(loaded, &err);
    else if (++t->n_done == t->n_pieces)
        fetch_done(loaded);
    return true;
}

// The first work that stands in line: a file is to be read for it, or it goes on.
static bool fetch_next(struct loaded *loaded)
{
    struct keep *keep = loaded->engine->keep;
    struct work *work = loaded->fetching.first;
    int32_t at = 0;
    double saves_us;
    if (!work || (!keep->is_listed && clock_ms() < keep->opened_ms + LIST_MOST_MS))
        return false;
    const int32_t n_held = prefix_held(loaded, work);
    struct saved *kept = loaded->fetch_gave_up || work->n_fetched > 0
                             ? NULL
                             : saved_find(loaded, work, prefix_most(work), n_held, &at, &saves_us);
    loaded->fetch_gave_up = false;
    if (kept) {
        (void)keep_give_up(loaded);
        if (loaded->transfer->kind == TRANSFER_NONE)
            fetch_begin(loaded, kept, at, saves_us);
        else
            return false; // a file's end is being written
    }
    if (!kept || loaded->transfer->kind == TRANSFER_NONE)
        work_fetched(loaded, work);
    return true;
}

// ---- turns --------------------------------------------------------------------------------------

bool keep_wants(struct loaded *loaded)
{
    const struct keep *keep = loaded->engine->keep;
    return is_on(loaded) && (keep->files || !keep->is_listed);
}

void keep_take(struct engine *engine)
{
    struct keep *keep = engine->keep;
    struct errand *errand;
    while (keep && (errand = errands_take(keep->errands)) != NULL) {
        struct loaded *loaded = NULL;
        keep->out_bytes -= errand->n;
        for (int32_t i = 0; i < engine->n_loaded; i++)
            if (engine->loaded[i]->transfer && errand->transfer &&
                engine->loaded[i]->transfer->id == errand->transfer)
                loaded = engine->loaded[i];
        if (loaded && errand->kind == ERRAND_READ) {
            piece_fetched(loaded, errand);
            continue;
        }
        if (errand->kind == ERRAND_LIST)
            listed(engine, errand);
        else if (loaded)
            keep_save_came(loaded, errand);
        errand_close(errand);
    }
}

bool keep_turn(struct loaded *loaded)
{
    if (!is_on(loaded))
        return false;
    const struct keep *keep = loaded->engine->keep;
    struct transfer *t = loaded->transfer;
    if (t->kind == TRANSFER_FETCH)
        return fetch_some(loaded);
    if (fetch_next(loaded))
        return true;
    if (t->kind == TRANSFER_NONE && loaded->keep_look_ms && keep->is_listed &&
        clock_ms() >= loaded->keep_look_ms)
        keep_save_look(loaded, false);
    if (t->kind != TRANSFER_SAVE || t->is_ending || keep->out_bytes >= KEEP_OUT_BYTES)
        return false;
    keep_save_some(loaded);
    return true;
}

void keep_used(struct loaded *loaded, struct seq *seq)
{
    seq->used_ms = clock_ms();
    seq->is_settled = false;
    if (loaded->engine->keep && !loaded->keep_look_ms)
        loaded->keep_look_ms = seq->used_ms + KEEP_AFTER_MS;
}

uint64_t keep_look_ms(const struct loaded *loaded)
{
    const struct transfer *t = loaded->transfer;
    uint64_t at_ms = UINT64_MAX;
    if (t && t->kind == TRANSFER_FETCH)
        at_ms = t->until_ms;
    if (t && t->kind == TRANSFER_NONE && loaded->keep_look_ms)
        at_ms = loaded->keep_look_ms;
    if (loaded->fetching.first && loaded->engine->keep && !loaded->engine->keep->is_listed)
        at_ms = loaded->engine->keep->opened_ms + LIST_MOST_MS;
    return at_ms;
}

// ---- the end ------------------------------------------------------------------------------------

void keep_rest(struct loaded *loaded, uint64_t most_ms)
{
    const uint64_t until_ms = clock_ms() + most_ms;
    struct engine *engine = loaded->engine;
    if (!is_on(loaded) || !engine->keep->is_listed)
        return;
    struct transfer *t = loaded->transfer;
    if (t->kind == TRANSFER_FETCH)
        keep_transfer_end(loaded);
    for (int32_t i = 0; i < loaded->n_seq; i++) // what grew little is written too
        loaded->seqs[i].is_settled = false;
    loaded->keep_look_ms = 1;
    for (uint64_t now_ms; (now_ms = clock_ms()) < until_ms; keep_take(engine)) {
        if (t->kind == TRANSFER_NONE && loaded->keep_look_ms)
            keep_save_look(loaded, true);
        else if (t->kind == TRANSFER_NONE)
            break;
        else if (!t->is_ending && engine->keep->out_bytes < KEEP_OUT_BYTES)
            keep_save_some(loaded);
        else {
            struct pollfd fd = {.fd = errands_fd(engine->keep->errands), .events = POLLIN};
            (void)poll(&fd, 1, (int)(until_ms - now_ms));
        }
    }
    (void)keep_give_up(loaded);
}

void keep_close_model(struct loaded *loaded)
{
    struct transfer *t = loaded->transfer;
    if (!t)
        return;
    (void)keep_give_up(loaded);
    if (t->kind != TRANSFER_NONE) { // its head is on its way: the next list has it
        struct saved *kept = t->kept;
        keep_transfer_end(loaded);
        saved_free(kept);
    }
    free(t);
    loaded->transfer = NULL;
}

void keep_stop(struct engine *engine)
{
    const uint64_t until_ms = clock_ms() + KEEP_STOP_MS;
    if (!engine->keep)
        return;
    errands_hurry(engine->keep->errands, false);
    keep_take(engine);
    for (int32_t i = 0; i < engine->n_loaded; i++) {
        const uint64_t now_ms = clock_ms();
        keep_rest(engine->loaded[i], now_ms < until_ms ? until_ms - now_ms : 0);
    }
    errands_hurry(engine->keep->errands, true);
}

void keep_close(struct engine *engine)
{
    struct keep *keep = engine->keep;
    if (!keep)
        return;
    errands_close(keep->errands);
    while (keep->files) {
        struct saved *kept = keep->files;
        keep->files = kept->next;
        saved_free(kept);
    }
    free(keep->owners);
    free(keep);
    engine->keep = NULL;
}
