/* become.c - from a fork of PID 1 to the engine: an ordinary user with nothing it does not need.
 *
 * uid and gid 1000, the groups video and render and no other (in a container also those of its
 * GPU's nodes), no new privileges, no core dumps, no file but its output, its listening sockets
 * (ports.c), the heartbeat and what PID 1 says, and the few variables listed here. The kernel may
 * end it before anything else when the memory is full.
 */
#include "cloud.h"
#include "container.h"
#include "engine.h"
#include "told.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FIRST_FD 3 // of the sockets; behind them its heartbeat, then what PID 1 says

static _Noreturn void give_up(const char *what)
{
    dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
    _exit(126);
}

/* Moves a descriptor out of the way of those that are about to be put in their places. */
static int away(int fd)
{
    int high = fcntl(fd, F_DUPFD, FIRST_FD + PORTS_MOST + 2);

    if (high < 0)
        _exit(126);
    return high;
}

/* 0: nothing to read, 1 and 2: its output, from FIRST_FD on its sockets, its heartbeat, what PID 1
 * says (log_fd, unless that is -1); all else is closed. */
static void arrange_files(const struct engine_start *start, int out_fd, int beat_fd, int log_fd)
{
    int high[PORTS_MOST + 2], n = 0, null = open("/dev/null", O_RDONLY);

    for (int i = 0; i < start->n_sockets; i++)
        high[n++] = away(start->socket[i]);
    high[n++] = away(beat_fd);
    if (log_fd >= 0)
        high[n++] = away(log_fd);
    int out = away(out_fd);
    if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(126);
    for (int i = 0; i < n; i++)
        if (dup2(high[i], FIRST_FD + i) < 0)
            _exit(126);
    syscall(SYS_close_range, FIRST_FD + n, ~0u, 0);
}

/* In a container some of it may not be ours to do: we are not root in it, or it has no such ids. */
static bool take_user(void)
{
    gid_t groups[16] = {GROUP_VIDEO, GROUP_RENDER};
    int n = in_container() ? container_groups("", groups, 16) : 2;

    if (in_container() && geteuid() != 0)
        return true;
    if (!(in_container() && container_keeps_groups()) && setgroups((size_t)n, groups) &&
        !in_container())
        return false;
    return (setresgid(ENGINE_GID, ENGINE_GID, ENGINE_GID) == 0 &&
            setresuid(ENGINE_UID, ENGINE_UID, ENGINE_UID) == 0) ||
           (in_container() && errno == EINVAL);
}

/* No program that it starts (it starts none) could have any right again. Refused in containers that
 * have given them up already. */
static void forget_rights(void)
{
    for (int right = 0; right < 64 && prctl(PR_CAPBSET_DROP, right, 0, 0, 0) == 0; right++)
        ;
}

static void drop_privileges(void)
{
    forget_rights();
    if (!take_user())
        give_up("the engine's user could not be taken on");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        give_up("no_new_privs");
}

_Noreturn void engine_become(const struct engine_start *start, int out_fd, int beat_fd, int log_fd)
{
    char state[64], conf[64], home[80], beat[40], log[40], pid[40], sockets[40],
        skip[sizeof("TAWNY_SKIP_MODEL=") + 400];
    char name[sizeof("TAWNY_HOSTNAME=") + 64];
    char *const argv[] = {ENGINE_PATH, "serve", "--config", conf, "--state", state, NULL};
    char *const env[] = {"PATH=/usr/bin",
                         home,
                         "XDG_RUNTIME_DIR=" RUNTIME_DIR,
                         beat,
                         log,
                         pid,
                         sockets,
                         "LANG=C.UTF-8",
                         skip,
                         name,
                         "TAWNY_TOLD=" TOLD_DIR "/" TOLD_NAME,
                         in_container() ? NULL : "TAWNY_UPDATE=/run/update/status", // and no more
                         "TAWNY_CLOUD=" CLOUD_TOLD,
                         "TAWNY_ATTACHED=" MEDIA_DIR,
                         NULL};
    const int beat_at = FIRST_FD + start->n_sockets;
    struct err err;

    snprintf(state, sizeof(state), "%s", start->state);
    snprintf(conf, sizeof(conf), "%s", start->conf);
    snprintf(home, sizeof(home), "HOME=%s", state);
    snprintf(beat, sizeof(beat), "TAWNY_HEARTBEAT_FD=%d", beat_at);
    snprintf(log, sizeof(log), log_fd < 0 ? "TAWNY_LOG_FD=" : "TAWNY_LOG_FD=%d", beat_at + 1);
    snprintf(pid, sizeof(pid), "LISTEN_PID=%d", (int)getpid());
    snprintf(sockets, sizeof(sockets), "LISTEN_FDS=%d", start->n_sockets);
    snprintf(name, sizeof(name), "TAWNY_HOSTNAME=%s", start->hostname);
    snprintf(skip, sizeof(skip), "TAWNY_SKIP_MODEL=%s", start->skip_model);
    child_signals();
    setsid();
    arrange_files(start, out_fd, beat_fd, log_fd);
    (void)write_file("/proc/self/oom_score_adj", "500", &err); // rather it than anything else
    cgroup_enter();
    process_limit(RLIMIT_NOFILE, 8192); // 1280 connections, and files
    process_limit(RLIMIT_NPROC, 2048);
    process_limit(RLIMIT_MEMLOCK, RLIM_INFINITY);
    process_limit(RLIMIT_CORE, 0);
    umask(077);
    if (chdir(state))
        give_up(state);
    drop_privileges();
    execve(ENGINE_PATH, argv, env);
    give_up(ENGINE_PATH " could not be started");
}
