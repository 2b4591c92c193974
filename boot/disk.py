"""Disk files for virtual machines: copies of build/tawny.img, and a look into their GPT.

GPT at byte offsets (UEFI specification 2.10, section 5.3), 512-byte sectors: header at sector 1
("EFI PART", CRC-32 of the header at 16, this header's sector at 24, the other header's at 32, entries'
sector at 72, number at 80, size at 84, their CRC-32 at 88); an entry: first sector at 32, last at 40,
name in UTF-16 at 56.
"""

import os
import shutil
import struct
import subprocess
import zlib

SECTOR = 512


def copy(source, target, size=None):
    """A sparse copy of a raw image, made longer when SIZE says so: a bigger disk."""
    subprocess.run(["cp", "--sparse=always", source, target], check=True)
    if size:
        os.truncate(target, size)


def partitions(file, header_sector=1):
    """{name: (first sector, last sector)}; raises ValueError when a checksum of the table is wrong."""
    with open(file, "rb") as f:
        f.seek(header_sector * SECTOR)
        header = bytearray(f.read(92))
        if header[:8] != b"EFI PART":
            raise ValueError(f"{file}: no GPT header in sector {header_sector}")
        crc, = struct.unpack_from("<I", header, 16)
        at, number, size, entries_crc = struct.unpack_from("<QIII", header, 72)
        f.seek(at * SECTOR)
        entries = f.read(number * size)
    struct.pack_into("<I", header, 16, 0)
    if zlib.crc32(header) != crc or zlib.crc32(entries) != entries_crc:
        raise ValueError(f"{file}: a checksum of the GPT in sector {header_sector} is wrong")
    found = {}
    for entry in (entries[i:i + size] for i in range(0, len(entries), size)):
        if any(entry[:16]):
            name = entry[56:128].decode("utf-16-le").rstrip("\0")
            found[name] = struct.unpack_from("<QQ", entry, 32)
    return found


def backup_header(file):
    """The sector in which the primary header says the backup is."""
    with open(file, "rb") as f:
        f.seek(SECTOR + 32)
        return struct.unpack("<Q", f.read(8))[0]


def replace_system(source, target):
    """Gives an existing disk the boot code, ESP and BIOS partition of SOURCE; its data partition stays."""
    table = partitions(source)
    if {n: s for n, (s, _) in partitions(target).items()} != {n: s for n, (s, _) in table.items()}:
        raise ValueError(f"{target} is laid out differently from {source}: remove it, or set RUN_FRESH=1")
    with open(source, "rb") as s, open(target, "r+b") as t:
        t.write(s.read(440))  # the boot code of the MBR; the partition tables behind it stay
        for name in ("tawny-esp", "tawny-bios"):
            first, last = table[name]
            s.seek(first * SECTOR)
            t.seek(first * SECTOR)
            shutil.copyfileobj(LimitedReader(s, (last - first + 1) * SECTOR), t, 1 << 20)


class LimitedReader:
    def __init__(self, file, n):
        self.file, self.left = file, n

    def read(self, n):
        data = self.file.read(min(n, self.left))
        self.left -= len(data)
        return data
