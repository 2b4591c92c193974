// base_log.c - the lines that are kept: in order and numbered, by level and number, from several
// threads at once, long ones cut, and notes that stderr is not shown. And how die() ends.
#include "../../engine/base/base.h"
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct log_line lines[LOG_KEPT + 10];

static void test_read(void)
{
    const size_t before = log_read(lines, LOG_KEPT, 0, LOG_DEBUG, false);
    CHECK(before == 0);
    log_info("one %d", 1);
    log_debug("this is not kept, as it is not told");
    log_warn("two\n\x01 lines");
    log_note("three");
    CHECK(log_read(lines, 10, 0, LOG_DEBUG, false) == 3);
    CHECK_TEXT(lines[0].text, "one 1");
    CHECK_TEXT(lines[1].text, "two   lines");
    CHECK_TEXT(lines[2].text, "three");
    CHECK(lines[0].number == 1 && lines[2].number == 3 && lines[2].at_ms >= lines[0].at_ms);
    CHECK(lines[1].level == LOG_WARN && lines[2].level == LOG_INFO);
    CHECK(log_read(lines, 10, 0, LOG_WARN, false) == 1 && lines[0].number == 2);
    CHECK(log_read(lines, 10, 2, LOG_DEBUG, false) == 1 && lines[0].number == 3);
    CHECK(log_read(lines, 2, 0, LOG_DEBUG, false) == 2 && lines[0].number == 1);
    CHECK(log_read(lines, 2, 0, LOG_DEBUG, true) == 2 && lines[0].number == 2);
    CHECK(log_read(lines, 2, 3, LOG_DEBUG, true) == 0);
    CHECK(log_read(lines, 2, UINT64_MAX, LOG_DEBUG, true) == 0);
    CHECK(log_read(lines, 0, 0, LOG_DEBUG, true) == 0);
}

static void test_long(void)
{
    char text[2000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    log_info("%s", text);
    CHECK(log_read(lines, 1, 0, LOG_DEBUG, true) == 1);
    CHECK(strlen(lines[0].text) == LOG_TEXT_BYTES - 1);
    CHECK_TEXT(lines[0].text + LOG_TEXT_BYTES - 5, "x...");
}

static void *write_many(void *arg)
{
    for (int i = 0; i < 1500; i++)
        log_note("%s %d", (const char *)arg, i);
    return NULL;
}

static void test_many(void)
{
    pthread_t threads[3];
    static char names[3][2] = {"a", "b", "c"};
    int next[3] = {-1, -1, -1};
    const uint64_t before = log_last();
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, write_many, names[i]) == 0);
    for (int i = 0; i < 100; i++) { // while they write
        const size_t n = log_read(lines, LOG_KEPT, before, LOG_DEBUG, false);
        for (size_t k = 1; k < n; k++)
            if (lines[k].number != lines[k - 1].number + 1)
                CHECK(false);
    }
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    const size_t n = log_read(lines, LOG_KEPT, before, LOG_DEBUG, false);
    CHECK(n == LOG_KEPT);
    for (size_t i = 0; i < n; i++) { // each thread's in its order, none twice, none missing
        const int who = lines[i].text[0] - 'a', at = (int)strtol(lines[i].text + 2, NULL, 10);
        CHECK(who >= 0 && who < 3 && (next[who] < 0 || at == next[who]));
        next[who] = at + 1;
    }
}

// A crowd of lines does not push out a warning of before it; that keeps its place in the order.
static void test_grave(void)
{
    const uint64_t before = log_last();
    log_warn("first");
    log_note("lost");
    log_error("second");
    for (int i = 0; i < LOG_KEPT; i++)
        log_note("crowd %d", i);
    CHECK(log_read(lines, LOG_KEPT + 10, before, LOG_DEBUG, false) == LOG_KEPT + 2);
    CHECK_TEXT(lines[0].text, "first");
    CHECK_TEXT(lines[1].text, "second");
    CHECK_TEXT(lines[2].text, "crowd 0");
    CHECK(lines[1].number == before + 3 && lines[2].number == before + 4);
    CHECK(log_read(lines, 10, before + 1, LOG_WARN, false) == 1 && lines[0].number == before + 3);
    CHECK(log_read(lines, 10, before + 3, LOG_WARN, true) == 0);
    CHECK(log_read(lines, 1, before, LOG_WARN, true) == 1 && lines[0].number == before + 3);
    CHECK(log_read(lines, 3, before, LOG_DEBUG, true) == 3 && lines[2].number == log_last());
    for (int i = 0; i < LOG_KEPT_GRAVE + 5; i++)
        log_warn("warning %d", i);
    for (int i = 0; i < LOG_KEPT; i++)
        log_note("crowd");
    CHECK(log_read(lines, LOG_KEPT + 10, 0, LOG_WARN, false) == LOG_KEPT_GRAVE);
    CHECK_TEXT(lines[0].text, "warning 5");
}

// What is a note is no line on stderr, unless the level is debug.
static void test_shown(void)
{
    char text[200] = "";
    int ends[2], before = dup(STDERR_FILENO);
    CHECK(pipe(ends) == 0 && fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    dup2(ends[1], STDERR_FILENO);
    log_note("hidden");
    log_level_set(LOG_DEBUG);
    log_note("shown");
    log_level_set(LOG_INFO);
    dup2(before, STDERR_FILENO);
    CHECK(read(ends[0], text, sizeof(text) - 1) > 0);
    CHECK(strstr(text, "info  shown\n") && !strstr(text, "hidden"));
}

static int told;
static void tell(void)
{
    CHECK(write(told, "x", 1) == 1);
}

// What die() does first is done once, and the process ends with its code.
static void test_die(void)
{
    int ends[2], status = 0;
    char text[4];
    CHECK(pipe(ends) == 0);
    const pid_t child = fork();
    if (child == 0) {
        told = ends[1];
        die_first(tell);
        die("as it should");
    }
    close(ends[1]);
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 70);
    CHECK(read(ends[0], text, sizeof(text)) == 1);
    close(ends[0]);
}

int main(void)
{
    test_die();
    test_read();
    test_long();
    test_many();
    test_grave();
    test_shown();
    return check_done("base_log");
}
