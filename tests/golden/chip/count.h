// count.h - what a run takes, counted: instructions by the unit that executes them, cache lines
// asked of each level, clocks of LDS. Off by default. On a chip it is asked for by CHIP_COUNT=FILE
// ("-": stdout), which gets a line a dispatch: "dispatch KERNEL/LANES/CONSTANTS NAME=VALUE ..."
// (count_tell). One thread runs all workgroups then, so that the counts of a run are those of the
// next one. With CHIP_SKIP too dispatches are listed and not executed.
//
// The caches. Lines of 128 bytes, of 64 in the scalar cache; sizes from the device information;
// sets of 16 lines, of 4 in L0 and the scalar cache; the line used longest ago gives way. A compute
// unit has an L0, a workgroup processor of two units a scalar cache, a shader array an L1 that both
// ask, the chip an L2. Stores go through to L2, which keeps them until they give way; a cache keeps
// nothing that the unit's own store has made old. What is asked of memory are lines that L2 has not
// (loads) or gives up written; the 32 MB behind it on gfx1151 count as memory. Workgroup i runs on
// processor i % N, shader arrays in turn, waves on its units in turn.
//
// What is not as on a chip: a workgroup runs to its end before the next one begins, and a wave to
// its next barrier, where the chip has up to 16 waves a SIMD under way. So L0 and L1 keep more here
// than there (a bound from below on what they ask for); what is asked of L0, and, for weights that
// are read once, of L2 and memory, does not depend on it. Instructions are not fetched.
//
// LDS: 32 banks of 4 bytes a unit. 32 lanes of a word are served together, 16 of two, 8 of three or
// four; they take a clock for each different word of the bank that is asked for most.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct dispatch;
struct inst;
struct wave;

enum unit { // UNIT_REST: waits, hints, s_barrier, s_endpgm: no unit executes them
    UNIT_SALU,
    UNIT_VALU,
    UNIT_TRANS, // exp, log, rcp, rsq, sqrt, sin, cos
    UNIT_WMMA,
    UNIT_VMEM,
    UNIT_LDS,
    UNIT_SMEM,
    UNIT_BRANCH,
    UNIT_REST,
    N_UNITS
};
enum level { LEVEL_L0, LEVEL_SCALAR, LEVEL_L1, LEVEL_L2, LEVEL_MEMORY, N_LEVELS };

struct count_chip {
    uint32_t n_arrays, n_wgps; // of workgroup processors, in each array
    uint32_t l0_bytes, scalar_bytes, l1_bytes, l2_bytes;
};

struct counts {                       // of a dispatch
    uint64_t instructions[N_UNITS];   // that waves executed
    uint64_t n_pairs;                 // of VALU's: two operations each
    uint64_t n_slow;                  // of VALU's: products of 32 bits, at a quarter of the rate
    uint64_t lanes, lanes_most;       // of VALU's: that were active, of all
    uint64_t valu_clocks;             // 1 an instruction and 32 lanes, 4 where slow; TRANS apart
    uint64_t valu_clocks_most;        // of the workgroup processor that has most; it has 4 SIMDs
    uint64_t asked[N_LEVELS];         // lines, loads and stores
    uint64_t written;                 // of memory's
    uint64_t loaded, stored;          // bytes, between registers and memory
    uint64_t lds_clocks, n_conflicts; // clocks; of these beyond one
    uint64_t weights[N_LEVELS]; // of asked: lines of weights, buffers of WEIGHTS_LEAST at least
                                // that no dispatch writes
    uint64_t weight_lines;      // different ones
    uint64_t n_barriers, n_waits, n_invalidations; // s_barrier of waves; before the dispatch
};
enum { WEIGHTS_LEAST = 65536 };

extern bool count_on;
extern struct counts counts; // since count_begin

void count_open(const struct count_chip *chip); // counts from now on
void count_begin(void);                         // a dispatch; what caches hold stays
void count_end(void);
void count_tell(FILE *f, const struct dispatch *d);

// Between dispatches: waves are waited for; caches are emptied.
void count_wait(void);
void count_invalidate(bool l0, bool scalar, bool l1);

// What a wave is about to execute.
void count_step(const struct wave *w, const struct inst *i);
// Its touches of memory, n bytes a lane of exec; of a scalar load; of LDS.
void count_memory(const struct wave *w, const struct inst *i, const uint64_t *va, uint64_t exec,
                  uint32_t n);
void count_scalar(const struct wave *w, uint64_t va, uint32_t n);
void count_lds(const uint32_t *address, uint64_t exec, unsigned lanes, uint32_t n);
