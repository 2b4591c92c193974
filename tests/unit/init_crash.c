/* init_crash.c - what the engine's ends mean: back-off, forgetting, the model that is left out, and
 * when memory is blamed.
 */
#include "../../init/engine.h"
#include "check.h"

#include <signal.h>

static const int64_t minute = 60000;

static void explains_ends(void)
{
    char why[200];

    exit_reason(why, sizeof(why), 3 << 8, MEMORY_NOT_FULL);
    CHECK(strstr(why, "exit code 3"));
    exit_reason(why, sizeof(why), SIGSEGV, MEMORY_FULL);
    CHECK(strstr(why, "SIGSEGV") && strstr(why, "mistake") && !strstr(why, "full"));
    exit_reason(why, sizeof(why), SIGKILL, MEMORY_FULL);
    CHECK(strstr(why, "the memory was full") && strstr(why, "smaller model"));
    exit_reason(why, sizeof(why), SIGKILL, MEMORY_NOT_FULL);
    CHECK(strstr(why, "SIGKILL") && strstr(why, "not for memory") && !strstr(why, "model"));
    exit_reason(why, sizeof(why), SIGKILL, MEMORY_UNKNOWN);
    CHECK(strstr(why, "SIGKILL") && strstr(why, "does not say") && !strstr(why, "model"));
    exit_reason(why, sizeof(why), SIGUSR2, MEMORY_NOT_FULL);
    CHECK(strstr(why, "signal 12"));
    static const int want[] = {1, 1, 2, 4, 8, 16, 30, 30};
    for (int n = 0; n < 8; n++)
        CHECK(backoff_s(n) == want[n]);
    CHECK(backoff_s(1000000) == 30);
}

static void counts_the_kernels_kills(void)
{
    CHECK(oom_kills("nr_free_pages 1\noom_kill 12\nunevictable 0\n") == 12);
    CHECK(oom_kills("oom_kill 0\n") == 0);
    CHECK(oom_kills("oom_kill 7") == 7);
    CHECK(oom_kills("") == -1 && oom_kills("xoom_kill 3\n") == -1);
    CHECK(oom_kills("oom_kill 99999999999999999999999\n") > 0);
}

/* Memory is blamed only for a kill the kernel has just counted. */
static void blames_memory(void)
{
    struct crash c = {0};
    int64_t t = 5000;

    crash_started(&c, 3); // there were three before it
    CHECK(crash_memory(&c, t) == MEMORY_NOT_FULL);
    crash_tick(&c, t, 3);
    CHECK(crash_memory(&c, t) == MEMORY_NOT_FULL);
    crash_tick(&c, t + 1000, 4); // just before its end
    CHECK(crash_memory(&c, t + 1000) == MEMORY_FULL);
    crash_tick(&c, t + 6000, 4); // a big process takes its time to end
    CHECK(crash_memory(&c, t + 6000) == MEMORY_FULL);
    crash_tick(&c, t + 10 * minute, 4); // somebody else was killed then; it lived on
    CHECK(crash_memory(&c, t + 10 * minute) == MEMORY_NOT_FULL);
    crash_started(&c, 5); // the last one's end does not count for this one
    CHECK(crash_memory(&c, t + 10 * minute) == MEMORY_NOT_FULL);
    crash_started(&c, -1);
    crash_tick(&c, t, -1);
    CHECK(crash_memory(&c, t) == MEMORY_UNKNOWN);
}

/* Loads for five minutes and dies, again and again: never forgotten. */
static void remembers_without_service(void)
{
    struct crash c = {0};
    static const int want[] = {1, 2, 4, 8, 16, 30, 30};
    int64_t t = 1000;

    for (int n = 0; n < 7; n++) {
        crash_started(&c, 0);
        for (int64_t end = t + 5 * minute; t < end; t += 5000)
            crash_tick(&c, t, 0);
        CHECK(crash_ended(&c, "it ended with exit code 1") == want[n]);
    }
    CHECK(!c.skip[0]); // it was never loading a model
    crash_started(&c, 0);
    crash_ready(&c, t);
    crash_tick(&c, t + 59000, 0);
    CHECK(crash_ended(&c, "x") == 30); // less than a minute of service
    crash_started(&c, 0);
    crash_tick(&c, t + 10 * minute, 0); // its predecessor's service is not its own
    CHECK(crash_ended(&c, "x") == 30);
    crash_started(&c, 0);
    crash_ready(&c, t);
    crash_tick(&c, t + 60000, 0);
    CHECK(crash_ended(&c, "x") == 1);
}

static void end_while_loading(struct crash *c, const char *why)
{
    crash_started(c, 0);
    crash_loading(c);
    (void)crash_ended(c, why);
}

static void leaves_the_model_out(void)
{
    struct crash c = {0};

    end_while_loading(&c, "first reason");
    CHECK(c.n_model_deaths == 1 && !c.skip[0]);
    end_while_loading(&c, "second reason");
    CHECK(strstr(c.skip, "2 times") && strstr(c.skip, "second reason"));
    CHECK(strstr(c.skip, "until the machine is restarted"));
    char kept[sizeof(c.skip)];
    memcpy(kept, c.skip, sizeof(kept));
    end_while_loading(&c, "third reason");
    CHECK_TEXT(c.skip, kept);

    c = (struct crash){0}; // what ends behind `ready` or `failed` is not the model's loading
    for (int i = 0; i < 4; i++) {
        crash_started(&c, 0);
        crash_loading(&c);
        if (i % 2)
            crash_ready(&c, 0);
        else
            crash_refused(&c);
        (void)crash_ended(&c, "x");
    }
    CHECK(c.n_model_deaths == 0 && !c.skip[0] && c.n_failures == 4);

    c = (struct crash){0}; // a minute of service between the two
    end_while_loading(&c, "x");
    crash_started(&c, 0);
    crash_loading(&c);
    crash_ready(&c, 1000);
    crash_tick(&c, 1000 + minute, 0);
    (void)crash_ended(&c, "x");
    end_while_loading(&c, "x");
    CHECK(c.n_model_deaths == 1 && !c.skip[0]);
    char longest[600];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    end_while_loading(&c, longest);
    CHECK(strlen(c.skip) == sizeof(c.skip) - 1);
}

int main(void)
{
    explains_ends();
    counts_the_kernels_kills();
    blames_memory();
    remembers_without_service();
    leaves_the_model_out();
    return check_done("init_crash");
}
