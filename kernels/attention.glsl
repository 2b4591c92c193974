// attention.glsl - what the attention kernels share: which rows of queries a workgroup has, which
// positions these see, in which cache rows these lie, and where results go.
//
// To be included after HEADS, GROUP, SPLIT, HEAD_DIM_V, GATE, GATE_STRIDE, PLACE, TOKENS, TILE and
// the push constants `p`. TILE divides PAGE_ROWS and tiles begin at multiples of it, so that the
// rows of a tile lie in one page: its place is looked up once, a tile ahead.
#include "gate.glsl"
#define LOG2_E 1.4426950408889634

#define POS p.sinks   // with PLACE: params.h
#define SLOPES p.gate
const uint PAGE_ROWS = 256; // compute.h
layout(buffer_reference, scalar, buffer_reference_align = 4) restrict readonly buffer MemPage {
    uint v;
};
const uint ALIBI = 1, AROUND = 2, CHOSEN = 4; // of PLACE; CHOSEN + s: blocks are of 1 << s positions

uint n_head_kv, head_kv, head0, token0; // the last three: this workgroup's

struct run { // tokens of one sequence, counted from token0, and the positions that they see
    uint token, end_token, from, end;
    uint64_t pages; // of the sequence
};
struct tile {
    uint64_t k, v; // of its first cache row
    uint n;        // rows
};

tile either(bool first, tile a, tile b) // without a branch
{
    return tile(first ? a.k : b.k, first ? a.v : b.v, first ? a.n : b.n);
}

void place()
{
    const uint n_groups = (GROUP + HEADS - 1) / HEADS;
    n_head_kv = gl_NumWorkGroups.y / n_groups;
    head_kv = gl_WorkGroupID.y / n_groups;
    head0 = head_kv * GROUP + gl_WorkGroupID.y % n_groups * HEADS;
    // Later tokens of a prompt see more: they go first, so that the last to finish are short.
    token0 = p.token0 + (gl_NumWorkGroups.z - 1 - gl_WorkGroupID.z) * TOKENS;
}

// Whether row m of queries exists: groups of heads and tokens may be larger than what is left.
bool real(uint m)
{
    return m < TOKENS * HEADS && head0 + m % HEADS < (head_kv + 1) * GROUP &&
           token0 + m / HEADS < p.n_tokens;
}

// Positions from_of(t) .. end_of(t) - 1 are what token t sees.
uint end_of(uint t) { return min(load_u(p.count, t * 4), p.pages_row / 4 * PAGE_ROWS); }
uint from_of(uint t)
{
    const uint end = PLACE == AROUND ? load_u(POS, t * 4) : end_of(t);
    return PLACE < CHOSEN && p.window > 0 && end > p.window ? end - p.window : 0;
}

// Whether position `at` is in a block that token t was given.
bool is_chosen(uint t, uint at)
{
    const uint b = at >> (PLACE - CHOSEN);
    return (load_u(POS, min(t, p.n_tokens - 1) * p.window + b / 32 * 4) >> b % 32 & 1) != 0;
}

// What distance costs: the score of position `at` in row m of queries is less by slope_of(m) *
// |pos_of(m) - at|.
float slope_of(uint m)
{
    const uint head = min(head0 + m % HEADS, n_head_kv * GROUP - 1);
    return PLACE == ALIBI ? load_f(SLOPES, head * 4) * LOG2_E : 0;
}
float pos_of(uint m)
{
    const uint t = min(token0 + m / HEADS, p.n_tokens - 1);
    return PLACE == ALIBI ? float(load_i(POS, t * 4)) : 0;
}

run next_run(uint token, uint n_tokens)
{
    const uint table = load_u(p.table, (token0 + token) * 4);
    run r = run(token, token, 0xffffffffu, 0, p.pages + uint64_t(table) * p.pages_row);
    for (uint t = token; t < n_tokens; t++) {
        if (load_u(p.table, (token0 + t) * 4) != table)
            break;
        r.end_token = t + 1;
        r.from = min(r.from, from_of(token0 + t));
        r.end = max(r.end, end_of(token0 + t));
    }
    return r;
}

// The positions of the run that this workgroup goes over, from the beginning of a tile on: those
// before what a token sees are masked for it.
run part_of(run r)
{
    r.from = r.from / TILE * TILE;
    if (SPLIT != 0 && r.end > r.from) {
        const uint n_split = gl_NumWorkGroups.x, n_tiles = (r.end - r.from + TILE - 1) / TILE;
        const uint each = (n_tiles + n_split - 1) / n_split * TILE;
        r.from = min(r.from + gl_WorkGroupID.x * each, r.end);
        r.end = min(r.from + each, r.end);
    }
    return r;
}

// Where the tile from position `at` on lies. Behind the last one: a row of that one, for what is
// loaded ahead and not used.
tile tile_at(run r, uint at)
{
    const uint there = min(at, (r.end - 1) / TILE * TILE);
    const uint page = AT(MemPage, r.pages, there / PAGE_ROWS * 4);
    const uint row = page * PAGE_ROWS + there % PAGE_ROWS;
    return tile(p.k + uint64_t(row) * p.k_row, p.v + uint64_t(row) * p.v_row,
                at < r.end ? min(r.end - at, TILE) : 1);
}

// Where split gl_WorkGroupID.x of row m stands among all partial results.
uint partial_of(uint m)
{
    return ((token0 + m / HEADS) * n_head_kv * GROUP + head0 + m % HEADS) * gl_NumWorkGroups.x +
           gl_WorkGroupID.x;
}

// What the output of row m is multiplied by at the end, 1 / sum with the sink counted; of a split
// one, whose maximum and sum go to memory, 1.
float finish_row(uint m, float top, float sum)
{
    if (!real(m))
        return 0;
    if (SPLIT != 0) {
        const uint64_t sums = p.parts - 8 * (uint64_t(partial_of(m)) + 1);
        store_f(sums, 0, top);
        store_f(sums, 4, sum);
        return 1;
    }
    float factor = 1;
    if (PLACE == 0 && p.sinks != 0) {
        const float sink = load_f(p.sinks, (head0 + m % HEADS) * 4) * LOG2_E, most = max(top, sink);
        factor = exp2(top - most);
        sum = sum * factor + exp2(sink - most);
    }
    return sum != 0 ? factor / sum : 0; // NaN stays NaN
}

void store_out(uint m, uint at4, vec4 v) // columns 4 * at4 ..
{
    const uint t = token0 + m / HEADS, head = head0 + m % HEADS;
    if (SPLIT != 0)
        store_f4(p.parts + uint64_t(partial_of(m)) * (HEAD_DIM_V * 4), at4 * 16, v);
    else
        store_f4(p.to + uint64_t(t) * p.to_row, (head * HEAD_DIM_V + at4 * 4) * 4,
                 gated(v, t, head, at4));
}
