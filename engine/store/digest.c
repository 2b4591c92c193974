// digest.c - the SHA-256 of files that were here before anybody said it: made in idle time, once.
//
// One file after the other, a slice at a time, with three times its length of rest behind it: what
// else is to be done comes first, and no disk and no core is busy with this alone. What was made is
// kept in a text file, a line each: digest, length, time, path; it counts for as long as the file
// has that length and that time. A file that was changed just now may be changed again within the
// same second: it is left for later. The parts of a split model have no digest in common, and none
// is made.
#include "inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEPT_BYTES_MOST = 1 << 20, DIGESTS_MOST = 2 * STORE_MODELS_MOST, FRESH_S = 3, REST = 3 };

static struct digest *find(const struct digests *digests, const char *path)
{
    for (size_t i = 0; i < digests->n; i++)
        if (strcmp(digests->all[i].path, path) == 0)
            return &digests->all[i];
    return NULL;
}

void digests_add(struct digests *digests, const struct digest *digest)
{
    struct digest *at = find(digests, digest->path);
    if (!at && digests->n == DIGESTS_MOST) { // the oldest goes
        memmove(digests->all, digests->all + 1, (digests->n - 1) * sizeof(*digests->all));
        digests->n--;
    }
    if (!at)
        at = &digests->all[digests->n++];
    *at = *digest;
}

// ---- the file -----------------------------------------------------------------------------------

// "DIGEST LENGTH TIME PATH"
static bool read_line(struct digest *out, const char *line, size_t n)
{
    char *end;
    if (n < 70 || line[64] != ' ' || n - 66 >= sizeof(out->path))
        return false;
    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < 64; i++)
        if (!strchr("0123456789abcdef", line[i]) || !line[i])
            return false;
    memcpy(out->sha256, line, 64);
    errno = 0;
    out->file_bytes = strtoull(line + 65, &end, 10);
    if (errno || *end != ' ')
        return false;
    out->modified_s = strtoll(end + 1, &end, 10);
    if (errno || end[0] != ' ' || end[1] != '/' || end >= line + n)
        return false;
    memcpy(out->path, end + 1, (size_t)(line + n - end - 1));
    return true;
}

void digests_read(struct digests *digests, const char *path)
{
    struct digest *digest = mem_alloc(sizeof(*digest));
    struct buf text;
    struct err err;
    digests->fd = -1;
    digests->all = mem_array(DIGESTS_MOST, sizeof(*digests->all));
    snprintf(digests->kept, sizeof(digests->kept), "%s", path ? path : "");
    if (digests->kept[0] && file_read(&text, digests->kept, KEPT_BYTES_MOST, &err) == OK) {
        if (buf_add(&text, "", 1) == OK)
            for (const char *line = (const char *)text.p; *line;) {
                const size_t n = strcspn(line, "\n");
                if (read_line(digest, line, n))
                    digests_add(digests, digest);
                line += n + (line[n] == '\n');
            }
        buf_free(&text);
    }
    free(digest);
}

void digests_keep(const struct store *store)
{
    const struct digests *digests = &store->digests;
    struct err err = {0};
    struct buf text;
    if (!digests->kept[0])
        return;
    buf_init(&text, KEPT_BYTES_MOST);
    for (size_t i = 0; i < digests->n; i++)
        if (digests->all[i].sha256[0] && !strchr(digests->all[i].path, '\n') &&
            buf_format(&text, "%s %llu %lld %s\n", digests->all[i].sha256,
                       (unsigned long long)digests->all[i].file_bytes,
                       (long long)digests->all[i].modified_s, digests->all[i].path) != OK)
            break;
    if (file_write(digests->kept, buf_view(&text), 0644, &err) != OK)
        log_info("digests are not kept: %s", err.text);
    buf_free(&text);
}

void digests_close(struct digests *digests)
{
    if (digests->fd >= 0)
        close(digests->fd);
    free(digests->all);
}

// ---- models -------------------------------------------------------------------------------------

static bool is_one_file(const struct store_model *model)
{
    unsigned no, count;
    const size_t n = strlen(model->path);
    return model->path[0] == '/' && n > 5 && split_stem(model->path, n - 5, &no, &count) == 0;
}

// What is known of the file as it is now; NULL: nothing.
static const struct digest *known(const struct digests *digests, const struct store_model *model)
{
    const struct digest *digest = find(digests, model->path);
    return digest && digest->file_bytes == model->file_bytes &&
                   digest->modified_s == model->modified_s
               ? digest
               : NULL;
}

void digests_apply(const struct digests *digests, struct store_list *list)
{
    for (size_t i = 0; i < list->n_models; i++) {
        struct store_model *model = &list->models[i];
        const struct digest *digest = is_one_file(model) ? known(digests, model) : NULL;
        memset(model->sha256, 0, sizeof(model->sha256));
        if (digest)
            memcpy(model->sha256, digest->sha256, sizeof(model->sha256));
    }
}

// The next file that has none. *wait_ms: when one will be old enough; -1: there is none.
static const struct store_model *next_model(const struct store *store, int *wait_ms)
{
    const int64_t now_s = clock_unix_s();
    *wait_ms = -1;
    for (size_t i = 0; i < store->last->n_models; i++) {
        const struct store_model *model = &store->last->models[i];
        if (!is_one_file(model) || known(&store->digests, model))
            continue;
        if (model->modified_s <= now_s - FRESH_S || model->modified_s > now_s + FRESH_S)
            return model;
        *wait_ms = FRESH_S * 1000;
    }
    return NULL;
}

static void begin(struct digests *digests, const struct store_model *model)
{
    memset(&digests->next, 0, sizeof(digests->next));
    memcpy(digests->next.path, model->path, sizeof(digests->next.path));
    digests->next.file_bytes = model->file_bytes;
    digests->next.modified_s = model->modified_s;
    digests->n_hashed = 0;
    sha256_init(&digests->hash);
    digests->fd = open(model->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (digests->fd < 0)
        digests_add(digests, &digests->next); // it cannot be read: not again as it is
}

static void end(struct store *store, bool *news)
{
    struct digests *digests = &store->digests;
    struct digest *next = &digests->next;
    struct stat info;
    uint8_t sum[SHA256_BYTES];
    sha256_done(&digests->hash, sum);
    const bool same = fstat(digests->fd, &info) == 0 &&
                      (uint64_t)info.st_size == next->file_bytes &&
                      (int64_t)info.st_mtime == next->modified_s;
    close(digests->fd);
    digests->fd = -1;
    if (same && digests->n_hashed == next->file_bytes)
        hex_write(next->sha256, sum, sizeof(sum));
    digests_add(digests, next);
    if (!next->sha256[0])
        return;
    digests_keep(store);
    digests_apply(digests, store->last);
    *news = true;
}

// Whether the file that is being read is still one of the list, and as it was.
static bool is_listed(const struct store *store)
{
    const struct digest *next = &store->digests.next;
    for (size_t i = 0; i < store->last->n_models; i++) {
        const struct store_model *model = &store->last->models[i];
        if (strcmp(model->path, next->path) == 0)
            return model->file_bytes == next->file_bytes && model->modified_s == next->modified_s;
    }
    return false;
}

int digests_step(struct store *store, bool *news)
{
    struct digests *digests = &store->digests;
    int wait_ms;
    if (digests->fd >= 0 && !is_listed(store)) {
        close(digests->fd);
        digests->fd = -1;
    }
    if (digests->fd < 0) {
        const struct store_model *model = next_model(store, &wait_ms);
        if (!model)
            return wait_ms;
        begin(digests, model);
        return 0;
    }
    const uint64_t began_us = clock_us();
    ssize_t n = read(digests->fd, store->slice, SLICE_BYTES);
    if (n < 0 && errno == EINTR)
        return 0;
    if (n > 0) {
        sha256_add(&digests->hash, (struct bytes){store->slice, (size_t)n});
        (void)posix_fadvise(digests->fd, (off_t)digests->n_hashed, n, POSIX_FADV_DONTNEED);
        digests->n_hashed += (uint64_t)n;
        return (int)(REST * (clock_us() - began_us) / 1000);
    }
    end(store, news);
    return 0;
}
