// params.h - the push constants of every kernel: one struct each, the same text for C and GLSL.
//
// A tensor is passed as its 64-bit device address (`uint64_t x`), rows as their distance in bytes
// (`x_row`). GLSL lays them out with the scalar rules, which are C's for these types as long as
// 64-bit members come first; pipeline.c checks the size that the SPIR-V declares against sizeof.
// At most 128 bytes (what every device has).
#ifndef TAWNY_PARAMS_H
#define TAWNY_PARAMS_H

#ifndef VULKAN // C; glslang defines VULKAN
#include <stdint.h>
#endif

// ---- what moves rows (gather.c) ----

struct push_rows {          // rows.comp
    uint64_t to, x, row;    // F32 [n][n_cols]; F32; I32 [n]
    uint32_t to_row, x_row; // bytes between rows
    uint32_t n_cols;
};

struct push_embed {         // embed.comp
    uint64_t to, w, token;  // F32 [n_tokens][n_cols]; [n_vocab][n_cols]; I32 [n_tokens]
    uint32_t to_row, w_row; // bytes between rows
    uint32_t n_cols;
};

struct push_copy {     // copy.comp
    uint64_t to, from; // 16-aligned
    uint32_t n;        // vectors of 16 bytes
};

// ---- products (matvec.c, matmat.c) ----

// ---- attention, rotation, norm (attention.c, rope.c, norm.c) ----

// ---- sampling, mixture of experts (top_k.c, experts.c) ----

#endif
