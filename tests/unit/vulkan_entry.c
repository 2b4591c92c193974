// vulkan_entry.c - the system's loader is found and answers (the toolchain root has one), again and
// again with the same answer. The appliance's own entry is tested by tests/golden/static.
#include "check.h"
#include "compute/vulkan/entry.h"

int main(void)
{
    struct entry first, second;
    struct err err = {0};
    CHECK(vulkan_entry(&first, &err) == OK);
    CHECK(vulkan_entry(&second, &err) == OK);
    CHECK(first.get == second.get && !first.next && first.n_extensions == 0);
    CHECK(first.get(NULL, "vkCreateInstance"));
    PFN_vkEnumerateInstanceVersion version_of =
        (PFN_vkEnumerateInstanceVersion)first.get(NULL, "vkEnumerateInstanceVersion");
    uint32_t version = 0;
    CHECK(version_of && version_of(&version) == VK_SUCCESS);
    CHECK(version >= VK_API_VERSION_1_3);
    return check_done("vulkan_entry");
}
