/* init_report.c - what PID 1 keeps of the engine's ends: the text of a report, how many are kept,
 * and a whole one written by the child that report_keep starts.
 */
#include "../../init/engine.h"
#include "check.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct report report;

static void lines(int n)
{
    char line[300];

    for (int i = 0; i < n; i++) {
        int len = snprintf(line, sizeof(line), "line %d", i);
        report_line(&report, line, (size_t)len);
    }
}

static void test_text(void)
{
    static char out[20000];
    char longest[REPORT_LINE + 50];

    memset(&report, 0, sizeof(report));
    snprintf(report.reason, sizeof(report.reason), "SIGSEGV (a mistake)");
    report.unix_s = 1795830325;
    report.ran_ms = 12345;
    lines(3);
    report_line(&report, "with \033[31mcolour\tand\x7f", 22);
    size_t n = report_text(&report, out, sizeof(out));
    CHECK(n == strlen(out));
    CHECK(strcmp(out, "time: 1795830325\nreason: SIGSEGV (a mistake)\nran_s: 12\n\n"
                      "line 0\nline 1\nline 2\nwith ?[31mcolour?and?\n") == 0);
    lines(REPORT_LINES + 7);
    snprintf(report.dump, sizeof(report.dump), "1795830325-1.gpu");
    CHECK(report_text(&report, out, sizeof(out)) == strlen(out));
    CHECK(strstr(out, "\ndevcoredump: 1795830325-1.gpu\n\nline 7\nline 8\n"));
    CHECK(strstr(out, "line 46\n") && !strstr(out, "line 6\n"));
    memset(longest, 'x', sizeof(longest));
    report_line(&report, longest, sizeof(longest)); /* cut, whatever follows it */
    CHECK(report_text(&report, out, sizeof(out)) == strlen(out));
    for (size_t cap = 1; cap < 400; cap++) { /* never more than there is room for */
        memset(out, 'Z', cap + 1);
        CHECK(report_text(&report, out, cap) < cap);
        CHECK(out[cap] == 'Z');
    }
}

static int count(const char *folder, const char *ending)
{
    DIR *dir = opendir(folder);
    struct dirent *e;
    int n = 0;

    while (dir && (e = readdir(dir)))
        n += strstr(e->d_name, ending) != NULL;
    if (dir)
        closedir(dir);
    return n;
}

static bool is_there(const char *folder, const char *name)
{
    char path[200];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static void test_prune(void)
{
    static const char *const names[] = {"900-1.txt", "1000-1.txt",    "1000-2.txt", "1000-10.txt",
                                        "99-3.txt",  "1000-3.gpu",    "notes.txt",  "1-2.txt.new",
                                        "12x-1.txt", "../outside.txt"};
    char folder[] = "/tmp/tawny-report-XXXXXX", path[200];

    CHECK(mkdtemp(folder) != NULL);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names) - 1; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        fclose(fopen(path, "w"));
    }
    report_prune(folder, ".txt", 5);
    CHECK(count(folder, "") == 9 + 2); /* and . and .. */
    report_prune(folder, ".txt", 2);
    CHECK(is_there(folder, "1000-10.txt") && is_there(folder, "1000-2.txt"));
    CHECK(!is_there(folder, "1000-1.txt") && !is_there(folder, "900-1.txt") &&
          !is_there(folder, "99-3.txt"));
    CHECK(is_there(folder, "1000-3.gpu") && is_there(folder, "notes.txt") &&
          is_there(folder, "1-2.txt.new") && is_there(folder, "12x-1.txt"));
    report_prune(folder, ".gpu", 0);
    CHECK(!is_there(folder, "1000-3.gpu"));
    report_prune("/nowhere/at/all", ".txt", 0);
}

static void test_keep(void)
{
    char state[] = "/tmp/tawny-state-XXXXXX", folder[100], path[200], text[4096] = "";
    int status;
    pid_t pid;

    CHECK(mkdtemp(state) != NULL && chmod(state, 0777) == 0);
    for (int i = 0; i < 18; i++) {
        report_line(&report, "the last words", 14);
        report_keep(&report, state, "it ended with exit code 70", 61000);
        CHECK(report.n_lines == 0);
        while ((pid = waitpid(-1, &status, 0)) > 0)
            CHECK(child_reaped(pid, status) && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    snprintf(folder, sizeof(folder), "%s/crashes", state);
    CHECK(count(folder, ".txt") == 16);
    snprintf(path, sizeof(path), "%s/%lld-18.txt", folder, (long long)report.unix_s);
    FILE *f = fopen(path, "r");
    CHECK(f && fread(text, 1, sizeof(text) - 1, f) > 0);
    CHECK(strstr(text, "\nreason: it ended with exit code 70\nran_s: 61\n\nthe last words\n"));
    if (f)
        fclose(f);
}

int main(void)
{
    test_text();
    test_prune();
    test_keep();
    return check_done("init_report");
}
