#!/usr/bin/env python3
"""The template in an unprivileged container of Debian's LXC: its network, its end, and a GPU's node that it may not use.

The node is of the right numbers and has no driver behind it, and the GPU on the PCI bus is a faked one: what is shown is
who may use the node. A node that may be used and has nothing behind it says "No such device or address", and that is
as far as it goes here.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from inside import BUILD, Console, Dhcp, call, check, fake_node, fake_pci, health, plain_sys, printed_lines, sh, skip

PLACE = Path("/tmp/homes")  # this namespace's own
ROOT_FS = PLACE / "box/rootfs"
BASE, HOST_RENDER = 100000, 105
ADDRESS, SERVER, BRIDGE = "10.99.0.2", "10.99.0.1", "tawnybr"
MAPS = [f"lxc.idmap = u 0 {BASE} 65536", f"lxc.idmap = g 0 {BASE} 65536"]
MAPPED = ["lxc-usernsexec", "-m", f"u:0:{BASE}:65536", "-m", f"g:0:{BASE}:65536", "--"]
NODE = PLACE / "dri/renderD128"
HAND_IN = [f"lxc.mount.entry = {NODE} dev/dri/renderD128 none bind,optional,create=file"]


def allow_ids(more=""):
    for name in ("/etc/subuid", "/etc/subgid"):
        file = PLACE / Path(name).name
        fresh = not file.exists()
        file.write_text(f"root:{BASE}:65536\n{more}")
        if fresh:
            sh("mount", "--bind", file, name)


def prepare():
    plain_sys()
    PLACE.mkdir(parents=True)
    allow_ids()
    if subprocess.run([*MAPPED, "true"], stderr=subprocess.DEVNULL).returncode:
        skip("this machine makes no user namespace with mapped ids")
    if subprocess.run(["ip", "link", "add", BRIDGE, "type", "bridge"], stderr=subprocess.DEVNULL).returncode:
        skip("this machine's kernel makes no bridge")
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "address", "add", SERVER + "/24", "dev", BRIDGE)
    sh("ip", "link", "set", BRIDGE, "up")
    ROOT_FS.mkdir(parents=True)
    os.chown(ROOT_FS, BASE, BASE)
    with subprocess.Popen(["zstd", "-dc", BUILD / "tawny-lxc.tar.zst"], stdout=subprocess.PIPE) as packed:
        sh(*MAPPED, "tar", "xpf", "-", "--exclude", "./dev/*", "-C", ROOT_FS, stdin=packed.stdout)
    fake_pci(PLACE / "pci")


def start(lines, maps=MAPS, fresh=True):
    """The container, with LINES of configuration beside the usual ones."""
    if fresh:
        shutil.rmtree(ROOT_FS / "var/lib/tawny", ignore_errors=True)
    config, console = PLACE / "box/config", PLACE / "console"
    console.unlink(missing_ok=True)
    config.write_text("\n".join([
        "lxc.include = /usr/share/lxc/config/common.conf", "lxc.include = /usr/share/lxc/config/userns.conf",
        "lxc.uts.name = box-in-lxc", f"lxc.rootfs.path = dir:{ROOT_FS}", "lxc.net.0.type = veth", f"lxc.net.0.link = {BRIDGE}",
        "lxc.net.0.name = eth0", "lxc.net.0.flags = up", "lxc.apparmor.profile = unconfined",
        f"lxc.console.logfile = {console}", *maps, *lines, ""]))
    return Console(["lxc-start", "-P", PLACE, "-n", "box", "-f", config, "-F", "-l", "INFO", "-o", PLACE / "log"], console)


def stop(console):
    sh("lxc-stop", "-P", PLACE, "-n", "box", "-t", "20")
    status, seconds = console.ended()
    check("manager asks PID 1 to end" in console.text(), f"it did not hear that it should end:\n{console.text()[-1500:]}")
    check(status == 0 and "all is written, off" in console.text(), f"it ended with {status}:\n{console.text()[-1500:]}")
    return seconds


def pidns():
    """The number of the container's namespace of processes."""
    pid = sh("lxc-info", "-P", PLACE, "-n", "box", "-p", "-H").strip()
    return os.readlink(f"/proc/{pid}/ns/pid")[5:-1]


def network():
    """An address by DHCP, a verified answer, its own ids, a clean end."""
    server = Dhcp(BRIDGE, SERVER, ADDRESS)
    console = start([])
    console.wait(f"open https://{ADDRESS}/ in a browser")
    status, said = health(ADDRESS)
    check(status == 200 and said["status"] == "ready", f"/health says {status} {said}")
    check("box-in-lxc" in server.names, f"the DHCP server heard the names {server.names}")
    check(re.search(r"a server certificate was issued .*: box-in-lxc, ", console.text()), f"the certificate is another's:\n{console.text()[-3000:]}")
    here = pidns()  # another test may run an engine too
    users = {line.split()[1] for line in sh("ps", "-eo", "pidns,uid:10,args").splitlines() if line.split()[0] == here and "/usr/bin/tawny serve" in line}
    check(users == {str(BASE + 1000)}, f"the engine runs as {users}, seen from outside")
    check((ROOT_FS / "var/lib/tawny/api-key").exists(), "its key is not under /var/lib/tawny")
    check((ROOT_FS / "var/lib/tawny").stat().st_uid == BASE + 1000, "its state is not the engine's")
    check("clock" not in console.text() and "module" not in console.text(), f"it meddles with the host's:\n{console.text()}")
    return stop(console)


def reset():
    """tawny.reset beside /etc/tawny.conf, once; and a restart that is asked for over the network."""
    key, wish = ROOT_FS / "var/lib/tawny/api-key", ROOT_FS / "etc/tawny.reset"
    before = key.read_text()
    wish.write_text("ERASE\n")
    console = start([], fresh=False)
    console.wait("engine: serves")
    check("this box is as new" in console.text() and key.read_text() != before and not wish.exists(), f"nothing was erased:\n{console.text()[-2000:]}")
    health(ADDRESS)
    status, said = call(ADDRESS, "PUT", "/v1/settings", key.read_text().strip(), {"hostname": "owl", "restart": True})
    check(status == 200, f"PUT /v1/settings says {status} {said}")
    console.wait("(?s)all is written, restarting.*engine: serves.*open https")  # LXC starts it again
    check(health(ADDRESS)[1]["status"] == "ready", "it does not serve again")
    stop(console)


GPU = [f"lxc.mount.entry = {PLACE}/pci sys/bus/pci/devices none bind 0 0"]
NO_DRIVER = r"Opening: wanted.*No such device or address"


def refused(lines, by, maps=MAPS):
    """What is printed when the layer BY refuses the node."""
    console = start(GPU + lines, maps)
    console.wait("every layer: GET /v1/doctor")
    check(re.search(by, console.text()), f"{by!r} does not refuse:\n{console.text()[-3000:]}")
    printed = printed_lines(console)
    stop(console)
    return printed


def applied(printed, also, own):
    """The printed lines for LXC alone, in a container's file; those that stand for what is there already are left out."""
    lines = [line.replace("HOSTGID", str(HOST_RENDER)) for line in printed]
    allow_ids("".join(line + "\n" for line in lines if line.startswith("root:")))
    # On this machine the host's node lies elsewhere: that alone is changed.
    lines = [line.replace(" /dev/dri/renderD128 ", f" {NODE} ") for line in lines if line.startswith("lxc.")]
    maps = [line for line in lines if line.startswith("lxc.idmap")]
    check(any("lxc.mount.entry" in line for line in lines), f"no line hands the node in: {printed}")
    left = refused(also + [line for line in lines if line not in maps], NO_DRIVER, maps or own)
    check(not any(line.startswith("lxc.") for line in left), f"applied, it still asks for {left}")
    return len(lines)


def main():
    prepare()
    seconds = network()
    reset()
    fake_node(NODE, HOST_RENDER)  # a group of the host's that is not mapped
    printed = refused(HAND_IN, "Permission: wanted.*not mapped into this user namespace")
    check("dev0: /dev/dri/renderD128,gid=110" in printed, f"no line for Proxmox: {printed}")
    n = applied(printed, [], MAPS)
    fake_node(NODE, BASE)  # the container's own root's: `dev0:` without gid=
    printed = refused(HAND_IN, "Permission: wanted.*the node's group is none of ours")
    fake_node(NODE, HOST_RENDER)
    applied(printed, [], MAPS)
    fake_node(NODE, BASE + 110)  # right, and nothing is in the way
    refused(HAND_IN, NO_DRIVER)
    fake_node(NODE, BASE + 104)  # another mapped group: the engine gets it
    refused(HAND_IN, NO_DRIVER)
    fake_node(NODE, BASE + 110)
    closed = ["lxc.cgroup2.devices.deny = a", "lxc.cgroup2.devices.allow = c 1:* rwm", "lxc.cgroup2.devices.allow = c 5:* rwm",
              "lxc.cgroup2.devices.allow = c 136:* rwm"]
    printed = refused(closed + HAND_IN, "Opening: wanted.*a control group's list of devices")
    applied([line for line in printed if "idmap" not in line], closed, MAPS)
    missing = refused([], "Device nodes: wanted")
    check("dev0: /dev/dri/renderD128,gid=110" in missing, f"no line for Proxmox: {missing}")
    print(f"DHCP, verified answer, tawny.reset, off in {seconds:.1f} s; {n} printed lines mend an unmapped group; root's node, "
          "another group, closed control group, no node")


main()
