"""Switching off with a disk that is slow, and with one that hangs."""

import subprocess
import time

from tier import LIMIT, boot, check, meet, test

WATCHDOG = ["i6300esb"]
SLOW = 1200  # bytes a second: some 120 kB are written, up to 24 kB in one request


@test("a slow disk: the watchdog is fed until all is written", how="idle")
def slow_disk():
    # virtio-blk: the guest waits for a request as long as it takes.
    with boot("slow", bus="virtio-blk", devices=WATCHDOG) as machine:
        meet(machine)
        machine.wait(r"watchdog: .* restarts the machine when it hangs for 60 s", 10)
        machine.throttle(bps_wr=SLOW)
        start, at = time.monotonic(), len(machine.lines)
        machine.qmp("system_powerdown")
        machine.wait(r"power: still writing to the disk", LIMIT, at)
        try:
            machine.process.wait(400)
        except subprocess.TimeoutExpired:
            raise AssertionError("it was still on after 400 s") from None
        machine.wait_over()
        seconds = time.monotonic() - start
        said = [text for _, text in machine.lines[at:]]
        check(any("all is written, off" in text for text in said), "init did not say that all is written")
        check(not any("init: Linux" in text for text in said), "the machine started again")
        check(seconds > 75, f"it was over after {seconds:.0f} s: too soon for the watchdog to have been needed")
    return f"off after {seconds:.0f} s; the watchdog's time is 60 s"


@test("a disk that hangs: the machine is reset", how="idle")
def hung_disk():
    with boot("hung", bus="virtio-blk") as machine:  # without a watchdog
        meet(machine)
        machine.throttle(bps_wr=1)
        start, at = time.monotonic(), len(machine.lines)
        machine.qmp("system_powerdown")
        machine.wait(r"power: no disk has completed anything for 90 s", 150, at)
        said = time.monotonic() - start
        machine.wait(r"init: Linux", LIMIT, at)
        seconds = time.monotonic() - start
        check(said > 85, f"it was given up after {said:.0f} s")
    return f"given up after {said:.0f} s, up again after {seconds:.0f} s"
