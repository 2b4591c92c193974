// store.h - floor 2: which model files there are. It looks through the box's own folder and further
// ones that are only read, names what it finds, tells what each file says of itself, and copies,
// deletes and gives other names.
//
// What is quick (names, sizes) is known when store_open returns; what the files say of themselves
// is read on the store's own thread, as is all that waits for a disk: the caller never does. A
// change in the folders is seen by itself (inotify), whoever made it.
//
// A model's name is its file's name without .gguf, and without -00001-of-00003 for the parts of a
// split one, which are one model. Where two have the same, the first keeps it: what is in the
// binary, then the box's own folder, then the others in their order, then single files; in a folder
// it is the order of the paths. The
// second is called FOLDER/NAME by the folder it lies in, a third by its whole path.
//
// All functions are called from one thread (net's), and what they give stays as it is until the
// next store_take.
#pragma once

#include "../base/base.h"
#include "incoming.h" // models that arrive

enum {
    STORE_MODELS_MOST = 512, // further files are not listed, with a line in the log
    STORE_NAME_BYTES = 256,
    STORE_PATH_BYTES = 1400,
    STORE_ALIASES_MOST = 128,
    STORE_ALIASES_BYTES = 128 << 10, // of the file that they are kept in
    STORE_FOLDERS_MOST = 8,          // of the setting
};

struct store_about {                            // what a file's head says
    char arch[32], name[128], quantisation[32]; // "llama", general.name, "Q4_K_M"
    char capability[16];                        // "completion", "embedding" or "rerank"
    int64_t n_params;
    uint64_t file_bytes;  // of what is in the binary; of files their own size counts
    uint64_t token_bytes; // that one token reads of them, about; 0: not known
    int32_t n_ctx_train, n_embd, n_layer;
    int32_t n_vector; // of an embedding
    int32_t n_parts;  // that the model has by its keys; 0: it was not read so far
};
struct store_model {
    char name[STORE_NAME_BYTES]; // how clients call it
    char path[STORE_PATH_BYTES]; // of its file, or the first part's
    uint64_t file_bytes;         // of all its parts
    int64_t modified_s;          // unix time; 0: it is in the binary
    bool is_ours;                // it may be deleted; else its folder is only read
    bool is_described;           // about and fault are known
    struct store_about about;
    struct err fault; // status != OK: it cannot be used, and why
    char sha256[65];  // in hexadecimal, of the whole file; empty: it is not known
};

struct store_alias {
    char name[STORE_NAME_BYTES];  // "*": whatever name nothing else has
    char model[STORE_NAME_BYTES]; // what is meant; perhaps not there
    bool is_set;                  // by a setting: it cannot be changed here
};

struct store_options {
    const char *home;     // the box's own folder; "": none
    const char *folders;  // the setting `models`: further ones, "DIR, DIR"
    const char *attached; // where sticks are mounted, each in a folder; NULL or "": nowhere
    const char *files[2]; // files that are listed wherever they are ("builtin", `model = /PATH`)
    const char *aliases;  // the setting `alias`: "NAME: MODEL, NAME: MODEL"
    const char *kept;     // the file that keeps what store_name made; "": it is not kept
    const char *digests;  // the file that keeps the SHA-256 of files; NULL or "": it is not kept
    // Reads it from the head of a file; called on the store's thread. On failure what was found out
    // before stands in *out all the same. BAD_INPUT: it is spoilt; NOT_FOUND: other parts of it are
    // missing.
    enum status (*describe)(struct store_about *out, const char *path, struct err *err);
};

struct store;
// BAD_INPUT: the settings `models` or `alias` are not what they should be. Folders that are not
// there are no failure.
MUST_USE enum status store_open(struct store **out, const struct store_options *options,
                                struct err *err);
// Whether the settings `models` and `alias` may be so: what store_open refuses, and no store.
MUST_USE enum status store_settings_good(const char *folders, const char *aliases, struct err *err);
// Whether a file of kept aliases (`kept` above) would be read whole; any thread. Else BAD_INPUT.
MUST_USE enum status store_aliases_good(struct bytes kept, struct err *err);
void store_close(struct store *store); // waits for what is being done

// ---- what there is --------------------------------------------------------------------------

size_t store_n_models(const struct store *store);
const struct store_model *store_model(const struct store *store, size_t i); // by name
size_t store_n_aliases(const struct store *store);
const struct store_alias *store_alias(const struct store *store, size_t i); // settings' first
// The model that a client means: by its name, else by an alias's, else by the alias "*". NULL:
// there is none.
const struct store_model *store_find(const struct store *store, struct bytes name);
// The same, aliases apart.
const struct store_model *store_find_file(const struct store *store, struct bytes name);
// "a, b, c and 7 more": for the sentence that says there is no such model; at most 20 names.
const char *store_names(const struct store *store, char *out, size_t size);

// ---- what may be done -----------------------------------------------------------------------
// Each goes to the store's thread and ends with one store_done of its id, when it is on the disk.
// NO_ROOM: too many are under way. What is refused at once says why, and has no store_done.

// Another name for a model: a second name of the same file (it costs no room, and outlives the
// first), or an alias where the model's folder is only read. DENIED: the name is another model's.
MUST_USE enum status store_copy(struct store *store, uint64_t id, const struct store_model *from,
                                struct bytes to, struct err *err);
// An alias; model.n == 0 takes it away. "*" answers for every name that nothing else has.
MUST_USE enum status store_name(struct store *store, uint64_t id, struct bytes name,
                                struct bytes model, struct err *err);
// Deletes a model's files. DENIED: it is in a folder that is only read. Whether somebody uses it
// the caller knows: a file that is open stays readable for who has it.
MUST_USE enum status store_delete(struct store *store, uint64_t id, const struct store_model *model,
                                  struct err *err);
struct store_done {
    uint64_t id;    // of what was asked for; 0: only what there is has changed
    struct err err; // status != OK: it was not done
};
int store_fd(const struct store *store); // readable: store_take until false
// Tells holders of arrivals (incoming.h) what became of them; not to be called from there.
bool store_take(struct store *store, struct store_done *out);

// Of a path to any part of a split model it makes that of the first part, where that is there.
void store_first_part(char *path);
// NAME-00002-of-00003(.gguf): the bytes before the suffix; 0: it is not such a name.
size_t split_stem(const char *name, size_t n, unsigned *no, unsigned *count);
// Whether a file may be called so: 1 to 200 bytes of UTF-8 without '/', control characters and
// backslashes, and not with a dot in front.
bool store_name_good(struct bytes name);
