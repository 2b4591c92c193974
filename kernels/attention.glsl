// attention.glsl - what the attention kernels share: which rows of queries a workgroup has, which
// cache rows these see, and where results go.
//
// To be included after HEADS, SPLIT, HEAD_DIM_V, GATE, GATE_STRIDE and the push constants `p`; TOKENS
// is defined after.
#include "gate.glsl"
#define LOG2_E 1.4426950408889634

uint group, head_kv, head0, token0; // heads of a KV head; this workgroup's first head and token

struct run { // tokens of one sequence, counted from token0, and the cache rows that they see
    uint token, end_token, row, end_row;
};

void place()
{
    group = p.n_head / p.n_head_kv;
    const uint n_groups = (group + HEADS - 1) / HEADS;
    head_kv = gl_WorkGroupID.y / n_groups;
    head0 = head_kv * group + gl_WorkGroupID.y % n_groups * HEADS;
    // Later tokens of a prompt see more: they go first, so that the last to finish are short.
    token0 = p.token0 + (gl_NumWorkGroups.z - 1 - gl_WorkGroupID.z) * TOKENS;
}

// Whether row m of queries exists: groups of heads and tokens may be larger than what is left.
bool real(uint m)
{
    return m < TOKENS * HEADS && head0 + m % HEADS < (head_kv + 1) * group &&
           token0 + m / HEADS < p.n_tokens;
}

uint rows_before(uint t) { return min(load_u(p.first, t * 4) + load_u(p.count, t * 4), p.n_rows); }
uint first_row(uint t)
{
    const uint first = load_u(p.first, t * 4), end = rows_before(t);
    return p.window > 0 && end > first + p.window ? end - p.window : first;
}

run next_run(uint token, uint n_tokens)
{
    const uint first = load_u(p.first, (token0 + token) * 4);
    run r = run(token, token, 0xffffffffu, 0);
    for (uint t = token; t < n_tokens; t++) {
        if (load_u(p.first, (token0 + t) * 4) != first)
            break;
        r.end_token = t + 1;
        r.row = min(r.row, first_row(token0 + t));
        r.end_row = max(r.end_row, rows_before(token0 + t));
    }
    return r;
}

// The cache rows of the run that this workgroup goes over. Parts are whole tiles while the run is
// short; later they differ by less than 16 rows, for the longest part is what all wait for.
run part_of(run r, uint tile)
{
    if (SPLIT != 0 && r.end_row > r.row) {
        const uint n_split = gl_NumWorkGroups.x, n = r.end_row - r.row;
        const uint each = max(((n + n_split - 1) / n_split + 15) / 16 * 16, tile);
        r.row += min(gl_WorkGroupID.x * each, n);
        r.end_row = min(r.row + each, r.end_row);
    }
    return r;
}

// Where split gl_WorkGroupID.x of row m stands among all partial results.
uint partial_of(uint m)
{
    return ((token0 + m / HEADS) * p.n_head + head0 + m % HEADS) * gl_NumWorkGroups.x +
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
    if (p.sinks != 0) {
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
