"""Every kind of machine with every other: firmware x disk x memory x size of the disk x network, and consoles and cards. Only with
TAWNY_TEST_FULL=1: a set of boots in which each two values meet at least once; TAWNY_TEST_MATRIX=whole boots all 160.

What each took stands in build/boot-test/matrix.md, with the sizes of the image and of the UKI.
"""

import itertools
import os
import threading
import time
import zlib

from tier import BUILD, FULL, IMAGE, LIMIT, WORK, boot, box, check, disk, edited, meet, power_off, test, vm

GB = 1 << 30
AXES = {"firmware": ("uefi", "bios"), "bus": ("virtio-scsi", "virtio-blk", "nvme", "ahci", "usb"), "memory": (512, 8192),
        "disk": (1, 64), "network": ("DHCP", "static", "none", "IPv6 only")}
STATIC = "address = eth0 10.0.2.77/24\ngateway = 10.0.2.2\ndns = 10.0.2.3\nntp = off\n"
HEAD = ["firmware", "disk", "memory", "size", "network", "serves", "first answer", "from power-on", "off", "result"]
rows, lock = [], threading.Lock()


def pairs(case):
    return {(i, case[i], j, case[j]) for i, j in itertools.combinations(range(len(case)), 2)}


def chosen():
    """The cases: each time the one that brings together most values that have not met."""
    every = list(itertools.product(*AXES.values()))
    if os.environ.get("TAWNY_TEST_MATRIX") == "whole":
        return every
    left, cases = set().union(*map(pairs, every)), []
    while left:
        cases.append(max(every, key=lambda case: len(pairs(case) & left)))
        left -= pairs(cases[-1])
    return cases


def note(*cells):
    """One more row, and the file anew: what was run so far is there whatever happens next."""
    with lock:
        rows.append(cells)
        text = ["# The boot matrix", "", f"`tawny.img` {IMAGE.stat().st_size:,} bytes ({IMAGE.stat().st_blocks * 512:,} allocated), "
                f"`tawny.qcow2` {(BUILD / 'tawny.qcow2').stat().st_size:,}, the UKI {(BUILD / 'image/tawny.efi').stat().st_size:,}. "
                f"{len(chosen())} of {len(list(itertools.product(*AXES.values())))} machines, and special ones.", "",
                "serves, first answer: seconds from the kernel's start to \"serves\" on the console and to the first HTTPS answer.", "",
                f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
        (WORK / "matrix.md").write_text("\n".join([*text, *(f"| {' | '.join(row)} |" for row in sorted(rows))]) + "\n")


def seconds(value):
    return "" if value is None else f"{value:.1f}"


def run_case(name, case):
    firmware, bus, memory, size, network = case
    options = {"firmware": firmware, "bus": bus, "memory": memory}
    ports = {guest: vm.free_port() for guest in vm.GUEST_PORTS}
    file = None
    if network == "static":
        file = edited(name, STATIC)
        os.truncate(file, size * GB)
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{host}-10.0.2.77:{guest}" for guest, host in ports.items())
        options |= {"ports": ports, "net": "net=10.0.2.0/24" + forwards, "forward": False}
    elif network == "IPv6 only":
        options |= {"ports": {}, "net": "ipv4=off"}
    elif network == "none":
        options |= {"cable": False}
    with boot(name, file, size=size * GB, **options) as machine:
        answered = None
        if network in ("DHCP", "static"):
            meet(machine)
            answered = machine.first_answer - machine.kernel_start()
        else:
            machine.wait(r"ready: open https://\[" if network == "IPv6 only" else r"ready: nobody can reach this box yet", LIMIT)
        serves = machine.wait(r"engine: serves, ", LIMIT)[0]
        machine.wait(r"data: .* is mounted", 5)
        start = machine.kernel_start()
        off = power_off(machine)
    if file:
        file.unlink()
    note(firmware.upper(), bus, f"{memory} MB", f"{size} GB", network, seconds(serves - start), seconds(answered), seconds(serves),
         seconds(off), "ok")
    return f"serves {serves - start:.1f} s after the kernel's start; off in {off:.1f} s"


def add_case(case):
    firmware, bus, memory, size, network = case
    name = f"{firmware.upper()} {bus}, {memory} MB, {size} GB, {network}"

    @test(f"matrix: {name}")
    def run():
        try:
            return run_case("-".join(["matrix", *map(str, case)]).lower().replace(" ", "-"), case)
        except BaseException as e:
            note(firmware.upper(), bus, f"{memory} MB", f"{size} GB", network, "", "", "", "", f"FAILED: {str(e)[:80]}")
            raise


TEXT = 640, 400  # the 80 x 25 characters that a page has


def png(ppm):
    """The page on a screen of QEMU's as a PNG of at most 16 colours."""
    kind, size, _, data = ppm.split(b"\n", 3)
    check(kind == b"P6", f"not a picture: {ppm[:20]}")
    whole, _ = map(int, size.split())
    wide, high = TEXT
    data = b"".join(data[3 * whole * y:3 * (whole * y + wide)] for y in range(high))
    colours = sorted({data[i:i + 3] for i in range(0, len(data), 3)})
    check(len(colours) <= 16, f"a page of text has {len(colours)} colours")
    index = {colour: i for i, colour in enumerate(colours)}
    lines = bytearray()
    for y in range(high):
        line = [index[data[at:at + 3]] for at in range(3 * wide * y, 3 * wide * (y + 1), 3)]
        lines += b"\0" + bytes(a << 4 | b for a, b in zip(line[::2], line[1::2]))

    def chunk(name, body):
        return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
    head = wide.to_bytes(4, "big") + high.to_bytes(4, "big") + bytes([4, 3, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"PLTE", b"".join(colours)) + \
        chunk(b"IDAT", zlib.compress(bytes(lines), 9)) + chunk(b"IEND", b"")


def shot(machine, name):
    file = WORK / f"{name}.ppm"
    machine.qmp("screendump", filename=str(file))
    data = file.read_bytes()
    file.unlink()
    return data


def changed(machine, before, limit=30):
    """The screen once it is another one."""
    end = time.monotonic() + limit
    while (now := shot(machine, "screen")) == before and time.monotonic() < end:
        time.sleep(0.5)
    check(now != before, "the screen does not change")
    return now


def screen_alone():
    with boot("screen-alone", serial=False, devices=["VGA"], more=["-device", "usb-ehci,id=keys", "-device", "usb-kbd,bus=keys.0"]) as machine:
        tawny = box.Box(machine.ports[443], box.fetch_ca(machine.ports[80], LIMIT, machine.running))
        tawny.wait_ready(LIMIT)
        answered = time.monotonic() - machine.started
        time.sleep(12)  # the page is drawn, and drawn once more over what the kernel said last
        page = shot(machine, "screen")
        (WORK / "console.png").write_bytes(png(page))
        machine.qmp("send-key", keys=[{"type": "qcode", "data": "2"}])
        log = changed(machine, page)
        machine.qmp("send-key", keys=[{"type": "qcode", "data": "0"}])
        check(changed(machine, log) != log, "the first page does not come back")
        off = machine.power_button(30)
    note("UEFI", "virtio-scsi", "1024 MB", "image", "DHCP; a screen and no serial line", "", "", seconds(answered), seconds(off), "ok")
    return "the page is in build/boot-test/console.png"


def two_cards():
    with boot("two-cards", more=["-netdev", "user,id=n2,net=10.0.3.0/24", "-device", "virtio-net-pci,netdev=n2,romfile=,id=nic2"],
              devices=["qemu-xhci,id=usb"]) as machine:
        meet(machine)
        machine.wait(r"net: eth1 has 10\.0\.3\.15 from 10\.0\.3\.2", LIMIT)
        answered, at = machine.first_answer - machine.kernel_start(), len(machine.lines)
        machine.qmp("netdev_add", type="user", id="n3", net="10.0.4.0/24")
        machine.qmp("device_add", driver="usb-net", netdev="n3", id="late", bus="usb.0")
        machine.wait(r"net: \w+ has 10\.0\.4\.15 from 10\.0\.4\.2", LIMIT, at)
        off = power_off(machine)
    note("UEFI", "virtio-scsi", "1024 MB", "image", "two cards, and a USB card that comes late; a serial line and no screen", "",
         seconds(answered), seconds(machine.first_answer), seconds(off), "ok")
    return "10.0.2.15, 10.0.3.15, 10.0.4.15"


if FULL:
    for one in chosen():
        add_case(one)
    test("matrix: a screen and no serial line; its keys")(screen_alone)
    test("matrix: two cards, a USB card that comes late, no screen")(two_cards)
