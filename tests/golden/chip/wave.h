// wave.h - what executes an instruction (decode.h): a wave's registers, its workgroup's LDS, the
// dispatch they belong to, and the memory that all see.
//
// A wave runs alone until it ends or reaches a barrier; run.c lets the waves of a workgroup take
// turns and workgroups run on all processors. Memory operations are done at once, so s_waitcnt and
// s_delay_alu have nothing to do. What the chip could not do, or would do to the wrong place, ends
// the run by chip_stop(), which names kernel, workgroup, wave and instruction.
#pragma once

#include "decode.h"

enum { LANES_MOST = 64, VGPRS = 256, SGPRS = 128 };

struct program { // machine code, taken apart once; insts[word offset]
    uint64_t address;
    uint32_t *words;
    size_t n_words;
    struct inst *insts;
    struct step *steps;
};

struct dispatch { // the registers that matter, as the command processor had them
    const struct program *program;
    const struct task *task; // watch.h; NULL: not the engine's
    uint32_t first_actor;    // the number of its first workgroup (watch_dispatch)
    uint32_t groups[3], start[3], threads[3];
    uint32_t last_threads[3]; // of the last workgroup of a dimension
    uint32_t rsrc1, rsrc2, rsrc3;
    uint32_t user[16];
    uint32_t lanes; // 32 or 64
};

struct group {
    const struct dispatch *dispatch;
    uint32_t id[3];
    uint32_t threads[3], n_waves, lds_bytes;
    uint8_t *lds;
    struct mark *marks;   // of LDS, one for two bytes
    uint32_t epoch;       // goes up at each barrier
    uint32_t first_epoch; // of this workgroup
    uint32_t actor;       // among all workgroups of all dispatches
};

// Who touched two bytes of LDS last, and between which barriers.
struct mark {
    uint32_t write_epoch, read_epoch;
    uint8_t writer, reader; // waves
    bool many;              // several waves read it
    bool bad;               // what was written had never been (watch.h)
};

// Who touched two bytes of memory last: numbers of workgroups (watch_dispatch).
struct memory_mark {
    uint32_t writer, reader;
};

struct wave {
    uint32_t v[VGPRS][LANES_MOST];
    uint32_t s[SGPRS]; // VCC, M0, EXEC at their operand numbers
    uint32_t scc, mode;
    // What was never written: a bit a lane for each half, a bit for each of a scalar's (defined.c).
    uint64_t v_bad[VGPRS][2];
    uint32_t s_bad[SGPRS];
    bool scc_bad;
    uint32_t lanes, id; // in the workgroup
    size_t pc;          // in words from the program's first
    bool done, at_barrier;
    struct group *group;
    const struct program *program;
    uint64_t n_steps;
};

// What does an instruction. The program counter already points behind it.
typedef void run_inst(struct wave *w, const struct inst *i);
struct step {
    run_inst *run;
};

static inline uint64_t exec_mask(const struct wave *w)
{
    return w->lanes == 32 ? w->s[REG_EXEC] : w->s[REG_EXEC] | (uint64_t)w->s[REG_EXEC + 1] << 32;
}

// A mask of lanes in scalar registers: one for waves of 32, two for waves of 64.
static inline uint64_t read_mask(const struct wave *w, unsigned reg)
{
    return w->lanes == 32 ? w->s[reg] : w->s[reg] | (uint64_t)w->s[reg + 1] << 32;
}

static inline void write_mask(struct wave *w, unsigned reg, uint64_t mask)
{
    if (reg == REG_NULL)
        return;
    w->s[reg] = (uint32_t)mask;
    if (w->lanes == 64)
        w->s[reg + 1] = (uint32_t)(mask >> 32);
}

// ---- who does what; NULL: none of theirs --------------------------------------------------------

run_inst *scalar_step(const struct inst *i);
run_inst *vector_step(const struct inst *i);
run_inst *lane_step(const struct inst *i);   // across lanes, and the matrix product
run_inst *memory_step(const struct inst *i); // SMEM, DS, GLOBAL, MUBUF

// A scalar source of n registers, 1 or 2.
uint64_t read_scalar(const struct wave *w, const struct inst *i, unsigned reg, unsigned n);

// A vector source of 32 bits as [lanes]: the register's own row or tmp[], modifiers applied (as of
// floats); DPP is applied to source 0.
const uint32_t *read_vector(const struct wave *w, const struct inst *i, const struct operand *o,
                            uint32_t tmp[LANES_MOST]);

// Pairs of bytes of LDS that were read and that no wave of the workgroup had written.
uint64_t lds_unwritten(void);

// Writes the lanes of mask.
void write_vector(struct wave *w, unsigned reg, const uint32_t *values, uint64_t mask);

// The lanes that a DPP instruction writes; values of source 0 in out[].
uint64_t dpp_lanes(const struct wave *w, const struct inst *i, const uint32_t *row,
                   uint32_t out[LANES_MOST]);

// MODE's rounding and denormals, as the processor's own; the returned one is to be given back.
unsigned float_mode_set(uint32_t mode);
void float_mode_restore(unsigned old);

// ---- run.c --------------------------------------------------------------------------------------

// Takes n words apart, of which s_endpgm is the last.
struct program *program_make(uint64_t address, const uint32_t *words, size_t n);
void program_free(struct program *p);

// Runs a wave until its end or a barrier.
void wave_run(struct wave *w);

// Takes a program apart; die()s when no s_endpgm is found in the mapping that holds the address.
const struct program *program_at(uint64_t address);
void program_forget(void); // all of them

// Runs all of it. Threads: as many as processors are allowed to this process.
void dispatch_run(const struct dispatch *d);
uint64_t dispatch_steps(void); // instructions executed by all waves so far

// "KERNEL..., workgroup, wave, instruction" of what it runs.
const char *wave_says(const struct wave *w, char out[512]);

// Ends the run: "chip: KERNEL..., workgroup, wave, instruction: why".
_Noreturn __attribute__((format(printf, 2, 3))) void chip_stop(const struct wave *w,
                                                               const char *format, ...);

// ---- vm.c: the addresses of the chip ------------------------------------------------------------

// Maps [va, va + n) to bytes of a file. Refuses (false) what overlaps a mapping.
bool vm_map(uint64_t va, uint64_t n_bytes, int fd, uint64_t offset);
void vm_unmap(uint64_t va, uint64_t n_bytes);

// The bytes at [va, va + n) or NULL; *until: the first address behind the mapping that holds va.
void *vm_at(uint64_t va, uint64_t n_bytes, uint64_t *until);

// The marks of the two bytes at va and behind, to the end of its mapping.
struct memory_mark *vm_marks(uint64_t va);
void vm_forget_marks(void);

// "no mapping holds it", or the nearest ones, for messages.
const char *vm_say(uint64_t va, char text[160]);
