// landing.c - the thread's side of what arrives: pieces into a file, its hash, and the check at the
// end.
//
// The hash follows the bytes: it takes each piece as it is written, and what was there before (a
// restart) slice by slice from the file, between other tasks. Written bytes are synced every
// SYNC_BYTES and when asked; after a sync that failed, what was not synced is cut off, since nobody
// knows what of it is there. A fault stays until the next holder: the pieces behind it are dropped.
#include "inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { SYNC_BYTES = 32 << 20, DAY_S = 24 * 3600, OLDEST_DAYS = 3650 };
// What a GGUF file begins with: four letters, and its version as u32.
enum { MAGIC_BYTES = 8, VERSION_FIRST = 2, VERSION_LAST = 3 };

static void tell(struct store *store, const struct landing *landing, const struct store_task *task,
                 bool listed)
{
    struct store_answer *answer = mem_alloc(sizeof(*answer));
    answer->landed = mem_alloc(sizeof(*answer->landed));
    *answer->landed = (struct landed){.number = landing->number,
                                      .is_asked = task != NULL,
                                      .kind = task ? task->kind : TASK_END,
                                      .at = landing->at,
                                      .n_set_aside = landing->n_set_aside};
    answer->list = listed ? list_copy(store) : NULL;
    answer_push(store, answer);
}

static void forget(struct store *store, struct landing *landing)
{
    struct landing **at = &store->landings;
    while (*at != landing)
        at = &(*at)->next;
    *at = landing->next;
    if (landing->fd >= 0)
        close(landing->fd);
    free(landing);
}

static enum status fail(struct store *store, struct landing *landing)
{
    landing->at.phase = INCOMING_FAILED;
    berth_clear(store, landing->at.id);
    log_info("store: %s is given up: %s", landing->at.id, landing->at.fault.text);
    return landing->at.fault.status;
}

static enum status os_fault(struct landing *landing, const char *what)
{
    const bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
    return err_set(&landing->at.fault, full ? NO_ROOM : IO_ERROR,
                   full ? "the disk is full: %s, %llu bytes of the file are here (%s)"
                        : "%s, behind %llu bytes: %s",
                   what, (unsigned long long)landing->at.n_taken, strerror(errno));
}

static enum status open_file(struct store *store, struct landing *landing)
{
    char path[STORE_PATH_BYTES];
    struct stat info;
    if (landing->fd >= 0)
        return OK;
    if (!berth_path(path, store, landing->at.id, ".part"))
        return err_set(&landing->at.fault, TOO_LARGE, "its path is too long");
    landing->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (landing->fd >= 0 && fstat(landing->fd, &info) == 0) {
        landing->at.n_taken = landing->n_found = (uint64_t)info.st_size;
        return OK;
    }
    os_fault(landing, "it cannot be opened");
    return landing->at.fault.status;
}

// ---- bytes --------------------------------------------------------------------------------------

static void start_again_at(struct landing *landing, uint64_t n)
{
    if (ftruncate(landing->fd, (off_t)n) != 0)
        log_warn("%s cannot be cut: %s", landing->at.id, strerror(errno));
    landing->at.n_taken = n;
    if (landing->n_hashed > n) {
        landing->n_hashed = 0;
        sha256_init(&landing->hash);
    }
}

static enum status sync_file(struct landing *landing)
{
    if (landing->fd < 0 || landing->at.n_safe == landing->at.n_taken)
        return OK;
    if (fdatasync(landing->fd) == 0) {
        landing->at.n_safe = landing->at.n_taken;
        return OK;
    }
    enum status status = os_fault(landing, "it cannot be written");
    start_again_at(landing,
                   landing->at.n_safe > landing->n_found ? landing->at.n_safe : landing->n_found);
    return status;
}

// What comes without a length finds its room as it goes.
static enum status check_room(const struct store *store, struct landing *landing)
{
    struct statvfs disk;
    if (landing->n_set_aside > 0 || statvfs(store->folders[0].path, &disk) != 0)
        return OK;
    const uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (free_bytes >= store_reserve((uint64_t)disk.f_blocks * disk.f_frsize))
        return OK;
    return err_set(&landing->at.fault, NO_ROOM,
                   "the disk is full: %llu MB of it are free, which are kept free; %llu bytes of "
                   "the file are here",
                   (unsigned long long)(free_bytes / 1000000),
                   (unsigned long long)landing->at.n_taken);
}

// Known from the first bytes on: nobody sends forty gigabytes in vain.
static enum status check_magic(struct store *store, struct landing *landing)
{
    uint8_t magic[MAGIC_BYTES] = {0};
    if (incoming_is_update(landing->at.id))
        return OK; // PID 1 looks into it
    const ssize_t n = pread(landing->fd, magic, sizeof(magic), 0);
    const uint32_t version = (uint32_t)magic[4] | (uint32_t)magic[5] << 8 |
                             (uint32_t)magic[6] << 16 | (uint32_t)magic[7] << 24;
    if (n != (ssize_t)sizeof(magic) || memcmp(magic, "GGUF", 4) != 0)
        (void)err_set(&landing->at.fault, BAD_INPUT,
                      "this is no GGUF file: it does not begin with the four letters GGUF and a "
                      "version");
    else if (version >= VERSION_FIRST && version <= VERSION_LAST)
        return OK;
    else if ((version & 0xffff) == 0 && version != 0)
        (void)err_set(&landing->at.fault, BAD_INPUT,
                      "this is a big-endian GGUF file: convert it to little endian");
    else
        (void)err_set(&landing->at.fault, BAD_INPUT,
                      "this is a GGUF file of version %u: this build reads %d and %d", version,
                      VERSION_FIRST, VERSION_LAST);
    return fail(store, landing);
}

static void take_piece(struct store *store, struct landing *landing, struct bytes piece)
{
    const uint64_t before = landing->at.n_taken;
    const bool follows = landing->n_hashed == before;
    size_t done = 0;
    while (done < piece.n) {
        ssize_t n = pwrite(landing->fd, piece.p + done, piece.n - done, (off_t)(before + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            landing->at.n_taken = before + done;
            os_fault(landing, "it cannot be written");
            break;
        }
        done += (size_t)n;
    }
    landing->at.n_taken = before + done;
    if (follows && done > 0) {
        sha256_add(&landing->hash, (struct bytes){piece.p, done});
        landing->n_hashed += done;
    }
    landing->at.moved_s = clock_unix_s();
    if (before < MAGIC_BYTES && landing->at.n_taken >= MAGIC_BYTES &&
        check_magic(store, landing) != OK)
        return;
    if (landing->at.fault.status == OK && landing->at.n_taken - landing->at.n_safe >= SYNC_BYTES &&
        check_room(store, landing) == OK)
        (void)sync_file(landing);
}

// ---- the end ------------------------------------------------------------------------------------

static void finish(struct store *store, struct landing *landing)
{
    struct arrival *at = &landing->at;
    (void)store;
    if (at->n_bytes > 0 && at->n_taken != at->n_bytes)
        (void)err_set(&at->fault, BAD_INPUT, "%llu of the file's %llu bytes are here",
                      (unsigned long long)at->n_taken, (unsigned long long)at->n_bytes);
    else
        at->phase = INCOMING_ENDS;
}

// Whether its head is that of a model, or of a part as its name says. What this build cannot run is
// listed with its reason; a part without a name is read when it has one.
static enum status check_head(struct store *store, const struct landing *landing, struct err *err)
{
    const struct arrival *at = &landing->at;
    char path[STORE_PATH_BYTES];
    struct err why = {0};
    unsigned no, count = 1;
    const bool is_part = split_stem(at->name, strlen(at->name), &no, &count) > 0;
    if (is_part ? !berth_part(path, store, landing) : !berth_path(path, store, at->id, ".part"))
        return OK;
    struct store_about *about = mem_alloc(sizeof(*about));
    const enum status status = store->describe(about, path, &why);
    const bool others = is_part && about->n_parts > 0 && about->n_parts != (int32_t)count,
               lonely = status == NOT_FOUND && !is_part && at->name[0];
    if (others)
        (void)err_set(&why, BAD_INPUT, "by its name it is one of %u parts, by its keys of %d",
                      count, (int)about->n_parts);
    free(about);
    if (is_part)
        berth_part_end(store, landing);
    if (status != BAD_INPUT && !others && !lonely)
        return OK;
    const char *reason = is_part ? NULL : strstr(why.text, path);
    reason = reason ? reason + strlen(path) : why.text; // where it lies is nobody's business
    reason += strspn(reason, ": ");
    (void)err_set(err, BAD_INPUT, "the file cannot be a model: %.250s", reason);
    err_hide_folder(err, path);
    return BAD_INPUT;
}

// All is hashed. Is it what was said, and what it should be?
static enum status check(struct store *store, struct landing *landing)
{
    struct arrival *at = &landing->at;
    char digest[2 * SHA256_BYTES + 1];
    uint8_t sum[SHA256_BYTES];
    if (sync_file(landing) != OK)
        return fail(store, landing);
    sha256_done(&landing->hash, sum);
    hex_write(digest, sum, sizeof(sum));
    if (at->sha256[0] && strcmp(at->sha256, digest) != 0) {
        (void)err_set(&at->fault, BAD_INPUT,
                      "the file's SHA-256 is %s, but %s was expected: it is not kept", digest,
                      at->sha256);
        return fail(store, landing);
    }
    memcpy(at->sha256, digest, sizeof(at->sha256));
    if (check_magic(store, landing) != OK)
        return at->fault.status;
    if (incoming_is_update(at->id))
        return OK;
    return check_head(store, landing, &at->fault) == OK ? OK : fail(store, landing);
}

// To the folder of models if it can; all that became a model is told and forgotten. `asked` stays.
static enum status leave(struct store *store, struct landing *asked, struct err *err)
{
    enum status status = berth_leave(store, asked, err);
    bool listed = false;
    for (struct landing *landing = store->landings, *next; landing; landing = next) {
        next = landing->next;
        if (landing->at.phase != INCOMING_DONE)
            continue;
        if (!listed)
            rescan(store);
        listed = true;
        digests_keep(store);
        if (landing == asked)
            continue;
        tell(store, landing, NULL, false);
        forget(store, landing);
    }
    return status == AGAIN ? OK : status;
}

// It could not be moved, or recorded: whoever holds it next may finish it again.
static void come_back(struct landing *landing)
{
    landing->at.phase = INCOMING_ARRIVES;
    landing->n_hashed = 0;
    sha256_init(&landing->hash);
}

// A file with a name goes where it belongs, which takes no room of the disk; what must wait gets a
// record that says so.
static void keep(struct store *store, struct landing *landing)
{
    struct arrival *at = &landing->at;
    unsigned no, count;
    if (check(store, landing) != OK)
        return;
    const bool alone = at->name[0] && split_stem(at->name, strlen(at->name), &no, &count) == 0;
    at->phase = INCOMING_KEPT;
    at->n_bytes = at->n_taken;
    enum status status = alone ? OK : berth_record(store, landing, &at->fault);
    if (status == OK && at->name[0])
        status = leave(store, landing, &at->fault);
    if (status == DENIED) {
        const struct err why = at->fault;
        log_info("store: %s is kept without a name: %s", at->id, why.text);
        at->name[0] = 0;
        status = berth_record(store, landing, &at->fault);
        at->fault = status == OK ? why : at->fault;
    }
    if (status != OK && at->phase == INCOMING_KEPT)
        come_back(landing);
}

// A slice of its hash. False: it has all.
static bool hash_slice(struct store *store, struct landing *landing)
{
    const uint64_t left = landing->at.n_taken - landing->n_hashed;
    if (left == 0)
        return false;
    ssize_t n = pread(landing->fd, store->slice, left < SLICE_BYTES ? (size_t)left : SLICE_BYTES,
                      (off_t)landing->n_hashed);
    if (n <= 0) {
        (void)err_set(&landing->at.fault, IO_ERROR, "it cannot be read again: %s",
                      n < 0 ? strerror(errno) : "it has become shorter");
        landing->at.phase =
            landing->at.phase == INCOMING_ENDS ? INCOMING_ARRIVES : landing->at.phase;
        tell(store, landing, NULL, false);
        return false;
    }
    sha256_add(&landing->hash, (struct bytes){store->slice, (size_t)n});
    landing->n_hashed += (uint64_t)n;
    return true;
}

bool landing_step(struct store *store)
{
    for (struct landing *landing = store->landings; landing; landing = landing->next) {
        struct arrival *at = &landing->at;
        if (landing->fd < 0 || at->fault.status != OK ||
            (at->phase != INCOMING_ARRIVES && at->phase != INCOMING_ENDS))
            continue;
        if (hash_slice(store, landing))
            return true;
        if (at->phase != INCOMING_ENDS || at->fault.status != OK)
            continue;
        keep(store, landing);
        tell(store, landing, NULL, at->phase == INCOMING_DONE);
        if (at->phase == INCOMING_DONE || at->phase == INCOMING_FAILED)
            forget(store, landing);
        return true;
    }
    return false;
}

// ---- tasks --------------------------------------------------------------------------------------

static struct landing *landing_of(struct store *store, uint64_t number)
{
    struct landing *landing = store->landings;
    while (landing && landing->number != number)
        landing = landing->next;
    return landing;
}

static void make(struct store *store, struct store_task *task)
{
    struct landing *landing = mem_alloc(sizeof(*landing)), **end = &store->landings;
    landing->number = task->arrival;
    landing->at = *task->made;
    landing->fd = -1;
    sha256_init(&landing->hash);
    while (*end)
        end = &(*end)->next;
    *end = landing;
    if (berth_make(store, landing, &landing->at.fault) != OK)
        (void)fail(store, landing);
    tell(store, landing, task, false);
    if (landing->at.phase == INCOMING_FAILED)
        forget(store, landing);
}

static void title(struct store *store, struct landing *landing, const struct store_task *task)
{
    struct store_answer *answer = mem_alloc(sizeof(*answer));
    enum status status = OK;
    answer->id = task->id;
    if (landing->at.phase != INCOMING_KEPT || landing->at.name[0])
        status = err_set(&answer->err, NOT_FOUND, "the file has a name already");
    if (status == OK) {
        memcpy(landing->at.name, task->name, sizeof(landing->at.name));
        landing->at.fault = (struct err){.status = OK};
        status = check_head(store, landing, &answer->err);
        if (status == OK)
            status = berth_record(store, landing, &answer->err);
        if (status == OK)
            status = leave(store, landing, &answer->err);
        if (status != OK && landing->at.phase == INCOMING_KEPT)
            landing->at.name[0] = 0;
    }
    tell(store, landing, task, false);
    answer->list = list_copy(store);
    answer_push(store, answer);
    if (landing->at.phase == INCOMING_DONE)
        forget(store, landing);
}

static void drop(struct store *store, struct landing *landing, const struct store_task *task)
{
    landing->at.phase = INCOMING_FAILED;
    (void)err_set(&landing->at.fault, CANCELLED, "it was deleted");
    berth_clear(store, landing->at.id);
    tell(store, landing, task, false);
    forget(store, landing);
}

// It is not here any more: it was given up meanwhile.
static void tell_gone(struct store *store, const struct store_task *task)
{
    struct landing gone = {.number = task->arrival, .at = {.phase = INCOMING_FAILED}};
    (void)err_set(&gone.at.fault, NOT_FOUND, "what arrived is not here any more");
    tell(store, &gone, task, false);
    if (task->kind != TASK_TITLE)
        return;
    struct store_answer *answer = mem_alloc(sizeof(*answer));
    answer->id = task->id;
    answer->err = gone.at.fault;
    answer_push(store, answer);
}

void landing_do(struct store *store, struct store_task *task)
{
    struct landing *landing = landing_of(store, task->arrival);
    const bool arrives = landing && landing->at.phase == INCOMING_ARRIVES;
    if (task->kind == TASK_MAKE) {
        make(store, task);
        return;
    }
    if (!landing) {
        tell_gone(store, task);
        return;
    }
    if (task->kind == TASK_TITLE || task->kind == TASK_DROP) {
        if (task->kind == TASK_TITLE)
            title(store, landing, task);
        else
            drop(store, landing, task);
        return;
    }
    if (arrives && task->kind == TASK_GO_ON)
        landing->at.fault = (struct err){.status = OK};
    if (arrives && landing->at.fault.status == OK && open_file(store, landing) == OK) {
        if (task->kind == TASK_PIECE)
            take_piece(store, landing, (struct bytes){task->piece, task->n_piece});
        else if (sync_file(landing) == OK && task->kind == TASK_FINISH)
            finish(store, landing);
    }
    tell(store, landing, task, false);
    if (landing->at.phase == INCOMING_FAILED)
        forget(store, landing);
}

// ---- time ---------------------------------------------------------------------------------------

// A box without a clock begins in the past: what seems decades old is taken for new.
void landings_expire(struct store *store)
{
    const int64_t now_s = clock_unix_s();
    for (struct landing *landing = store->landings, *next; landing; landing = next) {
        const int64_t days = (now_s - landing->at.moved_s) / DAY_S;
        next = landing->next;
        if (days > OLDEST_DAYS)
            landing->at.moved_s = now_s;
        if (days < INCOMING_DAYS || days > OLDEST_DAYS || landing->at.phase == INCOMING_ENDS)
            continue;
        (void)err_set(&landing->at.fault, CANCELLED, "nothing came of it for %lld days",
                      (long long)days);
        (void)fail(store, landing);
        tell(store, landing, NULL, false);
        forget(store, landing);
    }
}

void landings_close(struct store *store)
{
    while (store->landings)
        forget(store, store->landings);
}
