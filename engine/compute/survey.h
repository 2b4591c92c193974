// survey.h - what GPUs there are, layer by layer, for the doctor, the bench and the choice of a
// device: what Vulkan enumerates (vulkan/instance.c), what the PCI bus shows (pci.c), which render
// nodes there are (drm.c), and the one sentence that names the layer that refuses (open.c).
#pragma once

#include "../base/base.h"

enum { SURVEY_DEVICES = 8 };
struct survey_device { // one that Vulkan enumerates
    char name[96], driver[96], kind[16];
    uint32_t vendor_id, device_id; // PCI
    uint32_t api_version;          // VK_MAKE_API_VERSION
    int32_t n_compute_units;
    uint64_t memory_bytes, memory_usable_bytes, largest_buffer_bytes;
    bool cooperative_matrix, integer_dot, half; // 16x16x16; accelerated; 16-bit arithmetic
    bool usable;
    char refusal[256]; // why it is not: the feature or limit, wanted and found
};
struct survey {
    char loader[96];    // "linked in" or the library; empty: none
    struct err failure; // of the loader or the instance; status OK: there is one
    int32_t n_devices;
    struct survey_device device[SURVEY_DEVICES];
};
void compute_survey(struct survey *out);

// What the kernel shows of GPUs, below Vulkan. `root` stands in front of every path: "" on this
// machine, a folder with a faked /sys and /dev in tests.
enum { PCI_DISPLAYS = 8, DRM_NODES = 8 };
enum pci_kind {
    PCI_GPU,    // computes
    PCI_VIRTIO, // virtio-gpu: does where the host offers Vulkan through it (Venus)
    PCI_SCREEN, // draws: a virtual machine's VGA, a server board's management chip
};
struct pci_display { // a display controller on the PCI bus
    enum pci_kind kind;
    char slot[16];   // "0000:c5:00.0"
    char name[64];   // "AMD Strix Halo (gfx1151)", "QEMU's VGA 1234:1111"
    char chip[16];   // "gfx1151"; empty: not one of ours
    char driver[32]; // the kernel driver bound to it; empty: none
    uint32_t vendor_id, device_id, class_code;
};
struct pci_displays {
    int error; // of reading the bus: an errno; 0: it was read
    int32_t n; // GPUs first, then virtio-gpu, then screens
    struct pci_display device[PCI_DISPLAYS];
};
void pci_displays(struct pci_displays *out, const char *root);
const char *pci_chip(uint32_t vendor_id, uint32_t device_id); // "gfx1151"; "" when not one of ours

struct drm_node {                          // a render node
    char path[64];                         // "/dev/dri/renderD128", without the root
    char slot[16];                         // of the PCI device behind it; empty: sysfs does not say
    uint32_t major, minor, uid, gid, mode; // mode: the permission bits
    bool device;                           // a character device, as it should be
    int error;       // of opening it to read and write, or of asking whether we may: an errno
    char driver[32]; // who answers there, "amdgpu"; empty: not opened, or nobody does
    bool venus;      // virtio_gpu: the host offers Vulkan
};
struct drm_nodes {
    int error; // of reading /dev/dri
    bool opened;
    int32_t n, n_cards; // n_cards: /dev/dri/card*
    struct drm_node node[DRM_NODES];
};
void drm_nodes(struct drm_nodes *out, const char *root, bool open_them);
// The node of that PCI device, or one of which nothing is known; NULL: none.
const struct drm_node *drm_node_of(const struct drm_nodes *nodes, const char *slot);

// One sentence: why no GPU runs here although one is in the machine, by the first layer that
// refuses it (kernel driver, device node, permission, Vulkan), which it names. False: there is no
// GPU, and the sentence says what there is instead.
bool gpu_refusal(const struct pci_displays *pci, const struct drm_nodes *nodes,
                 const struct err *vulkan, char out[320]);
