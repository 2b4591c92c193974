/* lines.c - whole lines out of a pipe. What others write there is read but not for ever, and a line
 * has a longest length: what is longer comes in pieces.
 */
#include "init.h"

#include <string.h>
#include <unistd.h>

#define MOST_READS 1024 // in one turn, of a buffer each at most: more than a pipe holds

/* A pipe that has ended is watched no more: it would be ready again and again until its process is
 * gone, which a hanging driver can delay. */
void lines_read(struct lines *l, void (*each)(void *ctx, const char *line, size_t len), void *ctx)
{
    for (int turn = 0; l->fd >= 0 && turn < MOST_READS; turn++) {
        ssize_t r = read(l->fd, l->text + l->n, sizeof(l->text) - l->n);
        char *newline;
        if (r == 0)
            loop_remove(l->fd);
        if (r <= 0)
            return;
        l->n += (size_t)r;
        while ((newline = memchr(l->text, '\n', l->n))) {
            size_t len = (size_t)(newline - l->text);
            each(ctx, l->text, len);
            l->n -= len + 1;
            memmove(l->text, newline + 1, l->n);
        }
        if (l->n == sizeof(l->text)) {
            each(ctx, l->text, l->n);
            l->n = 0;
        }
    }
}

void lines_close(struct lines *l)
{
    if (l->fd >= 0) {
        loop_remove(l->fd);
        close(l->fd);
        l->fd = -1;
        l->n = 0;
    }
}
