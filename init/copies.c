/* copies.c - files that PID 1 itself looks into are copied from disks to memory by a child.
 *
 * A disk that hangs holds up whoever reads it, for minutes, and PID 1 is to feed the watchdog and
 * to obey the power button meanwhile. What the engine owns may be anything by now: no link is
 * followed, no pipe waited for.
 */
#include "copies.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONF_MOST (1 << 20)

static struct {
    bool begun, over;
    void (*done)(void); // NULL: nobody asks
    char conf[64], settings[96];
} copies;

bool copy_file(const char *from, const char *to, size_t most, struct err *err)
{
    struct stat st;
    char *text = NULL;
    size_t n = 0;
    int fd = open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT)
        return true;
    bool good = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= 0 &&
                (uintmax_t)st.st_size <= most && (text = malloc((size_t)st.st_size + 1));
    for (ssize_t r = 1; good && r != 0 && n < (size_t)st.st_size; n += (size_t)r) {
        r = read(fd, text + n, (size_t)st.st_size - n);
        if (r < 0)
            good = r = 0;
    }
    if (!good)
        (void)err_set(err, IO_ERROR, "%s cannot be read: a file of at most %zu bytes was expected",
                      from, most);
    else
        good = replace_file(to, text, n, 0600, err) == OK;
    if (fd >= 0)
        close(fd);
    free(text);
    return good;
}

static int copy_all(void *ctx)
{
    const struct {
        const char *from, *to;
        size_t most;
    } files[] = {{copies.conf, COPY_OF_CONF, CONF_MOST},
                 {copies.settings, COPY_OF_SETTINGS, CONF_MOST},
                 {DATA_DIR "/clock", COPY_OF_CLOCK, 64}};
    struct err err;
    (void)ctx;

    mkdir(COPIES, 0700);
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        unlink(files[i].to);
        if (!copy_file(files[i].from, files[i].to, files[i].most, &err))
            complain("settings", "%s; it is left out", err.text);
    }
    return 0;
}

static void copied(void *ctx, int code)
{
    (void)ctx;
    copies.over = true;
    if (code < 0)
        complain("settings", "reading them ended with signal %d", -code);
    else if (copies.done)
        copies.done();
}

void copies_again(void (*done)(void))
{
    if (!copies.begun || !copies.over)
        return;
    copies.done = done;
    copies.over = !child_start("reading the settings", copy_all, copied, NULL);
}

enum status copies_ready(const char *conf_path, const char *state)
{
    if (!copies.begun) {
        snprintf(copies.conf, sizeof(copies.conf), "%s", conf_path);
        snprintf(copies.settings, sizeof(copies.settings), "%s/settings.conf", state);
        copies.begun = child_start("reading the settings", copy_all, copied, NULL);
        copies.over = !copies.begun;
    }
    return copies.over ? OK : WAIT;
}
