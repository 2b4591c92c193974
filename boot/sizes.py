"""What the image is made of, in bytes: the report at the end of `make image`.

Compressed sizes are what the disk holds; "unpacked" is what the archive occupies in memory.
"""

import subprocess


def newc(archive):
    """(name, size) of every file of a cpio archive in "newc" format."""
    at = 0
    while True:
        n_data = int(archive[at + 54:at + 62], 16)
        n_name = int(archive[at + 94:at + 102], 16)
        name = archive[at + 110:at + 110 + n_name - 1].decode()
        if name == "TRAILER!!!":
            return
        at += (110 + n_name + 3) & ~3
        if n_data:
            yield name, n_data
        at += (n_data + 3) & ~3


def unpack(data):
    # zstd's status is not asked: it complains of the padding behind the archive. That the archive is
    # whole shows when newc() meets its trailer.
    return subprocess.run(["zstd", "-dcq"], input=data, capture_output=True).stdout


def report(out):
    work = out / "image"
    ours = (work / "initramfs.cpio.zst").read_bytes()
    whole = (work / "tawny.initrd").read_bytes()
    # mkosi joins the archives as ours, then modules; each padded to 4 bytes.
    at = whole.find(ours)
    theirs = whole[(at + len(ours) + 3) & ~3:]
    kept = list(newc(unpack(theirs)))
    lines = [
        ("tawny.img", (out / "tawny.img").stat().st_size, "raw disk, for dd"),
        ("  of it allocated", (out / "tawny.img").stat().st_blocks * 512, ""),
        ("tawny.qcow2", (out / "tawny.qcow2").stat().st_size, "the same disk, compressed, for VMs"),
        ("UKI", (work / "tawny.efi").stat().st_size, "EFI/Linux/tawny-1.efi"),
        ("  kernel", (work / "tawny.vmlinuz").stat().st_size, ""),
        ("  initramfs, ours", len(ours), "compressed; unpacked it holds:"),
        *(("    " + name, size, "") for name, size in newc(unpack(ours)) if size > 16384),
        ("  initramfs, modules", len(theirs), "compressed; unpacked it holds:"),
    ]
    for title, folder in (("modules", "usr/lib/modules/"), ("firmware", "usr/lib/firmware/")):
        part = [size for name, size in kept if name.startswith(folder)]
        lines.append((f"    {title}", sum(part), f"{len(part)} files"))
    return "\n".join(f"{name:<36}{size:>14,}  {note}".rstrip() for name, size, note in lines)
