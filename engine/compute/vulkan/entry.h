// entry.h - where Vulkan comes from: the one thing about it that differs between the flavours.
//
// Two implementations, of which the link line takes one: entry_static.c (appliance: RADV and Venus
// are inside the binary and nothing outside it is asked) and entry_system.c (host, asan: the
// system's loader, which finds the system's drivers). Everything above works from what is returned
// here and links no Vulkan symbol of its own.
#pragma once

#include "base/base.h"

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

struct entry {
    PFN_vkGetInstanceProcAddr get; // the loader's
    const void *next;              // for VkInstanceCreateInfo.pNext, in front of nothing; or NULL
    const char *const *extensions; // instance extensions that `next` needs
    uint32_t n_extensions;
};

// Fills *out with pointers that stay valid until the process ends. NOT_FOUND: there is no loader.
// Call it before there is a second thread (it may set an environment variable); repeating it gives
// the same answer. Where no driver has a device, the loader's vkEnumeratePhysicalDevices fails with
// VK_ERROR_INITIALIZATION_FAILED: that means none.
MUST_USE enum status vulkan_entry(struct entry *out, struct err *err);
