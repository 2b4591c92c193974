// deaths.c - which models ended the engine while they were loaded.
//
// Before a load is begun the model's file is written down with how often loading it has begun
// without an end; when it has ended, well or with a reason, the line goes. So a line that an engine
// finds at its start counts the engines that died of it, and who asks for a model with DEATHS_MOST
// of them is refused: else each try of a client's would take the streams of all others with it.
//
// Not for the model of the start: whoever starts the engine sees to that one (verb/serve.c). The
// file is <state>/loading, of this form; it counts while the machine has not been restarted, and a
// line while the file is as it was:
//
//     the kernel's id of this boot
//     deaths, the file's bytes, when it was changed (ns), its path
//
// It is written by the engine thread, and never synced: it need outlive the process, not the power.
#include "inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEATHS_MOST = 2, LINES_MOST = 16, FILE_BYTES = 64 << 10, BOOT_BYTES = 40 };

struct death {
    struct death *next;
    int n;
    long long n_bytes, changed_ns;
    char path[2200];
};

static bool look(const char *path, long long *n_bytes, long long *changed_ns)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return false;
    *n_bytes = (long long)info.st_size;
    *changed_ns = (long long)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    return true;
}

static struct death **find(struct engine *engine, const char *path)
{
    struct death **at = &engine->deaths;
    while (*at && strcmp((*at)->path, path) != 0)
        at = &(*at)->next;
    return at;
}

static void drop(struct death **at)
{
    struct death *death = *at;
    *at = death->next;
    free(death);
}

static bool boot_id(char out[BOOT_BYTES])
{
    struct buf text;
    struct err err;
    memset(out, 0, BOOT_BYTES);
    if (file_read(&text, "/proc/sys/kernel/random/boot_id", 256, &err) != OK)
        return false;
    for (size_t i = 0; i < text.n && i < BOOT_BYTES - 1 && text.p[i] != '\n'; i++)
        out[i] = (char)text.p[i];
    buf_free(&text);
    return true;
}

static void file_of(const struct engine *engine, char out[700])
{
    snprintf(out, 700, "%s/loading", engine->sched->settings.state);
}

static long long number(const char **at)
{
    char *end;
    const long long n = strtoll(*at, &end, 10);
    *at = *end == ' ' ? end + 1 : "";
    return n;
}

// A line of the file, without its end. What is not of the form is passed over.
static void read_line(struct engine *engine, const char *line)
{
    struct death *death = mem_alloc(sizeof(*death));
    const long long n = number(&line);
    death->n_bytes = number(&line);
    death->changed_ns = number(&line);
    death->n = n > 0 && n < 1000 ? (int)n : 0;
    if (death->n > 0 && line[0] && strlen(line) < sizeof(death->path)) {
        memcpy(death->path, line, strlen(line) + 1);
        death->next = engine->deaths;
        engine->deaths = death;
    } else {
        free(death);
    }
}

void deaths_open(struct engine *engine)
{
    char path[700], boot[BOOT_BYTES];
    struct buf text;
    struct err err;
    if (!engine->sched->settings.state[0] || !boot_id(boot))
        return;
    file_of(engine, path);
    if (file_read(&text, path, FILE_BYTES, &err) != OK)
        return;
    if (buf_add(&text, "", 1) == OK && strncmp((char *)text.p, boot, strlen(boot)) == 0) {
        char *line, *rest = (char *)text.p;
        (void)strsep(&rest, "\n");
        for (int n = 0; n < LINES_MOST && (line = strsep(&rest, "\n")) != NULL; n++)
            read_line(engine, line);
    }
    buf_free(&text);
}

void deaths_close(struct engine *engine)
{
    while (engine->deaths)
        drop(&engine->deaths);
}

static void save(const struct engine *engine)
{
    char path[700], boot[BOOT_BYTES];
    struct buf text;
    int n = 0;
    if (!engine->sched->settings.state[0] || !boot_id(boot))
        return;
    file_of(engine, path);
    buf_init(&text, FILE_BYTES);
    enum status status = buf_format(&text, "%s\n", boot);
    for (const struct death *at = engine->deaths; at && status == OK && n < LINES_MOST; n++) {
        status =
            buf_format(&text, "%d %lld %lld %s\n", at->n, at->n_bytes, at->changed_ns, at->path);
        at = at->next;
    }
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text.p, text.n) != (ssize_t)text.n)
        log_warn("%s cannot be written: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    buf_free(&text);
}

enum status deaths_begin(struct engine *engine, const char *path, struct err *err)
{
    struct death **at = find(engine, path);
    long long n_bytes = 0, changed_ns = 0;
    if (!look(path, &n_bytes, &changed_ns) || strchr(path, '\n'))
        return OK; // it will be refused with its reason; or its line would be two
    if (*at && ((*at)->n_bytes != n_bytes || (*at)->changed_ns != changed_ns))
        drop(at);
    at = find(engine, path);
    if (*at && (*at)->n >= DEATHS_MOST)
        return err_set(err, UNSUPPORTED,
                       "loading %s ended the engine %d times: it is left out until its file "
                       "changes or the machine is restarted",
                       path, (*at)->n);
    if (!*at) {
        struct death *death = mem_alloc(sizeof(*death));
        *death =
            (struct death){.next = engine->deaths, .n_bytes = n_bytes, .changed_ns = changed_ns};
        snprintf(death->path, sizeof(death->path), "%s", path);
        engine->deaths = death;
        at = &engine->deaths;
    }
    (*at)->n++;
    save(engine);
    return OK;
}

void deaths_end(struct engine *engine, const char *path)
{
    struct death **at = find(engine, path);
    if (!*at)
        return;
    drop(at);
    save(engine);
}
