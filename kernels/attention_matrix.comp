// attention_matrix.comp - attention of prompts on cooperative matrices.
//
// Inputs, outputs and the grid are attention.comp's, with M = 4 * UNIT rows of queries a workgroup:
// row m is head m % HEADS of token m / HEADS. Matches op_attention.
//   LANES     4 * PARTS * SUBGROUP invocations
//   HEAD_DIM  32 .. 256, a multiple of UNIT * PARTS, as is HEAD_DIM_V
//   UNIT      16, or 8 (llvmpipe): rows, columns and depth of a matrix
//   HEADS     1 .. 16: heads of one KV head
//   SUBGROUP  the subgroup's size, 4 .. 64
//   PARTS     1, or 2: two subgroups share their rows, each with half of the columns of q and of the
//             outputs, so that these fit in registers; their scores are added up
//   SPLIT     as in attention.comp
//   CAP       1: softcap
//   GROUP, PLACE  as in attention.comp
// A subgroup owns UNIT rows of queries, held as half floats in registers like the F32 outputs. Cache
// rows go by in tiles of 32: q k^T is stored to shared memory, where a few invocations a row make
// probabilities of it, as half floats, and p v is added to the outputs. These are multiplied by what
// the running maximum changes, through a matrix whose columns are all the same factors (read with
// distance 0 between columns). K lies in shared memory as it is in the cache, V transposed: both
// operands want neighbours along the sum.
//
// gfx115x (wave32, UNIT 16): the global loads of this tile's V and the next tile's K are under way
// while the products before them run, so that a tile costs two barriers. 16 rows a wave: 32 rows
// would halve what is read from shared memory, and not fit in 256 registers at HEAD_DIM 128. Rows in
// shared memory are 16 bytes longer than their data: 16 rows fall on different banks.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "matrix.glsl"
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 128;
layout(constant_id = 1) const uint HEAD_DIM = 128;
layout(constant_id = 2) const uint HEADS = 4;
layout(constant_id = 3) const uint SUBGROUP = 32;
layout(constant_id = 4) const uint PARTS = 1;
layout(constant_id = 5) const uint SPLIT = 0;
layout(constant_id = 6) const uint CAP = 0;
layout(constant_id = 7) const uint UNIT = 16;
layout(constant_id = 8) const uint HEAD_DIM_V = 128;
layout(constant_id = 9) const uint Q_STRIDE = 128;
layout(constant_id = 10) const uint V_STRIDE = 128;
layout(constant_id = 11) const uint GATE = 0;
layout(constant_id = 12) const uint GATE_STRIDE = 0;
layout(constant_id = 13) const uint GROUP = 4;
layout(constant_id = 14) const uint PLACE = 0;
layout(push_constant, scalar) uniform Push { push_attention p; };
#define HALF
#include "cache.glsl"
const uint M = 4 * UNIT, TOKENS = M / HEADS, TILE = 32;
#include "attention.glsl"

const uint EIGHTS = HEAD_DIM / 8, EIGHTS_V = HEAD_DIM_V / 8;
const uint STEPS = HEAD_DIM / UNIT / PARTS;     // blocks of columns of q that a subgroup has
const uint STEPS_V = HEAD_DIM_V / UNIT / PARTS; // and of the outputs

// Shared memory, in 16 bytes: where what lies, and how far its rows are apart.
const uint K_ROW = EIGHTS + 1, V_ROW = TILE / 8 + 1, S_ROW = TILE / 4 + 1;
const uint V_AT = TILE * K_ROW, S_AT = V_AT + HEAD_DIM_V * V_ROW; // q first lies where K and V will
const uint F_AT = S_AT + PARTS * M * S_ROW; // a row of p lies over its row of s
shared uvec4 pool[F_AT + M / 4];            // factors at the end

const uint K_ITEMS = (TILE * EIGHTS + LANES - 1) / LANES;     // 8 columns of a row
const uint V_ITEMS = (TILE / 2 * EIGHTS_V + LANES - 1) / LANES; // 8 columns of two rows
const uint ROW_LANES = SUBGROUP * PARTS > UNIT ? SUBGROUP * PARTS / UNIT : 1; // share a row of s
const uint ROWS = SUBGROUP * PARTS > UNIT ? 1 : UNIT / (SUBGROUP * PARTS); // that a lane takes
const uint SCORES = TILE / ROW_LANES;                                  // of a row, by a lane

uint lane, block, part;
MATRIX_A(UNIT) q_m[STEPS];
MATRIX_SUM(UNIT) o_m[STEPS_V];
raw k_next[K_ITEMS], v_next[2 * V_ITEMS];
struct query {
    uint from, to; // positions it sees
    float top, sum, slope, pos;
} queries[ROWS];

uint row_of(uint i) // of queries, the i-th of this invocation's
{
    return block * UNIT + (part * SUBGROUP + gl_SubgroupInvocationID) / ROW_LANES +
           i * (UNIT / ROWS);
}

void load_q()
{
    for (uint i = lane; i < M * EIGHTS; i += LANES) {
        const uint m = i / EIGHTS, u = i % EIGHTS;
        eight e = eight(vec4(0), vec4(0));
        if (real(m)) {
            const uint64_t q = p.q + uint64_t(token0 + m / HEADS) * p.q_row;
            const uint at = ((head0 + m % HEADS) * Q_STRIDE + u * 8) * 4;
            e = eight(load_f4(q, at) * p.q_scale, load_f4(q, at + 16) * p.q_scale);
        }
        pool[m * K_ROW + u] = halves_of(e);
    }
    shared_barrier();
    [[unroll]] for (uint i = 0; i < STEPS; i++)
        coopMatLoad(q_m[i], pool, block * UNIT * K_ROW + (part * STEPS + i) * (UNIT / 8), K_ROW,
                    gl_CooperativeMatrixLayoutRowMajor);
    shared_barrier();
}

void load_k(tile from)
{
    [[unroll]] for (uint i = 0; i < K_ITEMS; i++) {
        const uint at = lane + i * LANES, row = min(at / EIGHTS, from.n - 1);
        k_next[i] = load_raw(from.k, row * p.k_row, head_kv * HEAD_DIM + at % EIGHTS * 8,
                             n_head_kv * HEAD_DIM);
    }
}

void store_k()
{
    [[unroll]] for (uint i = 0; i < K_ITEMS; i++) {
        const uint at = lane + i * LANES;
        if (TILE * EIGHTS % LANES == 0 || at < TILE * EIGHTS)
            pool[at / EIGHTS * K_ROW + at % EIGHTS] = halves_of(k_next[i]);
    }
}

void load_v(tile from)
{
    [[unroll]] for (uint i = 0; i < V_ITEMS; i++) {
        const uint at = lane + i * LANES, row = at % (TILE / 2) * 2;
        const uint c = head_kv * V_STRIDE + min(at / (TILE / 2), EIGHTS_V - 1) * 8;
        [[unroll]] for (uint j = 0; j < 2; j++)
            v_next[i * 2 + j] =
                load_raw(from.v, min(row + j, from.n - 1) * p.v_row, c, n_head_kv * V_STRIDE);
    }
}

void store_v()
{
    [[unroll]] for (uint i = 0; i < V_ITEMS; i++) {
        const uint at = lane + i * LANES, pair = at % (TILE / 2), u = at / (TILE / 2);
        const uvec4 a = halves_of(v_next[i * 2]), b = halves_of(v_next[i * 2 + 1]);
        if (TILE / 2 * EIGHTS_V % LANES == 0 || u < EIGHTS_V)
            [[unroll]] for (uint j = 0; j < 8; j++) {
                const uint x = a[j / 2], y = b[j / 2];
                const uint both =
                    j % 2 == 0 ? (x & 0xffffu) | y << 16 : x >> 16 | (y & 0xffff0000u);
                pool[V_AT + (u * 8 + j) * V_ROW + pair / 4][pair % 4] = both;
            }
    }
}

void scores()
{
    MATRIX_SUM(UNIT) s[TILE / UNIT];
    [[unroll]] for (uint c = 0; c < TILE / UNIT; c++)
        s[c] = MATRIX_SUM(UNIT)(0);
    [[unroll]] for (uint i = 0; i < STEPS; i++)
        [[unroll]] for (uint c = 0; c < TILE / UNIT; c++) {
            MATRIX_B(UNIT) k;
            coopMatLoad(k, pool, c * UNIT * K_ROW + (part * STEPS + i) * (UNIT / 8), K_ROW,
                        gl_CooperativeMatrixLayoutColumnMajor);
            s[c] = coopMatMulAdd(q_m[i], k, s[c]);
        }
    [[unroll]] for (uint c = 0; c < TILE / UNIT; c++)
        coopMatStore(s[c], pool, S_AT + (part * M + block * UNIT) * S_ROW + c * (UNIT / 4), S_ROW,
                     gl_CooperativeMatrixLayoutRowMajor);
}

void softmax(run r, uint at0)
{
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        const uint m = row_of(i), t = m / HEADS, column = lane % ROW_LANES * SCORES;
        const bool mine = t >= r.token && t < r.end_token;
        // Scores column + j with (apart0 + j) < visible, as unsigned numbers, are seen.
        const uint apart0 = at0 + column - queries[i].from;
        const uint to = min(queries[i].to, r.end);
        const uint visible = mine ? max(to, queries[i].from) - queries[i].from : 0;
        float s[SCORES], most = queries[i].top;
        [[unroll]] for (uint j = 0; j < SCORES; j += 4) {
            vec4 four = uintBitsToFloat(pool[S_AT + m * S_ROW + (column + j) / 4]);
            if (PARTS > 1)
                four += uintBitsToFloat(pool[S_AT + (M + m) * S_ROW + (column + j) / 4]);
            if (CAP != 0)
                four = p.cap * tanh(four);
            if (PLACE == ALIBI)
                four -= queries[i].slope *
                        abs(queries[i].pos - float(at0 + column + j) - vec4(0, 1, 2, 3));
            [[unroll]] for (uint x = 0; x < 4; x++) {
                s[j + x] = apart0 + j + x < visible ? four[x] : -1e38; // a power of two that is 0
                if (PLACE >= CHOSEN)
                    s[j + x] = s[j + x] > -1e38 && is_chosen(token0 + t, at0 + column + j + x)
                                   ? s[j + x]
                                   : -1e38;
                most = max(most, s[j + x]);
            }
        }
        [[unroll]] for (uint apart = ROW_LANES / 2; apart > 0; apart /= 2)
            most = max(most, subgroupShuffleXor(most, apart));
        const float factor = exp2(queries[i].top - most);
        shared_barrier_subgroup(); // the row has been read by all that share it
        queries[i].sum *= factor;
        queries[i].top = most;
        [[unroll]] for (uint j = 0; j < SCORES; j += 4) {
            const vec4 e = exp2(vec4(s[j], s[j + 1], s[j + 2], s[j + 3]) - most);
            const f16vec4 h = f16vec4(e);
            const uint c = (column + j) / 2;
            queries[i].sum += dot(e, vec4(1));
            pool[S_AT + m * S_ROW + c / 4][c % 4] = packFloat2x16(h.xy);
            pool[S_AT + m * S_ROW + c / 4][c % 4 + 1] = packFloat2x16(h.zw);
        }
        if (lane % ROW_LANES == 0)
            pool[F_AT + m / 4][m % 4] = floatBitsToUint(factor);
    }
}

void values()
{
    MATRIX_SUM(UNIT) factors;
    coopMatLoad(factors, pool, F_AT + block * (UNIT / 4), 0, gl_CooperativeMatrixLayoutColumnMajor);
    [[unroll]] for (uint o = 0; o < STEPS_V; o++)
        o_m[o] = o_m[o] * factors;
    [[unroll]] for (uint i = 0; i < TILE / UNIT; i++) {
        MATRIX_A(UNIT) w;
        coopMatLoad(w, pool, S_AT + block * UNIT * S_ROW + i * (UNIT / 8), S_ROW,
                    gl_CooperativeMatrixLayoutRowMajor);
        [[unroll]] for (uint o = 0; o < STEPS_V; o++) {
            MATRIX_B(UNIT) v;
            coopMatLoad(v, pool, V_AT + (part * STEPS_V + o) * UNIT * V_ROW + i * (UNIT / 8), V_ROW,
                        gl_CooperativeMatrixLayoutColumnMajor);
            o_m[o] = coopMatMulAdd(w, v, o_m[o]);
        }
    }
}

void go_over(run r)
{
    if (r.from >= r.end)
        return;
    tile now = tile_at(r, r.from);
    shared_barrier(); // the run before has read its last tile
    load_k(now);
    store_k();
    shared_barrier();
    [[dont_unroll]] for (uint at = r.from; at < r.end; at += TILE) {
        const tile next = tile_at(r, at + TILE);
        load_v(now);
        if (at + TILE < r.end)
            load_k(next);
        scores();
        shared_barrier();
        store_v();
        store_k();
        softmax(r, at);
        shared_barrier();
        values();
        if (PARTS > 1) // all have read p, over which new scores will lie
            shared_barrier();
        else
            shared_barrier_subgroup();
        now = next;
    }
}

// The outputs leave through shared memory, where their rows can be told apart, block by block.
void finish(bool any)
{
    shared_barrier();
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        const uint m = row_of(i);
        float total = queries[i].sum;
        [[unroll]] for (uint apart = ROW_LANES / 2; apart > 0; apart /= 2)
            total += subgroupShuffleXor(total, apart);
        if (lane % ROW_LANES == 0)
            pool[F_AT + m / 4][m % 4] = floatBitsToUint(finish_row(m, queries[i].top, total));
    }
    if (SPLIT != 0 && !any)
        return; // the sum of 0 says so
    [[unroll]] for (uint o = 0; o < STEPS_V; o++) {
        shared_barrier();
        const uint fours = UNIT / 4, at = S_AT + (block * PARTS + part) * UNIT * fours;
        coopMatStore(o_m[o], pool, at, fours, gl_CooperativeMatrixLayoutRowMajor);
        shared_barrier();
        for (uint i = gl_SubgroupInvocationID; i < UNIT * fours; i += SUBGROUP) {
            const uint m = block * UNIT + i / fours;
            if (real(m))
                store_out(m, (part * STEPS_V + o) * fours + i % fours,
                          uintBitsToFloat(pool[at + i]) *
                              uintBitsToFloat(pool[F_AT + m / 4][m % 4]));
        }
    }
}

void main()
{
    lane = gl_SubgroupID * SUBGROUP + gl_SubgroupInvocationID;
    block = gl_SubgroupID % 4;
    part = gl_SubgroupID / 4;
    place();
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        const uint m = row_of(i), t = min(token0 + m / HEADS, p.n_tokens - 1);
        queries[i] = query(from_of(t), end_of(t), -1e30, 0, slope_of(m), pos_of(m));
    }
    [[unroll]] for (uint o = 0; o < STEPS_V; o++)
        o_m[o] = MATRIX_SUM(UNIT)(0);
    load_q();
    const uint n_tokens = min(p.n_tokens - token0, TOKENS);
    bool any = false; // cache rows, for this part
    for (uint token = 0; token < n_tokens;) {
        const run r = part_of(next_run(token, n_tokens));
        any = any || r.from < r.end;
        go_over(r);
        token = r.end_token;
    }
    finish(any);
}
