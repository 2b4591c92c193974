/* slots.c - the slots of an ESP: which there are, which is good, and how one becomes it.
 *
 *   EFI/Linux/tawny-N.efi       the UKI of slot N; tawny-N+L-D.efi: not confirmed, L tries left of
 *                               L + D (systemd-boot counts: "Automatic Boot Assessment")
 *   tawny/N/about               its version and time, as /etc/tawny-release
 *   tawny/N/linux initrd env    the same for GRUB; env: `cmdline`
 *   grub/grubenv                1024 bytes: "# GRUB Environment Block", `name=value` lines, '#'s
 *
 * Invariant: what the good slot needs is never written. All names in EFI/Linux lie in its first
 * sector, and all that changes of grubenv in its first: a cut of the power leaves the one before
 * or the one after. What one would get wrong: a name may be there with an empty first sector (its
 * writing was cut short); that is no UKI.
 */
#include "update.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_CAP 256
#define MOST_NUMBER 1000000

/* ---- texts ---- */

/* The value of `key` among the lines "key=value" of a text, or n == 0. */
static const char *value_of(const char *text, size_t len, const char *key, size_t *n)
{
    size_t n_key = strlen(key);

    while (len) {
        const char *end = memchr(text, '\n', len);
        size_t line = end ? (size_t)(end - text) : len;
        if (line > n_key && memcmp(text, key, n_key) == 0 && text[n_key] == '=') {
            *n = line - n_key - 1;
            return text + n_key + 1;
        }
        text += end ? line + 1 : line;
        len -= end ? line + 1 : line;
    }
    *n = 0;
    return "";
}

static void text_of(char *out, size_t cap, const char *text, size_t len, const char *key)
{
    size_t n;
    const char *value = value_of(text, len, key, &n);

    snprintf(out, cap, "%.*s", (int)(n < cap ? n : cap - 1), value);
}

static uint64_t number_of(const char *text, size_t len, const char *key, uint64_t most)
{
    char digits[24];

    text_of(digits, sizeof(digits), text, len, key);
    if (!digits[0] || digits[strspn(digits, "0123456789")])
        return 0;
    errno = 0;
    uint64_t v = strtoull(digits, NULL, 10);
    return errno || v > most ? 0 : v;
}

void release_read(struct release *r, const char *text, size_t len)
{
    text_of(r->version, sizeof(r->version), text, len, "version");
    r->built = number_of(text, len, "built", INT64_MAX);
}

void env_read(struct env *e, const char *text, size_t len)
{
    e->good = (int)number_of(text, len, "good", MOST_NUMBER);
    e->trial = (int)number_of(text, len, "trial", MOST_NUMBER);
    e->last = (int)number_of(text, len, "last", MOST_NUMBER);
    text_of(e->why, sizeof(e->why), text, len, "why");
    char id[DISK_ID_BYTES + 1];
    text_of(id, sizeof(id), text, len, "disk");
    disk_id_read(e->disk, id, strlen(id));
}

void disk_id_read(char id[DISK_ID_BYTES], const char *text, size_t len)
{
    while (len && (text[len - 1] == '\n' || text[len - 1] == 0))
        len--;
    bool good = len == DISK_ID_BYTES - 1;
    for (size_t i = 0; good && i < len; i++)
        good = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
    snprintf(id, DISK_ID_BYTES, "%.*s", good ? (int)len : 0, text);
}

bool origin_find(char id[DISK_ID_BYTES], const char *credential, const char *cmdline)
{
    static const char key[] = "tawny.disk=";

    disk_id_read(id, credential, strlen(credential));
    for (const char *at = cmdline; !id[0] && at; at = strchr(at, ' ')) {
        at += strspn(at, " ");
        if (strncmp(at, key, sizeof(key) - 1) == 0)
            disk_id_read(id, at + sizeof(key) - 1, strcspn(at + sizeof(key) - 1, " \n"));
    }
    return id[0] != 0;
}

bool trial_told(const char *credential, const char *cmdline, const struct release *mine)
{
    static const char key[] = " tawny.trial=";
    size_t n = strcspn(credential, "\n"), n_built, n_all = strlen(credential);
    const char *at = strstr(cmdline, key);

    if (n > 0 && n == strlen(mine->version) && memcmp(credential, mine->version, n) == 0) {
        (void)value_of(credential, n_all, "built", &n_built); // none: an older system wrote it
        return n_built == 0 || number_of(credential, n_all, "built", INT64_MAX) == mine->built;
    }
    return at && at[sizeof(key) - 1] >= '1' && at[sizeof(key) - 1] <= '9';
}

static void number_text(char out[16], int n)
{
    snprintf(out, 16, "%d", n);
    if (n == 0)
        out[0] = 0;
}

void env_write(const struct env *e, char out[ENV_BYTES])
{
    char trial[16], last[16], why[WHY_BYTES];

    number_text(trial, e->trial);
    number_text(last, e->last);
    snprintf(why, sizeof(why), "%s", e->why);
    for (char *c = why; *c; c++)
        if (*c == '\\' || *c == '\n' || *c == '\r')
            *c = ' ';
    int n = snprintf(out, ENV_BYTES,
                     "# GRUB Environment Block\ngood=%d\ntrial=%s\nlast=%s\ndisk=%s\nwhy=%s\n",
                     e->good, trial, last, e->disk, why);
    memset(out + n, '#', (size_t)(ENV_BYTES - n));
}

/* ---- reading ---- */

static void path_in(char out[PATH_CAP], const struct slots *s, const char *format, const char *name)
{
    char below[160];

    snprintf(below, sizeof(below), format, name);
    snprintf(out, PATH_CAP, "%s/%s", s->root, below);
}

struct slot *slots_find(struct slots *s, int number)
{
    for (int i = 0; i < s->n_slots; i++)
        if (s->slot[i].number == number)
            return &s->slot[i];
    return NULL;
}

static struct slot *find_or_add(struct slots *s, int number)
{
    struct slot *slot = slots_find(s, number);
    int at = s->n_slots;

    if (slot || s->n_slots == MOST_SLOTS)
        return slot;
    while (at > 0 && s->slot[at - 1].number > number) {
        s->slot[at] = s->slot[at - 1];
        at--;
    }
    s->n_slots++;
    s->slot[at] = (struct slot){.number = number};
    return &s->slot[at];
}

/* A number of 1 to 7 digits at *text, and *text behind it; -1: there is none. */
static int digits(const char **text)
{
    size_t n = strspn(*text, "0123456789");
    int v = n >= 1 && n <= 7 ? (int)strtol(*text, NULL, 10) : -1;

    *text += n;
    return v;
}

/* tawny-N.efi, tawny-N+L.efi, tawny-N+L-D.efi: its number; 0: it is none of ours. */
static int uki_name(const char *name, bool *counted, int *left)
{
    static const char start[] = "tawny-";

    if (strncmp(name, start, sizeof(start) - 1) != 0)
        return 0;
    name += sizeof(start) - 1;
    int number = digits(&name);
    *counted = *name == '+';
    *left = 0;
    if (*counted) {
        name++;
        *left = digits(&name);
        if (*left < 0)
            return 0;
        if (*name == '-') {
            name++;
            if (digits(&name) < 0)
                return 0;
        }
    }
    return number > 0 && number <= MOST_NUMBER && strcmp(name, ".efi") == 0 ? number : 0;
}

bool loader_noted(const uint8_t *variable, size_t len)
{
    char path[160];
    const size_t n = len >= 4 ? (len - 4) / 2 : 0;
    const char *name;
    bool counted;
    int left;

    if (n == 0 || n >= sizeof(path) || variable[0] & 1) // 1: it outlives a start
        return false;
    for (size_t i = 0; i < n; i++) {
        if (variable[5 + 2 * i] != 0)
            return false;
        path[i] = (char)variable[4 + 2 * i];
    }
    path[n] = 0;
    name = strrchr(path, '\\');
    return uki_name(name ? name + 1 : path, &counted, &left) > 0 && counted && left == 0;
}

/* False where its writing was cut short. */
static bool begins_as_program(const char *path)
{
    char two[2] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool good = fd >= 0 && read(fd, two, 2) == 2 && two[0] == 'M' && two[1] == 'Z';

    if (fd >= 0)
        close(fd);
    return good;
}

static void uki_found(struct slots *s, const char *name)
{
    bool counted;
    int left, number = uki_name(name, &counted, &left);
    struct slot *slot = number ? find_or_add(s, number) : NULL;
    char path[PATH_CAP];

    if (!slot || strlen(name) >= sizeof(slot->file))
        return;
    path_in(path, s, "EFI/Linux/%s", name);
    if (!begins_as_program(path))
        return;
    if (slot->has_uki && !slot->is_counted)
        return; // of two names the one without a count
    slot->has_uki = true;
    slot->is_counted = counted;
    slot->tries_left = left;
    snprintf(slot->file, sizeof(slot->file), "%s", name);
}

static void parts_found(struct slots *s, const char *name)
{
    const char *end = name;
    int number = digits(&end);
    struct slot *slot = number > 0 && !*end ? find_or_add(s, number) : NULL;
    char path[PATH_CAP], text[512];
    struct release release;

    if (!slot)
        return;
    path_in(path, s, "tawny/%s/about", name);
    ssize_t n = read_file(path, text, sizeof(text));
    if (n <= 0)
        return;
    release_read(&release, text, (size_t)n);
    slot->has_parts = true;
    slot->built = release.built;
    memcpy(slot->version, release.version, sizeof(slot->version));
}

static void each_name(struct slots *s, const char *folder,
                      void (*found)(struct slots *s, const char *name))
{
    char path[PATH_CAP];
    struct dirent *e;

    path_in(path, s, "%s", folder);
    DIR *d = opendir(path);
    while (d && (e = readdir(d)))
        if (e->d_name[0] != '.')
            found(s, e->d_name);
    if (d)
        closedir(d);
}

enum status slots_read(struct slots *s, const char *root, const struct release *mine,
                       struct err *err)
{
    char path[PATH_CAP], text[ENV_BYTES + 1];

    memset(s, 0, sizeof(*s));
    snprintf(s->root, sizeof(s->root), "%s", root);
    path_in(path, s, "%s", "grub/grubenv");
    ssize_t n = read_file(path, text, sizeof(text));
    if (n > 0)
        env_read(&s->env, text, (size_t)n);
    if (s->env.good == 0) {
        return err_set(err, NOT_FOUND,
                       "the partition " ESP_LABEL " was written by an image without slots: to "
                       "update it, write the image to the disk again");
    }
    each_name(s, "EFI/Linux", uki_found);
    each_name(s, "tawny", parts_found);
    for (int i = 0; i < s->n_slots; i++)
        if (s->slot[i].has_parts && s->slot[i].built == mine->built &&
            strcmp(s->slot[i].version, mine->version) == 0)
            s->running = s->slot[i].number;
    return OK;
}

/* The slot that was installed last, whether or not its note was still written. */
static int last_of(const struct slots *s)
{
    int last = s->env.last;

    for (int i = 0; i < s->n_slots; i++)
        if (s->slot[i].has_uki && s->slot[i].number > s->env.good && s->slot[i].number > last)
            last = s->slot[i].number;
    return last;
}

enum update_state slots_state(const struct slots *s, bool uefi)
{
    int last = last_of(s);

    if (s->running > s->env.good)
        return UPDATE_TRYING;
    if (last == 0)
        return UPDATE_NONE;
    if (last == s->env.good)
        return s->running == last ? UPDATE_CONFIRMED : UPDATE_WENT_BACK;
    for (int i = 0; i < s->n_slots; i++) {
        const struct slot *slot = &s->slot[i];
        if (slot->number == last && slot->has_uki &&
            (uefi ? slot->is_counted && slot->tries_left > 0 : s->env.trial == last))
            return UPDATE_VERIFIED;
    }
    return UPDATE_WENT_BACK;
}

/* ---- changing ---- */

static enum status write_failed(const char *what, struct err *err)
{
    return err_set(err, IO_ERROR, "%s could not be written: %s", what, strerror(errno));
}

enum status slots_write_env(const struct slots *s, struct err *err)
{
    char path[PATH_CAP], block[ENV_BYTES];

    env_write(&s->env, block);
    path_in(path, s, "%s", "grub/grubenv");
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    bool good =
        fd >= 0 && pwrite(fd, block, sizeof(block), 0) == (ssize_t)sizeof(block) && fsync(fd) == 0;
    enum status status = good ? OK : write_failed("grub/grubenv", err);
    if (fd >= 0)
        close(fd);
    return status;
}

static void sync_folder(const struct slots *s, const char *folder)
{
    char path[PATH_CAP];

    path_in(path, s, "%s", folder);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    (void)syncfs(fd);
    close(fd);
}

/* systemd's stub gives each file of loader/credentials to the kernel. One of a length that stays is
 * written in place, in one sector. */
static enum status write_credential(const struct slots *s, const char *name, const char *text,
                                    size_t n, struct err *err)
{
    char path[PATH_CAP];

    path_in(path, s, "%s", "loader/credentials");
    if (mkdir(path, 0755) && errno != EEXIST)
        return write_failed("loader/credentials", err);
    path_in(path, s, "loader/credentials/%s", name);
    int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    bool good = fd >= 0 && pwrite(fd, text, n, 0) == (ssize_t)n && fsync(fd) == 0;
    enum status status = good ? OK : write_failed(name, err);
    if (fd >= 0)
        close(fd);
    sync_folder(s, "loader/credentials");
    return status;
}

/* GRUB puts `disk` on the command line. The id counts when it is in grubenv. */
enum status slots_name_disk(struct slots *s, const char id[DISK_ID_BYTES], struct err *err)
{
    enum status status = write_credential(s, DISK_CREDENTIAL, id, DISK_ID_BYTES - 1, err);

    memcpy(s->env.disk, id, DISK_ID_BYTES);
    return status == OK ? slots_write_env(s, err) : status;
}

enum status slots_tell_trial(const struct slots *s, const struct release *trial, struct err *err)
{
    char text[128] = "", path[PATH_CAP];
    size_t n = 0;

    path_in(path, s, "%s", "loader/credentials/" TRIAL_CREDENTIAL);
    if (!trial && access(path, F_OK))
        return OK;
    if (trial)
        n = (size_t)snprintf(text, sizeof(text), "%s\nbuilt=%llu\n", trial->version,
                             (unsigned long long)trial->built);
    memset(text + n, '\n', sizeof(text) - n); // a version is shorter than half of it
    return write_credential(s, TRIAL_CREDENTIAL, text, sizeof(text), err);
}

static enum status rename_uki(struct slots *s, struct slot *slot, const char *to, struct err *err)
{
    char from_path[PATH_CAP], to_path[PATH_CAP];

    if (strcmp(slot->file, to) == 0)
        return OK;
    path_in(from_path, s, "EFI/Linux/%s", slot->file);
    path_in(to_path, s, "EFI/Linux/%s", to);
    if (rename(from_path, to_path))
        return write_failed(to, err);
    snprintf(slot->file, sizeof(slot->file), "%s", to);
    sync_folder(s, "EFI/Linux");
    return OK;
}

enum status slots_use_up(struct slots *s, int number, struct err *err)
{
    struct slot *slot = slots_find(s, number);
    char to[64];

    if (!slot || slots_used_up(s, number))
        return OK;
    snprintf(to, sizeof(to), "tawny-%d+0-1.efi", number);
    enum status status = rename_uki(s, slot, to, err);
    if (status == OK) {
        slot->is_counted = true;
        slot->tries_left = 0;
    }
    return status;
}

bool slots_used_up(struct slots *s, int number)
{
    const struct slot *slot = slots_find(s, number);
    return !slot || !slot->has_uki || (slot->is_counted && slot->tries_left == 0);
}

/* In this order, for what a cut between two steps leaves: a system that is told to be on trial and
 * is good would restart the machine whenever its disk is late; one that is not told is behind the
 * good one as before; one with a good name that grubenv does not know is tried once more. */
enum status slots_confirm(struct slots *s, struct err *err)
{
    struct slot *slot = slots_find(s, s->running);
    char to[64];

    if (!slot)
        return err_set(err, NOT_FOUND, "no slot has the version that runs");
    snprintf(to, sizeof(to), "tawny-%d.efi", slot->number);
    enum status status = slots_tell_trial(s, NULL, err);
    if (status == OK && slot->has_uki)
        status = rename_uki(s, slot, to, err);
    if (status != OK)
        return status;
    slot->is_counted = false;
    s->env.good = s->env.last = slot->number;
    s->env.trial = 0;
    s->env.why[0] = 0;
    return slots_write_env(s, err);
}

enum status slots_give_up(struct slots *s, const char *why, struct err *err)
{
    int last = last_of(s);

    s->env.trial = 0;
    s->env.last = last;
    snprintf(s->env.why, sizeof(s->env.why), "%s", why);
    struct err later;
    enum status used_up = last != s->env.good ? slots_use_up(s, last, err) : OK;
    enum status written = slots_write_env(s, used_up == OK ? err : &later);
    enum status status = used_up != OK ? used_up : written;
    enum status told = slots_tell_trial(s, NULL, status == OK ? err : &later);
    return status != OK ? status : told;
}

static void remove_below(const struct slots *s, const char *format, const char *name)
{
    char path[PATH_CAP];

    path_in(path, s, format, name);
    if (unlink(path) && errno == EISDIR)
        (void)rmdir(path);
}

/* Every name that a UKI of that slot has, whole or not. */
static void remove_ukis(struct slots *s, int number)
{
    char path[PATH_CAP], names[4][64];
    int n = 0, left;
    bool counted;
    struct dirent *e;

    path_in(path, s, "%s", "EFI/Linux");
    DIR *d = opendir(path);
    while (d && n < 4 && (e = readdir(d)))
        if (uki_name(e->d_name, &counted, &left) == number && strlen(e->d_name) < sizeof(names[0]))
            snprintf(names[n++], sizeof(names[0]), "%s", e->d_name);
    if (d)
        closedir(d);
    for (int i = 0; i < n; i++)
        remove_below(s, "EFI/Linux/%s", names[i]);
}

enum status slots_make_room(struct slots *s, struct err *err)
{
    static const char *const parts[] = {"linux", "initrd", "env", "about", ""};

    if (s->running != s->env.good) {
        return err_set(err, UNSUPPORTED,
                       "this system is not the good one of its disk, so nothing is replaced: "
                       "restart the machine first");
    }
    for (int i = 0; i < s->n_slots; i++) {
        int number = s->slot[i].number;
        if (number == s->env.good)
            continue;
        remove_ukis(s, number);
        for (size_t k = 0; k < sizeof(parts) / sizeof(*parts); k++) {
            char below[64];
            snprintf(below, sizeof(below), "tawny/%d/%s", number, parts[k]);
            below[strlen(below) - (parts[k][0] ? 0 : 1)] = 0;
            remove_below(s, "%s", below);
        }
    }
    struct slot good = *slots_find(s, s->env.good);
    s->slot[0] = good;
    s->n_slots = 1;
    sync_folder(s, "EFI/Linux");
    return OK;
}
