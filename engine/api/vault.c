// vault.c - the files of a backup: packed, checked, and put back at a start.
//
// A packed text is only believed after vault_check; a name that is not in the table of files is
// none. What the table has and a backup has not is removed: the box is then as it was.
#include "vault.h"
#include "inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char HEAD[] = "tawny backup 1\n";
static const struct vault_file {
    const char *name;
    size_t cap_bytes;
    unsigned mode;
} files[] = {
    {"api-key", 4096, 0600},
    {"keys.json", KEYS_FILE_BYTES, 0600},
    {"aliases", STORE_ALIASES_BYTES, 0600},
    {"model-defaults.json", DEFAULTS_FILE_BYTES, 0600},
    {SETTINGS_KEPT, SETTINGS_FILE_BYTES, 0600},
    {"tls/ca.crt", 16384, 0644},
    {"tls/ca.key", 16384, 0600},
    {"tls/server.crt", 65536, 0644},
    {"tls/server.key", 16384, 0600},
};

static enum status pack_one(struct buf *out, const char *state, const struct vault_file *file,
                            struct err *err)
{
    struct buf content;
    char path[600];
    snprintf(path, sizeof(path), "%s/%s", state, file->name);
    enum status status = file_read(&content, path, file->cap_bytes, err);
    if (status == NOT_FOUND)
        return OK;
    if (status != OK)
        return status;
    status = buf_format(out, "%s %zu\n", file->name, content.n);
    if (status == OK)
        status = buf_add(out, content.p, content.n);
    if (content.p)
        explicit_bzero(content.p, content.n);
    buf_free(&content);
    return status == OK ? OK : err_set(err, status, "they take more than %d bytes", VAULT_BYTES);
}

enum status vault_pack(struct buf *out, const char *state, struct err *err)
{
    buf_init(out, VAULT_BYTES);
    enum status status = buf_add(out, HEAD, sizeof(HEAD) - 1);
    for (size_t i = 0; status == OK && i < COUNT_OF(files); i++)
        status = pack_one(out, state, &files[i], err);
    return status;
}

// The next file of a packed text, which is moved behind it; NULL: there is none, or text->p is NULL
// and it is not whole.
static const struct vault_file *next_file(struct bytes *text, struct bytes *content)
{
    char line[64], *end;
    const uint8_t *newline = memchr(text->p, '\n', text->n < sizeof(line) ? text->n : sizeof(line));
    if (text->n == 0)
        return NULL;
    const size_t n_line = newline ? (size_t)(newline - text->p) : 0;
    snprintf(line, sizeof(line), "%.*s", (int)n_line, (const char *)text->p);
    char *blank = strchr(line, ' ');
    const unsigned long n = blank ? strtoul(blank + 1, &end, 10) : 0;
    for (size_t i = 0; blank && i < COUNT_OF(files); i++) {
        if (strncmp(line, files[i].name, (size_t)(blank - line)) != 0 ||
            files[i].name[blank - line] || *end || n > files[i].cap_bytes ||
            n > text->n - n_line - 1)
            continue;
        *content = (struct bytes){text->p + n_line + 1, n};
        *text = (struct bytes){text->p + n_line + 1 + n, text->n - n_line - 1 - n};
        return &files[i];
    }
    *text = (struct bytes){NULL, 0};
    return NULL;
}

static bool take_head(struct bytes *text)
{
    const size_t n = sizeof(HEAD) - 1;
    if (text->n < n || memcmp(text->p, HEAD, n) != 0)
        return false;
    *text = (struct bytes){text->p + n, text->n - n};
    return true;
}

// The content of that file in a packed text; p NULL: it is not in it.
static struct bytes content_of(struct bytes text, const struct vault_file *wanted)
{
    const struct vault_file *file;
    struct bytes content;
    (void)take_head(&text);
    while ((file = next_file(&text, &content)) != NULL)
        if (file == wanted)
            return content;
    return (struct bytes){NULL, 0};
}

static struct bytes named(struct bytes packed, const char *name)
{
    size_t i = 0;
    while (strcmp(files[i].name, name) != 0)
        i++;
    return content_of(packed, &files[i]);
}

// Whether settings say where the state is kept: that is not a backup's to say.
static bool sets_state(struct bytes text)
{
    struct settings *values = mem_alloc(sizeof(*values));
    struct settings_report *report = mem_alloc(sizeof(*report));
    struct setting setting;
    bool found = false;
    *report = (struct settings_report){0};
    settings_default(values);
    settings_parse_rest(values, text, SETTINGS_KEPT, SETTING_API, report);
    for (size_t i = 0; settings_describe(i, &setting); i++)
        found = found || (strcmp(setting.name, "state") == 0 && report->source[i] == SETTING_API);
    free(values);
    free(report);
    return found;
}

// That a start from these files would take all of them.
static enum status contents_good(struct bytes packed, struct err *err)
{
    char key[API_KEY_BYTES + 1];
    const struct bytes api_key = named(packed, "api-key"), settings = named(packed, SETTINGS_KEPT),
                       keys = named(packed, "keys.json"), aliases = named(packed, "aliases");
    enum status status = api_key.p ? key_take(key, api_key, "api-key", err) : OK;
    explicit_bzero(key, sizeof(key));
    if (status == OK && settings.p && sets_state(settings))
        return err_set(err, BAD_INPUT, "its settings set 'state', which no backup may");
    if (status == OK && keys.p)
        status = keys_check(keys, err);
    if (status == OK && aliases.p)
        status = store_aliases_good(aliases, err);
    if (status == OK)
        status =
            net_pair_check("ca", named(packed, "tls/ca.crt"), named(packed, "tls/ca.key"), err);
    if (status == OK)
        status = net_pair_check("server", named(packed, "tls/server.crt"),
                                named(packed, "tls/server.key"), err);
    return status;
}

enum status vault_check(struct bytes text, char names[VAULT_NAMES], struct err *err)
{
    const struct vault_file *file;
    const struct bytes packed = text;
    struct bytes content;
    size_t n = 0;
    names[0] = 0;
    if (!take_head(&text))
        return err_set(err, BAD_INPUT, "it is of another version of backups");
    while ((file = next_file(&text, &content)) != NULL)
        n += (size_t)snprintf(names + n, n < VAULT_NAMES ? VAULT_NAMES - n : 0, "%s%s",
                              n > 0 ? ", " : "", file->name);
    if (!text.p || n == 0 || n >= VAULT_NAMES)
        return err_set(err, BAD_INPUT, "the files in it are not those of a backup");
    return contents_good(packed, err);
}

struct places { // of a file: where it belongs, and where it waits until all are there
    char there[600], aside[640];
};

static struct places places_of(const char *state, const struct vault_file *file)
{
    struct places at;
    snprintf(at.there, sizeof(at.there), "%s/%s", state, file->name);
    snprintf(at.aside, sizeof(at.aside), "%s.restore", at.there);
    return at;
}

// All of them beside those that count: or, where one has no room, none.
static enum status lay_aside(const char *state, struct bytes packed, struct err *err)
{
    enum status status = OK;
    for (size_t i = 0; status == OK && i < COUNT_OF(files); i++) {
        const struct places at = places_of(state, &files[i]);
        const struct bytes content = content_of(packed, &files[i]);
        if (content.p)
            status = file_write(at.aside, content, files[i].mode, err);
    }
    for (size_t i = 0; status != OK && i < COUNT_OF(files); i++)
        (void)unlink(places_of(state, &files[i]).aside);
    return status;
}

static enum status sync_folder(const char *path, struct err *err)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool good = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
    const int code = errno;
    if (fd >= 0)
        close(fd);
    return good ? OK
                : err_set(err, IO_ERROR, "the folder %s is not synced: %s", path, strerror(code));
}

static enum status put_in_place(const char *state, const char *tls, struct bytes packed,
                                struct err *err)
{
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        const struct places at = places_of(state, &files[i]);
        if (content_of(packed, &files[i]).p) {
            if (rename(at.aside, at.there) != 0)
                return err_set(err, IO_ERROR, "%s cannot be put in its place: %s", at.there,
                               strerror(errno));
        } else if (unlink(at.there) != 0 && errno != ENOENT) {
            return err_set(err, IO_ERROR, "%s cannot be removed: %s", at.there, strerror(errno));
        }
    }
    const enum status status = sync_folder(tls, err);
    return status == OK ? sync_folder(state, err) : status;
}

static bool differs(const char *state, const char *name, struct bytes packed)
{
    struct buf now;
    struct err err;
    char path[600];
    const struct bytes then = named(packed, name);
    snprintf(path, sizeof(path), "%s/%s", state, name);
    if (file_read(&now, path, VAULT_BYTES, &err) != OK)
        return then.p != NULL;
    const bool same = then.p && bytes_equal(then, buf_view(&now));
    buf_free(&now);
    return !same;
}

enum status api_restore(const char *state, bool *restored, bool *box, struct err *err)
{
    char path[600], folder[600], names[VAULT_NAMES];
    struct buf packed;
    *restored = *box = false;
    snprintf(path, sizeof(path), "%s/" VAULT_PENDING, state);
    enum status status = file_read(&packed, path, VAULT_BYTES, err);
    if (status == NOT_FOUND)
        return OK;
    if (status != OK)
        return status;
    const struct bytes text = buf_view(&packed);
    status = vault_check(text, names, err);
    if (status == OK) {
        *box = differs(state, SETTINGS_KEPT, text);
        snprintf(folder, sizeof(folder), "%s/tls", state);
        status = file_make_dir(folder, 0700, err);
    }
    if (status == OK)
        status = lay_aside(state, text, err);
    if (status == OK)
        status = put_in_place(state, folder, text, err);
    explicit_bzero(packed.p, packed.n);
    buf_free(&packed);
    if (status != OK && status != BAD_INPUT)
        return status; // the next start tries again
    if (unlink(path) != 0)
        return err_set(err, IO_ERROR, "%s cannot be removed: %s", path, strerror(errno));
    *restored = status == OK;
    return status;
}
