// far.c - rows that stand for many positions (kernels/compress.comp), and attention to them beside
// the last positions (kernels/attention_far.comp).
//
// What tokens leave is stored before rows are made of it: two dispatches. Attention is one, of a
// workgroup for a few heads of a token: a token sees a window and a bounded number of rows, so that
// nothing is split.
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

static struct push_attention_far far_push(const struct attention_far *a)
{
    return (struct push_attention_far){
        .to = vk_range(a->out).address,
        .q = vk_range(a->q).address,
        .near = vk_range(a->near).address,
        .far = vk_range(a->far).address,
        .near_pages = vk_range(a->near_pages).address,
        .far_pages = vk_range(a->far_pages).address,
        .table = vk_range(a->table).address,
        .count = vk_range(a->count).address,
        .sinks = a->sinks ? vk_range(a->sinks).address : 0,
        .chosen = a->chosen ? vk_range(a->chosen).address : 0,
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

void vk_attention_far(struct compute *compute, const struct attention_far *a)
{
    struct vulkan *vk = vk_of(compute);
    const struct features *features = vk_features(vk);
    const struct push_attention_far push = far_push(a);
    const uint32_t n = (uint32_t)a->q->n_rows, dim = (uint32_t)a->near->n_cols;
    uint32_t heads = HEADS_MOST;
    char kernel[48];
    while ((uint32_t)a->n_head % heads != 0)
        heads--;
    if (n == 0)
        return;
    if (n > ROWS_MOST || dim % 8 != 0)
        die("op_attention_far: %u rows at once of %u columns; at most %d, multiples of 8", n, dim,
            ROWS_MOST);
    const double rows =
        (double)n * (a->window + (double)a->far_pages->n_cols * PAGE_ROWS / a->ratio);
    vk_dispatch(
        vk, &(struct dispatch){
                .kernel = vk_kernel_name(kernel, "attention_far", a->near->type),
                .spec = {features->software ? features->subgroup_default : LANES, dim, heads},
                .n_spec = 3,
                .push = &push,
                .push_bytes = sizeof(push),
                .groups = {(uint32_t)a->n_head / heads, n, 1},
                .read = {vk_range(a->q), vk_range(a->near), vk_range(a->far),
                         vk_range(a->near_pages), vk_range(a->far_pages), vk_range(a->table),
                         vk_range(a->count), a->chosen ? vk_range(a->chosen) : (struct range){0}},
                .write = {vk_range(a->out)},
                .bytes = rows * dim * 2,
                .flops = 4 * rows * dim * a->n_head,
            });
}
