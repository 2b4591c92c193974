// pace.c - see pace.h. The link puts this clock_us() around the engine's.
#include "pace.h"

#include "watch.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOLD_MOST = 65536 };
static const double launch_s = 3e-6, told_s = 1e-4;

uint64_t __real_clock_us(void);
uint64_t __wrap_clock_us(void);

static double bytes_per_s, instructions_per_s; // 0: as fast as it goes
static double submission_s, all_s;             // the submission that is being executed; all before
static float told[TOLD_MOST];
static size_t n_told;
static uint64_t began_us;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void read_it(void)
{
    const char *text = getenv("CHIP_PACE");
    if (!text)
        return;
    char *end;
    bytes_per_s = strtod(text, &end);
    instructions_per_s = *end == ',' ? strtod(end + 1, &end) : 0;
    if (*end || !(bytes_per_s > 0) || !(instructions_per_s > 0)) {
        fprintf(stderr, "chip: CHIP_PACE takes two numbers like 256,100, not \"%s\"\n", text);
        exit(2);
    }
    bytes_per_s *= 1e9, instructions_per_s *= 1e9;
    began_us = __real_clock_us();
}

static bool is_paced(void)
{
    pthread_once(&once, read_it);
    return bytes_per_s > 0;
}

void pace_dispatch(const struct task *task, uint64_t n_instructions)
{
    uint64_t n_bytes = 0;
    if (!is_paced())
        return;
    for (int i = 0; i < SPANS_MOST && task; i++)
        n_bytes += task->read[i].n_bytes + task->write[i].n_bytes;
    const double move_s = (double)n_bytes / bytes_per_s,
                 compute_s = (double)n_instructions / instructions_per_s;
    submission_s += launch_s + (move_s > compute_s ? move_s : compute_s);
}

void pace_submitted(void)
{
    if (submission_s >= told_s && n_told < TOLD_MOST)
        told[n_told++] = (float)submission_s;
    all_s += submission_s;
    submission_s = 0;
}

uint64_t __wrap_clock_us(void)
{
    return is_paced() ? began_us + (uint64_t)(all_s * 1e6) : __real_clock_us();
}

__attribute__((destructor)) static void tell(void)
{
    if (n_told == 0)
        return;
    fprintf(stderr, "chip: submissions took");
    for (size_t i = 0; i < n_told; i++)
        fprintf(stderr, " %.1f", (double)told[i] * 1e3);
    fprintf(stderr, " ms\n");
}
