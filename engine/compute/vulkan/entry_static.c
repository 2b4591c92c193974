// entry_static.c - the appliance's Vulkan: loader and drivers are part of this binary.
//
// The drivers are handed to the loader by VK_LUNARG_direct_driver_loading in its exclusive mode, so
// no manifest, search path or variable decides which driver is used, and none can be missing. RADV
// drives AMD GPUs through amdgpu (in a VM through virtio-gpu's native context too), Venus any GPU
// of a host that lends it by virtio-gpu; both are enumerated side by side. engine/deps/mesa.sh
// makes the two symbols below: one per driver, all else in it is hidden.
#include "compute/vulkan/entry.h"

#include <stdlib.h>

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL radv_icdGetInstanceProcAddr(VkInstance, const char *);
VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL venus_icdGetInstanceProcAddr(VkInstance, const char *);
VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance, const char *);

static const VkDirectDriverLoadingInfoLUNARG drivers[] = {
    {
        .sType = VK_STRUCTURE_TYPE_DIRECT_DRIVER_LOADING_INFO_LUNARG,
        .pfnGetInstanceProcAddr = radv_icdGetInstanceProcAddr,
    },
    {
        .sType = VK_STRUCTURE_TYPE_DIRECT_DRIVER_LOADING_INFO_LUNARG,
        .pfnGetInstanceProcAddr = venus_icdGetInstanceProcAddr,
    },
};
static const VkDirectDriverLoadingListLUNARG driver_list = {
    .sType = VK_STRUCTURE_TYPE_DIRECT_DRIVER_LOADING_LIST_LUNARG,
    .mode = VK_DIRECT_DRIVER_LOADING_MODE_EXCLUSIVE_LUNARG,
    .driverCount = COUNT_OF(drivers),
    .pDrivers = drivers,
};
static const char *const extensions[] = {VK_LUNARG_DIRECT_DRIVER_LOADING_EXTENSION_NAME};

enum status vulkan_entry(struct entry *out, struct err *err)
{
    // Layers are shared objects, which a static binary cannot load: the loader need not look.
    if (setenv("VK_LOADER_LAYERS_DISABLE", "~all~", 1) != 0)
        return err_set(err, NO_ROOM, "there is no memory for one environment variable");
    *out = (struct entry){vkGetInstanceProcAddr, &driver_list, extensions, COUNT_OF(extensions)};
    return OK;
}
