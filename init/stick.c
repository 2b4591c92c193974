/* stick.c - USB sticks: what is on them can be read, and nothing is ever written to them.
 *
 * A partition of a USB disk (or such a disk without partitions) is looked at in a child: what its
 * first bytes say it holds, of the few file systems that people format sticks with. Then the
 * driver is loaded, and a second child mounts it read-only on MEDIA_DIR/NAME, where the engine
 * looks for models. Whoever made the stick may mean ill: no device nodes, no programs, no set-uid
 * and no links on it count, a journal is not replayed, and the kernel is told that the device
 * cannot be written.
 *
 * The kernel parses it with all its rights: none of these file systems can be mounted with fewer.
 *
 * When it is pulled, the mount is taken away at once, whoever still reads. What is called tawny-...
 * is this box's own business (disk.c). With hot-plug = no only those count that are there at the
 * start.
 *
 *     FOUND -> PROBING -> KNOWN -> MOUNTING -> MOUNTED
 *          `-> NOTHING (no file system that is known)     any -> gone: a child unmounts it
 */
#include "init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif
#define HEAD_BYTES 2048
#define MAX_STICKS 8
#define READY_MS 20000

enum stick_state { FREE, FOUND, PROBING, NOTHING, KNOWN, MOUNTING, MOUNTED, LEAVING };

static struct stick {
    char name[32]; // sdb1
    enum stick_state state;
    enum stick_kind kind;
    bool gone; // it was pulled
} sticks[MAX_STICKS];
static bool too_many_told, over;

/* errors: an ext4 file system can ask for a panic of the kernel that finds one in it. */
static const struct {
    const char *name, *driver, *options;
} kinds[] = {
    [STICK_EXT4] = {"ext4", "ext4", "noload,errors=continue"},
    [STICK_FAT] = {"FAT", "vfat", "umask=022,utf8=1,errors=continue"},
    [STICK_EXFAT] = {"exFAT", "exfat", "umask=022,iocharset=utf8,errors=continue"},
    [STICK_NTFS] = {"NTFS", "ntfs", "umask=022,iocharset=utf8"},
};

enum stick_kind stick_kind(const uint8_t *head, size_t n)
{
    if (n < HEAD_BYTES)
        return STICK_NONE;
    if (memcmp(head + 3, "EXFAT   ", 8) == 0)
        return STICK_EXFAT;
    if (memcmp(head + 3, "NTFS    ", 8) == 0)
        return STICK_NTFS;
    if (le_get(head + 1024 + 56, 2) == 0xef53) // the superblock's magic number
        return STICK_EXT4;
    bool boots = head[510] == 0x55 && head[511] == 0xaa;
    if (boots && (memcmp(head + 54, "FAT1", 4) == 0 || memcmp(head + 82, "FAT32", 5) == 0))
        return STICK_FAT;
    return STICK_NONE;
}

bool stick_on_usb(const char *sysfs_path)
{
    for (const char *at = sysfs_path; (at = strstr(at, "/usb")); at++)
        if (at[4] >= '0' && at[4] <= '9')
            return true;
    return false;
}

bool stick_name_good(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");
    return n > 0 && n < sizeof(sticks[0].name) && !name[n];
}

/* ---- what is looked at ---- */

static bool has_partitions(const char *disk)
{
    char path[128];
    struct dirent *e;
    bool any = false;

    snprintf(path, sizeof(path), "/sys/class/block/%s", disk);
    DIR *d = opendir(path);
    while (d && (e = readdir(d)))
        any = any || strncmp(e->d_name, disk, strlen(disk)) == 0;
    if (d)
        closedir(d);
    return any;
}

void stick_place(char out[512], const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "/sys/class/block/%s", name);
    ssize_t n = readlink(path, out, 511);
    out[n > 0 ? n : 0] = 0;
}

static bool is_wanted(const char *name, bool is_partition)
{
    char path[128], target[512], text[1024];

    stick_place(target, name);
    if (!stick_on_usb(target) || (!is_partition && has_partitions(name)))
        return false;
    snprintf(path, sizeof(path), "/sys/class/block/%s/uevent", name);
    return read_file(path, text, sizeof(text)) >= 0 && !strstr(text, "\nPARTNAME=tawny-");
}

static struct stick *stick_of(const char *name)
{
    for (int i = 0; i < MAX_STICKS; i++)
        if (sticks[i].state != FREE && !sticks[i].gone && strcmp(sticks[i].name, name) == 0)
            return &sticks[i];
    return NULL;
}

int stick_pick(const uint8_t *use, int n)
{
    for (uint8_t wanted = 0; wanted < 2; wanted++)
        for (int i = 0; i < n; i++)
            if (use[i] == wanted)
                return i;
    return -1;
}

/* A card reader without a card has one, until somebody else wants it. */
static int free_place(void)
{
    uint8_t use[MAX_STICKS];

    for (int i = 0; i < MAX_STICKS; i++)
        use[i] = sticks[i].state == FREE ? 0 : sticks[i].state == NOTHING ? 1 : 2;
    return stick_pick(use, MAX_STICKS);
}

bool stick_is_of(const char *name, const char *disk)
{
    size_t n = strlen(disk);
    return strncmp(name, disk, n) == 0 && strspn(name + n, "0123456789") == strlen(name + n);
}

/* A card came or went: what was found out or mounted of the one before is not there any more, nor
 * what a child is finding out now. */
static void card_changed(const char *disk)
{
    for (int i = 0; i < MAX_STICKS; i++) {
        enum stick_state at = sticks[i].state;
        bool of_it = at == PROBING || at == KNOWN || at == MOUNTING || at == MOUNTED;
        if (of_it && stick_is_of(sticks[i].name, disk))
            sticks[i].gone = true;
    }
}

void stick_added(const struct uevent *u)
{
    if (!stick_name_good(u->devname))
        return;
    if (strcmp(u->media, "1") == 0)
        card_changed(u->devname);
    if (over)
        return;
    struct stick *stick = stick_of(u->devname);
    if (stick && stick->state == NOTHING)
        stick->state = FOUND; // a card was put into its reader
    if (stick || !is_wanted(u->devname, strcmp(u->devtype, "partition") == 0))
        return;
    int place = free_place();
    if (place < 0) {
        if (!too_many_told)
            complain("stick", "%s is not looked at: %d partitions are the most", u->devname,
                     MAX_STICKS);
        too_many_told = true;
        return;
    }
    stick = &sticks[place];
    *stick = (struct stick){.state = FOUND};
    snprintf(stick->name, sizeof(stick->name), "%s", u->devname);
}

void stick_removed(const struct uevent *u)
{
    struct stick *stick = stick_of(u->devname);
    if (stick)
        stick->gone = true; // the tick does the rest, when no child has it
}

/* ---- in children ---- */

/* Exit code: its kind. */
static int probe(void *ctx)
{
    const struct stick *stick = ctx;
    char device[64];
    uint8_t head[HEAD_BYTES];
    int read_only = 1;

    snprintf(device, sizeof(device), "/dev/%s", stick->name);
    int fd = open(device, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return STICK_NONE; // a reader without a card
    ioctl(fd, BLKROSET, &read_only);
    ssize_t n = pread(fd, head, sizeof(head), 0);
    close(fd);
    return n < 0 ? STICK_NONE : (int)stick_kind(head, (size_t)n);
}

/* The engine watches MEDIA_DIR: what is mounted below it is no news to it by itself. */
static void tell_engine(void)
{
    int fd = open(MEDIA_DIR "/.news", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0)
        close(fd);
    unlink(MEDIA_DIR "/.news");
}

static int mount_stick(void *ctx)
{
    const struct stick *stick = ctx;
    char device[64], where[96];
    unsigned long flags = MS_RDONLY | MOUNT_SAFE | MS_NOATIME | MS_NOSYMFOLLOW;

    snprintf(device, sizeof(device), "/dev/%s", stick->name);
    snprintf(where, sizeof(where), "%s/%s", MEDIA_DIR, stick->name);
    mkdir(where, 0755);
    if (mount(device, where, kinds[stick->kind].driver, flags, kinds[stick->kind].options)) {
        complain("stick", "%s (%s) could not be mounted: %s; what is on it is not listed", device,
                 kinds[stick->kind].name, strerror(errno));
        rmdir(where);
        return 1;
    }
    say("stick", "%s (%s) is mounted read-only on %s: models on it are listed", device,
        kinds[stick->kind].name, where);
    tell_engine();
    return 0;
}

static int unmount_stick(void *ctx)
{
    const struct stick *stick = ctx;
    char where[96];

    snprintf(where, sizeof(where), "%s/%s", MEDIA_DIR, stick->name);
    if (umount2(where, MNT_DETACH) == 0)
        say("stick", "%s was pulled: its models are not there any more", stick->name);
    rmdir(where); // this the engine sees
    return 0;
}

/* ---- its way ---- */

static void probed(void *ctx, int code)
{
    struct stick *stick = ctx;
    stick->kind = code > STICK_NONE && code <= STICK_NTFS ? (enum stick_kind)code : STICK_NONE;
    stick->state = stick->kind == STICK_NONE ? NOTHING : KNOWN;
    if (stick->state == KNOWN)
        module_want(kinds[stick->kind].driver);
}

static void mounted(void *ctx, int code)
{
    struct stick *stick = ctx;
    stick->state = code == 0 ? MOUNTED : NOTHING;
}

static void left(void *ctx, int code)
{
    struct stick *stick = ctx;
    (void)code;
    *stick = (struct stick){.state = FREE};
    too_many_told = false;
}

/* Whether one that was pulled is still mounted where this one is to be. */
static bool place_taken(const struct stick *stick)
{
    for (int i = 0; i < MAX_STICKS; i++)
        if (&sticks[i] != stick && sticks[i].state != FREE &&
            strcmp(sticks[i].name, stick->name) == 0)
            return true;
    return false;
}

/* Starts the child that comes next; with none to be had it is tried again. */
static void step(struct stick *stick)
{
    if (stick->gone && stick->state == MOUNTED) {
        if (child_start("", unmount_stick, left, stick))
            stick->state = LEAVING;
    } else if (stick->gone &&
               (stick->state == FOUND || stick->state == NOTHING || stick->state == KNOWN)) {
        left(stick, 0);
    } else if (stick->state == FOUND) {
        if (child_start("looking at a USB stick", probe, probed, stick))
            stick->state = PROBING;
    } else if (stick->state == KNOWN && module_ready(kinds[stick->kind].driver) == OK &&
               !place_taken(stick)) {
        if (child_start("mounting a USB stick", mount_stick, mounted, stick))
            stick->state = MOUNTING;
    }
}

enum status stick_ready(int64_t now)
{
    static int64_t until_ms;
    const struct stick *late = NULL;

    if (!until_ms)
        until_ms = now + READY_MS;
    for (int i = 0; i < MAX_STICKS && !late; i++)
        if (sticks[i].state == FOUND || sticks[i].state == PROBING || sticks[i].state == KNOWN ||
            sticks[i].state == MOUNTING)
            late = &sticks[i];
    if (late && now < until_ms)
        return WAIT;
    if (late)
        complain("stick", "%s does not answer: it is not waited for", late->name);
    return OK;
}

void stick_over(void)
{
    over = true;
}

int64_t stick_tick(int64_t now)
{
    bool waits = false;

    for (int i = 0; i < MAX_STICKS; i++) {
        if (sticks[i].state != FREE)
            step(&sticks[i]);
        waits = waits || sticks[i].state == FOUND || sticks[i].state == KNOWN;
    }
    return waits ? now + 200 : INT64_MAX;
}
