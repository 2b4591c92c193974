/* install.c - a bundle becomes a slot that is tried at the next start.
 *
 * The order is what a cut of the power needs, and what a file that somebody changes meanwhile
 * needs: all of the bundle is checked before anything is removed; the UKI is written with its
 * first sector empty, synced, and read back from the disk; what GRUB needs is taken out of that
 * copy; then the first sector, then `trial` in grubenv. Until then no loader takes any of it for a
 * system.
 */
#include "update.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SECTOR 512
#define PATH_CAP 256
#define SPARE_BYTES (1 << 20) // of the partition, left free

struct work {
    struct slots *slots;
    const struct bundle *bundle;
    int number;
    int bundle_fd, uki_fd;
    uint8_t head[UKI_HEAD]; // of the UKI
    struct uki uki;
};

static enum status failed(const char *what, struct err *err)
{
    int e = errno;
    return err_set(err, IO_ERROR, "%s could not be written: %s%s", what, strerror(e),
                   e == ENOSPC ? " (delete what is not ours on the partition " ESP_LABEL ")" : "");
}

static enum status check_order(const struct slots *s, const struct bundle *b, bool may_be_older,
                               struct err *err)
{
    for (int i = 0; i < s->n_slots; i++) {
        const struct slot *slot = &s->slot[i];
        if (slot->number == s->env.good && strcmp(slot->version, b->version) == 0 &&
            slot->built == b->built)
            return err_set(err, BAD_INPUT, "version %s runs already", b->version);
        if (slot->number == s->env.good && b->built < slot->built && !may_be_older) {
            return err_set(err, BAD_INPUT,
                           "version %s is older than %s, which runs: to go back to it, say that "
                           "an older one is wanted",
                           b->version, slot->version);
        }
    }
    if (b->data_format < DATA_FORMAT) {
        return err_set(err, BAD_INPUT,
                       "version %s keeps its data in format %u and could not read what this one "
                       "keeps (format %d)",
                       b->version, b->data_format, DATA_FORMAT);
    }
    return OK;
}

static enum status check_bundle(const struct slots *s, const struct install *how, int fd,
                                struct bundle *b, struct err *err)
{
    uint8_t head[BUNDLE_HEADER] = {0}, sum[32];
    struct stat st;
    const char *whose = "";

    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return err_set(err, BAD_INPUT, "the update is no file");
    ssize_t n = pread(fd, head, sizeof(head), 0);
    if (n < 0)
        return err_set(err, IO_ERROR, "the update could not be read: %s", strerror(errno));
    enum status status = bundle_read(b, head, n < BUNDLE_HEADER ? 0 : (uint64_t)st.st_size, err);
    if (status == OK)
        status = bundle_verify(b, how->keys, how->n_keys, &whose, err);
    if (status == OK)
        status = check_order(s, b, how->may_be_older, err);
    if (status == OK)
        status = file_sha256(sum, fd, BUNDLE_HEADER, b->n_uki, NULL, 0, err);
    if (status == OK && memcmp(sum, b->sha256, sizeof(sum)) != 0) {
        return err_set(err, BAD_INPUT,
                       "the update was changed after it was signed: its SHA-256 is "
                       "not the one in its header");
    }
    return status;
}

/* ---- writing ---- */

static bool write_all(int fd, const void *p, size_t n, uint64_t at)
{
    const uint8_t *bytes = p;

    while (n) {
        ssize_t done = pwrite(fd, bytes, n, (off_t)at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        bytes += done;
        n -= (size_t)done;
        at += (uint64_t)done;
    }
    return true;
}

/* n bytes of a file from `from` on to the place `to` of another. */
static bool copy(int to_fd, uint64_t to, int from_fd, uint64_t from, uint64_t n)
{
    static uint8_t piece[256 << 10];

    while (n) {
        size_t want = n < sizeof(piece) ? (size_t)n : sizeof(piece);
        ssize_t got = pread(from_fd, piece, want, (off_t)from);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0 || !write_all(to_fd, piece, (size_t)got, to))
            return false;
        from += (uint64_t)got;
        to += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return true;
}

/* Synced, and no longer in memory: the next read comes from the disk. */
static bool to_disk(int fd)
{
    return fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0;
}

static enum status write_uki(struct work *w, struct err *err)
{
    static const uint8_t empty[SECTOR];
    const struct bundle *b = w->bundle;
    char path[PATH_CAP];
    uint8_t sum[32];

    if (pread(w->bundle_fd, w->head, sizeof(w->head), BUNDLE_HEADER) != (ssize_t)sizeof(w->head))
        return err_set(err, IO_ERROR, "the update could not be read: %s", strerror(errno));
    snprintf(path, sizeof(path), "%s/EFI/Linux/tawny-%d+1.efi", w->slots->root, w->number);
    w->uki_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (w->uki_fd < 0 || !write_all(w->uki_fd, empty, SECTOR, 0) ||
        !copy(w->uki_fd, SECTOR, w->bundle_fd, BUNDLE_HEADER + SECTOR, b->n_uki - SECTOR) ||
        !to_disk(w->uki_fd))
        return failed(path, err);
    enum status status = file_sha256(sum, w->uki_fd, 0, b->n_uki, w->head, SECTOR, err);
    if (status != OK)
        return status;
    if (memcmp(sum, b->sha256, sizeof(sum)) != 0) {
        return err_set(err, IO_ERROR,
                       "what was written to the disk is not what was sent: the disk is bad, or "
                       "the file was changed meanwhile");
    }
    if (pread(w->uki_fd, w->head + SECTOR, sizeof(w->head) - SECTOR, SECTOR) !=
        (ssize_t)(sizeof(w->head) - SECTOR))
        return err_set(err, IO_ERROR, "%s could not be read: %s", path, strerror(errno));
    return uki_read(&w->uki, w->head, sizeof(w->head), b->n_uki, err);
}

static int open_part(const struct work *w, const char *name, char path[PATH_CAP])
{
    snprintf(path, PATH_CAP, "%s/tawny/%d/%s", w->slots->root, w->number, name);
    return open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
}

/* A part of the UKI as a file of its own, compared with it when it is on the disk. */
static enum status write_part(const struct work *w, const char *name, const struct uki_part *part,
                              struct err *err)
{
    char path[PATH_CAP];
    uint8_t was[32], is[32];
    int fd = open_part(w, name, path);

    enum status status = fd >= 0 && copy(fd, 0, w->uki_fd, part->at, part->n) && to_disk(fd)
                             ? OK
                             : failed(path, err);
    if (status == OK)
        status = file_sha256(was, w->uki_fd, part->at, part->n, NULL, 0, err);
    if (status == OK)
        status = file_sha256(is, fd, 0, part->n, NULL, 0, err);
    if (status == OK && memcmp(was, is, sizeof(was)) != 0)
        status = err_set(err, IO_ERROR, "%s is not what was written: the disk is bad", path);
    if (fd >= 0)
        close(fd);
    return status;
}

static enum status write_text(const struct work *w, const char *name, const char *text, size_t n,
                              struct err *err)
{
    char path[PATH_CAP];
    int fd = open_part(w, name, path);
    enum status status =
        fd >= 0 && write_all(fd, text, n, 0) && fsync(fd) == 0 ? OK : failed(path, err);

    if (fd >= 0)
        close(fd);
    return status;
}

/* The command line as GRUB reads it: an environment block with the variable `cmdline`. */
static enum status write_cmdline(const struct work *w, struct err *err)
{
    char block[4096];
    size_t n_block = (size_t)snprintf(block, sizeof(block), "# GRUB Environment Block\ncmdline=");
    size_t n = (size_t)w->uki.cmdline.n;

    if (pread(w->uki_fd, block + n_block, n, (off_t)w->uki.cmdline.at) != (ssize_t)n)
        return err_set(err, IO_ERROR, "the command line could not be read: %s", strerror(errno));
    for (size_t i = n_block; i < n_block + n; i++)
        if ((unsigned char)block[i] < ' ' || block[i] == '\\')
            block[i] = ' ';
    block[n_block + n] = '\n';
    memset(block + n_block + n + 1, '#', sizeof(block) - n_block - n - 1);
    return write_text(w, "env", block, sizeof(block), err);
}

static enum status write_parts(const struct work *w, struct err *err)
{
    char path[PATH_CAP], text[256];

    snprintf(path, sizeof(path), "%s/tawny/%d", w->slots->root, w->number);
    if (mkdir(path, 0755))
        return failed(path, err);
    enum status status = write_part(w, "linux", &w->uki.linux_, err);
    if (status == OK)
        status = write_part(w, "initrd", &w->uki.initrd, err);
    if (status == OK)
        status = write_cmdline(w, err);
    int n = snprintf(text, sizeof(text), "version=%s\nbuilt=%llu\n", w->bundle->version,
                     (unsigned long long)w->bundle->built);
    return status == OK ? write_text(w, "about", text, (size_t)n, err) : status;
}

/* From here on the loaders see it. */
static enum status let_it_be_tried(struct work *w, struct err *err)
{
    struct release trial = {.built = w->bundle->built};

    memcpy(trial.version, w->bundle->version, sizeof(trial.version));
    const enum status told = slots_tell_trial(w->slots, &trial, err);

    if (told != OK)
        return told;
    if (syncfs(w->uki_fd) || !write_all(w->uki_fd, w->head, SECTOR, 0) || fsync(w->uki_fd))
        return failed("the new system's first sector", err);
    w->slots->env.trial = w->slots->env.last = w->number;
    w->slots->env.why[0] = 0;
    return slots_write_env(w->slots, err);
}

static enum status check_room(const struct slots *s, const struct bundle *b, struct err *err)
{
    struct statvfs v;

    if (statvfs(s->root, &v))
        return err_set(err, IO_ERROR, "%s: %s", s->root, strerror(errno));
    uint64_t room = (uint64_t)v.f_bavail * v.f_frsize, needed = 2 * b->n_uki + SPARE_BYTES;
    if (room >= needed)
        return OK;
    return err_set(err, IO_ERROR,
                   "the partition " ESP_LABEL " has no room for the update: %llu MB are free, %llu "
                   "MB are needed; delete what is not ours on it",
                   (unsigned long long)(room / 1000000), (unsigned long long)(needed / 1000000));
}

static enum status write_slot(struct work *w, struct err *err)
{
    enum status status = check_room(w->slots, w->bundle, err);

    if (status == OK)
        status = write_uki(w, err);
    if (status == OK)
        status = write_parts(w, err);
    if (status == OK)
        status = let_it_be_tried(w, err);
    if (w->uki_fd >= 0)
        close(w->uki_fd);
    return status;
}

enum status install_bundle(struct slots *s, const struct install *how, int fd, struct bundle *b,
                           struct err *err)
{
    struct work w = {.slots = s, .bundle = b, .number = s->env.good, .bundle_fd = fd, .uki_fd = -1};
    struct err ignored;
    enum status status = check_bundle(s, how, fd, b, err);

    if (status != OK)
        return status;
    for (int i = 0; i < s->n_slots; i++)
        w.number = s->slot[i].number > w.number ? s->slot[i].number : w.number;
    w.number = (s->env.last > w.number ? s->env.last : w.number) + 1;
    if (how->writable)
        how->writable(true);
    s->env.trial = 0;
    status = slots_write_env(s, err);
    if (status == OK)
        status = slots_make_room(s, err);
    if (status == OK) {
        status = write_slot(&w, err);
        if (status != OK) { // half of a slot takes the room of the next one
            struct slots left = *s;
            left.slot[left.n_slots++] = (struct slot){.number = w.number};
            (void)slots_make_room(&left, &ignored);
        }
    }
    if (how->writable)
        how->writable(false);
    return status;
}
