"""The same binaries elsewhere: the LXC template, the OCI image, the systemd unit, and the script for Proxmox's host.

LXC and Podman are Debian's, in a root of their own (engine/deps/root.sh); homes/*.py run there as root, in namespaces that
end with them, and a machine that has no such namespaces skips them with the reason.
"""

import filecmp
import os
import subprocess

from tier import SOURCE, WORK, Skip, check, sh, test

PACKAGES = "lxc podman crun skopeo systemd genisoimage xorriso shellcheck uidmap buildah procps iproute2 netavark python3 zstd".split()


def in_homes(*command):
    """(status, output) of a command as root in the root that has LXC and Podman."""
    made = subprocess.run([SOURCE / "engine/deps/root.sh", "homes", "trixie", *PACKAGES], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True)
    if made.returncode:
        raise Skip("the root with LXC and Podman could not be made: " + (made.stderr.strip().splitlines() or ["no reason given"])[-1])
    done = subprocess.run([SOURCE / "engine/deps/enter.sh", "--root", "--in", made.stdout.strip(), *map(str, command)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=SOURCE)
    return done.returncode, done.stdout.strip()


def namespaced(*command):
    status, said = in_homes("unshare", "-n", "python3", *command)
    last = (said.splitlines() or ["it said nothing"])[-1]
    if status == 77:
        raise Skip(last)
    check(status == 0, f"{' '.join(command)}: status {status}\n{said[-4000:]}")
    return last


@test("LXC: an unprivileged container; a node it may not use, and the lines that mend it")
def lxc():
    return namespaced("tests/boot/homes/lxc.py")


@test("OCI: run by podman as root")
def podman_root():
    return namespaced("tests/boot/homes/podman.py", "root")


@test("OCI: run by podman as a user without rights")
def podman_rootless():
    return namespaced("tests/boot/homes/podman.py", "rootless")


@test("systemd: the unit, and its ports for a user without rights")
def systemd_unit():
    return namespaced("tests/boot/homes/systemd.py")


@test("Proxmox: the host's script on faked hosts", "idle")
def proxmox():
    note = sh("python3", SOURCE / "tests/boot/homes/proxmox.py").strip()
    status, said = in_homes("shellcheck", "boot/proxmox")
    check(status == 0, f"shellcheck: {said}")
    return note


@test("two builds of the containers give the same bytes")
def same_bytes():
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    for turn in ("1", "2"):
        for kind in ("lxc", "oci"):
            done = subprocess.run([SOURCE / "boot/container", kind, "--out", WORK / f"twice-{turn}", "--version", "1"], env=environment,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            check(done.returncode == 0, done.stdout)
    for name in ("tawny-lxc.tar.zst", "tawny-oci.tar"):
        check(filecmp.cmp(WORK / "twice-1" / name, WORK / "twice-2" / name, shallow=False), f"{name} differs between two builds")
    sh("rm", "-r", WORK / "twice-1", WORK / "twice-2")
    return done.stdout.splitlines()[0]
