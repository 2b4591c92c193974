/* confine.c - what a child of PID 1 gives up before it looks at what strangers wrote, be it from
 * the network or from a hypervisor's disk: root, every capability, new processes, all files or all
 * but reading them, and all system calls but those listed here. What its parser may do wrong stays
 * within it.
 */
#include "init.h"

#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EMPTY "/run/empty"

void process_limit(int what, uint64_t value)
{
    struct rlimit r = {value, value};
    setrlimit(what, &r);
}

/* What libc's resolver, UDP and waiting need. Everything else answers EPERM. */
static const int allowed[] = {
    SYS_read,
    SYS_readv,
    SYS_write,
    SYS_writev,
    SYS_close,
    SYS_poll,
    SYS_ppoll,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_sendto,
    SYS_sendmsg,
    SYS_bind,
    SYS_connect,
    SYS_getsockname,
    SYS_setsockopt,
    SYS_getsockopt,
    SYS_clock_gettime,
    SYS_gettimeofday,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigaction,
    SYS_exit,
    SYS_exit_group,
    SYS_mmap,
    SYS_munmap,
    SYS_mremap,
    SYS_brk,
    SYS_madvise,
    SYS_open,
    SYS_openat,
    SYS_fstat,
    SYS_newfstatat,
    SYS_lseek,
    SYS_fcntl,
    SYS_getpid,
    SYS_gettid,
    SYS_getrandom,
    SYS_futex,
    SYS_ioctl,
    SYS_uname,
    SYS_getuid,
    SYS_restart_syscall,
    SYS_getdents64,
};
#define MOST_CALLS 64
_Static_assert(sizeof(allowed) / sizeof(*allowed) <= MOST_CALLS, "the filter has room for them");

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IF_NOT(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (skip))
#define IF(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (skip), 0)
#define ANSWER(what) BPF_STMT(BPF_RET | BPF_K, (what))

bool confine_calls(const int *list, size_t n_list, bool network)
{
    struct sock_filter code[MOST_CALLS * 2 + 16] = {
        LOAD(arch),
        IF(AUDIT_ARCH_X86_64, 1),
        ANSWER(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
        IF_NOT(SYS_socket, 5), // of the network, and of no other kind
        LOAD(args),
        IF(AF_INET, 2),
        IF(AF_INET6, 1),
        ANSWER(SECCOMP_RET_ERRNO | EPERM),
        ANSWER(SECCOMP_RET_ALLOW),
    };
    unsigned short n = network ? 10 : 4;

    if (n_list > MOST_CALLS)
        return false;
    for (size_t i = 0; i < n_list; i++) {
        code[n++] = (struct sock_filter)IF_NOT((uint32_t)list[i], 1);
        code[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
    }
    code[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ERRNO | EPERM);
    struct sock_fprog program = {n, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

bool confine(int keep_fd, bool without_files)
{
    /* The one descriptor that it needs becomes 3; all others, the consoles too, are closed. */
    if (dup2(keep_fd, 3) < 0 || syscall(SYS_close_range, 4, ~0u, 0) ||
        syscall(SYS_close_range, 0, 2, 0)) {
        return false;
    }
    if (without_files && ((mkdir(EMPTY, 0555) && errno != EEXIST) || chroot(EMPTY) || chdir("/")))
        return false;
    process_limit(RLIMIT_CORE, 0);
    process_limit(RLIMIT_FSIZE, 0);
    process_limit(RLIMIT_NOFILE, 32);
    process_limit(RLIMIT_NPROC, 0);
    process_limit(RLIMIT_AS, 64 << 20);
    return setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
           setresuid(NOBODY, NOBODY, NOBODY) == 0 &&
           confine_calls(allowed, sizeof(allowed) / sizeof(*allowed), true);
}
