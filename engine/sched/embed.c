// embed.c - models that embed or rerank: texts of waiting works become vectors, one pass at a time.
//
// Such a model generates nothing, so that no sequence ever has a work: all works wait in their
// line, and a pass takes texts from its front, each into a sequence of its own, as many as fit. A
// text that is read in several passes goes on in the sequence where it began (first_seq). Where a
// text must be one pass, it is taken whole or in the next one.
//
// A pass of several texts is sized by time, as those of step.c: cancelling and others' works wait
// for it. One text alone may need more than that; the encoder has seen that a pass holds it.
#include "inside.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_LEAST = 64, PASS_US = 500000 };

// ---- what fits ------------------------------------------------------------------------------

enum status job_suits(const struct job *job, const struct model_info *model, struct err *err)
{
    const bool embeds = model->n_vector > 0, ranks = model->pooling == POOLING_RANK;
    if (ask_only_tells(&job->ask))
        return OK;
    if (job->kind != JOB_EMBED && embeds)
        return err_set(err, UNSUPPORTED,
                       "the model '%s' %s and writes no text: ask %s, or load one that writes",
                       model->id, ranks ? "ranks documents" : "makes vectors of texts",
                       ranks ? "/v1/rerank" : "/v1/embeddings");
    if (job->kind == JOB_EMBED && !embeds)
        return err_set(err, UNSUPPORTED,
                       "the model '%s' writes text; its file names no pooling_type, so that it "
                       "makes no vectors and no scores: load an embedding model, or a reranker",
                       model->id);
    if (job->kind == JOB_EMBED && job->ask.rank != ranks)
        return err_set(err, UNSUPPORTED, "the model '%s' %s: ask %s, or load %s", model->id,
                       ranks ? "ranks documents and makes no vectors"
                             : "makes vectors of texts and ranks no documents",
                       ranks ? "/v1/rerank" : "/v1/embeddings",
                       ranks ? "one that embeds" : "a reranker");
    return OK;
}

// ---- texts to ids ---------------------------------------------------------------------------

static enum status too_long(const struct encoding *e, size_t i, size_t n, struct err *err)
{
    const char *what = e->job->ask.rank ? "with its query, document" : "text";
    return err_set(err, TOO_LARGE, "%s %zu has %zu tokens; this model takes %d at once%s", what, i,
                   n, (int)e->n_ctx, e->n_ctx < e->n_ctx_train ? " as it is opened here" : "");
}

static enum status check_ids(const struct encoding *e, const struct text_ask *text, size_t i,
                             struct err *err)
{
    const int32_t n_vocab = tokenizer_n_vocab(e->tokenizer);
    for (size_t k = 0; k < text->n_ids; k++)
        if (text->ids[k] < 0 || text->ids[k] >= n_vocab)
            return err_set(err, BAD_INPUT, "text %zu has the token id %d; the vocabulary has %d", i,
                           (int)text->ids[k], (int)n_vocab);
    return OK;
}

// Text i behind the ids that are there, *n of cap.
static enum status encode_one(struct encoding *e, size_t i, size_t cap, size_t *n, struct err *err)
{
    const struct ask *ask = &e->job->ask;
    const struct text_ask *text = &ask->texts[i];
    size_t count = 0;
    enum status status;
    if (text->ids) {
        status = check_ids(e, text, i, err);
        count = text->n_ids;
        if (status == OK)
            memcpy(e->ids + *n, text->ids, count * sizeof(*e->ids));
    } else if (ask->rank) {
        status = pair_encode(e->tokenizer, e->rank_format, ask->query, text->text, e->ids + *n,
                             cap - *n, &count, err);
    } else {
        status =
            tokenizer_encode(e->tokenizer, text->text, false, e->ids + *n, cap - *n, &count, err);
    }
    if (status == OK && count == 0)
        return err_set(err, BAD_INPUT, "text %zu is empty", i);
    if (status == OK && count > (size_t)e->n_ctx) {
        if (!ask->truncates)
            return too_long(e, i, count, err);
        e->ids[*n + (size_t)e->n_ctx - 1] = e->ids[*n + count - 1]; // what ends a text stays
        count = (size_t)e->n_ctx;
    }
    e->n_each[i] = (int32_t)count;
    *n += count;
    return status;
}

enum status embed_encode(struct encoding *e, struct err *err)
{
    const struct ask *ask = &e->job->ask;
    // no token is shorter than a byte; those that begin and end a text come on top
    uint64_t cap = 0, n_around = 64 + (ask->rank ? ask->query.n + e->rank_format.n : 0);
    for (size_t i = 0; i < ask->n_texts; i++)
        cap += ask->texts[i].text.n + ask->texts[i].n_ids + n_around;
    if (cap > INT32_MAX / 8)
        return err_set(err, TOO_LARGE,
                       "the texts have %llu bytes; that is over what is read at all",
                       (unsigned long long)cap);
    size_t n = 0;
    enum status status = OK;
    e->ids = mem_array((size_t)cap, sizeof(*e->ids));
    e->n_each = mem_array(ask->n_texts, sizeof(*e->n_each));
    for (size_t i = 0; i < ask->n_texts && status == OK; i++)
        status = encode_one(e, i, (size_t)cap, &n, err);
    e->n = (int32_t)n;
    return status;
}

// ---- a pass ---------------------------------------------------------------------------------

struct texts_pass {             // what is being put together
    int32_t *token, *pos, *seq; // [n_batch]
    uint8_t *wanted;
    int32_t n, n_seqs, n_ended;
};

// As much of the work's next text as the pass takes; false: nothing.
static bool add_text(const struct loaded *loaded, struct texts_pass *p, const struct work *work,
                     size_t text, int32_t at_token, int32_t at_prompt, int32_t room)
{
    const struct model_info *info = model_info(loaded->model);
    const bool one_pass = info->one_pass;
    const int32_t left = work->n_each[text] - at_token, take = left < room             ? left
                                                               : p->n == 0 && one_pass ? left
                                                                                       : room;
    if (take <= 0 || p->n_seqs == info->n_texts || (one_pass && take < left))
        return false;
    for (int32_t i = 0; i < take; i++, p->n++) {
        p->token[p->n] = work->prompt[at_prompt + i];
        p->pos[p->n] = at_token + i;
        p->seq[p->n] = (loaded->first_seq + p->n_seqs) % info->n_texts;
        p->wanted[p->n] = i == left - 1;
    }
    p->n_seqs++;
    p->n_ended += take == left;
    return true;
}

// Texts from the front of the line, until the pass is full.
static void fill(const struct loaded *loaded, struct texts_pass *p, int32_t most)
{
    for (const struct work *work = loaded->waiting.first; work; work = work->next) {
        int32_t at_token = work->at_token, at_prompt = work->at_prompt;
        for (size_t i = work->at_text; i < work->n_texts; i++) {
            if (!add_text(loaded, p, work, i, at_token, at_prompt, most - p->n))
                return;
            at_prompt += work->n_each[i] - at_token;
            at_token = 0;
        }
    }
}

static bool are_finite(const float *vector, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        if (!isfinite(vector[i]))
            return false;
    return true;
}

// Moves the work over up to n rows of the pass; those of its texts that ended take their vectors.
// False: one is not of numbers.
static bool advance(const struct loaded *loaded, struct work *work, int32_t *n,
                    const float **vector)
{
    const size_t n_vector = (size_t)loaded->n_vector;
    bool good = true;
    if (!work->vectors)
        work->vectors = mem_array(work->n_texts * n_vector, sizeof(*work->vectors));
    while (*n > 0 && work->at_text < work->n_texts) {
        const int32_t left = work->n_each[work->at_text] - work->at_token,
                      took = left < *n ? left : *n;
        *n -= took;
        work->at_token += took;
        work->at_prompt += took;
        if (took < left)
            break;
        good = good && are_finite(*vector, loaded->n_vector);
        memcpy(work->vectors + work->at_text * n_vector, *vector, n_vector * sizeof(**vector));
        *vector += n_vector;
        work->at_text++;
        work->at_token = 0;
    }
    return good;
}

static void pass_done(struct loaded *loaded, const struct texts_pass *p, const float *vectors,
                      uint64_t from_us)
{
    const uint64_t now_us = clock_us();
    const int32_t n_texts = model_info(loaded->model)->n_texts;
    int32_t n = p->n;
    loaded->first_seq =
        p->n_ended < p->n_seqs ? p->seq[p->n - 1] : (p->seq[p->n - 1] + 1) % n_texts;
    for (struct work *work = loaded->waiting.first, *next; work && n > 0; work = next) {
        next = work->next;
        const bool good = advance(loaded, work, &n, &vectors);
        work->started_us = work->started_us ? work->started_us : from_us;
        work->first_us = now_us;
        if (!good) {
            struct err err = {0};
            (void)err_set(&err, BROKEN, "model %s: a vector that is not of numbers",
                          model_info(loaded->model)->id);
            work_fail_waiting(loaded, work, &err);
        } else if (work->at_text == work->n_texts) {
            work_done(loaded, work);
        } else {
            struct event *event = event_open(EVENT_PROGRESS, work);
            event->n_done = work->at_prompt;
            engine_tell(loaded->engine, event);
        }
    }
}

// Works whose rows were in a pass that failed fail with it; what others had in memory is gone.
static void pass_failed(struct loaded *loaded, int32_t n, struct err *err)
{
    if (err->status == DEVICE_ERROR)
        engine_lost(loaded->engine, err);
    if (err->status == IO_ERROR) {
        loaded_lost(loaded, err);
        return;
    }
    log_error("a pass of texts failed: %s", err->text);
    if (err->status != NO_ROOM)
        err->status = BROKEN;
    for (struct work *work = loaded->waiting.first, *next; work && n > 0; work = next) {
        next = work->next;
        n -= work->n_prompt - work->at_prompt;
        work_fail_waiting(loaded, work, err);
    }
}

// Rows of the next pass: at most halved or doubled by one, so that it takes PASS_US, or, while
// another model streams, STEP_SHARED_US.
static void learn_rows(struct loaded *loaded, bool shared, int32_t n, uint64_t took_us)
{
    const double most = model_info(loaded->model)->n_batch,
                 target = shared ? STEP_SHARED_US : PASS_US,
                 least = shared ? CHUNK_LEAST_SHARED : ROWS_LEAST;
    double change = target / (double)(took_us ? took_us : 1);
    if (change > 1 && n < (int32_t)loaded->chunk[shared])
        return;
    change = change < 0.5 ? 0.5 : change > 2 ? 2 : change;
    const double rows = (change < 1 ? n : loaded->chunk[shared]) * change;
    loaded->chunk[shared] = rows < least ? least : rows > most ? most : rows;
}

bool loaded_embed(struct loaded *loaded)
{
    const int32_t n_batch = model_info(loaded->model)->n_batch;
    struct err err = {0};
    if (!loaded->waiting.first)
        return false;
    const bool shared = loaded_beside_streams(loaded);
    const int32_t rows = (int32_t)loaded->chunk[shared], most = rows < n_batch ? rows : n_batch;
    int32_t *ints = mem_array(3 * (size_t)n_batch, sizeof(*ints));
    struct texts_pass p = {.token = ints, .pos = ints + n_batch, .seq = ints + 2 * n_batch};
    p.wanted = mem_array((size_t)n_batch, 1);
    fill(loaded, &p, most);
    float *vectors = mem_array((size_t)p.n_seqs * (size_t)loaded->n_vector + 1, sizeof(*vectors));
    engine_step_begins(loaded->engine, true);
    const uint64_t from_us = clock_us();
    enum status status = model_embed(
        loaded->model, &(struct batch){p.n, p.token, p.pos, p.seq, p.wanted, 0}, vectors, &err);
    learn_rows(loaded, shared, p.n, clock_us() - from_us);
    engine_step_begins(loaded->engine, false);
    loaded->used_at = ++loaded->engine->n_steps;
    if (status == OK)
        pass_done(loaded, &p, vectors, from_us);
    else
        pass_failed(loaded, p.n, &err);
    free(ints);
    free(p.wanted);
    free(vectors);
    return true;
}
