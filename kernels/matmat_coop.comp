// matmat_coop.comp - out = x w^T for many rows of x, on cooperative matrices (f16 x f16 + f32).
//
// In: w [n_out][n_in] (-DWEIGHT_*); x F16 [n_tokens][n_in], zeros up to a multiple of BK, and what
// undoes its rows' scale, F32 [n_tokens] (matmat_x.comp); bias, residual as op_matmul. Out: F32
// to[t][r] = (dot(w[r], x[t]) * scale[t] + bias[r]) * factor + residual[t][r]. Matches op_matmul; with GLU
// op_matmul_glu (w is the gate, w_up the rest); with EXPERTS op_matmul_experts: the rows of x and of
// `to` are those that slot[] lists for the workgroup's expert_tile, w and bias are that expert's.
// Constants: 0 = workgroup size, 1 = UNIT (size of a matrix: 16, 8 on llvmpipe), 2 = BM tokens by 3 =
// BN rows of w that a workgroup takes, 4 = WM by 5 = WN of these that a subgroup does (multiples of
// UNIT; GLU: of 2 UNIT), 6 = GLU (0, or 1 + enum activation), 7 = EXPERTS, 8 = TABLE. Grid: (n_tokens / BM,
// n_out / BN (GLU: of both), parts of n_in, `split` columns each).
//
// A step is BK columns: x and decoded weights of the next step go into one half of shared memory
// while matrices are multiplied from the other; rows lie 80 bytes apart, so that eight lanes' 16-byte
// loads never meet in a bank. One barrier a step. gfx1151, wave32, Q4_K / F16, from RADV's assembly:
//   BM x BN   waves  WM x WN   VGPRs  LDS    waves a SIMD  a step: WMMA  other VALU  LDS loads
//   256 x 128   8    64 x 64    256   60 KiB     4               32       77 / 24       32
//   128 x 128   8    64 x 32    192   40 KiB     5               16       74 / 22       24
//    64 x 128   4    32 x 64    168   30 KiB     5               16      140 / 27       24
//    32 x 128   4    32 x 32    144   25 KiB     6                8      133 / 25       16
// A WMMA takes 32 cycles of its SIMD: decoding adds 7.5 % (2.3 %; Q5_K, the worst, 9.6 %) at the largest
// tile; LDS loads run beside it a quarter of the time. No spills in any format. Bytes (s8 x s8 -> s32)
// were tried and left out: their WMMA takes 32 cycles too, and converting, scaling and adding its sums
// every 32 columns costs 28 % (Q8_0) and 42 % with spills (Q4_K) at the largest tile, 30 % and 37 %
// at 64 x 128 (here: 21 % and 27 %); only at 32 x 128, where memory is the limit, they need less.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "matrix.glsl"
#extension GL_KHR_shader_subgroup_ballot : require
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint UNIT = 16;
layout(constant_id = 2) const uint BM = 128;
layout(constant_id = 3) const uint BN = 128;
layout(constant_id = 4) const uint WM = 64;
layout(constant_id = 5) const uint WN = 64;
layout(constant_id = 6) const uint GLU = 0;
layout(constant_id = 7) const bool EXPERTS = false;
layout(constant_id = 8) const bool TABLE = false; // of experts: w is addresses of theirs
layout(push_constant, scalar) uniform Push { push_matmat p; };
#include "weight.glsl"
#include "activation.glsl"

const uint BK = 32, ROW = BK / 8 + 1; // a row in shared memory: 16-byte words, one of padding
const uint THREADS = gl_WorkGroupSize.x;
const uint WAVES = BM / WM * (BN / WN);
const uint SIDE = (BM + BN) * ROW;
const uint STRIP_ROW = WN / 4 + 1, STRIP = UNIT * STRIP_ROW; // a strip of results of one wave
const uint SHARED = 2 * SIDE > WAVES * STRIP ? 2 * SIDE : WAVES * STRIP;
shared uvec4 tile[SHARED];
// Indices are masked by it for what the compiler can then prove: no overflow, so that all that is
// constant in them goes into the offset of the instruction.
const uint WITHIN = 0xfff;
shared uint slot[EXPERTS ? BM : 1];

const uint XS = (BM * (BK / 8) + THREADS - 1) / THREADS;
const uint RUNS = (BN * (BK / 16) + THREADS - 1) / THREADS;

struct Next { // what the next step of K reads, on its way from memory
    uvec4 x[XS];
    Run w[RUNS];
};
uint64_t x_base, w_base[RUNS]; // uniform, and what each invocation reads from there: bytes
uint x_at[XS], w_at[RUNS];

// The row of w that column j of the tile stands for, from the tile's first: GLU takes turns of UNIT
// rows of the gate and of up.
uint row_of(uint j) { return GLU != 0 ? j / (2 * UNIT) * UNIT + j % UNIT : j; }

void load(out Next next, uint k)
{
    [[unroll]] for (uint i = 0; i < XS; i++)
        next.x[i] = load_u4(x_base, x_at[i] + k * 2);
    [[unroll]] for (uint i = 0; i < RUNS; i++)
        next.w[i] = weight_run_load(w_base[i], w_at[i], p.n_in, k, gl_LocalInvocationIndex % 2);
}

uvec4 halves(vec4 a, vec4 b) // to nearest on RADV, where packHalf2x16 rounds towards zero
{
    return uvec4(packFloat2x16(f16vec2(a.xy)), packFloat2x16(f16vec2(a.zw)),
                 packFloat2x16(f16vec2(b.xy)), packFloat2x16(f16vec2(b.zw)));
}

void store(Next next, uint k, uint side)
{
    uint me = gl_LocalInvocationIndex, to = side + me / 4 * ROW + me % 4 & WITHIN;
    [[unroll]] for (uint i = 0; i < XS; i++)
        if (BM * 4 % THREADS == 0 || me + i * THREADS < BM * 4)
            tile[to + i * (THREADS / 4 * ROW)] = next.x[i];
    to = side + (BM + me / 2) * ROW + me % 2 * 2 & WITHIN;
    [[unroll]] for (uint i = 0; i < RUNS; i++) {
#if defined WEIGHT_f16
        uvec4 low = next.w[i].q[0], high = next.w[i].q[1];
#else
        vec4 w[4];
        weight_run_decode(next.w[i], k, me % 2, w);
        uvec4 low = halves(w[0], w[1]), high = halves(w[2], w[3]);
#endif
        if (BN * 2 % THREADS == 0 || me + i * THREADS < BN * 2) {
            tile[to + i * (THREADS / 2 * ROW)] = low;
            tile[to + i * (THREADS / 2 * ROW) + 1] = high;
        }
    }
}

void main()
{
    weight_begin(p.grid);
#if defined WEIGHT_CODEBOOK || defined WEIGHT_GRID
    shared_barrier();
#endif
    uint wave = gl_SubgroupID, lane = gl_SubgroupInvocationID, me = gl_LocalInvocationIndex;
    uint first = gl_WorkGroupID.x * BM, n = min(BM, p.n_tokens - first);
    const uint OUTS = GLU != 0 ? BN / 2 : BN;
    uint row0 = gl_WorkGroupID.y * OUTS;
    uint64_t w = p.w, bias = p.bias, to = p.to;
    if (EXPERTS) {
        uvec4 t = load_u4(p.tile, gl_WorkGroupID.x * 16);
        first = t.y, n = t.z;
        if (n == 0)
            return;
        if (TABLE)
            w = load_address(w, t.x * 8) + p.w_at;
        else
            w += uint64_t(t.x * p.expert_rows) * p.w_row;
        bias += t.x * p.bias_row;
        for (uint i = me; i < BM; i += THREADS)
            slot[i] = load_u(p.slot, (first + min(i, n - 1)) * 4);
        shared_barrier();
    }
    uint k = gl_WorkGroupID.z * p.split, end = min(k + p.split, (p.n_in + BK - 1) / BK * BK);
    to += uint64_t(gl_WorkGroupID.z * p.n_tokens) * p.to_row;

    x_base = EXPERTS ? p.x : p.x + uint64_t(first) * p.x_row;
    [[unroll]] for (uint i = 0; i < XS; i++) {
        uint at = me + i * THREADS, t = min(at / 4, n - 1);
        x_at[i] = (EXPERTS ? slot[t] / p.x_share : t) * p.x_row + at % 4 * 16;
    }
    [[unroll]] for (uint i = 0; i < RUNS; i++) {
        uint j = (me + i * THREADS) / 2 % BN;
        bool up = GLU != 0 && subgroupBroadcastFirst(j / UNIT % 2) != 0; // the same in a subgroup
        w_base[i] = (up ? p.w_up : w) + uint64_t(row0) * p.w_row;
        w_at[i] = min(row_of(j), p.n_out - 1 - row0) * p.w_row;
    }

    MATRIX_SUM(UNIT) acc[WM / UNIT * (WN / UNIT)];
    [[unroll]] for (uint i = 0; i < WM / UNIT * (WN / UNIT); i++)
        acc[i] = MATRIX_SUM(UNIT)(0);
    uint a_at = wave / (BN / WN) * WM * ROW, b_at = (BM + wave % (BN / WN) * WN) * ROW;

    Next next;
    load(next, k);
    store(next, k, 0);
    shared_barrier();
    for (uint side = 0; k < end; k += BK, side = SIDE - side) {
        uint k_next = min(k + BK, end - BK);
        load(next, k_next);
        uint a_from = side + a_at & WITHIN, b_from = side + b_at & WITHIN;
        [[unroll]] for (uint kk = 0; kk < BK / UNIT; kk++) {
            MATRIX_A(UNIT) a[WM / UNIT];
            [[unroll]] for (uint i = 0; i < WM / UNIT; i++)
                coopMatLoad(a[i], tile, a_from + i * UNIT * ROW + kk * UNIT / 8, ROW,
                            gl_CooperativeMatrixLayoutRowMajor);
            [[unroll]] for (uint j = 0; j < WN / UNIT; j++) {
                MATRIX_B(UNIT) b;
                coopMatLoad(b, tile, b_from + j * UNIT * ROW + kk * UNIT / 8, ROW,
                            gl_CooperativeMatrixLayoutColumnMajor);
                [[unroll]] for (uint i = 0; i < WM / UNIT; i++)
                    acc[j * (WM / UNIT) + i] = coopMatMulAdd(a[i], b, acc[j * (WM / UNIT) + i]);
            }
        }
        store(next, k_next, SIDE - side);
        shared_barrier();
    }

    // A strip of UNIT tokens after another through shared memory, since which lane holds which result
    // is the driver's secret. acc moves up each time: an index that is no constant would put it into
    // memory, and unrolled the loop is long.
    uint strip = wave * STRIP, t0 = wave / (BN / WN) * WM, j0 = wave % (BN / WN) * WN;
    const uint COLS = GLU != 0 ? WN / 2 : WN;
    for (uint i = 0; i < WM / UNIT; i++) {
        [[unroll]] for (uint j = 0; j < WN / UNIT; j++)
            coopMatStore(acc[j * (WM / UNIT)], tile, strip + j * UNIT / 4, STRIP_ROW,
                         gl_CooperativeMatrixLayoutRowMajor);
        shared_barrier_subgroup();
        for (uint at = lane; at < UNIT * COLS; at += gl_SubgroupSize) {
            uint t = t0 + i * UNIT + at / COLS, c = at % COLS;
            uint r = row0 + row_of(j0) + c;
            if (t < n && r < p.n_out) {
                uint s = EXPERTS ? slot[t] : first + t;
                float scale = load_f(p.scale, (EXPERTS ? s / p.x_share : s) * 4);
                uint from = GLU != 0 ? c / UNIT * 2 * UNIT + c % UNIT : c;
                uint word = strip + at / COLS * STRIP_ROW + from / 4;
                float v = uintBitsToFloat(tile[word][from % 4]) * scale;
                if (GLU != 0)
                    v = glu(v, uintBitsToFloat(tile[word + UNIT / 4][from % 4]) * scale, GLU - 1);
                if (p.bias != 0)
                    v += load_f(bias, r * 4);
                v *= p.factor;
                if (p.residual != 0)
                    v += load_f(p.residual + uint64_t(s) * p.residual_row, r * 4);
                store_f(to + uint64_t(s) * p.to_row, r * 4, v);
            }
        }
        shared_barrier_subgroup();
        [[unroll]] for (uint j = 0; j < WN / UNIT * (WM / UNIT) - 1; j++)
            acc[j] = acc[j + 1];
    }
}
