// walk.c - the walk from the PCI bus up to the self-test, and its verdict: what runs, and if no GPU
// does, which layer refuses first.
//
// Each layer judges itself, seeing only what stands before it. Afterwards the verdict corrects
// them: where a GPU does run, no layer below it can have refused (Vulkan may reach one that has no
// PCI device or node here, over a socket), so what looked like a refusal becomes a note.
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void put(char *text, size_t size, const char *format, ...)
{
    size_t n = strlen(text);
    va_list args;
    va_start(args, format);
    if (n + 1 < size)
        vsnprintf(text + n, size - n, format, args);
    va_end(args);
    text[utf8_whole(bytes_of(text))] = 0;
}

struct doctor_layer *walk_layer(struct walk *walk, const char *id, const char *name, bool once)
{
    struct doctor_report *report = walk->report;
    if (report->n_layers >= DOCTOR_LAYERS)
        die("the doctor has more layers than DOCTOR_LAYERS");
    struct doctor_layer *layer = &report->layer[report->n_layers++];
    *layer = (struct doctor_layer){
        .id = id, .name = name, .once = once && !walk->device->all, .state = LAYER_SKIPPED};
    if (once && !walk->device->looked) {
        layer->state = LAYER_UNKNOWN;
        PUT(layer->found, "the server is still starting: ask again in a moment");
    }
    return layer;
}

// The first layer before this one that refuses, or has nothing to offer.
static const struct doctor_layer *decided(const struct walk *walk, const struct doctor_layer *layer)
{
    const struct doctor_layer *before = walk->report->layer;
    while (before < layer && before->state != LAYER_REFUSED && before->state != LAYER_NONE)
        before++;
    return before < layer ? before : NULL;
}

bool walk_clear(const struct walk *walk, const struct doctor_layer *layer)
{
    return !decided(walk, layer);
}

bool walk_skips(struct walk *walk, struct doctor_layer *layer)
{
    const struct doctor_layer *before = decided(walk, layer);
    if (layer->once && !walk->device->looked)
        return true; // it says so already
    if (!before)
        return false;
    layer->state = LAYER_SKIPPED;
    PUT(layer->found, "%snot asked: \"%s\" decides before it", layer->found[0] ? "; " : "",
        before->name);
    return true;
}

static void judge(struct doctor_report *report, const struct doctor_device *device)
{
    report->started = device->looked;
    if (!device->looked || device->opened.status != OK || doctor_wrong(device, NULL))
        report->runs = RUNS_NOTHING;
    else if (strcmp(device->info.backend, "vulkan") != 0)
        report->runs = RUNS_CPU;
    else
        report->runs = strcmp(device->info.kind, "software") == 0 ? RUNS_SOFTWARE : RUNS_GPU;
    if (report->runs != RUNS_NOTHING)
        snprintf(report->device, sizeof(report->device), "%s", device->info.device);
    bool automatic = strcmp(device->setting, "auto") == 0 || strcmp(device->setting, "vulkan") == 0;
    report->asked_for = report->runs == RUNS_GPU || (report->runs != RUNS_NOTHING && !automatic);
    for (int32_t i = 0; i < report->n_layers; i++) {
        struct doctor_layer *layer = &report->layer[i];
        if (report->runs == RUNS_GPU &&
            (layer->state == LAYER_REFUSED || layer->state == LAYER_NONE))
            layer->state = LAYER_NOTE;
        if (layer->state == LAYER_REFUSED && !report->refused)
            report->refused = layer;
        for (size_t n = strlen(layer->todo); n && layer->todo[n - 1] == ' '; n--)
            layer->todo[n - 1] = 0;
    }
}

static int count_notes(const struct doctor_report *report)
{
    int n = 0;
    for (int32_t i = 0; i < report->n_layers; i++)
        n += report->layer[i].state == LAYER_NOTE;
    return n;
}

static void conclude(struct doctor_report *report, const struct doctor_device *device)
{
    struct err why = device->opened;
    (void)doctor_wrong(device, &why);
    const struct doctor_layer *refused = report->refused;
    int n_notes = count_notes(report);
    if (!report->started) {
        PUT(report->verdict, "The server is still starting; the device has not been opened yet.");
    } else if (report->runs == RUNS_GPU) {
        PUT(report->verdict, "The GPU runs the model: %s.", report->device);
        if (n_notes)
            PUT(report->verdict, " %d of the layers could be better.", n_notes);
    } else if (report->runs == RUNS_NOTHING) {
        PUT(report->verdict, "Nothing runs: %s.", why.text);
    } else if (report->asked_for) {
        PUT(report->verdict, "%s runs the model, as device = %s asks for.", report->device,
            report->setting);
    } else {
        PUT(report->verdict, "No GPU runs, the processor does: %s (%s).", report->device,
            device->info.reason);
    }
    if (refused && report->started && !report->asked_for)
        PUT(report->verdict, " The first layer that refuses a GPU is \"%s\".", refused->name);
}

void walk_look(struct walk *walk, const struct place *place, const struct doctor_device *device,
               struct doctor_report *report)
{
    *walk = (struct walk){.place = place, .device = device, .report = report};
    pci_displays(&walk->pci, place->root);
    drm_nodes(&walk->nodes, place->root, false);
}

void walk_layers(struct walk *walk)
{
    static void (*const layers[])(struct walk *walk) = {
        layer_pci,       layer_driver,    layer_firmware, layer_nodes,    layer_permission,
        layer_open,      layer_vulkan,    layer_device,   layer_features, layer_memory,
        layer_self_test, layer_bandwidth, layer_settings,
    };
    struct doctor_report *out = walk->report;
    *out = (struct doctor_report){0};
    snprintf(out->setting, sizeof(out->setting), "%s", walk->device->setting);
    place_text(walk->place, out->place, sizeof(out->place));
    walk->gpu = walk->pci.n && walk->pci.device[0].kind != PCI_SCREEN ? &walk->pci.device[0] : NULL;
    walk->node = NULL;
    if (walk->gpu || walk->pci.error)
        walk->node = drm_node_of(&walk->nodes, walk->gpu ? walk->gpu->slot : "");
    for (size_t i = 0; i < COUNT_OF(layers); i++)
        layers[i](walk);
    judge(out, walk->device);
    conclude(out, walk->device);
}

void doctor_walk(struct doctor_report *out, const struct doctor_device *device, const char *root)
{
    struct place place;
    struct walk walk;
    place_look(&place, root);
    walk_look(&walk, &place, device, out);
    walk_layers(&walk);
}
