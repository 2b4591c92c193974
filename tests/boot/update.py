"""Updates: good ones, bad ones, ones that panic, ones whose engine never gets healthy, and the power cut while they are written.

Every bundle is made of the image's own kernel and initramfs; a further archive behind them gives the system another version
(/etc/tawny-release) or another engine. They are signed by a key made here, whose public half lies on the ESP as an owner's.
"""

import http.client
import json
import os
import re
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from power_cut import CACHED, cut_after, overlay
from tier import BUILD, FULL, LIMIT, SOURCE, WORK, boot, box, check, data_is_clean, disk, key_on_console, meet, power_off, sh, test
from tier import IMAGE

import bundle  # boot/bundle.py
import esp  # boot/esp.py
import initramfs  # boot/initramfs.py

STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
UPDATES = WORK / "updates"
FILE = 0o100644
KEYS = threading.Lock()  # tests run side by side


def key(name):
    file = UPDATES / f"{name}.pem"
    with KEYS:
        if file.exists():
            return file
        UPDATES.mkdir(parents=True, exist_ok=True)
        sh("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", file)
    return file


def release():
    return dict(line.split("=", 1) for line in (BUILD / "image/release").read_text().splitlines())


def system(version, built, files=(), cmdline=""):
    """A UKI that says it is that version; FILES are laid over the initramfs, CMDLINE behind the command line."""
    UPDATES.mkdir(parents=True, exist_ok=True)
    over = {name: (0o100755, data) for name, data in files} | {"etc/tawny-release": (FILE, f"version={version}\nbuilt={built}\n".encode())}
    uki = (BUILD / "image/tawny.efi").read_bytes()
    line = esp.section(uki, ".cmdline").decode().rstrip("\0\n")
    with tempfile.TemporaryDirectory(dir=UPDATES) as folder:
        archive, out = Path(folder) / "over.cpio", Path(folder) / "system.efi"
        archive.write_bytes(initramfs.pack(over, built))
        sh("ukify", "build", "--linux", BUILD / "image/tawny.vmlinuz", "--initrd", BUILD / "image/tawny.initrd", "--initrd", archive,
           "--cmdline", f"{line} {cmdline}".strip(), "--os-release", esp.section(uki, ".osrel").decode(), "--stub", STUB, "--output", out)
        return out.read_bytes()


def update(version, age, signer="owner", **how):
    """A bundle; AGE: seconds that it is newer than the image."""
    built = int(release()["built"]) + age
    return bundle.bundle(system(version, built, **how), version, built, key(signer))


def good(version="v-good", age=100):
    return update(version, age)


def panicking(version="v-panic", age=200):
    return update(version, age, cmdline="rdinit=/none panic=1")


def sick(version="v-sick", age=300):
    # PID 1's program as the engine's: it says that it is PID 1's, and ends
    return update(version, age, files=[("usr/bin/tawny", (BUILD / "appliance/init").read_bytes())])


def blind(version="v-blind", age=250):
    return update(version, age, cmdline="module_blacklist=sd_mod,virtio_blk,nvme")


def put(file, name, data):
    first, _ = disk.partitions(file)["tawny-esp"]
    source = Path(file).with_suffix(".put")
    source.write_bytes(data)
    sh("mcopy", "-o", "-i", f"{file}@@{first * disk.SECTOR}", source, f"::{name}")
    source.unlink()


def half_written(file, name):
    """What a cut of the power leaves of a file on the ESP: one of its clusters is free, and the mark of writing stands."""
    put(file, name, bytes(40 << 10))
    at = disk.partitions(file)["tawny-esp"][0] * disk.SECTOR
    begin = int(re.search(r"<(\d+)", sh("mshowfat", "-i", f"{file}@@{at}", f"::{name}"))[1])
    with open(file, "r+b") as f:
        def number(place, n):
            f.seek(at + place)
            return int.from_bytes(f.read(n), "little")
        reserved, sectors_of_fat = number(14, 2), number(36, 4)  # Microsoft's FAT specification, section 3
        for i in range(2):
            f.seek(at + (reserved + i * sectors_of_fat) * 512 + 4 * (begin + 1))
            f.write(bytes(4))
        f.seek(at + 65)
        f.write(b"\1")


def owned(name):
    """A copy of the image whose owner has a key for updates."""
    WORK.mkdir(parents=True, exist_ok=True)
    file = WORK / f"{name}.img"
    disk.copy(IMAGE, file, 2 << 30)
    put(file, "update.pub", bundle.public_key(key("owner")).encode())
    return file


def status(tawny):
    answer = tawny.request("GET", "/v1/update", timeout=10)
    text = answer.read()
    if answer.status == 503:
        raise OSError(f"it is stopping: {text[:200]}")
    check(answer.status == 200, f"GET /v1/update: {answer.status}, {text[:200]}")
    return json.loads(text)


def post(tawny, data, query=""):
    connection = http.client.HTTPSConnection("localhost", tawny.port, timeout=180, context=tawny.tls)
    connection.request("POST", "/v1/update" + query, data, {"Authorization": f"Bearer {tawny.key}"})
    answer = connection.getresponse()
    text = answer.read()
    check(answer.status == 202, f"POST /v1/update: {answer.status}, {text[:300]}")


def wait_state(tawny, states, seconds, version=None):
    """What GET /v1/update says once its state is one of these, over any restarts."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            last = status(tawny)
            if last["state"] in states and (version is None or last.get("version") == version):
                return last
        except (OSError, http.client.HTTPException, ValueError, ssl.SSLError) as e:
            last = str(e) or type(e).__name__
        time.sleep(0.5)
    raise TimeoutError(f"the update is not {' or '.join(states)} within {seconds} s: {last}")


def refused(tawny, data, words):
    post(tawny, data)
    answer = wait_state(tawny, ["refused"], LIMIT)
    check(words in answer["why"], f"it is refused for {answer['why']!r}, not for {words!r}")
    return answer["why"]


def went_back(tawny, version, running, words):
    answer = wait_state(tawny, ["went back"], 4 * LIMIT, version)
    check(words in answer["why"], f"it went back since {answer['why']!r}, not {words!r}")
    check(answer["running"]["version"] == running, f"{answer['running']} runs, not {running}")


def goes_back(tawny, data, version, running, words):
    post(tawny, data)
    went_back(tawny, version, running, words)


def stays(tawny, data, version):
    post(tawny, data)
    answer = wait_state(tawny, ["confirmed"], 3 * LIMIT, version)
    check(answer["running"]["version"] == version, f"{answer['running']} runs, not {version}")
    return answer


@test("update: keys that cannot sign", "idle")
def keys():
    UPDATES.mkdir(parents=True, exist_ok=True)
    good, other = key("owner"), UPDATES / "other.pem"
    for make in (["genrsa", "-out", other, "2048"], ["ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", other],
                 ["ec", "-in", good, "-aes128", "-passout", "pass:secret", "-out", other], ["ec", "-in", good, "-pubout", "-out", other]):
        sh("openssl", *make)
        done = subprocess.run([SOURCE / "boot/bundle.py", "--uki", good, "--release", good, "--key", other, "--out", UPDATES / "none.bin"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        check(done.returncode == 1 and "no private key of ECDSA P-256" in done.stdout and "Traceback" not in done.stdout, f"{make}: {done.stdout}")
    return "RSA, P-384, one with a password, a public one"


@test("update, UEFI: refused ones, one that panics, a good one")
def uefi():
    file, first = owned("update-uefi"), release()["version"]
    with boot("update-uefi", file) as machine:
        tawny, mark = meet(machine)
        tawny.key = key_on_console(machine)
        check(status(tawny)["state"] == "none" and status(tawny)["running"]["version"] == first, f"it begins with {status(tawny)}")
        data = good()
        refused(tawny, data[:-5000], "cut off")
        refused(tawny, data[:300000] + b"!" + data[300001:], "changed after it was signed")
        refused(tawny, update("v-stranger", 100, signer="stranger"), "signed by none of the")
        refused(tawny, update("v-old", -100), "is older than")
        goes_back(tawny, panicking(), "v-panic", first, "before it could say why")
        if FULL:
            goes_back(tawny, sick(), "v-sick", first, "ended three times")
            at = len(machine.lines)
            goes_back(tawny, blind(), "v-blind", first, "found no disk")
            check(any("on trial and does not find its own disk" in text for _, text in machine.lines[at:]), "it did not go back by itself")
        stays(tawny, data, "v-good")
        check(tawny.request("GET", "/v1/models").status == 200, "the API key of before is not taken")
        if FULL:
            answer = stays(tawny, good("v-better", 400), "v-better")
            check(answer["other"]["version"] == "v-good", f"the other slot is {answer['other']}")
        check("Copenhagen" in tawny.ask("What is the capital of Denmark?"), "the model answers wrongly afterwards")
        power_off(machine)
    data_is_clean(file)
    file.unlink()
    return f"{'nine' if FULL else 'three'} restarts by itself; the same API key and data"


@test("update, BIOS: from a file on the ESP, one whose engine ends")
def bios():
    # A good one by BIOS is the power cut's below.
    file, first = owned("update-bios"), release()["version"]
    put(file, "tawny-update.bin", sick())
    half_written(file, "EFI/Linux/tawny-2+1.efi")  # the kernel would make the ESP read-only at it
    with boot("update-bios", file, firmware="bios", bus="virtio-blk") as machine:
        machine.wait("settings: .* was being written when the power went: it is checked", LIMIT)
        machine.wait("update: version v-sick is verified and written", LIMIT)
        machine.wait("update: the last update did not stay", 4 * LIMIT)
        tawny = box.Box(machine.ports[443], box.fetch_ca(machine.ports[80], LIMIT, machine.running), key_on_console(machine))
        went_back(tawny, "v-sick", first, "ended three times")
        if FULL:
            goes_back(tawny, panicking(), "v-panic", first, "before it could say why")
            goes_back(tawny, blind(), "v-blind", first, "found no disk")
            stays(tawny, good(), "v-good")
            stays(tawny, good("v-better", 400), "v-better")
        power_off(machine)
    data_is_clean(file)
    file.unlink()
    return f"{'nine' if FULL else 'two'} restarts by itself"


STAYED, LEFT = "update: this version serves: it is confirmed", "update: the last update did not stay: .* or the power was cut"


def cut_once(base, name, n, firmware):
    """Cuts the power N writes into an installation: the next start comes to the new version by itself. Where the cut met the one
    try of the new version before it was confirmed, the start after it is the old one's, which says so."""
    file = WORK / f"{name}.qcow2"
    overlay(base, file)
    with boot(name, file, format="qcow2", drive=CACHED, firmware=firmware) as machine:
        machine.wait("update: tawny-update.bin is on the partition", LIMIT)
        try:
            done = cut_after(machine, n, 30)
        except TimeoutError:
            machine.cut_power()
            done = "the last"
        machine.wait_over()
        said = [text for _, text in machine.lines]
        tried = any("all is written, restarting" in text for text in said) and not any(STAYED in text for text in said)
    with boot(f"{name}-after", file, format="qcow2", firmware=firmware) as machine:
        _, told = machine.wait(f"{STAYED}|{LEFT}" if tried else STAYED, 3 * LIMIT)
        back = told.group() != STAYED
        tawny, _ = meet(machine)
        check(tawny.wait_ready(LIMIT)["status"] == "ready", "it does not serve")
        starts = sum("init: Linux" in text for _, text in machine.lines)
        power_off(machine)
    raw = WORK / f"{name}.img"
    sh("qemu-img", "convert", "-O", "raw", file, raw)
    data_is_clean(raw)
    first, _ = disk.partitions(raw)["tawny-esp"]
    names = sh("mdir", "-b", "-i", f"{raw}@@{first * disk.SECTOR}", "::EFI/Linux").split()
    confirmed = [one for one in names if "+" not in one]
    check(len(confirmed) == 1 and len(names) <= 2 if back else len(names) == len(confirmed) == 2, f"EFI/Linux holds {names}")
    raw.unlink()
    file.unlink()
    return f"{done} ({'back, ' if back else ''}{starts} starts)"


@test("power cut while an update is written")
def cuts():
    base = owned("update-cut")
    put(base, "tawny-update.bin", good())
    points = [1, 3, 6, 10, 15, 20, 30, 40, 60, 80, 100, 130, 160, 200, 240, 280, 320, 360, 400, 500] if FULL else [100]
    told = [cut_once(base, f"update-cut-{n}", n, "uefi" if i % 2 else "bios") for i, n in enumerate(points)]
    base.unlink()
    return f"cut after {', '.join(told)} writes: the next start came to the new version, or back where its one try was cut"


def sign_for_secure_boot(file):
    """Signs both programs on the ESP with the key of Debian's test firmware, as SBKEY= and SBCERT= do for a whole image."""
    first, _ = disk.partitions(file)["tawny-esp"]
    image, snakeoil, plain = f"{file}@@{first * disk.SECTOR}", Path("/usr/share/ovmf"), WORK / "snakeoil.key"
    sh("openssl", "rsa", "-in", snakeoil / "PkKek-1-snakeoil.key", "-passin", "pass:snakeoil", "-out", plain)
    for name in ("EFI/BOOT/BOOTX64.EFI", "EFI/Linux/tawny-1.efi"):
        program = WORK / "program.efi"
        sh("mcopy", "-o", "-i", image, f"::{name}", program)
        os.environ.update(SBKEY=str(plain), SBCERT=str(snakeoil / "PkKek-1-snakeoil.pem"))
        try:
            put(file, name, esp.signed(program))
        finally:
            del os.environ["SBKEY"], os.environ["SBCERT"]


@test("Secure Boot: a signed system starts, one without a signature does not")
def secure():
    file = owned("secure")
    with boot("secure-unsigned", file, firmware="secure") as machine:
        machine.wait("Access Denied|Security Violation|failed to load Boot0001|BdsDxe: No bootable", LIMIT)
        check(not any("init: Linux" in text for _, text in machine.lines), "a system without a signature was started")
        machine.cut_power()
    sign_for_secure_boot(file)
    with boot("secure-signed", file, firmware="secure") as machine:
        tawny, _ = meet(machine)
        tawny.key = key_on_console(machine)
        check(status(tawny)["state"] == "none", f"it says {status(tawny)}")
        power_off(machine)
    file.unlink()
    return "by the key of Debian's test firmware"


@test("two disks: kernel and data are from the one that was started")
def two_disks():
    # The stick is slow to come, the other disk is there at once and was started before; then so was the stick.
    files = {name: owned(f"two-disks-{name}") for name in ("stick", "inside")}
    with boot("two-disks-inside", files["inside"]) as machine:
        _, inside = meet(machine)
        machine.wait("ready: open", LIMIT)
        time.sleep(3)
        power_off(machine)
    stick = None
    firmwares = ("uefi", "bios") if FULL else ("uefi",)
    for firmware in firmwares:
        with boot(f"two-disks-{firmware}", files["stick"], firmware=firmware, bus="usb", devices=["virtio-scsi-pci,id=scsi"],
                  more=["-drive", f"if=none,id=e,file={files['inside']},format=raw",
                        "-device", "scsi-hd,drive=e,bus=scsi.0,bootindex=2"]) as machine:
            _, mark = meet(machine)
            check(mark != inside and mark == (stick or mark), f"{firmware}: the other disk's data is in use")
            stick = mark
            machine.wait("is called tawny-data too and is left alone", LIMIT)
            time.sleep(3)
            power_off(machine)
    for file in files.values():
        data_is_clean(file)
        file.unlink()
    return " and ".join(firmwares)


def damage(file, *commands):
    """By debugfs, on tawny-data; and the mark that the kernel leaves when it meets an error."""
    first, _ = disk.partitions(file)["tawny-data"]
    for command in (*commands, "set_super_value state 2"):
        sh("debugfs", "-w", "-R", command, f"{file}?offset={first * disk.SECTOR}")


@test("data with an error that can be mended is; in a newer format it is left as it is")
def newer_data():
    file = owned("newer-data")
    (WORK / "format").write_text("7\n")
    damage(file, f"write {WORK / 'format'} format", "set_super_value free_blocks_count 7")
    with boot("newer-data", file) as machine:
        machine.wait("data: .* has errors: it is checked before it is used", LIMIT)
        machine.wait("data: .* was mended", LIMIT)
        machine.wait("the data on this disk is in format 7, written by a newer version; this one knows 1", LIMIT)
        meet(machine)
        power_off(machine)
    data_is_clean(file)
    file.unlink()
    return "it serves, with what it keeps in memory"


def damaged():
    """A file without a name: where it belongs is a person's to say."""
    file = owned("damaged")
    (WORK / "lost").write_text("lost\n")
    damage(file, f"write {WORK / 'lost'} lost", "unlink lost")
    with boot("damaged", file) as machine:
        machine.wait("data: .* has damage that only a person can judge; that is left as it is", LIMIT)
        machine.wait("data: .* is mounted read-only: its file system is damaged. To repair it, ", LIMIT)
        tawny, _ = meet(machine)
        health = tawny.wait_ready(LIMIT)
        check("run e2fsck -f" in health.get("data_fault", ""), f"/health says {health}")
        power_off(machine)
    file.unlink()
    return health["data_fault"]


if FULL:
    test("data with an error that cannot be mended is read, and /health says so")(damaged)
