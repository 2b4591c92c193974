// instance.c - the instance, and what Vulkan enumerates: every device looked at in full, with what
// it has and why it is refused.
//
// A device is refused for one stated reason, the first that is found: the version, a feature, a
// limit. What only some kernels use (16-bit arithmetic, integer dot products, cooperative matrices)
// is noted and never a reason. "Venus over llvmpipe" is software as much as llvmpipe is: Venus
// hands on its host's device type.
#include "core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum status instance_open(struct instance *out, struct err *err)
{
    struct entry entry;
    struct instance instance = {0};
    enum status status = vulkan_entry(&entry, err);
    if (status != OK)
        return status;
    snprintf(instance.loader, sizeof(instance.loader), "%s",
             entry.next ? "linked in" : "the system's libvulkan.so.1");
    PFN_vkCreateInstance create = (PFN_vkCreateInstance)entry.get(NULL, "vkCreateInstance");
    if (!create)
        return err_set(err, NOT_FOUND, "the Vulkan loader has no vkCreateInstance");
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .pApplicationName = "tawny",
        .pEngineName = "tawny",
        .apiVersion = VK_API_VERSION_1_3,
    };
    const VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pNext = entry.next,
        .pApplicationInfo = &application,
        .enabledExtensionCount = entry.n_extensions,
        .ppEnabledExtensionNames = entry.extensions,
    };
    VkResult result = create(&info, NULL, &instance.handle);
    if (result == VK_ERROR_INCOMPATIBLE_DRIVER)
        return err_set(err, NOT_FOUND, "the Vulkan loader (%s) finds no driver", instance.loader);
    if (result != VK_SUCCESS)
        return vk_refused(err, "vkCreateInstance", result);
#define FETCH(name)                                                                                \
    instance.call.name = (PFN_vk##name)entry.get(instance.handle, "vk" #name);                     \
    if (!instance.call.name)                                                                       \
        return err_set(err, UNSUPPORTED, "the Vulkan loader has no vk%s", #name);
    INSTANCE_CALLS(FETCH)
#undef FETCH
    instance.call.CooperativeMatrixProperties =
        (PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)entry.get(
            instance.handle, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    *out = instance;
    return OK;
}

void instance_close(struct instance *instance)
{
    if (instance->handle)
        instance->call.DestroyInstance(instance->handle, NULL);
    instance->handle = NULL;
}

// ---- features -----------------------------------------------------------------------------------

void chain_link(struct feature_chain *chain, bool matrix, bool fault)
{
    chain->core.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    chain->v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES;
    chain->v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
    chain->v13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES;
    chain->matrix.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR;
    chain->fault.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FAULT_FEATURES_EXT;
    chain->core.pNext = &chain->v11;
    chain->v11.pNext = &chain->v12;
    chain->v12.pNext = &chain->v13;
    chain->fault.pNext = NULL;
    chain->matrix.pNext = fault ? &chain->fault : NULL;
    chain->v13.pNext = matrix ? &chain->matrix : chain->matrix.pNext;
}

static const struct feature {
    const char *name;
    size_t at; // of its VkBool32 in struct feature_chain
    bool required;
} wanted_features[] = {
#define FEATURE(part, name, required) {#name, offsetof(struct feature_chain, part.name), required}
    FEATURE(core.features, shaderInt64, true),
    FEATURE(core.features, shaderInt16, true),
    FEATURE(v11, storageBuffer16BitAccess, true),
    FEATURE(v12, storageBuffer8BitAccess, true),
    FEATURE(v12, shaderInt8, true),
    FEATURE(v12, bufferDeviceAddress, true),
    FEATURE(v12, scalarBlockLayout, true),
    FEATURE(v12, timelineSemaphore, true),
    FEATURE(v13, maintenance4, true),
    FEATURE(v13, synchronization2, true),
    FEATURE(v12, shaderFloat16, false),
    FEATURE(v12, shaderSubgroupExtendedTypes, false),
    FEATURE(v12, vulkanMemoryModel, false),
    FEATURE(v12, vulkanMemoryModelDeviceScope, false),
    FEATURE(v13, shaderIntegerDotProduct, false),
    FEATURE(v13, subgroupSizeControl, false),
    FEATURE(v13, computeFullSubgroups, false),
    FEATURE(matrix, cooperativeMatrix, false),
    FEATURE(fault, deviceFault, false),
#undef FEATURE
};

static VkBool32 *feature_of(const struct feature_chain *chain, const struct feature *feature)
{
    return (VkBool32 *)((uintptr_t)chain + feature->at);
}

void chain_want(struct feature_chain *chain, const struct feature_chain *found)
{
    for (size_t i = 0; i < COUNT_OF(wanted_features); i++)
        *feature_of(chain, &wanted_features[i]) = *feature_of(found, &wanted_features[i]);
}

// ---- one device ---------------------------------------------------------------------------------

struct properties { // linked by properties_read
    VkPhysicalDeviceProperties2 core;
    VkPhysicalDeviceVulkan11Properties v11;
    VkPhysicalDeviceVulkan12Properties v12;
    VkPhysicalDeviceVulkan13Properties v13;
    VkPhysicalDeviceShaderCorePropertiesAMD cores;
    VkPhysicalDeviceShaderCoreProperties2AMD cores2;
    VkPhysicalDeviceShaderSMBuiltinsPropertiesNV sms;
    VkPhysicalDeviceDrmPropertiesEXT drm;
};

struct extensions {
    VkExtensionProperties *all;
    uint32_t n;
};

static bool has(const struct extensions *extensions, const char *name)
{
    for (uint32_t i = 0; i < extensions->n; i++)
        if (strcmp(extensions->all[i].extensionName, name) == 0)
            return true;
    return false;
}

static void extensions_read(const struct instance *instance, VkPhysicalDevice physical,
                            struct extensions *out)
{
    uint32_t n = 0;
    *out = (struct extensions){0};
    if (instance->call.EnumerateDeviceExtensionProperties(physical, NULL, &n, NULL) < 0 || n == 0)
        return;
    out->all = mem_array(n, sizeof(*out->all));
    if (instance->call.EnumerateDeviceExtensionProperties(physical, NULL, &n, out->all) >= 0)
        out->n = n;
}

static void properties_read(const struct instance *instance, VkPhysicalDevice physical,
                            const struct extensions *extensions, struct properties *p)
{
    *p = (struct properties){
        .core.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
        .v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES,
        .v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES,
        .v13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES,
        .cores.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_AMD,
        .cores2.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_2_AMD,
        .sms.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV,
        .drm.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRM_PROPERTIES_EXT,
    };
    instance->call.GetPhysicalDeviceProperties2(physical, &p->core);
    if (p->core.properties.apiVersion < VK_API_VERSION_1_3)
        return;
    void **next = &p->core.pNext;
#define LINK(part) (*next = &p->part, next = &p->part.pNext)
    LINK(v11);
    LINK(v12);
    LINK(v13);
    if (has(extensions, VK_AMD_SHADER_CORE_PROPERTIES_EXTENSION_NAME))
        LINK(cores);
    if (has(extensions, VK_AMD_SHADER_CORE_PROPERTIES_2_EXTENSION_NAME))
        LINK(cores2);
    if (has(extensions, VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME))
        LINK(sms);
    if (has(extensions, VK_EXT_PHYSICAL_DEVICE_DRM_EXTENSION_NAME))
        LINK(drm);
#undef LINK
    instance->call.GetPhysicalDeviceProperties2(physical, &p->core);
}

static const char *kind_of(const struct properties *p)
{
    VkPhysicalDeviceType type = p->core.properties.deviceType;
    if (type == VK_PHYSICAL_DEVICE_TYPE_CPU)
        return "software";
    if (p->v12.driverID == VK_DRIVER_ID_MESA_VENUS)
        return "virtual";
    return type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU     ? "discrete"
           : type == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU ? "integrated"
                                                            : "virtual";
}

static uint32_t compute_units(const struct properties *p)
{
    if (p->cores2.activeComputeUnitCount > 0)
        return p->cores2.activeComputeUnitCount;
    if (p->cores.computeUnitsPerShaderArray > 0)
        return p->cores.shaderEngineCount * p->cores.shaderArraysPerEngineCount *
               p->cores.computeUnitsPerShaderArray;
    return p->sms.shaderSMCount;
}

static bool matrix_is(const VkCooperativeMatrixPropertiesKHR *m, uint32_t unit,
                      VkComponentTypeKHR ab, VkComponentTypeKHR c)
{
    return m->MSize == unit && m->NSize == unit && m->KSize == unit && m->AType == ab &&
           m->BType == ab && m->CType == c && m->ResultType == c &&
           m->scope == VK_SCOPE_SUBGROUP_KHR;
}

static void read_matrices(const struct instance *instance, struct candidate *c)
{
    PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR get =
        instance->call.CooperativeMatrixProperties;
    uint32_t n = 0;
    if (!c->found.matrix.cooperativeMatrix || !get || get(c->physical, &n, NULL) < 0 || n == 0)
        return;
    VkCooperativeMatrixPropertiesKHR *all = mem_array(n, sizeof(*all));
    for (uint32_t i = 0; i < n; i++)
        all[i].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    if (get(c->physical, &n, all) < 0)
        n = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (matrix_is(&all[i], 16, VK_COMPONENT_TYPE_FLOAT16_KHR, VK_COMPONENT_TYPE_FLOAT32_KHR))
            c->features.matrix_unit = 16;
        else if (matrix_is(&all[i], 8, VK_COMPONENT_TYPE_FLOAT16_KHR,
                           VK_COMPONENT_TYPE_FLOAT32_KHR) &&
                 c->features.matrix_unit == 0)
            c->features.matrix_unit = 8;
        if (matrix_is(&all[i], 16, VK_COMPONENT_TYPE_SINT8_KHR, VK_COMPONENT_TYPE_SINT32_KHR))
            c->features.cooperative_matrix_int8 = true;
    }
    c->features.cooperative_matrix = c->features.matrix_unit == 16;
    free(all);
}

static uint32_t least(uint64_t a, uint64_t b)
{
    uint64_t n = a < b ? a : b;
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static void fill_limits(struct candidate *c, const struct properties *p)
{
    const VkPhysicalDeviceLimits *limits = &p->core.properties.limits;
    uint64_t buffer = p->v13.maxBufferSize, memory = p->v11.maxMemoryAllocationSize;
    c->limits = (struct limits){
        .largest_buffer_bytes = least(buffer, memory) & ~(uint64_t)0xfff,
        .push_bytes = limits->maxPushConstantsSize,
    };
    memcpy(c->limits.groups_most, limits->maxComputeWorkGroupCount, sizeof(c->limits.groups_most));
    memcpy(c->limits.local_most, limits->maxComputeWorkGroupSize, sizeof(c->limits.local_most));
    c->said.largest_buffer_bytes = c->limits.largest_buffer_bytes;
}

static void fill_features(const struct instance *instance, struct candidate *c,
                          const struct properties *p)
{
    const VkPhysicalDeviceLimits *limits = &p->core.properties.limits;
    bool sized = c->found.v13.subgroupSizeControl &&
                 (p->v13.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT);
    c->features = (struct features){
        .subgroup_min = sized ? p->v13.minSubgroupSize : p->v11.subgroupSize,
        .subgroup_max = sized ? p->v13.maxSubgroupSize : p->v11.subgroupSize,
        .subgroup_default = p->v11.subgroupSize,
        .shared_bytes = limits->maxComputeSharedMemorySize,
        .workgroup_most = limits->maxComputeWorkGroupInvocations,
        .n_compute_units = compute_units(p),
        .half = c->found.v12.shaderFloat16,
        .integer_dot = c->found.v13.shaderIntegerDotProduct &&
                       p->v13.integerDotProduct4x8BitPackedSignedAccelerated,
        .software = strcmp(c->said.kind, "software") == 0,
    };
    read_matrices(instance, c);
    c->said.cooperative_matrix = c->features.cooperative_matrix;
    c->said.integer_dot = c->features.integer_dot;
    c->said.half = c->features.half;
    c->said.n_compute_units = (int32_t)c->features.n_compute_units;
}

// Compute alone or with graphics. On RADV the universal queue is reported 2 to 5 % faster at
// generating on larger GPUs; on small ones it competes with the display for the same front end, so
// they, like all others, take a queue of their own where there is one. Never a transfer queue.
static bool choose_family(const struct instance *instance, struct candidate *c,
                          const struct properties *p)
{
    enum { FAMILIES_MOST = 32, LARGE_UNITS = 32 };
    VkQueueFamilyProperties2 all[FAMILIES_MOST];
    uint32_t n = FAMILIES_MOST;
    for (uint32_t i = 0; i < FAMILIES_MOST; i++)
        all[i] = (VkQueueFamilyProperties2){.sType = VK_STRUCTURE_TYPE_QUEUE_FAMILY_PROPERTIES_2};
    instance->call.GetPhysicalDeviceQueueFamilyProperties2(c->physical, &n, all);
    bool universal = p->v12.driverID == VK_DRIVER_ID_MESA_RADV &&
                     c->features.n_compute_units >= LARGE_UNITS,
         any = false;
    for (uint32_t i = 0; i < n; i++) {
        VkQueueFlags flags = all[i].queueFamilyProperties.queueFlags;
        if (!(flags & VK_QUEUE_COMPUTE_BIT) || all[i].queueFamilyProperties.queueCount == 0)
            continue;
        bool graphics = flags & VK_QUEUE_GRAPHICS_BIT;
        if (!any || graphics == universal)
            c->family = i;
        if (graphics == universal)
            return true;
        any = true;
    }
    return any;
}

// ---- refusal ------------------------------------------------------------------------------------

static bool candidate_refuse(struct candidate *c, const char *format, ...) PRINTF_LIKE(2, 3);
static bool candidate_refuse(struct candidate *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(c->said.refusal, sizeof(c->said.refusal), format, args);
    va_end(args);
    return false;
}

static bool features_suffice(struct candidate *c)
{
    for (size_t i = 0; i < COUNT_OF(wanted_features); i++)
        if (wanted_features[i].required && !*feature_of(&c->found, &wanted_features[i]))
            return candidate_refuse(c, "the feature %s is wanted; the driver does not have it",
                                    wanted_features[i].name);
    return true;
}

static bool limits_suffice(struct candidate *c, const struct properties *p)
{
    const VkSubgroupFeatureFlags wanted = VK_SUBGROUP_FEATURE_BASIC_BIT |
                                          VK_SUBGROUP_FEATURE_ARITHMETIC_BIT |
                                          VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
    const struct {
        const char *name;
        uint64_t wanted, found;
    } limits[] = {
        {"maxPushConstantsSize", PUSH_MOST, c->limits.push_bytes},
        {"maxComputeWorkGroupInvocations", 256, c->features.workgroup_most},
        {"maxComputeSharedMemorySize", 32768, c->features.shared_bytes},
        {"maxBufferSize and maxMemoryAllocationSize", 256 << 20, c->limits.largest_buffer_bytes},
        {"minSubgroupSize", 4, c->features.subgroup_min},
    };
    if (!(p->v11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) ||
        (p->v11.subgroupSupportedOperations & wanted) != wanted)
        return candidate_refuse(
            c,
            "subgroup arithmetic and shuffle are wanted in compute shaders; found "
            "operations 0x%x in stages 0x%x",
            p->v11.subgroupSupportedOperations, p->v11.subgroupSupportedStages);
    for (size_t i = 0; i < COUNT_OF(limits); i++)
        if (limits[i].found < limits[i].wanted)
            return candidate_refuse(c, "the limit %s must be at least %llu; it is %llu",
                                    limits[i].name, (unsigned long long)limits[i].wanted,
                                    (unsigned long long)limits[i].found);
    return true;
}

static void fill_names(struct candidate *c, const struct properties *p)
{
    const VkPhysicalDeviceProperties *core = &p->core.properties;
    const char *version = p->v12.driverInfo;
    if (strncmp(version, "Mesa ", 5) == 0)
        version += 5;
    snprintf(c->said.name, sizeof(c->said.name), "%.95s", core->deviceName);
    if (p->v12.driverName[0])
        snprintf(c->said.driver, sizeof(c->said.driver), "%.40s %.50s", p->v12.driverName, version);
    else
        snprintf(c->said.driver, sizeof(c->said.driver), "driver version 0x%x",
                 core->driverVersion);
    snprintf(c->said.kind, sizeof(c->said.kind), "%s", kind_of(p));
    c->said.vendor_id = core->vendorID;
    c->said.device_id = core->deviceID;
    c->said.api_version = core->apiVersion;
    c->driver_version = core->driverVersion;
    memcpy(c->cache_uuid, core->pipelineCacheUUID, sizeof(c->cache_uuid));
    c->unified = core->deviceType != VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

static void look_at(const struct instance *instance, VkPhysicalDevice physical, struct candidate *c)
{
    struct extensions extensions;
    struct properties properties;
    *c = (struct candidate){.physical = physical};
    extensions_read(instance, physical, &extensions);
    properties_read(instance, physical, &extensions, &properties);
    c->memory_budget = has(&extensions, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    c->matrix_extension = has(&extensions, VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME);
    c->fault_extension = has(&extensions, VK_EXT_DEVICE_FAULT_EXTENSION_NAME);
    free(extensions.all);
    fill_names(c, &properties);
    c->drm = properties.drm.hasRender;
    c->drm_minor = (uint32_t)properties.drm.renderMinor;
    candidate_memory(instance, c, &c->said.memory_bytes, &c->said.memory_usable_bytes);
    uint32_t version = properties.core.properties.apiVersion;
    if (version < VK_API_VERSION_1_3) {
        candidate_refuse(c, "Vulkan 1.3 is wanted; the driver has %u.%u",
                         VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version));
        return;
    }
    chain_link(&c->found, c->matrix_extension, c->fault_extension);
    instance->call.GetPhysicalDeviceFeatures2(physical, &c->found.core);
    fill_features(instance, c, &properties);
    fill_limits(c, &properties);
    c->said.usable = features_suffice(c) && limits_suffice(c, &properties);
    if (c->said.usable && !choose_family(instance, c, &properties))
        c->said.usable =
            candidate_refuse(c, "a queue that computes is wanted; the driver has none");
}

enum status instance_candidates(const struct instance *instance, struct candidate *out, int32_t *n,
                                struct err *err)
{
    VkPhysicalDevice all[CANDIDATES_MOST];
    uint32_t n_all = CANDIDATES_MOST;
    VkResult result = instance->call.EnumeratePhysicalDevices(instance->handle, &n_all, all);
    if (result == VK_ERROR_INITIALIZATION_FAILED)
        n_all = 0; // the loader's answer when no driver has a device (entry.h)
    else if (result < 0)
        return vk_refused(err, "vkEnumeratePhysicalDevices", result);
    for (uint32_t i = 0; i < n_all; i++)
        look_at(instance, all[i], &out[i]);
    *n = (int32_t)n_all;
    return OK;
}

void vulkan_survey(struct survey *out)
{
    struct instance instance;
    struct candidate *all = mem_array(CANDIDATES_MOST, sizeof(*all));
    int32_t n = 0;
    *out = (struct survey){0};
    if (instance_open(&instance, &out->failure) == OK) {
        memcpy(out->loader, instance.loader, sizeof(out->loader));
        if (instance_candidates(&instance, all, &n, &out->failure) == OK)
            for (; out->n_devices < n && out->n_devices < SURVEY_DEVICES; out->n_devices++)
                out->device[out->n_devices] = all[out->n_devices].said;
        instance_close(&instance);
    }
    free(all);
}
