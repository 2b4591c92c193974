// text.c - an instruction as llvm-objdump writes it (decode.h). Lanes' masks are named as in waves
// of 32, which is what that program assumes whatever the code was made for.
#include "decode.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct text {
    char *at;
    size_t left;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->at, t->left, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < t->left)
        t->at += n, t->left -= (size_t)n;
}

static void put_registers(struct text *t, char kind, unsigned first, unsigned n)
{
    if (n == 1)
        put(t, "%c%u", kind, first);
    else
        put(t, "%c[%u:%u]", kind, first, first + n - 1);
}

static void put_source(struct text *t, const struct inst *i, unsigned reg, unsigned n)
{
    static const char *const floats[] = {"0.5",  "-0.5", "1.0",  "-1.0",      "2.0",
                                         "-2.0", "4.0",  "-4.0", "0.15915494"};
    static const char *const singles[] = {"vcc_lo", "vcc_hi"};
    if (reg >= SRC_VGPR)
        put_registers(t, 'v', reg - SRC_VGPR, n);
    else if (reg < 106)
        put_registers(t, 's', reg, n);
    else if (reg == REG_VCC || reg == REG_VCC + 1)
        put(t, "%s", n == 2 ? "vcc" : singles[reg - REG_VCC]);
    else if (reg == REG_EXEC || reg == REG_EXEC + 1)
        put(t, "%s", n == 2 ? "exec" : reg == REG_EXEC ? "exec_lo" : "exec_hi");
    else if (reg == REG_NULL)
        put(t, "null");
    else if (reg == REG_M0)
        put(t, "m0");
    else if (reg >= 128 && reg <= 208)
        put(t, "%d", reg <= 192 ? (int)reg - 128 : 192 - (int)reg);
    else if (reg >= 240 && reg <= 248)
        put(t, "%s", floats[reg - 240]);
    else if (reg == SRC_LITERAL)
        put(t, "0x%x", i->literal);
    else if (reg == REG_SCC || reg == 252 || reg == 251)
        put(t, "src_%s", reg == REG_SCC ? "scc" : reg == 252 ? "execz" : "vccz");
    else
        put(t, "?%u", reg);
}

static void put_operand(struct text *t, const struct inst *i, const struct operand *o, bool dst)
{
    const bool whole_name = o->half && o->reg >= SRC_VGPR &&
                            (i->op == OP_v_mov_b16 || (dst && o->high && i->form == FORM_E32));
    const bool parted = o->high && i->form == FORM_E32 && !whole_name;
    const bool constant = o->reg >= 128 && o->reg < SRC_VGPR;
    put(t, "%s%s", o->neg ? constant ? "neg(" : "-" : "", o->abs ? "|" : "");
    put_source(t, i, o->reg + (parted ? 128u : 0), o->n);
    if (whole_name)
        put(t, o->high ? ".h" : ".l");
    if (parted) // it takes the bit for a part of the number
        put(t, "/*Invalid register, operand has 'VS_32_Lo128' register class*/");
    put(t, "%s%s", o->abs ? "|" : "", o->neg && constant ? ")" : "");
}

// ---- scalar -------------------------------------------------------------------------------------

static void put_delay(struct text *t, unsigned bits16)
{
    static const char *const by[] = {"NO_DEP",        "VALU_DEP_1",    "VALU_DEP_2",
                                     "VALU_DEP_3",    "VALU_DEP_4",    "TRANS32_DEP_1",
                                     "TRANS32_DEP_2", "TRANS32_DEP_3", "FMA_ACCUM_CYCLE_1",
                                     "SALU_CYCLE_1",  "SALU_CYCLE_2",  "SALU_CYCLE_3"};
    static const char *const skips[] = {"SAME", "NEXT", "SKIP_1", "SKIP_2", "SKIP_3", "SKIP_4"};
    const unsigned first = bits16 & 15, skip = bits16 >> 4 & 7, second = bits16 >> 7 & 15;
    const char *between = " ";
    if (first && first < 12)
        put(t, " instid0(%s)", by[first]), between = " | ";
    if (skip && skip < 6)
        put(t, "%sinstskip(%s)", between, skips[skip]), between = " | ";
    if (second && second < 12)
        put(t, "%sinstid1(%s)", between, by[second]);
}

static void put_waitcnt(struct text *t, unsigned bits16)
{
    const unsigned exp = bits16 & 7, lgkm = bits16 >> 4 & 63, vm = bits16 >> 10 & 63;
    if (vm != 63)
        put(t, " vmcnt(%u)", vm);
    if (exp != 7)
        put(t, " expcnt(%u)", exp);
    if (lgkm != 63)
        put(t, " lgkmcnt(%u)", lgkm);
}

static void put_sopp(struct text *t, const struct inst *i)
{
    const unsigned k = (uint16_t)i->offset;
    switch (i->op) {
    case OP_s_delay_alu:
        put_delay(t, k);
        break;
    case OP_s_waitcnt:
        put_waitcnt(t, k);
        break;
    case OP_s_sendmsg:
        put(t, k == 3 ? " sendmsg(MSG_DEALLOC_VGPRS)" : " %u", k);
        break;
    case OP_s_clause:
    case OP_s_waitcnt_depctr:
    case OP_s_set_inst_prefetch_distance:
    case OP_s_round_mode:
    case OP_s_denorm_mode:
        put(t, " 0x%x", k);
        break;
    case OP_s_barrier:
    case OP_s_code_end:
    case OP_s_endpgm:
        break;
    default:
        put(t, " %u", k);
    }
}

static void put_scalar(struct text *t, const struct inst *i)
{
    const char *comma = " ";
    put(t, "%s", op_info[i->op].name);
    if (i->family == SOPP) {
        put_sopp(t, i);
        return;
    }
    if (i->dst.n)
        put(t, "%s", comma), put_source(t, i, i->dst.reg, i->dst.n), comma = ", ";
    if (i->family == SOPK)
        put(t, ", 0x%x", (uint16_t)i->offset);
    for (int s = 0; s < i->n_src; s++, comma = ", ")
        put(t, "%s", comma), put_source(t, i, i->src[s].reg, i->src[s].n);
}

// ---- vector -------------------------------------------------------------------------------------

static void put_list(struct text *t, const char *name, unsigned set, int n)
{
    put(t, " %s:[", name);
    for (int s = 0; s < n; s++)
        put(t, "%s%u", s ? "," : "", set >> s & 1);
    put(t, "]");
}

static void put_dpp(struct text *t, const struct inst *i)
{
    const unsigned c = i->dpp;
    if (c < 256)
        put(t, " quad_perm:[%u,%u,%u,%u]", c & 3, c >> 2 & 3, c >> 4 & 3, c >> 6 & 3);
    else if (c == 0x140 || c == 0x141)
        put(t, c == 0x140 ? " row_mirror" : " row_half_mirror");
    else
        put(t, " %s:%u",
            c >> 4 == 0x10   ? "row_shl"
            : c >> 4 == 0x11 ? "row_shr"
            : c >> 4 == 0x12 ? "row_ror"
            : c >> 4 == 0x15 ? "row_share"
            : c >> 4 == 0x16 ? "row_xmask"
                             : "?",
            c & 15);
    put(t, " row_mask:0x%x bank_mask:0x%x", i->row_mask, i->bank_mask);
    put(t, "%s%s", i->bound_ctrl ? " bound_ctrl:1" : "", i->fetch_inactive ? " fi:1" : "");
}

static void put_vector_name(struct text *t, const struct inst *i)
{
    static const char *const suffix[] = {"_e32", "_e64", "_dpp", "_e64_dpp"};
    const char *s = op_info[i->op].shape;
    const bool bare = s[strlen(s) - 1] == 'x' && i->form == FORM_E32;
    put(t, "%s", op_info[i->op].name);
    if (i->family == VOP3 || i->family == VOP3S)
        put(t, i->form == FORM_E64_DPP ? "_e64_dpp" : "");
    else if (!bare && !(i->family == VOPC && i->form == FORM_DPP))
        put(t, "%s", suffix[i->form]);
}

// How many of OP_SEL's bits are told. Of v_permlane16 they are its two switches; where they choose
// halves of registers LLVM 19 says nothing of them.
static int shown_halves(const struct inst *i)
{
    if (i->op == OP_v_permlane16_b32 || i->op == OP_v_permlanex16_b32)
        return 2;
    bool halves = i->dst.half;
    for (int s = 0; s < i->n_src; s++)
        halves |= i->src[s].half;
    return halves ? 0 : i->n_src;
}

static void put_vector(struct text *t, const struct inst *i)
{
    const char *comma = " ";
    put_vector_name(t, i);
    if (i->dst.n)
        put(t, "%s", comma), put_operand(t, i, &i->dst, true), comma = ", ";
    const bool x = i->family == VOPC && op_info[i->op].number & 128;
    if (i->has_sdst && !x)
        put(t, "%s", comma), put_source(t, i, i->sdst, 1), comma = ", ";
    for (int s = 0; s < i->n_src; s++, comma = ", ")
        put(t, "%s", comma), put_operand(t, i, &i->src[s], false);
    if (i->op_sel && shown_halves(i) > 0)
        put_list(t, "op_sel", i->op_sel, shown_halves(i));
    if (i->clamp)
        put(t, " clamp");
    if (i->omod)
        put(t, i->omod == 3 ? " div:2" : " mul:%u", i->omod * 2);
    if (i->form == FORM_DPP || i->form == FORM_E64_DPP)
        put_dpp(t, i);
}

static void put_packed(struct text *t, const struct inst *i)
{
    const unsigned number = op_info[i->op].number;
    const bool mix = number >= 32 && number <= 34;
    put(t, "%s ", op_info[i->op].name);
    put_operand(t, i, &i->dst, true);
    for (int s = 0; s < i->n_src; s++) {
        struct operand o = i->src[s];
        o.neg &= mix;
        put(t, ", ");
        if (mix && o.reg == SRC_LITERAL) // it takes a literal for one of 16 bits
            put(t, (i->literal & 0xffff) <= 64 ? "%u" : "0x%x", i->literal & 0xffff);
        else
            put_operand(t, i, &o, false);
    }
    if (i->op_sel)
        put_list(t, "op_sel", i->op_sel, i->n_src);
    if (i->op_sel_hi != (mix ? 0 : 7))
        put_list(t, "op_sel_hi", i->op_sel_hi, i->n_src);
    if (!mix && i->neg_hi)
        put_list(t, "neg_hi", i->neg_hi, i->n_src);
    if (i->clamp)
        put(t, " clamp");
}

static void put_dual(struct text *t, const struct inst *i)
{
    for (int h = 0; h < 2; h++) {
        const struct half_pair *p = &i->pair[h];
        put(t, "%s%s ", h ? " :: " : "", op_info[p->op].name);
        put_source(t, i, p->dst, 1);
        put(t, ", "), put_source(t, i, p->src[0], 1);
        if (p->op == OP_v_dual_fmamk_f32)
            put(t, ", 0x%x", i->literal);
        if (p->op != OP_v_dual_mov_b32)
            put(t, ", "), put_source(t, i, p->src[1], 1);
        if (p->op == OP_v_dual_fmaak_f32)
            put(t, ", 0x%x", i->literal);
    }
}

// ---- memory -------------------------------------------------------------------------------------

static void put_memory(struct text *t, const struct inst *i)
{
    const struct operand *vaddr = &i->src[2], *saddr = &i->src[3];
    const char *comma = " ";
    put(t, "%s", op_info[i->op].name);
    const bool store = i->dst.n == 0;
    if (!store || i->family == MUBUF)
        put(t, " "), put_source(t, i, i->dst.reg, store ? i->src[0].n : i->dst.n), comma = ", ";
    if (i->family == MUBUF) {
        if (vaddr->n)
            put(t, ", "), put_source(t, i, vaddr->reg, vaddr->n);
        else
            put(t, ", off");
        put(t, ", "), put_source(t, i, saddr->reg, 4);
        put(t, ", "), put_source(t, i, i->sdst, 1);
        put(t, "%s%s", i->idxen ? " idxen" : "", i->offen ? " offen" : "");
    } else {
        put(t, "%s", comma), put_source(t, i, vaddr->reg, vaddr->n);
        for (int s = 0; s < i->n_src; s++)
            put(t, ", "), put_source(t, i, i->src[s].reg, i->src[s].n);
    }
    if (i->family == GLOBAL && saddr->reg == REG_NULL)
        put(t, ", off");
    else if (i->family == GLOBAL)
        put(t, ", "), put_source(t, i, saddr->reg, 2);
    const bool two = strstr(op_info[i->op].name, "2addr") != NULL;
    if (i->offset)
        put(t, " offset%s:%d", two ? "0" : "", i->offset);
    if (two && i->offset1)
        put(t, " offset1:%d", i->offset1);
    put(t, "%s%s%s", i->glc ? " glc" : "", i->slc ? " slc" : "", i->dlc ? " dlc" : "");
}

static void put_scalar_memory(struct text *t, const struct inst *i)
{
    put(t, "%s ", op_info[i->op].name);
    put_source(t, i, i->dst.reg, i->dst.n);
    put(t, ", "), put_source(t, i, i->src[0].reg, i->src[0].n);
    if (i->src[1].reg == REG_NULL)
        put(t, i->offset < 0 ? ", -0x%x" : ", 0x%x", i->offset < 0 ? -i->offset : i->offset);
    else {
        put(t, ", "), put_source(t, i, i->src[1].reg, 1);
        if (i->offset)
            put(t, " offset:0x%x", i->offset);
    }
    put(t, "%s%s", i->glc ? " glc" : "", i->dlc ? " dlc" : "");
}

void inst_text(char out[256], const struct inst *i)
{
    struct text t = {out, 256};
    if (i->family <= SOPP)
        put_scalar(&t, i);
    else if (i->family == SMEM)
        put_scalar_memory(&t, i);
    else if (i->family <= VOP3S)
        put_vector(&t, i);
    else if (i->family == VOP3P)
        put_packed(&t, i);
    else if (i->family == VOPD)
        put_dual(&t, i);
    else
        put_memory(&t, i);
}
