// base_confine.c - what a server that was taken over may still do (engine/base/confine.h). Each
// attempt is made by a child of its own, by bare system calls, as code in the engine's place would;
// what must go on working is tried in the same way.
#include "../../engine/base/confine.h"
#include "check.h"
#include "fake_root.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char readable[200], own[200], other[200]; // folders; in each a file "a"
static bool has_files, has_ports;

static const char *in(const char *folder, const char *name)
{
    static char path[2][300];
    static int turn;
    turn ^= 1;
    snprintf(path[turn], sizeof(path[0]), "%s/%s", folder, name);
    return path[turn];
}

static long result(long value)
{
    return value < 0 ? -errno : 0;
}

// ---- attempts: 0, or -errno ---------------------------------------------------------------------

static long run_shell(void)
{
    char *const argv[] = {"sh", "-c", "true", NULL};
    return result(syscall(SYS_execve, "/bin/sh", argv, NULL));
}

static long run_by_descriptor(void)
{
    char *const argv[] = {"sh", NULL};
    return result(syscall(SYS_execveat, 0, "/bin/sh", argv, NULL, 0));
}

static long new_process(void)
{
    long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    return result(pid);
}

static long new_process_by_clone3(void)
{
    uint64_t how[8] = {[4] = SIGCHLD};
    return result(syscall(435, how, sizeof(how)));
}

static long raw_socket(void)
{
    return result(syscall(SYS_socket, AF_INET, SOCK_RAW, 1));
}

static long packet_socket(void)
{
    return result(syscall(SYS_socket, 17, SOCK_RAW, 0));
}

static long audit_socket(void)
{
    return result(syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 9));
}

static long load_module(void)
{
    return result(syscall(SYS_init_module, "", 0, ""));
}

static long load_module_file(void)
{
    return result(syscall(SYS_finit_module, 0, "", 0));
}

static long trace_init(void)
{
    return result(syscall(SYS_ptrace, 16, 1, 0, 0));
}

static long signal_init(void)
{
    return result(syscall(SYS_kill, 1, 0));
}

static long read_memory_of_init(void)
{
    return result(syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0));
}

static long new_namespace(void)
{
    return result(syscall(SYS_unshare, 0x10000000));
}

static long mount_something(void)
{
    return result(syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL));
}

static long kernel_program(void)
{
    return result(syscall(SYS_bpf, 0, NULL, 0));
}

static long ring(void)
{
    return result(syscall(425, 8, NULL));
}

static long make_code(void)
{
    void *p = (void *)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? -errno : 0;
}

static long type_into_a_terminal(void)
{
    return result(syscall(SYS_ioctl, 0, 0x5412, "x"));
}

static long raise_a_limit(void)
{
    struct rlimit limit = {1, 1};
    return result(syscall(SYS_prlimit64, 0, RLIMIT_CORE, &limit, NULL));
}

static long read_anothers_file(void)
{
    return result(open(in(other, "a"), O_RDONLY | O_CLOEXEC));
}

static long remove_anothers_file(void)
{
    return result(unlink(in(other, "a")));
}

static long write_what_is_read(void)
{
    return result(open(in(readable, "a"), O_WRONLY | O_CLOEXEC));
}

static long read_passwords(void)
{
    return result(open("/etc/shadow", O_RDONLY | O_CLOEXEC));
}

static long listen_anew(void)
{
    struct sockaddr_storage any = {.ss_family = AF_INET}; // port 0
    struct err err;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || confine_ports(&err) != OK)
        return -1000;
    return result(bind(fd, (struct sockaddr *)(void *)&any, 16));
}

// ---- what goes on -------------------------------------------------------------------------------

static void *nothing(void *arg)
{
    return arg;
}

static long goes_on(void)
{
    pthread_t thread;
    char text[8] = "";
    int fd = open(in(readable, "a"), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, 3) != 3 || close(fd) != 0)
        return -1;
    fd = open(in(own, "b"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "b", 1) != 1 || fsync(fd) != 0 || close(fd) != 0)
        return -2;
    if (mkdir(in(own, "d"), 0700) != 0 || rename(in(own, "b"), in(own, "d/b")) != 0 ||
        link(in(own, "d/b"), in(own, "c")) != 0 || unlink(in(own, "c")) != 0 ||
        unlink(in(own, "d/b")) != 0 || rmdir(in(own, "d")) != 0)
        return -3;
    if (pthread_create(&thread, NULL, nothing, NULL) != 0 || pthread_join(thread, NULL) != 0)
        return -4;
    int talk = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
        ask = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0),
        news = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (talk < 0 || (ask < 0 && errno != EAFNOSUPPORT) || news < 0 || kill(getpid(), 0) != 0)
        return -5;
    return 0;
}

// ---- trying -------------------------------------------------------------------------------------

static const struct attempt {
    const char *name;
    long (*run)(void);
    int ends; // the signal that ends it where calls are fatal; 0: it fails
    long why; // with this, else
    bool by_files;
} attempts[] = {
    {"execve", run_shell, SIGSYS, -EPERM, false},
    {"execveat", run_by_descriptor, SIGSYS, -EPERM, false},
    {"clone", new_process, SIGSYS, -EPERM, false},
    {"clone3", new_process_by_clone3, 0, -ENOSYS, false},
    {"raw socket", raw_socket, 0, -EACCES, false},
    {"packet socket", packet_socket, 0, -EACCES, false},
    {"audit socket", audit_socket, 0, -EACCES, false},
    {"init_module", load_module, SIGSYS, -EPERM, false},
    {"finit_module", load_module_file, SIGSYS, -EPERM, false},
    {"ptrace", trace_init, SIGSYS, -EPERM, false},
    {"kill", signal_init, 0, -EPERM, false},
    {"process_vm_readv", read_memory_of_init, SIGSYS, -EPERM, false},
    {"unshare", new_namespace, SIGSYS, -EPERM, false},
    {"mount", mount_something, SIGSYS, -EPERM, false},
    {"bpf", kernel_program, SIGSYS, -EPERM, false},
    {"io_uring_setup", ring, 0, -ENOSYS, false},
    {"mmap", make_code, SIGSYS, 0, false}, // drivers that are not ours make code at run time
    {"TIOCSTI", type_into_a_terminal, 0, -EPERM, false},
    {"prlimit64", raise_a_limit, 0, -EPERM, false},
    {"another's file", read_anothers_file, 0, -EACCES, true},
    {"another's file, removed", remove_anothers_file, 0, -EACCES, true},
    {"what is only read, written", write_what_is_read, 0, -EACCES, true},
    {"/etc/shadow", read_passwords, 0, -EACCES, true},
};

struct seen {
    int status;     // waitpid's
    char said[400]; // on stderr
};

static bool confine(bool fatal)
{
    const struct confine_path paths[] = {
        {readable, CONFINE_READ}, {own, CONFINE_WRITE}, {"", CONFINE_READ}, {"/nowhere", 0}};
    const struct confine_calls how = {.fatal = fatal, .foreign = !fatal};
    struct err err;
    int abi;
    crash_watch();
    bool files = confine_files(paths, COUNT_OF(paths), &abi, &err) == OK;
    return files == has_files && confine_calls(&how, &err) == OK;
}

static void narrow(int kind)
{
    if (kind >= 0)
        thread_begin("tried", (enum thread_kind)kind);
}

// A child's result as its exit status: 0 for 0, else 100 + errno (modulo what fits).
static struct seen try_as(long (*run)(void), bool fatal, int kind)
{
    struct seen seen = {0};
    int pipe_fd[2];
    CHECK(pipe2(pipe_fd, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipe_fd[1], STDERR_FILENO);
        if (!confine(fatal))
            _exit(99);
        narrow(kind);
        long value = run();
        _exit(value == 0 ? 0 : (int)(100 - value) & 0xff);
    }
    close(pipe_fd[1]);
    size_t n = 0;
    ssize_t r;
    while (n < sizeof(seen.said) - 1 &&
           (r = read(pipe_fd[0], seen.said + n, sizeof(seen.said) - 1 - n)) > 0)
        n += (size_t)r;
    close(pipe_fd[0]);
    CHECK(waitpid(pid, &seen.status, 0) == pid);
    return seen;
}

static bool failed_with(const struct seen *seen, long why)
{
    int code = why == 0 ? 0 : (int)(100 - why) & 0xff;
    return WIFEXITED(seen->status) && WEXITSTATUS(seen->status) == code;
}

static void test_attempts(bool fatal)
{
    for (size_t i = 0; i < COUNT_OF(attempts); i++) {
        const struct attempt *a = &attempts[i];
        if (a->by_files && !has_files)
            continue;
        struct seen seen = try_as(a->run, fatal, -1);
        bool good = fatal && a->ends
                        ? WIFSIGNALED(seen.status) && WTERMSIG(seen.status) == a->ends &&
                              strstr(seen.said, "crash: SIGSYS: system call ") &&
                              (strstr(seen.said, a->name) || a->run == read_memory_of_init) &&
                              strstr(seen.said, " is not allowed, code at ")
                        : failed_with(&seen, a->why);
        if (!good)
            fprintf(stderr, "%s: status %x, said %s\n", a->name, seen.status, seen.said);
        CHECK(good);
    }
    struct seen seen = try_as(goes_on, fatal, -1);
    if (!failed_with(&seen, 0))
        fprintf(stderr, "status %x, said %s\n", seen.status, seen.said);
    CHECK(failed_with(&seen, 0));
}

// ---- what the kinds of threads have, beside each other -----------------------------------------

static long open_own(void)
{
    return result(open(in(own, "a"), O_RDONLY | O_CLOEXEC));
}

static long open_socket(void)
{
    return result(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static long ask_driver(void) // no descriptor: EBADF comes from behind the filter
{
    return result(ioctl(-1, 0xc0406440, NULL)); // a submission to amdgpu
}

static long compute(void)
{
    char *p = malloc(1 << 22);
    if (!p)
        return -1;
    memset(p, 1, 1 << 22);
    free(p);
    return 0;
}

static void test_kinds(void)
{
    static const struct {
        int kind;
        long (*run)(void);
        int ends;
        long why;
    } rows[] = {
        {THREAD_WORKER, compute, 0, 0},
        {THREAD_WORKER, open_own, SIGSYS, 0},
        {THREAD_WORKER, open_socket, SIGSYS, 0},
        {THREAD_WORKER, ask_driver, SIGSYS, 0},
        {THREAD_FILES, open_own, 0, 0},
        {THREAD_FILES, open_socket, 0, -EACCES},
        {THREAD_FILES, ask_driver, 0, -EPERM},
        {THREAD_ENGINE, open_own, 0, 0},
        {THREAD_ENGINE, open_socket, 0, -EACCES},
        {THREAD_ENGINE, ask_driver, 0, -EBADF},
        {THREAD_NET, open_own, 0, 0},
        {THREAD_NET, open_socket, 0, 0},
        {THREAD_NET, ask_driver, 0, -EPERM},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct seen seen = try_as(rows[i].run, true, rows[i].kind);
        bool good = rows[i].ends ? WIFSIGNALED(seen.status) && WTERMSIG(seen.status) == SIGSYS
                                 : failed_with(&seen, rows[i].why);
        if (!good)
            fprintf(stderr, "row %zu: status %x, said %s\n", i, seen.status, seen.said);
        CHECK(good);
    }
}

// ---- reports ------------------------------------------------------------------------------------

static long touch_nothing(void)
{
    *(volatile int *)(uintptr_t)0x10 = 1; // NOLINT
    return 0;
}

static __attribute__((noinline)) long fall_down(volatile char *from)
{
    volatile char here[4096];
    here[0] = from[0];
    return here[0] == 1 ? 0 : fall_down(here) + here[0];
}

static long stack_ends(void)
{
    volatile char none[1] = {0};
    return fall_down(none);
}

static void *touch_in_thread(void *arg)
{
    thread_begin("tried too", THREAD_FILES);
    touch_nothing();
    return arg;
}

static long touch_in_a_thread(void)
{
    pthread_t thread;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL); // as the server starts its threads
    if (pthread_create(&thread, NULL, touch_in_thread, NULL) != 0)
        return -1;
    pthread_join(thread, NULL);
    return 0;
}

static void test_reports(void)
{
    static const struct {
        long (*run)(void);
        const char *says, *says_too;
        int signal;
    } rows[] = {
        {touch_nothing, "crash: SIGSEGV at address 0x10, code at 0x", ", thread ", SIGSEGV},
        {touch_in_a_thread, "crash: SIGSEGV at address 0x10, code at 0x", ", thread tried too\n",
         SIGSEGV},
        {stack_ends, "crash: SIGSEGV at address 0x", " of build ", SIGSEGV},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct seen seen = try_as(rows[i].run, true, -1);
        bool good = WIFSIGNALED(seen.status) && WTERMSIG(seen.status) == rows[i].signal &&
                    strstr(seen.said, rows[i].says) && strstr(seen.said, rows[i].says_too) &&
                    !strstr(seen.said, "build unknown") && strchr(seen.said, '\n') &&
                    !strchr(seen.said, '\n')[1];
        if (!good)
            fprintf(stderr, "row %zu: status %x, said %s\n", i, seen.status, seen.said);
        CHECK(good);
    }
}

int main(void)
{
    struct confine_path none = {"", CONFINE_READ};
    struct err err;
    int abi;
    fake_begin();
    fake_file("/readable/a", "abc");
    fake_file("/own/a", "abc");
    fake_file("/other/a", "abc");
    snprintf(readable, sizeof(readable), "%s/readable", fake_root);
    snprintf(own, sizeof(own), "%s/own", fake_root);
    snprintf(other, sizeof(other), "%s/other", fake_root);
    pid_t pid = fork();
    if (pid == 0)
        _exit(confine_files(&none, 1, &abi, &err) != OK ? 0 : confine_ports(&err) == OK ? 3 : 1);
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    has_files = WEXITSTATUS(status) & 1;
    has_ports = WEXITSTATUS(status) & 2;
    if (!has_files)
        printf("this kernel has no Landlock: files are not tried\n");
    test_attempts(true);
    test_attempts(false);
    test_kinds();
    test_reports();
    if (has_ports) {
        struct seen seen = try_as(listen_anew, true, -1);
        CHECK(failed_with(&seen, -EACCES));
    }
    fake_end();
    return check_done("base_confine");
}
