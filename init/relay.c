/* relay.c - what PID 1 and its children say, told to the engine too, for GET /v1/logs: who has no
 * console reads there why a disk or a network is not used.
 *
 * A pipe of each engine's own. A new one is first told the last lines of before it. Nobody waits
 * for an engine that does not read: what finds the pipe full is not told. The engine's own lines
 * are not sent back to it.
 */
#include "init.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KEPT 100

static char kept[KEPT][440]; // a ring of whole lines
static unsigned n_kept;
/* Our reading end stays open as well, so that writing to an engine that has ended is no SIGPIPE. */
static int ends[2] = {-1, -1};

void relay_line(int level, const char *step, const char *text)
{
    char *line = kept[n_kept++ % KEPT];
    int n = snprintf(line, sizeof(kept[0]) - 1, "%d%.20s: %s", level, step, text);

    n = n < (int)sizeof(kept[0]) - 1 ? n : (int)sizeof(kept[0]) - 2;
    for (char *at = line; (at = strchr(at, '\n'));)
        *at = ' ';
    line[n] = '\n';
    line[n + 1] = 0;
    if (ends[1] >= 0)
        (void)!write(ends[1], line, (size_t)n + 1); // whole, or not at all
}

int relay_open(void)
{
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK)) {
        ends[0] = ends[1] = -1;
        return -1;
    }
    for (unsigned i = n_kept > KEPT ? n_kept - KEPT : 0; i < n_kept; i++)
        (void)!write(ends[1], kept[i % KEPT], strlen(kept[i % KEPT]));
    return ends[0];
}

void relay_close(void)
{
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0)
            close(ends[i]);
        ends[i] = -1;
    }
}
