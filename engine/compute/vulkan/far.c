// far.c - rows that stand for many positions (kernels/compress.comp), and attention to them beside
// the last positions (kernels/attention_far.comp).
//
// What tokens leave is stored before rows are made of it: two dispatches. Attention takes a
// workgroup for a few heads of a token, and as many dispatches as its work asks for: what a token
// sees grows with the text where its rows are not chosen. A token's own rows are not split.
#include "vulkan.h"

enum { LANES = 64, ROWS_MOST = 65535, HEADS_MOST = 4 };

static struct push_compress compress_push(const struct compress *a)
{
    return (struct push_compress){
        .to = vk_range(a->out).address,
        .x = vk_range(a->x).address,
        .score = vk_range(a->score).address,
        .raw_x = vk_range(a->raw_x).address,
        .raw_score = vk_range(a->raw_score).address,
        .place = vk_range(a->place).address,
        .pages = vk_range(a->pages).address,
        .table = vk_range(a->table).address,
        .pos = vk_range(a->pos).address,
        .row = vk_range(a->row).address,
        .to_row = (uint32_t)a->out->row_bytes,
        .x_row = (uint32_t)a->x->row_bytes,
        .score_row = (uint32_t)a->score->row_bytes,
        .raw_x_row = (uint32_t)a->raw_x->row_bytes,
        .raw_score_row = (uint32_t)a->raw_score->row_bytes,
        .place_row = (uint32_t)a->place->row_bytes,
        .pages_row = (uint32_t)a->pages->row_bytes,
        .n_rows = (uint32_t)a->raw_x->n_rows,
        .dim = (uint32_t)a->out->n_cols,
        .ratio = (uint32_t)a->ratio,
        .overlap = a->overlap,
    };
}

void vk_compress(struct compute *compute, const struct compress *a)
{
    struct vulkan *vk = vk_of(compute);
    const struct push_compress push = compress_push(a);
    const uint32_t n = (uint32_t)a->x->n_rows, wide = (uint32_t)a->x->n_cols;
    if (n == 0)
        return;
    if (n > ROWS_MOST)
        die("op_compress: %u rows at once, at most %d", n, ROWS_MOST);
    vk_dispatch(
        vk, &(struct dispatch){
                .kernel = "compress",
                .spec = {0},
                .n_spec = 1,
                .push = &push,
                .push_bytes = sizeof(push),
                .groups = {(wide + LANES - 1) / LANES, n, 1},
                .read = {vk_range(a->x), vk_range(a->score), vk_range(a->pos), vk_range(a->row)},
                .write = {vk_range(a->raw_x), vk_range(a->raw_score)},
                .bytes = 12.0 * n * wide,
                .flops = 20.0 * n * wide,
            });
    vk_dispatch(vk, &(struct dispatch){
                        .kernel = "compress",
                        .spec = {1},
                        .n_spec = 1,
                        .push = &push,
                        .push_bytes = sizeof(push),
                        .groups = {(push.dim + LANES - 1) / LANES, n, 1},
                        .read = {vk_range(a->raw_x), vk_range(a->raw_score), vk_range(a->place),
                                 vk_range(a->pages), vk_range(a->table), vk_range(a->pos)},
                        .write = {vk_range(a->out)},
                        .bytes = 10.0 * n * wide,
                        .flops = 40.0 * n * wide,
                    });
}

// Token `from` is the kernel's first.
static struct push_attention_far far_push(const struct attention_far *a, uint64_t from)
{
    return (struct push_attention_far){
        .to = vk_range(a->out).address + from * a->out->row_bytes,
        .q = vk_range(a->q).address + from * a->q->row_bytes,
        .near = vk_range(a->near).address,
        .far = vk_range(a->far).address,
        .near_pages = vk_range(a->near_pages).address,
        .far_pages = vk_range(a->far_pages).address,
        .table = vk_range(a->table).address + from * sizeof(int32_t),
        .count = vk_range(a->count).address + from * sizeof(int32_t),
        .sinks = a->sinks ? vk_range(a->sinks).address : 0,
        .chosen = a->chosen ? vk_range(a->chosen).address + from * a->chosen->row_bytes : 0,
        .to_row = (uint32_t)a->out->row_bytes,
        .q_row = (uint32_t)a->q->row_bytes,
        .near_row = (uint32_t)a->near->row_bytes,
        .far_row = (uint32_t)a->far->row_bytes,
        .near_pages_row = (uint32_t)a->near_pages->row_bytes,
        .far_pages_row = (uint32_t)a->far_pages->row_bytes,
        .chosen_row = a->chosen ? (uint32_t)a->chosen->row_bytes : 0,
        .window = (uint32_t)a->window,
        .ratio = (uint32_t)a->ratio,
        .scale = a->scale,
    };
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// Rows that one token sees at most: by the counts as they stand now, of many tokens by what their
// key allows; where the host cannot read them, by what there is room for.
static int64_t rows_seen(const struct attention_far *a)
{
    const int32_t *count = vk_ints(a->count);
    const int64_t n = a->q->n_rows, room = a->far_pages->n_cols * PAGE_ROWS;
    int64_t most = count ? 1 : room;
    for (int64_t t = 0; count && t < n; t++)
        most = count[t] > most ? count[t] : most;
    most = least(n > MATVEC_MOST ? attention_rows(most) : most, room);
    const int64_t far = most / a->ratio;
    return least(a->window, most) + (a->chosen ? least(a->n_most, far) : far);
}

static struct range rows_of(const struct tensor *tensor, int64_t from, int64_t n)
{
    const struct tensor view = tensor_rows(tensor, from, n);
    return vk_range(&view);
}

void vk_attention_far(struct compute *compute, const struct attention_far *a)
{
    struct vulkan *vk = vk_of(compute);
    const struct features *features = vk_features(vk);
    const uint32_t dim = (uint32_t)a->near->n_cols;
    const int64_t n_tokens = a->q->n_rows;
    uint32_t heads = HEADS_MOST;
    char kernel[48];
    while ((uint32_t)a->n_head % heads != 0)
        heads--;
    if (dim % 8 != 0)
        die("op_attention_far: %u columns; a multiple of 8 is expected", dim);
    const double rows = (double)rows_seen(a), flops = 4 * rows * dim * a->n_head,
                 fit = DISPATCH_FLOPS / flops;
    const int64_t step = fit >= ROWS_MOST ? ROWS_MOST : fit > 1 ? (int64_t)fit : 1;
    for (int64_t from = 0; from < n_tokens; from += step) {
        const int64_t n = least(step, n_tokens - from);
        const struct push_attention_far push = far_push(a, (uint64_t)from);
        vk_dispatch(
            vk,
            &(struct dispatch){
                .kernel = vk_kernel_name(kernel, "attention_far", a->near->type),
                .spec = {features->software ? features->subgroup_default : LANES, dim, heads},
                .n_spec = 3,
                .push = &push,
                .push_bytes = sizeof(push),
                .groups = {(uint32_t)a->n_head / heads, (uint32_t)n, 1},
                .read = {rows_of(a->q, from, n), vk_range(a->near), vk_range(a->far),
                         vk_range(a->near_pages), vk_range(a->far_pages), vk_range(a->table),
                         vk_range(a->count), a->chosen ? vk_range(a->chosen) : (struct range){0}},
                .write = {rows_of(a->out, from, n)},
                .bytes = (double)n * rows * dim * 2,
                .flops = (double)n * flops,
            });
    }
}
