// bench_ops.h - `tawny bench --ops`: how fast each operation of compute.h is on the opened device.
#pragma once

#include "compute/compute.h"

// Prints one line a case, those whose text contains `word` (NULL: all), as a table or JSON lines.
MUST_USE enum status bench_ops(struct compute *compute, const char *word, bool json,
                               struct err *err);
