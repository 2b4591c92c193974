// attention.comp - attention of a few rows of queries that share one head of K and V.
//
// q: F32 [n_tokens][heads Q_STRIDE apart]; out: [n_tokens][n_head * HEAD_DIM_V]; caches: -DCACHE_f16
// or -DCACHE_q8_0 (cache.glsl), V's heads V_STRIDE columns apart. Matches op_attention. Grid: (n_split, n_head_kv * heads in groups of HEADS, tokens in groups of
// M / HEADS). A workgroup computes M rows: row m is head m % HEADS of its group, token m / HEADS.
//   LANES     invocations
//   HEAD_DIM  32 .. 576, a multiple of 8, as is HEAD_DIM_V: columns of a head of K, and of V
//   M         rows of queries, a multiple of HEADS; HEADS: at most GROUP
//   R         cache rows an invocation takes of each tile; a tile has R * LANES / LPR, 4 to 256, a
//             power of two
//   LPR       neighbouring invocations that share a cache row in q . k: a power of two that
//             divides HEAD_DIM / 8
//   SUB       neighbouring invocations that share a row of scores: a power of two; LPR and SUB
//             do not exceed the smallest subgroup
//   SPLIT     1: each workgroup takes its n_split-th of the cache rows and leaves maximum, sum and
//             unnormalised output for attention_join.comp
//   GATE, GATE_STRIDE  gate.glsl
//   GROUP     query heads of a KV head
//   PLACE     what is made of the token's own position: 1 (ALIBI): scores fall with the distance; 2
//             (AROUND): windows begin so far before it; 5 .. 7 (CHOSEN): only blocks that are chosen for
//             it are seen. Then there are no sinks, with 1 no gate
// The cache rows go by in tiles: (1) q . k for the tile, (2) the softmax with a running maximum, (3)
// p v. In (1) the invocations are spread over rows, LPR to a row so that one load instruction covers
// whole cache lines; in (3) over columns, eight each. Every K and V is loaded once for all M rows.
// Tokens of one sequence have one `table`; tokens of several sequences in a group take turns, since
// their cache rows differ.
//
// gfx115x decodes with 128 invocations of wave32, LPR 8 (128 bytes of a row), R 4. K and V are loaded
// one step ahead, across the barriers: 4 KiB under way in each wave all the time, 1.3 MB with two
// workgroups a CU on gfx1151, where 256 GB/s times the latency of 0.8 us is 0.2 MB. Arithmetic of 8
// heads takes 2800 cycles a CU for the 32 KiB of a tile of 64 rows: a fifth of what memory takes.
// A processor takes one subgroup and LPR 1: no barriers, few exchanges, q by uniform loads.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 128;
layout(constant_id = 1) const uint HEAD_DIM = 128;
layout(constant_id = 2) const uint M = 4;
layout(constant_id = 3) const uint HEADS = 4;
layout(constant_id = 4) const uint R = 4;
layout(constant_id = 5) const uint LPR = 8;
layout(constant_id = 6) const uint SUB = 16;
layout(constant_id = 7) const uint SPLIT = 0;
layout(constant_id = 8) const uint HEAD_DIM_V = 128;
layout(constant_id = 9) const uint Q_STRIDE = 128;
layout(constant_id = 10) const uint V_STRIDE = 128;
layout(constant_id = 11) const uint GATE = 0;
layout(constant_id = 12) const uint GATE_STRIDE = 0;
layout(constant_id = 13) const uint GROUP = 4;
layout(constant_id = 14) const uint PLACE = 0;
layout(push_constant, scalar) uniform Push { push_attention p; };
#include "cache.glsl"
const uint TOKENS = M / HEADS;
const uint PASS = LANES / LPR;    // cache rows that all invocations take at once
const uint TILE = R * PASS;       // cache rows of a tile
#include "attention.glsl"
const uint P_ROW = TILE + 4;      // floats between rows of scores: other banks
const uint P_SIZE = M * P_ROW;    // of one tile's scores; the next tile's go elsewhere
const uint EIGHTS = HEAD_DIM / 8, EIGHTS_V = HEAD_DIM_V / 8; // of a cache row
const uint EACH = (EIGHTS_V + LANES - 1) / LANES;           // eights an invocation holds of an output
const uint TEAMS = LANES > EIGHTS_V ? LANES / EIGHTS_V : 1; // groups that together hold all of one
const uint TEAM_ROWS = ((TILE + TEAMS - 1) / TEAMS + 3) / 4 * 4; // of a tile, by each team
const uint PER_LANE = (M * SUB + LANES - 1) / LANES;    // rows of scores an invocation takes

shared vec4 q_s[M * HEAD_DIM / 4];
shared vec4 p_s[2 * P_SIZE / 4]; // scores, then probabilities: [2][M][P_ROW]
shared float factor_s[2 * M];    // what the output so far is multiplied by
shared vec4 o_s[TEAMS > 1 ? TEAMS * HEAD_DIM_V / 4 : 1];

uint lane; // a subgroup holds neighbours
struct query { // a row of queries: the positions it sees, its running maximum, and of the sum
    uint from, to; // this invocation's part
    float top, sum, slope, pos;
} queries[PER_LANE];
eight acc[M][EACH];
raw k_next[R], v_next[4]; // loaded ahead: what (1) and (3) will use next

// The first row of a tile that this invocation adds up in (3), and the eights it adds up.
uint team_row() { return TEAMS > 1 ? min(lane / EIGHTS_V, TEAMS - 1) * TEAM_ROWS : 0; }
uint eight_at(uint i) { return EACH > 1 ? min(lane + i * LANES, EIGHTS_V - 1) : lane % EIGHTS_V; }

void load_q()
{
    for (uint i = lane; i < M * HEAD_DIM / 4; i += LANES) {
        const uint m = i / (HEAD_DIM / 4), d = i % (HEAD_DIM / 4) * 4;
        vec4 v = vec4(0);
        if (real(m))
            v = load_f4(p.q + uint64_t(token0 + m / HEADS) * p.q_row,
                        ((head0 + m % HEADS) * Q_STRIDE + d) * 4) *
                p.q_scale;
        q_s[i] = v;
    }
}

// Eights u0 + ... of this invocation's cache rows.
void fetch_k(tile from, uint u0)
{
    [[unroll]] for (uint x = 0; x < R; x++) {
        const uint row0 = min(x * PASS, from.n - 1), row = min(lane / LPR, from.n - 1 - row0);
        k_next[x] = load_raw(from.k + row0 * p.k_row, row * p.k_row,
                             head_kv * HEAD_DIM + (u0 + lane % LPR) * 8, n_head_kv * HEAD_DIM);
    }
}

// Eight u of four cache rows from the j-th on.
void fetch_v(tile from, uint j, uint u)
{
    [[unroll]] for (uint x = 0; x < 4; x++)
        v_next[x] = load_raw(from.v, min(j + x, from.n - 1) * p.v_row, head_kv * V_STRIDE + u * 8,
                             n_head_kv * V_STRIDE);
}

// (1) p_s[m][row] = q[m] . k[row] for the tile `now`.
void scores(tile now, tile next, uint side)
{
    const uint part = lane % LPR, row = lane / LPR;
    float s[M][R];
    [[unroll]] for (uint m = 0; m < M; m++)
        [[unroll]] for (uint r = 0; r < R; r++)
            s[m][r] = 0;
    [[dont_unroll]] for (uint u0 = 0; u0 < EIGHTS; u0 += LPR) {
        const uint u = u0 + part;
        const bool last = u0 + LPR >= EIGHTS;
        eight e[R];
        [[unroll]] for (uint r = 0; r < R; r++)
            e[r] = eight_of(k_next[r]);
        fetch_k(either(last, next, now), last ? 0 : u0 + LPR);
        [[unroll]] for (uint m = 0; m < M; m++) {
            const vec4 a = q_s[m * (HEAD_DIM / 4) + u * 2], b = q_s[m * (HEAD_DIM / 4) + u * 2 + 1];
            [[unroll]] for (uint r = 0; r < R; r++)
                s[m][r] += dot(a, e[r].a) + dot(b, e[r].b);
        }
    }
    [[unroll]] for (uint m = 0; m < M; m++)
        [[unroll]] for (uint r = 0; r < R; r++) {
            [[unroll]] for (uint apart = LPR / 2; apart > 0; apart /= 2)
                s[m][r] += subgroupShuffleXor(s[m][r], apart);
            const uint at = side * P_SIZE + m * P_ROW + row + r * PASS;
            if (part == 0)
                p_s[at / 4][at % 4] = s[m][r];
        }
}

// (2) scores to probabilities, of which the largest so far would be 1.
void softmax(run r, uint at0, uint side)
{
    [[unroll]] for (uint i = 0; i < PER_LANE; i++) {
        const uint m = lane / SUB + i * (LANES / SUB), t = m / HEADS;
        const bool mine = TOKENS == 1 || (t >= r.token && t < r.end_token);
        const uint from = mine ? max(queries[i].from, at0) - at0 : 0;
        const uint to = mine ? max(min(queries[i].to, r.end), at0) - at0 : 0; // of the tile
        if (m < M) { // for SUB invocations together: they exchange nothing otherwise
            const uint row = side * P_SIZE + m * P_ROW;
            float most = queries[i].top, part = 0;
            for (uint j = lane % SUB; j < TILE; j += SUB) {
                const uint at = row + j;
                float s = p_s[at / 4][at % 4];
                if (p.cap > 0)
                    s = p.cap * tanh(s);
                if (PLACE == ALIBI)
                    s -= queries[i].slope * abs(queries[i].pos - float(at0 + j));
                s = j >= from && j < to ? s : -1e38;
                if (PLACE >= CHOSEN)
                    s = s > -1e38 && is_chosen(token0 + t, at0 + j) ? s : -1e38;
                p_s[at / 4][at % 4] = s;
                most = max(most, s);
            }
            [[unroll]] for (uint apart = SUB / 2; apart > 0; apart /= 2)
                most = max(most, subgroupShuffleXor(most, apart));
            for (uint j = lane % SUB; j < TILE; j += SUB) {
                const uint at = row + j;
                const float s = p_s[at / 4][at % 4], e = s == -1e38 ? 0 : exp2(s - most);
                p_s[at / 4][at % 4] = e;
                part += e;
            }
            const float factor = exp2(queries[i].top - most);
            queries[i].sum = queries[i].sum * factor + part;
            queries[i].top = most;
            if (lane % SUB == 0)
                factor_s[side * M + m] = factor;
        }
    }
}

// (3) acc = acc * factor + p v for the tile `now`.
void values(run r, tile now, tile next, uint side)
{
    const uint from = team_row();
    [[unroll]] for (uint m = 0; m < M; m++) {
        const float factor = factor_s[side * M + m];
        [[unroll]] for (uint i = 0; i < EACH; i++) {
            acc[m][i].a *= factor;
            acc[m][i].b *= factor;
        }
    }
    const uint n = min(now.n, TEAM_ROWS); // as many for all, so that all load from one tile
    [[dont_unroll]] for (uint j = 0; j < n; j += 4)
        [[unroll]] for (uint i = 0; i < EACH; i++) {
            eight e[4];
            [[unroll]] for (uint x = 0; x < 4; x++)
                e[x] = eight_of(v_next[x]);
            const bool last = i + 1 == EACH;
            fetch_v(either(last && j + 4 >= n, next, now),
                    from + (!last ? j : j + 4 < n ? j + 4 : 0), eight_at(last ? 0 : i + 1));
            // The last team may have none; what lies behind a row is another's, or of the next tile.
            const bool beyond = TEAMS * TEAM_ROWS > TILE && from + j >= TILE;
            const uint at = beyond ? 0 : from + j;
            [[unroll]] for (uint m = 0; m < M; m++)
                if (TOKENS == 1 || (m / HEADS >= r.token && m / HEADS < r.end_token)) {
                    vec4 w = p_s[(side * P_SIZE + m * P_ROW + at) / 4];
                    if (TEAMS * TEAM_ROWS > TILE)
                        w = beyond ? vec4(0) : w;
                    [[unroll]] for (uint x = 0; x < 4; x++) {
                        acc[m][i].a += w[x] * e[x].a;
                        acc[m][i].b += w[x] * e[x].b;
                    }
                }
        }
}

void go_over(run r)
{
    if (r.from >= r.end)
        return;
    tile now = tile_at(r, r.from);
    fetch_k(now, 0);
    fetch_v(now, team_row(), eight_at(0));
    if (TOKENS == 1) { // decoding: q travels beside the first K and V
        load_q();
        barrier();
    }
    uint side = 0;
    [[dont_unroll]] for (uint at = r.from; at < r.end; at += TILE) {
        const tile next = tile_at(r, at + TILE);
        scores(now, next, side);
        barrier();
        softmax(r, at, side);
        barrier();
        values(r, now, next, side);
        side ^= 1;
        now = next;
    }
    if (TOKENS > 1)
        barrier(); // another run starts with the same side
}

// Leaves in factor_s what each output is multiplied by at the end.
void finish_sums()
{
    [[unroll]] for (uint i = 0; i < PER_LANE; i++) {
        const uint m = lane / SUB + i * (LANES / SUB);
        float total = queries[i].sum;
        [[unroll]] for (uint apart = SUB / 2; apart > 0; apart /= 2)
            total += subgroupShuffleXor(total, apart);
        if (m < M && lane % SUB == 0)
            factor_s[m] = finish_row(m, queries[i].top, total);
    }
}

void finish(bool any)
{
    barrier(); // the last factors have been read
    finish_sums();
    if (SPLIT != 0 && !any)
        return; // the sum of 0 says so
    barrier();
    [[unroll]] for (uint m = 0; m < M; m++)
        if (TEAMS == 1) {
            [[unroll]] for (uint i = 0; i < EACH; i++)
                if (lane + i * LANES < EIGHTS_V && real(m)) {
                    const uint at = (lane + i * LANES) * 2;
                    store_out(m, at, acc[m][i].a * factor_s[m]);
                    store_out(m, at + 1, acc[m][i].b * factor_s[m]);
                }
        } else {
            if (lane / EIGHTS_V < TEAMS) {
                o_s[lane * 2] = acc[m][0].a;
                o_s[lane * 2 + 1] = acc[m][0].b;
            }
            barrier();
            for (uint i = lane; i < HEAD_DIM_V / 4; i += LANES) {
                vec4 v = o_s[i];
                [[dont_unroll]] for (uint team = 1; team < TEAMS; team++)
                    v += o_s[team * (HEAD_DIM_V / 4) + i];
                if (real(m))
                    store_out(m, i, v * factor_s[m]);
            }
            barrier();
        }
}

void main()
{
    lane = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    place();
    [[unroll]] for (uint i = 0; i < PER_LANE; i++) {
        const uint m = lane / SUB + i * (LANES / SUB);
        const uint t = min(token0 + m / HEADS, p.n_tokens - 1);
        queries[i] = query(from_of(t), end_of(t), -1e30, 0, slope_of(m), pos_of(m));
    }
    [[unroll]] for (uint m = 0; m < M; m++)
        [[unroll]] for (uint i = 0; i < EACH; i++)
            acc[m][i] = eight(vec4(0), vec4(0));
    if (TOKENS > 1) {
        load_q();
        barrier();
    }
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
