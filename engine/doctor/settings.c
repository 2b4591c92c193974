// settings.c - the layer of kernel settings: what makes an AMD GPU with unified memory faster, or
// keeps it from being reset, on a machine where it runs already. Nothing here refuses.
//
// Sources: reports of owners of these chips. amd_iommu=off gained 15-26 % on Strix Point and 5-16 %
// on Strix Halo; GTT is half of the memory unless ttm.pages_limit says more; kernels of the 7
// series take a submission of more than 2 s for a hang unless amdgpu.lockup_timeout says otherwise.
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_BYTES = 4096 };

static uint64_t read_number(const struct walk *walk, const char *name)
{
    char path[200], text[64];
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", walk->gpu->slot, name);
    return place_read(walk->place, path, text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

static double gib(uint64_t n_bytes)
{
    return (double)n_bytes / (1 << 30);
}

// GTT: the part of the memory that the GPU may map. Returns whether it is too small.
static bool say_gtt(struct walk *walk, struct doctor_layer *layer)
{
    uint64_t gtt = read_number(walk, "mem_info_gtt_total"),
             vram = read_number(walk, "mem_info_vram_total");
    uint64_t memory = walk->place->memory_bytes;
    if (!gtt || !memory)
        return false;
    PUT(layer->found,
        "; of %.1f GiB memory the GPU may map %.1f GiB (GTT), beside %.1f GiB set aside "
        "by the firmware",
        gib(memory), gib(gtt), gib(vram));
    return gtt < memory / 10 * 8;
}

// All but 1/8 of the memory, at most 4 GiB of it: the system and the engine's own pages.
static uint64_t pages_for_gpu(uint64_t memory_bytes)
{
    uint64_t rest = memory_bytes / 8 < (4ull << 30) ? memory_bytes / 8 : 4ull << 30;
    return (memory_bytes - rest) / PAGE_BYTES;
}

static void say_where(const struct walk *walk, struct doctor_layer *layer)
{
    if (walk->place->appliance) {
        PUT(layer->todo, "The image sets them in its own command line: was it changed in GRUB?");
        return;
    }
    PUT(layer->todo, "They belong on the kernel's command line%s.",
        walk->place->kind == PLACE_MACHINE ? "" : " of the host");
    PUT(layer->lines,
        "# GRUB: in GRUB_CMDLINE_LINUX_DEFAULT of /etc/default/grub, then update-grub\n"
        "# Proxmox with systemd-boot: in /etc/kernel/cmdline, then proxmox-boot-tool "
        "refresh\n");
}

static bool timeout_is_set(const struct walk *walk)
{
    char text[256];
    return place_option(walk->place, "amdgpu.lockup_timeout", text) ||
           (place_read(walk->place, "/sys/module/amdgpu/parameters/lockup_timeout", text,
                       sizeof(text)) &&
            text[0] >= '0' && text[0] <= '9');
}

static void say_options(struct walk *walk, struct doctor_layer *layer)
{
    const struct place *place = walk->place;
    char value[256];
    bool gtt_small = say_gtt(walk, layer);
    bool no_timeout = place_kernel_at_least(place, 7, 0, 0) && !timeout_is_set(walk);
    const char *iommu = place_option(place, "amd_iommu", value);
    bool iommu_on = !place->virtual_machine && !(iommu && strcmp(iommu, "off") == 0);
    PUT(layer->found, "; amdgpu.lockup_timeout is %s; amd_iommu is %s",
        timeout_is_set(walk) ? "set" : "not set",
        place->virtual_machine ? "the host's"
        : iommu_on             ? "on"
                               : "off");
    if (!gtt_small && !no_timeout && !iommu_on)
        return;
    layer->state = LAYER_NOTE;
    if (gtt_small) {
        unsigned long long pages = pages_for_gpu(place->memory_bytes);
        PUT(layer->todo, "Let the GPU map nearly all of the memory. ");
        PUT(layer->lines, "ttm.pages_limit=%llu ttm.page_pool_size=%llu\n", pages, pages);
    }
    if (no_timeout) {
        PUT(layer->todo, "Allow submissions of 10 s: this kernel takes one of 2 s for a hang. ");
        PUT(layer->lines, "amdgpu.lockup_timeout=10000,10000,10000,10000\n");
    }
    if (iommu_on) {
        PUT(layer->todo, "Without the IOMMU the GPU computes 5 to 25 %% faster; it costs PCI "
                         "passthrough and the NPU, so only where neither is wanted. ");
        PUT(layer->lines, "amd_iommu=off\n");
    }
    say_where(walk, layer);
}

void layer_settings(struct walk *walk)
{
    struct doctor_layer *layer = walk_layer(walk, "settings", "Kernel settings", false);
    PUT(layer->wanted, "Linux 6.18.4 or later; most of the memory open to the GPU; time enough for "
                       "a submission; on bare metal no IOMMU");
    if (!walk->place->proc) {
        layer->state = LAYER_UNKNOWN;
        PUT(layer->found, "no /proc is mounted: the kernel's command line cannot be read");
        PUT(layer->todo, "Mount it.");
        PUT(layer->lines, "mount -t proc proc /proc             # in a chroot DIR: DIR/proc\n");
        return;
    }
    if (!walk->gpu || walk->gpu->vendor_id != 0x1002) {
        layer->state = LAYER_SKIPPED;
        PUT(layer->found, "not asked: they matter to AMD's GPUs");
        return;
    }
    layer->state = LAYER_OK;
    PUT(layer->found, "Linux %s", walk->place->release);
    if (!place_kernel_at_least(walk->place, 6, 18, 4)) {
        layer->state = LAYER_NOTE;
        PUT(layer->todo, "Use a newer kernel: 6.18.4 was the first without known errors on these "
                         "chips. ");
    }
    say_options(walk, layer);
}
