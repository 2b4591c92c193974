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

struct push_norm {          // norm.comp
    uint64_t to, x, weight; // F32 [n_tokens][n_cols]; F32; F32 [n_cols]
    uint32_t to_row, x_row;
    uint32_t n_cols;
    float eps;
};

struct push_rope_kv {          // rope_kv.comp
    uint64_t q, k, v;          // F32 [n_tokens][heads * head_dim]
    uint64_t pos, row, turns;  // I32 [n_tokens]; I32 [n_tokens]; I32 [n_rot / 2][high, low]
    uint64_t cache_k, cache_v; // [n_rows][n_head_kv * head_dim]
    uint32_t q_row, k_row, v_row, cache_k_row, cache_v_row;
    uint32_t n_head, n_head_kv;
    uint32_t n_rows; // of the caches
    uint32_t n_rot;
    uint32_t neox;      // 1: pairs are (i, i + n_rot / 2), 0: (2i, 2i + 1)
    uint32_t per_group; // heads of q that one workgroup turns
    float magnitude;
};

struct push_attention {     // attention.comp, attention_matrix.comp
    uint64_t to, q;         // F32 [n_tokens][n_head * head_dim]
    uint64_t k, v;          // F16 or Q8_0 [n_rows][n_head_kv * head_dim]
    uint64_t first, count;  // I32 [n_tokens]
    uint64_t sinks;         // F32 [n_head]; 0: none
    uint64_t sums, outputs; // of a split one: as below
    uint32_t to_row, q_row, k_row, v_row;
    uint32_t n_tokens, token0; // tokens token0 .. n_tokens - 1 are computed
    uint32_t n_head, n_head_kv, n_rows, window;
    float q_scale; // times log2(e), so that the softmax is made of powers of two; or / softcap
    float cap;     // softcap * log2(e); 0: none
};

struct push_attention_join { // attention_join.comp
    uint64_t to, sinks;
    uint64_t sums;    // F32 [n_tokens][n_head][n_split][maximum, sum]
    uint64_t outputs; // F32 [n_tokens][n_head][n_split][head_dim], unnormalised
    uint32_t to_row, n_head, n_split, head_dim;
};

// ---- sampling, mixture of experts (top_k.c, route.c, experts.c) ----

struct push_top_k { // top_k.comp
    uint64_t x;         // F32 [n_rows][...]
    uint64_t from, to;  // [n_rows][n][key, column]; [n_rows][n_slices][k][key, column]
    uint64_t id, value; // I32 [n_rows][k]; F32 [n_rows][k]
    uint32_t x_row, id_row, value_row;
    uint32_t n, k; // numbers in a row (of x, or pairs)
};

struct push_route { // route.comp
    uint64_t id, weight, logits; // I32, F32 [n_tokens][n_used]; F32 [n_tokens][n_expert]
    uint32_t id_row, weight_row, logits_row;
    uint32_t n_expert, n_used;
    uint32_t score, normalise; // enum route_score; 0 or 1
    float scale;
};

struct push_experts_sum { // experts_sum.comp
    uint64_t to, residual, y; // F32 [n_tokens][n_cols], the same, [n_tokens * n_used][n_cols]
    uint64_t weight;          // F32 [n_tokens][n_used]
    uint32_t to_row, residual_row, y_row, weight_row;
    uint32_t n_cols, n_used;
};

#endif
