// bandwidth.c - how fast the device copies and reads its memory: the ceiling that products are
// measured against.
//
// Two buffers far larger than any last-level cache, several passes in one submission so that its
// cost vanishes, the best of a few submissions. The sums that reading leaves are checked: a device
// that skips the work would look fast.
#include "vulkan.h"

#include <stdlib.h>

enum {
    GPU_BYTES = 256 << 20,
    SOFTWARE_BYTES = 64 << 20,
    PASSES = 6, // in a submission; of a software device 1
    REPEATS = 3,
    GROUP_BYTES = 2048 * 16, // what a workgroup of copy.comp takes
};

struct measure {
    struct compute *compute;
    struct vulkan *vk;
    struct tensor from, to;
    int n_passes;
};

static enum status pass(struct measure *m, bool read, double *seconds, struct err *err)
{
    const struct range from = vk_range(&m->from), to = vk_range(&m->to);
    const struct push_copy push = {to.address, from.address, (uint32_t)(from.n_bytes / 16)};
    const uint64_t from_us = clock_us();
    (void)compute_begin(m->compute, 0);
    for (int i = 0; i < m->n_passes; i++)
        vk_dispatch(m->vk, &(struct dispatch){
                               .kernel = "copy",
                               .spec = {read},
                               .n_spec = 1,
                               .subgroup = vk_features(m->vk)->subgroup_default,
                               .push = &push,
                               .push_bytes = sizeof(push),
                               .groups = {(uint32_t)(from.n_bytes / GROUP_BYTES), 1, 1},
                               .read = {from},
                               .write = {to},
                               .bytes = (double)from.n_bytes * (read ? 1 : 2),
                           });
    enum status status = compute_finish(m->compute, err);
    *seconds = (double)(clock_us() - from_us) * 1e-6;
    return status;
}

// The best of a few, after one that compiles.
static enum status best(struct measure *m, bool read, double *bytes_per_s, struct err *err)
{
    double seconds, least = 1e9;
    enum status status = pass(m, read, &seconds, err);
    for (int i = 0; i < REPEATS && status == OK; i++) {
        status = pass(m, read, &seconds, err);
        least = seconds < least ? seconds : least;
    }
    *bytes_per_s = (double)vk_range(&m->from).n_bytes * (read ? 1 : 2) * m->n_passes /
                   (least > 0 ? least : 1e-9);
    return status;
}

// Every subgroup's sum of words that are all 1.
static enum status check(struct measure *m, struct err *err)
{
    const uint32_t a_subgroup = 8 * 4 * vk_features(m->vk)->subgroup_default;
    const size_t n = vk_range(&m->from).n_bytes / 4 / a_subgroup;
    uint32_t *sums = mem_array(n, sizeof(*sums));
    size_t wrong = 0;
    tensor_read(m->compute, sums, &m->to, n * sizeof(*sums));
    for (size_t i = 0; i < n; i++)
        wrong += sums[i] != a_subgroup;
    free(sums);
    if (compute_check(m->compute, err) != OK)
        return DEVICE_ERROR;
    return wrong ? err_set(err, DEVICE_ERROR, "%zu of %zu sums that the device read are wrong",
                           wrong, n)
                 : OK;
}

static enum status fill(struct measure *m, uint64_t n_bytes, struct err *err)
{
    enum { COLS = 4096, ROWS = 256 }; // written at a time: 4 MiB
    const int64_t n_rows = (int64_t)(n_bytes / 4 / COLS);
    enum status status = compute_tensor(m->compute, &m->from, DTYPE_F32, n_rows, COLS, err);
    if (status == OK)
        status = compute_tensor(m->compute, &m->to, DTYPE_F32, n_rows, COLS, err);
    if (status != OK)
        return status;
    uint32_t *ones = mem_array(ROWS * COLS, sizeof(*ones));
    for (size_t i = 0; i < ROWS * COLS; i++)
        ones[i] = 1;
    for (int64_t row = 0; row < n_rows; row += ROWS) {
        struct tensor rows = tensor_rows(&m->from, row, ROWS);
        tensor_write(m->compute, &rows, ones, ROWS * COLS * sizeof(*ones));
    }
    free(ones);
    return OK;
}

enum status vk_bandwidth(struct compute *compute, double *copy_bytes_per_s,
                         double *read_bytes_per_s, struct err *err)
{
    struct measure m = {.compute = compute, .vk = vk_of(compute)};
    bool software = vk_features(m.vk)->software;
    m.n_passes = software ? 1 : PASSES;
    enum status status = fill(&m, software ? SOFTWARE_BYTES : GPU_BYTES, err);
    if (status == OK)
        status = best(&m, false, copy_bytes_per_s, err);
    if (status == OK)
        status = best(&m, true, read_bytes_per_s, err);
    if (status == OK)
        status = check(&m, err);
    if (m.to.buffer)
        tensor_free(compute, &m.to);
    if (m.from.buffer)
        tensor_free(compute, &m.from);
    return status;
}
