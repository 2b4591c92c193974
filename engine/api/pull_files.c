// pull_files.c - what of a pull lies in the store: the ids of its files there, their places, and
// what is left of earlier ones.
//
// A file of the same digest (or, where that is not known, of the same address, ETag and length) has
// the same id, and so is gone on with.
#include "pull.h"

#include <stdio.h>
#include <string.h>

void pull_file_id(char out[INCOMING_ID_BYTES], const struct source_file *file)
{
    struct sha256 hash;
    uint8_t digest[SHA256_BYTES];
    char size[24], hex[2 * SHA256_BYTES + 1];
    snprintf(size, sizeof(size), "%llu", (unsigned long long)file->n_bytes);
    const char *parts[] = {file->name, file->sha256, size, file->sha256[0] ? "" : file->url,
                           file->sha256[0] ? "" : file->etag};
    sha256_init(&hash);
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        sha256_add(&hash, (struct bytes){(const uint8_t *)parts[i], strlen(parts[i]) + 1});
    sha256_done(&hash, digest);
    hex_write(hex, digest, 16);
    snprintf(out, INCOMING_ID_BYTES, "pull-%s", hex);
}

// What came of another file under this name, of which nobody gives more, makes way.
static void drop_others(struct store *store, const char *name, const char *id)
{
    for (size_t i = 0; i < store_n_incoming(store);) {
        struct incoming *one = store_incoming(store, i);
        const struct arrival *at = incoming_at(one);
        const bool drops = strcmp(at->name, name) == 0 && strcmp(at->id, id) != 0 &&
                           strncmp(at->id, "pull-", 5) == 0 && !at->is_held &&
                           at->phase != INCOMING_ENDS && at->phase != INCOMING_DONE &&
                           at->phase != INCOMING_FAILED;
        if (drops)
            incoming_delete(one); // it is seen no more
        i += !drops;
    }
}

enum status pull_make_all(struct pull *pull, struct err *err)
{
    struct store *store = pull->api->options.store;
    char id[INCOMING_ID_BYTES], source[INCOMING_SOURCE_BYTES];
    enum status status = OK;
    snprintf(source, sizeof(source), "%.700s as %s", pull->text, pull->source.name);
    for (size_t i = pull->at; i < pull->n_files && status == OK; i++) {
        const struct source_file *file = &pull->files[i];
        pull_file_id(id, file);
        drop_others(store, file->name, id);
        struct incoming *incoming = store_incoming_find(store, bytes_of(id));
        if (incoming && incoming_at(incoming)->phase < INCOMING_DONE)
            continue;
        const struct incoming_wish wish = {.id = bytes_of(id),
                                           .name = bytes_of(file->name),
                                           .source = bytes_of(source),
                                           .n_bytes = file->n_bytes,
                                           .sha256 = bytes_of(file->sha256)};
        status = incoming_make(store, &wish, &incoming, err);
    }
    return status;
}

enum status pull_check_here(struct pull *pull, struct err *err)
{
    const struct store *store = pull->api->options.store;
    const struct store_model *model = store_find_file(store, bytes_of(pull->source.name));
    const uint64_t total = pull_of_bytes(pull);
    if (!model)
        return OK;
    const bool digest_differs = pull->n_files == 1 && model->sha256[0] &&
                                pull->files[0].sha256[0] &&
                                strcmp(model->sha256, pull->files[0].sha256) != 0;
    if (total > 0 && model->file_bytes == total && !digest_differs)
        return AGAIN; // it is the same, and here
    return err_set(err, DENIED,
                   "there is a model '%.100s' already, and it is another file: delete it first, or "
                   "pull under another name",
                   pull->source.name);
}

void pull_delete_come(struct pull *pull)
{
    struct store *store = pull->api->options.store;
    for (size_t i = 0; i < store_n_incoming(store);) {
        struct incoming *one = store_incoming(store, i);
        const struct arrival *at = incoming_at(one);
        unsigned no, count;
        const size_t n = split_stem(at->name, strlen(at->name), &no, &count);
        const struct bytes name = {(const uint8_t *)at->name, n ? n : strlen(at->name)};
        const bool ours = strncmp(at->id, "pull-", 5) == 0 && !at->is_held &&
                          at->phase != INCOMING_DONE && at->phase != INCOMING_FAILED &&
                          bytes_equal_text(name, pull->source.name);
        if (ours)
            incoming_delete(one); // it is seen no more
        i += !ours;
    }
}
