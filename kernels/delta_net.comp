// delta_net.comp - the gated delta rule over the rows of a run, and behind it the gated norm.
//
// q, k: F32 [n_tokens][N_HEAD_K * WIDTH]; v, z, to: [n_tokens][N_HEAD * D_V]; state: [n_slots]
// [N_HEAD][D_V][WIDTH]. Matches op_delta_net. Grid: (N_HEAD, n_tokens): one workgroup takes a head
// through the run that begins at its row; the state stays in registers.
//   LANES    invocations: D_V * PARTS, or a half, a quarter of it
//   WIDTH    d_k; D_V: multiples of 16, at most 256
//   PARTS    invocations to a column, at most the smallest subgroup: 4 or 8
//   N_HEAD_K, GROUPED, PAIR_HEADS  which q, k, alpha, beta belong to a head (compute.h)
//   *_ROW    bytes between rows: a model's constants, and push constants have no room for them
//   ALIGNED  1: all of q and k is 16-aligned
// The gate of z is SiLU, with -DZ_SIGMOID the sigmoid alone.
// With lengths a, b of q and k in front, o = S' q = e^g S q + change (k . q), so that one round of
// exchanges gives S k, S q, k . q, |q| and |k| together. At one row the state is the work: 2 D_V *
// WIDTH * 4 bytes a head, all of it under way at once. Prompts are bound by the latency of a row.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "activation.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 512;
layout(constant_id = 1) const uint WIDTH = 128;
layout(constant_id = 2) const uint D_V = 128;
layout(constant_id = 3) const uint PARTS = 4;
layout(constant_id = 4) const uint N_HEAD = 32;
layout(constant_id = 5) const uint N_HEAD_K = 16;
layout(constant_id = 6) const uint GROUPED = 0;
layout(constant_id = 7) const uint PAIR_HEADS = 0;
layout(constant_id = 8) const uint Q_ROW = 0;
layout(constant_id = 9) const uint K_ROW = 0;
layout(constant_id = 10) const uint V_ROW = 0;
layout(constant_id = 11) const uint Z_ROW = 0;
layout(constant_id = 12) const uint ALPHA_ROW = 0;
layout(constant_id = 13) const uint BETA_ROW = 0;
layout(constant_id = 14) const uint ALIGNED = 1;
#ifdef Z_SIGMOID
const uint Z_ACTIVATION = SIGMOID;
#else
const uint Z_ACTIVATION = SILU;
#endif
layout(push_constant, scalar) uniform Push { push_delta_net p; };
#include "reduce.glsl"
#include "slots.glsl"
#include "state.glsl"

const uint COLUMNS = LANES / PARTS, EACH = D_V / COLUMNS;

vec4 s[EACH][FOURS];
uint column; // of this invocation; the others COLUMNS apart

uint state_at(uint h, uint i, uint m) { return (h * D_V + column + i * COLUMNS) * WIDTH * 4 + four_at(m); }

void load_state(uint h, uint t)
{
    uint64_t slot;
    const bool there = slot_before(t, slot);
    [[unroll]] for (uint i = 0; i < EACH; i++)
        [[unroll]] for (uint m = 0; m < FOURS; m++)
            s[i][m] = vec4(0);
    if (there)
        [[unroll]] for (uint i = 0; i < EACH; i++)
            [[unroll]] for (uint m = 0; m < FOURS; m++)
                s[i][m] = load_f4(slot, state_at(h, i, m));
}

void store_state(uint h, uint t)
{
    uint64_t slot;
    if (slot_behind(t, slot))
        [[unroll]] for (uint i = 0; i < EACH; i++)
            [[unroll]] for (uint m = 0; m < FOURS; m++)
                store_f4(slot, state_at(h, i, m), s[i][m]);
}

// e^g and sigmoid(beta) of head h.
vec2 gates(uint h, uint t)
{
    const uint c = PAIR_HEADS > 0 ? h / PAIR_HEADS * 2 * PAIR_HEADS + h % PAIR_HEADS : h;
    const float alpha = load_f(p.alpha + uint64_t(t) * ALPHA_ROW, c * 4),
                beta = load_f(p.beta + uint64_t(t) * BETA_ROW, c * 4);
    return vec2(exp(load_f(p.a, h * 4) * softplus(alpha + load_f(p.dt_bias, h * 4))), sigmoid(beta));
}

float longer(float squares) // NaN stays
{
    const float length = sqrt(squares);
    return length < p.eps_length ? p.eps_length : length;
}

void finish_row(uint h, uint t, float o[EACH])
{
    const uint64_t to = p.to + uint64_t(t) * p.to_row, z = p.z + uint64_t(t) * Z_ROW;
    float factor = 1, squares = 0;
    if (p.z != 0) {
        [[unroll]] for (uint i = 0; i < EACH; i++)
            squares += part == 0 ? o[i] * o[i] : 0;
        factor = inversesqrt(workgroup_sum(squares) / D_V + p.eps);
    }
    if (part == 0)
        [[unroll]] for (uint i = 0; i < EACH; i++) {
            const uint c = column + i * COLUMNS;
            float v = o[i];
            if (p.z != 0)
                v *= factor * load_f(p.norm, c * 4) * activation(load_f(z, (h * D_V + c) * 4), Z_ACTIVATION);
            store_f(to, (h * D_V + c) * 4, v);
        }
}

void do_row(uint h, uint t)
{
    const uint h_k = GROUPED != 0 ? h / (N_HEAD / N_HEAD_K) : h % N_HEAD_K;
    const uint64_t q_at = p.q + uint64_t(t) * Q_ROW + h_k * WIDTH * 4,
                   k_at = p.k + uint64_t(t) * K_ROW + h_k * WIDTH * 4,
                   v_at = p.v + uint64_t(t) * V_ROW + h * D_V * 4;
    vec4 q[FOURS], k[FOURS];
    float qq = 0, kk = 0, kq = 0, o[EACH];
    [[unroll]] for (uint m = 0; m < FOURS; m++) {
        q[m] = load_row(q_at, four_at(m)), k[m] = load_row(k_at, four_at(m));
        qq += dot(q[m], q[m]), kk += dot(k[m], k[m]), kq += dot(k[m], q[m]);
    }
    const vec2 gate = gates(h, t); // decay, beta
    const float k_by = 1 / longer(over_parts(kk)), q_by = inversesqrt(float(WIDTH)) / longer(over_parts(qq));
    kq = over_parts(kq) * k_by * q_by;
    [[unroll]] for (uint i = 0; i < EACH; i++) {
        float seen = 0;
        o[i] = 0;
        [[unroll]] for (uint m = 0; m < FOURS; m++)
            seen += dot(s[i][m], k[m]), o[i] += dot(s[i][m], q[m]);
        seen = over_parts(seen) * k_by * gate.x;
        const float change = gate.y * (load_f(v_at, (column + i * COLUMNS) * 4) - seen);
        [[unroll]] for (uint m = 0; m < FOURS; m++)
            s[i][m] = gate.x * s[i][m] + change * k_by * k[m];
        o[i] = over_parts(o[i]) * q_by * gate.x + change * kq;
    }
    finish_row(h, t, o);
}

void main()
{
    const uint h = gl_WorkGroupID.x, lane = LANE;
    uint t = gl_WorkGroupID.y;
    if (!run_begins(t))
        return;
    part = lane % PARTS;
    column = lane / PARTS;
    load_state(h, t);
    for (;; t++) {
        do_row(h, t);
        store_state(h, t);
        if (run_ends(t))
            return;
    }
}
