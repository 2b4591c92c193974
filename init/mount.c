/* mount.c - the kernel's file systems, kernel settings, directories, and small-file helpers.
 *
 * The root is the initramfs itself (a ramfs): everything below is either the kernel's own file
 * system, a tmpfs with a cap, or the data partition (disk.c).
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAFE (MS_NOSUID | MS_NODEV | MS_NOEXEC)

static const struct {
    const char *type, *where, *options;
    unsigned long flags;
} kernel_mounts[] = {
    {"proc", "/proc", "hidepid=invisible", SAFE},
    {"sysfs", "/sys", NULL, SAFE},
    {"devtmpfs", "/dev", "mode=0755", MS_NOSUID | MS_NOEXEC},
    {"tmpfs", "/dev/shm", "mode=1777,size=25%", SAFE},
    {"tmpfs", "/run", "mode=0755,size=25%", SAFE},
    {"tmpfs", "/tmp", "mode=1777,size=25%", SAFE},
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

/* Each with its reason; a missing one is not an error (kernel configurations differ). */
static const struct {
    const char *path, *value;
} sysctls[] = {
    {"kernel/modprobe", ""},           // no helper process: module.c loads modules
    {"kernel/printk_devkmsg", "on\n"}, // our own lines are not to be rate-limited
    {"kernel/panic", "10"},            // a dead kernel restarts by itself
    {"kernel/dmesg_restrict", "0"},    // the doctor tells what the GPU's driver said in it
    {"kernel/kptr_restrict", "1"},
    {"kernel/unprivileged_bpf_disabled", "1"},
    {"kernel/sysrq", "0"}, // a keyboard at the box is not a root shell
    {"fs/protected_hardlinks", "1"},
    {"fs/protected_symlinks", "1"},
    {"fs/suid_dumpable", "0"},
    {"net/ipv4/ip_unprivileged_port_start",
     "0"},                                       // the engine binds 443 and 80 without capabilities
    {"net/ipv4/conf/default/arp_notify", "1"},   // announce an address the moment it is set
    {"net/ipv4/tcp_slow_start_after_idle", "0"}, // answers stream in bursts
    {"net/core/somaxconn", "1024"},
};

enum status apply_sysctls(struct err *err)
{
    int n_missing = 0;
    char path[128];
    struct err why;

    for (size_t i = 0; i < sizeof(sysctls) / sizeof(*sysctls); i++) {
        snprintf(path, sizeof(path), "/proc/sys/%s", sysctls[i].path);
        if (write_file(path, sysctls[i].value[0] ? sysctls[i].value : "\n", &why) != OK) {
            err_set(err, NOT_FOUND, "%s", why.text);
            n_missing++;
        }
    }
    return n_missing ? NOT_FOUND : OK;
}

enum status make_directories(struct err *err)
{
    mkdir(DATA_DIR, 0755);
    mkdir("/boot", 0755);
    mkdir("/run/user", 0755);
    mkdir(RUNTIME_DIR, 0700);
    if (chown(RUNTIME_DIR, ENGINE_UID, ENGINE_GID)) {
        return err_set(err, IO_ERROR, "%s could not be given to the engine's user: %s", RUNTIME_DIR,
                       strerror(errno));
    }
    return OK;
}

enum status write_file(const char *path, const char *text, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t len = strlen(text);

    if (fd < 0) {
        return err_set(err, NOT_FOUND, "%s could not be opened for writing: %s", path,
                       strerror(errno));
    }
    ssize_t n = write(fd, text, len);
    int e = errno;
    close(fd);
    if (n != (ssize_t)len)
        return err_set(err, IO_ERROR, "%s did not take \"%.40s\": %s", path, text, strerror(e));
    return OK;
}

enum status replace_file(const char *path, const char *text, size_t len, mode_t mode,
                         struct err *err)
{
    char temporary[200];

    snprintf(temporary, sizeof(temporary), "%s.new", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return err_set(err, IO_ERROR, "%s could not be made: %s", temporary, strerror(errno));
    bool good = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
    int e = errno;
    close(fd);
    if (!good || rename(temporary, path)) {
        e = good ? errno : e;
        unlink(temporary);
        return err_set(err, IO_ERROR, "%s could not be written: %s", path, strerror(e));
    }
    return OK;
}

ssize_t read_file(const char *path, char *buf, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;

    if (fd < 0)
        return -1;
    while (n < cap - 1) {
        ssize_t r = read(fd, buf + n, cap - 1 - n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        n += (size_t)r;
    }
    close(fd);
    buf[n] = 0;
    return (ssize_t)n;
}

enum status read_whole(const char *path, size_t max, char **text, size_t *len, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st)) {
        int e = errno;
        if (fd >= 0)
            close(fd);
        return err_set(err, NOT_FOUND, "%s: %s", path, strerror(e));
    }
    close(fd);
    if (st.st_size < 0 || (uintmax_t)st.st_size > max)
        return err_set(err, BAD_INPUT, "%s is larger than %zu bytes", path, max);
    char *buf = malloc((size_t)st.st_size + 1);
    ssize_t n = buf ? read_file(path, buf, (size_t)st.st_size + 1) : -1;
    if (n < 0) {
        free(buf);
        return err_set(err, IO_ERROR, "%s could not be read: %s", path, strerror(errno));
    }
    *text = buf;
    *len = (size_t)n;
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
