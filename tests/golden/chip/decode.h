// decode.h - machine code of gfx1150 and gfx1151 taken apart, and written as text.
//
// decode.c reads one instruction at a time into a struct inst: the encodings are those of AMD's
// RDNA3 and RDNA3.5 instruction set guides, chapter "Microcode Formats". isa.h lists the operations
// that are known, by encoding and number. text.c writes an instruction as llvm-objdump does, which
// is how the decoder is checked (tests/golden/isa/report, same_text).
//
// Operand numbers are the encoding's nine bits: 0-105 scalar registers, 106 VCC, 124 null, 125 M0,
// 126 EXEC, 128-208 small integers, 240-248 floats, 255 the literal that follows, 256 + n vector
// register n.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum family {
    SOP2,
    SOP1,
    SOPC,
    SOPK,
    SOPP,
    SMEM,
    VOP1,
    VOP2,
    VOPC,
    VOP3,  // what has no shorter form
    VOP3S, // the same with a scalar register that is written too
    VOP3P,
    VOPD, // halves of a pair
    DS,
    GLOBAL,
    MUBUF,
};

enum { REG_VCC = 106, REG_NULL = 124, REG_M0 = 125, REG_EXEC = 126, REG_SCC = 253 };
enum { SRC_LITERAL = 255, SRC_VGPR = 256 };

enum form { FORM_E32, FORM_E64, FORM_DPP, FORM_E64_DPP };

enum op {
#define OP(family, number, name, shape) OP_##name,
#include "isa.h"
#undef OP
    N_OPS
};

// What isa.h says of one. shape: the widths of what is written, ':', those of what is read; a digit
// is a number of registers, 'h' half of one, 'L' a literal; a trailing 'x': the short form has no
// suffix in its name.
struct op_info {
    const char *name, *shape;
    enum family family;
    uint16_t number;
};
extern const struct op_info op_info[N_OPS];

struct operand {
    uint16_t reg;        // nine bits
    uint8_t n;           // registers; 0: there is none
    bool half;           // 16 bits
    bool neg, abs, high; // high: the upper half (OP_SEL)
};

struct half_pair { // of a VOPD
    enum op op;
    uint16_t dst, src[2]; // src[1]: a vector register
};

struct inst {
    enum op op;
    enum family family;
    enum form form;
    uint8_t n_words, n_src;
    struct operand dst, src[4];
    uint16_t sdst; // VOP3S, VOPC, carries: the scalar register written; MUBUF: SOFFSET
    bool has_sdst;
    uint32_t literal;
    bool has_literal;
    // VOP3, VOP3P
    bool clamp;
    uint8_t omod, op_sel, op_sel_hi, neg_hi;
    // DPP
    uint16_t dpp;
    uint8_t row_mask, bank_mask;
    bool bound_ctrl, fetch_inactive;
    // memory; SOPK, SOPP: the 16 bits in offset
    int32_t offset, offset1;
    bool glc, slc, dlc, offen, idxen;
    struct half_pair pair[2]; // VOPD: X, Y
};

// Reads the instruction at words[0..n). false: it is none that isa.h knows; *out then has n_words
// and family as far as they could be told, and what[] says what it is.
bool decode(struct inst *out, const uint32_t *words, size_t n, char what[80]);

// Writes the instruction as llvm-objdump does, 255 bytes at most.
void inst_text(char out[256], const struct inst *inst);
