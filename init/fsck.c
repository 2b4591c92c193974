/* fsck.c - e2fsck on the data partition and fsck.fat on the ESP, as processes that can do nothing
 * else.
 *
 * They believe what a damaged disk says, and so they have a user of their own, to whom one node
 * belongs, the partition's, in a folder that is all they see; no right, no other program, the
 * system calls listed here. e2fsck runs as `-p`: what has one safe answer is mended, at all else it
 * stops. What would throw away files is a person's to do, at another machine.
 *
 * On the ESP the power goes while a new system is written to it, and half of a file is left whose
 * chain of clusters ends too early. The kernel makes a FAT read-only when it meets that, as it
 * would at the next attempt. fsck.fat cuts such a file short; of two that share clusters the second
 * one: that is never the good slot's, whose clusters nobody else was given (slots.c).
 */
#include "fsck.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FSCK_UID 65533 // no other process's

static const struct checker {
    const char *name, *path, *place;
    const char *const argv[5];
} checkers[] = {
    [FSCK_DATA] = {"e2fsck", "/usr/bin/e2fsck", "/dev/check", {"e2fsck", "-p", "/disk"}},
    [FSCK_DATA_WHOLE] = {"e2fsck",
                         "/usr/bin/e2fsck",
                         "/dev/check",
                         {"e2fsck", "-p", "-f", "/disk"}},
    [FSCK_ESP] = {"fsck.fat", "/usr/bin/fsck.fat", "/dev/check-esp", {"fsck.fat", "-a", "/disk"}},
};
#define PROGRAM_FD 3
#define LINES_MOST 40 // of what it says; a disk may say anything

bool fsck_wanted(const uint8_t superblock[1024])
{
    return le_get(superblock + 56, 2) == 0xef53 && (le_get(superblock + 58, 2) & 2);
}

bool fsck_fat_wanted(const uint8_t boot_sector[512])
{
    bool large = le_get(boot_sector + 22, 2) == 0; // FAT32: the length of a FAT is elsewhere
    int at = large ? 65 : 37;

    return boot_sector[510] == 0x55 && boot_sector[511] == 0xaa && boot_sector[at + 1] == 0x29 &&
           (boot_sector[at] & 1);
}

bool fsck_mount_asks(int why)
{
    return why == EUCLEAN || why == EINVAL || why == EBADMSG; // ext4's words for damage
}

bool fsck_trusted(int code)
{
    return code >= 0 && !(code & ~FSCK_MENDED);
}

/* Files, memory, the time; and execveat, for itself alone: it sees no other program. */
static const int allowed[] = {
    SYS_execveat,     SYS_read,
    SYS_readv,        SYS_pread64,
    SYS_write,        SYS_writev,
    SYS_pwrite64,     SYS_lseek,
    SYS_open,         SYS_openat,
    SYS_close,        SYS_stat,
    SYS_lstat,        SYS_fstat,
    SYS_newfstatat,   SYS_fcntl,
    SYS_ioctl,        SYS_fsync,
    SYS_fdatasync,    SYS_mmap,
    SYS_munmap,       SYS_mremap,
    SYS_mprotect,     SYS_madvise,
    SYS_brk,          SYS_clock_gettime,
    SYS_gettimeofday, SYS_nanosleep,
    SYS_getrandom,    SYS_getpid,
    SYS_gettid,       SYS_getuid,
    SYS_geteuid,      SYS_getgid,
    SYS_getegid,      SYS_getrusage,
    SYS_rt_sigaction, SYS_rt_sigprocmask,
    SYS_rt_sigreturn, SYS_restart_syscall,
    SYS_arch_prctl,   SYS_set_tid_address,
    SYS_exit,         SYS_exit_group,
};

static _Noreturn void become(const char *place, int program, int out, const char *const argv[])
{
    static char *const env[] = {NULL};
    int null = open("/dev/null", O_RDWR);
    struct err err;

    signal(SIGTERM, SIG_DFL);
    (void)write_file("/proc/self/oom_score_adj", "900", &err);
    if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 ||
        dup2(program, PROGRAM_FD) < 0 || syscall(SYS_close_range, PROGRAM_FD + 1, ~0u, 0) ||
        fcntl(PROGRAM_FD, F_SETFD, FD_CLOEXEC) || chroot(place) || chdir("/"))
        _exit(FSCK_FAILED);
    process_limit(RLIMIT_CORE, 0);
    process_limit(RLIMIT_NOFILE, 16);
    process_limit(RLIMIT_NPROC, 0);
    if (setgroups(0, NULL) || setresgid(FSCK_UID, FSCK_UID, FSCK_UID) ||
        setresuid(FSCK_UID, FSCK_UID, FSCK_UID) ||
        !confine_calls(allowed, sizeof(allowed) / sizeof(*allowed), false))
        _exit(FSCK_FAILED);
    syscall(SYS_execveat, PROGRAM_FD, "", argv, env, 0x1000 /* AT_EMPTY_PATH */);
    _exit(FSCK_FAILED);
}

/* That it sees neither /proc nor /dev is as it should be, and that a FAT's second boot sector has
 * no mark of writing. */
static bool is_told(const char *line)
{
    static const char *const left_out[] = {
        "ext2fs_check_if_mount",     "ERROR: Couldn't open /dev/null", "fsck.fat ",
        "There are differences b",   "This is mostly harmless.",       "  65:01/00",
        "  Not automatically fixin",
    };

    for (size_t i = 0; i < sizeof(left_out) / sizeof(*left_out); i++)
        if (strncmp(line, left_out[i], strlen(left_out[i])) == 0)
            return false;
    return line[0] && line[0] != '\n';
}

static void say_lines(int fd, const char *name)
{
    char line[300];
    FILE *f = fdopen(fd, "r");

    for (int n = 0; f && fgets(line, sizeof(line), f);)
        if (is_told(line) && n++ < LINES_MOST)
            say_raw(name, line, strcspn(line, "\n"));
    if (f)
        (void)fclose(f);
}

int fsck_confined(const char *program, const char *place, enum fsck_kind kind)
{
    int ends[2], wait_status = 0, file = open(program, O_RDONLY | O_CLOEXEC);

    if (file < 0 || pipe2(ends, O_CLOEXEC)) {
        if (file >= 0)
            close(file);
        return FSCK_FAILED;
    }
    pid_t pid = fork();
    if (pid == 0)
        become(place, file, ends[1], checkers[kind].argv);
    close(file);
    close(ends[1]);
    say_lines(ends[0], checkers[kind].name);
    if (pid < 0 || waitpid(pid, &wait_status, 0) != pid || !WIFEXITED(wait_status))
        return FSCK_FAILED;
    return WEXITSTATUS(wait_status);
}

void fsck_leads(void)
{
    signal(SIGTERM, SIG_IGN);
    setpgid(0, 0);
}

int fsck_run(const char *device, enum fsck_kind kind)
{
    const char *place = checkers[kind].place;
    char disk[64];
    struct stat st;

    snprintf(disk, sizeof(disk), "%s/disk", place);
    fsck_leads();
    (void)unlink(disk); // devtmpfs: what was there went with the last start
    if (stat(device, &st) || !S_ISBLK(st.st_mode) || (mkdir(place, 0755) && errno != EEXIST) ||
        mknod(disk, S_IFBLK | 0600, st.st_rdev) || chown(disk, FSCK_UID, FSCK_UID)) {
        complain(checkers[kind].name, "no node for the check could be made: %s", strerror(errno));
        return FSCK_FAILED;
    }
    int code = fsck_confined(checkers[kind].path, place, kind);
    unlink(disk);
    rmdir(place);
    return code;
}

static bool read_at(const char *device, off_t at, void *out, size_t n)
{
    int fd = open(device, O_RDONLY | O_CLOEXEC);
    bool read = fd >= 0 && pread(fd, out, n, at) == (ssize_t)n;

    if (fd >= 0)
        close(fd);
    return read;
}

bool fsck_data_wanted(const char *device)
{
    uint8_t superblock[1024];

    return read_at(device, 1024, superblock, sizeof(superblock)) && fsck_wanted(superblock);
}

static bool has_mark(const char *device)
{
    uint8_t boot_sector[512];

    return read_at(device, 0, boot_sector, sizeof(boot_sector)) && fsck_fat_wanted(boot_sector);
}

void fsck_esp(const char *device)
{
    if (!has_mark(device))
        return;
    say("settings", "%s was being written when the power went: it is checked", device);
    int code = fsck_run(device, FSCK_ESP);
    if (has_mark(device))
        complain(
            "settings",
            "%s could not be mended (%d): settings and updates may be refused. Copy tawny.conf "
            "from it and run fsck.fat -a on it at any Linux machine",
            device, code);
}
