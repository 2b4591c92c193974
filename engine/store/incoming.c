// incoming.c - the caller's side of what arrives: who holds it, what is on its way to the thread,
// and what is known of it.
//
// Pieces are gathered to PIECE_BYTES; PIECES_MOST of one arrival may be on their way, beyond that
// its holder waits. Each task has one answer, which says how the arrival is by then. One that has
// ended stays known until its place is needed, so that whoever asks late still learns how it ended.
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

enum { ENDED_MS = 3600 * 1000 };
static const uint64_t RESERVE_BYTES = 256 << 20;

struct incoming {
    struct incoming *next;
    struct store *store;
    uint64_t number;
    struct arrival at;
    uint64_t n_set_aside;
    incoming_told *told; // NULL: nobody holds it
    void *arg;
    uint8_t *piece; // [PIECE_BYTES]: gathered, not sent; NULL: none
    size_t n_piece;
    size_t n_open, n_pieces; // tasks without an answer; of these, pieces
    bool is_synced;          // nothing was given since the last sync
    bool forgives;           // a fault of before was forgotten; the thread has not said so yet
    bool is_dropped;         // deleted: nobody sees it any more
    uint64_t ended_ms;
};

static bool has_ended(const struct incoming *incoming)
{
    return incoming->at.phase == INCOMING_DONE || incoming->at.phase == INCOMING_FAILED;
}

static void unlink_one(struct store *store, struct incoming *incoming)
{
    struct incoming **at = &store->incoming;
    while (*at != incoming)
        at = &(*at)->next;
    *at = incoming->next;
    free(incoming->piece);
    free(incoming);
}

static struct incoming *append(struct store *store)
{
    struct incoming *incoming = mem_alloc(sizeof(*incoming)), **end = &store->incoming;
    incoming->store = store;
    while (*end)
        end = &(*end)->next;
    *end = incoming;
    return incoming;
}

void incoming_begin(struct store *store)
{
    for (const struct landing *landing = store->landings; landing; landing = landing->next) {
        struct incoming *incoming = append(store);
        incoming->number = landing->number;
        incoming->at = landing->at;
        incoming->n_set_aside = landing->n_set_aside;
        incoming->at.is_settled = true;
    }
}

void incoming_close(struct store *store)
{
    while (store->incoming)
        unlink_one(store, store->incoming);
}

// ---- what there is ------------------------------------------------------------------------------

size_t store_n_incoming(const struct store *store)
{
    size_t n = 0;
    for (const struct incoming *one = store->incoming; one; one = one->next)
        n += !one->is_dropped;
    return n;
}

struct incoming *store_incoming(const struct store *store, size_t i)
{
    struct incoming *one = store->incoming;
    while (one && (one->is_dropped || i > 0)) {
        i -= !one->is_dropped;
        one = one->next;
    }
    return one;
}

struct incoming *store_incoming_find(const struct store *store, struct bytes id)
{
    struct incoming *one = store->incoming;
    while (one && (one->is_dropped || !bytes_equal_text(id, one->at.id)))
        one = one->next;
    return one;
}

const struct arrival *incoming_at(const struct incoming *incoming)
{
    return &incoming->at;
}

bool incoming_is_update(const char *id)
{
    static const char prefix[] = "update-";
    return strncmp(id, prefix, sizeof(prefix) - 1) == 0;
}

// The name of the model that a file's name belongs to.
static struct bytes stem_of(struct bytes name)
{
    unsigned no, count;
    const size_t n = split_stem((const char *)name.p, name.n, &no, &count);
    return (struct bytes){name.p, n > 0 ? n : name.n};
}

bool incoming_has_name(const struct store *store, struct bytes name)
{
    for (const struct incoming *one = store->incoming; one; one = one->next) {
        const struct bytes has = bytes_of(one->at.name);
        if (has.n > 0 && !has_ended(one) && !one->is_dropped &&
            (bytes_equal(name, has) || bytes_equal(name, stem_of(has))))
            return true;
    }
    return false;
}

// ---- making -------------------------------------------------------------------------------------

uint64_t store_reserve(uint64_t disk_bytes)
{
    return disk_bytes / 64 < RESERVE_BYTES ? disk_bytes / 64 : RESERVE_BYTES;
}

static enum status check_room(const struct store *store, uint64_t n_bytes, struct err *err)
{
    struct statvfs disk;
    uint64_t needed = n_bytes;
    if (statvfs(store->folders[0].path, &disk) != 0)
        return OK; // the thread will say what is wrong there
    const uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize,
                   reserve = store_reserve((uint64_t)disk.f_blocks * disk.f_frsize);
    for (const struct incoming *one = store->incoming; one; one = one->next) {
        const uint64_t has =
            one->n_set_aside > one->at.n_taken ? one->n_set_aside : one->at.n_taken;
        if (one->at.phase == INCOMING_ARRIVES && one->at.n_bytes > has &&
            add_overflows(needed, one->at.n_bytes - has, &needed))
            needed = UINT64_MAX;
    }
    if (!add_overflows(needed, reserve, &needed) && needed <= free_bytes)
        return OK;
    return err_set(err, NO_ROOM,
                   "the disk has no room for it: %llu MB are free, %llu MB of these are kept free "
                   "or promised to other files, and this one has %llu MB",
                   (unsigned long long)(free_bytes / 1000000),
                   (unsigned long long)((needed - n_bytes) / 1000000),
                   (unsigned long long)(n_bytes / 1000000));
}

static bool id_good(struct bytes id)
{
    static const char others[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
    if (id.n == 0 || id.n > 90 || id.p[0] == '.')
        return false;
    for (size_t i = 0; i < id.n; i++)
        if (!id.p[i] || !strchr(others, id.p[i]))
            return false;
    return true;
}

static bool source_good(struct bytes source)
{
    for (size_t i = 0; i < source.n; i++)
        if (source.p[i] < 0x20 || source.p[i] == 0x7f)
            return false;
    return source.n < INCOMING_SOURCE_BYTES;
}

// A missing part of a model may come where the others lie.
static bool is_part_of(const struct store *store, const struct store_model *model,
                       struct bytes name)
{
    unsigned no[2], count[2];
    const size_t n_home = strlen(store->folders[0].path);
    const struct bytes path = bytes_of(model->path);
    const size_t stem = split_stem((const char *)name.p, name.n, &no[0], &count[0]);
    return stem > 0 && path.n > n_home + 6 && memcmp(path.p, store->folders[0].path, n_home) == 0 &&
           path.p[n_home] == '/' &&
           split_stem((const char *)path.p + n_home + 1, path.n - n_home - 6, &no[1], &count[1]) ==
               stem &&
           count[0] == count[1];
}

// Whether a file of that name may come here.
static enum status check_name(const struct store *store, struct bytes name, struct err *err)
{
    char text[NAME_TEXT];
    const struct bytes stem = stem_of(name);
    if (!store_name_good(name))
        return err_set(err, BAD_INPUT,
                       "'%s' cannot be a model's name: 1 to 200 bytes without slashes and control "
                       "characters, and not with a dot in front",
                       name_text(text, name));
    if (bytes_equal_text(stem, "*") || bytes_ends_in(stem, ":latest"))
        return err_set(err, BAD_INPUT,
                       "'%s' cannot be a model's name: '*' stands for any, and ':latest' may be "
                       "added to each",
                       name_text(text, name));
    for (size_t i = 0; i < store_n_aliases(store); i++)
        if (bytes_equal_text(stem, store_alias(store, i)->name))
            return err_set(err, DENIED, "'%s' is an alias of %s already", name_text(text, stem),
                           store_alias(store, i)->model);
    const struct store_model *model = store_find_file(store, stem);
    if (model && !is_part_of(store, model, name))
        return err_set(err, DENIED, "there is a model '%s' already", name_text(text, stem));
    for (const struct incoming *one = store->incoming; one; one = one->next) {
        const struct bytes has = bytes_of(one->at.name);
        if (has.n == 0 || has_ended(one) || one->is_dropped || !bytes_equal(stem_of(has), stem))
            continue;
        if (bytes_equal(has, name) || has.n == stem.n || name.n == stem.n)
            return err_set(err, DENIED, "a model '%s' is arriving already, as %s",
                           name_text(text, name), one->at.id);
    }
    return OK;
}

static enum status check_wish(const struct store *store, const struct incoming_wish *wish,
                              struct err *err)
{
    char text[NAME_TEXT], digest[SHA256_TEXT];
    if (store->n_folders == 0 || !store->folders[0].is_ours)
        return err_set(err, UNSUPPORTED, "there is no folder for models that arrive");
    if (!id_good(wish->id))
        return err_set(err, BAD_INPUT, "'%s' cannot be the id of a file that arrives",
                       name_text(text, wish->id));
    if (wish->sha256.n > 0 && !sha256_read(digest, wish->sha256))
        return err_set(err, BAD_INPUT, "'%s' is no SHA-256, which has 64 hexadecimal digits",
                       name_text(text, wish->sha256));
    if (!source_good(wish->source))
        return err_set(err, BAD_INPUT, "the source is too long, or has control characters");
    if (wish->n_bytes > INT64_MAX)
        return err_set(err, TOO_LARGE, "no file has %llu bytes", (unsigned long long)wish->n_bytes);
    if (wish->name.n > 0 && check_name(store, wish->name, err) != OK)
        return err->status;
    return check_room(store, wish->n_bytes, err);
}

// A place for one more: what has ended longest makes room.
static bool make_place(struct store *store)
{
    size_t n = 0;
    struct incoming *ended = NULL;
    for (struct incoming *one = store->incoming; one; one = one->next) {
        n++;
        if (has_ended(one) && !one->told && one->n_open == 0 && !one->is_dropped &&
            (!ended || one->ended_ms < ended->ended_ms))
            ended = one;
    }
    if (n >= INCOMING_MOST && ended)
        unlink_one(store, ended);
    return n < INCOMING_MOST || ended;
}

static void copy_text(char *out, size_t size, struct bytes text)
{
    const size_t n = text.n < size ? text.n : size - 1;
    if (n > 0)
        memcpy(out, text.p, n);
    out[n] = 0;
}

static void send(struct incoming *incoming, enum store_task_kind kind, struct store_task *task)
{
    task = task ? task : mem_alloc(sizeof(*task));
    task->kind = kind;
    task->arrival = incoming->number;
    incoming->n_open++;
    incoming->n_pieces += kind == TASK_PIECE;
    incoming->at.is_settled = false;
    task_push(incoming->store, task);
}

enum status incoming_make(struct store *store, const struct incoming_wish *wish,
                          struct incoming **out, struct err *err)
{
    struct incoming *before = store_incoming_find(store, wish->id);
    if (before && (!has_ended(before) || before->told))
        return err_set(err, DENIED, "%s is arriving already", before->at.id);
    if (check_wish(store, wish, err) != OK)
        return err->status;
    if (before)
        before->is_dropped = true;
    if (before && before->n_open == 0)
        unlink_one(store, before);
    if (!make_place(store))
        return err_set(err, NO_ROOM, "%d files are arriving, which is the most", INCOMING_MOST);
    struct incoming *incoming = append(store);
    struct arrival *at = &incoming->at;
    incoming->number = ++store->last_number;
    copy_text(at->id, sizeof(at->id), wish->id);
    copy_text(at->name, sizeof(at->name), wish->name);
    copy_text(at->source, sizeof(at->source), wish->source);
    (void)sha256_read(at->sha256, wish->sha256); // none: it stays empty
    at->n_bytes = wish->n_bytes;
    at->began_s = at->moved_s = clock_unix_s();
    struct store_task *task = mem_alloc(sizeof(*task));
    task->made = mem_alloc(sizeof(*task->made));
    *task->made = *at;
    send(incoming, TASK_MAKE, task);
    *out = incoming;
    return OK;
}

// ---- holding ------------------------------------------------------------------------------------

static void lose(struct incoming *incoming)
{
    incoming_told *told = incoming->told;
    incoming->told = NULL;
    incoming->at.is_held = false;
    if (told)
        told(incoming->arg, incoming, true);
}

enum status incoming_hold(struct incoming *incoming, incoming_told *told, void *arg,
                          struct err *err)
{
    size_t n = 0;
    for (const struct incoming *one = incoming->store->incoming; one; one = one->next)
        n += one->told && one != incoming;
    if (incoming->at.phase != INCOMING_ARRIVES || incoming->is_dropped)
        return err_set(err, CLOSED, "the file has arrived already");
    if (n >= INCOMING_HELD_MOST)
        return err_set(err, NO_ROOM, "%zu files are being sent at once, which is the most", n);
    lose(incoming);
    incoming->told = told;
    incoming->arg = arg;
    incoming->at.is_held = true;
    if (incoming->at.fault.status != OK) {
        incoming->forgives = true;
        send(incoming, TASK_GO_ON, NULL);
    }
    incoming->at.fault = (struct err){.status = OK};
    return OK;
}

static void flush(struct incoming *incoming)
{
    if (incoming->n_piece == 0)
        return;
    struct store_task *task = mem_alloc(sizeof(*task));
    task->piece = incoming->piece;
    task->n_piece = incoming->n_piece;
    incoming->piece = NULL;
    incoming->n_piece = 0;
    send(incoming, TASK_PIECE, task);
}

bool incoming_has_room(const struct incoming *incoming)
{
    return incoming->n_pieces < PIECES_MOST;
}

enum status incoming_add(struct incoming *incoming, struct bytes piece)
{
    struct arrival *at = &incoming->at;
    if (at->fault.status != OK)
        return at->fault.status;
    if (at->phase != INCOMING_ARRIVES || !incoming->told)
        return CLOSED;
    if (at->n_bytes > 0 && piece.n > at->n_bytes - at->n_taken)
        return TOO_LARGE;
    at->n_taken += piece.n;
    at->moved_s = clock_unix_s();
    incoming->is_synced = incoming->is_synced && piece.n == 0;
    while (piece.n > 0) {
        const size_t room = PIECE_BYTES - incoming->n_piece, n = piece.n < room ? piece.n : room;
        if (!incoming->piece)
            incoming->piece = mem_alloc(PIECE_BYTES);
        memcpy(incoming->piece + incoming->n_piece, piece.p, n);
        incoming->n_piece += n;
        piece = (struct bytes){piece.p + n, piece.n - n};
        if (incoming->n_piece == PIECE_BYTES)
            flush(incoming);
    }
    return incoming_has_room(incoming) ? OK : AGAIN;
}

void incoming_sync(struct incoming *incoming)
{
    if (incoming->at.phase != INCOMING_ARRIVES || incoming->is_synced)
        return;
    flush(incoming);
    incoming->is_synced = true;
    send(incoming, TASK_SYNC, NULL);
}

void incoming_finish(struct incoming *incoming)
{
    if (incoming->at.phase != INCOMING_ARRIVES)
        return;
    flush(incoming);
    incoming->is_synced = false;
    send(incoming, TASK_FINISH, NULL);
}

void incoming_let_go(struct incoming *incoming)
{
    incoming->told = NULL;
    incoming->at.is_held = false;
    incoming_sync(incoming);
}

void incoming_delete(struct incoming *incoming)
{
    if (has_ended(incoming) || incoming->is_dropped)
        return;
    incoming->is_dropped = true;
    send(incoming, TASK_DROP, NULL);
    lose(incoming);
}

enum status incoming_name(struct incoming *incoming, uint64_t id, struct bytes name,
                          struct err *err)
{
    struct store *store = incoming->store;
    if (incoming->at.phase != INCOMING_KEPT || incoming->at.name[0] || incoming->is_dropped ||
        incoming_is_update(incoming->at.id))
        return err_set(err, NOT_FOUND, "%s is no whole file that waits for a name",
                       incoming->at.id);
    if (check_name(store, name, err) != OK)
        return err->status;
    if (store->n_open >= TASKS_MOST)
        return err_set(err, NO_ROOM, "%zu changes of models are under way; try again soon",
                       store->n_open);
    struct store_task *task = mem_alloc(sizeof(*task));
    task->id = id;
    copy_text(task->name, sizeof(task->name), name);
    store->n_open++;
    send(incoming, TASK_TITLE, task);
    return OK;
}

// ---- answers ------------------------------------------------------------------------------------

// What the thread knows, over what was known here; what is on its way counts as taken.
static void learn(struct incoming *incoming, const struct landed *landed)
{
    struct arrival *at = &incoming->at;
    const struct arrival before = *at;
    const bool fails = landed->at.phase == INCOMING_FAILED && !landed->at.id[0];
    if (has_ended(incoming))
        return;
    incoming->n_set_aside = landed->n_set_aside;
    if (fails) { // it knows only that there is none
        at->phase = INCOMING_FAILED;
        at->fault = landed->at.fault;
    } else {
        *at = landed->at;
        at->is_held = before.is_held;
        at->n_taken = before.n_taken;
    }
    if (landed->is_asked && landed->kind == TASK_GO_ON)
        incoming->forgives = false;
    if (incoming->forgives) // what was on its way behind the fault
        at->fault = (struct err){.status = OK};
    if (at->fault.status != OK)
        incoming->n_piece = 0;
    if (incoming->n_pieces == 0 && incoming->n_piece == 0)
        at->n_taken = landed->at.n_taken;
    if (has_ended(incoming))
        incoming->ended_ms = clock_ms();
}

static void forget_ended(struct store *store)
{
    const uint64_t now_ms = clock_ms();
    for (struct incoming *one = store->incoming, *next; one; one = next) {
        next = one->next;
        if (one->n_open == 0 && !one->told &&
            (one->is_dropped || (has_ended(one) && now_ms > one->ended_ms + ENDED_MS)))
            unlink_one(store, one);
    }
}

void incoming_take(struct store *store, struct landed *landed)
{
    struct incoming *incoming = store->incoming;
    while (incoming && incoming->number != landed->number)
        incoming = incoming->next;
    if (incoming) {
        incoming->n_open -= landed->is_asked;
        incoming->n_pieces -= landed->is_asked && landed->kind == TASK_PIECE;
        learn(incoming, landed);
        incoming->at.is_settled = incoming->n_open == 0 && incoming->at.phase != INCOMING_ENDS;
        incoming_told *told = incoming->told;
        if (incoming->at.phase >= INCOMING_KEPT) {
            incoming->told = NULL;
            incoming->at.is_held = false;
        }
        if (told)
            told(incoming->arg, incoming, false);
    }
    free(landed);
    forget_ended(store);
}
