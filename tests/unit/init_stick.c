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

int main(void)
{
    file_systems_are_told_apart();
    only_usb();
    names();
    places();
    return check_done("init_stick");
}
