// hang_layer.c - a Vulkan layer for tests: a device that hangs, once, when it is told to.
//
// Loaded in front of lavapipe, it calls that an integrated GPU, so that the engine has a GPU's
// patience with it. Where the file TAWNY_TEST_HANG names exists and begins with
//   wait      the next wait for a submission ends with a timeout, at once; the file then holds the
//             nanoseconds that were to be waited
//   submit    the next submission never returns, as a call into a driver that hangs
// One instance and one device per process; nothing here is for any other use.
#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>
#include <vulkan/vk_layer.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static VkInstance instance;
static PFN_vkGetInstanceProcAddr next_instance_proc;
static PFN_vkGetDeviceProcAddr next_device_proc;
static PFN_vkWaitSemaphores next_wait;
static PFN_vkQueueSubmit2 next_submit;

// Whether the file says `word`; then it is emptied, and holds `answer`.
static bool told(const char *word, uint64_t answer)
{
    const char *path = getenv("TAWNY_TEST_HANG");
    char text[32] = "";
    FILE *file = path ? fopen(path, "r+") : NULL;
    if (!file)
        return false;
    bool so = fgets(text, sizeof(text), file) && strncmp(text, word, strlen(word)) == 0;
    if (so) {
        rewind(file);
        so = ftruncate(fileno(file), 0) == 0 &&
             fprintf(file, "%llu\n", (unsigned long long)answer) > 0;
    }
    fclose(file);
    return so;
}

static VKAPI_ATTR VkResult VKAPI_CALL wait_semaphores(VkDevice device,
                                                      const VkSemaphoreWaitInfo *info,
                                                      uint64_t timeout_ns)
{
    return told("wait", timeout_ns) ? VK_TIMEOUT : next_wait(device, info, timeout_ns);
}

static VKAPI_ATTR VkResult VKAPI_CALL submit(VkQueue queue, uint32_t n, const VkSubmitInfo2 *info,
                                             VkFence fence)
{
    while (told("submit", 0))
        for (;;)
            pause();
    return next_submit(queue, n, info, fence);
}

static VKAPI_ATTR void VKAPI_CALL properties(VkPhysicalDevice device,
                                             VkPhysicalDeviceProperties2 *out)
{
    ((PFN_vkGetPhysicalDeviceProperties2)next_instance_proc(
        instance, "vkGetPhysicalDeviceProperties2"))(device, out);
    out->properties.deviceType = VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
}

// ---- the loader's side ----------------------------------------------------------------------

static VKAPI_ATTR VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo *info,
                                                      const VkAllocationCallbacks *callbacks,
                                                      VkInstance *out)
{
    VkLayerInstanceCreateInfo *link = (VkLayerInstanceCreateInfo *)info->pNext;
    while (link && !(link->sType == VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO &&
                     link->function == VK_LAYER_LINK_INFO))
        link = (VkLayerInstanceCreateInfo *)link->pNext;
    if (!link)
        return VK_ERROR_INITIALIZATION_FAILED;
    next_instance_proc = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    VkResult result = ((PFN_vkCreateInstance)next_instance_proc(
        VK_NULL_HANDLE, "vkCreateInstance"))(info, callbacks, out);
    if (result == VK_SUCCESS)
        instance = *out;
    return result;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice physical,
                                                    const VkDeviceCreateInfo *info,
                                                    const VkAllocationCallbacks *callbacks,
                                                    VkDevice *out)
{
    VkLayerDeviceCreateInfo *link = (VkLayerDeviceCreateInfo *)info->pNext;
    while (link && !(link->sType == VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO &&
                     link->function == VK_LAYER_LINK_INFO))
        link = (VkLayerDeviceCreateInfo *)link->pNext;
    if (!link)
        return VK_ERROR_INITIALIZATION_FAILED;
    PFN_vkGetInstanceProcAddr proc = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    next_device_proc = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    VkResult result =
        ((PFN_vkCreateDevice)proc(instance, "vkCreateDevice"))(physical, info, callbacks, out);
    if (result != VK_SUCCESS)
        return result;
    next_wait = (PFN_vkWaitSemaphores)next_device_proc(*out, "vkWaitSemaphores");
    next_submit = (PFN_vkQueueSubmit2)next_device_proc(*out, "vkQueueSubmit2");
    return VK_SUCCESS;
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL hang_device_proc(VkDevice device, const char *name);
VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL hang_instance_proc(VkInstance of, const char *name);

static const struct {
    const char *name;
    PFN_vkVoidFunction function;
    bool of_device;
} replaced[] = {
    {"vkGetDeviceProcAddr", (PFN_vkVoidFunction)hang_device_proc, true},
    {"vkWaitSemaphores", (PFN_vkVoidFunction)wait_semaphores, true},
    {"vkQueueSubmit2", (PFN_vkVoidFunction)submit, true},
    {"vkGetInstanceProcAddr", (PFN_vkVoidFunction)hang_instance_proc, false},
    {"vkCreateInstance", (PFN_vkVoidFunction)create_instance, false},
    {"vkCreateDevice", (PFN_vkVoidFunction)create_device, false},
    {"vkGetPhysicalDeviceProperties2", (PFN_vkVoidFunction)properties, false},
};

static PFN_vkVoidFunction own(const char *name, bool of_device)
{
    for (size_t i = 0; i < sizeof(replaced) / sizeof(*replaced); i++)
        if (strcmp(name, replaced[i].name) == 0 && (replaced[i].of_device || !of_device))
            return replaced[i].function;
    return NULL;
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL hang_device_proc(VkDevice device, const char *name)
{
    PFN_vkVoidFunction found = own(name, true);
    return found ? found : next_device_proc(device, name);
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL hang_instance_proc(VkInstance of, const char *name)
{
    PFN_vkVoidFunction found = own(name, false);
    return found || !next_instance_proc ? found : next_instance_proc(of, name);
}
