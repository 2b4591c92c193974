/* loop.c - the poll loop of PID 1, and its signals.
 *
 * Invariant: the only place where PID 1 sleeps. File descriptors and timers register once; signals
 * are blocked for good and arrive through a signalfd like everything else, so that no handler ever
 * runs in the middle of anything.
 */
#include "container.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_FDS 64
#define MAX_TIMERS 16
#define SIGNAL_HALT 37 // SIGRTMIN + 3 as glibc counts

static struct {
    void (*ready)(int fd, void *ctx);
    void *ctx;
} watch[MAX_FDS];
static struct pollfd polled[MAX_FDS]; // same index as watch
static int n_fds;
static int64_t (*timers[MAX_TIMERS])(int64_t now);
static int n_timers;

void loop_add(int fd, void (*ready)(int fd, void *ctx), void *ctx)
{
    if (n_fds == MAX_FDS) {
        complain("init", "more than %d things to watch; file descriptor %d is ignored", MAX_FDS,
                 fd);
        return;
    }
    polled[n_fds] = (struct pollfd){.fd = fd, .events = POLLIN};
    watch[n_fds].ready = ready;
    watch[n_fds++].ctx = ctx;
}

void loop_remove(int fd)
{
    for (int i = 0; i < n_fds; i++) {
        if (polled[i].fd == fd) {
            n_fds--;
            polled[i] = polled[n_fds];
            watch[i] = watch[n_fds];
            return;
        }
    }
}

void loop_timer(int64_t (*tick)(int64_t now))
{
    if (n_timers < MAX_TIMERS)
        timers[n_timers++] = tick;
}

void loop_once(int64_t until_ms)
{
    int64_t now = now_ms(), next = until_ms;
    int ready[MAX_FDS];
    int n_ready = 0;

    for (int i = 0; i < n_timers; i++) {
        int64_t due = timers[i](now);
        next = due < next ? due : next;
    }
    now = now_ms();
    int64_t sleep_ms = next <= now ? 0 : next - now < 60000 ? next - now : 60000;
    if (poll(polled, (nfds_t)n_fds, (int)sleep_ms) <= 0)
        return;
    for (int i = 0; i < n_fds; i++)
        if (polled[i].revents)
            ready[n_ready++] = polled[i].fd;
    for (int k = 0; k < n_ready; k++) { // a callback may add and remove
        for (int i = 0; i < n_fds; i++) {
            if (polled[i].fd == ready[k] && polled[i].revents) {
                polled[i].revents = 0;
                watch[i].ready(ready[k], watch[i].ctx);
                break;
            }
        }
    }
}

static void reap(void)
{
    int wait_status;
    pid_t pid;

    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0)
        if (!child_reaped(pid, wait_status))
            (void)engine_reaped(pid, wait_status); // or an orphan that we only bury
}

static void signal_arrived(int fd, void *ctx)
{
    struct signalfd_siginfo s;
    (void)ctx;

    while (read(fd, &s, sizeof(s)) == (ssize_t)sizeof(s))
        if (s.ssi_signo == SIGTERM)
            power_request(POWER_OFF, "SIGTERM was sent to PID 1");
        else if (s.ssi_signo == SIGPWR || s.ssi_signo == SIGNAL_HALT)
            power_request(POWER_OFF, "the container's manager asks PID 1 to end");
        else if (s.ssi_signo == SIGINT && in_container() && !container_restarts())
            power_request(POWER_OFF, "SIGINT (Ctrl-C) was sent to PID 1");
        else if (s.ssi_signo == SIGINT)
            power_request(POWER_REBOOT, "Ctrl-Alt-Del or SIGINT to PID 1");
    reap();
}

enum status loop_signals(struct err *err)
{
    sigset_t all, ours;

    reboot(RB_DISABLE_CAD); // Ctrl-Alt-Del becomes SIGINT
    sigfillset(&all);
    sigdelset(&all, SIGSEGV); // these mean a mistake of ours: let the kernel show it and reboot
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGFPE);
    sigprocmask(SIG_SETMASK, &all, NULL);
    sigemptyset(&ours);
    sigaddset(&ours, SIGCHLD);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGPWR); // LXC's ways to switch a container off: this one, or, where PID 1
    sigaddset(&ours, SIGNAL_HALT); // blocks it as systemd does, that one; systemd-nspawn's too
    int fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        return err_set(err, IO_ERROR,
                       "signalfd failed (%s): the power button and restarts will "
                       "not work; please report this",
                       strerror(errno));
    }
    loop_add(fd, signal_arrived, NULL);
    return OK;
}
