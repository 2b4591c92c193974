// scan.c - folders into a list of models: which files end in .gguf, which of them are parts of one
// model, how large they are and since when.
//
// Nothing is opened here: heads are read later, one by one. Folders are walked to DEPTH_MOST, names
// with a dot in front are left out (uploads that are not whole are called so), and links to folders
// are not followed, so that no walk goes in circles. A folder that is not there is empty.
#include "inside.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SUFFIX_BYTES = 15, ENDING_BYTES = 5 }; // -00001-of-00003, .gguf

struct walk { // what was found so far
    struct store *store;
    struct store_model *found; // [n]
    size_t n, allocated, n_folders;
    bool is_ours, is_full;
};

void list_close(struct store_list *list)
{
    if (!list)
        return;
    free(list->models);
    free(list->aliases);
    free(list);
}

struct store_list *list_copy(const struct store *store)
{
    const size_t n = store->last->n_models;
    struct store_list *list = mem_alloc(sizeof(*list));
    list->n_models = n;
    list->models = mem_array(n + 1, sizeof(*list->models));
    if (n > 0)
        memcpy(list->models, store->last->models, n * sizeof(*list->models));
    list->aliases = names_copy(&store->names);
    list->n_aliases = store->names.n;
    return list;
}

static bool digits(const char *at, unsigned *out)
{
    *out = 0;
    for (int i = 0; i < 5; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        *out = *out * 10 + (unsigned)(at[i] - '0');
    }
    return true;
}

size_t split_stem(const char *name, size_t n, unsigned *no, unsigned *count)
{
    const char *suffix = name + n - SUFFIX_BYTES;
    if (n <= SUFFIX_BYTES || suffix[0] != '-' || memcmp(suffix + 6, "-of-", 4) != 0 ||
        !digits(suffix + 1, no) || !digits(suffix + 10, count) || *no == 0 || *no > *count)
        return 0;
    return n - SUFFIX_BYTES;
}

void store_first_part(char *path)
{
    unsigned no, count;
    struct bytes name = bytes_of(path);
    if (!bytes_cut_end(&name, ".gguf") || split_stem(path, name.n, &no, &count) == 0)
        return;
    char *digits = path + name.n - SUFFIX_BYTES + 1, before[5];
    memcpy(before, digits, sizeof(before));
    memcpy(digits, "00001", sizeof(before));
    if (access(path, F_OK) != 0)
        memcpy(digits, before, sizeof(before));
}

// ---- walking ------------------------------------------------------------------------------------

static void folder_watch(const struct store *store, const char *path)
{
    if (store->watch_fd < 0)
        return;
    // a file is there when it is closed, or moved here; attributes: its time, a link to it
    if (inotify_add_watch(store->watch_fd, path,
                          IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVE | IN_ATTRIB |
                              IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR) < 0)
        log_debug("%s cannot be watched: %s", path, strerror(errno));
}

static void add_found(struct walk *walk, const char *path, const struct stat *info)
{
    if (walk->n == FILES_MOST) {
        walk->is_full = true;
        return;
    }
    if (walk->n == walk->allocated) {
        walk->allocated = walk->allocated ? 2 * walk->allocated : 32;
        walk->found = mem_resize(walk->found, walk->allocated * sizeof(*walk->found));
    }
    struct store_model *model = &walk->found[walk->n++];
    memset(model, 0, sizeof(*model));
    snprintf(model->path, sizeof(model->path), "%s", path);
    model->file_bytes = info ? (uint64_t)info->st_size : 0;
    model->modified_s = info ? (int64_t)info->st_mtime : 0;
    model->is_ours = walk->is_ours;
}

static void walk_folder(struct walk *walk, const char *path, int depth);

static void walk_entry(struct walk *walk, const char *folder, const char *name, int depth)
{
    char path[STORE_PATH_BYTES];
    struct stat info;
    int n = snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (name[0] == '.' || n < 0 || (size_t)n >= sizeof(path) || lstat(path, &info) != 0)
        return;
    if (S_ISDIR(info.st_mode) && depth < DEPTH_MOST)
        walk_folder(walk, path, depth + 1);
    if (S_ISLNK(info.st_mode) && stat(path, &info) != 0)
        return;
    struct bytes stem = bytes_of(name);
    if (S_ISREG(info.st_mode) && utf8_valid(stem) && bytes_cut_end(&stem, ".gguf"))
        add_found(walk, path, &info);
}

static void walk_folder(struct walk *walk, const char *path, int depth)
{
    if (walk->n_folders++ >= FOLDERS_MOST) {
        walk->is_full = true;
        return;
    }
    folder_watch(walk->store, path); // first: what comes while it is read is seen
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        walk_entry(walk, path, entry->d_name, depth);
    closedir(dir);
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(((const struct store_model *)a)->path, ((const struct store_model *)b)->path);
}

// ---- parts of one model -------------------------------------------------------------------------

// Whether b is another part of the model that a is one of: they are neighbours then.
static bool same_split(const char *a, const char *b)
{
    unsigned no[2], count[2];
    const size_t n[2] = {strlen(a) - ENDING_BYTES, strlen(b) - ENDING_BYTES};
    const size_t stem = split_stem(a, n[0], &no[0], &count[0]);
    return stem > 0 && split_stem(b, n[1], &no[1], &count[1]) == stem && count[0] == count[1] &&
           memcmp(a, b, stem) == 0;
}

// Parts become the first of them, from `from` on.
static void join_parts(struct walk *walk, size_t from)
{
    size_t n = from;
    for (size_t i = from; i < walk->n; i++) {
        struct store_model *last = n > from ? &walk->found[n - 1] : NULL;
        const struct store_model *model = &walk->found[i];
        if (!last || !same_split(last->path, model->path)) {
            if (n != i)
                walk->found[n] = *model;
            n++;
            continue;
        }
        last->file_bytes += model->file_bytes; // sizes of files on a disk: far from 2^64
        if (model->modified_s > last->modified_s)
            last->modified_s = model->modified_s;
    }
    walk->n = n;
}

// ---- the list -----------------------------------------------------------------------------------

static void add_file(struct walk *walk, const char *path)
{
    struct stat info;
    const bool is_file = path[0] == '/';
    if (!path[0])
        return;
    for (size_t i = 0; i < walk->n; i++)
        if (strcmp(walk->found[i].path, path) == 0)
            return;
    if (is_file && stat(path, &info) != 0)
        return;
    walk->is_ours = false;
    add_found(walk, path, is_file ? &info : NULL);
}

static const struct store_model *find_path(const struct store_list *list, const char *path)
{
    for (size_t i = 0; list && i < list->n_models; i++)
        if (strcmp(list->models[i].path, path) == 0)
            return &list->models[i];
    return NULL;
}

// What was read of a file that is as it was.
static void take_over(struct store_model *model, const struct store_list *last)
{
    const struct store_model *before = find_path(last, model->path);
    if (!before || before->file_bytes != model->file_bytes ||
        before->modified_s != model->modified_s || !before->is_described)
        return;
    model->is_described = true;
    model->about = before->about;
    model->fault = before->fault;
}

struct store_list *scan(struct store *store)
{
    struct walk walk = {.store = store};
    for (size_t i = 0; i < COUNT_OF(store->files); i++) // what is in the binary keeps its name
        if (store->files[i][0] != '/')
            add_file(&walk, store->files[i]);
    for (size_t i = 0; i < store->n_folders; i++) {
        const size_t from = walk.n;
        walk.is_ours = store->folders[i].is_ours;
        walk_folder(&walk, store->folders[i].path, 0);
        if (walk.n > from)
            qsort(walk.found + from, walk.n - from, sizeof(*walk.found), compare_paths);
        join_parts(&walk, from);
    }
    for (size_t i = 0; i < COUNT_OF(store->files); i++)
        add_file(&walk, store->files[i]);
    if (walk.n > STORE_MODELS_MOST) {
        walk.n = STORE_MODELS_MOST;
        walk.is_full = true;
    }
    if (walk.is_full && !store->full_told)
        log_warn("there are more model files or folders than are listed: at most %d models, in %d "
                 "folders",
                 STORE_MODELS_MOST, FOLDERS_MOST);
    store->full_told = walk.is_full;
    struct store_list *list = mem_alloc(sizeof(*list));
    list->models = walk.found;
    list->n_models = walk.n;
    for (size_t i = 0; i < list->n_models; i++)
        take_over(&list->models[i], store->last);
    digests_apply(&store->digests, list);
    names_give(list);
    return list;
}
