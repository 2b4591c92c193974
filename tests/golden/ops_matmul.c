// ops_matmul.c - op_matmul and op_matmul_glu: every weight format, few tokens and many, edges of
// tiles on all three sides, what is fused before and behind.
//
// 1 to 8 tokens are the matrix-vector kernels' (F32 weights and halves: sums in F32; quantised
// ones: activations in 8 bits are allowed), 9 and more the tiled ones' (halves or bytes); so it is
// with weights that are split.
#include "ops.h"

#include "../unit/formats.h"

#include <stdio.h>

enum { NORM = 1, BIAS = 2, RESIDUAL = 4 };
static const unsigned extras[] = {
    0, NORM, BIAS | RESIDUAL, RESIDUAL, NORM | BIAS, NORM | RESIDUAL, BIAS};

static enum limit limit_of(enum dtype type, int64_t n_tokens)
{
    if (block_size_of(type) > 1)
        return LIMIT_BYTES;
    return n_tokens <= 8 ? LIMIT_SUMS : LIMIT_HALF;
}

static const struct tensor *on(const struct both *both, int d)
{
    return both ? &both->on[d] : NULL;
}

static void product(enum dtype type, int64_t n_out, int64_t n_in, int64_t n_tokens, unsigned with)
{
    if (!case_open("matmul %s %lld x %lld, %lld tokens%s%s%s", dtype_name(type), (long long)n_out,
                   (long long)n_in, (long long)n_tokens, with & NORM ? ", norm" : "",
                   with & BIAS ? ", bias" : "", with & RESIDUAL ? ", residual" : ""))
        return;
    struct both *w = both_weight(type, n_out, n_in), *x = both_random(n_tokens, n_in, 1);
    float size = (float)w->rms * sqrtf((float)n_in); // that of the product
    struct both *norm = with & NORM ? both_random(1, n_in, 1) : NULL,
                *bias = with & BIAS ? both_random(1, n_out, size) : NULL,
                *out = both_random(n_tokens, n_out, size);
    for (int d = 0; d < N_DEVICES; d++) {
        const struct matmul matmul = {&out->on[d], &w->on[d], on(bias, d),
                                      with & RESIDUAL ? &out->on[d] : NULL};
        record(d);
        op_matmul(ops_on[d], &matmul, 1, &(struct matmul_x){&x->on[d], on(norm, d), 1e-5f});
        submit(d);
    }
    compare_to(out, limit_of(type, n_tokens), (double)size);
    case_close();
}

// Activations that half floats cannot hold: above 65504, and below 2^-24.
static void out_of_half(enum dtype type, int64_t n_tokens)
{
    enum { N_OUT = 67, N_IN = 512 };
    if (!case_open("matmul %s, x of 10^6 and 10^-9, %lld tokens", dtype_name(type),
                   (long long)n_tokens))
        return;
    struct both *w = both_weight(type, N_OUT, N_IN), *out[2], *x[2];
    for (int i = 0; i < 2; i++) {
        float size = i == 0 ? 1e6f : 1e-9f;
        x[i] = both_random(n_tokens, N_IN, size);
        out[i] = both_random(n_tokens, N_OUT, size);
    }
    for (int d = 0; d < N_DEVICES; d++)
        for (int i = 0; i < 2; i++) {
            const struct matmul matmul = {&out[i]->on[d], &w->on[d], NULL, NULL};
            record(d);
            op_matmul(ops_on[d], &matmul, 1, &(struct matmul_x){.x = &x[i]->on[d]});
            submit(d);
        }
    for (int i = 0; i < 2; i++)
        compare(out[i], limit_of(type, n_tokens));
    case_close();
}

// Columns that are whole blocks: `i`-th of a few sizes.
static int64_t columns(enum dtype type, size_t i)
{
    static const int64_t of_32[] = {256, 32, 1056, 96, 512, 288, 160, 992},
                         of_256[] = {256, 512, 768, 1024, 1280, 2048};
    return block_size_of(type) == 256 ? of_256[i % COUNT_OF(of_256)] : of_32[i % COUNT_OF(of_32)];
}

static void few_tokens(enum dtype type, size_t seed)
{
    static const int64_t rows[] = {67, 1, 33, 257, 2, 131, 64, 3, 31, 7};
    for (size_t n = 1; n <= 8; n++)
        product(type, rows[(n * 3 + seed) % COUNT_OF(rows)], columns(type, n + seed), (int64_t)n,
                extras[(n + seed) % COUNT_OF(extras)]);
    product(type, 67, 4864, 1, extras[(seed + 2) % COUNT_OF(extras)]);
    product(type, 33, 4864, 8, extras[(seed + 3) % COUNT_OF(extras)]);
    product(type, 1031, 512, 1, extras[(seed + 4) % COUNT_OF(extras)]);
    product(type, 1031, 512, 3, extras[(seed + 5) % COUNT_OF(extras)]);
}

static void many_tokens(enum dtype type, size_t seed, size_t step)
{
    static const int64_t tokens[] = {9,  12,  15,  16,  17,  31,  32,  33,  63,  64,  65,
                                     80, 100, 127, 128, 129, 255, 256, 257, 511, 513, 600};
    static const int64_t rows[] = {33, 65, 128, 129, 64, 200, 127, 257, 1};
    for (size_t i = seed % step; i < COUNT_OF(tokens); i += step)
        product(type, rows[(i * 5 + seed) % COUNT_OF(rows)], columns(type, (i + seed) % 6),
                tokens[i], extras[(i / step + seed) % COUNT_OF(extras)]);
    product(type, 67, 2816, 20, extras[seed % COUNT_OF(extras)]);
    if (block_size_of(type) == 1) // not whole steps of the matrix kernels
        product(type, 192, 48, 40, extras[0]), product(type, 65, 20, 33, extras[seed % 3]);
}

// ---- several at once ----------------------------------------------------------------------------

static void several(const enum dtype *types, int n, int64_t n_tokens, bool normed)
{
    static const int64_t n_out[] = {96, 32, 33, 7};
    enum { N_IN = 512 };
    char names[64] = "";
    for (int i = 0, at = 0; i < n; i++)
        at += snprintf(names + at, sizeof(names) - (size_t)at, " %s", dtype_name(types[i]));
    if (!case_open("matmul of%s, %lld tokens%s", names, (long long)n_tokens,
                   normed ? ", norm" : ""))
        return;
    struct both *w[4], *out[4], *bias[4], *x = both_random(n_tokens, N_IN, 1),
                                          *norm = normed ? both_random(1, N_IN, 1) : NULL;
    for (int i = 0; i < n; i++) {
        w[i] = both_weight(types[i], n_out[i], N_IN);
        bias[i] = i % 2 == 0 ? both_random(1, n_out[i], 1) : NULL;
        out[i] = both_random(n_tokens, n_out[i], 1);
    }
    for (int d = 0; d < N_DEVICES; d++) {
        struct matmul products[4];
        for (int i = 0; i < n; i++)
            products[i] = (struct matmul){&out[i]->on[d], &w[i]->on[d], on(bias[i], d), NULL};
        record(d);
        op_matmul(ops_on[d], products, n, &(struct matmul_x){&x->on[d], on(norm, d), 1e-6f});
        submit(d);
    }
    for (int i = 0; i < n; i++)
        compare(out[i], limit_of(types[i], n_tokens));
    case_close();
}

static void gated(enum dtype gate, enum dtype up, int64_t n_tokens, bool normed,
                  enum activation activation)
{
    enum { N_IN = 512, N_OUT = 131 };
    if (!case_open("matmul_glu %s %s, %s, %lld tokens%s", dtype_name(gate), dtype_name(up),
                   activation == ACTIVATION_GELU ? "gelu" : "silu", (long long)n_tokens,
                   normed ? ", norm" : ""))
        return;
    // Norms small enough that the gate is not all on one side.
    struct both *wg = both_weight(gate, N_OUT, N_IN), *wu = both_weight(up, N_OUT, N_IN),
                *x = both_random(n_tokens, N_IN, normed ? 1 : 0.1f),
                *norm = normed ? both_random(1, N_IN, 0.1f) : NULL,
                *out = both_random(n_tokens, N_OUT, 1), *scratch = both_random(n_tokens, N_OUT, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        const struct matmul_glu glu = {&out->on[d], &wg->on[d], &wu->on[d], &scratch->on[d],
                                       activation};
        record(d);
        op_matmul_glu(ops_on[d], &glu, &(struct matmul_x){&x->on[d], on(norm, d), 1e-5f});
        submit(d);
    }
    compare(out, limit_of(block_size_of(gate) > 1 ? gate : up, n_tokens));
    case_close();
}

void matmul_cases(void)
{
    static const int64_t tokens[] = {1, 2, 5, 8, 9, 33, 130};
    for (size_t i = 0; i < COUNT_OF(weight_types); i++) {
        enum dtype type = weight_types[i];
        bool often =
            type == DTYPE_F16 || type == DTYPE_Q8_0 || type == DTYPE_Q4_K || type == DTYPE_Q6_K;
        few_tokens(type, i);
        many_tokens(type, i, often ? 1 : 4);
    }
    product(DTYPE_Q6_K, 100003, 256, 1, NORM); // a vocabulary
    product(DTYPE_Q4_K, 67, 11008, 1, RESIDUAL);
    product(DTYPE_F16, 35, 11008, 40, RESIDUAL);
    out_of_half(DTYPE_F16, 3);
    out_of_half(DTYPE_F16, 20);
    out_of_half(DTYPE_Q4_K, 70);
    for (size_t i = 0; i < COUNT_OF(tokens); i++) {
        several((const enum dtype[]){DTYPE_Q4_K, DTYPE_Q4_K, DTYPE_Q6_K}, 3, tokens[i], true);
        several((const enum dtype[]){DTYPE_F16, DTYPE_F16, DTYPE_F16}, 3, tokens[i], i % 2);
        several((const enum dtype[]){DTYPE_Q8_0, DTYPE_BF16, DTYPE_Q5_0, DTYPE_F32}, 4, tokens[i],
                i % 2 == 0);
        gated(DTYPE_Q4_K, DTYPE_Q4_K, tokens[i], true, ACTIVATION_SILU);
        gated(DTYPE_F16, DTYPE_F16, tokens[i], i % 2, ACTIVATION_GELU);
        gated(DTYPE_Q8_0, DTYPE_Q8_0, tokens[i], i % 2 == 0, ACTIVATION_GELU);
        gated(DTYPE_Q6_K, DTYPE_Q5_K, tokens[i], false, ACTIVATION_SILU);
    }
}

void split_products(void)
{
    static const int64_t tokens[] = {1, 2, 8, 9, 33, 130};
    for (size_t i = 0; i < COUNT_OF(tokens); i++) {
        product(DTYPE_Q8_0, 257, 256, tokens[i], extras[i]);
        product(DTYPE_F32, 131, 96, tokens[i], extras[(i + 2) % COUNT_OF(extras)]);
        product(DTYPE_Q4_K, 203, 512, tokens[i], extras[(i + 3) % COUNT_OF(extras)]);
        several((const enum dtype[]){DTYPE_F16, DTYPE_F16, DTYPE_Q4_K}, 3, tokens[i], i % 2);
        gated(DTYPE_Q8_0, DTYPE_Q8_0, tokens[i], i % 2, ACTIVATION_SILU);
    }
}
