// act.c - what is done to files on the store's thread: second names and deletions, on the disk when
// they return.
//
// A second name of a file (a hard link) costs nothing and outlives the first. All parts of a split
// model go together: the first part's name comes last when they are made and goes first when they
// are deleted, so that a power cut leaves no model that seems whole.
#include "inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ENDING_BYTES = 5 }; // .gguf

struct parts { // the files of a model
    char stem[STORE_PATH_BYTES];
    unsigned count; // 1: one file, STEM.gguf
    bool is_split;
};

static void parts_of(struct parts *out, const char *path)
{
    unsigned no;
    size_t n = strlen(path);
    n -= n > ENDING_BYTES ? ENDING_BYTES : n;
    const size_t stem = split_stem(path, n, &no, &out->count);
    out->is_split = stem > 0;
    out->count = stem > 0 ? out->count : 1;
    snprintf(out->stem, sizeof(out->stem), "%.*s", (int)(stem > 0 ? stem : n), path);
}

static bool part_path(char out[STORE_PATH_BYTES], const struct parts *parts, unsigned no)
{
    int n = parts->is_split ? snprintf(out, STORE_PATH_BYTES, "%s-%05u-of-%05u.gguf", parts->stem,
                                       no, parts->count)
                            : snprintf(out, STORE_PATH_BYTES, "%s.gguf", parts->stem);
    return n > 0 && n < STORE_PATH_BYTES;
}

enum status sync_folder_of(const char *path, struct err *err)
{
    char folder[STORE_PATH_BYTES];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof(folder), "%.*s", (int)(slash ? slash - path : 0), path);
    int fd = open(folder[0] ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL)) {
        enum status status = err_set(err, IO_ERROR, "%s: %s", folder, strerror(errno));
        if (fd >= 0)
            close(fd);
        return status;
    }
    close(fd);
    return OK;
}

static enum status unlink_parts(const struct parts *parts, struct err *err)
{
    char path[STORE_PATH_BYTES];
    enum status status = OK;
    for (unsigned no = 1; no <= parts->count; no++)
        if (part_path(path, parts, no) && unlink(path) != 0 && errno != ENOENT && status == OK)
            status = err_set(err, IO_ERROR, "%s cannot be deleted: %s", path, strerror(errno));
    return status == OK ? sync_folder_of(parts->stem, err) : status;
}

static enum status link_part(const struct parts *from, const struct parts *to, unsigned no,
                             struct err *err)
{
    char old[STORE_PATH_BYTES], new[STORE_PATH_BYTES];
    if (!part_path(old, from, no) || !part_path(new, to, no))
        return err_set(err, TOO_LARGE, "the path of the copy is too long");
    if (linkat(AT_FDCWD, old, AT_FDCWD, new, AT_SYMLINK_FOLLOW) == 0 ||
        (errno == ENOENT && no > 1)) // a part that is not there is not copied
        return OK;
    return err_set(err, errno == EEXIST ? DENIED : IO_ERROR, "%s: %s", new,
                   errno == EEXIST ? "there is a file of that name" : strerror(errno));
}

static enum status copy(const struct store *store, const struct store_task *task, struct err *err)
{
    struct parts from, to;
    parts_of(&from, task->path);
    to = from;
    int n = snprintf(to.stem, sizeof(to.stem), "%s/%s", store->folders[0].path, task->name);
    if (n < 0 || (size_t)n >= sizeof(to.stem))
        return err_set(err, TOO_LARGE, "the name of the copy is too long");
    enum status status = OK;
    unsigned no = from.count;
    for (; no >= 1 && status == OK; no--)
        status = link_part(&from, &to, no, err);
    if (status == OK)
        return sync_folder_of(to.stem, err);
    char path[STORE_PATH_BYTES];
    for (no += 2; no <= from.count; no++) // those that were made before the one that failed
        if (part_path(path, &to, no))
            unlink(path);
    return status;
}

static enum status name(struct store *store, const struct store_task *task, struct err *err)
{
    struct plan_of_names before = store->names;
    enum status status = names_set(&store->names, task->name, task->model, err);
    if (status == OK)
        status = names_keep(&store->names, store->kept, err);
    if (status != OK)
        store->names = before;
    return status;
}

enum status task_do(struct store *store, const struct store_task *task, struct err *err)
{
    struct parts parts;
    switch (task->kind) {
    case TASK_COPY:
        return copy(store, task, err);
    case TASK_NAME:
        return name(store, task, err);
    case TASK_DELETE:
        parts_of(&parts, task->path);
        return unlink_parts(&parts, err);
    default:
        break; // the end, and what is done to arrivals
    }
    return OK;
}
