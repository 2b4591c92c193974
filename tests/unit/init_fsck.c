/* init_fsck.c - which superblocks and boot sectors ask for a check; and the image's e2fsck and
 * fsck.fat, confined as PID 1 has them: what they mend, and at what e2fsck stops. The file systems
 * are mke2fs's, damaged by debugfs, and mkfs.fat's, damaged here.
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
#define MKFS_FAT "/usr/sbin/mkfs.fat"
#define MCOPY "/usr/bin/mcopy"
#define PROGRAM "build/deps/appliance/bin/e2fsck"
#define FAT_PROGRAM "build/deps/appliance/bin/fsck.fat"

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

/* A program in e2fsck's place, without libraries. Its exit code tells what it could do: 1 a socket,
 * 2 another process, 4 read /etc/passwd, 8 be another user than 65533, 16 become root, 32 not open
 * /disk, 64 signal others. */
__asm__(".pushsection .rodata\n"
        "probe_begin:\n"
        "xor %ebx, %ebx\n"
        "mov $41, %eax; mov $2, %edi; mov $1, %esi; xor %edx, %edx; syscall\n" // socket
        "test %rax, %rax; js 1f; or $1, %ebx; 1:\n"
        "mov $57, %eax; syscall\n" // fork
        "test %rax, %rax; js 1f; jnz 2f; mov $60, %eax; xor %edi, %edi; syscall\n"
        "2: or $2, %ebx; 1:\n"
        "lea 8f(%rip), %rdi; xor %esi, %esi; mov $2, %eax; syscall\n" // open
        "test %rax, %rax; js 1f; or $4, %ebx; 1:\n"
        "mov $102, %eax; syscall\n" // getuid
        "cmp $65533, %eax; je 1f; or $8, %ebx; 1:\n"
        "mov $105, %eax; xor %edi, %edi; syscall\n" // setuid
        "test %rax, %rax; jnz 1f; or $16, %ebx; 1:\n"
        "lea 9f(%rip), %rdi; mov $2, %esi; mov $2, %eax; syscall\n" // open for writing
        "test %rax, %rax; jns 1f; or $32, %ebx; 1:\n"
        "mov $62, %eax; xor %edi, %edi; xor %esi, %esi; syscall\n" // kill
        "test %rax, %rax; jnz 1f; or $64, %ebx; 1:\n"
        "mov $60, %eax; mov %ebx, %edi; syscall\n" // exit
        "8: .asciz \"/etc/passwd\"\n"
        "9: .asciz \"/disk\"\n"
        "probe_end:\n"
        ".popsection\n");
extern const uint8_t probe_begin[], probe_end[];

static void write_probe(const char *path)
{
    enum { HEAD = 64 + 56, AT = 0x400000 }; // of an ELF file, and of its one segment
    uint8_t head[HEAD] = {0x7f, 'E', 'L', 'F', 2, 1, 1}, *segment = head + 64;
    size_t n = (size_t)(probe_end - probe_begin);

    le_put(head + 16, 2, 2);  // a program
    le_put(head + 18, 2, 62); // x86-64
    le_put(head + 20, 4, 1);
    le_put(head + 24, 8, AT + HEAD); // where it begins
    le_put(head + 32, 8, 64);
    le_put(head + 52, 2, 64);
    le_put(head + 54, 2, 56);
    le_put(head + 56, 2, 1);
    le_put(segment, 4, 1);
    le_put(segment + 4, 4, 5); // read, execute
    le_put(segment + 16, 8, AT);
    le_put(segment + 24, 8, AT);
    le_put(segment + 32, 8, HEAD + n);
    le_put(segment + 40, 8, HEAD + n);
    le_put(segment + 48, 8, 4096);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    CHECK(fd >= 0 && write(fd, head, HEAD) == HEAD && write(fd, probe_begin, n) == (ssize_t)n);
    close(fd);
}

/* All that the probe can do by itself it cannot do in e2fsck's place, but for opening the disk. */
static void test_walls(void)
{
    char probe[80];
    int wait_status = 0;

    snprintf(probe, sizeof(probe), "%s.probe", place);
    write_probe(probe);
    pid_t pid = fork();
    if (pid == 0) {
        execv(probe, (char *[]){probe, NULL});
        _exit(126);
    }
    CHECK(pid > 0 && waitpid(pid, &wait_status, 0) == pid && WEXITSTATUS(wait_status) == 127);
    CHECK(fsck_confined(probe, place, FSCK_DATA) == 0);
    CHECK(chown(disk, 0, 0) == 0 && fsck_confined(probe, place, FSCK_DATA) == 32); // not its own
    unlink(probe);
}

/* Several groups of blocks, and a journal that is to be replayed. */
static void test_journal(void)
{
    uint8_t superblock[1024] = {0};

    unlink(disk);
    run((char *[]){MKE2FS, "-q", "-t", "ext4", "-b", "1024", disk, "64M", NULL});
    damage("write /etc/passwd kept");
    damage("feature needs_recovery");
    damage("set_super_value state 2");
    CHECK(chown(disk, 65533, 65533) == 0 && chmod(disk, 0600) == 0);
    CHECK(fsck_trusted(fsck_confined(PROGRAM, place, FSCK_DATA)));
    int fd = open(disk, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && pread(fd, superblock, sizeof(superblock), 1024) == 1024);
    close(fd);
    CHECK(!fsck_wanted(superblock) && !(le_get(superblock + 96, 4) & 4)); // needs_recovery
    CHECK(le_get(superblock + 4, 4) > 4 * le_get(superblock + 32, 4));    // groups
}

static void test_confined(void)
{
    if (geteuid() != 0 || access(PROGRAM, X_OK) || access(MKE2FS, X_OK)) {
        check_skip("e2fsck, confined", "it wants root, mke2fs and `make appliance`");
        return;
    }
    CHECK(mkdir(place, 0755) == 0);
    fresh(NULL);
    CHECK(fsck_confined(PROGRAM, place, FSCK_DATA) == 0);
    fresh("set_super_value free_blocks_count 7");
    CHECK(fsck_confined(PROGRAM, place, FSCK_DATA) == 1);
    CHECK(fsck_confined(PROGRAM, place, FSCK_DATA) == 0);
    fresh(NULL);
    damage("unlink lost"); // a file without a name; the superblock says clean
    CHECK(fsck_confined(PROGRAM, place, FSCK_DATA) == 0);
    CHECK(fsck_confined(PROGRAM, place, FSCK_DATA_WHOLE) & FSCK_LEFT);
    fresh("unlink lost");
    CHECK(fsck_confined(PROGRAM, place, FSCK_DATA) & FSCK_LEFT);
    fresh(NULL);
    CHECK(truncate(disk, 0) == 0 && truncate(disk, 8 << 20) == 0);
    CHECK(fsck_confined(PROGRAM, place, FSCK_DATA) & (FSCK_LEFT | FSCK_FAILED));
    CHECK(fsck_confined("/none", place, FSCK_DATA) == FSCK_FAILED);
    CHECK(fsck_confined("/bin/sh", place, FSCK_DATA) ==
          FSCK_FAILED); // its libraries are out of its sight
    fresh(NULL);
    test_walls();
    test_journal();
    unlink(disk);
    rmdir(place);
}

/* ---- FAT: 512 bytes a cluster, two FATs behind 32 sectors ---- */

enum { FAT_AT = 32 * 512, STATE_AT = 65 };

static void patch(uint64_t at, unsigned bytes, uint64_t value)
{
    uint8_t raw[8];
    int fd = open(disk, O_WRONLY | O_CLOEXEC);

    le_put(raw, bytes, value);
    CHECK(fd >= 0 && pwrite(fd, raw, bytes, (off_t)at) == (ssize_t)bytes);
    close(fd);
}

static uint64_t look(uint64_t at, unsigned bytes)
{
    uint8_t raw[8] = {0};
    int fd = open(disk, O_RDONLY | O_CLOEXEC);

    CHECK(fd >= 0 && pread(fd, raw, bytes, (off_t)at) == (ssize_t)bytes);
    close(fd);
    return le_get(raw, bytes);
}

static bool dirty(void)
{
    uint8_t sector[512];
    int fd = open(disk, O_RDONLY | O_CLOEXEC);

    CHECK(fd >= 0 && pread(fd, sector, sizeof(sector), 0) == (ssize_t)sizeof(sector));
    close(fd);
    return fsck_fat_wanted(sector);
}

static void test_boot_sector(void)
{
    uint8_t large[512] = {[65] = 1, [66] = 0x29, [510] = 0x55, [511] = 0xaa};
    uint8_t small[512] = {[22] = 9, [37] = 1, [38] = 0x29, [510] = 0x55, [511] = 0xaa};

    CHECK(fsck_fat_wanted(large) && fsck_fat_wanted(small));
    large[65] = 2; // a surface test is wanted: not by us
    small[510] = 0;
    CHECK(!fsck_fat_wanted(large) && !fsck_fat_wanted(small));
    large[65] = 3;
    CHECK(fsck_fat_wanted(large));
    large[66] = 0;
    CHECK(!fsck_fat_wanted(large));
}

/* A file of eight clusters, 3 to 10, as a cut leaves it: the third is free. And a chain, 20 to 21,
 * that no file owns. */
static void cut_short(uint64_t fat)
{
    CHECK(look(fat + 4 * 5, 4) == 6);
    patch(fat + 4 * 5, 4, 0);
    patch(fat + 4 * 20, 4, 21);
    patch(fat + 4 * 21, 4, 0x0fffffff);
}

static void test_fat(void)
{
    enum { ROOT_FILE = 0x20 }; // of the root's second entry, behind the label
    char source[80];

    if (geteuid() != 0 || access(FAT_PROGRAM, X_OK) || access(MKFS_FAT, X_OK) ||
        access(MCOPY, X_OK)) {
        check_skip("fsck.fat, confined", "it wants root, mkfs.fat, mcopy and `make appliance`");
        return;
    }
    snprintf(source, sizeof(source), "%s.file", place);
    CHECK(mkdir(place, 0755) == 0);
    unlink(disk);
    int fd = open(source, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && ftruncate(fd, 8L * 512) == 0);
    close(fd);
    run((char *[]){MKFS_FAT, "-F", "32", "-s", "1", "-n", "ESP", "-C", disk, "40000", NULL});
    run((char *[]){MCOPY, "-i", disk, source, "::HALF", NULL});
    CHECK(chown(disk, 65533, 65533) == 0 && chmod(disk, 0600) == 0 && !dirty());
    CHECK(fsck_confined(FAT_PROGRAM, place, FSCK_ESP) == 0);
    uint64_t n_fat = look(36, 4) * 512, entry = FAT_AT + 2 * n_fat + ROOT_FILE;
    CHECK(look(entry + 26, 2) == 3 && look(entry + 28, 4) == 8L * 512);
    cut_short(FAT_AT);
    cut_short(FAT_AT + n_fat);
    patch(STATE_AT, 1, 1);
    CHECK(dirty());
    CHECK(fsck_confined(FAT_PROGRAM, place, FSCK_ESP) == 1);
    CHECK(!dirty() && look(entry + 26, 2) == 3 && look(entry + 28, 4) == 2L * 512);
    for (int i = 5; i <= 21; i++) // free: the rest of the file, and what nobody owned
        CHECK(look(FAT_AT + 4 * (uint64_t)i, 4) == 0);
    CHECK(look(entry + 32, 1) == 0); // no other file was made of them
    CHECK(fsck_confined(FAT_PROGRAM, place, FSCK_ESP) == 0);
    patch(STATE_AT, 1, 1);
    patch(11, 2, 0); // bytes of a sector: nothing can be read, and the mark stays
    CHECK(fsck_confined(FAT_PROGRAM, place, FSCK_ESP) != 0 && dirty());
    unlink(source);
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
    snprintf(place, sizeof(place), "/tmp/tawny-fsck-%d", (int)getpid());
    snprintf(disk, sizeof(disk), "%s/disk", place);
    test_end();
    test_superblock();
    test_boot_sector();
    test_confined();
    test_fat();
    return check_done("init_fsck");
}
