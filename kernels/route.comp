// route.comp - the n_used experts of each token, largest logit first, and their weights.
//
// One workgroup takes one token; n_expert <= 512, n_used <= 16. Grid: (1, n_tokens). Matches
// op_route: experts are picked by logit (score only decides the weights; all scores rise with it).
//   LANES  invocations, a power of two
// A few hundred numbers are one subgroup's work: each round finds the largest and its owner drops it.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 32;
layout(push_constant, scalar) uniform Push { push_route p; };
#include "select.glsl"
#include "reduce.glsl"

const uint SOFTMAX = 0, TOP_SOFTMAX = 1; // enum route_score; 2: sigmoid

shared uint key_s[512];
shared float chosen_s[16];

found best_of(uint lane)
{
    found best = found(0, 0);
    for (uint at = lane; at < p.n_expert; at += LANES)
        best = first_of(best, found(key_s[at], at));
    return best;
}

// exp over all of the difference to the largest
float sum_over_all(uint64_t logits, uint lane)
{
    float sum = 0;
    for (uint at = lane; at < p.n_expert; at += LANES)
        sum += exp(load_f(logits, at * 4) - chosen_s[0]);
    return workgroup_sum(sum);
}

float weight_of(float logit)
{
    return p.score <= TOP_SOFTMAX ? exp(logit - chosen_s[0]) : 1 / (1 + exp(-logit));
}

void main()
{
    const uint lane = LANE, t = gl_WorkGroupID.y;
    const uint64_t logits = p.logits + uint64_t(t) * p.logits_row;
    for (uint at = lane; at < p.n_expert; at += LANES)
        key_s[at] = key_of(load_f(logits, at * 4));
    found mine = best_of(lane);
    for (uint i = 0; i < p.n_used; i++) {
        const found top = workgroup_first(mine, i % 2);
        if (lane == 0) {
            chosen_s[i] = load_f(logits, top.at * 4);
            store_u(p.id, t * p.id_row + i * 4, top.at);
        }
        if (top.at % LANES == lane) {
            key_s[top.at] = 0;
            mine = best_of(lane);
        }
    }
    barrier();
    float sum = 0, all = 1;
    for (uint i = 0; i < p.n_used; i++)
        sum += weight_of(chosen_s[i]);
    if (p.score == SOFTMAX)
        all = sum_over_all(logits, lane);
    else if (p.score == TOP_SOFTMAX)
        all = sum;
    const float factor = p.normalise != 0 ? p.scale / sum : p.scale / all;
    for (uint i = lane; i < p.n_used; i += LANES)
        store_f(p.weight, t * p.weight_row + i * 4, weight_of(chosen_s[i]) * factor);
}
