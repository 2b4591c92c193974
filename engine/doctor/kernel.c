// kernel.c - the layers below /dev: the GPU on the PCI bus, the kernel driver bound to it, the
// firmware that driver loads into it.
//
// What is wrong there is the host's: a container shares the host's kernel, and sees its sysfs and
// its command line, but not its /etc or its modules.
#include "inside.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- the PCI bus --------------------------------------------------------------------------------

// How a virtual machine gets a GPU.
static void say_passthrough(struct doctor_layer *layer)
{
    PUT(layer->todo, "Give the virtual machine the GPU: hand the host's through (then the host "
                     "itself cannot use it; boot/proxmox.md has what the host needs), or let it be "
                     "shared by Venus.");
    PUT(layer->lines, "# through: on the Proxmox host, with the address that `lspci -D | grep -Ei "
                      "'vga|display'` shows there\n"
                      "qm set VMID --machine q35 --bios ovmf --cpu host --balloon 0 --hostpci0 "
                      "0000:c5:00.0,pcie=1\n"
                      "# shared:\n" VENUS_LINES);
}

static void say_displays(const struct walk *walk, struct doctor_layer *layer)
{
    for (int32_t i = 0; i < walk->pci.n; i++) {
        const struct pci_display *device = &walk->pci.device[i];
        PUT(layer->found, "%s%s at %s", i ? "; " : "", device->name, device->slot);
        if (device->kind == PCI_SCREEN)
            PUT(layer->found, ", which only draws a screen");
        else if (device->kind == PCI_VIRTIO)
            PUT(layer->found, ", a virtual screen, and a GPU only where the host offers Vulkan "
                              "through it (Venus)");
        else if (device->chip[0])
            PUT(layer->found, ", %04x:%04x", device->vendor_id, device->device_id);
    }
}

void layer_pci(struct walk *walk)
{
    struct doctor_layer *layer = walk_layer(walk, "pci", "PCI device", false);
    PUT(layer->wanted, "a GPU on the PCI bus (Strix Point is 1002:150e, Strix Halo 1002:1586)");
    if (walk->pci.error) {
        layer->state = LAYER_REFUSED;
        PUT(layer->found, "/sys/bus/pci/devices cannot be read: %s%s", strerror(walk->pci.error),
            walk->place->sys ? "" : "; no sysfs is mounted at /sys");
        PUT(layer->todo, "%s",
            walk->place->sys ? "Run on a kernel with a PCI bus, or with /sys as the host has it."
                             : "Mount sysfs; the GPU's driver finds its device there too.");
        if (!walk->place->sys)
            PUT(layer->lines, "mount -t sysfs sysfs /sys            # in a chroot DIR: DIR/sys\n");
        return;
    }
    say_displays(walk, layer);
    if (walk->gpu && walk->gpu->kind == PCI_GPU) {
        layer->state = LAYER_OK;
        return;
    }
    layer->state = walk->gpu ? LAYER_NOTE : LAYER_NONE;
    if (walk->pci.n == 0)
        PUT(layer->found, "no display controller is on the PCI bus");
    if (walk->place->virtual_machine)
        say_passthrough(layer);
    else
        PUT(layer->todo, "Look into the firmware's setup whether the graphics are switched off.");
}

// ---- the kernel driver --------------------------------------------------------------------------

static const char *driver_wanted(const struct pci_display *gpu)
{
    return gpu->kind == PCI_VIRTIO    ? "virtio-pci"
           : gpu->vendor_id == 0x1002 ? "amdgpu"
           : gpu->vendor_id == 0x8086 ? "xe or i915"
           : gpu->vendor_id == 0x10de ? "nvidia or nouveau"
                                      : "its driver";
}

// Is `blacklist amdgpu` in a file of /etc/modprobe.d? Its path, without the root.
static bool blacklisted_in_file(const struct place *place, char path[300])
{
    char folder[400], *text = mem_alloc(65536);
    bool found = false;
    snprintf(folder, sizeof(folder), "%s/etc/modprobe.d", place->root);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && !found && (entry = readdir(dir)) != NULL;) {
        snprintf(path, 300, "/etc/modprobe.d/%.255s", entry->d_name);
        if (entry->d_name[0] == '.' || !place_read(place, path, text, 65536))
            continue;
        for (char *line = text; *line && !found;
             line += strcspn(line, "\n"), line += *line == '\n') {
            char *at = line + strspn(line, " \t");
            if (strncmp(at, "blacklist", 9) == 0 && (at[9] == ' ' || at[9] == '\t')) {
                at += 9 + strspn(at + 9, " \t");
                found = strncmp(at, "amdgpu", 6) == 0 && strchr(" \t\r\n", at[6]);
            }
        }
    }
    if (dir)
        closedir(dir);
    free(text);
    return found;
}

static bool module_is_there(const struct place *place)
{
    static const char *const forms[] = {"", ".xz", ".zst", ".gz"};
    static const char *const tops[] = {"/lib", "/usr/lib"};
    char path[300];
    for (size_t top = 0; top < COUNT_OF(tops); top++) {
        for (size_t i = 0; i < COUNT_OF(forms); i++) {
            snprintf(path, sizeof(path),
                     "%s/modules/%s/kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko%s", tops[top],
                     place->release, forms[i]);
            if (place_has(place, path))
                return true;
        }
    }
    return false;
}

// amdgpu is not bound: the reason, as far as it can be seen from here.
static void say_unbound(const struct place *place, struct doctor_layer *layer)
{
    char value[256], path[300];
    if (place_option(place, "nomodeset", value)) {
        PUT(layer->found, "; the kernel was started with nomodeset, and amdgpu does not load then");
        PUT(layer->todo, "Take nomodeset off the kernel's command line and restart.");
    } else if (place_list_has(place_option(place, "modprobe.blacklist", value), "amdgpu") ||
               place_list_has(place_option(place, "module_blacklist", value), "amdgpu")) {
        PUT(layer->found, "; the kernel's command line blacklists amdgpu");
        PUT(layer->todo, "Take amdgpu out of modprobe.blacklist= or module_blacklist= on the "
                         "kernel's command line and restart.");
    } else if (place->kind == PLACE_MACHINE && blacklisted_in_file(place, path)) {
        PUT(layer->found, "; %s blacklists amdgpu", path);
        PUT(layer->todo, "Remove that line, then load the driver.");
        PUT(layer->lines,
            "sed -i '/blacklist.*amdgpu/d' %s\nupdate-initramfs -u\nmodprobe amdgpu\n", path);
    } else if (place_has(place, "/sys/module/amdgpu")) {
        PUT(layer->found, "; amdgpu is loaded and did not take it");
        PUT(layer->todo, "See what the kernel says; most often firmware is missing, or the kernel "
                         "is older than the chip (6.18.4 or later knows it well).");
        PUT(layer->lines, "dmesg | grep -i amdgpu\n");
    } else if (place->kind != PLACE_MACHINE) {
        PUT(layer->found, "; amdgpu is not loaded");
        PUT(layer->todo, "Load it on the host: a container uses the host's kernel.");
        PUT(layer->lines, "modprobe amdgpu                      # on the host\n");
    } else if (!module_is_there(place)) {
        PUT(layer->found, "; this kernel (%s) has no module amdgpu in /lib/modules",
            place->release);
        PUT(layer->todo, "Install a kernel that has it.");
    } else {
        PUT(layer->found, "; amdgpu is not loaded");
        PUT(layer->todo, "Load it, and read what the kernel says about it.");
        PUT(layer->lines, "modprobe amdgpu\ndmesg | grep -i amdgpu\n");
    }
}

static void say_vfio(const struct walk *walk, struct doctor_layer *layer)
{
    PUT(layer->found, "vfio-pci: the kernel keeps the GPU for a virtual machine");
    PUT(layer->todo,
        "Run Tawny in that virtual machine, or give the GPU back to the host: remove "
        "what binds it to vfio-pci%s, and restart.",
        walk->place->kind == PLACE_MACHINE ? "" : " on the host");
    PUT(layer->lines,
        "grep -rnE 'vfio-pci|blacklist.*amdgpu|%04x:%04x' /etc/modprobe.d /etc/default/grub "
        "/etc/kernel/cmdline\n"
        "update-initramfs -u -k all\n",
        walk->gpu->vendor_id, walk->gpu->device_id);
}

void layer_driver(struct walk *walk)
{
    struct doctor_layer *layer = walk_layer(walk, "driver", "Kernel driver", false);
    const struct pci_display *gpu = walk->gpu;
    if (!gpu) {
        PUT(layer->wanted, "a kernel driver that has taken the GPU");
        (void)walk_skips(walk, layer);
        return;
    }
    PUT(layer->wanted, "%s bound to %s", driver_wanted(gpu), gpu->slot);
    layer->state = LAYER_REFUSED;
    if (strcmp(gpu->driver, "vfio-pci") == 0) {
        say_vfio(walk, layer);
    } else if (gpu->driver[0]) {
        layer->state = LAYER_OK;
        PUT(layer->found, "%s, Linux %s", gpu->driver, walk->place->release);
    } else {
        PUT(layer->found, "no driver has taken the device");
        if (gpu->vendor_id == 0x1002)
            say_unbound(walk->place, layer);
        else
            PUT(layer->todo, "Load the driver for it (%s).", driver_wanted(gpu));
    }
}

// ---- firmware -----------------------------------------------------------------------------------

// amdgpu tells the version of each piece in sysfs; 0x00000000: not loaded.
static void say_versions(const struct walk *walk, struct doctor_layer *layer)
{
    static const char *const pieces[] = {"mec", "pfp", "rlc", "sdma", "smc", "mes"};
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        char path[200], text[64];
        snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/fw_version/%s_fw_version",
                 walk->gpu->slot, pieces[i]);
        if (place_read(walk->place, path, text, sizeof(text)) && strtoul(text, NULL, 16))
            PUT(layer->found, "%s%s %.*s", layer->found[0] ? ", " : "", pieces[i],
                (int)strcspn(text, "\n"), text);
    }
}

static void say_missing(const struct walk *walk, struct doctor_layer *layer)
{
    const struct kernel_log *log = &walk->device->log;
    layer->state = LAYER_REFUSED;
    if (log->missing[0])
        PUT(layer->found, "the kernel did not find the firmware file %s", log->missing);
    else
        PUT(layer->found, "the kernel's log says: %s", log->failure);
    if (walk->place->appliance) {
        PUT(layer->todo, "Write a newer image: this one lacks what the chip wants.");
        return;
    }
    PUT(layer->todo,
        "Install AMD's firmware%s (of 2025 or later for Strix chips, not 20251125), "
        "then restart.",
        walk->place->kind == PLACE_MACHINE ? "" : " on the host");
    PUT(layer->lines, "apt install firmware-amd-graphics      # Debian, component "
                      "non-free-firmware; Proxmox: pve-firmware\nupdate-initramfs -u\n");
}

void layer_firmware(struct walk *walk)
{
    // What the log says was read once; that the driver runs is seen now.
    struct doctor_layer *layer = walk_layer(walk, "firmware", "Firmware", false);
    const struct kernel_log *log = &walk->device->log;
    PUT(layer->wanted, "the driver has loaded the chip's firmware");
    bool amd = walk->gpu && walk->gpu->vendor_id == 0x1002;
    if (!amd) {
        layer->state = LAYER_SKIPPED;
        PUT(layer->found, walk->gpu ? "not asked: that is the driver's own business for this device"
                                    : "not asked: there is no GPU");
        return;
    }
    if (strcmp(walk->gpu->driver, "amdgpu") == 0) {
        layer->state = LAYER_OK;
        say_versions(walk, layer);
        if (!layer->found[0])
            PUT(layer->found, "amdgpu has taken the GPU, which it does only with its firmware");
        if (log->reset[0]) {
            layer->state = LAYER_NOTE;
            PUT(layer->found, "; the GPU hung (%d resets), last: %s", (int)log->n_resets,
                log->reset);
            PUT(layer->todo, "Set amdgpu.lockup_timeout as said below; if it goes on, report the "
                             "kernel's log.");
        }
    } else if (log->missing[0] || log->failure[0]) {
        say_missing(walk, layer);
    } else if (walk->device->looked && log->error) {
        layer->state = LAYER_UNKNOWN;
        PUT(layer->found, "the kernel's log cannot be read (/dev/kmsg: %s)", strerror(log->error));
        PUT(layer->todo, "Look into the kernel's log as root.");
        PUT(layer->lines, "dmesg | grep -iE 'amdgpu|firmware'\n");
    } else {
        (void)walk_skips(walk, layer);
    }
}
