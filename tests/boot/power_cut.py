"""The power is cut in the middle of the guest's writes: QEMU is killed."""

import time
from pathlib import Path

from tier import IMAGE, LIMIT, WORK, boot, check, data_is_clean, disk, key_on_console, meet, power_off, sh, test


def writes(machine):
    """Completed write requests of the guest's disk."""
    for drive in machine.qmp("query-blockstats"):
        if drive.get("device") == "d":
            return drive["stats"]["wr_operations"]
    raise KeyError("QEMU tells no statistics of drive d")


def cut_after(machine, n, limit):
    """Cuts the power when the guest has written N times more than now; how many it was."""
    base, end = writes(machine), time.monotonic() + limit
    while time.monotonic() < end:
        done = writes(machine) - base
        if done >= n:
            machine.cut_power()
            return done
        time.sleep(0.002)
    raise TimeoutError(f"the guest wrote only {writes(machine) - base} times in {limit} s; {n} were waited for")


def overlay(base, file, size=None):
    """A disk that loses what was not flushed when QEMU is killed: qcow2 keeps new clusters' addresses in
    memory until the guest flushes, as a drive keeps blocks in its cache."""
    Path(file).unlink(missing_ok=True)
    sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", Path(base).resolve(), "-F",
       "raw" if str(base).endswith(".img") else "qcow2", file, *([str(size)] if size else []))


CACHED = ",cache=writeback,cache-clean-interval=0,l2-cache-size=8M"


@test("power cut in the first boot's writes")
def cut_first():
    # Growing the partition and making the keys: at several moments of it, each time on a new disk.
    WORK.mkdir(parents=True, exist_ok=True)
    moments = []
    for n in (1, 4, 12, 40):
        file = WORK / "cut.qcow2"
        overlay(IMAGE, file, 2 << 30)
        with boot(f"cut-first-{n}", file, format="qcow2", drive=CACHED) as machine:
            try:
                moments.append(cut_after(machine, n, LIMIT))
            except TimeoutError:
                if n < 40:
                    raise
                machine.cut_power()  # it makes do with fewer writes: cut when all is done
                moments.append("the end")
        with boot(f"cut-first-{n}-after", file, format="qcow2") as machine:
            meet(machine)
            check(len(key_on_console(machine)) > 20, "no API key on the console")
            power_off(machine)
        raw = WORK / "cut.img"
        sh("qemu-img", "convert", "-O", "raw", file, raw)
        check(disk.partitions(raw, disk.backup_header(raw)) == disk.partitions(raw), "the two GPTs differ")
        data_is_clean(raw)
        raw.unlink()
        file.unlink()
    return f"cut after {', '.join(map(str, moments))} writes: next boot serves, e2fsck clean"


@test("power cut while data is written: keys and data come back")
def cut_later():
    WORK.mkdir(parents=True, exist_ok=True)
    file = WORK / "keys.qcow2"
    overlay(IMAGE, file, 2 << 30)
    with boot("keys", file, format="qcow2") as machine:
        tawny, mark = meet(machine)
        key = key_on_console(machine)
        power_off(machine)
    moments = []
    # Another network each time: the box has a new address and writes a new certificate.
    for i, n in enumerate((1, 3, 6), 1):
        with boot(f"keys-cut-{i}", file, format="qcow2", drive=CACHED, net=f"net=10.{i}.0.0/24") as machine:
            moments.append(cut_after(machine, n, LIMIT))
        with boot(f"keys-after-{i}", file, format="qcow2", net=f"net=10.{i}.0.0/24") as machine:
            tawny, now = meet(machine)
            check(now == mark, f"the authority changed: {mark} before, {now} after")
            tawny.key = key
            answer = tawny.request("GET", "/v1/models")
            check(answer.status == 200, f"the old API key gets status {answer.status}: {answer.read()[:200]}")
            power_off(machine)
    raw = WORK / "keys.img"
    sh("qemu-img", "convert", "-O", "raw", file, raw)
    data_is_clean(raw)
    raw.unlink()
    file.unlink()
    return f"cut after {', '.join(map(str, moments))} writes: same authority, same key, e2fsck clean"
