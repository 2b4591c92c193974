/* become.c - from a fork of PID 1 to the engine: an ordinary user with nothing it does not need.
 *
 * uid and gid 1000, the groups video and render and no other (in a container also those of its
 * GPU's nodes), no new privileges, no core dumps, no file but its output, the heartbeat and what
 * PID 1 says, and the few variables listed here. The kernel may end it before anything else when
 * the memory is full.
 */
#include "cloud.h"
#include "engine.h"

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

#define BEAT_FD 3
#define LOG_FD 4

static _Noreturn void give_up(const char *what)
{
    dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
    _exit(126);
}

/* 0: nothing to read, 1 and 2: its output, 3: its heartbeat, 4: what PID 1 says; all else is
 * closed. */
static void arrange_files(int out_fd, int beat_fd, int log_fd)
{
    int null = open("/dev/null", O_RDONLY);
    int high_out = fcntl(out_fd, F_DUPFD, 16), high_beat = fcntl(beat_fd, F_DUPFD, 16),
        high_log = log_fd < 0 ? -1 : fcntl(log_fd, F_DUPFD, 16);

    if (null < 0 || high_out < 0 || high_beat < 0 || dup2(null, 0) < 0 || dup2(high_out, 1) < 0 ||
        dup2(high_out, 2) < 0 || dup2(high_beat, BEAT_FD) < 0) {
        _exit(126);
    }
    syscall(SYS_close_range, LOG_FD + (high_log >= 0 && dup2(high_log, LOG_FD) == LOG_FD), ~0u, 0);
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
    char state[64], conf[64], home[80], beat[40], skip[sizeof("TAWNY_SKIP_MODEL=") + 400];
    char name[sizeof("TAWNY_HOSTNAME=") + 64];
    char *const argv[] = {ENGINE_PATH, "serve", "--config", conf, "--state", state, NULL};
    char *const env[] = {"PATH=/usr/bin",
                         home,
                         "XDG_RUNTIME_DIR=" RUNTIME_DIR,
                         beat,
                         log_fd < 0 ? "TAWNY_LOG_FD=" : "TAWNY_LOG_FD=4",
                         "LANG=C.UTF-8",
                         skip,
                         name,
                         in_container() ? NULL : "TAWNY_UPDATE=/run/update/status", // and no more
                         "TAWNY_ATTACHED=" MEDIA_DIR,
                         NULL};
    struct err err;

    snprintf(state, sizeof(state), "%s", start->state);
    snprintf(conf, sizeof(conf), "%s", start->conf);
    snprintf(home, sizeof(home), "HOME=%s", state);
    snprintf(beat, sizeof(beat), "TAWNY_HEARTBEAT_FD=%d", BEAT_FD);
    snprintf(name, sizeof(name), "TAWNY_HOSTNAME=%s", start->hostname);
    snprintf(skip, sizeof(skip), "TAWNY_SKIP_MODEL=%s", start->skip_model);
    child_signals();
    setsid();
    arrange_files(out_fd, beat_fd, log_fd);
    (void)write_file("/proc/self/oom_score_adj", "500", &err); // rather it than anything else
    cgroup_enter();
    process_limit(RLIMIT_NOFILE, 8192); // 1280 connections, and files
    process_limit(RLIMIT_NPROC, 2048);
    process_limit(RLIMIT_MEMLOCK, RLIM_INFINITY);
    process_limit(RLIMIT_CORE, 0);
                         "TAWNY_CLOUD=" CLOUD_TOLD,
    umask(077);
    if (chdir(state))
        give_up(state);
    drop_privileges();
    execve(ENGINE_PATH, argv, env);
    give_up(ENGINE_PATH " could not be started");
}
