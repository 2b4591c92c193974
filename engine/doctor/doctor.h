// doctor.h - between compute and the engine: does a GPU run here, and if not, which layer refuses
// it, what was wanted, what was found, what to do.
//
// Layers are of two kinds. The device layers (opening nodes, Vulkan, the self-test, the kernel's
// log) are looked at once, by whoever owns the device: doctor_device(), on the engine thread before
// the model is opened, or by `tawny doctor`. The file-system layers (PCI bus, drivers, nodes,
// groups, kernel settings) are cheap and are looked at in every doctor_walk(), which touches no
// device and may be called from any thread. Every layer says of itself when it was looked at.
//
// Nothing that is missing is an error here: in an empty chroot the report says that /sys is not
// there.
#pragma once

#include "../base/base.h"
#include "../compute/compute.h"
#include "../compute/survey.h"

struct kernel_log {    // what the kernel said of GPUs since it started
    int error;         // of reading it: an errno; 0: read
    char missing[128]; // firmware file that was asked for and not found; empty: none
    char failure[200]; // the last line that says that a GPU's driver gave up; empty: none
    char reset[200];   // the last line that tells of a hanging GPU; empty: none
    int32_t n_resets;
};

struct doctor_device {
    bool looked;   // false: not yet (a server that is starting)
    bool all;      // by `tawny doctor`: all layers are of this moment
    bool surveyed; // false: not wanted, the setting is `cpu`
    bool tested;
    char setting[64];         // device = ...
    struct err opened;        // status OK: a device runs; else why compute_open refused
    struct compute_info info; // of the device that runs
    struct drm_nodes nodes;   // opened
    struct kernel_log log;
    struct survey survey;
    struct err test_failed; // status OK: `test` is filled
    struct self_test test;
    uint32_t took_ms;
};
// In two steps, on the device's thread. Before it is opened, since two instances of Vulkan at once
// are more than some drivers can do; all: everything, as for `tawny doctor`; else, as in a starting
// server, nothing that costs much and tells little: no survey when the setting is `cpu`, no
// self-test of the processor.
void doctor_survey(struct doctor_device *out, const char *setting, bool all);
// And after: compute is the device that runs, or NULL when *refused says why there is none.
void doctor_device(struct doctor_device *out, struct compute *compute, const struct err *refused);
// The device was tested and does not compute what it should: no model is to run on it. *why says
// it.
bool doctor_wrong(const struct doctor_device *device, struct err *why);

enum layer_state {
    LAYER_OK,
    LAYER_NOTE,    // it works, and could be better
    LAYER_NONE,    // there is nothing of it here, and nothing that refuses
    LAYER_REFUSED, // no GPU runs because of it
    LAYER_UNKNOWN, // it could not be looked at
    LAYER_SKIPPED, // a layer before it decides
};

struct doctor_layer {
    const char *id, *name; // "permission", "Permission"
    enum layer_state state;
    bool once; // looked at once, when the engine started; else just now
    char wanted[200], found[1000];
    char todo[600];   // one sentence or two; empty: nothing
    char lines[1600]; // what to type or to write, line by line, each with its '\n'; empty: nothing
};

enum doctor_runs { RUNS_NOTHING, RUNS_GPU, RUNS_SOFTWARE, RUNS_CPU };

enum { DOCTOR_LAYERS = 16 };
struct doctor_report {
    char setting[64], place[160]; // place: "a Proxmox or LXC container, uid 1000, groups 1000 44"
    bool started;                 // the device layers were looked at
    bool asked_for;               // what runs is what the setting names
    enum doctor_runs runs;
    char device[96];
    const struct doctor_layer *refused; // the first layer that refused; NULL: none
    char verdict[1200];
    int32_t n_layers;
    struct doctor_layer layer[DOCTOR_LAYERS];
};
// root: as in compute.h.
void doctor_walk(struct doctor_report *out, const struct doctor_device *device, const char *root);

enum { DOCTOR_BYTES_MOST = 128 << 10 }; // of a report as text or JSON
MUST_USE enum status doctor_text(struct buf *out, const struct doctor_report *report,
                                 const char *version);
MUST_USE enum status doctor_json(struct buf *out, const struct doctor_report *report,
                                 const char *version);
