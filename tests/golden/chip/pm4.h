// pm4.h - the command processor: PM4 packets executed in order, each done before the next.
#pragma once

#include <stdint.h>

// Runs the commands at an address. A packet, or a register of the compute unit, that is not known
// ends the run with its number.
void pm4_run(uint64_t va, uint32_t n_bytes);

// What ran so far; told on stderr when the process ends.
struct pm4_counts {
    uint64_t n_buffers, n_packets, n_dispatches, n_groups, n_acquires;
    uint64_t n_dispatches_of[2]; // of waves of 32, of 64
};
extern struct pm4_counts pm4_counts;
