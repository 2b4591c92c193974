#!/usr/bin/env python3
"""The OCI image run by Debian's Podman, as root and as a user without rights: podman.py root|rootless.

Its network is this namespace's (`--network host`), its GPU's node and the PCI bus are faked as in lxc.py.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from inside import BUILD, Console, call, check, fake_node, fake_pci, health, plain_sys, printed_lines, sh, skip

PLACE = Path("/tmp/homes")
NODE = PLACE / "dri/renderD128"
USER, HOST_RENDER, ADDRESS = 2000, 105, "10.99.1.1"
NO_DRIVER = r"Opening: wanted.*No such device or address"


def prepare(port_start):
    plain_sys()
    PLACE.mkdir(parents=True)
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "address", "add", ADDRESS + "/32", "dev", "lo")
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text(port_start)
    fake_pci(PLACE / "pci")
    fake_node(NODE, HOST_RENDER)


class Podman:
    def __init__(self, rootless):
        self.home = PLACE / "home"
        self.home.mkdir()
        self.as_user = []
        if rootless:
            for name, text in (("passwd", f"someone:x:{USER}:{USER}::{self.home}:/bin/sh\n"),
                               ("group", f"someone:x:{USER}:\nhostrender:x:{HOST_RENDER}:someone\n")):
                with open(f"/run/tawny/{name}", "a") as file:  # bound over /etc/NAME
                    file.write(text)
            for name in ("/etc/subuid", "/etc/subgid"):
                file = PLACE / Path(name).name
                file.write_text("someone:200000:65536\n")
                sh("mount", "--bind", file, name)
            os.chown(self.home, USER, USER)
            self.as_user = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--groups", f"{USER},{HOST_RENDER}"]
        self.run_dir = PLACE / "run"
        self.run_dir.mkdir()
        os.chown(self.run_dir, USER if rootless else 0, USER if rootless else 0)
        self.environment = {"HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.run_dir), "PATH": os.environ["PATH"],
                            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}

    def command(self, *words):
        return [*self.as_user, "podman", "--root", str(self.home / "store"), "--runroot", str(self.run_dir / "store"), "--storage-driver",
                "vfs", "--cgroup-manager", "cgroupfs", *words]

    def __call__(self, *words):
        return sh(*self.command(*words), env=self.environment, cwd="/")

    def start(self, *options):
        command = self.command("run", "--rm", "--name", "box", "--cgroups=disabled", "--network", "host", *options, "localhost/tawny:latest")
        return Console(command, env=self.environment, cwd="/")

    def stop(self, console):
        self("stop", "-t", "20", "box")
        status, seconds = console.ended()
        check(status == 0 and "all is written, off" in console.text(), f"it ended with {status}:\n{console.text()[-1500:]}")
        return seconds


GPU = ["-v", f"{PLACE}/pci:/sys/bus/pci/devices:ro"]


def refused(podman, options, by):
    console = podman.start(*GPU, *options)
    console.wait("every layer: GET /v1/doctor")
    check(re.search(by, console.text()), f"{by!r} does not refuse:\n{console.text()[-3000:]}")
    printed = printed_lines(console)
    podman.stop(console)
    return printed


def serves(podman):
    archive = Path(shutil.copy(BUILD / "tawny-oci.tar", PLACE))  # where any user may read it
    podman("load", "-i", str(archive))
    archive.unlink()
    console = podman.start("-v", "state:/var/lib/tawny")
    console.wait("engine: serves")
    status, said = health("127.0.0.1")
    check(status == 200 and said["status"] == "ready", f"/health says {status} {said}")
    key = re.search(r"API key (\S+)", console.text()).group(1)
    podman.stop(console)
    console = podman.start("-v", "state:/var/lib/tawny")  # what is in the volume stays
    console.wait("engine: serves")
    check(re.search(r"API key (\S+)", console.text()).group(1) == key, "the key of the volume is not kept")
    begins_anew(podman, console, key)
    console = podman.start("-v", "state:/var/lib/tawny")
    console.wait("engine: serves")
    return podman.stop(console)


def begins_anew(podman, console, key):
    """Nobody starts this container again: a restart that is asked for and a reset are its own PID 1's to do. Ctrl-C ends it."""
    def twice(pattern, n):
        console.wait(f"(?s)({pattern}.*){{{n}}}")
        return re.findall(pattern, console.text())[-1]

    status, said = call("127.0.0.1", "PUT", "/v1/settings", key, {"hostname": "owl", "restart": True})
    check(status == 200, f"PUT /v1/settings says {status} {said}")
    twice("engine: serves", 2)
    check(health("127.0.0.1")[1]["status"] == "ready", "it does not serve again")
    said = {one["name"]: one["value"] for one in call("127.0.0.1", "GET", "/v1/settings", key)[1]["settings"]}
    check(said["hostname"] == "owl", f"the settings are {said}")
    check("all is written, restarting" in console.text() and re.search("issued .*: owl, ", console.text()), f"it did not begin anew with the new name:\n{console.text()[-2000:]}")
    pid = int(podman("inspect", "-f", "{{.State.Pid}}", "box").strip())
    n_open = len(os.listdir(f"/proc/{pid}/fd"))
    status, said = call("127.0.0.1", "POST", "/v1/reset", key, {"confirm": "erase"})
    check(status in (200, 202), f"POST /v1/reset says {status} {said}")
    twice("engine: serves", 3)
    check(twice(r"API key (\S+)", 3) != key and "this box is as new" in console.text(), f"nothing was erased:\n{console.text()[-2000:]}")
    check(health("127.0.0.1")[1]["status"] == "ready", "it does not serve after the reset")
    check(len(os.listdir(f"/proc/{pid}/fd")) <= n_open + 1, "PID 1 keeps what it had open when it begins anew")
    podman("kill", "-s", "INT", "box")
    status, _ = console.ended()
    check(status == 0 and "all is written, off" in console.text(), f"SIGINT: it ended with {status}:\n{console.text()[-1500:]}")


def says_what_it_leaves(podman):
    """A volume that cannot be written, and an address that is the host's to give, in a container's words."""
    conf = PLACE / "tawny.conf"
    conf.write_text("address = 192.0.2.7/24\n")
    conf.chmod(0o644)
    console = podman.start("-v", "state:/var/lib/tawny:ro", "-v", f"{conf}:/etc/tawny.conf:ro")
    console.wait("engine: serves")
    check("Give it one that can be written at /var/lib/tawny" in console.text() and "Attach the disk" not in console.text() and
          "address and gateway in the settings are left out" in console.text(), f"it says:\n{console.text()[-3000:]}")
    podman.stop(console)


def main(kind):
    prepare("80" if kind == "rootless" else "1024")  # root's PID 1 may open them, and hands them to the engine
    podman = Podman(kind == "rootless")
    done = subprocess.run(podman.command("info"), env=podman.environment, cwd="/", text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        skip(f"podman does not run here: {done.stdout.strip().splitlines()[-1]}")
    seconds = serves(podman)
    says_what_it_leaves(podman)
    device = ["--device", f"{NODE}:/dev/dri/renderD128"]
    if kind == "root":
        refused(podman, device, NO_DRIVER)  # the group is not mapped to another: the engine gets it
        note = "the node's group is the engine's"
    else:
        printed = refused(podman, device, "Permission: wanted.*not mapped into this user namespace")
        line = next((line for line in printed if line.startswith("podman run")), "")
        options = shlex.split(line)[2:-1]
        check(options[:2] == ["--device", "/dev/dri/renderD128"] and len(options) > 2, f"the line for podman is {line!r}")
        refused(podman, device + options[2:], NO_DRIVER)
        note = "with " + " ".join(options[2:]) + ", as is printed, the node may be used"
    print(f"{kind}: verified answer, the volume keeps the key, off in {seconds:.1f} s; {note}")


main(sys.argv[1])
