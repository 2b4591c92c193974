// device.c - the layers above the kernel: Vulkan, its devices, what they can, their memory, whether
// they compute rightly and how fast they read.
//
// doctor_device() looks, once, on the thread that owns the device; the layers only tell what it
// saw.
#include "inside.h"

#include <stdio.h>
#include <string.h>

// ---- looking ------------------------------------------------------------------------------------

static void test(struct doctor_device *out, struct compute *compute)
{
    struct err err = {0};
    if (compute_self_test(compute, &out->test, &err) != OK)
        out->test_failed = err;
    out->tested = true;
}

void doctor_survey(struct doctor_device *out, const char *setting, bool all)
{
    uint64_t from_us = clock_us();
    *out = (struct doctor_device){.all = all};
    snprintf(out->setting, sizeof(out->setting), "%s", setting);
    drm_nodes(&out->nodes, "", true);
    kernel_log_read(&out->log, "");
    if (all || strcmp(setting, "cpu") != 0) {
        compute_survey(&out->survey);
        out->surveyed = true;
    }
    out->took_ms = (uint32_t)((clock_us() - from_us) / 1000);
}

void doctor_device(struct doctor_device *out, struct compute *compute, const struct err *refused)
{
    uint64_t from_us = clock_us();
    if (compute)
        out->info = *compute_info(compute);
    else
        out->opened = *refused;
    bool gpu = compute && strcmp(out->info.backend, "vulkan") == 0 &&
               strcmp(out->info.kind, "software") != 0;
    if (compute && (out->all || gpu))
        test(out, compute);
    out->looked = true;
    out->took_ms += (uint32_t)((clock_us() - from_us) / 1000);
}

bool doctor_wrong(const struct doctor_device *device, struct err *why)
{
    bool lost = device->tested && device->test_failed.status == DEVICE_ERROR;
    if (!lost && !(device->tested && device->test_failed.status == OK && !device->test.right))
        return false;
    (void)err_set(why, DEVICE_ERROR, "%.90s computes wrongly: %.200s", device->info.device,
                  lost ? device->test_failed.text : device->test.said);
    return true;
}

// ---- what is common -----------------------------------------------------------------------------

static bool on_vulkan(const struct walk *walk)
{
    return walk->device->opened.status == OK && strcmp(walk->device->info.backend, "vulkan") == 0;
}

// The device that runs, or that would: the first one usable, else the first that is no software.
static const struct survey_device *device_of(const struct walk *walk)
{
    const struct survey *survey = &walk->device->survey;
    const struct survey_device *best = NULL;
    for (int32_t i = 0; i < survey->n_devices; i++) {
        const struct survey_device *device = &survey->device[i];
        bool software = strcmp(device->kind, "software") == 0;
        // the opened device calls itself by the beginning of this name
        size_t n = strlen(device->name) < 64 ? strlen(device->name) : 64;
        if (on_vulkan(walk) && strncmp(walk->device->info.device, device->name, n) == 0)
            return device;
        if (!software && (!best || (device->usable && !best->usable)))
            best = device;
    }
    return best;
}

// The layers from here on need Vulkan's word. True: there is none, and the layer says why.
static bool no_survey(struct walk *walk, struct doctor_layer *layer)
{
    if (!walk->device->looked)
        return true;
    if (walk->device->surveyed)
        return false;
    layer->state = LAYER_SKIPPED;
    PUT(layer->found, "not asked: device = %s; `tawny doctor --device auto` asks",
        walk->device->setting);
    return true;
}

static bool no_device(struct walk *walk, struct doctor_layer *layer)
{
    if (no_survey(walk, layer))
        return true;
    if (device_of(walk))
        return false;
    layer->state = LAYER_SKIPPED;
    PUT(layer->found, "not asked: Vulkan shows no GPU");
    return true;
}

static void say_gib(char *out, size_t size, uint64_t n_bytes)
{
    put(out, size, "%.1f GiB", (double)n_bytes / (1 << 30));
}

// ---- Vulkan -------------------------------------------------------------------------------------

void layer_vulkan(struct walk *walk)
{
    struct doctor_layer *layer = walk_layer(walk, "vulkan", "Vulkan", true);
    const struct survey *survey = &walk->device->survey;
    PUT(layer->wanted, "a Vulkan loader with a driver in it, and an instance");
    if (no_survey(walk, layer))
        return;
    if (survey->failure.status != OK || !survey->loader[0]) {
        layer->state = walk_clear(walk, layer) ? LAYER_REFUSED : LAYER_NONE;
        PUT(layer->found, "%s",
            survey->failure.text[0] ? survey->failure.text : "there is no Vulkan loader");
        if (survey->loader[0])
            PUT(layer->found, " (loader: %s)", survey->loader);
        PUT(layer->todo, "Install the loader and the drivers, or use the appliance's binary, which "
                         "has both in it.");
        PUT(layer->lines, "apt install libvulkan1 mesa-vulkan-drivers\n");
        return;
    }
    layer->state = LAYER_OK;
    PUT(layer->found, "loader: %s; %d device%s", survey->loader, (int)survey->n_devices,
        survey->n_devices == 1 ? "" : "s");
}

static void say_device(const struct survey_device *device, struct doctor_layer *layer)
{
    PUT(layer->found, "%s (%s, %s, Vulkan %u.%u)", device->name, device->kind, device->driver,
        device->api_version >> 22 & 0x7f, device->api_version >> 12 & 0x3ff);
    if (strcmp(device->kind, "software") == 0)
        PUT(layer->found, ", which computes on the processor and runs only when it is asked for by "
                          "name (device = llvmpipe)");
    if (!device->usable)
        PUT(layer->found, ", which cannot be used: %s",
            device->refusal[0] ? device->refusal : "no reason is given");
}

void layer_device(struct walk *walk)
{
    struct doctor_layer *layer = walk_layer(walk, "device", "Device", true);
    const struct survey *survey = &walk->device->survey;
    const struct survey_device *device = device_of(walk);
    PUT(layer->wanted, "a GPU among Vulkan's devices, not software that imitates one");
    if (no_survey(walk, layer))
        return;
    if (survey->failure.status != OK) {
        (void)walk_skips(walk, layer);
        return;
    }
    for (int32_t i = 0; i < survey->n_devices; i++) {
        PUT(layer->found, "%s", i ? "; " : "");
        say_device(&survey->device[i], layer);
    }
    if (survey->n_devices == 0)
        PUT(layer->found, "Vulkan shows no device");
    if (on_vulkan(walk))
        PUT(layer->found, "; %s runs", walk->device->info.device);
    if (device) {
        layer->state = device->usable || on_vulkan(walk) ? LAYER_OK : LAYER_REFUSED;
        return;
    }
    bool gpu = walk->gpu && walk->gpu->kind == PCI_GPU;
    layer->state = on_vulkan(walk) ? LAYER_OK : gpu ? LAYER_REFUSED : LAYER_NONE;
    if (layer->state == LAYER_REFUSED && !walk_clear(walk, layer))
        layer->state = LAYER_SKIPPED; // no wonder
    if (layer->state == LAYER_REFUSED)
        PUT(layer->todo,
            "The kernel has the GPU, and no Vulkan driver here takes it: on AMD's, mend "
            "what stands above; for other makers install their driver (the "
            "appliance's binary has AMD's and Venus alone).");
}

// ---- features, memory ---------------------------------------------------------------------------

void layer_features(struct walk *walk)
{
    struct doctor_layer *layer = walk_layer(walk, "features", "Features", true);
    PUT(layer->wanted, "all that the kernels need; for full speed 16-bit arithmetic, cooperative "
                       "matrices 16x16x16 and an accelerated 8-bit dot product");
    if (no_device(walk, layer))
        return;
    const struct survey_device *device = device_of(walk);
    if (!device->usable) {
        layer->state = LAYER_REFUSED;
        PUT(layer->found, "%s", device->refusal);
        PUT(layer->todo, "Use a newer driver: Vulkan 1.3 with 8- and 16-bit storage, buffer device "
                         "addresses and 64-bit integers is what has to be there.");
        return;
    }
    bool full = device->half && device->cooperative_matrix && device->integer_dot;
    layer->state = full ? LAYER_OK : LAYER_NOTE;
    PUT(layer->found,
        "all needed; 16-bit arithmetic: %s; cooperative matrices: %s; accelerated "
        "8-bit dot product: %s",
        device->half ? "yes" : "no", device->cooperative_matrix ? "yes" : "no",
        device->integer_dot ? "yes" : "no");
    if (device->n_compute_units)
        PUT(layer->found, "; %d compute units", (int)device->n_compute_units);
    if (!full)
        PUT(layer->todo, "Nothing is wrong: plain kernels do the work, more slowly. A newer driver "
                         "may have what is missing.");
}

void layer_memory(struct walk *walk)
{
    struct doctor_layer *layer = walk_layer(walk, "memory", "Memory", true);
    PUT(layer->wanted, "memory of the GPU for the model, its context and the kernels' own");
    if (no_device(walk, layer))
        return;
    const struct survey_device *device = device_of(walk);
    layer->state = device->memory_bytes ? LAYER_OK : LAYER_NOTE;
    say_gib(layer->found, sizeof(layer->found), device->memory_bytes);
    PUT(layer->found, " in its heaps, ");
    say_gib(layer->found, sizeof(layer->found), device->memory_usable_bytes);
    PUT(layer->found, " usable now, the largest buffer ");
    say_gib(layer->found, sizeof(layer->found), device->largest_buffer_bytes);
}

// ---- computing ----------------------------------------------------------------------------------

static bool not_tested(struct walk *walk, struct doctor_layer *layer)
{
    const struct doctor_device *device = walk->device;
    if (!device->looked)
        return true;
    if (device->tested)
        return false;
    layer->state = LAYER_SKIPPED;
    if (device->opened.status != OK)
        PUT(layer->found, "not asked: no device runs");
    else
        PUT(layer->found, "not asked: the server tests GPUs alone; `tawny doctor` tests the "
                          "processor too");
    return true;
}

void layer_self_test(struct walk *walk)
{
    struct doctor_layer *layer = walk_layer(walk, "self_test", "Self-test", true);
    const struct doctor_device *device = walk->device;
    PUT(layer->wanted, "results that are known beforehand");
    if (not_tested(walk, layer))
        return;
    if (doctor_wrong(device, NULL)) {
        layer->state = LAYER_REFUSED;
        PUT(layer->todo, "Do not trust its answers. Try another version of the driver and of the "
                         "kernel; on the processor: device = cpu.");
    } else {
        layer->state = device->test_failed.status == OK ? LAYER_OK : LAYER_UNKNOWN;
    }
    PUT(layer->found, "%s",
        device->test_failed.status != OK ? device->test_failed.text : device->test.said);
}

// What memory can deliver on a chip: `good` is what reading should reach, three quarters of the
// peak or what owners measured (Strix Halo: 212 to 240 of 256 GB/s).
static const struct {
    const char *chip, *memory;
    double peak, good;
} memories[] = {
    {"gfx1150", "two modules of DDR5-5600", 89.6e9, 67e9},
    {"gfx1150", "LPDDR5X-7500", 120e9, 90e9},
    {"gfx1151", "LPDDR5X-8000", 256e9, 200e9},
    {"gfx1152", "two modules of DDR5-5600", 89.6e9, 67e9},
    {"gfx1152", "LPDDR5X-8000", 128e9, 96e9},
};

static void compare(struct doctor_layer *layer, const char *chip, double reached)
{
    size_t first = 0;
    while (first < COUNT_OF(memories) && strcmp(memories[first].chip, chip) != 0)
        first++;
    if (first == COUNT_OF(memories)) {
        PUT(layer->found, "; there is no figure to compare it with for this device");
        return;
    }
    // The slowest memory of this chip that could have delivered it.
    size_t which = first;
    while (which + 1 < COUNT_OF(memories) && strcmp(memories[which + 1].chip, chip) == 0 &&
           reached > memories[which].peak)
        which++;
    PUT(layer->found, ", %.0f %% of the %.1f GB/s of %s with %s",
        100 * reached / memories[which].peak, memories[which].peak / 1e9, chip,
        memories[which].memory);
    if (reached >= memories[which].good)
        return;
    layer->state = LAYER_NOTE;
    if (reached < 0.55 * memories[which].peak && which == first && strcmp(chip, "gfx1151") != 0)
        PUT(layer->todo, "That is what one memory module gives: put in the second one, of the same "
                         "size.");
    else
        PUT(layer->todo, "Look for what holds it back: a power-saving profile of the firmware, "
                         "memory below its rated clock, another program on the GPU.");
}

void layer_bandwidth(struct walk *walk)
{
    struct doctor_layer *layer = walk_layer(walk, "bandwidth", "Memory bandwidth", true);
    const struct doctor_device *device = walk->device;
    if (device->opened.status == OK && !on_vulkan(walk))
        PUT(layer->wanted, "what the processor reads and copies; no figure is asked of one");
    else
        PUT(layer->wanted, "reading at three quarters or more of the memory's peak (Strix Point: "
                           "89.6 or 120 GB/s, Strix Halo: 256)");
    if (not_tested(walk, layer))
        return;
    double read = device->test.read_bytes_per_s, copy = device->test.copy_bytes_per_s;
    if (device->test_failed.status != OK || (read <= 0 && copy <= 0)) {
        layer->state = LAYER_UNKNOWN;
        PUT(layer->found, "it was not measured");
        return;
    }
    layer->state = LAYER_OK;
    PUT(layer->found, "reading %.1f GB/s, copying %.1f GB/s", read / 1e9, copy / 1e9);
    const struct survey_device *shown = on_vulkan(walk) ? device_of(walk) : NULL;
    if (shown)
        compare(layer, pci_chip(shown->vendor_id, shown->device_id), read > copy ? read : copy);
}
