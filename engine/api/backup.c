// backup.c - this box in one file, and back; and all of it forgotten. For those with the scope
// admin, one at a time:
//
//   POST /v1/backup   {"password": ...}: keys, certificates, settings and aliases, sealed
//                     (net/seal.c): {"object": "tawny.backup", "version": 1, "hostname", "made",
//                     "iterations", "salt", "nonce", "sealed"}, the last three in hexadecimal
//   POST /v1/restore  {"password": ..., "backup": what that gave}: counts from the restart that
//                     follows, and then the keys are those of the backup
//   POST /v1/reset    {"confirm": "erase", "keep_models": false}: PID 1 erases it all when the box
//                     starts again (init/reset.c)
//
// Keys and files are the scribe's work: a key made of a password takes half a second, and what was
// changed before is on the disk by then.
#include "fields.h"
#include "vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PASSWORD_LEAST = 10, PASSWORD_MOST = 200, HOST_BYTES = 64 };

#define IN_MEMORY                                                                                  \
    "/run/tawny" // the state that PID 1 names when it has no data partition to write to

enum vault_kind { VAULT_BACKUP, VAULT_RESTORE, VAULT_RESET };

struct vault {               // the one that is under way
    struct scribe_wait wait; // the first
    enum vault_kind kind;
    char state[512], password[PASSWORD_MOST + 1], host[HOST_BYTES], names[VAULT_NAMES];
    bool keep_models, wrong_password;
    int64_t made_s;
    struct seal seal;
    struct buf text; // packed, or sealed
};

static void vault_free(struct vault *vault)
{
    if (vault->text.p)
        explicit_bzero(vault->text.p, vault->text.n);
    buf_free(&vault->text);
    explicit_bzero(vault, sizeof(*vault));
    free(vault);
}

// What is told in plain and cannot be changed unseen.
static struct bytes beside(const struct vault *vault, char out[160])
{
    int n = snprintf(out, 160, "tawny.backup 1 %lld %s", (long long)vault->made_s, vault->host);
    return (struct bytes){(const uint8_t *)out, (size_t)n};
}

// ---- on the scribe's thread ---------------------------------------------------------------------

static enum status back_up(void *arg, struct err *err)
{
    struct vault *vault = arg;
    char plain[160];
    enum status status = vault_pack(&vault->text, vault->state, err);
    if (status == OK && vault_check(buf_view(&vault->text), vault->names, err) != OK)
        status = err_set(err, IO_ERROR, "what is to be backed up could not be restored: %s",
                         err->text); // the owner hears it while there is something to mend
    if (status != OK)
        return status;
    vault->text.cap_bytes += SEAL_TAG;
    return seal_close(&vault->text, &vault->seal, bytes_of(vault->password), beside(vault, plain));
}

static enum status bring_back(void *arg, struct err *err)
{
    struct vault *vault = arg;
    char plain[160], path[600];
    if (!seal_open(&vault->text, &vault->seal, bytes_of(vault->password), beside(vault, plain))) {
        vault->wrong_password = true;
        return err_set(err, BAD_INPUT, "it is another password, or the backup was changed");
    }
    enum status status = vault_check(buf_view(&vault->text), vault->names, err);
    snprintf(path, sizeof(path), "%s/" VAULT_PENDING, vault->state);
    return status == OK ? file_write(path, buf_view(&vault->text), 0600, err) : status;
}

// The mark that PID 1 looks for (init/reset.c).
static enum status mark_reset(void *arg, struct err *err)
{
    const struct vault *vault = arg;
    char path[600];
    snprintf(path, sizeof(path), "%s/reset.pending", vault->state);
    return file_write(path, bytes_of(vault->keep_models ? "erase but models\n" : "erase\n"), 0600,
                      err);
}

// ---- answers ------------------------------------------------------------------------------------

static void hex_member(struct json *json, const char *name, const uint8_t *p, size_t n)
{
    char *text = mem_alloc(2 * n + 1);
    hex_write(text, p, n);
    json_string(json, name, text);
    free(text);
}

static void reply_backup(const struct vault *vault)
{
    struct json json;
    char name[HOST_BYTES + 80];
    json_init(&json, 2 * (VAULT_BYTES + SEAL_TAG) + 4096);
    json_object(&json, NULL);
    json_string(&json, "object", "tawny.backup");
    json_whole(&json, "version", 1);
    json_string(&json, "hostname", vault->host);
    json_whole(&json, "made", vault->made_s);
    json_whole(&json, "iterations", vault->seal.iterations);
    hex_member(&json, "salt", vault->seal.salt, SEAL_SALT);
    hex_member(&json, "nonce", vault->seal.nonce, SEAL_NONCE);
    hex_member(&json, "sealed", vault->text.p, vault->text.n);
    json_end(&json);
    snprintf(name, sizeof(name), "attachment; filename=\"tawny-backup-%s.json\"", vault->host);
    exchange_reply_header(vault->wait.exchange, "Content-Disposition", name);
    exchange_reply_header(vault->wait.exchange, "Cache-Control", "no-store");
    json_reply(vault->wait.exchange, 200, &json);
}

static void names_write(struct json *json, const char *names)
{
    json_array(json, "restored");
    for (size_t n; *names; names += n + (names[n] ? 2 : 0)) {
        n = strcspn(names, ",");
        json_text(json, NULL, (struct bytes){(const uint8_t *)names, n});
    }
    json_end(json);
}

static void reply_done(const struct api *api, const struct vault *vault)
{
    struct json json;
    if (vault->kind == VAULT_BACKUP) {
        reply_backup(vault);
        return;
    }
    json_init(&json, 4096);
    json_object(&json, NULL);
    json_string(&json, "object", vault->kind == VAULT_RESET ? "reset" : "restore");
    if (vault->kind == VAULT_RESET) {
        json_bool(&json, "keep_models", vault->keep_models);
    } else {
        names_write(&json, vault->names);
        json_whole(&json, "made", vault->made_s);
    }
    json_bool(&json, "restarting", api->options.restart != NULL);
    json_end(&json);
    json_reply(vault->wait.exchange, vault->kind == VAULT_RESET ? 202 : 200, &json);
}

static void reply_refused(const struct vault *vault, const struct err *err)
{
    struct refusal refusal;
    if (vault->wrong_password)
        (void)refuse(&refusal, 400, "wrong_password", "password", "The backup was not opened: %s.",
                     err->text);
    else if (err->status == BAD_INPUT)
        (void)refuse(&refusal, 400, "invalid_value", "backup", "The backup is of no use here: %s.",
                     err->text);
    else
        (void)refuse(&refusal, 500, "not_kept", NULL, "Nothing is changed: %s.", err->text);
    refusal_reply(vault->wait.exchange, &refusal);
}

static void vault_drop(struct scribe_wait *wait)
{
    vault_free((struct vault *)wait);
}

static void vault_ended(struct api *api, struct scribe_wait *wait, const struct err *outcome)
{
    struct vault *vault = (struct vault *)wait;
    struct err err = *outcome;
    char path[600];
    snprintf(path, sizeof(path), "%s/x", api->state);
    err_hide_folder(&err, path);
    api->vault = NULL;
    if (vault->wait.exchange && err.status == OK)
        reply_done(api, vault);
    else if (vault->wait.exchange)
        reply_refused(vault, &err);
    api->restore_waits = api->restore_waits || (err.status == OK && vault->kind == VAULT_RESTORE);
    if (err.status == OK && vault->kind != VAULT_BACKUP && api->options.restart)
        api->options.restart(api->options.restart_arg, vault->kind == VAULT_RESET);
    vault_free(vault);
}

bool vault_lets(const struct api *api, struct refusal *refusal)
{
    const bool waits = api->restore_waits || (api->vault && api->vault->kind == VAULT_RESTORE);
    return !waits || refuse(refusal, 409, "restore_waits", NULL,
                            "A restore waits for a restart: what is changed before it would be "
                            "lost.");
}

// ---- requests -----------------------------------------------------------------------------------

static bool take_password(struct reading *r, yyjson_val *value, struct vault *vault)
{
    const char *text = yyjson_get_str(value);
    const size_t n = yyjson_get_len(value);
    if (!text)
        return wrong_kind(r, "password", "a string", value);
    if (n < PASSWORD_LEAST || n > PASSWORD_MOST || memchr(text, 0, n))
        return refuse(r->refusal, 400, "invalid_value", "password",
                      "'password' must have %d to %d bytes.", PASSWORD_LEAST, PASSWORD_MOST);
    memcpy(vault->password, text, n);
    return true;
}

// A member of hexadecimal digits, of `least` to `most` bytes.
static bool take_hex(struct reading *r, yyjson_val *backup, const char *name, size_t least,
                     size_t most, uint8_t *out, size_t *n_out)
{
    yyjson_val *value = yyjson_obj_get(backup, name);
    const char *text = yyjson_get_str(value);
    const size_t n = yyjson_get_len(value) / 2;
    const bool good =
        text && n >= least && n <= most &&
        hex_read(out, n, (struct bytes){(const uint8_t *)text, yyjson_get_len(value)});
    *n_out = n;
    return good || refuse(r->refusal, 400, "invalid_value", "backup",
                          "'backup.%s' is not what a backup has there.", name);
}

static bool take_backup(struct reading *r, yyjson_val *backup, struct vault *vault)
{
    uint8_t *sealed = NULL;
    size_t n;
    int64_t iterations = 0;
    const char *host = yyjson_get_str(yyjson_obj_get(backup, "hostname"));
    yyjson_val *version = yyjson_obj_get(backup, "version");
    if (!yyjson_equals_str(yyjson_obj_get(backup, "object"), "tawny.backup") || !host ||
        strlen(host) >= HOST_BYTES || !yyjson_is_int(version))
        return refuse(r->refusal, 400, "invalid_value", "backup",
                      "'backup' must be the object that POST /v1/backup gave.");
    if (yyjson_get_sint(version) != 1)
        return refuse(r->refusal, 400, "invalid_value", "backup",
                      "The backup is of a newer version than this box can read.");
    snprintf(vault->host, sizeof(vault->host), "%s", host);
    vault->made_s = yyjson_get_sint(yyjson_obj_get(backup, "made"));
    if (!take_whole(r, "backup.iterations", yyjson_obj_get(backup, "iterations"),
                    SEAL_ITERATIONS_LEAST, SEAL_ITERATIONS_MOST, &iterations) ||
        !take_hex(r, backup, "salt", SEAL_SALT, SEAL_SALT, vault->seal.salt, &n) ||
        !take_hex(r, backup, "nonce", SEAL_NONCE, SEAL_NONCE, vault->seal.nonce, &n))
        return false;
    vault->seal.iterations = (uint32_t)iterations;
    sealed = mem_alloc(VAULT_BYTES + SEAL_TAG);
    buf_init(&vault->text, VAULT_BYTES + SEAL_TAG);
    const bool good = take_hex(r, backup, "sealed", SEAL_TAG, VAULT_BYTES + SEAL_TAG, sealed, &n);
    if (good && buf_add(&vault->text, sealed, n) != OK)
        die("a backup that has room has none");
    free(sealed);
    return good;
}

static bool member_take(struct reading *r, struct vault *vault, const char *name, yyjson_val *value,
                        bool *confirmed)
{
    if (vault->kind != VAULT_RESET && strcmp(name, "password") == 0)
        return take_password(r, value, vault);
    if (vault->kind == VAULT_RESTORE && strcmp(name, "backup") == 0)
        return take_backup(r, value, vault);
    if (vault->kind == VAULT_RESET && strcmp(name, "keep_models") == 0)
        return take_flag(r, name, value, &vault->keep_models);
    if (vault->kind == VAULT_RESET && strcmp(name, "confirm") == 0) {
        *confirmed = yyjson_equals_str(value, "erase");
        return true;
    }
    return refuse(r->refusal, 400, "unknown_parameter", name,
                  "'%.60s' is no field of this request.", name);
}

static bool body_take(struct vault *vault, struct bytes text, struct refusal *refusal)
{
    struct body body;
    struct reading r = {.refusal = refusal};
    size_t i, n;
    yyjson_val *key, *value;
    bool confirmed = false;
    if (!body_open(&body, text, refusal))
        return false;
    bool good = true;
    yyjson_obj_foreach(yyjson_doc_get_root(body.doc), i, n, key, value)
    {
        good = good && member_take(&r, vault, yyjson_get_str(key), value, &confirmed);
    }
    body_close(&body);
    if (good && vault->kind == VAULT_RESET && !confirmed)
        return refuse(refusal, 400, "invalid_value", "confirm",
                      "'confirm' must be \"erase\": keys, certificates and settings go for good.");
    if (good && vault->kind != VAULT_RESET && !vault->password[0])
        return refuse(refusal, 400, "missing_parameter", "password", "'password' is missing.");
    if (good && vault->kind == VAULT_RESTORE && !vault->text.p)
        return refuse(refusal, 400, "missing_parameter", "backup", "'backup' is missing.");
    return good;
}

static bool may_begin(const struct api *api, enum vault_kind kind, struct refusal *refusal)
{
    if (kind == VAULT_RESET && !api->options.restart)
        return refuse(refusal, 501, "unsupported_value", NULL,
                      "Only the appliance and its containers can do that. Stop this server and "
                      "delete its folder.");
    if (kind == VAULT_RESET && strcmp(api->state, IN_MEMORY) == 0)
        return refuse(refusal, 409, "in_memory", NULL,
                      "Nothing is erased: the data partition is missing or cannot be written, and "
                      "this run keeps its state in memory only.");
    return !api->vault || refuse(refusal, 409, "busy", NULL,
                                 "A backup, a restore or a reset is under way: try again in a few "
                                 "seconds.");
}

static void begin(struct api *api, struct exchange *exchange, const struct request *request,
                  enum vault_kind kind)
{
    static enum status (*const deeds[])(void *, struct err *) = {back_up, bring_back, mark_reset};
    struct refusal refusal;
    struct vault *vault = mem_alloc(sizeof(*vault));
    const uint64_t id = scribe_waits_id(api);
    *vault = (struct vault){
        .wait = {.ended = vault_ended, .drop = vault_drop}, .kind = kind, .made_s = clock_unix_s()};
    snprintf(vault->state, sizeof(vault->state), "%s", api->state);
    snprintf(vault->host, sizeof(vault->host), "%.60s", api->hostname);
    bool good = may_begin(api, kind, &refusal) && body_take(vault, request->body, &refusal);
    if (good && !scribe_do(api->scribe, id, deeds[kind], vault))
        good = refuse(&refusal, 500, "not_kept", NULL, "Nothing is changed: the disk is too slow.");
    if (!good) {
        vault_free(vault);
        refusal_reply(exchange, &refusal);
        return;
    }
    scribe_waits_add(api, &vault->wait, id, exchange);
    api->vault = vault;
}

void backup_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    begin(api, exchange, request, VAULT_BACKUP);
}

void restore_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    begin(api, exchange, request, VAULT_RESTORE);
}

void reset_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    begin(api, exchange, request, VAULT_RESET);
}
