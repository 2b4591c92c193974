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
static PFN_vkGetBufferMemoryRequirements below_requirements;
static PFN_vkGetDeviceBufferMemoryRequirements below_requirements_of_any;
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

// ---- which pipelines are dispatched, for the decoding step --------------------------------------

bool capture_dispatches;
enum { PIPELINES_MOST = 4096 };
static VkPipeline made[PIPELINES_MOST]; // in the order of their records
static int n_made, bound = -1;

static VKAPI_ATTR void VKAPI_CALL bind(VkCommandBuffer commands, VkPipelineBindPoint point,
                                       VkPipeline pipeline)
{
    (void)commands, (void)point;
    for (bound = n_made - 1; bound >= 0 && made[bound] != pipeline;)
        bound--;
}

static VKAPI_ATTR void VKAPI_CALL dispatch(VkCommandBuffer commands, uint32_t x, uint32_t y,
                                           uint32_t z)
{
    (void)commands;
    if (capture_dispatches)
        printf("dispatch %d groups %u %u %u\n", bound, x, y, z);
}

// ---- its machine code -------------------------------------------------------------------------
// The driver tells of no code without a disassembler. It copies the code into the device's memory,
// and that copy is looked at: of all that it copies only code has s_endpgm with the padding that
// the compiler puts behind it.

enum { S_ENDPGM = (int)0xbfb00000, S_CODE_END = (int)0xbf9f0000 };
static struct {
    bool wanted;
    uint32_t *words;
    size_t n;
} code;

void *__real_memcpy(void *to, const void *from, size_t n);
void *__wrap_memcpy(void *to, const void *from, size_t n);

void *__wrap_memcpy(void *to, const void *from, size_t n)
{
    if (code.wanted && n >= 32 && n % 4 == 0 && (uintptr_t)from % 4 == 0) {
        const int32_t *words = from;
        for (size_t i = 0; i + 3 < n / 4; i++)
            if (words[i] == S_ENDPGM && words[i + 1] == S_CODE_END && words[i + 2] == S_CODE_END) {
                free(code.words);
                code.words = mem_alloc(n);
                code.n = i + 1;
                __real_memcpy(code.words, from, n);
                break;
            }
    }
    return __real_memcpy(to, from, n);
}

static void show_machine_code(const char *kernel)
{
    if (!code.words)
        die("%s: its machine code was not seen", kernel);
    printf("code ");
    for (size_t i = 0; i < code.n; i++)
        printf("%08x", code.words[i]);
    printf("\n");
    free(code.words);
    code.words = NULL;
}

// ---- what the driver says of one ----------------------------------------------------------------

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
    memset(all, 0, sizeof(all));
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
    show_machine_code(kernel_of(info->stage.module));
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
        code.wanted = true;
        VkResult result = below_pipelines(device, cache, 1, &info, callbacks, &out[i]);
        code.wanted = false;
        if (result != VK_SUCCESS)
            return result;
        if (n_made == PIPELINES_MOST)
            die("more than %d pipelines", PIPELINES_MOST);
        made[n_made++] = out[i];
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

// Stands for every call that only does something on a device. In the x86-64 convention the caller
// clears away its arguments, so any number of them will do.
static VKAPI_ATTR VkResult VKAPI_CALL nothing(void)
{
    return VK_SUCCESS;
}

static bool does_nothing(const char *name)
{
    static const char *const names[] = {
        "vkBeginCommandBuffer", "vkEndCommandBuffer", "vkResetCommandBuffer", "vkQueueSubmit2",
        "vkWaitSemaphores",     "vkDestroySemaphore", "vkDeviceWaitIdle",
    };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return strncmp(name, "vkCmd", 5) == 0;
}

// One heap that the processor sees, as an integrated GPU has it.
static VKAPI_ATTR void VKAPI_CALL memory_of(VkPhysicalDevice physical,
                                            VkPhysicalDeviceMemoryProperties2 *out)
{
    const VkDeviceSize heap_bytes = (VkDeviceSize)64 << 30;
    (void)physical;
    out->memoryProperties = (VkPhysicalDeviceMemoryProperties){
        .memoryTypeCount = 1,
        .memoryTypes = {{VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                             VK_MEMORY_PROPERTY_HOST_COHERENT_BIT |
                             VK_MEMORY_PROPERTY_HOST_CACHED_BIT,
                         0}},
        .memoryHeapCount = 1,
        .memoryHeaps = {{heap_bytes, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT}},
    };
    for (VkBaseOutStructure *s = out->pNext; s; s = s->pNext)
        if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT)
            ((VkPhysicalDeviceMemoryBudgetPropertiesEXT *)s)->heapBudget[0] = heap_bytes;
}

// The compute units of the chip: the null device has a larger one's.
static VKAPI_ATTR void VKAPI_CALL properties_of(VkPhysicalDevice physical,
                                                VkPhysicalDeviceProperties2 *out)
{
    const char *chip = getenv("RADV_FORCE_FAMILY");
    PFN_vkGetPhysicalDeviceProperties2 next =
        (PFN_vkGetPhysicalDeviceProperties2)below.get(instance, "vkGetPhysicalDeviceProperties2");
    next(physical, out);
    for (VkBaseOutStructure *s = out->pNext; s; s = s->pNext)
        if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_2_AMD)
            ((VkPhysicalDeviceShaderCoreProperties2AMD *)s)->activeComputeUnitCount =
                chip && strcmp(chip, "gfx1151") == 0 ? 40 : 16;
}

static VKAPI_ATTR void VKAPI_CALL requirements_of(VkDevice device, VkBuffer buffer,
                                                  VkMemoryRequirements *out)
{
    below_requirements(device, buffer, out);
    out->memoryTypeBits = 1;
}

static VKAPI_ATTR void VKAPI_CALL requirements_of_any(VkDevice device,
                                                      const VkDeviceBufferMemoryRequirements *info,
                                                      VkMemoryRequirements2 *out)
{
    below_requirements_of_any(device, info, out);
    out->memoryRequirements.memoryTypeBits = 1;
}

static VKAPI_ATTR VkDeviceAddress VKAPI_CALL address_of(VkDevice device,
                                                        const VkBufferDeviceAddressInfo *info)
{
    static VkDeviceAddress next;
    (void)device, (void)info;
    return next += (VkDeviceAddress)1 << 32;
}

// ---- which calls --------------------------------------------------------------------------------

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL get(VkInstance of, const char *name);

static const struct {
    const char *name;
    PFN_vkVoidFunction function;
} of_device[] = {
    {"vkCreateShaderModule", (PFN_vkVoidFunction)create_module},
    {"vkCreateComputePipelines", (PFN_vkVoidFunction)create_pipelines},
    {"vkCmdBindPipeline", (PFN_vkVoidFunction)bind},
    {"vkCmdDispatch", (PFN_vkVoidFunction)dispatch},
    {"vkCreateSemaphore", (PFN_vkVoidFunction)create_semaphore},
    {"vkGetBufferMemoryRequirements", (PFN_vkVoidFunction)requirements_of},
    {"vkGetDeviceBufferMemoryRequirements", (PFN_vkVoidFunction)requirements_of_any},
    {"vkGetBufferDeviceAddress", (PFN_vkVoidFunction)address_of},
};

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL get_device(VkDevice device, const char *name)
{
    for (size_t i = 0; i < COUNT_OF(of_device); i++)
        if (strcmp(name, of_device[i].name) == 0)
            return of_device[i].function;
    if (does_nothing(name))
        return (PFN_vkVoidFunction)nothing;
    return below_device(device, name);
}

static VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice physical,
                                                    const VkDeviceCreateInfo *info,
                                                    const VkAllocationCallbacks *callbacks,
                                                    VkDevice *out)
{
    uint32_t n = info->enabledExtensionCount;
    const char **names = mem_array(n + 1, sizeof(*names));
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
    DEVICE(below_requirements, vkGetBufferMemoryRequirements);
    DEVICE(below_requirements_of_any, vkGetDeviceBufferMemoryRequirements);
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
    if (strcmp(name, "vkGetPhysicalDeviceMemoryProperties2") == 0)
        return (PFN_vkVoidFunction)memory_of;
    if (strcmp(name, "vkGetPhysicalDeviceProperties2") == 0)
        return (PFN_vkVoidFunction)properties_of;
    if (strcmp(name, "vkGetDeviceProcAddr") == 0)
        return (PFN_vkVoidFunction)get_device;
    return below.get(of, name);
}

enum status vulkan_entry(struct entry *out, struct err *err)
{
    enum status status = static_entry(&below, err);
    if (status != OK)
        return status;
    for (uint32_t i = 0; i < kernel_count; i++)
        printf("kernel %s\n", kernel_table[i].name);
    *out = below;
    out->get = get;
    return OK;
}
