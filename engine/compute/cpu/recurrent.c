// recurrent.c - the layers that carry a state from row to row: convolution, delta rule, Mamba-2.
// The arithmetic is in float_recurrent.h.
//
// A chunk owns a part of the state (some channels; some columns of one head) and walks all rows of
// the batch with it, run after run: states are read from their slots where a run begins, live in
// the thread's scratch between, and are written where slots ask for it. So no two chunks touch the
// same bytes of a slot, and a slot may be read and written by its run.
#include "cpu.h"

#include <math.h>
#include <string.h>

enum { CONV_CHANNELS = 128, DELTA_COLUMNS = 16, SCAN_COLUMNS = 16 }; // of a chunk

static const float *vector(const struct tensor *tensor) // NULL stays NULL
{
    return tensor ? span_row(cpu_span(tensor), 0) : NULL;
}

static struct span optional(const struct tensor *tensor)
{
    return tensor ? cpu_span(tensor) : (struct span){0};
}

static float softplus(float x) // log(1 + e^x)
{
    return x > 20 ? x : log1pf(expf(x));
}

static float logistic(float x)
{
    return 1 / (1 + expf(-x));
}

// ---- slots --------------------------------------------------------------------------------------

static struct args_slots slots_of(const struct tensor *state, const struct slots *slots)
{
    return (struct args_slots){cpu_ints(slots->in), cpu_ints(slots->out), cpu_span(state)};
}

static float *slot_row(const struct args_slots *s, int32_t slot)
{
    if (slot < 0 || slot >= s->state.n_rows)
        die("slot %d of %lld", slot, (long long)s->state.n_rows);
    return span_row(s->state, slot);
}

// The state before row t where a run begins; `at`, n: the chunk's part of a slot.
static void slot_read(const struct args_slots *s, int64_t t, float *state, int64_t at, int64_t n)
{
    if (s->in[t] == SLOT_GOES_ON) {
        if (t == 0)
            die("the first row of a batch goes on from none");
        return;
    }
    if (s->in[t] == SLOT_ZERO)
        memset(state, 0, (size_t)n * sizeof(*state));
    else
        memcpy(state, slot_row(s, s->in[t]) + at, (size_t)n * sizeof(*state));
}

static void slot_write(const struct args_slots *s, int64_t t, const float *state, int64_t at,
                       int64_t n)
{
    if (s->out[t] != SLOT_NONE)
        memcpy(slot_row(s, s->out[t]) + at, state, (size_t)n * sizeof(*state));
}

// ---- convolution --------------------------------------------------------------------------------

// A chunk's scratch: the weights of its channels, [n_conv][n]; the last rows of x' that are read,
// each at its row number mod how many these are.
static int64_t conv_rows(const struct args_conv *a)
{
    return (a->weight.n_cols - 1) * a->dilation + 1;
}

static void conv_read(const struct args_conv *a, int64_t t, float *past, int64_t at, int64_t n)
{
    const int64_t n_rows = conv_rows(a), n_channels = a->x.n_cols;
    for (int64_t j = 0; j < n_rows - 1; j++)
        slot_read(&a->slots, t, past + (t + 1 + j) % n_rows * n, j * n_channels + at, n);
}

static void conv_write(const struct args_conv *a, int64_t t, const float *past, int64_t at,
                       int64_t n)
{
    const int64_t n_rows = conv_rows(a), n_channels = a->x.n_cols;
    for (int64_t j = 0; j < n_rows - 1; j++)
        slot_write(&a->slots, t, past + (t + 2 + j) % n_rows * n, j * n_channels + at, n);
}

static void run_conv(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    const struct args_conv *a = &task->conv;
    const int64_t at = (int64_t)chunk * CONV_CHANNELS, n_conv = a->weight.n_cols,
                  n_rows = conv_rows(a);
    const int64_t n = a->x.n_cols - at < CONV_CHANNELS ? a->x.n_cols - at : CONV_CHANNELS;
    float *w = (float *)(void *)cpu->thread_scratch[thread].p, *past = w + n_conv * n;
    const float *taps[CONV_MOST];
    for (int64_t c = 0; c < n; c++)
        for (int64_t j = 0; j < n_conv; j++)
            w[j * n + c] = span_row(a->weight, at + c)[j];
    for (int64_t t = 0; t < a->x.n_rows; t++) {
        float *now = past + t % n_rows * n, *out = span_row(a->out, t) + at;
        const float *x = span_row(a->x, t) + at;
        conv_read(a, t, past, at, n);
        if (a->before.p)
            for (int64_t c = 0; c < n; c++)
                now[c] = x[c] * (span_row(a->before, t) + at)[c];
        else
            memcpy(now, x, (size_t)n * sizeof(*now));
        for (int64_t j = 0; j < n_conv; j++)
            taps[j] = past + (t + 1 + j * a->dilation) % n_rows * n;
        cpu->flt->conv(out, taps, w, a->bias ? a->bias + at : NULL, (int)n_conv, n);
        if (a->silu)
            cpu->flt->glu(out, out, NULL, n, ACTIVATION_SILU);
        if (a->after.p)
            for (int64_t c = 0; c < n; c++)
                out[c] *= (span_row(a->after, t) + at)[c];
        conv_write(a, t, past, at, n);
    }
}

void cpu_conv(struct compute *compute, const struct conv *args)
{
    struct cpu *cpu = (struct cpu *)compute;
    const int64_t n_chunks = (args->x->n_cols + CONV_CHANNELS - 1) / CONV_CHANNELS;
    struct task *task = cpu_task(cpu, run_conv, n_chunks);
    task->conv = (struct args_conv){
        .out = cpu_span(args->out),
        .x = cpu_span(args->x),
        .before = optional(args->before),
        .after = optional(args->after),
        .weight = cpu_span(args->weight),
        .bias = vector(args->bias),
        .slots = slots_of(args->state, &args->slots),
        .silu = args->silu,
        .dilation = args->dilation,
    };
    want_bytes(&cpu->thread_bytes,
               (size_t)((args->weight->n_cols + conv_rows(&task->conv)) * CONV_CHANNELS) *
                   sizeof(float));
}

// ---- delta rule ---------------------------------------------------------------------------------

struct prepared { // of one row, in the device's scratch `partial`
    float *q, *k; // [n_head_k][d_k]
    float *gate;  // [n_head][decay, beta]
};

static int64_t prepared_floats(int32_t n_head, int32_t n_head_k, int32_t d_k)
{
    return 2 * ((int64_t)n_head_k * d_k + n_head);
}

static struct prepared prepared_row(const struct cpu *cpu, const struct args_delta *a, int64_t t)
{
    float *p =
        (float *)(void *)cpu->partial.p + t * prepared_floats(a->n_head, a->n_head_k, a->d_k);
    const int64_t n = (int64_t)a->n_head_k * a->d_k;
    return (struct prepared){p, p + n, p + 2 * n};
}

static void run_prepare(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)thread;
    const struct args_delta *a = &task->delta;
    const struct prepared to = prepared_row(cpu, a, t);
    const float *alpha = span_row(a->alpha, t), *beta = span_row(a->beta, t);
    for (int64_t at = 0; at < (int64_t)a->n_head_k * a->d_k; at += a->d_k) {
        cpu->flt->unit_length(to.q + at, span_row(a->q, t) + at, 1 / sqrtf((float)a->d_k),
                              a->eps_length, a->d_k);
        cpu->flt->unit_length(to.k + at, span_row(a->k, t) + at, 1, a->eps_length, a->d_k);
    }
    for (int32_t h = 0; h < a->n_head; h++) {
        const int32_t pair = a->pair_heads, c = pair > 0 ? h / pair * 2 * pair + h % pair : h;
        to.gate[2 * h] = expf(a->a[h] * softplus(alpha[c] + a->dt_bias[h]));
        to.gate[2 * h + 1] = logistic(beta[c]);
    }
}

static void run_delta(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    const struct args_delta *a = &task->delta;
    const int32_t per_head = a->d_v / DELTA_COLUMNS, h = chunk / per_head,
                  column = h * a->d_v + chunk % per_head * DELTA_COLUMNS;
    const int32_t h_k = a->grouped ? h / (a->n_head / a->n_head_k) : h % a->n_head_k;
    const int64_t at = (int64_t)column * a->d_k, n = (int64_t)DELTA_COLUMNS * a->d_k;
    float *state = (float *)(void *)cpu->thread_scratch[thread].p;
    for (int64_t t = 0; t < a->v.n_rows; t++) {
        const struct prepared row = prepared_row(cpu, a, t);
        slot_read(&a->slots, t, state, at, n);
        cpu->flt->delta(&(struct delta_step){
            .state = state,
            .out = span_row(a->out, t) + column,
            .q = row.q + (int64_t)h_k * a->d_k,
            .k = row.k + (int64_t)h_k * a->d_k,
            .v = span_row(a->v, t) + column,
            .decay = row.gate[2 * h],
            .beta = row.gate[2 * h + 1],
            .n_rows = DELTA_COLUMNS,
            .d_k = a->d_k,
        });
        slot_write(&a->slots, t, state, at, n);
    }
}

static void run_delta_norm(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)thread;
    const struct args_delta *a = &task->delta;
    float *out = span_row(a->out, t);
    for (int64_t at = 0; at < (int64_t)a->n_head * a->d_v; at += a->d_v)
        cpu->flt->norm(out + at, out + at, NULL, &a->norm, a->d_v);
    cpu->flt->glu(out, span_row(a->z, t), out, (int64_t)a->n_head * a->d_v, a->z_activation);
}

void cpu_delta_net(struct compute *compute, const struct delta_net *args)
{
    struct cpu *cpu = (struct cpu *)compute;
    const int64_t n_tokens = args->v->n_rows;
    const struct args_delta a = {
        .out = cpu_span(args->out),
        .q = cpu_span(args->q),
        .k = cpu_span(args->k),
        .v = cpu_span(args->v),
        .alpha = cpu_span(args->alpha),
        .beta = cpu_span(args->beta),
        .z = optional(args->z),
        .a = vector(args->a),
        .dt_bias = vector(args->dt_bias),
        .norm = {.weight = vector(args->norm), .eps = args->eps, .scale = 1},
        .slots = slots_of(args->state, &args->slots),
        .n_head = args->n_head,
        .n_head_k = args->n_head_k,
        .d_k = args->d_k,
        .d_v = args->d_v,
        .pair_heads = args->pair_heads,
        .grouped = args->grouped,
        .z_activation = args->z_sigmoid ? ACTIVATION_SIGMOID : ACTIVATION_SILU,
        .eps_length = args->eps_length,
    };
    cpu_task(cpu, run_prepare, n_tokens)->delta = a;
    cpu_task(cpu, run_delta, (int64_t)args->n_head * (args->d_v / DELTA_COLUMNS))->delta = a;
    if (args->z)
        cpu_task(cpu, run_delta_norm, n_tokens)->delta = a;
    want_bytes(&cpu->partial_bytes,
               (size_t)(n_tokens * prepared_floats(args->n_head, args->n_head_k, args->d_k)) *
                   sizeof(float));
    want_bytes(&cpu->thread_bytes, (size_t)(DELTA_COLUMNS * args->d_k) * sizeof(float));
}

// ---- Mamba-2 ------------------------------------------------------------------------------------

static void run_scan(struct cpu *cpu, const struct task *task, int32_t chunk, int32_t thread)
{
    const struct args_mamba *a = &task->mamba;
    const int32_t per_head = a->head_dim / SCAN_COLUMNS, h = chunk / per_head,
                  column = h * a->head_dim + chunk % per_head * SCAN_COLUMNS;
    const int64_t at_b = (int64_t)(h / (a->n_head / a->n_group)) * a->d_state;
    const int64_t at = (int64_t)column * a->d_state, n = (int64_t)SCAN_COLUMNS * a->d_state;
    float *state = (float *)(void *)cpu->thread_scratch[thread].p;
    for (int64_t t = 0; t < a->x.n_rows; t++) {
        const float dt = softplus(span_row(a->dt, t)[h] + a->dt_bias[h]);
        float *out = span_row(a->out, t) + column;
        slot_read(&a->slots, t, state, at, n);
        cpu->flt->scan(&(struct scan_step){
            .state = state,
            .out = out,
            .x = span_row(a->x, t) + column,
            .b = span_row(a->b, t) + at_b,
            .c = span_row(a->c, t) + at_b,
            .decay = expf(dt * a->a[h]),
            .dt = dt,
            .d = a->d[h],
            .n_rows = SCAN_COLUMNS,
            .d_state = a->d_state,
        });
        if (a->z.p)
            cpu->flt->glu(out, span_row(a->z, t) + column, out, SCAN_COLUMNS, ACTIVATION_SILU);
        slot_write(&a->slots, t, state, at, n);
    }
}

static void run_scan_norm(struct cpu *cpu, const struct task *task, int32_t t, int32_t thread)
{
    (void)thread;
    const struct args_mamba *a = &task->mamba;
    const int64_t n = a->out.n_cols / a->n_group;
    float *out = span_row(a->out, t);
    for (int64_t at = 0; at < a->out.n_cols; at += n)
        cpu->flt->norm(out + at, out + at, NULL,
                       &(struct norm_by){.weight = a->norm + at, .eps = a->eps, .scale = 1}, n);
}

void cpu_mamba2(struct compute *compute, const struct mamba2 *args)
{
    struct cpu *cpu = (struct cpu *)compute;
    const struct args_mamba a = {
        .out = cpu_span(args->out),
        .x = cpu_span(args->x),
        .b = cpu_span(args->b),
        .c = cpu_span(args->c),
        .dt = cpu_span(args->dt),
        .z = optional(args->z),
        .a = vector(args->a),
        .d = vector(args->d),
        .dt_bias = vector(args->dt_bias),
        .norm = vector(args->norm),
        .slots = slots_of(args->state, &args->slots),
        .n_head = args->n_head,
        .n_group = args->n_group,
        .head_dim = args->head_dim,
        .d_state = args->d_state,
        .eps = args->eps,
    };
    cpu_task(cpu, run_scan, (int64_t)args->n_head * (args->head_dim / SCAN_COLUMNS))->mamba = a;
    if (args->norm)
        cpu_task(cpu, run_scan_norm, args->x->n_rows)->mamba = a;
    want_bytes(&cpu->thread_bytes, (size_t)(SCAN_COLUMNS * args->d_state) * sizeof(float));
}
