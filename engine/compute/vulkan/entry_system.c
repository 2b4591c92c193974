// entry_system.c - Vulkan of the machine this runs on, for the builds that are developed and tested
// with (host, asan): its loader, and through it whatever drivers are installed.
//
// The loader is opened at run time and never closed: a build machine needs no Vulkan, and one
// without it still runs everything on the processor.
#include "compute/vulkan/entry.h"

#include <dlfcn.h>

#define LOADER "libvulkan.so.1"

enum status vulkan_entry(struct entry *out, struct err *err)
{
    void *loader = dlopen(LOADER, RTLD_NOW | RTLD_LOCAL);
    if (!loader)
        return err_set(err, NOT_FOUND,
                       "the Vulkan loader " LOADER " cannot be opened (%.100s): install libvulkan1 "
                       "(Debian, Ubuntu), vulkan-loader (Fedora) or vulkan-icd-loader (Arch)",
                       dlerror());
    // POSIX has dlsym return functions as object pointers.
    PFN_vkGetInstanceProcAddr get =
        (PFN_vkGetInstanceProcAddr)dlsym(loader, "vkGetInstanceProcAddr");
    if (!get)
        return err_set(err, NOT_FOUND, LOADER " has no vkGetInstanceProcAddr: it is not a loader");
    *out = (struct entry){.get = get};
    return OK;
}
