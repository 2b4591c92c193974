// file.c - small files whole: read with a cap, written so that a power cut leaves the old or the
// new one.
//
// Writing: PATH.new is made (O_EXCL, its final mode from the first byte: a key is never readable by
// others), written, fsync'ed, renamed over PATH, and the directory is fsync'ed: only then is the
// new name on the disk. A PATH.new left by a power cut is removed by the next write.
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static enum status refused(struct err *err, const char *what, const char *path)
{
    enum status status = errno == ENOENT || errno == ENOTDIR ? NOT_FOUND
                         : errno == ENOSPC                   ? NO_ROOM
                                                             : IO_ERROR;
    return err_set(err, status, "%s %s: %s", what, path, strerror(errno));
}

enum status file_read(struct buf *out, const char *path, size_t cap_bytes, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return refused(err, "cannot open", path);
    struct buf buf;
    buf_init(&buf, cap_bytes);
    enum status status = OK;
    while (status == OK) {
        uint8_t piece[16384];
        ssize_t n = read(fd, piece, sizeof(piece));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status = refused(err, "cannot read", path);
        if (n <= 0)
            break;
        if (buf_add(&buf, piece, (size_t)n) != OK)
            status = err_set(err, TOO_LARGE, "%s is larger than the %zu bytes allowed for it", path,
                             cap_bytes);
    }
    close(fd);
    if (status == OK)
        *out = buf;
    else
        buf_free(&buf);
    return status;
}

uint64_t file_number(const char *path, const char *key, int base)
{
    enum { MOST = 65536 };
    struct buf text;
    uint64_t n = 0;
    if (file_read(&text, path, MOST, NULL) != OK)
        return 0;
    if (buf_add(&text, "", 1) == OK) {
        const char *p = (const char *)text.p;
        p = key ? strstr(p, key) : p;
        if (p)
            n = strtoull(p + (key ? strlen(key) : 0), NULL, base);
    }
    buf_free(&text);
    return n;
}

static enum status write_all(int fd, struct bytes content, const char *path, struct err *err)
{
    size_t done = 0;
    while (done < content.n) {
        ssize_t n = write(fd, content.p + done, content.n - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return refused(err, "cannot write", path);
        done += (size_t)n;
    }
    return OK;
}

static enum status sync_directory_of(const char *path, struct err *err)
{
    char dir[4096];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (n >= sizeof(dir))
        return err_set(err, TOO_LARGE, "path too long: %s", path);
    memcpy(dir, path, n);
    dir[n] = 0;
    const char *name = !slash ? "." : n == 0 ? "/" : dir;
    int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return refused(err, "cannot open", name);
    enum status status = OK;
    if (fsync(fd) != 0 && errno != EINVAL) // EINVAL: a file system without directory sync
        status = refused(err, "cannot sync", name);
    close(fd);
    return status;
}

enum status file_write(const char *path, struct bytes content, unsigned mode, struct err *err)
{
    char temporary[4096];
    int n = snprintf(temporary, sizeof(temporary), "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof(temporary))
        return err_set(err, TOO_LARGE, "path too long: %s", path);
    if (unlink(temporary) != 0 && errno != ENOENT)
        return refused(err, "cannot remove", temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0777u);
    if (fd < 0)
        return refused(err, "cannot make", temporary);
    enum status status = OK;
    if (fchmod(fd, mode & 0777u) != 0) // whatever the umask
        status = refused(err, "cannot set the mode of", temporary);
    if (status == OK)
        status = write_all(fd, content, temporary, err);
    if (status == OK && fsync(fd) != 0)
        status = refused(err, "cannot sync", temporary);
    if (close(fd) != 0 && status == OK)
        status = refused(err, "cannot close", temporary);
    if (status == OK && rename(temporary, path) != 0)
        status = refused(err, "cannot rename to", path);
    if (status != OK) {
        unlink(temporary);
        return status;
    }
    return sync_directory_of(path, err);
}

enum status file_make_dir(const char *path, unsigned mode, struct err *err)
{
    if (mkdir(path, mode & 0777u) == 0)
        return sync_directory_of(path, err);
    if (errno != EEXIST)
        return refused(err, "cannot make the directory", path);
    struct stat info;
    if (stat(path, &info) != 0)
        return refused(err, "cannot look at", path);
    if (!S_ISDIR(info.st_mode))
        return err_set(err, IO_ERROR, "%s is not a directory", path);
    return OK;
}

void random_bytes(void *out, size_t n)
{
    uint8_t *p = out;
    while (n) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            die("the kernel gives no random bytes: %s", strerror(errno));
        p += got;
        n -= (size_t)got;
    }
}
