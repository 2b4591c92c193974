/* init_supervise.c - PID 1's supervisor over real processes: small children that speak on the
 * heartbeat as the engine does, and end as it might. engine_become below stands in for become.c,
 * which would take on the engine's user and start its program.
 */
#include "../../init/engine.h"
#include "check.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_STARTS 8

static struct seen { // shared with the children
    int n_starts;
    volatile bool asked; // the third is to end, as its administrator wants it
    char skip[MOST_STARTS][400];
    bool told[MOST_STARTS];
} *seen;

static void tell(int fd, const char *line)
{
    (void)!write(fd, line, strlen(line));
}

_Noreturn void engine_become(const struct engine_start *start, int out_fd, int beat_fd, int log_fd)
{
    int n = seen->n_starts++;
    char said[4096];

    child_signals();
    ssize_t got = read(log_fd, said, sizeof(said) - 1); // what PID 1 said before
    said[got > 0 ? got : 0] = 0;
    seen->told[n] = strstr(said, "6net: eth0 has a cable\n") &&
                    strstr(said, "4data: of a child\n") && !strstr(said, "engine: reading");
    snprintf(seen->skip[n], sizeof(seen->skip[n]), "%s", start->skip_model);
    tell(out_fd, "reading the model\n");
    tell(beat_fd, "beat net\nbeat compute\n");
    if (!start->skip_model[0]) {
        tell(beat_fd, "loading\n");
        if (n == 0)
            _exit(7);
        raise(SIGKILL);
    }
    tell(beat_fd, "failed\n");
    while (!seen->asked || n != 2)
        usleep(10000);
    tell(beat_fd, "restart\n");
    _exit(0);
}

static void turn(void)
{
    int wait_status;
    pid_t pid;

    loop_once(now_ms() + 20);
    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0)
        CHECK(engine_reaped(pid, wait_status) || child_reaped(pid, wait_status));
}

static int talks(void *ctx)
{
    (void)ctx;
    complain("data", "of a child");
    say("data", "%s", "with\x01\nbytes that are none of a line");
    for (int i = 0; i < 50; i++)
        say("data", "line %d of many", i);
    return 3;
}

static int child_code;

static void talked(void *ctx, int code)
{
    (void)ctx;
    say("data", "the child has ended");
    child_code = code;
}

/* What PID 1 said goes to the standard error as long as it has no console: here to a file. */
static char *run(FILE *said)
{
    int before = dup(STDERR_FILENO);
    int64_t end = now_ms() + 20000;

    dup2(fileno(said), STDERR_FILENO);
    say("net", "eth0 has a cable");
    CHECK(child_start("talks", talks, talked, NULL));
    while (now_ms() < end && !child_code)
        turn();
    engine_start("/run/tawny", "/etc/tawny.conf", "tawny");
    while (now_ms() < end && !engine_answers())
        turn();
    dup2(before, STDERR_FILENO);
    close(before);
    char *text = calloc(1, 65536);
    rewind(said);
    if (text)
        (void)!fread(text, 1, 65535, said);
    return text;
}

int main(void)
{
    seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    FILE *said = tmpfile();
    if (seen == MAP_FAILED || !said)
        return 1;
    loop_timer(engine_tick);
    int64_t began = now_ms();
    char *text = run(said);
    int64_t took = now_ms() - began;

    CHECK(seen->n_starts == 3 && took >= 3000); // 1 s and 2 s of waiting
    CHECK(!seen->skip[0][0] && !seen->skip[1][0] && strstr(seen->skip[2], "2 times"));
    CHECK(strstr(text, "engine: reading the model"));
    const char *first = strstr(text, "data: of a child\n"), *last = strstr(text, "line 49 of many"),
               *over = strstr(text, "data: the child has ended");
    CHECK(child_code == 3 && first && last && over && first < last && last < over);
    CHECK(strstr(text, "data: with  bytes that are none of a line\n"));
    CHECK(seen->told[0] && seen->told[1] && seen->told[2]);
    CHECK(strstr(text, "exit code 7. Its last words: reading the model"));
    CHECK(strstr(text, "starts again in 1 s\n"));
    CHECK(strstr(text, "starts again in 2 s, without its model"));
    /* Somebody's SIGKILL: memory is not blamed, as long as no process of this machine was killed
     * for it just then. */
    CHECK(strstr(text, "something killed it") || strstr(text, "the memory was full"));
    CHECK(engine_running() && engine_answers() && !engine_ready());

    int failures = engine_failures();
    struct conf c; // nobody has that address
    conf_defaults(&c);
    snprintf(c.listen, sizeof(c.listen), "192.0.2.77:20443");
    c.listen_http[0] = 0;
    ports_want(&c);
    seen->asked = true;
    for (int64_t end = now_ms() + 10000; now_ms() < end && seen->n_starts < 4;)
        turn();
    CHECK(seen->n_starts == 4 && engine_failures() == failures);

    for (int k = 1; k <= 2; k++) // and nobody gets it for ten minutes
        (void)ports_tick(now_ms() + k * 700000ll);
    for (int64_t end = now_ms() + 10000; now_ms() < end && seen->n_starts < 5;)
        turn();
    for (int64_t end = now_ms() + 10000; now_ms() < end && !engine_answers();)
        turn();
    CHECK(seen->n_starts == 5 && engine_failures() == failures && engine_answers());

    engine_stop(true);
    for (int64_t end = now_ms() + 5000; now_ms() < end && engine_running();)
        turn();
    CHECK(!engine_running());
    for (int i = 0; i < 60; i++)
        turn();
    CHECK(seen->n_starts == 5); // stopped is stopped
    free(text);
    fclose(said);
    return check_done("init_supervise");
}
