// keep.h - inside sched/: what texts left in a model's memory is kept in files, over unloads and
// restarts.
//
//   keep.c      when a text is written and when one is read: slices of the engine thread
//   keep_save.c how one is written
//   saved.c     which files there are, what each is worth, which go
//   errands.c   the thread that has the disk; the files' format
//
// STATE/prefixes/OWNER-MODEL-NUMBER.seq: one text of one owner (ask.owner) in the memory of one
// model (model_identity and the build), all three in the name as 16 digits. Files of others are not
// looked at: an owner's for another's prompt (but with share-prefixes), a model's for another
// model.
//
// The rule: a text is written when reading it will be quicker than computing it again, and read for
// a prompt when that is quicker than computing what the file has and the memory has not. What
// computing costs is measured in passes (us a token; a file says what it was when it was written),
// what reading costs in files that were read (bytes a second; READ_RATE until one was).
#pragma once

#include "inside.h"

enum {
    KEEP_LEAST = 256,          // tokens that are worth a file
    KEEP_AFTER_MS = 1000,      // a text that was not used for so long is written,
    KEEP_GROWTH = 4,           // if 1 / so many of what its file has are new
    KEEP_STANDS = 4,           // places in a file that a model with states can go on from
    KEEP_STOP_MS = 3000,       // for all that is still to be written when the engine ends,
    KEEP_UNLOAD_MS = 1000,     // and when a model goes, which other models' streams wait for
    KEEP_OUT_BYTES = 64 << 20, // on the way to the disk or from it: so many, or one piece
    KEEP_PAUSE_MS = 60000,     // after the disk refused to take something
    KEPT_MOST = 1024,          // files
};

extern uint64_t keep_mb; // bytes of the setting's megabyte; a test makes it smaller

// ---- files (saved.c)
// -----------------------------------------------------------------------------

struct saved {
    struct saved *next;
    uint64_t owner, model, number; // its name
    int32_t n, n_stands,
        stands[KEEP_STANDS]; // tokens; positions that can be gone on from, falling:
                             // the first is n
    int32_t *token;          // [n]
    float us_per_token;      // that computing it took
    uint64_t n_bytes;        // of the file
    int64_t used_s;          // unix time
    bool is_read;            // just now: it does not go
};

struct keep { // of an engine
    struct errands *errands;
    char folder[600];
    bool is_listed;
    uint64_t opened_ms;
    struct saved *files;
    int32_t n_files;
    uint64_t n_bytes, most_bytes;
    double read_rate; // bytes a second
    uint64_t build;   // hash of its version
    uint64_t *owners; // [n_owners]: of others nothing is kept
    size_t n_owners;
    uint64_t last_number, last_transfer, out_bytes;
    uint64_t pause_until_ms;
};

void saved_free(struct saved *kept);
bool keep_knows(const struct keep *keep, uint64_t owner);
// The file that saves most time over the n_held tokens that are in the memory; NULL: none does.
// *at: positions of it; *saves_us: that much.
struct saved *saved_find(const struct loaded *loaded, const struct work *work, int32_t most,
                         int32_t n_held, int32_t *at, double *saves_us);
// Tokens of a sequence that files have already, and how dear a token is to read; 0 tokens: none.
int32_t saved_covered(const struct loaded *loaded, const struct seq *seq, double *us_per_token);
// Takes it into the list; those that it makes superfluous go.
void saved_add(struct loaded *loaded, struct saved *kept);
void saved_remove(struct keep *keep, struct saved *kept); // from list and disk
// Room for a file of so many bytes: the cheapest go. False: it is too large.
bool saved_make_room(struct keep *keep, uint64_t n_bytes);
double keep_read_us(const struct keep *keep, uint64_t n_bytes);

// ---- the thread (errands.c)
// ----------------------------------------------------------------------

enum errand_kind {
    ERRAND_LIST,    // -> kept: all good files; others are deleted
    ERRAND_WRITE,   // a piece at its offset
    ERRAND_END,     // the head, before all; the file has its name then
    ERRAND_GIVE_UP, // what was written of it is deleted
    ERRAND_READ,    // a piece
    ERRAND_DELETE,  // nothing comes back
    ERRAND_QUIT,
};

enum { HASH_BYTES = 8 }; // behind each piece

struct errand { // belongs to whoever holds it
    enum errand_kind kind;
    uint64_t owner, model, number; // of the file
    uint64_t transfer;             // that it is a part of
    int32_t piece;
    uint64_t offset, whole_bytes; // whole_bytes: of a file's first writing
    uint8_t *bytes;               // [n + HASH_BYTES]
    size_t n;
    struct saved *kept; // of ERRAND_LIST
    uint64_t took_us;
    struct err err;
};

void errand_close(struct errand *errand);
void errands_open(struct errands **out, const char *folder);
void errands_send(struct errands *errands, struct errand *errand);
struct errand *errands_take(struct errands *errands); // NULL: nothing is back; yours
int errands_fd(const struct errands *errands);
// Nothing is waited for that need not be. drops: nothing more is written either.
void errands_hurry(struct errands *errands, bool drops);
void errands_close(struct errands *errands); // when all errands are done
// A file's head, with its tokens; its piece i follows at head bytes.
size_t saved_head_bytes(int32_t n, int32_t n_stands);
void saved_head_write(const struct saved *kept, uint8_t *out);

// ---- slices (keep.c) ----------------------------------------------------------------------------

enum transfer_kind { TRANSFER_NONE, TRANSFER_SAVE, TRANSFER_FETCH };
struct transfer { // of a model: one at a time, in the sequence behind those that works have
    enum transfer_kind kind;
    uint64_t id;
    struct saved *kept; // SAVE: its own; FETCH: one of the list
    int32_t seq;        // SAVE: whose text it is
    int32_t at;         // FETCH: where it is to stand
    int32_t n_pieces, n_sent, n_done;
    bool is_ending;          // SAVE: the head is on its way
    uint64_t until_ms;       // FETCH: it is given up then
    struct errand *queue[3]; // FETCH: pieces that came and are to be put
};

int32_t keep_spare(const struct loaded *loaded); // the sequence that transfers have
// Of the transfer under way; yours until it is sent.
struct errand *keep_errand(struct loaded *loaded, enum errand_kind kind, int32_t piece);
void keep_send(struct keep *keep, struct errand *errand);
// Where a piece lies in a file: its pages, then one piece for each stand.
uint64_t keep_place(const struct loaded *loaded, const struct saved *kept, int32_t i,
                    size_t *n_bytes);
uint64_t keep_whole_bytes(const struct loaded *loaded, const struct saved *kept);
void keep_transfer_end(struct loaded *loaded);

// ---- writing (keep_save.c) ----------------------------------------------------------------------

// Begins to write the text of which most is new. all: also what was used just now.
void keep_save_look(struct loaded *loaded, bool all);
void keep_save_some(struct loaded *loaded); // the next piece goes; behind the last one the head
void keep_save_came(struct loaded *loaded, const struct errand *errand); // that was written
