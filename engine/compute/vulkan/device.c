// device.c - which device is used and why, its opening and closing, and the table of what Vulkan
// implements of backend.h.
//
// "auto" and "vulkan" mean a GPU: a software device (llvmpipe, or Venus over it) runs only when its
// name, or a part of it, is asked for. NOT_FOUND is said only when there is no device of that
// description; one that exists and cannot be used is another status with the reason, so that the
// floor above never mistakes a broken GPU for a missing one.
#include "core.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct features *vk_features(const struct vulkan *vk)
{
    return &vk->chosen.features;
}

// ---- the choice ---------------------------------------------------------------------------------

static bool contains(const char *text, const char *part) // letters of either case are equal
{
    for (; *text; text++) {
        size_t i = 0;
        while (part[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
            i++;
        if (!part[i])
            return true;
    }
    return false;
}

// Larger is better. A discrete GPU has several times an integrated one's memory bandwidth; a
// virtual one costs a copy of every command. Vulkan tells no bandwidth, so among equals the compute
// units and then the memory decide.
static uint64_t merit(const struct candidate *c)
{
    uint64_t kind = strcmp(c->said.kind, "discrete") == 0     ? 3
                    : strcmp(c->said.kind, "integrated") == 0 ? 2
                    : strcmp(c->said.kind, "virtual") == 0    ? 1
                                                              : 0;
    return kind << 60 | (uint64_t)(c->features.n_compute_units & 0xffff) << 40 |
           (c->said.memory_bytes >> 24 & 0xffffffffff);
}

static void list_names(const struct candidate *all, int32_t n, char *out, size_t size)
{
    size_t at = 0;
    out[0] = 0;
    for (int32_t i = 0; i < n && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s'%s'%s", i ? ", " : "", all[i].said.name,
                               all[i].features.software ? " (software)" : "");
}

static enum status nothing_found(const struct candidate *all, int32_t n, const char *device,
                                 bool any, struct err *err)
{
    char names[200];
    list_names(all, n, names, sizeof(names));
    if (n == 0)
        return err_set(err, NOT_FOUND, "Vulkan finds no device at all");
    if (any)
        return err_set(err, NOT_FOUND, "Vulkan finds no GPU, only %s, which runs when named",
                       names);
    return err_set(err, NOT_FOUND, "no Vulkan device has '%.60s' in its name; there is %s", device,
                   names);
}

enum status candidate_choose(const struct candidate *all, int32_t n, const char *device,
                             const struct candidate **out, char *reason, size_t size,
                             struct err *err)
{
    bool any = strcmp(device, "auto") == 0 || strcmp(device, "vulkan") == 0;
    const struct candidate *best = NULL, *broken = NULL;
    int32_t n_fit = 0;
    for (int32_t i = 0; i < n; i++) {
        const struct candidate *c = &all[i];
        if (any ? c->features.software || strcmp(c->said.kind, "software") == 0
                : !contains(c->said.name, device))
            continue;
        n_fit++;
        if (!c->said.usable)
            broken = broken && merit(broken) >= merit(c) ? broken : c;
        else if (!best || merit(c) > merit(best))
            best = c;
    }
    if (!best && broken)
        return err_set(err, UNSUPPORTED, "%.80s (%.60s) cannot be used: %.170s", broken->said.name,
                       broken->said.driver, broken->said.refusal);
    if (!best)
        return nothing_found(all, n, device, any, err);
    *out = best;
    if (!any)
        snprintf(reason, size, "device = %.60s was asked for", device);
    else if (n_fit == 1)
        snprintf(reason, size, "the only GPU that Vulkan finds");
    else
        snprintf(reason, size,
                 "the fastest of %d GPUs: discrete before integrated before virtual, then by "
                 "compute units and memory%s%.80s",
                 (int)n_fit, broken ? "; refused: " : "", broken ? broken->said.name : "");
    return OK;
}

// ---- opening and closing ------------------------------------------------------------------------

static enum status device_make(struct vulkan *vk, struct err *err)
{
    const struct candidate *c = &vk->chosen;
    struct feature_chain want = {0};
    const char *extensions[3];
    uint32_t n_extensions = 0;
    if (c->matrix_extension)
        extensions[n_extensions++] = VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME;
    if (c->memory_budget)
        extensions[n_extensions++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
    if (c->fault_extension)
        extensions[n_extensions++] = VK_EXT_DEVICE_FAULT_EXTENSION_NAME;
    chain_link(&want, c->matrix_extension, c->fault_extension);
    chain_want(&want, &c->found);
    const float priority = 1;
    const VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueFamilyIndex = c->family,
        .queueCount = 1,
        .pQueuePriorities = &priority,
    };
    const VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &want.core,
        .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &queue,
        .enabledExtensionCount = n_extensions,
        .ppEnabledExtensionNames = extensions,
    };
    VkResult result = vk->instance.call.CreateDevice(c->physical, &info, NULL, &vk->device);
    if (result != VK_SUCCESS)
        return vk_refused(err, c->said.name, result);
#define FETCH(function)                                                                            \
    vk->call.function =                                                                            \
        (PFN_vk##function)vk->instance.call.GetDeviceProcAddr(vk->device, "vk" #function);         \
    if (!vk->call.function)                                                                        \
        return err_set(err, UNSUPPORTED, "the driver of %s has no vk%s", c->said.name, #function);
    DEVICE_CALLS(FETCH)
#undef FETCH
    if (c->found.fault.deviceFault)
        vk->call.FaultInfo = (PFN_vkGetDeviceFaultInfoEXT)vk->instance.call.GetDeviceProcAddr(
            vk->device, "vkGetDeviceFaultInfoEXT");
    vk->call.GetDeviceQueue(vk->device, c->family, 0, &vk->queue);
    return OK;
}

static void fill_info(struct vulkan *vk)
{
    const struct survey_device *said = &vk->chosen.said;
    struct compute_info *info = &vk->compute.info;
    if (said->n_compute_units > 0)
        snprintf(info->device, sizeof(info->device), "%.70s, %d CUs", said->name,
                 (int)said->n_compute_units);
    else
        snprintf(info->device, sizeof(info->device), "%.95s", said->name);
    snprintf(info->backend, sizeof(info->backend), "vulkan");
    memcpy(info->driver, said->driver, sizeof(info->driver));
    memcpy(info->kind, said->kind, sizeof(info->kind));
    info->n_compute_units = said->n_compute_units;
    info->memory_bytes = said->memory_bytes;
    info->memory_usable_bytes = said->memory_usable_bytes;
    info->largest_buffer_bytes = said->largest_buffer_bytes;
}

// A GPU is given back idle: one that is passed through to a virtual machine and was cut off in its
// work may hang until the host is restarted.
static bool vulkan_close(struct compute *compute)
{
    struct vulkan *vk = vk_of(compute);
    if (!commands_idle(vk))
        return false;
    if (vk->device && vk->call.DeviceWaitIdle)
        (void)vk->call.DeviceWaitIdle(vk->device);
    if (vk->queue) {
        recorder_close(vk);
        pipelines_close(vk);
        memory_close(vk);
    }
    if (vk->device && vk->call.DestroyDevice)
        vk->call.DestroyDevice(vk->device, NULL);
    instance_close(&vk->instance);
    free(vk);
    return true;
}

static const struct backend backend = {
    .close = vulkan_close,
    .runs = layout_known,
    .row_bytes = vk_row_bytes,
    .buffer_open = vk_buffer_open,
    .load_rows = vk_load_rows,
    .buffer_close = vk_buffer_close,
    .write = vk_write,
    .read = vk_read,
    .begin = vk_begin,
    .rehearse = vk_rehearse,
    .finish = vk_finish,
    .bandwidth = vk_bandwidth,
    .embed = vk_embed,
    .rows = vk_rows,
    .copy = vk_copy,
    .norm = vk_norm,
    .rope_kv = vk_rope_kv,
    .attention = vk_attention,
    .top_k = vk_top_k,
    .route = vk_route,
    .experts_sum = vk_experts_sum,
    .matmul = vk_matmul,
    .matmul_glu = vk_matmul_glu,
    .matmul_experts = vk_matmul_experts,
    .elementwise = vk_elementwise,
    .experts_glu = vk_experts_glu,
    .experts_down = vk_experts_down,
    .streams = vk_streams,
    .streams_read = vk_streams_read,
    .compress = vk_compress,
    .attention_far = vk_attention_far,
    .index_keys = vk_index_keys,
    .index_choose = vk_index_choose,
    .conv = vk_conv,
    .delta_net = vk_delta_net,
    .mamba2 = vk_mamba2,
};

static enum status choose_device(struct vulkan *vk, const char *device, struct err *err)
{
    struct candidate *all = mem_array(CANDIDATES_MOST, sizeof(*all));
    const struct candidate *chosen;
    int32_t n = 0;
    enum status status = instance_candidates(&vk->instance, all, &n, err);
    if (status == OK)
        status = candidate_choose(all, n, device, &chosen, vk->compute.info.reason,
                                  sizeof(vk->compute.info.reason), err);
    if (status == OK)
        vk->chosen = *chosen;
    free(all);
    return status;
}

enum status vulkan_open(struct compute **out, const struct compute_options *options,
                        struct err *err)
{
    struct vulkan *vk = mem_alloc(sizeof(*vk));
    vk->compute.backend = &backend;
    vk->weight_buffer_bytes = options->weight_buffer_bytes;
    enum status status = instance_open(&vk->instance, err);
    if (status == OK)
        status = choose_device(vk, options->device ? options->device : "auto", err);
    if (status == OK)
        status = device_make(vk, err);
    if (status == OK)
        status = memory_open(vk, err);
    if (status == OK)
        status = recorder_open(vk, err);
    if (status == OK)
        status = pipelines_open(vk, options->cache_dir, err);
    if (status != OK) {
        vulkan_close(&vk->compute);
        return status;
    }
    fill_info(vk);
    status = memory_reserve(vk, err);
    if (status != OK) {
        vulkan_close(&vk->compute);
        return status;
    }
    *out = &vk->compute;
    return OK;
}
