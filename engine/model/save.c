// save.c - what a sequence holds, as bytes: pieces that are taken out and put back one by one, so
// that who writes them to a disk or reads them from one does other things meanwhile.
//
// A piece of a page: of each layer of the trunk that sees everything its rows of keys, its rows of
// values, then those of its index, where it has one; of any layer the rows that stand for many
// positions, with what they are chosen by. The last piece: of each layer with a window
// the rows that position n sees, page by page, in the same order; the states of each layer that has
// any (two of a recurrent one, one of a table's convolution); and, where a table is read by the
// last tokens, these, in 32 bytes. Rows come in whole steps (KV_ROWS_STEP), those of others are
// zeros; numbers are as the device lays them out.
//
// What a reader would get wrong: n is where the sequence stood that the pieces were taken from. One
// that is put back may stand before that, where no window and no state is in the way: a page's rows
// behind it are there and are not read.
#include "arch.h"

#include <string.h>

enum { SAMPLES = 16 };

enum way { COUNTED, TAKEN, PUT };

struct walk { // over the bytes of a piece
    struct model *m;
    enum way way;
    struct tensor staging; // F32 [1][...]: the largest run of rows
    uint8_t *p;            // where the next bytes are
    size_t n_bytes;        // so far
    struct err *err;
};

// Of the head, with all that it says of rope and shapes, and of a few bytes of each tensor: two
// trainings of one architecture differ in these.
static uint64_t file_hash(const struct gguf *gguf)
{
    uint64_t hash = HASH_BEGIN, head = gguf->parts[0].file.n;
    for (uint64_t i = 0; i < gguf->n_tensors; i++)
        if (gguf->tensors[i].part == 0 && gguf->tensors[i].offset < head)
            head = gguf->tensors[i].offset;
    hash = hash_on(hash, gguf->parts[0].file.p, head);
    for (uint64_t i = 0; i < gguf->n_tensors; i++) {
        const struct gguf_tensor *t = &gguf->tensors[i];
        const struct bytes file = gguf->parts[t->part].file;
        hash = hash_on(hash, t->name.p, t->name.n);
        hash = hash_on(hash, t->dims, sizeof(t->dims));
        hash = hash_on(hash, &t->type, sizeof(t->type));
        const uint64_t middle = t->offset + t->n_bytes / 2;
        if (middle + SAMPLES <= file.n)
            hash = hash_on(hash, file.p + middle, SAMPLES);
    }
    return hash;
}

uint64_t model_identity(struct model *m)
{
    if (m->identity)
        return m->identity;
    const struct hyper *h = &m->hyper;
    const struct {
        int64_t file_ns;
        uint64_t n_bytes;
        int32_t type, n_layer, long_factors, n_state_bytes;
        int32_t windows[PAST_POOLS_MOST];
    } with = {
        .file_ns = m->file_ns,
        .n_bytes = m->info.file_bytes,
        .type = m->info.plan.kv_q8_0 ? DTYPE_Q8_0 : DTYPE_F16,
        .n_layer = h->n_layer,
        .long_factors = h->n_ctx > h->n_ctx_short, // of rope, in a model that has both
        .n_state_bytes = (int32_t)m->info.plan.slot_bytes,
        .windows = {m->kv.shape.pools[0].window, m->kv.shape.pools[1].window,
                    m->kv.shape.pools[2].window, m->kv.shape.pools[3].window},
    };
    _Static_assert(PAST_POOLS_MOST == 4, "each of the windows");
    uint64_t hash = hash_on(file_hash(m->gguf), &with, sizeof(with));
    const char *backend = compute_info(m->compute)->backend;
    hash = hash_on(hash, backend, strlen(backend));
    m->identity = hash ? hash : 1;
    return m->identity;
}

// ---- rows ---------------------------------------------------------------------------------------

static enum status copy_rows(struct walk *w, const struct tensor *to, const struct tensor *from)
{
    if (compute_begin(w->m->compute, 0))
        op_copy(w->m->compute, to, from);
    return compute_finish(w->m->compute, w->err);
}

// Whole rows, a multiple of 4 bytes, of 16 on a GPU (op_copy). What is before and behind the bytes
// first .. end - 1 of them is of others.
static enum status walk_rows(struct walk *w, const struct tensor *rows, size_t first, size_t end)
{
    const size_t n_bytes = rows->row_bytes * (size_t)rows->n_rows;
    uint8_t *p = w->p ? w->p + w->n_bytes : NULL;
    struct tensor staging = w->staging;
    enum status status = OK;
    if (n_bytes % (strcmp(compute_info(w->m->compute)->backend, "cpu") == 0 ? 4 : 16) != 0)
        return err_set(w->err, UNSUPPORTED, "states of %zu bytes cannot be written", n_bytes);
    w->n_bytes += n_bytes;
    staging.n_cols = (int64_t)(n_bytes / sizeof(float));
    staging.row_bytes = n_bytes;
    if (w->way == TAKEN) {
        status = copy_rows(w, &staging, rows);
        if (status == OK) {
            tensor_read(w->m->compute, p, &staging, n_bytes);
            status = compute_check(w->m->compute, w->err);
        }
        memset(p, 0, first);
        memset(p + end, 0, n_bytes - end);
    } else if (w->way == PUT) {
        tensor_write(w->m->compute, &staging, p, n_bytes);
        status = copy_rows(w, rows, &staging);
    }
    return status;
}

// The rows of positions pos .. end - 1 of one cache, which lie in one page; a row is for `each` of
// them, and only whole ones count.
static enum status walk_page(struct walk *w, const struct tensor *cache, int32_t pool, int32_t each,
                             int32_t seq, int32_t pos, int32_t end)
{
    const int32_t at = w->way == COUNTED ? 0 : past_row(w->m->kv.past, pool, seq, pos) / each;
    pos /= each;
    end /= each;
    const int32_t page = PAGE_ROWS / each, step = page < KV_ROWS_STEP ? page : KV_ROWS_STEP,
                  before = pos % step, n = (before + end - pos + step - 1) / step * step,
                  row = w->way == COUNTED ? 0 : at - before;
    if (n == 0)
        return OK;
    const struct tensor rows = tensor_rows(cache, row, n);
    return walk_rows(w, &rows, (size_t)before * rows.row_bytes,
                     (size_t)(before + end - pos) * rows.row_bytes);
}

// Of one layer's caches in a pool positions from .. to - 1.
static enum status walk_caches(struct walk *w, int32_t i, int32_t pool, int32_t seq, int32_t from,
                               int32_t to)
{
    const struct kv *kv = &w->m->kv;
    const struct tensor *caches[KV_CACHES];
    const int32_t n_caches = kv_caches(kv, i, pool, caches);
    enum status status = OK;
    for (int32_t k = 0; k < n_caches; k++)
        for (int32_t pos = from, end; pos < to && status == OK; pos = end) {
            end = (pos / PAGE_ROWS + 1) * PAGE_ROWS < to ? (pos / PAGE_ROWS + 1) * PAGE_ROWS : to;
            status =
                walk_page(w, caches[k], pool, kv_positions(kv, pool, caches[k]), seq, pos, end);
        }
    return status;
}

// Of one layer what belongs to a piece: positions begin .. end - 1 of pools that see everything,
// or, of the last piece, what position n sees of the others.
static enum status walk_layer(struct walk *w, int32_t i, int32_t seq, int32_t begin, int32_t end,
                              bool last)
{
    const struct kv *kv = &w->m->kv;
    const int32_t pools[] = {kv->pool[i], kv->far_pool[i]}, n_pools = pools[0] == pools[1] ? 1 : 2;
    enum status status = OK;
    for (int32_t k = 0; k < n_pools && status == OK; k++) {
        const int32_t window = kv->shape.pools[pools[k]].window;
        if ((window > 0) != last)
            continue;
        const int32_t from = !last ? begin : end >= window ? end + 1 - window : 0;
        status = walk_caches(w, i, pools[k], seq, from, end);
    }
    return status;
}

static enum status walk_states(struct walk *w, int32_t i, int32_t seq)
{
    const struct kv *kv = &w->m->kv;
    const struct tensor *const states[] = {&kv->conv[i], &kv->state[i], &kv->ngram[i]};
    enum status status = OK;
    for (size_t k = 0; k < COUNT_OF(states) && status == OK; k++) {
        if (!states[k]->buffer)
            continue;
        const struct tensor row =
            tensor_rows(states[k], w->way == COUNTED ? 0 : past_slot(kv->past, seq), 1);
        status = walk_rows(w, &row, 0, row.row_bytes);
    }
    return status;
}

// The last tokens before position n, as far as the table is read by them.
static void walk_tokens(struct walk *w, int32_t seq, int32_t n)
{
    const struct kv *kv = &w->m->kv;
    int32_t last[NGRAM_MOST] = {0};
    int32_t *all = kv->token + (size_t)seq * (size_t)kv->shape.n_ctx;
    const int32_t n_last = n < NGRAM_MOST ? n : NGRAM_MOST;
    uint8_t *p = w->p ? w->p + w->n_bytes : NULL;
    w->n_bytes += sizeof(last);
    if (w->way == TAKEN) {
        memcpy(last, all + n - n_last, (size_t)n_last * sizeof(*last));
        memcpy(p, last, sizeof(last));
    } else if (w->way == PUT) {
        memcpy(all + n - n_last, p, (size_t)n_last * sizeof(*last));
    }
}

static enum status walk_piece(struct walk *w, int32_t seq, int32_t n, int32_t piece)
{
    const struct kv *kv = &w->m->kv;
    const int32_t n_pages = model_pieces(n) - 1, begin = piece * PAGE_ROWS,
                  end = n - begin < PAGE_ROWS ? n : begin + PAGE_ROWS;
    enum status status = OK;
    for (int32_t i = 0; i < w->m->hyper.n_layer && status == OK; i++) { // the trunk's
        const bool last = piece == n_pages;
        status = walk_layer(w, i, seq, begin, last ? n : end, last);
        if (last && status == OK)
            status = walk_states(w, i, seq);
    }
    if (piece == n_pages && kv->token)
        walk_tokens(w, seq, n);
    return status;
}

static size_t largest_run(const struct kv *kv)
{
    size_t most = 16;
    for (int32_t i = 0; i < kv->n_layer; i++) {
        const struct tensor *const tensors[] = {&kv->k[i],      &kv->v[i],      &kv->index[i],
                                                &kv->raw[0][i], &kv->raw[1][i], &kv->raw[2][i],
                                                &kv->raw[3][i], &kv->far[i],    &kv->conv[i],
                                                &kv->state[i],  &kv->ngram[i]};
        enum { WITH_PAGES = 8 }; // the first of them
        for (size_t k = 0; k < COUNT_OF(tensors); k++) {
            const size_t n = tensors[k]->row_bytes * (k < WITH_PAGES ? PAGE_ROWS : 1);
            most = tensors[k]->buffer && n > most ? n : most;
        }
    }
    return most;
}

// ---- pieces -------------------------------------------------------------------------------------

int32_t model_pieces(int32_t n)
{
    return (n + PAGE_ROWS - 1) / PAGE_ROWS + 1;
}

size_t model_piece_bytes(struct model *model, int32_t n, int32_t piece)
{
    struct walk w = {.m = model, .way = COUNTED};
    return walk_piece(&w, 0, n, piece) == OK ? w.n_bytes : 0;
}

static enum status walk(struct walk *w, int32_t seq, int32_t n, int32_t piece)
{
    struct compute *compute = w->m->compute;
    const int64_t most = (int64_t)(largest_run(&w->m->kv) / sizeof(float));
    enum status status = kv_copies(&w->m->kv, compute, w->err);
    if (status == OK)
        status = compute_tensor(compute, &w->staging, DTYPE_F32, 1, most, w->err);
    if (status != OK)
        return status;
    status = walk_piece(w, seq, n, piece);
    tensor_free(compute, &w->staging);
    return status;
}

enum status model_piece_take(struct model *model, int32_t seq, int32_t piece, uint8_t *out,
                             struct err *err)
{
    struct walk w = {.m = model, .way = TAKEN, .p = out, .err = err};
    return walk(&w, seq, past_held(model->kv.past, seq), piece);
}

enum status model_piece_put(struct model *model, int32_t seq, int32_t n, int32_t piece, uint8_t *in,
                            struct err *err)
{
    struct walk w = {.m = model, .way = PUT, .p = in, .err = err};
    return walk(&w, seq, n, piece);
}

enum status model_place(struct model *model, int32_t seq, int32_t n)
{
    return past_place(model->kv.past, seq, n);
}
