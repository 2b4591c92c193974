// ops.h - what the ops_*.c share: the two devices, a case's tensors on both, and the comparison.
//
// A case is opened with case_open() (false: the filters left it out), makes the same tensors on
// both devices, records the same operations on both, compares what came out, and is closed with
// case_close(), which prints its line and frees its tensors. Random numbers are seeded with the
// case's name: a case is the same alone and among all.
#pragma once

#include "../../engine/compute/compute.h"

enum { ORACLE, DEVICE, N_DEVICES };
extern struct compute *ops_on[N_DEVICES];

struct both { // one tensor on both
    struct tensor on[N_DEVICES];
    double rms; // of a weight's values
};

enum limit { // ops.c has the figures and their reasons
    LIMIT_EXACT,
    LIMIT_DECODE,
    LIMIT_SUMS,
    LIMIT_TRIGONOMETRY,
    LIMIT_HALF,
    LIMIT_BYTES,
    LIMIT_CACHE_F16,
    LIMIT_CACHE_Q8_0,
    LIMIT_SOFTMAX,
    LIMIT_SOFTMAX_HALF,
    LIMIT_SOFTMAX_Q8_0,
};

__attribute__((format(printf, 1, 2))) bool case_open(const char *format, ...);
void case_close(void);

// Tensors of the case. data: what both hold at first; NULL: zeros.
struct both *both_tensor(enum dtype type, int64_t n_rows, int64_t n_cols, const void *data);
struct both *both_random(int64_t n_rows, int64_t n_cols, float size); // F32, normal
struct both *both_ints(const int32_t *data, int64_t n);
struct both *both_weight(enum dtype type, int64_t n_rows, int64_t n_cols);
struct both *both_experts(enum dtype type, int64_t n_expert, int64_t n_rows, int64_t n_cols);
// Weights of which only the runs of n_each rows that begin at first[n] hold numbers, the others
// zeros. Unless `whole` those others are not loaded either: nothing may read them.
struct both *both_far(enum dtype type, int64_t n_rows, int64_t n_cols, int64_t whole_rows,
                      const int64_t *first, int n, int64_t n_each, bool whole);
struct both *both_cache(enum dtype type, int64_t n_rows, int64_t n_cols);

// for (int d = 0; d < N_DEVICES; d++) { record(d); op_...(ops_on[d], &x->on[d], ...); submit(d); }
void record(int d);
void submit(int d);

float normal(void); // of the case's random numbers
uint32_t random_bits(void);

// Adds to the case's verdict: F32 within the limit; I32 equal. Differences are relative to the rms
// of the output, or to `size` when that is more: few numbers may all be small by chance.
void compare_to(const struct both *out, enum limit limit, double size);
void compare(const struct both *out, enum limit limit);
void compare_ints(const struct both *out);
// id[row] is a column of the largest number of the row, as the device itself has both: near ties of
// what was rounded may be settled otherwise than by the oracle.
void compare_largest(const struct both *id, const struct both *of);

// Until split_end() the cases run on a device whose buffers of weights hold n_bytes at most, so
// that small weights lie in several. false: the device is none that splits any.
bool split_begin(uint64_t n_bytes);
void split_end(void);

// ---- the cases ----------------------------------------------------------------------------------

void matmul_cases(void);
void attention_cases(void);
void rope_cases(void);
void row_cases(void); // embed, rows, norm, glu, top_k
void recording_cases(void);
void expert_cases(void);
void split_rows(void); // weights in several buffers
void split_products(void);
void split_experts(void);
void split_layers(void);
void large_cases(void); // of gigabytes
void heads_and_layer_cases(void);
void recurrent_cases(void);
void stream_cases(void); // and blocks that attention sees
void far_cases(void);    // and rows that stand for many positions
