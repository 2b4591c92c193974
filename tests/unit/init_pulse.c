/* init_pulse.c - which of the engine's threads is silent, and from when on.
 */
#include "../../init/engine.h"
#include "check.h"

static void beat(struct pulse *p, const char *line, int64_t now)
{
    pulse_line(p, line, strlen(line), now);
}

int main(void)
{
    struct pulse p;
    const int64_t most = PULSE_SILENT_MS;

    pulse_start(&p, 1000); // it has that long to say the first word
    CHECK(!pulse_silent(&p, 1000 + most) && pulse_silent(&p, 1001 + most));
    beat(&p, "beat net", 50000);
    beat(&p, "beat compute", 50000);
    CHECK(!pulse_silent(&p, 50000 + most));
    beat(&p, "beat net", 100000); // the thread that computes hangs
    CHECK(!pulse_silent(&p, 50000 + most));
    CHECK_TEXT(pulse_silent(&p, 50001 + most), "compute");
    beat(&p, "beat compute", 50000 + most);
    CHECK(!pulse_silent(&p, 50001 + most));
    beat(&p, "beat compute", 200000);
    CHECK_TEXT(pulse_silent(&p, 200000), "network");
    beat(&p, "beat", 200001); // no other line is a sign of life
    beat(&p, "beat network", 200001);
    beat(&p, "beat ne", 200001);
    beat(&p, "loading", 200001);
    beat(&p, "", 200001);
    CHECK_TEXT(pulse_silent(&p, 200001), "network");
    pulse_start(&p, 300000); // we slept
    CHECK(!pulse_silent(&p, 300000 + most));
    CHECK_TEXT(pulse_silent(&p, 300001 + most),
               "network"); // both are: the one that writes for both
    return check_done("init_pulse");
}
