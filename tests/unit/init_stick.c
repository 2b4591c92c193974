/* init_stick.c - which partitions are looked at as USB sticks, and what file system they hold: by
 * images that mkfs.vfat and mkfs.ext4 make, and heads as the specifications of exFAT and NTFS have
 * them.
 */
#include "../../init/init.h"
#include "check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HEAD = 2048 };

static struct {
    int (*run)(void *ctx);
    void (*done)(void *ctx, int code);
    void *ctx;
} child; // the last that began; none runs
static int n_children;

bool __wrap_child_start(const char *name, int (*run)(void *), void (*done)(void *, int), void *ctx);
void __wrap_module_want(const char *name);
enum status __wrap_module_ready(const char *name);
ssize_t __wrap_read_file(const char *path, char *buf, size_t cap);
ssize_t __wrap_readlink(const char *path, char *buf, size_t cap);

bool __wrap_child_start(const char *name, int (*run)(void *), void (*done)(void *, int), void *ctx)
{
    (void)name;
    child.run = run;
    child.done = done;
    child.ctx = ctx;
    n_children++;
    return true;
}

void __wrap_module_want(const char *name)
{
    (void)name;
}

enum status __wrap_module_ready(const char *name)
{
    (void)name;
    return OK;
}

ssize_t __wrap_read_file(const char *path, char *buf, size_t cap)
{
    (void)path;
    return snprintf(buf, cap, "DEVTYPE=partition\n");
}

ssize_t __wrap_readlink(const char *path, char *buf, size_t cap)
{
    return snprintf(buf, cap, "../../devices/usb1/1-1/block/sdzz/%s", strrchr(path, '/') + 1);
}

/* The image that a tool makes of 64 MB. */
static enum stick_kind kind_of(const char *tool, const char *const *options)
{
    char path[] = "/tmp/tawny-stick-XXXXXX";
    const char *argv[10] = {tool};
    uint8_t head[HEAD];
    int n = 1, status = 1, fd = mkstemp(path);

    CHECK(fd >= 0 && ftruncate(fd, 64 << 20) == 0);
    while (*options)
        argv[n++] = *options++;
    argv[n] = path;
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        execvp(tool, (char *const *)argv);
        _exit(127);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(pread(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head));
    close(fd);
    unlink(path);
    return stick_kind(head, sizeof(head));
}
#define KIND(tool, ...) kind_of(tool, (const char *const[]){__VA_ARGS__, NULL})

static void file_systems_are_told_apart(void)
{
    uint8_t head[HEAD] = {0xeb, 0x76, 0x90};

    CHECK(KIND("mkfs.vfat", "-F", "32", "-s", "1") == STICK_FAT);
    CHECK(KIND("mkfs.vfat", "-F", "16") == STICK_FAT);
    CHECK(KIND("mkfs.vfat", "-F", "12", "-s", "64") == STICK_FAT);
    CHECK(KIND("mkfs.ext4", "-q", "-F") == STICK_EXT4);
    CHECK(KIND("mke2fs", "-q", "-F", "-t", "ext2") == STICK_EXT4);
    CHECK(KIND("true", "-") == STICK_NONE);
    memcpy(head + 3, "EXFAT   ", 8);
    head[510] = 0x55;
    head[511] = 0xaa;
    CHECK(stick_kind(head, sizeof(head)) == STICK_EXFAT);
    CHECK(stick_kind(head, sizeof(head) - 1) == STICK_NONE); // cut off
    memcpy(head + 3, "NTFS    ", 8);
    CHECK(stick_kind(head, sizeof(head)) == STICK_NTFS);
    memcpy(head + 3, "MSDOS5.0", 8); // a boot sector of no file system, as a partition table has
    CHECK(stick_kind(head, sizeof(head)) == STICK_NONE);
    memcpy(head + 82, "FAT32   ", 8);
    CHECK(stick_kind(head, sizeof(head)) == STICK_FAT);
    head[511] = 0;
    CHECK(stick_kind(head, sizeof(head)) == STICK_NONE);
}

static void only_usb(void)
{
    CHECK(stick_on_usb("../../devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host3/target3:0:0/"
                       "3:0:0:0/block/sdb/sdb1"));
    CHECK(!stick_on_usb("../../devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/"
                        "block/sda/sda1"));
    CHECK(!stick_on_usb("../../devices/pci0000:00/0000:00:02.0/nvme/nvme0/nvme0n1"));
    CHECK(!stick_on_usb("/usbc/block/sda") && !stick_on_usb("/us") && !stick_on_usb(""));
    CHECK(stick_on_usb("/usbx/usb1/block/sda"));
}

static void names(void)
{
    CHECK(stick_name_good("sdb1") && stick_name_good("sdaa"));
    CHECK(!stick_name_good("") && !stick_name_good("../x") && !stick_name_good("a/b"));
    CHECK(!stick_name_good("sd b") && !stick_name_good(".sdb") && !stick_name_good("SDB"));
    CHECK(stick_name_good("abcdefghijklmnopqrstuvwxyz01234")); // 31 bytes
    CHECK(!stick_name_good("abcdefghijklmnopqrstuvwxyz012345"));
}

static void places(void)
{
    CHECK(stick_is_of("sdb", "sdb") && stick_is_of("sdb12", "sdb"));
    CHECK(!stick_is_of("sdba", "sdb") && !stick_is_of("sda1", "sdb") && !stick_is_of("sd", "sdb"));
    CHECK(stick_pick((const uint8_t[]){2, 1, 0, 0}, 4) == 2); // a free one comes first
    CHECK(stick_pick((const uint8_t[]){2, 1, 1, 2}, 4) == 1); // then a reader without a card
    CHECK(stick_pick((const uint8_t[]){2, 2, 2, 2}, 4) == -1);
}

static void card(bool changes)
{
    stick_added(&(struct uevent){.devname = changes ? "sdzz" : "sdzz1",
                                 .devtype = changes ? "disk" : "partition",
                                 .media = changes ? "1" : ""});
}

/* A card that is changed while a child looks at it, or mounts it: what that child says is of the
 * one before. The reader itself (sdzz) is one that children never answer for. */
static void a_card_changes(void)
{
    card(true);
    (void)stick_tick(0);
    card(false);
    (void)stick_tick(0);
    CHECK(n_children == 2);
    void *place = child.ctx;
    void (*looked)(void *ctx, int code) = child.done;
    card(true); // it is being looked at
    card(false);
    looked(place, STICK_FAT);
    (void)stick_tick(0);
    CHECK(n_children == 4 && child.ctx != place &&
          child.done == looked); // the new one is looked at
    place = child.ctx;
    looked(place, STICK_FAT);
    (void)stick_tick(0);
    CHECK(n_children == 5 && child.ctx == place);
    void (*mounted)(void *ctx, int code) = child.done;
    CHECK(mounted != looked);
    card(true); // it is being mounted
    card(false);
    mounted(place, 0);
    (void)stick_tick(0);
    CHECK(n_children == 8); // the new one and its reader are looked at, and the old one leaves
}

int main(void)
{
    a_card_changes();
    file_systems_are_told_apart();
    only_usb();
    names();
    places();
    return check_done("init_stick");
}
