"""What every topic of the boot tier shares: tests and checks, a VM on a copy of the image, meeting the box.

A topic is a file beside this one; `run` imports them in its order. @test("what it shows") registers a function: what it
returns is the note behind "ok", Skip is a skip with its reason, any other exception a failure. A machine's
last console lines are printed when its test fails.
"""

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(SOURCE / "boot"))
sys.dont_write_bytecode = True
import box  # noqa: E402
import disk  # noqa: E402
import vm  # noqa: E402

BUILD = SOURCE / "build"
IMAGE = BUILD / "tawny.img"
WORK = BUILD / "boot-test"
KEY_LINE = r"API key:?\s+(\S+)"
FINGERPRINT_LINE = r"((?:[0-9A-F]{2}:){31}[0-9A-F]{2})"
LIMIT = int(os.environ.get("TAWNY_TEST_LIMIT", 150))  # seconds for anything that should take ten
FULL = os.environ.get("TAWNY_TEST_FULL") == "1"  # else few boots: each keeps a processor busy for half a minute
TESTS = []  # (name, function, how)
accel = None  # `run` sets it


class Skip(Exception):
    pass


class StoodStill(Exception):
    """The emulated firmware started the image and nothing followed, not a byte of the kernel's. QEMU's emulation does that
    now and then while others use the processors; `run` begins such a test once more, and says so."""


def test(name, how="shared"):
    """how it runs: "alone", since it is timed; "shared", with one other such (a machine that boots keeps one processor
    busy); "idle", beside all others, since it mostly waits."""
    def add(function):
        TESTS.append((name, function, how))
        return function
    return add


def check(truth, text):
    if not truth:
        raise AssertionError(text)


def sh(*command):
    done = subprocess.run(list(map(str, command)), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    check(done.returncode == 0, f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout[-1500:]}")
    return done.stdout


@contextlib.contextmanager
def boot(name, file=None, size=None, **options):
    """A VM on FILE, or on a fresh copy of the image (SIZE bytes long). Where it is emulated it has one processor if nothing else
    is asked for: two take a quarter more of this machine's time for the same boot, and two VMs run side by side."""
    if accel == "tcg":
        options.setdefault("processors", 1)
    folder = WORK / re.sub(r"[^a-z0-9]+", "-", name.lower())
    folder.mkdir(parents=True, exist_ok=True)
    if file is None:
        file = folder / "disk.img"
        disk.copy(IMAGE, file, size)
    with vm.VM(folder, file, accel=accel, **options) as machine:
        try:
            yield machine
        except Exception:
            print(machine.tail(40))
            raise


def meet(machine, limit=LIMIT):
    """(box, fingerprint): polls as a client would; machine.first_answer is when /health first said 200."""
    try:
        ca = box.fetch_ca(machine.ports[80], limit, machine.running)
    except TimeoutError:
        if accel == "tcg" and not any("init: " in text or "kernel" in text.lower() for _, text in machine.lines):
            raise StoodStill from None
        raise
    tawny = box.Box(machine.ports[443], ca)
    tawny.wait_ready(limit)
    machine.first_answer = time.monotonic() - machine.started
    shown = machine.wait(FINGERPRINT_LINE, limit)[1].group(1)
    check(shown == box.fingerprint(ca), f"console shows the fingerprint {shown}, /ca.crt has {box.fingerprint(ca)}")
    return tawny, shown


def key_on_console(machine):
    return machine.wait(KEY_LINE, LIMIT)[1].group(1)


def power_off(machine):
    seconds = machine.power_button(30)
    check(machine.process.returncode == 0, f"QEMU ended with status {machine.process.returncode}")
    machine.wait_over()
    check(any("all is written" in text for _, text in machine.lines), "init did not say that all is written")
    return seconds


def data_is_clean(file):
    first, last = disk.partitions(file)["tawny-data"]
    part = Path(file).with_suffix(".data")
    try:
        sh("dd", f"if={file}", f"of={part}", "bs=1M", f"skip={first // 2048}", f"count={(last - first + 1) // 2048}",
           "conv=sparse", "status=none")
        sh("e2fsck", "-fn", part)
        return sh("dumpe2fs", "-h", part)
    finally:
        part.unlink(missing_ok=True)


def edited(name, conf):
    """A copy of the image with CONF (bytes or text) as tawny.conf on its ESP."""
    WORK.mkdir(parents=True, exist_ok=True)
    file, text = WORK / f"{name}.img", WORK / f"{name}.conf"
    disk.copy(IMAGE, file)
    first, _ = disk.partitions(file)["tawny-esp"]
    text.write_bytes(conf if isinstance(conf, bytes) else conf.encode())
    sh("mcopy", "-o", "-i", f"{file}@@{first * disk.SECTOR}", text, "::tawny.conf")
    return file


def add_model(file, name, source):
    """Copies SOURCE to tawny/models/NAME of the data partition of FILE, as its owner would."""
    first, _ = disk.partitions(file)["tawny-data"]
    commands = Path(file).with_suffix(".debugfs")
    commands.write_text(f"mkdir tawny\nmkdir tawny/models\nwrite {source} tawny/models/{name}\n")
    said = sh("debugfs", "-w", "-f", commands, f"{file}?offset={first * disk.SECTOR}")
    check("Allocated inode" in said, f"debugfs did not write {name}: {said}")
