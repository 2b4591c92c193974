// pull.h - models being pulled: what pull.c (which goes through the steps), pull_files.c (what of
// them lies in the store), pulls.c (which has all of them) and pull_route.c (which is asked, and
// tells) share.
//
//   LISTS -> [WAITS ->] FETCHES (file after file) -> CHECKS -> DONE, FAILED or CANCELLED
//
// A pull goes on when whoever asked for it leaves, and by itself after a restart of the engine.
// What has come of its files lies in the store (store/incoming.h).
#pragma once

#include "source.h"

enum { PULLS_MOST = 6, PULLS_KEPT = 24, PULL_TOKEN_BYTES = 8192, PULL_FOLLOWERS_MOST = 16 };

enum pull_state {
    PULL_LISTS,   // it is asked what there is
    PULL_MAKES,   // the store makes the file ready
    PULL_FETCHES, // bytes come
    PULL_CHECKS,  // the store compares the digest, and puts the model into its place
    PULL_WAITS,   // something failed that may be better in a moment
    PULL_DONE,
    PULL_FAILED,
    PULL_CANCELLED,
};

struct follower { // a client that is told how it goes, line by line or at the end
    struct follower *next;
    struct pull *pull;
    struct exchange *exchange;
    bool stream, manifest_told, check_told;
    size_t file_told; // 1 + the file whose progress was told last
    uint64_t bytes_told, told_ms;
};

struct pull { // one malloc
    struct pull *next;
    struct api *api;
    uint64_t number;
    char text[SOURCE_PULL_BYTES];  // as it was asked for
    char shown[SOURCE_PULL_BYTES]; // without what may be secret
    struct source source;          // source.name: the model's name here
    enum pull_state state;
    struct err err; // why it FAILED, or WAITS
    struct source_file files[SOURCE_FILES_MOST];
    size_t n_files, at;  // at: the one that is worked on
    uint64_t done_bytes; // of the files before it
    bool is_listed;
    // what is asked now
    struct fetch *fetch;
    enum { ASKS_LIST, ASKS_TOKEN, ASKS_FILE, ASKS_HEAD } asks;
    int code;        // of its answer
    uint64_t skip;   // bytes of the answer that are here already
    struct buf body; // of a listing
    char challenge[SOURCE_TEXT_BYTES], token[PULL_TOKEN_BYTES];
    bool token_asked, listed_again;
    char host[300];            // that answered
    struct incoming *incoming; // held
    bool full;                 // the store takes no more for now
    uint64_t synced;           // n_taken when it was last asked for
    int n_tries;               // in a row without a new byte
    uint64_t furthest;         // bytes of the file that were here at most
    uint64_t wait_until_ms;
    bool is_patient; // it goes on after a restart: the network may not be there yet
    int64_t began_s, ended_s;
    uint64_t rate_at_ms, rate_bytes; // of the last measure
    double rate;                     // bytes a second, smoothed
    struct follower *followers;
};

// The pull that is under way to that name; NULL: none is.
struct pull *pull_find_name(const struct api *api, const char *name);
struct pull *pull_find(const struct api *api, uint64_t number);
// NULL: too many are under way, err says so. text: of the source; name: the model's here.
struct pull *pull_open(struct api *api, const struct source *source, struct bytes text,
                       struct err *err);
// What has come of it is deleted, and it ends. One that has failed stays so; one that is done too.
void pull_cancel(struct pull *pull);
bool pull_is_over(const struct pull *pull);
void pull_list(struct pull *pull);            // its first step, and again where a token is too old
void pull_go_on(struct pull *pull);           // after a wait
void pull_let_go(struct pull *pull);          // of what comes; others may go on with it
uint64_t pull_bytes(const struct pull *pull); // that are here
uint64_t pull_of_bytes(const struct pull *pull); // of all files; 0: not known
// pull_files.c
void pull_file_id(char out[INCOMING_ID_BYTES], const struct source_file *file); // its arrival's
// All of its files have their place, and so their room, before a byte of the first is fetched.
MUST_USE enum status pull_make_all(struct pull *pull, struct err *err);
// AGAIN: the model is here already, and the same; DENIED: another one has its name.
MUST_USE enum status pull_check_here(struct pull *pull, struct err *err);
void pull_delete_come(struct pull *pull); // what has come under its name and nobody gives more of
// pull_route.c: tells the followers what is new; at the end, ends them.
void pull_tell(struct pull *pull);
void pull_leave(struct pull *pull, const char *why); // ends them before it is over

route_handler catalogue_get; // catalogue.c
