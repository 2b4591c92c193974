// upload.c - weights from a mapped file into device memory, converted on the way, by several
// readers.
//
// The file's pages are wanted once: a reader asks the kernel for a chunk of them at a time,
// converts it in a small buffer of its own (the device's memory may be uncached for the host: it is
// written once, in order, and never read) and lets the pages go before it takes the next chunk. So
// no second copy of the weights stays in this process, whatever their size.
#include "core.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    READERS_MOST = 8,
    CHUNK_BYTES = 2 << 20, // of the file
    PACK_BYTES = 128 << 10 // converted at a time: stays in the second-level cache
};

struct load { // rows of one tensor, or as many of them as fit into staging
    enum dtype type;
    int64_t n_cols, n_rows, rows_per_chunk, rows_per_pack;
    const uint8_t *from; // the file's rows
    size_t from_row;
    uint8_t *to; // the device's rows
    size_t to_row;
    bool from_file; // its pages may be let go: they come back from the file
    _Atomic int64_t next_row;
    _Atomic int failed; // errno of a chunk that could not be read
};

static uintptr_t page_of(const void *p, uintptr_t page)
{
    return (uintptr_t)p / page * page;
}

// Whether `p` lies in a mapping of a file: letting go of any other memory would destroy it.
static bool in_mapped_file(const uint8_t *p)
{
    struct buf maps;
    bool found = false;
    if (file_read(&maps, "/proc/self/maps", 8 << 20, NULL) != OK)
        return false;
    if (buf_add(&maps, "", 1) == OK) // lines: "first-end rwxp offset dev inode path"
        for (char *line = (char *)maps.p, *end; line && *line && !found;
             line = end ? end + 1 : NULL) {
            char *at;
            end = strchr(line, '\n');
            uintptr_t first = strtoull(line, &at, 16), last = strtoull(at + 1, &at, 16);
            if ((uintptr_t)p < first || (uintptr_t)p >= last)
                continue;
            for (int field = 0; field < 3 && at; field++)
                at = strchr(at + 1, ' ');
            found = at && strtoull(at, NULL, 10) != 0;
            break;
        }
    buf_free(&maps);
    return found;
}

// Whole pages of the chunk. Neighbouring chunks share a page at most, and it is read again then.
static void let_go(const uint8_t *p, size_t n_bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = page_of(p, page),
              end = page_of(p + n_bytes + page - 1, page);
#ifdef MADV_COLD
    (void)madvise((void *)first, end - first, MADV_COLD); // the page cache may drop them first
#endif
    (void)madvise((void *)first, end - first, MADV_DONTNEED);
}

// Has the chunk read in large pieces and maps its pages in one call. An unreadable disk is then an
// error here, and not a signal later.
static bool fetch(const uint8_t *p, size_t n_bytes)
{
    enum { POPULATE_READ = 22 }; // MADV_POPULATE_READ, Linux 5.14; older ones answer EINVAL
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = page_of(p, page),
              end = page_of(p + n_bytes + page - 1, page);
    (void)madvise((void *)first, end - first, MADV_WILLNEED);
    return madvise((void *)first, end - first, POPULATE_READ) == 0 || errno == EINVAL ||
           errno == ENOMEM;
}

static void pack_chunk(const struct load *load, int64_t row0, int64_t n_rows, uint8_t *packed)
{
    for (int64_t i = 0; i < n_rows; i += load->rows_per_pack) {
        int64_t n = n_rows - i < load->rows_per_pack ? n_rows - i : load->rows_per_pack;
        layout_pack(load->type, packed, load->from + (size_t)(row0 + i) * load->from_row, n,
                    load->n_cols);
        memcpy(load->to + (size_t)(row0 + i) * load->to_row, packed, (size_t)n * load->to_row);
    }
}

static void *reader(void *arg)
{
    struct load *load = arg;
    uint8_t *packed = mem_alloc((size_t)load->rows_per_pack * load->to_row);
    while (!atomic_load(&load->failed)) {
        int64_t row0 = atomic_fetch_add(&load->next_row, load->rows_per_chunk),
                n = load->n_rows - row0;
        if (n <= 0)
            break;
        n = n < load->rows_per_chunk ? n : load->rows_per_chunk;
        const uint8_t *from = load->from + (size_t)row0 * load->from_row;
        if (!fetch(from, (size_t)n * load->from_row)) {
            atomic_store(&load->failed, errno ? errno : EIO);
            break;
        }
        pack_chunk(load, row0, n, packed);
        if (load->from_file)
            let_go(from, (size_t)n * load->from_row);
    }
    free(packed);
    return NULL;
}

static int readers_wanted(const struct load *load)
{
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 2;
    int64_t chunks = (load->n_rows + load->rows_per_chunk - 1) / load->rows_per_chunk;
    int n = cores < 2 ? 2 : cores > READERS_MOST ? READERS_MOST : cores;
    return chunks < n ? (int)chunks : n;
}

static enum status load_rows(struct load *load, struct err *err)
{
    pthread_t threads[READERS_MOST];
    int n_threads = 0, wanted = readers_wanted(load);
    for (; n_threads < wanted - 1; n_threads++)
        if (pthread_create(&threads[n_threads], NULL, reader, load) != 0)
            break; // fewer then
    reader(load);
    for (int i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    int failed = atomic_load(&load->failed);
    return failed ? err_set(err, IO_ERROR, "the weights cannot be read from the file: %s",
                            strerror(failed))
                  : OK;
}

static int64_t rows_in(size_t n_bytes, size_t row_bytes)
{
    return row_bytes < n_bytes ? (int64_t)(n_bytes / row_bytes) : 1;
}

// to_at: where in the buffer the first row goes.
static enum status load_staged(struct vulkan *vk, struct buffer *to, uint64_t to_at,
                               struct load *load, struct err *err)
{
    int64_t n_rows = load->n_rows, most = rows_in(STAGING_BYTES, load->to_row);
    enum status status = memory_staging(vk, err);
    if (status == OK && load->to_row > STAGING_BYTES)
        status = err_set(err, TOO_LARGE, "a row of %zu bytes", load->to_row);
    for (int64_t row = 0; row < n_rows && status == OK; row += most) {
        load->n_rows = n_rows - row < most ? n_rows - row : most;
        load->to = buffer_map(vk->memory.staging);
        atomic_store(&load->next_row, 0);
        status = load_rows(load, err);
        if (status == OK)
            status = vk_copy_now(vk, to, to_at + (uint64_t)row * load->to_row, vk->memory.staging,
                                 0, (uint64_t)load->n_rows * load->to_row, err);
        load->from += (size_t)load->n_rows * load->from_row;
    }
    return status;
}

// Rows of weights in one buffer, converted by several threads.
static enum status load_part(struct compute *compute, const struct tensor *weight, int64_t row0,
                             int64_t n_rows, const uint8_t *data, struct err *err)
{
    struct vulkan *vk = vk_of(compute);
    uint8_t *map = buffer_map(weight->buffer);
    uint64_t to_at = weight->offset + (uint64_t)row0 * weight->row_bytes;
    struct load load = {
        .type = weight->type,
        .n_cols = weight->n_cols,
        .n_rows = n_rows,
        .from_row = dtype_row_bytes(weight->type, weight->n_cols),
        .to = map ? map + to_at : NULL,
        .to_row = weight->row_bytes,
        .from_file = in_mapped_file(data),
    };
    load.from = data + (size_t)row0 * load.from_row;
    load.rows_per_chunk = rows_in(CHUNK_BYTES, load.from_row);
    load.rows_per_pack = rows_in(PACK_BYTES, load.to_row);
    if (load.rows_per_pack > load.rows_per_chunk)
        load.rows_per_pack = load.rows_per_chunk;
    return load.to ? load_rows(&load, err) : load_staged(vk, weight->buffer, to_at, &load, err);
}

enum status vk_load_rows(struct compute *compute, const struct tensor *weight, int64_t row0,
                         int64_t n_rows, const void *data, struct err *err)
{
    const size_t from_row = dtype_row_bytes(weight->type, weight->n_cols);
    enum status status = OK;
    for (int64_t i = 0; i < vk_n_parts(weight) && status == OK; i++) {
        int64_t part0;
        const struct tensor part = vk_part(weight, i, &part0);
        const int64_t first = row0 > part0 ? row0 : part0, end = row0 + n_rows < part0 + part.n_rows
                                                                     ? row0 + n_rows
                                                                     : part0 + part.n_rows;
        if (first < end)
            status = load_part(compute, &part, first - part0, end - first,
                               (const uint8_t *)data + (size_t)part0 * from_row, err);
    }
    return status;
}
