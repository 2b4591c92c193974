// commands.c - command buffers: taken and given back, the barriers in them, submitted, waited for.
//
// There is one queue, and one timeline semaphore that counts its submissions: who waits, waits for
// all of them. A wait ends after a patience that is far beyond any honest work, so that a device
// that hangs is an error and not silence.
#include "core.h"

enum { GPU_PATIENCE_S = 30, SOFTWARE_PATIENCE_S = 600, IDLE_PATIENCE_S = 5 };
static const double COPY_BYTES_PER_S = 1e9; // at least

// ---- errors -------------------------------------------------------------------------------------

static const char *result_name(VkResult result)
{
    static const struct {
        VkResult result;
        const char *name;
    } names[] = {
        {VK_ERROR_OUT_OF_HOST_MEMORY, "out of host memory"},
        {VK_ERROR_OUT_OF_DEVICE_MEMORY, "out of device memory"},
        {VK_ERROR_INITIALIZATION_FAILED, "initialisation failed"},
        {VK_ERROR_DEVICE_LOST, "the device is lost: it hung, was reset or fell off the bus; the "
                               "kernel's log says which"},
        {VK_ERROR_EXTENSION_NOT_PRESENT, "an extension is missing"},
        {VK_ERROR_FEATURE_NOT_PRESENT, "a feature is missing"},
        {VK_ERROR_INCOMPATIBLE_DRIVER, "the driver is too old"},
        {VK_ERROR_TOO_MANY_OBJECTS, "too many objects"},
        {VK_ERROR_UNKNOWN, "unknown error"},
        {VK_TIMEOUT, "timeout"},
    };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (names[i].result == result)
            return names[i].name;
    return NULL;
}

enum status vk_refused(struct err *err, const char *what, VkResult result)
{
    enum status status =
        result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY
            ? NO_ROOM
            : DEVICE_ERROR;
    const char *name = result_name(result);
    if (!name)
        return err_set(err, status, "%s: VkResult %d", what, (int)result);
    return err_set(err, status, "%s: %s", what, name);
}

// ---- command buffers ----------------------------------------------------------------------------

VkResult commands_take(struct vulkan *vk, VkCommandBuffer *out)
{
    struct recorder *r = &vk->recorder;
    if (r->n_idle > 0) {
        *out = r->idle[--r->n_idle];
        return VK_SUCCESS;
    }
    if (!memory_for_driver(vk))
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    const VkCommandBufferAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = r->pool,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    return vk->call.AllocateCommandBuffers(vk->device, &info, out);
}

void commands_give(struct recorder *r, VkCommandBuffer commands)
{
    if (r->n_idle == r->n_idle_allocated) {
        r->n_idle_allocated = r->n_idle_allocated ? 2 * r->n_idle_allocated : 16;
        r->idle = mem_resize(r->idle, r->n_idle_allocated * sizeof(VkCommandBuffer));
    }
    r->idle[r->n_idle++] = commands;
}

VkResult commands_begin(struct vulkan *vk, VkCommandBuffer commands, bool once)
{
    const VkCommandBufferBeginInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
        .flags = once ? VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT : 0,
    };
    return vk->call.BeginCommandBuffer(commands, &info);
}

void commands_barrier(struct vulkan *vk, VkCommandBuffer commands, VkPipelineStageFlags2 from,
                      VkAccessFlags2 wrote, VkPipelineStageFlags2 to, VkAccessFlags2 uses)
{
    const VkMemoryBarrier2 memory = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
        .srcStageMask = from,
        .srcAccessMask = wrote,
        .dstStageMask = to,
        .dstAccessMask = uses,
    };
    const VkDependencyInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO,
        .memoryBarrierCount = 1,
        .pMemoryBarriers = &memory,
    };
    vk->call.CmdPipelineBarrier2(commands, &info);
}

VkResult commands_submit(struct vulkan *vk, VkCommandBuffer commands)
{
    struct recorder *r = &vk->recorder;
    const VkCommandBufferSubmitInfo buffer = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO,
                                              .commandBuffer = commands};
    const VkSemaphoreSubmitInfo done = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
        .semaphore = r->timeline,
        .value = r->submitted + 1,
        .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
    };
    const VkSubmitInfo2 info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
        .commandBufferInfoCount = 1,
        .pCommandBufferInfos = &buffer,
        .signalSemaphoreInfoCount = 1,
        .pSignalSemaphoreInfos = &done,
    };
    VkResult result = vk->call.QueueSubmit2(vk->queue, 1, &info, VK_NULL_HANDLE);
    if (result == VK_SUCCESS)
        r->submitted++;
    return result;
}

static VkResult wait_submitted(struct vulkan *vk, double patience_s)
{
    struct recorder *r = &vk->recorder;
    const VkSemaphoreWaitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
        .semaphoreCount = 1,
        .pSemaphores = &r->timeline,
        .pValues = &r->submitted,
    };
    return vk->call.WaitSemaphores(vk->device, &info, (uint64_t)(patience_s * 1e9));
}

bool commands_idle(struct vulkan *vk)
{
    return vk->recorder.submitted == 0 || wait_submitted(vk, IDLE_PATIENCE_S) != VK_TIMEOUT;
}

enum status commands_wait(struct vulkan *vk, double thought_s, struct err *err)
{
    struct recorder *r = &vk->recorder;
    const double patience_s =
        (vk->chosen.features.software ? SOFTWARE_PATIENCE_S : GPU_PATIENCE_S) + 50 * thought_s;
    const VkResult result = wait_submitted(vk, patience_s);
    if (result == VK_TIMEOUT)
        return err_set(err, DEVICE_ERROR,
                       "%.60s has not finished within %.0f s what should take %.3f s: it hangs",
                       vk->chosen.said.name, patience_s, thought_s);
    r->lost |= result == VK_ERROR_DEVICE_LOST;
    return result == VK_SUCCESS ? OK : vk_refused(err, "waiting for the device", result);
}

// Into r->copy; none of it when the driver had no memory for the beginning.
static VkResult copy_record(struct vulkan *vk, const struct buffer *to, uint64_t to_at,
                            const struct buffer *from, uint64_t from_at, uint64_t n_bytes)
{
    struct recorder *r = &vk->recorder;
    VkResult result = r->copy ? VK_SUCCESS : commands_take(vk, &r->copy);
    if (result == VK_SUCCESS)
        result = commands_begin(vk, r->copy, true);
    if (result != VK_SUCCESS)
        return result;
    commands_barrier(vk, r->copy, COMPUTE | COPY, SHADER_WRITE | COPY_WRITE, COPY,
                     COPY_READ | COPY_WRITE);
    if (from) {
        const VkBufferCopy region = {from->at + from_at, to->at + to_at, n_bytes};
        vk->call.CmdCopyBuffer(r->copy, from->block->buffer, to->block->buffer, 1, &region);
    } else {
        vk->call.CmdFillBuffer(r->copy, to->block->buffer, to->at + to_at, n_bytes, 0);
    }
    commands_barrier(vk, r->copy, COPY, COPY_WRITE, VK_PIPELINE_STAGE_2_HOST_BIT,
                     VK_ACCESS_2_HOST_READ_BIT);
    return vk->call.EndCommandBuffer(r->copy);
}

enum status vk_copy_now(struct vulkan *vk, const struct buffer *to, uint64_t to_at,
                        const struct buffer *from, uint64_t from_at, uint64_t n_bytes,
                        struct err *err)
{
    VkResult result = copy_record(vk, to, to_at, from, from_at, n_bytes);
    if (result == VK_SUCCESS)
        result = commands_submit(vk, vk->recorder.copy);
    return result == VK_SUCCESS ? commands_wait(vk, (double)n_bytes / COPY_BYTES_PER_S, err)
                                : vk_refused(err, "a copy", result);
}
