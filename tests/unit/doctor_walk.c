// doctor_walk.c - each layer in each state that a machine can be in, from faked trees and faked
// devices: the state, the sentence, the lines that mend it; the verdict; text and JSON.
#include "../../engine/doctor/inside.h"
#include "check.h"
#include "fake_root.h"

#include <errno.h>
#include <yyjson.h>

static struct place place;
static struct doctor_device device;
static struct doctor_report report;
static struct walk now;

// A Strix Halo machine on which everything is right, as a file system shows it.
static void good_machine(void)
{
    fake_begin();
    fake_pci("0000:c5:00.0", "0x038000\n", "0x1002\n", "0x1586\n", "amdgpu");
    fake_node("renderD128", "0000:c5:00.0");
    fake_file("/sys/bus/pci/devices/0000:c5:00.0/fw_version/mec_fw_version", "0x0000001f\n");
    fake_file("/sys/bus/pci/devices/0000:c5:00.0/fw_version/pfp_fw_version", "0x00000000\n");
    fake_file("/sys/bus/pci/devices/0000:c5:00.0/mem_info_gtt_total", "133143986176\n");
    fake_file("/sys/bus/pci/devices/0000:c5:00.0/mem_info_vram_total", "536870912\n");
    fake_file("/sys/module/amdgpu/parameters/lockup_timeout", "10000,10000,10000,10000\n");
    fake_file("/proc/sys/kernel/osrelease", "7.2.3-amd64\n");
    fake_file("/proc/cmdline", "quiet amd_iommu=off\n");
    fake_file("/proc/meminfo", "MemTotal:       131072000 kB\n");
    fake_file("/proc/self/gid_map", "0 0 4294967295\n");
    fake_file("/etc/group", "root:x:0:\nvideo:x:44:\nrender:x:110:tawny\n");
    fake_file("/dev/null", "");
}

// ... and as Vulkan does.
static void good_device(void)
{
    device = (struct doctor_device){.looked = true, .surveyed = true, .tested = true};
    snprintf(device.setting, sizeof(device.setting), "auto");
    device.info = (struct compute_info){.device = "AMD Radeon 8060S Graphics (RADV GFX1151)",
                                        .backend = "vulkan",
                                        .kind = "integrated"};
    device.nodes = (struct drm_nodes){.opened = true, .n = 1};
    device.nodes.node[0] = (struct drm_node){
        .path = "/dev/dri/renderD128", .slot = "0000:c5:00.0", .driver = "amdgpu"};
    device.survey = (struct survey){.loader = "linked in", .n_devices = 1};
    device.survey.device[0] =
        (struct survey_device){.name = "AMD Radeon 8060S Graphics (RADV GFX1151)",
                               .driver = "radv 25.0.7",
                               .kind = "integrated",
                               .vendor_id = 0x1002,
                               .device_id = 0x1586,
                               .api_version = 1u << 22 | 4u << 12,
                               .n_compute_units = 40,
                               .memory_bytes = 128ull << 30,
                               .memory_usable_bytes = 120ull << 30,
                               .largest_buffer_bytes = 4ull << 30,
                               .cooperative_matrix = true,
                               .integer_dot = true,
                               .half = true,
                               .usable = true};
    device.test = (struct self_test){
        .right = true, .said = "all right", .copy_bytes_per_s = 190e9, .read_bytes_per_s = 215e9};
}

static void no_device(const char *why)
{
    device.tested = false;
    device.info = (struct compute_info){0};
    device.survey.n_devices = 0;
    (void)err_set(&device.opened, DEVICE_ERROR, "%s", why);
}

static void on_cpu(const char *reason)
{
    no_device("");
    device.opened = (struct err){0};
    device.info = (struct compute_info){.device = "CPU: AMD", .backend = "cpu", .kind = "cpu"};
    snprintf(device.info.reason, sizeof(device.info.reason), "%s", reason);
}

static void look(void)
{
    place_look(&place, fake_root);
    place.uid = place.gid = 1000; // whoever runs the test
    place.n_groups = 1;
    place.group[0] = 1000;
    walk_look(&now, &place, &device, &report);
    if (now.nodes.n)
        now.nodes.node[0].uid = 0, now.nodes.node[0].gid = 110, now.nodes.node[0].mode = 0660;
}

static void walk(void)
{
    walk_layers(&now);
}

static const struct doctor_layer *layer(const char *id)
{
    for (int32_t i = 0; i < report.n_layers; i++)
        if (strcmp(report.layer[i].id, id) == 0)
            return &report.layer[i];
    fprintf(stderr, "there is no layer %s\n", id);
    abort();
}

// The layer is in that state, and what it found, its to-do and its lines hold these words.
static void expect(const char *id, enum layer_state state, const char *found, const char *todo,
                   const char *line)
{
    const struct doctor_layer *got = layer(id);
    bool good = got->state == state && (!found || strstr(got->found, found)) &&
                (todo ? strstr(got->todo, todo) != NULL : got->todo[0] == 0) &&
                (line ? strstr(got->lines, line) != NULL : got->lines[0] == 0);
    if (!CHECK(good))
        fprintf(stderr, "    %s: state %d\n    found %s\n    to do %s\n    lines\n%s", id,
                (int)got->state, got->found, got->todo, got->lines);
}

// ---- all is well --------------------------------------------------------------------------------

static void test_good(void)
{
    good_machine();
    good_device();
    look();
    walk();
    for (int32_t i = 0; i < report.n_layers; i++) {
        if (!CHECK(report.layer[i].state == LAYER_OK))
            fprintf(stderr, "    %s: %s\n", report.layer[i].id, report.layer[i].found);
        CHECK(report.layer[i].wanted[0] && report.layer[i].found[0] && !report.layer[i].todo[0]);
    }
    CHECK(report.runs == RUNS_GPU && report.asked_for && !report.refused && report.started);
    CHECK_TEXT(report.verdict, "The GPU runs the model: AMD Radeon 8060S Graphics (RADV GFX1151).");
    CHECK(strstr(layer("pci")->found, "AMD Strix Halo (gfx1151) at 0000:c5:00.0, 1002:1586"));
    CHECK_TEXT(layer("firmware")->found, "mec 0x0000001f"); // a piece of version 0 is not loaded
    CHECK(strstr(layer("nodes")->found, "/dev/dri/renderD128 (owner 0, group 110 render, mode "
                                        "0660) of 0000:c5:00.0"));
    CHECK(strstr(layer("bandwidth")->found, "84 % of the 256.0 GB/s of gfx1151"));
    CHECK(strstr(layer("settings")->found, "of 125.0 GiB memory the GPU may map 124.0 GiB"));
    CHECK(strstr(layer("device")->found, "(integrated, radv 25.0.7, Vulkan 1.4)"));
}

// ---- nothing at all -----------------------------------------------------------------------------

static void test_empty(void)
{
    fake_begin();
    good_device();
    on_cpu("no GPU is found");
    device.nodes = (struct drm_nodes){.error = ENOENT};
    look();
    walk();
    expect("pci", LAYER_REFUSED, "no sysfs is mounted at /sys", "Mount sysfs", "mount -t sysfs");
    expect("nodes", LAYER_REFUSED,
           "/dev/dri cannot be read: No such file or directory; /dev has no", "Mount devtmpfs",
           "mount -t devtmpfs");
    expect("settings", LAYER_UNKNOWN, "no /proc is mounted", "Mount", "mount -t proc");
    CHECK(report.runs == RUNS_CPU && !report.asked_for && report.refused == layer("pci"));
    CHECK_TEXT(report.verdict,
               "No GPU runs, the processor does: CPU: AMD (no GPU is found). The first "
               "layer that refuses a GPU is \"PCI device\".");
    memset(&device, 0, sizeof(device));
    look();
    walk(); // a server that has only begun
    CHECK(!report.started && strstr(report.verdict, "still starting"));
    expect("vulkan", LAYER_UNKNOWN, "still starting", NULL, NULL);
}

static void test_no_gpu(void)
{
    good_machine();
    good_device();
    on_cpu("this machine has no GPU");
    fake_pci("0000:c5:00.0", "0x030000\n", "0x1234\n", "0x1111\n", "bochs-drm");
    fake_file("/proc/cpuinfo", "flags : hypervisor\n");
    look();
    walk();
    expect("pci", LAYER_NONE, "QEMU's VGA 1234:1111 at 0000:c5:00.0, which only draws a screen",
           "Give the virtual machine the GPU", "--hostpci0");
    expect("driver", LAYER_SKIPPED, "\"PCI device\" decides before it", NULL, NULL);
    expect("device", LAYER_NONE, "Vulkan shows no device", NULL, NULL);
    CHECK(!report.refused && report.runs == RUNS_CPU && !report.asked_for);
    // llvmpipe is seen, and not taken.
    device.survey.n_devices = 1;
    snprintf(device.survey.device[0].name, 96, "llvmpipe (LLVM 19.1.7, 256 bits)");
    snprintf(device.survey.device[0].kind, 16, "software");
    look();
    walk();
    expect("device", LAYER_NONE, "runs only when it is asked for by name (device = llvmpipe)", NULL,
           NULL);
    CHECK(report.runs == RUNS_CPU && !report.refused);
    device.info = (struct compute_info){.backend = "vulkan", .kind = "software"};
    snprintf(device.info.device, sizeof(device.info.device), "llvmpipe (LLVM 19.1.7, 256 bits)");
    snprintf(device.setting, sizeof(device.setting), "llvmpipe");
    look();
    walk();
    CHECK(report.runs == RUNS_SOFTWARE && report.asked_for);
    on_cpu("device = cpu was asked for");
    snprintf(device.setting, sizeof(device.setting), "cpu");
    device.surveyed = false;
    look();
    walk();
    CHECK(report.runs == RUNS_CPU && report.asked_for);
    expect("vulkan", LAYER_SKIPPED, "device = cpu", NULL, NULL);
    CHECK(strstr(report.verdict, "as device = cpu asks for"));
}

static void test_virtio(void)
{
    good_machine();
    good_device();
    on_cpu("this machine has no GPU");
    fake_pci("0000:c5:00.0", "0x038000\n", "0x1af4\n", "0x1050\n", "virtio-pci");
    snprintf(device.nodes.node[0].driver, 32, "virtio_gpu");
    look();
    walk();
    expect("pci", LAYER_NOTE, "virtio-gpu 1af4:1050 at 0000:c5:00.0, a virtual screen", "", NULL);
    expect("open", LAYER_NONE,
           "virtio_gpu answers, but the host offers no Vulkan through it (Venus)",
           "Let the host share its GPU", "qm set VMID --vga virtio-gl --args");
    // QEMU refuses such a device beside a display without OpenGL.
    CHECK(strstr(layer("open")->lines, "-display egl-headless -device virtio-vga-gl"));
    CHECK(!report.refused && report.runs == RUNS_CPU);
    good_device();
    snprintf(device.nodes.node[0].driver, 32, "virtio_gpu");
    device.nodes.node[0].venus = true;
    look();
    walk();
    expect("open", LAYER_OK, "offers Vulkan through it (Venus)", NULL, NULL);
    CHECK(report.runs == RUNS_GPU);
    // Vulkan may come over a socket, to a machine that has no GPU and no node.
    fake_begin();
    fake_dir("/sys/bus/pci/devices");
    fake_dir("/sys/class");
    look();
    walk();
    CHECK(report.runs == RUNS_GPU && !report.refused);
    expect("pci", LAYER_NOTE, "no display controller", "", NULL);
}

// ---- the kernel's driver ------------------------------------------------------------------------

static void unbound(void)
{
    good_machine();
    good_device();
    no_device("kernel driver: none has taken the GPU");
    device.log = (struct kernel_log){.error = EPERM};
    unlink(fake_path("/sys/bus/pci/devices/0000:c5:00.0/driver"));
    unlink(fake_path("/sys/module/amdgpu/parameters/lockup_timeout"));
    rmdir(fake_path("/sys/module/amdgpu/parameters"));
    rmdir(fake_path("/sys/module/amdgpu"));
    fake_remove(fake_path("/dev/dri"));
}

static void test_driver(void)
{
    unbound();
    fake_file("/proc/cmdline", "quiet nomodeset\n");
    look();
    walk();
    expect("driver", LAYER_REFUSED, "started with nomodeset", "Take nomodeset off", NULL);
    CHECK(report.refused == layer("driver") && report.runs == RUNS_NOTHING && !report.asked_for);
    CHECK_TEXT(report.verdict,
               "Nothing runs: kernel driver: none has taken the GPU. The first layer "
               "that refuses a GPU is \"Kernel driver\".");
    fake_file("/proc/cmdline", "modprobe.blacklist=nouveau,amdgpu quiet\n");
    look();
    walk();
    expect("driver", LAYER_REFUSED, "command line blacklists amdgpu", "modprobe.blacklist=", NULL);
    fake_file("/proc/cmdline", "modprobe.blacklist=amdgpu2\n");
    fake_file("/etc/modprobe.d/pve.conf", "# blacklist amdgpu\noptions x y\n  blacklist\tamdgpu\n");
    look();
    walk();
    expect("driver", LAYER_REFUSED, "/etc/modprobe.d/pve.conf blacklists amdgpu",
           "Remove that line", "modprobe amdgpu");
    fake_file("/etc/modprobe.d/pve.conf", "# blacklist amdgpu\nblacklist amdgpuX\n");
    look();
    walk();
    expect("driver", LAYER_REFUSED, "this kernel (7.2.3-amd64) has no module amdgpu", "Install",
           NULL);
    fake_file("/usr/lib/modules/7.2.3-amd64/kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko.xz", "");
    look();
    walk();
    expect("driver", LAYER_REFUSED, "amdgpu is not loaded", "Load it", "modprobe amdgpu");
    expect("firmware", LAYER_UNKNOWN, "/dev/kmsg: Operation not permitted", "as root", "dmesg");
    fake_dir("/sys/module/amdgpu");
    look();
    walk();
    expect("driver", LAYER_REFUSED, "amdgpu is loaded and did not take it", "firmware", "dmesg");
    fake_file("/.dockerenv", "");
    rmdir(fake_path("/sys/module/amdgpu"));
    look();
    walk();
    expect("driver", LAYER_REFUSED, "amdgpu is not loaded", "on the host", "# on the host");
    fake_link("/sys/bus/pci/devices/0000:c5:00.0/driver", "../../drivers/vfio-pci");
    look();
    walk();
    expect("driver", LAYER_REFUSED, "vfio-pci: the kernel keeps the GPU for a virtual machine",
           "give the GPU back to the host", "1002:1586");
}

static void test_firmware(void)
{
    unbound();
    device.log = (struct kernel_log){.missing = "amdgpu/gc_11_5_1_pfp.bin",
                                     .failure = "amdgpu: Fatal error during GPU init"};
    look();
    walk();
    expect("firmware", LAYER_REFUSED, "did not find the firmware file amdgpu/gc_11_5_1_pfp.bin",
           "Install AMD's firmware", "firmware-amd-graphics");
    fake_file("/init", "");
    fake_file("/usr/share/tawny/NOTICES", "");
    device.log.missing[0] = 0;
    look();
    walk();
    expect("firmware", LAYER_REFUSED, "log says: amdgpu: Fatal error", "Write a newer image", NULL);
    good_machine();
    good_device();
    device.log = (struct kernel_log){.n_resets = 2, .reset = "amdgpu: ring comp_1.0.0 timeout"};
    look();
    walk();
    expect("firmware", LAYER_NOTE, "the GPU hung (2 resets), last: amdgpu: ring comp_1.0.0 timeout",
           "lockup_timeout", NULL);
}

// ---- nodes and permission -----------------------------------------------------------------------

static void test_nodes(void)
{
    good_machine();
    good_device();
    no_device("device node");
    fake_remove(fake_path("/dev/dri"));
    look();
    walk();
    expect("nodes", LAYER_REFUSED, "/dev/dri cannot be read", "without making a node", "udevadm");
    fake_file("/dev/dri/card0", "");
    fake_file("/proc/self/cgroup", "0::/system.slice/tawny.service\n");
    look();
    walk();
    expect("nodes", LAYER_REFUSED, "no render node (1 card nodes)", "the unit hides it",
           "# systemctl edit tawny.service\n[Service]\nPrivateDevices=no");
    fake_file("/.dockerenv", "");
    look();
    walk();
    expect("nodes", LAYER_REFUSED, NULL, "handed into this container",
           "docker run --device /dev/dri/renderD128 --group-add $(stat -c %g /dev/dri/renderD128)");
    CHECK(report.refused == layer("nodes"));
    expect("permission", LAYER_SKIPPED, "\"Device nodes\" decides before it", NULL, NULL);
    unlink(fake_path("/.dockerenv"));
    fake_file("/run/.containerenv", "");
    look();
    walk();
    expect("nodes", LAYER_REFUSED, NULL, "", "--group-add keep-groups");
    unlink(fake_path("/run/.containerenv"));
    fake_file("/run/systemd/container", "lxc");
    look();
    walk();
    expect("nodes", LAYER_REFUSED, NULL, "", "\ndev0: /dev/dri/renderD128,gid=110\n");
    fake_file("/run/systemd/container", "systemd-nspawn");
    look();
    walk();
    expect("nodes", LAYER_REFUSED, NULL, "", "[Files]\nBind=/dev/dri/renderD128\n");
}

// The node refuses us: group and mode as given, what the kernel answers in error.
static void closed_node(uint32_t gid, uint32_t mode, int error)
{
    good_device();
    no_device("permission");
    device.nodes.node[0].error = error;
    device.nodes.node[0].driver[0] = 0;
    look();
    now.nodes.node[0].gid = gid;
    now.nodes.node[0].mode = mode;
    now.nodes.node[0].error = error == EACCES ? EACCES : 0;
    walk();
}

static void test_permission(void)
{
    good_machine();
    closed_node(110, 0660, EACCES);
    expect("permission", LAYER_REFUSED, "group 110 render, mode 0660): the node's group is none of",
           "log in again", "sudo usermod -aG render USER\n");
    CHECK(strstr(layer("permission")->wanted, "for uid 1000 with the groups 1000"));
    expect("open", LAYER_SKIPPED, "\"Permission\" decides", NULL, NULL);
    CHECK(report.refused == layer("permission"));
    fake_file("/etc/passwd", "tawny:x:1000:1000::/home/tawny:/bin/sh\n");
    closed_node(110, 0660, EACCES);
    expect("permission", LAYER_REFUSED, "though /etc/group lists tawny in it",
           "Log out and in again", NULL);
    closed_node(44, 0660, EACCES);
    expect("permission", LAYER_REFUSED, "(render is 110 in here, and the node has 44)", "",
           "sudo usermod -aG video tawny\n");
    fake_file("/run/systemd/container", "lxc"); // the same holds in a container with a system in it
    closed_node(44, 0660, EACCES);
    expect("permission", LAYER_REFUSED, NULL, "", "sudo usermod -aG video tawny\n");
    closed_node(105, 0660, EACCES);
    expect("permission", LAYER_REFUSED, NULL, "have the group 105",
           "dev0: /dev/dri/renderD128,gid=110");
    unlink(fake_path("/run/systemd/container"));
    fake_file("/proc/self/cgroup", "0::/system.slice/tawny.service\n");
    closed_node(110, 0660, EACCES);
    expect("permission", LAYER_REFUSED, NULL, "Add the group to the unit",
           "# systemctl edit tawny.service\n[Service]\nSupplementaryGroups=render\n");
    closed_node(110, 0, EACCES);
    expect("permission", LAYER_REFUSED, "its mode 0000 lets nobody in", "0660",
           "chmod 0660 /dev/dri/renderD128\n");
    closed_node(110, 0600, EACCES);
    expect("permission", LAYER_REFUSED, "its mode 0600 lets others, but not us, in", "0660",
           "GROUP=\"render\", MODE=\"0660\"");
    closed_node(110, 0666, 0); // by chance open to all
    expect("permission", LAYER_OK, NULL, NULL, NULL);
    fake_file("/.dockerenv", "");
    closed_node(992, 0660, EACCES);
    expect("permission", LAYER_REFUSED, "(render is 110 in here, and the node has 992)",
           "have the group 992", "docker run --device /dev/dri/renderD128 --group-add 992 ...\n");
}

static void test_user_namespace(void)
{
    good_machine();
    fake_file("/run/systemd/container", "lxc");
    fake_file("/proc/self/gid_map", "0 100000 65536\n");
    closed_node(65534, 0660, EACCES);
    expect(
        "permission", LAYER_REFUSED,
        "a group which is not mapped into this user namespace (its gid map begins 0 100000 65536: "
        "0 to 65535 in here are 100000 to 165535 outside)",
        "Map the host's render group", "\ndev0: /dev/dri/renderD128,gid=110\n");
    expect("permission", LAYER_REFUSED, NULL, "", "\nlxc.idmap = u 0 100000 65536\n");
    expect("permission", LAYER_REFUSED, NULL, "", "\nlxc.idmap = g 0 100000 110\n");
    expect("permission", LAYER_REFUSED, NULL, "", "\nlxc.idmap = g 110 HOSTGID 1\n");
    expect("permission", LAYER_REFUSED, NULL, "", "\nlxc.idmap = g 111 100111 65425\n");
    expect("permission", LAYER_REFUSED, NULL, "", "\nroot:HOSTGID:1\n");
    // The whole map again, so that no id is lost: 110 + 1 + 65425 = 65536.
    fake_file("/proc/self/gid_map", "0 1000 1\n"); // unshare -r
    unlink(fake_path("/run/systemd/container"));
    closed_node(65534, 0660, EACCES);
    expect("permission", LAYER_REFUSED, "not mapped into this user namespace", "Map", "# Docker\n");
}

static void test_open(void)
{
    good_machine();
    closed_node(110, 0666, EPERM);
    expect("open", LAYER_REFUSED, "a control group's list of devices", "Allow the device",
           "lxc.cgroup2.devices.allow");
    CHECK(report.refused == layer("open"));
    closed_node(110, 0666, ENXIO);
    expect("open", LAYER_REFUSED, "No such device or address; no driver stands behind it",
           "leftover", "modprobe");
    closed_node(110, 0666, EMFILE);
    expect("open", LAYER_REFUSED, "Too many open files", "log", NULL);
    fake_file("/proc/self/cgroup", "0::/system.slice/tawny.service\n");
    closed_node(110, 0666, EPERM);
    expect("open", LAYER_REFUSED, NULL, "device policy", "DeviceAllow=/dev/dri/renderD128 rw");
    device.nodes.n = 0; // a node that came after the start
    look();
    walk();
    expect("open", LAYER_UNKNOWN, "has come since", NULL, NULL);
}

// ---- Vulkan and above ---------------------------------------------------------------------------

static void test_vulkan(void)
{
    good_machine();
    good_device();
    no_device("Vulkan: no loader");
    device.survey = (struct survey){0};
    (void)err_set(&device.survey.failure, NOT_FOUND, "libvulkan.so.1 is not installed");
    look();
    walk();
    expect("vulkan", LAYER_REFUSED, "libvulkan.so.1 is not installed", "Install", "apt install");
    expect("device", LAYER_SKIPPED, "\"Vulkan\" decides", NULL, NULL);
    CHECK(report.refused == layer("vulkan"));
    good_device();
    no_device("Vulkan: none");
    look();
    walk();
    expect("device", LAYER_REFUSED, "Vulkan shows no device", "no Vulkan driver here takes it",
           NULL);
    good_device();
    no_device("Vulkan: too old");
    device.survey.n_devices = 1;
    device.survey.device[0].usable = false;
    snprintf(device.survey.device[0].refusal, 256, "Vulkan 1.2, wanted 1.3");
    look();
    walk();
    expect("device", LAYER_REFUSED, "which cannot be used: Vulkan 1.2, wanted 1.3", NULL, NULL);
    expect("features", LAYER_REFUSED, "Vulkan 1.2, wanted 1.3", "newer driver", NULL);
    good_device();
    device.survey.device[0].cooperative_matrix = false;
    look();
    walk();
    expect("features", LAYER_NOTE, "cooperative matrices: no", "Nothing is wrong", NULL);
    CHECK(strstr(report.verdict, "1 of the layers could be better"));
}

static void bandwidth(uint32_t device_id, double read)
{
    good_device();
    device.survey.device[0].device_id = device_id;
    device.test.read_bytes_per_s = read;
    device.test.copy_bytes_per_s = read / 2;
    look();
    walk();
}

static void test_computing(void)
{
    good_machine();
    good_device();
    device.test.right = false;
    snprintf(device.test.said, sizeof(device.test.said), "row 3 of a product: 1.5, wanted 2");
    look();
    walk();
    expect("self_test", LAYER_REFUSED, "1.5, wanted 2", "Do not trust its answers", NULL);
    CHECK(report.runs == RUNS_NOTHING && !report.asked_for && report.refused == layer("self_test"));
    CHECK(strstr(report.verdict, "AMD Radeon 8060S Graphics (RADV GFX1151) computes wrongly"));
    good_device();
    (void)err_set(&device.test_failed, NO_ROOM, "no memory for the buffers");
    look();
    walk(); // not tested is not wrong
    expect("self_test", LAYER_UNKNOWN, "no memory for the buffers", NULL, NULL);
    CHECK(report.runs == RUNS_GPU);
    bandwidth(0x150e, 75e9);
    expect("bandwidth", LAYER_OK, "84 % of the 89.6 GB/s of gfx1150 with two modules", NULL, NULL);
    bandwidth(0x150e, 100e9);
    expect("bandwidth", LAYER_OK, "83 % of the 120.0 GB/s of gfx1150 with LPDDR5X-7500", NULL,
           NULL);
    bandwidth(0x150e, 40e9);
    expect("bandwidth", LAYER_NOTE, "45 %", "put in the second one", NULL);
    bandwidth(0x150e, 60e9);
    expect("bandwidth", LAYER_NOTE, "67 %", "what holds it back", NULL);
    bandwidth(0x1586, 150e9);
    expect("bandwidth", LAYER_NOTE, "59 % of the 256.0 GB/s", "what holds it back", NULL);
    bandwidth(0x744c, 150e9);
    expect("bandwidth", LAYER_OK, "no figure to compare", NULL, NULL);
    CHECK(strstr(layer("bandwidth")->wanted, "three quarters"));
    snprintf(device.info.backend, sizeof(device.info.backend), "cpu");
    walk(); // of a processor nothing is asked
    CHECK(layer("bandwidth")->state == LAYER_OK && strstr(layer("bandwidth")->wanted, "processor"));
    CHECK(!strstr(layer("bandwidth")->wanted, "three quarters"));
}

static void test_settings(void)
{
    good_machine();
    good_device();
    fake_file("/sys/bus/pci/devices/0000:c5:00.0/mem_info_gtt_total", "67108864000\n");
    fake_file("/sys/module/amdgpu/parameters/lockup_timeout", "\n");
    fake_file("/proc/cmdline", "quiet\n");
    look();
    walk();
    expect("settings", LAYER_NOTE, "the GPU may map 62.5 GiB (GTT)", "nearly all of the memory",
           "ttm.pages_limit=31719424 ttm.page_pool_size=31719424\n");
    expect("settings", LAYER_NOTE, "amdgpu.lockup_timeout is not set", "2 s for a hang",
           "amdgpu.lockup_timeout=10000,10000,10000,10000\n");
    expect("settings", LAYER_NOTE, "amd_iommu is on", "passthrough and the NPU", "amd_iommu=off\n");
    expect("settings", LAYER_NOTE, NULL, "", "proxmox-boot-tool refresh");
    fake_file("/proc/cpuinfo", "flags : hypervisor\n"); // in a virtual machine that is the host's
    fake_file("/proc/cmdline", "amdgpu.lockup_timeout=5000\n");
    fake_file("/sys/bus/pci/devices/0000:c5:00.0/mem_info_gtt_total", "130000000000\n");
    look();
    walk();
    expect("settings", LAYER_OK, "amd_iommu is the host's", NULL, NULL);
    fake_file("/proc/sys/kernel/osrelease", "6.12.1\n");
    look();
    walk();
    expect("settings", LAYER_NOTE, "Linux 6.12.1", "Use a newer kernel", NULL);
    CHECK(layer("settings")->todo[strlen(layer("settings")->todo) - 1] == '.');
}

// ---- what is written ----------------------------------------------------------------------------

static void test_written(void)
{
    struct buf text;
    good_machine();
    good_device();
    no_device("permission: a \"quoted\" \xff reason");
    fake_file("/run/systemd/container", "lxc");
    closed_node(992, 0660, EACCES);
    snprintf(device.survey.device[0].name, 96, "evil \x1b[31m \"name\" \xc3");
    device.survey.n_devices = 1;
    walk();
    buf_init(&text, DOCTOR_BYTES_MOST);
    CHECK(doctor_text(&text, &report, "1.0") == OK && buf_add(&text, "", 1) == OK);
    CHECK(utf8_valid(buf_view(&text)) && !strchr((char *)text.p, 0x1b));
    CHECK(strstr((char *)text.p, "\nrefused  Permission\n    wanted   reading and writing"));
    CHECK(strstr((char *)text.p, "\n             | dev0: /dev/dri/renderD128,gid=110\n"));
    buf_free(&text);
    buf_init(&text, DOCTOR_BYTES_MOST);
    CHECK(doctor_json(&text, &report, "1.0") == OK);
    yyjson_doc *doc = yyjson_read((char *)text.p, text.n, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    CHECK(doc && yyjson_equals_str(yyjson_obj_get(root, "refused_by"), "permission"));
    CHECK(yyjson_equals_str(yyjson_obj_get(root, "runs"), "nothing"));
    yyjson_val *layers = yyjson_obj_get(root, "layers"), *third = yyjson_arr_get(layers, 4);
    CHECK(yyjson_arr_size(layers) == (size_t)report.n_layers);
    CHECK(yyjson_equals_str(yyjson_obj_get(third, "state"), "refused"));
    CHECK(yyjson_equals_str(yyjson_obj_get(third, "looked"), "now"));
    CHECK(yyjson_arr_size(yyjson_obj_get(third, "lines")) == 5);
    yyjson_doc_free(doc);
    buf_free(&text);
    buf_init(&text, 1000);
    CHECK(doctor_json(&text, &report, "1.0") == NO_ROOM);
    buf_free(&text);
}

// Everything as long as its array: cut, never written past the end (ASan looks).
static void test_long(void)
{
    good_machine();
    good_device();
    memset(device.info.device, 'x', sizeof(device.info.device) - 1);
    memset(device.test.said, 'y', sizeof(device.test.said) - 1);
    memset(device.log.reset, 'z', sizeof(device.log.reset) - 1);
    device.survey.n_devices = SURVEY_DEVICES;
    for (int i = 0; i < SURVEY_DEVICES; i++) {
        device.survey.device[i] = device.survey.device[0];
        memset(device.survey.device[i].name, 'n', 95);
        memset(device.survey.device[i].refusal, 'r', 255);
        device.survey.device[i].usable = false;
    }
    look();
    walk();
    CHECK(strlen(layer("device")->found) == sizeof(layer("device")->found) - 1);
    struct buf text;
    buf_init(&text, DOCTOR_BYTES_MOST);
    CHECK(doctor_text(&text, &report, "1.0") == OK);
    CHECK(doctor_json(&text, &report, "1.0") == OK);
    buf_free(&text);
}

int main(void)
{
    test_good();
    test_empty();
    test_no_gpu();
    test_virtio();
    test_driver();
    test_firmware();
    test_nodes();
    test_permission();
    test_user_namespace();
    test_open();
    test_vulkan();
    test_computing();
    test_settings();
    test_written();
    test_long();
    fake_end();
    return check_done("doctor_walk");
}
