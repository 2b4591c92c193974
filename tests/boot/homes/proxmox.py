#!/usr/bin/env python3
"""boot/proxmox on faked hosts: a tree of /sys, /proc, /etc and /dev, and a qm, pct and pveversion that write down what they are told.

What it tells qm for a plain VM is compared with the commands of boot/proxmox.md; the video BIOS that it cuts out of
the ACPI table VFCT with the one that was put in.
"""

import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent.parent.parent
GPU, SOUND, OTHER, BRIDGE, SECOND = "0000:c5:00.0", "0000:c5:00.1", "0000:c5:00.4", "0000:00:08.1", "0000:01:00.0"
TOOL = r"""#!/bin/sh
printf '%s\037' "${0##*/}" "$@" >> "$TOLD"
printf '\n' >> "$TOLD"
case "${0##*/} $1" in
    "pveversion "*) echo "pve-manager/${FAKE_PVE:-9.1.2}/0123456789 (running kernel: 6.17.2-1-pve)" ;;
    "kvm --version") echo "QEMU emulator version ${FAKE_QEMU:-10.1.2} (pve-qemu-kvm)" ;;
    "kvm -device") echo "  ${FAKE_OPTION:-venus}=<bool>            -  (default: off)" ;;
    "pvesm status") [ -z "${FAKE_PVESM:-}" ] || exit 255
        printf 'Name Type Status Total Used Available %%\nlocal-lvm lvmthin %s 1 1 1 1.00%%\n' "${FAKE_STORAGE:-active}" ;;
    "qm ${FAKE_FAILS:-none}") exit 1 ;;
    "uname "*) echo "${FAKE_LINUX:-6.17.2-1-pve}" ;;
    "qm status"|"pct status") [ "$2" = "${FAKE_TAKEN:-}" ] ;;
esac
"""


def check(truth, text):
    if not truth:
        raise AssertionError(text)


class Host:
    def __init__(self, folder):
        self.root, self.tools, self.told = folder / "root", folder / "tools", folder / "told"
        self.tools.mkdir()
        for name in "pveversion pvesm kvm uname qm pct update-grub update-initramfs proxmox-boot-tool".split():
            (self.tools / name).write_text(TOOL)
            (self.tools / name).chmod(0o755)
        for name, text in (("proc/cmdline", "quiet\n"), ("etc/default/grub", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n')):
            self.file(name, text)
        for name in ("etc/modprobe.d", "etc/modules-load.d", "usr/share/kvm", "dev/dri", "sys/class/net/vmbr0", "var/lib/vz/template/cache"):
            (self.root / name).mkdir(parents=True)
        for name in ("tawny.qcow2", "tawny-lxc.tar.zst"):
            (folder / name).write_text("bytes of it")
        self.folder = folder
        self.device(GPU, "0x030000", "0x1002", "0x1586", "amdgpu", 20, boot_vga="1")
        self.device(SOUND, "0x040300", "0x1002", "0x1640", "snd_hda_intel", 21)
        self.device(OTHER, "0x0c0330", "0x1022", "0x1587", "xhci_hcd", 22)
        self.device(BRIDGE, "0x060400", "0x1022", "0x1508", "pcieport", 20)

    def file(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def device(self, slot, kind, vendor, device, driver, group, **more):
        at = self.root / "sys/bus/pci/devices" / slot
        for name, text in dict(more, **{"class": kind, "vendor": vendor, "device": device}).items():
            self.file(f"sys/bus/pci/devices/{slot}/{name}", text + "\n")
        for link, to in (("driver", f"/sys/bus/pci/drivers/{driver}"), ("iommu_group", f"../../../../kernel/iommu_groups/{group}")):
            (at / link).unlink(missing_ok=True)
            (at / link).symlink_to(to)
        members = self.root / f"sys/kernel/iommu_groups/{group}/devices"
        members.mkdir(parents=True, exist_ok=True)
        (members / slot).touch()

    def run(self, *options, **environment):
        """(status, what it printed, what the tools were told but questions)"""
        self.told.unlink(missing_ok=True)
        done = subprocess.run([SOURCE / "boot/proxmox", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.folder,
                              env={"PATH": f"{self.tools}:{os.environ['PATH']}", "TAWNY_ROOT": str(self.root), "TOLD": str(self.told), **environment})
        lines = [line.rstrip("\x1f").split("\x1f") for line in self.told.read_text().splitlines()] if self.told.exists() else []
        return done.returncode, done.stdout, [line for line in lines if line[0] not in ("pveversion", "pvesm", "kvm", "uname") and line[1:2] != ["status"]]

    def refuses(self, pattern, *options, **environment):
        status, said, told = self.run(*options, "--do", **environment)
        check(status == 1 and re.search(pattern, said) and not told, f"{options}: wanted a refusal like {pattern!r}: {status} {said} {told}")


def vfct(bios, bus=0xc5, before=b""):
    """An ACPI table with one image, perhaps behind another."""
    def image(at_bus, data):
        return struct.pack("<IIIHHHHII", at_bus, 0, 0, 0x1002, 0x1586, 0, 0, 0, len(data)) + data
    images = (image(1, before) if before else b"") + image(bus, bios)
    return b"VFCT" + struct.pack("<I", 76 + len(images)) + bytes(28) + bytes(16) + struct.pack("<II", 76, 0) + bytes(16) + images


def documented():
    """The commands of proxmox.md for a VM with UEFI, word by word."""
    text = (SOURCE / "boot/proxmox.md").read_text()
    block = text[text.index("UEFI (the disk"):text.index("Legacy BIOS")].replace("\\\n", " ")
    lines = [line.strip() for line in block.splitlines() if line.startswith("    qm ")]
    return [shlex.split(line.split("&&")[0]) for line in lines]


def plain(host):
    status, said, told = host.run("--vm")
    check(status == 0 and not told and "nothing is done yet" in said, f"printed only: {status} {said} {told}")
    typed = [shlex.split(line) for line in said.splitlines() if not line.startswith("#")]
    status, said, told = host.run("--vm", "--do")
    check(status == 0 and told == typed, f"what is printed is not what is done:\n{typed}\n{told}")
    fill = {"$VM": "900", "$STORE": "local-lvm", "$PWD": str(host.folder)}
    wanted = [[re.sub(r"\$(VM|STORE|PWD)", lambda m: fill[m.group(0)], word) for word in line] for line in documented()]
    check(told == [line for line in wanted if line[1] != "start"], f"proxmox.md says otherwise:\n{wanted}\n{told}")
    odd = "a b;touch $(x)'\""
    (host.folder / odd).write_text("an image")
    status, said, told = host.run("--vm", "--do", "--file", odd)
    check(any(f"import-from={host.folder}/{odd}," in word for line in told for word in line), "words are taken apart, or the file's place is not whole")
    typed = [shlex.split(line) for line in said.splitlines() if not line.startswith("#")]
    check(told == typed, f"what is printed is not what is done:\n{typed}\n{told}")
    (host.folder / "a,b").write_text("an image")
    host.refuses("a comma", "--vm", "--file", "a,b")
    host.refuses('no storage else for "images"', "--vm", "--storage", "else")
    host.refuses("no storage local-lvm", "--vm", FAKE_PVESM="fails")
    host.refuses("local-lvm is disabled", "--vm", FAKE_STORAGE="disabled")
    host.refuses("no bridge vmbr7", "--vm", "--bridge", "vmbr7")
    for pattern, options in (("one of them at a time", ("--lxc",)), ("wants a value; found .--bridge", ("--storage", "--bridge")),
                             ("belong to --gpu passthrough", ("--take-screen",)), ("belong to --gpu passthrough", ("--gpu", "venus", "--slot", GPU)),
                             ("--id 99: at least 100", ("--id", "99")), ("--disk 0", ("--disk", "0")), ("--cores 0", ("--cores", "0")),
                             ("--memory 08000", ("--memory", "08000")), ("--memory 99999999", ("--memory", "99999999"))):
        host.refuses(pattern, "--vm", *options)
    host.refuses("--gpu is a VM's", "--lxc", "--gpu", "venus")
    status, said, told = host.run("--vm", "--do", FAKE_FAILS="disk")
    check(status == 1 and "qm destroy 900 takes away" in said and told[-1][1] == "disk", f"{status} {said} {told}")
    check(host.run("--help")[1].rstrip().endswith("(for tests)."), host.run("--help")[1])
    host.refuses("the id 900 is taken", "--vm", FAKE_TAKEN="900")
    host.refuses("is no number", "--vm", "--memory", "8G")
    host.refuses("passthrough, venus or none", "--vm", "--gpu", "all")
    host.refuses("nowhere is not there", "--vm", "--file", "nowhere")


def passthrough(host):
    host.refuses("this host's only screen", "--vm", "--gpu", "passthrough")
    status, said, told = host.run("--vm", "--gpu", "passthrough", "--take-screen", "--do", FAKE_FAILS="create")
    check(status == 1 and not (host.root / "etc/modprobe.d/tawny.conf").exists() and ["update-grub"] not in told, f"the host is changed for no VM: {said} {told}")
    for line in ("", "GRUB_CMDLINE_LINUX_DEFAULT=quiet\n"):
        host.file("etc/default/grub", line)
        host.refuses("has no line GRUB_CMDLINE_LINUX_DEFAULT", "--vm", "--gpu", "passthrough", "--take-screen")
    for quote in "'\"":
        host.file("etc/default/grub", f"GRUB_CMDLINE_LINUX_DEFAULT={quote}quiet{quote}\n")
        said = host.run("--vm", "--gpu", "passthrough", "--take-screen")[1]
        typed = next(line for line in said.splitlines() if line.startswith("sed "))
        check(shlex.split(typed)[3] == "s/^GRUB_CMDLINE_LINUX_DEFAULT=[\"']/&initcall_blacklist=sysfb_init /", f"it cannot be typed: {typed}")
        for _ in range(2):  # the second time it is written already, and not at work yet
            check(host.run("--vm", "--gpu", "passthrough", "--take-screen", "--do")[0] == 0, "a second run")
            text = (host.root / "etc/default/grub").read_text()
            check(text == f"GRUB_CMDLINE_LINUX_DEFAULT={quote}initcall_blacklist=sysfb_init quiet{quote}\n", text)
    host.file("sys/firmware/acpi/tables/VFCT", "short")
    host.refuses("at least 80 are its head", "--vm", "--gpu", "passthrough", "--take-screen")
    host.file("etc/default/grub", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n')
    bios = bytes(range(256)) * 5
    host.file("sys/firmware/acpi/tables/VFCT", vfct(bios, before=b"\x55\xaa another card's"))
    status, said, told = host.run("--vm", "--gpu", "passthrough", "--take-screen", "--do")
    check(status == 0 and "RESTART THE HOST" in said, said)
    check((host.root / "etc/modprobe.d/tawny.conf").read_text().split("\n")[2] == "options vfio-pci ids=1002:1586,1002:1640 disable_vga=1", said)
    check("initcall_blacklist=sysfb_init quiet" in (host.root / "etc/default/grub").read_text(), "grub's command line")
    check((host.root / "usr/share/kvm/tawny-vbios.rom").read_bytes() == bios, "the video BIOS is not the one of the table")
    check(["qm", "set", "900", "--hostpci0", GPU + ",pcie=1,romfile=tawny-vbios.rom"] in told, f"{told}")
    check(["qm", "set", "900", "--hostpci1", SOUND + ",pcie=1"] in told, f"{told}")
    check(["update-grub"] in told and ["update-initramfs", "-u", "-k", "all"] in told and "qm shutdown 900" in said, f"{told} {said}")
    host.file("etc/kernel/cmdline", "root=ZFS=rpool\n")
    told = host.run("--vm", "--gpu", "passthrough", "--take-screen", "--do")[2]
    host.run("--vm", "--gpu", "passthrough", "--take-screen", "--do")
    check((host.root / "etc/kernel/cmdline").read_text() == "root=ZFS=rpool initcall_blacklist=sysfb_init\n" and ["proxmox-boot-tool", "refresh"] in told, "systemd-boot")
    whole, table = vfct(bios), host.root / "sys/firmware/acpi/tables/VFCT"
    for n in [*range(0, 110, 7), len(whole) - 1]:
        table.write_bytes(whole[:n])
        status, said, told = host.run("--vm", "--gpu", "passthrough", "--take-screen")
        check(status in (0, 1) and "romfile" not in said and "error" not in said, f"a table cut at {n}: {status} {said}")
    table.write_bytes(whole[:100] + b"\xff\xff\xff\xff" + whole[104:])  # a length beyond all
    check("romfile" not in host.run("--vm", "--gpu", "passthrough", "--take-screen")[1], "a length beyond the table")
    for slot, kind, ids in ((GPU, "0x030000", "0x1586"), (SOUND, "0x040300", "0x1640")):
        host.device(slot, kind, "0x1002", ids, "vfio-pci", 20 if slot == GPU else 21)
    check("given the GPU away already" in host.run("--vm", "--gpu", "passthrough", "--take-screen")[1], "bound already")
    (host.root / "sys/kernel/iommu_groups/20/devices" / OTHER).touch()
    host.refuses(f"shares its IOMMU group with {OTHER} .1022:1587", "--vm", "--gpu", "passthrough", "--take-screen")
    shutil.rmtree(host.root / "sys/kernel/iommu_groups")
    host.file("proc/cmdline", "quiet amd_iommu=off\n")
    host.refuses("no IOMMU group.*take amd_iommu=off off", "--vm", "--gpu", "passthrough", "--take-screen")


def two_cards(host):
    host.device(GPU, "0x030000", "0x1002", "0x1586", "amdgpu", 20, boot_vga="0")
    host.device(SECOND, "0x030000", "0x1a03", "0x2000", "ast", 5, boot_vga="1")
    check(host.run("--vm", "--gpu", "passthrough")[0] == 0, "the host keeps its own screen, and it is refused")
    host.device(GPU, "0x030000", "0x1002", "0x1586", "amdgpu", 20, boot_vga="1")
    host.refuses("the screen that this host starts on", "--vm", "--gpu", "passthrough")
    host.refuses("no display controller", "--vm", "--gpu", "passthrough", "--slot", OTHER)
    host.device(SECOND, "0x030000", "0x1002", "0x150e", "amdgpu", 5, boot_vga="0")
    host.refuses("several GPUs are there", "--vm", "--gpu", "passthrough")


def venus(host):
    host.refuses("has no render node", "--vm", "--gpu", "venus")
    host.file("dev/dri/renderD128", "")
    host.refuses("apt install libgl1 libegl1 mesa-vulkan-drivers virgl-server", "--vm", "--gpu", "venus")
    host.file("usr/libexec/virgl_render_server", "#!/bin/sh\n")
    (host.root / "usr/libexec/virgl_render_server").chmod(0o755)
    told = host.run("--vm", "--gpu", "venus", "--do")[2]
    text = (SOURCE / "boot/proxmox.md").read_text()
    wanted = shlex.split(next(line for line in text.splitlines() if line.startswith("    qm set $VM --vga virtio-gl")).replace("$VM", "900"))
    check(wanted in told and "-device" not in " ".join(wanted), f"{wanted} {told}")  # a device of its own has no display with OpenGL
    host.refuses("QEMU has no Venus", "--vm", "--gpu", "venus", FAKE_OPTION="blob")
    host.refuses("QEMU 9.2 or later; this host has 9.0.2", "--vm", "--gpu", "venus", FAKE_QEMU="9.0.2")
    host.refuses("Linux 6.13 or later; this host runs 6.8.12", "--vm", "--gpu", "venus", FAKE_LINUX="6.8.12-1-pve")


def lxc(host):
    status, said, told = host.run("--lxc", "--do")
    check(status == 0 and "no render node" in said and told[0][:5] == ["pct", "create", "901", "local:vztmpl/tawny-lxc.tar.zst", "--ostype"], f"{said} {told}")
    check((host.root / "var/lib/vz/template/cache/tawny-lxc.tar.zst").read_text() == "bytes of it", "the template is not where Proxmox looks")
    host.file("dev/dri/renderD128", "")
    told = host.run("--lxc", "--do")[2]
    check(told[-1] == ["pct", "set", "901", "--dev0", "/dev/dri/renderD128,gid=110"], f"{told}")
    status, said, told = host.run("--lxc", "--do", FAKE_PVE="8.1.4")
    check(status == 0 and "cannot hand a device in" in said and [line[1] for line in told] == ["create"], f"{status} {said} {told}")
    words = told[0]
    check(words[words.index("--unprivileged") + 1] == "1", f"{words}")
    text = (SOURCE / "boot/containers.md").read_text().replace("\\\n", " ")
    wanted = shlex.split(next(line for line in text.splitlines() if line.startswith("    pct create $CT local:")).replace("$CT", "901").replace("$STORE", "local-lvm"))
    check(words == wanted, f"containers.md says otherwise:\n{wanted}\n{words}")
    (host.root / "dev/dri/renderD128").unlink()
    host.device(GPU, "0x030000", "0x1002", "0x1586", "vfio-pci", 20)
    host.refuses("bound to vfio-pci, for a VM", "--lxc")


def main():
    for case in (plain, passthrough, two_cards, venus, lxc):
        with tempfile.TemporaryDirectory() as folder:
            case(Host(Path(folder)))
    print("plain as proxmox.md has it, passthrough with VFCT and its refusals, Venus, LXC")


if shutil.which("bash") is None:
    sys.exit(77)
main()
