// open.c - which device runs: the policy of the setting `device`, and its reason in one sentence.
//
//   cpu      the processor, by explicit choice.
//   vulkan   a GPU, or nothing.
//   auto     a GPU. Where one is in the machine and cannot be used, nothing: a box bought for
//            its GPU must not crawl along on its processor unnoticed. Only a machine without any
//            GPU runs on its processor, and info.reason says so.
//   NAME     the device whose name contains it; a software device (llvmpipe) runs only so.
//
// "In the machine" is asked of the PCI bus, the one layer that needs no driver, group or node.
#include "backend.h"

#include <stdio.h>
#include <string.h>

// ---- why not the GPU ----------------------------------------------------------------------------

static bool by_nvidia(const struct pci_display *gpu)
{
    return strcmp(gpu->driver, "nvidia") == 0; // has nodes of its own beside /dev/dri
}

static void refusal_of(const struct pci_display *gpu, const struct drm_nodes *nodes,
                       const struct err *vulkan, char out[320])
{
    const struct drm_node *node = drm_node_of(nodes, gpu->slot);
    if (!gpu->driver[0])
        snprintf(out, 320, "kernel driver: none has taken the %s at %s", gpu->name, gpu->slot);
    else if (strcmp(gpu->driver, "vfio-pci") == 0)
        snprintf(out, 320, "kernel driver: vfio-pci keeps the %s at %s for a virtual machine",
                 gpu->name, gpu->slot);
    else if (!node && !by_nvidia(gpu))
        snprintf(out, 320, "device node: %s drives the %s, but there is no /dev/dri/renderD* of it",
                 gpu->driver, gpu->name);
    else if (node && node->error && !by_nvidia(gpu))
        snprintf(out, 320, "permission: %s (owner %u, group %u, mode %04o) does not open: %s",
                 node->path, node->uid, node->gid, node->mode, strerror(node->error));
    else
        snprintf(out, 320, "Vulkan: %.230s", vulkan->text[0] ? vulkan->text : "it finds no device");
}

static void instead_of_gpu(const struct pci_displays *pci, const struct drm_nodes *nodes,
                           char out[320])
{
    if (pci->error) {
        snprintf(out, 320, "no GPU is found: the PCI bus is not to be seen (/sys/bus/pci: %s)",
                 strerror(pci->error));
        return;
    }
    if (pci->n == 0) {
        snprintf(out, 320, "this machine has no GPU: no display controller is on its PCI bus");
        return;
    }
    const struct pci_display *screen = &pci->device[0];
    const struct drm_node *node = drm_node_of(nodes, screen->slot);
    if (screen->kind == PCI_SCREEN)
        snprintf(out, 320, "this machine has no GPU: its %s at %s only draws a screen",
                 screen->name, screen->slot);
    else if (node && node->error)
        snprintf(out, 320,
                 "this machine has no GPU but its virtual screen: whether the %s at %s offers "
                 "Vulkan is not known, for %s does not open: %s",
                 screen->name, screen->slot, node->path, strerror(node->error));
    else
        snprintf(out, 320,
                 "this machine has no GPU: its %s at %s is a virtual screen that offers no Vulkan "
                 "(Venus)",
                 screen->name, screen->slot);
}

bool gpu_refusal(const struct pci_displays *pci, const struct drm_nodes *nodes,
                 const struct err *vulkan, char out[320])
{
    bool gpu = pci->n > 0 && pci->device[0].kind == PCI_GPU;
    // A device that Vulkan shows and cannot use is a GPU too, whatever the bus says.
    if (gpu)
        refusal_of(&pci->device[0], nodes, vulkan, out);
    else if (vulkan->status != NOT_FOUND)
        snprintf(out, 320, "Vulkan: %.230s", vulkan->text);
    else
        instead_of_gpu(pci, nodes, out);
    return gpu || vulkan->status != NOT_FOUND;
}

// ---- the choice ---------------------------------------------------------------------------------

static enum status open_cpu(struct compute **out, const struct compute_options *options,
                            const char *reason, struct err *err)
{
    enum status status = cpu_open(out, options, err);
    if (status != OK)
        return status;
    struct compute_info *info = &(*out)->info;
    snprintf(info->reason, sizeof(info->reason), "%s", reason);
    snprintf(info->kind, sizeof(info->kind), "cpu");
    return OK;
}

static enum status unknown_name(const char *device, struct err *err)
{
    struct survey survey;
    char names[240] = "";
    size_t n = 0;
    vulkan_survey(&survey);
    for (int32_t i = 0; i < survey.n_devices && n < sizeof(names) - 1; i++) {
        snprintf(names + n, sizeof(names) - n, ", '%s'", survey.device[i].name);
        n = strlen(names);
    }
    return err_set(err, NOT_FOUND,
                   "device = %s: no device has that in its name; there are auto, vulkan, cpu%s",
                   device, names);
}

enum status compute_open(struct compute **out, const struct compute_options *options,
                         struct err *err)
{
    const char *device = options->device && options->device[0] ? options->device : "auto";
    bool automatic = strcmp(device, "auto") == 0, named = false;
    struct err vulkan = {0};
    if (strcmp(device, "cpu") == 0)
        return open_cpu(out, options, "device = cpu was asked for", err);
    named = !automatic && strcmp(device, "vulkan") != 0;
    if (vulkan_open(out, options, &vulkan) == OK) {
        struct compute_info *info = &(*out)->info;
        if (!info->reason[0])
            snprintf(info->reason, sizeof(info->reason), "device = %s, and this GPU can be used",
                     device);
        return OK;
    }
    if (named)
        return vulkan.status == NOT_FOUND
                   ? unknown_name(device, err)
                   : err_set(err, vulkan.status, "device = %s: %s", device, vulkan.text);
    struct pci_displays pci;
    struct drm_nodes nodes;
    char why[320], reason[380];
    pci_displays(&pci, "");
    drm_nodes(&nodes, "", true);
    if (gpu_refusal(&pci, &nodes, &vulkan, why) || !automatic)
        return err_set(err, DEVICE_ERROR,
                       "%.235s; `device = cpu` in the settings runs on the processor anyway", why);
    snprintf(reason, sizeof(reason), "%.290s, so auto is the processor", why);
    return open_cpu(out, options, reason, err);
}
