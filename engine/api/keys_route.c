// keys_route.c - keys over HTTP, for those with the scope admin:
//
//   GET    /v1/keys      all of them, without their secrets
//   POST   /v1/keys      {"name": ..., "scopes": ["chat"], "limits": {"requests_per_minute": 60,
//                        "tokens_per_minute": null, "at_once": 2}}: makes one; the answer holds its
//                        secret, this once
//   GET    /v1/keys/ID
//   POST   /v1/keys/ID   any of these fields changes it; {"rotate": true} gives it a new secret
//   DELETE /v1/keys/ID   revokes it
//
// The box's own key, `box`, can be rotated and nothing else: the new one is on the console then.
// A field that is not known is refused: a misspelt limit would be none. What was changed counts at
// once, and is answered when it is on the disk: a key that was revoked does not come back with the
// next start, and one whose secret was shown is there.
#include "fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- writing --------------------------------------------------------------------------------

static void limit_write(struct json *json, const char *name, int32_t limit)
{
    if (limit)
        json_whole(json, name, limit);
    else
        json_null(json, name);
}

static void key_write(struct json *json, const struct key *key, const char *secret)
{
    const char *name;
    uint32_t scope;
    json_object(json, NULL);
    json_string(json, "object", "key");
    json_string(json, "id", key->id);
    json_string(json, "name", key->name);
    json_array(json, "scopes");
    for (size_t i = 0; (name = scope_name(i, &scope)) != NULL; i++)
        if (key->scopes & scope)
            json_string(json, NULL, name);
    json_end(json);
    json_object(json, "limits");
    limit_write(json, "requests_per_minute", key->limits.requests);
    limit_write(json, "tokens_per_minute", key->limits.tokens);
    limit_write(json, "at_once", key->limits.at_once);
    json_end(json);
    if (key->created_s)
        json_whole(json, "created", key->created_s);
    else
        json_null(json, "created"); // the box's own: nobody knows
    if (key->used_s)
        json_whole(json, "last_used", key->used_s);
    else
        json_null(json, "last_used");
    json_object(json, "since_start");
    json_whole(json, "requests", (int64_t)key->n_requests);
    json_whole(json, "prompt_tokens", (int64_t)key->n_prompt);
    json_whole(json, "completion_tokens", (int64_t)key->n_generated);
    json_end(json);
    if (secret)
        json_string(json, "secret", secret);
    json_end(json);
}

static void key_reply(struct exchange *exchange, int http, const struct key *key,
                      const char *secret)
{
    struct json json;
    json_init(&json, 16384);
    key_write(&json, key, secret);
    exchange_reply_header(exchange, "Cache-Control", "no-store");
    json_reply(exchange, http, &json);
}

// ---- keeping: what was changed goes to the disk, then it is answered ---------------------------

enum deed { MADE, CHANGED, REVOKED, BOX_ROTATED };

struct keeping {
    struct scribe_wait wait; // the first
    enum deed deed;
    char key_id[KEY_ID_BYTES];
    char secret[API_KEY_BYTES + 1]; // "": none is shown
};

void keys_tell(struct api *api)
{
    uint64_t owners[COUNT_OF(api->keys.list)];
    for (size_t i = 0; i < api->keys.n; i++)
        owners[i] = api->keys.list[i]->who;
    sched_keeps(api->options.sched, api->version, owners, api->keys.n);
}

static void not_kept(struct api *api, const struct keeping *keeping, struct exchange *exchange,
                     const char *why)
{
    struct refusal refusal;
    struct key *key = keys_named(&api->keys, bytes_of(keeping->key_id));
    if (keeping->deed == MADE && key)
        keys_remove(&api->keys, key);
    keys_tell(api);
    (void)refuse(&refusal, 500, "not_kept", NULL, "%s: %s.",
                 keeping->deed == MADE ? "No key was made, as it cannot be kept"
                 : keeping->deed == BOX_ROTATED
                     ? "The box's key stays as it is, as a new one cannot be kept"
                 : keeping->deed == REVOKED
                     ? "The key is revoked, but would be back after a restart, as that cannot be "
                       "kept"
                     : "The key is changed, but only until a restart, as that cannot be kept",
                 why);
    if (exchange)
        refusal_reply(exchange, &refusal);
}

static void kept(struct api *api, const struct keeping *keeping)
{
    struct exchange *exchange = keeping->wait.exchange;
    if (keeping->deed == BOX_ROTATED) { // the old one counted until now
        sha256_of(bytes_of(keeping->secret), api->keys.list[0]->hash);
        memcpy(api->key, keeping->secret, sizeof(api->key));
        net_key_over(api->net, api->keys.list[0]->who);
        if (api->key_changed)
            api->key_changed(api->key_changed_arg);
    }
    const struct key *key = keys_named(&api->keys, bytes_of(keeping->key_id));
    if (!exchange)
        return;
    if (keeping->deed != REVOKED && key) {
        key_reply(exchange, keeping->deed == MADE ? 201 : 200, key,
                  keeping->secret[0] ? keeping->secret : NULL);
        return;
    }
    struct json json;
    json_init(&json, 1024);
    json_object(&json, NULL);
    json_string(&json, "object", "key");
    json_string(&json, "id", keeping->key_id);
    json_bool(&json, "deleted", true); // also when it was, meanwhile, by somebody else
    json_end(&json);
    json_reply(exchange, 200, &json);
}

static void keeping_drop(struct scribe_wait *wait)
{
    explicit_bzero(wait, sizeof(struct keeping)); // the secret
    free(wait);
}

static void keeping_ended(struct api *api, struct scribe_wait *wait, const struct err *err)
{
    const struct keeping *keeping = (const struct keeping *)wait;
    if (err->status == OK)
        kept(api, keeping);
    else
        not_kept(api, keeping, wait->exchange, err->text);
    keeping_drop(wait);
}

static bool write_keys(struct api *api, uint64_t id)
{
    struct buf file;
    api->keys.used_changed = false;
    api->keys.kept_ms = clock_ms();
    if (keys_write(&api->keys, &file) == OK)
        return scribe_write(api->scribe, id, api->keys.path, &file);
    log_error("the keys take more than %d bytes and were not written", KEYS_FILE_BYTES);
    buf_free(&file);
    return false;
}

static bool write_box_key(struct api *api, uint64_t id, const char *secret)
{
    char path[600];
    struct buf file;
    key_path(path, api->state);
    buf_init(&file, API_KEY_BYTES + 1);
    if (buf_format(&file, "%s\n", secret) == OK)
        return scribe_write(api->scribe, id, path, &file);
    buf_free(&file);
    return false;
}

static void keep(struct api *api, struct exchange *exchange, enum deed deed, const char *key_id,
                 const char *secret)
{
    struct keeping *keeping = mem_alloc(sizeof(*keeping));
    const uint64_t id = scribe_waits_id(api);
    keeping->wait = (struct scribe_wait){.ended = keeping_ended, .drop = keeping_drop};
    keeping->deed = deed;
    snprintf(keeping->key_id, sizeof(keeping->key_id), "%s", key_id);
    snprintf(keeping->secret, sizeof(keeping->secret), "%s", secret);
    if (deed == BOX_ROTATED ? !write_box_key(api, id, secret) : !write_keys(api, id)) {
        not_kept(api, keeping, exchange, "the disk is too slow");
        keeping_drop(&keeping->wait);
        return;
    }
    scribe_waits_add(api, &keeping->wait, id, exchange);
}

void keys_tick(struct api *api, uint64_t now_ms)
{
    if (api->keys.used_changed && now_ms - api->keys.kept_ms >= KEYS_USED_KEPT_MS)
        (void)write_keys(api, 0);
}

void keys_end(struct api *api)
{
    if (api->keys.used_changed)
        (void)write_keys(api, 0);
}

// ---- reading --------------------------------------------------------------------------------

struct change { // what a body asks for
    bool has_name, has_scopes, has_limits, rotate;
    char name[KEY_NAME_BYTES + 1];
    uint32_t scopes;
    struct key_limits limits; // of those not given what they are
};

static bool read_name(struct reading *r, yyjson_val *value, struct change *change)
{
    const char *text = yyjson_get_str(value);
    size_t n = yyjson_get_len(value);
    if (!text)
        return wrong_kind(r, "name", "a string", value);
    bool good = n > 0 && n <= KEY_NAME_BYTES;
    for (size_t i = 0; i < n && good; i++)
        good = (uint8_t)text[i] >= 0x20 && text[i] != 0x7f;
    if (!good)
        return refuse(r->refusal, 400, "invalid_value", "name",
                      "'name' must have 1 to %d bytes and no control characters.", KEY_NAME_BYTES);
    memcpy(change->name, text, n);
    change->name[n] = 0;
    return change->has_name = true;
}

static bool read_scopes(struct reading *r, yyjson_val *value, struct change *change)
{
    size_t i, n;
    yyjson_val *word;
    char all[64];
    if (!yyjson_is_arr(value) || yyjson_arr_size(value) == 0)
        return wrong_kind(r, "scopes", "an array of one or more strings", value);
    change->scopes = 0;
    yyjson_arr_foreach(value, i, n, word)
    {
        const char *name;
        uint32_t scope = 0;
        size_t k = 0;
        while ((name = scope_name(k, &scope)) != NULL && !yyjson_equals_str(word, name))
            k++;
        if (!name)
            return refuse(r->refusal, 400, "invalid_value", "scopes",
                          "'scopes[%zu]' is none of the scopes, which are %s.", i,
                          scopes_text(SCOPES_ALL, all));
        change->scopes |= scope;
    }
    return change->has_scopes = true;
}

static bool read_limits(struct reading *r, yyjson_val *value, struct change *change)
{
    const struct {
        const char *name;
        int32_t *limit;
    } limits[] = {{"limits.requests_per_minute", &change->limits.requests},
                  {"limits.tokens_per_minute", &change->limits.tokens},
                  {"limits.at_once", &change->limits.at_once}};
    size_t i, n, k;
    yyjson_val *key, *number;
    if (!yyjson_is_obj(value))
        return wrong_kind(r, "limits", "an object", value);
    yyjson_obj_foreach(value, i, n, key, number)
    {
        int64_t limit = 0;
        for (k = 0; k < COUNT_OF(limits); k++)
            if (yyjson_equals_str(key, limits[k].name + strlen("limits.")))
                break;
        if (k == COUNT_OF(limits))
            return refuse(r->refusal, 400, "unknown_parameter", "limits",
                          "'limits' may have requests_per_minute, tokens_per_minute and at_once, "
                          "and nothing else.");
        if (!yyjson_is_null(number) &&
            !take_whole(r, limits[k].name, number, 1, KEY_LIMIT_MOST, &limit))
            return false;
        *limits[k].limit = (int32_t)limit;
    }
    return change->has_limits = true;
}

static bool change_read(struct reading *r, yyjson_val *root, bool is_new, struct change *change)
{
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(root, i, n, key, value)
    {
        bool good;
        if (yyjson_equals_str(key, "name"))
            good = read_name(r, value, change);
        else if (yyjson_equals_str(key, "scopes"))
            good = read_scopes(r, value, change);
        else if (yyjson_equals_str(key, "limits"))
            good = read_limits(r, value, change);
        else if (!is_new && yyjson_equals_str(key, "rotate"))
            good = take_flag(r, "rotate", value, &change->rotate);
        else
            good = refuse(r->refusal, 400, "unknown_parameter", yyjson_get_str(key),
                          "A key has no '%.60s'; the fields are name, scopes, limits%s.",
                          yyjson_get_str(key), is_new ? "" : " and rotate");
        if (!good)
            return false;
    }
    if (is_new && !change->has_name)
        return wrong_kind(r, "name", "a string", NULL);
    return true;
}

static bool name_free(const struct api *api, const struct change *change, const struct key *but,
                      struct refusal *refusal)
{
    for (size_t i = 0; i < api->keys.n && change->has_name; i++)
        if (api->keys.list[i] != but && strcmp(api->keys.list[i]->name, change->name) == 0)
            return refuse(refusal, 409, "name_taken", "name", "There is a key '%s' already: %s.",
                          change->name, api->keys.list[i]->id);
    return true;
}

static bool body_read(struct api *api, const struct request *request, const struct key *key,
                      struct change *change, struct refusal *refusal)
{
    struct body body;
    struct reading r = {.refusal = refusal};
    *change = (struct change){0};
    if (key)
        change->limits = key->limits;
    if (!body_open(&body, request->body, refusal))
        return false;
    bool good = change_read(&r, yyjson_doc_get_root(body.doc), !key, change);
    body_close(&body);
    return good && name_free(api, change, key, refusal);
}

static void change_do(struct key *key, const struct change *change)
{
    if (change->has_name)
        memcpy(key->name, change->name, sizeof(key->name));
    if (change->has_scopes)
        key->scopes = change->scopes;
    if (change->has_limits) {
        key->limits = change->limits;
        key->requests = key->tokens = (struct bucket){0};
    }
}

// For the audit log.
static void note_key(struct exchange *exchange, const struct key *key, const char *done)
{
    char scopes[64];
    exchange_note(exchange, "%s: %s, '%s', with %s", done, key->id, key->name,
                  scopes_text(key->scopes, scopes));
}

// ---- the routes -----------------------------------------------------------------------------

void keys_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)request;
    struct json json;
    json_init(&json, KEYS_FILE_BYTES);
    json_object(&json, NULL);
    json_string(&json, "object", "list");
    json_array(&json, "data");
    for (size_t i = 0; i < api->keys.n; i++)
        key_write(&json, api->keys.list[i], NULL);
    json_end(&json);
    json_end(&json);
    exchange_reply_header(exchange, "Cache-Control", "no-store");
    json_reply(exchange, 200, &json);
}

void keys_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct change change;
    char secret[API_KEY_BYTES + 1] = "";
    struct key *key = NULL;
    if (body_read(api, request, NULL, &change, &refusal)) {
        key = keys_make(&api->keys, secret);
        if (!key)
            (void)refuse(&refusal, 409, "too_many_keys", NULL,
                         "There are %d keys, which is the most: revoke one first.", KEYS_MOST);
    }
    if (!key) {
        refusal_reply(exchange, &refusal);
        return;
    }
    key->scopes = SCOPE_CHAT;
    change_do(key, &change);
    note_key(exchange, key, "made");
    keys_tell(api);
    keep(api, exchange, MADE, key->id, secret);
    explicit_bzero(secret, sizeof(secret));
}

// The key that the path names; NULL: refused.
static struct key *key_of_path(struct api *api, const struct request *request,
                               struct refusal *refusal)
{
    char shown[NAME_TEXT];
    const struct bytes id = path_behind(request, "/v1/keys/");
    struct key *key = keys_named(&api->keys, id);
    if (!key)
        (void)refuse(refusal, 404, "key_not_found", NULL, "There is no key '%s'.",
                     name_text(shown, id));
    return key;
}

static bool box_stays(struct refusal *refusal)
{
    return refuse(refusal, 409, "box_key", NULL,
                  "The box's own key can be rotated ({\"rotate\": true}), and nothing else.");
}

void key_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    const struct key *key = key_of_path(api, request, &refusal);
    if (key)
        key_reply(exchange, 200, key, NULL);
    else
        refusal_reply(exchange, &refusal);
}

static void rotate_box(struct api *api, struct exchange *exchange)
{
    char secret[API_KEY_BYTES + 1];
    struct key made;
    key_renew(&made, secret);
    note_key(exchange, api->keys.list[0], "rotated");
    keep(api, exchange, BOX_ROTATED, api->keys.list[0]->id, secret);
    explicit_bzero(secret, sizeof(secret));
}

void key_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct change change;
    char secret[API_KEY_BYTES + 1] = "";
    struct key *key = key_of_path(api, request, &refusal);
    const bool is_box = key == api->keys.list[0];
    if (!key || !body_read(api, request, key, &change, &refusal) ||
        (is_box && (change.has_name || change.has_scopes || change.has_limits || !change.rotate) &&
         !box_stays(&refusal))) {
        refusal_reply(exchange, &refusal);
        return;
    }
    if (is_box) {
        rotate_box(api, exchange);
        return;
    }
    change_do(key, &change);
    if (change.rotate) {
        key_renew(key, secret);
        net_key_over(api->net, key->who);
    }
    note_key(exchange, key, change.rotate ? "rotated" : "changed");
    keep(api, exchange, CHANGED, key->id, secret);
    explicit_bzero(secret, sizeof(secret));
}

void key_delete(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    char id[KEY_ID_BYTES];
    struct key *key = key_of_path(api, request, &refusal);
    if (!key || (key == api->keys.list[0] && !box_stays(&refusal))) {
        refusal_reply(exchange, &refusal);
        return;
    }
    memcpy(id, key->id, sizeof(id));
    note_key(exchange, key, "revoked");
    net_key_over(api->net, key->who);
    keys_remove(&api->keys, key);
    keys_tell(api);
    keep(api, exchange, REVOKED, id, "");
}
