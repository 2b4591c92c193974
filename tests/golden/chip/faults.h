// faults.h - what the kernel driver (kernel.c) plays when CHIP_FAULT says so:
//
//   hang=N     submission N and those behind it never end; whoever waits for them waits in vain
//   lost=N     submission N is refused: the chip was reset for what another context did
//   page=N     submission N ends, and the context was reset: an address that nothing is mapped at
//   memory=M   buffers of more than M MiB together are refused
//   buffer=N   the N-th buffer is refused, and no other
//
// What the file CHIP_FAULT_FILE holds, once it is there, is played too: submissions and buffers are
// counted from then on, and the file goes.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { FAULT_ADDRESS = 0x7fee0000 }; // the one of "page"

bool fault_hangs(uint64_t submission);  // 1 is the first
int fault_refuses(uint64_t submission); // 0 or a negative errno
bool fault_skips(uint64_t submission);  // it seems to be done, and is not executed
// A buffer of n_bytes, with which there are all_bytes; submission: the one that comes next.
bool fault_no_room(uint64_t n_bytes, uint64_t all_bytes, uint64_t submission);
uint64_t fault_flags(void);         // AMDGPU_CTX_QUERY2_FLAGS_*
bool fault_page(uint64_t *address); // a page fault has happened
// Sleeps until then, nanoseconds of CLOCK_MONOTONIC; false: who waits does so without an end.
bool fault_wait_until(int64_t deadline);
