// inside.h - what the files of store/ share.
//
//   store.c  the caller's side          thread.c  the store's thread: watches, scans, does
//   scan.c   folders into a list        names.c   names, aliases, the setting and the kept file
//   act.c    copy, delete
//
// A list is made by the thread and travels to the caller, whose it is from then on; the thread
// keeps a copy of its own of what the next scan can use again.
#pragma once

#include "store.h"

#include <pthread.h>
#include <stdatomic.h>

enum { RING_SLOTS = 64, FILES_MOST = 4096, FOLDERS_MOST = 256, DEPTH_MOST = 4 };

struct store_list {             // one malloc and one for each array
    struct store_model *models; // [n_models], in the order of names
    size_t n_models;
    struct store_alias *aliases; // [n_aliases], those of settings first
    size_t n_aliases;
};

enum store_task_kind { TASK_COPY, TASK_NAME, TASK_DELETE, TASK_END };
struct store_task { // one malloc: the caller's until it is sent
    enum store_task_kind kind;
    uint64_t id;
    char path[STORE_PATH_BYTES]; // of the model
    char name[STORE_NAME_BYTES], model[STORE_NAME_BYTES];
};

struct store_answer {
    uint64_t id;
    struct err err;
    struct store_list *list;
};

struct folder { // where models are looked for
    char path[STORE_PATH_BYTES];
    bool is_ours;
};

struct plan_of_names { // aliases as they are kept: the thread's
    struct store_alias aliases[STORE_ALIASES_MOST];
    size_t n;
};

struct store {
    struct ring *tasks, *answers;
    pthread_t thread;
    _Atomic bool ends;       // what takes long is given up
    struct store_list *list; // the caller's
    size_t n_open;           // the caller's: tasks without an answer
    // from here on the thread's alone, once it runs
    struct folder folders[1 + STORE_FOLDERS_MOST];
    size_t n_folders;
    char files[2][STORE_PATH_BYTES];
    char kept[STORE_PATH_BYTES];
    enum status (*describe)(struct store_about *out, const char *path, struct err *err);
    struct plan_of_names names;
    struct store_list *last; // of the last scan: what is described need not be again
    int watch_fd;            // inotify; -1: the kernel has none
    bool full_told;
};

// scan.c
void list_close(struct store_list *list);
struct store_list *list_copy(const struct store *store); // of the last scan, with the aliases
// All models of all folders, named; what `last` knows of files that are as they were is taken over.
struct store_list *scan(struct store *store);
// NAME-00002-of-00003(.gguf): the bytes before the suffix; 0: it is not such a name.
size_t split_stem(const char *name, size_t n, unsigned *no, unsigned *count);
void folder_watch(const struct store *store, const char *path);

// names.c
void names_give(struct store_list *list); // names to the models of a list that has paths only
MUST_USE enum status names_read_setting(struct plan_of_names *names, const char *text,
                                        struct err *err);
void names_read_kept(struct plan_of_names *names, const char *path);
MUST_USE enum status names_keep(const struct plan_of_names *names, const char *path,
                                struct err *err);
MUST_USE enum status names_set(struct plan_of_names *names, const char *name, const char *model,
                               struct err *err);
struct store_alias *names_copy(const struct plan_of_names *names);

// act.c
MUST_USE enum status task_do(struct store *store, const struct store_task *task, struct err *err);

// thread.c
void *store_main(void *store);
