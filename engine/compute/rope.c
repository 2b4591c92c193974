// rope.c - how fast each pair of dimensions turns: every scaling scheme ends here, in one table
// that all implementations read.
//
// A speed is kept as a 64-bit fraction of a revolution a position. Position times speed, modulo
// 2^64, is then the exact phase of that table, however long the context: a device needs no double
// precision for it, only a 64-bit product.
#include "compute.h"

#include <math.h>

#define TWO_PI 6.283185307179586476925

// The pair that turns `n_turns` times within the context the model was trained on (fractional).
static double pair_of(double n_turns, int32_t n_rot, const struct rope_scaling *s)
{
    return n_rot * log(s->n_ctx_orig / (n_turns * TWO_PI)) / (2 * log((double)s->freq_base));
}

// How far pair i is left alone: 1 up to the pair that turns beta_fast times, 0 from the one that
// turns beta_slow times, a line between.
static double left_alone(int32_t i, int32_t n_rot, const struct rope_scaling *s)
{
    double low = fmax(floor(pair_of((double)s->beta_fast, n_rot, s)), 0);
    double high = fmin(ceil(pair_of((double)s->beta_slow, n_rot, s)), n_rot - 1);
    double way = (i - low) / fmax(high - low, 0.001);
    return 1 - fmin(fmax(way, 0), 1);
}

void rope_turns(int32_t *turns, float *magnitude, int32_t n_rot, const struct rope_scaling *scaling)
{
    *magnitude = scaling->attn_factor > 0 ? scaling->attn_factor : 1;
    if (scaling->yarn)
        *magnitude *= (float)(1 + 0.1 * log(1 / (double)scaling->freq_scale));
    for (int32_t i = 0; i < n_rot / 2; i++) {
        double scale = scaling->freq_scale, alone = 0;
        if (scaling->yarn)
            alone = left_alone(i, n_rot, scaling);
        double radians = pow(scaling->freq_base, -2.0 * i / n_rot) * (scale + (1 - scale) * alone);
        if (scaling->freq_factors)
            radians /= (double)scaling->freq_factors[i];
        double revolutions = radians / TWO_PI;
        uint64_t fraction = (uint64_t)ldexp(revolutions - floor(revolutions), 64);
        turns[2 * i] = (int32_t)(uint32_t)(fraction >> 32);
        turns[2 * i + 1] = (int32_t)(uint32_t)fraction;
    }
}
