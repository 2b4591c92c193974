/* init_disk.c - the data partition's way from its appearance to use: what a mount that fails leads
 * to, what a check's end does, what is said meanwhile. The kernel is this test's: its files, mounts
 * and clock, and its children: none runs, and what one would answer is the test's to say. Each case
 * is a process of its own, for disk.c keeps what it knows.
 */
#include "../../init/fsck.h"
#include "../../init/told.h"
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOUNTED, READ_ONLY, PROTECTED, NOT_MOUNTED, TO_CHECK, REFUSED, NEWER }; // of disk.c's child

static int64_t clock_ms = 100000;
static char said[4000], restarted[200], copied[400], tree[64];
static int refuses; // errno of a mount for writing
static bool refuses_all, power, has_errors;
static unsigned long mounted_with;
static struct {
    int (*run)(void *ctx);
    void (*done)(void *ctx, int code);
    void *ctx;
} child; // the last
static int n_children;

int64_t __wrap_now_ms(void);
void __wrap_say(const char *step, const char *format, ...);
void __wrap_complain(const char *step, const char *format, ...);
bool __wrap_power_asked(void);
void __wrap_update_restart(const char *why);
enum status __wrap_module_ready(const char *name);
enum status __wrap_module_drivers_ready(void);
bool __wrap_child_start(const char *name, int (*run)(void *), void (*done)(void *, int), void *ctx);
int __wrap_mount(const char *from, const char *to, const char *type, unsigned long flags,
                 const void *options);
ssize_t __wrap_read_file(const char *path, char *buf, size_t cap);
ssize_t __wrap_readlink(const char *path, char *buf, size_t cap);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_lchown(const char *path, uid_t uid, gid_t gid);
enum status __wrap_replace_file(const char *path, const char *text, size_t len, mode_t mode,
                                struct err *err);

int64_t __wrap_now_ms(void)
{
    return clock_ms;
}

static void note(const char *format, va_list args)
{
    size_t n = strlen(said);
    vsnprintf(said + n, sizeof(said) - n, format, args);
    n = strlen(said);
    snprintf(said + n, sizeof(said) - n, "\n");
}

void __wrap_say(const char *step, const char *format, ...)
{
    va_list args;
    (void)step;
    va_start(args, format);
    note(format, args);
    va_end(args);
}

void __wrap_complain(const char *step, const char *format, ...)
{
    va_list args;
    (void)step;
    va_start(args, format);
    note(format, args);
    va_end(args);
}

bool __wrap_power_asked(void)
{
    return power;
}

void __wrap_update_restart(const char *why)
{
    snprintf(restarted, sizeof(restarted), "%s", why);
}

enum status __wrap_module_ready(const char *name)
{
    (void)name;
    return OK;
}

enum status __wrap_module_drivers_ready(void)
{
    return OK;
}

bool __wrap_child_start(const char *name, int (*run)(void *), void (*done)(void *, int), void *ctx)
{
    (void)name;
    child.run = run;
    child.done = done;
    child.ctx = ctx;
    n_children++;
    return true;
}

int __wrap_mount(const char *from, const char *to, const char *type, unsigned long flags,
                 const void *options)
{
    (void)from, (void)to, (void)type, (void)options;
    if (refuses_all || (refuses && !(flags & MS_RDONLY))) {
        errno = refuses ? refuses : EIO;
        return -1;
    }
    mounted_with = flags;
    return 0;
}

ssize_t __wrap_read_file(const char *path, char *buf, size_t cap)
{
    const char *text =
        strcmp(path, "/sys/class/block/sda3/uevent") == 0   ? "PARTNAME=tawny-data\nPARTN=3\n"
        : strcmp(path, "/sys/class/block/sda1/uevent") == 0 ? "PARTNAME=tawny-esp\nPARTN=1\n"
                                                            : NULL;
    return text ? snprintf(buf, cap, "%s", text) : -1;
}

ssize_t __wrap_readlink(const char *path, char *buf, size_t cap)
{
    return snprintf(buf, cap, "../../devices/ata/block/sda/%s", strrchr(path, '/') + 1);
}

int __wrap_open(const char *path, int flags, ...)
{
    char there[200];

    if (strcmp(path, "/dev/sda3") == 0 && has_errors)
        snprintf(there, sizeof(there), "%s/superblock", tree);
    else if (strncmp(path, "/data/tawny/", 12) == 0)
        snprintf(there, sizeof(there), "%s/%s", tree, path + 12);
    else
        return errno = ENOENT, -1;
    return __real_open(there, flags);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    (void)path, (void)mode;
    return errno = EEXIST, -1;
}

int __wrap_lchown(const char *path, uid_t uid, gid_t gid)
{
    (void)path, (void)uid, (void)gid;
    return 0;
}

enum status __wrap_replace_file(const char *path, const char *text, size_t len, mode_t mode,
                                struct err *err)
{
    size_t n = strlen(copied);
    (void)text, (void)mode, (void)err;
    snprintf(copied + n, sizeof(copied) - n, "%s %zu\n", path, len);
    return OK;
}

/* ---- what all cases begin with ---- */

static void put(const char *name, size_t n, const char *at, size_t n_at)
{
    char path[200];
    static char bytes[(1 << 20) + 1];

    memset(bytes, 0, sizeof(bytes));
    memcpy(bytes + n_at, at, strlen(at));
    snprintf(path, sizeof(path), "%s/%s", tree, name);
    int fd = __real_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    close(fd);
}

/* Both partitions are there, and the child that mounts the data has begun; true: it is that one. */
static void appear(void)
{
    disk_added(&(struct uevent){.devname = "sda1", .devtype = "partition"});
    disk_added(&(struct uevent){.devname = "sda3", .devtype = "partition"});
    CHECK(disk_data() == WAIT && n_children == 1); // it looks at the ESP
    child.done(child.ctx, 1);
    clock_ms += 6000;
    CHECK(disk_data() == WAIT && n_children == 2);
}

static int end(int code)
{
    int before = n_children;
    child.done(child.ctx, code);
    return n_children - before; // whether another one began
}

/* What the child that mounts says, and PID 1 with it. */
static int mounts(void)
{
    int code = child.run(child.ctx);
    (void)end(code);
    return code;
}

static bool heard(const char *text)
{
    bool found = strstr(said, text) != NULL;
    said[0] = 0;
    return found;
}

/* ---- the cases ---- */

static void only_damage_is_checked(void)
{
    static const struct {
        int why, code;
    } cases[] = {{EUCLEAN, REFUSED},  {EINVAL, REFUSED},  {EBADMSG, REFUSED}, {EIO, READ_ONLY},
                 {ENOMEM, READ_ONLY}, {EROFS, PROTECTED}, {EACCES, PROTECTED}};

    appear();
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        refuses = cases[i].why;
        CHECK(child.run(child.ctx) == cases[i].code);
    }
    refuses = 0;
    has_errors = true;
    CHECK(child.run(child.ctx) == TO_CHECK);
    for (int code = -15; code < 256; code++)
        CHECK(fsck_trusted(code) == (code >= 0 && code <= 3));
}

static void good_check(void)
{
    appear();
    CHECK(end(TO_CHECK) == 1 && disk_check_runs() && disk_checking() && disk_busy());
    CHECK(end(FSCK_MENDED) == 0 && !disk_check_runs());
    CHECK(disk_data() == WAIT && n_children == 4);
    CHECK(mounts() == MOUNTED && disk_data() == OK && disk_mounted() &&
          !(mounted_with & MS_RDONLY));
    CHECK_TEXT(disk_fault(), "");
}

/* Whatever a check that is no good ends with, nothing is written, and /health says so. */
static void bad_check(int code)
{
    appear();
    CHECK(end(TO_CHECK) == 1);
    CHECK(end(code) == 0);
    CHECK(disk_data() == WAIT && n_children == 4);
    CHECK(mounts() == READ_ONLY && mounted_with & MS_RDONLY && disk_data() == IO_ERROR);
    CHECK(strstr(disk_fault(), "can only be read: what changes is lost at power-off. To repair"));
    CHECK(heard(code & FSCK_LEFT && code > 0 ? "its file system is damaged"
                                             : "its check did not come to an end"));
}

static void check_left(void)
{
    bad_check(1 | FSCK_LEFT);
}

static void check_failed(void)
{
    bad_check(FSCK_FAILED);
}

static void check_cancelled(void)
{
    bad_check(32);
}

static void check_killed(void)
{
    bad_check(-9);
}

static void write_protected(void)
{
    appear();
    refuses = EACCES;
    CHECK(mounts() == PROTECTED && disk_data() == IO_ERROR);
    CHECK(strstr(disk_fault(), "power-off. Remove the disk's write protection and restart"));
    CHECK(heard("read-only: it is write-protected. Remove the disk's write protection"));
}

static void mount_dies(void)
{
    appear();
    CHECK(end(-11) == 0 && disk_data() == IO_ERROR);
    CHECK(strstr(disk_fault(), "cannot be used: keys and certificates are new"));
    CHECK(heard("ended with signal 11"));
}

static void told_each_minute(void)
{
    appear();
    CHECK(end(TO_CHECK) == 1);
    said[0] = 0;
    CHECK(disk_tick(clock_ms) == clock_ms + 60000 && !said[0]);
    clock_ms += 60000;
    CHECK(disk_tick(clock_ms) == clock_ms + 60000);
    CHECK(heard("sda3 is still being checked, for 1 min now: leave the machine on"));
    clock_ms += 59999;
    CHECK(disk_tick(clock_ms) == clock_ms + 1 && !said[0]);
    clock_ms += 1;
    (void)disk_tick(clock_ms);
    CHECK(heard("for 2 min now"));
}

/* The engine has begun without the data when the check ends with this code. */
static void end_late(int code)
{
    appear();
    CHECK(end(TO_CHECK) == 1 && !disk_check_late());
    void (*check_done)(void *ctx, int code) = child.done;
    clock_ms += 31 * 60000;
    CHECK(!disk_checking() && disk_check_runs());
    CHECK(disk_esp() == WAIT && disk_esp_comes()); // tawny.conf is read all the same
    CHECK(end(0) == 0 && disk_esp() == OK && !disk_esp_comes() && disk_esp_has_conf());
    disk_give_up();
    CHECK(strstr(disk_fault(), "is still being checked") && disk_check_late());
    int before = n_children;
    check_done(NULL, code);
    CHECK(disk_check_late() && !disk_check_runs());
    (void)disk_tick(clock_ms); // by itself: nobody asks for the data any more
    CHECK(n_children == before + 1 && disk_check_late());
}

static void late_and_good(void)
{
    end_late(1);
    CHECK(mounts() == MOUNTED && !disk_check_late());
    CHECK_TEXT(restarted, "the check of the data partition is over: it is used from this start on");
}

static void late_and_bad(void)
{
    end_late(FSCK_LEFT);
    put("api-key", 10, "k", 0);
    mounted_with = 0;
    CHECK(mounts() == NOT_MOUNTED && !mounted_with && !restarted[0] && !disk_check_late());
    char told[1000]; // to the engine that runs: the check is over
    (void)told_text(told, sizeof(told));
    CHECK(strstr(told, "data_fault=The data partition cannot be used: keys and certificates are") &&
          strstr(told, "run e2fsck -f") && !strstr(told, "being checked"));
    CHECK(!copied[0] &&
          heard("is not used in this run: its file system is damaged")); // it has keys
}

static void broken_off(void)
{
    appear();
    CHECK(end(TO_CHECK) == 1);
    power = true;
    CHECK(end(32) == 0 && !disk_check_runs() && disk_data() == IO_ERROR && n_children == 3);
}

/* Keys, settings and names come along, up to a size; half of one does not. */
static void taken_over(void)
{
    appear();
    put("api-key", 10, "k", 0);
    put("keys.json", 200000, "k", 0);
    put("settings.conf", 1 << 20, "k", 0);
    put("aliases", (1 << 20) + 1, "k", 0);
    refuses = EIO;
    CHECK(mounts() == READ_ONLY);
    CHECK_TEXT(copied, "/run/tawny/api-key 10\n/run/tawny/keys.json 200000\n"
                       "/run/tawny/settings.conf 1048576\n");
    CHECK(heard("aliases was not taken over"));
}

static void nothing_mounts(void)
{
    appear();
    refuses_all = true;
    refuses = EUCLEAN;
    CHECK(mounts() == REFUSED && end(FSCK_FAILED) == 0);
    CHECK(disk_data() == WAIT && mounts() == NOT_MOUNTED && disk_data() == IO_ERROR);
    CHECK(strstr(disk_fault(), "cannot be used: keys and certificates are new"));
}

/* In a process of its own. */
static void apart(const char *name, void (*run)(void))
{
    static const char *const files[] = {"superblock", "api-key", "keys.json", "settings.conf",
                                        "aliases"};
    int wait_status = 1;

    snprintf(tree, sizeof(tree), "/tmp/tawny-disk-XXXXXX");
    CHECK(mkdtemp(tree) != NULL);
    put("superblock", 4096, "\x53\xef\x02", 1024 + 56);
    pid_t pid = fork();
    if (pid == 0) {
        check_n_failed = 0;
        run();
        if (check_n_failed)
            fprintf(stderr, "%s: it said:\n%s", name, said);
        exit(check_n_failed != 0);
    }
    CHECK(pid > 0 && waitpid(pid, &wait_status, 0) == pid && wait_status == 0);
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        char path[200];
        snprintf(path, sizeof(path), "%s/%s", tree, files[i]);
        unlink(path);
    }
    rmdir(tree);
}
#define APART(run) apart(#run, run)

int main(void)
{
    APART(only_damage_is_checked);
    APART(good_check);
    APART(check_left);
    APART(check_failed);
    APART(check_cancelled);
    APART(check_killed);
    APART(write_protected);
    APART(mount_dies);
    APART(told_each_minute);
    APART(late_and_good);
    APART(late_and_bad);
    APART(broken_off);
    APART(taken_over);
    APART(nothing_mounts);
    return check_done("init_disk");
}
