// kv.c - the tensors that what sequences keep lies in: for every layer rows of keys and values, F16
// or Q8_0, of what blocks are chosen by, and slots of recurrent state. past.c says which rows and
// slots are whose.
//
// Layers that see equally far back are one pool: a page of it is PAGE_ROWS positions in each of
// them, fewer rows where a row stands for many positions; such rows are in the pool that sees
// everything, whatever the window of their layer.
// Every pool has a table on the device, a row a sequence, and the rows that a pass writes. A layer
// that reads what another keeps belongs to that one's pool, whose window is the widest of its
// readers.
//
// Invariant: what a table on the device names was computed for the text that its sequence has now
// (kv_enter brings it up to date); copies that a shared page asks for run before the pass.
#include "arch.h"

#include <stdlib.h>
#include <string.h>

// Numbers that a layer keeps of a token: as keys (k 0) and as values (k 1). Latent attention's
// values are part of its keys, and some layers read what an earlier one keeps.
static int64_t kept(const struct hyper *hyper, int32_t i, int k)
{
    const struct layer_hyper *layer = &hyper->layers[i];
    if (k == 1 && hyper->values_are_keys)
        return 0;
    if (layer->parts & PART_MLA)
        return k == 0 ? hyper_dim(hyper, layer, N_KV_MLA) : 0;
    // Some read what another layer keeps; or, in one pass of a whole text, write over it.
    const bool keeps = layer->parts & PART_KEYS && layer->kv_layer == i;
    return keeps ? hyper_dim(hyper, layer, k == 0 ? N_K : N_V) : 0;
}

// How far back a layer's rows are read; 0: all of them.
static int32_t window_of(const struct hyper *hyper, int32_t i)
{
    int32_t widest = hyper->sees_all ? 0 : hyper->layers[i].window; // all is read in one pass
    for (int32_t reader = 0; reader < hyper->n_layer; reader++) {
        const struct layer_hyper *layer = &hyper->layers[reader];
        if (!(layer->parts & PART_ATTENTION) || layer->kv_layer != i || widest == 0)
            continue;
        widest = layer->window == 0 || layer->window > widest ? layer->window : widest;
    }
    // What a block is made of is there until it is whole; with the block before where they overlap.
    const int32_t made_of =
        far_overlaps(&hyper->layers[i]) ? 2 * hyper->layers[i].ratio : hyper->layers[i].ratio;
    return widest > 0 && made_of > widest ? made_of : widest;
}

// The pool of that window, made if need be. More kinds of windows than pools: they keep everything.
static int32_t pool_of(struct model_plan *plan, int32_t window)
{
    for (int32_t k = 0; k < plan->n_pools; k++)
        if (plan->pools[k].window == window)
            return k;
    if (window > 0 && plan->n_pools >= PLAN_POOLS_MOST - 1)
        return pool_of(plan, 0);
    plan->pools[plan->n_pools] = (struct model_plan_pool){.window = window};
    return plan->n_pools++;
}

// What a layer keeps in one of its caches: a row for so many positions.
struct kind {
    int64_t n_cols; // 0: the layer has none
    int32_t positions;
    bool far;  // in the pool that sees everything, whatever the layer's window
    bool half; // F16 always
};

static struct kind kind_of(const struct hyper *hyper, int32_t i, int32_t cache)
{
    const struct layer_hyper *layer = &hyper->layers[i];
    const bool chosen = layer->parts & PART_CHOSEN;
    switch (cache) {
    case KV_K:
        return (struct kind){kept(hyper, i, 0), 1, false, false};
    case KV_V:
        return (struct kind){kept(hyper, i, 1), 1, false, false};
    case KV_INDEX:
        return (struct kind){hyper_dim(hyper, layer, INDEX_DIM_ACT), 1, false, true};
    case KV_INDEX_KEYS:
        return (struct kind){chosen ? hyper->index_dim : hyper_dim(hyper, layer, INDEX_DIM_ACT),
                             hyper->index_block, chosen, true};
    case KV_FAR:
        return (struct kind){layer->parts & PART_FAR ? layer->head_dim : 0, layer->ratio, true,
                             false};
    case KV_RAW:
    case KV_RAW + 1:
        return (struct kind){hyper_dim(hyper, layer, N_COMPRESS), 1, false, true};
    default:
        return (struct kind){hyper_dim(hyper, layer, N_INDEX_COMPRESS), 1, false, true};
    }
}

static struct tensor *cache_of(const struct kv *kv, int32_t i, int32_t cache)
{
    struct tensor *const all[KV_CACHES] = {kv->k,          kv->v,      kv->index,
                                           kv->index_keys, kv->far,    kv->raw[0],
                                           kv->raw[1],     kv->raw[2], kv->raw[3]};
    return &all[cache][i];
}

static void add_bytes(struct model_plan_pool *pool, const struct compute *compute,
                      const struct kind *kind)
{
    const uint64_t most = compute_info(compute)->largest_buffer_bytes,
                   each = (uint64_t)kind->positions;
    for (int q8_0 = 0; q8_0 < 2; q8_0++) {
        const enum dtype type = q8_0 && !kind->half ? DTYPE_Q8_0 : DTYPE_F16;
        if (kind->n_cols % dtype_block_elements(type) != 0)
            pool->token_bytes[q8_0] = UINT64_MAX;
        if (pool->token_bytes[q8_0] == UINT64_MAX)
            continue;
        const uint64_t row = compute_bytes(compute, USE_CACHE, type, 1, kind->n_cols);
        const uint64_t fit = most / row * each,
                       rows = most && fit < INT32_MAX ? fit : (uint64_t)INT32_MAX;
        pool->token_bytes[q8_0] += (row + each - 1) / each;
        if (pool->rows_most[q8_0] == 0 || rows < pool->rows_most[q8_0])
            pool->rows_most[q8_0] = rows;
    }
}

void kv_count(struct model_plan *plan, const struct compute *compute, const struct hyper *hyper)
{
    plan->n_pools = 0;
    plan->slot_bytes = 0;
    for (int32_t i = 0; i < hyper_layers(hyper); i++) {
        plan->slot_bytes += (uint64_t)(hyper_dim(hyper, &hyper->layers[i], N_CONV_STATE) +
                                       hyper_dim(hyper, &hyper->layers[i], N_STATE) +
                                       hyper_dim(hyper, &hyper->layers[i], N_NGRAM_STATE)) *
                            sizeof(float);
        for (int32_t k = 0; k < KV_CACHES; k++) {
            const struct kind kind = kind_of(hyper, i, k);
            if (kind.n_cols > 0)
                add_bytes(&plan->pools[pool_of(plan, kind.far ? 0 : window_of(hyper, i))], compute,
                          &kind);
        }
    }
    for (int q8_0 = 0; q8_0 < 2; q8_0++) {
        plan->token_bytes[q8_0] = 0;
        for (int32_t k = 0; k < plan->n_pools; k++)
            if (add_overflows(plan->token_bytes[q8_0], plan->pools[k].token_bytes[q8_0],
                              &plan->token_bytes[q8_0]))
                plan->token_bytes[q8_0] = UINT64_MAX;
    }
}

// ---- opening ------------------------------------------------------------------------------------

// One cache of a layer, when the layer has one.
static enum status open_cache(struct kv *kv, struct compute *compute, const struct hyper *hyper,
                              enum dtype type, int32_t i, int32_t cache, struct err *err)
{
    const struct kind kind = kind_of(hyper, i, cache);
    if (kind.n_cols == 0)
        return OK;
    const int32_t pool = kind.far ? kv->far_pool[i] : kv->pool[i];
    const int64_t n_rows = (int64_t)kv->shape.pools[pool].n_pages * PAGE_ROWS / kind.positions;
    type = kind.half ? DTYPE_F16 : type;
    kv->n_bytes += (uint64_t)n_rows * dtype_row_bytes(type, kind.n_cols);
    enum status status =
        compute_cache(compute, cache_of(kv, i, cache), type, n_rows, kind.n_cols, err);
    return status == OK || !err ? status
                                : err_prefix(err, "memory for %lld tokens (lower ctx or parallel)",
                                             (long long)n_rows * kind.positions);
}

// Slots of state, where the layer is recurrent.
static enum status open_state(struct kv *kv, struct compute *compute, const struct hyper *hyper,
                              int32_t i, struct err *err)
{
    struct tensor *tensors[] = {&kv->conv[i], &kv->state[i], &kv->ngram[i]};
    const enum dim dims[] = {N_CONV_STATE, N_STATE, N_NGRAM_STATE};
    enum status status = OK;
    for (size_t k = 0; k < COUNT_OF(dims) && status == OK; k++) {
        const int64_t n_cols = hyper_dim(hyper, &hyper->layers[i], dims[k]);
        if (n_cols == 0)
            continue;
        status = compute_tensor(compute, tensors[k], DTYPE_F32, kv->shape.n_slots, n_cols, err);
        kv->n_bytes += (uint64_t)kv->shape.n_slots * (uint64_t)n_cols * sizeof(float);
    }
    return status;
}

static enum status open_tables(struct kv *kv, struct compute *compute, int32_t n_batch,
                               struct err *err)
{
    enum status status = OK;
    for (int32_t k = 0; k < kv->shape.n_pools && status == OK; k++) {
        status = compute_tensor(compute, &kv->pages[k], DTYPE_I32, kv->shape.n_seq,
                                past_table_pages(kv->past), err);
        if (status == OK)
            status = compute_tensor(compute, &kv->row[k], DTYPE_I32, 1, n_batch, err);
    }
    for (int32_t k = 0; k < FAR_RATIOS && status == OK && kv->whole_pool >= 0; k++) {
        status = compute_tensor(compute, &kv->far_pos[k], DTYPE_I32, 1, n_batch, err);
        if (status == OK)
            status = compute_tensor(compute, &kv->far_row[k], DTYPE_I32, 1, n_batch, err);
    }
    return status;
}

// Where bits of blocks go, and which tokens there were.
static enum status open_index(struct kv *kv, struct compute *compute, const struct hyper *hyper,
                              int32_t n_batch, struct err *err)
{
    if (hyper->ngram.n > 0)
        kv->token =
            mem_array((size_t)kv->shape.n_seq * (size_t)kv->shape.n_ctx, sizeof(*kv->token));
    if (hyper->index_block == 0)
        return OK;
    const int64_t words = (int64_t)past_table_pages(kv->past) * PAGE_ROWS / hyper->index_block / 32;
    return compute_tensor(compute, &kv->chosen, DTYPE_I32, n_batch, words, err);
}

static enum status open_layer(struct kv *kv, struct compute *compute, const struct hyper *hyper,
                              enum dtype type, int32_t i, struct err *err)
{
    enum status status = open_state(kv, compute, hyper, i, err);
    for (int32_t k = 0; k < KV_CACHES && status == OK; k++)
        status = open_cache(kv, compute, hyper, type, i, k, err);
    return status;
}

static enum status shape_of(struct past_shape *out, const struct model_plan *plan, struct err *err)
{
    *out = (struct past_shape){
        .n_seq = plan->n_seq + plan->n_held,
        .n_ctx = plan->n_ctx,
        .n_pools = plan->n_pools,
        .n_slots = plan->n_slots,
        .n_snapshots = plan->n_held == 0 ? 0
                       : plan->n_slots   ? plan->n_slots
                                         : PAST_SNAPSHOTS_MOST,
    };
    for (int32_t k = 0; k < plan->n_pools; k++) {
        const int64_t n = plan_pages(plan, k, plan->n_ctx, plan->n_seq);
        if (n * PAGE_ROWS > INT32_MAX)
            return err_set(err, TOO_LARGE,
                           "%d sequences of %d tokens: memory for more than %d tokens", plan->n_seq,
                           plan->n_ctx, INT32_MAX);
        out->pools[k].n_pages = (int32_t)n;
        out->pools[k].window = plan->pools[k].window < plan->n_ctx ? plan->pools[k].window : 0;
    }
    return OK;
}

enum status kv_open(struct kv *out, struct compute *compute, const struct hyper *hyper,
                    const struct model_plan *plan, int32_t n_batch, struct err *err)
{
    const enum dtype type = plan->kv_q8_0 ? DTYPE_Q8_0 : DTYPE_F16;
    const size_t n_layer = (size_t)hyper_layers(hyper);
    struct model_plan same = *plan; // pool_of finds what is there
    struct past_shape shape;
    enum status status = shape_of(&shape, plan, err);
    if (status != OK)
        return status;
    struct kv kv = {
        .shape = shape,
        .conv = mem_array(n_layer, sizeof(*kv.conv)),
        .state = mem_array(n_layer, sizeof(*kv.state)),
        .ngram = mem_array(n_layer, sizeof(*kv.ngram)),
        .index = mem_array(n_layer, sizeof(*kv.index)),
        .index_keys = mem_array(n_layer, sizeof(*kv.index_keys)),
        .k = mem_array(n_layer, sizeof(*kv.k)),
        .v = mem_array(n_layer, sizeof(*kv.v)),
        .far = mem_array(n_layer, sizeof(*kv.far)),
        .whole_pool = hyper_most(hyper, FAR_RATIO) > 0 ? pool_of(&same, 0) : -1,
        .pool = mem_array(n_layer, sizeof(*kv.pool)),
        .far_pool = mem_array(n_layer, sizeof(*kv.far_pool)),
        .n_rows = mem_array((size_t)shape.n_seq, sizeof(*kv.n_rows)),
        .n_layer = hyper_layers(hyper),
    };
    for (size_t k = 0; k < COUNT_OF(kv.raw); k++)
        kv.raw[k] = mem_array(n_layer, sizeof(*kv.raw[k]));
    past_open(&kv.past, &shape);
    status = open_tables(&kv, compute, n_batch, err);
    if (status == OK)
        status = open_index(&kv, compute, hyper, n_batch, err);
    for (int32_t i = 0; i < kv.n_layer && status == OK; i++) {
        if (kept(hyper, i, 0) > 0)
            kv.pool[i] = pool_of(&same, window_of(hyper, i));
        kv.far_pool[i] = hyper->layers[i].parts & PART_FAR ? kv.whole_pool : kv.pool[i];
        status = open_layer(&kv, compute, hyper, type, i, err);
    }
    if (status != OK)
        kv_close(&kv, compute);
    else
        *out = kv;
    return status;
}

void kv_close(struct kv *kv, struct compute *compute)
{
    struct tensor *const of_layers[] = {kv->k,      kv->v,      kv->conv,       kv->state,
                                        kv->ngram,  kv->index,  kv->index_keys, kv->far,
                                        kv->raw[0], kv->raw[1], kv->raw[2],     kv->raw[3]};
    for (size_t n = 0; n < COUNT_OF(of_layers); n++)
        for (int32_t i = 0; i < kv->n_layer; i++)
            if (of_layers[n][i].buffer)
                tensor_free(compute, &of_layers[n][i]);
    if (kv->chosen.buffer)
        tensor_free(compute, &kv->chosen);
    for (int32_t k = 0; k < PAST_POOLS_MOST; k++) {
        if (kv->pages[k].buffer)
            tensor_free(compute, &kv->pages[k]);
        if (kv->row[k].buffer)
            tensor_free(compute, &kv->row[k]);
    }
    for (int32_t k = 0; k < FAR_RATIOS; k++) {
        if (kv->far_pos[k].buffer)
            tensor_free(compute, &kv->far_pos[k]);
        if (kv->far_row[k].buffer)
            tensor_free(compute, &kv->far_row[k]);
    }
    past_close(kv->past);
    for (size_t n = 0; n < COUNT_OF(of_layers); n++)
        free(of_layers[n]);
    free(kv->token);
    free(kv->pool);
    free(kv->far_pool);
    free(kv->n_rows);
    *kv = (struct kv){0};
}

// ---- the pass -----------------------------------------------------------------------------------

// Where a sequence stands that goes on at pos. What was drafted behind it stays when nothing of it
// is cut: its pages are not given back.
static int32_t go_on(struct kv *kv, int32_t seq, int32_t pos)
{
    if (past_held(kv->past, seq) == pos && past_drafted(kv->past, seq) > pos)
        return pos;
    return past_cut(kv->past, seq, pos);
}

// The sequences of rows start .. start + n - 1 stand where these begin, with room for all of them.
static enum status make_room(struct kv *kv, const struct batch *b, int32_t start, int32_t n,
                             struct err *err)
{
    enum status status = OK;
    for (int32_t t = start; t < start + n; t++) {
        const int32_t seq = b->seq[t],
                      stands = kv->n_rows[seq]++ ? b->pos[t] : go_on(kv, seq, b->pos[t]);
        if (stands != b->pos[t])
            status = err_set(err, BAD_INPUT,
                             "position %d of sequence %d, which cannot go back there, only to %d",
                             b->pos[t], seq, stands);
    }
    for (int32_t t = start; t < start + n; t++) {
        const int32_t seq = b->seq[t], n_rows = kv->n_rows[seq];
        kv->n_rows[seq] = 0;
        if (n_rows > 0 && status == OK && past_reserve(kv->past, seq, n_rows) != OK)
            status =
                err_set(err, NO_ROOM, "memory is short for %d more tokens behind %d of sequence %d",
                        n_rows, b->pos[t], seq);
    }
    return status;
}

static void write_tables(struct kv *kv, struct compute *compute, const struct batch *b,
                         int32_t start, int32_t n)
{
    const size_t n_bytes = (size_t)past_table_pages(kv->past) * sizeof(int32_t);
    for (int32_t t = start; t < start + n; t++)
        for (int32_t k = 0; k < kv->shape.n_pools; k++) {
            bool changed;
            const int32_t *table = past_table(kv->past, k, b->seq[t], &changed);
            struct tensor row = tensor_rows(&kv->pages[k], b->seq[t], 1);
            if (changed)
                tensor_write(compute, &row, table, n_bytes);
        }
}

int32_t kv_caches(const struct kv *kv, int32_t i, int32_t pool, const struct tensor *out[KV_CACHES])
{
    int32_t n = 0;
    for (int32_t c = 0; c < KV_CACHES; c++) {
        const struct tensor *cache = cache_of(kv, i, c);
        const bool far = c == KV_FAR || c == KV_INDEX_KEYS;
        if (cache->buffer && pool == (far ? kv->far_pool[i] : kv->pool[i]))
            out[n++] = cache;
    }
    return n;
}

int32_t kv_positions(const struct kv *kv, int32_t pool, const struct tensor *cache)
{
    return (int32_t)(kv->shape.pools[pool].n_pages * (int64_t)PAGE_ROWS / cache->n_rows);
}

static void copy_page(const struct kv *kv, struct compute *compute, const struct past_copy *copy)
{
    for (int32_t i = 0; i < kv->n_layer; i++) {
        const struct tensor *caches[KV_CACHES];
        const int32_t n_caches = kv_caches(kv, i, copy->pool, caches);
        for (int32_t c = 0; c < n_caches; c++) {
            const int64_t page = PAGE_ROWS / kv_positions(kv, copy->pool, caches[c]),
                          step = page < KV_ROWS_STEP ? page : KV_ROWS_STEP,
                          n = ((copy->n_rows * page + PAGE_ROWS - 1) / PAGE_ROWS + step - 1) /
                              step * step;
            const struct tensor to = tensor_rows(caches[c], copy->to * page, n),
                                from = tensor_rows(caches[c], copy->from * page, n);
            op_copy(compute, &to, &from);
        }
    }
}

enum status kv_copies(struct kv *kv, struct compute *compute, struct err *err)
{
    struct past_copy copy;
    if (!past_take_copy(kv->past, &copy))
        return OK;
    if (compute_begin(compute, 0))
        do
            copy_page(kv, compute, &copy);
        while (past_take_copy(kv->past, &copy));
    return compute_finish(compute, err);
}

// Which slot stands before each row, and which is written behind it.
static enum status place_states(struct kv *kv, const struct batch *b, int32_t start, int32_t n,
                                struct kv_inputs *inputs, struct err *err)
{
    for (int32_t begin = 0, end; begin < n; begin = end) {
        const int32_t seq = b->seq[start + begin];
        for (end = begin + 1; end < n && b->seq[start + end] == seq;)
            end++;
        const bool keeps = b->keeps_rows && end - begin <= FEW_ROWS;
        if (keeps && past_keep_rows(kv->past, seq, end - begin) != OK)
            return err_set(err, NO_ROOM, "no room for the states of %d rows of sequence %d",
                           end - begin, seq);
        for (int32_t t = begin; t < end; t++) {
            inputs->slot_in[t] = b->pos[start + t] == 0 ? SLOT_ZERO
                                 : t == begin           ? past_slot(kv->past, seq)
                                                        : SLOT_GOES_ON;
            inputs->slot_out[t] = t == end - 1 ? past_next_slot(kv->past, seq)
                                  : keeps      ? past_row_slot(kv->past, seq, t - begin)
                                               : SLOT_NONE;
        }
    }
    return OK;
}

// Where the row goes that a token makes as the last of its block, and the position it stands for:
// the block's first.
static void place_far(struct kv *kv, struct compute *compute, const struct batch *b, int32_t start,
                      int32_t n, int32_t *scratch)
{
    for (int32_t k = 0; k < FAR_RATIOS; k++) {
        const int32_t ratio = far_ratios[k];
        struct tensor to_row = kv->far_row[k], to_pos = kv->far_pos[k];
        to_row.n_cols = to_pos.n_cols = n;
        for (int32_t t = 0; t < n; t++)
            scratch[t] = b->pos[start + t] / ratio * ratio;
        tensor_write(compute, &to_pos, scratch, (size_t)n * sizeof(*scratch));
        for (int32_t t = 0; t < n; t++)
            scratch[t] =
                (b->pos[start + t] + 1) % ratio != 0
                    ? -1
                    : past_row(kv->past, kv->whole_pool, b->seq[start + t], b->pos[start + t]) /
                          ratio;
        tensor_write(compute, &to_row, scratch, (size_t)n * sizeof(*scratch));
    }
}

enum status kv_enter(struct kv *kv, struct compute *compute, const struct batch *b, int32_t start,
                     int32_t n, struct kv_inputs *inputs, struct err *err)
{
    enum status status = make_room(kv, b, start, n, err);
    if (status == OK)
        status = kv_copies(kv, compute, err);
    if (status != OK)
        return status;
    write_tables(kv, compute, b, start, n);
    for (int32_t k = 0; k < kv->shape.n_pools; k++) {
        struct tensor to = kv->row[k];
        for (int32_t t = 0; t < n; t++)
            inputs->row[t] = past_row(kv->past, k, b->seq[start + t], b->pos[start + t]);
        to.n_cols = n;
        tensor_write(compute, &to, inputs->row, (size_t)n * sizeof(*inputs->row));
    }
    if (kv->whole_pool >= 0)
        place_far(kv, compute, b, start, n, inputs->row);
    if (kv->shape.n_slots > 0)
        status = place_states(kv, b, start, n, inputs, err);
    for (int32_t t = start; t < start + n && status == OK; t++) {
        past_append(kv->past, b->seq[t], 1);
        if (kv->token)
            kv->token[(size_t)b->seq[t] * (size_t)kv->shape.n_ctx + (size_t)b->pos[t]] =
                b->token[t];
    }
    return status;
}

// Room for rows that the trunk has not computed yet; no row that other sequences read.
static enum status draft_room(struct kv *kv, int32_t pool, const struct batch *b, struct err *err)
{
    for (int32_t t = 0; t < b->n_tokens; t++) {
        const int32_t seq = b->seq[t], n_more = b->pos[t] + 1 - past_held(kv->past, seq);
        if (n_more > 0 && past_reserve(kv->past, seq, n_more) != OK)
            return err_set(err, NO_ROOM,
                           "memory is short for position %d of sequence %d, which is drafted",
                           b->pos[t], seq);
    }
    for (int32_t t = 0; t < b->n_tokens; t++)
        if (!past_may_write(kv->past, pool, b->seq[t], b->pos[t]))
            return err_set(err, BAD_INPUT,
                           "position %d of sequence %d is other sequences' too: it cannot be "
                           "drafted again",
                           b->pos[t], b->seq[t]);
    return OK;
}

enum status kv_draft(struct kv *kv, struct compute *compute, const struct batch *b, int32_t *row,
                     struct err *err)
{
    const int32_t n = b->n_tokens, pool = kv->pool[kv->n_layer - 1];
    struct tensor to = kv->row[pool];
    enum status status = draft_room(kv, pool, b, err);
    if (status == OK)
        status = kv_copies(kv, compute, err);
    if (status != OK)
        return status;
    write_tables(kv, compute, b, 0, n);
    for (int32_t t = 0; t < n; t++) {
        row[t] = past_row(kv->past, pool, b->seq[t], b->pos[t]);
        past_draft(kv->past, b->seq[t], b->pos[t] + 1);
    }
    to.n_cols = n;
    tensor_write(compute, &to, row, (size_t)n * sizeof(*row));
    return OK;
}
