// bandwidth.c - how fast this process can copy and read memory with all of its threads.
//
// The buffers are far larger than any cache; the best of a few passes counts, since what disturbs a
// pass only ever slows it.
#include "cpu.h"

#include <stdlib.h>
#include <string.h>

enum { BYTES = 128 << 20, PIECE = 1 << 20, PASSES = 3 };

static void run_copy(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    (void)cpu, (void)thread;
    memcpy(task->bandwidth.to + (size_t)chunk * PIECE, task->bandwidth.from + (size_t)chunk * PIECE,
           PIECE);
}

// Sums words, so that nothing can be left out; the sum goes where one byte of it is looked at.
static void run_read(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    (void)cpu, (void)thread;
    const uint64_t *p =
        (const uint64_t *)(const void *)(task->bandwidth.from + (size_t)chunk * PIECE);
    uint64_t sum[8] = {0};
    for (size_t i = 0; i < PIECE / sizeof(*p); i += 8)
        for (int k = 0; k < 8; k++)
            sum[k] ^= p[i + (size_t)k];
    for (int k = 1; k < 8; k++)
        sum[0] ^= sum[k];
    task->bandwidth.to[(size_t)chunk * PIECE] = (uint8_t)sum[0];
}

// Bytes moved a second, the best of PASSES.
static double measure(struct cpu *cpu, task_run *run, struct args_bandwidth args, double n_bytes)
{
    double best = 0;
    for (int pass = 0; pass < PASSES; pass++) {
        cpu->n_tasks = 0;
        cpu_task(cpu, run, BYTES / PIECE)->bandwidth = args;
        uint64_t from_us = clock_us();
        pool_run(cpu->pool, cpu->tasks, cpu->n_tasks);
        double per_s = n_bytes * 1e6 / (double)(clock_us() - from_us + 1);
        best = per_s > best ? per_s : best;
    }
    cpu->n_tasks = 0;
    return best;
}

enum status cpu_bandwidth(struct compute *compute, double *copy_bytes_per_s,
                          double *read_bytes_per_s, struct err *err)
{
    struct cpu *cpu = (struct cpu *)compute;
    struct args_bandwidth args = {.from = aligned_alloc(CPU_LINE, BYTES),
                                  .to = aligned_alloc(CPU_LINE, BYTES)};
    enum status status = OK;
    if (!args.from || !args.to) {
        status = err_set(err, NO_ROOM, "%d MiB of memory wanted to measure its speed",
                         2 * (BYTES >> 20));
    } else {
        memset(args.from, 1, BYTES);
        memset(args.to, 1, BYTES);
        *copy_bytes_per_s = measure(cpu, run_copy, args, 2.0 * BYTES);
        *read_bytes_per_s = measure(cpu, run_read, args, BYTES);
    }
    free(args.from);
    free(args.to);
    return status;
}
