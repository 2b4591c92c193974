// keys.c - the table of keys and its file, STATE/keys.json:
//
//   {"keys":[{"id":"key_...","name":"...","sha256":"64 digits","scopes":["chat"],
//             "requests_per_minute":0,"tokens_per_minute":0,"at_once":0,
//             "created":1764000000,"used":0}, ...]}
//
// It is written whole and atomically whenever a key is made, changed or revoked, and now and then
// for when each was last used. A secret is looked up by its hash, against all of them, so that the
// time it takes tells nothing.
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    uint32_t scope;
} scopes[] = {{"chat", SCOPE_CHAT},
              {"models", SCOPE_MODELS},
              {"admin", SCOPE_ADMIN},
              {"metrics", SCOPE_METRICS}};

const char *scope_name(size_t i, uint32_t *scope)
{
    if (i >= COUNT_OF(scopes))
        return NULL;
    *scope = scopes[i].scope;
    return scopes[i].name;
}

const char *scopes_text(uint32_t set, char out[64])
{
    size_t n = 0;
    snprintf(out, 64, "none");
    for (size_t i = 0; i < COUNT_OF(scopes); i++)
        if (set & scopes[i].scope)
            n += (size_t)snprintf(out + n, 64 - n, "%s%s", n ? ", " : "", scopes[i].name);
    return out;
}

// ---- finding --------------------------------------------------------------------------------

struct key *keys_find(struct keys *keys, struct bytes secret)
{
    uint8_t hash[SHA256_BYTES];
    struct key *found = NULL;
    if (secret.n == 0 || secret.n > API_KEY_BYTES)
        return NULL;
    sha256_of(secret, hash);
    for (size_t i = 0; i < keys->n; i++)
        if (bytes_equal_secret((struct bytes){keys->list[i]->hash, SHA256_BYTES},
                               (struct bytes){hash, SHA256_BYTES}))
            found = keys->list[i];
    return found;
}

struct key *keys_who(struct keys *keys, uint64_t who)
{
    for (size_t i = 0; i < keys->n; i++)
        if (keys->list[i]->who == who)
            return keys->list[i];
    return NULL;
}

struct key *keys_named(struct keys *keys, struct bytes id)
{
    for (size_t i = 0; i < keys->n; i++)
        if (bytes_equal_text(id, keys->list[i]->id))
            return keys->list[i];
    return NULL;
}

void keys_used(struct keys *keys, struct key *key)
{
    const int64_t now_s = clock_unix_s() / 60 * 60;
    if (key != keys->list[0] && key->used_s != now_s) // the box's own is not in the file
        keys->used_changed = true;
    key->used_s = now_s;
}

// ---- making ---------------------------------------------------------------------------------

static struct key *key_add(struct keys *keys)
{
    if (keys->n == COUNT_OF(keys->list))
        return NULL;
    struct key *key = mem_alloc(sizeof(*key));
    keys->list[keys->n++] = key;
    return key;
}

// The same after a restart, so that what was kept of its texts is its own again.
static void key_own(struct key *key)
{
    uint8_t hash[SHA256_BYTES];
    sha256_of(bytes_of(key->id), hash);
    memcpy(&key->who, hash, sizeof(key->who));
    key->who |= 1; // 0 is nobody
}

void key_renew(struct key *key, char secret[API_KEY_BYTES + 1])
{
    enum { LETTERS = 52 }; // of 5 bits: 260
    size_t n = (size_t)snprintf(secret, API_KEY_BYTES + 1, "tawny-");
    key_letters(secret + n, LETTERS);
    sha256_of(bytes_of(secret), key->hash);
}

struct key *keys_make(struct keys *keys, char secret[API_KEY_BYTES + 1])
{
    struct key *key = key_add(keys);
    if (!key)
        return NULL;
    memcpy(key->id, "key_", 4);
    key_letters(key->id + 4, 16);
    key_own(key);
    key->created_s = clock_unix_s();
    key_renew(key, secret);
    return key;
}

void keys_remove(struct keys *keys, struct key *key)
{
    size_t i = 0;
    while (keys->list[i] != key)
        i++;
    memmove(keys->list + i, keys->list + i + 1, (keys->n - i - 1) * sizeof(*keys->list));
    keys->n--;
    free(key);
}

// ---- the file -------------------------------------------------------------------------------

enum status keys_write(const struct keys *keys, struct buf *out)
{
    struct json json;
    json_init(&json, KEYS_FILE_BYTES);
    json_object(&json, NULL);
    json_array(&json, "keys");
    for (size_t i = 1; i < keys->n; i++) {
        const struct key *key = keys->list[i];
        char hash[2 * SHA256_BYTES + 1];
        hex_write(hash, key->hash, sizeof(key->hash));
        json_object(&json, NULL);
        json_string(&json, "id", key->id);
        json_string(&json, "name", key->name);
        json_string(&json, "sha256", hash);
        json_array(&json, "scopes");
        for (size_t k = 0; k < COUNT_OF(scopes); k++)
            if (key->scopes & scopes[k].scope)
                json_string(&json, NULL, scopes[k].name);
        json_end(&json);
        json_whole(&json, "requests_per_minute", key->limits.requests);
        json_whole(&json, "tokens_per_minute", key->limits.tokens);
        json_whole(&json, "at_once", key->limits.at_once);
        json_whole(&json, "created", key->created_s);
        json_whole(&json, "used", key->used_s);
        json_end(&json);
    }
    json_end(&json);
    json_end(&json);
    enum status status = json_done(&json);
    *out = json.text; // now the caller's
    return status;
}

static int32_t limit_read(yyjson_val *object, const char *name)
{
    uint64_t n = yyjson_get_uint(yyjson_obj_get(object, name));
    return n < KEY_LIMIT_MOST ? (int32_t)n : KEY_LIMIT_MOST;
}

static bool key_read(struct keys *keys, yyjson_val *object)
{
    const char *id = yyjson_get_str(yyjson_obj_get(object, "id")),
               *name = yyjson_get_str(yyjson_obj_get(object, "name")), *word;
    const char *digits = yyjson_get_str(yyjson_obj_get(object, "sha256"));
    const struct bytes hash_text = bytes_of(digits ? digits : "");
    uint8_t hash[SHA256_BYTES];
    size_t i, n;
    yyjson_val *value;
    if (!id || !name || strlen(id) >= KEY_ID_BYTES || strlen(name) > KEY_NAME_BYTES ||
        !hex_read(hash, sizeof(hash), hash_text) || keys_named(keys, bytes_of(id)))
        return false;
    struct key *key = key_add(keys);
    if (!key)
        return false;
    snprintf(key->id, sizeof(key->id), "%s", id);
    key_own(key);
    snprintf(key->name, sizeof(key->name), "%s", name);
    memcpy(key->hash, hash, sizeof(hash));
    yyjson_arr_foreach(yyjson_obj_get(object, "scopes"), i, n, value)
    {
        for (size_t k = 0; k < COUNT_OF(scopes); k++)
            if ((word = yyjson_get_str(value)) != NULL && strcmp(word, scopes[k].name) == 0)
                key->scopes |= scopes[k].scope;
    }
    key->limits =
        (struct key_limits){limit_read(object, "requests_per_minute"),
                            limit_read(object, "tokens_per_minute"), limit_read(object, "at_once")};
    key->created_s = yyjson_get_sint(yyjson_obj_get(object, "created"));
    key->used_s = yyjson_get_sint(yyjson_obj_get(object, "used"));
    return true;
}

static bool file_good(struct keys *keys, struct bytes text, char why[480])
{
    struct body body;
    struct refusal refusal;
    size_t i, n;
    yyjson_val *object;
    if (!body_open(&body, text, &refusal)) {
        snprintf(why, 480, "%s", refusal.text);
        return false;
    }
    yyjson_val *list = yyjson_obj_get(yyjson_doc_get_root(body.doc), "keys");
    bool good = yyjson_is_arr(list);
    snprintf(why, 480, "there is no list 'keys' in it");
    yyjson_arr_foreach(list, i, n, object)
    {
        if (good && !key_read(keys, object)) {
            good = false;
            snprintf(why, 480, "its key %zu of %zu is not one", i + 1, n);
        }
    }
    body_close(&body);
    return good;
}

// The table with the box's own key alone.
static void keys_begin(struct keys *keys, const char *box_key)
{
    *keys = (struct keys){.kept_ms = clock_ms()};
    struct key *box = key_add(keys);
    snprintf(box->id, sizeof(box->id), "box");
    key_own(box);
    snprintf(box->name, sizeof(box->name), "the box's own key");
    box->scopes = SCOPES_ALL;
    sha256_of(bytes_of(box_key), box->hash);
}

enum status keys_check(struct bytes text, struct err *err)
{
    struct keys *keys = mem_alloc(sizeof(*keys));
    char why[480];
    keys_begin(keys, "");
    const bool good = file_good(keys, text, why);
    keys_close(keys);
    free(keys);
    return good ? OK : err_set(err, BAD_INPUT, "keys.json: %.200s", why);
}

void keys_open(struct keys *keys, const char *state, const char *box_key)
{
    char aside[640], why[480];
    struct buf file;
    struct err err = {0};
    keys_begin(keys, box_key);
    snprintf(keys->path, sizeof(keys->path), "%s/keys.json", state);
    enum status status = file_read(&file, keys->path, KEYS_FILE_BYTES, &err);
    if (status == NOT_FOUND)
        return;
    bool good = status == OK && file_good(keys, buf_view(&file), why);
    if (status == OK)
        buf_free(&file);
    else
        snprintf(why, sizeof(why), "%s", err.text);
    if (good)
        return;
    while (keys->n > 1)
        keys_remove(keys, keys->list[keys->n - 1]);
    snprintf(aside, sizeof(aside), "%s.bad", keys->path);
    log_error("%s cannot be used (%s): it is set aside as %s, and of all keys the box's own is "
              "left",
              keys->path, why, aside);
    if (rename(keys->path, aside) != 0)
        log_error("it cannot be renamed");
}

void keys_close(struct keys *keys)
{
    while (keys->n > 0)
        keys_remove(keys, keys->list[keys->n - 1]);
}
