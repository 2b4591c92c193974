// lanes.h - the arithmetic of a vector instruction over the lanes of a wave, without its registers
// (vector.c reads and writes those).
#pragma once

#include "decode.h"

// d[l] = what the operation makes of a[l], b[l], c[l], for l < n. d holds the old values of the
// destination (v_fmac reads them). Floats as bits. MODE's rounding and denormals are the
// processor's while it runs.
typedef void lane_operation(uint32_t *restrict d, const uint32_t *a, const uint32_t *b,
                            const uint32_t *c, unsigned n);

// NULL: the operation is none of lanes on their own. A comparison gives 1 or 0.
lane_operation *lane_operation_of(enum op op);

// Whether sources and result are floats of 32 bits: then OMOD and clamping may be asked for.
bool lane_is_float(enum op op);

// sums[n] += row[k] * b[k][n] for k = 0 ... 15, each product added with one rounding, in order.
void add_products(uint32_t sums[16], const float row[16], const float b[16][16]);

// f16 <-> f32, denormals kept; rounding as MODE says for halves.
float half_to_float(uint16_t h);
uint16_t float_to_half(float f, unsigned rounding);
