// across.c - vector instructions in which lanes see each other (wave.h): permutations, reads of one
// lane, counts of lanes below, and the matrix product.
#include "wave.h"

#include "lanes.h"

#include <string.h>

static void swap(struct wave *w, const struct inst *i)
{
    uint32_t *a = w->v[i->dst.reg - SRC_VGPR], *b = w->v[i->src[0].reg - SRC_VGPR];
    const uint64_t exec = exec_mask(w);
    for (unsigned l = 0; l < w->lanes; l++)
        if (exec >> l & 1) {
            const uint32_t x = a[l];
            a[l] = b[l], b[l] = x;
        }
}

static void put_scalar(struct wave *w, unsigned reg, uint32_t x)
{
    if (reg != REG_NULL)
        w->s[reg] = x;
}

static void read_first_lane(struct wave *w, const struct inst *i)
{
    uint32_t tmp[LANES_MOST];
    const uint32_t *row = read_vector(w, i, &i->src[0], tmp);
    const uint64_t exec = exec_mask(w);
    put_scalar(w, i->dst.reg, row[exec ? __builtin_ctzll(exec) : 0]);
}

static void read_lane(struct wave *w, const struct inst *i)
{
    uint32_t tmp[LANES_MOST];
    const uint32_t *row = read_vector(w, i, &i->src[0], tmp);
    const uint32_t lane = (uint32_t)read_scalar(w, i, i->src[1].reg, 1) & (w->lanes - 1);
    put_scalar(w, i->dst.reg, row[lane]);
}

static void write_lane(struct wave *w, const struct inst *i)
{
    const uint32_t lane = (uint32_t)read_scalar(w, i, i->src[1].reg, 1) & (w->lanes - 1);
    w->v[i->dst.reg - SRC_VGPR][lane] = (uint32_t)read_scalar(w, i, i->src[0].reg, 1);
}

static void swap_halves(struct wave *w, const struct inst *i)
{
    uint32_t d[LANES_MOST];
    if (w->lanes == 32) // there, nothing at all
        return;
    for (unsigned l = 0; l < w->lanes; l++)
        d[l] = w->v[i->src[0].reg - SRC_VGPR][l ^ 32];
    write_vector(w, i->dst.reg, d, exec_mask(w));
}

// A lane reads the one of its row, or of the row beside it, that four bits of two scalars name.
static void permute_row(struct wave *w, const struct inst *i)
{
    uint32_t d[LANES_MOST], tmp[LANES_MOST];
    const uint32_t *row = read_vector(w, i, &i->src[0], tmp);
    const uint64_t which =
        (uint32_t)read_scalar(w, i, i->src[1].reg, 1) | read_scalar(w, i, i->src[2].reg, 1) << 32;
    const uint64_t exec = exec_mask(w);
    const bool inactive_too = i->op_sel & 1, zero = i->op_sel & 2;
    uint64_t written = 0;
    for (unsigned l = 0; l < w->lanes; l++) {
        const unsigned other = i->op == OP_v_permlanex16_b32 ? 16 : 0;
        const unsigned from = ((l & ~15u) ^ other) | (which >> 4 * (l & 15) & 15);
        const bool good = inactive_too || exec >> from & 1;
        d[l] = good ? row[from] : 0;
        written |= (uint64_t)(good || zero) << l;
    }
    write_vector(w, i->dst.reg, d, written & exec);
}

static void count_below(struct wave *w, const struct inst *i)
{
    uint32_t tmp[2][LANES_MOST], d[LANES_MOST];
    const uint32_t *mask = read_vector(w, i, &i->src[0], tmp[0]),
                   *sum = read_vector(w, i, &i->src[1], tmp[1]);
    const bool high = i->op == OP_v_mbcnt_hi_u32_b32;
    for (unsigned l = 0; l < w->lanes; l++) {
        const uint64_t below = ((uint64_t)1 << l) - 1;
        d[l] =
            sum[l] + (uint32_t)__builtin_popcount(mask[l] & (uint32_t)(high ? below >> 32 : below));
    }
    write_vector(w, i->dst.reg, d, exec_mask(w));
}

// ---- D = A * B + C, 16 x 16 x 16 ----------------------------------------------------------------
// A: lane l (of 16) holds row l, B: lane l holds column l, sixteen halves in eight registers; each
// further row of sixteen lanes must hold the same again. C and D: lane l holds column l % 16, and
// register v row (lanes / 16) * v + l / 16.

static void halves_of(const struct wave *w, const struct inst *i, const struct operand *o, int s,
                      float out[16][16])
{
    for (unsigned l = 0; l < 16; l++)
        for (unsigned k = 0; k < 8; k++) {
            const uint32_t *row = w->v[o->reg - SRC_VGPR + k];
            for (unsigned again = 16; again < w->lanes; again += 16)
                if (row[l + again] != row[l])
                    chip_stop(w,
                              "source %d differs between lanes %u and %u, which must be the same",
                              s, l, l + again);
            out[l][2 * k] = half_to_float((uint16_t)row[l]);
            out[l][2 * k + 1] = half_to_float((uint16_t)(row[l] >> 16));
            if (o->neg)
                out[l][2 * k] = -out[l][2 * k];
            if (i->neg_hi >> s & 1)
                out[l][2 * k + 1] = -out[l][2 * k + 1];
        }
}

static void matrix(struct wave *w, const struct inst *i)
{
    float a[16][16], b[16][16], columns[16][16];
    const unsigned lines = w->lanes / 16;
    if (exec_mask(w) != (w->lanes == 64 ? UINT64_MAX : UINT32_MAX))
        chip_stop(w, "a matrix product with lanes switched off");
    if (i->op_sel || i->op_sel_hi != 7 || i->src[2].neg || i->neg_hi & 4 || i->clamp)
        chip_stop(w, "a matrix product with modifiers is decoded and not executed");
    halves_of(w, i, &i->src[0], 0, a);
    halves_of(w, i, &i->src[1], 1, columns);
    for (int k = 0; k < 16; k++)
        for (int n = 0; n < 16; n++)
            b[k][n] = columns[n][k];
    uint32_t d[8][LANES_MOST];
    for (unsigned v = 0; v < 16 / lines; v++) {
        uint32_t tmp[LANES_MOST];
        struct operand c = i->src[2];
        c.reg = (uint16_t)(c.reg >= SRC_VGPR ? c.reg + v : c.reg);
        memcpy(d[v], read_vector(w, i, &c, tmp), w->lanes * 4);
        for (unsigned line = 0; line < lines; line++)
            add_products(&d[v][16 * line], a[lines * v + line], b);
    }
    for (unsigned v = 0; v < 16 / lines; v++)
        write_vector(w, i->dst.reg + v, d[v], exec_mask(w));
}

static void nothing(struct wave *w, const struct inst *i)
{
    (void)w, (void)i;
}

run_inst *lane_step(const struct inst *i)
{
    switch (i->op) {
    case OP_v_nop:
        return nothing;
    case OP_v_swap_b32:
        return swap;
    case OP_v_readfirstlane_b32:
        return read_first_lane;
    case OP_v_readlane_b32:
        return read_lane;
    case OP_v_writelane_b32:
        return write_lane;
    case OP_v_permlane64_b32:
        return swap_halves;
    case OP_v_permlane16_b32:
    case OP_v_permlanex16_b32:
        return permute_row;
    case OP_v_mbcnt_lo_u32_b32:
    case OP_v_mbcnt_hi_u32_b32:
        return count_below;
    case OP_v_wmma_f32_16x16x16_f16:
        return matrix;
    default:
        return NULL;
    }
}
