// compute_gpu.c - GPUs as the kernel shows them, from faked trees of sysfs, and the sentence that
// says why none of them runs.
#include "../../engine/compute/compute.h"
#include "../../engine/compute/survey.h"
#include "check.h"
#include "fake_root.h"

#include <errno.h>

static void test_kinds(void)
{
    struct pci_displays pci;
    fake_begin();
    pci_displays(&pci, fake_root);
    CHECK(pci.error == ENOENT && pci.n == 0); // no /sys
    fake_dir("/sys/bus/pci/devices");
    fake_dir("/sys/bus/pci/devices/x");
    pci_displays(&pci, fake_root);
    CHECK(pci.error == 0 && pci.n == 0);
    fake_pci("0000:00:01.0", "0x030000\n", "0x1234\n", "0x1111\n", "bochs-drm");
    fake_pci("0000:00:02.0", "0x038000\n", "0x1af4\n", "0x1050\n", "virtio-pci");
    fake_pci("0000:00:03.0", "0x020000\n", "0x1002\n", "0x1586\n", "r8169"); // no display
    fake_pci("0000:03:00.0", "0x030000\n", "0x10de\n", "0x2684\n", NULL);
    fake_pci("0000:c5:00.0", "0x038000\n", "0x1002\n", "0x1586\n", "amdgpu");
    fake_pci("0000:05:00.0", "0x030000\n", "0x1002\n", "0x515e\n", "radeon"); // a server's ES1000
    fake_pci("0000:06:00.0", "0x030000\n", "0x1a03\n", "0x2000\n", "ast");
    pci_displays(&pci, fake_root);
    CHECK(pci.error == 0 && pci.n == 6);
    // The chip this is made for comes first, then other GPUs, virtio-gpu, screens.
    CHECK_TEXT(pci.device[0].slot, "0000:c5:00.0");
    CHECK_TEXT(pci.device[0].name, "AMD Strix Halo (gfx1151)");
    CHECK_TEXT(pci.device[0].chip, "gfx1151");
    CHECK_TEXT(pci.device[0].driver, "amdgpu");
    CHECK(pci.device[0].kind == PCI_GPU && pci.device[0].vendor_id == 0x1002);
    CHECK_TEXT(pci.device[1].name, "NVIDIA GPU 10de:2684");
    CHECK_TEXT(pci.device[1].driver, "");
    CHECK(pci.device[2].kind == PCI_VIRTIO);
    CHECK_TEXT(pci.device[2].name, "virtio-gpu 1af4:1050");
    CHECK(pci.device[3].kind == PCI_SCREEN && pci.device[4].kind == PCI_SCREEN &&
          pci.device[5].kind == PCI_SCREEN);
    CHECK_TEXT(pci.device[3].name, "QEMU's VGA 1234:1111");
    CHECK_TEXT(pci_chip(0x1002, 0x150e), "gfx1150");
    CHECK_TEXT(pci_chip(0x1002, 0x1234), "");
}

static void test_many(void)
{
    struct pci_displays pci;
    char slot[16];
    fake_begin();
    for (int i = 0; i < 20; i++) {
        snprintf(slot, sizeof(slot), "0000:%02x:00.0", i);
        fake_pci(slot, i % 2 ? "0x030000\n" : "0x120000\n", "0x1002\n", "0x744c\n", "amdgpu");
    }
    fake_dir("/sys/bus/pci/devices/a-name-that-is-longer-than-any-slot");
    fake_file("/sys/bus/pci/devices/0000:ff:00.0/class", "");
    pci_displays(&pci, fake_root);
    CHECK(pci.n == PCI_DISPLAYS && pci.device[7].kind == PCI_GPU);
}

static void test_nodes(void)
{
    struct drm_nodes nodes;
    fake_begin();
    drm_nodes(&nodes, fake_root, true);
    CHECK(nodes.error == ENOENT && nodes.n == 0);
    fake_node("renderD129", "0000:c5:00.0");
    fake_node("renderD128", "0000:01:00.0");
    fake_file("/dev/dri/renderD130", ""); // sysfs does not know it
    fake_file("/dev/dri/card0", "");
    chmod(fake_path("/dev/dri/renderD128"), 0640);
    drm_nodes(&nodes, fake_root, true);
    CHECK(nodes.error == 0 && nodes.n == 3 && nodes.n_cards == 1 && nodes.opened);
    CHECK_TEXT(nodes.node[0].path, "/dev/dri/renderD128");
    CHECK_TEXT(nodes.node[0].slot, "0000:01:00.0");
    CHECK(nodes.node[0].mode == 0640 && nodes.node[0].uid == geteuid() && !nodes.node[0].device);
    CHECK(nodes.node[0].error == 0 && !nodes.node[0].driver[0]); // a file opens, no driver answers
    CHECK(drm_node_of(&nodes, "0000:c5:00.0") == &nodes.node[1]);
    CHECK(drm_node_of(&nodes, "0000:77:00.0") == &nodes.node[2]);
    nodes.n = 2;
    CHECK(!drm_node_of(&nodes, "0000:77:00.0"));
}

// ---- the sentence -------------------------------------------------------------------------------

static char said[320];

static bool refusal(const char *driver, const struct drm_nodes *nodes, const struct err *vulkan)
{
    struct pci_displays pci = {.n = 1};
    pci.device[0] = (struct pci_display){.kind = PCI_GPU,
                                         .slot = "0000:c5:00.0",
                                         .name = "AMD Strix Halo (gfx1151)",
                                         .vendor_id = 0x1002};
    snprintf(pci.device[0].driver, sizeof(pci.device[0].driver), "%s", driver);
    return gpu_refusal(&pci, nodes, vulkan, said);
}

static void test_refusal(void)
{
    struct err none = {.status = NOT_FOUND, .text = "Vulkan shows no GPU"},
               old = {.status = UNSUPPORTED, .text = "AMD Radeon: Vulkan 1.2, wanted 1.3"};
    struct drm_nodes nodes = {.error = ENOENT};
    CHECK(refusal("", &nodes, &none));
    CHECK_TEXT(said, "kernel driver: none has taken the AMD Strix Halo (gfx1151) at 0000:c5:00.0");
    CHECK(refusal("vfio-pci", &nodes, &none));
    CHECK(strstr(said, "vfio-pci keeps the AMD Strix Halo (gfx1151) at 0000:c5:00.0"));
    CHECK(refusal("amdgpu", &nodes, &none));
    CHECK_TEXT(said, "device node: amdgpu drives the AMD Strix Halo (gfx1151), but there is no "
                     "/dev/dri/renderD* of it");
    CHECK(refusal("nvidia", &nodes, &none)); // whose nodes are others
    CHECK_TEXT(said, "Vulkan: Vulkan shows no GPU");
    nodes = (struct drm_nodes){.n = 1};
    nodes.node[0] = (struct drm_node){.path = "/dev/dri/renderD128",
                                      .slot = "0000:c5:00.0",
                                      .gid = 105,
                                      .mode = 0660,
                                      .error = EACCES};
    CHECK(refusal("amdgpu", &nodes, &none));
    CHECK_TEXT(said, "permission: /dev/dri/renderD128 (owner 0, group 105, mode 0660) does not "
                     "open: Permission denied");
    nodes.node[0].error = 0;
    CHECK(refusal("amdgpu", &nodes, &old));
    CHECK_TEXT(said, "Vulkan: AMD Radeon: Vulkan 1.2, wanted 1.3");
}

static void test_no_gpu(void)
{
    struct err none = {.status = NOT_FOUND, .text = "Vulkan shows no GPU"},
               old = {.status = UNSUPPORTED, .text = "Virtio: Vulkan 1.2, wanted 1.3"};
    struct drm_nodes nodes = {.error = ENOENT};
    struct pci_displays pci = {.error = ENOENT};
    CHECK(!gpu_refusal(&pci, &nodes, &none, said));
    CHECK_TEXT(said,
               "no GPU is found: the PCI bus is not to be seen (/sys/bus/pci: No such file or "
               "directory)");
    pci.error = 0;
    CHECK(!gpu_refusal(&pci, &nodes, &none, said));
    CHECK(strstr(said, "no display controller is on its PCI bus"));
    CHECK(gpu_refusal(&pci, &nodes, &old, said)); // Vulkan has one all the same
    CHECK_TEXT(said, "Vulkan: Virtio: Vulkan 1.2, wanted 1.3");
    pci.n = 1;
    pci.device[0] = (struct pci_display){
        .kind = PCI_SCREEN, .slot = "0000:00:01.0", .name = "QEMU's VGA 1234:1111"};
    CHECK(!gpu_refusal(&pci, &nodes, &none, said));
    CHECK(strstr(said, "its QEMU's VGA 1234:1111 at 0000:00:01.0 only draws a screen"));
    pci.device[0].kind = PCI_VIRTIO;
    CHECK(!gpu_refusal(&pci, &nodes, &none, said));
    CHECK(strstr(said, "is a virtual screen that offers no Vulkan (Venus)"));
    nodes = (struct drm_nodes){.n = 1};
    nodes.node[0] = (struct drm_node){.path = "/dev/dri/renderD128", .error = EACCES};
    CHECK(!gpu_refusal(&pci, &nodes, &none, said));
    CHECK(strstr(said, "is not known, for /dev/dri/renderD128 does not open: Permission denied"));
}

// Nothing in this machine's own tree may crash it, whatever there is.
static void test_this_machine(void)
{
    struct pci_displays pci;
    struct drm_nodes nodes;
    pci_displays(&pci, "");
    drm_nodes(&nodes, "", true);
    CHECK(pci.n >= 0 && pci.n <= PCI_DISPLAYS && nodes.n <= DRM_NODES);
}

int main(void)
{
    test_kinds();
    test_many();
    test_nodes();
    fake_end();
    test_refusal();
    test_no_gpu();
    test_this_machine();
    return check_done("compute_gpu");
}
