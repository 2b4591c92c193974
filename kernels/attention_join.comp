// attention_join.comp - joins the parts that a split attention left.
//
// out[t][h] = sum of 2^(maximum[s] - m) o[s] / sum of 2^(maximum[s] - m) sum[s], m the largest
// maximum; a sink is one more sum of 1. One workgroup makes one head of one token. Grid: (n_head,
// n_tokens). Matches the second half of op_attention.
//   LANES     invocations
//   HEAD_DIM_V  a multiple of 8 up to 576
//   GATE, GATE_STRIDE  gate.glsl
// Parts without rows have sum 0; their outputs are not written and count for nothing. All of this is
// latency: the sums are loaded at once and shared out, then TEAMS of HEAD_DIM_V / 4 invocations take
// every TEAMS-th part, four loads under way at a time.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 128;
layout(constant_id = 1) const uint HEAD_DIM_V = 128;
layout(constant_id = 2) const uint GATE = 0;
layout(constant_id = 3) const uint GATE_STRIDE = 0;
layout(push_constant, scalar) uniform Push { push_attention_join p; };
#include "gate.glsl"

const uint SPLIT_MOST = 64; // attention.c
const uint FOURS = HEAD_DIM_V / 4;
const uint TEAMS = LANES > FOURS ? LANES / FOURS : 1;

shared float weight_s[SPLIT_MOST];
shared vec4 o_s[TEAMS * FOURS];

// What each part's output is multiplied by.
void weigh(uint64_t sums, uint head)
{
    const float sink = p.sinks != 0 ? load_f(p.sinks, head * 4) * 1.4426950408889634 : -1e38;
    float most = sink, total = 0;
    for (uint s = gl_SubgroupInvocationID; s < p.n_split; s += gl_SubgroupSize) {
        const vec2 part = load_f2(sums, (p.n_split - 1 - s) * 8);
        if (part.y != 0)
            most = max(most, part.x);
    }
    most = subgroupMax(most);
    for (uint s = gl_SubgroupInvocationID; s < p.n_split; s += gl_SubgroupSize) {
        const vec2 part = load_f2(sums, (p.n_split - 1 - s) * 8);
        if (part.y != 0)
            total += part.y * exp2(part.x - most);
    }
    total = subgroupAdd(total);
    if (p.sinks != 0)
        total += exp2(sink - most);
    if (gl_SubgroupID == 0)
        for (uint s = gl_SubgroupInvocationID; s < p.n_split; s += gl_SubgroupSize) {
            const vec2 part = load_f2(sums, (p.n_split - 1 - s) * 8);
            weight_s[s] = part.y != 0 ? exp2(part.x - most) / total : 0;
        }
}

void main()
{
    const uint lane = gl_LocalInvocationID.x, c = lane % FOURS, team = lane / FOURS;
    const uint head = gl_WorkGroupID.x, t = gl_WorkGroupID.y, at = t * p.n_head + head;
    const uint64_t outputs = p.parts + uint64_t(at) * p.n_split * HEAD_DIM_V * 4;
    weigh(p.parts - uint64_t(at + 1) * p.n_split * 8, head);
    barrier();
    vec4 sum = vec4(0);
    for (uint s0 = team; team < TEAMS && s0 < p.n_split; s0 += 4 * TEAMS) {
        vec4 o[4];
        float weight[4];
        [[unroll]] for (uint i = 0; i < 4; i++) {
            const uint s = min(s0 + i * TEAMS, p.n_split - 1);
            o[i] = load_f4(outputs, (s * FOURS + c) * 16);
            weight[i] = s0 + i * TEAMS < p.n_split ? weight_s[s] : 0;
        }
        [[unroll]] for (uint i = 0; i < 4; i++)
            sum += weight[i] != 0 ? o[i] * weight[i] : vec4(0);
    }
    if (team < TEAMS)
        o_s[lane] = sum;
    barrier();
    for (uint i = lane; i < FOURS; i += LANES) {
        vec4 v = o_s[i];
        for (uint other = 1; other < TEAMS; other++)
            v += o_s[other * FOURS + i];
        store_f4(p.to + uint64_t(t) * p.to_row, (head * FOURS + i) * 16,
                 gated(v, t, head, i));
    }
}
