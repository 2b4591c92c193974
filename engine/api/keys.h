// keys.h - inside api/: who may ask for what, and how much of it.
//
// A key is 256 random bits that are shown once, when it is made. What is kept is its SHA-256: so
// many random bits cannot be guessed, which is all that a slow hash would hinder, and a slow one
// would let whoever has no key cost processor time. The first key of the table is the box's own
// (key.c): it has every scope and no limit; all that can be changed of it is its secret.
//
// Everything here belongs to the net thread.
#pragma once

#include "../base/base.h"
#include "../net/net.h"

enum { API_KEY_BYTES = 128 };

struct api;
struct refusal;

enum scope {
    SCOPE_CHAT = 1,   // whatever a model answers; and to read which models there are
    SCOPE_MODELS = 2, // to change which there are and which are loaded
    SCOPE_ADMIN = 4,  // keys, logs, the audit log, the doctor, metrics
    SCOPE_METRICS = 8,
    SCOPES_ALL = 15,
};

enum {
    KEYS_MOST = 256, // besides the box's own
    KEY_NAME_BYTES = 64,
    KEY_ID_BYTES = 24,               // "key_", 16 letters and a NUL, with room
    KEY_LIMIT_MOST = 1000 * 1000000, // of each limit
    KEYS_USED_KEPT_MS = 10 * 60000,  // when a key was last used is written so often at most
    KEYS_FILE_BYTES = 512 << 10,
};

struct key_limits {           // 0: none
    int32_t requests, tokens; // a minute
    int32_t at_once;
};

struct bucket { // fills with time up to a minute's worth; below 0 is owed
    double left;
    uint64_t at_ms; // when that was so
};

struct key {
    uint64_t who; // of its id, which no other key ever has: the owner of its jobs
    char id[KEY_ID_BYTES], name[KEY_NAME_BYTES + 1];
    uint8_t hash[SHA256_BYTES];
    uint32_t scopes;
    struct key_limits limits;
    int64_t created_s, used_s; // unix time; used_s: 0 = never
    struct bucket requests, tokens;
    uint64_t handed_ms;                         // when a code to hand it over was made; 0: never
    int32_t n_open;                             // requests that the engine has not answered yet
    uint64_t n_requests, n_prompt, n_generated; // since the start
};

struct keys {
    struct key *list[1 + KEYS_MOST]; // [n]
    size_t n;
    char path[600];
    bool used_changed; // since it was last written
    uint64_t kept_ms;
};

// key.c: the box's own key
MUST_USE enum status key_open(char key[API_KEY_BYTES + 1], bool *is_new, const char *state,
                              struct err *err);
// Of the text of its file; BAD_INPUT: it is none.
MUST_USE enum status key_take(char key[API_KEY_BYTES + 1], struct bytes text, const char *path,
                              struct err *err);
void key_path(char out[600], const char *state);
void key_letters(char *out, size_t n); // random ones, 5 bits each, and a NUL

// keys.c: the table. A file that cannot be read is set aside, and said so in the log: the box's key
// works all the same.
void keys_open(struct keys *keys, const char *state, const char *box_key);
void keys_close(struct keys *keys);
// Whether a file of that text would be read; any thread. BAD_INPUT: it would not.
MUST_USE enum status keys_check(struct bytes text, struct err *err);
struct key *keys_find(struct keys *keys, struct bytes secret); // in constant time; NULL: none
struct key *keys_who(struct keys *keys, uint64_t who);         // NULL: it is revoked
struct key *keys_named(struct keys *keys, struct bytes id);
// Makes one, without name, scopes and limits. NULL: there are KEYS_MOST.
struct key *keys_make(struct keys *keys, char secret[API_KEY_BYTES + 1]);
void key_renew(struct key *key, char secret[API_KEY_BYTES + 1]); // the old secret is none any more
void keys_remove(struct keys *keys, struct key *key);
void keys_used(struct keys *keys, struct key *key);
MUST_USE enum status keys_write(const struct keys *keys, struct buf *out); // the file
const char *scope_name(size_t i, uint32_t *scope);                         // NULL: there are fewer
const char *scopes_text(uint32_t scopes, char out[64]);                    // "chat, models"

// limit.c: what a key may use
// Takes one request of the key's, when it begins; false: refused (429), with when to try again.
bool limit_take(struct key *key, uint64_t now_ms, struct refusal *refusal);
bool limit_at_once(const struct key *key, struct refusal *refusal);
void limit_charge(struct key *key, uint64_t now_ms, int64_t n_tokens);
void limit_headers(struct key *key, uint64_t now_ms, struct exchange *exchange); // x-ratelimit-*
