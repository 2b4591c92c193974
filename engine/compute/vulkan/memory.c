// memory.c - heaps, the blocks taken from them, the tensors laid into these, and how numbers get in
// and out.
//
// A block is one allocation with one buffer over it, mapped for good where the host can see it;
// tensors are pieces of blocks, 256-aligned, never moved. Blocks grow with what is taken (16 to 256
// MiB; a larger tensor has one of its own) and go back when empty. Memory types are tried in an
// order: on unified memory the device-local ones the host sees, then the rest of the same RAM; on a
// GPU with memory of its own that alone, mapped if all of it can be, else filled through a staging
// buffer. A type whose heap is over its budget is passed over: no driver is trusted to refuse.
//
// Reading what a GPU wrote from uncached memory is slow (100 MB/s). A tensor that the host has read
// once therefore gets a mirror in cached memory, and each recording that writes it ends with a copy
// (record.c); the first reading drops all kept recordings for that reason.
#include "core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ALIGN = 256,
    BLOCK_LEAST = 16 << 20,
    BLOCK_MOST = 256 << 20,
    CLEAR_BY_HOST = 1 << 20, // bytes; more are cleared by the device
    DRIVER_BYTES = 4 << 20   // a command buffer takes 100 KiB, the first submission 3 MiB
};

static uint64_t round_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

// ---- what there is ------------------------------------------------------------------------------

// What other programs have left of the RAM behind a unified heap: the kernel's estimate, and the
// part that the firmware cut off for the GPU.
static uint64_t unified_free(const struct candidate *c)
{
    uint64_t free_bytes = file_number("/proc/meminfo", "MemAvailable:", 10) * 1024;
    char path[128];
    if (c->drm) {
        uint64_t carved, used;
        snprintf(path, sizeof(path), "/sys/dev/char/226:%u/device/mem_info_vram_total",
                 c->drm_minor);
        carved = file_number(path, NULL, 10);
        snprintf(path, sizeof(path), "/sys/dev/char/226:%u/device/mem_info_vram_used",
                 c->drm_minor);
        used = file_number(path, NULL, 10);
        free_bytes += carved > used ? carved - used : 0;
    }
    return free_bytes;
}

static void read_heaps(const struct instance *instance, const struct candidate *c,
                       VkPhysicalDeviceMemoryProperties *heaps,
                       VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget)
{
    *budget = (VkPhysicalDeviceMemoryBudgetPropertiesEXT){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 properties = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
        .pNext = c->memory_budget ? budget : NULL,
    };
    instance->call.GetPhysicalDeviceMemoryProperties2(c->physical, &properties);
    *heaps = properties.memoryProperties;
    for (uint32_t i = 0; i < heaps->memoryHeapCount && !c->memory_budget; i++)
        budget->heapBudget[i] = heaps->memoryHeaps[i].size;
}

void candidate_memory(const struct instance *instance, const struct candidate *c, uint64_t *total,
                      uint64_t *usable)
{
    VkPhysicalDeviceMemoryProperties heaps;
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget;
    read_heaps(instance, c, &heaps, &budget);
    *total = *usable = 0;
    for (uint32_t i = 0; i < heaps.memoryHeapCount; i++) {
        bool local = heaps.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT;
        if (!local && !c->unified)
            continue; // the machine's RAM behind a bus
        *total += heaps.memoryHeaps[i].size;
        if (budget.heapBudget[i] > budget.heapUsage[i])
            *usable += budget.heapBudget[i] - budget.heapUsage[i];
    }
    uint64_t free_bytes = c->unified ? unified_free(c) : 0;
    if (free_bytes > 0 && *usable > free_bytes)
        *usable = free_bytes;
}

// ---- memory types -------------------------------------------------------------------------------

static void try_types(struct vulkan *vk, enum memory_class class, VkMemoryPropertyFlags with,
                      VkMemoryPropertyFlags without)
{
    struct memory *memory = &vk->memory;
    const VkMemoryPropertyFlags odd = VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT |
                                      VK_MEMORY_PROPERTY_PROTECTED_BIT |
                                      VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD;
    uint32_t *types = memory->types[class], *n = &memory->n_types[class];
    for (uint32_t i = 0; i < memory->properties.memoryTypeCount; i++) {
        VkMemoryPropertyFlags flags = memory->properties.memoryTypes[i].propertyFlags;
        bool known = false;
        for (uint32_t k = 0; k < *n; k++)
            known |= types[k] == i;
        bool fits = memory->buffer_types & 1u << i && (flags & with) == with;
        if (fits && !(flags & (without | odd)) && !known && *n < TYPES_MOST)
            types[(*n)++] = i;
    }
}

static uint64_t heap_of(const struct memory *memory, uint32_t type)
{
    return memory->properties.memoryTypes[type].heapIndex;
}

static VkBufferCreateInfo buffer_info(uint64_t n_bytes)
{
    return (VkBufferCreateInfo){
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = n_bytes,
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                 VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT,
    };
}

// The types that our buffers may lie in, a bit each.
static uint32_t types_for_buffers(struct vulkan *vk)
{
    const VkBufferCreateInfo buffer = buffer_info(BLOCK_LEAST);
    const VkDeviceBufferMemoryRequirements info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_BUFFER_MEMORY_REQUIREMENTS, .pCreateInfo = &buffer};
    VkMemoryRequirements2 wants = {.sType = VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
    vk->call.GetDeviceBufferMemoryRequirements(vk->device, &info, &wants);
    return wants.memoryRequirements.memoryTypeBits;
}

// The host sees (nearly) all of the device's own memory, not a window of 256 MiB.
static bool all_mapped(const struct memory *memory)
{
    const VkMemoryPropertyFlags mapped = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT |
                                         VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                         VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    uint64_t largest = 0, seen = 0;
    for (uint32_t i = 0; i < memory->properties.memoryTypeCount; i++) {
        VkMemoryPropertyFlags flags = memory->properties.memoryTypes[i].propertyFlags;
        uint64_t size = memory->properties.memoryHeaps[heap_of(memory, i)].size;
        if ((flags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) && size > largest)
            largest = size;
        if ((flags & mapped) == mapped && size > seen)
            seen = size;
    }
    return seen >= largest - largest / 8;
}

enum status memory_open(struct vulkan *vk, struct err *err)
{
    const VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
                                seen = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                       VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
                                cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    struct memory *memory = &vk->memory;
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget;
    read_heaps(&vk->instance, &vk->chosen, &memory->properties, &budget);
    memory->buffer_types = types_for_buffers(vk);
    if (vk->chosen.unified || all_mapped(memory)) {
        try_types(vk, MEMORY_MAIN, local | seen, cached);
        try_types(vk, MEMORY_MAIN, local | seen, 0);
    }
    if (vk->chosen.unified) {
        try_types(vk, MEMORY_MAIN, seen, cached);
        try_types(vk, MEMORY_MAIN, seen, 0);
    } else {
        try_types(vk, MEMORY_MAIN, local, 0);
    }
    try_types(vk, MEMORY_INPUT, local | seen, 0);
    try_types(vk, MEMORY_INPUT, seen, 0);
    try_types(vk, MEMORY_RESULT, seen | cached, 0);
    try_types(vk, MEMORY_RESULT, seen, 0);
    for (int i = 0; i < MEMORY_CLASSES; i++)
        if (memory->n_types[i] == 0)
            return err_set(err, UNSUPPORTED, "%s has no memory that both it and the host can use",
                           vk->chosen.said.name);
    return OK;
}

// ---- blocks -------------------------------------------------------------------------------------

static void told_again(struct vulkan *vk) // what is free has changed
{
    struct compute_info *info = &vk->compute.info;
    candidate_memory(&vk->instance, &vk->chosen, &info->memory_bytes, &info->memory_usable_bytes);
}

static void block_close(struct vulkan *vk, struct block *block)
{
    vk->memory.heap_used[heap_of(&vk->memory, block->type)] -= block->memory ? block->n_bytes : 0;
    if (block->buffer)
        vk->call.DestroyBuffer(vk->device, block->buffer, NULL);
    if (block->memory)
        vk->call.FreeMemory(vk->device, block->memory, NULL);
    free(block->holes);
    free(block);
}

static VkResult block_fill(struct vulkan *vk, struct block *block)
{
    const VkBufferCreateInfo buffer = buffer_info(block->n_bytes);
    const VkMemoryAllocateFlagsInfo flags = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
        .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT,
    };
    VkMemoryRequirements wants;
    VkResult result = vk->call.CreateBuffer(vk->device, &buffer, NULL, &block->buffer);
    if (result != VK_SUCCESS)
        return result;
    vk->call.GetBufferMemoryRequirements(vk->device, block->buffer, &wants);
    if (!(wants.memoryTypeBits & 1u << block->type))
        return VK_ERROR_FEATURE_NOT_PRESENT;
    const VkMemoryAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .pNext = &flags,
        .allocationSize = wants.size,
        .memoryTypeIndex = block->type,
    };
    result = vk->call.AllocateMemory(vk->device, &info, NULL, &block->memory);
    if (result != VK_SUCCESS)
        return result;
    vk->memory.heap_used[heap_of(&vk->memory, block->type)] += block->n_bytes;
    result = vk->call.BindBufferMemory(vk->device, block->buffer, block->memory, 0);
    bool seen = vk->memory.properties.memoryTypes[block->type].propertyFlags &
                VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT;
    void *map = NULL;
    if (result == VK_SUCCESS && seen)
        result = vk->call.MapMemory(vk->device, block->memory, 0, VK_WHOLE_SIZE, 0, &map);
    block->map = map;
    const VkBufferDeviceAddressInfo address = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, .buffer = block->buffer};
    if (result == VK_SUCCESS)
        block->address = vk->call.GetBufferDeviceAddress(vk->device, &address);
    return result;
}

static struct block *block_open(struct vulkan *vk, uint32_t type, uint64_t n_bytes)
{
    struct block *block = mem_alloc(sizeof(*block));
    block->vk = vk;
    block->type = type;
    block->n_bytes = n_bytes;
    if (block_fill(vk, block) != VK_SUCCESS) {
        block_close(vk, block);
        return NULL;
    }
    block->holes = mem_array(4, sizeof(*block->holes));
    block->n_holes_allocated = 4;
    block->holes[block->n_holes++] = (struct hole){0, n_bytes};
    block->next = vk->memory.blocks;
    vk->memory.blocks = block;
    told_again(vk);
    return block;
}

static bool hole_take(struct block *block, uint64_t n_bytes, uint64_t *at)
{
    for (uint32_t i = 0; i < block->n_holes; i++) {
        struct hole *hole = &block->holes[i];
        if (hole->n_bytes < n_bytes)
            continue;
        *at = hole->at;
        hole->at += n_bytes;
        hole->n_bytes -= n_bytes;
        if (hole->n_bytes == 0) {
            memmove(hole, hole + 1, (block->n_holes - i - 1) * sizeof(*hole));
            block->n_holes--;
        }
        return true;
    }
    return false;
}

// Hole i takes in the one after it when they touch.
static void hole_join(struct block *block, uint32_t i)
{
    struct hole *a = &block->holes[i];
    if (i + 1 >= block->n_holes || a->at + a->n_bytes != a[1].at)
        return;
    a->n_bytes += a[1].n_bytes;
    memmove(a + 1, a + 2, (block->n_holes - i - 2) * sizeof(*a));
    block->n_holes--;
}

static void hole_give(struct block *block, uint64_t at, uint64_t n_bytes)
{
    uint32_t i = 0;
    if (block->n_holes == block->n_holes_allocated) {
        block->n_holes_allocated *= 2;
        block->holes = mem_resize(block->holes, block->n_holes_allocated * sizeof(*block->holes));
    }
    while (i < block->n_holes && block->holes[i].at < at)
        i++;
    memmove(&block->holes[i + 1], &block->holes[i], (block->n_holes - i) * sizeof(*block->holes));
    block->holes[i] = (struct hole){at, n_bytes};
    block->n_holes++;
    hole_join(block, i);
    if (i > 0)
        hole_join(block, i - 1);
}

// ---- pieces -------------------------------------------------------------------------------------

// Room in the heap of `type` for n_bytes more, by the driver's budget and by our own count, and for
// `rest` beside them.
static bool within_budget(struct vulkan *vk, uint32_t type, uint64_t n_bytes, uint64_t rest)
{
    VkPhysicalDeviceMemoryProperties heaps;
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget;
    uint64_t heap = heap_of(&vk->memory, type);
    read_heaps(&vk->instance, &vk->chosen, &heaps, &budget);
    uint64_t used = vk->memory.heap_used[heap];
    if (vk->chosen.memory_budget && budget.heapUsage[heap] > used)
        used = budget.heapUsage[heap];
    return used + n_bytes + rest <= budget.heapBudget[heap];
}

bool memory_for_driver(struct vulkan *vk)
{
    for (int of = 0; of < MEMORY_CLASSES; of++)
        for (uint32_t i = 0; i < vk->memory.n_types[of]; i++)
            if (within_budget(vk, vk->memory.types[of][i], DRIVER_BYTES, 0))
                return true;
    return false;
}

static uint64_t block_size(const struct vulkan *vk, uint64_t n_bytes)
{
    uint64_t taken = 0;
    for (uint32_t i = 0; i < VK_MAX_MEMORY_HEAPS; i++)
        taken += vk->memory.heap_used[i];
    taken = taken < BLOCK_LEAST ? BLOCK_LEAST : taken > BLOCK_MOST ? BLOCK_MOST : taken;
    return n_bytes > taken ? n_bytes : taken / ALIGN * ALIGN;
}

static enum status no_room(struct vulkan *vk, uint64_t n_bytes, const char *what, struct err *err)
{
    uint64_t total, usable;
    candidate_memory(&vk->instance, &vk->chosen, &total, &usable);
    return err_set(err, NO_ROOM,
                   "%s of %llu MiB wanted; of the %llu MiB that %.60s can use %llu MiB are free: a "
                   "smaller model, or lower ctx or parallel",
                   what, (unsigned long long)(n_bytes >> 20), (unsigned long long)(total >> 20),
                   vk->chosen.said.name, (unsigned long long)(usable >> 20));
}

static bool take_piece(struct vulkan *vk, enum memory_class class, uint64_t n_bytes,
                       struct block **block, uint64_t *at)
{
    const uint32_t *types = vk->memory.types[class], n = vk->memory.n_types[class];
    for (uint32_t i = 0; i < n; i++) {
        for (*block = vk->memory.blocks; *block; *block = (*block)->next)
            if ((*block)->type == types[i] && hole_take(*block, n_bytes, at))
                return true;
        uint64_t wanted = block_size(vk, n_bytes);
        if (!within_budget(vk, types[i], wanted, 2 * DRIVER_BYTES))
            wanted = n_bytes;
        if (!within_budget(vk, types[i], wanted, 2 * DRIVER_BYTES))
            continue;
        *block = block_open(vk, types[i], wanted);
        if (*block && hole_take(*block, n_bytes, at))
            return true;
    }
    return false;
}

enum status memory_take(struct vulkan *vk, struct buffer **out, enum memory_class class,
                        uint64_t n_bytes, const char *what, struct err *err)
{
    struct block *block = NULL;
    uint64_t at = 0, most = vk->chosen.limits.largest_buffer_bytes;
    if (n_bytes > most - ALIGN)
        return err_set(err, NO_ROOM,
                       "%s of %llu MiB wanted; one buffer of %.60s holds at most %llu MiB", what,
                       (unsigned long long)(n_bytes >> 20), vk->chosen.said.name,
                       (unsigned long long)(most >> 20));
    if (!take_piece(vk, class, round_up(n_bytes, ALIGN), &block, &at))
        return no_room(vk, n_bytes, what, err);
    struct buffer *buffer = mem_alloc(sizeof(*buffer));
    *buffer = (struct buffer){.next = vk->memory.buffers,
                              .block = block,
                              .at = at,
                              .n_bytes = n_bytes,
                              .address = block->address + at};
    if (buffer->next)
        buffer->next->previous = buffer;
    vk->memory.buffers = buffer;
    *out = buffer;
    return OK;
}

void memory_release(struct vulkan *vk, struct buffer *buffer)
{
    struct block *block = buffer->block;
    hole_give(block, buffer->at, round_up(buffer->n_bytes, ALIGN));
    if (buffer->next)
        buffer->next->previous = buffer->previous;
    *(buffer->previous ? &buffer->previous->next : &vk->memory.buffers) = buffer->next;
    free(buffer->shadow);
    free(buffer->parts);
    free(buffer);
    if (block->n_holes != 1 || block->holes[0].n_bytes != block->n_bytes)
        return;
    for (struct block **p = &vk->memory.blocks; *p; p = &(*p)->next)
        if (*p == block) {
            *p = block->next;
            break;
        }
    block_close(vk, block);
    told_again(vk);
}

uint8_t *buffer_map(const struct buffer *buffer)
{
    return buffer->block->map ? buffer->block->map + buffer->at : NULL;
}

enum status memory_staging(struct vulkan *vk, struct err *err)
{
    if (vk->memory.staging)
        return OK;
    return memory_take(vk, &vk->memory.staging, MEMORY_RESULT, STAGING_BYTES, "a staging buffer",
                       err);
}

// The host sees all tensors in memory that it reads fast.
static bool no_copies(const struct memory *memory)
{
    const VkMemoryPropertyFlags fast =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    for (uint32_t i = 0; i < memory->n_types[MEMORY_MAIN]; i++) {
        const uint32_t type = memory->types[MEMORY_MAIN][i];
        if ((memory->properties.memoryTypes[type].propertyFlags & fast) != fast)
            return false;
    }
    return true;
}

// One copy and one filling: the driver has its own memory for both from then on.
enum status memory_reserve(struct vulkan *vk, struct err *err)
{
    enum { TRIED_BYTES = 64 << 10 };
    const struct memory *memory = &vk->memory;
    if (no_copies(memory))
        return OK;
    enum status status = memory_staging(vk, err);
    if (status == OK)
        status = vk_copy_now(vk, memory->staging, 0, NULL, 0, TRIED_BYTES, err);
    if (status == OK)
        status =
            vk_copy_now(vk, memory->staging, TRIED_BYTES, memory->staging, 0, TRIED_BYTES, err);
    return status;
}

void memory_close(struct vulkan *vk)
{
    while (vk->memory.buffers) // those that their owner did not free too
        memory_release(vk, vk->memory.buffers);
}

// ---- tensors ------------------------------------------------------------------------------------

// Rows of a cache that lie a power of two apart fall on the same memory channels: they get 16 bytes
// more.
size_t vk_row_bytes(const struct compute *compute, enum dtype type, int64_t n_cols,
                    enum buffer_use use)
{
    (void)compute;
    if (use == USE_TENSOR)
        return dtype_row_bytes(type, n_cols);
    size_t n = layout_row_bytes(type, n_cols);
    return use == USE_CACHE && n % 256 == 0 ? n + 16 : n;
}

static enum status clear(struct vulkan *vk, struct buffer *buffer, struct err *err)
{
    if (buffer_map(buffer) && buffer->n_bytes <= CLEAR_BY_HOST) {
        memset(buffer_map(buffer), 0, buffer->n_bytes);
        return OK;
    }
    return vk_copy_now(vk, buffer, 0, NULL, 0, round_up(buffer->n_bytes, 4), err);
}

enum status vk_buffer_open(struct compute *compute, struct buffer **out, const struct tensor *shape,
                           enum buffer_use use, int64_t whole_rows, const void *data,
                           struct err *err)
{
    static const char *const uses[] = {"a %s tensor", "a %s cache", "%s weights"};
    struct vulkan *vk = vk_of(compute);
    struct buffer *buffer = NULL;
    const uint64_t n_bytes = shape->row_bytes * (uint64_t)shape->n_rows;
    char what[48];
    (void)data; // copied by vk_load_rows
    bool input = use == USE_TENSOR && shape->type == DTYPE_I32 && shape->n_rows == 1;
    snprintf(what, sizeof(what), uses[use], dtype_name(shape->type));
    enum status status = use == USE_WEIGHT ? codebook_open(vk, shape->type, err) : OK;
    if (status == OK && use == USE_WEIGHT && n_bytes > split_most(vk))
        return split_open(vk, out, shape, whole_rows, what, err);
    if (status == OK)
        status = memory_take(vk, &buffer, input ? MEMORY_INPUT : MEMORY_MAIN, n_bytes, what, err);
    if (status != OK)
        return status;
    if (use != USE_WEIGHT)
        status = clear(vk, buffer, err);
    if (status != OK) {
        memory_release(vk, buffer);
        return status;
    }
    if (input)
        buffer->shadow = mem_alloc(buffer->n_bytes);
    *out = buffer;
    return OK;
}

static void mirror_drop(struct vulkan *vk, struct buffer *buffer)
{
    struct memory *memory = &vk->memory;
    for (uint32_t i = 0; i < memory->n_mirrored; i++)
        if (memory->mirrored[i] == buffer) {
            memory->mirrored[i] = memory->mirrored[--memory->n_mirrored];
            break;
        }
    if (buffer->mirror)
        memory_release(vk, buffer->mirror);
    buffer->mirror = NULL;
}

void vk_buffer_close(struct compute *compute, struct buffer *buffer)
{
    struct vulkan *vk = vk_of(compute);
    recorder_forget(vk, buffer);
    mirror_drop(vk, buffer);
    split_close(vk, buffer);
    memory_release(vk, buffer);
}

struct range vk_range(const struct tensor *tensor)
{
    const uint64_t n_bytes = tensor_span(tensor);
    if (tensor->offset + n_bytes > tensor->buffer->n_bytes)
        die("a tensor view reaches past its buffer");
    recorder_note(tensor->buffer->block->vk, tensor->buffer); // no address leaves without it
    return (struct range){tensor->buffer->address + tensor->offset, n_bytes};
}

const int32_t *vk_ints(const struct tensor *tensor)
{
    const uint8_t *shadow = tensor->buffer->shadow;
    return shadow ? (const int32_t *)(const void *)(shadow + tensor->offset) : NULL;
}

// ---- transfers ----------------------------------------------------------------------------------

// The device is lost: whoever submits next is told (compute_finish), and who has read
// (compute_check).
static void transfer_failed(struct vulkan *vk, const char *what, struct err *err)
{
    struct recorder *r = &vk->recorder;
    if (err->status == DEVICE_ERROR && !r->fault_told)
        recorder_tell_fault(vk, err);
    r->fault_told = true;
    (void)err_set(&vk->compute.lost, DEVICE_ERROR, "a tensor cannot be %s: %s", what, err->text);
    if (r->failure.status != DEVICE_ERROR)
        r->failure = vk->compute.lost;
}

static void through_staging(struct vulkan *vk, struct buffer *buffer, uint64_t at, void *to,
                            const void *from, size_t n_bytes)
{
    struct err err = vk->recorder.failure; // of a lost device nothing more is asked
    enum status status = err.status == DEVICE_ERROR ? DEVICE_ERROR : memory_staging(vk, &err);
    for (size_t done = 0; done < n_bytes && status == OK;) {
        size_t n = n_bytes - done < STAGING_BYTES ? n_bytes - done : STAGING_BYTES;
        uint8_t *staging = buffer_map(vk->memory.staging);
        if (from)
            memcpy(staging, (const uint8_t *)from + done, n);
        status = from ? vk_copy_now(vk, buffer, at + done, vk->memory.staging, 0, n, &err)
                      : vk_copy_now(vk, vk->memory.staging, 0, buffer, at + done, n, &err);
        if (to && status == OK)
            memcpy((uint8_t *)to + done, staging, n);
        done += n;
    }
    if (to && status != OK)
        memset(to, 0, n_bytes);
    if (status != OK && vk->compute.lost.status == OK)
        transfer_failed(vk, to ? "read" : "written", &err);
}

// Gives the buffer a mirror from now on: small results only, the few there are.
static void mirror_make(struct vulkan *vk, struct buffer *buffer)
{
    struct memory *memory = &vk->memory;
    if (memory->n_mirrored == MIRRORS_MOST ||
        memory_take(vk, &buffer->mirror, MEMORY_RESULT, buffer->n_bytes, "a mirror", NULL) != OK)
        return;
    memory->mirrored[memory->n_mirrored++] = buffer;
    recorder_forget(vk, buffer); // they end without the copy
}

void vk_write(struct compute *compute, const struct tensor *to, const void *from, size_t n_bytes)
{
    struct vulkan *vk = vk_of(compute);
    (void)vk_range(to);
    to->buffer->mirrored.n_bytes = 0;
    if (to->buffer->shadow)
        memcpy(to->buffer->shadow + to->offset, from, n_bytes);
    uint8_t *map = buffer_map(to->buffer);
    if (map)
        memcpy(map + to->offset, from, n_bytes);
    else
        through_staging(vk, to->buffer, to->offset, NULL, from, n_bytes);
}

void vk_read(struct compute *compute, void *to, const struct tensor *from, size_t n_bytes)
{
    struct vulkan *vk = vk_of(compute);
    struct buffer *buffer = from->buffer;
    uint64_t first = vk_range(from).address;
    VkMemoryPropertyFlags flags =
        vk->memory.properties.memoryTypes[buffer->block->type].propertyFlags;
    if (buffer_map(buffer) && (flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT)) {
        memcpy(to, buffer_map(buffer) + from->offset, n_bytes);
        return;
    }
    if (!buffer->mirror)
        mirror_make(vk, buffer);
    if (first >= buffer->mirrored.address &&
        first + n_bytes <= buffer->mirrored.address + buffer->mirrored.n_bytes)
        memcpy(to, buffer_map(buffer->mirror) + from->offset, n_bytes);
    else
        through_staging(vk, buffer, from->offset, to, NULL, n_bytes);
}
