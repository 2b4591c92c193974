// watch.h - what only an emulator sees: reads of what was never written, touches outside of a
// buffer or of what the engine declared, and two workgroups or dispatches at one place of memory
// without a barrier between. Each is told once for an instruction, on stderr:
//
//   chip: found: KERNEL, workgroup, wave, word, "instruction": what
//
// tasks.c says what the engine knows (its buffers, the kernel and the ranges of a dispatch);
// defined.c follows through registers what was never written. Known by the engine or not, the
// addresses are those of vm.c.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wave;
struct span {
    uint64_t address, n_bytes; // n_bytes 0: none
};
enum { SPANS_MOST = 8 };
struct task { // a dispatch, as the engine recorded it
    uint32_t id;
    char kernel[48], spec[120]; // spec: its constants, "128.32.1"
    struct span read[SPANS_MOST], write[SPANS_MOST];
};

// ---- tasks.c; a program without an engine has none ----------------------------------------------

// In front of each dispatch of the engine stands one of no workgroups: this number in the second
// dimension, the task's in the first.
enum { TASK_MARK = 0xc41f };
const struct task *task_of(uint32_t id); // NULL: not known any more
void tasks_before_submit(void);          // tells watch_buffers() what there is now

struct known_buffer {
    struct span span;
    bool written; // by some dispatch; weights never are
};
// The engine's buffers and the blocks that they lie in, both rising; kept until the next call.
void watch_buffers(const struct known_buffer *buffers, size_t n, const struct span *blocks,
                   size_t n_blocks);

// ---- memory, for memory.c -----------------------------------------------------------------------

extern bool watch_stops; // a finding ends the run
uint64_t watch_n_found(void);
__attribute__((format(printf, 3, 4))) void watch_found(const struct wave *w, const char *kind,
                                                       const char *format, ...);

// The bytes at [va, va + n), which some mapping must hold. Tells what is wrong with the touch.
uint8_t *watch_memory(const struct wave *w, unsigned lane, uint64_t va, uint32_t n, bool write);
// The bytes of the engine's buffer that holds va; 0: there is none, or dispatches write it.
uint64_t watch_read_only(const struct wave *w, uint64_t va);
void watch_forget(void); // this thread's last places: mappings may have changed

// A dispatch gets numbers for its workgroups; what was written before is seen by it when waves were
// waited for (order) and caches invalidated (visible).
uint32_t watch_dispatch(const struct task *task, uint64_t n_groups);
void watch_order(void);
void watch_visible(void);

// What fresh memory of the engine holds: a word that no computation gives.
enum { NEVER_WRITTEN = 0x7fbadbad };
bool never_written(const uint8_t *at, uint32_t n); // any word that [at, at + n) is part of

// ---- defined.c ----------------------------------------------------------------------------------

struct inst;
void defined_begin(struct wave *w, uint32_t n_scalars); // of them, and v0, a wave is told the value
// What becomes of "was never written" by an instruction that is about to run; memory apart.
void defined_step(struct wave *w, const struct inst *i);
