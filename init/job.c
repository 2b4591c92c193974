/* job.c - what may block runs in a forked child.
 *
 * A module whose probe hangs, a mount that replays a journal on a slow stick, a file system that
 * grows to a terabyte: PID 1 waits for none of them, it is told by SIGCHLD. The child shares
 * nothing but what it inherited; its answer is its exit code.
 */
#include "init.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_JOBS 64
#define SLOW_MS 20000

struct child {
    pid_t pid; // 0: free
    char name[64];
    void (*done)(void *ctx, int code);
    void *ctx;
    int64_t complain_ms;
};

static struct child jobs[MAX_JOBS];

void child_signals(void)
{
    sigset_t none;

    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

bool job_start(const char *name, int (*run)(void *ctx), void (*done)(void *ctx, int code),
               void *ctx)
{
    struct child *j = NULL;

    for (int i = 0; i < MAX_JOBS && !j; i++)
        j = jobs[i].pid ? NULL : &jobs[i];
    if (!j)
        return false;
    pid_t pid = fork();
    if (pid < 0) {
        complain(name, "no process could be made for it: %s", strerror(errno));
        return false;
    }
    if (pid == 0) {
        child_signals();
        log_after_fork();
        int code = run(ctx);
        log_drain();
        _exit(code);
    }
    *j = (struct child){.pid = pid, .done = done, .ctx = ctx, .complain_ms = now_ms() + SLOW_MS};
    snprintf(j->name, sizeof(j->name), "%s", name);
    return true;
}

bool job_reaped(pid_t pid, int wait_status)
{
    for (int i = 0; i < MAX_JOBS; i++) {
        if (jobs[i].pid == pid) {
            struct child j = jobs[i];
            jobs[i].pid = 0;
            if (j.done) {
                j.done(j.ctx, WIFSIGNALED(wait_status) ? -WTERMSIG(wait_status)
                                                       : WEXITSTATUS(wait_status));
            }
            return true;
        }
    }
    return false;
}

int64_t job_tick(int64_t now)
{
    int64_t next = INT64_MAX;

    for (int i = 0; i < MAX_JOBS; i++) {
        struct child *j = &jobs[i];
        if (j->pid && now >= j->complain_ms) {
            complain(j->name, "is taking more than %d s; everything else goes on meanwhile",
                     SLOW_MS / 1000);
            j->complain_ms = INT64_MAX;
        }
        if (j->pid && j->complain_ms < next)
            next = j->complain_ms;
    }
    return next;
}
