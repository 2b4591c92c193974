/* mount.c - the kernel's file systems, directories.
 *
 * The root is the initramfs itself (a ramfs): everything below is either the kernel's own file
 * system, a tmpfs with a cap, or the data partition (disk.c).
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *type, *where, *options;
    unsigned long flags;
} kernel_mounts[] = {
    {"proc", "/proc", "hidepid=invisible", MOUNT_SAFE},
    {"sysfs", "/sys", NULL, MOUNT_SAFE},
    {"devtmpfs", "/dev", "mode=0755", MS_NOSUID | MS_NOEXEC},
    {"tmpfs", "/dev/shm", "mode=1777,size=25%", MOUNT_SAFE},
    {"tmpfs", "/run", "mode=0755,size=25%", MOUNT_SAFE},
    {"tmpfs", "/tmp", "mode=1777,size=25%", MOUNT_SAFE},
    {"securityfs", "/sys/kernel/security", NULL, MOUNT_SAFE},
    {"cgroup2", "/sys/fs/cgroup", NULL, MOUNT_SAFE},
};

enum status mount_kernel(struct err *err)
{
    enum status worst = OK;

    umask(022);
    for (size_t i = 0; i < sizeof(kernel_mounts) / sizeof(*kernel_mounts); i++) {
        const char *where = kernel_mounts[i].where;
        mkdir(where, 0755);
        if (mount(kernel_mounts[i].type, where, kernel_mounts[i].type, kernel_mounts[i].flags,
                  kernel_mounts[i].options) &&
            errno != EBUSY) {
            worst = err_set(err, IO_ERROR,
                            "%s could not be mounted: %s; this kernel lacks what the "
                            "image was built with",
                            where, strerror(errno));
        }
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        close(null);
    }
    return worst;
}

enum status make_directories(struct err *err)
{
    mkdir(DATA_DIR, 0755);
    mkdir("/boot", 0755);
    mkdir("/run/user", 0755);
    mkdir(MEDIA_DIR, 0755); // what the engine may read below /run must be there when it starts
    mkdir("/run/update", 0755);
    mkdir(RUNTIME_DIR, 0700);
    if (chown(RUNTIME_DIR, ENGINE_UID, ENGINE_GID)) {
        return err_set(err, IO_ERROR, "%s could not be given to the engine's user: %s", RUNTIME_DIR,
                       strerror(errno));
    }
    return OK;
}

void unmount_all(void)
{
    int why = 0;

    sync();
    for (int turn = 0; turn < 20; turn++) { // a child that is being killed may still hold it
        if (umount(DATA_DIR) == 0 || (why = errno) == EINVAL || why == ENOENT) {
            why = 0;
            break;
        }
        poll(NULL, 0, 100);
    }
    if (why) {
        bool read_only = mount(NULL, DATA_DIR, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0;
        complain("power", "%s could not be unmounted (%s); it was %s", DATA_DIR, strerror(why),
                 read_only ? "made read-only instead" : "synced, and its journal will be replayed");
    }
    umount("/boot");
    sync();
}
