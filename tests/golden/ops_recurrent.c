// ops_recurrent.c - convolution, delta rule and Mamba-2, with runs that begin in slots, with zeros,
// and in slots that an earlier batch of the case wrote; outputs and all slots are compared.
#include "ops.h"

#include <stdlib.h>

enum { SLOTS = 6 };

struct batch { // I32 on both
    struct both *in, *out;
    int32_t n;
};

// n rows: one run; several: runs of one row each in turn with longer ones, every slot written once.
static struct batch batch_of(int32_t n, bool several)
{
    int32_t in[600], out[600], run = 0;
    for (int32_t t = 0; t < n; t++)
        in[t] = out[t] = -1;
    if (!several) {
        in[0] = 3;
        out[n - 1] = 3;
        if (n > 2)
            out[n / 2] = 0, out[0] = 1;
    }
    for (int32_t t = 0; several && t < n && run < SLOTS; run++) {
        const int32_t left = n - t, length = run % 2 == 0 || left < 3 ? 1
                                             : left < 40              ? 3
                                                                      : left / 3;
        in[t] = run == 3 ? SLOT_ZERO : run;
        out[t + length - 1] = run;
        t += length;
    }
    return (struct batch){both_ints(in, n), both_ints(out, n), n};
}

static struct tensor columns(const struct both *x, int d, int64_t at, int64_t n)
{
    return tensor_columns(&x->on[d], at, n);
}

static void conv_apart(int64_t n_channels, int64_t n_conv, int32_t dilation, int32_t n,
                       bool several, bool gates)
{
    if (!case_open("conv of %lld channels, %lld taps %d apart, %d rows%s%s", (long long)n_channels,
                   (long long)n_conv, dilation, n, several ? " of several" : "",
                   gates ? ", gates" : ""))
        return;
    struct both *x = both_random(n, 3 * n_channels + 1, 1), *out = both_random(n, n_channels, 1),
                *w = both_weight(DTYPE_F32, n_channels, n_conv),
                *bias = both_random(1, n_channels, 1),
                *state = both_random(SLOTS, (n_conv - 1) * dilation * n_channels, 1);
    const struct batch b = batch_of(n, several);
    for (int times = 0; times < 2; times++) {
        for (int d = 0; d < N_DEVICES; d++) {
            const struct tensor in = columns(x, d, 0, n_channels),
                                before = columns(x, d, n_channels, n_channels),
                                after = columns(x, d, 2 * n_channels + 1, n_channels);
            record(d);
            op_conv(ops_on[d], &(struct conv){.out = &out->on[d],
                                              .x = &in,
                                              .before = gates ? &before : NULL,
                                              .after = gates ? &after : NULL,
                                              .weight = &w->on[d],
                                              .bias = gates ? NULL : &bias->on[d],
                                              .state = &state->on[d],
                                              .slots = {&b.in->on[d], &b.out->on[d]},
                                              .silu = !gates,
                                              .dilation = dilation});
            submit(d);
        }
        compare(out, LIMIT_SUMS);
        compare(state, LIMIT_DECODE);
    }
    case_close();
}

static void conv(int64_t n_channels, int64_t n_conv, int32_t n, bool several, bool gates)
{
    conv_apart(n_channels, n_conv, 1, n, several, gates);
}

struct delta_case {
    int32_t n_head, n_head_k, d_k, d_v, pair_heads;
    bool grouped, gated;
    int64_t offset; // of what is read from the start of a row: where 16 bytes do not divide
    bool sigmoid;
};

static struct both *decays(int64_t n) // all below 0
{
    float *x = mem_array((size_t)n, sizeof(*x));
    for (int64_t i = 0; i < n; i++)
        x[i] = i % 4 == 3 ? -3 : -0.1f * (float)(i + 1) / (float)n;
    struct both *both = both_tensor(DTYPE_F32, 1, n, x);
    free(x);
    return both;
}

static void record_delta(const struct delta_case *c, int d, struct both *const t[6],
                         const struct both *out, const struct both *state, const struct batch *b)
{
    const int64_t n_k = (int64_t)c->n_head_k * c->d_k, n_v = (int64_t)c->n_head * c->d_v,
                  at = c->offset, pair = c->pair_heads ? c->pair_heads : c->n_head,
                  n_gates = 2 * c->n_head - pair;
    const struct tensor q = columns(t[0], d, at, n_k), k = columns(t[0], d, at + n_k, n_k),
                        v = columns(t[0], d, at + 2 * n_k, n_v), z = columns(t[1], d, at, n_v),
                        beta = columns(t[2], d, 0, n_gates),
                        alpha = columns(t[2], d, pair, n_gates);
    op_delta_net(ops_on[d], &(struct delta_net){.out = &out->on[d],
                                                .q = &q,
                                                .k = &k,
                                                .v = &v,
                                                .alpha = &alpha,
                                                .beta = &beta,
                                                .a = &t[3]->on[d],
                                                .dt_bias = &t[4]->on[d],
                                                .z = c->gated ? &z : NULL,
                                                .norm = c->gated ? &t[5]->on[d] : NULL,
                                                .state = &state->on[d],
                                                .slots = {&b->in->on[d], &b->out->on[d]},
                                                .n_head = c->n_head,
                                                .n_head_k = c->n_head_k,
                                                .d_k = c->d_k,
                                                .d_v = c->d_v,
                                                .pair_heads = c->pair_heads,
                                                .grouped = c->grouped,
                                                .z_sigmoid = c->sigmoid,
                                                .eps_length = 1e-6f,
                                                .eps = 1e-6f});
}

static void delta(struct delta_case c, int32_t n, bool several)
{
    if (!case_open("delta_net, %d and %d heads of %d x %d%s%s%s, %d rows%s", c.n_head, c.n_head_k,
                   c.d_k, c.d_v, c.grouped ? ", grouped" : "", c.pair_heads ? ", pairs" : "",
                   c.sigmoid ? ", sigmoid"
                   : c.gated ? ", gated"
                             : "",
                   n, several ? " of several" : ""))
        return;
    const int64_t n_k = (int64_t)c.n_head_k * c.d_k, n_v = (int64_t)c.n_head * c.d_v;
    struct both *const t[] = {both_random(n, 2 * n_k + n_v + c.offset, 1),
                              both_random(n, n_v + c.offset, 1),
                              both_random(n, 2 * c.n_head, 2),
                              decays(c.n_head),
                              both_random(1, c.n_head, 3),
                              both_random(1, c.d_v, 1)};
    struct both *out = both_random(n, n_v, 1), *state = both_random(SLOTS, n_v * c.d_k, 0.3f);
    const struct batch b = batch_of(n, several);
    for (int times = 0; times < 2; times++) {
        for (int d = 0; d < N_DEVICES; d++) {
            record(d);
            record_delta(&c, d, t, out, state, &b);
            submit(d);
        }
        compare(out, LIMIT_SUMS);
        compare(state, LIMIT_SUMS);
    }
    case_close();
}

struct mamba_case {
    int32_t n_head, n_group, head_dim, d_state;
    bool gated, normed;
    int64_t offset;
};

static void record_mamba(const struct mamba_case *c, int d, struct both *const t[7],
                         const struct both *out, const struct both *state, const struct batch *b)
{
    const int64_t n = (int64_t)c->n_head * c->head_dim, n_b = (int64_t)c->n_group * c->d_state,
                  at = c->offset;
    const struct tensor x = columns(t[0], d, at, n), B = columns(t[0], d, at + n, n_b),
                        C = columns(t[0], d, at + n + n_b, n_b), z = columns(t[1], d, at, n);
    op_mamba2(ops_on[d], &(struct mamba2){.out = &out->on[d],
                                          .x = &x,
                                          .b = &B,
                                          .c = &C,
                                          .dt = &t[2]->on[d],
                                          .a = &t[3]->on[d],
                                          .d = &t[4]->on[d],
                                          .dt_bias = &t[5]->on[d],
                                          .z = c->gated ? &z : NULL,
                                          .norm = c->normed ? &t[6]->on[d] : NULL,
                                          .state = &state->on[d],
                                          .slots = {&b->in->on[d], &b->out->on[d]},
                                          .n_head = c->n_head,
                                          .n_group = c->n_group,
                                          .head_dim = c->head_dim,
                                          .d_state = c->d_state,
                                          .eps = 1e-5f});
}

static void mamba(struct mamba_case c, int32_t n, bool several)
{
    if (!case_open("mamba2, %d heads of %d x %d, %d groups%s%s, %d rows%s", c.n_head, c.head_dim,
                   c.d_state, c.n_group, c.gated ? ", gated" : "", c.normed ? ", normed" : "", n,
                   several ? " of several" : ""))
        return;
    const int64_t n_x = (int64_t)c.n_head * c.head_dim, n_b = (int64_t)c.n_group * c.d_state;
    struct both *const t[] = {both_random(n, n_x + 2 * n_b + c.offset, 1),
                              both_random(n, n_x + c.offset, 1),
                              both_random(n, c.n_head, 2),
                              decays(c.n_head),
                              both_random(1, c.n_head, 1),
                              both_random(1, c.n_head, 3),
                              both_random(1, n_x, 1)};
    struct both *out = both_random(n, n_x, 1), *state = both_random(SLOTS, n_x * c.d_state, 1);
    const struct batch b = batch_of(n, several);
    for (int times = 0; times < 2; times++) {
        for (int d = 0; d < N_DEVICES; d++) {
            record(d);
            record_mamba(&c, d, t, out, state, &b);
            submit(d);
        }
        compare(out, LIMIT_SUMS);
        compare(state, LIMIT_SUMS);
    }
    case_close();
}

void recurrent_cases(void)
{
    static const int32_t rows[] = {1, 5, 9, 77};
    static const struct delta_case deltas[] = {
        {4, 2, 128, 128, 0, false, true, 0}, {4, 2, 32, 48, 2, true, true, 0},
        {3, 3, 64, 16, 0, false, false, 2},  {2, 1, 256, 80, 0, false, true, 0},
        {2, 2, 144, 48, 0, false, true, 4},  {4, 2, 128, 128, 0, false, true, 0, true},
    };
    static const struct mamba_case mambas[] = {
        {8, 2, 64, 128, true, true, 0},
        {4, 1, 48, 16, true, true, 4},
        {3, 3, 16, 256, false, true, 0},
        {4, 4, 32, 64, true, false, 3},
    };
    conv(640, 4, 8, true, false); // the most rows that are made one after the other
    for (size_t r = 0; r < COUNT_OF(rows); r++)
        for (int several = 0; several < 1 + (rows[r] > 1); several++) {
            conv(640, 4, rows[r], several, false), conv(131, 3, rows[r], several, true);
            conv(64, 2, rows[r], several, false), conv(200, 8, rows[r], several, false);
            conv_apart(256, 4, 3, rows[r], several, false);
            conv_apart(131, 2, 15, rows[r], several, true);
            for (size_t i = 0; i < COUNT_OF(deltas); i++)
                delta(deltas[i], rows[r], several);
            for (size_t i = 0; i < COUNT_OF(mambas); i++)
                mamba(mambas[i], rows[r], several);
        }
}
