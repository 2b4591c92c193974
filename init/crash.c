/* crash.c - what the engine's ends mean: how long to wait, whom to blame, whether to leave its
 * model out. Pure: times and counts come in as arguments.
 *
 * Invariant: only service makes failures forgotten. An engine that lives for five minutes, loads
 * all that time and dies has served nobody, and its next end counts on. One that dies twice while
 * it loads a model, with no service between, would do so for ever; then it is started without that
 * model, so that /health and the page can say why. That holds until the machine restarts.
 */
#include "engine.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define SERVICE_MS 60000 // of it, without a break, and the past is forgotten
#define MODEL_DEATHS 2
#define MEMORY_MS 30000 // between the kernel's kill and the end of a process with much to give back

int backoff_s(int n)
{
    return n < 1 ? 1 : n > 5 ? 30 : 1 << (n - 1);
}

void crash_started(struct crash *c, long n_oom)
{
    c->loading = false;
    c->ready_ms = INT64_MAX;
    c->n_oom = n_oom;
    c->oom_ms = INT64_MIN; // earlier kills were not of this one
}

void crash_loading(struct crash *c)
{
    c->loading = true;
}

void crash_refused(struct crash *c)
{
    c->loading = false;
}

void crash_ready(struct crash *c, int64_t now)
{
    c->loading = false;
    c->ready_ms = now;
}

void crash_tick(struct crash *c, int64_t now, long n_oom)
{
    if (n_oom > c->n_oom)
        c->oom_ms = now;
    c->n_oom = n_oom;
    if (c->ready_ms <= now && now - c->ready_ms >= SERVICE_MS)
        c->n_failures = c->n_model_deaths = 0;
}

enum memory_kill crash_memory(const struct crash *c, int64_t now)
{
    if (c->n_oom < 0)
        return MEMORY_UNKNOWN;
    return c->oom_ms != INT64_MIN && now - c->oom_ms <= MEMORY_MS ? MEMORY_FULL : MEMORY_NOT_FULL;
}

int crash_ended(struct crash *c, const char *why)
{
    c->n_failures++;
    c->n_model_deaths += c->loading;
    c->ready_ms = INT64_MAX;
    if (c->n_model_deaths >= MODEL_DEATHS && !c->skip[0]) {
        snprintf(c->skip, sizeof(c->skip),
                 "loading it ended the engine %d times, the last time so: %s. It is left out until "
                 "the machine is restarted",
                 c->n_model_deaths, why);
    }
    return backoff_s(c->n_failures);
}

/* ---- why a process ended ---- */

static const struct {
    int number;
    const char *name, *meaning;
} signals[] = {
    {SIGSEGV, "SIGSEGV", "it touched memory that is not its own: a mistake in the program"},
    {SIGBUS, "SIGBUS", "a file it reads became shorter, or the disk could not be read"},
    {SIGILL, "SIGILL", "an instruction this processor does not have"},
    {SIGFPE, "SIGFPE", "a division by zero: a mistake in the program"},
    {SIGABRT, "SIGABRT", "it gave up by itself"},
    {SIGTRAP, "SIGTRAP", "it gave up by itself"},
    {SIGSYS, "SIGSYS", "a system call that is not allowed"},
    {SIGTERM, "SIGTERM", "something asked it to end"},
    {SIGINT, "SIGINT", "something asked it to end"},
    {SIGPIPE, "SIGPIPE", "it wrote to a closed connection: a mistake in the program"},
};

static const char *kill_reason(enum memory_kill memory)
{
    switch (memory) {
    case MEMORY_FULL:
        return "the kernel ended it because the memory was full: use a smaller model or a smaller "
               "ctx in tawny.conf, or give the machine more memory";
    case MEMORY_NOT_FULL:
        return "SIGKILL (something killed it; it was not for memory: the kernel's count of such "
               "kills did not move)";
    default:
        return "SIGKILL (something killed it; whether for memory, this kernel does not say)";
    }
}

void exit_reason(char *out, size_t cap, int wait_status, enum memory_kill memory)
{
    if (!WIFSIGNALED(wait_status)) {
        int code = WEXITSTATUS(wait_status);
        snprintf(out, cap, "it ended with exit code %d%s", code,
                 code == 0 ? " (it was not asked to)" : "");
        return;
    }
    int number = WTERMSIG(wait_status);
    if (number == SIGKILL) {
        snprintf(out, cap, "%s", kill_reason(memory));
        return;
    }
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
        if (signals[i].number == number) {
            snprintf(out, cap, "%s (%s)", signals[i].name, signals[i].meaning);
            return;
        }
    }
    snprintf(out, cap, "signal %d (%s)", number, strsignal(number));
}

long oom_kills(const char *vmstat)
{
    static const char key[] = "oom_kill ";
    const char *at = vmstat;

    while (at && strncmp(at, key, sizeof(key) - 1) != 0) {
        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }
    long n = 0;
    for (at = at ? at + sizeof(key) - 1 : NULL; at && *at >= '0' && *at <= '9'; at++)
        n = n < 1000000000 ? n * 10 + (*at - '0') : n;
    return at ? n : -1;
}
