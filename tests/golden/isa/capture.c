// capture.c - see capture.h. Three calls are looked into: vkCreateDevice (the extension that tells
// of a pipeline's code is added), vkCreateShaderModule (which kernel a module is, by the address of
// its code) and vkCreateComputePipelines (asked to keep what the compiler found out). The null
// device knows no timeline semaphores, so these and submissions, which would do nothing there, end
// here. All else goes straight to the driver. One thread, one device.
#include "capture.h"

#include <stdlib.h>
#include <string.h>

// engine/compute/vulkan/core.h
extern const struct kernel {
    const char *name;
    const uint32_t *code;
    size_t n_bytes;
} kernel_table[];
extern const uint32_t kernel_count;

enum { MODULES_MOST = 64 };
static struct entry below;
static VkInstance instance;
static PFN_vkGetDeviceProcAddr below_device;
static PFN_vkCreateShaderModule below_module;
static PFN_vkCreateComputePipelines below_pipelines;
static PFN_vkGetPipelineExecutablePropertiesKHR executables_of;
static PFN_vkGetPipelineExecutableStatisticsKHR statistics_of;
static PFN_vkGetPipelineExecutableInternalRepresentationsKHR code_of;
static struct {
    VkShaderModule module;
    const char *kernel;
} modules[MODULES_MOST]; // the youngest ones, in a circle
static unsigned n_modules;

static void must(VkResult result, const char *what)
{
    if (result != VK_SUCCESS)
        die("%s: %d", what, result);
}

static VKAPI_ATTR VkResult VKAPI_CALL create_module(VkDevice device,
                                                    const VkShaderModuleCreateInfo *info,
                                                    const VkAllocationCallbacks *callbacks,
                                                    VkShaderModule *out)
{
    VkResult result = below_module(device, info, callbacks, out);
    for (uint32_t i = 0; result == VK_SUCCESS && i < kernel_count; i++)
        if (kernel_table[i].code == info->pCode) {
            modules[n_modules % MODULES_MOST].module = *out;
            modules[n_modules++ % MODULES_MOST].kernel = kernel_table[i].name;
        }
    return result;
}

static const char *kernel_of(VkShaderModule module)
{
    for (unsigned i = n_modules; i > 0 && i + MODULES_MOST > n_modules; i--)
        if (modules[(i - 1) % MODULES_MOST].module == module)
            return modules[(i - 1) % MODULES_MOST].kernel;
    return "?";
}

static void show_statistics(VkDevice device, const VkPipelineExecutableInfoKHR *which)
{
    VkPipelineExecutableStatisticKHR all[64];
    for (size_t i = 0; i < COUNT_OF(all); i++)
        all[i] = (VkPipelineExecutableStatisticKHR){
            .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR};
    uint32_t n = COUNT_OF(all);
    must(statistics_of(device, which, &n, all), "vkGetPipelineExecutableStatisticsKHR");
    for (uint32_t i = 0; i < n; i++)
        if (all[i].format == VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR)
            printf("statistic %s = %llu\n", all[i].name, (unsigned long long)all[i].value.u64);
}

static void show_code(VkDevice device, const VkPipelineExecutableInfoKHR *which)
{
    VkPipelineExecutableInternalRepresentationKHR all[16];
    uint32_t n = COUNT_OF(all);
    memset(all, 0, sizeof all);
    for (size_t i = 0; i < COUNT_OF(all); i++)
        all[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR;
    must(code_of(device, which, &n, all), "vkGetPipelineExecutableInternalRepresentationsKHR");
    for (uint32_t i = 0; i < n; i++)
        all[i].pData = mem_alloc(all[i].dataSize + 1);
    must(code_of(device, which, &n, all), "vkGetPipelineExecutableInternalRepresentationsKHR");
    for (uint32_t i = 0; i < n; i++) {
        if (all[i].isText && strcmp(all[i].name, "ACO IR") == 0)
            for (char *line = all[i].pData, *end; *line; line = end + (*end != 0)) {
                end = line + strcspn(line, "\n");
                printf("\t%.*s\n", (int)(end - line), line);
            }
        free(all[i].pData);
    }
}

static void show(VkDevice device, const VkComputePipelineCreateInfo *info, VkPipeline pipeline)
{
    VkPipelineInfoKHR whose = {VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, NULL, pipeline};
    VkPipelineExecutablePropertiesKHR is = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR};
    uint32_t n = 1;
    must(executables_of(device, &whose, &n, &is), "vkGetPipelineExecutablePropertiesKHR");
    printf("pipeline %s subgroup %u spec", kernel_of(info->stage.module), is.subgroupSize);
    const VkSpecializationInfo *spec = info->stage.pSpecializationInfo;
    for (uint32_t i = 0; spec && i < spec->mapEntryCount; i++)
        printf(" %u", ((const uint32_t *)spec->pData)[i]);
    printf("\n");
    VkPipelineExecutableInfoKHR which = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
        .pipeline = pipeline,
    };
    show_statistics(device, &which);
    show_code(device, &which);
}

static VKAPI_ATTR VkResult VKAPI_CALL create_pipelines(VkDevice device, VkPipelineCache cache,
                                                       uint32_t n,
                                                       const VkComputePipelineCreateInfo *infos,
                                                       const VkAllocationCallbacks *callbacks,
                                                       VkPipeline *out)
{
    for (uint32_t i = 0; i < n; i++) {
        VkComputePipelineCreateInfo info = infos[i];
        info.flags |= VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR |
                      VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR;
        VkResult result = below_pipelines(device, cache, 1, &info, callbacks, &out[i]);
        if (result != VK_SUCCESS)
            return result;
        show(device, &info, out[i]);
    }
    return VK_SUCCESS;
}

// ---- nothing runs -------------------------------------------------------------------------------

static VKAPI_ATTR VkResult VKAPI_CALL create_semaphore(VkDevice device,
                                                       const VkSemaphoreCreateInfo *info,
                                                       const VkAllocationCallbacks *callbacks,
                                                       VkSemaphore *out)
{
    static char one;
    (void)device, (void)info, (void)callbacks;
    *out = (VkSemaphore)&one;
    return VK_SUCCESS;
}

static VKAPI_ATTR void VKAPI_CALL destroy_semaphore(VkDevice device, VkSemaphore semaphore,
                                                    const VkAllocationCallbacks *callbacks)
{
    (void)device, (void)semaphore, (void)callbacks;
}

static VKAPI_ATTR VkResult VKAPI_CALL wait_semaphores(VkDevice device,
                                                      const VkSemaphoreWaitInfo *info,
                                                      uint64_t timeout_ns)
{
    (void)device, (void)info, (void)timeout_ns;
    return VK_SUCCESS;
}

static VKAPI_ATTR VkResult VKAPI_CALL submit(VkQueue queue, uint32_t n, const VkSubmitInfo2 *all,
                                             VkFence fence)
{
    (void)queue, (void)n, (void)all, (void)fence;
    return VK_SUCCESS;
}

// ---- which calls --------------------------------------------------------------------------------

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL get(VkInstance of, const char *name);

static const struct {
    const char *name;
    PFN_vkVoidFunction function;
} of_device[] = {
    {"vkCreateShaderModule", (PFN_vkVoidFunction)create_module},
    {"vkCreateComputePipelines", (PFN_vkVoidFunction)create_pipelines},
    {"vkCreateSemaphore", (PFN_vkVoidFunction)create_semaphore},
    {"vkDestroySemaphore", (PFN_vkVoidFunction)destroy_semaphore},
    {"vkWaitSemaphores", (PFN_vkVoidFunction)wait_semaphores},
    {"vkQueueSubmit2", (PFN_vkVoidFunction)submit},
};

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL get_device(VkDevice device, const char *name)
{
    for (size_t i = 0; i < COUNT_OF(of_device); i++)
        if (strcmp(name, of_device[i].name) == 0)
            return of_device[i].function;
    return below_device(device, name);
}

static VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice physical,
                                                    const VkDeviceCreateInfo *info,
                                                    const VkAllocationCallbacks *callbacks,
                                                    VkDevice *out)
{
    uint32_t n = info->enabledExtensionCount;
    const char **names = mem_array(n + 1, sizeof *names);
    for (uint32_t i = 0; i < n; i++)
        names[i] = info->ppEnabledExtensionNames[i];
    names[n] = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR wanted = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
        .pNext = (void *)info->pNext,
        .pipelineExecutableInfo = VK_TRUE,
    };
    VkDeviceCreateInfo changed = *info;
    changed.pNext = &wanted;
    changed.enabledExtensionCount = n + 1;
    changed.ppEnabledExtensionNames = names;
    PFN_vkCreateDevice next = (PFN_vkCreateDevice)below.get(instance, "vkCreateDevice");
    VkResult result = next(physical, &changed, callbacks, out);
    free(names);
    if (result != VK_SUCCESS)
        return result;
#define DEVICE(variable, name) variable = (PFN_##name)below_device(*out, #name)
    DEVICE(below_module, vkCreateShaderModule);
    DEVICE(below_pipelines, vkCreateComputePipelines);
    DEVICE(executables_of, vkGetPipelineExecutablePropertiesKHR);
    DEVICE(statistics_of, vkGetPipelineExecutableStatisticsKHR);
    DEVICE(code_of, vkGetPipelineExecutableInternalRepresentationsKHR);
    return VK_SUCCESS;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo *info,
                                                      const VkAllocationCallbacks *callbacks,
                                                      VkInstance *out)
{
    PFN_vkCreateInstance next = (PFN_vkCreateInstance)below.get(NULL, "vkCreateInstance");
    VkResult result = next(info, callbacks, out);
    if (result != VK_SUCCESS)
        return result;
    instance = *out;
    below_device = (PFN_vkGetDeviceProcAddr)below.get(instance, "vkGetDeviceProcAddr");
    return VK_SUCCESS;
}

static PFN_vkVoidFunction get(VkInstance of, const char *name)
{
    if (strcmp(name, "vkCreateInstance") == 0)
        return (PFN_vkVoidFunction)create_instance;
    if (strcmp(name, "vkGetInstanceProcAddr") == 0)
        return (PFN_vkVoidFunction)get;
    if (strcmp(name, "vkCreateDevice") == 0)
        return (PFN_vkVoidFunction)create_device;
    if (strcmp(name, "vkGetDeviceProcAddr") == 0)
        return (PFN_vkVoidFunction)get_device;
    return below.get(of, name);
}

enum status vulkan_entry(struct entry *out, struct err *err)
{
    enum status status = static_entry(&below, err);
    if (status != OK)
        return status;
    *out = below;
    out->get = get;
    return OK;
}
