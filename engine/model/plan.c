// plan.c - does a model fit, and with what context? Counted from the file's head alone, before
// anything is taken: an answer in milliseconds instead of a machine that swaps, or an engine that
// the kernel ends later.
//
// Weights as the device stores them, the pools of keys and values, states of recurrent layers, the
// activations of one pass and what operations take beside them, against what the device has free
// less a share for everything else that runs there. The processor borrows the weights from the
// file's pages; it needs them in memory all the same.
//
// The pool is shared: one conversation may fill its whole context, and for each further one that
// runs at once there is a quarter of a context (SEQ_SHARE): long ones are rare, and what they have
// in common is there once. When all together want more, whoever came last waits. What nobody uses
// holds the beginnings of earlier texts. States of recurrent layers are kept for SLOTS_KEPT of
// these, fewer where one is large.
//
// ctx = auto takes the largest context that fits, up to what the model was trained for and to
// CTX_CAP: longer prompts take minutes to read on the machines this is for, answers get worse long
// before a trained million is reached, and memory that nobody writes to is better left to others.
// Below CTX_USUAL a person is told, since agents and long documents need that much; below CTX_LEAST
// nothing useful fits and the model is refused.
#include "arch.h"

#include <stdio.h>
#include <string.h>

enum {
    CTX_CAP = 131072,
    CTX_USUAL = 16384,
    CTX_LEAST = 1024,
    CTX_STEP = 256,
    SYSTEM_SHARE = 16, // of what is free, one part in so many, at most SYSTEM_MOST
    SEQ_SHARE = 4,     // of a context, for each sequence but the first
    SLOTS_KEPT = 32,   // states beside those of the sequences that are computed,
    SLOTS_KEPT_LEAST = 4,
    SLOTS_SHARE = 16, // in one part in so many of what is free, at most SLOTS_MOST
};
#define SPARE_BYTES (48ull << 20)
#define SYSTEM_MOST (4ull << 30)
#define SLOTS_MOST (4ull << 30)

// A head may announce anything: sums stop at UINT64_MAX, which never fits.
static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t n;
    return mul_overflows(a, b, &n) ? UINT64_MAX : n;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
    uint64_t n;
    return add_overflows(a, b, &n) ? UINT64_MAX : n;
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

const char *model_size_text(char out[SIZE_TEXT], uint64_t n_bytes)
{
    const double mib = (double)n_bytes / (1 << 20);
    if (mib >= 1000)
        snprintf(out, SIZE_TEXT, "%.1f GiB", mib / 1024);
    else if (mib >= 1)
        snprintf(out, SIZE_TEXT, mib < 10 ? "%.1f MiB" : "%.0f MiB", mib);
    else
        snprintf(out, SIZE_TEXT, "%.1f KiB", mib * 1024);
    return out;
}

// ---- counting -----------------------------------------------------------------------------------

static uint64_t weights_bytes(const struct compute *compute, const struct weights *weights)
{
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < weights->n_placements; i++) {
        const struct placement *p = &weights->placements[i];
        bool stored = p->rule->form == MATRIX;
        uint64_t row =
            compute_bytes(compute, stored ? USE_WEIGHT : USE_TENSOR,
                          stored ? (enum dtype)p->tensor->type : DTYPE_F32, 1, p->n_cols);
        n_bytes = plus(n_bytes, times(row, (uint64_t)p->n_rows));
    }
    return n_bytes;
}

void plan_free(struct model_plan *plan, uint64_t free_bytes)
{
    const uint64_t share = free_bytes / SYSTEM_SHARE;
    plan->spare_bytes = SPARE_BYTES;
    plan->free_bytes = free_bytes;
    plan->system_bytes = share < SYSTEM_MOST ? share : SYSTEM_MOST;
}

enum status plan_make(struct model_plan *out, const struct compute *compute,
                      const struct weights *weights, const struct hyper *hyper,
                      const struct model_options *options, struct err *err)
{
    const struct compute_info *device = compute_info(compute);
    struct model_plan plan = {
        .n_ctx_asked = options->n_ctx,
        .n_ctx_train = hyper->sees_all && options->n_batch < hyper->n_ctx_train
                           ? options->n_batch
                           : hyper->n_ctx_train, // a text is one pass then
        .n_seq = options->n_seq,
        .n_held = options->n_held,
        .n_batch = options->n_batch,
        .n_pass_pages =
            hyper->pooling == POOLING_NONE ? 0 : (options->n_batch + PAGE_ROWS - 1) / PAGE_ROWS,
        .one_pass = hyper->sees_all,
        .kv_q8_0 = options->kv_q8_0,
        .weight_bytes = weights_bytes(compute, weights),
        .pass_bytes = activations_bytes(hyper, options),
    };
    plan_free(&plan, options->memory_bytes ? options->memory_bytes : device->memory_usable_bytes);
    kv_count(&plan, compute, hyper);
    if (plan.token_bytes[plan.kv_q8_0] == UINT64_MAX)
        return err_set(err, UNSUPPORTED,
                       "kv-type q8_0: this model's keys or values have rows that are not a "
                       "multiple of 32 numbers; use kv-type = f16");
    plan_settle(&plan);
    *out = plan;
    return OK;
}

// ---- choosing -----------------------------------------------------------------------------------

// States that n_seq sequences and what is held beside them have.
static int32_t slots(const struct model_plan *plan, int32_t n_seq)
{
    const uint64_t share = plan->free_bytes / SLOTS_SHARE,
                   most = share > 0 && share < SLOTS_MOST ? share : SLOTS_MOST;
    if (plan->slot_bytes == 0)
        return 0;
    if (plan->n_held == 0)
        return n_seq;
    const uint64_t kept = most / plan->slot_bytes;
    return n_seq + (kept < SLOTS_KEPT_LEAST ? SLOTS_KEPT_LEAST
                    : kept > SLOTS_KEPT     ? SLOTS_KEPT
                                            : (int32_t)kept);
}

uint64_t model_plan_states(const struct model_plan *plan)
{
    return times((uint64_t)plan->n_slots, plan->slot_bytes);
}

// What does not grow with the context.
static uint64_t fixed_bytes(const struct model_plan *plan, int32_t n_seq)
{
    return plus(plus(plan->weight_bytes, times((uint64_t)slots(plan, n_seq), plan->slot_bytes)),
                plus(plan->pass_bytes, plan->spare_bytes));
}

uint64_t model_plan_bytes(const struct model_plan *plan)
{
    return plus(fixed_bytes(plan, plan->n_seq), plan->cache_bytes);
}

int64_t plan_pages(const struct model_plan *plan, int32_t pool, int32_t n_ctx, int32_t n_seq)
{
    const int32_t window = plan->pools[pool].window;
    const int64_t whole = ((int64_t)n_ctx + PAGE_ROWS - 1) / PAGE_ROWS,
                  all = whole + (n_seq - 1) * ((whole + SEQ_SHARE - 1) / SEQ_SHARE) +
                        plan->n_pass_pages,
                  seen = (int64_t)past_pages_most(window, n_ctx, plan->n_batch) * n_seq *
                         (plan->n_held > 0 ? 2 : 1); // as much for what is held
    if (plan->one_pass)                              // each text begins a page
        return plan->n_pass_pages + n_seq;
    return window > 0 && seen < all ? seen : all;
}

static uint64_t pools_bytes(const struct model_plan *plan, bool q8_0, int32_t n_ctx, int32_t n_seq)
{
    uint64_t n_bytes = 0;
    for (int32_t k = 0; k < plan->n_pools; k++)
        n_bytes = plus(n_bytes, times(plan->pools[k].token_bytes[q8_0],
                                      (uint64_t)plan_pages(plan, k, n_ctx, n_seq) * PAGE_ROWS));
    return n_bytes;
}

// Whether memory and buffers allow that context.
static bool has_room(const struct model_plan *plan, bool q8_0, int32_t n_ctx, int32_t n_seq)
{
    for (int32_t k = 0; k < plan->n_pools; k++)
        if (plan->pools[k].token_bytes[q8_0] == UINT64_MAX ||
            (uint64_t)plan_pages(plan, k, n_ctx, n_seq) * PAGE_ROWS >
                plan->pools[k].rows_most[q8_0])
            return false;
    return plan->free_bytes == 0 || // the device does not tell
           plus(fixed_bytes(plan, n_seq), pools_bytes(plan, q8_0, n_ctx, n_seq)) <=
               plan->free_bytes - plan->system_bytes;
}

int32_t model_plan_largest(const struct model_plan *plan, bool q8_0, int32_t n_seq)
{
    int32_t fits = 0, not_any_more = plan->n_ctx_train / CTX_STEP + 1; // in steps
    if (has_room(plan, q8_0, plan->n_ctx_train, n_seq))
        return plan->n_ctx_train;
    while (not_any_more - fits > 1) {
        const int32_t middle = fits + (not_any_more - fits) / 2;
        if (has_room(plan, q8_0, middle * CTX_STEP, n_seq))
            fits = middle;
        else
            not_any_more = middle;
    }
    return fits * CTX_STEP;
}

// What would fit, or give more than `than` tokens: as many sequences first, then smaller keys and
// values, then one sequence, then both.
static void advise(struct model_plan *plan, int32_t than)
{
    const struct {
        bool q8_0;
        int32_t n_seq;
        const char *how;
    } ways[] = {
        {plan->kv_q8_0, plan->n_seq, ""},
        {true, plan->n_seq, " with kv-type = q8_0"},
        {plan->kv_q8_0, 1, " with parallel = 1"},
        {true, 1, " with kv-type = q8_0 and parallel = 1"},
    };
    size_t n = 0;
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        int32_t most = model_plan_largest(plan, ways[i].q8_0, ways[i].n_seq);
        if (most <= than || n >= sizeof(plan->advice))
            continue;
        int m = snprintf(plan->advice + n, sizeof(plan->advice) - n, "%sctx = %d%s",
                         n ? ", or " : "", (int)most, ways[i].how);
        n += m > 0 ? (size_t)m : 0;
        than = most;
    }
    if (n == 0)
        snprintf(plan->advice, sizeof(plan->advice), "a smaller model, or more memory");
}

static void say_why(struct model_plan *plan, int32_t cap)
{
    char cache[SIZE_TEXT], beside[SIZE_TEXT], free_text[SIZE_TEXT], system_text[SIZE_TEXT];
    const bool automatic = plan->n_ctx_asked == CTX_AUTO;
    if (automatic && plan->n_ctx < cap)
        snprintf(plan->why, sizeof(plan->why),
                 "auto: what fits: %s of keys and values beside %s of weights and scratch, in %s "
                 "free of which %s are the system's",
                 model_size_text(cache, plan->cache_bytes),
                 model_size_text(beside, fixed_bytes(plan, plan->n_seq)),
                 model_size_text(free_text, plan->free_bytes),
                 model_size_text(system_text, plan->system_bytes));
    else if (automatic && cap < plan->n_ctx_train)
        snprintf(plan->why, sizeof(plan->why),
                 "auto: at most %d, where the model was trained for %d (ctx = N asks for more)",
                 CTX_CAP, (int)plan->n_ctx_train);
    else if (automatic || plan->n_ctx_asked == 0)
        snprintf(plan->why, sizeof(plan->why), "%swhat the model was trained for",
                 automatic ? "auto: " : "");
    else if (plan->n_ctx_asked > plan->n_ctx)
        snprintf(plan->why, sizeof(plan->why),
                 "ctx = %d was asked for; this model was trained for %d tokens",
                 (int)plan->n_ctx_asked, (int)plan->n_ctx_train);
    else
        snprintf(plan->why, sizeof(plan->why), "as asked for");
}

void plan_settle(struct model_plan *plan)
{
    const int32_t train = plan->n_ctx_train, cap = least(train, CTX_CAP);
    const int32_t most = model_plan_largest(plan, plan->kv_q8_0, plan->n_seq);
    if (plan->n_ctx_asked == CTX_AUTO)
        plan->n_ctx = most < least(train, CTX_LEAST) ? least(train, CTX_LEAST) : least(most, cap);
    else
        plan->n_ctx = plan->n_ctx_asked > 0 ? least(plan->n_ctx_asked, train) : train;
    plan->cache_bytes = pools_bytes(plan, plan->kv_q8_0, plan->n_ctx, plan->n_seq);
    plan->n_slots = slots(plan, plan->n_seq);
    plan->pool_tokens = 0;
    for (int32_t k = 0; k < plan->n_pools; k++) {
        const uint64_t n = (uint64_t)plan_pages(plan, k, plan->n_ctx, plan->n_seq) * PAGE_ROWS;
        plan->pool_tokens = n > plan->pool_tokens ? n : plan->pool_tokens;
    }
    plan->fits = has_room(plan, plan->kv_q8_0, plan->n_ctx, plan->n_seq);
    plan->is_short =
        plan->fits && plan->n_ctx_asked == CTX_AUTO && plan->n_ctx < least(train, CTX_USUAL);
    plan->advice[0] = 0;
    say_why(plan, cap);
    if (!plan->fits || plan->is_short)
        advise(plan, plan->is_short ? plan->n_ctx : 0);
}

enum status plan_refuse(const struct model_plan *plan, struct err *err)
{
    char text[7][SIZE_TEXT];
    const uint64_t scratch = plus(plan->pass_bytes, plan->spare_bytes),
                   states = model_plan_states(plan);
    return err_set(
        err, NO_ROOM,
        "%s wanted (weights %s, keys and values of %llu tokens %s, %s%sscratch %s); %s are free, "
        "%s of them the system's; what fits: %s",
        model_size_text(text[0], model_plan_bytes(plan)),
        model_size_text(text[1], plan->weight_bytes), (unsigned long long)plan->pool_tokens,
        model_size_text(text[2], plan->cache_bytes), states ? model_size_text(text[6], states) : "",
        states ? " of states, " : "", model_size_text(text[3], scratch),
        model_size_text(text[4], plan->free_bytes), model_size_text(text[5], plan->system_bytes),
        plan->advice);
}
