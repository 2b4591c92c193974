// probe.c - what the appliance's static drivers can do, asked through the same entry as the engine.
//
//   probe         the instance and its devices; for each device that takes it, a compute pipeline
//   and
//                 what the driver says of its code
//   probe run     the same, and the pipeline adds 2^16 numbers, which are checked
//
// One fact a line, for tests/golden/static_driver.py. Exit status 0: everything asked was done (no
// device at all is a fact, not a failure).
#include "compute/vulkan/entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N 65536u

extern const uint32_t add_spv[];
extern const uint32_t add_spv_end[];

static PFN_vkGetInstanceProcAddr get;
static VkInstance instance;

#define INSTANCE(name) PFN_##name name = (PFN_##name)get(instance, #name)
#define DEVICE(name)                                                                               \
    PFN_##name name = (PFN_##name)((PFN_vkGetDeviceProcAddr)get(instance, "vkGetDeviceProcAddr"))( \
        d->device, #name)
#define MUST(call) must((call), #call)

static void must(VkResult result, const char *what)
{
    if (result == VK_SUCCESS)
        return;
    printf("failed %d %s\n", result, what);
    exit(1);
}

struct device {
    VkPhysicalDevice physical;
    VkDevice device;
    uint32_t family;
    bool statistics;
    VkDescriptorSetLayout set_layout;
    VkPipelineLayout layout;
    VkPipeline pipeline;
};

static void open_instance(void)
{
    struct entry entry;
    struct err err = {0};
    if (vulkan_entry(&entry, &err) != OK) {
        printf("failed entry %s\n", err.text);
        exit(1);
    }
    get = entry.get;
    VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .apiVersion = VK_API_VERSION_1_3,
    };
    VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pNext = entry.next,
        .pApplicationInfo = &application,
        .enabledExtensionCount = entry.n_extensions,
        .ppEnabledExtensionNames = entry.extensions,
    };
    INSTANCE(vkCreateInstance);
    MUST(vkCreateInstance(&info, NULL, &instance));
}

static bool has_extension(VkPhysicalDevice physical, const char *name)
{
    INSTANCE(vkEnumerateDeviceExtensionProperties);
    uint32_t n = 0;
    MUST(vkEnumerateDeviceExtensionProperties(physical, NULL, &n, NULL));
    VkExtensionProperties *all = calloc(n, sizeof(*all));
    MUST(vkEnumerateDeviceExtensionProperties(physical, NULL, &n, all));
    bool found = false;
    for (uint32_t i = 0; i < n; i++)
        found |= strcmp(all[i].extensionName, name) == 0;
    free(all);
    return found;
}

static void open_device(struct device *d)
{
    d->statistics =
        has_extension(d->physical, VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME);
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR wanted = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
        .pipelineExecutableInfo = VK_TRUE,
    };
    const char *name = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
    float priority = 1;
    VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueFamilyIndex = d->family,
        .queueCount = 1,
        .pQueuePriorities = &priority,
    };
    VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = d->statistics ? &wanted : NULL,
        .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &queue,
        .enabledExtensionCount = d->statistics ? 1 : 0,
        .ppEnabledExtensionNames = &name,
    };
    INSTANCE(vkCreateDevice);
    MUST(vkCreateDevice(d->physical, &info, NULL, &d->device));
}

static void make_pipeline(struct device *d)
{
    VkDescriptorSetLayoutBinding bindings[3];
    for (uint32_t i = 0; i < 3; i++)
        bindings[i] = (VkDescriptorSetLayoutBinding){i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1,
                                                     VK_SHADER_STAGE_COMPUTE_BIT, NULL};
    VkDescriptorSetLayoutCreateInfo set = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
        .bindingCount = 3,
        .pBindings = bindings,
    };
    DEVICE(vkCreateDescriptorSetLayout);
    MUST(vkCreateDescriptorSetLayout(d->device, &set, NULL, &d->set_layout));
    VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(uint32_t)};
    VkPipelineLayoutCreateInfo layout = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .setLayoutCount = 1,
        .pSetLayouts = &d->set_layout,
        .pushConstantRangeCount = 1,
        .pPushConstantRanges = &range,
    };
    DEVICE(vkCreatePipelineLayout);
    MUST(vkCreatePipelineLayout(d->device, &layout, NULL, &d->layout));
    VkShaderModuleCreateInfo code = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
        .codeSize = (size_t)((const char *)add_spv_end - (const char *)add_spv),
        .pCode = add_spv,
    };
    VkShaderModule module;
    DEVICE(vkCreateShaderModule);
    MUST(vkCreateShaderModule(d->device, &code, NULL, &module));
    VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .flags = d->statistics ? VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR : 0,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = module,
                  .pName = "main"},
        .layout = d->layout,
    };
    DEVICE(vkCreateComputePipelines);
    MUST(vkCreateComputePipelines(d->device, VK_NULL_HANDLE, 1, &info, NULL, &d->pipeline));
    printf("pipeline made\n");
}

static void show_statistics(struct device *d)
{
    DEVICE(vkGetPipelineExecutableStatisticsKHR);
    VkPipelineExecutableInfoKHR info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
        .pipeline = d->pipeline,
    };
    uint32_t n = 0;
    MUST(vkGetPipelineExecutableStatisticsKHR(d->device, &info, &n, NULL));
    VkPipelineExecutableStatisticKHR *all = calloc(n, sizeof(*all));
    for (uint32_t i = 0; i < n; i++)
        all[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
    MUST(vkGetPipelineExecutableStatisticsKHR(d->device, &info, &n, all));
    for (uint32_t i = 0; i < n; i++)
        if (all[i].format == VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR)
            printf("statistic %s = %llu\n", all[i].name, (unsigned long long)all[i].value.u64);
    free(all);
}

// A buffer of N floats that the processor sees.
static float *make_buffer(struct device *d, VkBuffer *out)
{
    VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = N * sizeof(float),
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT,
    };
    DEVICE(vkCreateBuffer);
    MUST(vkCreateBuffer(d->device, &info, NULL, out));
    VkMemoryRequirements needs;
    DEVICE(vkGetBufferMemoryRequirements);
    vkGetBufferMemoryRequirements(d->device, *out, &needs);
    VkPhysicalDeviceMemoryProperties memory;
    INSTANCE(vkGetPhysicalDeviceMemoryProperties);
    vkGetPhysicalDeviceMemoryProperties(d->physical, &memory);
    VkMemoryPropertyFlags flags =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    uint32_t type = 0;
    while (!(needs.memoryTypeBits >> type & 1) ||
           (memory.memoryTypes[type].propertyFlags & flags) != flags)
        if (++type == memory.memoryTypeCount)
            must(VK_ERROR_FEATURE_NOT_PRESENT, "host-visible memory");
    VkMemoryAllocateInfo allocation = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .allocationSize = needs.size,
        .memoryTypeIndex = type,
    };
    VkDeviceMemory storage;
    void *mapped;
    DEVICE(vkAllocateMemory);
    DEVICE(vkBindBufferMemory);
    DEVICE(vkMapMemory);
    MUST(vkAllocateMemory(d->device, &allocation, NULL, &storage));
    MUST(vkBindBufferMemory(d->device, *out, storage, 0));
    MUST(vkMapMemory(d->device, storage, 0, VK_WHOLE_SIZE, 0, &mapped));
    return mapped;
}

static VkDescriptorSet make_set(struct device *d, const VkBuffer buffers[3])
{
    VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 3};
    VkDescriptorPoolCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
        .maxSets = 1,
        .poolSizeCount = 1,
        .pPoolSizes = &size,
    };
    VkDescriptorPool pool;
    DEVICE(vkCreateDescriptorPool);
    MUST(vkCreateDescriptorPool(d->device, &info, NULL, &pool));
    VkDescriptorSetAllocateInfo allocation = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
        .descriptorPool = pool,
        .descriptorSetCount = 1,
        .pSetLayouts = &d->set_layout,
    };
    VkDescriptorSet set;
    DEVICE(vkAllocateDescriptorSets);
    MUST(vkAllocateDescriptorSets(d->device, &allocation, &set));
    DEVICE(vkUpdateDescriptorSets);
    for (uint32_t i = 0; i < 3; i++) {
        VkDescriptorBufferInfo buffer = {buffers[i], 0, VK_WHOLE_SIZE};
        VkWriteDescriptorSet write = {
            .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
            .dstSet = set,
            .dstBinding = i,
            .descriptorCount = 1,
            .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
            .pBufferInfo = &buffer,
        };
        vkUpdateDescriptorSets(d->device, 1, &write, 0, NULL);
    }
    return set;
}

static VkCommandBuffer record(struct device *d, VkDescriptorSet set)
{
    VkCommandPoolCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .queueFamilyIndex = d->family,
    };
    VkCommandPool pool;
    DEVICE(vkCreateCommandPool);
    MUST(vkCreateCommandPool(d->device, &info, NULL, &pool));
    VkCommandBufferAllocateInfo allocation = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = pool,
        .commandBufferCount = 1,
    };
    VkCommandBuffer commands;
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    DEVICE(vkAllocateCommandBuffers);
    DEVICE(vkBeginCommandBuffer);
    DEVICE(vkCmdBindPipeline);
    DEVICE(vkCmdBindDescriptorSets);
    DEVICE(vkCmdPushConstants);
    DEVICE(vkCmdDispatch);
    DEVICE(vkCmdPipelineBarrier);
    DEVICE(vkEndCommandBuffer);
    MUST(vkAllocateCommandBuffers(d->device, &allocation, &commands));
    MUST(vkBeginCommandBuffer(commands, &begin));
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, d->pipeline);
    vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, d->layout, 0, 1, &set, 0,
                            NULL);
    uint32_t n = N;
    vkCmdPushConstants(commands, d->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(n), &n);
    vkCmdDispatch(commands, N / 64, 1, 1);
    VkMemoryBarrier barrier = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_HOST_READ_BIT,
    };
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_PIPELINE_STAGE_HOST_BIT,
                         0, 1, &barrier, 0, NULL, 0, NULL);
    MUST(vkEndCommandBuffer(commands));
    return commands;
}

static void run(struct device *d)
{
    VkBuffer buffers[3];
    float *a = make_buffer(d, &buffers[0]);
    float *b = make_buffer(d, &buffers[1]);
    float *sum = make_buffer(d, &buffers[2]);
    for (uint32_t i = 0; i < N; i++) {
        a[i] = 0.5f * (float)i;
        b[i] = 1000.0f - 0.25f * (float)i;
        sum[i] = -1;
    }
    VkCommandBuffer commands = record(d, make_set(d, buffers));
    VkSubmitInfo submit = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .commandBufferCount = 1,
        .pCommandBuffers = &commands,
    };
    VkQueue queue;
    DEVICE(vkGetDeviceQueue);
    DEVICE(vkQueueSubmit);
    DEVICE(vkQueueWaitIdle);
    vkGetDeviceQueue(d->device, d->family, 0, &queue);
    MUST(vkQueueSubmit(queue, 1, &submit, VK_NULL_HANDLE));
    MUST(vkQueueWaitIdle(queue));
    uint32_t n_wrong = 0;
    for (uint32_t i = 0; i < N; i++)
        n_wrong += sum[i] != a[i] + b[i];
    printf("ran %u sums, %u wrong\n", N, n_wrong);
    if (n_wrong)
        exit(1);
}

static bool find_family(struct device *d)
{
    VkQueueFamilyProperties families[16];
    uint32_t n = COUNT_OF(families);
    INSTANCE(vkGetPhysicalDeviceQueueFamilyProperties);
    vkGetPhysicalDeviceQueueFamilyProperties(d->physical, &n, families);
    for (uint32_t i = 0; i < n; i++)
        if (families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) {
            d->family = i;
            return true;
        }
    return false;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    open_instance();
    VkPhysicalDevice all[16];
    uint32_t n = COUNT_OF(all);
    INSTANCE(vkEnumeratePhysicalDevices);
    INSTANCE(vkGetPhysicalDeviceProperties);
    VkResult found = vkEnumeratePhysicalDevices(instance, &n, all);
    if (found == VK_ERROR_INITIALIZATION_FAILED)
        n = 0; // what the loader answers when no driver has a device
    else
        must(found, "vkEnumeratePhysicalDevices");
    printf("devices %u\n", n);
    for (uint32_t i = 0; i < n; i++) {
        struct device d = {.physical = all[i]};
        VkPhysicalDeviceProperties is;
        vkGetPhysicalDeviceProperties(d.physical, &is);
        printf("device %s, type %d, Vulkan %u.%u\n", is.deviceName, is.deviceType,
               VK_API_VERSION_MAJOR(is.apiVersion), VK_API_VERSION_MINOR(is.apiVersion));
        if (!find_family(&d))
            continue;
        open_device(&d);
        make_pipeline(&d);
        if (d.statistics)
            show_statistics(&d);
        if (argc > 1 && strcmp(argv[1], "run") == 0)
            run(&d);
    }
    return 0;
}
