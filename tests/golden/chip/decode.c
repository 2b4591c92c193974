// decode.c - see decode.h. One function an encoding; the bit positions are those of the guides'
// tables. Where two encodings share their first bits the longer prefix is asked for first.
#include "decode.h"

#include <stdio.h>
#include <string.h>

const struct op_info op_info[N_OPS] = {
#define OP(family, number, name, shape) [OP_##name] = {#name, shape, family, number},
#include "isa.h"
#undef OP
};

static const char *const family_names[] = {"SOP2", "SOP1", "SOPC",   "SOPK", "SOPP", "SMEM",
                                           "VOP1", "VOP2", "VOPC",   "VOP3", "VOP3", "VOP3P",
                                           "VOPD", "DS",   "GLOBAL", "MUBUF"};

static uint32_t bits(uint32_t word, int high, int low)
{
    return word >> low & (uint32_t)((1ull << (high - low + 1)) - 1);
}

static bool find(enum op *out, enum family family, uint32_t number)
{
    static uint16_t known[MUBUF + 1][1024]; // op + 1
    static bool made;
    if (!made)
        for (int op = 0; op < N_OPS; op++)
            known[op_info[op].family][op_info[op].number] = (uint16_t)(op + 1);
    made = true;
    if (number >= 1024 || !known[family][number])
        return false;
    *out = (enum op)(known[family][number] - 1);
    return true;
}

static uint8_t width(char c)
{
    return c >= '0' && c <= '9' ? (uint8_t)(c - '0') : 1;
}

// The widths of the operands, from the operation's shape.
static void shape(struct inst *i)
{
    const char *s = op_info[i->op].shape;
    for (; *s != ':'; s++) // "16" has two digits
        i->dst.n = s[0] == '1' && s[1] == '6' ? 16
                   : i->dst.n == 16           ? 16
                                              : width(*s),
        i->dst.half |= *s == 'h';
    for (s++; *s && *s != 'x'; s++) {
        i->src[i->n_src].n = width(*s);
        i->src[i->n_src++].half = *s == 'h';
    }
}

// A literal among the sources is the word after the instruction.
static void literal(struct inst *i, const uint32_t *words, size_t n)
{
    const char *reads = strchr(op_info[i->op].shape, ':') + 1;
    for (int s = 0; s < i->n_src; s++) {
        if (reads[s] == 'L')
            i->src[s].reg = SRC_LITERAL;
        i->has_literal |= i->src[s].reg == SRC_LITERAL;
    }
    if (!i->has_literal)
        return;
    i->literal = i->n_words < n ? words[i->n_words] : 0;
    i->n_words++;
}

static void scalar(struct inst *i, const uint32_t *w, size_t n)
{
    i->dst.reg = (uint16_t)bits(w[0], 22, 16);
    i->src[0].reg = (uint16_t)bits(w[0], 7, 0);
    i->src[1].reg = (uint16_t)bits(w[0], 15, 8);
    i->offset = (int16_t)w[0];
    shape(i);
    literal(i, w, n);
}

static void dpp(struct inst *i, uint32_t word)
{
    i->src[0].reg = (uint16_t)(SRC_VGPR + bits(word, 7, 0));
    i->dpp = (uint16_t)bits(word, 16, 8);
    i->fetch_inactive = bits(word, 18, 18), i->bound_ctrl = bits(word, 19, 19);
    i->bank_mask = (uint8_t)bits(word, 27, 24), i->row_mask = (uint8_t)bits(word, 31, 28);
    if (i->form == FORM_E32) { // otherwise these are in the instruction itself
        i->src[0].neg = bits(word, 20, 20), i->src[0].abs = bits(word, 21, 21);
        i->src[1].neg = bits(word, 22, 22), i->src[1].abs = bits(word, 23, 23);
    }
    i->form = i->form == FORM_E32 ? FORM_DPP : FORM_E64_DPP;
    i->n_words++;
}

enum { SRC_DPP = 250 };

// Registers that the operation's name implies: carries, the mask that chooses, what a comparison
// writes.
static void implied(struct inst *i, uint16_t mask_in, uint16_t mask_out)
{
    i->has_sdst = i->family == VOPC || i->family == VOP3S;
    switch (i->op) {
    case OP_v_cndmask_b32:
        i->src[i->n_src++] = (struct operand){.reg = mask_in, .n = 1};
        break;
    case OP_v_add_co_ci_u32:
    case OP_v_sub_co_ci_u32:
    case OP_v_subrev_co_ci_u32:
        i->src[i->n_src++] = (struct operand){.reg = mask_in, .n = 1};
        i->sdst = mask_out, i->has_sdst = true;
        break;
    default:
        if (i->family == VOPC)
            i->sdst = op_info[i->op].number & 128 ? REG_EXEC : mask_out;
        else if (i->family == VOP3S)
            i->sdst = mask_out;
    }
}

// In the short forms a register of 16 bits is one of the first 128; bit 7 chooses its upper half.
static void short_halves(struct inst *i)
{
    struct operand *all[] = {&i->dst, &i->src[0], &i->src[1]};
    for (int k = 0; k < 3; k++)
        if (all[k]->half && (k == 0 || all[k]->reg >= SRC_VGPR) && all[k]->reg & 128)
            all[k]->high = true, all[k]->reg &= ~128;
}

static void vector_short(struct inst *i, const uint32_t *w, size_t n)
{
    i->src[0].reg = (uint16_t)bits(w[0], 8, 0);
    i->dst.reg = (uint16_t)(SRC_VGPR + bits(w[0], 24, 17));
    i->src[1].reg = (uint16_t)(SRC_VGPR + bits(w[0], 16, 9));
    shape(i);
    if (strchr(op_info[i->op].shape, 'L') && i->op == OP_v_fmamk_f32)
        i->src[2].reg = i->src[1].reg;
    if (strchr(op_info[i->op].shape, 's'))
        i->dst.reg = (uint16_t)(i->dst.reg & 127);
    if (i->src[0].reg == SRC_DPP)
        dpp(i, n > 1 ? w[1] : 0);
    literal(i, w, n);
    short_halves(i);
    implied(i, REG_VCC, REG_VCC);
}

static void vector_long(struct inst *i, const uint32_t *w, size_t n)
{
    uint32_t second = n > 1 ? w[1] : 0;
    i->n_words = 2;
    i->form = FORM_E64;
    const bool has_sdst =
        i->family == VOP3S || (i->family == VOP2 && i->op != OP_v_cndmask_b32 &&
                               op_info[i->op].number >= 32 && op_info[i->op].number <= 34);
    i->dst.reg = (uint16_t)(SRC_VGPR + bits(w[0], 7, 0));
    i->clamp = bits(w[0], 15, 15);
    for (int s = 0; s < 3; s++) {
        i->src[s].reg = (uint16_t)(second >> 9 * s & 511);
        i->src[s].neg = second >> (29 + s) & 1;
        i->src[s].abs = !has_sdst && w[0] >> (8 + s) & 1;
    }
    const uint16_t third = i->src[2].reg;
    i->omod = (uint8_t)bits(second, 28, 27);
    shape(i);
    if (!has_sdst)
        i->op_sel = (uint8_t)bits(w[0], 14, 11);
    if (strchr(op_info[i->op].shape, 's'))
        i->dst.reg &= 127;
    for (int s = 0; s < i->n_src; s++)
        if (i->src[s].half)
            i->src[s].high = i->op_sel >> s & 1;
    if (i->dst.half)
        i->dst.high = i->op_sel >> 3 & 1;
    if (i->src[0].reg == SRC_DPP)
        dpp(i, n > 2 ? w[2] : 0);
    literal(i, w, n);
    if (has_sdst)
        implied(i, third, (uint16_t)bits(w[0], 14, 8));
    else
        implied(i, third, (uint16_t)bits(w[0], 6, 0));
}

static void packed(struct inst *i, const uint32_t *w, size_t n)
{
    uint32_t second = n > 1 ? w[1] : 0;
    i->n_words = 2;
    i->form = FORM_E64;
    i->dst.reg = (uint16_t)(SRC_VGPR + bits(w[0], 7, 0));
    i->clamp = bits(w[0], 15, 15);
    i->op_sel = (uint8_t)bits(w[0], 13, 11);
    i->op_sel_hi = (uint8_t)(bits(w[0], 14, 14) << 2 | bits(second, 28, 27));
    i->neg_hi = (uint8_t)bits(w[0], 10, 8);
    for (int s = 0; s < 3; s++) {
        i->src[s].reg = (uint16_t)(second >> 9 * s & 511);
        i->src[s].neg = second >> (29 + s) & 1;
    }
    shape(i);
    if (op_info[i->op].number >= 32 && op_info[i->op].number <= 34)
        for (int s = 0; s < 3; s++)
            i->src[s].abs = i->neg_hi >> s & 1;
    literal(i, w, n);
}

static bool dual(struct inst *i, const uint32_t *w, size_t n)
{
    uint32_t second = n > 1 ? w[1] : 0;
    i->n_words = 2;
    if (!find(&i->pair[0].op, VOPD, bits(w[0], 25, 22)) || i->pair[0].op > OP_v_dual_min_f32 ||
        !find(&i->pair[1].op, VOPD, bits(w[0], 21, 17)))
        return false;
    i->op = i->pair[0].op;
    struct half_pair *x = &i->pair[0], *y = &i->pair[1];
    x->dst = (uint16_t)(SRC_VGPR + bits(second, 31, 24));
    y->dst = (uint16_t)(SRC_VGPR + (bits(second, 23, 17) << 1 | !(x->dst & 1)));
    x->src[0] = (uint16_t)bits(w[0], 8, 0), x->src[1] = (uint16_t)(SRC_VGPR + bits(w[0], 16, 9));
    y->src[0] = (uint16_t)bits(second, 8, 0);
    y->src[1] = (uint16_t)(SRC_VGPR + bits(second, 16, 9));
    for (int h = 0; h < 2; h++)
        i->has_literal |=
            i->pair[h].src[0] == SRC_LITERAL || strchr(op_info[i->pair[h].op].shape, 'L') != NULL;
    if (i->has_literal) {
        i->literal = n > 2 ? w[2] : 0;
        i->n_words++;
    }
    return true;
}

static void memory(struct inst *i, const uint32_t *w, size_t n)
{
    uint32_t second = n > 1 ? w[1] : 0;
    i->n_words = 2;
    shape(i);
    struct operand *vaddr = &i->src[2], *saddr = &i->src[3]; // src[0], src[1]: what is stored
    vaddr->reg = (uint16_t)(SRC_VGPR + bits(second, 7, 0)), vaddr->n = 1;
    i->src[0].reg = (uint16_t)(SRC_VGPR + bits(second, 15, 8));
    i->dst.reg = (uint16_t)(SRC_VGPR + bits(second, 31, 24));
    if (i->family == DS) {
        i->src[1].reg = (uint16_t)(SRC_VGPR + bits(second, 23, 16));
        const bool two = strstr(op_info[i->op].name, "2addr") != NULL;
        i->offset = (int32_t)bits(w[0], two ? 7 : 15, 0);
        i->offset1 = (int32_t)bits(w[0], 15, 8);
        return;
    }
    i->dlc = bits(w[0], 13, 13), i->glc = bits(w[0], 14, 14);
    if (i->family == GLOBAL) {
        i->slc = bits(w[0], 15, 15);
        i->offset = (int32_t)(bits(w[0], 12, 0) << 19) >> 19;
        saddr->reg = (uint16_t)bits(second, 22, 16), saddr->n = 2;
        vaddr->n = saddr->reg == REG_NULL ? 2 : 1;
        return;
    }
    i->slc = bits(w[0], 12, 12);
    i->offset = (int32_t)bits(w[0], 11, 0);
    i->dst.reg = i->src[0].reg; // one field for both
    saddr->reg = (uint16_t)(bits(second, 20, 16) << 2), saddr->n = 4;
    i->sdst = (uint16_t)bits(second, 31, 24); // SOFFSET
    i->offen = bits(second, 22, 22), i->idxen = bits(second, 23, 23);
    vaddr->n = (uint8_t)(i->offen + i->idxen);
}

static void scalar_memory(struct inst *i, const uint32_t *w, size_t n)
{
    uint32_t second = n > 1 ? w[1] : 0;
    i->n_words = 2;
    shape(i);
    i->dst.reg = (uint16_t)bits(w[0], 12, 6);
    i->src[0] = (struct operand){.reg = (uint16_t)(bits(w[0], 5, 0) << 1),
                                 .n = op_info[i->op].number >= 8 ? 4 : 2};
    i->src[1] = (struct operand){.reg = (uint16_t)bits(second, 31, 25), .n = 1}; // SOFFSET
    i->n_src = 2;
    i->offset = (int32_t)(bits(second, 20, 0) << 11) >> 11;
    i->dlc = bits(w[0], 13, 13), i->glc = bits(w[0], 14, 14);
}

// The encoding and the number in it of the instruction's first word.
static enum family family_of(uint32_t w, uint32_t *number)
{
    const uint32_t nine = w >> 23, six = w >> 26;
    if (w >> 31 == 0) {
        const uint32_t op = bits(w, 30, 25);
        *number = op == 63 ? bits(w, 16, 9) : op == 62 ? bits(w, 24, 17) : op;
        return op == 63 ? VOP1 : op == 62 ? VOPC : VOP2;
    }
    if (nine >= 0x17d && nine <= 0x17f) {
        *number = nine == 0x17d ? bits(w, 15, 8) : bits(w, 22, 16);
        return nine == 0x17d ? SOP1 : nine == 0x17e ? SOPC : SOPP;
    }
    *number = w >> 28 == 11 ? bits(w, 27, 23) : bits(w, 29, 23);
    if (w >> 30 == 2)
        return w >> 28 == 11 ? SOPK : SOP2;
    *number = bits(w, 25, 18);
    if (six == 0x3d || six == 0x36 || six == 0x37 || six == 0x38)
        return six == 0x3d ? SMEM : six == 0x36 ? DS : six == 0x37 ? GLOBAL : MUBUF;
    *number = six == 0x35 ? bits(w, 25, 16) : six == 0x32 ? bits(w, 25, 22) : bits(w, 22, 16);
    return six == 0x35 ? VOP3 : six == 0x32 ? VOPD : VOP3P;
}

bool decode(struct inst *out, const uint32_t *words, size_t n, char what[80])
{
    uint32_t number;
    struct inst *i = out;
    memset(i, 0, sizeof(*i));
    i->n_words = 1;
    i->family = family_of(words[0], &number);
    const enum family told = i->family;
    bool known = words[0] >> 24 == 0xcc || i->family != VOP3P;
    bool is_long = i->family == VOP3;
    if (i->family == VOP3) {
        const uint32_t n3 = number;
        i->family = n3 < 256 ? VOPC : n3 < 384 ? VOP2 : n3 < 512 ? VOP1 : VOP3;
        number = n3 < 256 ? n3 : n3 < 384 ? n3 - 256 : n3 < 512 ? n3 - 384 : n3;
        known = find(&i->op, i->family, number);
        if (!known && n3 >= 512 && find(&i->op, VOP3S, number))
            known = true, i->family = VOP3S;
    } else if (known && i->family != VOPD)
        known = find(&i->op, i->family, number);
    if (known && i->family == GLOBAL)
        known = bits(words[0], 17, 16) == 2; // not FLAT, not SCRATCH
    if (known && i->family == VOPD)
        known = dual(i, words, n);
    else if (known && is_long)
        vector_long(i, words, n);
    else if (known && i->family <= SOPP)
        scalar(i, words, n);
    else if (known && i->family == SMEM)
        scalar_memory(i, words, n);
    else if (known && i->family <= VOPC)
        vector_short(i, words, n);
    else if (known && i->family == VOP3P)
        packed(i, words, n);
    else if (known)
        memory(i, words, n);
    if (known && i->n_words <= n)
        return true;
    snprintf(what, 80, "%s %u, bytes %08x %08x%s", family_names[told], number, words[0],
             n > 1 ? words[1] : 0, known ? ", cut off" : "");
    return false;
}
