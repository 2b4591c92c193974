/* disk.c - the data partition and the EFI system partition.
 *
 * They are known by their GPT names alone (tawny-data, tawny-esp): init never writes to a disk that
 * does not carry them. Where several do, it is the disk that the kernel came from: the loader tells
 * its id (slots.c), and the ESP that has that id is looked for. Where no loader tells one, it is a
 * disk that has none yet: a new one, at its first start. The others are named and left alone.
 *
 * Everything that touches a disk runs in a child (child.c). The one for the data: grow the
 * partition to the disk's end, mount it (the kernel replays the journal), directories, random seed.
 * When it cannot be mounted for writing, it is mounted read-only and the keys are copied to memory,
 * so that clients that trust this box still do; when that fails too, the caller starts with an
 * empty state in memory. Nothing here ever formats a file system: what is on it may be all somebody
 * has. One with errors is checked first (fsck.c), and mended where that loses nothing.
 */
#include "cloud.h"
#include "container.h"
#include "fsck.h"
#include "told.h"
#include "update.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/blkpg.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#ifndef EXT4_IOC_RESIZE_FS
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)
#endif
#define MAX_ESPS 4
#define KEPT_MOST (1 << 20) // bytes of a file that is taken over

/* How long the disk that the kernel came from may take once another one is there: known by its id
 * it is there for sure, and a USB stick can be slow; without an id nobody knows. */
#define ORIGIN_KNOWN_MS 20000
#define ORIGIN_MS 5000
#define CHECK_MS (30 * 60000) // a large disk takes minutes; the engine starts without it then
#define CHECK_TELL_MS 60000   // how often the console hears that it goes on
#define PROBE_MS 8000         // a foreign disk that hangs is not waited for any longer

enum part_state { ABSENT, FOUND, PROBED, CHECKING, MOUNTING, MOUNTED, FAILED };

struct partition {
    char name[32]; // sda3
    char disk[32]; // sda
    int number;    // 3
    enum part_state state;
    int64_t probed_ms; // when its probe began
};

static struct partition data, esp, esps[MAX_ESPS], datas[MAX_ESPS];
static int n_esps, n_datas;
static char origin_id[DISK_ID_BYTES]; // of the disk the kernel came from; "": it has none yet
static char origin_disk[32];          // sda, once it is known
static int64_t waits_since_ms;        // for that, with another disk at hand
static bool esp_has_conf;
static bool given_up;    // the engine runs without a data partition
static bool checked;     // by e2fsck, in this run ...
static int check_code;   // ... which ended so
static bool check_whole; // also what its superblock calls clean
static int64_t checking_ms, check_told_ms;
static char fault[400]; // what is wrong with the data

/* ---- finding ---- */

/* The value of "KEY=" in the text of a uevent file, up to its line's end. */
static bool value_of(const char *text, const char *key, char *out, size_t cap)
{
    size_t n = strlen(key);

    for (const char *s = text; s && *s; s = strchr(s, '\n'), s += s ? 1 : 0) {
        if (strncmp(s, key, n) == 0) {
            snprintf(out, cap, "%.*s", (int)strcspn(s + n, "\n"), s + n);
            return true;
        }
    }
    return false;
}

/* "sda3" is a directory inside "sda" in /sys/devices. */
static bool disk_of(const char *part, char out[32])
{
    char path[128], target[512];

    snprintf(path, sizeof(path), "/sys/class/block/%s", part);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    if (n <= 0)
        return false;
    target[n] = 0;
    char *slash = strrchr(target, '/');
    if (!slash)
        return false;
    *slash = 0;
    slash = strrchr(target, '/');
    snprintf(out, 32, "%.31s", slash ? slash + 1 : target);
    return true;
}

static void add(struct partition list[MAX_ESPS], int *n, const struct partition *p)
{
    for (int i = 0; i < *n; i++)
        if (strcmp(list[i].name, p->name) == 0)
            return; // the walk and the announcement both name it
    if (*n < MAX_ESPS)
        list[(*n)++] = *p;
}

static void tell_fault(const char *text)
{
    snprintf(fault, sizeof(fault), "%s", text);
    told_set(TOLD_DATA_FAULT, fault);
}

static void came_too_late(void)
{
    tell_fault("The data partition came too late and is not in use: keys and certificates are new, "
               "and lost at power-off. Restart the machine to use it");
}

static void say_left_alone(const char *name)
{
    complain("data", "%s is called %s too and is left alone; %s is in use%s", name, DATA_LABEL,
             data.name,
             origin_id[0] ? ", the disk that this system was started from"
                          : ". Remove one of the two disks to be sure which one that is");
}

static void take_data(const struct partition *p)
{
    data = *p;
    for (int i = 0; i < n_datas; i++)
        if (strcmp(datas[i].name, data.name) != 0)
            say_left_alone(datas[i].name);
}

static void partition_added(const char *name)
{
    char path[128], text[1024], label[80] = "", number[16] = "0";
    struct partition p = {.state = FOUND};

    snprintf(path, sizeof(path), "/sys/class/block/%s/uevent", name);
    if (read_file(path, text, sizeof(text)) < 0 ||
        !value_of(text, "PARTNAME=", label, sizeof(label)) ||
        !value_of(text, "PARTN=", number, sizeof(number)) || !disk_of(name, p.disk)) {
        return;
    }
    snprintf(p.name, sizeof(p.name), "%s", name);
    p.number = (int)strtol(number, NULL, 10);
    if (strcmp(label, ESP_LABEL) == 0) {
        add(esps, &n_esps, &p);
    } else if (strcmp(label, DATA_LABEL) == 0) {
        int n_before = n_datas;
        add(datas, &n_datas, &p);
        if (n_datas == n_before)
            return;
        if (given_up) {
            complain("data", "%s appeared too late; restart the machine to use it", name);
            if (data.state == ABSENT)
                came_too_late();
        } else if (data.state != ABSENT)
            say_left_alone(name);
    }
}

/* ---- the disk that the kernel came from ---- */

static int origin_ms(void)
{
    return origin_id[0] ? ORIGIN_KNOWN_MS : ORIGIN_MS;
}

static void read_origin(void)
{
    static bool done;
    char credential[64] = "", cmdline[4096] = "";

    if (done)
        return;
    done = true;
    (void)read_file(CREDENTIALS DISK_CREDENTIAL, credential, sizeof(credential));
    (void)read_file("/proc/cmdline", cmdline, sizeof(cmdline));
    (void)origin_find(origin_id, credential, cmdline);
}

/* In a child: exit code 0 when the ESP has the id. */
static int probe(void *ctx)
{
    const struct partition *p = ctx;
    char device[64], where[64], path[96], text[ENV_BYTES + 1];
    struct env env = {0};

    snprintf(device, sizeof(device), "/dev/%s", p->name);
    snprintf(where, sizeof(where), "/run/esp-%s", p->name);
    mkdir(where, 0700);
    if (mount(device, where, "vfat", MOUNT_SAFE | MS_RDONLY, "umask=077") == 0) {
        snprintf(path, sizeof(path), "%s/grub/grubenv", where);
        ssize_t n = read_file(path, text, sizeof(text));
        if (n > 0)
            env_read(&env, text, (size_t)n);
        umount(where);
    }
    rmdir(where);
    return env.good && strcmp(env.disk, origin_id) == 0 ? 0 : 1; // good: a disk of ours was read
}

static void probed(void *ctx, int code)
{
    struct partition *p = ctx;

    p->probed_ms = 0;
    if (code == 0 && !origin_disk[0])
        snprintf(origin_disk, sizeof(origin_disk), "%s", p->disk);
}

static bool vfat_ready(void)
{
    return module_ready("vfat") == OK && module_ready("nls_cp437") == OK &&
           module_ready("nls_ascii") == OK && module_ready("nls_utf8") == OK;
}

static void probe_esps(void)
{
    for (int i = 0; i < n_esps && vfat_ready(); i++) {
        if (esps[i].state == FOUND && child_start("", probe, probed, &esps[i])) {
            esps[i].state = PROBED;
            esps[i].probed_ms = now_ms();
        }
    }
}

static bool probing(void)
{
    for (int i = 0; i < n_esps; i++)
        if (esps[i].probed_ms && now_ms() - esps[i].probed_ms < PROBE_MS)
            return true;
    return false;
}

/* However long it takes: who mounts it meanwhile shares what the probe has read of it. */
static bool is_probed(const struct partition *p)
{
    bool is = false;

    for (int i = 0; i < n_esps; i++)
        is |= esps[i].probed_ms && strcmp(esps[i].name, p->name) == 0;
    return is;
}

static int64_t check_tick(int64_t now)
{
    if (given_up && checked && data.state == FOUND) { // no step of the start asks any more
        (void)disk_data();
        return now + 1000;
    }
    if (data.state != CHECKING)
        return INT64_MAX;
    if (now - check_told_ms >= CHECK_TELL_MS) {
        check_told_ms = now;
        say("data", "%s is still being checked, for %d min now: leave the machine on", data.name,
            (int)((now - checking_ms) / 60000));
    }
    return check_told_ms + CHECK_TELL_MS;
}

int64_t disk_tick(int64_t now)
{
    if (data.state != ABSENT)
        return check_tick(now);
    if (!waits_since_ms)
        return INT64_MAX;
    int64_t due = waits_since_ms + origin_ms() + 1;
    return due > now + 250 ? due : now + 250;
}

/* Which of the data partitions it is to be. */
static void choose_data(void)
{
    read_origin();
    if (data.state != ABSENT || n_datas == 0)
        return;
    probe_esps();
    for (int i = 0; i < n_datas && origin_disk[0]; i++)
        if (strcmp(datas[i].disk, origin_disk) == 0)
            take_data(&datas[i]);
    if (!waits_since_ms)
        waits_since_ms = now_ms();
    if (data.state == ABSENT && !probing() && module_drivers_ready() == OK &&
        now_ms() - waits_since_ms > origin_ms()) {
        complain("data", "the disk that this system was started from has not come; %s is used",
                 datas[0].name);
        take_data(&datas[0]);
    }
}

static bool open_table(struct gpt *g, const char *disk, int flags, struct err *err)
{
    char path[64];
    int sector = 512;
    uint64_t bytes = 0;

    snprintf(path, sizeof(path), "/dev/%s", disk);
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, BLKSSZGET, &sector) || ioctl(fd, BLKGETSIZE64, &bytes) || sector <= 0)
        err_set(err, IO_ERROR, "%s could not be opened: %s", path, strerror(errno));
    else if (gpt_open(g, fd, (uint32_t)sector, bytes / (uint32_t)sector, err) == OK)
        return true;
    if (fd >= 0)
        close(fd);
    return false;
}

static void close_table(struct gpt *g)
{
    gpt_close(g);
    close(g->fd);
}

/* In a child: a disk on which the kernel saw no partition. Ours with a damaged table? Then repair
 * it; the kernel reads it again and announces the partitions. */
static int repair(void *ctx)
{
    char disk[32];
    struct gpt g;
    struct err err;
    uint64_t first, last;

    snprintf(disk, sizeof(disk), "%s", (const char *)ctx);
    if (!open_table(&g, disk, O_RDONLY, &err))
        return 0; // an empty disk, or somebody else's
    bool ours = !g.primary_good && gpt_find(&g, DATA_LABEL, &first, &last);
    close_table(&g);
    if (!ours)
        return 0;
    if (!open_table(&g, disk, O_RDWR, &err) || gpt_repair(&g, &err) != OK) {
        complain("data", "the partition table of %s is damaged and was not repaired: %s", disk,
                 err.text);
        return 1;
    }
    int failed = ioctl(g.fd, BLKRRPART);
    complain("data",
             "the partition table of %s was damaged; it was repaired from its copy at the "
             "disk's end%s",
             disk, failed ? "; restart the machine to use it" : "");
    close_table(&g);
    return 0;
}

static void disk_without_partitions(const char *name)
{
    static char names[16][32]; // what the children read after fork
    static int n_names;
    char path[128];
    struct dirent *e;
    bool has_part = false;

    snprintf(path, sizeof(path), "/sys/class/block/%s", name);
    DIR *d = opendir(path);
    while (d && (e = readdir(d)))
        has_part = has_part || strncmp(e->d_name, name, strlen(name)) == 0;
    if (d)
        closedir(d);
    if (has_part || n_names == 16)
        return;
    for (int i = 0; i < n_names; i++)
        if (strcmp(names[i], name) == 0)
            return; // looked at already
    snprintf(names[n_names], sizeof(names[0]), "%s", name);
    (void)child_start("partition table", repair, NULL, names[n_names++]);
}

void disk_added(const struct uevent *u)
{
    static const char *const not_disks[] = {"loop", "ram", "zram", "sr", "fd", "md", "dm-", "mtd"};

    if (strlen(u->devname) >= sizeof(data.name) || strchr(u->devname, '/'))
        return;
    if (strcmp(u->devtype, "partition") != 0)
        cloud_disk_added(u->devname);
    for (size_t i = 0; i < sizeof(not_disks) / sizeof(*not_disks); i++)
        if (strncmp(u->devname, not_disks[i], strlen(not_disks[i])) == 0)
            return;
    if (strcmp(u->devtype, "partition") == 0)
        partition_added(u->devname);
    else
        disk_without_partitions(u->devname);
}

/* ---- the data partition, in children ---- */

static void size_text(char out[32], uint64_t bytes)
{
    if (bytes < 10000000000ull)
        snprintf(out, 32, "%llu MB", (unsigned long long)(bytes / 1000000));
    else
        snprintf(out, 32, "%llu GB", (unsigned long long)(bytes / 1000000000));
}

/* Bytes the kernel believes a partition to have. */
static uint64_t kernel_size(const char *part)
{
    char path[128], text[32];

    snprintf(path, sizeof(path), "/sys/class/block/%s/size", part);
    return read_file(path, text, sizeof(text)) > 0 ? strtoull(text, NULL, 10) * 512 : 0;
}

static void grow_partition(void)
{
    struct gpt g;
    struct err err;
    uint64_t first, last;
    bool grown = false;

    if (!open_table(&g, data.disk, O_RDWR, &err)) {
        complain("data", "%s; the partition stays as large as it is", err.text);
        return;
    }
    bool backup_good = g.backup_good;
    uint32_t number = gpt_find(&g, DATA_LABEL, &first, &last);
    if (number != (uint32_t)data.number) {
        complain("data", "%s is not where the partition table of %s says; it is not resized",
                 data.name, data.disk);
    } else if (gpt_grow(&g, number, &grown, &err) != OK) {
        complain("data", "%s", err.text);
    } else if (!grown && !backup_good) {
        say("data", "the copy of the partition table at the end of %s was written anew", data.disk);
    }
    if (number && gpt_find(&g, DATA_LABEL, &first, &last) &&
        (last - first + 1) * g.sector > kernel_size(data.name)) {
        struct blkpg_partition p = {.start = (long long)(first * g.sector),
                                    .length = (long long)((last - first + 1) * g.sector),
                                    .pno = (int)number};
        struct blkpg_ioctl_arg arg = {BLKPG_RESIZE_PARTITION, 0, sizeof(p), &p};
        char now[32];
        size_text(now, (uint64_t)p.length);
        if (ioctl(g.fd, BLKPG, &arg)) {
            complain("data", "the kernel did not take the new size of %s (%s); the next start will",
                     data.name, strerror(errno));
        } else {
            say("data", "%s now fills its disk: %s", data.name, now);
        }
    }
    close_table(&g);
}

static void engine_directory(const char *path, mode_t mode)
{
    struct stat st;

    if (mkdir(path, mode) && errno != EEXIST) {
        complain("data", "%s could not be made: %s", path, strerror(errno));
        return;
    }
    /* the engine may have put a link there: nothing behind it is to be given away */
    if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && lchown(path, ENGINE_UID, ENGINE_GID) == 0)
        chmod(path, mode);
}

/* Half a file is worse than none. */
static bool copy_key(const char *name)
{
    static char text[KEPT_MOST + 1]; // of a child
    char from[128], to[128];
    struct err err;
    size_t n = 0;
    ssize_t got = 0;

    snprintf(from, sizeof(from), "%s/%s", STATE_ON_DISK, name);
    snprintf(to, sizeof(to), "%s/%s", STATE_IN_MEMORY, name);
    int fd = open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false;
    while (n < sizeof(text) && (got = read(fd, text + n, sizeof(text) - n)) > 0)
        n += (size_t)got;
    close(fd);
    bool good = got == 0 && n > 0 && replace_file(to, text, n, 0600, &err) == OK &&
                lchown(to, ENGINE_UID, ENGINE_GID) == 0;
    if (!good)
        complain("data", "%s was not taken over: it cannot be read, or is too large", name);
    explicit_bzero(text, sizeof(text));
    return good;
}

/* The disk can be read but not written: use its keys, settings and models, from memory; unless an
 * engine already has its own there. */
static void keys_to_memory(void)
{
    static const char *const keys[] = {"api-key",        "tls/ca.crt",          "tls/ca.key",
                                       "tls/server.crt", "tls/server.key",      "keys.json",
                                       "aliases",        "model-defaults.json", "settings.conf"};
    size_t n_copied = 0;

    if (given_up)
        return;
    engine_directory(STATE_IN_MEMORY, 0700);
    engine_directory(STATE_IN_MEMORY "/tls", 0700);
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        n_copied += copy_key(keys[i]);
    if (access(STATE_ON_DISK "/models", F_OK) == 0)
        (void)!symlink(STATE_ON_DISK "/models", STATE_IN_MEMORY "/models");
    say("data", "%zu files of keys and settings were taken over from it", n_copied);
}

static const char repair_hint[] =
    "To repair it, attach the disk to any Linux machine and run e2fsck -f on its "
    "partition " DATA_LABEL;

static void warn_about_errors(void)
{
    char path[128], text[32];

    snprintf(path, sizeof(path), "/sys/fs/ext4/%s/errors_count", data.name);
    if (read_file(path, text, sizeof(text)) > 0 && strtol(text, NULL, 10) > 0)
        complain("data", "the file system on %s has recorded errors. %s", data.name, repair_hint);
}

/* /data/format: the number of what this box keeps there, written once. False: a newer system wrote
 * it, and what that means is not known here. */
static bool format_known(void)
{
    char text[32];
    struct err err;
    ssize_t n = read_file(DATA_DIR "/format", text, sizeof(text));

    if (n < 0) {
        int len = snprintf(text, sizeof(text), "%d\n", DATA_FORMAT);
        if (replace_file(DATA_DIR "/format", text, (size_t)len, 0644, &err) != OK)
            complain("data", "%s", err.text);
        return true;
    }
    long format = strtol(text, NULL, 10);
    if (format <= DATA_FORMAT)
        return true;
    complain("data",
             "the data on this disk is in format %ld, written by a newer version; this one knows "
             "%d, and changes nothing on it. Take the newer version",
             format, DATA_FORMAT);
    return false;
}

static const char protection_hint[] = "Remove the disk's write protection and restart";

/* Of mount_data. DATA_REFUSED: to be checked, whatever its superblock says. */
enum {
    DATA_MOUNTED,
    DATA_READ_ONLY,
    DATA_PROTECTED,
    DATA_NOT_MOUNTED,
    DATA_TO_CHECK,
    DATA_REFUSED,
    DATA_NEWER
};

/* What can be read is better than nothing; but not beside an engine that began without it. */
static int mount_to_read(const char *device, int why)
{
    bool protected = why == EROFS || why == EACCES; // a journal to be replayed; none
    const char *hint = protected ? protection_hint : repair_hint,
               *text = why == EUCLEAN     ? "its file system is damaged"
                       : why == ECANCELED ? "its check did not come to an end"
                       : protected        ? "it is write-protected"
                                          : strerror(why);

    if (given_up) {
        complain("data", "%s is not used in this run: %s. %s", device, text, hint);
        return DATA_NOT_MOUNTED;
    }
    if (mount(device, DATA_DIR, "ext4", MOUNT_SAFE | MS_NOATIME | MS_RDONLY, "noload")) {
        complain("data", "%s could not be mounted: %s. %s", device, text, hint);
        return DATA_NOT_MOUNTED;
    }
    complain("data", "%s is mounted read-only: %s. %s", device, text, hint);
    keys_to_memory();
    return protected ? DATA_PROTECTED : DATA_READ_ONLY;
}

static int mount_data(void *ctx)
{
    char device[64], size[32], room[32];
    struct statvfs v;
    (void)ctx;

    grow_partition();
    snprintf(device, sizeof(device), "/dev/%s", data.name);
    if (!checked && fsck_data_wanted(device))
        return DATA_TO_CHECK;
    if (checked && !fsck_trusted(check_code))
        return mount_to_read(device, check_code & FSCK_LEFT ? EUCLEAN : ECANCELED);
    if (mount(device, DATA_DIR, "ext4", MOUNT_SAFE | MS_NOATIME, NULL)) {
        int why = errno;
        return !checked && fsck_mount_asks(why) ? DATA_REFUSED : mount_to_read(device, why);
    }
    if (!format_known()) {
        if (mount(NULL, DATA_DIR, NULL, MS_REMOUNT | MOUNT_SAFE | MS_NOATIME | MS_RDONLY, NULL))
            complain("data", "it could not be made read-only: %s", strerror(errno));
        keys_to_memory();
        return DATA_NEWER;
    }
    warn_about_errors();
    engine_directory(STATE_ON_DISK, 0700);
    engine_directory(STATE_ON_DISK "/models", 0755);
    seed_load(DATA_DIR);
    size_text(size, kernel_size(data.name));
    if (statvfs(DATA_DIR, &v) == 0) {
        size_text(room, (uint64_t)v.f_bavail * v.f_frsize);
        say("data", "%s (%s, %s free) is mounted on %s", device, size, room, DATA_DIR);
    }
    return DATA_MOUNTED;
}

/* Exit code: e2fsck's. */
static int check_data(void *ctx)
{
    char device[64];
    (void)ctx;

    snprintf(device, sizeof(device), "/dev/%s", data.name);
    say("data", "%s has errors: it is checked before it is used", device);
    int code = fsck_run(device, check_whole ? FSCK_DATA_WHOLE : FSCK_DATA);
    if (fsck_trusted(code))
        say("data", code ? "%s was mended" : "%s is whole", device);
    else if (code & FSCK_LEFT)
        complain("data", "%s has damage that only a person can judge; that is left as it is",
                 device);
    else
        complain("data", "%s could not be checked to the end (%d)", device, code);
    return code;
}

static void check_done(void *ctx, int code)
{
    (void)ctx;
    checked = true;
    check_code = code < 0 ? FSCK_FAILED : code;
    data.state = power_asked() ? FAILED : FOUND; // to be mounted once more
}

static void begin_check(bool whole)
{
    data.state = CHECKING;
    check_whole = whole;
    checking_ms = check_told_ms = now_ms();
    if (!child_start("", check_data, check_done, NULL)) // disk_tick tells how long it takes
        check_done(NULL, FSCK_FAILED);
}

static void note_fault(int code)
{
    char text[sizeof(fault)];
    const char *what = code == DATA_READ_ONLY || code == DATA_PROTECTED
                           ? "can only be read: what changes is lost at power-off"
                           : "cannot be used: keys and certificates are new, and lost at power-off";

    snprintf(text, sizeof(text), "The data partition %s. %s", what,
             code == DATA_PROTECTED ? protection_hint : repair_hint);
    if (code == DATA_NEWER)
        tell_fault("The data partition was written by a newer version, and is only read: what "
                   "changes is lost at power-off. Take the newer version");
    else if (code != DATA_MOUNTED)
        tell_fault(text);
    else if (given_up)
        came_too_late();
}

static void data_done(void *ctx, int code)
{
    (void)ctx;
    if (code == DATA_TO_CHECK || code == DATA_REFUSED) {
        begin_check(code == DATA_REFUSED);
        return;
    }
    data.state = code == DATA_MOUNTED ? MOUNTED : FAILED;
    note_fault(code);
    if (given_up && code == DATA_MOUNTED && checked)
        update_restart("the check of the data partition is over: it is used from this start on");
    else if (given_up && code == DATA_MOUNTED)
        complain("data", "%s was mounted too late; restart the machine to use it", data.name);
    if (code < 0) {
        complain("data", "mounting %s ended with signal %d: the kernel's log above says why",
                 data.name, -code);
    }
}

enum status disk_data(void)
{
    choose_data();
    if (data.state == FOUND && module_ready("ext4") == OK) {
        if (child_start("mounting the data partition", mount_data, data_done, NULL))
            data.state = MOUNTING;
    }
    return data.state == MOUNTED ? OK : data.state == FAILED ? IO_ERROR : WAIT;
}

const char *disk_fault(void)
{
    return fault;
}

bool disk_checking(void)
{
    return data.state == CHECKING && now_ms() - checking_ms < CHECK_MS;
}

bool disk_check_runs(void)
{
    return data.state == CHECKING;
}

bool disk_check_late(void)
{
    return given_up &&
           (data.state == CHECKING || (checked && (data.state == FOUND || data.state == MOUNTING)));
}

void disk_check_end(void)
{
    child_end(check_data);
}

bool disk_esp_comes(void)
{
    return esp.state == FOUND || esp.state == MOUNTING;
}

bool disk_mounted(void)
{
    return data.state == MOUNTED;
}

bool disk_busy(void)
{
    bool waits = data.state == ABSENT && waits_since_ms && now_ms() - waits_since_ms <= origin_ms();

    return waits || data.state == CHECKING || data.state == MOUNTING || esp.state == MOUNTING ||
           probing();
}

void disk_give_up(void)
{
    given_up = true;
    if (data.state == CHECKING)
        tell_fault("The data partition is still being checked: keys and certificates are new, and "
                   "lost at power-off. Leave the machine on: it restarts when that has ended well");
    else if (!fault[0] && in_container())
        tell_fault("No volume is in use: keys and certificates are new, and lost when the "
                   "container ends. Give it one that can be written at " STATE_IN_CONTAINER);
    else if (!fault[0])
        tell_fault("No data partition is in use: keys and certificates are new, and lost at "
                   "power-off. Attach the disk to which the image was written and restart");
}

void disk_memory_state(void)
{
    engine_directory(STATE_IN_MEMORY, 0700);
    engine_directory(STATE_IN_MEMORY "/models", 0755); // a link already when keys were taken over
}

/* ---- the file system grows after the engine runs ---- */

/* ext4 superblock at byte 1024: blocks 4 (low) and 336 (high), log2(block size / 1024) 24. */
static int grow_files(void)
{
    char device[64], size[32];
    uint8_t sb[1024];

    snprintf(device, sizeof(device), "/dev/%s", data.name);
    int fd = open(device, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && pread(fd, sb, sizeof(sb), 1024) == (ssize_t)sizeof(sb) && sb[24] <= 6;
    if (fd >= 0)
        close(fd);
    if (!good)
        return 1;
    uint64_t block = 1024ull << sb[24], n_now = le_get(sb + 4, 4) | le_get(sb + 336, 4) << 32;
    uint64_t n_wanted = kernel_size(data.name) / block;
    if (n_wanted <= n_now)
        return 0;
    fd = open(DATA_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, EXT4_IOC_RESIZE_FS, &n_wanted)) {
        complain("data",
                 "the file system could not grow to its partition: %s; it works on with its "
                 "old size",
                 strerror(errno));
        return 1;
    }
    close(fd);
    size_text(size, n_wanted * block);
    say("data", "the file system grew to %s", size);
    return 0;
}

static int after_start(void *ctx)
{
    (void)ctx;
    seed_save(DATA_DIR, true);
    return grow_files();
}

void disk_after_start(void)
{
    if (data.state == MOUNTED)
        (void)child_start("growing the file system", after_start, NULL, NULL);
}

/* ---- the ESP ---- */

/* Exit code: 0 mounted, 2 too, but there is no tawny.conf, 1 not. */
static int mount_esp(void *ctx)
{
    char device[64];
    (void)ctx;

    snprintf(device, sizeof(device), "/dev/%s", esp.name);
    fsck_esp(device);
    if (mount(device, "/boot", "vfat", MOUNT_SAFE | MS_RDONLY, "umask=022")) {
        complain("settings",
                 "%s could not be mounted: %s; copy tawny.conf from it and write the "
                 "image to the disk again",
                 device, strerror(errno));
        return 1;
    }
    return access(CONF_ON_ESP, R_OK) == 0 ? 0 : 2;
}

static void esp_done(void *ctx, int code)
{
    (void)ctx;
    esp.state = code == 0 || code == 2 ? MOUNTED : FAILED;
    esp_has_conf = code == 0;
}

bool disk_esp_has_conf(void)
{
    return esp_has_conf;
}

enum status disk_esp(void)
{
    for (int i = 0; i < n_esps && esp.state == ABSENT; i++) {
        if (data.state == ABSENT || strcmp(esps[i].disk, data.disk) == 0) {
            esp = esps[i];
            esp.state = FOUND;
        }
    }
    if (esp.state == FOUND && !probing() && !is_probed(&esp) && vfat_ready()) {
        if (child_start("mounting the settings", mount_esp, esp_done, NULL))
            esp.state = MOUNTING;
    }
    return esp.state == MOUNTED ? OK : esp.state == FAILED ? IO_ERROR : WAIT;
}

bool disk_esp_beside_data(void)
{
    return esp.state == MOUNTED && data.state == MOUNTED && strcmp(esp.disk, data.disk) == 0;
}

void disk_esp_writable(bool on)
{
    if (mount(NULL, "/boot", NULL, MS_REMOUNT | MOUNT_SAFE | (on ? 0 : MS_RDONLY), NULL)) {
        complain("settings", "the partition " ESP_LABEL " could not be made %s: %s",
                 on ? "writable" : "read-only again", strerror(errno));
    }
}
