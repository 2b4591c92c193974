/* file.c - small files: read whole, written whole.
 *
 * replace_file never leaves half a file: it writes a new one beside the old and renames it. Both
 * readers end the text with a NUL and take at most what the caller has room for.
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum status write_file(const char *path, const char *text, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t len = strlen(text);

    if (fd < 0) {
        return err_set(err, NOT_FOUND, "%s could not be opened for writing: %s", path,
                       strerror(errno));
    }
    ssize_t n = write(fd, text, len);
    int e = errno;
    close(fd);
    if (n != (ssize_t)len)
        return err_set(err, IO_ERROR, "%s did not take \"%.40s\": %s", path, text, strerror(e));
    return OK;
}

enum status replace_file(const char *path, const char *text, size_t len, mode_t mode,
                         struct err *err)
{
    char temporary[200];

    snprintf(temporary, sizeof(temporary), "%s.new", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return err_set(err, IO_ERROR, "%s could not be made: %s", temporary, strerror(errno));
    bool good = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
    int e = errno;
    close(fd);
    if (!good || rename(temporary, path)) {
        e = good ? errno : e;
        unlink(temporary);
        return err_set(err, IO_ERROR, "%s could not be written: %s", path, strerror(e));
    }
    return OK;
}

ssize_t read_file(const char *path, char *buf, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;

    if (fd < 0)
        return -1;
    while (n < cap - 1) {
        ssize_t r = read(fd, buf + n, cap - 1 - n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        n += (size_t)r;
    }
    close(fd);
    buf[n] = 0;
    return (ssize_t)n;
}

enum status read_whole(const char *path, size_t max, char **text, size_t *len, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st)) {
        int e = errno;
        if (fd >= 0)
            close(fd);
        return err_set(err, NOT_FOUND, "%s: %s", path, strerror(e));
    }
    close(fd);
    if (st.st_size < 0 || (uintmax_t)st.st_size > max)
        return err_set(err, BAD_INPUT, "%s is larger than %zu bytes", path, max);
    char *buf = malloc((size_t)st.st_size + 1);
    ssize_t n = buf ? read_file(path, buf, (size_t)st.st_size + 1) : -1;
    if (n < 0) {
        free(buf);
        return err_set(err, IO_ERROR, "%s could not be read: %s", path, strerror(errno));
    }
    *text = buf;
    *len = (size_t)n;
    return OK;
}
