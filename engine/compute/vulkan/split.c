// split.c - weights larger than one buffer (4 GiB on RADV): split by rows among several.
//
// Such weights have a buffer of their own kind: `parts` are the buffers of its rows, part_rows in
// each, and its own memory is a table of addresses, one for every whole_rows rows: the experts of a
// layer, none of which lies across a border. Kernels of experts look their expert up in it (TABLE);
// all others are dispatched once a part, on views of the parts (vk_part).
#include "core.h"

#include <stdlib.h>

uint64_t split_most(const struct vulkan *vk)
{
    const uint64_t most = vk->chosen.limits.largest_buffer_bytes - 256; // memory.c aligns to it
    return vk->weight_buffer_bytes && vk->weight_buffer_bytes < most ? vk->weight_buffer_bytes
                                                                     : most;
}

static void write_table(struct vulkan *vk, struct buffer *table, const struct tensor *shape)
{
    const int64_t n = shape->n_rows / table->whole_rows,
                  per_part = table->part_rows / table->whole_rows;
    uint64_t *address = mem_array((size_t)n, sizeof(*address));
    for (int64_t i = 0; i < n; i++)
        address[i] = table->parts[i / per_part]->address +
                     (uint64_t)(i % per_part * table->whole_rows) * shape->row_bytes;
    const struct tensor to = {
        .buffer = table, .row_bytes = 8, .n_rows = n, .n_cols = 2, .type = DTYPE_I32};
    vk_write(&vk->compute, &to, address, (size_t)n * sizeof(*address));
    free(address);
}

enum status split_open(struct vulkan *vk, struct buffer **out, const struct tensor *shape,
                       int64_t whole_rows, const char *what, struct err *err)
{
    int64_t part_rows = (int64_t)(split_most(vk) / shape->row_bytes);
    if (whole_rows > 1)
        part_rows -= part_rows % whole_rows;
    if (part_rows < 1)
        return err_set(err, NO_ROOM,
                       "%s: %lld rows of %zu bytes are wanted in one piece; one buffer of %.60s "
                       "holds at most %llu MiB",
                       what, (long long)whole_rows, shape->row_bytes, vk->chosen.said.name,
                       (unsigned long long)(split_most(vk) >> 20));
    const int64_t whole = whole_rows > 1 ? whole_rows : part_rows,
                  n_parts = (shape->n_rows + part_rows - 1) / part_rows;
    struct buffer *table;
    enum status status =
        memory_take(vk, &table, MEMORY_MAIN, 8 * (uint64_t)((shape->n_rows + whole - 1) / whole),
                    "a table of parts", err);
    if (status != OK)
        return status;
    table->parts = mem_array((size_t)n_parts, sizeof(*table->parts));
    table->part_rows = part_rows;
    table->whole_rows = whole;
    for (int64_t i = 0; i < n_parts && status == OK; i++) {
        const int64_t left = shape->n_rows - i * part_rows, n = left < part_rows ? left : part_rows;
        status = memory_take(vk, &table->parts[i], MEMORY_MAIN, (uint64_t)n * shape->row_bytes,
                             what, err);
        table->n_parts += status == OK;
    }
    if (status != OK) {
        split_close(vk, table);
        memory_release(vk, table);
        return status;
    }
    write_table(vk, table, shape);
    *out = table;
    return OK;
}

void split_close(struct vulkan *vk, struct buffer *table)
{
    for (uint32_t i = 0; i < table->n_parts; i++)
        memory_release(vk, table->parts[i]);
    free(table->parts);
    table->parts = NULL;
    table->n_parts = 0;
}

int64_t vk_n_parts(const struct tensor *weight)
{
    return weight->buffer->parts ? weight->buffer->n_parts : 1;
}

struct tensor vk_part(const struct tensor *weight, int64_t i, int64_t *row0)
{
    const struct buffer *table = weight->buffer;
    struct tensor part = *weight;
    *row0 = 0;
    if (!table->parts)
        return part;
    if (weight->offset != 0)
        die("a view of weights that are split");
    recorder_note(table->block->vk, weight->buffer);
    *row0 = i * table->part_rows;
    part.buffer = table->parts[i];
    part.n_rows =
        weight->n_rows - *row0 < table->part_rows ? weight->n_rows - *row0 : table->part_rows;
    return part;
}

struct expert_place vk_experts(const struct tensor *weight, uint32_t rows)
{
    struct buffer *table = weight->buffer;
    if (!table->parts)
        return (struct expert_place){vk_range(weight).address, 0};
    if (table->whole_rows != (int64_t)rows)
        die("weights split by %lld rows for experts of %u", (long long)table->whole_rows, rows);
    recorder_note(table->block->vk, table);
    return (struct expert_place){table->address, 1};
}
