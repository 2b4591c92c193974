// defined.c - which registers hold what was never written (watch.h). A vector register has a bit a
// lane for each of its halves, a scalar one a bit for each of its own. What is computed from such a
// value is such a value; the value itself is no fault until something depends on it: a branch, the
// lanes that run, an address (memory.c), or what is stored to memory. So a kernel may read a whole
// tile and throw away what lies beyond the matrix.
//
// Known zeros of an AND, shifts by constants and moves of halves are followed exactly; all else is
// undefined when any part of a source is.
#include "watch.h"

#include "wave.h"

#include <string.h>

struct bits { // lanes of a register that are undefined, by half
    uint64_t low, high;
};

static uint64_t all_lanes(const struct wave *w)
{
    return w->lanes == 64 ? UINT64_MAX : UINT32_MAX;
}

void defined_begin(struct wave *w, uint32_t n_scalars)
{
    memset(w->v_bad, 0xff, sizeof(w->v_bad));
    memset(w->s_bad, 0xff, sizeof(w->s_bad));
    w->v_bad[0][0] = w->v_bad[0][1] = 0;
    memset(w->s_bad, 0, n_scalars * sizeof(w->s_bad[0]));
    w->s_bad[REG_EXEC] = w->s_bad[REG_EXEC + 1] = 0;
    w->scc_bad = true;
}

// ---- sources ------------------------------------------------------------------------------------

static uint64_t scalar_bad(const struct wave *w, unsigned reg, unsigned n)
{
    if (reg == REG_SCC)
        return w->scc_bad;
    if (reg >= SGPRS || reg == REG_NULL)
        return 0;
    return n == 2 ? w->s_bad[reg] | (uint64_t)w->s_bad[reg + 1] << 32 : w->s_bad[reg];
}

// A mask of lanes: a bit a lane.
static uint64_t mask_bad(const struct wave *w, unsigned reg)
{
    return scalar_bad(w, reg, w->lanes == 64 ? 2 : 1);
}

static struct bits halves(const struct wave *w, const struct operand *o)
{
    struct bits b = {0, 0};
    if (o->reg >= SRC_VGPR) {
        for (unsigned r = 0; r < o->n; r++) {
            b.low |= w->v_bad[o->reg - SRC_VGPR + r][0];
            b.high |= w->v_bad[o->reg - SRC_VGPR + r][1];
        }
        if (o->half)
            b.low = o->high ? b.high : b.low, b.high = 0;
        return b;
    }
    const uint64_t bad = scalar_bad(w, o->reg, o->n == 2 ? 2 : 1);
    b.low = bad & 0xffff || (bad >> 32 & 0xffff) ? all_lanes(w) : 0;
    b.high = bad & 0xffff0000 || bad >> 48 ? all_lanes(w) : 0;
    if (o->half)
        b.low = o->high ? b.high : b.low, b.high = 0;
    return b;
}

// Source 0 as DPP moves it.
static struct bits first(const struct wave *w, const struct inst *i)
{
    struct bits b = halves(w, &i->src[0]);
    if ((i->form != FORM_DPP && i->form != FORM_E64_DPP) || !(b.low | b.high))
        return b;
    uint32_t row[LANES_MOST], out[LANES_MOST];
    for (unsigned l = 0; l < w->lanes; l++)
        row[l] = (uint32_t)(b.low >> l & 1) | (uint32_t)(b.high >> l & 1) << 1;
    dpp_lanes(w, i, row, out);
    b.low = b.high = 0;
    for (unsigned l = 0; l < w->lanes; l++)
        b.low |= (uint64_t)(out[l] & 1) << l, b.high |= (uint64_t)(out[l] >> 1) << l;
    return b;
}

// ---- what is written ----------------------------------------------------------------------------

static void put(struct wave *w, unsigned reg, struct bits b, uint64_t mask)
{
    uint64_t *bad = w->v_bad[reg - SRC_VGPR];
    bad[0] = (bad[0] & ~mask) | (b.low & mask);
    bad[1] = (bad[1] & ~mask) | (b.high & mask);
}

static void put_scalar(struct wave *w, unsigned reg, unsigned n, uint64_t bad)
{
    if (reg == REG_NULL)
        return;
    if (reg == REG_EXEC) {
        if (n == 1 ? (uint32_t)bad : bad)
            watch_found(w, "lanes", "which lanes run depends on what was never written");
        bad = 0;
    }
    w->s_bad[reg] = (uint32_t)bad;
    if (n == 2)
        w->s_bad[reg + 1] = (uint32_t)(bad >> 32);
}

static void put_mask(struct wave *w, unsigned reg, uint64_t bad)
{
    put_scalar(w, reg, w->lanes == 64 ? 2 : 1, bad);
}

// ---- vectors ------------------------------------------------------------------------------------

static bool constant_of(const struct wave *w, const struct inst *i, int s, uint32_t *x)
{
    const unsigned reg = i->src[s].reg;
    if (reg >= SRC_VGPR || scalar_bad(w, reg, 1))
        return false;
    *x = (uint32_t)read_scalar(w, i, reg, 1);
    return true;
}

static struct bits shifted(struct bits a, int n) // left; n < 0: right
{
    const uint64_t any = a.low | a.high;
    if (n == 0)
        return a;
    if (n > 0)
        return (struct bits){n < 16 ? a.low : 0, n < 16 ? any : a.low};
    return (struct bits){n > -16 ? any : a.high, n > -16 ? a.high : 0};
}

// With one factor known, halves where it is 0 are known too.
static struct bits both_of(const struct wave *w, const struct inst *i, struct bits a, struct bits b)
{
    uint32_t x;
    struct bits out = {a.low | b.low, a.high | b.high};
    for (int s = 0; s < 2; s++)
        if (constant_of(w, i, s, &x)) {
            out.low = x & 0xffff ? out.low : 0;
            out.high = x >> 16 ? out.high : 0;
        }
    return out;
}

static struct bits permuted(const struct wave *w, const struct inst *i, struct bits a,
                            struct bits b, uint64_t any)
{
    uint32_t x;
    uint64_t out[2] = {0, 0};
    if (!constant_of(w, i, 2, &x))
        return (struct bits){any, any};
    for (int k = 0; k < 4; k++) {
        const uint32_t which = x >> 8 * k & 255;
        out[k / 2] |= which < 2   ? b.low
                      : which < 4 ? b.high
                      : which < 6 ? a.low
                      : which < 8 ? a.high
                                  : 0;
    }
    return (struct bits){out[0], out[1]};
}

// Those that keep halves apart; else all of the result is what any source is.
static struct bits result(const struct wave *w, const struct inst *i, const struct bits in[3],
                          uint64_t any)
{
    const struct bits a = in[0], b = in[1], c = in[2], whole = {any, any};
    uint32_t x, n;
    switch (i->op) {
    case OP_v_mov_b32:
    case OP_v_dual_mov_b32:
    case OP_v_not_b32:
        return a;
    case OP_v_and_b32:
    case OP_v_dual_and_b32:
        return both_of(w, i, a, b);
    case OP_v_and_or_b32: {
        const struct bits both = both_of(w, i, a, b);
        return (struct bits){both.low | c.low, both.high | c.high};
    }
    case OP_v_or_b32:
    case OP_v_xor_b32:
    case OP_v_xnor_b32:
    case OP_v_or3_b32:
    case OP_v_xor3_b32:
    case OP_v_bfi_b32:
        return (struct bits){a.low | b.low | c.low, a.high | b.high | c.high};
    case OP_v_lshlrev_b32:
    case OP_v_dual_lshlrev_b32:
        return constant_of(w, i, 0, &x) ? shifted(b, (int)(x & 31)) : whole;
    case OP_v_lshrrev_b32:
        return constant_of(w, i, 0, &x) ? shifted(b, -(int)(x & 31)) : whole;
    case OP_v_lshl_or_b32: {
        if (!constant_of(w, i, 1, &x))
            return whole;
        const struct bits left = shifted(a, (int)(x & 31));
        return (struct bits){left.low | c.low, left.high | c.high};
    }
    case OP_v_perm_b32:
        return permuted(w, i, a, b, any);
    case OP_v_bfe_u32:
    case OP_v_bfe_i32: {
        if (!constant_of(w, i, 1, &x) || !constant_of(w, i, 2, &n))
            return whole;
        const uint64_t from = (x & 31) + (n & 31) <= 16 ? a.low : (x & 31) >= 16 ? a.high : any;
        return (struct bits){from, from};
    }
    case OP_v_alignbit_b32:
        if (!constant_of(w, i, 2, &x) || (x & 15))
            return whole;
        return x & 16 ? (struct bits){b.high, a.low} : b;
    case OP_v_cvt_f32_ubyte0:
    case OP_v_cvt_f32_ubyte1:
        return (struct bits){a.low, a.low};
    case OP_v_cvt_f32_ubyte2:
    case OP_v_cvt_f32_ubyte3:
        return (struct bits){a.high, a.high};
    case OP_v_cvt_pk_rtz_f16_f32:
        return (struct bits){a.low | a.high, b.low | b.high};
    default:
        return whole;
    }
}

static bool adds_to_itself(enum op op)
{
    return op == OP_v_fmac_f32 || op == OP_v_dual_fmac_f32;
}

static void choose(struct wave *w, struct bits a, struct bits b, unsigned mask_reg, unsigned dst,
                   uint64_t mask)
{
    const uint64_t chosen = read_mask(w, mask_reg), bad = mask_bad(w, mask_reg);
    put(w, dst,
        (struct bits){(chosen & b.low) | (~chosen & a.low) | bad,
                      (chosen & b.high) | (~chosen & a.high) | bad},
        mask);
}

static uint64_t written_lanes(const struct wave *w, const struct inst *i)
{
    uint32_t nothing[LANES_MOST] = {0}, out[LANES_MOST];
    if (i->form != FORM_DPP && i->form != FORM_E64_DPP)
        return exec_mask(w);
    return dpp_lanes(w, i, nothing, out);
}

static void vector(struct wave *w, const struct inst *i)
{
    struct bits in[4] = {first(w, i)};
    uint64_t any = in[0].low | in[0].high;
    for (int s = 1; s < i->n_src && s < 3; s++) {
        struct operand o = i->src[s];
        in[s] = halves(w, &o);
        any |= in[s].low | in[s].high;
    }
    const uint64_t mask = written_lanes(w, i);
    if (i->op == OP_v_cndmask_b32) {
        choose(w, in[0], in[1], i->src[2].reg, i->dst.reg, mask);
        return;
    }
    if (i->family == VOPC) {
        const bool exec = i->sdst == REG_EXEC;
        put_mask(w, i->sdst, exec ? any & exec_mask(w) : any & mask);
        return;
    }
    if (adds_to_itself(i->op))
        any |= w->v_bad[i->dst.reg - SRC_VGPR][0] | w->v_bad[i->dst.reg - SRC_VGPR][1];
    const bool takes_carry = i->family == VOP2 && i->has_sdst;
    if (takes_carry)
        any |= mask_bad(w, i->src[2].reg);
    struct bits out = result(w, i, in, any);
    if (i->dst.half) {
        const struct bits old = {w->v_bad[i->dst.reg - SRC_VGPR][0],
                                 w->v_bad[i->dst.reg - SRC_VGPR][1]};
        out = i->dst.high ? (struct bits){old.low, any} : (struct bits){any, old.high};
    }
    for (unsigned r = 0; r < i->dst.n; r++)
        put(w, i->dst.reg + r, out, mask);
    if (i->has_sdst)
        put_mask(w, i->sdst, any & mask);
}

static void mix(struct wave *w, const struct inst *i)
{
    uint64_t any = 0;
    for (int s = 0; s < 3; s++) {
        struct operand o = i->src[s];
        o.half = i->op_sel_hi >> s & 1, o.high = i->op_sel >> s & 1;
        const struct bits b = halves(w, &o);
        any |= b.low | b.high;
    }
    uint64_t *old = w->v_bad[i->dst.reg - SRC_VGPR];
    put(w, i->dst.reg,
        (struct bits){i->op == OP_v_fma_mixhi_f16 ? old[0] : any,
                      i->op == OP_v_fma_mixlo_f16 ? old[1] : any},
        exec_mask(w));
}

static void dual(struct wave *w, const struct inst *i)
{
    struct bits out[2];
    for (int h = 0; h < 2; h++) {
        const struct half_pair *p = &i->pair[h];
        struct inst one = {.op = p->op, .n_src = 2, .literal = i->literal};
        one.src[0] = (struct operand){.reg = p->src[0], .n = 1};
        one.src[1] = (struct operand){.reg = p->src[1], .n = 1};
        const struct bits in[3] = {halves(w, &one.src[0]), halves(w, &one.src[1])};
        const bool moves = p->op == OP_v_dual_mov_b32;
        uint64_t any = in[0].low | in[0].high | (moves ? 0 : in[1].low | in[1].high);
        const uint64_t *old = w->v_bad[p->dst - SRC_VGPR];
        if (adds_to_itself(p->op))
            any |= old[0] | old[1];
        if (p->op == OP_v_dual_cndmask_b32) {
            const uint64_t chosen = read_mask(w, REG_VCC), bad = mask_bad(w, REG_VCC);
            out[h] = (struct bits){(chosen & in[1].low) | (~chosen & in[0].low) | bad,
                                   (chosen & in[1].high) | (~chosen & in[0].high) | bad};
        } else
            out[h] = result(w, &one, in, any);
    }
    for (int h = 0; h < 2; h++)
        put(w, i->pair[h].dst, out[h], exec_mask(w));
}

// ---- across lanes -------------------------------------------------------------------------------

static void to_scalar(struct wave *w, const struct inst *i)
{
    const struct bits b = halves(w, &i->src[0]);
    const uint64_t exec = exec_mask(w);
    unsigned lane = exec ? (unsigned)__builtin_ctzll(exec) : 0;
    uint64_t index_bad = 0;
    if (i->op == OP_v_readlane_b32) {
        lane = (unsigned)read_scalar(w, i, i->src[1].reg, 1) & (w->lanes - 1);
        index_bad = scalar_bad(w, i->src[1].reg, 1);
    }
    put_scalar(w, i->dst.reg, 1,
               (b.low >> lane & 1 ? 0xffff : 0) | (b.high >> lane & 1 ? 0xffff0000 : 0) |
                   (index_bad ? UINT32_MAX : 0));
}

static void to_lane(struct wave *w, const struct inst *i)
{
    const unsigned lane = (unsigned)read_scalar(w, i, i->src[1].reg, 1) & (w->lanes - 1);
    const uint64_t bad = scalar_bad(w, i->src[0].reg, 1);
    put(w, i->dst.reg, (struct bits){bad & 0xffff ? UINT64_MAX : 0, bad >> 16 ? UINT64_MAX : 0},
        (uint64_t)1 << lane);
}

static void swap(struct wave *w, const struct inst *i)
{
    const struct bits a = halves(w, &i->dst), b = halves(w, &i->src[0]);
    put(w, i->dst.reg, b, exec_mask(w));
    put(w, i->src[0].reg, a, exec_mask(w));
}

static void swap_halves(struct wave *w, const struct inst *i)
{
    const struct bits b = halves(w, &i->src[0]);
    if (w->lanes == 64)
        put(w, i->dst.reg, (struct bits){b.low << 32 | b.low >> 32, b.high << 32 | b.high >> 32},
            exec_mask(w));
}

static void permute_row(struct wave *w, const struct inst *i)
{
    const struct bits b = halves(w, &i->src[0]);
    const uint64_t which =
        (uint32_t)read_scalar(w, i, i->src[1].reg, 1) | read_scalar(w, i, i->src[2].reg, 1) << 32;
    const uint64_t exec = exec_mask(w);
    const bool inactive_too = i->op_sel & 1, zero = i->op_sel & 2;
    struct bits out = {0, 0};
    uint64_t written = 0;
    for (unsigned l = 0; l < w->lanes; l++) {
        const unsigned other = i->op == OP_v_permlanex16_b32 ? 16 : 0;
        const unsigned from = ((l & ~15u) ^ other) | (which >> 4 * (l & 15) & 15);
        const bool good = inactive_too || exec >> from & 1;
        if (good)
            out.low |= (b.low >> from & 1) << l, out.high |= (b.high >> from & 1) << l;
        written |= (uint64_t)(good || zero) << l;
    }
    put(w, i->dst.reg, out, written & exec);
}

// Row m of D is undefined where row m of A is, column n where column n of B is.
static void matrix(struct wave *w, const struct inst *i)
{
    struct operand a = i->src[0], b = i->src[1], c = i->src[2];
    const struct bits rows = halves(w, &a), columns = halves(w, &b);
    const uint64_t bad_rows = rows.low | rows.high, bad_columns = columns.low | columns.high;
    const unsigned lines = w->lanes / 16;
    for (unsigned v = 0; v < 16 / lines; v++) {
        uint64_t bad = 0;
        for (unsigned l = 0; l < w->lanes; l++)
            bad |= ((bad_rows >> (lines * v + l / 16) | bad_columns >> l % 16) & 1) << l;
        if (c.reg >= SRC_VGPR)
            bad |= w->v_bad[c.reg - SRC_VGPR + v][0] | w->v_bad[c.reg - SRC_VGPR + v][1];
        put(w, i->dst.reg + v, (struct bits){bad, bad}, all_lanes(w));
    }
}

// ---- scalars ------------------------------------------------------------------------------------

static uint64_t spread(uint64_t bad) // any bit: all of them
{
    return bad ? UINT64_MAX : 0;
}

static uint64_t scalar_result(const struct wave *w, const struct inst *i, uint64_t a, uint64_t b)
{
    const uint64_t x = i->n_src > 0 ? read_scalar(w, i, i->src[0].reg, i->src[0].n) : 0,
                   y = i->n_src > 1 ? read_scalar(w, i, i->src[1].reg, i->src[1].n) : 0;
    switch (i->op) {
    case OP_s_mov_b32:
    case OP_s_mov_b64:
    case OP_s_not_b32:
    case OP_s_not_b64:
        return a;
    case OP_s_cselect_b32:
    case OP_s_cselect_b64:
        return w->scc_bad ? UINT64_MAX : w->scc ? a : b;
    case OP_s_and_b32:
    case OP_s_and_b64:
        return (a & b) | (a & y) | (x & b);
    case OP_s_and_not1_b32:
    case OP_s_and_not1_b64:
        return (a & b) | (a & ~y) | (x & b);
    case OP_s_or_b32:
    case OP_s_or_b64:
        return (a & b) | (a & ~y) | (~x & b);
    case OP_s_xor_b32:
    case OP_s_xor_b64:
        return a | b;
    case OP_s_lshl_b32:
    case OP_s_lshl_b64:
        return b ? UINT64_MAX : a << (y & (i->dst.n == 2 ? 63 : 31));
    case OP_s_lshr_b32:
    case OP_s_lshr_b64:
        return b ? UINT64_MAX : a >> (y & (i->dst.n == 2 ? 63 : 31));
    case OP_s_bfe_u32:
    case OP_s_bfe_i32: {
        const unsigned at = y & 31, n = y >> 16 & 127;
        return b ? UINT64_MAX : spread(a >> at & (n >= 32 ? UINT32_MAX : (1u << n) - 1));
    }
    case OP_s_pack_ll_b32_b16:
        return (a & 0xffff) | (b & 0xffff) << 16;
    default:
        return spread(a | b);
    }
}

static void save_exec(struct wave *w, const struct inst *i, uint64_t a)
{
    const uint64_t exec = exec_mask(w);
    const bool both = i->op == OP_s_and_saveexec_b32 || i->op == OP_s_and_saveexec_b64;
    put_scalar(w, i->dst.reg, i->dst.n, 0);
    put_scalar(w, REG_EXEC, i->dst.n, both ? a & exec : a & ~exec);
    w->scc_bad = false;
}

static bool keeps_scc(const struct inst *i)
{
    switch (i->op) {
    case OP_s_mul_i32:
    case OP_s_mul_hi_u32:
    case OP_s_mul_hi_i32:
    case OP_s_cselect_b32:
    case OP_s_cselect_b64:
    case OP_s_bfm_b32:
    case OP_s_bfm_b64:
    case OP_s_pack_ll_b32_b16:
        return true;
    default:
        return (i->op >= OP_s_add_f32 && i->op <= OP_s_fmac_f32) ||
               (i->family == SOP1 && i->op != OP_s_not_b32 && i->op != OP_s_not_b64 &&
                i->op != OP_s_abs_i32 && i->op != OP_s_bcnt1_i32_b32 &&
                i->op != OP_s_bcnt1_i32_b64);
    }
}

static void scalar(struct wave *w, const struct inst *i)
{
    const uint64_t a = i->n_src > 0 ? scalar_bad(w, i->src[0].reg, i->src[0].n) : 0,
                   b = i->n_src > 1 ? scalar_bad(w, i->src[1].reg, i->src[1].n) : 0;
    if (i->op >= OP_s_and_saveexec_b32 && i->op <= OP_s_or_saveexec_b64) {
        save_exec(w, i, a);
        return;
    }
    if (i->family == SOPC) {
        w->scc_bad = a || b;
        return;
    }
    uint64_t out = scalar_result(w, i, a, b);
    if (i->op == OP_s_addc_u32 || i->op == OP_s_subb_u32)
        out |= spread(w->scc_bad);
    if (i->op == OP_s_fmac_f32)
        out |= spread(w->s_bad[i->dst.reg]);
    if (i->dst.n == 0) // s_setpc
        return;
    if (i->dst.n == 1)
        out = (uint32_t)out;
    if (!keeps_scc(i))
        w->scc_bad = out != 0;
    put_scalar(w, i->dst.reg, i->dst.n, out);
}

static void scalar_small(struct wave *w, const struct inst *i) // SOPK
{
    const uint64_t old = scalar_bad(w, i->dst.reg, 1);
    if (i->op == OP_s_movk_i32)
        put_scalar(w, i->dst.reg, 1, 0);
    else if (i->op == OP_s_addk_i32 || i->op == OP_s_mulk_i32) {
        put_scalar(w, i->dst.reg, 1, spread(old));
        if (i->op == OP_s_addk_i32)
            w->scc_bad = old != 0;
    } else
        w->scc_bad = old != 0;
}

static void branch(struct wave *w, const struct inst *i)
{
    bool bad = false;
    if (i->op == OP_s_cbranch_scc0 || i->op == OP_s_cbranch_scc1)
        bad = w->scc_bad;
    else if (i->op == OP_s_cbranch_vccz || i->op == OP_s_cbranch_vccnz)
        bad = mask_bad(w, REG_VCC) && !(read_mask(w, REG_VCC) & ~mask_bad(w, REG_VCC));
    if (bad)
        watch_found(w, "branch", "the branch depends on what was never written");
}

// ---- all ----------------------------------------------------------------------------------------

void defined_step(struct wave *w, const struct inst *i)
{
    switch (i->family) {
    case SOPP:
        branch(w, i);
        return;
    case SOPK:
        scalar_small(w, i);
        return;
    case SOP2:
    case SOP1:
    case SOPC:
        scalar(w, i);
        return;
    case SMEM:
    case DS:
    case GLOBAL:
    case MUBUF: // memory.c
        return;
    case VOPD:
        dual(w, i);
        return;
    default:
        break;
    }
    switch (i->op) {
    case OP_v_nop:
        return;
    case OP_v_swap_b32:
        swap(w, i);
        return;
    case OP_v_readfirstlane_b32:
    case OP_v_readlane_b32:
        to_scalar(w, i);
        return;
    case OP_v_writelane_b32:
        to_lane(w, i);
        return;
    case OP_v_permlane64_b32:
        swap_halves(w, i);
        return;
    case OP_v_permlane16_b32:
    case OP_v_permlanex16_b32:
        permute_row(w, i);
        return;
    case OP_v_wmma_f32_16x16x16_f16:
        matrix(w, i);
        return;
    case OP_v_fma_mix_f32:
    case OP_v_fma_mixlo_f16:
    case OP_v_fma_mixhi_f16:
        mix(w, i);
        return;
    default:
        vector(w, i);
    }
}
