// inside.h - what the files of store/ share.
//
//   store.c     the caller's side       thread.c  the store's thread: watches, scans, does
//   scan.c      folders into a list     names.c   names, aliases, the setting and the kept file
//   act.c       copy, delete            digest.c  SHA-256 of files, in idle time
//   incoming.c  the caller's side of what arrives
//   landing.c   the thread's: bytes into files, checks
//   berth.c     where these lie, and their records
//
// A list is made by the thread and travels to the caller, whose it is from then on; the thread
// keeps a copy of its own of what the next scan can use again.
#pragma once

#include "store.h"

#include <pthread.h>
#include <stdatomic.h>

enum { FILES_MOST = 4096, FOLDERS_MOST = 256, DEPTH_MOST = 4 };
// More than can be under way: TASKS_MOST, the pieces of all that are held, a few of each arrival.
enum { RING_SLOTS = 256, TASKS_MOST = 32 };
enum {
    PIECE_BYTES = 128 << 10, // what is gathered of an arrival before it goes to the thread
    PIECES_MOST = 8,         // of one arrival, on their way
    SLICE_BYTES = 1 << 20,   // hashed at once
};

struct store_list {             // one malloc and one for each array
    struct store_model *models; // [n_models], in the order of names
    size_t n_models;
    struct store_alias *aliases; // [n_aliases], those of settings first
    size_t n_aliases;
};

enum store_task_kind {
    TASK_COPY,
    TASK_NAME,
    TASK_DELETE,
    TASK_END,
    // of the arrival with the number `arrival`
    TASK_MAKE,   // it is `made`
    TASK_GO_ON,  // its fault is forgotten
    TASK_PIECE,  // bytes at its end
    TASK_SYNC,   // what is written is on the disk
    TASK_FINISH, // no more come
    TASK_DROP,   // it is not wanted any more
    TASK_TITLE,  // its name
};
struct store_task { // one malloc, and one for each pointer: the caller's until it is sent
    enum store_task_kind kind;
    uint64_t id;
    char path[STORE_PATH_BYTES]; // of the model
    char name[STORE_NAME_BYTES], model[STORE_NAME_BYTES];
    uint64_t arrival;
    struct arrival *made;
    uint8_t *piece; // [n_piece]
    size_t n_piece;
};

struct landed { // what has become of an arrival
    uint64_t number;
    bool is_asked; // a task is done by it, of this kind; else it comes by itself
    enum store_task_kind kind;
    struct arrival at;
    uint64_t n_set_aside; // bytes that the disk keeps for it
};

struct store_answer {
    uint64_t id;
    struct err err;
    struct store_list *list; // NULL: as it was
    struct landed *landed;   // NULL: it is of no arrival
};

struct landing { // an arrival, as the thread has it
    struct landing *next;
    uint64_t number;
    struct arrival at; // n_taken: written; n_safe: synced
    int fd;            // -1: not open yet
    uint64_t n_found;  // bytes that were there when it was opened
    uint64_t n_hashed, n_set_aside;
    struct sha256 hash;
};

struct digest { // a file's, as it was
    char path[STORE_PATH_BYTES];
    uint64_t file_bytes;
    int64_t modified_s;
    char sha256[65]; // empty: it could not be read
};
struct digests {
    struct digest *all; // [n]
    size_t n;
    char kept[STORE_PATH_BYTES]; // the file that keeps them; empty: none
    // of the one that is being made
    int fd; // -1: none
    struct digest next;
    struct sha256 hash;
    uint64_t n_hashed;
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
    _Atomic bool ends; // what takes long is given up
    // the caller's
    struct store_list *list;
    size_t n_open; // tasks without an answer, those of arrivals apart
    struct incoming *incoming;
    uint64_t last_number; // of an arrival
    // from here on the thread's alone, once it runs
    struct folder folders[2 + STORE_FOLDERS_MOST]; // the box's own, the setting's, attached ones
    size_t n_folders;
    char files[2][STORE_PATH_BYTES];
    char kept[STORE_PATH_BYTES];
    enum status (*describe)(struct store_about *out, const char *path, struct err *err);
    struct plan_of_names names;
    struct store_list *last; // of the last scan: what is described need not be again
    int watch_fd;            // inotify; -1: the kernel has none
    bool full_told;
    struct landing *landings;
    struct digests digests;
    uint8_t *slice; // [SLICE_BYTES]
};

// scan.c
void list_close(struct store_list *list);
struct store_list *list_copy(const struct store *store); // of the last scan, with the aliases
// All models of all folders, named; what `last` knows of files that are as they were is taken over.
struct store_list *scan(struct store *store);

// names.c
void names_give(struct store_list *list); // names to the models of a list that has paths only
MUST_USE enum status names_read_setting(struct plan_of_names *names, const char *text,
                                        struct err *err);
// Whether an alias would be read again as what it was written for; BAD_INPUT: not.
MUST_USE enum status names_pair_good(struct bytes name, struct bytes model, struct err *err);
void names_read_kept(struct plan_of_names *names, const char *path);
MUST_USE enum status names_keep(const struct plan_of_names *names, const char *path,
                                struct err *err);
MUST_USE enum status names_set(struct plan_of_names *names, const char *name, const char *model,
                               struct err *err);
struct store_alias *names_copy(const struct plan_of_names *names);

// act.c
MUST_USE enum status task_do(struct store *store, const struct store_task *task, struct err *err);

MUST_USE enum status sync_folder_of(const char *path, struct err *err);

// thread.c
void *store_main(void *store);
void answer_push(struct store *store, struct store_answer *answer); // it is the caller's then
void rescan(struct store *store);

// store.c
void task_push(struct store *store, struct store_task *task);
void task_free(struct store_task *task);

// incoming.c
uint64_t store_reserve(uint64_t disk_bytes); // what is kept free of a disk
void incoming_begin(struct store *store);    // from what lies there, before the thread runs
void incoming_close(struct store *store);
void incoming_take(struct store *store, struct landed *landed); // an answer; frees it
// Whether an arrival has that name, or is another kind of the model of that name.
bool incoming_has_name(const struct store *store, struct bytes name);

// landing.c
void landing_do(struct store *store, struct store_task *task);
bool landing_step(struct store *store); // a slice of what is to be hashed; false: nothing is
void landings_close(struct store *store);
void landings_expire(struct store *store);

// berth.c
bool berth_path(char out[STORE_PATH_BYTES], const struct store *store, const char *id,
                const char *ending); // ".part", ".record"
MUST_USE enum status berth_make(struct store *store, struct landing *landing, struct err *err);
MUST_USE enum status berth_record(const struct store *store, const struct landing *landing,
                                  struct err *err);
void berth_clear(const struct store *store, const char *id);
// Moves what is KEPT and named into the folder of models, with the other parts where it is one of
// several; AGAIN: not all are there.
MUST_USE enum status berth_leave(struct store *store, struct landing *landing, struct err *err);
// The path of a part that is whole, beside all other parts that are here: second names, until
// berth_part_end.
bool berth_part(char out[STORE_PATH_BYTES], const struct store *store,
                const struct landing *landing);
void berth_part_end(const struct store *store, const struct landing *landing);
void berths_read(struct store *store); // at the start

// digest.c
void digests_read(struct digests *digests, const char *path);
void digests_close(struct digests *digests);
void digests_apply(const struct digests *digests, struct store_list *list);
void digests_add(struct digests *digests, const struct digest *digest);
void digests_keep(const struct store *store);
// A slice of a file whose digest is not known. *news: one is now. Returns how many ms to rest;
// -1: nothing is to be done.
int digests_step(struct store *store, bool *news);
