/* init_fsck.c - which superblocks ask for a check; and the image's e2fsck, confined as PID 1 has
 * it: what it mends, and at what it stops. The file systems are mke2fs's, damaged by debugfs.
 */
#include "../../init/fsck.h"
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MKE2FS "/usr/sbin/mke2fs"
#define DEBUGFS "/usr/sbin/debugfs"
#define PROGRAM "build/deps/appliance/bin/e2fsck"

static char place[64], disk[80];

static void test_superblock(void)
{
    uint8_t superblock[1024] = {0};

    CHECK(!fsck_wanted(superblock));
    superblock[58] = 2;
    CHECK(!fsck_wanted(superblock)); // no file system of this kind
    le_put(superblock + 56, 2, 0xef53);
    CHECK(fsck_wanted(superblock));
    superblock[58] = 3;
    CHECK(fsck_wanted(superblock));
    superblock[58] = 1;
    CHECK(!fsck_wanted(superblock));
}

static void run(char *const argv[])
{
    int wait_status = 1, null;
    pid_t pid = fork();

    if (pid == 0) {
        null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execv(argv[0], argv);
        _exit(127);
    }
    CHECK(pid > 0 && waitpid(pid, &wait_status, 0) == pid && wait_status == 0);
}

static void damage(const char *command)
{
    char text[80];

    snprintf(text, sizeof(text), "%s", command);
    run((char *[]){DEBUGFS, "-w", "-R", text, disk, NULL});
}

static void fresh(const char *how)
{
    unlink(disk);
    run((char *[]){MKE2FS, "-q", "-t", "ext4", disk, "8M", NULL});
    damage("write /etc/passwd lost");
    if (how) {
        damage(how);
        damage("set_super_value state 2");
    }
    CHECK(chown(disk, 65533, 65533) == 0 && chmod(disk, 0600) == 0);
}

static void test_confined(void)
{
    if (geteuid() != 0 || access(PROGRAM, X_OK) || access(MKE2FS, X_OK)) {
        check_skip("e2fsck, confined", "it wants root, mke2fs and `make appliance`");
        return;
    }
    snprintf(place, sizeof(place), "/tmp/tawny-fsck-%d", (int)getpid());
    snprintf(disk, sizeof(disk), "%s/disk", place);
    CHECK(mkdir(place, 0755) == 0);
    fresh(NULL);
    CHECK(fsck_confined(PROGRAM, place, false) == 0);
    fresh("set_super_value free_blocks_count 7");
    CHECK(fsck_confined(PROGRAM, place, false) == 1);
    CHECK(fsck_confined(PROGRAM, place, false) == 0);
    fresh(NULL);
    damage("unlink lost"); // a file without a name; the superblock says clean
    CHECK(fsck_confined(PROGRAM, place, false) == 0);
    CHECK(fsck_confined(PROGRAM, place, true) & FSCK_LEFT);
    fresh("unlink lost");
    CHECK(fsck_confined(PROGRAM, place, false) & FSCK_LEFT);
    fresh(NULL);
    CHECK(truncate(disk, 0) == 0 && truncate(disk, 8 << 20) == 0);
    CHECK(fsck_confined(PROGRAM, place, false) & (FSCK_LEFT | FSCK_FAILED));
    CHECK(fsck_confined("/none", place, false) == FSCK_FAILED);
    CHECK(fsck_confined("/bin/sh", place, false) ==
          FSCK_FAILED); // its libraries are out of its sight
    unlink(disk);
    rmdir(place);
}

/* As e2fsck below the child that waits for it. */
static int ends_by(void *ctx)
{
    int wait_status = 0;

    fsck_leads();
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGTERM, SIG_DFL);
        (void)!write(*(int *)ctx, "r", 1);
        for (;;)
            pause();
    }
    return waitpid(pid, &wait_status, 0) == pid && WIFSIGNALED(wait_status) ? WTERMSIG(wait_status)
                                                                            : 200;
}

static int other(void *ctx)
{
    (void)ctx;
    return 0;
}

static int ended = -1000;

static void it_ended(void *ctx, int code)
{
    (void)ctx;
    ended = code;
}

/* SIGTERM reaches the checker, and its parent is there to tell how it ended. */
static void test_end(void)
{
    int ends[2], wait_status;
    char byte;

    CHECK(pipe(ends) == 0 && child_start("", ends_by, it_ended, &ends[1]));
    CHECK(read(ends[0], &byte, 1) == 1);
    child_end(other); // not meant
    CHECK(waitpid(-1, &wait_status, WNOHANG) == 0);
    child_end(ends_by);
    pid_t pid = wait(&wait_status);
    CHECK(pid > 0 && child_reaped(pid, wait_status) && ended == SIGTERM);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    test_end();
    test_superblock();
    test_confined();
    return check_done("init_fsck");
}
