// ops_experts.c - the operations of a mixture of experts: routing, the products of the chosen in
// every weight format for few tokens and many, their sum.
#include "ops.h"

#include "../unit/formats.h"

// ---- route --------------------------------------------------------------------------------------

static void route(int64_t n_expert, int64_t n_used, int64_t n_tokens, struct route how, bool ties)
{
    static const char *const names[] = {"softmax", "top softmax", "sigmoid"};
    if (!case_open("route %lld of %lld by %s, %lld tokens%s%s", (long long)n_used,
                   (long long)n_expert, names[how.score], (long long)n_tokens,
                   how.normalise ? ", normalised" : "", ties ? ", ties" : ""))
        return;
    float *x = mem_array((size_t)(n_tokens * n_expert), sizeof(*x));
    for (int64_t i = 0; i < n_tokens * n_expert; i++)
        x[i] = ties ? (float)(random_bits() % 6) : 4 * normal();
    struct both *logits = both_tensor(DTYPE_F32, n_tokens, n_expert, x),
                *id = both_tensor(DTYPE_I32, n_tokens, n_used, NULL),
                *weight = both_random(n_tokens, n_used, 1);
    free(x);
    for (int d = 0; d < N_DEVICES; d++) {
        record(d);
        op_route(ops_on[d], &id->on[d], &weight->on[d], &logits->on[d], &how);
        submit(d);
    }
    compare_ints(id);
    compare(weight, LIMIT_SUMS);
    case_close();
}

// ---- products -----------------------------------------------------------------------------------

struct shape {
    int64_t n_expert, n_used, n_tokens, n_out, n_in;
    bool each, bias; // an x for each slot, not one a token
};

// Experts as a router picks them: different ones for a token, some loved, the last never.
static void choose(int32_t *id, const struct shape *s)
{
    for (int64_t i = 0; i < s->n_tokens * s->n_used; i++) {
        bool taken = true;
        while (taken) {
            uint32_t most = 1 + random_bits() % (uint32_t)(s->n_expert - 1);
            id[i] = (int32_t)(random_bits() % (most < s->n_used ? (uint32_t)s->n_used : most));
            taken = false;
            for (int64_t j = i / s->n_used * s->n_used; j < i; j++)
                taken |= id[j] == id[i];
        }
    }
}

static void experts(enum dtype type, struct shape s)
{
    if (!case_open("experts %s %lld of %lld, %lld x %lld, %lld tokens%s%s", dtype_name(type),
                   (long long)s.n_used, (long long)s.n_expert, (long long)s.n_out,
                   (long long)s.n_in, (long long)s.n_tokens, s.each ? ", an x each" : "",
                   s.bias ? ", bias" : ""))
        return;
    int64_t n = s.n_tokens * s.n_used;
    int32_t *ids = mem_array((size_t)n, sizeof(*ids));
    choose(ids, &s);
    struct both *w = both_experts(type, s.n_expert, s.n_out, s.n_in),
                *x = both_random(s.each ? n : s.n_tokens, s.n_in, 1),
                *id = both_tensor(DTYPE_I32, s.n_tokens, s.n_used, ids),
                *bias = s.bias ? both_random(s.n_expert, s.n_out, 1) : NULL,
                *out = both_random(n, s.n_out, 1);
    free(ids);
    for (int d = 0; d < N_DEVICES; d++) {
        const struct matmul_experts args = {
            &out->on[d], &w->on[d],  bias ? &bias->on[d] : NULL,
            &x->on[d],   &id->on[d], s.each ? 1 : (int32_t)s.n_used};
        record(d);
        op_matmul_experts(ops_on[d], &args);
        submit(d);
    }
    compare_to(out,
               block_size_of(type) > 1 ? LIMIT_BYTES
               : s.n_tokens <= 8       ? LIMIT_SUMS
                                       : LIMIT_HALF,
               w->rms * sqrt((double)s.n_in));
    case_close();
}

static void experts_sum(int64_t n_cols, int64_t n_used, int64_t n_tokens, bool in_place)
{
    if (!case_open("experts_sum %lld of %lld columns, %lld tokens%s", (long long)n_used,
                   (long long)n_cols, (long long)n_tokens, in_place ? ", in place" : ""))
        return;
    struct both *residual = both_random(n_tokens, n_cols, 1),
                *y = both_random(n_tokens * n_used, n_cols, 1),
                *weight = both_random(n_tokens, n_used, 1),
                *out = in_place ? residual : both_random(n_tokens, n_cols, 1);
    for (int d = 0; d < N_DEVICES; d++) {
        record(d);
        op_experts_sum(ops_on[d], &out->on[d], &residual->on[d], &y->on[d], &weight->on[d]);
        submit(d);
    }
    compare(out, LIMIT_SUMS);
    case_close();
}

void expert_cases(void)
{
    for (enum route_score score = ROUTE_SOFTMAX; score <= ROUTE_SIGMOID; score++) {
        route(8, 2, 1, (struct route){score, true, 1}, false);
        route(128, 8, 33, (struct route){score, true, 1}, false);
        route(128, 8, 5, (struct route){score, false, 2.5f}, true);
        route(512, 16, 7, (struct route){score, false, 1}, false);
        route(60, 4, 600, (struct route){score, true, 1}, true);
        route(3, 1, 2, (struct route){score, false, 1}, false);
    }
    for (size_t i = 0; i < COUNT_OF(weight_types); i++) {
        enum dtype type = weight_types[i];
        int64_t n_in = block_size_of(type) == 256 ? 256 : 288;
        experts(type, (struct shape){8, 2, 1, 67, n_in, false, i % 2});
        experts(type, (struct shape){8, 2, 5, 33, 2 * n_in, true, true});
        experts(type, (struct shape){32, 4, 8, 131, n_in, false, false});
        experts(type, (struct shape){8, 2, 40, 65, n_in, i % 2, true});
        experts(type, (struct shape){16, 4, 150, 64, n_in, false, i % 2});
    }
    experts(DTYPE_Q4_K, (struct shape){128, 8, 1, 768, 2048, false, false});
    experts(DTYPE_MXFP4, (struct shape){32, 4, 1, 257, 2880, false, true});
    experts(DTYPE_MXFP4, (struct shape){32, 4, 300, 65, 2880, false, true});
    experts(DTYPE_Q4_K, (struct shape){64, 8, 513, 33, 512, false, false});
    experts(DTYPE_Q6_K, (struct shape){128, 8, 100, 65, 256, true, false});
    experts(DTYPE_F16, (struct shape){4, 1, 600, 129, 96, false, false}); // all with few experts
    experts(DTYPE_Q8_0, (struct shape){512, 16, 70, 32, 64, true, true});
    experts_sum(2048, 8, 1, true), experts_sum(131, 2, 9, false), experts_sum(2880, 4, 65, true);
}

// Two experts of 31 x 256 in Q8_0 lie in 16 KiB, one of 40 x 256.
void split_experts(void)
{
    for (int64_t n_tokens = 1; n_tokens <= 33; n_tokens += 8) {
        experts(DTYPE_Q8_0, (struct shape){9, 2, n_tokens, 31, 256, false, true});
        experts(DTYPE_Q8_0, (struct shape){8, 4, n_tokens, 40, 256, true, false});
        experts(DTYPE_Q4_K, (struct shape){8, 2, n_tokens, 67, 256, false, true});
    }
    experts(DTYPE_F16, (struct shape){6, 2, 70, 200, 32, false, false});
    experts(DTYPE_IQ2_XS, (struct shape){8, 3, 5, 131, 256, false, false});
}
