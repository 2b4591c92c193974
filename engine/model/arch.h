// arch.h - what an architecture is: the numbers of a model, the tensors it must have, and the order
// of its operations.
//
// One file of arch/ holds one architecture, or several that differ only by data: a table of rules
// (which tensors, of what shape, when), read() (which keys), and forward(), a straight line of the
// shared blocks in block/. Opening, closing, the check for tensors that nobody needs and the memory
// plan walk the same rules. To add one: a file in arch/ and a line in arch/list.c.
#pragma once

#include "parts.h"
#include "past.h"

#include <stddef.h>

enum {
    MAX_LAYER = 1024,
    MAX_EMBD = 1 << 17,
    MAX_FF = 1 << 20,
    MAX_HEAD = 4096,
    MAX_HEAD_DIM = 1024,
    MAX_CTX = 1 << 24,
};

// ---- hyper-parameters ---------------------------------------------------------------------------

// What a layer is made of. A rule of a layer asks for some of these; OPTIONAL: it may be missing.
enum part {
    PART_ATTENTION = 1 << 0, // softmax attention over a cache of keys and values
    PART_DENSE = 1 << 1,     // one feed-forward network
    PART_EXPERTS = 1 << 2,   // a mixture of experts
    PART_SHARED = 1 << 3,    // and one expert that every token takes
    PART_KEYS = 1 << 4,      // attention with keys and values of its own
    PART_MLA = 1 << 5,       // attention over compressed rows
    PART_PER_LAYER = 1 << 6, // an embedding for this layer alone
    PART_DELTA = 1 << 7,     // recurrent: the gated delta rule,
    PART_MAMBA = 1 << 8,     // Mamba-2,
    PART_CONV = 1 << 9,      // a short convolution
    PART_RECURRENT = PART_DELTA | PART_MAMBA | PART_CONV,
    PART_NEXTN = 1 << 10,  // behind the trunk: predicts the token after the next (draft.c)
    PART_INDEX = 1 << 11,  // attention sees some blocks of positions (block/index.c)
    PART_NGRAM = 1 << 12,  // reads a table by the last tokens (block/ngram.c)
    PART_FAR = 1 << 13,    // attention sees rows that stand for many positions (block/far.c),
    PART_CHOSEN = 1 << 14, // and of these the chosen ones
    PART_HASHED = 1 << 15, // the token tells its experts,
    PART_ROUTED = 1 << 16, // or they are chosen
    UNREAD = 1 << 29, // layers without these parts may have it all the same: nothing reads it there
    OPTIONAL = 1 << 30,
};

enum { ROPE_MAIN, ROPE_WINDOW, N_ROPES, NO_ROPE = -1 };

struct layer_hyper {
    uint32_t parts;            // bits of enum part
    int32_t n_head, n_head_kv; // both 0 where there is no attention
    int32_t head_dim, head_dim_v;
    int32_t n_ff;     // of the dense network
    int32_t window;   // rows that a token sees; 0 = all
    int32_t rope;     // ROPE_MAIN, ROPE_WINDOW or NO_ROPE
    int32_t kv_layer; // whose keys and values are read: its own number, or an earlier layer's
    int32_t ratio;    // positions that a row of PART_FAR stands for: one of far_ratios
};

// DeepSeek-V4's: rows for a few positions, each made of those of the block before too; for many.
enum { FAR_FEW, FAR_MANY, FAR_RATIOS };
static const int32_t far_ratios[FAR_RATIOS] = {4, 128};
static inline bool far_overlaps(const struct layer_hyper *layer)
{
    return layer->ratio == far_ratios[FAR_FEW];
}

struct rope_hyper {
    enum rope_pairs pairs;
    int32_t n_rot;               // 0: not used by this model
    struct rope_scaling scaling; // .freq_factors: weights.c knows them
    bool factors;                // rope_freqs.weight applies, where the file has it
};

enum { NGRAM_MOST = 8, NGRAM_HEADS_MOST = 64 };
struct ngram_hyper {             // the table that is read by the last tokens (ngram.c)
    int32_t n;                   // tokens that are looked at together at most; 0: there is none
    int32_t n_head, per_n;       // rows that a token reads; of them for each number from 2 to n
    int32_t dim, n_rows, n_conv; // of a row; of the table; taps
    int32_t end;                 // the token behind which what was before does not count
    uint64_t times[NGRAM_MOST];
    uint64_t first[NGRAM_HEADS_MOST], count[NGRAM_HEADS_MOST]; // rows of each head
};

struct hyper { // the numbers of a model, each bounded
    const struct arch *arch;
    int32_t n_layer, n_embd, n_vocab, n_ctx_train;
    int32_t n_mtp;       // layers behind these in the file, that predict further tokens
    int32_t n_draft;     // of these loaded: 0 or 1, which is layers[n_layer]
    int32_t n_ctx;       // that the model is opened with
    int32_t n_ctx_short; // up to which rope_factors_short are meant
    float yarn_log_multiplier;
    float eps;                                      // of every norm
    float post_eps;                                 // of norms behind a block
    float attention_scale;                          // of scores
    float softcap;                                  // of scores; 0 = none
    float temperature;                              // by which scores grow with the position,
    int32_t temperature_length;                     // a step every so many; 0 = they do not
    float embed_scale, residual_scale, logit_scale; // of embeddings, of what a block adds; 1
    float final_softcap;                            // of logits; 0 = none
    bool fused_qkv, fused_ffn;                      // q, k and v, or gate and up, are one tensor
    bool norm_after_rope;                           // of the heads of q and k
    bool norm_values;                               // each head of v, without weights
    bool values_are_keys;                           // attention's values
    bool attention_gate; // attn_gate: what attention gives is multiplied by its sigmoid
    bool two_networks;   // layers of experts have a dense network too
    int32_t n_lora_q, n_lora_kv, head_dim_mla, head_dim_v_mla; // MLA: ranks, widths of heads
    bool gate_in_q; // attn_q gives each head's q, then its gate
    int32_t n_conv, d_inner, d_state, n_state_head,
        n_group;                    // recurrent layers: taps, widths, heads
    bool delta_grouped;             // neighbouring heads share a q and k; else every n_group-th
    bool delta_sigmoid;             // their gate is a sigmoid, not SiLU
    int32_t n_stream, n_stream_low; // residual streams, the rank of their gates; 0: one, x
    int32_t n_round;  // in which numbers that mix the streams are balanced; 0: another kind
    float stream_eps; // of these
    int32_t n_out_group, n_lora_out; // attention's output: groups of heads, what is made of each
    int32_t n_index_head, index_dim, index_block, index_most; // blocks that a token sees at most
    struct ngram_hyper ngram;
    int32_t n_embd_layer; // width of a layer's own embedding
    enum activation activation;
    int32_t n_expert, n_expert_used, n_ff_exp, n_ff_shared;
    struct route route; // .bias: each layer's own
    bool sees_all;      // not causal: a token sees all of its text, which is one pass then
    enum pooling pooling;
    int32_t n_token_types, n_cls, n_cls_out; // of a classification head: its two products
    int32_t n_dense_2, n_dense_3;            // what dense_2 gives and dense_3 takes
    bool softmax_scores;                     // of the head
    enum activation cls_activation;          // behind its first product
    bool scores_of_mean;                     // it reads the mean of all states, not one of them
    float alibi_bias; // how fast scores fall with the distance (Press et al. 2022); 0: they do not
    struct rope_hyper ropes[N_ROPES];
    struct layer_hyper *layers; // [n_layer + n_draft]
};

// Reads keys "ARCH.NAME". The first failure stays in .status and later calls return at once.
struct reader {
    const struct gguf *gguf;
    const struct arch *arch;
    int32_t n_layer;
    enum status status;
    struct err *err;
    uint8_t *asked; // [n_values]: this key was looked for
    char key[96];
};
#define REQUIRED (-1) // as a whole number's fallback; NAN as a float's
const char *reader_key(struct reader *r, const char *name); // remembers that it was asked for
int32_t reader_int(struct reader *r, const char *name, uint64_t min, uint64_t max,
                   int32_t fallback);
float reader_float(struct reader *r, const char *name, double min, double max, float fallback);
bool reader_bool(struct reader *r, const char *name, bool fallback);
// One number a layer: a scalar is meant for all; an array may be longer than the layers, not
// shorter. Numbers may be truth values. false: not there, out untouched (fallback >= 0: filled).
bool reader_ints(struct reader *r, const char *name, uint64_t min, uint64_t max, int32_t fallback,
                 int32_t *out);
// Which layers have experts, how many of what width, and how they are chosen: all layers from the
// key leading_dense_block_count on. Without experts nothing changes, unless they are required.
void reader_experts(struct reader *r, struct hyper *h, bool required);
// window: of the layers whose number modulo `period` is less than period - 1, from the key
// attention.sliding_window; these turn by ROPE_WINDOW when it is told of. Absent: no window.
void reader_window(struct reader *r, struct hyper *h, int32_t period);
bool reader_has(struct reader *r, const char *name);
// attention.temperature_scale: scores grow with the position, a step every so many positions as the
// key `length` says (else the positions that the model was trained on).
void reader_temperature(struct reader *r, struct hyper *h, const char *length);
// ssm.*: taps, widths and heads of recurrent layers.
void reader_recurrent(struct reader *r, struct hyper *h);
void layer_recurs(struct layer_hyper *layer, enum part kind); // in the place of attention
void reader_refuse(struct reader *r, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Reads what all architectures have (as GGUF's specification names it), then calls arch->read.
// draft: with the first layer that predicts further tokens, where the file and the architecture's
// rules have one.
MUST_USE enum status hyper_read(struct hyper *out, const struct gguf *gguf, bool draft,
                                struct err *err);
void hyper_free(struct hyper *hyper);

// draft.c: adds the layer behind the trunk, where the file and the rules have one: made like the
// last layer that has attention, and it sees everything. layers has room for it.
void draft_read(struct hyper *h);
// embed.c: whether tokens see what follows them, and how a text becomes a vector.
void embed_read(struct reader *r, struct hyper *h);

// ---- rules --------------------------------------------------------------------------------------

enum dim { // a length as the hyper-parameters give it; 0 for what a layer has not
    ONE,
    N_EMBD,
    N_EMBD_2, // a token's embedding, then a state
    N_VOCAB,
    N_Q,   // n_head * head_dim
    N_K,   // n_head_kv * head_dim
    N_V,   // n_head_kv * head_dim_v
    N_ATT, // n_head * head_dim_v
    N_QKV, // N_Q + N_K + N_V
    N_HEAD,
    HEAD_DIM,
    N_FREQS, // half of the rotated dimensions
    N_FF,
    N_FF_2, // 2 * n_ff
    N_EXPERT,
    N_FF_EXP, // of one expert
    N_FF_EXP_2,
    N_FF_SHARED,
    N_USED_EMBD,   // n_expert_used * n_embd
    N_USED_FF_EXP, // n_expert_used * n_ff_exp
    N_USED,
    N_LORA_Q,
    N_LORA_KV,
    N_KV_MLA,  // n_lora_kv and the rotated part of a head
    HEAD_NOPE, // the part of a head that is not rotated
    HEAD_V_MLA,
    N_Q_MLA, // n_head * head_dim_mla
    N_V_MLA,
    N_NOPE_ACT,
    N_EMBD_LAYER,
    N_EMBD_LAYERS, // of all layers
    N_Q_GATED,     // N_Q, twice where the gate is among it
    N_CONV,
    N_CONV_CHANNELS, // that a recurrent layer's convolution reads
    D_INNER,
    N_STATE_HEAD,
    N_STATE_HEAD_2,
    N_GROUP,
    D_STATE,
    D_GROUP, // d_inner / n_group
    N_MAMBA_IN,
    N_EMBD_3,
    N_CONV_STATE, // what a sequence keeps of a recurrent layer
    N_STATE,
    N_RECURRENT_ACT,
    N_BETA_ACT,
    N_QKV_ACT, // what activations need: 0 where the file has no such tensor
    N_FF_ACT,
    N_FF_2_ACT,
    N_GATE_ACT,
    N_ABSORBED_ACT,
    N_HEAD_ACT,
    N_ADDED2_ACT,
    N_PAIR_ACT,
    N_CTX_TRAIN,
    N_TOKEN_TYPES,
    N_CLS,
    N_CLS_OUT,
    N_DENSE_2,
    N_DENSE_3,
    N_UP,      // n_ff, twice where the gate is among it
    N_STREAMS, // of all residual streams
    N_STREAM,
    STREAM_LOW,
    N_INDEX_Q,
    INDEX_DIM,
    NGRAM_DIM,
    N_NGRAM_ROWS,
    N_NGRAM_CONV,
    N_INDEX_Q_ACT,
    INDEX_DIM_ACT,
    N_NGRAM_ACT,
    N_NGRAM_STATE,
    N_STREAMS_GATED, // N_STREAMS, where streams have gates
    N_STREAMS_MIX,   // numbers that mix them
    N_STREAMS_WEIGHT,
    N_SCALES,         // 3, of these
    FAR_RATIO,        // 0 where there is none
    N_COMPRESS,       // what a token leaves for rows of PART_FAR,
    N_INDEX_COMPRESS, // and for the keys by which they are chosen
    N_COMPRESS_ACT,   // the wider of both
    N_POOLED_ACT,
    N_INDEX_HEAD,
    N_OUT_HEADS, // of one group of heads
    N_LORA_OUT,  // of all groups
    N_DIMS
};
int64_t hyper_dim(const struct hyper *hyper, const struct layer_hyper *layer, enum dim dim);
int64_t hyper_most(const struct hyper *hyper, enum dim dim); // over all layers
int32_t hyper_layers(const struct hyper *hyper);             // all layers that are loaded

enum form {
    MATRIX,  // handed to the device as it is stored
    VECTOR,  // small: F32 in the device's memory whatever the file stores
    NUMBER,  // one number, kept by the host: the slot is a float
    FACTORS, // F32, kept by the host: what rope_turns divides frequencies by
    FILED,   // stays in the file: the slot is a const struct gguf_tensor *
    EXPERTS, // I32 on the device: numbers of experts
};
struct rule {
    const char *name; // of a layer's: what follows "blk.N."
    bool of_layer;
    uint16_t slot; // offset in struct layer or struct weights
    uint8_t form;
    uint8_t cols, rows, planes; // enum dim, in GGUF's order: cols is the row length
    uint32_t parts;             // what the layer must be made of; OPTIONAL, UNREAD
    const char *also;           // another name that some files have it by; NULL: none
};
// {"attn_q.weight", LAYER(attn_q), MATRIX, N_EMBD, N_Q}
#define LAYER(field) true, offsetof(struct layer, field)
#define MODEL(field) false, offsetof(struct weights, field)

// ---- weights.c ----------------------------------------------------------------------------------

struct mix_weights { // of residual streams
    struct tensor norm, down, up, inject;
};
struct hyper_weights { // the same of another kind
    struct tensor fn, scale, base;
};
struct compress_weights {
    struct tensor kv, gate, ape, norm;
};

struct layer {               // shapes: the rules; .buffer NULL: not in this layer
    struct tensor attn_norm; // before the mixer
    struct tensor attn_q, attn_k, attn_v, attn_qkv, attn_output;
    struct tensor attn_q_bias, attn_k_bias, attn_v_bias, attn_qkv_bias, attn_output_bias;
    struct tensor attn_q_norm, attn_k_norm; // of each head, or as wide as all of them
    struct tensor attn_sinks;               // one a head
    struct tensor attn_gate;                // of what attention gives
    struct tensor attn_q_a, attn_q_a_norm, attn_q_b, attn_kv_a_mqa, attn_kv_a_norm; // MLA
    struct tensor attn_k_b, attn_v_b;
    struct tensor attn_post_norm; // of what the mixer adds
    struct tensor ssm_in, ssm_conv1d, ssm_conv1d_bias, ssm_dt, ssm_a, ssm_d, ssm_norm, ssm_out;
    struct tensor ssm_beta, ssm_alpha, ssm_ba;
    struct tensor shortconv_conv, shortconv_in_proj, shortconv_out_proj;
    struct tensor ffn_norm; // before the network
    struct tensor ffn_gate, ffn_up, ffn_down;
    struct tensor ffn_post_norm;
    struct tensor ffn_gate_inp, ffn_gate_inp_bias, exp_probs_b; // router
    struct tensor ffn_gate_exps, ffn_up_exps, ffn_gate_up_exps, ffn_down_exps;
    struct tensor ffn_gate_exps_bias, ffn_up_exps_bias, ffn_down_exps_bias;
    struct tensor ffn_gate_inp_scale, ffn_down_exps_scale; // Gemma 4: of its input; one an expert
    struct tensor ffn_pre_norm_2, ffn_post_norm_1, ffn_post_norm_2;
    struct tensor inp_gate, proj, post_norm; // the layer's own embedding
    float layer_output_scale;                // 0: none
    // Encoders: norms behind what was added, biases everywhere.
    struct tensor attn_output_norm, attn_output_norm_bias, attn_norm_2, attn_norm_2_bias;
    struct tensor layer_output_norm, layer_output_norm_bias;
    struct tensor attn_q_norm_bias, attn_k_norm_bias;
    struct tensor ffn_gate_bias, ffn_up_bias, ffn_down_bias;
    struct tensor ffn_gate_inp_shexp, ffn_gate_shexp, ffn_up_shexp, ffn_down_shexp;
    struct mix_weights mix, ffn_mix; // before the mixer, before the network
    struct hyper_weights hyper, ffn_hyper;
    struct compress_weights compress, index_compress;
    struct tensor attn_kv, attn_kv_norm, attn_output_a, attn_output_b, index_weight;
    struct tensor ffn_gate_tid2eid; // [n_vocab][n_used]
    struct tensor index_q, index_k, index_q_norm, index_k_norm;
    struct tensor ngram_key, ngram_value, ngram_key_norm, ngram_query_norm, ngram_conv_norm,
        ngram_conv1d;
    // Of a layer that predicts further tokens; some have the embeddings and the output once more.
    struct tensor nextn_enorm, nextn_hnorm, nextn_eh_proj, nextn_norm, nextn_embd, nextn_output;
};

struct rope_weights { // of struct rope
    struct tensor turns;
    float magnitude;
};

// One tensor of the file and where it goes: made from the rules before anything is loaded.
struct placement {
    const struct rule *rule;
    const struct gguf_tensor *tensor;
    struct tensor *slot;
    int64_t n_rows, n_cols;
};

struct weights {
    struct tensor token_embd, output_norm;
    struct tensor per_layer_token_embd, per_layer_model_proj, per_layer_proj_norm;
    struct tensor output; // a copy of token_embd when tied
    struct mix_weights output_mix;
    struct hyper_weights output_hyper;
    const struct gguf_tensor *ngram_table;
    bool tied;
    struct tensor token_types, position_embd, token_embd_norm, token_embd_norm_bias;
    struct tensor alibi; // F32 [1][n_head]: made from hyper's alibi_bias
    struct tensor cls, cls_bias, cls_output, cls_output_bias, cls_norm, dense_2,
        dense_3;                                     // of a text's vector
    struct tensor rope_freqs, rope_short, rope_long; // slots only: FACTORS stay with the host
    struct rope_weights ropes[N_ROPES];
    struct layer *layers; // [hyper_layers]

    struct placement *placements; // [n_placements], in the order of the file
    size_t n_placements, n_loaded;
    uint64_t n_bytes, n_bytes_loaded;
    int64_t n_guessed; // weights of parts of the file that are not there, and their bytes
    uint64_t n_guessed_bytes;
    uint64_t draft_bytes; // in the file, of layers that predict further tokens
    int64_t row;          // of the placement that is being loaded: its next one; 0: not begun
    double bytes_per_ms;  // loading, as measured; 0: not yet
};

// Finds and checks every tensor that the rules name, and that no other is there; loads nothing.
// What is in missing parts of the file is guessed (n_guessed).
MUST_USE enum status weights_plan(struct weights *out, const struct compute *compute,
                                  struct gguf *gguf, const struct hyper *hyper, struct err *err);
// Hands rows to the device for about budget_ms; AGAIN: more are left.
MUST_USE enum status weights_load_some(struct weights *weights, struct compute *compute,
                                       const struct gguf *gguf, const struct hyper *hyper,
                                       uint32_t budget_ms, struct err *err);
void weights_close(struct weights *weights, struct compute *compute);

// ---- plan.c -------------------------------------------------------------------------------------

// Counts what a model takes and what the device has, then settles. UNSUPPORTED: keys or values
// cannot be kept as the options want. Nothing is loaded yet.
MUST_USE enum status plan_make(struct model_plan *out, const struct compute *compute,
                               const struct weights *weights, const struct hyper *hyper,
                               const struct model_options *options, struct err *err);
// Pages of a pool for n_seq sequences of n_ctx tokens at most.
int64_t plan_pages(const struct model_plan *plan, int32_t pool, int32_t n_ctx, int32_t n_seq);
// From the numbers to the choice: n_ctx, cache_bytes, fits, is_short, why and advice.
void plan_settle(struct model_plan *plan);
void plan_free(struct model_plan *plan, uint64_t free_bytes); // what is free, and whose it is
// NO_ROOM with the numbers and what would fit.
MUST_USE enum status plan_refuse(const struct model_plan *plan, struct err *err);

// ---- kv.c ---------------------------------------------------------------------------------------

struct kv { // what sequences keep of their past; past.h says whose is what
    struct past *past;
    struct past_shape shape;
    struct tensor *conv, *state;       // [n_layer], of recurrent layers: F32 [n_slots][...]
    struct tensor *ngram;              // [n_layer]: what PART_NGRAM's convolution keeps, as these
    struct tensor *k, *v;              // [n_layer], each F16 or Q8_0 [pages * PAGE_ROWS][...]
    struct tensor *index, *index_keys; // [n_layer], of PART_INDEX: F16, the second one a block
    struct tensor *far;                // [n_layer], of PART_FAR: as k, a row a block,
    struct tensor *raw[4]; // and what these, and index_keys, are made of: x and scores, F16
    struct tensor far_pos[FAR_RATIOS], far_row[FAR_RATIOS]; // I32 [1][n_batch]: struct rope_kv's
    int32_t *far_pool;                    // [n_layer]: whose pages far is, and index_keys beside it
    int32_t whole_pool;                   // that one; -1: there is none
    struct tensor chosen;                 // I32 [n_batch][...]: struct attention's
    int32_t *token;                       // [n_seq][n_ctx]: as they were computed, with a table
    int32_t *pool;                        // [n_layer]: whose pages k and v are
    struct tensor pages[PAST_POOLS_MOST]; // I32 [n_seq][n_ctx in pages]: page tables
    struct tensor row[PAST_POOLS_MOST];   // I32 [1][n_batch]: that the pass writes
    int32_t *n_rows;                      // [n_seq], zeros: for kv_enter
    int32_t n_layer;                      // all that are loaded
    uint64_t n_bytes;
};

// What a model keeps of a token and of a state, into the plan: pools, token_bytes, slot_bytes.
void kv_count(struct model_plan *plan, const struct compute *compute, const struct hyper *hyper);
// The tensors that a settled plan says, for passes of n_batch rows.
MUST_USE enum status kv_open(struct kv *out, struct compute *compute, const struct hyper *hyper,
                             const struct model_plan *plan, int32_t n_batch, struct err *err);
void kv_close(struct kv *kv, struct compute *compute);
struct kv_inputs {               // [n] each
    int32_t *row;                // scratch
    int32_t *slot_in, *slot_out; // filled in where there are slots
};
// Before the pass over rows start .. start + n - 1, in each of whose sequences these follow one
// another: cuts sequences back to where their rows begin, makes room, carries out copies, writes
// tables and rows. The sequences hold these positions then. NO_ROOM: scheduling should have asked
// model_reserve.
MUST_USE enum status kv_enter(struct kv *kv, struct compute *compute, const struct batch *batch,
                              int32_t start, int32_t n, struct kv_inputs *inputs, struct err *err);
// The same before a pass of the layer behind the trunk, whose rows are behind one another in each
// sequence: room up to the last of them, tables, and the rows of that layer's pool. What sequences
// hold stays the same; they are drafted to there. BAD_INPUT: a row that others have too.
MUST_USE enum status kv_draft(struct kv *kv, struct compute *compute, const struct batch *batch,
                              int32_t *row, struct err *err);
// The caches that layer i has in a pool, and how many positions a row of one of them is for. Runs
// of rows are moved in whole steps of KV_ROWS_STEP, or of a page where it has fewer.
enum { KV_K, KV_V, KV_INDEX, KV_INDEX_KEYS, KV_FAR, KV_RAW, KV_CACHES = KV_RAW + 4 };
enum { KV_ROWS_STEP = 16 };
int32_t kv_caches(const struct kv *kv, int32_t i, int32_t pool,
                  const struct tensor *out[KV_CACHES]);
int32_t kv_positions(const struct kv *kv, int32_t pool, const struct tensor *cache);
// The copies that are due, now.
MUST_USE enum status kv_copies(struct kv *kv, struct compute *compute, struct err *err);

// ---- ngram.c ------------------------------------------------------------------------------------

// Keys ple.*: a table of embeddings that is read by the last few tokens.
void ngram_read(struct reader *r, struct hyper *h);

// ---- the pass -----------------------------------------------------------------------------------

struct activations {                                          // n_batch rows each, F32 unless said
    struct tensor x;                                          // [n_embd]: the residual stream
    struct tensor q, att, k, v;                               // as the widest layer needs them
    struct tensor qkv, gate_up;                               // where the file has them in one
    struct tensor gate, up;                                   // [n_ff or n_ff_shared]
    struct tensor attn_gate;                                  // [N_ATT]
    struct tensor lora_q, q_mla, nope, absorbed, kv, att_mla; // MLA
    struct tensor head_id; // I32: 0, 1, .. n - 1 in each row: heads, or groups of them
    struct tensor per_layer, per_layer_x, layer_x; // [N_EMBD_LAYERS] twice, [n_embd_layer]
    struct tensor recurrent_in, conv, z, beta, alpha, mixed; // of recurrent layers
    struct tensor slot_in, slot_out;                         // I32 [1][n_batch]
    struct tensor added2;                                    // [n_embd]
    struct tensor added;                            // [n_embd]: what a block is about to add
    struct tensor router, expert_id, expert_weight; // [n_expert], [n_used] twice (the first I32)
    struct tensor expert_gate, expert_up;           // [n_used * n_ff_exp]
    struct tensor expert_out;                       // [n_used * n_embd]
    struct tensor shared_gate;                      // [1]
    struct tensor token, pos, table, count;         // I32 [1][n_batch]
    struct tensor type;                             // I32 [1][n_batch]: of tokens; all 0
    struct tensor near;    // I32 [1][n_batch]: as count, in layers with a window both ways
    struct tensor out_row; // I32 [1][n_out]
    struct tensor out_x;   // [n_out][n_embd]: rows whose logits are wanted
    struct tensor logits;  // [n_out][n_vocab]
    struct tensor top_id, top_value; // [n_out * TOP_K_MOST] numbers: the largest of logits
    struct tensor top_total;         // [n_out][1]: log(sum of e^logit)
    struct tensor cls, cls_out; // [n_out][...]: what the head, or the dense layers, make of them
    struct tensor streams, streams_normed, streams_gate, streams_added; // [n_stream * n_embd]
    struct tensor stream_low, stream_weight;                            // [STREAM_LOW], [n_stream]
    struct tensor index_q, index_k, index_weight;
    struct tensor streams_mix, streams_weight; // numbers that mix streams, as made and as used
    struct tensor compress_x, compress_score;  // what a token leaves for rows of PART_FAR
    struct tensor pooled;                      // such a row, before its norm
    struct tensor group_out;                   // [N_LORA_OUT]
    struct tensor ngram;                       // [n_embd]: rows of the table
    struct tensor pair; // [2 * n_embd]: what the layer behind the trunk reads
    // [2 * n_batch][n_embd], of a model that drafts: states behind the output norm of the rows of
    // the last pass; then those that the caller gives, and zeros.
    struct tensor hidden;
    struct tensor hidden_row; // I32 [1][n_batch]: which of them a drafted row reads
    int32_t n_batch, n_out;
};
MUST_USE enum status activations_open(struct activations *act, struct compute *compute,
                                      const struct hyper *hyper,
                                      const struct model_options *options, struct err *err);
// Bytes that they will take.
uint64_t activations_bytes(const struct hyper *hyper, const struct model_options *options);
void activations_close(struct activations *act, struct compute *compute);

struct pass { // one recording of n rows
    struct compute *compute;
    const struct hyper *h;
    const struct weights *w;
    const struct kv *kv;
    const struct activations *act;
    int32_t n;
    struct slots slots; // of recurrent layers
    struct tensor slot_in, slot_out;
    struct tensor x, token, pos, table, count; // views of n rows
    struct tensor row[PAST_POOLS_MOST];        // of the caches of each pool
    struct tensor type, near;
    bool drafts;          // it is one of the layer behind the trunk
    struct tensor hidden; // where the states of its rows go, of a model that drafts
    struct tensor hidden_row;
};
// n rows of an activation, n_cols wide, close together.
struct tensor pass_view(const struct pass *p, const struct tensor *activation, int64_t n_cols);
// Rows of n_cols, each cut into pieces of `piece`: the same memory with more and shorter rows.
struct tensor pieces_view(const struct tensor *rows, int64_t piece);
// What a product reads of the residual stream, behind a norm where there is one; a norm that takes
// the mean away is computed into *room, a row of `added`.
struct matmul_x normed_x(const struct pass *p, const struct tensor *norm, struct tensor *room);
// x behind a norm of the architecture's kind; out may be x.
void norm_rows(const struct pass *p, const struct tensor *out, const struct tensor *x,
               const struct tensor *norm);
// NULL for a tensor that this model has not.
const struct tensor *present(const struct tensor *tensor);

// ---- blocks: each adds its result to pass.x -----------------------------------------------------

void embed_block(const struct pass *p); // x = token_embd[token] * embed_scale
// x += (w y + bias) * residual_scale, or, with a norm, x += rms(w y + bias) * norm * residual_scale
void add_product(const struct pass *p, const struct tensor *y, const struct tensor *w,
                 const struct tensor *bias, const struct tensor *norm);
void attention_block(const struct pass *p, int32_t i); // block/attention.c
void mla_block(const struct pass *p, int32_t i);       // block/mla.c
void delta_block(const struct pass *p, int32_t i);     // block/delta.c
void mamba_block(const struct pass *p, int32_t i);     // block/mamba.c
void conv_block(const struct pass *p, int32_t i);      // block/conv.c
void ffn_block(const struct pass *p, int32_t i);       // block/ffn.c
void experts_block(const struct pass *p, int32_t i);   // block/experts.c
// block/index.c: kv->chosen, for the layer's attention.
void index_block(const struct pass *p, int32_t i);
// block/streams.c: act.streams as embeddings; x = what a block reads of them (w->inject: and how
// much each stream is to get of what it gives); act.added, what it gave, into them. What blocks add
// goes to act.added, and x stays as it is, where there are streams.
void streams_embed(const struct pass *p);
void streams_mix(const struct pass *p, const struct mix_weights *w);
void streams_add(const struct pass *p);
// The same of streams that are mixed by numbers (hyper.n_round): x, and with three scales the
// weights by which streams_blend adds act.added to the streams.
void streams_read(const struct pass *p, const struct hyper_weights *w);
void streams_blend(const struct pass *p);
// block/far.c: attention to the last positions, and to rows that stand for many.
void far_block(const struct pass *p, int32_t i);
// block/ngram.c: into the streams what the rows of the table say, act.ngram.
void ngram_block(const struct pass *p, int32_t i);
// What the dense network, or what the experts give, for architectures that norm and add in ways of
// their own. The router reads rms(x) * router_norm * router_scale, the experts rms(x) * norm.
void ffn_into(const struct pass *p, int32_t i, const struct tensor *to);
void experts_into(const struct pass *p, int32_t i, const struct tensor *to,
                  const struct tensor *router_norm, float router_scale, const struct tensor *norm);
bool hyper_recurrent(const struct hyper *hyper); // has recurrent layers
// Layer i: attention, or a recurrent block in its place, then the dense network or the experts.
void decoder_layer(const struct pass *p, int32_t i);
// The decoder that most architectures are: embed, then each layer.
void decoder_forward(const struct pass *p);

struct arch {
    const char *name; // general.architecture
    const struct rule *rules;
    size_t n_rules;
    // After what all have was read (every layer PART_ATTENTION and PART_DENSE): sets the rest.
    void (*read)(struct reader *r, struct hyper *h);
    void (*forward)(const struct pass *p); // from tokens to the state before the output norm
    bool layer_norm;                       // norms take the mean away (Ba et al. 2016)
    bool both_ways; // tokens see what follows them, also where attention.causal is missing
    bool says_mtp;  // files without blocks that predict further tokens say that they have some
};
#define RULES(table) .rules = table, .n_rules = COUNT_OF(table)

// list.c
const struct arch *arch_find(struct bytes name);
// "llama, qwen2, ...": as many as fit; size: at least 64.
const char *arch_names(char *out, size_t size);

// ---- model.c, forward.c -------------------------------------------------------------------------

struct model {
    uint32_t number; // of those this process has opened, from 1: in the keys of its recordings
    struct compute *compute;
    struct gguf *gguf;
    struct tokenizer *tokenizer;
    struct template *template;
    struct hyper hyper;
    struct weights weights;
    struct kv kv;
    struct activations act;
    bool is_loaded;    // the weights are there
    int32_t rehearsed; // rows of the largest pass whose kernels are compiled
    int32_t *scratch;  // [5][n_batch]: inputs and the wanted rows, before they are written
    int32_t n_hidden;  // rows of the last pass whose states are kept
    float *ngram;      // [n_batch][n_embd]: rows of the table, before they are written
    struct model_options options; // as it was opened; n_batch: as large as a text must be
    double *pooled;               // [n_seq][n_embd]: of texts that are being embedded: embed.c
    float *ended;                 // [n_seq][n_embd]: those that are whole
    struct model_info info;
    int64_t file_ns;   // unix time when its file was written
    uint64_t identity; // model_identity; 0: not asked yet
};
// act.ngram of the rows that kv_enter was told of, which has their sequences' tokens.
void ngram_inputs(struct model *model, const struct batch *batch, int32_t start, int32_t n);
// A pass of n rows; its inputs: rows start .. start + n - 1 of a batch that was checked.
struct pass pass_of(const struct model *model, int32_t n);
MUST_USE enum status forward_check(struct model *model, const struct batch *batch, bool drafts,
                                   struct err *err);
MUST_USE enum status forward_inputs(struct model *model, const struct batch *batch, int32_t start,
                                    int32_t n, bool drafts, struct err *err);
// One chunk of n rows from `start`, of the trunk or of the layer behind it; appends its wanted
// logits.
MUST_USE enum status forward_chunk(struct model *model, const struct batch *batch, int32_t start,
                                   int32_t n, bool drafts, struct logits *logits, struct err *err);
// Rows of x that out_row names, behind the output norm, into out_x.
void forward_rows(const struct pass *p, int32_t n_out);
void forward_forget(struct model *model); // what is in the memory is not known any more
// IO_ERROR: its file can no longer be read, and what was computed may be of zeros.
MUST_USE enum status forward_file(const struct model *model, struct err *err);
// embed.c: that what makes vectors is there; what the model's info says of it; a rehearsal.
MUST_USE enum status embed_check(const struct hyper *hyper, const struct weights *weights,
                                 struct err *err);
void embed_info(struct model *model);
void embed_rehearse(const struct pass *p);
// draft.c: the layer behind the trunk, from tokens and states to the state before its norm.
void draft_forward(const struct pass *p);
// The norm and the matrix between the last state of a pass and its logits.
const struct tensor *draft_norm(const struct pass *p);
const struct tensor *draft_output(const struct pass *p);
// Lets the device compile the kernels of the next kind of pass before the first request needs them:
// 1 to 8 rows, then powers of two up to n_batch. AGAIN: there are more; OK at once on a device that
// compiles nothing.
MUST_USE enum status forward_rehearse(struct model *model, struct err *err);
