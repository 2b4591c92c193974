/* pulse.c - the heartbeats of the engine's threads, each for itself. Pure: times come in as
 * arguments.
 *
 * Its network thread writes both lines, `beat net` for itself and `beat compute` as long as the
 * thread that computes turns. So when the network thread hangs both fall silent, and it is the one
 * that is named; when only the other does, its line alone stays away.
 */
#include "engine.h"

#include <string.h>

static const struct {
    const char *line, *thread;
} pulses[PULSES] = {{"beat net", "network"}, {"beat compute", "compute"}};

void pulse_start(struct pulse *p, int64_t now)
{
    for (int i = 0; i < PULSES; i++)
        p->heard_ms[i] = now;
}

void pulse_line(struct pulse *p, const char *line, size_t len, int64_t now)
{
    for (int i = 0; i < PULSES; i++)
        if (strlen(pulses[i].line) == len && memcmp(pulses[i].line, line, len) == 0)
            p->heard_ms[i] = now;
}

const char *pulse_silent(const struct pulse *p, int64_t now)
{
    for (int i = 0; i < PULSES; i++)
        if (now - p->heard_ms[i] > PULSE_SILENT_MS)
            return pulses[i].thread;
    return NULL;
}
