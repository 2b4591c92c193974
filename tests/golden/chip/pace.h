// pace.h - a chip of a given speed. With CHIP_PACE=B,I it moves B GB/s and executes I thousand
// million instructions of a wave a second; a dispatch takes 3 us and what is longer: its bytes (of
// all ranges that the engine declared) or its instructions. The engine's clock (clock_us) then
// stands still but for what submissions take, so that what it learns of their time depends on
// nothing else. Those of 0.1 ms and more are told at the end.
#pragma once

#include <stdint.h>

struct task;
void pace_dispatch(const struct task *task, uint64_t n_instructions); // task: NULL: the driver's
void pace_submitted(void); // the dispatches since the last call were one submission
