"""Writes our initramfs: PID 1, the engine (the built-in model is part of it), e2fsck and fsck.fat, the notices, the table of AMD's GPU names,
the certificates of authorities that pulls trust, its version, the key for updates, and rootfs-overlay/.

The whole user space of the box is in this archive; the kernel unpacks it into memory and starts
/init. Format: "newc" cpio (Documentation/driver-api/early-userspace/buffer-format.rst), one entry =
a 110-byte header of hexadecimal fields, the name with its NUL padded to 4, the bytes padded to 4.

mkosi appends a second archive (modules and firmware) whose first entry is usr/lib/modules: the
kernel silently drops entries whose parent folder does not exist yet, so usr and usr/lib are here.
Names are sorted, times are the commit's, owners are root, inode numbers count up: same input, same bytes.
"""

import stat
import subprocess

FOLDERS = ("boot data dev etc etc/ssl etc/ssl/certs proc root run sys tmp usr usr/bin usr/lib usr/share usr/share/libdrm usr/share/tawny").split()
MODES = {"root": 0o700, "tmp": 0o1777}
# The kernel looks for firmware in /lib/firmware.
LINKS = {"lib": "usr/lib", "bin": "usr/bin"}


def entry(name, number, mode, epoch, data=b""):
    path = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    # magic, ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor,
    # namesize, check
    fields = (number, mode, 0, 0, links, epoch, len(data), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % f for f in fields) + path
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def contents(release, key, init, engine, notices, gpu_names, authorities, overlay, e2fsck=None, fsck_fat=None):
    """{name in the archive: (mode, bytes)}"""
    tree = {name: (stat.S_IFDIR | MODES.get(name, 0o755), b"") for name in FOLDERS}
    tree |= {name: (stat.S_IFLNK | 0o777, to.encode()) for name, to in LINKS.items()}
    for path in overlay.rglob("*"):
        name = str(path.relative_to(overlay))
        if path.is_dir():
            tree.setdefault(name, (stat.S_IFDIR | 0o755, b""))
        else:
            mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            tree[name] = (stat.S_IFREG | mode, path.read_bytes())
    for name, path, mode in (
        ("init", init, 0o755),
        ("usr/bin/tawny", engine, 0o755),
        *[(f"usr/bin/{path.name}", path, 0o755) for path in (e2fsck, fsck_fat) if path],  # a container has no disk
        ("usr/share/libdrm/amdgpu.ids", gpu_names, 0o644),
        ("usr/share/tawny/NOTICES", notices, 0o644),
        ("etc/ssl/certs/ca-certificates.crt", authorities, 0o644),
    ):
        tree[name] = (stat.S_IFREG | mode, path.read_bytes())
    tree["etc/tawny-release"] = (stat.S_IFREG | 0o644, release.encode())
    if key:
        tree["etc/tawny-update.pub"] = (stat.S_IFREG | 0o644, key.encode())
    return tree


def pack(tree, epoch):
    """A whole archive, not compressed: {name: (mode, bytes)}."""
    archive = b"".join(
        entry(name, number, mode, epoch, data)
        for number, (name, (mode, data)) in enumerate(sorted(tree.items()), 1)
    )
    return archive + entry("TRAILER!!!", 0, 0, 0)


def write(out, epoch, release, key, **files):
    """release: /etc/tawny-release; key: PEM of the key whose updates count, or ""."""
    archive = pack(contents(release, key, **files), epoch)
    subprocess.run(["zstd", "-q", "-f", "-10", "-T2", "-o", out], input=archive, check=True)
