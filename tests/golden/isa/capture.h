// capture.h - a Vulkan entry that writes down every compute pipeline the backend makes, and what
// the driver says of its code.
//
// It takes the place of the appliance's own entry in the link, and asks that one. On stdout all
// kernels there are, "kernel NAME", then a record a pipeline: "pipeline KERNEL subgroup N spec A B
// C", a line "code" with its machine code up to s_endpgm in hexadecimal words, "statistic NAME =
// VALUE" lines, then the final intermediate code of the compiler, indented by a tab.
#pragma once

#include "compute/vulkan/entry.h"

#include <stdio.h>

extern bool capture_dispatches;

// engine/compute/vulkan/entry_static.c, under the name this link gives it.
MUST_USE enum status static_entry(struct entry *out, struct err *err);
