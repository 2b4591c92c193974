"""Lays slot 1 and the boot loaders on the ESP of a finished disk: what mkosi does not know of (README.md, "Updates").

The parts for GRUB are taken out of the UKI, as init/install.c does it for an update. Names are sorted and times are the
commit's: the same input gives the same bytes.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import disk

LOADER = Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")
# What GRUB makes of grubenv: it takes `trial` out before it loads that slot, and does not load it where it cannot.
GRUB = """\
set timeout=0
load_env
set slot=$good
set tried=
if [ -n "$trial" ]; then
    set next=$trial
    set trial=
    if save_env trial; then set slot=$next; set tried=$next; fi
fi
export slot
export tried
export good
export disk
set default=0
set fallback=1
menuentry "Tawny" {
    load_env --file /tawny/$slot/env
    linux /tawny/$slot/linux $cmdline tawny.disk=$disk tawny.trial=$tried
    initrd /tawny/$slot/initrd
}
menuentry "Tawny, the version that was good before" {
    load_env --file /tawny/$good/env
    linux /tawny/$good/linux $cmdline tawny.disk=$disk
    initrd /tawny/$good/initrd
}
"""
LOADER_CONF = """\
timeout 0
auto-entries no
auto-firmware no
"""


def signed(program):
    """The program's bytes, signed for Secure Boot where SBKEY and SBCERT name a key and its certificate (PEM)."""
    key, certificate = os.environ.get("SBKEY"), os.environ.get("SBCERT")
    if not key and not certificate:
        return program.read_bytes()
    if not key or not certificate:
        raise SystemExit("image: SBKEY= and SBCERT= go together: a private key and its certificate, both PEM")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "signed.efi"
        subprocess.run(["sbsign", "--key", key, "--cert", certificate, "--output", out, program], check=True,
                       stderr=subprocess.DEVNULL)
        return out.read_bytes()


def section(uki, name):
    import pefile
    pe = pefile.PE(data=uki, fast_load=True)
    for s in pe.sections:
        if s.Name.rstrip(b"\0") == name.encode():
            return s.get_data()[:min(s.Misc_VirtualSize, s.SizeOfRawData)]
    raise ValueError(f"the UKI has no section {name}")


def environment(size, **values):
    """An environment block of GRUB."""
    text = "# GRUB Environment Block\n" + "".join(f"{name}={value}\n" for name, value in values.items())
    return text.ljust(size, "#").encode()


def contents(uki, release):
    """{path on the ESP: bytes}"""
    cmdline = section(uki, ".cmdline").decode().rstrip("\0\n")
    return {
        "EFI/BOOT/BOOTX64.EFI": signed(LOADER),
        "EFI/Linux/tawny-1.efi": uki,
        "grub/grub.cfg": GRUB.encode(),
        "grub/grubenv": environment(1024, good=1, trial="", last="", disk="", why=""),
        "loader/loader.conf": LOADER_CONF.encode(),
        "tawny/1/about": release.encode(),
        "tawny/1/env": environment(4096, cmdline=cmdline),
        "tawny/1/initrd": section(uki, ".initrd"),
        "tawny/1/linux": section(uki, ".linux"),
    }


def finish(raw, folder, uki, release, epoch):
    """Writes all of it to the ESP of RAW, by way of FOLDER."""
    first, _ = disk.partitions(raw)["tawny-esp"]
    image = f"{raw}@@{first * disk.SECTOR}"
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "MTOOLS_SKIP_CHECK": "1"}
    shutil.rmtree(folder, ignore_errors=True)
    made = {"grub"}  # mkosi's
    for name, data in sorted(contents(uki, release).items()):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        os.utime(file, (epoch, epoch))
        for parent in reversed(Path(name).parents[:-1]):
            if str(parent) not in made:
                made.add(str(parent))
                subprocess.run(["mmd", "-i", image, f"::{parent}"], check=True, env=environ)
        subprocess.run(["mcopy", "-o", "-m", "-i", image, file, f"::{name}"], check=True, env=environ)
    shutil.rmtree(folder)
