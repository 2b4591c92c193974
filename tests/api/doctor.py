"""The doctor before machines in a bad way: `tawny doctor` and /v1/doctor must name the layer that refuses, each time.

    run(tools)     tools: the module of tests/api/run (check, skip, Server, run_verb, WORK, ROOT)

A machine is played by a folder with as much of /sys, /dev, /proc and /etc in it as is wanted, into which the
appliance's static binary is chrooted: as an ordinary user, in his groups, on real device nodes (nobody stands behind
them), or inside a user namespace. The server and llvmpipe run in a mount namespace whose /sys is such a folder. Making
nodes and namespaces needs root: sudo, which asks no password in the toolchain root.
"""

import json
import os
import shutil
import subprocess
import time

SUDO = [] if os.getuid() == 0 else ["sudo", "-n"]
USER = 1000
GPU = "0000:c5:00.0"
NODE = "dev/dri/renderD128"


class Machine:
    """A folder that looks like a Strix Halo machine on which all is right, but that no GPU stands behind the node."""

    def __init__(self, tools, name):
        self.tools = tools
        self.path = tools.WORK / "doctor" / name
        subprocess.run([*SUDO, "rm", "-rf", self.path], check=True)
        self.path.mkdir(parents=True)
        self.path.chmod(0o755)
        shutil.copy(tools.ROOT / "build/appliance/tawny", self.path / "tawny")

    def file(self, path, text=""):
        path = self.path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def gpu(self, vendor="0x1002", device="0x1586", driver="amdgpu", kind="0x038000"):
        base = "sys/bus/pci/devices/%s/" % GPU
        for name, text in (("class", kind), ("vendor", vendor), ("device", device)):
            self.file(base + name, text + "\n")
        if driver:
            (self.path / base / "driver").symlink_to("../../../../bus/pci/drivers/" + driver)
        return self

    def node(self, owner="0:110", mode="0660"):
        """A real device node, of the number that a GPU's has."""
        (self.path / "dev/dri").mkdir(parents=True, exist_ok=True)
        made = subprocess.run([*SUDO, "sh", "-c", "rm -f $0 && mknod $0 c 226 128 && chown %s $0 && chmod %s $0"
                               % (owner, mode), self.path / NODE], stderr=subprocess.PIPE, text=True)
        link = self.path / "sys/dev/char/226:128"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to("../../devices/pci0000:00/0000:00:08.1/%s/drm/renderD128" % GPU)
        if made.returncode:
            raise OSError("no device node can be made: " + made.stderr.strip())
        return self

    def system(self, groups="root:x:0:\nvideo:x:44:\nrender:x:110:\n"):
        self.file("etc/group", groups)
        self.file("proc/cmdline", "quiet\n")
        self.file("proc/self/gid_map", "0 0 4294967295\n")
        self.file("dev/null")
        return self

    def doctor(self, *options, groups=(), inside=(), before="", at=None):
        """(exit status, {layer: its JSON}, the whole JSON) of `tawny doctor` there, as USER in these groups; `before` is run
        by root in the same mount namespace, `inside` are words of a command around the chroot, `at` is where it is."""
        ids = ["--reuid", str(USER), "--regid", str(USER), *(["--groups", ",".join(map(str, groups))] if groups
                                                             else ["--clear-groups"])]
        command = ["setpriv", *ids, *inside, "chroot", at or self.path, "/tawny", "doctor", "--json", *options]
        if not inside:
            command = ["chroot", "--userspec=%d:%d" % (USER, USER), "--groups=%s" % ",".join(map(str, groups)), self.path,
                       "/tawny", "doctor", "--json", *options]
        script = before + ' exec "$@"'
        done = subprocess.run([*SUDO, "unshare", "-m", "--propagation", "private", "sh", "-ec", script, "sh",
                               *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        try:
            report = json.loads(done.stdout)
        except ValueError:
            raise OSError("status %d: %s%s" % (done.returncode, done.stdout[-300:], done.stderr[-500:]))
        return done.returncode, {layer["layer"]: layer for layer in report["layers"]}, report


def expect(tools, name, layer, state, found="", lines=""):
    good = layer["state"] == state and found in layer["found"] and lines in "\n".join(layer["lines"])
    return tools.check("doctor: " + name, good, "wanted %r, %r, %r; got %r" % (state, found, lines, layer))


# ---- the appliance's binary, chrooted --------------------------------------------------------------------------------

def empty(tools):
    machine = Machine(tools, "empty")
    status, layers, report = machine.doctor()
    expect(tools, "an empty chroot: no /sys", layers["pci"], "refused", "no sysfs is mounted at /sys", "mount -t sysfs")
    expect(tools, "an empty chroot: no /dev", layers["nodes"], "refused", "/dev has no devices at all", "mount -t devtmpfs")
    expect(tools, "an empty chroot: no /proc", layers["settings"], "unknown", "no /proc is mounted", "mount -t proc")
    expect(tools, "an empty chroot: Vulkan is in the binary", layers["vulkan"], "ok", "linked in")
    expect(tools, "an empty chroot: the processor computes rightly", layers["self_test"], "ok")
    tools.check("doctor: an empty chroot: the processor runs, since no GPU is seen; status 1", status == 1 and
                report["runs"] == "cpu" and report["refused_by"] == "pci", report["verdict"])
    status, _, report = machine.doctor("--device", "vulkan")
    tools.check("doctor: an empty chroot, device = vulkan: nothing runs; status 1", status == 1 and report["runs"] == "nothing",
                report["verdict"])
    status, _, report = machine.doctor("--device", "cpu")
    tools.check("doctor: an empty chroot, device = cpu: status 0", status == 0 and report["runs"] == "cpu", report["verdict"])


def permissions(tools):
    machine = Machine(tools, "machine").gpu().system().node()
    status, layers, report = machine.doctor()
    expect(tools, "a wrong group: which one it is", layers["permission"], "refused",
           "/dev/dri/renderD128 (owner 0, group 110 render, mode 0660, device 226:128): the node's group is none of ours",
           "usermod -aG render")
    tools.check("doctor: a wrong group: auto does not fall back to the processor", status == 1 and report["runs"] == "nothing" and
                report["refused_by"] == "permission" and "permission: /dev/dri/renderD128" in report["verdict"] and
                "device = cpu" in report["verdict"], report["verdict"])
    machine.file(".dockerenv")
    machine.node("0:992")
    _, layers, _ = machine.doctor()
    expect(tools, "Docker, the host's group: its number", layers["permission"], "refused",
           "(render is 110 in here, and the node has 992)", "docker run --device /dev/dri/renderD128 --group-add 992")
    (machine.path / ".dockerenv").unlink()
    machine.node(mode="0000")
    status, layers, report = machine.doctor(groups=(110,))
    expect(tools, "mode 000", layers["permission"], "refused", "its mode 0000 lets nobody in", "chmod 0660 /dev/dri/renderD128")
    tools.check("doctor: mode 000: nothing runs", status == 1 and report["refused_by"] == "permission", report["verdict"])
    machine.node()
    status, layers, report = machine.doctor(groups=(44, 110))
    expect(tools, "the right group: permission is given", layers["permission"], "ok")
    expect(tools, "... and a node without a driver is told from that", layers["open"], "refused", "no driver stands behind it")
    tools.check("doctor: ... and nothing runs", status == 1 and report["runs"] == "nothing", report["verdict"])
    status, layers, report = machine.doctor("--device", "cpu", groups=(44, 110))
    tools.check("doctor: ... but the processor when it is asked for", status == 0 and report["runs"] == "cpu", report["verdict"])


def user_namespace(tools):
    if subprocess.run([*SUDO, "setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", "unshare", "-Ur", "true"],
                      stderr=subprocess.DEVNULL).returncode:
        tools.skip("doctor: a user namespace", "this machine gives none to ordinary users")
        return
    machine = Machine(tools, "userns").gpu().system().node()
    shutil.rmtree(machine.path / "proc")
    (machine.path / "proc").mkdir()
    # He chroots himself, so the way there must be open to him: the tree may lie in root's home.
    at = "/tmp/tawny-userns"
    before = "mkdir -p %s; mount --bind '%s' %s; mount --rbind /proc %s/proc;" % (at, machine.path, at, at)
    namespace = {"inside": ("unshare", "-Ur"), "before": before, "at": at}
    status, layers, report = machine.doctor(**namespace)
    sentence = "not mapped into this user namespace (its gid map begins 0 %d 1: 0 to 0 in here are %d to %d outside)" % (
        USER, USER, USER)
    expect(tools, "a user namespace without the render group: the mapping", layers["permission"], "refused", sentence,
           "lxc.idmap = g 110 HOSTGID 1")
    tools.check("doctor: a user namespace: nothing runs", status == 1 and report["refused_by"] == "permission", report["verdict"])
    machine.file("run/systemd/container", "lxc\n")
    _, layers, _ = machine.doctor(**namespace)
    expect(tools, "an LXC container: the line for Proxmox", layers["permission"], "refused", sentence,
           "\ndev0: /dev/dri/renderD128,gid=110")


def drivers(tools):
    machine = Machine(tools, "vfio").gpu(driver="vfio-pci").system()
    status, layers, report = machine.doctor()
    expect(tools, "vfio-pci keeps the GPU", layers["driver"], "refused", "vfio-pci: the kernel keeps the GPU for a virtual machine",
           "1002:1586")
    tools.check("doctor: vfio-pci: nothing runs", status == 1 and report["refused_by"] == "driver", report["verdict"])
    machine = Machine(tools, "unbound").gpu(driver=None).system()
    machine.file("proc/cmdline", "quiet nomodeset\n")
    _, layers, _ = machine.doctor()
    expect(tools, "nomodeset", layers["driver"], "refused", "started with nomodeset")
    machine.file("dev/kmsg", "3,4,7,-;amdgpu 0000:c5:00.0: Direct firmware load for amdgpu/gc_11_5_1_pfp.bin failed with error -2\n")
    _, layers, _ = machine.doctor()
    expect(tools, "firmware that is missing", layers["firmware"], "refused", "amdgpu/gc_11_5_1_pfp.bin", "firmware-amd-graphics")
    machine = Machine(tools, "nonode").gpu().system()
    machine.file("run/.containerenv", 'engine="podman-5.4.2"\n')
    _, layers, report = machine.doctor()
    expect(tools, "Podman without the node", layers["nodes"], "refused", "/dev/dri cannot be read", "--group-add keep-groups")
    machine = Machine(tools, "screen").gpu("0x1234", "0x1111", "bochs-drm", "0x030000").system()
    status, layers, report = machine.doctor()
    expect(tools, "a virtual machine's screen is no GPU", layers["pci"], "none", "only draws a screen")
    tools.check("doctor: without a GPU auto is the processor, and says so", status == 1 and report["runs"] == "cpu" and
                "this machine has no GPU" in report["verdict"], report["verdict"])


# ---- the host build: llvmpipe, the server ----------------------------------------------------------------------------

def before(machine):
    """A command's beginning that hides this machine's own GPUs: /sys is the played machine's."""
    script = "mount --bind '%s/sys' /sys; if [ -d /dev/dri ]; then mount -t tmpfs tmpfs /dev/dri; fi; exec \"$@\"" % machine.path
    return [*SUDO, "unshare", "-m", "--propagation", "private", "sh", "-ec", script, "sh", "setpriv", "--reuid", str(os.getuid()),
            "--regid", str(os.getgid()), "--clear-groups"]


def llvmpipe(tools):
    machine = Machine(tools, "software")
    (machine.path / "sys/bus/pci/devices").mkdir(parents=True)
    tawny = str(tools.ROOT / "build" / tools.FLAVOUR / "tawny")
    reports = {}
    quiet = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")  # what the driver leaves behind is not ours
    for device in ("auto", "vulkan", "llvmpipe", "llvmpope"):
        done = subprocess.run([*before(machine), tawny, "doctor", "--json", "--device", device], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=300, env=quiet)
        try:
            reports[device] = (done.returncode, json.loads(done.stdout))
        except ValueError:
            tools.check("doctor: llvmpipe, device = %s" % device, False, done)
            return
    status, report = reports["auto"]
    if "llvmpipe" not in json.dumps(report):
        tools.skip("doctor: llvmpipe", "Vulkan shows none here: %s" % report["verdict"])
        return
    layer = next(la for la in report["layers"] if la["layer"] == "device")
    expect(tools, "llvmpipe only: it is seen, and not taken", layer, "none",
           "which computes on the processor and runs only when it is asked for by name (device = llvmpipe)")
    tools.check("doctor: llvmpipe only: auto is the processor; status 1", status == 1 and report["runs"] == "cpu", report["verdict"])
    status, report = reports["vulkan"]
    tools.check("doctor: llvmpipe only, device = vulkan: nothing runs; status 1", status == 1 and report["runs"] == "nothing",
                report["verdict"])
    status, report = reports["llvmpipe"]
    tools.check("doctor: llvmpipe by name runs; status 0", status == 0 and report["runs"] == "software", report["verdict"])
    status, report = reports["llvmpope"]
    tools.check("doctor: a misspelt name is told with those there are", status == 1 and "llvmpope" in report["verdict"] and
                "llvmpipe" in report["verdict"] and "vulkan, cpu" in report["verdict"], report["verdict"])


def serving(tools, model):
    server = tools.Server("doctor", model)
    server.wait()
    status, headers, text = server.ask("GET", "/v1/doctor")
    text = text.decode() if isinstance(text, bytes) else str(text)
    tools.check("doctor: /v1/doctor is text", status == 200 and headers["content-type"].startswith("text/plain") and
                "verdict" in text and "PCI device" in text, text)
    tools.check("doctor: /v1/doctor wants the key", server.ask("GET", "/v1/doctor", key=False)[0] == 401)
    for name, path, extra in (("Accept", "/v1/doctor", {"Accept": "application/json"}), ("?format=json", "/v1/doctor?format=json", {})):
        status, _, report = server.ask("GET", path, headers=extra)
        good = status == 200 and isinstance(report, dict) and report["runs"] == "cpu" and report["setting"] == "cpu"
        looked = {la["layer"]: la["looked"] for la in report["layers"]} if good else {}
        tools.check("doctor: JSON by %s says which layers are of now" % name, good and looked["pci"] == "now" and
                    looked["permission"] == "now" and looked["vulkan"] == "at start" and looked["open"] == "at start", report)
    status, _, report = server.ask("GET", "/v1/doctor?format=text", headers={"Accept": "application/json"})
    tools.check("doctor: ?format=text wins over Accept", status == 200 and not isinstance(report, dict), report)
    tools.check("doctor: ?format=xml is a 400", server.ask("GET", "/v1/doctor?format=xml")[0] == 400)
    tools.check("doctor: stops cleanly", server.stop() == 0, server.log.read_text()[-500:])


def refusing(tools, model):
    """A server on a machine whose GPU nobody has taken: alive, and saying so everywhere."""
    machine = Machine(tools, "refusing").gpu(driver=None)
    (machine.path / "sys/module/amdgpu").mkdir(parents=True)
    server = tools.Server("refusing", model, device="auto", prefix=before(machine))
    health = server.wait()
    why = "kernel driver: none has taken the AMD Strix Halo (gfx1151) at " + GPU
    tools.check("doctor: a GPU that nobody has taken: /health says failed, and why", health and health["status"] == "failed" and
                why in health["error"] and "device = cpu" in health["error"] and health["see"] == "/v1/doctor", health)
    status, _, answer = server.chat()
    tools.check("doctor: ... requests get a 500 with the reason", status == 500 and why in answer["error"]["message"], answer)
    page = server.ask("GET", "/", key=False)[2].decode()
    tools.check("doctor: ... the start page says so and points on", "none has taken" in page and "/v1/doctor" in page, page[:3000])
    _, _, report = server.ask("GET", "/v1/doctor?format=json")
    layers = {la["layer"]: la for la in report["layers"]}
    expect(tools, "... /v1/doctor: the layer that refuses", layers["driver"], "refused", "amdgpu is loaded and did not take it",
           "dmesg | grep -i amdgpu")
    (machine.path / ("sys/bus/pci/devices/%s/driver" % GPU)).symlink_to("../../../../bus/pci/drivers/vfio-pci")
    _, _, report = server.ask("GET", "/v1/doctor?format=json")
    expect(tools, "... the file system is looked at anew each time", {la["layer"]: la for la in report["layers"]}["driver"],
           "refused", "vfio-pci")
    server.stop()
    log = server.log.read_text()
    tools.check("doctor: ... the console says what to do", "Kernel driver: wanted: amdgpu bound to " + GPU in log and
                "dmesg | grep -i amdgpu" in log and "/v1/doctor" in log, log[-1500:])


def run(tools, model):
    appliance = tools.ROOT / "build/appliance/tawny"
    if subprocess.run([*SUDO, "unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode:
        tools.skip("doctor", "this machine gives no mount namespace, or no root")
    elif not appliance.exists():
        tools.check("doctor: build/appliance/tawny is there", False, "make appliance")
    else:
        for part in (empty, permissions, user_namespace, drivers):
            began = time.time()
            try:
                part(tools)
            except OSError as error:  # of one played machine; the others are still looked at
                tools.check("doctor: %s ran to its end" % part.__name__, False, error)
            print("        (doctor %s: %.1f s)" % (part.__name__, time.time() - began), flush=True)
        llvmpipe(tools)
        refusing(tools, model)
    serving(tools, model)
