// conv.comp - causal convolution of each channel by itself over the rows of runs, with its gates.
//
// x, before, after, to: F32 [n_tokens][n_channels]; weight: [n_channels][N_CONV]; state: [n_slots]
// [PAST][n_channels]. Matches op_conv. Grid: (n_channels / LANES, n_tokens); an invocation is
// a channel.
//   LANES   invocations
//   N_CONV  taps, 2 .. 8, with -DAPART DILATION rows apart; PAST rows before a run are read, at most 15
//   MODE    ROWS: one row of `to`; slots are only read. For prompts, all rows at once.
//           STATES: of the run that begins at the row all slots that are written, behind ROWS.
//           BOTH: the run's rows and slots, one after the other: for few rows
// What stood before the run is loaded before anything is written: a run may write the slot it read.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "activation.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;
layout(constant_id = 1) const uint N_CONV = 4;
layout(constant_id = 2) const uint MODE = 0;
#ifdef APART
layout(constant_id = 3) const uint DILATION = 3;
#else
const uint DILATION = 1;
#endif
layout(push_constant, scalar) uniform Push { push_conv p; };
#include "slots.glsl"
const uint ROWS = 0, STATES = 1, BOTH = 2, PAST = (N_CONV - 1) * DILATION;

float past[PAST]; // before the run, the oldest first
uint channel;

float input_at(uint t)
{
    const float x = load_f(p.x + uint64_t(t) * p.x_row, channel * 4);
    return p.before != 0 ? x * load_f(p.before + uint64_t(t) * p.before_row, channel * 4) : x;
}

void load_past(uint begin)
{
    uint64_t slot;
    const bool there = slot_before(begin, slot);
    [[unroll]] for (uint j = 0; j < PAST; j++)
        past[j] = there ? load_f(slot, (j * p.n_channels + channel) * 4) : 0;
}

// The input `back` rows before row t of a run that begins at `begin`; registers have no index.
float tap(uint t, uint begin, uint back)
{
    if (t >= begin + back)
        return input_at(t - back);
    const uint at = PAST + t - begin - back;
    float v = past[0];
    [[unroll]] for (uint j = 1; j < PAST; j++)
        v = j == at ? past[j] : v;
    return v;
}

void make_row(uint t, uint begin)
{
    float sum = p.bias != 0 ? load_f(p.bias, channel * 4) : 0;
    [[unroll]] for (uint j = 0; j < N_CONV; j++)
        sum += load_f(p.weight, channel * p.weight_row + j * 4) * tap(t, begin, PAST - j * DILATION);
    if (p.silu != 0)
        sum = activation(sum, SILU);
    if (p.after != 0)
        sum *= load_f(p.after + uint64_t(t) * p.after_row, channel * 4);
    store_f(p.to + uint64_t(t) * p.to_row, channel * 4, sum);
}

void write_slot(uint t, uint begin)
{
    uint64_t slot;
    if (slot_behind(t, slot))
        [[unroll]] for (uint j = 0; j < PAST; j++)
            store_f(slot, (j * p.n_channels + channel) * 4, tap(t, begin, PAST - 1 - j));
}

void main()
{
    channel = gl_GlobalInvocationID.x;
    uint t = gl_WorkGroupID.y;
    if (channel >= p.n_channels)
        return;
    if (MODE == ROWS) {
        uint begin = t;
        while (begin + PAST > t && !run_begins(begin))
            begin--;
        if (begin + PAST > t)
            load_past(begin);
        make_row(t, begin);
        return;
    }
    if (!run_begins(t))
        return;
    const uint begin = t;
    load_past(begin);
    for (;; t++) {
        if (MODE == BOTH)
            make_row(t, begin);
        write_slot(t, begin);
        if (run_ends(t))
            return;
    }
}
