"""USB sticks that are plugged in while the box runs: their models are listed, read and never written.

sticks/exfat.img.xz and ntfs.img.xz are what mkfs.exfat and mkntfs made of 4 MB, with a file of 24 bytes on it that calls
itself GGUF; the others are made here.
"""

import hashlib
import json
import lzma
import struct
import time
from pathlib import Path

from tier import LIMIT, SOURCE, WORK, boot, check, key_on_console, meet, power_off, sh, test

MODEL = SOURCE / "engine/builtin/builtin.gguf"
HERE = Path(__file__).resolve().parent / "sticks"


def make_sticks(folder):
    """{name: (image, the model that is to be listed, or None)}"""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*"):
        if old.is_file():
            old.unlink()
    fat, ext4 = folder / "fat.img", folder / "ext4.img"
    fat.write_bytes(b"")
    fat.open("r+b").truncate(48 << 20)
    sh("mkfs.vfat", "-n", "STICK", fat)  # all of the disk, without partitions
    sh("mcopy", "-i", fat, MODEL, "::from-fat.gguf")
    tree = folder / "tree"
    tree.mkdir(exist_ok=True)
    (tree / "from-ext4.gguf").write_bytes(MODEL.read_bytes())
    (tree / "bait.gguf").unlink(missing_ok=True)
    (tree / "bait.gguf").symlink_to("/data/tawny/api-key")
    ext4.write_bytes(b"")
    ext4.open("r+b").truncate(65 << 20)
    sh("mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, "-E", f"offset={1 << 20}", ext4, "64m")
    with ext4.open("r+b") as f:  # one Linux partition from 1 MiB on, in a table of the old kind
        f.seek(446)
        f.write(struct.pack("<B3sB3sII", 0, b"\0\2\0", 0x83, b"\xff\xff\xff", 2048, 64 * 2048) + bytes(48) + b"\x55\xaa")
    sticks = {"fat": (fat, "from-fat"), "ext4": (ext4, "from-ext4")}
    for name in ("exfat", "ntfs"):
        image = folder / (name + ".img")
        image.write_bytes(lzma.decompress((HERE / (name + ".img.xz")).read_bytes()))
        sticks[name] = (image, name)
    nothing = folder / "nothing.img"
    nothing.write_bytes(bytes(510) + b"\x55\xaa" + bytes(1 << 20))
    return sticks | {"nothing": (nothing, None)}


def models(tawny):
    answer = tawny.request("GET", "/v1/models")
    return {m["id"]: m for m in json.loads(answer.read())["data"]}


def until(tawny, name, there, seconds):
    end = time.monotonic() + seconds
    while (name in (found := models(tawny))) != there:
        check(time.monotonic() < end, f"{name} is {'not ' if there else ''}listed after {seconds} s: {list(found)}")
        time.sleep(0.5)
    return found


def card(machine, tawny, image):
    """A reader that is there from the start: its card is put in and taken out."""
    machine.qmp("blockdev-change-medium", device="card", filename=str(image), format="raw", **{"read-only-mode": "read-write"})
    until(tawny, "from-fat", True, LIMIT)
    machine.qmp("eject", device="card", force=True)
    until(tawny, "from-fat", False, LIMIT)


def plug(machine, name, image):
    machine.qmp("blockdev-add", **{"driver": "raw", "node-name": "n-" + name, "file": {"driver": "file", "filename": str(image)}})
    machine.qmp("device_add", driver="usb-storage", id="u-" + name, drive="n-" + name, bus="sticks.0")


@test("models on USB sticks, plugged in and pulled while the box runs")
def sticks():
    all_sticks = make_sticks(WORK / "sticks")
    before = {name: hashlib.sha256(image.read_bytes()).digest() for name, (image, _) in all_sticks.items()}
    with boot("sticks", devices=["qemu-xhci,id=sticks"],
              more=["-drive", "if=none,id=card", "-device", "usb-storage,drive=card,removable=on,bus=sticks.0"]) as machine:
        tawny, _ = meet(machine)
        tawny.key = key_on_console(machine)
        card(machine, tawny, all_sticks["fat"][0])
        for name, (image, model) in all_sticks.items():
            at = len(machine.lines)
            plug(machine, name, image)
            if not model:
                continue
            machine.wait(r"stick: .* is mounted read-only on /run/media/sd", LIMIT, at)
            found = until(tawny, model, True, LIMIT)
            check(found[model]["read_only"], f"{model} may be written: {found[model]}")
        check("bait" not in found, f"a link on a stick is followed: {found}")
        body = {"model": "from-ext4", "temperature": 0, "max_tokens": 12, "messages": [{"role": "user", "content": "What is the capital of Denmark?"}]}
        answer = tawny.request("POST", "/v1/chat/completions", body, timeout=LIMIT)
        text = answer.read().decode()
        check(answer.status == 200 and "Copenhagen" in text, f"from-ext4 answers {answer.status} {text[:300]}")
        for name, (_, model) in all_sticks.items():
            machine.qmp("device_del", id="u-" + name)
            if model:
                until(tawny, model, False, LIMIT)
        check("builtin" in models(tawny), "the built-in model is gone")
        plug(machine, "again", all_sticks["fat"][0])  # where another was
        until(tawny, "from-fat", True, LIMIT)
        check(not any("engine: ended" in text for _, text in machine.lines), "the engine has ended meanwhile")
        power_off(machine)
    for name, (image, _) in all_sticks.items():
        check(hashlib.sha256(image.read_bytes()).digest() == before[name], f"{image} was written to")
    return "FAT, ext4, exFAT and NTFS; none was written to"
