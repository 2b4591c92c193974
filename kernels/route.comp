// route.comp - the n_used experts of each token, best first, and their weights.
//
// One workgroup takes one token; n_expert <= 512, n_used <= 32. Grid: (1, n_tokens). Matches
// op_route: experts are picked by logit (all scores rise with it), or, where there are biases or
// groups, by score with the bias, among the best groups; or they stand in the token's row.
//   LANES  invocations, a power of two
// A few hundred numbers are one subgroup's work: each round finds the largest and its owner drops it.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 32;
layout(constant_id = 1) const uint CHOICE = 0; // 1: there are biases or groups
layout(push_constant, scalar) uniform Push { push_route p; };
#include "select.glsl"
#include "reduce.glsl"

const uint SOFTMAX = 0, TOP_SOFTMAX = 1, SIGMOID = 2; // enum route_score; 3: softplus

shared uint key_s[512];
shared float choice_s[CHOICE != 0 ? 512 : 1], worth_s[CHOICE != 0 ? 256 : 1]; // of experts, groups
shared float chosen_s[32];

found best_of(uint lane)
{
    found best = found(0, 0);
    for (uint at = lane; at < p.n_expert; at += LANES)
        best = first_of(best, found(key_s[at], at));
    return best;
}

// e^ over all of the difference to the largest
float sum_over_all(uint64_t logits, float most, uint lane)
{
    float sum = 0;
    for (uint at = lane; at < p.n_expert; at += LANES)
        sum += exp(load_f(logits, at * 4) - most);
    return workgroup_sum(sum);
}

float weight_of(float logit, float most)
{
    if (p.score <= TOP_SOFTMAX)
        return exp(logit - most);
    if (p.score == SIGMOID)
        return 1 / (1 + exp(-logit));
    // log(1 + e^x): where e^x is small its series, which keeps what 1 + e^x would lose
    const float e = exp(min(logit, 20.0)), log1p = e < 1e-3 ? e * (1 - e * (0.5 - e / 3)) : log(1 + e);
    return sqrt(logit > 20 ? logit : log1p);
}

// Drops the experts of all but the best groups: a group is worth its two largest.
void keep_groups(uint lane)
{
    const uint each = p.n_expert / p.n_group;
    barrier();
    for (uint g = lane; g < p.n_group; g += LANES) {
        float first = -1.0 / 0.0, second = first;
        for (uint at = g * each; at < g * each + each; at++) {
            const float v = choice_s[at];
            second = max(second, min(first, v));
            first = max(first, v);
        }
        worth_s[g] = first + second;
    }
    barrier();
    for (uint at = lane; at < p.n_expert; at += LANES) {
        const uint mine = at / each, key = key_of(worth_s[mine]);
        uint before = 0; // groups that go before this one
        for (uint g = 0; g < p.n_group; g++) {
            const uint other = key_of(worth_s[g]);
            before += uint(other > key || (other == key && g < mine));
        }
        if (before >= p.n_group_used)
            key_s[at] = 0;
    }
}

// What experts are picked by, where that is not their logit.
void choose(uint64_t logits, float most, float all, uint lane)
{
    for (uint at = lane; at < p.n_expert; at += LANES) {
        float v = load_f(logits, at * 4);
        if (p.score != TOP_SOFTMAX)
            v = weight_of(v, most) / all;
        if (p.bias != 0)
            v += load_f(p.bias, at * 4);
        choice_s[at] = v;
        key_s[at] = key_of(v);
    }
    if (p.n_group > 0)
        keep_groups(lane);
}

// The experts that stand in the token's row.
void look_up(uint64_t logits, uint t, uint lane)
{
    const uint64_t row = p.hashed + uint64_t(load_u(p.token, t * 4)) * p.hashed_row;
    for (uint i = lane; i < p.n_used; i += LANES) {
        const uint id = min(load_u(row, i * 4), p.n_expert - 1);
        chosen_s[i] = load_f(logits, id * 4);
        store_u(p.id, t * p.id_row + i * 4, id);
    }
}

void main()
{
    const uint lane = LANE, t = gl_WorkGroupID.y;
    const uint64_t logits = p.logits + uint64_t(t) * p.logits_row;
    for (uint at = lane; at < p.n_expert; at += LANES)
        key_s[at] = key_of(load_f(logits, at * 4));
    float most = load_f(logits, workgroup_first(best_of(lane), 0).at * 4), all = 1;
    if (p.score == SOFTMAX)
        all = sum_over_all(logits, most, lane);
    if (CHOICE != 0)
        choose(logits, most, all, lane);
    found mine = best_of(lane);
    if (p.hashed != 0)
        look_up(logits, t, lane);
    for (uint i = 0; i < (p.hashed != 0 ? 0 : p.n_used); i++) {
        const found top = workgroup_first(mine, (i + 1) % 2);
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
    float sum = 0;
    if (p.score == TOP_SOFTMAX) {
        most = chosen_s[0];
        for (uint i = 1; i < p.n_used; i++)
            most = max(most, chosen_s[i]);
    }
    for (uint i = 0; i < p.n_used; i++)
        sum += weight_of(chosen_s[i], most);
    if (p.score == TOP_SOFTMAX)
        all = sum;
    sum = max(sum, p.sum_least * all);
    const float factor = p.normalise != 0 ? p.scale / sum : p.scale / all;
    for (uint i = lane; i < p.n_used; i += LANES)
        store_f(p.weight, t * p.weight_row + i * 4, weight_of(chosen_s[i], most) * factor);
}
