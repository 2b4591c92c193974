// save.c - what a sequence holds, in a file: written whole or not at all, read by the same model on
// the same kind of device.
//
// Numbers are little-endian, as on the machines this runs on:
//
//      0   8  "TAWNYSEQ"
//      8   4  version of this format: 1
//     12   4  n, positions that the sequence holds
//     16   8  the model: a hash of its tensors' names, shapes, types and of some of their bytes
//     24  16  the device's backend, whose layout of rows this is; zeros behind it
//     40   4  type of keys and values (enum dtype)
//     44   4  bytes of one state of all recurrent layers
//     48   8  bytes of the rows and states behind the tokens
//     56   8  hash of the tokens and of these
//     64 4 n  the tokens
//             of each layer of the trunk, in order: its rows of keys, its rows of values, from the
//             first that position n sees to n - 1, page by page, in whole blocks of 16 rows
//             (others: zeros); then its two states
//
// What is read is believed only when everything in the head is as this model would write it and the
// hash is right; the sequence is empty otherwise.
#include "arch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERSION = 1, SAMPLES = 16 };

struct saved_head {
    char magic[8];
    uint32_t version, n;
    uint64_t model;
    char backend[16];
    uint32_t type, state_bytes;
    uint64_t n_bytes, hash;
};
_Static_assert(sizeof(struct saved_head) == 64, "the head's bytes are those of the file");

struct transfer { // of a file's bytes, in order
    struct model *m;
    int fd;
    bool reads;
    const char *path;
    struct tensor staging; // F32 [1][...]: the largest piece
    uint8_t *piece;        // the same, here
    uint64_t hash, n_bytes;
};

// Eight bytes at a time (FNV's constants); the last ones padded with zeros.
static uint64_t hash_on(uint64_t hash, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word = 0;
        memcpy(&word, (const uint8_t *)p + i, n - i < 8 ? n - i : 8);
        hash = (hash ^ word) * 1099511628211ull;
        hash ^= hash >> 29;
    }
    return hash;
}

// Of tensors and of a few bytes of each: two trainings of one architecture differ in these.
static uint64_t model_hash(const struct gguf *gguf)
{
    uint64_t hash = 14695981039346656037ull;
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

// ---- bytes --------------------------------------------------------------------------------------

static enum status failed(const struct transfer *t, struct err *err)
{
    return err_set(err, IO_ERROR, "%s cannot be %s: %s", t->path, t->reads ? "read" : "written",
                   strerror(errno));
}

static enum status move(struct transfer *t, void *p, size_t n, struct err *err)
{
    for (size_t done = 0; done < n;) {
        const ssize_t one = t->reads ? read(t->fd, (uint8_t *)p + done, n - done)
                                     : write(t->fd, (uint8_t *)p + done, n - done);
        if (one < 0 && errno == EINTR)
            continue;
        if (one < 0)
            return failed(t, err);
        if (one == 0)
            return err_set(err, BAD_INPUT, "%s ends too early", t->path);
        done += (size_t)one;
    }
    return OK;
}

// Whole rows, a multiple of 16 bytes: to the file, or from it. What is before and behind the bytes
// first .. end - 1 of them is of others and not written.
static enum status move_rows(struct transfer *t, const struct tensor *rows, size_t first,
                             size_t end, struct err *err)
{
    struct compute *compute = t->m->compute;
    const size_t n_bytes = rows->row_bytes * (size_t)rows->n_rows;
    struct tensor staging = t->staging;
    staging.n_cols = (int64_t)(n_bytes / sizeof(float));
    staging.row_bytes = n_bytes;
    if (n_bytes % 16 != 0)
        return err_set(err, UNSUPPORTED, "states of %zu bytes cannot be written", n_bytes);
    enum status status = OK;
    if (t->reads) {
        status = move(t, t->piece, n_bytes, err);
        if (status == OK)
            tensor_write(compute, &staging, t->piece, n_bytes);
    }
    if (status == OK && compute_begin(compute, 0))
        op_copy(compute, t->reads ? rows : &staging, t->reads ? &staging : rows);
    if (status == OK)
        status = compute_finish(compute, err);
    if (status == OK && !t->reads) {
        tensor_read(compute, t->piece, &staging, n_bytes);
        memset(t->piece, 0, first);
        memset(t->piece + end, 0, n_bytes - end);
        status = move(t, t->piece, n_bytes, err);
    }
    t->hash = hash_on(t->hash, t->piece, n_bytes);
    t->n_bytes += n_bytes;
    return status;
}

// What position n of a sequence sees of one cache, page by page.
static enum status move_cache(struct transfer *t, const struct tensor *cache, int32_t pool,
                              int32_t seq, int32_t n, struct err *err)
{
    const struct kv *kv = &t->m->kv;
    const int32_t window = kv->shape.pools[pool].window;
    enum status status = OK;
    for (int32_t pos = window > 0 && n >= window ? n + 1 - window : 0, end; pos < n && status == OK;
         pos = end) {
        end = (pos / PAGE_ROWS + 1) * PAGE_ROWS < n ? (pos / PAGE_ROWS + 1) * PAGE_ROWS : n;
        const int32_t row = past_row(kv->past, pool, seq, pos), from = row / 16 * 16,
                      to = (row + end - pos + 15) / 16 * 16;
        const struct tensor rows = tensor_rows(cache, from, to - from);
        status = move_rows(t, &rows, (size_t)(row - from) * rows.row_bytes,
                           (size_t)(row - from + end - pos) * rows.row_bytes, err);
    }
    return status;
}

static enum status move_state(struct transfer *t, const struct tensor *state, int32_t slot,
                              struct err *err)
{
    const struct tensor row = tensor_rows(state, slot, 1);
    return move_rows(t, &row, 0, row.row_bytes, err);
}

static enum status move_layers(struct transfer *t, int32_t seq, int32_t n, struct err *err)
{
    const struct kv *kv = &t->m->kv;
    const int32_t slot = past_slot(kv->past, seq);
    enum status status = kv_copies(&t->m->kv, t->m->compute, err);
    for (int32_t i = 0; i < t->m->hyper.n_layer && status == OK; i++) { // the trunk's
        const struct tensor *const caches[] = {&kv->k[i], &kv->v[i]}, *const states[] = {
                                                                          &kv->conv[i],
                                                                          &kv->state[i]};
        for (size_t k = 0; k < COUNT_OF(caches) && status == OK; k++)
            if (caches[k]->buffer)
                status = move_cache(t, caches[k], kv->pool[i], seq, n, err);
        for (size_t k = 0; k < COUNT_OF(states) && status == OK; k++)
            if (states[k]->buffer)
                status = move_state(t, states[k], slot, err);
    }
    return status;
}

static size_t largest_piece(const struct kv *kv)
{
    size_t most = 16;
    for (int32_t i = 0; i < kv->n_layer; i++) {
        const struct tensor *const tensors[] = {&kv->k[i], &kv->v[i], &kv->conv[i], &kv->state[i]};
        for (size_t k = 0; k < COUNT_OF(tensors); k++) {
            const size_t n = tensors[k]->row_bytes * (k < 2 ? PAGE_ROWS : 1);
            most = tensors[k]->buffer && n > most ? n : most;
        }
    }
    return most;
}

static enum status transfer_open(struct transfer *t, struct model *m, const char *path, bool reads,
                                 struct err *err)
{
    const size_t most = largest_piece(&m->kv);
    *t = (struct transfer){.m = m, .fd = -1, .path = path, .reads = reads};
    enum status status =
        compute_tensor(m->compute, &t->staging, DTYPE_F32, 1, (int64_t)(most / sizeof(float)), err);
    if (status != OK)
        return status;
    t->piece = mem_alloc(most);
    t->fd = reads ? open(path, O_RDONLY | O_CLOEXEC)
                  : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return t->fd < 0 ? failed(t, err) : OK;
}

static void transfer_close(struct transfer *t)
{
    if (t->fd >= 0)
        close(t->fd);
    if (t->staging.buffer)
        tensor_free(t->m->compute, &t->staging);
    free(t->piece);
}

// ---- heads --------------------------------------------------------------------------------------

static struct saved_head head_of(const struct model *m, int32_t n)
{
    struct saved_head head = {.magic = {'T', 'A', 'W', 'N', 'Y', 'S', 'E', 'Q'},
                              .version = VERSION,
                              .n = (uint32_t)n,
                              .model = model_hash(m->gguf),
                              .type = m->info.plan.kv_q8_0 ? DTYPE_Q8_0 : DTYPE_F16,
                              .state_bytes = (uint32_t)m->info.plan.slot_bytes};
    snprintf(head.backend, sizeof(head.backend), "%s", compute_info(m->compute)->backend);
    return head;
}

static enum status check_head(const struct model *m, const struct saved_head *head,
                              const char *path, struct err *err)
{
    const struct saved_head want = head_of(m, 0);
    if (memcmp(head->magic, want.magic, sizeof(want.magic)) != 0)
        return err_set(err, BAD_INPUT, "%s holds no sequence: it does not begin with TAWNYSEQ",
                       path);
    if (head->version != VERSION)
        return err_set(err, UNSUPPORTED, "%s is of version %u of its format; this build reads %d",
                       path, (unsigned)head->version, VERSION);
    if (head->model != want.model)
        return err_set(err, BAD_INPUT, "%s was written by another model than %s", path, m->info.id);
    if (memcmp(head->backend, want.backend, sizeof(want.backend)) != 0)
        return err_set(err, BAD_INPUT, "%s was written on '%.16s'; here '%s' computes", path,
                       head->backend, want.backend);
    if (head->type != want.type)
        return err_set(err, BAD_INPUT, "%s has keys and values in %s; kv-type is %s here", path,
                       head->type == DTYPE_Q8_0 ? "q8_0" : "f16",
                       want.type == DTYPE_Q8_0 ? "q8_0" : "f16");
    if (head->state_bytes != want.state_bytes || head->n < 1)
        return err_set(err, BAD_INPUT, "%s: its head is damaged", path);
    if (head->n > (uint32_t)m->hyper.n_ctx)
        return err_set(err, TOO_LARGE, "%s holds %u tokens; the context has %d here", path,
                       (unsigned)head->n, m->hyper.n_ctx);
    return OK;
}

// ---- writing and reading ------------------------------------------------------------------------

static enum status save(struct transfer *t, int32_t seq, const int32_t *token, struct err *err)
{
    const int32_t n = past_held(t->m->kv.past, seq);
    struct saved_head head = head_of(t->m, n);
    const size_t token_bytes = (size_t)n * sizeof(*token);
    int32_t *tokens = mem_array((size_t)n, sizeof(*tokens)); // move() may read
    memcpy(tokens, token, token_bytes);
    t->hash = hash_on(head.model, token, token_bytes);
    enum status status = move(t, &head, sizeof(head), err);
    if (status == OK)
        status = move(t, tokens, token_bytes, err);
    free(tokens);
    if (status == OK)
        status = move_layers(t, seq, n, err);
    head.n_bytes = t->n_bytes;
    head.hash = t->hash;
    if (status == OK && lseek(t->fd, 0, SEEK_SET) != 0)
        status = failed(t, err);
    if (status == OK)
        status = move(t, &head, sizeof(head), err);
    if (status == OK && fsync(t->fd) != 0)
        status = failed(t, err);
    return status;
}

enum status model_save(struct model *model, int32_t seq, const int32_t *token, const char *path,
                       struct err *err)
{
    struct transfer t;
    char beside[4096];
    if (past_held(model->kv.past, seq) == 0)
        return err_set(err, BAD_INPUT, "sequence %d holds nothing to be written", seq);
    if ((size_t)snprintf(beside, sizeof(beside), "%s.part", path) >= sizeof(beside))
        return err_set(err, BAD_INPUT, "a path of more than %zu bytes", sizeof(beside) - 6);
    enum status status = transfer_open(&t, model, beside, false, err);
    if (status == OK)
        status = save(&t, seq, token, err);
    if (status == OK && rename(beside, path) != 0)
        status = failed(&t, err);
    if (status != OK && t.fd >= 0)
        unlink(beside);
    transfer_close(&t);
    return status;
}

static enum status restore(struct transfer *t, int32_t seq, int32_t **token, struct err *err)
{
    struct saved_head head;
    enum status status = move(t, &head, sizeof(head), err);
    if (status == OK)
        status = check_head(t->m, &head, t->path, err);
    if (status != OK)
        return status;
    const int32_t n = (int32_t)head.n;
    const size_t token_bytes = (size_t)n * sizeof(**token);
    *token = mem_array((size_t)n, sizeof(**token));
    status = move(t, *token, token_bytes, err);
    if (status == OK && past_place(t->m->kv.past, seq, n) != OK)
        status = err_set(err, NO_ROOM, "memory is short for the %d tokens of %s", n, t->path);
    if (status != OK)
        return status;
    t->hash = hash_on(head.model, *token, token_bytes);
    status = move_layers(t, seq, n, err);
    uint8_t more;
    if (status == OK &&
        (t->n_bytes != head.n_bytes || t->hash != head.hash || read(t->fd, &more, 1) != 0))
        status =
            err_set(err, BAD_INPUT, "%s is damaged: its hash is not that of its contents", t->path);
    return status;
}

enum status model_restore(struct model *model, int32_t seq, int32_t **token, const char *path,
                          struct err *err)
{
    struct transfer t;
    int32_t *tokens = NULL;
    (void)past_cut(model->kv.past, seq, 0);
    enum status status = transfer_open(&t, model, path, true, err);
    if (status == OK)
        status = restore(&t, seq, &tokens, err);
    transfer_close(&t);
    if (status == OK) {
        *token = tokens;
        return OK;
    }
    (void)past_cut(model->kv.past, seq, 0);
    free(tokens);
    return status;
}
