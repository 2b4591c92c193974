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

#include <string.h>

enum {
    PRODUCTS_MOST = 3,    // in one dispatch: what the push constants have room for
    SUBGROUPS = 4,        // of a workgroup
    WAVES_A_SIMD = 8,     // that hide latency, half with more to compute; a CU has two SIMDs
    ROW_INVOCATIONS = 32, // of a workgroup where each takes a row of its own
    NORM_FUSED_TOKENS =
        2, // more: normalising x again for every few rows costs more than a dispatch
};

struct shape { // the specialisation constants, in their order; sum, table: of experts alone
    uint32_t workgroup, subgroup, split, rows, n, norm, glu, unary, tail, by_row, sum, table;
};

struct task { // one dispatch
    enum dtype type;
    int64_t n_in;
    bool norm, experts;
    uint32_t bases; // matrices read together
    int64_t n_rows; // of w, of all products and slots
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
    const int64_t cells = (task->n_in + 31) / 32;
    s->subgroup = vk_subgroup(features);
    s->split = 1;
    if (features->software || s->n > s->subgroup) {
        s->by_row = 1;
        s->workgroup = ROW_INVOCATIONS;
        s->rows = 1;
        return;
    }
    s->workgroup = s->subgroup * SUBGROUPS;
    s->rows = (s->n >= 4 ? 4 : 2) / task->bases;
    const int64_t enough = (int64_t)vk_units(features) * 2 * WAVES_A_SIMD / (s->n >= 4 ? 2 : 1);
    while (s->rows > 1 &&
           (s->rows * s->n > s->subgroup || task->n_rows / (s->rows * task->bases) < enough))
        s->rows /= 2;
    while (s->split < SUBGROUPS && task->n_rows * s->split < enough &&
           cells >= (int64_t)s->subgroup * s->split * 2)
        s->split *= 2;
}

static struct shape shape_of(const struct vulkan *vk, const struct task *task, uint32_t n_tokens)
{
    struct shape s = {.n = doubled_to(n_tokens), .norm = task->norm};
    choose(&s, vk_features(vk), task);
    const int64_t whole = s.by_row ? 4 * s.subgroup : 4, super = super_of(task->type);
    s.tail = task->n_in % (super < whole ? whole : super) != 0;
    return s;
}

static uint32_t rows_of_group(const struct shape *s)
{
    return s->by_row ? s->workgroup : s->workgroup / s->subgroup / s->split * s->rows;
}

// What d has besides its push constants and its grid.
static void dispatch(struct vulkan *vk, const struct task *task, const struct shape *s,
                     struct dispatch *d)
{
    char name[48];
    const uint32_t spec[] = {s->workgroup, s->subgroup, s->split, s->rows,   s->n,   s->norm,
                             s->glu,       s->unary,    s->tail,  s->by_row, s->sum, s->table};
    memcpy(d->spec, spec, sizeof(spec));
    d->n_spec = task->experts ? COUNT_OF(spec) : COUNT_OF(spec) - 2;
    d->kernel = vk_kernel_name(name, task->experts ? "matvec_experts" : "matvec", task->type);
    d->subgroup = s->subgroup;
    d->flops = 2.0 * (double)task->n_rows * (double)task->n_in * s->n;
    vk_dispatch(vk, d);
}

// ---- op_matmul ----------------------------------------------------------------------------------

static void check_rows(const struct tensor *t)
{
    if (t->row_bytes != (size_t)t->n_cols * sizeof(float))
        die("matvec: rows of %zu bytes for %lld floats", t->row_bytes, (long long)t->n_cols);
}

// x normalised in scratch, where that is not done by the product itself.
static bool prepare(struct vulkan *vk, const struct matmul_x *x, struct push_matvec *push,
                    struct range *read)
{
    bool norm = x->norm != NULL;
    check_rows(x->x);
    *read = vk_range(x->x);
    if (norm && (vk_features(vk)->software || x->x->n_rows > NORM_FUSED_TOKENS)) {
        *read = vk_normed(vk, x);
        norm = false;
    }
    push->x = read->address;
    push->norm = norm ? vk_range(x->norm).address : 0;
    push->n_in = (uint32_t)x->x->n_cols;
    push->n_tokens = (uint32_t)x->x->n_rows;
    push->eps = x->eps;
    push->scale = 1;
    return norm;
}

static void products_of(struct vulkan *vk, const struct task *task, const struct shape *s,
                        const struct push_matvec *push, struct dispatch *d)
{
    const uint32_t per_group = rows_of_group(s);
    for (int i = 0; i < (task->bases == 2 ? 1 : PRODUCTS_MOST); i++)
        d->groups[0] += (push->n_out[i] + per_group - 1) / per_group;
    d->groups[1] = d->groups[2] = 1;
    d->push = push;
    d->push_bytes = sizeof(*push);
    d->bytes = (double)task->n_rows * push->w_row;
    dispatch(vk, task, s, d);
}

// Products of one format, at most PRODUCTS_MOST; a residual or a scale only where there is one
// product. into: where the rows of one go that has no `out`, or NULL.
static void products_dispatch(struct vulkan *vk, const struct matmul *const *products, int n,
                              bool norm, struct push_matvec push, struct range read,
                              const struct range *into)
{
    struct task task = {.type = products[0]->w->type, .n_in = push.n_in, .norm = norm, .bases = 1};
    struct dispatch d = {.read = {read}};
    push.w_row = (uint32_t)products[0]->w->row_bytes;
    push.grid = vk_codebook(vk, task.type);
    for (int i = 0; i < n; i++) {
        const struct matmul *p = products[i];
        if (!into)
            check_rows(p->out);
        d.write[i] = into ? *into : vk_range(p->out);
        push.w[i] = vk_range(p->w).address;
        push.to[i] = d.write[i].address;
        push.bias[i] = p->bias ? vk_range(p->bias).address : 0;
        push.n_out[i] = (uint32_t)p->w->n_rows;
        push.scale = p->scale != 0 ? p->scale : 1;
        task.n_rows += p->w->n_rows;
        if (p->residual) {
            check_rows(p->residual);
            d.read[1] = vk_range(p->residual);
            push.residual = d.read[1].address;
        }
    }
    const struct shape s = shape_of(vk, &task, push.n_tokens);
    products_of(vk, &task, &s, &push, &d);
}

static bool stands_alone(const struct matmul *m)
{
    return m->residual || (m->scale != 0 && m->scale != 1);
}

void vk_matvec(struct vulkan *vk, const struct matmul *products, int n, const struct matmul_x *x)
{
    if (x->x->n_rows == 0)
        return;
    struct push_matvec push = {0};
    struct range read;
    const bool norm = prepare(vk, x, &push, &read);
    unsigned done = 0; // bits of products
    for (int i = 0; i < n; i++) {
        const struct matmul *same[PRODUCTS_MOST];
        int n_same = 0;
        for (int j = i; j < n && n_same < PRODUCTS_MOST; j++) {
            bool alone = stands_alone(&products[i]) || stands_alone(&products[j]);
            if ((done >> j & 1) || products[j].w->type != products[i].w->type || (alone && j != i))
                continue;
            same[n_same++] = &products[j];
            done |= 1u << j;
        }
        if (n_same > 0)
            products_dispatch(vk, same, n_same, norm, push, read, NULL);
    }
}

void vk_matvec_into(struct vulkan *vk, struct range into, const struct matmul *product,
                    const struct matmul_x *x)
{
    struct push_matvec push = {0};
    struct range read;
    const bool norm = prepare(vk, x, &push, &read);
    products_dispatch(vk, &product, 1, norm, push, read, &into);
}

// ---- op_matmul_glu ------------------------------------------------------------------------------

void vk_matvec_glu(struct vulkan *vk, const struct matmul_glu *glu, const struct matmul_x *x)
{
    const struct tensor *w[] = {glu->w_gate ? glu->w_gate : glu->w_up, glu->w_up};
    const struct tensor *bias[] = {glu->w_gate ? glu->bias_gate : glu->bias_up, glu->bias_up};
    if (x->x->n_rows == 0)
        return;
    if (w[0]->type != w[1]->type) {
        const struct matmul products[] = {
            {.out = glu->out, .w = glu->w_gate, .bias = glu->bias_gate},
            {.out = glu->scratch, .w = glu->w_up, .bias = glu->bias_up}};
        vk_matvec(vk, products, 2, x);
        vk_glu_of(vk, glu->out, glu->scratch, glu->activation);
        return;
    }
    struct push_matvec push = {0};
    struct dispatch d = {.write = {vk_range(glu->out)}};
    struct task task = {.type = w[0]->type, .bases = glu->w_gate ? 2 : 1};
    task.norm = prepare(vk, x, &push, &d.read[0]);
    task.n_in = push.n_in;
    check_rows(glu->out);
    for (uint32_t i = 0; i < task.bases; i++) {
        push.w[i] = vk_range(w[i]).address;
        push.bias[i] = bias[i] ? vk_range(bias[i]).address : 0;
        task.n_rows += w[i]->n_rows;
    }
    push.n_out[0] = (uint32_t)w[0]->n_rows;
    push.w_row = (uint32_t)w[0]->row_bytes;
    push.grid = vk_codebook(vk, task.type);
    push.to[0] = d.write[0].address;
    struct shape s = shape_of(vk, &task, push.n_tokens);
    s.glu = 1 + (uint32_t)glu->activation;
    s.unary = !glu->w_gate;
    products_of(vk, &task, &s, &push, &d);
}

// ---- experts ------------------------------------------------------------------------------------

static void experts_dispatch(struct vulkan *vk, struct task *task, const struct shape *s,
                             const struct push_matvec_experts *push, uint32_t n_y,
                             struct dispatch *d)
{
    const uint32_t per_group = rows_of_group(s);
    d->groups[0] = (push->n_out + per_group - 1) / per_group;
    d->groups[1] = n_y;
    d->groups[2] = 1;
    d->push = push;
    d->push_bytes = sizeof(*push);
    d->bytes = (double)task->n_rows * push->w_row;
    if (n_y > 0)
        dispatch(vk, task, s, d);
}

static void check_ids(const struct tensor *id)
{
    if (id->row_bytes != (size_t)id->n_cols * sizeof(int32_t))
        die("experts: ids or weights with gaps between rows");
}

void vk_matvec_experts(struct vulkan *vk, const struct matmul_experts *args)
{
    const int64_t n_out = args->out->n_cols;
    struct task task = {.type = args->w->type,
                        .n_in = args->x->n_cols,
                        .experts = true,
                        .bases = 1,
                        .n_rows = args->out->n_rows * n_out};
    struct dispatch d = {.read = {vk_range(args->x), vk_range(args->id)},
                         .write = {vk_range(args->out)}};
    const struct expert_place place = vk_experts(args->w, (uint32_t)n_out);
    const struct push_matvec_experts push = {
        .x = d.read[0].address,
        .id = d.read[1].address,
        .w = {place.address, place.address},
        .bias = {args->bias ? vk_range(args->bias).address : 0},
        .to = d.write[0].address,
        .x_row = (uint32_t)args->x->row_bytes,
        .to_row = (uint32_t)args->out->row_bytes,
        .w_row = (uint32_t)args->w->row_bytes,
        .grid = vk_codebook(vk, task.type),
        .bias_row = args->bias ? (uint32_t)args->bias->row_bytes : 0,
        .expert_rows = (uint32_t)n_out,
        .n_in = (uint32_t)args->x->n_cols,
        .n_out = (uint32_t)n_out,
        .n_used = (uint32_t)args->id->n_cols,
        .x_share = (uint32_t)args->x_share,
    };
    check_ids(args->id);
    struct shape s = shape_of(vk, &task, 1);
    s.table = place.table;
    experts_dispatch(vk, &task, &s, &push, (uint32_t)args->out->n_rows, &d);
}

// Gate and up of one format, or up alone: args->w_gate_up is not set.
void vk_matvec_experts_glu(struct vulkan *vk, const struct expert_matrices *m,
                           const struct experts_glu *args, const struct matmul_x *x)
{
    const int64_t n_ff = args->out->n_cols;
    struct task task = {.type = m->w[0]->type,
                        .n_in = x->x->n_cols,
                        .experts = true,
                        .norm = x->norm != NULL && !vk_features(vk)->software,
                        .bases = (uint32_t)m->n,
                        .n_rows = args->out->n_rows * n_ff * m->n};
    struct dispatch d = {
        .read = {x->norm && !task.norm ? vk_normed(vk, x) : vk_range(x->x), vk_range(args->id)},
        .write = {vk_range(args->out)}};
    struct push_matvec_experts push = {
        .x = d.read[0].address,
        .norm = task.norm ? vk_range(x->norm).address : 0,
        .id = d.read[1].address,
        .to = d.write[0].address,
        .x_row = x->norm && !task.norm ? (uint32_t)x->x->n_cols * 4 : (uint32_t)x->x->row_bytes,
        .to_row = (uint32_t)args->out->row_bytes,
        .w_row = (uint32_t)m->w[0]->row_bytes,
        .grid = vk_codebook(vk, task.type),
        .expert_rows = m->expert_rows,
        .n_in = (uint32_t)x->x->n_cols,
        .n_out = (uint32_t)n_ff,
        .n_used = (uint32_t)args->id->n_cols,
        .x_share = (uint32_t)args->id->n_cols,
        .eps = x->eps,
    };
    uint32_t table = 0;
    check_ids(args->id);
    for (int i = 0; i < m->n; i++) {
        const struct expert_place place = vk_experts(m->w[i], m->expert_rows);
        const uint64_t first = m->row0[i] * (uint64_t)push.w_row;
        if (i > 0 && place.table != table)
            die("experts: of gate and up one is split");
        table = place.table;
        push.w[i] = place.address + (table ? 0 : first);
        push.up_at = table ? (uint32_t)first : 0;
        push.bias[i] = m->bias[i] ? vk_range(m->bias[i]).address : 0;
        push.bias_row = m->bias[i] ? (uint32_t)m->bias[i]->row_bytes : push.bias_row;
    }
    if (m->bias[0] && m->n == 2 && m->bias[1] && m->bias[0]->row_bytes != m->bias[1]->row_bytes)
        die("experts: biases of gate and up whose rows are not equally far apart");
    struct shape s = shape_of(vk, &task, 1);
    s.glu = 1 + (uint32_t)args->activation;
    s.unary = m->n == 1;
    s.table = table;
    if (m->n == 1)
        push.w[1] = push.w[0]; // a table is read for both
    experts_dispatch(vk, &task, &s, &push, (uint32_t)args->out->n_rows, &d);
}

void vk_matvec_experts_down(struct vulkan *vk, const struct experts_down *args)
{
    const int64_t n_out = args->out->n_cols, n_used = args->id->n_cols;
    struct task task = {.type = args->w->type,
                        .n_in = args->y->n_cols,
                        .experts = true,
                        .bases = 1,
                        .n_rows = args->out->n_rows * n_out * n_used};
    struct dispatch d = {.read = {vk_range(args->y), vk_range(args->id), vk_range(args->weight)},
                         .write = {vk_range(args->out)}};
    if (args->residual)
        d.read[3] = vk_range(args->residual);
    const struct expert_place place = vk_experts(args->w, (uint32_t)n_out);
    const struct push_matvec_experts push = {
        .x = d.read[0].address,
        .id = d.read[1].address,
        .weight = d.read[2].address,
        .w = {place.address, place.address}, // a table is read for both
        .bias = {args->bias ? vk_range(args->bias).address : 0},
        .to = d.write[0].address,
        .residual = d.read[3].address,
        .x_row = (uint32_t)args->y->row_bytes,
        .to_row = (uint32_t)args->out->row_bytes,
        .residual_row = args->residual ? (uint32_t)args->residual->row_bytes : 0,
        .w_row = (uint32_t)args->w->row_bytes,
        .grid = vk_codebook(vk, task.type),
        .bias_row = args->bias ? (uint32_t)args->bias->row_bytes : 0,
        .expert_rows = (uint32_t)n_out,
        .n_in = (uint32_t)args->y->n_cols,
        .n_out = (uint32_t)n_out,
        .n_used = (uint32_t)n_used,
        .x_share = 1,
    };
    check_ids(args->id);
    check_ids(args->weight);
    struct shape s = shape_of(vk, &task, 1);
    s.sum = 1;
    s.table = place.table;
    // Slots are shared out, not columns.
    for (s.split = 1; !s.by_row && s.split < SUBGROUPS && s.split * 2 <= n_used;)
        s.split *= 2;
    experts_dispatch(vk, &task, &s, &push, (uint32_t)args->out->n_rows, &d);
}
