// matvec.c - products with one to eight rows of x (kernels/matvec.comp): what is dispatched, and by
// which constants.
//
// Decoding reads every weight once and computes little with it: what counts is that enough loads
// are under way at every moment (memory answers after about 2000 cycles) and that nothing else,
// above all x, is read too often. On a GPU a subgroup takes `rows` rows of w and all rows of x;
// each load of x then serves all of its rows. Where that leaves too few subgroups to fill the
// device, they take fewer rows, then split their columns among several. On a processor (llvmpipe)
// an invocation takes a row of its own: x is the same for all lanes, and is loaded once.
#include "vulkan.h"

enum {
    PRODUCTS_MOST = 3,    // in one dispatch: what the push constants have room for
    SUBGROUPS = 4,        // of a workgroup
    WAVES_A_SIMD = 8,     // that hide latency, half with more to compute; a CU has two SIMDs
    UNITS_UNKNOWN = 32,   // compute units, when the driver does not tell
    ROW_INVOCATIONS = 32, // of a workgroup where each takes a row of its own
    NORM_FUSED_TOKENS =
        2, // more: normalising x again for every few rows costs more than a dispatch
};

struct shape { // the specialisation constants, in their order
    uint32_t workgroup, subgroup, split, rows, n, norm, glu, experts, tail, by_row;
};

struct task { // one dispatch
    enum dtype type;
    const struct matmul_x *x;
    const struct tensor *id; // experts
    uint32_t bases;          // matrices read together
    int64_t n_rows;          // of w, of all products and slots
    uint32_t n_slots;        // of experts; else 1
};

static uint32_t doubled_to(uint32_t n)
{
    uint32_t power = 1;
    while (power < n)
        power *= 2;
    return power;
}

// Columns of a super (layout.c).
static int64_t super_of(enum dtype type)
{
    switch (type) {
    case DTYPE_F32:
        return 4;
    case DTYPE_F16:
    case DTYPE_BF16:
        return 8;
    case DTYPE_Q8_0:
        return 64;
    default:
        return dtype_block_elements(type) == 256 ? 256 : 128;
    }
}

// Rows a subgroup takes: two at one token, so that a load of x serves two; up to four at more,
// where x is what most loads are for. rows * n sums stay in registers, and one lane each must hold
// them.
static void choose(struct shape *s, const struct features *features, const struct task *task)
{
    const int64_t n_in = task->x->x->n_cols, cells = (n_in + 31) / 32;
    const bool wave32 = features->subgroup_min <= 32 && features->subgroup_max >= 32;
    s->subgroup = wave32 ? 32 : features->subgroup_default;
    s->split = 1;
    if (features->software || s->n > s->subgroup) {
        s->by_row = 1;
        s->workgroup = ROW_INVOCATIONS;
        s->rows = 1;
        return;
    }
    s->workgroup = s->subgroup * SUBGROUPS;
    s->rows = (s->n >= 4 ? 4 : 2) / task->bases;
    const uint32_t units = features->n_compute_units ? features->n_compute_units : UNITS_UNKNOWN;
    const int64_t enough = (int64_t)units * 2 * WAVES_A_SIMD / (s->n >= 4 ? 2 : 1);
    while (s->rows > 1 &&
           (s->rows * s->n > s->subgroup || task->n_rows / (s->rows * task->bases) < enough))
        s->rows /= 2;
    while (s->split < SUBGROUPS && task->n_rows * s->split < enough &&
           cells >= (int64_t)s->subgroup * s->split * 2)
        s->split *= 2;
}

static struct shape shape_of(const struct vulkan *vk, const struct task *task, uint32_t n_tokens)
{
    struct shape s = {
        .n = doubled_to(n_tokens),
        .norm = task->x->norm != NULL,
        .experts = task->id != NULL,
    };
    choose(&s, vk_features(vk), task);
    const int64_t whole = s.by_row ? 4 * s.subgroup : 4, super = super_of(task->type);
    s.tail = task->x->x->n_cols % (super < whole ? whole : super) != 0;
    return s;
}

static uint32_t rows_of_group(const struct shape *s)
{
    return s->by_row ? s->workgroup : s->workgroup / s->subgroup / s->split * s->rows;
}

static void dispatch(struct vulkan *vk, const struct task *task, const struct shape *s,
                     const struct push_matvec *push, struct dispatch *d)
{
    char name[48];
    uint32_t groups = 0;
    const uint32_t per_group = rows_of_group(s);
    for (int i = 0; i < PRODUCTS_MOST; i++)
        groups += (push->n_out[i] + per_group - 1) / per_group;
    if (task->bases == 2)
        groups /= 2;
    const uint32_t spec[] = {s->workgroup, s->subgroup, s->split,   s->rows, s->n,
                             s->norm,      s->glu,      s->experts, s->tail, s->by_row};
    for (size_t i = 0; i < COUNT_OF(spec); i++)
        d->spec[i] = spec[i];
    d->n_spec = COUNT_OF(spec);
    d->kernel = vk_kernel_name(name, "matvec", task->type);
    d->subgroup = s->subgroup;
    d->push = push;
    d->push_bytes = sizeof(*push);
    d->groups[0] = groups;
    d->groups[1] = task->n_slots;
    d->groups[2] = 1;
    d->bytes = (double)task->n_rows * push->w_row;
    d->flops = 2.0 * (double)task->n_rows * push->n_in * s->n;
    vk_dispatch(vk, d);
}

// ---- op_matmul ----------------------------------------------------------------------------------

static void check_rows(const struct tensor *t)
{
    if (t->row_bytes != (size_t)t->n_cols * sizeof(float))
        die("matvec: rows of %zu bytes for %lld floats", t->row_bytes, (long long)t->n_cols);
}

// x normalised in scratch, where that is not done by the product itself.
static struct matmul_x prepared(struct vulkan *vk, const struct matmul_x *x,
                                struct push_matvec *push, struct range *read)
{
    check_rows(x->x);
    *read = vk_range(x->x);
    struct matmul_x y = *x;
    if (x->norm && (vk_features(vk)->software || x->x->n_rows > NORM_FUSED_TOKENS)) {
        *read = vk_normed(vk, x);
        y.norm = NULL;
    }
    push->x = read->address;
    push->norm = y.norm ? vk_range(y.norm).address : 0;
    push->n_in = (uint32_t)x->x->n_cols;
    push->n_tokens = (uint32_t)x->x->n_rows;
    push->x_share = 1;
    push->eps = x->eps;
    return y;
}

// Products of one format, at most PRODUCTS_MOST; a residual only where there is one product.
static void products_dispatch(struct vulkan *vk, const struct matmul *const *products, int n,
                              const struct matmul_x *x, struct push_matvec push, struct range read)
{
    struct task task = {.type = products[0]->w->type, .x = x, .bases = 1, .n_slots = 1};
    struct dispatch d = {.read = {read}};
    push.w_row = (uint32_t)products[0]->w->row_bytes;
    for (int i = 0; i < n; i++) {
        const struct matmul *p = products[i];
        check_rows(p->out);
        push.w[i] = vk_range(p->w).address;
        push.to[i] = vk_range(p->out).address;
        push.bias[i] = p->bias ? vk_range(p->bias).address : 0;
        push.n_out[i] = (uint32_t)p->w->n_rows;
        d.write[i] = vk_range(p->out);
        task.n_rows += p->w->n_rows;
        if (p->residual) {
            check_rows(p->residual);
            d.read[1] = vk_range(p->residual);
            push.residual = d.read[1].address;
        }
    }
    const struct shape s = shape_of(vk, &task, push.n_tokens);
    dispatch(vk, &task, &s, &push, &d);
}

void vk_matvec(struct vulkan *vk, const struct matmul *products, int n, const struct matmul_x *x)
{
    if (x->x->n_rows == 0)
        return;
    struct push_matvec push = {0};
    struct range read;
    const struct matmul_x y = prepared(vk, x, &push, &read);
    unsigned done = 0; // bits of products
    for (int i = 0; i < n; i++) {
        const struct matmul *same[PRODUCTS_MOST];
        int n_same = 0;
        for (int j = i; j < n && n_same < PRODUCTS_MOST; j++) {
            bool alone = products[i].residual || products[j].residual;
            if ((done >> j & 1) || products[j].w->type != products[i].w->type || (alone && j != i))
                continue;
            same[n_same++] = &products[j];
            done |= 1u << j;
        }
        if (n_same > 0)
            products_dispatch(vk, same, n_same, &y, push, read);
    }
}

// ---- op_matmul_glu ------------------------------------------------------------------------------

void vk_matvec_glu(struct vulkan *vk, const struct matmul_glu *glu, const struct matmul_x *x)
{
    if (x->x->n_rows == 0)
        return;
    if (glu->w_gate->type != glu->w_up->type) {
        const struct matmul products[] = {{.out = glu->out, .w = glu->w_gate},
                                          {.out = glu->scratch, .w = glu->w_up}};
        vk_matvec(vk, products, 2, x);
        vk_glu_of(vk, glu->out, glu->scratch, glu->activation);
        return;
    }
    struct push_matvec push = {0};
    struct dispatch d = {.write = {vk_range(glu->out)}};
    const struct matmul_x y = prepared(vk, x, &push, &d.read[0]);
    check_rows(glu->out);
    const struct tensor *w[] = {glu->w_gate, glu->w_up};
    for (int i = 0; i < 2; i++) {
        push.w[i] = vk_range(w[i]).address;
        push.n_out[i] = (uint32_t)w[i]->n_rows;
    }
    push.w_row = (uint32_t)glu->w_gate->row_bytes;
    push.to[0] = d.write[0].address;
    const struct task task = {.type = glu->w_gate->type,
                              .x = &y,
                              .bases = 2,
                              .n_slots = 1,
                              .n_rows = glu->w_gate->n_rows + glu->w_up->n_rows};
    struct shape s = shape_of(vk, &task, push.n_tokens);
    s.glu = 1 + (uint32_t)glu->activation;
    dispatch(vk, &task, &s, &push, &d);
}

// ---- op_matmul_experts --------------------------------------------------------------------------

void vk_matvec_experts(struct vulkan *vk, const struct matmul_experts *args)
{
    const struct matmul_x x = {.x = args->x};
    const struct task task = {.type = args->w->type,
                              .x = &x,
                              .id = args->id,
                              .bases = 1,
                              .n_rows = args->out->n_rows * args->out->n_cols,
                              .n_slots = (uint32_t)args->out->n_rows};
    struct dispatch d = {.read = {vk_range(args->x), vk_range(args->id)},
                         .write = {vk_range(args->out)}};
    check_rows(args->x);
    check_rows(args->out);
    const struct push_matvec push = {
        .x = d.read[0].address,
        .norm = d.read[1].address,
        .w = {vk_range(args->w).address},
        .to = {d.write[0].address},
        .bias = {args->bias ? vk_range(args->bias).address : 0},
        .n_out = {(uint32_t)args->out->n_cols},
        .n_in = (uint32_t)args->x->n_cols,
        .w_row = (uint32_t)args->w->row_bytes,
        .n_tokens = 1,
        .x_share = (uint32_t)args->x_share,
    };
    if (args->out->n_rows == 0)
        return;
    const struct shape s = shape_of(vk, &task, 1);
    dispatch(vk, &task, &s, &push, &d);
}
