// compute.h - floor 1: memory of a device and the operations a forward pass is made of.
//
// One header, two implementations behind it: compute/vulkan/ (the product) and compute/cpu/ (the
// oracle, and the explicit choice `device = cpu`). Tensors have no names and no meaning here: a
// tensor is a row-major matrix somewhere in the device's memory. All calls come from the engine
// thread.
//
// Use: between compute_begin() and compute_finish() operations are recorded, in order, each seeing
// the results of those before it; results may be read after compute_finish(). An implementation may
// run an operation at once or all of them at the end: a caller must not write a tensor or free
// anything between the two. Shapes and types are the caller's duty (checked, die() on a mismatch: a
// programming error; a file's shapes are checked in model/weights.c before they get here).
//
// A recording may be kept under a key and submitted again: what an operation reads from I32 tensors
// (tokens, positions, rows, counts, ids) may then be other values, everything else (shapes,
// tensors, order) is the same.
#pragma once

#include "../base/base.h"

// ---- storage formats: the numbers are GGUF's tensor type ids ----------------------------------

enum dtype {
    DTYPE_F32 = 0,
    DTYPE_F16 = 1,
    DTYPE_Q4_0 = 2,
    DTYPE_Q4_1 = 3,
    DTYPE_Q5_0 = 6,
    DTYPE_Q5_1 = 7,
    DTYPE_Q8_0 = 8,
    DTYPE_Q2_K = 10,
    DTYPE_Q3_K = 11,
    DTYPE_Q4_K = 12,
    DTYPE_Q5_K = 13,
    DTYPE_Q6_K = 14,
    DTYPE_IQ2_XXS = 16,
    DTYPE_IQ2_XS = 17,
    DTYPE_IQ3_XXS = 18,
    DTYPE_IQ1_S = 19,
    DTYPE_IQ4_NL = 20,
    DTYPE_IQ3_S = 21,
    DTYPE_IQ2_S = 22,
    DTYPE_IQ4_XS = 23,
    DTYPE_I32 = 26,
    DTYPE_IQ1_M = 29,
    DTYPE_BF16 = 30,
    DTYPE_TQ1_0 = 34,
    DTYPE_TQ2_0 = 35,
    DTYPE_MXFP4 = 39,
};

const char *dtype_name(enum dtype type);        // "Q4_K"; "?" for an unknown number
bool dtype_known(uint32_t type);                // readable as a weight by this build
uint32_t dtype_block_elements(enum dtype type); // 1, 32 or 256
uint32_t dtype_block_bytes(enum dtype type);
size_t dtype_row_bytes(enum dtype type, int64_t n_cols); // n_cols: a multiple of the block
// Decodes n elements (a multiple of the block) to float: the definition of the format (GGUF
// specification; ggml block layouts).
void dtype_decode(enum dtype type, float *out, const void *in, int64_t n);

// Up to so many rows of x at once products and attention take the kernels for few rows, on every
// device. On the processor the numbers of a row are then the same however many there are.
enum { FEW_ROWS = 8 };

// ---- device and memory ------------------------------------------------------------------------

struct compute; // an opened device
struct buffer;  // a piece of its memory

struct tensor { // a view: [n_rows][n_cols], row-major, rows row_bytes apart
    struct buffer *buffer;
    size_t offset; // bytes from the start of the buffer
    size_t row_bytes;
    int64_t n_rows, n_cols;
    enum dtype type;
};

struct compute_options {
    const char *device;    // "auto", "vulkan", "cpu" or (part of) a device's name
    int32_t n_threads;     // CPU threads; 0 = one a core this process may run on
    const char *cache_dir; // where compiled kernels are kept between starts; NULL, "": nowhere
    uint64_t weight_buffer_bytes; // most of one buffer of weights, for tests; 0: what is possible
};

struct compute_info {
    char device[96];  // as a person should read it: "CPU: AMD EPYC ... (2 threads, AVX-512 VNNI)"
    char backend[16]; // "cpu" or "vulkan"
    char driver[96];  // "radv 25.0.7"; empty for the CPU
    char kind[16];    // "cpu", "integrated", "discrete", "virtual" (Venus), "software" (llvmpipe)
    char reason[320]; // why this device and not another; one sentence
    int32_t n_threads;
    int32_t n_compute_units;       // 0: not told by the driver
    uint64_t memory_bytes;         // what the device can address: on unified memory all its heaps
    uint64_t memory_usable_bytes;  // of that what is free now
    uint64_t largest_buffer_bytes; // that one tensor may take, weights apart; 0: all of it
};

// The policy is open.c's. NOT_FOUND: no device has that name. Other statuses: the one that should
// run cannot; the sentence names the layer that refuses it.
MUST_USE enum status compute_open(struct compute **out, const struct compute_options *options,
                                  struct err *err);
// False: the device was not idle after 5 s: it hangs, and is left as it is, for the process's end.
bool compute_close(struct compute *compute);
const struct compute_info *compute_info(const struct compute *compute);

// Zero-filled device memory that lives until compute_close or tensor_free. NO_ROOM names the size.
MUST_USE enum status compute_tensor(struct compute *compute, struct tensor *out, enum dtype type,
                                    int64_t n_rows, int64_t n_cols, struct err *err);
// The same for a KV cache: rows may lie further apart, so that they do not all fall on one memory
// channel. type: F16 or Q8_0. Never read or written by tensor_read and tensor_write.
MUST_USE enum status compute_cache(struct compute *compute, struct tensor *out, enum dtype type,
                                   int64_t n_rows, int64_t n_cols, struct err *err);
// Bytes that such a tensor takes.
enum buffer_use { USE_TENSOR, USE_CACHE, USE_WEIGHT };
uint64_t compute_bytes(const struct compute *compute, enum buffer_use use, enum dtype type,
                       int64_t n_rows, int64_t n_cols);
// Whether the device computes with weights of this format. (Decoded, the CPU knows all of them.)
bool compute_runs(const struct compute *compute, enum dtype type);
// Weights: `data` (dtype_row_bytes(type, n_cols) * n_rows bytes, 32-aligned at least, in a mapped
// file) must outlive the tensor. The CPU borrows it; a GPU reads it into its own memory, in a
// layout of its own, and lets the file's pages go. Never read or written by tensor_read and
// tensor_write.
MUST_USE enum status compute_weight(struct compute *compute, struct tensor *out, enum dtype type,
                                    int64_t n_rows, int64_t n_cols, const void *data,
                                    struct err *err);
// The same in pieces, for who must do other things meanwhile: first its place, then its rows, a few
// at a time, each once, with the same `data`; used when all are there. whole_rows: rows that a
// device must keep together when it splits weights that are larger than one of its buffers: those
// of an expert; 1: none. Loading rows has them read
// from the file, so that a disk that cannot be read is an error here: IO_ERROR.
MUST_USE enum status compute_weight_begin(struct compute *compute, struct tensor *out,
                                          enum dtype type, int64_t n_rows, int64_t n_cols,
                                          int64_t whole_rows, const void *data, struct err *err);
MUST_USE enum status compute_weight_rows(struct compute *compute, const struct tensor *weight,
                                         int64_t row0, int64_t n_rows, const void *data,
                                         struct err *err);
void tensor_free(struct compute *compute, struct tensor *tensor);
// Views of some rows, and of some columns (F32, I32). Rows of a view of columns have gaps.
struct tensor tensor_rows(const struct tensor *tensor, int64_t row0, int64_t n_rows);
struct tensor tensor_columns(const struct tensor *tensor, int64_t column0, int64_t n_cols);
// Of a lost device nothing is written, which compute_finish says, and zeros are read, which
// compute_check says.
void tensor_write(struct compute *compute, const struct tensor *to, const void *from,
                  size_t n_bytes);
void tensor_read(struct compute *compute, void *to, const struct tensor *from, size_t n_bytes);
// OK: what was read is what the tensors held. DEVICE_ERROR: the device was lost meanwhile.
MUST_USE enum status compute_check(const struct compute *compute, struct err *err);

// ---- the operations ---------------------------------------------------------------------------
// Activations are F32. n_tokens is the number of rows of the activation. Names are those of
// model/forward.c. A field of an argument struct that is left 0 or NULL is not there: no bias, no
// scale, no window. Activations may be views with gaps between their rows, but for what a product
// of the kind op_matmul reads and writes. The CPU takes any shape; a GPU may want a head_dim that
// is a multiple of 8 up to 576, products whose n_in is one of 32, and embeddings whose n_cols is
// one of 4.

// Starts a recording. key != 0 names everything about it that is not in I32 tensors. true: record
// the operations, then finish; false: the device still has the recording of that key and submits it
// again at compute_finish, so nothing may be recorded. Freeing a tensor forgets what uses it. How
// an attention of more than 8 tokens is shared out follows from which neighbours have one table and
// from attention_rows of the largest count: its key names these too.
MUST_USE bool compute_begin(struct compute *compute, uint64_t key);
static inline int64_t attention_rows(int64_t count) // a power of two
{
    int64_t n = 256;
    while (n < count)
        n *= 2;
    return n;
}
// As compute_begin without a key, but nothing will run: the kernels of what is recorded are
// compiled, so that the first real recording need not wait for them. false: this device has nothing
// to compile ahead, and nothing may be recorded or finished.
MUST_USE bool compute_rehearse(struct compute *compute);
// DEVICE_ERROR: the device is lost.
MUST_USE enum status compute_finish(struct compute *compute, struct err *err);
// What the last finished recording was made of: on small models a GPU's time goes by these.
struct compute_counts {
    uint32_t n_dispatches; // of kernels (CPU: parallel tasks)
    uint32_t n_barriers;   // between dispatches that depend on each other
    uint32_t n_submissions;
};
struct compute_counts compute_counts(const struct compute *compute);

// out[t] = decode(token_embd[token[t]]) * scale; token: I32 [1][n_tokens]
void op_embed(struct compute *compute, const struct tensor *out, const struct tensor *token_embd,
              const struct tensor *token, float scale);

// out[t] = rms(x[t]) = x[t] / sqrt(mean(x[t]^2) + eps) * weight   (Zhang & Sennrich 2019). weight:
// F32 [1][n_cols], or NULL: ones. out may be x. Groups of a row that are normalised each by itself
// are rows of a view [n_tokens * n_groups][n_cols / n_groups].
void op_rms_norm(struct compute *compute, const struct tensor *out, const struct tensor *x,
                 const struct tensor *weight, float eps);
// The same of each of n_group equal parts of a row by itself, with its part of weight: F32
// [1][n_cols].
void op_group_norm(struct compute *compute, const struct tensor *out, const struct tensor *x,
                   const struct tensor *weight, int32_t n_group, float eps);
// out[t] = residual[t] + scale * rms(x[t]): a norm behind a block. out may be x or residual.
struct norm_add {
    const struct tensor *out, *x, *weight, *residual;
    float eps, scale; // scale: 1
};
void op_norm_add(struct compute *compute, const struct norm_add *args);
// out[t] = (x[t] - mean(x[t])) / sqrt(variance(x[t]) + eps) * weight + bias   (Ba et al. 2016).
// weight, bias: F32 [1][n_cols], or NULL. out may be x.
void op_layer_norm(struct compute *compute, const struct tensor *out, const struct tensor *x,
                   const struct tensor *weight, const struct tensor *bias, float eps);

// What a product reads: x [n_tokens][n_in], RMS-normalised first (as op_rms_norm) when norm, F32
// [1][n_in], is not NULL.
struct matmul_x {
    const struct tensor *x, *norm;
    float eps;
};
// out[t][r] = (dot(w[r], x[t]) + bias[r]) * scale + residual[t][r]. w: [n_out][n_in] of any format;
// bias (F32 [1][n_out]) and residual (F32 [n_tokens][n_out], may be `out` itself) may be NULL.
struct matmul {
    const struct tensor *out, *w, *bias, *residual;
    float scale; // 0: none, as 1
};
// Several products of one x (q, k, v), so that x is read, normalised and converted once. n <= 4.
// No `out` may be the tensor of x.
void op_matmul(struct compute *compute, const struct matmul *products, int n,
               const struct matmul_x *x);

enum activation {
    ACTIVATION_SILU,        // x sigmoid(x): SwiGLU
    ACTIVATION_GELU,        // tanh form (Hendrycks & Gimpel 2016): GeGLU
    ACTIVATION_GELU_ERF,    // x / 2 (1 + erf(x / sqrt(2)))
    ACTIVATION_RELU_SQUARE, // max(x, 0)^2 (So et al. 2021)
    ACTIVATION_SIGMOID,     // a gate
    ACTIVATION_TANH,
    ACTIVATION_SWIGLU_OAI, // gpt-oss, with a gate only: g = min(gate, 7), u = clamp(up, -7, 7):
                           // g sigmoid(1.702 g) (u + 1)
    ACTIVATION_SWIGLU_10,  // DeepSeek-V4, with a gate only: gate cut off above 10, up beyond -10
                           // and 10: silu(gate) up
    N_ACTIVATIONS,
};
// out[t][r] = activation(gate) * up with gate = dot(w_gate[r], x[t]) + bias_gate[r] and up =
// dot(w_up[r], x[t]) + bias_up[r]   (Shazeer 2020). w_gate NULL: out[t][r] = activation(up).
// w_gate and w_up: one shape, any formats; biases: F32 [1][n_out] or NULL; scratch: F32 of the
// shape of out, undefined afterwards, NULL without w_gate.
struct matmul_glu {
    const struct tensor *out, *w_gate, *w_up, *scratch;
    enum activation activation;
    const struct tensor *bias_gate, *bias_up;
};
void op_matmul_glu(struct compute *compute, const struct matmul_glu *glu, const struct matmul_x *x);

enum rope_pairs {
    ROPE_NORM, // rotates (x[2i], x[2i+1])             - GGUF `llama`
    ROPE_NEOX, // rotates (x[i], x[i + n_rot/2])       - GGUF `qwen2`
};
// How fast each pair turns: all scaling schemes end here. Filled by rope_turns().
struct rope {
    enum rope_pairs pairs;
    int32_t n_rot;              // dimensions of each head that are rotated (even)
    const struct tensor *turns; // I32 [1][n_rot]: for pair i the revolutions a position as a 64-bit
                                // fraction, high half at 2i, low half at 2i+1; whole ones fall away
    float magnitude;            // cosine and sine are multiplied by it (YaRN); 1 = plain
    int32_t first;              // the first of these dimensions (even); MLA's come last
    bool back;                  // they are turned back: by the negative angle
};
struct rope_scaling {
    float freq_base;            // theta
    float freq_scale;           // positions are multiplied by it (linear, YaRN's interpolation); 1
    const float *freq_factors;  // [n_rot/2] divides each frequency (Llama 3, LongRoPE); NULL = none
    bool yarn;                  // (Peng et al. 2023): the four below
    int32_t n_ctx_orig;         // positions the model was trained on
    float beta_fast, beta_slow; // turns within n_ctx_orig above / below which a pair is left alone
                                // / interpolated: 32, 1
    float attn_factor;          // multiplies the magnitude, with YaRN or without; 0 = 1
};
// turns: [n_rot], as in struct rope. Computed in double precision.
void rope_turns(int32_t *turns, float *magnitude, int32_t n_rot,
                const struct rope_scaling *scaling);
// q is rotated in place; cache_k[row[t]] = rotated k[t], cache_v[row[t]] = v[t], both converted to
// the cache's format: F16, or Q8_0 (of each 32 columns d = largest / 127, the integers x * 127 /
// largest rounded to nearest; d is then rounded to its half float). Before they are rotated, heads
// of q and k may be normalised, each by itself, as by op_rms_norm, and those of v by one without
// weights. n_rot 0: nothing turns (Su et al. 2021). At last q[t] is multiplied by 1 + temperature *
// log(1 + pos[t] / temperature_length), the quotient rounded down: scores grow with the position.
//   q     [n_tokens][heads q_stride apart]; k: [n_tokens][n_head_kv * head_dim]; v: [n_tokens]
//         [n_head_kv * head_dim_v], may be k: it is taken before its norm and rotation. k is
//         undefined afterwards.
//   v, cache_v NULL: values are not kept (they are part of the keys, or were kept before). k and v
//         NULL, and their caches: only q is normalised and rotated. pos, row: I32 [1][n_tokens];
//         row may then be NULL too; -1: of that token nothing is kept. q NULL: there is only k.
struct rope_kv {
    const struct tensor *q, *k, *v, *pos, *row, *cache_k, *cache_v;
    int32_t head_dim;
    struct rope rope;
    int32_t n_head;                       // 0: q's columns / q_stride
    int32_t q_stride;                     // numbers from one head of q to the next; 0: head_dim
    int32_t head_dim_v;                   // 0: head_dim
    const struct tensor *q_norm, *k_norm; // F32 [1][head_dim], or NULL: not normalised
    bool v_norm;
    float eps;                  // of these norms
    float temperature;          // 0: nothing is multiplied
    int32_t temperature_length; // positions, at least 1 with a temperature
};
void op_rope_kv(struct compute *compute, const struct rope_kv *args);

// Cache rows are given out by pages: page i is PAGE_ROWS rows of k and v from i * PAGE_ROWS on, and
// position p of a sequence is row p % PAGE_ROWS of the page that the sequence's table names for p /
// PAGE_ROWS. A page may stand in several tables.
enum { PAGE_ROWS = 256 };

// Grouped-query attention over a cache of pages. Token t attends to the positions 0 .. count[t] - 1
// of the sequence whose table is row table[t] of pages, of these to the last `window` when window >
// 0. Nothing else is causal in it: tokens of one table that have the same count see each other,
// whatever their order.
// q: [n_tokens][heads q_stride apart]; k, v: F16 or Q8_0 [rows][n_head_kv * head_dim, head_dim_v];
// out: [n_tokens][n_head * head_dim_v]; pages: I32 [n_tables][pages a sequence may have]; table,
// count: I32 [1][n_tokens], count from 1 on. Of a table those entries are read that lie between the
// first and the last position that tokens of the call see; others may be anything, as -1. v NULL:
// the values of a head are the first head_dim_v columns of its key.
// out[t][h] = softmax(score) v, score = q[t][h] . k[.][h / (n_head / n_head_kv)] * scale, in one
// pass with a running maximum. softcap > 0: score = softcap * tanh(score / softcap). sinks (F32
// [1][n_head], may be NULL): one more score a head that takes its share and brings no value. gate
// (F32, may be NULL): out is multiplied by sigmoid(gate), a number for each column of out (heads
// gate_stride apart, 0: head_dim_v), or with gate_heads one for each head: [n_tokens][n_head].
// alibi (F32 [1][n_head], may be NULL; then pos: I32 [1][n_tokens], and neither sinks nor gate): at
// last the score of position p is less by alibi[h] * |pos[t] - p|   (Press et al. 2022). pos with a
// window, without alibi and sinks: the window reaches back from the token's own place, and count
// says how far it goes on: positions pos[t] - window .. count[t] - 1.
// chosen (I32 [n_tokens][pages * PAGE_ROWS / block / 32], may be NULL; then neither sinks, alibi,
// pos nor a window): of its positions a token sees those in blocks whose bit is set, bit b % 32 of
// number b / 32 for positions b * block .. b * block + block - 1; one of them at least.
struct attention {
    int32_t n_head, n_head_kv, head_dim;
    float scale; // 1 / sqrt(head_dim)
    float softcap;
    int32_t window;
    const struct tensor *sinks;
    int32_t head_dim_v, q_stride; // 0: head_dim
    const struct tensor *gate;
    int32_t gate_stride;
    bool gate_heads;
    const struct tensor *alibi, *pos;
    const struct tensor *chosen;
    int32_t block; // 2, 4 or 8, with chosen
};
void op_attention(struct compute *compute, const struct tensor *out, const struct tensor *q,
                  const struct tensor *k, const struct tensor *v, const struct tensor *pages,
                  const struct tensor *table, const struct tensor *count,
                  const struct attention *attention);

// What is kept to choose by which blocks of `block` positions attention sees (Qwen 2026, after
// DeepSeek-V3.2): raw[row[t]] = x[t]; and where pos[t] is the last of its block, keys[row[t] /
// block] = the mean of the block's rows in raw, normalised as by op_rms_norm and turned as at the
// block's first position. x: F32 [n_tokens][dim]; raw: F16 [rows][dim]; keys: F16 [rows /
// block][dim]; norm: F32 [1][dim]; pos, row: I32 [1][n_tokens]. Rows of a block are neighbours, in
// order. dim: a multiple of 8 up to INDEX_DIM_MOST; block as in struct attention.
enum { INDEX_DIM_MOST = 256, INDEX_HEADS_MOST = 64, INDEX_WORDS_MOST = 4096 }; // words of bits
struct index_keys {
    const struct tensor *x, *raw, *keys, *norm, *pos, *row;
    struct rope rope;
    int32_t block;
    float eps;
};
void op_index_keys(struct compute *compute, const struct index_keys *args);
// chosen[t]: the bits (struct attention) of the n_most blocks with the largest scores among those
// of which all positions are below count[t], of equal ones the lower first, and of the block that
// count[t] ends within. score = sum over heads of max(0, q[t][h] . keys), times weight[t][h] where
// weight (F32 [n_tokens][n_head]) is not NULL. q: F32 [n_tokens][n_head * dim], as they are to be
// multiplied; pages, table, count: as attention's. Bits from count[t] on are undefined.
struct index_choose {
    const struct tensor *chosen, *q, *keys, *pages, *table, *count, *weight;
    int32_t n_head, block, n_most;
};
void op_index_choose(struct compute *compute, const struct index_choose *args);

// ---- rows that stand for many positions (DeepSeek-V4 2026) --------------------------------------

// Each token leaves x and score (F32 [n_tokens][dim], or with `overlap` [n_tokens][2 dim]), which
// are kept: raw_x, raw_score (F16) [row[t]]. Where pos[t] is the last of `ratio` positions, out[t]
// (F32 [n_tokens][dim]) is made of those of its block, column by column:
//   out[t][c] = sum over j of softmax over j of (score[j][c] + place[j][c]) * x[j][c]
// with overlap over the block before too, of which the first dim columns are taken, of its own the
// last; before position 0 there is none. Of other tokens out is undefined. place: F32 [ratio][as
// x]; pos, row: I32 [1][n_tokens]; pages, table: of raw, as attention's, for ratio (with overlap
// twice as many) positions up to pos[t].
enum { COMPRESS_MOST = 128 }; // ratio
struct compress {
    const struct tensor *out, *x, *score, *raw_x, *raw_score, *place, *pos, *row, *pages, *table;
    int32_t ratio;
    bool overlap;
};
void op_compress(struct compute *compute, const struct compress *args);

// Attention to the last `window` of count[t] positions, and beside them to rows that stand for
// `ratio` positions each, those of count[t] / ratio whole blocks, all of them or the chosen (bits
// as struct attention's; NULL: all; block is ratio). Keys are the values too, of one head for all:
//   out[t][h] = softmax(q[t][h] . k * scale) k, with sinks as op_attention
// q, out: F32 [n_tokens][n_head * head_dim]; near: F16 or Q8_0 [rows][head_dim]; far: the same
// [rows / ratio][head_dim]; near_pages, far_pages: I32 [n_tables][pages]. On a GPU head_dim is as
// op_attention wants it.
struct attention_far {
    const struct tensor *out, *q, *near, *far, *near_pages, *far_pages, *table, *count, *sinks,
        *chosen;
    int32_t n_head, window, ratio;
    int32_t n_most; // rows that are chosen at most, where chosen is not NULL
    float scale;
};
void op_attention_far(struct compute *compute, const struct attention_far *args);

// out[i] = x[row[i]]; row: I32 [1][n]. Picks the positions whose logits are wanted.
void op_rows(struct compute *compute, const struct tensor *out, const struct tensor *x,
             const struct tensor *row);

// to = from, byte by byte: whole rows without gaps between them, in any formats (rows of a cache
// too), a multiple of 4 bytes and less than 2^31; as many in both, which do not overlap. On a GPU
// bytes and offsets are multiples of 16, as its caches' rows are.
void op_copy(struct compute *compute, const struct tensor *to, const struct tensor *from);

enum { TOP_K_MOST = 64 };
// The k largest of each row of x [n][n_cols], falling; of equal ones the lower column first. id:
// I32 [n][k], value: F32 [n][k]; 1 <= k <= TOP_K_MOST, k <= n_cols. A NaN counts as largest, so
// that the caller sees it. total (F32 [n][1], or NULL): log(sum of e^x) over the whole row, from
// which follows what share each of them has.
void op_top_k(struct compute *compute, const struct tensor *id, const struct tensor *value,
              const struct tensor *total, const struct tensor *x);

// ---- element by element -------------------------------------------------------------------------
// Of one shape; out may be any of the inputs.

// out = activation(gate) * up; up NULL: activation(gate).
void op_glu(struct compute *compute, const struct tensor *out, const struct tensor *gate,
            const struct tensor *up, enum activation activation);
// out = a x + b y; y NULL: a x.
void op_add(struct compute *compute, const struct tensor *out, float a, const struct tensor *x,
            float b, const struct tensor *y);
// out = x y
void op_multiply(struct compute *compute, const struct tensor *out, const struct tensor *x,
                 const struct tensor *y);
// out[t][i] = residual[t][i] + x[t][i] * sigmoid(gate[t][i / (n_cols / n_gate)]); gate: [n_tokens]
// [n_gate], n_gate a divisor of n_cols: one number a token, a head or a column. residual may be
// NULL.
void op_gate_add(struct compute *compute, const struct tensor *out, const struct tensor *residual,
                 const struct tensor *x, const struct tensor *gate);
// out = cap * tanh(x / cap)
void op_softcap(struct compute *compute, const struct tensor *out, const struct tensor *x,
                float cap);

// ---- several residual streams (hyper-connections, Zhu et al. 2024) ------------------------------
// A row of n_stream streams, each n wide, one behind the other.

// out[t][i] = mean over the streams s of x[t][s][i] * sigmoid(gate[t][s][i]). out: [n_tokens][n];
// x, gate: [n_tokens][n_stream * n].
void op_streams_mix(struct compute *compute, const struct tensor *out, const struct tensor *x,
                    const struct tensor *gate, int32_t n_stream);
// out[t][s][i] = x[t][s][i] + y[t][i] * 2 sigmoid(weight[t][s]). out may be x; y: [n_tokens][n];
// weight: [n_tokens][n_stream].
void op_streams_add(struct compute *compute, const struct tensor *out, const struct tensor *x,
                    const struct tensor *y, const struct tensor *weight);
// out[t][s][i] = y[t][i] * sigmoid(r) with r = d / sqrt(max(|d|, 1e-6)), d = x[t][s] . z[t][s] /
// sqrt(n). out, x, z: [n_tokens][n_stream * n], out none of the others; y: [n_tokens][n].
void op_streams_gate(struct compute *compute, const struct tensor *out, const struct tensor *y,
                     const struct tensor *x, const struct tensor *z);

// Streams that are mixed by numbers which they give themselves (hyper-connections on a manifold,
// Xie et al. 2025). With n streams z = mix[t] * scale + base, where scale[0] is of the first n
// numbers, scale[1] of the next n and scale[2] of the last n * n:
//   out[t] = sum over s of (sigmoid(z[s]) + eps) * x[t][s]
//   weight[t] = 2 sigmoid(z[n + d]), then m[s][d]: softmax over d of z[2 n + s n + d], plus eps,
//   divided by the sum over s + eps, and n_round - 1 times by that over d, then by that over s
// mix, base: [n_tokens], [1][n * (2 + n)], scale: [1][3], weight: [n_tokens][n + n * n]. weight
// NULL: of mix, base and scale only the first part is there. All F32; n <= STREAMS_READ_MOST.
enum { STREAMS_READ_MOST = 4 };
struct streams_read {
    const struct tensor *out, *x, *mix, *scale, *base, *weight;
    int32_t n_stream, n_round;
    float eps;
};
void op_streams_read(struct compute *compute, const struct streams_read *args);
// x[t][d] = y[t] * weight[t][d] + sum over s of weight[t][n + s n + d] * x[t][s], by such a weight.
void op_streams_blend(struct compute *compute, const struct tensor *x, const struct tensor *y,
                      const struct tensor *weight, int32_t n_stream);

// ---- mixture of experts (Shazeer et al. 2017; Fedus et al. 2021) --------------------------------

enum { EXPERTS_MOST = 512, EXPERTS_USED_MOST = 32 };
enum route_score {
    ROUTE_SOFTMAX,     // softmax over all experts, then the n_used largest
    ROUTE_TOP_SOFTMAX, // the n_used largest, softmax over these (gpt-oss)
    ROUTE_SIGMOID,     // sigmoid of each, then the n_used largest
    ROUTE_SOFTPLUS,    // sqrt(softplus) of each, then the n_used largest (DeepSeek-V4)
};
struct route {
    enum route_score score;
    bool normalise; // the chosen weights are divided by their sum
    float scale;    // and multiplied by this; 1
    // Added to the scores (of ROUTE_TOP_SOFTMAX: to the logits) for the choice alone: F32
    // [1][n_expert] or NULL   (DeepSeek-V3 2024)
    const struct tensor *bias;
    // Only experts of the n_group_used best of n_group groups of neighbours are taken; a group is
    // worth the sum of its two largest. 0: no groups.
    int32_t n_group, n_group_used;
    float sum_least; // what weights are divided by is not less than this
    // The experts are those that stand in the token's row: I32 [n_vocab][n_used], below n_expert,
    // and I32 [1][n_tokens]; NULL: they are chosen.
    const struct tensor *hashed, *token;
};
// id: I32 [n_tokens][n_used], weight: F32 [n_tokens][n_used], logits: F32 [n_tokens][n_expert],
// n_expert <= EXPERTS_MOST, n_used <= EXPERTS_USED_MOST. Without bias and groups picked by the
// logits (softmax and sigmoid keep their order, but round different ones to the same): largest
// first; of equal ones the lower expert.
void op_route(struct compute *compute, const struct tensor *id, const struct tensor *weight,
              const struct tensor *logits, const struct route *route);

// out[i][r] = dot(w[id[i] * n_out + r], x[i / x_share]) + bias[id[i]][r] for i = t * n_used + slot.
// out: [n_tokens * n_used][n_out]; w: [n_expert * n_out][n_in]; bias: F32 [n_expert][n_out] or
// NULL; x: [n_tokens * n_used / x_share][n_in] with x_share n_used (one x a token) or 1.
struct matmul_experts {
    const struct tensor *out, *w, *bias, *x, *id;
    int32_t x_share;
};
void op_matmul_experts(struct compute *compute, const struct matmul_experts *args);
// out[t] = residual[t] + sum over slots of weight[t][slot] * y[t * n_used + slot]; residual may be
// out.
void op_experts_sum(struct compute *compute, const struct tensor *out,
                    const struct tensor *residual, const struct tensor *y,
                    const struct tensor *weight);

// The two halves of a layer of experts, each as few dispatches as the device can. i = t * n_used +
// slot, and expert means id[t][slot]; id: I32 [n_tokens][n_used].
//
// out[i][r] = activation(gate) * up, as op_matmul_glu with the rows r of the expert's matrices and
// biases. w_gate, w_up: [n_expert * n_ff][n_in], w_gate NULL: no gate; or w_gate_up: [n_expert * 2
// n_ff][n_in] in their place, an expert's gate rows before its up rows. biases: F32
// [n_expert][n_ff] or NULL (with w_gate_up views of its halves). out, scratch: [n_tokens *
// n_used][n_ff]; scratch is undefined afterwards, NULL without a gate. x: [n_tokens][n_in].
struct experts_glu {
    const struct tensor *out, *w_gate, *w_up, *w_gate_up, *bias_gate, *bias_up, *id, *scratch;
    enum activation activation;
};
void op_experts_glu(struct compute *compute, const struct experts_glu *args,
                    const struct matmul_x *x);
// out[t] = residual[t] + sum over slots of weight[t][slot] * (w[expert] y[i] + bias[expert]). w:
// [n_expert * n_out][n_ff]; y: [n_tokens * n_used][n_ff]; weight: F32 [n_tokens][n_used]; bias: F32
// [n_expert][n_out] or NULL; scratch: F32 [n_tokens * n_used][n_out], undefined afterwards.
// residual may be out, or NULL.
struct experts_down {
    const struct tensor *out, *residual, *w, *bias, *y, *id, *weight, *scratch;
};
void op_experts_down(struct compute *compute, const struct experts_down *args);

// ---- recurrent layers ---------------------------------------------------------------------------
// The rows of a batch are runs: neighbouring rows of one sequence, in order. What a sequence keeps
// of one layer is a slot, one row of `state` (F32, zero-filled like all tensors). No slot is
// written for two rows, and a slot that is written in a run is read by no other run. `out` of these
// operations is none of their inputs.

enum {
    SLOT_GOES_ON = -1, // of in: the row goes on from the one before it; never in row 0
    SLOT_ZERO = -2,    // of in: a run begins with zeros
    SLOT_NONE = -1,    // of out: the state is not kept
};
struct slots {                // I32 [1][n_tokens]
    const struct tensor *in;  // the slot that stands before row t, which then begins a run
    const struct tensor *out; // where the state after row t is written
};
// Whether the device has the operations below. A model that needs them cannot be opened without.
bool compute_has_recurrent(const struct compute *compute);

enum { CONV_MOST = 8 }; // taps
// Causal convolution of each channel by itself, its past in the slot:
// out[t][c] = silu(sum of weight[c][j] * x'[t - (n_conv - 1) + j][c] + bias[c]) * after[t][c],
// with x' = x * before. before, after (lfm2's gates): F32 of the shape of x, or NULL.
// x, out: F32 [n_tokens][n_channels]; weight: F32 [n_channels][n_conv], 2 <= n_conv <= CONV_MOST;
// bias: F32 [1][n_channels] or NULL; state: [n_slots][(n_conv - 1) * n_channels], the last x' rows,
// the oldest first. dilation: taps so many rows apart, so that as many times more are kept, less
// than CONV_ROWS_MOST.
enum { CONV_ROWS_MOST = 16 };
struct conv {
    const struct tensor *out, *x, *before, *after, *weight, *bias, *state;
    struct slots slots;
    bool silu;
    int32_t dilation; // 0: 1
};
void op_conv(struct compute *compute, const struct conv *args);

// The gated delta rule   (Yang et al. 2024). Head h has a state S [d_v][d_k], and reads the q and
// the k of head h mod n_head_k, or with grouped of h / (n_head / n_head_k):
//   q' = q / (|q| sqrt(d_k)), k' = k / |k|, neither length taken as less than eps_length
//   S = e^g S,  g = a[h] * softplus(alpha[t][h] + dt_bias[h])
//   S += sigmoid(beta[t][h]) (v - S k') k'^T
//   out[t][h] = S q', or with z   rms(S q') * norm * silu(z[t][h]), with z_sigmoid sigmoid of it
// q, k: F32 [n_tokens][n_head_k * d_k]; v, z, out: [n_tokens][n_head * d_v]; alpha, beta:
// [n_tokens][...], head h in column h, or with pair_heads, where they come packed as so many betas
// before as many alphas, in column h / pair_heads * 2 pair_heads + h mod pair_heads. a, dt_bias:
// F32 [1][n_head]; norm: F32 [1][d_v], NULL without z; state: [n_slots][n_head * d_v * d_k].
// d_k, d_v <= DELTA_MOST, multiples of 16.
enum { DELTA_MOST = 256 };
struct delta_net {
    const struct tensor *out, *q, *k, *v, *alpha, *beta, *a, *dt_bias, *z, *norm, *state;
    struct slots slots;
    int32_t n_head, n_head_k, d_k, d_v, pair_heads;
    bool grouped, z_sigmoid;
    float eps_length, eps; // eps: of the norm
};
void op_delta_net(struct compute *compute, const struct delta_net *args);

// Mamba-2   (Dao & Gu 2024). Head h has a state S [head_dim][d_state] and reads b and c of group
// h / (n_head / n_group):
//   delta = softplus(dt[t][h] + dt_bias[h])
//   S = e^(delta a[h]) S + delta x[t][h] b^T
//   y = S c + d[h] x[t][h]; with z: y * silu(z[t][h])
// out[t] = y, or with norm each of n_group parts of it rms(y) * norm.
// x, z, out: F32 [n_tokens][n_head * head_dim]; b, c: [n_tokens][n_group * d_state]; dt: [n_tokens]
// [n_head]; a, d, dt_bias: F32 [1][n_head]; z or NULL; norm: F32 [1][n_head * head_dim] or NULL;
// state: [n_slots][n_head * head_dim * d_state]. d_state <= MAMBA_MOST, head_dim and d_state
// multiples of 16.
enum { MAMBA_MOST = 256 };
struct mamba2 {
    const struct tensor *out, *x, *b, *c, *dt, *a, *d, *dt_bias, *z, *norm, *state;
    struct slots slots;
    int32_t n_head, n_group, head_dim, d_state;
    float eps; // of the norm
};
void op_mamba2(struct compute *compute, const struct mamba2 *args);

// ---- self-test -------------------------------------------------------------------------

// self_test.c: runs a product of few rows and of many, a normalisation and an attention whose
// results are known, and measures copying and reading.
struct self_test {
    bool right;
    char said[256];                            // what was computed, and how far off it was
    double copy_bytes_per_s, read_bytes_per_s; // copying counts bytes read and bytes written
};
MUST_USE enum status compute_self_test(struct compute *compute, struct self_test *out,
                                       struct err *err);
