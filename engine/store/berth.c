// berth.c - where arrivals lie until they are models: HOME/.incoming/ID.part and ID.record.
//
// The bytes come first, then the record, which makes them an arrival; on leaving, the bytes become
// HOME/NAME.gguf (renamed: the model is there at once), then the record goes. A cut of the power
// between two of these leaves bytes without a record or a record without bytes: both are removed at
// the next start. The parts of a split model leave together, the first one last; where a cut comes
// between them, the next start moves the rest, before anything is listed.
//
// A record is text, a field a line: `name`, `bytes`, `sha256`, `source`, `began`, `whole`.
#include "inside.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RECORD_BYTES_MOST = 4096, NO_REPLACE = 1 }; // RENAME_NOREPLACE

bool berth_path(char out[STORE_PATH_BYTES], const struct store *store, const char *id,
                const char *ending)
{
    int n =
        snprintf(out, STORE_PATH_BYTES, "%s/.incoming/%s%s", store->folders[0].path, id, ending);
    return n > 0 && n < STORE_PATH_BYTES;
}

static enum status no_path(const char *id, struct err *err)
{
    return err_set(err, TOO_LARGE, "the path of what arrives as '%s' is too long", id);
}

enum status berth_record(const struct store *store, const struct landing *landing, struct err *err)
{
    const struct arrival *at = &landing->at;
    char path[STORE_PATH_BYTES];
    struct buf text;
    if (!berth_path(path, store, at->id, ".record"))
        return no_path(at->id, err);
    buf_init(&text, RECORD_BYTES_MOST);
    enum status status =
        buf_format(&text, "name %s\nbytes %llu\nsha256 %s\nsource %s\nbegan %lld\nwhole %d\n",
                   at->name, (unsigned long long)at->n_bytes, at->sha256, at->source,
                   (long long)at->began_s, at->phase == INCOMING_KEPT);
    status = status == OK ? file_write(path, buf_view(&text), 0600, err)
                          : err_set(err, status, "the record of '%s' is too long", at->id);
    buf_free(&text);
    return status;
}

static enum status cannot_make(const char *path, struct err *err)
{
    return err_set(err, errno == ENOSPC || errno == EDQUOT ? NO_ROOM : IO_ERROR,
                   "%s cannot be made: %s", path, strerror(errno));
}

// Its length is set aside where the file system can: later writes cannot find the disk full.
static enum status set_aside(struct landing *landing, struct err *err)
{
    const off_t n = (off_t)landing->at.n_bytes;
    if (n == 0)
        return OK;
    if (fallocate(landing->fd, FALLOC_FL_KEEP_SIZE, 0, n) == 0)
        landing->n_set_aside = landing->at.n_bytes;
    else if (errno == ENOSPC || errno == EDQUOT)
        return err_set(err, NO_ROOM, "the disk has no room for the %llu bytes of '%s'",
                       (unsigned long long)landing->at.n_bytes, landing->at.id);
    return OK;
}

enum status berth_make(struct store *store, struct landing *landing, struct err *err)
{
    char path[STORE_PATH_BYTES];
    struct stat info;
    enum status status = OK;
    if (!berth_path(path, store, "", ""))
        return no_path(landing->at.id, err);
    status = file_make_dir(path, 0700, err);
    if (status != OK)
        return status;
    if (!berth_path(path, store, landing->at.id, ".part"))
        return no_path(landing->at.id, err);
    landing->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (landing->fd < 0)
        return cannot_make(path, err);
    status = set_aside(landing, err);
    if (status == OK)
        status = berth_record(store, landing, err);
    if (status == OK && fstat(landing->fd, &info) == 0)
        landing->at.moved_s = (int64_t)info.st_mtime;
    return status;
}

void berth_clear(const struct store *store, const char *id)
{
    char path[STORE_PATH_BYTES];
    if (berth_path(path, store, id, ".part"))
        unlink(path);
    if (berth_path(path, store, id, ".record"))
        unlink(path);
}

// ---- leaving ------------------------------------------------------------------------------------

static bool model_path(char out[STORE_PATH_BYTES], const struct store *store, const char *name)
{
    int n = snprintf(out, STORE_PATH_BYTES, "%s/%s.gguf", store->folders[0].path, name);
    return n > 0 && n < STORE_PATH_BYTES;
}

// The last part of a path.
static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// Never over a file that is there.
static enum status move(const char *from, const char *to, struct err *err)
{
    if (syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, NO_REPLACE) == 0)
        return OK;
    if ((errno == EINVAL || errno == ENOSYS) && access(to, F_OK) != 0 && rename(from, to) == 0)
        return OK; // a file system without it
    const bool taken = errno == EEXIST || access(to, F_OK) == 0;
    return err_set(err, taken ? DENIED : IO_ERROR, "%s: %s", base_of(to),
                   taken ? "there is a file of that name" : strerror(errno));
}

static void part_name(char out[STORE_NAME_BYTES], const char *name, size_t stem, unsigned no,
                      unsigned count)
{
    snprintf(out, STORE_NAME_BYTES, "%.*s-%05u-of-%05u", (int)stem, name, no, count);
}

static enum status leave_one(struct store *store, struct landing *landing, struct err *err)
{
    char from[STORE_PATH_BYTES], to[STORE_PATH_BYTES];
    struct stat info;
    if (!berth_path(from, store, landing->at.id, ".part") ||
        !model_path(to, store, landing->at.name))
        return no_path(landing->at.id, err);
    enum status status = move(from, to, err);
    if (status == OK)
        status = sync_folder_of(to, err);
    if (status != OK)
        return status;
    landing->at.phase = INCOMING_DONE;
    if (landing->at.sha256[0] && stat(to, &info) == 0) {
        struct digest digest = {.file_bytes = (uint64_t)info.st_size,
                                .modified_s = (int64_t)info.st_mtime};
        memcpy(digest.path, to, sizeof(digest.path));
        memcpy(digest.sha256, landing->at.sha256, sizeof(digest.sha256));
        digests_add(&store->digests, &digest);
    }
    if (berth_path(from, store, landing->at.id, ".record")) {
        unlink(from);
        status = sync_folder_of(from, err);
    }
    return status;
}

// The part that is whole and waits here; NULL: it does not.
static struct landing *waiting(const struct store *store, const char *name)
{
    struct landing *landing = store->landings;
    while (landing && (landing->at.phase != INCOMING_KEPT || strcmp(landing->at.name, name) != 0))
        landing = landing->next;
    return landing;
}

enum status berth_leave(struct store *store, struct landing *landing, struct err *err)
{
    char name[STORE_NAME_BYTES], path[STORE_PATH_BYTES], whole[STORE_NAME_BYTES];
    unsigned no, count;
    memcpy(whole, landing->at.name, sizeof(whole));
    const size_t stem = split_stem(whole, strlen(whole), &no, &count);
    if (stem == 0)
        return leave_one(store, landing, err);
    for (no = 1; no <= count; no++) {
        part_name(name, whole, stem, no, count);
        if (!waiting(store, name) && (!model_path(path, store, name) || access(path, F_OK) != 0))
            return AGAIN;
    }
    enum status status = OK;
    for (no = count; no >= 1 && status == OK; no--) {
        part_name(name, whole, stem, no, count);
        struct landing *part = waiting(store, name);
        if (part)
            status = leave_one(store, part, err);
    }
    return status;
}

// ---- a part among the others --------------------------------------------------------------------

// A second name in .incoming, as the part is called, of what lies there as ID.part, or (id NULL)
// among the models.
static bool link_part(const struct store *store, const char *name, const char *id)
{
    char ending[STORE_NAME_BYTES + 8], from[STORE_PATH_BYTES], to[STORE_PATH_BYTES];
    snprintf(ending, sizeof(ending), "%s.gguf", name);
    if (!berth_path(to, store, "", ending) ||
        !(id ? berth_path(from, store, id, ".part") : model_path(from, store, name)))
        return false;
    unlink(to);
    return link(from, to) == 0;
}

bool berth_part(char out[STORE_PATH_BYTES], const struct store *store,
                const struct landing *landing)
{
    char name[STORE_NAME_BYTES], path[STORE_PATH_BYTES];
    const char *own = landing->at.name;
    unsigned own_no, count;
    const size_t stem = split_stem(own, strlen(own), &own_no, &count);
    bool good = berth_path(path, store, "", own) && strlen(path) + 6 < STORE_PATH_BYTES;
    for (unsigned no = 1; no <= count && good; no++) {
        part_name(name, own, stem, no, count);
        const struct landing *other = no == own_no ? landing : waiting(store, name);
        if (other)
            good = link_part(store, name, other->at.id);
        else if (model_path(path, store, name) && access(path, F_OK) == 0)
            good = link_part(store, name, NULL);
    }
    if (good)
        good = snprintf(path, sizeof(path), "%s.gguf", own) > 0 && berth_path(out, store, "", path);
    if (!good)
        berth_part_end(store, landing);
    return good;
}

void berth_part_end(const struct store *store, const struct landing *landing)
{
    char name[STORE_NAME_BYTES], ending[STORE_NAME_BYTES + 8], path[STORE_PATH_BYTES];
    const char *own = landing->at.name;
    unsigned no, count;
    const size_t stem = split_stem(own, strlen(own), &no, &count);
    for (no = 1; no <= count; no++) {
        part_name(name, own, stem, no, count);
        snprintf(ending, sizeof(ending), "%s.gguf", name);
        if (berth_path(path, store, "", ending))
            unlink(path);
    }
}

// ---- the start ----------------------------------------------------------------------------------

static void field_text(char *out, size_t size, struct bytes value)
{
    const size_t n = value.n < size ? value.n : size - 1;
    if (n > 0)
        memcpy(out, value.p, n);
    out[n] = 0;
}

static void read_field(struct arrival *at, struct bytes key, struct bytes value)
{
    char number[24];
    field_text(number, sizeof(number), value);
    if (bytes_equal_text(key, "name"))
        field_text(at->name, sizeof(at->name), value);
    else if (bytes_equal_text(key, "source"))
        field_text(at->source, sizeof(at->source), value);
    else if (bytes_equal_text(key, "sha256"))
        field_text(at->sha256, sizeof(at->sha256), value);
    else if (bytes_equal_text(key, "bytes"))
        at->n_bytes = strtoull(number, NULL, 10);
    else if (bytes_equal_text(key, "began"))
        at->began_s = strtoll(number, NULL, 10);
    else if (bytes_equal_text(key, "whole"))
        at->phase = number[0] == '1' ? INCOMING_KEPT : INCOMING_ARRIVES;
}

static bool read_record(struct arrival *at, const char *path)
{
    struct buf text;
    struct err err;
    if (file_read(&text, path, RECORD_BYTES_MOST, &err) != OK)
        return false;
    struct bytes left = buf_view(&text);
    while (left.n > 0) {
        const uint8_t *end = memchr(left.p, '\n', left.n);
        const size_t n = end ? (size_t)(end - left.p) : left.n, step = end ? n + 1 : n;
        const uint8_t *gap = memchr(left.p, ' ', n);
        if (gap)
            read_field(at, (struct bytes){left.p, (size_t)(gap - left.p)},
                       (struct bytes){gap + 1, (size_t)(left.p + n - gap - 1)});
        left = (struct bytes){left.p + step, left.n - step};
    }
    buf_free(&text);
    return (at->sha256[0] == 0 || strlen(at->sha256) == 64) &&
           (at->name[0] == 0 || store_name_good(bytes_of(at->name)));
}

// What of it can go on; else it is removed.
static void read_berth(struct store *store, const char *id)
{
    char path[STORE_PATH_BYTES];
    struct stat info;
    struct landing *landing = mem_alloc(sizeof(*landing)), **end = &store->landings;
    struct arrival *at = &landing->at;
    snprintf(at->id, sizeof(at->id), "%s", id);
    bool good =
        berth_path(path, store, id, ".record") && read_record(at, path) &&
        berth_path(path, store, id, ".part") && lstat(path, &info) == 0 && S_ISREG(info.st_mode) &&
        info.st_size >= 0 && (at->n_bytes == 0 || (uint64_t)info.st_size <= at->n_bytes) &&
        (at->phase != INCOMING_KEPT || at->n_bytes == 0 || (uint64_t)info.st_size == at->n_bytes);
    if (!good || incoming_is_update(id)) {
        if (!good)
            log_warn("what lies in .incoming as %s is no arrival: it is removed", id);
        berth_clear(store, id);
        free(landing);
        return;
    }
    at->n_taken = (uint64_t)info.st_size;
    at->n_safe = at->phase == INCOMING_KEPT ? at->n_taken : 0;
    at->moved_s = (int64_t)info.st_mtime;
    landing->fd = -1;
    landing->n_set_aside = (uint64_t)info.st_blocks * 512;
    landing->number = ++store->last_number;
    sha256_init(&landing->hash);
    while (*end && (*end)->at.began_s <= at->began_s)
        end = &(*end)->next;
    landing->next = *end;
    *end = landing;
}

// The id of a file's name; n == 0: it is none.
static struct bytes id_of(const char *name, const char *ending)
{
    const size_t n = strlen(name), n_ending = strlen(ending);
    if (name[0] == '.' || n <= n_ending || n - n_ending >= INCOMING_ID_BYTES ||
        strcmp(name + n - n_ending, ending) != 0)
        return (struct bytes){NULL, 0};
    return (struct bytes){(const uint8_t *)name, n - n_ending};
}

// A file that belongs to no arrival.
static bool is_stray(const struct store *store, const char *name)
{
    struct bytes id = id_of(name, ".part");
    if (id.n == 0)
        id = id_of(name, ".record");
    for (const struct landing *landing = store->landings; landing && id.n > 0;
         landing = landing->next)
        if (bytes_equal_text(id, landing->at.id))
            return false;
    return name[0] != '.';
}

static void each_berth(struct store *store, const char *folder, bool stray)
{
    char id[INCOMING_ID_BYTES], path[STORE_PATH_BYTES];
    DIR *dir = opendir(folder);
    size_t n = 0;
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        const struct bytes record = id_of(entry->d_name, ".record");
        if (stray && is_stray(store, entry->d_name) && berth_path(path, store, entry->d_name, ""))
            unlink(path);
        else if (!stray && record.n > 0 && n++ < INCOMING_MOST) {
            field_text(id, sizeof(id), record);
            read_berth(store, id);
        }
    }
    closedir(dir);
}

void berths_read(struct store *store)
{
    char folder[STORE_PATH_BYTES];
    if (store->n_folders == 0 || !store->folders[0].is_ours || !berth_path(folder, store, "", ""))
        return;
    each_berth(store, folder, false);
    each_berth(store, folder, true);
    for (struct landing *landing = store->landings; landing; landing = landing->next) {
        struct err err = {0};
        if (landing->at.phase == INCOMING_KEPT && landing->at.name[0] &&
            berth_leave(store, landing, &err) == DENIED) {
            log_warn("%s is kept without a name: %s", landing->at.id, err.text);
            landing->at.name[0] = 0;
        }
    }
    for (struct landing **at = &store->landings; *at;) { // models by now
        struct landing *landing = *at;
        if (landing->at.phase == INCOMING_DONE) {
            *at = landing->next;
            free(landing);
        } else {
            at = &landing->next;
        }
    }
}
