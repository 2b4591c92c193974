// compute_attention.c - op_attention against softmax in double, on every instruction set: lengths 1
// .. 300, several sequences in one batch, grouped heads, head sizes that are no multiple of a
// vector, one thread and three (the cache is then split).
//
// Tolerance: keys and values are the cache's own F16 values on both sides; scores are F32 sums of
// head_dim products (2^-20 of their size, times the score's own size in the exponent), e^x has
// 2^-22: 2e-5 of the largest value covers scores up to 30.
#include "compute_check.h"

#include "../../engine/compute/blocks.h"

enum { CACHE_ROWS = 700, LARGEST = 20 }; // LARGEST: of the values (random_float)

struct token {
    int32_t first, count;
};

// One head of one token: out [head_dim].
static void reference(double *out, const float *q, const uint16_t *k, const uint16_t *v,
                      struct token token, const struct attention *a, int64_t kv_cols, int32_t head)
{
    double maximum = -INFINITY, sum = 0, *scores = calloc((size_t)token.count, sizeof *scores);
    int64_t at = token.first * kv_cols + head / (a->n_head / a->n_head_kv) * a->head_dim;
    for (int32_t j = 0; j < token.count; j++) {
        for (int32_t i = 0; i < a->head_dim; i++)
            scores[j] +=
                (double)q[head * a->head_dim + i] * float_from_f16(k[at + j * kv_cols + i]);
        scores[j] *= a->scale;
        maximum = fmax(maximum, scores[j]);
    }
    for (int32_t i = 0; i < a->head_dim; i++)
        out[i] = 0;
    for (int32_t j = 0; j < token.count; j++) {
        double weight = exp(scores[j] - maximum);
        sum += weight;
        for (int32_t i = 0; i < a->head_dim; i++)
            out[i] += weight * float_from_f16(v[at + j * kv_cols + i]);
    }
    for (int32_t i = 0; i < a->head_dim; i++)
        out[i] /= sum;
    free(scores);
}

static void check_batch(struct compute *compute, const struct attention *a,
                        const struct token *tokens, int32_t n_tokens, const char *what)
{
    int64_t n_cols = (int64_t)a->n_head * a->head_dim,
            kv_cols = (int64_t)a->n_head_kv * a->head_dim;
    float *q = calloc((size_t)(n_tokens * n_cols), sizeof *q),
          *out = calloc((size_t)(n_tokens * n_cols), sizeof *out);
    uint16_t *kv = calloc((size_t)(2 * CACHE_ROWS * kv_cols), sizeof *kv),
             *v = kv + CACHE_ROWS * kv_cols;
    int32_t first[64], count[64], wrong = 0;
    random_floats(q, n_tokens * n_cols);
    for (int64_t i = 0; i < 2 * CACHE_ROWS * kv_cols; i++)
        kv[i] = f16_from_float(random_float());
    for (int32_t t = 0; t < n_tokens; t++)
        first[t] = tokens[t].first, count[t] = tokens[t].count;
    struct tensor tq = tensor_of(compute, DTYPE_F32, n_tokens, n_cols, q),
                  to = tensor_of(compute, DTYPE_F32, n_tokens, n_cols, NULL);
    struct tensor tk = tensor_of(compute, DTYPE_F16, CACHE_ROWS, kv_cols, kv),
                  tv = tensor_of(compute, DTYPE_F16, CACHE_ROWS, kv_cols, v);
    struct tensor tf = tensor_of(compute, DTYPE_I32, 1, n_tokens, first),
                  tc = tensor_of(compute, DTYPE_I32, 1, n_tokens, count);
    CHECK(compute_begin(compute, 0));
    op_attention(compute, &to, &tq, &tk, &tv, &tf, &tc, a);
    CHECK(compute_finish(compute, NULL) == OK);
    tensor_read(compute, out, &to, (size_t)(n_tokens * n_cols) * sizeof *out);
    for (int32_t t = 0; t < n_tokens; t++)
        for (int32_t head = 0; head < a->n_head; head++) {
            double want[128];
            const float *got = out + t * n_cols + head * a->head_dim;
            reference(want, q + t * n_cols, kv, v, tokens[t], a, kv_cols, head);
            for (int32_t d = 0; d < a->head_dim; d++)
                wrong += !(fabs(got[d] - want[d]) <= 2e-5 * LARGEST);
        }
    if (!CHECK(wrong == 0))
        fprintf(stderr, "    %s, %s: %d heads of %d, %d tokens, the first sees %d rows: %d wrong\n",
                compute_info(compute)->device, what, a->n_head, a->head_dim, n_tokens,
                tokens[0].count, wrong);
    tensor_free(compute, &tq), tensor_free(compute, &to), tensor_free(compute, &tk);
    tensor_free(compute, &tv), tensor_free(compute, &tf), tensor_free(compute, &tc);
    free(q), free(out), free(kv);
}

static void check_all(struct compute *compute)
{
    static const struct attention shapes[] = {
        {4, 2, 64, 0.125f}, {3, 1, 40, 0.158f}, {2, 2, 7, 0.378f}, {8, 1, 128, 0.0884f}};
    static const int32_t lengths[] = {1,  2,   3,   7,   8,   31,  32,  33,  63, 64,
                                      65, 127, 128, 129, 255, 256, 257, 299, 300};
    struct token tokens[64];
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        for (size_t j = 0; j < COUNT_OF(lengths);
             j++) { // one token decoded, at some place in the cache
            tokens[0] = (struct token){(int32_t)(j * 17), lengths[j]};
            check_batch(compute, &shapes[i], tokens, 1, "decode");
        }
        for (int32_t t = 0; t < 37; t++) // a prompt from its start, causal
            tokens[t] = (struct token){5, t + 1};
        check_batch(compute, &shapes[i], tokens, 37, "prompt");
        for (int32_t t = 0; t < 11;
             t++) // a later piece of a prompt, then three sequences that decode
            tokens[t] = (struct token){64, 200 + t};
        tokens[11] = (struct token){300, 1};
        tokens[12] = (struct token){310, 290};
        tokens[13] = (struct token){640, 60};
        check_batch(compute, &shapes[i], tokens, 14, "mixed");
    }
    tokens[0] = (struct token){0, 700};
    check_batch(compute, &shapes[0], tokens, 1, "long");
}

int main(void)
{
    for (size_t i = 0; i < COUNT_OF(isas); i++)
        for (int32_t n_threads = 1; n_threads <= 3; n_threads += 2) {
            struct compute *compute = open_cpu(isas[i], n_threads);
            if (compute)
                check_all(compute);
            compute_close(compute);
        }
    return check_done("compute_attention");
}
