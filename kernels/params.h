// params.h - the push constants of every kernel: one struct each, the same text for C and GLSL.
//
// A tensor is passed as its 64-bit device address (`uint64_t x`), rows as their distance in bytes
// (`x_row`). GLSL lays them out with the scalar rules, which are C's for these types as long as
// 64-bit members come first; pipeline.c checks the size that the SPIR-V declares against sizeof.
// At most 136 bytes: AMD has 256, as every device of Vulkan 1.4. grid: the codebook of the weights'
// format (kernels/grids.h), where it has one.
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

struct push_embed {        // embed.comp
    uint64_t to, w, token; // F32 [n_tokens][n_cols]; [n_vocab][n_cols]; I32 [n_tokens]
    uint64_t grid;
    uint32_t to_row, w_row; // bytes between rows
    uint32_t n_cols;
    uint32_t row0, n_rows; // w's: other tokens are left alone
    float scale;
};

struct push_copy {     // copy.comp
    uint64_t to, from; // 16-aligned
    uint32_t n;        // vectors of 16 bytes
};

// ---- products (matvec.c, matmat.c) ----

struct push_matvec {            // matvec.comp
    uint64_t x, norm, residual; // F32 [n_tokens][n_in]; [n_in] or 0; as out[0], or 0
    uint64_t w[3], to[3], bias[3], grid;
    uint32_t n_out[3];
    uint32_t n_in, w_row, n_tokens;
    float eps, scale; // (dot + bias) * scale + residual
};

struct push_matvec_experts { // matvec.comp with -DEXPERTS
    uint64_t x, norm;        // F32 [...][n_in]; [n_in] or 0
    uint64_t id, weight;     // I32, F32 [n_tokens][n_used]; weight: with SUM
    uint64_t w[2], bias[2];  // of the first expert; of one product [0], of a GLU gate and up; with
                             // TABLE w: u64 [n_expert], where the rows of each are
    uint64_t to, residual;   // F32 [...][n_out]; the same, with SUM, or 0
    uint64_t grid;
    uint32_t x_row, to_row, residual_row, w_row, bias_row; // bytes between rows
    uint32_t expert_rows;                                  // of w, from one expert to the next
    uint32_t n_in, n_out, n_used;
    uint32_t x_share; // slots that read one x
    uint32_t up_at;   // with TABLE: bytes from an expert's first row to its first of up
    float eps;
};

struct push_matmat_x {      // matmat_x.comp
    uint64_t to, scale;     // F16 or F32 [n_tokens][n_to]; F32 [n_tokens], F16 only
    uint64_t x, norm;       // F32 [n_tokens][n_in]; F32 [n_in] or 0
    uint32_t to_row, x_row; // bytes between rows
    uint32_t n_in, n_to;    // n_to >= n_in: zeros behind
    float eps;
};

struct push_matmat {         // matmat_tile.comp, matmat_coop.comp
    uint64_t to, w, w_up;    // F32 [n_tokens][n_out]; [n_out][n_in]; the same, GLU only; with TABLE
                             // w: u64 [n_expert], where the rows of each are
    uint64_t x, scale;       // [n_tokens][n_in], F32 or F16; F32 [n_tokens], of F16
    uint64_t bias, residual; // F32 [n_out] or 0; F32 [n_tokens][n_out] or 0
    uint64_t tile, slot;     // experts only: struct expert_tile [groups]; I32, rows by expert
    uint64_t grid;
    uint32_t to_row, w_row, x_row, residual_row; // bytes between rows
    uint32_t n_in, n_out, n_tokens;
    uint32_t split;       // columns of w to a workgroup (z), whole steps of 32; without split-k all
    uint32_t x_share;     // experts only: row i reads x[i / x_share]
    uint32_t bias_row;    // experts only: bytes between the experts' biases
    uint32_t expert_rows; // experts only: rows of w, from one expert to the next
    uint32_t w_at; // with TABLE: bytes from an expert's first row to the first that is wanted
    float factor;  // (dot + bias) * factor + residual
};

struct push_matmat_sum {     // matmat_sum.comp
    uint64_t to, part;       // F32 [n_tokens][n_out]; F32 [n_parts][n_tokens][n_out]
    uint64_t bias, residual; // F32 [n_out] or 0; F32 [n_tokens][n_out] or 0
    uint32_t to_row, part_row, residual_row; // bytes between rows
    uint32_t n_out, n_tokens, n_parts;
    float factor; // (sum + bias) * factor + residual
};

struct push_elementwise {    // elementwise.comp
    uint64_t to, x, y, gate; // F32 [rows][n_cols]; y or 0; gate: [rows][n_cols / per_gate] or 0
    uint32_t to_row, x_row, y_row, gate_row; // bytes between rows
    uint32_t n_cols, per_gate;
    float a, b;
};

struct push_experts_sort {    // experts_sort.comp
    uint64_t id, slot, first; // I32 [n]; I32 [n]; I32 [n_expert + 1]
    uint32_t n;
};

struct push_experts_tiles { // experts_tiles.comp
    uint64_t first, tile;   // I32 [n_expert + 1]; struct expert_tile [n_tiles]
    uint32_t n_expert, n_tiles;
    uint32_t rows; // of a tile at most
};

struct expert_tile { // rows of one expert that one workgroup takes: slot[first] .. slot[first + n -
                     // 1]
    uint32_t expert, first, n, unused;
};

// ---- attention, rotation, norm (attention.c, rope.c, norm.c) ----

struct push_norm {         // norm.comp
    uint64_t to, x;        // F32 [n_tokens][n_cols]
    uint64_t weight, bias; // F32 [n_cols], or 0
    uint64_t residual;     // F32 [n_tokens][n_cols], or 0
    uint32_t to_row, x_row, residual_row;
    uint32_t n_cols;
    float eps, scale;
};

struct push_rope_kv {          // rope_kv.comp
    uint64_t q, k, v;          // F32 [n_tokens][heads]; k, v: 0: none
    uint64_t pos, row, turns;  // I32 [n_tokens]; I32 [n_tokens]; I32 [n_rot / 2][high, low]
    uint64_t cache_k, cache_v; // [n_rows][n_head_kv * head_dim, head_dim_v]
    uint64_t q_norm, k_norm;   // F32 [head_dim], where they are wanted
    uint32_t q_row, k_row, v_row, cache_k_row, cache_v_row;
    uint32_t n_head, n_head_kv;
    uint32_t n_rows; // of the caches
    float magnitude, eps;
    float temperature; // with their flag
    uint32_t temperature_length;
};

struct push_index_keys {     // index_keys.comp
    uint64_t x, raw, keys;   // F32 [n_tokens][dim]; F16 [n_rows][dim]; F16 [n_rows / block][dim]
    uint64_t norm, pos, row; // F32 [dim]; I32 [n_tokens]
    uint64_t turns;          // I32 [n_rot / 2][high, low]
    uint32_t x_row, raw_row, key_row; // bytes between rows
    uint32_t n_rows;
    float magnitude, eps;
};

struct push_index_choose {   // index_choose.comp
    uint64_t chosen, scores; // U32 [n_tokens][words]; F32 [n_tokens][n_blocks]
    uint64_t q, keys;        // F32 [n_tokens][n_head * dim]; F16 [rows / block][dim]
    uint64_t pages;          // I32 [n_tables][pages]
    uint64_t table, count;   // I32 [n_tokens]
    uint64_t weight;         // F32 [n_tokens][heads], or 0: ones
    uint32_t chosen_row, scores_row, q_row, key_row, pages_row, weight_row; // bytes between rows
    uint32_t n_most;
    uint32_t n_group; // of N_HEAD heads each
};

struct push_streams {                        // streams.comp, streams_gate.comp
    uint64_t to, x, y, gate;                 // backend.h: struct streams
    uint32_t to_row, x_row, y_row, gate_row; // bytes between rows
    uint32_t n, n_stream;
};

struct push_streams_read {                       // streams_read.comp
    uint64_t to, x;                              // F32 [n_tokens][n]; [n_tokens][n_stream * n]
    uint64_t mix, scale, base, weight;           // compute.h: struct streams_read; weight: or 0
    uint32_t to_row, x_row, mix_row, weight_row; // bytes between rows
    uint32_t n, n_stream, n_round;
    float eps;
};

struct push_compress {         // compress.comp
    uint64_t to, x, score;     // F32 [n_tokens][dim]; [n_tokens][dim, or with overlap 2 dim]
    uint64_t raw_x, raw_score; // F16 [n_rows][as x]
    uint64_t place;            // F32 [ratio][as x]
    uint64_t pages;            // I32 [n_tables][pages]
    uint64_t table, pos, row;  // I32 [n_tokens]
    uint32_t to_row, x_row, score_row, raw_x_row, raw_score_row, place_row,
        pages_row; // bytes between rows
    uint32_t n_rows, dim, ratio, overlap;
};

struct push_attention_far {         // attention_far.comp
    uint64_t to, q;                 // F32 [n_tokens][n_head * head_dim]
    uint64_t near, far;             // F16 or Q8_0 [rows][head_dim]; [rows / ratio][head_dim]
    uint64_t near_pages, far_pages; // I32 [n_tables][pages]
    uint64_t table, count;          // I32 [n_tokens]
    uint64_t sinks, chosen;         // F32 [n_head] or 0; U32 [n_tokens][words] or 0
    uint32_t to_row, q_row, near_row, far_row, near_pages_row, far_pages_row,
        chosen_row; // bytes between rows
    uint32_t window, ratio;
    float scale;
};

struct push_attention {    // attention.comp, attention_matrix.comp
    uint64_t to, q;        // F32 [n_tokens][n_head * head_dim_v]; [n_tokens][heads]
    uint64_t k, v;         // F16 or Q8_0 [rows][n_head_kv heads]; v may be k
    uint64_t pages;        // I32 [n_tables][pages]
    uint64_t table, count; // I32 [n_tokens]
    uint64_t sinks, gate;  // F32 [n_head]; [n_tokens][heads]; 0: none. Or, with PLACE, in the first
                           // one's place I32 pos [n_tokens], and with ALIBI F32 slopes [n_head] in
                           // the other's
    uint64_t parts;        // of a split one: struct push_attention_join's
    uint32_t to_row, q_row, k_row, v_row, gate_row, pages_row; // bytes between rows
    uint32_t n_tokens, token0; // tokens token0 .. n_tokens - 1 are computed
    uint32_t window;           // or, with CHOSEN, bytes between rows of bits, which are at `sinks`
    float q_scale; // times log2(e), so that the softmax is made of powers of two; or / softcap
    float cap;     // softcap * log2(e); 0: none
};

struct push_attention_join { // attention_join.comp
    uint64_t to, sinks, gate;
    // Unnormalised outputs F32 [n_tokens][n_head][n_split][head_dim_v], before which lie maximum and
    // sum of each, the last first: those of the i-th 8 (i + 1) bytes before.
    uint64_t parts;
    uint32_t to_row, gate_row, n_head, n_split;
};

// ---- sampling, mixture of experts (top_k.c, route.c, experts.c) ----

struct push_top_k {     // top_k.comp
    uint64_t x;         // F32 [n_rows][...]
    uint64_t from, to;  // [n_rows][n][key, column]; [n_rows][n_slices][k][key, column]
    uint64_t id, value; // I32 [n_rows][k]; F32 [n_rows][k]
    uint64_t total;     // F32 [n_rows][1], or 0
    uint64_t sums;      // [n_rows][n_sums][largest, sum of e^(x - largest)] of the first slices
    uint32_t x_row, id_row, value_row, total_row;
    uint32_t n, k, n_sums; // numbers in a row (of x, or pairs)
};

struct push_route {              // route.comp
    uint64_t id, weight, logits; // I32, F32 [n_tokens][n_used]; F32 [n_tokens][n_expert]
    uint64_t bias;               // F32 [n_expert], or 0
    uint64_t hashed, token;      // I32 [n_vocab][n_used], or 0: they are chosen; I32 [n_tokens]
    uint32_t hashed_row;
    uint32_t id_row, weight_row, logits_row;
    uint32_t n_expert, n_used;
    uint32_t score, normalise;      // enum route_score; 0 or 1
    uint32_t n_group, n_group_used; // n_group 0: none
    float scale, sum_least;
};

struct push_experts_sum {     // experts_sum.comp
    uint64_t to, residual, y; // F32 [n_tokens][n_cols], the same, [n_tokens * n_used][n_cols]
    uint64_t weight;          // F32 [n_tokens][n_used]
    uint32_t to_row, residual_row, y_row, weight_row;
    uint32_t n_cols, n_used;
};

// ---- recurrent layers (recurrent.c) ----

struct push_conv {              // conv.comp
    uint64_t to, x;             // F32 [n_tokens][n_channels]
    uint64_t before, after;     // the same, or 0
    uint64_t weight, bias;      // F32 [n_channels][n_conv]; [n_channels] or 0
    uint64_t state;             // F32 [n_slots][(n_conv - 1) * dilation][n_channels]
    uint64_t slot_in, slot_out; // I32 [n_tokens]
    uint32_t to_row, x_row, before_row, after_row, weight_row, state_row; // bytes between rows
    uint32_t n_channels, n_tokens, n_slots;
    uint32_t silu; // 0 or 1
};

struct push_delta_net {         // delta_net.comp
    uint64_t to, q, k, v;       // F32 [n_tokens][n_head * d_v]; [n_head_k * d_k]; as `to`
    uint64_t alpha, beta;       // F32 [n_tokens][...]
    uint64_t a, dt_bias;        // F32 [n_head]
    uint64_t z, norm;           // F32 as `to`, [d_v]; or 0
    uint64_t state;             // F32 [n_slots][n_head][d_v][d_k]
    uint64_t slot_in, slot_out; // I32 [n_tokens]
    uint32_t to_row, state_row; // bytes between rows
    uint32_t n_tokens, n_slots;
    float eps_length, eps;
};

struct push_mamba2 {            // mamba2.comp
    uint64_t to, x;             // F32 [n_tokens][n_head * head_dim]
    uint64_t b, c, dt;          // F32 [n_tokens][n_group * d_state]; [n_head]
    uint64_t z;                 // as `to`, or 0
    uint64_t a, d, dt_bias;     // F32 [n_head]
    uint64_t state;             // F32 [n_slots][n_head][head_dim][d_state]
    uint64_t slot_in, slot_out; // I32 [n_tokens]
    uint32_t to_row, x_row, b_row, dt_row, z_row, state_row; // bytes between rows
    uint32_t n_tokens, n_slots;
};

#endif
