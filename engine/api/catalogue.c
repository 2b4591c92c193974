// catalogue.c - GET /v1/catalogue: models worth having on such a box, where each is pulled from,
// and which of them this one has the memory and the disk for.
//
// Lengths are those of the files by the time of writing, to a tenth of a gigabyte: the pull itself
// is told the right one. The memory is planned as that of a file that is here, out of the numbers
// below; tests/golden/headers.py holds them against the heads of these models.
#include "pull.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

static const struct entry {
    const char *source, *architecture;
    uint32_t length;    // in 100 MB
    uint32_t trained;   // context, in 1024 tokens
    uint32_t numbers;   // keys and values of a token: of the layers that see all,
    uint32_t in_window; // of those that see `window` tokens
    uint32_t window;
    uint32_t state; // of recurrent layers, in KiB
    const char *what;
} entries[] = {
    {"hf.co/unsloth/Qwen3.6-35B-A3B-GGUF:Q4_K_M", "qwen35moe", 221, 256, 10 * 1024, 0, 0, 64320,
     "chat, code and tools; few parameters work on each token, so it is fast"},
    {"hf.co/unsloth/Qwen3.5-122B-A10B-GGUF:Q4_K_M", "qwen35moe", 760, 256, 12 * 1024, 0, 0, 152640,
     "the same family for machines of 128 GB"},
    {"hf.co/unsloth/Qwen3.6-27B-GGUF:Q4_K_M", "qwen35", 168, 256, 16 * 2048, 0, 0, 153216,
     "chat, code and tools; all parameters work on each token: better, and slower"},
    {"hf.co/unsloth/Qwen3.5-9B-GGUF:Q4_K_M", "qwen35", 57, 256, 8 * 2048, 0, 0, 51456,
     "chat and tools on 16 GB"},
    {"hf.co/unsloth/Qwen3.5-4B-GGUF:Q4_K_M", "qwen35", 27, 256, 8 * 2048, 0, 0, 51456,
     "chat and tools on 8 GB"},
    {"hf.co/unsloth/Qwen3.5-2B-GGUF:Q4_K_M", "qwen35", 13, 256, 6 * 1024, 0, 0, 19728,
     "short tasks, quick answers"},
    {"hf.co/ggml-org/gpt-oss-20b-GGUF", "gpt-oss", 121, 128, 12 * 1024, 12 * 1024, 128, 0,
     "chat, thinking and tools; fast"},
    {"hf.co/ggml-org/gpt-oss-120b-GGUF", "gpt-oss", 634, 128, 18 * 1024, 18 * 1024, 128, 0,
     "chat, thinking and tools for machines of 96 GB and more"},
    {"hf.co/unsloth/gemma-4-E4B-it-GGUF:Q4_K_M", "gemma4", 50, 128, 4 * 2048, 20 * 1024, 512, 0,
     "chat in many languages on 8 GB"},
    {"hf.co/unsloth/gemma-4-26B-A4B-it-GGUF:Q4_K_M", "gemma4", 168, 256, 5 * 2048, 25 * 4096, 1024,
     0, "chat in many languages; fast"},
    {"hf.co/unsloth/gemma-4-31B-it-GGUF:Q4_K_M", "gemma4", 187, 256, 10 * 4096, 50 * 8192, 1024, 0,
     "chat in many languages; all parameters work on each token"},
    {"hf.co/unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF:Q4_K_M", "qwen3moe", 186, 256, 48 * 1024, 0,
     0, 0, "code and agents; fast"},
    {"hf.co/unsloth/GLM-4.7-Flash-GGUF:Q4_K_XL", "deepseek2", 175, 198, 47 * 576, 0, 0, 0,
     "code and agents"},
    {"hf.co/Qwen/Qwen3-Embedding-0.6B-GGUF:Q8_0", "qwen3", 6, 32, 28 * 2048, 0, 0, 0,
     "embeddings of texts and code"},
    {"hf.co/ggml-org/embeddinggemma-300M-GGUF:Q8_0", "gemma-embedding", 3, 2, 512, 0, 0, 0,
     "embeddings of texts, small"},
};

// What the memory allows.
static void memory_write(struct json *json, const struct api *api, const struct entry *entry)
{
    const struct model_shape shape = {.weight_bytes = entry->length * 100000000ULL,
                                      .state_bytes = entry->state * 1024ULL,
                                      .n_ctx_train = (int32_t)entry->trained * 1024,
                                      .numbers = entry->numbers,
                                      .window_numbers = entry->in_window,
                                      .window = (int32_t)entry->window};
    struct sched_would would;
    sched_would(api->options.sched, &shape, &would);
    if (!would.known) {
        json_null(json, "memory_about");
        json_null(json, "fits_memory");
        json_null(json, "context");
        return;
    }
    json_whole(json, "memory_about", (int64_t)would.needs_bytes);
    json_bool(json, "fits_memory", would.fits);
    if (would.fits)
        json_whole(json, "context", would.n_ctx);
    else
        json_null(json, "context");
}

static void entry_write(struct json *json, const struct api *api, const struct entry *entry,
                        uint64_t disk)
{
    const uint64_t bytes = entry->length * 100000000ULL;
    char name[STORE_NAME_BYTES] = "";
    const bool named =
        source_name_here(name, bytes_of(entry->source), api->options.registry, api->options.hub);
    const bool here = named && store_find_file(api->options.store, bytes_of(name));
    json_object(json, NULL);
    json_string(json, "source", entry->source);
    json_string(json, "name", name);
    json_string(json, "what", entry->what);
    json_string(json, "architecture", entry->architecture);
    json_whole(json, "bytes_about", (int64_t)bytes);
    json_bool(json, "here", here);
    memory_write(json, api, entry);
    json_bool(json, "fits_disk", here || bytes <= disk);
    json_end(json);
}

void catalogue_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)request;
    const uint64_t memory = sched_status(api->options.sched)->device.memory_bytes;
    struct statvfs info;
    uint64_t disk = 0;
    struct json json;
    if (statvfs(api->state, &info) == 0)
        disk = (uint64_t)info.f_bavail * info.f_frsize;
    json_init(&json, 64 << 10);
    json_object(&json, NULL);
    json_string(&json, "object", "list");
    if (memory > 0) // else the device is not open yet
        json_whole(&json, "memory", (int64_t)memory);
    json_whole(&json, "disk_free", (int64_t)disk);
    json_array(&json, "data");
    for (size_t i = 0; i < COUNT_OF(entries); i++)
        entry_write(&json, api, &entries[i], disk);
    json_end(&json);
    json_end(&json);
    json_reply(exchange, 200, &json);
}
