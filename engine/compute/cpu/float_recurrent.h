// float_recurrent.h - the F32 arithmetic of recurrent layers, one row of a sequence at a time,
// over the `vf` of a simd_*.h; included behind float_body.h.
//
// A state's rows are columns of v (of x in Mamba-2), so that each is read and written by itself:
// what a row of the batch needs of it are dot products along it. States are multiples of 16 wide
// (compute.h), which every vector divides.
#include "cpu.h"

static void conv(float *out, const float *const *taps, const float *w, const float *bias,
                 int n_conv, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES) {
        vf sum = bias ? vf_load(bias + i) : vf_set(0);
        for (int j = 0; j < n_conv; j++)
            sum = vf_fma(vf_load(w + j * n + i), vf_load(taps[j] + i), sum);
        vf_store(out + i, sum);
    }
    for (; i < n; i++) {
        float sum = bias ? bias[i] : 0;
        for (int j = 0; j < n_conv; j++)
            sum += w[j * n + i] * taps[j][i];
        out[i] = sum;
    }
}

static void unit_length(float *out, const float *x, float times, float eps_length, int64_t n)
{
    const float length = sqrtf(sum_of_squares(x, 0, n));
    const float factor = times / (length < eps_length ? eps_length : length); // NaN stays
    for (int64_t i = 0; i < n; i++)
        out[i] = x[i] * factor;
}

static void delta(const struct delta_step *step)
{
    const vf decay = vf_set(step->decay);
    for (int32_t r = 0; r < step->n_rows; r++) {
        float *s = step->state + (int64_t)r * step->d_k;
        vf seen = vf_set(0), out = vf_set(0);
        for (int32_t i = 0; i < step->d_k; i += VF_LANES)
            seen = vf_fma(vf_load(s + i), vf_load(step->k + i), seen);
        const vf change = vf_set(step->beta * (step->v[r] - step->decay * vf_sum(seen)));
        for (int32_t i = 0; i < step->d_k; i += VF_LANES) {
            const vf now = vf_fma(change, vf_load(step->k + i), decay * vf_load(s + i));
            vf_store(s + i, now);
            out = vf_fma(now, vf_load(step->q + i), out);
        }
        step->out[r] = vf_sum(out);
    }
}

static void scan(const struct scan_step *step)
{
    const vf decay = vf_set(step->decay);
    for (int32_t r = 0; r < step->n_rows; r++) {
        float *s = step->state + (int64_t)r * step->d_state;
        const vf x = vf_set(step->dt * step->x[r]);
        vf out = vf_set(0);
        for (int32_t i = 0; i < step->d_state; i += VF_LANES) {
            const vf now = vf_fma(x, vf_load(step->b + i), decay * vf_load(s + i));
            vf_store(s + i, now);
            out = vf_fma(now, vf_load(step->c + i), out);
        }
        step->out[r] = vf_sum(out) + step->d * step->x[r];
    }
}
