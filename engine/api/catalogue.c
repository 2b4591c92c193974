// catalogue.c - GET /v1/catalogue: models worth having on such a box, where each is pulled from,
// and which of them this one has the memory and the disk for.
//
// Lengths are those of the files by the time of writing, to a tenth of a gigabyte: the pull itself
// is told the right one. What a model needs in memory is its file, an eighth of that, and 1.5 GB
// for a context of some ten thousand tokens; `tawny plan` counts it for a file that is here.
#include "pull.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

static const struct entry {
    const char *source, *architecture;
    uint32_t length; // in 100 MB
    const char *what;
} entries[] = {
    {"hf.co/unsloth/Qwen3.6-35B-A3B-GGUF:Q4_K_M", "qwen35moe", 221,
     "chat, code and tools; few parameters work on each token, so it is fast"},
    {"hf.co/unsloth/Qwen3.5-122B-A10B-GGUF:Q4_K_M", "qwen35moe", 760,
     "the same family for machines of 128 GB"},
    {"hf.co/unsloth/Qwen3.6-27B-GGUF:Q4_K_M", "qwen35", 168,
     "chat, code and tools; all parameters work on each token: better, and slower"},
    {"hf.co/unsloth/Qwen3.5-9B-GGUF:Q4_K_M", "qwen35", 57, "chat and tools on 16 GB"},
    {"hf.co/unsloth/Qwen3.5-4B-GGUF:Q4_K_M", "qwen35", 27, "chat and tools on 8 GB"},
    {"hf.co/unsloth/Qwen3.5-2B-GGUF:Q4_K_M", "qwen35", 13, "short tasks, quick answers"},
    {"hf.co/ggml-org/gpt-oss-20b-GGUF", "gpt-oss", 121, "chat, thinking and tools; fast"},
    {"hf.co/ggml-org/gpt-oss-120b-GGUF", "gpt-oss", 634,
     "chat, thinking and tools for machines of 96 GB and more"},
    {"hf.co/unsloth/gemma-4-E4B-it-GGUF:Q4_K_M", "gemma4", 50, "chat in many languages on 8 GB"},
    {"hf.co/unsloth/gemma-4-26B-A4B-it-GGUF:Q4_K_M", "gemma4", 168, "chat in many languages; fast"},
    {"hf.co/unsloth/gemma-4-31B-it-GGUF:Q4_K_M", "gemma4", 187,
     "chat in many languages; all parameters work on each token"},
    {"hf.co/unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF:Q4_K_M", "qwen3moe", 186,
     "code and agents; fast"},
    {"hf.co/unsloth/GLM-4.7-Flash-GGUF:Q4_K_XL", "deepseek2", 175, "code and agents"},
    {"hf.co/Qwen/Qwen3-Embedding-0.6B-GGUF:Q8_0", "qwen3", 6, "embeddings of texts and code"},
    {"hf.co/ggml-org/embeddinggemma-300M-GGUF:Q8_0", "gemma-embedding", 3,
     "embeddings of texts, small"},
};

static void entry_write(struct json *json, const struct api *api, const struct entry *entry,
                        uint64_t memory, uint64_t disk)
{
    const uint64_t bytes = entry->length * 100000000ULL, needs = bytes + bytes / 8 + 1500000000;
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
    json_whole(json, "memory_about", (int64_t)needs);
    json_bool(json, "here", here);
    if (memory > 0)
        json_bool(json, "fits_memory", needs <= memory);
    else
        json_null(json, "fits_memory");
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
        entry_write(&json, api, &entries[i], memory, disk);
    json_end(&json);
    json_end(&json);
    json_reply(exchange, 200, &json);
}
