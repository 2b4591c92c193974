// mamba2.comp - Mamba-2 over the rows of a run, with its gate; the norm is norm.comp's.
//
// x, z, to: F32 [n_tokens][n_head * HEAD_DIM]; b, c: [n_tokens][n_group * WIDTH]; dt: [n_tokens]
// [n_head]; state: [n_slots][n_head][HEAD_DIM][WIDTH]. Matches op_mamba2. Grid: (n_head, n_tokens,
// HEAD_DIM / COLUMNS): one workgroup takes COLUMNS columns of a head through the run that begins at
// its row; the state stays in registers.
//   LANES       invocations: 16 * PARTS
//   WIDTH       d_state; HEAD_DIM: multiples of 16
//   PARTS       invocations to a column, at most the smallest subgroup: 4 or 8
//   GROUP_HEADS heads that share b and c
//   C_ROW       bytes between rows of c, for which push constants have no room
//   ALIGNED     1: all of b and c is 16-aligned
// y = S' c = e^(dt a) S c + dt x (b . c): what is exchanged does not wait for the new state.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "activation.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;
layout(constant_id = 1) const uint WIDTH = 128;
layout(constant_id = 2) const uint HEAD_DIM = 64;
layout(constant_id = 3) const uint PARTS = 4;
layout(constant_id = 4) const uint GROUP_HEADS = 8;
layout(constant_id = 5) const uint C_ROW = 0;
layout(constant_id = 6) const uint ALIGNED = 1;
layout(push_constant, scalar) uniform Push { push_mamba2 p; };
#include "slots.glsl"
#include "state.glsl"

const uint COLUMNS = LANES / PARTS;

vec4 s[FOURS];

void do_row(uint h, uint t, uint column)
{
    const uint64_t b_at = p.b + uint64_t(t) * p.b_row + h / GROUP_HEADS * WIDTH * 4,
                   c_at = p.c + uint64_t(t) * C_ROW + h / GROUP_HEADS * WIDTH * 4;
    const float dt = softplus(load_f(p.dt + uint64_t(t) * p.dt_row, h * 4) + load_f(p.dt_bias, h * 4));
    const float decay = exp(dt * load_f(p.a, h * 4)), x = load_f(p.x + uint64_t(t) * p.x_row, column * 4);
    float y = 0, bc = 0;
    [[unroll]] for (uint m = 0; m < FOURS; m++) {
        const vec4 b = load_row(b_at, four_at(m)), c = load_row(c_at, four_at(m));
        y += dot(s[m], c);
        bc += dot(b, c);
        s[m] = decay * s[m] + dt * x * b;
    }
    y = over_parts(decay * y + dt * x * bc) + load_f(p.d, h * 4) * x;
    if (p.z != 0)
        y *= activation(load_f(p.z + uint64_t(t) * p.z_row, column * 4), SILU);
    if (part == 0)
        store_f(p.to + uint64_t(t) * p.to_row, column * 4, y);
}

void main()
{
    const uint h = gl_WorkGroupID.x, lane = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    uint t = gl_WorkGroupID.y;
    if (!run_begins(t))
        return;
    part = lane % PARTS;
    const uint column = h * HEAD_DIM + gl_WorkGroupID.z * COLUMNS + lane / PARTS, at = column * WIDTH * 4;
    uint64_t slot;
    const bool there = slot_before(t, slot);
    [[unroll]] for (uint m = 0; m < FOURS; m++)
        s[m] = vec4(0);
    if (there)
        [[unroll]] for (uint m = 0; m < FOURS; m++)
            s[m] = load_f4(slot, at + four_at(m));
    for (;; t++) {
        do_row(h, t, column);
        if (slot_behind(t, slot))
            [[unroll]] for (uint m = 0; m < FOURS; m++)
                store_f4(slot, at + four_at(m), s[m]);
        if (run_ends(t))
            return;
    }
}
