// cpu.h - inside of compute/cpu/: the recording, the kernels' tables, and what each file gives the
// others.
//
// Between compute_begin and compute_finish every operation becomes one or more tasks (a function
// and a number of chunks); compute_finish runs the whole list in one parallel region (pool.c). A
// chunk may run on any thread, in any order within its task; a task starts when all chunks of the
// one before it are done. Chunks of one task never write the same bytes.
//
// Kernels come in two families. float kernels (float_*.c: one body compiled for each instruction
// set) hold everything that is F32 arithmetic; row and panel kernels (quant.h; matvec_*.c,
// matmul_avx512.c) multiply quantised weights with activations cut into two int8 planes. The
// portable path has none of these: it decodes a row with dtype_decode and takes the float kernels,
// and is the oracle the others are tested against.
#pragma once

#include "../backend.h"

#include <stdatomic.h>

enum {
    CPU_MAX_THREADS = 256,
    CPU_LINE = 64,         // bytes of a cache line; alignment of scratch memory
    VEC_TOKENS = FEW_ROWS, // most tokens that are multiplied row by row (memory-bound); more go
                           // through the tiled kernels
    TILE_ROWS = 16,        // weight rows side by side in a tile of a quant kernel
    ATTENTION_TOKENS = 8,  // most tokens of one sequence that share an attention chunk
    ATTENTION_KV = 32,     // cache rows converted to float at a time; a page is a multiple
};

// ---- tasks ------------------------------------------------------------------------------------

struct cpu;
struct task;
typedef void task_run(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread);

struct span { // rows of floats or bytes, resolved from a tensor
    uint8_t *p;
    size_t row_bytes;
    int64_t n_rows, n_cols;
    enum dtype type;
};

struct args_product { // one struct matmul, resolved
    struct span out, w;
    const float *bias;    // [n_out] or NULL
    struct span residual; // p == NULL: none
    float scale;          // (dot + bias) * scale + residual
    int32_t rows_per_chunk, n_chunks;
};

struct args_gather {
    struct span out, from;
    const int32_t *index; // [n rows of the activation]
    float scale;          // embed only
};

struct args_copy {
    const uint8_t *from;
    uint8_t *to;
    size_t n_bytes;
};

struct args_top_k {
    struct span id, value, total, x;
    bool summed; // total is there
};

struct args_route {
    struct span id, weight, logits;
    struct span hashed;   // p == NULL: none
    const int32_t *token; // [n_tokens], with hashed
    const float *bias;    // [n_expert] or NULL
    struct route route;
};

struct args_experts {
    struct span out, w, x, id;
    struct span bias;    // p == NULL: none
    bool normed;         // x is in the device's scratch `normed`, not at x.p
    int32_t x_share;     // rows of out that read one x
    int32_t expert_rows; // of w, from the first of one expert to that of the next
    int32_t most_groups, chunks_per_group, rows_per_chunk;
};

struct args_experts_sum {
    struct span out, residual, y, weight;
};

struct norm_by {                // how a row is normalised: struct norm
    const float *weight, *bias; // [n_cols] or NULL
    float eps, scale;
    bool centred;
};

struct args_norm {
    struct span out, x;
    struct span residual; // p == NULL: none
    struct norm_by by;
    int32_t n_group; // parts of a row, each normalised by itself
};

struct args_elementwise {
    struct span out, x, y, gate; // y, gate: p == NULL: none
    enum elementwise_kind kind;
    enum activation activation;
    float a, b;
};

struct args_streams {
    struct span out, x, y, gate; // y: p == NULL: none
    enum streams_kind kind;
    int32_t n_stream;
};

struct args_streams_read {
    struct span out, x, mix, weight; // weight: p == NULL: none
    const float *scale, *base;       // [3] or [1]; as a row of mix
    int32_t n_stream, n_round;
    float eps;
};

struct args_compress {
    struct span out, x, score, raw_x, raw_score, place, pages;
    const int32_t *pos, *row, *table; // [n_tokens]
    int32_t ratio;
    bool overlap;
};

struct args_far { // of attention_far
    struct span out, q, near, far, near_pages, far_pages;
    struct span chosen;           // uint32_t bits; p == NULL: none
    const int32_t *table, *count; // [n_tokens]
    const float *sinks;           // [n_head] or NULL
    int32_t n_head, window, ratio;
    float scale;
};

struct args_index { // of index_keys, and of index_choose
    struct span x, raw, keys;
    struct span weight;                       // p == NULL: none
    struct span chosen, pages;                // int32_t
    const int32_t *pos, *row, *table, *count; // [n_tokens]
    const int32_t *turns;                     // [n_rot]: struct rope
    struct norm_by norm;
    float magnitude;
    enum rope_pairs pairs;
    int32_t n_rot, block, n_head, n_most;
};

struct args_rope {
    struct span q, k, v, cache_k, cache_v; // k, v: p == NULL: none
    const int32_t *pos, *row;              // [n_tokens]
    const int32_t *turns;                  // [n_rot]: struct rope
    float *table;                          // [n_tokens][n_rot / 2][cos, sin]
    struct norm_by q_norm, k_norm, v_norm; // of heads
    bool normalise_q, normalise_k, normalise_v, back;
    float magnitude, temperature;
    int32_t n_head, q_stride, head_dim, head_dim_v, n_rot, first, temperature_length;
    enum rope_pairs pairs;
};

struct args_matmul {
    struct span x;
    bool normed; // x is in the device's scratch `normed`, not at x.p
    struct args_product product[4];
    int32_t n;
};

struct args_attention {
    struct span out, q, k, v;          // v.p == NULL: values are the first columns of keys
    struct span pages;                 // int32_t [n_tables][pages a sequence may have]
    const int32_t *table, *count;      // [n_tokens]
    const float *sinks;                // [n_head] or NULL
    struct span gate;                  // p == NULL: none
    const float *alibi;                // [n_head] or NULL
    const int32_t *pos;                // [n_tokens], with alibi or a window around it; or NULL
    struct span chosen;                // uint32_t bits; p == NULL: none
    const struct attention_unit *unit; // [n_chunks]
    struct attention shape;
    int32_t n_split;
    int32_t n_parts_wanted; // of one token's positions, for every thread to have work
};

struct args_slots {
    const int32_t *in, *out; // [n_tokens]
    struct span state;
};

struct args_conv {
    struct span out, x, before, after, weight; // before, after: p == NULL: none
    const float *bias;                         // [n_channels] or NULL
    struct args_slots slots;
    bool silu;
    int32_t dilation;
};

struct args_delta {
    struct span out, q, k, v, alpha, beta, z; // z.p == NULL: none
    const float *a, *dt_bias;                 // [n_head]
    struct norm_by norm;
    struct args_slots slots;
    int32_t n_head, n_head_k, d_k, d_v, pair_heads;
    bool grouped;
    enum activation z_activation;
    float eps_length;
};

struct args_mamba {
    struct span out, x, b, c, dt, z;     // z.p == NULL: none
    const float *a, *d, *dt_bias, *norm; // [n_head]; norm: [n_head * head_dim] or NULL
    struct args_slots slots;
    int32_t n_head, n_group, head_dim, d_state;
    float eps;
};

struct args_bandwidth {
    uint8_t *from, *to;
};

struct task {
    _Alignas(CPU_LINE) _Atomic int32_t next; // first chunk nobody has claimed
    _Atomic int32_t done;                    // chunks completed
    int32_t n_chunks;
    task_run *run;
    union {
        struct args_gather gather; // embed, rows
        struct args_copy copy;
        struct args_top_k top_k;
        struct args_route route;
        struct args_experts experts;
        struct args_experts_sum experts_sum;
        struct args_norm norm;
        struct args_elementwise elementwise;
        struct args_streams streams;
        struct args_streams_read streams_read;
        struct args_compress compress;
        struct args_far far;
        struct args_index index;
        struct args_rope rope;
        struct args_matmul matmul;
        struct args_attention attention;
        struct args_conv conv;
        struct args_delta delta;
        struct args_mamba mamba;
        struct args_bandwidth bandwidth;
    };
};

struct task *cpu_task(struct cpu *cpu, task_run *run,
                      int64_t n_chunks); // appended to the recording; args zero
struct span cpu_span(const struct tensor *tensor);
// The numbers of a tensor of I32, from its first row on.
const int32_t *cpu_ints(const struct tensor *tensor);

static inline float *span_row(struct span span, int64_t row)
{
    return (float *)(void *)(span.p + (size_t)row * span.row_bytes);
}

// ---- pool.c -----------------------------------------------------------------------------------

struct pool;
MUST_USE enum status pool_open(struct pool **out, struct cpu *cpu, int32_t n_threads,
                               struct err *err);
void pool_close(struct pool *pool);
// Runs the tasks in order on all threads, the caller among them as thread 0; returns when all are
// done.
void pool_run(struct pool *pool, struct task *tasks, int32_t n_tasks);

// ---- the device (device.c) --------------------------------------------------------------------

struct scratch { // grows, never shrinks; contents are lost when it grows
    uint8_t *p;
    size_t n_bytes;
};

static inline void want_bytes(size_t *wanted, size_t n_bytes) // the recording's greatest wish
{
    if (n_bytes > *wanted)
        *wanted = n_bytes;
}

struct cpu {
    struct compute compute; // must be first
    struct pool *pool;
    int32_t n_threads;
    const struct float_kernels *flt;
    const struct row_kernels *rows;     // quant.h; NULL: there are none, float kernels are taken
    const struct panel_kernels *panels; // likewise
    struct task *tasks;
    int32_t n_tasks, n_tasks_allocated;
    struct scratch
        activation; // the quantised x of the matmul being run (tasks run in order: one is enough)
    struct scratch normed;          // the normalised x of the matmul being run
    struct scratch partial;         // partial results of the attention being run; what a delta rule
                                    // prepares
    struct scratch experts;         // what the matmul_experts being run sorts (experts.c)
    struct scratch *thread_scratch; // [n_threads]
    size_t activation_bytes, normed_bytes, partial_bytes, experts_bytes,
        thread_bytes;               // what the recording wants of the five above
    struct arena recording;         // lives from begin to the next begin
    struct rope_table *rope_tables; // of this recording (rope.c)
};
void *cpu_take(struct cpu *cpu, size_t n_bytes); // zeroed, from the recording's arena

// ---- kernels ----------------------------------------------------------------------------------

// A piece of cached attention: tokens that see the same sequence, all heads of one KV head, a part
// of the positions.
struct attention_unit {
    int32_t token, n_tokens; // rows of q
    int32_t head_kv;
    int32_t from, end;      // positions, `from` a multiple of ATTENTION_KV; a token sees its own
    int32_t split, n_split; // which part; 1 part writes `out` itself
    const int32_t *pages;   // of the sequence
};

// The first position that a token sees.
static inline int32_t attention_start(const struct args_attention *a, int32_t t)
{
    const int32_t end = a->pos && !a->alibi ? a->pos[t] : a->count[t];
    return a->shape.window > 0 && end > a->shape.window ? end - a->shape.window : 0;
}

struct attention_call {
    const struct args_attention *args;
    float *partial; // of this unit: [n_tokens][n_head / n_head_kv][2 + head_dim_v]: maximum, sum,
                    // unnormalised out; NULL: none
    float *scratch; // this thread's
};

// One row of the delta rule, for n_rows columns of v: state [n_rows][d_k].
struct delta_step {
    float *state, *out;     // out: [n_rows]
    const float *q, *k, *v; // [d_k], [d_k], [n_rows]
    float decay, beta;
    int32_t n_rows, d_k;
};
// One row of Mamba-2, for n_rows columns of x: state [n_rows][d_state].
struct scan_step {
    float *state, *out;
    const float *x, *b, *c; // [n_rows], [d_state], [d_state]
    float decay, dt, d;
    int32_t n_rows, d_state;
};

// F32 arithmetic, one body (float_body.h, float_recurrent.h) for each instruction set.
struct float_kernels {
    const char *name;
    void (*norm)(float *out, const float *x, const float *residual, const struct norm_by *by,
                 int64_t n);
    void (*glu)(float *out, const float *gate, const float *up, int64_t n, // up may be NULL
                enum activation activation);
    // out = residual + x * sigmoid(gate); residual NULL: 0. one_gate: gate is one number.
    void (*gate_add)(float *out, const float *residual, const float *x, const float *gate,
                     bool one_gate, int64_t n);
    void (*softcap)(float *out, const float *x, int64_t n, float cap);
    // Rows of a cache. Q8_0: struct block_q8_0, n a multiple of 32.
    void (*to_f16)(void *out, const float *x, int64_t n);
    void (*to_q8_0)(void *out, const float *x, int64_t n);
    // out[t][row0..row1), weights of any format decoded to float. scratch:
    // float_matmul_scratch_bytes().
    void (*matmul)(const struct args_product *product, struct span x, int64_t row0, int64_t row1,
                   void *scratch);
    void (*attention)(const struct attention_call *call, const struct attention_unit *unit);
    // float_recurrent.h. out[i] = bias[i] + sum over j of w[j * n + i] * taps[j][i].
    void (*conv)(float *out, const float *const *taps, const float *w, const float *bias,
                 int n_conv, int64_t n);
    void (*unit_length)(float *out, const float *x, float times, float eps_length, int64_t n);
    void (*delta)(const struct delta_step *step);
    void (*scan)(const struct scan_step *step);
};
static inline int64_t attention_padded(int32_t width) // of a head, to whole vectors
{
    return ((int64_t)width + 15) / 16 * 16;
}
size_t float_matmul_scratch_bytes(int64_t n_rows); // of a chunk
bool cpu_has_integer_kernel(enum dtype type);      // quant.h's kernels know the format

extern const struct float_kernels float_portable, float_avx2, float_avx512;

// bandwidth.c
enum status cpu_bandwidth(struct compute *compute, double *copy_bytes_per_s,
                          double *read_bytes_per_s, struct err *err);

// ---- recording of the operations (one file each or a few) -------------------------------------

void cpu_embed(struct compute *compute, const struct tensor *out, const struct tensor *token_embd,
               const struct tensor *token, float scale);
void cpu_rows(struct compute *compute, const struct tensor *out, const struct tensor *x,
              const struct tensor *row);
void cpu_copy(struct compute *compute, const struct tensor *to, const struct tensor *from,
              size_t n_bytes);
void cpu_top_k(struct compute *compute, const struct tensor *id, const struct tensor *value,
               const struct tensor *total, const struct tensor *x);
void cpu_norm(struct compute *compute, const struct norm *args);
void cpu_elementwise(struct compute *compute, const struct elementwise *args);
void cpu_streams(struct compute *compute, const struct streams *args);
void cpu_streams_read(struct compute *compute, const struct streams_read *args);
void cpu_compress(struct compute *compute, const struct compress *args);
void cpu_attention_far(struct compute *compute, const struct attention_far *args);
void cpu_index_keys(struct compute *compute, const struct index_keys *args);
void cpu_index_choose(struct compute *compute, const struct index_choose *args);
void cpu_rope_kv(struct compute *compute, const struct rope_kv *args);
void cpu_matmul(struct compute *compute, const struct matmul *products, int n,
                const struct matmul_x *x);
void cpu_matmul_glu(struct compute *compute, const struct matmul_glu *glu,
                    const struct matmul_x *x);
void cpu_attention(struct compute *compute, const struct tensor *out, const struct tensor *q,
                   const struct tensor *k, const struct tensor *v, const struct tensor *pages,
                   const struct tensor *table, const struct tensor *count,
                   const struct attention *attention);
void cpu_route(struct compute *compute, const struct tensor *id, const struct tensor *weight,
               const struct tensor *logits, const struct route *route);
void cpu_matmul_experts(struct compute *compute, const struct matmul_experts *args);
void cpu_experts_sum(struct compute *compute, const struct tensor *out,
                     const struct tensor *residual, const struct tensor *y,
                     const struct tensor *weight);
void cpu_experts_glu(struct compute *compute, const struct experts_glu *args,
                     const struct matmul_x *x);
void cpu_experts_down(struct compute *compute, const struct experts_down *args);
void cpu_conv(struct compute *compute, const struct conv *args);
void cpu_delta_net(struct compute *compute, const struct delta_net *args);
void cpu_mamba2(struct compute *compute, const struct mamba2 *args);
// x normalised into the scratch `normed`, where `norm` asks for it (matmul.c); returns whether.
bool cpu_normed(struct cpu *cpu, const struct matmul_x *x);
// Where x is when the recording runs.
struct span cpu_normed_span(const struct cpu *cpu, struct span x);
