// matmat_tile.comp - out = x w^T for many rows of x, on any device: no cooperative matrices.
//
// In: w [n_out][n_in] (-DWEIGHT_*), x F32 [n_tokens][n_in], n_in % 16 == 0; bias F32 [n_out] or none;
// residual F32 [n_tokens][n_out] or none. Out: out[t][r] = (dot(w[r], x[t]) + bias[r]) *
// factor + residual[t][r], all in F32. Matches op_matmul; with EXPERTS op_matmul_experts: the rows of x are
// those slot[] lists for the tile, and w, bias are those of its expert.
// Constants: 0 = workgroup size, 1 = LANES (the subgroup's size, asked for), 2 = TOKENS of a tile (a
// multiple of LANES or a divisor), 3 = ROWS of w a lane takes, 4 = EXPERTS.
// Grid: (tiles of TOKENS, n_out / (subgroups * LANES * ROWS)).
//
// A lane decodes 16 weights of its own rows into registers, holds 16 columns of its own token, and
// multiplies its rows with every token of the subgroup by broadcasts: no shared memory, no barrier.
// Chosen for llvmpipe, where a load is a gather and costs as much as dozens of products, whatever it
// reads, while broadcasting from a constant lane is one shuffle: 16 tokens x 2 rows a lane.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#extension GL_KHR_shader_subgroup_ballot : require
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint LANES = 8;
layout(constant_id = 2) const uint TOKENS = 16;
layout(constant_id = 3) const uint ROWS = 2;
layout(constant_id = 4) const bool EXPERTS = false;
layout(constant_id = 5) const bool TABLE = false; // of experts: w is addresses of theirs
layout(push_constant, scalar) uniform Push { push_matmat p; };
#include "weight.glsl"

const uint PART = TOKENS < LANES ? TOKENS : LANES; // tokens that are held by lanes at once
const uint PARTS = TOKENS / PART;

void main()
{
    weight_begin(p.grid);
    uint lane = gl_SubgroupInvocationID;
    uint row0 = (gl_WorkGroupID.y * gl_NumSubgroups + gl_SubgroupID) * LANES * ROWS + lane;
    uint first = gl_WorkGroupID.x * TOKENS, n = p.n_tokens - first;
    uint64_t w = p.w, bias = p.bias;
    if (EXPERTS) {
        uvec4 tile = load_u4(p.tile, gl_WorkGroupID.x * 16);
        if (TABLE)
            w = load_address(w, tile.x * 8) + p.w_at;
        else
            w += uint64_t(tile.x * p.expert_rows) * p.w_row;
        bias += tile.x * p.bias_row;
        first = tile.y;
        n = tile.z;
        if (n == 0)
            return;
    }
    uint64_t x[PARTS], rows[ROWS];
    [[unroll]] for (uint i = 0; i < PARTS; i++) {
        uint t = first + min(i * PART + lane % PART, n - 1);
        if (EXPERTS)
            t = load_u(p.slot, t * 4) / p.x_share;
        x[i] = p.x + uint64_t(t) * p.x_row;
    }
    [[unroll]] for (uint r = 0; r < ROWS; r++)
        rows[r] = w + uint64_t(min(row0 + r * LANES, p.n_out - 1)) * p.w_row;

    float acc[TOKENS * ROWS];
    [[unroll]] for (uint i = 0; i < TOKENS * ROWS; i++)
        acc[i] = 0;
    for (uint at = 0; at < p.n_in; at += 16) {
        vec4 v[ROWS][4];
        [[unroll]] for (uint r = 0; r < ROWS; r++)
            weight_run(rows[r], p.n_in, at, v[r]);
        [[unroll]] for (uint i = 0; i < PARTS; i++)
            [[unroll]] for (uint k = 0; k < 16; k += 2) {
                vec2 two = load_f2(x[i], (at + k) * 4);
                [[unroll]] for (uint j = 0; j < 2 * PART; j++) {
                    float one = subgroupBroadcast(two[j / PART], j % PART);
                    [[unroll]] for (uint r = 0; r < ROWS; r++)
                        acc[(i * PART + j % PART) * ROWS + r] +=
                            one * v[r][k / 4][k % 4 + j / PART];
                }
            }
    }

    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        uint row = row0 + r * LANES;
        if (row >= p.n_out)
            continue;
        float add = p.bias != 0 ? load_f(bias, row * 4) : 0;
        [[unroll]] for (uint i = 0; i < TOKENS; i++) {
            if (i >= n)
                continue;
            uint t = EXPERTS ? load_u(p.slot, (first + i) * 4) : first + i;
            float sum = (acc[i * ROWS + r] + add) * p.factor;
            if (p.residual != 0)
                sum += load_f(p.residual + uint64_t(t) * p.residual_row, row * 4);
            store_f(p.to + uint64_t(t) * p.to_row, row * 4, sum);
        }
    }
}
