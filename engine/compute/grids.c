// grids.c - the codebooks of the IQ1, IQ2 and IQ3 formats (kernels/grids.h) for the CPU's decode.
#include "blocks.h"

#define GRIDS 63 // all
#define GRID(name, n) const uint32_t name[n] = {
#define FOUR(a, b, c, d) a, b, c, d
#define GRID_END                                                                                   \
    }                                                                                              \
    ;
#include "kernels/grids.h"
