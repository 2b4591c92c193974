// tasks.c - what the engine knows of its dispatches and buffers, told to the chip (watch.h). The
// link puts these functions around vk_dispatch() and memory_take(), and the device's table of calls
// gets its vkCmdDispatch from here: in front of each dispatch one of no workgroups says which it
// is, so that a recording that is submitted again is known too. Fresh memory is filled with
// NEVER_WRITTEN.
//
// CHIP_KERNEL=NAME=FILE takes a kernel's SPIR-V from a file: how a test plants a fault.
#include "watch.h"

#include "../../../engine/compute/vulkan/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TASKS_MOST = 1 << 17,
    BUFFERS_MOST = 1 << 15,
    BLOCKS_MOST = 4096,
    DEVICES_MOST = 8,
    WRITTEN_MOST = 1 << 20
};
static const uint64_t filled_most = (uint64_t)256 << 20;

void __real_vk_dispatch(struct vulkan *, const struct dispatch *);
void __wrap_vk_dispatch(struct vulkan *, const struct dispatch *);
enum status __real_memory_take(struct vulkan *, struct buffer **, enum memory_class, uint64_t,
                               const char *, struct err *);
enum status __wrap_memory_take(struct vulkan *, struct buffer **, enum memory_class, uint64_t,
                               const char *, struct err *);
void __real_memory_close(struct vulkan *);
void __wrap_memory_close(struct vulkan *);

// ---- dispatches ---------------------------------------------------------------------------------

static struct task tasks[TASKS_MOST]; // by id, in a circle; ids from 1 on
static uint32_t n_tasks;
static const struct dispatch *now; // that vk_dispatch records
static PFN_vkCmdDispatch real_dispatch;
static PFN_vkCreateShaderModule real_module;

const struct task *task_of(uint32_t id)
{
    const struct task *t = &tasks[id % TASKS_MOST];
    return id > 0 && t->id == id ? t : NULL;
}

static uint64_t written_at[WRITTEN_MOST]; // addresses, since the last submission
static uint32_t n_written;

static void note_written(uint64_t address)
{
    for (uint32_t i = n_written; i > 0 && i + 16 > n_written; i--)
        if (written_at[i - 1] == address)
            return;
    if (n_written == WRITTEN_MOST)
        die("more than %d places are written in one submission", WRITTEN_MOST);
    written_at[n_written++] = address;
}

static uint32_t task_add(const struct dispatch *d)
{
    const uint32_t id = ++n_tasks;
    struct task *t = &tasks[id % TASKS_MOST];
    t->id = id;
    snprintf(t->kernel, sizeof(t->kernel), "%s", d->kernel);
    t->spec[0] = 0;
    for (uint32_t i = 0, n = 0; i < d->n_spec && n < sizeof(t->spec); i++)
        n += (uint32_t)snprintf(t->spec + n, sizeof(t->spec) - n, "%s%u", i ? "." : "", d->spec[i]);
    for (int i = 0; i < SPANS_MOST; i++) {
        t->read[i] = (struct span){d->read[i].address, d->read[i].n_bytes};
        t->write[i] = (struct span){d->write[i].address, d->write[i].n_bytes};
        if (d->write[i].n_bytes)
            note_written(d->write[i].address);
    }
    return id;
}

static VKAPI_ATTR void VKAPI_CALL mark_and_dispatch(VkCommandBuffer commands, uint32_t x,
                                                    uint32_t y, uint32_t z)
{
    if (now)
        real_dispatch(commands, task_add(now), TASK_MARK, 0);
    real_dispatch(commands, x, y, z);
}

// ---- planted kernels ----------------------------------------------------------------------------

static uint32_t *file_words(const char *path, size_t *n_bytes)
{
    FILE *f = fopen(path, "rb");
    uint32_t *words = mem_alloc(1 << 20);
    *n_bytes = f ? fread(words, 1, 1 << 20, f) : 0;
    if (*n_bytes == 0 || *n_bytes == 1 << 20)
        die("%s: no kernel of a megabyte at most", path);
    fclose(f);
    return words;
}

static VKAPI_ATTR VkResult VKAPI_CALL planted_module(VkDevice device,
                                                     const VkShaderModuleCreateInfo *info,
                                                     const VkAllocationCallbacks *callbacks,
                                                     VkShaderModule *out)
{
    const char *planted = getenv("CHIP_KERNEL"), *path = strchr(planted, '=');
    VkShaderModuleCreateInfo changed = *info;
    if (!path)
        die("CHIP_KERNEL takes NAME=FILE, not \"%s\"", planted);
    for (uint32_t i = 0; i < kernel_count; i++)
        if (kernel_table[i].code == info->pCode &&
            strlen(kernel_table[i].name) == (size_t)(path - planted) &&
            strncmp(kernel_table[i].name, planted, (size_t)(path - planted)) == 0)
            changed.pCode = file_words(path + 1, &changed.codeSize);
    return real_module(device, &changed, callbacks, out);
}

// ---- devices and their memory -------------------------------------------------------------------

static struct vulkan *devices[DEVICES_MOST];
static int n_devices;
static struct known_buffer buffers[BUFFERS_MOST], before[BUFFERS_MOST];
static size_t n_before;
static struct span blocks[BLOCKS_MOST];

static void know(struct vulkan *vk)
{
    for (int i = 0; i < n_devices; i++)
        if (devices[i] == vk)
            return;
    if (n_devices == DEVICES_MOST)
        die("more than %d devices", DEVICES_MOST);
    devices[n_devices++] = vk;
    real_dispatch = vk->call.CmdDispatch, real_module = vk->call.CreateShaderModule;
    vk->call.CmdDispatch = mark_and_dispatch;
    if (getenv("CHIP_KERNEL"))
        vk->call.CreateShaderModule = planted_module;
}

void __wrap_memory_close(struct vulkan *vk)
{
    for (int i = 0; i < n_devices; i++)
        if (devices[i] == vk)
            devices[i] = devices[--n_devices];
    __real_memory_close(vk);
}

static int by_address(const void *a, const void *b)
{
    const uint64_t x = ((const struct span *)a)->address, y = ((const struct span *)b)->address;
    return (x > y) - (x < y);
}

// What some dispatch has written stays so; both tables rise.
static void find_written(size_t n)
{
    for (size_t i = 0, k = 0; i < n; i++) {
        while (k < n_before && before[k].span.address < buffers[i].span.address)
            k++;
        buffers[i].written =
            k < n_before && before[k].written && before[k].span.address == buffers[i].span.address;
    }
    for (uint32_t i = 0; i < n_written; i++) {
        size_t low = 0, high = n;
        while (low < high) {
            const size_t middle = (low + high) / 2;
            if (buffers[middle].span.address <= written_at[i])
                low = middle + 1;
            else
                high = middle;
        }
        if (low > 0)
            buffers[low - 1].written = true;
    }
    n_written = 0;
}

void tasks_before_submit(void)
{
    size_t n = 0, n_blocks = 0;
    memcpy(before, buffers, n_before * sizeof(*before));
    for (int d = 0; d < n_devices; d++) {
        for (struct buffer *b = devices[d]->memory.buffers; b && n < BUFFERS_MOST; b = b->next)
            buffers[n++] = (struct known_buffer){{b->address, b->n_bytes}, false};
        for (struct block *b = devices[d]->memory.blocks; b && n_blocks < BLOCKS_MOST; b = b->next)
            blocks[n_blocks++] = (struct span){b->address, b->n_bytes};
    }
    qsort(buffers, n, sizeof(*buffers), by_address);
    find_written(n);
    n_before = n;
    watch_buffers(buffers, n, blocks, n_blocks);
}

enum status __wrap_memory_take(struct vulkan *vk, struct buffer **out, enum memory_class class,
                               uint64_t n_bytes, const char *what, struct err *err)
{
    const enum status status = __real_memory_take(vk, out, class, n_bytes, what, err);
    for (size_t i = 0; status == OK && i < n_before; i++) // what lay there before is gone
        if (buffers[i].span.address == (*out)->address)
            buffers[i].written = false;
    if (status == OK && n_bytes <= filled_most && buffer_map(*out)) {
        uint8_t *map = buffer_map(*out);
        const uint32_t word = NEVER_WRITTEN;
        for (uint64_t i = 0; i + 4 <= n_bytes; i += 4)
            memcpy(map + i, &word, 4);
    }
    return status;
}

void __wrap_vk_dispatch(struct vulkan *vk, const struct dispatch *d)
{
    know(vk);
    now = d;
    __real_vk_dispatch(vk, d);
    now = NULL;
}
