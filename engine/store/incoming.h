// incoming.h - models that arrive: files that grow under HOME/.incoming until they are whole, right
// and named, and are then in the folder of models at once, or not at all.
//
// An arrival is made with what is known of it (id, name, length, digest) and goes on, over any
// number of holders, cuts and restarts, where it stopped. One holder at a time gives it bytes.
// Nothing here waits: bytes go to the store's thread, which writes, hashes and syncs, and what came
// of it is in `struct arrival` after each store_take, of which the holder is told.
//
//   incoming_make      the arrival is there; its file is made (told: phase, or fault)
//   incoming_hold      the bytes are mine to give, from at->n_taken on
//   incoming_add       ... a piece; AGAIN: it is taken, but no more until told
//   incoming_sync      ... and when n_safe == n_taken, they outlive a cut of the power
//   incoming_finish    no more come: the length and the digest are checked, and the model is there
//                      (told: INCOMING_DONE, INCOMING_KEPT or INCOMING_FAILED)
//   incoming_let_go    the holder goes, at any time: what it gave is written all the same
//
// A part of a split model (NAME-00001-of-00003) is kept until all are there. An arrival without a
// name is kept until incoming_name gives it one. Whatever nobody has moved for INCOMING_DAYS is
// deleted. A digest that is not what was said, or a file that is no GGUF, ends the arrival
// (INCOMING_FAILED: its bytes are gone). A full disk does not: `fault` is NO_ROOM, the holder lets
// go, and the next one goes on.
#pragma once

#include "../base/base.h"

enum {
    INCOMING_MOST = 64,     // arrivals that are known at once
    INCOMING_HELD_MOST = 8, // of these, held
    INCOMING_ID_BYTES = 96,
    INCOMING_SOURCE_BYTES = 1024,
    INCOMING_NAME_BYTES = 256,
    INCOMING_DAYS = 7,
};

enum incoming_phase {
    INCOMING_ARRIVES,
    INCOMING_ENDS,   // it was finished: it is hashed and checked
    INCOMING_KEPT,   // whole and right; it waits for a name, or for the other parts
    INCOMING_DONE,   // the model is there; known for a while
    INCOMING_FAILED, // it is gone, `fault` says why; known for a while
};

struct incoming_wish {
    // 1 to 90 of a-z 0-9 . _ - (no dot in front): whose it is, chosen so that whoever comes again
    // finds it: "upload-...", "sha256-HEX", "pull-..."
    struct bytes id;
    struct bytes name;   // the model's, a file's name without .gguf; n == 0: it has none yet
    struct bytes source; // where from, for whoever goes on; may be empty
    uint64_t n_bytes;    // its length; 0: it is not known
    struct bytes sha256; // 64 hexadecimal digits; n == 0: it is not known
};

struct arrival { // as far as is known after the last store_take
    char id[INCOMING_ID_BYTES], name[INCOMING_NAME_BYTES], source[INCOMING_SOURCE_BYTES];
    char sha256[65];  // what it should be, or since it is whole is; empty: not known
    uint64_t n_bytes; // its length; 0: not known
    uint64_t n_taken; // bytes that are here or on their way to the disk
    uint64_t n_safe;  // bytes that outlive a cut of the power
    enum incoming_phase phase;
    struct err fault;         // status != OK: why it is stuck, or failed
    int64_t began_s, moved_s; // unix time
    bool is_held;
    bool is_settled; // all that was asked for so far is done
};

struct store;
struct store_model;
struct incoming; // an arrival; stays while it is held, else until the next store_take
// Of the arrival that is held: something of it changed. is_lost: another holder has taken it, or it
// was deleted; it is no longer this one's.
typedef void incoming_told(void *arg, struct incoming *incoming, bool is_lost);

size_t store_n_incoming(const struct store *store);
struct incoming *store_incoming(const struct store *store, size_t i); // in the order they began
struct incoming *store_incoming_find(const struct store *store, struct bytes id);
const struct arrival *incoming_at(const struct incoming *incoming);

// BAD_INPUT: id, name or digest cannot be. DENIED: a model or another arrival has the name, or the
// id. NO_ROOM: the disk has no room for it (what others still need and a reserve are counted), or
// there are too many. UNSUPPORTED: there is no folder of our own.
MUST_USE enum status incoming_make(struct store *store, const struct incoming_wish *wish,
                                   struct incoming **out, struct err *err);
// Who holds it already loses it. NO_ROOM: too many are held. CLOSED: it is not INCOMING_ARRIVES. A
// fault of before is forgotten, and n_taken is right when the holder is told that it is_settled.
MUST_USE enum status incoming_hold(struct incoming *incoming, incoming_told *told, void *arg,
                                   struct err *err);
// OK: it was taken. AGAIN: it was taken, and no more may be given until told and
// incoming_has_room. TOO_LARGE: more than n_bytes; nothing of it was taken. Others: the fault.
MUST_USE enum status incoming_add(struct incoming *incoming, struct bytes piece);
bool incoming_has_room(const struct incoming *incoming);
void incoming_sync(struct incoming *incoming);
// It lets go of itself when it is INCOMING_KEPT, _DONE or _FAILED, after the holder was told.
void incoming_finish(struct incoming *incoming);
void incoming_let_go(struct incoming *incoming);
// Its bytes are deleted, also while it ends; who holds it loses it. Of what has ended nothing is
// changed, and what became a model at that moment stays one.
void incoming_delete(struct incoming *incoming);
// Names one that is INCOMING_KEPT without a name; ends as tasks do: store_done of that id. It moves
// to the folder of models: the next one of that digest is a copy (store_copy).
MUST_USE enum status incoming_name(struct incoming *incoming, uint64_t id, struct bytes name,
                                   struct err *err);

// "update-...": no model but a system's update, which is kept whatever is in it until it is deleted
// or the store is opened again. It gets no name.
bool incoming_is_update(const char *id);

// The model whose file has that SHA-256, of those that are known; NULL: there is none.
const struct store_model *store_find_digest(const struct store *store, struct bytes sha256);
