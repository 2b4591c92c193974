"""The engine ends, and PID 1 sees to it."""

import http.client
import json
import threading
import time

from tier import LIMIT, SOURCE, add_model, boot, box, check, edited, key_on_console, meet, power_off, test

# The kernel's OOM killer, asked for by hand (magic SysRq over the serial line): it takes the biggest process, as it
# would in earnest, and counts it.
ALLOW_SYSRQ = ["io.systemd.stub.kernel-cmdline-extra=sysrq_always_enabled"]


class Asking(threading.Thread):
    """Asks /health over and over, each time by a connection of its own: when each began, when it ended, what went wrong (""). QEMU's network takes
    every connection itself: one that the box refuses is closed before an answer comes."""

    def __init__(self, tawny):
        super().__init__(daemon=True)
        self.tawny, self.over, self.asked = tawny, threading.Event(), []

    def run(self):
        while not self.over.is_set():
            began, wrong = time.monotonic(), ""
            try:
                self.tawny.request("GET", "/health", timeout=LIMIT).read()
            except (OSError, http.client.HTTPException) as e:
                wrong = str(e) or type(e).__name__
            self.asked.append((began, time.monotonic(), wrong))
            self.over.wait(0.1)


def kept_open(askers, ended, serves):
    """Nobody who asked between these two moments was turned away, and somebody asked who had to wait."""
    asked = [one for asker in askers for one in asker.asked]
    refused = [f"{began - ended:.2f} s after the engine's end: {wrong}" for began, _, wrong in asked if wrong and ended <= began <= serves]
    check(not refused, f"{len(refused)} connections were refused while no engine ran, the first {refused[:1]}")
    waited = [over - began for began, over, wrong in asked if not wrong and began <= serves and over > ended]
    check(waited, f"of {len(asked)} that asked nobody did while no engine ran")
    return max(waited)


@test("the engine is killed and comes back")
def killed():
    with boot("killed", smbios=ALLOW_SYSRQ) as machine:
        tawny, mark = meet(machine)
        key = key_on_console(machine)
        at = len(machine.lines)
        # PID 1 keeps the sockets: who connects meanwhile waits, and is refused by nobody
        askers = [Asking(tawny) for _ in range(3)]
        for asker in askers:
            asker.start()
        start = time.monotonic()
        machine.send_break("f")
        ended, reason = machine.wait(r"engine: ended: (.*)", 30, at)
        serves, _ = machine.wait(r"engine: serves", LIMIT, at)
        tawny.wait_ready(30)
        seconds = time.monotonic() - start
        for asker in askers:
            asker.over.set()
        for asker in askers:
            asker.join(LIMIT)
        waited = kept_open(askers, machine.started + ended, machine.started + serves)
        tawny.key = key
        check("Copenhagen" in tawny.ask("What is the capital of Denmark?"), "the model answers wrongly afterwards")
        power_off(machine)
    check("the memory was full" in reason.group(1), f"the console says only: {reason.group(1)}")
    check(seconds < 30, f"it took {seconds:.1f} s")
    return f"back after {seconds:.1f} s, nobody was refused, the longest waited {waited:.1f} s; the console says: {reason.group(1)}"


@test("a model that kills the engine while it is loaded is left out the third time")
def killer_model():
    # Its disk is slow, so that there is time to kill the engine while it reads.
    file = edited("killer", "model = killer.gguf\n")
    add_model(file, "killer.gguf", SOURCE / "engine/builtin/builtin.gguf")
    with boot("killer", file, smbios=ALLOW_SYSRQ) as machine:
        machine.wait(r"data: .* is mounted", LIMIT)
        machine.throttle(bps_rd=150_000)
        at = 0
        for how_often in ("first", "second"):
            machine.wait(r"engine: \S+ info  device: ", LIMIT, at)
            time.sleep(1)
            at = len(machine.lines)
            machine.send_break("f")
            _, reason = machine.wait(r"engine: ended: (.*)", LIMIT, at)
            check("the memory was full" in reason.group(1), f"the {how_often} time the console says: {reason.group(1)}")
            _, again = machine.wait(r"engine: starts again in (.*)", 10, at)
            check(("without its model" in again.group(1)) == (how_often == "second"),
                  f"the {how_often} time: starts again in {again.group(1)}")
        machine.wait(r"engine: .*no model is loaded: the model killer.gguf: loading it ended the engine 2 times", LIMIT, at)
        machine.wait(r"failed: open https://", LIMIT, at)
        machine.throttle()
        tawny = box.Box(machine.ports[443], box.fetch_ca(machine.ports[80], LIMIT, machine.running))
        answer = tawny.request("GET", "/health")
        health = json.loads(answer.read())
        check(answer.status == 503 and health["status"] == "failed", f"/health says {answer.status}, {health}")
        check("killer.gguf: loading it ended the engine 2 times" in health["error"], f"/health says {health}")
        check("the memory was full" in health["error"], f"/health says {health}")
        power_off(machine)
    file.unlink()
    return f"/health: {health['error']}"
