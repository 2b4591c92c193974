// scribe.c - the thread that writes the API's files: keys, settings and the audit log.
//
// It sleeps on its ring; what is pushed there is its own. Writings happen in the order in which
// they were given. The end is a writing without a path, behind all others.
#include "scribe.h"
#include "base/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 256 };

struct writing {
    uint64_t id;
    char path[600]; // "": the end
    struct buf content;
    size_t append_cap_bytes;                         // 0: the file is replaced
    enum status (*deed)(void *arg, struct err *err); // instead of a writing; NULL: it is one
    void *arg;                                       // the deed's
    struct err err;
};

struct scribe {
    struct ring *inbox, *outcomes;
    pthread_t thread;
};

static void writing_close(struct writing *writing)
{
    buf_free(&writing->content);
    free(writing);
}

static enum status append(const struct writing *writing, struct err *err)
{
    char old[640];
    struct stat info;
    snprintf(old, sizeof(old), "%s.1", writing->path);
    if (stat(writing->path, &info) == 0 &&
        (uint64_t)info.st_size + writing->content.n > writing->append_cap_bytes &&
        rename(writing->path, old) != 0)
        return err_set(err, IO_ERROR, "%s cannot be renamed: %s", writing->path, strerror(errno));
    int fd = open(writing->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(err, IO_ERROR, "%s cannot be opened: %s", writing->path, strerror(errno));
    ssize_t n = write(fd, writing->content.p, writing->content.n);
    bool good = n == (ssize_t)writing->content.n && fsync(fd) == 0;
    int code = errno;
    close(fd);
    if (!good)
        return err_set(err, IO_ERROR, "%s cannot be written: %s", writing->path, strerror(code));
    return OK;
}

static void write_one(struct writing *writing)
{
    enum status status =
        writing->deed ? writing->deed(writing->arg, &writing->err)
        : writing->append_cap_bytes
            ? append(writing, &writing->err)
            : file_write(writing->path, buf_view(&writing->content), 0600, &writing->err);
    if (status != OK && !writing->deed)
        log_error("not kept: %s", writing->err.text);
    if (status == OK)
        writing->err.status = OK;
}

static void *thread_main(void *arg)
{
    struct scribe *scribe = arg;
    thread_begin("scribe", THREAD_FILES);
    for (bool go_on = true; go_on;) {
        struct writing *writing;
        ring_wait(scribe->inbox);
        while ((writing = ring_pop(scribe->inbox)) != NULL) {
            go_on = writing->path[0] != 0 || writing->deed;
            if (go_on)
                write_one(writing);
            if (!writing->id || ring_push(scribe->outcomes, writing) != OK)
                writing_close(writing); // SLOTS outcomes are not taken: nobody waits for them
        }
    }
    return NULL;
}

void scribe_open(struct scribe **out)
{
    struct scribe *scribe = mem_alloc(sizeof(*scribe));
    sigset_t all, before;
    ring_open(&scribe->inbox, SLOTS);
    ring_open(&scribe->outcomes, 2 * SLOTS);
    sigfillset(&all); // signals are the main thread's
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&scribe->thread, NULL, thread_main, scribe);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code)
        die("the thread that writes keys cannot be started: %s", strerror(code));
    *out = scribe;
}

static bool push(struct scribe *scribe, struct writing *writing)
{
    if (ring_push(scribe->inbox, writing) == OK)
        return true;
    log_error("%s is not written: the disk is too slow", writing->deed ? "it" : writing->path);
    writing_close(writing);
    return false;
}

static bool give(struct scribe *scribe, uint64_t id, const char *path, struct buf *content,
                 size_t append_cap_bytes)
{
    struct writing *writing = mem_alloc(sizeof(*writing));
    writing->id = id;
    snprintf(writing->path, sizeof(writing->path), "%s", path);
    writing->content = *content;
    writing->append_cap_bytes = append_cap_bytes;
    *content = (struct buf){0};
    return push(scribe, writing);
}

bool scribe_do(struct scribe *scribe, uint64_t id, enum status (*deed)(void *arg, struct err *err),
               void *arg)
{
    struct writing *writing = mem_alloc(sizeof(*writing));
    writing->id = id;
    writing->deed = deed;
    writing->arg = arg;
    return push(scribe, writing);
}

bool scribe_write(struct scribe *scribe, uint64_t id, const char *path, struct buf *content)
{
    return give(scribe, id, path, content, 0);
}

bool scribe_append(struct scribe *scribe, const char *path, struct buf *content, size_t cap_bytes)
{
    return give(scribe, 0, path, content, cap_bytes);
}

int scribe_fd(const struct scribe *scribe)
{
    return ring_fd(scribe->outcomes);
}

bool scribe_take(struct scribe *scribe, struct scribed *out)
{
    struct writing *writing = ring_pop(scribe->outcomes);
    if (!writing)
        return false;
    *out = (struct scribed){.id = writing->id, .err = writing->err};
    writing_close(writing);
    return true;
}

void scribe_close(struct scribe *scribe)
{
    struct scribed outcome;
    if (!scribe)
        return;
    struct writing *end = mem_alloc(sizeof(*end));
    while (ring_push(scribe->inbox, end) != OK) {
        struct timespec moment = {.tv_nsec = 10000000};
        nanosleep(&moment, NULL);
    }
    pthread_join(scribe->thread, NULL);
    while (scribe_take(scribe, &outcome))
        ;
    ring_close(scribe->inbox);
    ring_close(scribe->outcomes);
    free(scribe);
}
