/* cloud_disk.c - finds the disk on which a hypervisor lays settings, and has it read.
 *
 * No file system is mounted: the first bytes of each whole disk are read in a child, and where they
 * carry the label of such a disk, its first CLOUD_DISK_MOST bytes. Only then, when the child has
 * given up all rights (confine.c), does it look at what they say. What comes back is text: lines of
 * tawny.conf, which conf.c checks again here, a line "ignored ...", and a line "key ...". The first
 * such disk counts; others are named.
 */
#include "cloud.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST_DISKS 16
#define READ_S 30 // then the child is ended
#define LINE 300  // of the log takes that, and what stands before it
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

enum look { FOUND, LOOKING, LOOKED };

static struct look_at {
    char name[32];
    enum look state;
    int fd[2]; // of the child's answer: ours, its
} disks[MOST_DISKS];
static int n_disks;

static char lines[CLOUD_TEXT]; // of tawny.conf; "": none
static char ignored[2304];     // what of it is not taken
static char taken_from[32];    // "": no such disk was found
static char key[CLOUD_KEY_MOST + 1];
static bool applied; // what comes now comes too late

/* ---- in the child ---- */

/* As much of the disk as there is, up to *len. */
static uint8_t *read_disk(const char *name, enum cloud_kind *kind, size_t *len)
{
    char path[48];
    uint8_t volume[ISO_VOLUME];

    snprintf(path, sizeof(path), "/dev/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || pread(fd, volume, sizeof(volume), ISO_VOLUME_AT) != (ssize_t)sizeof(volume) ||
        (*kind = iso_kind(volume)) == CLOUD_NONE)
        return NULL;
    uint8_t *bytes = malloc(CLOUD_DISK_MOST);
    ssize_t n = 1;
    for (*len = 0; bytes && *len < CLOUD_DISK_MOST && n > 0; *len += n > 0 ? (size_t)n : 0)
        n = pread(fd, bytes + *len, CLOUD_DISK_MOST - *len, (off_t)*len);
    return bytes;
}

static int look(void *ctx)
{
    const struct look_at *disk = ctx;
    static struct cloud c;
    static struct tree scratch;
    static char out[CLOUD_TEXT + sizeof(c.ignored) + sizeof(c.api_key) + 64];
    enum cloud_kind kind = CLOUD_NONE;
    size_t len = 0;

    alarm(READ_S);
    const uint8_t *bytes = read_disk(disk->name, &kind, &len);
    if (!bytes)
        return 1;
    if (!confine(disk->fd[1], true))
        _exit(2);
    cloud_read(&c, kind, bytes, len, &scratch);
    size_t n = cloud_lines(&c, out, CLOUD_TEXT);
    n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%s%s%s%s%s", c.api_key[0] ? "key " : "",
                          c.api_key, c.api_key[0] ? "\n" : "", c.ignored[0] ? "ignored " : "",
                          c.ignored, c.too_long ? " ..." : "");
    _exit(write(3, out, n) == (ssize_t)n ? 0 : 2); // a pipe holds more
}

/* ---- its answer ---- */

static bool starts(const char *line, const char *word)
{
    return strncmp(line, word, strlen(word)) == 0;
}

size_t cloud_line_of(const char *list, size_t most)
{
    size_t n = strlen(list), cut = n;

    if (n <= most)
        return n;
    for (cut = most; cut > 1; cut--)
        if (list[cut - 1] == ' ' && strchr(",;", list[cut - 2]))
            return cut;
    return most;
}

static void say_ignored(const char *disk, const char *list)
{
    for (size_t n; *list; list += n) {
        n = cloud_line_of(list, LINE);
        complain("cloud-init", "/dev/%s: ignored: %.*s%s", disk, (int)n, list,
                 list[n] ? "..." : "");
    }
}

static void take_line(const char *disk, const char *line)
{
    size_t n = strlen(lines);

    if (starts(line, "ignored ")) {
        snprintf(ignored, sizeof(ignored), "%s", line + 8);
        say_ignored(disk, line + 8);
    } else if (starts(line, "key ") && cloud_key_good(line + 4)) {
        snprintf(key, sizeof(key), "%s", line + 4);
    } else if ((starts(line, "hostname = ") || starts(line, "address = ") ||
                starts(line, "gateway = ") || starts(line, "dns = ")) &&
               n + strlen(line) + 2 < sizeof(lines)) {
        snprintf(lines + n, sizeof(lines) - n, "%s\n", line);
        say("cloud-init", "/dev/%s: %s", disk, line);
    }
}

static void take(const struct look_at *disk, char *text)
{
    char *line;

    if (applied || taken_from[0]) {
        complain("cloud-init", "/dev/%s holds settings too and %s", disk->name,
                 taken_from[0] ? "is left alone: one disk with them is enough"
                               : "came too late: restart the machine to have them");
        return;
    }
    snprintf(taken_from, sizeof(taken_from), "%s", disk->name);
    for (char *c = text; *c; c++)
        if (*c != '\n' && (*c < ' ' || *c > '~'))
            *c = '?';
    while ((line = strsep(&text, "\n")))
        take_line(disk->name, line);
}

static void looked(void *ctx, int code)
{
    static char text[CLOUD_TEXT * 2];
    struct look_at *disk = ctx;
    ssize_t n = code == 0 ? read(disk->fd[0], text, sizeof(text) - 1) : 0;

    close(disk->fd[0]);
    disk->state = LOOKED;
    if (n > 0) {
        text[n] = 0;
        take(disk, text);
        explicit_bzero(text, sizeof(text)); // there may be a key in it
    } else if (code == 0) {
        say("cloud-init", "/dev/%s says nothing that this box has a place for", disk->name);
    } else if (code != 1) {
        complain("cloud-init", "/dev/%s was not read to its end (%d); it is left out", disk->name,
                 code);
    }
}

/* ---- PID 1's side ---- */

static void begin(struct look_at *disk)
{
    if (pipe2(disk->fd, O_CLOEXEC | O_NONBLOCK))
        return;
    bool began = child_start("", look, looked, disk);
    close(disk->fd[1]);
    if (began)
        disk->state = LOOKING;
    else
        close(disk->fd[0]);
}

bool cloud_disk_wanted(const char *name, const char *place, bool in_hypervisor)
{
    static const char *const not_these[] = {"loop", "ram", "zram", "fd", "md", "dm-", "mtd", "nbd"};

    for (size_t i = 0; i < sizeof(not_these) / sizeof(*not_these); i++)
        if (starts(name, not_these[i]))
            return false;
    return in_hypervisor && place[0] && !stick_on_usb(place);
}

/* The processor says that there is one: leaf 1, ecx, bit 31. */
static bool in_hypervisor(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && c >> 31;
}

void cloud_disk_added(const char *name)
{
    char place[512];

    stick_place(place, name);
    if (!cloud_disk_wanted(name, place, in_hypervisor()))
        return;
    for (int i = 0; i < n_disks; i++)
        if (strcmp(disks[i].name, name) == 0)
            return; // the walk and the announcement both name it
    if (n_disks == MOST_DISKS || strlen(name) >= sizeof(disks[0].name))
        return;
    struct look_at *disk = &disks[n_disks++];
    snprintf(disk->name, sizeof(disk->name), "%s", name);
    begin(disk);
}

enum status cloud_ready(void)
{
    if (module_drivers_ready() == WAIT)
        return WAIT;
    for (int i = 0; i < n_disks; i++)
        if (disks[i].state == LOOKING)
            return WAIT;
    return OK;
}

static void bad_line(void *ctx, int line, const char *what)
{
    (void)ctx;
    complain("cloud-init", "/dev/%s, line %d of what it says: %s", taken_from, line, what);
}

static void tell_engine(void)
{
    static char text[sizeof(lines) + sizeof(ignored) + 16];
    struct err err;
    int n = snprintf(text, sizeof(text), "%s%s%s%s", lines, ignored[0] ? "# ignored: " : "",
                     ignored, ignored[0] ? "\n" : "");

    mkdir(CLOUD_TOLD_DIR, 0755);
    if (replace_file(CLOUD_TOLD, text, (size_t)n, 0644, &err) != OK)
        complain("cloud-init", "%s", err.text);
}

void cloud_apply(struct conf *c)
{
    applied = true;
    conf_parse(c, lines, strlen(lines), bad_line, NULL);
    if (taken_from[0])
        tell_engine();
}

enum cloud_key cloud_key_write(const char *dir, const char *text, uid_t uid, gid_t gid)
{
    struct stat st;
    enum cloud_key done = CLOUD_KEY_FAILED;
    size_t len = strlen(text);
    int folder = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (folder >= 0 && fstatat(folder, "api-key", &st, AT_SYMLINK_NOFOLLOW) == 0) {
        close(folder);
        return CLOUD_KEY_THERE;
    }
    (void)unlinkat(folder, "api-key.cloud", 0); // of a start that was cut
    int fd = openat(folder, "api-key.cloud", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0 && write(fd, text, len) == (ssize_t)len && write(fd, "\n", 1) == 1 &&
        fchown(fd, uid, gid) == 0 && fsync(fd) == 0) {
        if (syscall(SYS_renameat2, folder, "api-key.cloud", folder, "api-key", RENAME_NOREPLACE) ==
            0)
            done = fsync(folder) == 0 ? CLOUD_KEY_WRITTEN : CLOUD_KEY_FAILED;
        else if (errno == EEXIST)
            done = CLOUD_KEY_THERE;
    }
    if (fd >= 0) {
        (void)unlinkat(folder, "api-key.cloud", 0);
        close(fd);
    }
    if (folder >= 0)
        close(folder);
    return done;
}

static int write_key(void *ctx)
{
    return (int)cloud_key_write(ctx, key, ENGINE_UID, ENGINE_GID);
}

static void key_written(void *ctx, int code)
{
    (void)ctx;
    explicit_bzero(key, sizeof(key));
    if (code == CLOUD_KEY_WRITTEN)
        say("cloud-init", "/dev/%s: its API key is this box's key", taken_from);
    else if (code == CLOUD_KEY_THERE)
        say("cloud-init", "/dev/%s: its API key is not taken, since the box has one", taken_from);
    else
        complain("cloud-init", "/dev/%s: its API key could not be written", taken_from);
}

enum status cloud_keep_key(const char *state_dir)
{
    static bool begun;
    static char dir[64];

    if (begun)
        return key[0] ? WAIT : OK;
    if (!key[0])
        return OK;
    snprintf(dir, sizeof(dir), "%s", state_dir);
    begun = disk_mounted() && child_start("", write_key, key_written, dir);
    if (!begun) {
        explicit_bzero(key, sizeof(key));
        complain("cloud-init", "/dev/%s: its API key is not taken: %s", taken_from,
                 disk_mounted() ? "no process could be made to write it"
                                : "the data partition cannot be written");
    }
    return begun ? WAIT : OK;
}
