// seccomp.c - which system calls each kind of thread may make: a filter program of the kernel's
// classic BPF, written out from one table.
//
// A call's number is compared with the table in turn; a few are looked at more closely (what a
// mapping may do, whom a signal is for, which driver a request goes to). What is on no list ends
// the process (SIGSYS, reported by crash.c) or fails with EPERM. A handful always fails in the way
// that libraries know how to take: clone3, whose flags a filter cannot read, is ENOSYS, and they
// use clone instead. The first filter allows what all kinds together need; a thread's own then
// takes away more, and nothing gives any of it back.
//
// Only x86-64; the numbers of 32-bit and x32 calls end the process.
#include "confine.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { W = 1, F = 2, E = 4, N = 8, START = 16, ALL = W | F | E | N, FILES = F | E | N };
enum look { NOTHING, OWN_PID, THREAD, NO_CODE, SOCKET, REQUEST, PROCESS, LIMITS, KERNEL_LOG };

static const struct call {
    int number;
    uint8_t who;
    enum look look;
} calls[] = {
    // the most frequent first
    {SYS_futex, ALL},
    {SYS_read, FILES},
    {SYS_write, ALL},
    {SYS_epoll_pwait, FILES},
    {SYS_epoll_wait, FILES},
    {SYS_recvfrom, N},
    {SYS_sendto, N},
    {SYS_ioctl, FILES, REQUEST},
    {SYS_madvise, ALL},
    {SYS_mmap, ALL, NO_CODE},
    {SYS_munmap, ALL},
    {SYS_mremap, ALL},
    {SYS_mprotect, ALL, NO_CODE},
    {SYS_brk, ALL},
    {SYS_writev, ALL},
    {SYS_sched_yield, ALL},
    {SYS_nanosleep, ALL},
    {SYS_clock_nanosleep, ALL},
    {SYS_clock_gettime, ALL},
    {SYS_clock_getres, ALL},
    {SYS_gettimeofday, ALL},
    {SYS_time, ALL},
    {SYS_rt_sigprocmask, ALL},
    {SYS_rt_sigreturn, ALL},
    {SYS_rt_sigaction, ALL},
    {SYS_sigaltstack, ALL},
    {SYS_restart_syscall, ALL},
    {SYS_getpid, ALL},
    {SYS_gettid, ALL},
    {SYS_tgkill, ALL, OWN_PID},
    {SYS_tkill, ALL}, // musl's raise(); Landlock keeps signals from other processes
    {SYS_membarrier, ALL},
    {334, ALL}, // rseq
    {SYS_set_robust_list, ALL},
    {SYS_set_tid_address, ALL},
    {SYS_sched_getaffinity, ALL},
    {SYS_getcpu, ALL},
    {SYS_prctl, ALL, PROCESS},
    {SYS_getrandom, ALL},
    {SYS_exit, ALL},
    {SYS_exit_group, ALL},
    {SYS_seccomp, ALL}, // only ever takes away
    {SYS_clone, FILES, THREAD},
    // files
    {SYS_open, FILES},
    {SYS_openat, FILES},
    {437, FILES}, // openat2
    {SYS_close, FILES},
    {436, FILES}, // close_range
    {SYS_pread64, FILES},
    {SYS_pwrite64, FILES},
    {SYS_readv, FILES},
    {SYS_preadv, FILES},
    {SYS_pwritev, FILES},
    {SYS_lseek, FILES},
    {SYS_stat, FILES},
    {SYS_fstat, FILES},
    {SYS_lstat, FILES},
    {SYS_newfstatat, FILES},
    {SYS_statx, FILES},
    {SYS_statfs, FILES},
    {SYS_fstatfs, FILES},
    {SYS_access, FILES},
    {SYS_faccessat, FILES},
    {439, FILES}, // faccessat2
    {SYS_readlink, FILES},
    {SYS_readlinkat, FILES},
    {SYS_getdents, FILES},
    {SYS_getdents64, FILES},
    {SYS_getcwd, FILES},
    {SYS_mkdir, FILES},
    {SYS_mkdirat, FILES},
    {SYS_rmdir, FILES},
    {SYS_unlink, FILES},
    {SYS_unlinkat, FILES},
    {SYS_rename, FILES},
    {SYS_renameat, FILES},
    {SYS_renameat2, FILES},
    {SYS_link, FILES},
    {SYS_linkat, FILES},
    {SYS_truncate, FILES},
    {SYS_ftruncate, FILES},
    {SYS_fallocate, FILES},
    {SYS_fadvise64, FILES},
    {SYS_fsync, FILES},
    {SYS_fdatasync, FILES},
    {SYS_sync_file_range, FILES},
    {SYS_syncfs, FILES},
    {SYS_chmod, FILES},
    {SYS_fchmod, FILES},
    {SYS_fchmodat, FILES},
    {SYS_umask, FILES},
    {SYS_utimensat, FILES},
    {SYS_flock, FILES},
    {SYS_fcntl, FILES},
    {SYS_dup, FILES},
    {SYS_dup2, FILES},
    {SYS_dup3, FILES},
    {SYS_copy_file_range, FILES},
    {SYS_sendfile, FILES},
    {SYS_inotify_init1, FILES},
    {SYS_inotify_add_watch, FILES},
    {SYS_inotify_rm_watch, FILES},
    // waiting for several things
    {SYS_poll, FILES},
    {SYS_ppoll, FILES},
    {SYS_select, FILES},
    {SYS_pselect6, FILES},
    {SYS_epoll_create1, FILES},
    {SYS_epoll_ctl, FILES},
    {SYS_eventfd2, FILES},
    {SYS_pipe, FILES},
    {SYS_pipe2, FILES},
    {SYS_timerfd_create, FILES},
    {SYS_timerfd_settime, FILES},
    {SYS_timerfd_gettime, FILES},
    // memory
    {SYS_memfd_create, FILES},
    {SYS_mincore, FILES},
    {SYS_msync, FILES},
    {SYS_mlock, FILES},
    {SYS_munlock, FILES},
    {325, FILES}, // mlock2
    // about itself and the machine
    {SYS_uname, FILES},
    {SYS_sysinfo, FILES},
    {SYS_getuid, FILES},
    {SYS_geteuid, FILES},
    {SYS_getgid, FILES},
    {SYS_getegid, FILES},
    {SYS_getresuid, FILES},
    {SYS_getresgid, FILES},
    {SYS_getgroups, FILES},
    {SYS_getppid, FILES},
    {SYS_getrusage, FILES},
    {SYS_getrlimit, FILES},
    {SYS_prlimit64, FILES, LIMITS},
    {SYS_times, FILES},
    {SYS_kill, FILES, OWN_PID},
    {SYS_setpriority, FILES},
    {SYS_getpriority, FILES},
    {SYS_sched_getparam, FILES},
    {SYS_sched_getscheduler, FILES},
    {SYS_sched_get_priority_min, FILES},
    {SYS_sched_get_priority_max, FILES},
    {SYS_sched_setscheduler, FILES},
    {SYS_sched_setaffinity, FILES},
    {SYS_syslog, FILES, KERNEL_LOG}, // the doctor reads what a GPU's driver said
    {SYS_adjtimex, FILES}, // is the time trusted? (to set it takes a right that we do not have)
    {SYS_clock_adjtime, FILES},
    {SYS_kcmp, E}, // are two descriptors one node?
    // connections
    {SYS_socket, FILES, SOCKET},
    {SYS_connect, N},
    {SYS_bind, N}, // of a name look-up's own port; confine_ports keeps it from TCP
    {SYS_accept4, N},
    {SYS_accept, N},
    {SYS_shutdown, N},
    {SYS_getsockname, N},
    {SYS_getpeername, N},
    {SYS_setsockopt, N},
    {SYS_getsockopt, N},
    {SYS_sendmsg, N},
    {SYS_recvmsg, N},
    {SYS_sendmmsg, N},
    {SYS_recvmmsg, N},
    // until it serves
    {SYS_listen, START},
    {444, START}, // landlock_create_ruleset, _add_rule, _restrict_self
    {445, START},
    {446, START},
};

// Libraries ask for these and take a no.
static const struct {
    int number, why;
} refused[] = {
    {435, ENOSYS}, // clone3
    {425, ENOSYS}, // io_uring_setup
    {SYS_get_mempolicy, ENOSYS},
    {SYS_set_mempolicy, ENOSYS},
    {SYS_mbind, ENOSYS},
    {SYS_chown, EPERM},
    {SYS_fchown, EPERM},
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; // of `confined`, for late threads
static struct {
    bool on;
    struct confine_calls how;
} confined;

// ---- the program ----------------------------------------------------------------------------

enum { MOST = 800 };
struct program {
    struct sock_filter code[MOST];
    unsigned short n;
};

static void put(struct program *program, uint16_t op, uint32_t k, uint8_t yes, uint8_t no)
{
    if (program->n == MOST)
        die("the list of system calls is longer than its program may be");
    program->code[program->n++] = (struct sock_filter){op, yes, no, k};
}

static void answer(struct program *program, uint32_t action)
{
    put(program, BPF_RET | BPF_K, action, 0, 0);
}

// Allowed if the value equals k; else on.
static void allow_if(struct program *program, uint32_t k)
{
    put(program, BPF_JMP | BPF_JEQ | BPF_K, k, 0, 1);
    answer(program, SECCOMP_RET_ALLOW);
}

static void load(struct program *program, uint32_t offset)
{
    put(program, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0);
}

static void load_argument(struct program *program, int i) // its lower 32 bits
{
    load(program, (uint32_t)(offsetof(struct seccomp_data, args) + 8 * (size_t)i));
}

static uint32_t fails(int why)
{
    return SECCOMP_RET_ERRNO | (uint32_t)why;
}

static uint32_t otherwise(const struct confine_calls *how)
{
    return how->fatal ? SECCOMP_RET_TRAP : fails(EPERM);
}

// ---- the calls that are looked at more closely: each body answers in any case -------------------

// Requests that are about files, terminals and interfaces; then those of GPUs and their buffers.
static void put_requests(struct program *program, unsigned kind, const struct confine_calls *how)
{
    static const uint32_t plain[] = {0x5401 /* TCGETS */,
                                     0x5413 /* TIOCGWINSZ */,
                                     0x541b /* FIONREAD */,
                                     0x5421 /* FIONBIO */,
                                     0x5451 /* FIOCLEX */,
                                     0x8910 /* SIOCGIFNAME */,
                                     0x8933 /* SIOCGIFINDEX */};
    static const uint8_t drivers[] = {'d', 'K', 'b', '>', 'u'}; // DRM, KFD, dma-buf, sync, udmabuf
    load_argument(program, 1);
    for (size_t i = 0; i < COUNT_OF(plain); i++)
        allow_if(program, plain[i]);
    put(program, BPF_ALU | BPF_AND | BPF_K, 0xffff, 0, 0);
    if (kind & N) { // the doctor's questions to a node: which driver, which of virtio's
        allow_if(program, 0x6400);
        allow_if(program, 0x6443);
    }
    put(program, BPF_ALU | BPF_RSH | BPF_K, 8, 0, 0);
    if ((kind & E) && how->foreign) { // any driver's, but not a terminal's
        put(program, BPF_JMP | BPF_JEQ | BPF_K, 'T', 1, 0);
        answer(program, SECCOMP_RET_ALLOW);
    }
    for (size_t i = 0; i < COUNT_OF(drivers) && (kind & E); i++)
        allow_if(program, drivers[i]);
    answer(program, fails(EPERM));
}

// IPv4 and IPv6 by TCP and UDP, and the kernel's word on addresses (netlink, protocol 0): for the
// net thread. To others the answer is no, as it is where there is no network.
static void put_socket(struct program *program, unsigned kind)
{
    if (kind & N) {
        load_argument(program, 0);
        put(program, BPF_JMP | BPF_JEQ | BPF_K, 2, 2, 0);  // AF_INET
        put(program, BPF_JMP | BPF_JEQ | BPF_K, 10, 1, 0); // AF_INET6
        put(program, BPF_JMP | BPF_JA, 6, 0, 0);
        load_argument(program, 1);
        put(program, BPF_ALU | BPF_AND | BPF_K, 0xf, 0, 0);
        allow_if(program, 1); // SOCK_STREAM
        allow_if(program, 2); // SOCK_DGRAM
        load_argument(program, 0);
        put(program, BPF_JMP | BPF_JEQ | BPF_K, 16, 0, 3); // AF_NETLINK
        load_argument(program, 2);
        allow_if(program, 0);
    }
    answer(program, fails(EACCES));
}

static void put_process(struct program *program)
{
    static const uint32_t known[] = {3 /* GET_DUMPABLE */,
                                     PR_SET_NAME,
                                     PR_GET_NAME,
                                     23 /* CAPBSET_READ */,
                                     29 /* SET_TIMERSLACK */,
                                     38 /* SET_NO_NEW_PRIVS */,
                                     39 /* GET_NO_NEW_PRIVS */,
                                     0x53564d41 /* SET_VMA */};
    load_argument(program, 0);
    for (size_t i = 0; i < COUNT_OF(known); i++)
        allow_if(program, known[i]);
    answer(program, fails(EINVAL));
}

static void put_look(struct program *program, enum look look, unsigned kind,
                     const struct confine_calls *how)
{
    switch (look) {
    case OWN_PID:
        load_argument(program, 0);
        allow_if(program, (uint32_t)getpid());
        answer(program, fails(EPERM));
        break;
    case THREAD: // a new thread of ours, in the namespaces we are in: no process
        load_argument(program, 0);
        put(program, BPF_ALU | BPF_AND | BPF_K, 0x7e030080, 0, 0);
        allow_if(program, 0x00010000); // CLONE_THREAD, and no CLONE_NEW*
        answer(program, otherwise(how));
        break;
    case NO_CODE: // memory is data, unless foreign code is made at run time
        load_argument(program, 2);
        put(program, BPF_JMP | BPF_JSET | BPF_K, how->foreign ? 0 : PROT_EXEC, 0, 1);
        answer(program, otherwise(how));
        answer(program, SECCOMP_RET_ALLOW);
        break;
    case SOCKET:
        put_socket(program, kind);
        break;
    case REQUEST:
        put_requests(program, kind, how);
        break;
    case PROCESS:
        put_process(program);
        break;
    case LIMITS: // may be asked for, not set
        load_argument(program, 2);
        put(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3);
        load(program, (uint32_t)(offsetof(struct seccomp_data, args) + 8 * 2 + 4));
        allow_if(program, 0);
        answer(program, fails(EPERM));
        break;
    default: // KERNEL_LOG: its size, and what is in it
        load_argument(program, 0);
        allow_if(program, 3);
        allow_if(program, 10);
        answer(program, fails(EPERM));
    }
}

static void write_program(struct program *program, unsigned kind, const struct confine_calls *how)
{
    program->n = 0;
    load(program, offsetof(struct seccomp_data, arch));
    put(program, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
    answer(program, SECCOMP_RET_KILL_PROCESS);
    load(program, offsetof(struct seccomp_data, nr));
    put(program, BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1);
    answer(program, SECCOMP_RET_KILL_PROCESS);
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        if (!(calls[i].who & kind))
            continue;
        if (calls[i].look == NOTHING) {
            allow_if(program, (uint32_t)calls[i].number);
            continue;
        }
        const unsigned short at = program->n;
        put(program, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i].number, 0, 0);
        put_look(program, calls[i].look, kind, how);
        program->code[at].jf = (uint8_t)(program->n - at - 1);
    }
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        put(program, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)refused[i].number, 0, 1);
        answer(program, fails(refused[i].why));
    }
    answer(program, otherwise(how));
}

static bool install(unsigned kind, const struct confine_calls *how)
{
    struct program *program = mem_alloc(sizeof(*program));
    write_program(program, kind, how);
    const struct sock_fprog text = {program->n, program->code};
    bool good = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &text) == 0;
    int why = errno;
    free(program);
    errno = why;
    return good;
}

// ---- who calls ----------------------------------------------------------------------------------

enum status confine_calls(const struct confine_calls *how, struct err *err)
{
    if (!install(ALL | START, how))
        return err_set(err, UNSUPPORTED, "the kernel takes no filter of system calls: %s",
                       strerror(errno));
    pthread_mutex_lock(&mutex);
    confined.how = *how;
    confined.on = true;
    pthread_mutex_unlock(&mutex);
    return OK;
}

void thread_begin(const char *name, enum thread_kind kind)
{
    static const uint8_t bits[] = {[THREAD_WORKER] = W,
                                   [THREAD_FILES] = W | F,
                                   [THREAD_ENGINE] = W | F | E,
                                   [THREAD_NET] = W | F | N};
    prctl(PR_SET_NAME, name, 0, 0, 0);
    crash_stack();
    pthread_mutex_lock(&mutex);
    const bool on = confined.on;
    const struct confine_calls how = confined.how;
    pthread_mutex_unlock(&mutex);
    if (on && !install(bits[kind], &how))
        log_warn("the thread %s could not be confined further: %s", name, strerror(errno));
}
