/* report.c - what is kept of the engine's crashes: STATE/crashes/TIME-N.txt.
 *
 *   time: 1795830325          seconds since 1970, as far as the clock is right
 *   reason: SIGSEGV (...)
 *   ran_s: 12
 *   devcoredump: TIME-N.gpu   only where the GPU's driver left one
 *                             (an empty line)
 *   the last lines it said, the oldest first
 *
 * The newest 16 are kept, and of the GPU's dumps the newest 2, of at most 4 MB each. The engine
 * shows them (GET /v1/crashes). All is done in a child, since a disk may be slow, and the child
 * writes as the engine's user: the folder is the engine's, and a link that it has put there leads
 * nowhere that it could not write itself.
 */
#include "container.h"
#include "engine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KEPT 16
#define KEPT_DUMPS 2
#define DUMP_BYTES (4 << 20)
#define DUMPS "/sys/class/devcoredump"
#define TEXT_BYTES (REPORT_LINES * (REPORT_LINE + 1) + 1024)

void report_line(struct report *r, const char *line, size_t len)
{
    char *to = r->line[r->n_lines++ % REPORT_LINES];

    snprintf(to, REPORT_LINE, "%.*s", (int)(len < REPORT_LINE ? len : REPORT_LINE - 1), line);
    for (; *to; to++)
        if ((unsigned char)*to < 0x20 || *to == 0x7f)
            *to = '?';
}

size_t report_text(const struct report *r, char *out, size_t cap)
{
    int n = snprintf(out, cap, "time: %lld\nreason: %s\nran_s: %lld\n", (long long)r->unix_s,
                     r->reason, (long long)(r->ran_ms / 1000));
    size_t at = n > 0 && (size_t)n < cap ? (size_t)n : 0;

    if (r->dump[0])
        n = snprintf(out + at, cap - at, "devcoredump: %s\n\n", r->dump);
    else
        n = snprintf(out + at, cap - at, "\n");
    at += n > 0 && (size_t)n < cap - at ? (size_t)n : 0;
    for (unsigned i = r->n_lines > REPORT_LINES ? r->n_lines - REPORT_LINES : 0; i < r->n_lines;
         i++) {
        n = snprintf(out + at, cap - at, "%s\n", r->line[i % REPORT_LINES]);
        if (n < 0 || (size_t)n >= cap - at)
            break;
        at += (size_t)n;
    }
    return at;
}

/* ---- the folder ---- */

static const char *wanted_ending;

static int ours(const struct dirent *e)
{
    size_t n = strlen(e->d_name), n_end = strlen(wanted_ending);

    return n > n_end && n < 48 && strspn(e->d_name, "0123456789-") == n - n_end &&
           strcmp(e->d_name + n - n_end, wanted_ending) == 0;
}

/* TIME-N: compared as numbers. */
static int older(const struct dirent **a, const struct dirent **b)
{
    char *end_a, *end_b;
    long long time_a = strtoll((*a)->d_name, &end_a, 10),
              time_b = strtoll((*b)->d_name, &end_b, 10);
    long n_a = *end_a == '-' ? strtol(end_a + 1, NULL, 10) : 0,
         n_b = *end_b == '-' ? strtol(end_b + 1, NULL, 10) : 0;

    return time_a != time_b ? (time_a < time_b ? -1 : 1) : (n_a > n_b) - (n_a < n_b);
}

void report_prune(const char *folder, const char *ending, int kept)
{
    struct dirent **found;
    char path[200];

    wanted_ending = ending;
    int n = scandir(folder, &found, ours, older);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, found[i]->d_name);
        if (i < n - kept)
            unlink(path);
        free(found[i]);
    }
    if (n >= 0)
        free(found);
}

/* ---- what the GPU's driver left ---- */

/* The first dump there is: *data, the caller's to free, and the file that is written to when it has
 * been read. */
static size_t read_dump(char **data, char done[300])
{
    DIR *dir = opendir(DUMPS);
    struct dirent *e;
    size_t n = 0;

    *data = NULL;
    while (dir && !*data && (e = readdir(dir))) {
        if (strncmp(e->d_name, "devcd", 5) != 0)
            continue;
        snprintf(done, 300, DUMPS "/%.200s/data", e->d_name);
        int fd = open(done, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || !(*data = malloc(DUMP_BYTES))) {
            close(fd);
            continue;
        }
        ssize_t r;
        while (n < DUMP_BYTES && (r = read(fd, *data + n, DUMP_BYTES - n)) > 0)
            n += (size_t)r;
        close(fd);
    }
    if (dir)
        closedir(dir);
    return n;
}

/* ---- the child ---- */

static bool become_engine(void)
{
    if (getuid() != 0)
        return true;
    (void)!setgroups(0, NULL);
    return (setresgid(ENGINE_GID, ENGINE_GID, ENGINE_GID) == 0 &&
            setresuid(ENGINE_UID, ENGINE_UID, ENGINE_UID) == 0) ||
           (in_container() && errno == EINVAL); // one that has root alone
}

static int keep(void *ctx)
{
    struct report *r = ctx;
    char folder[100], path[200], done[300], *dump;
    static char text[TEXT_BYTES];
    struct err err = {""};
    size_t n_dump = read_dump(&dump, done);

    if (n_dump) {
        struct err ignored;
        (void)write_file(done, "1",
                         &ignored); // let go of: the kernel's memory for it, and the next
        snprintf(r->dump, sizeof(r->dump), "%lld-%d.gpu", (long long)r->unix_s, r->number);
    }
    snprintf(folder, sizeof(folder), "%s/crashes", r->state);
    if (!become_engine())
        return 1;
    if (mkdir(folder, 0700) && errno != EEXIST)
        return 2;
    report_prune(folder, ".txt", KEPT - 1);
    report_prune(folder, ".gpu", KEPT_DUMPS - 1);
    snprintf(path, sizeof(path), "%s/%s", folder, r->dump);
    if (n_dump && replace_file(path, dump, n_dump, 0600, &err) != OK)
        r->dump[0] = 0;
    free(dump);
    snprintf(path, sizeof(path), "%s/%lld-%d.txt", folder, (long long)r->unix_s, r->number);
    return replace_file(path, text, report_text(r, text, sizeof(text)), 0600, &err) == OK ? 0 : 3;
}

static void kept(void *ctx, int code)
{
    (void)ctx;
    if (code != 0)
        complain("engine", "no report of its end could be kept (step %d)", code);
}

void report_keep(struct report *r, const char *state_dir, const char *reason, int64_t ran_ms)
{
    static struct report of_child; // a copy: the next engine's lines come meanwhile
    static int number;

    snprintf(r->state, sizeof(r->state), "%s", state_dir);
    snprintf(r->reason, sizeof(r->reason), "%s", reason);
    r->ran_ms = ran_ms;
    r->unix_s = (int64_t)time(NULL);
    r->number = ++number;
    r->dump[0] = 0;
    of_child = *r;
    child_start("", keep, kept, &of_child);
    r->n_lines = 0;
}
