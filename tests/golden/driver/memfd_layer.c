// memfd_layer.c - a Vulkan layer for tests: memory that can be handed to another process, without a
// kernel driver that makes such memory.
//
// virgl_test_server (Venus) passes every mapped allocation of its client as a dma-buf, and lavapipe
// makes dma-bufs by /dev/udmabuf, which build machines rarely have. This layer, loaded into the
// server, replaces an exportable allocation by a memfd imported as host memory
// (VK_EXT_external_memory_host), and gives that memfd out where a dma-buf is asked for: to a client
// that only maps it there is no difference. One instance and one device per process, as that server
// has them; nothing here is for any other use.
#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>
#include <vulkan/vk_layer.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HANDLES                                                                                    \
    (VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT | VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT)

static VkInstance instance;
static PFN_vkGetInstanceProcAddr next_instance_proc;
static PFN_vkGetDeviceProcAddr next_device_proc;
static PFN_vkAllocateMemory next_allocate;
static PFN_vkFreeMemory next_free;
static PFN_vkGetMemoryFdKHR next_get_fd;

// What replaces a VkDeviceMemory's storage.
struct shared {
    struct shared *next;
    VkDeviceMemory memory;
    void *map;
    size_t n_bytes;
    int fd;
};
static struct shared *all;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const void *find(const void *chain, VkStructureType type)
{
    for (const VkBaseInStructure *s = chain; s; s = s->pNext)
        if (s->sType == type)
            return s;
    return NULL;
}

static struct shared *shared_open(int fd, size_t n_bytes)
{
    struct shared *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    *s = (struct shared){.n_bytes = n_bytes, .fd = fd, .map = MAP_FAILED};
    if (s->fd < 0) {
        s->fd = memfd_create("vulkan", MFD_CLOEXEC);
        if (s->fd >= 0 && ftruncate(s->fd, (off_t)n_bytes) != 0) {
            close(s->fd);
            s->fd = -1;
        }
    }
    if (s->fd >= 0)
        s->map = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
    if (s->map == MAP_FAILED) {
        if (s->fd != fd && s->fd >= 0)
            close(s->fd);
        free(s);
        return NULL;
    }
    return s;
}

static VKAPI_ATTR VkResult VKAPI_CALL allocate(VkDevice device, const VkMemoryAllocateInfo *info,
                                               const VkAllocationCallbacks *callbacks,
                                               VkDeviceMemory *out)
{
    const VkExportMemoryAllocateInfo *export =
        find(info->pNext, VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO);
    const VkImportMemoryFdInfoKHR *import =
        find(info->pNext, VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR);
    if (!import && (!export || export->handleTypes == 0))
        return next_allocate(device, info, callbacks, out);

    size_t n_bytes = (info->allocationSize + 4095) & ~(size_t)4095;
    struct shared *s = shared_open(import ? import->fd : -1, n_bytes);
    if (!s)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkImportMemoryHostPointerInfoEXT host = {
        .sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT,
        .handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT,
        .pHostPointer = s->map,
    };
    VkMemoryAllocateFlagsInfo flags;
    const VkMemoryAllocateFlagsInfo *given =
        find(info->pNext, VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO);
    if (given) {
        flags = *given;
        flags.pNext = NULL;
        host.pNext = &flags;
    }
    VkMemoryAllocateInfo replaced = *info;
    replaced.pNext = &host;
    replaced.allocationSize = n_bytes;
    VkResult result = next_allocate(device, &replaced, callbacks, out);
    if (result != VK_SUCCESS) {
        munmap(s->map, n_bytes);
        if (!import)
            close(s->fd);
        free(s);
        return result;
    }
    s->memory = *out;
    pthread_mutex_lock(&lock);
    s->next = all;
    all = s;
    pthread_mutex_unlock(&lock);
    return VK_SUCCESS;
}

static VKAPI_ATTR void VKAPI_CALL free_memory(VkDevice device, VkDeviceMemory memory,
                                              const VkAllocationCallbacks *callbacks)
{
    next_free(device, memory, callbacks);
    pthread_mutex_lock(&lock);
    for (struct shared **at = &all; *at; at = &(*at)->next) {
        struct shared *s = *at;
        if (s->memory != memory)
            continue;
        *at = s->next;
        munmap(s->map, s->n_bytes);
        close(s->fd);
        free(s);
        break;
    }
    pthread_mutex_unlock(&lock);
}

static VKAPI_ATTR VkResult VKAPI_CALL get_fd(VkDevice device, const VkMemoryGetFdInfoKHR *info,
                                             int *out)
{
    int fd = -1;
    pthread_mutex_lock(&lock);
    for (struct shared *s = all; s; s = s->next)
        if (s->memory == info->memory)
            fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 3);
    pthread_mutex_unlock(&lock);
    if (fd < 0)
        return next_get_fd(device, info, out);
    *out = fd;
    return VK_SUCCESS;
}

static VKAPI_ATTR VkResult VKAPI_CALL get_fd_properties(VkDevice device,
                                                        VkExternalMemoryHandleTypeFlagBits type,
                                                        int fd, VkMemoryFdPropertiesKHR *out)
{
    (void)device, (void)type, (void)fd;
    out->memoryTypeBits = 1; // lavapipe's only type
    return VK_SUCCESS;
}

static VKAPI_ATTR void VKAPI_CALL buffer_properties(VkPhysicalDevice device,
                                                    const VkPhysicalDeviceExternalBufferInfo *info,
                                                    VkExternalBufferProperties *out)
{
    PFN_vkGetPhysicalDeviceExternalBufferProperties next =
        (PFN_vkGetPhysicalDeviceExternalBufferProperties)next_instance_proc(
            instance, "vkGetPhysicalDeviceExternalBufferProperties");
    next(device, info, out);
    if (info->handleType & HANDLES)
        out->externalMemoryProperties = (VkExternalMemoryProperties){
            .externalMemoryFeatures = VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT |
                                      VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT,
            .exportFromImportedHandleTypes = info->handleType,
            .compatibleHandleTypes = info->handleType,
        };
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
    PFN_vkCreateInstance next =
        (PFN_vkCreateInstance)next_instance_proc(VK_NULL_HANDLE, "vkCreateInstance");
    VkResult result = next(info, callbacks, out);
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

    uint32_t n = info->enabledExtensionCount;
    const char **names = calloc(n + 1, sizeof(*names));
    if (!names)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    bool there = false;
    for (uint32_t i = 0; i < n; i++) {
        names[i] = info->ppEnabledExtensionNames[i];
        there |= strcmp(names[i], VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME) == 0;
    }
    if (!there)
        names[n++] = VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME;
    VkDeviceCreateInfo changed = *info;
    changed.enabledExtensionCount = n;
    changed.ppEnabledExtensionNames = names;
    VkResult result =
        ((PFN_vkCreateDevice)proc(instance, "vkCreateDevice"))(physical, &changed, callbacks, out);
    free(names);
    if (result != VK_SUCCESS)
        return result;
    next_allocate = (PFN_vkAllocateMemory)next_device_proc(*out, "vkAllocateMemory");
    next_free = (PFN_vkFreeMemory)next_device_proc(*out, "vkFreeMemory");
    next_get_fd = (PFN_vkGetMemoryFdKHR)next_device_proc(*out, "vkGetMemoryFdKHR");
    return VK_SUCCESS;
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL memfd_device_proc(VkDevice device, const char *name);
VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL memfd_instance_proc(VkInstance of, const char *name);

static const struct {
    const char *name;
    PFN_vkVoidFunction function;
    bool of_device;
} replaced[] = {
    {"vkGetDeviceProcAddr", (PFN_vkVoidFunction)memfd_device_proc, true},
    {"vkAllocateMemory", (PFN_vkVoidFunction)allocate, true},
    {"vkFreeMemory", (PFN_vkVoidFunction)free_memory, true},
    {"vkGetMemoryFdKHR", (PFN_vkVoidFunction)get_fd, true},
    {"vkGetMemoryFdPropertiesKHR", (PFN_vkVoidFunction)get_fd_properties, true},
    {"vkGetInstanceProcAddr", (PFN_vkVoidFunction)memfd_instance_proc, false},
    {"vkCreateInstance", (PFN_vkVoidFunction)create_instance, false},
    {"vkCreateDevice", (PFN_vkVoidFunction)create_device, false},
    {"vkGetPhysicalDeviceExternalBufferProperties", (PFN_vkVoidFunction)buffer_properties, false},
    {"vkGetPhysicalDeviceExternalBufferPropertiesKHR", (PFN_vkVoidFunction)buffer_properties,
     false},
};

static PFN_vkVoidFunction replacement(const char *name, bool of_device)
{
    for (size_t i = 0; i < sizeof(replaced) / sizeof(*replaced); i++)
        if ((replaced[i].of_device || !of_device) && strcmp(name, replaced[i].name) == 0)
            return replaced[i].function;
    return NULL;
}

PFN_vkVoidFunction memfd_device_proc(VkDevice device, const char *name)
{
    PFN_vkVoidFunction ours = replacement(name, true);
    return ours ? ours : next_device_proc(device, name);
}

PFN_vkVoidFunction memfd_instance_proc(VkInstance of, const char *name)
{
    PFN_vkVoidFunction ours = replacement(name, false);
    if (ours || !next_instance_proc)
        return ours;
    return next_instance_proc(of, name);
}
