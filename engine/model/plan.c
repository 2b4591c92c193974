// plan.c - does a model fit? Counted from the file's headers alone, before anything is taken: an
// answer in milliseconds instead of a machine that swaps, or an engine that the kernel ends later.
//
// Weights as the device stores them, keys and values of every sequence at its full context, and the
// activations of one pass with what operations take beside them, against what the device has free.
// The processor borrows the weights from the file's pages; it needs them in memory all the same.
#include "arch.h"

#include <stdio.h>

enum { OPERATIONS_BYTES = 48 << 20 }; // scratch of operations, staging, compiled kernels

struct plan {
    uint64_t weight_bytes, cache_bytes, scratch_bytes, free_bytes;
};

static uint64_t weights_bytes(const struct compute *compute, const struct weights *weights)
{
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < weights->n_placements; i++) {
        const struct placement *p = &weights->placements[i];
        bool stored = p->rule->form == MATRIX;
        n_bytes +=
            compute_bytes(compute, stored ? USE_WEIGHT : USE_TENSOR,
                          stored ? (enum dtype)p->tensor->type : DTYPE_F32, p->n_rows, p->n_cols);
    }
    return n_bytes;
}

static double gib(uint64_t n_bytes)
{
    return (double)n_bytes / (double)(1 << 30);
}

// The largest context, a multiple of 256 tokens, that n_seq sequences may have; 0: none.
static int32_t fits(const struct compute *compute, const struct hyper *hyper,
                    const struct plan *plan, bool q8_0, int32_t n_seq)
{
    uint64_t fixed = plan->weight_bytes + plan->scratch_bytes,
             row = kv_row_bytes(compute, hyper, q8_0);
    if (fixed >= plan->free_bytes || row == 0)
        return 0;
    uint64_t most = (plan->free_bytes - fixed) / (row * (uint64_t)n_seq) / 256 * 256;
    return most < (uint64_t)hyper->n_ctx ? (int32_t)most : hyper->n_ctx;
}

// What would fit; as many sequences first, then smaller keys and values, then one sequence.
static void advise(char *out, size_t size, const struct compute *compute, const struct hyper *hyper,
                   const struct plan *plan, const struct model_options *options)
{
    int32_t same = fits(compute, hyper, plan, options->kv_q8_0, options->n_seq),
            small = fits(compute, hyper, plan, true, options->n_seq),
            alone = fits(compute, hyper, plan, options->kv_q8_0, 1);
    int n = 0;
    if (alone == 0) {
        snprintf(out, size, "a smaller model, or more memory");
        return;
    }
    out[0] = 0;
    if (same > 0)
        n = snprintf(out, size, "ctx = %d", (int)same);
    if (small > same && n >= 0 && (size_t)n < size)
        n += snprintf(out + n, size - (size_t)n, "%sctx = %d with kv-type = q8_0", n ? ", " : "",
                      (int)small);
    if (alone > same && n >= 0 && (size_t)n < size)
        (void)snprintf(out + n, size - (size_t)n, "%sctx = %d with parallel = 1", n ? ", or " : "",
                       (int)alone);
}

enum status plan_check(const struct compute *compute, const struct weights *weights,
                       const struct hyper *hyper, const struct model_options *options,
                       struct err *err)
{
    struct plan plan = {
        .weight_bytes = weights_bytes(compute, weights),
        .cache_bytes = kv_row_bytes(compute, hyper, options->kv_q8_0) * (uint64_t)hyper->n_ctx *
                       (uint64_t)options->n_seq,
        .scratch_bytes = activations_bytes(hyper, options) + OPERATIONS_BYTES,
        .free_bytes = compute_info(compute)->memory_usable_bytes,
    };
    uint64_t wanted = plan.weight_bytes + plan.cache_bytes + plan.scratch_bytes;
    char advice[160];
    if (plan.free_bytes == 0 || wanted <= plan.free_bytes) // 0: the device does not tell
        return OK;
    advise(advice, sizeof(advice), compute, hyper, &plan, options);
    return err_set(err, NO_ROOM,
                   "%.1f GiB wanted (weights %.1f, keys and values of %d x %d tokens %.1f, scratch "
                   "%.1f), %.1f GiB free; what fits: %s",
                   gib(wanted), gib(plan.weight_bytes), options->n_seq, hyper->n_ctx,
                   gib(plan.cache_bytes), gib(plan.scratch_bytes), gib(plan.free_bytes), advice);
}
