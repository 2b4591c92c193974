// compute_recurrent.c - convolution, delta rule and Mamba-2 against the papers' formulas in double:
// batches of several sequences, states that go on, begin with zeros, are kept after every row of a
// run, and are written where they were read.
//
// A reference walks the same batch row by row from the states that the device has; after each batch
// every slot is compared, those too that nobody may have touched (to the bit).
//
// Tolerances: 1e-6 of the sizes of what was added up, times a few for e^x and for what went before
// in the run. A GPU's e^x, square root and division are a little coarser: ten times as much.
#include "compute_check.h"

enum { SLOTS = 7, ROWS_MOST = 40, BATCHES = 4 };

struct batch {
    int32_t n, in[ROWS_MOST], out[ROWS_MOST];
};

// Four sequences in one batch; then sequences that go on from rows in the middle of earlier runs;
// then one row each; then a longer run that begins where another one ended.
static void make_batches(struct batch batches[BATCHES])
{
    static const struct batch first = {
        .n = 11,
        .in = {2, -1, -1, -1, -1, 0, SLOT_ZERO, -1, -1, 1, -1},
        .out = {-1, -1, -1, -1, 2, 0, 3, 4, 5, -1, 6},
    };
    static const struct batch second = {
        .n = 6,
        .in = {4, -1, SLOT_ZERO, 3, -1, -1},
        .out = {4, 1, 0, -1, -1, 3},
    };
    static const struct batch third = {.n = 3, .in = {5, 2, SLOT_ZERO}, .out = {5, 1, 6}};
    batches[0] = first, batches[1] = second, batches[2] = third;
    struct batch *last = &batches[3];
    last->n = ROWS_MOST;
    for (int t = 0; t < ROWS_MOST; t++) {
        last->in[t] = t == 0 ? 6 : t == 3 ? SLOT_ZERO : SLOT_GOES_ON;
        last->out[t] = t == 2 ? 6 : t == ROWS_MOST - 2 ? 0 : t == ROWS_MOST - 1 ? 2 : SLOT_NONE;
    }
}

struct states { // of all slots: on the device, as it was before the batch, as it should be after
    struct tensor tensor;
    int64_t n; // numbers in a slot
    float *before, *after;
    double *want, *size; // [SLOTS][n]
    double *now;         // [n] of the run
    double *now_size;
};

static struct states states_of(struct compute *compute, int64_t n)
{
    struct states s = {.n = n};
    s.before = mem_array((size_t)(SLOTS * n), sizeof(float));
    s.after = mem_array((size_t)(SLOTS * n), sizeof(float));
    s.want = mem_array((size_t)(SLOTS * n), sizeof(double));
    s.size = mem_array((size_t)(SLOTS * n), sizeof(double));
    s.now = mem_array((size_t)n, sizeof(double));
    s.now_size = mem_array((size_t)n, sizeof(double));
    random_floats(s.after, SLOTS * n);
    s.tensor = tensor_of(compute, DTYPE_F32, SLOTS, n, s.after);
    return s;
}

static void states_free(struct compute *compute, struct states *s)
{
    tensor_free(compute, &s->tensor);
    free(s->before), free(s->after), free(s->want), free(s->size), free(s->now), free(s->now_size);
}

static void states_before(struct states *s)
{
    memcpy(s->before, s->after, (size_t)(SLOTS * s->n) * sizeof(float));
    memset(s->size, 0, (size_t)(SLOTS * s->n) * sizeof(double));
    for (int64_t i = 0; i < SLOTS * s->n; i++)
        s->want[i] = s->before[i];
}

static void state_begin(struct states *s, const struct batch *batch, int t)
{
    for (int64_t i = 0; i < s->n && batch->in[t] != SLOT_GOES_ON; i++) {
        s->now[i] = batch->in[t] == SLOT_ZERO ? 0 : (double)s->before[batch->in[t] * s->n + i];
        s->now_size[i] = fabs(s->now[i]);
    }
}

static void state_end(struct states *s, const struct batch *batch, int t)
{
    if (batch->out[t] == SLOT_NONE)
        return;
    memcpy(s->want + batch->out[t] * s->n, s->now, (size_t)s->n * sizeof(double));
    memcpy(s->size + batch->out[t] * s->n, s->now_size, (size_t)s->n * sizeof(double));
}

static int states_wrong(struct compute *compute, struct states *s, double tolerance)
{
    int wrong = 0;
    tensor_read(compute, s->after, &s->tensor, (size_t)(SLOTS * s->n) * sizeof(float));
    for (int64_t i = 0; i < SLOTS * s->n; i++)
        wrong += !(fabs(s->after[i] - s->want[i]) <= tolerance * s->size[i]);
    return wrong;
}

struct io { // rows of inputs and of the output, in tensors that are wider than what is used of them
    struct tensor x, out, in_slot, out_slot;
    int64_t n_x, n_out;
    float *in, *got;
    double *want, *size;
};

static struct io io_of(struct compute *compute, const struct batch *batch, int64_t n_x,
                       int64_t n_out)
{
    struct io io = {.n_x = n_x, .n_out = n_out};
    io.in = mem_array((size_t)(batch->n * n_x), sizeof(float));
    io.got = mem_array((size_t)(batch->n * n_out), sizeof(float));
    io.want = mem_array((size_t)(batch->n * n_out), sizeof(double));
    io.size = mem_array((size_t)(batch->n * n_out), sizeof(double));
    random_floats(io.in, batch->n * n_x);
    io.x = tensor_of(compute, DTYPE_F32, batch->n, n_x, io.in);
    io.out = tensor_of(compute, DTYPE_F32, batch->n, n_out, NULL);
    io.in_slot = tensor_of(compute, DTYPE_I32, 1, batch->n, batch->in);
    io.out_slot = tensor_of(compute, DTYPE_I32, 1, batch->n, batch->out);
    return io;
}

static int io_wrong(struct compute *compute, struct io *io, double tolerance)
{
    int wrong = 0;
    const int64_t n = io->out.n_rows * io->n_out;
    tensor_read(compute, io->got, &io->out, (size_t)n * sizeof(float));
    for (int64_t i = 0; i < n; i++)
        wrong += !(fabs(io->got[i] - io->want[i]) <= tolerance * io->size[i] + 1e-9);
    FREE_ALL(compute, &io->x, &io->out, &io->in_slot, &io->out_slot);
    free(io->in), free(io->got), free(io->want), free(io->size);
    return wrong;
}

static double loose(struct compute *compute)
{
    return is_cpu(compute) ? 1 : 10;
}

static double silu_of(double x)
{
    return x / (1 + exp(-x));
}

static double softplus_of(double x)
{
    return log1p(exp(x));
}

static void say(struct compute *compute, const char *what, int batch, int out, int state)
{
    if (!CHECK(out == 0 && state == 0))
        fprintf(stderr, "    %s: %s, batch %d: %d of out wrong, %d of the states\n",
                compute_info(compute)->device, what, batch, out, state);
}

// ---- convolution --------------------------------------------------------------------------------

struct conv_case {
    int n_channels, n_conv;
    bool bias, silu, before, after;
    int dilation; // 0: 1
};

static int conv_past(const struct conv_case *c)
{
    return (c->n_conv - 1) * (c->dilation ? c->dilation : 1);
}

// now: the last rows, the oldest first.
static void conv_row(struct states *s, struct io *io, const struct conv_case *c, int t,
                     const float *weight, const float *bias)
{
    const int n = c->n_channels, n_conv = c->n_conv, past = conv_past(c),
              apart = past / (n_conv - 1);
    const float *x = io->in + t * io->n_x;
    for (int i = 0; i < n; i++) {
        const double in = (double)x[i] * (c->before ? (double)x[n + i] : 1);
        double sum = c->bias ? (double)bias[i] : 0, size = fabs(sum);
        for (int j = 0; j < n_conv; j++) {
            const double tap = j < n_conv - 1 ? s->now[j * apart * n + i] : in;
            sum += (double)weight[i * n_conv + j] * tap;
            size += fabs((double)weight[i * n_conv + j] * tap);
        }
        const double gate = c->after ? (double)x[2 * n + i] : 1;
        io->want[t * n + i] = (c->silu ? silu_of(sum) : sum) * gate;
        io->size[t * n + i] = 2 * size * fabs(gate);
        for (int j = 0; j < past; j++) {
            s->now[j * n + i] = j < past - 1 ? s->now[(j + 1) * n + i] : in;
            s->now_size[j * n + i] = fabs(s->now[j * n + i]);
        }
    }
}

static void check_conv(struct compute *compute, struct conv_case c)
{
    const int n = c.n_channels;
    struct batch batches[BATCHES];
    float *weight = mem_array((size_t)(n * c.n_conv), sizeof(float)),
          *bias = mem_array((size_t)n, sizeof(float));
    make_batches(batches);
    random_floats(weight, n * c.n_conv);
    random_floats(bias, n);
    struct tensor w = weight_of(compute, DTYPE_F32, n, c.n_conv, weight),
                  b = tensor_of(compute, DTYPE_F32, 1, n, bias);
    struct states states = states_of(compute, conv_past(&c) * (int64_t)n);
    for (int i = 0; i < BATCHES; i++) {
        struct io io = io_of(compute, &batches[i], 3 * n, n);
        struct tensor x = tensor_columns(&io.x, 0, n), before = tensor_columns(&io.x, n, n),
                      after = tensor_columns(&io.x, 2 * n, n);
        states_before(&states);
        run_begin(compute);
        op_conv(compute, &(struct conv){.out = &io.out,
                                        .x = &x,
                                        .before = c.before ? &before : NULL,
                                        .after = c.after ? &after : NULL,
                                        .weight = &w,
                                        .bias = c.bias ? &b : NULL,
                                        .state = &states.tensor,
                                        .slots = {&io.in_slot, &io.out_slot},
                                        .silu = c.silu,
                                        .dilation = c.dilation});
        run_end(compute);
        for (int t = 0; t < batches[i].n; t++) {
            state_begin(&states, &batches[i], t);
            conv_row(&states, &io, &c, t, weight, bias);
            state_end(&states, &batches[i], t);
        }
        const int state = states_wrong(compute, &states, 1e-7 * loose(compute));
        say(compute, "convolution", i, io_wrong(compute, &io, 1e-6 * loose(compute)), state);
    }
    states_free(compute, &states);
    FREE_ALL(compute, &w, &b);
    free(weight), free(bias);
}

// ---- delta rule ---------------------------------------------------------------------------------

struct delta_case {
    int n_head, n_head_k, d_k, d_v, pair_heads;
    bool grouped, gated, sigmoid;
};

struct delta_weights {
    float a[64], dt_bias[64], norm[DELTA_MOST];
};

// One head: S [d_v][d_k]. out, size: [d_v].
static void delta_head(const struct delta_case *c, double *S, double *S_size, const float *q,
                       const float *k, const float *v, double g, double beta, double *out,
                       double *size)
{
    double q_length = 0, k_length = 0;
    for (int i = 0; i < c->d_k; i++)
        q_length += (double)q[i] * q[i], k_length += (double)k[i] * k[i];
    q_length = fmax(sqrt(q_length), 1e-6), k_length = fmax(sqrt(k_length), 1e-6);
    for (int j = 0; j < c->d_v; j++) {
        double *s = S + j * c->d_k, *s_size = S_size + j * c->d_k, seen = 0, seen_size = 0;
        for (int i = 0; i < c->d_k; i++) {
            s[i] *= exp(g), s_size[i] *= exp(g);
            seen += s[i] * k[i] / k_length;
            seen_size += s_size[i] * fabs(k[i] / k_length);
        }
        out[j] = size[j] = 0;
        for (int i = 0; i < c->d_k; i++) {
            s[i] += beta * (v[j] - seen) * k[i] / k_length;
            s_size[i] += beta * (fabs((double)v[j]) + seen_size) * fabs(k[i] / k_length);
            out[j] += s[i] * q[i] / (q_length * sqrt(c->d_k));
            size[j] += s_size[i] * fabs(q[i] / (q_length * sqrt(c->d_k)));
        }
    }
}

static void delta_row(struct states *s, struct io *io, const struct delta_case *c, int t,
                      const struct delta_weights *w)
{
    const int n_k = c->n_head_k * c->d_k, n_v = c->n_head * c->d_v, ratio = c->n_head / c->n_head_k;
    const float *q = io->in + t * io->n_x, *k = q + n_k, *v = k + n_k, *z = v + n_v, *ba = z + n_v;
    for (int h = 0; h < c->n_head; h++) {
        const int h_k = c->grouped ? h / ratio : h % c->n_head_k, pair = c->pair_heads;
        const double beta = pair ? ba[h / pair * 2 * pair + h % pair] : ba[h],
                     alpha = pair ? ba[h / pair * 2 * pair + pair + h % pair] : ba[c->n_head + h];
        double *out = io->want + t * n_v + h * c->d_v, *size = io->size + t * n_v + h * c->d_v;
        delta_head(c, s->now + h * c->d_v * c->d_k, s->now_size + h * c->d_v * c->d_k,
                   q + h_k * c->d_k, k + h_k * c->d_k, v + h * c->d_v,
                   (double)w->a[h] * softplus_of(alpha + (double)w->dt_bias[h]),
                   1 / (1 + exp(-beta)), out, size);
        double squares = 0, size_squares = 0;
        for (int j = 0; j < c->d_v; j++)
            squares += out[j] * out[j], size_squares += size[j] * size[j];
        const double rms = sqrt(squares / c->d_v + 1e-6),
                     worse = 1 + sqrt(size_squares / c->d_v) / rms;
        for (int j = 0; j < c->d_v && c->gated; j++) {
            const double gate = z[h * c->d_v + j],
                         by = (double)w->norm[j] / rms *
                              (c->sigmoid ? 1 / (1 + exp(-gate)) : silu_of(gate));
            size[j] = fabs(by) * (size[j] + fabs(out[j]) * worse);
            out[j] *= by;
        }
    }
}

static void run_delta(struct compute *compute, const struct delta_case *c, struct io *io,
                      const struct delta_weights *w, struct states *states)
{
    const int n_k = c->n_head_k * c->d_k, n_v = c->n_head * c->d_v, n = c->n_head;
    struct tensor q = tensor_columns(&io->x, 0, n_k), k = tensor_columns(&io->x, n_k, n_k),
                  v = tensor_columns(&io->x, 2 * n_k, n_v),
                  z = tensor_columns(&io->x, 2 * n_k + n_v, n_v);
    const int at = 2 * (n_k + n_v), alpha_at = c->pair_heads ? c->pair_heads : n;
    struct tensor beta = tensor_columns(&io->x, at, 2 * n - (c->pair_heads ? c->pair_heads : n)),
                  alpha = tensor_columns(&io->x, at + alpha_at, 2 * n - alpha_at);
    struct tensor a = tensor_of(compute, DTYPE_F32, 1, n, w->a),
                  dt_bias = tensor_of(compute, DTYPE_F32, 1, n, w->dt_bias),
                  norm = tensor_of(compute, DTYPE_F32, 1, c->d_v, w->norm);
    run_begin(compute);
    op_delta_net(compute, &(struct delta_net){.out = &io->out,
                                              .q = &q,
                                              .k = &k,
                                              .v = &v,
                                              .alpha = &alpha,
                                              .beta = &beta,
                                              .a = &a,
                                              .dt_bias = &dt_bias,
                                              .z = c->gated ? &z : NULL,
                                              .norm = c->gated ? &norm : NULL,
                                              .state = &states->tensor,
                                              .slots = {&io->in_slot, &io->out_slot},
                                              .n_head = n,
                                              .n_head_k = c->n_head_k,
                                              .d_k = c->d_k,
                                              .d_v = c->d_v,
                                              .pair_heads = c->pair_heads,
                                              .grouped = c->grouped,
                                              .z_sigmoid = c->sigmoid,
                                              .eps_length = 1e-6f,
                                              .eps = 1e-6f});
    run_end(compute);
    FREE_ALL(compute, &a, &dt_bias, &norm);
}

static void check_delta(struct compute *compute, struct delta_case c)
{
    const int n_x = 2 * (c.n_head_k * c.d_k + c.n_head * c.d_v + c.n_head), n_v = c.n_head * c.d_v;
    struct batch batches[BATCHES];
    struct delta_weights w;
    make_batches(batches);
    random_floats(w.a, c.n_head);
    random_floats(w.dt_bias, c.n_head);
    random_floats(w.norm, c.d_v);
    for (int h = 0; h < c.n_head; h++)
        w.a[h] = -fabsf(w.a[h]);
    w.dt_bias[c.n_head - 1] = 30; // where log(1 + e^x) is x
    w.a[c.n_head - 1] = -0.01f;
    struct states states = states_of(compute, (int64_t)n_v * c.d_k);
    for (int i = 0; i < BATCHES; i++) {
        struct io io = io_of(compute, &batches[i], n_x, n_v);
        for (int j = 0; j < c.d_k; j++) // a head without length
            io.in[j] = io.in[c.n_head_k * c.d_k + j] = 0;
        tensor_write(compute, &io.x, io.in, (size_t)(batches[i].n * n_x) * sizeof(float));
        states_before(&states);
        run_delta(compute, &c, &io, &w, &states);
        for (int t = 0; t < batches[i].n; t++) {
            state_begin(&states, &batches[i], t);
            delta_row(&states, &io, &c, t, &w);
            state_end(&states, &batches[i], t);
        }
        const int state = states_wrong(compute, &states, 2e-6 * loose(compute));
        say(compute, "delta rule", i, io_wrong(compute, &io, 2e-6 * loose(compute)), state);
    }
    states_free(compute, &states);
}

// ---- Mamba-2 ------------------------------------------------------------------------------------

struct mamba_case {
    int n_head, n_group, head_dim, d_state;
    bool gated, normed;
};

struct mamba_weights {
    float a[64], d[64], dt_bias[64], norm[4096];
};

static void mamba_norm(double *out, double *size, const float *norm, int n)
{
    double squares = 0, size_squares = 0;
    for (int i = 0; i < n; i++)
        squares += out[i] * out[i], size_squares += size[i] * size[i];
    const double rms = sqrt(squares / n + 1e-5), worse = 1 + sqrt(size_squares / n) / rms;
    for (int i = 0; i < n; i++) {
        size[i] = fabs((double)norm[i]) / rms * (size[i] + fabs(out[i]) * worse);
        out[i] *= (double)norm[i] / rms;
    }
}

static void mamba_row(struct states *s, struct io *io, const struct mamba_case *c, int t,
                      const struct mamba_weights *w)
{
    const int n = c->n_head * c->head_dim, n_b = c->n_group * c->d_state;
    const float *x = io->in + t * io->n_x, *b = x + n, *C = b + n_b, *z = C + n_b, *dt = z + n;
    double *want = io->want + t * n, *size = io->size + t * n;
    for (int i = 0; i < n; i++) {
        const int h = i / c->head_dim, at = h / (c->n_head / c->n_group) * c->d_state;
        const double delta = softplus_of((double)dt[h] + (double)w->dt_bias[h]);
        want[i] = (double)w->d[h] * x[i], size[i] = fabs(want[i]);
        for (int j = 0; j < c->d_state; j++) {
            double *S = &s->now[i * c->d_state + j], *S_size = &s->now_size[i * c->d_state + j];
            *S = *S * exp(delta * (double)w->a[h]) + delta * x[i] * b[at + j];
            *S_size = *S_size * exp(delta * (double)w->a[h]) + fabs(delta * x[i] * b[at + j]);
            want[i] += *S * C[at + j];
            size[i] += *S_size * fabs((double)C[at + j]);
        }
        if (c->gated)
            want[i] *= silu_of(z[i]), size[i] *= fabs(silu_of(z[i]));
    }
    for (int g = 0; g < c->n_group && c->normed; g++)
        mamba_norm(want + g * (n / c->n_group), size + g * (n / c->n_group),
                   w->norm + g * (n / c->n_group), n / c->n_group);
}

static void run_mamba(struct compute *compute, const struct mamba_case *c, struct io *io,
                      const struct mamba_weights *w, struct states *states)
{
    const int n = c->n_head * c->head_dim, n_b = c->n_group * c->d_state;
    struct tensor x = tensor_columns(&io->x, 0, n), b = tensor_columns(&io->x, n, n_b),
                  C = tensor_columns(&io->x, n + n_b, n_b),
                  z = tensor_columns(&io->x, n + 2 * n_b, n),
                  dt = tensor_columns(&io->x, 2 * (n + n_b), c->n_head);
    struct tensor a = tensor_of(compute, DTYPE_F32, 1, c->n_head, w->a),
                  d = tensor_of(compute, DTYPE_F32, 1, c->n_head, w->d),
                  dt_bias = tensor_of(compute, DTYPE_F32, 1, c->n_head, w->dt_bias),
                  norm = tensor_of(compute, DTYPE_F32, 1, n, w->norm);
    run_begin(compute);
    op_mamba2(compute, &(struct mamba2){.out = &io->out,
                                        .x = &x,
                                        .b = &b,
                                        .c = &C,
                                        .dt = &dt,
                                        .a = &a,
                                        .d = &d,
                                        .dt_bias = &dt_bias,
                                        .z = c->gated ? &z : NULL,
                                        .norm = c->normed ? &norm : NULL,
                                        .state = &states->tensor,
                                        .slots = {&io->in_slot, &io->out_slot},
                                        .n_head = c->n_head,
                                        .n_group = c->n_group,
                                        .head_dim = c->head_dim,
                                        .d_state = c->d_state,
                                        .eps = 1e-5f});
    run_end(compute);
    FREE_ALL(compute, &a, &d, &dt_bias, &norm);
}

static void check_mamba(struct compute *compute, struct mamba_case c)
{
    const int n = c.n_head * c.head_dim, n_x = 2 * (n + c.n_group * c.d_state) + c.n_head;
    struct batch batches[BATCHES];
    static struct mamba_weights w;
    make_batches(batches);
    random_floats(w.a, c.n_head);
    random_floats(w.d, c.n_head);
    random_floats(w.dt_bias, c.n_head);
    random_floats(w.norm, n);
    for (int h = 0; h < c.n_head; h++)
        w.a[h] = -fabsf(w.a[h]);
    struct states states = states_of(compute, (int64_t)n * c.d_state);
    for (int i = 0; i < BATCHES; i++) {
        struct io io = io_of(compute, &batches[i], n_x, n);
        states_before(&states);
        run_mamba(compute, &c, &io, &w, &states);
        for (int t = 0; t < batches[i].n; t++) {
            state_begin(&states, &batches[i], t);
            mamba_row(&states, &io, &c, t, &w);
            state_end(&states, &batches[i], t);
        }
        const int state = states_wrong(compute, &states, 2e-6 * loose(compute));
        say(compute, "Mamba-2", i, io_wrong(compute, &io, 2e-6 * loose(compute)), state);
    }
    states_free(compute, &states);
}

static void check_all(struct compute *compute)
{
    if (!compute_has_recurrent(compute)) {
        check_skip("recurrent layers", "this device has none");
        return;
    }
    check_conv(compute, (struct conv_case){8, 2});
    check_conv(compute, (struct conv_case){131, 4, .bias = true, .silu = true});
    check_conv(compute, (struct conv_case){640, 4, .silu = true});
    check_conv(compute, (struct conv_case){256, 3, .before = true, .after = true});
    check_conv(compute, (struct conv_case){68, 8, .bias = true, .silu = true, .before = true});
    check_conv(compute, (struct conv_case){96, 4, .silu = true, .dilation = 3});
    check_conv(compute, (struct conv_case){131, 2, .bias = true, .dilation = 5});
    check_conv(compute, (struct conv_case){64, 6, .dilation = 3});
    check_delta(compute, (struct delta_case){4, 2, 32, 48, 0, false, true, true});
    check_delta(compute, (struct delta_case){4, 2, 32, 48, 0, false, true});
    check_delta(compute, (struct delta_case){4, 2, 128, 128, 0, false, true});
    check_delta(compute, (struct delta_case){6, 2, 64, 16, 3, true, true});
    check_delta(compute, (struct delta_case){4, 4, 16, 64, 0, false, false});
    check_delta(compute, (struct delta_case){2, 1, 256, 256, 0, true, true});
    check_mamba(compute, (struct mamba_case){4, 1, 64, 128, true, true});
    check_mamba(compute, (struct mamba_case){8, 2, 48, 16, true, true});
    check_mamba(compute, (struct mamba_case){6, 3, 16, 256, true, false});
    check_mamba(compute, (struct mamba_case){2, 2, 32, 64, false, true});
}

int main(void)
{
    on_devices(3, check_all);
    return check_done("compute_recurrent");
}
