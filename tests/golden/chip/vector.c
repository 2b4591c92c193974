// vector.c - vector instructions whose lanes keep to themselves (wave.h): sources with their
// modifiers and DPP, the arithmetic of lanes.h, and what is written where EXEC says so.
#include "wave.h"

#include "lanes.h"

#include <string.h>

static uint32_t modified(const struct operand *o, uint32_t x)
{
    if (o->abs)
        x &= 0x7fffffff;
    return o->neg ? x ^ 0x80000000 : x;
}

const uint32_t *read_vector(const struct wave *w, const struct inst *i, const struct operand *o,
                            uint32_t tmp[LANES_MOST])
{
    const unsigned n = w->lanes;
    if (o->reg < SRC_VGPR) {
        uint32_t x = modified(o, (uint32_t)read_scalar(w, i, o->reg, 1));
        if (o->half) {
            if (o->reg >= 240 && o->reg <= 248) // the same number as a half float
                x = float_to_half((float)(union {
                                      uint32_t u;
                                      float f;
                                  }){x}
                                      .f,
                                  0);
            x = o->high ? x >> 16 : x & 0xffff;
        }
        for (unsigned l = 0; l < n; l++)
            tmp[l] = x;
        return tmp;
    }
    const uint32_t *row = w->v[o->reg - SRC_VGPR];
    if (!o->half && !o->abs && !o->neg)
        return row;
    for (unsigned l = 0; l < n; l++)
        tmp[l] = !o->half ? modified(o, row[l]) : o->high ? row[l] >> 16 : row[l] & 0xffff;
    if (o->half && (o->neg || o->abs))
        for (unsigned l = 0; l < n; l++)
            tmp[l] = (o->abs ? tmp[l] & 0x7fff : tmp[l]) ^ (o->neg ? 0x8000 : 0);
    return tmp;
}

void write_vector(struct wave *w, unsigned reg, const uint32_t *values, uint64_t mask)
{
    uint32_t *row = w->v[reg - SRC_VGPR];
    for (unsigned l = 0; l < w->lanes; l++)
        row[l] = mask >> l & 1 ? values[l] : row[l];
}

// ---- DPP ----------------------------------------------------------------------------------------

// The lane that is read, or -1: outside of the row.
static int dpp_source(unsigned control, int lane)
{
    const int row = lane & ~15, in_row = lane & 15, n = control & 15;
    int from;
    if (control < 256)
        return (lane & ~3) | (int)(control >> 2 * (lane & 3) & 3);
    switch (control >> 4) {
    case 0x10:
        from = in_row + n;
        break;
    case 0x11:
        from = in_row - n;
        break;
    case 0x12:
        from = (in_row - n) & 15;
        break;
    case 0x14:
        from = control == 0x140 ? 15 - in_row : (in_row & 8) | (7 - (in_row & 7));
        break;
    case 0x15:
        from = n;
        break;
    default:
        from = in_row ^ n;
    }
    return from < 0 || from > 15 ? -1 : row | from;
}

uint64_t dpp_lanes(const struct wave *w, const struct inst *i, const uint32_t *row,
                   uint32_t out[LANES_MOST])
{
    const uint64_t exec = exec_mask(w);
    const unsigned kind = i->dpp >> 4;
    uint64_t written = 0;
    if (i->dpp >= 256 && kind != 0x10 && kind != 0x11 && kind != 0x12 && kind != 0x15 &&
        kind != 0x16 && i->dpp != 0x140 && i->dpp != 0x141)
        chip_stop(w, "DPP control %x is decoded and not executed", i->dpp);
    for (int l = 0; l < (int)w->lanes; l++) {
        const bool masked =
            !(i->row_mask >> (l >> 4 & 3) & 1) || !(i->bank_mask >> (l >> 2 & 3) & 1);
        const int from = dpp_source(i->dpp, l);
        const bool good = from >= 0 && (i->fetch_inactive || exec >> from & 1);
        out[l] = good ? row[from] : 0;
        if (!masked && (good || i->bound_ctrl))
            written |= (uint64_t)1 << l;
    }
    return written & exec;
}

// ---- one destination, up to three sources -------------------------------------------------------

static void scale_and_clamp(const struct inst *i, uint32_t *d, unsigned n)
{
    static const float factors[] = {1, 2, 4, 0.5f};
    for (unsigned l = 0; l < n; l++) {
        float f;
        memcpy(&f, &d[l], 4);
        f *= factors[i->omod];
        if (i->clamp)
            f = f > 0 ? f < 1 ? f : 1 : 0; // NaN too is 0
        memcpy(&d[l], &f, 4);
    }
}

// Clamped sums and differences of integers stop at the ends of 32 bits. false: no such operation.
static bool saturate(const struct inst *i, uint32_t *d, const uint32_t *a, const uint32_t *b,
                     unsigned n)
{
    if (i->op != OP_v_add_nc_u32 && i->op != OP_v_sub_nc_u32 && i->op != OP_v_subrev_nc_u32)
        return false;
    for (unsigned l = 0; l < n; l++) {
        const uint32_t from = i->op == OP_v_subrev_nc_u32 ? b[l] : a[l],
                       less = i->op == OP_v_subrev_nc_u32 ? a[l] : b[l];
        if (i->op == OP_v_add_nc_u32)
            d[l] = d[l] < from ? UINT32_MAX : d[l];
        else
            d[l] = from < less ? 0 : d[l];
    }
    return true;
}

// Source 0 and the lanes that are written, DPP or not.
static const uint32_t *first_source(const struct wave *w, const struct inst *i,
                                    uint32_t tmp[LANES_MOST], uint64_t *mask)
{
    *mask = exec_mask(w);
    if (i->form != FORM_DPP && i->form != FORM_E64_DPP)
        return read_vector(w, i, &i->src[0], tmp);
    *mask = dpp_lanes(w, i, w->v[i->src[0].reg - SRC_VGPR], tmp);
    if (i->src[0].half)
        chip_stop(w, "DPP of halves is decoded and not executed");
    for (unsigned l = 0; l < w->lanes; l++)
        tmp[l] = modified(&i->src[0], tmp[l]);
    return tmp;
}

static void put_halves(const struct wave *w, const struct inst *i, uint32_t *d)
{
    const uint32_t *old = w->v[i->dst.reg - SRC_VGPR];
    for (unsigned l = 0; l < w->lanes; l++)
        d[l] =
            i->dst.high ? (old[l] & 0xffff) | d[l] << 16 : (old[l] & 0xffff0000) | (d[l] & 0xffff);
}

static void plain(struct wave *w, const struct inst *i)
{
    uint32_t tmp[3][LANES_MOST], d[LANES_MOST];
    const uint32_t *row[3] = {tmp[0], tmp[1], tmp[2]};
    uint64_t mask;
    row[0] = first_source(w, i, tmp[0], &mask);
    for (int s = 1; s < i->n_src; s++)
        row[s] = read_vector(w, i, &i->src[s], tmp[s]);
    // The literal of v_fmamk is its second factor.
    if (i->op == OP_v_fmac_f32)
        memcpy(d, w->v[i->dst.reg - SRC_VGPR], sizeof(d));
    lane_operation_of(i->op)(d, row[0], row[1], row[2], w->lanes);
    if ((i->omod || i->clamp) && !saturate(i, d, row[0], row[1], w->lanes)) {
        if (!lane_is_float(i->op))
            chip_stop(w, "%s with a clamp is decoded and not executed", op_info[i->op].name);
        scale_and_clamp(i, d, w->lanes);
    }
    if (i->dst.half)
        put_halves(w, i, d);
    write_vector(w, i->dst.reg, d, mask);
}

static void to_half(struct wave *w, const struct inst *i)
{
    uint32_t tmp[LANES_MOST], d[LANES_MOST];
    uint64_t mask;
    const uint32_t *row = first_source(w, i, tmp, &mask);
    memcpy(d, row, sizeof(d));
    if (i->omod || i->clamp)
        scale_and_clamp(i, d, w->lanes);
    for (unsigned l = 0; l < w->lanes; l++) {
        float f;
        memcpy(&f, &d[l], 4);
        d[l] = float_to_half(f, w->mode >> 2 & 3);
    }
    put_halves(w, i, d);
    write_vector(w, i->dst.reg, d, mask);
}

static void compare(struct wave *w, const struct inst *i)
{
    uint32_t tmp[2][LANES_MOST], d[LANES_MOST];
    uint64_t mask, out = 0;
    const uint32_t *a = first_source(w, i, tmp[0], &mask);
    const uint32_t *b = read_vector(w, i, &i->src[1], tmp[1]);
    lane_operation_of(i->op)(d, a, b, b, w->lanes);
    for (unsigned l = 0; l < w->lanes; l++)
        out |= (uint64_t)(d[l] & 1) << l;
    write_mask(w, i->sdst, out & mask);
}

static void choose(struct wave *w, const struct inst *i)
{
    uint32_t tmp[2][LANES_MOST], d[LANES_MOST];
    uint64_t mask;
    const uint32_t *a = first_source(w, i, tmp[0], &mask);
    const uint32_t *b = read_vector(w, i, &i->src[1], tmp[1]);
    const uint64_t chosen = read_mask(w, i->src[2].reg);
    for (unsigned l = 0; l < w->lanes; l++)
        d[l] = chosen >> l & 1 ? b[l] : a[l];
    write_vector(w, i->dst.reg, d, mask);
}

// Sums and differences with carries.
static void carry(struct wave *w, const struct inst *i)
{
    uint32_t tmp[2][LANES_MOST], d[LANES_MOST];
    uint64_t mask, out = 0;
    const uint32_t *a = first_source(w, i, tmp[0], &mask);
    const uint32_t *b = read_vector(w, i, &i->src[1], tmp[1]);
    const bool takes = i->family == VOP2;
    const uint64_t in = takes ? read_mask(w, i->src[2].reg) : 0;
    for (unsigned l = 0; l < w->lanes; l++) {
        const uint64_t c = in >> l & 1;
        uint64_t x;
        if (i->op == OP_v_add_co_u32 || i->op == OP_v_add_co_ci_u32)
            x = (uint64_t)a[l] + b[l] + c;
        else if (i->op == OP_v_sub_co_u32 || i->op == OP_v_sub_co_ci_u32)
            x = (uint64_t)a[l] - b[l] - c;
        else
            x = (uint64_t)b[l] - a[l] - c;
        d[l] = (uint32_t)x;
        out |= (x >> 32 & 1) << l;
    }
    write_vector(w, i->dst.reg, d, mask);
    write_mask(w, i->sdst, out & mask);
}

static void wide(struct wave *w, const struct inst *i)
{
    uint32_t tmp[LANES_MOST], low[LANES_MOST], high[LANES_MOST];
    const uint32_t *n = read_vector(w, i, &i->src[0], tmp);
    const unsigned reg = i->src[1].reg;
    const uint64_t same = reg < SRC_VGPR ? read_scalar(w, i, reg, 2) : 0;
    for (unsigned l = 0; l < w->lanes; l++) {
        uint64_t x = same;
        if (reg >= SRC_VGPR)
            x = w->v[reg - SRC_VGPR][l] | (uint64_t)w->v[reg - SRC_VGPR + 1][l] << 32;
        x = i->op == OP_v_lshlrev_b64 ? x << (n[l] & 63) : x >> (n[l] & 63);
        low[l] = (uint32_t)x, high[l] = (uint32_t)(x >> 32);
    }
    write_vector(w, i->dst.reg, low, exec_mask(w));
    write_vector(w, i->dst.reg + 1u, high, exec_mask(w));
}

static void wide_product(struct wave *w, const struct inst *i)
{
    uint32_t tmp[2][LANES_MOST], low[LANES_MOST], high[LANES_MOST];
    uint64_t out = 0;
    const uint32_t *a = read_vector(w, i, &i->src[0], tmp[0]),
                   *b = read_vector(w, i, &i->src[1], tmp[1]);
    const unsigned reg = i->src[2].reg;
    const uint64_t same = reg < SRC_VGPR ? read_scalar(w, i, reg, 2) : 0;
    for (unsigned l = 0; l < w->lanes; l++) {
        uint64_t x = same, sum;
        if (reg >= SRC_VGPR)
            x = w->v[reg - SRC_VGPR][l] | (uint64_t)w->v[reg - SRC_VGPR + 1][l] << 32;
        out |= (uint64_t)__builtin_add_overflow((uint64_t)a[l] * b[l], x, &sum) << l;
        low[l] = (uint32_t)sum, high[l] = (uint32_t)(sum >> 32);
    }
    write_vector(w, i->dst.reg, low, exec_mask(w));
    write_vector(w, i->dst.reg + 1u, high, exec_mask(w));
    write_mask(w, i->sdst, out & exec_mask(w));
}

// Sources that are f32 or half of a register each; the sum in f32, then rounded once more for the
// two that give halves.
static void mix(struct wave *w, const struct inst *i)
{
    uint32_t tmp[3][LANES_MOST], d[LANES_MOST];
    const uint32_t *row[3];
    for (int s = 0; s < 3; s++) {
        struct operand o = i->src[s];
        o.half = i->op_sel_hi >> s & 1, o.high = i->op_sel >> s & 1;
        row[s] = read_vector(w, i, &o, tmp[s]);
        if (o.half) {
            for (unsigned l = 0; l < w->lanes; l++) {
                const float f = half_to_float((uint16_t)row[s][l]);
                memcpy(&tmp[s][l], &f, 4);
            }
            row[s] = tmp[s];
        }
    }
    lane_operation_of(OP_v_fma_f32)(d, row[0], row[1], row[2], w->lanes);
    if (i->clamp)
        scale_and_clamp(i, d, w->lanes);
    if (i->op != OP_v_fma_mix_f32) {
        struct inst half = *i;
        half.dst.high = i->op == OP_v_fma_mixhi_f16;
        for (unsigned l = 0; l < w->lanes; l++) {
            float f;
            memcpy(&f, &d[l], 4);
            d[l] = float_to_half(f, w->mode >> 2 & 3);
        }
        put_halves(w, &half, d);
    }
    write_vector(w, i->dst.reg, d, exec_mask(w));
}

// Both halves read before either writes.
static void dual(struct wave *w, const struct inst *i)
{
    uint32_t d[2][LANES_MOST];
    for (int h = 0; h < 2; h++) {
        const struct half_pair *p = &i->pair[h];
        const struct operand oa = {.reg = p->src[0], .n = 1}, ob = {.reg = p->src[1], .n = 1},
                             literal = {.reg = SRC_LITERAL, .n = 1};
        uint32_t tmp[3][LANES_MOST];
        const uint32_t *a = read_vector(w, i, &oa, tmp[0]), *b = read_vector(w, i, &ob, tmp[1]),
                       *c = b;
        if (p->op == OP_v_dual_fmaak_f32)
            c = read_vector(w, i, &literal, tmp[2]);
        else if (p->op == OP_v_dual_fmamk_f32)
            b = read_vector(w, i, &literal, tmp[2]);
        if (p->op == OP_v_dual_cndmask_b32) {
            const uint64_t chosen = read_mask(w, REG_VCC);
            for (unsigned l = 0; l < w->lanes; l++)
                d[h][l] = chosen >> l & 1 ? b[l] : a[l];
            continue;
        }
        memcpy(d[h], w->v[p->dst - SRC_VGPR], sizeof(d[h]));
        lane_operation_of(p->op)(d[h], a, b, c, w->lanes);
    }
    for (int h = 0; h < 2; h++)
        write_vector(w, i->pair[h].dst, d[h], exec_mask(w));
}

run_inst *vector_step(const struct inst *i)
{
    switch (i->op) {
    case OP_v_cndmask_b32:
        return choose;
    case OP_v_cvt_f16_f32:
        return to_half;
    case OP_v_add_co_u32:
    case OP_v_sub_co_u32:
    case OP_v_subrev_co_u32:
    case OP_v_add_co_ci_u32:
    case OP_v_sub_co_ci_u32:
    case OP_v_subrev_co_ci_u32:
        return carry;
    case OP_v_lshlrev_b64:
    case OP_v_lshrrev_b64:
        return wide;
    case OP_v_mad_u64_u32:
        return wide_product;
    case OP_v_fma_mix_f32:
    case OP_v_fma_mixlo_f16:
    case OP_v_fma_mixhi_f16:
        return mix;
    default:
        if (i->family == VOPD)
            return dual;
        if (!lane_operation_of(i->op))
            return NULL;
        return i->family == VOPC ? compare : plain;
    }
}
