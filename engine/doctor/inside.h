// inside.h - what the files of doctor/ share: the place we run in, a walk under way, and writing
// into a layer. A layer function adds its one layer to the report and judges it by what stands
// before it. Texts are cut at the end of their arrays, never written past it.
#pragma once

#include "doctor.h"

// ---- the place: where this process runs (place.c) -----------------------------------------------

enum place_kind {
    PLACE_MACHINE, // no container: a machine, or a virtual one
    PLACE_LXC,     // Proxmox's containers are these
    PLACE_DOCKER,
    PLACE_PODMAN,
    PLACE_KUBERNETES,
    PLACE_NSPAWN,
    PLACE_CONTAINER, // one of another kind
};

struct id_map { // a line of /proc/self/uid_map, gid_map: user_namespaces(7)
    uint32_t inside, outside, count;
};

enum { PLACE_GROUPS = 64, PLACE_MAPS = 16 };
struct place {
    const char *root;
    enum place_kind kind;
    bool proc, sys, dev;  // mounted
    bool appliance;       // the image: no shell to type into
    bool virtual_machine; // as far as the processor says
    bool mapped_ids;      // a user namespace in which ids are others than outside
    char unit[64];        // systemd service; empty: none
    uint32_t uid, gid, overflow_gid;
    int32_t n_groups, n_gid_maps;
    uint32_t group[PLACE_GROUPS]; // gid first
    struct id_map gid_map[PLACE_MAPS];
    char release[64];   // of the kernel: "7.2.3-amd64"
    char cmdline[2048]; // of the kernel
    uint64_t memory_bytes;
};
void place_look(struct place *out, const char *root);
void place_text(const struct place *place, char *out, size_t size);
bool place_in_group(const struct place *place, uint32_t gid);
// "render" for 110, by ROOT/etc/group; the number when it has no name.
const char *place_group_name(const struct place *place, uint32_t gid, char out[32]);
bool place_group_find(const struct place *place, const char *name, uint32_t *gid);
bool place_list_has(const char *list, const char *name); // "a,b,c"; list may be NULL
// Does /etc/group list our user in that group? (Then this process began before it did.) user: our
// name by /etc/passwd, empty when it has none.
bool place_group_lists_us(const struct place *place, uint32_t gid, char user[64]);
// The value of `name` or `name=value` on the kernel's command line, the last one; NULL: not there.
// Dashes and underscores are one letter, as for the kernel.
const char *place_option(const struct place *place, const char *name, char out[256]);
bool place_kernel_at_least(const struct place *place, int32_t major, int32_t minor, int32_t patch);

// The first bytes of ROOT/path as text; false: it cannot be read.
bool place_read(const struct place *place, const char *path, char *out, size_t size);
bool place_has(const struct place *place, const char *path);

// ---- a walk -------------------------------------------------------------------------------------

struct walk {
    const struct place *place;
    const struct doctor_device *device;
    struct pci_displays pci;
    struct drm_nodes nodes;        // as they are now, not opened
    const struct pci_display *gpu; // the one that should run: a GPU, else virtio-gpu; NULL: none
    const struct drm_node *node;   // its render node; NULL: none
    struct doctor_report *report;
};
// doctor_walk in its two steps: what is seen, and what it means.
void walk_look(struct walk *walk, const struct place *place, const struct doctor_device *device,
               struct doctor_report *report);
void walk_layers(struct walk *walk);

struct doctor_layer *walk_layer(struct walk *walk, const char *id, const char *name, bool once);
bool walk_clear(const struct walk *walk, const struct doctor_layer *layer); // none before refuses
// Does a layer before this one refuse, or has nothing to offer? Then it is skipped and says so.
bool walk_skips(struct walk *walk, struct doctor_layer *layer);

// The layers, in their order.
void layer_pci(struct walk *walk); // kernel.c
void layer_driver(struct walk *walk);
void layer_firmware(struct walk *walk);
void layer_nodes(struct walk *walk); // node.c
void layer_permission(struct walk *walk);
void layer_open(struct walk *walk);
void layer_vulkan(struct walk *walk); // device.c
void layer_device(struct walk *walk);
void layer_features(struct walk *walk);
void layer_memory(struct walk *walk);
void layer_self_test(struct walk *walk);
void layer_bandwidth(struct walk *walk);
void layer_settings(struct walk *walk); // settings.c

// log.c
void kernel_log_read(struct kernel_log *out, const char *root);

// Appends to a text of `size` bytes, cut at its end; text.c makes UTF-8 of what was cut.
void put(char *text, size_t size, const char *format, ...) PRINTF_LIKE(3, 4);
#define PUT(array, ...) put(array, sizeof(array), __VA_ARGS__)

// How a host shares its GPU with a virtual machine. A device that speaks OpenGL wants a display
// that does: on Proxmox that is what `virtio-gl` brings.
#define VENUS_LINES                                                                                \
    "# on the Proxmox host (9 or later; boot/proxmox.md has the packages)\n"                       \
    "qm set VMID --vga virtio-gl --args '-set device.vga.hostmem=8G -set device.vga.blob=on "      \
    "-set device.vga.venus=on'\n"                                                                  \
    "# or QEMU 9.2 or later on Linux 6.13 or later\n"                                              \
    "-display egl-headless -device virtio-vga-gl,hostmem=8G,blob=true,venus=true\n"
