/* child.c - what may block runs in a forked child.
 *
 * A module whose probe hangs, a mount that replays a journal on a slow stick, a file system that
 * grows to a terabyte: PID 1 waits for none of them, it is told by SIGCHLD. The child shares
 * nothing but what it inherited; its answer is its exit code.
 */
#include "ports.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_CHILDREN 64
#define SLOW_MS 20000

struct child {
    pid_t pid; // 0: free
    char name[64];
    void (*done)(void *ctx, int code);
    void *ctx;
    int (*run)(void *ctx);
    int64_t complain_ms;
};

static struct child children[MAX_CHILDREN];

void child_signals(void)
{
    sigset_t none;

    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

bool child_start(const char *name, int (*run)(void *ctx), void (*done)(void *ctx, int code),
                 void *ctx)
{
    struct child *c = NULL;

    for (int i = 0; i < MAX_CHILDREN && !c; i++)
        c = children[i].pid ? NULL : &children[i];
    if (!c)
        return false;
    log_before_fork();
    pid_t pid = fork();
    if (pid < 0) {
        complain(name, "no process could be made for it: %s", strerror(errno));
        return false;
    }
    if (pid == 0) {
        child_signals();
        log_after_fork();
        ports_close(); // one that lives on must not keep them open
        int code = run(ctx);
        log_drain();
        _exit(code);
    }
    *c = (struct child){
        .pid = pid, .done = done, .ctx = ctx, .run = run, .complain_ms = now_ms() + SLOW_MS};
    snprintf(c->name, sizeof(c->name), "%s", name);
    return true;
}

void child_end(int (*run)(void *ctx))
{
    for (int i = 0; i < MAX_CHILDREN; i++)
        if (children[i].pid && children[i].run == run && kill(-children[i].pid, SIGTERM))
            kill(children[i].pid, SIGTERM); // it leads no group (yet)
}

void child_forget(void)
{
    for (int i = 0; i < MAX_CHILDREN; i++)
        children[i].done = NULL;
}

bool child_reaped(pid_t pid, int wait_status)
{
    for (int i = 0; i < MAX_CHILDREN; i++) {
        if (children[i].pid == pid) {
            struct child c = children[i];
            children[i].pid = 0;
            log_from_children();
            if (c.done) {
                c.done(c.ctx, WIFSIGNALED(wait_status) ? -WTERMSIG(wait_status)
                                                       : WEXITSTATUS(wait_status));
            }
            return true;
        }
    }
    return false;
}

int64_t child_tick(int64_t now)
{
    int64_t next = INT64_MAX;

    for (int i = 0; i < MAX_CHILDREN; i++) {
        struct child *c = &children[i];
        if (c->pid && c->name[0] && now >= c->complain_ms) {
            complain(c->name, "is taking more than %d s; everything else goes on meanwhile",
                     SLOW_MS / 1000);
            c->complain_ms = INT64_MAX;
        }
        if (c->pid && c->name[0] && c->complain_ms < next)
            next = c->complain_ms;
    }
    return next;
}
