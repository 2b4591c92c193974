// pci.c - the display controllers on the PCI bus, as sysfs shows them: the lowest layer of "is
// there a GPU", which no container, group or missing driver can hide.
//
// A controller is one of three kinds. A GPU computes. virtio-gpu does only where the host offers
// Vulkan through it. All others draw a screen: the VGA that a virtual machine emulates, the
// management chip of a server board. The kind is told by the maker's number, so that one we have
// never met counts as a screen: refusing to fall back to the processor needs a known GPU.
#include "survey.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { AMD = 0x1002, NVIDIA = 0x10de, INTEL = 0x8086, VIRTIO = 0x1af4, MOORE_THREADS = 0x1ed5 };

static const struct {
    uint32_t vendor_id, device_id;
    const char *chip, *name;
} chips[] = {
    {AMD, 0x150e, "gfx1150", "AMD Strix Point"},
    {AMD, 0x1586, "gfx1151", "AMD Strix Halo"},
    {AMD, 0x1114, "gfx1152", "AMD Krackan Point"},
};

// Made by AMD, and good for a console only: Rage XL and ES1000 of server boards.
static const uint32_t amd_screens[] = {0x4752, 0x5159, 0x515e, 0x5969};

static const struct {
    uint32_t vendor_id;
    const char *name;
} makers[] = {
    {AMD, "AMD GPU"},          {INTEL, "Intel GPU"},
    {NVIDIA, "NVIDIA GPU"},    {MOORE_THREADS, "Moore Threads GPU"},
    {VIRTIO, "virtio-gpu"},    {0x1234, "QEMU's VGA"},
    {0x1b36, "QXL"},           {0x1013, "Cirrus VGA"},
    {0x15ad, "VMware SVGA"},   {0x80ee, "VirtualBox VGA"},
    {0x1414, "Hyper-V video"}, {0x1a03, "ASPEED"},
    {0x102b, "Matrox"},
};

const char *pci_chip(uint32_t vendor_id, uint32_t device_id)
{
    for (size_t i = 0; i < COUNT_OF(chips); i++)
        if (chips[i].vendor_id == vendor_id && chips[i].device_id == device_id)
            return chips[i].chip;
    return "";
}

static enum pci_kind kind_of(uint32_t vendor_id, uint32_t device_id)
{
    if (vendor_id == VIRTIO)
        return PCI_VIRTIO;
    if (vendor_id != AMD && vendor_id != INTEL && vendor_id != NVIDIA && vendor_id != MOORE_THREADS)
        return PCI_SCREEN;
    for (size_t i = 0; vendor_id == AMD && i < COUNT_OF(amd_screens); i++)
        if (amd_screens[i] == device_id)
            return PCI_SCREEN;
    return PCI_GPU;
}

static void name_of(struct pci_display *device)
{
    const char *maker = "display controller";
    for (size_t i = 0; i < COUNT_OF(chips); i++) {
        if (chips[i].vendor_id != device->vendor_id || chips[i].device_id != device->device_id)
            continue;
        snprintf(device->chip, sizeof(device->chip), "%s", chips[i].chip);
        snprintf(device->name, sizeof(device->name), "%s (%s)", chips[i].name, chips[i].chip);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(makers); i++)
        if (makers[i].vendor_id == device->vendor_id)
            maker = makers[i].name;
    snprintf(device->name, sizeof(device->name), "%s %04x:%04x", maker, device->vendor_id,
             device->device_id);
}

static uint32_t read_number(const char *folder, const char *name)
{
    char path[400];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return (uint32_t)file_number(path, NULL, 16);
}

static void read_driver(const char *folder, struct pci_display *device)
{
    char path[400], target[400];
    snprintf(path, sizeof(path), "%s/driver", folder);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = 0;
    const char *slash = strrchr(target, '/');
    snprintf(device->driver, sizeof(device->driver), "%s", slash ? slash + 1 : target);
}

// GPUs first, of these the chips this is made for, then by slot.
static int compare(const void *left, const void *right)
{
    const struct pci_display *a = left, *b = right;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (!a->chip[0] != !b->chip[0])
        return a->chip[0] ? -1 : 1;
    return strcmp(a->slot, b->slot);
}

void pci_displays(struct pci_displays *out, const char *root)
{
    char bus[300], folder[360];
    *out = (struct pci_displays){0};
    snprintf(bus, sizeof(bus), "%s/sys/bus/pci/devices", root);
    DIR *dir = opendir(bus);
    if (!dir) {
        out->error = errno;
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct pci_display device = {0};
        if (entry->d_name[0] == '.' || strlen(entry->d_name) >= sizeof(device.slot))
            continue;
        snprintf(folder, sizeof(folder), "%s/%.*s", bus, (int)sizeof(device.slot), entry->d_name);
        snprintf(device.slot, sizeof(device.slot), "%.15s", entry->d_name);
        device.class_code = read_number(folder, "class");
        device.vendor_id = read_number(folder, "vendor");
        device.device_id = read_number(folder, "device");
        // 0x12: processing accelerators, as AMD's GPUs without a screen call themselves.
        bool accelerator = device.class_code >> 16 == 0x12 && device.vendor_id == AMD;
        if ((device.class_code >> 16 != 0x03 && !accelerator) || out->n >= PCI_DISPLAYS)
            continue;
        device.kind = kind_of(device.vendor_id, device.device_id);
        name_of(&device);
        read_driver(folder, &device);
        out->device[out->n++] = device;
    }
    closedir(dir);
    qsort(out->device, (size_t)out->n, sizeof(out->device[0]), compare);
}
