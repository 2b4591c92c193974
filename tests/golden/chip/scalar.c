// scalar.c - the scalar unit (wave.h): integers and, as gfx11.5 has them, floats; branches; and
// what of the sequencer's instructions has an effect. After the guides' chapter on scalar
// operations.
#include "wave.h"

#include <math.h>
#include <string.h>

static float as_float(uint32_t x)
{
    float f;
    memcpy(&f, &x, 4);
    return f;
}

static uint32_t as_bits(float f)
{
    uint32_t x;
    memcpy(&x, &f, 4);
    return x;
}

static uint64_t constant(const struct wave *w, const struct inst *i, unsigned reg)
{
    static const float floats[] = {0.5f, -0.5f, 1, -1, 2, -2, 4, -4, 0.15915494f};
    if (reg >= 128 && reg <= 192)
        return reg - 128;
    if (reg > 192 && reg <= 208)
        return (uint64_t)(192 - (int64_t)reg);
    if (reg >= 240 && reg <= 248)
        return as_bits(floats[reg - 240]);
    if (reg == SRC_LITERAL)
        return i->literal;
    if (reg == REG_SCC)
        return w->scc;
    if (reg == 252)
        return exec_mask(w) == 0;
    if (reg == 251)
        return read_mask(w, REG_VCC) == 0;
    chip_stop(w, "operand %u is none that is known", reg);
}

uint64_t read_scalar(const struct wave *w, const struct inst *i, unsigned reg, unsigned n)
{
    if (reg == REG_NULL)
        return 0;
    if (reg < SGPRS)
        return n == 2 ? w->s[reg] | (uint64_t)w->s[reg + 1] << 32 : w->s[reg];
    const uint64_t x = constant(w, i, reg);
    return n == 2 ? x : (uint32_t)x;
}

static void write_scalar(struct wave *w, const struct inst *i, uint64_t x)
{
    if (i->dst.reg == REG_NULL)
        return;
    w->s[i->dst.reg] = (uint32_t)x;
    if (i->dst.n == 2)
        w->s[i->dst.reg + 1] = (uint32_t)(x >> 32);
}

static uint64_t bit_field(uint64_t x, uint32_t control, bool is_signed)
{
    const unsigned at = control & 31, n = control >> 16 & 127;
    if (n == 0)
        return 0;
    if (n >= 32)
        return is_signed ? (uint32_t)((int32_t)x >> at) : (uint32_t)x >> at;
    const uint32_t field = (uint32_t)x >> at & ((1u << n) - 1);
    return is_signed ? (uint32_t)((int32_t)(field << (32 - n)) >> (32 - n)) : field;
}

static float least(float a, float b)
{
    return isnan(a) ? b : isnan(b) ? a : a < b ? a : a > b ? b : signbit(a) ? a : b;
}

static float most(float a, float b)
{
    return isnan(a) ? b : isnan(b) ? a : a > b ? a : a < b ? b : signbit(a) ? b : a;
}

static bool sop2_float(struct wave *w, const struct inst *i, uint32_t a, uint32_t b)
{
    const float x = as_float(a), y = as_float(b);
    switch (i->op) {
    case OP_s_add_f32:
        return write_scalar(w, i, as_bits(x + y)), true;
    case OP_s_sub_f32:
        return write_scalar(w, i, as_bits(x - y)), true;
    case OP_s_mul_f32:
        return write_scalar(w, i, as_bits(x * y)), true;
    case OP_s_min_f32:
        return write_scalar(w, i, as_bits(least(x, y))), true;
    case OP_s_max_f32:
        return write_scalar(w, i, as_bits(most(x, y))), true;
    case OP_s_fmac_f32:
        return write_scalar(w, i, as_bits(fmaf(x, y, as_float(w->s[i->dst.reg])))), true;
    default:
        return false;
    }
}

// What sets SCC to something else than "the result is not 0".
static bool sop2_carry(struct wave *w, const struct inst *i, uint32_t a, uint32_t b)
{
    const uint32_t carry = w->scc, sum = a + b, difference = a - b;
    const uint32_t over = (~(a ^ b) & (a ^ sum)) >> 31, under = ((a ^ b) & (a ^ difference)) >> 31;
    const unsigned shift = i->op - OP_s_lshl1_add_u32 + 1u;
    uint32_t out, scc;
    switch (i->op) {
    case OP_s_add_u32:
        out = sum, scc = sum < a;
        break;
    case OP_s_sub_u32:
        out = difference, scc = b > a;
        break;
    case OP_s_add_i32:
        out = sum, scc = over;
        break;
    case OP_s_sub_i32:
        out = difference, scc = under;
        break;
    case OP_s_addc_u32:
        out = sum + carry, scc = ((uint64_t)a + b + carry) >> 32 != 0;
        break;
    case OP_s_subb_u32:
        out = difference - carry, scc = (uint64_t)b + carry > a;
        break;
    case OP_s_lshl1_add_u32:
    case OP_s_lshl2_add_u32:
    case OP_s_lshl3_add_u32:
    case OP_s_lshl4_add_u32: {
        const uint64_t whole = ((uint64_t)a << shift) + b;
        out = (uint32_t)whole, scc = whole >> 32 != 0;
        break;
    }
    case OP_s_min_i32:
        scc = (int32_t)a < (int32_t)b, out = scc ? a : b;
        break;
    case OP_s_min_u32:
        scc = a < b, out = scc ? a : b;
        break;
    case OP_s_max_i32:
        scc = (int32_t)a >= (int32_t)b, out = scc ? a : b;
        break;
    case OP_s_max_u32:
        scc = a >= b, out = scc ? a : b;
        break;
    default:
        return false;
    }
    w->scc = scc;
    write_scalar(w, i, out);
    return true;
}

// What leaves SCC as it is.
static bool sop2_plain(struct wave *w, const struct inst *i, uint64_t a, uint64_t b)
{
    const unsigned n32 = (uint32_t)a & 31, n64 = (uint32_t)a & 63;
    uint64_t out;
    switch (i->op) {
    case OP_s_mul_i32:
        out = (uint32_t)a * (uint32_t)b;
        break;
    case OP_s_mul_hi_u32:
        out = (uint64_t)(uint32_t)a * (uint32_t)b >> 32;
        break;
    case OP_s_mul_hi_i32:
        out = (uint64_t)((int64_t)(int32_t)a * (int32_t)b) >> 32;
        break;
    case OP_s_cselect_b32:
    case OP_s_cselect_b64:
        out = w->scc ? a : b;
        break;
    case OP_s_bfm_b32:
        out = (uint32_t)(((1u << n32) - 1) << (b & 31));
        break;
    case OP_s_bfm_b64:
        out = (((uint64_t)1 << n64) - 1) << (b & 63);
        break;
    case OP_s_pack_ll_b32_b16:
        out = (a & 0xffff) | (b & 0xffff) << 16;
        break;
    default:
        return false;
    }
    write_scalar(w, i, out);
    return true;
}

// The rest: SCC says whether the result is not 0.
static uint64_t sop2_logic(const struct wave *w, const struct inst *i, uint64_t a, uint64_t b)
{
    switch (i->op) {
    case OP_s_and_b32:
    case OP_s_and_b64:
        return a & b;
    case OP_s_or_b32:
    case OP_s_or_b64:
        return a | b;
    case OP_s_xor_b32:
    case OP_s_xor_b64:
        return a ^ b;
    case OP_s_nand_b32:
    case OP_s_nand_b64:
        return ~(a & b);
    case OP_s_nor_b32:
    case OP_s_nor_b64:
        return ~(a | b);
    case OP_s_and_not1_b32:
    case OP_s_and_not1_b64:
        return a & ~b;
    case OP_s_or_not1_b32:
    case OP_s_or_not1_b64:
        return a | ~b;
    case OP_s_lshl_b32:
        return (uint32_t)a << (b & 31);
    case OP_s_lshl_b64:
        return a << (b & 63);
    case OP_s_lshr_b32:
        return (uint32_t)a >> (b & 31);
    case OP_s_lshr_b64:
        return a >> (b & 63);
    case OP_s_ashr_i32:
        return (uint32_t)((int32_t)a >> (b & 31));
    case OP_s_bfe_u32:
        return bit_field(a, (uint32_t)b, false);
    case OP_s_bfe_i32:
        return bit_field(a, (uint32_t)b, true);
    default:
        chip_stop(w, "%s is decoded and not executed", op_info[i->op].name);
    }
}

static void sop2(struct wave *w, const struct inst *i)
{
    const uint64_t a = read_scalar(w, i, i->src[0].reg, i->src[0].n),
                   b = read_scalar(w, i, i->src[1].reg, i->src[1].n);
    if (sop2_plain(w, i, a, b) || sop2_carry(w, i, (uint32_t)a, (uint32_t)b) ||
        sop2_float(w, i, (uint32_t)a, (uint32_t)b))
        return;
    uint64_t out = sop2_logic(w, i, a, b);
    if (i->dst.n == 1)
        out = (uint32_t)out;
    w->scc = out != 0;
    write_scalar(w, i, out);
}

static uint32_t to_unsigned(float x)
{
    return !(x > -1) ? 0 : x >= 4294967296.0f ? UINT32_MAX : (uint32_t)x;
}

static uint32_t to_signed(float x)
{
    return isnan(x)             ? 0
           : x >= 2147483648.0f ? (uint32_t)INT32_MAX
           : x < -2147483648.0f ? (uint32_t)INT32_MIN
                                : (uint32_t)(int32_t)x;
}

static uint64_t replicate(uint32_t x)
{
    uint64_t out = 0;
    for (int b = 0; b < 32; b++)
        out |= (uint64_t)(x >> b & 1) * 3 << 2 * b;
    return out;
}

static uint32_t reverse(uint32_t x)
{
    uint32_t out = 0;
    for (int b = 0; b < 32; b++)
        out |= (x >> b & 1) << (31 - b);
    return out;
}

// Those that leave SCC alone.
static bool sop1_plain(struct wave *w, const struct inst *i, uint64_t a)
{
    const uint32_t x = (uint32_t)a;
    uint64_t out;
    switch (i->op) {
    case OP_s_mov_b32:
    case OP_s_mov_b64:
        out = a;
        break;
    case OP_s_brev_b32:
        out = reverse(x);
        break;
    case OP_s_ctz_i32_b32:
        out = x ? (uint32_t)__builtin_ctz(x) : UINT32_MAX;
        break;
    case OP_s_ctz_i32_b64:
        out = a ? (uint32_t)__builtin_ctzll(a) : UINT32_MAX;
        break;
    case OP_s_clz_i32_u32:
        out = x ? (uint32_t)__builtin_clz(x) : UINT32_MAX;
        break;
    case OP_s_sext_i32_i8:
        out = (uint32_t)(int8_t)x;
        break;
    case OP_s_sext_i32_i16:
        out = (uint32_t)(int16_t)x;
        break;
    case OP_s_bitreplicate_b64_b32:
        out = replicate(x);
        break;
    case OP_s_cvt_f32_i32:
        out = as_bits((float)(int32_t)x);
        break;
    case OP_s_cvt_f32_u32:
        out = as_bits((float)x);
        break;
    case OP_s_cvt_i32_f32:
        out = to_signed(as_float(x));
        break;
    case OP_s_cvt_u32_f32:
        out = to_unsigned(as_float(x));
        break;
    case OP_s_getpc_b64:
        // 48 bits: the compiler makes a buffer's descriptor of it, where more would be a stride.
        out = (w->program->address + w->pc * 4) & 0xffffffffffffu;
        break;
    default:
        return false;
    }
    write_scalar(w, i, out);
    return true;
}

static void sop1(struct wave *w, const struct inst *i)
{
    const uint64_t a = read_scalar(w, i, i->src[0].reg, i->src[0].n), exec = exec_mask(w);
    const bool wide = i->dst.n == 2;
    uint64_t out = 0, now = 0;
    if (sop1_plain(w, i, a))
        return;
    switch (i->op) {
    case OP_s_not_b32:
    case OP_s_not_b64:
        out = ~a;
        break;
    case OP_s_bcnt1_i32_b32:
    case OP_s_bcnt1_i32_b64:
        out = (uint64_t)__builtin_popcountll(a);
        break;
    case OP_s_abs_i32:
        out = (int32_t)a < 0 ? 0 - (uint32_t)a : (uint32_t)a;
        break;
    case OP_s_and_saveexec_b32:
    case OP_s_and_saveexec_b64:
    case OP_s_or_saveexec_b32:
    case OP_s_or_saveexec_b64:
        if (wide != (w->lanes == 64))
            chip_stop(w, "%s in a wave of %u", op_info[i->op].name, w->lanes);
        now =
            i->op == OP_s_and_saveexec_b32 || i->op == OP_s_and_saveexec_b64 ? a & exec : a | exec;
        write_scalar(w, i, exec);
        write_mask(w, REG_EXEC, now);
        w->scc = exec_mask(w) != 0;
        return;
    default:
        chip_stop(w, "%s is decoded and not executed", op_info[i->op].name);
    }
    out = wide ? out : (uint32_t)out;
    w->scc = out != 0;
    write_scalar(w, i, out);
}

static bool compare_float(const struct wave *w, enum op op, float a, float b)
{
    switch (op) {
    case OP_s_cmp_lt_f32:
        return a < b;
    case OP_s_cmp_eq_f32:
        return a == b;
    case OP_s_cmp_le_f32:
        return a <= b;
    case OP_s_cmp_gt_f32:
        return a > b;
    case OP_s_cmp_lg_f32:
        return a < b || a > b;
    case OP_s_cmp_ge_f32:
        return a >= b;
    case OP_s_cmp_neq_f32:
        return !(a == b);
    case OP_s_cmp_nlt_f32:
        return !(a < b);
    default:
        chip_stop(w, "%s is decoded and not executed", op_info[op].name);
    }
}

// how: 0 ==, 1 !=, 2 >, 3 >=, 4 <, 5 <=
static bool ordered(int how, int64_t a, int64_t b)
{
    const bool results[] = {a == b, a != b, a > b, a >= b, a < b, a <= b};
    return results[how];
}

static void sopc(struct wave *w, const struct inst *i)
{
    const uint64_t a = read_scalar(w, i, i->src[0].reg, i->src[0].n),
                   b = read_scalar(w, i, i->src[1].reg, i->src[1].n);
    if (i->op <= OP_s_cmp_le_i32)
        w->scc = ordered(i->op - OP_s_cmp_eq_i32, (int32_t)a, (int32_t)b);
    else if (i->op <= OP_s_cmp_le_u32)
        w->scc = ordered(i->op - OP_s_cmp_eq_u32, (int64_t)a, (int64_t)b);
    else if (i->op == OP_s_bitcmp0_b32 || i->op == OP_s_bitcmp1_b32)
        w->scc = (a >> (b & 31) & 1) == (i->op == OP_s_bitcmp1_b32);
    else if (i->op == OP_s_cmp_eq_u64 || i->op == OP_s_cmp_lg_u64)
        w->scc = (a == b) == (i->op == OP_s_cmp_eq_u64);
    else
        w->scc = compare_float(w, i->op, as_float((uint32_t)a), as_float((uint32_t)b));
}

static void sopk(struct wave *w, const struct inst *i)
{
    const uint32_t a = i->dst.reg == REG_NULL ? 0 : w->s[i->dst.reg], k = (uint32_t)i->offset,
                   sum = a + k;
    if (i->op == OP_s_movk_i32)
        write_scalar(w, i, k);
    else if (i->op == OP_s_addk_i32) {
        w->scc = (~(a ^ k) & (a ^ sum)) >> 31;
        write_scalar(w, i, sum);
    } else if (i->op == OP_s_mulk_i32)
        write_scalar(w, i, a * k);
    else if (i->op <= OP_s_cmpk_le_i32)
        w->scc = ordered(i->op - OP_s_cmpk_eq_i32, (int32_t)a, i->offset);
    else
        w->scc = ordered(i->op - OP_s_cmpk_eq_u32, a, (uint16_t)k);
}

static bool taken(const struct wave *w, enum op op)
{
    switch (op) {
    case OP_s_branch:
        return true;
    case OP_s_cbranch_scc0:
        return !w->scc;
    case OP_s_cbranch_scc1:
        return w->scc;
    case OP_s_cbranch_vccz:
        return read_mask(w, REG_VCC) == 0;
    case OP_s_cbranch_vccnz:
        return read_mask(w, REG_VCC) != 0;
    case OP_s_cbranch_execz:
        return exec_mask(w) == 0;
    default:
        return exec_mask(w) != 0;
    }
}

static void branch(struct wave *w, const struct inst *i)
{
    if (taken(w, i->op))
        w->pc = (size_t)((int64_t)w->pc + i->offset);
}

static void nothing(struct wave *w, const struct inst *i)
{
    (void)w, (void)i;
}

static void sequencer(struct wave *w, const struct inst *i)
{
    const uint32_t k = (uint32_t)i->offset;
    switch (i->op) {
    case OP_s_endpgm:
        w->done = true;
        break;
    case OP_s_barrier:
        w->at_barrier = true;
        break;
    case OP_s_round_mode:
        w->mode = (w->mode & ~15u) | (k & 15);
        float_mode_set(w->mode);
        break;
    case OP_s_denorm_mode:
        w->mode = (w->mode & ~0xf0u) | (k & 15) << 4;
        float_mode_set(w->mode);
        break;
    case OP_s_setpc_b64:
        w->pc = (read_scalar(w, i, i->src[0].reg, 2) - w->program->address) / 4;
        break;
    default: // s_code_end: it ran past the end
        chip_stop(w, "%s is reached", op_info[i->op].name);
    }
}

run_inst *scalar_step(const struct inst *i)
{
    if (i->op >= OP_s_branch && i->op <= OP_s_cbranch_execnz)
        return branch;
    switch (i->op) {
    case OP_s_nop:
    case OP_s_set_inst_prefetch_distance:
    case OP_s_clause:
    case OP_s_delay_alu:
    case OP_s_waitcnt_depctr:
    case OP_s_waitcnt:
    case OP_s_sendmsg:
        return nothing;
    case OP_s_setpc_b64:
        return sequencer;
    default:
        return i->family == SOP2   ? sop2
               : i->family == SOP1 ? sop1
               : i->family == SOPC ? sopc
               : i->family == SOPK ? sopk
               : i->family == SOPP ? sequencer
                                   : NULL;
    }
}
