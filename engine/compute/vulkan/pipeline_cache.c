// pipeline_cache.c - compiled kernels kept on disk between starts: what the driver gives back as
// the data of its VkPipelineCache, behind a header of ours.
//
//   0   8  "TAWNYVKC"
//   8  16  pipelineCacheUUID of the driver
//   24  4  driver version
//   28  4  version of this header: 1
//   32  8  hash of all kernels' SPIR-V
//   40  8  bytes that follow the header
//   48  8  hash of these (FNV-1a)
//
// Little-endian. Drivers trust such data far more than they should, so a file that is not exactly
// what we wrote for this driver and these kernels is left alone, and said in one line; the next
// save replaces it, atomically.
#include "base/confine.h"
#include "core.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES = 56, FILE_MOST = 64 << 20 };

static uint64_t hash_of(const uint8_t *p, size_t n)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * 0x100000001b3;
    return hash;
}

static void header_fill(const struct vulkan *vk, uint8_t header[HEADER_BYTES], const uint8_t *data,
                        uint64_t n)
{
    const uint32_t version = 1;
    const uint64_t hash = hash_of(data, n);
    memcpy(header, "TAWNYVKC", 8);
    memcpy(header + 8, vk->chosen.cache_uuid, 16);
    memcpy(header + 24, &vk->chosen.driver_version, 4);
    memcpy(header + 28, &version, 4);
    memcpy(header + 32, &vk->pipelines.kernels, 8);
    memcpy(header + 40, &n, 8);
    memcpy(header + 48, &hash, 8);
}

static const char *what_is_wrong(const struct vulkan *vk, struct bytes file)
{
    uint8_t wanted[HEADER_BYTES];
    if (file.n < HEADER_BYTES || memcmp(file.p, "TAWNYVKC", 8) != 0)
        return "it is not one of ours";
    header_fill(vk, wanted, file.p + HEADER_BYTES, file.n - HEADER_BYTES);
    if (memcmp(file.p + 8, wanted + 8, 24) != 0)
        return "it was made by another driver";
    if (memcmp(file.p + 32, wanted + 32, 8) != 0)
        return "it was made of other kernels";
    if (memcmp(file.p + 40, wanted + 40, 16) != 0)
        return "it is damaged";
    return NULL;
}

VkPipelineCache cache_load(struct vulkan *vk)
{
    struct err err;
    struct buf file;
    struct bytes data = {NULL, 0};
    bool there = false;
    if (vk->pipelines.path[0]) {
        enum status status = file_read(&file, vk->pipelines.path, FILE_MOST, &err);
        there = status == OK;
        const char *wrong = there ? what_is_wrong(vk, buf_view(&file)) : NULL;
        if (wrong)
            log_info("%s is left alone: %s; kernels are compiled anew", vk->pipelines.path, wrong);
        else if (there)
            data = (struct bytes){file.p + HEADER_BYTES, file.n - HEADER_BYTES};
        else if (status != NOT_FOUND)
            log_warn("compiled kernels: %s", err.text);
    }
    vk->pipelines.n_loaded = data.n;
    VkPipelineCacheCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
        .initialDataSize = data.n,
        .pInitialData = data.p,
    };
    VkPipelineCache cache = VK_NULL_HANDLE;
    if (vk->call.CreatePipelineCache(vk->device, &info, NULL, &cache) != VK_SUCCESS) {
        info.initialDataSize = 0; // a driver may be choosier than we are
        if (vk->call.CreatePipelineCache(vk->device, &info, NULL, &cache) != VK_SUCCESS)
            cache = VK_NULL_HANDLE;
    }
    if (there)
        buf_free(&file);
    return cache;
}

// ---- saving -------------------------------------------------------------------------------------

struct cache_writer {
    pthread_t thread;
    char path[1100];
    uint8_t *file;
    size_t n;
    _Atomic bool done;
};

static void *writer_main(void *arg)
{
    struct cache_writer *writer = arg;
    struct err err;
    thread_begin("cache", THREAD_FILES);
    if (file_write(writer->path, (struct bytes){writer->file, writer->n}, 0600, &err) != OK)
        log_warn("compiled kernels are not kept: %s", err.text);
    atomic_store(&writer->done, true);
    return NULL;
}

static void writer_join(struct pipelines *p)
{
    if (!p->writer)
        return;
    pthread_join(p->writer->thread, NULL);
    free(p->writer->file);
    free(p->writer);
    p->writer = NULL;
}

// NULL: there is nothing to keep, or the driver does not give it.
static uint8_t *file_make(struct vulkan *vk, size_t *n_bytes)
{
    struct pipelines *p = &vk->pipelines;
    size_t n = 0;
    if (!p->path[0] || !p->cache ||
        vk->call.GetPipelineCacheData(vk->device, p->cache, &n, NULL) != VK_SUCCESS || n == 0 ||
        n > FILE_MOST - HEADER_BYTES)
        return NULL;
    uint8_t *file = mem_alloc(HEADER_BYTES + n);
    if (vk->call.GetPipelineCacheData(vk->device, p->cache, &n, file + HEADER_BYTES) !=
        VK_SUCCESS) {
        free(file);
        return NULL;
    }
    header_fill(vk, file, file + HEADER_BYTES, n);
    *n_bytes = HEADER_BYTES + n;
    return file;
}

void cache_save(struct vulkan *vk)
{
    struct pipelines *p = &vk->pipelines;
    p->saved_ms = clock_ms();
    if (p->writer && !atomic_load(&p->writer->done))
        return; // n_unsaved stays: it is tried again
    writer_join(p);
    p->n_unsaved = 0;
    struct cache_writer *writer = mem_alloc(sizeof(*writer));
    writer->file = file_make(vk, &writer->n);
    memcpy(writer->path, p->path, sizeof(writer->path));
    if (writer->file && pthread_create(&writer->thread, NULL, writer_main, writer) == 0) {
        p->writer = writer;
        return;
    }
    free(writer->file); // no thread: the next start compiles again
    free(writer);
}

void cache_finish(struct vulkan *vk)
{
    writer_join(&vk->pipelines);
    if (vk->pipelines.n_unsaved > 0)
        cache_save(vk);
    writer_join(&vk->pipelines);
}
